"""The profile of a mapping over data whose numbers were worked out by hand."""

from __future__ import annotations

import enum
import html.parser
import json
import random
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypedDict

import pytest
from attrs import define, field

from syncsdk.errors import ConfigurationError, MappingError
from syncsdk.mapping import (
    EMAIL,
    FIRST,
    HALF_EVEN,
    NULL,
    REJECT,
    REQUIRED,
    SHORTEST,
    TRUNCATE,
    TypedMapper,
    about,
    coalesce,
    code,
    day,
    decimal,
    drop,
    each,
    fragment,
    instant,
    integer,
    keep,
    label,
    mapping,
    need_one,
    nested,
    one_of,
    step,
    text,
    to,
)
from syncsdk.mapping.profile import Finding, PathProfile, Profile, profile
from syncsdk.mapping.support import said
from syncsdk.values import UNSET


class Crm(enum.Enum):
    LEAD = "lead"
    WON = "won"


class Erp(enum.Enum):
    PROSPECT = "P"
    ACTIVE = "A"


@define
class Address:
    kind: str
    city: str


@define
class Owner:
    name: str
    born: date | None


@define
class Contact:
    id: int
    name: str
    status: Crm
    score: float | None
    tags: list[str]
    owner: Owner | None
    addresses: list[Address]
    since: str
    token: str = field(metadata=about(sensitive=True))


@define
class City:
    city: str


@define
class Account:
    id: str
    name: str
    status: Erp
    score: Decimal | None
    owner: City | None
    billing: City | None
    since: datetime
    token: str


@mapping
def city(a: Address) -> City:
    drop(a.kind, why="one address only")
    return to(City)(city=text(a.city, max=6, over=REJECT))


@mapping
def owner(o: Owner) -> City:
    drop(o.born, why="nobody asks")
    return to(City)(city=text(o.name, max=3, over=TRUNCATE, why="initials"))


@mapping(owner="crm-team")
def account(s: Contact) -> Account:
    drop(s.tags, why="no home")
    return to(Account)(
        id=label("CRM-{}", s.id),
        name=text(s.name, max=8, over=TRUNCATE, why="small screens"),
        status=code(s.status, {Crm.LEAD: Erp.PROSPECT, Crm.WON: Erp.ACTIVE}, unknown=REJECT),
        score=decimal(s.score, places=1, rounding=HALF_EVEN, floats=SHORTEST, missing=NULL),
        owner=nested(s.owner, owner, missing=NULL),
        billing=one_of(
            s.addresses,
            city,
            prefer=lambda a: a.kind == "billing",
            several=FIRST,
            otherwise=FIRST,
            none=NULL,
            why="one address only",
        ),
        since=instant(s.since, zone=REQUIRED),
        token=text(s.token, max=20, over=REJECT),
    )


def contact(**changed: Any) -> dict[str, Any]:
    """Return a record that is mapped, changed; UNSET removes a field."""
    record = {
        "id": 1,
        "name": "Ada",
        "status": "lead",
        "score": 1.5,
        "tags": [],
        "owner": None,
        "addresses": [],
        "since": "2024-05-01T00:00:00Z",
        "token": "t",
    } | changed
    return {key: value for key, value in record.items() if value is not UNSET}


def at(path: str, *records: Any, mapper: TypedMapper[Any, Any] = account) -> PathProfile:
    return profile(mapper, records).paths[path]


@define
class One:
    x: Any


@define
class Value:
    y: Any


def one(rule: Any) -> TypedMapper[One, Value]:
    """Return a mapping of one field by a rule."""
    asked = fragment(rule)

    @mapping
    def m(s: One) -> Value:
        return to(Value)(y=asked(s.x))

    return m


def kept(x: Any) -> Any:
    return keep(x)


def ones(rule: Any, *values: Any) -> PathProfile:
    """Return what lies at ``$.x`` if it holds these values."""
    return at("$.x", *({"x": value} for value in values), mapper=one(rule))


def found(its: PathProfile, kind: str) -> dict[str, tuple[int, dict[str, int]]]:
    """Return the findings of a kind: how often and the samples, by what they are."""
    return {
        each.what: (each.times, dict(each.samples)) for each in its.findings if each.kind == kind
    }


# -- What is counted -------------------------------------------------------------------


def test_absent_null_empty_and_blank_edges_are_counted_apart() -> None:
    names = [UNSET, None, "", "   ", " Ada", "Ada ", "Ada", 5]

    its = at("$.name", *(contact(name=name) for name in names))

    assert (its.total, its.present, its.null, its.empty, its.edges) == (8, 7, 1, 2, 2)
    assert its.types == {"text": 5, "integer": 1}
    assert (its.shortest, its.longest) == (0, 4)
    assert its.words == "present 87.5 %, null 12.5 %, blank 25.0 %"
    assert [each.words for each in its.findings] == [
        "1 refused: it is required and not there",
        "2 refused: it is required and blank",
        "1 refused: it is required and null",
        "1 refused: it is of another type",
    ]


def test_values_that_differ_are_counted_with_their_types() -> None:
    its = ones(kept, "a", "b", "a", 1, True, 1.0, "1", None, "a", [], {})

    assert its.distinct == 6
    assert its.top == (("'a'", 3), ("'1'", 1), ("'b'", 1), ("1", 1), ("1.0", 1), ("true", 1))
    assert its.types == {
        "text": 5,
        "integer": 1,
        "list": 1,
        "number": 1,
        "object": 1,
        "true or false": 1,
    }
    assert its.empty == 2


def test_text_of_another_class_is_text() -> None:
    its = ones(kept, "open", Text("open"))

    assert (its.types, its.top) == ({"text": 2}, (("'open'", 2),))


def test_a_thousand_different_values_are_told_apart_and_no_more() -> None:
    values = [str(number) for number in range(1000)]

    assert ones(kept, *values, *values).distinct == 1000
    more = ones(kept, *values, "x", "x", "x", *values)
    assert more.distinct is None
    assert more.top[0] == ("'0'", 2)


