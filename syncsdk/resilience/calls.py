"""What to do next with a call: send it, wait, hand its answer on, or raise.

Decides what an answer means, whether a request may be sent again, after how long, and when
it is enough. It sees no request and no response, only facts about them, and does no I/O:
``http`` drives a :class:`Call` through its actions, once for threads and once for event
loops. Leaves to ``pacing`` how many requests may go, and to ``headers`` what headers mean.

Read :class:`Meaning`, the table :data:`SIGNS`, :class:`Retry`, then :meth:`Call.answered`
and :meth:`Call.failed`.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import Factory, define, field, frozen, validators

from syncsdk.errors import LimitedError, TimedOutError

from .headers import LONGEST, Quota, Reading, number, retry_after, server_time

if TYPE_CHECKING:
    from .pacing import Pacer

__all__ = [
    "FAILURES",
    "SIGNS",
    "Action",
    "Budget",
    "Call",
    "Failure",
    "Meaning",
    "Purse",
    "Raise",
    "Retry",
    "Return",
    "Send",
    "Sign",
    "Wait",
    "meaning",
]


# -- What an answer means --------------------------------------------------------------


class Meaning(enum.Enum):
    """What an answer says of its request, whatever its status."""

    DONE = "done"
    """It did what was asked."""
    THROTTLED = "throttled"
    """There were too many; this one was refused, and did nothing."""
    UNAVAILABLE = "unavailable"
    """The other side is down or overloaded; whether it did something is unknown."""
    EARLY = "early"
    """It was not looked at; it may be sent again."""
    IN_PROGRESS = "in progress"
    """The same idempotency key is being worked on."""
    UNAUTHENTICATED = "unauthenticated"
    """Credentials are missing, wrong, expired, or do not suffice."""
    MISCONFIGURED = "misconfigured"
    """Such a request is never right there."""
    REJECTED = "rejected"
    """What it carried was refused."""
    GONE = "gone"
    """What it speaks of is not there."""
    CONFLICT = "conflict"
    """What it speaks of is in another state."""


def _statuses(of: Iterable[int]) -> frozenset[int]:
    return frozenset(of)


@frozen
class Sign:
    """What tells a meaning; everything that is given must hold.

    Attributes:
        meaning: what it tells.
        status: the statuses that it is a sign with.
        header: a header's name in lower case and a regular expression that is found in its
            value; without regard to case.
        body: a regular expression that is found in the first 64 KiB of the body. With a
            status below 400 the body of every such answer is read before it is handed on.
        keyed: only for requests that carry an idempotency key.
    """

    meaning: Meaning
    status: frozenset[int] = field(converter=_statuses)
    header: tuple[str, str] | None = None
    body: str | None = None
    keyed: bool = False


_THROTTLED, _LATER = Meaning.THROTTLED, Meaning.UNAVAILABLE
SIGNS: Final = (
    Sign(_THROTTLED, [403], header=("x-ratelimit-remaining", r"^0+$")),  # GitHub, its main limit
    Sign(_THROTTLED, [403], header=("retry-after", r"\d")),  # GitHub, its secondary limits
    Sign(_THROTTLED, [403], body=r"rate limit"),
    Sign(_THROTTLED, [403], body=r"REQUEST_LIMIT_EXCEEDED"),  # Salesforce
    Sign(_THROTTLED, [400], body=r"SSS_REQUEST_LIMIT_EXCEEDED"),  # NetSuite
    Sign(_THROTTLED, [420, 429, 509]),
    Sign(Meaning.EARLY, [425]),
    Sign(_LATER, [408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529]),
    Sign(Meaning.IN_PROGRESS, [409], keyed=True),
    Sign(Meaning.UNAUTHENTICATED, [401, 402, 403, 407, 511]),
    Sign(Meaning.GONE, [404, 410]),
    Sign(Meaning.CONFLICT, [409, 412]),
    Sign(Meaning.MISCONFIGURED, [405, 406, 411, 415, 426, 428, 431, 501, 505, 506, 507, 508, 510]),
)
"""What statuses, headers and bodies mean; the first that fits. Any other from 400 to 499 is
REJECTED, from 500 UNAVAILABLE, and what is lower DONE."""

SHOPIFY_GRAPHQL: Final = Sign(_THROTTLED, [200], body=r'"code"\s*:\s*"THROTTLED"')
SLACK: Final = Sign(_THROTTLED, [200], body=r'"error"\s*:\s*"ratelimited"')
"""Throttles that look like success; give them as ``signs=`` where they may come."""


def meaning(
    status: int,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    keyed: bool = False,
    signs: Sequence[Sign] = SIGNS,
) -> Meaning:
    """Return what an answer means.

    Args:
        status: of the answer.
        headers: names in lower case.
        body: its first 64 KiB.
        keyed: the request carried an idempotency key.
        signs: what tells; the first that fits decides.
    """
    for sign in signs:
        if status not in sign.status or (sign.keyed and not keyed):
            continue
        if sign.header is not None:
            name, pattern = sign.header
            if not re.search(pattern, headers.get(name, ""), re.IGNORECASE):
                continue
        if sign.body is not None and not re.search(sign.body.encode(), body, re.IGNORECASE):
            continue
        return sign.meaning
    if status < 400:
        return Meaning.DONE
    return Meaning.REJECTED if status < 500 else Meaning.UNAVAILABLE


class Failure(enum.Enum):
    """What an exception of a transport says of its request."""

    NEVER_LEFT = "never left"
    """No byte of it was sent."""
    UNKNOWN = "unknown"
    """It may have been acted upon."""
    FINAL = "final"
    """It would fail again."""


FAILURES: Final[Mapping[str, Failure]] = {
    "ConnectError": Failure.NEVER_LEFT,
    "ConnectTimeout": Failure.NEVER_LEFT,
    "PoolTimeout": Failure.NEVER_LEFT,
    "ProxyError": Failure.NEVER_LEFT,
    "ReadError": Failure.UNKNOWN,
    "ReadTimeout": Failure.UNKNOWN,
    "WriteError": Failure.UNKNOWN,
    "WriteTimeout": Failure.UNKNOWN,
    "CloseError": Failure.UNKNOWN,
    "RemoteProtocolError": Failure.UNKNOWN,
}
"""Exceptions of httpx and what was forked from it, by the name of their class. Others are
final."""


# -- How often, and how long -----------------------------------------------------------


def _methods(of: Iterable[str]) -> frozenset[str]:
    return frozenset(each.upper() for each in of)


def _of_bodies(its: Retry) -> frozenset[int]:
    """Return the statuses of which the body has to be seen."""
    return _statuses(each for sign in its.signs if sign.body is not None for each in sign.status)


def _of_any(its: Retry) -> frozenset[int]:
    """Return the statuses that may mean anything but success."""
    return _statuses([*range(400, 1000), *(each for sign in its.signs for each in sign.status)])


@frozen
class Retry:
    """When and how often a request is sent again.

    Args:
        attempts: how often it is sent at most, the first time included.
        deadline: seconds that a call may take, with all attempts and waits.
        attempt_timeout: seconds that a server may be silent in one attempt; None for what
            the client says.
        base, cap: seconds of the first and of the longest wait of our own; each is drawn
            between 0 and double the last.
        wait: a tenacity ``wait_*`` object, instead of these.
        stop: a tenacity ``stop_*`` object, besides ``attempts`` and ``deadline``.
        methods: may be sent again without a key (RFC 9110 §9.2.2).
        key_headers: a request with one of them may be sent again.
        signs: what answers mean.
    """

    attempts: int = field(default=4, validator=validators.ge(1))
    deadline: float = field(default=60.0, validator=validators.ge(0.0))
    attempt_timeout: float | None = field(
        default=None, validator=validators.optional(validators.gt(0.0))
    )
    base: float = field(default=0.25, validator=validators.ge(0.0))
    cap: float = field(default=20.0, validator=validators.ge(0.0))
    wait: Callable[[Any], float] | None = None
    stop: Callable[[Any], bool] | None = None
    methods: frozenset[str] = field(
        default=frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY")),
        converter=_methods,
    )
    key_headers: tuple[str, ...] = (
        "idempotency-key",
        "x-idempotency-key",
        "paypal-request-id",
        "chargebee-idempotency-key",
    )
    signs: tuple[Sign, ...] = SIGNS
    with_body: frozenset[int] = field(
        init=False, eq=False, repr=False, default=Factory(_of_bodies, takes_self=True)
    )
    looked_at: frozenset[int] = field(
        init=False, eq=False, repr=False, default=Factory(_of_any, takes_self=True)
    )


@frozen
class Budget:
    """How many retries all calls of one quota may make; a call that goes well earns some back.

    With a server that is down, this is what keeps retries from multiplying its load.

    Args:
        capacity: tokens, full at the start.
        cost: of a retry after a failure.
        throttle_cost: of a retry after a throttle.
        refund: for a call that went well at once.
    """

    capacity: float = field(default=500.0, validator=validators.ge(0.0))
    cost: float = field(default=14.0, validator=validators.ge(0.0))
    throttle_cost: float = field(default=5.0, validator=validators.ge(0.0))
    refund: float = field(default=1.0, validator=validators.ge(0.0))


@define(eq=False)
class Purse:
    """What is left of a budget.

    Changes are not atomic between threads: a lost refund does no harm.

    Attributes:
        answered: an answer came since the last retry that was free.
    """

    budget: Budget = field(factory=Budget)
    tokens: float = field(init=False)
    answered: bool = False

    def __attrs_post_init__(self) -> None:
        self.tokens = self.budget.capacity

    def earn(self) -> None:
        """Take note of a call that went well."""
        if self.tokens < self.budget.capacity:
            self.tokens = min(self.budget.capacity, self.tokens + self.budget.refund)

    def spend(self, *, throttled: bool) -> bool:
        """Pay for a retry; return whether there was enough."""
        cost = self.budget.throttle_cost if throttled else self.budget.cost
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


# -- A call ----------------------------------------------------------------------------


@frozen
class Send:
    """Send the request."""


@frozen
class Wait:
    """Wait, then ask again with :meth:`Call.woke`.

    Attributes:
        seconds: how long.
    """

    seconds: float


@frozen
class Return:
    """Hand the last answer on, or raise the last exception: there will be no other."""


@frozen
class Raise:
    """Raise; nothing was sent."""

    error: LimitedError | TimedOutError


Action: TypeAlias = Send | Wait | Return | Raise
SEND: Final = Send()
RETURN: Final = Return()


class Call:
    """One call, from its first wait to its last answer.

    Drive it so: do what the last action says, then tell what came of it, by
    :meth:`start` at first, :meth:`woke` after a wait, :meth:`answered` or :meth:`failed`
    after sending; :meth:`abandon` if it is cancelled. All times are seconds of a clock that
    only grows.

    Attributes:
        attempts: how often it was sent.
        throttled: how often it was refused for there were too many.
        quotas: what the last answer told.
        told: the headers of the last answer that say something.
        retry_at: seconds of the clock before which it should not be sent again; where the
            call ends for that is too late.
        maybe_applied: an attempt may have been acted upon.
        is_repeatable: doing it twice is as doing it once.
        replayable: its body can be sent again; kept up to date by who drives it.
        ends: seconds of the clock at which it has to be over.
    """

    # What a call begins with stands in its class: most calls change little of it.
    attempts = 0
    throttled = 0
    quotas: Sequence[Quota] = ()
    told: Mapping[str, str] = MappingProxyType({})
    retry_at: float | None = None
    maybe_applied = False
    replayable = True
    _backoff = 0
    _extra = 0
    _slot = False

    def __init__(
        self,
        retry: Retry,
        reading: Reading,
        pacer: Pacer,
        purse: Purse,
        *,
        repeatable: bool,
        keyed: bool,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self._retry = retry
        self._reading = reading
        self._pacer = pacer
        self._purse = purse
        self.is_repeatable = repeatable
        self._keyed = keyed
        self._random = random
        self._started = now
        self.ends = now + retry.deadline
        self._sent = now

    def start(self, now: float) -> Action:
        """Return whether it may go at once."""
        wait = self._pacer.ask(self, now) if now < self.ends else 0.0
        if wait > 0.0 or now >= self.ends:
            return self._wait_for_slot(now, wait)
        self._slot = True
        self._sent = now
        self.attempts += 1
        return SEND

    woke = start
    """After a wait: it is the same question."""

    def _wait_for_slot(self, now: float, wait: float) -> Action:
        if now + wait < self.ends:
            return Wait(wait)
        self._pacer.leave(self)
        if wait > 0.0:
            self.retry_at = now + wait
        if self.attempts:
            return RETURN
        if self._pacer.until > now:
            return Raise(
                LimitedError(
                    f"the next request may go in {wait:.0f} seconds, which is past the deadline of "
                    f"{self._retry.deadline:g}",
                    retry_after=wait,
                )
            )
        return Raise(
            TimedOutError(
                f"the deadline of {self._retry.deadline:g} seconds passed in line for a slot",
                remedy="Send less at once, or give the call more time",
            )
        )

    def answered(
        self,
        now: float,
        wall: Callable[[], datetime],
        status: int,
        raw: Sequence[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> Action:
        """Take an answer, and return what to do next.

        Args:
            now: seconds.
            wall: returns the time here, an aware datetime.
            status, raw: of the answer.
            body: the first 64 KiB of what it carries, where :attr:`Retry.with_body` has the
                status.
        """
        told = self.told = self._reading.told(raw)
        quotas = self.quotas = self._reading.quotas(told, wall()) if told else []
        self.retry_at = None
        self._purse.answered = True
        if status not in self._retry.looked_at:
            self._slot = False
            self._pacer.done(now, accepted=True, quotas=quotas)
            if self.attempts == 1:
                self._purse.earn()
            return RETURN
        means = meaning(status, told, body, keyed=self._keyed, signs=self._retry.signs)
        self._slot = False
        throttled = means is Meaning.THROTTLED
        self._pacer.done(now, accepted=not throttled, quotas=quotas)
        asked = self._asked(told, wall())
        if throttled:
            self.throttled += 1
            self._pacer.throttled(now, sent=self._sent, wait=asked)
        elif asked is not None and status >= 400:
            self._pacer.close(now + asked)
        if asked is not None:
            self.retry_at = now + asked
        if means is Meaning.UNAVAILABLE:
            self.maybe_applied = True
        elif means is Meaning.DONE and self.attempts == 1:
            self._purse.earn()
        said = told.get("x-should-retry", told.get("stripe-should-retry", ""))
        verdict = _SAYS.get(said.strip().lower())
        again = means in _AGAIN if verdict is None else verdict
        refused = means in (Meaning.THROTTLED, Meaning.EARLY)
        if not again or not self.replayable or not (self.is_repeatable or refused):
            return RETURN
        return self._again(now, asked or 0.0, throttled=throttled)

    def failed(self, now: float, failure: Failure, *, stale: bool = False) -> Action:
        """Take an exception of the transport, and return what to do next.

        Args:
            now: seconds.
            failure: what it means.
            stale: the connection was closed before a byte of the answer came, as happens
                to one that was kept open for too long. One retry is then free, and the next
                such only after an answer: a server that is down is not sent twice as much.
        """
        self._slot = False
        self._pacer.done(now, accepted=False)
        if failure is Failure.UNKNOWN:
            self.maybe_applied = True
        if failure is Failure.FINAL or not self.replayable:
            return RETURN
        if not self.is_repeatable and failure is not Failure.NEVER_LEFT:
            return RETURN
        if stale and self._purse.answered and self._retry.attempts > 1:
            self._purse.answered = False
            self._extra = 1
            return self.start(now)
        return self._again(now, 0.0, throttled=False)

    def abandon(self, now: float) -> None:
        """Let go of its place in line, or of its slot: it was cancelled."""
        if self._slot:
            self._slot = False
            self._pacer.done(now, accepted=False)
        else:
            self._pacer.leave(self)

    # ------------------------------------------------------------------------------

    def _asked(self, told: Mapping[str, str], wall: datetime) -> float | None:
        """Return the seconds that the server asks to wait, in whatever form."""
        exact = number(told.get("retry-after-ms", ""))
        if exact is not None:
            return min(exact / 1000.0, LONGEST)
        text = told.get("retry-after")
        return None if text is None else retry_after(text, now=server_time(told, wall))

    def _again(self, now: float, asked: float, *, throttled: bool) -> Action:
        """Return the wait before the next attempt, or that this was the last."""
        retry = self._retry
        counted = self.attempts - self._extra
        if counted >= retry.attempts:
            return RETURN
        state = _State(counted, now - self._started)
        own = self._own(state) if asked <= 0.0 or not throttled else 0.0
        wait = state.upcoming_sleep = max(asked, own)
        if now + wait >= self.ends or (retry.stop is not None and retry.stop(state)):
            return RETURN
        if not self._purse.spend(throttled=throttled):
            return RETURN
        self._backoff += 1
        return Wait(wait) if wait > 0.0 else self.start(now)

    def _own(self, state: _State) -> float:
        if self._retry.wait is not None:
            seconds = float(self._retry.wait(state))
            return seconds if 0.0 <= seconds < math.inf else self._retry.cap
        longest = min(self._retry.cap, self._retry.base * 2.0 ** min(self._backoff, 60))
        return self._random() * longest


_AGAIN: Final = (Meaning.THROTTLED, Meaning.UNAVAILABLE, Meaning.EARLY, Meaning.IN_PROGRESS)
_SAYS: Final = {"true": True, "false": False}


@define
class _State:
    """What tenacity's ``wait_*`` and ``stop_*`` objects ask of the state of a retry."""

    attempt_number: int
    seconds_since_start: float
    idle_for: float = 0.0
    upcoming_sleep: float = 0.0
    outcome: Any = None
    fn: Any = None
