"""Who runs what, on which thread, and how it ends: the sync, async and simulated runtimes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import syncsdk.runtime
from syncsdk import (
    Applied,
    Batch,
    Changes,
    Deletes,
    Keyset,
    MemoryStore,
    Pipeline,
    Result,
    SourceCapabilities,
    SQLiteStore,
)
from syncsdk.engine import Options, Run
from syncsdk.errors import ConfigurationError, ContractError
from syncsdk.runtime import (
    END,
    AsyncRuntime,
    Reader,
    Runtime,
    SimulatedRuntime,
    StopFlag,
    SyncRuntime,
    current,
    drive,
    entered,
    is_async,
    left,
)
from tests.fakes import NOON, Creates, Pages, Table, Upserts, pipeline, plain, row

SOON = 10.0
"""Seconds after which a test that waits for a thread gives up; none ever waits so long."""


def ours() -> list[threading.Thread]:
    """The threads of the library that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("syncsdk")]


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    yield
    assert not ours()


def rows(number: int) -> list[dict[str, Any]]:
    return [row(f"r{n}", n) for n in range(number)]


def keys(sink: Upserts) -> set[str]:
    return {key[0] for key in sink.rows}


async def until(event: threading.Event) -> None:
    """Wait for another thread without blocking the loop."""
    assert await asyncio.get_running_loop().run_in_executor(None, event.wait, SOON)


async def some_turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


# -- drive -----------------------------------------------------------------------------


class Suspends:
    """Something to await that asks for an event loop."""

    def __await__(self) -> Any:
        yield self


def test_a_coroutine_is_driven_to_its_result() -> None:
    async def inner() -> int:
        return 7

    async def outer() -> int:
        return await inner() + 1

    assert drive(outer()) == 8


def test_what_a_driven_coroutine_raises_comes_out_as_it_is() -> None:
    async def fails() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        drive(fails())


def test_a_coroutine_that_suspends_is_told_where_to_go() -> None:
    cleaned: list[str] = []

    async def suspends() -> None:
        try:
            await Suspends()
        finally:
            cleaned.append("cleaned")

    with pytest.raises(ConfigurationError, match="run_async") as caught:
        drive(suspends())

    assert cleaned == ["cleaned"]
    assert "suspends" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_coroutine_that_returns_after_the_refusal_is_taken_at_its_word() -> None:
    async def reports() -> str:
        try:
            await Suspends()
        except ConfigurationError as error:
            return f"failed: {error.message}"
        return "never"

    assert drive(reports()).startswith("failed: ")


def test_a_coroutine_that_swallows_the_refusal_and_goes_on_waiting_is_closed() -> None:
    seen: list[str] = []

    async def stubborn() -> None:
        try:
            with contextlib.suppress(ConfigurationError):
                await Suspends()
            await Suspends()
        except GeneratorExit:
            seen.append("closed")
            raise

    with pytest.raises(ConfigurationError, match="run_async"):
        drive(stubborn())

    assert seen == ["closed"]


def test_a_stop_iteration_is_no_result() -> None:
    async def fails() -> None:
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        drive(fails())


def test_it_drives_inside_a_running_loop() -> None:
    async def main() -> int:
        async def inner() -> int:
            return 7

        return drive(inner())

    assert asyncio.run(main()) == 7


# -- What is asynchronous --------------------------------------------------------------


def test_coroutine_functions_are_found_through_partials_and_callable_objects() -> None:
    async def coroutine() -> None: ...

    async def generator() -> AsyncIterator[int]:
        yield 1

    class Callable_:
        async def __call__(self) -> None: ...

        async def method(self) -> None: ...

        def plain(self) -> None: ...

    made = Callable_()
    asynchronous = [coroutine, generator, made, made.method, functools.partial(coroutine)]
    asynchronous += [functools.partial(functools.partial(generator)), functools.partial(made)]

    assert all(map(is_async, asynchronous))
    assert not any(map(is_async, [made.plain, len, functools.partial(len), lambda: 1, str]))


# -- Sleep and stop --------------------------------------------------------------------


class Clock:
    """Stands in for the ``time`` that the runtime sees: a second takes no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.wakes: Callable[[], None] = lambda: None
        monkeypatch.setattr(syncsdk.runtime, "time", self)
        monkeypatch.setattr(asyncio, "sleep", self._asleep)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.wakes()

    async def _asleep(self, seconds: float) -> None:
        self.sleep(seconds)


KINDS = [SyncRuntime, AsyncRuntime]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_takes_as_long_as_it_was_asked_to(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    drive(kind().sleep(1.25))

    assert clock.now == pytest.approx(101.25)
    assert max(clock.slept) <= 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_there_is_no_wait_for_nothing(
    kind: type[Any], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    drive(kind().sleep(seconds))

    assert clock.slept == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_ends_when_a_stop_is_asked_for(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, runtime = Clock(monkeypatch), kind()
    clock.wakes = lambda: runtime.stop.set() if len(clock.slept) == 3 else None

    drive(runtime.sleep(3600.0))
    drive(runtime.sleep(3600.0))

    assert len(clock.slept) == 3


def test_a_simulated_wait_ends_when_a_stop_is_asked_for() -> None:
    runtime = SimulatedRuntime(1)
    runtime.stop.set()

    runtime.run(runtime.sleep(3600.0))

    assert runtime.elapsed < 3600.0


def test_an_alarm_ends_a_real_wait() -> None:
    runtime = SyncRuntime()
    before = signal.signal(signal.SIGALRM, lambda number, frame: runtime.stop.set())
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        drive(runtime.sleep(60.0))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert time.monotonic() - start < 5.0


def test_a_stop_flag_is_set_and_cleared() -> None:
    flag = StopFlag()
    seen = [flag.is_set()]
    flag.set()
    seen.append(flag.is_set())
    flag.clear()

    assert [*seen, flag.is_set()] == [False, True, False]


# -- The current runtime ---------------------------------------------------------------


def test_code_that_a_run_calls_sees_the_runtime_of_the_run() -> None:
    seen: list[Runtime] = []

    class Looks(Upserts):
        def write(self, changes: Changes) -> Any:
            seen.append(current())
            return super().write(changes)

    outside = SyncRuntime()
    token = entered(outside)
    try:
        pipeline(Table(row("a", 1)), Looks()).run(MemoryStore())
        assert current() is outside
    finally:
        left(token)

    assert isinstance(seen[0], SyncRuntime)
    assert seen[0] is not outside


@pytest.mark.parametrize("ahead", [False, True])
def test_code_on_the_threads_of_a_run_sees_its_runtime_too(ahead: bool) -> None:
    seen: list[Runtime] = []

    class Looks(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            seen.append(current())
            return super().read(after)

    flow = pipeline(Looks(row("a", 1), reads_ahead=ahead), Upserts())
    flow.run(MemoryStore())
    asyncio.run(flow.run_async(MemoryStore()))

    assert [type(runtime) for runtime in seen] == [SyncRuntime, AsyncRuntime]


def test_runs_that_were_interleaved_leave_no_runtime_behind() -> None:
    def main() -> Runtime:
        runtime = SimulatedRuntime(3)
        flows = [pipeline(Table(*rows(3)), Upserts())._flow for _ in range(4)]
        stores = [MemoryStore(clock=runtime.now) for _ in flows]
        runtime.run(
            *(
                Run(flow, store, runtime, Options()).execute()
                for flow, store in zip(flows, stores, strict=True)
            )
        )
        return current()

    assert not isinstance(contextvars.Context().run(main), SimulatedRuntime)


# -- Readers ---------------------------------------------------------------------------

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")


class Reads:
    """A way to read: a runtime, ahead or not."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.ahead = "ahead" in kind
        self.threads = kind in ("sync ahead", "async", "async ahead")

    def finish(self, main: Callable[[Runtime], Coroutine[Any, Any, Any]]) -> Any:
        """Run ``main(runtime)`` as a run of this kind is run."""
        if self.kind.startswith("sync"):
            return drive(main(SyncRuntime()))
        if self.kind == "simulated":
            runtime = SimulatedRuntime(1)
            return runtime.run(main(runtime))[0]

        async def whole() -> Any:
            runtime = AsyncRuntime()
            try:
                return await main(runtime)
            finally:
                runtime.close()

        return asyncio.run(whole())

    def take(self, read: Callable[[], Any], number: int = 99, **options: Any) -> list[Any]:
        """Read so many items, close, and return them."""

        async def main(runtime: Runtime) -> list[Any]:
            reader = runtime.reader(read, ahead=self.ahead, **options)
            items = []
            try:
                while len(items) < number and (item := await reader.next()) is not END:
                    items.append(item)
            finally:
                await reader.close()
            return items

        taken: list[Any] = self.finish(main)
        return taken