def test_long_texts_are_told_apart_and_shown_short() -> None:
    its = ones(kept, "a" * 300, "a" * 300, "a" * 299 + "b", "a" * 60, "a" * 61)

    assert its.distinct == 4
    assert its.top[0] == ("'" + "a" * 60 + "…'", 2)
    assert {shown for shown, _ in its.top} == {"'" + "a" * 60 + "'", "'" + "a" * 60 + "…'"}


def test_numbers_have_a_range() -> None:
    its = at("$.score", *(contact(score=x) for x in (3, -0.5, float("nan"), float("inf"), "7")))

    assert (its.least, its.most) == ("-0.5", "7")
    assert ones(kept, "7").least is None
    assert ones(kept, Decimal("1e30"), 10**5000).least == "1.000000e+30"
    assert [ones(kept, zero).least for zero in (0, 0.0, -0.0, Decimal("-0.00"))] == ["0"] * 4
    assert ones(lambda x: integer(x), " 7 ", "-3", "x", 5).most == "7"
    assert ones(kept, Decimal("NaN"), Decimal("sNaN"), Decimal("1.50"), Decimal(-2)).most == "1.5"


def test_dates_outside_of_two_centuries_are_odd() -> None:
    words = "with a date before 1900 or after 2100"
    times = ["1899-12-31T00:00:00Z", "1900-01-01T00:00:00Z", "2100-12-31T00:00:00Z", "9999-12-31"]

    its = at("$.since", *(contact(since=when) for when in times))
    assert found(its, "odd") == {words: (2, {"'1899-12-31T00:00:00Z'": 1, "'9999-12-31'": 1})}
    assert found(ones(lambda x: day(x), "0001-01-01"), "odd")[words][0] == 1
    assert found(ones(kept, date(1, 1, 1), datetime(2101, 1, 1, tzinfo=UTC)), "odd")[words] == (
        2,
        {"0001-01-01": 1, "2101-01-01 00:00:00+00:00": 1},
    )
    assert found(ones(kept, "0001-01-01"), "odd") == {}
    born = at("$.owner.born", contact(owner={"name": "x", "born": "1066-10-14"}))
    assert found(born, "odd")[words][0] == 1


def test_elements_of_lists_and_fields_of_objects_are_counted_one_by_one() -> None:
    records = [
        contact(addresses=[{"kind": "a", "city": "Bonn"}, {"kind": "b"}], tags=["x", "y", None]),
        contact(addresses=[{"kind": "a", "city": ""}, None, 5], owner={"name": "Bo", "born": None}),
        contact(addresses=None, owner={}, tags="x"),
        contact(addresses=UNSET, owner=UNSET),
    ]

    paths = profile(account, records).paths

    assert list(paths) == [
        "$",
        "$.id",
        "$.name",
        "$.status",
        "$.score",
        "$.tags",
        "$.tags[*]",
        "$.owner",
        "$.owner.name",
        "$.owner.born",
        "$.addresses",
        "$.addresses[*]",
        "$.addresses[*].kind",
        "$.addresses[*].city",
        "$.since",
        "$.token",
    ]
    counted = {
        path: (its.total, its.present, its.null, its.empty, dict(its.types))
        for path, its in paths.items()
    }
    assert counted["$.addresses"] == (4, 3, 1, 0, {"list": 2})
    assert counted["$.addresses[*]"] == (5, 5, 1, 0, {"object": 3, "integer": 1})
    assert counted["$.addresses[*].kind"] == (3, 3, 0, 0, {"text": 3})
    assert counted["$.addresses[*].city"] == (3, 2, 0, 1, {"text": 2})
    assert counted["$.tags"] == (4, 4, 0, 2, {"list": 3, "text": 1})
    assert counted["$.tags[*]"] == (3, 3, 1, 0, {"text": 2})
    assert counted["$.owner"] == (4, 3, 1, 1, {"object": 2})
    assert counted["$.owner.name"] == (2, 1, 0, 0, {"text": 1})


def test_keys_that_nobody_described_are_counted() -> None:
    records = [
        contact(colour="red", owner={"name": "x", "born": None, "height": 5}),
        contact(colour=None, size=3, addresses=[{"kind": "a", "city": "b", "floor": 1}] * 2),
        contact(**{"a\x00b": 1}) | {5: 6},
    ]

    paths = profile(account, records).paths

    its = paths["$"].findings
    assert [(each.kind, each.times, each.different) for each in its] == [("undescribed", 5, 4)]
    assert its[0].samples == (("'colour'", 2), ("'a\\x00b'", 1), ("'size'", 1), ("5", 1))
    assert paths["$.owner"].findings[0].samples == (("'height'", 1),)
    assert paths["$.addresses[*]"].findings[0].samples == (("'floor'", 2),)


# -- What rules ask for ----------------------------------------------------------------


def test_too_long_texts_are_counted_as_the_rule_would() -> None:
    names = [
        "12345678",
        "123456789",
        " 12345678 ",
        "Zoe\u0308 5678",
        "x" * 30,
        "x" * 30,
        "\x00" * 9,
    ]

    its = profile(account, [contact(name=name) for name in names])

    assert found(its.paths["$.name"], "over_length") == {
        "over 8 characters": (3, {"'" + "x" * 30 + "'": 30, "'123456789'": 9})
    }
    assert its.decisions[("name", "cut")] == 3


