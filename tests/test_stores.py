"""What both stores promise, then what can happen to a file, a disk and a process.

``tests/data/state_v1.db`` is a state file of schema version 1 that every later version
must read to the last field. It was made by ``make_golden`` below, once::

    python -c "import tests.test_stores as t; t.make_golden('tests/data/state_v1.db')"
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve

from syncsdk import stores
from syncsdk.errors import CheckpointError, ConfigurationError, ContractError, FencedError
from syncsdk.protocols import (
    Cell,
    Checkpoint,
    Commit,
    Entry,
    EntryState,
    Intent,
    Known,
    Lease,
    Letter,
    LetterStatus,
    Op,
    Stage,
    Standing,
    StateStore,
)
from syncsdk.stores import MemoryStore, SQLiteStore
from syncsdk.values import UNSET, Key, pack

GOLDEN = Path(__file__).parent / "data" / "state_v1.db"
START = datetime(2026, 3, 29, 0, 59, 59, 999999, tzinfo=UTC)
TTL = timedelta(seconds=60)

MESSY: list[Key] = [
    ("7",),
    ("a\0b",),
    ("a",),
    ("Zoë",),
    ("Zoe\u0308",),
    ("\u05e9\u05dc\u05d5\u05dd",),
    ("\U0001f9ff",),
    ('it\'s "so" \\ 100 % _',),
    ("\x1e",),
    ("x", "y"),
    ("x,y",),
    ('["x","y"]',),
    ("line\nbreak", "\u2028"),
    ("k" * 5000,),
]
"""Keys as systems have them."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: Path, clock: Clock) -> Iterator[StateStore]:
    made = MemoryStore(clock=clock) if request.param == "memory" else SQLiteStore(path, clock=clock)
    yield made
    made.close()


@pytest.fixture
def sqlite(path: Path, clock: Clock) -> Iterator[SQLiteStore]:
    with contextlib.closing(SQLiteStore(path, clock=clock)) as made:
        yield made


def leased(store: StateStore, run_id: str = "r1", pipeline: str = "p") -> Lease:
    lease = store.acquire(pipeline, run_id, TTL)
    assert lease is not None
    return lease


def an_entry(name: str = "1", **changes: Any) -> Entry:
    return Entry(f"dest-{name}", "2026-01-01T00:00:00Z", b"\x00fp", b"raw")._replace(**changes)


def a_letter(key: Key = ("k",), **changes: Any) -> Letter:
    letter = Letter(
        key=key,
        version="2026-01-01",
        stage=Stage.MAP,
        code="too_long",
        reason="name <- $.name: expected at most 20 characters, got 31",
        detail="שלום, Zoë",
        original=pack({"name": "Zoë"}),
        mapped=None,
        deleted=False,
        digest=b"\xff\x00digest",
        run_id="r1",
        seq=1,
        at=START,
    )
    return evolve(letter, **changes)


def an_intent(key: Key = ("k",), **changes: Any) -> Intent:
    intent = Intent(
        key=key,
        op=Op.CREATE,
        version=None,
        dest_id=None,
        fields=("name", "price", "note", "tags"),
        row=("Zoë", Decimal("1.20"), UNSET, ["a", None, {"$x": b"\x00"}]),
        fingerprint=b"fp",
        raw=b"\x00raw",
        born=START,
        sent=START,
    )
    return evolve(intent, **changes)


def settle(store: StateStore, lease: Lease, **parts: Any) -> Commit:
    """Commit ``parts`` as the batch that comes next."""
    seq = store.load(lease.pipeline).seq + 1
    commit = Commit(lease.pipeline, Checkpoint(seq, lease.run_id, lease.token), **parts)
    store.commit(lease, commit)
    return commit


def letters_of(store: StateStore, pipeline: str = "p") -> list[Letter]:
    return list(store.letters(pipeline, status=None))


# -- Both stores: batches --------------------------------------------------------------


def test_what_was_committed_is_looked_up_again(store: StateStore) -> None:
    lease = leased(store)

    settle(store, lease, entries={("1",): an_entry()})

    assert store.look_up("p", [("1",), ("2",)]) == Known({("1",): an_entry()})
    assert store.load("p") == Checkpoint(1, "r1", 1)


def test_a_pipeline_that_never_ran_is_empty(store: StateStore) -> None:
    assert store.load("p") == Checkpoint()
    assert store.look_up("p", [("1",)]) == Known()
    assert store.totals("p") == (0, 0)
    assert list(store.intents("p", 9)) == []
    assert letters_of(store) == []
    assert list(store.runs("p")) == []
    assert list(store.pipelines()) == []
    store.forget("p", ("1",))


def test_every_field_of_a_checkpoint_comes_back(store: StateStore) -> None:
    lease = leased(store)
    berlin = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    full = Checkpoint(1, "r1", 1, "cür\0sor", "hint", "after", berlin, "m", "s", True, 10**12)

    store.commit(lease, Commit("p", full))
    assert store.load("p") == full

    settle(store, lease)
    assert store.load("p") == Checkpoint(2, "r1", 1)


def test_every_field_of_an_entry_comes_back_and_can_be_replaced(store: StateStore) -> None:
    lease = leased(store)
    bare = Entry(None, None, None, None, EntryState.GONE)

    settle(store, lease, entries={("1",): an_entry(), ("2",): bare})
    assert store.look_up("p", [("1",), ("2",)]).entries == {("1",): an_entry(), ("2",): bare}

    settle(store, lease, entries={("1",): bare, ("2",): an_entry(state=EntryState.AMBIGUOUS)})
    found = store.look_up("p", [("1",), ("2",)]).entries
    assert found == {("1",): bare, ("2",): an_entry(state=EntryState.AMBIGUOUS)}


def test_keys_are_told_apart_to_the_last_character(store: StateStore) -> None:
    lease = leased(store)
    entries = {key: an_entry(str(at)) for at, key in enumerate(MESSY)}

    settle(
        store,
        lease,
        entries=entries,
        intents=[an_intent(key) for key in MESSY],
        letters=[a_letter(key) for key in MESSY],
    )

    known = store.look_up("p", MESSY)
    assert known.entries == entries
    assert known.intents == {key: an_intent(key) for key in MESSY}
    assert [known.letters[key][0].id for key in MESSY] == list(range(1, len(MESSY) + 1))
    for key in MESSY:
        assert store.look_up("p", [key]).entries == {key: entries[key]}
        assert store.look_up("p", [(*key, "more")]) == Known()


def test_no_keys_and_five_thousand_keys_are_looked_up_alike(store: StateStore) -> None:
    lease = leased(store)
    entries = {(str(at),): an_entry(str(at)) for at in range(5000)}

    settle(store, lease, entries=entries)

    assert store.look_up("p", []) == Known()
    assert store.look_up("p", list(entries)).entries == entries
    assert store.look_up("p", [("7",), ("7",)]).entries == {("7",): entries["7",]}


def test_pipelines_do_not_see_each_other(store: StateStore) -> None:
    one, other = leased(store, pipeline="p"), leased(store, pipeline="P")
    parts = {"letters": [a_letter()], "intents": [an_intent()]}

    settle(store, one, entries={("k",): an_entry("one")}, **parts)
    settle(store, other, entries={("k",): an_entry("other")})
    settle(store, other, closed={1: LetterStatus.REPLAYED}, resolved=[("k",)])

    assert store.look_up("p", [("k",)]).entries == {("k",): an_entry("one")}
    assert store.look_up("P", [("k",)]) == Known({("k",): an_entry("other")})
    assert store.look_up("P", [("k",)], [b"raw"]) == Known(same={("k",)})
    assert store.totals("p") == (1, 1)
    assert list(store.pipelines()) == ["P", "p"]


