"""A target that is a DuckDB file. Batches go in as Arrow tables; needs duckdb and pyarrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from stat import S_IMODE
from typing import Any, ClassVar

import duckdb
from msgspec.structs import replace

from limio_async._durable import PRIVATE, made
from limio_async.errors import JobError, SinkError, TargetBusy
from limio_async.sync_jobs.sink import Change, Column, Kind, Refused, Row, Table, Written
from limio_async.sync_jobs.sinks.arrow import arrow_table
from limio_async.sync_jobs.sinks.database import Shape, Wrote
from limio_async.sync_jobs.sinks.duckdb_odd import COLUMNS, RULES, differs, odd_rows
from limio_async.sync_jobs.sinks.sql import SqlSink
from limio_async.sync_jobs.sinks.statements import quoted
from limio_async.sync_jobs.sinks.values import Holds, by_column, last_of_each

__all__ = ["DuckdbSink"]

_NAMED = re.compile(r"(?P<what>(?:NOT NULL|CHECK) constraint failed: [\w.]+$|Duplicate key \"\w+(?=:))")
_BATCH = "_limio_batch"
_AT_ONCE = 50_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",
    "threads": 2,  # each needs memory of its own
    "checkpoint_threshold": "64MB",  # each writes the last row group anew
    "autoinstall_known_extensions": False,  # a target needs no network
}


class DuckdbSink(SqlSink):
    """Tables in *file*. They have no primary key, whose index would have to fit into memory: batches are joined.

    What has changed is deleted and inserted anew: DuckDB holds the versions of an update in memory.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "VARCHAR",
        "number": "DOUBLE",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "time": "TIMESTAMPTZ",
        "json": "JSON",
        "bytes": "BLOB",
    }
    holds: ClassVar[Holds] = "duckdb"
    among: ClassVar[str] = "IN (SELECT unnest(?))"
    keyed: ClassVar[bool] = False
    batch_bytes: ClassVar[int] = 16 * 1024 * 1024
    errors: ClassVar[tuple[type[Exception], ...]] = (duckdb.Error, OSError)

    def __init__(self, file: Path, *, name: str, mode: int = PRIVATE) -> None:
        super().__init__(name)
        self._file = file
        self._mode = mode
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._is_cancelled = False

    def open(self, *, to_read: bool = False) -> None:
        """Make the file if it is missing, and lock it: DuckDB lets one process in."""
        self._is_cancelled = False
        with self._failures():
            if not to_read:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self._file.exists()
            self._connection = duckdb.connect(self._file, read_only=to_read, config=_SETTINGS)
            if is_new:  # and empty
                self._file.chmod(self._mode)

    def close(self) -> None:
        """Close the file; what waits in its journal moves into it."""
        if self._connection is not None:
            self._connection.close()
            with suppress(OSError):  # there is none, or not only ours
                self._spill.rmdir()
        self._connection = None

    @property
    def _spill(self) -> Path:
        return self._file.with_name(f"{self._file.name}.tmp")

    def cancel(self, *, only_blocked: bool = False) -> None:
        """End soon what another thread does, and refuse what comes, until the next `open`.

        *only_blocked*: do nothing; DuckDB never waits for others.
        """
        if only_blocked:
            return
        self._is_cancelled = True
        if (connection := self._connection) is not None:
            with suppress(duckdb.Error):  # closed meanwhile
                connection.interrupt()

    @property
    def _db(self) -> duckdb.DuckDBPyConnection:
        assert self._connection is not None  # noqa: S101  # used between `open` and `close`
        return self._connection

    def _run(self, statement: str, *values: Any) -> int:
        if self._is_cancelled:
            raise duckdb.InterruptException("cancelled")
        done = self._db.execute(statement, values).fetchone()
        return done[0] if done and isinstance(done[0], int) else 0

    def _ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(statement, values).fetchall()

    def _read(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with closing(self._db.cursor()) as own:
            own.execute(statement, values)
            while not self._is_cancelled and (some := own.fetchmany(1000)):
                yield from some
            if self._is_cancelled:
                raise duckdb.InterruptException("cancelled")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._failures():  # what DuckDB makes has the mode that the umask allows
            mode = S_IMODE(self._file.stat().st_mode)
            made(self._file.with_name(f"{self._file.name}.wal"), mode)
            self._spill.mkdir(mode=0o700, exist_ok=True)
        with super()._transaction():
            yield

    def _shape(self, name: str) -> Shape | None:
        found = self._ask(
            "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database()"
            " AND schema_name = current_schema() AND table_name = ?",
            name,
        )
        keys = self._ask(
            "SELECT unnest(constraint_column_names) FROM duckdb_constraints()"
            " WHERE database_name = current_database() AND schema_name = current_schema() AND table_name = ?"
            " AND constraint_type = 'PRIMARY KEY'",
            name,
        )
        return Shape([column for (column,) in found], [column for (column,) in keys]) if found else None

    def _upsert(self, table: Table, columns: Sequence[Sequence[Any]]) -> Wrote:
        own, batch = quoted(table.name), quoted(_BATCH)
        same = " AND ".join(f"{own}.{quoted(name)} = {batch}.{quoted(name)}" for name in table.key)
        self._db.register(_BATCH, arrow_table(table, columns))
        removed = f"DELETE FROM {own} USING {batch} WHERE {same}"
        if table.compared is None:  # each is written anew
            there, changed = self._run(removed), len(columns[0])
        else:
            ((there,),) = self._ask(f"SELECT count(*) FROM {batch} JOIN {own} ON {same}")
            changed = len(columns[0]) - there
            if there and not table.keeps:
                changed += self._run(f"{removed}{differs(table, _BATCH)}")
        if changed:
            names = ", ".join(quoted(column.name) for column in table.columns)
            left = f" WHERE NOT EXISTS (SELECT 1 FROM {own} WHERE {same})" if table.compared and there else ""
            self._run(f"INSERT INTO {own} ({names}) SELECT {names} FROM {batch}{left}")
        self._db.unregister(_BATCH)
        return Wrote(there, changed)

    def _note_seen(self, name: str, ids: Iterable[str]) -> None:
        self._run(f"CREATE TEMPORARY TABLE {quoted(name)} (id VARCHAR)")
        rest, seen = iter(ids), Table(name=name, columns=(Column("id"),))
        while some := list(islice(rest, _AT_ONCE)):
            self._db.register(_BATCH, arrow_table(seen, [some]))
            self._run(f"INSERT INTO {quoted(name)} SELECT id FROM {quoted(_BATCH)}")
            self._db.unregister(_BATCH)

    def _selected(self, column: Column) -> str:
        return f"epoch_us({quoted(column.name)})" if column.kind == "time" else super()._selected(column)

    def _parser(self, column: Column) -> Callable[[Any], Any] | None:
        return _moment if column.kind == "time" else super()._parser(column)

    def _apply_sifted(
        self, changes: Sequence[Change], then: Callable[[Sequence[Written]], Sequence[Change]] | None
    ) -> list[Written]:
        return self._apply_tried(changes, then)  # an error ends its transactions

    def _sound(self, change: Change) -> tuple[Sequence[Row], list[Refused]]:
        """Find at once what breaks a type or a constraint of its own; the rest is tried."""
        table, rows = change.table, last_of_each(change)
        odd = self._odd(table, Change(table, rows)) if rows else {}
        kept, refused = super()._sound(Change(table, [row for n, row in enumerate(rows) if n not in odd]))
        return kept, [*(Refused(rows[n], f"{table.name}: {reason}") for n, reason in odd.items()), *refused]

    def _odd(self, table: Table, change: Change) -> dict[int, str]:
        numbered = replace(table, columns=(*table.columns, Column("_limio_n", "integer")))
        columns = by_column(change)
        self._db.register(_BATCH, arrow_table(numbered, [*columns, range(len(columns[0]))]))
        try:
            rules = [rule for (rule,) in self._ask(RULES, table.name)]
            held: list[Any] = self._ask(COLUMNS, table.name)
            return dict(self._ask(odd_rows(table, _BATCH, held, rules)))
        except duckdb.Error:  # a rule that cannot be asked like that
            return {}
        finally:
            self._db.unregister(_BATCH)

    def _refused(self, error: Exception) -> str | None:
        if not isinstance(error, duckdb.DataError | duckdb.IntegrityError | duckdb.InvalidInputException):
            return None
        name = type(error).__name__
        named = _NAMED.search(str(error))  # other words hold contents
        return f"{name} ({named['what']})" if named else name

    def _failure(self, error: Exception) -> JobError:
        if isinstance(error, FileExistsError | NotADirectoryError):
            return SinkError(f"{self.name}: there is a file where {error.filename} needs a directory")
        if self._is_cancelled:
            return SinkError(f"{self.name}: cancelled")
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]
        if "Could not set lock" in reason:
            return TargetBusy(f"{self.name}: another program has it open; DuckDB lets one in at a time")
        hints = {
            'Extension "': "is it a database of another kind? Choose another file",
            "not a valid DuckDB": "choose another file, or move this one away",
            "Cannot open file": "is there a directory in its place, or may you not write there?",
            "Could not read from file": "is there a directory in its place?",
            "write": "is the disk full? What was written before is there",
        }
        hint = next((f" ({hint})" for known, hint in hints.items() if known in reason), "")
        of_one = isinstance(error, duckdb.CatalogException | duckdb.BinderException)
        return SinkError(f"{self.name}: {reason}{hint}", one_table=of_one)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
