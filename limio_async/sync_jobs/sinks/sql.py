"""What the databases have in common: their tables, and which rows an `apply` or a `mark_unseen` changes."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from limio_async.errors import JobError, SinkError
from limio_async.sync_jobs.sink import (
    DELETED,
    STALE,
    Change,
    Column,
    Condition,
    Kind,
    Prepared,
    Row,
    Table,
    Unseen,
    Written,
)
from limio_async.sync_jobs.sinks.values import by_column, refusal, stored, stored_keys

__all__ = ["META", "Shape", "SqlSink", "or_marked", "quoted", "upsert"]

_VERSION = 1
META = "_limio_meta"
_MARKS = (DELETED, STALE)
_SEEN = "_limio_seen"


class Shape(msgspec.Struct, frozen=True):
    """A table that is there."""

    columns: Sequence[str]
    key: Sequence[str]
    """The columns of its primary key."""


class SqlSink(ABC):
    """A `Sink` that is a database. A subclass connects, and says how its database takes rows and gives them back."""

    types: ClassVar[Mapping[Kind, str]]
    """What columns are declared as."""
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
        self._target_id = ""

    @property
    def target_id(self) -> str:
        """Names this very target, at random, from its first `prepare` on."""
        return self._target_id

    @abstractmethod
    def open(self, *, to_read: bool = False) -> None:
        """Connect; unless *to_read*, see that the target can be written to."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the target."""

    def cancel(self, *, only_blocked: bool = False) -> None:  # noqa: B027  # nothing to do: waits for locks are short
        """Make a call that is under way end soon."""

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        """Make the tables that are missing and add the columns that are missing. Return how each table is held, by name."""
        with self._transaction():
            is_new = self._take_up()
            return {
                table.name: self._prepare(table, self._shape(table.name), is_new, table.name in rewrite)
                for table in tables
            }

    def refusal(self, table: Table, row: Row) -> str | None:
        """Why the target cannot hold *row*; None if it can."""
        return refusal(table, row)

    def apply(
        self,
        changes: Sequence[Change],
        *,
        then: Callable[[Sequence[Written]], Sequence[Change]] | None = None,
    ) -> list[Written]:
        """Write all changes in one transaction."""
        with self._transaction():
            written = [self._write(change) for change in changes]
            for change in then(written) if then else ():
                self._write(change)
        return written

    def mark_unseen(
        self,
        table: Table,
        seen: Iterable[str],
        *,
        deleted_at: datetime,
        allows: Callable[[int, int], bool],
        then: Callable[[Unseen], Sequence[Change]] | None = None,
    ) -> Unseen:
        """Set `deleted_at` in the rows whose `id` is not among *seen*, in one transaction."""
        unseen = (
            f'"{DELETED}" IS NULL AND NOT EXISTS'
            f' (SELECT 1 FROM "{_SEEN}" WHERE "{_SEEN}"."id" = {quoted(table.name)}."id")'
        )
        with self._transaction():
            self._note_seen(_SEEN, stored_keys(seen))
            ((live, missing),) = self._ask(
                f'SELECT (SELECT count(*) FROM {quoted(table.name)} WHERE "{DELETED}" IS NULL),'
                f" (SELECT count(*) FROM {quoted(table.name)} WHERE {unseen})"
            )
            deletes = bool(missing) and allows(live, missing)
            if deletes:
                self._run(
                    f'UPDATE {quoted(table.name)} SET "{DELETED}" = {self.mark} WHERE {unseen}',
                    self._time(deleted_at),
                )
                self._changed(table)
            self._run(f'DROP TABLE "{_SEEN}"')
            found = Unseen(live=live, unseen=missing, deleted=missing if deletes else 0)
            for change in then(found) if then else ():
                self._write(change)
        return found

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        """Iterate over the rows of a table that meet all conditions, as dicts by column, over a connection of their own."""
        with self._failures():
            shape = self._shape(table.name)
        if shape is None or any(one.column not in shape.columns for one in where):
            return
        condition, bound = self._where(table, where)
        names = [column.name for column in table.columns]
        parsers = [self._parser(column) for column in table.columns]
        wanted = (
            self._selected(column) if column.name in shape.columns else "NULL" for column in table.columns
        )
        with self._failures():
            for values in self._read(
                f"SELECT {', '.join(wanted)} FROM {quoted(table.name)}{condition}", *bound
            ):
                parsed = (
                    parse(value) if parse and value is not None else value
                    for parse, value in zip(parsers, values, strict=True)
                )
                yield dict(zip(names, parsed, strict=True))

    def prune(self, table: Table, where: Sequence[Condition]) -> int:
        """Remove the rows of a table that meet all conditions, and return how many there were."""
        with self._transaction():
            shape = self._shape(table.name)
            if shape is None or any(one.column not in shape.columns for one in where):
                return 0
            condition, bound = self._where(table, where)
            return self._run(f"DELETE FROM {quoted(table.name)}{condition}", *bound)

    def publish(self, table: Table) -> None:  # noqa: B027  # nothing to do: what is committed is to be seen
        """Let others see the table."""

    # --- what the databases do in their own ways

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
    def _upsert(self, table: Table, columns: Sequence[Sequence[Any]]) -> tuple[int, int]:
        """Write rows with different keys. How many of the keys were there, how many rows were changed or added."""

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

    # --- what they do alike

    def _take_up(self) -> bool:
        """See that the target is ours, and whether it is new."""
        shape = self._shape(META)
        if shape is None:
            self._target_id = secrets.token_hex(16)
            self._run(
                f'CREATE TABLE "{META}" ("key" {self.types["text"]} PRIMARY KEY, "value" {self.types["text"]})'
            )
            self._set_meta("version", str(_VERSION))
            self._set_meta("target", self._target_id)
            return True
        meta = {}
        if {"key", "value"} <= {*shape.columns}:
            meta = dict(self._ask(f'SELECT "key", "value" FROM "{META}"'))
        version, target = str(meta.get("version")), meta.get("target")
        if not version.isdecimal() or not target:
            raise SinkError(
                f"{self.name}: its table {META} is not one that limio made; choose another target"
            )
        if int(version) > _VERSION:
            raise SinkError(
                f"{self.name} was made by a newer release of limio_async (version {version} of its tables, this"
                f" one knows {_VERSION}): update limio_async"
            )
        self._target_id = target
        return False

    def _meta(self, key: str) -> str | None:
        return next(
            (value for (value,) in self._ask(f'SELECT "value" FROM "{META}" WHERE "key" = {self.mark}', key)),
            None,
        )

    def _set_meta(self, key: str, value: str) -> None:
        self._run(f'DELETE FROM "{META}" WHERE "key" = {self.mark}', key)
        self._run(f'INSERT INTO "{META}" ("key", "value") VALUES ({self.mark}, {self.mark})', key, value)

    def _prepare(self, table: Table, shape: Shape | None, is_new: bool, rewrites: bool) -> Prepared:
        if shape is None:
            declared = [self._declared(column) for column in table.columns]
            if self.keyed:
                declared.append(f"PRIMARY KEY ({', '.join(map(quoted, table.key))})")
            self._run(f"CREATE TABLE {quoted(table.name)} ({', '.join(declared)})")
            return Prepared(has_rows=False, salt=self._meta(f"salt {table.name}") or "")
        needed = [
            name
            for name in ("raw", table.compared, *table.key)
            if any(name == column.name for column in table.columns)
        ]
        key = {*table.key} if self.keyed else set[str]()
        if is_new or {*shape.key} != key or not {*needed} <= {*shape.columns}:
            raise SinkError(
                f"{self.name} has a table {table.name} that limio did not make; choose another target,"
                " or rename that table"
            )
        missing = [column for column in table.columns if column.name not in shape.columns]
        for column in missing:
            self._run(f"ALTER TABLE {quoted(table.name)} ADD COLUMN {self._declared(column)}")
        ((has_rows,),) = self._ask(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)})")
        filled = table.compared is not None and any(column.name not in _MARKS for column in missing)
        if has_rows and (filled or rewrites):
            self._set_meta(f"salt {table.name}", secrets.token_hex(8))
        return Prepared(has_rows=bool(has_rows), salt=self._meta(f"salt {table.name}") or "")

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

    def _write(self, change: Change) -> Written:
        if change.stale:
            self._mark_stale(change)
        columns = by_column(change)
        count = len(columns[0])
        if not count:
            return Written()
        there, changed = self._upsert(change.table, columns)
        if changed:
            self._changed(change.table)
        inserted = count - there
        return Written(inserted=inserted, updated=changed - inserted, unchanged=count - changed)

    def _mark_stale(self, change: Change) -> None:
        """Mark the rows that could not be refreshed; they are not marked as deleted any more."""
        assert change.at is not None  # noqa: S101  # goes with `stale`
        changed = self._run(
            f'UPDATE {quoted(change.table.name)} SET "{STALE}" = coalesce("{STALE}", {self.mark}), "{DELETED}" = NULL'
            f' WHERE ("{STALE}" IS NULL OR "{DELETED}" IS NOT NULL) AND "id" {self.among}',
            self._time(change.at),
            self._many([*stored_keys(change.stale)]),
        )
        if changed:
            self._changed(change.table)

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
            raise self._failure(error) from error


