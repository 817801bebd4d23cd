"""What was listed and is not in the target yet: a job's own state, a SQLite file beside the target.

A scroll is listed into it as fast as the server gives pages, so that no slow target holds it open. It also keeps
which items a walk has seen, and where a walk can go on. Losing it loses nothing: streams are then listed anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint
from limio_async.core.wire import UNDECODABLE
from limio_async.errors import SinkError
from limio_async.sync_jobs.lock import Lock, locked
from limio_async.sync_jobs.rows import child_key, summary_of
from limio_async.sync_jobs.times import is_old, newest

__all__ = ["Added", "SavedWalk", "Spool", "SpooledPage"]

_VERSION = "1"
_LONGEST_PAUSE = timedelta(days=1)
_TABLES = {"meta", "walks", "pages", "seen"}
_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS walks (
    id INTEGER PRIMARY KEY, stream TEXT UNIQUE, bound TEXT, walk BLOB, seen INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 1, forgotten INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS pages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, walk INTEGER, items BLOB, count INTEGER, head BLOB, parent TEXT
);
CREATE INDEX IF NOT EXISTS pages_of_walk ON pages (walk, seq);
CREATE TABLE IF NOT EXISTS seen (
    walk INTEGER, id TEXT, content BLOB, epoch INTEGER, spooled INTEGER, PRIMARY KEY (walk, id)
) WITHOUT ROWID;
COMMIT;
"""
_HINTS = {
    "full": "make room on the disk; nothing is lost, run again",
    "disk I/O error": "is the disk full, or a limit on the size of files reached? Nothing is lost, run again",
    "not a database": "name another file, or remove this one",
    "malformed": "remove it; nothing is lost, run again",
}
_Known = dict[str, tuple[bytes, int, int]]


class SavedWalk(msgspec.Struct, kw_only=True):
    """How far a stream's list was walked; saved with each page."""

    run: str
    started: datetime
    listed: bool = False
    """Whether the end was reached."""
    miscounted: str | None = None
    """Why the list is not whole though its end was reached; None where nothing tells so."""
    checkpoint: Checkpoint | None = None
    """Where the walk can go on; None where it has to begin at the top."""
    after: str = ""
    """The last object whose children were listed."""
    parent_run: str = ""
    """The run whose objects these are children of; empty where it did not list all of them."""
    expected: int | None = None
    commit_id: str | None = None
    newest: datetime | None = None
    """The latest change that an item told of and that lies before the walk began."""
    items: int = 0
    pages: int = 0
    received: int = 0
    requests: int = 0
    retries: int = 0
    restarts: int = 0
    passed: int = 0
    """Items that have not changed since the last run by their own account."""
    missing: int = 0
    """Objects whose children could not be had."""
    network_seconds: float = 0.0


class Added(msgspec.Struct, frozen=True):
    """What became of the items of a page."""

    spooled: int
    """Bytes that now wait for the target."""
    seen: int
    """Different items that the walk has seen until now."""


class SpooledPage(msgspec.Struct, frozen=True):
    """Items that wait for the target."""

    seq: int
    items: bytes
    """A JSON array of them."""
    head: Any
    parent: str | None