def test_a_key_with_the_raw_digest_that_is_asked_about_is_the_same(store: StateStore) -> None:
    lease = leased(store)
    names = ("same", "other", "none", "unasked", "gone", "letter", "intent", "closed")
    keys = [(name,) for name in names]
    entries = {key: an_entry(key[0]) for key in keys}
    entries["none",] = an_entry("none", raw=None)
    entries["gone",] = an_entry("gone", raw=None, state=EntryState.GONE)
    settle(
        store,
        lease,
        entries=entries,
        letters=[a_letter(("letter",)), a_letter(("closed",))],
        intents=[an_intent(("intent",))],
    )
    settle(store, lease, closed={2: LetterStatus.DISCARDED})
    asked = [b"raw", b"new", b"raw", None, b"raw", b"raw", b"raw", b"raw", b"raw"]

    known = store.look_up("p", [*keys, ("never",)], asked)

    assert known.same == {("same",), ("closed",)}
    assert known.entries == {key: entries[key] for key in keys if key not in known.same}
    assert list(known.letters) == [("letter",)]
    assert list(known.intents) == [("intent",)]
    assert store.look_up("q", keys, asked[:-1]) == Known()


def test_a_doubted_key_is_not_the_same(store: StateStore) -> None:
    lease = leased(store)
    settle(store, lease, entries={("1",): an_entry(), ("2",): an_entry("2")})

    store.put_intents(lease, [], [("1",)])

    known = store.look_up("p", [("1",), ("2",)], [b"raw", b"raw"])
    assert known.same == {("2",)}
    assert known.entries == {("1",): an_entry(raw=None, fingerprint=None)}


def test_what_is_the_same_is_told_of_thousands_of_messy_keys(store: StateStore) -> None:
    lease = leased(store)
    keys: list[Key] = [
        *(key for key in MESSY if "\0" not in key[0]),
        *((str(n),) for n in range(10, 3000)),
    ]
    entries = {key: an_entry(str(at), raw=b"%d" % at) for at, key in enumerate(keys)}
    settle(store, lease, entries=entries)
    shuffled = random.Random(1).sample(keys, len(keys))
    asked = [raw if at % 7 else b"" for at, raw in enumerate(entries[key].raw for key in shuffled)]

    known = store.look_up("p", shuffled, asked)

    assert known.same == {key for at, key in enumerate(shuffled) if at % 7}
    assert known.entries == {key: entries[key] for key in shuffled[::7]}
    assert store.look_up("p", [("a\0b",), *keys], [b"", *asked]).entries.keys() <= entries.keys()


def test_a_commit_with_a_stale_sequence_is_refused(store: StateStore) -> None:
    lease = leased(store)
    settle(store, lease, entries={("1",): an_entry()})
    settle(store, lease)

    for seq in (0, 1, 2, 4):
        late = Commit("p", Checkpoint(seq, "r1", 1, "older"), {("1",): an_entry("worse")})
        with pytest.raises(CheckpointError, match=f"stands at commit 2, so commit {seq}"):
            store.commit(lease, late)

    assert store.load("p") == Checkpoint(2, "r1", 1)
    assert store.look_up("p", [("1",)]).entries == {("1",): an_entry()}


def test_a_first_commit_that_is_not_the_first_is_refused(store: StateStore) -> None:
    lease = leased(store)

    with pytest.raises(CheckpointError, match="stands at commit 0"):
        store.commit(lease, Commit("p", Checkpoint(7), {("1",): an_entry()}))

    assert store.look_up("p", [("1",)]) == Known()


@pytest.mark.parametrize(
    "wrong",
    [
        Lease("p", "r1", 0),
        Lease("p", "r1", 2),
        Lease("p", "r2", 1),
        Lease("q", "r1", 1),
        Lease("never", "r1", 1),
    ],
)
def test_a_commit_with_a_token_or_run_that_is_not_the_leases_is_fenced(
    store: StateStore, wrong: Lease
) -> None:
    lease = leased(store)
    leased(store, pipeline="q", run_id="rq")
    settle(store, lease, entries={("1",): an_entry()})
    late = Commit(wrong.pipeline, Checkpoint(2, "r1", 1), {("1",): an_entry("worse")})

    with pytest.raises(FencedError, match="lost the right to run"):
        store.commit(wrong, late)
    with pytest.raises(FencedError):
        store.put_intents(wrong, [an_intent()])
    with pytest.raises(FencedError):
        store.renew(wrong, TTL)

    assert store.load("p") == Checkpoint(1, "r1", 1)
    assert store.look_up("p", [("1",), ("k",)]) == Known({("1",): an_entry()})


def test_a_lease_does_not_serve_for_another_pipeline(store: StateStore) -> None:
    lease = leased(store)
    leased(store, pipeline="q")

    with pytest.raises(FencedError):
        store.commit(lease, Commit("q", Checkpoint(1), {("1",): an_entry()}))

    assert store.look_up("q", [("1",)]) == Known()


def test_a_released_lease_writes_no_more(store: StateStore) -> None:
    lease = leased(store)
    store.release(lease, "{}")

    with pytest.raises(FencedError):
        settle(store, lease)
    with pytest.raises(FencedError):
        store.put_intents(lease, [an_intent()])
    with pytest.raises(FencedError):
        store.renew(lease, TTL)


def test_a_refused_commit_leaves_nothing_behind(store: StateStore, clock: Clock) -> None:
    lease = leased(store)
    settle(
        store,
        lease,
        entries={("1",): an_entry()},
        letters=[a_letter()],
        intents=[an_intent(("i",))],
        report='{"batch": 1}',
    )
    before = snapshot(store, [("1",), ("2",), ("k",), ("i",)])
    clock.pass_by(seconds=59)
    everything = Commit(
        "p",
        Checkpoint(9, "r1", 1, "cursor"),
        {("1",): an_entry("worse"), ("2",): an_entry()},
        [a_letter(("2",))],
        {1: LetterStatus.REPLAYED},
        [an_intent(("2",))],
        [("i",)],
        '{"batch": 2}',
    )

    with pytest.raises(CheckpointError):
        store.commit(lease, everything)

    assert snapshot(store, [("1",), ("2",), ("k",), ("i",)]) == before
    clock.pass_by(seconds=1)
    assert store.acquire("p", "r2", TTL), "the refused commit has renewed the lease"


def snapshot(store: StateStore, keys: list[Key]) -> list[Any]:
    return [
        store.load("p"),
        store.look_up("p", keys),
        letters_of(store),
        list(store.intents("p", 99)),
        store.totals("p"),
        list(store.runs("p")),
    ]


def test_what_a_caller_does_to_its_lists_later_changes_nothing(store: StateStore) -> None:
    lease = leased(store)
    fields, row = ["a"], [1]
    intent = an_intent(fields=fields, row=row, next=an_intent(fields=fields, row=row))
    commit = Commit("p", Checkpoint(1), {("1",): an_entry()}, intents=[intent])
    store.commit(lease, commit)
    known = store.look_up("p", [("1",), ("k",)])

    commit.entries.clear()
    fields.append("b")
    row.append(2)
    known.entries.clear()
    known.intents.clear()

    again = store.look_up("p", [("1",), ("k",)])
    mine = an_intent(fields=("a",), row=(1,))
    assert again == Known({("1",): an_entry()}, {("k",): evolve(mine, next=mine)})


# -- Both stores: letters and intents --------------------------------------------------


def test_every_field_of_a_letter_comes_back(store: StateStore) -> None:
    lease = leased(store)
    bare = a_letter((), version=None, detail=None, original=None, deleted=True, stage=Stage.READ)
    full = a_letter(("a", "b"), mapped=pack(["x", None]), stage=Stage.WRITE)

    settle(store, lease, letters=[bare, full])

    assert letters_of(store) == [evolve(bare, id=1), evolve(full, id=2)]


def test_ids_of_letters_only_grow(store: StateStore) -> None:
    lease = leased(store)
    settle(store, lease, letters=[a_letter(), a_letter(("gone",))])
    store.forget("p", ("gone",))

    settle(store, lease, letters=[a_letter(id=1)])

    assert [letter.id for letter in letters_of(store)] == [1, 3]


def test_open_letters_are_looked_up_by_key_in_the_order_of_their_ids(store: StateStore) -> None:
    lease = leased(store)
    settle(store, lease, letters=[a_letter(digest=bytes([n])) for n in range(3)])
    settle(store, lease, letters=[a_letter(("other",), version=None)])
    settle(store, lease, closed={2: LetterStatus.SUPERSEDED, 77: LetterStatus.REPLAYED})

    found = store.look_up("p", [("k",), ("other",), ("none",)]).letters

    assert found == {
        ("k",): [(1, b"\0", "2026-01-01"), (3, b"\2", "2026-01-01")],
        ("other",): [(4, b"\xff\x00digest", None)],
    }
    assert store.totals("p") == (3, 0)


