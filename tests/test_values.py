"""Keys, canonical form, fingerprints, versions, cursors and records kept for later."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import shutil
import subprocess
import sys
import textwrap
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from attrs import define, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsdk import (
    INSTANT,
    INTEGER,
    OPAQUE,
    UNSET,
    Batch,
    Keyset,
    MemoryStore,
    RecordError,
    Result,
    Token,
    Watermark,
)
from syncsdk.errors import ConfigurationError, ContractError
from syncsdk.planning import durable
from syncsdk.values import (
    Fingerprints,
    Version,
    as_key,
    canonical,
    idempotency_key,
    key_digest,
    key_text,
    pack,
    parse_instant,
    parse_key_text,
    unpack,
)
from tests.fakes import Pages, Upserts, pipeline

REPO = Path(__file__).parents[1]
NOW = timedelta(0)
steady = settings(derandomize=True, deadline=None, max_examples=200)
"""The same examples in every run, on machines of any speed."""


def shown(value: object) -> str:
    """A test's id: the same in every run, ASCII, and short."""
    try:
        text = ascii(value)
    except ValueError:
        return f"long {type(value).__name__}"
    return type(value).__name__ if " at 0x" in text else text[:34]


class Colour(enum.Enum):
    RED = "red"


class Region(str, enum.Enum):  # noqa: UP042  # how it is written in older code bases
    EU = "eu"


class Level(enum.IntEnum):
    LOW = 3


# -- UNSET -----------------------------------------------------------------------------


def test_unset_is_false_and_one_of_its_kind() -> None:
    assert not UNSET
    assert repr(UNSET) == "UNSET"
    assert unpack(pack(UNSET)) is UNSET


# -- Keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("a", ("a",)),
        (" a ", (" a ",)),
        (7, ("7",)),
        (-7, ("-7",)),
        (0, ("0",)),
        (2**63 + 1, ("9223372036854775809",)),
        (("a", 7), ("a", "7")),
        (["a", 7], ("a", "7")),
        (("a",), ("a",)),
        ("\x1e", ("\x1e",)),
        (Level.LOW, ("3",)),
    ],
)
def test_text_integers_and_tuples_of_them_are_keys(value: object, key: tuple[str, ...]) -> None:
    assert as_key(value) == key


def test_a_subclass_of_text_becomes_the_text_that_it_holds() -> None:
    assert as_key(Region.EU) == ("eu",)
    assert type(as_key(Region.EU)[0]) is str


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "key_missing"),
        (UNSET, "key_missing"),
        ("", "key_empty"),
        ((), "key_empty"),
        ([], "key_empty"),
        (True, "key_type"),
        (False, "key_type"),
        (1.0, "key_type"),
        (float("nan"), "key_type"),
        (Decimal(1), "key_type"),
        (b"a", "key_type"),
        (bytearray(b"a"), "key_type"),
        ({"a": 1}, "key_type"),
        ({1}, "key_type"),
        (UUID(int=1), "key_type"),
        (date(2026, 1, 1), "key_type"),
        (Colour.RED, "key_type"),
        (object(), "key_type"),
        (10**5_000, "key_too_long"),
        (-(10**5_000), "key_too_long"),
        ("a\ud800", "key_surrogate"),
        (("a", None), "key_missing"),
        (("a", ""), "key_empty"),
        (("a", True), "key_type"),
        (("a", 1.0), "key_type"),
        (("a", ("b",)), "key_type"),
        ([["a"]], "key_type"),
        (("a", "\udfff"), "key_surrogate"),
        (("a", 10**5_000), "key_too_long"),
    ],
    ids=shown,
)
def test_what_cannot_name_a_record_is_refused(value: object, code: str) -> None:
    with pytest.raises(RecordError) as caught:
        as_key(value)

    assert caught.value.code == code
    assert caught.value.path == "key"
    assert "'a'" not in str(caught.value)


keys = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4
).map(tuple)
odd_keys = st.lists(
    st.text(st.sampled_from('\x1e[]",\\a1\n\x00'), min_size=1, max_size=6), min_size=1, max_size=3
).map(tuple)


@steady
@given(keys | odd_keys)
def test_the_text_of_a_key_is_read_back(key: tuple[str, ...]) -> None:
    assert parse_key_text(key_text(key)) == key


@steady
@given(keys | odd_keys, keys | odd_keys)
def test_different_keys_have_different_texts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (key_text(one) == key_text(other)) == (one == other)


@steady
@given(odd_keys)
def test_no_plain_key_looks_like_a_compound_one(key: tuple[str, ...]) -> None:
    assert key_text((key_text(key),)) != key_text(key) or len(key) == 1


