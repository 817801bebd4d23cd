"""A secret in a file, which may be replaced while the process runs."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import anyio.to_thread

from limio_async.errors import ConfigurationError

__all__ = ["SecretFile"]

_LARGEST = 64 * 1024
_TICK = 100_000_000  # ns: two changes may have one time, as file systems count
_log = logging.getLogger("limio_async")
_warned: set[Path] = set()
_Look = tuple[int, ...]


class SecretFile:
    """Reads *path* when it is made, and again when somebody refuses what it held.

    White space around the secret is dropped. A file that others can read is warned of, once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._secret = ""
        self._seen: _Look | None = None

    def read(self) -> str:
        """Return the secret. Raises `ConfigurationError`, without what the file holds, where there is none."""
        secret, wrong = self._found()
        if wrong:  # this frame holds nothing of the file
            raise ConfigurationError(wrong)
        return secret

    async def read_again(self) -> str:
        """Return what the file holds now, looked at in a thread, and read only where it has changed.

        A file that is empty is being written, or will be: what it held is returned, with a warning.
        """
        return await anyio.to_thread.run_sync(self._read_again, abandon_on_cancel=True)

    def _read_again(self) -> str:
        if self._seen is not None and self._seen == self._look():
            return self._secret
        secret, wrong = self._found()
        if wrong == self._empty:
            _log.warning("%s; the secret that it held stays in use", wrong)
            return self._secret
        if wrong:
            raise ConfigurationError(wrong)
        return secret

    def _look(self) -> _Look | None:
        try:
            return _look_of(self.path.stat())
        except OSError:  # reading it will say what is wrong
            return None

    @property
    def _empty(self) -> str:
        return f"the secret file {self.path} is empty"

    def _found(self) -> tuple[str, str]:
        """Return the secret, or what is wrong."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                content = file.read(_LARGEST + 1)
            secret = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return "", f"the secret file {self.path} is not UTF-8 text"
        except OSError as error:
            return "", f"cannot read the secret file {self.path}: {error.strerror}"
        except ValueError:  # a null byte
            return "", f"{str(self.path)!r} is no path of a secret file"
        if os.name == "posix" and found.st_mode & 0o077 and self.path not in _warned:
            _warned.add(self.path)
            _log.warning("%s holds a secret and others can read it; chmod 600 %s", self.path, self.path)
        if len(secret) > _LARGEST:
            return "", f"the secret file {self.path} holds more than {_LARGEST // 1024} KiB"
        old = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _TICK
        self._seen = _look_of(found) if old else None
        if not secret:
            return "", self._empty
        self._secret = secret
        return secret, ""


def _look_of(found: os.stat_result) -> _Look:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
