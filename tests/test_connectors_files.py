"""JSON-lines and CSV files, as sources and as tables."""

from __future__ import annotations

import csv
import enum
import json
import os
import stat
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsdk.connectors import files
from syncsdk.connectors.files import Csv, CsvTable, JsonLines, JsonLinesTable
from syncsdk.errors import ConfigurationError, RejectedError, UnavailableError
from syncsdk.protocols import Applied, Batch, Changes, Deletes, Op, Refused, Rejected
from syncsdk.values import INSTANT, INTEGER, UNSET, Listing, as_key, key_text

MESSY = [
    "",
    "null",
    " padded ",
    "Zoë",
    "Zoe\u0308",  # the same name, with a combining accent
    "שלום, עולם",
    "🦑👩‍👩‍👧",
    'say "hi", twice',
    "two\nlines",
    "two\r\nlines",
    "tab\there",
    "=1+1",
    "x" * 10_000,
]


def changes(
    *rows: tuple[Op, Any, dict[str, Any] | None], dest_ids: Sequence[str | None] | None = None
) -> Changes:
    """Build one write of (op, source key, record) by hand."""
    names = list(dict.fromkeys(name for _, _, record in rows for name in record or ()))
    return Changes(
        fields=names,
        ops=[op for op, _, _ in rows],
        keys=[as_key(key) for _, key, _ in rows],
        versions=[None] * len(rows),
        dest_ids=dest_ids or [None] * len(rows),
        rows=[
            () if record is None else tuple(record.get(name, UNSET) for name in names)
            for _, _, record in rows
        ],
    )


def read(source: Any) -> list[Batch]:
    return list(source.read(None))


def records(source: Any) -> list[Any]:
    return [record for batch in read(source) for record in batch.records or ()]


def refusals(source: Any) -> list[tuple[str, str | None, Any]]:
    found = [record for record in records(source) if isinstance(record, Refused)]
    return [(str(item.error), item.error.code, item.original) for item in found]


