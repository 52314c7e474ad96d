"""RL-35: a source that goes round in circles is an error, neither a loop nor the end."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from syncsdk import Batch, Listing, MemoryStore, Result, SourceCapabilities, Token, Watermark
from syncsdk.engine import Run
from tests.fakes import Pages, Upserts, pipeline
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")

BUDGET = 300


class OverBudget(BaseException):
    """The run made more steps than any honest run would."""


def page(*ids: str, after: str | None = None) -> Batch:
    return Batch.of([{"id": id} for id in ids], key="id", after=after)


def forever(*pages: Batch) -> Any:
    def read(after: str | None) -> Iterator[Batch]:
        for step in count():
            if step > BUDGET:
                raise OverBudget
            yield pages[step % len(pages)]

    return read


CIRCLES = {
    "the same page": (Listing(), [page("a", "b")]),
    "two pages in turn": (Listing(), [page("a", "b"), page("c")]),
    "a cursor that stays": (Token(), [page("a", after="1"), page("b", after="1")]),
    "empty pages that have more": (Token(), [page(after="1")]),
}


def run(name: str) -> Any:
    cursor, pages = CIRCLES[name]
    source = Pages(cursor=cursor)
    source.read = forever(*pages)  # type: ignore[method-assign]
    return pipeline(source, Upserts()).run(MemoryStore())


@pytest.mark.parametrize("name", CIRCLES)
def test_it_is_an_error(name: str) -> None:
    with used(Run, "_watch"):
        report = run(name)

    assert report.result is Result.FAILED
    assert type(report.error).__name__ == "ContractError"


@pytest.mark.parametrize("name", CIRCLES)
def test_unwatched_it_never_ends(name: str) -> None:
    unwatched = mutant(Run, "_watch", lambda self, batch, keys, versions: None)
    with unwatched, pytest.raises(OverBudget):
        run(name)


def test_a_page_without_a_place_does_not_hide_a_cursor_that_stays() -> None:
    source = Pages(page("a", after="1"), page("b"), page("c", after="1"), cursor=Token())

    report = pipeline(source, Upserts()).run(MemoryStore())

    assert "its cursor does not move" in str(report.reason)


def test_so_many_empty_pages_are_believed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncsdk.engine.IDLE_BATCHES", 2)
    few, more = ([page() for _ in range(number)] for number in (2, 3))

    believed = pipeline(Pages(*few, page("a")), Upserts()).run(MemoryStore())
    refused = pipeline(Pages(*more, page("a")), Upserts()).run(MemoryStore())

    assert believed.counts.created == 1
    assert "3 empty batches in a row" in str(refused.reason)


def test_no_page_at_all_is_not_a_page_of_the_window_cap() -> None:
    assert pipeline(Pages(window_cap=1), Upserts()).run(MemoryStore()).result is Result.SUCCESS


def test_a_page_of_the_window_cap_is_not_the_end() -> None:
    source = Pages(page("a", "b"), window_cap=2)

    report = pipeline(source, Upserts()).run(MemoryStore())

    assert report.result is Result.FAILED
    assert "exactly 2 records" in str(report.reason)


def test_a_tie_group_may_span_pages_with_one_cursor() -> None:
    from datetime import timedelta

    stamp = "2026-01-01T00:00:00Z"
    source = Pages(
        page("a", after=stamp),
        page("b", after=stamp),
        cursor=Watermark("t", lateness=timedelta(0)),
    )

    assert pipeline(source, Upserts()).run(MemoryStore()).counts.read == 2
    assert SourceCapabilities
