"""What the two ends of a mapping look like: classes read as descriptions.

Decides which field has which key on the wire, which types, options and limits it has, and
whether it may be absent or null. Leaves what becomes of a field to the rules.
"""

from __future__ import annotations

import enum
import functools
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from attrs import frozen

from syncsdk.errors import ConfigurationError
from syncsdk.values import Unset

__all__ = ["UNITS", "Field", "Shape", "about", "hides", "is_shape", "raw_option", "shape"]

_ABOUT: Final = "syncsdk.about"
UNITS: Final = {"chars": "characters", "utf16": "UTF-16 units", "bytes": "bytes"}
"""What a limit of text is counted in, in words."""


def about(
    *,
    key: str | None = None,
    meaning: str = "",
    max: int | None = None,
    unit: Literal["chars", "utf16", "bytes"] = "chars",
    sensitive: bool = False,
) -> dict[str, Any]:
    """Say of a field what its type does not.

    Give the result as ``attrs.field(metadata=about(...))``, or in a TypedDict as
    ``Annotated[str, about(...)]``.

    Args:
        key: its name on the wire, where that is another.
        meaning: for the reader of the mapping's document.
        max, unit: the longest text that the system takes.
        sensitive: its values are masked wherever people look.
    """
    told = {"key": key, "meaning": meaning, "max": max, "unit": unit, "sensitive": sensitive}
    return {_ABOUT: told}


@frozen
class Field:
    """One field of a class that describes a system.

    Attributes:
        name: in Python.
        key: on the wire.
        kinds: the types of its values, of its elements if there are ``many``; none if
            anything may come.
        options: the only values there may be, if they can be counted: members of an enum,
            or of a Literal.
        nested: the class of the object, or of each element, if it is one that is described.
        many: it holds a list.
        nullable: it may be null.
        optional: it may be absent; of a destination, it may be left alone.
        required: a destination's constructor demands it.
        meaning, max, unit, sensitive: see :func:`about`.
    """

    name: str
    key: str
    kinds: tuple[Any, ...]
    options: tuple[Any, ...] | None
    nested: type | None
    many: bool
    nullable: bool
    optional: bool
    required: bool
    meaning: str
    max: int | None
    unit: str
    sensitive: bool

    @property
    def words(self) -> str:
        """Its type, for people."""
        names = [_name(kind) for kind in self.kinds] or ["anything"]
        one = " or ".join(names)
        ends = ["null"] * self.nullable + ["absent"] * self.optional
        return " or ".join([f"list of {one}" if self.many else one, *ends])


@frozen
class Shape:
    """A class read as the description of a record."""

    kind: type
    fields: Mapping[str, Field]
    meaning: str

    @property
    def is_dict(self) -> bool:
        """Whether it describes plain objects, without a class of their own."""
        return is_typeddict(self.kind)


def hides(its: Field, above: frozenset[type] = frozenset()) -> bool:
    """Return whether a field, or anything that lies in it, is sensitive."""
    if its.sensitive or its.nested is None or its.nested in above:
        return its.sensitive
    inner = shape(its.nested).fields.values()
    return any(hides(each, above | {its.nested}) for each in inner)


def raw_option(option: Any) -> Any:
    """Return how an option stands on the wire."""
    return option.value if isinstance(option, enum.Enum) else option


def is_shape(kind: Any) -> bool:
    """Return whether ``kind`` is a class that can describe a record."""
    return isinstance(kind, type) and (attrs.has(kind) or is_typeddict(kind))


@functools.cache
def shape(kind: type) -> Shape:
    """Read a class.

    Raises:
        ConfigurationError: neither an attrs class nor a TypedDict, or one with a type that
            has no meaning on the wire.
    """
    if not is_shape(kind):
        raise ConfigurationError(
            f"{_name(kind)} does not describe a record",
            remedy="Use an attrs class (@define) or a TypedDict",
        )
    try:
        hints = get_type_hints(kind, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigurationError(
            f"the types of {kind.__name__} cannot be read ({error})",
            remedy="Define or import every class that it names, at the top of its module",
        ) from error
    fields: dict[str, Field] = {}
    if is_typeddict(kind):
        needed: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
        for name, hint in hints.items():
            fields[name] = _field(name, hint, {}, required=name in needed, total=name in needed)
    else:
        for each in attrs.fields(kind):
            if not each.init:
                continue
            if each.name.startswith("_"):
                raise ConfigurationError(
                    f"{kind.__name__}.{each.name} starts with an underscore, which its constructor "
                    "leaves out and type checkers do not",
                    remedy="Name it without, and give its name on the wire: about(key=...)",
                )
            hint = hints.get(each.name, Any)
            needs = each.default is attrs.NOTHING
            fields[each.name] = _field(each.name, hint, each.metadata, required=needs, total=True)
    own = kind.__dict__.get("__doc__") or ""
    meaning = "" if own.startswith(f"{kind.__name__}(") else inspect.cleandoc(own)
    return Shape(kind, fields, meaning)


def _field(
    name: str, hint: Any, metadata: Mapping[Any, Any], *, required: bool, total: bool
) -> Field:
    told: dict[str, Any] = dict(metadata.get(_ABOUT) or about()[_ABOUT])
    optional = not total
    while get_origin(hint) in (Annotated, Required, NotRequired):
        # Told here again: with postponed annotations a TypedDict does not know it itself.
        if get_origin(hint) is not Annotated:
            optional = get_origin(hint) is NotRequired
        for extra in getattr(hint, "__metadata__", ()):
            if isinstance(extra, dict) and _ABOUT in extra:
                told = dict(extra[_ABOUT])
        hint = get_args(hint)[0]
    parts = list(get_args(hint)) if _is_union(hint) else [hint]
    nullable = not {type(None), None, Any, object}.isdisjoint(parts)
    optional = optional or Unset in parts
    parts = [part for part in parts if part not in (None, type(None), Unset)]
    many = len(parts) == 1 and _element(parts[0]) is not None
    if many:
        inner = _element(parts[0])
        parts = list(get_args(inner)) if _is_union(inner) else [inner]
    options: tuple[Any, ...] | None = None
    kinds: list[Any] = []
    for part in parts:
        if get_origin(part) is Literal:
            options = (options or ()) + get_args(part)
            kinds += [type(option) for option in get_args(part)]
        elif isinstance(part, type) and issubclass(part, enum.Enum):
            options = (options or ()) + tuple(part)
            kinds.append(part)
        elif part not in (Any, object):
            kinds.append(get_origin(part) or part)
    nested = [kind for kind in kinds if is_shape(kind)]
    key = told.pop("key")
    return Field(
        name=name,
        key=name if key is None else key,
        kinds=tuple(dict.fromkeys(kinds)),
        options=options,
        nested=nested[0] if len(nested) == len(kinds) == 1 else None,
        many=many,
        nullable=nullable,
        optional=optional,
        required=required and not optional,
        **told,
    )


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _element(hint: Any) -> Any:
    """Return the type of a list's elements, or None if it is no list."""
    origin = get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Sequence) and get_args(hint):
        return get_args(hint)[0]
    return Any if hint in (list, tuple, Sequence) else None


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
