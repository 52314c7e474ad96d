"""RL-28: the cursor never passes a refused record whose dead letter is not durable."""

from typing import Any

import pytest

from syncsdk import MemoryStore, planning
from syncsdk.protocols import Letter
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import first_violation, holds, mutant, used

pytestmark = pytest.mark.usefixtures("face")

file_letter = planning.file_letter


def later(into: Any, letter: Letter, *rest: Any) -> None:
    """Count the letter, and keep it in memory for the end of the run."""
    file_letter(into, letter, *rest)
    into.letters.clear()


def test_worlds_with_refused_records_hold() -> None:
    with used(planning, "file_letter"):
        assert holds()


def test_a_letter_that_is_not_in_the_commit_loses_the_record() -> None:
    with mutant(planning, "file_letter", later):
        assert first_violation() == "I1"


def test_every_record_is_in_the_destination_or_in_a_letter() -> None:
    source, sink, store = Table(*(row(f"r{n}", n) for n in range(7))), Upserts(), MemoryStore()
    sink.refuses = lambda change: change.key == ("r3",)

    pipeline(source, sink).run(store)

    letters = {letter.key for letter in store.letters("test")}
    assert letters | set(sink.rows) == {(f"r{n}",) for n in range(7)}
    assert letters == {("r3",)}
