"""Twenty-five hard cases, by their number: what real data does to a mapping."""

from __future__ import annotations

import enum
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from syncsdk import INTEGER, Batch, MappingError, MemoryStore
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
    flag,
    fragment,
    instant,
    integer,
    join,
    keep,
    label,
    mapping,
    nested,
    one_of,
    split,
    step,
    text,
    to,
)
from syncsdk.mapping.support import cut
from syncsdk.protocols import Counts
from syncsdk.values import UNSET, Fingerprints, Unset
from tests.fakes import Pages, Upserts, pipeline

ROOT = Path(__file__).parents[1]


@define
class One:
    """A source with one field that may hold anything."""

    x: Any


@define
class Value:
    """A destination with one field that takes anything."""

    y: Any


ANYTHING = (None, UNSET)


def one(rule: Any) -> TypedMapper[One, Value]:
    """Return a mapping of one field by a rule."""
    asked = fragment(rule)

    @mapping
    def m(s: One) -> Value:
        return to(Value)(y=asked(s.x))

    return m


def outcome(rule: Any, value: Any) -> Any:
    """Return the mapped value, or the code of the issue."""
    record = {} if value is UNSET else {"x": value}
    try:
        return one(rule)(record).y
    except MappingError as error:
        (issue,) = error.issues
        assert issue.field.partition(".")[0] == "y"
        assert issue.path.startswith("$.x")
        return issue.code


# -- 1, 2: missing in five ways --------------------------------------------------------


def test_1_absent_null_empty_blank_and_na_are_decided_apart() -> None:
    def rule(x: Any) -> Any:
        return text(x, absent="ABSENT", null="NULL", empty="EMPTY", also=("N/A", "-"))

    values = [UNSET, None, "", "   ", "N/A", "-", " N/A ", "n/a"]
    assert [outcome(rule, value) for value in values] == [
        "ABSENT",
        "NULL",
        "EMPTY",
        "EMPTY",
        "EMPTY",
        "EMPTY",
        "EMPTY",
        "n/a",
    ]


def test_1_each_has_an_issue_of_its_own() -> None:
    def rule(x: Any) -> Any:
        return text(x, missing=REJECT, also=("N/A",))

    values = [UNSET, None, "", "   ", "N/A"]
    assert [outcome(rule, value) for value in values] == [
        "absent",
        "null",
        "empty",
        "empty",
        "empty",
    ]


@define
class Touched:
    phone: str | Unset | None


@mapping
def touched(s: One) -> Touched:
    return to(Touched)(phone=text(s.x, absent=LEAVE, null=NULL, empty=NULL))


def test_2_left_alone_is_not_cleared() -> None:
    sink, store = Upserts(), MemoryStore()
    for record in ({"id": 1, "x": "5"}, {"id": 1}, {"id": 1, "x": None}):
        flow = pipeline(Pages(Batch([1], [record])), sink, touched, mapping_version=None)
        flow.run(store)

    assert [dict(change.record) for write in sink.writes for change in write] == [
        {"phone": "5"},
        {},
        {"phone": None},
    ]


def test_2_a_required_field_cannot_be_left_alone() -> None:
    @define
    class Needs:
        phone: str

    globals()["Needs"] = Needs
    with pytest.raises(MappingDefinitionError, match="phone cannot be left alone"):

        @mapping
        def m(s: One) -> Needs:
            return to(Needs)(phone=text(s.x, missing=LEAVE))  # type: ignore[arg-type]


# -- 3, 4: one of several --------------------------------------------------------------


@define
class Address:
    kind: str
    city: str
    since: str


@define
class Customer:
    addresses: list[Address]


@define
class Place:
    city: str


@define
class Billed:
    billing: Place | None


@mapping
def place(a: Address) -> Place:
    drop(a.kind, a.since, why="one only")
    return to(Place)(city=text(a.city))


def billed(**decisions: Any) -> TypedMapper[Customer, Billed]:
    decided = {"several": FIRST, "otherwise": FIRST, "none": NULL, "why": "x"} | decisions
    asked = fragment(
        lambda s: one_of(s.addresses, place, prefer=lambda a: a.kind == "billing", **decided)
    )

    @mapping
    def m(s: Customer) -> Billed:
        return to(Billed)(billing=asked(s))

    return m


def at(kind: str, city: str, since: str = "2020") -> dict[str, str]:
    return {"kind": kind, "city": city, "since": since}


HOME, BILL, BILL2 = at("home", "Home"), at("billing", "Bill", "2021"), at("billing", "Other")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], None),
        (None, None),
        (UNSET, None),
        ([HOME], "Home"),
        ([HOME, BILL], "Bill"),
        ([BILL, HOME], "Bill"),
        ([BILL, BILL2], "Bill"),
        ([HOME, at("work", "Work")], "Home"),
        ({}, "wrong_type"),
        ("", "wrong_type"),
        (0, "wrong_type"),
        (False, "wrong_type"),
        ([None], "null"),
        ([[]], "wrong_type"),
        ([BILL, 5], "wrong_type"),
        ([{}], "absent"),
        ([at("billing", "")], "empty"),
        ([{"kind": ["billing"], "city": "x", "since": ""}], "x"),
    ],
)
def test_3_one_address_of_any_number(addresses: Any, expected: Any) -> None:
    record = {} if addresses is UNSET else {"addresses": addresses}
    explained = billed().explain(record)
    if explained.value is None:
        assert explained.issues[0].code == expected
    else:
        made = explained.value.billing
        assert (made and made.city) == expected


def test_3_what_is_decided_otherwise_happens() -> None:
    def city(addresses: Any, **decisions: Any) -> Any:
        explained = billed(**decisions).explain({"addresses": addresses})
        if explained.value is None:
            return explained.issues[0].code
        return explained.value.billing and explained.value.billing.city

    assert city([BILL, BILL2], several=LAST) == "Other"
    assert city([BILL, BILL2], several=REJECT) == "several"
    assert city([BILL, BILL2], several=by(lambda a: a.since)) == "Other"
    assert city([HOME, HOME], otherwise=NULL) is None
    assert city([HOME, HOME], otherwise=REJECT) == "none_fits"
    assert city([HOME, at("work", "Work")], otherwise=LAST) == "Work"
    assert city([], none=REJECT) == "empty"
    assert city(None, none=REJECT) == "null"


def test_3_the_issue_names_the_element() -> None:
    with pytest.raises(MappingError) as caught:
        billed()({"addresses": [HOME, 5]})
    assert caught.value.issues[0].path == "$.addresses[1]"

    with pytest.raises(MappingError) as caught:
        billed()({"addresses": [at("billing", "")]})
    assert caught.value.issues[0].path == "$.addresses[0].city"
    assert caught.value.issues[0].field == "billing.city"


def test_4_the_order_of_a_list_does_not_matter_to_by() -> None:
    both = billed(several=by(lambda a: a.since))
    one_way, other_way = ({"addresses": list(order)} for order in ((BILL, BILL2), (BILL2, BILL)))

    assert both(one_way) == both(other_way)
    assert both.map_batch([one_way]) == both.map_batch([other_way])


