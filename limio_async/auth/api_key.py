"""The publishable key: read-only access to the catalog."""

from __future__ import annotations

from limio_async.auth.fixed import FixedCredential, header_value

__all__ = ["ApiKey"]


class ApiKey(FixedCredential):
    """`Authorization: <key>`, without a scheme word. What the seeds know `/campaigns` to take."""

    def __init__(self, key: str) -> None:
        super().__init__("key", header_value(key, "the API key"))
