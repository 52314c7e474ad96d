"""RL-25: a fingerprint is known only once the destination has confirmed the write."""

from typing import Any

from syncsdk import Applied, engine
from tests.promises import first_violation, holds, mutant, used

settle = engine.settle


def trusting(sends: Any, outcomes: Any, *rest: Any, **more: Any) -> Any:
    """Take what was sent for written."""
    return settle(sends, {at: Applied(at) for at in range(len(sends.keys))}, *rest, **more)


def test_worlds_with_lost_writes_hold() -> None:
    with used(engine, "settle"):
        assert holds()


def test_a_fingerprint_of_what_was_only_sent_loses_the_record() -> None:
    with mutant(engine, "settle", trusting):
        assert first_violation(sink="upsert") == "I1"
