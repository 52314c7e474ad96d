"""RL-14: what is not set is left alone, and what is null clears."""

from typing import Any

import pytest

from syncsdk import UNSET, Change, MemoryStore
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")

VALUES = [UNSET, None, "", 0, "x"]
LEFT_OUT = object()


class Patches(Upserts):
    """A destination whose PATCH writes the fields that it is sent."""


def mapping(record: dict[str, Any]) -> dict[str, Any]:
    return {"name": "n", "phone": record["phone"]}


def phone_after(first: Any, second: Any) -> Any:
    source, sink, store = Table(row("a", 1, phone=first)), Patches(), MemoryStore()
    flow = pipeline(source, sink, mapping)
    flow.run(store)
    source.put(**row("a", 2, v=2, phone=second))
    flow.run(store)
    return sink.rows[("a",)].get("phone", LEFT_OUT)


def null_for_unset(self: Change) -> dict[str, Any]:
    """A PATCH that behaves as a PUT."""
    return {n: None if v is UNSET else v for n, v in zip(self.fields, self.row, strict=True)}


@pytest.mark.parametrize("second", VALUES, ids=repr)
@pytest.mark.parametrize("first", VALUES, ids=repr)
def test_every_pair_ends_as_it_was_set(first: Any, second: Any) -> None:
    after = phone_after(first, second)

    expected = first if second is UNSET else second
    assert after is LEFT_OUT if expected is UNSET else after == expected
    assert type(after) is type(expected) or expected is UNSET


def test_an_unset_field_sent_as_null_clears_the_destination() -> None:
    with mutant(Change, "record", property(null_for_unset)):  # type: ignore[arg-type]
        assert phone_after("x", UNSET) is None


def test_the_check_runs_through_the_record_of_a_change() -> None:
    calls = []
    getter = Change.record.fget  # type: ignore[attr-defined]

    def counted(self: Change) -> Any:
        calls.append(self)
        return getter(self)

    with mutant(Change, "record", property(counted)):  # type: ignore[arg-type]
        assert phone_after("x", UNSET) == "x"
    assert calls
    assert used
