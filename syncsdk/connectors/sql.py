"""Tables of a SQL database, over your own SQLAlchemy engine: read in pages, kept by upserts.

Decides how a place in a table is named and found again to the last digit, and what an
error of the database means. Leaves lateness, order and the cursor itself to the engine.
PostgreSQL and SQLite only: what is not tested is refused. Needs the extra ``sql``.

Read :class:`SqlSource`, :class:`SqlTable`, and last how errors are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import chain
from typing import Any, Final, TypeAlias
from uuid import UUID

from syncsdk.errors import (
    AuthenticationError,
    ConfigurationError,
    ContractError,
    RecordError,
    RejectedError,
    SyncError,
    UnavailableError,
)
from syncsdk.protocols import (
    Applied,
    Batch,
    Changes,
    Deletes,
    Op,
    Outcome,
    Rejected,
    SinkCapabilities,
    SourceCapabilities,
)
from syncsdk.values import (
    OPAQUE,
    UNSET,
    Key,
    Keyset,
    Listing,
    Version,
    as_key,
    key_text,
    parse_key_text,
)

try:
    import sqlalchemy as sa
    from sqlalchemy import exc
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise ImportError('this needs SQLAlchemy: pip install "syncsdk[sql]"') from error

__all__ = ["SqlSource", "SqlTable"]

Bind: TypeAlias = sa.Engine | sa.Connection
Row: TypeAlias = Sequence[Any]
Refusal: TypeAlias = type[RejectedError] | type[ContractError]
"""What a value that does not fit becomes: in a write, in a read."""


class SqlSource:
    """A source of the rows of a table or of a ``select``, as dicts by column.

    Rows are read in the order of the cursor's columns, each page by a statement and a
    transaction of its own: nothing stays open in between. A page's last row says where the
    next one starts, among rows of one timestamp too. SQLite keeps timestamps as text and
    compares that text: there, all of a column must be written in one form.

    Args:
        bind: an Engine, or a Connection outside a transaction.
        table: a Table, or a ``select`` whose columns have names.
        key: the column that holds a record's key, or several.
        cursor: ``Keyset("changed_at", id="id", lateness=...)``, two columns that should have
            an index together; or ``Listing()``: everything, in the order of the key.
        version: how versions compare, and which column holds them.
        deleted: the column that marks a deleted row by true, a number or a time; no text.
        batch: records a batch.
    """

    def __init__(
        self,
        bind: Bind,
        table: sa.FromClause | sa.Select[Any],
        *,
        key: str | Sequence[str],
        cursor: Keyset | Listing,
        version: Version = OPAQUE,
        deleted: str | None = None,
        batch: int = 500,
    ) -> None:
        _insert_of(bind)
        self._bind = bind
        self._from = table.subquery() if isinstance(table, sa.Select) else table
        self._key = _names(key)
        self._deleted = deleted
        self._size = batch
        self._now: datetime | None = None
        self._order = (cursor.field, cursor.id) if isinstance(cursor, Keyset) else self._key
        needed = (*self._key, *self._order, *filter(None, (version.field, deleted)))
        _check_columns(self._from, needed)
        self._place = [self._compared(self._from.c[name]) for name in self._order]
        if isinstance(cursor, Keyset) and cursor.zone is None:
            kind = self._from.c[cursor.field].type
            if isinstance(kind, sa.Date) or not getattr(kind, "timezone", True):
                raise ConfigurationError(
                    f"{cursor.field} is of type {kind!r}, without an offset from UTC",
                    remedy="Declare the zone= that its times are in",
                )
        if deleted is not None and isinstance(self._from.c[deleted].type, sa.String):
            raise ConfigurationError(
                f"{deleted} is text, and any text would mean that the row is deleted",
                remedy='Select a column such as (table.c.state == "gone").label("gone")',
            )
        self.capabilities = SourceCapabilities(
            cursor,
            version=version,
            deletes=Deletes.NONE if deleted is None else Deletes.FLAGGED,
            # From other pools a second thread gets the same connection, or another database.
            reads_ahead=isinstance(getattr(bind, "pool", None), sa.QueuePool | sa.NullPool),
        )

    def _compared(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        if self._bind.dialect.name == "sqlite" and _kind(column) in (datetime, date):
            return sa.type_coerce(column, sa.String())  # as stored: the same time has many forms
        return column

    def read(self, after: str | None = None) -> Iterator[Batch]:
        """Yield what lies after a cursor, page by page, until one is not full.

        Raises:
            ConfigurationError: there is no such table, or it may not be read.
            ContractError: not our cursor; a null in the cursor's columns, which no page
                would ever show; a value that is not of its column's type.
            UnavailableError: the database is down, busy or out of reach.
        """
        place = None if after is None else self._start(after)
        with self._reading() as connection:
            self._now = _now(connection)
            for name, column in zip(self._order, self._place, strict=True):
                found = sa.select(sa.literal(1)).select_from(self._from).where(column.is_(None))
                if connection.scalar(found.limit(1)) is not None:
                    raise ContractError(
                        f"{name} is null in some rows, which no page of {_name(self._from)} shows",
                        remedy="Make the column NOT NULL, or select without these rows",
                    )
        while True:
            with self._reading() as connection:
                rows = connection.execute(self._page(place)).all()
            if rows:
                yield self._batch(rows)
            if len(rows) < self._size:
                return
            place = rows[-1][-len(self._place) :]

    def clock(self) -> datetime:
        """Return the database's own time, as of before the first page."""
        if self._now is None:
            raise ContractError("the clock was asked before a batch was read", remedy="Read first")
        return self._now

    def fetch(self, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """Return the current record for each key, or None."""
        names, columns = self._from.c.keys(), [self._from.c[name] for name in self._key]
        found: dict[Key, dict[str, Any]] = {}
        for start in range(0, len(keys), 500):  # databases have a limit on parameters
            wanted = [_typed(columns, key) for key in keys[start : start + 500]]
            places = [place for place in wanted if place is not None]
            query = sa.select(self._from).where(sa.tuple_(*columns).in_(places))
            with self._reading() as connection:
                for row in connection.execute(query):
                    record = dict(zip(names, row, strict=True))
                    found[as_key([_text(record[name]) for name in self._key])] = record
        return [found.get(key) for key in keys]

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _transaction(self._bind, _name(self._from), ContractError) as connection:
            yield connection
            connection.rollback()  # there is nothing of ours, and nothing of yours, to commit

    def _start(self, after: str) -> Row:
        cursor = self.capabilities.cursor
        assert isinstance(cursor, Keyset)
        value, id = cursor.split(after)
        if id is None and isinstance(self._place[0].type, sa.String) and "." in value:
            value = value.rstrip("0").rstrip(".")  # as text, 12:00:00 lies before 12:00:00.000
        texts = (value,) if id is None else (value, id)
        place = _typed(self._place[: len(texts)], texts)
        if place is None:
            raise ContractError(
                f"the cursor is not of the type of {cursor.field} and {cursor.id}",
                remedy="Was it another table's, or did a column change? Start with a backfill",
            )
        return place

    def _page(self, place: Row | None) -> sa.Select[Any]:
        page = sa.select(*self._from.c, *self._place).order_by(*self._place).limit(self._size)
        if place is None:
            return page
        if len(place) < len(self._place):  # from the first row of that value on
            return page.where(self._place[0] >= place[0])
        past = self._place[-1] > place[-1]
        for column, value in reversed(list(zip(self._place[:-1], place, strict=False))):
            past = sa.and_(column >= value, sa.or_(column > value, past))
        return page.where(past)

    def _batch(self, rows: Sequence[Row]) -> Batch:
        names, version = self._from.c.keys(), self.capabilities.version.field
        records = [dict(zip(names, row, strict=False)) for row in rows]
        keys = [[_text(record[name]) for record in records] for name in self._key]
        batch = Batch(
            keys[0] if len(keys) == 1 else list(zip(*keys, strict=True)),
            records,
            versions=None if version is None else [_text(record[version]) for record in records],
            deleted=None if not self._deleted else [bool(r[self._deleted]) for r in records],
        )
        if isinstance(cursor := self.capabilities.cursor, Keyset):
            batch.positions = [str(_text(row[-2])) for row in rows]
            batch.after = cursor.cursor(batch.positions[-1], str(_text(rows[-1][-1])))
        return batch


class SqlTable:
    """A sink that keeps the rows of a table, found by columns that are unique together.

    Each ``write`` is one transaction of a few statements: all of it or nothing. What a
    change leaves UNSET keeps its value, None clears it. Values go to the driver as they
    are, so map them to the columns' types; SQLite has no decimals, only text and floats.

    A row is found by ``dest_id``, the text of the key that it was last written with, so a
    mapped key may change: the row then moves, with all of its columns. A deletion without
    one goes by the source's key. Of two records with one key in the same write the later
    is rejected, but in different writes the later wins: mapped keys must be as unique as
    the source's.

    Args:
        bind: an Engine, or a Connection outside a transaction: a write must be durable when
            it returns, and only the end of a transaction makes it so.
        table: the Table.
        key: its column that the mapped record is found by, or several. They need a primary
            key, a unique constraint or a unique index of their own.
    """

    capabilities = SinkCapabilities(upsert=True, deletes=True, atomic=True)

    def __init__(self, bind: Bind, table: sa.Table, *, key: str | Sequence[str]) -> None:
        self._insert = _insert_of(bind)
        self._bind = bind
        self._table = table
        self._key = _names(key)
        self._checked = False
        self._upserts: dict[tuple[str, ...], tuple[Any, Any]] = {}
        _check_columns(table, self._key)
        old = [sa.bindparam(f"old {at}", type_=table.c[n].type) for at, n in enumerate(self._key)]
        new = [sa.bindparam(f"new {at}", type_=table.c[n].type) for at, n in enumerate(self._key)]

        def at(rows: sa.FromClause, key: list[sa.BindParameter[Any]]) -> sa.ColumnElement[bool]:
            return sa.and_(*(rows.c[n] == part for n, part in zip(self._key, key, strict=True)))

        other = table.alias()
        self._at_old = at(table, old)
        self._delete = sa.delete(table).where(self._at_old)
        self._move = (
            sa.update(table)
            .values(dict(zip(self._key, new, strict=True)))
            .where(self._at_old, ~sa.exists().where(at(other, new), ~at(other, old)))
        )

    def write(self, changes: Changes) -> list[Outcome]:
        """Apply the changes in one transaction.

        Raises:
            ConfigurationError: the table, a column or the unique key is missing.
            RejectedError: the database refused a row, and so all of them. Of a single
                change it is an outcome, with the database's own words.
            UnavailableError: the database is down, busy or out of reach.
        """
        fields, places = tuple(changes.fields), list[int]()
        _check_columns(self._table, fields)
        if any(op is not Op.DELETE for op in changes.ops):
            _check_columns(self._table, self._key, fields)
            places = [fields.index(name) for name in self._key]
        rows: dict[str, Row] = {}
        moves: dict[str, str] = {}
        deletes, known, outcomes = list[dict[str, Any]](), set[str](), list[Outcome]()
        columns = (changes.ids, changes.ops, changes.keys, changes.dest_ids, changes.rows)
        for change_id, op, key, dest_id, row in zip(*columns, strict=True):
            try:
                if op is Op.DELETE:
                    home = dest_id or key_text(key)
                    deletes.append(self._params("old", home))
                else:
                    home = _home([row[at] for at in places])
                    if home in rows:
                        raise RecordError(
                            "another record of this write has its key", path="key", code="key_twice"
                        )
                    if dest_id is not None and dest_id != home:
                        self._params("old", dest_id)
                        moves[dest_id] = home
                    if dest_id is not None or op is Op.UPDATE:
                        known.add(home)
                    rows[home] = row
            except RecordError as error:
                outcomes.append(Rejected(change_id, error.code or "key", path=error.path))
            else:
                outcomes.append(Applied(change_id, home))
        try:
            with _transaction(self._bind, _name(self._table), RejectedError) as connection:
                self._check_unique(connection)
                if deletes:
                    connection.execute(self._delete, deletes)
                self._move_all(connection, moves, rows)
                if rows:
                    self._put(connection, fields, rows, known)
        except RejectedError as error:
            if len(changes) > 1:
                raise
            words = getattr(error.__context__, "orig", None)
            detail = None if words is None else str(words)
            return [Rejected(changes.ids[0], error.code or "rejected", detail=detail)]
        return outcomes

    def _params(self, prefix: str, home: str) -> dict[str, Any]:
        values = _typed([self._table.c[name] for name in self._key], parse_key_text(home))
        if values is None:
            raise RecordError("no row has a key of this form", path="key", code="key_form")
        return {f"{prefix} {at}": value for at, value in enumerate(values)}

    def _move_all(self, connection: sa.Connection, moves: dict[str, str], rows: Any) -> None:
        """Give rows their new keys, those first whose new key is nobody's old one."""
        while moves:
            old = next((old for old, new in moves.items() if new not in moves), next(iter(moves)))
            new = moves.pop(old)
            params = self._params("old", old)
            if connection.execute(self._move, params | self._params("new", new)).rowcount:
                continue
            # The new key is taken, or this was sent before. The row is written anew, unless
            # that would overwrite a record that is not part of this write.
            was_there = connection.execute(self._delete, params).rowcount
            if was_there and old not in rows and new not in moves:
                raise RejectedError("its key became one that another row has", code="key_taken")

    def _put(
        self,
        connection: sa.Connection,
        fields: tuple[str, ...],
        rows: dict[str, Row],
        known: set[str],
    ) -> None:
        kinds = set(map(type, chain.from_iterable(rows.values())))
        if not any(issubclass(kind, Enum) for kind in kinds):  # UNSET is of an Enum as well
            self._upsert(connection, fields, list(rows.values()))
            return
        groups: dict[tuple[bool, tuple[str, ...]], list[dict[str, Any]]] = {}
        for home, row in rows.items():
            values = {
                n: self._plain(n, v) for n, v in zip(fields, row, strict=True) if v is not UNSET
            }
            is_part = home in known and len(values) < len(fields)
            groups.setdefault((is_part, tuple(values)), []).append(values)
        for (is_part, names), group in groups.items():
            if is_part:
                group = self._update(connection, names, group)
            if group:
                self._upsert(connection, names, [tuple(row.values()) for row in group])

    def _plain(self, name: str, value: Any) -> Any:
        if isinstance(value, Enum) and not isinstance(self._table.c[name].type, sa.Enum):
            return value.value  # some drivers would write the member's name
        return value

    def _update(
        self, connection: sa.Connection, names: tuple[str, ...], group: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Update what is there, and return what is not.

        An upsert first tries to insert: without a column that is NOT NULL it fails, though
        the row has a value there.
        """
        if not set(names).difference(self._key):
            return group
        statement = sa.update(self._table).where(self._at_old)
        params = [
            {name: row[name] for name in names if name not in self._key}
            | {f"old {at}": row[name] for at, name in enumerate(self._key)}
            for row in group
        ]
        if connection.execute(statement, params).rowcount == len(group):
            return []
        gone = [not connection.execute(statement, row).rowcount for row in params]
        return [row for row, is_gone in zip(group, gone, strict=True) if is_gone]

    def _upsert(
        self, connection: sa.Connection, names: tuple[str, ...], rows: Sequence[Row]
    ) -> None:
        if names not in self._upserts:
            self._upserts[names] = self._prepared(connection, names)
        statement, order = self._upserts[names]
        if order is None:
            connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])
            return
        # SQLAlchemy's own work on each row costs three times what SQLite takes to write it.
        columns = list(zip(*rows, strict=True))
        params = [map(fit, columns[at]) if fit else columns[at] for at, fit in order]
        connection.exec_driver_sql(statement, list(zip(*params, strict=True)))

    def _prepared(self, connection: sa.Connection, names: tuple[str, ...]) -> tuple[Any, Any]:
        """Return a statement and, if it takes plain tuples, their order and what fits a value."""
        statement = self._insert(self._table)
        unique = [self._table.c[name] for name in self._key]
        values = {name: statement.excluded[name] for name in names if name not in self._key}
        if values:
            statement = statement.on_conflict_do_update(index_elements=unique, set_=values)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=unique)
        dialect = connection.dialect
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        if sorted(compiled.positiontup or ()) != sorted(names):  # names, or defaults of Python's
            return statement, None
        kinds = {name: self._table.c[name].type.dialect_impl(dialect) for name in names}
        order = [(names.index(n), kinds[n].bind_processor(dialect)) for n in compiled.positiontup]
        return str(compiled), order

    def _check_unique(self, connection: sa.Connection) -> None:
        if self._checked:
            return
        inspector, where = sa.inspect(connection), (self._table.name, self._table.schema)
        found: list[Sequence[str | None]] = [
            inspector.get_pk_constraint(*where)["constrained_columns"]
        ]
        # SQLite's automatic indexes and PostgreSQL's plain ones stand for unique constraints.
        for index in inspector.get_indexes(*where, include_auto_indexes=True):
            options = index.get("dialect_options", {})
            if index["unique"] and not any(name.endswith("_where") for name in options):
                found.append(index["column_names"])
        names = {self._table.c[name].name for name in self._key}
        if not any(set(columns) == names for columns in found):
            raise ConfigurationError(
                f"nothing makes {', '.join(sorted(names))} unique in {_name(self._table)}",
                remedy="Add a primary key, a unique constraint or a whole unique index on them",
            )
        self._checked = True


# -- Names, texts and types ------------------------------------------------------------


def _names(key: str | Sequence[str]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _name(table: sa.FromClause) -> str:
    return table.fullname if isinstance(table, sa.Table) else "the select"


def _check_columns(
    table: sa.FromClause, names: Sequence[str], among: Sequence[str] | None = None
) -> None:
    have = table.c.keys() if among is None else among
    if missing := sorted(set(names).difference(have)):
        where = f"{_name(table)} has" if among is None else f"the mapping to {_name(table)} has"
        raise ConfigurationError(
            f"{where} no column {', '.join(missing)}",
            remedy=f"It has {', '.join(sorted(have))}; names are compared letter by letter",
        )


def _kind(column: sa.ColumnElement[Any]) -> type[Any]:
    try:
        return column.type.python_type
    except NotImplementedError:  # pragma: no cover; since SQLAlchemy 2.1 it is object
        return str


def _text(value: Any) -> Any:
    """Return what a column holds as a key, a version or a cursor shows it."""
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal) else value


def _typed(columns: Sequence[sa.ColumnElement[Any]], texts: Sequence[str]) -> Row | None:
    """Return what ``_text`` made texts of, or None if these columns cannot hold it."""
    if len(columns) != len(texts):
        return None
    values = list[Any]()
    for column, text in zip(columns, texts, strict=True):
        kind = _kind(column)
        try:
            if issubclass(kind, date | time):
                values.append(kind.fromisoformat(text))
            else:
                values.append(kind(text) if kind in (int, float, Decimal, UUID) else text)
        except (ValueError, ArithmeticError):
            return None
    return tuple(values)


def _home(values: Row) -> str:
    if len(values) == 1 and values[0].__class__ is str and values[0].isascii():
        if values[0] > "\x1f":  # most keys, at a fraction of the cost
            return str(values[0])
    return key_text(as_key([_text(value) for value in values]))


# -- Transactions and errors -----------------------------------------------------------


def _insert_of(bind: Bind) -> Any:
    inserts: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    if bind.dialect.name not in inserts:
        raise ConfigurationError(
            f"{bind.dialect.name} is not supported",
            remedy="Use PostgreSQL or SQLite, or write a connector by the example of this one",
        )
    return inserts[bind.dialect.name]


def _now(connection: sa.Connection) -> datetime:
    if connection.dialect.name == "sqlite":
        moment = sa.func.strftime("%Y-%m-%dT%H:%M:%fZ", "now")
        return datetime.fromisoformat(connection.scalars(sa.select(moment)).one())
    # The start of the transaction: not later than any snapshot that it reads.
    return connection.scalars(sa.select(sa.func.current_timestamp())).one().astimezone(UTC)


@contextmanager
def _transaction(bind: Bind, name: str, refusal: Refusal) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction of its own; what the database says becomes ours."""
    if isinstance(bind, sa.Connection) and bind.in_transaction():
        raise ConfigurationError(
            f"the Connection for {name} is in a transaction",
            remedy="End it before the run, or give the Engine",
        )
    try:
        if isinstance(bind, sa.Connection):
            with bind.begin():
                yield bind
        else:
            with bind.begin() as connection:
                yield connection
    except exc.SQLAlchemyError as error:
        # Not chained: its text has the statement's parameters, and may quote the record.
        raise _answer(error, name, refusal) from None
    except (ValueError, TypeError, ArithmeticError):  # of drivers, about one value
        raise _refuse(refusal, name, "type") from None


_CODES: Final = {
    "23502": "not_null",
    "23503": "foreign_key",
    "23505": "unique",
    "23514": "check",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign_key",
    "SQLITE_CONSTRAINT_NOTNULL": "not_null",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
}


def _answer(error: exc.SQLAlchemyError, name: str, refusal: Refusal) -> SyncError:
    """Return what an error means: SQLSTATE says it, or SQLite's name for it, or its class."""
    words = getattr(error, "orig", None)
    state = getattr(words, "sqlstate", None) or getattr(words, "pgcode", None) or ""
    state = str(state or getattr(words, "sqlite_errorname", None) or "")
    about_row = isinstance(error, exc.IntegrityError | exc.DataError)
    # 54: a row too large for an index; P0: a trigger's RAISE.
    if about_row or state.startswith(("22", "23", "54", "P0")):
        return _refuse(refusal, name, _CODES.get(state, state.lower() or "type"))
    if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
        if state.startswith("28") or "authentication failed" in str(words):
            return AuthenticationError(
                f"the database of {name} refuses the credentials", remedy="Renew them"
            )
        # No such table or column; read-only; a deferrable constraint, which takes no upsert.
        if state not in ("SQLITE_ERROR", "SQLITE_READONLY", "55000"):
            return UnavailableError(f"the database of {name} is down, busy or out of reach")
    if isinstance(error, exc.StatementError) and not state:  # a value that the driver cannot send
        return _refuse(refusal, name, "type")
    return ConfigurationError(
        f"the database refuses what is asked of {name} ({state or type(error).__name__})",
        remedy="Compare tables, columns and permissions with what you declared",
    )


def _refuse(refusal: Refusal, name: str, code: str) -> SyncError:
    if refusal is RejectedError:
        return RejectedError(f"{name} refused a row", code=code)
    return ContractError(
        f"{name} holds a value that cannot be read as its column's type ({code})",
        remedy="Declare the type that the column holds, or text, and let the mapping decide",
    )
