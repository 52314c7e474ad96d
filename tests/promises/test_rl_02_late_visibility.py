"""RL-02: a record stamped before, but visible after the cursor passed, is not missed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from syncsdk import Keyset, engine
from tests.promises import first_violation, holds, mutant, used
from tests.simulation.world import LATENESS


def no_overlap(cursor: Any, after: str | None, *, old: str | None, **_: Any) -> str | None:
    """The place that was reached, whatever may still appear before it."""
    return old if after is None else after


def from_the_maximum_seen(
    cursor: Any, after: str | None, *, old: str | None, **_: Any
) -> str | None:
    """Look back from the last record seen, not from the clock at the start of the run."""
    if after is None:
        return old
    value = cursor.split(after)[0] if isinstance(cursor, Keyset) else after
    return cursor.floor(after, datetime.fromisoformat(value).astimezone(UTC) - LATENESS)


@pytest.mark.parametrize("source", ["keyset", "watermark", "unordered"])
def test_worlds_with_late_commits_hold(source: str) -> None:
    with used(engine, "durable"):
        assert holds(source)


@pytest.mark.parametrize("source", ["keyset", "watermark"])
def test_without_an_overlap_a_late_record_is_lost(source: str) -> None:
    with mutant(engine, "durable", no_overlap):
        assert first_violation(source) == "I1"


def test_an_overlap_from_the_maximum_seen_is_caught_within_10_000_worlds() -> None:
    with mutant(engine, "durable", from_the_maximum_seen):
        assert first_violation("keyset", seeds=10_000) == "I1"
