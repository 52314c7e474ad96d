"""What the business signs: the words of each rule, held against what the rule does."""

from __future__ import annotations

import csv
import enum
import io
import os
import re
import subprocess
import sys
from datetime import date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import attrs
import pytest
from attrs import define, field
from markdown_it import MarkdownIt

from syncsdk.errors import ConfigurationError, MappingError
from syncsdk.mapping import (
    EARLIER,
    EMAIL,
    FIRST,
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
from syncsdk.mapping.document import Line, Sheet, digest, document, rows
from syncsdk.mapping.words import shown
from syncsdk.values import UNSET, Unset

REFUSED = "the record is refused"
EMPTY = "the field is made empty"
LEFT = "left as it is in the destination"
STEP = "left to the step"
OTHER = f"\nof another type: {REFUSED}"
NOT = "an option that is not in the table"
WANTED = "of several that are wanted: "
NONE = "\nwhere none is wanted: "
FIRST_OF = "the first in the source's order"
LAST_OF = "the last in the source's order"


@define
class One:
    x: Any


@define
class Two:
    a: Any
    b: Any


@define
class Address:
    kind: str
    city: str
    since: str


@define
class Listed:
    x: list[Address] | Unset | None


@define
class Home:
    x: Address | Unset | None


@define
class Value:
    y: Any | Unset


@define
class Place:
    city: str


@define
class Housed:
    y: Place | Unset | None


@define
class Places:
    y: list[Place] | Unset | None


@mapping
def place(a: Address) -> Place:
    drop(a.kind, a.since, why="only the city")
    return to(Place)(city=text(a.city))


@step(version="7")
def tidied(value: Any) -> Any:
    """Do what the step does."""
    return value


@step(version="1")
def wanted(value: Any) -> bool:
    """It is wanted."""
    return bool(value.get("kind"))


def mapped(rule: Any, source: type = One, result: type = Value) -> TypedMapper[Any, Any]:
    """Return a mapping of one field by a rule of the source."""
    asked = fragment(rule)

    def m(s: Any) -> Any:
        return to(result)(y=asked(s))

    m.__annotations__ = {"s": source, "return": result}
    return mapping(m)


def line(rule: Any, source: type = One, result: type = Value) -> Line:
    return rows(mapped(rule, source, result)).lines[0]


# -- Words are what happens ------------------------------------------------------------


def answered(decision: Any, **more: Any) -> list[Any]:
    """Return every rule that takes ``missing=``, with one decision."""
    return [
        lambda s: text(s.x, missing=decision, **more),
        lambda s: text(s.x, absent=decision, null=REJECT, empty=NULL),
        lambda s: text(s.x, absent=NULL, null=decision, empty=REJECT),
        lambda s: text(s.x, absent=REJECT, null=NULL, empty=decision),
        lambda s: split(s.x, "-", 0, missing=decision, why="w"),
        lambda s: decimal(s.x, places=2, rounding=HALF_EVEN, missing=decision),
        lambda s: integer(s.x, missing=decision),
        lambda s: flag(s.x, missing=decision),
        lambda s: instant(s.x, zone=REQUIRED, missing=decision),
        lambda s: day(s.x, missing=decision),
        lambda s: code(s.x, {"a": "b"}, unknown=REJECT, missing=decision),
        lambda s: join(" ", s.x, missing=decision),
        lambda s: coalesce(s.x, missing=decision),
        lambda s: text(coalesce(s.x, missing=decision), missing=NULL),
        lambda s: text(coalesce(s.x, missing=decision), missing=LEAVE),
        lambda s: text(coalesce(s.x, missing=LEAVE), missing=decision),
        lambda s: text(text(s.x, missing=decision), missing=REJECT),
        lambda s: text(text(s.x, missing=LEAVE), absent=decision, null=NULL, empty=REJECT),
        lambda s: text(text(s.x, missing=NULL), absent=LEAVE, null=decision, empty=REJECT),
        lambda s: join(" ", text(s.x, missing=decision), missing=REJECT),
        lambda s: join(" ", text(s.x, missing=LEAVE), missing=decision),
        lambda s: coalesce(text(s.x, missing=decision), missing=NULL),
        lambda s: keep(text(s.x, missing=decision)),
    ]


PLAIN = [
    lambda s: text(s.x),
    lambda s: decimal(s.x, places=0, rounding=HALF_UP),
    lambda s: integer(s.x),
    lambda s: flag(s.x),
    lambda s: instant(s.x, zone=REQUIRED),
    lambda s: day(s.x),
    lambda s: label("{}!", s.x),
    lambda s: label("{}!", text(s.x, missing=NULL)),
    lambda s: keep(s.x),
]
DECIDED = [rule for answer in (REJECT, NULL, LEAVE, "-") for rule in answered(answer)]


def housed(decision: Any) -> list[tuple[Any, type, type]]:
    """Return every rule of objects and lists, with one decision."""
    return [
        (lambda s: nested(s.x, place, missing=decision), Home, Housed),
        (lambda s: each(s.x, place, missing=decision), Listed, Places),
        (
            lambda s: one_of(
                s.x,
                place,
                prefer=lambda a: a.kind == "b",
                several=FIRST,
                otherwise=LAST,
                none=decision,
                why="w",
            ),
            Listed,
            Housed,
        ),
    ]


CASES: list[tuple[Any, type, type]] = [
    *((rule, One, Value) for rule in [*PLAIN, *DECIDED]),
    *(case for decision in (REJECT, NULL, LEAVE) for case in housed(decision)),
]


def happens(mapper: TypedMapper[Any, Any], record: Any) -> str:
    """Return what becomes of a record, in the document's words."""
    try:
        made = mapper(record).y
    except MappingError:
        return REFUSED
    if made is None:
        return EMPTY
    return LEFT if made is UNSET else f"set to “{made}”"


@pytest.mark.parametrize("at", range(len(CASES)))
@pytest.mark.parametrize(("question", "value"), [("absent", UNSET), ("null", None), ("blank", " ")])
def test_what_is_said_of_missing_values_is_what_happens(at: int, question: str, value: Any) -> None:
    rule, source, result = CASES[at]
    mapper = mapped(rule, source, result)
    said = getattr(rows(mapper).lines[0], question)
    if question == "blank":
        value = [] if source is Listed else value
        said = said or rows(mapper).lines[0].bad_or_unknown
    does = happens(mapper, {} if value is UNSET else {"x": value})

    # Where several steps speak, the first that meets the value is the one that decides it.
    said = said.split("\n")[0].removeprefix("in step 1: ").split("if nothing is there: ")[-1]
    if said.startswith("taken for "):
        said = said.replace("taken for ", "set to ")
    if said in ("taken as it is", "the list stays empty", ""):
        assert does == (EMPTY if value is None else f"set to “{value}”")
    else:
        assert does == said


@pytest.mark.parametrize(
    ("rule", "question", "value", "said"),
    [
        (lambda s: text(s.x), "bad_or_unknown", 5, REFUSED),
        (lambda s: text(s.x, bad=NULL, why="w"), "bad_or_unknown", "a\x00", REFUSED),
        (
            lambda s: text(s.x, form=EMAIL, bad=NULL, why="w"),
            "bad_or_unknown",
            "a",
            f"not an e-mail address: {EMPTY}{OTHER}",
        ),
        (
            lambda s: text(s.x, form=EMAIL, bad="a@b.de", why="w"),
            "bad_or_unknown",
            "a",
            f"not an e-mail address: set to “a@b.de”{OTHER}",
        ),
        (lambda s: text(s.x, max=3, over=REJECT), "too_long", "abcd", REFUSED),
        (lambda s: text(s.x, max=3, over=NULL, why="w"), "too_long", "abcd", EMPTY),
        (lambda s: text(s.x, max=3, over=LEAVE, why="w"), "too_long", "abcd", LEFT),
        (
            lambda s: join("-", s.x, missing=NULL, max=3, over=NULL, why="w"),
            "too_long",
            "abcd",
            EMPTY,
        ),
        (
            lambda s: decimal(s.x, places=2, rounding=HALF_EVEN, bad=LEAVE, why="w"),
            "bad_or_unknown",
            "x",
            f"not such a number: {LEFT}{OTHER}",
        ),
        (
            lambda s: decimal(s.x, places=2, rounding=HALF_EVEN, within=(0, 9), bad=NULL, why="w"),
            "bad_or_unknown",
            "10",
            f"not such a number: {EMPTY}{OTHER}",
        ),
        (
            lambda s: integer(s.x, bad=NULL, why="w"),
            "bad_or_unknown",
            "x",
            f"not such a number: {EMPTY}{OTHER}",
        ),
        (
            lambda s: flag(s.x, bad=NULL, why="w"),
            "bad_or_unknown",
            [],
            f"neither true nor false: {EMPTY}",
        ),
        (
            lambda s: day(s.x, bad=NULL, why="w"),
            "bad_or_unknown",
            "2026-02-30",
            f"not such a day: {EMPTY}{OTHER}",
        ),
        (
            lambda s: instant(s.x, zone=REQUIRED, bad=NULL, why="w"),
            "bad_or_unknown",
            "2026-03-01T00:00",
            f"not such an instant: {EMPTY}{OTHER}",
        ),
        (
            lambda s: code(s.x, {"a": "b"}, unknown=LEAVE, why="w"),
            "bad_or_unknown",
            "c",
            f"{NOT}: {LEFT}{OTHER}",
        ),
        (
            lambda s: code(s.x, {"a": "b"}, unknown="z", why="w"),
            "bad_or_unknown",
            "c",
            f"{NOT}: set to “z”{OTHER}",
        ),
        (
            lambda s: code(text(s.x), {"a": "b"}, unknown=NULL, why="w"),
            "bad_or_unknown",
            "c",
            f"in step 1: {REFUSED}\nin step 2: {NOT}: {EMPTY}{OTHER}",
        ),
        (lambda s: label("{}", s.x), "bad_or_unknown", 1.5, REFUSED),
    ],
)
def test_what_is_said_of_values_that_do_not_fit_is_what_happens(
    rule: Any, question: str, value: Any, said: str
) -> None:
    assert getattr(line(rule), question) == said

    first = said.split("in step 2: ")[-1].split("\n")[0].split(": ")[-1]
    assert happens(mapped(rule), {"x": value}) == first


def test_what_is_passed_over_says_what_happens_if_nothing_is_left() -> None:
    said = f"passed over; if nothing is there: {REFUSED}"

    assert line(lambda s: join(" ", s.a, s.b, missing=REJECT), Two).absent == said
    assert line(lambda s: coalesce(s.a, s.b, missing=REJECT), Two).blank == said
    for rule in (
        lambda s: join(" ", text(s.x, missing=LEAVE), missing=REJECT),
        lambda s: coalesce(text(s.x, missing=NULL), missing=REJECT),
    ):
        assert line(rule).absent == line(rule).null == said


def test_values_of_another_type_are_refused_whatever_is_decided_for_bad_ones() -> None:
    for rule in (
        lambda s: text(s.x, form=EMAIL, bad=NULL, why="w"),
        lambda s: decimal(s.x, places=2, rounding=HALF_EVEN, bad=LEAVE, why="w"),
        lambda s: integer(s.x, bad=NULL, why="w"),
        lambda s: day(s.x, bad=NULL, why="w"),
        lambda s: instant(s.x, zone=REQUIRED, bad=NULL, why="w"),
        lambda s: code(s.x, {"a": "b"}, unknown=LEAVE, why="w"),
    ):
        assert line(rule).bad_or_unknown.endswith(f"of another type: {REFUSED}")
        assert happens(mapped(rule), {"x": []}) == REFUSED


@pytest.mark.parametrize(
    ("several", "otherwise", "said", "two", "none"),
    [
        (FIRST, LAST, f"{WANTED}{FIRST_OF}{NONE}{LAST_OF}", "One", "Three"),
        (LAST, FIRST, f"{WANTED}{LAST_OF}{NONE}{FIRST_OF}", "Two", "One"),
        (
            by(lambda a: a.since),
            NULL,
            f"{WANTED}the one with the smallest since{NONE}{EMPTY}",
            "Two",
            None,
        ),
        (REJECT, LEAVE, f"{WANTED}{REFUSED}{NONE}{LEFT}", REFUSED, UNSET),
    ],
)
def test_what_is_said_of_several_is_what_happens(
    several: Any, otherwise: Any, said: str, two: Any, none: Any
) -> None:
    def taken(kind: str) -> Any:
        addresses = [
            {"kind": "b", "city": "One", "since": "2021"},
            {"kind": "b", "city": "Two", "since": "2020"},
            {"kind": "c", "city": "Three", "since": "2019"},
        ]

        def asked(s: Any) -> Any:
            return one_of(
                s.x,
                place,
                prefer=lambda a: a.kind == kind,
                several=several,
                otherwise=otherwise,
                none=NULL,
                why="w",
            )

        mapper = mapped(asked, Listed, Housed)
        assert rows(mapper).lines[0].several == said
        try:
            made = mapper({"x": addresses}).y
        except MappingError:
            return REFUSED
        return made.city if isinstance(made, Place) else made

    assert taken("b") == two
    assert taken("z") == none


# -- Words -----------------------------------------------------------------------------

LIKE = "A decimal number, rounded to 2 decimal places"
BERLIN = (
    "An instant, in UTC. Without an offset it is a time in Europe/Berlin. One that the clocks "
    "there show twice is"
)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda s: text(s.x), "Text."),
        (
            lambda s: text(
                s.x, keep="0-9+", case="lower", form=EMAIL, max=9, over=REJECT, also=("N/A", "-")
            ),
            "Text, in lower case, only the characters 0-9+, an e-mail address, at most 9 "
            "characters. “N/A” or “-” counts as blank.",
        ),
        (lambda s: text(s.x, max=9, unit="bytes", over=REJECT), "Text, at most 9 bytes."),
        (lambda s: text(s.x, max=9, unit="utf16", over=REJECT), "Text, at most 9 UTF-16 units."),
        (lambda s: join(", ", s.x, missing=NULL), "The texts that are there, joined by “, ”."),
        (
            lambda s: split(s.x, "-", 1, missing=NULL, why="w"),
            "Text, parted at “-”; of the parts number 2, blank if there is none.",
        ),
        (
            lambda s: split(s.x, "-", -1, missing=NULL, why="w"),
            "Text, parted at “-”; of the parts number 1 from the end, blank if there is none.",
        ),
        (lambda s: label("CRM-{}/{0}", s.x), "“CRM-{x}/{0}”."),
        (
            lambda s: decimal(s.x, places=2, rounding=HALF_EVEN),
            f"{LIKE} (halves to the even digit). Floats are refused.",
        ),
        (
            lambda s: decimal(
                s.x, places=2, rounding=HALF_UP, floats=SHORTEST, within=(0, 1_000_000)
            ),
            f"{LIKE} (halves away from zero), from 0 to 1,000,000. Floats are read as their "
            "shortest decimal.",
        ),
        (
            lambda s: decimal(s.x, places=2, rounding=HALF_UP, floats=REJECT),
            f"{LIKE} (halves away from zero). Floats are refused.",
        ),
        (lambda s: integer(s.x, within=(1, 9)), "A whole number, from 1 to 9."),
        (
            lambda s: flag(s.x, true=("yes", 1), false=("no",)),
            "True or false. “yes” or 1 is true. “no” is false.",
        ),
        (
            lambda s: instant(s.x, zone=REQUIRED),
            "An instant, in UTC. It must say its offset from UTC.",
        ),
        (
            lambda s: instant(s.x, zone="Europe/Berlin", ambiguous=EARLIER, gap=LATER),
            f"{BERLIN} the earlier, one that they skip the later.",
        ),
        (lambda s: instant(s.x, zone="Europe/Berlin"), f"{BERLIN} bad, one that they skip bad."),
        (lambda s: day(s.x), "A day, written YYYY-MM-DD."),
        (lambda s: code(s.x, {"a": "b"}, unknown=REJECT), "An option, translated by its table."),
        (lambda s: coalesce(s.x, missing=NULL), "The first that is there."),
        (lambda s: keep(s.x), "Taken as it is, unchecked."),
        (lambda s: tidied(s.x), "Do what the step does (step, version 7)."),
        (
            lambda s: text(tidied(s.x), missing=NULL),
            "1. $.x: Do what the step does (step, version 7).\n2. Text.",
        ),
    ],
)
def test_each_rule_has_its_words(rule: Any, words: str) -> None:
    assert line(rule).rule == words


