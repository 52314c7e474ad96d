"""The public face of a flow: build it once, run it for years.

Decides what a user says and sees: :class:`Pipeline` checks that its parts fit together when
it is built, and drives the engine with the runtime that fits the call. :func:`upsert` is
the same for records at hand, without a source. Leaves the flow itself to ``engine``.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import PurePath
from typing import Any, get_type_hints, is_typeddict

from attrs import evolve, field, fields, frozen, has

from .engine import LEASE_TTL, Flow, Options, Preview, Run, check_parts
from .errors import ConfigurationError, RecordError, TransientError
from .planning import Rules, Tolerance
from .protocols import (
    FILTERED,
    Batch,
    Commit,
    Letter,
    LetterStatus,
    Mapper,
    Observer,
    Owner,
    Result,
    RunReport,
    Sink,
    Source,
    SourceCapabilities,
    StateStore,
)
from .runtime import AsyncRuntime, Runtime, StopFlag, SyncRuntime, drive, is_async
from .values import UNSET, Key, Listing

__all__ = [
    "CallableMapper",
    "Pipeline",
    "check_open",
    "discard",
    "no_letters",
    "open_letters",
    "upsert",
]


class CallableMapper:
    """Makes a mapper of a plain function ``record -> record``.

    The function returns a mapping, an instance of an attrs class, or None for a record
    that does not belong in the destination. It raises ``MappingError`` where it cannot
    decide; any other exception refuses the record too, without its words, for they may
    quote it. If its return type is an attrs class or a TypedDict, the fields are known
    beforehand.

    Args:
        function: pure, and not asynchronous.
        version: changes whenever the same record might be mapped differently. A record
            that is as it was is not mapped again under the same version.
    """

    def __init__(self, function: Callable[[Any], Any], version: str) -> None:
        if is_async(function):
            raise ConfigurationError(
                "the mapping is asynchronous",
                remedy="A mapping is pure: do what needs waiting in the source",
            )
        self.digest = f"callable:{version}"
        self.fields, self._attrs = _fields(function)
        self._function = function
        several = self.fields is not None and len(self.fields) > 1
        self._get = itemgetter(*self.fields or ()) if several else None

    def map_batch(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return a row, :data:`FILTERED` or a RecordError for each record."""
        function, row = self._function, self._row
        rows: list[Any] = []
        for record in records:
            try:
                made = function(record)
                rows.append(FILTERED if made is None else row(made))
            except RecordError as error:
                rows.append(error)
            except Exception as error:
                rows.append(_failed(error))
        return rows

    def _row(self, made: Any) -> Any:
        names = self.fields
        if made.__class__ is dict and self._get is not None and len(made) == len(names or ()):
            try:
                return self._get(made)
            except KeyError:
                pass
        if self._attrs:
            return tuple([getattr(made, name) for name in names or ()])
        if not isinstance(made, Mapping):
            if not has(type(made)):
                raise _not_a_record(made)
            made = {item.name: getattr(made, item.name) for item in fields(type(made))}
        if names is None:
            return made
        row = tuple([made.get(name, UNSET) for name in names])
        if len(made) > len(names) or not made.keys() <= set(names):
            raise RecordError(
                "the mapping returned fields that its return type does not have",
                remedy="Add them to the TypedDict",
                code="mapping",
            )
        return row


def _fields(function: Callable[[Any], Any]) -> tuple[Sequence[str] | None, bool]:
    """Return the fields of what ``function`` returns, and whether that is an attrs class."""
    call = function if inspect.isroutine(function) else type(function).__call__
    try:
        made = get_type_hints(call).get("return")
    except (NameError, TypeError):
        return None, False
    if isinstance(made, type) and has(made):
        return tuple(item.name for item in fields(made)), True
    if is_typeddict(made):
        return tuple(get_type_hints(made)), False
    return None, False


def _not_a_record(made: object) -> RecordError:
    return RecordError(
        f"the mapping returned a value of type {type(made).__name__}",
        remedy="Return a mapping of field names to values, an attrs instance, or None",
        code="mapping",
    )


