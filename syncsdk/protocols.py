"""All that crosses between your connector and the engine, with its contract.

A connector is any object with the methods of :class:`Source` or :class:`Sink`; there is
no base class. Each method of a connector may be a plain function or a coroutine function
(``read`` a generator or an asynchronous one); one that is asynchronous needs
``run_async``.

Read :class:`Batch` and :class:`Source`, then :class:`Change`, the outcomes and
:class:`Sink`, then :class:`Mapper`. :class:`StateStore` and what it keeps come last; most
users take one of ours. The meaning of keys, versions, cursors and fingerprints is in
``values``.
"""

from __future__ import annotations

import enum
import json
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, overload, runtime_checkable

from attrs import asdict, define, field, frozen

from .errors import RecordError
from .values import OPAQUE, UNSET, Cursor, Key, Version, key_digest

__all__ = [
    "FILTERED",
    "Applied",
    "Batch",
    "Cell",
    "Change",
    "Changes",
    "Checkpoint",
    "Commit",
    "Counts",
    "Deletes",
    "Entry",
    "EntryState",
    "Filtered",
    "Intent",
    "Known",
    "Lease",
    "Letter",
    "LetterStatus",
    "LookUp",
    "Mapper",
    "Observer",
    "Op",
    "OpenLetter",
    "Outcome",
    "Owner",
    "Refused",
    "Rejected",
    "Renders",
    "Result",
    "RunReport",
    "Sink",
    "SinkCapabilities",
    "Source",
    "SourceCapabilities",
    "Stage",
    "Standing",
    "StateStore",
    "Unknown",
]

# -- Source ----------------------------------------------------------------------------


class Deletes(enum.StrEnum):
    """How a record's deletion shows in a source."""

    NONE = "none"
    """It does not: deleted records simply are no longer read."""
    FLAGGED = "flagged"
    """``Batch.deleted`` says so, for tombstone fields and for delete events alike."""


@frozen
class SourceCapabilities:
    """What a source promises; the engine refuses a pipeline that needs more.

    Args:
        cursor: how a place in the source is named; see ``values``.
        version: how its records' versions compare.
        deletes: how a deleted record shows.
        ordered: records come in the cursor's order. The engine checks that they do, with
            ``Batch.positions`` or, where cursor and version are one field, the versions;
            from the first violation on it treats the source as unordered and says so.
            An unordered source's cursor is stored only once it was read to its end.
        hints: ``read`` takes ``hint=``.
        reads_ahead: ``read`` may run in a helper thread, one batch ahead.
        acknowledges: asking for the next batch tells the other side that this one is
            done (queues). It is asked for only after the commit, never ahead.
        window_cap: the most records that one query ever returns; a batch that ends a read
            with exactly as many is an error, never the end.
    """

    cursor: Cursor
    version: Version = field(kw_only=True, default=OPAQUE)
    deletes: Deletes = field(kw_only=True, default=Deletes.NONE)
    ordered: bool = field(kw_only=True, default=True)
    hints: bool = field(kw_only=True, default=False)
    reads_ahead: bool = field(kw_only=True, default=False)
    acknowledges: bool = field(kw_only=True, default=False)
    window_cap: int | None = field(kw_only=True, default=None)


@frozen(repr=False)
class Refused:
    """In place of a record that the source could not read: why, and what it looked like.

    Args:
        error: what is wrong, without a value.
        original: the evidence (text or bytes), kept in the dead letter.
    """

    error: RecordError
    original: Any = None

    def __repr__(self) -> str:
        return f"Refused({self.error})"


