"""What a mapping may say, and the message for all else; the checks by their number.

Check 18 stands in ``test_mapping_pairs``, check 19 in ``test_mapping_approval``.
"""

from __future__ import annotations

import enum
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from attrs import define, field

from syncsdk.errors import ConfigurationError
from syncsdk.mapping import (
    EARLIER,
    EMAIL,
    FIRST,
    HALF_EVEN,
    LAST,
    LEAVE,
    NULL,
    REJECT,
    TRUNCATE,
    Form,
    MappingDefinitionError,
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
)
from syncsdk.values import Unset


class Crm(enum.Enum):
    LEAD = "lead"
    WON = "won"


class Erp(enum.Enum):
    PROSPECT = "P"
    ACTIVE = "A"
    ARCHIVED = "X"


@define
class Address:
    kind: str
    city: str


@define
class Contact:
    id: int
    name: str
    status: Crm
    addresses: list[Address]
    home: Address | None = None


@define
class Place:
    city: str


@define
class Name:
    name: str = field(metadata=about(max=40))


@define
class Status:
    status: Erp


@define
class Maybe:
    note: str | None
    phone: str | Unset
    total: Decimal


@mapping
def to_place(a: Address) -> Place:
    drop(a.kind, why="one address only")
    return to(Place)(city=text(a.city))


DROPS: dict[str, Any] = {
    "id": fragment(lambda s: drop(s.name, s.status, s.addresses, s.home, why="x")),
    "name": fragment(lambda s: drop(s.id, s.status, s.addresses, s.home, why="x")),
    "status": fragment(lambda s: drop(s.id, s.name, s.addresses, s.home, why="x")),
    "addresses": fragment(lambda s: drop(s.id, s.name, s.status, s.home, why="x")),
}


def rest(s: Contact, name: str) -> None:
    """Drop all fields but one."""
    DROPS[name](s)


def refused(define_it: Callable[[], object]) -> str:
    with pytest.raises(MappingDefinitionError) as caught:
        define_it()
    assert caught.value.remedy
    for problem in caught.value.problems:
        assert problem.where.file == __file__
        assert problem.where.line > 1
        assert problem.remedy
    return str(caught.value)


def told(define_it: Callable[[], object]) -> list[str]:
    """Return what a user reads of each problem, but for its place."""
    with pytest.raises(MappingDefinitionError) as caught:
        define_it()
    return [f"{problem.message}. {problem.remedy}" for problem in caught.value.problems]


# -- A straight line (check 12) --------------------------------------------------------


def if_() -> None:
    @mapping
    def m(s: Contact) -> Name:
        if s.name:
            return to(Name)(name=text(s.name, max=40, over=REJECT))
        return to(Name)(name=constant("x"))


def or_() -> None:
    @mapping
    def m(s: Contact) -> Name:
        return to(Name)(name=text(s.name or "", max=40, over=REJECT))


def is_none() -> None:
    @mapping
    def m(s: Contact) -> Name:
        return to(Name)(name=constant("x" * (s.name is None)))


def match_() -> None:
    @mapping
    def m(s: Contact) -> Name:
        match s.name:
            case "x":
                return to(Name)(name=constant("x"))
        return to(Name)(name=constant("y"))


def comprehension() -> None:
    @mapping
    def m(s: Contact) -> Name:
        return to(Name)(name=constant(str([a.city for a in s.addresses])))


def with_() -> None:
    @mapping
    def m(s: Contact) -> Name:
        with open(os.devnull):
            return to(Name)(name=text(s.name, max=40, over=REJECT))


def generator() -> None:
    @mapping
    def m(s: Contact) -> Any:
        yield to(Name)(name=text(s.name, max=40, over=REJECT))


def coroutine() -> None:
    @mapping
    async def m(s: Contact) -> Name:
        return to(Name)(name=text(s.name, max=40, over=REJECT))


def in_a_lambda() -> None:
    @mapping
    def m(s: Contact) -> Maybe:
        return to(Maybe)(
            note=one_of(  # type: ignore[arg-type]
                s.addresses,
                to_place,
                prefer=lambda a: a.kind == "x" or a.city == "y",
                several=FIRST,
                otherwise=FIRST,
                none=NULL,
                why="x",
            ),
            phone=constant("x"),
            total=constant(Decimal(1)),
        )


