"""How a mapping is read: its function is called with something that stands for the source.

Decides what may stand in a mapping (a straight line: no branch, no loop, no look at a
value), and records which rule each field of the destination gets, with file and line.
Leaves the rules to ``rules`` and what is wrong with them to ``checks``.

Read :func:`trace`, then :class:`StandIn`, which refuses all but to be handed to a rule, and
:func:`crooked`, which finds in the byte code what a stand-in cannot notice.
"""

from __future__ import annotations

import dis
import enum
import inspect
import operator
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import PurePath
from typing import Any, Final, NoReturn

from attrs import define, field, frozen

from syncsdk.errors import ConfigurationError

from .shapes import Field, Shape, hides, shape

__all__ = ["Condition", "Made", "Place", "Rule", "StandIn", "Trace", "Where", "trace"]


@frozen
class Where:
    """A line of somebody's module."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@frozen
class Place:
    """A place in the source's record.

    Attributes:
        steps: the fields that lead to it; the first belongs to the record, or to the
            element that a rule looks at.
        of: the shape of the object there, if it is one.
    """

    steps: tuple[Field, ...]
    of: Shape | None = field(default=None, eq=False)

    @property
    def field(self) -> Field:
        """The last step; there is none if it is the whole record."""
        return self.steps[-1]

    @property
    def path(self) -> str:
        """As JSONPath, from the record or the element: ``$.address.city``."""
        return "".join(["$", *(f".{step.key}" for step in self.steps)])

    @property
    def names(self) -> tuple[str, ...]:
        """Its steps by their names in Python."""
        return tuple(step.name for step in self.steps)

    @property
    def sensitive(self) -> bool:
        """Whether no value of it may be shown, for one of its steps or something in it hides."""
        inner = () if self.of is None else self.of.fields.values()
        return any(step.sensitive for step in self.steps) or any(
            map(hides, (*self.steps[-1:], *inner))
        )


@frozen(eq=False)
class Rule:
    """One rule of a mapping, as it was read.

    Attributes:
        kind: the name of the function in ``rules``.
        inputs: what it works on: a :class:`Place`, another rule, or several of them.
        settings: its other arguments, as they were written.
        where: its line.
    """

    kind: str
    inputs: tuple[Any, ...]
    settings: Mapping[str, Any]
    where: Where

    @property
    def missing(self) -> list[Any]:
        """What was decided for absent, null and blank values; None where nothing was."""
        its = self.settings
        return [its.get("missing", its.get(name)) for name in ("absent", "null", "empty")]

    def __bool__(self) -> NoReturn:
        raise Crooked("a value is asked whether it is true; nothing is known of it yet")


@frozen(eq=False)
class Made:
    """A record of the destination, as it was read: a rule for each field."""

    kind: type
    values: Mapping[str, Any]
    where: Where


@frozen(eq=False)
class Condition:
    """A question about an element, of comparisons with constants joined by ``&`` and ``|``.

    Attributes:
        parts: ``(place, operator, constant)``, or ``(condition, "&" or "|", condition)``.
    """

    parts: tuple[Any, str, Any]

    def __and__(self, other: object) -> Condition:
        return _joined(self, "&", other)

    def __or__(self, other: object) -> Condition:
        return _joined(self, "|", other)

    def __bool__(self) -> NoReturn:
        raise Crooked(
            "a comparison is asked whether it is true; join comparisons by & and |, in brackets"
        )


def _joined(one: Condition, by: str, other: object) -> Condition:
    if not isinstance(other, Condition):
        raise Crooked(f"{by} joins comparisons only")
    return Condition((one, by, other))


class Crooked(Exception):
    """Something in a mapping that is more than a straight line of rules."""


@define
class Trace:
    """What was read of one mapping function.

    Attributes:
        source: the shape of what it takes.
        made: what it returns.
        dropped: places that have no home in the destination, and why.
        needs: groups of places of which one must hold something, and why.
    """

    source: Shape
    made: Made
    dropped: list[tuple[Place, str, Where]] = field(factory=list)
    needs: list[tuple[tuple[Place, ...], str, Where]] = field(factory=list)


@define
class _Reading:
    """One call of a mapping function under way."""

    codes: set[types.CodeType]
    dropped: list[tuple[Place, str, Where]] = field(factory=list)
    needs: list[tuple[tuple[Place, ...], str, Where]] = field(factory=list)


_reading: Final[ContextVar[_Reading | None]] = ContextVar("syncsdk_reading", default=None)


def trace(function: Callable[..., Any], source: type, result: type) -> Trace:
    """Call a mapping function with a stand-in for its source, and return what it said.

    Raises:
        Crooked: it does more than name rules.
    """
    reading = _Reading(allowed(function))
    token = _reading.set(reading)
    try:
        returned = function(StandIn((), shape(source)))
    finally:
        _reading.reset(token)
    made = as_made(returned, result, where_of(function))
    return Trace(shape(source), made, reading.dropped, reading.needs)


def as_made(returned: Any, result: type, where: Where) -> Made:
    """Return what a mapping returned; a display of a dict is one of the TypedDict's."""
    if is_stand_in(returned):
        raise Crooked(f"the mapping returns its source; return to({result.__name__})(...)")
    if isinstance(returned, Made):
        return returned
    if isinstance(returned, dict) and shape(result).is_dict:
        return record(result, returned, where)
    raise Crooked(
        f"the mapping returned a value of type {type(returned).__name__}; return "
        f"to({result.__name__})(field=rule, ...), or a dict display for a TypedDict"
    )


