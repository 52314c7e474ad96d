"""Where a pipeline's memory is kept: in this process, or in a SQLite file.

Decides how a batch is settled in one step, who may run a pipeline, and what happens when a
file, a disk or a process fails. Leaves the contract to ``protocols.StateStore``, the text
forms of keys and records to ``values``, and when to commit, renew or resume to ``engine``.

Read :class:`MemoryStore`, which is the contract in its shortest form, the schema,
:class:`SQLiteStore`, and last what surrounds its file: locks, forks and refusals.
"""

# ruff: noqa: S608 -- statements are put together from names of columns; values are bound

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, evolve, field, fields

from .errors import CheckpointError, ConfigurationError, ContractError, FatalError, FencedError
from .protocols import (
    Cell,
    Checkpoint,
    Commit,
    Entry,
    EntryState,
    Intent,
    Known,
    Lease,
    Letter,
    LetterStatus,
    Op,
    OpenLetter,
    Stage,
    Standing,
)
from .values import Key, key_text, pack, parse_key_text, unpack

if TYPE_CHECKING:
    from sqlite3 import Connection, Error

_T = TypeVar("_T")

__all__ = ["MemoryStore", "SQLiteStore", "begin", "network_mount", "utc_now"]

RETENTION: Final = timedelta(days=30)
"""How long a closed dead letter keeps the record that it quotes."""

KEPT_RUNS: Final = 1000
"""How many reports are kept of a pipeline: of its newest runs."""

_RUNNING: Final = '{"result": "running"}'
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the system's time as an aware instant; the default clock of both stores."""
    return datetime.now(UTC)


# -- What both stores decide alike -----------------------------------------------------


@define
class _Held:
    """Who has the right to run, as stored; the default is that of a pipeline that never ran."""

    token: int = 0
    run_id: str = ""
    expires: datetime = _NEVER
    ttl: timedelta = timedelta(0)
    released: bool = True
    crashed: int = 0
    locked: bool = False

    def bars(self, run_id: str, now: datetime) -> bool:
        """Whether another run has the right, as far as the clock can tell."""
        return not self.released and self.run_id != run_id and self.expires > now

    def standing(self, now: datetime) -> Standing:
        if self.released:
            return Standing.IDLE
        return Standing.RUNNING if self.expires > now else Standing.CRASHED

    def matches(self, lease: Lease) -> bool:
        return (self.token, self.run_id) == (lease.token, lease.run_id)

    def successor(self, run_id: str, now: datetime, ttl: timedelta, *, locked: bool) -> _Held:
        crashed = 0 if self.released else self.crashed + 1
        return _Held(self.token + 1, run_id, now + ttl, ttl, False, crashed, locked)

    def admit(self, lease: Lease, pipeline: str) -> None:
        """Raise FencedError unless ``lease`` is the one that is held."""
        if lease.pipeline != pipeline or not self.matches(lease) or self.released:
            raise FencedError(
                f"run {lease.run_id} of {lease.pipeline} has lost the right to run: its token is "
                f"{lease.token}, and the last one given out for {pipeline} is {self.token}",
                remedy="Nothing was written. Let the other run go on; if this happens often, "
                "batches take longer than the lease lives: make them smaller or the lease longer",
            )


def _check_seq(stored: int, commit: Commit) -> None:
    if stored != commit.checkpoint.seq - 1:
        raise CheckpointError(
            f"{commit.pipeline} stands at commit {stored}, so commit {commit.checkpoint.seq} "
            "does not follow it: the state was restored, or written by somebody else",
            remedy="Nothing was written. Start a new run: it goes on from what is stored",
        )


def _as_crashed(report: str) -> str:
    return json.dumps({**json.loads(report), "result": "crashed"})


def _closed(what: str) -> CheckpointError:
    return CheckpointError(
        f"the {what} is closed", remedy="Make a new one, or close it after the last run"
    )


# -- Memory ----------------------------------------------------------------------------


@define(eq=False)
class _Memory:
    """All that is kept of one pipeline."""

    checkpoint: Checkpoint = field(factory=Checkpoint)
    held: _Held = field(factory=_Held)
    entries: dict[Key, Entry] = field(factory=dict)
    intents: dict[Key, Intent] = field(factory=dict)
    letters: dict[int, Letter] = field(factory=dict)
    open: dict[Key, dict[int, OpenLetter]] = field(factory=dict)
    closed: dict[int, datetime] = field(factory=dict)
    runs: dict[str, str] = field(factory=dict)
    unfinished: set[str] = field(factory=set)

    def close_letter(self, id: int, status: LetterStatus, now: datetime) -> None:
        letter = self.letters.get(id)
        if letter is None or letter.status is not LetterStatus.OPEN:
            return
        self.letters[id] = evolve(letter, status=status)
        self.closed[id] = now
        del self.open[letter.key][id]
        if not self.open[letter.key]:
            del self.open[letter.key]

    def blank(self, before: datetime) -> None:
        for id in [id for id, at in self.closed.items() if at < before]:
            del self.closed[id]
            self.letters[id] = evolve(self.letters[id], original=None, mapped=None, detail=None)


def _own(intent: Intent) -> Intent:
    """Return it with sequences that its maker cannot change any more."""
    if type(intent.row) is not tuple or type(intent.fields) is not tuple:
        intent = evolve(intent, fields=tuple(intent.fields), row=tuple(intent.row))
    return intent if intent.next is None else evolve(intent, next=_own(intent.next))


