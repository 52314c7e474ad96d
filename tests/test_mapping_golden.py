"""Golden values of mappings: the same on every Python, in every process, in every directory.

``tests/data/mapping_golden.json`` was written once, by::

    python -m tests.test_mapping_golden > tests/data/mapping_golden.json

A change of it is no repair of a test: it reaches every user who updates.

- ``digest``: every approval is void, and every record is mapped again.
- ``document_digest`` and ``documents``: what people signed reads otherwise.
- ``fingerprints``: every record counts as changed, and is written again.

So it is written anew only together with a line in the changelog, and a change of
fingerprints with another ``Fingerprints.FORMAT``. The suite runs on one Python at a time;
that this file holds on all of them is what shows that they agree.

Read the five mappings, which between them use every word there is, then :func:`golden`.
"""

from __future__ import annotations

import enum
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_overloads

import pytest
from attrs import define, field

from syncsdk.mapping import (
    EARLIER,
    EMAIL,
    FIRST,
    HALF_DOWN,
    HALF_EVEN,
    HALF_UP,
    LAST,
    LATER,
    LEAVE,
    NULL,
    REJECT,
    REQUIRED,
    SHORTEST,
    TRUNCATE,
    Form,
    TypedMapper,
    about,
    by,
    coalesce,
    code,
    constant,
    day,
    decimal,
    drop,
    each,
    flag,
    fragment,
    instant,
    integer,
    join,
    keep,
    label,
    mapping,
    narrower,
    need_one,
    nested,
    one_of,
    rules,
    split,
    step,
    text,
    to,
    wider,
)
from syncsdk.mapping.checks import _CHOICES, _DECISIONS, _ONLY
from syncsdk.mapping.document import digest, document
from syncsdk.mapping.rules import Decision, related
from syncsdk.mapping.shapes import shape
from syncsdk.mapping.tracing import Made, Rule, questions
from syncsdk.values import UNSET, Fingerprints, Unset

REPO = Path(__file__).parents[1]
GOLDEN = REPO / "tests" / "data" / "mapping_golden.json"

# -- Texts -----------------------------------------------------------------------------


@define
class Person:
    """Somebody, as a form on a web page has them."""

    id: int
    name: str = field(metadata=about(meaning="As they write it themselves"))
    nick: str | Unset | None
    mail: str | Unset | None = field(metadata=about(key="e-mail", sensitive=True))
    phone: str | None


@define
class Card:
    """A card in a box, with little room."""

    number: str
    whole: str
    name: str = field(metadata=about(max=12, meaning="In the first line"))
    short: str | None = field(metadata=about(max=8, unit="utf16"))
    tight: str | Unset = field(metadata=about(max=9, unit="bytes"))
    loud: str
    strict: str
    mail: str | None
    reply: str | Unset
    copy: str
    phone: str | None
    nick: str | Unset | None
    second: str | Unset | None
    third: str | Unset | None
    line: str | None
    ends: str | Unset
    starts: str


@step(version="1")
def how_many(person: Any) -> str:
    """The number of its fields."""
    return str(len(person))


