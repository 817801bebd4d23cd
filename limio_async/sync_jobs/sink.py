"""What a sink keeps: tables, their columns and rows, and what became of rows that were handed to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

__all__ = [
    "DELETED",
    "STALE",
    "Change",
    "Column",
    "Compares",
    "Condition",
    "KeepsFiles",
    "Kind",
    "Prepared",
    "Refused",
    "Row",
    "Sink",
    "Table",
    "Unseen",
    "Written",
]

DELETED = "deleted_at"
"""The column that says since when a row is gone from the tenant."""
STALE = "stale_since"
"""The column that says since when a row could not be refreshed."""

Kind = Literal["text", "number", "integer", "boolean", "time", "json", "bytes"]
"""What a column holds, in Python: `str`, `float`, `int`, `bool`, an aware `datetime` in UTC, `bytes` of JSON text,
`bytes`; each may be None."""

Row = tuple[Any, ...]
"""The values of a row, in the order of its table's columns."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    kind: Kind = "text"


class Table(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """A table of a target; its name and those of its columns are plain lower-case identifiers."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("id",)
    """The columns that tell rows apart; never None."""
    compared: str | None = None
    """The column that tells whether a row has changed; None where rows are always written anew."""
    keeps: bool = False
    """Whether a row that is there stays as it is."""
    indexed: tuple[str, ...] = ()
    """Columns to find rows by, beside the key."""
    published: bool = True
    """Whether a sink of files makes a file of it."""

    def at(self, name: str) -> int:
        """Where in a row the column *name* stands."""
        return next(place for place, column in enumerate(self.columns) if column.name == name)

    def has(self, name: str) -> bool:
        """Whether there is a column *name*."""
        return any(column.name == name for column in self.columns)


class Change(msgspec.Struct, frozen=True):
    """Rows to write to a table; of rows with the same key, the last counts."""

    table: Table
    rows: Sequence[Row]
    stale: Sequence[str] = ()
    """Ids of rows that could not be refreshed. Before *rows* are written, they get *at* as their `stale_since`, unless they have
    one, and lose their `deleted_at`."""
    at: datetime | None = None


class Refused(msgspec.Struct, frozen=True):
    """A row that the target did not take."""

    row: Row
    reason: str
    """Names the kind of error, the table, the column and the constraint, never what the row holds."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """How a target holds a table when a job begins."""

    has_rows: bool = True
    """False where it was made just now, or is empty: what earlier runs remember of it holds no more."""
    salt: str = ""
    """Part of every row's hash. Another one is drawn when the rows that are there must be written anew: a column
    was added to them, or the caller asked for it."""


class Condition(msgspec.Struct, frozen=True):
    """What rows must have in one column. `set` means any value, `in` one of several; NULL fulfils none."""

    column: str
    is_: Literal["=", ">=", "<", "in", "set"]
    value: Any = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one change; rows of one key count once."""

    inserted: int = 0
    updated: int = 0
    """Replaced, those included that had been marked as deleted or stale."""
    unchanged: int = 0
    refused: tuple[Refused, ...] = ()
    """Rows that the target did not take; all others are written."""


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a table a complete walk did not see."""

    live: int
    """Rows not marked as deleted before."""
    unseen: int
    """Those of them that were not seen."""
    deleted: int
    """Those that are marked as deleted now; none where they were too many."""
    kept: int = 0
    """Those that were to be marked, but the target did not do it: a trigger of the user, for instance."""


@runtime_checkable
class KeepsFiles(Protocol):
    """A sink of files, which may have left others behind."""

    def stale_files(self) -> Sequence[str]:
        """Return the files that no run updates any more."""
        ...

    def remove_stale_files(self) -> None:
        """Remove them."""
        ...


@runtime_checkable
class Compares(Protocol):
    """A sink with transactions, which tells what it holds. A job then hands pages over as they come.

    What has not changed is neither decoded nor written, and how far the walk is belongs to the transaction of what was
    walked.
    """

    @property
    def batch_bytes(self) -> int:
        """Bytes of items that it likes to be given at once, about."""
        ...

    def held(self, table: Table, ids: Sequence[str]) -> Collection[tuple[str, str]]:
        """Return `id` and `compared` of those rows of *ids* that are there, marked neither as deleted nor as stale."""
        ...


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

    def prepare(self, tables: Sequence[Table], *, rewrite: Collection[str] = ()) -> Mapping[str, Prepared]:
        """Make the tables that are missing and add the columns that are missing. Return how each table is held, by name.

        *rewrite* names tables whose rows shall count as changed: each gets another salt.
        """
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

        *then* is told what became of them and says what else belongs to the same transaction. It may be called again,
        where the transaction has to be repeated.

        A row whose key is there replaces the one that is there unless their `compared` values are equal and
        the old one is marked neither as deleted nor as stale; in a table that `keeps`, it changes nothing. A row that
        the target does not take, by a constraint for instance, keeps out no other.
        """
        ...

    def mark_unseen(
        self,
        table: Table,
        seen: Iterable[str],
        *,
        deleted_at: datetime,
        allows: Callable[[int, int], bool],
        then: Callable[[Unseen], Sequence[Change]] | None = None,
    ) -> Unseen:
        """Set `deleted_at` in the rows whose `id` is not among *seen* (an iterable of any length, to be read once;
        it asks nothing of the sink).

        Marks none where *allows*, given the number of live rows and of unseen ones, says no. *then* is as in `apply`.
        """
        ...

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        """Iterate over the rows of a table that meet all conditions, as dicts by column; empty if the table is not there."""
        ...

    def prune(self, table: Table, where: Sequence[Condition]) -> int:
        """Remove the rows of a table that meet all conditions, and return how many there were."""
        ...

    def publish(self, table: Table) -> None:
        """A stream came to its end: let others see its table, where they do not see it already."""
        ...

    def cancel(self, *, only_blocked: bool = False) -> None:
        """Make a call that is under way in the worker's thread end soon. Called from any thread; never blocks.

        With *only_blocked*, end only what waits for a lock or a connection, now or later; what is being written goes on.
        """
        ...

    def close(self) -> None:
        """Let go of the target; may be called more than once, also after a failed `open`."""
        ...
