"""What real data holds, and what a mapping would make of it: the report to read before go-live.

Decides what is counted at each place of the source, which text looks damaged, and what may
be shown of a value: of a sensitive field, at either end, its type and length, never itself.
Leaves what becomes of a record to the mapper, and how the tables look on a page to ``document``.

Read :func:`profile`, then :class:`Profile`, which is what it returns, then :class:`_Column`,
which counts what lies at one path, 500 records at a time.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import define, frozen

from syncsdk.errors import ConfigurationError, RecordError
from syncsdk.values import UNSET, Unset, as_key, key_text

from .shapes import UNITS, raw_option, shape
from .sheet import UNMAPPED, Table
from .support import CODES, Bad, clean, length, said
from .tracing import Made, Place, Rule, questions
from .words import shown

if TYPE_CHECKING:
    from .mapper import Issue, TypedMapper

__all__ = ["Finding", "PathProfile", "Profile", "profile"]

BATCH: Final = 500
MOST: Final = 1_000
"""Different values that are told apart at a path."""
MOST_KEYS: Final = 1_000_000
"""Different keys that are remembered, in about 150 bytes each; more are only looked up."""


@frozen
class Finding:
    """Something at a path that a person should look at.

    Attributes:
        kind: ``refused``, ``over_length``, ``unmapped_option``, ``odd``, ``undescribed``,
            ``same_key``, ``alike_key``, ``no_key`` or ``keys_left``.
        what: it in words; of ``refused`` the issue's code.
        reason: of ``refused`` what the code means; of a step's own code, what it said first.
        field: of the destination, if a rule's limit, table or refusal is meant.
        times: how often.
        different: how many different options, or undescribed keys; 1,000 are told apart.
        samples: as they may be shown, each with how often it came, or how long it is: the
            100 most frequent that differ, the three longest, or the first five.
    """

    kind: str
    what: str
    field: str
    times: int
    different: int
    samples: tuple[tuple[str, int], ...] = attrs.field(repr=False)
    reason: str = ""

    @property
    def words(self) -> str:
        """It in short, with how often."""
        what = f"refused: {self.reason}" if self.kind == "refused" else self.what
        return f"{self.times:,} {what}"


@frozen
class PathProfile:
    """What lies at one path of the source.

    Attributes:
        path: as JSONPath; ``[*]`` for the elements of a list, each of which counts.
        masked: it is sensitive, or something within it is: no value is shown.
        total, present: how many objects or elements could have it, and do.
        null, empty: how often it is null; is blank text, an empty list or object.
        edges: texts, not blank, that begin or end with white space.
        types: how often each type came, null aside.
        distinct: different texts, numbers, times and flags; None if more than 1,000.
        top: the ten most frequent of the first 1,000 different ones; none if masked.
        options: for each field that looks values up here, how often each option of its
            table came, cleaned as the rule cleans it; no options if masked.
        shortest, longest: text in characters, as it came; None without text.
        least, most: of numbers, and of text that a rule takes for a number.
        findings: what to look at.
    """

    path: str
    masked: bool
    total: int
    present: int
    null: int
    empty: int
    edges: int
    types: Mapping[str, int]
    distinct: int | None
    top: tuple[tuple[str, int], ...] = attrs.field(repr=False)
    options: Mapping[str, Mapping[str, int]]
    shortest: int | None
    longest: int | None
    least: str | None = attrs.field(repr=False)
    most: str | None = attrs.field(repr=False)
    findings: tuple[Finding, ...]

    @property
    def words(self) -> str:
        """How often it is there, null or blank, in short."""
        told = [f"present {_percent(self.present, self.total)}"] if self.total else ["no data"]
        for name, times in ("null", self.null), ("blank", self.empty):
            told += [f"{name} {_percent(times, self.total)}"] if times else []
        return ", ".join(told)


@frozen(repr=False)
class Profile:
    """What real data holds and what a mapping makes of it; ``str()`` is a report for a terminal.

    Attributes:
        mapping, digest: of the mapping.
        records, mapped: how many came, and how many of them are mapped.
        refused: how many of the others had an issue, by ``(field, code)``; where and with
            which values is among the findings of the paths.
        decisions: how often each ``(field, decision)`` was taken.
        paths: what lies at each path of the source; at ``$`` the records themselves.
        key: the path of the key, if duplicates were looked for.
        fields: the paths that each field of the destination is made of.
    """

    mapping: str
    digest: str
    records: int
    mapped: int
    refused: Mapping[tuple[str, str], int]
    decisions: Mapping[tuple[str, str], int]
    paths: Mapping[str, PathProfile]
    key: str | None
    fields: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        return f"<profile of {self.mapping}: {self.mapped} of {self.records} records are mapped>"

    def __str__(self) -> str:
        lines = [f"Profile of {self.mapping}, digest {self.digest}: {self.headline}"]
        for its in self.tables():
            widths = [max(map(len, column)) for column in zip(its.heads, *its.rows, strict=True)]
            rows = ("  ".join(map(str.ljust, row, widths)) for row in (its.heads, *its.rows))
            lines += ["", its.title, *(f"  {row}".rstrip() for row in rows)]
        return "\n".join(lines) + "\n"

    @property
    def headline(self) -> str:
        """How many records are mapped."""
        share = _percent(self.mapped, self.records)
        return f"{self.mapped:,} of {self.records:,} records are mapped ({share})"

    def as_html(self) -> str:
        """Return a ``<section>`` to be joined to a page: escaped, without scripts and styles."""
        from .document import section

        return section(self)

    def as_json(self) -> str:
        """Return all of it as JSON, in ASCII."""
        told = attrs.asdict(self)
        for name in "refused", "decisions":
            told[name] = [[*which, times] for which, times in getattr(self, name).items()]
        return json.dumps(told, indent=2) + "\n"

    def seen(self, field: str) -> str:
        """Return in short what was seen of a field; "" if nothing is known of it.

        A line for each path that it is made of, and one with ▲ for each thing to look at.

        Args:
            field: of the destination, dotted where it is nested; or a path of the source.
        """
        of = (field,) if field in self.paths else self.fields.get(field, ())
        paths = [path for path in of if path in self.paths]
        several = len(paths) > 1
        lines = [f"{path}: " * several + self.paths[path].words for path in paths]
        for path, found in self._found:
            if found.field == field or (path in paths and not found.field):
                lines.append(f"▲ {f'{path}: ' * several}{found.words}")
        return "\n".join(lines)

    def came(
        self, field: str, paths: Iterable[str]
    ) -> tuple[Mapping[str, int], Mapping[str, int], int] | None:
        """Return how often options came that a field looks up, and what is in no table.

        Args:
            field: of the destination.
            paths: of the source.

        Returns:
            Each option of the tables with how often it came, samples of what is in none, and
            how often that came; None if no option was counted. Only the last if a path is
            masked.
        """
        known = [self.paths[path] for path in paths if path in self.paths]
        known = [its for its in known if field in its.options]
        options, others, times = Counter[str](), Counter[str](), 0
        for its in known:
            options.update(its.options[field])
            for found in its.findings:
                if (found.kind, found.field) == ("unmapped_option", field):
                    others.update(dict(found.samples))
                    times += found.times
        if any(its.masked for its in known):
            return {}, {}, times
        most = sorted(others.items(), key=lambda each: (-each[1], each[0]))
        return (options, {_printed(its): n for its, n in most}, times) if known else None

    def fits(self, mapper: TypedMapper[Any, Any]) -> bool:
        """Return whether it is of a mapping as it is now, and masks all that this masks."""
        columns = _columns(mapper)[0] if self.digest == mapper.digest else {}
        return self.paths.keys() == columns.keys() and all(
            its.masked or not columns[path].masked for path, its in self.paths.items()
        )

    def expect(
        self,
        *,
        maps: float = 100.0,
        unmapped_options: int = 0,
        duplicates: int | None = None,
        over_length: int | None = None,
    ) -> list[str]:
        """Return a sentence for each thing that is not as expected.

        Args:
            maps: at least so many of 100 records are mapped.
            unmapped_options: at most so many different options are in no table.
            duplicates: at most so many records have exactly the key of an earlier one.
            over_length: at most so many texts are longer than a rule takes. None for any
                number.
        """
        if not self.records:
            return ["There was no record."]
        wrong = []
        if self.mapped * 100 < maps * self.records:
            share = _percent(self.mapped, self.records)
            wrong.append(f"{share} of the records are mapped, expected at least {maps:g} %.")
        if duplicates is not None and self.key is None:
            wrong.append("Duplicates were not counted: name the key, profile(..., key=).")
        for kind, most, what in (
            ("unmapped_option", unmapped_options, "options are in no table"),
            ("same_key", duplicates, "records have the key of an earlier one"),
            ("over_length", over_length, "texts are too long"),
        ):
            found = [(path, each) for path, each in self._found if each.kind == kind]
            number = sum(each.different or each.times for _, each in found)
            if most is not None and number > most:
                where = ", ".join(dict.fromkeys(path for path, _ in found))
                wrong.append(f"{number:,} {what} ({where}), expected at most {most:,}.")
        return wrong

    @property
    def _found(self) -> list[tuple[str, Finding]]:
        """All findings with their paths: first what needs a decision, then by how often."""
        found = [(path, each) for path, its in self.paths.items() for each in its.findings]
        return sorted(found, key=lambda each: (_KINDS.index(each[1].kind), -each[1].times))

    def tables(self) -> Iterator[Table]:
        """Yield the tables of the report that have any rows."""
        refused, looks, often = [], [], []
        for path, each in self._found:
            what = UNMAPPED if each.kind == "unmapped_option" else each.what
            row = path, "the record" if each.field == "*" else each.field, what
            if each.kind == "refused":
                samples = _several([(sample, 0) for sample, _ in each.samples])
                refused.append((*row, each.reason, f"{each.times:,}", samples))
            else:
                looks.append((*row, f"{each.times:,}", _several(each.samples)))
        taken = sorted(self.decisions.items(), key=lambda each: -each[1])
        decided = [(*which, f"{times:,}", _DECIDED.get(which[1], "")) for which, times in taken]
        for path, its in self.paths.items():
            values = [each for each in its.top if each[1] > 1]
            often += [(path, _several(values))] if values else []
        for title, note, heads, rows in (
            ("Refused", _REFUSED, "source field code why times samples", refused),
            ("Decisions", _TAKEN, "field decision times meaning", decided),
            ("To look at", _LOOKS, "source field what times samples", looks),
            ("Source", _SOURCE, _FACTS, [_facts(its) for its in self.paths.values()]),
            ("Most frequent values", _OFTEN, "source values", often),
        ):
            if rows:
                yield Table(title, note, tuple(heads.split()), tuple(rows))


_KINDS: Final = (
    "refused", "unmapped_option", "over_length", "same_key", "alike_key", "no_key", "keys_left",
    "odd", "undescribed",
)  # fmt: skip
_DECIDED: Final = {
    "cut": "cut to what fits",
    "nulled": "made empty, for it did not fit",
    "left": "left as it is in the destination",
    "defaulted": "nothing was there, and the mapping's own value was taken",
    "fallback": "nothing fitted, and the mapping's second choice was taken",
    "several": "several were wanted, and one was taken",
}
_REFUSED: Final = "What keeps records from being sent; one record may have several."
_TAKEN: Final = "How often the mapping did what it says of values that do not fit."
_LOOKS: Final = "What a person should look at, and decide whether it may stay."
_SOURCE: Final = (
    "What lies at each place. Shares are of all records, or of all objects and elements that could "
    "hold it."
)
_OFTEN: Final = "Those that came more than once."
_FACTS: Final = "source of present null blank spaces different characters numbers types"


def _facts(its: PathProfile) -> tuple[str, ...]:
    """Return the row of a path; what there is none of is left blank."""
    kinds = ", ".join(f"{word} {n:,}" for word, n in its.types.items())
    ends = None if its.masked or its.least is None else (its.least, its.most)
    shares = (_percent(n, its.total) * bool(n) for n in (its.present, its.null, its.empty))
    return (
        its.path,
        f"{its.total:,}",
        *shares,
        f"{its.edges:,}" * bool(its.edges),
        f"over {MOST:,}" if its.distinct is None else f"{its.distinct:,}" * bool(its.distinct),
        "" if its.shortest is None else _span("–", its.shortest, its.longest),
        "" if ends is None else _span(" to ", *(f"{Decimal(each or 0):,}" for each in ends)),
        kinds + " (masked)" * (its.masked and its.distinct != 0) if its.total else "no data",
    )


def _span(to: str, *ends: object) -> str:
    return to.join(map(str, dict.fromkeys(ends)))


def profile(
    mapper: TypedMapper[Any, Any],
    records: Iterable[Any],
    *,
    key: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """Return what ``records`` hold and what a mapping makes of them, in one pass.

    Memory does not grow with their number, but for keys. All elements of a list count, also
    those that ``one_of`` leaves. Of a key that the source's class does not have the name is
    shown, also where names are made of data.

    Args:
        mapper: the mapping.
        records: as they come over the wire, damaged ones too.
        key: the path of the field that names a record: ``id``, or ``$.meta.id``.
        progress: is called with the number of records so far, after every 500.

    Raises:
        ConfigurationError: the source's class has no such key.
    """
    columns, fields = _columns(mapper)
    keys = None if key is None else _keys(key, columns)
    refused, decisions = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    number = failed = 0
    stream = iter(records)
    while batch := list(islice(stream, BATCH)):
        columns["$"].take(batch)
        rows = mapper.map_batch(batch)
        decisions.update(rows.decisions)
        for record, row in zip(batch, rows, strict=True):
            if row.__class__ is not tuple:
                failed += 1
                refused.update({(issue.field, issue.code) for issue in row.issues})
                _refuse(record, row.issues, columns)
        if keys is not None:
            keys.take(batch)
        number += len(batch)
        if progress is not None:
            progress(number)
    return Profile(
        mapping=mapper.name,
        digest=mapper.digest,
        records=number,
        mapped=number - failed,
        refused=dict(sorted(refused.items(), key=lambda each: (-each[1], each[0]))),
        decisions=dict(sorted(decisions.items())),
        paths={path: column.told() for path, column in columns.items()},
        key=None if keys is None else keys.column.path,
        fields={field: tuple(paths) for field, paths in fields.items()},
    )


def _columns(
    mapper: TypedMapper[Any, Any],
) -> tuple[dict[str, _Column], dict[str, dict[str, None]]]:
    """Return a column for each path, told what rules ask of it; and the paths of each field."""
    root = _grown("$", (), mapper.read.source.kind, False, ())
    columns = {column.path: column for column in root.walk()}
    fields: dict[str, dict[str, None]] = {}
    used = list(_used(mapper.read.made, "$", "", False))
    for path, *_, secret in used:
        # What a step makes of a whole record says nothing of each field.
        if secret and path in columns and path != "$":
            for column in columns[path].walk():
                column.masked = column.sensitive = True
    root.veil()
    for path, field, rule, tidies, _ in used:
        fields.setdefault(field, {})[path] = None
        if path in columns:
            columns[path].used(field, rule, tidies)
    return columns, fields


def _refuse(record: Any, issues: Iterable[Issue], columns: Mapping[str, _Column]) -> None:
    for issue in issues:
        column = columns.get(re.sub(r"\[\d+\]", "[*]", issue.path), columns["$"])
        value = _reached(record, column.keys, re.findall(r"\[(\d+)\]", issue.path))
        its = column.tally("refused", issue.code, issue.field)
        its.reason = its.reason or CODES.get(issue.code) or issue.reason.partition(", got ")[0]
        its.note(value)


def _reached(record: Any, keys: Sequence[str | None], numbers: Sequence[str] = ()) -> Any:
    """Return what lies at the end of some keys; None stands for the next of ``numbers``."""
    value, left = record, iter(numbers)
    try:
        for step in keys:
            value = value[int(next(left))] if step is None else value.get(step, UNSET)
    except (LookupError, TypeError, AttributeError, StopIteration):
        return UNSET
    return value


# -- Keys ------------------------------------------------------------------------------


@define
class _Keys:
    """Which keys came: by the digest of their canonical form that of the first."""

    column: _Column
    first: dict[bytes, bytes] = attrs.field(factory=dict)
    others: set[bytes] = attrs.field(factory=set)

    def take(self, records: Sequence[Any]) -> None:
        found = self.column.tally
        for record in records:
            value = _reached(record, self.column.keys)
            try:
                text = key_text(as_key(value))
            except RecordError:
                found("no_key", "without a key that can be used").note(value)
                continue
            plain = " ".join(unicodedata.normalize("NFC", text.casefold()).split())
            exact = _digest(text)
            alike = exact if plain == text else _digest(plain)
            before = self.first.get(alike)
            room = len(self.first) + len(self.others) < MOST_KEYS
            if before is None and room:
                self.first[alike] = exact
            elif before is None:
                found("keys_left", f"after the first {MOST_KEYS:,} keys").note(value)
            elif exact == before or exact in self.others:
                found("same_key", "with the key of an earlier record").note(value)
            else:
                self.others |= {exact} if room else set()
                what = "with a key that looks like an earlier one"
                found("alike_key", what).note(value)


def _keys(key: str, columns: Mapping[str, _Column]) -> _Keys:
    column = columns.get(key if key.startswith("$") else f"$.{key}")
    if column is None or not column.keys or None in column.keys:
        raise ConfigurationError(
            f"the source has no field {key!r} that can be a key",
            remedy="Name one of its class; if no rule needs it, describe it and drop() it",
        )
    return _Keys(column)


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


# -- One path --------------------------------------------------------------------------


@define(eq=False)
class _Tally:
    """A finding in the making. ``tidies`` clean a text before it is measured or looked up."""

    kind: str
    what: str
    field: str
    masked: bool
    tidies: tuple[Rule, ...] = ()
    limit: int = 0
    unit: str = "chars"
    options: dict[tuple[type, str], str] = attrs.field(factory=dict)
    came: Counter[str] = attrs.field(factory=Counter)
    times: int = 0
    reason: str = ""
    samples: dict[str, int] = attrs.field(factory=dict)
    known: set[Any] = attrs.field(factory=set)

    def note(self, value: Any, n: int = 1, most: int = 5) -> None:
        """Count a value, and keep it if it is among the first ``most`` that look different."""
        self.times += n
        if value is not None and value is not UNSET:
            shown = _shown(value, self.masked)
            if shown in self.samples or len(self.samples) < most:
                self.samples[shown] = self.samples.get(shown, 0) + n
        if most == MOST and len(self.known) < MOST:
            self.known.add(_held(value))

    def check(self, kind: type, value: str, n: int) -> None:
        """Count an option, a value that is none, or a text over the limit."""
        if self.kind == "unmapped_option":
            option = _tidied(value, self.tidies) if kind is str else value
            if self.tidies and kind is not str:
                return
            if (kind, option) in self.options:
                self.came[self.options[kind, option]] += n
            elif option.strip():
                self.note(value, n, MOST)
        # Cleaning makes three of a character at most, of four bytes each.
        elif kind is str and len(value) * (1 if value.isascii() else 12) > self.limit:
            size = length(_tidied(value, self.tidies), self.unit)
            if size > self.limit:
                self.times += n
                self.samples[_shown(value, self.masked)] = size
                self.samples = dict(self.told().samples[:3])

    def told(self) -> Finding:
        samples = tuple(sorted(self.samples.items(), key=lambda each: (-each[1], each[0])))
        different = len(self.known)
        shown = samples[:100]
        return Finding(self.kind, self.what, self.field, self.times, different, shown, self.reason)


def _tidied(text: str, rules: Sequence[Rule]) -> str:
    """Return text as some rules clean it; "" if they refuse it, or take it for blank."""
    try:
        for rule in rules:
            text = clean(text)
            if rule.settings.get("keep"):
                text = re.sub(f"[^{rule.settings['keep']}]", "", text)
            if rule.settings.get("case"):
                text = clean(getattr(text, rule.settings["case"])())
            text = text.strip()
            text = "" if text in rule.settings.get("also", ()) else text
    except Bad:
        return ""
    return text


@define(eq=False)
class _Column:
    """Counts what lies at one path; holds values, and tells only what may be shown of them."""

    path: str
    keys: tuple[str | None, ...]
    sensitive: bool
    masked: bool
    dated: bool = False
    numeric: bool = False
    children: dict[str, _Column] | None = None
    element: _Column | None = None
    tallies: dict[tuple[str, str, str], _Tally] = attrs.field(factory=dict)
    checks: list[_Tally] = attrs.field(factory=list)
    total: int = 0
    empty: int = 0
    edges: int = 0
    types: Counter[str] = attrs.field(factory=Counter)
    values: dict[tuple[type, Any], int] = attrs.field(factory=dict)
    more: bool = False
    sizes: tuple[int, ...] = ()
    range: tuple[Decimal, ...] = ()

    def walk(self) -> Iterator[_Column]:
        """Yield it and all below it, in the order of the source's class."""
        yield self
        for child in (self.element, *(self.children or {}).values()):
            if child is not None:
                yield from child.walk()

    def veil(self) -> None:
        """Mask what holds something that is masked."""
        for child in (self.element, *(self.children or {}).values()):
            if child is not None:
                child.veil()
                self.masked = self.masked or child.masked

    def tally(self, kind: str, what: str, field: str = "") -> _Tally:
        """Return what counts a finding; the names of keys are hidden in sensitive objects only."""
        masked = self.sensitive if kind == "undescribed" else self.masked
        return self.tallies.setdefault((kind, what, field), _Tally(kind, what, field, masked))

    def used(self, field: str, rule: Rule, tidies: tuple[Rule, ...]) -> None:
        """Look out for what a rule asks of the values."""
        self.numeric = self.numeric or rule.kind in ("decimal", "integer")
        self.dated = self.dated or rule.kind in ("instant", "day")
        if rule.kind == "text" and "max" in rule.settings:
            limit, unit = rule.settings["max"], rule.settings.get("unit", "chars")
            its = self.tally("over_length", f"over {limit} {UNITS[unit]}", field)
            its.tidies, its.limit, its.unit = (*tidies, rule), limit, unit
        elif rule.kind == "code":
            its = self.tally("unmapped_option", "in no table", field)
            its.tidies = tidies
            for key in rule.settings["table"]:
                its.options[type(raw_option(key)), _plain(raw_option(key))] = shown(key)
        else:
            return
        self.checks += [] if its in self.checks else [its]

    def take(self, values: Sequence[Any]) -> None:
        """Count some values; UNSET stands for one that is not there."""
        self.total += len(values)
        for kind, n in Counter(map(type, values)).items():
            word = _word(kind)
            self.types[word] += n
            alone = n == len(values)
            these: Any = values if alone else [each for each in values if type(each) is kind]
            if word == "text":
                self.count(str, Counter(map(str.__str__, these)))
            elif word == "list":
                self.empty += sum(not each for each in these)
                if self.element is not None:
                    self.element.take(list(chain.from_iterable(these)))
            elif word == "object":
                self.empty += sum(not each for each in these)
                if self.children is not None:
                    self.objects(these, self.children)
            elif kind in _SCALARS:
                self.count(kind, Counter(map(_plain, these)))

    def objects(self, these: Sequence[Any], children: Mapping[str, _Column]) -> None:
        for key, n in Counter(chain.from_iterable(these)).items():
            if key not in children:
                self.tally("undescribed", "under keys that nobody described").note(key, n, MOST)
        for key, child in children.items():
            child.take([each.get(key, UNSET) for each in these])

    def count(self, kind: type, different: Mapping[str, int]) -> None:
        """Count values of a type, as text: each different one with how often it came."""
        for value, n in different.items():
            which, bare = (kind, _held(value)), value.strip()
            if which in self.values or len(self.values) < MOST:
                self.values[which] = self.values.get(which, 0) + n
            else:
                self.more = True
            if kind is str:
                self.empty += n * (not bare)
                self.edges += n * (bare != value and bare != "")
                if not (value.isascii() and value.isprintable()):
                    for what, at in _oddities(value):
                        part = value if self.masked else value[max(0, at - 20) : at + 40]
                        self.tally("odd", what).note(part, n)
            if (self.dated or kind in (date, datetime)) and (found := _YEAR(bare)):
                if not 1900 <= int(found[1]) <= 2100:
                    self.tally("odd", "with a date before 1900 or after 2100").note(value, n)
            for check in self.checks:
                check.check(kind, value, n)
        if kind is str:
            sizes = [*self.sizes, *map(len, different)]
            self.sizes = min(sizes), max(sizes)
        if self.numeric or kind in (int, float, Decimal):
            numbers = [Decimal(bare) for bare in map(str.strip, different) if _NUMBER(bare)]
            if numbers := [*self.range, *numbers]:
                self.range = min(numbers), max(numbers)

    def told(self) -> PathProfile:
        types = sorted(self.types.items(), key=lambda each: (-each[1], each[0]))
        top = sorted((-n, _shown(value, False)) for (_, value), n in self.values.items())
        shortest, longest = self.sizes or (None, None)
        ends = [MASK if self.masked else _number(each) for each in self.range]
        return PathProfile(
            path=self.path,
            masked=self.masked,
            total=self.total,
            present=self.total - self.types["absent"],
            null=self.types["null"],
            empty=self.empty,
            edges=self.edges,
            types={word: n for word, n in types if word not in ("absent", "null")},
            distinct=None if self.more else len(self.values),
            top=() if self.masked else tuple((value, -n) for n, value in top[:10]),
            options={
                its.field: {}
                if self.masked
                else {name: its.came[name] for name in its.options.values()}
                for its in self.checks
                if its.options
            },
            shortest=shortest,
            longest=longest,
            least=ends[0] if ends else None,
            most=ends[1] if ends else None,
            findings=tuple(its.told() for _, its in sorted(self.tallies.items()) if its.times),
        )


