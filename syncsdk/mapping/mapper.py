"""A mapping: what a function under ``@mapping`` becomes.

Decides what users hold in their hands: a mapper of single records and of batches, its
digest, its explanation. Leaves the reading to ``tracing``, the checks to ``checks``, the
work on a record to ``compiler``.

Read :func:`mapping`, then :class:`TypedMapper`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, get_type_hints, overload

import attrs
from attrs import frozen

from syncsdk.errors import ConfigurationError, MappingError
from syncsdk.values import UNSET

from . import rules, tracing
from .checks import Problem, problems
from .compiler import Compiled, Guard, compiled
from .shapes import Shape, is_shape, raw_option, shape
from .support import Bad, Failed, Inner, reach
from .tracing import (
    Condition,
    Crooked,
    Made,
    Place,
    Rule,
    Trace,
    Where,
    crooked,
    is_stand_in,
    place,
    places_of,
)

if TYPE_CHECKING:
    from .profile import Profile

__all__ = ["Explanation", "Issue", "MappingDefinitionError", "Rows", "TypedMapper", "mapping"]

D = TypeVar("D")
S = TypeVar("S")

FORMAT: Final = 1
"""Version of the rows that the digest is made of."""


class MappingDefinitionError(ConfigurationError):
    """A mapping is not sound; raised where it is defined, with all that is wrong.

    Attributes:
        problems: each with its file, line and remedy.
    """

    def __init__(self, name: str, found: Sequence[Problem]) -> None:
        listed = "".join(f"\n  {problem}" for problem in found)
        super().__init__(
            f"the mapping {name} has {len(found)} problem{'s'[: len(found) > 1]}:{listed}",
            remedy="Decide each of them, then import the module again",
        )
        self.problems = tuple(found)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}"


@frozen
class Issue:
    """Why a field of a record could not be mapped.

    Attributes:
        field: of the destination; dotted where it is nested, ``*`` for the whole record.
        path: in the source's record, as JSONPath.
        code: one of :data:`~.support.CODES`, or that of the error by which a step refused it.
        reason: what was expected, and type and length of what was found.
        value: what was found, for a person who looks at this record; UNSET if it is not
            there, or sensitive.
    """

    field: str
    path: str
    code: str
    reason: str
    value: Any = attrs.field(default=UNSET, repr=False)

    def __str__(self) -> str:
        return f"{self.field} <- {self.path}: {self.reason}"

    @property
    def summary(self) -> str:
        """The same for all records that have it: without the length of what was found."""
        return str(self).partition(", got ")[0]

    @property
    def quoted(self) -> str:
        """With what was found, for a person who looks at this record."""
        if self.value is UNSET:
            return str(self)
        try:
            return f"{self} ({self.value!r:.200})"
        except Exception:  # what nests too deep, or an integer of thousands of digits
            return str(self)


@frozen
class Explanation(Generic[D]):
    """What becomes of one record, and why.

    Attributes:
        value: the mapped record, or None if there are issues.
        issues: all of them, in the order of the fields.
        decisions: ``(field, decision)`` of the decisions that were taken for it.
        provenance: for each field the paths that it was made of, with what was found
            there; a sensitive value is masked.
    """

    value: D | None = attrs.field(repr=False)
    issues: tuple[Issue, ...]
    decisions: tuple[tuple[str, str], ...]
    provenance: Mapping[str, tuple[tuple[str, Any], ...]] = attrs.field(repr=False)


class Rows(list[Any]):
    """What a batch became: a row or a MappingError for each record.

    Attributes:
        decisions: how often each ``(field, decision)`` was taken.
    """

    def __init__(self, rows: Sequence[Any], decisions: Mapping[tuple[str, str], int]) -> None:
        super().__init__(rows)
        self.decisions = decisions


class TypedMapper(Generic[S, D]):
    """A mapping that was read, checked and can be run; made by :func:`mapping`.

    It is a :class:`~syncsdk.protocols.Mapper`, immutable, and may be shared by threads.

    Attributes:
        name: of its function.
        owner: who answers for it.
        approved: the file that holds its approval, from its module's directory, or None.
        read: what was read of it.
    """

    def __init__(
        self, function: Callable[[S], D], read: Trace, owner: str, approved: str | None
    ) -> None:
        self.name = function.__name__
        self.owner = owner
        self.approved = approved
        self.read = read
        self.function = function
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__

    def __repr__(self) -> str:
        return f"<mapping {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    @property
    def where(self) -> Where:
        """File and line of its function."""
        return tracing.where_of(self.function)

    @cached_property
    def fields(self) -> Sequence[str]:
        """The destination's fields as they are called on the wire, in the order of a row."""
        return tuple(its.key for its in shape(self.read.made.kind).fields.values())

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits: they change whenever a record might be mapped differently."""
        rows = json.dumps(described(self.read), sort_keys=True, ensure_ascii=True)
        return blake2b(rows.encode(), digest_size=16, person=b"syncsdk-mapping").hexdigest()

    @property
    def unapproved(self) -> str | None:
        """A sentence if it names an approval, and is not what was approved; else None."""
        if self.approved is None:
            return None
        from .approval import unapproved

        return unapproved(self)

    @cached_property
    def _wire(self) -> Compiled:
        return compiled(self.name, self.read, wire=True)

    @cached_property
    def _object(self) -> Compiled:
        return compiled(self.name, self.read, wire=False)

    @property
    def source(self) -> str:
        """The generated source of the function that maps a record."""
        return self._wire.source

    def __call__(self, record: S | dict[str, Any]) -> D:
        """Return what a record becomes.

        Args:
            record: as it came over the wire: a mapping, such as a parsed JSON object.

        Raises:
            MappingError: with ``issues``.
        """
        if is_stand_in(record):
            settings = {"mapping": self, "missing": rules.REJECT}
            return rules.made("nested", [record], settings, tracing.caller())  # type: ignore[no-any-return]
        call = self._object
        made = call.call(record, [0] * len(call.counters))
        if made.__class__ is Failed:
            raise self._error(call, made, record)
        return made  # type: ignore[no-any-return]

    def map_batch(self, records: Sequence[Any]) -> Rows:
        """Return a row for a sink, or a MappingError, for each record."""
        mapped = self._wire
        call, hits = mapped.call, [0] * len(mapped.counters)
        rows = [call(record, hits) for record in records]
        for at, row in enumerate(rows):
            if row.__class__ is Failed:
                rows[at] = self._error(mapped, row, records[at])
        if self._validates:
            self._validate(records, rows)
        return Rows(rows, _taken(mapped, hits))

    @cached_property
    def _validates(self) -> bool:
        """Whether a class of the destination has validators of its own."""
        return any(
            hasattr(kind, "__attrs_post_init__")
            or any(each.validator for each in attrs.fields(kind))
            for kind in _kinds(self.read.made)
            if attrs.has(kind)
        )

    def _validate(self, records: Sequence[Any], rows: list[Any]) -> None:
        """Refuse what the destination's own classes refuse; they take objects, and no rows."""
        call = self._object
        for at, record in enumerate(records):
            made = call.call(record, [0] * len(call.counters))
            if made.__class__ is Failed:
                rows[at] = self._error(call, made, record)

    def explain(self, record: S | Mapping[str, Any]) -> Explanation[D]:
        """Return what a record becomes, the decisions that were taken, and what it was made of."""
        call = self._object
        hits = [0] * len(call.counters)
        made = call.call(record, hits)
        issues: tuple[Issue, ...] = ()
        if made.__class__ is Failed:
            issues, made = tuple(_issues(call, made, record)), None
        fields = shape(self.read.made.kind).fields
        provenance = {
            name: tuple(
                (at.path, "***" if fields[name].sensitive or at.sensitive else _at(record, at))
                for at in places_of(rule)
            )
            for name, rule in self.read.made.values.items()
        }
        return Explanation(made, issues, tuple(_taken(call, hits)), provenance)

    def document(
        self,
        format: Literal["md", "csv", "html"],
        *,
        examples: Sequence[Any] = (),
        profile: Profile | None = None,
        date: date | None = None,
    ) -> str:
        """Return what it decides, for who signs it; see :func:`~.document.document`."""
        from .document import document

        return document(self, format, examples=examples, profile=profile, date=date)

    def profile(self, records: Iterable[Any], **how: Any) -> Profile:
        """Return what records hold and what it makes of them; see :func:`~.profile.profile`."""
        from .profile import profile

        return profile(self, records, **how)

    def _error(self, call: Compiled, failed: Failed, record: Any) -> MappingError:
        issues = tuple(_issues(call, failed, record))
        told = [issue.summary for issue in issues[:_TOLD]]
        more = [f"and {len(issues) - _TOLD} more"] if len(issues) > _TOLD else []
        return MappingError(
            "; ".join(told + more),
            code=issues[0].code,
            issues=issues,
        )


