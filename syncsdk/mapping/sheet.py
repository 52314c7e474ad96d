"""A mapping as a sheet of words, the same for all formats of its document.

Decides what stands in which line and table, masks the examples, and makes the digest of all
words, which knows nothing of data. Leaves the sentences to ``words``, what was seen in data to
``profile``, and the looks to ``document``.

Read :class:`Sheet`, then :func:`rows`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
from attrs import evolve, frozen

from syncsdk.values import UNSET

from .rules import Step, related
from .shapes import UNITS, Field, Shape, shape
from .tracing import Made, Place, Rule, name_of, places_of
from .words import (
    RELATIONS,
    TYPES,
    answers_of,
    becomes,
    flat,
    lost_by,
    shown,
    words_of,
)

if TYPE_CHECKING:
    from .mapper import Explanation, TypedMapper
    from .profile import Profile

__all__ = ["Line", "Sheet", "Table", "digest", "rows"]


SEEN: Final = "seen in data"
UNMAPPED: Final = "▲ in no table"


@frozen
class Line:
    """One field of the destination, in words; what does not arise is empty text.

    Attributes:
        number: ``2``; ``2.1`` for the first field within the second.
        absent, null, blank, too_long, bad_or_unknown, several: what happens then.
        lost: what does not arrive, or not as it was.
        rule_id: 8 hexadecimal digits that change with any word but number, example and seen.
        seen: what real data holds; see :meth:`~.profile.Profile.seen`.
    """

    number: str
    destination_field: str
    meaning: str
    type: str
    source_path: str
    source_meaning: str
    rule: str
    absent: str = ""
    null: str = ""
    blank: str = ""
    too_long: str = ""
    bad_or_unknown: str = ""
    several: str = ""
    lost: str = ""
    why: str = ""
    example: str = ""
    rule_id: str = ""
    seen: str = ""


@frozen
class Table:
    """A table beside that of the fields: options, needed and dropped fields, what was seen."""

    title: str
    note: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@frozen
class Sheet:
    """All that a document shows, in words.

    Attributes:
        head: owner, both ends, file and name of the mapping, digest of its rules.
    """

    title: str
    description: str
    head: Mapping[str, str]
    lines: tuple[Line, ...]
    tables: tuple[Table, ...]


def digest(mapper: TypedMapper[Any, Any]) -> str:
    """Return 32 hexadecimal digits that change with any word of the document.

    Reasons and owner count, unlike in ``mapper.digest``; examples, the file and what was seen
    do not.
    """
    words = attrs.asdict(rows(mapper), filter=attrs.filters.exclude("seen"))
    words["head"]["Mapping"] = mapper.name
    told = json.dumps(words).encode()
    return blake2b(told, digest_size=16, person=b"syncsdk-document").hexdigest()


def rows(
    mapper: TypedMapper[Any, Any],
    *,
    examples: Sequence[Any] = (),
    profile: Profile | None = None,
) -> Sheet:
    """Return a mapping in words, with what becomes of some records, and what real data holds."""
    writer = _Writer([(record, mapper.explain(record)) for record in examples], profile)
    lines = tuple(writer.mapping(mapper, _At(mapper.read.source)))
    title, _, description = cleandoc(mapper.__doc__ or mapper.name).partition("\n\n")
    source, destination = (
        f"{its.kind.__name__}: {flat(its.meaning)}" if its.meaning else its.kind.__name__
        for its in (mapper.read.source, shape(mapper.read.made.kind))
    )  # fmt: skip
    head = {
        "Owner": mapper.owner or "not named",
        "Source": source,
        "Destination": destination,
        "Mapping": name_of(mapper.function),
        "Rules digest": mapper.digest,
    }
    return Sheet(flat(title), flat(description), head, lines, tuple(writer.tables()))


# -- Lines -----------------------------------------------------------------------------


@frozen
class _At:
    """Where a record stands: the steps that lead to it at both ends, and its line's number."""

    source: Shape
    steps: tuple[Field, ...] = ()
    names: tuple[str, ...] = ()
    number: str = ""
    secret: bool = False

    def path(self, at: Place) -> str:
        above = "".join(f".{step.key}[*]" if step.many else f".{step.key}" for step in self.steps)
        return f"${above}{at.path[1:]}"

    def words(self, at: Place) -> str:
        """Return meaning and type of a place of the source."""
        if not at.steps:
            return f"the whole {self.source.kind.__name__}"
        words = _type(at.field, "may be null", "may be absent")
        return f"{at.field.meaning} ({words})" if at.field.meaning else words

    def hides(self, at: Place) -> bool:
        """Return whether anything at a place is sensitive."""
        return self.secret or at.sensitive


