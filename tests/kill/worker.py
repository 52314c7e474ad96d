"""The process that is killed: it runs two pipelines over HTTP, over and over.

::

    python -m tests.kill.worker URL STORE LOG MUTANT

It starts up, then waits on stdin for one line of JSON: ``first``, the pipeline to begin
with; ``pause``, the point (pipeline, event, number) after which it waits to be killed, or
null; and ``finish``: end once there is nothing left to do. A pause stands right after a line
of the log and changes no order.

Each line of the log, ``pid pipeline event number detail``, is one system call at the end of
the file: what stands there has happened, whatever becomes of the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from syncsdk import engine
from syncsdk.pipeline import Pipeline
from syncsdk.planning import Tolerance
from syncsdk.protocols import (
    Applied,
    Batch,
    Change,
    Changes,
    Commit,
    Intent,
    Lease,
    Op,
    Outcome,
    Rejected,
    Result,
    RunReport,
    SinkCapabilities,
    SourceCapabilities,
)
from syncsdk.stores import SQLiteStore
from syncsdk.values import INSTANT, Key, Keyset

from . import LATENESS, TABLES, TICK

PAGE = 5
PAUSE = 10.0
"""Seconds that a pause lasts if nobody kills the process."""

LAG = timedelta(milliseconds=50)
"""How long a look-up waits; the test starts no worker before the dead one's requests ended."""


class Log:
    """Appends a line for each event, and pauses after the one that was asked for."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._numbers: Counter[tuple[str, str]] = Counter()
        self.pause: list[Any] | None = None

    def __call__(self, pipeline: str, event: str, detail: str = "") -> None:
        self._numbers[pipeline, event] += 1
        number = self._numbers[pipeline, event]
        line = f"{os.getpid()} {pipeline} {event} {number} {detail}\n"
        os.write(self._file, line.encode())
        if self.pause == [pipeline, event, number]:
            time.sleep(PAUSE)


class Records:
    """The source: one table's records, page by page."""

    def __init__(
        self, client: httpx.Client, log: Log, table: str, late: timedelta, *, ahead: bool
    ) -> None:
        self._client, self._log, self._table = client, log, table
        self._keyset = Keyset("ts", "id", lateness=late, granularity=TICK)
        self._reads = 0
        self._now = ""
        self.capabilities = SourceCapabilities(
            self._keyset, version=INSTANT("ts"), reads_ahead=ahead
        )

    def clock(self) -> datetime:
        return datetime.fromisoformat(self._now)

    def read(self, after: str | None) -> Iterator[Batch]:
        self._reads += 1
        self._now = self._get("clock", {})["now"]
        place = {} if after is None else self._place(after)
        while True:
            items = self._get("records", {**place, "limit": PAGE})["items"]
            if not items:
                return
            after = self._keyset.cursor(items[-1]["ts"], items[-1]["id"])
            place = self._place(after)
            self._log(self._table, "batch-read")
            yield Batch.of(items, key="id", version="ts", after=after)
            if len(items) < PAGE:
                return

    def _place(self, after: str) -> dict[str, str]:
        ts, id = self._keyset.split(after)
        return {"ts": ts} if id is None else {"ts": ts, "id": id}

    def _get(self, what: str, asked: dict[str, Any]) -> Any:
        response = self._client.get(f"/{self._table}/{what}", params={**asked, "read": self._reads})
        return response.raise_for_status().json()


class Rows:
    """The sink: one request for each change."""

    capabilities = SinkCapabilities(idempotency_key=True)

    def __init__(self, client: httpx.Client, log: Log, table: str) -> None:
        self._client, self._log, self._table = client, log, table

    def render(self, change: Change) -> bytes:
        return json.dumps(dict(change.record)).encode()

    def write(self, changes: Changes) -> Sequence[Outcome]:
        self._log(self._table, "write-begun", str(len(changes)))
        outcomes = [self._write(change) for change in changes]
        self._log(self._table, "write-answered")
        self._log(self._table, "write-returned")
        return outcomes

    def _write(self, change: Change) -> Outcome:
        body = self.render(change) if change.body is None else change.body
        headers = {"X-Version": change.version or ""}  # for the destination's log only
        method, path = "PUT", f"/{self._table}/rows/{change.dest_id}"
        if change.op is Op.CREATE:
            method, path = "POST", f"/{self._table}/rows"
            if change.idempotency_key is not None:
                headers["Idempotency-Key"] = change.idempotency_key
        response = self._client.request(method, path, content=body, headers=headers)
        if response.status_code == 422:
            return Rejected(change.change_id, "422")
        return Applied(change.change_id, str(response.raise_for_status().json()["id"]))


