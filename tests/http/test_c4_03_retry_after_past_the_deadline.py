"""C4.3: a wait past the deadline: the call ends at once, says when, and does not sleep."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.errors import LimitedError
from syncsdk.http import Retry

from .harness import answer, date, report


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "line",
    ["Retry-After: 90", f"Retry-After: {date(90)}", "retry-after-ms: 90000", "Retry-After: 90.0"],
    ids=["seconds", "date", "milliseconds", "fraction"],
)
def test_the_call_ends_at_once_and_says_when(
    line: str, status: int, method: str, server: Any, caller: Any
) -> None:
    server.answers(answer(status, line, body=b"closed"), answer())
    call = caller()

    response = call(method)

    assert (response.status_code, response.content) == (status, b"closed")
    assert report(response).retry_after == 90.0
    assert report(response).attempts == 1
    assert call.waits == []


@pytest.mark.parametrize("status", [429, 503])
def test_who_comes_meanwhile_is_told_as_well_and_nothing_is_sent(
    status: int, server: Any, caller: Any
) -> None:
    server.answers(answer(status, "Retry-After: 90"), answer())
    call = caller()
    call()
    call.clock.skip(20.0)

    with pytest.raises(LimitedError) as caught:
        call()

    assert caught.value.retry_after == pytest.approx(70.0)
    assert isinstance(caught.value, call.lib.PoolTimeout)
    assert call.waits == []
    assert len(server.seen) == 1


def test_who_comes_later_waits_for_the_rest(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 90"), answer())
    call = caller()
    call()
    call.clock.skip(50.0)

    assert call().status_code == 200
    assert call.waits == [40.0]
    assert server.seen[1].at == pytest.approx(90.0)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [("10", [10.0]), ("9.999", [9.999]), ("10.001", [])],
    ids=["just in time", "a little before", "a little after"],
)
def test_a_wait_up_to_the_deadline_is_made(
    asked: str, waits: list[float], server: Any, caller: Any
) -> None:
    server.answers(answer(429, f"Retry-After: {asked}"), answer())
    call = caller(retry=Retry(deadline=10.5 if asked == "10" else 10.0))

    call()

    assert call.waits == waits


def test_the_deadline_is_that_of_all_waits_together(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 25", body=b"too many"))
    call = caller()

    response = call()

    assert call.waits == [25.0, 25.0]
    assert response.status_code == 429
    assert response.content == b"too many"
    assert report(response).attempts == 3


def test_no_attempt_starts_after_a_wait_that_took_longer_than_it_should(
    server: Any, caller: Any
) -> None:
    server.answers(answer(429, "Retry-After: 59", body=b"first"), answer())
    call = caller()
    call.clock.during = lambda: call.clock.skip(5.0)

    response = call()

    assert (response.status_code, response.content) == (429, b"first")
    assert len(server.seen) == 1


def test_a_place_in_line_that_comes_too_late_is_given_up(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 59", body=b"first"), answer())
    call = caller(retry=Retry(attempts=1))
    call()
    call.clock.during = lambda: call.clock.skip(5.0)

    with pytest.raises(call.lib.PoolTimeout):
        call()

    assert len(server.seen) == 1


def test_a_wait_that_turns_out_too_long_leaves_the_last_answer_readable(
    server: Any, caller: Any
) -> None:
    """Its body was drained by then, for the wait that was planned was a short one."""
    server.answers(answer(503, "Content-Type: text/plain", body=b"down" * 1_000), answer())
    call = caller()
    call.clock.during = lambda: call.gates[0].pacer.close(500.0)

    response = call()

    assert response.status_code == 503
    assert response.content == b"down" * 1_000
    assert call.waits == [0.125]
    assert report(response).retry_after == pytest.approx(499.875)
    assert server.connections == 1


@pytest.mark.parametrize("asked", ["5", "40"])
def test_what_was_asked_before_is_not_told_of_a_later_answer(
    asked: str, server: Any, caller: Any
) -> None:
    server.answers(answer(429, f"Retry-After: {asked}"), answer(404))
    call = caller()

    response = call()

    assert response.status_code == 404
    assert report(response).retry_after is None
