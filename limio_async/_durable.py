"""Files that outlive a power failure: replaced as a whole, removed for good. Imports nothing of the package itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import BinaryIO

__all__ = ["PRIVATE", "made", "moved", "removed", "replacing", "synced"]

PRIVATE = 0o600
"""The mode of files that hold personal data."""
_CANNOT = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP}


def made(file: Path, mode: int = PRIVATE) -> None:
    """Make *file*, empty and with *mode* whatever the umask, unless there is one: that keeps its mode."""
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        file.chmod(mode)


@contextmanager
def replacing(
    file: Path, *, part: Path, private: bool = False, mode: int | None = None
) -> Generator[BinaryIO]:
    """Yield *part* to write to, and move it into the place of *file* when the block ends.

    A power failure at any moment leaves the old file or the new one, whole; afterwards the new one. Where writing
    fails, the old one stays and *part* is removed; where only the directory cannot be synced, the new one is there, and
    the error is raised. A *private* file is for its owner only, and *part* is a new one. With *mode*, a new file gets that
    mode whatever the umask, and a file that is replaced keeps its own.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if private else os.O_TRUNC) | getattr(os, "O_BINARY", 0)
    opened = os.open(part, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(opened, "wb") as stream:
            if mode is not None:
                part.chmod(S_IMODE(file.stat().st_mode) if file.exists() else mode)
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
