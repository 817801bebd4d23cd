"""A lock that ends with its process, however that ends."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from limio_async.errors import SinkError, TargetBusy

__all__ = ["Lock", "identity", "locked"]

_TRIES = 50


class Lock:
    """Holds *file* until it is closed."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self._file = file
        self._connection = connection

    def close(self) -> None:
        """Let go, and leave nothing."""
        with suppress(OSError):  # Windows removes no file that is open
            self._file.unlink()
        self._connection.close()


def locked(file: Path) -> Lock:
    """Hold *file*, an empty one made for it. Raises `TargetBusy` where another run does, and `SinkError` if it is no lock."""
    failures = 0
    while True:
        file.touch()
        opened = identity(file)
        connection = sqlite3.connect(file, check_same_thread=False, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            if identity(file) == opened:  # asked while it is open: no other file can have its number
                return Lock(file, connection)
        except sqlite3.Error as error:
            if "locked" in str(error):
                connection.close()
                raise TargetBusy(
                    f"another run is writing to the target (it holds {file}); wait for it, or stop it"
                ) from None
            failures += (
                1  # a file that was removed meanwhile may read badly, and the next may have its number
            )
            may_be_gone = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR
            if identity(file) == opened and not (may_be_gone and failures < _TRIES):
                connection.close()
                hint = (
                    ""
                    if isinstance(error, sqlite3.OperationalError)
                    else "; limio did not make it: remove it"
                )
                raise SinkError(f"the lock of the target, {file}: {error}{hint}") from None
        connection.close()  # its last holder has removed it meanwhile


def identity(file: Path) -> tuple[int, int] | None:
    """Return which file has that name now, if any."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
