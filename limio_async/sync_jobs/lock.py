"""A lock that ends with its process, however that ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from limio_async.errors import TargetBusy

__all__ = ["locked"]


def locked(file: Path) -> sqlite3.Connection:
    """Hold *file*, an empty one made for it, until the connection is closed. Raises `TargetBusy` where another run does."""
    lock = sqlite3.connect(file, check_same_thread=False, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" not in str(error):
            raise
        raise TargetBusy(
            f"another run is writing to the target (it holds {file}); wait for it, or stop it"
        ) from None
    return lock
