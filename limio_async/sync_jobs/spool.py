"""What was listed and is not in the target yet: a job's own state, a SQLite file beside the target.

A scroll is listed into it as fast as the server gives pages, so that no slow target holds it open. It also keeps
which items a walk has seen, and where a walk can go on. Losing it loses nothing: streams are then listed anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from limio_async._durable import made
from limio_async.core.listing.checkpoint import Checkpoint
from limio_async.core.wire import UNDECODABLE
from limio_async.errors import SinkError
from limio_async.sync_jobs.events import Tally
from limio_async.sync_jobs.lock import Lock, locked
from limio_async.sync_jobs.packing import pack
from limio_async.sync_jobs.rows import child_key, summary_of
from limio_async.sync_jobs.times import is_old, newest

__all__ = ["Added", "SavedWalk", "Spool", "SpooledPage"]

_VERSION = "2"
_KNOWN = {"1", _VERSION}
"""Versions that are taken over."""
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
    seq INTEGER PRIMARY KEY AUTOINCREMENT, walk INTEGER, items BLOB, count INTEGER, head BLOB, parent TEXT,
    refusal TEXT
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
_DELETED = b"deleted"  # no digest is as short
_Known = dict[str, tuple[bytes, int, int]]


class SavedWalk(Tally, kw_only=True):
    """How far a stream's list was walked; saved with each page."""

    run: str
    started: datetime
    ended: bool = False
    """Whether the end was reached."""
    miscounted: str | None = None
    """Why the list is not whole though its end was reached; None where nothing tells so."""
    checkpoint: Checkpoint | None = None
    """Where the walk can be resumed; None where it has to begin at the top."""
    after: str = ""
    """The last object whose children were listed."""
    parent_run: str = ""
    """The run whose objects these are children of; empty where it did not list all of them."""
    newest: datetime | None = None
    """The latest change that an item told of and that lies before the walk began."""

    def count_page(self, items: Sequence[bytes], *, pages: int = 1) -> None:
        """Count what came in a page, or in several."""
        self.pages += pages
        self.listed += len(items)
        self.received += sum(map(len, items))


class Added(msgspec.Struct, frozen=True):
    """What became of the items of a page."""

    spooled: int
    """Bytes that now wait for the target."""
    seen: int
    """Different items that the walk has seen until now."""


class SpooledPage(msgspec.Struct, frozen=True):
    """Items that wait for the target."""

    seq: int
    packed: bytes
    head: Any
    parent: str | None
    refusal: str | None = None
    """Why the children of `parent` could not be had; None where they could."""