class MemoryStore:
    """A state store that forgets all when the process ends: for tests and simulations.

    It may be shared by threads. A lease is free when it was released or its time ran out;
    a holder in the same process is never provably dead.

    Args:
        clock: returns the present as an aware instant.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pipelines: dict[str, _Memory] = {}
        self._cells: dict[str, Cell] = {}
        self._letter_id = 0
        self._is_closed = False

    def _of(self, pipeline: str) -> _Memory:
        """Return what is kept of a pipeline; something empty if it never ran."""
        if self._is_closed:
            raise _closed("memory store")
        return self._pipelines.get(pipeline) or _Memory()

    def load(self, pipeline: str) -> Checkpoint:
        """Return where the pipeline stands; an empty checkpoint if it never committed."""
        with self._lock:
            return self._of(pipeline).checkpoint

    def look_up(
        self, pipeline: str, keys: Sequence[Key], raws: Sequence[bytes | None] = ()
    ) -> Known:
        """Return what is known of these keys."""
        with self._lock:
            kept = self._of(pipeline)
            entries, intents, letters = kept.entries, kept.intents, kept.open
            known = Known(
                {key: entries[key] for key in keys if key in entries},
                {key: intents[key] for key in keys if key in intents} if intents else {},
                {k: list(letters[k].values()) for k in keys if k in letters} if letters else {},
            )
            for key, raw in zip(keys, raws, strict=False):
                if raw is not None and key in entries and entries[key].raw == raw:
                    if key not in intents and key not in letters:
                        known.same.add(key)
                        del known.entries[key]
            return known

    def put_intents(
        self, lease: Lease, intents: Sequence[Intent], doubted: Sequence[Key] = ()
    ) -> None:
        """Write intents, replacing those of the same keys, and doubt what is known of others."""
        owned = {intent.key: _own(intent) for intent in intents}
        with self._lock:
            kept = self._of(lease.pipeline)
            kept.held.admit(lease, lease.pipeline)
            kept.intents.update(owned)
            for key in doubted:
                if key in kept.entries:
                    kept.entries[key] = kept.entries[key]._replace(
                        fingerprint=None, raw=None, state=EntryState.LIVE
                    )

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Settle a batch: all of it or nothing."""
        intents = {intent.key: _own(intent) for intent in commit.intents}
        now = self._clock()
        with self._lock:
            kept = self._of(commit.pipeline)
            kept.held.admit(lease, commit.pipeline)
            _check_seq(kept.checkpoint.seq, commit)
            kept.checkpoint = commit.checkpoint
            kept.entries.update(commit.entries)
            for letter in commit.letters:
                self._add_letter(kept, letter, now)
            for id, status in commit.closed.items():
                kept.close_letter(id, status, now)
            for key in commit.resolved:
                kept.intents.pop(key, None)
            kept.intents.update(intents)
            kept.runs[lease.run_id] = commit.report
            kept.held.expires = now + kept.held.ttl
            kept.held.crashed = 0

    def _add_letter(self, kept: _Memory, letter: Letter, now: datetime) -> None:
        self._letter_id = id = self._letter_id + 1
        kept.letters[id] = evolve(letter, id=id)
        if letter.status is LetterStatus.OPEN:
            kept.open.setdefault(letter.key, {})[id] = OpenLetter(id, letter.digest, letter.version)
        else:
            kept.closed[id] = now

    def intents(self, pipeline: str, limit: int) -> Sequence[Intent]:
        """Return the oldest open intents, at most ``limit``."""
        with self._lock:
            intents = self._of(pipeline).intents
            return sorted(intents.values(), key=lambda intent: intent.born)[:limit]

    def letters(
        self,
        pipeline: str,
        *,
        status: LetterStatus | None = LetterStatus.OPEN,
        after: int = 0,
        limit: int = 500,
    ) -> Sequence[Letter]:
        """Return dead letters with an id above ``after``, in the order of their ids."""
        with self._lock:
            return [
                letter
                for id, letter in self._of(pipeline).letters.items()
                if id > after and (status is None or letter.status is status)
            ][:limit]

    def totals(self, pipeline: str) -> tuple[int, int]:
        """Return the numbers of open dead letters and of open intents."""
        with self._lock:
            kept = self._of(pipeline)
            return sum(map(len, kept.open.values())), len(kept.intents)

    def runs(self, pipeline: str, limit: int = 20) -> Sequence[str]:
        """Return the newest runs' reports as JSON, newest first."""
        with self._lock:
            return list(reversed(self._of(pipeline).runs.values()))[:limit]

    def pipelines(self) -> Sequence[str]:
        """Return the names of all pipelines that ever ran here, sorted."""
        with self._lock:
            self._of("")
            return sorted(self._pipelines)

    def acquire(self, pipeline: str, run_id: str, ttl: timedelta) -> Lease | None:
        """Take the right to run, or return None if another run has it."""
        now = self._clock()
        with self._lock:
            kept = self._of(pipeline)
            if kept.held.bars(run_id, now):
                return None
            kept.held = held = kept.held.successor(run_id, now, ttl, locked=False)
            for run in kept.unfinished:
                kept.runs[run] = _as_crashed(kept.runs[run])
            kept.unfinished = {run_id}
            kept.runs.pop(run_id, None)
            kept.runs[run_id] = _RUNNING
            for run in list(kept.runs)[:-KEPT_RUNS]:
                del kept.runs[run]
            self._pipelines[pipeline] = kept
            return Lease(pipeline, run_id, held.token, held.crashed)

    def standing(self, pipeline: str) -> Standing:
        """Return whether a run is under way; changes nothing."""
        with self._lock:
            return self._of(pipeline).held.standing(self._clock())

    def renew(self, lease: Lease, ttl: timedelta) -> None:
        """Keep the right to run for another ``ttl``."""
        now = self._clock()
        with self._lock:
            held = self._of(lease.pipeline).held
            held.admit(lease, lease.pipeline)
            held.ttl, held.expires = ttl, now + ttl

    def release(self, lease: Lease, report: str) -> None:
        """Let go of the right to run, and keep the run's final report."""
        now = self._clock()
        with self._lock:
            kept = self._of(lease.pipeline)
            if kept.held.matches(lease):
                kept.held.released = True
            if lease.run_id in kept.runs:
                kept.runs[lease.run_id] = report
                kept.unfinished.discard(lease.run_id)
            kept.blank(now - RETENTION)

    def cell(self, name: str) -> Cell | None:
        """Return a cell, or None if it was never written."""
        with self._lock:
            self._of("")
            return self._cells.get(name)

    def swap(self, name: str, value: bytes, version: int) -> bool:
        """Write a cell if its version still is ``version`` (0: it was never written)."""
        with self._lock:
            self._of("")
            cell = self._cells.get(name)
            if version != (0 if cell is None else cell.version):
                return False
            self._cells[name] = Cell(bytes(value), version + 1)
            return True

    def forget(self, pipeline: str, key: Key) -> None:
        """Remove every trace of a key: crosswalk, dead letters, intents."""
        with self._lock:
            kept = self._of(pipeline)
            kept.entries.pop(key, None)
            kept.intents.pop(key, None)
            kept.open.pop(key, None)
            for id in [id for id, letter in kept.letters.items() if letter.key == key]:
                del kept.letters[id]
                kept.closed.pop(id, None)

    def close(self) -> None:
        """Refuse all further use."""
        self._is_closed = True


