"""Several strategies, of which each operation gets the first that it accepts."""

from __future__ import annotations

from collections.abc import Collection

from limio_async.core.ports import Auth, Exchange
from limio_async.core.wire import Credential, Scheme

__all__ = ["ChainedAuth"]


class ChainedAuth(Auth):
    """Asks its strategies in order; with a key first, the catalog is read with the key and the rest with a token."""

    def __init__(self, *strategies: Auth) -> None:
        self._strategies = strategies
        self._gave: dict[Scheme, Auth] = {}  # the strategy of the last one: an earlier one may have had none

    @property
    def offers(self) -> Collection[Scheme]:
        """What any of the strategies can provide, in their order."""
        return tuple(dict.fromkeys(scheme for strategy in self._strategies for scheme in strategy.offers))

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The credential of the first strategy that has one the operation accepts."""
        for strategy in self._strategies:
            credential = await strategy.credential(accepts, exchange)
            if credential is not None:
                self._gave[credential.scheme] = strategy
                return credential
        return None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Let the strategy that gave one of this scheme replace it."""
        strategy = self._gave.get(refused.scheme)
        return strategy is not None and await strategy.renew(refused, exchange)

    def token_left(self, now: float) -> float | None:
        """Seconds until the token of the first strategy ends that has one which ends."""
        left = (tell(now) for one in self._strategies if (tell := getattr(one, "token_left", None)))
        return next((seconds for seconds in left if seconds is not None), None)

    def __repr__(self) -> str:
        return f"ChainedAuth({', '.join(map(repr, self._strategies))})"
