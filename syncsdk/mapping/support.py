"""What the compiled mapping calls where a value is not as it mostly is.

Decides what is text, a number, an instant; what cannot be repaired raises :class:`Bad`
with a code. Nothing here is called for a plain value that fits, and nothing here knows of
rules.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Context, Decimal
from typing import Any, Final

from syncsdk.values import UNSET, parse_instant

__all__ = ["CODES", "Bad", "Failed", "StepFailed"]

CODES: Final = {
    "absent": "it is required and not there",
    "null": "it is required and null",
    "empty": "it is required and blank",
    "wrong_type": "it is of another type",
    "bad_format": "it has another form",
    "bad_text": "it holds characters that no text should",
    "bad_number": "it is not a number that can be told",
    "bad_date": "it is not a date that can be told",
    "no_zone": "it has no offset from UTC",
    "out_of_range": "it lies outside of what is believed",
    "too_long": "it is too long",
    "unknown_code": "it is an option that is not decided",
    "several": "there are several, and one is wanted",
    "none_fits": "there are some, and none that is wanted",
    "need_one": "none of several fields holds anything",
    "rejected": "a step refused it, and gave no code of its own",
    "step_failed": "a step failed",
    "refused": "the destination's own class refused it",
}
"""Every code of an issue, with its meaning, but those that steps give."""


class Bad(Exception):
    """A value that a rule refuses.

    Args:
        code: one of :data:`CODES`, or a step's own.
        reason: what was expected, and type and length of what was found; no value.
        path: from the place that the rule works on, as ``[2]`` for an element; from the
            record, if it starts with ``$``.
    """

    def __init__(self, code: str, reason: str, path: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.path = path


class StepFailed(Exception):
    """A step raised: a mistake in code, not in data."""


class Told(Exception):
    """A rule that several fields share refused the record, and another field said so."""


UNMADE: Final = object()
"""Stands for the result of a shared rule that has not run."""
SPOILT: Final = object()
"""Stands for the result of one that refused the record."""


class Failed:
    """What a compiled mapping returns for a record with issues.

    Attributes:
        notes: ``(guard, error)`` in the order of the fields.
    """

    __slots__ = ("notes",)

    def __init__(self, notes: list[tuple[int, Exception]]) -> None:
        self.notes = notes


class Inner(Exception):
    """The issues of an element, on their way to those of the record."""

    def __init__(self, failed: Failed, path: str = "") -> None:
        super().__init__()
        self.failed = failed
        self.path = path


_DECLARED: Final = (Bad, KeyError, StepFailed, Inner)


def note(
    bad: list[tuple[int, Exception]] | None, guard: int, error: Exception
) -> list[tuple[int, Exception]] | None:
    """Keep what went wrong with a field; the others go on."""
    if isinstance(error, Told):
        return bad
    if not isinstance(error, _DECLARED):
        raise error  # out of memory or too deep, or a mistake of ours: not the data's
    error.__traceback__ = error.__context__ = None
    if bad is None:
        return [(guard, error)]
    bad.append((guard, error))
    return bad


def said(value: object) -> str:
    """Return type and length of a value, for a message."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"text of {_number(len(value), 'character')}"
    if isinstance(value, Mapping):
        return f"an object of {_number(len(value), 'field')}"
    if isinstance(value, list | tuple):
        return f"a list of {_number(len(value), 'element')}"
    if isinstance(value, bool):
        return "true or false"
    return f"a value of type {type(value).__name__}"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[number == 1 :]}"


def wrong(expected: str, value: object, path: str = "") -> Bad:
    """Return what is wrong with a value of another type."""
    if value is None:
        return Bad("null", f"expected {expected}, got null", path)
    if value is UNSET:
        return Bad("absent", f"expected {expected}, and it is not there", path)
    return Bad("wrong_type", f"expected {expected}, got {said(value)}", path)


# -- Objects and lists -----------------------------------------------------------------


def reach(record: Any, keys: Sequence[str]) -> Any:
    """Return the value at the end of some keys, None or UNSET where the way ends so."""
    value: Any = record
    for at, key in enumerate(keys):
        if value is None or value is UNSET:
            return value
        if value.__class__ is not dict and not isinstance(value, Mapping):
            raise wrong("an object", value, "".join(["$", *(f".{part}" for part in keys[:at])]))
        value = value.get(key, UNSET)
    return value


def as_element(value: Any, among: Sequence[Any]) -> Mapping[str, Any]:
    """Return an object that is no dict; ``among`` is the list that it stands in."""
    if isinstance(value, Mapping):
        return value
    at = next(at for at, each in enumerate(among) if each is value)
    raise wrong("an object", value, f"[{at}]")


def as_list(value: Any) -> Sequence[Any]:
    """Return a list that is none of class list."""
    if isinstance(value, list | tuple):
        return value
    raise wrong("a list", value)


def pick(elements: Sequence[Any], key: Callable[[Any], Any]) -> Any:
    """Return the element with the smallest key; of equal ones the first."""
    return min(elements, key=lambda element: _rank(key(element)))


