"""The file of a job's own state: one run at a time, one target and tenant, its version."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from limio_async._durable import made
from limio_async.core.wire import UNDECODABLE
from limio_async.errors import SinkError
from limio_async.sync_jobs.lock import Lock, locked

__all__ = ["StateFile"]

_VERSION = "3"
_KNOWN = {"1", "2", _VERSION}
"""Versions that are taken over."""
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
    refusal TEXT, walk_after TEXT
);
CREATE INDEX IF NOT EXISTS pages_of_walk ON pages (walk, seq);
CREATE TABLE IF NOT EXISTS seen (
    walk INTEGER, id TEXT, content BLOB, epoch INTEGER, spooled INTEGER, page INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (walk, id)
) WITHOUT ROWID;
COMMIT;
"""
_HINTS = {
    "full": "make room on the disk; nothing is lost, run again",
    "disk I/O error": "is the disk full, or a limit on the size of files reached? Nothing is lost, run again",
    "not a database": "name another file, or remove this one",
    "malformed": "remove it; nothing is lost, run again",
}


class StateFile:
    """The state of a job, in *file*: a SQLite database, removed when nothing is left in it.

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
        db.execute("PRAGMA cache_size = -4000")  # a larger one was no faster with half a million ids
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
            if meta.get("version") in {"1", "2"}:
                db.execute("ALTER TABLE pages ADD COLUMN walk_after TEXT")
                db.execute("ALTER TABLE seen ADD COLUMN page INTEGER NOT NULL DEFAULT 0")
            if {**meta, "version": ""} != {"target": target, "origin": origin, "version": ""}:
                for table in (
                    "walks",
                    "pages",
                    "seen",
                ):  # of another target or tenant: nothing of it can be used
                    db.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
            values = {"target": target, "origin": origin, "version": _VERSION}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

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


def _take_over_first(db: sqlite3.Connection) -> None:
    """Make a state of version 1 one of the present version."""
    if "refusal" not in {name for (name,) in db.execute("SELECT name FROM pragma_table_info('pages')")}:
        db.execute("ALTER TABLE pages ADD COLUMN refusal TEXT")
    for number, saved in db.execute("SELECT id, walk FROM walks").fetchall():
        walk: dict[str, Any] = msgspec.json.decode(saved)
        walk["ended"], walk["listed"] = walk.pop("listed", False), walk.pop("items", 0)
        db.execute("UPDATE walks SET walk = ? WHERE id = ?", (msgspec.json.encode(walk), number))
