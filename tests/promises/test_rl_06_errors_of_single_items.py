"""RL-06: an item that a bulk answer does not confirm is not taken for written."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from syncsdk import Applied, MemoryStore, Rejected, Result, Unknown, engine
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import first_violation, holds, mutant, used

pytestmark = pytest.mark.usefixtures("face")


class Forgetful(Upserts):
    """Writes all but one row, and answers as it is told."""

    def __init__(self, lost: int, answer: Callable[[list[Any]], Iterable[Any]]) -> None:
        super().__init__()
        self.lost = lost
        self.answer = answer

    def write(self, changes: Any) -> Any:
        done = list(super().write(changes))
        if len(self.writes) == 1:
            del self.rows[changes[self.lost].key]
            del done[self.lost]
            return self.answer(done)
        return done


ANSWERS: dict[str, Callable[[list[Any]], Iterable[Any]]] = {
    "one missing": lambda done: done,
    "reordered": lambda done: reversed(done),
    "one doubled": lambda done: [*done, done[0]],
    "a foreign one": lambda done: [*done, Applied(99)],
    "nothing": lambda done: [],
    "not outcomes": lambda done: [*done, None, "ok", 200],
}


def believe(changes: Any, outcomes: Iterable[Any]) -> dict[int, Any]:
    """200 OK: all of it is written but what is said to be rejected."""
    said = {each.change_id: each for each in outcomes if isinstance(each, Rejected | Unknown)}
    return {at: said.get(at) or Applied(at) for at in changes.ids}


def arrive(lost: int, answer: str) -> tuple[set[str], Result]:
    source = Table(*(row(f"r{n}", n) for n in range(4)), page=4)
    sink = Forgetful(lost, ANSWERS[answer])
    flow, store = pipeline(source, sink), MemoryStore()
    first = flow.run(store)
    flow.run(store)
    return {key[0] for key in sink.rows}, first.result


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("lost", range(4))
def test_an_item_without_an_outcome_is_sent_again(lost: int, answer: str) -> None:
    with used(engine, "match"):
        arrived, result = arrive(lost, answer)

    assert result is Result.FAILED
    assert arrived == {"r0", "r1", "r2", "r3"}


@pytest.mark.parametrize("lost", range(4))
def test_an_answer_that_is_believed_loses_the_item(lost: int) -> None:
    with mutant(engine, "match", believe):
        arrived, _ = arrive(lost, "one missing")

    assert arrived == {"r0", "r1", "r2", "r3"} - {f"r{lost}"}


def test_worlds_with_short_long_and_foreign_answers_hold() -> None:
    with used(engine, "match"):
        assert holds(sink="upsert")


def test_an_answer_that_is_believed_loses_a_record_of_a_world() -> None:
    def believe_unknown(changes: Any, outcomes: Iterable[Any]) -> dict[int, Any]:
        said = {x.change_id: x for x in outcomes if isinstance(x, Rejected)}
        return {at: said.get(at) or Applied(at) for at in changes.ids[:-1]}

    with mutant(engine, "match", believe_unknown):
        # What is left out of the outcomes was "never sent", so the sink's work is unsettled for
        # good: the world does not converge, or is written twice.
        assert first_violation(sink="look-up") in {"I1", "I4", "converged"}
