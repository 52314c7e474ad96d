"""There and back: two mappings between the same two systems, checked against each other.

Decides whether what goes there comes back the same. Nothing is inverted by itself: a
mapping takes decisions that its inverse never asked for, so both are written, and this
compares them.

Read :func:`pair`, then :meth:`Pair.check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from attrs import define, field, frozen

from syncsdk.errors import MappingError
from syncsdk.values import UNSET, parse_instant

from .checks import Problem
from .mapper import MappingDefinitionError, TypedMapper
from .rules import related
from .shapes import raw_option, shape
from .tracing import Rule, places_of, questions

__all__ = ["Pair", "Return", "pair"]


_Names: TypeAlias = tuple[str, ...]


@define
class Return:
    """What came back of some records.

    Attributes:
        records: how many were sent there and back.
        refused: how many did not get there, or not back, by the first issue.
        changed: by field of the source, how many came back with another value though the
            field is not declared lossy.
        samples: up to five of them by field: what went there, and what came back. Values of
            sensitive fields are left out.
    """

    records: int = 0
    refused: dict[str, int] = field(factory=dict)
    changed: dict[str, int] = field(factory=dict)
    samples: dict[str, list[tuple[Any, Any]]] = field(factory=dict, repr=False)

    @property
    def faithful(self) -> bool:
        """Whether every record came back, and nothing was lost that is not declared."""
        return not self.refused and not self.changed

    def __str__(self) -> str:
        lines = [f"{self.records} records there and back"]
        lines += [f"  refused {number} ×: {what}" for what, number in self.refused.items()]
        lines += [f"  changed {number} ×: {what}" for what, number in self.changed.items()]
        return "\n".join(lines)


@frozen
class Pair:
    """Two mappings that are each other's way back.

    Attributes:
        forward, backward: the mappings.
        lossy: fields of forward's source that do not come back as they were, and why.
    """

    forward: TypedMapper[Any, Any]
    backward: TypedMapper[Any, Any]
    lossy: Mapping[str, str]

    def check(self, records: Iterable[Any]) -> Return:
        """Send records there and back, and compare them with what they were.

        Args:
            records: of forward's source, as they come over the wire.
        """
        told = Return()
        for record in records:
            told.records += 1
            row = self.forward.map_batch([record])[0]
            back = row if isinstance(row, MappingError) else self._back(row)
            if isinstance(back, MappingError):
                issue = back.issues[0]
                what = f"{issue.field} {issue.code}"
                told.refused[what] = told.refused.get(what, 0) + 1
                continue
            self._compare(record, back, told)
        return told

    def _back(self, row: tuple[Any, ...]) -> Any:
        sent = dict(zip(self.forward.fields, row, strict=True))
        there = {key: _wire(value) for key, value in sent.items() if value is not UNSET}
        row = self.backward.map_batch([there])[0]
        if isinstance(row, MappingError):
            return row
        return dict(zip(self.backward.fields, row, strict=True))

    def _compare(self, record: Mapping[str, Any], back: Mapping[str, Any], told: Return) -> None:
        dropped = {place.names[0] for place, _, _ in self.forward.read.dropped}
        for its in self.forward.read.source.fields.values():
            if its.name in self.lossy or its.name in dropped:
                continue
            before, after = record.get(its.key, UNSET), back.get(its.key, UNSET)
            if not alike(before, after):
                told.changed[its.name] = told.changed.get(its.name, 0) + 1
                samples = told.samples.setdefault(its.name, [])
                if len(samples) < 5 and not its.sensitive:
                    samples.append((before, after))


def _wire(value: Any) -> Any:
    """Return a value as it would come over the wire again."""
    if isinstance(value, dict):
        return {key: _wire(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wire(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def alike(before: Any, after: Any) -> bool:
    """Return whether two values mean the same: one text, number or instant.

    Texts of one instant are alike; of one number they are not, for "007" is not "7".
    """
    if before is None or before is UNSET or after is None or after is UNSET:
        return (before is None or before is UNSET) and (after is None or after is UNSET)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = {*before, *after}
        return all(alike(before.get(name, UNSET), after.get(name, UNSET)) for name in names)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(alike, before, after))
    if before == after:
        return isinstance(before, bool) == isinstance(after, bool)
    try:
        if isinstance(before, str) and isinstance(after, str):
            return parse_instant(before) == parse_instant(after)
        if isinstance(after, datetime):
            return parse_instant(str(before), "UTC")[0] == after.astimezone(UTC)
        if isinstance(after, Decimal):
            return Decimal(str(before)) == after
    except (ValueError, InvalidOperation):
        return False
    return bool(_wire(after) == before)


def pair(
    forward: TypedMapper[Any, Any],
    backward: TypedMapper[Any, Any],
    *,
    lossy: Mapping[str, str] | None = None,
) -> Pair:
    """Declare that a mapping is the way back of another.

    Args:
        forward: from one system to the other.
        backward: from that one back.
        lossy: fields of forward's source that do not come back as they were, and why. What
            forward drops needs no mention.

    Raises:
        MappingDefinitionError: they are not between the same two classes, or their tables
            of options do not lead back, and it is not declared.
    """
    made = Pair(forward, backward, dict(lossy or {}))
    found = list(_problems(made))
    if found:
        raise MappingDefinitionError(f"{forward.name} and {backward.name}", found)
    return made


def _problems(made: Pair) -> Iterator[Problem]:
    ends = (made.forward.read.source.kind, made.forward.read.made.kind)
    here, there = (end.__name__ for end in ends)
    if ends != (made.backward.read.made.kind, made.backward.read.source.kind):
        yield Problem(
            made.backward.where,
            f"{made.backward.name} does not lead from {there} back to {here}",
            "Pair mappings between the same two classes",
        )
        return
    for name, why in made.lossy.items():
        if not why.strip():
            yield Problem(
                made.forward.where,
                f"{name} is declared lossy, and no reason is given",
                f'Say why: lossy={{{name!r}: "..."}}',
            )
        if name not in made.forward.read.source.fields:
            yield Problem(
                made.forward.where,
                f"{name} is declared lossy, and {here} has no such field",
                f"It has {', '.join(made.forward.read.source.fields)}",
            )
    there_and_back = _tables(made.forward), _tables(made.backward)
    seen = set[tuple[_Names, _Names]]()
    for way, (tables, others) in enumerate((there_and_back, there_and_back[::-1])):
        other = (made.backward, made.forward)[way]
        for (source, target), (table, rule) in tables.items():
            returning, _ = others.get((target, source), ({}, rule))
            lost = [option for option, became in table.items() if returning.get(became) != option]
            field = (source, target)[way][0]
            if not lost or field in made.lossy or (target, source) in seen:
                continue
            seen.add((source, target))
            yield Problem(
                rule.where,
                f"of the options of {'.'.join(source)} these do not come back as they were: "
                + ", ".join(map(repr, lost)),
                f"Mend the table of {other.name}, or declare lossy={{{field!r}: ...}}",
            )


_Table: TypeAlias = dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[dict[Any, Any], Rule]]


def _tables(of: TypedMapper[Any, Any], here: _Names = (), there: _Names = ()) -> _Table:
    """Return the tables of options by the fields that they lead from and to."""
    found: _Table = {}
    for name in shape(of.read.made.kind).fields:
        for rule in questions(of.read.made.values.get(name)):
            ends = list(places_of(rule))
            if len(ends) != 1:
                continue
            source, target = (*here, *ends[0].names), (*there, name)
            if rule.kind == "code" and source:
                table = {
                    raw_option(key): raw_option(related(option).option)
                    for key, option in rule.settings["table"].items()
                }
                found[source, target] = table, rule
            elif "mapping" in rule.settings:
                found |= _tables(rule.settings["mapping"], source, target)
    return found
