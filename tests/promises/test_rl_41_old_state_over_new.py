"""RL-41: old or empty state never replaces newer state."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncsdk import MemoryStore, SQLiteStore, stores
from syncsdk.errors import CheckpointError
from syncsdk.protocols import Checkpoint, Commit
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Any:
    made: Any = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "s.db")
    yield made
    made.close()


def overwrite(store: Any, seq: int) -> Checkpoint:
    """Write an empty checkpoint, as a writer would that missed the last commits."""
    pipeline(Table(*(row(f"r{n}", n) for n in range(6))), Upserts()).run(store)
    lease = store.acquire("test", "late", timedelta(seconds=60))
    try:
        stale = Checkpoint(seq=seq, run_id="late", token=lease.token)
        store.commit(lease, Commit("test", stale))
    finally:
        store.release(lease, "{}")
    return store.load("test")


@pytest.mark.parametrize("seq", [0, 1, 2, 3, 9])
def test_a_stale_writer_is_refused_and_changes_nothing(store: Any, seq: int) -> None:
    with used(stores, "_check_seq"), pytest.raises(CheckpointError):
        overwrite(store, seq)

    assert store.load("test").seq == 3
    assert store.load("test").cursor is not None


@pytest.mark.parametrize("seq", [1, 9])
def test_without_the_comparison_the_cursor_is_gone(store: Any, seq: int) -> None:
    with mutant(stores, "_check_seq", lambda stored, commit: None):
        assert overwrite(store, seq).cursor is None