_SCALARS: Final = (int, bool, float, Decimal, datetime, date)
_WORDS: Final[Sequence[tuple[str, Any]]] = (
    ("absent", Unset), ("null", type(None)), ("text", str), ("true or false", bool),
    ("integer", int), ("number", (float, Decimal)), ("object", Mapping), ("list", (list, tuple)),
    ("time", datetime), ("day", date),
)  # fmt: skip


def _word(kind: type) -> str:
    words = (word for word, kinds in _WORDS if issubclass(kind, kinds))
    return next(words, f"of type {kind.__name__}")


def _grown(
    path: str,
    keys: tuple[str | None, ...],
    kind: type | None,
    secret: bool,
    above: tuple[type, ...],
) -> _Column:
    """Return a column with one for each field of ``kind``; a class within itself ends it."""
    column = _Column(path, keys, secret, masked=secret or kind in above)
    if kind is None or kind in above:
        return column
    column.children, known = {}, shape(kind).fields.values()
    for its in known:
        at, way, within = f"{path}.{its.key}", (*keys, its.key), (*above, kind)
        hidden = secret or any(each.sensitive for each in known if each.key == its.key)
        child = _grown(at, way, None if its.many else its.nested, hidden, within)
        if its.many:
            child.element = _grown(f"{at}[*]", (*way, None), its.nested, hidden, within)
        (child.element or child).dated = not {date, datetime}.isdisjoint(its.kinds)
        column.children[its.key] = child
    return column


