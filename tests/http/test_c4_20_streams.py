"""C4.20: streamed answers: decided on headers, the body untouched, released on an early exit."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from syncsdk.http import Guard, Retry

from .harness import answer, report

BODY = bytes(each % 251 for each in range(300_000))


def test_retries_decide_on_headers(server: Any, caller: Any) -> None:
    server.answers(answer(503, body=b"down"), answer(429, "Retry-After: 3"), answer(body=BODY))
    call = caller()

    opened = call.open()

    assert opened.response.status_code == 200
    assert report(opened.response).attempts == 3
    assert not opened.response.is_stream_consumed
    assert opened.read() == BODY
    opened.close()
    assert server.connections == 1


def test_the_answer_is_there_before_its_body(server: Any, caller: Any) -> None:
    server.answers(answer(body=b"x" * 20, fault="stall"))
    call = caller()

    opened = call.open()

    assert opened.response.status_code == 200
    assert opened.chunk() == b"x" * 10
    opened.close()


@pytest.mark.parametrize("chunks", [0, 1, 3])
@pytest.mark.parametrize("status", [200, 403, 503])
def test_an_early_exit_releases_the_connection(
    status: int, chunks: int, server: Any, caller: Any
) -> None:
    server.answers(answer(status, fault="endless"), answer(body=b"next"))
    call = caller(retry=Retry(attempts=1))

    opened = call.open()
    for _ in range(chunks):
        assert opened.chunk()
    opened.close()

    assert call().content == b"next"
    assert server.connections == 2


@pytest.mark.parametrize("size", [0, 10, 65_536, 200_000])
def test_an_early_exit_from_an_answer_that_was_looked_into(
    size: int, server: Any, caller: Any
) -> None:
    server.answers(answer(403, body=b"x" * size), answer())
    call = caller()

    call.open().close()

    assert call().status_code == 200


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("size", [0, 10, 65_536, 200_000])
def test_an_answer_that_was_looked_into_streams_whole(
    size: int, status: int, server: Any, caller: Any
) -> None:
    server.answers(answer(status, body=BODY[:size]))
    call = caller()

    opened = call.open()
    got = opened.rest()
    opened.close()

    assert got == BODY[:size]


@pytest.mark.parametrize("most", [64 << 20, None], ids=["guarded", "unguarded"])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity", "gzip, gzip"])
def test_an_encoded_answer_reads_as_with_httpx(
    encoding: str, most: int | None, server: Any, caller: Any
) -> None:
    body = BODY
    for each in encoding.split(", "):
        body = body if each == "identity" else gzip.compress(body)
    if encoding == "deflate":
        body = gzip.compress(BODY)[10:-8]
    if encoding == "x-gzip" and most is None:
        pytest.skip("httpx does not know it")
    server.answers(answer(200, f"Content-Encoding: {encoding}", body=body))
    call = caller(guard=Guard(max_body=most))

    assert call().content == BODY


def test_without_a_guard_the_raw_bytes_are_those_that_came(server: Any, caller: Any) -> None:
    body = gzip.compress(BODY)
    server.answers(answer(200, "Content-Encoding: gzip", body=body))
    call = caller(guard=Guard(max_body=None))

    opened = call.open()
    stream = opened.response.stream

    assert opened.response.headers["content-encoding"] == "gzip"
    assert opened.response.headers["content-length"] == str(len(body))

    async def raw() -> bytes:
        return b"".join([chunk async for chunk in stream])

    if call.flavour.is_async:
        assert call.run(raw) == body
    else:
        assert b"".join(stream) == body
    opened.close()


def test_a_stream_that_outlasts_the_deadline_times_out(server: Any, caller: Any) -> None:
    server.answers(answer(body=BODY))
    call = caller()
    opened = call.open()
    call.clock.skip(61.0)

    with pytest.raises(call.lib.ReadTimeout, match="deadline"):
        opened.read()
    opened.close()


def test_the_last_of_many_throttles_can_be_streamed(server: Any, caller: Any) -> None:
    server.answers(answer(429, body=BODY))
    call = caller()

    opened = call.open()

    assert report(opened.response).attempts == 4
    assert opened.read() == BODY
    opened.close()


def test_closing_without_reading_after_a_retry(server: Any, caller: Any) -> None:
    server.answers(answer(429), answer(body=b"short"))
    call = caller()

    opened = call.open()
    opened.close()

    assert call().content == b"short"
