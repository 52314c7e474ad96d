"""Limits as servers have them, without a network: what they accept, and what they say of it.

The tests let a simulated client run against them on a virtual clock; the benchmark puts
each behind a real server. Read :class:`Bucket`; the others are like it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

from attrs import define, field

Form: TypeAlias = Literal["draft", "epoch", "used", "retry-after", "none"]
EPOCH = 1_750_000_000.0
"""Second 0 of the clock that servers are asked by, in seconds since 1970."""


class Limit(Protocol):
    """A limit; ``take(now)`` says whether a request is accepted, and with which headers."""

    def take(self, now: float) -> tuple[bool, Mapping[str, str]]: ...

    def left_off(self) -> None:
        """Take note that an accepted request is over."""


@define
class Bucket:
    """``rate`` tokens a second flow into a bucket of ``burst``; a request takes one."""

    rate: float = 50.0
    burst: int = 50
    form: Form = "draft"
    _left: float = field(init=False)
    _at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._left = float(self.burst)

    def take(self, now: float) -> tuple[bool, Mapping[str, str]]:
        self._left = min(float(self.burst), self._left + (now - self._at) * self.rate)
        self._at = now
        accepted = self._left >= 1.0
        self._left -= accepted
        told: dict[str, str] = {}
        if self.form == "draft":
            window = max(1, math.ceil(self.burst / self.rate))
            told["ratelimit"] = f'"bucket";r={int(self._left)};t=1'
            told["ratelimit-policy"] = f'"bucket";q={self.burst};w={window}'
        elif self.form == "used":
            used = self.burst - int(self._left)
            told["x-shopify-shop-api-call-limit"] = f"{used}/{self.burst}"
        if not accepted and self.form != "none":
            told["retry-after"] = "2.0" if self.form == "used" else "1"
        return accepted, told

    def left_off(self) -> None: ...


@define
class Window:
    """``limit`` requests in each window of ``seconds``, which all end at the same time."""

    limit: int = 500
    seconds: float = 10.0
    form: Form = "draft"
    _counts: Counter[int] = field(factory=Counter)

    @property
    def rate(self) -> float:
        return self.limit / self.seconds

    def take(self, now: float) -> tuple[bool, Mapping[str, str]]:
        number = int(now // self.seconds)
        accepted = self._counts[number] < self.limit
        self._counts[number] += accepted
        left, ends = self.limit - self._counts[number], (number + 1) * self.seconds
        reset = math.ceil(ends - now)
        if self.form == "epoch":
            return accepted, {
                "x-ratelimit-limit": f"{self.limit}",
                "x-ratelimit-remaining": f"{left}",
                "x-ratelimit-reset": f"{int(EPOCH + ends)}",
            }
        told = {
            "ratelimit": f'"window";r={left};t={reset}',
            "ratelimit-policy": f'"window";q={self.limit};w={math.ceil(self.seconds)}',
        }
        return accepted, told if accepted else told | {"retry-after": f"{reset}"}

    def left_off(self) -> None: ...


@define
class SlidingLog:
    """``limit`` requests in any ``seconds``."""

    limit: int = 500
    seconds: float = 10.0
    _log: deque[float] = field(factory=deque)

    @property
    def rate(self) -> float:
        return self.limit / self.seconds

    def take(self, now: float) -> tuple[bool, Mapping[str, str]]:
        while self._log and self._log[0] <= now - self.seconds:
            self._log.popleft()
        accepted = len(self._log) < self.limit
        if accepted:
            self._log.append(now)
        more = max(1, math.ceil(self._log[0] + self.seconds - now))
        told = {
            "ratelimit": f'"log";r={self.limit - len(self._log)};t={more}',
            "ratelimit-policy": f'"log";q={self.limit};w={math.ceil(self.seconds)}',
        }
        return accepted, told if accepted else told | {"retry-after": f"{more}"}

    def left_off(self) -> None: ...


@define
class Concurrent:
    """``most`` requests at once; it says nothing of it."""

    most: int = 5
    _busy: int = 0

    def take(self, now: float) -> tuple[bool, Mapping[str, str]]:
        accepted = self._busy < self.most
        self._busy += accepted
        return accepted, {}

    def left_off(self) -> None:
        self._busy -= 1
