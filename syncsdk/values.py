"""Values that mean the same in every run: keys, versions, cursors, fingerprints.

Decides what a key is (:func:`as_key`), when two mapped records are equal
(:func:`canonical`, :class:`Fingerprints`), how a version is compared (:class:`Version`)
and how a cursor is taken back to an instant without being rewritten
(:class:`Watermark`, :class:`Keyset`). Leaves to ``protocols`` what crosses between a
connector and the engine, and to ``stores`` where values are kept.

Read :data:`UNSET`, keys, canonical form, versions, cursors, and last :func:`pack`, the
text form of records that are kept for later.
"""

from __future__ import annotations

import enum
import json
import marshal
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, localcontext
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import attrs
from attrs import frozen

from .errors import ConfigurationError, ContractError, RecordError

__all__ = [
    "INSTANT",
    "INTEGER",
    "OPAQUE",
    "UNSET",
    "Cursor",
    "Fingerprints",
    "Key",
    "Keyset",
    "Listing",
    "Token",
    "Unset",
    "Version",
    "Watermark",
    "as_key",
    "canonical",
    "idempotency_key",
    "key_digest",
    "key_text",
    "pack",
    "parse_instant",
    "parse_key_text",
    "unpack",
]


class Unset(enum.Enum):
    """The type of :data:`UNSET`; ``value is UNSET`` narrows it away for type checkers."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Not there at all: neither null nor empty. Left out of a payload, kept in a fingerprint."""

# -- Keys ------------------------------------------------------------------------------

Key: TypeAlias = tuple[str, ...]
"""What names a record in its system: one text or several, never a joined string."""

_COMPOUND: Final = "\x1e"
"""First character of the text of a key with several parts (or one that starts with it)."""


def as_key(value: object) -> Key:
    """Return ``value`` as a key.

    Text stays as it is, an integer becomes its decimal text, a tuple or list is taken
    part by part.

    Raises:
        RecordError: a part is null, empty, a bool, a float or any other type, or holds a
            lone surrogate, which no system can store.
    """
    parts = value if isinstance(value, tuple | list) else (value,)
    if not parts:
        raise _no_key("it has no parts", "empty")
    return tuple(map(_key_part, parts))


def _key_part(part: object) -> str:
    if isinstance(part, str):
        if not part:
            raise _no_key("it is empty text", "empty")
        try:
            part.encode()
        except UnicodeEncodeError:
            raise _no_key("it holds a lone surrogate", "surrogate") from None
        return str.__str__(part)
    if isinstance(part, int) and not isinstance(part, bool):
        try:
            return str(int(part))
        except ValueError:  # Python refuses to print integers of over 4,300 digits
            raise _no_key("it is an integer of thousands of digits", "too_long") from None
    if part is None or part is UNSET:
        raise _no_key("it is missing or null", "missing")
    raise _no_key(f"it is of type {type(part).__name__}", "type")


def _no_key(reason: str, code: str) -> RecordError:
    return RecordError(
        f"the record has no usable key: {reason}",
        remedy="Give the record a key of text or integers in its source, or name another key field",
        path="key",
        code=f"key_{code}",
    )


def key_text(key: Key) -> str:
    """Return ``key`` as one text, different for different keys; for storage, not display."""
    if len(key) == 1 and key[0][0] != _COMPOUND:
        return key[0]
    return _COMPOUND + json.dumps(key, ensure_ascii=False, separators=(",", ":"))


def parse_key_text(text: str) -> Key:
    """Return the key whose :func:`key_text` is ``text``."""
    return tuple(json.loads(text[1:])) if text[:1] == _COMPOUND else (text,)


def key_digest(key: Key) -> str:
    """Return 8 hexadecimal digits that stand for ``key`` in logs, spans and error texts."""
    return blake2b(key_text(key).encode() if key else b"", digest_size=4).hexdigest()


def idempotency_key(*parts: str | int) -> str:
    """Return 32 hexadecimal digits, the same for the same parts in every process.

    Name one logical operation by its parts (system, record, attempt of the business, not
    of the network) and send the result as ``Idempotency-Key``
    (draft-ietf-httpapi-idempotency-key-header).
    """
    digest = blake2b(digest_size=16, person=b"syncsdk-idem")
    for part in parts:
        if not isinstance(part, str | int):
            raise TypeError(f"a part of an idempotency key is of type {type(part).__name__}")
        data = f"{type(part).__name__}:{part}".encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


