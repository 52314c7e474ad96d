"""Interfaces that speak JSON over HTTP, as a source and as a sink.

Decides how pages become batches, how a change becomes a request, and what an answer says of
it. Leaves retries, pace and credentials to the client, which is ours or any other of
``httpx``'s kind with our transport in it.

Read :class:`RestSource`, then :class:`RestSink`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from attrs import frozen

from syncsdk.errors import (
    ConfigurationError,
    ContractError,
    LimitedError,
    NotSent,
    RecordError,
    SyncError,
    TimedOutError,
    UnavailableError,
)
from syncsdk.http import parsed, raise_typed
from syncsdk.http.pages import OnePage, Pages, dig
from syncsdk.protocols import (
    Applied,
    Batch,
    Change,
    Changes,
    Deletes,
    Op,
    Outcome,
    Rejected,
    SinkCapabilities,
    SourceCapabilities,
)
from syncsdk.resilience.calls import FAILURES, Failure
from syncsdk.resilience.headers import date_of
from syncsdk.runtime import current
from syncsdk.values import OPAQUE, Cursor, Keyset, Listing, Version, Watermark

from .files import json_text

__all__ = ["RestSink", "RestSource", "Route"]

Ask: TypeAlias = tuple[str, str, dict[str, Any]]
"""Method, address, and the rest of what a client's ``request`` takes."""
TEMPLATE: Final = "url.template"


class RestSource:
    """A source of the records of a collection, page by page.

    Args:
        client: ``syncsdk.http.Client`` or ``AsyncClient``, or another of ``httpx``'s kind.
        path: of the collection, from the client's ``base_url``.
        key: the field that holds a record's key, or several.
        records: the dotted path of the list in an answer; ``""`` if the answer is the list.
        cursor: ``Listing()``, all of it; or ``Watermark`` or ``Keyset``, with ``since=``.
        since: the parameter that takes where to begin. What it finds must include the
            records of that very instant: of two with one timestamp one may come later.
        page: how the next page is asked for, such as ``ByToken("next", "cursor")``.
        version: how versions compare, and which field holds them.
        deleted: the field that says whether a record is deleted.
        params: more parameters, such as the size of a page and the order.
        ordered: records come in the order of the cursor's field, the oldest first.

    A collection that answers 404, or refuses the parameters, is a mistake in how it is asked,
    and no record is at fault.
    """

    def __init__(
        self,
        client: Any,
        path: str,
        *,
        key: str | Sequence[str],
        records: str = "",
        cursor: Cursor | None = None,
        since: str | None = None,
        page: Pages | None = None,
        version: Version = OPAQUE,
        deleted: str | None = None,
        params: Mapping[str, Any] | None = None,
        ordered: bool = True,
    ) -> None:
        cursor = Listing() if cursor is None else cursor
        if isinstance(cursor, Watermark | Keyset) != (since is not None):
            raise ConfigurationError(
                "a cursor by a field needs the parameter that takes it, and no other has one",
                remedy='Give both, cursor=Watermark(...) and since="updated_since", or neither',
            )
        self._client = client
        self._path = path
        self._key = key
        self._records = records
        self._since = since
        self._page = OnePage() if page is None else page
        self._deleted = deleted
        self._params = dict(params or {})
        self._clock: datetime | None = None
        self.capabilities = SourceCapabilities(
            cursor,
            version=version,
            deletes=Deletes.NONE if deleted is None else Deletes.FLAGGED,
            ordered=ordered,
            reads_ahead=not _is_async(client),
        )

    def read(self, after: str | None = None) -> Iterator[Batch] | AsyncIterator[Batch]:
        """Yield what lies after a cursor, a batch a page; asynchronously, if the client is.

        Raises:
            AuthenticationError: credentials are refused.
            ConfigurationError: there is no such collection, or it refuses the parameters.
            ContractError: an answer has no list, leads in a circle or to another origin.
            TransientError: the other side is limited, down or slow.
        """
        flow = self._flow(after)
        return self._driven_async(flow) if _is_async(self._client) else self._driven(flow)

    def _driven(self, flow: Generator[Any, Any, None]) -> Iterator[Batch]:
        answer: Any = None
        try:
            while True:
                step = flow.send(answer)
                if isinstance(step, Batch):
                    yield step
                    answer = None
                else:
                    answer = _sent(self._client, step)
        except StopIteration:
            return

    async def _driven_async(self, flow: Generator[Any, Any, None]) -> AsyncIterator[Batch]:
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration:
                return
            if isinstance(step, Batch):
                yield step
                answer = None
            else:
                answer = await _asent(self._client, step)

    def clock(self) -> datetime:
        """Return the other side's time, as of before the first request.

        Raises:
            ContractError: it did not tell it.
        """
        if self._clock is None:
            raise ContractError(
                "the answers have no Date of their own, and the local clock may differ",
                remedy="Read all of it (cursor=Listing()), or ask the other side for a Date",
            )
        return self._clock

    def _flow(self, after: str | None) -> Generator[Any, Any, None]:
        """Yield requests, to be answered, and batches."""
        params = {**self._params, **self._page.first}
        if after is not None and self._since is not None:
            params[self._since] = self._value(after)
        address, first = self._path, True
        while True:
            began = current().monotonic()
            # An empty mapping would take the query of the address away.
            options = {"params": params or None, "extensions": {TEMPLATE: self._path}}
            response = yield "GET", address, options
            if first:
                self._clock = _clock_of(response, current().monotonic() - began)
                first = False
            body = _answered(response)
            records = dig(body, self._records)
            if not isinstance(records, list):
                raise ContractError(
                    f"the answer has no list at {self._records or 'its top'}",
                    remedy="Correct records=, the dotted path of the list",
                )
            if records:
                yield self._batch(records)
            following = self._page.after(response, body, records, params)
            if following is None:
                return
            if isinstance(following, str):
                address, params = _same_origin(response, following), {}
            else:
                params = {**params, **following}

    def _value(self, after: str) -> str:
        cursor = self.capabilities.cursor
        return cursor.split(after)[0] if isinstance(cursor, Keyset) else after

    def _batch(self, records: list[Any]) -> Batch:
        cursor = self.capabilities.cursor
        batch = Batch.of(
            records, key=self._key, version=self.capabilities.version.field, deleted=self._deleted
        )
        if isinstance(cursor, Watermark | Keyset):
            values = [_raw(dig(each, cursor.field), cursor.field) for each in records]
            batch.positions = values
            batch.after = values[-1]
            if isinstance(cursor, Keyset):
                batch.after = cursor.cursor(
                    values[-1], _raw(dig(records[-1], cursor.id), cursor.id)
                )
        return batch


