"""RL-07: no record is lost to a time zone, a clock change or a coarse timestamp."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from syncsdk import Watermark
from syncsdk.planning import durable
from tests.promises import mutant, used

LATE = timedelta(minutes=40)
STEP = timedelta(minutes=17)

ZONES = [
    *(f"Etc/GMT{sign}{n}" for sign, n in (("+", 12), ("+", 7), ("+", 1), ("-", 5), ("-", 14))),
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
]
GRAINS = {
    "us": (timedelta(microseconds=1), lambda wall: wall.isoformat(timespec="microseconds")),
    "ms": (timedelta(milliseconds=1), lambda wall: wall.isoformat(timespec="milliseconds")),
    "s": (timedelta(seconds=1), lambda wall: wall.isoformat(timespec="seconds")),
    "min": (timedelta(minutes=1), lambda wall: wall.isoformat(timespec="minutes")),
    "day": (timedelta(days=1), lambda wall: wall.date().isoformat()),
}
# The clock goes forward and back within two days around these, in one zone or another.
STARTS = [datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)]
STARTS += [datetime(2026, 4, 4, 6, tzinfo=UTC), datetime(2026, 10, 31, 20, tzinfo=UTC)]


def lost(watermark: Watermark, write: Callable[[datetime], str], start: datetime) -> set[int]:
    """Return the records that no run reads, though each shows within the lateness."""
    rows = [start + STEP * n + timedelta(microseconds=137 * n) for n in range(170)]
    read: set[int] = set()
    cursor: str | None = None
    now = start
    while now < rows[-1] + timedelta(days=2):
        shown = [
            (write(moment), n)
            for n, moment in enumerate(rows)
            if moment + (LATE if n % 3 == 0 else timedelta(0)) <= now
        ]
        page = sorted(each for each in shown if cursor is None or each[0] >= cursor)
        read.update(n for _, n in page)
        after = page[-1][0] if page else None
        cursor = durable(watermark, after, old=cursor, cap=now - watermark.lateness, watermark=None)
        now += timedelta(minutes=23)
    return set(range(len(rows))) - read


def of(zone: str, grain: str) -> tuple[Watermark, Callable[[datetime], str]]:
    step, text = GRAINS[grain]
    late = max(LATE, step) + step
    mark = Watermark("changed", lateness=late, granularity=step, zone=zone)
    return mark, lambda moment: text(moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None))


@pytest.mark.parametrize("start", STARTS, ids=lambda start: f"{start:%m-%d}")
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("zone", ZONES)
def test_local_timestamps_lose_nothing(zone: str, grain: str, start: datetime) -> None:
    with used(Watermark, "_wall"):
        assert not lost(*of(zone, grain), start)


@pytest.mark.parametrize("offset", [-12, -3.5, 0, 5.75, 14])
def test_timestamps_with_an_offset_lose_nothing(offset: float) -> None:
    from datetime import timezone

    zone = timezone(timedelta(hours=offset))
    mark = Watermark("changed", lateness=LATE + timedelta(seconds=1))

    assert not lost(mark, lambda moment: moment.astimezone(zone).isoformat(), STARTS[0])


def test_a_zone_that_is_dropped_loses_records() -> None:
    with mutant(Watermark, "_wall", lambda self, at: at.replace(tzinfo=None)):
        assert lost(*of("America/New_York", "s"), STARTS[0])


def test_a_clock_that_goes_back_loses_records_unless_the_cursor_goes_back_too() -> None:
    def now_only(self: Watermark, at: datetime) -> datetime:
        return at.astimezone(ZoneInfo(self.zone or "UTC")).replace(tzinfo=None)

    with mutant(Watermark, "_wall", now_only):
        assert lost(*of("Europe/Berlin", "s"), STARTS[1])


def test_a_timestamp_without_an_offset_or_zone_is_refused() -> None:
    from syncsdk.errors import ContractError

    mark = Watermark("changed", lateness=timedelta(0))

    with pytest.raises(ContractError) as caught:
        mark.position("2026-03-29T02:30:00")

    assert "zone=" in caught.value.remedy
