"""Looks for a record that a mapping answers with anything but a record or a MappingError.

``python -m tests.fuzzing --minutes 10 [--seed 1] [--replay HEX]``. Most of the time goes to
atheris, Google's binding of libFuzzer, which keeps the inputs that reach a new branch of the
mapper or of the functions that it generates; it is no dependency, and ``pip install atheris``
brings it. The last eighth goes to hypothesis over the same mappings. A failure is told once for
each place in the code, with the smallest input found; what is left of the run goes on.

Decides what a hostile value is, and what must hold of any. Read :func:`check`, which is what
must hold, then :data:`CASES`, the mappings, which together use every rule and every kind of
decision, then :func:`decoded`, which makes a record of an input's bytes: a good one, some
places of which were replaced.
"""

from __future__ import annotations

import argparse
import collections
import enum
import importlib.util
import json
import linecache
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypedDict

import attrs
from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from syncsdk import MappingError
from syncsdk.errors import RecordError
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
    split,
    step,
    text,
    to,
    wider,
)
from syncsdk.mapping.profile import profile
from syncsdk.mapping.scaffold import describe
from syncsdk.mapping.shapes import shape
from syncsdk.mapping.support import CODES
from syncsdk.values import UNSET, Fingerprints, Unset

MARK: Final = "Sesam4711"
"""Stands in hostile texts: no error may quote it, and of sensitive fields nothing may."""

# -- Mappings --------------------------------------------------------------------------

WHY: Final = "because"
SLOW: Final = 5.0
"""Seconds of the processor after which a record is a failure: most take 0.01."""
UNLUCKY: Final = "unlucky"
"""The code of a step that refuses a record."""


@step(version="1")
def same(value: Any) -> Any:
    """Take it as it is."""
    return value


@step(version="1")
def shouted(value: Any) -> Any:
    """Make it upper case."""
    return value.upper()


@step(version="1")
def second(one: Any, other: Any) -> Any:
    """Take the second element of the first, or the other."""
    return list(one)[1] if one else other


@step(version="1", tables={"Levels": {1: "low", "x": "high"}})
def picky(value: Any) -> Any:
    """Refuse what is no text."""
    if isinstance(value, int):
        raise MappingError("expected luck")
    if isinstance(value, list):
        raise MappingError("expected luck", code=UNLUCKY, path="$.a[0]")
    if isinstance(value, dict):
        raise MappingError("expected luck", code=UNLUCKY, path="elsewhere")
    return value


@step(version="1")
def is_home(element: Any) -> bool:
    """It is a home."""
    return bool({**element}["kind"] == "home")


@define
class Texts:
    a: str | Unset | None = field(metadata=about(key="first-name", meaning="A | name", max=80))
    b: str | Unset | None
    c: str
    d: str | None = field(metadata=about(sensitive=True))


@define
class Cleaned:
    plain: str
    lower: str
    upper: str | Unset | None = field(metadata=about(max=12, unit="utf16"))
    digits: str | None
    mail: str
    also: str | Unset
    cut: str
    cut16: str
    cut8: str = field(metadata=about(key="cut-8", max=9, unit="bytes"))
    nulled: str | None
    left: str | Unset
    joined: str
    shortened: str | None
    part: str
    last: str | None
    key: str
    pair: str
    any_of: str | None
    shared: str
    again: str
    hidden: str | None = field(metadata=about(sensitive=True))


@mapping(owner="the = team")
def texts(s: Texts) -> Cleaned:
    """Texts become clean ones.

    With | all * decisions <there> are.
    """
    need_one(s.a, s.b, why=WHY)
    name = text(s.a, case="lower", missing=REJECT)
    return to(Cleaned)(
        plain=text(s.c),
        lower=name,
        upper=text(
            s.a,
            case="upper",
            absent=LEAVE,
            null=NULL,
            empty="-",
            max=12,
            unit="utf16",
            over=NULL,
            why=WHY,
        ),
        digits=text(s.b, keep="0-9+\u0300-\u0310", missing=NULL, max=200, over=NULL, why=WHY),
        mail=text(s.b, form=EMAIL, missing="a@b.c", bad="d@e.f", why=WHY),
        also=text(s.c, also=("-", "N/A"), missing=LEAVE, max=150, over=LEAVE, why=WHY),
        cut=text(s.c, max=4, over=TRUNCATE, why=WHY),
        cut16=text(s.c, max=7, unit="utf16", over=TRUNCATE, missing="x", why=WHY),
        cut8=text(s.c, max=9, unit="bytes", over=TRUNCATE, missing="x", why=WHY),
        nulled=text(
            s.b, form=Form("short", r"\w{1,5}"), bad=NULL, missing=NULL, max=5, over=NULL, why=WHY
        ),
        left=text(s.b, form=Form("word", r"[^ ]+"), bad=LEAVE, missing=LEAVE, why=WHY),
        joined=join(", ", s.a, s.b, s.c, missing="nobody"),
        shortened=join("\u0301", s.a, s.c, missing=NULL, max=6, over=TRUNCATE, why=WHY),
        part=split(s.c, "-", 1, missing="none", why=WHY),
        last=split(s.a, " ", -1, missing=NULL, why=WHY),
        key=label("K-{}", s.c),
        pair=label("{}/{}!", s.c, coalesce(s.a, s.b, missing="-")),
        any_of=coalesce(s.d, name, text(s.b, missing=NULL, case="lower"), missing=NULL),
        shared=join("/", name, s.c, missing="-"),
        again=text(text(s.c, case="upper"), max=3, over=TRUNCATE, why=WHY),
        hidden=text(s.d, missing=NULL, max=3, over=TRUNCATE, why=WHY),
    )


@define
class Numbers:
    id: int | str
    n: str | int | float | Decimal | Unset | None
    m: str | int | float | Decimal | None
    of: str | int | Decimal | None
    f: bool | int | str | Unset | None


@define
class Counted:
    id: str
    strict: Decimal
    shortest: Decimal
    nulled: Decimal | None
    left: Decimal | Unset
    default: Decimal
    exact: Decimal
    whole: int
    few: int | None
    near: int | Unset
    other: int
    yes: bool
    maybe: bool | None
    perhaps: bool | Unset
    of_part: Decimal


@mapping
def numbers(s: Numbers) -> Counted:
    """Numbers."""
    return to(Counted)(
        id=label("{}", s.id),
        strict=decimal(s.n, places=2, rounding=HALF_EVEN, missing=REJECT, floats=SHORTEST),
        shortest=decimal(
            s.m, places=0, rounding=HALF_UP, floats=SHORTEST, missing=Decimal(0), bad=Decimal(1),
            within=(-(10**6), 10**6), why=WHY,
        ),
        nulled=decimal(
            s.n, places=3, rounding="ROUND_UP", missing=NULL, bad=NULL, floats=SHORTEST, why=WHY
        ),
        left=decimal(
            s.m, places=1, rounding=HALF_DOWN, missing=LEAVE, bad=LEAVE, floats=SHORTEST,
            within=(Decimal("-1e50"), Decimal("1e50")), why=WHY,
        ),
        default=decimal(
            s.of, places=2, rounding="ROUND_DOWN", missing=Decimal(7), bad=Decimal(8), why=WHY
        ),
        exact=decimal(s.n, places=100, rounding=HALF_EVEN, missing=Decimal(1), floats=SHORTEST),
        whole=integer(s.id),
        few=integer(s.n, missing=NULL, bad=NULL, within=(0, 99), why=WHY),
        near=integer(s.id, missing=LEAVE, bad=LEAVE, why=WHY),
        other=integer(s.id, missing=1, bad=2, within=(-5, 10**30), why=WHY),
        yes=flag(s.f, true=("yes", 1, ""), false=("no", 0), missing=False),
        maybe=flag(s.f, true=("Y",), missing=NULL, bad=NULL, why=WHY),
        perhaps=flag(s.f, missing=LEAVE, bad=LEAVE, why=WHY),
        of_part=decimal(
            split(label("{}", s.id), "-", 0, missing="0", why=WHY), places=1, rounding=HALF_EVEN,
            missing=Decimal(0), bad=Decimal(9), why=WHY,
        ),
    )  # fmt: skip