ALL = ["sync", "sync ahead", "async", "async ahead", "simulated"]


@pytest.fixture(params=ALL)
def reads(request: pytest.FixtureRequest) -> Reads:
    return Reads(request.param)


@pytest.fixture(params=["sync ahead", "async", "async ahead"])
def threaded(request: pytest.FixtureRequest) -> Reads:
    return Reads(request.param)


class Steps:
    """A generator that notes on which thread each of its steps ran."""

    def __init__(self, pages: int = 5) -> None:
        self.pages = pages
        self.threads: list[int] = []
        self.fetched = 0
        self.closed = 0

    def note(self) -> None:
        self.threads.append(threading.get_ident())

    def __call__(self) -> Iterator[list[int]]:
        self.note()
        return self.generate()

    def generate(self) -> Iterator[list[int]]:
        try:
            for page in range(self.pages):
                self.note()
                self.fetched += 1
                yield [page, page]
        finally:
            self.note()
            self.closed += 1

    def clock(self) -> datetime:
        self.note()
        return NOON


def test_all_items_come_in_their_order(reads: Reads) -> None:
    steps = Steps()

    assert reads.take(steps) == [[page, page] for page in range(5)]
    assert steps.closed == 1


def test_any_iterable_will_do(reads: Reads) -> None:
    assert reads.take(lambda: [[1], [2]]) == [[1], [2]]
    assert reads.take(lambda: iter(([1],))) == [[1]]
    assert reads.take(list) == []


def test_what_is_not_iterable_is_an_error(reads: Reads) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        reads.take(lambda: 7)


def test_a_generator_that_is_left_early_is_closed(reads: Reads) -> None:
    steps = Steps()

    assert reads.take(steps, 1) == [[0, 0]]
    assert steps.closed == 1


def test_a_reader_that_was_never_asked_is_closed(reads: Reads) -> None:
    assert reads.take(Steps(), 0) == []


def test_the_end_is_the_end_however_often_one_asks(reads: Reads) -> None:
    async def main(runtime: Runtime) -> list[Any]:
        reader = runtime.reader(Steps(1), ahead=reads.ahead)
        items = [await reader.next(), await reader.next()]
        await reader.close()
        return items

    assert reads.finish(main) == [[0, 0], END]


def test_the_clock_is_asked_once_after_the_first_item_on_the_same_thread(reads: Reads) -> None:
    steps = Steps()
    events: list[str] = []

    def clock() -> datetime:
        events.append(f"clock after {steps.fetched}")
        return steps.clock()

    async def main(runtime: Runtime) -> list[Any]:
        reader = runtime.reader(steps, clock=clock, ahead=reads.ahead)
        clocks: list[Any] = [reader.clock]
        while await reader.next() is not END:
            clocks.append(reader.clock)
        await reader.close()
        return clocks

    clocks = reads.finish(main)

    assert clocks[1:] == [NOON] * 5
    assert events == ["clock after 1"]
    assert len(set(steps.threads)) == 1


def test_the_clock_of_an_empty_read_is_not_asked(reads: Reads) -> None:
    asked: list[int] = []

    reads.take(Steps(0), clock=lambda: asked.append(1))

    assert asked == []


def test_a_read_is_on_one_thread_from_the_first_step_to_the_close(reads: Reads) -> None:
    for number in (2, 99):
        steps = Steps()
        reads.take(steps, number)
        assert len(set(steps.threads)) == 1
        assert (threading.get_ident() in steps.threads) is not reads.threads


def users_own_code(page: int) -> list[int]:
    if page == 2:
        raise LookupError("in page 2")
    return [page]


def test_what_the_source_raises_comes_with_the_frames_of_its_code(reads: Reads) -> None:
    touched: list[int] = []

    def read() -> Iterator[list[int]]:
        for page in range(5):
            touched.append(page)
            yield users_own_code(page)

    async def main(runtime: Runtime) -> Any:
        reader = runtime.reader(read, ahead=reads.ahead)
        try:
            assert await reader.next() == [0]
            assert await reader.next() == [1]
            with pytest.raises(LookupError, match="in page 2") as caught:
                await reader.next()
            return caught.value
        finally:
            await reader.close()

    frames = traceback.extract_tb(reads.finish(main).__traceback__)

    assert frames[-1].name == "users_own_code"
    assert "read" in [frame.name for frame in frames]
    assert touched == [0, 1, 2]


def test_an_error_while_opening_is_raised_by_the_first_item(reads: Reads) -> None:
    def read() -> Any:
        raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        reads.take(read)


