"""RL-32: one bad record of a bulk write is found by halves, and blocks no other."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk import Changes, MemoryStore, RejectedError, Result, SinkCapabilities
from syncsdk.engine import Run
from syncsdk.protocols import Counts
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant

pytestmark = pytest.mark.usefixtures("face")


class Bulk(Upserts):
    """A bulk interface that says no more than that a write failed, and then did nothing."""

    def __init__(self, poison: str, **capabilities: Any) -> None:
        super().__init__()
        self.capabilities = SinkCapabilities(deletes=True, **capabilities)
        self.poison, self.requests, self.times = poison, 0, dict[str, int]()

    def write(self, changes: Changes) -> Any:
        self.requests += 1
        keys = [change.key[0] for change in changes]
        if self.poison in keys:
            raise RejectedError("the import failed", code="400")
        for key in keys:
            self.times[key] = self.times.get(key, 0) + 1
        return super().write(changes)


def synced(size: int, poison: int, *, bulk: int | None = None, **capabilities: Any) -> Any:
    """Write ``size`` records of which one is bad; return sink, store, both reports."""
    source = Table(*(row(f"r{n:03}", n) for n in range(size)), page=size)
    sink = Bulk(f"r{poison:03}", bulk=bulk, **capabilities)
    store = MemoryStore()
    flow = pipeline(source, sink)
    first = flow.run(store)
    source.put(**row(f"r{size:03}", size))
    return sink, store, first, flow.run(store)


def test_the_search_is_by_halves() -> None:
    sink, _, first, _ = synced(500, 250, upsert=True)

    assert first.counts == Counts(read=500, created=499, dead=1)
    assert sink.requests <= 19 + 1  # and one of the second run


@pytest.mark.parametrize("poison", [0, 50, 99])
def test_without_the_search_it_blocks_all_others(poison: int) -> None:
    original = Run._send

    async def whole(self: Any, changes: Changes, outcomes: Any) -> None:
        if any(change.key[0] == self.flow.sink.poison for change in changes):
            raise RejectedError("the import failed", code="400")
        await original(self, changes, outcomes)

    with mutant(Run, "_send", whole):
        sink, _, first, second = synced(100, poison, upsert=True)

    assert (first.result, second.result) == (Result.FAILED, Result.FAILED)
    assert sink.times == {}, "ninety-nine good ones are held back, run after run"