@define
class Times:
    at: str | datetime | Unset | None
    on: str | date | Unset | None


@define
class Timed:
    strict: datetime
    nulled: datetime | None
    left: datetime | Unset
    default: datetime
    berlin: datetime
    lord_howe: datetime
    strict_day: date
    no_day: date | None
    left_day: date | Unset
    some_day: date
    of_texts: datetime | None


SOME_TIME: Final = datetime(2020, 1, 1, tzinfo=UTC)


@mapping
def times(s: Times) -> Timed:
    """Times."""
    return to(Timed)(
        strict=instant(s.at, zone=REQUIRED, missing=REJECT),
        nulled=instant(s.at, zone="Europe/Berlin", missing=NULL, bad=NULL, why=WHY),
        left=instant(s.at, zone=REQUIRED, missing=LEAVE, bad=LEAVE, why=WHY),
        default=instant(
            s.at, zone="America/New_York", missing=SOME_TIME, bad=SOME_TIME,
            ambiguous=EARLIER, gap=LATER, why=WHY,
        ),
        berlin=instant(s.at, zone="Europe/Berlin", missing=REJECT, ambiguous=LATER, gap=EARLIER),
        lord_howe=instant(
            s.at, zone="Australia/Lord_Howe", missing=SOME_TIME, ambiguous=LATER, gap=LATER
        ),
        strict_day=day(s.on, missing=REJECT),
        no_day=day(s.on, missing=NULL, bad=NULL, why=WHY),
        left_day=day(s.on, missing=LEAVE, bad=LEAVE, why=WHY),
        some_day=day(s.on, missing=date(2020, 1, 1), bad=date(2020, 1, 2), why=WHY),
        of_texts=instant(
            join("T", s.on, split(s.at, "T", 1, missing=NULL, why=WHY), missing=NULL),
            zone=REQUIRED, missing=NULL, bad=NULL, why=WHY,
        ),
    )  # fmt: skip


class Stage(enum.Enum):
    LEAD = "lead"
    WON = "won"
    LOST = "lost"


class Status(enum.Enum):
    ACTIVE = "A"
    ENDED = "E"
    MERGED = "M"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@define
class Options:
    stage: Stage
    tier: Literal[1, 2, "3"] | Unset | None
    word: str | Unset | None
    level: int | str | bool | None


@define
class Chosen:
    strict: Status
    fallback: Status
    nulled: Status | None
    left: Status | Unset
    level: Level
    word: Literal["a", "b"]
    number: int
    of_text: str | None
    always: Status
    never: str | Unset
    null: str | None


@mapping
def options(s: Options) -> Chosen:
    """Options."""
    stages = {
        Stage.LEAD: Status.ACTIVE,
        Stage.WON: narrower(Status.ACTIVE, why=WHY),
        Stage.LOST: wider(Status.ENDED, why=WHY),
    }
    return to(Chosen)(
        strict=code(s.stage, stages, unknown=REJECT, never=[Status.MERGED]),
        fallback=code(
            s.word, {"x": Status.ACTIVE, "": Status.ENDED}, unknown=Status.MERGED,
            missing=Status.ENDED, why=WHY,
        ),
        nulled=code(
            s.tier, {1: Status.ACTIVE, 2: Status.ENDED, "3": Status.ENDED}, unknown=NULL,
            missing=NULL, never=[Status.MERGED], why=WHY,
        ),
        left=code(
            s.word, {"x": Status.ACTIVE, "y": Status.ENDED}, unknown=LEAVE, missing=LEAVE,
            never=[Status.MERGED], why=WHY,
        ),
        level=code(
            s.level, {True: Level.HIGH, 0: Level.LOW, "1": Level.LOW, 2.5: Level.HIGH},
            unknown=Level.LOW, missing=Level.HIGH, why=WHY,
        ),
        word=code(s.word, {"x": "a", "y": "b"}, unknown="b", missing="a", why=WHY),
        number=code(s.stage, {"lead": 1, "won": 2, "lost": 10**40}, unknown=3, why=WHY),
        of_text=code(
            text(s.word, case="lower", missing=NULL), {"x": "X", "y": "Y"}, unknown=NULL,
            missing=NULL, why=WHY,
        ),
        always=constant(Status.ENDED),
        never=constant(UNSET),
        null=constant(None),
    )  # fmt: skip


@define
class Address:
    kind: str
    city: str | None
    rank: int | float | Decimal | str | None
    geo: Geo | Unset | None


@define
class Geo:
    lat: float | None
    lon: float | str | None


@define
class Tag:
    name: str


@define
class Person:
    addresses: list[Address] | Unset | None
    tags: list[Tag] | Unset | None
    geo: Geo | None
    home: Address


@define
class Spot:
    lat: Decimal | None
    lon: Decimal | None


@define
class Place:
    city: str | None
    kind: str
    spot: Spot | Unset | None


@define
class Named:
    name: str


@define
class Whole:
    inner: Place
    x: str


@define
class Lists:
    first: Place
    last: Place | None
    least: Place | None
    only: Place | Unset
    near: Place | None
    sure: Place | None
    tags: list[Named]
    more: list[Named] | None
    left: list[Named] | Unset
    some: list[Place]
    spot: Spot | None
    home: Place
    spot_left: Spot | Unset
    spot_again: Spot | Unset
    whole: Whole
    constant: list[str] = field(metadata=about(key="const"))


@mapping
def spot(s: Geo) -> Spot:
    return to(Spot)(
        lat=decimal(s.lat, places=5, rounding=HALF_EVEN, floats=SHORTEST, missing=NULL),
        lon=decimal(s.lon, places=5, rounding=HALF_EVEN, floats=SHORTEST, missing=NULL),
    )


@mapping
def place(s: Address) -> Place:
    drop(s.rank, why=WHY)
    return to(Place)(
        city=text(s.city, missing=NULL),
        kind=text(s.kind, max=8, over=TRUNCATE, why=WHY),
        spot=nested(s.geo, spot, missing=LEAVE),
    )


@mapping
def tag(s: Tag) -> Named:
    return to(Named)(name=text(picky(s.name)))


@fragment
def beside(s: Any) -> Any:
    return to(Whole)(inner=place(s.home), x=text(s.home.city, missing="?"))


