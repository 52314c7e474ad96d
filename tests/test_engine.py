"""The flow of a run, through both faces."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import attrs
import pytest

from syncsdk import (
    FILTERED,
    INSTANT,
    INTEGER,
    STRICT,
    UNSET,
    Applied,
    Batch,
    Changes,
    Deletes,
    Keyset,
    Listing,
    MappingError,
    MemoryStore,
    NotSent,
    Op,
    Owner,
    Pipeline,
    Refused,
    Rejected,
    RejectedError,
    Result,
    SinkCapabilities,
    SourceCapabilities,
    Token,
    Tolerance,
    Unknown,
    Watermark,
    engine,
    errors,
    upsert,
)
from syncsdk.protocols import Checkpoint, Commit, Counts, LetterStatus, RunReport, Stage
from tests.fakes import (
    NOON,
    Creates,
    Pages,
    Remembers,
    Table,
    Upserts,
    at,
    pipeline,
    plain,
    row,
)

pytestmark = pytest.mark.usefixtures("face")


class Clock:
    """A clock for the store and the runtime, that the test sets."""

    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def ids(sink: Upserts) -> set[str]:
    return {key[0] for key in sink.rows}


# -- The plain case --------------------------------------------------------------------


def test_what_is_read_is_written_and_the_next_run_reads_nothing(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n, name=f"n{n}") for n in range(5))), Upserts()
    flow = pipeline(source, sink)

    first, second = flow.run(store), flow.run(store)

    assert first.counts == Counts(read=5, created=5)
    assert second.counts == Counts()
    assert sink.rows[("r4",)] == {"id": "r4", "name": "n4"}
    assert source.reads == [None, store.load("test").cursor]
    assert (first.result, first.exit_code, first.batches) == (Result.SUCCESS, 0, 3)


def test_a_change_is_an_update_and_a_touch_is_none(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1, x=1), row("b", 1, x=1)), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    source.put(**row("a", 2, v=2, x=2))
    source.put(**row("b", 2, v=2, x=1))

    report = flow.run(store)

    assert report.counts == Counts(read=2, updated=1, unchanged=1)
    assert [change.op for change in sink.writes[-1]] == [Op.UPDATE]
    assert store.look_up("test", [("b",)]).entries[("b",)].version == "2"


def test_an_older_version_is_stale(store: MemoryStore) -> None:
    old, new = ([{"id": "a", "v": v, "x": v}] for v in (1, 2))
    sink = Upserts()
    source = Pages(
        Batch.of(new, key="id", version="v"), Batch.of(old, key="id", version="v"), version=INTEGER
    )

    report = pipeline(source, sink).run(store)

    assert report.counts == Counts(read=2, created=1, stale=1)
    assert sink.rows[("a",)]["x"] == 2


def test_a_version_that_cannot_be_compared_any_more_is_not_stale(store: MemoryStore) -> None:
    sink = Upserts()
    first = Pages(Batch(["a"], [{"id": "a", "x": 1}], versions=["etag"]))
    pipeline(first, sink).run(store)
    second = Pages(Batch(["a"], [{"id": "a", "x": 2}], versions=[1]), version=INTEGER)

    assert pipeline(second, sink).run(store).counts.updated == 1


def test_deletes_go_through_and_stay(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("b", 1)), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    source.put(**row("a", 2, v=2, gone=True))
    source.put(**row("never", 2, v=1, gone=True))
    first = flow.run(store)
    source.put(**row("a", 3, v=3, gone=True))

    second = flow.run(store)

    assert first.counts == Counts(read=2, deleted=2)
    assert second.counts == Counts(read=1, unchanged=1)
    assert ids(sink) == {"b"}
    assert store.load("test").live == 1


def test_a_delete_of_what_a_creating_sink_never_had_is_no_write(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1, gone=True)), Creates()

    report = pipeline(source, sink).run(store)

    assert report.counts == Counts(read=1, unchanged=1)


def test_what_the_mapping_filters_is_counted(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("b", 2)), Upserts()

    report = pipeline(source, sink, lambda r: None if r["id"] == "a" else plain(r)).run(store)

    assert report.counts == Counts(read=2, created=1, filtered=1)


def test_an_attrs_class_and_a_typed_dict_tell_their_fields(store: MemoryStore) -> None:
    from typing import TypedDict

    @attrs.define
    class Customer:
        number: str
        name: Any = UNSET

    class Payload(TypedDict, total=False):
        number: str
        name: str

    def to_class(record: Any) -> Customer:
        return Customer(record["id"])

    def to_dict(record: Any) -> Payload:
        return {"number": record["id"]}

    def to_too_much(record: Any) -> Payload:
        return {"number": record["id"], "nmae": "x"}  # type: ignore[typeddict-unknown-key]

    to_class.__annotations__["return"] = Customer
    to_dict.__annotations__["return"] = Payload
    to_too_much.__annotations__["return"] = Payload
    sink = Upserts()
    for mapping in (to_class, to_dict):
        made = pipeline(Table(row("a", 1)), sink, mapping).run(MemoryStore())
        assert made.counts.created == 1
        assert tuple(sink.writes[-1][0].fields) == ("number", "name")
    assert sink.rows[("a",)] == {"number": "a"}
    report = pipeline(Table(row("a", 1)), sink, to_too_much).run(store)
    assert "does not have" in next(iter(report.refusals))


# -- Refused records -------------------------------------------------------------------


def bad(record: dict[str, Any]) -> dict[str, Any]:
    if record["id"].startswith("bad"):
        raise MappingError("expected a colour", path="colour", code="colour")
    return plain(record)


def test_a_record_that_the_mapping_refuses_does_not_stop_the_others(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("bad", 2, secret="s3cret"), row("c", 3)), Upserts()

    report = pipeline(source, sink, bad).run(store)

    (letter,) = store.letters("test")
    assert report.counts == Counts(read=3, created=2, dead=1)
    assert (report.result, report.exit_code, report.letters) == (Result.PARTIAL, 1, 1)
    assert (letter.key, letter.stage, letter.code) == (("bad",), Stage.MAP, "colour")
    assert "s3cret" in str(letter.original)
    assert "s3cret" not in f"{report} {letter.reason}"


def test_the_same_refused_record_is_counted_again_but_kept_once(store: MemoryStore) -> None:
    page = Batch.of([{"id": "bad"}], key="id")
    flow = pipeline(Pages(page), Upserts(), bad, tolerance=Tolerance(1, 0))

    reports = [flow.run(store) for _ in range(3)]

    assert [each.counts.dead for each in reports] == [1, 1, 1]
    assert len(store.letters("test")) == 1
    assert reports[-1].result is Result.PARTIAL


def test_refused_records_beyond_the_tolerance_stop_the_run_before_the_write(
    store: MemoryStore,
) -> None:
    source, sink = Table(row("a", 1), row("bad1", 2), row("bad2", 3), row("z", 4)), Upserts()

    report = pipeline(source, sink, bad, tolerance=STRICT).run(store)

    assert report.result is Result.FAILED
    assert "more than the pipeline tolerates" in str(report.reason)
    assert report.unsettled == 2
    assert list(report.refusals.values()) == [1]
    assert sink.rows == {}
    assert store.letters("test") == []


def test_refusals_of_the_destination_stop_the_run_after_their_batch(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("b", 2), row("c", 3)), Upserts()
    sink.refuses = lambda change: change.key == ("b",)

    report = pipeline(source, sink, tolerance=STRICT).run(store)

    assert report.result is Result.FAILED
    assert ids(sink) == {"a"}
    (letter,) = store.letters("test")
    assert (letter.stage, letter.code, letter.detail) == (Stage.WRITE, "422", "no thanks")
    assert store.load("test").cursor is not None


def test_the_first_five_reasons_are_reported(store: MemoryStore) -> None:
    def refuse(record: dict[str, Any]) -> dict[str, Any]:
        raise MappingError(f"reason {record['n']}")

    records = [{"id": f"r{n}", "n": n % 7} for n in range(14)]
    flow = pipeline(
        Pages(Batch.of(records, key="id")), Upserts(), refuse, tolerance=Tolerance(99, 1.0)
    )

    report = flow.run(store)

    assert list(report.refusals.values()) == [2] * 5


def test_a_mapping_that_raises_anything_refuses_the_record_without_its_words(
    store: MemoryStore,
) -> None:
    def explode(record: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"cannot read {record['secret']}")

    flow = pipeline(Pages(Batch.of([{"id": 1, "secret": "s3cret"}], key="id")), Upserts(), explode)

    report = flow.run(store)

    assert "ValueError at test_engine.py" in next(iter(report.refusals))
    assert "s3cret" not in str(report)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (7, "of type int"),
        ({"x": float("nan")}, "not a finite number"),
        ({"x": Decimal("Infinity")}, "not a finite number"),
        ({"x": "\ud800"}, "lone surrogate"),
        ({"x": object()}, "of type object"),
        ({"x": {1: 2}}, "a key of type int"),
        ({1: 2}, "a field named by a value of type int"),
        ({"x": [[1, float("inf")]]}, "x[0][1]"),
    ],
)
def test_a_mapped_value_that_nobody_could_hold_is_refused(
    store: MemoryStore, made: Any, reason: str
) -> None:
    flow = pipeline(Pages(Batch.of([{"id": 1}], key="id")), Upserts(), lambda record: made)

    report = flow.run(store)

    assert report.counts == Counts(read=1, dead=1)
    assert reason in next(iter(report.refusals))


def test_a_mapped_record_that_is_refused_stands_in_the_letter(store: MemoryStore) -> None:
    pipeline(listed({"id": 1}), Upserts(), lambda record: {"x": float("inf")}).run(store)

    (letter,) = store.letters("test")
    assert letter.mapped == '{"x":Infinity}'
    assert letter.original == '{"id":1}'


@attrs.define
class Measure:
    x: float


def measure(record: Any) -> Measure:
    return Measure(float("inf"))


def test_it_stands_there_with_the_names_of_its_fields(store: MemoryStore) -> None:
    pipeline(listed({"id": 1}), Upserts(), measure).run(store)

    assert [letter.mapped for letter in store.letters("test")] == ['{"x":Infinity}']


def test_a_deep_value_is_refused_and_a_long_one_is_not(store: MemoryStore) -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    values = {1: deep, 2: "x" * 10_000_000}
    sink = Upserts()
    source = Pages(Batch.of([{"id": 1}, {"id": 2}], key="id"))

    report = pipeline(source, sink, lambda record: {"x": values[record["id"]]}).run(store)

    assert report.counts == Counts(read=2, created=1, dead=1)
    assert "nested deeper than 100" in next(iter(report.refusals))
    assert len(sink.rows[("2",)]["x"]) == 10_000_000


@pytest.mark.parametrize("key", [None, "", True, 1.5, "\ud800", (), ("a", None), [], object()])
def test_a_record_without_a_usable_key_is_a_letter_and_the_others_go_on(
    store: MemoryStore, key: Any
) -> None:
    sink = Upserts()
    source = Pages(Batch([key, 2**70, ("a", 1)], [{"x": 1}, {"x": 2}, {"x": 3}]))

    report = pipeline(source, sink).run(store)

    (letter,) = store.letters("test")
    assert report.counts == Counts(read=3, created=2, dead=1)
    assert set(sink.rows) == {(str(2**70),), ("a", "1")}
    assert letter.key == ()
    assert letter.original is not None


def test_two_keyless_records_are_two_letters(store: MemoryStore) -> None:
    source = Pages(Batch([None, None, None], [{"x": 1}, {"x": 2}, {"x": 1}]))

    report = pipeline(source, Upserts()).run(store)

    assert report.counts.dead == 3
    assert len(store.letters("test")) == 2


@pytest.mark.parametrize(
    "version",
    [1.5, True, object(), None, "later", "9" * 5000, pytest.param(10**5000, id="huge")],
)
def test_a_version_that_cannot_be_read_refuses_its_record(store: MemoryStore, version: Any) -> None:
    source = Pages(Batch(["a", "b"], [{}, {}], versions=[version, 7]), version=INTEGER)

    report = pipeline(source, Upserts()).run(store)

    assert report.counts == Counts(read=2, created=1, dead=1)
    (letter,) = store.letters("test")
    assert letter.version == (version if isinstance(version, str) else None)


def test_what_the_source_refuses_is_a_letter_with_its_evidence(store: MemoryStore) -> None:
    why = errors.RecordError("line 7 is not JSON", code="not_json")
    records = [Refused(why, "{oops"), {"id": "b"}, "no object", {"id": "c", "gone": "no"}]
    batch = Batch.of(records, key="id", deleted="gone")
    batch.keys = ["a", *batch.keys[1:]]

    report = pipeline(Pages(batch), Upserts()).run(store)

    letters = {letter.code: letter for letter in store.letters("test")}
    assert report.counts == Counts(read=4, created=1, dead=3)
    assert set(letters) == {"not_json", "not_an_object", "deleted"}
    assert letters["not_json"].original == '"{oops"'


def test_a_record_that_is_not_data_is_a_letter_without_its_original(store: MemoryStore) -> None:
    source = Pages(Batch(["bad"], [{"id": "bad", "x": object()}]))
    flow = pipeline(source, Upserts(), bad)
    flow.run(store)

    report = flow.replay(store)

    (letter,) = store.letters("test")
    assert letter.original is None
    assert "left alone" in report.warnings[0]


# -- Raw bytes -------------------------------------------------------------------------


class Raws:
    """A source with undecoded bytes; counts what it decodes."""

    def __init__(self, *lines: str, short: bool = False) -> None:
        self.lines = list(lines)
        self.decoded: list[bytes] = []
        self.short = short
        self.capabilities = SourceCapabilities(Listing())

    def read(self, after: str | None) -> Iterator[Batch]:
        raws = [line.encode() for line in self.lines]
        yield Batch([line[0] for line in self.lines], raws=raws, decode=self.decode)

    def decode(self, raws: Sequence[bytes]) -> Sequence[Any]:
        self.decoded += raws
        made: list[Any] = []
        for raw in raws:
            if raw.endswith(b"?"):
                made.append(Refused(errors.RecordError("unreadable"), raw.decode()))
            else:
                made.append({"id": raw[:1].decode(), "x": raw[1:].decode()})
        return made[1:] if self.short else made


def test_an_unchanged_raw_record_is_neither_decoded_nor_mapped(store: MemoryStore) -> None:
    source, sink = Raws("a1", "b1", "c1"), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    source.decoded.clear()
    source.lines[1] = "b2"

    report = flow.run(store)

    assert report.counts == Counts(read=3, updated=1, unchanged=2)
    assert source.decoded == [b"b2"]


def test_a_raw_record_that_cannot_be_decoded_is_refused(store: MemoryStore) -> None:
    source, sink = Raws("a1", "b?", "c1"), Upserts()

    report = pipeline(source, sink).run(store)

    (letter,) = store.letters("test")
    assert report.counts == Counts(read=3, created=2, dead=1)
    assert letter.original == '"b?"'


def test_a_raw_digest_is_void_while_the_key_has_an_open_letter(store: MemoryStore) -> None:
    source, sink = Raws("a1"), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    source.lines = ["a?"]
    flow.run(store)
    source.lines = ["a1"]

    report = flow.run(store)

    assert report.counts == Counts(read=1, unchanged=1)
    assert [x.status for x in store.letters("test", status=None)] == [LetterStatus.SUPERSEDED]


class Counting:
    """A mapping that notes which records it was given."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, record: Any) -> dict[str, Any]:
        self.seen.append(record["id"])
        return {"id": record["id"], "x": str(record.get("x"))}