def test_a_key_that_starts_like_a_compound_one_is_told_apart() -> None:
    text = key_text(("a", "b"))

    assert key_text((text,)) != text
    assert parse_key_text(key_text((text,))) == (text,)


def test_a_simple_key_is_stored_as_it_is() -> None:
    assert key_text(("Ünïcode [x]",)) == "Ünïcode [x]"


def test_a_digest_stands_for_a_key_without_showing_it() -> None:
    digest = key_digest(("alice@example.com",))

    assert len(digest) == 8
    assert int(digest, 16) >= 0
    assert digest != key_digest(("alice@example.org",))
    assert key_digest(("a", "b")) != key_digest(("ab",))
    assert len(key_digest(())) == 8


def test_keys_that_differ_in_normal_form_only_are_two_keys() -> None:
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))

    assert as_key(composed) != as_key(apart)


# -- Idempotency keys ------------------------------------------------------------------


def test_an_idempotency_key_is_the_same_in_every_process() -> None:
    assert idempotency_key("erp", "invoice", 7) == "b048a7918da58226194fd1fb7ff5adda"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab",), ("a", "b")),
        (("a", "b"), ("b", "a")),
        ((1,), ("1",)),
        (("a", ""), ("a",)),
        (("", "a"), ("a", "")),
        (("a:b",), ("a", "b")),
        (("str:a",), ("a",)),
    ],
)
def test_different_parts_give_different_idempotency_keys(one: Any, other: Any) -> None:
    assert idempotency_key(*one) != idempotency_key(*other)


@steady
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), max_size=4))
def test_an_idempotency_key_is_32_hexadecimal_digits(parts: list[str | int]) -> None:
    key = idempotency_key(*parts)

    assert len(key) == 32
    assert key == idempotency_key(*parts) == f"{int(key, 16):032x}"


@pytest.mark.parametrize("missing", [None, UNSET])
def test_an_operation_without_a_name_has_no_idempotency_key(missing: Any) -> None:
    # All records without an id would share it, and all but the first would never be created.
    with pytest.raises((RecordError, TypeError)):
        idempotency_key("invoice", missing)


# -- Canonical form --------------------------------------------------------------------


def mark(value: object) -> bytes:
    """The fingerprint of a record with one field."""
    return Fingerprints(["field"]).of([value])


@define
class Address:
    city: str
    zip: Any = UNSET


@frozen
class Person:
    name: str
    address: Address


EQUAL: dict[str, tuple[Any, ...]] = {
    "normal forms of text": ("é", "e\u0301"),
    "normal forms of Hangul": ("한", unicodedata.normalize("NFD", "한")),
    "zeros of floats": (0.0, -0.0),
    "trailing zeros of decimals": (Decimal("1.2"), Decimal("1.20"), Decimal("1.200e0")),
    "zeros of decimals": (Decimal(0), Decimal("-0.00"), Decimal("0E+9")),
    "exponents of decimals": (Decimal("1E+400"), Decimal("10E+399"), Decimal("0.1E401")),
    "40 digits": (Decimal("1." + "123456789" * 4 + "100"), Decimal("1." + "123456789" * 4 + "1")),
    "leading zeros of decimals": (Decimal("0012"), Decimal("12")),
    "zones": (
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        datetime(2026, 3, 1, 13, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 3, 1, 6, 30, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    ),
    "folds in different zones": (
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    ),
    "durations": (timedelta(hours=25), timedelta(days=1, minutes=60)),
    "kinds of bytes": (b"a", bytearray(b"a"), memoryview(b"a")),
    "lists and tuples": ([1, 2], (1, 2)),
    "order of names": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, OrderedDict(b=2, a=1)),
    "kinds of mappings": ({"a": 1}, MappingProxyType({"a": 1})),
    "an enum and its value": ("red", Colour.RED),
    "a text enum and its value": ("eu", Region.EU),
    "an integer enum and its value": (3, Level.LOW),
    "objects and mappings": (
        Person("Zoë", Address("Ulm")),
        {"name": "Zoë", "address": {"city": "Ulm"}},
        {"address": {"city": "Ulm", "zip": UNSET}, "name": "Zoe\u0308"},
    ),
    "normal forms of names": ({"é": 1}, {"e\u0301": 1}),
    "order of names that are one after normalisation": (
        {"é": 1, "e\u0301": 2},
        {"e\u0301": 2, "é": 1},
    ),
}


@pytest.mark.parametrize("values", EQUAL.values(), ids=EQUAL)
def test_values_that_mean_the_same_have_one_canonical_form(values: tuple[Any, ...]) -> None:
    assert len({repr(canonical(value)) for value in values}) == 1
    assert len({mark(value) for value in values}) == 1


