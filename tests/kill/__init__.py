"""The processes of ``tests/test_kill.py``, and what they have to agree about."""

from __future__ import annotations

from datetime import datetime, timedelta

TABLES = ("exact", "late")
TICK = timedelta(milliseconds=1)
LATENESS = 10 * TICK
"""Of the table ``late``; one tick of it is the timestamps' own granularity."""


def text_of(moment: datetime) -> str:
    """Return an instant as both sides write it; such texts sort as the instants do."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