# -- SQLite: schema and rows -----------------------------------------------------------

APPLICATION_ID: Final = int.from_bytes(b"SYNC", "big")
"""Stands in the header of every state file, so that no other database is taken for one."""

MIGRATIONS: Final = (
    """
    CREATE TABLE pipelines (  -- with the lease: no row is ever deleted, so tokens only grow
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        token INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        expires TEXT NOT NULL,
        ttl INTEGER NOT NULL,  -- microseconds
        released INTEGER NOT NULL,
        crashed INTEGER NOT NULL,
        locked INTEGER NOT NULL  -- the holder has the lock file too
    );
    CREATE TABLE checkpoints (
        pipeline INTEGER PRIMARY KEY REFERENCES pipelines,
        seq INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        token INTEGER NOT NULL,
        cursor TEXT,
        hint TEXT,
        hint_after TEXT,
        hint_clock TEXT,
        mapping TEXT NOT NULL,
        source TEXT NOT NULL,
        disordered INTEGER NOT NULL,
        live INTEGER NOT NULL
    );
    CREATE TABLE entries (  -- no reference to pipelines: it would be checked for each row
        pipeline INTEGER NOT NULL,
        key TEXT NOT NULL,
        dest_id TEXT,
        version TEXT,
        fingerprint BLOB,
        raw BLOB,
        state INTEGER NOT NULL,
        PRIMARY KEY (pipeline, key)
    ) WITHOUT ROWID;
    CREATE TABLE intents (
        number INTEGER PRIMARY KEY,
        pipeline INTEGER NOT NULL REFERENCES pipelines,
        key TEXT NOT NULL,
        op TEXT NOT NULL,
        version TEXT,
        dest_id TEXT,
        fields TEXT NOT NULL,
        row TEXT NOT NULL,
        fingerprint BLOB,
        raw BLOB,
        born TEXT NOT NULL,
        sent TEXT,
        idempotency_key TEXT,
        body BLOB,
        counted INTEGER NOT NULL,
        original TEXT,
        next TEXT,
        UNIQUE (pipeline, key)
    );
    CREATE TABLE letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        pipeline INTEGER NOT NULL REFERENCES pipelines,
        key TEXT NOT NULL,
        version TEXT,
        stage TEXT NOT NULL,
        code TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT,
        original TEXT,
        mapped TEXT,
        deleted INTEGER NOT NULL,
        digest BLOB NOT NULL,
        run_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at TEXT NOT NULL,
        status TEXT NOT NULL,
        closed TEXT
    );
    CREATE INDEX letters_by_key ON letters (pipeline, key, status);
    CREATE INDEX letters_by_id ON letters (pipeline, status);
    CREATE INDEX letters_kept ON letters (pipeline, closed)
        WHERE detail IS NOT NULL OR original IS NOT NULL OR mapped IS NOT NULL;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        pipeline INTEGER NOT NULL REFERENCES pipelines,
        run_id TEXT NOT NULL,
        finished INTEGER NOT NULL,
        report TEXT NOT NULL,
        UNIQUE (pipeline, run_id)
    );
    CREATE INDEX runs_by_number ON runs (pipeline);
    CREATE INDEX runs_unfinished ON runs (pipeline) WHERE finished = 0;
    CREATE TABLE cells (
        name TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
)
"""Scripts that make each version of the schema from the one before; never edit one.

They are cut at every semicolon, so there is none in their comments.
"""


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(attribute.name for attribute in fields(kind))


# A field that is new in ``protocols`` is a column that is missing here: the tests fail
# until there is a migration for it.
_HELD: Final = _names(_Held)
_CHECKPOINT: Final = _names(Checkpoint)
_INTENT: Final = _names(Intent)
_LETTER: Final = _names(Letter)


def _insert(table: str, names: Sequence[str], *conflict: str) -> str:
    """Return an INSERT; on a conflict over some columns it replaces the others."""
    text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    if not conflict:
        return text
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in conflict)
    return f"{text} ON CONFLICT ({', '.join(conflict)}) DO UPDATE SET {changes}"


_PUT_HELD: Final = _insert("pipelines", ("name", *_HELD), "name")
_PUT_CHECKPOINT: Final = _insert("checkpoints", ("pipeline", *_CHECKPOINT), "pipeline")
_PUT_ENTRY: Final = _insert("entries", ("pipeline", "key", *Entry._fields), "pipeline", "key")
_PUT_INTENT: Final = _insert("intents", ("pipeline", *_INTENT), "pipeline", "key")
_PUT_LETTER: Final = _insert("letters", ("pipeline", "closed", *_LETTER))

_OF: Final = "pipeline = (SELECT id FROM pipelines WHERE name = ?)"
_AMONG: Final = f"{_OF} AND key IN (SELECT value FROM json_each(?))"
_IS: Final = f"{_OF} AND key = ?"


def _listed(texts: Sequence[str]) -> str:
    return json.dumps(texts, ensure_ascii=False)


def _iso(moment: datetime) -> str:
    """Return text that sorts as the instants do, whatever their offsets."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _storable(text: str) -> str:
    """Return ``text`` with lone surrogates spelt out: a letter must not fail for its subject."""
    return text.encode(errors="backslashreplace").decode()


_WRITE: Final[dict[str, Callable[[Any], Any]]] = {
    "key": key_text,
    "fields": pack,
    "row": pack,
    "next": lambda intent: pack(_row(intent, _INTENT)),
    "ttl": lambda ttl: ttl // timedelta(microseconds=1),
    **dict.fromkeys(("op", "stage", "status"), str),
    **dict.fromkeys(("expires", "hint_clock", "born", "sent", "at"), _iso),
    **dict.fromkeys(("version", "code", "reason", "detail"), _storable),
    "id": lambda _: None,  # SQLite gives the next one
}
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "key": parse_key_text,
    "fields": lambda text: tuple(unpack(text)),
    "row": lambda text: tuple(unpack(text)),
    "next": lambda text: _value(Intent, _INTENT, unpack(text)),
    "ttl": lambda ttl: timedelta(microseconds=ttl),
    "op": Op,
    "stage": Stage,
    "status": LetterStatus,
    **dict.fromkeys(("expires", "hint_clock", "born", "sent", "at"), datetime.fromisoformat),
    **dict.fromkeys(("released", "locked", "disordered", "counted", "deleted"), bool),
}