_TOLD: Final = 5
"""How many issues the text of an error names."""


def _kinds(made: Made) -> Iterator[type]:
    """Yield the classes of a record of the destination and of those within it."""
    yield made.kind
    for value in made.values.values():
        if isinstance(value, Made):
            yield from _kinds(value)
        elif isinstance(value, Rule) and "mapping" in value.settings:
            yield from _kinds(value.settings["mapping"].read.made)


def _taken(call: Compiled, hits: Sequence[int]) -> dict[tuple[str, str], int]:
    taken: dict[tuple[str, str], int] = {}
    for counted, number in zip(call.counters, hits, strict=True):
        if number:
            taken[counted] = taken.get(counted, 0) + number
    return taken


def _issues(call: Compiled, failed: Failed, record: Any, above: str = "$") -> Iterator[Issue]:
    for number, error in failed.notes:
        guard = call.guards[number]
        if isinstance(error, Inner):
            yield from _issues(call, error.failed, UNSET, above + guard.path[1:] + error.path)
        elif isinstance(error, Bad):
            path = error.path if error.path[:1] == "$" else guard.path + error.path
            value = UNSET if record is UNSET or guard.sensitive else _found(record, guard, path)
            yield Issue(guard.field, _below(above, path), error.code, error.reason, value)
        elif isinstance(error, KeyError):
            steps = [(step.key, at.path) for at in guard.places for step in at.steps[-1:]]
            path = dict(reversed(steps)).get(error.args[0], "$")
            reason = "it is required, and not there"
            yield Issue(guard.field, _below(above, path), "absent", reason)
        else:
            yield Issue(guard.field, _below(above, guard.path), "step_failed", str(error))


