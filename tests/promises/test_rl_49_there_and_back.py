"""RL-49: a record that goes from A to B and back to A is not left at B.

The answer to writing B was lost, so A is what is known of the destination; when the source
shows A again, it must not be taken for unchanged.
"""

from collections.abc import Sequence

import pytest

from syncsdk import Changes, MemoryStore, Outcome, engine, errors
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")


class Mute(Upserts):
    """Writes, and on its second call does not answer."""

    def write(self, changes: Changes) -> Sequence[Outcome]:
        done = super().write(changes)
        if len(self.writes) == 2:
            raise errors.TimedOutError("no answer")
        return done


def colour_after(*colours: str) -> str:
    source, sink, store = Table(), Mute(), MemoryStore()
    for version, colour in enumerate(colours):
        source.put(**row("a", version, v=version, colour=colour, gone=colour == "gone"))
        pipeline(source, sink).run(store)
    return str(sink.rows.get(("a",), {}).get("colour", "gone"))


@pytest.mark.parametrize("between", ["blue", "gone"])
def test_it_ends_as_the_source_shows_it(between: str) -> None:
    with used(engine, "leaves_doubt"):
        assert colour_after("red", between, "red") == "red"


def test_what_comes_back_after_a_deletion_can_be_deleted_again() -> None:
    assert colour_after("red", "gone", "gone") == "gone"


@pytest.mark.parametrize("between", ["blue", "gone"])
def test_without_doubt_it_stays_where_it_was_in_between(between: str) -> None:
    with mutant(engine, "leaves_doubt", lambda before: False):
        assert colour_after("red", between, "red") == between
