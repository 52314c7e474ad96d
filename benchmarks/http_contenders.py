"""What makes a client of httpx send again and keep a pace: each library as its users have it.

A contender is a transport around another one, or a wrapper around a call, or both. Each has
its library's defaults where it has any; what has none (tenacity's ``stop`` and ``wait``) is
as its documentation shows it.

Read :class:`Contender`, then the others in any order.
"""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import httpx

Call = Callable[..., Any]

REFUSED = frozenset((429, 500, 502, 503, 504))
"""Statuses after which the contenders that have no opinion send again."""


class Contender:
    """The client as it is, and what all others are told.

    Args:
        is_async: whether calls are coroutines.
        waits: what own waits are multiplied with; what a server asks for is not.
        known: requests and seconds of the server's limit, for who cannot find out.
        share: the part of it that this process may use.

    Attributes:
        name, needs: of the contender, and the module that it needs.
        knows_others: it is told how many processes there are.
    """

    name: ClassVar[str] = "httpx"
    needs: ClassVar[str] = "httpx"
    knows_others: ClassVar[bool] = False

    def __init__(
        self,
        *,
        is_async: bool,
        waits: float = 1.0,
        known: tuple[float, float] = (50.0, 1.0),
        share: float = 1.0,
    ) -> None:
        self.is_async = is_async
        self.waits = waits
        self.known = known
        self.share = share

    def transport(self, inner: Any) -> Any:
        """Return the transport that goes into the client."""
        return inner

    def around(self, call: Call) -> Call:
        """Return what the user calls instead of ``call``."""
        return call


class Empty(Contender):
    """A transport that does nothing: what any would cost."""

    name = "empty transport"

    def transport(self, inner: Any) -> Any:
        if self.is_async:
            return _AsyncWrapped(inner.handle_async_request)
        return _Wrapped(inner.handle_request)


class _Wrapped(httpx.BaseTransport):
    def __init__(self, handle: Call) -> None:
        self._handle = handle

    def handle_request(self, request: Any) -> Any:
        return self._handle(request)


class _AsyncWrapped(httpx.AsyncBaseTransport):
    def __init__(self, handle: Call) -> None:
        self._handle = handle

    async def handle_async_request(self, request: Any) -> Any:
        return await self._handle(request)


class HttpxRetries(Contender):
    name = "httpx-retries"
    needs = "httpx_retries"

    def transport(self, inner: Any) -> Any:
        return import_module("httpx_retries").RetryTransport(transport=inner)


class Tenacity(Contender):
    name = "tenacity"
    needs = "tenacity"

    def around(self, call: Call) -> Call:
        tenacity = import_module("tenacity")
        wrapped: Call = tenacity.retry(
            retry=tenacity.retry_if_exception_type(httpx.TransportError)
            | tenacity.retry_if_result(lambda response: response.status_code in REFUSED),
            wait=tenacity.wait_random_exponential(multiplier=0.5 * self.waits, max=20),
            stop=tenacity.stop_after_attempt(5),
            retry_error_callback=lambda state: state.outcome.result(),
        )(call)
        return wrapped


class _Refused(Exception):
    def __init__(self, response: Any) -> None:
        self.response = response


class Stamina(Contender):
    name = "stamina"
    needs = "stamina"

    def around(self, call: Call) -> Call:
        stamina = import_module("stamina")
        stamina.instrumentation.set_on_retry_hooks([])
        decorated: Callable[[Call], Call] = stamina.retry(
            on=(httpx.TransportError, _Refused),
            wait_initial=0.1 * self.waits,
            wait_max=5.0 * self.waits,
            wait_jitter=1.0 * self.waits,
        )
        if self.is_async:

            @decorated
            async def once(*given: Any) -> Any:
                return _raised(await call(*given))

            async def asked(*given: Any) -> Any:
                try:
                    return await once(*given)
                except _Refused as refused:
                    return refused.response

            return asked

        @decorated
        def once_here(*given: Any) -> Any:
            return _raised(call(*given))

        def asked_here(*given: Any) -> Any:
            try:
                return once_here(*given)
            except _Refused as refused:
                return refused.response

        return asked_here


def _raised(response: Any) -> Any:
    if response.status_code in REFUSED:
        raise _Refused(response)
    return response


