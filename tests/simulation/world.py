"""One seeded world: a source that changes, a sink that fails, a process that dies.

Everything is drawn from the seed, so a failing world is replayed by its number::

    python -m tests.simulation 4711

After every effect these invariants are checked:

* I1: the durable cursor never passes a record that is neither settled nor held in a
  durable intent; nor a place where a record may still appear.
* I2: every record that was read is in exactly one count.
* I3: the versions that a key is written with never decrease.
* I4: the destination has at most one record for a key.

When the faults have stopped, a few runs must bring the destination to the source's state
(``converged``).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field

from syncsdk import engine, protocols
from syncsdk.errors import (
    CheckpointError,
    MappingError,
    NotSent,
    RejectedError,
    TimedOutError,
    TransientError,
)
from syncsdk.planning import Rules, Tolerance
from syncsdk.protocols import (
    FILTERED,
    Applied,
    Batch,
    Change,
    Changes,
    Deletes,
    EntryState,
    Op,
    Outcome,
    Owner,
    Rejected,
    Result,
    SinkCapabilities,
    SourceCapabilities,
    Unknown,
)
from syncsdk.runtime import SimulatedRuntime
from syncsdk.stores import MemoryStore
from syncsdk.values import INTEGER, Keyset, Listing, Token, Watermark

LATE = 5
"""Seconds for which a stamped change may stay invisible; plus one tick of a second."""

LATENESS = timedelta(seconds=LATE + 1)
LAG = 4
"""Seconds for which the sink's search may miss a new record."""

POINTS = tuple(
    f"{effect}:{side}"
    for effect in (
        "store.acquire",
        "store.load",
        "store.intents",
        "source.open",
        "source.read",
        "source.clock",
        "store.look_up",
        "store.put_intents",
        "sink.write",
        "sink.find",
        "store.commit",
        "source.close",
        "store.totals",
        "store.release",
        "store.letters",
        "store.renew",
    )
    for side in ("before", "after")
)
"""Every place at which the process dies in at least 100 of 20,000 worlds."""

FAULTS = (
    "lost request",
    "not sent",
    "lost response",
    "half written",
    "outcome missing",
    "outcome doubled",
    "outcome foreign",
    "outcomes reordered",
    "outcome unknown",
    "refused as a whole",
    "rejected",
    "store error before commit",
    "store error after commit",
    "read error",
    "late commit",
    "tie",
    "second run",
)

SOURCES = ("keyset", "watermark", "token", "listing", "unordered", "held token")
SINKS = ("upsert", "idempotent", "look-up", "blind")


class Crash(BaseException):
    """The process is gone: nothing after this line happens."""


