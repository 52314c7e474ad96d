"""What an operator sees: spans, metrics and log events, and that they tell no secret."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import syncsdk
from syncsdk import (
    INSTANT,
    INTEGER,
    OPAQUE,
    Applied,
    Batch,
    Changes,
    Keyset,
    Listing,
    MappingError,
    MemoryStore,
    NotSent,
    Owner,
    Pipeline,
    RecordError,
    Refused,
    Rejected,
    RejectedError,
    Result,
    RunReport,
    SourceCapabilities,
    SyncError,
    Token,
    Tolerance,
    TransientError,
    Watermark,
    telemetry,
)
from syncsdk.protocols import OUTCOMES
from tests.fakes import (
    NOON,
    Creates,
    FailingStore,
    Pages,
    Remembers,
    Table,
    Upserts,
    pipeline,
    row,
)


class Seen:
    """All that an operator could see of the library, through the real SDK."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order of their starts."""
        found = self.exporter.get_finished_spans()
        return sorted(found, key=lambda span: span.start_time or 0)

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def parents(self) -> list[tuple[str, str | None]]:
        """The name of each span with that of its parent."""
        names = {span.context.span_id: span.name for span in self.spans if span.context}
        return [
            (span.name, None if span.parent is None else names.get(span.parent.span_id, "?"))
            for span in self.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """Each metric with its unit, description and points, by name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        metric = self.metrics().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def value(self, name: str) -> Any:
        (point,) = self.points(name)
        return point.value

    def records(self) -> dict[str, int]:
        """``syncsdk.sink.records`` by outcome."""
        return {
            point.attributes["syncsdk.record.outcome"]: point.value
            for point in self.points("syncsdk.sink.records")
        }

    def everything(self) -> str:
        """All of it as one text, to search in."""
        data = self.reader.get_metrics_data()
        return "\n".join(
            [span.to_json() for span in self.spans] + ([data.to_json()] if data else [])
        )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """The SDK, installed for one test. (A global provider could be set only once.)"""
    made = Seen()
    monkeypatch.setattr(trace, "get_tracer", made.traces.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", made.meters.get_meter)
    monkeypatch.setattr(telemetry, "_last_success", {})
    monkeypatch.setattr(telemetry, "_open_letters", {})
    telemetry._instruments.cache_clear()
    yield made
    telemetry._instruments.cache_clear()
    made.traces.shutdown()
    made.meters.shutdown()


FACES = ["sync", "sync ahead", "async", "async ahead"]


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(flow: Pipeline, store: Any, face: str = "sync", **options: Any) -> RunReport:
    if face.startswith("sync"):
        return flow.run(store, **options)
    return asyncio.run(flow.run_async(store, **options))


def refuse_r1(record: dict[str, Any]) -> dict[str, Any]:
    if record["id"] == "r1":
        raise MappingError("expected something else", path="$.name", code="odd")
    return {"id": record["id"]}


def rows(number: int) -> list[dict[str, Any]]:
    return [row(f"r{n}", n) for n in range(number)]


# -- Spans -----------------------------------------------------------------------------


TREE: list[tuple[str, str | None]] = [
    ("sync test", None),
    ("read test", "sync test"),
    ("write test", "sync test"),
    ("checkpoint test", "sync test"),
    ("read test", "sync test"),
    ("write test", "sync test"),
    ("checkpoint test", "sync test"),
    ("read test", "sync test"),
]


def test_a_run_is_one_tree(seen: Seen, face: str) -> None:
    run(pipeline(Table(*rows(3), reads_ahead="ahead" in face), Upserts()), MemoryStore(), face)

    assert seen.parents() == TREE
    assert {span.kind for span in seen.spans} == {SpanKind.INTERNAL}
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}
    assert [span.events for span in seen.spans] == [()] * len(TREE)
    assert len({span.context.trace_id for span in seen.spans if span.context}) == 1


def test_the_attributes_of_a_run_are_those_of_the_table(seen: Seen) -> None:
    flow = pipeline(Table(*rows(3)), Upserts(), refuse_r1, owner=Owner("RevOps", ("a@b.example",)))
    report = run(flow, MemoryStore())
    name = {"syncsdk.pipeline.name": "test"}

    assert [dict(span.attributes or {}) for span in seen.spans] == [
        {
            **name,
            "syncsdk.pipeline.owner": "RevOps",
            "syncsdk.run.id": report.run_id,
            "syncsdk.run.mode": "incremental",
            "syncsdk.run.result": "partial",
            "syncsdk.records.read": 3,
            **{f"syncsdk.records.{outcome}": 0 for outcome in OUTCOMES},
            "syncsdk.records.created": 2,
            "syncsdk.records.dead": 1,
        },
        {**name, "syncsdk.batch.size": 2},
        {**name, "syncsdk.batch.size": 1},
        name,
        {**name, "syncsdk.batch.size": 1},
        {**name, "syncsdk.batch.size": 1},
        name,
        name,
    ]


def test_what_is_useful_for_sampling_is_there_when_a_span_starts(seen: Seen) -> None:
    begun: list[dict[str, Any]] = []

    class Watches(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            begun.append(dict(span.attributes))

    seen.traces.add_span_processor(Watches(InMemorySpanExporter()))
    report = run(pipeline(Table(*rows(1)), Upserts()), MemoryStore())

    assert begun[0] == {
        "syncsdk.pipeline.name": "test",
        "syncsdk.pipeline.owner": "tests",
        "syncsdk.run.id": report.run_id,
        "syncsdk.run.mode": "incremental",
    }


def test_spans_and_metrics_say_which_version_made_them(seen: Seen) -> None:
    run(pipeline(Table(*rows(1)), Upserts()), MemoryStore())

    scopes = [span.instrumentation_scope for span in seen.spans]
    data = seen.reader.get_metrics_data()
    assert data is not None
    scopes += [
        scope.scope for resource in data.resource_metrics for scope in resource.scope_metrics
    ]

    assert {(scope.name, scope.version) for scope in scopes if scope} == {
        ("syncsdk", syncsdk.__version__)
    }


@pytest.mark.parametrize(
    ("options", "call", "mode"),
    [
        ({}, "run", "incremental"),
        ({"backfill": True}, "run", "backfill"),
        ({}, "replay", "replay"),
        ({}, "plan", "plan"),
    ],
)
def test_the_mode_of_a_run_is_told(
    seen: Seen, options: dict[str, Any], call: str, mode: str
) -> None:
    getattr(pipeline(Table(*rows(1)), Upserts()), call)(MemoryStore(), **options)

    assert (seen.named("sync test").attributes or {})["syncsdk.run.mode"] == mode


class Tells(Upserts):
    """A sink with a span of its own, as any instrumented client has."""

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def write(self, changes: Changes) -> Any:
        with self.tracer.start_as_current_span("POST /things"):
            return super().write(changes)


class Holds(Table):
    """A source that keeps its span current while it yields: wrong, but often seen."""

    tracer: trace.Tracer

    def read(self, after: str | None) -> Iterator[Batch]:
        for batch in super().read(after):
            with self.tracer.start_as_current_span("GET /pages"):
                yield batch


class AsyncHolds(Holds):
    async def read(self, after: str | None) -> Any:  # type: ignore[override]
        for batch in Table.read(self, after):
            with self.tracer.start_as_current_span("GET /pages"):
                yield batch


@pytest.mark.parametrize("kind", [Holds, AsyncHolds])
@pytest.mark.parametrize("limit", [None, 2])
def test_spans_of_connectors_lie_below_the_run_and_steal_nothing(
    seen: Seen,
    face: str,
    kind: type[Holds],
    limit: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if kind is AsyncHolds and face.startswith("sync"):
        pytest.skip("run() refuses an asynchronous source")
    tracer = seen.traces.get_tracer("client")
    source = kind(*rows(3), reads_ahead="ahead" in face)
    source.tracer = tracer
    run(pipeline(source, Tells(tracer)), MemoryStore(), face, limit=limit)

    parents = seen.parents()
    assert {parent for name, parent in parents if name == "POST /things"} == {"write test"}
    assert {parent for name, parent in parents if name == "GET /pages"} <= {
        "read test",
        "sync test",
    }
    tree = TREE if limit is None else TREE[:4]
    assert [each for each in parents if each[0] in dict(TREE)] == tree
    assert [record.getMessage() for record in caplog.records if record.levelno > 20] == []


def test_a_run_belongs_to_the_span_that_it_is_called_from(seen: Seen, face: str) -> None:
    with seen.traces.get_tracer("app").start_as_current_span("job"):
        run(pipeline(Table(*rows(1)), Upserts()), MemoryStore(), face)

    assert dict(seen.parents())["sync test"] == "job"


# -- Errors ----------------------------------------------------------------------------


def down(*given: Any, **named: Any) -> Any:
    raise TransientError("the other side is down")


def broken(*given: Any, **named: Any) -> Any:
    raise LookupError("words of somebody else")


@pytest.mark.parametrize("fails", [down, broken])
@pytest.mark.parametrize("place", ["read", "write", "commit"])
def test_a_failure_marks_its_span_and_that_of_the_run(
    seen: Seen, face: str, place: str, fails: Callable[..., Any]
) -> None:
    source, sink, store = Table(*rows(3), reads_ahead="ahead" in face), Upserts(), MemoryStore()
    setattr({"read": source, "write": sink, "commit": store}[place], place, fails)
    report = run(pipeline(source, sink), store, face)
    kind = type(report.error).__name__
    marked = {"commit": "checkpoint test"}.get(place, f"{place} test")

    assert report.result is Result.FAILED
    failed = [span for span in seen.spans if span.status.status_code is StatusCode.ERROR]
    assert {span.name for span in failed} == {"sync test", marked}
    assert {(span.attributes or {})["error.type"] for span in failed} == {kind}
    assert {span.status.description for span in seen.spans} == {None}
    assert [span.events for span in seen.spans] == [()] * len(seen.spans)
    (point,) = seen.points("syncsdk.run.duration")
    assert point.attributes["error.type"] == kind


@pytest.mark.parametrize("result", ["success", "partial", "stopped", "skipped"])
def test_a_run_that_did_not_fail_has_no_error(seen: Seen, result: str) -> None:
    store, sink = MemoryStore(), Upserts()
    mapping = refuse_r1 if result == "partial" else lambda record: {"id": record["id"]}
    flow = pipeline(Table(*rows(3)), sink, mapping)
    if result == "stopped":
        sink.refuses = lambda change: bool(flow.stop())
    if result == "skipped":
        store.acquire("test", "another", timedelta(minutes=1))

    assert run(flow, store).result.value == result

    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}
    assert not any("error.type" in (span.attributes or {}) for span in seen.spans)
    (point,) = seen.points("syncsdk.run.duration")
    assert point.attributes == {
        "syncsdk.pipeline.name": "test",
        "syncsdk.run.result": result,
        "syncsdk.run.mode": "incremental",
    }


def same_error_on_span_and_metric(seen: Seen) -> Any:
    (point,) = seen.points("syncsdk.run.duration")
    on_span = (seen.named("sync test").attributes or {}).get("error.type")
    assert on_span == point.attributes.get("error.type")
    return on_span


def test_a_paused_run_has_the_same_error_on_span_and_metric(seen: Seen) -> None:
    def limited(*given: Any) -> Any:
        raise TransientError("slower, please", retry_after=60.0)

    sink = Upserts()
    sink.write = limited  # type: ignore[method-assign]
    report = run(pipeline(Table(*rows(1)), sink), MemoryStore())

    assert report.result is Result.PAUSED
    same_error_on_span_and_metric(seen)


@pytest.mark.parametrize("place", ["read", "write", "commit"])
def test_an_interrupted_run_does_not_look_like_a_success(seen: Seen, place: str) -> None:
    def interrupt(*given: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    source, sink, store = Table(*rows(3)), Upserts(), MemoryStore()
    setattr({"read": source, "write": sink, "commit": store}[place], place, interrupt)

    with pytest.raises(KeyboardInterrupt):
        run(pipeline(source, sink), store)

    span = seen.named("sync test")
    assert (span.attributes or {})["syncsdk.run.result"] == "failed"
    assert span.status.status_code is StatusCode.ERROR
    assert same_error_on_span_and_metric(seen) == "KeyboardInterrupt"
    assert seen.points("syncsdk.pipeline.last_success.timestamp") == []


def test_a_cancelled_run_does_not_look_like_a_success(seen: Seen) -> None:
    async def main() -> None:
        waiting = asyncio.Event()

        class Hangs(Upserts):
            async def write(self, changes: Changes) -> Any:  # type: ignore[override]
                waiting.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(pipeline(Table(*rows(1)), Hangs()).run_async(MemoryStore()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    span = seen.named("sync test")
    assert span.status.status_code is StatusCode.ERROR
    assert same_error_on_span_and_metric(seen) == "CancelledError"


# -- Metrics ---------------------------------------------------------------------------


def test_metrics_have_the_names_units_and_kinds_of_the_table(seen: Seen) -> None:
    run(pipeline(Table(*rows(1)), Upserts()), MemoryStore())

    made = {name: (type(m.data).__name__, m.unit) for name, m in seen.metrics().items()}
    assert made == {
        "syncsdk.run.duration": ("Histogram", "s"),
        "syncsdk.sink.records": ("Sum", "{record}"),
        "syncsdk.pipeline.last_success.timestamp": ("Gauge", "s"),
        "syncsdk.dead_letter.count": ("Sum", "{record}"),
    }
    assert seen.metrics()["syncsdk.sink.records"].data.is_monotonic
    assert not seen.metrics()["syncsdk.dead_letter.count"].data.is_monotonic
    assert all(metric.description for metric in seen.metrics().values())


def test_durations_fall_into_buckets_from_a_second_to_hours(seen: Seen) -> None:
    flow, store = pipeline(Table(*rows(1)), Upserts()), MemoryStore()
    for _ in range(3):
        run(flow, store)

    (point,) = seen.points("syncsdk.run.duration")
    assert point.explicit_bounds == (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400)
    assert point.count == 3
    assert 0 <= point.sum < 60


def test_every_outcome_is_born_at_zero(seen: Seen) -> None:
    run(pipeline(Table(), Upserts()), MemoryStore())

    assert seen.records() == dict.fromkeys(OUTCOMES, 0)


def test_attributes_of_metrics_are_few(seen: Seen) -> None:
    sink = Upserts()
    sink.refuses = lambda change: change.key == ("r2",)
    run(pipeline(Table(*rows(4)), sink, refuse_r1), MemoryStore())

    for name in seen.metrics():
        for point in seen.points(name):
            assert set(point.attributes) <= {
                "syncsdk.pipeline.name",
                "syncsdk.record.outcome",
                "syncsdk.run.result",
                "syncsdk.run.mode",
                "error.type",
            }


def total(reports: Sequence[RunReport]) -> dict[str, int]:
    return {name: sum(getattr(each.counts, name) for each in reports) for name in OUTCOMES}


def test_counted_records_are_those_of_the_reports(seen: Seen, face: str) -> None:
    source = Table(*rows(9), page=3, reads_ahead="ahead" in face)
    sink, store = Upserts(), MemoryStore()
    sink.refuses = lambda change: change.key == ("r2",)

    def mapping(record: dict[str, Any]) -> Any:
        return None if record["id"] == "r3" else refuse_r1(record)

    flow = pipeline(source, sink, mapping)
    reports = [run(flow, store, face, limit=4), run(flow, store, face)]
    source.put(**row("r5", 20, v=2))
    source.put(**row("r6", 21, v=2, gone=True))
    source.put(**row("r7", 22, v=0))
    source.put(**row("r8", 23, v=2))
    reports += [run(flow, store, face), run(flow, store, face, backfill=True)]
    sink.refuses = lambda change: False
    reports.append(flow.replay(store))

    assert seen.records() == total(reports)
    assert {name for name, number in total(reports).items() if number} == {
        "created",
        "deleted",
        "unchanged",
        "stale",
        "filtered",
        "dead",
    }


def test_pending_and_superseded_records_are_counted_as_reported(seen: Seen) -> None:
    class Unsure(Creates):
        sure = False

        def find(self, changes: Changes) -> list[str | None]:
            return [None for _ in changes]

        def write(self, changes: Changes) -> Any:
            return super().write(changes) if self.sure else []

    sink, store = Unsure(), MemoryStore()
    both = Batch(["a", "a"], [{"id": "a", "n": 1}, {"id": "a", "n": 2}], versions=[1, 2])
    flow = pipeline(Pages(both, version=INTEGER), sink)
    reports = [run(flow, store)]
    sink.sure = True
    reports.append(run(flow, store))

    assert seen.records() == total(reports)
    assert reports[0].counts.pending == reports[0].counts.superseded == 1
    assert reports[1].counts.resumed == 1


@pytest.mark.parametrize("faults", [["before"] * 2, ["after"], ["before"], ["", *["before"] * 2]])
def test_what_no_commit_settled_is_neither_counted_nor_reported(
    seen: Seen, faults: list[str]
) -> None:
    report = run(pipeline(Table(*rows(4)), Upserts()), FailingStore(*faults))

    assert seen.records() == total([report])
    assert report.counts.read + report.unsettled in (2, 4)
    assert (seen.named("sync test").attributes or {})["syncsdk.records.created"] == (
        report.counts.created
    )


# -- Gauges ----------------------------------------------------------------------------

LAST = "syncsdk.pipeline.last_success.timestamp"
LETTERS = "syncsdk.dead_letter.count"


def test_the_last_success_is_that_of_the_last_run_that_was_one(seen: Seen) -> None:
    sink, store = Upserts(), MemoryStore()
    flow = pipeline(Table(*rows(3)), sink)
    report = run(flow, store)
    assert report.finished_at is not None
    success = report.finished_at.timestamp()
    assert seen.value(LAST) == success

    sink.write = broken  # type: ignore[method-assign]
    flow = pipeline(Table(*rows(4)), sink)
    assert run(flow, store).result is Result.FAILED

    assert seen.value(LAST) == success


def test_before_the_first_success_there_is_no_last_one(seen: Seen) -> None:
    sink = Upserts()
    sink.write = broken  # type: ignore[method-assign]
    run(pipeline(Table(*rows(1)), sink), MemoryStore())

    assert seen.points(LAST) == []


def test_a_plan_is_no_success_of_the_pipeline(seen: Seen) -> None:
    pipeline(Table(*rows(3)), Upserts()).plan(MemoryStore())

    assert seen.points(LAST) == []


def test_a_skipped_run_is_no_success_of_the_pipeline(seen: Seen) -> None:
    store = MemoryStore()
    store.acquire("test", "another", timedelta(minutes=1))

    assert run(pipeline(Table(*rows(3)), Upserts()), store).result is Result.SKIPPED
    assert seen.points(LAST) == []


def test_open_dead_letters_are_those_of_the_store(seen: Seen) -> None:
    source, sink, store = Table(*rows(3)), Upserts(), MemoryStore()
    sink.refuses = lambda change: change.key in {("r0",), ("r2",)}
    flow = pipeline(source, sink, refuse_r1)

    counts = []
    for _ in range(2):
        run(flow, store)
        counts.append(seen.value(LETTERS))
    sink.refuses = lambda change: False
    flow.replay(store)
    counts.append(seen.value(LETTERS))

    assert counts == [3, 3, 1]
    assert store.totals("test") == (1, 0)


@pytest.mark.parametrize("how", ["plan", "skipped", "unreachable", "interrupted"])
def test_a_run_that_did_not_count_the_dead_letters_says_nothing_of_them(
    seen: Seen, how: str
) -> None:
    store, source = MemoryStore(), Table(*rows(3))
    flow = pipeline(source, Upserts(), refuse_r1)
    run(flow, store)
    assert seen.value(LETTERS) == 1

    if how == "plan":
        flow.plan(store)
    elif how == "skipped":
        store.acquire("test", "another", timedelta(minutes=1))
        assert run(flow, store).result is Result.SKIPPED
    elif how == "unreachable":
        store.acquire = broken  # type: ignore[method-assign]
        assert run(flow, store).result is Result.FAILED
    else:

        def interrupt(after: str | None) -> Any:
            raise KeyboardInterrupt

        source.read = interrupt  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            run(flow, store)

    assert seen.value(LETTERS) == 1


# -- Without an SDK --------------------------------------------------------------------


def in_a_new_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_run_works_where_the_sdk_cannot_be_imported() -> None:
    told = in_a_new_process(
        """
        import sys

        class Blocks:
            def find_spec(self, name, path=None, target=None):
                if name.startswith("opentelemetry.sdk"):
                    raise ImportError(f"{name} is blocked")

        sys.meta_path.insert(0, Blocks())
        from syncsdk import Applied, MemoryStore, SinkCapabilities, upsert

        class Sink:
            capabilities = SinkCapabilities(upsert=True)
            def write(self, changes):
                return changes.applied()

        report = upsert(Sink(), [{"id": "a"}, {"id": "b"}], key="id")
        print(report.result, report.counts.created, "opentelemetry.sdk" in sys.modules)
        """
    )

    assert told.split() == ["success", "2", "False"]


def test_providers_that_are_set_after_the_first_run_see_the_next_one() -> None:
    told = in_a_new_process(
        """
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from syncsdk import SinkCapabilities, upsert

        class Sink:
            capabilities = SinkCapabilities(upsert=True)
            def write(self, changes):
                return changes.applied()

        upsert(Sink(), [{"id": "a"}], key="id", name="first")
        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([reader]))
        upsert(Sink(), [{"id": "a"}], key="id", name="second")
        print(*(span.name.replace(" ", "_") for span in exporter.get_finished_spans()))
        for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics:
            print(*sorted(metric.name for metric in scope.metrics))
        """
    )

    spans, names = told.splitlines()
    assert spans.split()[-1] == "sync_second"
    assert "first" not in spans
    assert len(names.split()) == 4


def test_the_library_sets_no_provider_and_no_handler() -> None:
    told = in_a_new_process(
        """
        import logging
        from opentelemetry import metrics, trace
        from syncsdk import SinkCapabilities, upsert

        class Sink:
            capabilities = SinkCapabilities(upsert=True)
            def write(self, changes):
                return changes.applied()

        upsert(Sink(), [{"id": "a"}], key="id")
        print(trace._TRACER_PROVIDER, logging.getLogger().handlers)
        print([type(each).__name__ for each in logging.getLogger("syncsdk").handlers])
        """
    )

    assert told.splitlines() == ["None []", "['NullHandler']"]


# -- Log events ------------------------------------------------------------------------


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.__dict__.get("otel.event.name", "no name"))
        for record in caplog.records
        if record.name.startswith("syncsdk")
    ]


def test_the_events_of_a_run_have_names(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="syncsdk"):
        run(pipeline(Table(*rows(3)), Upserts(), refuse_r1), MemoryStore())

    assert events(caplog) == [
        ("INFO", "syncsdk.run.started"),
        ("WARNING", "syncsdk.record.dead_lettered"),
        ("DEBUG", "syncsdk.checkpoint.committed"),
        ("DEBUG", "syncsdk.checkpoint.committed"),
        ("INFO", "syncsdk.run.finished"),
    ]


def test_a_failed_run_is_told_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    sink = Upserts()
    sink.write = broken  # type: ignore[method-assign]
    run(pipeline(Table(*rows(1)), sink), MemoryStore())

    assert events(caplog)[-1] == ("ERROR", "syncsdk.run.failed")


def test_each_event_says_which_run_it_is_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="syncsdk"):
        report = run(pipeline(Table(*rows(3)), Upserts(), refuse_r1), MemoryStore())

    for record in caplog.records:
        assert record.__dict__["syncsdk.pipeline.name"] == "test"
        assert record.__dict__["syncsdk.run.id"] == report.run_id


def test_what_an_observer_raises_is_an_event_too(caplog: pytest.LogCaptureFixture) -> None:
    class Fails:
        on_progress = on_finish = broken

    run(pipeline(Table(*rows(1)), Upserts(), observers=[Fails()]), MemoryStore(), progress=broken)

    assert [level for level, _ in events(caplog) if level == "ERROR"] == ["ERROR"] * 3
    assert "no name" not in [name for _, name in events(caplog)]


def test_many_refusals_are_logged_as_a_sample(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(record: dict[str, Any]) -> Any:
        raise MappingError("odd", path=f"$.field_{record['ts']}")

    flow = pipeline(Table(*rows(40)), Upserts(), refuse, tolerance=Tolerance(100))
    run(flow, MemoryStore())

    assert Counter(name for _, name in events(caplog))["syncsdk.record.dead_lettered"] == 5


def test_extra_keys_collide_with_nothing_that_others_put_into_log_records(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
    before = logging.getLogRecordFactory()

    def factory(*given: Any, **named: Any) -> logging.LogRecord:
        record = before(*given, **named)
        for name in ("TraceID", "SpanID", "TraceSampled", "ServiceName"):
            setattr(record, f"otel{name}", "0")  # as OpenTelemetry's instrumentation does
        return record

    logging.setLogRecordFactory(factory)
    try:
        with caplog.at_level(logging.DEBUG, logger="syncsdk"):
            run(pipeline(Table(*rows(3)), Upserts(), refuse_r1), MemoryStore())
    finally:
        logging.setLogRecordFactory(before)

    for record in caplog.records:
        ours = {name for name in record.__dict__ if name not in plain}
        ours -= {f"otel{name}" for name in ("TraceID", "SpanID", "TraceSampled", "ServiceName")}
        assert all(name.startswith("syncsdk.") or name == "otel.event.name" for name in ours)


def test_a_name_with_percent_signs_is_logged_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    flow = Pipeline(
        "100% %s of %(it)s",
        source=Table(*rows(1)),
        sink=Upserts(),
        mapping=dict,
        mapping_version="1",
        owner="tests",
    )
    with caplog.at_level(logging.INFO, logger="syncsdk"):
        run(flow, MemoryStore())

    assert caplog.records[0].getMessage() == "100% %s of %(it)s: run started"


# -- No secret -------------------------------------------------------------------------

MARK = "m4rk"
"""In every id, value, cursor, version and foreign exception; to be found nowhere."""


def secret(name: str) -> str:
    return f"{MARK}-{name}@example.com"


class Leak(Exception):
    """Somebody else's exception, which quotes what it was given."""