def listed(*records: Any, **columns: Any) -> Any:
    """Return a source of these records, read whole each time."""
    return Pages(Batch.of(list(records), key="id", **columns))


def test_an_unchanged_decoded_record_is_not_mapped_again(store: MemoryStore) -> None:
    records = [{"id": name, "x": {"deep": [1, None, "é"]}} for name in "abc"]
    mapping, sink = Counting(), Upserts()
    pipeline(listed(*records), sink, mapping).run(store)
    records[1]["x"] = {"deep": [True, None, "é"]}
    mapping.seen.clear()

    report = pipeline(listed(*records), sink, mapping).run(store)

    assert report.counts == Counts(read=3, updated=1, unchanged=2)
    assert mapping.seen == ["b"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"x": 1}, {"x": True}),
        ({"x": 1}, {"x": 1.0}),
        ({"x": None}, {}),
        ({"x": 0.0}, {"x": -0.0}),
        ({"x": "1"}, {"x": b"1"}),
        ({"x": [1, 2]}, {"x": (1, 2)}),
        ({"x": 2**70}, {"x": 2**70 + 1}),
        ({"x": "\ud800"}, {"x": "\ud801"}),
    ],
)
def test_records_that_are_nearly_alike_are_mapped(
    store: MemoryStore, before: dict[str, Any], after: dict[str, Any]
) -> None:
    mapping = Counting()
    pipeline(listed({"id": "a", **before}), Upserts(), mapping).run(store)

    pipeline(listed({"id": "a", **after}), Upserts(), mapping).run(store)

    assert mapping.seen == ["a", "a"]


def test_a_record_that_is_more_than_plain_data_is_compared_once_mapped(store: MemoryStore) -> None:
    mapping, sink = Counting(), Upserts()
    source = listed({"id": "a", "x": Decimal("1.50")}, {"id": "b", "x": 1})
    pipeline(source, sink, mapping).run(store)

    report = pipeline(source, sink, mapping).run(store)

    assert report.counts == Counts(read=2, unchanged=2)
    assert mapping.seen == ["a", "b", "a"]


def test_a_version_belongs_to_what_is_compared(store: MemoryStore) -> None:
    mapping, sink = Counting(), Upserts()
    records = [{"id": "a"}, {"id": "b"}]
    for versions in (["1", None], ["1", None], ["2", ""]):
        batch = Batch(["a", "b"], records, versions=versions)
        report = pipeline(Pages(batch), sink, mapping).run(store)

    assert report.counts == Counts(read=2, unchanged=2)
    assert mapping.seen == ["a", "b", "a", "b"]
    assert store.look_up("test", [("a",)]).entries["a",].version == "2"


def test_a_record_that_is_deleted_is_not_the_same(store: MemoryStore) -> None:
    sink = Upserts()
    for deleted in ([False, False], [True, False]):
        batch = Batch(["a", "b"], [{"id": "a"}, {"id": "b"}], deleted=deleted)
        report = pipeline(Pages(batch, deletes=Deletes.FLAGGED), sink, plain).run(store)

    assert report.counts == Counts(read=2, deleted=1, unchanged=1)


