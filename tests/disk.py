"""What a program asks of the disk, in order: what a power failure would leave is what was synced before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest


class Disk:
    """Notes what is synced, moved and removed. A file counts as synced with the bytes that were in it then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.story: list[tuple[str, str | int]] = []
        self._fsync, self._replace, self._unlink = os.fsync, Path.replace, Path.unlink
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(Path, "replace", lambda part, file: self.replace(part, file))
        monkeypatch.setattr(Path, "unlink", lambda file, missing_ok=False: self.unlink(file, missing_ok))

    def fsync(self, number: int) -> None:
        found = os.fstat(number)
        is_directory = stat.S_ISDIR(found.st_mode)
        self.story.append(("directory", found.st_ino) if is_directory else ("file", found.st_size))
        self._fsync(number)

    def replace(self, part: Path, file: Path) -> Path:
        self.story.append(("moved", file.name))
        return self._replace(part, file)

    def unlink(self, file: Path, missing_ok: bool = False) -> None:
        was_there = file.is_symlink() or file.exists()
        self._unlink(file, missing_ok)
        self.story += [("removed", file.name)] * was_there


def kept(file: Path) -> list[tuple[str, str | int]]:
    """How *file* is replaced so that a power failure leaves the old one or the new one, whole."""
    return [
        ("file", file.stat().st_size), ("moved", file.name), ("directory", file.parent.stat().st_ino),
    ]  # fmt: skip