def leak(*given: Any, **named: Any) -> Any:
    try:
        raise KeyError(secret("cause"))
    except KeyError as error:
        raise Leak(secret("exception"), given) from error


def batch(number: int = 2, **columns: Any) -> Batch:
    ids = [secret(f"id-{n}") for n in range(number)]
    records = [{"id": id, "note": secret("value"), "deep": [{"x": secret("deep")}]} for id in ids]
    columns.setdefault("versions", [secret(f"version-{n}") for n in range(number)])
    return Batch(ids, records, **columns)


class Given(Pages):
    """A source of batches with whatever else a scenario needs."""

    def __init__(self, *batches: Any, **capabilities: Any) -> None:
        super().__init__(*batches, **capabilities)
        self.clock = lambda: NOON


class Ids(Creates):
    def apply(self, change: Any) -> Any:
        return Applied(change.change_id, secret(f"dest-{change.change_id}"))


def sink(kind: type[Any] = Upserts, **methods: Any) -> Any:
    made = kind()
    for name, function in methods.items():
        setattr(made, name, function)
    return made


def mapping_of(value: Any) -> Callable[[Any], Any]:
    return lambda record: {"id": record["id"], "field": value}


def rejects(changes: Changes) -> list[Any]:
    return [Rejected(each.change_id, "422", detail=secret("detail")) for each in changes]


