"""A file that appears when it is whole; until then its beginning and where to go on are kept beside it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import msgspec

from limio_async._durable import moved, replacing, synced
from limio_async.cli.failures import Code, Failure
from limio_async.core.listing import Checkpoint
from limio_async.core.wire import UNDECODABLE

__all__ = ["Target"]


class _Saved(msgspec.Struct, kw_only=True):
    """What FILE.partial.checkpoint holds."""

    output: str
    bytes: int
    """Of FILE.partial; what follows them belongs to a page that was not finished."""
    checkpoint: Checkpoint
    version: int = 1
    """Release 0.1 did not write it."""


class _Version(msgspec.Struct):
    version: int = 1


class Target:
    """FILE, written as FILE.partial. Raises `Failure` before anything is touched that would be lost."""

    def __init__(self, file: Path, *, output: str, force: bool, resume: bool) -> None:
        try:
            _check_place(file, force=force)
        except OSError as error:
            raise Failure(f"--to {file}: {error.strerror}") from None
        self._file = file.resolve() if file.is_symlink() else file  # a link stays one
        self._partial = self._file.with_name(self._file.name + ".partial")
        self._checkpoint_file = self._file.with_name(self._file.name + ".partial.checkpoint")
        self._output = output
        self._size = 0
        self._stream: BinaryIO | None = None
        if self._partial.exists() and not force and not resume:
            raise Failure(
                f"--to {file}: {self._partial} is left of an earlier run;"
                " --resume goes on from there, --force starts over"
            )
        self._saved = self._read_saved() if resume and self._partial.exists() else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where an earlier run stood that this one continues."""
        return self._saved.checkpoint if self._saved else None

    @contextlib.contextmanager
    def opened(self) -> Generator[None]:
        """FILE.partial, open for writing; when the block ends, it stays only if there is something to go on with."""
        self._stream = self._opened()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._stream.close()
            if not self.kept:
                self._partial.unlink(missing_ok=True)
                self._checkpoint_file.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add to FILE.partial."""
        with self._failures():
            self._out.write(data)
        self._size += len(data)

    def save(self, checkpoint: Checkpoint) -> None:
        """Note that all written so far lies before *checkpoint*: first the data, then the note."""
        saved = _Saved(output=self._output, bytes=self._size, checkpoint=checkpoint)
        note = self._checkpoint_file.with_name(self._checkpoint_file.name + ".new")
        with self._failures():
            synced(self._out)
            with replacing(self._checkpoint_file, part=note) as stream:
                stream.write(msgspec.json.encode(saved))

    def finish(self) -> None:
        """Make FILE.partial FILE."""
        with self._failures():
            synced(self._out)
            self._out.close()
            moved(self._partial, self._file)
            self._checkpoint_file.unlink(missing_ok=True)

    @property
    def kept(self) -> str:
        """What a user is told whose run ended early; nothing if there is nothing to go on with."""
        if not (self._checkpoint_file.exists() and self._partial.exists() and self._partial.stat().st_size):
            return ""
        return f"kept {self._partial}; the same command with --resume goes on from there"

    @property
    def _out(self) -> BinaryIO:
        assert self._stream is not None  # noqa: S101  # used within `opened`
        return self._stream

    def _read_saved(self) -> _Saved:
        try:
            found = self._checkpoint_file.read_bytes()
            if (version := msgspec.json.decode(found, type=_Version).version) > 1:
                raise Failure(
                    f"cannot resume: {self._checkpoint_file} was made by a newer release of limio_async (version"
                    f" {version}, this one knows 1): update limio_async; --force starts over"
                )
            saved = msgspec.json.decode(found, type=_Saved)
        except (OSError, *UNDECODABLE) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Failure(f"cannot resume: {self._checkpoint_file}: {reason}; --force starts over") from None
        if saved.output != self._output:
            raise Failure(f"cannot resume: {self._partial} is {saved.output}, not {self._output}")
        if self._partial.stat().st_size < saved.bytes:
            raise Failure(f"cannot resume: {self._partial} is shorter than it was; --force starts over")
        self._size = saved.bytes
        return saved

    def _opened(self) -> BinaryIO:
        try:
            if self._saved is None:
                self._checkpoint_file.unlink(missing_ok=True)
                return self._partial.open("wb")
            stream = self._partial.open("r+b")
            stream.truncate(self._saved.bytes)
            stream.seek(0, os.SEEK_END)
        except OSError as error:
            raise Failure(f"cannot write {self._partial}: {error.strerror}") from None
        return stream

    @contextlib.contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise Failure(f"cannot write {self._partial}: {error.strerror}", Code.INCOMPLETE) from None


def _check_place(file: Path, *, force: bool) -> None:
    if not file.parent.is_dir():
        raise Failure(f"--to {file}: the directory {file.parent} does not exist")
    if file.exists() and not file.is_file():
        raise Failure(f"--to {file}: not a regular file")
    if file.exists() and not force:
        raise Failure(f"--to {file}: the file exists; --force replaces it")