def test_a_closed_letter_says_what_became_of_it_first(store: StateStore) -> None:
    lease = leased(store)
    settle(store, lease, letters=[a_letter(), a_letter(), a_letter()])
    settle(store, lease, closed={1: LetterStatus.REPLAYED, 2: LetterStatus.SUPERSEDED})

    settle(store, lease, closed={1: LetterStatus.SUPERSEDED, 3: LetterStatus.REPLAYED})

    assert [letter.status for letter in letters_of(store)] == ["replayed", "superseded", "replayed"]
    assert store.look_up("p", [("k",)]).letters == {}


def test_letters_are_paged_by_id_and_chosen_by_status(store: StateStore) -> None:
    lease = leased(store)
    settle(store, lease, letters=[a_letter((str(n),)) for n in range(1, 7)])
    settle(store, lease, closed={2: LetterStatus.REPLAYED, 4: LetterStatus.SUPERSEDED})

    def ids(**chosen: Any) -> list[int]:
        return [letter.id for letter in store.letters("p", **chosen)]

    assert ids() == [1, 3, 5, 6]
    assert ids(limit=2) == [1, 3]
    assert ids(after=3) == [5, 6]
    assert ids(status=None, after=1, limit=3) == [2, 3, 4]
    assert ids(status=LetterStatus.REPLAYED) == [2]
    assert ids(status=LetterStatus.SUPERSEDED, after=4) == []


def test_every_field_of_an_intent_comes_back(store: StateStore) -> None:
    lease = leased(store)
    last = an_intent(op=Op.DELETE, fields=(), row=(), fingerprint=None, raw=None, sent=None)
    full = an_intent(
        version="v",
        dest_id="d",
        idempotency_key="i",
        body=b"\x00{}",
        counted=True,
        original=pack({"name": "\ud800"}),
        next=evolve(an_intent(body=b"\xff", sent=None), next=last),
    )

    store.put_intents(lease, [full])

    assert list(store.intents("p", 9)) == [full]
    assert store.look_up("p", [("k",)]).intents == {("k",): full}


def test_intents_come_oldest_first_and_then_as_they_were_put(store: StateStore) -> None:
    lease = leased(store)
    plus_one = timezone(timedelta(hours=1))
    early = datetime(2026, 3, 29, 1, 59, 59, tzinfo=plus_one)
    store.put_intents(lease, [an_intent(("b",)), an_intent(("a",)), an_intent(("c",), born=early)])

    store.put_intents(lease, [an_intent(("b",), sent=None)])

    assert [intent.key for intent in store.intents("p", 9)] == [("c",), ("b",), ("a",)]
    assert [intent.key for intent in store.intents("p", 2)] == [("c",), ("b",)]
    assert store.look_up("p", [("b",)]).intents["b",].sent is None
    assert store.totals("p") == (0, 3)


def test_a_commit_resolves_intents_and_puts_others(store: StateStore) -> None:
    lease = leased(store)
    store.put_intents(lease, [an_intent((name,)) for name in "abc"])

    successor = an_intent(("b",), op=Op.UPDATE)
    settle(store, lease, intents=[successor, an_intent(("d",))], resolved=[("a",), ("b",), ("x",)])

    assert store.look_up("p", [(name,) for name in "abcd"]).intents == {
        ("b",): successor,
        ("c",): an_intent(("c",)),
        ("d",): an_intent(("d",)),
    }


def test_what_is_known_of_a_doubted_key_is_taken_back(store: StateStore) -> None:
    lease = leased(store)
    gone = an_entry(state=EntryState.GONE)
    settle(store, lease, entries={("1",): an_entry(), ("2",): gone, ("3",): gone})

    store.put_intents(lease, [an_intent()], [("1",), ("2",), ("never",)])

    doubted = an_entry(fingerprint=None, raw=None)
    known = store.look_up("p", [("1",), ("2",), ("3",), ("never",), ("k",)])
    assert known.entries == {("1",): doubted, ("2",): doubted, ("3",): gone}
    assert list(known.intents) == [("k",)]

    with pytest.raises(FencedError):
        store.put_intents(Lease("p", "r1", 0), [], [("3",)])
    assert store.look_up("p", [("3",)]).entries == {("3",): gone}


def test_forgetting_a_key_leaves_no_trace_of_it(store: StateStore) -> None:
    lease = leased(store)
    parts = [("k",), ("stays",), ("k", "k")]
    settle(
        store,
        lease,
        entries={key: an_entry() for key in parts},
        letters=[a_letter(key) for key in (*parts, *parts)],
        intents=[an_intent(key) for key in parts],
    )
    settle(store, lease, closed={1: LetterStatus.REPLAYED})

    store.forget("p", ("k",))

    known = store.look_up("p", parts)
    assert {*known.entries} == {*known.intents} == {*known.letters} == {("stays",), ("k", "k")}
    assert {letter.key for letter in letters_of(store)} == {("stays",), ("k", "k")}
    assert store.totals("p") == (4, 2)


def test_closed_letters_lose_their_content_after_thirty_days(
    store: StateStore, clock: Clock
) -> None:
    lease = leased(store)
    full = a_letter(mapped=pack([1]))
    settle(
        store, lease, letters=[full, full, full, evolve(full, status=LetterStatus.SUPERSEDED), full]
    )
    settle(store, lease, closed={1: LetterStatus.REPLAYED})
    clock.pass_by(days=10)
    store.renew(lease, TTL)
    settle(store, lease, closed={2: LetterStatus.REPLAYED})
    store.forget("p", ("nothing",))

    clock.pass_by(days=20)
    store.release(lease, "{}")
    assert [letter.original for letter in letters_of(store)] == [full.original] * 5

    clock.pass_by(microseconds=1)
    store.release(leased(store, "r2"), "{}")
    kept = [(one.detail, one.original, one.mapped) for one in letters_of(store)]
    blank, whole = (None, None, None), (full.detail, full.original, full.mapped)
    assert kept == [blank, whole, whole, blank, whole]
    assert letters_of(store)[0].reason == full.reason


# -- Both stores: leases and runs ------------------------------------------------------


def test_one_run_at_a_time_has_the_right_to_run(store: StateStore) -> None:
    lease = leased(store)

    assert lease == Lease("p", "r1", 1)
    assert store.acquire("p", "r2", TTL) is None
    assert leased(store, pipeline="other", run_id="r2") == Lease("other", "r2", 1)

    store.release(lease, "{}")
    assert store.acquire("p", "r2", TTL) == Lease("p", "r2", 2)


def test_a_lease_whose_time_ran_out_is_taken_over_and_its_holder_fenced(
    store: StateStore, clock: Clock
) -> None:
    first = leased(store)
    clock.pass_by(seconds=59.999)
    assert store.acquire("p", "r2", TTL) is None

    clock.pass_by(seconds=0.001)
    assert store.acquire("p", "r2", TTL) == Lease("p", "r2", 2, crashed=1)

    with pytest.raises(FencedError):
        settle(store, first)


def test_a_commit_and_a_renewal_keep_the_lease(store: StateStore, clock: Clock) -> None:
    lease = leased(store)
    clock.pass_by(seconds=50)
    settle(store, lease)
    clock.pass_by(seconds=50)
    assert store.acquire("p", "r2", TTL) is None

    store.renew(lease, timedelta(seconds=200))
    clock.pass_by(seconds=199)
    assert store.acquire("p", "r2", TTL) is None
    settle(store, lease)
    clock.pass_by(seconds=199)
    assert store.acquire("p", "r2", TTL) is None


def test_a_run_past_its_time_goes_on_if_nobody_took_over(store: StateStore, clock: Clock) -> None:
    lease = leased(store)
    clock.pass_by(hours=1)

    settle(store, lease)

    assert store.acquire("p", "r2", TTL) is None