@pytest.mark.parametrize(
    ("rule", "value", "size"),
    [
        (lambda x: text(x, max=3, unit="bytes", over=REJECT), "äö", 4),
        (lambda x: text(x, max=3, unit="utf16", over=REJECT), "😀😀", 4),
        (lambda x: text(x, max=3, over=REJECT), "\u0958\u0958", 4),
        (lambda x: text(x, max=3, case="upper", over=REJECT), "ßß", 4),
        (lambda x: text(x, max=3, keep="0-9", over=REJECT), "(1) 23", None),
        (lambda x: text(x, max=3, keep="0-9", over=REJECT), "(1) 234", 4),
        (lambda x: text(text(x, keep="0-9"), max=3, over=REJECT), "(1) 23", None),
        (
            lambda x: text(x, max=3, over=REJECT, also=("none at all",), missing=NULL),
            "none at all",
            None,
        ),
        (lambda x: text(coalesce(x, missing=NULL), max=3, over=REJECT, missing=NULL), "1234", 4),
    ],
)
def test_a_limit_is_measured_on_clean_text_in_its_own_unit(
    rule: Any, value: str, size: int | None
) -> None:
    its = profile(one(rule), [{"x": value}])

    over = [each for each in its.paths["$.x"].findings if each.kind == "over_length"]
    assert [length for each in over for _, length in each.samples] == [size] * (size is not None)
    assert (its.mapped == 1) is (size is None)


def test_limits_of_nested_mappings_belong_to_their_paths() -> None:
    record = contact(
        addresses=[{"kind": "a", "city": "Bonn"}, {"kind": "b", "city": "Timbuktu"}],
        owner={"name": "Adam", "born": None},
    )

    its = profile(account, [record])

    assert its.mapped == 1
    (over,) = its.paths["$.addresses[*].city"].findings
    assert over == Finding(
        "over_length", "over 6 characters", "billing.city", 1, 0, (("'Timbuktu'", 8),)
    )
    (over,) = its.paths["$.owner.name"].findings
    assert (over.what, over.field, over.times) == ("over 3 characters", "owner.city", 1)


def test_only_the_three_longest_are_kept() -> None:
    sizes = list(range(9, 60))
    random.Random(1).shuffle(sizes)

    its = at("$.name", *(contact(name="x" * size) for size in sizes))

    ((times, samples),) = found(its, "over_length").values()
    assert (times, list(samples.values())) == (51, [59, 58, 57])


def test_options_that_are_in_no_table_are_counted() -> None:
    statuses = ["lead", "Lead", "lost", "lost", 1, True, "", None, UNSET, ["lead"], "won"]

    its = at("$.status", *(contact(status=status) for status in statuses))

    (unmapped,) = [each for each in its.findings if each.kind == "unmapped_option"]
    assert (unmapped.times, unmapped.different, unmapped.field) == (5, 4, "status")
    assert dict(unmapped.samples) == {"'lost'": 2, "'Lead'": 1, "1": 1, "true": 1}


def test_an_option_is_looked_up_as_the_rule_would() -> None:
    def numbered(x: Any) -> Any:
        return code(x, {1: "a", "2": "b"}, unknown=NULL, why="x")

    def cleaned(x: Any) -> Any:
        tidy = text(x, case="lower", also=("n/a",), missing="")
        return code(tidy, {"lead": "a"}, unknown="z", why="x")

    def several(x: Any) -> Any:
        return code(coalesce(x, missing="a"), {"a": 1}, unknown=2, why="x")

    assert found(ones(numbered, 1, "1", 2, "2", True, 1.0), "unmapped_option")["in no table"] == (
        4,
        {"'1'": 1, "1.0": 1, "2": 1, "true": 1},
    )
    assert found(ones(cleaned, " LEAD ", "N/A", "Lost", 5, "\x00"), "unmapped_option") == {
        "in no table": (1, {"'Lost'": 1})
    }
    assert found(ones(several, "a", "b"), "unmapped_option")["in no table"][0] == 1


def test_a_thousand_unmapped_options_are_told_apart() -> None:
    def rule(x: Any) -> Any:
        return code(x, {"a": 1}, unknown=NULL, why="x")

    its = ones(rule, *(f"x{number:04}" for number in range(1500)))

    (unmapped,) = its.findings
    assert (unmapped.times, unmapped.different, len(unmapped.samples)) == (1500, 1000, 100)


def test_each_option_is_counted_exactly_also_after_a_thousand_others() -> None:
    def rule(x: Any) -> Any:
        return code(text(x, case="lower"), {"a": 1, "b": 2, "c": 3}, unknown=NULL, why="x")

    others = [f"x{number:04}" for number in range(1500)]
    its = ones(rule, *others, *["a", " A "] * 700, *["b"] * 3, 5, None)

    assert its.distinct is None
    assert "'a'" not in dict(its.top)
    assert its.options == {"y": {"“a”": 1400, "“b”": 3, "“c”": 0}}


def test_options_are_counted_by_their_type_under_their_words() -> None:
    def rule(x: Any) -> Any:
        return code(x, {2: "a", "2": "b", True: "c"}, unknown=NULL, why="x")

    its = ones(rule, 2, 2, "2", True, 2.0, 1, "true")
    assert its.options == {"y": {"2": 2, "“2”": 1, "true": 1}}
    assert found(its, "unmapped_option")["in no table"][0] == 3
    its = at("$.status", *(contact(status=each) for each in ("lead", "lead", "LEAD", "won", 1)))
    assert its.options == {"status": {"lead": 2, "won": 1}}


def test_two_fields_count_their_options_at_one_path_each() -> None:
    @define
    class Both:
        a: Any
        b: Any

    globals()["Both"] = Both

    @mapping
    def m(s: One) -> Both:
        return to(Both)(
            a=code(s.x, {"x": 1}, unknown=NULL, why="x"),
            b=code(coalesce(s.x, s.x, missing="y"), {"x": 1, "y": 2}, unknown=NULL, why="x"),
        )

    its = profile(m, [{"x": "x"}, {"x": "y"}, {"x": "z"}])

    assert its.paths["$.x"].options == {"a": {"“x”": 1}, "b": {"“x”": 1, "“y”": 1}}
    assert {each.field: each.times for each in its.paths["$.x"].findings} == {"a": 2, "b": 1}
    assert its.came("b", ["$.x"]) == ({"“x”": 1, "“y”": 1}, {"“z”": 1}, 1)
    assert its.came("b", ["$.nope"]) is its.came("c", ["$.x"]) is None