class Violation(BaseException):
    """An invariant is broken; no ``except Exception`` on the way may hide it."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


@define
class Row:
    """A record of the source; ``at`` is when it becomes visible, in virtual seconds."""

    id: str
    stamp: int
    version: int
    value: int
    gone: bool
    at: float


@define
class Held:
    """A record of the destination."""

    dest_id: str
    key: str
    version: int
    value: Any
    since: float


@define(slots=False)
class World:
    """Source, destination, store and the hand that breaks them."""

    seed: int
    source_kind: str = ""
    sink_kind: str = ""
    rng: random.Random = field(init=False)
    runtime: SimulatedRuntime = field(init=False)
    store: MemoryStore = field(init=False)
    hits: Counter[str] = field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self.rng = rng = random.Random(self.seed)
        self.runtime = SimulatedRuntime(self.seed, before=self.before, after=self.after)
        self.store = MemoryStore(clock=self.runtime.now)
        self.store.commit = self.commit  # type: ignore[method-assign]
        self.crash_at = rng.choice(POINTS)
        self.crash_on = rng.randint(1, 4)
        self.crash_after = rng.randint(60, 120)
        rare = self.crash_at.startswith(("sink.find", "store.renew", "source.clock"))
        if rare:
            self.crash_on, self.crash_after = 1, 400
        if self.crash_at.startswith("sink.find"):
            self.sink_kind = self.sink_kind or "look-up"
        if self.crash_at.startswith("source.clock"):
            self.source_kind = self.source_kind or "keyset"
        self.source_kind = self.source_kind or rng.choice(SOURCES)
        self.sink_kind = self.sink_kind or rng.choice(SINKS)
        # The destination has no clock of ours, and ours has none of the source's.
        self.skew = rng.randint(-600, 600)
        self.page = rng.randint(1, 4)
        self.bulk = rng.choice([None, None, 1, 2, 3])
        self.raises_rejections = self.sink_kind == "upsert" and rng.random() < 0.4
        self.raw = rng.random() < 0.3
        self.slow = 0.5 if self.crash_at.startswith("store.renew") else rng.choice([0.0, 0.05])
        self.poison = rng.random() < 0.6
        self.rate = 0.15 if self.crash_at.startswith("sink.find") else rng.choice([0.0, 0.05, 0.15])
        self.rows: dict[str, Row] = {}
        self.hidden: dict[str, Row] = {}
        self.log: list[Row] = []
        self.held: list[Held] = []
        self.written: dict[str, int] = {}
        self.remembered: dict[str, Held] = {}
        self.yielded = 0
        self.batches = 0
        self.changes = 0
        self.crashes = 0
        self.calm = False
        self.dead = False
        self.edits = 0
        self.effects = 0
        self.seen_seq = -1
        for number in range(rng.randint(9, 14)):
            self.edit(f"r{number:02}", instantly=True)
        self.source = SimulatedSource(self)
        self.sink = SINK_CLASSES[self.sink_kind](self)
        self.flow = engine.Flow(
            name="world",
            owner=Owner("simulation"),
            source=self.source,
            sink=self.sink,
            rules=Rules(Mapping(), self.source.capabilities.version, self.sink.capabilities),
            tolerance=Tolerance(10_000, 1.0),
            max_deletes=Tolerance(10_000, 1.0),
        )

    # -- The source's own life ----------------------------------------------------------

    @property
    def clock(self) -> float:
        """The source's clock, in seconds: ours, and the skew."""
        return self.runtime.elapsed + 1000 + self.skew

    def edit(self, id: str, *, instantly: bool = False) -> None:
        """Change a record; it shows at once or, stamped now, a little later."""
        if id in self.hidden:
            return  # locked by a change that has not committed yet
        old = self.rows.get(id)
        gone = old is not None and not old.gone and self.rng.random() < 0.2
        delay = 0.0 if instantly or self.rng.random() < 0.6 else self.rng.uniform(0, LATE)
        row = Row(
            id,
            int(self.clock),
            1 if old is None else old.version + 1,
            self.rng.randrange(1, 60),
            gone,
            self.runtime.elapsed + delay,
        )
        self.changes += 1
        if any(row.stamp == other.stamp and other.id != id for other in self.rows.values()):
            self.hits["tie"] += 1
        if delay:
            self.hits["late commit"] += 1
            self.hidden[id] = row
        else:
            self.show(row)

    def show(self, row: Row) -> None:
        self.rows[row.id] = row
        self.log.append(row)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.runtime.elapsed += seconds
        for id, row in list(self.hidden.items()):
            if row.at <= self.runtime.elapsed:
                del self.hidden[id]
                self.show(row)

    async def editor(self) -> None:
        """Change some records while runs are under way."""
        for _ in range(self.rng.randint(1, 6)):
            await self.runtime.sleep(self.rng.uniform(0, 3))
            self.edit(f"r{self.rng.randrange(16):02}")
            self.edits += 1

    # -- Faults -------------------------------------------------------------------------

    def before(self, effect: str) -> None:
        self.step(f"{effect}:before")

    def after(self, effect: str) -> None:
        self.step(f"{effect}:after")

    def step(self, point: str) -> None:
        if self.dead:
            raise Crash
        self.effects += 1
        slow = point == "source.read:before" and self.rng.random() < self.slow
        self.tick(self.rng.uniform(21, 30) if slow else self.rng.uniform(0, 0.4))
        self.check()
        if self.calm:
            return
        if point == self.crash_at:
            self.crash_on -= 1
        due = self.crashes == 0 and (self.crash_on == 0 or self.effects >= self.crash_after)
        if due or self.rng.random() < 0.004:
            self.crashes += 1
            self.hits[point] += 1
            self.dead = True
            raise Crash

    def fault(self, name: str, share: float | None = None) -> bool:
        """Whether this fault strikes now."""
        if self.calm or self.rng.random() >= (self.rate if share is None else share * self.rate):
            return False
        self.hits[name] += 1
        return True

    # -- Invariants ---------------------------------------------------------------------

    def check(self) -> None:
        checkpoint = self.store.load("world")
        if checkpoint.seq != self.seen_seq:
            self.seen_seq = checkpoint.seq
            if checkpoint.cursor is not None:
                self.check_cursor(checkpoint.cursor)

    def passed(self, row: Row, cursor: str) -> bool:
        """Whether a read from ``cursor`` would not find this version of a record."""
        if self.source_kind in ("token", "held token"):
            return any(each is row for each in self.log[: int(cursor)])
        if self.source_kind == "watermark":
            return row.stamp < seconds(cursor)
        value, id = json.loads(cursor)
        return (
            row.stamp < seconds(value)
            if id is None
            else (row.stamp, row.id) <= (seconds(value), id)
        )

    def check_cursor(self, cursor: str) -> None:
        for row in self.rows.values():
            if self.passed(row, cursor) and not self.settled(row):
                raise Violation("I1", f"cursor {cursor} passed {row}, which is not settled")
        if self.source_kind not in ("token", "held token"):
            for row in self.hidden.values():
                if self.passed(row, cursor):
                    raise Violation("I1", f"cursor {cursor} passed {row}, which is yet to appear")

    def settled(self, row: Row) -> bool:
        key = (row.id,)
        known = self.store.look_up("world", [key])
        letters = self.store.letters("world", limit=10_000)
        if any(x.key == key and int(x.version or 0) >= row.version for x in letters):
            return True
        note = known.intents.get(key)
        if note is not None and (
            int(note.newest.version or 0) >= row.version
            or (not row.gone and row.value in note.newest.row)
        ):
            return True
        held = [each for each in self.held if each.key == row.id]
        if any(each.version >= row.version for each in held):
            return True
        if row.gone:
            return not held
        # Filtered, or equal in content: the destination need not know the version.
        if row.value % 11 == 0 or any(each.value == row.value for each in held):
            return True
        entry = known.entries.get(key)
        gone = entry is not None and entry.state == EntryState.GONE
        return gone and int(entry.version or 0) >= row.version  # type: ignore[union-attr]

    def wrote(self, key: str, version: int) -> None:
        newest = self.written.get(key, 0)
        if "token" in self.source_kind:
            # A feed of events shows old versions again after a crash: none may be written
            # that is older than what is settled.
            entry = self.store.look_up("world", [(key,)]).entries.get((key,))
            newest = 0 if entry is None else int(entry.version or 0)
        if version < newest:
            raise Violation("I3", f"{key} was written with version {version} after a newer one")
        self.written[key] = version

    def put(self, key: str, version: int, value: Any) -> Held:
        """Create a record in the destination."""
        made = Held(f"d{len(self.held)}-{self.effects}", key, version, value, self.runtime.elapsed)
        self.held.append(made)
        if sum(each.key == key for each in self.held) > 1:
            raise Violation("I4", f"the destination has {key} twice")
        return made

    # -- The store's own faults -----------------------------------------------------------

    def commit(self, lease: Any, commit: Any) -> None:
        if self.fault("store error before commit", 0.5):
            raise CheckpointError("the disk is full", remedy="Wait")
        MemoryStore.commit(self.store, lease, commit)
        if self.fault("store error after commit", 0.5):
            raise CheckpointError("the connection broke", remedy="Wait")

    # -- Runs ---------------------------------------------------------------------------

    def run(self, mode: str = "incremental", **options: Any) -> protocols.RunReport | None:
        """Run once; None if the process died."""
        self.dead = False
        self.yielded = 0
        made = [
            engine.Run(
                self.flow, self.store, self.runtime, engine.Options(mode=mode, **options)
            ).execute()
        ]
        if not self.calm:
            made.append(self.editor())
            if self.rng.random() < 0.1:
                self.hits["second run"] += 1
                second = engine.Run(self.flow, self.store, self.runtime, engine.Options())
                made.append(second.execute())
        crashed = False
        reports: list[Any] = []
        try:
            reports = self.runtime.run(*made)
        except Crash:
            crashed = True
        if crashed or self.dead:
            self.tick(61)  # the lease of a dead process runs out
            return None
        ran = [x for x in reports if x is not None and x.result is not Result.SKIPPED]
        for report in ran:
            if not report.counts.balanced:
                raise Violation("I2", f"{report.counts} does not balance")
            if report.error is not None and not isinstance(
                report.error, TransientError | CheckpointError
            ):
                raise report.error
        if len(ran) == 1 and mode == "incremental":
            self.count(ran[0])
        return ran[0] if ran else reports[0]

    def count(self, report: protocols.RunReport) -> None:
        ended = report.result in (Result.SUCCESS, Result.PARTIAL)
        if ended and report.counts.read != self.yielded:
            raise Violation("I2", f"{self.yielded} records were read, {report.counts} counted")

    def live(self) -> None:
        """Run through all faults, then in calm until all is well."""
        while self.crashes == 0 or self.batches < 3 or self.edits == 0:
            self.run()
            if self.rng.random() < 0.2:
                self.run("replay")
            self.edit(f"r{self.rng.randrange(16):02}")
        for _ in range(self.rng.randint(0, 2)):
            self.run(self.rng.choice(["incremental", "incremental", "backfill", "replay"]))
        self.calm = True
        self.tick(2 * LATE)
        for _ in range(4):
            self.tick(90)
            self.person()
            report = self.run()
            assert report is not None
            if report.result in (Result.SUCCESS, Result.PARTIAL) and not report.intents:
                break
        self.person()
        self.converged()

    def person(self) -> None:
        """Look up what is ambiguous, as a person would, and replay it."""
        doubtful = {
            letter.key
            for letter in self.store.letters("world", limit=10_000)
            if letter.code == "ambiguous"
        }
        if doubtful:
            found: dict[Any, str | None] = dict.fromkeys(doubtful)
            for each in self.held:
                if (each.key,) in found:
                    found[(each.key,)] = each.dest_id
            self.run("replay", found=found)

    def converged(self) -> None:
        dead = {letter.key[0] for letter in self.store.letters("world", limit=10_000)}
        there = {each.key: each for each in self.held}
        for row in self.rows.values():
            each = there.pop(row.id, None)
            if row.id in dead or (row.value % 11 == 0 and not row.gone):
                continue
            if row.gone:
                if each is not None:
                    raise Violation("converged", f"{row} is deleted, the destination has {each}")
            elif each is None or each.value != row.value:
                raise Violation("converged", f"{row} is lost, the destination has {each}")
        for id in there:
            raise Violation("converged", f"the destination has {id}, which never was")
        # A backfill of an event feed that broke off may have refused an old version again,
        # and what is older than a refused version waits with it.
        refused: dict[str, int] = {}
        for row in self.log:
            if row.value % 13 == 0 or row.value % 17 == 0:
                refused[row.id] = max(row.version, refused.get(row.id, 0))
        for letter in self.store.letters("world", limit=10_000):
            if int(letter.version or 0) > refused.get(letter.key[0], 0):
                raise Violation("converged", f"{letter} stays open without a reason")