def test_a_constant_is_told() -> None:
    @define
    class Nothing:
        pass

    assert line(lambda s: constant(datetime(2026, 1, 2)), Nothing).rule == (
        "Always 2026-01-02T00:00:00."
    )
    assert line(lambda s: constant("crm"), Nothing) == Line(
        number="1",
        destination_field="y",
        meaning="",
        type="anything, may be empty, may be left as it is",
        source_path="",
        source_meaning="",
        rule="Always “crm”.",
        rule_id=line(lambda s: constant("crm"), Nothing).rule_id,
    )


@pytest.mark.parametrize(
    ("prefer", "words"),
    [
        (lambda a: a.kind == "b", "kind is “b”"),
        (
            lambda a: (a.kind != "b") & (a.since >= "2020"),
            "kind is not “b” and since is at least “2020”",
        ),
        (
            lambda a: ((a.kind < "b") | (a.kind > "c")) & (a.since <= "d"),
            "(kind is below “b” or kind is above “c”) and since is at most “d”",
        ),
        (lambda a: a.city == None, "city is null"),  # noqa: E711
        (wanted, "this holds: It is wanted"),
    ],
)
def test_the_question_for_the_one_of_several_is_told(prefer: Any, words: str) -> None:
    def rule(s: Any) -> Any:
        return one_of(s.x, place, prefer=prefer, several=FIRST, otherwise=FIRST, none=NULL, why="w")

    told = line(rule, Listed, Housed).rule

    assert told == f"One element becomes the Place; wanted is one of which {words}."