# -- 5 to 7: options -------------------------------------------------------------------


class Crm(enum.Enum):
    LEAD = "lead"
    WON = "won"


class Erp(enum.Enum):
    PROSPECT = "P"
    ACTIVE = "A"


TABLE = {"lead": Erp.PROSPECT, "won": Erp.ACTIVE}


def test_5_a_new_option_refuses_its_record_only_or_is_counted() -> None:
    strict = one(lambda x: code(x, TABLE, unknown=REJECT))
    counted = one(lambda x: code(x, TABLE, unknown=Erp.PROSPECT, why="sales decides later"))
    records = [{"x": "lead"}, {"x": "new"}, {"x": "won"}]

    rows = strict.map_batch(records)
    assert [row for row in rows if isinstance(row, tuple)] == [("P",), ("A",)]
    assert rows[1].code == "unknown_code"
    assert counted.map_batch(records) == [("P",), ("P",), ("A",)]
    assert counted.map_batch(records).decisions == {("y", "fallback"): 1}


@define
class WithStatus:
    y: Erp


def test_6_a_removed_option_of_the_destination_is_named() -> None:
    class Smaller(enum.Enum):
        PROSPECT = "P"

    @define
    class Fewer:
        y: Smaller

    globals().update(Smaller=Smaller, Fewer=Fewer)
    with pytest.raises(MappingDefinitionError, match=r"Erp\.ACTIVE is no option of y"):

        @mapping
        def m(s: One) -> Fewer:
            return to(Fewer)(y=code(s.x, TABLE, unknown=REJECT))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("lead", Erp.PROSPECT),
        ("LEAD", "unknown_code"),
        (" lead", "unknown_code"),
        ("\uff4c\uff45\uff41\uff44", "unknown_code"),
        ("", "empty"),
        (" ", "empty"),
        (None, "null"),
        (UNSET, "absent"),
        (["lead"], "wrong_type"),
        ({"lead": 1}, "wrong_type"),
        (1, "unknown_code"),
        (True, "unknown_code"),
    ],
)
def test_7_options_are_compared_to_the_letter(value: Any, expected: Any) -> None:
    assert outcome(lambda x: code(x, TABLE, unknown=REJECT), value) == expected


def test_7_true_is_not_one() -> None:
    def numbers(x: Any) -> Any:
        return code(x, {1: "one", 2: "two"}, unknown=REJECT)

    assert [outcome(numbers, value) for value in (1, True, 1.0, "1")] == [
        "one",
        "unknown_code",
        "unknown_code",
        "unknown_code",
    ]


# -- 8 to 11: how long text is ---------------------------------------------------------

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"


@pytest.mark.parametrize("unit", ["chars", "utf16", "bytes"])
@pytest.mark.parametrize(("number", "fits"), [(255, True), (256, True), (257, False)])
def test_8_the_limit_is_exact(unit: Any, number: int, fits: bool) -> None:
    def rule(x: Any) -> Any:
        return text(x, max=256, unit=unit, over=REJECT)

    assert outcome(rule, "x" * number) == ("x" * number if fits else "too_long")


@pytest.mark.parametrize(
    ("value", "limit", "unit", "expected"),
    [
        ("abc" + FAMILY, 7, "chars", "abc"),
        ("abc" + FAMILY, 8, "chars", "abc" + FAMILY),
        ("ab" + FAMILY + "c", 10, "utf16", "ab" + FAMILY),
        ("ab" + FAMILY, 9, "utf16", "ab"),
        ("ab" + FAMILY, 19, "bytes", "ab"),
        ("x\U0001f600", 2, "utf16", "x"),
        ("x\U0001f600", 4, "bytes", "x"),
        (FLAG + FLAG, 3, "chars", FLAG),
        ("a" + FLAG, 2, "chars", "a"),
        ("q\u0301\u0302x", 2, "chars", ""),
        ("xq\u0301", 2, "chars", "x"),
        ("\U0001f44d\U0001f3fdx", 1, "chars", ""),
        ("\u2764\ufe0fx", 1, "chars", ""),
    ],
)
def test_8_what_a_reader_sees_as_one_is_not_cut(
    value: str, limit: int, unit: str, expected: str
) -> None:
    assert cut(value, limit, unit) == expected


def test_9_a_cut_leaves_no_space_behind_and_never_nothing() -> None:
    def rule(x: Any) -> Any:
        return text(x, max=4, over=TRUNCATE, why="x")

    assert outcome(rule, "abc def") == "abc"
    assert outcome(rule, "abcdef") == "abcd"
    assert outcome(rule, "\u0301" * 9) == "too_long"


@pytest.mark.parametrize(
    ("value", "case", "limit", "expected"),
    [
        ("stra\u00dfe", "upper", 6, "too_long"),
        ("stra\u00dfe", "upper", 7, "STRASSE"),
        ("\ufb00", "upper", 1, "too_long"),
        ("\u0130stanbul", "lower", 8, "too_long"),
        ("\u0958", None, 1, "too_long"),
        ("Zoe\u0308", None, 3, "Zo\u00eb"),
    ],
)
def test_10_the_limit_comes_after_case_and_normal_form(
    value: str, case: Any, limit: int, expected: str
) -> None:
    assert outcome(lambda x: text(x, case=case, max=limit, over=REJECT), value) == expected


def test_11_two_spellings_of_a_name_are_one() -> None:
    m = one(lambda x: text(x))

    assert m({"x": "Zoe\u0308"}) == m({"x": "Zo\u00eb"})
    assert m.map_batch([{"x": "Zoe\u0308"}]) == m.map_batch([{"x": "Zo\u00eb"}])


# -- 12, 13: odd characters ------------------------------------------------------------


def misread(value: str) -> str:
    """Return what becomes of UTF-8 that is read as Windows-1252: mojibake."""
    return value.encode().decode("cp1252")


def odd(*values: str) -> dict[str, int]:
    """Return what a profile finds odd about texts, and in how many of them."""
    told = one(lambda x: text(x)).profile([{"x": value} for value in values])
    return {each.what: each.times for each in told.paths["$.x"].findings}


@pytest.mark.parametrize("honest", ["Zo\u00eb", "\u00a35 Ltd", "the dog\u2019s", "\u65e5\u672c"])
def test_12_mojibake_is_told_once_and_twice_encoded_and_never_repaired(honest: str) -> None:
    once = misread(honest)
    twice = misread(once)
    m = one(lambda x: text(x, max=80, over=REJECT))

    assert odd(honest) == {}
    assert odd(once, twice) == {"with mojibake": 2}
    assert [m({"x": value}).y for value in (honest, once, twice)] == [honest, once, twice]
    assert len({mark(m, {"x": value}) for value in (honest, once, twice)}) == 3


