"""The pure decisions, at their edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncsdk import (
    INTEGER,
    OPAQUE,
    Applied,
    Changes,
    Keyset,
    Listing,
    Op,
    Rejected,
    SinkCapabilities,
    Token,
    Tolerance,
    Unknown,
    Watermark,
)
from syncsdk.planning import (
    STRICT,
    Resolution,
    compact,
    disorder,
    durable,
    is_stale,
    lateness,
    leaves_doubt,
    match,
    needs_intent,
    resolution,
)
from syncsdk.planning import _sorted_text as sorted_text
from syncsdk.protocols import Entry, Intent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZERO = timedelta(0)
MARK = Watermark("t", lateness=ZERO)
KEYSET = Keyset("t", "id", lateness=ZERO)


def at(second: int) -> str:
    return (NOON + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- Tolerance -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tolerance", "number", "of", "allowed"),
    [
        (Tolerance(), 10, 0, True),
        (Tolerance(), 11, 0, False),
        (Tolerance(), 11, 1099, False),
        (Tolerance(), 11, 1100, True),
        (STRICT, 0, 10**6, True),
        (STRICT, 1, 10**6, False),
        (Tolerance(2, 0.5), 3, 6, True),
        (Tolerance(2, 0.5), 4, 6, False),
    ],
)
def test_the_larger_of_count_and_share_is_allowed(
    tolerance: Tolerance, number: int, of: int, allowed: bool
) -> None:
    assert tolerance.allows(number, of) is allowed


# -- Cursors ---------------------------------------------------------------------------


def kept(cursor: Any, after: str | None, old: str | None = None, **more: Any) -> str | None:
    options = {"cap": None, "watermark": None, **more}
    return durable(cursor, after, old=old, **options)


def test_without_a_resume_point_the_cursor_stays() -> None:
    assert kept(MARK, None, at(1)) == at(1)
    assert kept(Listing(), at(2), None) is None
    assert kept(Token(), None, "7") == "7"


def test_an_exact_source_moves_as_far_as_it_was_read() -> None:
    assert kept(MARK, at(5), at(1)) == at(5)
    assert kept(Token(), "8", "7") == "8"


def test_a_cap_holds_the_cursor_back() -> None:
    assert kept(MARK, at(5), at(1), cap=NOON + timedelta(seconds=3)) == at(3)
    assert kept(MARK, at(5), at(1), cap=NOON + timedelta(seconds=9)) == at(5)
    place = kept(KEYSET, KEYSET.cursor(at(5), "b"), None, cap=NOON + timedelta(seconds=3))
    assert place == KEYSET.cursor(at(3), None)


def test_a_cursor_never_goes_back() -> None:
    assert kept(MARK, at(5), at(4), cap=NOON + timedelta(seconds=3)) == at(4)
    assert kept(MARK, at(3), at(4)) == at(4)


def test_of_two_places_at_one_instant_the_new_one_is_taken() -> None:
    old, new = KEYSET.cursor(at(3), "a"), KEYSET.cursor(at(3), "b")

    assert kept(KEYSET, new, old) == new


@pytest.mark.parametrize(
    ("mark", "place"),
    [(None, "7"), (NOON, "7"), (NOON + timedelta(1), "7"), (NOON - timedelta(seconds=1), "8")],
)
def test_a_token_waits_until_its_watermark_is_before_the_cap(
    mark: datetime | None, place: str
) -> None:
    assert kept(Token(lateness=timedelta(1)), "8", "7", cap=NOON, watermark=mark) == place


def test_lateness_is_the_cursors() -> None:
    assert lateness(Watermark("t", lateness=timedelta(3))) == timedelta(3)
    assert lateness(Token(lateness=timedelta(2))) == timedelta(2)
    assert lateness(Listing()) == ZERO


# -- Order -----------------------------------------------------------------------------


def test_records_in_order_are_in_order() -> None:
    broken, highest = disorder(MARK, [at(1), at(1), at(2)], None)

    assert not broken
    assert highest == MARK.position(at(2))
    assert disorder(MARK, [at(2)], highest) == (False, highest)


@pytest.mark.parametrize("places", [[at(2), at(1)], [at(1), at(3), at(2), at(4)], [at(0)]])
def test_a_record_before_another_breaks_the_order(places: list[str]) -> None:
    broken, highest = disorder(MARK, places, MARK.position(at(1)))

    assert broken
    assert highest == max(MARK.position(place) for place in [*places, at(1)])


def test_unknown_and_unreadable_places_say_nothing() -> None:
    assert disorder(MARK, [None, at(1), "soon", at(2), None], None) == (
        False,
        MARK.position(at(2)),
    )


def test_an_order_may_be_told_by_other_offsets() -> None:
    places = ["2026-03-01T12:00:00+02:00", "2026-03-01T11:30:00+01:00"]

    assert not disorder(MARK, places, None)[0]
    assert disorder(MARK, places[::-1], None)[0]


@pytest.mark.parametrize(
    ("mark", "places", "sure"),
    [
        (MARK, [at(1), at(2)], True),
        (MARK, [at(1), at(1)], True),
        (MARK, [at(2), at(1)], False),
        (MARK, [at(1)], False),
        (MARK, [], False),
        (MARK, [at(1), None], False),
        (MARK, [at(1), "2026-03-01T12:00:02.5Z"], False),
        (MARK, ["2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.7Z"], True),
        (MARK, ["2026-03-01T12:00:00+02:00", "2026-03-01T12:30:00+02:00"], True),
        (MARK, ["2026-03-01T12:00:00+01:00", "2026-03-01T12:00:00+02:00"], False),
        (MARK, ["2026-03-01T12:00:01+02:00", "2026-03-01T12:00:02+02:00"], True),
        (Watermark("t", lateness=ZERO, format="epoch"), ["17000001", "17000001"], True),
        (Watermark("t", lateness=ZERO, format="epoch_ms"), ["-2", "-1"], False),
        (
            Watermark("t", lateness=ZERO, format="%d.%m.%Y %z"),
            ["01.03.2026 Z", "02.01.2026 Z"],
            False,
        ),
    ],
)
def test_texts_of_one_shape_show_their_order(mark: Any, places: Any, sure: bool) -> None:
    assert sorted_text(mark, places) is sure


# -- Compact and versions --------------------------------------------------------------


def test_the_newest_place_of_each_key_is_kept_in_order() -> None:
    keys = [("a",), ("b",), ("a",), ("b",), ("a",)]

    assert compact(keys, [1, 5, 3, 4, 3], range(5)) == [1, 4]
    assert compact(keys, [None] * 5, range(5)) == [3, 4]
    assert compact(keys, [9, 5, 3, 4, 3], [0, 2]) == [0]


@pytest.mark.parametrize(
    ("version", "known", "stale"),
    [(1, "2", True), (2, "2", False), (3, "2", False), (None, "2", False), (1, None, False)],
)
def test_only_what_is_strictly_older_is_stale(version: Any, known: Any, stale: bool) -> None:
    assert is_stale(INTEGER, version, known) is stale
    assert not is_stale(OPAQUE, OPAQUE.parse("1"), "2")
    assert not is_stale(INTEGER, 1, "an etag")


# -- Outcomes --------------------------------------------------------------------------


def changes(number: int) -> Changes:
    return Changes(
        fields=("x",),
        ops=[Op.CREATE] * number,
        keys=[(str(n),) for n in range(number)],
        versions=[None] * number,
        dest_ids=[None] * number,
        rows=[(n,) for n in range(number)],
    )


def test_outcomes_are_matched_by_their_id_alone() -> None:
    sent = changes(4)
    said = [Rejected(2), Applied(0, "d"), Applied(3), Applied(3), Applied(9), "ok", None]

    assert match(sent, said) == {0: Applied(0, "d"), 1: Unknown(1), 2: Rejected(2), 3: Unknown(3)}


def test_a_part_of_the_changes_keeps_their_ids() -> None:
    sent = changes(4)

    assert [change.change_id for change in sent[2:]] == [2, 3]
    assert [change.change_id for change in sent.pick([3, 1])] == [3, 1]
    assert match(sent[2:], sent[2:].applied()) == {2: Applied(2), 3: Applied(3)}
    assert sent[1].record == {"x": 1}
    assert len(sent) == 4


# -- Intents ---------------------------------------------------------------------------


@pytest.mark.parametrize("upsert", [True, False])
@pytest.mark.parametrize("op", Op)
def test_creates_and_deletes_need_a_note_without_an_upsert(op: Op, upsert: bool) -> None:
    noted = needs_intent(op, SinkCapabilities(upsert=upsert))

    assert noted is (not upsert and op is not Op.UPDATE)


def test_only_what_is_known_can_be_doubted() -> None:
    assert not leaves_doubt(None)
    assert leaves_doubt(Entry(None, None, None))


def note(op: Op = Op.CREATE, sent: Any = NOON, born: Any = NOON, key: Any = "k") -> Intent:
    return Intent(("a",), op, "1", None, ("x",), (1,), b"f", None, born, sent, key)


KEYS = SinkCapabilities(idempotency_key=True, key_lifetime=timedelta(hours=2))
LAGS = SinkCapabilities(lookup_lag=timedelta(minutes=5))


@pytest.mark.parametrize(
    ("made", "sink", "finds", "after", "what"),
    [
        (note(Op.UPDATE), LAGS, False, 0, Resolution.SEND),
        (note(Op.DELETE), LAGS, False, 0, Resolution.SEND),
        (note(sent=None), SinkCapabilities(), False, 0, Resolution.SEND),
        (note(), KEYS, True, 3599, Resolution.SEND),
        (note(), KEYS, True, 3600, Resolution.FIND),
        (note(), KEYS, False, 3600, Resolution.GIVE_UP),
        (note(key=None), KEYS, False, 0, Resolution.GIVE_UP),
        (note(), LAGS, False, 10**6, Resolution.GIVE_UP),
        (note(), LAGS, True, 300, Resolution.WAIT),
        (note(), LAGS, True, 301, Resolution.FIND),
        (note(sent=NOON + timedelta(seconds=9)), LAGS, True, 301, Resolution.WAIT),
        (note(born=NOON + timedelta(seconds=9)), KEYS, False, 3608, Resolution.SEND),
    ],
)
def test_a_write_in_doubt_is_resolved_the_safest_way(
    made: Intent, sink: SinkCapabilities, finds: bool, after: int, what: Resolution
) -> None:
    assert resolution(made, sink, finds, NOON + timedelta(seconds=after)) is what


def test_a_note_stands_for_the_records_that_were_counted() -> None:
    from attrs import evolve

    first, second = note(), evolve(note(), counted=True)

    assert (first.weight, second.weight) == (0, 1)
    assert evolve(first, next=second).weight == 1
    assert evolve(second, next=second).weight == 2
    assert evolve(first, next=second).newest is second
    assert first.newest is first