RELATED = {"a": "z", "b": "z", "c": narrower("y", why="v"), "d": wider("x", why="v")}


@pytest.mark.parametrize(
    ("rule", "lost"),
    [
        (lambda s: text(s.x, max=40, over=REJECT), ""),
        (lambda s: text(s.x, max=40, over=TRUNCATE, why="w"), "what goes beyond 40 characters"),
        (lambda s: text(s.x, max=40, over=NULL, why="w"), "text beyond 40 characters"),
        (
            lambda s: text(s.x, case="upper", keep="0-9"),
            "upper and lower case; all characters but 0-9",
        ),
        (lambda s: text(s.x, form=EMAIL, bad=NULL, why="w"), "what is not an e-mail address"),
        (lambda s: text(s.x, bad=NULL, why="w"), ""),
        (lambda s: integer(s.x, bad=0, why="w"), "what is not such a number"),
        (lambda s: flag(s.x, bad=False, why="w"), "what is neither true nor false"),
        (lambda s: decimal(s.x, places=2, rounding=HALF_UP), "digits beyond 2 decimal places"),
        (lambda s: split(s.x, "-", 0, missing=NULL, why="w"), "all other parts"),
        (lambda s: coalesce(s.x, missing=NULL), "all after the first"),
        (lambda s: code(s.x, {"a": "b"}, unknown="b", why="w"), f"what is {NOT}"),
        (
            lambda s: code(s.x, RELATED, unknown=REJECT),
            "the exact meaning of “c”; the exact meaning of “d”; the difference between “a” and "
            "“b”",
        ),
        (lambda s: keep(s.x), ""),
    ],
)
def test_what_is_lost_is_told(rule: Any, lost: str) -> None:
    assert line(rule).lost == lost


