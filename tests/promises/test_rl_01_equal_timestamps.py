"""RL-01: records of one timestamp are not skipped at the border of a page or a run."""

import json

import pytest

from syncsdk import Keyset, MemoryStore
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import first_violation, holds, mutant, used


def ignore_the_id(self: Keyset, after: str) -> tuple[str, str | None]:
    """``field > value``: the id that breaks ties is forgotten."""
    value, id = json.loads(after)
    return value, None if id is None else "\U0010ffff"


def arrive(page: int) -> set[str]:
    source = Table(*(row(f"r{n}", 7) for n in range(9)), page=page)
    sink = Upserts()
    flow = pipeline(source, sink)
    store = MemoryStore()
    flow.run(store, limit=page)
    flow.run(store)
    flow.run(store)
    return {key[0] for key in sink.rows}


@pytest.mark.parametrize("page", range(1, 8))
def test_a_tie_longer_than_a_page_arrives_whole(page: int) -> None:
    with used(Keyset, "split"):
        arrived = arrive(page)

    assert arrived == {f"r{n}" for n in range(9)}


@pytest.mark.parametrize("page", range(1, 8))
def test_without_the_id_a_tie_is_cut(page: int) -> None:
    with mutant(Keyset, "split", ignore_the_id):
        arrived = arrive(page)

    assert len(arrived) < 9


def test_worlds_full_of_ties_hold() -> None:
    with used(Keyset, "split"):
        assert holds("keyset")


def test_without_the_id_a_world_loses_a_record() -> None:
    with mutant(Keyset, "split", ignore_the_id):
        assert first_violation("keyset") == "I1"