@frozen
class _Writer:
    """Words a mapping and those within it, and keeps what stands beside the lines, once each."""

    examples: Sequence[tuple[Any, Explanation[Any]]]
    profile: Profile | None
    options: dict[Table, tuple[str, str, dict[str, None]]] = attrs.field(factory=dict)
    needs: dict[tuple[str, str], None] = attrs.field(factory=dict)
    dropped: dict[tuple[str, str, str], None] = attrs.field(factory=dict)

    def mapping(self, mapper: TypedMapper[Any, Any], at: _At) -> Iterator[Line]:
        for places, why, _ in mapper.read.needs:
            self.needs["\n".join(map(at.path, places)), why] = None
        for each, why, _ in mapper.read.dropped:
            self.dropped[at.path(each), at.words(each), why] = None
        yield from self.record(mapper.read.made, at)

    def record(self, made: Made, at: _At) -> Iterator[Line]:
        for number, (name, its) in enumerate(shape(made.kind).fields.items(), 1):
            rule, numbered = made.values[name], f"{at.number}.{number}".lstrip(".")
            secret = at.secret or its.sensitive
            here = evolve(at, names=(*at.names, name), number=numbered, secret=secret)
            yield self.line(rule, its, here)
            if isinstance(rule, Made):
                yield from self.record(rule, here)
                continue
            for part, _ in _chain(rule):
                if "mapping" in part.settings:
                    inner, way = part.settings["mapping"], next(places_of(part))
                    secret = here.secret or any(step.sensitive for step in way.steps)
                    steps, source = (*at.steps, *way.steps), inner.read.source
                    below = evolve(here, steps=steps, source=source, secret=secret)
                    yield from self.mapping(inner, below)

    def line(self, rule: Any, its: Field, at: _At) -> Line:
        chain = [] if isinstance(rule, Made) else list(_chain(rule))
        places = [] if isinstance(rule, Made) else list(places_of(rule))
        dotted, words, answers = ".".join(at.names), list[str](), dict[str, dict[int, str]]()
        for step, (part, above) in enumerate(chain, 1):
            own = ", ".join(at.path(each) for each in part.inputs if isinstance(each, Place))
            mark = f"{step}. {own}{': ' * bool(own)}" if len(chain) > 1 else ""
            words.append(f"{mark}{words_of(part)}")
            for question, answer in answers_of(part, above).items():
                answers.setdefault(question, {})[step] = answer
            if part.kind == "code":
                other = becomes(part.settings["unknown"], above)
                asked = self.options.setdefault(_options(part, above, dotted), (dotted, other, {}))
                asked[2].update(dict.fromkeys(map(at.path, places_of(part))))
            for table in _looked_up(part):
                self.options.setdefault(table, ("", "", {}))
        line = Line(
            number="",
            destination_field=dotted,
            meaning=its.meaning,
            type=_type(its, "may be empty", "may be left as it is", its.required),
            source_path="\n".join(dict.fromkeys(map(at.path, places))),
            source_meaning="\n".join(dict.fromkeys(map(at.words, places))),
            rule="\n".join(words) or f"The {rule.kind.__name__} is made of the same record.",
            lost="; ".join(lost for part, _ in chain for lost in lost_by(part)),
            why="\n".join(filter(None, [part.settings.get("why") for part, _ in chain])),
            **{question: _together(told) for question, told in answers.items()},
        )
        mark = blake2b(json.dumps(attrs.astuple(line)[:-1]).encode(), digest_size=4).hexdigest()
        hidden = at.secret or any(map(at.hides, places))
        ways = [[(step.key, step.many) for step in (*at.steps, *each.steps)] for each in places]
        shown = [_example(*told, ways, at.names, hidden) for told in self.examples]
        example = "\n".join(filter(None, shown)) if its.nested is None else ""
        seen = self.profile.seen(dotted) if self.profile else ""
        return evolve(line, number=at.number, example=example, rule_id=mark, seen=seen)

    def tables(self) -> Iterator[Table]:
        profile = self.profile
        for table, (field, other, paths) in self.options.items():
            yield _came(table, other, profile.came(field, paths)) if profile and field else table
        if self.needs:
            note = "At least one of them must hold something, or the record is refused."
            yield Table("Needed", note, ("source path", "why"), tuple(self.needs))
        if self.dropped:
            note = "Fields of the source that have no place in the destination."
            heads = ("source path", "source meaning", "why")
            table = Table("Dropped", note, heads, tuple(self.dropped))
            if profile:
                rows = tuple((*row, profile.seen(row[0])) for row in table.rows)
                table = evolve(table, heads=(*heads, SEEN), rows=rows)
            yield table
        if self.examples:
            told = tuple((f"{at}", _outcome(each)) for at, (_, each) in enumerate(self.examples, 1))
            yield Table("Examples", "", ("number", "example"), told)


