"""A sink in memory: all that the protocol asks for, in the fewest lines, and what tests look into."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from typing import Any

from limio_async.errors import SinkError
from limio_async.sync_jobs.sink import (
    DELETED,
    STALE,
    Change,
    Condition,
    Prepared,
    Refused,
    Row,
    Table,
    Unseen,
    Written,
)


class MemorySink:
    """Keeps tables as dicts of dicts; survives `close`, as a database would.

    As unkind as a database: while a job has it open, no two threads may use it at once, nor the event loop; what is
    written before `open` or after `close` fails; a transaction that fails changes nothing.
    """

    name = "memory"
    target_id = "memory-1"

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.published: list[str] = []
        self.applied = 0
        self.fails_at: int | None = None
        self.refuses: Callable[[Table, dict[str, Any]], str | None] = lambda table, row: None
        self.salts: dict[str, str] = {}
        self.cancelled: list[bool] = []
        self._opened = 0
        self._in_use = threading.Lock()

    def open(self, *, to_read: bool = False) -> None:
        self._opened += 1
        with self._turn():
            pass

    @contextmanager
    def _turn(self) -> Generator[None]:
        assert self._opened, "it is not open"
        with suppress(RuntimeError):
            assert not asyncio.get_running_loop(), "the event loop waits for the target"
        assert self._in_use.acquire(blocking=False), "two threads use it at once"
        try:
            yield
        finally:
            self._in_use.release()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._turn():
            before = {name: dict(rows) for name, rows in self.tables.items()}
            try:
                yield
            except BaseException:
                self.tables = before
                raise

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        with self._turn():
            for name in rewrite:
                self.salts[name] = f"{self.salts.get(name, '')}+"
            return {
                table.name: Prepared(
                    has_rows=bool(self.tables.setdefault(table.name, {})),
                    salt=self.salts.get(table.name, ""),
                )
                for table in tables
            }

    def refusal(self, table: Table, row: Row) -> str | None:
        return None

    def apply(
        self,
        changes: Sequence[Change],
        *,
        then: Callable[[Sequence[Written]], Sequence[Change]] | None = None,
    ) -> list[Written]:
        self.applied += 1
        if self.applied == self.fails_at:
            raise SinkError("the disk is full")
        with self._transaction():
            written = [self._write(change) for change in changes]
            for change in then(written) if then else ():
                self._write(change)
        return written

    def _write(self, change: Change) -> Written:
        table, counts = change.table, {"inserted": 0, "updated": 0, "unchanged": 0}
        names = [column.name for column in table.columns]
        held = self.tables[table.name]
        for key, row in [*held.items()] if change.stale else ():
            if row["id"] in change.stale:
                held[key] = {**row, STALE: row.get(STALE) or change.at, DELETED: None}
        refused: list[Refused] = []
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for values in change.rows:
            row = dict(zip(names, values, strict=True))
            if reason := self.refuses(table, row):
                refused.append(Refused(values, reason))
                continue
            rows[tuple(row[name] for name in table.key)] = row
        for key, row in rows.items():
            what = _became(held.get(key), row, table)
            counts[what] += 1
            if what != "unchanged":
                held[key] = row
        return Written(**counts, refused=tuple(refused))

    def mark_unseen(
        self,
        table: Table,
        seen: Iterable[str],
        *,
        deleted_at: datetime,
        allows: Callable[[int, int], bool],
        then: Callable[[Unseen], Sequence[Change]] | None = None,
    ) -> Unseen:
        with self._transaction():
            ids, rows = set(seen), self.tables[table.name]
            live = [key for key, row in rows.items() if row["deleted_at"] is None]
            unseen = [key for key in live if rows[key]["id"] not in ids]
            gone = unseen if allows(len(live), len(unseen)) else []
            for key in gone:
                rows[key] = {**rows[key], "deleted_at": deleted_at}
            found = Unseen(live=len(live), unseen=len(unseen), deleted=len(gone))
            for change in then(found) if then else ():
                self._write(change)
        return found

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        with self._turn() if self._opened else nullcontext():  # tests look when the job is done
            names = [column.name for column in table.columns]
            found = [row for row in self.tables.get(table.name, {}).values() if _meets(row, where)]
        return iter([{name: row.get(name) for name in names} for row in found])

    def prune(self, table: Table, where: Sequence[Condition]) -> int:
        with self._transaction():
            rows = self.tables.get(table.name, {})
            gone = [key for key, row in rows.items() if _meets(row, where)]
            for key in gone:
                del rows[key]
        return len(gone)

    def cancel(self, *, only_blocked: bool = False) -> None:
        self.cancelled.append(only_blocked)

    def publish(self, table: Table) -> None:
        with self._turn():
            self.published.append(table.name)

    def close(self) -> None:
        self._opened = max(0, self._opened - 1)

    def live(self, table: str) -> dict[str, bytes]:
        """The raw items of a table by id, without the deleted ones."""
        return {row["id"]: row["raw"] for row in self.tables[table].values() if row["deleted_at"] is None}


def _became(before: Mapping[str, Any] | None, row: Mapping[str, Any], table: Table) -> str:
    if before is None:
        return "inserted"
    marked = before.get(DELETED) or before.get(STALE)
    same = table.compared is not None and before[table.compared] == row[table.compared]
    return "unchanged" if table.keeps or (same and not marked) else "updated"


def _meets(row: Mapping[str, Any], where: Sequence[Condition]) -> bool:
    return all(_meets_one(row.get(one.column), one) for one in where)


def _meets_one(value: Any, condition: Condition) -> bool:
    match condition.is_:
        case "set":
            return value is not None
        case "in":
            return value in condition.value
        case "=":
            return value is not None and bool(value == condition.value)
        case ">=":
            return value is not None and bool(value >= condition.value)
        case "<":
            return value is not None and bool(value < condition.value)


class ComparingSink(MemorySink):
    """One that tells what it holds, as databases do."""

    batch_bytes = 4 * 1024 * 1024

    def held(self, table: Table, ids: Sequence[str]) -> Collection[tuple[str, str]]:
        with self._turn():
            wanted = {*ids}
            return {
                (row["id"], row[table.compared or ""])
                for row in self.tables[table.name].values()
                if row["id"] in wanted and not any(row.get(name) for name in (DELETED, STALE))
            }
