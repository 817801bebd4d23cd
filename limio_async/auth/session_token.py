"""The token of a signed-in user, from checkout or login."""

from __future__ import annotations

from limio_async.auth.fixed import FixedCredential

__all__ = ["SessionToken"]


class SessionToken(FixedCredential):
    """`Authorization: Bearer <session token>`, for what belongs to one user, such as entitlements."""

    def __init__(self, token: str) -> None:
        super().__init__("session", token, "the session token", before="Bearer ")
