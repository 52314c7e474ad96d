"""JSON-lines and CSV files: read whole in every run, or kept as a table.

Decides how a line becomes a record, which lines are refused, and how a file is replaced
so that a crash leaves the old one or the new one. Leaves to the engine which records
changed and what a refused one costs.

Read :class:`JsonLines` and :class:`JsonLinesTable`, a whole source and a whole sink, then
:class:`Csv` and :class:`CsvTable`; the steps that they share come last.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import IO, Any, Final, TypeAlias
from uuid import UUID

from syncsdk.errors import ConfigurationError, RecordError, RejectedError, UnavailableError
from syncsdk.protocols import (
    Applied,
    Batch,
    Change,
    Changes,
    Deletes,
    Op,
    Outcome,
    Refused,
    Rejected,
    SinkCapabilities,
    SourceCapabilities,
)
from syncsdk.values import OPAQUE, UNSET, Listing, Version, as_key, key_text

__all__ = ["Csv", "CsvTable", "JsonLines", "JsonLinesTable"]

Path: TypeAlias = str | os.PathLike[str]
Dialect: TypeAlias = str | csv.Dialect | type[csv.Dialect]
Record: TypeAlias = dict[str, Any]
Lines: TypeAlias = Iterator[tuple[int, bytes | str, Record | RecordError]]
"""Each line's number, its raw form, and what it says or what is wrong with it."""


@dataclass(frozen=True)
class JsonLines:
    """A source of the objects in a JSON-lines file: one a line, in UTF-8.

    Numbers keep every digit: a fraction becomes a ``Decimal``, an integer stays one. Blank
    lines and a byte-order mark are skipped. A line that cannot be read is refused, with its
    number, and the others go on. Of members with one name the last counts.

    Args:
        path: the file.
        key: the member that holds a record's key, or several.
        version: how versions compare, and which member holds them: ``INSTANT("changed")``.
        deleted: the member that is true (or 1) for a deleted record.
        batch: records a batch; memory holds one batch.
    """

    path: Path
    _: KW_ONLY
    key: str | Sequence[str]
    version: Version = OPAQUE
    deleted: str | None = None
    batch: int = 500

    @property
    def capabilities(self) -> SourceCapabilities:
        """What this source promises: a listing, with the version and flag that it was given."""
        return _capabilities(self.version, self.deleted)

    def read(self, after: str | None = None) -> Iterator[Batch]:
        """Yield all records. A listing has no cursor: ``after`` is always None.

        Raises:
            ConfigurationError: there is no such file, or it may not be read.
            UnavailableError: the file failed, or changed, while it was read.
        """
        with _reading(self.path, "rb") as file:
            yield from _batches(
                file, json_lines(file), self.batch, self.key, self.version, self._is_deleted
            )

    def _is_deleted(self, record: Record) -> bool:
        mark = None if self.deleted is None else record.get(self.deleted)
        if mark not in (None, False, True):  # "no" is true in Python: nothing goes by a guess
            raise _unread("the mark of a deletion is not a bool", "deleted")
        return bool(mark)


@dataclass(frozen=True)
class JsonLinesTable:
    """A sink that keeps a JSON-lines file: one line a record, found by its key.

    ``write`` reads the file, applies the changes and replaces it as a whole: for small
    files, as each write costs what the file is long. What a change leaves UNSET, and members
    that the mapping does not know, stay as they are. Decimals are written to the last
    digit, dates, times and UUIDs as text; bytes are rejected.

    A record is found by ``dest_id``, the text of the key that it was last written with, so
    a mapped key may change; a deletion without one by the source's key. Of two records with
    one key in the same write the later is rejected, but in different writes the later wins:
    mapped keys must be as unique as the source's.

    Args:
        path: the file; it is made if need be.
        key: the member of the mapped record that holds its key, or several.
    """

    path: Path
    _: KW_ONLY
    key: str | Sequence[str]

    capabilities = SinkCapabilities(upsert=True, deletes=True, atomic=True)

    def write(self, changes: Changes) -> list[Outcome]:
        """Apply the changes and replace the file.

        Raises:
            ConfigurationError: the file holds what is no row of this table.
            RejectedError: a record's key became one that another record has.
            UnavailableError: the file cannot be read or written now.
        """
        rows: dict[str, Record] = {}
        if _is_filled(self.path):
            with _reading(self.path, "rb") as file:
                rows = _table(self.path, self.key, json_lines(file))
        outcomes = _apply(changes, rows, self.key, _json_record)
        # Lone surrogates that were in the file before are written as JSON escapes them.
        lines = (f"{json_text(row)}\n".encode(errors="backslashreplace") for row in rows.values())
        _replace(self.path, lines, "wb")
        return outcomes


