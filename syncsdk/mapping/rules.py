"""The words of a mapping: rules for values, and what to do where a value does not fit.

Every rule is typed as the value that it yields, so that a type checker sees a rule that
yields something else than the field of the destination takes. Where the source and the
destination do not fit by themselves, an argument is required that decides; leaving it out
is a type error.

Read the decisions, then :func:`text` and :func:`code`, which are like most; ``compiler``
says what each does with a value.
"""

from __future__ import annotations

import enum
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Generic, Literal, Never, ParamSpec, TypeVar, cast, overload

from attrs import frozen

from syncsdk.errors import ConfigurationError
from syncsdk.values import Unset

from . import tracing
from .tracing import Condition, Crooked, Rule, caller, inputs_of, is_stand_in, place

__all__ = [
    "EARLIER",
    "EMAIL",
    "FIRST",
    "HALF_DOWN",
    "HALF_EVEN",
    "HALF_UP",
    "LAST",
    "LATER",
    "LEAVE",
    "NULL",
    "REJECT",
    "REQUIRED",
    "SHORTEST",
    "TRUNCATE",
    "Answer",
    "Form",
    "by",
    "coalesce",
    "code",
    "constant",
    "day",
    "decimal",
    "drop",
    "each",
    "flag",
    "fragment",
    "instant",
    "integer",
    "join",
    "keep",
    "label",
    "narrower",
    "need_one",
    "nested",
    "one_of",
    "split",
    "step",
    "text",
    "to",
    "wider",
]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C", bound=enum.Enum | str | int | None)  # never an Answer
E = TypeVar("E")
K = TypeVar("K")
M = TypeVar("M")
N = TypeVar("N")
O = TypeVar("O")  # noqa: E741  # what `over` yields
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E_contra = TypeVar("E_contra", contravariant=True)
V = TypeVar("V")

# -- Decisions -------------------------------------------------------------------------


@frozen
class Decision:
    """What is done with a value that does not fit.

    Attributes:
        word: as it stands in the document.
    """

    word: str

    def __repr__(self) -> str:
        return self.word


@frozen(repr=False)
class Answer(Decision, Generic[T_co]):
    """A decision that fits everywhere; the parameter is what it puts in the field."""


@frozen(repr=False)
class Cut(Decision):
    """TRUNCATE, which is no answer where nothing is too long."""


@frozen(repr=False)
class Pick(Decision):
    """Which of several elements is taken.

    Attributes:
        key: for :func:`by`: the field of the element whose smallest value wins.
    """

    key: Callable[[Any], Any] | None = None


@frozen(repr=False)
class Order(Pick):
    """FIRST and LAST, which ask nothing of an element."""


@frozen(repr=False)
class By(Pick, Generic[E_contra]):
    """By a field of an element of one class."""


@frozen(repr=False)
class Side(Decision):
    """Which of two instants a wall clock time names."""


@frozen(repr=False)
class Reading(Decision):
    """How a float is read."""


REJECT: Final[Answer[Never]] = Answer("REJECT")
"""The record is refused: it becomes a dead letter with the reason."""
NULL: Final[Answer[None]] = Answer("NULL")
"""The destination's field is made empty."""
LEAVE: Final[Answer[Unset]] = Answer("LEAVE")
"""The destination's field is not touched: it is left out of what is sent."""
TRUNCATE: Final = Cut("TRUNCATE")
"""The text is cut to fit; never before a combining mark, a joiner, a variation selector or a
modifier, nor between the letters of a flag."""
FIRST: Final = Order("FIRST")
"""The first in the source's order."""
LAST: Final = Order("LAST")
"""The last in the source's order."""
EARLIER: Final = Side("EARLIER")
"""The earlier of the two instants."""
LATER: Final = Side("LATER")
"""The later of the two instants."""
REQUIRED: Final = "REQUIRED"
"""A time must say its offset from UTC itself."""
SHORTEST: Final = Reading("SHORTEST")
"""A float is taken for the shortest decimal that is read as that float: 0.1 for 0.1."""

