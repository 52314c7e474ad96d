"""Clock, sleep, randomness, ids and calls into connectors: all that the core may wait on.

The core is written once, as coroutines that await nothing but a :class:`Runtime`.
:class:`SyncRuntime` never suspends, so :func:`drive` runs such a coroutine to its end in
the caller's thread, without an event loop. :class:`AsyncRuntime` awaits asynchronous
connectors and gives each synchronous one a thread of its own.
:class:`SimulatedRuntime` has a virtual clock and a seeded scheduler, and lets a test act
before and after every effect.

Leaves to the engine what is called and in what order. Read :class:`Runtime`,
:class:`SyncRuntime`, :func:`drive`, then the others.
"""

from __future__ import annotations

import contextvars
import heapq
import inspect
import queue
import random
import sys
import threading
import time
import uuid
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sized,
)
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from .errors import ConfigurationError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

__all__ = [
    "END",
    "AsyncRuntime",
    "Lock",
    "Reader",
    "Runtime",
    "SimulatedRuntime",
    "StopFlag",
    "SyncRuntime",
    "current",
    "drive",
    "is_async",
    "pause",
    "sleep",
]

T = TypeVar("T")

Lock = threading.Lock
"""Guards what many threads share, for moments only: nobody waits or calls out under it."""

END: Final = object()
"""What a :class:`Reader` returns after the last item."""


class StopFlag:
    """A request to stop, safe to make from any thread and from a signal handler.

    It is a plain attribute on purpose: a handler that interrupts a thread which holds a
    lock must not need that lock. Waits look at it ten times a second.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Ask for a stop."""
        self._set = True

    def clear(self) -> None:
        """Take the request back."""
        self._set = False

    def is_set(self) -> bool:
        """Return whether a stop was asked for."""
        return self._set


class Reader(Protocol):
    """Reads an iterator of a source, item by item, on one thread from first to close.

    Attributes:
        clock: what ``clock()`` of the source returned once the first item had arrived.
    """

    @property
    def clock(self) -> datetime | None:
        """The source's clock; None before the first item, or without one."""
        ...

    async def next(self) -> Any:
        """Return the next item, or :data:`END`."""
        ...

    async def close(self) -> None:
        """Leave the iterator; a generator is closed on the thread that ran it."""
        ...


class Runtime(Protocol):
    """What the core may wait on, and all it may know of the world outside."""

    stop: StopFlag

    def now(self) -> datetime:
        """Return the wall clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        ...

    def random(self) -> float:
        """Return a number from 0.0 to below 1.0."""
        ...

    def new_id(self) -> str:
        """Return an id that nobody else has."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, or return early when a stop is requested."""
        ...

    async def call(self, effect: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a connector or store and return its result, awaited if need be.

        ``effect`` is ``place.verb``, such as ``sink.write``. All calls of one place are
        made on one thread, one after the other.
        """
        ...

    def reader(
        self,
        read: Callable[[], Any],
        *,
        clock: Callable[[], Any] | None = None,
        ahead: bool = False,
        limit: int | None = None,
    ) -> Reader:
        """Return a reader of a synchronous or asynchronous iterable.

        Args:
            read: returns the iterable; called on the thread that iterates it.
            clock: called once, after the first item.
            ahead: fetch one item ahead while the last one is worked on.
            limit: nothing is fetched ahead once the items' lengths add up to this.
        """
        ...


_current: contextvars.ContextVar[Runtime | None] = contextvars.ContextVar(
    "syncsdk.runtime", default=None
)


def current() -> Runtime:
    """Return the runtime of the run that this code is called from, else the system's."""
    runtime = _current.get()
    return _SYSTEM if runtime is None else runtime


def pause(seconds: float) -> None:
    """Wait in this thread, or return early when the context's run is asked to stop."""
    runtime = current()
    if isinstance(runtime, SimulatedRuntime):
        runtime.elapsed += seconds
        return
    until = time.monotonic() + seconds
    while not runtime.stop.is_set() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE))


async def sleep(seconds: float) -> None:
    """Wait as the context's run does; without one, on the event loop at hand."""
    runtime = _current.get()
    if runtime is not None:
        await runtime.sleep(seconds)
    elif _is_trio():
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


def _is_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def entered(runtime: Runtime) -> contextvars.Token[Runtime | None]:
    """Make ``runtime`` the context's current one, until :func:`left`."""
    return _current.set(runtime)


