"""RL-23: a run that failed has no side door through which its cursor is saved."""

from attrs import evolve

from syncsdk.engine import Run
from syncsdk.protocols import Commit, Result
from tests.promises import first_violation, holds, mutant, used

release = Run._release


async def finalise(self: Run) -> None:
    """Save how far the source was read, whatever became of it."""
    reached = self._last_after
    if self.report.result is Result.FAILED and self.preview is None and reached is not None:
        self.ahead = evolve(self.checkpoint, cursor=reached)
        await self._write_commit(Commit(self.flow.name, self.ahead))
    await release(self)


def test_worlds_in_which_runs_fail_hold() -> None:
    with used(Run, "_release"):
        assert holds()


def test_a_cursor_saved_at_the_end_of_a_failed_run_passes_records() -> None:
    with mutant(Run, "_release", finalise):
        assert first_violation() == "I1"