def table(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


# -- JsonLines: reading -----------------------------------------------------------------


def test_every_line_is_a_record_with_its_key_version_and_raw_bytes(path: Path) -> None:
    path.write_bytes(b'{"id": 1, "v": 7, "name": "A"}\n{"id": 2, "v": 8, "name": "B"}\n')

    (batch,) = read(JsonLines(path, key="id", version=INTEGER("v")))

    assert batch.keys == [1, 2]
    assert batch.versions == [7, 8]
    assert batch.records == [{"id": 1, "v": 7, "name": "A"}, {"id": 2, "v": 8, "name": "B"}]
    assert batch.raws == [b'{"id": 1, "v": 7, "name": "A"}', b'{"id": 2, "v": 8, "name": "B"}']
    assert batch.after is None


def test_a_key_of_several_members_is_a_tuple(path: Path) -> None:
    path.write_text('{"a": "x", "b": 1}\n{"a": "x"}\n')

    (batch,) = read(JsonLines(path, key=["a", "b"]))

    assert batch.keys == [("x", 1), ("x", None)]


def test_a_source_of_files_lists_everything_and_says_so(path: Path) -> None:
    capabilities = JsonLines(path, key="id", version=INSTANT("at"), deleted="gone").capabilities

    assert capabilities.cursor == Listing()
    assert capabilities.version == INSTANT("at")
    assert capabilities.deletes is Deletes.FLAGGED
    assert capabilities.reads_ahead
    assert JsonLines(path, key="id").capabilities.deletes is Deletes.NONE


def test_numbers_keep_every_digit(path: Path) -> None:
    path.write_text(
        '{"id": 9007199254740993, "big": 9223372036854775807,'
        ' "money": 0.10, "sum": 0.30000000000000004}'
    )

    (record,) = records(JsonLines(path, key="id"))

    assert record["id"] == 2**53 + 1
    assert record["big"] == 9223372036854775807
    assert str(record["money"]) == "0.10"
    assert record["sum"] == Decimal("0.30000000000000004")


@pytest.mark.parametrize("text", MESSY)
def test_messy_text_is_read_as_it_is(path: Path, text: str) -> None:
    path.write_text(json.dumps({"id": 1, "text": text}, ensure_ascii=False) + "\n", "utf-8")

    assert records(JsonLines(path, key="id")) == [{"id": 1, "text": text}]


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_skipped(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbf\r\n{"id": 1}\r\n\n  \t\r\n{"id": 2}')

    (batch,) = read(JsonLines(path, key="id"))

    assert batch.keys == [1, 2]
    assert batch.raws == [b'{"id": 1}', b'{"id": 2}']


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "json"),
        (b'{"id": NaN}', "json"),
        (b'{"id": -Infinity}', "json"),
        (b'{"id": ' + b"9" * 5000 + b"}", "json"),
        (b'{"id": 1e99999999999999999999}', "json"),
        (b'{"id": 1} {"id": 2}', "json"),
        (b"[1, 2]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"name": "M\xfcller"}', "encoding"),
        (b'{"a":' * 200_000, "too_deep"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(
    path: Path, line: bytes, code: str
) -> None:
    path.write_bytes(b'{"id": 1}\n\n' + line + b'\n{"id": 3}\n')

    (batch,) = read(JsonLines(path, key="id"))

    assert batch.keys == [1, None, 3]
    assert batch.records is not None
    refused = batch.records[1]
    assert isinstance(refused, Refused)
    assert str(refused.error).startswith("line 3 cannot be read: ")
    assert refused.error.code == code
    assert refused.original == (line if code == "encoding" else line.decode())


def test_a_record_is_deleted_only_by_true_or_one(path: Path) -> None:
    marks = ["true", "false", "null", "1", "0", '"no"', '"2026-01-01"', "[]"]
    path.write_text("".join(f'{{"id": {at}, "gone": {m}}}\n' for at, m in enumerate(marks)))

    (batch,) = read(JsonLines(path, key="id", deleted="gone"))

    assert batch.deleted == [True, False, False, True, False, False, False, False]
    assert [code for _, code, _ in refusals(JsonLines(path, key="id", deleted="gone"))] == [
        "deleted"
    ] * 3


@pytest.mark.parametrize("lines", range(8))
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_batches_are_full_but_the_last(path: Path, lines: int, size: int) -> None:
    path.write_text("".join(f'{{"id": {at}}}\n' for at in range(lines)))

    batches = read(JsonLines(path, key="id", batch=size))

    assert [key for batch in batches for key in batch.keys] == list(range(lines))
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)


def test_a_text_of_ten_megabytes_is_read_and_memory_holds_one_batch(path: Path) -> None:
    with path.open("w") as file:
        file.write(json.dumps({"id": "long", "text": "é" * 10_000_000}, ensure_ascii=True) + "\n")
    (record,) = records(JsonLines(path, key="id"))
    assert len(record["text"]) == 10_000_000
    with path.open("w") as file:
        file.writelines(f'{{"id": {at}, "text": "{"x" * 1000}"}}\n' for at in range(5_000))

    tracemalloc.start()
    total = sum(len(batch) for batch in JsonLines(path, key="id", batch=50).read(None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == 5_000
    assert peak < 1_000_000


@pytest.mark.parametrize("make", [lambda p: JsonLines(p, key="id"), lambda p: csv_source(p)])
def test_a_file_that_is_not_there_is_a_matter_of_configuration(path: Path, make: Any) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read(make(path))
    path.mkdir()
    with pytest.raises(ConfigurationError, match="directory"):
        read(make(path))


def test_a_file_that_changes_while_it_is_read_does_not_come_to_its_end(path: Path) -> None:
    path.write_text('{"id": 1}\n{"id": 2}\n{"id": 3}\n')
    batches = JsonLines(path, key="id", batch=1).read(None)

    assert next(batches).keys == [1]
    with path.open("a") as file:
        file.write('{"id": 4}\n')

    with pytest.raises(UnavailableError, match="changed while it was read"):
        list(batches)


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(path: Path) -> None:
    path.write_text('{"id": 1}\n{"id": 2}\n')
    batches = JsonLines(path, key="id", batch=1).read(None)
    next(batches)

    JsonLinesTable(path, key="id").write(changes((Op.DELETE, 2, None)))

    assert [batch.keys for batch in batches] == [[2]]


def test_a_disk_that_fails_is_no_end_of_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text('{"id": 1}\n')

    def fail(file: Any) -> Any:
        yield 1, b'{"id": 1}', {"id": 1}
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "json_lines", fail)

    with pytest.raises(UnavailableError, match="Input/output error"):
        read(JsonLines(path, key="id"))


# -- JsonLinesTable ---------------------------------------------------------------------


def test_a_table_is_made_and_creates_updates_and_deletes_by_key(path: Path) -> None:
    sink = JsonLinesTable(path, key="number")

    made = sink.write(
        changes(
            (Op.CREATE, 1, {"number": "CRM-1", "name": "A"}),
            (Op.CREATE, 2, {"number": "CRM-2", "name": "B"}),
        )
    )
    sink.write(
        changes(
            (Op.UPDATE, 1, {"number": "CRM-1", "name": "AA"}),
            (Op.DELETE, 2, None),
            dest_ids=[made[0].dest_id, made[1].dest_id],  # type: ignore[union-attr]
        )
    )

    assert made == [Applied(0, "CRM-1"), Applied(1, "CRM-2")]
    assert table(path) == [{"number": "CRM-1", "name": "AA"}]


def test_the_same_write_again_changes_nothing(path: Path) -> None:
    sink = JsonLinesTable(path, key="id")
    sink.write(changes((Op.CREATE, 1, {"id": 1, "a": 1}), (Op.CREATE, 2, {"id": 2, "a": 2})))
    write = changes(
        (Op.UPDATE, 1, {"id": 10, "a": 3}),
        (Op.DELETE, 2, None),
        (Op.CREATE, 3, {"id": 3, "a": 4}),
        dest_ids=["1", "2", None],
    )

    first = sink.write(write), path.read_bytes()
    again = sink.write(write), path.read_bytes()

    assert first == again
    assert {row["id"] for row in table(path)} == {10, 3}


@pytest.mark.parametrize("old", [UNSET, None, "", 0, "old"])
@pytest.mark.parametrize("new", [UNSET, None, "", 0, "new"])
def test_json_unset_keeps_null_clears_and_the_rest_is_written(
    path: Path, old: Any, new: Any
) -> None:
    sink = JsonLinesTable(path, key="id")

    sink.write(changes((Op.CREATE, 1, {"id": 1, "f": old})))
    sink.write(changes((Op.UPDATE, 1, {"id": 1, "f": new}), dest_ids=["1"]))

    kept = old if new is UNSET else new
    assert table(path) == [{"id": 1} if kept is UNSET else {"id": 1, "f": kept}]


def test_members_that_the_mapping_does_not_know_stay(path: Path) -> None:
    path.write_text('{"id": 1, "theirs": [1, {"x": 0.10}], "bad": "\\ud800", "ours": 1}\n')

    JsonLinesTable(path, key="id").write(changes((Op.UPDATE, 1, {"id": 1, "ours": 2})))

    assert path.read_text() == '{"id":1,"theirs":[1,{"x":0.10}],"bad":"\\ud800","ours":2}\n'


class Color(enum.Enum):
    RED = "red"


def test_values_are_written_to_the_last_digit(path: Path) -> None:
    written = {
        "id": 9223372036854775807,
        "money": Decimal("0.10"),
        "huge": Decimal("1E+400"),
        "precise": Decimal("0.1234567890123456789012345678901234567890"),
        "float": 0.1 + 0.2,
        "at": datetime(2026, 1, 1, 12, 0, 0, 123456, UTC),
        "day": date(2026, 1, 1),
        "uuid": UUID(int=7),
        "enum": Color.RED,
        "list": (1, [True, None]),
        "object": {"a": Decimal("1.0"), "unset": UNSET},
    }

    (outcome,) = JsonLinesTable(path, key="id").write(changes((Op.CREATE, 1, written)))

    assert outcome == Applied(0, "9223372036854775807")
    assert path.read_text() == (
        '{"id":9223372036854775807,"money":0.10,"huge":1E+400,'
        '"precise":0.1234567890123456789012345678901234567890,"float":0.30000000000000004,'
        '"at":"2026-01-01T12:00:00.123456+00:00","day":"2026-01-01",'
        '"uuid":"00000000-0000-0000-0000-000000000007","enum":"red",'
        '"list":[1,[true,null]],"object":{"a":1.0}}\n'
    )
    assert str(table(path)[0]["money"]) == "0.10"


def deep() -> Any:
    value: Any = None
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"bytes", "type"),
        (object(), "type"),
        ({1: 2}, "type"),
        (Decimal("NaN"), "type"),
        (float("inf"), "json"),
        pytest.param(10**5000, "json", id="huge"),
        ("\ud800", "surrogate"),
        ([{"a": "\udc80"}], "surrogate"),
    ],
)
def test_json_rejects_what_it_cannot_hold_and_writes_the_others(
    path: Path, value: Any, code: str
) -> None:
    sink = JsonLinesTable(path, key="id")

    outcomes = sink.write(
        changes(
            (Op.CREATE, 1, {"id": 1, "f": "a"}),
            (Op.CREATE, 2, {"id": 2, "f": value}),
            (Op.CREATE, 3, {"id": 3, "f": "c"}),
        )
    )

    assert outcomes == [Applied(0, "1"), Rejected(1, code, path="f"), Applied(2, "3")]
    assert [row["id"] for row in table(path)] == [1, 3]