@define(eq=False, repr=False)  # one per batch, read by the engine only
class Batch:
    """What is read, mapped, written and committed together; columns of equal length.

    Args:
        keys: a key for each record; text, integers and tuples of them are taken as
            :func:`~syncsdk.values.as_key` does. A record whose key is refused becomes a
            dead letter.
        records: the records as your mapping wants them, or a :class:`Refused`; None if
            ``raws`` and ``decode`` are given.
        versions: the source's own text (or integer) for each record, or None.
        deleted: True for a record that is gone. It is not mapped; its version counts.
        raws: the undecoded bytes of each record. An unchanged one is then neither decoded
            nor mapped.
        decode: makes records, or :class:`Refused`, of some raws, in their order.
        positions: where each record stands in the cursor's order, in the cursor's format
            (the value, for a keyset), for the check of that order.
        after: a cursor from which a *fresh* ``read(after)`` loses nothing; None where no
            resume point exists.
        watermark: every later batch has records at or after this aware instant. For
            sources that declare a lateness and cannot floor their cursor.
        hint: a page token that may speed up a resume; see :class:`Source`.
    """

    keys: Sequence[Any]
    records: Sequence[Any] | None = None
    versions: Sequence[str | int | None] | None = field(default=None, kw_only=True)
    deleted: Sequence[bool] | None = field(default=None, kw_only=True)
    raws: Sequence[bytes] | None = field(default=None, kw_only=True)
    decode: Callable[[Sequence[bytes]], Sequence[Any]] | None = field(default=None, kw_only=True)
    positions: Sequence[str] | None = field(default=None, kw_only=True)
    after: str | None = field(default=None, kw_only=True)
    watermark: datetime | None = field(default=None, kw_only=True)
    hint: str | None = field(default=None, kw_only=True)

    @classmethod
    def of(
        cls,
        records: Sequence[Any],
        *,
        key: str | Sequence[str],
        version: str | None = None,
        deleted: str | None = None,
        after: str | None = None,
        watermark: datetime | None = None,
        hint: str | None = None,
    ) -> Batch:
        """Make a batch of records that are mappings, taking the columns from their fields.

        Args:
            records: mappings, such as parsed JSON objects, and :class:`Refused`. Anything
                else among them is refused, and becomes a dead letter.
            key: the field that holds the key, or several.
            version: the field that holds the version.
            deleted: the field that says whether a record is deleted: true, false, 1, 0 or
                null. A record where it is anything else is refused.
            after, watermark, hint: see :class:`Batch`.
        """
        names = (key,) if isinstance(key, str) else tuple(key)
        one = names[0] if len(names) == 1 else None
        read: list[Any] = list(records)
        rows: list[Mapping[str, Any]] = list(records)
        if not {dict}.issuperset(map(type, read)):
            for at, item in enumerate(read):
                if not isinstance(item, Mapping):
                    rows[at] = {}
                    if not isinstance(item, Refused):
                        read[at] = Refused(_not_an_object(item), item)
        keys: list[Any]
        if one is not None:
            keys = [row.get(one) for row in rows]
        else:
            keys = [tuple(row.get(name) for name in names) for row in rows]
        return cls(
            keys,
            read,
            versions=None if version is None else [row.get(version) for row in rows],
            deleted=None if deleted is None else _flags(read, rows, deleted),
            after=after,
            watermark=watermark,
            hint=hint,
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Batch of {len(self.keys)}"

    def part(self, start: int, stop: int, *, last: bool) -> Batch:
        """Return some of its records; only the last part carries the cursor."""

        def cut(column: Any) -> Any:
            return None if column is None else column[start:stop]

        return Batch(
            cut(self.keys),
            cut(self.records),
            versions=cut(self.versions),
            deleted=cut(self.deleted),
            raws=cut(self.raws),
            decode=self.decode,
            positions=cut(self.positions),
            after=self.after if last else None,
            watermark=self.watermark if last else None,
            hint=self.hint if last else None,
        )


def _flags(read: list[Any], rows: Sequence[Mapping[str, Any]], name: str) -> list[bool]:
    """Return whether each record is deleted; refuse, in ``read``, one that does not say."""
    flags: list[bool] = []
    for at, row in enumerate(rows):
        flag = row.get(name)
        plain = flag is None or (isinstance(flag, int) and flag in (0, 1))
        flags.append(plain and bool(flag))
        if not plain:
            error = RecordError(
                f"whether it is deleted is told by a value of type {type(flag).__name__}",
                remedy="Give true, false, 1, 0 or null, or make the column of flags yourself",
                path=name,
                code="deleted",
            )
            read[at] = Refused(error, row)
    return flags


def _not_an_object(item: object) -> RecordError:
    return RecordError(
        f"expected an object with fields, got a value of type {type(item).__name__}",
        remedy="Look at what the source answers; its shape may have changed",
        code="not_an_object",
    )


class Source(Protocol):
    """Where records come from.

    ``read(after)`` is called once a run, with the durable cursor or None for the
    beginning, and returns an iterator of batches. It must be *pure*: reading changes
    nothing, so that any place may be read again after a crash. The engine asks for the
    next batch only after it has settled the last one (``reads_ahead`` allows one more),
    always on one thread from the first batch to the close, and closes a generator that it
    leaves early. An iterator that raised is never touched again.

    Raise ``TransientError`` when the other side is limited, down or slow: the run ends,
    the next one goes on from the checkpoint. Raise ``AuthenticationError`` when it refuses
    your credentials. Put a :class:`Refused` in place of a record that cannot be read.
    Never skip a record, never end early on an error.

    With ``hints`` declared it is called as ``read(after, hint=hint)``: a hint is the page
    token of a batch that was settled, with the ``after`` that opened its window. It is
    tried once; if that read raises before its first batch, the engine reads from the
    durable cursor.

    Two more methods are looked for. ``clock()`` is the source's own time, an instant not
    later than the start of the first request of this read; it is called once, after the
    first batch arrived and before its commit, and needed by every cursor with a lateness.
    ``fetch(keys)`` returns a :class:`Batch` of those keys that the source still has, as they
    are now, and is asked before a dead letter's stored record is replayed.
    """

    @property
    def capabilities(self) -> SourceCapabilities:
        """What the source promises; always the same."""
        ...

    def read(self, after: str | None) -> Iterable[Batch] | AsyncIterable[Batch]: ...


# -- Changes and outcomes --------------------------------------------------------------


class Op(enum.StrEnum):
    """What a change does. A sink with ``upsert`` may treat CREATE and UPDATE alike."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@define(eq=False, repr=False)  # not frozen: that would cost three times as much a record
class Change:
    """A create, update or delete of one key.

    Attributes:
        change_id: unique within one ``write``; an outcome names it.
        op: what to do.
        key: always the source's.
        version: the source's version of the record, or None.
        dest_id: the destination's id of the record, where one is known.
        idempotency_key: set for a create, if the sink declares idempotency keys. The same
            on every attempt.
        body: what the sink's ``render`` returned for this change, byte for byte the same
            on every attempt.
    """

    change_id: int
    op: Op
    key: Key
    version: str | None
    dest_id: str | None
    fields: Sequence[str]
    row: Sequence[Any]
    idempotency_key: str | None = None
    body: bytes | None = None

    def __repr__(self) -> str:
        return f"Change({self.change_id}, {self.op}, {key_digest(self.key)})"

    @property
    def record(self) -> Mapping[str, Any]:
        """The mapped record, read-only, without what is UNSET; empty for a delete."""
        if self.op is Op.DELETE:
            return _NOTHING
        return MappingProxyType(
            {n: v for n, v in zip(self.fields, self.row, strict=True) if v is not UNSET}
        )


class Changes(Sequence[Change]):
    """The changes of one ``write``, in columns; makes :class:`Change` objects on iteration.

    Attributes:
        ids, ops, keys, versions, dest_ids, idempotency_keys, bodies: one entry a change.
        fields: the names of the values in each of :attr:`rows`.
        rows: the mapped records as tuples in the order of ``fields``; an empty tuple for
            a delete. Values may be UNSET.
    """

    __slots__ = (
        "bodies",
        "dest_ids",
        "fields",
        "idempotency_keys",
        "ids",
        "keys",
        "ops",
        "rows",
        "versions",
    )

    def __init__(
        self,
        *,
        fields: Sequence[str],
        ops: Sequence[Op],
        keys: Sequence[Key],
        versions: Sequence[str | None],
        dest_ids: Sequence[str | None],
        rows: Sequence[Sequence[Any]],
        ids: Sequence[int] | None = None,
        idempotency_keys: Sequence[str | None] | None = None,
        bodies: Sequence[bytes | None] | None = None,
    ) -> None:
        self.fields = fields
        self.ops = ops
        self.keys = keys
        self.versions = versions
        self.dest_ids = dest_ids
        self.rows = rows
        self.ids = range(len(keys)) if ids is None else ids
        nothing: Sequence[None] = (None,) * len(keys)
        self.idempotency_keys = nothing if idempotency_keys is None else idempotency_keys
        self.bodies = nothing if bodies is None else bodies

    def __len__(self) -> int:
        return len(self.keys)

    def _change(self, at: int) -> Change:
        return Change(
            self.ids[at],
            self.ops[at],
            self.keys[at],
            self.versions[at],
            self.dest_ids[at],
            self.fields,
            self.rows[at],
            self.idempotency_keys[at],
            self.bodies[at],
        )

    @overload
    def __getitem__(self, at: int) -> Change: ...
    @overload
    def __getitem__(self, at: slice) -> Changes: ...
    def __getitem__(self, at: int | slice) -> Change | Changes:
        if isinstance(at, slice):
            return Changes(
                fields=self.fields,
                ops=self.ops[at],
                keys=self.keys[at],
                versions=self.versions[at],
                dest_ids=self.dest_ids[at],
                rows=self.rows[at],
                ids=self.ids[at],
                idempotency_keys=self.idempotency_keys[at],
                bodies=self.bodies[at],
            )
        return self._change(at)

    def __iter__(self) -> Iterator[Change]:
        return map(self._change, range(len(self.keys)))

    def pick(self, places: Sequence[int]) -> Changes:
        """Return the changes at these places, with the ids that they have here."""

        def cut(column: Sequence[Any]) -> list[Any]:
            return [column[at] for at in places]

        return Changes(
            fields=self.fields,
            ops=cut(self.ops),
            keys=cut(self.keys),
            versions=cut(self.versions),
            dest_ids=cut(self.dest_ids),
            rows=cut(self.rows),
            ids=cut(self.ids),
            idempotency_keys=cut(self.idempotency_keys),
            bodies=cut(self.bodies),
        )

    def applied(self) -> list[Applied]:
        """Return an :class:`Applied` for every change: all of them are durable."""
        return [Applied(change_id) for change_id in self.ids]


@define
class Applied:
    """The change is durable in the destination.

    Args:
        change_id: the change's.
        dest_id: the destination's id of the record, to address it later.
        created: True or False where the destination says whether the record is new.
    """

    change_id: int
    dest_id: str | None = None
    created: bool | None = None


@define
class Rejected:
    """The destination said no to this change, and would again: it becomes a dead letter.

    Args:
        change_id: the change's.
        code: a short constant for summaries, such as ``409`` or ``not_null``.
        detail: the destination's own words. They may quote the record, so they are kept
            in the dead letter only, and shown nowhere else.
        path: the field that was refused.
    """

    change_id: int
    code: str = "rejected"
    detail: str | None = field(default=None, repr=False)
    path: str | None = None


@define
class Unknown:
    """Whether the change took effect cannot be told."""

    change_id: int


Outcome: TypeAlias = Applied | Rejected | Unknown

# -- Sink ------------------------------------------------------------------------------


@frozen
class SinkCapabilities:
    """What a sink promises; the engine refuses a pipeline that needs more.

    Args:
        upsert: a change may be sent again, any number of times, with the same effect as
            once. Such a sink needs no second commit for each batch.
        deletes: DELETE is understood. Deleting what is not there is applied.
        atomic: a ``write`` that raised has applied nothing. (Outcomes may still reject some
            changes and apply the others.)
        idempotency_key: the destination recognises ``change.idempotency_key``. The sink
            then has ``render`` (see :class:`Renders`).
        key_lifetime: how long the destination remembers such a key. One older than half of
            that is never sent again.
        lookup_lag: how long after ``write`` was called ``find`` may still miss its effect:
            the longest that a request may take, and what the search index lags behind.
        bulk: the most changes that one ``write`` takes; None for any number.
    """

    upsert: bool = field(kw_only=True, default=False)
    deletes: bool = field(kw_only=True, default=False)
    atomic: bool = field(kw_only=True, default=False)
    idempotency_key: bool = field(kw_only=True, default=False)
    key_lifetime: timedelta = field(kw_only=True, default=timedelta(hours=24))
    lookup_lag: timedelta = field(kw_only=True, default=timedelta(0))
    bulk: int | None = field(kw_only=True, default=None)


class Sink(Protocol):
    """Where changes go.

    ``write(changes)`` is called on one thread, never twice at once, with at most
    ``bulk`` changes of different keys, sorted by key. It returns when all that it reports
    as applied is durable, with one outcome for every change, in any order, matched by
    ``change_id`` alone; one that is missing, doubled or foreign counts as unknown.

    Raise ``NotSent`` if nothing left the process, another ``TransientError`` if the other
    side is limited, down or slow (changes without an outcome are then in doubt),
    ``RejectedError`` if the call was refused as a whole and nothing of it was applied,
    ``AuthenticationError`` if your credentials were refused. After a crash the same
    changes may come again: at once with ``upsert``; else only as their intents allow.
    """

    @property
    def capabilities(self) -> SinkCapabilities:
        """What the sink promises; always the same."""
        ...

    def write(self, changes: Changes) -> Sequence[Outcome] | Awaitable[Sequence[Outcome]]: ...


@runtime_checkable
class LookUp(Protocol):
    """A sink that can tell whether a record is there already.

    ``find(changes)`` returns the destination's id, or None, for each change, in their
    order. It is asked only about creates in doubt, and not before ``lookup_lag`` has
    passed since they were sent.
    """

    def find(self, changes: Changes) -> Sequence[str | None] | Awaitable[Sequence[str | None]]: ...


@runtime_checkable
class Renders(Protocol):
    """A sink with idempotency keys: the same key must always come with the same bytes.

    ``render(change)`` is pure and returns what is sent for a create. The engine stores
    the result before the first attempt and hands it back as ``change.body`` on every one.
    """

    def render(self, change: Change) -> bytes: ...


# -- Mapper, owner, observer -----------------------------------------------------------


class Filtered(enum.Enum):
    """The type of :data:`FILTERED`."""

    FILTERED = "filtered"


FILTERED: Final = Filtered.FILTERED
"""What a mapper returns for a record that does not belong in the destination."""


@runtime_checkable
class Mapper(Protocol):
    """What each field becomes.

    Attributes:
        fields: the destination's fields, in the order of the tuples that ``map_batch``
            returns; None if it returns mappings.
        digest: changes whenever the same record might be mapped differently; a record that
            is as it was is not mapped again under the same digest.

    ``map_batch(records)`` is pure and returns for each record, in order: its values (a
    tuple, or a mapping if ``fields`` is None), :data:`FILTERED`, or the
    :class:`~syncsdk.errors.RecordError` that says why not. The sequence that it returns may
    have ``decisions``, a mapping of ``(field, decision)`` to how often it was taken; they
    are added up in the report. A mapper may have ``unapproved``: None, or a sentence that
    stands among the warnings of each run.
    """

    @property
    def fields(self) -> Sequence[str] | None: ...
    @property
    def digest(self) -> str: ...
    def map_batch(self, records: Sequence[Any]) -> Sequence[Any]: ...


def _as_tuple(items: Sequence[str]) -> Sequence[str]:
    return tuple(items)


@frozen
class Owner:
    """Who answers for a pipeline.

    Args:
        name: the team, as people call it.
        contacts: where the team is reached.
        runbook: the address of what to do when it breaks.
    """

    name: str
    contacts: Sequence[str] = field(default=(), converter=_as_tuple)
    runbook: str | None = None


class Result(enum.StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    PAUSED = "paused"
    STOPPED = "stopped"
    SKIPPED = "skipped"

    @property
    def exit_code(self) -> int:
        """The exit code of a process that ran it: 75 is EX_TEMPFAIL of sysexits.h."""
        return {"partial": 1, "failed": 2, "stopped": 3, "paused": 75}.get(self.value, 0)


@define
class Counts:
    """Every record once: ``read + inferred + resumed`` equals the sum of all the others.

    Attributes:
        read: records of settled batches.
        inferred: deletes found by a complete listing.
        resumed: pending records of earlier runs, and replayed dead letters, taken up.
        created, updated, deleted: applied by the destination.
        unchanged: the destination holds it already.
        stale: older than what was written before.
        superseded: replaced by a newer record of the same key before it was written.
        filtered: the mapping said that it does not belong there.
        dead: kept as a dead letter.
        pending: kept as an intent, resolved first in the next run.
    """

    read: int = 0
    inferred: int = 0
    resumed: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    stale: int = 0
    superseded: int = 0
    filtered: int = 0
    dead: int = 0
    pending: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in _COUNTS))

    @property
    def balanced(self) -> bool:
        """Whether the conservation law holds."""
        taken = self.read + self.inferred + self.resumed
        settled: int = sum(getattr(self, name) for name in OUTCOMES)
        return taken == settled


OUTCOMES: Final = (
    "created",
    "updated",
    "deleted",
    "unchanged",
    "stale",
    "superseded",
    "filtered",
    "dead",
    "pending",
)
"""What can become of a record; the right side of the conservation law."""
_COUNTS: Final = ("read", "inferred", "resumed", *OUTCOMES)


@define
class RunReport:
    """What one run did, accounted for to the last record.

    Attributes:
        run_id: unique to the run.
        pipeline: its pipeline's name.
        owner: who answers for it.
        mode: incremental, backfill or replay.
        started_at, finished_at: aware instants in UTC; the latter None while it runs.
        result: how it ended.
        reason: why, for every result but success; no value of a record.
        remedy: what to do about it.
        counts: see :class:`Counts`.
        unsettled: records that were read but whose batch did not settle; read again.
        batches: batches that settled.
        letters: open dead letters of the pipeline, of all runs.
        intents: open intents of the pipeline.
        refusals: the first reasons for dead letters of this run, with their number.
        decisions: how often the mapping cut, defaulted and so on, by field and decision.
        warnings: what the owner should look at, such as ``backfill due``.
        resume_at: when a paused run may go on.
        error: what a connector raised, to raise or log it where that is safe: unlike all
            the rest, the words of somebody else's exception may quote a record.
    """

    run_id: str
    pipeline: str
    owner: str
    mode: str
    started_at: datetime
    finished_at: datetime | None = None
    result: Result = Result.SUCCESS
    reason: str | None = None
    remedy: str | None = None
    counts: Counts = field(factory=Counts)
    unsettled: int = 0
    batches: int = 0
    letters: int = 0
    intents: int = 0
    refusals: dict[str, int] = field(factory=dict)
    decisions: dict[str, int] = field(factory=dict)
    warnings: list[str] = field(factory=list)
    resume_at: datetime | None = None

    error: BaseException | None = field(default=None, eq=False, repr=False)

    @property
    def exit_code(self) -> int:
        """0 success or skipped, 1 partial, 2 failed, 3 stopped, 75 paused."""
        return self.result.exit_code

    def as_json(self) -> str:
        """Return it as one JSON object; instants are ISO 8601 texts.

        The result of a run that has not ended is ``running``.
        """
        shown = asdict(self, filter=lambda item, _: item.name != "error")
        if self.finished_at is None:
            shown["result"] = "running"
        return json.dumps(shown, default=lambda moment: moment.isoformat())

    def __str__(self) -> str:
        lines = [f"{self.pipeline}: {self.result}" + (f" ({self.mode})" if self.mode else "")]
        shown = ", ".join(
            f"{getattr(self.counts, name)} {name}"
            for name in _COUNTS
            if getattr(self.counts, name) or name == "read"
        )
        lines.append(f"  {shown}")
        if self.unsettled:
            lines.append(f"  {self.unsettled} unsettled: they will be read again")
        if self.reason:
            lines.append(f"  {self.reason}" + (f". {self.remedy}" if self.remedy else ""))
        lines += [f"  refused {number} ×: {why}" for why, number in self.refusals.items()]
        lines += [f"  {what} {number} ×" for what, number in self.decisions.items()]
        if self.letters:
            lines.append(f"  {self.letters} open dead letter" + "s"[self.letters == 1 :])
        if self.intents:
            lines.append(
                f"  {self.intents} write{'s'[self.intents == 1 :]} in doubt, resolved first in "
                "the next run"
            )
        if self.resume_at is not None:
            lines.append(f"  resumes at {self.resume_at:%Y-%m-%d %H:%M:%S} UTC")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


class Observer(Protocol):
    """Somebody who watches runs; called in the run's own thread.

    ``on_progress(report)`` comes after each commit, ``on_finish(report)`` at the end.
    What they raise is logged, and never stops the run.
    """

    def on_progress(self, report: RunReport) -> None: ...
    def on_finish(self, report: RunReport) -> None: ...


# -- State -----------------------------------------------------------------------------


class EntryState:
    """What the destination holds of a key, as far as we know; plain integers."""

    LIVE: Final = 0
    GONE: Final = 1
    """Deleted. The row stays: an older update must not bring the record back."""
    AMBIGUOUS: Final = 2
    """A create whose effect could not be told; a person decides before it is written."""


class Entry(NamedTuple):
    """One row of the crosswalk: what was last settled for a key.

    Attributes:
        dest_id: the destination's id, if it has one of its own.
        version: the source's raw version.
        fingerprint: of the mapped record; None if gone, or in doubt.
        raw: digest of the record as read, void under another mapping; or None.
        state: an :class:`EntryState`.
    """

    dest_id: str | None
    version: str | None
    fingerprint: bytes | None
    raw: bytes | None = None
    state: int = EntryState.LIVE


class Stage(enum.StrEnum):
    """Where a record was refused."""

    READ = "read"
    MAP = "map"
    WRITE = "write"


class LetterStatus(enum.StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"


@frozen(repr=False)
class Letter:
    """A record that could not be delivered, kept with its reason.

    Attributes:
        id: given by the store; 0 before.
        key: the record's, or ``()`` if it has none that is usable.
        version: the source's raw version.
        stage: where it was refused.
        code: a short constant.
        reason: path and reason, without a value.
        detail: words that may quote the record: for a person who looks at this letter.
        original: the record as read, in the text of :func:`~syncsdk.values.pack`; None if
            it is not data.
        mapped: the mapped record likewise, where there is one.
        deleted: the record is a deletion.
        digest: of its content; the same refused record is told again by it.
        run_id, seq, at: which run and commit wrote it, and when.
        status: what became of it.
    """

    key: Key
    version: str | None
    stage: Stage
    code: str
    reason: str
    detail: str | None
    original: str | None
    mapped: str | None
    deleted: bool
    digest: bytes
    run_id: str
    seq: int
    at: datetime
    id: int = 0
    status: LetterStatus = LetterStatus.OPEN

    def __repr__(self) -> str:
        return f"Letter({self.id}, {self.stage}, {self.code}, {key_digest(self.key)})"


@frozen(repr=False)
class Intent:
    """A durable note, made before a write that cannot be repeated blindly.

    Attributes:
        key: whose.
        op, version, dest_id, fields, row: the change, whole.
        fingerprint: of the mapped record; None for a delete.
        raw: digest of the record as read, or None.
        idempotency_key: sent with every attempt.
        body: what is sent, as rendered once.
        born: when it was first about to be sent; the key's lifetime counts from here.
        sent: when it was last about to be sent; a look-up's lag counts from here. None if
            it never was.
        counted: its record is settled as pending, for the cursor has passed it. Else the
            record will be read again, and the intent is resolved without being counted.
        original: the record as read, packed, once it is counted; for a dead letter.
        next: a later change of the key, written once this one is resolved.
    """

    key: Key
    op: Op
    version: str | None
    dest_id: str | None
    fields: Sequence[str]
    row: Sequence[Any]
    fingerprint: bytes | None
    raw: bytes | None
    born: datetime
    sent: datetime | None
    idempotency_key: str | None = None
    body: bytes | None = None
    counted: bool = False
    original: str | None = None
    next: Intent | None = None

    def __repr__(self) -> str:
        return f"Intent({self.op}, {key_digest(self.key)})"

    @property
    def newest(self) -> Intent:
        """The change that the destination should end with: the successor, if there is one."""
        return self if self.next is None else self.next

    @property
    def weight(self) -> int:
        """How many records this stands for in the conservation law: 0, 1 or 2."""
        return int(self.counted) + (0 if self.next is None else int(self.next.counted))


class OpenLetter(NamedTuple):
    """What planning has to know of an open dead letter."""

    id: int
    digest: bytes
    version: str | None


@define
class Known:
    """What the store holds of some keys: one look-up for a whole batch.

    Attributes:
        entries: crosswalk rows; keys without one are left out, and those in ``same``.
        intents: open intents.
        letters: open dead letters, in the order of their ids.
        same: keys whose raw digest is the one that was asked about.
    """

    entries: dict[Key, Entry] = field(factory=dict)
    intents: dict[Key, Intent] = field(factory=dict)
    letters: dict[Key, list[OpenLetter]] = field(factory=dict)
    same: set[Key] = field(factory=set)


@frozen
class Checkpoint:
    """Where a pipeline stands; what one commit replaces as a whole.

    Attributes:
        seq: number of the commit that wrote it; 0 before the first.
        run_id: the run that wrote it.
        token: that run's fencing token.
        cursor: the durable cursor.
        hint, hint_after, hint_clock: a page token, the cursor that opened its window, and
            the window's clock.
        mapping: digest of the mapping that all entries were written with.
        source: digest of the source's declared cursor and version.
        disordered: the source was seen to break its declared order.
        live: records that the destination holds.
    """

    seq: int = 0
    run_id: str = ""
    token: int = 0
    cursor: str | None = None
    hint: str | None = None
    hint_after: str | None = None
    hint_clock: datetime | None = None
    mapping: str = ""
    source: str = ""
    disordered: bool = False
    live: int = 0


@define
class Commit:
    """All that one transaction settles.

    Attributes:
        pipeline: whose.
        checkpoint: the new one; ``seq`` is the previous one plus one.
        entries: crosswalk rows to write, by key.
        letters: dead letters to add.
        closed: ids of dead letters, and what became of them.
        intents: intents to write.
        resolved: keys whose intent is deleted.
        report: the run's report so far, as JSON.
    """

    pipeline: str
    checkpoint: Checkpoint
    entries: dict[Key, Entry] = field(factory=dict)
    letters: list[Letter] = field(factory=list)
    closed: dict[int, LetterStatus] = field(factory=dict)
    intents: list[Intent] = field(factory=list)
    resolved: list[Key] = field(factory=list)
    report: str = "{}"


@frozen
class Lease:
    """The right to run a pipeline.

    Attributes:
        token: grows with every take-over; every write of the run carries it.
        crashed: how many runs in a row ended without letting go of it.
    """

    pipeline: str
    run_id: str
    token: int
    crashed: int = 0


class Standing(enum.StrEnum):
    """Whether somebody has the right to run a pipeline."""

    IDLE = "idle"
    RUNNING = "running"
    CRASHED = "crashed"
    """The last run ended without letting go of it, and none has followed."""


class Cell(NamedTuple):
    """Named bytes that several processes share, with the version to compare and swap."""

    value: bytes
    version: int


class StateStore(Protocol):
    """Where a pipeline's memory lives: checkpoint, crosswalk, letters, intents, runs, lease.

    Every method is one atomic step that is durable when it returns. A store may be used by
    several pipelines and threads at once. It raises ``CheckpointError`` when it cannot
    keep its word, and ``FencedError`` from ``put_intents``, ``commit`` and ``renew`` when
    the token is not that of the current lease. Times are the store's own clock's.
    """

    def load(self, pipeline: str) -> Checkpoint:
        """Return where the pipeline stands; an empty checkpoint if it never committed."""
        ...

    def look_up(
        self, pipeline: str, keys: Sequence[Key], raws: Sequence[bytes | None] = ()
    ) -> Known:
        """Return what is known of these keys.

        Args:
            pipeline: whose.
            keys: of which.
            raws: a digest for each of the keys, which then are distinct, or None. A key
                whose crosswalk row has that raw digest may be named in ``same`` instead of
                being looked into, unless it has an open intent or dead letter.
        """
        ...

    def put_intents(
        self, lease: Lease, intents: Sequence[Intent], doubted: Sequence[Key] = ()
    ) -> None:
        """Write intents, replacing those of the same keys, and doubt what is known of others.

        The crosswalk rows of ``doubted`` keys lose their fingerprint and raw digest and
        become LIVE: until the next commit nobody can tell what the destination holds.
        """
        ...

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Settle a batch: all of it or nothing.

        Raises:
            CheckpointError: the previous checkpoint's ``seq`` is not one less; or the
                store failed, and whether the commit took effect is unknown: reconnect,
                ``load``, and compare ``run_id`` and ``seq``.
            FencedError: the lease was taken over.
        """
        ...

    def intents(self, pipeline: str, limit: int) -> Sequence[Intent]:
        """Return the oldest open intents, at most ``limit``."""
        ...

    def letters(
        self,
        pipeline: str,
        *,
        status: LetterStatus | None = LetterStatus.OPEN,
        after: int = 0,
        limit: int = 500,
    ) -> Sequence[Letter]:
        """Return dead letters with an id above ``after``, in the order of their ids."""
        ...

    def totals(self, pipeline: str) -> tuple[int, int]:
        """Return the numbers of open dead letters and of open intents."""
        ...

    def runs(self, pipeline: str, limit: int = 20) -> Sequence[str]:
        """Return the newest runs' reports as JSON, newest first."""
        ...

    def pipelines(self) -> Sequence[str]:
        """Return the names of all pipelines that ever ran here."""
        ...

    def acquire(self, pipeline: str, run_id: str, ttl: timedelta) -> Lease | None:
        """Take the right to run, or return None if another run has it.

        It is free when it was released, when its time has run out, or at once when its
        holder is provably dead. The reports of all but the newest runs, some hundreds at
        least, are forgotten here.
        """
        ...

    def standing(self, pipeline: str) -> Standing:
        """Return whether a run is under way; changes nothing."""
        ...

    def renew(self, lease: Lease, ttl: timedelta) -> None:
        """Keep the right to run for another ``ttl``."""
        ...

    def release(self, lease: Lease, report: str) -> None:
        """Let go of the right to run, and keep the run's final report.

        Closed dead letters older than the retention lose their content here. A lease that
        was taken over is left alone; the report is kept all the same.
        """
        ...

    def cell(self, name: str) -> Cell | None:
        """Return a cell, or None if it was never written."""
        ...

    def swap(self, name: str, value: bytes, version: int) -> bool:
        """Write a cell if its version still is ``version`` (0: it was never written)."""
        ...

    def forget(self, pipeline: str, key: Key) -> None:
        """Remove every trace of a key: crosswalk, dead letters, intents."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
