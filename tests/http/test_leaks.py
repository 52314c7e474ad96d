"""Whatever goes wrong in between, no slot of a pool or of a pacer is lost."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import pytest

from syncsdk.errors import TransientError
from syncsdk.http import RateLimit, Retry

from .harness import answer

# That nothing leaked is asserted at the end of every test, where the caller is closed.


class MineError(Exception):
    """Raised by what a user gave."""


def raises(*args: Any) -> Any:
    raise MineError


@pytest.mark.parametrize("part", ["wait", "stop"])
@pytest.mark.parametrize("status", [429, 503])
def test_what_a_user_gave_may_raise(part: str, status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status, body=b"x" * 300_000))
    call = caller(retry=Retry(**{part: raises}))

    with pytest.raises(MineError):
        call()


def test_a_scope_may_raise(server: Any, caller: Any) -> None:
    with pytest.raises(MineError):
        caller(scope=raises)()

    assert server.seen == []


def test_a_clock_may_raise_during_a_wait(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 5", body=b"x" * 1_000))
    call = caller()
    call.clock.during = raises

    with pytest.raises(MineError):
        call()


def test_a_run_that_is_asked_to_stop_stops_in_a_wait(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 5", body=b"x" * 1_000))
    call = caller()
    call.clock.during = call.clock.stop.set

    with pytest.raises(TransientError, match="asked to stop"):
        call()

    assert len(server.seen) == 1


def test_a_run_that_is_asked_to_stop_leaves_the_line(server: Any, caller: Any) -> None:
    call = caller(limit=RateLimit(0.1))
    for _ in range(2):
        call()
    call.clock.during = call.clock.stop.set

    with pytest.raises(TransientError, match="asked to stop"):
        call()


def test_many_calls_of_all_kinds_leave_everything_free(server: Any, caller: Any) -> None:
    kinds = [
        answer(200, body=b"fine"),
        answer(429, "Retry-After: 1"),
        answer(503, body=b"x" * 100_000),
        answer(fault="reset"),
        answer(403, body=b"no", fault="cut"),
        answer(200, body=b"x" * 1_000, fault="cut"),
        answer(404),
        answer(fault="close"),
    ]
    server.answers(*(kinds * 12))
    call = caller(retry=Retry(attempts=2))
    raised = 0
    for number in range(60):
        try:
            call("POST" if number % 3 else "GET")
        except call.lib.TransportError:
            raised += 1

    assert raised > 0
    (gate,) = call.gates
    assert gate.pacer.inflight == 0


def test_what_is_not_read_to_its_end_is_closed_and_not_left_to_the_collector(
    server: Any, caller: Any, flavour: Any
) -> None:
    if flavour.loop != "trio":
        pytest.skip("only trio tells")
    server.answers(answer(403, "Content-Encoding: gzip", body=b"this is not gzip"))
    call = caller()
    gc.collect()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            with pytest.raises(call.lib.DecodingError):
                call()
        gc.collect()

    assert not [each for each in told if "syncsdk" in str(each.message)]


def test_a_transport_that_is_closed_sends_nothing(server: Any, caller: Any) -> None:
    call = caller()
    call.run(call.transport.aclose if call.flavour.is_async else call.transport.close)

    with pytest.raises(call.lib.PoolTimeout, match="closed"):
        call()

    assert server.seen == []