@mapping
def lists(s: Person) -> Lists:
    """Lists and objects."""
    home = nested(s.home.geo, spot, missing=LEAVE)
    return to(Lists)(
        first=one_of(
            s.addresses, place, prefer=lambda a: a.kind == "home", several=FIRST,
            otherwise=FIRST, none=REJECT, why=WHY,
        ),
        last=one_of(
            s.addresses, place, prefer=lambda a: (a.rank > 1) & (a.rank <= 7.5), several=LAST,
            otherwise=NULL, none=NULL, why=WHY,
        ),
        least=one_of(
            s.addresses, place, prefer=lambda a: (a.rank != 2) | (a.geo.lat >= 0.5),
            several=by(lambda a: a.rank), otherwise=by(lambda a: a.geo.lon), none=NULL, why=WHY,
        ),
        only=one_of(
            s.addresses, place, prefer=lambda a: a.city == "Lisboa", several=REJECT,
            otherwise=LEAVE, none=LEAVE, why=WHY,
        ),
        near=one_of(
            s.addresses, place, prefer=is_home, several=by(lambda a: a.geo.lat),
            otherwise=LAST, none=NULL, why=WHY,
        ),
        sure=one_of(
            s.addresses, place, prefer=lambda a: a.kind == "home", several=LAST,
            otherwise=REJECT, none=NULL, why=WHY,
        ),
        tags=each(s.tags, tag, missing=REJECT),
        more=each(s.tags, tag, missing=NULL),
        left=each(s.tags, tag, missing=LEAVE),
        some=each(s.addresses, place, missing=[]),
        spot=nested(s.geo, spot, missing=NULL),
        home=place(s.home),
        spot_left=home,
        spot_again=home,
        whole=beside(s),
        constant=constant(["a", "b"]),
    )  # fmt: skip


OddKeys = TypedDict(
    "OddKeys",
    {
        "e-mail": str,
        "this or that": NotRequired[str | None],
        "[0]": str | int | None,
        'a.b"\\\n{}': str,
        "deep": "Deeper",
        "list": list["Deeper"],
    },
)


class Deeper(TypedDict):
    x: str | None
    more: NotRequired[Deepest]


class Deepest(TypedDict, total=False):
    y: typing.Annotated[str, about(key="why?", meaning="Deep", sensitive=True)]


OddRow = TypedDict(
    "OddRow",
    {
        "e-mail": str,
        "either": NotRequired[str | None],
        "zero": Decimal | None,
        "a.b": str,
        "deep": "Deep",
        "list": list["Deep"],
    },
)


class Deep(TypedDict):
    x: NotRequired[str]
    y: str | None


@mapping
def deep(s: Deeper) -> Deep:
    return {"x": text(s["x"], missing=LEAVE), "y": text(s["more"]["y"], missing=NULL)}


@mapping
def odd_keys(s: OddKeys) -> OddRow:
    return {
        "e-mail": text(s["e-mail"], form=EMAIL, case="lower"),
        "either": text(s["this or that"], missing=LEAVE),
        "zero": decimal(
            s["[0]"], places=1, rounding=HALF_EVEN, missing=NULL, floats=SHORTEST, bad=NULL, why=WHY
        ),
        "a.b": text(s['a.b"\\\n{}'], max=5, unit="bytes", over=TRUNCATE, why=WHY),
        "deep": deep(s["deep"]),
        "list": each(s["list"], deep),
    }


@step(version="1")
def size(record: Any) -> int:
    """Count the fields."""
    return len(record)


@define
class Loose:
    a: Any
    b: Any
    c: str
    n: Any
    t: Any
    day: Any
    geo: Any
    items: list[Tag]


@define
class Strict:
    """Of its own mind."""

    kept: Any
    record: Any
    whole: Any
    shouted: Any = field(validator=attrs.validators.max_len(5))
    second: Any
    picky: Any
    told: str | None
    amount: Decimal | None
    when: datetime | None
    on: date | None
    whole_number: int | None
    flag: bool | None
    option: Any
    key: str
    both: str
    names: list[Named] | None
    spot: Spot | None
    filled: Any
    tied: str | None

    def __attrs_post_init__(self) -> None:
        if self.second == 13:
            raise ValueError(self.second)


@mapping
def steps(s: Loose) -> Strict:
    """Steps yield what no type promises."""
    return to(Strict)(
        kept=keep(s.a),
        record=keep(s),
        whole=same(s),
        shouted=shouted(s.c),
        second=second(s.a, s.b),
        picky=picky(s.a),
        told=text(same(s.b), missing=NULL, max=3, over=TRUNCATE, why=WHY),
        amount=decimal(
            same(s.n), places=2, rounding=HALF_EVEN, missing=NULL, bad=NULL, floats=SHORTEST,
            why=WHY,
        ),
        when=instant(same(s.t), zone="Europe/Berlin", missing=NULL, bad=NULL, why=WHY),
        on=day(same(s.day), missing=NULL, bad=NULL, why=WHY),
        whole_number=integer(same(s.n), missing=NULL, bad=NULL, why=WHY),
        flag=flag(same(s.n), true=("y", 1), false=("n",), missing=NULL, bad=NULL, why=WHY),
        option=code(same(s.b), {"x": 1, 2: "y"}, unknown=NULL, missing=NULL, why=WHY),
        key=label("{}", same(s.c)),
        both=label("{}:{}", size(s), s.c),
        names=each(same(s.items), tag, missing=NULL),
        spot=nested(same(s.geo), spot, missing=NULL),
        filled=coalesce(same(s.a), s.b, missing=NULL),
        tied=join("-", same(s.c), s.b, missing=NULL),
    )  # fmt: skip


@define
class Secrets:
    id: str | int = field(metadata=about(sensitive=True))
    name: str | None = field(metadata=about(sensitive=True))
    pay: str | Decimal | None = field(metadata=about(sensitive=True))
    born: str | date | None = field(metadata=about(sensitive=True))
    grade: Literal["a", "b"] = field(metadata=about(sensitive=True))
    tags: list[Tag] = field(metadata=about(sensitive=True))


@define
class Told:
    id: str = field(validator=attrs.validators.max_len(12))
    name: str | None
    pay: Decimal | None
    born: date | None
    grade: str
    tags: list[Named]
    kept: Any
    stepped: Any


@mapping
def secrets(s: Secrets) -> Told:
    return to(Told)(
        id=label("{}", s.id),
        name=text(s.name, max=6, over=TRUNCATE, missing=NULL, why=WHY),
        pay=decimal(s.pay, places=2, rounding=HALF_EVEN, missing=NULL),
        born=day(s.born, missing=NULL),
        grade=code(s.grade, {"a": "A", "b": "B"}, unknown=REJECT),
        tags=each(s.tags, tag),
        kept=keep(s.pay),
        stepped=shouted(s.name),
    )


@define
class Everything:
    t: str | Unset | None
    n: str | int | float | Decimal | Unset | None
    at: str | datetime | Unset | None
    on: str | date | Unset | None
    c: str | int | Unset | None
    tags: list[Tag] | Unset | None
    geo: Geo | Unset | None


