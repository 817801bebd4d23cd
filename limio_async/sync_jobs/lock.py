"""A lock that ends with its process, however that ends."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from limio_async.errors import SinkError, TargetBusy

__all__ = ["Lock", "identity", "locked", "pinned"]

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
        with pinned(file) as there:
            if there is None:
                continue
            connection = sqlite3.connect(file, check_same_thread=False, timeout=0, isolation_level=None)
            try:
                connection.execute("BEGIN EXCLUSIVE")
                if identity(file) == there:  # it is what was opened, too
                    return Lock(file, connection)
            except sqlite3.Error as error:
                if "locked" in str(error):
                    connection.close()
                    raise TargetBusy(
                        f"another run is writing to the target (it holds {file}); wait for it, or stop it"
                    ) from None
                failures += 1  # a file that was removed meanwhile may read badly
                may_be_gone = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR
                if identity(file) == there and not (may_be_gone and failures < _TRIES):
                    connection.close()
                    hint = (
                        ""
                        if isinstance(error, sqlite3.OperationalError)
                        else "; limio did not make it: remove it"
                    )
                    raise SinkError(f"the lock of the target, {file}: {error}{hint}") from None
        connection.close()  # its last holder has removed it meanwhile


@contextmanager
def pinned(file: Path) -> Generator[tuple[int, int] | None]:
    """Tell which file has that name, if any. Within the block no other file gets its number.

    Linux gives the number of a file that was removed to the next one; elsewhere that does not happen.
    """
    if (only_names := getattr(os, "O_PATH", None)) is None:
        yield identity(file)
        return
    try:
        held = os.open(file, only_names)
    except FileNotFoundError:
        yield None
        return
    try:
        found = os.fstat(held)
        yield found.st_dev, found.st_ino
    finally:
        os.close(held)  # of a file that was opened for reading, this would end all locks of this process


def identity(file: Path) -> tuple[int, int] | None:
    """Return which file has that name now, if any."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