def refuses_all(changes: Changes) -> Any:
    raise RejectedError("the whole was refused", detail=secret("detail"))


def chained(kind: type[SyncError]) -> Callable[..., Any]:
    def fails(*given: Any, **named: Any) -> Any:
        try:
            leak(*given)
        except Leak as error:
            raise kind("it did not work") from error  # type: ignore[call-arg]

    return fails


def mapping_error(record: Any) -> Any:
    raise MappingError("not what was expected", path="$.note", key=(record["id"],))


def closing(after: str | None) -> Any:
    try:
        yield batch()
    finally:
        leak()


def refused_reads(raws: Sequence[bytes]) -> list[Any]:
    return [Refused(RecordError("it is cut off", code="cut"), raw) for raw in raws]


LATE = timedelta(minutes=1)
RAWS = {"raws": [secret("raw-0").encode(), secret("raw-1").encode()]}
PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "all is well": dict,
    "ids of the destination": lambda: {"sink": sink(Ids)},
    "the mapping raises": lambda: {"mapping": leak},
    "the mapping raises a mapping error": lambda: {"mapping": mapping_error},
    "the mapping returns text": lambda: {"mapping": lambda record: secret("row")},
    "the mapping returns a list": lambda: {"mapping": lambda record: [secret("row")]},
    "a value is no number": lambda: {"mapping": mapping_of([secret("a"), float("nan")])},
    "a value is no data": lambda: {"mapping": mapping_of({"x": {secret("set")}})},
    "a value has a surrogate": lambda: {"mapping": mapping_of(secret("\ud800"))},
    "the sink raises": lambda: {"sink": sink(write=leak)},
    "the sink raises a transient error": lambda: {"sink": sink(write=chained(TransientError))},
    "the sink raises not sent": lambda: {"sink": sink(write=chained(NotSent))},
    "the sink rejects": lambda: {"sink": sink(write=rejects)},
    "the sink refuses the whole": lambda: {"sink": sink(write=refuses_all)},
    "the sink answers nonsense": lambda: {"sink": sink(write=lambda changes: [secret("odd")])},
    "the sink answers nothing": lambda: {"sink": sink(write=lambda changes: None)},
    "the sink answers text": lambda: {"sink": sink(write=lambda changes: secret("odd"))},
    "the sink answers a number": lambda: {"sink": sink(write=lambda changes: 7)},
    "rendering raises": lambda: {"sink": sink(Remembers, render=leak)},
    "creates in doubt": lambda: {"sink": sink(Creates, write=lambda changes: [])},
    "the look-up raises": lambda: {
        "sink": sink(Creates, write=lambda changes: [], find=leak),
        "runs": 2,
    },
    "the source raises": lambda: {"source": Given(batch(), leak)},
    "the source raises at once": lambda: {"read": leak},
    "the source raises a transient error": lambda: {
        "source": Given(batch(), chained(TransientError))
    },
    "the source raises when it is closed": lambda: {"read": closing, "limit": 1},
    "the source yields text": lambda: {"source": Given(secret("batch"))},
    "the source yields records that are none": lambda: {
        "source": Given(Batch.of([secret("record"), {"id": secret("id")}], key="id"))
    },
    "the source yields a page twice": lambda: {"source": Given(batch(), batch())},
    "columns of different length": lambda: {"source": Given(batch(versions=[secret("v")]))},
    "a flag that is no flag": lambda: {
        "source": Given(
            Batch.of([{"id": secret("id"), "gone": secret("gone")}], key="id", deleted="gone")
        )
    },
    "keys that are none": lambda: {
        "source": Given(Batch([None, "", secret("\ud800"), {secret("k"): 1}, 1.5], [{"id": 1}] * 5))
    },
    "versions that are no instants": lambda: {"source": Given(batch(), version=INSTANT)},
    "versions of a length that looks like one": lambda: {
        "source": Given(batch(versions=[f"2026-{MARK}", f"m4rk-{MARK}"]), version=INSTANT)
    },
    "versions that are no integers": lambda: {"source": Given(batch(), version=INTEGER)},
    "versions of another type": lambda: {
        "source": Given(batch(versions=[{secret("v"): 1}, [secret("v")]]), version=OPAQUE)
    },
    "a token as cursor": lambda: {
        "source": Given(
            batch(after=secret("cursor"), hint=secret("hint")), cursor=Token(), hints=True
        )
    },
    "a token that does not move": lambda: {
        "source": Given(
            batch(1, after=secret("cursor")), batch(2, after=secret("cursor")), cursor=Token()
        )
    },
    "a token without a watermark": lambda: {
        "source": Given(batch(after=secret("cursor")), cursor=Token(lateness=LATE))
    },
    "a watermark of another format": lambda: {
        "source": Given(batch(after=secret("cursor")), cursor=Watermark("t", lateness=LATE))
    },
    "a pattern of another format": lambda: {
        "source": Given(
            batch(after=secret("cursor")),
            cursor=Watermark("t", lateness=LATE, format="%Y-%m-%d %z"),
        )
    },
    "a number of another format": lambda: {
        "source": Given(
            batch(after=secret("cursor")), cursor=Watermark("t", lateness=LATE, format="epoch")
        )
    },
    "a keyset that is none": lambda: {
        "source": Given(batch(after=secret("cursor")), cursor=Keyset("t", "id", lateness=LATE))
    },
    "a keyset of text": lambda: {
        "source": Given(
            batch(after=Table.keyset.cursor(secret("cursor"), "id")),
            cursor=Keyset("t", "id", lateness=LATE),
        )
    },
    "positions of another format": lambda: {
        "source": Given(
            batch(positions=[secret("p"), secret("q")], after="2026-01-01T00:00:00Z"),
            cursor=Watermark("t", lateness=timedelta(0)),
        )
    },
    "the clock raises": lambda: {"clock": leak},
    "the clock is none": lambda: {"clock": lambda: secret("clock")},
    "decoding raises": lambda: {"source": Given(batch(decode=leak, **RAWS))},
    "only raws, and decoding raises": lambda: {
        "source": Given(Batch([secret("a"), secret("b")], decode=leak, **RAWS))
    },
    "only raws, and they are refused": lambda: {
        "source": Given(Batch([secret("a"), secret("b")], decode=refused_reads, **RAWS))
    },
    "an observer raises": lambda: {"observer": leak},
    "the progress callback raises": lambda: {"progress": leak},
    "a replay": lambda: {"sink": sink(write=rejects), "replay": True},
    "a replay whose source raises": lambda: {
        "sink": sink(write=rejects),
        "fetch": leak,
        "replay": True,
    },
    "deletes that a guard stops": lambda: {
        "source": Given(batch(deleted=[True, True])),
        "max_deletes": Tolerance(0, 0.0),
    },
}


