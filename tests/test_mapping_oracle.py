"""The compiled mapper against a second opinion: damaged records, value by value, issue by issue.

Read :func:`crm_to_erp`, the mapping; then ``mapping_oracle``, which says by hand what should
become of a contact; then :func:`damaged`, which spoils records, and :func:`differences`,
which holds the two against each other. ``MENDED`` are values over which
they once differed.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, Inexact, localcontext
from random import Random
from types import MappingProxyType
from typing import Any, Final

import attrs
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsdk import MappingError
from syncsdk.mapping import (
    EMAIL,
    FIRST,
    HALF_EVEN,
    LAST,
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
    day,
    decimal,
    drop,
    flag,
    instant,
    integer,
    join,
    label,
    mapping,
    need_one,
    one_of,
    split,
    step,
    support,
    text,
    to,
)
from syncsdk.mapping.compiler import _Emitter
from syncsdk.mapping.tracing import Rule
from syncsdk.values import UNSET, Unset
from tests import mapping_oracle as oracle

# -- The mapping -----------------------------------------------------------------------


class Stage(enum.Enum):
    LEAD = "lead"
    CUSTOMER = "customer"
    PARTNER = "partner"
    LOST = "lost"


class Status(enum.Enum):
    PROSPECT = "P"
    ACTIVE = "A"
    CLOSED = "C"
    REVIEW = "R"


@define
class CrmAddress:
    kind: str
    rank: int
    street: str
    unit: str | Unset | None
    country: str
    since: str | None


@define
class CrmCompany:
    reference: str | None
    vat: str | None


@define
class CrmContract:
    number: str | int
    state: str
    signed: str | None


@define
class CrmContact:
    id: int = field(metadata=about(key="contactId"))
    first_name: str | None = field(metadata=about(key="firstName"))
    last_name: str | None = field(metadata=about(key="lastName"))
    headline: str
    email: str | None
    mobile: str | None
    phone: str | None
    note: str | Unset | None
    stage: Stage
    credit_limit: str | int | float | None = field(metadata=about(key="creditLimit"))
    employees: int | None
    newsletter: bool | None
    created_at: str = field(metadata=about(key="createdAt"))
    company: CrmCompany
    addresses: list[CrmAddress]
    contracts: list[CrmContract] | None
    owner: str


@define
class ErpAddress:
    street: str = field(metadata=about(max=24, unit="bytes"))
    unit: str | Unset
    country: str = field(metadata=about(key="countryCode"))
    since: date | None


@define
class ErpContract:
    number: str
    signed: date | None


@define
class ErpContact:
    external_id: str
    name: str = field(validator=attrs.validators.max_len(80))
    search_key: str
    headline: str = field(metadata=about(max=12))
    email: str | None
    phone: str | None
    note: str | Unset
    status: Status
    credit_limit: Decimal
    employees: int
    newsletter: bool
    created_at: datetime
    region: str
    billing: ErpAddress | None
    contract: ErpContract | Unset


@step(version="1")
def sales_region(name: str) -> str:
    """Take the letter of a sales region for its name."""
    return {"NORTH": "N", "SOUTH": "S", "NOWHERE": "-"}[name]


def crm_to_erp() -> TypedMapper[CrmContact, ErpContact]:
    """Return the mapping, defined afresh: it is compiled by the _Emitter of the moment."""

    @mapping
    def address(a: CrmAddress) -> ErpAddress:
        drop(a.kind, a.rank, why="they choose the address only")
        return to(ErpAddress)(
            street=text(
                a.street,
                case="upper",
                max=24,
                unit="bytes",
                over=TRUNCATE,
                why="labels are short",
            ),
            unit=text(a.unit, keep="0-9A-Za-z\u0300-\u036f", missing=LEAVE),
            country=code(a.country, {"DE": "DEU", "AT": "AUT"}, unknown=REJECT),
            since=day(a.since, missing=NULL, bad=NULL, why="nobody reads it"),
        )

    @mapping
    def contract(c: CrmContract) -> ErpContract:
        drop(c.state, why="it chooses the contract only")
        return to(ErpContract)(
            number=label("{}", c.number),
            signed=day(c.signed, missing=NULL),
        )

    @mapping
    def contact(s: CrmContact) -> ErpContact:
        drop(s.owner, s.company.vat, why="the ERP has no place for it")
        need_one(s.email, s.mobile, s.phone, why="nobody could be reached")
        return to(ErpContact)(
            external_id=label("CRM-{}", s.id),
            name=join(" ", s.first_name, s.last_name, missing="(no name)"),
            search_key=join(
                "",
                s.first_name,
                s.last_name,
                missing="-",
                max=8,
                over=TRUNCATE,
                why="it only finds, it names nobody",
            ),
            headline=text(s.headline, max=12, over=TRUNCATE, why="the screen is narrow"),
            email=text(s.email, form=EMAIL, case="lower", max=40, over=REJECT, missing=NULL),
            phone=text(
                coalesce(s.mobile, s.phone, missing=NULL),
                keep="0-9+ ",
                max=20,
                over=REJECT,
                missing=NULL,
            ),
            note=text(s.note, missing=LEAVE, max=60, unit="utf16", over=LEAVE, why="rarely read"),
            status=code(
                s.stage,
                {
                    Stage.LEAD: Status.PROSPECT,
                    Stage.CUSTOMER: Status.ACTIVE,
                    Stage.PARTNER: Status.ACTIVE,
                    Stage.LOST: Status.CLOSED,
                },
                unknown=Status.REVIEW,
                why="sales decides later",
            ),
            credit_limit=decimal(
                s.credit_limit,
                places=2,
                rounding=HALF_EVEN,
                floats=SHORTEST,
                within=(0, 1_000_000),
                missing=Decimal(0),
            ),
            employees=integer(s.employees, within=(0, 5_000_000), missing=0),
            newsletter=flag(
                s.newsletter, true=["yes", "on", 1], false=["no", "off", 0], missing=False
            ),
            created_at=instant(s.created_at, zone=REQUIRED),
            region=sales_region(
                split(s.company.reference, "/", 1, missing="NOWHERE", why="one region")
            ),
            billing=one_of(
                s.addresses,
                address,
                prefer=lambda a: (a.kind == "billing") & (a.rank <= 3),
                several=FIRST,
                otherwise=LAST,
                none=NULL,
                why="the ERP has one address",
            ),
            contract=one_of(
                s.contracts,
                contract,
                prefer=lambda c: (c.state == "signed") | (c.state == "renewed"),
                several=by(lambda c: c.signed),
                otherwise=REJECT,
                none=LEAVE,
                why="the first one binds",
            ),
        )

    return contact


# -- Records, good and damaged ---------------------------------------------------------

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
THUMB = "\U0001f44d\U0001f3fd"


class Loose(dict[str, Any]):
    """A dict of some library's own."""


