"""There and back; check 18 of a definition."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

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
    constant,
    decimal,
    drop,
    instant,
    label,
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
class State:
    two: Two


@define
class Word:
    word: Literal["open", "done"]


def backward(table: Any, never: Any = (Six.TALKING,)) -> Any:
    @mapping
    def m(s: There) -> Here:
        return to(Here)(
            name=text(s.title),
            status=code(s.state, table, unknown=REJECT, never=never),
            total=label("{}", s.amount),  # type: ignore[arg-type]
            since=label("{}", s.start),  # type: ignore[arg-type]
            note=text(s.note, missing=NULL),
            secret=text(s.secret, missing=NULL),
            tags=constant([]),
        )

    return m


BACK = {Two.OPEN: Six.LEAD, Two.DONE: Six.WON}


def told(*arguments: Any, **named: Any) -> list[str]:
    """Return what a user reads of each problem, but for its place."""
    with pytest.raises(MappingDefinitionError) as caught:
        pair(*arguments, **named)
    assert [problem.where.file for problem in caught.value.problems] == [__file__]
    return [f"{problem.message}. {problem.remedy}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("table", "never", "lost"),
    [
        (BACK, [Six.TALKING], "'talking'"),
        ({Two.OPEN: Six.TALKING, Two.DONE: Six.WON}, [Six.LEAD], "'lead'"),
        ({Two.OPEN: Six.WON, Two.DONE: Six.LEAD}, [Six.TALKING], "'lead', 'talking', 'won'"),
    ],
)
def test_18_paired_tables_invert_each_other_or_are_listed(
    table: Any, never: Any, lost: str
) -> None:
    back = backward(table, never)

    for lossy in {}, {"name": "cut"}:
        assert told(forward, back, lossy=lossy) == [
            f"of the options of status these do not come back as they were: {lost}. Mend the table "
            "of m, or declare lossy={'status': ...}"
        ]
    pair(forward, back, lossy={"status": "two states only"})


def test_18_tables_that_invert_each_other_need_no_listing() -> None:
    @mapping
    def there(s: State) -> Word:
        return to(Word)(word=code(s.two, {Two.OPEN: "open", Two.DONE: "done"}, unknown=REJECT))

    @mapping
    def back(s: Word) -> State:
        return to(State)(two=code(s.word, {"done": Two.DONE, "open": Two.OPEN}, unknown=REJECT))

    assert pair(there, back).check([{"two": "O"}, {"two": "D"}]).faithful


def test_18_a_table_without_a_way_back_is_told_with_its_line() -> None:
    @mapping
    def back(s: There) -> Here:
        drop(s.state, why="it is not told")
        return to(Here)(
            name=text(s.title),
            status=constant(Six.LEAD),
            total=label("{}", s.amount),  # type: ignore[arg-type]
            since=label("{}", s.start),  # type: ignore[arg-type]
            note=text(s.note, missing=NULL),
            secret=text(s.secret, missing=NULL),
            tags=constant([]),
        )

    with pytest.raises(MappingDefinitionError) as caught:
        pair(forward, back)

    lines = Path(__file__).read_text("utf-8").splitlines()
    line = 1 + next(at for at, line in enumerate(lines) if "state=code(" in line)
    assert str(caught.value).splitlines()[:2] == [
        "the mapping forward and back has 1 problem:",
        f"  {__file__}:{line}: of the options of status these do not come back as they were: "
        "'lead', 'talking', 'won'. Mend the table of back, or declare lossy={'status': ...}",
    ]


def test_18_a_pair_stands_between_the_same_classes() -> None:
    assert told(forward, forward) == [
        "forward does not lead from There back to Here. Pair mappings between the same two classes"
    ]
    assert told(forward, backward(BACK), lossy={"nope": "x", "status": "y"}) == [
        "nope is declared lossy, and Here has no such field. It has name, status, total, since, "
        "note, secret, tags"
    ]


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


def test_18_the_way_back_is_looked_at_as_well() -> None:
    @define
    class Three:
        word: Literal["open", "done", "old"]

    globals().update(Three=Three)

    @mapping
    def there(s: State) -> Three:
        table = {Two.OPEN: "open", Two.DONE: "done"}
        return to(Three)(word=code(s.two, table, unknown=REJECT, never=["old"]))  # type: ignore[arg-type]

    @mapping
    def back(s: Three) -> State:
        table = {"open": Two.OPEN, "done": Two.DONE, "old": Two.DONE}
        return to(State)(two=code(s.word, table, unknown=REJECT))

    assert told(there, back) == [
        "of the options of word these do not come back as they were: 'old'. Mend the table of "
        "there, or declare lossy={'two': ...}"
    ]
    pair(there, back, lossy={"two": "old is done"})


def test_18_tables_of_nested_records_are_looked_at() -> None:
    @define
    class Here2:
        it: State

    @define
    class There2:
        it: Word

    globals().update(Here2=Here2, There2=There2)

    @mapping
    def word(s: State) -> Word:
        return to(Word)(word=code(s.two, {Two.OPEN: "open", Two.DONE: "done"}, unknown=REJECT))

    @mapping
    def state(s: Word) -> State:
        return to(State)(two=code(s.word, {"open": Two.DONE, "done": Two.OPEN}, unknown=REJECT))

    @mapping
    def there(s: Here2) -> There2:
        return to(There2)(it=word(s.it))  # type: ignore[arg-type]

    @mapping
    def back(s: There2) -> Here2:
        return to(Here2)(it=state(s.it))  # type: ignore[arg-type]

    assert told(there, back) == [
        "of the options of it.two these do not come back as they were: 'O', 'D'. Mend the table of "
        "back, or declare lossy={'it': ...}"
    ]


def test_18_what_is_lossy_has_a_reason() -> None:
    back = backward(BACK, [Six.TALKING])

    assert told(forward, back, lossy={"status": " "}) == [
        "status is declared lossy, and no reason is given. Say why: lossy={'status': \"...\"}"
    ]
