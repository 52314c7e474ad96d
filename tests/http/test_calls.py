"""A call as a machine of states, without any client: what it says next, and why."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsdk.errors import LimitedError, TimedOutError
from syncsdk.resilience.calls import (
    RETURN,
    SEND,
    Action,
    Budget,
    Call,
    Failure,
    Purse,
    Raise,
    Retry,
    Return,
    Wait,
)
from syncsdk.resilience.headers import Reading
from syncsdk.resilience.pacing import Pacer, RateLimit

from .harness import DRAW, NOON

READING = Reading()


def called(
    retry: Retry | None = None,
    *,
    pacer: Pacer | None = None,
    purse: Purse | None = None,
    repeatable: bool = True,
    keyed: bool = False,
) -> Call:
    return Call(
        Retry() if retry is None else retry,
        READING,
        Pacer() if pacer is None else pacer,
        Purse() if purse is None else purse,
        repeatable=repeatable,
        keyed=keyed,
        random=lambda: DRAW,
        now=0.0,
    )


def answered(call: Call, now: float, status: int, **headers: str) -> Action:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return call.answered(now, lambda: NOON, status, raw)


def test_the_plainest_call() -> None:
    call = called()

    assert call.start(0.0) is SEND
    assert answered(call, 0.1, 200) is RETURN
    assert (call.attempts, call.throttled, call.maybe_applied) == (1, 0, False)


def test_a_throttle_then_success() -> None:
    call = called()
    call.start(0.0)

    assert answered(call, 0.1, 429, Retry_After="5") == Wait(5.0)
    assert call.woke(5.2) is SEND
    assert answered(call, 5.3, 200) is RETURN
    assert (call.attempts, call.throttled) == (2, 1)


def test_who_wakes_too_early_waits_for_the_rest() -> None:
    call = called()
    call.start(0.0)
    answered(call, 0.0, 429, Retry_After="5")

    assert call.woke(2.0) == Wait(3.0)
    assert call.woke(5.0) is SEND


@pytest.mark.parametrize(
    "status", [200, 204, 301, 304, 400, 401, 404, 405, 409, 410, 412, 422, 501]
)
def test_an_answer_that_would_not_change_is_returned(status: int) -> None:
    call = called()
    call.start(0.0)

    assert answered(call, 0.0, status) is RETURN


SENT_AGAIN = {
    "repeatable": (True, False, {408, 425, 429, 420, 500, 502, 503, 504, 509, 529, 599}),
    "keyed": (True, True, {408, 409, 425, 429, 420, 500, 502, 503, 504, 509, 529, 599}),
    "neither": (False, False, {425, 429, 420, 509}),
}


@pytest.mark.parametrize("kind", SENT_AGAIN)
@pytest.mark.parametrize("status", [*range(400, 430), 431, 451, *range(500, 530), 599, 600, 999])
def test_which_statuses_are_sent_again(status: int, kind: str) -> None:
    repeatable, keyed, statuses = SENT_AGAIN[kind]
    down = {*statuses, *range(500, 1000)} - {501, 505, 506, 507, 508, 510, 511}
    call = called(repeatable=repeatable, keyed=keyed)
    call.start(0.0)

    again = answered(call, 0.0, status) is not RETURN

    assert again == (status in (down if repeatable else statuses))


@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("failure", list(Failure))
def test_which_failures_are_sent_again(
    failure: Failure, repeatable: bool, replayable: bool
) -> None:
    call = called(repeatable=repeatable)
    call.start(0.0)
    call.replayable = replayable

    again = call.failed(0.0, failure) is not RETURN

    allowed = {Failure.NEVER_LEFT, Failure.UNKNOWN} if repeatable else {Failure.NEVER_LEFT}
    assert again == (replayable and failure in allowed)
    assert call.maybe_applied == (failure is Failure.UNKNOWN)


def test_own_waits_double_up_to_the_cap() -> None:
    call = called(Retry(attempts=9, base=1.0, cap=6.0, deadline=1_000.0))
    action, now, waits = call.start(0.0), 0.0, []
    while not isinstance(action, Return):
        if isinstance(action, Wait):
            waits.append(action.seconds)
            now += action.seconds
            action = call.woke(now)
        else:
            action = answered(call, now, 503)

    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0]


def test_a_server_that_asks_for_less_than_our_own_wait_gets_our_own() -> None:
    call = called(Retry(base=10.0))
    call.start(0.0)

    assert answered(call, 0.0, 503, Retry_After="1") == Wait(5.0)


def test_the_word_of_a_throttling_server_is_taken_as_it_is() -> None:
    call = called(Retry(base=10.0))
    call.start(0.0)

    assert answered(call, 0.0, 429, Retry_After="1") == Wait(1.0)


def test_retries_are_paid_for_until_nothing_is_left() -> None:
    purse = Purse(Budget(capacity=30.0, cost=14.0, throttle_cost=5.0, refund=1.0))
    for status, left in ((503, 16.0), (429, 11.0), (503, 11.0 - 14.0), (429, 6.0), (429, 1.0)):
        call = called(purse=purse)
        call.start(0.0)
        action = answered(call, 0.0, status)
        if left < 0.0:
            assert action is RETURN
        else:
            assert isinstance(action, Wait)
            assert purse.tokens == left
    call = called(purse=purse)
    call.start(0.0)
    assert answered(call, 0.0, 429) is RETURN

    for _ in range(100):
        call = called(purse=purse)
        call.start(0.0)
        answered(call, 0.0, 200)
    assert purse.tokens == 30.0


@pytest.mark.parametrize("status", [404, 429, 500])
def test_only_a_call_that_went_well_earns(status: int) -> None:
    purse = Purse()
    purse.tokens = 100.0
    call = called(Retry(attempts=1), purse=purse)
    call.start(0.0)
    answered(call, 0.0, status)

    assert purse.tokens == 100.0


def test_a_gate_that_stays_closed_past_the_deadline_raises() -> None:
    pacer = Pacer()
    pacer.close(100.0)

    action = called(pacer=pacer).start(0.0)

    assert isinstance(action, Raise)
    assert isinstance(action.error, LimitedError)
    assert action.error.retry_after == 100.0
    assert not pacer._line


def test_a_line_that_is_too_long_raises() -> None:
    pacer = Pacer(RateLimit(0.001))
    first = called(pacer=pacer)
    assert first.start(0.0) is SEND
    answered(first, 0.0, 200)

    call, now = called(Retry(deadline=1.0), pacer=pacer), 0.0
    action = call.start(now)
    while isinstance(action, Wait):
        now += action.seconds
        action = call.woke(now)

    assert isinstance(action, Raise)
    assert isinstance(action.error, TimedOutError)
    assert now <= 1.0
    assert not pacer._line


@pytest.mark.parametrize("moment", ["in line", "under way", "in a wait", "done"])
def test_an_abandoned_call_leaves_nothing_behind(moment: str) -> None:
    pacer = Pacer(RateLimit(1.0))
    other = called(pacer=pacer)
    call = called(pacer=pacer)
    if moment == "in line":
        other.start(0.0)
        answered(other, 0.0, 200)
    call.start(0.0)
    if moment == "in a wait":
        answered(call, 0.0, 429, Retry_After="9")
        call.woke(1.0)
    if moment == "done":
        answered(call, 0.0, 200)

    call.abandon(1.0)

    assert pacer.inflight == 0
    assert not pacer._line


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([200, 403, 404, 409, 425, 429, 500, 503, *Failure, "stale"]),
        st.sampled_from(["", "0", "2", "50", "1e9", "soon", "Sun, 22 Nov 2026 12:00:07 GMT"]),
        st.floats(0.0, 30.0),
    ),
    min_size=1,
    max_size=30,
)


@given(EVENTS, st.booleans(), st.booleans(), st.integers(1, 6), st.floats(0.0, 100.0))
def test_whatever_happens_it_ends_in_time_and_is_never_early(
    events: list[Any], repeatable: bool, keyed: bool, attempts: int, deadline: float
) -> None:
    pacer, purse = Pacer(), Purse()
    call = called(
        Retry(attempts=attempts, deadline=deadline),
        pacer=pacer,
        purse=purse,
        repeatable=repeatable,
        keyed=keyed,
    )
    now, sent, floor, unsafe = 0.0, 0, 0.0, False
    script = itertools.cycle(events)
    action = call.start(now)
    for _ in range(1_000):
        if isinstance(action, Wait):
            assert action.seconds > 0.0
            now += action.seconds
            assert now <= deadline
            action = call.woke(now)
        elif action is SEND:
            assert now >= floor, "it was early"
            assert now < deadline, "it was late"
            assert not unsafe, "it was done twice"
            sent += 1
            what, asked, took = next(script)
            now += took
            if isinstance(what, int):
                headers = {"Retry_After": asked} if asked else {}
                action = answered(call, now, what, **headers)
                refused = what in (425, 429) or (what == 403 and any(map(str.isdigit, asked)))
                if what != 200 and not refused and not repeatable:
                    unsafe = True
                if asked in ("2", "50") and what >= 400:
                    floor = now + float(asked)
            else:
                failure = Failure.UNKNOWN if what == "stale" else what
                action = call.failed(now, failure, stale=what == "stale" and sent == 1)
                unsafe = unsafe or (failure is not Failure.NEVER_LEFT and not repeatable)
        else:
            break
    else:
        pytest.fail("it never ended")

    assert sent <= attempts + 1
    assert call.attempts == sent
    assert pacer.inflight == 0
    assert not pacer._line
    assert isinstance(action, Return) or sent == 0
