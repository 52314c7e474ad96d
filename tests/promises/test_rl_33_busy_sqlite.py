"""RL-33: several writers on one SQLite file wait for each other instead of failing."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from syncsdk import SQLiteStore, stores
from syncsdk.protocols import Checkpoint, Commit
from tests.promises import mutant, used


def count(path: Path, writers: int = 4, rounds: int = 40) -> tuple[int, list[Exception]]:
    """Let several pipelines commit to one file; return their commits and what they raised."""
    raised: list[Exception] = []
    begun = threading.Barrier(writers)

    def work(name: str) -> None:
        store = SQLiteStore(path)
        begun.wait()
        try:
            lease = store.acquire(name, name, timedelta(seconds=60))
            assert lease is not None
            for seq in range(1, rounds + 1):
                at = Checkpoint(seq=seq, run_id=name, token=lease.token)
                store.commit(lease, Commit(name, at))
        except Exception as error:
            raised.append(error)
        finally:
            store.close()

    SQLiteStore(path).close()
    names = [f"p{number}" for number in range(writers)]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = SQLiteStore(path)
    committed = sum(store.load(name).seq for name in names)
    store.close()
    return committed, raised


def deferred(connection: Any) -> None:
    """Start as a reader, and become a writer later: too late, if another one was faster."""
    connection.execute("BEGIN")


def test_no_writer_is_told_that_the_file_is_busy(tmp_path: Path) -> None:
    with used(stores, "begin"):
        counted, raised = count(tmp_path / "state.db")

    assert (counted, raised) == (160, [])


def test_a_transaction_that_begins_as_a_reader_fails(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "state.db").close()
    with mutant(stores, "begin", deferred):
        counted, raised = count(tmp_path / "state.db")

    assert raised
    assert counted < 160