@pytest.mark.parametrize(
    ("define_it", "what"),
    [
        (if_, "it branches or loops"),
        (or_, "it branches or loops"),
        (is_none, "it compares by `is`"),
        (match_, "it branches or loops"),
        (comprehension, "it loops"),
        (with_, "it catches exceptions (try, with)"),
        (generator, "it is a generator or a coroutine"),
        (coroutine, "it is a generator or a coroutine"),
        (in_a_lambda, "it branches or loops"),
    ],
)
def test_12_a_mapping_is_a_straight_line(define_it: Callable[[], None], what: str) -> None:
    refused(define_it)

    assert (
        f"a mapping is a straight line of rules, and {what}. Decide with rules, in a @step, or in "
        "two mappings"
    ) in told(define_it)


STRAIGHT = "Name rules and hand them fields of the source; what needs a look at a value is a @step"
LOOKED_AT = (
    "$.name is looked at, and there is no value yet: hand it to a rule, a @step or another mapping"
)
NO_CONSTANT = "$.name is compared with something that is no constant"


def looked_at(look: Callable[[Any], object]) -> Callable[[], object]:
    def define_it() -> object:
        @mapping
        def m(s: Contact) -> Name:
            return to(Name)(name=constant(look(s.name)))  # type: ignore[arg-type]

        return m

    return define_it


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (bool, LOOKED_AT),
        (hash, LOOKED_AT),
        (str, LOOKED_AT),
        (format, LOOKED_AT),
        (len, LOOKED_AT),
        (iter, LOOKED_AT),
        (list, LOOKED_AT),
        ("{}".format, LOOKED_AT),
        (lambda v: f"{v}", LOOKED_AT),
        (lambda v: isinstance(v, str), LOOKED_AT),
        (lambda v: v.__class__, LOOKED_AT),
        (lambda v: v + "x", LOOKED_AT),
        (lambda v: "x" + v, LOOKED_AT),
        (lambda v: v * 2, LOOKED_AT),
        (lambda v: "x" in v, LOOKED_AT),
        (lambda v: v(), LOOKED_AT),
        (lambda v: v.upper(), "$.name has no fields that are described; 'upper' is asked for"),
        (lambda v: v[0], "$.name has no fields that are described; 0 is asked for"),
        (lambda v: int(v), LOOKED_AT),
        (lambda v: -v, LOOKED_AT),
        (lambda v: sorted([v, v]), NO_CONSTANT),
        (lambda v: {v: 1}, LOOKED_AT),
        (lambda v: v == v, NO_CONSTANT),
        (
            lambda v: not v.__eq__("x"),
            "a comparison is asked whether it is true; join comparisons by & and |, in brackets",
        ),
        (lambda v: (v == "x") & True, "& joins comparisons only"),
        (lambda v: v == [1], NO_CONSTANT),
    ],
)
def test_12_nobody_looks_at_a_value_that_is_not_there(
    look: Callable[[Any], object], message: str
) -> None:
    refused(looked_at(look))

    assert told(looked_at(look)) == [f"{message}. {STRAIGHT}"]


def test_12_a_stand_in_says_where_it_stands() -> None:
    assert "<stand-in for $.name>" in refused(looked_at(lambda v: {}[repr(v)]))  # type: ignore[index]


def test_12_a_local_name_for_a_field_is_allowed() -> None:
    @mapping
    def m(s: Contact) -> Name:
        name = s.name
        rest(s, "name")
        return to(Name)(name=text(name, max=40, over=REJECT))

    assert m({"name": " x "}) == Name("x")


def helper(value: Any) -> Any:
    return text(value, max=40, over=REJECT)


def test_12_only_a_fragment_may_name_rules_for_a_mapping() -> None:
    def plain() -> None:
        @mapping
        def m(s: Contact) -> Name:
            rest(s, "name")
            return to(Name)(name=helper(s.name))

    assert "helper() at" in refused(plain)
    assert "neither a mapping nor a @fragment" in refused(plain)

    @mapping
    def m(s: Contact) -> Name:
        rest(s, "name")
        return to(Name)(name=fragment(helper)(s.name))

    assert m({"name": "x"}) == Name("x")


def test_12_a_fragment_is_a_straight_line_too() -> None:
    @fragment
    def choosing(value: Any) -> Any:
        return text(value, max=40, over=REJECT) if value is None else constant("x")

    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Name:
            rest(s, "name")
            return to(Name)(name=choosing(s.name))

    assert told(define_it) == [
        f"the fragment choosing is no straight line: it branches or loops. {STRAIGHT}"
    ]