def record(kind: type, values: Mapping[str, Any], where: Where) -> Made:
    """Return a record of the destination; nothing of the source gets into it without a rule."""
    for name, value in values.items():
        if is_stand_in(value):
            raise Crooked(
                f"{name} is given {place(value).path} without a rule; keep(...) takes what is there"
            )
    return Made(kind, dict(values), where)


def where_of(function: Callable[..., Any]) -> Where:
    """Return where a function stands."""
    code: types.CodeType = inspect.unwrap(function).__code__
    return Where(code.co_filename, code.co_firstlineno)


def name_of(function: Callable[..., Any]) -> str:
    """Return the names of a function's file and of the function, as ``app.clean``."""
    return f"{PurePath(where_of(function).file).stem}.{function.__qualname__}"


def allowed(function: Callable[..., Any]) -> set[types.CodeType]:
    """Return a function's code and that of its lambdas."""
    return set(_codes(inspect.unwrap(function).__code__))


def reading() -> _Reading | None:
    """Return the reading under way, if there is one."""
    return _reading.get()


def caller(depth: int = 2) -> Where:
    """Return the line of the mapping that calls a rule.

    Raises:
        Crooked: no mapping is being read, or a function calls it that is none of its own.
    """
    frame = sys._getframe(depth)
    now = _reading.get()
    where = Where(frame.f_code.co_filename, frame.f_lineno)
    if now is None:
        raise ConfigurationError(
            f"{sys._getframe(depth - 1).f_code.co_name}() was called outside a mapping, at {where}",
            remedy="Rules are read, not run: write them in a function under @mapping, call that",
        )
    if frame.f_code not in now.codes:
        raise Crooked(
            f"{frame.f_code.co_name}() at {where} uses rules, and is neither a mapping nor a "
            "@fragment"
        )
    return where


