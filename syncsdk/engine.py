"""The one room that knows the whole flow of a run.

::

    acquire ─► resume intents ─► read ─► look up ─► plan ─► note ─► write ─► settle ─► commit
                                  ▲                                                      │
                                  └──────────────────────── next batch ──────────────────┘

Decides the order of effects, which is what makes a run safe to kill at any point: intents
before the write that needs them, the write before the commit, everything that a batch
settles in one commit. Repeats only two things: a refused bulk write by halves, and a batch
in smaller parts after a crash. Leaves every decision about records to ``planning``, all
waiting to its ``Runtime``, and knows connectors and stores by their protocols only.

Read :meth:`Run.execute`, then :meth:`Run._read`, :meth:`Run._part`, :meth:`Run._commit`;
:meth:`Run._resume` and :meth:`Run._replay` take up what earlier runs left.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import PurePath
from typing import Any, Final, TypeVar

from attrs import define, evolve, field, frozen

from .errors import (
    ConfigurationError,
    ContractError,
    FencedError,
    GuardError,
    NotSent,
    RecordError,
    SyncError,
    ToleranceError,
    TransientError,
)
from .planning import (
    Plan,
    Resolution,
    Rows,
    Rules,
    Sends,
    Settlement,
    Stamp,
    Tolerance,
    check,
    disorder,
    durable,
    file_letter,
    given_up,
    lateness,
    leaves_doubt,
    match,
    needs_intent,
    plan,
    raw_digests,
    resolution,
    settle,
)
from .protocols import (
    Applied,
    Batch,
    Changes,
    Checkpoint,
    Commit,
    Counts,
    Deletes,
    Entry,
    EntryState,
    Intent,
    Known,
    Lease,
    Letter,
    LetterStatus,
    Observer,
    Op,
    Outcome,
    Owner,
    Rejected,
    Result,
    RunReport,
    Sink,
    Source,
    StateStore,
    Unknown,
)
from .runtime import END, Reader, Runtime, entered, left
from .telemetry import Telemetry
from .values import UNSET, Key, Keyset, Listing, Token, Watermark, idempotency_key, unpack

_T = TypeVar("_T")

__all__ = ["Flow", "Options", "Preview", "Run"]

LEASE_TTL: Final = timedelta(seconds=60)
"""How long a run that says nothing keeps the right to run."""

DEFERRAL: Final = 1.0
"""Seconds for which the commit of batches without any effect may wait."""

IDLE_BATCHES: Final = 100
"""How many empty batches in a row, without a step of the cursor, are still believed."""

SEEN_PAGES: Final = 10_000
"""How many of the last pages are remembered, to notice one that repeats."""

PAGE: Final = 500
"""How many intents or dead letters are taken up together."""


@frozen
class Flow:
    """The parts of a pipeline, checked to fit together."""

    name: str
    owner: Owner
    source: Source
    sink: Sink
    rules: Rules
    tolerance: Tolerance
    max_deletes: Tolerance
    observers: Sequence[Observer] = ()

    @property
    def source_digest(self) -> str:
        """Text that changes when stored cursors and versions may mean something else."""
        declared = self.source.capabilities
        return f"{declared.cursor!r} {declared.version!r}"


@frozen
class Options:
    """What one run was asked for; see ``Pipeline.run``."""

    mode: str = "incremental"
    limit: int | None = None
    allow_deletes: bool = False
    progress: Callable[[RunReport], None] | None = None
    found: Mapping[Key, str | None] = field(factory=dict)


@define
class Preview:
    """What a run would do, as far as its first look goes.

    Attributes:
        counts: the outcomes that are decided without a write.
        changes: operation and key of the changes, at most ``kept`` of them.
        numbers: how many changes of each operation there are in all.
        refusals: reasons for dead letters, with their number.
        decisions: what the mapping decided, by field and decision, with its number.
        warnings: what the owner should look at, such as ``backfill due``.
        complete: whether the source was read to its end, or to the limit.
    """

    kept: int = 1000
    counts: Counts = field(factory=Counts)
    changes: list[tuple[Op, Key]] = field(factory=list)
    numbers: dict[Op, int] = field(factory=lambda: dict.fromkeys(Op, 0))
    refusals: dict[str, int] = field(factory=dict)
    decisions: dict[tuple[str, str], int] = field(factory=dict)
    warnings: list[str] = field(factory=list)
    complete: bool = False

    def add(self, made: Plan) -> None:
        """Take in the plan of one batch."""
        total = self.counts + made.counts
        for name in ("unchanged", "stale", "superseded", "filtered", "dead", "pending"):
            setattr(self.counts, name, getattr(total, name))
        self.counts.read += made.size
        for op in made.sends.ops:
            self.numbers[op] += 1
        room = self.kept - len(self.changes)
        self.changes.extend(list(zip(made.sends.ops, made.sends.keys, strict=True))[:room])
        _tally(self.refusals, made.reasons)
        _tally(self.decisions, made.decisions)

    def __str__(self) -> str:
        shown = [f"{number} to {op}" for op, number in self.numbers.items()]
        kept = ("unchanged", "stale", "superseded", "filtered", "dead", "pending")
        shown += [f"{getattr(self.counts, n)} {n}" for n in kept if getattr(self.counts, n)]
        lines = [f"{self.counts.read} read: {', '.join(shown)}"]
        lines += [f"  {op:6}  {' · '.join(key)}" for op, key in self.changes[:50]]
        hidden = sum(self.numbers.values()) - len(self.changes[:50])
        lines += [f"  and {hidden} more"] if hidden else []
        lines += [f"  refused {number} ×: {why}" for why, number in self.refusals.items()]
        lines += [f"  {name} {what} {number} ×" for (name, what), number in self.decisions.items()]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines + ([] if self.complete else ["  not read to its end"]))


@define
class _Deferred:
    """Batches without any effect, whose commit may wait."""

    since: float
    counts: Counts = field(factory=Counts)
    reasons: dict[str, int] = field(factory=dict)
    decisions: dict[tuple[str, str], int] = field(factory=dict)
    batches: int = 0


class _Stopped(Exception):
    """A stop was asked for; what is settled stays."""


class Run:
    """One run of a flow, from the lease to the report.

    Args:
        flow: the pipeline's parts.
        store: its memory.
        runtime: what the run waits on.
        options: what was asked for.
        preview: given, the run reads, maps and compares, fills it, and writes nothing.
    """

    def __init__(
        self,
        flow: Flow,
        store: StateStore,
        runtime: Runtime,
        options: Options,
        preview: Preview | None = None,
    ) -> None:
        self.flow = flow
        self.store = store
        self.runtime = runtime
        self.options = options
        self.preview = preview
        self.report = RunReport(
            run_id=runtime.new_id(),
            pipeline=flow.name,
            owner=flow.owner.name,
            mode=options.mode,
            started_at=runtime.now(),
        )
        self.telemetry = Telemetry(self.report)
        self.lease: Lease
        self.checkpoint = Checkpoint()
        self.ahead = self.checkpoint
        """The checkpoint that the next commit writes."""
        self._deferred: _Deferred | None = None
        self._started = runtime.monotonic()
        self._renewed = self._started
        self._refused = 0
        self._deletes = 0
        self._taken = 0
        self._committed = False
        self._counted = False
        self._split = False
        # The read.
        self._cap: datetime | None = None
        self._window_clock: datetime | None = None
        self._opened_at: str | None = None
        self._holding = False
        self._furthest: str | None = None
        self._highest: Any = None
        self._last_after: str | None = None
        self._last_size = 0
        self._idle = 0
        self._pages: dict[int, None] = {}

    # -- The whole run ------------------------------------------------------------------

    async def execute(self) -> RunReport:
        """Run to the end, whatever happens, and report it.

        What is not an ``Exception`` (an interrupt, a cancellation) is let through once the
        lease is released.
        """
        token = entered(self.runtime)
        try:
            with self.telemetry.run():
                try:
                    if self.preview is not None:
                        await self._guarded(self._look())
                    elif await self._guarded(self._acquire()):
                        await self._owned()
                finally:
                    self._end()
        finally:
            left(token)
        return self.report

    async def _acquire(self) -> None:
        lease: Lease | None = await self.runtime.call(
            "store.acquire", self.store.acquire, self.flow.name, self.report.run_id, LEASE_TTL
        )
        if lease is None:
            self._result(Result.SKIPPED, "another run of this pipeline is under way")
            raise _Stopped
        self.lease = lease

    async def _owned(self) -> None:
        """Do the work under the lease, and let go of it in any case."""
        body = self._replay if self.options.mode == "replay" else self._sync
        try:
            await self._guarded(body())
            await self._count_open()
        except BaseException as error:
            self.report.error = error
            self._result(Result.FAILED, f"the run was interrupted ({type(error).__name__})")
            raise
        finally:
            self._conclude()
            await self._release()

    async def _guarded(self, step: Any) -> bool:
        """Await a step; turn what it raises into a result. Return whether it went through."""
        try:
            await step
        except _Stopped:
            return False
        except Exception as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: Exception) -> None:
        self.report.error = error
        if isinstance(error, TransientError) and error.retry_after is not None:
            self._result(Result.PAUSED, error.message, error.remedy)
            self.report.resume_at = self.runtime.now() + timedelta(seconds=error.retry_after)
        elif isinstance(error, SyncError):
            message = str(error) if isinstance(error, RecordError) else error.message
            self._result(Result.FAILED, message, error.remedy)
        else:
            # The words of somebody else's exception may quote a record: they stay in .error.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._result(
                Result.FAILED,
                f"{type(error).__qualname__} raised at {PurePath(frame.filename).name}:"
                f"{frame.lineno}",
                "Look at report.error; a connector should raise syncsdk's errors",
            )

    def _result(self, result: Result, reason: str, remedy: str | None = None) -> None:
        self.report.result, self.report.reason, self.report.remedy = result, reason, remedy

    async def _count_open(self) -> None:
        try:
            self.report.letters, self.report.intents = await self.runtime.call(
                "store.totals", self.store.totals, self.flow.name
            )
            self._counted = True
        except Exception as error:
            self.report.warnings.append(
                f"open dead letters could not be counted ({type(error).__qualname__})"
            )

    def _conclude(self) -> None:
        report, counts = self.report, self.report.counts
        if self._deferred is not None:
            report.unsettled += self._deferred.counts.read
        report.finished_at = self.runtime.now()
        if report.result is Result.SUCCESS and (counts.dead or counts.pending or report.intents):
            reasons = []
            if counts.dead:
                became = "became a dead letter" if counts.dead == 1 else "became dead letters"
                reasons.append(f"{_number(counts.dead, 'record')} {became}")
            if counts.pending or report.intents:
                doubtful = max(counts.pending, report.intents)
                reasons.append(f"{_number(doubtful, 'write')} in doubt")
            self._result(
                Result.PARTIAL,
                " and ".join(reasons),
                "Look at the dead letters, mend their cause and replay them"
                if counts.dead
                else "Run again: they are resolved first",
            )

    async def _release(self) -> None:
        try:
            await self.runtime.call(
                "store.release", self.store.release, self.lease, self.report.as_json()
            )
        except Exception as error:
            self.report.warnings.append(
                f"the lease could not be released ({type(error).__name__}); the next run may "
                f"have to wait {LEASE_TTL.seconds} seconds"
            )

    def _end(self) -> None:
        if self.report.finished_at is None:
            self.report.finished_at = self.runtime.now()
        self.telemetry.finished(
            self.runtime.monotonic() - self._started,
            self.report.letters if self._counted else None,
        )
        if self.preview is None:
            for observer in self.flow.observers:
                self._watched(observer.on_finish)
        else:
            self.preview.warnings += self.report.warnings
            self.preview.complete = self.report.result is Result.SUCCESS

    def _watched(self, callback: Callable[[RunReport], None]) -> None:
        try:
            callback(self.report)
        except Exception as error:
            self.telemetry.observer_failed(error)

    # -- Read ---------------------------------------------------------------------------

    async def _sync(self) -> None:
        await self._load()
        await self._resume()
        await self._read()

    async def _look(self) -> None:
        await self._load()
        await self._read()

    async def _load(self) -> None:
        self.checkpoint = await self.runtime.call("store.load", self.store.load, self.flow.name)
        digest, source = self.flow.rules.mapper.digest, self.flow.source_digest
        self.ahead = self.checkpoint
        whole = isinstance(self.flow.source.capabilities.cursor, Listing)
        if self.checkpoint.seq == 0:
            self.ahead = evolve(self.checkpoint, mapping=digest, source=source)
        elif (
            self.options.mode in ("incremental", "plan")
            and not whole
            and (
                self.checkpoint.mapping,
                self.checkpoint.source,
            )
            != (digest, source)
        ):
            changed = "mapping" if self.checkpoint.mapping != digest else "source"
            self.report.warnings.append(
                f"backfill due: the {changed} has changed since all records were read; "
                "records that did not change keep what they were given (run with backfill=True)"
            )
        unapproved = getattr(self.flow.rules.mapper, "unapproved", None)
        if unapproved:
            self.report.warnings.append(unapproved)
        self._holding = (
            self.options.mode == "backfill"
            or self.checkpoint.disordered
            or not self.flow.source.capabilities.ordered
        )

    async def _read(self) -> None:
        hint = self.checkpoint.hint if self.options.mode == "incremental" else None
        if not self.flow.source.capabilities.hints:
            hint = None
        if hint is not None and not await self._read_window(hint):
            hint = None
            self._idle, self._pages = 0, {}
        if hint is None:
            await self._read_window(None)

    async def _read_window(self, hint: str | None) -> bool:
        """Read to the end; return whether the hint was of use."""
        source, options = self.flow.source, self.options
        if hint is not None:
            after = self.checkpoint.hint_after
            self._window_clock = self.checkpoint.hint_clock
        else:
            after = None if options.mode == "backfill" else self.checkpoint.cursor
            self._window_clock = None
        self._opened_at = self._last_after = after
        read: Callable[[], Any] = partial(source.read, after)
        if source.capabilities.hints:
            read = partial(source.read, after, hint=hint)  # type: ignore[call-arg]
        reader = self.runtime.reader(
            read,
            clock=getattr(source, "clock", None) if lateness(source.capabilities.cursor) else None,
            ahead=source.capabilities.reads_ahead,
            limit=options.limit,
        )
        try:
            return await self._batches(reader, hint is not None)
        finally:
            await self._leave(reader)

    async def _leave(self, reader: Reader) -> None:
        try:
            await reader.close()
        except Exception as error:
            self.report.warnings.append(
                f"the source raised {type(error).__qualname__} when it was closed"
            )

    async def _batches(self, reader: Reader, hinted: bool) -> bool:
        limit = self.options.limit
        first = True
        while True:
            if self.runtime.stop.is_set():
                await self._flush()
                self._result(Result.STOPPED, "a stop was asked for")
                raise _Stopped
            await self._renew()
            try:
                with self.telemetry.operation("read") as span:
                    batch = await reader.next()
                    if isinstance(batch, Batch):
                        span.set_attribute("syncsdk.batch.size", len(batch.keys))
            except Exception:
                if hinted and first:
                    return False
                raise
            if batch is END:
                await self._complete()
                return True
            first = False
            self._clocked(reader)
            if await self._batch(batch, None if limit is None else limit - self._taken):
                await self._flush()
                return True

    def _clocked(self, reader: Reader) -> None:
        """Take the source's clock, once: later places may still be joined by late records."""
        late = lateness(self.flow.source.capabilities.cursor)
        if not late or self._cap is not None:
            return
        clock = self._window_clock or reader.clock
        if not isinstance(clock, datetime) or clock.tzinfo is None:
            raise ContractError(
                f"the source's clock() returned a value of type {type(clock).__name__}, "
                "or one without a time zone",
                remedy="Return an aware datetime: the source's own time when the read began",
            )
        self._window_clock = clock.astimezone(UTC)
        self._cap = self._window_clock - late

    async def _batch(self, batch: Any, room: int | None) -> bool:
        """Settle a batch in as many parts as it takes; return whether the limit is reached."""
        rows = check(batch)
        self._watch(batch, rows.keys, rows.versions)
        self._ordered(batch, rows.versions)
        size = len(batch)
        cut = size if room is None else min(size, room)
        # After a crash in the middle of a batch, smaller parts get past the trouble.
        crashed = 0 if self.preview or self._committed else self.lease.crashed
        step = max(1, size >> min(crashed, 20)) if crashed else max(1, size)
        # The last part carries the cursor of all: it may not wait for the next batch.
        self._split = step < cut
        start = 0
        while start < cut or size == 0:
            stop = min(start + step, cut)
            if (start, stop) == (0, size):
                await self._part(batch, rows)
            else:
                part = batch.part(start, stop, last=stop == size)
                await self._part(part, check(part))
            start = stop
            if size == 0:
                break
        self._taken += cut
        return room is not None and self._taken >= (self.options.limit or 0)

    def _watch(self, batch: Batch, keys: Sequence[Key], versions: Sequence[str | None]) -> None:
        """Refuse a read that goes round in circles."""
        stuck = batch.after is None or batch.after == self._last_after
        if not len(batch):
            self._idle = self._idle + 1 if stuck else 0
            if self._idle > IDLE_BATCHES:
                raise ContractError(
                    f"the source yielded {self._idle} empty batches in a row and its cursor "
                    "stays where it is",
                    remedy="End the iterator when there is no more; an API that always says "
                    "'has more' needs a check of its own",
                )
        else:
            self._idle = 0
            page = hash((batch.after, tuple(keys), tuple(versions)))
            if page in self._pages and any(keys):
                raise ContractError(
                    "the source yielded the same page twice in one run",
                    remedy="Check how the next page is asked for: the token or offset may not "
                    "be passed on",
                )
            self._pages[page] = None
            if len(self._pages) > SEEN_PAGES:
                del self._pages[next(iter(self._pages))]
            exact = isinstance(self.flow.source.capabilities.cursor, Token | Keyset)
            if exact and not self._holding and batch.after is not None and stuck:
                raise ContractError(
                    "the source yielded records, but its cursor does not move",
                    remedy="Set Batch.after to the place after the last record of the batch",
                )
        if batch.after is not None:
            self._last_after = batch.after
        self._last_size = len(batch)

    def _ordered(self, batch: Batch, versions: Sequence[str | None]) -> None:
        """Check the declared order; without it the cursor waits for the end of the read."""
        declared = self.flow.source.capabilities
        cursor, version = declared.cursor, declared.version
        if self._holding or not isinstance(cursor, Watermark):
            return
        positions: Sequence[str | None] | None = batch.positions
        if positions is None and version.kind == "instant" and version.field == cursor.field:
            positions = versions
        if positions is None:
            positions = [] if batch.after is None else [self._value(batch.after)]
        broken, self._highest = disorder(cursor, positions, self._highest)
        if broken:
            self._holding = True
            # Back to where this run began: what an unordered source passed over may be anywhere.
            self.ahead = evolve(self.ahead, cursor=self._opened_at, disordered=True)
            self.report.warnings.append(
                "the source does not keep its declared order: its cursor is only stored when it "
                "was read to its end (declare ordered=False)"
            )

    def _value(self, after: str) -> str:
        cursor = self.flow.source.capabilities.cursor
        return cursor.split(after)[0] if isinstance(cursor, Keyset) else after

    def _advance(self, batch: Batch) -> None:
        """Move the cursor that the next commit stores as far as this batch allows."""
        if self._holding:
            self._furthest = self._further(batch.after)
        else:
            self.ahead = evolve(self.ahead, cursor=self._durable(batch.after, batch.watermark))
        if self.flow.source.capabilities.hints:
            self.ahead = evolve(
                self.ahead,
                hint=batch.hint,
                hint_after=self._opened_at if batch.hint is not None else None,
                hint_clock=self._window_clock if batch.hint is not None else None,
            )

    def _durable(self, after: str | None, watermark: datetime | None) -> str | None:
        cursor = self.flow.source.capabilities.cursor
        if isinstance(cursor, Token) and cursor.lateness and after and watermark is None:
            raise ContractError(
                "a token cursor with a lateness came without a watermark",
                remedy="Give each Batch a watermark: the earliest instant of all later records",
            )
        return durable(cursor, after, old=self.ahead.cursor, cap=self._cap, watermark=watermark)

    def _further(self, after: str | None) -> str | None:
        cursor, best = self.flow.source.capabilities.cursor, self._furthest
        if after is None or best is None:
            return best if after is None else after
        if isinstance(cursor, Watermark) and cursor.position(after) < cursor.position(best):
            return best
        return after

    async def _complete(self) -> None:
        """Settle what only the end of a read can: a held cursor, a finished backfill."""
        cap = self.flow.source.capabilities.window_cap
        if cap is not None and self._last_size == cap:
            raise ContractError(
                f"the read ended with a batch of exactly {cap} records, the most that the "
                "source ever returns: there may be more",
                remedy="Split the window (by time, then by id) until every answer is smaller",
            )
        if self._holding:
            old = None if self.options.mode == "backfill" else self.ahead.cursor
            cursor = durable(
                self.flow.source.capabilities.cursor,
                self._furthest,
                old=old,
                cap=self._cap,
                watermark=self._cap,
            )
            self.ahead = evolve(
                self.ahead, cursor=self.checkpoint.cursor if cursor is None else cursor
            )
        self.ahead = evolve(self.ahead, hint=None, hint_after=None, hint_clock=None)
        whole = isinstance(self.flow.source.capabilities.cursor, Listing)
        if self.options.mode == "backfill" or whole:
            self.ahead = evolve(
                self.ahead,
                mapping=self.flow.rules.mapper.digest,
                source=self.flow.source_digest,
            )
        await self._flush()

    # -- One part of a batch ------------------------------------------------------------

    async def _part(self, batch: Batch, rows: Rows) -> None:
        """Look up, plan, write, settle and commit some records."""
        replaying = self.options.mode == "replay"
        closing = LetterStatus.REPLAYED if replaying else LetterStatus.SUPERSEDED
        rules = self.flow.rules
        digests = raw_digests(batch, rows, rules.salt)
        known: Known = await self.runtime.call(
            "store.look_up",
            self.store.look_up,
            self.flow.name,
            rows.keys,
            digests if rows.distinct else (),
        )
        self._found(known)
        made = plan(batch, rows, digests, known, rules, self._stamp(), closing)
        if self.preview is not None:
            self.preview.add(made)
            return
        self._guard(made)
        outcomes, error = await self._deliver(made.sends)
        done = settle(
            made.sends,
            outcomes,
            known,
            made.stamp,
            rules.version,
            repeatable=error is not None or rules.sink.upsert,
            closing=closing,
        )
        if not done.unsettled and not replaying:
            self._advance(batch)
        counts = made.counts + done.counts
        taken = made.size - done.unsettled
        counts.read, counts.resumed = (0, taken) if replaying else (taken, 0)
        self.report.unsettled += done.unsettled
        self._refused += made.refused + done.refused
        await self._commit(counts, made, done)
        if error is not None:
            raise error
        if done.unsettled:
            raise TransientError(
                f"whether {_number(done.unsettled, 'change')} took effect is unknown",
                remedy="Run again: their batch is sent again, which is safe for this sink",
            )
        if not replaying:
            self._tolerate(self._refused, self._settled_so_far())

    def _settled_so_far(self) -> int:
        waiting = 0 if self._deferred is None else self._deferred.counts.read
        return self.report.counts.read + waiting

    def _stamp(self) -> Stamp:
        return Stamp(self.report.run_id, self.checkpoint.seq + 1, self.runtime.now())

    def _found(self, known: Known) -> None:
        """Take a person's word for what the destination holds."""
        for key, dest_id in self.options.found.items():
            entry = known.entries.get(key)
            if entry is not None and entry.state == EntryState.AMBIGUOUS:
                state = EntryState.GONE if dest_id is None else EntryState.LIVE
                known.entries[key] = Entry(dest_id, entry.version, None, None, state)

    def _guard(self, made: Plan) -> None:
        """Stop before anything of a batch is written that should not be."""
        size = made.size
        try:
            if self.options.mode != "replay":
                self._tolerate(self._refused + made.refused, self._settled_so_far() + size)
            self._deletes += made.deletes
            if not self.options.allow_deletes and not self.flow.max_deletes.allows(
                self._deletes, self.checkpoint.live
            ):
                raise GuardError(
                    f"the run would delete {self._deletes} of {self.checkpoint.live} records",
                    remedy="Make sure that the source is right, then run with allow_deletes=True, "
                    "or raise the pipeline's max_deletes=",
                )
        except SyncError:
            self.report.unsettled += size
            self._reasons(made.reasons)
            raise

    def _tolerate(self, refused: int, read: int) -> None:
        if not self.flow.tolerance.allows(refused, read):
            raise ToleranceError(
                f"{refused} of {read} records were refused, more than the pipeline tolerates",
                remedy="Look at the reasons and mend the mapping or the source; if so many are "
                "expected, raise the pipeline's tolerance=",
            )

    def _reasons(self, reasons: Mapping[str, int]) -> None:
        refusals = self.report.refusals
        for reason, number in reasons.items():
            if reason in refusals or len(refusals) < 5:
                refusals[reason] = refusals.get(reason, 0) + number

    # -- Write --------------------------------------------------------------------------

    async def _deliver(self, sends: Sends) -> tuple[dict[int, Outcome], Exception | None]:
        """Note what needs it, write, and return the outcomes by place.

        A place without an outcome was not sent.
        """
        outcomes: dict[int, Outcome] = {}
        changes = sends.changes()
        bulk = self.flow.rules.sink.bulk or len(changes)
        for start in range(0, len(changes), bulk or 1):
            part = changes[start : start + bulk]
            try:
                part = await self._note(sends, part, outcomes)
                if len(part):
                    await self._send(part, outcomes)
            except Exception as error:
                return outcomes, error
        return outcomes, None

    async def _note(self, sends: Sends, changes: Changes, outcomes: dict[int, Outcome]) -> Changes:
        """Make durable what a crash during the write must not forget.

        That is a note of each change that cannot be repeated blindly, and a doubt about
        what is known of each record that is changed. Right before they are sent: how long
        a look-up may miss them counts from here.
        """
        sink, now = self.flow.rules.sink, self.runtime.now()
        notes: dict[int, Intent] = {}
        doubted: list[Key] = []
        if sink.upsert and not any(sends.before):
            return changes  # the most common case: nothing that is known is changed
        for at in changes.ids:
            if needs_intent(sends.ops[at], sink):
                try:
                    note = sends.intent(at, now, counted=False)
                    notes[at] = self._rendered(note, changes[at - changes.ids[0]])
                except RecordError as error:
                    outcomes[at] = _rejected(at, error)
            elif leaves_doubt(sends.before[at]):
                doubted.append(sends.keys[at])
        if notes or doubted:
            await self._put_intents(list(notes.values()), doubted)
            sends.intents.update(notes)
        if not notes and not outcomes:
            return changes
        return sends.changes().pick([at for at in changes.ids if at not in outcomes])

    def _rendered(self, note: Intent, change: Any) -> Intent:
        if note.op is not Op.CREATE or not self.flow.rules.sink.idempotency_key:
            return note
        token = idempotency_key(self.flow.name, *note.key, self.runtime.new_id())
        change.idempotency_key = token
        body: bytes = self.flow.sink.render(change)  # type: ignore[attr-defined]
        return evolve(note, idempotency_key=token, body=body)

    async def _put_intents(self, notes: Sequence[Intent], doubted: Sequence[Key] = ()) -> None:
        await self.runtime.call(
            "store.put_intents", self.store.put_intents, self.lease, notes, doubted
        )

    async def _send(self, changes: Changes, outcomes: dict[int, Outcome]) -> None:
        """Write once, or by halves if the whole is refused and may be sent again."""
        sink = self.flow.rules.sink
        try:
            with self.telemetry.operation("write", len(changes)):
                answer = await self.runtime.call("sink.write", self.flow.sink.write, changes)
        except NotSent:
            raise
        except RecordError as error:
            if not (sink.upsert or sink.atomic):
                outcomes.update((at, Unknown(at)) for at in changes.ids)
                raise
            if len(changes) == 1:
                at = changes.ids[0]
                outcomes[at] = _rejected(at, error)
                return
            half = len(changes) // 2
            await self._send(changes[:half], outcomes)
            await self._send(changes[half:], outcomes)
        except Exception:
            outcomes.update((at, Unknown(at)) for at in changes.ids)
            raise
        else:
            outcomes.update(match(changes, answer or ()))

    # -- Commit -------------------------------------------------------------------------

    async def _commit(self, counts: Counts, made: Plan | None, done: Settlement | None) -> None:
        """Settle in one transaction, or leave what has no effect to the next one."""
        if not counts.balanced:
            raise ContractError(
                f"the conservation law is broken: {counts}",
                remedy="This is a bug in syncsdk; nothing of the batch was settled",
            )
        commit = Commit(self.flow.name, self.ahead)
        now = self.runtime.monotonic()
        waiting = self._deferred or _Deferred(now)
        for part in (made, done):
            if part is not None:
                commit.entries.update(part.entries)
                commit.letters += part.letters
                commit.closed.update(part.closed)
                commit.intents += part.intents
                commit.resolved += part.resolved
                _tally(waiting.reasons, part.reasons)
        if done is not None:
            self.ahead = evolve(self.ahead, live=max(0, self.ahead.live + done.live))
        effect = any(
            (commit.entries, commit.letters, commit.closed, commit.intents, commit.resolved)
        )
        waiting.counts += counts
        if made is not None:
            waiting.batches += 1
            _tally(waiting.decisions, made.decisions)
        self._deferred = waiting
        acknowledged = self.flow.source.capabilities.acknowledges
        if effect or acknowledged or self._split or now - waiting.since >= DEFERRAL:
            await self._write_commit(commit)

    async def _flush(self) -> None:
        """Commit what is left: deferred counts, a cursor that moved."""
        if self.preview is None and (self.ahead != self.checkpoint or self._deferred is not None):
            await self._write_commit(Commit(self.flow.name, self.ahead))

    async def _write_commit(self, commit: Commit) -> None:
        """Write a commit that also settles what was deferred; count it once it is durable."""
        report, waiting = self.report, self._deferred or _Deferred(0.0)
        commit.checkpoint = evolve(
            self.ahead,
            seq=self.checkpoint.seq + 1,
            run_id=report.run_id,
            token=self.lease.token,
        )
        settled = evolve(
            report,
            counts=report.counts + waiting.counts,
            batches=report.batches + waiting.batches,
            decisions=dict(report.decisions),
        )
        for (name, what), number in waiting.decisions.items():
            told = f"{name} {what}"
            settled.decisions[told] = settled.decisions.get(told, 0) + number
        commit.report = settled.as_json()
        with self.telemetry.operation("checkpoint"):
            await self._settled(commit)
        report.counts, report.batches = settled.counts, settled.batches
        report.decisions = settled.decisions
        self._deferred = None
        self._reasons(waiting.reasons)
        self.checkpoint = self.ahead = commit.checkpoint
        self._committed = True
        self._renewed = self.runtime.monotonic()
        self.telemetry.settled(waiting.counts, waiting.reasons, waiting.decisions)
        if self.options.progress is not None:
            self._watched(self.options.progress)
        for observer in self.flow.observers:
            self._watched(observer.on_progress)

    async def _settled(self, commit: Commit, *, last: bool = False) -> None:
        """Commit; where the store cannot say whether it did, read back and decide."""
        try:
            await self.runtime.call("store.commit", self.store.commit, self.lease, commit)
        except FencedError:
            raise
        except Exception:
            stored: Checkpoint = await self.runtime.call(
                "store.load", self.store.load, self.flow.name
            )
            if committed(stored, commit.checkpoint):
                return
            if last or stored.seq != commit.checkpoint.seq - 1:
                raise
            await self._settled(commit, last=True)

    async def _renew(self) -> None:
        now = self.runtime.monotonic()
        if self.preview is None and now - self._renewed > LEASE_TTL.total_seconds() / 3:
            await self.runtime.call("store.renew", self.store.renew, self.lease, LEASE_TTL)
            self._renewed = now

    # -- Intents of earlier runs --------------------------------------------------------

    async def _resume(self) -> None:
        """Resolve the writes in doubt that earlier runs left, before anything is read."""
        waiting: dict[Key, Intent] = {}
        while True:
            found: Sequence[Intent] = await self.runtime.call(
                "store.intents", self.store.intents, self.flow.name, PAGE + len(waiting)
            )
            notes = [note for note in found if note.key not in waiting]
            if not notes:
                break
            for note in await self._resolve(notes):
                waiting[note.key] = note
        weight = sum(note.weight for note in waiting.values())
        if weight:
            await self._commit(Counts(resumed=weight, pending=weight), None, None)

    async def _resolve(self, notes: Sequence[Intent]) -> list[Intent]:
        """Resolve what can be; return the notes that stay in doubt."""
        sink, now = self.flow.rules.sink, self.runtime.now()
        finds = hasattr(self.flow.sink, "find")
        by: dict[Resolution, list[Intent]] = {what: [] for what in Resolution}
        for note in notes:
            by[resolution(note, sink, finds, now)].append(note)
        waiting = by[Resolution.WAIT]
        if by[Resolution.GIVE_UP]:
            await self._give_up(by[Resolution.GIVE_UP])
        again = by[Resolution.SEND] + await self._look_for(by[Resolution.FIND])
        bulk = sink.bulk or len(again)
        for start in range(0, len(again), bulk or 1):
            waiting += await self._send_again(again[start : start + bulk])
        return waiting

    async def _give_up(self, notes: Sequence[Intent]) -> None:
        known: Known = await self.runtime.call(
            "store.look_up", self.store.look_up, self.flow.name, [note.key for note in notes]
        )
        done, stamp = Settlement(), self._stamp()
        for note in notes:
            own = int(note.counted)
            done.counts.resumed += note.weight
            if note.next is not None:
                done.counts.superseded += own
                own = note.weight - own
            file_letter(done, given_up(note, stamp), known, self.flow.rules.version, own)
            newest = note.newest
            done.entries[note.key] = Entry(
                None, newest.version, newest.fingerprint, None, EntryState.AMBIGUOUS
            )
            done.resolved.append(note.key)
        await self._commit(done.counts, None, done)

    async def _look_for(self, notes: Sequence[Intent]) -> list[Intent]:
        """Ask the destination which of these creates took effect."""
        if not notes:
            return []
        changes = _sends(notes, Known()).changes()
        found = await self.runtime.call("sink.find", self.flow.sink.find, changes)  # type: ignore[attr-defined]
        if len(found) != len(notes):
            raise ContractError(
                f"find returned {len(found)} answers for {len(notes)} changes",
                remedy="Return one id, or None, for each change, in order",
            )
        return [
            evolve(note, sent=None, idempotency_key=None)
            if dest_id is None
            else evolve(note, op=Op.UPDATE, dest_id=dest_id)
            for note, dest_id in zip(notes, found, strict=True)
        ]

    async def _send_again(self, notes: Sequence[Intent]) -> list[Intent]:
        """Send notes, stamped anew, in one write; return those that stay in doubt."""
        now = self.runtime.now()
        known: Known = await self.runtime.call(
            "store.look_up", self.store.look_up, self.flow.name, [note.key for note in notes]
        )
        changes = _sends(notes, known).changes()
        stamped: list[Intent] = []
        for at, note in enumerate(notes):
            if note.op is Op.CREATE and note.idempotency_key is None:
                note = evolve(self._rendered(note, changes[at]), born=now)
            stamped.append(evolve(note, sent=now))
        await self._put_intents(stamped)
        sends = _sends(stamped, known)
        outcomes: dict[int, Outcome] = {}
        error: Exception | None = None
        try:
            await self._send(sends.changes(), outcomes)
        except Exception as failure:
            error = failure
        done = settle(
            sends, outcomes, known, self._stamp(), self.flow.rules.version, repeatable=False
        )
        settled = [isinstance(outcomes.get(at), Applied | Rejected) for at in range(len(notes))]
        done.counts.resumed = sum(
            weight for weight, is_settled in zip(sends.weights, settled, strict=True) if is_settled
        )
        await self._commit(done.counts, None, done)
        if error is not None:
            raise error
        return [note for note, is_settled in zip(stamped, settled, strict=True) if not is_settled]

    # -- Replay -------------------------------------------------------------------------

    async def _replay(self) -> None:
        """Take up the open dead letters, with today's mapping."""
        await self._load()
        await self._resume()
        after, left_alone = 0, 0
        while not self.runtime.stop.is_set():
            letters: Sequence[Letter] = await self.runtime.call(
                "store.letters", partial(self.store.letters, self.flow.name, after=after)
            )
            if not letters:
                break
            after = letters[-1].id
            usable = [
                letter
                for letter in letters
                if letter.run_id != self.report.run_id
                and letter.key
                and (letter.code != "ambiguous" or letter.key in self.options.found)
            ]
            batch, missing = await self._letters_batch(usable)
            left_alone += len(letters) - len(usable) + missing
            if len(batch):
                await self._part(batch, check(batch))
        await self._flush()
        if left_alone:
            self.report.warnings.append(
                f"{left_alone} dead letters were left alone: without a key, without a stored "
                "record, or ambiguous (found= says what the destination holds)"
            )

    async def _letters_batch(self, letters: Sequence[Letter]) -> tuple[Batch, int]:
        """Return the letters' records, as the source has them now or as they were stored."""
        fresh: dict[Key, tuple[Any, Any, bool]] = {}
        fetch = getattr(self.flow.source, "fetch", None)
        if fetch is not None and letters:
            current = await self.runtime.call("source.fetch", fetch, [each.key for each in letters])
            rows = check(current)
            for at, key in enumerate(rows.keys):
                gone = current.deleted is not None and bool(current.deleted[at])
                if current.records is not None and at not in rows.refused:
                    fresh[key] = (current.records[at], rows.versions[at], gone)
        keys, records, versions, deleted = [], [], [], []
        for letter in letters:
            if letter.key in fresh:
                record, version, gone = fresh[letter.key]
            elif letter.original is not None or letter.deleted:
                record = None if letter.original is None else unpack(letter.original)
                version, gone = letter.version, letter.deleted
            else:
                continue
            keys.append(letter.key)
            records.append(record)
            versions.append(version)
            deleted.append(gone)
        batch = Batch(keys, records, versions=versions, deleted=deleted)
        return batch, len(letters) - len(keys)