def _raw(value: Any, field: str) -> str:
    """Return a cursor's value as the source's own text."""
    if value is None or isinstance(value, bool | list | dict):
        raise ContractError(
            f"a record has no {field} that the next run could begin at",
            remedy="Name a field that every record has",
        )
    return str(value)


def _same_origin(response: Any, following: str) -> str:
    """Return the address of the next page, of the origin that this one came from."""
    here = response.request.url
    there = here.join(following)
    if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
        raise ContractError(
            "the link to the next page leads to another origin",
            remedy="Nothing was sent there; tell the other side, or read by another way",
        )
    return str(there)


def _clock_of(response: Any, took: float) -> datetime | None:
    """Return when a request was sent, by the clock of the other side, or earlier."""
    date = date_of(response.headers.get("date", ""))
    if date is None or "age" in response.headers:  # a cache's answer is older than it says
        return None
    return date - timedelta(seconds=took + 1.0)


# -- A sink ----------------------------------------------------------------------------


@frozen
class Route:
    """How an operation is asked for.

    Args:
        method: of HTTP.
        path: from the client's ``base_url``; ``{id}`` is the destination's id, ``{key}`` the
            source's key, ``{name}`` a field of the mapped record.
        id: the dotted path of the destination's id in the answer; None if it has none, and
            the id is that of the path.
    """

    method: str
    path: str
    id: str | None = None