def _used(
    made: Made, at: str, above: str, secret: bool
) -> Iterator[tuple[str, str, Rule, tuple[Rule, ...], bool]]:
    """Yield each path that a rule works on, the field, the rule, what cleans text for it.

    Last whether the field is sensitive.
    """
    for name, rule in made.values.items():
        hidden = secret or shape(made.kind).fields[name].sensitive
        if isinstance(rule, Made):
            yield from _used(rule, at, f"{above}{name}.", hidden)
        for each in questions(rule):
            for place, tidies in _ways(each):
                path = at + place.path[1:]
                yield path, above + name, each, tidies, hidden
                if each.kind in ("one_of", "each", "nested"):
                    inner = path + "[*]" * (each.kind != "nested")
                    within = each.settings["mapping"].read.made
                    yield from _used(within, inner, f"{above}{name}.", hidden)


def _ways(rule: Rule) -> Iterator[tuple[Place, tuple[Rule, ...]]]:
    """Yield each place whose value reaches a rule as it is, or cleaned by text rules."""
    for source in rule.inputs:
        if isinstance(source, Place):
            yield source, ()
        elif isinstance(source, Rule) and source.kind in ("text", "coalesce"):
            for place, tidies in _ways(source):
                yield place, (*tidies, source) if source.kind == "text" else tidies