def test_an_error_of_the_clock_is_raised_by_the_first_item(reads: Reads) -> None:
    def clock() -> Any:
        raise LookupError("no clock")

    with pytest.raises(LookupError, match="no clock"):
        reads.take(Steps(), clock=clock)


@pytest.mark.parametrize("kind", ["sync", "sync ahead", "simulated"])
def test_a_stop_iteration_while_opening_is_not_the_end(kind: str) -> None:
    def read() -> Any:
        return next(iter(()))

    with pytest.raises(RuntimeError):
        Reads(kind).take(read)


@pytest.mark.parametrize("kind", ["sync ahead", "async", "async ahead"])
def test_what_a_generator_sets_in_its_context_stays_with_it(kind: str) -> None:
    seen: list[str] = []

    def read() -> Iterator[list[int]]:
        for page in range(3):
            seen.append(VAR.get())
            token = VAR.set(f"page {page}")
            yield [page]
            if page == 2:
                VAR.reset(token)

    def main() -> str:
        VAR.set("caller")
        Reads(kind).take(read)
        return VAR.get()

    assert contextvars.Context().run(main) == "caller"
    assert seen == ["caller", "page 0", "page 1"]


# -- Reading ahead ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync ahead", "async ahead"])
def test_the_next_item_is_fetched_while_the_last_one_is_worked_on(kind: str) -> None:
    fetched = [threading.Event() for _ in range(4)]

    def read() -> Iterator[list[int]]:
        for page in range(4):
            fetched[page].set()
            yield [page]

    async def main(runtime: Runtime) -> bool:
        reader = runtime.reader(read, ahead=True)
        await reader.next()
        if isinstance(runtime, AsyncRuntime):
            await until(fetched[1])
        else:
            assert fetched[1].wait(SOON)
        too_far = fetched[2].is_set()
        await reader.close()
        return too_far

    assert Reads(kind).finish(main) is False
    assert not fetched[2].is_set()


@pytest.mark.parametrize("kind", ["sync", "async", "simulated"])
def test_without_reading_ahead_nothing_is_fetched_before_it_is_asked_for(kind: str) -> None:
    steps = Steps()
    counts: list[int] = []

    async def main(runtime: Runtime) -> None:
        reader = runtime.reader(steps)
        for _ in range(3):
            await reader.next()
            counts.append(steps.fetched)
        await reader.close()

    Reads(kind).finish(main)

    assert counts == [1, 2, 3]
    assert steps.fetched == 3