DIFFERENT: list[Any] = [
    UNSET,
    None,
    "",
    0,
    False,
    0.0,
    Decimal(0),
    "0",
    b"",
    [],
    {},
    [None],
    [UNSET],
    [""],
    [[]],
    {"a": None},
    {"a": ""},
    1,
    True,
    1.0,
    Decimal(1),
    "1",
    b"1",
    "true",
    "True",
    [1],
    [[1]],
    ["a", 1],
    {"a": 1},
    ["object", "a", 1],
    ["decimal", "1e0"],
    "decimal",
    Decimal("1E+400"),
    Decimal("1E+401"),
    Decimal("-1E+400"),
    10**400,
    Decimal("0." + "3" * 40),
    Decimal("0." + "3" * 41),
    1e16,
    10**16,
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 1, 1),
    datetime(2026, 1, 1, 0, 0, 0, 1),
    date(2026, 1, 1),
    "2026-01-01",
    time(0),
    time(0, 0, 0, 1),
    time(0, tzinfo=UTC),
    timedelta(0),
    timedelta(1),
    timedelta(microseconds=1),
    "a",
    "A",
    "a ",
    "ﬁ",
    "fi",
    "a\x00",
    "a\x00b",
    2**31,
    2**63,
    -1,
]


def test_values_that_mean_different_things_have_different_fingerprints() -> None:
    marks = {mark(value): index for index, value in enumerate(DIFFERENT)}

    assert len(marks) == len(DIFFERENT)


def test_equal_instants_in_a_repeated_hour_are_told_apart_by_fold() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=berlin) for fold in (0, 1))

    assert mark(first) != mark(second)


def nested(depth: int, kind: Callable[[Any], Any], leaf: object = 1) -> Any:
    value = leaf
    for _ in range(depth):
        value = kind(value)
    return value


@pytest.mark.parametrize("leaf", [1, "é", Decimal(1), None], ids=shown)
@pytest.mark.parametrize("kind", [lambda v: [v], lambda v: {"a": v}], ids=["list", "object"])
def test_a_value_may_nest_a_hundred_times_and_no_more(
    kind: Callable[[Any], Any], leaf: object
) -> None:
    assert len(mark(nested(100, kind, leaf))) == 16
    with pytest.raises(RecordError) as caught:
        mark(nested(101, kind, leaf))
    assert caught.value.code == "too_deep"


def test_a_list_that_holds_itself_is_refused() -> None:
    knot: list[Any] = []
    knot.append(knot)

    with pytest.raises(RecordError, match="nested"):
        mark(knot)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.nan, "not_finite"),
        (math.inf, "not_finite"),
        (-math.inf, "not_finite"),
        (Decimal("NaN"), "not_finite"),
        (Decimal("sNaN"), "not_finite"),
        (Decimal("-Infinity"), "not_finite"),
        ("a\ud800", "surrogate"),
        ({"\udc00": 1}, "surrogate"),
        ({1: "a"}, "type"),
        ({None: "a"}, "type"),
        ({1, 2}, "type"),
        (1 + 2j, "type"),
        (object(), "type"),
        (len, "type"),
        (Address, "type"),
        (iter(()), "type"),
    ],
    ids=shown,
)
def test_what_no_destination_could_hold_is_refused_with_its_path(value: object, code: str) -> None:
    names = ["a", "field"]
    for inner, path in ((value, "field"), ([0, value], "field[1]"), ({"x": [value]}, "field.x[0]")):
        with pytest.raises(RecordError) as caught:
            Fingerprints(names).of([1, inner])
        assert caught.value.code == code
        assert (caught.value.path or "").startswith(path)


@pytest.mark.parametrize(
    "value",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_an_instant_out_of_the_calendar_is_refused_or_kept_but_stops_nothing(value: Any) -> None:
    with contextlib.suppress(RecordError):
        canonical(value)


plain_values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
instants = st.datetimes(
    min_value=datetime(1900, 1, 1),
    timezones=st.integers(-82_800, 82_800).map(lambda s: timezone(timedelta(seconds=s))),
)


def trees(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


def reversed_objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reversed_objects(value[name]) for name in reversed(value)}
    return [reversed_objects(item) for item in value] if isinstance(value, list) else value


@steady
@given(trees(plain_values, st.text("abcé", max_size=3)))
def test_the_order_of_objects_never_matters(value: Any) -> None:
    assert mark(value) == mark(reversed_objects(value))


@steady
@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 30))
def test_decimals_are_compared_by_their_value(number: Decimal, zeros: int) -> None:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, digits + (0,) * zeros, exponent - zeros))

    assert mark(number) == mark(longer)


@steady
@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False))
def test_decimals_have_one_form_exactly_if_they_are_equal(one: Decimal, other: Decimal) -> None:
    if other.is_finite():
        assert (canonical(one) == canonical(other)) == (one == other)


