"""One generated function for each mapping: what a good engineer would write, with a guard a field.

Decides what each rule does with a value. Takes what was read and checked; leaves odd
values to ``support``. Nothing of a record and nothing but names goes into the generated
source: keys by ``repr``, all else by a name in the function's globals.

Read :func:`compiled`, then :meth:`_Emitter.record`, :meth:`_Emitter.value` and the rules.
"""

from __future__ import annotations

import enum
import linecache
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from attrs import define, field, frozen

from syncsdk.errors import MappingError
from syncsdk.values import UNSET

from . import support
from .rules import Decision, Pick, Step, condition, related
from .shapes import UNITS, Shape, raw_option, shape
from .tracing import (
    OPERATORS,
    Condition,
    Made,
    Place,
    Rule,
    Trace,
    element_of,
    place,
    places_of,
    questions,
)

__all__ = ["Compiled", "Guard", "compiled"]


@frozen
class Guard:
    """What a numbered guard of the generated source stands around.

    Attributes:
        field: of the destination; dotted where it is nested; ``*`` for the whole record.
        places: what its rule works on.
        sensitive: no value of it may be shown.
        path: of the places.
    """

    field: str
    places: tuple[Place, ...]
    sensitive: bool
    path: str


@frozen
class Compiled:
    """A mapping as a function.

    Attributes:
        call: ``call(record, hits)`` returns a row, or a :class:`~.support.Failed`.
        source: the generated text.
        guards: by the numbers in a ``Failed``.
        counters: the field and the decision that each place of ``hits`` counts.
    """

    call: Callable[[Any, list[int]], Any]
    source: str
    guards: Sequence[Guard]
    counters: Sequence[tuple[str, str]]


def compiled(name: str, read: Trace, *, wire: bool) -> Compiled:
    """Compile a mapping.

    Args:
        name: for tracebacks.
        read: what was read of it.
        wire: yield a tuple with plain values in it (objects as dicts, options as their
            values), for a sink; else an instance of the destination's class.
    """
    emitter = _Emitter(wire)
    top = emitter.function(read, "", top=True)
    source = "\n\n\n".join(emitter.functions) + "\n"
    filename = f"<syncsdk mapping {name}{' for sinks' if wire else ''}>"
    scope = dict(emitter.names)
    exec(compile(source, filename, "exec"), scope)  # noqa: S102  # nothing of a record is in it
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return Compiled(scope[top], source, emitter.guards, emitter.counters)