def _row(value: Any, names: Sequence[str]) -> list[Any]:
    """Return what is stored of ``value``, a column for each of its fields."""
    row: list[Any] = []
    for name in names:
        item = getattr(value, name)
        row.append(_WRITE[name](item) if item is not None and name in _WRITE else item)
    return row


def _value(kind: Callable[..., _T], names: Sequence[str], row: Sequence[Any]) -> _T:
    """Return the value whose :func:`_row` is ``row``."""
    return kind(
        *(
            _READ[name](item) if item is not None and name in _READ else item
            for name, item in zip(names, row, strict=True)
        )
    )


# -- SQLite: the store -----------------------------------------------------------------


def begin(connection: Connection) -> None:
    """Start a write transaction; nothing else starts one.

    A transaction that reads first and then wants to write is refused at once if somebody
    else wrote in between, and no timeout helps. So each takes the write lock as it starts.
    """
    connection.execute("BEGIN IMMEDIATE")


class SQLiteStore:
    """A state store in one SQLite file on a local disk: for all runs on one machine.

    Threads may share it; each process makes its own on the same path. It may be used on
    both sides of a fork: Python closes its connection before, and whoever needs it opens
    it again.

    Beside the file lie SQLite's ``-wal`` and ``-shm``, which are part of it, and a
    ``.lock`` for each pipeline: while that is locked, the holder of the lease is alive.
    Remove none of them while a run is under way.

    Args:
        path: of the file, made with mode 0600 if there is none; its directory must exist.
        clock: returns the present as an aware instant. Processes that share the file
            must agree about it to within a fraction of a lease.
        busy_timeout: seconds to wait while another process writes.
        retention: how long a closed dead letter keeps the record that it quotes.

    Raises:
        ConfigurationError: not a place for a state file: no such directory, a network
            mount, another program's file, or one of a newer version of this package.
        CheckpointError: the file cannot be read or written, or it is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], datetime] = utc_now,
        busy_timeout: float = 10.0,
        retention: timedelta = RETENTION,
    ) -> None:
        self._path = _checked_path(os.fspath(path))
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._retention = retention
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._connection: Connection | None = None
        self._locks = _Locks(self._path)
        self._is_closed = False
        self._is_suspect = _size(f"{self._path}-wal") > 0  # somebody did not close it
        _refuse_foreign(self._path)
        _watch_forks()
        _STORES.add(self)
        with self._use():
            pass

    @contextlib.contextmanager
    def _use(self) -> Iterator[Connection]:
        """Lend the connection; one that failed is not used again."""
        import sqlite3

        self._notice_fork()
        with self._lock:
            if self._is_closed:
                raise _closed("state store")
            try:
                if self._connection is None:
                    self._connection = self._connect()
                yield self._connection
            except sqlite3.Error as error:
                self._disconnect()
                raise _trouble(error, self._path) from error

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        """Lend the connection for one transaction, undone if anything is raised in it."""
        with self._use() as connection:
            try:
                begin(connection)
                yield connection
                connection.execute("COMMIT")
            except UnicodeEncodeError as error:
                self._disconnect()
                raise ContractError(
                    "a version, an id or a cursor holds a lone surrogate, which no file can keep",
                    remedy="Mend the text in the connector that returned it",
                ) from error
            except BaseException:
                self._disconnect()  # which rolls back
                raise

    def _rows(self, select: str, *values: Any) -> list[Any]:
        with self._use() as connection:
            return connection.execute(select, values).fetchall()

    def _connect(self) -> Connection:
        import sqlite3

        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,  # one lock stands before every use
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Connection) -> None:
        while _version(connection, self._path) < len(MIGRATIONS):
            if _size(self._path) == 0:
                os.chmod(self._path, 0o600)  # SQLite gives the files beside it the same mode
            self._migrate(connection)
        self._write_ahead(connection)
        # Keys in random order touch a page each: with a checkpoint every 1000 pages most of
        # them would be written back after each batch. The cache stays small: it would grow
        # with the number of keys, and gave no more than a tenth.
        for setting in (
            "synchronous = FULL",
            "foreign_keys = ON",
            "wal_autocheckpoint = 10000",
            "cache_size = -8000",
        ):
            connection.execute(f"PRAGMA {setting}")
        if self._is_suspect:
            _check(connection, self._path)
            self._is_suspect = False

    def _migrate(self, connection: Connection) -> None:
        begin(connection)
        # Asked again, for another process may have done it while this one waited.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")

    def _write_ahead(self, connection: Connection) -> None:
        import sqlite3

        # SQLite does not wait here if somebody else writes: without patience of our own, one
        # in some hundred processes that start on a new file at the same time failed.
        pause = 0.01
        left = int(self._busy_timeout / pause)
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if left <= 0 or error.sqlite_errorname != "SQLITE_BUSY":
                    raise
            left -= 1
            threading.Event().wait(pause)

    def _disconnect(self) -> None:
        import sqlite3

        connection, self._connection = self._connection, None
        if connection is None:
            return
        # SQLite rolls back only what it can close: a cursor that lives on in a traceback would
        # keep the file locked.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        connection.close()

    def _rest(self) -> None:
        """Let go of the connection before a fork.

        SQLite keeps count of a process's locks on a file in memory that a fork copies: the
        child would believe that it holds the parent's, even through a connection of its
        own, and what it commits would be lost when the parent closes the file.
        """
        if self._connection is not None and not self._connection.in_transaction:
            self._disconnect()

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():  # by something that does not call Python's hooks
            self._lock = threading.RLock()
            self._disown()

    def _disown(self) -> None:
        """Leave alone what belongs to the parent process."""
        if self._connection is not None:
            _INHERITED.append(self._connection)
        self._connection = None
        self._locks.drop_all()
        self._pid = os.getpid()

    def load(self, pipeline: str) -> Checkpoint:
        """Return where the pipeline stands; an empty checkpoint if it never committed."""
        select = f"SELECT {', '.join(_CHECKPOINT)} FROM checkpoints WHERE {_OF}"
        for row in self._rows(select, pipeline):
            return _value(Checkpoint, _CHECKPOINT, row)
        return Checkpoint()

    def look_up(
        self, pipeline: str, keys: Sequence[Key], raws: Sequence[bytes | None] = ()
    ) -> Known:
        """Return what is known of these keys.

        No transaction stands around its statements: only the lease's holder adds to what
        they read.
        """
        texts = list(map(key_text, keys))
        named = dict(zip(texts, keys, strict=True))
        listed = _listed(texts)
        known = Known()
        with self._use() as connection:
            if "\\u0000" in listed:  # where older SQLite ends a text in JSON
                for text in texts:
                    _look_up_notes(connection, _IS, (pipeline, text), named, known)
                    _look_up_entries(connection, _IS, (pipeline, text), named, known)
                return known
            _look_up_notes(connection, _AMONG, (pipeline, listed), named, known)
            if raws:
                places = _differing(connection, pipeline, listed, keys, raws, known)
                texts = [texts[at] for at in places]
                listed = _listed(texts)
            if texts:
                _look_up_entries(connection, _AMONG, (pipeline, listed), named, known)
        return known

    def put_intents(
        self, lease: Lease, intents: Sequence[Intent], doubted: Sequence[Key] = ()
    ) -> None:
        """Write intents, replacing those of the same keys, and doubt what is known of others."""
        rows = [_row(intent, _INTENT) for intent in intents]
        with self._write() as connection:
            id, _ = self._admit(connection, lease, lease.pipeline)
            connection.executemany(_PUT_INTENT, [(id, *row) for row in rows])
            connection.executemany(
                "UPDATE entries SET fingerprint = NULL, raw = NULL, state = 0 "
                "WHERE pipeline = ? AND key = ?",
                [(id, key_text(key)) for key in doubted],
            )

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Settle a batch: all of it or nothing.

        After a CheckpointError other than for the sequence, whether it took effect is
        unknown; the next call opens the file again.
        """
        now = self._clock()
        intents = [_row(intent, _INTENT) for intent in commit.intents]
        with self._write() as connection:
            id, held = self._admit(connection, lease, commit.pipeline)
            select = "SELECT seq FROM checkpoints WHERE pipeline = ?"
            found = connection.execute(select, (id,)).fetchall()
            _check_seq(found[0][0] if found else 0, commit)
            connection.execute(_PUT_CHECKPOINT, (id, *_row(commit.checkpoint, _CHECKPOINT)))
            rows = [(id, key_text(key), *entry) for key, entry in commit.entries.items()]
            rows.sort()  # neighbours on a page are written together
            connection.executemany(_PUT_ENTRY, rows)
            _put_letters(connection, id, commit, _iso(now))
            connection.executemany(
                "DELETE FROM intents WHERE pipeline = ? AND key = ?",
                [(id, key_text(key)) for key in commit.resolved],
            )
            connection.executemany(_PUT_INTENT, [(id, *row) for row in intents])
            connection.execute(
                "UPDATE runs SET report = ? WHERE pipeline = ? AND run_id = ?",
                (commit.report, id, lease.run_id),
            )
            connection.execute(
                "UPDATE pipelines SET expires = ?, crashed = 0 WHERE id = ?",
                (_iso(now + held.ttl), id),
            )

    def _admit(self, connection: Connection, lease: Lease, pipeline: str) -> tuple[int, _Held]:
        """Return the pipeline's id and lease, if ``lease`` is the one that is held."""
        id, held = _held(connection, pipeline)
        if lease.pipeline == pipeline and lease.token < held.token:
            self._locks.drop(pipeline, lease.token)
        held.admit(lease, pipeline)
        return id, held

    def intents(self, pipeline: str, limit: int) -> Sequence[Intent]:
        """Return the oldest open intents, at most ``limit``."""
        names = ", ".join(_INTENT)
        select = f"SELECT {names} FROM intents WHERE {_OF} ORDER BY born, number LIMIT ?"
        return [_value(Intent, _INTENT, row) for row in self._rows(select, pipeline, limit)]

    def letters(
        self,
        pipeline: str,
        *,
        status: LetterStatus | None = LetterStatus.OPEN,
        after: int = 0,
        limit: int = 500,
    ) -> Sequence[Letter]:
        """Return dead letters with an id above ``after``, in the order of their ids."""
        chosen = "" if status is None else f" AND status = '{status}'"
        select = (
            f"SELECT {', '.join(_LETTER)} FROM letters WHERE {_OF} AND id > ?{chosen} "
            "ORDER BY id LIMIT ?"
        )
        return [_value(Letter, _LETTER, row) for row in self._rows(select, pipeline, after, limit)]

    def totals(self, pipeline: str) -> tuple[int, int]:
        """Return the numbers of open dead letters and of open intents."""
        letters = f"SELECT count(*) FROM letters WHERE {_OF} AND status = 'open'"
        intents = f"SELECT count(*) FROM intents WHERE {_OF}"
        ((open_letters, open_intents),) = self._rows(
            f"SELECT ({letters}), ({intents})", pipeline, pipeline
        )
        return open_letters, open_intents

    def runs(self, pipeline: str, limit: int = 20) -> Sequence[str]:
        """Return the newest runs' reports as JSON, newest first."""
        select = f"SELECT report FROM runs WHERE {_OF} ORDER BY number DESC LIMIT ?"
        return [report for (report,) in self._rows(select, pipeline, limit)]

    def pipelines(self) -> Sequence[str]:
        """Return the names of all pipelines that ever ran here, sorted."""
        return [name for (name,) in self._rows("SELECT name FROM pipelines ORDER BY name")]

    def acquire(self, pipeline: str, run_id: str, ttl: timedelta) -> Lease | None:
        """Take the right to run, or return None if another run has it.

        It is free when it was released, when its time has run out, or at once when its
        holder is provably dead.
        """
        now = self._clock()
        taken = False
        try:
            with self._write() as connection:
                _, held = _held(connection, pipeline)
                barred = held.bars(run_id, now)
                # A free lock file proves a death only if the holder had locked it: a run
                # that took over from a frozen process has the lease without the lock.
                taken = (held.locked or not barred) and self._locks.take(pipeline)
                if barred and not taken:
                    return None
                locked = self._locks.own(pipeline, held.token + 1)
                held = held.successor(run_id, now, ttl, locked=locked)
                connection.execute(_PUT_HELD, (pipeline, *_row(held, _HELD)))
                _put_run(connection, pipeline, run_id)
                return Lease(pipeline, run_id, held.token, held.crashed)
        except BaseException:
            if taken:
                self._locks.drop(pipeline, None)
            raise

    def standing(self, pipeline: str) -> Standing:
        """Return whether a run is under way; changes nothing."""
        with self._use() as connection:
            _, held = _held(connection, pipeline)
            if held.released or not held.locked:
                return held.standing(self._clock())
            if not self._locks.take(pipeline):
                return Standing.RUNNING
            self._locks.drop(pipeline, None)
            return Standing.CRASHED

    def renew(self, lease: Lease, ttl: timedelta) -> None:
        """Keep the right to run for another ``ttl``."""
        now = self._clock()
        with self._write() as connection:
            _, held = self._admit(connection, lease, lease.pipeline)
            held.ttl, held.expires = ttl, now + ttl
            connection.execute(_PUT_HELD, (lease.pipeline, *_row(held, _HELD)))

    def release(self, lease: Lease, report: str) -> None:
        """Let go of the right to run, and keep the run's final report.

        Closed dead letters older than the retention lose their content here. A lease that
        was taken over is left alone; the report is kept all the same.
        """
        now = self._clock()
        with self._write() as connection:
            connection.execute(
                "UPDATE pipelines SET released = 1 WHERE name = ? AND token = ? AND run_id = ?",
                (lease.pipeline, lease.token, lease.run_id),
            )
            connection.execute(
                f"UPDATE runs SET report = ?, finished = 1 WHERE {_OF} AND run_id = ?",
                (report, lease.pipeline, lease.run_id),
            )
            connection.execute(
                "UPDATE letters SET detail = NULL, original = NULL, mapped = NULL "
                f"WHERE {_OF} AND closed < ? "
                "AND (detail IS NOT NULL OR original IS NOT NULL OR mapped IS NOT NULL)",
                (lease.pipeline, _iso(now - self._retention)),
            )
            # Before the transaction ends: whoever comes next finds both free, or neither.
            self._locks.drop(lease.pipeline, lease.token)

    def cell(self, name: str) -> Cell | None:
        """Return a cell, or None if it was never written."""
        for row in self._rows("SELECT value, version FROM cells WHERE name = ?", name):
            return Cell(*row)
        return None

    def swap(self, name: str, value: bytes, version: int) -> bool:
        """Write a cell if its version still is ``version`` (0: it was never written)."""
        change = "UPDATE cells SET value = ?, version = version + 1 WHERE name = ? AND version = ?"
        values: tuple[Any, ...] = value, name, version
        if version == 0:
            change = (
                "INSERT INTO cells (value, name, version) VALUES (?, ?, 1) ON CONFLICT DO NOTHING"
            )
            values = value, name
        with self._write() as connection:
            return connection.execute(change, values).rowcount == 1

    def forget(self, pipeline: str, key: Key) -> None:
        """Remove every trace of a key: crosswalk, dead letters, intents."""
        with self._write() as connection:
            for table in ("entries", "intents", "letters"):
                connection.execute(f"DELETE FROM {table} WHERE {_IS}", (pipeline, key_text(key)))

    def check(self) -> None:
        """Read the whole file and look for damage; it takes seconds for a million keys.

        Raises:
            CheckpointError: it is damaged.
        """
        with self._use() as connection:
            _check(connection, self._path)

    def close(self) -> None:
        """Let go of files and connections; a lease that is still held counts as crashed."""
        self._notice_fork()
        with self._lock:
            self._is_closed = True
            self._disconnect()
            self._locks.drop_all()