def committed(stored: Checkpoint, wanted: Checkpoint) -> bool:
    """Return whether a commit whose answer was lost took effect."""
    return (stored.run_id, stored.seq) == (wanted.run_id, wanted.seq)


def _sends(notes: Sequence[Intent], known: Known) -> Sends:
    """Return notes as changes to send; their fields may differ, so rows become one shape."""
    names = tuple(dict.fromkeys(name for note in notes for name in note.fields))
    sends = Sends(fields=names, resumed=True, pack=lambda at: notes[at].original)

    for at, note in enumerate(notes):
        values = dict(zip(note.fields, note.row, strict=False))
        entry = known.entries.get(note.key)
        sends.add(
            note.op,
            note.key,
            note.version,
            note.dest_id,
            () if note.op is Op.DELETE else tuple(values.get(name, UNSET) for name in names),
            note.fingerprint,
            note.raw,
            before=entry,
            weight=int(note.counted),
            origin=at,
        )
        sends.intents[at] = note
    return sends


def _tally(into: dict[_T, int], more: Mapping[_T, int]) -> None:
    for what, number in more.items():
        into[what] = into.get(what, 0) + number


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _rejected(at: int, error: RecordError) -> Rejected:
    return Rejected(at, error.code or "rejected", error.detail, error.path)