def test_a_key_that_is_there_twice_ends_with_its_newest(store: MemoryStore) -> None:
    sink = Upserts()
    pipeline(listed({"id": "a", "x": 1}), sink, plain).run(store)

    report = pipeline(listed({"id": "a", "x": 1}, {"id": "a", "x": 2}), sink, plain).run(store)
    again = pipeline(listed({"id": "a", "x": 3}, {"id": "a", "x": 2}), sink, plain).run(store)

    assert report.counts == Counts(read=2, updated=1, superseded=1)
    assert again.counts == Counts(read=2, unchanged=1, superseded=1)
    assert sink.rows["a",]["x"] == 2


def test_a_letter_of_a_record_that_came_back_is_closed(store: MemoryStore) -> None:
    def mapping(record: Any) -> Any:
        if record["x"] == 2:
            raise MappingError("two")
        return record

    sink = Upserts()
    for x in (1, 2, 1):
        report = pipeline(listed({"id": "a", "x": x}), sink, mapping).run(store)

    assert report.counts == Counts(read=1, unchanged=1)
    assert [each.status for each in store.letters("test", status=None)] == [LetterStatus.SUPERSEDED]


def test_a_decoder_that_drops_a_record_breaks_its_contract(store: MemoryStore) -> None:
    report = pipeline(Raws("a1", "b1", short=True), Upserts()).run(store)

    assert report.result is Result.FAILED
    assert "decode returned 1 records for 2 raws" in str(report.reason)


# -- Wrong shapes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ([{"id": 1}], "of type list"),
        (Batch(["a", "b"], [{}]), "2 keys, but 1 records"),
        (Batch(["a"], [{}], versions=[1, 2]), "1 keys, but 2 versions"),
        (Batch(["a"]), "no records"),
        (Batch(["a"], raws=[b"x"]), "no records"),
    ],
)
def test_a_batch_of_the_wrong_shape_ends_the_run(
    store: MemoryStore, batch: Any, reason: str
) -> None:
    sink = Upserts()
    source = Pages(Batch.of([{"id": "first"}], key="id"), batch)

    report = pipeline(source, sink).run(store)

    assert report.result is Result.FAILED
    assert isinstance(report.error, errors.ContractError)
    assert reason in str(report.reason)
    assert ids(sink) == {"first"}


def test_a_mapper_that_drops_a_record_breaks_its_contract(store: MemoryStore) -> None:
    class Short:
        fields = ("x",)
        digest = "short"

        def map_batch(self, records: Any) -> Any:
            return [(1,)] * (len(records) - 1)

    source = Pages(Batch.of([{"id": 1}, {"id": 2}], key="id"))
    flow = Pipeline("test", source=source, mapping=Short(), sink=Upserts(), owner="x")

    report = flow.run(store)

    assert "1 results for 2 records" in str(report.reason)


def test_a_mapper_of_tuples_may_filter_refuse_and_leave_unset(store: MemoryStore) -> None:
    class Tuples:
        fields = ("b", "a")
        digest = "tuples"

        def map_batch(self, records: Any) -> Any:
            made = [FILTERED, MappingError("no"), (UNSET, 3)]
            return [made[record["id"]] for record in records]

    sink = Upserts()
    source = Pages(Batch.of([{"id": n} for n in range(3)], key="id"))
    flow = Pipeline("test", source=source, mapping=Tuples(), sink=sink, owner="x")

    assert flow.run(store).counts == Counts(read=3, created=1, filtered=1, dead=1)
    assert sink.rows == {("2",): {"a": 3}}
    assert flow.run(store).counts.unchanged == 1


# -- Sinks that fail -------------------------------------------------------------------


class Faulty(Upserts):
    """Raises on the calls that it is told to."""

    def __init__(self, faults: dict[int, Exception], **capabilities: Any) -> None:
        super().__init__(**capabilities)
        self.faults = faults
        self.calls = 0

    def write(self, changes: Changes) -> Any:
        self.calls += 1
        if self.calls in self.faults:
            raise self.faults[self.calls]
        return super().write(changes)


@pytest.mark.parametrize(
    "error",
    [
        NotSent("no route"),
        errors.UnavailableError("down"),
        errors.AuthenticationError("who?", remedy="Log in"),
        OSError("socket"),
    ],
)
def test_a_sink_that_is_down_makes_no_letters_and_keeps_the_cursor(
    store: MemoryStore, error: Exception
) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(6))), Faulty({2: error})
    flow = pipeline(source, sink)

    first = flow.run(store)
    cursor = store.load("test").cursor
    second = flow.run(store)

    assert first.result is Result.FAILED
    assert first.error is error
    assert first.counts == Counts(read=2, created=2)
    assert first.unsettled == 2
    assert cursor == Table.keyset.cursor(at(1), "r1")
    assert store.letters("test") == []
    assert second.counts == Counts(read=4, created=4)
    assert ids(sink) == {f"r{n}" for n in range(6)}


def test_a_limit_with_a_time_pauses_the_run(store: MemoryStore) -> None:
    sink = Faulty({1: errors.LimitedError("slower", retry_after=90.0)})

    report = pipeline(Table(row("a", 1)), sink).run(store)

    assert (report.result, report.exit_code) == (Result.PAUSED, 75)
    assert report.resume_at is not None
    assert timedelta(seconds=80) < report.resume_at - datetime.now(UTC) < timedelta(seconds=91)
    assert "resumes at" in str(report)


def test_what_was_written_before_the_failure_is_settled(store: MemoryStore) -> None:
    source = Table(*(row(f"r{n}", n) for n in range(4)), page=4)
    sink = Faulty({3: errors.UnavailableError("down")}, bulk=1)
    flow = pipeline(source, sink)

    first = flow.run(store)

    assert first.counts == Counts(read=2, created=2)
    assert first.unsettled == 2
    assert store.load("test").cursor is None
    assert flow.run(store).counts == Counts(read=4, created=2, unchanged=2)


def test_bulk_is_the_most_that_one_write_takes(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(7)), page=7), Upserts(bulk=3)

    pipeline(source, sink).run(store)

    assert [len(write) for write in sink.writes] == [3, 3, 1]
    assert [change.change_id for write in sink.writes for change in write] == list(range(7))


class Allergic(Upserts):
    """Refuses a write as a whole if one record of it is bad."""

    def __init__(self, **capabilities: Any) -> None:
        super().__init__()
        self.capabilities = SinkCapabilities(**{"deletes": True, **capabilities})
        self.requests = 0

    def write(self, changes: Changes) -> Any:
        self.requests += 1
        if any(change.record.get("bad") for change in changes):
            raise RejectedError("one is bad", code="400", detail="bob@example.com", path="bad")
        return super().write(changes)


@pytest.mark.parametrize("capabilities", [{"upsert": True}, {"atomic": True}])
@pytest.mark.parametrize("poison", range(8))
def test_a_refused_write_is_halved_until_the_culprit_is_found(
    store: MemoryStore, poison: int, capabilities: dict[str, bool]
) -> None:
    source = Table(*(row(f"r{n}", n, bad=n == poison) for n in range(8)), page=8)
    sink = Allergic(**capabilities)

    report = pipeline(source, sink).run(store)

    (letter,) = store.letters("test")
    assert report.counts == Counts(read=8, created=7, dead=1)
    assert (letter.key, letter.code) == ((f"r{poison}",), "400")
    assert letter.detail == "bob@example.com"
    assert sink.requests == 7


def test_a_refused_write_of_another_sink_fails_the_run(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1, bad=True), row("b", 2), page=2), Allergic()

    report = pipeline(source, sink).run(store)

    assert report.result is Result.FAILED
    assert report.reason == "bad: one is bad. " + errors.RecordError("x").remedy
    assert store.letters("test") == []


def test_an_unknown_outcome_of_an_upsert_fails_the_run_and_is_sent_again(
    store: MemoryStore,
) -> None:
    class Unsure(Upserts):
        def write(self, changes: Changes) -> Any:
            done = super().write(changes)
            return [Unknown(0), *done[1:]] if len(self.writes) == 1 else done

    source, sink = Table(row("a", 1), row("b", 2), row("c", 3)), Unsure()
    flow = pipeline(source, sink)

    first, second = flow.run(store), flow.run(store)

    assert first.reason == "whether 1 change took effect is unknown"
    assert first.counts == Counts(read=1, created=1)
    assert second.counts == Counts(read=3, created=2, unchanged=1)


def test_a_destination_that_says_what_is_new_is_believed(store: MemoryStore) -> None:
    class Knows(Upserts):
        def write(self, changes: Changes) -> Any:
            super().write(changes)
            return [Applied(change.change_id, created=False) for change in changes]

    assert pipeline(Table(row("a", 1)), Knows()).run(store).counts.updated == 1


def test_outcomes_may_be_none_at_all(store: MemoryStore) -> None:
    class Silent(Upserts):
        def write(self, changes: Changes) -> Any:
            return None

    report = pipeline(Table(row("a", 1)), Silent()).run(store)

    assert report.unsettled == 1


# -- Intents ---------------------------------------------------------------------------


class Doubtful(Creates):
    """Applies, and answers as told: ``unknown``, ``raise`` or nothing special."""

    def __init__(self, *answers: str, **capabilities: Any) -> None:
        super().__init__(**capabilities)
        self.answers = list(answers)

    def write(self, changes: Changes) -> Any:
        answer = self.answers.pop(0) if self.answers else ""
        if answer == "lost":
            raise errors.TimedOutError("no answer")
        done = super().write(changes)
        if answer == "raise":
            raise errors.TimedOutError("no answer")
        return [Unknown(x.change_id) for x in done] if answer == "unknown" else done