def _failed(error: Exception) -> RecordError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return RecordError(
        f"the mapping raised {type(error).__qualname__} at {PurePath(frame.filename).name}:"
        f"{frame.lineno}",
        remedy="Mend the mapping, or raise MappingError for what it cannot decide, and replay",
        code="mapping",
    )


def as_mapper(mapping: Mapper | Callable[[Any], Any], version: str | None) -> Mapper:
    """Return ``mapping`` if it is a mapper, else wrap it.

    Raises:
        ConfigurationError: a plain callable without a version, or a mapper with one.
    """
    if isinstance(mapping, Mapper):
        if version is not None:
            raise ConfigurationError(
                "mapping_version= was given with a mapping that has a digest of its own",
                remedy="Leave it out",
            )
        return mapping
    if version is None:
        raise ConfigurationError(
            "a plain callable as mapping needs mapping_version=",
            remedy="Give any text, and change it whenever the same record might be mapped "
            "differently: only then can a change of the mapping be noticed",
        )
    return CallableMapper(mapping, version)


class Pipeline:
    """A flow of records from a source through a mapping to a sink.

    Args:
        name: unique in its store, and stable: all memory is kept under it.
        source: where records come from.
        mapping: what each becomes: a :class:`~syncsdk.protocols.Mapper`, or a plain
            function with ``mapping_version``.
        sink: where they go.
        owner: who answers for it.
        mapping_version: for a plain function; see :class:`CallableMapper`.
        tolerance: how many records of a run may be refused before it stops.
        max_deletes: how many of the destination's records a run may delete without being
            told ``allow_deletes``; the share is of all live records.
        observers: who watches its runs.

    Raises:
        ConfigurationError: the parts do not fit together; says what to change.
    """

    def __init__(
        self,
        name: str,
        *,
        source: Source,
        mapping: Mapper | Callable[[Any], Any],
        sink: Sink,
        owner: Owner | str,
        mapping_version: str | None = None,
        tolerance: Tolerance = Tolerance(),  # noqa: B008  # frozen
        max_deletes: Tolerance = Tolerance(100, 0.1),  # noqa: B008
        observers: Sequence[Observer] = (),
    ) -> None:
        if not name or not name.isprintable() or len(name) > 200:
            raise ConfigurationError(
                "a pipeline's name is 1 to 200 printable characters",
                remedy="Give it a short and stable name, such as crm-contacts-to-erp",
            )
        check_parts(source, sink)
        self.name = name
        self.owner = Owner(owner) if isinstance(owner, str) else owner
        mapper = as_mapper(mapping, mapping_version)
        self._flow = Flow(
            name=name,
            owner=self.owner,
            source=source,
            sink=sink,
            rules=Rules(mapper, source.capabilities.version, sink.capabilities),
            tolerance=tolerance,
            max_deletes=max_deletes,
            observers=tuple(observers),
        )
        self._stops: list[StopFlag] = []

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r})"

    def run(
        self,
        store: StateStore,
        *,
        limit: int | None = None,
        backfill: bool = False,
        allow_deletes: bool = False,
        progress: Callable[[RunReport], None] | None = None,
    ) -> RunReport:
        """Read what is new, write what differs, and return the account of it.

        It runs in the caller's thread and never raises for what happens on the way: look at
        ``report.result`` or ``report.exit_code``. The next run goes on from the last
        checkpoint, whatever ended this one.

        Args:
            store: the pipeline's memory.
            limit: read at most so many records. The cursor does not pass a batch that was
                cut.
            backfill: read everything again and write what differs, after a change of the
                mapping. The cursor moves at the end only.
            allow_deletes: delete more than ``max_deletes`` allows.
            progress: called after each commit with the report so far.

        Raises:
            ConfigurationError: a part is asynchronous.
        """
        return self._drive(store, self._options(limit, backfill, allow_deletes, progress))

    async def run_async(
        self,
        store: StateStore,
        *,
        limit: int | None = None,
        backfill: bool = False,
        allow_deletes: bool = False,
        progress: Callable[[RunReport], None] | None = None,
    ) -> RunReport:
        """Do what :meth:`run` does, on the running event loop.

        Each synchronous part works on a thread of its own; asynchronous ones are awaited.
        Cancelling it waits for the commit under way, and releases the pipeline.
        """
        return await self._await(store, self._options(limit, backfill, allow_deletes, progress))

    def plan(self, store: StateStore, *, limit: int | None = None) -> Preview:
        """Read, map and compare, write nothing, and return what a run would do.

        Raises what the source or the store raised. A refused record is no error here.
        """
        preview = Preview()
        return _seen(preview, self._drive(store, Options(mode="plan", limit=limit), preview))

    async def plan_async(self, store: StateStore, *, limit: int | None = None) -> Preview:
        """Do what :meth:`plan` does, on the running event loop."""
        preview = Preview()
        report = await self._await(store, Options(mode="plan", limit=limit), preview)
        return _seen(preview, report)

    def replay(
        self, store: StateStore, *, found: Mapping[Key, str | None] | None = None
    ) -> RunReport:
        """Deliver the open dead letters with today's mapping.

        A record is taken from the source if that has ``fetch``, else as it was stored. One
        that is older than what was written since is closed as superseded.

        Args:
            store: the pipeline's memory.
            found: for records whose create may or may not have taken effect: the
                destination's id of each, as a person found it, or None if it is not there.
        """
        return self._drive(store, Options(mode="replay", found=dict(found or {})))

    async def replay_async(
        self, store: StateStore, *, found: Mapping[Key, str | None] | None = None
    ) -> RunReport:
        """Do what :meth:`replay` does, on the running event loop."""
        return await self._await(store, Options(mode="replay", found=dict(found or {})))

    def discard(self, store: StateStore, ids: Collection[int]) -> None:
        """Close open dead letters as discarded; see :func:`discard`."""
        discard(store, self.name, ids)

    def stop(self) -> None:
        """End the runs under way after the batch at hand, as stopped.

        Safe to call from any thread and from a signal handler.
        """
        for flag in tuple(self._stops):
            flag.set()

    @staticmethod
    def _options(
        limit: int | None,
        backfill: bool,
        allow_deletes: bool,
        progress: Callable[[RunReport], None] | None,
    ) -> Options:
        if limit is not None and limit < 1:
            raise ConfigurationError("limit= is below 1", remedy="Give 1 or more, or None")
        if is_async(progress):
            raise ConfigurationError(
                "progress= is asynchronous, and nobody would await it",
                remedy="Give a plain function",
            )
        return Options(
            mode="backfill" if backfill else "incremental",
            limit=limit,
            allow_deletes=allow_deletes,
            progress=progress,
        )

    def _refuse_async(self, store: StateStore) -> None:
        parts = {
            "source.read": getattr(self._flow.source, "read", None),
            "source.clock": getattr(self._flow.source, "clock", None),
            "source.fetch": getattr(self._flow.source, "fetch", None),
            "sink.write": getattr(self._flow.sink, "write", None),
            "sink.find": getattr(self._flow.sink, "find", None),
            "store.commit": getattr(store, "commit", None),
        }
        for name, function in parts.items():
            if function is not None and is_async(function):
                raise ConfigurationError(
                    f"{name} is asynchronous, and run() has no event loop for it",
                    remedy="Use `await run_async(...)`, or replay_async, or plan_async",
                )

    def _drive(
        self, store: StateStore, options: Options, preview: Preview | None = None
    ) -> RunReport:
        self._refuse_async(store)
        flag = StopFlag()
        return drive(self._execute(store, SyncRuntime(flag), flag, options, preview))

    async def _await(
        self, store: StateStore, options: Options, preview: Preview | None = None
    ) -> RunReport:
        flag = StopFlag()
        runtime = AsyncRuntime(flag)
        try:
            return await self._execute(store, runtime, flag, options, preview)
        finally:
            runtime.close()

    async def _execute(
        self,
        store: StateStore,
        runtime: Runtime,
        flag: StopFlag,
        options: Options,
        preview: Preview | None,
    ) -> RunReport:
        self._stops.append(flag)
        try:
            return await Run(self._flow, store, runtime, options, preview).execute()
        finally:
            self._stops.remove(flag)