@pytest.mark.parametrize(
    "source",
    [
        time.time_ns,
        lambda: random.SystemRandom().random(),
        lambda: os.urandom(4).hex(),
        lambda: datetime.now().isoformat(),
    ],
)
def test_12_a_mapping_says_the_same_when_it_is_read_again(source: Callable[[], Any]) -> None:
    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.name, s.status, s.addresses, s.home, why="x")
            return to(Name)(name=constant(str(source())[-30:]))

    assert told(define_it) == [
        "it says something else when it is read again. A mapping may not depend on the time, on "
        "chance or on the environment: put that into the source's record"
    ]


def test_rules_are_not_run() -> None:
    with pytest.raises(
        ConfigurationError, match=r"text\(\) was called outside a mapping"
    ) as caught:
        text("x")

    assert "Rules are read, not run" in caught.value.remedy


# -- The ends --------------------------------------------------------------------------


def test_both_ends_are_classes_that_describe_records() -> None:
    def unannotated() -> None:
        @mapping
        def m(s):  # type: ignore[no-untyped-def]
            return None

    def plain() -> None:
        @mapping
        def m(s: dict[str, str]) -> Name:
            return to(Name)(name=constant("x"))

    def two() -> None:
        @mapping
        def m(s: Contact, t: Contact) -> Name:  # type: ignore[arg-type]
            return to(Name)(name=constant("x"))

    for define_it in (unannotated, plain, two):
        assert "not annotated with the two classes" in refused(define_it)


def test_a_mapping_returns_the_record() -> None:
    def nothing() -> None:
        @mapping
        def m(s: Contact) -> Name:  # type: ignore[empty-body]
            drop(s.id, why="x")

    def itself() -> None:
        @mapping
        def m(s: Name) -> Name:
            return s

    assert "returned a value of type NoneType" in refused(nothing)
    assert "returns its source" in refused(itself)


# -- Fields (checks 1 to 4) ------------------------------------------------------------

NO_HOME = 'Give it a rule, or drop(it, why="...")'


def test_1_every_field_of_the_destination_is_decided() -> None:
    @define
    class Wide:
        name: str
        note: str = ""

    globals()["Wide"] = Wide

    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Wide:
            rest(s, "name")
            return to(Wide)(name=text(s.name))

    assert told(define_it) == [
        "note of Wide is not decided. Give it a rule; LEAVE says that it is left alone"
    ]


def test_2_there_are_no_other_fields() -> None:
    def source() -> None:
        @mapping
        def m(s: Contact) -> Name:
            return to(Name)(name=text(s.nmae))  # type: ignore[attr-defined]

    def destination() -> None:
        @mapping
        def m(s: Contact) -> Name:
            rest(s, "name")
            return to(Name)(nmae=text(s.name, max=40, over=REJECT))  # type: ignore[call-arg]

    def unnamed() -> None:
        @mapping
        def m(s: Contact) -> Name:
            return to(Name)(text(s.name))

    assert told(source) == [
        "Contact at $ has no field 'nmae' to be reached by .; it has id, name, status, addresses, "
        f"home. {STRAIGHT}"
    ]
    assert told(destination) == [
        "Name has no field 'nmae'. It has name",
        "name of Name is not decided. Give it a rule; LEAVE says that it is left alone",
    ]
    assert told(unnamed) == [f"name the fields: to(Name)(field=rule, ...). {STRAIGHT}"]


def test_3_every_field_of_the_source_is_used_or_dropped() -> None:
    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.status, why="x")
            return to(Name)(name=text(s.name, max=40, over=REJECT))

    assert told(define_it) == [
        f"addresses of the source is neither used nor dropped. {NO_HOME}",
        f"home of the source is neither used nor dropped. {NO_HOME}",
    ]


def test_3_that_goes_for_fields_within_fields() -> None:
    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.status, s.name, s.addresses, why="x")
            return to(Name)(name=text(s.home.city, max=40, over=REJECT))  # type: ignore[union-attr]

    assert told(define_it) == [f"home.kind of the source is neither used nor dropped. {NO_HOME}"]


def test_4_a_field_is_not_dropped_and_used() -> None:
    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.status, s.name, s.addresses, s.home, why="x")
            return to(Name)(name=text(s.name, max=40, over=REJECT))

    def within() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.status, s.name, s.addresses, s.home, why="x")
            return to(Name)(name=text(s.home.city, max=40, over=REJECT))  # type: ignore[union-attr]

    remedy = "Remove it from drop(), or the rule that uses it"
    assert told(define_it) == [f"name is dropped, and used. {remedy}"]
    assert told(within) == [f"home is dropped, and used. {remedy}"]


# -- Options (checks 5 to 7, 14) -------------------------------------------------------


