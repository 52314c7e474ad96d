"""C4.10: 403 that is a throttle (GitHub, Salesforce), and 403 that is none."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from syncsdk.http import Meaning
from syncsdk.resilience.calls import meaning

from .harness import answer, report

THROTTLES: list[Any] = [
    pytest.param(["X-RateLimit-Remaining: 0"], b"", id="nothing left"),
    pytest.param(["Retry-After: 1"], b"", id="retry-after in seconds"),
    pytest.param(["Retry-After: Sun, 22 Nov 2026 12:00:01 GMT"], b"", id="retry-after as a date"),
    pytest.param([], b'{"message": "API rate limit exceeded for 1.2.3.4"}', id="GitHub's words"),
    pytest.param(
        [], b'{"message": "You have exceeded a secondary Rate Limit"}', id="GitHub's other words"
    ),
    pytest.param([], b'[{"errorCode": "REQUEST_LIMIT_EXCEEDED"}]', id="Salesforce"),
    pytest.param(
        ["Content-Encoding: gzip"], gzip.compress(b'{"message": "rate limit"}'), id="gzip"
    ),
    pytest.param([], b" " * 60_000 + b"rate limit", id="words late in the body"),
]
REFUSALS: list[Any] = [
    pytest.param([], b"", id="nothing said"),
    pytest.param(["X-RateLimit-Remaining: 10"], b"", id="some left"),
    pytest.param(["X-RateLimit-Remaining: 4990"], b"no access", id="some left, with a zero in it"),
    pytest.param([], b'{"message": "Resource not accessible by integration"}', id="GitHub's words"),
    pytest.param(["Retry-After: soon"], b"", id="retry-after that says nothing"),
    pytest.param(["Content-Encoding: gzip"], b"this is not gzip", id="no gzip"),
    pytest.param([], b" " * 70_000 + b"rate limit", id="words beyond 64 KiB"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("lines", "body"), THROTTLES)
def test_403_that_is_a_throttle_is_sent_again(
    lines: list[str], body: bytes, method: str, server: Any, caller: Any
) -> None:
    server.answers(answer(403, *lines, body=body), answer())
    call = caller()

    response = call(method, content=b"{}")

    assert response.status_code == 200
    assert report(response).throttled == 1
    assert [seen.body for seen in server.seen] == [b"{}", b"{}"]


@pytest.mark.parametrize(("lines", "body"), REFUSALS)
def test_403_that_is_a_refusal_is_returned_at_once(
    lines: list[str], body: bytes, server: Any, caller: Any
) -> None:
    server.answers(answer(403, *lines, body=body), answer())
    call = caller()

    opened = call.open()

    assert opened.response.status_code == 403
    assert report(opened.response).attempts == 1
    assert call.waits == []
    if b"not gzip" in body:
        with pytest.raises(call.lib.DecodingError):
            opened.read()
    else:
        assert opened.read() == body
    opened.close()


def test_what_the_body_says_is_looked_for_and_left_to_be_read(server: Any, caller: Any) -> None:
    body = gzip.compress(b'{"message": "no access"}')
    server.answers(answer(403, "Content-Encoding: gzip", body=body))

    assert caller()().json() == {"message": "no access"}


def test_a_body_that_says_so_is_a_throttle_only_with_its_status() -> None:
    assert meaning(404, {}, b"rate limit") is Meaning.GONE
    assert meaning(403, {}, b"rate limit") is Meaning.THROTTLED
    assert meaning(401, {"retry-after": "5"}) is Meaning.UNAUTHENTICATED