@dataclass(frozen=True)
class Csv:
    """A source of the rows of a CSV file with a header row; every cell is text.

    A row that cannot be read is refused, with its line's number, and the others go on: bad
    bytes, NUL, too few or too many cells, a cell over :func:`csv.field_size_limit`. A quote
    that is never closed costs its own line: the lines after it are read afresh.

    Args:
        path: the file.
        key: the column that holds a record's key, or several.
        dialect: a name or class of :mod:`csv`, such as ``excel``; nothing is guessed.
        encoding: such as ``utf-8`` (with or without byte-order mark) or ``cp1252``.
        null: the text that means null. If None, nothing does, and ``""`` stays ``""``.
        version: how versions compare, and which column holds them.
        deleted: a column, and the text in it that marks a deleted record.
        batch: records a batch; memory holds one batch.
    """

    path: Path
    _: KW_ONLY
    key: str | Sequence[str]
    dialect: Dialect
    encoding: str
    null: str | None = None
    version: Version = OPAQUE
    deleted: tuple[str, str] | None = None
    batch: int = 500

    def __post_init__(self) -> None:
        _check_csv(self.dialect, self.encoding)

    @property
    def capabilities(self) -> SourceCapabilities:
        """What this source promises: a listing, with the version and flag that it was given."""
        return _capabilities(self.version, self.deleted)

    def read(self, after: str | None = None) -> Iterator[Batch]:
        """Yield all records. A listing has no cursor: ``after`` is always None.

        Raises:
            ConfigurationError: there is no such file, or its header lacks a column.
            UnavailableError: the file failed, or changed, while it was read.
        """
        needed = [*_names(self.key), *filter(None, (self.version.field, *(self.deleted or ())[:1]))]
        with _reading(self.path, "r", self.encoding) as file:
            _, lines = _csv_lines(file, self.path, self.dialect, needed, self.null)
            yield from _batches(file, lines, self.batch, self.key, self.version, self._is_deleted)

    def _is_deleted(self, record: Record) -> bool:
        return self.deleted is not None and record[self.deleted[0]] == self.deleted[1]


@dataclass(frozen=True)
class CsvTable:
    """A sink that keeps a CSV file: a header row, then one row a record, found by its key.

    It finds and replaces as :class:`JsonLinesTable` does. A new file gets the mapping's
    fields as columns; an old one keeps its own. UNSET keeps a cell, and leaves a new one
    empty. Values become text: dates and times as ISO 8601, bools as ``true`` and ``false``;
    what the dialect or the encoding cannot write so that it reads the same is rejected.

    Args:
        path: the file; it is made if need be.
        key: the column that holds a record's key, or several.
        dialect, encoding: as for :class:`Csv`.
        null: the text that is written for None, which is rejected if there is none. A value
            that is this very text is rejected as ambiguous.
    """

    path: Path
    _: KW_ONLY
    key: str | Sequence[str]
    dialect: Dialect
    encoding: str
    null: str | None = None

    capabilities = SinkCapabilities(upsert=True, deletes=True, atomic=True)

    def __post_init__(self) -> None:
        _check_csv(self.dialect, self.encoding)

    def write(self, changes: Changes) -> list[Outcome]:
        """Apply the changes and replace the file; raises as :class:`JsonLinesTable` does."""
        header, rows = list(changes.fields), dict[str, Record]()
        if _is_filled(self.path):
            with _reading(self.path, "r", self.encoding) as file:
                header, lines = _csv_lines(file, self.path, self.dialect, header, None)
                rows = _table(self.path, self.key, lines)
        outcomes = _apply(changes, rows, self.key, self._cells)
        if header:
            cells = ([row.get(name, "") for name in header] for row in rows.values())
            texts = (_csv_line(self.dialect, row) for row in (header, *cells))
            _replace(self.path, texts, "w", self.encoding)
        return outcomes

    def _cells(self, record: Mapping[str, Any]) -> Record:
        cells = {name: _cell(name, value, self.null) for name, value in record.items()}
        for name, cell in cells.items():
            try:
                cell.encode(self.encoding)
            except UnicodeEncodeError:
                raise _unfit(name, f"text that {self.encoding} cannot write", "encoding") from None
        _csv_line(self.dialect, [*cells.values()])
        return cells


