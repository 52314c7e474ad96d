"""OAuth 2.0 tokens that are fetched once, kept, and never lost between two processes.

Decides when a token is renewed, by whom, and what is kept where before it is used. A
rotating refresh token can be used once: whoever renews first says so in the store, others
wait for the outcome, and the new one is kept before it is used.

Read :class:`OAuth2`, then :meth:`OAuth2.renewal`, which is the flow without I/O.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from attrs import define, evolve, field, frozen

from syncsdk.errors import AuthenticationError, UnavailableError
from syncsdk.runtime import current, pause, sleep

from . import bodies

__all__ = ["AsyncOAuthTransport", "OAuth2", "OAuthTransport"]

EARLY: Final = 60.0
"""Seconds before its end at which a token is renewed."""
HELD: Final = 30.0
"""Seconds for which a process may be renewing, before another takes it for dead."""
POLL: Final = 0.2
"""Seconds after which who waits for somebody else's renewal looks again."""


class Cells(Protocol):
    """Where tokens are kept: any state store."""

    def cell(self, name: str) -> Any:
        """Return a cell with ``value`` and ``version``, or None."""
        ...

    def swap(self, name: str, value: bytes, version: int) -> bool:
        """Write a cell if its version still is ``version``."""
        ...


@frozen
class Tokens:
    """What is kept of a credential.

    Attributes:
        access: the token that requests carry.
        ends: when it ends, in seconds since 1970.
        refresh: what the next one is asked for with; None for client credentials.
        holder, until: who is renewing it, and until when that is believed.
    """

    access: str | None = field(default=None, repr=False)
    ends: float = 0.0
    refresh: str | None = field(default=None, repr=False)
    holder: str | None = None
    until: float = 0.0

    def to_bytes(self) -> bytes:
        """Return it as it is kept."""
        return json.dumps([self.access, self.ends, self.refresh, self.holder, self.until]).encode()

    @staticmethod
    def of_bytes(kept: bytes) -> Tokens:
        """Return what was kept."""
        return Tokens(*json.loads(kept))


@define(eq=False)
class _Memory:
    """Cells of one process."""

    _cells: dict[str, Any] = field(factory=dict)

    def cell(self, name: str) -> Any:
        return self._cells.get(name)

    def swap(self, name: str, value: bytes, version: int) -> bool:
        before = self._cells.get(name)
        if (0 if before is None else before.version) != version:
            return False
        self._cells[name] = _Kept(value, version + 1)
        return True


@frozen
class _Kept:
    value: bytes
    version: int


Step = tuple[str, Any]
"""``("post", form)`` or ``("wait", seconds)``."""