@mapping(owner="front-desk")
def texts(s: Person) -> Card:
    """A person becomes a card.

    Names are "cut", never <dropped>.
    """
    need_one(s.name, s.phone, why="nobody could be called")
    return to(Card)(
        number=label("P-{}/{}", s.id, s.name),
        whole=how_many(s),
        name=text(s.name, max=12, over=TRUNCATE, why="the first line is narrow"),
        short=text(s.name, missing=REJECT, max=8, unit="utf16", over=NULL, why="a name tag"),
        tight=text(s.name, max=9, unit="bytes", over=LEAVE, why="the old printer"),
        loud=text(s.name, case="upper", max=80, unit="chars", over=REJECT),
        strict=text(
            s.name,
            absent=REJECT,
            null=REJECT,
            empty=REJECT,
            form=Form("a name without digits", r"[^0-9]+"),
            bad=REJECT,
        ),
        mail=text(s.mail, missing=NULL, case="lower", form=EMAIL, bad=NULL, why="often mistyped"),
        reply=text(s.mail, missing=LEAVE, form=EMAIL, bad=LEAVE, why="the old one is better"),
        copy=text(s.mail, missing="no@one.org", form=EMAIL, bad="bad@one.org", why="by law"),
        phone=text(s.phone, keep="0-9+", also={"N/A", "-", "none", "nil"}, missing=NULL),
        nick=text(s.nick, absent=LEAVE, null=NULL, empty="(blank)"),
        second=text(s.nick, absent=NULL, null="(null)", empty=LEAVE),
        third=text(s.nick, absent="(absent)", null=LEAVE, empty=NULL),
        line=join(
            " ", s.name, s.nick, missing=NULL, max=20, unit="chars", over=TRUNCATE, why="narrow"
        ),
        ends=split(s.name, " ", -1, missing=LEAVE, why="sorted by it"),
        starts=split(s.nick, ",", 0, missing="?", why="called by it"),
    )


def person(name: str = "Ada King", /, **more: Any) -> dict[str, Any]:
    return {"id": 7, "name": name, "nick": "Ada", "e-mail": "Ada@B.org", "phone": "+1 (2)"} | more


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

TEXTS = {
    "plain": person(),
    "accents as NFC": person("Zo\u00eb \u00c5ngstr\u00f6m"),
    "accents as NFD": person("Zoe\u0308 A\u030angstro\u0308m"),
    "grows in NFC": person("\u0958\u0958 x"),
    "marks in order": person("q\u0323\u0307"),
    "marks out of order": person("q\u0307\u0323", id=8),
    "sharp s": person("Stra\u00dfe \ufb00", id=9),
    "turkish": person("\u0130stanbul", nick="\u0130"),
    "right to left": person("\u05e9\u05dc\u05d5\u05dd \u0627\u0644"),
    "persian": person("\u0645\u06cc\u200c\u062e\u0648\u0627"),
    "family at the cut": person("abcdefghij" + FAMILY),
    "flags at the cut": person("abcdefghijk" + "\U0001f1e9\U0001f1ea"),
    "astral": person("\U0001f600\U0001f600\U0001f600\U0001f600\U0001f600"),
    "long": person("x" * 80),
    "line breaks": person("a\nb\tc"),
    "mojibake": person("M\u00c3\u00bcller"),
    "null": person(nick=None, **{"e-mail": None}, phone=None),
    "blank": person(nick=" ", **{"e-mail": "\u200b"}, phone=" N/A "),
    "absent": {"id": 7, "name": "Ada King"},
    "another form": person(**{"e-mail": "nobody"}, phone="ZZ"),
    "a name like a key": person("1", id=1) | {"name": "I"},
    "an id of digits": person(id=10**30),
}

# -- Numbers ---------------------------------------------------------------------------


class Invoice(TypedDict):
    """What a shop charged."""

    total: Annotated[str | int | float | Decimal, about(key="Total", meaning="With taxes")]
    limit: NotRequired[str | None]
    count: NotRequired[str | int | None]
    paid: NotRequired[str | int | bool | None]


@define
class Ledger:
    even: Decimal
    up: Decimal
    down: Decimal
    zeros: Decimal = field(metadata=about(sensitive=True))
    away: Decimal
    limit: Decimal
    limit_or_null: Decimal | None
    limit_or_left: Decimal | Unset
    limit_as_is: str | Unset | None
    count: int
    count_or_null: int | None
    count_or_left: int | Unset
    paid: bool
    paid_or_null: bool | None
    paid_or_left: bool | Unset