# -- Odd text, and what may be shown ---------------------------------------------------

MASK: Final = "***"
_LONG: Final = 200
_SHOWN: Final = 60
_NUMBER: Final = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,4})?", re.ASCII).fullmatch
_YEAR: Final = re.compile(r"(\d{4})-\d\d-\d\d", re.ASCII).match
_ODD: Final = {
    "with a replacement character": re.compile("\ufffd"),
    "with a control character": re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]"),
    "with half a surrogate pair": re.compile("[\ud800-\udfff]"),
    # Joiners belong to scripts and to emoji; beside ASCII they do not.
    "with an invisible character": re.compile(
        "[\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]"
        "|(?<=[!-~])[\u200c\u200d]|[\u200c\u200d](?=[!-~])"
    ),
}
_BYTES: Final = {
    ord(bytes([byte]).decode("cp1252", "ignore") or chr(byte)): chr(byte)
    for byte in range(0x80, 0xC0)
}
_NEXT: Final = "".join(map(re.escape, map(chr, _BYTES))) + "\x80-\x9f"
# UTF-8 that was read as cp1252. Some first bytes are left out, and two quotes or a space after
# others: É before », ß before “ and é before a space and » are how French and German are written.
_MOJIBAKE: Final = re.compile(
    f"[ÂÃÄÅÎÏÐÑ×ØÙÚÛ][{_NEXT}]|Ì[€\x81‚ƒˆŠŒ§]|ð[{_NEXT}]{{3}}"
    f"|[à-ï](?!\xa0|[«»‹›‘’“”‚„…–—]{{2}})[{_NEXT}]{{2}}"
)