class Some(list[Any]):
    """A list of some library's own."""


OBJECTS: Final[Sequence[Callable[[Any], Any]]] = [
    Loose,
    OrderedDict,
    MappingProxyType,
    lambda record: defaultdict(str, record),
]
LISTS: Final[Sequence[Callable[[Any], Any]]] = [list, list, tuple, Some]


GOOD: Final[Mapping[str, Sequence[Any]]] = {
    "contactId": [7, "007", "A-12", 2**60],
    "firstName": ["Ada", "Zoe\u0308", " Jos\u00e9 ", None],
    "lastName": ["Lovelace", "\u674e", "O'Neil"],
    "headline": ["Engineer", "Countess of L", "Head of " + FAMILY, "Zu\u0308rich office"],
    "email": ["Ada@Example.org", "a.b+c@mail.example.co.uk", None],
    "mobile": ["+49 (30) 123-45", None, ""],
    "phone": ["030 / 99", "+1 555 0100"],
    "note": ["met at the fair", "line\none", None, "x" * 60],
    "stage": ["lead", "customer", "partner", "lost"],
    "creditLimit": ["1200.50", 900, 0.1, None, "0.005", Decimal("12.345")],
    "employees": [12, "40", None, 5_000_000],
    "newsletter": [True, False, "yes", "off", 1, None],
    "createdAt": ["2026-03-29T12:00:00Z", "2024-02-29 23:30:00.123456789+05:30"],
    "owner": ["u1", None, 5],
}
GOOD_COMPANY: Final[Mapping[str, Sequence[Any]]] = {
    "reference": ["EU/NORTH/7", "EU/ SOUTH", "EU", None],
    "vat": ["DE1", None],
}
GOOD_ADDRESS: Final[Mapping[str, Sequence[Any]]] = {
    "kind": ["billing", "billing", "home"],
    "rank": [1, 3, 4, 2.5],
    "street": ["Main St 1", "Hauptstra\u00dfe 123, Hinterhaus", "\u6771\u4eac\u90fd" * 3],
    "unit": ["3a", None],
    "country": ["DE", "AT"],
    "since": ["2020-02-29", None],
}
GOOD_CONTRACT: Final[Mapping[str, Sequence[Any]]] = {
    "number": ["V-1", "007", 7],
    "state": ["signed", "renewed"],
    "signed": ["2024-01-31", "2023-12-01", None],
}
GOOD_LISTS: Final = {"addresses": GOOD_ADDRESS, "contracts": GOOD_CONTRACT}

