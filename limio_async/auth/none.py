"""No credentials at all."""

from __future__ import annotations

from collections.abc import Collection

from limio_async.core.ports import Auth, Exchange
from limio_async.core.wire import Credential, Scheme

__all__ = ["NoAuth"]


class NoAuth(Auth):
    """For a client that only calls operations which take no credentials."""

    @property
    def offers(self) -> tuple[Scheme, ...]:
        """No scheme."""
        return ()

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """Never any."""
        return None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Never."""
        return False
