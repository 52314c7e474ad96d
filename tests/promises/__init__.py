"""One module a promise: the mechanism, the test that needs it, and the mutant that fails it.

A mutant replaces one production function; the same check must then fail by the promise's
own harm, seen from outside. :func:`used` shows that the check runs through that function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from tests.simulation.runner import violations

SEEDS = 2_000
"""Within so many worlds each mutant of the simulation has to be caught."""


@contextmanager
def used(owner: Any, name: str) -> Iterator[None]:
    """Let ``owner.name`` do its work, and fail if nobody called it."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    function = original.__func__ if isinstance(original, staticmethod) else original
    calls = 0

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return function(*args, **kwargs)

    with patch.object(owner, name, counted):
        yield
    assert calls, f"{name} was never called"


@contextmanager
def mutant(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Replace one production function."""
    with patch.object(owner, name, replacement):
        yield


def holds(source: str = "", sink: str = "", seeds: int = 200) -> bool:
    """Whether these worlds break nothing."""
    return next(violations(range(seeds), source, sink), None) is None


def first_violation(source: str = "", sink: str = "", seeds: int = SEEDS) -> str | None:
    """Return the first invariant that one of these worlds breaks."""
    return next(violations(range(seeds), source, sink), None)