def test_whole_numbers_lose_no_digits() -> None:
    @define
    class Count:
        x: int

    assert line(lambda s: decimal(s.x, places=2, rounding=HALF_UP), Count).lost == ""


def test_a_step_is_left_what_it_can_take() -> None:
    @define
    class Some:
        x: str
        y: str | None
        z: str | Unset

    glued = step(version="1")(joined)
    two = line(lambda s: glued(s.x, s.y, s.z), Some)

    assert two.absent == f"{REFUSED}, unless the step can do without"
    assert two.null == f"{REFUSED}, unless the step can do without"
    assert two.blank == STEP
    assert two.bad_or_unknown == f"{STEP}; if it fails, {REFUSED}"


def test_a_step_on_the_whole_record_is_told() -> None:
    its = line(lambda s: tidied(s))

    assert (its.source_path, its.lost) == ("$", "")
    assert its.source_meaning == "the whole One"


def test_odd_characters_are_shown_alike_by_every_python() -> None:
    newer = "\U0001fae8"  # of Unicode 15, which Python 3.11 does not know

    assert line(lambda s: text(s.x, also=(newer, "\u200b", "\xa0"))).rule == (
        f"Text. “{newer}” or “\\u200b” or “\\xa0” counts as blank."
    )


def test_steps_that_answer_the_same_are_told_together() -> None:
    two = line(
        lambda s: join("-", text(s.x, missing=NULL), text(s.x, missing=NULL), missing=REJECT)
    )

    over = f"passed over; if nothing is there: {REFUSED}"
    assert two.blank == over
    three = line(
        lambda s: join(
            "-", text(s.x, missing=NULL), text(s.x, missing="n"), text(s.x, missing=NULL),
            missing=REJECT,
        )
    )  # fmt: skip
    assert three.null == f"in steps 1, 3: {over}\nin step 2: taken for “n”"


def joined(*values: Any) -> str:
    """Join them."""
    return "".join(value or "" for value in values)


def test_what_a_step_looks_things_up_in_is_a_table() -> None:
    spelt = step(version="1", tables={"Spellings": {"a": Erp.ACTIVE, "b": None}})(joined)

    (table,) = rows(mapped(lambda s: spelt(s.x))).tables

    assert table.title == "Spellings"
    assert table.note == "Used by test_mapping_document.joined."
    assert table.rows == (("“a”", "active"), ("“b”", "null"))


# -- The whole document ----------------------------------------------------------------


class Crm(enum.Enum):
    LEAD = "lead"
    WON = "won"
    LOST = "X"


class Erp(enum.Enum):
    PROSPECT = "P"
    ACTIVE = "active"
    ARCHIVED = "Z"


@define
class Where:
    street: str | None = field(metadata=about(meaning="street | number"))
    city: str = field(metadata=about(sensitive=True))
    kind: str


@define
class Contact:
    """A person in the CRM."""

    id: int
    name: str | None = field(metadata=about(key="fullName", meaning="first and last name"))
    email: str | None = field(metadata=about(meaning="where the letter goes", sensitive=True))
    phone: str | Unset | None
    status: Crm
    addresses: list[Where] | None
    home: Where | None
    tags: list[str]


@define
class To:
    street: str | None
    city: str


@define
class Name:
    shown: str
    key: str = field(metadata=about(sensitive=True))


class Partner(TypedDict):
    """A business partner of the ERP."""

    id: str
    email: str
    status: Erp
    billing: To | None
    all: list[To]
    home: To | None
    name: Name
    note: NotRequired[str]


@mapping
def address(a: Where) -> To:
    drop(a.kind, why="it chooses the address")
    return to(To)(
        street=text(a.street, max=9, over=TRUNCATE, missing=NULL, why="9 fit"),
        city=text(a.city),
    )


EVIL = "<script>alert('x')</script> | a\nb & `c` *d* =1+1"


def partner(why: str = "no home", owner: str = "Sales", **changed: Any) -> TypedMapper[Any, Any]:
    rules = {"max": 40, **changed}

    @mapping(owner=owner)
    def contact_to_partner(s: Contact) -> Partner:
        """A contact becomes a partner.

        Every night,
        one way.
        """
        drop(s.tags, why=why)
        need_one(s.email, s.phone, why="the ERP must reach it")
        return {
            "id": label("C-{}", s.id),
            "email": text(s.email, case="lower", form=EMAIL, missing=REJECT, why="a login"),
            "status": code(
                s.status,
                {
                    Crm.LEAD: Erp.PROSPECT,
                    Crm.WON: Erp.ACTIVE,
                    Crm.LOST: narrower(Erp.PROSPECT, why="nobody asks again"),
                },
                unknown=REJECT,
                never=[Erp.ARCHIVED],
            ),
            "billing": one_of(
                s.addresses,
                address,
                prefer=lambda a: a.kind == "billing",
                several=FIRST,
                otherwise=NULL,
                none=NULL,
                why="one bill",
            ),
            "all": each(s.addresses, address, missing=[]),
            "home": nested(s.home, address, missing=NULL),
            "name": to(Name)(
                shown=text(s.name, max=rules["max"], over=TRUNCATE, missing="nobody", why=why),
                key=text(s.name, missing="-"),
            ),
            "note": coalesce(s.phone, s.name, missing=LEAVE),
        }

    return contact_to_partner  # type: ignore[return-value]


