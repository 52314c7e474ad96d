"""Some seeded worlds in every run of the suite; ``python -m tests.simulation`` runs 20,000."""

from __future__ import annotations

import pytest

from tests.simulation.runner import run, run_all
from tests.simulation.world import SINKS, SOURCES, World


def test_worlds_hold() -> None:
    tally = run(range(1_000_000, 1_000_600))

    assert tally.failed == {}, tally.table()
    assert tally.worlds == 600


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_source_and_sink_holds(source: str, sink: str) -> None:
    for seed in range(2_000_000, 2_000_020):
        World(seed, source, sink).live()


def test_the_same_seed_gives_the_same_history() -> None:
    def history(seed: int) -> tuple[object, ...]:
        world = World(seed)
        world.live()
        return (
            world.hits,
            world.effects,
            world.runtime.elapsed,
            world.held,
            world.store.runs("world"),
        )

    assert history(4711) == history(4711)
    assert history(4711) != history(4712)


def test_each_world_has_batches_a_crash_and_a_change() -> None:
    for seed in range(3_000_000, 3_000_050):
        world = World(seed)
        world.live()
        assert world.batches >= 3
        assert world.crashes >= 1
        assert world.edits >= 1


def test_worlds_may_be_spread_over_processes() -> None:
    assert run_all(0, 300, jobs=2).worlds == 300
