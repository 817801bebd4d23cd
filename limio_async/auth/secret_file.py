"""A secret in a file, which may be replaced while the process runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import anyio.to_thread

from limio_async.errors import ConfigurationError

__all__ = ["SecretFile"]

_LARGEST = 64 * 1024
_log = logging.getLogger("limio_async")
_warned: set[Path] = set()


class SecretFile:
    """Reads *path* when it is made, and again when somebody refuses what it held.

    White space around the secret is dropped. A file that others can read is warned of, once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> str:
        """Return the secret. Raises `ConfigurationError`, without what the file holds, where there is none."""
        secret, wrong = self._found()
        if wrong:  # this frame holds nothing of the file
            raise ConfigurationError(wrong)
        return secret

    async def read_again(self) -> str:
        """Return what the file holds now, read in a thread."""
        return await anyio.to_thread.run_sync(self.read, abandon_on_cancel=True)

    def _found(self) -> tuple[str, str]:
        """Return the secret, or what is wrong."""
        try:
            with self.path.open("rb") as file:
                open_to_others = os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077
                secret = file.read(_LARGEST + 1).decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return "", f"the secret file {self.path} is not UTF-8 text"
        except OSError as error:
            return "", f"cannot read the secret file {self.path}: {error.strerror}"
        except ValueError:  # a null byte
            return "", f"{str(self.path)!r} is no path of a secret file"
        if open_to_others and self.path not in _warned:
            _warned.add(self.path)
            _log.warning("%s holds a secret and others can read it; chmod 600 %s", self.path, self.path)
        if not secret:
            return "", f"the secret file {self.path} is empty"
        if len(secret) > _LARGEST:
            return "", f"the secret file {self.path} holds more than {_LARGEST // 1024} KiB"
        return secret, ""