def statuses(table: Any, **decisions: Any) -> Callable[[], TypedMapper[Any, Any]]:
    def define_it() -> TypedMapper[Any, Any]:
        @mapping
        def m(s: Contact) -> Status:
            rest(s, "status")
            return to(Status)(status=code(s.status, table, **decisions))

        return m

    return define_it


GOOD = {Crm.LEAD: Erp.PROSPECT, Crm.WON: Erp.ACTIVE}


def test_5_every_option_of_the_source_is_decided() -> None:
    never = [Erp.ARCHIVED, Erp.ACTIVE]

    assert told(statuses({Crm.LEAD: Erp.PROSPECT}, unknown=REJECT, never=never)) == [
        "the option Crm.WON of $.status is not decided. Give it an option of the destination in "
        "the table"
    ]


def test_5_no_option_is_decided_that_the_source_does_not_have() -> None:
    assert told(statuses({**GOOD, "lost": Erp.ARCHIVED}, unknown=REJECT)) == [
        "'lost' is no option of $.status. Its options are Crm.LEAD, Crm.WON"
    ]


def test_6_every_option_of_the_destination_is_produced_or_never() -> None:
    assert told(statuses(GOOD, unknown=REJECT)) == [
        "nothing becomes the option Erp.ARCHIVED of status. Let an option of the source become it, "
        "or list it in never="
    ]


def test_6_a_fallback_produces_an_option() -> None:
    assert statuses(GOOD, unknown=Erp.ARCHIVED, why="they are old")()({"status": "?"}) == Status(
        Erp.ARCHIVED
    )


def test_7_what_is_never_produced_is_not_produced() -> None:
    assert told(statuses(GOOD, unknown=REJECT, never=[Erp.ARCHIVED, Erp.ACTIVE])) == [
        "the option Erp.ACTIVE of status is listed in never=, and is produced. Remove it from "
        "never= or from the table"
    ]


class Loose(TypedDict):
    status: str
    kind: Literal["a", "b"]


class Strict(TypedDict):
    status: Erp
    kind: Literal["x", "y"]


def test_14_options_do_not_differ_by_case_only() -> None:
    def define_it() -> None:
        @mapping
        def m(s: Loose) -> Strict:
            return {
                "status": code(
                    s["status"],
                    {"Lead": Erp.PROSPECT, "LEAD": Erp.ACTIVE},
                    unknown=REJECT,
                    never=[Erp.ARCHIVED],
                ),
                "kind": code(s["kind"], {"a": "x", "b": "y"}, unknown=REJECT),
            }

    assert told(define_it) == [
        "the options 'Lead' and 'LEAD' differ by case or spelling only. Make sure that the source "
        "has both; else keep one"
    ]


# -- Types, limits and constants (checks 8 to 11) --------------------------------------


def maybes(**changed: Callable[[Any], Any]) -> Callable[[], TypedMapper[Any, Any]]:
    def define_it() -> TypedMapper[Any, Any]:
        rules: dict[str, Any] = {
            "note": lambda s: text(s.name, missing=NULL),
            "phone": lambda s: text(s.name, missing=LEAVE),
            "total": lambda s: decimal(s.id, places=2, rounding=HALF_EVEN),
        } | changed
        note, phone, total = (fragment(rules[name]) for name in ("note", "phone", "total"))

        @mapping
        def m(s: Contact) -> Maybe:
            drop(s.status, s.addresses, s.home, why="x")
            return to(Maybe)(note=note(s), phone=phone(s), total=total(s))

        return m

    return define_it


