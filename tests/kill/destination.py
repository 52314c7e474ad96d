"""The other two systems, in a process of their own: the API to read and the API to write.

Two tables, each with *records* to read by ``(ts, id)`` and *rows* that are written:

* ``exact``: a record shows at the very tick of its timestamp, so a keyset is exact. A create
  is recognised by its Idempotency-Key.
* ``late``: a record may show up to ``LATENESS`` after its timestamp. A create makes a
  new row every time; a row is found by its ``ref``.

The clock is the source's own and moves with its edits. Nothing is stored, everything is
written down: each read, look-up and write with a number that grows and the process that
asked. ``tests/test_kill.py`` steers it by ``/edit``, ``/hold``, ``/release``, ``/open`` and
``/all``, and ends it by closing its stdin.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from . import LATENESS, TABLES, TICK, text_of

PATIENCE = 20.0
"""Seconds after which a held request goes on by itself."""

TEXTS = ("Zoë", "  padded ", "O'Brien; --", "שלום", "👩‍👩‍👧", "e\u0301", "", "null", "x" * 300)


@define
class Table:
    """Records on the source's side, rows on the destination's."""

    records: dict[str, dict[str, Any]] = field(factory=dict)
    before: dict[str, str] = field(factory=dict)
    """The text that a record had before its last change."""
    recent: deque[str] = field(factory=lambda: deque(maxlen=24))
    order: list[tuple[str, str]] = field(factory=list)
    rows: dict[int, dict[str, Any]] = field(factory=dict)
    keys: dict[str, int] = field(factory=dict)

    def put(self, record: dict[str, Any]) -> None:
        old = self.records.get(record["id"])
        if old is not None:
            del self.order[bisect_left(self.order, (old["ts"], old["id"]))]
            self.before[record["id"]] = old["text"]
        self.recent.append(record["id"])
        self.records[record["id"]] = record
        insort(self.order, (record["ts"], record["id"]))

    def page(self, ts: str, after: str | None, limit: int) -> list[dict[str, Any]]:
        """Return what sorts after ``(ts, after)``; from the first of ``ts`` on if None."""
        if after is None:
            start = bisect_left(self.order, (ts, ""))
        else:
            start = bisect_right(self.order, (ts, after))
        return [self.records[id] for _, id in self.order[start : start + limit]]


@define
class Hold:
    """Where a write request is to be stopped, until the test lets it go."""

    left: int = 0
    side: str = ""
    reached: threading.Event = field(factory=threading.Event)
    released: threading.Event = field(factory=threading.Event)


class World:
    """Both systems' memory; every method is one step."""

    def __init__(self, seed: int) -> None:
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.now = datetime(2024, 3, 10, tzinfo=UTC)
        self.tables = {name: Table() for name in TABLES}
        self.log: list[dict[str, Any]] = []
        self.hold = Hold()
        self._changes = 0

    def note(self, **event: Any) -> None:
        self.log.append({"n": len(self.log), **event})

    def clock(self, pid: int, name: str, read: int) -> str:
        with self.lock:
            now = text_of(self.now)
            self.note(kind="clock", pid=pid, table=name, read=read, now=now)
            return now

    def edit(self, creates: int, changes: int) -> None:
        """Make new records and change old ones in both tables, a few to a tick.

        Half of the changes are to records that changed a moment ago, whose last change may
        be under way.
        """
        with self.lock:
            for name, table in self.tables.items():
                fresh = [f"{name}-{len(table.records) + at:04}" for at in range(creates)]
                old = [*self._some(table.recent, changes // 2), *self._some(table.records, changes)]
                ids = fresh + list(dict.fromkeys(old))[:changes]
                self.random.shuffle(ids)
                while ids:
                    self.now += TICK
                    for _ in range(min(len(ids), self.random.randint(1, 5))):
                        self._put(name, table, ids.pop())

    def _some(self, ids: Iterable[str], number: int) -> list[str]:
        known = list(dict.fromkeys(ids))
        return self.random.sample(known, min(number, len(known)))

    def _put(self, name: str, table: Table, id: str) -> None:
        self._changes += 1
        ts = text_of(self.now)
        if name == "late":
            early = text_of(self.now - self.random.randrange(LATENESS // TICK) * TICK)
            old = table.records.get(id)
            if old is None or old["ts"] < early:
                ts = early
        text = f"{self.random.choice(TEXTS)} {self._changes}"
        if id in table.before and self.random.random() < 0.4:
            text = table.before[id]  # what the destination held, or still holds
        table.put({"id": id, "ts": ts, "text": text, "ok": self.random.random() > 0.03})

    def read(
        self, pid: int, name: str, read: int, ts: str, after: str | None, limit: int
    ) -> list[dict[str, Any]]:
        with self.lock:
            page = self.tables[name].page(ts, after, limit)
            items = [(record["ts"], record["id"]) for record in page]
            self.note(kind="read", pid=pid, table=name, read=read, items=items)
            return page

    def find(self, pid: int, name: str, ref: str) -> list[int]:
        with self.lock:
            found = [id for id, row in self.tables[name].rows.items() if row["ref"] == ref]
            self.note(kind="find", pid=pid, table=name, ref=ref, found=found)
            return found

    def write(
        self,
        pid: int,
        name: str,
        id: int | None,
        key: str | None,
        version: str | None,
        row: dict[str, Any],
    ) -> tuple[int, Any]:
        """Create or update a row; return a status and what to answer."""
        with self.lock:
            table = self.tables[name]
            known = None if key is None else table.keys.get(key)
            status = 200
            if not row["ok"]:
                status, what = 422, "refused"
            elif id is not None:
                what = "updated"
                if id not in table.rows:
                    return 404, {}
                table.rows[id] = row
            elif known is not None:
                what, id = "recognised", known
            else:
                status, what, id = 201, "created", 1000 + len(table.rows)
                table.rows[id] = row
                if key is not None:
                    table.keys[key] = id
            self.note(
                kind="write", pid=pid, table=name, what=what, ref=row["ref"], ts=version, row=id
            )
            return status, {"id": id}

    def everything(self) -> dict[str, Any]:
        with self.lock:
            tables = {
                name: {"records": table.records, "rows": list(table.rows.values())}
                for name, table in self.tables.items()
            }
            return {"log": self.log, "tables": tables}

    def stop_here(self, side: str) -> None:
        """Wait in the middle of a write request, if it is the one that is to be held."""
        with self.lock:
            hold = self.hold
            if hold.side != side or hold.left < 1:
                return
            hold.left -= 1
            if hold.left:
                return
        hold.reached.set()
        hold.released.wait(PATIENCE)


class Server(ThreadingHTTPServer):
    """Knows which of its connections are open, and which of them are the test's."""

    daemon_threads = True

    def __init__(self, world: World) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = world
        self.connections: set[Any] = set()
        self.tests: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)  # before its thread starts: accepted is open
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.tests.discard(request)
        self.connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # whom we answered is dead
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Routes; a request without X-Pid is the test's own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    do_POST = do_PUT = do_GET

    def _route(self) -> None:
        world = self.server.world
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        if len(text) < length:  # its sender died between the head and the end of the body
            self.close_connection = True
            return
        body = json.loads(text) if length else {}
        pid = int(self.headers.get("X-Pid") or 0)
        if not pid:
            self.server.tests.add(self.connection)
        status = 200
        answer: dict[str, Any] = {}
        match (self.command, *url.path.strip("/").split("/")):
            case "GET", name, "clock":
                answer = {"now": world.clock(pid, name, int(asked["read"]))}
            case "GET", name, "records":
                answer["items"] = world.read(
                    pid,
                    name,
                    int(asked["read"]),
                    asked.get("ts", ""),
                    asked.get("id"),
                    int(asked["limit"]),
                )
            case "GET", name, "rows":
                answer["found"] = world.find(pid, name, asked["ref"])
            case (("POST" | "PUT"), name, "rows", *ids):
                pause = 0.0004 * (1 + world.random.random())
                world.stop_here("before")
                time.sleep(pause)
                status, answer = world.write(
                    pid,
                    name,
                    int(ids[0]) if ids else None,
                    self.headers["Idempotency-Key"],
                    self.headers["X-Version"],
                    body,
                )
                time.sleep(pause)
                world.stop_here("after")
            case "POST", "edit":
                world.edit(body["creates"], body["changes"])
            case "POST", "hold":
                world.hold = Hold(body["nth"], body["side"])
            case "GET", "held":
                answer["held"] = world.hold.reached.wait(0.02)
            case "POST", "release":
                world.hold.released.set()
            case "GET", "open":
                answer["open"] = len(self.server.connections) - len(self.server.tests)
            case "GET", "all":
                answer = world.everything()
            case _:
                status = 404
        told = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)


def main() -> None:
    server = Server(World(int(sys.argv[1])))
    assert server.socket.family is socket.AF_INET
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()  # whoever started this has gone
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
