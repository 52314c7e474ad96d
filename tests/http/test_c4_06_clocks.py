"""C4.6: a clock that is wrong, that is set back during a wait, and that jumps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncsdk.http import RateLimit, Retry
from syncsdk.resilience.headers import Reading, retry_after, server_time
from syncsdk.resilience.pacing import SLACK, Pacer

from .harness import NOON, answer, date, epoch

SKEWS = [
    pytest.param(-600.0, id="10 minutes slow"),
    pytest.param(0.0, id="right"),
    pytest.param(600.0, id="10 minutes fast"),
]
MOMENTS = [
    pytest.param(str(epoch(300)), id="epoch seconds"),
    pytest.param(f"{epoch(300)}000", id="epoch milliseconds"),
    pytest.param("2026-11-22T12:05Z", id="ISO minute"),
]
SPANS = [
    pytest.param("300", id="delta"),
    pytest.param("300000", id="delta in milliseconds"),
    pytest.param("300.0", id="delta as a float"),
]


def reset(text: str, wrong: float, told_date: str | None) -> float | None:
    told = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": text}
    if told_date is not None:
        told["date"] = told_date
    (quota,) = Reading().quotas(told, NOON + timedelta(seconds=wrong))
    return quota.reset


@pytest.mark.parametrize("wrong", SKEWS)
@pytest.mark.parametrize("text", MOMENTS + SPANS)
def test_with_the_date_of_the_response_a_wrong_clock_does_no_harm(text: str, wrong: float) -> None:
    assert reset(text, wrong, date(0)) == 300.0


@pytest.mark.parametrize("wrong", SKEWS)
@pytest.mark.parametrize("text", SPANS)
def test_a_span_needs_no_date(text: str, wrong: float) -> None:
    assert reset(text, wrong, None) == 300.0


@pytest.mark.parametrize("text", MOMENTS)
def test_without_a_date_a_moment_is_off_by_as_much_as_the_clock(text: str) -> None:
    assert reset(text, -600.0, None) == 900.0
    assert reset(text, 0.0, None) == 300.0
    assert reset(text, 600.0, None) is None  # past, by that clock: as if it was not told


@pytest.mark.parametrize("wrong", SKEWS)
@pytest.mark.parametrize("text", MOMENTS)
@pytest.mark.parametrize("said", ["yesterday", "", "0", date(0) + ", " + date(0)])
def test_a_date_that_is_none_is_as_none(said: str, text: str, wrong: float) -> None:
    here = NOON + timedelta(seconds=wrong)

    assert server_time({"date": said}, here) in (here, NOON)


@pytest.mark.parametrize("wrong", SKEWS)
def test_retry_after_as_a_date_is_measured_from_the_servers_date(wrong: float) -> None:
    here = NOON + timedelta(seconds=wrong)
    told = {"date": date(0)}

    assert retry_after(date(30), now=server_time(told, here)) == 30.0


@pytest.mark.parametrize("wrong", SKEWS)
def test_a_client_whose_clock_is_wrong_waits_right(wrong: float, server: Any, caller: Any) -> None:
    server.answers(answer(429, f"Date: {date(0)}", f"Retry-After: {date(30)}"), answer())
    call = caller()
    call.clock.wrong = wrong

    assert call().status_code == 200
    assert call.waits == [30.0]


@pytest.mark.parametrize("wrong", SKEWS)
@pytest.mark.parametrize("text", MOMENTS + SPANS)
def test_a_client_whose_clock_is_wrong_waits_for_the_reset(
    text: str, wrong: float, server: Any, caller: Any
) -> None:
    told = ["X-RateLimit-Limit: 9", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {text}"]
    server.answers(answer(200, f"Date: {date(0)}", *told), answer())
    call = caller(retry=Retry(deadline=1_000.0))
    call.clock.wrong = wrong

    call()
    call()

    assert 300.0 <= server.seen[1].at <= 301.0


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0], ids=["back a day", "forth a day"])
def test_a_wall_clock_that_is_set_during_a_wait_changes_nothing(
    step: float, server: Any, caller: Any
) -> None:
    server.answers(answer(429, "Retry-After: 5"), answer(429, f"Retry-After: {date(25)}"), answer())
    call = caller()
    call.clock.during = lambda: setattr(call.clock, "wrong", 0.0 if call.clock.wrong else step)

    response = call()

    assert call.waits[0] == 5.0
    if step < 0.0:  # the date is then a day away
        assert response.status_code == 429
    else:
        assert response.status_code == 200
    assert server.seen[1].at == 5.0


@pytest.mark.parametrize("burst", [1, 5])
def test_after_a_suspension_no_more_than_the_burst_goes_at_once(burst: int) -> None:
    pacer = Pacer(RateLimit(10, burst=burst))
    for now in (0.0, 0.5):
        assert pacer.ask(object(), now) == 0.0
        pacer.done(now, accepted=True)

    at_once = 0
    while pacer.ask(who := object(), 3_600.0) == 0.0:
        pacer.done(3_600.0, accepted=True)
        at_once += 1
    pacer.leave(who)

    assert at_once <= burst + SLACK * 10


def test_a_machine_that_slept_past_the_wait_sends_at_once(server: Any, caller: Any) -> None:
    server.answers(answer(429, "Retry-After: 5"), answer())
    call = caller(retry=Retry(deadline=10_000.0))
    call.clock.during = lambda: call.clock.skip(3_600.0)

    assert call().status_code == 200
    assert call.waits == [5.0]