FIELDS = [
    "id",
    "email",
    "status",
    "billing",
    "billing.street",
    "billing.city",
    "all",
    "all.street",
    "all.city",
    "home",
    "home.street",
    "home.city",
    "name",
    "name.shown",
    "name.key",
    "note",
]
GOOD = {
    "id": 7,
    "fullName": "Ada Lovelace",
    "email": "Ada@Secret.org",
    "status": "X",
    "addresses": [
        {"street": "Long Street 12", "city": "Secretville", "kind": "billing"},
        {"street": None, "city": "Hiddenham", "kind": "other"},
    ],
    "home": None,
    "tags": ["a"],
}
BAD = GOOD | {"email": "nobody-secret", "status": "gone"}
SECRETS = ("Secret", "secret", "Hidden", "nobody-secret")


def test_every_field_has_a_line_with_its_number_and_both_ends() -> None:
    sheet = rows(partner())
    told = {each.destination_field: each for each in sheet.lines}

    assert list(told) == FIELDS
    assert [told[name].number for name in ("status", "billing", "billing.city", "name.key")] == [
        "3",
        "4",
        "4.2",
        "7.2",
    ]
    assert told["billing.street"].source_path == "$.addresses[*].street"
    assert told["home.street"].source_path == "$.home.street"
    assert told["name.shown"].source_path == "$.fullName"
    assert told["name.shown"].source_meaning == "first and last name (text, may be null)"
    assert told["name"].rule == "The Name is made of the same record."
    assert told["home"].rule == "The object becomes the To."
    assert told["all"].rule == (
        "Every element becomes one To; one that is refused refuses the record."
    )
    assert told["all"].absent == "set to an empty list"
    assert told["all"].blank == "the list stays empty"
    assert told["email"].type == "text, required"
    assert told["email"].source_meaning == ("where the letter goes (text, may be null, sensitive)")
    assert told["status"].type == "one of 3 options, required"
    assert told["status"].source_meaning == "one of 3 options"
    assert told["all"].type == "list of To, required"
    assert told["note"].type == "text, may be left as it is"
    assert told["name.key"].type == "text, required, sensitive"
    assert told["billing.street"].too_long == "cut to 9 characters"
    assert told["billing.street"].why == "9 fit"


def test_the_head_and_the_tables() -> None:
    sheet = rows(partner())
    options, needed, dropped = sheet.tables

    assert (sheet.title, sheet.description) == (
        "A contact becomes a partner.",
        "Every night, one way.",
    )
    assert sheet.head == {
        "Owner": "Sales",
        "Source": "Contact: A person in the CRM.",
        "Destination": "Partner: A business partner of the ERP.",
        "Mapping": "test_mapping_document.partner.<locals>.contact_to_partner",
        "Rules digest": partner().digest,
    }
    assert options.title == "Options of status"
    assert options.note == "Any other option: the record is refused. Never produced: ARCHIVED (Z)."
    assert options.rows == (
        ("lead", "PROSPECT (P)", "the same", ""),
        ("won", "active", "the same", ""),
        ("LOST (X)", "PROSPECT (P)", "▲ means less", "nobody asks again"),
    )
    assert needed.rows == (("$.email\n$.phone", "the ERP must reach it"),)
    assert dropped.rows == (
        ("$.tags", "list of text", "no home"),
        ("$.addresses[*].kind", "text", "it chooses the address"),
        ("$.home.kind", "text", "it chooses the address"),
    )


# -- Examples --------------------------------------------------------------------------


def test_examples_stand_beside_their_rules() -> None:
    sheet = rows(partner(max=8), examples=[GOOD, BAD])
    told = {each.destination_field: each.example for each in sheet.lines}

    assert told["id"] == "7 → “C-7”"
    assert told["status"] == (
        "“X” → PROSPECT (P)\n“gone” → refused: expected an option that is decided, got text of 4 "
        "characters"
    )
    assert told["billing.street"] == "“Long Street 12”, null → “Long Stre”"
    assert told["all.street"] == "“Long Street 12”, null → “Long Stre”, null"
    assert told["home.street"] == "null → null"
    assert told["name.shown"] == "“Ada Lovelace” → “Ada Love”"
    assert told["note"] == "absent, “Ada Lovelace” → “Ada Lovelace”"
    assert told["billing"] == ""
    assert sheet.tables[-1].rows == (
        ("1", "mapped; decisions: billing.street cut, all.street cut, name.shown cut"),
        (
            "2",
            "refused\nemail <- $.email: expected an e-mail address, got text of 13 characters\n"
            "status <- $.status: expected an option that is decided, got text of 4 characters",
        ),
    )


def test_sensitive_values_are_masked_at_either_end() -> None:
    sheet = rows(partner(), examples=[GOOD, BAD])
    told = {each.destination_field: each.example for each in sheet.lines}

    assert told["email"] == (
        "••• → •••\n••• → refused: expected an e-mail address, got text of 13 characters"
    )
    assert told["billing.city"] == told["all.city"] == told["home.city"] == "••• → •••"
    assert told["name.key"] == "••• → •••"
    for format in ("md", "csv", "html"):
        made = document(partner(), format, examples=[GOOD, BAD])  # type: ignore[arg-type]
        assert "•••" in made
        assert not any(secret in made for secret in SECRETS)


def test_what_a_step_makes_of_a_whole_object_with_a_secret_is_masked() -> None:
    @step(version="1")
    def city(value: Any) -> str:
        """The city."""
        return str(value and value["city"])

    @define
    class Holder:
        x: Where

    @define
    class Wide:
        x: list[Where] = field(metadata=about(sensitive=True))

    one = mapped(lambda s: city(s.x), Holder)
    many = mapped(lambda s: each(s.x, address), Wide, Addressed)

    assert rows(one, examples=[{"x": GOOD["addresses"][0]}]).lines[0].example == "••• → •••"
    assert rows(many, examples=[{"x": GOOD["addresses"]}]).lines[1].example == "••• → •••"


@define
class Addressed:
    y: list[To]


def test_examples_of_odd_values_are_told_without_their_own_text() -> None:
    class Odd:
        def __str__(self) -> str:
            raise AssertionError("asked")

        __repr__ = __str__

    mapper = mapped(lambda s: keep(s.x))
    values = [Odd(), {"a": "secret"}, ["secret"], "a\nb\x00", "x" * 99, 10**5000, True, 1.5]

    assert rows(mapper, examples=[{"x": value} for value in values]).lines[0].example == (
        "a value of type Odd → a value of type Odd\n"
        "an object of 1 field → an object of 1 field\n"
        "a list of 1 element → a list of 1 element\n"
        "“a\\nb\\x00” → “a\\nb\\x00”\n"
        f"“{'x' * 58}… → “{'x' * 58}…\n"
        "a value of type int → a value of type int\n"
        "true → true\n"
        "1.5 → 1.5"
    )
    assert rows(mapper, examples=["no record"]).lines[0].example == ""


