"""Transports that keep a pace and send again what may be sent again, in any httpx client.

Decides how a :class:`~syncsdk.resilience.calls.Call` is driven: for threads and for event
loops. A transport wraps another one and makes no request and no response of its own, so it
works in httpx, in what was forked from it, and in the client that a vendor's SDK takes.

Read :class:`ReliableTransport`; :class:`AsyncReliableTransport` is the same with ``await``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from attrs import define, field, frozen

from syncsdk.errors import ConfigurationError, SyncError, TransientError
from syncsdk.resilience.calls import (
    FAILURES,
    RETURN,
    SEND,
    Action,
    Budget,
    Call,
    Failure,
    Purse,
    Raise,
    Retry,
    Wait,
)
from syncsdk.resilience.headers import DIALECTS, Dialect, Quota, Reading
from syncsdk.resilience.pacing import Pacer, RateLimit
from syncsdk.runtime import Lock, Runtime, current, pause, sleep

from . import bodies

__all__ = [
    "AsyncReliableTransport",
    "CallReport",
    "Gates",
    "Guard",
    "ReliableTransport",
    "UnsafeToRetry",
]


class UnsafeToRetry(TransientError):
    """A call failed, and sending it again could do twice what it asks for.

    It is raised as a subclass of the transport's own exception as well, such as
    ``httpx.ReadTimeout``: code that catches that goes on working.

    Attributes:
        maybe_applied: the server may have done it.
    """

    maybe_applied: bool = True


def _origins(given: Iterable[str] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)


@frozen
class Guard:
    """What never leaves, and what never comes in.

    Args:
        origins: such as ``https://api.example.com``. A request to any other, be it by a
            redirect, a link or a mistake, goes without credentials: of its headers only
            those that tell no secret are kept. None for any origin.
        refuse: raise instead.
        max_body: bytes of one answer, decoded; None for any number.
        max_request: bytes of a body that are kept to be sent again.
    """

    origins: frozenset[str] | None = field(default=None, converter=_origins)
    refuse: bool = field(default=False, kw_only=True)
    max_body: int | None = field(default=64 << 20, kw_only=True)
    max_request: int = field(default=64 << 20, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for each in self.origins or ():
            scheme, _, rest = each.partition("://")
            if scheme not in ("http", "https") or not rest or set(rest) & set("/@?#"):
                raise ConfigurationError(
                    f"{each} is no origin", remedy="Write scheme and host: https://api.example.com"
                )


class CallReport(NamedTuple):
    """What a call came to; ``response.extensions["syncsdk"]``.

    Attributes:
        attempts: how often it was sent.
        throttled: how often the server refused it for there were too many.
        quotas: the limits that the last answer told.
        retry_after: seconds after which it may be sent again, if the server said so and
            that was beyond the deadline.
        maybe_applied: an attempt before, or this one, may have been acted upon.
    """

    attempts: int
    throttled: int
    quotas: Sequence[Quota]
    retry_after: float | None
    maybe_applied: bool


@define(eq=False)
class _Gate:
    pacer: Pacer
    purse: Purse


class Gates:
    """The pace and the retry budget of each quota; may be shared by transports.

    Args:
        limit, budget: of each quota.
        most: quotas that are remembered. For one more the oldest that is idle is forgotten; as
            many more are kept as are in use.
    """

    def __init__(
        self,
        limit: RateLimit | None = None,
        budget: Budget | None = None,
        *,
        most: int = 10_000,
    ) -> None:
        self._limit = RateLimit() if limit is None else limit
        self._budget = Budget() if budget is None else budget
        self._most = most
        self._gates: OrderedDict[Hashable, _Gate] = OrderedDict()
        self._lock = Lock()

    def of(self, key: Hashable) -> _Gate:
        """Return the gate of a quota."""
        gate = self._gates.get(key)
        if gate is not None:
            return gate
        with self._lock:
            gate = self._gates.setdefault(key, _Gate(Pacer(self._limit), Purse(self._budget)))
            if len(self._gates) > self._most:
                self._drop(key, current().monotonic())
            return gate

    def _drop(self, newest: Hashable, now: float) -> None:
        """Forget the oldest that nobody needs; none, if all of them are in use."""
        for key, gate in self._gates.items():
            if key != newest and gate.pacer.is_idle(now):
                del self._gates[key]
                return


_CREDENTIALS: Final = frozenset((
    b"authorization", b"api-key", b"cookie", b"private-token", b"x-api-key", b"x-auth-token",
    b"x-shopify-access-token",
))  # fmt: skip
_HARMLESS: Final = frozenset((
    "accept", "accept-encoding", "accept-language", "cache-control", "connection",
    "content-encoding", "content-language", "content-length", "content-type", "date",
    "expect", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "range", "te", "transfer-encoding", "user-agent",
))  # fmt: skip
"""Headers that tell no secret."""


_PLAIN: Final = dict[bytes, bool]()
"""Whether a header holds no credential, by its name as it was written."""
_SPELLINGS: Final = 500


def origin_and_credential(request: Any) -> Hashable:
    """Return what a quota mostly belongs to: an origin, and who asks there."""
    url, secrets = request.url, []
    for name, value in request.headers.raw:
        is_plain = _PLAIN.get(name)
        if is_plain is None:
            is_plain = name.lower() not in _CREDENTIALS
            if len(_PLAIN) < _SPELLINGS:
                _PLAIN[name] = is_plain
        if not is_plain:
            secrets.append(value)
    return url.raw_scheme, url.raw_host, url.port, *secrets


class _Reliable:
    """What both faces share."""

    def __init__(
        self,
        transport: Any,
        *,
        retry: Retry | None = None,
        limit: RateLimit | None = None,
        budget: Budget | None = None,
        guard: Guard | None = None,
        dialects: Sequence[Dialect] = DIALECTS,
        scope: Callable[[Any], Hashable] = origin_and_credential,
        gates: Gates | None = None,
    ) -> None:
        self._inner = transport
        self._retry = Retry() if retry is None else retry
        self._guard = Guard() if guard is None else guard
        signed = (sign.header[0] for sign in self._retry.signs if sign.header is not None)
        self._reading = Reading(tuple(dialects), frozenset(signed))
        self._scope = scope
        self._gates = Gates(limit, budget) if gates is None else gates
        self._closed = False

    def _begun(self, request: Any, runtime: Runtime, now: float) -> Call:
        """Return the call of a request, whose body can be sent again."""
        if self._closed:
            raise like_pool(request, "the transport is closed")
        if self._guard.origins is not None:
            self._guarded(request)
        retry = self._retry
        gate = self._gates.of(self._scope(request))
        repeatable, keyed = request.method in retry.methods, False
        if not repeatable:
            keyed = any(request.headers.get(name) for name in retry.key_headers)
            repeatable = keyed or request.headers.get("if-match", "") not in ("", "*")
        if retry.attempts > 1:
            request.stream = bodies.replay(request.stream, self._guard.max_request)
        return Call(
            retry,
            self._reading,
            gate.pacer,
            gate.purse,
            repeatable=repeatable,
            keyed=keyed,
            random=runtime.random,
            now=now,
        )

    def _guarded(self, request: Any) -> None:
        url = request.url
        host = url.raw_host.decode("ascii")
        origin = f"{url.scheme}://[{host}]" if ":" in host else f"{url.scheme}://{host}"
        origin = origin if url.port is None else f"{origin}:{url.port}"
        assert self._guard.origins is not None
        if origin in self._guard.origins:
            return
        if self._guard.refuse:
            raise ConfigurationError(
                f"a request to {origin} was stopped: it is none of the origins of this client",
                remedy="Add it to Guard(origins=), if credentials may go there",
            )
        for name in [name for name in request.headers if name.lower() not in _HARMLESS]:
            del request.headers[name]

    def _timed(self, request: Any, call: Call, now: float) -> None:
        """Let no phase of an attempt last longer than there is time."""
        longest = call.ends - now
        if self._retry.attempt_timeout is not None:
            longest = min(longest, self._retry.attempt_timeout)
        if longest > _LONG:
            return
        given = request.extensions.get("timeout") or {}
        if len(given) == 4:
            for each in given.values():
                if each is None or each > longest:
                    break
            else:
                return
        capped = {
            phase: min(longest, longest if given.get(phase) is None else given[phase])
            for phase in ("connect", "read", "write", "pool")
        }
        request.extensions = {**request.extensions, "timeout": capped}

    def _failed(self, call: Call, request: Any, error: Exception, now: float) -> Action:
        name = type(error).__name__
        stale = name in _STALE and call.attempts == 1
        call.replayable = getattr(request.stream, "is_whole", True)
        failure = FAILURES.get(name, Failure.FINAL)
        if failure is Failure.NEVER_LEFT and type(error.__cause__).__name__ in _LEFT:
            failure = Failure.UNKNOWN
        return call.failed(now, failure, stale=stale)

    def _given(self, call: Call, request: Any, response: Any, runtime: Runtime) -> Any:
        """Return an answer as it is handed on."""
        late = call.retry_at
        if late is not None:
            late = max(0.0, late - runtime.monotonic())
        response.extensions["syncsdk"] = CallReport(
            call.attempts, call.throttled, call.quotas, late, call.maybe_applied
        )
        encoding = call.told.get("content-encoding")
        if encoding and (request.method == "HEAD" or response.status_code in (204, 304)):
            encoding = None  # it tells of a body that is not here
        bodies.watched(response, runtime.monotonic, call.ends, self._guard.max_body, encoding)
        return response


_LONG: Final = 1e8
"""Seconds. A longer timeout is none: sockets take no larger ones."""
_STALE: Final = ("RemoteProtocolError", "ReadError", "WriteError")
_LEFT: Final = frozenset((
    "ClientConnectionError", "ClientConnectionResetError", "ClientOSError",
    "ServerConnectionError", "ServerDisconnectedError",
))  # fmt: skip
"""Causes of aiohttp after which a request may well have left, whatever they are turned into."""


def like_pool(request: Any, words: str) -> Exception:
    """Return an error of the client at hand: no slot was to be had."""
    error: Exception = bodies.like(request, "PoolTimeout")(words)
    return error


def _both(error: SyncError, kind: type[Exception]) -> Exception:
    """Return an error that is also one of ``kind``, so that code which catches that finds it."""
    mixed = type(type(error).__name__, (type(error), kind), {"__reduce__": _plain})
    made: Exception = mixed.__new__(mixed, *error.args)
    made.__dict__.update(error.__dict__)
    return made


def _plain(error: Any) -> Any:
    """Let it be pickled as ours alone, and without the request, which holds credentials."""
    restored, (mixed, args, state) = SyncError.__reduce__(error)
    state.pop("_request", None)
    return restored, (mixed.__mro__[1], args, state)


def _honest(call: Call, error: Exception) -> Exception:
    """Return what to raise for a last exception."""
    if not call.maybe_applied or call.is_repeatable:
        return error
    honest = UnsafeToRetry(
        f"the request failed ({type(error).__name__}) and may have been acted upon",
        remedy="Look whether it was; or send an idempotency key, and it is sent again by itself",
    )
    honest.__dict__.update(error.__dict__)
    return _both(honest, type(error))


def _stopped(runtime: Runtime) -> None:
    if runtime.stop.is_set():
        raise TransientError("the run was asked to stop during a wait")


class ReliableTransport(_Reliable):
    """A transport for ``httpx.Client`` and its like; safe to use from many threads.

    Args:
        transport: the one that sends, such as ``httpx.HTTPTransport()``.
        retry: when and how often a request is sent again.
        limit: what the system allows; what it says of itself is followed besides.
        budget: how many retries all calls of a quota may make.
        guard: where credentials may go, and how large an answer may be.
        dialects: in which headers limits are told.
        scope: returns what the quota of a request belongs to.
        gates: pace and budget of another transport, to share them; then ``limit`` and
            ``budget`` are those of it.
    """

    def handle_request(self, request: Any) -> Any:
        """Send a request; return the last answer, or raise the last exception."""
        runtime = current()
        now = runtime.monotonic()
        call = self._begun(request, runtime, now)
        extensions = request.extensions
        response: Any = None
        error: Exception | None = None
        try:
            action = call.start(now)
            while True:
                if action is SEND:
                    self._timed(request, call, now)
                    try:
                        response, error = self._inner.handle_request(request), None
                    except Exception as caught:
                        response, error = None, caught
                        now = runtime.monotonic()
                        action = self._failed(call, request, caught, now)
                        continue
                    status, body = response.status_code, b""
                    if status in self._retry.looked_at:
                        call.replayable = getattr(request.stream, "is_whole", True)
                        if status in self._retry.with_body:
                            body = bodies.peeked(response, runtime.monotonic, call.ends)
                    now = runtime.monotonic()
                    action = call.answered(now, runtime.now, status, response.headers.raw, body)
                elif action is RETURN:
                    break
                elif type(action) is Wait:
                    if response is not None and not response.is_closed:
                        bodies.drained(response, runtime.monotonic)
                    pause(action.seconds)
                    _stopped(runtime)
                    now = runtime.monotonic()
                    action = call.woke(now)
                elif type(action) is Raise:
                    raise _both(action.error, bodies.like(request, "PoolTimeout"))
        except BaseException:
            call.abandon(runtime.monotonic())
            if response is not None:
                response.stream.close()
            raise
        finally:
            request.extensions = extensions
        if error is not None:
            honest = _honest(call, error)
            if honest is error:
                raise error
            raise honest from error
        return self._given(call, request, response, runtime)

    def close(self) -> None:
        """Close the inner transport."""
        self._closed = True
        self._inner.close()

    def __enter__(self) -> ReliableTransport:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._closed = True
        self._inner.__exit__(*error)


class AsyncReliableTransport(_Reliable):
    """A transport for ``httpx.AsyncClient`` and its like, on asyncio or trio.

    Args: those of :class:`ReliableTransport`.
    """

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request; return the last answer, or raise the last exception."""
        runtime = current()
        now = runtime.monotonic()
        call = self._begun(request, runtime, now)
        extensions = request.extensions
        response: Any = None
        error: Exception | None = None
        try:
            action = call.start(now)
            while True:
                if action is SEND:
                    self._timed(request, call, now)
                    try:
                        response, error = await self._inner.handle_async_request(request), None
                    except Exception as caught:
                        response, error = None, caught
                        now = runtime.monotonic()
                        action = self._failed(call, request, caught, now)
                        continue
                    status, body = response.status_code, b""
                    if status in self._retry.looked_at:
                        call.replayable = getattr(request.stream, "is_whole", True)
                        if status in self._retry.with_body:
                            body = await bodies.apeeked(response, runtime.monotonic, call.ends)
                    now = runtime.monotonic()
                    action = call.answered(now, runtime.now, status, response.headers.raw, body)
                elif action is RETURN:
                    break
                elif type(action) is Wait:
                    if response is not None and not response.is_closed:
                        await bodies.adrained(response, runtime.monotonic)
                    await sleep(action.seconds)
                    _stopped(runtime)
                    now = runtime.monotonic()
                    action = call.woke(now)
                elif type(action) is Raise:
                    raise _both(action.error, bodies.like(request, "PoolTimeout"))
        except BaseException:
            call.abandon(runtime.monotonic())
            if response is not None:
                await response.stream.aclose()
            raise
        finally:
            request.extensions = extensions
        if error is not None:
            honest = _honest(call, error)
            if honest is error:
                raise error
            raise honest from error
        return self._given(call, request, response, runtime)

    async def aclose(self) -> None:
        """Close the inner transport."""
        self._closed = True
        await self._inner.aclose()

    async def __aenter__(self) -> AsyncReliableTransport:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._closed = True
        await self._inner.__aexit__(*error)