@mapping(owner="finance")
def numbers(s: Invoice) -> Ledger:
    """An invoice becomes a line of the ledger."""
    total, limit, count, paid = s["total"], s.get("limit"), s.get("count"), s.get("paid")
    return to(Ledger)(
        even=decimal(
            total,
            places=2,
            rounding=HALF_EVEN,
            floats=SHORTEST,
            within=(-(10**20), Decimal("1e20")),
            missing=REJECT,
            bad=REJECT,
        ),
        up=decimal(total, places=1, rounding=HALF_UP, floats=SHORTEST),
        down=decimal(total, places=1, rounding=HALF_DOWN, floats=SHORTEST),
        zeros=decimal(total, places=0, rounding="ROUND_DOWN", floats=SHORTEST),
        away=decimal(total, places=0, rounding="ROUND_UP", floats=SHORTEST),
        limit=decimal(
            limit,
            places=4,
            rounding=HALF_EVEN,
            floats=REJECT,
            missing=Decimal("-1"),
            bad=Decimal("0.00"),
            why="unknown limits are none",
        ),
        limit_or_null=decimal(
            limit, places=2, rounding=HALF_EVEN, missing=NULL, bad=NULL, why="not all have one"
        ),
        limit_or_left=decimal(
            limit, places=2, rounding=HALF_EVEN, missing=LEAVE, bad=LEAVE, why="it is set by hand"
        ),
        limit_as_is=keep(limit),
        count=integer(count, missing=0, within=(0, 99), bad=-1, why="counted by hand"),
        count_or_null=integer(count, missing=NULL, bad=NULL, why="counted by hand"),
        count_or_left=integer(count, missing=LEAVE, bad=LEAVE, why="counted by hand"),
        paid=flag(paid, missing=False, true=("Y", 1), false=("N", 0), bad=True, why="we trust"),
        paid_or_null=flag(paid, missing=NULL, true=["Y"], bad=NULL, why="we do not know"),
        paid_or_left=flag(paid, missing=LEAVE, bad=LEAVE, why="it is set by hand"),
    )


NUMBERS = {
    "plain": {"Total": "12.50", "limit": "100", "count": 3, "paid": True},
    "exponent as text": {"Total": "1.50"},
    "exponent as decimal": {"Total": Decimal("1.5")},
    "exponent as float": {"Total": 1.5},
    "a hundred as integer": {"Total": 100},
    "a hundred as exponent": {"Total": Decimal("1E+2")},
    "halves": {"Total": "-0.125", "limit": "0.00005"},
    "halves of a float": {"Total": 2.675},
    "zero as minus zero": {"Total": "-0.00"},
    "zero as zero": {"Total": 0},
    "beyond 28 digits": {"Total": "123456789012.12345678901234567890123456789"},
    "beyond 2 to the 53": {"Total": 9007199254740993, "count": 9007199254740993, "limit": "9" * 60},
    "text": {"Total": "7", "limit": " 007 ", "count": "-7", "paid": "Y"},
    "null": {"Total": "1", "limit": None, "count": None, "paid": None},
    "blank": {"Total": "1", "limit": " ", "count": "", "paid": " "},
    "bad": {"Total": "1", "limit": "1e3", "count": "7.0", "paid": "maybe"},
    "one": {"Total": "1", "paid": 1},
    "nought": {"Total": "1", "paid": 0},
}

# -- Times -----------------------------------------------------------------------------


@define
class Event:
    """Something that takes its time."""

    start: str | datetime
    wall: str
    end: str | datetime | Unset | None
    day: str | date
    due: str | Unset | None


class Entry(TypedDict):
    start: Annotated[datetime, about(key="startsAt", meaning="In UTC")]
    earlier: datetime
    later: datetime
    sure: datetime | None
    end: datetime
    end_or_left: datetime | Unset
    end_or_null: datetime | None
    day: date
    due: date | None
    due_or_left: NotRequired[date | Unset]
    due_or_else: date