@define
class _Emitter:
    """Writes the source of a mapping and of those nested in it."""

    wire: bool
    functions: list[str] = field(factory=list)
    guards: list[Guard] = field(factory=list)
    counters: list[tuple[str, str]] = field(factory=list)
    names: dict[str, Any] = field(factory=dict)
    _lines: list[str] = field(factory=list)
    _depth: int = 0
    _fresh: int = 0
    _field: str = ""
    _inner: dict[tuple[int, str], str] = field(factory=dict)
    _kept: list[Trace] = field(factory=list)
    _shared: dict[int, str] = field(factory=dict)
    _source: Any = None

    def __attrs_post_init__(self) -> None:
        self.names |= {name: getattr(support, name) for name in _SUPPORT}
        self.names |= {"UNSET": UNSET, "Mapping": Mapping, "Decimal": Decimal, "UTC": UTC}
        self.names["fromisoformat"] = datetime.fromisoformat

    # -- Text -------------------------------------------------------------------------

    def put(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.put(head)
        self._depth += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.put("pass")
        self._depth -= 1

    def name(self, stem: str) -> str:
        self._fresh += 1
        return f"{stem}{self._fresh}"

    def constant(self, value: Any, stem: str = "c") -> str:
        """Return an expression for a value that is always the same."""
        if value is None or value is True or value is False:
            return repr(value)
        if value is UNSET:
            return "UNSET"
        if type(value) in (int, str):
            return repr(value)
        name = self.name(stem.upper())
        self.names[name] = value
        return name

    def output(self, value: Any) -> str:
        """Return an expression for a constant of the destination."""
        if self.wire and isinstance(value, enum.Enum) and value is not UNSET:
            value = value.value
        return self.constant(value)

    def hit(self, what: str) -> None:
        """Count a decision that is taken."""
        self.put(f"hits[{len(self.counters)}] += 1")
        self.counters.append((self._field, what))

    # -- Records ----------------------------------------------------------------------

    def function(self, read: Trace, prefix: str, *, top: bool = False) -> str:
        """Write the function of a mapping and return its name."""
        known = self._inner.get((id(read), prefix))
        if known is not None:
            return known
        name = self.name("record")
        self._inner[id(read), prefix] = name
        self._kept.append(read)  # whose id stands for it
        lines, depth, field_name, shared = self._lines, self._depth, self._field, self._shared
        self._lines, self._depth = [], 0
        with self.block(f"def {name}(r, hits):"):
            self.record(read, prefix, top)
        self.functions.append("\n".join(self._lines))
        self._lines, self._depth, self._field, self._shared = lines, depth, field_name, shared
        return name

    def record(self, read: Trace, prefix: str, top: bool) -> None:
        """Write a guard for each field, then the row."""
        whole = self.guard(f"{prefix}*", ())
        with self.block("if r.__class__ is not dict:"):
            with self.block("if not isinstance(r, Mapping):"):
                self.put(f"return Failed([({whole}, wrong('an object', r))])")
            self.put("r = dict(r)")  # which invents no value for a key that is not there
        self.put("bad = None")
        for places, _, _ in read.needs:
            self.need(places, prefix)
        parts = Counter(id(each) for rule in read.made.values.values() for each in questions(rule))
        self._shared = {part: self.name("shared") for part, times in parts.items() if times > 1}
        for variable in self._shared.values():
            self.put(f"{variable} = UNMADE")
        target = shape(read.made.kind)
        variables: list[tuple[str, str]] = []
        for name in target.fields:
            if name not in read.made.values:
                variables.append((name, "UNSET"))
                continue
            self._field = f"{prefix}{name}"
            rule = read.made.values[name]
            variable = self.name("f")
            # A record within the record is made of this one: its paths start here again.
            places = () if isinstance(rule, Made) else tuple(places_of(rule))
            secret = target.fields[name].sensitive
            with self.guarded(self.guard(self._field, places, secret=secret)):
                self.value(rule, variable)
            variables.append((name, variable))
        with self.block("if bad is not None:"):
            self.put("return Failed(bad)")
        if self.wire and top:
            row = ", ".join(variable for _, variable in variables)
            self.put(f"return ({row}{',' if len(variables) == 1 else ''})")
        else:
            self._make(target, variables, whole)

    def _make(self, target: Shape, variables: list[tuple[str, str]], guard: int) -> None:
        sure = [
            (name, v) for name, v in variables if v != "UNSET" and not target.fields[name].optional
        ]
        maybe = [
            (name, v) for name, v in variables if v != "UNSET" and target.fields[name].optional
        ]
        if self.wire or target.is_dict:
            keyed = [
                (target.fields[name].key if self.wire else name, variable)
                for name, variable in sure
            ]
            self.put("made = {" + ", ".join(f"{key!r}: {v}" for key, v in keyed) + "}")
            for name, variable in maybe:
                key = target.fields[name].key if self.wire else name
                with self.block(f"if {variable} is not UNSET:"):
                    self.put(f"made[{key!r}] = {variable}")
            self.put("return made")
            return
        kind = self.constant(target.kind, "kind")
        given = ", ".join(f"{name}={v}" for name, v in variables if v != "UNSET")
        with self.block("try:"):
            self.put(f"return {kind}({given})")
        with self.block("except Exception as error:"):
            self.put(f"return Failed([({guard}, refused(error))])")

    def guard(self, name: str, places: tuple[Place, ...], *, secret: bool = False) -> int:
        secret = secret or any(at.sensitive for at in places)
        paths = dict.fromkeys(at.path for at in places)
        self.guards.append(Guard(name, places, secret, " or ".join(paths) or "$"))
        return len(self.guards) - 1

    @contextmanager
    def guarded(self, number: int) -> Iterator[None]:
        with self.block("try:"):
            yield
        with self.block("except Exception as error:"):
            self.put(f"bad = note(bad, {number}, error)")

    def need(self, places: Sequence[Place], prefix: str) -> None:
        self._field = f"{prefix}*"
        with self.guarded(self.guard(self._field, tuple(places))):
            asked = " and ".join(f"is_blank({self.reach(each)})" for each in places)
            with self.block(f"if {asked}:"):
                shown = " or ".join(each.path for each in places)
                self.put(f"raise Bad('need_one', {f'expected {shown}, and none holds anything'!r})")

    # -- Values -----------------------------------------------------------------------

    def value(self, rule: Any, into: str) -> None:
        """Write what a rule does, its result in the variable ``into``.

        A rule that stands in several places, for it was given a name, runs once, and if it
        refuses the record, says so once.
        """
        if isinstance(rule, Made):
            inner = self.function(Trace(_NOWHERE, rule), f"{self._field}.")
            self.put(f"{into} = {inner}(r, hits)")
            self._unwrap(into)
            return
        shared = self._shared.get(id(rule))
        if shared is None:
            getattr(self, f"rule_{rule.kind}")(rule, into)
            return
        with self.block(f"if {shared} is SPOILT:"):
            self.put("raise Told()")
        with self.block(f"if {shared} is UNMADE:"):
            self.put(f"{shared} = SPOILT")
            getattr(self, f"rule_{rule.kind}")(rule, into)
            self.put(f"{shared} = {into}")
        with self.block("else:"):
            self.put(f"{into} = {shared}")

    def reach(self, at: Place) -> str:
        """Return an expression for what lies at a place, UNSET or None if nothing does."""
        keys = tuple(step.key for step in at.steps)
        if not keys:
            return "r"
        if len(keys) == 1:
            return f"r.get({keys[0]!r}, UNSET)"
        return f"reach(r, {keys!r})"

    def fetch(self, source: Any, into: str, strict: bool) -> None:
        """Put a rule's input into a variable; where strict, absent raises KeyError."""
        if isinstance(source, Rule | Made):
            self.value(source, into)
        elif strict and len(source.steps) == 1:
            self.put(f"{into} = r[{source.steps[0].key!r}]")
        else:
            self.put(f"{into} = {self.reach(source)}")

    @contextmanager
    def present(self, rule: Rule, into: str, expected: str) -> Iterator[str]:
        """Write what happens if the input is absent or null; yield the variable if it is there."""
        (source,) = rule.inputs
        absent, null, _ = _missing(rule)
        value = self.name("v")
        strict = absent is REJECTED and null is REJECTED
        self.fetch(source, value, strict)
        if strict:
            yield value
            return
        with self.block(f"if {value} is UNSET:"):
            self.answer(absent, into, "absent", expected, value)
        with self.block(f"elif {value} is None:"):
            self.answer(null, into, "null", expected, value)
        with self.block("else:"):
            yield value

    def answer(self, decided: Any, into: str, code: str, expected: str, value: str) -> None:
        """Write what a decision does."""
        if decided is REJECTED:
            if code in ("absent", "null"):
                self.put(f"raise wrong({expected!r}, {value})")
            else:
                self.put(f"raise Bad({code!r}, {f'expected {expected}, got '!r} + said({value}))")
        elif isinstance(decided, Decision) and decided.word == "NULL":
            self.put(f"{into} = None")
            if code not in ("absent", "null", "empty"):
                self.hit("nulled")
        elif isinstance(decided, Decision) and decided.word == "LEAVE":
            self.put(f"{into} = UNSET")
            if code not in ("absent", "null", "empty"):
                self.hit("left")
        else:
            self.put(f"{into} = {self.output(decided)}")
            self.hit("defaulted" if code in ("absent", "null", "empty") else "fallback")

    # -- Text -------------------------------------------------------------------------

    def rule_text(self, rule: Rule, into: str) -> None:
        with self.present(rule, into, "text") as v:
            with self.block(f"if {v}.__class__ is not str:"):
                self.put(f"{v} = as_text({v})")
            self.tidy(rule, v)
            self.fitted(rule, v, into)

    def tidy(self, rule: Rule, v: str, path: str = "") -> None:
        """Write how text is cleaned; ``path`` is its own among several."""
        # For long text taking the printable bytes away is twice as fast as isprintable().
        odd = f"not ({v}.isascii() and {v}.isprintable())"
        if rule.settings.get("max", 0) > 100:
            odd = f"not {v}.isascii() or {v}.encode().translate(None, PRINTABLE)"
        with self.block(f"if {odd}:"):
            self.put(f"{v} = clean({v}, {path!r})" if path else f"{v} = clean({v})")
        if rule.settings.get("keep"):
            import re

            removed = self.constant(re.compile(f"[^{rule.settings['keep']}]").sub, "keep")
            self.put(f"{v} = {removed}('', {v})")
            with self.block(f"if not {v}.isascii():"):  # what is left may join anew
                self.put(f"{v} = clean({v})")
        case = {"lower": ".lower()", "upper": ".upper()", None: ""}[rule.settings.get("case")]
        if case:
            self.put(f"{v} = {v}{case}")
            with self.block(f"if not {v}.isascii():"):
                self.put(f"{v} = clean({v})")
        self.put(f"{v} = {v}.strip()")

    def fitted(self, rule: Rule, v: str, into: str) -> None:
        """Write what becomes of blank text, of another form, and of too long text."""
        settings = rule.settings
        _, _, empty = _missing(rule)
        also = settings.get("also")
        blank = f"not {v}"
        if also:
            blank = f"{blank} or {v} in {self.constant(frozenset(also), 'also')}"
        with self.block(f"if {blank}:"):
            self.answer(empty, into, "empty", "text", v)
        form = settings.get("form")
        if form is not None:
            import re

            matches = self.constant(re.compile(form.pattern).fullmatch, "form")
            with self.block(f"elif {matches}({v}) is None:"):
                self.answer(_decision(settings.get("bad")), into, "bad_format", form.words, v)
        if "max" in settings:
            limit, unit = settings["max"], settings.get("unit", "chars")
            size = f"len({v})" if unit == "chars" else f"length({v}, {unit!r})"
            with self.block(f"elif {size} > {limit}:"):
                self.over(settings["over"], limit, unit, v, into)
        with self.block("else:"):
            self.put(f"{into} = {v}")

    def over(self, decided: Any, limit: int, unit: str, v: str, into: str) -> None:
        if isinstance(decided, Decision) and decided.word == "TRUNCATE":
            quick = f"{v}[:{limit}].rstrip() if {v}.isascii() else "
            self.put(f"{into} = {quick}cut({v}, {limit}, {unit!r})")
            with self.block(f"if not {into}:"):
                self.put(
                    f"raise Bad('too_long', {f'nothing is left of it within {limit} {unit}'!r})"
                )
            self.hit("cut")
        else:
            words = f"at most {limit} {UNITS[unit]}"
            self.answer(_decision(decided), into, "too_long", words, v)

    def rule_join(self, rule: Rule, into: str) -> None:
        parts, v = self.name("parts"), self.name("v")
        self.put(f"{parts} = []")
        for source in rule.inputs:
            self.fetch(source, v, strict=False)
            with self.block(f"if {v} is not None and {v} is not UNSET:"):
                path = source.path if isinstance(source, Place) else ""
                with self.block(f"if {v}.__class__ is not str:"):
                    self.put(f"{v} = as_text({v}, {path!r})")
                self.tidy(_PLAIN, v, path)
                with self.block(f"if {v}:"):
                    self.put(f"{parts}.append({v})")
        self.put(f"{v} = {rule.settings['separator']!r}.join({parts})")
        with self.block(f"if not {v}.isascii():"):
            self.put(f"{v} = clean({v})")
        self.fitted(rule, v, into)

    def rule_split(self, rule: Rule, into: str) -> None:
        part = rule.settings["part"]
        with self.present(rule, into, "text") as v:
            with self.block(f"if {v}.__class__ is not str:"):
                self.put(f"{v} = as_text({v})")
            self.tidy(_PLAIN, v)
            self.put(f"{v} = {v}.split({rule.settings['separator']!r})")
            enough = f"len({v}) > {part}" if part >= 0 else f"len({v}) >= {-part}"
            self.put(f"{v} = {v}[{part}].strip() if {enough} else ''")
            with self.block(f"if not {v}.isascii():"):
                self.put(f"{v} = visible({v})")
            self.fitted(rule, v, into)

    def rule_label(self, rule: Rule, into: str) -> None:
        pieces = rule.settings["pattern"].split("{}")
        terms = [repr(pieces[0])] if pieces[0] else []
        for source, piece in zip(rule.inputs, pieces[1:], strict=True):
            v = self.name("v")
            self.fetch(source, v, strict=True)
            plain = f"{v}.__class__ is str and {v}.isascii() and {v}.isprintable() and {v}.strip()"
            with self.block(f"if not ({plain}):"):
                path = source.path if isinstance(source, Place) else ""
                self.put(f"{v} = as_label({v}, {path!r})")
            terms += [v, repr(piece)] if piece else [v]
        self.put(f"{into} = {' + '.join(terms)}")

    # -- Numbers, times, flags ---------------------------------------------------------

    def blank(self, rule: Rule, v: str, into: str, expected: str) -> str:
        """Strip text; where blank text is decided, write that and return ``elif``, else ``if``."""
        self.put(f"{v} = {v}.strip() if {v}.isascii() else visible({v})")
        with self.block(f"if not {v}:"):
            self.answer(_missing(rule)[2], into, "empty", expected, v)
        return "elif"

    def rule_decimal(self, rule: Rule, into: str) -> None:
        settings = rule.settings
        expected = "a decimal number"
        bad = _decision(settings.get("bad"))
        floats = "floats" in settings and settings["floats"].word == "SHORTEST"
        step = self.constant(Decimal(1).scaleb(-settings["places"]), "step")
        n = self.name("n")
        with self.present(rule, into, expected) as v:
            self.put(f"{n} = None")
            with self.block(f"if {v}.__class__ is str:"):
                how = self.blank(rule, v, into, expected)
                with self.block(f"{how} NUMBER({v}) is None:"):
                    self.refuse_number(bad, v, into)
                with self.block("else:"):
                    self.put(f"{n} = Decimal({v})")
            with self.block("else:"):
                if bad is REJECTED:
                    self.put(f"{n} = as_decimal({v}, {floats})")
                else:
                    with self.block("try:"):
                        self.put(f"{n} = as_decimal({v}, {floats})")
                    with self.block("except Bad as odd:"):
                        with self.block("if odd.code != 'bad_number':"):
                            self.put("raise")
                        self.refuse_number(bad, v, into)
            with self.block(f"if {n} is not None:"):
                self.put(f"{n} = {n}.quantize({step}, {settings['rounding']!r}, CONTEXT)")
                self.within(settings.get("within"), n, into, bad)
                with self.block(f"elif {n}:" if "within" in settings else f"if {n}:"):
                    self.put(f"{into} = {n}")
                with self.block("else:"):
                    self.put(f"{into} = abs({n})")

    def refuse_number(self, bad: Any, v: str, into: str) -> None:
        if bad is REJECTED:
            self.put(f"raise bad_number({v})")
        else:
            self.answer(bad, into, "bad_number", "a number", v)

    def within(self, bounds: Any, v: str, into: str, bad: Any) -> None:
        if bounds is None:
            return
        low, high = self.constant(bounds[0], "low"), self.constant(bounds[1], "high")
        with self.block(f"if not {low} <= {v} <= {high}:"):
            words = f"a number from {bounds[0]} to {bounds[1]}"
            self.answer(bad, into, "out_of_range", words, v)

    def rule_integer(self, rule: Rule, into: str) -> None:
        settings = rule.settings
        expected = "an integer"
        bad = _decision(settings.get("bad"))
        n = self.name("n")
        with self.present(rule, into, expected) as v:
            self.put(f"{n} = None")
            with self.block(f"if {v}.__class__ is int:"):
                self.put(f"{n} = {v}")
            with self.block(f"elif {v}.__class__ is str:"):
                how = self.blank(rule, v, into, expected)
                with self.block(f"{how} INTEGER({v}) is None:"):
                    self.refuse_number(bad, v, into)
                with self.block("else:"):
                    self.put(f"{n} = int({v})")
            with self.block("else:"):
                self.put(f"{n} = as_integer({v})")
            with self.block(f"if {n} is not None:"):
                self.within(settings.get("within"), n, into, bad)
                if "within" in settings:
                    with self.block("else:"):
                        self.put(f"{into} = {n}")
                else:
                    self.put(f"{into} = {n}")

    def rule_flag(self, rule: Rule, into: str) -> None:
        settings = rule.settings
        table = {(type(each), each): True for each in settings.get("true", ())}
        table |= {(type(each), each): False for each in settings.get("false", ())}
        known = self.constant(table, "flags")
        bad = _decision(settings.get("bad"))
        with self.present(rule, into, "true or false") as v:
            with self.block(f"if {v} is True or {v} is False:"):
                self.put(f"{into} = {v}")
            with self.block(
                f"elif {v}.__class__ is str and is_blank({v}) and (str, {v}) not in {known}:"
            ):
                self.answer(_missing(rule)[2], into, "empty", "true or false", v)
            with self.block("else:"):
                self.attempt(f"as_flag({v}, {known})", ("wrong_type",), bad, v, into)

    def attempt(self, call: str, codes: Sequence[str], bad: Any, v: str, into: str) -> None:
        """Write a call whose refusals with some codes are answered by ``bad=``."""
        if bad is REJECTED:
            self.put(f"{into} = {call}")
            return
        with self.block("try:"):
            self.put(f"{into} = {call}")
        with self.block("except Bad as odd:"):
            with self.block(f"if odd.code not in {tuple(codes)!r}:"):
                self.put("raise")
            self.answer(bad, into, codes[0], "", v)

    def rule_instant(self, rule: Rule, into: str) -> None:
        settings = rule.settings
        zone = "None"
        if settings["zone"] != "REQUIRED":
            from zoneinfo import ZoneInfo

            zone = self.constant(ZoneInfo(settings["zone"]), "zone")
        sides = [
            settings[name].word if name in settings else "REJECT" for name in ("ambiguous", "gap")
        ]
        call = f"as_instant({{}}, {zone}, {sides[0]!r}, {sides[1]!r})"
        self._time(rule, into, "an instant", call, ("bad_date", "no_zone"))

    def rule_day(self, rule: Rule, into: str) -> None:
        self._time(rule, into, "a day", "as_day({})", ("bad_date",))

    def _time(self, rule: Rule, into: str, expected: str, call: str, codes: Sequence[str]) -> None:
        bad = _decision(rule.settings.get("bad"))
        with self.present(rule, into, expected) as v:
            how = "if"
            if rule.kind == "instant":
                how = "elif"
                with self.block(f"if {v}.__class__ is str and PLAIN_INSTANT({v}) is not None:"):
                    with self.block("try:"):
                        self.put(f"{into} = fromisoformat({v}).astimezone(UTC)")
                    with self.block("except (ValueError, OverflowError):"):
                        self.attempt(call.format(v), codes, bad, v, into)
            with self.block(f"{how} {v}.__class__ is str and is_blank({v}):"):
                self.answer(_missing(rule)[2], into, "empty", expected, v)
            with self.block("else:"):
                self.attempt(call.format(v), codes, bad, v, into)

    # -- Options ----------------------------------------------------------------------

    def rule_code(self, rule: Rule, into: str) -> None:
        settings = rule.settings
        table = {
            raw_option(key): related(option).option for key, option in settings["table"].items()
        }
        if self.wire:
            table = {
                key: option.value if isinstance(option, enum.Enum) else option
                for key, option in table.items()
            }
        plain = {type(key) for key in table} == {str}
        full = self.constant({(type(key), key): option for key, option in table.items()}, "options")
        with self.present(rule, into, "an option") as v:
            if plain:
                quick = self.constant(table, "table")
                with self.block(f"if {v}.__class__ is str:"):
                    self.put(f"{into} = {quick}.get({v}, UNSET)")
                with self.block("else:"):
                    self.put(f"{into} = as_option({v}, {full})")
            else:
                self.put(f"{into} = as_option({v}, {full})")
            with self.block(f"if {into} is UNSET:"):
                with self.block(f"if {v}.__class__ is str and is_blank({v}):"):
                    self.answer(_missing(rule)[2], into, "empty", "an option", v)
                with self.block("else:"):
                    unknown = _decision(settings["unknown"])
                    self.answer(unknown, into, "unknown_code", "an option that is decided", v)

    # -- Objects and lists -------------------------------------------------------------

    def _unwrap(self, variable: str, path: str = "''") -> None:
        with self.block(f"if {variable}.__class__ is Failed:"):
            self.put(f"raise Inner({variable}, {path})")

    def rule_nested(self, rule: Rule, into: str) -> None:
        inner = self.function(rule.settings["mapping"].read, f"{self._field}.")
        with self.present(rule, into, "an object") as v:
            self.put(f"{into} = {inner}({v}, hits)")
            self._unwrap(into)

    def rule_each(self, rule: Rule, into: str) -> None:
        inner = self.function(rule.settings["mapping"].read, f"{self._field}.")
        at, element, made = self.name("at"), self.name("e"), self.name("m")
        with self.present(rule, into, "a list") as v:
            with self.block(f"if {v}.__class__ is not list:"):
                self.put(f"{v} = as_list({v})")
            self.put(f"{into} = []")
            with self.block(f"for {at}, {element} in enumerate({v}):"):
                self.put(f"{made} = {inner}({element}, hits)")
                self._unwrap(made, f"f'[{{{at}}}]'")
                self.put(f"{into}.append({made})")

    def rule_one_of(self, rule: Rule, into: str) -> None:
        settings = rule.settings
        (source,) = rule.inputs
        inner = self.function(settings["mapping"].read, f"{self._field}.")
        v, element = self.name("v"), self.name("e")
        none = _decision(settings["none"])
        self.fetch(source, v, strict=False)
        with self.block(f"if {v} is None or {v} is UNSET:"):
            if none is REJECTED:
                self.put(f"raise wrong('a list', {v})")
            else:
                self.answer(none, into, "empty", "a list", v)
        with self.block("else:"):
            with self.block(f"if {v}.__class__ is not list:"):
                self.put(f"{v} = as_list({v})")
            self.put(f"{element} = None")
            with self.block(f"if not {v}:"):
                self.answer(none, into, "empty", "a list of at least one", v)
            self.put("else:")
            self._depth += 1
            self.chosen(source, settings, v, element, into)
            self._depth -= 1
            with self.block(f"if {element} is not None:"):
                self.put(f"{into} = {inner}({element}, hits)")
                self._unwrap(into, f"number_of({element}, {v})")

    def chosen(
        self, source: Place, settings: Mapping[str, Any], v: str, element: str, into: str
    ) -> None:
        """Write which element of the list ``v`` is taken; None if a decision stands instead."""
        self._source = source.field
        several = settings["several"]
        each, number, wanted = self.name("e"), self.name("n"), self.name("wanted")
        by = isinstance(several, Pick) and several.key is not None
        self.put(f"{wanted} = []" if by else f"{element} = None")
        self.put(f"{number} = 0")
        with self.block(f"for {each} in {v}:"):
            with self.block(f"if {each}.__class__ is not dict:"):
                self.put(f"{each} = as_element({each}, {v})")
            with self.block(f"if {self.asked(source, settings, each)}:"):
                self.put(f"{number} += 1")
                if by:
                    self.put(f"{wanted}.append({each})")
                elif isinstance(several, Pick) and several.word == "LAST":
                    self.put(f"{element} = {each}")
                else:
                    with self.block(f"if {number} == 1:"):
                        self.put(f"{element} = {each}")
        if by:
            key = self.ranked(several)
            self.put(f"{element} = pick({wanted}, {key}) if {wanted} else None")
        with self.block(f"if {number} > 1:"):
            if isinstance(several, Pick):
                self.hit("several")
            else:
                self.put(f"{element} = None")
                self.answer(_decision(several), into, "several", "one that is wanted", v)
        with self.block(f"elif {number} == 0:"):
            otherwise = settings["otherwise"]
            if isinstance(otherwise, Pick):
                end = {"FIRST": f"{v}[0]", "LAST": f"{v}[-1]"}.get(otherwise.word)
                self.put(f"{element} = {end or f'pick({v}, {self.ranked(otherwise)})'}")
                self.hit("fallback")
            else:
                words = "one that is wanted among them"
                self.answer(_decision(otherwise), into, "none_fits", words, v)

    def ranked(self, decided: Pick) -> str:
        """Return an expression for what reads the field that :func:`by` names."""
        assert decided.key is not None
        at = place(decided.key(element_of(self._source)))
        return self.constant(_getter(tuple(step.key for step in at.steps)), "key")

    def asked(self, source: Place, settings: Mapping[str, Any], element: str) -> str:
        """Return an expression that says whether an element is wanted."""
        prefer = settings["prefer"]
        if isinstance(prefer, Step):
            return f"{self._step(prefer)}({element})"
        return self._condition(condition(prefer, element_of(source.field)), element)

    def _condition(self, asked: Any, element: str) -> str:
        one, by, other = asked.parts
        if isinstance(one, Condition):
            word = {"&": "and", "|": "or"}[by]
            return f"({self._condition(one, element)} {word} {self._condition(other, element)})"
        keys = tuple(step.key for step in one.steps)
        found = f"{element}.get({keys[0]!r})" if len(keys) == 1 else f"reach({element}, {keys!r})"
        if by == "==" and type(other) is str:
            return f"{found} == {other!r}"
        return f"compare({self.constant(OPERATORS[by], 'by')}, {found}, {self.constant(other)})"

    # -- The rest ---------------------------------------------------------------------

    def rule_coalesce(self, rule: Rule, into: str) -> None:
        v = self.name("v")
        depth = self._depth
        for source in rule.inputs:
            self.fetch(source, v, strict=False)
            with self.block(f"if not is_blank({v}):"):
                self.put(f"{into} = {v}")
            self.put("else:")
            self._depth += 1
        self.answer(_missing(rule)[0], into, "absent", "one of several", v)
        self._depth = depth

    def rule_constant(self, rule: Rule, into: str) -> None:
        self.put(f"{into} = {self.output(rule.settings['value'])}")

    def rule_keep(self, rule: Rule, into: str) -> None:
        (source,) = rule.inputs
        self.fetch(source, into, strict=False)
        if isinstance(source, Place):
            self.declared(source, into, nullable=len(source.steps) < 2)

    def rule_step(self, rule: Rule, into: str) -> None:
        given = []
        for source in rule.inputs:
            v = self.name("v")
            self.fetch(source, v, strict=False)
            if isinstance(source, Place):
                self.declared(source, v)
            given.append(v)
        self.put(f"{into} = {self._step(rule.settings['step'])}({', '.join(given)})")

    def declared(self, at: Place, v: str, *, nullable: bool = False) -> None:
        """Write that a value is refused that is absent or null where its types do not say so."""
        if at.steps and not any(step.optional for step in at.steps):
            with self.block(f"if {v} is UNSET:"):
                self.put(f"raise wrong('a value', {v})")
        if at.steps and not nullable and not any(step.nullable for step in at.steps):
            with self.block(f"if {v} is None:"):
                self.put(f"raise wrong('a value', {v})")

    def _step(self, of: Step[Any, Any]) -> str:
        def call(*arguments: Any) -> Any:
            try:
                return of.function(*arguments)
            except support.Bad:
                raise
            except MappingError as error:
                path = error.path or ""
                where = path if path.startswith("$") else ""
                raise support.Bad(error.code or "rejected", error.message, where) from None
            except Exception as error:
                raise support.StepFailed(f"{of.name} raised {type(error).__qualname__}") from None

        return self.constant(call, "step")


class _Rejected:
    """Stands for REJECT and for no decision at all."""


REJECTED: Final = _Rejected()
_NOWHERE: Final = Shape(dict, {}, "")
_PLAIN: Final = Rule("text", (), {}, None)  # type: ignore[arg-type]
_SUPPORT: Final = (
    "Bad",
    "Failed",
    "Inner",
    "NUMBER",
    "SPOILT",
    "UNMADE",
    "Told",
    "INTEGER",
    "CONTEXT",
    "PLAIN_INSTANT",
    "PRINTABLE",
    "as_day",
    "as_decimal",
    "as_flag",
    "as_element",
    "as_instant",
    "as_integer",
    "as_label",
    "as_list",
    "as_option",
    "as_text",
    "bad_number",
    "clean",
    "compare",
    "cut",
    "is_blank",
    "length",
    "note",
    "number_of",
    "pick",
    "reach",
    "refused",
    "said",
    "visible",
    "wrong",
)


def _decision(given: Any) -> Any:
    """Return a decision; REJECTED for REJECT and for none."""
    if given is None or (isinstance(given, Decision) and given.word == "REJECT"):
        return REJECTED
    return given


def _missing(rule: Rule) -> list[Any]:
    """Return what is decided for absent, null and blank values; REJECTED where nothing is."""
    return list(map(_decision, rule.missing))


def _getter(keys: tuple[str, ...]) -> Callable[[Any], Any]:
    return lambda element: support.reach(element, keys)
