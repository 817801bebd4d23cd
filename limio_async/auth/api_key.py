"""The publishable key: read-only access to the catalog."""

from __future__ import annotations

from limio_async.auth.fixed import FixedCredential, header_value

__all__ = ["ApiKey"]


class ApiKey(FixedCredential):
    """`Authorization: <key>`, without a scheme word. The only credential that `/campaigns` takes."""

    def __init__(self, key: str) -> None:
        super().__init__("key", header_value(key, "the API key"))