@steady
@given(instants, instants)
def test_instants_have_one_form_exactly_if_they_are_equal(one: datetime, other: datetime) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)
    assert canonical(one) == canonical(one.astimezone(UTC))


# -- Fingerprints ----------------------------------------------------------------------

SAMPLE: dict[str, Any] = {
    "id": "Ünïcode-7",
    "none": None,
    "empty": "",
    "unset": UNSET,
    "true": True,
    "int": 1,
    "big": 2**100,
    "negative": -5,
    "float": 0.1,
    "zero": -0.0,
    "decimal": Decimal("12345678901234567890.1234567890123456789000"),
    "instant": datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
    "local": datetime(2026, 3, 29, 2, 30),
    "date": date(2026, 3, 29),
    "time": time(2, 30),
    "duration": timedelta(days=-1, seconds=7),
    "bytes": b"\x00\xff",
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "enum": Colour.RED,
    "list": ["e\u0301", [1, 2.5], {}],
    "object": {"b": [], "a": {"ß": 1, "A": None}},
}
PLAIN: dict[str, Any] = {"id": "C-1", "name": "Ada", "active": True, "age": 36, "note": None}

GOLDEN = {
    "sample": "160f56fce62e77d9096d054a3e56c352",
    "plain": "9e7358be6ea2ac3c5f3869a3c80616d5",
    "nothing": "fa030c3b1aa6358c59a700af436ec289",
}
"""A change of these marks every record of every user as changed: it needs a new FORMAT."""

SNIPPET = """
    import dataclasses, importlib.util, sys, types
    from datetime import date, datetime, time, timedelta, timezone
    from decimal import Decimal
    from uuid import UUID

    if importlib.util.find_spec("attrs") is None:  # values need next to nothing of it
        def field(*, default=dataclasses.MISSING, kw_only=False, validator=None):
            return dataclasses.field(default=default, kw_only=kw_only)
        stub = types.ModuleType("attrs")
        stub.frozen = dataclasses.dataclass(frozen=True)
        stub.field = field
        stub.has = dataclasses.is_dataclass
        stub.fields = dataclasses.fields
        sys.modules["attrs"] = stub

    sys.path.insert(0, {repo!r})
    from syncsdk.values import UNSET, Fingerprints

    for record in ({sample}, {plain!r}, {{}}):
        forward, backward = list(record), list(reversed(record))
        one = Fingerprints(forward).of([record[name] for name in forward])
        other = Fingerprints(backward).of([record[name] for name in backward])
        assert one == other
        print(one.hex())
"""


def snippet() -> str:
    sample = repr({**SAMPLE, "enum": "red"}).replace("datetime.", "")
    return textwrap.dedent(SNIPPET).format(repo=str(REPO), sample=sample, plain=PLAIN)


def fingerprints_of(python: str, seed: str = "0") -> list[str]:
    done = subprocess.run(
        [python, "-c", snippet()],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def other_python(version: str) -> str | None:
    """Return an interpreter of that version, from the path or beside this one's home."""
    places = [shutil.which(f"python{version}")]
    homes = Path(sys.base_prefix).parent.glob(f"{version}*/bin/python{version}")
    for place in [*places, *map(str, homes)]:
        if place is not None:
            asked = "import sys; print('%d.%d' % sys.version_info[:2])"
            done = subprocess.run([place, "-c", asked], capture_output=True, text=True)
            if done.returncode == 0 and done.stdout.strip() == version:
                return place
    return None


def test_the_format_of_fingerprints_does_not_change() -> None:
    made = {
        name: Fingerprints(list(record)).of(list(record.values())).hex()
        for name, record in (("sample", SAMPLE), ("plain", PLAIN), ("nothing", {}))
    }

    assert made == GOLDEN


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_a_fingerprint_is_the_same_under_every_hash_seed(seed: str) -> None:
    assert fingerprints_of(sys.executable, seed) == list(GOLDEN.values())


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_a_fingerprint_is_the_same_on_every_python(version: str) -> None:
    python = other_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")

    assert fingerprints_of(python) == list(GOLDEN.values())


@steady
@given(st.permutations(list(SAMPLE)))
def test_the_order_of_fields_does_not_matter(names: list[str]) -> None:
    made = Fingerprints(names).of([SAMPLE[name] for name in names])

    assert made.hex() == GOLDEN["sample"]


@steady
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), plain_values, min_size=1))
def test_the_fast_way_and_the_slow_way_agree(record: dict[str, Any]) -> None:
    class Text(str):
        """Forces the slow way."""

    names = list(record)
    slow = [Text(value) if type(value) is str else value for value in record.values()]

    assert Fingerprints(names).of(list(record.values())) == Fingerprints(names).of(slow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": UNSET}),
        ({"a": 1, "b": None}, {"a": 1, "b": UNSET}),
        ({"ab": 1, "c": 2}, {"a": 1, "bc": 2}),
        ({"a": "1", "b": "2"}, {"a": "12", "b": ""}),
        ({"a\nb": 1, "c": 2}, {"a": 1, "b\nc": 2}),
    ],
    ids=shown,
)
def test_names_and_values_are_told_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (Fingerprints(list(it)).of(list(it.values())) for it in (one, other))

    assert first != second