class Botocore(Contender):
    """The classes of botocore's adaptive mode, driven as its handler drives them."""

    name = "botocore adaptive"
    needs = "botocore"

    def around(self, call: Call) -> Call:
        adaptive, bucket, throttling = (
            import_module(f"botocore.retries.{name}")
            for name in ("adaptive", "bucket", "throttling")
        )
        unavailable = import_module("botocore.exceptions").CapacityNotAvailableError
        clock = bucket.Clock()
        cubic = throttling.CubicCalculator(starting_max_rate=0, start_time=clock.current_time())
        tokens = bucket.TokenBucket(max_rate=1, clock=clock)
        clocker, enabled = adaptive.RateClocker(clock), False

        async def slot() -> None:
            while enabled:
                try:
                    tokens.acquire(block=False)
                    break
                except unavailable:
                    await asyncio.sleep(max(0.001, tokens._sleep_amount(1)))

        def answered(throttled: bool) -> None:
            nonlocal enabled
            measured, now = clocker.record(), clock.current_time()
            if throttled:
                used = min(measured, tokens.max_rate) if enabled else measured
                rate, enabled = cubic.error_received(used, now), True
            else:
                rate = cubic.success_received(now)
            tokens.max_rate = min(rate, 2.0 * measured)

        async def asked(*given: Any) -> Any:
            for attempt in range(5):
                await slot()
                response = await call(*given)
                answered(response.status_code == 429)
                if response.status_code not in REFUSED:
                    break
                await asyncio.sleep(random.random() * min(2.0**attempt, 20.0) * self.waits)
            return response

        return asked


class Aiolimiter(Contender):
    """It knows the limit; other processes it does not know of."""

    name = "aiolimiter, limit known"
    needs = "aiolimiter"

    def around(self, call: Call) -> Call:
        requests, seconds = self.known
        most = max(1.0, requests * self.share)
        limiter = import_module("aiolimiter").AsyncLimiter(
            most, most * seconds / (requests * self.share)
        )

        async def asked(*given: Any) -> Any:
            async with limiter:
                return await call(*given)

        return asked


class Shared(Aiolimiter):
    """It knows of the others as well, and takes an even share."""

    name = "aiolimiter, share known"
    knows_others = True


class Ours(Contender):
    name = "syncsdk"
    needs = "syncsdk"

    def transport(self, inner: Any) -> Any:
        from syncsdk.http import AsyncReliableTransport, ReliableTransport, Retry

        kind = AsyncReliableTransport if self.is_async else ReliableTransport
        if self.waits == 1.0:
            return kind(inner)
        return kind(inner, retry=Retry(base=0.25 * self.waits, cap=20.0 * self.waits))


RETRYING = (HttpxRetries, Tenacity, Stamina, Ours)
PACING = (Contender, HttpxRetries, Tenacity, Stamina, Botocore, Aiolimiter, Shared, Ours)
BY_NAME = {kind.name: kind for kind in (Empty, *PACING)}


def installed(kinds: tuple[type[Contender], ...]) -> list[type[Contender]]:
    """Return those whose library is here."""
    return [kind for kind in kinds if find_spec(kind.needs) is not None]


# -- Limiters by themselves ------------------------------------------------------------


def limiters() -> dict[str, Callable[[], Call]]:
    """Return what takes a slot that is free, by the name of who does; a coroutine, if it is one.

    Each builds a limiter that has a slot whenever it is asked.
    """
    return {"syncsdk": _pacer} | {
        name: build for name, (needs, build) in _LIMITERS.items() if find_spec(needs) is not None
    }


PLENTY = 1_000_000_000


def _pacer() -> Call:
    from syncsdk.resilience.pacing import Pacer, RateLimit

    pacer, now, who = Pacer(RateLimit(PLENTY, burst=PLENTY)), time.monotonic, object()

    def acquire() -> None:
        assert pacer.ask(who, now()) == 0.0
        pacer.done(now(), accepted=True)

    return acquire


def _aiolimiter() -> Call:
    warnings.filterwarnings("ignore", "This AsyncLimiter instance", RuntimeWarning)
    acquire: Call = import_module("aiolimiter").AsyncLimiter(PLENTY, 1.0).acquire
    return acquire


def _token_bucket() -> Call:
    module = import_module("token_bucket")
    limiter = module.Limiter(PLENTY, PLENTY, module.MemoryStorage())
    return lambda: limiter.consume("key")


def _limits() -> Call:
    limits = import_module("limits")
    strategies, storage = import_module("limits.strategies"), import_module("limits.storage")
    limiter = strategies.SlidingWindowCounterRateLimiter(storage.MemoryStorage())
    item = limits.RateLimitItemPerSecond(PLENTY)
    return lambda: limiter.hit(item, "key")


def _pyrate() -> Call:
    module = import_module("pyrate_limiter")
    limiter = module.Limiter(module.Rate(PLENTY, module.Duration.SECOND))
    return lambda: limiter.try_acquire("key")


def _throttled() -> Call:
    module = import_module("throttled")
    limiter = module.Throttled(
        key="key", using="gcra", quota=module.rate_limiter.per_sec(PLENTY, burst=PLENTY)
    )
    return lambda: limiter.limit()


_LIMITERS = {
    "token-bucket": ("token_bucket", _token_bucket),
    "aiolimiter": ("aiolimiter", _aiolimiter),
    "limits": ("limits", _limits),
    "throttled-py": ("throttled", _throttled),
    "pyrate-limiter": ("pyrate_limiter", _pyrate),
}