class Findable(Doubtful):
    """Can be searched by key."""

    def find(self, changes: Changes) -> Any:
        return [
            next((id for id, each in self.rows.items() if each["key"] == key), None)
            for key in changes.keys
        ]


class Resends(Remembers):
    """Remembers keys, and loses its first answers."""

    def __init__(self, *answers: str, **capabilities: Any) -> None:
        super().__init__(**capabilities)
        self.answers = list(answers)
        self.bodies: list[Any] = []

    def write(self, changes: Changes) -> Any:
        self.bodies += changes.bodies
        done = super().write(changes)
        if self.answers and self.answers.pop(0) == "raise":
            raise errors.TimedOutError("no answer")
        return done


def test_a_create_in_doubt_is_resent_with_its_key_and_body(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("b", 1)), Resends("raise")
    flow = pipeline(source, sink)

    first, second = flow.run(store), flow.run(store)

    assert first.result is Result.FAILED
    assert first.intents == 2
    assert second.counts == Counts(read=2, unchanged=2)
    assert len(sink.rows) == 2
    assert sink.bodies[:2] == sink.bodies[2:]
    assert None not in sink.bodies


def test_a_whole_refusal_of_a_sink_that_may_have_applied_some_leaves_doubt(
    store: MemoryStore,
) -> None:
    class Half(Findable):
        def write(self, changes: Changes) -> Any:
            super().write(changes)
            raise RejectedError("no")

    source, sink = Table(row("a", 1), row("b", 1)), Half()

    first = pipeline(source, sink).run(store)
    sink.write = partial(Findable.write, sink)  # type: ignore[method-assign]
    second = pipeline(source, sink).run(store)

    assert first.result is Result.FAILED
    assert first.intents == 2
    assert second.result is Result.SUCCESS
    assert len(sink.rows) == 2


def test_an_unknown_create_is_pending_and_resolved_first(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("b", 5)), Findable("unknown")
    flow = pipeline(source, sink)

    first = flow.run(store)
    second = flow.run(store)

    assert first.counts == Counts(read=2, pending=2)
    assert (first.result, first.intents) == (Result.PARTIAL, 2)
    assert first.reason == "2 writes in doubt"
    assert second.counts == Counts(resumed=2, created=2)
    assert len(sink.rows) == 2


def test_a_create_that_is_not_found_is_sent_under_the_same_note(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1)), Findable("lost")
    flow = pipeline(source, sink)
    flow.run(store)

    report = flow.run(store)

    assert report.counts == Counts(read=1, unchanged=1)
    assert len(sink.rows) == 1


def test_a_look_up_waits_for_its_lag(store: MemoryStore) -> None:
    source = Table(row("a", 1))
    sink = Findable("unknown", lookup_lag=timedelta(hours=1))
    flow = pipeline(source, sink)
    flow.run(store)

    report = flow.run(store)

    assert report.counts == Counts(resumed=1, pending=1)
    assert report.result is Result.PARTIAL
    assert "Run again" in str(report.remedy)


def test_a_look_up_that_answers_for_fewer_breaks_its_contract(store: MemoryStore) -> None:
    class Short(Findable):
        def find(self, changes: Changes) -> Any:
            return []

    flow = pipeline(Table(row("a", 1)), Short("unknown"))
    flow.run(store)

    assert "0 answers for 1 changes" in str(flow.run(store).reason)


def test_a_create_that_nobody_can_tell_about_goes_to_a_person(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1, x=1)), Doubtful("unknown")
    flow = pipeline(source, sink)
    flow.run(store)

    second = flow.run(store)
    alone = flow.replay(store)
    (letter,) = store.letters("test")
    found = flow.replay(store, found={("a",): "d1"})

    assert second.counts == Counts(resumed=1, dead=1)
    assert letter.code == "ambiguous"
    assert "ambiguous" in alone.warnings[0]
    assert found.counts == Counts(resumed=1, updated=1)
    assert list(sink.rows) == ["d1"]
    assert store.letters("test") == []


def test_a_person_may_say_that_it_is_not_there(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1)), Doubtful("lost")
    flow = pipeline(source, sink)
    flow.run(store)
    flow.run(store)

    report = flow.replay(store, found={("a",): None, ("other",): "x"})

    assert report.counts == Counts(resumed=1, created=1)
    assert len(sink.rows) == 1


def test_a_crash_of_a_blind_create_is_not_repeated_when_the_record_is_read_again(
    store: MemoryStore,
) -> None:
    source, sink = Table(row("a", 1)), Doubtful("raise")
    flow = pipeline(source, sink)
    flow.run(store)

    second = flow.run(store)

    assert second.counts == Counts(read=1, dead=1)
    assert len(sink.rows) == 1
    (letter,) = store.letters("test")
    assert letter.original is not None


def test_a_key_past_half_its_life_is_not_sent_again(store: MemoryStore) -> None:
    class Old(Resends):
        def find(self, changes: Changes) -> Any:
            return [None for _ in changes]

    source = Table(row("a", 1))
    sink = Old("raise", key_lifetime=timedelta(0))
    flow = pipeline(source, sink)
    flow.run(store)
    (before,) = store.intents("test", 9)

    flow.run(store)

    keys = list(sink.keys)
    assert len(keys) == 2
    assert before.idempotency_key == keys[0]


def test_changes_of_a_record_in_doubt_follow_it(store: MemoryStore) -> None:
    source = Table(row("a", 1, x=1), row("b", 1, x=1), row("c", 1, x=1), page=9)
    sink = Findable("unknown", lookup_lag=timedelta(hours=1))
    flow = pipeline(source, sink)
    flow.run(store)
    source.put(**row("a", 2, v=2, x=2))
    source.put(**row("b", 2, v=2, x=1))
    source.put(**row("c", 2, v=2, gone=True))
    second = flow.run(store)
    source.put(**row("a", 3, v=3, x=3))
    third = flow.run(store)
    sink.capabilities = SinkCapabilities(deletes=True)
    fourth = pipeline(source, sink).run(store)

    assert second.counts == Counts(resumed=3, read=3, unchanged=1, pending=5)
    assert third.counts == Counts(resumed=5, read=1, superseded=1, pending=5)
    assert fourth.counts == Counts(resumed=5, created=3, updated=1, deleted=1)
    assert {each["key"]: each["x"] for each in sink.rows.values()} == {("a",): 3, ("b",): 1}


def test_an_older_change_of_a_record_in_doubt_is_stale(store: MemoryStore) -> None:
    old, new = ([{"id": "a", "v": v}] for v in (1, 2))
    pages = [Batch.of(new, key="id", version="v"), Batch.of(old, key="id", version="v")]
    sink = Findable("unknown", lookup_lag=timedelta(hours=1))

    report = pipeline(Pages(*pages, version=INTEGER), sink).run(store)

    assert report.counts == Counts(read=2, stale=1, pending=1)


def test_an_uncounted_note_becomes_counted_when_its_record_is_read_again(
    store: MemoryStore,
) -> None:
    source = Table(row("a", 1, x=1))
    sink = Findable("raise", lookup_lag=timedelta(hours=1))
    flow = pipeline(source, sink)
    flow.run(store)

    second = flow.run(store)

    assert second.counts == Counts(read=1, pending=1)
    assert [note.counted for note in store.intents("test", 9)] == [True]


def test_an_ambiguous_create_with_a_successor_is_one_letter(store: MemoryStore) -> None:
    source = Table(row("a", 1, x=1))
    waits = Findable("unknown", lookup_lag=timedelta(hours=1))
    pipeline(source, waits).run(store)
    source.put(**row("a", 2, v=2, x=2))
    pipeline(source, waits).run(store)
    blind = Creates()
    blind.rows = waits.rows

    report = pipeline(source, blind).run(store)

    (letter,) = store.letters("test")
    assert report.counts == Counts(resumed=2, superseded=1, dead=1)
    assert '"x":2' in str(letter.original)


def test_a_rejected_create_with_a_successor_gives_way_to_it(store: MemoryStore) -> None:
    class Late(Findable):
        def find(self, changes: Changes) -> Any:
            return [None for _ in changes]

        def write(self, changes: Changes) -> Any:
            if any(change.record.get("x") == 1 for change in changes) and not self.answers:
                return [Rejected(change.change_id) for change in changes]
            return super().write(changes)

    source = Table(row("a", 1, x=1))
    waits = Late("lost", lookup_lag=timedelta(hours=1))
    waits.answers = ["unknown"]
    original = Creates.apply
    waits.apply = lambda change: Unknown(change.change_id)  # type: ignore[method-assign]
    pipeline(source, waits).run(store)
    source.put(**row("a", 2, v=2, x=2))
    pipeline(source, waits).run(store)
    del waits.apply  # type: ignore[method-assign]
    waits.capabilities = SinkCapabilities(deletes=True)

    report = pipeline(source, waits).run(store)

    assert original is Creates.apply
    assert report.counts == Counts(resumed=2, created=1, dead=1)
    assert [each["x"] for each in waits.rows.values()] == [2]


def test_an_update_or_delete_in_doubt_is_pending_and_sent_again(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1, x=1), row("b", 1), page=9), Findable("", "unknown")
    flow = pipeline(source, sink)
    flow.run(store)
    source.put(**row("a", 2, v=2, x=2))
    source.put(**row("b", 2, v=2, gone=True))

    second, notes = flow.run(store), list(store.intents("test", 9))
    sent: list[Any] = []
    write = sink.write
    sink.write = lambda changes: sent.extend(changes.rows) or write(changes)  # type: ignore[method-assign]
    third = flow.run(store)

    assert second.counts == Counts(read=2, pending=2)
    assert third.counts == Counts(resumed=2, updated=1, deleted=1)
    assert [each["x"] for each in sink.rows.values()] == [2]
    assert len(notes) == 2
    assert all(note.original and f'"id":"{note.key[0]}"' in note.original for note in notes)
    assert () in sent