# -- JSON ------------------------------------------------------------------------------


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# A hook that finds members with one name would make parsing a third slower.
_decode: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def json_lines(file: Iterable[bytes]) -> Lines:
    """Yield number, bytes and record of each line that is not blank; an error for a bad one."""
    for number, line in enumerate(file, 1):
        raw = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if raw := raw.strip(b" \t\r\n"):
            yield number, raw, _parse(raw)


def _parse(raw: bytes) -> Record | RecordError:
    try:
        record = _decode(raw.decode())
    except UnicodeDecodeError:
        return _unread("it is not UTF-8", "encoding")
    except RecursionError:
        return _unread("it is nested too deep", "too_deep")
    except (ValueError, ArithmeticError):
        return _unread("it is not JSON, or holds a number that Python cannot", "json")
    if isinstance(record, dict):
        return record
    return _unread(f"it is a {type(record).__name__}, not an object", "not_an_object")


def _json_record(record: Mapping[str, Any]) -> Record:
    for name, value in record.items():
        try:
            json_text(value).encode()
        except TypeError as error:
            raise _unfit(name, str(error), "type") from None
        except UnicodeEncodeError:
            raise _unfit(name, "text with a lone surrogate", "surrogate") from None
        except (ValueError, RecursionError):
            raise _unfit(name, "not finite, too long or nested too deep", "json") from None
    return dict(record)


