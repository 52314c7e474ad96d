"""C4.19: a reset in the middle of an answer's body is raised; never is it returned as short."""

from __future__ import annotations

import gzip
import time
from typing import Any

import pytest

from syncsdk.http import Guard, Retry

from .harness import OWN, answer, report

CUTS = pytest.mark.parametrize("fault", ["cut", "cut and reset"])
FRAMES = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
BODY = b"0123456789" * 2_000


@CUTS
@FRAMES
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [200, 400, 403, 404])
def test_it_is_raised(
    status: int, method: str, chunked: bool, fault: str, server: Any, caller: Any
) -> None:
    server.answers(answer(status, body=BODY, fault=fault, chunked=chunked), answer())
    call = caller()

    with pytest.raises((call.lib.RemoteProtocolError, call.lib.ReadError)):
        call(method)

    assert len(server.seen) == 1
    assert call.waits == []


@CUTS
@FRAMES
@pytest.mark.parametrize("status", [429, 503])
def test_an_answer_that_is_not_wanted_may_be_cut(
    status: int, chunked: bool, fault: str, server: Any, caller: Any
) -> None:
    server.answers(answer(status, body=BODY, fault=fault, chunked=chunked), answer())
    call = caller()

    assert call().status_code == 200
    assert call.waits == OWN[:1]
    assert server.connections == 2


@CUTS
def test_the_last_answer_is_wanted(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(503), answer(503, body=BODY, fault=fault))
    call = caller(retry=Retry(attempts=2))

    with pytest.raises((call.lib.RemoteProtocolError, call.lib.ReadError)):
        call()


@CUTS
def test_a_cut_that_was_drained_is_raised_as_well(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(503, body=BODY, fault=fault), answer())
    call = caller()
    call.clock.during = lambda: call.gates[0].pacer.close(500.0)

    opened = call.open()

    assert opened.response.status_code == 503
    with pytest.raises((call.lib.RemoteProtocolError, call.lib.ReadError)):
        opened.read()
    opened.close()


def test_a_rest_that_was_given_up_while_draining_is_no_short_body(server: Any, caller: Any) -> None:
    server.answers(answer(503, body=b"x" * 300_000), answer())
    call = caller()
    call.clock.during = lambda: call.gates[0].pacer.close(500.0)

    opened = call.open()

    assert opened.response.status_code == 503
    with pytest.raises(call.lib.ReadError, match="given up"):
        opened.read()
    opened.close()


def test_what_had_come_can_be_read_from_a_stream(server: Any, caller: Any) -> None:
    server.answers(answer(body=BODY, fault="cut"))
    opened = caller().open()

    got = opened.chunk()
    with pytest.raises((opened.call.lib.RemoteProtocolError, opened.call.lib.ReadError)):
        opened.rest()
    opened.close()

    assert BODY.startswith(got)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
def test_an_encoded_body_that_ends_too_early_is_raised(
    encoding: str, server: Any, caller: Any
) -> None:
    body = gzip.compress(bytes(range(256)) * 400)
    if encoding == "gzip, gzip":
        body = gzip.compress(body)
    if encoding == "deflate":
        body = body[10:-8]
    server.answers(answer(200, f"Content-Encoding: {encoding}", body=body[: len(body) // 2]))
    call = caller()

    with pytest.raises(call.lib.RemoteProtocolError, match="too early"):
        call()


@pytest.mark.parametrize("status", [200, 403])
def test_a_body_that_stalls_times_out(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status, body=BODY, fault="stall"))
    call = caller(client={"timeout": 0.1})

    with pytest.raises(call.lib.ReadTimeout):
        call()


def test_an_unwanted_body_that_stalls_costs_a_read_timeout(server: Any, caller: Any) -> None:
    server.answers(answer(503, body=BODY, fault="stall"), answer())
    call = caller(client={"timeout": 0.1})

    assert call().status_code == 200
    assert server.connections >= 2


@pytest.mark.parametrize("status", [200, 403])
def test_a_body_that_drips_ends_at_the_deadline(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status, body=b"x" * 500, fault="drip"))
    call = caller(real=True, retry=Retry(deadline=0.1))
    began = time.monotonic()

    with pytest.raises(call.lib.ReadTimeout):
        call()

    assert time.monotonic() - began < 2.0


def test_an_unwanted_body_that_drips_is_given_up_after_a_second(server: Any, caller: Any) -> None:
    server.answers(answer(503, body=b"x" * 500, fault="drip"), answer())
    call = caller()
    call.clock.tick = 0.2

    assert call().status_code == 200
    assert server.connections == 2


@pytest.mark.parametrize("status", [429, 503])
def test_an_unwanted_body_without_end_is_given_up(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status, fault="endless"), answer())
    call = caller()

    assert call().status_code == 200
    assert server.connections == 2


@pytest.mark.parametrize("status", [200, 403])
def test_a_wanted_body_without_end_is_stopped_by_the_guard(
    status: int, server: Any, caller: Any
) -> None:
    server.answers(answer(status, fault="endless"))
    call = caller(guard=Guard(max_body=1 << 20))

    with pytest.raises(call.lib.DecodingError, match="max_body"):
        call()


def test_a_length_that_is_too_small_returns_so_much(server: Any, caller: Any) -> None:
    """As httpx does: the rest belongs to nobody, and the connection is not used again."""
    server.answers(answer(200, "Content-Length: 4", body=b"0123456789"), answer(body=b"second"))
    call = caller()

    assert call().content == b"0123"
    try:
        assert call().content == b"second"
    except call.lib.RemoteProtocolError:
        pytest.fail("what was left of the first answer was taken for the second")


def test_after_a_cut_the_next_call_is_fine(server: Any, caller: Any) -> None:
    server.answers(answer(body=BODY, fault="cut"), answer(body=b"fine"))
    call = caller()
    with pytest.raises(call.lib.RemoteProtocolError):
        call()

    response = call()

    assert response.content == b"fine"
    assert report(response).attempts == 1
