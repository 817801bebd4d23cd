"""What a sink asks of its database: statements, transactions, and what it keeps about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from limio_async.errors import JobError, SinkError
from limio_async.sync_jobs.sink import Column, Condition, Kind, Table
from limio_async.sync_jobs.sinks.statements import quoted
from limio_async.sync_jobs.sinks.values import Holds, stored

__all__ = ["META", "Database", "RowRefused", "Shape", "Wrote"]

META = "_limio_meta"


class RowRefused(SinkError):
    """The database did not take a row, for the *reason* that `Refused` has."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target}: a row was refused: {reason}", one_table=True)
        self.reason = reason


class Shape(msgspec.Struct, frozen=True):
    """A table that is there."""

    columns: Sequence[str]
    key: Sequence[str]
    """The columns of its primary key."""
    computed: Collection[str] = ()
    """Columns that the database computes."""
    types: Mapping[str, str] = {}
    """The types of its columns, where a subclass needs them."""


class Wrote(msgspec.Struct, frozen=True):
    """What became of rows with different keys."""

    there: int
    """How many of the keys were there."""
    changed: int
    """How many rows were changed or added."""
    passed_over: Sequence[int] = ()
    """Which of the rows the database did not store, though it refused none: the places where they stood."""


class Database(ABC):
    """A database as `SqlSink` uses it. A subclass says how it takes rows and gives them back."""

    types: ClassVar[Mapping[Kind, str]]
    """What columns are declared as."""
    holds: ClassVar[Holds]
    """Whose limits values have."""
    mark: ClassVar[str] = "?"
    """Where a statement takes a value."""
    begin: ClassVar[str] = "BEGIN"
    among: ClassVar[str]
    """What a statement says where a value is one of a list."""
    keyed: ClassVar[bool] = True
    """Whether tables have a primary key."""
    errors: ClassVar[tuple[type[Exception], ...]]
    """What the database's library raises."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def _run(self, statement: str, *values: Any) -> int:
        """How many rows a statement has changed."""

    @abstractmethod
    def _ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of an answer that is short."""

    @abstractmethod
    def _read(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of an answer that may be long."""

    @abstractmethod
    def _shape(self, name: str) -> Shape | None:
        """The table of this name; None if there is none."""

    @abstractmethod
    def _upsert(self, table: Table, columns: Sequence[Sequence[Any]]) -> Wrote:
        """Write rows with different keys."""

    @contextmanager
    def _staged(
        self, table: Table, columns: Sequence[Sequence[Any]]
    ) -> Generator[Callable[[int, int], Wrote]]:
        """Yield what does `_upsert` with the rows from one place to another."""
        yield lambda start, end: self._upsert(table, [values[start:end] for values in columns])

    @abstractmethod
    def _note_seen(self, name: str, ids: Iterable[str]) -> None:
        """Make a temporary table with the column `id`, and fill it."""

    @abstractmethod
    def _failure(self, error: Exception) -> JobError:
        """What an error of the library means to the user."""

    def _declared(self, column: Column) -> str:
        return f"{quoted(column.name)} {self.types[column.kind]}"

    def _selected(self, column: Column) -> str:
        return quoted(column.name)

    def _parser(self, column: Column) -> Callable[[Any], Any] | None:
        return str.encode if column.kind == "json" else None

    def _time(self, moment: datetime) -> Any:
        return moment

    def _many(self, values: list[Any]) -> Any:
        """A list as `among` takes it."""
        return values

    def _changed(self, table: Table) -> None:  # noqa: B027  # for sinks that keep more than tables
        """The transaction under way changes rows of a table."""

    @abstractmethod
    def _refused(self, error: Exception) -> str | None:
        """Why the database did not take a row, without its contents; None where *error* is not about a row."""

    # --- what they do alike

    def _meta(self, key: str) -> str | None:
        return next(
            (value for (value,) in self._ask(f'SELECT "value" FROM "{META}" WHERE "key" = {self.mark}', key)),
            None,
        )

    def _set_meta(self, key: str, value: str) -> None:
        self._run(f'DELETE FROM "{META}" WHERE "key" = {self.mark}', key)
        self._run(f'INSERT INTO "{META}" ("key", "value") VALUES ({self.mark}, {self.mark})', key, value)

    def _where(self, table: Table, where: Sequence[Condition]) -> tuple[str, list[Any]]:
        """The conditions as SQL, and the values that it takes."""
        parts: list[str] = []
        bound: list[Any] = []
        for one in where:
            name = quoted(one.column)
            if one.is_ == "set":
                parts.append(f"{name} IS NOT NULL")
                continue
            values = [
                self._time(value) if isinstance(value, datetime) else value
                for value in stored(table, one.column, one.value if one.is_ == "in" else [one.value])
            ]
            parts.append(f"{name} {self.among if one.is_ == 'in' else f'{one.is_} {self.mark}'}")
            bound.append(self._many(values) if one.is_ == "in" else values[0])
        return (" WHERE " + " AND ".join(parts) if parts else ""), bound

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._failures():
            self._run(self.begin)
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                with suppress(*self.errors):  # some failures have ended it already
                    self._run("ROLLBACK")
                raise

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except self.errors as error:
            if (reason := self._refused(error)) is not None:
                raise RowRefused(self.name, reason) from None  # its words hold contents
            raise self._failure(error) from None  # what the library says may quote a row

    @contextmanager
    def _writing_no_row(self) -> Generator[None]:
        """Read no error of the block as one of a row."""
        try:
            with self._failures():
                yield
        except RowRefused as error:
            raise SinkError(f"{self.name}: {error.reason}") from None

    @contextmanager
    def _savepoint(self) -> Generator[None]:
        """Undo what the block did where the database refuses it."""
        self._run("SAVEPOINT limio_part")
        try:
            yield
        except self.errors:
            self._run("ROLLBACK TO SAVEPOINT limio_part")
            self._run("RELEASE SAVEPOINT limio_part")
            raise
        self._run("RELEASE SAVEPOINT limio_part")