def left(token: contextvars.Token[Runtime | None]) -> None:
    """Undo :func:`entered`."""
    _current.reset(token)


def is_async(function: object) -> bool:
    """Return whether calling ``function`` gives something to await or to ``async for``."""
    while isinstance(function, partial):
        function = function.func
    call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


class _System:
    """The real clock, randomness and ids."""

    def __init__(self, stop: StopFlag | None = None) -> None:
        self.stop = StopFlag() if stop is None else stop

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.random()

    def new_id(self) -> str:
        return uuid.uuid4().hex


_SLICE: Final = 0.1
"""Seconds between two looks at the stop flag during a wait."""


# -- Synchronous -----------------------------------------------------------------------


class SyncRuntime(_System):
    """Calls everything in the caller's thread and never suspends."""

    async def sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop.is_set() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))

    async def call(self, effect: str, function: Callable[..., Any], *args: Any) -> Any:
        result = function(*args)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise _needs_async(effect)
        return result

    def reader(
        self,
        read: Callable[[], Any],
        *,
        clock: Callable[[], Any] | None = None,
        ahead: bool = False,
        limit: int | None = None,
    ) -> Reader:
        return _HelperThread(read, clock, limit) if ahead else _Direct(self, read, clock)


_SYSTEM: Final = SyncRuntime()
"""Of code that no run calls; nobody asks it to stop."""


def _needs_async(effect: str) -> ConfigurationError:
    return ConfigurationError(
        f"{effect} is asynchronous, and run() has no event loop for it",
        remedy="Use `await pipeline.run_async(...)`",
    )


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    try:
        # Thrown in, not closed: the traceback then ends where it was suspended.
        coroutine.throw(_needs_async("a connector"))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise _needs_async("a connector")


def _opened(read: Callable[[], Any]) -> Iterator[Any]:
    items = read()
    if inspect.iscoroutine(items):
        items.close()
    if hasattr(items, "__aiter__") or inspect.isawaitable(items):
        raise _needs_async("source.read")
    return iter(items)


class _Direct:
    """Reads in the place's own thread, without running ahead."""

    def __init__(
        self, runtime: Runtime, read: Callable[[], Any], clock: Callable[[], Any] | None
    ) -> None:
        self.clock: datetime | None = None
        self._runtime = runtime
        self._open = read
        self._iterator: Iterator[Any] | None = None
        self._ask = clock

    async def next(self) -> Any:
        if self._iterator is None:
            self._iterator = await self._runtime.call("source.open", _opened, self._open)
        # next() with a default: StopIteration could not leave a coroutine.
        item = await self._runtime.call("source.read", next, self._iterator, END)
        if self._ask is not None and item is not END:
            ask, self._ask = self._ask, None
            self.clock = await self._runtime.call("source.clock", ask)
        return item

    async def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            await self._runtime.call("source.close", close)


class _HelperThread:
    """Reads in one helper thread, at most one item ahead."""

    def __init__(
        self, read: Callable[[], Any], clock: Callable[[], Any] | None, limit: int | None
    ) -> None:
        self.clock: datetime | None = None
        self._open = read
        self._ask = clock
        self._limit = limit
        self._read = 0
        self._items: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._permits = threading.Semaphore(1)
        self._leaving = False
        self._bitter: Exception | None = None
        # The thread runs in one copy of the caller's context: what a generator sets in it
        # survives from item to item, and nothing leaks out.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._work,),
            name="syncsdk-read-ahead",
            daemon=True,
        )
        self._thread.start()

    def _work(self) -> None:
        iterator: Iterator[Any] | None = None
        try:
            iterator = _opened(self._open)
            while True:
                self._permits.acquire()
                if self._leaving:
                    break
                item = next(iterator, END)
                if self._ask is not None and item is not END:
                    ask, self._ask = self._ask, None
                    self.clock = ask()
                self._items.put((item, None))
        except BaseException as error:
            self._items.put((END, error))
        finally:
            try:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
            except Exception as error:
                self._bitter = error

    async def next(self) -> Any:
        item, error = self._items.get()
        if error is not None:
            raise error
        if item is not END:
            self._read += _size(item)
            if self._limit is None or self._read < self._limit:
                self._permits.release()
        return item

    async def close(self) -> None:
        self._leaving = True
        self._permits.release()
        self._thread.join()
        if self._bitter is not None:
            raise self._bitter


# -- Asynchronous ----------------------------------------------------------------------


