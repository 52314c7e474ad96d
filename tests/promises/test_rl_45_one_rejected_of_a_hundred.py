"""RL-45: of a hundred records in one write one is rejected, and ninety-nine arrive once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from syncsdk import Changes, RejectedError, Result
from syncsdk.engine import Run
from syncsdk.protocols import Counts
from tests.promises import mutant, used
from tests.promises.test_rl_32_one_bad_record_of_many import synced

pytestmark = pytest.mark.usefixtures("face")


@pytest.mark.parametrize("capabilities", [{"upsert": True}, {"atomic": True}], ids=str)
@pytest.mark.parametrize("poison", range(0, 100, 9))
def test_one_of_a_hundred_becomes_a_dead_letter_and_the_others_arrive_once(
    poison: int, capabilities: dict[str, bool]
) -> None:
    with used(Run, "_send"):
        sink, store, first, second = synced(100, poison, **capabilities)

    (letter,) = store.letters("test")
    assert letter.key == (sink.poison,)
    assert first.counts == Counts(read=100, created=99, dead=1)
    assert (first.result, second.result) == (Result.PARTIAL, Result.SUCCESS)
    assert set(sink.times.values()) == {1}, "each was written once"
    assert len(sink.times) == 100, "and the next run went on"


def test_taken_for_done_it_is_lost() -> None:
    async def trusting(self: Any, changes: Changes, outcomes: Any) -> None:
        with suppress(RejectedError):
            await self.runtime.call("sink.write", self.flow.sink.write, changes)
        outcomes.update({each.change_id: each for each in changes.applied()})

    with mutant(Run, "_send", trusting):
        sink, store, first, _ = synced(100, 50, upsert=True)

    assert first.counts.created == 100
    assert "r000" not in sink.times, "a hundred are said to be created, and none is there"
    assert store.letters("test") == []