NO_NULL = "Decide for a value or REJECT, or let the destination's type take None"
ITS_RULE = "Use the rule of its type"
ITS_TYPE = "Give a constant of its type"
INTO_IT = "Use a mapping into that class"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"note": lambda s: text(s.name, missing=LEAVE)},
            "note cannot be left alone: its type is str or null. Only a field typed X | Unset can "
            "be; decide for a value, NULL or REJECT",
        ),
        (
            {"phone": lambda s: text(s.name, missing=NULL)},
            f"phone does not take null, and may be given it. {NO_NULL}",
        ),
        (
            {"total": lambda s: decimal(s.id, places=2, rounding=HALF_EVEN, missing=NULL)},
            f"total does not take null, and may be given it. {NO_NULL}",
        ),
        (
            {"note": lambda s: constant(None), "phone": lambda s: constant(None)},
            f"phone does not take null, and may be given it. {NO_NULL}",
        ),
        (
            {"total": lambda s: integer(s.id)},
            f"total takes Decimal, and integer yields int. {ITS_RULE}",
        ),
        (
            {"note": lambda s: day(s.name)},
            f"note takes str or null, and day yields date. {ITS_RULE}",
        ),
        (
            {
                "note": lambda s: one_of(
                    s.addresses,
                    to_place,
                    prefer=lambda a: a.kind == "x",
                    several=FIRST,
                    otherwise=FIRST,
                    none=NULL,
                    why="x",
                )
            },
            f"note takes str or null, and one_of yields Place. {INTO_IT}",
        ),
        (
            {"note": lambda s: nested(s.home, to_place, missing=NULL)},
            f"note takes str or null, and nested yields Place. {INTO_IT}",
        ),
        (
            {"note": lambda s: each(s.addresses, to_place)},
            f"note takes str or null, and each yields a list of Place. {INTO_IT}",
        ),
        (
            {"note": lambda s: to(Place)(city=text(s.name))},
            "note takes str or null, and is given Place. ",
        ),
        (
            {"note": lambda s: "x"},
            "note is given a value of type str, and no rule. Write constant(...) for what is "
            "always the same, keep(...) for what is taken as it is",
        ),
    ],
)
def test_8_what_a_rule_yields_fits_the_type_of_the_field(changed: Any, message: str) -> None:
    refused(maybes(**changed))

    assert any(each.startswith(message) for each in told(maybes(**changed)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"total": lambda s: constant("1")},
            f"total takes Decimal, and may be given '1'. {ITS_TYPE}",
        ),
        (
            {"total": lambda s: constant(True)},
            f"total takes Decimal, and may be given True. {ITS_TYPE}",
        ),
        (
            {"total": lambda s: decimal(s.id, places=2, rounding=HALF_EVEN, bad=0, why="x")},
            f"total takes Decimal, and may be given 0. {ITS_TYPE}",
        ),
        (
            {"note": lambda s: text(s.name, form=EMAIL, missing="nobody")},
            "note must be an e-mail address, and may be given 'nobody'. Give a constant of that "
            "form",
        ),
    ],
)
def test_10_a_constant_fits_the_field(changed: Any, message: str) -> None:
    refused(maybes(**changed))

    assert message in told(maybes(**changed))


def test_11_what_is_missing_is_not_longer_than_the_limit() -> None:
    assert told(maybes(note=lambda s: text(s.name, max=3, over=REJECT, missing="none at all"))) == [
        "note takes at most 3 chars, and may be given 'none at all'. Give a shorter constant"
    ]


def test_8_what_fits_is_taken() -> None:
    assert maybes()()({"id": 1, "name": ""}) == Maybe(None, Unset.UNSET, Decimal("1.00"))


@define
class Limited:
    code: str = field(metadata=about(max=4, unit="utf16"))


def limited(**settings: Any) -> Callable[[], TypedMapper[Any, Any]]:
    def define_it() -> TypedMapper[Any, Any]:
        @mapping
        def m(s: Contact) -> Limited:
            rest(s, "name")
            return to(Limited)(code=text(s.name, **settings))

        return m

    return define_it


def test_9_text_stays_within_the_limit_of_the_destination() -> None:
    assert told(limited()) == [
        "code takes at most 4 utf16, and nothing is decided for longer text. Give max=4 and over="
    ]
    for more, what in (({"max": 5, "unit": "utf16"}, "5 utf16"), ({"max": 4}, "4 chars")):
        assert told(limited(over=REJECT, **more)) == [
            f'code takes at most 4 utf16, and max= lets {what} through. Give max=4, unit="utf16"'
        ]
    assert limited(max=4, unit="utf16", over=REJECT)()({"name": "abcd"}) == Limited("abcd")
    assert limited(max=2, over=REJECT)()({"name": "\U0001f600" * 2}) == Limited("\U0001f600" * 2)


def test_10_a_constant_stays_within_the_limit_too() -> None:
    assert (
        "code takes at most 4 utf16, and may be given 'abcde'. Give a shorter constant"
    ) in told(limited(max=4, unit="utf16", over=REJECT, missing="abcde"))


# -- Patterns, questions, reasons, steps (checks 13, 15 to 17) -------------------------

ENDLESS = "form= repeats a repetition, which some texts make endless"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": Form("x", r"(a+)+")}, ENDLESS),
        ({"form": Form("x", r"([a-z]*)*x")}, ENDLESS),
        ({"form": Form("x", r"(a|b+)*")}, ENDLESS),
        (
            {"form": Form("x", r"(")},
            "form= is no regular expression (missing ), unterminated subpattern at position 0)",
        ),
        (
            {"keep": "9-0"},
            "keep= is no regular expression (bad character range 9-0 at position 2)",
        ),
    ],
)
def test_13_patterns_are_linear(settings: Any, message: str) -> None:
    define_it = limited(max=1, over=REJECT, **settings)
    refused(define_it)

    assert told(define_it) == [f"{message}. Write a pattern that reads each character once"]