_ASKED: Final[Mapping[str, tuple[Callable[..., Any], Any, Sequence[dict[str, Any]]]]] = {
    "text": (
        lambda s, **more: text(s.t, **more), "a@b.c",
        [
            {"max": 9, "over": REJECT}, {"max": 6, "over": TRUNCATE, "unit": "utf16"},
            {"max": 7, "over": LEAVE, "unit": "bytes"}, {"max": 150, "over": NULL},
            {"form": EMAIL, "bad": REJECT}, {"form": EMAIL, "bad": NULL},
            {"form": EMAIL, "bad": LEAVE}, {"form": EMAIL, "bad": "b@c.d"},
        ],
    ),
    "join": (
        lambda s, **more: join("-", s.t, s.c, **more), "-",
        [
            {"max": 9, "over": REJECT}, {"max": 6, "over": TRUNCATE, "unit": "utf16"},
            {"max": 7, "over": LEAVE, "unit": "bytes"}, {"max": 150, "over": NULL},
        ],
    ),
    "split": (lambda s, **more: split(s.t, "-", 1, **more), "-", [{}]),
    "decimal": (
        lambda s, **more: decimal(s.n, places=2, rounding=HALF_EVEN, **more), Decimal(0),
        [
            {"bad": REJECT, "floats": SHORTEST}, {"bad": NULL, "floats": REJECT},
            {"bad": LEAVE, "within": (-5, 10**30)}, {"bad": Decimal(1)},
        ],
    ),
    "integer": (
        lambda s, **more: integer(s.n, **more), 0,
        [{"bad": REJECT}, {"bad": NULL}, {"bad": LEAVE, "within": (0, 9)}, {"bad": 1}],
    ),
    "flag": (
        lambda s, **more: flag(s.n, true=("1", 1), **more), False,
        [{"bad": REJECT}, {"bad": NULL}, {"bad": LEAVE, "false": ("",)}, {"bad": True}],
    ),
    "instant": (
        lambda s, **more: instant(s.at, zone="Europe/Berlin", **more), SOME_TIME,
        [
            {"bad": REJECT, "ambiguous": REJECT}, {"bad": NULL, "gap": REJECT},
            {"bad": LEAVE, "ambiguous": EARLIER, "gap": EARLIER}, {"bad": SOME_TIME},
        ],
    ),
    "day": (
        lambda s, **more: day(s.on, **more), date(2020, 1, 1),
        [{"bad": REJECT}, {"bad": NULL}, {"bad": LEAVE}, {"bad": date(2020, 1, 2)}],
    ),
    "code": (
        lambda s, **more: code(s.c, {"x": "a", 1: "b"}, **more), "a",
        [{"unknown": REJECT}, {"unknown": NULL}, {"unknown": LEAVE}, {"unknown": "c"}],
    ),
    "each": (lambda s, **more: each(s.tags, tag, **more), [], [{}]),
    "nested": (lambda s, **more: nested(s.geo, spot, **more), NULL, [{}]),
    "coalesce": (lambda s, **more: coalesce(s.t, s.n, s.at, **more), "-", [{}]),
}  # fmt: skip
"""By its kind: a rule, a value of it, and what may be decided beside what is missing."""


