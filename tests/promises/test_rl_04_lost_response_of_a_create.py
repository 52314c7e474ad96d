"""RL-04: a create whose response was lost does not make a second record."""

from typing import Any

import pytest

from syncsdk import engine
from tests.promises import first_violation, holds, mutant, used


def never(op: Any, sink: Any) -> bool:
    """Write without a durable note."""
    return False


@pytest.mark.parametrize("sink", ["idempotent", "look-up", "blind"])
def test_worlds_with_lost_responses_hold(sink: str) -> None:
    with used(engine, "needs_intent"):
        assert holds(sink=sink)


@pytest.mark.parametrize("sink", ["look-up", "blind"])
def test_without_intents_a_record_is_created_twice(sink: str) -> None:
    with mutant(engine, "needs_intent", never):
        assert first_violation(sink=sink) == "I4"
