"""RL-40: a commit whose answer was lost is looked up, not guessed."""

from pathlib import Path
from typing import Any

import pytest

from syncsdk import MemoryStore, Result, SQLiteStore, engine
from syncsdk.errors import CheckpointError
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")


def failing(store: Any, *faults: str) -> Any:
    """Make the commits of a store fail as told: before or after they took effect."""
    commit, left = store.commit, list(faults)

    def fail(lease: Any, wanted: Any) -> None:
        fault = left.pop(0) if left else ""
        if fault == "before":
            raise CheckpointError("the disk is full", remedy="Make room")
        commit(lease, wanted)
        if fault == "after":
            raise CheckpointError("the connection broke", remedy="Look again")

    store.commit = fail
    return store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Any:
    made: Any = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "s.db")
    yield made
    made.close()


def run(store: Any) -> tuple[Any, Upserts]:
    sink = Upserts()
    return pipeline(Table(*(row(f"r{n}", n) for n in range(6))), sink).run(store), sink


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("at", range(3))
def test_a_commit_in_doubt_ends_in_success(store: Any, fault: str, at: int) -> None:
    faults = [""] * at + [fault]

    with used(engine, "committed"):
        report, sink = run(failing(store, *faults))

    assert report.result is Result.SUCCESS
    assert report.counts.created == 6
    assert store.load("test").live == 6
    assert len(sink.writes) == 3


def test_a_store_that_stays_full_fails_the_run_and_loses_nothing(store: Any) -> None:
    report, _ = run(failing(store, "", "before", "before"))

    assert report.result is Result.FAILED
    assert "disk is full" in str(report.reason)
    report, _ = run(store)
    assert report.counts.created == 4


def test_a_commit_that_is_taken_for_failed_surfaces_an_error(store: Any) -> None:
    with mutant(engine, "committed", lambda stored, wanted: False):
        report, _ = run(failing(store, "after"))

    assert report.result is Result.FAILED