def quoted(name: str) -> str:
    """A name as SQL takes it, reserved words too."""
    return '"' + name.replace('"', '""') + '"'


def upsert(table: Table, source: str, *, differs: str) -> str:
    """The statement that writes rows of *source*, for SQLite and PostgreSQL; *differs* is how each compares with NULL."""
    names = ", ".join(quoted(column.name) for column in table.columns)
    key = ", ".join(map(quoted, table.key))
    return f"INSERT INTO {quoted(table.name)} ({names}) {source} ON CONFLICT ({key}) DO {_on_conflict(table, differs)}"


def _on_conflict(table: Table, differs: str) -> str:
    if table.keeps:
        return "NOTHING"
    names = [column.name for column in table.columns]
    sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in table.key)
    if table.compared is None:
        return f"UPDATE SET {sets}"
    own, compared = quoted(table.name), quoted(table.compared)
    changed = f"{own}.{compared} {differs} excluded.{compared}"
    return f"UPDATE SET {sets} WHERE {changed}{or_marked(table)}"


def or_marked(table: Table) -> str:
    """The rest of a condition: or the row that is there is marked as deleted or stale."""
    own = quoted(table.name)
    return "".join(f" OR {own}.{quoted(name)} IS NOT NULL" for name in _MARKS if table.has(name))