def test_crashes_in_a_row_are_counted_until_a_commit(store: StateStore, clock: Clock) -> None:
    crashed = []
    for at in range(3):
        crashed.append(leased(store, f"r{at}").crashed)
        clock.pass_by(seconds=61)
    lease = leased(store, "r3")
    settle(store, lease)
    clock.pass_by(seconds=61)
    crashed += [lease.crashed, leased(store, "r4").crashed]
    store.release(Lease("p", "r4", 5), "{}")
    crashed.append(leased(store, "r5").crashed)

    assert crashed == [0, 1, 2, 3, 1, 0]


def test_the_same_run_may_ask_again(store: StateStore) -> None:
    leased(store)

    assert store.acquire("p", "r1", TTL) == Lease("p", "r1", 2, crashed=1)
    assert list(store.runs("p")) == ['{"result": "running"}']


def test_a_pipelines_standing_is_told_and_not_changed(store: StateStore, clock: Clock) -> None:
    assert store.standing("p") is Standing.IDLE
    lease = leased(store)
    told = [store.standing("p") for _ in range(2)]
    store.release(lease, "{}")

    assert told == [Standing.RUNNING] * 2
    assert store.standing("p") is Standing.IDLE


def test_a_run_in_memory_whose_time_ran_out_has_crashed(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    leased(store)
    clock.pass_by(seconds=61)

    assert store.standing("p") is Standing.CRASHED


def test_a_run_that_lost_its_lease_leaves_the_new_one_alone(
    store: StateStore, clock: Clock
) -> None:
    first = leased(store)
    clock.pass_by(seconds=61)
    second = leased(store, "r2")

    store.release(first, '{"result": "failed"}')

    settle(store, second)
    assert store.acquire("p", "r3", TTL) is None
    assert list(store.runs("p")) == ["{}", '{"result": "failed"}']


def test_releasing_what_was_never_held_does_nothing(store: StateStore) -> None:
    store.release(Lease("p", "r1", 1), "{}")
    assert list(store.pipelines()) == []

    lease = leased(store)
    store.release(Lease("p", "r0", 1), '{"result": "failed"}')
    settle(store, lease)
    assert list(store.runs("p")) == ["{}"]


def test_runs_come_newest_first_and_unfinished_ones_as_crashed(
    store: StateStore, clock: Clock
) -> None:
    store.release(leased(store, "r1"), '{"result": "success"}')
    lease = leased(store, "r2")
    settle(store, lease, report='{"result": "success", "counts": {"read": 7}}')
    clock.pass_by(seconds=61)
    leased(store, "r3")
    clock.pass_by(seconds=61)
    leased(store, "r4")

    assert [json.loads(report) for report in store.runs("p")] == [
        {"result": "running"},
        {"result": "crashed"},
        {"result": "crashed", "counts": {"read": 7}},
        {"result": "success"},
    ]
    assert [json.loads(report)["result"] for report in store.runs("p", 2)] == ["running", "crashed"]


# -- Both stores: cells, threads, closing ----------------------------------------------


def test_the_reports_of_old_runs_are_forgotten(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "KEPT_RUNS", 3)
    other = leased(store, "first", pipeline="q")
    store.release(other, '{"of": "q"}')
    for number in range(6):
        store.release(leased(store, f"r{number}"), f'{{"run": {number}}}')
        kept = [json.loads(report)["run"] for report in store.runs("p")]
        assert kept == list(range(number, max(-1, number - 3), -1))

    last = leased(store, "r3")
    assert [json.loads(report) for report in store.runs("p")] == [
        {"result": "running"},
        {"run": 5},
        {"run": 4},
    ]
    store.release(last, "{}")
    assert list(store.runs("q")) == ['{"of": "q"}']


def test_a_cell_is_written_by_whoever_knows_its_version(store: StateStore) -> None:
    assert store.cell("c") is None
    assert not store.swap("c", b"early", 1)
    assert store.swap("c", b"\x00one", 0)
    assert not store.swap("c", b"late", 0)
    assert store.swap("c", b"two", 1)
    assert not store.swap("c", b"late", 1)
    assert store.cell("c") == Cell(b"two", 2)
    assert store.cell("C") is None


def increment(store: StateStore, times: int) -> None:
    for _ in range(times):
        done = False
        while not done:
            value, version = store.cell("count") or (b"0", 0)
            done = store.swap("count", b"%d" % (int(value) + 1), version)


def test_threads_share_a_store(store: StateStore) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            increment(store, 10)
            lease = leased(store, pipeline=name)
            for at in range(5):
                settle(store, lease, entries={(str(at),): an_entry(name)})
            store.release(lease, "{}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert store.cell("count") == Cell(b"40", 40)
    assert list(store.pipelines()) == ["a", "b", "c", "d"]
    assert all(len(store.look_up(n, [("0",), ("4",)]).entries) == 2 for n in "abcd")


def test_a_closed_store_refuses_to_be_used(store: StateStore) -> None:
    lease = leased(store)
    store.close()
    store.close()

    uses: list[Callable[[], Any]] = [
        lambda: store.load("p"),
        lambda: store.look_up("p", []),
        lambda: store.look_up("p", [("k",)]),
        lambda: store.commit(lease, Commit("p", Checkpoint(1))),
        lambda: store.put_intents(lease, []),
        lambda: store.intents("p", 1),
        lambda: store.letters("p"),
        lambda: store.totals("p"),
        lambda: store.runs("p"),
        lambda: store.pipelines(),
        lambda: store.acquire("p", "r", TTL),
        lambda: store.renew(lease, TTL),
        lambda: store.release(lease, "{}"),
        lambda: store.cell("c"),
        lambda: store.swap("c", b"", 0),
        lambda: store.forget("p", ("k",)),
    ]
    for use in uses:
        with pytest.raises(CheckpointError, match="is closed"):
            use()


def test_the_default_clock_is_the_systems() -> None:
    before = datetime.now(UTC)
    lease = leased(MemoryStore())

    assert before <= stores.utc_now() <= datetime.now(UTC)
    assert lease.token == 1


@pytest.mark.parametrize("seed", range(25))
def test_both_stores_answer_alike(tmp_path: Path, seed: int) -> None:
    clock, draw = Clock(), random.Random(seed)
    memory = MemoryStore(clock=clock)
    with contextlib.closing(SQLiteStore(tmp_path / "s.db", clock=clock)) as file:
        leases = [Lease("p", "r0", 1)]
        for step in range(30):
            operation = an_operation(draw, clock, leases, step)
            answers = [answer(operation, each) for each in (memory, file)]
            assert answers[0] == answers[1], step
            if isinstance(answers[0], Lease):
                leases.append(answers[0])
        assert snapshot(memory, MESSY) == snapshot(file, MESSY)


def answer(operation: Callable[[StateStore], Any], store: StateStore) -> Any:
    try:
        return operation(store)
    except (CheckpointError, FencedError) as error:
        return str(error)


def an_operation(
    draw: random.Random, clock: Clock, leases: list[Lease], step: int
) -> Callable[[StateStore], Any]:
    clock.pass_by(seconds=draw.choice([0, 1, 30, 61]), days=draw.choice([0, 0, 0, 20]))
    lease = draw.choice([leases[-1]] * 4 + leases)
    keys = draw.sample(MESSY, 4)
    born = clock.now
    commit: dict[str, Any] = {
        "entries": {key: an_entry(str(step)) for key in keys[:2]},
        "letters": [a_letter(key) for key in draw.sample(keys, 2)],
        "closed": dict.fromkeys(draw.sample(range(1, 20), 3), draw.choice(list(LetterStatus)[1:])),
        "intents": [an_intent(key, born=born) for key in keys[2:]],
        "resolved": draw.sample(MESSY, 3),
        "report": json.dumps({"result": "success", "step": step}),
    }
    return draw.choice(
        [
            lambda store: store.acquire("p", f"r{step}", TTL),
            lambda store: store.release(lease, json.dumps({"result": "success", "end": step})),
            lambda store: store.renew(lease, TTL),
            lambda store: store.put_intents(lease, [an_intent(key, born=born) for key in keys]),
            lambda store: store.forget("p", keys[0]),
            *[lambda store: settle(store, lease, **commit)] * 5,
            lambda store: snapshot(store, keys),
        ]
    )


# -- SQLite: the file ------------------------------------------------------------------


def test_another_process_finds_all_that_was_committed(sqlite: SQLiteStore, path: Path) -> None:
    settle(sqlite, leased(sqlite), entries={("1",): an_entry()}, letters=[a_letter()])

    def look() -> bool:
        with contextlib.closing(SQLiteStore(path)) as other:
            known = other.look_up("p", [("1",), ("k",)])
            return known.entries == {("1",): an_entry()} and len(known.letters) == 1

    assert forked(look).join() == 0


def test_only_the_owner_may_read_the_files(sqlite: SQLiteStore, path: Path) -> None:
    leased(sqlite)

    modes = {each.suffix: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}

    assert modes == dict.fromkeys([".db", ".db-wal", ".db-shm", ".lock"], 0o600)


def test_an_empty_file_becomes_a_state_file(path: Path) -> None:
    path.touch(0o644)

    SQLiteStore(os.fspath(path)).close()

    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_file_says_what_it_is_and_how_it_is_kept(sqlite: SQLiteStore) -> None:
    expected = {
        "application_id": 0x53594E43,
        "user_version": 1,
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
        "wal_autocheckpoint": 10000,
        "cache_size": -8000,
    }
    for name, value in expected.items():
        assert sqlite._rows(f"PRAGMA {name}") == [(value,)], name


def make_golden(path: str | Path) -> None:
    """Write a state file with something in every column, the same each time."""
    clock = Clock()
    with contextlib.closing(SQLiteStore(path, clock=clock)) as store:
        store.release(leased(store, "r1"), '{"result": "success"}')
        lease = leased(store, "r2")
        store.put_intents(lease, [an_intent(("gone",)), a_golden_intent()])
        checkpoint = Checkpoint(1, "r2", 2, "cür", "hint", "after", START, "m", "s", True, 13)
        entries = {key: an_entry(str(at)) for at, key in enumerate(MESSY)}
        entries["bare",] = Entry(None, None, None, None, EntryState.GONE)
        letters = [a_letter(), a_letter(()), a_letter(mapped=pack([1])), a_letter(("x", "y"))]
        first = Commit("p", checkpoint, entries, [("7",)], letters, {}, [], [("gone",)], "{}")
        store.commit(lease, first)
        closed = {2: LetterStatus.REPLAYED, 3: LetterStatus.SUPERSEDED}
        store.commit(lease, Commit("p", evolve(checkpoint, seq=2), closed=closed, report="{}"))
        leased(store, "r1", "Zoë's pipeline")
        store.swap("cell", b"\x00\xff", 0)
        store.swap("cell", b"\xff\x00", 1)
    for lock in Path(path).parent.glob("*.lock"):
        lock.unlink()


def a_golden_intent() -> Intent:
    return an_intent(
        ("x", "y"),
        version="v",
        dest_id="d",
        idempotency_key="i",
        body=b"\x00{}",
        counted=True,
        original="{}",
        next=an_intent(("x", "y"), op=Op.DELETE, sent=None),
    )


@pytest.fixture
def golden(path: Path) -> Path:
    shutil.copy(GOLDEN, path)
    return path


def test_a_state_file_of_version_1_is_read_to_the_last_field(golden: Path, clock: Clock) -> None:
    with contextlib.closing(SQLiteStore(golden, clock=clock)) as store:
        store.check()
        entries = {key: an_entry(str(at)) for at, key in enumerate(MESSY)}
        entries["7",] = an_entry("0", raw=None)
        entries["bare",] = Entry(None, None, None, None, EntryState.GONE)
        known = store.look_up("p", [*MESSY, ("bare",), ("k",), ("gone",)])
        assert known.entries == entries
        assert known.intents == {("x", "y"): a_golden_intent()}
        assert sorted(known.letters) == [("k",), ("x", "y")]
        assert letters_of(store) == [
            a_letter(id=1),
            a_letter((), id=2, status=LetterStatus.REPLAYED),
            a_letter(id=3, mapped=pack([1]), status=LetterStatus.SUPERSEDED),
            a_letter(("x", "y"), id=4),
        ]
        checkpoint = Checkpoint(2, "r2", 2, "cür", "hint", "after", START, "m", "s", True, 13)
        assert store.load("p") == checkpoint
        assert list(store.runs("p")) == ["{}", '{"result": "success"}']
        assert list(store.pipelines()) == ["Zoë's pipeline", "p"]
        assert store.cell("cell") == Cell(b"\xff\x00", 2)
        assert store.acquire("p", "r3", TTL) == Lease("p", "r3", 3, crashed=1)


def test_a_state_file_of_version_1_has_the_schema_of_a_new_one(
    golden: Path, tmp_path: Path
) -> None:
    SQLiteStore(golden).close()
    SQLiteStore(tmp_path / "new.db").close()

    schemas = []
    for file in (golden, tmp_path / "new.db"):
        with contextlib.closing(sqlite3.connect(file)) as raw:
            schemas.append(raw.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall())
    assert schemas[0] == schemas[1]


def test_a_file_of_an_older_version_is_migrated_in_one_transaction(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = "CREATE TABLE more (x); INSERT INTO more SELECT count(*) FROM entries"
    monkeypatch.setattr(stores, "MIGRATIONS", (*stores.MIGRATIONS, f"{second}; SELECT * FROM nil"))
    with pytest.raises(CheckpointError, match="SQLITE_ERROR"):
        SQLiteStore(golden)

    monkeypatch.setattr(stores, "MIGRATIONS", (*stores.MIGRATIONS[:1], second))
    with contextlib.closing(SQLiteStore(golden)) as store:
        assert store._rows("SELECT x FROM more") == [(15,)]
        assert store._rows("PRAGMA user_version") == [(2,)]


def test_a_migration_that_somebody_else_has_done_is_not_done_twice(
    sqlite: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = stores._version
    monkeypatch.setattr(
        stores, "_version", lambda *args: seen.append(0) or (real(*args) if seen[1:] else 0)
    )
    sqlite._disconnect()

    assert sqlite.load("p") == Checkpoint()
    assert len(seen) == 2


def test_a_store_reads_every_statement_through_an_index(sqlite: SQLiteStore) -> None:
    statements: list[str] = []
    lease = leased(sqlite)
    settle(sqlite, lease, letters=[a_letter()], intents=[an_intent()])
    with sqlite._use() as connection:
        connection.set_trace_callback(statements.append)
    sqlite.load("p")
    sqlite.look_up("p", [("a\0",)])
    sqlite.look_up("p", [("k",), ("l",)])
    sqlite.look_up("p", [("k",), ("l",)], [b"raw", b"old"])
    settle(
        sqlite,
        lease,
        entries={("k",): an_entry()},
        letters=[a_letter()],
        closed={1: LetterStatus.REPLAYED},
        intents=[an_intent()],
        resolved=[("k",)],
    )
    sqlite.put_intents(lease, [an_intent()])
    list(sqlite.letters("p", status=None)), list(sqlite.letters("p")), sqlite.intents("p", 9)
    sqlite.totals("p"), sqlite.runs("p"), sqlite.cell("c"), sqlite.swap("c", b"", 0)
    sqlite.swap("c", b"", 1), sqlite.forget("p", ("k",))
    sqlite.acquire("p", "r1", TTL)
    sqlite.release(lease, "{}")

    with sqlite._use() as connection:
        connection.set_trace_callback(None)
        plans = {
            (statement, step[3])
            for statement in statements
            if statement.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"}
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        }
    assert len(plans) > 30
    scans = [plan for plan in plans if "SCAN" in plan[1] and plan[1].split()[1] != "json_each"]
    assert [plan for plan in scans if plan[1] != "SCAN CONSTANT ROW"] == []
    assert {
        "SEARCH entries USING PRIMARY KEY (pipeline=? AND key=?)",
        "SEARCH letters USING INDEX letters_by_key (pipeline=? AND key=? AND status=?)",
        "SEARCH letters USING INDEX letters_kept (pipeline=? AND closed<?)",
    } <= {step for _, step in plans}


def test_a_transaction_is_begun_in_one_place_only() -> None:
    tree = ast.parse(Path(stores.__file__).read_text())
    texts = [
        (node.value, function.name)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    starts = [pair for pair in texts if pair[0].upper().split()[:1] in (["BEGIN"], ["SAVEPOINT"])]

    assert starts == [("BEGIN IMMEDIATE", "begin")]
    assert "isolation_level=None" in Path(stores.__file__).read_text()


def test_every_write_begins_one_transaction(
    sqlite: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[None] = []
    real = stores.begin
    monkeypatch.setattr(stores, "begin", lambda connection: begun.append(real(connection)))
    lease = leased(sqlite)
    writes: list[Callable[[], Any]] = [
        lambda: sqlite.commit(lease, Commit("p", Checkpoint(1), {("1",): an_entry()})),
        lambda: sqlite.put_intents(lease, [an_intent()]),
        lambda: sqlite.renew(lease, TTL),
        lambda: sqlite.swap("c", b"", 0),
        lambda: sqlite.forget("p", ("k",)),
        lambda: sqlite.release(lease, "{}"),
        lambda: sqlite.acquire("p", "r2", TTL),
    ]
    for write in writes:
        begun.clear()
        write()
        assert len(begun) == 1


def test_a_read_that_turns_into_a_write_surfaces_as_busy(
    sqlite: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why every write begins as one: the mutant of promise RL-33 in small."""
    lease = leased(sqlite)
    with contextlib.closing(SQLiteStore(path)) as other:

        def plainly(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM cells").fetchone()
            monkeypatch.undo()
            other.swap("c", b"between", 0)

        monkeypatch.setattr(stores, "begin", plainly)
        with pytest.raises(CheckpointError, match="SQLITE_BUSY"):
            settle(sqlite, lease)


def test_an_error_in_a_transaction_ends_it_though_a_cursor_is_kept(
    sqlite: SQLiteStore, path: Path
) -> None:
    leased(sqlite)
    leased(sqlite, pipeline="q")
    cursors = []

    def interrupted() -> None:
        with sqlite._write() as connection:
            connection.execute("INSERT INTO cells VALUES ('c', x'00', 1)")
            cursors.append(connection.execute("SELECT name FROM pipelines"))
            cursors[0].fetchone()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    with contextlib.closing(SQLiteStore(path, busy_timeout=0.02)) as other:
        assert other.swap("c", b"", 0)


def test_odd_text_in_a_letter_does_not_stop_it(sqlite: SQLiteStore) -> None:
    lease = leased(sqlite)
    odd = a_letter(detail="\ud800 é", reason="\ud800", code="\ud800", version="\ud800")

    settle(sqlite, lease, letters=[odd])

    (kept,) = letters_of(sqlite)
    assert (kept.detail, kept.version) == ("\\ud800 é", "\\ud800")


def test_text_that_cannot_be_stored_is_the_connectors_fault(sqlite: SQLiteStore) -> None:
    lease = leased(sqlite)

    with pytest.raises(ContractError, match="lone surrogate"):
        settle(sqlite, lease, entries={("1",): an_entry(), ("2",): an_entry(dest_id="\ud800")})

    assert sqlite.look_up("p", [("1",)]) == Known()
    settle(sqlite, lease)


def test_sqlite_is_not_loaded_before_it_is_used() -> None:
    program = (
        "import sys, syncsdk.stores as s; s.MemoryStore(); "
        "sys.exit(sum(name in sys.modules for name in ('sqlite3', '_sqlite3', 'cattrs')))"
    )
    root = Path(stores.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", program], cwd=root).returncode == 0


# -- SQLite: refusals ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ":memory:", "file:x.db?mode=memory"])
def test_a_path_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MemoryStore\(\)"):
        SQLiteStore(name)


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere does not exist. Make it"):
        SQLiteStore(tmp_path / "nowhere" / "state.db")

    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a file"):
        SQLiteStore(tmp_path)


MOUNTS = r"""
/dev/vda / ext4 rw,relatime 0 0
server:/export /data nfs4 rw,vers=4.2 0 0
/dev/vdb /data/local xfs rw 0 0
//server/share /mnt/a\040b cifs rw 0 0
me@host: /home/me/remote fuse.sshfs rw 0 0
tmpfs /both tmpfs rw 0 0
share /both 9p rw 0 0
share2 /smb smb3 rw 0 0
""".lstrip()


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/var/state.db", None),
        ("/data/state.db", "nfs4"),
        ("/data/local/state.db", None),
        ("/database/state.db", None),
        ("/mnt/a b/state.db", "cifs"),
        ("/home/me/remote/deep/state.db", "fuse.sshfs"),
        ("/both/state.db", "9p"),
        ("/smb/state.db", "smb3"),
    ],
)
def test_a_network_mount_is_recognised_by_its_longest_prefix(place: str, kind: str | None) -> None:
    assert stores.network_mount(place, MOUNTS) == kind


def test_a_file_on_a_network_mount_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_mounts", lambda: f"server:/x {path.parent} nfs rw 0 0\n")

    with pytest.raises(ConfigurationError, match=r"network file system \(nfs\)"):
        SQLiteStore(path)

    assert not path.exists()


def test_a_system_without_a_list_of_mounts_is_trusted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def __init__(self, _: str) -> None:
            raise FileNotFoundError

    with monkeypatch.context() as patched:
        patched.setattr(stores, "Path", Missing)
        SQLiteStore(path).close()


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A directory that this process may look at only, though it may run as root."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    SQLiteStore(directory / "state.db").close()
    (directory / "state.db").chmod(0o444)
    directory.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield directory
    if is_root:
        os.seteuid(0)
    directory.chmod(0o755)
    shutil.rmtree(directory)


def test_a_read_only_directory_is_refused(read_only: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be written.*the right to write"):
        SQLiteStore(read_only / "new.db")


def test_a_read_only_file_is_refused(read_only: Path) -> None:
    if os.getuid() == 0:
        os.seteuid(0)
        read_only.chmod(0o777)
        os.seteuid(65534)
    else:
        read_only.chmod(0o777)

    with pytest.raises(CheckpointError, match=r"state\.db failed: it cannot be written"):
        SQLiteStore(read_only / "state.db")


def foreign(path: Path, *statements: str) -> dict[str, bytes]:
    """Make another program's database, and return what all its files hold."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for statement in statements:
            raw.execute(statement)
    return {each.name: each.read_bytes() for each in path.parent.iterdir()}


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    before = foreign(path, "PRAGMA application_id = 7", "CREATE TABLE t (x)")

    with pytest.raises(ConfigurationError, match="not a state file of syncsdk"):
        SQLiteStore(path)

    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def test_another_programs_write_ahead_log_is_not_moved_into_its_file(tmp_path: Path) -> None:
    live, path = tmp_path / "live.db", tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("CREATE TABLE t (x)")
        shutil.copy(live, path)
        shutil.copy(f"{live}-wal", f"{path}-wal")
    before = path.read_bytes(), Path(f"{path}-wal").read_bytes()

    with pytest.raises(ConfigurationError, match="not a state file of syncsdk"):
        SQLiteStore(path)

    assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == before


def test_another_programs_unfinished_change_is_undone_by_sqlite_and_refused(
    tmp_path: Path,
) -> None:
    live, path = tmp_path / "live.db", tmp_path / "copy.db"
    foreign(live, "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))")
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as raw:
        raw.execute("PRAGMA cache_size = 1")
        raw.execute("BEGIN")
        raw.execute("UPDATE t SET x = randomblob(100000)")
        shutil.copy(live, path)
        shutil.copy(f"{live}-journal", f"{path}-journal")

    with pytest.raises(ConfigurationError, match="not a state file of syncsdk"):
        SQLiteStore(path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("id,name\n" * 1000)

    with pytest.raises(ConfigurationError, match="not a state file of syncsdk"):
        SQLiteStore(path)

    assert path.read_text() == "id,name\n" * 1000
    assert list(path.parent.iterdir()) == [path]


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    SQLiteStore(path).close()
    before = foreign(path, "PRAGMA user_version = 9")

    with pytest.raises(ConfigurationError, match="Upgrade syncsdk here"):
        SQLiteStore(path)

    assert path.read_bytes() == before["state.db"]


# -- SQLite: damage, locks, full disks -------------------------------------------------


def fill(store: SQLiteStore, number: int = 3000) -> list[Key]:
    keys: list[Key] = [(f"{at:06}",) for at in range(number)]
    settle(store, leased(store), entries={key: an_entry("x" * 50) for key in keys})
    return keys


def flip_the_middle(path: Path) -> None:
    page = 4096 * (path.stat().st_size // 4096 // 2)
    with path.open("r+b") as file:
        file.seek(page)
        found = file.read(4096)
        file.seek(page)
        file.write(bytes(byte ^ 0xFF for byte in found))


def test_a_damaged_file_is_found_out_by_a_check_and_in_use(path: Path) -> None:
    with contextlib.closing(SQLiteStore(path)) as store:
        keys = fill(store)
    flip_the_middle(path)

    with contextlib.closing(SQLiteStore(path)) as store:
        with pytest.raises(CheckpointError, match=r"it is damaged.*backup"):
            store.check()
        with pytest.raises(CheckpointError, match=r"it is damaged \(SQLITE_CORRUPT"):
            store.look_up("p", keys)


def test_a_damaged_file_that_was_not_closed_is_refused_at_once(
    sqlite: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    fill(sqlite)
    sqlite._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    sqlite.swap("c", b"in the log", 0)
    whole, damaged = tmp_path / "whole.db", tmp_path / "damaged.db"
    for copy in (whole, damaged):
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    flip_the_middle(damaged)

    with contextlib.closing(SQLiteStore(whole)) as store:
        assert store.cell("c") == Cell(b"in the log", 1)
    with pytest.raises(CheckpointError, match="damaged"):
        SQLiteStore(damaged)


def test_a_locked_file_is_an_error_after_the_timeout_only(path: Path) -> None:
    with (
        contextlib.closing(SQLiteStore(path, busy_timeout=0.05)) as store,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw,
    ):
        lease = leased(store)
        raw.execute("BEGIN IMMEDIATE")
        for write in (lambda: settle(store, lease), lambda: store.acquire("q", "r", TTL)):
            with pytest.raises(CheckpointError, match=r"locked.*SQLITE_BUSY.*busy_timeout="):
                write()
        assert store.load("p") == Checkpoint()
        raw.execute("ROLLBACK")

        settle(store, lease)
        assert store.acquire("q", "r", TTL) == Lease("q", "r", 1)


def test_the_switch_to_a_write_ahead_log_waits_for_a_writer(path: Path) -> None:
    SQLiteStore(path).close()
    foreign(path, "PRAGMA journal_mode = DELETE")
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    ) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(CheckpointError, match="SQLITE_BUSY"):
            SQLiteStore(path, busy_timeout=0.02)

        ended = threading.Timer(0.05, raw.execute, ["ROLLBACK"])
        ended.start()
        with contextlib.closing(SQLiteStore(path)) as store:
            assert store._rows("PRAGMA journal_mode") == [("wal",)]
        ended.join()


class Small(SQLiteStore):
    """A store on a disk with room for so many pages."""

    room = 40

    def _prepare(self, connection: sqlite3.Connection) -> None:
        super()._prepare(connection)
        connection.execute(f"PRAGMA max_page_count = {self.room}")


def test_a_full_disk_undoes_the_whole_commit(path: Path) -> None:
    with contextlib.closing(Small(path)) as store:
        lease = leased(store)
        settle(store, lease, entries={("1",): an_entry()})
        much = {(f"{at:06}",): an_entry("x" * 200) for at in range(2000)}

        with pytest.raises(CheckpointError, match=r"disk is full.*Free some space"):
            settle(store, lease, entries=much)

        assert store.load("p").seq == 1
        assert store.look_up("p", list(much)) == Known()
        store.room = 10_000
        store._disconnect()
        settle(store, lease, entries=much)
        assert len(store.look_up("p", list(much)).entries) == 2000


class Unsure(SQLiteStore):
    """A store whose next COMMIT fails, before or after it took effect."""

    fails: str | None = None

    def _connect(self) -> Any:
        return Connected(self, super()._connect())


class Connected:
    def __init__(self, store: Unsure, connection: sqlite3.Connection) -> None:
        self._store, self._connection = store, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        fails = self._store.fails if statement == "COMMIT" else None
        if fails == "before":
            self._store.fails = None
            raise broken("SQLITE_IOERR_WRITE")
        done = self._connection.execute(statement, *values)
        if fails == "after":
            self._store.fails = None
            raise broken("SQLITE_IOERR_FSYNC")
        return done


def broken(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("broken")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(("fails", "seq"), [("before", 0), ("after", 1)])
def test_a_commit_of_unknown_outcome_can_be_read_back(path: Path, fails: str, seq: int) -> None:
    with contextlib.closing(Unsure(path)) as store:
        lease = leased(store)
        store.fails = fails

        with pytest.raises(CheckpointError, match="reading or writing it failed"):
            settle(store, lease, entries={("1",): an_entry()})

        assert store.load("p").seq == seq
        assert len(store.look_up("p", [("1",)]).entries) == seq
        settle(store, lease)


def test_a_lease_whose_commit_failed_is_free_at_once(path: Path) -> None:
    with contextlib.closing(Unsure(path)) as store:
        for fails in ("before", "after"):
            store.fails = fails
            with pytest.raises(CheckpointError):
                store.acquire("p", fails, TTL)

        assert leased(store, "r").token == 2


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SQLITE_BUSY_SNAPSHOT", "busy_timeout="),
        ("SQLITE_FULL", "Free some space"),
        ("SQLITE_IOERR_READ", "Look at the disk"),
        ("SQLITE_CORRUPT_INDEX", "from a backup"),
        ("SQLITE_READONLY_DIRECTORY", "the right to write"),
        ("SQLITE_CANTOPEN", "too many files open"),
        ("SQLITE_MISUSE", "report it"),
    ],
)
def test_each_error_of_sqlite_has_a_remedy(name: str, remedy: str) -> None:
    error = stores._trouble(broken(name), "/state.db")

    assert isinstance(error, CheckpointError)
    assert name in error.message
    assert remedy in error.remedy


def test_an_error_of_the_module_itself_has_a_remedy_too(sqlite: SQLiteStore) -> None:
    with pytest.raises(CheckpointError, match=r"SQLite refused \((Programming|Interface)Error\)"):
        sqlite.swap("c", object(), 0)  # type: ignore[arg-type]


# -- SQLite: processes -----------------------------------------------------------------


class Child:
    """A forked process that tells what its function returned, and can be told to go on."""

    running: ClassVar[set[int]] = set()

    def __init__(self, run: Callable[[Child], Any]) -> None:
        heard, tell = os.pipe()
        hear, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._in, self._out = hear, tell
            os.close(heard)
            os.close(told)
            status = 1
            signal.alarm(30)  # one that is stuck ends itself
            try:
                status = int(not run(self))
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
            finally:
                os._exit(status)
        self.running.add(self.pid)
        self._in, self._out = heard, told
        os.close(tell)
        os.close(hear)

    def say(self) -> None:
        os.write(self._out, b".")

    def wait(self) -> bool:
        """Wait for the other side's word; False if it is dead, or silent for too long."""
        return bool(select.select([self._in], [], [], 20)[0]) and os.read(self._in, 1) == b"."

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            os.waitpid(self.pid, os.WUNTRACED)

    def join(self) -> int:
        """Return its exit code: 0 if its function returned something true."""
        self.running.remove(self.pid)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._in)
        os.close(self._out)
        return code


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """Not after a failure either."""
    yield
    for pid in Child.running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    Child.running.clear()


def forked(run: Callable[[], Any]) -> Child:
    return Child(lambda _: run())


def holding(path: Path, clock: Clock) -> Child:
    """A process that holds the lease of p until it is told to commit."""

    def run(child: Child) -> bool:
        store = SQLiteStore(path, clock=clock)
        lease = leased(store, "held")
        child.say()
        child.wait()
        try:
            settle(store, lease)
        except FencedError:
            child.say()
            child.wait()
            return True
        return False

    child = Child(run)
    assert child.wait()
    return child


def test_eight_processes_on_a_new_file_count_without_a_busy_error(path: Path) -> None:
    def run(child: Child) -> bool:
        child.wait()
        with contextlib.closing(SQLiteStore(path)) as store:
            increment(store, 25)
        return True

    children = [Child(run) for _ in range(8)]
    for child in children:
        child.say()

    assert [child.join() for child in children] == [0] * 8
    with contextlib.closing(SQLiteStore(path)) as store:
        assert store.cell("count") == Cell(b"200", 200)
        store.check()


def test_the_lease_of_a_killed_process_is_free_at_once(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    child = holding(path, clock)
    assert sqlite.acquire("p", "r2", TTL) is None
    assert sqlite.standing("p") is Standing.RUNNING

    child.signal(signal.SIGKILL)
    child.join()

    assert sqlite.standing("p") is Standing.CRASHED
    assert sqlite.acquire("p", "r2", TTL) == Lease("p", "r2", 2, crashed=1)
    assert json.loads(sqlite.runs("p")[1]) == {"result": "crashed"}


def test_the_lease_of_a_frozen_process_is_free_after_its_time(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    child = holding(path, clock)
    child.signal(signal.SIGSTOP)
    clock.pass_by(seconds=59)
    assert sqlite.acquire("p", "r2", TTL) is None

    clock.pass_by(seconds=1)
    second = leased(sqlite, "r2")
    assert second == Lease("p", "r2", 2, crashed=1)

    child.signal(signal.SIGCONT)
    child.say()
    assert child.wait(), "the first run was not fenced"
    # It has let go of the lock file, which proves nothing about the run that never had it.
    with contextlib.closing(SQLiteStore(path, clock=clock)) as third:
        assert third.acquire("p", "r3", TTL) is None
    settle(sqlite, second)
    child.say()
    assert child.join() == 0


def test_a_lease_is_not_mistaken_for_a_dead_ones_within_a_process(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    lease = leased(sqlite)
    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        assert other.acquire("p", "r2", TTL) is None
        settle(sqlite, lease)
        sqlite.release(lease, "{}")
        assert leased(other, "r2").token == 2
        assert sqlite.acquire("p", "r3", TTL) is None


def test_closing_a_store_frees_its_leases(sqlite: SQLiteStore, path: Path, clock: Clock) -> None:
    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        leased(other, "r1")
        assert sqlite.acquire("p", "r2", TTL) is None

    assert leased(sqlite, "r2") == Lease("p", "r2", 2, crashed=1)


def test_a_run_that_took_over_in_the_same_store_keeps_the_lock(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    first = leased(sqlite)
    clock.pass_by(seconds=61)
    leased(sqlite, "r2")

    sqlite.release(first, "{}")

    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        assert other.acquire("p", "r3", TTL) is None


@pytest.mark.parametrize("end", ["released", "fenced", "released late"])
def test_a_run_that_ended_lets_go_of_the_lock_for_the_next(
    sqlite: SQLiteStore, path: Path, clock: Clock, end: str
) -> None:
    first = leased(sqlite)
    with contextlib.closing(SQLiteStore(path, clock=clock)) as second:
        if end == "released":
            sqlite.release(first, "{}")
        else:
            clock.pass_by(seconds=60)
            lease = leased(second, "r2")
            if end == "fenced":
                with pytest.raises(FencedError):
                    sqlite.renew(first, TTL)
            else:
                sqlite.release(first, "{}")
            second.release(lease, "{}")
        leased(second, "r3")
        assert sqlite.acquire("p", "r4", TTL) is None

    assert sqlite.acquire("p", "r4", TTL), "the store that was closed did not have the lock"


def test_a_forged_lease_does_not_free_the_lock(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    lease = leased(sqlite)
    for forged in (evolve(lease, run_id="r9"), evolve(lease, token=0), evolve(lease, pipeline="q")):
        with pytest.raises(FencedError):
            sqlite.renew(forged, TTL)

    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        assert other.acquire("p", "r3", TTL) is None


def only_time_counts(store: SQLiteStore, path: Path, clock: Clock) -> None:
    leased(store)
    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        store.close()
        assert other.acquire("p", "r2", TTL) is None
        clock.pass_by(seconds=60)
        assert leased(other, "r2").token == 2


def test_without_fcntl_only_the_time_of_a_lease_counts(
    sqlite: SQLiteStore, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)

    only_time_counts(sqlite, path, clock)


def test_without_a_lock_file_only_the_time_of_a_lease_counts(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    sqlite.release(leased(sqlite), "{}")
    (file,) = path.parent.glob("*.lock")
    file.unlink()
    file.mkdir()
    sqlite.release(leased(sqlite), "{}")
    clock.pass_by(seconds=1)

    leased(sqlite)
    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        sqlite.close()
        assert other.acquire("p", "r2", TTL) is None


def test_both_sides_of_a_fork_use_the_store(sqlite: SQLiteStore) -> None:
    settle(sqlite, leased(sqlite), entries={("1",): an_entry()})

    child = forked(lambda: increment(sqlite, 20) or sqlite.load("p").seq == 1)
    increment(sqlite, 20)

    assert child.join() == 0
    assert sqlite.cell("count") == Cell(b"40", 40)


def test_what_a_child_commits_after_its_parent_closed_is_not_lost(path: Path) -> None:
    store = SQLiteStore(path)
    store.swap("parent", b"", 0)

    def run(child: Child) -> bool:
        store.swap("child", b"before", 0)
        child.say()
        child.wait()
        return store.swap("child", b"after", 1)

    child = Child(run)
    child.wait()
    store.close()
    child.say()
    assert child.join() == 0

    with contextlib.closing(SQLiteStore(path)) as again:
        assert again.cell("child") == Cell(b"after", 2)
        assert again.cell("parent") == Cell(b"", 1)


def test_an_idle_child_does_not_keep_a_dead_parents_lease_alive(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    end_of_idling, idle_until = os.pipe()

    def run(child: Child) -> None:
        os.close(idle_until)
        store = SQLiteStore(path, clock=clock)
        leased(store)
        if os.fork() == 0:
            os.read(end_of_idling, 1)
            os._exit(0)
        child.say()
        child.wait()

    child = Child(run)
    child.wait()
    assert sqlite.acquire("p", "r2", TTL) is None
    child.signal(signal.SIGKILL)
    child.join()

    assert sqlite.acquire("p", "r2", TTL) == Lease("p", "r2", 2, crashed=1)
    os.close(idle_until)
    os.close(end_of_idling)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_writes_waits_for_it(sqlite: SQLiteStore) -> None:
    writer = threading.Thread(target=increment, args=(sqlite, 30))
    writer.start()
    children = []
    while writer.is_alive():
        children.append(forked(lambda: sqlite.swap("child", b"", 0) or sqlite.cell("child")))
        writer.join(0.005)

    assert {child.join() for child in children} <= {0}
    assert sqlite.cell("count") == Cell(b"30", 30)


def test_a_child_closes_its_copies_of_the_locks_at_once(
    sqlite: SQLiteStore, path: Path, clock: Clock
) -> None:
    leased(sqlite)

    stores._before_fork()
    copied = sqlite._connection
    stores._after_fork_in_child()

    assert copied is None
    with contextlib.closing(SQLiteStore(path, clock=clock)) as other:
        assert other.acquire("p", "r2", TTL)
    assert sqlite.load("p") == Checkpoint()


def test_a_fork_that_no_hook_was_told_of_is_noticed_at_the_next_use(
    sqlite: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = sqlite._connection
    assert inherited is not None
    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert sqlite.swap("c", b"child", 0)

    assert sqlite._connection is not inherited
    assert stores._INHERITED[-1] is inherited
    stores._INHERITED.remove(inherited)
    inherited.close()


def test_a_fork_within_a_transaction_leaves_it_alone(sqlite: SQLiteStore) -> None:
    with sqlite._write() as connection:
        stores._before_fork()
        stores._after_fork()
        connection.execute("INSERT INTO cells VALUES ('c', x'00', 1)")

    assert sqlite.cell("c") == Cell(b"\0", 1)


def test_a_system_that_cannot_fork_needs_no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")

    stores._watch_forks.__wrapped__()