def _oddities(text: str) -> Iterator[tuple[str, int]]:
    """Yield what is odd about a text, and where."""
    for what, pattern in _ODD.items():
        if (found := pattern.search(text)) is not None:
            yield what, found.start()
    if not text.isascii():
        if not unicodedata.is_normalized("NFC", text):
            yield "not in Unicode's form NFC", 0
        at = next((each.start() for each in _MOJIBAKE.finditer(text) if _meant(each[0])), None)
        if at is not None:
            yield "with mojibake", at


def _meant(text: str) -> bool:
    """Return whether what was read as cp1252 is a character in UTF-8."""
    try:
        meant = text.translate(_BYTES).encode("latin-1").decode()
    except UnicodeError:
        return False
    return unicodedata.category(meant) != "Cc"


class _Bare(str):
    """The text of a number, a time or a flag."""


def _plain(value: Any) -> str:
    try:
        return _Bare(str(value).lower() if value is True or value is False else value)
    except ValueError:  # Python refuses to print integers of over 4,300 digits
        return _Bare("an integer of thousands of digits")


def _held(value: Any) -> Any:
    """Return what stands for a value, so that no long texts fill the memory."""
    if not isinstance(value, str) or len(value) <= _LONG:
        return value
    return value[:_LONG] + _digest(value).hex()