def test_a_tuple_and_a_list_of_the_same_values_have_one_fingerprint() -> None:
    prints = Fingerprints(["b", "a"])

    assert prints.of((1, "x")) == prints.of([1, "x"])


# -- Versions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2026-03-29T02:30:00Z", "2026-03-29T02:30:01Z"),
        ("2026-03-29T02:30:00+02:00", "2026-03-29T01:30:00+00:00"),
        ("2026-03-29T02:30:00.1234567Z", "2026-03-29T02:30:00.1234568Z"),
        ("2026-03-29T02:30:00.123456Z", "2026-03-29T02:30:00.1234561Z"),
        ("2026-03-29T02:30:00.9Z", "2026-03-29T02:30:01Z"),
        ("2026-03-29 02:30:00,5 Z", "2026-03-29T02:30:00.500000000000001Z"),
        ("2026-03-29T02:30Z", "2026-03-29T02:30:00.000001+00"),
        ("2026-03-29T02:30:00+0530", "2026-03-29T02:30:00+05"),
    ],
)
def test_instants_compare_to_the_last_digit(older: str, newer: str) -> None:
    assert INSTANT.parse(older) < INSTANT.parse(newer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026-03-29T02:30:00Z", "2026-03-29t02:30:00z"),
        ("2026-03-29T02:30:00Z", "2026-03-29T04:30:00+02:00"),
        ("2026-03-29T02:30:00.5Z", "2026-03-29T02:30:00.5000000000Z"),
        ("2026-03-29T02:30:00Z", "2026-03-29 02:30+00"),
        ("2026-03-29T02:30:00Z", "2026-03-29T02:30:00.000000000-00:00"),
    ],
)
def test_one_instant_in_two_spellings_is_one_version(one: str, other: str) -> None:
    assert INSTANT.parse(one) == INSTANT.parse(other)


def test_a_zone_gives_meaning_to_instants_without_an_offset() -> None:
    kind = INSTANT("updated", zone="Europe/Berlin")

    assert kind.parse("2026-03-01T13:00:00") == INSTANT.parse("2026-03-01T12:00:00Z")
    assert kind.parse("2026-10-25T02:30:00") == INSTANT.parse("2026-10-25T00:30:00Z")
    assert kind.parse("2026-03-01") == INSTANT.parse("2026-02-28T23:00:00Z")


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (INSTANT, None),
        (INSTANT, ""),
        (INSTANT, "2026-03-29T02:30:00"),
        (INSTANT, "2026-03-29"),
        (INSTANT, "2026-02-30T00:00:00Z"),
        (INSTANT, "2026-03-29T25:00:00Z"),
        (INSTANT, "1774751400"),
        (INSTANT, "secr-et@example.com"),
        (INSTANT, "secr-secret-secret-secret-secret"),
        (INSTANT, "2026-secret"),
        (INSTANT("updated", zone="Europe/Berlin"), "0001-01-01T00:00:00"),
        (INSTANT, "0001-01-01T00:00:00.0000000+01:00"),
        (INSTANT, "9999-12-31T23:59:59.9999999-01:00"),
        (INTEGER, None),
        (INTEGER, ""),
        (INTEGER, "1.5"),
        (INTEGER, "secret"),
        (INTEGER, "7" * 5_000),
        (INTEGER, "1e3"),
    ],
    ids=shown,
)
def test_an_unreadable_version_refuses_the_record_without_quoting_it(
    kind: Version, raw: str | None
) -> None:
    with pytest.raises(RecordError) as caught:
        kind.parse(raw)

    assert caught.value.code == "version"
    assert not raw or raw not in str(caught.value)


@pytest.mark.parametrize("raw", ["２０２６-03-29T02:30:00Z", "2026-0３-29T02:30:00.1234567Z"])
def test_digits_of_other_scripts_are_no_iso_8601_and_are_not_quoted(raw: str) -> None:
    with pytest.raises(RecordError) as caught:
        INSTANT.parse(raw)

    assert raw not in str(caught.value)


