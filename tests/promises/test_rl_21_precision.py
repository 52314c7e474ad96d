"""RL-21: a cursor is only ever rounded down, whatever its precision."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncsdk import Watermark
from tests.promises import mutant, used

BASE = datetime(2026, 5, 17, 9, 59, 59, tzinfo=UTC)
MOMENTS = [BASE + timedelta(microseconds=n) for n in (0, 1, 614_000, 614_999, 999_999)]


def iso(digits: int) -> Callable[[datetime], str]:
    def write(moment: datetime) -> str:
        fraction = f"{moment.microsecond:06}".ljust(9, "0")[:digits]
        return f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{fraction}Z" if digits else "Z")

    return write


def epoch(unit: int, digits: int) -> Callable[[datetime], str]:
    def write(moment: datetime) -> str:
        ticks = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        number = Decimal(ticks).scaleb(unit - 6)
        return str(number.quantize(Decimal(1).scaleb(-digits), rounding="ROUND_FLOOR"))

    return write


FORMATS: dict[str, tuple[str, Callable[[datetime], str]]] = {
    **{f"iso, {n} digits": ("iso", iso(n)) for n in (0, 1, 3, 6, 9)},
    **{f"epoch, {n} digits": ("epoch", epoch(0, n)) for n in (0, 3, 6)},
    **{f"epoch_ms, {n} digits": ("epoch_ms", epoch(3, n)) for n in (0, 3)},
    "epoch_us": ("epoch_us", epoch(6, 0)),
    "pattern": ("%d.%m.%Y %H:%M:%S.%f %z", lambda m: m.strftime("%d.%m.%Y %H:%M:%S.%f %z")),
    "coarse pattern": ("%Y%m%d%H%M%S%z", lambda m: m.strftime("%Y%m%d%H%M%S%z")),
}


def missed(name: str) -> list[tuple[datetime, datetime]]:
    """Return the pairs (cap, later record) where a floored cursor skips the record."""
    format, write = FORMATS[name]
    mark = Watermark("t", lateness=timedelta(0), format=format)
    far = write(BASE + timedelta(days=1))
    found = []
    for cap in MOMENTS:
        cursor = mark.floor(far, cap)
        found += [
            (cap, moment)
            for moment in MOMENTS
            if moment >= cap and mark.position(write(moment)) < mark.position(cursor)
        ]
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_no_record_at_or_after_the_cap_lies_before_the_cursor(name: str) -> None:
    with used(Watermark, "_write"):
        assert not missed(name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_cursor_before_the_cap_stays_as_the_source_wrote_it(name: str) -> None:
    format, write = FORMATS[name]
    mark = Watermark("t", lateness=timedelta(0), format=format)

    assert mark.floor(write(BASE), BASE + timedelta(hours=1)) == write(BASE)


def test_nine_digits_are_not_cut_to_six() -> None:
    mark = Watermark("t", lateness=timedelta(0))
    early, late = "2026-05-17T09:59:59.123456700Z", "2026-05-17T09:59:59.123456701Z"

    assert mark.position(early) < mark.position(late)
    assert mark.floor(late, BASE + timedelta(seconds=1)) == late


@pytest.mark.parametrize("name", ["iso, 0 digits", "iso, 3 digits", "epoch, 0 digits"])
def test_a_cursor_rounded_up_skips_a_record(name: str) -> None:
    write_down = Watermark._write

    def round_up(self: Watermark, cursor: str, at: datetime) -> Any:
        up = at if not at.microsecond else at.replace(microsecond=0) + timedelta(seconds=1)
        return write_down(self, cursor, up)

    with mutant(Watermark, "_write", round_up):
        assert missed(name)
