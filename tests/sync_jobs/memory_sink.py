"""A sink in memory: all that the protocol asks for, in the fewest lines, and what tests look into."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from typing import Any

from limio_async.errors import SinkError
from limio_async.sync_jobs.sink import Change, Row, Table, Unseen, Written


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

    def prepare(self, tables: Sequence[Table]) -> None:
        with self._turn():
            for table in tables:
                self.tables.setdefault(table.name, {})

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
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for values in change.rows:
            row = dict(zip(names, values, strict=True))
            rows[tuple(row[name] for name in table.key)] = row
        for key, row in rows.items():
            what = _became(self.tables[table.name].get(key), row, table)
            counts[what] += 1
            if what != "unchanged":
                self.tables[table.name][key] = row
        return Written(**counts)

    def mark_unseen(
        self,
        table: Table,
        seen: Iterable[str],
        *,
        deleted_at: datetime,
        most: float | None,
        then: Callable[[Unseen], Sequence[Change]] | None = None,
    ) -> Unseen:
        with self._transaction():
            ids, rows = set(seen), self.tables[table.name]
            live = [key for key, row in rows.items() if row["deleted_at"] is None]
            unseen = [key for key in live if rows[key]["id"] not in ids]
            gone = unseen if most is None or len(unseen) <= most * len(live) else []
            for key in gone:
                rows[key] = {**rows[key], "deleted_at": deleted_at}
            found = Unseen(live=len(live), unseen=len(unseen), deleted=len(gone))
            for change in then(found) if then else ():
                self._write(change)
        return found

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        with self._turn() if self._opened else nullcontext():  # tests look when the job is done
            names = [column.name for column in table.columns]
            found = [*self.tables.get(table.name, {}).values()]
        return iter([{name: row.get(name) for name in names} for row in found])

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
    same = table.compared is not None and before[table.compared] == row[table.compared]
    return "unchanged" if table.keeps or (same and not before.get("deleted_at")) else "updated"