@pytest.mark.parametrize(
    "honest",
    [
        "S\u00c3O PAULO",
        "AMANH\u00c3",
        "\u201cTR\u00c2\u201d",
        "\u00c2 \u00a35",
        "Ma\u00f1ana \u00bb",
    ],
)
def test_12_honest_capitals_are_no_mojibake(honest: str) -> None:
    assert odd(honest) == {}
    assert outcome(lambda x: text(x), honest) == honest


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\x00b", "bad_text"),
        ("a\x7f", "bad_text"),
        ("a\ufffdb", "bad_text"),
        ("half \udfff of a pair", "bad_text"),
        ("\ufeffa", "a"),
        ("a\u200bb@x.org", "ab@x.org"),
        ("a\u202eb", "ab"),
        ("line\nbreak\ttab", "line\nbreak\ttab"),
        ("S\u00c3O PAULO", "S\u00c3O PAULO"),
        ("\u00c2\u00a35 Ltd", "\u00c2\u00a35 Ltd"),
        ("\u0646\u200c\u0627", "\u0646\u200c\u0627"),
        ("\u200b", "empty"),
        ("\u00a0", "empty"),
        ("a@x.org\u200e", "a@x.org"),
    ],
)
def test_13_odd_characters_are_refused_or_removed(value: str, expected: str) -> None:
    assert outcome(lambda x: text(x), value) == expected


# -- 14, 15: numbers and times ---------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1234.50", "1234.50"),
        ("1,234.50", "bad_number"),
        ("1.234,50", "bad_number"),
        ("1e3", "bad_number"),
        ("NaN", "bad_number"),
        ("Infinity", "bad_number"),
        ("-inf", "bad_number"),
        ("\u0661\u0662", "bad_number"),
        ("1_000", "bad_number"),
        (" 12\n", "12.00"),
        ("+1.5", "1.50"),
        (".5", "bad_number"),
        ("5.", "bad_number"),
        ("", "empty"),
        ("-", "bad_number"),
        ("0.005", "0.00"),
        ("0.015", "0.02"),
        ("0.025", "0.02"),
        ("-0.001", "0.00"),
        ("-0.00", "0.00"),
        ("9" * 40 + ".125", "9" * 40 + ".12"),
        ("9" * 101, "bad_number"),
        (True, "wrong_type"),
        (0.1, "wrong_type"),
        (7, "7.00"),
        (10**30, "1" + "0" * 30 + ".00"),
        (10**200, "bad_number"),
        (Decimal("1.005"), "1.00"),
        (Decimal("NaN"), "bad_number"),
        ([1], "wrong_type"),
        (None, "null"),
    ],
)
def test_14_decimals(value: Any, expected: str) -> None:
    found = outcome(lambda x: decimal(x, places=2, rounding=HALF_EVEN), value)

    assert str(found) == expected


def test_14_floats_are_taken_if_that_is_decided() -> None:
    def rule(x: Any) -> Any:
        return decimal(x, places=2, rounding=HALF_UP, floats=SHORTEST, within=(0, 100))

    assert [
        str(outcome(rule, value)) for value in (0.1, 2.675, 1e300, float("nan"), 101.0, True)
    ] == [
        "0.10",
        "2.68",
        "bad_number",
        "bad_number",
        "out_of_range",
        "wrong_type",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        ("7", 7),
        ("-7", -7),
        ("007", 7),
        (2**70, 2**70),
        ("7.0", "bad_number"),
        (7.0, "wrong_type"),
        (True, "wrong_type"),
        ("\u0667", "bad_number"),
        ("", "empty"),
        ({}, "wrong_type"),
    ],
)
def test_14_integers(value: Any, expected: Any) -> None:
    assert outcome(lambda x: integer(x), value) == expected


NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-29T12:00:00Z", NOON),
        ("2026-03-29t14:00:00+02:00", NOON),
        ("2026-03-29 12:00:00.000000999Z", NOON),
        ("2026-03-29T12:00:00", "no_zone"),
        ("2026-03-29", "bad_date"),
        ("0001-01-01T00:00:00+14:00", "bad_date"),
        ("2026-06-30T23:59:60Z", "bad_date"),
        ("2026-03-29T24:00:00Z", "bad_date"),
        ("2026-02-30T00:00:00Z", "bad_date"),
        ("20260329T120000Z", "bad_date"),
        ("2026-W13-7T12:00:00Z", "bad_date"),
        ("2026-03-29T12:00:00+02:60", "bad_date"),
        ("2026-03-29T12:00:00.25Z", NOON + timedelta(milliseconds=250)),
        ("\u200b", "empty"),
        (1774785600, "wrong_type"),
        (1774785600000, "wrong_type"),
        ("1774785600", "bad_date"),
        ("", "empty"),
        (None, "null"),
        (NOON, NOON),
        (NOON.replace(tzinfo=None), "no_zone"),
        (NOON.date(), "wrong_type"),
    ],
)
def test_15_instants(value: Any, expected: Any) -> None:
    assert outcome(lambda x: instant(x, zone=REQUIRED), value) == expected


@pytest.mark.parametrize(
    ("value", "decisions", "expected"),
    [
        ("2026-06-01T12:00:00", {}, "2026-06-01T10:00"),
        ("2026-06-01T12:00:00Z", {}, "2026-06-01T12:00"),
        ("2026-03-29T02:30:00", {}, "bad_date"),
        ("2026-03-29T02:30:00", {"gap": EARLIER}, "2026-03-29T00:30"),
        ("2026-03-29T02:30:00", {"gap": LATER}, "2026-03-29T01:30"),
        ("2026-10-25T02:30:00", {}, "bad_date"),
        ("2026-10-25T02:30:00", {"ambiguous": EARLIER}, "2026-10-25T00:30"),
        ("2026-10-25T02:30:00", {"ambiguous": LATER}, "2026-10-25T01:30"),
        ("2026-10-25T02:30:00+01:00", {}, "2026-10-25T01:30"),
    ],
)
def test_15_wall_clocks(value: str, decisions: Any, expected: str) -> None:
    found = outcome(lambda x: instant(x, zone="Europe/Berlin", **decisions), value)

    assert (found.isoformat()[:16] if isinstance(found, datetime) else found) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-29", date(2026, 3, 29)),
        ("2026-03-29T00:00:00", "bad_date"),
        ("2026-02-30", "bad_date"),
        ("20260329", "bad_date"),
        ("29.03.2026", "bad_date"),
        (date(2026, 3, 29), date(2026, 3, 29)),
        (NOON, "bad_date"),
        (5, "wrong_type"),
    ],
)
def test_15_days(value: Any, expected: Any) -> None:
    assert outcome(lambda x: day(x), value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        ("Y", True),
        (0, False),
        ("y", "wrong_type"),
        (1, "wrong_type"),
        ("", "empty"),
        ([], "wrong_type"),
        (None, "null"),
    ],
)
def test_flags(value: Any, expected: Any) -> None:
    assert outcome(lambda x: flag(x, true=["Y"], false=[0]), value) == expected


