"""C4.15: ``If-Match`` makes a request repeatable; 412 after a lost response."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.http import UnsafeToRetry

from .harness import answer, report

LOST = [
    pytest.param(answer(fault="reset"), id="reset"),
    pytest.param(answer(fault="close"), id="close"),
    pytest.param(answer(502), id="502"),
]


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "DELETE"])
def test_412_after_a_lost_response_says_that_it_may_have_been_ours(
    method: str, lost: Any, server: Any, caller: Any
) -> None:
    server.answers(lost, answer(412, body=b"changed"), answer())

    response = caller()(method, headers={"If-Match": '"v1"'})

    assert (response.status_code, response.content) == (412, b"changed")
    assert report(response).attempts == 2
    assert report(response).maybe_applied
    assert [seen.header("if-match") for seen in server.seen] == ['"v1"'] * 2


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_412_at_once_was_somebody_else(method: str, server: Any, caller: Any) -> None:
    server.answers(answer(412), answer())

    response = caller()(method, headers={"If-Match": '"v1"'})

    assert response.status_code == 412
    assert not report(response).maybe_applied
    assert len(server.seen) == 1


def test_412_after_a_throttle_was_somebody_else(server: Any, caller: Any) -> None:
    server.answers(answer(429), answer(412))

    response = caller()("PUT", headers={"If-Match": '"v1"'})

    assert response.status_code == 412
    assert not report(response).maybe_applied


@pytest.mark.parametrize("value", ["*", ""])
def test_if_match_anything_makes_nothing_repeatable(value: str, server: Any, caller: Any) -> None:
    server.answers(answer(fault="reset"), answer())

    with pytest.raises(UnsafeToRetry):
        caller()("PATCH", headers={"If-Match": value})

    assert len(server.seen) == 1
