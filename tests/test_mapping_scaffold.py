"""Drafts: all that is seen, and not one decision."""

from __future__ import annotations

import enum
from typing import Any, TypedDict

import pytest
from attrs import define, field

from syncsdk import mapping as words
from syncsdk.mapping import MappingDefinitionError, about
from syncsdk.mapping.scaffold import describe, draft
from syncsdk.values import Unset


class State(enum.Enum):
    A = "a"
    B = "b"


@define
class Home:
    city: str


@define
class HttpContact:
    id: int
    home: Home | None
    state: State


@define
class Customer:
    name: str = field(metadata=about(max=40, meaning="Legal name"))
    state: State
    phone: str | Unset


class Row(TypedDict):
    name: str


def test_a_draft_lists_both_ends_and_decides_nothing() -> None:
    assert draft(HttpContact, Customer) == (
        "@mapping\n"
        "def http_contact_to_customer(s: HttpContact) -> Customer:\n"
        '    """..."""\n'
        "    # s.id: int\n"
        "    # s.home: Home or null\n"
        "    # s.home.city: str\n"
        "    # s.state: State; 2 options\n"
        "    drop(..., why=...)\n"
        "    return to(Customer)(\n"
        "        name=...,  # str; at most 40 chars; Legal name\n"
        "        state=...,  # State; 2 options\n"
        "        phone=...,  # str or absent\n"
        "    )\n"
    )
    assert '        "name": ...,  # str\n' in draft(Customer, Row)


def test_a_draft_is_refused_until_it_is_decided() -> None:
    text = draft(HttpContact, Customer).replace("    drop(..., why=...)\n", "")
    names = {**vars(words), "HttpContact": HttpContact, "Customer": Customer, "__name__": __name__}

    with pytest.raises(MappingDefinitionError) as caught:
        exec(compile(text, __file__, "exec"), names)

    assert str(caught.value).count("and no rule") == 3
    assert "home of the source is neither used nor dropped" in str(caught.value)


SAMPLE: list[dict[str, Any]] = [
    {"id": 1, "full-name": "secret", "class": None, "tags": [], "home": {"city": "secret"}},
    {
        "id": "2",
        "full-name": "secret",
        "tags": ["secret", 5],
        "rows": [{"sku": "secret"}, {"sku": 1.5}],
    },
]


def test_a_sample_is_described_as_it_was_seen() -> None:
    text = describe(SAMPLE, "Order")

    assert text == (
        "@define\n"
        "class OrderHome:\n"
        "    city: str  # 100 % of 1\n"
        "\n\n"
        "@define\n"
        "class OrderRows:\n"
        "    sku: float | str  # 100 % of 2\n"
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


def test_a_description_is_python() -> None:
    odd = [{"1st": 1, "_x": 2, 'q"uote': 3, "": 4, "naïve": 5, "list": [], "x": 6}]
    names: dict[str, Any] = {"define": define, "field": field, "about": about, "Unset": Unset}

    exec("from __future__ import annotations\n" + describe(odd, "Odd"), names)

    made = names["Odd"]
    assert [each.name for each in made.__attrs_attrs__] == [
        "field_1st",
        "x",
        "q_uote",
        "field_",
        "naïve",
        "list",
        "x_",
    ]
    assert describe([], "None_") == "@define\nclass None_:\n    ...\n"