def _chain(rule: Rule, above: tuple[Rule, ...] = ()) -> Iterator[tuple[Rule, tuple[Rule, ...]]]:
    """Yield the rules of a field, innermost first, each with those that work on its outcome."""
    for each in rule.inputs:
        if isinstance(each, Rule):
            yield from _chain(each, (rule, *above))
    yield rule, above


def _together(told: Mapping[int, str]) -> str:
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    steps: dict[str, list[str]] = {}
    for step, answer in told.items():
        steps.setdefault(answer, []).append(f"{step}")
    return "\n".join(
        f"in step{'s'[: len(its) - 1]} {', '.join(its)}: {answer}" for answer, its in steps.items()
    )


def _type(its: Field, nullable: str, optional: str, required: bool = False) -> str:
    kinds = [TYPES.get(kind, kind.__name__) for kind in its.kinds]
    kind = " or ".join(dict.fromkeys(kinds)) or "anything"
    kind = kind if its.options is None else f"one of {len(its.options)} options"
    limit = f"at most {its.max} {UNITS[its.unit]}" if its.max is not None else ""
    ends = [nullable * its.nullable, optional * its.optional, "sensitive" * its.sensitive]
    needed = "required" if required and not its.nullable else ""
    return ", ".join(filter(None, [f"list of {kind}" if its.many else kind, limit, needed, *ends]))


def _options(rule: Rule, above: Sequence[Rule], dotted: str) -> Table:
    pairs = [(shown(key), related(option)) for key, option in rule.settings["table"].items()]
    table = tuple((key, shown(to.option), RELATIONS[to.relation], to.why) for key, to in pairs)
    never = ", ".join(map(shown, rule.settings.get("never", ())))
    note = f"Any other option: {becomes(rule.settings['unknown'], above)}."
    note += f" Never produced: {never}." if never else ""
    heads = ("source option", "destination option", "relation", "why")
    return Table(f"Options of {dotted}", note, heads, table)


def _looked_up(rule: Rule) -> Iterator[Table]:
    """Yield the tables that a rule's step looks things up in."""
    for its in rule.settings.values():
        for title, table in its.tables.items() if isinstance(its, Step) else ():
            pairs = tuple((shown(key), shown(value)) for key, value in table.items())
            note = f"Used by {its.name}."
            yield Table(title, note, ("source option", "destination option"), pairs)


def _came(
    table: Table, other: str, told: tuple[Mapping[str, int], Mapping[str, int], int] | None
) -> Table:
    """Return a table of options with how often each came, and what came and is not in it."""
    options, others, left = told or ({}, {}, 0)
    unknown = "not counted" if told is None else "•••"
    rows = [(*row, f"{options[row[0]]:,}" if options else unknown) for row in table.rows]
    for sample, times in list(others.items())[:10]:
        rows.append((sample, other, UNMAPPED, "", f"{times:,}"))
        left -= times
    if left:
        rows.append(("others" if others else "•••", other, UNMAPPED, "", f"{left:,}"))
    return evolve(table, heads=(*table.heads, SEEN), rows=tuple(rows))


def _outcome(told: Explanation[Any]) -> str:
    if told.value is None:
        return "\n".join(["refused", *map(str, told.issues)])
    taken = ", ".join(f"{field} {decision}" for field, decision in told.decisions)
    return f"mapped; decisions: {taken}" if taken else "mapped"


_Way: TypeAlias = Sequence[tuple[str, bool]]
"""Keys that lead to a value, and whether each holds a list."""


def _example(
    record: Any, told: Explanation[Any], ways: Sequence[_Way], names: Sequence[str], hidden: bool
) -> str:
    """Return what a field was made of and became; nothing if the record was refused elsewhere."""
    issues = [issue.reason for issue in told.issues if issue.field == ".".join(names)]
    if told.value is None and not issues:
        return ""
    given = _listed([value for way in ways for value in _values(record, way)])
    outcome = _values(told.value, [(name, True) for name in names])
    made = "left as it is" if outcome[:1] == [UNSET] else _listed(outcome)
    if hidden:
        given, made = "•••" * bool(given), "•••"
    return f"{given} → {f'refused: {issues[0]}' if issues else made}".strip()


def _listed(values: Sequence[Any]) -> str:
    told = [each if len(each) <= 60 else f"{each[:59]}…" for each in map(shown, values[:4])]
    return ", ".join(told + ["…"] * (len(values) > 4))


def _values(record: Any, way: _Way) -> list[Any]:
    """Return what lies at the end of some keys, in every element of the lists on the way."""
    found = [record]
    for at, (key, many) in enumerate(way, 1):
        found = [each if each is None else _part(each, key) for each in found]
        if many and at < len(way):
            lists = [each if isinstance(each, list) else [each] for each in found]
            found = [part for each in lists for part in each]
    return found


def _part(value: Any, key: str) -> Any:
    return value.get(key, UNSET) if isinstance(value, Mapping) else getattr(value, key, UNSET)