HALF_EVEN: Final = "ROUND_HALF_EVEN"
HALF_UP: Final = "ROUND_HALF_UP"
HALF_DOWN: Final = "ROUND_HALF_DOWN"
Rounding = Literal["ROUND_HALF_EVEN", "ROUND_HALF_UP", "ROUND_HALF_DOWN", "ROUND_DOWN", "ROUND_UP"]


def by(key: Callable[[A], Any]) -> By[A]:
    """Decide among several by a field: the element with the smallest value of it is taken.

    Unlike FIRST this does not depend on the order in which the source lists them.
    """
    return By("BY", key)


@frozen
class Form:
    """A form that text must have.

    Args:
        words: what it is, for people: "an e-mail address".
        pattern: a regular expression that the whole text must match.
    """

    words: str
    pattern: str


EMAIL: Final = Form("an e-mail address", r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+")


@frozen
class Related(Generic[T_co]):
    """An option of the destination that does not mean quite the same."""

    option: T_co
    relation: str
    why: str


def narrower(option: V, *, why: str) -> V:
    """Say that the destination's option means less than the source's."""
    return cast(V, Related(option, "narrower", why))


def wider(option: V, *, why: str) -> V:
    """Say that the destination's option means more than the source's."""
    return cast(V, Related(option, "wider", why))


def _rule(kind: str, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    return made(kind, inputs, settings, caller(3))


def made(
    kind: str, inputs: Sequence[Any], settings: Mapping[str, Any], where: tracing.Where
) -> Any:
    """Return a rule; settings that are None were not given, and sets have no order."""
    given = {
        name: tuple(sorted(value, key=repr)) if isinstance(value, set | frozenset) else value
        for name, value in settings.items()
        if value is not None
    }
    return Rule(kind, inputs_of(inputs), given, where)


# -- Text ------------------------------------------------------------------------------


@overload
def text(
    value: str,
    *,
    keep: str | None = None,
    case: Literal["lower", "upper"] | None = None,
    form: Form | None = None,
    also: Sequence[str] = (),
    bad: Answer[B] | str = REJECT,
    why: str | None = None,
) -> str | B: ...
@overload
def text(
    value: str,
    *,
    max: int,
    over: Answer[O] | Cut,
    unit: Literal["chars", "utf16", "bytes"] = "chars",
    keep: str | None = None,
    case: Literal["lower", "upper"] | None = None,
    form: Form | None = None,
    also: Sequence[str] = (),
    bad: Answer[B] | str = REJECT,
    why: str | None = None,
) -> str | O | B: ...
@overload
def text(
    value: str | Unset | None,
    *,
    missing: Answer[M] | str,
    keep: str | None = None,
    case: Literal["lower", "upper"] | None = None,
    form: Form | None = None,
    also: Sequence[str] = (),
    bad: Answer[B] | str = REJECT,
    why: str | None = None,
) -> str | M | B: ...
@overload
def text(
    value: str | Unset | None,
    *,
    missing: Answer[M] | str,
    max: int,
    over: Answer[O] | Cut,
    unit: Literal["chars", "utf16", "bytes"] = "chars",
    keep: str | None = None,
    case: Literal["lower", "upper"] | None = None,
    form: Form | None = None,
    also: Sequence[str] = (),
    bad: Answer[B] | str = REJECT,
    why: str | None = None,
) -> str | M | O | B: ...
@overload
def text(
    value: str | Unset | None,
    *,
    absent: Answer[M] | str,
    null: Answer[N] | str,
    empty: Answer[E] | str,
    keep: str | None = None,
    case: Literal["lower", "upper"] | None = None,
    form: Form | None = None,
    also: Sequence[str] = (),
    bad: Answer[B] | str = REJECT,
    why: str | None = None,
) -> str | M | N | E | B: ...
@overload
def text(
    value: str | Unset | None,
    *,
    absent: Answer[M] | str,
    null: Answer[N] | str,
    empty: Answer[E] | str,
    max: int,
    over: Answer[O] | Cut,
    unit: Literal["chars", "utf16", "bytes"] = "chars",
    keep: str | None = None,
    case: Literal["lower", "upper"] | None = None,
    form: Form | None = None,
    also: Sequence[str] = (),
    bad: Answer[B] | str = REJECT,
    why: str | None = None,
) -> str | M | N | E | O | B: ...
def text(value: Any, **settings: Any) -> Any:
    """Take text: cleaned, normalised (NFC), stripped, of a form and a length.

    Args:
        value: text of the source.
        missing: what to do if it is absent, null or blank. ``absent=``, ``null=`` and
            ``empty=`` decide apart. Text is a value to take instead.
        also: texts that mean nothing ("N/A", "-"), taken for blank ones.
        max, over, unit: the longest text that fits, and what to do with longer ones. In
            characters (code points), UTF-16 units or bytes of UTF-8.
        keep: a class of characters as in a regular expression ("0-9+"); others are
            removed.
        case: make it lower or upper case.
        form: what it must look like.
        bad: what to do with text of another form.
        why: the reason, for the reader of the document; required where something is lost.
    """
    return _rule("text", [value], settings)


@overload
def join(
    separator: str, *values: str | Unset | None, missing: Answer[M] | str, why: str | None = None
) -> str | M: ...
@overload
def join(
    separator: str,
    *values: str | Unset | None,
    missing: Answer[M] | str,
    max: int,
    over: Answer[O] | Cut,
    unit: Literal["chars", "utf16", "bytes"] = "chars",
    why: str | None = None,
) -> str | M | O: ...
def join(separator: str, *values: Any, **settings: Any) -> Any:
    """Join texts that are there; ``missing`` decides where none is."""
    return _rule("join", values, {"separator": separator, **settings})


@overload
def split(
    value: str, separator: str, part: int, *, missing: Answer[M] | str, why: str | None = None
) -> str | M: ...
@overload
def split(
    value: str | Unset | None,
    separator: str,
    part: int,
    *,
    missing: Answer[M] | str,
    why: str | None = None,
) -> str | M: ...
def split(value: Any, separator: str, part: int, **settings: Any) -> Any:
    """Take one part of a text, counted from 0, or from the end with -1.

    ``missing`` decides where there is no such part, or it is blank.
    """
    return _rule("split", [value], {"separator": separator, "part": part, **settings})


def label(pattern: str, *values: str | int) -> str:
    """Fill texts and integers into the ``{}`` of a pattern; each must be there.

    Text is taken as it is but for NFC, so that "007" stays "007" and no two keys become one;
    text with characters that nobody sees is refused. Integers become their digits.
    """
    return cast(str, _rule("label", values, {"pattern": pattern}))


# -- Numbers and times -----------------------------------------------------------------


@overload
def decimal(
    value: str | int | float | Decimal,
    *,
    places: int,
    rounding: Rounding,
    floats: Reading | Answer[Never] = REJECT,
    within: tuple[Decimal | int, Decimal | int] | None = None,
    bad: Answer[B] | Decimal = REJECT,
    why: str | None = None,
) -> Decimal | B: ...
@overload
def decimal(
    value: str | int | float | Decimal | Unset | None,
    *,
    places: int,
    rounding: Rounding,
    missing: Answer[M] | Decimal,
    floats: Reading | Answer[Never] = REJECT,
    within: tuple[Decimal | int, Decimal | int] | None = None,
    bad: Answer[B] | Decimal = REJECT,
    why: str | None = None,
) -> Decimal | M | B: ...
def decimal(value: Any, **settings: Any) -> Any:
    """Take a decimal number, rounded to some places.

    Args:
        value: text of ASCII digits with an optional sign and point ("-12.50"), an
            integer, or a Decimal. Never NaN, Infinity or a boolean.
        places, rounding: digits after the point, and how to get there.
        floats: REJECT, or SHORTEST for JSON numbers that were parsed as floats.
        within: the smallest and the largest value that is believed.
        missing, bad, why: as in :func:`text`.
    """
    return _rule("decimal", [value], settings)


@overload
def integer(
    value: str | int,
    *,
    within: tuple[int, int] | None = None,
    bad: Answer[B] | int = REJECT,
    why: str | None = None,
) -> int | B: ...
@overload
def integer(
    value: str | int | Unset | None,
    *,
    missing: Answer[M] | int,
    within: tuple[int, int] | None = None,
    bad: Answer[B] | int = REJECT,
    why: str | None = None,
) -> int | M | B: ...
def integer(value: Any, **settings: Any) -> Any:
    """Take an integer, or text of ASCII digits with an optional sign."""
    return _rule("integer", [value], settings)


@overload
def flag(
    value: str | int | bool,
    *,
    true: Sequence[str | int] = (),
    false: Sequence[str | int] = (),
    bad: Answer[B] | bool = REJECT,
    why: str | None = None,
) -> bool | B: ...
@overload
def flag(
    value: str | int | bool | Unset | None,
    *,
    missing: Answer[M] | bool,
    true: Sequence[str | int] = (),
    false: Sequence[str | int] = (),
    bad: Answer[B] | bool = REJECT,
    why: str | None = None,
) -> bool | M | B: ...
def flag(value: Any, **settings: Any) -> Any:
    """Take true or false; ``true=`` and ``false=`` list what else means them."""
    return _rule("flag", [value], settings)


@overload
def instant(
    value: str | datetime,
    *,
    zone: str,
    ambiguous: Side | Answer[Never] = REJECT,
    gap: Side | Answer[Never] = REJECT,
    bad: Answer[B] | datetime = REJECT,
    why: str | None = None,
) -> datetime | B: ...
@overload
def instant(
    value: str | datetime | Unset | None,
    *,
    zone: str,
    missing: Answer[M] | datetime,
    ambiguous: Side | Answer[Never] = REJECT,
    gap: Side | Answer[Never] = REJECT,
    bad: Answer[B] | datetime = REJECT,
    why: str | None = None,
) -> datetime | M | B: ...
def instant(value: Any, **settings: Any) -> Any:
    """Take an instant, as an aware datetime in UTC.

    Args:
        value: ISO 8601 text with date and time, or a datetime. Digits after the sixth of
            a second are dropped.
        zone: REQUIRED, or the IANA name of the zone of times without an offset.
        ambiguous, gap: which instant is meant by a time that the zone's clocks show twice,
            or skip: EARLIER, LATER or REJECT.
        missing, bad, why: as in :func:`text`.
    """
    return _rule("instant", [value], settings)


@overload
def day(
    value: str | date, *, bad: Answer[B] | date = REJECT, why: str | None = None
) -> date | B: ...
@overload
def day(
    value: str | date | Unset | None,
    *,
    missing: Answer[M] | date,
    bad: Answer[B] | date = REJECT,
    why: str | None = None,
) -> date | M | B: ...
def day(value: Any, **settings: Any) -> Any:
    """Take a calendar day, written ``2026-03-29``; a time of day with it is refused."""
    return _rule("day", [value], settings)


# -- Options ---------------------------------------------------------------------------


@overload
def code(
    value: K,
    table: Mapping[K, C],
    *,
    unknown: Answer[Never] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C: ...
@overload
def code(
    value: K,
    table: Mapping[K, C],
    *,
    unknown: Answer[None] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C | None: ...
@overload
def code(
    value: K,
    table: Mapping[K, C],
    *,
    unknown: Answer[Unset] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C | Unset: ...
@overload
def code(
    value: K | Unset | None,
    table: Mapping[K, C],
    *,
    unknown: Answer[Never] | C,
    missing: Answer[Never] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C: ...
@overload
def code(
    value: K | Unset | None,
    table: Mapping[K, C],
    *,
    unknown: Answer[None] | C,
    missing: Answer[None] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C | None: ...
@overload
def code(
    value: K | Unset | None,
    table: Mapping[K, C],
    *,
    unknown: Answer[Unset] | C,
    missing: Answer[Unset] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C | Unset: ...
@overload
def code(
    value: K | Unset | None,
    table: Mapping[K, C],
    *,
    unknown: Answer[Unset | None] | C,
    missing: Answer[Unset | None] | C,
    never: Sequence[object] = (),
    why: str | None = None,
) -> C | Unset | None: ...
def code(value: Any, table: Any, **settings: Any) -> Any:
    """Translate an option of the source into one of the destination.

    Args:
        value: an option: a member of an enum, a Literal, or text.
        table: the destination's option for each of the source's; wrapped in
            :func:`narrower` or :func:`wider` where it does not mean the same.
        unknown: what to do with an option that is not in the table: REJECT, an option of
            the destination, NULL or LEAVE.
        never: options of the destination that this mapping does not produce.
        missing, why: as in :func:`text`.
    """
    return _rule("code", [value], {"table": dict(table), **settings})


# -- Several to one, objects, lists ----------------------------------------------------


def one_of(
    values: Sequence[A] | Unset | None,
    mapping: Callable[[A], R],
    *,
    prefer: Callable[[A], Any],
    several: Order | By[A] | Answer[Never],
    otherwise: Order | By[A] | Answer[O],
    none: Answer[N],
    why: str | None = None,
) -> R | O | N:
    """Take one element of a list.

    Args:
        values: the list.
        mapping: what the element becomes.
        prefer: which is wanted: comparisons of its fields with constants, joined by ``&``
            and ``|``, or a ``@step`` that returns a bool.
        several: if more than one is wanted: FIRST, LAST, ``by(...)`` or REJECT.
        otherwise: if there are some, but none that is wanted: the same, NULL or LEAVE.
        none: if there is none at all (absent, null or an empty list): REJECT, NULL or LEAVE.
        why: the reason; required, for the others are lost.
    """
    settings = {"mapping": mapping, "prefer": prefer, "several": several, "why": why}
    return cast(
        "R | O | N", _rule("one_of", [values], settings | {"otherwise": otherwise, "none": none})
    )


@overload
def each(values: Sequence[A], mapping: Callable[[A], R]) -> list[R]: ...
@overload
def each(
    values: Sequence[A] | Unset | None,
    mapping: Callable[[A], R],
    *,
    missing: Answer[M] | list[R],
    why: str | None = None,
) -> list[R] | M: ...
def each(values: Any, mapping: Any, **settings: Any) -> Any:
    """Map every element of a list; one that is refused refuses the record."""
    return _rule("each", [values], {"mapping": mapping, **settings})


def nested(
    value: A | Unset | None,
    mapping: Callable[[A], R],
    *,
    missing: Answer[M],
    why: str | None = None,
) -> R | M:
    """Map an object that may be absent or null; where it must be there, call the mapping."""
    return cast(
        "R | M", _rule("nested", [value], {"mapping": mapping, "missing": missing, "why": why})
    )


@overload
def coalesce(*values: T | Unset | None, missing: Answer[Never], why: str | None = None) -> T: ...
@overload
def coalesce(
    *values: T | Unset | None, missing: Answer[None], why: str | None = None
) -> T | None: ...
@overload
def coalesce(
    *values: T | Unset | None, missing: Answer[Unset], why: str | None = None
) -> T | Unset: ...
@overload
def coalesce(*values: T | Unset | None, missing: T, why: str | None = None) -> T: ...
def coalesce(*values: Any, **settings: Any) -> Any:
    """Take the first of several that is there; ``missing`` decides where none is.

    A text that is blank is not there.
    """
    return _rule("coalesce", values, settings)


def constant(value: T) -> T:
    """Put the same value into every record."""
    return cast(T, Rule("constant", (), {"value": value}, caller()))


def keep(value: T) -> T:
    """Take a value as it is, whatever it is: no check, no cleaning, no decision."""
    return cast(T, _rule("keep", [value], {}))


def drop(*values: object, why: str) -> None:
    """Say that fields of the source have no home in the destination."""
    where = caller()
    now = tracing.reading()
    assert now is not None  # or caller() had raised
    now.dropped += [(each, why, where) for each in _places(values)]


def need_one(*values: object, why: str) -> None:
    """Refuse a record in which none of several fields holds anything."""
    where = caller()
    now = tracing.reading()
    assert now is not None
    now.needs.append((_places(values), why, where))


def _places(values: Sequence[object]) -> tuple[tracing.Place, ...]:
    if not values or not all(map(is_stand_in, values)):
        raise Crooked("drop and need_one take fields of the source")
    return tuple(map(place, values))


# -- Around them -----------------------------------------------------------------------


def to(kind: Callable[P, T]) -> Callable[P, T]:
    """Return what takes a rule for each field of the destination.

    It has the signature of the destination's own constructor, so that a type checker sees
    every field that is misspelt, forgotten or of another type.
    """

    def make(*unnamed: Any, **values: Any) -> Any:
        where = caller()
        if unnamed:
            raise Crooked(f"name the fields: to({kind.__name__})(field=rule, ...)")
        return tracing.record(cast(type, kind), values, where)

    return make


def fragment(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function be a part of mappings: it is read where it is called."""

    @functools.wraps(function)
    def read(*arguments: P.args, **named: P.kwargs) -> T:
        now = tracing.reading()
        if now is None:
            return function(*arguments, **named)
        problems = list(tracing.crooked(function))
        if problems:
            raise Crooked(f"the fragment {function.__name__} is no straight line: {problems[0][1]}")
        now.codes |= tracing.allowed(function)
        return function(*arguments, **named)

    return read


@frozen(eq=False)
class Step(Generic[P, T]):
    """A rule of somebody's own: a pure function with a docstring and a version."""

    function: Callable[P, T]
    version: str
    tables: Mapping[str, Mapping[Any, Any]]

    @property
    def words(self) -> str:
        """Its line in the document."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def name(self) -> str:
        """File and function: the same however its module was imported."""
        return tracing.name_of(self.function)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> T:
        given = [*arguments, *named.values()]
        if not any(is_stand_in(each) or isinstance(each, Rule) for each in given):
            return self.function(*arguments, **named)
        if named:
            raise Crooked(f"call the step {self.name} with its arguments in order, unnamed")
        return cast(T, Rule("step", inputs_of(arguments), {"step": self}, caller()))


def step(
    *, version: str, tables: Mapping[str, Mapping[Any, Any]] | None = None
) -> Callable[[Callable[P, T]], Step[P, T]]:
    """Make a rule of a pure function.

    It refuses a record by raising a :class:`~syncsdk.errors.MappingError`, whose message
    and code, without a value of the record, become those of the issue. Any other exception
    is a mistake in the step, and the issue says so.

    Args:
        version: changes whenever the same argument might give another result.
        tables: what the function looks things up in, by their titles in the document. A
            change of one changes the mapping's digest.

    Raises:
        ConfigurationError: it has no version, or the function no docstring, which is its line
            in the document; with ``python -OO`` none has.
    """

    def made(function: Callable[P, T]) -> Step[P, T]:
        if not version.strip():
            raise ConfigurationError(
                f"the step {function.__name__} has no version",
                remedy='Begin with version="1", and change it whenever it might answer otherwise',
            )
        if sys.flags.optimize > 1:
            raise ConfigurationError(
                "docstrings are stripped, and those of steps stand in the document (python -OO)",
                remedy="Run Python without -OO; -O is fine",
            )
        if not (function.__doc__ or "").strip():
            raise ConfigurationError(
                f"the step {function.__name__} has no docstring",
                remedy="Say in a sentence what it does: that is its line in the document",
            )
        return Step(function, version, {**(tables or {})})

    return made


def condition(prefer: Any, element: Any) -> Condition | Step[Any, Any]:
    """Return what a ``prefer`` asks of an element, given the element's stand-in."""
    if isinstance(prefer, Step):
        return prefer
    asked = prefer(element)
    if not isinstance(asked, Condition):
        raise Crooked("prefer= takes comparisons with constants, joined by & and |, or a @step")
    return asked


def related(option: Any) -> Related[Any]:
    """Return an option of a table with its relation."""
    return option if isinstance(option, Related) else Related(option, "same", "")


def pattern(form: Form) -> re.Pattern[str]:
    """Return the compiled pattern of a form."""
    return re.compile(form.pattern)