def test_a_value_nested_without_end_is_rejected(path: Path) -> None:
    value = deep()

    (outcome,) = JsonLinesTable(path, key="id").write(
        changes((Op.CREATE, 1, {"id": 1, "f": value}))
    )

    assert outcome == Rejected(0, "json", path="f")
    while value:  # taken apart here: old Pythons free it recursively
        value = value[0]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "key_missing"),
        ("", "key_empty"),
        (1.5, "key_type"),
        (True, "key_type"),
        (UNSET, "key_missing"),
    ],
)
def test_a_record_without_a_usable_key_is_rejected(path: Path, key: Any, code: str) -> None:
    outcomes = JsonLinesTable(path, key="id").write(changes((Op.CREATE, 1, {"id": key, "a": 1})))

    assert outcomes == [Rejected(0, code, path="key")]
    assert table(path) == []


def test_of_two_records_with_one_key_in_a_write_the_later_is_rejected(path: Path) -> None:
    outcomes = JsonLinesTable(path, key="id").write(
        changes((Op.CREATE, "a", {"id": 1, "f": "a"}), (Op.CREATE, "b", {"id": "1", "f": "b"}))
    )

    assert outcomes == [Applied(0, "1"), Rejected(1, "key_twice", path="key")]
    assert table(path) == [{"id": 1, "f": "a"}]