@mapping(owner="calendar")
def times(s: Event) -> Entry:
    """An event becomes an entry."""
    return {
        "start": instant(s.start, zone=REQUIRED, missing=REJECT, bad=REJECT),
        "earlier": instant(s.wall, zone="Europe/Berlin", ambiguous=EARLIER, gap=EARLIER),
        "later": instant(s.wall, zone="Europe/Berlin", ambiguous=LATER, gap=LATER),
        "sure": instant(
            s.wall, zone="Europe/Berlin", ambiguous=REJECT, gap=REJECT, bad=NULL, why="be sure"
        ),
        "end": instant(
            s.end,
            zone=REQUIRED,
            missing=datetime(9999, 12, 31, tzinfo=UTC),
            bad=datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            why="some have no end",
        ),
        "end_or_left": instant(s.end, zone=REQUIRED, missing=LEAVE, bad=LEAVE, why="as it was"),
        "end_or_null": instant(s.end, zone="UTC", missing=NULL, bad=NULL, why="as it was"),
        "day": day(s.day, missing=REJECT, bad=REJECT),
        "due": day(s.due, missing=NULL, bad=NULL, why="seldom used"),
        "due_or_left": day(s.due, missing=LEAVE, bad=LEAVE, why="seldom used"),
        "due_or_else": day(s.due, missing=date(1970, 1, 1), bad=date(1, 1, 1), why="seldom used"),
    }


def event(start: Any = "2026-03-01T12:00:00Z", **more: Any) -> dict[str, Any]:
    return {"start": start, "wall": "2026-06-01T12:00:00", "day": "2026-03-29", **more}


INDIA = timezone(timedelta(hours=5, minutes=30))

TIMES = {
    "instant as UTC": event(),
    "instant as an offset": event("2026-03-01T17:30:00+05:30"),
    "instant as lower case": event("2026-03-01t12:00:00z"),
    "instant as nanoseconds": event("2026-03-01 12:00:00.000000999Z"),
    "instant as datetime": event(datetime(2026, 3, 1, 17, 30, tzinfo=INDIA), day=date(2026, 3, 29)),
    "microseconds": event("2026-03-01T12:00:00.000001Z"),
    "before 1900": event("0001-01-01T00:00:00-12:00"),
    "twice on the clock": event(wall="2026-10-25T02:30:00"),
    "never on the clock": event(wall="2026-03-29T02:30:00"),
    "instant as null": event(end=None, due=None),
    "instant as blank": event(end="", due=" "),
    "bad": event(end="tomorrow", due="29.03.2026"),
    "naive": event(end="2026-03-01T12:00:00", due="2026-02-30"),
    "leap day": event(end="2024-02-29T23:59:59.999999+14:00", due="2024-02-29"),
}

# -- Choices ---------------------------------------------------------------------------


class Stage(enum.Enum):
    LEAD = "lead"
    TALKING = "talking"
    WON = "won"
    LOST = "lost"


class Rank(enum.IntEnum):
    LOW = 1
    HIGH = 2


class State(enum.StrEnum):
    OPEN = "O"
    DONE = "D"
    ARCHIVED = "X"


class Deal(TypedDict):
    stage: Stage
    kind: Literal["new", "old", 3]
    rank: NotRequired[Rank | None]
    tier: Annotated[NotRequired[str | None], about(key="Tier/Level")]
    title: str
    extra: Any
    tags: list[str]


@define
class Order:
    state: State
    kind: Literal["N", "O"] | Unset
    rank: Literal[10, 20] | None
    tier: State
    best: str
    best_or_null: str | None
    best_or_left: str | Unset
    best_or_else: str
    system: str
    fee: Decimal
    since: datetime
    first: date
    fixed: State
    open: bool
    nothing: str | None
    alone: str | Unset
    none: list[Any]
    extra: Any
    title: str
    addressed: str | None


@step(version="2")
def tidy(title: str) -> str:
    """Put single spaces between words.

    Keep "quotes" as they are.
    """
    return " ".join(title.split())