def _decisions() -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Yield a field, a rule, and what it decides, until each word of each decision was said."""
    for kind, (rule, value, others) in _ASKED.items():
        missing: list[dict[str, Any]] = [{"missing": word} for word in (REJECT, NULL, LEAVE, value)]
        if kind not in ("join", "split", "nested", "coalesce"):  # where nothing else is decided
            missing += [
                {"absent": REJECT, "null": NULL, "empty": LEAVE},
                {"absent": NULL, "null": LEAVE, "empty": REJECT},
                {"absent": LEAVE, "null": REJECT, "empty": value},
                {"absent": value, "null": value, "empty": NULL},
            ]
        for at in range(max(len(missing), len(others))):
            decided = missing[at % len(missing)] | others[at % len(others)] | {"why": WHY}
            yield f"{kind}_{at}", fragment(rule), decided


DECISIONS: Final = tuple(_decisions())
_TYPES: Final[Mapping[str, Any]] = {"each": list[Named], "nested": Spot}
Decided: Final[Any] = attrs.make_class(
    "Decided",
    {
        name: field(type=_TYPES.get(name.partition("_")[0], Any) | Unset | None)
        for name, _, _ in DECISIONS
    },
)


def _decided(s: Any) -> dict[str, Any]:
    return {name: rule(s, **decided) for name, rule, decided in DECISIONS}


@mapping
def everything(s: Everything) -> Decided:
    """Each rule, with each word of each decision."""
    return to(Decided)(**_decided(s))  # type: ignore[no-any-return]


@frozen
class Case:
    """A mapping, and records that it takes.

    Attributes:
        key: the field that names a record, if one does.
        secret: every field is sensitive, so that no value may be seen anywhere.
    """

    mapper: TypedMapper[Any, Any]
    good: Sequence[Any]
    key: str | None = None
    secret: bool = False


_HOME: Final = {"kind": "home", "city": "Lisboa", "rank": 1, "geo": {"lat": 38.7, "lon": "-9.1"}}
_WORK: Final = {"kind": "work", "city": "Köln", "rank": 2.5, "geo": {"lat": 50.9, "lon": 6.9}}
_FLAG: Final = "\U0001f1e9\U0001f1ea"
CASES: Final = (
    Case(
        texts,
        (
            {"first-name": "Zoë Li", "b": "a@b.cd", "c": "x-yz 12", "d": "secret"},
            {"first-name": "e\u0301a", "b": None, "c": f"ab👩\u200d👩\u200d👧-{_FLAG}", "d": None},
        ),
    ),
    Case(
        numbers,
        (
            {"id": 12, "n": "-12.345", "m": 0.1, "of": "1.999", "f": True},
            {"id": "007", "n": 5, "m": Decimal("1.50"), "of": None, "f": "no"},
        ),
        key="id",
    ),
    Case(
        times,
        (
            {"at": "2026-03-29T02:30:00+01:00", "on": "2026-03-29"},
            {"at": "2026-10-25 02:30:00.5 +0200", "on": "0001-01-01"},
        ),
    ),
    Case(
        options,
        (
            {"stage": "lead", "tier": 1, "word": "x", "level": 1},
            {"stage": "won", "tier": "3", "word": " Y ", "level": True},
        ),
    ),
    Case(
        lists,
        (
            {
                "addresses": [_HOME, _WORK],
                "tags": [{"name": "a"}],
                "geo": {"lat": 1, "lon": None},
                "home": _HOME,
            },
            {"addresses": [_WORK, _HOME, _WORK], "tags": [], "geo": None, "home": _WORK},
        ),
    ),
    Case(
        odd_keys,
        (
            {
                "e-mail": "A@b.cd",
                "this or that": "x",
                "[0]": "1",
                'a.b"\\\n{}': "abcdefg",
                "deep": {"x": None, "more": {"why?": "y"}},
                "list": [{"x": "1", "more": {"why?": "y"}}, {"x": None, "more": {}}],
            },
        ),
    ),
    Case(
        steps,
        (
            {
                "a": "12",
                "b": "x",
                "c": "x",
                "n": "1",
                "t": "2026-01-01T00:00",
                "day": "2026-01-01",
                "geo": None,
                "items": [{"name": "a"}],
            },
            {
                "a": "[]",
                "b": None,
                "c": "abc",
                "n": None,
                "t": None,
                "day": date(2026, 1, 1),
                "geo": {"lat": 1, "lon": 2},
                "items": [],
            },
        ),
    ),
    Case(
        everything,
        (
            {
                "t": "a-b@c.d",
                "n": "1",
                "at": "2026-01-01T00:00Z",
                "on": "2026-01-01",
                "c": "x",
                "tags": [{"name": "a"}],
                "geo": {"lat": 1, "lon": None},
            },
        ),
    ),
    Case(
        secrets,
        (
            {
                "id": 1,
                "name": "Ann",
                "pay": "12",
                "born": "2000-01-01",
                "grade": "a",
                "tags": [{"name": "q"}],
            },
        ),
        key="id",
        secret=True,
    ),
)

# -- Hostile values --------------------------------------------------------------------


class Text(str):
    """Text of a class of its own, as some drivers yield it."""


class Number(int):
    """An integer of a class of its own."""


class Float(float):
    """A float of a class of its own."""


class Listed(list[Any]):
    """A list of a class of its own."""


class Row(dict[Any, Any]):
    """An object of a class of its own."""


class Word(enum.StrEnum):
    X = "x"


def nest(depth: int, value: Any = None, key: str | None = None) -> Any:
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


HOSTILE: Final[Sequence[Callable[[], Any]]] = (
    *(
        (lambda value=value: value)
        for value in (
            None, True, False, 0, 1, -1, 2, 2**31, 2**53 + 1, 2**63, -(2**64), 10**29,
            10**99, 10**100, 10**308, 10**400, 10**1000, 10**4299, 10**4300, -(10**5000), 10**12000,
            0.0, -0.0, 0.1, 1.5, 2.5, -1e-7, 1e16, 1e22, 1e100, 1.7976931348623157e308, 5e-324,
            float("nan"), float("inf"), float("-inf"),
            Decimal("NaN"), Decimal("sNaN"), Decimal("-sNaN123"), Decimal("Infinity"),
            Decimal("-Infinity"), Decimal("-0"), Decimal("0E+999999"), Decimal("0E-999999"),
            Decimal("1E+999999"), Decimal("1E-999999"), Decimal("1E+999999999999999999"),
            Decimal("1E-999999999999999999"), Decimal("9" * 99 + ".5"), Decimal("9" * 5000),
            Decimal("-1.005"), Decimal("0." + "1" * 300),
            "", " ", "\t", "\n", "\x00", "\x0b", "\x1c", "\x85", "\xa0", "\u2028", "\u200b",
            "\u200e", "\u200f \u200e", "\ufeff", "\ufffd", "\uffff", "\ud800", "\udfff",
            "a\ud83d", "\udc41b", "\U0010ffff", "\U000e0041", "\U0001f1e9" * 5, "\u0301", "a\u0301",
            "\u0958", "\u0130", "ß", "ﬀ", "\u1e9e", "e" + "\u0301" * 300, "👩\u200d👩\u200d👧",
            "MÃ¼ller", "=cmd()", "-", "N/A", "<b>|`*", "None", "null", "true", "{}", "%s{0}",
            "1e3", "NaN", "sNaN", "Infinity", "0x10", "1_000", "１２", "١٢", "²", "--1", "+",
            ".5", "5.",
            "1" * 100, "1" * 101, "1" * 1000, "1" * 4301, "9" * 99 + ".9", "0." + "9" * 101,
            "2026-03-29T02:30:00", "2026-10-25T02:30:00", "2026-10-25T02:30", "2026-03-29 02:30Z",
            "2026-02-30", "0000-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
            "9999-12-31T23:59:59", "0001-01-01T00:00:00", "2026-01-01T24:00:00Z",
            "2026-12-31T23:59:60Z", "2026-01-01T00:00:00.1234567890123+23:59:59",
            "2026-01-01T00:00:00+99:99", "2026-W01-1T00:00Z", "20260101T000000Z", "T", "٢٠٢٦-٠١-٠١",
            "2026-01-01T00:00:00\u221201:00", "2026-01-01T00:00:00,5Z", "1-01-01T00:00:00Z",
            "x" * 100, "x" * 101, "é" * 70_000, "y " * 30_000, "x" + " " * 60_000 + "y",
            "x" + "\u2003" * 60_000 + "y\u200b", "\u200e\u200b " * 20_000 + "y",
            "a" + "\u0327\u0301" * 999, "1" + "\x1c" * 60_000 + "2", "\u200d" * 60_000,
            "\ud800" * 300, "a@" + "b." * 200 + "c", "a@b", "lead", "won", "LEAD", "x", "home",
            "Lisboa", MARK, f"{MARK}\x00", f" {MARK}\ud800", f"{MARK}@b.c", MARK * 50,
            f"\u202e{MARK}", b"", b"\xff\x00", MARK.encode(), 1j, ..., NotImplemented, UNSET,
            date.min, date.max, date(2026, 3, 29), datetime.min, datetime.max,
            datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30, fold=1),
            datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=23, minutes=59))),
            datetime.max.replace(tzinfo=timezone(-timedelta(hours=23, minutes=59))),
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=1, microseconds=1))),
            datetime(2026, 1, 1).time(), timedelta.max, uuid.UUID(int=5),
            Text("x"), Text(MARK), Text(""), Text("\ud800"), Text("2026-01-01T00:00:00Z"),
            Text("12"), Number(5), Number(10**5000), Float(1.5), Float("nan"), Word.X, Stage.LEAD,
            Level.LOW, Status, int, len, (), (1,), (MARK,), frozenset({1}), range(3),
            types.MappingProxyType({}),
        )
    ),
    list, dict, lambda: [None], lambda: [[]], lambda: [{}], lambda: {"": ""},
    lambda: [MARK], lambda: {"x": MARK}, lambda: {"kind": "home"}, lambda: {"name": MARK},
    lambda: {1: 2, None: 3, "a": 4, b"b": 5, (1, 2): 6, 1.5: 7, UNSET: 8, float("nan"): 9},
    lambda: {"\ud800": 1, "\x00": 2, "a" * 5000: 3, Text("k"): 4, Word.X: 5, "=": 6, "²": 7},
    lambda: {"class": 1, "self": 2, "Self": 3, "_x": 4, "ﬁ": 5, "fi": 6, "½": {"½": 1}, "a-b": {"c": 1}, "a_b": {"d": 1}},  # noqa: E501
    lambda: {"-": {"x": 1}, "": [{"y": 1}, {"-": [1]}], "int": 1, "int-": 2, "n": 3, "Unset-": 4},
    lambda: set[Any](), lambda: {1, "a"}, lambda: bytearray(b"x"), lambda: memoryview(b"x"),
    lambda: Listed([1]), lambda: Row(x=1), lambda: Row(), lambda: collections.deque([1]),
    lambda: collections.OrderedDict(x=1), lambda: collections.defaultdict(list, x=1),
    lambda: collections.Counter("ab"), lambda: collections.ChainMap({"x": 1}, {"y": 2}),
    lambda: collections.UserDict({"x": 1}), lambda: collections.UserList([1]),
    lambda: collections.UserString("x"), lambda: object(), lambda: [0] * 3000,
    lambda: {str(at): at for at in range(1500)}, lambda: [{"name": str(at)} for at in range(300)],
    lambda: nest(50), lambda: nest(101), lambda: nest(300), lambda: nest(600), lambda: nest(900),
    lambda: nest(50, key="a"), lambda: nest(101, key="a"), lambda: nest(300, key="a"),
    lambda: nest(600, key="a"), lambda: nest(900, key="a"), lambda: nest(5000),
    lambda: nest(600, key="name"), lambda: nest(120, MARK, "tags"),
)  # fmt: skip
"""Each makes its value anew: what mappings hold on to must not meet the next record."""

CLASSES: Final[Sequence[Callable[[Any], Any]]] = (
    Text, Number, Float, Listed, Row, str, int, float, Decimal, bool, list, tuple, set,
    collections.OrderedDict, collections.deque, lambda v: types.MappingProxyType({**v}),
    lambda v: collections.UserDict({**v}), lambda v: collections.ChainMap({**v}, {}),
    lambda v: collections.defaultdict(list, v), lambda v: v.encode(), lambda v: v.encode("utf-16"),
    lambda v: [v], lambda v: (v,), lambda v: {"x": v}, lambda v: -v, lambda v: list(v.items()),
    lambda v: v * 300 if len(v) < 300 else v, lambda v: v.upper(), lambda v: f" {v}\t",
    lambda v: f"\ufeff{v}", lambda v: f"{v}\x00", lambda v: f"{v}\ud800", lambda v: f"{v}\u0301",
    lambda v: {Text(k): e for k, e in v.items()}, datetime.fromisoformat, date.fromisoformat,
    lambda v: v.replace(tzinfo=None), lambda v: v.isoformat(), lambda v: Text(f"{v} {MARK}"),
)  # fmt: skip
"""What may become of a good value."""

HOWS: Final = ("replace", "drop", "beside", "class", "insert")


def places(record: Any) -> list[tuple[Any, Any]]:
    """Return ``(container, key)`` of the first 200 places of a record; the first is itself."""
    found: list[tuple[Any, Any]] = [(None, None)]
    around = [record]
    for value in around:
        if len(found) > 200:
            break
        if type(value) in (dict, list):
            for key in list(value) if type(value) is dict else range(len(value)):
                found.append((value, key))
                around.append(value[key])
    return found


def edited(record: Any, where: int, how: str, number: int, value: Any) -> Any:
    """Return a record with one place changed.

    Args:
        record: is changed itself.
        where: the number of the place.
        how: one of :data:`HOWS`.
        number: which class a value becomes, or where something is inserted.
        value: what is put there.
    """
    known = places(record)
    container, key = known[where % len(known)]
    current = record if container is None else container[key]
    made = value
    if how == "drop" and container is not None:
        del container[key]
        return record
    if how == "class":
        try:
            made = CLASSES[number % len(CLASSES)](current)
        except Exception:  # of a class that takes no such value
            made = value
    elif how == "insert" and isinstance(current, str) and isinstance(value, str):
        at = number % (len(current) + 1)
        made = current[:at] + value + current[at + number // 128 :]
    elif how == "beside" and type(current) is dict:
        current["$beside" if number % 2 else f"{key}"] = value
        return record
    elif how == "beside" and type(current) is list:
        current.insert(number % (len(current) + 1), value)
        return record
    if container is None:
        return made
    container[key] = made
    return record


class Bytes:
    """Reads an input's bytes; behind their end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def take(self, number: int) -> bytes:
        self.at += number
        return self.data[self.at - number : self.at]

    def _unit(self, _: int) -> int:
        return self.byte() | self.byte() << 8

    def value(self, depth: int = 0) -> Any:
        """Return a value that no record should hold, or one that it might."""
        kind = self.byte() % (10 if depth < 3 else 8)
        if kind < 4:
            return HOSTILE[(self.byte() + 256 * (kind % 2)) % len(HOSTILE)]()
        if kind == 4:
            return self.take(self.byte() % 40).decode("utf-8", "surrogateescape")
        if kind == 5:
            return "".join(map(chr, map(self._unit, range(self.byte() % 20))))
        if kind == 6:
            return int.from_bytes(self.take(self.byte() % 12), "big", signed=True)
        if kind == 7:
            return struct.unpack("<d", self.take(8).ljust(8, b"\0"))[0]
        if kind == 8:
            return [self.value(depth + 1) for _ in range(self.byte() % 4)]
        return {
            self.take(self.byte() % 8).decode("utf-8", "surrogateescape"): self.value(depth + 1)
            for _ in range(self.byte() % 4)
        }