def _shown(value: Any, masked: bool) -> str:
    """Return a value for people: short, and without anything that a terminal obeys."""
    if type(value) in _SCALARS:
        value = _plain(value)
    if not isinstance(value, str):
        return f"{MASK} ({said(value)})" if masked else said(value)
    if masked:
        return f"{MASK} ({len(value) if len(value) <= _LONG else f'over {_LONG}'} characters)"
    text = _escaped(value[:_SHOWN]) + "…" * (len(value) > _SHOWN)
    return text if type(value) is _Bare else f"'{text}'"


def _escaped(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    bare = unicodedata.is_normalized("NFC", text)
    return "".join(
        each
        if each.isprintable() and (bare or not unicodedata.combining(each))
        else each.encode("unicode_escape").decode()
        for each in text
    )


def _number(number: Decimal) -> str:
    """Return a number as it is mostly written; equal ones alike."""
    if abs(number.adjusted()) > 20:
        return f"{number:.6e}"
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _percent(number: int, of: int) -> str:
    """Return a share; "100 %" is all of them, "0 %" none."""
    if number in (0, of):
        return "100 %" if number else "0 %"
    return f"{min(max(number * 100 / of, 0.1), 99.9):.1f} %"


def _several(values: Sequence[tuple[str, int]]) -> str:
    """Return samples, with how often they came if that is known; text in quotes as in print."""
    told = [f"{_printed(its)} ({n:,})" if n else _printed(its) for its, n in values[:10]]
    more = f", and {len(values) - 10:,} more" if len(values) > 10 else ""
    return ", ".join(told) + more


def _printed(sample: str) -> str:
    """Return a sample with its quotes as in print."""
    return f"“{sample[1:-1]}”" if sample[:1] == "'" else sample.replace(MASK, "•••")