# -- Seen in data ----------------------------------------------------------------------

HELD = [
    GOOD,
    BAD,
    GOOD | {"status": "lead", "fullName": "x" * 41, "phone": "1"},
    GOOD | {"status": "lead", "home": {"street": "", "city": "Hiddenham", "kind": "x", "no": 1}},
    GOOD | {"status": EVIL, "tags": None, "colour": EVIL},
    GOOD | {"addresses": [{"city": "Secretville"}], "status": "=1+1"},
]


def seen(mapper: TypedMapper[Any, Any], records: Any = HELD) -> Sheet:
    return rows(mapper, profile=mapper.profile(records))


def test_each_line_tells_what_its_source_holds() -> None:
    told = {each.destination_field: each.seen for each in seen(partner()).lines}

    assert told["id"] == "present 100 %"
    assert told["email"] == "present 100 %\n▲ 1 refused: it has another form"
    assert told["status"] == (
        "present 100 %\n▲ 3 refused: it is an option that is not decided\n▲ 3 in no table"
    )
    assert told["billing.street"] == ("present 90.9 %, null 45.5 %\n▲ 5 over 9 characters")
    assert told["all.street"] == ("present 90.9 %, null 45.5 %\n▲ 5 over 9 characters")
    assert told["home"] == "present 100 %, null 83.3 %\n▲ 1 under keys that nobody described"
    assert told["home.street"] == "present 100 %, blank 100 %"
    assert told["name.shown"] == "present 100 %\n▲ 1 over 40 characters"
    assert told["name"] == ""
    assert told["note"] == "$.phone: present 16.7 %\n$.fullName: present 100 %"


def test_a_line_without_a_source_tells_nothing() -> None:
    @define
    class Empty:
        pass

    assert seen(mapped(lambda s: constant("crm"), Empty), [{}]).lines[0].seen == ""


def test_options_tell_how_often_each_came_and_what_is_in_no_table() -> None:
    (options,) = [each for each in seen(partner()).tables if each.title == "Options of status"]

    assert options.heads[-1] == "seen in data"
    assert options.rows == (
        ("lead", "PROSPECT (P)", "the same", "", "2"),
        ("won", "active", "the same", "", "0"),
        ("LOST (X)", "PROSPECT (P)", "▲ means less", "nobody asks again", "1"),
        (f"“{shown(EVIL)[1:-1][:60]}”", REFUSED, "▲ in no table", "", "1"),
        ("“=1+1”", REFUSED, "▲ in no table", "", "1"),
        ("“gone”", REFUSED, "▲ in no table", "", "1"),
    )


def came(rule: Any, values: list[Any], source: type = One) -> list[tuple[str, ...]]:
    """Return by option how often it came, and what came and is in no table."""
    records = [{"x": value} if source is One else value for value in values]
    (table,) = seen(mapped(rule, source), records).tables
    return [(row[0], row[1], row[-1]) for row in table.rows]


def test_ten_unmapped_options_are_told_and_the_others_counted() -> None:
    def rule(s: Any) -> Any:
        return code(s.x, {"a": "b"}, unknown=NULL, why="w")

    values = ["a", *(f"x{number:03}" for number in range(150)), *["x149"] * 9]
    first, most, *more, others = came(rule, values)

    assert first == ("“a”", "“b”", "1")
    assert most == ("“x149”", EMPTY, "10")
    assert [row[0] for row in more] == [f"“x{number:03}”" for number in range(9)]
    assert others == ("others", EMPTY, "140")


def test_options_of_several_places_are_counted_together() -> None:
    def rule(s: Any) -> Any:
        return code(coalesce(s.a, s.b, missing="a"), {"a": 1, "c": 2}, unknown=3, why="w")

    records = [{"a": "a", "b": "a"}, {"a": None, "b": "z"}, {"a": "z", "b": "c"}]
    assert came(rule, records, Two) == [
        ("“a”", "1", "2"),
        ("“c”", "2", "1"),
        ("“z”", "set to 3", "2"),
    ]


def test_options_that_are_made_on_the_way_are_not_counted() -> None:
    def rule(s: Any) -> Any:
        return code(tidied(s.x), {"a": "b"}, unknown=NULL, why="w")

    assert came(rule, ["a", "b"]) == [("“a”", "“b”", "not counted")]


def test_options_of_a_sensitive_field_are_not_counted_one_by_one() -> None:
    @define
    class Hidden:
        x: str = field(metadata=about(sensitive=True))

    @define
    class Kept:
        y: str = field(metadata=about(sensitive=True))

    records = [{"x": each} for each in ("secret", "a", "a", "b")]
    for source, result in (Hidden, Value), (One, Kept):
        mapper = mapped(lambda s: code(s.x, {"a": "c"}, unknown=REJECT), source, result)
        (table,) = seen(mapper, records).tables

        assert [(row[0], row[-1]) for row in table.rows] == [("“a”", "•••"), ("•••", "2")]
        assert "secret" not in "".join(map(str, (seen(mapper, records),)))


def test_dropped_fields_tell_what_is_lost_with_them() -> None:
    (dropped,) = [each for each in seen(partner()).tables if each.title == "Dropped"]

    assert dropped.heads == ("source path", "source meaning", "why", "seen in data")
    assert [(row[0], row[-1]) for row in dropped.rows] == [
        ("$.tags", "present 100 %, null 16.7 %"),
        ("$.addresses[*].kind", "present 90.9 %"),
        ("$.home.kind", "present 100 %"),
    ]


@pytest.mark.parametrize("format", ["md", "csv", "html"])
def test_without_a_profile_nothing_is_told_of_data(format: Any) -> None:
    made = document(partner(), format, examples=[GOOD], date=date(2026, 3, 1))

    assert made == partner().document(format, examples=[GOOD], profile=None, date=date(2026, 3, 1))
    for mark in ("seen", "Seen", "real data", "in no table", "headline", "figure", "---:"):
        assert mark not in made


