"""A process that syncs over HTTP is killed with -9, sixty times, and nothing is lost or doubled.

Four kinds of process: this one, which edits the source and kills; the destination (and
source) of ``tests/kill/destination.py``; the worker of ``tests/kill/worker.py``, which dies;
and the next worker, already started up and waiting. They keep in step by the worker's log,
never by time.

SIGKILL takes a process, not the machine: what the system has taken in survives. That a
commit outlives a power cut is not shown here.

Before the next worker starts, the dead one's last request has ended: no client can call it
back, and a destination that applies it later still, over a newer update, would need a
conditional write.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from syncsdk.stores import SQLiteStore

from .kill import LATENESS, TABLES, text_of

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="this system has no kill that cannot be caught"
)

ROOT = Path(__file__).parents[1]
DEADLINE = 30.0
"""Seconds within which anything that is waited for comes, or the test fails."""

SEED = 20240310

DECK = (
    *["batch-read"] * 1,
    *["note-begun"] * 2,  # all is read and planned, and nothing noted
    *["note-returned"] * 1,
    *["write-begun"] * 1,
    *["held-after"] * 2,  # the destination has applied a write, and not yet answered it
    *["held-before"] * 1,  # it has the request, and applies it when the worker is dead
    *["write-returned"] * 3,
    *["commit-begun"] * 1,
)
"""Where the kills come, shuffled anew for each dozen."""

# -- What the processes wrote down -----------------------------------------------------


@define
class Line:
    """One event of a worker's log."""

    pid: int
    pipeline: str
    event: str
    number: int


def where(lines: list[Line]) -> str:
    """Return what a process was doing when it was killed, as far as its log proves it.

    ``read``: a batch was read, and nothing done about it yet. ``noting``: its notes were begun
    or made, and its write not begun. ``writing``: the write had begun and not returned.
    ``between``: the write had returned, and the commit not begun. ``committing``: whether the
    commit took effect, the log does not tell. ``idle``: none of these.
    """
    # The source may be read by a thread that runs ahead; all else is one thread, in order.
    steps = [line for line in lines if line.event != "batch-read"]
    last = steps[-1].event if steps else ""
    doing = {
        "write-begun": "writing",
        "write-answered": "writing",
        "write-returned": "between",
        "commit-begun": "committing",
        "note-begun": "noting",
        "note-returned": "noting",
    }
    if last in doing:
        return doing[last]
    return "read" if lines and lines[-1].event == "batch-read" else "idle"


IN_FLIGHT = ("read", "noting", "writing", "between")


@define
class Page:
    """A batch as the destination's log shows it: what one request read."""

    pid: int
    table: str
    items: list[tuple[str, str]]
    cap: str | None
    """Places from here on are read by every run: they may still be joined by late records."""
    wrote: bool = False


def pages_of(log: list[dict[str, Any]]) -> list[Page]:
    """Return all batches in the order in which they were read.

    A batch wrote something if its process had one of its records, in its very version,
    written after it read it.
    """
    pages: list[Page] = []
    caps: dict[tuple[int, str, int], str] = {}
    read: dict[tuple[int, str, str, str], Page] = {}
    for event in log:
        pid, table = event["pid"], event["table"]
        if event["kind"] == "clock" and table == "late":
            clock = datetime.fromisoformat(event["now"])
            caps[pid, table, event["read"]] = text_of(clock - LATENESS)
        elif event["kind"] == "read":
            items = [(ts, id) for ts, id in event["items"]]
            page = Page(pid, table, items, caps.get((pid, table, event["read"])))
            pages.append(page)
            read |= {(pid, table, ts, id): page for ts, id in items}
        elif event["kind"] == "write" and event["what"] != "refused":
            if source := read.get((pid, table, event["ts"], event["ref"])):
                source.wrote = True
    return pages