def test_a_deletion_goes_by_dest_id_else_by_the_sources_key(path: Path) -> None:
    sink = JsonLinesTable(path, key=["a", "b"])
    sink.write(
        changes(
            (Op.CREATE, 1, {"a": "x", "b": 1}),
            (Op.CREATE, ("y", "2"), {"a": "y", "b": 2}),
            (Op.CREATE, 3, {"a": "z", "b": 3}),
        )
    )

    outcomes = sink.write(
        changes(
            (Op.DELETE, 1, None),
            (Op.DELETE, ("y", "2"), None),
            (Op.DELETE, "absent", None),
            dest_ids=[key_text(("x", "1")), None, None],
        )
    )

    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    assert table(path) == [{"a": "z", "b": 3}]


def test_a_changed_key_moves_the_row_with_all_its_members(path: Path) -> None:
    path.write_text('{"id": 1, "theirs": 7, "f": "old"}\n')

    (outcome,) = JsonLinesTable(path, key="id").write(
        changes((Op.UPDATE, "s", {"id": 2, "f": UNSET}), dest_ids=["1"])
    )

    assert outcome == Applied(0, "2")
    assert table(path) == [{"id": 2, "theirs": 7, "f": "old"}]


@pytest.mark.parametrize("times", [1, 2])
def test_keys_may_be_swapped_passed_on_and_reused_in_one_write(path: Path, times: int) -> None:
    path.write_text("".join(f'{{"id": "{name}", "was": "{name}"}}\n' for name in "abcdef"))
    write = changes(
        (Op.UPDATE, 1, {"id": "b", "n": 1}),  # a and b are swapped
        (Op.UPDATE, 2, {"id": "a", "n": 2}),
        (Op.UPDATE, 3, {"id": "d", "n": 3}),  # c takes the place of d, which moves on
        (Op.UPDATE, 4, {"id": "g", "n": 4}),
        (Op.CREATE, 5, {"id": "c", "n": 5}),  # a new record takes the place of c
        (Op.DELETE, 6, None),
        (Op.CREATE, 7, {"id": "f", "n": 7}),  # and another that of f, which is deleted
        dest_ids=["a", "b", "c", "d", None, "f", None],
    )

    for _ in range(times):
        JsonLinesTable(path, key="id").write(write)

    assert {row["id"]: row["n"] for row in table(path) if "n" in row} == {
        "b": 1, "a": 2, "d": 3, "g": 4, "c": 5, "f": 7,
    }  # fmt: skip
    assert [row["was"] for row in table(path) if row["id"] == "e"] == ["e"]
    if times == 1:
        was = {row["id"]: row.get("was") for row in table(path)}
        assert was == {"b": "a", "a": "b", "d": "c", "g": "d", "c": None, "f": None, "e": "e"}