def test_13_a_group_that_starts_with_a_literal_may_repeat() -> None:
    form = Form("a version", r"[0-9]+(?:\.[0-9]+)*")

    assert limited(max=2, over=REJECT, form=form)()({"name": "1"}) == Limited("1")


def preferring(prefer: Callable[[Any, Any], Any], **more: Any) -> Callable[[], object]:
    def define_it() -> object:
        @define
        class Holder:
            place: Place | None

        globals()["Holder"] = Holder
        asked = fragment(
            lambda s: one_of(
                s.addresses,
                to_place,
                **{
                    "prefer": lambda a: prefer(s, a),
                    "several": FIRST,
                    "otherwise": FIRST,
                    "none": NULL,
                    "why": "x",
                    **more,
                },
            )
        )

        @mapping
        def m(s: Contact) -> Holder:
            rest(s, "addresses")
            return to(Holder)(place=asked(s))

        return m

    return define_it


def test_15_prefer_asks_about_the_element() -> None:
    assert told(preferring(lambda s, a: s.name == "x")) == [
        "prefer= asks about $.name, which is not the element's. Ask about the element only"
    ]
    for prefer, what in (
        (
            lambda s, a: a.knid == "x",
            "Address at $ has no field 'knid' to be reached by .; it has kind, city",
        ),
        (
            lambda s, a: True,
            "prefer= takes comparisons with constants, joined by & and |, or a @step",
        ),
        (lambda s, a: a.kind, LOOKED_AT.replace("$.name", "$.kind")),
    ):
        assert told(preferring(prefer)) == [
            f"prefer= is no question about an element: {what}. Compare its fields"
        ]
    assert told(preferring(lambda s, a: a.kind == "x", several=by(lambda e: 1))) == [
        "several= picks by something that is no field of the element. Give by(lambda element: "
        "element.field)"
    ]
    preferring(lambda s, a: (a.kind == "x") & (a.city != "y") | (a.kind == "z"), several=LAST)()


def test_16_what_is_lost_has_a_reason() -> None:
    def cut() -> None:
        @mapping
        def m(s: Contact) -> Name:
            rest(s, "name")
            return to(Name)(name=text(s.name, max=40, over=TRUNCATE))

    def dropped() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.status, s.addresses, s.home, why=" ")
            return to(Name)(name=text(s.name, max=40, over=REJECT))

    narrowing = {**GOOD, Crm.WON: narrower(Erp.ACTIVE, why="")}
    for define_it, what in (
        (cut, "text loses something by over"),
        (statuses(GOOD, unknown=Erp.ARCHIVED), "code loses something by unknown"),
        (
            statuses(narrowing, unknown=REJECT, never=[Erp.ARCHIVED]),
            "code loses something by narrower",
        ),
        (
            preferring(lambda s, a: a.kind == "x", why=""),
            "one_of loses something by one_of",
        ),
        (
            maybes(note=lambda s: split(s.name, " ", 0, missing=NULL)),
            "split loses something by split",
        ),
        (
            maybes(note=lambda s: text(s.name, max=9, over=NULL, form=EMAIL, bad=NULL)),
            "text loses something by over and bad",
        ),
    ):
        assert told(define_it) == [
            f'{what}, and no reason is given. Give why="..." for whoever signs the mapping'
        ]
    assert set(told(dropped)) == {'fields are dropped, and no reason is given. Give why="..."'}


def test_17_a_step_says_what_it_does() -> None:
    with pytest.raises(ConfigurationError) as caught:

        @step(version="1")
        def silent(value: str) -> str:
            return value

    assert str(caught.value) == (
        "the step silent has no docstring. Say in a sentence what it does: that is its line in the "
        "document"
    )


def test_17_a_step_has_a_version() -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'version'"):
        step()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (lambda s: label("{}-{}", s.id), "the label has 2 places and 1 values"),
        (lambda s: text(s.name, max=0, over=REJECT), "max= is below 1"),
        (
            lambda s: text(s.name, form=EMAIL, max=9, over=TRUNCATE, why="x"),
            "text of a form is cut",
        ),
    ],
)
def test_settings_are_sound(note: Any, message: str) -> None:
    assert message in refused(maybes(note=note))