# -- Canonical form and fingerprint ----------------------------------------------------

MAX_DEPTH: Final = 100
"""How deep lists and objects of a mapped record may nest."""

_PLAIN: Final = frozenset({int, bool, type(None)})


def canonical(value: object, path: str = "$", depth: int = 0) -> Any:
    """Return ``value`` as plain data that is equal exactly where the values mean the same.

    Text is normalised to NFC, ``1.20`` equals ``1.2`` as a decimal, instants are compared
    in UTC, the keys of an object have no order, and :data:`UNSET`, None and ``""`` are
    three things. Integers, floats and decimals differ from each other.

    Raises:
        RecordError: no destination could hold the value: not a number, infinite, text
            with a lone surrogate, nested deeper than 100, an object whose key is not
            text, or a type that is not data.
    """
    kind = value.__class__
    if kind is str:
        assert isinstance(value, str)
        return value if value.isascii() else _text(value, path)
    if kind is int or kind is bool or value is None:
        return value
    if value is UNSET:
        return ...
    return _canonical_other(value, path, depth)


def _canonical_other(value: object, path: str, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return canonical(value.value, path, depth)
    if isinstance(value, str):
        return _text(str.__str__(value), path)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value - value != 0.0:
            raise _unfit("not a finite number", path, "not_finite")
        return float(value) + 0.0  # minus zero becomes zero
    if isinstance(value, Decimal):
        return ("decimal", _decimal(value, path))
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            return ("local", value.isoformat(timespec="microseconds"))
        try:
            return ("instant", value.astimezone(UTC).isoformat(timespec="microseconds"))
        except OverflowError:
            raise _unfit("an instant before the year 1 or after 9999", path, "calendar") from None
    if isinstance(value, date | time):
        return (type(value).__name__, value.isoformat())
    if isinstance(value, timedelta):
        return ("duration", value.days, value.seconds, value.microseconds)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, UUID):
        return str(value)
    if depth >= MAX_DEPTH:
        raise _unfit(f"nested deeper than {MAX_DEPTH}", path, "too_deep")
    if isinstance(value, Mapping):
        return ("object", *_members(value.items(), path, depth))
    if isinstance(value, list | tuple):
        return [canonical(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
    kind = type(value)
    if attrs.has(kind):
        members = ((item.name, getattr(value, item.name)) for item in attrs.fields(kind))
        return ("object", *_members(members, path, depth))
    raise _unfit(f"of type {type(value).__name__}, which is not data", path, "type")


def _members(items: Iterable[tuple[Any, Any]], path: str, depth: int) -> list[Any]:
    flat: list[Any] = []
    pairs = []
    for name, item in items:
        if not isinstance(name, str):
            raise _unfit(f"an object with a key of type {type(name).__name__}", path, "type")
        if item is not UNSET:
            pairs.append((_text(name, path), name, item))
    for name, _, item in sorted(pairs, key=lambda pair: pair[:2]):
        # marshal takes text of class str only.
        flat += (str.__str__(name), canonical(item, f"{path}.{name}", depth + 1))
    return flat


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _unfit("text with a lone surrogate", path, "surrogate") from None
    return unicodedata.normalize("NFC", value)


def _decimal(value: Decimal, path: str) -> str:
    # Decimal.normalize rounds to the context's precision, so the zeros are taken off by hand.
    if not value.is_finite():
        raise _unfit("not a finite number", path, "not_finite")
    mantissa, _, exponent = str(value).partition("E")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    text = (whole + fraction).lstrip("0")
    short = text.rstrip("0")
    if not short:
        return "0"
    ends = int(exponent or 0) - len(fraction) + len(text) - len(short)
    return f"{'-' if value.is_signed() else ''}{short}e{ends}"


def _unfit(reason: str, path: str, code: str) -> RecordError:
    return RecordError(
        f"the mapped value is {reason}",
        remedy="Decide in the mapping what such a value becomes",
        path=path,
        code=code,
    )


class Fingerprints:
    """Digests of mapped records with the same fields, in the order of ``names``.

    A fingerprint is 16 bytes: BLAKE2b over the canonical record, personalised with the
    format's version and salted with the fields' names. The format has a golden file: the
    same on every Python, hash seed and machine. The one exception are combining marks that
    were new to Unicode between two versions of Python: NFC may order them otherwise, and
    such a record is then written once more.
    """

    FORMAT: Final = b"syncsdk-fp1"

    def __init__(self, names: Sequence[str]) -> None:
        self._order = sorted(range(len(names)), key=names.__getitem__)
        self._names = [names[at] for at in self._order]
        listed = json.dumps(self._names).encode()
        self._start = blake2b(
            digest_size=16, person=self.FORMAT, salt=blake2b(listed, digest_size=16).digest()
        )

    def of(self, row: Sequence[object]) -> bytes:
        """Return the fingerprint of one record, given as its values.

        Raises:
            RecordError: a value has no canonical form; ``path`` names the field.
        """
        (mark,) = self.of_all([row])
        if isinstance(mark, RecordError):
            raise mark
        return mark

    def of_all(self, rows: Sequence[Sequence[object]]) -> list[bytes | RecordError]:
        """Return the fingerprint of each record, or why one has none.

        Made by columns: most hold ASCII text only, and two scans that stay in C say so.
        """
        if not rows:
            return []
        columns = list(zip(*rows, strict=True))
        try:
            plain = [
                _canonical_column(name, columns[at])
                for name, at in zip(self._names, self._order, strict=True)
            ]
        except RecordError as error:
            if len(rows) == 1:
                return [error]
            return [mark for row in rows for mark in self.of_all([row])]
        copy, dumps = self._start.copy, marshal.dumps
        marks: list[bytes | RecordError] = []
        for values in zip(*plain, strict=True) if plain else [()] * len(rows):
            digest = copy()
            digest.update(dumps(values, 2))
            marks.append(digest.digest())
        return marks


def _canonical_column(name: str, column: Sequence[Any], depth: int = 0) -> Sequence[Any]:
    kinds = set(map(type, column))
    if kinds == {str}:
        if all(map(str.isascii, column)):
            return column
        return [value if value.isascii() else _text(value, name) for value in column]
    if kinds <= _PLAIN:
        return column
    if kinds == {datetime} and all(value.tzinfo is UTC for value in column):
        return [("instant", value.isoformat(timespec="microseconds")) for value in column]
    if kinds == {dict} and depth == 0 and (names := _shared_names(column)):
        parts: list[Sequence[Any]] = [["object"] * len(column)]
        for each in names:
            values = [value[each] for value in column]
            parts += [each] * len(column), _canonical_column(f"{name}.{each}", values, 1)
        return list(zip(*parts, strict=True))
    return [canonical(value, name, depth) for value in column]


def _shared_names(column: Sequence[dict[Any, Any]]) -> list[str]:
    """Return the sorted names that all objects of a column have, or none if they differ."""
    names = column[0].keys()
    plain = all(type(name) is str and name.isascii() for name in names)
    if not plain or any(value.keys() != names or UNSET in value.values() for value in column):
        return []
    return sorted(names)


# -- Versions --------------------------------------------------------------------------

_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"  # date
    r"(?:([Tt ])(\d\d:\d\d)(:\d\d(?:[.,](\d+))?)?"  # separator, minutes, seconds, fraction
    r"(?: ?([Zz]|[+-]\d\d(?::?[0-5]\d(?::?[0-5]\d)?)?))?)?"  # offset
)


def parse_instant(text: str, zone: str | None = None) -> tuple[datetime, str]:
    """Return the instant that ISO 8601 ``text`` names, without losing a digit.

    Args:
        text: such as ``2026-03-29T02:30:00.123456789+01:00`` or ``2026-03-29``.
        zone: an IANA name, for text without an offset. Of two instants with the same
            wall clock time the earlier is meant.

    Returns:
        The instant in UTC, and the digits of its fraction after the sixth, without
        trailing zeros. Such pairs compare as the instants do.

    Raises:
        ValueError: not ISO 8601, or no offset and no ``zone``.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an ISO 8601 instant, got text of {len(text)} characters")
    day, _, minutes, seconds, fraction, offset = match.groups()
    fraction = fraction or ""
    rest = fraction[6:].rstrip("0")
    plain = f"{day} {minutes or '00:00'}{(seconds or ':00')[:3]}.{fraction[:6]:0<6}"
    suffix = "+00:00" if offset is not None and offset in "Zz" else offset or ""
    try:
        moment = datetime.fromisoformat(plain + suffix)
    except ValueError:  # whose words quote the text
        raise ValueError("the instant does not exist in the calendar") from None
    if offset is None:
        if zone is None:
            raise ValueError("the instant has no offset from UTC, and no zone= is declared")
        moment = moment.replace(tzinfo=_zone(zone))
    try:
        return moment.astimezone(UTC), rest
    except OverflowError:
        raise ValueError("the instant lies before the year 1 or after 9999") from None


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"the time zone {name!r} is unknown here",
            remedy="Use an IANA name such as Europe/Berlin; on Windows install tzdata",
        ) from error


@frozen
class Version:
    """How the versions of a source's records compare; use :data:`INSTANT` and its siblings.

    ``INSTANT("updated_at")`` also names the field that holds the version, for sources that
    read it from the record.
    """

    kind: Literal["instant", "integer", "opaque"]
    field: str | None = None
    zone: str | None = None

    def __call__(self, field: str, *, zone: str | None = None) -> Version:
        return Version(self.kind, field, zone)

    def parse(self, raw: str | None) -> Any:
        """Return ``raw`` as something that compares as the versions do; OPAQUE gives None.

        Raises:
            RecordError: missing or unreadable, where the kind demands one.
        """
        if self.kind == "opaque":
            return None
        try:
            if raw is None:
                raise ValueError("it is missing")
            if self.kind == "instant" and raw[4:5] == "-" and not raw[26:27].isdigit():
                # The common form, without a digit that datetime would drop.
                try:
                    instant = datetime.fromisoformat(raw)
                    if instant.tzinfo is UTC:
                        return instant, ""
                except ValueError:
                    pass
            return parse_instant(raw, self.zone) if self.kind == "instant" else int(raw)
        except ValueError as error:
            reason = str(error) if self.kind == "instant" or raw is None else "not an integer"
            raise RecordError(
                f"the version cannot be read: {reason}",
                remedy="Mend the version in the source, or declare another kind (OPAQUE never "
                "holds a record for stale)",
                path=self.field or "version",
                code="version",
            ) from None


INSTANT: Final = Version("instant")
"""Versions are instants (ISO 8601), compared to the last digit."""
INTEGER: Final = Version("integer")
"""Versions are integers that grow with each change."""
OPAQUE: Final = Version("opaque")
"""Versions cannot be compared (ETags, hashes), or there are none: nothing is ever stale."""

# -- Cursors ---------------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_EPOCH_UNITS: Final = {"epoch": 6, "epoch_ms": 3, "epoch_us": 0}


def _not_negative(instance: object, attribute: Any, value: timedelta) -> None:
    if value < timedelta(0):
        raise ConfigurationError(
            f"{attribute.name}= is negative", remedy="Give a timedelta of zero or more"
        )


@frozen
class Watermark:
    """A cursor that is an instant: the place after all records up to it.

    The durable cursor is the source's own raw text. It is only ever replaced by
    :meth:`floor`, which rounds down and writes the source's own format.

    Args:
        field: the record's field that the source sorts and filters by.
        lateness: how long after its timestamp a record may still appear (long
            transactions, search indexes). Zero must be written. Includes one tick of
            ``granularity``.
        format: ``iso`` (ISO 8601), ``epoch``, ``epoch_ms``, ``epoch_us`` (a number since
            1970-01-01 UTC), or a pattern of :meth:`datetime.strptime`.
        granularity: the step in which the source keeps its timestamps.
        zone: the IANA time zone of timestamps that carry no offset. Wall clocks go back
            once a year: the cursor then goes back with them.
    """

    field: str
    lateness: timedelta = attrs.field(kw_only=True, validator=_not_negative)
    format: str = attrs.field(kw_only=True, default="iso")
    granularity: timedelta = attrs.field(kw_only=True, default=_TICK, validator=_not_negative)
    zone: str | None = attrs.field(kw_only=True, default=None)

    def __attrs_post_init__(self) -> None:
        if timedelta(0) < self.lateness < self.granularity:
            raise ConfigurationError(
                "lateness= is shorter than one tick of granularity=",
                remedy="Include one tick: a record may appear until its tick is over",
            )
        if self.zone is not None:
            _zone(self.zone)

    def position(self, cursor: str) -> Any:
        """Return where ``cursor`` stands, as something that sorts.

        Raises:
            ContractError: it is not of the declared format.
        """
        try:
            return self._read(cursor)[0]
        except (ValueError, ArithmeticError):  # whose words quote the cursor
            raise ContractError(
                f"a cursor on {self.field} is not of the declared format {self.format!r}",
                remedy="Declare the format= and, for timestamps without an offset, the zone= "
                "that the source uses",
            ) from None

    def floor(self, cursor: str, at: datetime) -> str:
        """Return ``cursor``, or an earlier place if it lies past the instant ``at``.

        Args:
            cursor: the source's raw text.
            at: an aware instant.
        """
        position = self.position(cursor)
        at = at.astimezone(UTC)
        at = _EPOCH + (at - _EPOCH) // max(self.granularity, _TICK) * max(self.granularity, _TICK)
        cap, text = self._write(cursor, at)
        return cursor if position <= cap else text

    def _read(self, cursor: str) -> tuple[Any, Any]:
        """Return the position of ``cursor`` and, for ISO 8601, how it is written."""
        if self.format in _EPOCH_UNITS:
            number = Decimal(cursor)
            if not number.is_finite():
                raise ValueError("not a finite number")
            return number, None
        if self.format == "iso":
            match = _ISO.fullmatch(cursor)
            # Without an offset the wall clock is the position: that is what the source
            # itself compares.
            naive = match is not None and match[6] is None and self.zone is not None
            moment, rest = parse_instant(cursor, "UTC" if naive else None)
            return (moment.replace(tzinfo=None), rest), match
        moment = datetime.strptime(cursor, self.format)  # noqa: DTZ007  # told below
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).replace(tzinfo=None), None
        if self.zone is None:
            raise ValueError("no offset from UTC, and no zone= is declared")
        return moment, None

    def _write(self, cursor: str, at: datetime) -> tuple[Any, str]:
        """Return the position of ``at``, and its text in the format of ``cursor``."""
        if self.format in _EPOCH_UNITS:
            ticks = Decimal((at - _EPOCH) // _TICK).scaleb(-_EPOCH_UNITS[self.format])
            digits = max(0, -int(Decimal(cursor).as_tuple().exponent))
            with localcontext(prec=digits + 40):  # a cursor may have more than the usual 28
                floored = ticks.quantize(Decimal(1).scaleb(-digits), rounding="ROUND_FLOOR")
                return ticks, f"{floored:f}"
        if self.format == "iso":
            match = _ISO.fullmatch(cursor)
            assert match is not None  # its position was read
            suffix: Any = match[6]
            if suffix is None:
                wall = self._wall(at)
                return (wall, ""), _iso_like(match, wall)
            if suffix in "Zz":
                return (at.replace(tzinfo=None), ""), _iso_like(match, at)
            offset = datetime.fromisoformat(f"2000-01-01 00:00{suffix}").tzinfo
            return (at.replace(tzinfo=None), ""), _iso_like(match, at.astimezone(offset))
        if "%z" in self.format:
            return at.replace(tzinfo=None), at.strftime(self.format)
        wall = self._wall(at)
        return wall, wall.strftime(self.format)

    def _wall(self, at: datetime) -> datetime:
        """Return the earliest wall clock time that any instant from ``at`` on can show.

        When a zone's clocks are set back, instants after ``at`` show earlier times than
        ``at`` does; taking the smaller offset of the coming day covers that.
        """
        zone = _zone(self.zone or "UTC")
        now, soon = at.astimezone(zone), (at + timedelta(days=1)).astimezone(zone)
        offset = min(now.utcoffset() or timedelta(0), soon.utcoffset() or timedelta(0))
        return at.replace(tzinfo=None) + offset


def _iso_like(like: re.Match[str], moment: datetime) -> str:
    _, separator, minutes, seconds, fraction, offset = like.groups()
    text = moment.strftime("%Y-%m-%d").rjust(10, "0")
    if minutes is not None:
        text += separator + moment.strftime("%H:%M")
    if seconds is not None:
        text += moment.strftime(":%S")
    if fraction is not None:
        text += (seconds or "")[3:4] + f"{moment.microsecond:06}"[: len(fraction)].ljust(
            len(fraction), "0"
        )
    gap = " " if offset is not None and like.string[-len(offset) - 1] == " " else ""
    return text + gap + (offset or "")


@frozen
class Keyset(Watermark):
    """A watermark with a unique id beside it: the exact place in ``ORDER BY field, id``.

    Its text is the compact JSON array ``[value, id]`` of the source's raw texts.

    Args:
        id: the unique field that breaks ties, the second in the source's order.
    """

    id: str = "id"

    def cursor(self, value: str, id: str | None) -> str:
        """Return the place after the record with this value and id.

        An ``id`` of None is the place before the first record of that value.
        """
        return json.dumps([value, id], ensure_ascii=False, separators=(",", ":"))

    def split(self, after: str) -> tuple[str, str | None]:
        """Return value and id of a cursor: read what sorts after them.

        An id of None means that all records of that value are still to be read:
        ``field >= value``.

        Raises:
            ContractError: not a cursor of a keyset.
        """
        try:
            parts = json.loads(after)
            if not isinstance(parts, list):
                raise ValueError("expected an array")
            value, id = parts
            if not isinstance(value, str) or not isinstance(id, str | None):
                raise ValueError("expected two texts")
        except (ValueError, RecursionError):
            raise ContractError(
                "a keyset cursor is a JSON array of two texts, and this one is not",
                remedy="Make it with keyset.cursor(value, id)",
            ) from None
        return value, id

    def position(self, cursor: str) -> Any:
        """Return where the value of ``cursor`` stands; ids have no order that we know."""
        return Watermark.position(self, self.split(cursor)[0])

    def floor(self, cursor: str, at: datetime) -> str:
        """Return ``cursor``, or the place before all records at ``at`` if it lies past it."""
        value, _ = self.split(cursor)
        lower = Watermark(
            self.field,
            lateness=self.lateness,
            format=self.format,
            granularity=self.granularity,
            zone=self.zone,
        ).floor(value, at)
        return cursor if lower == value else self.cursor(lower, None)


@frozen
class Token:
    """A server's own text, stored as given: an exact change feed, whose order is its commits'.

    Args:
        lateness: zero for an exact feed. Else every batch needs a ``watermark``, and a
            token is stored only once that is past what may still be late.
    """

    lateness: timedelta = attrs.field(kw_only=True, default=timedelta(0), validator=_not_negative)


@frozen
class Listing:
    """No cursor: every run reads everything."""


Cursor: TypeAlias = Watermark | Keyset | Token | Listing
"""The four kinds of cursor that a source may declare."""

# -- Records kept for later ------------------------------------------------------------


def pack(value: object) -> str:
    """Return ``value`` as JSON from which :func:`unpack` makes an equal value again.

    JSON's own types, decimals, dates, times, bytes, UUIDs and :data:`UNSET` keep their
    type; an enum becomes its value, a tuple a list.

    Raises:
        TypeError: some part is not data.
        RecursionError, ValueError: too deep, or an integer of thousands of digits.
    """
    return json.dumps(_tagged(value), separators=(",", ":"))


def _tagged(value: Any) -> Any:
    if value is UNSET:
        return {"$unset": True}
    if isinstance(value, enum.Enum):
        return _tagged(value.value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        if all(isinstance(name, str) and name[:1] != "$" for name in value):
            return {name: _tagged(item) for name, item in value.items()}
        return {"$object": [[_name(name), _tagged(item)] for name, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": bytes(value).hex()}
    if isinstance(value, timedelta):
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    for tag, (kind, write, _) in _TAGS.items():
        if isinstance(value, kind):
            return {tag: write(value)}
    raise TypeError(f"a value of type {type(value).__name__} cannot be kept as text")


def _name(name: object) -> object:
    if name is None or isinstance(name, str | int | float):
        return name
    raise TypeError(f"an object with a name of type {type(name).__name__} cannot be kept as text")


_TAGS: Final[dict[str, tuple[type, Any, Any]]] = {
    "$decimal": (Decimal, str, Decimal),
    "$datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "$date": (date, date.isoformat, date.fromisoformat),
    "$time": (time, time.isoformat, time.fromisoformat),
    "$uuid": (UUID, str, UUID),
}


def unpack(text: str) -> Any:
    """Return the value whose :func:`pack` is ``text``."""
    return json.loads(text, object_hook=_untagged)


def _untagged(item: dict[str, Any]) -> Any:
    if len(item) != 1:
        return item
    ((tag, value),) = item.items()
    if tag in _TAGS:
        return _TAGS[tag][2](value)
    if tag == "$object":
        return dict(value)
    if tag == "$bytes":
        return bytes.fromhex(value)
    if tag == "$timedelta":
        return timedelta(*value)
    return UNSET if tag == "$unset" else item