def json_text(value: Any) -> str:
    """Return ``value`` as JSON; the encoder of :mod:`json` has no decimals."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str | int | float):
        return _encode(value)
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    if isinstance(value, date | time):
        return f'"{value.isoformat()}"'
    if isinstance(value, UUID):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{','.join(map(json_text, value))}]"
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        members = (f"{_encode(n)}:{json_text(v)}" for n, v in value.items() if v is not UNSET)
        return f"{{{','.join(members)}}}"
    raise TypeError(f"a {type(value).__name__}, which JSON cannot hold")


# -- CSV -------------------------------------------------------------------------------


def _check_csv(dialect: Dialect, encoding: str) -> None:
    try:
        codecs.lookup(encoding)
        quoting = csv.reader((), dialect).dialect.quoting
    except (LookupError, TypeError, csv.Error) as error:
        raise ConfigurationError(
            f"the dialect or the encoding is unknown ({error})",
            remedy="Name a codec of Python, and a dialect of the csv module such as excel",
        ) from error
    if quoting not in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE):
        raise ConfigurationError(
            "the dialect turns cells without quotes into floats or null",
            remedy="Use QUOTE_MINIMAL, QUOTE_ALL or QUOTE_NONE, and let the mapping make numbers",
        )


def _csv_lines(
    file: IO[str], path: Path, dialect: Dialect, needed: Sequence[str], null: str | None
) -> tuple[list[str], Lines]:
    rows = _csv_rows(file, dialect)
    _, _, header = next(rows, (1, "", list[str]()))
    if isinstance(header, RecordError) or not header or len(set(header)) < len(header):
        raise ConfigurationError(
            f"{path} has no header row with a different name for each column",
            remedy="Write the columns' names into its first line",
        )
    if missing := sorted(set(needed).difference(header)):
        raise ConfigurationError(
            f"{path} has no column {', '.join(missing)}",
            remedy="Name columns of its header; if that is a single one, look at dialect=",
        )

    def record(cells: list[str] | RecordError) -> Record | RecordError:
        if isinstance(cells, RecordError):
            return cells
        if len(cells) != len(header):
            return _unread(f"it has {len(cells)} cells, the header {len(header)}", "cells")
        return {n: None if c == null else c for n, c in zip(header, cells, strict=True)}

    return header, ((number, text, record(cells)) for number, text, cells in rows)


_UNDECODED: Final = re.compile("[\udc80-\udcff]")


def _csv_rows(
    file: IO[str], dialect: Dialect
) -> Iterator[tuple[int, str, list[str] | RecordError]]:
    waiting, taken, number = deque([file.readline().removeprefix("\ufeff")]), list[str](), 1

    def take() -> str:
        taken.append(waiting.popleft() if waiting else file.readline())
        return taken[-1]

    reader = csv.reader(iter(take, ""), dialect, strict=True)
    while True:
        taken.clear()
        cells: list[str] | RecordError
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = _unread(f"it is not CSV of this dialect ({error})", "csv")
            waiting.extendleft(line for line in reversed(taken[1:]) if line)
            del taken[1:]
            reader = csv.reader(iter(take, ""), dialect, strict=True)  # the old one is at its end
        text = "".join(taken)
        if not text.isascii() and _UNDECODED.search(text):
            cells = _unread("it is not of the declared encoding", "encoding")
            text = text.encode(errors="backslashreplace").decode()
        elif "\0" in text:
            cells = _unread("it holds a NUL", "nul")
        if cells:
            yield number, text, cells
        number += len(taken)


def _cell(name: str, value: Any, null: str | None) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        if null is None:
            raise _unfit(name, "null, and null= names no text for it", "null")
        return null
    if isinstance(value, bool):
        cell = "true" if value else "false"
    elif isinstance(value, date | time):
        cell = value.isoformat()
    elif isinstance(value, str | int | float | Decimal | UUID):
        try:
            cell = str(value)
        except ValueError:
            raise _unfit(name, "an integer of thousands of digits", "too_long") from None
    else:
        raise _unfit(name, f"a {type(value).__name__}, which is no cell", "type")
    if cell == null:
        raise _unfit(name, "the very text that means null", "ambiguous")
    if "\0" in cell or (isinstance(value, float | Decimal) and not Decimal(value).is_finite()):
        raise _unfit(name, "text with a NUL, or not a finite number", "type")
    return cell


def _csv_line(dialect: Dialect, cells: list[str]) -> str:
    text = io.StringIO()
    try:
        csv.writer(text, dialect).writerow(cells)
        if list(csv.reader([text.getvalue()], dialect, strict=True)) == [cells]:
            return text.getvalue()
    except csv.Error:
        pass
    raise RejectedError("the dialect cannot write the row so that it reads the same", code="csv")


# -- Both ------------------------------------------------------------------------------


def _capabilities(version: Version, deleted: object) -> SourceCapabilities:
    deletes = Deletes.NONE if deleted is None else Deletes.FLAGGED
    return SourceCapabilities(Listing(), version=version, deletes=deletes, reads_ahead=True)


def _names(key: str | Sequence[str]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _unread(reason: str, code: str) -> RecordError:
    return RecordError(
        reason, remedy="Mend it, or what writes the file; the next run reads it again", code=code
    )


def _unfit(name: str, what: str, code: str) -> RecordError:
    return RecordError(f"the mapped value is {what}", path=name, code=code)


@contextmanager
def _files(path: Path) -> Iterator[None]:
    """Turn what the system says about a file into errors of ours."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}", remedy="Look at the path and who may read and write it"
        ) from error
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:  # only of encodings whose every letter is several bytes
        raise ConfigurationError(
            f"{path} is not of the encoding {error.encoding}",
            remedy="Declare the encoding= that it is written in",
        ) from None