def _look_up_notes(
    connection: Connection, where: str, asked: tuple[str, str], named: dict[str, Key], known: Known
) -> None:
    """Read the open intents and dead letters of some keys; mostly there are none at all."""
    intents, letters = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM intents WHERE {_OF}), "
        f"EXISTS (SELECT 1 FROM letters WHERE {_OF} AND status = 'open')",
        (asked[0], asked[0]),
    ).fetchone()
    if intents:
        names = ", ".join(_INTENT)
        for row in connection.execute(f"SELECT {names} FROM intents WHERE {where}", asked):
            intent = _value(Intent, _INTENT, row)
            known.intents[intent.key] = intent
    if letters:
        select = (
            "SELECT key, id, digest, version FROM letters "
            f"WHERE status = 'open' AND {where} ORDER BY id"
        )
        for text, *letter in connection.execute(select, asked):
            known.letters.setdefault(named[text], []).append(OpenLetter(*letter))


def _look_up_entries(
    connection: Connection, where: str, asked: tuple[str, str], named: dict[str, Key], known: Known
) -> None:
    make = Entry._make
    select = f"SELECT key, {', '.join(Entry._fields)} FROM entries WHERE {where}"
    # Fetched at once: a step of SQLite and a step of Python in turns cost a tenth more.
    rows = connection.execute(select, asked).fetchall()
    known.entries |= {named[row[0]]: make(row[1:]) for row in rows}