def test_a_sink_that_is_still_down_leaves_notes_as_they_are(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1), row("b", 1)), Findable("unknown", "lost", bulk=1)
    flow = pipeline(source, sink)
    sink.answers = ["unknown", "unknown", "", "lost"]
    flow.run(store)

    second = flow.run(store)
    third = flow.run(store)

    assert second.result is Result.FAILED
    assert second.counts == Counts(resumed=1, created=1)
    assert third.counts == Counts(resumed=1, created=1)


def test_a_note_that_stays_unknown_stays_pending(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1)), Findable("unknown", "unknown")
    flow = pipeline(source, sink)

    first, second, third = flow.run(store), flow.run(store), flow.run(store)

    assert first.counts == Counts(read=1, pending=1)
    assert second.counts == Counts(resumed=1, pending=1)
    assert third.counts == Counts(resumed=1, created=1)


def test_what_cannot_be_rendered_is_a_letter_and_the_rest_is_sent(store: MemoryStore) -> None:
    class Picky(Remembers):
        def render(self, change: Any) -> bytes:
            if change.key == ("b",):
                raise errors.RecordError("no body for it", path="x", code=None)
            return super().render(change)

        def write(self, changes: Any) -> Any:
            assert len(changes), "there is nothing to write"
            return super().write(changes)

    source, sink = Table(row("a", 1), row("b", 2), page=2), Picky()

    report = pipeline(source, sink).run(store)
    alone = pipeline(Table(row("b", 1)), Picky()).run(MemoryStore())

    assert report.counts == Counts(read=2, created=1, dead=1)
    assert alone.counts == Counts(read=1, dead=1)
    assert alone.result is Result.PARTIAL
    assert store.letters("test")[0].code == "rejected"


def test_a_write_that_was_not_sent_leaves_no_note(store: MemoryStore) -> None:
    class Offline(Creates):
        def write(self, changes: Changes) -> Any:
            raise NotSent("no route")

    pipeline(Table(row("a", 1)), Offline()).run(store)

    assert store.intents("test", 9) == []


# -- Cursors, limits, hints ------------------------------------------------------------


def test_a_limit_cuts_the_batch_and_the_cursor_does_not_pass_it(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(6)), page=4), Upserts()
    flow = pipeline(source, sink)

    first = flow.run(store, limit=3)
    whole = flow.run(store, limit=4)

    assert first.counts == Counts(read=3, created=3)
    assert first.result is Result.SUCCESS
    assert whole.counts == Counts(read=4, created=1, unchanged=3)
    assert store.load("test").cursor == Table.keyset.cursor(at(3), "r3")


def test_a_source_without_an_order_is_remembered_at_its_end_only(store: MemoryStore) -> None:
    pages = [("c", 3), ("a", 1), ("b", 2)]
    keyset = Table.keyset
    batches = [Batch.of([{"id": id}], key="id", after=keyset.cursor(at(n), id)) for id, n in pages]
    source = Pages(*batches, cursor=keyset, ordered=False)
    seen = []

    pipeline(source, Upserts()).run(
        store, progress=lambda report: seen.append(store.load("test").cursor)
    )

    assert seen[:-1] == [None] * (len(seen) - 1)
    assert seen[-1] == keyset.cursor(at(3), "c")


def test_an_unordered_source_of_tokens_keeps_its_last(store: MemoryStore) -> None:
    batches = [Batch.of([{"id": t}], key="id", after=t) for t in ("2", "1")]
    batches.append(Batch.of([{"id": "x"}], key="id"))

    pipeline(Pages(*batches, cursor=Token(), ordered=False), Upserts()).run(store)

    assert store.load("test").cursor == "1"


def test_a_version_on_the_cursors_field_shows_the_order(store: MemoryStore) -> None:
    cursor = Watermark("ts", lateness=timedelta(0))
    batches = [
        Batch.of([{"id": n, "ts": at(n)}], key="id", version="ts", after=at(9)) for n in (5, 2)
    ]

    report = pipeline(Pages(*batches, cursor=cursor, version=INSTANT("ts")), Upserts()).run(store)

    assert "declared order" in report.warnings[0]
    assert store.load("test").disordered


def test_a_source_once_seen_out_of_order_is_not_trusted_again(store: MemoryStore) -> None:
    cursor = Watermark("ts", lateness=timedelta(0))
    after = [at(5), at(2)]
    batches = [Batch.of([{"id": n}], key="id", after=place) for n, place in enumerate(after)]
    flow = pipeline(Pages(*batches, cursor=cursor), Upserts())
    flow.run(store)

    second = flow.run(store)

    assert store.load("test").cursor == at(5)
    assert second.warnings == []


def test_a_token_with_a_lateness_waits_for_its_watermark(store: MemoryStore) -> None:
    def page(token: str, mark: datetime | None) -> Batch:
        return Batch.of([{"id": token}], key="id", after=token, watermark=mark)

    late = timedelta(minutes=5)
    cursor = Token(lateness=late)
    clock = NOON + timedelta(hours=1)
    source = Pages(
        page("1", clock - 2 * late), page("2", clock - late), page("3", clock), cursor=cursor
    )
    source.clock = lambda: clock  # type: ignore[attr-defined]

    pipeline(source, Upserts()).run(store)

    assert store.load("test").cursor == "1"
    bare = Pages(page("4", None), cursor=cursor)
    bare.clock = lambda: clock  # type: ignore[attr-defined]
    assert "without a watermark" in str(pipeline(bare, Upserts()).run(MemoryStore()).reason)


@pytest.mark.parametrize("clock", [datetime(2026, 1, 1), "noon", None])
def test_a_clock_without_a_zone_breaks_its_contract(store: MemoryStore, clock: Any) -> None:
    source = Table(row("a", 1), cursor=Keyset("ts", "id", lateness=timedelta(1)))
    source.clock = lambda: clock  # type: ignore[method-assign]

    assert "clock() returned" in str(pipeline(source, Upserts()).run(store).reason)


class Hinted(Pages):
    """A window without an order, read by page tokens that go stale."""

    def __init__(self, stale: bool = False) -> None:
        super().__init__(
            cursor=Keyset("ts", "id", lateness=timedelta(seconds=1)), ordered=False, hints=True
        )
        self.stale = stale
        self.down = True
        self.asked: list[Any] = []

    def clock(self) -> datetime:
        return NOON + timedelta(hours=len(self.asked))

    def read(self, after: str | None, *, hint: str | None = None) -> Iterator[Batch]:
        self.asked.append((after, hint))
        if hint is not None and self.stale:
            raise errors.ContractError("that token has expired", remedy="Start again")
        start = 0 if hint is None else int(hint)
        for page in range(start, 3):
            if page == 2 and self.down:
                self.down = False
                raise errors.UnavailableError("down")
            last = self.capabilities.cursor.cursor(at(7200), "x")  # type: ignore[union-attr]
            yield Batch.of([{"id": f"r{page}"}], key="id", after=last, hint=str(page + 1))


def test_a_hint_takes_up_the_window_where_it_was_left(store: MemoryStore) -> None:
    source, sink = Hinted(), Upserts()
    flow = pipeline(source, sink)

    flow.run(store)
    kept = store.load("test")
    report = flow.run(store)

    assert (kept.cursor, kept.hint, kept.hint_after) == (None, "2", None)
    assert kept.hint_clock == NOON + timedelta(hours=1)
    assert source.asked == [(None, None), (None, "2")]
    assert report.counts == Counts(read=1, created=1)
    # The clock of the window, not that of the second run, caps the cursor.
    ended = store.load("test")
    assert ended.cursor is not None
    assert Table.keyset.split(ended.cursor) == (at(3599), None)
    assert (ended.hint, ended.hint_after, ended.hint_clock) == (None, None, None)


def test_a_stale_hint_is_tried_once(store: MemoryStore) -> None:
    source, sink = Hinted(stale=True), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)

    report = flow.run(store)

    assert source.asked == [(None, None), (None, "2"), (None, None)]
    assert report.counts == Counts(read=3, created=1, unchanged=2)
    assert report.result is Result.SUCCESS


def test_hints_of_a_source_that_no_longer_declares_them_are_ignored(store: MemoryStore) -> None:
    source, sink = Hinted(), Upserts()
    pipeline(source, sink).run(store)
    plain_source = Table(row("a", 1))

    assert pipeline(plain_source, sink).run(store).result is Result.SUCCESS


def test_empty_batches_that_move_the_cursor_are_believed(store: MemoryStore) -> None:
    batches = [Batch([], [], after=str(n)) for n in range(300)]

    report = pipeline(Pages(*batches, cursor=Token()), Upserts()).run(store)

    assert report.result is Result.SUCCESS
    assert store.load("test").cursor == "299"