ANYTHING: Final[Sequence[Any]] = [
    None, "", " ", "\t\n", "\u00a0", "x", "0", "1", 0, 1, -1, 3, 2**53 + 1, 10**30, 10**200, True,
    False, 0.0, -0.0, 1.5, 1e300, 5e-324, float("nan"), float("inf"), [], {}, [None], [[]], [{}],
    ["x"], {"x": 1}, {"reference": "a/NORTH"}, [1, 2, 3], "\ufffd", "a\x00b", "\ud800", "a" * 300,
    "\u0301", b"x", (), Some(), Decimal("NaN"), Decimal("-Infinity"),
    Decimal("1E+120"), Decimal("1E-120"),
    datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), Loose(x=1),
]  # fmt: skip
WORDS: Final[Sequence[Any]] = [
    "\u200b", "\ufeff \u202e", "\x0b", "a\x7fb", "a\u0085", "\x1f", "a\ufffe", "Zoe\u0308",
    "a\u200bb", "\u0646\u200c\u0627", " padded\u2003", "\u0130stanbul", "\u0958", "stra\u00dfe",
    "x" * 11 + FAMILY, "x" * 10 + FLAG + FLAG, "x" * 11 + "q\u0301\u0302z", "x" * 11 + " yz",
    "x" * 11 + THUMB, "\u0301" * 30, FAMILY * 3, "x" * 12, "x" * 13, FLAG * 7,
    "x" * 11 + "\u2764\ufe0f",
    "x" * 23 + "\u00e9", "x" * 24, "x" * 25, "x" * 22 + "\u00e9z", "x" * 22 + "e\u0301",
    "x" * 11 + "\n\u0301z",
    "x" * 59 + "\U0001f600", "x" * 58 + "\U0001f600", "x" * 60, "x" * 61, "\u1112\u1161\u11ab",
    "a\u0327\u0301", "e-\u0301", "-\u0301", "\u1e09\u0345", "x" * 7 + "e-\u0301",
    "a@x.org\u200e", "\u200f\u00e9", "\u200e \u00e9", "\u200e", "x" * 80, "y" * 81,
    "\u0390", "Zoe\u0308\u2003", "e\u200b\u0301",
]  # fmt: skip
NUMBERS: Final[Sequence[Any]] = [
    "-0", "-0.00", "-0.001", "-0.004", "-0.005", "-0.006", "0.015", "0.025", "2.675", 2.675,
    "1,5", "1.5",
    "1e3", "NaN", "Infinity", "\u0661", "1_0", " 12\n", "\u00a012", ".5", "5.", "-", "--1", "1 2",
    "1000000", "1000000.004", "1000000.005", "1000000.006", 1_000_000, 1_000_001, "5000000",
    5_000_001,
    "-1", "9" * 100, "9" * 101, "0." + "1" * 100, "0." + "1" * 101, "9" * 1000, "9" * 1001, "0x1",
    10**99, -(10**101),
    10**5000, Decimal("1.005"), Decimal("sNaN"), Decimal("1000000.001"), 1e22, 0.125, 1000000.001,
    "1.005", "007", True, False, float("nan"), [7], "-1000000", "+0.5 EUR", "+7", "+-7", "+ 7",
    "\u200b", "\ufeff", "\u200e", "\x0b", "\u0085", "1\u200b2", "\u200e12", "12\u200f", "12\x0b",
    Decimal(10**100 - 1), Decimal(10**100),
]  # fmt: skip
TIMES: Final[Sequence[Any]] = [
    "2026-03-29T12:00:00", "2026-03-29", "0001-01-01T00:00:00+14:00", "2026-06-30T23:59:60Z",
    "2026-03-29T24:00:00Z", "2026-02-30T00:00:00Z", "20260329T120000Z", "2026-W13-7T12:00:00Z",
    1774785600, 1774785600000, "1774785600", "2026-03-29t14:00:00z", "2026-03-29T12:00Z",
    "2026-03-29T12:00:00+0200", "2026-03-29T12:00:00+02", "2026-03-29T12:00:00,25-00:30",
    "2026-03-29T12:00:00.1234567899Z", " 2026-03-29T12:00:00Z\n", "9999-12-31T23:59:59-01:00",
    "2026-03-29T12:00:00+24:00", "\u0662026-03-29T12:00:00Z", "0000-01-01T00:00:00Z", "2025-02-29",
    " 2026-03-29 ", "29.03.2026", "2026-3-29", "20260329", "2026-13-01", "0000-01-01",
    "2026-03-29 ", datetime(2026, 3, 29, 12), datetime(2026, 3, 29, 12, tzinfo=UTC), True,
    datetime(2026, 3, 29, 12, tzinfo=timezone(timedelta(hours=2))), date(2026, 3, 29), [2026, 3],
    "2026-03-29T12:00:00+02:60", "2026-03-29T12:00:00+02:59", "2026-03-29T12:00:00+0260",
    "2026-03-29T12:00:00+02:00:60", "2026-03-29T12:00:00-02:00:30", "\u200b", "\u200e", "\x1f",
    "2026-03-29T12:00:00+0200:30", "2026-03-29T12:00:00 +020030", "\u200b2026-03-29T12:00:00Z",
    "2026-03-29\u200e",
]  # fmt: skip
LABELS: Final[Sequence[Any]] = [
    "\u00e9", " 7 ", "e\u0301", "a\x00", -5, 7.0, 10**4300, 10**4299, "\u200bx", "x\ufeff",
    "\u200b", "\u202e7", "\x1f", "7\u00a0", "\ufffd", True,
]  # fmt: skip
FITTING: Final[Mapping[str, Sequence[Any]]] = {
    "contactId": LABELS,
    "number": LABELS,
    "firstName": WORDS,
    "lastName": WORDS,
    "headline": WORDS,
    "note": [*WORDS, "a\u200eb"],
    "street": WORDS,
    "unit": WORDS,
    "email": [
        "nobody", "a@b", "a@b.", "a@.b", "a@b..c", "a@b@c.d", "a b@c.d", "@b.c", "A@B.C",
        "\u0130@b.org", "a@b.c ",
        "x" * 64 + "@b.c", "x" * 65 + "@b.c", "x" * 36 + "@b.c", "x" * 37 + "@b.c", "a\u200b@b.c",
        "a@b\u00a0.c", "e\u0301@b.c", "\u200b", "a@b.c\u200e", "\x0b",
    ],
    "mobile": [
        "ZZ", "+49", "\u0661\u0662", "0" * 20, "0" * 21, "12 ext", " -", "1\u0301", "+ 1\x00",
        "1\n2", "\u200b", "\u200e", "\x0b", "\ufeff \u202e", "1\u200b2",
    ],
    "phone": ["ZZ", "+49", "0" * 21, "a1", ["030"], 30, "\u200b", "\u200e", "\x0b"],
    "stage": ["LEAD", " lead", "lead ", "\uff4cead", "new", "P", 1, Stage.LEAD.name, "\u200b"],
    "creditLimit": NUMBERS,
    "employees": NUMBERS,
    "newsletter": ["Yes", "YES", " yes", "no", "on", "true", 2, 0.0, 1.0, "1", -1, "off", "\u200b"],
    "createdAt": TIMES,
    "since": TIMES,
    "reference": [
        "a/b", "a/NORTH ", "a//c", "/", "a/ /b", "a/north", "a/NOWHERE", "a/\u200bSOUTH",
        "\x00/NORTH", "x/\x1f", "\x0b", "x/\u200b/",
    ],
    "kind": ["Billing", "billing ", "home", True, ["billing"], "b\u0069lling"],
    "rank": ["1", 3.0, 3.0001, True, -1, Decimal(3), Decimal("sNaN"), [1], 10**400],
    "country": ["de", "FR", "DE ", "DEU", 1, ["DE"], "\u200b"],
    "state": ["Signed", "signed ", "draft", "ended", ["signed"], None, 1],
    "signed": [
        "2022-01-01", "2025-01-01 ", "", "\u200b", "zz", 5, -7, True, ["2022-01-01"],
        date(2022, 1, 1),
    ],
}  # fmt: skip