# -- What the mapping does -------------------------------------------------------------


def test_refusals_are_counted_by_field_and_code_with_samples() -> None:
    records = [
        contact(),
        contact(since="yesterday", name=5),
        contact(since="tomorrow"),
        contact(since=None),
        contact(addresses=[{"kind": "a", "city": "x"}, 7]),
        contact(addresses=[{"kind": "a", "city": ""}]),
        contact(owner={"name": ["x"], "born": None}),
        *(contact(since=f"in {number} days") for number in range(9)),
    ]

    its = profile(account, records)

    assert (its.records, its.mapped) == (16, 1)
    assert its.refused == {
        ("since", "bad_date"): 11,
        ("billing", "wrong_type"): 1,
        ("billing.city", "empty"): 1,
        ("name", "wrong_type"): 1,
        ("owner.city", "wrong_type"): 1,
        ("since", "null"): 1,
    }
    since = found(its.paths["$.since"], "refused")
    assert since["bad_date"][0] == 11
    assert list(since["bad_date"][1]) == [
        "'in 0 days'",
        "'in 1 days'",
        "'in 2 days'",
        "'tomorrow'",
        "'yesterday'",
    ]
    assert since["null"] == (1, {})
    assert found(its.paths["$.addresses[*]"], "refused")["wrong_type"] == (1, {"7": 1})
    assert found(its.paths["$.addresses[*].city"], "refused")["empty"] == (1, {"''": 1})
    ((_, samples),) = found(its.paths["$.owner.name"], "refused").values()
    assert list(samples) == [said(["x"])]


def test_a_record_with_two_faults_of_a_kind_is_refused_once() -> None:
    @define
    class Cities:
        cities: list[City]

    globals()["Cities"] = Cities

    @mapping
    def m(s: Contact) -> Cities:
        drop(s.id, s.name, s.status, s.score, s.tags, s.owner, s.since, s.token, why="x")
        return to(Cities)(cities=each(s.addresses, city))

    bad = {"kind": "a", "city": 5}
    its = profile(m, [contact(addresses=[bad, bad])] * 2)

    assert its.refused == {("cities.city", "wrong_type"): 2}
    assert found(its.paths["$.addresses[*].city"], "refused")["wrong_type"] == (2, {"5": 2})


def test_what_is_refused_as_a_whole_stands_at_the_record() -> None:
    its = profile(account, [contact(), None, 5, [contact()]])

    assert its.refused == {("*", "null"): 1, ("*", "wrong_type"): 2}
    assert its.paths["$"].types == {"integer": 1, "list": 1, "object": 1}
    assert (its.paths["$"].total, its.paths["$"].null) == (4, 1)
    assert its.paths["$.id"].total == 1


def test_what_a_step_refuses_is_told_in_its_words() -> None:
    @step(version="1")
    def picky(value: str) -> str:
        """Refuse."""
        raise MappingError(f"not today, got {len(value)} letters", code="too_early")

    @mapping
    def m(s: One) -> Value:
        return to(Value)(y=picky(s.x))

    its = profile(m, [{"x": "a"}, {"x": "bc"}])

    assert its.seen("y") == "present 100 %\n▲ 2 refused: not today"
    assert next(its.tables()).rows == (("$.x", "y", "too_early", "not today", "2", "“a”, “bc”"),)


def test_needs_and_steps_that_fail_are_counted() -> None:
    @step(version="1")
    def failing(value: str) -> str:
        """Fail."""
        raise KeyError(value)

    @mapping
    def m(s: One) -> Value:
        need_one(s.x, why="x")
        need_one(s.x, why="x again")
        return to(Value)(y=failing(s.x))

    its = profile(m, [{"x": "secret"}, {"x": ""}])

    assert its.refused == {("y", "step_failed"): 2, ("*", "need_one"): 1}


def test_decisions_are_counted_over_all_batches() -> None:
    records = [contact(owner={"name": "Adam", "born": None})] * 501
    records += [contact(name="x" * 9)] * 700

    its = profile(account, records)

    assert list(its.decisions.items()) == [(("name", "cut"), 700), (("owner.city", "cut"), 501)]
    assert its.records == its.mapped == 1201


def test_records_are_read_once_and_progress_is_told() -> None:
    told: list[int] = []

    def stream() -> Iterator[dict[str, Any]]:
        for _ in range(1100):
            yield contact()

    its = profile(account, stream(), progress=told.append)

    assert its.records == 1100
    assert told == [500, 1000, 1100]


def test_no_records_are_no_proof() -> None:
    its = profile(account, [], key="id")

    assert (its.records, its.mapped, its.refused) == (0, 0, {})
    assert its.expect() == ["There was no record."]
    assert its.seen("name") == "no data"
    assert "0 records" in str(its)
    json.loads(its.as_json())


# -- Keys ------------------------------------------------------------------------------


def test_keys_that_came_before_are_counted_exactly_and_alike() -> None:
    keys = [
        1,
        "1",
        "01",
        "Zoë",
        "ZOË",
        "Zoe\u0308",
        "zoë",
        "zoë",
        " zoë",
        "ZOË",
        True,
        None,
        UNSET,
        "",
    ]

    its = at("$.id", *(contact(id=key) for key in keys))
    assert [each.kind for each in its.findings if each.kind.endswith("_key")] == []

    its = profile(account, [contact(id=key) for key in keys], key="id").paths["$.id"]
    counted = {each.kind: each.times for each in its.findings if each.kind.endswith("_key")}
    assert counted == {"same_key": 3, "alike_key": 4, "no_key": 4}
    assert "'zoë'" in found(its, "same_key")["with the key of an earlier record"][1]


def test_the_order_of_keys_does_not_change_how_often_they_came() -> None:
    keys = ["a", "A", "a ", "A", "a", "b", "B", "B", "c"] * 3
    told = set()
    for seed in range(10):
        random.Random(seed).shuffle(keys)
        its = profile(account, [contact(id=key) for key in keys], key="$.id").paths["$.id"]
        told.add(tuple((each.kind, each.times) for each in its.findings if "_key" in each.kind))

    assert told == {(("alike_key", 3), ("same_key", 21))}


