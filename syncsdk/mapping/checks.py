"""What is wrong with a mapping, told when it is defined: all of it, with file and line.

Decides which decisions are missing, contradict each other or do not fit the destination.
Leaves what a type checker sees alone, but for what it cannot see: options, limits, lossy
decisions without a reason, fields of the source that nobody speaks of.

Read :func:`problems`; the checks stand below it in their order, each a generator.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, get_args

import attrs
from attrs import frozen

from syncsdk.values import UNSET

from .rules import REQUIRED, Cut, Decision, Form, Pick, Related, Rounding, condition, related
from .shapes import Field, Shape, raw_option, shape
from .support import length
from .tracing import (
    Condition,
    Crooked,
    Made,
    Place,
    Rule,
    StandIn,
    Trace,
    Where,
    is_stand_in,
    places_of,
    questions,
)

__all__ = ["Problem", "problems", "yields"]


@frozen
class Problem:
    """One thing that is wrong with a mapping.

    Attributes:
        where: file and line.
        message: what is wrong.
        remedy: what to write instead.
    """

    where: Where
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}. {self.remedy}"


def problems(read: Trace) -> Iterator[Problem]:
    """Yield all that is wrong with what was read of a mapping."""
    yield from _made(read.made, "")
    yield from _spoken_of(read)


def _made(made: Made, prefix: str) -> Iterator[Problem]:
    target = shape(made.kind)
    for name in made.values:
        if name not in target.fields:
            yield Problem(
                made.where,
                f"{target.kind.__name__} has no field {name!r}",
                f"It has {', '.join(target.fields)}",
            )
    if attrs.has(target.kind):
        for each in attrs.fields(target.kind):
            if each.converter is not None:
                yield Problem(
                    made.where,
                    f"{prefix}{each.name} of {target.kind.__name__} has a converter, which would "
                    "decide after the rules",
                    "Convert by a rule or a @step",
                )
    for name, its in target.fields.items():
        if name not in made.values:
            yield Problem(
                made.where,
                f"{prefix}{name} of {target.kind.__name__} is not decided",
                "Give it a rule; LEAVE says that it is left alone",
            )
            continue
        rule = made.values[name]
        if isinstance(rule, Made):
            yield from _made(rule, f"{prefix}{name}.")
            if its.nested is not rule.kind:
                yield Problem(
                    rule.where,
                    f"{prefix}{name} takes {its.words}, and is given {rule.kind.__name__}",
                    f"Give it a rule that yields {its.words}"
                    if its.nested is None
                    else f"Give it to({its.nested.__name__})(...)",
                )
        elif isinstance(rule, Rule):
            rules = list(questions(rule))
            misplaced = [problem for each in rules for problem in _arguments(each)]
            yield from misplaced
            if not misplaced:
                for each in rules:
                    yield from _settings(each)
                yield from _fits(rule, its, f"{prefix}{name}")
        elif rule is ...:
            yield Problem(
                made.where,
                f"{prefix}{name} of {target.kind.__name__} is not decided yet",
                "Give it a rule in place of the three dots; LEAVE says that it is left alone",
            )
        else:
            yield Problem(
                made.where,
                f"{prefix}{name} is given a value of type {_kind(rule)}, and no rule",
                "Write constant(...) for what is always the same, keep(...) for what is taken as "
                "it is",
            )


def _kind(value: object) -> str:
    return type(value).__name__


# -- Does the rule fit the field? ------------------------------------------------------

_YIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "join": (str,),
    "split": (str,),
    "label": (str,),
    "decimal": (Decimal,),
    "integer": (int,),
    "flag": (bool,),
    "instant": (datetime,),
    "day": (date,),
}
"""What a rule yields, where its settings say nothing else."""
_ANSWERS: Final = (
    "missing",
    "absent",
    "null",
    "empty",
    "over",
    "bad",
    "unknown",
    "several",
    "otherwise",
    "none",
)


def answers(rule: Rule) -> Iterator[tuple[str, Any]]:
    """Yield the decisions of a rule, by the name of their argument."""
    for name in _ANSWERS:
        if name in rule.settings:
            yield name, rule.settings[name]


def yields(rule: Rule) -> tuple[list[Any], bool, bool]:
    """Return the constants that a rule may yield, and whether it may yield null or nothing."""
    values: list[Any] = []
    null = leave = False
    for _, answer in answers(rule):
        if not isinstance(answer, Decision):
            values.append(answer)
        null = null or (isinstance(answer, Decision) and answer.word == "NULL")
        leave = leave or (isinstance(answer, Decision) and answer.word == "LEAVE")
    if rule.kind == "code":
        values += [related(option).option for option in rule.settings["table"].values()]
    if rule.kind == "constant":
        value = rule.settings["value"]
        null, leave = value is None, value is UNSET
        values += [] if null or leave else [value]
    if rule.kind in ("keep", "step", "coalesce"):
        steps = [step for each in rule.inputs if isinstance(each, Place) for step in each.steps]
        if rule.kind == "keep":
            null = any(step.nullable for step in steps)
            leave = any(step.optional for step in steps)
    return values, null, leave


def _fits(rule: Rule, its: Field, name: str) -> Iterator[Problem]:
    values, null, leave = yields(rule)
    if null and not its.nullable:
        yield Problem(
            rule.where,
            f"{name} does not take null, and may be given it",
            "Decide for a value or REJECT, or let the destination's type take None",
        )
    if leave and not its.optional:
        yield Problem(
            rule.where,
            f"{name} cannot be left alone: its type is {its.words}",
            "Only a field typed X | Unset can be; decide for a value, NULL or REJECT",
        )
    made = _YIELDS.get(rule.kind)
    if (
        made is not None
        and its.kinds
        and not its.many
        and not any(kind in its.kinds for kind in made)
    ):
        if not (
            made == (str,)
            and its.options is None
            and any(issubclass(kind, str) for kind in its.kinds)
        ):
            yield Problem(
                rule.where,
                f"{name} takes {its.words}, and {rule.kind} yields {made[0].__name__}",
                "Use the rule of its type",
            )
    if rule.kind in ("one_of", "nested", "each"):
        inner = rule.settings["mapping"].read
        (source,) = rule.inputs
        if isinstance(source, Place) and source.field.nested not in (None, inner.source.kind):
            yield Problem(
                rule.where,
                f"{source.path} holds {source.field.words}, and its mapping takes "
                f"{inner.source.kind.__name__}",
                "Use a mapping from that class",
            )
        target = rule.settings["mapping"].read.made.kind
        if its.nested is not target or its.many is not (rule.kind == "each"):
            yield Problem(
                rule.where,
                f"{name} takes {its.words}, and {rule.kind} yields "
                f"{'a list of ' if rule.kind == 'each' else ''}{target.__name__}",
                "Use a mapping into that class",
            )
    for value in values:
        yield from _takes(value, its, name, rule)
    if made == (str,):
        yield from _limits(rule, its, name)
    if rule.kind == "code" and its.options is not None:
        produced = {_plain(value) for value in values}
        never = [_plain(option) for option in rule.settings.get("never", ())]
        for option in its.options:
            if _plain(option) not in produced and _plain(option) not in never:
                yield Problem(
                    rule.where,
                    f"nothing becomes the option {_shown(option)} of {name}",
                    "Let an option of the source become it, or list it in never=",
                )
        for option in rule.settings.get("never", ()):
            if _plain(option) in produced:
                yield Problem(
                    rule.where,
                    f"the option {_shown(option)} of {name} is listed in never=, and is produced",
                    "Remove it from never= or from the table",
                )


def _takes(value: Any, its: Field, name: str, rule: Rule) -> Iterator[Problem]:
    """Yield what is wrong with a constant that may stand in a field."""
    if getattr(type(value), "__repr__", None) is object.__repr__:
        yield Problem(
            rule.where,
            f"{name} may be given a value of type {_kind(value)}, which says something else in "
            "each process",
            "Give a constant that has a text of its own",
        )
        return
    if its.options is not None and not its.many:
        if value not in its.options or type(value) not in {type(option) for option in its.options}:
            yield Problem(
                rule.where,
                f"{_shown(value)} is no option of {name}",
                f"Its options are {', '.join(map(_shown, its.options))}",
            )
        return
    if its.kinds and not its.many and type(value) not in its.kinds:
        if not any(isinstance(kind, type) and isinstance(value, kind) for kind in its.kinds) or (
            isinstance(value, bool) and bool not in its.kinds
        ):
            yield Problem(
                rule.where,
                f"{name} takes {its.words}, and may be given {_shown(value)}",
                "Give a constant of its type",
            )
            return
    limits = [(its.max, its.unit)] if its.max is not None else []
    if "max" in rule.settings:
        limits.append((rule.settings["max"], rule.settings.get("unit", "chars")))
    for limit, unit in limits:
        if isinstance(value, str) and length(value, unit) > limit:
            yield Problem(
                rule.where,
                f"{name} takes at most {limit} {unit}, and may be given {_shown(value)}",
                "Give a shorter constant",
            )
    form = rule.settings.get("form")
    if isinstance(form, Form) and isinstance(value, str) and not re.fullmatch(form.pattern, value):
        yield Problem(
            rule.where,
            f"{name} must be {form.words}, and may be given {_shown(value)}",
            "Give a constant of that form",
        )


def _limits(rule: Rule, its: Field, name: str) -> Iterator[Problem]:
    if its.max is None:
        return
    own, unit = rule.settings.get("max"), rule.settings.get("unit", "chars")
    if own is None:
        yield Problem(
            rule.where,
            f"{name} takes at most {its.max} {its.unit}, and nothing is decided for longer text",
            f"Give max={its.max} and over="
            + ("" if rule.kind != "label" else " to a text() around the label"),
        )
    elif not _within(own, unit, its.max, its.unit):
        yield Problem(
            rule.where,
            f"{name} takes at most {its.max} {its.unit}, and max= lets {own} {unit} through",
            f"Give max={its.max}" + ("" if its.unit == "chars" else f', unit="{its.unit}"'),
        )


def _within(own: int, unit: str, limit: int, of: str) -> bool:
    # A character is one or two UTF-16 units and up to four bytes; a unit is up to three.
    worst = {("chars", "utf16"): 2, ("chars", "bytes"): 4, ("utf16", "bytes"): 3}
    return own * worst.get((unit, of), 1) <= limit


def _plain(value: Any) -> Any:
    return type(value).__name__, raw_option(value)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, enum.Enum) else repr(value)


# -- Are the arguments of a rule those that it has? ------------------------------------

_LOST: Final = {"REJECT", "NULL", "LEAVE"}
_DECISIONS: Final[Mapping[str, set[str]]] = {
    **dict.fromkeys(("missing", "absent", "null", "empty", "bad", "unknown", "none"), _LOST),
    "over": {*_LOST, "TRUNCATE"},
    "several": {"REJECT", "FIRST", "LAST", "BY"},
    "otherwise": {*_LOST, "FIRST", "LAST", "BY"},
    "ambiguous": {"REJECT", "EARLIER", "LATER"},
    "gap": {"REJECT", "EARLIER", "LATER"},
    "floats": {"REJECT", "SHORTEST"},
}
"""The words that decide, by argument."""
_ONLY: Final = {"over", "several", "otherwise", "none", "ambiguous", "gap", "floats"}
"""Arguments that take no value of the destination."""
_CHOICES: Final[Mapping[str, set[Any]]] = {
    "unit": {"chars", "utf16", "bytes"},
    "case": {"lower", "upper"},
    "rounding": set(get_args(Rounding)),
}
_MISSING: Final = {"missing", "absent", "null", "empty", "why"}
_FITTED: Final = {*_MISSING, "max", "over", "unit"}
_TAKES: Final[Mapping[str, set[str]]] = {
    "text": {*_FITTED, "keep", "case", "form", "also", "bad"},
    "join": {*_FITTED, "separator"},
    "split": {*_MISSING, "separator", "part"},
    "label": {"pattern"},
    "decimal": {*_MISSING, "places", "rounding", "floats", "within", "bad"},
    "integer": {*_MISSING, "within", "bad"},
    "flag": {*_MISSING, "true", "false", "bad"},
    "instant": {*_MISSING, "zone", "ambiguous", "gap", "bad"},
    "day": {*_MISSING, "bad"},
    "code": {*_MISSING, "table", "unknown", "never"},
    "one_of": {"mapping", "prefer", "several", "otherwise", "none", "why"},
    "each": {*_MISSING, "mapping"},
    "nested": {*_MISSING, "mapping"},
    "coalesce": {*_MISSING},
    "constant": {"value"},
    "keep": set(),
    "step": {"step"},
}
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "join": ("missing",),
    "split": ("missing",),
    "decimal": ("places", "rounding"),
    "instant": ("zone",),
    "code": ("unknown",),
    "one_of": ("several", "otherwise", "none"),
    "nested": ("missing",),
    "coalesce": ("missing",),
}
_LISTS: Final = {"one_of", "each", "keep", "step"}
"""Rules that work on lists."""


def _arguments(rule: Rule) -> Iterator[Problem]:
    """Yield what a type checker sees as well: arguments that a rule lacks, or does not have."""
    given = rule.settings
    needs = [*_NEEDS.get(rule.kind, ()), *(["over"] if "max" in given else [])]
    for name in needs:
        if name not in given:
            yield Problem(rule.where, f"{rule.kind} lacks {name}=", "Decide it")
    for name, value in given.items():
        words = _DECISIONS.get(name, set())
        if name not in _TAKES[rule.kind]:
            yield Problem(
                rule.where,
                f"{rule.kind} has no argument {name}=",
                f"It has {', '.join(sorted(_TAKES[rule.kind]))}",
            )
        elif name in _CHOICES and value not in _CHOICES[name]:
            yield Problem(
                rule.where,
                f"{name}= is none of {', '.join(sorted(_CHOICES[name]))}",
                "Give one of them",
            )
        elif isinstance(value, Decision) and value.word not in words:
            yield Problem(
                rule.where,
                f"{name}= cannot be {value.word}",
                f"Decide for {', '.join(sorted(words))}" if words else "Give a value",
            )
        elif name in _ONLY and not isinstance(value, Decision):
            yield Problem(
                rule.where,
                f"{name}= is a value of type {_kind(value)}, and no decision",
                f"Decide for {', '.join(sorted(words))}",
            )
    for each in rule.inputs:
        if isinstance(each, Place) and each.steps and each.field.many and rule.kind not in _LISTS:
            yield Problem(
                rule.where,
                f"{rule.kind} works on one value, and {each.path} is a list",
                "Use each, one_of or a @step",
            )


# -- Are the settings of a rule sound? -------------------------------------------------


def _settings(rule: Rule) -> Iterator[Problem]:
    yield from _reasons(rule)
    yield from _words(rule)
    if rule.kind == "code":
        yield from _table(rule)
    if rule.kind == "one_of":
        yield from _one(rule)


def _reasons(rule: Rule) -> Iterator[Problem]:
    """Every decision by which something is lost needs a reason."""
    lossy = [
        name
        for name, answer in answers(rule)
        if name in ("over", "bad", "unknown")
        and not (isinstance(answer, Decision) and answer.word == "REJECT")
    ]
    if rule.kind in ("one_of", "split"):
        lossy.append(rule.kind)
    if rule.kind == "code":
        for option in rule.settings["table"].values():
            if isinstance(option, Related) and not option.why.strip():
                lossy.append(option.relation)
    if lossy and not (rule.settings.get("why") or "").strip():
        yield Problem(
            rule.where,
            f"{rule.kind} loses something by {' and '.join(lossy)}, and no reason is given",
            'Give why="..." for whoever signs the mapping',
        )


def _words(rule: Rule) -> Iterator[Problem]:
    settings = rule.settings

    def problem(message: str, remedy: str) -> Problem:
        return Problem(rule.where, message, remedy)

    if rule.kind == "label" and settings["pattern"].count("{}") != len(rule.inputs):
        yield problem(
            f"the label has {settings['pattern'].count('{}')} places and {len(rule.inputs)} values",
            "Write {} once for each value",
        )
    if "max" in settings and (not isinstance(settings["max"], int) or settings["max"] < 1):
        yield problem("max= is below 1", "Give the longest text that fits")
    if isinstance(settings.get("over"), Cut) and "form" in settings:
        yield problem(
            "text of a form is cut, and would lose it", "Decide over=REJECT, or drop form="
        )
    if rule.kind == "decimal" and not 0 <= settings["places"] <= 100:
        yield problem("places= is not from 0 to 100", "Give the digits after the point")
    if settings.get("within") is not None and settings["within"][0] > settings["within"][1]:
        yield problem("within= has its bounds the wrong way round", "Give (smallest, largest)")
    if rule.kind == "instant" and settings["zone"] != REQUIRED:
        try:
            from zoneinfo import ZoneInfo

            ZoneInfo(settings["zone"])
        except (KeyError, ValueError, OSError):
            yield problem(
                f"the time zone {settings['zone']!r} is unknown here",
                "Use an IANA name such as Europe/Berlin; on Windows install tzdata",
            )
    for name, pattern in (
        ("form", getattr(settings.get("form"), "pattern", None)),
        ("keep", settings.get("keep")),
    ):
        if pattern is not None:
            reason = _unsound(pattern if name == "form" else f"[^{pattern}]")
            if reason:
                yield problem(f"{name}= {reason}", "Write a pattern that reads each character once")


def _unsound(pattern: str) -> str | None:
    """Return why a regular expression cannot be used, or None."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from re import _parser as parser  # type: ignore[attr-defined]

        try:
            tree = parser.parse(pattern)
        except re.error as error:
            return f"is no regular expression ({error})"
    return "repeats a repetition, which some texts make endless" if _nested(tree, 1) else None


