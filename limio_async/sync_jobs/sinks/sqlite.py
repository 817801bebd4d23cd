"""A target that is a SQLite file; the standard library's driver is all it needs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from limio_async._durable import PRIVATE, made
from limio_async.errors import JobError, SinkError, TargetBusy
from limio_async.sync_jobs.lock import Lock, locked
from limio_async.sync_jobs.sink import Change, Column, Kind, Table, Written
from limio_async.sync_jobs.sinks.database import Shape, Wrote
from limio_async.sync_jobs.sinks.sql import SqlSink
from limio_async.sync_jobs.sinks.statements import and_not_marked, checked, quoted, upsert
from limio_async.sync_jobs.sinks.values import Holds

__all__ = ["SqliteSink"]

_WAIT = 10.0  # seconds for another program to end its transaction
_MOMENT = 0.25
_STEPS = 100_000  # of SQLite's machine between two looks whether it is cancelled: milliseconds
_SETTINGS = (
    "PRAGMA page_size = 16384",  # several rows of 3 kB a page; only a new file takes it
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what is committed is on the disk
    "PRAGMA cache_size = -16384",  # a larger one was no faster with a million rows
)


_OF_ONE = ("no such table", "no such column", "table ")  # what became of a table since the run began
_NAMED = re.compile(r"(?P<what>(?:UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed(?:: [\w., ]+)?)$")


class SqliteSink(SqlSink):
    """Tables in *file*. Times are ISO 8601 in UTC with microseconds, which sorts; JSON is text, byte for byte."""

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "TEXT",
        "number": "REAL",
        "integer": "INTEGER",
        "boolean": "INTEGER",
        "time": "TEXT",
        "json": "TEXT",
        "bytes": "BLOB",
    }
    holds: ClassVar[Holds] = "sqlite"
    begin: ClassVar[str] = "BEGIN IMMEDIATE"
    among: ClassVar[str] = "IN (SELECT value FROM json_each(?))"
    errors: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError)

    def __init__(self, file: Path, *, name: str, mode: int = PRIVATE) -> None:
        super().__init__(name)
        self._file = file
        self._file_mode = mode
        self._connection: sqlite3.Connection | None = None
        self._lock: Lock | None = None
        self._mode = "rwc"
        self._is_cancelled = self._hurries = False

    def open(self, *, to_read: bool = False) -> None:
        """Make the file if it is missing, and see that it can be written to, by this run only."""
        self._mode = "ro" if to_read else "rwc"
        self._is_cancelled = self._hurries = False
        with self._failures():
            if to_read:
                self._connection = self._connected_to_read()
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file = self._file.resolve()  # the same by whatever name it is called
            self._lock = locked(file.with_name(f"{file.name}.lock"))
            made(file, self._file_mode)  # its journal gets the same mode
            self._connection = self._connected()
            for setting in (*_SETTINGS, f"PRAGMA busy_timeout = {1000 * min(_WAIT, _MOMENT):.0f}"):
                self._connection.execute(setting)
        with self._transaction():
            pass

    def close(self) -> None:
        """Close the file; what waits in its journal moves into it."""
        if self._connection is not None:
            self._connection.close()
        if self._lock is not None:
            self._lock.close()
        self._connection = self._lock = None

    def cancel(self, *, only_blocked: bool = False) -> None:
        """End soon what another thread waits for, and refuse what comes, until the next `open`.

        *only_blocked*: from now on only a wait for another program ends, after a moment.
        """
        self._hurries = True
        self._is_cancelled = self._is_cancelled or not only_blocked

    def _connected_to_read(self) -> sqlite3.Connection:
        connection = self._connected()
        try:
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.Error as error:
            connection.close()
            journal = self._file.with_name(f"{self._file.name}-wal")
            if not isinstance(error, sqlite3.OperationalError) or "locked" in str(error):
                raise
            if journal.exists() and journal.stat().st_size:
                raise
            # nothing in the journal, and no index of it can be made: the directory is read-only
            self._mode = "ro&immutable=1"
            return self._connected()
        return connection

    def _connected(self) -> sqlite3.Connection:
        place = f"file:{quote(str(self._file.absolute()))}?mode={self._mode}"
        connection = sqlite3.connect(
            place, uri=True, timeout=_WAIT, check_same_thread=False, isolation_level=None
        )
        connection.set_progress_handler(lambda: self._is_cancelled, _STEPS)  # interrupts what is under way
        return connection

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None  # noqa: S101  # used between `open` and `close`
        return self._connection

    def _run(self, statement: str, *values: Any) -> int:
        if self._is_cancelled:
            raise sqlite3.OperationalError("interrupted")
        ends = monotonic() + _WAIT
        while True:
            try:
                return self._db.execute(statement, values).rowcount
            except sqlite3.OperationalError as error:
                if (
                    statement != self.begin
                    or "locked" not in str(error)
                    or self._hurries
                    or monotonic() > ends
                ):
                    raise

    def _ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(statement, values).fetchall()

    def _read(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with closing(self._connected()) as own:
            yield from own.execute(statement, values)

    def _shape(self, name: str) -> Shape | None:
        found = self._ask("SELECT name, pk, hidden FROM pragma_table_xinfo(?)", name)
        computed = [name for name, _, hidden in found if hidden]
        key = [name for name, key, _ in found if key]
        return Shape([name for name, _, _ in found], key, computed) if found else None

    def _upsert(self, table: Table, columns: Sequence[Sequence[Any]]) -> Wrote:
        own, shape = quoted(table.name), self._shape(table.name)
        computed = shape.computed if shape else ()
        stored = {
            column.name: [value and self._time(value) for value in values]
            if column.kind == "time"
            else values
            for column, values in zip(table.columns, columns, strict=True)
        }
        names = [*table.key, *(name for name in checked(table) if name not in computed)]
        sent = self._many([*zip(*(stored[name] for name in names), strict=True)])
        at = {name: f"json_extract(sent.value, '$[{number}]')" for number, name in enumerate(names)}
        same = " AND ".join(f"{own}.{quoted(name)} = {at[name]}" for name in table.key)
        equal = " AND ".join(f"{own}.{quoted(name)} IS {at[name]}" for name in names) or "true"
        well = f"{equal}{and_not_marked(table)}"
        stays = "true" if table.keeps else "false" if table.compared is None else well
        ((there, left),) = self._ask(
            f"SELECT count(*), coalesce(sum({stays}), 0) FROM json_each(?) AS sent CROSS JOIN {own} WHERE {same}",
            sent,
        )
        marks = ", ".join("?" for name in stored if name not in computed)
        statement = upsert(table, f"VALUES ({marks})", differs="IS NOT", without=computed)
        values = (values for name, values in stored.items() if name not in computed)
        changed = self._db.executemany(statement, zip(*values, strict=True)).rowcount
        if changed == len(columns[0]) - left:
            return Wrote(there, changed)
        passed_over = [
            (place, is_there)
            for place, is_there in self._ask(
                f"SELECT sent.key, EXISTS (SELECT 1 FROM {own} WHERE {same}) FROM json_each(?) AS sent"
                f" WHERE NOT EXISTS (SELECT 1 FROM {own} WHERE {well})",
                sent,
            )
        ]
        there -= sum(is_there for _, is_there in passed_over)
        changed = len(columns[0]) - left - len(passed_over)
        return Wrote(there, changed, [place for place, _ in passed_over])

    def _note_seen(self, name: str, ids: Iterable[str]) -> None:
        self._run(f"CREATE TEMPORARY TABLE {quoted(name)} (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._run("PRAGMA temp.cache_size = -1000")  # else it grows with the number of ids
        self._db.executemany(f"INSERT OR IGNORE INTO {quoted(name)} VALUES (?)", ((one,) for one in ids))

    def _parser(self, column: Column) -> Callable[[Any], Any] | None:
        match column.kind:
            case "time":
                return datetime.fromisoformat
            case "boolean":
                return bool
            case _:
                return super()._parser(column)

    def _time(self, moment: datetime) -> str:
        return f"{moment.isoformat(timespec='microseconds')[:26]}Z"

    def _many(self, values: list[Any]) -> str:
        return msgspec.json.encode(values).decode()

    def _apply_sifted(
        self, changes: Sequence[Change], then: Callable[[Sequence[Written]], Sequence[Change]] | None
    ) -> list[Written]:
        triggers = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%rollback%'"
        if self._ask(triggers):  # they end the whole transaction
            return self._apply_tried(changes, then)
        return super()._apply_sifted(changes, then)

    def _refused(self, error: Exception) -> str | None:
        if not isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
            return None
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        named = _NAMED.match(str(error))  # the words of triggers may hold contents
        return f"{name} ({named['what']})" if named else name

    def _failure(self, error: Exception) -> JobError:
        if isinstance(error, FileExistsError | NotADirectoryError):
            return SinkError(f"{self.name}: there is a file where {error.filename} needs a directory")
        if self._is_cancelled:
            return SinkError(f"{self.name}: cancelled")
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if "locked" in reason:
            return TargetBusy(f"{self.name}: another program is writing to it; wait for it, or stop it")
        hints = {
            "not a database": "choose another file, or move this one away",
            "unable to open": "is there a directory in its place, or may you not write there?",
            "readonly": "you may not write to it: give yourself the right, or choose another file",
            "full": "make room on the disk; what was written before is there",
            "disk I/O error": "is the disk full, or a limit on the size of files reached? What was written before is there",
        }
        hint = next((f" ({hint})" for known, hint in hints.items() if known in reason), "")
        return SinkError(f"{self.name}: {reason}{hint}", one_table=reason.startswith(_OF_ONE))