def _differing(
    connection: Connection,
    pipeline: str,
    listed: str,
    keys: Sequence[Key],
    raws: Sequence[bytes | None],
    known: Known,
) -> list[int]:
    """Tell the keys whose record is as it was; return the places of others that have an entry."""
    select = (
        "SELECT json_each.key, raw FROM json_each(?) CROSS JOIN entries "
        f"ON {_OF} AND entries.key = json_each.value"
    )
    rows = connection.execute(select, (listed, pipeline)).fetchall()
    same = {keys[at] for at, raw in rows if raw is not None and raw == raws[at]}
    known.same = same = same - known.intents.keys() - known.letters.keys()
    return [at for at, _ in rows if keys[at] not in same] if len(same) < len(rows) else []


def _check(connection: Connection, path: str) -> None:
    if connection.execute("PRAGMA quick_check (1)").fetchall() != [("ok",)]:
        raise _refusal("SQLITE_CORRUPT", path)


def _held(connection: Connection, pipeline: str) -> tuple[int, _Held]:
    select = f"SELECT id, {', '.join(_HELD)} FROM pipelines WHERE name = ?"
    for id, *row in connection.execute(select, (pipeline,)).fetchall():
        return id, _value(_Held, _HELD, row)
    return 0, _Held()


def _put_letters(connection: Connection, id: int, commit: Commit, now: str) -> None:
    connection.executemany(
        _PUT_LETTER,
        [
            (id, None if new.status is LetterStatus.OPEN else now, *_row(new, _LETTER))
            for new in commit.letters
        ],
    )
    connection.executemany(
        "UPDATE letters SET status = ?, closed = ? "
        "WHERE id = ? AND pipeline = ? AND status = 'open'",
        [(str(status), now, at, id) for at, status in commit.closed.items()],
    )


