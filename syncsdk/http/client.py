"""Clients that keep their promises, and what an answer means to a sync.

Decides what ``httpx`` gets on top: the reliable transports, safe defaults, answers read
with exact numbers, statuses as errors of the tree. Leaves retries and pace to
``transports``.

Read :class:`Client`, then :func:`raise_typed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from syncsdk.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    LimitedError,
    RejectedError,
    SyncError,
    UnavailableError,
)
from syncsdk.resilience.calls import SIGNS, Budget, Meaning, Retry, Sign, meaning
from syncsdk.resilience.headers import DIALECTS, Dialect
from syncsdk.resilience.pacing import RateLimit

from .transports import (
    AsyncReliableTransport,
    Gates,
    Guard,
    ReliableTransport,
    origin_and_credential,
)

__all__ = ["AsyncClient", "Client", "parsed", "raise_typed"]

POOLS: Final = 8
"""Pools of an asynchronous client: one gets slow with many requests under way."""
_DEFAULTS: Final[dict[str, Any]] = {"timeout": 30.0}


def _options(
    base_url: str, guard: Guard | None, options: dict[str, Any]
) -> tuple[dict[str, Any], Guard]:
    """Return httpx's options, and a guard that keeps credentials at ``base_url``."""
    headers = httpx.Headers(options.pop("headers", None))
    headers.setdefault("accept-encoding", "gzip, deflate")  # what can be decoded bit by bit
    if guard is None:
        parts = urlsplit(base_url)
        guard = Guard([f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"] if base_url else None)
    return _DEFAULTS | options | {"base_url": base_url, "headers": headers}, guard


def _wrapped(client: Any, kind: Callable[..., Any], **how: Any) -> None:
    """Put a reliable transport around each that a client has, those of proxies too."""
    client._transport = kind(client._transport, **how)
    client._mounts = {at: each and kind(each, **how) for at, each in client._mounts.items()}


class Client(httpx.Client):
    """An ``httpx.Client`` that keeps a pace, sends again what may be, and guards credentials.

    Args:
        base_url: of the system. Credentials go to its origin only, unless ``guard`` says
            otherwise.
        retry, limit, budget, guard, dialects, scope, gates: see
            :class:`~.transports.ReliableTransport`.
        options: all that ``httpx.Client`` takes. The timeout is 30 seconds, if none is given.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        retry: Retry | None = None,
        limit: RateLimit | None = None,
        budget: Budget | None = None,
        guard: Guard | None = None,
        dialects: Sequence[Dialect] = DIALECTS,
        scope: Callable[[Any], Hashable] = origin_and_credential,
        gates: Gates | None = None,
        **options: Any,
    ) -> None:
        options, guard = _options(base_url, guard, options)
        gates = Gates(limit, budget) if gates is None else gates
        super().__init__(**options)
        _wrapped(
            self,
            ReliableTransport,
            retry=retry,
            guard=guard,
            dialects=dialects,
            scope=scope,
            gates=gates,
        )


class AsyncClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` with what :class:`Client` has.

    It spreads its requests over several pools, for one pool gets slow with many of them
    under way.

    Args: those of :class:`Client`.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        retry: Retry | None = None,
        limit: RateLimit | None = None,
        budget: Budget | None = None,
        guard: Guard | None = None,
        dialects: Sequence[Dialect] = DIALECTS,
        scope: Callable[[Any], Hashable] = origin_and_credential,
        gates: Gates | None = None,
        **options: Any,
    ) -> None:
        options, guard = _options(base_url, guard, options)
        gates = Gates(limit, budget) if gates is None else gates
        super().__init__(**options)
        _wrapped(
            self,
            AsyncReliableTransport,
            retry=retry,
            guard=guard,
            dialects=dialects,
            scope=scope,
            gates=gates,
        )

    def _init_transport(self, *args: Any, **options: Any) -> Any:
        if options.get("transport") is not None:
            return super()._init_transport(*args, **options)
        return _Spread(
            [super(AsyncClient, self)._init_transport(*args, **options) for _ in range(POOLS)]
        )


class _Spread(httpx.AsyncBaseTransport):
    """Several transports, of which the least busy one sends; the first, if all are idle."""

    def __init__(self, transports: Sequence[httpx.AsyncBaseTransport]) -> None:
        self._transports = transports
        self._busy = [0] * len(transports)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        at = self._busy.index(min(self._busy))
        self._busy[at] += 1
        try:
            response = await self._transports[at].handle_async_request(request)
        except BaseException:
            self._busy[at] -= 1
            raise
        response.stream = _Counted(response.stream, self._busy, at)
        return response

    async def aclose(self) -> None:
        for each in self._transports:
            await each.aclose()


class _Counted(httpx.AsyncByteStream):
    """An answer's stream; its transport is busy until it is closed."""

    def __init__(self, stream: Any, busy: list[int], at: int) -> None:
        self._stream = stream
        self._busy: list[int] | None = busy
        self._at = at

    def __aiter__(self) -> Any:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        if self._busy is not None:
            self._busy[self._at] -= 1
            self._busy = None
        await self._stream.aclose()


# -- What an answer means to a sync ----------------------------------------------------


def parsed(response: Any) -> Any:
    """Return what an answer holds as JSON, with fractions as exact decimals.

    Raises:
        UnavailableError: it is not JSON, as the page of a proxy, or holds NaN or Infinity.
    """
    try:
        return json.loads(response.content, parse_float=Decimal, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(
            f"{_asked(response)} answered {response.status_code} with something that is not JSON "
            f"({len(response.content)} bytes of {_type(response)})"
        ) from error


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def raise_typed(response: Any, *, signs: Sequence[Sign] = SIGNS) -> None:
    """Raise the error of the tree that an answer means; nothing, if it did what was asked.

    The error's text has the method, the host, the template of the path if the request has
    one (``extensions={"url.template": "/orders/{id}"}``), and the status. What the other side
    says stands in ``detail`` of those errors that become dead letters.

    Args:
        response: read to its end.
        signs: what tells a meaning.

    Raises:
        LimitedError: there were too many requests.
        UnavailableError: the other side is down, overloaded, or still at work on this.
        AuthenticationError: credentials are wrong, missing, or do not suffice.
        ConfigurationError: such a request is never right there.
        ConflictError: what it speaks of is in another state.
        RejectedError: what it carried was refused, or what it speaks of is not there.
    """
    status, headers = response.status_code, response.headers
    told = {name.lower(): value for name, value in headers.items()}
    try:
        body = response.content
    except Exception:  # not read: a stream
        body = b""
    keyed = "idempotency-key" in response.request.headers
    means = meaning(status, told, body[:65_536], keyed=keyed, signs=signs)
    if means is Meaning.DONE:
        return
    outcome = response.extensions.get("syncsdk")
    after = None if outcome is None else outcome.retry_after
    raise _error(means, f"{_asked(response)} answered {status}", status, after, body)


def _error(means: Meaning, what: str, status: int, after: float | None, body: bytes) -> SyncError:
    problem = _problem(body)
    code = f"{problem.get('code') or problem.get('type') or status}"[-64:]
    if means is Meaning.THROTTLED:
        return LimitedError(f"{what}: there were too many requests", retry_after=after)
    if means in (Meaning.UNAVAILABLE, Meaning.EARLY, Meaning.IN_PROGRESS):
        return UnavailableError(what, retry_after=after)
    if means is Meaning.UNAUTHENTICATED:
        return AuthenticationError(what, remedy="Look at the credentials, and at what they allow")
    if means is Meaning.MISCONFIGURED:
        return ConfigurationError(what, remedy="Correct the method, the path or the headers")
    kind = ConflictError if means is Meaning.CONFLICT else RejectedError
    detail = body[:10_000].decode("utf-8", "replace") or None
    return kind(what, code=code if code.isprintable() else str(status), detail=detail)


def _problem(body: bytes) -> dict[str, Any]:
    """Return what a body says of a problem (RFC 9457), or an empty object."""
    try:
        found = json.loads(body[:65_536])
    except (ValueError, RecursionError):
        return {}
    inner = found.get("error") if isinstance(found, dict) else None
    found = inner if isinstance(inner, dict) else found
    return found if isinstance(found, dict) else {}


def _asked(response: Any) -> str:
    """Return what was asked: no path, which may hold a key, but its template if it has one."""
    request = response.request
    return f"{request.method} {request.url.host}{request.extensions.get('url.template', '')}"


def _type(response: Any) -> str:
    told: str = response.headers.get("content-type", "no type")
    return told.partition(";")[0][:64]