TITLES = {"dr": "Dr.", "prof": "Prof.", "\u00f6": "\u00d6"}


@step(version="2026-03-01", tables={"Titles": TITLES})
def addressed(title: str, tier: Any) -> str | None:
    """Write the title out, where there is a tier."""
    return TITLES.get(title, title) if isinstance(tier, str) else None


@fragment
def first_of(title: Any, tier: Any) -> Any:
    return coalesce(tier, title, missing=REJECT)


@mapping(owner="sales")
def choices(s: Deal) -> Order:
    """A deal becomes an order."""
    drop(s["tags"], why="the ERP has none")
    tier, title = s.get("tier"), tidy(s["title"])  # which runs once, for three fields
    return to(Order)(
        state=code(
            s["stage"],
            {
                Stage.LEAD: State.OPEN,
                Stage.TALKING: narrower(State.OPEN, why="nobody knows who talks"),
                Stage.WON: State.DONE,
                Stage.LOST: wider(State.DONE, why="it is over, in a way"),
            },
            unknown=REJECT,
            never=[State.ARCHIVED],
        ),
        kind=code(s["kind"], {"new": "N", "old": "O", 3: "O"}, unknown=LEAVE, why="it is new"),
        rank=code(
            s.get("rank"), {Rank.LOW: 10, Rank.HIGH: 20}, unknown=NULL, missing=NULL, why="unranked"
        ),
        tier=code(
            tier,
            {"gold": State.DONE, "g\u00f6ld": State.OPEN},
            unknown=State.ARCHIVED,
            missing=State.OPEN,
            why="tiers come and go",
        ),
        best=first_of(title, tier),
        best_or_null=text(coalesce(tier, missing=NULL, why="not all have one"), missing=NULL),
        best_or_left=text(coalesce(tier, missing=LEAVE), missing=LEAVE),
        best_or_else=coalesce(tier, missing="(none)"),
        system=constant("crm"),
        fee=constant(Decimal("1.50")),
        since=constant(datetime(2026, 3, 1, tzinfo=UTC)),
        first=constant(date(2026, 3, 1)),
        fixed=constant(State.OPEN),
        open=constant(True),
        nothing=constant(None),
        alone=constant(UNSET),
        none=constant([]),
        extra=keep(s["extra"]),
        title=text(title),
        addressed=addressed(title, tier),
    )


def deal(**more: Any) -> dict[str, Any]:
    return {"stage": "lead", "kind": "new", "title": " a  b ", "extra": None, "tags": []} | more


CHOICES = {
    "plain": deal(rank=1, **{"Tier/Level": "gold"}),
    "all options": deal(
        stage="talking", kind="old", rank=2, title="dr", **{"Tier/Level": "g\u00f6ld"}
    ),
    "a number as option": deal(stage="won", kind=3),
    "true is not one": deal(stage="lost", kind=True, rank=True),
    "unknown": deal(kind="NEW", rank=3, **{"Tier/Level": "silver"}),
    "null as absent": deal(rank=None, **{"Tier/Level": None}),
    "blank": deal(**{"Tier/Level": " "}),
    "kept accent as NFD": deal(extra="e\u0301"),
    "kept accent as NFC": deal(extra="\u00e9"),
    "kept empty text": deal(extra=""),
    "kept integer": deal(extra=1),
    "kept flag": deal(extra=True),
    "kept float": deal(extra=1.0),
    "kept decimal as 1.0": deal(extra=Decimal("1.0")),
    "kept decimal as 1.00": deal(extra=Decimal("1.00")),
    "kept text of a number": deal(extra="1"),
    "kept object as it comes": deal(extra={"b": [1, {"c": None}], "a": "\u00df"}),
    "kept object as it may come": deal(extra={"a": "\u00df", "b": [1, {"c": None}]}),
    "kept list": deal(extra=[[], {}, ["ab", "c"]]),
    "kept list of other parts": deal(extra=[[], {}, ["a", "bc"]]),
    "kept bytes": deal(extra=b"\x00\xff"),
    "kept duration": deal(extra=timedelta(days=-1, seconds=7)),
    "kept local time": deal(extra=datetime(2026, 3, 29, 2, 30)),
}