def text(second: float) -> str:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=int(second))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(moment: str) -> int:
    parsed = datetime.fromisoformat(moment)
    return int((parsed - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds())


class Mapping:
    """Refuses some, filters some, renames the rest."""

    fields = ("key", "version", "value", "note")
    digest = "simulated"

    def map_batch(self, records: Sequence[Any]) -> Sequence[Any]:
        made: list[Any] = []
        for record in records:
            value = record["value"]
            if value % 13 == 0:
                made.append(MappingError("unlucky", path="value", code="unlucky"))
            elif value % 11 == 0:
                made.append(FILTERED)
            else:
                # The version is left out, so that a change of nothing else is no change.
                made.append((record["id"], protocols.UNSET, value, protocols.UNSET))
        return made


class SimulatedSource:
    """Reads the world's rows, page by page, as they are at that moment."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keyset = Keyset("stamp", "id", lateness=LATENESS, granularity=timedelta(seconds=1))
        cursors = {
            "keyset": self.keyset,
            "unordered": self.keyset,
            "watermark": Watermark("stamp", lateness=LATENESS, granularity=timedelta(seconds=1)),
            "token": Token(),
            "held token": Token(lateness=LATENESS),
            "listing": Listing(),
        }
        self.capabilities = SourceCapabilities(
            cursors[world.source_kind],  # type: ignore[arg-type]
            version=INTEGER,
            deletes=Deletes.FLAGGED,
            ordered=world.source_kind != "unordered",
        )
        self.began = 0.0

    def clock(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.began)

    def read(self, after: str | None) -> Iterator[Batch]:
        self.began = self.world.clock
        return getattr(self, "read_" + self.world.source_kind.replace(" ", "_"))(after)

    def rows(self) -> list[Row]:
        return sorted(self.world.rows.values(), key=lambda row: (row.stamp, row.id))

    def batch(self, rows: Sequence[Row], after: str | None, **more: Any) -> Batch:
        if self.world.fault("read error"):
            raise TimedOutError("the source did not answer")
        self.world.batches += 1
        self.world.yielded += len(rows)
        records = [{"id": row.id, "value": row.value, "version": row.version} for row in rows]
        raws = [f"{row.id}|{row.value}|{row.version}|{row.gone}".encode() for row in rows]
        return Batch(
            [row.id for row in rows],
            None if self.world.raw else records,
            versions=[str(row.version) for row in rows],
            deleted=[row.gone for row in rows],
            raws=raws if self.world.raw else None,
            decode=self.decode,
            after=after,
            **more,
        )

    def decode(self, raws: Sequence[bytes]) -> Sequence[Any]:
        made = []
        for raw in raws:
            id, value, version, _ = raw.decode().split("|")
            made.append({"id": id, "value": int(value), "version": int(version)})
        return made

    def read_keyset(self, after: str | None) -> Iterator[Batch]:
        while True:
            rows = self.rows()
            if after is not None:
                value, id = self.keyset.split(after)
                rows = [row for row in rows if is_after(row, value, id)]
            rows = rows[: self.world.page]
            if not rows:
                return
            after = self.keyset.cursor(text(rows[-1].stamp), rows[-1].id)
            yield self.batch(rows, after, positions=[text(row.stamp) for row in rows])

    def read_watermark(self, after: str | None) -> Iterator[Batch]:
        rows = [row for row in self.rows() if after is None or text(row.stamp) >= after]
        while rows:
            # Whole groups of one stamp: the API filters by stamp only, so no page may end
            # inside a tie.
            page = rows[: self.world.page]
            page += [row for row in rows[len(page) :] if row.stamp == page[-1].stamp]
            last = text(page[-1].stamp)
            yield self.batch(page, last)
            rows = [row for row in self.rows() if text(row.stamp) > last]

    def read_token(self, after: str | None) -> Iterator[Batch]:
        at = int(after or 0)
        while at < len(self.world.log):
            rows = self.world.log[at : at + self.world.page]
            at += len(rows)
            yield self.batch(rows, str(at))

    def read_held_token(self, after: str | None) -> Iterator[Batch]:
        at = int(after or 0)
        while at < len(self.world.log):
            rows = self.world.log[at : at + self.world.page]
            at += len(rows)
            later = [row.stamp for row in self.world.log[at:]]
            mark = min([self.world.clock - LATE - 2, *later])
            moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=mark)
            yield self.batch(rows, str(at), watermark=moment)

    def read_listing(self, after: str | None) -> Iterator[Batch]:
        ids = sorted(self.world.rows)
        for start in range(0, len(ids), self.world.page):
            rows = [self.world.rows[id] for id in ids[start : start + self.world.page]]
            yield self.batch(rows, None)

    def read_unordered(self, after: str | None) -> Iterator[Batch]:
        rows = self.rows()
        if after is not None:
            value, id = self.keyset.split(after)
            rows = [row for row in rows if is_after(row, value, id)]
        if not rows:
            return
        last = self.keyset.cursor(text(rows[-1].stamp), rows[-1].id)
        self.world.rng.shuffle(rows)
        for start in range(0, len(rows), self.world.page):
            page = rows[start : start + self.world.page]
            yield self.batch(page, last if start + self.world.page >= len(rows) else None)


def is_after(row: Row, value: str, id: str | None) -> bool:
    place = (text(row.stamp), row.id)
    return text(row.stamp) >= value if id is None else place > (value, id)


@define(slots=False)
class SimulatedSink:
    """What all sinks share: they are told one change after the other, and fail."""

    world: World
    capabilities: SinkCapabilities

    def write(self, changes: Changes) -> Sequence[Outcome]:
        world = self.world
        if world.fault("lost request"):
            raise TimedOutError("no answer")
        if world.fault("not sent", 0.5):
            raise NotSent("no connection")
        poison = [c for c in changes if self.is_poison(c)]
        if poison and world.raises_rejections:
            world.hits["refused as a whole"] += 1
            raise RejectedError("one of them is bad", code="422")
        outcomes: list[Outcome] = []
        stop = world.rng.randrange(len(changes)) if world.fault("half written") else None
        for at, change in enumerate(changes):
            if at == stop:
                raise TimedOutError("the connection broke")
            if self.is_poison(change):
                world.hits["rejected"] += 1
                outcomes.append(Rejected(change.change_id, "422"))
            else:
                dest_id = self.apply(change)
                if world.fault("outcome unknown", 0.3):
                    outcomes.append(Unknown(change.change_id))
                else:
                    outcomes.append(Applied(change.change_id, dest_id))
        if world.fault("lost response"):
            raise TimedOutError("no answer")
        if world.fault("outcome missing", 0.3):
            outcomes.pop(world.rng.randrange(len(outcomes)))
        elif world.fault("outcome doubled", 0.3):
            outcomes.append(outcomes[0])
        elif world.fault("outcome foreign", 0.3):
            outcomes.append(Applied(10_000, "nobody"))
        if world.rng.random() < 0.2:
            world.hits["outcomes reordered"] += 1
            world.rng.shuffle(outcomes)
        return outcomes

    def is_poison(self, change: Change) -> bool:
        return self.world.poison and change.record.get("value", 1) % 17 == 0

    def held(self, change: Change) -> Held | None:
        for each in self.world.held:
            if each.dest_id == change.dest_id or (
                change.dest_id is None and each.key == change.key[0]
            ):
                return each
        return None

    def apply(self, change: Change) -> str | None:
        """Carry out one change; return the destination's id."""
        world, version = self.world, int(change.version or 0)
        if change.op is Op.CREATE:
            return self.create(change)
        each = self.held(change)
        world.wrote(change.key[0], version)
        if change.op is Op.DELETE:
            if each is not None:
                world.held.remove(each)
            return None
        if each is None:
            raise Violation("I4", f"{change.key[0]} is updated, but was never created")
        each.version, each.value = version, change.record["value"]
        return each.dest_id

    def create(self, change: Change) -> str:
        version = int(change.version or 0)
        self.world.wrote(change.key[0], version)
        return self.world.put(change.key[0], version, change.record["value"]).dest_id


class UpsertSink(SimulatedSink):
    """The same change may come any number of times."""

    def __init__(self, world: World) -> None:
        super().__init__(world, SinkCapabilities(upsert=True, deletes=True, bulk=world.bulk))

    def held(self, change: Change) -> Held | None:
        return next((each for each in self.world.held if each.key == change.key[0]), None)

    def apply(self, change: Change) -> str | None:
        return super().apply(change) if change.op is Op.DELETE else self.create(change)

    def create(self, change: Change) -> str:
        each = self.held(change)
        if each is None:
            return super().create(change)
        version = int(change.version or 0)
        self.world.wrote(change.key[0], version)
        each.version, each.value = version, change.record["value"]
        return each.dest_id


class IdempotentSink(SimulatedSink):
    """Remembers idempotency keys for a while, and creates anew without one."""

    def __init__(self, world: World) -> None:
        super().__init__(
            world,
            SinkCapabilities(
                deletes=True,
                idempotency_key=True,
                key_lifetime=timedelta(hours=1),
                bulk=world.bulk,
            ),
        )

    def render(self, change: Change) -> bytes:
        return f"{change.key[0]}={change.record['value']}".encode()

    def create(self, change: Change) -> str:
        assert change.idempotency_key is not None
        assert change.body is not None
        known = self.world.remembered.get(change.idempotency_key)
        if known is None:
            dest_id = super().create(change)
            known = next(each for each in self.world.held if each.dest_id == dest_id)
            self.world.remembered[change.idempotency_key] = known
        return known.dest_id


class LookUpSink(SimulatedSink):
    """Can be searched by key, but finds a new record only after a while."""

    def __init__(self, world: World) -> None:
        super().__init__(
            world,
            SinkCapabilities(deletes=True, lookup_lag=timedelta(seconds=LAG + 3), bulk=world.bulk),
        )

    def find(self, changes: Changes) -> Sequence[str | None]:
        indexed = {
            each.key: each.dest_id
            for each in self.world.held
            if each.since + LAG <= self.world.runtime.elapsed
        }
        return [indexed.get(key[0]) for key in changes.keys]


class BlindSink(SimulatedSink):
    """Creates, and cannot be asked."""

    def __init__(self, world: World) -> None:
        super().__init__(world, SinkCapabilities(deletes=True, bulk=world.bulk))


SINK_CLASSES: dict[str, Any] = {
    "upsert": UpsertSink,
    "idempotent": IdempotentSink,
    "look-up": LookUpSink,
    "blind": BlindSink,
}
