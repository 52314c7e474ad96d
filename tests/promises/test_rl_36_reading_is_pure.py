"""RL-36: an iterator that raised is never touched again; the place is read afresh."""

from typing import Any

from syncsdk import MemoryStore, TransientError
from syncsdk.runtime import _Direct
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant, used


class MovesOn:
    """An iterator that has turned the page before it notices that it failed."""

    def __init__(self, pages: Any, fails: list[int]) -> None:
        self.pages = list(pages)
        self.fails = fails
        self.at = 0
        self.touched_after_error = False
        self.raised = False

    def __iter__(self) -> "MovesOn":
        return self

    def __next__(self) -> Any:
        self.touched_after_error |= self.raised
        if self.at >= len(self.pages):
            raise StopIteration
        self.at += 1
        if self.at in self.fails:
            self.fails.remove(self.at)
            self.raised = True
            raise TransientError("the answer was cut off")
        return self.pages[self.at - 1]


def arrive() -> tuple[set[str], bool]:
    source, sink, store = Table(*(row(f"r{n}", n) for n in range(6))), Upserts(), MemoryStore()
    fails = [2]
    made: list[MovesOn] = []
    read = source.read

    def moving(after: str | None) -> Any:
        made.append(MovesOn(read(after), fails))
        return made[-1]

    source.read = moving  # type: ignore[method-assign]
    flow = pipeline(source, sink)
    flow.run(store)
    flow.run(store)
    return {key[0] for key in sink.rows}, any(each.touched_after_error for each in made)


async def once_more(self: Any, _next: Any = _Direct.next) -> Any:
    """Try the same iterator again."""
    try:
        return await _next(self)
    except TransientError:
        return await _next(self)


def test_a_read_that_failed_starts_again_from_the_checkpoint() -> None:
    with used(_Direct, "next"):
        arrived, touched = arrive()

    assert arrived == {f"r{n}" for n in range(6)}
    assert not touched


def test_an_iterator_that_is_asked_again_loses_a_page() -> None:
    with mutant(_Direct, "next", once_more):
        arrived, _ = arrive()

    assert arrived == {"r0", "r1", "r4", "r5"}


def test_an_abandoned_read_changes_nothing() -> None:
    source, sink, store = Table(*(row(f"r{n}", n) for n in range(6))), Upserts(), MemoryStore()
    flow = pipeline(source, sink)
    flow.plan(store)
    flow.run(store, limit=1)
    flow.plan(store)

    flow.run(store)

    assert {key[0] for key in sink.rows} == {f"r{n}" for n in range(6)}