@define(eq=False)
class OAuth2:
    """Client credentials, or a refresh token that may rotate (RFC 6749 §4.4 and §6).

    Args:
        token_url: where tokens are asked for.
        client_id, client_secret: of the app; sent by HTTP Basic (RFC 6749 §2.3.1).
        refresh_token: the first one, from the authorisation; None for client credentials.
        scope: what is asked for, separated by spaces.
        store: a state store, in which tokens survive and processes agree; without one they
            live in this object.
        name: of the credential in the store.
        extra: more fields of the form, such as ``audience``.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False, kw_only=True)
    scope: str | None = field(default=None, kw_only=True)
    store: Cells = field(factory=_Memory, kw_only=True, repr=False)
    name: str = field(default="", kw_only=True)
    extra: Mapping[str, str] = field(factory=dict, kw_only=True, repr=False)
    _cached: Tokens = field(factory=Tokens, init=False, repr=False)

    @property
    def _cell(self) -> str:
        return f"oauth2/{self.name or self.client_id}@{self.token_url}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request for a token."""
        pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
        basic = base64.b64encode(pair.encode()).decode()
        return {
            "authorization": f"Basic {basic}",
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }

    def renewal(
        self,
        rejected: str | None,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> Generator[Step, Any, str]:
        """Return a token that is good, by steps that somebody else does.

        Args:
            rejected: a token that a server just refused; it is not returned again.
            now: returns seconds since 1970.
            new_id: returns an id that nobody else has.

        Yields:
            ``("post", form)``, to be answered by ``(status, body)``, or ``("wait", seconds)``.

        Raises:
            AuthenticationError: the credentials are refused; somebody has to authorise anew.
            UnavailableError: no token is to be had now.
        """
        cached, mine, refused_with = self._cached, new_id(), None
        if _good(cached, rejected, now()):
            return cached.access or ""
        while True:
            version, kept = self._load()
            if _good(kept, rejected, now()):
                self._cached = kept
                return kept.access or ""
            if kept.holder not in (None, mine) and kept.until > now():
                yield "wait", POLL
                continue
            held = evolve(kept, holder=mine, until=now() + HELD)
            if not self.store.swap(self._cell, held.to_bytes(), version):
                continue
            refresh = kept.refresh or self.refresh_token
            status, body = yield "post", self._form(refresh)
            made = _read(status, body, now())
            if made is None and status < 500 and status not in (408, 429):
                self._settle(evolve(kept, holder=None), mine)
                if refresh is not None and refused_with is None:
                    # Somebody may have used it up in between: look once more.
                    refused_with, (_, again) = refresh, self._load()
                    if again.refresh not in (None, refresh):
                        continue
                raise AuthenticationError(
                    f"the token of {self.name or self.client_id} was refused ({status})",
                    remedy="Authorise the app again, and give the new refresh token",
                )
            if made is None:
                self._settle(evolve(kept, holder=None), mine)
                raise UnavailableError(f"no token is to be had now ({status})")
            kept = evolve(made, refresh=made.refresh or refresh)
            self._settle(kept, mine)  # before it is used: the old one is void already
            self._cached = kept
            return kept.access or ""

    def _form(self, refresh: str | None) -> str:
        form = {"grant_type": "client_credentials"}
        if refresh is not None:
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
        if self.scope is not None:
            form["scope"] = self.scope
        return urlencode({**form, **self.extra})

    def _load(self) -> tuple[int, Tokens]:
        cell = self.store.cell(self._cell)
        return (0, Tokens()) if cell is None else (cell.version, Tokens.of_bytes(cell.value))

    def _settle(self, tokens: Tokens, mine: str) -> None:
        """Keep the outcome of a renewal; whoever took it for dead meanwhile has a newer one."""
        while True:
            version, kept = self._load()
            if kept.holder != mine and tokens.access in (None, kept.access):
                return
            if self.store.swap(self._cell, tokens.to_bytes(), version):
                return


def _good(tokens: Tokens, rejected: str | None, now: float) -> bool:
    return tokens.access not in (None, rejected) and tokens.ends - EARLY > now


def _read(status: int, body: bytes, now: float) -> Tokens | None:
    """Return what a token endpoint answered (RFC 6749 §5.1), or None."""
    try:
        told = json.loads(body)
        lasts = float(told.get("expires_in", 3600))
        access, refresh = told["access_token"], told.get("refresh_token")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if (
        status != 200
        or not isinstance(access, str)
        or not (refresh is None or type(refresh) is str)
    ):
        return None
    ends = now + (lasts if lasts > 2 * EARLY else EARLY + lasts / 2)  # a short one: at half time
    return Tokens(access, ends, refresh)


class _OAuth:
    def __init__(self, transport: Any, oauth: OAuth2) -> None:
        self._inner = transport
        self._oauth = oauth

    def _asking(self, request: Any, form: str) -> Any:
        """Return a request for a token, of the kind that ``request`` is."""
        oauth = self._oauth
        made = type(request)("POST", oauth.token_url, headers=oauth.headers, content=form.encode())
        made.extensions = {**request.extensions, "url.template": "(token)"}
        return made

    def _refused(self, request: Any, response: Any) -> str | None:
        """Return the token of a request that was refused for it, if it may be sent again."""
        if response.status_code != 401 or not getattr(request.stream, "is_whole", True):
            return None
        told: str = request.headers["authorization"]
        return told.removeprefix("Bearer ")


def _flow(oauth: OAuth2, rejected: str | None) -> Generator[Step, Any, str]:
    runtime = current()
    return oauth.renewal(rejected, lambda: runtime.now().timestamp(), runtime.new_id)


class OAuthTransport(_OAuth):
    """Gives every request a token, and renews it once when a server refuses it (401).

    Put it inside the reliable transport, so that every attempt has a token that is good
    then: ``ReliableTransport(OAuthTransport(HTTPTransport(), oauth))``.
    """

    def handle_request(self, request: Any) -> Any:
        """Send a request with a token."""
        request.headers["authorization"] = f"Bearer {self._token(request, None)}"
        response = self._inner.handle_request(request)
        rejected = self._refused(request, response)
        if rejected is None:
            return response
        bodies.drained(response, current().monotonic)
        request.headers["authorization"] = f"Bearer {self._token(request, rejected)}"
        return self._inner.handle_request(request)

    def _token(self, request: Any, rejected: str | None) -> str:
        flow, answer = _flow(self._oauth, rejected), None
        while True:
            try:
                what, given = flow.send(answer)
            except StopIteration as end:
                return str(end.value)
            if what == "wait":
                pause(given)
                answer = None
                continue
            response = self._inner.handle_request(self._asking(request, given))
            try:
                answer = response.status_code, response.read()
            finally:
                response.close()

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def __enter__(self) -> OAuthTransport:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._inner.__exit__(*error)


class AsyncOAuthTransport(_OAuth):
    """The same as :class:`OAuthTransport`, for event loops."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request with a token."""
        request.headers["authorization"] = f"Bearer {await self._token(request, None)}"
        response = await self._inner.handle_async_request(request)
        rejected = self._refused(request, response)
        if rejected is None:
            return response
        await bodies.adrained(response, current().monotonic)
        request.headers["authorization"] = f"Bearer {await self._token(request, rejected)}"
        return await self._inner.handle_async_request(request)

    async def _token(self, request: Any, rejected: str | None) -> str:
        flow, answer = _flow(self._oauth, rejected), None
        while True:
            try:
                what, given = flow.send(answer)
            except StopIteration as end:
                return str(end.value)
            if what == "wait":
                await sleep(given)
                answer = None
                continue
            response = await self._inner.handle_async_request(self._asking(request, given))
            try:
                answer = response.status_code, await response.aread()
            finally:
                await response.aclose()

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def __aenter__(self) -> AsyncOAuthTransport:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)
