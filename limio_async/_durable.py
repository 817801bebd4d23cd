"""Files that outlive a power failure: replaced as a whole, removed for good. Imports nothing of the package itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["moved", "removed", "replacing", "synced"]

_CANNOT = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP}


@contextmanager
def replacing(file: Path, *, part: Path, private: bool = False) -> Generator[BinaryIO]:
    """Yield *part* to write to, and move it into the place of *file* when the block ends.

    A power failure at any moment leaves the old file or the new one, whole; afterwards the new one. Where writing
    fails, the old one stays and *part* is removed; where only the directory cannot be synced, the new one is there, and
    the error is raised. A *private* file is for its owner only, and *part* is a new one.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if private else os.O_TRUNC) | getattr(os, "O_BINARY", 0)
    opened = os.open(part, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(opened, "wb") as stream:
            yield stream
            synced(stream)
        moved(part, file)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def synced(stream: BinaryIO) -> None:
    """Return when all that was written to *stream* is on the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def moved(part: Path, file: Path) -> None:
    """Move *part*, which is synced, into the place of *file*, and return when that is on the disk."""
    part.replace(file)
    _sync_directory(file.parent)


def removed(file: Path) -> None:
    """Remove *file* if it is there, and return when that is on the disk."""
    with suppress(FileNotFoundError):
        file.unlink()
        _sync_directory(file.parent)


def _sync_directory(directory: Path) -> None:
    """Sync what *directory* lists, where the system can: Windows and some network disks cannot."""
    try:
        opened = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
