"""RL-03: the checkpoint never comes before the write that it stands for."""

from typing import Any

from attrs import evolve

from syncsdk.engine import Run
from syncsdk.protocols import Commit
from tests.promises import first_violation, holds, mutant, used

part = Run._part


async def cursor_first(self: Run, batch: Any, rows: Any) -> None:
    """Save the place after the batch, and then write it."""
    if self.preview is None and self.options.mode != "replay" and batch.after is not None:
        self._advance(batch)
        await self._write_commit(Commit(self.flow.name, self.ahead))
        batch = evolve(batch, after=None)
    await part(self, batch, rows)


def test_worlds_that_crash_at_every_effect_hold() -> None:
    with used(Run, "_part"):
        assert holds()


def test_with_the_cursor_first_a_crash_loses_the_batch() -> None:
    with mutant(Run, "_part", cursor_first):
        assert first_violation() == "I1"