def _put_run(connection: Connection, pipeline: str, run_id: str) -> None:
    """Note that a run starts; those that never told their end have crashed, the old go."""
    select = f"SELECT report, number FROM runs WHERE {_OF} AND finished = 0"
    connection.executemany(
        "UPDATE runs SET report = ?, finished = 1 WHERE number = ?",
        [
            (_as_crashed(report), number)
            for report, number in connection.execute(select, (pipeline,)).fetchall()
        ],
    )
    connection.execute(f"DELETE FROM runs WHERE {_OF} AND run_id = ?", (pipeline, run_id))
    connection.execute(
        "INSERT INTO runs (pipeline, run_id, finished, report) "
        "SELECT id, ?, 0, ? FROM pipelines WHERE name = ?",
        (run_id, _RUNNING, pipeline),
    )
    newest = f"SELECT number FROM runs WHERE {_OF} ORDER BY number DESC LIMIT 1 OFFSET ?"
    connection.execute(
        f"DELETE FROM runs WHERE {_OF} AND number <= ({newest})", (pipeline, pipeline, KEPT_RUNS)
    )


# -- SQLite: lock files and forks ------------------------------------------------------


class _Locks:
    """The lock files that one store holds, and the tokens of the leases they stand for.

    The system lets go of them when the process dies, however it dies. They are never
    removed: somebody may be about to lock the very file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: dict[str, tuple[int, int]] = {}

    def take(self, pipeline: str) -> bool:
        """Lock a pipeline's file now; False if anybody has it, this store included."""
        name = blake2b(pipeline.encode(), digest_size=8).hexdigest()
        if pipeline in self._held:
            return False
        descriptor = _flock(f"{self._path}.{name}.lock")
        if descriptor is not None:
            self._held[pipeline] = descriptor, 0
        return descriptor is not None

    def own(self, pipeline: str, token: int) -> bool:
        """Make the lock stand for ``token``; False if this store does not have it."""
        if pipeline not in self._held:
            return False
        self._held[pipeline] = self._held[pipeline][0], token
        return True

    def drop(self, pipeline: str, token: int | None) -> None:
        """Let go of a lock if it stands for ``token``, or anyway if that is None."""
        if pipeline in self._held and token in (None, self._held[pipeline][1]):
            os.close(self._held.pop(pipeline)[0])

    def drop_all(self) -> None:
        """Close every file. In a child the locks live on: the parent has them open too."""
        for pipeline in list(self._held):
            self.drop(pipeline, None)


