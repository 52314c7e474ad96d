"""C4.4: 429 with no header at all; 429 with some left; 200 with nothing left."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from syncsdk.http import Retry

from .harness import OWN, answer, report


def test_429_with_no_header_at_all_waits_longer_each_time(server: Any, caller: Any) -> None:
    server.answers(answer(429), answer(429), answer(429), answer(body=b"at last"))
    call = caller()

    response = call()

    assert response.content == b"at last"
    assert report(response).attempts == 4
    assert report(response).throttled == 3
    assert sum(call.waits) >= sum(OWN)


def test_429_with_no_header_is_returned_after_the_last_attempt(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Content-Type: text/html", body=b"<h1>too many</h1>"))
    call = caller(retry=Retry(attempts=3))

    response = call()

    assert (response.status_code, response.text) == (429, "<h1>too many</h1>")
    assert report(response).attempts == 3
    assert report(response).retry_after is None
    assert len(server.seen) == 3


def test_429_with_some_left_is_a_throttle_like_any_other(server: Any, caller: Any) -> None:
    left = ['RateLimit-Policy: "a";q=100;w=60', 'RateLimit: "a";r=50;t=30']
    server.answers(answer(429, *left), answer(200, *left))
    call = caller()

    response = call()

    assert response.status_code == 200
    assert report(response).throttled == 1
    assert call.waits[0] >= OWN[0]
    assert sum(call.waits) <= 31.0


@pytest.mark.parametrize(
    "lines",
    [
        ['RateLimit-Policy: "a";q=100;w=60', 'RateLimit: "a";r=0;t=30'],
        ["RateLimit-Limit: 100", "RateLimit-Remaining: 0", "RateLimit-Reset: 30"],
        ["X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30"],
    ],
    ids=["RateLimit", "RateLimit-Remaining", "X-RateLimit-Remaining"],
)
def test_200_with_nothing_left_lets_the_next_one_wait(
    lines: list[str], server: Any, caller: Any
) -> None:
    server.answers(answer(200, *lines), answer())
    call = caller()

    first = call()
    call()

    assert first.status_code == 200
    assert server.seen[1].at - server.seen[0].at >= 30.0
    assert report(first).quotas[0].remaining == 0.0


@pytest.mark.parametrize("body", [b"", b"too many requests", b"x" * 60_000], ids=len)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_21_throttled_attempts_use_one_connection(
    body: bytes, chunked: bool, server: Any, caller: Any
) -> None:
    server.answers(answer(429, "Retry-After: 1", body=body, chunked=chunked))
    call = caller(retry=Retry(attempts=21))

    response = call()

    assert report(response).attempts == 21
    assert len(server.seen) == 21
    assert server.connections == 1
    assert response.content == body


def test_no_request_is_early_for_any_of_several_calls(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 7"), answer(429, "Retry-After: 7"), answer())
    call = caller()

    call("GET", "/a")
    call("GET", "/b")

    arrivals = [seen.at for seen in server.seen]
    assert all(later - early >= 7.0 for early, later in pairwise(arrivals[:3]))
