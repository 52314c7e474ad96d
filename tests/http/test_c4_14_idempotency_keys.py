"""C4.14: a key is the same on all attempts and the user's own; 409 in progress, 422 never."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.http import Retry

from .harness import answer, report

KEYS = [
    "Idempotency-Key", "idempotency-key", "X-Idempotency-Key", "PayPal-Request-Id",
    "Chargebee-Idempotency-Key",
]  # fmt: skip
TROUBLE = [
    pytest.param(answer(429), id="429"),
    pytest.param(answer(500), id="500"),
    pytest.param(answer(503, "Retry-After: 1"), id="503"),
    pytest.param(answer(409), id="409 in progress"),
    pytest.param(answer(425), id="425"),
    pytest.param(answer(fault="reset"), id="reset"),
    pytest.param(answer(fault="close"), id="close"),
]


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_the_key_is_the_same_on_all_attempts(
    trouble: Any, name: str, server: Any, caller: Any
) -> None:
    server.answers(trouble, trouble, answer(201))

    response = caller()("POST", headers={name: '"k-1"'}, content=b"pay")

    assert response.status_code == 201
    assert [seen.header(name) for seen in server.seen] == ['"k-1"'] * 3
    assert [seen.body for seen in server.seen] == [b"pay"] * 3


def test_two_calls_have_the_keys_that_they_were_given(server: Any, caller: Any) -> None:
    server.answers(answer(500), answer(201), answer(500), answer(201))
    call = caller()

    for key in ("k-1", "k-2"):
        call("POST", headers={"Idempotency-Key": key})

    keys = [seen.header("idempotency-key") for seen in server.seen]
    assert keys == ["k-1", "k-1", "k-2", "k-2"]


def test_without_a_key_none_is_made_up(server: Any, caller: Any) -> None:
    caller()("POST")

    assert server.seen[0].header("idempotency-key") is None


@pytest.mark.parametrize("status", [400, 404, 412, 422])
def test_a_key_that_was_refused_is_never_sent_again(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status, body=b"reused"), answer(201))

    response = caller()("POST", headers={"Idempotency-Key": "k"})

    assert (response.status_code, response.content) == (status, b"reused")
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_409_without_a_key_is_a_conflict(method: str, server: Any, caller: Any) -> None:
    server.answers(answer(409), answer())

    assert caller()(method).status_code == 409
    assert len(server.seen) == 1


def test_an_empty_key_is_none(server: Any, caller: Any) -> None:
    server.answers(answer(500), answer(201))

    assert caller()("POST", headers={"Idempotency-Key": ""}).status_code == 500
    assert len(server.seen) == 1


def test_in_progress_for_ever_is_returned(server: Any, caller: Any) -> None:
    server.answers(answer(409, body=b"in progress"))

    response = caller()("POST", headers={"Idempotency-Key": "k"})

    assert (response.status_code, response.content) == (409, b"in progress")
    assert report(response).attempts == 4


def test_a_vendors_own_header_can_be_named(server: Any, caller: Any) -> None:
    server.answers(answer(500), answer(201))
    call = caller(retry=Retry(key_headers=("x-request-token",)))

    assert call("POST", headers={"X-Request-Token": "k"}).status_code == 201


def test_a_keyed_post_that_is_lost_for_good_keeps_its_type(server: Any, caller: Any) -> None:
    """Doing it twice is as doing it once: the caller may send it again with the same key."""
    server.answers(answer(fault="close"))
    call = caller()

    with pytest.raises(call.lib.RemoteProtocolError) as caught:
        call("POST", headers={"Idempotency-Key": "k"})

    assert type(caught.value) is call.lib.RemoteProtocolError
    assert len(server.seen) == 4
