"""Drafts: all that is seen, and not one decision."""

from __future__ import annotations

import enum
import json
import sys
from datetime import date
from decimal import Decimal
from types import ModuleType
from typing import Any, TypedDict

import attrs
import pytest
from attrs import define, field

from syncsdk.mapping import MappingDefinitionError, about
from syncsdk.mapping.scaffold import describe, draft
from syncsdk.mapping.shapes import shape


class State(enum.Enum):
    A = "a"
    B = "b"


@define
class Home:
    city: str
    owner: Person | None


@define
class Person:
    name: str
    homes: list[Home]


@define
class HttpContact:
    id: int
    home: Home | None
    state: State
    homes: list[Home]


@define
class Row:
    text: str = field(metadata=about(meaning="printed,\nline by line"))


class Total(TypedDict):
    net: str


@define
class Address:
    city: str = field(metadata=about(max=40, meaning="As it is printed"))
    rows: list[Row]


@define
class Customer:
    state: State
    postal: Address
    billing: Address | None
    parent: Customer | None


class Sums(TypedDict):
    total: Total


@define
class Place:
    city: str


@define
class Guest:
    id: int
    home: Place


@define
class Town:
    name: str


@define
class Letter:
    town: Town


def test_a_draft_is_a_module_that_lists_both_ends_and_decides_nothing() -> None:
    assert draft(HttpContact, Customer) == (
        "from tests.test_mapping_scaffold import Customer\n"
        "from tests.test_mapping_scaffold import HttpContact\n"
        "from syncsdk.mapping import drop, mapping, to  # and the rules: text, code, ...\n"
        "\n\n"
        "# For Customer.postal, Customer.billing: say what it is made of, and give it to nested, "
        "one_of or each\n"
        "# @mapping\n"
        "# def ..._to_address(s: ...) -> Address:\n"
        "#     return to(Address)(\n"
        "#         city=...,  # str; at most 40 chars; As it is printed\n"
        "#         rows=...,  # list of Row\n"
        "#     )\n"
        "\n\n"
        "# For Customer.postal.rows, Customer.billing.rows: say what it is made of, and give it to "
        "nested, one_of or each\n"
        "# @mapping\n"
        "# def ..._to_row(s: ...) -> Row:\n"
        "#     return to(Row)(\n"
        "#         text=...,  # str; printed, line by line\n"
        "#     )\n"
        "\n\n"
        "@mapping\n"
        "def http_contact_to_customer(s: HttpContact) -> Customer:\n"
        '    """..."""\n'
        "    # s.id: int\n"
        "    # s.home: Home or null\n"
        "    # s.home.city: str\n"
        "    # s.home.owner: Person or null\n"
        "    # s.home.owner.name: str\n"
        "    # s.home.owner.homes: list of Home\n"
        "    # s.state: State; 2 options\n"
        "    # s.homes: list of Home\n"
        "    # s.homes[*].city: str\n"
        "    # s.homes[*].owner: Person or null\n"
        "    # s.homes[*].owner.name: str\n"
        "    # s.homes[*].owner.homes: list of Home\n"
        '    # drop(..., why="..."): what has no home\n'
        "    return to(Customer)(\n"
        "        state=...,  # State; 2 options\n"
        "        postal=...,  # Address\n"
        "        billing=...,  # Address or null\n"
        "        parent=...,  # Customer or null\n"
        "    )\n"
    )


def test_a_draft_between_plain_objects_has_displays_of_dicts() -> None:
    assert draft(Total, Sums) == (
        "from tests.test_mapping_scaffold import Sums\n"
        "from tests.test_mapping_scaffold import Total\n"
        "from syncsdk.mapping import drop, mapping, to  # and the rules: text, code, ...\n"
        "\n\n"
        '# For Sums["total"]: say what it is made of, and give it to nested, one_of or each\n'
        "# @mapping\n"
        "# def ..._to_total(s: ...) -> Total:\n"
        "#     return {\n"
        '#         "net": ...,  # str\n'
        "#     }\n"
        "\n\n"
        "@mapping\n"
        "def total_to_sums(s: Total) -> Sums:\n"
        '    """..."""\n'
        '    # s["net"]: str\n'
        '    # drop(..., why="..."): what has no home\n'
        "    return {\n"
        '        "total": ...,  # Total\n'
        "    }\n"
    )


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (
            (HttpContact, Customer),
            [
                "state of Customer is not decided yet",
                "postal of Customer is not decided yet",
                "billing of Customer is not decided yet",
                "parent of Customer is not decided yet",
                "id of the source is neither used nor dropped",
                "home of the source is neither used nor dropped",
                "state of the source is neither used nor dropped",
                "homes of the source is neither used nor dropped",
            ],
        ),
        (
            (Total, Sums),
            [
                "total of Sums is not decided yet",
                "net of the source is neither used nor dropped",
            ],
        ),
    ],
    ids=["classes", "plain objects"],
)
def test_a_draft_is_refused_with_all_that_is_open(ends: tuple[type, type], told: list[str]) -> None:
    with pytest.raises(MappingDefinitionError) as caught:
        imported(draft(*ends), __file__)

    assert [each.message for each in caught.value.problems] == told


