"""RL-08: a source that is not in its declared order loses nothing in a crash."""

from collections.abc import Iterator
from typing import Any

import pytest

from syncsdk import MemoryStore, TransientError, engine
from tests.fakes import Table, Upserts, at, pipeline, row
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")


class Shuffled(Table):
    """Promises an order, and yields pages in another; breaks after the second one."""

    def __init__(self) -> None:
        super().__init__(*(row(f"r{n}", n) for n in range(6)))
        self.broken = True

    def read(self, after: str | None) -> Iterator[Any]:
        since = -1 if after is None else next(n for n in range(6) if at(n) in after)
        rows = [self.rows[f"r{n}"] for n in (4, 2, 5, 0, 1, 3) if n > since]
        furthest = ""
        for start in range(0, len(rows), 2):
            if start == 4 and self.broken:
                self.broken = False
                raise TransientError("the connection broke")
            page = rows[start : start + 2]
            furthest = max(furthest, *(self.keyset.cursor(at(x["ts"]), x["id"]) for x in page))
            batch = self.batch(page, furthest)
            batch.positions = [at(x["ts"]) for x in page]
            yield batch


def arrive() -> tuple[set[str], list[str]]:
    source, sink, store = Shuffled(), Upserts(), MemoryStore()
    flow = pipeline(source, sink)
    first = flow.run(store)
    flow.run(store)
    return {key[0] for key in sink.rows}, first.warnings


def test_the_cursor_waits_for_the_end_once_the_order_is_broken() -> None:
    with used(engine, "disorder"):
        arrived, warnings = arrive()

    assert arrived == {f"r{n}" for n in range(6)}
    assert "declared order" in warnings[0]


def test_an_order_that_is_not_checked_loses_what_it_passed_over() -> None:
    with mutant(engine, "disorder", lambda cursor, positions, highest: (False, highest)):
        arrived, _ = arrive()

    assert arrived == {"r4", "r2", "r5", "r0"}


def test_a_violation_in_a_later_page_takes_the_cursor_back() -> None:
    source, sink, store = Table(*(row(f"r{n}", n) for n in range(4))), Upserts(), MemoryStore()
    pages = [[2, 3], [0, 1]]
    broken = [True]

    def read(after: str | None) -> Iterator[Any]:
        for page in pages if after is None else []:
            batch = source.batch(
                [source.rows[f"r{n}"] for n in page], source.keyset.cursor(at(page[-1]), "x")
            )
            yield batch
            if page == pages[1] and broken.pop():
                raise TransientError("the connection broke")

    source.read = read  # type: ignore[method-assign]
    flow = pipeline(source, sink)

    first = flow.run(store)

    assert store.load("test").cursor is None
    assert store.load("test").disordered
    assert first.result == "failed"
