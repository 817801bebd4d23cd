"""A credential that stays as it is, unless it comes from a file."""

from __future__ import annotations

from collections.abc import Collection

from limio_async.auth.secret_file import SecretFile
from limio_async.core.ports import Auth, Exchange
from limio_async.core.wire import Credential, Scheme
from limio_async.errors import ConfigurationError

__all__ = ["FixedCredential", "header_value"]


def header_value(secret: str, what: str) -> str:
    """*secret* without the white space around it. Raises `ConfigurationError` if no header can carry it."""
    value = secret.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{what} is empty or holds characters that a header cannot carry")
    return value


class FixedCredential(Auth):
    """The same credential for every request. When it is refused, only a file can have a newer one.

    *what* names it in errors, *before* stands before it in the header.
    """

    def __init__(self, scheme: Scheme, secret: str | SecretFile, what: str, *, before: str = "") -> None:
        self._file = secret if isinstance(secret, SecretFile) else None
        self._what = what if self._file is None else f"{what} in {self._file.path}"
        self._scheme: Scheme = scheme
        self._before = before
        self._credential = self._of(secret.read() if isinstance(secret, SecretFile) else secret)

    @property
    def offers(self) -> Collection[Scheme]:
        """The one scheme this is for."""
        return (self._scheme,)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The credential, where it is accepted."""
        return self._credential if self._scheme in accepts else None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Whether the file holds another than the refused one; False if there is no file."""
        if self._file is not None and self._credential == refused:
            self._credential = self._of(await self._file.read_again())
        return self._file is not None and self._credential != refused

    def _of(self, secret: str) -> Credential:
        value = header_value(secret, self._what)
        return Credential(scheme=self._scheme, authorization=f"{self._before}{value}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"
