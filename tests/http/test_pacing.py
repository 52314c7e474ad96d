"""The pace of requests, on a virtual clock: the limit is used, not exceeded, and nobody starves."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import define

from benchmarks.http_servers import EPOCH, Bucket, Concurrent, Limit, SlidingLog, Window
from syncsdk.http import Gates, Quota, RateLimit
from syncsdk.resilience.headers import Reading, retry_after
from syncsdk.resilience.pacing import SLACK, Pacer


@define
class Run:
    """What some processes came to against one server."""

    accepted: list[float]
    refused: list[float]
    by_process: list[int]
    waits: list[float]

    def steady(self, rate: float, start: float = 10.0, end: float = 30.0) -> float:
        """Return the share of the allowed rate that was used between two moments."""
        return sum(start < at <= end for at in self.accepted) / (rate * (end - start))


@define(eq=False)
class Worker:
    """Sends one request after the other."""

    process: int


def simulated(
    server: Limit,
    *,
    processes: int = 1,
    workers: int = 16,
    latency: float = 0.02,
    seconds: float = 30.0,
    limit: RateLimit | None = None,
    seed: int = 0,
) -> Run:
    """Let workers send one request after the other for some virtual seconds."""
    chance, reading, events, number = random.Random(seed), Reading(), [], 0
    pacers = [Pacer(limit or RateLimit()) for _ in range(processes)]
    run = Run([], [], [0] * processes, [])

    def later(at: float, what: Callable[..., None], *given: Any) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (at, number, what, given))

    def ask(who: Worker, began: float, now: float) -> None:
        wait = pacers[who.process].ask(who, now)
        if wait > 0.0:
            later(now + wait + chance.random() * 0.002, ask, who, began)  # timers are late
            return
        way = latency * (0.8 + 0.4 * chance.random()) / 2
        later(now + way, arrive, who, began, now, way)

    def arrive(who: Worker, began: float, sent: float, way: float, now: float) -> None:
        accepted, told = server.take(now)
        later(now + way, answer, who, began, sent, accepted, told)

    def answer(
        who: Worker, began: float, sent: float, accepted: bool, told: Any, now: float
    ) -> None:
        pacer, wall = pacers[who.process], datetime.fromtimestamp(EPOCH + now, UTC)
        pacer.done(now, accepted=accepted, quotas=reading.quotas(dict(told), wall))
        if accepted:
            server.left_off()
            run.accepted.append(now)
            run.by_process[who.process] += 1
            run.waits.append(now - began)
            ask(who, now, now)
        else:
            run.refused.append(now)
            text = told.get("retry-after")
            pacer.throttled(
                now, sent=sent, wait=None if text is None else retry_after(text, now=wall)
            )
            ask(who, began, now)

    for process in range(processes):
        for _ in range(workers):
            later(chance.random() * 0.01, lambda who, now: ask(who, now, now), Worker(process))
    while events[0][0] < seconds:
        at, _, what, given = heapq.heappop(events)
        what(*given, at)
    return run


TOLD = {
    "bucket of 50": (lambda: Bucket(50, 50), 0.02, 0.98),
    "bucket of 10": (lambda: Bucket(50, 10), 0.02, 0.98),
    "window": (lambda: Window(), 0.02, 0.98),
    "window told in epoch seconds": (lambda: Window(form="epoch"), 0.02, 0.98),
    "short window": (lambda: Window(100, 5.0), 0.02, 0.98),
    "used of limit": (lambda: Bucket(50, 40, "used"), 0.02, 0.98),
    "sliding log": (lambda: SlidingLog(), 0.02, 0.94),
    "fast and far": (lambda: Bucket(150, 20), 0.06, 0.95),
    "slow and far": (lambda: Bucket(7, 30), 0.15, 0.95),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", TOLD)
def test_a_limit_that_is_told_is_used_and_never_exceeded(name: str, seed: int) -> None:
    server, latency, share = TOLD[name]
    limit = server()

    run = simulated(limit, latency=latency, seed=seed)

    assert run.steady(limit.rate) >= share
    assert len(run.refused) <= 0.001 * len(run.accepted)


@pytest.mark.parametrize("name", TOLD)
def test_processes_that_know_nothing_of_each_other_use_it_as_well(name: str) -> None:
    server, latency, _ = TOLD[name]
    limit = server()

    run = simulated(limit, processes=4, latency=latency)

    assert run.steady(limit.rate) >= 0.95
    assert len(run.refused) <= 0.03 * len(run.accepted)


@pytest.mark.parametrize(
    ("form", "burst", "least", "refused"),
    [("retry-after", 50, 0.93, 0.03), ("none", 10, 0.95, 0.03)],
)
def test_a_limit_that_is_not_told_is_found_by_trial(
    form: Any, burst: int, least: float, refused: float
) -> None:
    for seed in range(3):
        run = simulated(Bucket(50, burst, form), seed=seed)

        assert run.steady(50) >= least
        assert len(run.refused) <= refused * len(run.accepted)


def test_a_limit_of_requests_under_way_is_found_by_trial() -> None:
    run = simulated(Concurrent(5))

    assert len(run.accepted) > 0.5 * 5 / 0.02 * 30
    assert len(run.refused) <= 0.02 * len(run.accepted)


def test_without_any_limit_nothing_is_held_back() -> None:
    class Open:
        def take(self, now: float) -> tuple[bool, dict[str, str]]:
            return True, {}

        def left_off(self) -> None: ...

    run = simulated(Open(), seconds=3.0)

    assert len(run.accepted) > 0.95 * 16 / 0.02 * 3
    assert max(run.waits[100:]) < 0.03


def test_waits_are_fair_within_a_process() -> None:
    run = simulated(Bucket(50, 50))

    late = sorted(run.waits)
    assert late[int(len(late) * 0.99)] <= 1.7  # 16 workers at 50 a second wait 0.32 on average


# -- What is configured ----------------------------------------------------------------


@pytest.mark.parametrize("burst", [1, 5, 20])
def test_what_is_configured_is_never_exceeded_whatever_a_server_says(burst: int) -> None:
    class Generous:
        def take(self, now: float) -> tuple[bool, dict[str, str]]:
            return True, {
                "ratelimit": '"all";r=999999;t=1',
                "ratelimit-policy": '"all";q=999999;w=1',
            }

        def left_off(self) -> None: ...

    run = simulated(Generous(), limit=RateLimit(20, per=1.0, burst=burst), seconds=20.0)

    times = run.accepted
    for length in (0.5, 1.0, 5.0):
        for at, start in enumerate(times):
            within = sum(start <= each < start + length for each in times[at : at + 200])
            assert within <= 20 * (length + SLACK) + burst + 2  # answers jitter by 4 ms
    assert len(times) >= 0.97 * 20 * 20


def test_no_more_are_under_way_than_is_configured() -> None:
    pacer = Pacer(RateLimit(concurrent=3))
    pacer.ask("first", 0.0)
    pacer.done(0.1, accepted=True)

    assert [pacer.ask(number, 1.0) > 0.0 for number in range(5)] == [False] * 3 + [True] * 2
    pacer.done(1.1, accepted=True)
    assert pacer.ask(3, 1.1) == 0.0


# -- Nothing before its time -----------------------------------------------------------


def test_nothing_goes_before_a_gate_opens_in_a_hundred_thousand_schedules() -> None:
    chance = random.Random(7)
    for _ in range(100_000):
        pacer, now, gate = Pacer(), 0.0, 0.0
        for step in range(8):
            now += chance.choice((0.0, 0.01, 0.3, 2.0))
            act = chance.random()
            if act < 0.5:
                wait = pacer.ask(step % 3, now)
                assert wait > 0.0 or now >= gate
                if wait == 0.0 and chance.random() < 0.8:
                    sent, now = now, now + 0.02
                    asked = chance.choice((None, None, 0.0, 0.5, 3.0, 1e9))
                    pacer.done(now, accepted=asked is None, quotas=_quotas(chance))
                    if asked is not None:
                        pacer.throttled(now, sent=sent, wait=asked)
                        gate = max(gate, now + asked)
            elif act < 0.7:
                pacer.leave(step % 3)
            elif act < 0.8:
                gate = max(gate, now + 1.0)
                pacer.close(now + 1.0)


def _quotas(chance: random.Random) -> list[Quota]:
    if chance.random() < 0.5:
        return []
    numbers = (None, 0.0, 1.0, 50.0, 1e12)
    limit, left, reset, window = (chance.choice(numbers) for _ in range(4))
    return [Quota("q", limit or None, left, reset or None, window or None)]


@pytest.mark.parametrize("wait", [0.001, 5.0, 3600.0, 1e12])
def test_a_wait_is_known_to_its_end(wait: float) -> None:
    pacer = Pacer()
    pacer.ask("a", 0.0)
    pacer.done(0.0, accepted=False)
    pacer.throttled(0.0, sent=0.0, wait=wait)

    assert pacer.ask("a", 0.0) == wait


# -- Who waits, and who leaves ---------------------------------------------------------


def test_requests_go_in_the_order_in_which_they_came() -> None:
    pacer = Pacer(RateLimit(10, per=1.0))
    now, gone = 0.0, []
    waiting = dict.fromkeys(range(30), 0.0)
    while waiting:
        for number, due in list(waiting.items()):
            if due <= now:
                wait = pacer.ask(number, now)
                if wait == 0.0:
                    gone.append(number)
                    pacer.done(now, accepted=True)
                    del waiting[number]
                else:
                    waiting[number] = now + wait
        now += 0.005

    assert gone == sorted(gone)
    assert now == pytest.approx(2.9, abs=0.2)


def test_a_thousand_that_leave_lose_no_slot() -> None:
    pacer = Pacer(RateLimit(200, per=1.0))
    chance = random.Random(1)
    for number in range(1_000):
        pacer.ask(number, 0.0)
    pacer.done(0.0, accepted=True)  # of the first, which went
    for number in chance.sample(range(1_000), 1_000):
        pacer.leave(number)

    now, gone = 0.0, 0
    while gone < 100:
        wait = pacer.ask("next", now)
        if wait == 0.0:
            pacer.done(now, accepted=True)
            gone += 1
        now += max(wait, 0.0005)
    assert now == pytest.approx(0.5, abs=0.11)


def test_a_hundred_threads_are_let_through_at_the_rate() -> None:
    pacer, ends, counted = Pacer(RateLimit(500, burst=20)), time.monotonic() + 1.0, threading.Lock()
    admitted = 0

    def work() -> None:
        nonlocal admitted
        who = object()
        while time.monotonic() < ends:
            wait = pacer.ask(who, time.monotonic())
            if wait > 0.0:
                time.sleep(wait)
                continue
            with counted:
                admitted += 1
            pacer.done(time.monotonic(), accepted=True)
        pacer.leave(who)

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert admitted <= 500 * (1.0 + SLACK) + 20 + 100
    assert pacer.inflight == 0


def test_forgetting_a_pacer_that_nobody_uses_loses_nothing() -> None:
    pacer = Pacer()
    assert pacer.is_idle(0.0)
    pacer.ask("a", 0.0)
    assert not pacer.is_idle(0.05)
    pacer.done(0.1, accepted=False)
    pacer.throttled(0.1, sent=0.0, wait=5.0)
    assert not pacer.is_idle(5.0)
    assert pacer.is_idle(5.2)


def test_as_many_gates_are_kept_as_are_allowed_or_in_use() -> None:
    gates = Gates(most=3)
    for number in range(50):
        gates.of(number)
    assert len(gates._gates) == 3

    for number in range(3):
        gates.of(("busy", number)).pacer.ask(number, 0.0)
    for number in range(50):
        gates.of(("more", number))
    assert {("busy", 0), ("busy", 1), ("busy", 2)} <= gates._gates.keys()
    assert len(gates._gates) <= 3 + 50
    for number in range(3):
        gates.of(("busy", number)).pacer.done(0.1, accepted=True)


@pytest.mark.parametrize("burst", [1, 3])
def test_no_more_than_the_burst_goes_after_idling(burst: int) -> None:
    pacer = Pacer(RateLimit(100, burst=burst))
    pacer.ask("first", 0.0)
    pacer.done(0.0, accepted=True)

    gone = sum(pacer.ask(number, 10.0) == 0.0 for number in range(50))

    assert gone == burst


def test_where_nothing_is_left_the_next_request_waits_though_no_reset_was_told() -> None:
    pacer = Pacer()
    pacer.ask("a", 0.0)
    pacer.done(0.1, accepted=True, quotas=[Quota("q", 10.0, 0.0)])

    assert pacer.ask("b", 0.1) > 0.0