def test_what_was_seen_is_added_and_nothing_else_changes() -> None:
    profile = partner().profile(HELD)
    before, after = (
        rows(partner(), examples=[GOOD]),
        rows(partner(), examples=[GOOD], profile=profile),
    )

    assert [attrs.evolve(line, seen="") for line in after.lines] == list(before.lines)
    for old, new in zip(before.tables, after.tables, strict=True):
        width = len(old.heads)
        assert [row[:width] for row in new.rows[: len(old.rows)]] == list(old.rows)
        assert (old.title, old.note, old.heads) == (new.title, new.note, new.heads[:width])
    plain = document(partner(), "csv", examples=[GOOD])
    more = list(csv.DictReader(io.StringIO(document(partner(), "csv", examples=[GOOD],
                                                    profile=profile), newline="")))  # fmt: skip
    told = [row for row in more if row["relation"] != "▲ in no table"]
    for row in told:
        del row["seen in data"]
    assert told == list(csv.DictReader(io.StringIO(plain, newline="")))


def test_no_digest_depends_on_what_was_seen() -> None:
    mapper = partner()
    before = digest(mapper), mapper.digest, [each.rule_id for each in rows(mapper).lines]
    sheet = seen(mapper)

    assert (digest(mapper), mapper.digest, [each.rule_id for each in sheet.lines]) == before
    for format in ("md", "csv", "html"):
        made = document(mapper, format, profile=mapper.profile(HELD))  # type: ignore[arg-type]
        assert f"{digest(mapper)}" in made


def test_digests_are_those_of_documents_that_knew_nothing_of_data() -> None:
    mapper = mapped(lambda s: text(s.x, max=3, over=TRUNCATE, why="w"))

    assert digest(mapper) == "76c25c19370145aea798b97bde3aa3e5"
    assert rows(mapper).lines[0].rule_id == "abd16e0b"


def test_the_profile_of_another_mapping_is_refused() -> None:
    profile = partner().profile(HELD)

    with pytest.raises(ConfigurationError) as caught:
        document(partner(max=41), "html", profile=profile)

    assert "is not of contact_to_partner as it is now" in str(caught.value)
    assert "contact_to_partner.profile(records)" in caught.value.remedy
    assert document(partner("other words"), "html", profile=profile)


def test_csv_has_a_column_of_what_was_seen() -> None:
    made = partner().document("csv", profile=partner().profile(HELD))
    told = list(csv.DictReader(io.StringIO(made, newline=""), strict=True))

    assert list(told[0])[17:20] == ["rule id", "seen in data", "source option"]
    (status,) = [each for each in told if each["destination field"] == "status"]
    assert status["seen in data"].endswith("▲ 3 in no table")
    options = {each["source option"]: each["seen in data"] for each in told}
    assert options["lead"] == "2"
    assert options["“=1+1”"] == "1"
    cells = [cell for line in csv.reader(io.StringIO(made, newline="")) for cell in line]
    assert not any(cell[:1] in set("=+-@\t\r\n") for cell in cells if cell)


def test_markdown_has_a_section_of_what_real_data_holds() -> None:
    made = partner().document("md", profile=partner().profile(HELD))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(made)

    before, _, after = made.partition("\n## What real data holds\n\n")
    assert after.startswith("3 of 6 records are mapped (50.0 %). ")
    assert "### Refused\n" in after.partition("## Signatures")[0]
    assert "Seen in data: present 100 %<br>▲ 1 refused" in before
    assert "| :---" not in made
    assert "<script" not in html
    for body in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        widths = {len(re.findall(r"<t[dh][ >]", row)) for row in body.split("</tr>")[:-1]}
        assert len(widths) == 1


def test_html_has_a_section_of_what_real_data_holds_before_the_signatures() -> None:
    profile = partner().profile(HELD)
    read, made = page(partner(), examples=[GOOD, BAD], profile=profile)
    names = {tag for tag, _ in read.tags}
    given = {name for _, attributes in read.tags for name in attributes}

    assert profile.as_html() in made
    assert re.findall(r"<h[23]>(.+?)</h[23]>", made) == [
        "Fields", "Options of status", "Needed", "Dropped", "Examples", "What real data holds",
        "Refused", "Decisions", "To look at", "Source", "Most frequent values", "Signatures",
        "How to read it",
    ]  # fmt: skip
    assert "Of real data, 3 of 6 records are mapped (50.0\xa0%)." in read.text.partition("Owner")[0]
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form", "a"})
    assert given <= {"lang", "charset", "name", "content", "class", "scope", "data-head"}
    assert re.findall(r"https?:|//|@import|url\(", made) == []
    assert "&lt;script&gt;alert" in profile.as_html()
    looks = [attributes for tag, attributes in read.tags if attributes.get("class") == "look"]
    assert len(looks) == 3 + 1
    assert made.count("<b>▲ 3 in no table</b>") == 1


@pytest.mark.parametrize("format", ["md", "csv", "html"])
def test_what_is_sensitive_stays_masked_beside_what_was_seen(format: Any) -> None:
    record = GOOD | {"home": {"street": "s", "city": "Secretville", "kind": "x"}}
    profile = partner().profile([*HELD, record, record])

    made = document(partner(), format, examples=[GOOD, BAD], profile=profile)

    assert not any(secret in made for secret in SECRETS)
    # The name goes into a sensitive field too, so its source is as secret.
    assert "Lovelace" not in document(partner(), format, profile=profile)


@pytest.mark.parametrize("format", ["md", "csv", "html"])
def test_the_same_data_gives_the_same_bytes(format: Any) -> None:
    one, other = (document(partner(), format, profile=partner().profile(HELD)) for _ in range(2))

    assert one == other


def test_no_records_are_told_as_none() -> None:
    told = seen(partner(), [])

    assert {each.seen for each in told.lines} == {
        "",
        "no data",
        "$.phone: no data\n$.fullName: no data",
    }
    assert [row[-1] for row in told.tables[0].rows] == ["0", "0", "0"]
    assert "0 of 0 records are mapped (0&nbsp;%)." in document(
        partner(), "html", profile=partner().profile([])
    )


# -- Formats ---------------------------------------------------------------------------


