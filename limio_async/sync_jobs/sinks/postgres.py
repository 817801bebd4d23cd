"""A target that is a schema of a PostgreSQL database; needs psycopg 3."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any, ClassVar

import platformdirs
import psycopg

from limio_async.errors import JobError, SinkError, TargetBusy
from limio_async.sync_jobs.sink import Change, Column, Condition, Kind, Prepared, Table, Written
from limio_async.sync_jobs.sinks.database import META, Shape, Wrote
from limio_async.sync_jobs.sinks.postgres_errors import Contended, meaning, refusal
from limio_async.sync_jobs.sinks.postgres_rows import NEW, Statements, are_few, as_texts
from limio_async.sync_jobs.sinks.postgres_session import Session, conninfo_of, spot, wrong_with
from limio_async.sync_jobs.sinks.postgres_watch import Watch
from limio_async.sync_jobs.sinks.sql import SqlSink
from limio_async.sync_jobs.sinks.statements import quoted
from limio_async.sync_jobs.sinks.values import Holds

__all__ = ["PostgresSink"]

_TURN = "turn"
_TRIES = 3
_BETWEEN_TRIES = 0.05, 0.25  # seconds
# seconds: a server takes its time to notice that the client of a lock was killed
_PATIENCE, _BEFORE_LOCKS = 5.0, 2.0


class PostgresSink(SqlSink):
    """Tables in *schema* of the database that *url* names, as libpq reads it."""

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "text",
        "number": "double precision",
        "integer": "bigint",
        "boolean": "boolean",
        "time": "timestamptz",
        "json": "jsonb",
        "bytes": "bytea",
    }
    holds: ClassVar[Holds] = "postgres"
    mark: ClassVar[str] = "%s"
    among: ClassVar[str] = "= ANY (%s)"
    errors: ClassVar[tuple[type[Exception], ...]] = (psycopg.Error,)

    def __init__(self, url: str, *, schema: str, lock_wait: float = 30.0) -> None:
        self._conninfo, given = conninfo_of(url)
        self._schema = schema
        self._spot = spot(given)
        self._connection: Session | None = None
        self._turn: str | None = None
        self._to_read = self._again = False
        host, port, database, _ = self._spot
        super().__init__(f"postgresql://{host}:{port}/{database}?schema={schema}")
        self._watch = Watch(self.name, self._conninfo, lock_wait=lock_wait)

    @property
    def state_file(self) -> Path:
        """Where a job keeps its own state: among the user's files of that kind, named after the target."""
        name = hashlib.sha256("\0".join((*self._spot, self._schema)).encode()).hexdigest()[:16]
        return platformdirs.user_state_path("limio", appauthor=False) / "sync" / f"{name}.db"

    def open(self, *, to_read: bool = False) -> None:
        """Connect; unless *to_read*, lock the schema, and make it if it is missing."""
        self.close()
        self._watch.renew()
        self._to_read, self._turn = to_read, None
        try:
            with self._writing_no_row():
                self._connection = self._connected() if to_read else self._locked()
                if not to_read:
                    self._make_schema()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect, which unlocks the schema."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def cancel(self, *, only_blocked: bool = False) -> None:
        """End soon what another thread waits for, and refuse what comes, until the next `open`.

        *only_blocked*: from now on only waits for locks and connections end, after a moment.
        """
        self._watch.cancel(only_blocked=only_blocked)

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        """Make the tables that are missing, add the columns that are missing; note whose turn it is to write."""
        held = super().prepare(tables, rewrite=rewrite)
        if self._turn is None:
            turn = secrets.token_hex(16)
            with self._transaction():
                self._run(f'DELETE FROM "{META}" WHERE "key" = %s', _TURN)
                self._run(f'INSERT INTO "{META}" ("key", "value") VALUES (%s, %s)', _TURN, turn)
            self._turn = turn
        return held

    # --- connections

    @property
    def _db(self) -> Session:
        assert self._connection is not None  # noqa: S101  # used between `open` and `close`
        return self._connection

    def _connected(self) -> Session:
        with self._writing_no_row():
            return self._watch.connect(quoted(self._schema))

    def _locked(self) -> Session:
        connection = self._connected()
        try:
            with self._watch.over(connection, busy=self._another_run, lock_wait=_PATIENCE):
                self._lock(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _lock(self, connection: Session) -> None:
        wait = "SELECT set_config('lock_timeout', %s, false)"
        ((before,),) = connection.execute("SHOW lock_timeout").fetchall()
        try:
            connection.execute(wait, (f"{_PATIENCE + _BEFORE_LOCKS:.0f}s",))
            connection.execute(
                "SELECT pg_advisory_lock(hashtextextended('limio_async ' || %s, 0))", (self._schema,)
            )
            connection.execute(wait, (before,))
        except psycopg.errors.LockNotAvailable:
            raise self._another_run() from None

    def _another_run(self, _: float = 0.0, holders: str = "") -> TargetBusy:
        known = f": it is {holders}" if holders else ""
        return TargetBusy(
            f"{self.name}: another run is writing to this schema; wait for it, or stop it{known}"
        )

    def _make_schema(self) -> None:
        with self._watch.over(self._db):
            if reason := wrong_with(self._db):
                raise SinkError(f"{self.name}: {reason}")
            if not self._ask("SELECT 1 FROM pg_namespace WHERE nspname = %s", self._schema):
                self._run(f"CREATE SCHEMA {quoted(self._schema)}")

    def _reach(self) -> None:
        """Connect again, if the connection broke while nothing was asked of it, and with it the lock."""
        with suppress(psycopg.OperationalError), self._watch.over(self._db):
            self._db.execute("SELECT 1")
            return
        self._db.close()
        self._connection = self._connected() if self._to_read else self._locked()
        if self._turn is None:
            return
        with self._watch.over(self._db):
            known = self._ask(f'SELECT "value" FROM "{META}" WHERE "key" = %s', _TURN)
        if (self._turn,) not in known:
            self._db.close()  # whoever asks next hears the same
            raise TargetBusy(
                f"{self.name}: the connection broke, and another run began meanwhile; run again", final=True
            )

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._failures():
            self._reach()
        with self._watch.over(self._db), super()._transaction():
            yield

    # --- statements

    def _run(self, statement: str, *values: Any) -> int:
        return self._db.execute(statement.encode(), values or None).rowcount

    def _ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(statement.encode(), values).fetchall()

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        """Iterate over the rows of a table that meet all conditions, as dicts by column, over a connection of their own."""
        with self._failures():
            self._reach()
        yield from super().rows(table, where)

    def _read(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with self._connected() as own, own.transaction(), own.cursor(name="limio_rows") as cursor:
            with self._watch.over(own):
                cursor.execute(statement.encode(), values or None)
            while some := cursor.fetchmany(1000):
                self._watch.check()
                yield from some

    def _shape(self, name: str) -> Shape | None:
        table = f"{quoted(self._schema)}.{quoted(name)}"
        found = self._ask(
            "SELECT attname, coalesce(attnum = ANY (indkey), false), format_type(atttypid, -1),"
            " coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '' OR attidentity = 'a' FROM pg_attribute a"
            " LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            table,
        )
        return (
            Shape(
                [column for column, *_ in found],
                [column for column, key, *_ in found if key],
                [column for column, _, _, is_computed in found if is_computed],
                {column: kind for column, _, kind, _ in found},
            )
            if found
            else None
        )

    def _upsert(self, table: Table, columns: Sequence[Sequence[Any]]) -> Wrote:
        with self._staged(table, columns) as write:
            return write(0, len(columns[0]))

    @contextmanager
    def _staged(
        self, table: Table, columns: Sequence[Sequence[Any]]
    ) -> Generator[Callable[[int, int], Wrote]]:
        texts = as_texts(table, columns)
        few = are_few(texts)
        does = Statements(table, self._shape(table.name) or Shape([], []), self.types, few=few)
        if not few:
            self._run(does.table)
            self._copy(does.copy, zip(count(1), *texts))

        looked_at = [texts[table.at(name)] for name in does.looked_at]

        def ask(
            statement: str, start: int, end: int, taken: Sequence[Sequence[str | None]] = looked_at
        ) -> list[tuple[Any, ...]]:
            if few:
                return self._ask(statement, *([*values[start:end]] for values in taken))
            return self._ask(statement, start, end)

        rows = len(texts[0])
        held = {n - 1: stays for n, stays in ask(does.held, 0, rows)}
        keys = [*zip(*(texts[table.at(name)] for name in does.written), strict=True)]

        def write(start: int, end: int) -> Wrote:
            written = {*ask(does.write, start, end, texts)}
            new = [n for n in range(start, end) if not held.get(n)]
            lost = set[int]()
            if not all(keys[n] in written for n in new):
                lost = {n - 1 + (start if few else 0) for (n,) in ask(does.lost, start, end)}
            there = sum(n in held and n not in lost for n in range(start, end))
            changed = sum(n not in lost for n in new)
            return Wrote(there, changed, [n - start for n in sorted(lost)])

        yield write
        if not few:
            self._run(f"DROP TABLE {quoted(NEW)}")

    def apply(
        self,
        changes: Sequence[Change],
        *,
        then: Callable[[Sequence[Written]], Sequence[Change]] | None = None,
    ) -> list[Written]:
        """Write all changes in one transaction, but for the rows that the database does not take."""
        for _ in range(_TRIES):
            with suppress(Contended):
                return super().apply(changes, then=then)
            sleep(random.uniform(*_BETWEEN_TRIES))  # noqa: S311  # no secret
        self._again = True
        try:
            return self._apply_sifted(changes, then)
        finally:
            self._again = False

    def _apply_sifted(
        self, changes: Sequence[Change], then: Callable[[Sequence[Written]], Sequence[Change]] | None
    ) -> list[Written]:
        def write(change: Change) -> Written:
            self._run("SET CONSTRAINTS ALL IMMEDIATE")  # what would fail at the end only
            return self._sift(change)

        return self._apply(changes, then, write)

    def _refused(self, error: Exception) -> str | None:
        return refusal(error, again=self._again)

    def _note_seen(self, name: str, ids: Iterable[str]) -> None:
        self._run(f"CREATE TEMPORARY TABLE {quoted(name)} (id text)")
        self._copy(f"COPY {quoted(name)} FROM STDIN", ((one,) for one in ids))
        self._run(f"ANALYZE {quoted(name)}")

    def _copy(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._db.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def _selected(self, column: Column) -> str:
        return f"{quoted(column.name)}::text" if column.kind == "json" else super()._selected(column)

    def _failure(self, error: Exception) -> JobError:
        return meaning(self.name, error, is_lost=self._connection is not None and self._connection.closed)
