"""What the databases have in common: their tables, and which rows an `apply` or a `mark_unseen` changes."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from limio_async.errors import SinkError
from limio_async.sync_jobs.sink import (
    DELETED,
    Change,
    Condition,
    Prepared,
    Row,
    Table,
    Unseen,
)
from limio_async.sync_jobs.sinks.database import META, Shape
from limio_async.sync_jobs.sinks.statements import MARKS, and_not_marked, quoted
from limio_async.sync_jobs.sinks.values import refusal_for, stored_keys
from limio_async.sync_jobs.sinks.writing import Writer

__all__ = ["SqlSink"]

_VERSION = 2
_TAKEN_OVER = 1  # it had neither marks of stale rows nor indexes: `prepare` adds them
_SEEN = "_limio_seen"


class SqlSink(Writer):
    """A `Sink` that is a database. A subclass connects, and says how its database takes rows and gives them back."""

    batch_bytes: ClassVar[int] = 4 * 1024 * 1024
    """Bytes of items that go into one transaction, about: four times as many took more memory, and hardly less time."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
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

    def cancel(self, *, only_blocked: bool = False) -> None:  # nothing to do: waits for locks are short
        """Make a call that is under way end soon."""

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        """Make the tables that are missing and add the columns that are missing. Return how each table is held, by name."""
        with self._writing_no_row(), self._transaction():
            is_new = self._take_up()
            return {
                table.name: self._prepare(table, self._shape(table.name), is_new, table.name in rewrite)
                for table in tables
            }

    def refusal(self, table: Table, row: Row) -> str | None:
        """Why the target cannot hold *row*; None if it can."""
        return refusal_for(self.holds, table, row)

    def held(self, table: Table, ids: Sequence[str]) -> Collection[tuple[str, str]]:
        """Return `id` and `compared` of those rows of *ids* that are there, marked neither as deleted nor as stale."""
        keys = [*stored_keys(ids)]
        names = dict(zip(keys, ids, strict=True))
        with self._transaction():
            found = self._ask(
                f'SELECT "id", {quoted(table.compared or "")} FROM {quoted(table.name)}'
                f' WHERE "id" {self.among}{and_not_marked(table)}',
                self._many(keys),
            )
        return {(names[one], compared) for one, compared in found}

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
            deletes, deleted = bool(missing) and allows(live, missing), 0
            if deletes:
                deleted = self._run(
                    f'UPDATE {quoted(table.name)} SET "{DELETED}" = {self.mark} WHERE {unseen}',
                    self._time(deleted_at),
                )
                self._changed(table)
            self._run(f'DROP TABLE "{_SEEN}"')
            found = Unseen(
                live=live, unseen=missing, deleted=deleted, kept=missing - deleted if deletes else 0
            )
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

    def publish(self, table: Table) -> None:  # nothing to do: what is committed is to be seen
        """Let others see the table."""

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
        if int(version) == _TAKEN_OVER:
            self._set_meta("version", str(_VERSION))
        elif int(version) != _VERSION:
            raise SinkError(
                f"{self.name} was made by a newer release of limio_async (version {version} of its tables, this"
                f" one knows {_VERSION}): update limio_async"
            )
        self._target_id = target
        return False

    def _prepare(self, table: Table, shape: Shape | None, is_new: bool, rewrites: bool) -> Prepared:
        if shape is None:
            declared = [self._declared(column) for column in table.columns]
            if self.keyed:
                declared.append(f"PRIMARY KEY ({', '.join(map(quoted, table.key))})")
            self._run(f"CREATE TABLE {quoted(table.name)} ({', '.join(declared)})")
            self._index(table)
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
        self._index(table)
        ((has_rows,),) = self._ask(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)})")
        filled = any(column.name not in MARKS for column in missing)
        if has_rows and (filled or rewrites) and table.compared and not table.keeps:
            self._set_meta(f"salt {table.name}", secrets.token_hex(8))
        return Prepared(has_rows=bool(has_rows), salt=self._meta(f"salt {table.name}") or "")

    def _index(self, table: Table) -> None:
        for name in table.indexed if self.keyed else ():
            index = quoted(f"{table.name}_{name}")
            self._run(f"CREATE INDEX IF NOT EXISTS {index} ON {quoted(table.name)} ({quoted(name)})")