def test_csv_reads_back_with_a_line_for_each_field() -> None:
    made = document(partner(), "csv", examples=[GOOD])
    head, *lines = list(csv.reader(io.StringIO(made, newline=""), strict=True))
    told = [dict(zip(head, each, strict=True)) for each in lines]

    assert made.count("\r\n") >= len(told) + 1
    assert {len(each) for each in lines} == {len(head)}
    assert [each["destination field"] for each in told if each["kind"] == "field"] == FIELDS
    assert [each["source option"] for each in told if each["kind"] == "options of status"][:3] == [
        "lead",
        "won",
        "LOST (X)",
    ]
    assert {each["owner"] for each in told} == {"Sales"}
    (street,) = [each for each in told if each["destination field"] == "all.street"]
    assert street["too long"] == "cut to 9 characters"
    about = {each["destination field"]: each["meaning"] for each in told if each["kind"] == "about"}
    assert about["Document digest"] == digest(partner())
    assert "Date" not in about


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_csv_is_a_formula(first: str) -> None:
    made = document(partner(f"{first}1+1", owner=f"{first}2"), "csv")
    cells = [each for line in csv.reader(io.StringIO(made, newline="")) for each in line]

    assert f"'{first}1+1" in cells
    assert f"'{first}2" in cells
    assert not any(each[:1] in set("=+-@\t\r\n") for each in cells if each)


def test_markdown_is_tables_that_render() -> None:
    made = document(partner(EVIL), "md", examples=[GOOD])
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(made)
    found = re.findall(r"<t([dh])[ >]", html)

    assert "<script" not in html
    assert html.count("<table>") == 7
    for body in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        widths = {len(re.findall(r"<t[dh][ >]", row)) for row in body.split("</tr>")[:-1]}
        assert len(widths) == 1
    assert found
    for name in FIELDS:
        assert f"<code>{name}</code>" in html
    assert "<code>$.phone</code><br><code>$.fullName</code>" in html
    assert "&lt;script&gt;alert('x')&lt;/script&gt; | a<br>b &amp; `c` *d* =1+1" in html


class Page(HTMLParser):
    """Checks that what is opened is closed, and keeps what is in it."""

    VOID = ("meta", "br", "wbr", "col")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def page(mapper: TypedMapper[Any, Any], **more: Any) -> tuple[Page, str]:
    made = document(mapper, "html", **more)
    read = Page()
    read.feed(made)
    read.close()
    assert read.open == []
    return read, made


def test_html_is_one_file_that_asks_for_nothing() -> None:
    read, made = page(partner(EVIL, owner=EVIL), examples=[GOOD, BAD])
    names = {tag for tag, _ in read.tags}
    given = {name for _, attributes in read.tags for name in attributes}

    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form", "a"})
    assert given <= {"lang", "charset", "name", "content", "class", "scope", "data-head"}
    assert re.findall(r"https?:|//|@import|url\(", made) == []
    assert "<script>alert('x')</script> | a" in read.text
    assert made.startswith("<!doctype html>\n")


def test_html_has_captions_scopes_and_every_field() -> None:
    read, _ = page(partner(), date=date(2026, 11, 23))
    scopes = [attributes["scope"] for tag, attributes in read.tags if tag == "th"]

    assert [tag for tag, _ in read.tags].count("caption") == 5
    assert [tag for tag, _ in read.tags].count("table") == 5
    assert scopes.count("row") == len(FIELDS) + 3 + 1 + 3
    assert None not in scopes
    for told in (*FIELDS, "Sales", partner().digest, digest(partner()), "2026-11-23", "Signature"):
        assert told in read.text
    lossy = [
        attributes for tag, attributes in read.tags if "lossy" in (attributes.get("class") or "")
    ]
    assert len(lossy) == read.text.count("▲ Lost ") == 8
    assert "▲ Something is lost in 8 of them." in read.text


def test_there_are_three_formats() -> None:
    with pytest.raises(ConfigurationError, match="there is no format 'pdf'"):
        document(partner(), "pdf")  # type: ignore[arg-type]


# -- Always the same -------------------------------------------------------------------


@pytest.mark.parametrize("format", ["md", "csv", "html"])
def test_the_same_mapping_gives_the_same_bytes(format: Any) -> None:
    assert document(partner(), format, examples=[GOOD]) == document(
        partner(), format, examples=[GOOD]
    )
    assert "Date" not in document(partner(), "md").partition("## Signatures")[0]


PRINT = """
import hashlib
from tests.test_mapping_document import *
made = [
    document(partner(), format, examples=[GOOD, BAD], profile=profile)
    for format in ("md", "csv", "html")
    for profile in (None, partner().profile(HELD))
]
print(digest(partner()), hashlib.sha256("".join(made).encode()).hexdigest())
"""


def test_the_same_bytes_whatever_the_seed_of_hashes() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }

    assert len(told) == 1
    assert told.pop().split()[0] == digest(partner())


def test_the_digest_counts_reasons_and_owner_and_rules() -> None:
    same = partner().digest

    assert re.fullmatch("[0-9a-f]{32}", digest(partner()))
    assert digest(partner()) == digest(partner())
    assert partner("another").digest == partner(owner="another").digest == same
    assert len({digest(each) for each in (partner(), partner("b"), partner(owner="b"))}) == 3
    assert digest(partner(max=41)) != digest(partner())


SOURCE = """
from attrs import define
from syncsdk.mapping import mapping, step, text, to


@define
class A:
    x: str


@define
class B:
    y: str


@mapping
def m(s: A) -> B:
    return to(B)(y=text(s.x))
"""


def test_the_digest_does_not_know_file_line_and_module(tmp_path: Path) -> None:
    def made(source: str, name: str) -> str:
        import importlib.util

        path = tmp_path / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            return digest(module.m)
        finally:
            del sys.modules[name]

    assert made(SOURCE, "one") == made("# a line\n\n" + SOURCE, "two")
    assert made(SOURCE, "one") != made(SOURCE.replace("s.x)", "s.x, also=('-',))"), "one")


def test_the_id_of_a_rule_changes_with_its_words_only() -> None:
    def ids(**changed: Any) -> dict[str, str]:
        sheet = rows(partner(**changed), examples=[GOOD] if changed else ())
        return {each.destination_field: each.rule_id for each in sheet.lines}

    before, after = ids(), ids(max=41)

    assert {name for name in before if before[name] != after[name]} == {"name.shown"}
    assert all(re.fullmatch("[0-9a-f]{8}", each) for each in before.values())


def test_a_sheet_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        rows(partner()).lines[0].why = "x"  # type: ignore[misc]