def test_a_key_that_another_row_has_is_not_taken(path: Path) -> None:
    path.write_text('{"id": 1}\n{"id": 2}\n')

    with pytest.raises(RejectedError) as caught:
        JsonLinesTable(path, key="id").write(
            changes((Op.UPDATE, "s", {"id": 2, "f": 1}), dest_ids=["1"])
        )

    assert caught.value.code == "key_taken"
    assert table(path) == [{"id": 1}, {"id": 2}]


def test_a_rejected_record_leaves_its_old_row_alone(path: Path) -> None:
    path.write_text('{"id": 1, "f": "old"}\n')

    JsonLinesTable(path, key="id").write(
        changes((Op.UPDATE, "s", {"id": 2, "f": b""}), dest_ids=["1"])
    )

    assert table(path) == [{"id": 1, "f": "old"}]


@pytest.mark.parametrize("line", ["{", "[]", '{"name": "no key"}', '{"id": 1}'])
def test_a_file_that_is_no_table_is_not_touched(path: Path, line: str) -> None:
    path.write_text('{"id": 1}\n' + line + "\n")
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match=r"line 2 of .* is no row of this table"):
        JsonLinesTable(path, key="id").write(changes((Op.CREATE, 5, {"id": 5})))

    assert path.read_bytes() == before


def test_a_crash_before_the_replacement_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonLinesTable(path, key="id")
    sink.write(changes((Op.CREATE, 1, {"id": 1})))

    def crash(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", crash)
        with pytest.raises(UnavailableError, match="No space left"):
            sink.write(changes((Op.CREATE, 2, {"id": 2})))
    assert table(path) == [{"id": 1}]

    sink.write(changes((Op.CREATE, 3, {"id": 3})))
    assert table(path) == [{"id": 1}, {"id": 3}]
    assert os.listdir(path.parent) == ["file"]


def test_the_file_and_its_directory_are_synced_around_the_replacement(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(fd: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def watch_replace(*args: Any) -> None:
        steps.append("replace")
        replace(*args)

    monkeypatch.setattr(files.os, "fsync", watch_fsync)
    monkeypatch.setattr(files.os, "replace", watch_replace)

    JsonLinesTable(path, key="id").write(changes((Op.CREATE, 1, {"id": 1})))

    assert steps == ["file", "replace", "directory"]


@pytest.mark.skipif(os.name != "posix", reason="modes and links")
def test_a_replaced_file_keeps_its_mode_and_its_link(path: Path) -> None:
    target = path.parent / "target"
    target.write_text('{"id": 1}\n')
    target.chmod(0o640)
    path.symlink_to(target)

    JsonLinesTable(path, key="id").write(changes((Op.CREATE, 2, {"id": 2})))

    assert path.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert len(table(target)) == 2


def test_a_table_in_a_directory_that_is_not_there_is_a_matter_of_configuration(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        JsonLinesTable(path / "deeper", key="id").write(changes((Op.CREATE, 1, {"id": 1})))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.text(max_size=3))), max_size=8)
)
@settings(max_examples=25, deadline=None)
def test_any_run_of_writes_ends_with_the_last_value_of_each_key(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, str | None]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "file"
    sink, expected = JsonLinesTable(path, key="id"), dict[int, str]()

    for key, text in writes:
        op = Op.UPDATE if key in expected else Op.CREATE
        if text is None:
            sink.write(changes((Op.DELETE, key, None)))
            expected.pop(key, None)
        else:
            sink.write(changes((op, key, {"id": key, "t": text})))
            expected[key] = text

    rows = records(JsonLines(path, key="id")) if path.exists() else []
    assert {row["id"]: row["t"] for row in rows} == expected


# -- Csv: reading -----------------------------------------------------------------------


def csv_source(path: Path, **options: Any) -> Csv:
    return Csv(path, **{"key": "id", "dialect": "excel", "encoding": "utf-8"} | options)


def csv_table(path: Path, **options: Any) -> CsvTable:
    return CsvTable(path, **{"key": "id", "dialect": "excel", "encoding": "utf-8"} | options)