def test_a_draft_is_finished_by_taking_its_decisions() -> None:
    text = draft(Guest, Letter)
    for before, after in {
        "drop, mapping, to": "drop, mapping, nested, text, to, REJECT",
        "import Guest": "import Guest, Town, Place",
        "# @mapping": "@mapping",
        "# def ..._to_town(s: ...)": "def place_to_town(s: Place)",
        "#     ": "    ",
        "name=...": "name=text(s.city)",
        '# drop(..., why="...")': 'drop(s.id, why="of no use there")  # ',
        "town=...": "town=nested(s.home, place_to_town, missing=REJECT)",
    }.items():
        assert text.count(before)
        text = text.replace(before, after)

    mapped = imported(text, __file__).guest_to_letter

    assert mapped({"id": 1, "home": {"city": "Ulm"}}) == Letter(Town("Ulm"))


def test_classes_are_imported_as_they_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = draft(Home, Customer, modules=("crm.models", "erp"))
    assert "from crm.models import Home\nfrom erp import Customer\n" in text
    twin = type("Customer", (), {"__annotations__": {"name": str}})
    for name, kind in {"crm.models": Customer, "erp": define(twin)}.items():
        module = ModuleType(name)
        vars(module)["Customer"] = kind
        monkeypatch.setitem(sys.modules, name, module)
    crm, erp = sys.modules["crm.models"].Customer, sys.modules["erp"].Customer
    monkeypatch.setitem(sys.modules, "crm", ModuleType("crm"))
    vars(sys.modules["crm"])["models"] = sys.modules["crm.models"]

    text = draft(crm, erp, modules=("crm.models", "erp"))

    assert text.startswith("import crm.models\nimport erp\n")
    assert "def customer_to_customer(s: crm.models.Customer) -> erp.Customer:\n" in text
    assert "    return to(erp.Customer)(\n" in text
    with pytest.raises(MappingDefinitionError, match="name of Customer is not decided yet"):
        imported(text, __file__)


def imported(text: str, file: str, name: str = "drafted") -> Any:
    """Return the module that a draft is, or raise what its import raises."""
    module = sys.modules[name] = ModuleType(name)  # where types are looked up
    try:
        exec(compile(text, file, "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules[name]
    return module


# -- A sample --------------------------------------------------------------------------

SAMPLE: list[dict[str, Any]] = [
    {"id": 1, "full-name": "secret", "class": None, "tags": [], "home": {"city": "secret"}},
    {
        "id": "2",
        "full-name": "secret",
        "tags": ["secret", 5],
        "rows": [{"sku": "secret", "on": date(2026, 3, 1)}, {"sku": Decimal("1.5"), "on": None}],
    },
]


def test_a_sample_is_described_as_it_was_seen() -> None:
    text = describe(SAMPLE, "Order")

    assert text == (
        "from attrs import define, field\n"
        "from datetime import date\n"
        "from decimal import Decimal\n"
        "from syncsdk.mapping import about\n"
        "from syncsdk.values import Unset\n"
        "\n\n"
        "@define\n"
        "class OrderHome:\n"
        "    city: str  # 100 % of 1\n"
        "\n\n"
        "@define\n"
        "class OrderRows:\n"
        "    sku: Decimal | str  # 100 % of 2\n"
        "    on: date | None  # 100 % of 2\n"
        "\n\n"
        "@define\n"
        "class Order:\n"
        "    id: int | str  # 100 % of 2\n"
        '    full_name: str = field(metadata=about(key="full-name"))  # 100 % of 2\n'
        '    class_: None | Unset = field(metadata=about(key="class"))  # 50 % of 2\n'
        "    tags: list[int | str]  # 100 % of 2\n"
        "    home: OrderHome | Unset  # 50 % of 2\n"
        "    rows: list[OrderRows] | Unset  # 50 % of 2\n"
    )
    assert "secret" not in text


@pytest.mark.parametrize("postponed", ["", "from __future__ import annotations\n"])
def test_a_description_is_python(postponed: str) -> None:
    odd = [{"1st": 1, "_x": 2, 'q"uote': 3, "naïve": 5, "list": [], "x": 6, "str-": "", "y": ""}]

    made = imported(postponed + describe(odd, "Odd"), __file__).Odd

    assert [each.name for each in made.__attrs_attrs__] == [
        "field_1st",
        "x",
        "q_uote",
        "naïve",
        "list",
        "x_",
        "str_",
        "y",
    ]
    assert describe([], "None_").endswith("\n@define\nclass None_:\n    ...\n")


def test_two_objects_whose_names_differ_by_signs_only_are_two_classes() -> None:
    module = imported(describe([{"a-b": {"x": 1}, "a_b": {"y": 2}, "_": {"z": 3}}], "S"), __file__)

    inner = [its.nested for its in shape(module.S).fields.values() if its.nested is not None]
    assert [list(shape(each).fields) for each in inner] == [["x"], ["y"], ["z"]]


@pytest.mark.parametrize(
    "records",
    [
        [{"²": 1, "½": 2, "x²": 3}],
        [{"self": 1}],
        [{"ﬁ": 1, "fi": 2}],
        [json.loads('{"a":' * 400 + "1" + "}" * 400)],
        [{"a": json.loads("[" * 400 + "]" * 400)}],
    ],
)
def test_a_draft_of_odd_keys_and_depths_is_a_module(records: Any) -> None:
    made: dict[str, Any] = {"__name__": "drafted"}

    exec(compile(describe(records, "Sample"), "drafted", "exec"), made)

    fields = {attribute.name for attribute in attrs.fields(made["Sample"])}
    assert len(fields) == len(records[0])