def _below(above: str, path: str) -> str:
    """Return a path, or several, of an element as one of its record."""
    return above + path[1:].replace(" or $", f" or {above}")


def _found(record: Any, guard: Guard, path: str) -> Any:
    """Return the value at fault, if it is known which it is."""
    paths = {at.path: at for at in guard.places}
    at = guard.places[0] if len(paths) == 1 else paths.get(path)
    return UNSET if at is None else _at(record, at)


def _at(record: Any, at: Place) -> Any:
    try:
        return reach(record, tuple(step.key for step in at.steps))
    except Bad:
        return UNSET


# -- Definition ------------------------------------------------------------------------


@overload
def mapping(function: Callable[[S], D], /) -> TypedMapper[S, D]: ...
@overload
def mapping(
    *, owner: str = "", approved: str | None = None
) -> Callable[[Callable[[S], D]], TypedMapper[S, D]]: ...
def mapping(function: Any = None, /, *, owner: str = "", approved: str | None = None) -> Any:
    """Make a mapping of a function that says what each field of the destination becomes.

    The function takes the source's class and returns the destination's; both are
    annotated. It is read twice, with something that stands for a record, and never called
    with one.

    Args:
        function: a straight line of rules.
        owner: who answers for the mapping.
        approved: the file that holds its approval, from its module's directory; see
            ``syncsdk approve`` and :func:`~.approval.assert_approved`.

    Raises:
        MappingDefinitionError: with everything that is wrong with it.
    """
    if function is None:
        return lambda function: _defined(function, owner, approved)
    return _defined(function, owner, approved)


def _defined(function: Callable[[S], D], owner: str, approved: str | None) -> TypedMapper[S, D]:
    where = tracing.where_of(function)
    name = function.__qualname__
    found = [
        Problem(
            at,
            f"a mapping is a straight line of rules, and {what}",
            "Decide with rules, in a @step, or in two mappings",
        )
        for at, what in crooked(function)
    ]
    if found:
        raise MappingDefinitionError(name, found)
    source, result = _ends(function, where, name)
    try:
        read, again = (tracing.trace(function, source, result) for _ in range(2))
    except Crooked as error:
        raise MappingDefinitionError(
            name, [Problem(_line(error, where), str(error), _STRAIGHT)]
        ) from None
    except ConfigurationError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise MappingDefinitionError(
            name, [Problem(_line(error, where), what, _STRAIGHT)]
        ) from error
    found = list(problems(read))
    if not found and described(read) != described(again):
        found = [
            Problem(
                where,
                "it says something else when it is read again",
                "A mapping may not depend on the time, on chance or on the environment: put that "
                "into the source's record",
            )
        ]
    if found:
        raise MappingDefinitionError(name, found)
    return TypedMapper(function, read, owner, approved)


