"""The publishable key: read-only access to the catalog."""

from __future__ import annotations

import os
from typing import Self

from limio_async.auth.fixed import FixedCredential
from limio_async.auth.secret_file import SecretFile

__all__ = ["ApiKey"]


class ApiKey(FixedCredential):
    """`Authorization: <key>`, without a scheme word. What the seeds know `/campaigns` to take."""

    def __init__(self, key: str) -> None:
        self._hold(key)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """The key in the file *path*, which is read now and again after a 401; so a key can be rotated."""
        made = cls.__new__(cls)
        made._hold(SecretFile(path))
        return made

    def _hold(self, key: str | SecretFile) -> None:
        super().__init__("key", key, "the API key")