def _seen(preview: Preview, report: RunReport) -> Preview:
    if report.error is not None:
        raise report.error
    return preview


def discard(store: StateStore, pipeline: str, ids: Collection[int]) -> None:
    """Close open dead letters of a pipeline as discarded, all of them or none.

    Nothing will deliver these records, unless they are read again and differ from what is
    known. It takes the right to run for a moment, and leaves a run of mode ``discard``.

    Raises:
        ConfigurationError: one of them is not open.
        TransientError: a run is under way.
    """
    now = SyncRuntime().now()
    report = RunReport(SyncRuntime().new_id(), pipeline, "", "discard", now, result=Result.FAILED)
    lease = store.acquire(pipeline, report.run_id, LEASE_TTL)
    if lease is None:
        raise TransientError(
            f"a run of {pipeline} is under way, and nothing was discarded",
            remedy="Try again when it has ended",
            retry_after=LEASE_TTL.total_seconds(),
        )
    try:
        check_open(store, pipeline, ids)
        last = store.load(pipeline)
        new = evolve(last, seq=last.seq + 1, run_id=lease.run_id, token=lease.token)
        closed = dict.fromkeys(ids, LetterStatus.DISCARDED)
        store.commit(lease, Commit(pipeline, new, closed=closed, report=report.as_json()))
        report.letters, report.intents = store.totals(pipeline)
        report.result = Result.SUCCESS
    finally:
        report.finished_at = SyncRuntime().now()
        store.release(lease, report.as_json())