def _flock(path: str) -> int | None:
    """Return the descriptor of a file that is locked now, or None."""
    try:
        import fcntl
    except ImportError:  # Windows, where a lease has nothing but its time
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


_STORES: Final[weakref.WeakSet[SQLiteStore]] = weakref.WeakSet()
_RESTING: Final[list[SQLiteStore]] = []
_FORKING: Final = threading.Lock()
_INHERITED: Final[list[Connection]] = []
"""A parent's connections, kept so that they are never closed in a child."""


@functools.cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
        )


def _before_fork() -> None:
    _FORKING.acquire()
    _RESTING.extend(_STORES)
    for store in _RESTING:
        store._lock.acquire()
        store._rest()


def _after_fork() -> None:
    for store in _RESTING:
        store._lock.release()
    _RESTING.clear()
    _FORKING.release()


def _after_fork_in_child() -> None:
    # Not at the next use: a child that never uses it would keep a dead parent's locks.
    for store in _RESTING:
        store._disown()
    _after_fork()


# -- SQLite: refusals ------------------------------------------------------------------

_NETWORK: Final = re.compile(
    r"nfs\d*|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|ncpfs|coda|davfs|"
    r"fuse\.(sshfs|glusterfs|ceph.*|davfs.*|s3fs|s3ql|rclone|gcsfuse|mount-s3|smbnetfs|juicefs)"
)


def network_mount(path: str, mounts: str) -> str | None:
    """Return the type of the network file system that ``path`` lies on, or None.

    Args:
        path: absolute, without links.
        mounts: text in the format of ``/proc/self/mounts``.
    """
    longest, kind = "", ""
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda escaped: chr(int(escaped[1], 8)), point)
        point = point.rstrip("/") + "/"
        if f"{path}/".startswith(point) and len(point) >= len(longest):
            longest, kind = point, found
    return kind if _NETWORK.fullmatch(kind) else None


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except OSError:  # not Linux
        return ""


def _checked_path(path: str) -> str:
    """Return ``path`` without links, or refuse it before anything is made or opened."""
    if path in ("", ":memory:") or path.startswith("file:"):
        raise ConfigurationError(
            f"{path!r} is not the path of a file",
            remedy="Give the path of a file on a local disk, or use MemoryStore()",
        )
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ConfigurationError(
            f"the directory {directory} does not exist",
            remedy="Make it, on a disk that outlives the process, or correct the path",
        )
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigurationError(f"{path} is not a file", remedy="Name a file in a directory")
    kind = network_mount(path, _mounts())
    if kind is not None:
        raise ConfigurationError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks do not hold",
            remedy="Put the state file on a local disk, or use the PostgreSQL store",
        )
    as_effective_user = os.access in os.supports_effective_ids
    for needed in filter(os.path.exists, (directory, path)):
        if not os.access(needed, os.R_OK | os.W_OK, effective_ids=as_effective_user):
            raise _refusal("SQLITE_READONLY", needed)
    return path


def _size(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0


def _refuse_foreign(path: str) -> None:
    """Refuse another program's file, without changing a byte of it."""
    import sqlite3

    if _size(path) == 0:
        return
    # Read-only, because closing it otherwise may move what is in its -wal into it.
    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", timeout=0, uri=True)
    try:
        _version(connection, path)
    except sqlite3.OperationalError:
        pass  # cannot be read so, as after a crash in a rollback: asked again when it is open
    except sqlite3.Error as error:
        raise _trouble(error, path) from error
    finally:
        connection.close()


def _version(connection: Connection, path: str) -> int:
    """Return the version of a state file's schema, 0 for an empty file; refuse any other."""
    # The pages first: a file that is being made goes from no pages to all of them at once.
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if pages and application != APPLICATION_ID:
        raise _foreign(path)
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"{path} was written by a newer syncsdk: its schema has version {version}, and this "
            f"one knows {len(MIGRATIONS)}",
            remedy="Upgrade syncsdk here, or give each version a state file of its own",
        )
    return int(version)


def _foreign(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a state file of syncsdk, and was left as it is",
        remedy="Name another path; if it was one, restore it from a backup",
    )


_TROUBLES: Final = {
    "SQLITE_BUSY": (
        "another process kept it locked for longer than the busy timeout",
        "Find who holds a transaction open (a shell, a backup), or raise busy_timeout=",
    ),
    "SQLITE_FULL": (
        "the disk is full",
        "Free some space and run again: what was committed is kept",
    ),
    "SQLITE_IOERR": (
        "reading or writing it failed",
        "Look at the disk and the system's log, then run again: what was committed is kept",
    ),
    "SQLITE_CORRUPT": (
        "it is damaged",
        "Stop all runs, keep a copy, and restore it from a backup; without one, begin with a "
        "new file and run with backfill=True",
    ),
    "SQLITE_READONLY": (
        "it cannot be written",
        "Give the user of this process the right to write the file and its directory",
    ),
    "SQLITE_CANTOPEN": (
        "it cannot be opened",
        "Look whether its directory is still there, whether it may be written, and whether "
        "this process has too many files open",
    ),
}


def _refusal(name: str, path: str) -> CheckpointError:
    """Return what to tell of an error that SQLite names so, such as SQLITE_IOERR_WRITE."""
    what, remedy = _TROUBLES.get(
        "_".join(name.split("_")[:2]),
        ("SQLite refused", "See the error that this one was raised from, and report it"),
    )
    return CheckpointError(f"the state file {path} failed: {what} ({name})", remedy=remedy)


def _trouble(error: Error, path: str) -> FatalError:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return _foreign(path) if name == "SQLITE_NOTADB" else _refusal(name, path)
