"""Drafts to start a mapping from: classes out of a sample, a function out of two classes.

Decides nothing: every decision is ``...``, which the definition checks refuse until it is
taken. A draft is a whole module, to be edited. No value of a record stands in it.

Read :func:`draft` and :func:`describe`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, Final

from attrs import define, field

from syncsdk.values import Unset

from .shapes import Field, Shape, shape

__all__ = ["describe", "draft"]


def draft(source: type, destination: type, *, modules: tuple[str, str] | None = None) -> str:
    """Return Python text of a module that maps one class to another, with all left open.

    A field that takes an object needs a mapping to its class as well. Nobody knows yet from
    which class, so that one is a comment.

    Args:
        modules: from which the two are imported, if not from where they are defined.

    Raises:
        ConfigurationError: one of the classes does not describe a record.
    """
    here, there = shape(source), shape(destination)
    one, other = modules or (source.__module__, destination.__module__)
    before, after = source.__name__, destination.__name__
    imports = {f"from {one} import {before}", f"from {other} import {after}"}
    if before == after:
        imports = {f"import {one}", f"import {other}"}
        before, after = f"{one}.{before}", f"{other}.{after}"
    words = f"from {__package__} import drop, mapping, to  # and the rules: text, code, ..."
    blocks = ["\n".join([*sorted(imports), words])]
    inner: dict[type, list[str]] = {}
    for path, its in _fields(there, destination.__name__, frozenset({destination})):
        if its.nested not in (None, destination):
            inner.setdefault(its.nested, []).append(path)
    for kind, paths in inner.items():
        wants = "say what it is made of, and give it to nested, one_of or each"
        lines = [f"For {', '.join(paths)}: {wants}", *_mapping(shape(kind), kind.__name__)]
        blocks.append("\n".join(f"# {line}" for line in lines))
    listing = [f"{path}: {_words(its)}" for path, its in _fields(here, "s", frozenset({source}))]
    lines = _mapping(there, after, _snake(source.__name__), before)
    lines[2:2] = ['    """..."""', *(f"    # {each}" for each in (*listing, _DROP))]
    return "\n\n\n".join([*blocks, "\n".join(lines)]) + "\n"


_DROP: Final = 'drop(..., why="..."): what has no home'


def _mapping(there: Shape, name: str, before: str = "...", source: str = "...") -> list[str]:
    """Return the lines of a mapping to a class that is called ``name``."""
    start, end = ("{", "}") if there.is_dict else (f"to({name})(", ")")
    lines = ["@mapping", f"def {before}_to_{_snake(there.kind.__name__)}(s: {source}) -> {name}:"]
    lines += [f"    return {start}"]
    for its in there.fields.values():
        row = f'"{_escaped(its.name)}": ...' if there.is_dict else f"{its.name}=..."
        lines.append(f"        {row},  # {_words(its)}")
    return [*lines, f"    {end}"]


def _fields(of: Shape, at: str, above: frozenset[type]) -> Iterator[tuple[str, Field]]:
    """Yield the fields of a record and of all in it, each with its path."""
    for its in of.fields.values():
        path = f'{at}["{_escaped(its.name)}"]' if of.is_dict else f"{at}.{its.name}"
        yield path, its
        if its.nested is not None and its.nested not in above:
            path += "[*]" * its.many
            yield from _fields(shape(its.nested), path, above | {its.nested})


def _words(its: Field) -> str:
    words = [its.words]
    if its.max is not None:
        words.append(f"at most {its.max} {its.unit}")
    if its.options is not None:
        words.append(f"{len(its.options)} options")
    if its.meaning:
        words.append(its.meaning)
    return " ".join("; ".join(words).split())


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# -- A sample --------------------------------------------------------------------------


@define
class _Seen:
    """What was seen at one place of the records."""

    present: int = 0
    kinds: set[type] = field(factory=set)
    fields: dict[str, _Seen] = field(factory=dict)
    objects: int = 0
    element: _Seen | None = None

    def see(self, value: Any, depth: int = 0) -> None:
        self.present += 1
        if depth == _DEEPEST:
            self.kinds.add(type(value))
        elif isinstance(value, Mapping):
            self.objects += 1
            for key, item in value.items():
                self.fields.setdefault(str(key), _Seen()).see(item, depth + 1)
        elif isinstance(value, list | tuple):
            self.kinds.add(list)
            self.element = self.element or _Seen()
            for item in value:
                self.element.see(item, depth + 1)
        else:
            self.kinds.add(type(value))


_DEEPEST: Final = 50
"""Levels of lists and objects that are told apart; Python itself reads no type of over 200."""


def describe(records: Iterable[Any], name: str) -> str:
    """Return Python text of a module with attrs classes that describe a sample of records.

    Types are those that were seen, and no others: what never was null in the sample is not
    typed as null. How often a field was there stands beside it.

    Args:
        records: as they come over the wire; each is an object.
        name: of the class.
    """
    top, classes = _Seen(), dict[str, str]()
    kinds: set[type] = set()
    for record in records:
        top.see(record)
    _class(top, name, classes, kinds)
    homes = {each: each.__module__ for each in kinds if each.__module__ != "builtins"}
    imports = {f"from {home} import {each.__name__}" for each, home in homes.items()}
    imports |= {"from attrs import define, field", f"from {__package__} import about"}
    return "\n\n\n".join(["\n".join(sorted(imports)), *classes.values()]) + "\n"


def _class(seen: _Seen, name: str, classes: dict[str, str], kinds: set[type]) -> str:
    """Add a class, after those that it needs; return its name."""
    while name in classes:
        name += "_"
    classes[name] = ""
    lines = ["@define", f"class {name}:"]
    taken: set[str] = set()
    for key, its in seen.fields.items():
        python = _identifier(key)
        while python in taken:
            python += "_"
        taken.add(python)
        if its.present < seen.objects:
            its.kinds.add(Unset)
        hint = _hint(its, f"{name}{_camel(key)}", classes, kinds)
        share = 100 * its.present / max(1, seen.objects)
        comment = f"  # {share:.4g} % of {seen.objects}"
        value = "" if python == key else f' = field(metadata=about(key="{_escaped(key)}"))'
        lines.append(f"    {python}: {hint}{value}{comment}")
    del classes[name]
    classes[name] = "\n".join(lines if seen.fields else [*lines, "    ..."])
    return name


def _hint(seen: _Seen, name: str, classes: dict[str, str], kinds: set[type]) -> str:
    parts = [_class(seen, name, classes, kinds)] if seen.objects else []
    for kind in sorted(seen.kinds, key=lambda kind: (kind in (NoneType, Unset), kind.__name__)):
        kinds.add(kind)
        if kind is not list:
            parts.append("None" if kind is NoneType else kind.__name__)
        elif seen.element is None or not seen.element.present:
            parts.append("list[...]")
        else:
            parts.append(f"list[{_hint(seen.element, name, classes, kinds)}]")
    return " | ".join(parts)


def _identifier(key: str) -> str:
    key = unicodedata.normalize("NFKC", key)  # for so Python reads a name
    name = _worded(_snake(key)).strip("_") or "field"
    if not name.isidentifier():
        name = f"field_{name}"
    if key.isidentifier() and not key.startswith("_"):
        name = key
    is_hiding = name in _USED or (name != key and hasattr(builtins, name))
    return f"{name}_" if keyword.iskeyword(name) or is_hiding else name


_USED: Final = ("about", "field", "self")
"""Names that the lines of a class call, or its constructor, and that a field would hide."""


def _worded(text: str) -> str:
    """Return text with an underscore for what no name may hold."""
    return re.sub("_+", "_", "".join(c if f"a{c}".isidentifier() else "_" for c in text))


def _camel(key: str) -> str:
    parts = _worded(unicodedata.normalize("NFKC", key)).split("_")
    return "".join(part[:1].upper() + part[1:] for part in parts)


def _escaped(key: str) -> str:
    return key.encode("unicode_escape").decode().replace('"', '\\"')
