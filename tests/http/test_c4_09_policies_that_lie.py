"""C4.9: a policy that lies, both ways: rounded windows say less, or more, than there is."""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import pytest

from syncsdk.resilience.headers import Reading
from syncsdk.resilience.pacing import Pacer

from .harness import NOON, answer, report


class Bucket:
    """A server that lets ``rate`` requests a second through, ``burst`` of them at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.left, self.at = burst, 0.0

    def take(self, now: float) -> bool:
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


def simulated(bucket: Bucket, policy: str, seconds: float = 30.0) -> tuple[int, int]:
    """Return how many of 16 workers' requests were accepted and refused, in virtual time."""
    pacer, reading = Pacer(), Reading()
    order = itertools.count()
    events = [(0.0, next(order), "ask", object(), 0.0) for _ in range(16)]
    accepted = refused = 0
    while events and events[0][0] < seconds:
        now, _, what, who, sent = heapq.heappop(events)
        if what == "ask":
            wait = pacer.ask(who, now)
            after = 0.02 if wait <= 0.0 else wait
            what, sent = ("answer", now) if wait <= 0.0 else ("ask", sent)
            heapq.heappush(events, (now + after, next(order), what, who, sent))
            continue
        ok = bucket.take(now)
        told = {"ratelimit-policy": policy, "ratelimit": f'"a";r={int(bucket.left)};t=1'}
        pacer.done(now, accepted=ok, quotas=reading.quotas(told, NOON))
        if ok:
            accepted += 1
        else:
            refused += 1
            pacer.throttled(now, sent=sent, wait=1.0)
        heapq.heappush(events, (now + (0.0 if ok else 0.1), next(order), "ask", who, 0.0))
    return accepted, refused


def test_a_policy_that_says_less_than_there_is_does_not_hold_us_back() -> None:
    accepted, refused = simulated(Bucket(50.0, 10.0), '"a";q=10;w=1')

    assert accepted >= 0.8 * 50.0 * 30.0
    assert refused <= 0.02 * accepted


def test_a_policy_that_says_more_than_there_is_is_not_believed_for_long() -> None:
    accepted, refused = simulated(Bucket(10.0, 20.0), '"a";q=20;w=1')

    assert accepted >= 0.8 * 10.0 * 30.0
    assert refused <= 0.1 * accepted


def test_a_policy_that_tells_the_truth_is_used_up() -> None:
    accepted, refused = simulated(Bucket(50.0, 50.0), '"a";q=50;w=1')

    assert accepted >= 0.9 * 50.0 * 30.0
    assert refused <= 0.01 * accepted


@pytest.mark.parametrize("q", ["1", "1000000"], ids=["says less", "says more"])
def test_a_refusal_counts_more_than_a_policy(q: str, server: Any, caller: Any) -> None:
    told = [f'RateLimit-Policy: "a";q={q};w=1', 'RateLimit: "a";r=1']
    server.answers(answer(429, *told, "Retry-After: 9"), answer(200, *told))
    call = caller()

    response = call()

    assert response.status_code == 200
    assert report(response).throttled == 1
    assert 9.0 <= server.seen[1].at <= 20.0
