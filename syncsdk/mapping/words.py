"""The words for what a rule of a mapping does.

Decides the sentences: a rule, what it does with values that do not fit, what is lost.
Leaves what a rule does with a value to ``compiler``; the tests hold the words against what
a compiled mapping does.

Read :func:`words_of`, then :func:`answers_of` and :func:`lost_by`.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from unicodedata import category

from syncsdk.values import UNSET

from .rules import LEAVE, NULL, REQUIRED, Cut, Decision, Pick, Step, condition, related
from .shapes import UNITS
from .support import said
from .tracing import Place, Rule, element_of, place

__all__ = [
    "REFUSED",
    "RELATIONS",
    "TYPES",
    "answers_of",
    "becomes",
    "flat",
    "lost_by",
    "shown",
    "words_of",
]

REFUSED: Final = "the record is refused"
_STEP: Final = "left to the step"
_AS_IS: Final = "taken as it is"
_OVER: Final = "passed over; if nothing is there: "
_FINAL: Final = {"NULL": "the field is made empty", "LEAVE": "left as it is in the destination"}
TYPES: Final[Mapping[Any, str]] = {
    str: "text", int: "whole number", Decimal: "decimal number", float: "number", dict: "object",
    bool: "true or false", datetime.datetime: "date and time", datetime.date: "day", list: "list",
}  # fmt: skip
_COMPARED: Final = {
    "==": "is", "!=": "is not", "<": "is below", "<=": "is at most", ">": "is above",
    ">=": "is at least", "&": "and", "|": "or",
}  # fmt: skip
RELATIONS: Final = {"same": "the same", "narrower": "▲ means less", "wider": "▲ means more"}
_ROUNDING: Final = {
    "ROUND_HALF_EVEN": "halves to the even digit", "ROUND_HALF_UP": "halves away from zero",
    "ROUND_HALF_DOWN": "halves towards zero", "ROUND_DOWN": "towards zero",
    "ROUND_UP": "away from zero",
}  # fmt: skip
_BAD: Final = {
    "code": "an option that is not in the table", "flag": "neither true nor false",
    "day": "not such a day", "instant": "not such an instant", "decimal": "not such a number",
    "integer": "not such a number",
}  # fmt: skip
_HEADS: Final = {
    "text": "Text", "integer": "A whole number", "flag": "True or false",
    "instant": "An instant, in UTC", "day": "A day, written YYYY-MM-DD",
    "code": "An option, translated by its table", "coalesce": "The first that is there",
    "keep": "Taken as it is, unchecked", "join": "The texts that are there, joined by {separator}",
    "split": "Text, parted at {separator}; of the parts {part}, blank if there is none",
    "label": "{pattern}", "constant": "Always {value}", "step": "{step}",
    "decimal": "A decimal number, rounded to {places} decimal places ({rounding})",
    "each": "Every element becomes one {mapping}; one that is refused refuses the record",
    "nested": "The object becomes the {mapping}",
    "one_of": "One element becomes the {mapping}; wanted is one of which {prefer}",
}  # fmt: skip
_OTHERS: Final = {
    "one_of": "all other elements", "split": "all other parts", "coalesce": "all after the first",
}  # fmt: skip


def flat(words: str) -> str:
    """Return words on one line."""
    return " ".join(words.split())


def shown(value: Any) -> str:
    """Return a constant, or a value of an example: never an object's own text."""
    if value is None or value is UNSET:
        return "null" if value is None else "absent"
    if isinstance(value, enum.Enum):
        same = str(value.value).casefold() == value.name.casefold()
        return str(value.value) if same else f"{value.name} ({value.value})"
    if isinstance(value, str):
        return "“" + "".join(ascii(c)[1:-1] if _hidden(c) else c for c in value) + "”"
    if isinstance(value, bool | datetime.date):
        return str(value).lower() if isinstance(value, bool) else value.isoformat()
    plain = isinstance(value, float | Decimal) or (isinstance(value, int) and abs(value) < 10**99)
    return str(value) if plain else "an empty list" if value == [] else said(value)