SURFACES: Final = ("", "", "", "profile", "md", "csv", "html", "describe")
"""What else is asked of a mapping; the first is nothing."""


def decoded(data: bytes) -> tuple[Case, Any, str]:
    """Return a case, a record and a surface: always the same for the same bytes."""
    read = Bytes(data)
    case = CASES[read.byte() % len(CASES)]
    number = read.byte()
    surface = SURFACES[number % len(SURFACES)]
    record = deepcopy(case.good[number // len(SURFACES) % len(case.good)])
    for _ in range(12):
        if not read:
            break
        how = HOWS[read.byte() % len(HOWS)]
        where, number = read.byte(), read.byte()
        record = edited(record, where, how, number, None if how == "drop" else read.value())
    return case, record, surface


# -- What must hold --------------------------------------------------------------------


def check(case: Case, record: Any, surface: str = "") -> None:
    """Fail unless a mapping answers a record as it promises, whatever the record is.

    Args:
        case: the mapping.
        record: any value.
        surface: ``profile``, a format of the document, ``describe``, or "" for none of them.

    Raises:
        AssertionError: a promise is broken.
        Exception: whatever else than a MappingError comes out.
    """
    mapper, before, started = case.mapper, told(record), time.process_time()
    made = error = None
    try:
        made = mapper(record)
    except MappingError as refused:
        error = refused
    rows = mapper.map_batch([record, deepcopy(case.good[0])])
    row, explained = rows[0], mapper.explain(record)
    assert rows[1] == mapper.map_batch(case.good[:1])[0], "a record changed what its neighbour is"
    people: list[Any] = [explained.provenance] if case.secret else []
    if error is not None:
        assert type(row) is MappingError, "refused alone, and taken in a batch"
        assert error.issues, "refused without an issue"
        assert explained.value is None, "refused, and explained as taken"
        assert issues(error) == issues(row) == issues(explained), "the forms differ in issues"
        lines = [str(error), repr(error), str(row), f"{error.code} {error.path}"]
        for issue in error.issues:
            assert issue.code in (*CODES, UNLUCKY), "a code that is not declared"
            lines += [str(issue), repr(issue), issue.summary, issue.reason]
            people.append(issue.quoted)
        assert not any(MARK in line for line in lines), "an error quotes the record"
        people += [error.detail, *lines]
    else:
        assert type(row) is tuple, "taken alone, and refused in a batch"
        assert explained.value == made, "explained as something else"
        assert explained.issues == (), "taken, and explained with issues"
        assert on_wire(mapper.read.made.kind, made, top=True) == row, "the forms differ in values"
        printed(row)
    people += [repr(explained.decisions), repr(dict(rows.decisions)), repr(mapper)]
    if surface == "profile":
        people += profiled(case, record, error is None)
    elif surface == "describe":
        if is_json(record):
            drafted([record, case.good[0]])
    elif surface:
        both = [record, case.good[0]]
        seen = profile(mapper, both) if before.isascii() else None
        people.append(mapper.document(surface, examples=both, profile=seen))  # type: ignore[arg-type]
    assert before == told(record), "the record was changed"
    assert time.process_time() - started < SLOW, "it takes longer than anybody waits"
    for shown in people:
        if isinstance(shown, str):
            shown.encode()
        assert not case.secret or MARK not in repr(shown), "a sensitive value is shown"


def issues(of: Any) -> list[tuple[str, str, str, str, int]]:
    """Return issues as they compare, the value at fault by its identity."""
    return [(its.field, its.path, its.code, its.reason, id(its.value)) for its in of.issues]


def printed(row: Sequence[Any]) -> None:
    """Fail unless a row has a fingerprint, or a declared reason why not."""
    names = [str(at) for at in range(len(row))]
    (mark,) = Fingerprints(names).of_all([row])
    if isinstance(mark, RecordError):
        assert MARK not in f"{mark} {mark!r}", "an error quotes the record"
        mark = f"{mark} {mark!r} {mark.path}".encode()
    json.dumps(mark.hex())


def profiled(case: Case, record: Any, taken: bool) -> list[str]:
    """Return all forms of a profile of two records."""
    found = profile(case.mapper, [record, case.good[0]], key=case.key)
    assert (found.records, found.mapped) == (2, 1 + taken), "the profile counts otherwise"
    shown = [str(found), repr(found), found.as_json(), found.as_html()]
    json.loads(shown[2])
    return [*shown, *map(found.seen, [*found.fields, *found.paths]), *found.expect()]


def drafted(records: Sequence[Any]) -> None:
    """Fail unless the classes that describe records compile, and hold every key."""
    drafts = describe(records, "Sample")
    drafts.encode()
    assert MARK not in drafts, "a draft quotes a record"
    code_of = compile(drafts, "<draft>", "exec", dont_inherit=True)
    module = sys.modules["drafts"] = types.ModuleType("drafts")  # where types are looked up
    vars(module).update(define=define, field=field, about=about, Unset=Unset)
    exec(code_of, vars(module))
    for name in [name for name in linecache.cache if " drafts." in name]:
        del linecache.cache[name]  # attrs keeps the source of every class
    held(module.Sample, records)


def held(kind: Any, objects: Sequence[Any]) -> None:
    """Fail unless a drafted class, and those within it, have all keys of some objects."""
    objects = [each for each in objects if isinstance(each, dict)]
    fields = shape.__wrapped__(kind).fields.values()  # past its cache, which would keep the class
    assert {its.key for its in fields} == {key for each in objects for key in each}, "a key is lost"
    for its in fields:
        if its.nested is not None:
            inner = [each.get(its.key) for each in objects]
            lists = [each if isinstance(each, list) else [each] for each in inner]
            held(its.nested, [part for each in lists for part in each])


def on_wire(kind: Any, made: Any, *, top: bool = False) -> Any:
    """Return a record of the destination as it goes to a sink."""
    values: dict[str, Any] = {}
    for its in shape(kind).fields.values():
        value = made.get(its.name, UNSET) if isinstance(made, dict) else getattr(made, its.name)
        if its.nested is not None and its.many and isinstance(value, list):
            value = [on_wire(its.nested, element) for element in value]
        elif its.nested is not None and value is not None and value is not UNSET:
            value = on_wire(its.nested, value)
        elif its.options is not None and isinstance(value, enum.Enum) and value is not UNSET:
            value = value.value
        values[its.key] = value
    if top:
        return tuple(values.values())
    optional = {its.key for its in shape(kind).fields.values() if its.optional}
    return {key: value for key, value in values.items() if not (value is UNSET and key in optional)}


def is_json(value: Any) -> bool:
    """Return whether JSON could have been read as a value."""
    around = [value]
    for part in around:
        if type(part) is dict and all(type(key) is str for key in part):
            around += part.values()
        elif type(part) is list:
            around += part
        elif part is not None and type(part) not in (str, int, float, bool):
            return False
    return True


def told(value: Any, depth: int = 0) -> str:
    """Return a record for people: never too deep, too long, or an integer that cannot be told."""
    if isinstance(value, int) and not isinstance(value, bool | enum.Enum) and abs(value) > 10**40:
        return f"<{type(value).__name__} of {value.bit_length()} bits>"
    if depth > 5 and isinstance(value, dict | list | tuple):
        return f"<{type(value).__name__} nested further>"
    if isinstance(value, dict):
        inner = [f"{told(key)}: {told(each, depth + 1)}" for key, each in [*value.items()][:30]]
        shown = f"{{{', '.join(inner)}}}" + " and more" * (len(value) > 30)
    elif isinstance(value, list | tuple):
        shown = f"[{', '.join([told(each, depth + 1) for each in value[:30]])}]"
        shown += " and more" * (len(value) > 30)
    else:
        try:
            shown = repr(value)
        except (RecursionError, ValueError):
            shown = ""
        shown = shown if len(shown) < 200 else f"{shown[:80]}… ({len(shown)} characters)"
    plain = type(value) in (dict, list) or not isinstance(value, dict | list | tuple | str)
    return shown if plain or type(value) is str else f"{type(value).__name__}({shown})"


# -- Failures --------------------------------------------------------------------------


def place_of(error: BaseException) -> str:
    """Return what tells a failure from others: its type, and the last line that is not ours."""
    at, trace = "", error.__traceback__
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if file.startswith("<syncsdk"):
            source = linecache.getline(file, line).strip()
            at = f"{file} {re.sub(r'[0-9]+', '#', source)}"
        elif f"{os.sep}syncsdk{os.sep}" in file:
            at = f"{Path(file).name}:{line} {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    words = f" {error}" if isinstance(error, AssertionError) else ""
    if isinstance(error, SyntaxError):
        words = re.sub(r" ?('.*?'|\(.*?\)|[0-9]+)", "", f" {error.msg}")
    if isinstance(error, SyntaxError | UnicodeError | RecursionError | MemoryError):
        at = re.sub(r":\d+", "", at)
    return f"{type(error).__name__}{words.splitlines()[0] if words else ''} in {at or 'the check'}"


@define
class Failures:
    """The failures of a run: by their place, the smallest input."""

    folder: Path
    smallest: dict[str, str] = field(factory=dict)

    def attempt(self, data: bytes) -> str | None:
        """Return where an input fails, if it does."""
        case, record, surface = decoded(data)
        try:
            check(case, record, surface)
        except Exception as error:
            return place_of(error)
        return None

    def one(self, data: bytes) -> None:
        """Check an input; keep it if it fails at a place where none failed before."""
        where = self.attempt(data)
        if where is None or where in self.smallest:
            return
        self.smallest[where] = ""
        data = self.reduced(data, where)
        self.note(where, *decoded(data), data.hex())

    def note(self, where: str, case: Case, record: Any, surface: str, replay: str = "") -> None:
        """Write down a failure, and tell it."""
        words = f"{case.mapper.name} {surface}\n  {told(record)}"
        words += f"\n  --replay {replay}" if replay else ""
        self.smallest[where] = words
        number = len(list(self.folder.glob("*.txt")))
        (self.folder / f"{number}.txt").write_text(f"{where}\n  {words}\n", "utf-8", "replace")
        print(f"FAILED: {where}\n  {words}".encode("utf-8", "replace").decode(), flush=True)

    def reduced(self, data: bytes, where: str) -> bytes:
        """Return the shortest input found within a minute that still fails there."""
        ends, before = time.monotonic() + 60, b""

        def fails(other: bytes) -> bool:
            return time.monotonic() < ends and self.attempt(other) == where

        while before != data:
            before = data
            for size in (200, 100, 50, 25, 12, *range(8, 0, -1)):
                at = 0
                while at < len(data):
                    shorter = data[:at] + data[at + size :]
                    if fails(shorter):
                        data = shorter
                    else:
                        at += 1 if size < 9 else size
            for at in range(len(data)):
                plainer = data[:at] + b"\0" + data[at + 1 :]
                data = plainer if fails(plainer) else data
        return data


# -- Guided by coverage ----------------------------------------------------------------

_CHILD: Final = """
import sys, atheris
with atheris.instrument_imports(include=["syncsdk.mapping", "syncsdk.values"]):
    import syncsdk.mapping.document
    from tests import fuzzing
fuzzing.guided(sys.argv)
"""


def guided(arguments: list[str]) -> None:
    """Run libFuzzer until its time is over; never return.

    Args:
        arguments: the folder for failures, and what libFuzzer takes.
    """
    import atheris

    from syncsdk.mapping import compiler

    # What is generated is instrumented as well.
    compiler.__dict__["compile"] = lambda *source: atheris.patch_code(compile(*source), True)
    failures = Failures(Path(arguments.pop(1)))
    atheris.Setup(arguments, failures.one)
    atheris.Fuzz()


def guide(minutes: float, number: int, folder: Path, corpus: Path) -> bool:
    """Let atheris look for failures in a process of its own, and tell what it did.

    Returns:
        Whether it went on to its end; not if it ran out of memory, or a minute with one input.
    """
    for at in range(len(CASES)):
        for surface in range(len(SURFACES) * len(CASES[at].good)):
            (corpus / f"good-{at}-{surface}").write_bytes(bytes([at, surface]))
    command = [sys.executable, "-c", _CHILD, str(folder), str(corpus), f"-seed={number}"]
    command += [f"-max_total_time={minutes * 60:.0f}", "-max_len=400", "-len_control=0"]
    command += ["-timeout=60", "-rss_limit_mb=3000", "-print_final_stats=1"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    last, seen = 0.0, ""
    for raw in child.stdout:
        line = raw.decode("utf-8", "replace").rstrip()
        seen = line if " cov: " in line else seen
        counted = re.match(r"#\d+\s+(NEW|REDUCE|pulse|RELOAD)", line)
        if counted is None or time.monotonic() - last > 30:
            last = time.monotonic() if counted else last
            print(line, flush=True)
    print(f"guided: ended with {child.wait()}; {seen}", flush=True)
    return child.returncode == 0


# -- Guided by hypothesis --------------------------------------------------------------


def values() -> st.SearchStrategy[Any]:
    """Return what gives values as parsers yield them, and others."""
    keys = st.text(max_size=4) | st.sampled_from(["x", "name", "kind", "lat", "geo", "city", "y"])
    hostile = st.integers(0, len(HOSTILE) - 1).map(lambda at: HOSTILE[at]())
    marked = st.sampled_from([MARK, f"{MARK}\x00", f"{MARK}@b.c", (MARK,), Text(MARK)])
    scalars = (
        st.one_of(hostile, hostile, marked)
        | st.text(st.characters(), max_size=20)
        | st.integers()
        | st.floats()
        | st.decimals()
        | st.datetimes(timezones=st.none() | st.timezones())
        | st.dates()
        | st.binary(max_size=5)
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(keys, inner, max_size=4)
            | st.tuples(inner)
        ),
        max_leaves=8,
    )


def inputs() -> st.SearchStrategy[tuple[Case, Any, str]]:
    """Return what gives cases with a record and a surface."""
    edits = st.lists(
        st.tuples(
            st.integers(0, 60), st.sampled_from(HOWS), st.integers(0, 255), st.deferred(values)
        ),
        max_size=4,
    )

    def made(chosen: tuple[int, int, str, list[Any]]) -> tuple[Case, Any, str]:
        at, number, surface, changes = chosen
        case = CASES[at]
        record = deepcopy(case.good[number % len(case.good)])
        for change in changes:
            record = edited(record, *change)
        return case, record, surface

    numbers = st.integers(0, len(CASES) - 1), st.integers(0, 2)
    return st.tuples(*numbers, st.sampled_from(SURFACES), edits).map(made)


def given_by_hypothesis(minutes: float, number: int, failures: Failures) -> int:
    """Check what hypothesis comes up with; return how many inputs that were."""
    ends, told_at, tried = time.monotonic() + minutes * 60, time.monotonic(), 0
    failing: dict[str, tuple[Case, Any, str]] = {}

    def hold(chosen: tuple[Case, Any, str]) -> None:
        nonlocal tried
        tried += 1
        try:
            check(*chosen)
        except Exception as error:
            where = place_of(error)
            if where in failures.smallest or time.monotonic() > ends + 60:
                return
            failing[where] = chosen  # the last of a round is the smallest
            raise

    while time.monotonic() < ends:
        number += 1
        try:
            seed(number)(settings(**_SETTINGS)(given(inputs())(hold)))()
        except Exception:
            if not failing:
                raise
        for where, (case, record, surface) in failing.items():
            failures.note(where, case, record, surface)
        failing.clear()
        if time.monotonic() - told_at > 30:
            told_at = time.monotonic()
            print(f"hypothesis: {tried:,} inputs", flush=True)
    return tried


_SETTINGS: Final[dict[str, Any]] = {
    "max_examples": 400,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
}
"""Of a round."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", help="check one input, given as hexadecimal digits")
    parser.add_argument("--folder", type=Path, help="keep the corpus and the failures there")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        case, record, surface = decoded(bytes.fromhex(chosen.replay))
        print(case.mapper.name, surface, told(record))
        check(case, record, surface)
        return 0
    base = chosen.folder or Path(tempfile.mkdtemp(prefix="fuzzing-"))
    corpus, folder = base / "corpus", base / "failures"
    corpus.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    guided_for = chosen.minutes * 7 / 8
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not there: pip install atheris (CPython on Linux or macOS)")
        guided_for = 0.0
    ended = guided_for == 0 or guide(guided_for, chosen.seed, folder, corpus)
    failures = Failures(folder)
    for file in folder.glob("*.txt"):
        failures.smallest[file.read_text().splitlines()[0]] = ""
    started = time.monotonic()
    tried = given_by_hypothesis(chosen.minutes - guided_for, chosen.seed, failures)
    print(f"hypothesis: {tried:,} inputs, {tried / (time.monotonic() - started):.0f} a second")
    found = sorted(folder.glob("*.txt"))
    print(f"{len(found)} failures, {len(list(corpus.iterdir())):,} inputs kept, in {base}")
    for file in found:
        print(file.read_text(), end="")
    return 1 if found or not ended else 0


if __name__ == "__main__":
    sys.exit(main())