# -- Parts -----------------------------------------------------------------------------


@define
class Address:
    kind: str
    city: str
    since: str
    floor: int
    main: bool


class Phone(TypedDict):
    number: Annotated[str, about(key="#", sensitive=True)]


@define
class Company:
    """A company with its places."""

    addresses: list[Address]
    offices: list[Address] | Unset | None
    head: Address
    home: Address | Unset | None
    phones: list[Phone] | Unset | None


@define
class Place:
    city: str = field(metadata=about(max=20))


class Line(TypedDict):
    digits: Annotated[str, about(key="d")]
    kind: NotRequired[Literal["phone"]]


class Site(TypedDict):
    main: Place
    first: Place | None
    last: Place | Unset
    smallest: Place | None
    wanted: Place | None
    low: Place | Unset | None
    head: Place
    home: Place | None
    home_or_left: Place | Unset
    sure: Place
    within: Place
    cities: list[Place]
    more: list[Place] | None
    lines: NotRequired[list[Line] | Unset]
    all_lines: list[Line]


@mapping
def place(a: Address) -> Place:
    """An address becomes a place."""
    drop(a.kind, a.since, a.floor, a.main, why="a place is a city")
    return to(Place)(city=text(a.city, max=20, over=TRUNCATE, why="the ERP's column"))


@mapping
def line(p: Phone) -> Line:
    return {"digits": text(p["number"], keep="0-9"), "kind": constant("phone")}


@step(version="1")
def is_short(address: Any) -> bool:
    """Its city has at most three letters."""
    return len(address["city"]) <= 3


@mapping(owner="sales")
def parts(s: Company) -> Site:
    """A company becomes a site."""
    return {
        "main": one_of(
            s.addresses,
            place,
            prefer=lambda a: a.main == True,  # noqa: E712  # a comparison that is recorded
            several=REJECT,
            otherwise=REJECT,
            none=REJECT,
            why="there is one",
        ),
        "first": one_of(
            s.offices,
            place,
            prefer=lambda a: a.kind == "billing",
            several=FIRST,
            otherwise=FIRST,
            none=NULL,
            why="one only",
        ),
        "last": one_of(
            s.offices,
            place,
            prefer=lambda a: (a.kind != "billing") & (a.since >= "2020"),
            several=LAST,
            otherwise=LAST,
            none=LEAVE,
            why="one only",
        ),
        "smallest": one_of(
            s.offices,
            place,
            prefer=lambda a: (a.floor < 0) | (a.floor > 1),
            several=by(lambda a: a.since),
            otherwise=by(lambda a: a.city),
            none=NULL,
            why="one only",
        ),
        "wanted": one_of(
            s.offices,
            place,
            prefer=is_short,
            several=FIRST,
            otherwise=NULL,
            none=NULL,
            why="one only",
        ),
        "low": one_of(
            s.offices,
            place,
            prefer=lambda a: a.floor <= 1,
            several=FIRST,
            otherwise=LEAVE,
            none=NULL,
            why="one only",
        ),
        "head": place(s.head),
        "home": nested(s.home, place, missing=NULL, why="not all have one"),
        "home_or_left": nested(s.home, place, missing=LEAVE),
        "sure": nested(s.head, place, missing=REJECT),
        "within": to(Place)(city=text(s.head.city, max=20, over=REJECT)),
        "cities": each(s.addresses, place, missing=REJECT, why="there is one"),
        "more": each(s.offices, place, missing=NULL),
        "lines": each(s.phones, line, missing=LEAVE),
        "all_lines": each(s.phones, line, missing=[]),
    }