class AsyncRuntime(_System):
    """Awaits asynchronous connectors; each synchronous place has a thread of its own.

    A thread that works cannot be cancelled: a cancelled call waits for it to end, and
    only then lets the cancellation through. So a commit is never left half-way.
    """

    def __init__(self, stop: StopFlag | None = None) -> None:
        super().__init__(stop)
        self._lanes: dict[str, ThreadPoolExecutor] = {}

    async def sleep(self, seconds: float) -> None:
        import asyncio

        until = time.monotonic() + seconds
        while not self.stop.is_set() and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _SLICE))

    async def call(self, effect: str, function: Callable[..., Any], *args: Any) -> Any:
        if is_async(function):
            result = function(*args)
            return await (shielded(result) if effect.startswith("store.") else result)
        result = await self.in_lane(effect, contextvars.copy_context(), function, *args)
        if not inspect.isawaitable(result):
            return result
        return await (shielded(result) if effect.startswith("store.") else result)

    async def in_lane(
        self,
        effect: str,
        context: contextvars.Context,
        function: Callable[..., Any],
        *args: Any,
    ) -> Any:
        """Call ``function`` on the one thread of the effect's place."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        place = effect.partition(".")[0]
        lane = self._lanes.get(place)
        if lane is None:
            lane = ThreadPoolExecutor(1, thread_name_prefix=f"syncsdk-{place}")
            self._lanes[place] = lane
        return await shielded(
            asyncio.get_running_loop().run_in_executor(
                lane, partial(context.run, _returned, function, *args)
            )
        )

    def reader(
        self,
        read: Callable[[], Any],
        *,
        clock: Callable[[], Any] | None = None,
        ahead: bool = False,
        limit: int | None = None,
    ) -> Reader:
        items = _Iteration(self, read, clock)
        return _AsyncAhead(items, limit) if ahead else items

    def close(self) -> None:
        """Let the threads end."""
        for lane in self._lanes.values():
            lane.shutdown(wait=True)


def _returned(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # which a future cannot carry: the run would hang
        raise RuntimeError("a connector raised StopIteration") from error


async def shielded(work: Awaitable[T]) -> T:
    """Await ``work``; when cancelled, wait for its end before letting that through."""
    import asyncio

    future = asyncio.ensure_future(work)
    await waited(future)
    return future.result()


async def waited(future: asyncio.Future[Any]) -> None:
    """Wait for the end of ``future``; let a cancellation of the caller through after that."""
    import asyncio

    cancelled: BaseException | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error  # asked once or ten times: the answer comes when it is done
    if cancelled is not None:
        raise cancelled


_NOT_OPEN: Final = object()


class _Iteration:
    """An asynchronous iterator, or a synchronous one on the source's thread."""

    def __init__(
        self, runtime: AsyncRuntime, read: Callable[[], Any], clock: Callable[[], Any] | None
    ) -> None:
        self.clock: datetime | None = None
        self._runtime = runtime
        self._open = read
        self._ask = clock
        self._native = False
        self._iterator: Any = _NOT_OPEN
        # What a synchronous generator sets in its context survives from item to item.
        self._context = contextvars.copy_context()

    async def _call(self, effect: str, function: Callable[..., Any], *args: Any) -> Any:
        if is_async(function):
            result = function(*args)
        else:
            result = await self._runtime.in_lane(effect, self._context, function, *args)
        return await result if inspect.isawaitable(result) else result

    async def start(self) -> None:
        items = await self._call("source.open", self._open)
        self._native = hasattr(items, "__aiter__")
        if self._native:
            self._iterator = aiter(items)
        else:
            self._iterator = await self._call("source.open", iter, items)

    async def next(self) -> Any:
        if self._iterator is _NOT_OPEN:
            await self.start()
        if self._native:
            item = await anext(self._iterator, END)
        else:
            item = await self._call("source.read", next, self._iterator, END)
        if self._ask is not None and item is not END:
            ask, self._ask = self._ask, None
            self.clock = await self._call("source.clock", ask)
        return item

    async def close(self) -> None:
        if self._native:
            if hasattr(self._iterator, "aclose"):
                await self._iterator.aclose()
        elif hasattr(self._iterator, "close"):
            await self._call("source.close", self._iterator.close)


