"""RL-24: big integers and decimals arrive digit by digit."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncsdk import Batch, MappingError, MemoryStore, values
from syncsdk.connectors import files
from syncsdk.connectors.files import JsonLines
from tests.fakes import Pages, Upserts, pipeline
from tests.promises import mutant, used

pytestmark = pytest.mark.usefixtures("face")

IDS = [2**53 - 1, 2**53, 2**53 + 1, 1234567890123456789, 2**64 + 1]
LINES = [f'{{"id": {id}, "sum": 0.30000000000000000004, "total": 1{"0" * 22}.01}}' for id in IDS]


def arrive(folder: Path) -> dict[tuple[str, ...], Any]:
    path = folder / "orders.jsonl"
    path.write_text("\n".join(LINES))
    sink = Upserts()
    pipeline(JsonLines(path, key="id"), sink, dict).run(MemoryStore())
    return sink.rows


def test_ids_and_money_arrive_as_they_were_written(tmp_path: Path) -> None:
    with used(files, "_parse"):
        rows = arrive(tmp_path)

    assert set(rows) == {(str(id),) for id in IDS}
    for key, each in rows.items():
        assert str(each["id"]) == key[0]
        assert each["sum"] == Decimal("0.30000000000000000004")
        assert each["total"] == Decimal(f"1{'0' * 22}.01")


def test_a_parser_of_floats_corrupts_them(tmp_path: Path) -> None:
    def floats(raw: bytes) -> Any:
        return json.loads(raw, parse_int=float)

    with mutant(files, "_parse", floats):
        rows = arrive(tmp_path)

    assert rows == {}  # a float is no key

    with mutant(files, "_parse", lambda raw: {**json.loads(raw)}):
        rows = arrive(tmp_path)

    assert {each["sum"] for each in rows.values()} == {0.3}


def replayed() -> dict[tuple[str, ...], Any]:
    def refuse(record: Any) -> Any:
        raise MappingError("not yet")

    records = [{"id": id, "sum": Decimal("0.10"), "n": id} for id in IDS]
    source, sink, store = Pages(Batch.of(records, key="id")), Upserts(), MemoryStore()
    pipeline(source, sink, refuse).run(store)
    pipeline(source, sink, dict, mapping_version="2").replay(store)
    return sink.rows


def test_a_dead_letter_keeps_every_digit() -> None:
    with used(values, "_tagged"):
        rows = replayed()

    assert {each["n"] for each in rows.values()} == set(IDS)
    assert {str(each["sum"]) for each in rows.values()} == {"0.10"}


def test_a_dead_letter_kept_through_floats_is_corrupted() -> None:
    def through_floats(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: through_floats(item) for name, item in value.items()}
        return float(value)

    with mutant(values, "_tagged", through_floats):
        rows = replayed()

    assert {each["n"] for each in rows.values()} != set(IDS)


def test_keys_of_big_integers_do_not_collide() -> None:
    with used(values, "_key_part"):
        keys = {values.as_key(id) for id in IDS}

    assert len(keys) == len(IDS)