def address(kind: str, city: str, since: str = "2020", floor: int = 0, main: Any = False) -> Any:
    return {"kind": kind, "city": city, "since": since, "floor": floor, "main": main}


HEAD = address("head", "K\u00f6ln", main=True)
BILLS = [
    address("billing", "Rom", "2021", 5),
    address("billing", "M\u00fcnchen", "2019", 1),
    address("home", "Ulm", "2022", 2),
]


def company(**more: Any) -> dict[str, Any]:
    return {"addresses": [HEAD], "head": HEAD, "home": HEAD, "offices": [], "phones": []} | more


PARTS = {
    "plain": company(offices=BILLS, phones=[{"#": "+1 (2)"}, {"#": "3"}]),
    "another order": company(offices=BILLS[::-1], phones=[{"#": "3"}, {"#": "12"}]),
    "nobody is wanted": company(offices=[address("x", "Long name", "1999", 9)] * 2),
    "one floor down": company(offices=[address("x", "Abc", "1999", -1)]),
    "empty": company(),
    "null": company(offices=None, home=None, phones=None),
    "absent": {"addresses": [HEAD, BILLS[0]], "head": HEAD},
    "city as NFC": company(head=address("", "Zo\u00eb")),
    "city as NFD": company(head=address("", "Zoe\u0308")),
    "city at the cut": company(addresses=[address("", "x" * 19 + FAMILY, main=True)]),
}

MAPPINGS: dict[str, tuple[TypedMapper[Any, Any], dict[str, Any]]] = {
    "texts": (texts, TEXTS),
    "numbers": (numbers, NUMBERS),
    "times": (times, TIMES),
    "choices": (choices, CHOICES),
    "parts": (parts, PARTS),
}

# -- The golden file -------------------------------------------------------------------


def golden() -> dict[str, Any]:
    """Return by mapping: its digest, that of its words, of its documents, and fingerprints."""
    return {name: _golden(mapper, records) for name, (mapper, records) in MAPPINGS.items()}


def _golden(mapper: TypedMapper[Any, Any], records: dict[str, Any]) -> dict[str, Any]:
    rows = mapper.map_batch(list(records.values()))
    marks = Fingerprints(mapper.fields).of_all(rows)
    return {
        "digest": mapper.digest,
        "document_digest": digest(mapper),
        "documents": {form: _document(mapper, form, records) for form in ("md", "csv", "html")},
        "fingerprints": {
            name: mark.hex() if isinstance(mark, bytes) else str(mark)
            for name, mark in zip(records, marks, strict=True)
        },
    }


def _document(mapper: TypedMapper[Any, Any], form: Any, records: dict[str, Any]) -> str:
    written = document(mapper, form, examples=list(records.values()), date=date(2026, 3, 1))
    return blake2b(written.encode(), digest_size=16).hexdigest()


def printed() -> str:
    return json.dumps(golden(), indent=2) + "\n"


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mapping_is_what_it_was(name: str) -> None:
    assert _golden(*MAPPINGS[name]) == json.loads(GOLDEN.read_text("utf-8"))[name]


def test_the_file_is_as_it_was_written() -> None:
    assert GOLDEN.read_text("utf-8") == printed()


@pytest.mark.parametrize(
    ("seed", "zone"), [("0", "UTC"), ("1", "Asia/Kolkata"), ("random", "America/St_Johns")]
)
def test_another_process_says_the_same(seed: str, zone: str) -> None:
    said = run("-m", "tests.test_mapping_golden", cwd=REPO, PYTHONHASHSEED=seed, TZ=zone)

    assert said == GOLDEN.read_text("utf-8")