class RestSink:
    """A sink that sends each change as a request.

    Args:
        client: ``syncsdk.http.Client`` or ``AsyncClient``, or another of ``httpx``'s kind.
        create, update, upsert, delete: how each is asked for. With ``upsert`` the other two
            are not needed, and a change may be sent again.
        key_header: the header that takes an idempotency key, if the other side knows them:
            then a create whose answer was lost is sent again, and happens once.
        key_lifetime: how long it remembers them.

    A change is refused by 4xx, and becomes a dead letter. Deleting what is not there is done.
    """

    def __init__(
        self,
        client: Any,
        *,
        create: Route | None = None,
        update: Route | None = None,
        upsert: Route | None = None,
        delete: Route | None = None,
        key_header: str | None = None,
        key_lifetime: timedelta = timedelta(hours=24),
    ) -> None:
        if upsert is None and (create is None or update is None):
            raise ConfigurationError(
                "the sink can neither upsert nor create and update",
                remedy='Give upsert=Route("PUT", "/orders/{key}"), or create= and update=',
            )
        self._client = client
        self._routes = {
            Op.CREATE: upsert or create, Op.UPDATE: upsert or update, Op.DELETE: delete
        }  # fmt: skip
        self._key_header = key_header
        self.capabilities = SinkCapabilities(
            upsert=upsert is not None,
            deletes=delete is not None,
            idempotency_key=key_header is not None and upsert is None,
            key_lifetime=key_lifetime,
            bulk=1,
        )
        # Chosen here and not in the method: the engine asks whether it is asynchronous.
        self.write: Callable[[Changes], Any] = self._awrite if _is_async(client) else self._write

    def render(self, change: Change) -> bytes:
        """Return the body of a change: what is sent, at first and at any other time."""
        return json_text(change.record).encode()

    def _write(self, changes: Changes) -> Sequence[Outcome]:
        return [self._outcome(each, self._sent(each)) for each in changes]

    async def _awrite(self, changes: Changes) -> Sequence[Outcome]:
        outcomes = []
        for each in changes:
            try:
                response: Any = await _asent(self._client, self._asked(each))
            except RecordError as error:
                response = error
            outcomes.append(self._outcome(each, response))
        return outcomes

    def _sent(self, change: Change) -> Any:
        try:
            return _sent(self._client, self._asked(change))
        except RecordError as error:
            return error

    def _asked(self, change: Change) -> Ask:
        route = self._routes[change.op]
        assert route is not None
        options: dict[str, Any] = {"headers": {}, "extensions": {TEMPLATE: route.path}}
        if change.op is not Op.DELETE:
            options["content"] = self.render(change) if change.body is None else change.body
            options["headers"]["content-type"] = "application/json"
        if self._key_header is not None and change.idempotency_key is not None:
            options["headers"][self._key_header] = change.idempotency_key
        return route.method, _filled(route.path, change), options

    def _outcome(self, change: Change, response: Any) -> Outcome:
        route = self._routes[change.op]
        assert route is not None
        if isinstance(response, RecordError):
            return _rejected(change, response)
        if change.op is Op.DELETE and response.status_code in (404, 410):
            return Applied(change.change_id, change.dest_id)
        try:
            raise_typed(response)
        except LimitedError as error:
            raise NotSent(
                error.message, remedy=error.remedy, retry_after=error.retry_after
            ) from error
        except RecordError as error:
            return _rejected(change, error)
        dest_id = change.dest_id
        if route.id is not None and change.op is not Op.DELETE:
            dest_id = _id_of(response, route.id, change)
        return Applied(change.change_id, dest_id)


def _rejected(change: Change, error: RecordError) -> Rejected:
    return Rejected(
        change.change_id, error.code or "rejected", path=error.path, detail=error.detail
    )


def _id_of(response: Any, path: str, change: Change) -> str | None:
    """Return the id that the other side gave; the one that is known, where it gave none."""
    if not response.content:
        return change.dest_id
    found = dig(parsed(response), path)
    if found is None or isinstance(found, bool | list | dict):
        return change.dest_id
    return str(found)


_PLACES: Final = re.compile(r"\{(\w+)\}")


def _filled(path: str, change: Change) -> str:
    """Return a path with its places filled, each escaped as one segment (RFC 3986 §3.3).

    Raises:
        RecordError: there is nothing to fill one with.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name == "id":
            given: Any = change.dest_id
        elif name == "key":
            given = ",".join(change.key)
        else:
            given = change.record.get(name)
        if given is None or given == "" or isinstance(given, bool | float | list | dict):
            raise RecordError(f"there is no {name} for the path", path=name, code="path")
        if str(given) in (".", ".."):
            raise RecordError(f"{name} would lead elsewhere in the path", path=name, code="path")
        return quote(str(given), safe="")

    return _PLACES.sub(value, path)


# -- Requests --------------------------------------------------------------------------


def _is_async(client: Any) -> bool:
    return inspect.iscoroutinefunction(client.request)


def _sent(client: Any, ask: Ask) -> Any:
    method, address, options = ask
    try:
        return client.request(method, address, **options)
    except SyncError:
        raise
    except Exception as error:
        raise _of_transport(error) from error


async def _asent(client: Any, ask: Ask) -> Any:
    method, address, options = ask
    try:
        return await client.request(method, address, **options)
    except SyncError:
        raise
    except Exception as error:
        raise _of_transport(error) from error


def _of_transport(error: Exception) -> Exception:
    """Return what an exception of the client means; itself, if it is none of a transport."""
    name = type(error).__name__
    failure = FAILURES.get(name)
    if failure is Failure.NEVER_LEFT:
        return NotSent(f"no connection came about ({name})")
    if name.endswith("Timeout"):
        return TimedOutError(f"no answer came in time ({name})")
    if failure is not None or name in ("DecodingError", "TooManyRedirects"):
        return UnavailableError(f"the answer did not arrive ({name})")
    return error


def _answered(response: Any) -> Any:
    """Return what a page holds; a refusal of it is no record's fault."""
    try:
        raise_typed(response)
    except RecordError as error:
        raise ConfigurationError(
            error.message, remedy="Correct the path, the parameters or the cursor"
        ) from error
    return parsed(response)
