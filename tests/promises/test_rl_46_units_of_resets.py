"""RL-46: a reset is read in its unit; nonsense is ignored, never believed."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from syncsdk.http import Dialect
from syncsdk.resilience import headers
from syncsdk.resilience.headers import DIALECTS, Reading
from syncsdk.resilience.pacing import Pacer
from tests.promises import mutant, used

HERE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RESET = 90.0
FORMS = {
    "seconds": lambda there: f"{RESET:.0f}",
    "epoch": lambda there: f"{there.timestamp() + RESET:.0f}",
    "milliseconds since 1970": lambda there: f"{(there.timestamp() + RESET) * 1000:.0f}",
    "ISO 8601": lambda there: (there + timedelta(seconds=RESET)).isoformat(),
    "ISO 8601 to the minute": lambda there: f"{there + timedelta(seconds=RESET):%Y-%m-%dT%H:%MZ}",
}
SKEWS = [timedelta(0), timedelta(minutes=10), timedelta(minutes=-10), timedelta(days=400)]
WITH_RESET = [each for each in DIALECTS if each.reset is not None]


def held_back(dialect: Dialect, text: str, there: datetime) -> float:
    """Return the seconds for which nothing goes after a server said that nothing is left."""
    assert dialect.limit is not None
    assert dialect.remaining is not None
    assert dialect.reset is not None
    reading, pacer = Reading((dialect,)), Pacer()
    raw = [
        (dialect.limit.encode(), b"100"),
        (dialect.remaining.encode(), b"0"),
        (dialect.reset.encode(), text.encode()),
        (b"Date", format_datetime(there, usegmt=True).encode()),
    ]
    pacer.ask("first", 0.0)
    pacer.done(0.0, accepted=True, quotas=reading.quotas(reading.told(raw), HERE))
    now = 0.0
    while (wait := pacer.ask("second", now)) > 0.0 and now < 10 * RESET:
        now += wait
    return now


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dialect", WITH_RESET, ids=lambda its: its.name)
def test_every_form_means_the_same_whatever_the_clocks_say(
    dialect: Dialect, form: str, skew: timedelta
) -> None:
    there = HERE + skew
    with used(headers, "_reset"):
        assert held_back(dialect, FORMS[form](there), there) == pytest.approx(RESET, abs=31.0)


@pytest.mark.parametrize(
    "text", ["-5", "NaN", "inf", "soon", "", "1e400", "٩٠", "9" * 40, "2099-01-01T00:00Z", "0"]
)
def test_nonsense_holds_nothing_back_for_long(text: str) -> None:
    assert held_back(WITH_RESET[0], text, HERE) < 30.0


@pytest.mark.parametrize("form", ["epoch", "milliseconds since 1970"])
def test_read_in_the_wrong_unit_it_is_not_waited_for(form: str) -> None:
    with mutant(headers, "_told_apart", lambda value: "seconds"):
        assert held_back(WITH_RESET[0], FORMS[form](HERE), HERE) < 0.5 * RESET


def test_read_by_the_wrong_clock_it_is_not_waited_for() -> None:
    there = HERE - timedelta(minutes=10)
    with mutant(headers, "server_time", lambda told, now: now):
        assert held_back(WITH_RESET[0], FORMS["epoch"](there), there) < 0.5 * RESET