class Spool:
    """The state of a job, in *file*. Called from one thread at a time; only `seen_ids` opens a connection of its own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: sqlite3.Connection | None = None
        self._lock: Lock | None = None

    def lock(self) -> None:
        """See that no other run uses this state until `close`. Raises `TargetBusy` where one does."""
        with self._failures():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self._file.with_name(f"{self._file.name}.lock"))

    def open(self, *, target: str, origin: str) -> None:
        """Take up what is left of earlier runs, if it belongs to this target and tenant."""
        with self._failures():
            self._open = self._opened()
            self._bind(target, origin)

    def close(self) -> None:
        """Close the state and free the target, also where that raises; may be called more than once.

        A file in which nothing is left is removed.
        """
        opened, lock = self._open, self._lock
        self._open = self._lock = None
        try:
            if opened is not None:
                self._close(opened)
        finally:
            if lock is not None:
                lock.close()

    # --- one stream's walk

    def begin(self, stream: str, bound: str, fresh: SavedWalk) -> tuple[SavedWalk, int, int]:
        """The walk that was left unfinished, if it is still worth going on with, else *fresh*.

        *bound* says with which mode and arguments. Also: how many items it has seen, the last page whose
        items the target was said to have.
        """
        with self._transaction() as db:
            row = db.execute(
                "SELECT id, bound, walk, seen, forgotten FROM walks WHERE stream = ?", (stream,)
            ).fetchone()
            if row is not None and row[1] == bound:
                walk = msgspec.json.decode(row[2], type=SavedWalk)
                if fresh.started - walk.started < _LONGEST_PAUSE and walk.parent_run == fresh.parent_run:
                    return walk, row[3], row[4]
            if row is not None:
                self._drop(db, row[0])
            db.execute(
                "INSERT INTO walks (stream, bound, walk) VALUES (?, ?, ?)",
                (stream, bound, msgspec.json.encode(fresh)),
            )
            return fresh, 0, 0

    def last_page(self) -> int:
        """The number of the last page that was ever spooled."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pages'").fetchone()
        return row[0] if row else 0

    def add(
        self,
        stream: str,
        walk: SavedWalk,
        items: Sequence[bytes],
        *,
        head: Any = None,
        parent: str | None = None,
        since: datetime | None = None,
        by_creation: bool = False,
    ) -> Added:
        """Spool those of a page's items that were not spooled before as they are now, and save the walk.

        What says that it was not changed after *since* is only noted as seen. The walk's `newest` is that of the
        changes; with *by_creation*, of when items came.
        """
        with self._transaction() as db:
            number, seen, epoch = db.execute(
                "SELECT id, seen, epoch FROM walks WHERE stream = ?", (stream,)
            ).fetchone()
            summaries = {child_key(one.id, parent): (one, raw) for raw in items for one in (summary_of(raw),)}
            known = _known(db, number, list(summaries))
            notes: list[tuple[int, str, bytes, int, int]] = []
            waiting: list[bytes] = []
            for key, (summary, raw) in summaries.items():
                content, last, spooled = known.get(key, (b"", 0, 0))
                seen += last != epoch
                if content != summary.content:
                    spooled = int(not is_old(summary, since))
                    walk.passed += not spooled
                    if spooled:
                        waiting.append(raw)
                time = summary.created if by_creation else summary.changed
                walk.newest = newest(walk.newest, time, until=walk.started)
                notes.append((number, key, summary.content, epoch, spooled))
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", notes)
            size = 0
            if waiting:
                packed = b"[%b]" % b",".join(waiting)
                size = len(packed)
                db.execute(
                    "INSERT INTO pages (walk, items, count, head, parent) VALUES (?, ?, ?, ?, ?)",
                    (number, packed, len(waiting), msgspec.json.encode(head), parent),
                )
            db.execute(
                "UPDATE walks SET seen = ?, walk = ? WHERE id = ?", (seen, msgspec.json.encode(walk), number)
            )
        return Added(size, seen)

    def save(self, stream: str, walk: SavedWalk) -> None:
        """Save how far the walk is."""
        with self._transaction() as db:
            db.execute("UPDATE walks SET walk = ? WHERE stream = ?", (msgspec.json.encode(walk), stream))

    def restart(self, stream: str, walk: SavedWalk) -> None:
        """The walk begins again at the top: what it has seen until now counts only when it comes again."""
        with self._transaction() as db:
            db.execute(
                "UPDATE walks SET walk = ?, seen = 0, epoch = epoch + 1 WHERE stream = ?",
                (msgspec.json.encode(walk), stream),
            )

    def next_batch(self, stream: str, after: int, *, items: int, size: int) -> list[SpooledPage]:
        """The pages after page *after*, about *items* items and *size* bytes of them, at least one page if there is one."""
        with self._failures():
            rows = self._db.execute(
                "SELECT seq, items, head, parent, count FROM pages WHERE walk = (SELECT id FROM walks WHERE stream = ?)"
                " AND seq > ? ORDER BY seq",
                (stream, after),
            )
            batch: list[SpooledPage] = []
            with closing(rows):
                for seq, packed, head, parent, count in rows:
                    items, size = items - count, size - len(packed)
                    if batch and (items < 0 or size < 0):
                        break
                    batch.append(SpooledPage(seq, packed, msgspec.json.decode(head), parent))
        return batch

    def unsee(self, stream: str, gone: Sequence[str]) -> None:
        """These ids turned out not to be there any more."""
        with self._transaction() as db:
            number, epoch = db.execute("SELECT id, epoch FROM walks WHERE stream = ?", (stream,)).fetchone()
            unseen = db.executemany(
                "UPDATE seen SET epoch = 0 WHERE walk = ? AND id = ? AND epoch = ?",
                [(number, one, epoch) for one in gone],
            ).rowcount
            db.execute("UPDATE walks SET seen = seen - ? WHERE id = ?", (unseen, number))

    def forget(self, stream: str, upto: int) -> None:
        """The target has the items up to this page."""
        with self._transaction() as db:
            (number,) = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            db.execute("DELETE FROM pages WHERE walk = ? AND seq <= ?", (number, upto))
            db.execute("UPDATE walks SET forgotten = ? WHERE id = ?", (upto, number))

    def seen(self, stream: str) -> int:
        """How many different items the walk has seen since it last began at the top."""
        with self._failures():
            row = self._db.execute("SELECT seen FROM walks WHERE stream = ?", (stream,)).fetchone()
            return row[0] if row else 0

    def seen_ids(self, stream: str, *, changed: bool = False) -> Iterator[str]:
        """The ids that the walk has seen since it last began at the top, over a connection of its own.

        Only those that it spooled if *changed*.
        """
        with self._failures(), closing(sqlite3.connect(self._file, check_same_thread=False)) as own:
            for (one,) in own.execute(
                "SELECT seen.id FROM seen JOIN walks ON walks.id = seen.walk AND walks.epoch = seen.epoch"
                " WHERE walks.stream = ? AND seen.spooled >= ?",
                (stream, int(changed)),
            ):
                yield one

    def objects(self, stream: str, after: str, *, changed: bool, most: int) -> list[str]:
        """The next *most* ids after *after*, in their order, that a walk has seen; only those that it spooled if *changed*."""
        with self._failures():
            return [
                one
                for (one,) in self._db.execute(
                    "SELECT seen.id FROM seen JOIN walks ON walks.id = seen.walk AND walks.epoch = seen.epoch"
                    " WHERE walks.stream = ? AND seen.id > ? AND seen.spooled >= ? ORDER BY seen.id LIMIT ?",
                    (stream, after, int(changed), most),
                )
            ]

    def drop(self, stream: str) -> None:
        """The run is done with this stream."""
        with self._transaction() as db:
            row = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            if row is not None:
                self._drop(db, row[0])

    # --- the file

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._open is not None  # noqa: S101  # used between `open` and `close`
        return self._open

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
        try:
            self._take_up(db)
        except BaseException:
            db.close()
            raise
        return db

    def _close(self, db: sqlite3.Connection) -> None:
        with self._failures():
            with closing(db):
                is_empty = not db.execute("SELECT 1 FROM walks").fetchone()
            if is_empty:
                self._file.unlink(missing_ok=True)

    def _take_up(self, db: sqlite3.Connection) -> None:
        """See that it is ours, and make what is missing."""
        found = db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        there = {name for (name,) in found}
        if there and not there >= _TABLES:
            raise SinkError(
                f"the state of the job, {self._file}: a database that limio did not make; name another file"
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # page numbers tell what a power failure has taken back
        db.execute("PRAGMA cache_size = -16000")
        db.executescript(_SCHEMA)

    def _bind(self, target: str, origin: str) -> None:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        values = {"target": target, "origin": origin, "version": _VERSION}
        if meta == values:
            return
        with self._transaction() as db:  # of another target, tenant or release: nothing of it can be used
            for table in ("walks", "pages", "seen", "meta"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
            db.executemany("INSERT INTO meta VALUES (?, ?)", list(values.items()))

    @staticmethod
    def _drop(db: sqlite3.Connection, number: int) -> None:
        for table in ("pages", "seen"):
            db.execute(f"DELETE FROM {table} WHERE walk = ?", (number,))  # noqa: S608  # our own names
        db.execute("DELETE FROM walks WHERE id = ?", (number,))

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._failures():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, *UNDECODABLE) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            hint = next((f" ({hint})" for known, hint in _HINTS.items() if known in reason), "")
            raise SinkError(f"the state of the job, {self._file}: {reason}{hint}") from None


def _known(db: sqlite3.Connection, walk: int, ids: list[str]) -> _Known:
    found = db.execute(
        "SELECT seen.id, content, epoch, spooled FROM json_each(?) AS wanted CROSS JOIN seen"
        " ON seen.walk = ? AND seen.id = wanted.value",
        (msgspec.json.encode(ids).decode(), walk),
    )
    return {one: (content, epoch, spooled) for one, content, epoch, spooled in found}