def test_keys_beyond_those_that_are_remembered_are_looked_up_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("syncsdk.mapping.profile.MOST_KEYS", 2)

    its = profile(account, [contact(id=key) for key in (1, 2, 3, 3, 1)], key="id").paths["$.id"]

    assert {each.kind: each.times for each in its.findings} == {"keys_left": 2, "same_key": 1}


def test_a_key_within_an_object_may_be_named() -> None:
    records = [contact(owner={"name": "x", "born": None})] * 3 + [contact(owner=None)]

    its = profile(account, records, key="$.owner.name")

    assert its.key == "$.owner.name"
    assert {each.kind: each.times for each in its.paths["$.owner.name"].findings} == {
        "no_key": 1,
        "same_key": 2,
    }


@pytest.mark.parametrize("key", ["nope", "$", "", "addresses[*].city", "$.owner.nope"])
def test_a_key_that_is_not_described_is_a_mistake(key: str) -> None:
    with pytest.raises(ConfigurationError, match="no field") as caught:
        profile(account, [], key=key)

    assert "drop()" in caught.value.remedy


# -- Odd text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("MÃ¼ller", "with mojibake"),
        ("Â£5 Ltd", "with mojibake"),
        ("the dogâ€™s", "with mojibake"),
        ("MÃƒÂ¼ller", "with mojibake"),
        ("Ð\x9cÐ¾Ñ\x81ÐºÐ²Ð°", "with mojibake"),
        ("å\x8c—äº¬", "with mojibake"),
        ("ðŸ˜€", "with mojibake"),
        ("MuÌˆller", "with mojibake"),
        ("ï»¿id", "with mojibake"),
        ("M\ufffdller", "with a replacement character"),
        ("a\x00b", "with a control character"),
        ("a\x1bb", "with a control character"),
        ("a\x85b", "with a control character"),
        ("a\u200bb", "with an invisible character"),
        ("\ufeffid", "with an invisible character"),
        ("a\u202eb", "with an invisible character"),
        ("a\u200db@x.org", "with an invisible character"),
        ("Zoe\u0308", "not in Unicode's form NFC"),
        ("\ud800", "with half a surrogate pair"),
    ],
)
def test_damaged_text_is_found(value: str, what: str) -> None:
    its = ones(kept, "plain", value, value)

    told = found(its, "odd")
    assert told[what][0] == 2
    ((sample, times),) = told[what][1].items()
    assert times == 2
    assert sample.isprintable()
    sample.encode()


@pytest.mark.parametrize(
    "value",
    [
        "SÃO PAULO",
        "AMANHÃ",
        "“TRÂ”",
        "Voilà™®",
        "Zoë",
        "Müller & Söhne",
        "« CAFÉ\u00a0»",
        "«CAFÉ»",
        "« Société\u00a0»",
        "„Spaß“",
        "“L'ÉTÉ”…",
        "AQUÍ»",
        "10×15 cm, 20 °C, 5 €, £5",
        "Ångström, Ñandú, Ærø, Þór",
        "line\r\n\tline",
        "👩\u200d💻 👍🏽",
        "می\u200cخواهم",
        "北京",
        "Đặng",
        "",
    ],
)
def test_honest_text_is_not_odd(value: str) -> None:
    assert found(ones(kept, value), "odd") == {}


def test_a_sample_shows_marks_that_are_apart_from_their_letter() -> None:
    ((_, samples),) = found(ones(kept, "Zoe\u0308, Müller"), "odd").values()

    assert list(samples) == ["'Zoe\\u0308, Müller'"]


def test_a_sample_shows_the_damage_in_a_long_text() -> None:
    its = ones(kept, "x" * 500 + "MÃ¼ller" + "y" * 500)

    ((_, samples),) = found(its, "odd").values()
    assert list(samples) == ["'" + "x" * 19 + "MÃ¼ller" + "y" * 34 + "'"]


def test_only_five_samples_are_kept() -> None:
    its = ones(kept, *(f"{number}\x00" for number in range(100)))

    assert found(its, "odd")["with a control character"] == (
        100,
        {f"'{number}\\x00'": 1 for number in range(5)},
    )


# -- Sensitive fields ------------------------------------------------------------------

FORMATS: list[Any] = ["md", "csv", "html"]
SECRET = "hunter2\x00MÃ¼ Zoe\u0308"


class Vault(TypedDict):
    pin: int
    word: str


@define
class Person:
    id: str = field(metadata=about(sensitive=True))
    email: str = field(metadata=about(sensitive=True, key="e-mail"))
    kind: str = field(metadata=about(sensitive=True))
    limit: Decimal = field(metadata=about(sensitive=True))
    born: date = field(metadata=about(sensitive=True))
    vault: Vault = field(metadata=about(sensitive=True))
    home: Home
    hidden: str | None = field(metadata=about(sensitive=True, key="public"))
    public: str | None


@define
class Home:
    city: str = field(metadata=about(sensitive=True))
    rooms: list[Home]


@define
class Masked:
    id: str
    email: str
    kind: str
    limit: Decimal
    born: date
    word: Any
    home: City | None
    both: str


@mapping
def roomy(h: Home) -> City:
    drop(h.rooms, why="x")
    return to(City)(city=text(h.city, max=2, over=REJECT))


@mapping
def masked(s: Person) -> Masked:
    return to(Masked)(
        id=label("{}", s.id),
        email=text(s.email, form=EMAIL, max=5, over=REJECT),
        kind=code(s.kind, {"a": "b"}, unknown=REJECT),
        limit=decimal(s.limit, places=0, rounding=HALF_EVEN),
        born=day(s.born),
        word=keep(s.vault),
        home=nested(s.home, roomy, missing=NULL),
        both=text(coalesce(s.public, s.hidden, missing="x"), max=3, over=REJECT),
    )


