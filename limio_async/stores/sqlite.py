"""A store that is a SQLite file; the standard library's driver is all it needs."""

from __future__ import annotations

import errno
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from limio_async._durable import made, synced
from limio_async.errors import JobError, StoreAway, StoreError, TargetBusy
from limio_async.stores.recorded import Recorded
from limio_async.stores.store import Plan, Rows, Store, Tx, driven
from limio_async.sync_jobs.lock import Lock, identity, locked, pinned
from limio_async.sync_jobs.sinks.urls import file_of

__all__ = ["SqliteStore"]

T = TypeVar("T")

_WAIT = 10.0  # seconds for another program to end its transaction
_MOMENT = 0.01
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_NO_ROOM_BESIDE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_SETTINGS = (
    "synchronous = FULL",
    "secure_delete = ON",
    "journal_size_limit = 16777216",
    "wal_autocheckpoint = 4000",  # pages: as long as the journal may stay; each checkpoint waits for the disk twice
)
_DOES = {"outbox": "is sending from", "inbox": "handles the events of"}
_HINTS = {
    "not a database": "choose another file, or move this one away",
    "unable to open": "is there a directory in its place, or may you not write there?",
    "readonly": "you may not write to it: give yourself the right, or choose another file",
    "full": "make room on the disk; what was stored before is there",
    "disk I/O error": "is the disk full? What was stored before is there",
}