def repeats(pages: list[Page], pid: int) -> tuple[int, int]:
    """Return how many batches of a killed process any later process read again.

    First those that wrote something, then all. A batch is read again if any of its records
    is, in the same version, but for those that its run's clock let no cursor pass.
    """
    mine = [page for page in pages if page.pid == pid]
    if not mine:
        return 0, 0
    end = max(at for at, page in enumerate(pages) if page.pid == pid)
    later = {(page.table, *item) for page in pages[end + 1 :] for item in page.items}
    again = [
        page
        for page in mine
        if any(
            (page.table, ts, id) in later
            for ts, id in page.items
            if page.cap is None or ts < page.cap
        )
    ]
    return sum(page.wrote for page in again), len(again)


@define
class Tally:
    """What a series of kills came to."""

    kills: list[str] = field(factory=list)
    """What each killed process was doing; see :func:`where`."""
    lost: list[str] = field(factory=list)
    doubled: list[str] = field(factory=list)
    misfiled: list[str] = field(factory=list)
    """Dead letters that are open though their record was mended since."""
    repeated: list[int] = field(factory=list)
    """For each kill, the batches that wrote something and were read again."""
    reread: list[int] = field(factory=list)
    """For each kill, all batches that were read again."""
    integrity: list[str] = field(factory=list)
    events: Counter[str] = field(factory=Counter)
    """The destination's: rows created, creates recognised by key, found by a look-up."""
    records: int = 0
    seconds: float = 0.0

    @property
    def in_flight(self) -> int:
        return sum(doing in IN_FLIGHT for doing in self.kills)

    @property
    def between(self) -> int:
        return self.kills.count("between")

    def __str__(self) -> str:
        doing = ", ".join(f"{number} {name}" for name, number in Counter(self.kills).most_common())
        return (
            f"{len(self.kills)} kills, {self.in_flight} in flight, {self.between} between write "
            f"and commit ({doing}); {self.records} records, {len(self.doubled)} doubled, "
            f"{len(self.lost)} lost; at most {max(self.repeated)} batches that wrote something "
            f"read again after a kill ({max(self.reread)} of any kind); "
            f"{self.events['recognised']} creates recognised, {self.events['found']} found; "
            f"{self.seconds:.0f} s"
        )


def accounts(tally: Tally, everything: dict[str, Any], store: SQLiteStore) -> None:
    """Compare the source with the destination and, for what that refuses, the dead letters."""
    for name, table in everything["tables"].items():
        held: dict[str, list[str]] = {}
        for row in table["rows"]:
            held.setdefault(row["ref"], []).append(row["text"])
        letters = store.letters(name, limit=10_000)
        waiting = Counter((letter.key[0], letter.version) for letter in letters)
        for id, record in table["records"].items():
            tally.records += 1
            texts = held.pop(id, [])
            if len(texts) > 1:
                tally.doubled.append(id)
            if record["ok"]:
                is_kept = record["text"] in texts
            else:
                is_kept = waiting.pop((id, record["ts"]), 0) == 1
            if not is_kept:
                tally.lost.append(id)
        assert not held, "the destination holds what the source never had"
        tally.misfiled += [id for id, _ in waiting]


# -- The processes ---------------------------------------------------------------------


def reap(process: subprocess.Popen[str]) -> None:
    """Make sure that a process of ours is gone."""
    if process.poll() is None:
        process.kill()
    process.wait(DEADLINE)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):  # what it was told, and died too early to read
                stream.close()