def test_every_row_is_a_record_of_texts(path: Path) -> None:
    path.write_text("id,name,money\n007,A,0.10\n8,,1e3\n")

    (batch,) = read(csv_source(path, version=INTEGER("money")))

    assert batch.keys == ["007", "8"]
    assert batch.versions == ["0.10", "1e3"]
    assert batch.records == [
        {"id": "007", "name": "A", "money": "0.10"},
        {"id": "8", "name": "", "money": "1e3"},
    ]
    assert batch.raws is None


@pytest.mark.parametrize(
    ("null", "expected"), [(None, ["", "NULL"]), ("", [None, "NULL"]), ("NULL", ["", None])]
)
def test_only_the_declared_text_means_null(path: Path, null: str | None, expected: Any) -> None:
    path.write_text("id,a,b\n1,,NULL\n")

    (record,) = records(csv_source(path, null=null))

    assert [record["a"], record["b"]] == expected


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", "\ufeff"), ("utf-8-sig", ""), ("utf-16", ""), ("utf-8", "")]
)
def test_a_byte_order_mark_is_no_part_of_the_first_column(
    path: Path, encoding: str, mark: str
) -> None:
    path.write_bytes(f'{mark}"id",name\n1,Zoë\n'.encode(encoding))

    assert records(csv_source(path, encoding=encoding)) == [{"id": "1", "name": "Zoë"}]


def test_a_dialect_and_an_encoding_are_taken_as_declared(path: Path) -> None:
    class Semicolons(csv.Dialect):
        delimiter, quotechar, doublequote = ";", "'", True
        skipinitialspace, lineterminator, quoting = False, "\n", csv.QUOTE_MINIMAL

    path.write_bytes("id;name\r\n1;'Müller; Söhne'\r\n\r\n2;'two\nlines'\r\n".encode("cp1252"))

    assert records(csv_source(path, dialect=Semicolons, encoding="cp1252")) == [
        {"id": "1", "name": "Müller; Söhne"},
        {"id": "2", "name": "two\nlines"},
    ]


GOOD = "1,first\n"


