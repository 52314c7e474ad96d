"""Tables of SQLite and PostgreSQL, as sources and as sinks."""

from __future__ import annotations

import enum
import importlib
import itertools
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from syncsdk.connectors.sql import SqlSource, SqlTable
from syncsdk.errors import (
    AuthenticationError,
    ConfigurationError,
    ContractError,
    RejectedError,
    SyncError,
    UnavailableError,
)
from syncsdk.protocols import Applied, Changes, Deletes, Op, Rejected
from syncsdk.values import INSTANT, INTEGER, UNSET, Keyset, Listing, as_key, key_text

NO_LATENESS = timedelta(0)
START = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}")
        yield engine
        engine.dispose()
        return
    url = sa.make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
    schema, lazy = f"t{uuid.uuid4().hex}", "-csynchronous_commit=off"  # nobody pulls the plug
    admin = sa.create_engine(url, connect_args={"options": lazy})
    with admin.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    engine = sa.create_engine(url, connect_args={"options": f"-csearch_path={schema} {lazy}"})
    yield engine
    engine.dispose()
    with admin.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    admin.dispose()


only_postgres = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[sa.Engine]:
    """SQLite only, for what does not depend on the database."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}")
    yield engine
    engine.dispose()


def make(engine: sa.Engine, *columns: Any, name: str = "events", rows: Any = ()) -> sa.Table:
    table = sa.Table(name, sa.MetaData(), *columns)
    table.create(engine)
    if rows:
        with engine.begin() as connection:
            connection.execute(table.insert(), list(rows))
    return table


def events(engine: sa.Engine, rows: Any = ()) -> sa.Table:
    return make(
        engine,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("name", sa.Text),
        rows=rows,
    )


def keyset(field: str = "at", **options: Any) -> Keyset:
    return Keyset(field, **{"lateness": NO_LATENESS, "zone": "UTC"} | options)


def ids(batches: Any) -> list[Any]:
    return [record["id"] for batch in batches for record in batch.records]


def rows_of(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        query = sa.select(table).order_by(*table.primary_key)
        return [dict(zip(table.c.keys(), row, strict=True)) for row in connection.execute(query)]


def changes(
    *rows: tuple[Op, Any, dict[str, Any] | None], dest_ids: Sequence[str | None] | None = None
) -> Changes:
    """Build one write of (op, source key, record) by hand."""
    names = list(dict.fromkeys(name for _, _, record in rows for name in record or ()))
    return Changes(
        fields=names,
        ops=[op for op, _, _ in rows],
        keys=[as_key(key) for _, key, _ in rows],
        versions=[None] * len(rows),
        dest_ids=dest_ids or [None] * len(rows),
        rows=[
            () if record is None else tuple(record.get(name, UNSET) for name in names)
            for _, _, record in rows
        ],
    )


# -- SqlSource: pages and places --------------------------------------------------------


def test_rows_come_in_pages_in_the_order_of_the_cursor(engine: sa.Engine) -> None:
    table = events(
        engine, [{"id": at, "at": START - timedelta(minutes=at), "name": "x"} for at in range(5)]
    )

    batches = list(SqlSource(engine, table, key="id", cursor=keyset(), batch=2).read(None))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert ids(batches) == [4, 3, 2, 1, 0]
    assert [key for batch in batches for key in batch.keys] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("size", range(1, 8))
def test_ties_longer_than_a_page_lose_and_double_nothing_from_any_place(
    engine: sa.Engine, size: int
) -> None:
    stamps = [START + timedelta(microseconds=at // 9) for at in range(20)]
    table = events(engine, [{"id": at, "at": stamp, "name": ""} for at, stamp in enumerate(stamps)])
    source = SqlSource(engine, table, key="id", cursor=keyset(), batch=size)

    whole = list(source.read(None))

    assert ids(whole) == list(range(20))
    seen = 0
    for batch in whole:
        seen += len(batch)
        assert ids(source.read(batch.after)) == list(range(seen, 20))


def test_the_place_before_a_value_reads_all_rows_of_that_value(engine: sa.Engine) -> None:
    stamps = [START + timedelta(seconds=at // 3) for at in range(9)]
    table = events(engine, [{"id": at, "at": stamp, "name": ""} for at, stamp in enumerate(stamps)])
    cursor = keyset()
    source = SqlSource(engine, table, key="id", cursor=cursor, batch=2)
    *_, last = source.read(None)
    assert last.after is not None

    floored = cursor.floor(last.after, START + timedelta(seconds=1))

    assert cursor.split(floored)[1] is None
    assert ids(source.read(floored)) == [3, 4, 5, 6, 7, 8]


def test_a_cursor_is_floored_between_rows_and_reads_all_that_is_later(engine: sa.Engine) -> None:
    stamps = [START + timedelta(microseconds=at * 1234567) for at in range(10)]
    table = events(engine, [{"id": at, "at": stamp, "name": ""} for at, stamp in enumerate(stamps)])
    cursor = keyset()
    source = SqlSource(engine, table, key="id", cursor=cursor)
    (batch,) = source.read(None)
    assert batch.after is not None

    for at, stamp in enumerate(stamps):
        found = ids(source.read(cursor.floor(batch.after, stamp)))
        assert set(found) >= set(range(at, 10)) - ({9} if at == 9 else set())


def test_microseconds_and_offsets_survive_in_the_cursor(engine: sa.Engine) -> None:
    stamps = [START + timedelta(microseconds=at) for at in range(4)]
    table = events(engine, [{"id": at, "at": stamp, "name": ""} for at, stamp in enumerate(stamps)])
    if engine.dialect.name == "postgresql":  # it shows instants in the session's time zone
        with engine.connect() as connection:
            connection.exec_driver_sql("SET TIME ZONE 'Europe/Berlin'")
            connection.commit()
    source = SqlSource(engine, table, key="id", cursor=keyset(), batch=1)

    batches = list(source.read(None))

    assert ids(batches) == [0, 1, 2, 3]
    assert [keyset().position(batch.after)[0].microsecond for batch in batches] == [0, 1, 2, 3]
    assert ids(source.read(batches[1].after)) == [2, 3]
    if engine.dialect.name == "postgresql":
        assert batches[0].positions == ["2026-03-29T03:30:00+02:00"]


def test_positions_are_the_cursor_columns_own_texts(engine: sa.Engine) -> None:
    table = events(engine, [{"id": 2**62 + 1, "at": START, "name": ""}])

    (batch,) = SqlSource(engine, table, key="id", cursor=keyset()).read(None)

    assert batch.positions is not None
    assert batch.after == keyset().cursor(batch.positions[0], str(2**62 + 1))
    assert keyset().position(batch.after)[0] == START.replace(tzinfo=None)


def test_nineteen_digit_ids_are_compared_as_integers(engine: sa.Engine) -> None:
    wanted = [9, 10, 9_007_199_254_740_993, 9_223_372_036_854_775_806, 9_223_372_036_854_775_807]
    table = events(engine, [{"id": at, "at": START, "name": ""} for at in wanted])

    batches = list(SqlSource(engine, table, key="id", cursor=keyset(), batch=1).read(None))

    assert ids(batches) == wanted


def test_cursors_may_be_texts_integers_and_uuids(engine: sa.Engine) -> None:
    uuids = sorted(uuid.UUID(int=at * 7**30) for at in range(6))
    table = make(
        engine,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("text", sa.Text),
        sa.Column("epoch", sa.BigInteger),
        rows=[
            {"id": at, "text": f"2026-01-0{n // 2 + 1}T00:00:00Z", "epoch": n // 3}
            for n, at in enumerate(uuids)
        ],
    )

    for cursor in (keyset("text"), keyset("epoch", format="epoch_us")):
        source = SqlSource(engine, table, key="id", cursor=cursor, batch=1)
        batches = list(source.read(None))
        assert ids(batches) == uuids
        assert [key for batch in batches for key in batch.keys] == [str(at) for at in uuids]
        assert ids(source.read(batches[3].after)) == uuids[4:]
        cursor.position(batches[-1].after)


def test_dates_are_cursors_in_their_declared_zone(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("day", sa.Date, nullable=False),
        rows=[{"id": at, "day": date(2026, 1, 1 + at // 2)} for at in range(6)],
    )
    cursor = keyset("day", granularity=timedelta(days=1), lateness=timedelta(days=1))
    source = SqlSource(engine, table, key="id", cursor=cursor, batch=1)

    batches = list(source.read(None))

    assert ids(batches) == list(range(6))
    floored = cursor.floor(batches[-1].after, datetime(2026, 1, 2, 12, tzinfo=UTC))
    assert ids(source.read(floored)) == [2, 3, 4, 5]


def test_sqlite_timestamps_of_several_widths_are_not_lost(lite: sa.Engine) -> None:
    table = events(lite)
    stamps = ["2026-01-01 12:00:00", "2026-01-01 12:00:00.000000", "2026-01-01 12:00:00.5"]
    with lite.begin() as connection:
        for at, stamp in enumerate(itertools.chain.from_iterable([stamp] * 3 for stamp in stamps)):
            connection.exec_driver_sql("INSERT INTO events VALUES (?, ?, '')", (at, stamp))
    cursor = keyset()
    source = SqlSource(lite, table, key="id", cursor=cursor, batch=2)

    batches = list(source.read(None))

    assert ids(batches) == list(range(9))
    assert batches[0].positions == ["2026-01-01 12:00:00"] * 2
    floored = cursor.floor(batches[-1].after, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert ids(source.read(floored)) == list(range(9))


def test_a_listing_reads_everything_in_the_order_of_its_key(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("a", sa.Integer, primary_key=True),
        sa.Column("b", sa.Integer, primary_key=True),
        sa.Column("c", sa.Integer, primary_key=True),
        rows=[dict(zip("abc", row, strict=True)) for row in itertools.product((2, 1), repeat=3)],
    )

    for size in (1, 2, 3, 8, 9):
        source = SqlSource(engine, table, key=["a", "b", "c"], cursor=Listing(), batch=size)
        batches = list(source.read(None))
        assert [key for batch in batches for key in batch.keys] == list(
            itertools.product((1, 2), repeat=3)
        )
        assert {(batch.after, batch.positions) for batch in batches} == {(None, None)}


def test_an_empty_table_is_no_batch(engine: sa.Engine) -> None:
    assert list(SqlSource(engine, events(engine), key="id", cursor=keyset()).read(None)) == []


def test_a_page_that_is_exactly_full_is_not_the_end(engine: sa.Engine) -> None:
    table = events(engine, [{"id": at, "at": START, "name": ""} for at in range(4)])

    batches = list(SqlSource(engine, table, key="id", cursor=keyset(), batch=2).read(None))

    assert [len(batch) for batch in batches] == [2, 2]


def test_rows_that_come_while_pages_are_read_are_seen_and_nothing_stays_open(
    engine: sa.Engine,
) -> None:
    table = events(engine, [{"id": at, "at": START, "name": ""} for at in (1, 3)])
    batches = SqlSource(engine, table, key="id", cursor=keyset(), batch=1).read(None)
    next(batches)

    with engine.begin() as connection:  # SQLite would be locked if a read were open
        connection.execute(table.insert(), {"id": 2, "at": START, "name": ""})

    assert ids(batches) == [2, 3]


# -- SqlSource: records -----------------------------------------------------------------


def test_values_keep_their_types(engine: sa.Engine) -> None:
    text = "Zoe\u0308 שלום 🦑 " + "x" * 10_000_000
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("flag", sa.Boolean),
        sa.Column("none", sa.Text),
        rows=[{"id": 1, "at": datetime(2026, 1, 1, 0, 0, 0, 1), "text": text, "flag": True}],
    )

    (batch,) = SqlSource(engine, table, key="id", cursor=keyset()).read(None)

    assert batch.records == [
        {"id": 1, "at": datetime(2026, 1, 1, 0, 0, 0, 1), "text": text, "flag": True, "none": None}
    ]


@only_postgres
def test_decimals_stay_decimals(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Numeric(30, 0), primary_key=True, autoincrement=False),
        sa.Column("money", sa.Numeric(30, 10)),
        rows=[{"id": 10**29, "money": Decimal("0.3000000001") + 10**15}],
    )
    source = SqlSource(engine, table, key="id", cursor=Listing())

    (batch,) = source.read(None)

    assert batch.keys == [str(10**29)]
    assert batch.records == [{"id": 10**29, "money": Decimal("1000000000000000.3000000001")}]
    assert source.fetch([(str(10**29),)]) == batch.records


def test_versions_are_texts_or_integers(engine: sa.Engine) -> None:
    table = events(engine, [{"id": 7, "at": START, "name": None}])
    by_time = SqlSource(engine, table, key="id", cursor=keyset(), version=INSTANT("at", zone="UTC"))
    by_number = SqlSource(engine, table, key="id", cursor=keyset(), version=INTEGER("id"))
    by_text = SqlSource(engine, table, key="id", cursor=keyset(), version=INTEGER("name"))

    versions = [next(iter(s.read(None))).versions for s in (by_time, by_number, by_text)]

    assert versions[1:] == [[7], [None]]
    assert versions[0] is not None
    assert by_time.capabilities.version.parse(str(versions[0][0]))[0] == START


def test_a_marked_row_is_deleted(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("gone", sa.Boolean),
        sa.Column("gone_at", sa.DateTime),
        sa.Column("state", sa.Text),
        rows=[
            {"id": 1, "gone": True, "gone_at": datetime(2026, 1, 1), "state": "gone"},
            {"id": 2, "gone": False, "gone_at": None, "state": "live"},
            {"id": 3, "gone": None, "gone_at": None, "state": None},
        ],
    )
    marked = sa.select(table, (table.c.state == "gone").label("mark"))

    for source in (
        SqlSource(engine, table, key="id", cursor=Listing(), deleted="gone"),
        SqlSource(engine, table, key="id", cursor=Listing(), deleted="gone_at"),
        SqlSource(engine, marked, key="id", cursor=Listing(), deleted="mark"),
    ):
        assert source.capabilities.deletes is Deletes.FLAGGED
        assert [batch.deleted for batch in source.read(None)] == [[True, False, False]]


def test_a_select_is_read_like_a_table(engine: sa.Engine) -> None:
    table = events(engine, [{"id": at, "at": START, "name": "x" * at} for at in range(5)])
    query = sa.select(table.c.id, table.c.at.label("changed"), sa.func.length(table.c.name))
    query = query.add_columns(table.c.name.label("title")).where(table.c.id > 1)

    batches = list(SqlSource(engine, query, key="id", cursor=keyset("changed"), batch=2).read(None))

    assert ids(batches) == [2, 3, 4]
    assert [r["title"] for batch in batches for r in batch.records or ()] == ["xx", "xxx", "xxxx"]


def test_identifiers_that_need_quotes_are_quoted(engine: sa.Engine) -> None:
    names = ["select", "Group By", "a%b", "c:d", 'e"f', "(g)", "h.i", "é 🦑", "old 9"]
    table = make(
        engine,
        sa.Column("order", sa.Integer, primary_key=True),
        sa.Column("from", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text) for name in names),
        name="user table",
    )
    record = {"order": 1, "from": START} | dict.fromkeys(names, "x")
    sink = SqlTable(engine, table, key="order")

    sink.write(changes((Op.CREATE, 1, record)))
    sink.write(changes((Op.UPDATE, 1, record | {"order": 2, "a%b": "y"}), dest_ids=["1"]))
    sink.write(changes((Op.UPDATE, 1, {"order": 2, "(g)": "z", "é 🦑": UNSET}), dest_ids=["2"]))
    cursor = keyset("from", id="order")
    source = SqlSource(engine, table, key="order", cursor=cursor, batch=1)
    (batch,) = source.read(None)

    assert batch.records is not None
    assert {n: batch.records[0][n] for n in names} == dict.fromkeys(names, "x") | {
        "a%b": "y",
        "(g)": "z",
    }
    assert source.fetch([("2",)]) == batch.records
    assert list(source.read(batch.after)) == []


def test_fetch_returns_the_current_record_or_none_for_each_key(engine: sa.Engine) -> None:
    table = events(engine, [{"id": at, "at": START, "name": f"n{at}"} for at in range(700)])
    source = SqlSource(engine, table, key="id", cursor=keyset())

    keys = [(str(at),) for at in range(699, -1, -1)]
    found = source.fetch([*keys, ("700",), ("abc",), ("1", "2")])

    assert [record and record["name"] for record in found] == [
        *(f"n{at}" for at in range(699, -1, -1)), None, None, None,
    ]  # fmt: skip
    assert source.fetch([]) == []
    assert source.fetch([("abc",)]) == [None]


def test_fetch_goes_by_keys_of_several_columns(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("a", sa.Text, primary_key=True),
        sa.Column("b", sa.Integer, primary_key=True),
        rows=[{"a": "x", "b": 1}, {"a": "x", "b": 2}],
    )

    found = SqlSource(engine, table, key=["a", "b"], cursor=Listing()).fetch(
        [("x", "2"), ("y", "1")]
    )

    assert found == [{"a": "x", "b": 2}, None]


# -- SqlSource: clock, transactions, refusals -------------------------------------------


def test_the_clock_is_the_databases_and_not_later_than_the_first_page(engine: sa.Engine) -> None:
    table = events(engine, [{"id": at, "at": START, "name": ""} for at in range(3)])
    source = SqlSource(engine, table, key="id", cursor=keyset(), batch=1)
    with pytest.raises(ContractError, match="before a batch was read"):
        source.clock()
    before = datetime.now(UTC)

    batches = source.read(None)
    next(batches)
    first = source.clock()
    list(batches)

    assert first.utcoffset() == timedelta(0)
    assert before - timedelta(milliseconds=2) <= first <= datetime.now(UTC)
    assert source.clock() == first


def test_a_connection_is_neither_committed_nor_closed_by_reading(engine: sa.Engine) -> None:
    table = events(engine, [{"id": at, "at": START, "name": ""} for at in range(3)])
    ends: list[str] = []
    sa.event.listen(engine, "commit", lambda connection: ends.append("commit"))

    with engine.connect() as connection:
        source = SqlSource(connection, table, key="id", cursor=keyset(), batch=2)
        for _ in source.read(None):
            assert not connection.in_transaction()
        assert not connection.closed
        assert not source.capabilities.reads_ahead
    assert ends == []


def test_a_connection_in_a_transaction_is_refused(engine: sa.Engine) -> None:
    table = events(engine)

    with engine.begin() as connection:
        with pytest.raises(ConfigurationError, match="is in a transaction"):
            list(SqlSource(connection, table, key="id", cursor=keyset()).read(None))
        with pytest.raises(ConfigurationError, match="is in a transaction"):
            SqlTable(connection, table, key="id").write(changes((Op.CREATE, 1, {"id": 1})))


def test_reading_ahead_is_offered_only_where_a_thread_has_its_own_connection(
    engine: sa.Engine,
) -> None:
    table = events(engine)
    memory = sa.create_engine("sqlite://")

    assert SqlSource(engine, table, key="id", cursor=keyset()).capabilities.reads_ahead
    assert not SqlSource(memory, table, key="id", cursor=keyset()).capabilities.reads_ahead
    memory.dispose()


@pytest.mark.parametrize("column", ["at", "name"])
def test_a_null_in_a_column_of_the_cursor_is_found(engine: sa.Engine, column: str) -> None:
    row = {"id": 1, "at": START, "name": "x"}
    table = events(engine, [row, row | {"id": 2, column: None}])
    source = SqlSource(engine, table, key="id", cursor=keyset(id="name"))

    with pytest.raises(ContractError, match=f"^{column} is null in some rows.*NOT NULL"):
        next(source.read(None))


@pytest.mark.parametrize("after", ["x", '["x"]', '["2026-01-01T00:00:00Z","x"]', '["7",null]'])
def test_a_cursor_that_is_not_ours_is_a_breach_of_contract(engine: sa.Engine, after: str) -> None:
    table = make(
        engine, sa.Column("id", sa.Integer, primary_key=True), sa.Column("at", sa.BigInteger)
    )
    source = SqlSource(engine, table, key="id", cursor=keyset(format="epoch"))

    if after == '["7",null]':  # the one that is
        assert list(source.read(after)) == []
        return
    with pytest.raises(ContractError, match="cursor"):
        next(source.read(after))


def test_a_column_that_is_not_there_is_named(lite: sa.Engine) -> None:
    table = events(lite)

    with pytest.raises(ConfigurationError, match="events has no column gone, nr, seen, v"):
        SqlSource(
            lite, table, key="nr", cursor=keyset("seen"), version=INTEGER("v"), deleted="gone"
        )
    with pytest.raises(ConfigurationError, match="the select has no column nr"):
        SqlSource(lite, sa.select(table), key="nr", cursor=Listing())


@pytest.mark.parametrize("kind", [sa.DateTime(), sa.Date()])
def test_times_without_an_offset_need_a_zone(lite: sa.Engine, kind: Any) -> None:
    table = make(
        lite, sa.Column("id", sa.Integer, primary_key=True), sa.Column("at", kind), name="naive"
    )

    with pytest.raises(ConfigurationError, match="Declare the zone="):
        SqlSource(lite, table, key="id", cursor=keyset(zone=None))

    SqlSource(lite, events(lite), key="id", cursor=keyset(zone=None))
    SqlSource(lite, table, key="id", cursor=keyset(zone="Europe/Berlin"))


def test_a_text_that_would_mark_every_row_as_deleted_is_refused(lite: sa.Engine) -> None:
    with pytest.raises(ConfigurationError, match="name is text"):
        SqlSource(lite, events(lite), key="id", cursor=keyset(), deleted="name")


def test_another_database_is_refused_by_name() -> None:
    engine = sa.create_mock_engine("mysql://", lambda *_: None)
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))

    with pytest.raises(ConfigurationError, match="mysql is not supported"):
        SqlSource(engine, table, key="id", cursor=Listing())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="mysql is not supported"):
        SqlTable(engine, table, key="id")  # type: ignore[arg-type]


def test_a_table_that_is_not_there_is_a_matter_of_configuration(engine: sa.Engine) -> None:
    table = events(engine)
    table.drop(engine)

    with pytest.raises(ConfigurationError, match="events"):
        next(SqlSource(engine, table, key="id", cursor=keyset()).read(None))
    with pytest.raises(ConfigurationError, match="events"):
        SqlTable(engine, table, key="id").write(changes((Op.CREATE, 1, {"id": 1})))


def test_a_value_that_is_not_of_its_columns_type_stops_the_read(lite: sa.Engine) -> None:
    table = events(lite)
    with lite.begin() as connection:
        connection.exec_driver_sql("INSERT INTO events VALUES (1, 'yesterday-ish', '')")

    with pytest.raises(ContractError, match="cannot be read as its column's type") as caught:
        next(SqlSource(lite, table, key="id", cursor=keyset()).read(None))

    assert "yesterday-ish" not in str(caught.value)


@only_postgres
def test_postgres_infinity_stops_the_read(engine: sa.Engine) -> None:
    table = events(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO events VALUES (1, 'infinity', '')")

    with pytest.raises(ContractError, match="cannot be read as its column's type"):
        next(SqlSource(engine, table, key="id", cursor=keyset()).read(None))


def test_a_database_that_is_down_is_unavailable(lite: sa.Engine) -> None:
    table = events(lite)
    down = [
        sa.create_engine("sqlite:////nowhere/at/all"),
        sa.create_engine("postgresql+psycopg://postgres@127.0.0.1:1/x"),
    ]

    for engine in down:
        with pytest.raises(UnavailableError, match="events is down"):
            next(SqlSource(engine, table, key="id", cursor=keyset()).read(None))
        with pytest.raises(UnavailableError, match="events is down"):
            SqlTable(engine, table, key="id").write(changes((Op.CREATE, 1, {"id": 1})))
        engine.dispose()


# -- SqlTable ---------------------------------------------------------------------------


def people(engine: sa.Engine, rows: Any = ()) -> sa.Table:
    return make(
        engine,
        sa.Column("number", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, server_default="new"),
        sa.Column("age", sa.Integer, sa.CheckConstraint("age < 200")),
        sa.Column("theirs", sa.Text),
        name="people",
        rows=rows,
    )


def test_a_write_creates_updates_and_deletes(engine: sa.Engine) -> None:
    table = people(engine)
    sink = SqlTable(engine, table, key="number")

    made = sink.write(
        changes(
            (Op.CREATE, 1, {"number": "CRM-1", "name": "A", "age": 1}),
            (Op.CREATE, 2, {"number": "CRM-2", "name": "B", "age": 2}),
        )
    )
    sink.write(
        changes(
            (Op.UPDATE, 1, {"number": "CRM-1", "name": "AA", "age": 1}),
            (Op.DELETE, 2, None),
            (Op.DELETE, 3, None),
            dest_ids=["CRM-1", "CRM-2", None],
        )
    )

    assert made == [Applied(0, "CRM-1"), Applied(1, "CRM-2")]
    assert rows_of(engine, table) == [{"number": "CRM-1", "name": "AA", "age": 1, "theirs": None}]


def test_the_same_write_again_changes_nothing(engine: sa.Engine) -> None:
    rows = [{"number": number, "name": number, "theirs": number} for number in ("a", "b", "c")]
    table = people(engine, rows)
    sink = SqlTable(engine, table, key="number")
    write = changes(
        (Op.UPDATE, 1, {"number": "d", "age": 3}),
        (Op.DELETE, 2, None),
        (Op.CREATE, 3, {"number": "e", "age": 4}),
        dest_ids=["a", "b", None],
    )

    first = sink.write(write), rows_of(engine, table)
    again = sink.write(write), rows_of(engine, table)

    assert first == again
    assert [row["number"] for row in first[1]] == ["c", "d", "e"]


@pytest.mark.parametrize("old", [UNSET, None, "", 0, "old"])
@pytest.mark.parametrize("new", [UNSET, None, "", 0, "new"])
def test_unset_keeps_null_clears_and_the_rest_is_written(
    engine: sa.Engine, old: Any, new: Any
) -> None:
    column = "age" if 0 in (old, new) else "name"
    old, new = (5 if column == "age" and isinstance(v, str) else v for v in (old, new))
    table = people(engine)
    sink = SqlTable(engine, table, key="number")

    sink.write(
        changes(
            (Op.CREATE, 1, {"number": "1", "theirs": "x", column: old}),
            (Op.CREATE, 2, {"number": "2", "theirs": "y", column: 7}),
        )
    )
    sink.write(
        changes(
            (Op.UPDATE, 1, {"number": "1", "theirs": "z", column: new}),
            (Op.UPDATE, 2, {"number": "2", "theirs": "z", column: UNSET}),
            dest_ids=["1", "2"],
        )
    )

    default = "new" if column == "name" else None
    created = default if old is UNSET else old
    first, second = rows_of(engine, table)
    assert first[column] == (created if new is UNSET else new)
    assert first[column].__class__ is (created if new is UNSET else new).__class__
    assert second[column] == (7 if column == "age" else "7")
    assert first["theirs"] == second["theirs"] == "z"


def test_unset_keeps_a_column_that_must_not_be_null(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("must", sa.Text, nullable=False),
        sa.Column("other", sa.Text),
        rows=[{"id": at, "must": "kept", "other": "old"} for at in (1, 2)],
    )
    sink = SqlTable(engine, table, key="id")

    sink.write(
        changes(
            (Op.UPDATE, 1, {"id": 1, "must": UNSET, "other": "new"}),
            (Op.UPDATE, 2, {"id": 2, "must": UNSET, "other": "new"}),
        )
    )

    assert rows_of(engine, table) == [
        {"id": 1, "must": "kept", "other": "new"},
        {"id": 2, "must": "kept", "other": "new"},
    ]
    (refused,) = sink.write(changes((Op.CREATE, 3, {"id": 3, "must": UNSET, "other": "new"})))
    assert isinstance(refused, Rejected)
    assert refused.code == "not_null"


def test_an_update_of_a_row_that_is_gone_writes_it_again(engine: sa.Engine) -> None:
    table = people(engine, [{"number": "1", "name": "A"}])

    SqlTable(engine, table, key="number").write(
        changes(
            (Op.UPDATE, 1, {"number": "1", "age": 1, "name": UNSET}),
            (Op.UPDATE, 2, {"number": "2", "age": 2, "name": UNSET}),
            (Op.UPDATE, 3, {"number": "3", "age": UNSET, "name": UNSET}),
        )
    )

    assert [(row["number"], row["name"], row["age"]) for row in rows_of(engine, table)] == [
        ("1", "A", 1),
        ("2", "new", 2),
        ("3", "new", None),
    ]


def test_a_record_that_is_nothing_but_its_key_is_written(engine: sa.Engine) -> None:
    table = people(engine, [{"number": "1", "name": "A"}])

    SqlTable(engine, table, key="number").write(
        changes((Op.CREATE, 1, {"number": "1"}), (Op.CREATE, 2, {"number": "2"}))
    )

    assert [row["name"] for row in rows_of(engine, table)] == ["A", "new"]


def test_a_key_of_several_columns_and_types_finds_its_row(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("region", sa.Text),
        sa.Column("number", sa.BigInteger),
        sa.Column("id", sa.Uuid),
        sa.Column("value", sa.Text),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id", "number", "region"),
    )
    sink = SqlTable(engine, table, key=["region", "number", "id"])
    one = {"region": "é", "number": 2**60 + 1, "id": uuid.UUID(int=5), "value": "x"}

    (outcome,) = sink.write(changes((Op.CREATE, 1, one)))
    assert isinstance(outcome, Applied)
    assert outcome.dest_id == key_text(("é", str(2**60 + 1), str(uuid.UUID(int=5))))
    sink.write(changes((Op.UPDATE, 1, one | {"value": "y"}), dest_ids=[outcome.dest_id]))
    assert [row["value"] for row in rows_of(engine, table)] == ["y"]
    sink.write(changes((Op.DELETE, 1, None), dest_ids=[outcome.dest_id]))

    assert rows_of(engine, table) == []


def test_a_deletion_that_no_row_can_have_is_rejected(engine: sa.Engine) -> None:
    sink = SqlTable(engine, events(engine), key="id")

    outcomes = sink.write(changes((Op.DELETE, "abc", None), (Op.DELETE, ("1", "2"), None)))

    assert outcomes == [Rejected(0, "key_form", path="key"), Rejected(1, "key_form", path="key")]


@pytest.mark.parametrize("key", [None, "", 1.5, UNSET, b"x"])
def test_a_record_without_a_usable_key_is_rejected(engine: sa.Engine, key: Any) -> None:
    table = people(engine)

    outcomes = SqlTable(engine, table, key="number").write(
        changes(
            (Op.CREATE, 1, {"number": key, "age": 1}), (Op.CREATE, 2, {"number": "2", "age": 2})
        )
    )

    assert isinstance(outcomes[0], Rejected)
    assert outcomes[0].path == "key"
    assert outcomes[1] == Applied(1, "2")
    assert [row["number"] for row in rows_of(engine, table)] == ["2"]


def test_of_two_records_with_one_key_in_a_write_the_later_is_rejected(engine: sa.Engine) -> None:
    table = people(engine)

    outcomes = SqlTable(engine, table, key="number").write(
        changes((Op.CREATE, "a", {"number": "1", "age": 1}), (Op.CREATE, "b", {"number": "1"}))
    )

    assert outcomes == [Applied(0, "1"), Rejected(1, "key_twice", path="key")]
    assert [row["age"] for row in rows_of(engine, table)] == [1]


def test_a_changed_key_moves_the_row_with_all_its_columns(engine: sa.Engine) -> None:
    table = people(engine, [{"number": "1", "name": "A", "theirs": "kept"}])

    (outcome,) = SqlTable(engine, table, key="number").write(
        changes((Op.UPDATE, "s", {"number": "2", "age": 5, "name": UNSET}), dest_ids=["1"])
    )

    assert outcome == Applied(0, "2")
    assert rows_of(engine, table) == [{"number": "2", "name": "A", "age": 5, "theirs": "kept"}]


@pytest.mark.parametrize("times", [1, 2])
def test_keys_may_be_swapped_passed_on_and_reused_in_one_write(
    engine: sa.Engine, times: int
) -> None:
    table = people(engine, [{"number": number, "theirs": number} for number in "abcdef"])
    write = changes(
        (Op.UPDATE, 1, {"number": "b", "age": 1}),  # a and b are swapped
        (Op.UPDATE, 2, {"number": "a", "age": 2}),
        (Op.UPDATE, 3, {"number": "d", "age": 3}),  # c takes the place of d, which moves on
        (Op.UPDATE, 4, {"number": "g", "age": 4}),
        (Op.CREATE, 5, {"number": "c", "age": 5}),  # a new record takes the place of c
        (Op.DELETE, 6, None),
        (Op.CREATE, 7, {"number": "f", "age": 7}),  # and another that of f, which is deleted
        dest_ids=["a", "b", "c", "d", None, "f", None],
    )

    for _ in range(times):
        SqlTable(engine, table, key="number").write(write)

    rows = {row["number"]: row for row in rows_of(engine, table)}
    assert {number: row["age"] for number, row in rows.items()} == {
        "a": 2, "b": 1, "c": 5, "d": 3, "e": None, "f": 7, "g": 4,
    }  # fmt: skip
    assert rows["e"]["theirs"] == "e"
    if times == 1:  # columns move along; in a swap, one row is written anew
        assert {rows[n]["theirs"] for n in "dg"} == {"c", "d"}
        assert rows["c"]["theirs"] is None
        assert rows["f"]["theirs"] is None


def test_a_key_that_another_row_has_is_not_taken(engine: sa.Engine) -> None:
    table = people(engine, [{"number": "1"}, {"number": "2"}])
    sink = SqlTable(engine, table, key="number")
    before = rows_of(engine, table)
    move = (Op.UPDATE, "s", {"number": "2", "age": 5})

    with pytest.raises(RejectedError) as caught:
        sink.write(changes(move, (Op.CREATE, 3, {"number": "3", "age": 6}), dest_ids=["1", None]))
    (alone,) = sink.write(changes(move, dest_ids=["1"]))

    assert caught.value.code == "key_taken"
    assert alone == Rejected(0, "key_taken")
    assert rows_of(engine, table) == before


def test_a_column_may_have_another_name_in_the_mapping(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("col 1", sa.Integer, key="id", primary_key=True),
        sa.Column("col 2", sa.Text, key="name"),
    )
    sink = SqlTable(engine, table, key="id")

    sink.write(changes((Op.CREATE, 1, {"id": 1, "name": "A"})))
    sink.write(changes((Op.UPDATE, 1, {"id": 2, "name": "B"}), dest_ids=["1"]))

    assert rows_of(engine, table) == [{"id": 2, "name": "B"}]
    assert SqlSource(engine, table, key="id", cursor=Listing()).fetch([("2",)]) == [
        {"id": 2, "name": "B"}
    ]


class Color(enum.Enum):
    RED = "rot"


def test_an_enum_is_written_as_its_value_unless_the_column_is_an_enum(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text),
        sa.Column("enum", sa.Enum(Color)),
    )

    SqlTable(engine, table, key="id").write(
        changes((Op.CREATE, 1, {"id": 1, "text": Color.RED, "enum": Color.RED}))
    )

    assert rows_of(engine, table) == [{"id": 1, "text": "rot", "enum": Color.RED}]


def test_values_arrive_to_the_last_digit(engine: sa.Engine) -> None:
    money = sa.Text() if engine.dialect.name == "sqlite" else sa.Numeric()
    amount = Decimal("0.1") + Decimal("0.2") + 10**20
    text = "Zoe\u0308 שלום 🦑 " + "x" * 10_000_000
    table = make(
        engine,
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("money", money),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("text", sa.Text),
    )
    record = {
        "id": 9_223_372_036_854_775_807,
        "money": str(amount) if engine.dialect.name == "sqlite" else amount,
        "at": datetime(2026, 1, 1, 12, 0, 0, 123456, UTC),
        "text": text,
    }

    (outcome,) = SqlTable(engine, table, key="id").write(changes((Op.CREATE, 1, record)))

    assert outcome == Applied(0, "9223372036854775807")
    (row,) = rows_of(engine, table)
    assert Decimal(row["money"]) == amount
    assert row["at"].replace(tzinfo=UTC) == record["at"]
    assert row["text"] == text


def test_keys_that_the_database_holds_for_equal_are_one_row(engine: sa.Engine) -> None:
    if engine.dialect.name == "postgresql":
        column, keys = sa.Column("id", sa.Numeric(9, 2), primary_key=True), ("1.5", "1.50")
    else:
        column, keys = sa.Column("id", sa.Text(collation="NOCASE"), primary_key=True), ("a", "A")
    table = make(engine, column, sa.Column("name", sa.Text), sa.Column("theirs", sa.Text))
    sink = SqlTable(engine, table, key="id")
    kind = Decimal if engine.dialect.name == "postgresql" else str

    for op, key, dest_id in ((Op.CREATE, keys[0], None), (Op.UPDATE, keys[1], keys[0])):
        (outcome,) = sink.write(
            changes((op, 1, {"id": kind(key), "name": key}), dest_ids=[dest_id])
        )
        assert outcome == Applied(0, key)

    assert [row["name"] for row in rows_of(engine, table)] == [keys[1]]


def test_defaults_of_python_fill_what_the_mapping_leaves_out(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("made", sa.Text, default=lambda: "by default"),
    )

    SqlTable(engine, table, key="id").write(changes((Op.CREATE, 1, {"id": 1, "name": "A"})))

    assert rows_of(engine, table) == [{"id": 1, "name": "A", "made": "by default"}]


class Loose(sa.types.UserDefinedType[Any]):
    """A type that does not say which Python type it has."""

    cache_ok = True


def test_a_column_of_no_known_type_is_taken_as_text(lite: sa.Engine) -> None:
    with lite.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE loose (id UNIQUE, value)")
    table = sa.Table("loose", sa.MetaData(), sa.Column("id", Loose()), sa.Column("value", sa.Text))

    SqlTable(lite, table, key="id").write(
        changes((Op.CREATE, 1, {"id": "a", "value": "x"}), (Op.DELETE, "b", None))
    )

    source = SqlSource(lite, table, key="id", cursor=Listing())
    assert source.fetch([("a",)]) == [{"id": "a", "value": "x"}]


# -- SqlTable: what is refused ----------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"age": 999}, "check"),
        ({"name": "\ud800"}, "type"),
        ({"name": {"a": "dict"}}, "type"),
        ({"age": 10**30}, None),
    ],
)
def test_a_row_that_the_database_refuses_refuses_the_call_and_says_no_value(
    engine: sa.Engine, bad: dict[str, Any], code: str | None
) -> None:
    table = people(engine, [{"number": "1", "name": "old"}])
    sink = SqlTable(engine, table, key="number")
    good = {"number": "1", "name": "secret", "age": 1}
    refused = {"number": "2", "name": "secret", "age": 2} | bad

    with pytest.raises(RejectedError) as caught:
        sink.write(changes((Op.UPDATE, 1, good), (Op.CREATE, 2, refused)))
    (alone,) = sink.write(changes((Op.CREATE, 2, refused)))

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert code is None or caught.value.code == code
    assert isinstance(alone, Rejected)
    assert alone.code == caught.value.code
    assert [row["name"] for row in rows_of(engine, table)] == ["old"]


def test_each_constraint_has_its_code_and_the_databases_words(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("must", sa.Text, nullable=False),
        sa.Column("once", sa.Text, unique=True),
        rows=[{"id": 1, "must": "x", "once": "taken"}],
    )
    sink = SqlTable(engine, table, key="id")

    (null,) = sink.write(changes((Op.CREATE, 2, {"id": 2, "must": None, "once": "a"})))
    (unique,) = sink.write(changes((Op.CREATE, 3, {"id": 3, "must": "x", "once": "taken"})))

    assert isinstance(null, Rejected)
    assert isinstance(unique, Rejected)
    assert (null.code, unique.code) == ("not_null", "unique")
    assert "must" in str(null.detail)
    assert "once" in str(unique.detail)


@only_postgres
def test_postgres_refuses_nul_overlong_text_and_what_a_trigger_raises(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("short", sa.String(3)),
        sa.Column("indexed", sa.Text, index=True),
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF NEW.short = 'no' THEN RAISE EXCEPTION 'not you'; END IF; "
            "RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER no BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no()"
        )
    sink = SqlTable(engine, table, key="id")
    bad: list[dict[str, Any]] = [
        {"short": "a\0b"},
        {"short": "four"},
        {"short": "no"},
        {"indexed": os.urandom(20_000).hex()},
    ]

    codes = []
    for record in bad:
        (outcome,) = sink.write(changes((Op.CREATE, 1, {"id": 1} | record)))
        assert isinstance(outcome, Rejected)
        codes.append(outcome.code)

    assert codes == ["type", "22001", "p0001", "54000"]


def test_a_field_without_a_column_is_named_with_the_table(engine: sa.Engine) -> None:
    table = people(engine)
    sink = SqlTable(engine, table, key="number")

    with pytest.raises(ConfigurationError, match="people has no column nmae"):
        sink.write(changes((Op.CREATE, 1, {"number": "1", "nmae": "A"})))
    with pytest.raises(ConfigurationError, match="mapping to people has no column number"):
        sink.write(changes((Op.CREATE, 1, {"name": "A"})))
    with pytest.raises(ConfigurationError, match="people has no column nr"):
        SqlTable(engine, table, key="nr")


def test_a_column_that_only_the_declaration_has_is_a_matter_of_configuration(
    engine: sa.Engine,
) -> None:
    people(engine)
    declared = sa.Table(
        "people",
        sa.MetaData(),
        sa.Column("number", sa.Text, primary_key=True),
        sa.Column("ghost", sa.Text),
    )

    with pytest.raises(ConfigurationError, match="people"):
        SqlTable(engine, declared, key="number").write(
            changes((Op.CREATE, 1, {"number": "1", "ghost": "A"}))
        )


@only_postgres
def test_a_constraint_that_is_checked_later_cannot_carry_an_upsert(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text),
        sa.UniqueConstraint("id", deferrable=True, initially="DEFERRED"),
    )

    with pytest.raises(ConfigurationError, match="55000"):
        SqlTable(engine, table, key="id").write(changes((Op.CREATE, 1, {"id": 1, "name": "A"})))


def test_a_database_that_may_only_be_read_is_a_matter_of_configuration(lite: sa.Engine) -> None:
    table = people(lite)
    read_only = sa.create_engine(f"sqlite:///file:{lite.url.database}?mode=ro&uri=true")

    with pytest.raises(ConfigurationError, match="SQLITE_READONLY"):
        SqlTable(read_only, table, key="number").write(changes((Op.CREATE, 1, {"number": "1"})))
    read_only.dispose()


def test_a_key_that_nothing_makes_unique_is_refused(engine: sa.Engine) -> None:
    table = make(
        engine,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("a", sa.Text),
        sa.Column("b", sa.Text),
        sa.Column("live", sa.Boolean),
    )
    where = {f"{engine.dialect.name}_where": table.c.live}
    sa.Index("part", table.c.a, unique=True, **where).create(engine)
    if engine.dialect.name == "postgresql":
        sa.Index("expression", sa.func.lower(table.c.a), unique=True).create(engine)
    sa.Index("plain", table.c.b).create(engine)

    for key in ("a", "b", ["id", "a"]):
        with pytest.raises(ConfigurationError, match="unique in events"):
            SqlTable(engine, table, key=key).write(
                changes((Op.CREATE, 1, {"id": 1, "a": "x", "b": "y"}))
            )

    sa.Index("whole", table.c.a, table.c.b, unique=True).create(engine)
    SqlTable(engine, table, key=["b", "a"]).write(
        changes((Op.CREATE, 1, {"id": 1, "a": "x", "b": "y"}))
    )


def test_a_connection_is_committed_and_left_open_by_writing(engine: sa.Engine) -> None:
    table = people(engine)

    with engine.connect() as connection:
        SqlTable(connection, table, key="number").write(
            changes((Op.CREATE, 1, {"number": "1", "name": "A"}))
        )
        assert not connection.in_transaction()
        assert not connection.closed
        assert len(rows_of(engine, table)) == 1


def test_a_locked_database_is_unavailable_and_nothing_is_applied(lite: sa.Engine) -> None:
    table = people(lite)
    impatient = sa.create_engine(lite.url, connect_args={"timeout": 0})
    sink = SqlTable(impatient, table, key="number")

    with lite.begin() as connection:
        connection.execute(table.insert(), {"number": "9"})
        with pytest.raises(UnavailableError):
            sink.write(changes((Op.CREATE, 1, {"number": "1", "name": "A"})))
    impatient.dispose()

    assert [row["number"] for row in rows_of(lite, table)] == ["9"]


@only_postgres
def test_a_lost_connection_is_unavailable_and_the_next_write_has_another(
    engine: sa.Engine,
) -> None:
    table = people(engine)
    sink = SqlTable(engine, table, key="number")
    write = changes((Op.CREATE, 1, {"number": "1", "name": "A"}))
    sink.write(write)
    with engine.connect() as connection:
        own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    admin = sa.create_engine(engine.url)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend({own})")
    admin.dispose()

    with pytest.raises(UnavailableError):
        sink.write(write)

    assert sink.write(write) == [Applied(0, "1")]


class Words(Exception):
    def __init__(self, text: str, sqlstate: str | None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (Words("password authentication failed for user", None), AuthenticationError),
        (Words("…", "28P01"), AuthenticationError),
        (Words("canceling statement due to statement timeout", "57014"), UnavailableError),
        (Words("deadlock detected", "40P01"), UnavailableError),
    ],
)
def test_refused_credentials_are_told_from_a_database_that_is_down(
    lite: sa.Engine, words: Words, expected: type[SyncError]
) -> None:
    table = people(lite)

    def fail(*args: Any) -> None:
        raise exc.OperationalError("SELECT 1", None, words)

    sa.event.listen(lite, "before_cursor_execute", fail)
    try:
        with pytest.raises(expected):
            SqlTable(lite, table, key="number").write(changes((Op.CREATE, 1, {"number": "1"})))
    finally:
        sa.event.remove(lite, "before_cursor_execute", fail)


def test_without_sqlalchemy_the_import_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "syncsdk.connectors.sql")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)

    with pytest.raises(ImportError, match=r'pip install "syncsdk\[sql\]"'):
        importlib.import_module("syncsdk.connectors.sql")
