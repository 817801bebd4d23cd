"""Which rows an `apply` writes, and which of them the database does not take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from limio_async.sync_jobs.sink import DELETED, STALE, Change, Refused, Row, Table, Written
from limio_async.sync_jobs.sinks.database import Database, RowRefused, Wrote
from limio_async.sync_jobs.sinks.sound import sound
from limio_async.sync_jobs.sinks.statements import quoted
from limio_async.sync_jobs.sinks.values import by_column, last_of_each, stored_keys

__all__ = ["Writer"]

_PASSED_OVER = "the database did not store the row: a trigger or a rule passed it over"
_Then = Callable[[Sequence[Written]], Sequence[Change]]
_Write = Callable[[Change], Written]


class _Undo(Exception):
    """Ends a transaction that was a trial."""


class Writer(Database):
    """Writes changes; a row that the database does not take keeps out no other."""

    def apply(
        self,
        changes: Sequence[Change],
        *,
        then: Callable[[Sequence[Written]], Sequence[Change]] | None = None,
    ) -> list[Written]:
        """Write all changes in one transaction, but for the rows that the database does not take."""
        try:
            return self._apply(changes, then, self._write)
        except RowRefused:
            return self._apply_sifted(changes, then)

    def _apply(self, changes: Sequence[Change], then: _Then | None, write: _Write) -> list[Written]:
        with self._transaction():
            written = [write(change) for change in changes]
            for change in then(written) if then else ():
                self._write(change)
        return written

    def _apply_sifted(self, changes: Sequence[Change], then: _Then | None) -> list[Written]:
        return self._apply(changes, then, self._sift)

    def _sift(self, change: Change) -> Written:
        """Write the rows that the database takes; the others are found by halves. A ledger has none to lose."""
        table = change.table
        if not table.published:
            return self._write(change)
        self._mark_stale(change)
        rows, refused, there, changed = last_of_each(change), list[Refused](), 0, 0
        with self._staged(table, by_column(Change(table, rows))) as write:
            spans = [(0, len(rows))] if rows else []
            while spans:
                start, end = spans.pop()
                try:
                    with self._savepoint():
                        wrote = write(start, end)
                except self.errors as error:
                    if (reason := self._refused(error)) is None:
                        raise
                    if end - start > 1:
                        middle = (start + end) // 2
                        spans += [(middle, end), (start, middle)]
                    else:
                        refused.append(Refused(rows[start], f"{table.name}: {reason}"))
                else:
                    there, changed = there + wrote.there, changed + wrote.changed
                    refused += self._passed_over(table, rows[start:end], wrote)
        return self._counted(table, len(rows) - len(refused), there, changed, refused)

    def _apply_tried(self, changes: Sequence[Change], then: _Then | None) -> list[Written]:
        """For databases where an error ends the transaction: find the rows in transactions that are rolled back."""
        kept: list[Change] = []
        refused: list[list[Refused]] = []
        for change in changes:
            rows, bad = self._sound(change) if change.table.published else (change.rows, [])
            kept.append(Change(change.table, rows, change.stale, change.at))
            refused.append(bad)
        next_refused = iter(refused)

        def write(change: Change) -> Written:
            written = self._write(change)
            return replace(written, refused=(*next(next_refused), *written.refused))

        return self._apply(kept, then, write)

    def _sound(self, change: Change) -> tuple[Sequence[Row], list[Refused]]:
        return sound(last_of_each(change), lambda rows: self._tried(change.table, rows))

    def _tried(self, table: Table, rows: Sequence[Row]) -> str | None:
        try:
            with self._transaction():
                self._write(Change(table, rows))
                raise _Undo  # noqa: TRY301  # the way to undo it
        except _Undo:
            return None
        except RowRefused as error:
            return f"{table.name}: {error.reason}"

    def _write(self, change: Change) -> Written:
        self._mark_stale(change)
        columns = by_column(change)
        if not (count := len(columns[0])):
            return Written()
        with self._staged(change.table, columns) as write:
            wrote = write(0, count)
        refused = self._passed_over(change.table, last_of_each(change), wrote) if wrote.passed_over else []
        return self._counted(change.table, count - len(refused), wrote.there, wrote.changed, refused)

    def _passed_over(self, table: Table, rows: Sequence[Row], wrote: Wrote) -> list[Refused]:
        if wrote.passed_over and not table.published:
            raise RowRefused(self.name, f"{table.name}: {_PASSED_OVER}")
        return [Refused(rows[place], f"{table.name}: {_PASSED_OVER}") for place in wrote.passed_over]

    def _counted(
        self, table: Table, count: int, there: int, changed: int, refused: Sequence[Refused] = ()
    ) -> Written:
        if changed:
            self._changed(table)
        inserted = count - there
        return Written(
            inserted=inserted,
            updated=changed - inserted,
            unchanged=count - changed,
            refused=tuple(refused),
        )

    def _mark_stale(self, change: Change) -> None:
        """Mark the rows that could not be refreshed; they are not marked as deleted any more."""
        if not change.stale:
            return
        assert change.at is not None  # noqa: S101  # goes with `stale`
        changed = self._run(
            f'UPDATE {quoted(change.table.name)} SET "{STALE}" = coalesce("{STALE}", {self.mark}), "{DELETED}" = NULL'
            f' WHERE ("{STALE}" IS NULL OR "{DELETED}" IS NOT NULL) AND "id" {self.among}',
            self._time(change.at),
            self._many([*stored_keys(change.stale)]),
        )
        if changed:
            self._changed(change.table)