def check_open(store: StateStore, pipeline: str, ids: Collection[int]) -> None:
    """Raise ConfigurationError unless all of these dead letters are open."""
    missing = set(ids) - {letter.id for letter in open_letters(store, pipeline)}
    if missing:
        raise no_letters(pipeline, missing)


def no_letters(pipeline: str, ids: Collection[int]) -> ConfigurationError:
    """Return the error that names dead letters which are not there."""
    return ConfigurationError(
        f"{pipeline} has no such dead letter: {', '.join(map(str, sorted(ids)))}",
        remedy="List the open ones with `syncsdk dead-letters`",
    )


def open_letters(store: StateStore, pipeline: str) -> Iterator[Letter]:
    """Return all open dead letters of a pipeline, in the order of their ids."""
    after = 0
    while letters := store.letters(pipeline, after=after):
        yield from letters
        after = letters[-1].id


@frozen
class _Records:
    """Records at hand, as a source."""

    records: Iterable[Any]
    key: str | Sequence[str]
    batch: int
    capabilities: SourceCapabilities = field(factory=lambda: SourceCapabilities(Listing()))

    def read(self, after: str | None) -> Iterator[Batch]:
        page: list[Any] = []
        for record in self.records:
            page.append(record)
            if len(page) == self.batch:
                yield Batch.of(page, key=self.key)
                page = []
        if page:
            yield Batch.of(page, key=self.key)


def upsert(
    sink: Sink,
    records: Iterable[Mapping[str, Any]],
    *,
    key: str | Sequence[str],
    store: StateStore | None = None,
    name: str = "upsert",
    batch: int = 500,
    tolerance: Tolerance = Tolerance(),  # noqa: B008
) -> RunReport:
    """Write records that are at hand, once each, and return the account of it.

    Args:
        sink: where they go, as they are.
        records: mappings; they need no order.
        key: the field that names a record, or several.
        store: remembers what was written: unchanged records are then not sent again, and
            creates in doubt are resolved. Without one nothing outlives the call, and a sink
            without ``upsert`` may create twice when called twice.
        name: the name under which ``store`` remembers.
        batch: how many records are written together.
        tolerance: how many may be refused before it stops.
    """
    from .stores import MemoryStore

    pipeline = Pipeline(
        name,
        source=_Records(records, key, batch),
        mapping=dict,
        mapping_version="1",
        sink=sink,
        owner="the caller of syncsdk.upsert",
        tolerance=tolerance,
    )
    return pipeline.run(MemoryStore() if store is None else store)