def number_of(element: Any, elements: Sequence[Any]) -> str:
    """Return which element of a list one is, as in a path: ``[2]``."""
    for number, each in enumerate(elements):
        if each is element:
            return f"[{number}]"
    return "[*]"


def _rank(value: Any) -> tuple[int, Any]:
    """Return what sorts values of several types: true and false, numbers, text, the rest."""
    if isinstance(value, bool):
        return 0, value
    if isinstance(value, Decimal) and value.is_nan():
        return 3, 0  # a signaling one refuses to be compared, even with itself
    if isinstance(value, int | float | Decimal) and value == value:
        return 1, value
    return (2, value) if isinstance(value, str) else (3, 0)


def compare(by: Callable[[Any, Any], Any], value: Any, constant: Any) -> bool:
    """Compare a value with a constant; one of another type is neither equal nor in order."""
    numbers = (int, float, Decimal)
    alike = type(value) is type(constant) or (
        isinstance(value, numbers)
        and isinstance(constant, numbers)
        and bool not in (type(value), type(constant))
    )
    if not alike:
        return by.__name__ == "ne"
    try:
        return bool(by(value, constant))
    except (TypeError, ArithmeticError):
        return False


# -- Text ------------------------------------------------------------------------------


def as_text(value: Any, path: str = "") -> str:
    """Return text that is none of class str."""
    if isinstance(value, str):
        return str.__str__(value)
    raise wrong("text", value, path)


PRINTABLE: Final = bytes(range(32, 127))
"""ASCII without control characters."""
_REFUSED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff\ud800-\udfff]")
_INVISIBLE: Final = re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
"""Zero-width characters and direction overrides; joiners stay, for scripts and emoji need them."""
_EDGES: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u200e\u200f"
)
"""White space (that of str.isspace) and direction marks, where text begins and ends.

No pattern looks for them: one that ends with $ takes the square of a gap's length."""
_MARKS: Final = ("\u200e", "\u200f")
_UNSEEN: Final = re.compile(f"{_INVISIBLE.pattern[:-1]}\u00ad\u061c\u180e\u200e\u200f]")
"""What nobody sees in a key."""


def clean(text: str, path: str = "") -> str:
    """Return text in NFC without invisible characters.

    Raises:
        Bad: at ``path``: it holds control characters, U+FFFD or half a surrogate pair.
    """
    if text.isprintable() and "\ufffd" not in text:  # which rules out all that is looked for
        return unicodedata.normalize("NFC", text)
    if _REFUSED.search(text):
        raise Bad(
            "bad_text",
            f"expected text, got {len(text)} characters with a control character, a replacement "
            "character or half a surrogate pair among them",
            path,
        )
    return text if text.isascii() else unicodedata.normalize("NFC", visible(text))


def visible(text: str) -> str:
    """Return text without invisible characters, and stripped."""
    return _INVISIBLE.sub("", text).strip(_EDGES)


def length(text: str, unit: str) -> int:
    """Return how long text is, in ``chars``, ``utf16`` or ``bytes``."""
    if unit == "chars":
        return len(text)
    if unit == "utf16":
        return len(text) + sum(character > "\uffff" for character in text)
    return len(text.encode())


_FIRST_MARK: Final = "\u0300"
"""Below it every character stands alone."""
_REGIONAL: Final = range(0x1F1E6, 0x1F200)


def _joins(before: str, after: str) -> bool:
    """Return whether a reader sees both characters as one."""
    number = ord(after)
    return (
        unicodedata.combining(after) != 0
        or unicodedata.category(after) in ("Mn", "Mc", "Me")
        or after == "\u200d"
        or before == "\u200d"
        or 0xFE00 <= number <= 0xFE0F
        or 0xE0100 <= number <= 0xE01EF
        or 0xE0020 <= number <= 0xE007F
        or 0x1F3FB <= number <= 0x1F3FF
    )


def cut(text: str, limit: int, unit: str) -> str:
    """Return text cut to a limit, and stripped.

    It is never cut before a combining mark, a joiner, a variation selector or a modifier,
    nor between the two letters of a flag. That is not all that Unicode calls a grapheme
    cluster (UAX 29).
    """
    end = min(limit, len(text))
    if unit != "chars":
        size, end = 0, 0
        for character in text:
            size += length(character, unit)
            if size > limit:
                break
            end += 1
    if 0 < end < len(text) and text[end - 1] < _FIRST_MARK and text[end] < _FIRST_MARK:
        return _ended(text[:end])
    while 0 < end < len(text) and (_joins(text[end - 1], text[end]) or _splits_flag(text, end)):
        end -= 1
    return _ended(text[:end])


def _ended(text: str) -> str:
    text = text.rstrip()
    return visible(text) if text[-1:] in _MARKS else text


def _splits_flag(text: str, end: int) -> bool:
    if ord(text[end]) not in _REGIONAL:
        return False
    before = 0
    while before < end and ord(text[end - before - 1]) in _REGIONAL:
        before += 1
    return before % 2 == 1


# -- Numbers ---------------------------------------------------------------------------

NUMBER: Final = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?", re.ASCII).fullmatch
INTEGER: Final = re.compile(r"[+-]?[0-9]{1,1000}", re.ASCII).fullmatch
CONTEXT: Final = Context(prec=250)
_MOST: Final = Decimal(10) ** 100