class SqliteStore(Store):
    """A file, `FILE.outbox` beside it, which tells of a backup that was put back, and a lock for the one that works on it."""

    begin: ClassVar[str] = "BEGIN IMMEDIATE"
    to_read: ClassVar[str] = "BEGIN"
    locking: ClassVar[str] = ""
    errors: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError, JobError)
    keyed = "INTEGER PRIMARY KEY AUTOINCREMENT"
    now = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"
    has_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    time, cast_error = "TEXT", "digest = excluded.digest"
    epoch = "((julianday('now') - 2440587.5) * 86400.0)"
    guard = (
        "CREATE TRIGGER {0}_reused BEFORE UPDATE OF digest ON {0} WHEN NEW.digest <> OLD.digest"
        " BEGIN SELECT RAISE(ROLLBACK, 'KeyReused: another order is stored under this key'); END"
    )

    def __init__(self, url: str, use: str = "outbox") -> None:
        super().__init__(url)
        self._use = use
        self._file, self._mode = file_of(url, "sqlite")
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._lock: Lock | None = None
        self._owner: str | None = None
        self._next: str | None = None

    def tx(self) -> Tx:
        """Return what notes statements, and executes them when it is committed."""
        return Recorded(self)

    async def within(self, tx: Any, plan: Plan[T]) -> T:
        """Follow *plan* in the transaction of a `sqlite3.Connection`, which is the caller's to commit."""
        if not isinstance(tx, sqlite3.Connection):
            raise ValueError(f"tx is a sqlite3.Connection to {self._file}, not a {type(tx).__name__}")  # noqa: TRY004
        if not tx.in_transaction and (tx.isolation_level is None or getattr(tx, "autocommit", -1) is True):
            raise ValueError("tx is not in a transaction: BEGIN one, which you commit")
        cursor = tx.cursor()
        cursor.row_factory = None
        return driven(plan, lambda statement, values: cursor.execute(statement, values).fetchall())

    def ask(self, statement: str, *values: Any) -> Rows:
        """Execute a statement and return its rows."""
        assert self._db is not None  # noqa: S101  # in a transaction
        return self._db.execute(statement, values).fetchall()

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement and return how many rows it concerned."""
        assert self._db is not None  # noqa: S101  # in a transaction
        return self._db.execute(statement, values).rowcount

    def execute(self, statement: str, values: Any) -> None:
        """Execute a statement of the user's, with values as SQLite marks them."""
        assert self._db is not None  # noqa: S101  # in a transaction
        self._db.execute(statement, values or ())

    def own(self, owner: str | None) -> None:
        """Hold the lock beside the file: one process sends, one handles."""
        if self._lock is not None:
            self._lock.close()
        self._owner = self._lock = None
        if owner is not None:
            self._lock, self._owner = locked(self._neighbour(f"{self._use}.lock")), owner

    def gone(self, owner: str) -> bool:
        """Return whether *owner* is not this process, which holds the lock."""
        return self._lock is not None and owner != self._owner

    def born(self, table: str) -> str:
        """Return nothing: rows are told apart by what is counted beside the file."""
        return "NULL"

    def generation(self, known: str | None, table: str, *, advance: bool = False) -> tuple[str, bool]:
        """Count in the file and beside it, there later: a file that counts less than what lies beside it was put back."""
        mine, _, count = (known or "").partition("/")
        other = known is not None and self._is_other(known)
        if known is None or other:
            mine, count = secrets.token_hex(8), "0"
        now = f"{mine}/{int(count) + advance:020d}"
        if known is None or other:
            self._count(now)  # at once: whoever opens the file next looks there first
        elif now != known:
            self._next = now
        return now, other

    def goes_on(self, known: str | None, table: str) -> bool:
        """Return whether no backup was put back, as far as reading tells: a sender may count on meanwhile."""
        return known is not None and not self._is_other(known)

    def scrub(self) -> None:
        """Move the journal into the file, which overwrites what was emptied."""
        if self._db is not None and self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise StoreAway(
                f"{self.name}: another program is reading; its journal still holds what was erased"
            )

    def _neighbour(self, suffix: str) -> Path:
        file = self._file.resolve()  # one file, by whatever name it is opened
        return file.with_name(f"{file.name}.{suffix}")

    def _is_other(self, known: str) -> bool:
        mine, _, count = known.partition("/")
        beside, _, counted = self._beside().partition("/")
        return beside != mine or int(counted) > int(count)

    def _beside(self) -> str:
        try:
            text = self._neighbour("outbox").read_text()
        except (OSError, UnicodeError):
            return ""
        return text if text.partition("/")[2].isdecimal() else ""

    def _committed(self) -> None:
        if self._next is not None:
            self._count(self._next)
            self._next = None

    def _count(self, now: str) -> None:
        beside = self._neighbour("outbox")
        made(beside, self._mode)
        with beside.open("r+b") as stream:
            stream.write(now.encode())  # always as long: it is the old one or the new one
            synced(stream)

    def _open(self) -> None:
        if self._db is not None:
            self._is_there(self._opened)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        made(self._file, self._mode)  # its journal gets the same mode
        place = f"file:{quote(str(self._file.absolute()))}?mode=rw"
        with pinned(self._file) as there:
            db = sqlite3.connect(
                place, uri=True, timeout=_WAIT, check_same_thread=False, isolation_level=None
            )
            try:
                ((mode,),) = _patiently(db, "PRAGMA journal_mode = WAL")
                if mode != "wal":
                    raise StoreError(f"{self.name}: this file system takes no journal; choose another place")  # noqa: TRY301
                for setting in _SETTINGS:
                    db.execute(f"PRAGMA {setting}")
                self._is_there(there)
            except BaseException:
                db.close()
                raise
        self._db, self._opened = db, there

    def _is_there(self, opened: tuple[int, int] | None) -> None:
        if identity(self._file) != opened:
            raise StoreError(
                f"{self.name}: the file was moved away or removed while it was open; start again"
            )

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
        self.own(None)

    def _undo(self) -> None:
        self._next = None
        with suppress(sqlite3.Error):
            if self._db is not None and self._db.in_transaction:
                self._db.rollback()

    def _failure(self, error: Exception) -> StoreError:
        if isinstance(error, TargetBusy):
            return StoreAway(
                f"{self.name}: another process {_DOES[self._use]} this file; wait for it, or stop it"
            )
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            return StoreAway(f"{self.name}: another program is writing to it; wait for it, or stop it")
        hint = next((f" ({hint})" for known, hint in _HINTS.items() if known in reason), "")
        passes = code in _NO_ROOM or (isinstance(error, OSError) and error.errno in _NO_ROOM_BESIDE)
        return (StoreAway if passes else StoreError)(f"{self.name}: {reason}{hint}")


def _patiently(db: sqlite3.Connection, statement: str) -> Rows:
    """Execute what SQLite lets wait for nobody."""
    ends = monotonic() + _WAIT
    while True:
        try:
            return db.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > ends:
                raise
        sleep(_MOMENT)
