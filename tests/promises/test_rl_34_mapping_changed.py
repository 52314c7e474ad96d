"""RL-34: after a change of the mapping a backfill maps every record again."""

from typing import Any

import pytest

from syncsdk import Batch, MemoryStore, SourceCapabilities, Token, TransientError, planning
from tests.fakes import Table, Upserts, pipeline, row
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")


class Lines:
    """A source with raw bytes: what did not change is not even decoded."""

    capabilities = SourceCapabilities(Token())

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def read(self, after: str | None) -> Any:
        if after is None:
            raws = [line.encode() for line in self.lines]
            keys = [line[0] for line in self.lines]
            yield Batch(keys, raws=raws, decode=self.decode, after="1")

    def decode(self, raws: Any) -> Any:
        return [raw.decode() for raw in raws]


def upper(line: str) -> dict[str, str]:
    return {"text": line[1:].upper()}


def shout(line: str) -> dict[str, str]:
    return {"text": line[1:].upper().replace("HI", "HI!")}


def after_the_change() -> tuple[dict[str, str], Any, Any]:
    sink, store = Upserts(), MemoryStore()
    source = Lines("ahi", "bho", "chi")
    pipeline(source, sink, upper).run(store)
    due = pipeline(source, sink, shout, mapping_version="2").run(store)
    sink.writes.clear()
    report = pipeline(source, sink, shout, mapping_version="2").run(store, backfill=True)
    return {key[0]: each["text"] for key, each in sink.rows.items()}, due, report


def test_every_record_is_mapped_again_and_only_what_differs_is_written() -> None:
    with used(planning, "raw_salt"):
        rows, due, report = after_the_change()

    assert rows == {"a": "HI!", "b": "HO", "c": "HI!"}
    assert "backfill due" in due.warnings[0]
    assert report.warnings == []


def test_raw_digests_that_do_not_carry_the_mapping_keep_the_old_rows() -> None:
    with mutant(planning, "raw_salt", lambda mapper: b"sixteen bytes..."):
        rows, _, _ = after_the_change()

    assert rows == {"a": "HI", "b": "HO", "c": "HI"}


def test_a_backfill_is_due_until_it_is_done() -> None:
    source, sink, store = Lines("ahi"), Upserts(), MemoryStore()
    pipeline(source, sink, upper).run(store)
    changed = pipeline(source, sink, shout, mapping_version="2")

    runs = [changed.run(store), changed.run(store), changed.run(store, backfill=True)]

    assert [len(report.warnings) for report in [*runs, changed.run(store)]] == [1, 1, 0, 0]


def test_the_cursor_of_a_backfill_moves_at_the_end_only() -> None:
    source, sink, store = Table(*(row(f"r{n}", n) for n in range(6))), Upserts(), MemoryStore()
    flow = pipeline(source, sink, lambda r: {"id": r["id"]})
    flow.run(store, limit=2)
    before = store.load("test")
    seen: list[str | None] = []
    changed = pipeline(source, sink, lambda r: {"id": r["id"] + "!"}, mapping_version="2")

    changed.run(store, backfill=True, progress=lambda _: seen.append(store.load("test").cursor))

    assert seen[:-1] == [before.cursor] * (len(seen) - 1)
    assert seen[-1] != before.cursor
    assert store.load("test").mapping == "callable:2"
    assert {each["id"] for each in sink.rows.values()} == {f"r{n}!" for n in range(6)}


def test_a_backfill_that_breaks_off_stays_due() -> None:
    source, sink, store = Table(*(row(f"r{n}", n) for n in range(6))), Upserts(), MemoryStore()
    pipeline(source, sink).run(store)
    changed = pipeline(source, sink, mapping_version="2")
    cursor = store.load("test").cursor
    read, batches = source.read, []

    def breaking(after: str | None) -> Any:
        for batch in read(after):
            batches.append(batch)
            if len(batches) == 3:
                raise TransientError("down")
            yield batch

    source.read = breaking  # type: ignore[method-assign]
    changed.run(store, backfill=True)
    source.read = read  # type: ignore[method-assign]

    assert store.load("test").cursor == cursor
    assert "backfill due" in changed.run(store).warnings[0]