def pick(random: Random, values: Sequence[Any]) -> Any:
    """Return one of some values; a list or an object is nobody else's, for it may be damaged."""
    value = random.choice(values)
    return deepcopy(value) if isinstance(value, dict | list) else value


def drawn(random: Random, fields: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {key: random.choice(values) for key, values in fields.items()}


def good(random: Random) -> dict[str, Any]:
    """Return a record that is nothing but ordinary."""
    record = drawn(random, GOOD)
    record["company"] = drawn(random, GOOD_COMPANY)
    record["addresses"] = [drawn(random, GOOD_ADDRESS) for _ in range(random.randrange(4))]
    record["contracts"] = [drawn(random, GOOD_CONTRACT) for _ in range(random.choice((0, 1, 1, 2)))]
    return record


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a container and a key for each place in a record."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from places(inner)


def damage(random: Random, record: dict[str, Any]) -> Any:
    """Return a record with one more place that is damaged; it may be the whole."""
    how = random.random()
    if how < 0.01:
        return random.choice([None, [], {}, "x", 5, True, [record], object(), float("nan"), ""])
    if how < 0.03:
        return random.choice(OBJECTS)(record)
    if how < 0.06:
        record[random.choice(["x", "contactID", "", "\u00e9", "Email"])] = pick(random, ANYTHING)
        return record
    if how < 0.12:
        name = random.choice(list(GOOD_LISTS))
        record[name] = random.choice(LISTS)(
            pick(random, ANYTHING) if random.random() < 0.2 else drawn(random, GOOD_LISTS[name])
            for _ in range(random.randrange(4))
        )
        return record
    within, key = random.choice(list(places(record)))
    fitting = FITTING.get(key, ()) if isinstance(within, dict) else ()
    if how < 0.22:
        del within[key]
    elif how < 0.24 and isinstance(within[key], dict):
        within[key] = random.choice(OBJECTS)(within[key])
    elif fitting and (how < 0.80 or key == "signed"):
        within[key] = pick(random, fitting)
    else:
        within[key] = pick(random, ANYTHING)
    return record


def damaged(seed: int, number: int) -> list[Any]:
    """Return records with one to three damaged places each."""
    random, made = Random(seed), list[Any]()
    for _ in range(number):
        record: Any = good(random)
        for _ in range(random.choice((1, 1, 2, 3))):
            if record and isinstance(record, dict):
                record = damage(random, record)
        made.append(record)
    return made


# -- The comparison --------------------------------------------------------------------

KEYS: Final = {"country": "countryCode"}


def plain(value: Any) -> Any:
    """Return an object of the destination as it would stand on the wire."""
    if attrs.has(type(value)):
        fields = ((its.name, getattr(value, its.name)) for its in attrs.fields(type(value)))
        return {KEYS.get(name, name): plain(inner) for name, inner in fields if inner is not UNSET}
    return value.value if isinstance(value, enum.Enum) else value


def shown(value: Any) -> str:
    """Return text that is the same for the same value of the same type only."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(value[key])}' for key in sorted(value))}}}"
    return f"{type(value).__name__} {value!r}"


def issues_of(issues: Sequence[Any]) -> str:
    return str([(issue.field, issue.path, issue.code) for issue in issues])


def expected(told: oracle.Outcome) -> str:
    return str(told.issues) if told.value is None else shown(told.value)


def differences(mapper: TypedMapper[Any, Any], records: Sequence[Any]) -> list[str]:
    """Return where the mapper and the oracle differ over some records.

    The records go through ``map_batch``, every tenth also through the two ways that yield
    objects.
    """
    told = [oracle.contact(record) for record in records]
    try:
        rows = mapper.map_batch(records)
        found = list(_differences(mapper, records, rows, told))
    except Exception as error:
        return [f"raised {error!r}"]
    counted = Counter(decision for each in told for decision in each.decisions)
    if rows.decisions != counted:
        found.append(f"counted {rows.decisions}, expected {dict(counted)}")
    return found


def _differences(
    mapper: TypedMapper[Any, Any],
    records: Sequence[Any],
    rows: Sequence[Any],
    told: Sequence[oracle.Outcome],
) -> Iterator[str]:
    fields = mapper.fields
    for at, (row, each) in enumerate(zip(rows, told, strict=True)):
        if isinstance(row, MappingError):
            got = issues_of(row.issues)
        else:
            got = shown({key: v for key, v in zip(fields, row, strict=True) if v is not UNSET})
        if got != expected(each):
            yield f"record {at}, batch: got {got}, expected {expected(each)}"
        if at % 10 == 0:
            yield from _object_differences(mapper, records[at], each, f"record {at}")


def _object_differences(
    mapper: TypedMapper[Any, Any], record: Any, told: oracle.Outcome, where: str
) -> Iterator[str]:
    try:
        got = shown(plain(mapper(record)))
    except MappingError as error:
        got = issues_of(error.issues)
    if got != expected(told):
        yield f"{where}, object: got {got}, expected {expected(told)}"
    explained = mapper.explain(record)
    got = issues_of(explained.issues) if explained.issues else shown(plain(explained.value))
    if got != expected(told):
        yield f"{where}, explain: got {got}, expected {expected(told)}"
    if set(explained.decisions) != set(told.decisions):
        yield f"{where}, explain: took {explained.decisions}, expected {told.decisions}"


# -- Records against the oracle --------------------------------------------------------

MAPPER: Final = crm_to_erp()
PLAIN: Final[Mapping[str, Any]] = good(Random(1)) | {
    "email": "a@b.org",
    "addresses": [],
    "contracts": [],
}


def test_ordinary_records_become_what_they_should() -> None:
    records = [PLAIN, *(good(Random(seed)) for seed in range(200))]

    assert differences(MAPPER, records) == []
    assert oracle.contact(PLAIN).value is not None


def test_sixty_thousand_damaged_records_become_what_they_should() -> None:
    mapper, seen = crm_to_erp(), set[str]()
    for seed in range(60):
        records = damaged(seed, 1000)
        found = differences(mapper, records)
        assert not found, f"seed {seed}: {len(found)} differences, {found[:3]}"
        if seed < 5:
            for told in map(oracle.contact, records):
                seen |= {code for _, _, code in told.issues}
                seen |= {decision for _, decision in told.decisions}

    assert seen >= {"cut", "defaulted", "fallback", "several", "left", "nulled"}
    assert len(seen) >= 20, f"the damage is idle: only {sorted(seen)} occurred"


TEXTS: Final = st.text(st.characters(exclude_characters="\u200e\u200f"), max_size=20)
"""Any text but for the marks of direction, over which there are departures."""
KEYS_WITHIN: Final = [*GOOD_ADDRESS, *GOOD_COMPANY, *GOOD_CONTRACT, "x"]
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS_WITHIN), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(seed=st.integers(0, 999), where=st.integers(0, 999), value=JSON)
def test_any_json_at_any_place_is_mapped_or_refused(seed: int, where: int, value: Any) -> None:
    record: Any = good(Random(seed))
    everywhere = [None, *places(record)]
    place = everywhere[where % len(everywhere)]
    if place is None:
        record = value
    else:
        place[0][place[1]] = value

    assert differences(MAPPER, [record]) == []


# -- Mistakes that must be found -------------------------------------------------------

REAL: Final = {
    name: getattr(_Emitter, name) for name in vars(_Emitter) if not name.startswith("__")
}


def a_limit_is_off_by_one(self: _Emitter, rule: Rule, v: str, into: str) -> None:
    if "max" in rule.settings:
        more = {**rule.settings, "max": rule.settings["max"] + 1}
        rule = attrs.evolve(rule, settings=more)
    REAL["fitted"](self, rule, v, into)


def blank_numbers_are_not_missing(self: _Emitter, _: Rule, v: str, *more: str) -> str:
    self.put(f"{v} = {v}.strip()")
    return "if"


def otherwise_takes_the_first(
    self: _Emitter, source: Any, settings: Mapping[str, Any], *more: str
) -> None:
    if settings["otherwise"] is LAST:
        settings = {**settings, "otherwise": FIRST}
    REAL["chosen"](self, source, settings, *more)


def a_fallback_is_not_counted(self: _Emitter, what: str) -> None:
    if what != "fallback":
        REAL["hit"](self, what)


def the_bounds_themselves_are_refused(
    self: _Emitter, bounds: Any, v: str, into: str, bad: Any
) -> None:
    with self.block(f"if not {bounds[0]} < {v} < {bounds[1]}:"):
        self.answer(bad, into, "out_of_range", "a number within bounds", v)


def a_field_is_cleared_and_not_left(
    self: _Emitter, decided: Any, into: str, code: str, expected: str, value: str
) -> None:
    REAL["answer"](self, NULL if decided is LEAVE else decided, into, code, expected, value)


def one_half_of_a_wish_is_enough(self: _Emitter, asked: Any, element: str) -> str:
    return str(REAL["_condition"](self, asked, element)).replace(" and ", " or ")


def one_of_the_needed_is_enough_to_refuse(self: _Emitter, places: Any, prefix: str) -> None:
    REAL["need"](self, places[:2], prefix)


def only_white_space_is_blank(value: Any) -> bool:
    return value is None or value is UNSET or (isinstance(value, str) and not value.strip())


AS_LABEL: Final = support.as_label


def a_label_is_cleaned(value: Any, path: str) -> str:
    return AS_LABEL(support.visible(value) if isinstance(value, str) else value, path)


def the_smallest_is_the_first(elements: Sequence[Any], _: Any) -> Any:
    return elements[0]


def nobody_asks_the_class(*_: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("owner", "name", "mistake"),
    [
        (_Emitter, "fitted", a_limit_is_off_by_one),
        (_Emitter, "blank", blank_numbers_are_not_missing),
        (_Emitter, "chosen", otherwise_takes_the_first),
        (_Emitter, "hit", a_fallback_is_not_counted),
        (_Emitter, "within", the_bounds_themselves_are_refused),
        (_Emitter, "answer", a_field_is_cleared_and_not_left),
        (_Emitter, "_condition", one_half_of_a_wish_is_enough),
        (_Emitter, "need", one_of_the_needed_is_enough_to_refuse),
        (support, "is_blank", only_white_space_is_blank),
        (support, "as_label", a_label_is_cleaned),
        (support, "pick", the_smallest_is_the_first),
        (TypedMapper, "_validate", nobody_asks_the_class),
    ],
)
def test_a_mistake_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, mistake: Callable[..., Any]
) -> None:
    monkeypatch.setattr(owner, name, mistake)
    wrong = crm_to_erp()

    found = next(filter(None, (differences(wrong, damaged(seed, 500)) for seed in range(6))), [])

    assert found, f"nothing was found of {mistake.__name__}"
    assert not any(each.startswith("raised") for each in found)


# -- Where they once differed ----------------------------------------------------------


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff \u202e", "\u200e", "\u00a0", "\x0b"])
def test_what_nobody_sees_reaches_nobody(blank: str) -> None:
    record = {**PLAIN, "email": None, "mobile": blank, "phone": blank}

    assert ("*", "$.email or $.mobile or $.phone", "need_one") in oracle.contact(record).issues
    assert differences(MAPPER, [record]) == []


def test_the_path_of_an_object_that_is_none_ends_there() -> None:
    (issue,) = MAPPER.explain({**PLAIN, "company": "X"}).issues

    assert issue.path == "$.company"


def test_a_defaultdict_is_not_changed() -> None:
    record = defaultdict(str, PLAIN)
    del record["contactId"]

    assert differences(MAPPER, [record]) == []
    assert "contactId" not in record


def test_numbers_do_not_depend_on_the_decimal_context() -> None:
    with localcontext() as context:
        context.traps[Inexact] = True
        record = {**PLAIN, "creditLimit": Decimal("1.0000000000000000000000000000001")}
        assert differences(MAPPER, [record]) == []


# -- What once was wrong ---------------------------------------------------------------


def signed(**days: Any) -> dict[str, Any]:
    """Return contracts for a record; only the number of the one called ``right`` is sound."""
    return {
        "contracts": [
            {"number": number if number == "right" else None, "state": "signed", "signed": day}
            for number, day in days.items()
        ]
    }


MENDED: Final = [
    pytest.param({"headline": "a\u200e \u200e"}, id="edges are not stripped to the end"),
    pytest.param({"mobile": "\u200e \u200e", "phone": "030"}, id="blank is not seen to the end"),
    pytest.param({"employees": "\u200e 12"}, id="a number behind a mark and a space"),
    pytest.param({"company": {"reference": "a/\u200eNORTH"}}, id="the edge of a part"),
    pytest.param({"company": {"reference": "a/\u200e/b"}}, id="a part that nobody sees"),
    pytest.param({"headline": "x" * 11 + "\u200exyz"}, id="the edge of what is cut"),
    pytest.param({"contactId": "7\u200e"}, id="a label with a mark that nobody sees"),
    pytest.param(signed(wrong=2.5, right=1), id="by puts every float before every integer"),
    pytest.param(signed(wrong="x", right=Decimal(1)), id="by puts a Decimal behind text"),
]
"""What the mapper did not do, and the docstrings said."""


@pytest.mark.parametrize("changed", MENDED)
def test_what_once_was_wrong_is_right(changed: dict[str, Any]) -> None:
    assert differences(MAPPER, [{**PLAIN, **changed}]) == []


@define
class Code:
    code: str = field(validator=attrs.validators.max_len(3))


@define
class Coded:
    inner: Code
    name: str


def test_a_batch_tells_what_a_class_within_refuses_besides_other_issues() -> None:
    @mapping
    def coded(a: CrmAddress) -> Coded:
        drop(a.rank, a.unit, a.country, a.since, why="not needed")
        return to(Coded)(inner=to(Code)(code=text(a.kind)), name=text(a.street))

    record = {"kind": "billing", "street": None}
    (row,) = coded.map_batch([record])

    assert issues_of(row.issues) == issues_of(coded.explain(record).issues)