# -- 16: labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "CRM-7"),
        ("7", "CRM-7"),
        ("007", "CRM-007"),
        (0, "CRM-0"),
        (None, "null"),
        (UNSET, "absent"),
        ("", "empty"),
        (" ", "empty"),
        (" 7", "CRM- 7"),
        ("a\u200bb", "bad_text"),
        ("e\u0301", "CRM-\u00e9"),
        ([7], "wrong_type"),
        (b"7", "wrong_type"),
        (7.0, "wrong_type"),
        (float("nan"), "wrong_type"),
        (True, "wrong_type"),
        pytest.param(10**5000, "bad_number", id="huge"),
    ],
)
def test_16_labels_keep_every_digit_and_take_nothing_odd(value: Any, expected: str) -> None:
    assert outcome(lambda x: label("CRM-{}", x), value) == expected


# -- 17: keys that come twice ----------------------------------------------------------


@define
class Keyed:
    id: Any
    name: str


@define
class Named:
    name: str


@mapping
def named(s: Keyed) -> Named:
    drop(s.id, why="the key")
    return to(Named)(name=text(s.name, max=9, over=REJECT))


def keyed(*pairs: tuple[Any, str], **columns: Any) -> tuple[list[dict[str, Any]], Batch]:
    """Return records, and the batch that they come in."""
    records = [{"id": key, "name": name} for key, name in pairs]
    return records, Batch([key for key, _ in pairs], records, **columns)


def test_17_identical_and_conflicting_keys_of_a_batch_are_written_once() -> None:
    records, batch = keyed(
        ("same", "Ada"),
        ("differs", "old"),
        ("same", "Ada"),
        (7, "Bob"),
        ("differs", "new"),
        ("7", "Eve"),
    )
    sink, store = Upserts(), MemoryStore()
    flow = pipeline(Pages(batch), sink, named, mapping_version=None)

    first, again = flow.run(store), flow.run(store)

    assert first.counts == Counts(read=6, created=3, superseded=3)
    assert again.counts == Counts(read=6, unchanged=3, superseded=3)
    assert sink.rows == {
        ("same",): {"name": "Ada"},
        ("differs",): {"name": "new"},
        ("7",): {"name": "Eve"},
    }
    assert sorted(change.key for write in sink.writes for change in write) == sorted(sink.rows)
    told = named.profile(records, key="id")
    assert {each.kind: each.times for each in told.paths["$.id"].findings} == {"same_key": 3}
    assert told.expect(duplicates=2) == [
        "3 records have the key of an earlier one ($.id), expected at most 2."
    ]


def test_17_of_conflicting_records_the_newest_decides_even_if_it_is_refused() -> None:
    _, batch = keyed(
        ("a", "new"),
        ("a", "old"),
        ("b", "fits"),
        ("b", "is too long"),
        versions=["2", "1", "1", "2"],
    )
    sink, store = Upserts(), MemoryStore()

    report = pipeline(Pages(batch, version=INTEGER), sink, named, mapping_version=None).run(store)

    assert report.counts == Counts(read=4, created=1, superseded=2, dead=1)
    assert sink.rows == {("a",): {"name": "new"}}
    assert [(letter.key, letter.code) for letter in store.letters("test")] == [(("b",), "too_long")]


def test_17_keys_that_only_look_alike_are_several_and_the_profile_says_so() -> None:
    keys = ["Zo\u00eb", "Zoe\u0308", "ZO\u00cb", " Zo\u00eb", "7", "07"]
    records, batch = keyed(*((key, f"n{at}") for at, key in enumerate(keys)))
    sink = Upserts()

    report = pipeline(Pages(batch), sink, named, mapping_version=None).run(MemoryStore())

    assert report.counts == Counts(read=6, created=6)
    assert sink.rows == {(key,): {"name": f"n{at}"} for at, key in enumerate(keys)}
    (found,) = (
        each
        for each in named.profile(records, key="id").paths["$.id"].findings
        if each.kind.endswith("_key")
    )
    assert (found.kind, found.times) == ("alike_key", 3)
    assert found.what == "with a key that looks like an earlier one"
    assert [shown for shown, _ in found.samples] == ["' Zo\u00eb'", "'ZO\u00cb'", "'Zoe\\u0308'"]


# -- 18: JSON as it comes --------------------------------------------------------------


def test_18_a_number_beyond_two_to_the_53_keeps_its_digits() -> None:
    record = json.loads('{"x": 9007199254740993, "x": 9007199254740995}')

    assert outcome(lambda x: label("{}", x), record["x"]) == "9007199254740995"
    assert outcome(lambda x: integer(x), record["x"]) == 9007199254740995


# -- 19, 20: shapes that change, several faults ----------------------------------------


@define
class Company:
    name: str
    city: str | None


@define
class Person:
    company: Company
    email: str
    secret: str = field(metadata=about(sensitive=True))


@define
class Flat:
    company: str
    city: str | None
    email: str
    secret: str


@mapping
def flat(s: Person) -> Flat:
    return to(Flat)(
        company=text(s.company.name),
        city=text(s.company.city, missing=NULL),
        email=text(s.email, form=EMAIL),
        secret=text(s.secret, max=3, over=REJECT),
    )


GOOD = {"company": {"name": "X", "city": None}, "email": "a@b.org", "secret": "abc"}


@pytest.mark.parametrize(
    ("company", "code"),
    [
        ("X", "wrong_type"),
        (["X"], "wrong_type"),
        (5, "wrong_type"),
        (None, "null"),
        (UNSET, "absent"),
    ],
)
def test_19_an_object_may_be_something_else_tomorrow(company: Any, code: str) -> None:
    record = {**GOOD, "company": company}
    if company is UNSET:
        del record["company"]

    explained = flat.explain(record)

    first = explained.issues[0]
    assert (first.field, first.code) == ("company", code)
    assert first.path.startswith("$.company")


@pytest.mark.parametrize("record", [None, [], "x", 5, [GOOD], object()])
def test_19_a_record_may_be_no_object(record: Any) -> None:
    with pytest.raises(MappingError) as caught:
        flat(record)

    (issue,) = caught.value.issues
    assert (issue.field, issue.path) == ("*", "$")


def test_20_all_faults_are_told_in_the_order_of_the_fields() -> None:
    with pytest.raises(MappingError) as caught:
        flat({"company": {"name": 5, "city": 6}, "email": "nobody", "secret": "hunter2"})

    error = caught.value
    assert [(issue.field, issue.path, issue.code) for issue in error.issues] == [
        ("company", "$.company.name", "wrong_type"),
        ("city", "$.company.city", "wrong_type"),
        ("email", "$.email", "bad_format"),
        ("secret", "$.secret", "too_long"),
    ]
    assert "hunter2" not in repr(error) + str(error) + repr(error.issues)
    assert "nobody" not in str(error) + repr(error.issues)
    assert str(error).startswith(
        "company <- $.company.name: expected text; city <- $.company.city: expected text; "
        "email <- $.email: expected an e-mail address; secret <- $.secret: expected at most 3 "
    )
    assert error.detail is not None
    assert (
        "email <- $.email: expected an e-mail address, got text of 6 characters ('nobody')"
        in error.detail
    )
    assert "hunter2" not in error.detail
    assert [issue.value for issue in error.issues] == [5, 6, "nobody", UNSET]
    assert dict(flat.explain(GOOD).provenance)["secret"] == (("$.secret", "***"),)