@contextmanager
def _reading(path: Path, mode: str, encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file to read; bytes that are no text become lone surrogates, to be refused."""
    errors, newline = (None, None) if encoding is None else ("surrogateescape", "")
    with (
        _files(path),
        open(path, mode, encoding=encoding, errors=errors, newline=newline) as file,
    ):
        yield file


def _batches(
    file: IO[Any],
    lines: Lines,
    size: int,
    key: str | Sequence[str],
    version: Version,
    is_deleted: Callable[[Record], bool],
) -> Iterator[Batch]:
    before = os.fstat(file.fileno())
    rows: list[tuple[int, bytes | str, Record | RecordError]] = []
    for line in lines:
        if len(rows) == size:
            yield _batch(rows, key, version.field, is_deleted)
            rows = []
        rows.append(line)
    # Half a file must not be taken for a whole one: what it lacks would be deleted.
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnavailableError(f"{file.name} changed while it was read")
    if rows:
        yield _batch(rows, key, version.field, is_deleted)


def _batch(
    rows: Sequence[tuple[int, bytes | str, Record | RecordError]],
    key: str | Sequence[str],
    version: str | None,
    is_deleted: Callable[[Record], bool],
) -> Batch:
    read, records, deleted = list[Record](), list[Record | Refused](), list[bool]()
    for number, raw, row in rows:
        try:
            if isinstance(row, RecordError):
                raise row
            deleted.append(is_deleted(row))
            read.append(row)
            records.append(row)
        except RecordError as error:
            message = f"line {number} cannot be read: {error.message}"
            reason = RecordError(message, remedy=error.remedy, code=error.code)
            if isinstance(raw, bytes) and error.code != "encoding":
                raw = raw.decode()  # evidence for a person: text where it is text
            records.append(Refused(reason, raw))
            deleted.append(False)
            read.append({})
    batch = Batch.of(read, key=key, version=version)
    batch.records, batch.deleted = records, deleted if any(deleted) else None
    batch.raws = [raw for _, raw, _ in rows if isinstance(raw, bytes)] or None
    return batch


def _table(path: Path, key: str | Sequence[str], lines: Lines) -> dict[str, Record]:
    """Return the rows of a table by the text of their key."""
    rows: dict[str, Record] = {}
    for number, _, row in lines:
        try:
            if isinstance(row, RecordError):
                raise row
            home = _home(row, key)
            if home in rows:
                raise _unread("an earlier line has its key", "key_twice")
        except RecordError as error:
            raise ConfigurationError(
                f"line {number} of {path} is no row of this table: {error.message}",
                remedy="Mend or remove the line, or keep the table in another file",
            ) from error
        rows[home] = row
    return rows


def _home(record: Mapping[str, Any], key: str | Sequence[str]) -> str:
    return key_text(as_key([record.get(name) for name in _names(key)]))


def _apply(
    changes: Iterable[Change],
    rows: dict[str, Record],
    key: str | Sequence[str],
    encode: Callable[[Mapping[str, Any]], Record],
) -> list[Outcome]:
    """Apply changes to rows in memory; the same changes may come again after a crash."""
    outcomes: list[Outcome] = []
    written: dict[str, tuple[str | None, Record]] = {}
    left: set[str] = set()
    for change in changes:
        if change.op is Op.DELETE:
            home = change.dest_id or key_text(change.key)
            left.add(home)
        else:
            try:
                home = _home(change.record, key)
                if home in written:
                    raise _unfit("key", "a key that another record of this write has", "key_twice")
                written[home] = (change.dest_id, encode(change.record))
            except RecordError as error:
                code = error.code or "rejected"
                outcomes.append(Rejected(change.change_id, code, path=error.path))
                continue
            if change.dest_id not in (None, home):
                left.add(change.dest_id or "")
        outcomes.append(Applied(change.change_id, home))
    fresh: dict[str, Record] = {}
    for home, (was, record) in written.items():
        if was is None or was == home or was not in rows:
            old = None if home in left else rows.get(home)
        elif home not in rows or home in left:
            old = rows[was]
        elif was in written:  # sent again: it has moved, and another record has its old place
            old = rows[home]
        else:
            raise RejectedError("its key became one that another record has", code="key_taken")
        fresh[home] = (old or {}) | record
    for home in left:
        rows.pop(home, None)
    rows.update(fresh)
    return outcomes


def _is_filled(path: Path) -> bool:
    return os.path.exists(path) and os.path.getsize(path) > 0


def _replace(
    path: Path, lines: Iterable[str | bytes], mode: str, encoding: str | None = None
) -> None:
    """Write a whole file so that a crash leaves the old one or the new one."""
    target = os.path.realpath(path)  # a link stays a link
    fresh = f"{target}.tmp"  # always this name: the next write replaces what a crash leaves
    newline = None if encoding is None else ""
    with _files(path):
        with open(fresh, mode, encoding=encoding, newline=newline) as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, fresh)
        os.replace(fresh, target)
        if (
            os.name == "posix"
        ):  # pragma: no branch; the new name is durable only once its directory is
            folder = os.open(os.path.dirname(target), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
