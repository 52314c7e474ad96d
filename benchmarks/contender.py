"""The contender: the same work as a pipeline, with all of its state kept.

The parts are what a user writes: a source, a mapping, a sink. :class:`Stages` is the
benchmark's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict

import httpx

from benchmarks.by_hand import CENT, STATUS, TABLE, UPSERT
from syncsdk import (
    INSTANT,
    Batch,
    Changes,
    Keyset,
    Outcome,
    Pipeline,
    SinkCapabilities,
    SourceCapabilities,
    SQLiteStore,
)
from syncsdk.pipeline import CallableMapper
from syncsdk.values import Fingerprints

# -- Source ----------------------------------------------------------------------------


class Contacts:
    """The API's contacts, from a place on; parses with the standard library."""

    cursor = Keyset("updated_at", id="id", lateness=timedelta(0))

    def __init__(self, url: str, *, reads_ahead: bool = False) -> None:
        self.url = f"{url}/contacts"
        self.capabilities = SourceCapabilities(
            self.cursor, version=INSTANT("updated_at"), reads_ahead=reads_ahead
        )

    def read(self, after: str | None) -> Iterator[Batch]:
        """Yield a batch a page, until one is empty."""
        with httpx.Client() as client:
            while True:
                parameters = {"limit": "500"}
                if after is not None:
                    parameters["after"] = ",".join(map(str, self.cursor.split(after)))
                response = client.get(self.url, params=parameters).raise_for_status()
                batch = self.batch(response)
                if not len(batch):
                    return
                after = batch.after
                yield batch

    def batch(self, response: httpx.Response) -> Batch:
        """Return a page as a batch."""
        batch = Batch.of(response.json()["items"], key="id", version="updated_at")
        if len(batch):
            assert batch.versions is not None
            batch.after = self.cursor.cursor(str(batch.versions[-1]), batch.keys[-1])
        return batch


# -- Mapping ---------------------------------------------------------------------------


class Customer(TypedDict):
    """A row of the destination, in its columns' order."""

    number: str
    name: str
    email: str
    status: str
    street: str
    city: str
    postcode: str
    country: str
    balance: str
    created_at: str
    updated_at: str
    notes: str


def customer(contact: dict[str, Any]) -> Customer:
    """Return the customer that a contact becomes."""
    addresses = contact["addresses"]
    address = next((item for item in addresses if item["kind"] == "billing"), addresses[0])
    return {
        "number": "CRM-" + contact["id"],
        "name": contact["full_name"][:40],
        "email": contact["email"].lower(),
        "status": STATUS[contact["status"]],
        "street": address["street"],
        "city": address["city"],
        "postcode": address["postcode"],
        "country": address["country"],
        "balance": str(Decimal(contact["balance"]).quantize(CENT)),
        "created_at": datetime.fromisoformat(contact["created"]).astimezone(UTC).isoformat(),
        "updated_at": datetime.fromisoformat(contact["updated_at"]).astimezone(UTC).isoformat(),
        "notes": contact["notes"][:200],
    }


# -- Sink ------------------------------------------------------------------------------


class Customers:
    """The table that the floor writes too, with the same statement."""

    capabilities = SinkCapabilities(upsert=True, atomic=True)

    def __init__(self, path: str) -> None:
        import sqlite3

        self.db = sqlite3.connect(path)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute(TABLE)

    def write(self, changes: Changes) -> Sequence[Outcome]:
        """Upsert the rows in one transaction."""
        with self.db:
            self.db.executemany(UPSERT, changes.rows)
        return changes.applied()


def sql_table(path: str) -> Any:
    """Return our own connector over the same table."""
    import sqlalchemy as sa

    from syncsdk.connectors.sql import SqlTable

    engine = sa.create_engine(f"sqlite:///{path}")

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    with engine.begin() as connection:
        connection.exec_driver_sql(TABLE)
    names = list(Customer.__annotations__)
    columns = [sa.Column(name, sa.Text, primary_key=name == "number") for name in names]
    return SqlTable(engine, sa.Table("customers", sa.MetaData(), *columns), key="number")


# -- The run ---------------------------------------------------------------------------

SAMPLE = 5_000
"""How many mapped records are kept to measure their fingerprints afterwards."""


class Stages:
    """Seconds in what the engine calls, by its name; measured a batch at a time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._mapped = 0
        self._rows: list[Any] = []

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, adding up the seconds spent in it."""

        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self._add(name, time.perf_counter() - began)

        return call

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def watch(self, source: Any, mapper: Any, sink: Any, store: Any) -> None:
        """Measure the parts of a pipeline from outside."""
        read, map_batch = source.read, self.timed("mapping", mapper.map_batch)
        source.read = lambda after: self._steps(read(after))
        mapper.map_batch = lambda records: self._kept(map_batch(records))
        sink.write = self.timed("sink.write", sink.write)
        store.look_up = self.timed("store.look_up", store.look_up)
        store.commit = self.timed("store.commit", store.commit)

    def _steps(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        step = self.timed("source.read", lambda: next(batches, None))
        while (batch := step()) is not None:
            yield batch

    def _kept(self, rows: list[Any]) -> list[Any]:
        self._mapped += len(rows)
        self._rows += rows[: max(0, SAMPLE - len(self._rows))]
        return rows

    def fingerprints(self) -> None:
        """Measure fingerprints on the records that were kept, for all that were mapped."""
        of_all = Fingerprints(tuple(Customer.__annotations__)).of_all
        began = time.perf_counter()
        for start in range(0, len(self._rows), 500):
            of_all(self._rows[start : start + 500])
        share = self._mapped / max(1, len(self._rows))
        self._add("fingerprint", (time.perf_counter() - began) * share)


def load(
    url: str,
    directory: str,
    *,
    again: bool = False,
    variant: str = "plain",
    stages: Stages | None = None,
) -> int:
    """Run the pipeline once; return how many records it read.

    Args:
        url: of the server.
        directory: of the destination and of the state file.
        again: read all records from the beginning.
        variant: plain, fast, ahead (reads ahead) or table (our SqlTable as the sink).
        stages: measure the parts, if given.
    """
    destination = str(Path(directory, "customers.db"))
    if variant == "fast":
        from benchmarks.contender_fast import FastContacts as Source
    else:
        Source = Contacts
    source = Source(url, reads_ahead=variant == "ahead")
    mapper = CallableMapper(customer, "1")
    sink = sql_table(destination) if variant == "table" else Customers(destination)
    store = SQLiteStore(Path(directory, "state.db"))
    if stages is not None:
        stages.watch(source, mapper, sink, store)
    pipeline = Pipeline(
        "contacts-to-customers", source=source, mapping=mapper, sink=sink, owner="benchmarks"
    )
    report = pipeline.run(store, backfill=again)
    store.close()
    if report.exit_code:
        raise SystemExit(str(report))
    return report.counts.read
