"""When the next request may go: a pace from a configured limit, and from what a server says.

Decides how long a request waits, and for whom it waits in line. It is fed with the limits
that responses tell, with the waits that servers ask for, and with refusals that tell
nothing; it never lets more through than was configured, whatever a server says. It does
not wait itself: all times are given to it, in seconds of a clock that only grows.

Without any limit, told or configured, nothing is held back. Read :class:`RateLimit`, then
:meth:`Pacer.ask` and :meth:`Pacer.told`, then :class:`_Gauge`, which follows one limit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field, frozen, validators

from syncsdk.runtime import Lock

from .headers import Quota

__all__ = ["Pacer", "RateLimit"]

SLACK: Final = 0.1
"""Seconds by which a timer may be late without its slot being lost."""
SETTLE: Final = 1.5
"""Seconds in which what is left of a bucket above its reserve is used up."""
SHARED: Final = 0.9
"""Share of its own refill that a process claims; it takes the rest from what is left, like
every other. So all come to have the same."""
GUESS: Final = 0.5
"""Share of what a policy allows that a process claims before anything was measured: others
may be starting at the same time."""
CALM: Final = 3.0
"""Seconds in which the caution after a refusal halves. It must not last: who is cautious for
longer than others leaves them its share."""
MARGIN: Final = 0.5
"""Seconds before the end of a window in which its quota is used up."""
ALONE: Final = 1.0
"""Seconds for which the first request of all goes alone: its answer may tell a limit."""
ROUND: Final = 0.25
"""Seconds after which who waits asks again at the latest: the pace may have changed."""


@frozen
class RateLimit:
    """What a system allows, or what you allow yourself there.

    Args:
        requests: how many are allowed in each ``per`` seconds; None for no limit of them.
        per: seconds.
        burst: how many of them may go at once.
        concurrent: how many may be under way at once; None for any number.
    """

    requests: float | None = field(
        default=None, validator=validators.optional(validators.gt(0)), kw_only=False
    )
    per: float = field(default=1.0, validator=validators.gt(0))
    burst: int = field(default=1, validator=validators.ge(1), kw_only=True)
    concurrent: int | None = field(
        default=None, validator=validators.optional(validators.ge(1)), kw_only=True
    )

    @property
    def rate(self) -> float:
        """Requests a second; infinite without a limit."""
        return math.inf if self.requests is None else self.requests / self.per


@define(eq=False)
class Pacer:
    """The pace of all requests that share one quota; safe to use from many threads.

    Args:
        limit: what is never exceeded.

    Attributes:
        until: nothing goes before this moment.
        rate: requests a second that go, as it is known now.
        inflight: requests under way.
    """

    limit: RateLimit = field(factory=RateLimit)
    until: float = -math.inf
    rate: float = math.inf
    inflight: int = 0
    _last: float = -math.inf
    _most: float = math.inf
    _concurrent: float = math.inf
    _first: float = math.inf
    _answered: bool = False
    _open: bool = False  # no limit is known
    _line: deque[object] = field(factory=deque)
    _gauges: dict[str, _Gauge] = field(factory=dict)
    _meter: _Meter = field(factory=lambda: _Meter())
    _trial: _Trial | None = None
    _lock: Any = field(factory=Lock)

    def __attrs_post_init__(self) -> None:
        self._most = self.rate = self.limit.rate
        self._concurrent = math.inf if self.limit.concurrent is None else self.limit.concurrent

    def ask(self, who: object, now: float) -> float:
        """Let a request go, or say how long it waits before it asks again.

        Args:
            who: the request; in line from its first answer above 0.0 until it goes, or
                until :meth:`leave`.
            now: seconds.

        Returns:
            0.0, and the request is under way; or seconds to wait.
        """
        with self._lock:
            line = self._line
            if self._open and not line and now >= self.until:
                self.inflight += 1
                return 0.0
            if line and line[0] is not who:
                if who not in line:
                    line.append(who)
                before = line.index(who) / self.rate if self.rate > 0.0 else ROUND
                return min(ROUND, max(0.001, max(self.until, self._next) - now + before))
            wait = self._wait(now)
            if wait <= 0.0:
                waited = bool(line)
                if waited:
                    line.popleft()
                if self.rate != math.inf:
                    # Who did not wait has no late timer, and gets no more than the burst.
                    slot, earliest = self._next, now - (self._behind if waited else self._burst)
                    self._last = slot if slot > earliest else earliest
                self.inflight += 1
                return 0.0
            if not line:
                line.append(who)
            return wait if self.until > now else min(ROUND, wait)

    def leave(self, who: object) -> None:
        """Take a request out of the line: it was cancelled, or gave up."""
        with self._lock:
            if who in self._line:
                self._line.remove(who)

    def done(self, now: float, *, accepted: bool, quotas: Sequence[Quota] = ()) -> None:
        """Take note that a request is not under way any more, and of the limits it was told.

        Args:
            now: seconds.
            accepted: the server answered, and not that there were too many.
            quotas: what the response tells.
        """
        with self._lock:
            self.inflight -= 1
            if accepted:
                meter = self._meter
                if meter.start <= now < meter.start + 0.25:
                    meter.count += 1
                else:
                    meter.begin(now)
            if self._open and not quotas:
                return
            self._answered = True
            for each in self._gauges.values():
                each.sent += accepted
            for quota in quotas:
                if quota.concurrent:
                    if quota.limit:
                        self._concurrent = min(self.limit.concurrent or math.inf, quota.limit)
                    continue
                gauge = self._gauges.get(quota.name)
                if gauge is None:
                    gauge = self._gauges[quota.name] = _Gauge()
                    self._trial = None
                gauge.told(now, quota, self.inflight)
            if self._gauges:
                self._follow(now)
            elif self._trial is not None and accepted:
                self._trial.went_well(now, self._meter)
                self.rate = min(self._most, self._trial.rate)
            self._open = self.rate == self._concurrent == math.inf and not self._gauges

    def throttled(self, now: float, *, sent: float, wait: float | None) -> None:
        """Take note that a server refused a request for there were too many.

        Args:
            now: seconds.
            sent: when the request went.
            wait: seconds that the server asks for; None if it did not say.
        """
        with self._lock:
            if wait is not None:
                self.until = max(self.until, now + wait)
            self._open = False
            known = [each for each in self._gauges.values() if each.at > now - each.lasts]
            if known:
                for each in known:
                    each.refused(now, sent)
                self._follow(now)
                return
            if self._trial is None:
                self._trial = _Trial()
            self._trial.refused(now, sent, self._meter)
            self.rate = min(self._most, self._trial.rate)

    def is_idle(self, now: float) -> bool:
        """Return whether it could be forgotten: nothing is under way, in line or held back."""
        return not self.inflight and not self._line and self.until <= now

    def close(self, until: float) -> None:
        """Let nothing go before a moment: the server said so."""
        with self._lock:
            self.until = max(self.until, until)

    # -- Under the lock ----------------------------------------------------------------

    @property
    def _next(self) -> float:
        """When the next slot is, at the pace of now."""
        return self._last + 1.0 / self.rate if self.rate > 0.0 else math.inf

    @property
    def _behind(self) -> float:
        """How far the next slot may lie behind now: the burst, and late timers."""
        # Of a small bucket a burst would be a large part.
        slack = SLACK
        for each in self._gauges.values():
            if each.limit:
                slack = min(slack, 0.2 * each.limit / self.rate)
        return slack + self._burst

    @property
    def _burst(self) -> float:
        """How far it may lie behind for the sake of the burst."""
        return (self.limit.burst - 1) / self.rate

    def _wait(self, now: float) -> float:
        if now < self.until:
            return self.until - now
        if not self._answered:
            if self.inflight and now < self._first + ALONE:
                return 0.01
            self._first = min(self._first, now)
        if self.inflight >= self._concurrent:
            return 0.01
        if self._gauges:
            self._follow(now)
            if now < self.until:
                return self.until - now
        if self.rate == math.inf:
            return 0.0
        if self.rate <= 0.0:
            return ROUND
        early = self._next - now
        return early if early > 0.0 else 0.0

    def _follow(self, now: float) -> None:
        """Take the pace of the tightest limit."""
        rate = self._most
        for each in self._gauges.values():
            allowed = each.rate(now, self.inflight)
            if allowed < rate:
                rate = allowed
            if each.closed > self.until:
                self.until = each.closed
        if self._last == -math.inf and rate < math.inf:
            self._last = now  # what went before counts as well
        self.rate = rate


@define(eq=False)
class _Meter:
    """Counts what was accepted, by quarters of a second."""

    start: float = math.inf
    count: int = 0
    past: deque[tuple[float, int]] = field(factory=lambda: deque[tuple[float, int]](maxlen=16))
    began: float = math.inf

    def begin(self, now: float) -> None:
        """Count the first of another quarter."""
        if self.count:
            self.past.append((self.start, self.count))
        self.start, self.count = now, 1
        self.began = min(self.began, now)

    def rate(self, now: float, within: float = 2.0) -> float:
        """Return how many were accepted a second lately."""
        number = self.count + sum(n for at, n in self.past if at > now - within)
        return number / max(min(within, now - self.began), 0.5)


@define(eq=False)
class _Gauge:
    """One limit, followed from response to response.

    A window counts down and is full again at its reset; a bucket refills all the time. They
    are told apart by how far away the reset is.

    Attributes:
        left: what was left, when it was told last.
        at: when that was.
        reset: when there is more; the earliest that was told of one window, for seconds are
            rounded up.
        net: refill of a bucket a second, less what others take.
        sent: requests that were accepted.
        closed: until when nothing is left.
    """

    limit: float | None = None
    window: float | None = None
    left: float = 0.0
    at: float = -math.inf
    reset: float | None = None
    net: float = 0.0
    sent: float = 0.0
    closed: float = -math.inf
    is_window: bool = False
    caution: float = 0.0
    _refused: float = -math.inf
    _lowest: float = -math.inf
    _mark: tuple[float, float, float] | None = None

    @property
    def lasts(self) -> float:
        """Seconds for which what was told is of use."""
        return max(2 * (self.window or 0.0), 60.0)

    def told(self, now: float, quota: Quota, inflight: int) -> None:
        told = quota.remaining or 0.0
        reset = None if quota.reset is None else now + quota.reset
        before = self.reset
        self.limit, self.window = quota.limit or self.limit, quota.window or self.window
        self.at = now
        if (
            before is not None
            and reset is not None
            and before <= reset + 0.1
            and reset < before + 1.05
        ):
            # The same window, of which answers may come out of order.
            if reset < before:
                self.reset = reset
            if told <= self.left or not self.is_window:
                self.left, self._lowest = told, now
            elif now - self._lowest > 0.5:  # for that long more was left: it refills
                self.left, self.is_window, self._mark = told, False, None
                self._guess()
        else:
            self.reset, self.left, self._lowest = reset, told, now
            tick = 1.5 * self.window / self.limit if self.limit and self.window else 0.0
            self.is_window = reset is not None and reset - now > max(tick, 1.0)
            if self.is_window:
                self._mark = None
        if self._mark is None:
            self._mark = now, told, self.sent
            if not self.is_window:
                self._guess()
            return
        since, left, sent = self._mark
        if now - since >= 0.25 and not self.is_window:
            own = (self.sent - sent) / (now - since)
            refill = (told - left) / (now - since) + own
            if self.limit is not None and told + inflight >= self.limit - 1:  # it overflows
                more = max(0.0, told - inflight - self.reserve) / 0.5
                more *= 1.0 - 0.75 * self._careful(now)
                self.net = max(self.net, min(1.5 * own, own + more))
            else:
                self.net += 0.5 * (max(0.0, refill) - self.net)
            self._mark = now, told, self.sent

    def refused(self, now: float, sent: float) -> None:
        if sent >= self.at - 1.0:
            self.left = 0.0
            self.caution = min(1.0, self._careful(now) + 0.25)
            self._refused = now

    def _guess(self) -> None:
        """Take what a policy says for the refill, until it is measured."""
        if self.limit and self.window:
            self.net = max(self.net, GUESS * self.limit / self.window)

    def _careful(self, now: float) -> float:
        return self.caution * 0.5 ** ((now - self._refused) / CALM) if self.caution else 0.0

    @property
    def reserve(self) -> float:
        """What is left in a bucket on purpose, for others and for what is under way."""
        whole = self.limit or 10.0
        little = min(0.2 * whole, 0.25 * self.net + 1.0)
        return max(little, 0.5 * self._careful(self.at) * whole) if self.caution else little

    def rate(self, now: float, inflight: int) -> float:
        left = self.left - inflight
        if not self.is_window:
            least = 1.0 if left >= 1.0 else 0.1  # nothing is learnt from silence
            wanted = SHARED * self.net + (left - self.reserve) / SETTLE
            return max(wanted, 0.2 * self.net, least)
        assert self.reset is not None
        if now >= self.reset:  # full again, though nobody has said so yet
            return max((self.limit or 1.0) / (self.window or 10.0), 1.0)
        if left < 1.0:
            if inflight == 0:
                self.closed = self.reset
            return 0.0
        return left / max(self.reset - now - MARGIN, 0.05)


@define(eq=False)
class _Trial:
    """A pace found by trial, where a server refuses and never says what it allows."""

    rate: float = math.inf
    ceiling: float = math.inf
    _step: float = 0.0
    _lowered: float = -math.inf
    _raised: float = -math.inf

    def went_well(self, now: float, meter: _Meter) -> None:
        if now - self._raised >= 0.5:
            self._raised = now
            if self.rate < 0.95 * self.ceiling:
                more = 0.1
            else:  # slowly past where it was refused, then faster
                more = self._step = min(0.3, 2.0 * self._step)
            self.rate = max(self.rate, min(2.0 * meter.rate(now, 1.0), self.rate * (1.0 + more)))

    def refused(self, now: float, sent: float, meter: _Meter) -> None:
        if sent < self._lowered:
            return  # it went before the pace was lowered
        measured = meter.rate(now, 1.0)
        known = self.rate != math.inf
        self.ceiling = max(measured, 0.9 * self.rate) if known else measured
        self._step = 0.005 if known else 0.25
        self.rate = max(0.9 * measured, 0.5)
        self._lowered = self._raised = now