def test_an_opaque_version_says_nothing() -> None:
    assert OPAQUE.parse("W/abc") is OPAQUE.parse(None) is None


def test_an_integer_version_is_compared_as_a_number() -> None:
    assert INTEGER.parse("9") < INTEGER.parse("10") < INTEGER.parse(str(2**80))


def test_the_path_of_a_version_is_its_field() -> None:
    with pytest.raises(RecordError) as caught:
        INSTANT("updated_at").parse("never")

    assert caught.value.path == "updated_at"


@steady
@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(0, 9))
def test_parsing_loses_no_digit(moment: datetime, extra: int) -> None:
    text = f"{moment.isoformat(timespec='microseconds')}{extra}Z"

    assert parse_instant(text) == (moment.replace(tzinfo=UTC), str(extra).strip("0"))


# -- Cursors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"lateness": timedelta(seconds=-1)},
        {"lateness": NOW, "granularity": timedelta(seconds=-1)},
        {"lateness": timedelta(seconds=1), "granularity": timedelta(minutes=1)},
        {"lateness": NOW, "zone": "Mars/Olympus"},
        {"lateness": NOW, "zone": "../etc/passwd"},
    ],
)
def test_a_watermark_that_cannot_be_right_is_refused_when_it_is_made(options: Any) -> None:
    for kind in (Watermark, Keyset):
        with pytest.raises(ConfigurationError):
            kind("changed", **options)


def test_a_lateness_has_to_be_written() -> None:
    with pytest.raises(TypeError):
        Watermark("changed")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError):
        Token(lateness=timedelta(seconds=-1))


@pytest.mark.parametrize(
    ("format", "cursor"),
    [
        ("iso", ""),
        ("iso", "yesterday"),
        ("iso", "1774751400"),
        ("iso", "2026-03-29T02:30:00Z "),
        ("iso", "2026-02-30T00:00:00Z"),
        ("iso", "0001-01-01T00:00:00+01:00"),
        ("epoch", ""),
        ("epoch", "NaN"),
        ("epoch", "sNaN"),
        ("epoch", "Infinity"),
        ("epoch", "2026-03-29"),
        ("epoch_ms", "12ms"),
        ("%Y-%m-%d %z", "2026-03-29"),
        ("%Y-%m-%d", "2026-03-29"),
    ],
)
def test_a_cursor_of_another_format_breaks_the_contract(format: str, cursor: str) -> None:
    mark = Watermark("changed", lateness=NOW, format=format)

    for call in (mark.position, lambda text: mark.floor(text, datetime(2026, 1, 1, tzinfo=UTC))):
        with pytest.raises(ContractError) as caught:
            call(cursor)
        assert not cursor or repr(cursor) not in str(caught.value)


LIKE = [
    ("iso", None, "2027-01-01T00:00:00Z", "2026-05-17T09:59:58Z"),
    ("iso", None, "2027-01-01t00:00z", "2026-05-17t09:59z"),
    ("iso", None, "2027-01-01 00:00:00,000", "2026-05-17 11:59:58,614"),
    ("iso", None, "2027-01-01T00:00:00.000000000+05:45", "2026-05-17T15:44:58.614000000+05:45"),
    ("iso", None, "2027-01-01 00:00:00.0 -0330", "2026-05-17 06:29:58.6 -0330"),
    ("iso", None, "2027-01-01", "2026-05-17"),
    ("epoch", None, "1800000000", "1779011998"),
    ("epoch", None, "1800000000.00", "1779011998.61"),
    ("epoch", None, "1.8e9", "1779011998"),
    ("epoch_ms", None, "1800000000000", "1779011998614"),
    ("epoch_us", None, "1800000000000000", "1779011998614000"),
    ("%d.%m.%Y %H:%M", "Europe/Berlin", "01.01.2027 00:00", "17.05.2026 11:59"),
    ("%Y%m%dT%H%M%S%z", None, "20270101T000000+0200", "20260517T095958+0000"),
]


@pytest.mark.parametrize(("format", "zone", "cursor", "floored"), LIKE, ids=shown)
def test_a_floored_cursor_is_written_as_the_source_writes_it(
    format: str, zone: str | None, cursor: str, floored: str
) -> None:
    if format == "iso" and cursor[-1].isdigit() and "+" not in cursor and "-0330" not in cursor:
        zone = "Europe/Berlin"
    at = datetime(2026, 5, 17, 9, 59, 58, 614_000, tzinfo=UTC)
    mark = Watermark("changed", lateness=NOW, format=format, zone=zone)

    assert mark.floor(cursor, at) == floored
    assert mark.position(floored) <= mark.position(cursor)
    assert mark.floor(floored, at) == floored