def check_parts(source: Source, sink: Sink) -> None:
    """Refuse a source and a sink that would lose or double records together.

    Raises:
        ConfigurationError: in a sentence that names the way out.
    """
    gives, takes = source.capabilities, sink.capabilities
    if lateness(gives.cursor) and not callable(getattr(source, "clock", None)):
        raise ConfigurationError(
            "the source declares a lateness but has no clock()",
            remedy="Add clock(): the source's own time at the start of the read, never the "
            "local one",
        )
    if gives.deletes is not Deletes.NONE and not takes.deletes:
        raise ConfigurationError(
            "the source reports deletes and the sink cannot delete",
            remedy="Declare deletes=True on a sink that can, or deletes=Deletes.NONE on the "
            "source and map the flag to a field",
        )
    if takes.idempotency_key and not hasattr(sink, "render"):
        raise ConfigurationError(
            "the sink declares idempotency keys but has no render(change)",
            remedy="Add render(): the same key must always come with the same bytes, so they "
            "are rendered once and stored",
        )
    if gives.acknowledges and gives.reads_ahead:
        raise ConfigurationError(
            "a source that acknowledges cannot be read ahead",
            remedy="Declare one of acknowledges= and reads_ahead=",
        )
    if takes.bulk is not None and takes.bulk < 1:
        raise ConfigurationError("the sink's bulk= is below 1", remedy="Give 1 or more, or None")