_STRAIGHT: Final = (
    "Name rules and hand them fields of the source; what needs a look at a value is a @step"
)


def _line(error: BaseException, where: Where) -> Where:
    """Return the line of the mapping's own module where it went wrong."""
    at, trace = where, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == where.file:
            at = Where(where.file, trace.tb_lineno)
        trace = trace.tb_next
    return at


def _ends(function: Callable[..., Any], where: Where, name: str) -> tuple[type, type]:
    """Return the classes that a function is annotated with."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError) as error:
        raise MappingDefinitionError(
            name,
            [
                Problem(
                    where,
                    f"its annotations cannot be read ({error})",
                    "Define or import both classes",
                )
            ],
        ) from error
    parameters = list(inspect.signature(function).parameters)
    source = hints.get(parameters[0]) if len(parameters) == 1 else None
    result = hints.get("return")
    if not is_shape(source) or not is_shape(result):
        raise MappingDefinitionError(
            name,
            [
                Problem(
                    where,
                    "it is not annotated with the two classes that it stands between",
                    "Write def name(s: Source) -> Destination, each an attrs class or a TypedDict",
                )
            ],
        )
    return source, result  # type: ignore[return-value]


# -- What the digest is made of --------------------------------------------------------


def described(read: Trace) -> dict[str, Any]:
    """Return what was read as plain data: all that decides what a record becomes, and no more."""
    return {
        "format": FORMAT,
        "source": _shape(read.source),
        "destination": _shape(shape(read.made.kind)),
        "rules": _made(read.made),
        "needs": [[at.path for at in places] for places, _, _ in read.needs],
    }


def _shape(of: Shape) -> list[Any]:
    return [
        [
            its.name,
            its.key,
            sorted(kind.__name__ for kind in its.kinds),
            None if its.options is None else [_value(raw_option(option)) for option in its.options],
            its.many,
            its.nullable,
            its.optional,
        ]
        for its in of.fields.values()
    ]


def _made(made: Made) -> list[Any]:
    return [
        [name, _described(made.values[name])]
        for name in shape(made.kind).fields
        if name in made.values
    ]


def _described(value: Any) -> Any:
    if isinstance(value, Place):
        return {"at": value.path}
    if isinstance(value, Made):
        return {"record": _made(value)}
    if isinstance(value, Rule):
        settings = {
            name: _setting(setting, value)
            for name, setting in value.settings.items()
            if name != "why"
        }
        return {"rule": value.kind, "of": [_described(each) for each in value.inputs], **settings}
    return _value(value)


def _setting(value: Any, rule: Rule) -> Any:
    if isinstance(value, TypedMapper):
        return described(value.read)
    if isinstance(value, rules.Step):
        tables = {title: _setting(table, rule) for title, table in value.tables.items()}
        told = {"step": value.name, "version": value.version, "words": value.words}
        return told | ({"tables": tables} if tables else {})
    if isinstance(value, rules.Pick):
        key = (
            None
            if value.key is None
            else place(value.key(tracing.element_of(rule.inputs[0].field))).path
        )
        return {"answer": value.word, "by": key}
    if isinstance(value, rules.Decision):
        return {"answer": value.word}
    if isinstance(value, rules.Form):
        return {"form": value.words, "pattern": value.pattern}
    if isinstance(value, Mapping):
        return [
            [
                _value(raw_option(key)),
                _value(raw_option(rules.related(option).option)),
                rules.related(option).relation,
            ]
            for key, option in value.items()
        ]
    if callable(value) and not isinstance(value, type):
        return _asked(rules.condition(value, tracing.element_of(rule.inputs[0].field)))
    return _value(value)


def _asked(asked: Any) -> Any:
    if isinstance(asked, Condition):
        return [
            _asked(part) if isinstance(part, Condition) else _described(part)
            for part in asked.parts
        ]
    return _setting(asked, None)  # type: ignore[arg-type]


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_value, value), key=repr)
    return {type(value).__name__: str(raw_option(value))}
