"""A credential that never changes."""

from __future__ import annotations

from collections.abc import Collection

from limio_async.core.ports import Exchange
from limio_async.core.wire import Credential, Scheme
from limio_async.errors import ConfigurationError

__all__ = ["FixedCredential", "header_value"]


def header_value(secret: str, what: str) -> str:
    """*secret* without the white space around it. Raises `ConfigurationError` if no header can carry it."""
    value = secret.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{what} is empty or holds characters that a header cannot carry")
    return value


class FixedCredential:
    """The same credential for every request; when it is refused there is nothing newer to offer."""

    def __init__(self, scheme: Scheme, authorization: str) -> None:
        self._credential = Credential(scheme=scheme, authorization=authorization)

    @property
    def offers(self) -> Collection[Scheme]:
        """The one scheme this is for."""
        return (self._credential.scheme,)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The credential, where it is accepted."""
        return self._credential if self._credential.scheme in accepts else None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Never: there is no other."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"