class _AsyncAhead:
    """Reads in one task from first item to close, at most one item ahead."""

    def __init__(self, items: _Iteration, limit: int | None) -> None:
        import asyncio

        self._items = items
        self._limit = limit
        self._read = 0
        self._ready: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue()
        self._permits = asyncio.Semaphore(1)
        self._leaving = False
        self._task = asyncio.ensure_future(self._work())

    @property
    def clock(self) -> datetime | None:
        """The source's clock, once the first item has arrived."""
        return self._items.clock

    async def _work(self) -> None:
        try:
            while True:
                await self._permits.acquire()
                if self._leaving:
                    break
                self._ready.put_nowait((await self._items.next(), None))
        except BaseException as error:
            # A cancellation too: what the source waited for may have been cancelled.
            self._ready.put_nowait((END, error))
            if not isinstance(error, Exception):
                raise
        finally:
            await self._items.close()

    async def next(self) -> Any:
        item, error = await self._ready.get()
        if error is not None:
            raise error
        if item is not END:
            self._read += _size(item)
            if self._limit is None or self._read < self._limit:
                self._permits.release()
        return item

    async def close(self) -> None:

        self._leaving = True
        self._permits.release()
        if self._ready.empty() and not self._task.done():
            self._task.cancel()  # an item is under way that nobody will ask for
        await waited(self._task)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error


def _size(item: Any) -> int:
    """Return how many records an item holds; what is no batch is told of elsewhere."""
    return len(item) if isinstance(item, Sized) else 0


# -- Simulated -------------------------------------------------------------------------


class _Pause:
    """Suspends a simulated task, until a virtual time if one is given."""

    def __init__(self, until: float | None) -> None:
        self.until = until

    def __await__(self) -> Generator[_Pause, None, None]:
        yield self


class SimulatedRuntime:
    """Virtual time, seeded order: the same seed gives the same history.

    Every effect yields to the scheduler before and after, so several runs, and whatever
    else the test spawns, interleave in an order drawn from the seed.

    Args:
        seed: draws the order and all randomness.
        before, after: called with the name of each effect around it; what they raise is
            raised in the caller: a fault after the effect means that it took place.
        start: the wall clock time at virtual second 0.
    """

    def __init__(
        self,
        seed: int,
        *,
        before: Callable[[str], None] = lambda effect: None,
        after: Callable[[str], None] = lambda effect: None,
        start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    ) -> None:
        self.stop = StopFlag()
        self.rng = random.Random(seed)
        self.before = before
        self.after = after
        self.start = start
        self.elapsed = 0.0
        self._ids = 0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def random(self) -> float:
        return self.rng.random()

    def new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    async def sleep(self, seconds: float) -> None:
        await _Pause(self.elapsed + seconds)

    async def call(self, effect: str, function: Callable[..., Any], *args: Any) -> Any:
        await _Pause(None)
        self.before(effect)
        result = function(*args)
        if inspect.isawaitable(result):
            result = await result
        self.after(effect)
        await _Pause(None)
        return result

    def reader(
        self,
        read: Callable[[], Any],
        *,
        clock: Callable[[], Any] | None = None,
        ahead: bool = False,
        limit: int | None = None,
    ) -> Reader:
        def opened() -> Any:
            items = read()
            return _drained(items) if hasattr(items, "__aiter__") else items

        return _Direct(self, opened, clock)

    def run(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run all of them to their end and return their results.

        What one of them raises is raised once all have ended.
        """
        results: list[Any] = [None] * len(coroutines)
        failure: BaseException | None = None
        # Each in a context of its own, as an event loop would have it.
        contexts = [contextvars.copy_context() for _ in coroutines]
        ready = list(enumerate(coroutines))
        asleep: list[tuple[float, int, Coroutine[Any, Any, Any]]] = []
        while ready or asleep:
            if not ready and not self.stop.is_set():
                self.elapsed = max(self.elapsed, asleep[0][0])
            while asleep and (asleep[0][0] <= self.elapsed or self.stop.is_set()):
                _, number, coroutine = heapq.heappop(asleep)
                ready.append((number, coroutine))
            number, coroutine = ready.pop(self.rng.randrange(len(ready)))
            try:
                pause: _Pause = contexts[number].run(coroutine.send, None)
            except StopIteration as end:
                results[number] = end.value
            except BaseException as error:
                failure = failure or error
            else:
                if pause.until is None:
                    ready.append((number, coroutine))
                else:
                    heapq.heappush(asleep, (pause.until, number, coroutine))
        if failure is not None:
            raise failure
        return results


def _drained(items: AsyncIterator[Any]) -> Iterator[Any]:
    iterator = aiter(items)
    while (item := drive(_anext(iterator))) is not END:
        yield item


async def _anext(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, END)
