"""RL-09: an error of the source is never taken for its end, nor a hole for success."""

from collections.abc import Iterator
from typing import Any

import pytest

from syncsdk import MemoryStore, Result, errors
from syncsdk.runtime import END, SyncRuntime, _Direct
from tests.fakes import Table, Upserts, at, pipeline, row
from tests.promises import mutant, used

ERRORS: dict[str, Exception] = {
    "401": errors.AuthenticationError("not you", remedy="Log in"),
    "403": errors.AuthenticationError("not allowed", remedy="Ask for access"),
    "404": errors.ContractError("no such list", remedy="Check the path"),
    "429": errors.LimitedError("slower"),
    "500": errors.UnavailableError("down"),
    "timeout": errors.TimedOutError("no answer"),
    "a bug": KeyError("items"),
}


class Partial(Table):
    """An unordered list that fails on its second page, once."""

    def __init__(self, error: Exception) -> None:
        super().__init__(*(row(f"r{n}", n) for n in range(4)), ordered=False)
        self.error: Exception | None = error

    def read(self, after: str | None) -> Iterator[Any]:
        rows = [self.rows[f"r{n}"] for n in (3, 2, 1, 0)]
        last = self.keyset.cursor(at(3), "r3")
        for start in (0, 2) if after is None else ():
            if start and self.error is not None:
                error, self.error = self.error, None
                raise error
            yield self.batch(rows[start : start + 2], last)


def arrive(error: Exception) -> tuple[set[str], Result]:
    source, sink, store = Partial(error), Upserts(), MemoryStore()
    flow = pipeline(source, sink)
    first = flow.run(store)
    flow.run(store)
    return {key[0] for key in sink.rows}, first.result


async def the_end(self: _Direct, _next: Any = _Direct.next) -> Any:
    """Ignore the error, as if there were no more."""
    try:
        return await _next(self)
    except Exception:
        return END


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_read_that_failed_is_read_again(error: Exception) -> None:
    with used(_Direct, "next"):
        arrived, result = arrive(error)

    assert result is Result.FAILED
    assert arrived == {"r0", "r1", "r2", "r3"}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_an_error_taken_for_the_end_loses_the_rest(error: Exception) -> None:
    with mutant(_Direct, "next", the_end):
        arrived, result = arrive(error)

    assert result is Result.SUCCESS
    assert arrived == {"r2", "r3"}


def test_a_run_with_a_dead_letter_is_no_success() -> None:
    source, sink = Table(row("a", 1), row("b", 2)), Upserts()
    sink.refuses = lambda change: change.key == ("b",)

    report = pipeline(source, sink).run(MemoryStore())

    assert (report.result, report.exit_code) == (Result.PARTIAL, 1)
    assert SyncRuntime