def carried_out(name: str, face: str) -> list[Any]:
    """Run one of :data:`PARTS`; return the reports, and what is kept of them."""
    given = PARTS[name]()
    if "clock" in given:
        cursor = Watermark("t", lateness=LATE)
        given["source"] = Given(batch(after="2026-01-01T00:00:00Z"), cursor=cursor)
        given["source"].clock = given.pop("clock")
    source = given.pop("source", None) or Given(batch(), batch(3), cursor=Listing())
    for method in ("read", "fetch"):
        if method in given:
            setattr(source, method, given.pop(method))
    if "ahead" in face:
        declared = source.capabilities
        source.capabilities = SourceCapabilities(
            declared.cursor, version=declared.version, hints=declared.hints, reads_ahead=True
        )
    if source.capabilities.hints:
        read = source.read
        source.read = lambda after, hint=None: read(after)
    raises = given.pop("observer", None)
    watcher = type("Watcher", (), {"on_progress": raises, "on_finish": raises})
    call = {name: given.pop(name) for name in ("limit", "progress") if name in given}
    runs, replay = given.pop("runs", 1), given.pop("replay", False)
    flow = pipeline(
        source,
        given.pop("sink", None) or Upserts(),
        given.pop("mapping", dict),
        observers=[watcher()] if raises else (),
        **given,
    )
    store = MemoryStore()
    reports = [run(flow, store, face, **call) for _ in range(runs)]
    if replay:
        reports.append(
            flow.replay(store) if "async" not in face else asyncio.run(flow.replay_async(store))
        )
    return [*reports, *store.runs("test")]