@pytest.mark.parametrize("kind", ["sync ahead", "async ahead"])
@pytest.mark.parametrize(("limit", "pages"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (99, 5)])
def test_nothing_is_fetched_past_the_limit(kind: str, limit: int, pages: int) -> None:
    steps = Steps()
    taken = -(-limit // 2)

    Reads(kind).take(steps, taken, limit=limit)

    assert steps.fetched == pages


def test_a_close_while_an_item_is_in_flight_waits_for_it() -> None:
    started, go = threading.Event(), threading.Event()
    events: list[str] = []

    def read() -> Iterator[list[int]]:
        try:
            yield [0]
            started.set()
            assert go.wait(SOON)
            events.append("fetched")
            yield [1]
        finally:
            events.append("closed")

    reader = SyncRuntime().reader(read, ahead=True)
    assert drive(reader.next()) == [0]
    assert started.wait(SOON)

    def close() -> None:
        drive(reader.close())
        events.append("let go")

    closer = threading.Thread(target=close)
    closer.start()
    go.set()
    closer.join(SOON)

    assert events == ["fetched", "closed", "let go"]


def test_an_asynchronous_close_while_an_item_is_in_flight_waits_for_it() -> None:
    started, go = threading.Event(), threading.Event()
    events: list[str] = []

    def read() -> Iterator[list[int]]:
        try:
            yield [0]
            started.set()
            assert go.wait(SOON)
            events.append("fetched")
            yield [1]
        finally:
            events.append("closed")

    async def main(runtime: Runtime) -> None:
        reader = runtime.reader(read, ahead=True)
        assert await reader.next() == [0]
        await until(started)
        closing = asyncio.ensure_future(reader.close())
        await some_turns()
        assert not closing.done()
        go.set()
        await closing
        events.append("let go")

    Reads("async ahead").finish(main)

    assert events == ["fetched", "closed", "let go"]


def test_an_error_in_an_item_that_nobody_asked_for_is_not_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = threading.Event()

    def read() -> Iterator[list[int]]:
        yield [0]
        failing.set()
        raise LookupError("in a page that nobody asked for")

    async def main(runtime: Runtime) -> None:
        reader = runtime.reader(read, ahead=True)
        assert await reader.next() == [0]
        if isinstance(runtime, AsyncRuntime):
            await until(failing)
        else:
            assert failing.wait(SOON)
        await reader.close()

    for kind in ("sync ahead", "async ahead"):
        failing.clear()
        Reads(kind).finish(main)

    assert caplog.records == []


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_source_that_fails_when_it_is_closed_is_a_warning(
    face: str, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unhandled: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", unhandled.append)

    class Sticks(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            try:
                yield from super().read(after)
            finally:
                raise LookupError("stuck")

    flow = pipeline(Sticks(*rows(4), reads_ahead=ahead), Upserts())
    report = (
        flow.run(MemoryStore(), limit=2)
        if face == "sync"
        else asyncio.run(flow.run_async(MemoryStore(), limit=2))
    )

    assert report.result is Result.SUCCESS
    assert ["LookupError" in warning for warning in report.warnings] == [True]
    assert unhandled == []


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_source_that_yields_something_else_breaks_its_contract(face: str, ahead: bool) -> None:
    flow = pipeline(Pages(7, reads_ahead=ahead), Upserts())
    report = (
        flow.run(MemoryStore()) if face == "sync" else asyncio.run(flow.run_async(MemoryStore()))
    )

    assert isinstance(report.error, ContractError)


@pytest.mark.parametrize("face", ["sync", "async"])
def test_reading_ahead_settles_what_reading_in_step_settles(face: str) -> None:
    reports = []
    for ahead in (False, True):
        sink, store = Upserts(), MemoryStore()
        flow = pipeline(Table(*rows(7), reads_ahead=ahead), sink)
        options = [{"limit": 3}, {}, {}]
        for each in options:
            report = (
                flow.run(store, **each)  # type: ignore[arg-type]
                if face == "sync"
                else asyncio.run(flow.run_async(store, **each))  # type: ignore[arg-type]
            )
            reports.append((ahead, report.result, report.counts, len(sink.rows)))

    assert [each[1:] for each in reports[:3]] == [each[1:] for each in reports[3:]]
    assert reports[-2][3] == 7


def test_a_helper_thread_that_is_interrupted_ends_the_run() -> None:
    def read(after: str | None) -> Iterator[Batch]:
        yield Batch(["a"], [{"id": "a"}])
        raise KeyboardInterrupt

    source, store = Table(reads_ahead=True), MemoryStore()
    source.read = read  # type: ignore[method-assign]

    with pytest.raises(KeyboardInterrupt):
        pipeline(source, Upserts()).run(store)

    assert pipeline(Table(), Upserts()).run(store).result is Result.SUCCESS


# -- The asynchronous face: threads ----------------------------------------------------


class Threads:
    """Notes the thread of every call, by place."""

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {}

    def note(self, place: str) -> None:
        self.seen.setdefault(place, set()).add(threading.get_ident())


class WatchedSource(Table):
    def __init__(self, threads: Threads, *given: dict[str, Any], **capabilities: Any) -> None:
        cursor = Keyset("ts", "id", lateness=timedelta(minutes=1))
        super().__init__(*given, cursor=cursor, **capabilities)
        self.threads = threads

    def clock(self) -> datetime:
        self.threads.note("source")
        return super().clock()

    def fetch(self, keys: Sequence[Any]) -> Batch:
        self.threads.note("source")
        return Batch([], [])

    def read(self, after: str | None) -> Iterator[Batch]:
        self.threads.note("source")
        try:
            for batch in super().read(after):
                self.threads.note("source")
                yield batch
        finally:
            self.threads.note("source")


class WatchedSink(Creates):
    def __init__(self, threads: Threads) -> None:
        super().__init__()
        self.threads = threads

    def write(self, changes: Changes) -> Any:
        self.threads.note("sink")
        return super().write(changes)

    def find(self, changes: Changes) -> Sequence[str | None]:
        self.threads.note("sink")
        return [None for _ in changes]


class WatchedStore(MemoryStore):
    threads: Threads

    def look_up(self, *given: Any) -> Any:
        self.threads.note("store")
        return super().look_up(*given)

    def commit(self, *given: Any) -> None:
        self.threads.note("store")
        super().commit(*given)


@pytest.mark.parametrize("ahead", [False, True])
def test_each_synchronous_part_has_a_thread_of_its_own(ahead: bool) -> None:
    threads, store = Threads(), WatchedStore()
    store.threads = threads
    source = WatchedSource(threads, *rows(5), reads_ahead=ahead)

    async def main() -> Any:
        return await pipeline(source, WatchedSink(threads)).run_async(store)

    report = asyncio.run(main())

    assert report.result is Result.SUCCESS
    assert {place: len(seen) for place, seen in threads.seen.items()} == {
        "source": 1,
        "sink": 1,
        "store": 1,
    }
    assert len(set.union(*threads.seen.values(), {threading.get_ident()})) == 4


def test_the_sync_face_needs_no_thread_unless_it_reads_ahead() -> None:
    threads, store = Threads(), WatchedStore()
    store.threads = threads
    pipeline(WatchedSource(threads, *rows(5)), WatchedSink(threads)).run(store)

    assert set.union(*threads.seen.values()) == {threading.get_ident()}


def test_only_the_source_of_a_run_that_reads_ahead_has_another_thread() -> None:
    threads, store = Threads(), WatchedStore()
    store.threads = threads
    pipeline(WatchedSource(threads, *rows(5), reads_ahead=True), WatchedSink(threads)).run(store)

    source = threads.seen.pop("source")
    assert len(source) == 1
    assert threading.get_ident() not in source
    assert set.union(*threads.seen.values()) == {threading.get_ident()}


class Database:
    """A source that holds a connection which only its own thread may use."""

    def __init__(self, path: Path, **capabilities: Any) -> None:
        self.path = path
        self.closed = 0
        self.capabilities = SourceCapabilities(Table.keyset, **capabilities)

    def read(self, after: str | None) -> Iterator[Batch]:
        connection = sqlite3.connect(self.path)
        try:
            value, id = ("", "") if after is None else Table.keyset.split(after)
            found = connection.execute(
                "SELECT ts, id FROM things WHERE (ts, id) > (?, ?) ORDER BY ts, id", (value, id)
            )
            while page := found.fetchmany(2):
                records = [{"id": id} for _, id in page]
                yield Batch.of(records, key="id", after=Table.keyset.cursor(*page[-1]))
        finally:
            connection.close()
            self.closed += 1


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_generator_may_hold_a_connection_that_knows_its_thread(
    face: str, ahead: bool, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "source.db")) as connection, connection:
        connection.execute("CREATE TABLE things (ts TEXT, id TEXT)")
        connection.executemany(
            "INSERT INTO things VALUES (?, ?)",
            [(f"2026-03-01T12:00:0{n}Z", f"r{n}") for n in range(7)],
        )
    source, sink, store = Database(tmp_path / "source.db", reads_ahead=ahead), Upserts(), None
    store = MemoryStore()
    flow = pipeline(source, sink)

    for options in ({"limit": 2}, {}):
        report = (
            flow.run(store, **options)  # type: ignore[arg-type]
            if face == "sync"
            else asyncio.run(flow.run_async(store, **options))  # type: ignore[arg-type]
        )
        assert report.result is Result.SUCCESS, report
        assert report.warnings == []

    assert keys(sink) == {f"r{n}" for n in range(7)}
    assert source.closed == 2


class Gate:
    """Holds a thread until it is told to go on, and says that it is there."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        self.opened = False
        self.passed = False

    def __call__(self, patience: float = SOON) -> None:
        self.reached.set()
        self.opened = self.go.wait(patience)
        self.passed = True


class SlowSink(Upserts):
    def __init__(self, gate: Gate, patience: float = SOON) -> None:
        super().__init__()
        self.gate = gate
        self.patience = patience

    def write(self, changes: Changes) -> Any:
        self.gate(self.patience)
        return super().write(changes)


def test_a_cancelled_run_waits_for_the_write_under_way() -> None:
    gate, store = Gate(), MemoryStore()
    sink = SlowSink(gate)

    async def main() -> None:
        task = asyncio.ensure_future(pipeline(Table(row("a", 1)), sink).run_async(store))
        await until(gate.reached)
        task.cancel()
        await some_turns()
        assert not task.done()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ours()

    asyncio.run(main())

    assert keys(sink) == {"a"}
    assert store.load("test").seq == 0
    assert pipeline(Table(row("a", 1)), sink).run(store).result is Result.SUCCESS


def test_a_run_that_is_cancelled_twice_keeps_its_lease_while_it_writes() -> None:
    gate, ended = Gate(), []

    class Watched(AsyncStore):
        async def release(self, lease: Any, report: str) -> None:
            ended.append(gate.passed)
            self.inner.release(lease, report)

    async def main() -> None:
        # Of all parts only the sink has a thread: what comes after it takes some turns.
        source, sink = ReturnsAsyncIterator(row("a", 1)), SlowSink(gate, patience=0.5)
        store: Any = Watched(MemoryStore())
        task = asyncio.ensure_future(pipeline(source, sink).run_async(store))
        await until(gate.reached)
        for _ in range(2):
            task.cancel()
            await some_turns()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert ended == [True]


def test_a_cancelled_run_leaves_no_thread_that_reads_ahead() -> None:
    gate = Gate()

    class SlowSource(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            for number, batch in enumerate(super().read(after)):
                if number == 1:
                    gate()
                yield batch

    async def main() -> None:
        source = SlowSource(*rows(6), reads_ahead=True)
        task = asyncio.ensure_future(pipeline(source, Upserts()).run_async(MemoryStore()))
        await until(gate.reached)
        task.cancel()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ours()

    asyncio.run(main())


def test_a_commit_under_way_is_finished_before_a_cancellation_goes_through() -> None:
    gate = Gate()

    class SlowStore(MemoryStore):
        def commit(self, lease: Any, commit: Any) -> None:
            gate()
            super().commit(lease, commit)

    store, sink = SlowStore(), Upserts()

    async def main() -> None:
        task = asyncio.ensure_future(pipeline(Table(row("a", 1)), sink).run_async(store))
        await until(gate.reached)
        task.cancel()
        await some_turns()
        assert not task.done()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert store.load("test").seq == 1
    again = pipeline(Table(row("a", 1)), sink).run(store)
    assert (again.result, again.counts.read) == (Result.SUCCESS, 0)


class AsyncStore:
    """A store whose every method is a coroutine."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.inner, name)

        async def call(*given: Any, **named: Any) -> Any:
            await asyncio.sleep(0)
            return function(*given, **named)

        return call


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_a_commit_of_an_asynchronous_store_is_finished_before_a_cancellation(
    times: int, hidden: bool
) -> None:
    inner = MemoryStore()

    async def main() -> None:
        started, go = asyncio.Event(), asyncio.Event()

        class Slow(AsyncStore):
            async def commit(self, lease: Any, commit: Any) -> None:
                started.set()
                await go.wait()
                self.inner.commit(lease, commit)

        store: Any = Slow(inner)
        if hidden:  # behind a plain function, as a decorator leaves it
            commit = store.commit
            store.commit = lambda *given: commit(*given)
        flow = pipeline(ReturnsAsyncIterator(row("a", 1)), AsyncSink())
        task = asyncio.ensure_future(flow.run_async(store))
        await started.wait()
        for _ in range(times):
            task.cancel()
            await some_turns()
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert inner.load("test").seq == 1
    assert pipeline(Table(), Upserts()).run(inner).result is Result.SUCCESS


@pytest.mark.parametrize("place", ["write", "read", "commit"])
def test_a_stop_iteration_of_a_part_on_its_thread_fails_the_run(place: str) -> None:
    def stops(*given: Any, **named: Any) -> Any:
        return next(iter(()))

    source, sink, store = Table(row("a", 1)), Upserts(), MemoryStore()
    setattr({"write": sink, "read": source, "commit": store}[place], place, stops)
    reports: list[Any] = []

    async def main() -> None:
        reports.append(await pipeline(source, sink).run_async(store))

    def whole() -> None:
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            # What the loop has to say about it is not the matter here.
            loop.set_exception_handler(lambda loop, context: None)
            loop.run_until_complete(main())

    # In a thread of its own, for it must not take the whole suite with it.
    worker = threading.Thread(target=whole, daemon=True)
    worker.start()
    worker.join(2.0)
    for thread in ours():  # of a run that hangs: not what the next test is about
        thread.name = "hung"

    assert not worker.is_alive(), "the run hangs"
    assert [report.result for report in reports] == [Result.FAILED]


# -- The asynchronous face: asynchronous parts -----------------------------------------


class AsyncSource(Table):
    """The same table, read by a coroutine."""

    closed = 0
    tasks: list[Any]

    def __init__(self, *given: dict[str, Any], **capabilities: Any) -> None:
        super().__init__(*given, **capabilities)
        self.tasks = []

    async def read(self, after: str | None) -> AsyncIterator[Batch]:  # type: ignore[override]
        self.tasks.append(asyncio.current_task())
        try:
            for batch in Table.read(self, after):
                await asyncio.sleep(0)
                self.tasks.append(asyncio.current_task())
                yield batch
        finally:
            self.tasks.append(asyncio.current_task())
            self.closed += 1

    async def clock(self) -> datetime:  # type: ignore[override]
        await asyncio.sleep(0)
        return Table.clock(self)


class AsyncSink(Upserts):
    async def write(self, changes: Changes) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return Upserts.write(self, changes)


class Iterates:
    """An asynchronous iterator that is no generator."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self.batches = batches

    def __aiter__(self) -> Iterates:
        return self

    async def __anext__(self) -> Batch:
        await asyncio.sleep(0)
        for batch in self.batches:
            return batch
        raise StopAsyncIteration


class ReturnsAsyncIterator(Table):
    def read(self, after: str | None) -> Any:
        return Iterates(super().read(after))


class AwaitsIterator(Table):
    async def read(self, after: str | None) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return Iterates(Table.read(self, after))


class AwaitsList(Table):
    async def read(self, after: str | None) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return list(Table.read(self, after))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kind", [AsyncSource, ReturnsAsyncIterator, AwaitsIterator, AwaitsList])
def test_a_source_may_be_asynchronous_in_any_way(kind: type[Table], ahead: bool) -> None:
    cursor = Keyset("ts", "id", lateness=timedelta(minutes=1))
    source, sink, store = kind(*rows(5), reads_ahead=ahead, cursor=cursor), AsyncSink(), None
    memory = MemoryStore()
    store = AsyncStore(memory)

    report = asyncio.run(pipeline(source, sink).run_async(store))  # type: ignore[arg-type]

    assert report.result is Result.SUCCESS, report
    assert keys(sink) == {f"r{n}" for n in range(5)}
    assert memory.load("test").cursor is not None


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("limit", [2, None])
def test_an_asynchronous_generator_is_closed_before_the_run_ends(
    limit: int | None, ahead: bool
) -> None:
    source = AsyncSource(*rows(6), reads_ahead=ahead)
    kept: list[Any] = []
    read = source.read

    def keeping(after: str | None) -> Any:
        kept.append(read(after))  # so that no garbage collector closes it
        return kept[-1]

    source.read = keeping  # type: ignore[method-assign, assignment]

    async def main() -> int:
        await pipeline(source, Upserts()).run_async(MemoryStore(), limit=limit)
        return source.closed

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("ahead", [False, True])
def test_an_asynchronous_generator_runs_in_one_task_from_first_to_close(ahead: bool) -> None:
    # asyncio.timeout, TaskGroup and every cancel scope demand that, around a yield.
    source = AsyncSource(*rows(6), reads_ahead=ahead)

    asyncio.run(pipeline(source, Upserts()).run_async(MemoryStore(), limit=3))

    assert len(set(map(id, source.tasks))) == 1


@pytest.mark.parametrize("ahead", [False, True])
def test_an_asynchronous_generator_keeps_what_it_set_in_its_context(ahead: bool) -> None:
    seen: list[str] = []

    class Sets(AsyncSource):
        async def read(self, after: str | None) -> AsyncIterator[Batch]:  # type: ignore[override]
            for page, batch in enumerate(Table.read(self, after)):
                seen.append(VAR.get())
                VAR.set(f"page {page}")
                yield batch

    asyncio.run(pipeline(Sets(*rows(6), reads_ahead=ahead), Upserts()).run_async(MemoryStore()))

    assert seen == ["unset", "page 0", "page 1"]


@pytest.mark.parametrize("place", ["source.read", "source.clock", "sink.write"])
def test_a_plain_function_that_returns_something_to_await_will_do(place: str) -> None:
    source = AsyncSource(*rows(3), cursor=Keyset("ts", "id", lateness=timedelta(minutes=1)))
    sink, made = AsyncSink(), []
    part, name = place.split(".")
    owner = {"source": source, "sink": sink}[part]
    function = getattr(owner, name)

    def through(*given: Any) -> Any:
        made.append(function(*given))
        return made[-1]

    setattr(owner, name, through)
    report = asyncio.run(pipeline(source, sink).run_async(MemoryStore()))
    for each in made:
        if asyncio.iscoroutine(each):
            each.close()  # one that was forgotten must not trouble the next test

    assert report.result is Result.SUCCESS, report
    assert len(sink.rows) == 3


def test_an_asynchronous_source_may_fetch_and_a_sink_find() -> None:
    class Fetches(AsyncSource):
        async def fetch(self, keys: Sequence[Any]) -> Batch:
            await asyncio.sleep(0)
            return Batch(keys, [{"id": "a", "mended": True}], versions=[2])

    source, sink, store = Fetches(row("a", 1)), AsyncSink(), MemoryStore()
    sink.refuses = lambda change: "mended" not in change.record
    flow = pipeline(source, sink)

    async def main() -> list[Result]:
        first = await flow.run_async(store)
        return [first.result, (await flow.replay_async(store)).result]

    assert asyncio.run(main()) == [Result.PARTIAL, Result.SUCCESS]
    assert sink.rows == {("a",): {"id": "a", "mended": True}}


def test_a_cancelled_asynchronous_source_is_closed_and_the_lease_is_free() -> None:
    store, events = MemoryStore(), []

    async def main() -> None:
        waiting = asyncio.Event()

        class Hangs(AsyncSource):
            async def read(self, after: str | None) -> AsyncIterator[Batch]:  # type: ignore[override]
                try:
                    waiting.set()
                    await asyncio.Event().wait()
                    yield Batch([], [])
                finally:
                    events.append("closed")

        task = asyncio.ensure_future(pipeline(Hangs(), Upserts()).run_async(store))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert events == ["closed"]
    assert pipeline(Table(), Upserts()).run(store).result is Result.SUCCESS


@pytest.mark.parametrize("ahead", [False, True])
def test_a_source_that_waits_for_something_cancelled_ends_the_run(ahead: bool) -> None:
    store = MemoryStore()

    async def main() -> None:
        shared = asyncio.ensure_future(asyncio.sleep(0))
        shared.cancel()

        class Waits(AsyncSource):
            async def read(self, after: str | None) -> AsyncIterator[Batch]:  # type: ignore[override]
                yield Batch(["a"], [{"id": "a"}], versions=[1])
                await shared

        flow = pipeline(Waits(reads_ahead=ahead), AsyncSink())
        task = asyncio.ensure_future(flow.run_async(store))
        done, _ = await asyncio.wait([task], timeout=2.0)
        task.cancel()
        assert done, "the run hangs"
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert pipeline(Table(), Upserts()).run(store).result is Result.SUCCESS


@pytest.mark.parametrize("ahead", [False, True])
def test_a_cancellation_while_the_source_is_closed_waits_and_goes_through(ahead: bool) -> None:
    gate = Gate()

    class SlowToClose(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            try:
                yield from super().read(after)
            finally:
                gate(0.5)

    async def main() -> None:
        flow = pipeline(SlowToClose(*rows(6), reads_ahead=ahead), Upserts())
        task = asyncio.ensure_future(flow.run_async(MemoryStore(), limit=2))
        await until(gate.reached)
        task.cancel()
        await some_turns()
        assert not task.done()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ours()

    asyncio.run(main())

    assert gate.opened, "the event loop stood still"


# -- run() refuses what is asynchronous ------------------------------------------------


class Untouched(MemoryStore):
    """A store that must not be asked anything."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            function = super().__getattribute__(name)

            @functools.wraps(function)
            def refuse(*given: Any, **named: Any) -> Any:
                raise AssertionError(f"{name} was called")

            return refuse
        return super().__getattribute__(name)


async def never(*given: Any, **named: Any) -> Any:
    raise AssertionError("it was called")


class CallsAsync:
    async def __call__(self, *given: Any, **named: Any) -> Any:
        raise AssertionError("it was called")


@pytest.mark.parametrize("how", [never, functools.partial(never, 1), CallsAsync()])
@pytest.mark.parametrize(
    "place", ["source.read", "source.clock", "source.fetch", "sink.write", "sink.find"]
)
@pytest.mark.parametrize("call", ["run", "plan", "replay"])
def test_an_asynchronous_part_is_refused_before_any_of_them_is_asked(
    call: str, place: str, how: Any
) -> None:
    source, sink = Table(row("a", 1)), Upserts()
    part, name = place.split(".")
    setattr({"source": source, "sink": sink}[part], name, how)
    flow = pipeline(source, sink)

    with pytest.raises(ConfigurationError, match="run_async") as caught:
        getattr(flow, call)(Untouched())

    assert place in str(caught.value)
    assert source.reads == []


def test_an_asynchronous_store_is_refused_before_anything_is_read() -> None:
    source = Table(row("a", 1))

    with pytest.raises(ConfigurationError, match="run_async"):
        pipeline(source, Upserts()).run(AsyncStore(MemoryStore()))  # type: ignore[arg-type]

    assert source.reads == []


def test_a_part_that_hides_that_it_is_asynchronous_is_found_out_and_told_the_same() -> None:
    class Hides(Upserts):
        def write(self, changes: Changes) -> Any:
            return never()

    store = MemoryStore()
    report = pipeline(Table(row("a", 1)), Hides()).run(store)

    assert report.result is Result.FAILED
    assert "run_async" in str(report.error)
    assert store.load("test").seq == 0


@pytest.mark.parametrize("ahead", [False, True])
def test_a_source_that_hides_that_it_is_asynchronous_is_found_out(ahead: bool) -> None:
    report = pipeline(ReturnsAsyncIterator(row("a", 1), reads_ahead=ahead), Upserts()).run(
        MemoryStore()
    )

    assert report.result is Result.FAILED
    assert "run_async" in str(report.error)


def test_an_asynchronous_mapping_is_refused_when_the_pipeline_is_built() -> None:
    with pytest.raises(ConfigurationError, match="asynchronous"):
        pipeline(Table(), Upserts(), never)


# -- Where a run may run ---------------------------------------------------------------


@pytest.mark.parametrize("ahead", [False, True])
def test_run_works_inside_a_running_loop(ahead: bool) -> None:
    sink = Upserts()

    async def main() -> Result:
        return pipeline(Table(*rows(5), reads_ahead=ahead), sink).run(MemoryStore()).result

    assert asyncio.run(main()) is Result.SUCCESS
    assert len(sink.rows) == 5


@pytest.mark.parametrize("ahead", [False, True])
def test_run_works_in_a_thread(ahead: bool, tmp_path: Path) -> None:
    sink, results = Upserts(), []
    with contextlib.closing(SQLiteStore(tmp_path / "state.db")) as store:
        flow = pipeline(Table(*rows(5), reads_ahead=ahead), sink)
        worker = threading.Thread(target=lambda: results.append(flow.run(store).result))
        worker.start()
        worker.join(SOON)
        results.append(flow.run(store).result)

    assert results == [Result.SUCCESS, Result.SUCCESS]
    assert len(sink.rows) == 5


def test_two_runs_share_an_event_loop() -> None:
    sinks = [AsyncSink(), Upserts()]
    store = MemoryStore()
    flows = [
        Pipeline(f"flow {n}", source=source, sink=sink, mapping=plain, mapping_version="1",
                 owner="tests")
        for n, (source, sink) in enumerate(
            zip([AsyncSource(*rows(5)), Table(*rows(6))], sinks, strict=True)
        )
    ]  # fmt: skip

    async def main() -> list[Result]:
        reports = await asyncio.gather(*(flow.run_async(store) for flow in flows))
        return [report.result for report in reports]

    assert asyncio.run(main()) == [Result.SUCCESS] * 2
    assert [len(sink.rows) for sink in sinks] == [5, 6]


@pytest.mark.parametrize("ahead", [False, True])
def test_two_pipelines_run_at_once_in_one_process(ahead: bool, tmp_path: Path) -> None:
    both = threading.Barrier(2)
    runtimes: list[Runtime] = []

    class Meets(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            both.wait(SOON)
            return super().read(after)

    class Looks(Upserts):
        def write(self, changes: Changes) -> Any:
            runtimes.append(current())
            return super().write(changes)

    sinks = [Looks(), Looks()]
    reports: list[Any] = [None, None]
    with contextlib.closing(SQLiteStore(tmp_path / "state.db")) as store:

        def work(n: int) -> None:
            flow = Pipeline(
                f"flow {n}",
                source=Meets(*rows(4 + n), reads_ahead=ahead),
                sink=sinks[n],
                mapping=plain,
                mapping_version="1",
                owner="tests",
            )
            reports[n] = flow.run(store)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(SOON)

    assert [report.result for report in reports] == [Result.SUCCESS] * 2
    assert [report.counts.created for report in reports] == [4, 5]
    assert len(set(map(id, runtimes))) == 2


def test_a_second_run_of_a_pipeline_that_is_under_way_is_skipped() -> None:
    store, results = MemoryStore(), []
    flow: Any = None

    class Again(Upserts):
        def write(self, changes: Changes) -> Any:
            results.append(flow.run(store).result)
            return super().write(changes)

    flow = pipeline(Table(row("a", 1)), Again())
    results.append(flow.run(store).result)

    assert results == [Result.SKIPPED, Result.SUCCESS]


def forked(flow: Pipeline, store: SQLiteStore, answers: Any) -> None:
    before = store.load("test").seq
    report = flow.run(store)
    answers.send((before, report.result.value, report.counts.created, report.warnings))
    answers.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("ahead", [False, True])
def test_a_forked_worker_runs_what_its_parent_has_run_before(ahead: bool, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    source, sink = Table(*rows(4), reads_ahead=ahead), Upserts()
    with contextlib.closing(SQLiteStore(tmp_path / "state.db")) as store:
        flow = pipeline(source, sink)
        assert flow.run(store).result is Result.SUCCESS
        source.put(**row("new", 99))
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=forked, args=(flow, store, sender))
        worker.start()
        sender.close()
        answer = receiver.recv() if receiver.poll(SOON) else None
        worker.join(SOON)

        assert answer == (store.load("test").seq - 1, "success", 1, [])
        assert worker.exitcode == 0
        again = flow.run(store)

    assert (again.result, again.counts.read) == (Result.SUCCESS, 0)


# -- Stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [False, True])
def test_a_signal_handler_stops_a_run_after_the_batch_at_hand(ahead: bool) -> None:
    class Signals(Upserts):
        def write(self, changes: Changes) -> Any:
            os.kill(os.getpid(), signal.SIGUSR1)
            return super().write(changes)

    source, sink, store = Table(*rows(6), reads_ahead=ahead), Signals(), MemoryStore()
    flow = pipeline(source, sink)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: flow.stop())
    try:
        report = flow.run(store)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert (report.result, report.counts.created, report.unsettled) == (Result.STOPPED, 2, 0)
    assert store.load("test").cursor == Table.keyset.cursor("2026-03-01T12:00:01Z", "r1")


def test_an_alarm_reaches_a_run_that_waits_for_its_helper_thread() -> None:
    struck = threading.Event()

    class Slow(Table):
        def read(self, after: str | None) -> Iterator[Batch]:
            for number, batch in enumerate(super().read(after)):
                if number == 1:
                    assert struck.wait(SOON)
                yield batch

    sink, store = Upserts(), MemoryStore()
    flow = pipeline(Slow(*rows(6), reads_ahead=True), sink)

    def handler(number: int, frame: Any) -> None:
        flow.stop()
        struck.set()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        report = flow.run(store)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert report.result is Result.STOPPED
    assert report.counts.read in (0, 2, 4)
    assert flow.run(store).result is Result.SUCCESS
    assert len(sink.rows) == 6


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("face", ["sync", "async"])
def test_another_thread_stops_a_run_and_the_next_one_goes_on(face: str, ahead: bool) -> None:
    class Stopped(Upserts):
        stops = True

        def write(self, changes: Changes) -> Any:
            if self.stops:
                other = threading.Thread(target=flow.stop)
                other.start()
                other.join(SOON)
            return super().write(changes)

    sink, store = Stopped(), MemoryStore()
    flow = pipeline(Table(*rows(6), reads_ahead=ahead), sink)

    def run() -> Any:
        if face == "sync":
            return flow.run(store)
        return asyncio.run(flow.run_async(store))

    first = run()
    sink.stops = False
    second = run()

    assert (first.result, first.counts.created, first.exit_code) == (Result.STOPPED, 2, 3)
    assert (second.result, second.counts.created) == (Result.SUCCESS, 4)


def test_a_stop_with_nothing_under_way_stops_nothing() -> None:
    flow = pipeline(Table(*rows(3)), Upserts())
    flow.stop()

    assert flow.run(MemoryStore()).result is Result.SUCCESS


def test_a_stop_reaches_one_pipeline_only() -> None:
    store = MemoryStore()
    other = pipeline(Table(*rows(3)), Upserts())

    class Stops(Upserts):
        def write(self, changes: Changes) -> Any:
            other.stop()
            return super().write(changes)

    assert pipeline(Table(*rows(6)), Stops()).run(store).result is Result.SUCCESS


# -- Simulated -------------------------------------------------------------------------


def history(seed: int, runs: int = 3) -> list[Any]:
    """Every effect of some runs at once, with what else the seed decides."""
    seen: list[Any] = []
    runtime = SimulatedRuntime(
        seed,
        before=lambda effect: seen.append((effect, runtime.elapsed)),
        after=lambda effect: seen.append(effect.upper()),
    )
    store = MemoryStore(clock=runtime.now)

    async def one(number: int) -> Any:
        await runtime.sleep(runtime.random())
        flow = Pipeline(
            f"flow {number}",
            source=Table(*rows(5), deletes=Deletes.NONE),
            sink=Upserts(),
            mapping=plain,
            mapping_version="1",
            owner="tests",
        )
        report = await Run(flow._flow, store, runtime, Options()).execute()
        return report.run_id, report.counts.created, report.finished_at

    return [seen, runtime.run(*map(one, range(runs))), runtime.elapsed]


def test_the_same_seed_gives_the_same_history() -> None:
    for seed in range(5):
        assert history(seed) == history(seed)


def test_different_seeds_give_different_orders() -> None:
    orders = {tuple(effect for effect in history(seed)[0]) for seed in range(20)}

    assert len(orders) == 20


def test_simulated_time_is_that_of_the_sleepers() -> None:
    runtime = SimulatedRuntime(1, start=datetime(2026, 5, 1, tzinfo=UTC))
    woken: list[tuple[str, float, datetime]] = []

    async def sleeper(name: str, seconds: float) -> str:
        await runtime.sleep(seconds)
        woken.append((name, runtime.monotonic(), runtime.now()))
        return name

    names = runtime.run(sleeper("b", 20.0), sleeper("a", 10.0), sleeper("c", 86_400.0))

    assert names == ["b", "a", "c"]
    assert [name for name, _, _ in woken] == ["a", "b", "c"]
    assert woken[-1][1:] == (86_400.0, datetime(2026, 5, 2, tzinfo=UTC))


def test_an_error_is_raised_once_all_have_ended() -> None:
    runtime, ended = SimulatedRuntime(1), []

    async def fails() -> None:
        raise LookupError("first")

    async def works() -> None:
        await runtime.sleep(5.0)
        ended.append("works")

    with pytest.raises(LookupError, match="first"):
        runtime.run(fails(), works())

    assert ended == ["works"]


@pytest.mark.parametrize(("when", "happened"), [("before", []), ("after", ["effect"])])
def test_a_fault_before_an_effect_prevents_it_and_one_after_does_not(
    when: str, happened: list[str]
) -> None:
    def fault(effect: str) -> None:
        raise LookupError(effect)

    runtime, effects = SimulatedRuntime(1, **{when: fault}), []  # type: ignore[arg-type]

    with pytest.raises(LookupError, match=r"sink\.write"):
        runtime.run(runtime.call("sink.write", effects.append, "effect"))

    assert effects == happened


def test_ids_and_randomness_come_from_the_seed() -> None:
    def drawn(seed: int) -> list[Any]:
        runtime = SimulatedRuntime(seed)
        return [runtime.new_id(), runtime.new_id(), runtime.random(), runtime.random()]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(map(str, drawn(1)))) == 4


def test_an_asynchronous_source_is_read_in_a_simulation() -> None:
    async def read() -> AsyncIterator[list[int]]:
        yield [1]
        yield [2]

    assert Reads("simulated").take(read) == [[1], [2]]


# -- The real clock, randomness and ids ------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_system_gives_aware_instants_growing_seconds_and_unique_ids(kind: type[Any]) -> None:
    runtime = kind()

    assert runtime.now().tzinfo is UTC
    assert runtime.monotonic() <= runtime.monotonic()
    assert 0.0 <= runtime.random() < 1.0
    assert len({runtime.new_id() for _ in range(100)}) == 100


def test_calls_of_one_place_follow_each_other_on_one_thread() -> None:
    busy, idents = [], set()

    def work(number: int) -> int:
        assert not busy
        busy.append(number)
        idents.add(threading.get_ident())
        return busy.pop()

    async def main(runtime: Runtime) -> list[int]:
        return await asyncio.gather(*(runtime.call("sink.write", work, n) for n in range(20)))

    assert Reads("async").finish(main) == list(range(20))
    assert len(idents) == 1


def test_an_answer_that_is_awaited_needs_the_asynchronous_face() -> None:
    async def answer() -> Applied:
        return Applied(0)

    with pytest.raises(ConfigurationError, match=r"sink\.write is asynchronous.*run_async"):
        drive(SyncRuntime().call("sink.write", lambda: answer()))
    assert asyncio.run(AsyncRuntime().call("sink.write", answer)) == Applied(0)


def test_a_reader_has_the_shape_of_its_protocol() -> None:
    async def main(runtime: Runtime) -> list[str]:
        reader: Reader = runtime.reader(list)
        await reader.close()
        return [name for name in ("clock", "next", "close") if hasattr(reader, name)]

    for kind in ALL:
        assert Reads(kind).finish(main) == ["clock", "next", "close"]