def test_pages_seen_long_ago_are_forgotten(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SEEN_PAGES", 2)
    batches = [Batch.of([{"id": n % 3}], key="id") for n in range(6)]

    assert pipeline(Pages(*batches), Upserts()).run(store).counts.read == 6


# -- Commits ---------------------------------------------------------------------------


def test_a_share_is_of_what_was_read_and_no_more(store: MemoryStore) -> None:
    sink = Upserts()
    sink.refuses = lambda change: change.key == ("b",)
    half = Tolerance(0, 0.5)

    one = pipeline(listed({"id": "b"}), sink, tolerance=half).run(MemoryStore())
    both = pipeline(listed({"id": "a"}, {"id": "b"}), sink, tolerance=half).run(MemoryStore())

    assert one.result is Result.FAILED
    assert "1 of 1 records" in str(one.reason)
    assert both.result is Result.PARTIAL


def test_a_batch_without_a_resume_point_leaves_the_cursor(store: MemoryStore) -> None:
    keyset = Keyset("ts", "id", lateness=timedelta(0))
    ends = keyset.cursor("2026-03-01T12:00:00Z", "b")
    source = Pages(
        Batch(["a"], [{"id": "a"}]), Batch(["b"], [{"id": "b"}], after=ends), cursor=keyset
    )
    seen: list[str | None] = []

    report = pipeline(source, Upserts()).run(
        store, progress=lambda _: seen.append(store.load("test").cursor)
    )

    assert report.counts == Counts(read=2, created=2)
    assert seen[:2] == [None, ends]


def test_batches_without_an_effect_share_a_commit(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(8))), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    before = store.load("test").seq
    flow.run(store, backfill=True)

    assert store.load("test").seq - before == 1


def test_the_reasons_of_batches_that_share_a_commit_are_told(store: MemoryStore) -> None:
    def mapping(record: Any) -> Any:
        raise MappingError("no")

    source = Table(*(row(f"r{n}", n) for n in range(8)))
    flow = pipeline(source, Upserts(), mapping)
    first = flow.run(store)
    before = store.load("test").seq

    again = flow.run(store, backfill=True)

    assert store.load("test").seq - before == 1
    assert again.refusals == first.refusals
    assert set(again.refusals.values()) == {8}


def test_a_source_that_acknowledges_is_asked_only_after_the_commit(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(8)), acknowledges=True), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    before = store.load("test").seq
    flow.run(store, backfill=True)

    assert store.load("test").seq - before == 4


def test_deferred_commits_wait_at_most_their_time(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(8))), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    before = store.load("test").seq
    monkeypatch.setattr(engine, "DEFERRAL", 0.0)
    flow.run(store, backfill=True)

    assert store.load("test").seq - before == 4


