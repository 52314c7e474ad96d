"""RL-38: the clock that caps a cursor is the source's; ours may be wrong by minutes."""

from datetime import timedelta
from typing import Any

from syncsdk.engine import Run
from tests.promises import first_violation, holds, mutant, used
from tests.simulation.world import LATENESS


def local(self: Run, reader: Any) -> None:
    """Trust the clock of this machine."""
    self._window_clock = self.runtime.now() + timedelta(seconds=1000)
    self._cap = self._window_clock - LATENESS


def test_worlds_with_clocks_ten_minutes_apart_hold() -> None:
    with used(Run, "_clocked"):
        assert holds("keyset")


def test_a_cursor_capped_by_the_local_clock_passes_late_records() -> None:
    with mutant(Run, "_clocked", local):
        assert first_violation("keyset") == "I1"