class Killer:
    """Edits the source, lets a worker run up to a point, kills it, and looks at what is left."""

    def __init__(self, directory: Path, mutant: str) -> None:
        self.random = random.Random(SEED)
        self.tally = Tally()
        self._started = time.monotonic()
        self._directory = directory
        self._store = directory / "sync.db"
        self._mutant = mutant
        self._log = directory / "log"
        self._log.touch()
        self._lines: list[Line] = []
        self._offset = 0
        self._pids: list[int] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._connection: http.client.HTTPConnection | None = None

    # Processes.

    def open(self) -> None:
        destination = self._start("destination", str(SEED), output=subprocess.PIPE)
        assert destination.stdout is not None
        self._port = int(destination.stdout.readline())
        self._connection = self._connected()
        self._next = self._spawned()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        for process in self._processes:
            reap(process)

    def _start(
        self, module: str, *arguments: str, output: int | None = None
    ) -> subprocess.Popen[str]:
        # Compiling what a worker imports takes longer than its whole life: keep the bytecode.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(self._directory.parent / "cache")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.kill.{module}", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            text=True,
        )
        self._processes.append(process)
        return process

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)

    def _spawned(self) -> subprocess.Popen[str]:
        url = f"http://127.0.0.1:{self._port}"
        return self._start("worker", url, str(self._store), str(self._log), self._mutant)

    def _go(
        self, first: str, pause: list[Any] | None, *, finish: bool = False
    ) -> subprocess.Popen[str]:
        worker = self._next
        assert worker.stdin is not None
        told = {"first": first, "pause": pause, "finish": finish}
        with suppress(BrokenPipeError):  # whoever waits for it will find it dead
            worker.stdin.write(json.dumps(told) + "\n")
            worker.stdin.flush()
        return worker

    def _ask(
        self,
        method: str,
        path: str,
        connection: http.client.HTTPConnection | None = None,
        **body: Any,
    ) -> Any:
        connection = connection or self._connection
        assert connection is not None
        connection.request(method, path, json.dumps(body))
        return json.loads(connection.getresponse().read())

    # One kill.

    def kill(self, point: str) -> None:
        """Let the next worker run until ``point``, and kill it there."""
        table = self.random.choice(TABLES) if point != "batch-read" else "exact"
        number, request = self.random.choice((1, 2, 2, 3, 6)), self.random.randint(1, 20)
        jitter = self.random.random()
        held = point.startswith("held-")
        if point.startswith("note-") and self._mutant == "without-intents":
            point, jitter = "write-begun", 0.0  # the next thing, and it will come
        pause: list[Any] | None = [table, point, number]
        if point == "write-begun":
            pause = [table, "write-answered", number]
        elif point == "commit-begun" or held:
            pause = None
        self._ask("POST", "/edit", creates=3, changes=4)
        if held:
            self._ask("POST", "/hold", nth=request, side=point.removeprefix("held-"))
        worker = self._go(table, pause)
        self._next = self._spawned()  # starts up meanwhile
        self._ask("POST", "/edit", creates=2, changes=2)
        line = Line(worker.pid, table, point, number)
        if held:
            self._until(lambda _: self._ask("GET", "/held")["held"], worker, table)
        else:
            self._until(lambda fresh: line in fresh, worker, table)
        if point == "write-begun":
            time.sleep(jitter * 0.008)  # some of its requests are through
        elif point == "commit-begun":
            time.sleep(jitter * 0.002)
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.wait(DEADLINE) == -signal.SIGKILL
        self._pids.append(worker.pid)
        self._ask("POST", "/release")
        self._drain()
        self.tally.integrity.append(self._integrity())

    def _until(
        self,
        is_reached: Callable[[list[Line]], bool],
        worker: subprocess.Popen[str],
        table: str,
    ) -> None:
        """Wait for it, and give the worker more to do whenever ``table`` has nothing left.

        Only that table: a record of ``late`` that is refused is sent again by every run, for
        as long as it may be joined by late ones.
        """
        deadline = time.monotonic() + DEADLINE
        runs = 0
        while not is_reached(fresh := self._news()):
            assert worker.poll() is None, "the worker ended by itself; its reason is in stderr"
            assert time.monotonic() < deadline, "the worker did not get to where it is killed"
            for line in fresh:
                if line.pipeline == table:
                    runs = 0 if line.event == "write-begun" else runs + (line.event == "run-ended")
            if runs >= 2:
                runs = 0
                self._ask("POST", "/edit", creates=3, changes=3)
            time.sleep(0.001)

    def _news(self) -> list[Line]:
        """Return the lines that were written since the last call; the last may not be whole."""
        with self._log.open("rb") as log:
            log.seek(self._offset)
            whole = log.read().rpartition(b"\n")[0]
        self._offset += len(whole) + bool(whole)
        fresh = []
        for text in whole.decode().splitlines():
            pid, pipeline, event, number, *_ = text.split(" ")
            fresh.append(Line(int(pid), pipeline, event, int(number)))
        self._lines += fresh
        return fresh

    def _drain(self) -> None:
        """Wait until the destination is through with all that the dead process sent.

        On a new connection, which is accepted after all earlier ones.
        """
        deadline = time.monotonic() + DEADLINE
        while True:
            with closing(self._connected()) as connection:
                if not self._ask("GET", "/open", connection)["open"]:
                    return
            assert time.monotonic() < deadline, "a dead worker's connection stays open"
            time.sleep(0.001)

    def _integrity(self) -> str:
        """Check a copy: the next worker finds the files as the dead one left them."""
        copy = self._directory / "copy.db"
        for suffix in ("", "-wal"):
            if Path(f"{self._store}{suffix}").exists():
                shutil.copyfile(f"{self._store}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        for path in self._directory.glob("copy.db*"):
            path.unlink()
        return str(answer)

    # The end.

    def finish(self) -> Tally:
        """Let a last worker do what is left, and compare."""
        worker = self._go(TABLES[0], None, finish=True)
        assert worker.wait(DEADLINE) == 0, "the last worker failed; its reason is in stderr"
        self._news()
        tally = self.tally
        everything = self._ask("GET", "/all")
        for pid in self._pids:
            tally.kills.append(where([line for line in self._lines if line.pid == pid]))
        pages = pages_of(everything["log"])
        for pid in self._pids:
            wrote, every = repeats(pages, pid)
            tally.repeated.append(wrote)
            tally.reread.append(every)
        for event in everything["log"]:
            tally.events[event.get("what", event["kind"])] += 1
            tally.events["found"] += bool(event.get("found"))
        tally.integrity.append(self._integrity())
        with closing(SQLiteStore(self._store)) as store:
            accounts(tally, everything, store)
        tally.seconds = time.monotonic() - self._started
        return tally


@contextmanager
def killer(directory: Path, mutant: str) -> Iterator[Killer]:
    made = Killer(directory, mutant)
    try:
        made.open()
        yield made
    finally:
        made.close()


def series(directory: Path, kills: int, mutant: str = "none") -> Tally:
    """Kill so many times, always at the same points, and return what it came to."""
    with killer(directory, mutant) as made:
        deck: list[str] = []
        for _ in range(kills):
            if not deck:
                deck = list(DECK)
                made.random.shuffle(deck)
            made.kill(deck.pop())
        return made.finish()


# -- The tests -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    return series(tmp_path_factory.mktemp("kill"), 60)


def test_sixty_kills_lose_nothing_and_double_nothing(
    sixty: Tally, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nkill -9: {sixty}")

    assert len(sixty.kills) == 60
    assert sixty.records >= 600
    assert sixty.events["refused"] >= 5  # and each is an open dead letter, or mended since
    assert sixty.lost == []
    assert sixty.doubled == []
    assert sixty.misfiled == []


def test_the_log_proves_that_the_kills_came_with_a_batch_in_flight(sixty: Tally) -> None:
    assert sixty.in_flight >= 50


def test_the_log_proves_that_kills_came_between_the_write_and_the_commit(sixty: Tally) -> None:
    assert sixty.between >= 10


def test_at_most_two_batches_that_wrote_something_are_read_again_after_a_kill(
    sixty: Tally,
) -> None:
    assert max(sixty.repeated) <= 2
    assert sum(map(bool, sixty.repeated)) >= 10  # or nothing was there to be read again


def test_the_state_file_is_whole_after_every_kill(sixty: Tally) -> None:
    assert sixty.integrity == ["ok"] * 61


def test_creates_in_doubt_were_recognised_by_their_key_or_found_by_a_look_up(
    sixty: Tally,
) -> None:
    assert sixty.events["recognised"] >= 5
    assert sixty.events["found"] >= 5


def test_the_same_kills_double_records_when_no_intent_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = series(tmp_path, 24, "without-intents")
    with capsys.disabled():
        print(f"\nkill -9 without intents: {tally}")

    assert tally.doubled
    assert not tally.lost


def test_the_same_kills_lose_records_when_the_cursor_is_committed_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = series(tmp_path, 36, "with-the-cursor-first")
    with capsys.disabled():
        print(f"\nkill -9 with the cursor first: {tally}")

    assert tally.lost
    assert not tally.doubled
