"""A World's state in a SQLite file, which one process holds at a time."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from limio_async.cli.failures import Code, Failure, tell
from limio_async.core.wire import UNDECODABLE
from limio_async.emulator import World

__all__ = ["Kept"]

_VERSION = 1
"""Of the file; 0 is of release 0.1, which holds the same."""
_TABLE = "CREATE TABLE IF NOT EXISTS world (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL)"
_WRITE = "INSERT INTO world VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"


class Kept:
    """Restores *world* from *file* if there is something in it, and writes it back."""

    def __init__(self, world: World, file: Path) -> None:
        self._world = world
        self._file = file
        try:
            self._connection = sqlite3.connect(file, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise Failure(f"--state {file}: {_reason(error)}") from None
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._check_version()
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute(_TABLE)
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
            self._connection.execute("COMMIT")  # the lock stays until the connection is closed
            row = self._connection.execute("SELECT state FROM world").fetchone()
        except sqlite3.Error as error:
            self._connection.close()
            raise Failure(f"--state {file}: {_reason(error)}") from None
        if row is not None:
            self._restore(row[0])
        self._saved = self._changes()

    def save(self) -> None:
        """Write the state."""
        try:
            self._connection.execute(_WRITE, (msgspec.json.encode(self._world.snapshot()),))
        except sqlite3.Error as error:
            raise Failure(f"--state {self._file}: {_reason(error)}", Code.API) from None
        self._saved = self._changes()

    def save_if_changed(self) -> None:
        """Write the state if more than the time differs from what was written last."""
        if self._changes() != self._saved:
            try:
                self.save()
            except Failure as failure:  # a full disk may have room later
                tell(f"warning: {failure}")

    def close(self) -> None:
        """Write the state and let go of the file."""
        try:
            self.save()
        finally:
            self._connection.close()

    def _check_version(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            self._connection.close()
            raise Failure(
                f"--state {self._file}: made by a newer release of limio_async (version {version}, this one knows"
                f" {_VERSION}): update limio_async, or name another file"
            )

    def _restore(self, state: bytes) -> None:
        try:
            self._world.restore(msgspec.json.decode(state, type=dict[str, Any]))
        except (*UNDECODABLE, KeyError, TypeError, ValueError) as error:
            self._connection.close()
            raise Failure(
                f"--state {self._file}: {error}; use the same sizes and seed, or another file"
            ) from None

    def _changes(self) -> bytes:
        state = self._world.snapshot()
        state.pop("clock", None)
        return msgspec.json.encode(state)


def _reason(error: sqlite3.Error) -> str:
    match str(error):
        case "database is locked":
            return "another process uses it"
        case "file is not a database" | "database disk image is malformed":
            return "not a state file"
        case said:
            return said