@pytest.mark.parametrize("name", PARTS)
def test_nothing_of_a_record_is_to_be_seen(
    seen: Seen,
    face: str,
    name: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("threading.excepthook", lambda args: print(args.exc_value))
    with caplog.at_level(logging.DEBUG):
        made = carried_out(name, face)
    reports = [each for each in made if isinstance(each, RunReport)]
    told = [seen.everything(), *capfd.readouterr()]
    told += [text for each in made for text in (str(each), repr(each))]
    told += [report.as_json() for report in reports]
    told += [repr(record.__dict__) + record.getMessage() for record in caplog.records]
    told += [str(record.exc_info) + str(record.exc_text) for record in caplog.records]
    # What a connector raised is handed on as it is; what we raise quotes nothing.
    errors = [report.error for report in reports if isinstance(report.error, SyncError)]
    told += [text for error in errors for text in (str(error), repr(error))]

    assert [text for text in told if MARK in text] == []
    assert len(seen.spans) > 1
    assert any(record.name == "syncsdk" for record in caplog.records)


def test_the_marks_are_really_there() -> None:
    kept = {name: carried_out(name, "sync") for name in PARTS}
    results = {report.result for each in kept.values() for report in each[:1]}

    assert results >= {Result.SUCCESS, Result.PARTIAL, Result.FAILED}
    assert sum(report.error is not None for each in kept.values() for report in each[:1]) > 15
    assert MARK in repr(batch().records)


def test_causes_of_our_own_errors_quote_nothing_either() -> None:
    told: list[str] = []
    for name in PARTS:
        if " of another format" in name or "version" in name or "keyset" in name:
            for report in carried_out(name, "sync"):
                error = getattr(report, "error", None)
                while error is not None:
                    told += [f"{name}: {error}"] if MARK in str(error) else []
                    error = error.__cause__

    assert told == []


def made_of_secrets() -> dict[str, Any]:
    """Of each kind of object that holds a record, one that does."""
    sink, store, kept = Creates(), MemoryStore(), {}

    def unsure(changes: Changes) -> list[Any]:
        kept["Change"], kept["Changes"] = changes[0], changes
        return []

    sink.write = unsure  # type: ignore[method-assign]
    run(pipeline(Given(batch(1)), sink), store)
    kept["Intent"] = store.intents("test", 1)[0]
    run(pipeline(Given(batch(1)), Upserts(), leak), store := MemoryStore())
    kept["Letter"] = store.letters("test")[0]
    return kept | {
        "Batch": batch(1),
        "Refused": Refused(RecordError("cut off"), secret("original")),
        "Rejected": Rejected(1, "422", detail=secret("detail")),
        "RecordError": RecordError("no", key=(secret("key"),), detail=secret("detail")),
    }


@pytest.mark.parametrize(
    "name",
    ["Batch", "Change", "Changes", "Intent", "Letter", "RecordError", "Refused", "Rejected"],
)
def test_what_tools_show_of_variables_quotes_no_record(name: str) -> None:
    # Error trackers send the repr of every variable in every frame to somebody else.
    assert MARK not in repr(made_of_secrets()[name])