def _hidden(character: str) -> bool:
    """Return whether nobody sees a character; the same in every version of Unicode."""
    return character != " " and category(character) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs")


def _limit(rule: Rule) -> str:
    return f"{rule.settings.get('max')} {UNITS[rule.settings.get('unit', 'chars')]}"


def becomes(answer: Any, above: Sequence[Rule] = ()) -> str:
    """Return what a decision does in the end, where rules above work on its outcome."""
    word = answer.word if isinstance(answer, Decision) else ""
    if answer is None or word == "REJECT":
        return REFUSED
    if not above:
        return _FINAL.get(word) or f"set to {shown(answer)}"
    outer, *rest = above
    if not word:
        return f"taken for {shown(answer)}"
    if outer.kind in ("join", "coalesce"):
        return f"{_OVER}{becomes(outer.missing[0], rest)}"
    if outer.kind in ("step", "label"):
        return _STEP if outer.kind == "step" else REFUSED
    return becomes(answer if outer.kind == "keep" else outer.missing[word == "NULL"], rest)


def answers_of(rule: Rule, above: Sequence[Rule]) -> dict[str, str]:
    """Return what a rule does with values that are not as it wants them."""
    its, kind, several = rule.settings, rule.kind, ""
    absent, null, blank = (becomes(each, above) for each in rule.missing)
    bad = "" if kind == "constant" else _bad(rule, above)
    fields = [each.field for each in rule.inputs if isinstance(each, Place) and each.steps]
    if kind == "constant":
        absent = null = blank = ""
    elif kind in ("join", "coalesce"):
        absent = null = blank = f"{_OVER}{absent}"
        bad, several = (_AS_IS, "the first that is there") if kind == "coalesce" else (bad, "")
    elif kind == "step":
        absent = _by_step([each.optional for each in fields])
        null = _by_step([each.nullable for each in fields])
        blank, bad = _STEP, f"{_STEP}; if it fails, {REFUSED}"
    elif kind == "keep":
        absent = becomes(LEAVE, above) if all(each.optional for each in fields) else REFUSED
        null, blank, bad = becomes(NULL, above), _AS_IS, _AS_IS
    elif kind == "one_of":
        absent = null = blank = becomes(its["none"], above)
        wanted, other = (_picked(rule, its[name], above) for name in ("several", "otherwise"))
        several = f"of several that are wanted: {wanted}\nwhere none is wanted: {other}"
    elif kind in ("each", "nested"):
        blank = "the list stays empty" if kind == "each" else ""
    before = [each.kind for each in rule.inputs if isinstance(each, Rule)]
    if before and len(before) == len(rule.inputs) and "step" not in before:
        absent = null = ""  # for they decided
    over = its.get("over")
    long = f"cut to {_limit(rule)}" if isinstance(over, Cut) else becomes(over, above)
    found = {"absent": absent, "null": null, "blank": blank, "too_long": long if over else ""}
    found |= {"bad_or_unknown": bad, "several": several}
    return {question: answer for question, answer in found.items() if answer}


def _by_step(fine: Sequence[bool]) -> str:
    if all(fine):
        return _STEP
    return f"{REFUSED}, unless the step can do without" if any(fine) else REFUSED


def _bad(rule: Rule, above: Sequence[Rule]) -> str:
    its = rule.settings
    does = becomes(its.get("unknown" if rule.kind == "code" else "bad"), above)
    which = f"not {its['form'].words}" if "form" in its else _BAD.get(rule.kind)
    if does == REFUSED or which is None:
        return REFUSED
    return f"{which}: {does}" + ("" if rule.kind == "flag" else f"\nof another type: {REFUSED}")


def _picked(rule: Rule, answer: Any, above: Sequence[Rule]) -> str:
    if not isinstance(answer, Pick):
        return becomes(answer, above)
    if answer.key is None:
        return f"the {answer.word.lower()} in the source's order"
    return (
        f"the one with the smallest {place(answer.key(element_of(rule.inputs[0].field))).path[2:]}"
    )


