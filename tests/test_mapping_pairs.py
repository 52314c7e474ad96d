"""There and back."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field

from syncsdk.mapping import (
    HALF_EVEN,
    NULL,
    REJECT,
    REQUIRED,
    TRUNCATE,
    MappingDefinitionError,
    about,
    code,
    decimal,
    drop,
    instant,
    mapping,
    pair,
    text,
    to,
)
from syncsdk.mapping.pairs import alike
from syncsdk.values import UNSET


class Six(enum.Enum):
    LEAD = "lead"
    TALKING = "talking"
    WON = "won"


class Two(enum.Enum):
    OPEN = "O"
    DONE = "D"


@define
class Here:
    name: str
    status: Six
    total: str
    since: str
    note: str | None
    secret: str | None = field(default=None, metadata=about(sensitive=True))
    tags: list[str] = field(factory=list)


@define
class There:
    title: str
    state: Two
    amount: Decimal
    start: datetime
    note: str | None
    secret: str | None


THERE = {Six.LEAD: Two.OPEN, Six.TALKING: Two.OPEN, Six.WON: Two.DONE}


@mapping
def forward(s: Here) -> There:
    drop(s.tags, why="no home")
    return to(There)(
        title=text(s.name, max=5, over=TRUNCATE, why="the ERP's column"),
        state=code(s.status, THERE, unknown=REJECT),
        amount=decimal(s.total, places=2, rounding=HALF_EVEN),
        start=instant(s.since, zone=REQUIRED),
        note=text(s.note, missing=NULL),
        secret=text(s.secret, missing=NULL, case="upper"),
    )


@define
class Back(Here):
    pass


def backward(table: Any) -> Any:
    from syncsdk.mapping import constant, label

    @mapping
    def m(s: There) -> Here:
        return to(Here)(
            name=text(s.title),
            status=code(s.state, table, unknown=REJECT, never=[Six.TALKING]),
            total=label("{}", s.amount),  # type: ignore[arg-type]
            since=label("{}", s.start),  # type: ignore[arg-type]
            note=text(s.note, missing=NULL),
            secret=text(s.secret, missing=NULL),
            tags=constant([]),
        )

    return m


BACK = {Two.OPEN: Six.LEAD, Two.DONE: Six.WON}


def test_tables_that_do_not_lead_back_are_declared() -> None:
    with pytest.raises(MappingDefinitionError) as caught:
        pair(forward, backward(BACK))

    (problem,) = caught.value.problems
    assert "of the options of status these do not come back as they were: 'talking'" in str(problem)
    pair(forward, backward(BACK), lossy={"status": "two states only"})


def test_a_pair_stands_between_the_same_classes() -> None:
    with pytest.raises(MappingDefinitionError, match="does not lead from There back to Here"):
        pair(forward, forward)
    with pytest.raises(MappingDefinitionError, match="nope is declared lossy"):
        pair(forward, backward(BACK), lossy={"nope": "x", "status": "y"})


def record(**changed: Any) -> dict[str, Any]:
    return {
        "name": "Ada",
        "status": "won",
        "total": "12.50",
        "since": "2026-01-01T00:00:00+02:00",
        "note": None,
        "secret": None,
        "tags": ["x"],
    } | changed


def test_what_comes_back_changed_is_told() -> None:
    both = pair(forward, backward(BACK), lossy={"status": "two states only"})

    told = both.check(
        [
            record(),
            record(status="talking"),
            record(name="Ada Lovelace"),
            record(total="0.005"),
            record(secret="hidden"),
            record(since="2026-01-01"),
            record(note="kept"),
        ]
    )

    assert told.records == 7
    assert told.changed == {"name": 1, "total": 1, "secret": 1}
    assert told.refused == {"start bad_date": 1}
    assert told.samples["name"] == [("Ada Lovelace", "Ada L")]
    assert "hidden" not in repr(told) + str(told) + str(told.samples)
    assert not told.faithful
    assert both.check([record()]).faithful


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (None, UNSET, True),
        (None, "", False),
        ("1.50", Decimal("1.5"), True),
        (1.5, Decimal("1.5"), True),
        ("x", Decimal("1.5"), False),
        ("2026-01-01T00:00:00+02:00", datetime.fromisoformat("2025-12-31T22:00:00+00:00"), True),
        ("x", datetime.fromisoformat("2025-12-31T22:00:00+00:00"), False),
        (1, True, False),
        ("2026-01-01T00:00:00+02:00", "2025-12-31T22:00:00Z", True),
        ("007", "7", False),
        ("12.5", "12.50", False),
        (True, True, True),
        ({"a": 1}, {"a": 1, "b": None}, True),
        ({"a": 1}, {"a": 2}, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
    ],
)
def test_values_are_alike_if_they_mean_the_same(before: Any, after: Any, same: bool) -> None:
    assert alike(before, after) is same
