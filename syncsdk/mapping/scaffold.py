"""Drafts to start a mapping from: classes out of a sample, a function out of two classes.

Decides nothing: every decision is ``...``, which the definition checks refuse until it is
taken. No value of a record stands in a draft.

Read :func:`draft` and :func:`describe`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from .shapes import Field, Shape, shape

__all__ = ["describe", "draft"]


def draft(source: type, destination: type) -> str:
    """Return Python text of a mapping between two classes, with ``...`` for every decision."""
    here, there = shape(source), shape(destination)
    name = f"{_snake(source.__name__)}_to_{_snake(destination.__name__)}"
    lines = ["@mapping", f"def {name}(s: {source.__name__}) -> {destination.__name__}:"]
    lines += ['    """..."""']
    lines += [f"    # {each}" for each in _listing(here, "s")]
    lines += ["    drop(..., why=...)"]
    if there.is_dict:
        rows = [f'        "{its.name}": ...,  # {_words(its)}' for its in there.fields.values()]
        return "\n".join([*lines, "    return {", *rows, "    }"]) + "\n"
    rows = [f"        {its.name}=...,  # {_words(its)}" for its in there.fields.values()]
    return "\n".join([*lines, f"    return to({destination.__name__})(", *rows, "    )"]) + "\n"


def _listing(of: Shape, at: str) -> Iterable[str]:
    for its in of.fields.values():
        path = f'{at}["{its.name}"]' if of.is_dict else f"{at}.{its.name}"
        yield f"{path}: {_words(its)}"
        if its.nested is not None and not its.many:
            yield from _listing(shape(its.nested), path)


def _words(its: Field) -> str:
    words = [its.words]
    if its.max is not None:
        words.append(f"at most {its.max} {its.unit}")
    if its.options is not None:
        words.append(f"{len(its.options)} options")
    if its.meaning:
        words.append(its.meaning)
    return "; ".join(words)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# -- A sample --------------------------------------------------------------------------


@define
class _Seen:
    """What was seen at one place of the records."""

    records: int = 0
    present: int = 0
    kinds: dict[str, int] = field(factory=dict)
    fields: dict[str, _Seen] = field(factory=dict)
    objects: int = 0
    element: _Seen | None = None

    def see(self, value: Any) -> None:
        self.present += 1
        if isinstance(value, Mapping):
            self.objects += 1
            for key, item in value.items():
                self.fields.setdefault(str(key), _Seen()).see(item)
        elif isinstance(value, list | tuple):
            self.kinds["list"] = self.kinds.get("list", 0) + 1
            self.element = self.element or _Seen()
            for item in value:
                self.element.see(item)
        else:
            kind = "None" if value is None else type(value).__name__
            self.kinds[kind] = self.kinds.get(kind, 0) + 1


def describe(records: Iterable[Any], name: str) -> str:
    """Return Python text of attrs classes that describe a sample of records.

    Types are those that were seen, and no others: what never was null in the sample is not
    typed as null. How often a field was there stands beside it.

    Args:
        records: as they come over the wire; each is an object.
        name: of the class.
    """
    top = _Seen()
    for record in records:
        top.see(record)
    classes: list[str] = []
    _class(top, name, classes)
    return "\n\n".join(classes)


def _class(seen: _Seen, name: str, classes: list[str]) -> None:
    lines = ["@define", f"class {name}:"]
    needed: list[str] = []
    taken: set[str] = set()
    for key, its in seen.fields.items():
        python = _identifier(key)
        while python in taken:
            python += "_"
        taken.add(python)
        hint = _hint(its, f"{name}{_camel(key)}", classes)
        share = 100 * its.present / max(1, seen.objects)
        if its.present < seen.objects:
            hint += " | Unset"
        comment = f"  # {share:.4g} % of {seen.objects}"
        value = "" if python == key else f' = field(metadata=about(key="{_escaped(key)}"))'
        needed.append(f"    {python}: {hint}{value}{comment}")
    lines += needed or ["    ..."]
    classes.append("\n".join(lines) + "\n")


def _hint(seen: _Seen, name: str, classes: list[str]) -> str:
    parts: list[str] = []
    if seen.objects:
        _class(seen, name, classes)
        parts.append(name)
    for kind in sorted(seen.kinds, key=lambda kind: (kind == "None", kind)):
        if kind == "list":
            inner = "..." if seen.element is None or not seen.element.present else None
            parts.append(f"list[{inner or _hint(seen.element, name, classes)}]")  # type: ignore[arg-type]
        else:
            parts.append(kind)
    return " | ".join(parts)


def _identifier(key: str) -> str:
    name = re.sub(r"\W+", "_", _snake(key)).strip("_") or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    if key.isidentifier() and not key.startswith("_"):
        name = key
    return f"{name}_" if keyword.iskeyword(name) or name in _USED else name


_USED = ("about", "field")
"""Names that the lines of a class call, and that a field of that name would hide."""


def _camel(key: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"\W+|_", key) if part)


def _escaped(key: str) -> str:
    return key.encode("unicode_escape").decode().replace('"', '\\"')
