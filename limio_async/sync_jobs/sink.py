"""What a sink keeps: tables, their columns and rows, and what became of rows that were handed to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

__all__ = ["Change", "Column", "Kind", "Row", "Sink", "Table", "Unseen", "Written"]

Kind = Literal["text", "number", "integer", "boolean", "time", "json", "bytes"]
"""What a column holds, in Python: `str`, `float`, `int`, `bool`, an aware `datetime` in UTC, `bytes` of JSON text,
`bytes`; each may be None."""

Row = tuple[Any, ...]
"""The values of a row, in the order of its table's columns."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    kind: Kind = "text"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a target; its name and those of its columns are plain lower-case identifiers."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("id",)
    """The columns that tell rows apart; never None."""
    compared: str | None = None
    """The column that tells whether a row has changed; None where rows are always written anew."""
    keeps: bool = False
    """Whether a row that is there stays as it is."""
    published: bool = True
    """Whether a sink of files makes a file of it."""

    def at(self, name: str) -> int:
        """Where in a row the column *name* stands."""
        return next(place for place, column in enumerate(self.columns) if column.name == name)


class Change(msgspec.Struct, frozen=True):
    """Rows to write to a table; of rows with the same key, the last counts."""

    table: Table
    rows: Sequence[Row]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one change; rows of one key count once."""

    inserted: int = 0
    updated: int = 0
    """Replaced, those included that had been marked as deleted."""
    unchanged: int = 0


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a table a complete walk did not see."""

    live: int
    """Rows not marked as deleted before."""
    unseen: int
    """Those of them that were not seen."""
    deleted: int
    """Those that are marked as deleted now: all, or none where they were too many."""


class Sink(Protocol):
    """Where a job keeps what it gets. Yours works as well as ours.

    A job calls it from one worker thread at a time, never from the event loop. What cannot be done raises
    `SinkError`, whose message says what to do. Equal calls have equal effects: after a crash a job applies
    some changes again.
    """

    @property
    def name(self) -> str:
        """The target as it may be shown and logged: no password."""
        ...

    @property
    def target_id(self) -> str:
        """Names this very target, at random, from its first `prepare` on: one that was deleted and made again has
        another. A job's own state belongs to it."""
        ...

    def open(self, *, to_read: bool = False) -> None:
        """Connect, and see that no other run writes to the target. Raises `TargetBusy` if one does.

        With *to_read* nothing is made, locked or changed; only `rows` is called then.
        """
        ...

    def prepare(self, tables: Sequence[Table]) -> None:
        """Make the tables that are missing, add the columns that are missing."""
        ...

    def refusal(self, table: Table, row: Row) -> str | None:
        """Why the target cannot hold *row*; None if it can. Refused rows are quarantined by the job."""
        ...

    def apply(
        self,
        changes: Sequence[Change],
        *,
        then: Callable[[Sequence[Written]], Sequence[Change]] | None = None,
    ) -> list[Written]:
        """Write all changes, in one transaction where there are transactions; on return they are durable.

        *then* is told what became of them and says what else belongs to the same transaction.

        A row whose key is there replaces the one that is there unless their `compared` values are equal and
        the old one is not marked as deleted; in a table that `keeps`, it changes nothing.
        """
        ...

    def mark_unseen(
        self,
        table: Table,
        seen: Iterable[str],
        *,
        deleted_at: datetime,
        most: float | None,
        then: Callable[[Unseen], Sequence[Change]] | None = None,
    ) -> Unseen:
        """Set `deleted_at` in the rows whose `id` is not among *seen* (an iterable of any length, to be read once;
        it asks nothing of the sink).

        Marks none if they are more than the share *most* of the rows that live. *then* is as in `apply`.
        """
        ...

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        """An iterator over all rows of a table, as dicts by column; empty if the table is not there."""
        ...

    def publish(self, table: Table) -> None:
        """A stream came to its end: let others see its table, where they do not see it already."""
        ...

    def close(self) -> None:
        """Let go of the target; may be called more than once, also after a failed `open`."""
        ...