def secretive() -> list[Any]:
    """Return records that hold the secret wherever it is to be masked, and nowhere else."""
    whole = {
        "id": SECRET,
        "e-mail": SECRET,
        "kind": SECRET,
        "limit": SECRET,
        "born": "1066-10-14",
        "vault": {"pin": 836274, "word": SECRET, SECRET: SECRET},
        "home": {"city": SECRET, "rooms": [{"city": SECRET, "rooms": []}]},
        "public": SECRET,
    }
    places = ["id", "e-mail", "kind", "limit", "born", "vault", "home", "public"]
    values: list[Any] = [[SECRET], {"x": SECRET}, SECRET, "hunter2 and more", 836274, 836274.5]
    values += [Decimal(836274), date(1066, 10, 14), True]
    odd = [whole | {name: value} for name in places for value in values]
    return [whole, whole, SECRET, [SECRET], 836274, *odd]


def test_nothing_of_a_sensitive_field_is_shown() -> None:
    records = secretive()
    its = profile(masked, records * 2, key="id")

    shown = [
        str(its),
        repr(its),
        repr(its.paths),
        *(masked.document(form, examples=records, profile=its) for form in FORMATS),
        its.as_html(),
        json.dumps(json.loads(its.as_json()), ensure_ascii=False),
        " ".join(map(its.seen, [*its.fields, *its.paths])),
        " ".join(its.expect(duplicates=0, over_length=0)),
    ]
    for told in shown:
        for secret in ("hunter2", "MÃ¼", "Zoe", "836274", "1066", "836,274"):
            assert secret not in told
    assert all(path.masked for path in its.paths.values())
    kinds = {each.kind for path in its.paths.values() for each in path.findings}
    assert kinds >= {"refused", "over_length", "unmapped_option", "odd", "same_key", "undescribed"}
    assert "••• (16 characters)" in str(its)
    assert all(not path.top for path in its.paths.values())


def test_options_of_a_sensitive_field_are_not_counted_one_by_one() -> None:
    records = [secretive()[0] | {"kind": kind} for kind in ("a", "a", "a", "bee", "c")]

    its = profile(masked, records)

    assert its.paths["$.kind"].options == {"kind": {}}
    assert its.paths["$.kind"].top == ()
    assert its.came("kind", ["$.kind"]) == ({}, {}, 2)
    assert [row for table in its.tables() for row in table.rows if row[0] == "$.kind"] == [
        ("$.kind", "kind", "unknown_code", "it is an option that is not decided", "2",
         "••• (1 characters), ••• (3 characters)"),
        ("$.kind", "kind", "▲ in no table", "2", "••• (1 characters) (1), ••• (3 characters) (1)"),
        ("$.kind", "5", "100 %", "", "", "", "3", "1–3", "", "text 5 (masked)"),
    ]  # fmt: skip


def test_what_goes_into_a_sensitive_field_is_masked_where_it_comes_from() -> None:
    @define
    class Sealed:
        city: City = field(metadata=about(sensitive=True))
        name: str
        place: Any = field(metadata=about(sensitive=True))

    globals()["Sealed"] = Sealed

    @mapping
    def m(s: Contact) -> Sealed:
        drop(s.id, s.status, s.score, s.tags, s.addresses, s.since, s.token, why="x")
        return to(Sealed)(
            city=to(City)(city=text(s.name, max=3, over=REJECT)),
            name=text(s.name),
            place=keep(s.owner),
        )

    record = contact(name="hunter2", owner={"name": "hunter3", "born": None, "hunter4": 5})
    its = profile(m, [record, record])

    assert [path for path, each in its.paths.items() if each.masked] == [
        "$", "$.name", "$.owner", "$.owner.name", "$.owner.born", "$.token",
    ]  # fmt: skip
    for told in (str(its), its.as_json(), m.document("html", profile=its)):
        assert "hunter" not in told


def test_a_profile_fits_the_mapping_that_it_is_of() -> None:
    def made(*, sensitive: bool) -> TypedMapper[Any, Any]:
        @define
        class Seen:
            x: str = field(metadata=about(sensitive=sensitive))

        globals()["Seen"] = Seen

        @mapping
        def m(s: Seen) -> Value:
            return to(Value)(y=text(s.x))

        return m

    its = profile(made(sensitive=False), [{"x": "hunter2"}])
    hidden = made(sensitive=True)

    assert hidden.digest == its.digest
    assert its.fits(made(sensitive=False))
    assert not its.fits(hidden)
    assert profile(hidden, []).fits(made(sensitive=False))
    assert not its.fits(one(kept))


def test_what_lies_beside_a_sensitive_field_is_shown() -> None:
    its = profile(account, [contact(name="Ada", token="hunter2")])

    assert "Ada" in its.as_json()
    assert "hunter2" not in its.as_json()
    assert [path for path, each in its.paths.items() if each.masked] == ["$", "$.token"]


def test_no_value_is_in_a_repr() -> None:
    names = ["plainly", "plainly too long", "a\x00plainly"]

    its = profile(account, [contact(name=name, status="plainly") for name in names], key="name")

    assert "plainly" in str(its)
    assert "plainly" not in repr(its) + repr(its.paths)
    assert repr(its) == "<profile of account: 0 of 3 records are mapped>"


# -- Any data --------------------------------------------------------------------------


class Odd(Mapping[str, Any]):
    """An object that is no dict."""

    def __init__(self, **values: Any) -> None:
        self.values_ = values

    def __getitem__(self, key: str) -> Any:
        return self.values_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class Text(str):
    """Text that is no str, and has no hash."""

    __hash__ = None  # type: ignore[assignment]