class Spool:
    """The state of a job, in *file*. Called from one thread at a time; only `seen_ids` opens a connection of its own.

    It *stays* where it also tells that the target has answered before.
    """

    def __init__(self, file: Path, *, stays: bool = False) -> None:
        self._file = file
        self._stays = stays
        self._open: sqlite3.Connection | None = None
        self._lock: Lock | None = None

    @property
    def is_there(self) -> bool:
        """Whether an earlier run has left it."""
        return self._file.is_file()

    def lock(self) -> None:
        """See that no other run uses this state until `close`. Raises `TargetBusy` where one does."""
        with self._failures():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self._file.with_name(f"{self._file.name}.lock"))
            if self._file.exists():  # a newer one is refused before the target is touched
                with closing(sqlite3.connect(self._file)) as db:
                    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                        found = db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
                        self._check_version(*(found or (_VERSION,)))

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
        refusal: str | None = None,
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
            told = ((summary_of(raw), raw) for raw in items)
            summaries = {child_key(one.id, parent): (one, raw) for one, raw in told}
            known = _known(db, number, list(summaries))
            notes: list[tuple[int, str, bytes, int, int]] = []
            waiting: list[bytes] = []
            for key, (summary, raw) in summaries.items():
                content, last, spooled = known.get(key, (b"", 0, 0))
                seen += last != epoch
                if content != summary.content:
                    spooled = int(content == _DELETED or not is_old(summary, since))
                    walk.passed += not spooled
                    if spooled:
                        waiting.append(raw)
                time = summary.created if by_creation else summary.changed
                walk.newest = newest(walk.newest, time, until=walk.started)
                notes.append((number, key, summary.content, epoch, spooled))
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", notes)
            size = 0
            if waiting or refusal:
                packed = pack(waiting)
                size = len(packed)
                db.execute(
                    "INSERT INTO pages (walk, items, count, head, parent, refusal) VALUES (?, ?, ?, ?, ?, ?)",
                    (number, packed, len(waiting), msgspec.json.encode(head), parent, refusal),
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
                "SELECT seq, items, head, parent, refusal, count FROM pages WHERE walk = (SELECT id FROM walks WHERE stream = ?)"
                " AND seq > ? ORDER BY seq",
                (stream, after),
            )
            batch: list[SpooledPage] = []
            with closing(rows):
                for seq, packed, head, parent, refusal, count in rows:
                    items, size = items - count, size - len(packed)
                    if batch and (items < 0 or size < 0):
                        break
                    batch.append(SpooledPage(seq, packed, msgspec.json.decode(head), parent, refusal))
        return batch

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

    def expect(self, stream: str, deleted: Iterable[str]) -> None:
        """Spool these ids whenever they come: the target has their rows marked as deleted."""
        with self._transaction() as db:
            (number,) = db.execute("SELECT id FROM walks WHERE stream = ?", (stream,)).fetchone()
            notes = ((number, one, _DELETED, 0, 0) for one in deleted)
            db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?)", notes)

    def known(self, stream: str, ids: Sequence[str], *, changed: bool) -> set[str]:
        """Return those of *ids* that the walk has seen since it last began at the top; only those that it spooled if *changed*."""
        with self._failures():
            row = self._db.execute("SELECT id, epoch FROM walks WHERE stream = ?", (stream,)).fetchone()
            found = _known(self._db, row[0], [*ids]) if row else {}
        return {
            one for one, (_, epoch, spooled) in found.items() if epoch == row[1] and spooled >= int(changed)
        }

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
        made(self._file)
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
            if is_empty and not self._stays:
                self._file.unlink(missing_ok=True)

    def _take_up(self, db: sqlite3.Connection) -> None:
        """See that it is ours, and make what is missing."""
        found = db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        there = {name for (name,) in found}
        if there and not there >= _TABLES:
            raise SinkError(
                f"the state of the job, {self._file}: a database that limio did not make; name another file"
            )
        if there:
            self._check_version(dict(db.execute("SELECT key, value FROM meta")).get("version", _VERSION))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # page numbers tell what a power failure has taken back
        db.execute("PRAGMA cache_size = -16000")
        db.executescript(_SCHEMA)

    def _check_version(self, version: str) -> None:
        if version not in _KNOWN:
            raise SinkError(
                f"the state of the job, {self._file}: made by a newer release of limio_async (version {version}, this"
                f" one knows {_VERSION}): update limio_async, or remove the file; nothing is lost, streams are listed again"
            )

    def _bind(self, target: str, origin: str) -> None:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        with self._transaction() as db:
            if meta.get("version") == "1":
                _take_over_first(db)
            if {**meta, "version": ""} != {"target": target, "origin": origin, "version": ""}:
                for table in (
                    "walks",
                    "pages",
                    "seen",
                ):  # of another target or tenant: nothing of it can be used
                    db.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
            values = {"target": target, "origin": origin, "version": _VERSION}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

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


def _take_over_first(db: sqlite3.Connection) -> None:
    """Make a state of version 1 one of the present version."""
    if "refusal" not in {name for (name,) in db.execute("SELECT name FROM pragma_table_info('pages')")}:
        db.execute("ALTER TABLE pages ADD COLUMN refusal TEXT")
    for number, saved in db.execute("SELECT id, walk FROM walks").fetchall():
        walk: dict[str, Any] = msgspec.json.decode(saved)
        walk["ended"], walk["listed"] = walk.pop("listed", False), walk.pop("items", 0)
        db.execute("UPDATE walks SET walk = ? WHERE id = ?", (msgspec.json.encode(walk), number))
