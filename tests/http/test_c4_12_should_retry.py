"""C4.12: what Stripe and Stainless say overrides, as far as it is safe."""

from __future__ import annotations

from typing import Any

import pytest

from .harness import OWN, answer

HEADERS = ["Stripe-Should-Retry", "X-Should-Retry"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("said", ["false", "False", " false "])
@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_false_ends_the_call(status: int, said: str, header: str, server: Any, caller: Any) -> None:
    server.answers(answer(status, f"{header}: {said}"), answer())
    call = caller()

    response = call("POST", headers={"Idempotency-Key": "k"})

    assert response.status_code == status
    assert len(server.seen) == 1
    assert call.waits == []


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("said", ["true", "True"])
@pytest.mark.parametrize("status", [400, 404, 409, 501])
def test_true_sends_again_what_would_not_have_been(
    status: int, said: str, header: str, server: Any, caller: Any
) -> None:
    server.answers(answer(status, f"{header}: {said}"), answer())
    call = caller()

    assert call("GET").status_code == 200
    assert len(server.seen) == 2
    assert call.waits == OWN[:1]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("status", [400, 500, 503])
def test_true_does_not_make_a_request_repeatable(
    status: int, header: str, server: Any, caller: Any
) -> None:
    server.answers(answer(status, f"{header}: true"), answer())

    assert caller()("POST").status_code == status
    assert len(server.seen) == 1


@pytest.mark.parametrize("said", ["", "maybe", "1", "true, false"])
def test_another_word_says_nothing(said: str, server: Any, caller: Any) -> None:
    server.answers(answer(500, f"X-Should-Retry: {said}"), answer(404, f"X-Should-Retry: {said}"))

    assert caller()().status_code == 404
    assert len(server.seen) == 2


def test_true_on_success_sends_nothing_again(server: Any, caller: Any) -> None:
    server.answers(answer(200, "X-Should-Retry: true"))

    assert caller()().status_code == 200
    assert len(server.seen) == 1


def test_true_for_ever_ends_after_the_last_attempt(server: Any, caller: Any) -> None:
    server.answers(answer(400, "X-Should-Retry: true", body=b"no"))

    assert caller()().content == b"no"
    assert len(server.seen) == 4