def _nested(tree: Any, times: int) -> bool:
    """Return whether a text may be read in too many ways by what is repeated ``times``."""
    for op, argument in tree:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            low, high, inner = int(argument[0]), int(argument[1]), argument[2]
            if times > 1 and low != high and times * high > 1000 and not _fenced(tree):
                return True
            if _nested(inner, times * max(high, 1)):
                return True
        elif name == "SUBPATTERN":
            if _nested(argument[-1], times):
                return True
        elif name == "BRANCH":
            starts = [
                str(branch[0]) if len(branch) and _fenced(branch) else "" for branch in argument[1]
            ]
            told_apart = "" not in starts and len(set(starts)) == len(starts)
            if (times > 1000 and not told_apart) or any(
                _nested(each, times) for each in argument[1]
            ):
                return True
    return False


def _fenced(tree: Any) -> bool:
    """Return whether a repeated group starts with a literal, which parts its rounds."""
    first = tree[0] if len(tree) else None
    return first is not None and str(first[0]) == "LITERAL"


def _table(rule: Rule) -> Iterator[Problem]:
    table = rule.settings["table"]
    (source,) = rule.inputs
    keys = [raw_option(key) for key in table]
    if isinstance(source, Place) and source.field.options is not None:
        options = source.field.options
        for option in options:
            if raw_option(option) not in keys:
                yield Problem(
                    rule.where,
                    f"the option {_shown(option)} of {source.path} is not decided",
                    "Give it an option of the destination in the table",
                )
        for key in table:
            if raw_option(key) not in [raw_option(option) for option in options]:
                yield Problem(
                    rule.where,
                    f"{_shown(key)} is no option of {source.path}",
                    f"Its options are {', '.join(map(_shown, options))}",
                )
    seen: dict[str, Any] = {}
    for key in keys:
        if isinstance(key, str):
            folded = unicodedata.normalize("NFC", key).casefold().strip()
            if folded in seen:
                yield Problem(
                    rule.where,
                    f"the options {seen[folded]!r} and {key!r} differ by case or spelling only",
                    "Make sure that the source has both; else keep one",
                )
            seen[folded] = key