@pytest.mark.parametrize(
    ("bad", "line", "code", "original"),
    [
        (b"2,M\xfcller\n", 4, "encoding", "2,M\\udcfcller\n"),
        (b"2\n", 4, "cells", "2\n"),
        (b"2,a,b\n", 4, "cells", "2,a,b\n"),
        (b"2,a\0b\n", 4, "nul", "2,a\0b\n"),
        (b'2,"a"b\n', 4, "csv", '2,"a"b\n'),
        (b'2,"never closed\n', 4, "csv", '2,"never closed\n'),
        (b'2,"a\nb\n', 4, "csv", '2,"a\n'),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_the_others_go_on(
    path: Path, bad: bytes, line: int, code: str, original: str
) -> None:
    path.write_bytes(b'id,name\n1,"two\nlines"\n' + bad + b'3,"three\nlines"\n4,four\n')

    (batch,) = read(csv_source(path))

    assert batch.records is not None
    assert [key for key in batch.keys if key is not None] == ["1", "3", "4"]
    assert batch.records[0] == {"id": "1", "name": "two\nlines"}
    assert batch.records[-2] == {"id": "3", "name": "three\nlines"}
    first = refusals(csv_source(path))[0]
    assert first[0].startswith(f"line {line} cannot be read: ")
    assert first[1:] == (code, original)


def test_a_cell_over_the_limit_is_refused_and_the_others_go_on(path: Path) -> None:
    path.write_text(f"id,name\n1,a\n2,{'x' * (csv.field_size_limit() + 1)}\n3,c\n")

    (batch,) = read(csv_source(path))

    assert batch.keys == ["1", None, "3"]
    ((message, code, original),) = refusals(csv_source(path))
    assert message.startswith("line 3 ")
    assert code == "csv"
    assert len(original) > csv.field_size_limit()


def test_a_cell_of_ten_megabytes_is_read_where_the_limit_allows_it(path: Path) -> None:
    path.write_text(f"id,name\n1,{'é' * 10_000_000}\n", "utf-8")
    limit = csv.field_size_limit(20_000_000)
    try:
        (record,) = records(csv_source(path))
    finally:
        csv.field_size_limit(limit)

    assert len(record["name"]) == 10_000_000


def test_many_open_quotes_cost_their_own_lines_only(path: Path) -> None:
    rows = [f'{at},"open' if at % 3 == 0 else f"{at},fine" for at in range(300)]
    path.write_text("id,name\n" + "\n".join(rows) + "\n")

    found = records(csv_source(path))

    assert len(found) == 300
    assert [r["id"] for r in found if isinstance(r, dict)] == [
        str(at) for at in range(300) if at % 3
    ]


def test_a_row_is_deleted_by_the_declared_text_in_the_declared_column(path: Path) -> None:
    path.write_text("id,state\n1,gone\n2,live\n3\n")
    source = csv_source(path, deleted=("state", "gone"))

    (batch,) = read(source)

    assert source.capabilities.deletes is Deletes.FLAGGED
    assert batch.deleted == [True, False, False]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,id\n1,2\n", b'id,"na\n', b"id,\xff\n"])
def test_a_file_without_a_header_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="has no header row"):
        read(csv_source(path))


def test_a_column_that_is_not_there_is_named(path: Path) -> None:
    path.write_text("id;name;at\n1;a;b\n")

    with pytest.raises(ConfigurationError, match=r"has no column id, state, v.*dialect="):
        read(csv_source(path, version=INTEGER("v"), deleted=("state", "x")))


@pytest.mark.parametrize(
    "options",
    [
        {"dialect": "nonsense"},
        {"dialect": type("Empty", (csv.excel,), {"delimiter": ""})},
        {"encoding": "nonsense"},
    ],
)
def test_an_unknown_dialect_or_encoding_is_refused_when_it_is_declared(
    path: Path, options: dict[str, Any]
) -> None:
    for make in (csv_source, csv_table):
        with pytest.raises(ConfigurationError, match="is unknown"):
            make(path, **options)


def test_a_dialect_that_makes_floats_is_refused(path: Path) -> None:
    class Floats(csv.excel):
        quoting = csv.QUOTE_NONNUMERIC

    with pytest.raises(ConfigurationError, match="into floats"):
        csv_source(path, dialect=Floats)


def test_bytes_that_are_no_utf_16_at_all_name_the_encoding(path: Path) -> None:
    path.write_bytes("id,name\n1,a\n".encode("utf-16") + b"x")

    with pytest.raises(ConfigurationError, match="is not of the encoding utf-16"):
        read(csv_source(path, encoding="utf-16"))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_csv_batches_are_full_but_the_last(path: Path, size: int) -> None:
    path.write_text("id\n" + "".join(f"{at}\n" for at in range(5)))

    batches = read(csv_source(path, batch=size))

    assert [len(batch) for batch in batches] == {1: [1] * 5, 2: [2, 2, 1], 5: [5]}[size]


# -- CsvTable ---------------------------------------------------------------------------


def test_a_csv_table_creates_updates_deletes_and_keeps_other_columns(path: Path) -> None:
    path.write_text("theirs,id,name\nx,1,A\ny,2,B\n")
    sink = csv_table(path)

    outcomes = sink.write(
        changes(
            (Op.UPDATE, 1, {"id": 1, "name": "AA"}),
            (Op.DELETE, 2, None),
            (Op.CREATE, 3, {"id": 3, "name": "C"}),
            dest_ids=["1", "2", None],
        )
    )

    assert outcomes == [Applied(0, "1"), Applied(1, "2"), Applied(2, "3")]
    assert path.read_bytes() == b"theirs,id,name\r\nx,1,AA\r\n,3,C\r\n"


@pytest.mark.parametrize("text", MESSY)
def test_messy_text_is_written_and_read_as_it_is(path: Path, text: str) -> None:
    csv_table(path).write(changes((Op.CREATE, 1, {"id": 1, "text": text, "end": "|"})))

    assert records(csv_source(path)) == [{"id": "1", "text": text, "end": "|"}]


@pytest.mark.parametrize("old", [UNSET, None, "", 0, "old"])
@pytest.mark.parametrize("new", [UNSET, None, "", 0, "new"])
def test_csv_unset_keeps_null_is_the_declared_text_and_the_rest_is_text(
    path: Path, old: Any, new: Any
) -> None:
    sink = csv_table(path, null="NULL")

    sink.write(changes((Op.CREATE, 1, {"id": 1, "f": old})))
    sink.write(changes((Op.UPDATE, 1, {"id": 1, "f": new}), dest_ids=["1"]))

    kept = old if new is UNSET else new
    expected = "" if kept is UNSET else None if kept is None else str(kept)
    assert records(csv_source(path, null="NULL")) == [{"id": "1", "f": expected}]


def test_values_become_text_to_the_last_digit(path: Path) -> None:
    written = {
        "id": 9223372036854775807,
        "money": Decimal("0.10"),
        "float": 0.1,
        "yes": True,
        "no": False,
        "at": datetime(2026, 1, 1, 12, 0, 0, 1, UTC),
        "uuid": UUID(int=7),
        "enum": Color.RED,
    }

    csv_table(path).write(changes((Op.CREATE, 1, written)))

    assert path.read_text().splitlines()[1] == (
        "9223372036854775807,0.10,0.1,true,false,2026-01-01T12:00:00.000001+00:00,"
        "00000000-0000-0000-0000-000000000007,red"
    )


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"bytes", "type"),
        ([1], "type"),
        (Decimal("Infinity"), "type"),
        (float("nan"), "type"),
        pytest.param(10**5000, "too_long", id="huge"),
        ("a\0b", "type"),
        ("NULL", "ambiguous"),
        ("\ud800", "encoding"),
        ("🦑", "encoding"),
        ("x" * 200_000, "csv"),
    ],
)
def test_csv_rejects_what_would_not_read_the_same(path: Path, value: Any, code: str) -> None:
    outcomes = csv_table(path, null="NULL", encoding="cp1252").write(
        changes((Op.CREATE, 1, {"id": 1, "f": "é"}), (Op.CREATE, 2, {"id": 2, "f": value}))
    )

    place = None if code == "csv" else "f"
    assert outcomes == [Applied(0, "1"), Rejected(1, code, path=place)]
    assert path.read_bytes() == b"id,f\r\n1,\xe9\r\n"