def as_decimal(value: Any, floats: bool) -> Decimal:
    """Return a number that is not text.

    Args:
        value: an integer, a Decimal, or a float if those are taken.
        floats: take a float for the shortest decimal that is read as it.
    """
    if value.__class__ is int or isinstance(value, Decimal):
        number = Decimal(value)
    elif isinstance(value, float) and floats:
        number = Decimal(repr(float(value)))
    else:
        raise wrong("a decimal number", value)
    if not number.is_finite() or number.copy_abs() >= _MOST:
        raise Bad("bad_number", "expected a finite number of at most 100 digits")
    return number


def bad_number(value: str) -> Bad:
    """Return what is wrong with text that is no number."""
    return Bad("bad_number", f"expected digits with an optional sign and point, got {said(value)}")


def as_integer(value: Any) -> int:
    """Return an integer that is neither of class int nor text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise wrong("an integer", value)


def as_flag(value: Any, table: Mapping[tuple[type, Any], bool]) -> bool:
    """Return what a value that is neither true nor false means."""
    try:
        found = table.get((type(value), value))
    except TypeError:
        found = None
    if found is None:
        raise wrong("true or false", value)
    return found


def as_label(value: Any, path: str) -> str:
    """Return the text of a value that goes into a label; ``path`` is its own."""
    if value.__class__ is int:
        try:
            return str(value)
        except ValueError:  # Python refuses to print integers of over 4,300 digits
            raise Bad("bad_number", "expected an integer of less than 4,300 digits", path) from None
    if not isinstance(value, str):
        raise wrong("text or an integer", value, path)
    if _REFUSED.search(value) or _UNSEEN.search(value):
        raise Bad(
            "bad_text",
            f"expected text, got {len(value)} characters with some among them that nobody sees",
            path,
        )
    if not value.strip():
        raise Bad("empty", "expected text or an integer, got blank text", path)
    return unicodedata.normalize("NFC", value)


# -- Times -----------------------------------------------------------------------------

PLAIN_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:[0-5]\d)", re.ASCII
).fullmatch
"""The form that most systems write; what datetime reads beyond it is not all ISO 8601."""


def as_instant(value: Any, zone: tzinfo | None, ambiguous: str, gap: str) -> datetime:
    """Return an instant in UTC.

    Args:
        value: ISO 8601 text with date and time, or a datetime.
        zone: of times without an offset; None if they are refused.
        ambiguous, gap: EARLIER, LATER or REJECT.
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        if "T" not in value.upper() and " " not in value.strip():
            raise Bad("bad_date", f"expected a date with a time, got {said(value)}")
        try:
            # With an offset of its own the zone says nothing; without, it is put on below.
            moment, _ = parse_instant(value.strip(), "UTC")
        except ValueError as error:
            raise Bad("bad_date", str(error)) from None
        clock = value.strip()[11:]
        if clock[-1:] in "Zz" or "+" in clock or "-" in clock:
            return moment
        moment = moment.replace(tzinfo=None)
    else:
        raise wrong("an instant", value)
    if moment.tzinfo is None:
        moment = _in_zone(moment, zone, ambiguous, gap)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Bad("bad_date", "the instant lies before the year 1 or after 9999") from None


def _in_zone(moment: datetime, zone: tzinfo | None, ambiguous: str, gap: str) -> datetime:
    if zone is None:
        raise Bad("no_zone", "expected a time with its offset from UTC, got one without")
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    twice = first.utcoffset() > second.utcoffset()  # type: ignore[operator]
    how = ambiguous if twice else gap
    if how == "REJECT":
        shown = "twice" if twice else "never"
        raise Bad("bad_date", f"the clocks of its zone show that time {shown}")
    # In a gap the rule before the change (fold=0) gives the later instant.
    return first if (how == "EARLIER") == twice else second


def as_day(value: Any) -> date:
    """Return a calendar day."""
    if isinstance(value, datetime):
        raise Bad("bad_date", "expected a day, got a date with a time")
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        raise wrong("a day", value)
    text = value.strip()
    if not _DAY(text):
        raise Bad("bad_date", f"expected a day written YYYY-MM-DD, got {said(value)}")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Bad("bad_date", "the day does not exist in the calendar") from None


_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch


# -- Options and steps -----------------------------------------------------------------


def as_option(value: Any, table: Mapping[tuple[type, Any], Any]) -> Any:
    """Look up an option by value and type (``True`` is not 1); UNSET if it is unknown."""
    if value is None or value is UNSET or isinstance(value, list | tuple | Mapping):
        raise wrong("an option", value)
    try:
        return table.get((type(value), value), UNSET)
    except TypeError:
        raise wrong("an option", value) from None


def is_blank(value: Any) -> bool:
    """Return whether a value is absent, null or blank text."""
    return value is None or value is UNSET or (isinstance(value, str) and not visible(value))


def refused(error: Exception) -> Bad:
    """Return what to tell of an error from the destination's own class, whose words may quote."""
    return Bad("refused", f"the destination's class raised {type(error).__qualname__}")