def _one(rule: Rule) -> Iterator[Problem]:
    (source,) = rule.inputs
    if not isinstance(source, Place) or not source.field.many or source.field.nested is None:
        yield Problem(
            rule.where,
            "one_of takes a list of objects whose class is described",
            "Type the field as list[...] of an attrs class or a TypedDict",
        )
        return
    element = shape(source.field.nested)
    asked: Any
    try:
        asked = condition(rule.settings["prefer"], StandIn((), element))
    except Crooked as error:
        yield Problem(
            rule.where, f"prefer= is no question about an element: {error}", "Compare its fields"
        )
        return
    for at in _asked(asked):
        if not at.steps or element.fields.get(at.steps[0].name) is not at.steps[0]:
            yield Problem(
                rule.where,
                f"prefer= asks about {at.path}, which is not the element's",
                "Ask about the element only",
            )
    for name in ("several", "otherwise"):
        answer = rule.settings[name]
        if isinstance(answer, Pick) and answer.key is not None:
            if not is_stand_in(answer.key(StandIn((), element))):
                yield Problem(
                    rule.where,
                    f"{name}= picks by something that is no field of the element",
                    "Give by(lambda element: element.field)",
                )


def _asked(asked: Any) -> Iterator[Place]:
    if isinstance(asked, Condition):
        one, _, other = asked.parts
        if isinstance(one, Place):
            yield one
        else:
            yield from _asked(one)
            yield from _asked(other)