def _asked(asked: Any) -> str:
    if isinstance(asked, Step):
        return f"this holds: {flat(asked.words).removesuffix('.')}"
    one, by, other = asked.parts
    if isinstance(one, Place):
        return f"{one.path[2:]} {_COMPARED[by]} {shown(other)}"
    both = (f"({_asked(each)})" if each.parts[1] in "&|" else _asked(each) for each in (one, other))
    return f" {_COMPARED[by]} ".join(both)


def words_of(rule: Rule) -> str:
    """Return a rule in words."""
    its = rule.settings
    words = {name: shown(setting) for name, setting in its.items()}
    words["rounding"] = _ROUNDING.get(its.get("rounding", ""), "")
    if "mapping" in its:
        words["mapping"] = its["mapping"].read.made.kind.__name__
    if "prefer" in its:
        words["prefer"] = _asked(condition(its["prefer"], element_of(rule.inputs[0].field)))
    if "part" in its:
        at = its["part"]
        words["part"] = f"number {at + 1}" if at >= 0 else f"number {-at} from the end"
    if "pattern" in its:
        names = [each.path[2:] if isinstance(each, Place) else each.kind for each in rule.inputs]
        pieces = its["pattern"].split("{}")
        filled = "".join(f"{piece}{{{name}}}" for piece, name in zip(pieces, names, strict=False))
        words["pattern"] = shown(filled + pieces[-1])
    if "step" in its:
        told = flat(its["step"].words).removesuffix(".")
        words["step"] = f"{told} (step, version {its['step'].version})"
    more = [f"in {its['case']} case"] if "case" in its else []
    more += [f"only the characters {its['keep']}"] if its.get("keep") else []
    more += [its["form"].words] if "form" in its else []
    more += [f"at most {_limit(rule)}"] if "max" in its else []
    more += ["from {:,} to {:,}".format(*its["within"])] if "within" in its else []
    parts = [", ".join([_HEADS[rule.kind].format(**words), *more])]
    for name, means in (("also", "counts as blank"), ("true", "is true"), ("false", "is false")):
        parts += [f"{' or '.join(map(shown, its[name]))} {means}"] if its.get(name) else []
    if rule.kind == "decimal":
        shortest = its.get("floats", LEAVE).word == "SHORTEST"
        parts.append(f"Floats are {'read as their shortest decimal' if shortest else 'refused'}")
    if rule.kind == "instant" and its["zone"] == REQUIRED:
        parts.append("It must say its offset from UTC")
    elif rule.kind == "instant":
        sides = [its[name].word if name in its else "REJECT" for name in ("ambiguous", "gap")]
        twice, never = ("bad" if side == "REJECT" else f"the {side.lower()}" for side in sides)
        parts.append(f"Without an offset it is a time in {its['zone']}")
        parts.append(f"One that the clocks there show twice is {twice}, one that they skip {never}")
    return ". ".join(parts) + "."


def lost_by(rule: Rule) -> Iterator[str]:
    """Yield what does not arrive, or not as it was."""
    its, bad = rule.settings, _bad(rule, ())
    if becomes(its.get("over")) != REFUSED:
        yield f"{'what goes' if isinstance(its['over'], Cut) else 'text'} beyond {_limit(rule)}"
    if bad != REFUSED:
        yield f"what is {bad.partition(':')[0]}"
    if "case" in its:
        yield "upper and lower case"
    if its.get("keep"):
        yield f"all characters but {its['keep']}"
    places = [each for each in rule.inputs if isinstance(each, Place) and each.steps]
    whole = [each.field.kinds for each in places] == [(int,)]
    if rule.kind == "decimal" and not whole:
        yield f"digits beyond {its['places']} decimal places"
    if rule.kind in _OTHERS:
        yield _OTHERS[rule.kind]
    groups: dict[str, list[str]] = {}
    for key, option in its.get("table", {}).items():
        to = related(option)
        groups.setdefault(shown(to.option), []).append(shown(key))
        if to.relation != "same":
            yield f"the exact meaning of {shown(key)}"
    for keys in groups.values():
        if len(keys) > 1:
            yield f"the difference between {' and '.join(keys)}"
