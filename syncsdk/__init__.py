"""Keep two systems in step from inside your own app.

Importing this package loads nothing but a table of names; each is fetched from its module
when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Applied": "protocols",
    "Batch": "protocols",
    "Change": "protocols",
    "Changes": "protocols",
    "Deletes": "protocols",
    "FILTERED": "protocols",
    "FatalError": "errors",
    "INSTANT": "values",
    "INTEGER": "values",
    "Keyset": "values",
    "Listing": "values",
    "MappingError": "errors",
    "MemoryStore": "stores",
    "NotSent": "errors",
    "OPAQUE": "values",
    "Op": "protocols",
    "Outcome": "protocols",
    "Owner": "protocols",
    "Pipeline": "pipeline",
    "RecordError": "errors",
    "Refused": "protocols",
    "Rejected": "protocols",
    "RejectedError": "errors",
    "Result": "protocols",
    "RunReport": "protocols",
    "SQLiteStore": "stores",
    "STRICT": "planning",
    "SinkCapabilities": "protocols",
    "SourceCapabilities": "protocols",
    "SyncError": "errors",
    "Token": "values",
    "Tolerance": "planning",
    "TransientError": "errors",
    "UNSET": "values",
    "Unknown": "protocols",
    "Watermark": "values",
    "idempotency_key": "values",
    "upsert": "pipeline",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'syncsdk' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
