"""What a batch needs, and what became of it: pure decisions, no I/O, no clock.

::

    check ─► compact ─► version guard ─► map ─► fingerprint compare ─► Plan
                                   Plan + outcomes ─► settle ─► Settlement

Decides which records are written, in which words each is counted, what a dead letter
holds, when a durable cursor may move, and how many refusals are too many. Leaves to the
engine when to read, write and commit.

Read :func:`plan`, which calls the steps in their order, then :func:`settle` and
:func:`durable`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from marshal import dumps
from typing import Any, Final

from attrs import Factory, define, evolve, field, frozen

from .errors import ContractError, RecordError
from .protocols import (
    FILTERED,
    Applied,
    Batch,
    Changes,
    Counts,
    Entry,
    EntryState,
    Intent,
    Known,
    Letter,
    LetterStatus,
    Mapper,
    Op,
    OpenLetter,
    Outcome,
    Refused,
    Rejected,
    SinkCapabilities,
    Stage,
    Unknown,
)
from .values import (
    UNSET,
    Cursor,
    Fingerprints,
    Key,
    Listing,
    Token,
    Version,
    Watermark,
    as_key,
    pack,
)

__all__ = [
    "STRICT",
    "Plan",
    "Resolution",
    "Rows",
    "Rules",
    "Sends",
    "Settlement",
    "Stamp",
    "Tolerance",
    "check",
    "compact",
    "disorder",
    "durable",
    "is_stale",
    "leaves_doubt",
    "match",
    "needs_intent",
    "plan",
    "resolution",
    "settle",
]


@frozen
class Tolerance:
    """How many records of a run may go one way before the run stops.

    Args:
        count: so many always may.
        share: or this share, 0.0 to 1.0, of what was read so far, if that is more.
    """

    count: int = 10
    share: float = 0.01

    def allows(self, number: int, of: int) -> bool:
        """Return whether ``number`` out of ``of`` records is still within it."""
        return number <= max(self.count, self.share * of)


STRICT: Final = Tolerance(0, 0.0)
"""Not a single one. For ledgers; one bad record then stops every run."""


def raw_salt(mapper: Mapper) -> bytes:
    """Return 16 bytes that go into every raw digest: those of another mapping never match."""
    return blake2b(mapper.digest.encode(), digest_size=16).digest()


@frozen
class Rules:
    """What planning has to know of a pipeline.

    Attributes:
        mapper: what each field becomes.
        version: how versions compare.
        sink: what the sink promises.
    """

    mapper: Mapper
    version: Version
    sink: SinkCapabilities
    salt: bytes = field(
        init=False, default=Factory(lambda rules: raw_salt(rules.mapper), takes_self=True)
    )
    _fingerprints: dict[tuple[str, ...], Fingerprints] = field(init=False, factory=dict)

    def fingerprints(self, rows: Sequence[Any]) -> list[bytes | RecordError]:
        """Return the fingerprint of each mapped record, a tuple or a mapping, or why not."""
        fields = self.mapper.fields
        if fields is not None:
            return self._of(tuple(fields)).of_all(rows)
        marks: dict[int, bytes | RecordError] = {}
        shapes: dict[tuple[str, ...], list[int]] = {}
        for at, row in enumerate(rows):
            names = tuple(name for name in row if row[name] is not UNSET)
            if set(map(type, names)) <= {str}:
                shapes.setdefault(names, []).append(at)
            else:
                marks[at] = _badly_named(names)
        for names, places in shapes.items():
            values = [[rows[at][name] for name in names] for at in places]
            marks |= zip(places, self._of(names).of_all(values), strict=True)
        return [marks[at] for at in range(len(rows))]

    def _of(self, names: tuple[str, ...]) -> Fingerprints:
        known = self._fingerprints.get(names)
        if known is None:
            known = self._fingerprints[names] = Fingerprints(names)
        return known


def _badly_named(names: Sequence[object]) -> RecordError:
    (kind, *_) = [type(name).__name__ for name in names if not isinstance(name, str)]
    return RecordError(
        f"the mapped record has a field named by a value of type {kind}",
        remedy="Name fields by text",
        code="mapping",
    )


@frozen
class Stamp:
    """Which run and commit a plan belongs to."""

    run_id: str
    seq: int
    at: datetime


# -- Cursor ----------------------------------------------------------------------------


def durable(
    cursor: Cursor,
    after: str | None,
    *,
    old: str | None,
    cap: datetime | None,
    watermark: datetime | None,
) -> str | None:
    """Return the cursor that may be stored, which no unsettled record lies behind.

    Args:
        cursor: the source's kind.
        after: the place after the settled batch, or None if it is no resume point.
        old: the durable cursor so far; the result is never before it.
        cap: the source's clock at the start of the run, less its lateness; None for an
            exact source. Later places may still be joined by late records.
        watermark: an instant that all later batches are at or after.
    """
    if after is None or isinstance(cursor, Listing):
        return old
    if isinstance(cursor, Token):
        ripe = cap is None or (watermark is not None and watermark < cap)
        return after if ripe else old
    place = after if cap is None else cursor.floor(after, cap)
    if old is not None and cursor.position(place) < cursor.position(old):
        return old
    return place


def disorder(cursor: Watermark, positions: Sequence[str | None], highest: Any) -> tuple[bool, Any]:
    """Return whether records came out of the cursor's order, and the highest position.

    Args:
        cursor: the source's kind.
        positions: each record's place, in the cursor's format; None where unknown.
        highest: what this returned for the batch before; None at first.
    """
    places: Iterable[str | None] = positions
    if _sorted_text(cursor, positions):
        places = (positions[0], positions[-1])
    broken = False
    for place in places:
        try:
            here = None if place is None else Watermark.position(cursor, place)
        except ContractError:
            here = None  # a record whose version cannot be read is refused for that
        if here is not None:
            if highest is not None and here < highest:
                broken = True
            else:
                highest = here
    return broken, highest


def _sorted_text(cursor: Watermark, places: Sequence[str | None]) -> bool:
    """Return whether ``places`` are surely in order, told by their text alone.

    Texts of one length and one offset sort as the instants do.
    """
    texts = [place for place in places if place is not None]
    return (
        len(texts) == len(places) > 1
        and (cursor.format == "iso" or cursor.format.startswith("epoch"))
        and texts[0][:1].isdigit()
        and len(set(map(len, texts))) == 1
        and (len({text[-6:] for text in texts}) == 1 or {text[-1:] for text in texts} == {"Z"})
        and texts == sorted(texts)
    )


# -- Check and compact -----------------------------------------------------------------


@define
class Rows:
    """The columns of a batch, checked.

    Attributes:
        keys: one each; ``()`` for a refused record without a usable one.
        versions: raw texts.
        refused: why, by the record's place in the batch.
        distinct: no key is there twice.
    """

    keys: list[Key]
    versions: Sequence[str | None]
    refused: dict[int, RecordError]
    distinct: bool


def check(batch: object) -> Rows:
    """Return the columns of a batch whose shape is right.

    Raises:
        ContractError: not a :class:`Batch`, or columns of different lengths. What is
            wrong with one record only is in ``refused``.
    """
    if not isinstance(batch, Batch):
        raise ContractError(
            f"the source yielded a value of type {type(batch).__name__}",
            remedy="Yield syncsdk.Batch objects, for instance made with Batch.of(records, key=...)",
        )
    number = len(batch.keys)
    for name in ("records", "versions", "deleted", "raws", "positions"):
        column = getattr(batch, name)
        if column is not None and len(column) != number:
            raise ContractError(
                f"a batch has {number} keys, but {len(column)} {name}",
                remedy="Give every column one entry for each record",
            )
    if batch.records is None and (batch.raws is None or batch.decode is None):
        raise ContractError(
            "a batch has no records", remedy="Give records=, or raws= together with decode="
        )
    refused: dict[int, RecordError] = {}
    if batch.records is not None:
        for at, record in enumerate(batch.records):
            if record.__class__ is Refused:
                refused[at] = record.error
    keys = _keys(batch.keys, refused)
    versions = _versions(batch.versions, number, refused)
    return Rows(keys, versions, refused, distinct=len(set(keys)) == number)


def _keys(raws: Sequence[Any], refused: dict[int, RecordError]) -> list[Key]:
    kinds = set(map(type, raws))
    # A column of texts or of integers needs no look at each.
    if kinds == {str} and "" not in raws and _encodable(raws):
        return list(zip(raws, strict=True))
    keys: list[Key] = []
    for at, raw in enumerate(raws):
        try:
            keys.append(as_key(raw))
        except RecordError as error:
            refused.setdefault(at, error)
            keys.append(())
    return keys


def _encodable(texts: Sequence[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _versions(
    raws: Sequence[Any] | None, number: int, refused: dict[int, RecordError]
) -> Sequence[str | None]:
    if raws is None:
        return (None,) * number
    if {str, type(None)}.issuperset(map(type, raws)):
        return raws
    versions: list[str | None] = []
    for at, raw in enumerate(raws):
        known = raw is None or (isinstance(raw, str | int) and not isinstance(raw, bool))
        try:
            versions.append(str(raw) if known and raw is not None else None)
        except ValueError:  # Python refuses to print integers of over 4,300 digits
            versions.append(None)
            known = False
        if not known:
            refused.setdefault(
                at,
                RecordError(
                    f"the version is of type {type(raw).__name__}, or far too long",
                    remedy="Give versions as text or integers",
                    path="version",
                    code="version",
                ),
            )
    return versions


def raw_digests(batch: Batch, rows: Rows, salt: bytes) -> list[bytes | None]:
    """Return a digest of each record and version as read; None where it would say nothing.

    A record without raw bytes is digested as decoded, by marshal's version 2, which writes
    JSON's types alike on every Python; one that is more than plain data has no digest. An
    equal record whose fields come in another order has another digest: that costs its
    mapping, and no more.

    Args:
        batch, rows: the batch, and what :func:`check` made of it.
        salt: of the mapping; under another one no digest is the same.
    """
    records: Sequence[Any] | None = batch.records if batch.raws is None else batch.raws
    assert records is not None  # checked
    copy = blake2b(digest_size=16, person=salt).copy
    digests: list[bytes | None] = []
    for read in zip(rows.versions, records, strict=True):
        try:
            data = dumps(read, 2)
        except ValueError:
            digests.append(None)
            continue
        digest = copy()
        digest.update(data)
        digests.append(digest.digest())
    for at in rows.refused:
        digests[at] = None
    if batch.deleted is not None:
        digests = [
            None if gone else digest for gone, digest in zip(batch.deleted, digests, strict=True)
        ]
    return digests


def compact(keys: Sequence[Key], order: Sequence[Any], places: Sequence[int]) -> list[int]:
    """Return the places of the newest record of each key, in their order.

    Args:
        keys: of the whole batch.
        order: each record's parsed version; of equal ones the later place is newer.
        places: which records are asked about.
    """
    newest: dict[Key, int] = {}
    for at in places:
        other = newest.get(keys[at])
        if other is None or order[at] is None or not order[at] < order[other]:
            newest[keys[at]] = at
    return sorted(newest.values())


def is_stale(kind: Version, version: Any, known: str | None) -> bool:
    """Return whether a parsed version is strictly older than the raw one that is known."""
    if version is None or known is None:
        return False
    try:
        return bool(version < kind.parse(known))
    except RecordError:
        return False  # the declaration changed since: what cannot be compared is not older


# -- Plan ------------------------------------------------------------------------------


@define
class Sends:
    """Changes about to be written, in columns, with what settling them needs.

    Attributes:
        fingerprints, raws: of the mapped and the undecoded record.
        before: the crosswalk row of each key before the write, or None.
        weights: how many records each stands for in the counts: 1, or 0 for an intent
            whose record will be read again.
        origins: the place of each in its batch.
        pack: returns the packed original of a place, for a dead letter.
        intents: the durable note of each, where one was made.
        resumed: they come from notes of an earlier run, not from a batch.
    """

    fields: Sequence[str] = ()
    ops: list[Op] = field(factory=list)
    keys: list[Key] = field(factory=list)
    versions: list[str | None] = field(factory=list)
    dest_ids: list[str | None] = field(factory=list)
    rows: list[Any] = field(factory=list)
    fingerprints: list[bytes | None] = field(factory=list)
    raws: list[bytes | None] = field(factory=list)
    before: list[Entry | None] = field(factory=list)
    weights: list[int] = field(factory=list)
    origins: list[int] = field(factory=list)
    pack: Callable[[int], str | None] = field(default=lambda at: None)
    intents: dict[int, Intent] = field(factory=dict)
    resumed: bool = False

    def changes(self) -> Changes:
        """Return what the sink is given."""
        tokens: list[str | None] | None = None
        bodies: list[bytes | None] | None = None
        if self.intents:
            noted = [self.intents.get(at) for at in range(len(self.keys))]
            tokens = [None if note is None else note.idempotency_key for note in noted]
            bodies = [None if note is None else note.body for note in noted]
        return Changes(
            fields=self.fields,
            ops=self.ops,
            keys=self.keys,
            versions=self.versions,
            dest_ids=self.dest_ids,
            rows=self.rows,
            idempotency_keys=tokens,
            bodies=bodies,
        )

    def add(
        self,
        op: Op,
        key: Key,
        version: str | None,
        dest_id: str | None,
        row: Any,
        fingerprint: bytes | None,
        raw: bytes | None,
        *,
        before: Entry | None,
        origin: int,
        weight: int = 1,
    ) -> None:
        """Append one change."""
        self.ops.append(op)
        self.keys.append(key)
        self.versions.append(version)
        self.dest_ids.append(dest_id)
        self.rows.append(row)
        self.fingerprints.append(fingerprint)
        self.raws.append(raw)
        self.before.append(before)
        self.weights.append(weight)
        self.origins.append(origin)

    def extend(self, changes: Iterable[tuple[Any, ...]]) -> None:
        """Append changes, each a tuple of what :meth:`add` takes."""
        columns: tuple[list[Any], ...] = (
            self.ops,
            self.keys,
            self.versions,
            self.dest_ids,
            self.rows,
            self.fingerprints,
            self.raws,
            self.before,
            self.weights,
            self.origins,
        )
        for column, values in zip(columns, zip(*changes, strict=True), strict=False):
            column.extend(values)

    def intent(self, at: int, born: datetime, *, counted: bool) -> Intent:
        """Return one of them as a durable note, without idempotency key and body."""
        return Intent(
            key=self.keys[at],
            op=self.ops[at],
            version=self.versions[at],
            dest_id=self.dest_ids[at],
            fields=self.fields,
            row=self.rows[at],
            fingerprint=self.fingerprints[at],
            raw=self.raws[at],
            born=born,
            sent=born,
            counted=counted,
            original=self.pack(self.origins[at]) if counted else None,
        )


@define
class Decided:
    """What was decided of some records; a :class:`~syncsdk.protocols.Commit` settles it.

    Attributes:
        counts: their outcomes.
        entries, letters, closed, intents, resolved: see the commit.
        refused: letters whose content was not an open letter before.
        reasons: why, for the report.
    """

    counts: Counts = field(factory=Counts)
    entries: dict[Key, Entry] = field(factory=dict)
    letters: list[Letter] = field(factory=list)
    closed: dict[int, LetterStatus] = field(factory=dict)
    intents: list[Intent] = field(factory=list)
    resolved: list[Key] = field(factory=list)
    refused: int = 0
    reasons: dict[str, int] = field(factory=dict)


@define
class Plan(Decided):
    """What a batch needs: printed by ``Pipeline.plan``, carried out by the engine.

    Attributes:
        size: records of the batch.
        sends: the changes to write; all else is decided without a write.
        decisions: what the mapping decided, and how often.
    """

    size: int = field(kw_only=True)
    stamp: Stamp = field(kw_only=True)
    sends: Sends = field(factory=Sends)
    decisions: dict[tuple[str, str], int] = field(factory=dict)

    @property
    def deletes(self) -> int:
        """How many records it deletes."""
        return self.sends.ops.count(Op.DELETE)


def plan(
    batch: Batch,
    rows: Rows,
    digests: Sequence[bytes | None],
    known: Known,
    rules: Rules,
    stamp: Stamp,
    closing: LetterStatus = LetterStatus.SUPERSEDED,
) -> Plan:
    """Return what a checked batch needs, given what is known of its keys.

    Args:
        batch, rows, digests: the batch, and what :func:`check` and :func:`raw_digests` made
            of it.
        known: what the store holds of all keys of the batch.
        rules: of the pipeline.
        stamp: run and commit that the plan belongs to.
        closing: what becomes of the open letters of keys that this plan settles.
    """
    made = Plan(size=len(rows.keys), stamp=stamp)
    made.sends.pack = partial(_original, batch)
    work = _Work(batch, rows, digests, known, rules, made, closing)
    places = work.newest()
    places = work.guarded(places)
    work.compare(places, work.mapped(places))
    return made


@define
class _Work:
    """One call of :func:`plan`; its methods run in the order in which they stand."""

    batch: Batch
    rows: Rows
    digests: Sequence[bytes | None]
    known: Known
    rules: Rules
    plan: Plan
    closing: LetterStatus
    parsed: list[Any] = field(init=False)

    def newest(self) -> list[int]:
        """Pass over what is as it was, refuse the unreadable; return the newest of each key."""
        keys, rows, same = self.rows.keys, self.rows, self.known.same
        entries, intents = self.known.entries, self.known.intents
        kind = self.rules.version
        self.plan.counts.unchanged += len(same)
        places: Sequence[int] = range(len(keys))
        if same:
            places = [at for at in places if keys[at] not in same]
        self.parsed = [None] * len(keys)
        for at in places if kind.kind != "opaque" else ():
            key, raw = keys[at], rows.versions[at]
            entry = entries.get(key)
            # The version that is settled needs no look, unless there is another to beat.
            if entry and entry.version == raw and rows.distinct and key not in intents:
                continue
            try:
                self.parsed[at] = kind.parse(raw)
            except RecordError as error:
                rows.refused.setdefault(at, error)
        for at, why in rows.refused.items():
            self.refuse(at, Stage.READ, why)
        newest = places = [at for at in places if at not in rows.refused]
        if not rows.distinct:
            newest = compact(keys, self.parsed, places)
        self.plan.counts.superseded += len(places) - len(newest)
        newest.sort(key=keys.__getitem__)
        return newest

    def guarded(self, places: list[int]) -> list[int]:
        """Settle what is stale or gone; return what to map."""
        keys, deleted = self.rows.keys, self.batch.deleted
        entries, intents = self.known.entries, self.known.intents
        counts = self.plan.counts
        if not entries and not intents and deleted is None:
            return places
        todo: list[int] = []
        for at in places:
            key = keys[at]
            entry = entries.get(key)
            intent = intents.get(key)
            gone = deleted is not None and deleted[at]
            last = entry if intent is None else intent.newest
            if last and is_stale(self.rules.version, self.parsed[at], last.version):
                counts.stale += 1
                if self.closing is LetterStatus.REPLAYED:
                    self.close(at, LetterStatus.SUPERSEDED)
            elif entry is not None and entry.state == EntryState.AMBIGUOUS:
                self.refuse(at, Stage.WRITE, _ambiguous())
            elif gone:
                self.delete(at, entry, intent)
            else:
                todo.append(at)
        return todo

    def delete(self, at: int, entry: Entry | None, intent: Intent | None) -> None:
        """Plan the deletion of a key."""
        key, version = self.rows.keys[at], self.rows.versions[at]
        if intent is not None:
            self.succeed(at, intent, Op.DELETE, (), None)
            return
        if entry is not None and entry.state == EntryState.GONE:
            self.settled(at, entry._replace(version=version), entry)
        elif entry is None and not self.rules.sink.upsert:
            # Without an id and without an upsert there is nothing to address. An upsert
            # sink is told all the same: a crash may have left a record that we do not know.
            self.settled(at, Entry(None, version, None, None, EntryState.GONE), None)
        else:
            self.plan.sends.add(
                Op.DELETE,
                key,
                version,
                None if entry is None else entry.dest_id,
                (),
                None,
                None,
                before=entry,
                origin=at,
            )

    def mapped(self, places: list[int]) -> Sequence[Any]:
        """Return the mapped records."""
        if not places:
            return ()
        if self.batch.records is not None:
            records: Sequence[Any] = [self.batch.records[at] for at in places]
        else:
            assert self.batch.raws is not None
            assert self.batch.decode is not None
            records = self.batch.decode([self.batch.raws[at] for at in places])
            if len(records) != len(places):
                raise ContractError(
                    f"decode returned {len(records)} records for {len(places)} raws",
                    remedy="Return one record, or Refused, for each",
                )
        good = [record for record in records if record.__class__ is not Refused]
        rows = self.rules.mapper.map_batch(good)
        if len(rows) != len(good):
            raise ContractError(
                f"the mapper returned {len(rows)} results for {len(good)} records",
                remedy="Return one result for each record, in order",
            )
        self.plan.decisions.update(getattr(rows, "decisions", ()))
        if len(good) == len(records):
            return rows
        results = iter(rows)
        return [item if item.__class__ is Refused else next(results) for item in records]

    def compare(self, places: list[int], rows: Sequence[Any]) -> None:
        """Settle what the destination holds already, plan the rest."""
        keys, versions, digests = self.rows.keys, self.rows.versions, self.digests
        entries, intents = self.known.entries, self.known.intents
        sends, counts, letters = self.plan.sends, self.plan.counts, self.known.letters
        create, update, alive = Op.CREATE, Op.UPDATE, EntryState.LIVE
        changes: list[tuple[Any, ...]] = []
        if set(map(type, rows)) != {tuple}:
            places, rows = self.writable(places, rows)
        for at, row, mark in zip(places, rows, self.rules.fingerprints(rows), strict=True):
            if isinstance(mark, RecordError):
                self.refuse(at, Stage.MAP, mark, row)
                continue
            key, version = keys[at], versions[at]
            raw = digests[at]
            entry = entries.get(key)
            if intents and key in intents:
                self.succeed(at, intents[key], update, row, mark)
            elif entry is None:
                changes.append((create, key, version, None, row, mark, raw, None, 1, at))
            elif entry.state != alive:
                changes.append((create, key, version, entry.dest_id, row, mark, raw, entry, 1, at))
            elif entry.fingerprint != mark:
                changes.append((update, key, version, entry.dest_id, row, mark, raw, entry, 1, at))
            else:
                counts.unchanged += 1
                if entry.version != version or entry.raw != raw:
                    self.plan.entries[key] = Entry(entry.dest_id, version, mark, raw)
                if letters:
                    self.close(at, self.closing)
        sends.extend(changes)
        sends.fields, sends.rows = columns(self.rules.mapper.fields, sends.ops, sends.rows)

    def writable(self, places: list[int], rows: Sequence[Any]) -> tuple[list[int], list[Any]]:
        """Settle what the mapper filtered or refused; return the rest."""
        left: list[tuple[int, Any]] = []
        for at, row in zip(places, rows, strict=True):
            if row is FILTERED:
                self.plan.counts.filtered += 1
                self.close(at, self.closing)
            elif isinstance(row, RecordError):
                self.refuse(at, Stage.MAP, row)
            elif row.__class__ is Refused:
                self.refuse(at, Stage.READ, row.error)
            else:
                left.append((at, row))
        return [at for at, _ in left], [row for _, row in left]

    # What can become of one record.

    def settled(self, at: int, entry: Entry, before: Entry | None) -> None:
        """Count a record as unchanged, and refresh what is known of it."""
        key = self.rows.keys[at]
        self.plan.counts.unchanged += 1
        if entry != before:
            self.plan.entries[key] = entry
        self.close(at, self.closing)

    def succeed(self, at: int, intent: Intent, op: Op, row: Any, fingerprint: bytes | None) -> None:
        """Keep a change of a key whose last write is in doubt, to be written after that."""
        counts = self.plan.counts
        newest = intent.newest
        same = newest.fingerprint == fingerprint and (newest.op is Op.DELETE) == (op is Op.DELETE)
        if same and newest.counted:
            counts.unchanged += 1
        elif same:
            counts.pending += 1
            original = _original(self.batch, at)
            self.plan.intents.append(evolve(intent, counted=True, original=original))
        else:
            if intent.next is not None:
                counts.pending -= 1
                counts.superseded += 1
            counts.pending += 1
            names, (values,) = columns(self.rules.mapper.fields, [op], [row])
            successor = Intent(
                key=intent.key,
                op=op,
                version=self.rows.versions[at],
                dest_id=None,
                fields=names,
                row=values,
                fingerprint=fingerprint,
                raw=self.digests[at],
                born=self.plan.stamp.at,
                sent=self.plan.stamp.at,
                counted=True,
                original=_original(self.batch, at),
            )
            self.plan.intents.append(evolve(intent, next=successor))
        self.close(at, self.closing)

    def refuse(self, at: int, stage: Stage, error: RecordError, row: Any = None) -> None:
        """Make a dead letter of a record."""
        letter = _letter(
            self.plan.stamp,
            self.rows.keys[at],
            self.rows.versions[at],
            stage,
            error,
            original=_original(self.batch, at),
            mapped=None if row is None else self._packed_row(row),
            deleted=bool(self.batch.deleted is not None and self.batch.deleted[at]),
        )
        file_letter(self.plan, letter, self.known, self.rules.version)

    def _packed_row(self, row: Any) -> str | None:
        fields = self.rules.mapper.fields
        return packed(row if fields is None else dict(zip(fields, row, strict=True)))

    def close(self, at: int, status: LetterStatus) -> None:
        """Close the open letters of a record that is settled, but for those of newer ones."""
        if self.known.letters:
            letters = self.known.letters.get(self.rows.keys[at], ())
            for number in closable(letters, self.rows.versions[at], self.rules.version):
                self.plan.closed[number] = status


def _is_live(entry: Entry | None) -> bool:
    return entry is not None and entry.state == EntryState.LIVE


def columns(
    fields: Sequence[str] | None, ops: Sequence[Op], rows: list[Any]
) -> tuple[Sequence[str], list[Any]]:
    """Return the names and the tuples of mapped records, which may be mappings."""
    if fields is not None:
        return fields, rows
    names = tuple(sorted({name for row in rows for name in (row or ())}))
    return names, [
        () if op is Op.DELETE else tuple(row.get(name, UNSET) for name in names)
        for op, row in zip(ops, rows, strict=True)
    ]


def _original(batch: Batch, at: int) -> str | None:
    if batch.records is None:
        assert batch.raws is not None
        assert batch.decode is not None
        (record,) = batch.decode([batch.raws[at]])
    else:
        record = batch.records[at]
    return packed(record.original if record.__class__ is Refused else record)


def packed(value: object) -> str | None:
    """Return the packed value, or None if it is not data."""
    try:
        return pack(value)
    except (TypeError, ValueError, RecursionError):
        return None


def _ambiguous() -> RecordError:
    return RecordError(
        "an earlier create of this record may or may not have taken effect",
        remedy="Look it up in the destination, then replay the dead letter with found=: its id "
        "there, or None",
        code="ambiguous",
    )


def _letter(
    stamp: Stamp,
    key: Key,
    version: str | None,
    stage: Stage,
    error: RecordError,
    *,
    original: str | None,
    mapped: str | None,
    deleted: bool,
) -> Letter:
    # What was stored only as mapped is told from what was stored as read: a letter with the
    # original can be replayed, so it takes the other's place.
    content = f"{deleted}|{version}|{original is None}|{mapped if original is None else original}"
    return Letter(
        key=key,
        version=version,
        stage=stage,
        code=error.code or "refused",
        reason=str(error),
        detail=error.detail,
        original=original,
        mapped=mapped,
        deleted=deleted,
        digest=blake2b(content.encode(errors="surrogatepass"), digest_size=16).digest(),
        run_id=stamp.run_id,
        seq=stamp.seq,
        at=stamp.at,
    )


def closable(letters: Iterable[OpenLetter], version: str | None, kind: Version) -> list[int]:
    """Return the ids of the letters that a settled record of their key answers.

    A feed that is read again shows old versions first: they answer no newer letter.
    """
    try:
        mine = None if version is None else kind.parse(version)
    except RecordError:
        mine = None  # the record is refused for that, and answers what lies there of its key
    return [letter.id for letter in letters if not is_stale(kind, mine, letter.version)]


def file_letter(
    into: Decided, letter: Letter, known: Known, kind: Version, weight: int = 1
) -> None:
    """Count a dead letter and file it, unless it lies there already."""
    into.counts.dead += weight
    if weight:
        reason = f"{letter.stage}: {letter.reason}"
        into.reasons[reason] = into.reasons.get(reason, 0) + weight
    open_letters = known.letters.get(letter.key, ())
    if any(each.digest == letter.digest for each in open_letters):
        return
    if any(filed.digest == letter.digest and filed.key == letter.key for filed in into.letters):
        return
    into.letters.append(letter)
    if letter.code != "ambiguous":
        into.refused += 1
    if letter.key:
        for number in closable(open_letters, letter.version, kind):
            into.closed[number] = LetterStatus.SUPERSEDED


# -- Outcomes --------------------------------------------------------------------------


def match(changes: Changes, outcomes: Iterable[object]) -> dict[int, Outcome]:
    """Return the outcome of each change, by its id alone.

    A change without one, or with more than one, is unknown. An outcome for a change that
    nobody sent says nothing.
    """
    told: list[Any] = list(outcomes)
    if {Applied, Rejected, Unknown}.issuperset(map(type, told)):
        named: dict[int, Outcome] = {outcome.change_id: outcome for outcome in told}
        if len(named) == len(told) and named.keys() == set(changes.ids):
            return named
    found: dict[int, Outcome] = {}
    doubled: set[int] = set()
    for outcome in told:
        if isinstance(outcome, Applied | Rejected | Unknown):
            if outcome.change_id in found:
                doubled.add(outcome.change_id)
            found[outcome.change_id] = outcome
    return {
        change_id: Unknown(change_id)
        if change_id in doubled
        else found.get(change_id) or Unknown(change_id)
        for change_id in changes.ids
    }


def needs_intent(op: Op, sink: SinkCapabilities) -> bool:
    """Return whether a durable note must be made before the write.

    A create cannot be repeated. A delete can, but it must be known: if the record comes
    back in the source before its effect is told, it has to be created, not updated.
    """
    return op is not Op.UPDATE and not sink.upsert


def leaves_doubt(before: Entry | None) -> bool:
    """Return whether the known fingerprint must be void while a change is under way.

    Else a record that goes from A to B and back to A, while the answer to writing B was
    lost, would be taken for unchanged, and the destination would keep B for good.
    """
    return before is not None


class Resolution(enum.Enum):
    """What to do about a write in doubt."""

    SEND = "send"
    """Send it again: that is safe."""
    FIND = "find"
    """Ask the destination whether it is there."""
    WAIT = "wait"
    """Leave it for a later run: a look-up might still miss it."""
    GIVE_UP = "give up"
    """Nobody can tell: a dead letter for a person."""


def resolution(intent: Intent, sink: SinkCapabilities, finds: bool, now: datetime) -> Resolution:
    """Return what to do about a write in doubt.

    Args:
        intent: its durable note.
        sink: what the sink promises.
        finds: whether the sink has a look-up.
        now: the present.
    """
    if intent.sent is None or intent.op is not Op.CREATE:
        return Resolution.SEND
    fresh = now - intent.born < sink.key_lifetime / 2
    if sink.idempotency_key and intent.idempotency_key is not None and fresh:
        return Resolution.SEND
    if not finds:
        return Resolution.GIVE_UP
    return Resolution.FIND if now - intent.sent > sink.lookup_lag else Resolution.WAIT


# -- Settle ----------------------------------------------------------------------------


@define
class Settlement(Decided):
    """What became of the changes that were sent; the other half of a commit.

    Attributes:
        unsettled: changes whose batch must be read again.
        live: by how many the number of live records changed.
    """

    unsettled: int = 0
    live: int = 0

    def resolve(self, note: Intent | None, entry: Entry | None) -> None:
        """Let go of a note, or put its successor in its place."""
        if note is None:
            return
        if note.next is None:
            self.resolved.append(note.key)
            return
        op = note.next.op
        if op is not Op.DELETE:
            op = Op.UPDATE if _is_live(entry) else Op.CREATE
        dest_id = None if entry is None else entry.dest_id
        self.intents.append(evolve(note.next, op=op, dest_id=dest_id, sent=None))


def settle(
    sends: Sends,
    outcomes: Mapping[int, Outcome],
    known: Known,
    stamp: Stamp,
    kind: Version,
    *,
    repeatable: bool,
    closing: LetterStatus = LetterStatus.SUPERSEDED,
) -> Settlement:
    """Return what became of the changes that were sent.

    Args:
        sends: the changes.
        outcomes: of each that was sent, by its place; one that is missing was not sent.
        known: what the store held of their keys.
        stamp: run and commit.
        kind: how versions compare.
        repeatable: a change in doubt is left unsettled, to be read again; else it is kept
            as an intent, and counted as pending.
        closing: what becomes of open letters of keys that are settled.
    """
    done = Settlement()
    counts, entries, letters, notes = done.counts, done.entries, known.letters, sends.intents
    if not letters and not notes and _all_upserted(sends, outcomes):
        entries.update(
            zip(
                sends.keys,
                map(Entry, sends.dest_ids, sends.versions, sends.fingerprints, sends.raws),
                strict=True,
            )
        )
        counts.updated = sum(map(_is_live, sends.before))
        counts.created = done.live = len(sends.keys) - counts.updated
        return done
    for at, key in enumerate(sends.keys):
        outcome = outcomes.get(at)
        weight = sends.weights[at]
        op = sends.ops[at]
        if outcome.__class__ is Applied:
            assert isinstance(outcome, Applied)
            dest_id = outcome.dest_id if outcome.dest_id is not None else sends.dest_ids[at]
            was = _is_live(sends.before[at])
            if op is Op.DELETE:
                entries[key] = Entry(dest_id, sends.versions[at], None, None, EntryState.GONE)
                counts.deleted += weight
                done.live -= was
            else:
                entries[key] = Entry(
                    dest_id, sends.versions[at], sends.fingerprints[at], sends.raws[at]
                )
                created = not was if outcome.created is None else outcome.created
                if created:
                    counts.created += weight
                else:
                    counts.updated += weight
                done.live += not was
            if letters:
                for number in closable(letters.get(key, ()), sends.versions[at], kind):
                    done.closed[number] = closing
            if notes:
                done.resolve(notes.get(at), entries[key])
        elif isinstance(outcome, Rejected):
            file_letter(done, _rejection(sends, at, outcome, stamp), known, kind, weight)
            done.resolve(notes.get(at), known.entries.get(key))
        elif sends.resumed:
            continue  # its note stays as it is
        elif outcome is None:
            # Never sent: a note would have the next run look for it in vain.
            done.unsettled += 1
            if at in sends.intents:
                done.resolved.append(key)
        elif repeatable:
            done.unsettled += 1
        else:
            note = sends.intents.get(at)
            counts.pending += weight
            if note is None:
                done.intents.append(sends.intent(at, stamp.at, counted=True))
            else:
                original = sends.pack(sends.origins[at])
                done.intents.append(evolve(note, counted=True, original=original))
    return done


def _all_upserted(sends: Sends, outcomes: Mapping[int, Outcome]) -> bool:
    """Return whether all is as it mostly is: applied, and the destination told nothing more."""
    return (
        len(outcomes) == len(sends.keys)
        and Op.DELETE not in sends.ops
        and all(
            isinstance(outcome, Applied) and outcome.dest_id is None and outcome.created is None
            for outcome in outcomes.values()
        )
    )


def _rejection(sends: Sends, at: int, outcome: Rejected, stamp: Stamp) -> Letter:
    error = RecordError(
        f"the destination refused it ({outcome.code})",
        remedy="Mend the record in its source, or the mapping, and replay the dead letter",
        path=outcome.path,
        code=outcome.code,
        detail=outcome.detail,
    )
    deleted = sends.ops[at] is Op.DELETE
    return _letter(
        stamp,
        sends.keys[at],
        sends.versions[at],
        Stage.WRITE,
        error,
        original=sends.pack(sends.origins[at]),
        mapped=None if deleted else packed(dict(zip(sends.fields, sends.rows[at], strict=True))),
        deleted=deleted,
    )


def given_up(intent: Intent, stamp: Stamp) -> Letter:
    """Return the dead letter of a write in doubt that nobody can tell about."""
    newest = intent.newest
    return _letter(
        stamp,
        intent.key,
        newest.version,
        Stage.WRITE,
        _ambiguous(),
        original=newest.original,
        mapped=packed(dict(zip(newest.fields, newest.row, strict=False))),
        deleted=newest.op is Op.DELETE,
    )


def lateness(cursor: Cursor) -> timedelta:
    """Return how long after its timestamp a record may still appear."""
    return timedelta(0) if isinstance(cursor, Listing) else cursor.lateness