def test_an_epoch_with_more_digits_than_decimals_keep_is_floored_all_the_same() -> None:
    mark = Watermark("changed", lateness=NOW, format="epoch")
    cursor = "1900000000." + "0" * 22

    floored = mark.floor(cursor, datetime(2026, 1, 1, tzinfo=UTC))

    assert mark.position(floored) <= Decimal(1767225600)


def test_a_granularity_rounds_the_cap_down() -> None:
    mark = Watermark("day", lateness=timedelta(days=1), granularity=timedelta(days=1))
    at = datetime(2026, 5, 17, 23, 59, tzinfo=UTC)

    assert mark.floor("2026-06-01T00:00:00Z", at) == "2026-05-17T00:00:00Z"


@steady
@given(instants, instants, st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_flooring_never_goes_past_the_instant(at: datetime, far: datetime, digits: str) -> None:
    mark = Watermark("changed", lateness=NOW)
    cursor = far.replace(tzinfo=UTC).isoformat(timespec=digits)

    place = mark.floor(cursor, at)

    assert mark.position(place) <= mark.position(cursor)
    assert mark.position(place)[0] <= at.astimezone(UTC).replace(tzinfo=None)
    assert mark.floor(place, at) == place


texts = st.text(st.characters(exclude_categories=["Cs"]))


@steady
@given(texts, texts | st.none())
def test_a_keyset_cursor_is_split_into_what_it_was_made_of(value: str, id: str | None) -> None:
    keyset = Keyset("changed", "id", lateness=NOW)

    assert keyset.split(keyset.cursor(value, id)) == (value, id)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "null",
        "7",
        "ab",
        "2026-03-29T02:30:00Z",
        '"ab"',
        '{"a":1,"b":2}',
        '{"a":"1","b":"2"}',
        "[]",
        '["a"]',
        '["a","b","c"]',
        '["a",1]',
        '[1,"b"]',
        '[null,"b"]',
        '["a",true]',
        '["a",["b"]]',
        '["a","b"',
        '["a","b"] x',
        "[" * 100_000,
    ],
    ids=shown,
)
def test_a_keyset_cursor_that_is_garbage_breaks_the_contract(garbage: str) -> None:
    keyset = Keyset("changed", "id", lateness=NOW)

    for call in (keyset.split, keyset.position):
        with pytest.raises(ContractError):
            call(garbage)


@steady
@given(texts)
def test_no_text_makes_the_split_fail_in_another_way(text: str) -> None:
    keyset = Keyset("changed", "id", lateness=NOW)
    try:
        value, id = keyset.split(text)
    except ContractError:
        return
    assert json.loads(text) == [value, id]


def test_a_keyset_that_is_floored_lies_before_all_ids_of_its_value() -> None:
    keyset = Keyset("changed", "id", lateness=NOW)
    at = datetime(2026, 3, 1, tzinfo=UTC)

    floored = keyset.floor(keyset.cursor("2026-03-02T00:00:00Z", "r9"), at)

    assert keyset.split(floored) == ("2026-03-01T00:00:00Z", None)
    kept = keyset.cursor("2026-02-28T00:00:00Z", "r9")
    assert keyset.floor(kept, at) == kept


def test_a_token_is_stored_once_its_watermark_is_past_what_may_be_late() -> None:
    token = Token(lateness=timedelta(minutes=1))
    cap = datetime(2026, 3, 1, tzinfo=UTC)
    early, late = cap - timedelta(seconds=1), cap + timedelta(seconds=1)

    def stored(watermark: datetime | None) -> str | None:
        return durable(token, "new", old="old", cap=cap, watermark=watermark)

    assert [stored(early), stored(late), stored(cap), stored(None)] == ["new", "old", "old", "old"]


# -- Records kept for later ------------------------------------------------------------

dollars = st.sampled_from(
    ["$decimal", "$unset", "$object", "$bytes", "$", "$$", "$timedelta", "$datetime", "$uuid"]
)
packable = trees(
    plain_values
    | st.text()
    | st.just(UNSET)
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | instants
    | st.dates()
    | st.times(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.binary(max_size=9)
    | st.uuids(),
    st.text(max_size=3) | dollars,
)


def kinds(value: Any) -> str:
    """The value as text that shows types and signs; a fold without a zone means nothing."""
    return repr(value).replace(", fold=1", "")


@steady
@given(packable)
def test_what_is_packed_is_unpacked_equal_and_of_the_same_type(value: Any) -> None:
    made = unpack(pack(value))

    assert made == value
    assert kinds(made) == kinds(value)


@steady
@given(st.dictionaries(st.none() | st.integers() | st.text() | dollars, packable, max_size=3))
def test_objects_with_odd_names_are_unpacked_equal(value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        {"$decimal": "1"},
        {"$unset": True},
        {"$object": []},
        {"$object": [["a", 1]]},
        {"$bytes": "ff"},
        {"$timedelta": [1, 2, 3]},
        {"$date": "2026-01-01", "b": {"$uuid": 1}},
        {"$decimal": Decimal(1)},
        [{"$time": None}],
    ],
)
def test_a_record_that_looks_like_our_tags_stays_what_it_is(value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    "name",
    [(1, "a"), (), ("a", ("b",)), frozenset("a"), b"a", date(2026, 1, 1), UUID(int=1), UNSET],
    ids=shown,
)
def test_an_object_with_another_name_is_kept_or_refused_when_it_is_packed(name: Any) -> None:
    try:
        text = pack({name: "value"})
    except TypeError:
        return
    assert unpack(text) == {name: "value"}