def test_the_lease_is_renewed_between_batches(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEASE_TTL", timedelta(0))
    renewed = []
    monkeypatch.setattr(store, "renew", lambda lease, ttl: renewed.append(lease.token))

    pipeline(Table(row("a", 1)), Upserts()).run(store)

    assert renewed


def test_a_run_that_was_taken_over_ends_as_fenced(store: MemoryStore) -> None:
    class Slow(Upserts):
        def write(self, changes: Changes) -> Any:
            clock.moment += timedelta(minutes=2)
            assert store.acquire("test", "other", timedelta(minutes=1)) is not None
            return super().write(changes)

    clock = Clock()
    store = MemoryStore(clock=clock)

    report = pipeline(Table(row("a", 1)), Slow()).run(store)

    assert report.result is Result.FAILED
    assert isinstance(report.error, errors.FencedError)
    assert store.load("test").seq == 0


def test_a_second_run_is_skipped(store: MemoryStore) -> None:
    lease = store.acquire("test", "other", timedelta(minutes=1))
    assert lease is not None

    report = pipeline(Table(row("a", 1)), Upserts()).run(store)

    assert (report.result, report.exit_code) == (Result.SKIPPED, 0)


def test_after_a_crash_the_batch_comes_in_smaller_parts(store: MemoryStore) -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    for crash in range(2):
        assert store.acquire("test", f"crashed {crash}", timedelta(minutes=1)) is not None
        clock.moment += timedelta(minutes=2)
    source, sink = Table(*(row(f"r{n}", n) for n in range(10)), page=8), Upserts()

    report = pipeline(source, sink).run(store)

    assert [len(write) for write in sink.writes] == [2, 2, 2, 2, 2]
    assert report.counts == Counts(read=10, created=10)


def test_an_empty_first_batch_after_a_crash_is_settled(store: MemoryStore) -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    assert store.acquire("test", "crashed", timedelta(minutes=1)) is not None
    clock.moment += timedelta(minutes=2)

    report = pipeline(Pages(Batch([], [], after="1"), cursor=Token()), Upserts()).run(store)

    assert report.result is Result.SUCCESS
    assert store.load("test").cursor == "1"


def test_a_lease_that_cannot_be_released_is_a_warning(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise errors.CheckpointError("gone", remedy="Look")

    monkeypatch.setattr(store, "release", refuse)
    monkeypatch.setattr(store, "totals", refuse)

    report = pipeline(Table(row("a", 1)), Upserts()).run(store)

    assert report.result is Result.SUCCESS
    assert len(report.warnings) == 2


def test_a_store_that_cannot_be_reached_fails_the_run(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise errors.CheckpointError("locked", remedy="Wait")

    monkeypatch.setattr(store, "acquire", refuse)

    report = pipeline(Table(row("a", 1)), Upserts()).run(store)

    assert (report.result, report.reason, report.remedy) == (Result.FAILED, "locked", "Wait")
    assert report.finished_at is not None


def test_what_breaks_the_law_stops_the_run(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(*args: Any, **kwargs: Any) -> Any:
        done = settle(*args, **kwargs)
        done.counts.created = 0
        return done

    settle = engine.settle
    monkeypatch.setattr(engine, "settle", lossy)

    report = pipeline(Table(row("a", 1)), Upserts()).run(store)

    assert "conservation law" in str(report.reason)
    assert store.load("test").seq == 0


def test_a_generator_that_raises_when_closed_is_a_warning(store: MemoryStore) -> None:
    class Bitter(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            try:
                yield from super().read(after)
            except GeneratorExit:
                raise OSError("will not close") from None

    report = pipeline(Bitter(*(row(f"r{n}", n) for n in range(4))), Upserts()).run(store, limit=1)

    assert report.result is Result.SUCCESS
    assert "when it was closed" in report.warnings[0]


def test_a_stop_ends_the_run_after_the_batch_at_hand(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(8))), Upserts()
    flow = pipeline(source, sink)

    report = flow.run(store, progress=lambda _: flow.stop())

    assert (report.result, report.exit_code) == (Result.STOPPED, 3)
    assert report.counts == Counts(read=2, created=2)
    assert flow.run(store).counts == Counts(read=6, created=6)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_let_through_and_the_lease_released(
    store: MemoryStore, interrupt: type[BaseException]
) -> None:
    class Interrupted(Upserts):
        def write(self, changes: Changes) -> Any:
            raise interrupt

    watcher = Watcher()
    flow = pipeline(Table(row("a", 1)), Interrupted(), observers=[watcher])

    with pytest.raises(interrupt):
        flow.run(store)

    assert store.acquire("test", "next", timedelta(minutes=1)) is not None
    assert watcher.finished == [Result.FAILED]


# -- Guards, observers, plan -----------------------------------------------------------


def test_a_mass_delete_stops_and_asks(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n}", n) for n in range(10)), page=10), Upserts()
    flow = pipeline(source, sink, max_deletes=Tolerance(2, 0.5))
    flow.run(store)
    for n in range(6):
        source.put(**row(f"r{n}", 20 + n, v=2, gone=True))

    first = flow.run(store)
    assert "would delete 6 of 10" in str(first.reason)
    assert len(sink.rows) == 10

    assert flow.run(store, allow_deletes=True).counts.deleted == 6
    assert len(sink.rows) == 4


class Watcher:
    """Notes what it is told, and is itself broken if asked."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.progress: list[int] = []
        self.finished: list[Result] = []

    def on_progress(self, report: RunReport) -> None:
        self.progress.append(report.counts.read)
        if self.broken:
            raise RuntimeError("s3cret")

    def on_finish(self, report: RunReport) -> None:
        self.finished.append(report.result)
        if self.broken:
            raise RuntimeError("s3cret")


def test_observers_are_told_and_never_stop_a_run(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    watchers = [Watcher(), Watcher(broken=True)]
    source = Table(*(row(f"r{n}", n) for n in range(3)))

    with caplog.at_level(logging.ERROR):
        report = pipeline(source, Upserts(), observers=watchers).run(store)

    assert report.result is Result.SUCCESS
    assert [each.progress for each in watchers] == [[2, 3]] * 2
    assert [each.finished for each in watchers] == [[Result.SUCCESS]] * 2
    assert "RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_plan_says_what_a_run_would_do_and_does_nothing(store: MemoryStore) -> None:
    source, sink = Table(*(row(f"r{n:03}", n) for n in range(60)), row("bad", 61)), Upserts()
    watcher = Watcher()
    flow = pipeline(source, sink, bad, observers=[watcher])

    preview = flow.plan(store)

    assert preview.numbers == {Op.CREATE: 60, Op.UPDATE: 0, Op.DELETE: 0}
    assert preview.counts == Counts(read=61, dead=1)
    assert preview.complete
    assert "and 10 more" in str(preview)
    assert "refused 1" in str(preview)
    assert sink.rows == {}
    assert store.load("test").seq == 0
    assert store.acquire("test", "x", timedelta(minutes=1)) is not None
    assert watcher.finished == []


def test_a_plan_keeps_the_first_thousand_changes(store: MemoryStore) -> None:
    source = Pages(Batch.of([{"id": n} for n in range(1500)], key="id"))

    preview = pipeline(source, Upserts()).plan(store)

    assert len(preview.changes) == 1000
    assert preview.numbers[Op.CREATE] == 1500


def test_a_plan_after_a_change_of_the_mapping_says_so(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1)), Upserts()
    pipeline(source, sink).run(store)

    preview = pipeline(source, sink, mapping_version="2").plan(store, limit=5)

    assert "backfill due" in str(preview)


def test_a_plan_that_cannot_be_made_raises_why(store: MemoryStore) -> None:
    source = Table(row("a", 1))
    source.read = lambda after: iter([7])  # type: ignore[assignment,method-assign,return-value]

    with pytest.raises(errors.ContractError):
        pipeline(source, Upserts()).plan(store)


def test_a_plan_that_was_stopped_says_that_it_is_not_complete(store: MemoryStore) -> None:
    source = Table(*(row(f"r{n}", n) for n in range(8)))
    flow = pipeline(source, Upserts(), lambda r: flow.stop() or plain(r))

    preview = flow.plan(store)

    assert not preview.complete
    assert "not read to its end" in str(preview)


def test_a_change_of_the_sources_declaration_is_reported(store: MemoryStore) -> None:
    pipeline(Table(row("a", 1)), Upserts()).run(store)
    changed = Table(row("a", 1), version=INSTANT("v"))

    report = pipeline(changed, Upserts()).run(store)

    assert "the source has changed" in report.warnings[0]


def test_a_listing_maps_everything_anyway_and_needs_no_backfill(store: MemoryStore) -> None:
    source, sink = Pages(Batch.of([{"id": 1}], key="id")), Upserts()
    pipeline(source, sink).run(store)

    report = pipeline(source, sink, lambda r: {"n": 2}, mapping_version="2").run(store)

    assert (report.warnings, report.counts.updated) == ([], 1)
    assert store.load("test").mapping == "callable:2"


# -- Replay ----------------------------------------------------------------------------


def test_replay_delivers_with_todays_mapping(store: MemoryStore) -> None:
    source, sink = Table(row("bad", 1, x=Decimal("1.10"), when=NOON), row("b", 2)), Upserts()
    pipeline(source, sink, bad).run(store)

    report = pipeline(source, sink, mapping_version="2").replay(store)

    assert report.counts == Counts(resumed=1, created=1)
    assert report.mode == "replay"
    assert report.warnings == []
    assert sink.rows[("bad",)] == {"id": "bad", "x": Decimal("1.10"), "when": NOON}
    assert [x.status for x in store.letters("test", status=None)] == [LetterStatus.REPLAYED]


def test_a_letter_tells_its_run_and_its_commit(store: MemoryStore) -> None:
    report = pipeline(Table(row("bad", 1), row("b", 2)), Upserts(), bad).run(store)

    (letter,) = store.letters("test")
    assert (letter.run_id, letter.seq) == (report.run_id, store.load("test").seq)


def test_a_page_that_comes_again_is_noticed_among_the_last(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pages(*names: str) -> Any:
        return Pages(*(Batch.of([{"id": name}], key="id") for name in names))

    monkeypatch.setattr(engine, "SEEN_PAGES", 2)

    noticed = pipeline(pages("a", "b", "a"), Upserts()).run(store)
    passed_over = pipeline(pages("a", "b", "c", "a"), Upserts()).run(MemoryStore())

    assert "same page twice" in str(noticed.reason)
    assert passed_over.result is Result.SUCCESS


def test_a_letter_that_is_refused_again_stays_open(store: MemoryStore) -> None:
    flow = pipeline(Table(row("bad", 1)), Upserts(), bad)
    flow.run(store)

    report = flow.replay(store)

    assert report.counts == Counts(resumed=1, dead=1)
    assert len(store.letters("test")) == 1


def test_a_letter_of_an_older_version_is_superseded(store: MemoryStore) -> None:
    source, sink = Table(row("bad", 1, v=1)), Upserts()
    pipeline(source, sink, bad).run(store)
    lease = store.acquire("test", "x", timedelta(minutes=1))
    assert lease is not None
    from syncsdk.protocols import Entry

    at_ = attrs.evolve(store.load("test"), seq=store.load("test").seq + 1, run_id="x")
    newer = {("bad",): Entry(None, "2", b"f" * 16)}
    store.commit(lease, Commit("test", at_, entries=newer))
    store.release(lease, "{}")

    report = pipeline(source, sink, mapping_version="2").replay(store)

    assert report.counts == Counts(resumed=1, stale=1)
    assert sink.rows == {}
    assert [x.status for x in store.letters("test", status=None)] == [LetterStatus.SUPERSEDED]


def test_an_older_event_read_again_does_not_close_a_newer_letter(store: MemoryStore) -> None:
    def page(v: int) -> Batch:
        return Batch.of([{"id": "a", "v": v}], key="id", version="v", after=str(v))

    def no_threes(record: dict[str, Any]) -> dict[str, Any]:
        if record["v"] == 3:
            raise MappingError("no threes")
        return {"v": record["v"]}

    source = Pages(page(1), page(3), cursor=Token(), version=INTEGER)
    flow = pipeline(source, Upserts(), no_threes)
    flow.run(store)

    flow.run(store, backfill=True)

    assert [letter.version for letter in store.letters("test")] == ["3"]


def test_replay_asks_the_source_first(store: MemoryStore) -> None:
    source, sink = Table(row("bad", 1, x=1), row("bad2", 1, x=1), row("bad3", 2, x=1)), Upserts()
    pipeline(source, sink, bad, tolerance=Tolerance(9, 1.0)).run(store)

    def fetch(keys: Any) -> Batch:
        return Batch(
            ["bad", "bad2", None],
            [{"id": "bad", "x": 2}, {}, {}],
            versions=[7, 7, 7],
            deleted=[False, True, False],
        )

    source.fetch = fetch  # type: ignore[attr-defined]

    report = pipeline(source, sink, mapping_version="2").replay(store)

    assert report.counts == Counts(resumed=3, created=2, deleted=1)
    assert sink.rows == {("bad",): {"id": "bad", "x": 2}, ("bad3",): {"id": "bad3", "x": 1}}


def test_replay_leaves_letters_without_a_key_alone(store: MemoryStore) -> None:
    flow = pipeline(Pages(Batch([None], [{"x": 1}])), Upserts())
    flow.run(store)

    report = flow.replay(store)

    assert report.counts == Counts()
    assert "1 dead letters were left alone" in report.warnings[0]


def test_a_refused_delete_is_replayed_as_a_delete(store: MemoryStore) -> None:
    source, sink = Table(row("a", 1)), Upserts()
    flow = pipeline(source, sink)
    flow.run(store)
    source.put(**row("a", 2, v=2, gone=True))
    sink.refuses = lambda change: True
    flow.run(store)
    sink.refuses = lambda change: False

    report = flow.replay(store)

    assert report.counts == Counts(resumed=1, deleted=1)
    assert sink.rows == {}


def test_a_refused_delete_of_what_is_no_data_is_replayed(store: MemoryStore) -> None:
    sink, source = Upserts(), Pages(Batch(["a"], [object()], deleted=[True]))
    source.capabilities = SourceCapabilities(Listing(), deletes=Deletes.FLAGGED)
    sink.refuses = lambda change: True
    flow = pipeline(source, sink)
    flow.run(store)
    sink.refuses = lambda change: False

    report = flow.replay(store)

    assert report.counts == Counts(resumed=1, deleted=1)


def test_replay_can_be_stopped(store: MemoryStore) -> None:
    source, sink = Table(row("bad", 1)), Upserts()
    pipeline(source, sink, bad).run(store)
    flow = pipeline(source, sink, mapping_version="2", observers=[])
    flow._flow.rules.mapper._function = lambda r: flow.stop() or plain(r)  # type: ignore[attr-defined]

    assert flow.replay(store).counts.resumed == 1


# -- Building --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "sink", "word"),
    [
        (Pages(cursor=Watermark("t", lateness=timedelta(1))), Upserts(), "clock()"),
        (Pages(deletes=Deletes.FLAGGED), Allergic(deletes=False), "cannot delete"),
        (Pages(), Creates(idempotency_key=True), "render"),
        (Pages(acknowledges=True, reads_ahead=True), Upserts(), "acknowledges"),
        (Pages(), Upserts(bulk=0), "bulk="),
    ],
)
def test_parts_that_would_lose_or_double_records_are_refused(
    source: Any, sink: Any, word: str
) -> None:
    with pytest.raises(errors.ConfigurationError, match=word.replace("(", r"\(").replace(")", "")):
        pipeline(source, sink)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_a_pipelines_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="name"):
        Pipeline(
            name, source=Pages(), sink=Upserts(), mapping=plain, mapping_version="1", owner="x"
        )


def test_a_plain_callable_needs_a_version_and_a_mapper_must_not_have_one() -> None:
    class Mapper:
        fields = ("x",)
        digest = "x"

        def map_batch(self, records: Any) -> Any:
            return records

    async def waits(record: Any) -> Any:
        return record

    for mapping, version in ((plain, None), (Mapper(), "1"), (waits, "1")):
        with pytest.raises(errors.ConfigurationError):
            Pipeline(
                "x",
                source=Pages(),
                sink=Upserts(),
                mapping=mapping,
                mapping_version=version,
                owner="x",
            )


def test_a_limit_below_one_is_refused(store: MemoryStore) -> None:
    with pytest.raises(errors.ConfigurationError, match="limit="):
        pipeline(Pages(), Upserts()).run(store, limit=0)


def test_a_pipeline_shows_its_name_and_owner() -> None:
    flow = pipeline(Pages(), Upserts(), owner=Owner("Team", contacts=["team@example.com"]))

    assert repr(flow) == "Pipeline('test')"
    assert flow.owner.contacts == ("team@example.com",)


# -- upsert ----------------------------------------------------------------------------


def test_records_at_hand_are_written_once_each(store: MemoryStore) -> None:
    sink = Upserts()
    records = [{"id": n, "x": n} for n in range(5)]

    first = upsert(sink, iter(records), key="id", store=store, batch=2)
    second = upsert(sink, records, key=["id"], store=store, batch=5)
    without = upsert(sink, records, key="id")

    assert first.counts == Counts(read=5, created=5)
    assert second.counts == Counts(read=5, unchanged=5)
    assert without.counts == Counts(read=5, created=5)
    assert sink.rows[("4",)] == {"id": 4, "x": 4}


def test_a_key_of_text_that_cannot_be_stored_is_refused_among_texts(store: MemoryStore) -> None:
    report = pipeline(Pages(Batch(["a", "\ud800"], [{}, {}])), Upserts()).run(store)

    assert report.counts == Counts(read=2, created=1, dead=1)


def test_a_key_may_have_several_fields(store: MemoryStore) -> None:
    sink = Upserts()

    upsert(sink, [{"a": 1, "b": "x"}], key=["a", "b"])

    assert list(sink.rows) == [("1", "x")]


def test_a_position_that_cannot_be_read_is_no_disorder(store: MemoryStore) -> None:
    cursor = Watermark("ts", lateness=timedelta(0))
    records = [{"id": 1, "ts": "soon"}, {"id": 2, "ts": at(2)}]
    batch = Batch.of(records, key="id", version="ts", after=at(2))
    known = MappingError("not a time")
    second = Batch.of([{"id": 3, "ts": "later"}], key="id", version="ts", after=at(3))
    source = Pages(batch, second, cursor=cursor, version=INSTANT("ts"))

    report = pipeline(source, Upserts()).run(store)
    again = pipeline(source, Upserts()).run(store)

    assert report.counts == Counts(read=3, created=1, dead=2)
    assert again.counts == Counts(read=3, unchanged=1, dead=2)
    assert report.warnings == []
    assert known.code is None


def test_all_changes_of_a_write_may_be_applied_at_once(store: MemoryStore) -> None:
    class Bulk(Upserts):
        def write(self, changes: Changes) -> Any:
            assert changes.fields == ("id",)
            self.rows.update(zip(changes.keys, map(list, changes.rows), strict=True))
            return changes.applied()

    sink = Bulk()
    pipeline(Table(row("a", 1), row("b", 1)), sink).run(store)

    assert sink.rows == {("a",): ["a"], ("b",): ["b"]}


def test_a_run_without_a_remedy_reads_like_a_sentence_too(store: MemoryStore) -> None:
    assert store.acquire("test", "x", timedelta(minutes=1)) is not None

    report = pipeline(Table(row("a", 1)), Upserts()).run(store)

    assert str(report).splitlines()[-1] == "  another run of this pipeline is under way"


def test_a_report_reads_like_a_sentence_and_is_json(store: MemoryStore) -> None:
    import json

    report = pipeline(Table(row("a", 1), row("bad", 2)), Upserts(), bad).run(store)

    assert str(report).splitlines()[:2] == [
        "test: partial (incremental)",
        "  2 read, 1 created, 1 dead",
    ]
    kept = json.loads(store.runs("test")[0])
    assert kept["result"] == "partial"
    assert kept["counts"]["created"] == 1
    assert kept["error" if "error" in kept else "run_id"] == report.run_id
    assert Checkpoint().seq == 0


# -- Discard ---------------------------------------------------------------------------


def test_discarded_letters_are_closed_all_or_none(store: MemoryStore) -> None:
    source = Table(row("bad1", 1), row("bad2", 2))
    flow = pipeline(source, Upserts(), bad)
    flow.run(store)
    first, second = store.letters("test")

    with pytest.raises(errors.ConfigurationError, match="no such dead letter: 99"):
        flow.discard(store, [first.id, 99])
    assert len(store.letters("test")) == 2

    flow.discard(store, [first.id])

    assert [letter.id for letter in store.letters("test")] == [second.id]
    assert store.letters("test", status=LetterStatus.DISCARDED)[0].id == first.id
    assert store.load("test").cursor == Table.keyset.cursor(at(2), "bad2")


def test_nothing_is_discarded_under_a_run(store: MemoryStore) -> None:
    flow = pipeline(Table(row("bad", 1)), Upserts(), bad)
    flow.run(store)
    assert store.acquire("test", "other", timedelta(minutes=1)) is not None

    with pytest.raises(errors.TransientError, match="under way"):
        flow.discard(store, [1])


def test_a_progress_that_nobody_would_await_is_refused(store: MemoryStore) -> None:
    async def progress(report: RunReport) -> None: ...

    with pytest.raises(errors.ConfigurationError, match="progress="):
        pipeline(Pages(), Upserts()).run(store, progress=progress)  # type: ignore[arg-type]


def test_a_limit_settles_what_was_deferred(store: MemoryStore) -> None:
    batches = [Batch.of([{"id": n}], key="id", after=str(n)) for n in (1, 2)]
    flow = pipeline(Pages(*batches, cursor=Token()), Upserts())
    flow.run(store)

    report = flow.run(store, limit=1)

    assert report.counts == Counts(read=1, unchanged=1)
    assert report.batches == 1
    assert store.load("test").cursor == "1"


def test_the_cursor_of_an_unordered_source_does_not_go_back(store: MemoryStore) -> None:
    for second in (5, 3):
        after = Table.keyset.cursor(at(second), "x")
        batch = Batch.of([{"id": second}], key="id", after=after)
        pipeline(Pages(batch, cursor=Table.keyset, ordered=False), Upserts()).run(store)

    assert store.load("test").cursor == Table.keyset.cursor(at(5), "x")


def test_a_preview_shows_fifty_changes_and_counts_the_rest(store: MemoryStore) -> None:
    def shown(number: int) -> list[str]:
        source = Pages(Batch.of([{"id": n} for n in range(number)], key="id"))
        return str(pipeline(source, Upserts()).plan(store)).splitlines()

    assert len(shown(50)) == 51
    assert len(shown(51)) == 52
    assert shown(51)[-1] == "  and 1 more"


def test_the_settled_version_read_again_is_older_than_a_delete_in_doubt(
    store: MemoryStore,
) -> None:
    """A feed that is read again shows the settled version while a newer change is in doubt."""
    first = Batch.of([{"id": "a", "v": 1, "gone": False}], key="id", version="v", deleted="gone")
    second = Batch.of([{"id": "a", "v": 2, "gone": True}], key="id", version="v", deleted="gone")
    sink = Findable("", "unknown", "unknown")

    def source(*pages: Batch) -> Pages:
        return Pages(*pages, version=INTEGER, deletes=Deletes.FLAGGED)

    pipeline(source(first), sink).run(store)
    pipeline(source(second), sink).run(store)
    report = pipeline(source(first), sink).run(store)

    assert report.counts == Counts(resumed=1, read=1, stale=1, pending=1)


def test_a_read_that_ends_below_the_window_cap_is_whole(store: MemoryStore) -> None:
    pages = [Batch.of([{"id": n} for n in ids], key="id") for ids in ([1, 2], [3])]

    assert pipeline(Pages(*pages, window_cap=2), Upserts()).run(store).result is Result.SUCCESS


def test_the_tolerance_counts_what_was_read_and_not_committed_yet(store: MemoryStore) -> None:
    good = Batch.of([{"id": f"g{n}"} for n in range(90)], key="id")
    rest = Batch.of([{"id": f"bad{n}"} for n in range(10)], key="id")
    flow = pipeline(Pages(good, rest), Upserts(), bad, tolerance=Tolerance(0, 0.1))
    pipeline(Pages(good), Upserts(), bad).run(store)

    report = flow.run(store)

    assert report.counts == Counts(read=100, unchanged=90, dead=10)
    assert report.reason == "10 records became dead letters"


def test_the_tolerance_after_a_write_counts_what_waits_too(store: MemoryStore) -> None:
    sink = Upserts()
    sink.refuses = lambda change: change.key[0].startswith("no")
    good = Batch.of([{"id": f"g{n}"} for n in range(90)], key="id")
    rest = Batch.of([{"id": f"no{n}"} for n in range(10)], key="id")
    pipeline(Pages(good), sink).run(store)

    report = pipeline(Pages(good, rest), sink, tolerance=Tolerance(0, 0.1)).run(store)

    assert report.result is Result.PARTIAL


def test_what_a_source_fetches_undecoded_is_left_to_the_stored_record(store: MemoryStore) -> None:
    source, sink = Table(row("bad", 1, x=1)), Upserts()
    pipeline(source, sink, bad).run(store)

    def fetch(keys: Any) -> Batch:
        return Batch(["bad"], raws=[b"?"], decode=lambda raws: [{"x": 9}])

    source.fetch = fetch  # type: ignore[attr-defined]

    report = pipeline(source, sink, mapping_version="2").replay(store)

    assert report.counts == Counts(resumed=1, created=1)
    assert sink.rows[("bad",)] == {"id": "bad", "x": 1}


def test_one_dead_letter_is_one(store: MemoryStore) -> None:
    report = pipeline(Table(row("bad", 1)), Upserts(), bad).run(store)

    assert report.reason == "1 record became a dead letter"