# -- 21, 22, 23: steps, threads --------------------------------------------------------


@step(version="1")
def looked_up(value: str) -> str:
    """Look the value up."""
    return {"a": "A"}[value]


def test_21_a_step_that_raises_is_a_failed_step() -> None:
    assert outcome(lambda x: looked_up(x), "a") == "A"
    m = one(lambda x: looked_up(x))
    (issue,) = m.explain({"x": "b"}).issues
    assert issue.code == "step_failed"
    assert issue.reason == "test_mapping_hard_cases.looked_up raised KeyError"
    assert looked_up("a") == "A"


def test_21_a_step_refuses_a_record_in_its_own_words() -> None:
    @step(version="1")
    def decided(said: str, more: str | None) -> str:
        """Decide."""
        raise MappingError(f"{len(said)} characters decide nothing", **hints[said])

    hints: dict[str, dict[str, str]] = {
        "bare": {},
        "coded": {"code": "undecided", "path": "a field of mine"},
        "placed": {"code": "undecided", "path": "$.y"},
    }

    @mapping
    def m(s: Value) -> Value:
        return to(Value)(y=decided(s.y, s.y))

    found = [m.explain({"y": said}).issues for said in hints]
    assert [(each.code, str(each)) for (each,) in found] == [
        ("rejected", "y <- $.y: 4 characters decide nothing"),
        ("undecided", "y <- $.y: 5 characters decide nothing"),
        ("undecided", "y <- $.y: 6 characters decide nothing"),
    ]


def test_21_out_of_memory_is_not_an_issue() -> None:
    @step(version="1")
    def huge(value: str) -> str:
        """Ask for too much."""
        raise MemoryError

    (issue,) = one(lambda x: huge(x)).explain({"x": "b"}).issues
    assert issue.code == "step_failed"


def branching() -> None:
    @mapping
    def m(s: Value) -> Value:
        if s.y is None:
            return to(Value)(y=constant("none"))
        return to(Value)(y=text(s.y))


def either() -> None:
    @mapping
    def m(s: Value) -> Value:
        return to(Value)(y=text(s.y or ""))


def matching() -> None:
    @mapping
    def m(s: Value) -> Value:
        match s.y:
            case None:
                return to(Value)(y=constant("none"))
        return to(Value)(y=text(s.y))


def looping() -> None:
    @mapping
    def m(s: Value) -> Value:
        return to(Value)(y=constant([str(each) for each in s.y]))


def formatting() -> None:
    @mapping
    def m(s: Value) -> Value:
        return to(Value)(y=text(f"{s.y}"))


STRAIGHT = (
    "a mapping is a straight line of rules, and {}. Decide with rules, in a @step, or in two "
    "mappings"
)


@pytest.mark.parametrize(
    ("define_it", "message"),
    [
        (branching, STRAIGHT.format("it branches or loops")),
        (either, STRAIGHT.format("it branches or loops")),
        (matching, STRAIGHT.format("it branches or loops")),
        (looping, STRAIGHT.format("it loops")),
        (
            formatting,
            "$.y is looked at, and there is no value yet: hand it to a rule, a @step or another "
            "mapping. Name rules and hand them fields of the source; what needs a look at a value "
            "is a @step",
        ),
    ],
)
def test_22_what_looks_at_a_value_is_refused(define_it: Any, message: str) -> None:
    with pytest.raises(MappingDefinitionError) as caught:
        define_it()

    assert message in [f"{each.message}. {each.remedy}" for each in caught.value.problems]


def test_22_a_name_for_a_field_is_allowed() -> None:
    @mapping
    def m(s: Value) -> Value:
        name = s.y
        return to(Value)(y=text(name))

    assert m({"y": " a "}) == Value("a")