def test_an_enum_becomes_its_value_and_a_tuple_a_list() -> None:
    value = (Colour.RED, Region.EU, Level.LOW, (1, MappingProxyType({"a": (2,)})))

    assert unpack(pack(value)) == ["red", "eu", 3, [1, {"a": [2]}]]


@pytest.mark.parametrize("value", [math.inf, -math.inf, Decimal("Infinity"), Decimal("-0E+7")])
def test_odd_numbers_survive(value: Any) -> None:
    assert repr(unpack(pack(value))) == repr(value)


def test_not_a_number_survives() -> None:
    assert math.isnan(unpack(pack(math.nan)))
    assert unpack(pack(Decimal("NaN"))).is_nan()
    assert unpack(pack(Decimal("sNaN"))).is_snan()


def test_lone_surrogates_survive_as_ascii() -> None:
    text = pack({"\udc00": "a\ud800"})

    assert text.isascii()
    assert unpack(text) == {"\udc00": "a\ud800"}


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, Address("Ulm"), [len], {"a": {"b": ...}}])
def test_what_is_not_data_is_not_packed(value: Any) -> None:
    with pytest.raises(TypeError):
        pack(value)


def test_too_deep_and_too_long_fail_as_documented() -> None:
    with pytest.raises(RecursionError):
        pack(nested(100_000, lambda value: [value]))
    with pytest.raises(ValueError, match="digits"):
        pack(10**5_000)


def test_an_instant_keeps_its_offset() -> None:
    moment = datetime(2026, 3, 1, 13, tzinfo=ZoneInfo("Europe/Berlin"))

    assert unpack(pack(moment)).isoformat() == moment.isoformat()


# -- One odd record and its neighbours -------------------------------------------------

HOUR = timezone(timedelta(hours=1))
LOCAL = INSTANT("updated", zone="Europe/Berlin")
ODD: dict[str, tuple[Batch, Version]] = {
    "the first instant of .NET as version": (
        Batch(["a", "b"], [{}, {}], versions=["0001-01-01T00:00:00", "2026-01-01T00:00:00"]),
        LOCAL,
    ),
    "an instant before the calendar": (
        Batch(["a", "b"], [{"at": datetime(1, 1, 1, tzinfo=HOUR)}, {}]),
        OPAQUE,
    ),
    "a field whose name is a number": (Batch(["a", "b"], [{1: "x"}, {}]), OPAQUE),
    "fields whose names do not compare": (Batch(["a", "b"], [{1: "x", "y": 2}, {}]), OPAQUE),
    "a version of thousands of digits": (
        Batch(["a", "b"], [{}, {}], versions=[10**5_000, 1]),
        INTEGER,
    ),
    "a version in another script": (
        Batch(["a", "b"], [{}, {}], versions=["２０２６-01-01", "2026-01-01T00:00:00"]),
        LOCAL,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_record_never_stops_the_others(name: str) -> None:
    batch, version = ODD[name]
    sink = Upserts()

    report = pipeline(Pages(batch, version=version), sink, dict).run(MemoryStore())

    assert report.result in (Result.PARTIAL, Result.SUCCESS), str(report)
    assert ("b",) in sink.rows


def test_a_letter_that_holds_an_odd_object_never_stops_a_replay() -> None:
    sink, store = Upserts(), MemoryStore()
    sink.refuses = lambda change: True
    records = [{(1, 2): "tuple"}, {"fine": 1}]
    flow = pipeline(Pages(Batch(["a", "b"], records)), sink, lambda record: {"v": 1})
    assert flow.run(store).counts.dead == 2
    sink.refuses = lambda change: False

    flow.replay(store)

    assert ("b",) in sink.rows


def test_keys_of_a_class_of_their_own_are_text() -> None:
    class Word(enum.StrEnum):
        X = "x"

    prints = Fingerprints(["a"])
    assert prints.of([{Word.X: 1}]) == prints.of([{"x": 1}])