ODDITIES: list[Any] = [
    None,
    UNSET,
    True,
    0,
    -1,
    10**5000,
    0.0,
    -0.0,
    float("nan"),
    float("-inf"),
    Decimal("sNaN"),
    Decimal("-Infinity"),
    Decimal("1E+9999"),
    "",
    " ",
    "\ud800",
    "\ud800" * 300,
    "\x00",
    "1e9999",
    "9" * 5000,
    "x" * 10_000,
    "é" * 10_000,
    Text("text"),
    b"bytes",
    [],
    [[]],
    [None],
    [{}],
    (),
    {},
    {"name": 5},
    {None: None, (1, 2): 3},
    Odd(name="x", kind=[], city={}),
    date(1, 1, 1),
    datetime(9999, 12, 31),
    Crm.LEAD,
    object(),
    {1, 2},
]


def test_damaged_records_never_raise() -> None:
    names = list(contact())
    records = [*ODDITIES, Odd(**contact())]
    records += [contact(**{name: value}) for name in names for value in ODDITIES]
    records += [contact(addresses=[{"kind": value, "city": value}]) for value in ODDITIES]
    records += [contact(owner={"name": value, "born": value}) for value in ODDITIES]
    records += [dict.fromkeys(names, value) for value in ODDITIES]

    for key in (None, "id", "since", "owner", "owner.name"):
        its = profile(account, records, key=key)
        assert its.records == len(records)
        for told in (str(its), its.as_html(), its.as_json()):
            told.encode()
            assert "\x00" not in told
        its.expect(duplicates=0, over_length=0)
        for name in its.fields:
            its.seen(name)


def shapeless(its: Profile) -> Any:
    """Return all counts of a profile, without the samples that are the first of many."""
    paths = {
        path: (
            each.total,
            each.present,
            each.null,
            each.empty,
            each.edges,
            dict(each.types),
            each.distinct,
            each.top,
            each.shortest,
            each.longest,
            each.least,
            each.most,
            [(found.kind, found.what, found.field, found.times) for found in each.findings],
            [
                found.samples
                for found in each.findings
                if found.kind in ("over_length", "unmapped_option")
            ],
        )
        for path, each in its.paths.items()
    }
    return paths, its.refused, its.decisions, its.mapped


def test_the_order_of_records_does_not_change_what_is_counted() -> None:
    values = [value for value in ODDITIES if not isinstance(value, set)]
    records: list[Any] = [contact(**{name: value}) for name in contact() for value in values]
    records += [contact(name=f"name {number}", score=number / 7) for number in range(700)]
    records += [contact(score=score) for score in (Decimal("1.50"), Decimal("1.5"), 1.5, 0.0, -0.0)]
    first = profile(account, records, key="id")

    for seed in range(3):
        random.Random(seed).shuffle(records)
        assert shapeless(profile(account, records, key="id")) == shapeless(first)


def test_the_same_records_give_the_same_bytes() -> None:
    records = [contact(**{name: value}) for name in contact() for value in ODDITIES[:-2]]

    one_way, again = (profile(account, records, key="id") for _ in range(2))

    assert str(one_way) == str(again)
    assert one_way.as_json() == again.as_json()
    assert one_way.as_html() == again.as_html()


def peak(number: int) -> int:
    def stream() -> Iterator[dict[str, Any]]:
        for at in range(number):
            yield contact(
                id=at,
                name=f"name {at} " * 30,
                status=f"status {at}",
                since=f"in {at} days\x00",
                score=at / 7,
                tags=[f"tag {at}"],
                addresses=[{"kind": "x", "city": f"city {at}", f"key {at}": 1}],
                **{f"key {at}": at},
            )

    tracemalloc.start()
    profile(account, stream())
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used


def test_memory_does_not_grow_with_the_number_of_records() -> None:
    peak(500)

    # Issues and their tracebacks are cycles, which lie about until they are collected.
    assert peak(6_000) - peak(2_000) < 400_000


def test_long_texts_do_not_fill_the_memory() -> None:
    kind = one(kept)
    profile(kind, [{"x": "x"}])

    tracemalloc.start()
    profile(kind, ({"x": f"{number:010000}"} for number in range(2000)))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert used < 13_000_000


def test_a_class_may_hold_itself() -> None:
    assert [path for path in profile(masked, []).paths if "rooms" in path] == [
        "$.home.rooms",
        "$.home.rooms[*]",
    ]


# -- The report ------------------------------------------------------------------------


def messy() -> Profile:
    records = [
        contact(id=number, name="Ada" if number % 2 else "Grace Hopper") for number in range(8)
    ]
    records += [contact(id=3, status="lost"), contact(name="<b>&\x1b[31m"), contact(colour="red")]
    return profile(account, records, key="id")


def test_the_report_is_for_a_terminal() -> None:
    told = str(messy())

    lines = told.split("\n")
    assert lines[0] == (
        f"Profile of account, digest {account.digest}: 9 of 11 records are mapped (81.8 %)"
    )
    for title in ("Refused", "Decisions", "To look at", "Source", "Most frequent values"):
        assert title in lines
    (row,) = [line for line in lines if line.startswith("  $.status") and "unknown_code" in line]
    assert "it is an option that is not decided" in row
    assert "“lost”" in row
    heads = lines[lines.index("Source") + 1]
    (source,) = [line for line in lines[lines.index("Source") :] if line.startswith("  $.name ")][
        :1
    ]
    assert source[heads.index("present") :].startswith("100 %")
    assert "\x1b" not in told
    assert told.endswith("\n")


def test_what_needs_a_decision_comes_first_and_often_before_seldom() -> None:
    refused, decided, looks, *_ = messy().tables()

    assert [row[:5] for row in refused.rows] == [
        ("$.name", "name", "bad_text", "it holds characters that no text should", "1"),
        ("$.status", "status", "unknown_code", "it is an option that is not decided", "1"),
    ]
    assert refused.rows[1][-1] == "“lost”"
    assert decided.rows == (("name", "cut", "4", "cut to what fits"),)
    assert [row[:4] for row in looks.rows] == [
        ("$.status", "status", "▲ in no table", "1"),
        ("$.name", "name", "over 8 characters", "4"),
        ("$.id", "", "with the key of an earlier record", "3"),
        ("$.name", "", "with a control character", "1"),
        ("$", "", "under keys that nobody described", "1"),
    ]


