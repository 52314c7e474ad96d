"""RL-30: a key that comes twice in a batch is written once, in its newest version."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsdk import INTEGER, Batch, Changes, MemoryStore, Outcome, Result, planning
from syncsdk.errors import ContractError
from tests.fakes import Pages, Upserts, pipeline
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")


class Strict(Upserts):
    """A destination whose bulk statement may not touch a row twice, as PostgreSQL's."""

    def write(self, changes: Changes) -> Sequence[Outcome]:
        if len(set(changes.keys)) < len(changes):
            raise ContractError(
                "ON CONFLICT DO UPDATE command cannot affect row a second time", remedy="-"
            )
        return super().write(changes)


def arrive(versions: list[tuple[str, int]], sink: Upserts) -> Any:
    records = [{"id": id, "v": v, "x": v} for id, v in versions]
    source = Pages(Batch.of(records, key="id", version="v"), version=INTEGER)
    return pipeline(source, sink, lambda record: {"x": record["x"]}).run(MemoryStore())


def every_one(keys: Any, order: Any, places: Sequence[int]) -> list[int]:
    return list(places)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=12))
def test_the_newest_of_each_key_is_written_and_the_rest_is_counted(
    versions: list[tuple[str, int]],
) -> None:
    sink = Strict()

    report = arrive(versions, sink)

    newest = {id: max(v for other, v in versions if other == id) for id, _ in versions}
    assert {key[0]: row["x"] for key, row in sink.rows.items()} == newest
    assert report.counts.superseded == len(versions) - len(newest)
    assert report.counts.read == len(versions)


def test_of_equal_versions_the_later_is_newer() -> None:
    sink = Strict()

    with used(planning, "compact"):
        records = [{"id": "a", "v": 1, "x": n} for n in (1, 2)]
        source = Pages(Batch.of(records, key="id", version="v"), version=INTEGER)
        pipeline(source, sink, lambda record: {"x": record["x"]}).run(MemoryStore())

    assert sink.rows[("a",)] == {"x": 2}


def test_without_compaction_the_destination_refuses_or_keeps_the_older() -> None:
    with mutant(planning, "compact", every_one):
        refused = arrive([("a", 2), ("a", 1)], Strict())
        kept = Upserts()
        arrive([("a", 2), ("a", 1)], kept)

    assert refused.result is Result.FAILED
    assert kept.rows[("a",)] == {"x": 1}