class StandIn:
    """Stands for a record of the source, or for a part of one, while a mapping is read.

    It may be handed to rules, steps, fragments and mappings; a part of it is reached as a
    field. Everything else would decide something about a value that nobody has seen yet.
    """

    __slots__ = ("_shape", "_steps")

    def __init__(self, steps: tuple[Field, ...], of: Shape | None) -> None:
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_shape", of)

    def __getattr__(self, name: str) -> StandIn:
        of: Shape | None = object.__getattribute__(self, "_shape")
        if name == "get" and of is not None and of.is_dict:
            return self.__getitem__  # type: ignore[return-value]
        if of is None or of.is_dict or name not in of.fields:
            raise Crooked(_no_field(self, name))
        return _part(self, of.fields[name])

    def __getitem__(self, name: Any) -> StandIn:
        of: Shape | None = object.__getattribute__(self, "_shape")
        if of is None or not of.is_dict or name not in of.fields:
            raise Crooked(_no_field(self, name))
        return _part(self, of.fields[name])

    def __repr__(self) -> str:
        return f"<stand-in for {place(self).path}>"

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise Crooked(
            f"{place(self).path} is looked at, and there is no value yet: hand it to a rule, a "
            "@step or another mapping"
        )

    __bool__ = __hash__ = __str__ = __format__ = __iter__ = __len__ = _refuse
    __contains__ = __call__ = __int__ = __float__ = __index__ = __setattr__ = _refuse
    __add__ = __radd__ = __mul__ = __mod__ = __and__ = __or__ = __invert__ = _refuse
    __reversed__ = __enter__ = __await__ = __bytes__ = __complex__ = __neg__ = _refuse

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # isinstance() asks for it
            self._refuse()
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return _compared(self, "==", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return _compared(self, "!=", other)

    def __lt__(self, other: object) -> Condition:
        return _compared(self, "<", other)

    def __le__(self, other: object) -> Condition:
        return _compared(self, "<=", other)

    def __gt__(self, other: object) -> Condition:
        return _compared(self, ">", other)

    def __ge__(self, other: object) -> Condition:
        return _compared(self, ">=", other)


OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def is_stand_in(value: object) -> bool:
    """Return whether a value stands for something; without asking the value."""
    return type(value) is StandIn


def place(value: Any) -> Place:
    """Return the place that a stand-in stands for."""
    return Place(object.__getattribute__(value, "_steps"), part_of(value))


def element_of(of: Field) -> StandIn:
    """Return what stands for an element of a list."""
    return StandIn((), shape(of.nested) if of.nested is not None else None)


def part_of(value: Any) -> Shape | None:
    """Return the shape of what a stand-in stands for, if it is an object."""
    found: Shape | None = object.__getattribute__(value, "_shape")
    return found


def _part(of: StandIn, step: Field) -> StandIn:
    nested = shape(step.nested) if step.nested is not None and not step.many else None
    return StandIn((*place(of).steps, step), nested)


def _no_field(value: StandIn, name: object) -> str:
    of, path = part_of(value), place(value).path
    if of is None:
        return f"{path} has no fields that are described; {name!r} is asked for"
    how = "[...]" if of.is_dict else "."
    known = ", ".join(of.fields)
    return (
        f"{of.kind.__name__} at {path} has no field {name!r} to be reached by {how}; it has {known}"
    )


_CONSTANTS: Final = (str, int, float, bool, type(None))


def _compared(one: StandIn, by: str, other: Any) -> Condition:
    if not is_stand_in(other) and isinstance(other, enum.Enum):
        other = other.value
    if is_stand_in(other) or not isinstance(other, _CONSTANTS):
        raise Crooked(f"{place(one).path} is compared with something that is no constant")
    return Condition((place(one), by, other))


# -- Straight lines --------------------------------------------------------------------

_BRANCHES: Final = ("JUMP", "FOR_ITER", "IS_OP", "GET_ITER", "GET_AITER", "SEND", "YIELD", "AWAIT")
_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def crooked(function: Callable[..., Any]) -> Iterator[tuple[Where, str]]:
    """Yield each place where a function's byte code is more than a straight line."""
    for code in _codes(inspect.unwrap(function).__code__):
        first = Where(code.co_filename, code.co_firstlineno)
        if code.co_flags & _GENERATORS:
            yield first, "it is a generator or a coroutine"
            continue
        if code.co_exceptiontable:
            yield first, "it catches exceptions (try, with)"
        line, seen = code.co_firstlineno, set[int]()
        for step in dis.get_instructions(code):
            line = _line(step) or line
            if line not in seen and any(mark in step.opname for mark in _BRANCHES):
                seen.add(line)
                yield Where(code.co_filename, line), _WORDS.get(step.opname, "it branches or loops")


_WORDS: Final = {
    "IS_OP": "it compares by `is`",
    "GET_ITER": "it loops",
    "FOR_ITER": "it loops",
}


def _line(step: dis.Instruction) -> int | None:
    return step.positions.lineno if step.positions is not None else None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def questions(rule: Any) -> Iterator[Rule]:
    """Yield a rule and all rules that it works on."""
    if isinstance(rule, Rule):
        yield rule
        for each in rule.inputs:
            yield from questions(each)


def places_of(value: Any) -> Iterator[Place]:
    """Yield every place of the source that a rule works on."""
    if isinstance(value, Place):
        yield value
    elif isinstance(value, Rule):
        for each in value.inputs:
            yield from places_of(each)
    elif isinstance(value, Made):
        for each in value.values.values():
            yield from places_of(each)


def inputs_of(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return what a rule works on: places and rules, nothing that is already a value."""
    found: list[Any] = []
    for value in values:
        if is_stand_in(value):
            found.append(place(value))
        elif isinstance(value, Rule | Made):
            found.append(value)
        else:
            raise Crooked(
                f"a rule works on the source, and is given a value of type {type(value).__name__}; "
                "constant(...) takes what is always the same"
            )
    return tuple(found)