def test_what_there_is_none_of_is_left_blank() -> None:
    records = [contact(), contact(name=" Ada ", score=None, id=2), contact(score=1234567, name="")]
    source = {row[0]: row[1:] for row in list(profile(account, records).tables())[-2].rows}

    assert source["$.id"] == ("3", "100 %", "", "", "", "2", "", "1 to 2", "integer 3")
    assert source["$.name"] == ("3", "100 %", "", "33.3 %", "1", "3", "0–5", "", "text 3")
    assert source["$.score"] == (
        "3", "100 %", "33.3 %", "", "", "2", "", "1.5 to 1,234,567", "integer 1, number 1"
    )  # fmt: skip
    assert source["$.since"][6] == "20"
    assert source["$.owner.name"] == ("0", "", "", "", "", "", "", "", "no data")
    assert source["$.token"][-1] == "text 3 (masked)"
    assert source["$"] == ("3", "100 %", "", "", "", "", "", "", "object 3")


class Tags(html.parser.HTMLParser):
    """Collects tags and text, and sees that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open += [tag] if tag != "wbr" else []
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_section_is_escaped_and_has_no_scripts() -> None:
    told = messy().as_html()

    read = Tags()
    read.feed(told)
    assert read.open == []
    assert told.startswith("<section")
    assert told.rstrip().endswith("</section>")
    assert read.tags == {
        "section", "h2", "h3", "p", "span", "code", "wbr",
        "table", "caption", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert "<b>" not in told
    assert any("“<b>&\\x1b[31m”" in text for text in read.text)
    assert "9 of 11 records are mapped (81.8\xa0%)." in read.text
    assert "unknown_code" not in told


def test_json_holds_all_of_it() -> None:
    its = messy()
    told = json.loads(its.as_json())

    assert its.as_json().isascii()
    assert told["records"] == 11
    assert told["refused"] == [["name", "bad_text", 1], ["status", "unknown_code", 1]]
    assert told["decisions"] == [["name", "cut", 4]]
    assert told["paths"]["$.id"]["distinct"] == 8
    assert told["paths"]["$.name"]["top"][:2] == [["'Ada'", 6], ["'Grace Hopper'", 4]]
    assert told["fields"]["billing.city"] == ["$.addresses[*].city"]
    assert told["paths"]["$.status"]["options"] == {"status": {"lead": 10, "won": 0}}
    assert told["key"] == "$.id"


def test_the_document_is_told_in_short_what_was_seen() -> None:
    its = messy()

    assert its.seen("name") == (
        "present 100 %\n▲ 1 refused: it holds characters that no text should\n"
        "▲ 4 over 8 characters\n▲ 1 with a control character"
    )
    assert its.seen("status") == (
        "present 100 %\n▲ 1 refused: it is an option that is not decided\n▲ 1 in no table"
    )
    assert its.seen("owner.city") == "no data"
    assert its.seen("$.owner") == "present 100 %, null 100 %"
    assert its.seen("$") == "present 100 %\n▲ 1 under keys that nobody described"
    assert its.seen("nothing") == ""

    @define
    class Pair:
        a: str
        b: str

    globals()["Pair"] = Pair

    @mapping
    def m(s: Pair) -> Value:
        return to(Value)(y=label("{} {}", s.a, s.b))

    assert profile(m, [{"a": "x", "b": "y\x00"}]).seen("y") == (
        "$.a: present 100 %\n$.b: present 100 %\n"
        "▲ $.b: 1 refused: it holds characters that no text should\n"
        "▲ $.b: 1 with a control character"
    )

    @mapping
    def two(s: Pair) -> Pair:
        return to(Pair)(
            a=text(s.a, max=2, over=REJECT),
            b=label("{}{}", s.a, s.b),
        )

    its = profile(two, [{"a": "xxx", "b": "y"}])
    assert "over 2" in its.seen("a")
    assert "over 2" not in its.seen("b")
    assert profile(one(kept), []).seen("y") == "no data"


def test_what_is_not_as_expected_is_told() -> None:
    its = messy()

    assert its.expect(maps=81.8, unmapped_options=1) == []
    assert its.expect() == [
        "81.8 % of the records are mapped, expected at least 100 %.",
        "1 options are in no table ($.status), expected at most 0.",
    ]
    assert its.expect(maps=0, unmapped_options=1, duplicates=3, over_length=4) == []
    lost = [contact(status=status) for status in ("lost", "lost", "found")]
    assert profile(account, lost).expect(maps=0, unmapped_options=2) == []
    assert len(profile(account, lost).expect(maps=0, unmapped_options=1)) == 1
    assert its.expect(maps=81.9, unmapped_options=1, duplicates=2, over_length=3) == [
        "81.8 % of the records are mapped, expected at least 81.9 %.",
        "3 records have the key of an earlier one ($.id), expected at most 2.",
        "4 texts are too long ($.name), expected at most 3.",
    ]


def test_all_but_one_is_not_a_hundred_percent() -> None:
    records = [contact()] * 20_000

    its = profile(account, [*records[:-1], contact(name=5)])

    assert "(99.9 %)" in str(its)
    assert its.expect() != []
    assert its.expect(maps=99.995) == []


def test_duplicates_are_not_expected_without_a_key() -> None:
    (said,) = profile(account, [contact()]).expect(duplicates=0)

    assert "key=" in said


def test_a_profile_leaves_records_as_they_are() -> None:
    record: Any = defaultdict(list, {"x": "a"})

    @define
    class Needs:
        x: str
        n: str

    globals()["Needs"] = Needs

    @mapping
    def m(s: Needs) -> Value:
        drop(s.x, why="x")
        return to(Value)(y=text(s.n))

    its = profile(m, [record])

    assert dict(record) == {"x": "a"}
    assert its.refused == {("y", "absent"): 1}