def test_null_is_rejected_where_no_text_means_it(path: Path) -> None:
    outcomes = csv_table(path).write(changes((Op.CREATE, 1, {"id": 1, "f": None})))

    assert outcomes == [Rejected(0, "null", path="f")]


def test_what_the_dialect_cannot_quote_is_rejected(path: Path) -> None:
    class Bare(csv.Dialect):
        delimiter, quoting, lineterminator = ",", csv.QUOTE_NONE, "\n"

    outcomes = csv_table(path, dialect=Bare).write(
        changes((Op.CREATE, 1, {"id": 1, "f": "a,b"}), (Op.CREATE, 2, {"id": 2, "f": "ab"}))
    )

    assert outcomes == [Rejected(0, "csv"), Applied(1, "2")]
    assert path.read_text() == "id,f\n2,ab\n"


def test_what_the_dialect_would_read_otherwise_is_rejected(path: Path) -> None:
    class Trimming(csv.excel):
        skipinitialspace = True

    outcomes = csv_table(path, dialect=Trimming).write(
        changes((Op.CREATE, 1, {"id": 1, "f": " padded"}), (Op.CREATE, 2, {"id": 2, "f": "b "}))
    )

    assert outcomes == [Rejected(0, "csv"), Applied(1, "2")]


def test_a_field_that_the_file_has_no_column_for_is_refused(path: Path) -> None:
    path.write_text("id,name\n1,A\n")

    with pytest.raises(ConfigurationError, match="has no column other"):
        csv_table(path).write(changes((Op.UPDATE, 1, {"id": 1, "other": 2})))

    assert path.read_text() == "id,name\n1,A\n"


def test_a_csv_file_with_a_bad_row_is_not_touched(path: Path) -> None:
    path.write_text("id,name\n1,A\n2\n")

    with pytest.raises(ConfigurationError, match=r"line 3 of .* is no row of this table"):
        csv_table(path).write(changes((Op.CREATE, 5, {"id": 5})))

    assert path.read_text() == "id,name\n1,A\n2\n"


def test_deletions_alone_make_no_file(path: Path) -> None:
    outcomes = csv_table(path).write(changes((Op.DELETE, 1, None)))

    assert outcomes == [Applied(0, "1")]
    assert not path.exists()


def test_utf_16_is_written_with_one_byte_order_mark(path: Path) -> None:
    sink = csv_table(path, encoding="utf-16")

    sink.write(changes((Op.CREATE, 1, {"id": 1, "f": "🦑"})))
    sink.write(changes((Op.CREATE, 2, {"id": 2, "f": "ש"})))

    assert path.read_bytes().count("\ufeff".encode("utf-16-le")) == 1
    assert [r["f"] for r in records(csv_source(path, encoding="utf-16"))] == ["🦑", "ש"]