@pytest.mark.parametrize(
    ("total", "message"),
    [
        (lambda s: decimal(s.id, places=-1, rounding=HALF_EVEN), "places= is not from 0 to 100"),
        (lambda s: decimal(s.id, places=1, rounding=HALF_EVEN, within=(2, 1)), "wrong way round"),
        (lambda s: instant(s.name, zone="Mars/Olympus"), "the time zone 'Mars/Olympus' is unknown"),
    ],
)
def test_settings_of_numbers_and_times_are_sound(total: Any, message: str) -> None:
    assert message in refused(maybes(total=total))


# -- All at once, and what a mapping is ------------------------------------------------


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Maybe:
            return to(Maybe)(
                note=text(s.name, max=1, over=TRUNCATE),
                phone=text(s.name, missing=NULL),  # type: ignore[arg-type]
                total=constant("x"),  # type: ignore[arg-type]
            )

    with pytest.raises(MappingDefinitionError) as caught:
        define_it()

    lines = [problem.where.line for problem in caught.value.problems]
    assert len(lines) == 7
    assert len(set(lines)) == 4
    assert "has 7 problems" in str(caught.value)
    assert str(caught.value).count(__file__) == 7


def test_a_user_reads_the_name_each_problem_with_its_place_and_what_to_do() -> None:
    def define_it() -> None:
        @mapping
        def m(s: Contact) -> Name:
            drop(s.id, s.status, s.addresses, why="x")
            return to(Name)(name=text(s.name, max=40, over=TRUNCATE))

    line = define_it.__code__.co_firstlineno
    lines = refused(define_it).splitlines()

    assert lines[:3] == [
        "the mapping test_a_user_reads_the_name_each_problem_with_its_place_and_what_to_do."
        "<locals>.define_it.<locals>.m has 2 problems:",
        f"  {__file__}:{line + 4}: text loses something by over, and no reason is given. "
        'Give why="..." for whoever signs the mapping',
        f"  {__file__}:{line + 4}: home of the source is neither used nor dropped. "
        'Give it a rule, or drop(it, why="...")',
    ]
    assert lines[-1].endswith("Decide each of them, then import the module again")


class Row(TypedDict):
    name: Annotated[str, about(max=3, key="Name")]
    note: NotRequired[str]
    tags: list[str]


class Out(TypedDict):
    name: Annotated[str, about(key="NAME", max=3)]
    note: NotRequired[str]


@mapping
def rows(s: Row) -> Out:
    """A row becomes another."""
    drop(s["tags"], why="no home")
    return {
        "name": text(s["name"], max=3, over=REJECT),
        "note": text(s["note"], missing=LEAVE),
    }


def test_typed_dicts_describe_both_ends() -> None:
    assert rows({"Name": "x", "note": "n"}) == {"name": "x", "note": "n"}
    assert rows({"Name": "x"}) == {"name": "x"}
    assert rows.fields == ("NAME", "note")
    assert rows.map_batch([{"Name": "x"}]) == [("x", Unset.UNSET)]


def test_a_mapping_is_picklable_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(rows)) is rows
    assert repr(rows) == "<mapping tests.test_mapping_definition.rows>"
    assert rows.__doc__ == "A row becomes another."


def test_an_outer_function_varies_a_mapping() -> None:
    def tenant(prefix: str) -> TypedMapper[Contact, Place]:
        @mapping
        def m(s: Contact) -> Place:
            rest(s, "id")
            return to(Place)(city=label(prefix + "-{}", s.id))

        return m

    assert tenant("A")({"id": 1}) == Place("A-1")
    assert tenant("B")({"id": 1}) == Place("B-1")
    assert tenant("A").digest != tenant("B").digest
    assert tenant("A").digest == tenant("A").digest


def test_what_needs_a_value_has_a_reason_and_a_group() -> None:
    @mapping
    def m(s: Contact) -> Name:
        drop(s.status, s.addresses, s.home, why="x")
        need_one(s.id, s.name, why="nobody could be reached")
        return to(Name)(name=join(" ", keep(s.id), s.name, missing="-", max=40, over=REJECT))  # type: ignore[arg-type]

    assert m({"id": None, "name": "x"}) == Name("x")
    with pytest.raises(Exception, match=r"expected \$\.id or \$\.name, and none holds anything"):
        m({"id": None, "name": " "})


if sys.version_info < (3, 12):

    def test_a_class_with_a_private_field_is_refused() -> None:
        @define
        class Private:
            _name: str

        globals()["Private"] = Private
        with pytest.raises(ConfigurationError, match=r"Private\._name starts with an underscore"):

            @mapping
            def m(s: Private) -> Name:
                return to(Name)(name=constant("x"))