def test_23_threads_share_a_mapping_and_count_exactly() -> None:
    m = one(lambda x: text(x, max=3, over=TRUNCATE, why="x"))
    records = [{"x": "abcdef"}, {"x": "ab"}] * 500
    seen: list[Any] = []

    def work() -> None:
        seen.extend(m.map_batch(records).decisions[("y", "cut")] for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [500] * 160


# -- 24: fingerprints ------------------------------------------------------------------


@define
class Both:
    a: Any
    b: Any


@mapping
def both(s: Both) -> Both:
    return to(Both)(a=keep(s.a), b=keep(s.b))


@mapping
def read(s: Both) -> Both:
    return to(Both)(
        a=decimal(s.a, places=2, rounding=HALF_EVEN, floats=SHORTEST),
        b=instant(s.b, zone=REQUIRED),
    )


@define
class Left:
    y: str | Unset | None


@mapping
def left(s: One) -> Left:
    return to(Left)(y=text(s.x, absent=LEAVE, null=NULL, empty=""))


def mark(mapper: TypedMapper[Any, Any], record: Any) -> str:
    """Return the fingerprint of what becomes of a record."""
    (row,) = mapper.map_batch([record])
    return Fingerprints(mapper.fields).of(row).hex()


INDIA = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
ALIKE: list[tuple[TypedMapper[Any, Any], list[Any]]] = [
    (both, [{"a": "ab", "b": "c"}, {"b": "c", "a": "ab"}]),
    (both, [{"a": {"x": 1, "y": 2}, "b": ""}, {"a": {"y": 2, "x": 1}, "b": ""}]),
    (both, [{"a": [{"x": 1, "y": {}}], "b": ""}, {"a": [{"y": {}, "x": 1}], "b": ""}]),
    (both, [{"a": "abc", "b": "abc"}, {"a": sys.intern("abc"), "b": "".join(["ab", "c"])}]),
    (both, [{"a": [1000, 1000], "b": 1000}, {"a": [500 * 2, 10**3], "b": int("1000")}]),
    (both, [{"a": Decimal(x), "b": 0} for x in ("1.5", "1.50", "15E-1", "0.15e1")]),
    (both, [{"a": Decimal(x), "b": 0} for x in ("0", "-0.00", "0E+9")]),
    (both, [{"a": x, "b": 0} for x in (NOON, INDIA)]),
    (read, [{"a": x, "b": NOON} for x in ("1.5", "1.50", " +1.500", 1.5, Decimal("15E-1"))]),
    (read, [{"a": 0, "b": x} for x in (NOON, INDIA, "2026-03-29t12:00:00z", INDIA.isoformat())]),
    (left, [{"x": "Zo\u00eb"}, {"x": "Zoe\u0308"}, {"x": " Zo\u00eb\u200b"}]),
]
"""Records of a mapping that become the same."""
APART: list[tuple[TypedMapper[Any, Any], list[Any]]] = [
    (left, [{"x": None}, {"x": ""}, {}, {"x": "None"}, {"x": "UNSET"}, {"x": "null"}]),
    (both, [{"a": "ab", "b": "c"}, {"a": "a", "b": "bc"}, {"a": "abc", "b": ""}]),
    (both, [{"a": "", "b": "abc"}, {"a": "c", "b": "ab"}, {"a": ["ab", "c"], "b": ""}]),
    (both, [{"a": x, "b": 0} for x in ("1", 1, True, 1.0, Decimal(1), [1], {"1": 1}, b"1")]),
    (both, [{"a": x, "b": 0} for x in (0, False, "", None, [], {}, "0", b"")]),
    (both, [{"a": x, "b": 0} for x in (NOON, NOON.replace(tzinfo=None), NOON.date())]),
    (both, [{"a": x, "b": 0} for x in (NOON, NOON.isoformat(), "2026-03-29T12:00:00Z")]),
    (both, [{"a": Decimal(x), "b": 0} for x in ("1.5", "1.50000000000000000000000000001", "15")]),
]
"""Records of a mapping that all become something else."""


def marks() -> list[list[str]]:
    return [[mark(mapper, each) for each in records] for mapper, records in ALIKE + APART]


def test_24_what_means_the_same_has_one_fingerprint() -> None:
    assert [len(set(each)) for each in marks()[: len(ALIKE)]] == [1] * len(ALIKE)


def test_24_what_means_something_else_has_another_fingerprint() -> None:
    found = marks()[len(ALIKE) :]

    assert [len(set(each)) for each in found] == [len(records) for _, records in APART]


def test_24_a_batch_has_the_fingerprints_of_its_records() -> None:
    for mapper, records in ALIKE + APART:
        rows = mapper.map_batch(records)
        together = [each.hex() for each in Fingerprints(mapper.fields).of_all(rows)]  # type: ignore[union-attr]
        assert together == [mark(mapper, record) for record in records]


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_24_fingerprints_are_the_same_in_another_process(seed: str) -> None:
    # test_mapping_golden holds them against those of every Python.
    told = subprocess.check_output(
        [sys.executable, "-c", f"from {__name__} import marks; print(marks())"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        text=True,
    )

    assert told == f"{marks()}\n"


# -- 25: what the digest sees ----------------------------------------------------------


def test_25_a_reason_is_not_part_of_the_rules() -> None:
    def cutting(limit: int, why: str) -> str:
        return one(lambda x: text(x, max=limit, over=TRUNCATE, why=why)).digest

    assert cutting(80, "a") == cutting(80, "b")
    assert cutting(80, "a") != cutting(81, "a")


def test_25_a_table_a_step_and_a_nested_rule_are() -> None:
    def table(option: Erp) -> str:
        return one(lambda x: code(x, {**TABLE, "won": option}, unknown=REJECT)).digest

    def stepping(version: str) -> str:
        made = step(version=version)(looked_up.function)
        return one(lambda x: made(x)).digest

    assert table(Erp.ACTIVE) != table(Erp.PROSPECT)
    assert stepping("1") == one(lambda x: looked_up(x)).digest
    assert stepping("1") != stepping("2")
    assert billed().digest != billed(several=LAST).digest


def test_25_a_table_that_a_step_looks_things_up_in_is() -> None:
    def digest(table: dict[str, str] | None) -> str:
        @step(version="1", tables=table and {"Spellings": table})
        def spelt(said: str) -> str:
            """Spell."""
            return said

        @mapping
        def m(s: Value) -> Value:
            return to(Value)(y=spelt(s.y))

        return m.digest

    assert digest({"a": "A"}) == digest({"a": "A"})
    assert len({digest(None), digest({"a": "A"}), digest({"a": "B"}), digest({"b": "A"})}) == 4


# -- The other rules -------------------------------------------------------------------


def test_join_takes_what_is_there() -> None:
    @define
    class Names:
        first: str | None
        last: str | None

    globals()["Names"] = Names

    @mapping
    def m(s: Names) -> Value:
        return to(Value)(y=join(" ", s.first, s.last, missing="?", max=9, over=TRUNCATE, why="x"))

    def joined(*names: Any) -> Any:
        return m(dict(zip(("first", "last"), names, strict=False))).y

    assert joined("Ada", " Lovelace") == "Ada Lovel"
    assert joined(None, "Ada") == "Ada"
    assert joined("", " ") == "?"
    assert joined() == "?"
    found = m.explain({"first": "Ada", "last": 5}).issues
    assert [(x.code, x.path, x.value) for x in found] == [("wrong_type", "$.last", 5)]


def test_of_several_values_the_one_at_fault_is_named() -> None:
    @define
    class Parts:
        a: str
        b: str

    globals()["Parts"] = Parts

    @mapping
    def m(s: Parts) -> Value:
        return to(Value)(y=label("{} {}", s.a, s.b))

    def told(record: Any) -> Any:
        (issue,) = m.explain(record).issues
        return issue.code, issue.path, issue.value

    assert told({"a": "x"}) == ("absent", "$.b", UNSET)
    assert told({"a": "x", "b": [1]}) == ("wrong_type", "$.b", [1])
    assert told({"a": "", "b": "y"}) == ("empty", "$.a", "")


def test_split_takes_a_part() -> None:
    def part(number: int) -> Any:
        return lambda x: split(x, ",", number, missing=NULL, why="x")

    assert outcome(part(0), "a, b") == "a"
    assert outcome(part(-1), "a, b") == "b"
    assert outcome(part(2), "a, b") is None
    assert outcome(part(-3), "a, b") is None
    assert outcome(part(1), "a,") is None
    assert outcome(part(0), None) is None
    assert outcome(part(0), 5) == "wrong_type"


def test_coalesce_takes_the_first_that_is_there() -> None:
    @define
    class Phones:
        mobile: str | None
        work: str | None

    globals()["Phones"] = Phones

    @mapping
    def m(s: Phones) -> Value:
        return to(Value)(
            y=text(coalesce(s.mobile, s.work, missing=NULL), missing="none", max=4, over=REJECT)
        )

    assert m({"mobile": " ", "work": "12"}).y == "12"
    assert m({"mobile": "34", "work": "12"}).y == "34"
    assert m({}).y == "none"
    assert [(x.code, x.path) for x in m.explain({"work": "12345"}).issues] == [
        ("too_long", "$.mobile or $.work")
    ]


def test_each_maps_every_element() -> None:
    @define
    class Many:
        places: list[Place]

    globals()["Many"] = Many

    @mapping
    def m(s: Customer) -> Many:
        return to(Many)(places=each(s.addresses, place))

    assert m({"addresses": [HOME, BILL]}) == Many([Place("Home"), Place("Bill")])
    assert m({"addresses": []}) == Many([])
    assert m.map_batch([{"addresses": [HOME]}]) == [([{"city": "Home"}],)]
    (issue,) = m.explain({"addresses": [HOME, at("x", "")]}).issues
    assert (issue.path, issue.field, issue.code) == ("$.addresses[1].city", "places.city", "empty")
    assert [x.code for x in m.explain({"addresses": None}).issues] == ["null"]


def test_a_nested_object_may_be_missing_or_must_be_there() -> None:
    @define
    class Home:
        home: Address | None

    @define
    class Must:
        home: Address

    globals().update(Home=Home, Must=Must)

    @mapping
    def may(s: Home) -> Billed:
        return to(Billed)(billing=nested(s.home, place, missing=NULL))

    @mapping
    def must(s: Must) -> Billed:
        return to(Billed)(billing=place(s.home))

    assert may({"home": None}) == may({}) == Billed(None)
    assert may({"home": HOME}) == must({"home": HOME}) == Billed(Place("Home"))
    assert [x.code for x in must.explain({"home": None}).issues] == ["null"]
    assert [x.path for x in must.explain({"home": {"city": 5}}).issues] == ["$.home.city"]


def test_a_record_within_the_record_is_made_of_the_same_source() -> None:
    @mapping
    def m(s: Address) -> Billed:
        drop(s.kind, s.since, why="x")
        return to(Billed)(billing=to(Place)(city=text(s.city)))

    assert m(HOME) == Billed(Place("Home"))
    assert m.map_batch([HOME]) == [({"city": "Home"},)]
    assert [(x.field, x.path) for x in m.explain({"city": 1}).issues] == [
        ("billing.city", "$.city")
    ]


def test_kept_values_are_as_they_are() -> None:
    values = [5, "x", None, [1], {"a": [None]}, True, 1.5]

    assert [outcome(lambda x: keep(x), value) for value in values] == values
    assert outcome(lambda x: keep(x), UNSET) == "absent"


def test_bad_values_may_be_answered() -> None:
    def answered(rule: Any, *values: Any) -> list[Any]:
        return [outcome(rule, value) for value in values]

    assert answered(lambda x: text(x, form=EMAIL, bad=NULL, why="x"), "a@b.org", "b", 5) == [
        "a@b.org",
        None,
        "wrong_type",
    ]
    zero = Decimal(0)
    assert answered(
        lambda x: decimal(x, places=0, rounding=HALF_UP, within=(0, 9), bad=zero, why="x"),
        "x",
        "10",
        10,
        "9",
        True,
    ) == [zero, zero, zero, 9, "wrong_type"]
    assert answered(lambda x: integer(x, within=(0, 9), bad=-1, why="x"), "x", 10, 9) == [-1, -1, 9]
    assert answered(lambda x: day(x, bad=NULL, why="x"), "x", "2026-01-01") == [
        None,
        date(2026, 1, 1),
    ]
    assert answered(lambda x: instant(x, zone=REQUIRED, bad=NULL, why="x"), "x", 5) == [
        None,
        "wrong_type",
    ]
    assert answered(lambda x: flag(x, bad=False, why="x"), "x", True) == [False, True]


def test_the_destinations_own_class_may_refuse() -> None:
    @define
    class Picky:
        y: Any = field()

        @y.validator
        def _(self, _: Any, value: Any) -> None:
            raise ValueError(f"not {value}")

    globals()["Picky"] = Picky

    @mapping
    def m(s: One) -> Picky:
        return to(Picky)(y=text(s.x))

    (issue,) = m.explain({"x": "secret"}).issues
    assert (issue.field, issue.code) == ("*", "refused")
    assert "secret" not in issue.reason
    (row,) = m.map_batch([{"x": "secret"}])
    assert row.issues == (issue,)


def test_a_dead_letter_holds_the_issues_and_is_replayed_once_the_mapping_is_mended() -> None:
    sink, store = Upserts(), MemoryStore()
    source = Pages(Batch([1, 2], [{"x": "a@b.org"}, {"x": "nobody"}]))
    strict = one(lambda x: text(x, form=EMAIL))
    lenient = one(lambda x: text(x, form=EMAIL, bad=NULL, why="they have none"))

    report = pipeline(source, sink, strict, mapping_version=None).run(store)
    (letter,) = store.letters("test")
    replayed = pipeline(source, sink, lenient, mapping_version=None).replay(store)

    assert report.refusals == {f"map: {letter.reason}": 1}
    assert letter.reason.startswith("y <- $.x: expected an e-mail address. ")
    assert letter.code == "bad_format"
    assert (
        letter.detail == "y <- $.x: expected an e-mail address, got text of 6 characters ('nobody')"
    )
    assert replayed.counts.created == 1
    assert sink.rows["2",] == {"y": None}
    assert replayed.decisions == {"y nulled": 1}


def test_decisions_are_told_in_the_report_and_in_the_plan() -> None:
    source = Pages(*(Batch([n], [{"x": "long" * n}]) for n in range(1, 4)))
    m = one(lambda x: text(x, max=4, over=TRUNCATE, why="x"))
    flow = pipeline(source, Upserts(), m, mapping_version=None)

    plan = flow.plan(MemoryStore())
    report = flow.run(MemoryStore())

    assert plan.decisions == {("y", "cut"): 2}
    assert "  y cut 2 ×" in str(plan)
    assert report.decisions == {"y cut": 2}
    assert "  y cut 2 ×" in str(report)
    assert json.loads(report.as_json())["decisions"] == {"y cut": 2}


def test_an_error_survives_pickling() -> None:
    with pytest.raises(MappingError) as caught:
        flat({})

    assert pickle.loads(pickle.dumps(caught.value)).issues == caught.value.issues


def test_a_traceback_shows_the_generated_line() -> None:
    import linecache

    m = one(lambda x: text(x))
    m.map_batch([{"x": "a"}])

    (name,) = {name for name in linecache.cache if name == "<syncsdk mapping m for sinks>"}
    assert linecache.getline(name, 1).startswith("def record")
    assert m.source.startswith("def record")


def test_the_digest_is_the_same_in_another_process() -> None:
    code_ = (
        "from tests.test_mapping_hard_cases import flat, touched, place;"
        "print(flat.digest, touched.digest, place.digest)"
    )
    told = {
        subprocess.check_output(
            [sys.executable, "-c", code_],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(ROOT)},
        ).decode()
        for seed in ("1", "2")
    }

    assert told == {f"{flat.digest} {touched.digest} {place.digest}\n"}


# -- What may not be seen --------------------------------------------------------------


@define
class Hidden:
    city: str = field(metadata=about(sensitive=True))


@define
class Holders:
    all: list[Hidden]
    plain: str


@define
class Shown:
    one: Place
    secret: str = field(metadata=about(sensitive=True))


def test_what_is_sensitive_is_masked_in_lists_and_for_its_destination() -> None:
    @mapping
    def inner(h: Hidden) -> Place:
        return to(Place)(city=text(h.city))

    @mapping
    def m(s: Holders) -> Shown:
        return to(Shown)(
            one=one_of(
                s.all,
                inner,
                prefer=lambda h: h.city == "x",
                several=REJECT,
                otherwise=REJECT,
                none=REJECT,
                why="x",
            ),
            secret=text(s.plain, max=3, over=REJECT),
        )

    explained = m.explain({"all": [{"city": "hunter2"}], "plain": "hunter2"})

    assert [issue.code for issue in explained.issues] == ["none_fits", "too_long"]
    assert "hunter2" not in str([issue.quoted for issue in explained.issues])
    assert "hunter2" not in repr(explained)


def test_a_step_may_take_the_whole_record() -> None:
    @step(version="1")
    def both(record: Any) -> str:
        """Join name and city."""
        return f"{record['kind']}, {record['city']}"

    @mapping
    def m(s: Address) -> Value:
        return to(Value)(y=both(s))

    assert m(HOME) == Value("home, Home")
    assert [x.code for x in m.explain({}).issues] == ["step_failed"]


def test_a_rule_that_has_a_name_runs_once_and_is_told_once() -> None:
    ran: list[str] = []

    @step(version="1")
    def seen(said: str) -> str:
        """Look."""
        ran.append(said)
        if said == "bad":
            raise MappingError("it is bad")
        return said

    @define
    class Twice:
        one: str
        two: str

    globals().update(Twice=Twice)

    @mapping
    def named(s: Value) -> Twice:
        looked = seen(s.y)
        return to(Twice)(one=looked, two=join("", looked, looked, missing=REJECT))

    @mapping
    def apart(s: Value) -> Twice:
        return to(Twice)(one=seen(s.y), two=seen(s.y))

    assert named({"y": "a"}) == Twice("a", "aa")
    assert ran == ["a"]
    assert named.map_batch([{"y": "a"}]) == [("a", "aa")]
    assert [each.field for each in named.explain({"y": "bad"}).issues] == ["one"]
    assert [each.field for each in apart.explain({"y": "bad"}).issues] == ["one", "two"]


def test_a_shared_rule_runs_for_the_field_that_comes_to_it_first() -> None:
    @define
    class Pairs:
        x: str | None
        y: str

    globals().update(Pairs=Pairs)

    @mapping
    def m(s: Pairs) -> Pairs:
        other = text(s.y, max=3, over=REJECT)
        return to(Pairs)(x=coalesce(s.x, other, missing=REJECT), y=other)

    assert m({"x": None, "y": "b"}) == Pairs("b", "b")
    assert m({"x": "a", "y": "b"}) == Pairs("a", "b")
    for x, first in (None, "x"), ("a", "y"):
        found = m.explain({"x": x, "y": "long"}).issues
        assert [(each.field, each.code) for each in found] == [(first, "too_long")]


def test_a_key_on_the_wire_may_be_empty_text() -> None:
    @define
    class Odd:
        y: str = field(metadata=about(key=""))

    globals().update(Odd=Odd)

    @mapping
    def m(s: Odd) -> Value:
        return to(Value)(y=text(s.y))

    assert m({"": "a"}) == Value("a")


def test_a_constant_may_leave_its_field_alone() -> None:
    @define
    class Alone:
        y: str | Unset
        z: str | None

    globals().update(Alone=Alone)

    @mapping
    def m(s: Value) -> Alone:
        drop(s.y, why="x")
        return to(Alone)(y=constant(UNSET), z=constant(None))

    assert m({"y": "a"}) == Alone(y=UNSET, z=None)
    assert m.map_batch([{"y": "a"}]) == [(UNSET, None)]


def test_a_whole_record_that_a_step_takes_is_masked_if_anything_in_it_is_sensitive() -> None:
    @step(version="1")
    def size(record: Any) -> str:
        """Count its fields."""
        return str(len(record))

    @mapping
    def m(s: Hidden) -> Value:
        return to(Value)(y=label("{}{}", size(s), s.city))

    explained = m.explain({"city": ["hunter2"]})
    assert "hunter2" not in repr(explained) + str([issue.quoted for issue in explained.issues])
    assert [str(issue) for issue in m.explain({}).issues] == [
        "y <- $.city: it is required, and not there"
    ]


def test_what_is_kept_from_within_an_object_is_there_or_refused() -> None:
    @define
    class Nest:
        sure: Address
        maybe: Address | None

    @define
    class Two:
        y: str
        z: str | None

    globals().update(Nest=Nest, Two=Two)

    @mapping
    def m(s: Nest) -> Two:
        drop(s.sure.kind, s.sure.since, s.maybe.kind, s.maybe.since, why="x")  # type: ignore[union-attr]
        return to(Two)(y=keep(s.sure.city), z=keep(s.maybe.city))  # type: ignore[union-attr]

    assert m({"sure": HOME, "maybe": None}) == Two("Home", None)
    found = [(x.field, x.code) for x in m.explain({"sure": None, "maybe": {}}).issues]
    assert found == [("y", "null"), ("z", "absent")]
    with pytest.raises(MappingDefinitionError, match="y does not take null"):

        @mapping
        def n(s: Nest) -> Two:
            drop(s.sure, s.maybe.kind, s.maybe.since, why="x")  # type: ignore[union-attr]
            return to(Two)(y=keep(s.maybe.city), z=constant(None))  # type: ignore[union-attr]


def test_a_fragment_of_a_fragment_is_one() -> None:
    once = fragment(lambda x: text(x))

    assert outcome(fragment(once), " a ") == "a"


# -- What the fuzzer found -------------------------------------------------------------


@define
class Ranked:
    lat: Any


@define
class Spots:
    all: list[Ranked]


def test_by_takes_a_number_that_refuses_to_be_compared() -> None:
    @define
    class Spot:
        lat: Any

    @define
    class Best:
        spot: Spot

    globals().update(Spot=Spot, Best=Best)

    @mapping
    def spot(s: Ranked) -> Spot:
        return to(Spot)(lat=keep(s.lat))

    @mapping
    def best(s: Spots) -> Best:
        return to(Best)(
            spot=one_of(
                s.all,
                spot,
                prefer=lambda a: a.lat != "x",
                several=by(lambda a: a.lat),
                otherwise=REJECT,
                none=REJECT,
                why="x",
            )
        )

    odd = [{"lat": Decimal("sNaN")}, {"lat": Decimal("NaN")}, {"lat": Decimal(2)}, {"lat": 1.5}]
    assert best.map_batch([{"all": odd}]) == [({"lat": 1.5},)]


def test_a_gap_in_text_costs_no_more_than_its_length() -> None:
    gap = "x" + " " * 200_000 + "y"
    began = time.process_time()

    for rule in (lambda x: coalesce(x, missing="-"), lambda x: text(x, also=["x"])):
        assert outcome(rule, gap) == gap
    assert time.process_time() - began < 2.0


def test_the_path_of_an_element_is_told_whatever_its_keys_are_called() -> None:
    @define
    class Odd:
        one: str = field(metadata=about(key="this or that"))

    @define
    class Odds:
        all: list[Odd]

    @define
    class Places:
        all: list[Place]

    globals().update(Odd=Odd, Odds=Odds, Places=Places)

    @mapping
    def inner(s: Odd) -> Place:
        return to(Place)(city=text(s.one))

    @mapping
    def m(s: Odds) -> Places:
        return to(Places)(all=each(s.all, inner))

    (issue,) = m.explain({"all": [{"this or that": 5}]}).issues
    assert issue.path == "$.all[0].this or that"


def test_the_repr_of_an_explanation_shows_no_value() -> None:
    @mapping
    def m(s: Value) -> Value:
        return to(Value)(y=text(s.y))

    assert "hunter2" not in repr(m.explain({"y": "hunter2"}))