# -- Is every field of the source spoken of? -------------------------------------------


def _spoken_of(read: Trace) -> Iterator[Problem]:
    used = {at.names for at in places_of(read.made)}
    dropped = {at.names: where for at, _, where in read.dropped}
    for names, where in dropped.items():
        if any(names[: len(each)] == each or each[: len(names)] == names for each in used):
            yield Problem(
                where,
                f"{'.'.join(names)} is dropped, and used",
                "Remove it from drop(), or the rule that uses it",
            )
    spoken = used | dropped.keys()
    if () in spoken:
        return
    yield from _silent(read.source, (), spoken, read.made.where)
    for _, why, where in read.dropped:
        if not why.strip():
            yield Problem(where, "fields are dropped, and no reason is given", 'Give why="..."')


def _silent(
    of: Shape, above: tuple[str, ...], spoken: set[tuple[str, ...]], where: Where
) -> Iterator[Problem]:
    for name, its in of.fields.items():
        path = (*above, name)
        if path in spoken:
            continue
        if any(each[: len(path)] == path for each in spoken) and its.nested is not None:
            yield from _silent(shape(its.nested), path, spoken, where)
        else:
            yield Problem(
                where,
                f"{'.'.join(path)} of the source is neither used nor dropped",
                'Give it a rule, or drop(it, why="...")',
            )