# -- What a type checker sees as well --------------------------------------------------


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (lambda s: text(s.name, missing=TRUNCATE), "missing= cannot be TRUNCATE"),
        (lambda s: text(s.name, max=3, over=FIRST), "over= cannot be FIRST"),
        (lambda s: text(s.name, max=3, over="x"), "over= is a value of type str, and no decision"),
        (lambda s: text(s.name, max=3), "text lacks over="),
        (lambda s: text(s.name, mising="x"), "text has no argument mising="),
        (lambda s: text(s.name, unit="byte", max=3, over=REJECT), "unit= is none of bytes, chars"),
        (lambda s: text(s.name, case="Upper"), "case= is none of lower, upper"),
        (lambda s: text(s.addresses), "text works on one value, and $.addresses is a list"),
        (lambda s: instant(s.name), "instant lacks zone="),
        (lambda s: decimal(s.name, places=2), "decimal lacks rounding="),
        (lambda s: code(s.name, {}), "code lacks unknown="),
        (lambda s: to_place(s.addresses), "nested works on one value, and $.addresses is a list"),
        (lambda s: to_place(s.name), "nested yields Place"),
        (lambda s: coalesce(s.name, missing=EARLIER), "missing= cannot be EARLIER"),
        (lambda s: text(coalesce(s.name), missing=NULL), "coalesce lacks missing="),
    ],
)
def test_misplaced_arguments_are_problems(note: Any, message: str) -> None:
    assert message in refused(maybes(note=note))


def test_a_mapping_takes_what_is_there() -> None:
    @mapping
    def other(s: Contact) -> Place:
        rest(s, "name")
        return to(Place)(city=text(s.name))

    said = refused(maybes(note=lambda s: nested(s.home, other, missing=NULL)))

    assert "$.home holds Address or null, and its mapping takes Contact" in said


def test_a_field_may_always_be_left_alone() -> None:
    left = maybes(phone=lambda s: constant(Unset.UNSET))()

    assert left({"id": 1, "name": "x"}).phone is Unset.UNSET
    assert "note cannot be left alone" in refused(maybes(note=lambda s: constant(Unset.UNSET)))


# -- What once was let through ---------------------------------------------------------


@pytest.mark.parametrize("pattern", ["(a|a)*b", "(?:a{1,1000}){1,1000}b", "(a+)+", "(a|ab)*c"])
def test_13_a_pattern_that_some_texts_make_endless_is_refused(pattern: str) -> None:
    @define
    class One:
        x: str

    globals().update(One=One)
    with pytest.raises(MappingDefinitionError, match="which some texts make endless"):

        @mapping
        def m(s: One) -> One:
            return to(One)(x=text(s.x, form=Form("odd", pattern)))


@pytest.mark.parametrize(
    "pattern", ["(?:a|b)*c", r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+", "(ab?)?"]
)
def test_13_a_pattern_that_reads_each_character_once_is_fine(pattern: str) -> None:
    @define
    class One:
        x: str

    globals().update(One=One)

    @mapping
    def m(s: One) -> One:
        return to(One)(x=text(s.x, form=Form("even", pattern)))


def test_17_a_step_without_a_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the step clean has no version"):

        @step(version=" ")
        def clean(x: str) -> str:
            """Clean."""
            return x


def test_17_stripped_docstrings_are_told_as_what_they_are() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-OO",
            "-c",
            "from syncsdk.mapping import step\n@step(version='1')\ndef f(x):\n    'Do.'",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )

    assert "docstrings are stripped" in done.stderr
    assert "Run Python without -OO; -O is fine" in done.stderr


def test_a_field_that_is_left_open_is_not_decided_yet() -> None:
    @define
    class One:
        x: str

    globals().update(One=One)
    with pytest.raises(MappingDefinitionError) as caught:

        @mapping
        def m(s: One) -> One:
            return to(One)(x=...)  # type: ignore[arg-type]

    (first, _) = caught.value.problems
    assert first.message == "x of One is not decided yet"
    assert first.remedy.startswith("Give it a rule in place of the three dots")


def test_a_constant_without_a_form_of_its_own_is_refused() -> None:
    @define
    class One:
        x: object

    globals().update(One=One)
    with pytest.raises(MappingDefinitionError, match="which says something else in each process"):

        @mapping
        def m(s: One) -> One:
            drop(s.x, why="x")
            return to(One)(x=constant(object()))
