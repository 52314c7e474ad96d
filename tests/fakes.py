"""Small real parts for tests: a table that is read by pages, destinations that keep rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from syncsdk import (
    INTEGER,
    Applied,
    Batch,
    Change,
    Changes,
    Deletes,
    Keyset,
    Listing,
    MemoryStore,
    Op,
    Outcome,
    Pipeline,
    Rejected,
    SinkCapabilities,
    SourceCapabilities,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(second: int) -> str:
    """Return an instant of the test's day as text."""
    return (NOON + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Table:
    """A source: rows with ``id``, ``ts`` (seconds), ``v`` (version) and whatever else."""

    keyset = Keyset("ts", "id", lateness=timedelta(0))

    def __init__(self, *rows: dict[str, Any], page: int = 2, **capabilities: Any) -> None:
        self.rows = {row["id"]: row for row in rows}
        self.page = page
        self.reads: list[str | None] = []
        self.given = 0
        self.capabilities = SourceCapabilities(
            capabilities.pop("cursor", self.keyset),
            version=capabilities.pop("version", INTEGER),
            deletes=capabilities.pop("deletes", Deletes.FLAGGED),
            **capabilities,
        )

    def put(self, **row: Any) -> None:
        self.rows[row["id"]] = row

    def clock(self) -> datetime:
        return NOON + timedelta(hours=1)

    def read(self, after: str | None) -> Iterator[Batch]:
        self.reads.append(after)
        while True:
            rows = sorted(self.rows.values(), key=lambda row: (row["ts"], row["id"]))
            if after is not None:
                value, id = self.keyset.split(after)
                rows = [row for row in rows if (at(row["ts"]), row["id"]) > (value, id or "")]
            page = rows[: self.page]
            if not page:
                return
            after = self.keyset.cursor(at(page[-1]["ts"]), page[-1]["id"])
            self.given += len(page)
            yield self.batch(page, after)

    def batch(self, page: Sequence[dict[str, Any]], after: str | None) -> Batch:
        return Batch(
            [row["id"] for row in page],
            [dict(row) for row in page],
            versions=[row.get("v", 1) for row in page],
            deleted=[row.get("gone", False) for row in page],
            after=after,
        )


class Pages:
    """A source of ready-made batches, read from the start each time."""

    def __init__(self, *batches: Any, **capabilities: Any) -> None:
        self.batches = batches
        self.capabilities = SourceCapabilities(
            capabilities.pop("cursor", Listing()), **capabilities
        )

    def read(self, after: str | None) -> Iterator[Any]:
        for batch in self.batches:
            yield batch() if callable(batch) else batch


class Upserts:
    """A destination that takes the same change any number of times."""

    def __init__(self, **capabilities: Any) -> None:
        self.rows: dict[tuple[str, ...], dict[str, Any]] = {}
        self.writes: list[list[Change]] = []
        self.refuses: Callable[[Change], bool] = lambda change: False
        self.capabilities = SinkCapabilities(upsert=True, deletes=True, **capabilities)

    def write(self, changes: Changes) -> Sequence[Outcome]:
        self.writes.append(list(changes))
        outcomes: list[Outcome] = []
        for change in changes:
            if self.refuses(change):
                outcomes.append(Rejected(change.change_id, "422", detail="no thanks"))
                continue
            if change.op is Op.DELETE:
                self.rows.pop(change.key, None)
            else:
                self.rows.setdefault(change.key, {}).update(change.record)
            outcomes.append(Applied(change.change_id))
        return outcomes


class Creates:
    """A destination with ids of its own, in which every create makes a new row."""

    def __init__(self, **capabilities: Any) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.capabilities = SinkCapabilities(deletes=True, **capabilities)

    def write(self, changes: Changes) -> Sequence[Outcome]:
        return [self.apply(change) for change in changes]

    def apply(self, change: Change) -> Outcome:
        dest_id = change.dest_id
        if change.op is Op.CREATE:
            dest_id = f"d{len(self.rows) + 1}"
            self.rows[dest_id] = {"key": change.key, **change.record}
        elif change.op is Op.UPDATE:
            assert dest_id is not None
            self.rows[dest_id].update(change.record)
        else:
            assert dest_id is not None
            self.rows.pop(dest_id, None)
        return Applied(change.change_id, dest_id)


class Remembers(Creates):
    """The same, but it knows the idempotency keys that it has seen."""

    def __init__(self, **capabilities: Any) -> None:
        super().__init__(idempotency_key=True, **capabilities)
        self.keys: dict[str, Outcome] = {}

    def render(self, change: Change) -> bytes:
        return repr(sorted(change.record.items())).encode()

    def apply(self, change: Change) -> Outcome:
        if change.op is not Op.CREATE:
            return super().apply(change)
        assert change.idempotency_key is not None
        known = self.keys.get(change.idempotency_key)
        if known is None:
            known = self.keys[change.idempotency_key] = super().apply(change)
        assert isinstance(known, Applied)
        return Applied(change.change_id, known.dest_id)


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """A mapping that keeps the business fields."""
    return {name: value for name, value in record.items() if name not in ("v", "ts", "gone")}


def pipeline(source: Any, sink: Any, mapping: Any = plain, **options: Any) -> Pipeline:
    """Return a pipeline with a name, an owner and a mapping version."""
    options.setdefault("mapping_version", "1")
    options.setdefault("owner", "tests")
    return Pipeline("test", source=source, sink=sink, mapping=mapping, **options)


def row(id: str, ts: int, v: int = 1, **more: Any) -> dict[str, Any]:
    """A row of a :class:`Table`."""
    return {"id": id, "ts": ts, "v": v, **more}


class FailingStore(MemoryStore):
    """A memory store whose commits fail as told: before or after they took effect."""

    def __init__(self, *faults: str) -> None:
        super().__init__()
        self.faults = list(faults)
        self.tried = 0

    def commit(self, lease: Any, commit: Any) -> None:
        from syncsdk.errors import CheckpointError

        self.tried += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise CheckpointError("the disk is full", remedy="Make room")
        super().commit(lease, commit)
        if fault == "after":
            raise CheckpointError("the connection broke", remedy="Look again")