class FoundRows(Rows):
    """The sink whose destination knows no keys, but can be searched."""

    capabilities = SinkCapabilities(lookup_lag=LAG)

    def find(self, changes: Changes) -> Sequence[str | None]:
        return [self._find(key[0]) for key in changes.keys]

    def _find(self, ref: str) -> str | None:
        response = self._client.get(f"/{self._table}/rows", params={"ref": ref})
        found = response.raise_for_status().json()["found"]
        return str(found[0]) if found else None


class LoggedStore(SQLiteStore):
    """The production store, with a line before and after what it makes durable."""

    log: Log

    def put_intents(
        self, lease: Lease, intents: Sequence[Intent], doubted: Sequence[Key] = ()
    ) -> None:
        self.log(lease.pipeline, "note-begun")
        super().put_intents(lease, intents, doubted)
        self.log(lease.pipeline, "note-returned")

    def commit(self, lease: Lease, commit: Commit) -> None:
        self.log(commit.pipeline, "commit-begun")
        super().commit(lease, commit)
        self.log(commit.pipeline, "commit-returned")


def to_row(record: dict[str, Any]) -> dict[str, Any]:
    return {"ref": record["id"], "text": record["text"], "ok": record["ok"]}


def without_intents() -> None:
    """Take the notes away: no create is remembered before it is sent."""
    engine.needs_intent = lambda op, sink: False  # type: ignore[attr-defined]


def with_the_cursor_first() -> None:
    """Move the durable cursor past a batch before the batch is written."""
    whole = engine.Run._part

    async def part(self: engine.Run, batch: Batch, rows: Any) -> None:
        self._advance(batch)
        await self._flush()
        await whole(self, batch, rows)

    engine.Run._part = part  # type: ignore[method-assign]


MUTANTS = {
    "none": lambda: None,
    "without-intents": without_intents,
    "with-the-cursor-first": with_the_cursor_first,
}


def is_idle(report: RunReport) -> bool:
    counts = report.counts
    written = counts.created + counts.updated + counts.pending + counts.resumed
    return not written and not report.unsettled and not report.intents


def main(url: str, path: str, log_path: str, mutant: str) -> int:
    MUTANTS[mutant]()
    log = Log(log_path)

    def client() -> httpx.Client:
        headers = {"X-Pid": str(os.getpid())}
        return httpx.Client(
            base_url=url, headers=headers, timeout=30.0, trust_env=False, verify=False
        )

    sources = (
        Records(client(), log, "exact", timedelta(0), ahead=False),
        Records(client(), log, "late", LATENESS, ahead=True),
    )
    sinks = Rows(client(), log, "exact"), FoundRows(client(), log, "late")
    pipelines = [
        Pipeline(
            name,
            source=source,
            mapping=to_row,
            mapping_version="1",
            sink=sink,
            owner="the tests",
            tolerance=Tolerance(count=10_000),
        )
        for name, source, sink in zip(TABLES, sources, sinks, strict=True)
    ]
    parent = os.getppid()
    line = sys.stdin.readline()
    if not line:
        return 0
    told = json.loads(line)
    log.pause = told["pause"]
    pipelines.sort(key=lambda pipeline: pipeline.name != told["first"])
    store = LoggedStore(path)
    store.log = log
    while os.getppid() == parent:
        reports = []
        for pipeline in pipelines:
            report = pipeline.run(store)
            reports.append(report)
            log(pipeline.name, "run-ended", str(report.result))
            if report.result not in (Result.SUCCESS, Result.PARTIAL):
                # Skipped, too: the lease of a dead process is free at once.
                print(report, repr(report.error), file=sys.stderr)
                return 1
        if all(map(is_idle, reports)):
            if told["finish"]:
                break
            time.sleep(0.002)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