def test_the_directory_of_a_mapping_says_nothing(tmp_path: Path) -> None:
    copy = shutil.copy(__file__, tmp_path)

    assert run(str(copy), cwd=tmp_path) == GOLDEN.read_text("utf-8")


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", MAPPINGS)
def test_records_that_mean_the_same_have_one_fingerprint_and_others_do_not(name: str) -> None:
    mapper, records = MAPPINGS[name]
    rows = mapper.map_batch(list(records.values()))
    marks = Fingerprints(mapper.fields).of_all(rows)

    assert [row for row in rows if not isinstance(row, tuple)] == []
    seen: dict[Any, set[str]] = {}
    for record, mark in zip(records, marks, strict=True):
        seen.setdefault(mark, set()).add(record.partition(" as ")[0])
    assert [group for group in seen.values() if len(group) > 1] == []
    assert len(seen) == len({record.partition(" as ")[0] for record in records})


# -- Every word is in it ---------------------------------------------------------------


def rules_of(made: Made) -> Iterator[Rule]:
    for value in made.values.values():
        if isinstance(value, Made):
            yield from rules_of(value)
        for rule in questions(value):
            yield rule
            if "mapping" in rule.settings:
                yield from rules_of(rule.settings["mapping"].read.made)


ALL = [rule for mapper, _ in MAPPINGS.values() for rule in rules_of(mapper.read.made)]


def arguments(kind: str) -> set[str]:
    """Return the arguments of a rule, but for those that are values of the source."""
    function = getattr(rules, kind)
    faces = [inspect.signature(face) for face in get_overloads(function) or [function]]
    names = {name for face in faces for name in face.parameters}
    return names - {"values", *(() if kind == "constant" else ("value",))}


def test_the_golden_mappings_use_every_rule_with_every_argument() -> None:
    kinds = {rule.kind for rule in ALL} - {"step"}
    used = {kind: {n for rule in ALL if rule.kind == kind for n in rule.settings} for kind in kinds}

    assert used == {kind: arguments(kind) for kind in kinds}
    around = {"by", "drop", "fragment", "narrower", "need_one", "step", "to", "wider", "Form"}
    words = {name for name in rules.__all__ if not name.isupper()} - {"Answer"}
    assert kinds == words - around
    assert {*rules.__all__} - {"Answer"} <= globals().keys()  # and the linter: no idle import


def test_the_golden_mappings_take_every_decision() -> None:
    taken = {
        (name, value.word if isinstance(value, Decision) else "a value")
        for rule in ALL
        for name, value in rule.settings.items()
        if name in _DECISIONS
    }
    chosen = {(n, v) for rule in ALL for n, v in rule.settings.items() if n in _CHOICES}

    given = {(name, "a value") for name in _DECISIONS.keys() - _ONLY}
    assert taken == given | {(name, word) for name, words in _DECISIONS.items() for word in words}
    assert chosen == {(name, word) for name, words in _CHOICES.items() for word in words}
    related_ = {
        related(o).relation for rule in ALL for o in rule.settings.get("table", {}).values()
    }
    assert related_ == {"same", "narrower", "wider"}


def test_the_golden_mappings_stand_between_every_kind_of_class() -> None:
    sources = [shape(mapper.read.source.kind) for mapper, _ in MAPPINGS.values()]
    destinations = [shape(mapper.read.made.kind) for mapper, _ in MAPPINGS.values()]

    for ends in (sources, destinations):
        fields = [its for end in ends for its in end.fields.values()]
        assert {end.is_dict for end in ends} == {True, False}
        assert {its.many for its in fields} == {True, False}
        assert {its.nullable for its in fields} == {True, False}
        assert {its.optional for its in fields} == {True, False}
        assert {its.nested is None for its in fields} == {True, False}
        assert any(its.key != its.name for its in fields)
        assert any(its.sensitive for its in fields)
        kinds = [kind for its in fields if its.options is not None for kind in its.kinds]
        assert {issubclass(kind, enum.Enum) for kind in kinds} == {True, False}


if __name__ == "__main__":
    sys.stdout.write(printed())
