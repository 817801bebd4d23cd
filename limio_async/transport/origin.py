"""The origin that a host name or a base URL means, checked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from limio_async.errors import ConfigurationError

__all__ = ["origin_of"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")


def origin_of(host: str, *, plain_http: bool = False) -> str:
    """The origin meant by a tenant's host name or a base URL; a trailing `/api` is taken as said twice.

    Raises `ConfigurationError` for anything else, and without *plain_http* for `http://` to another machine
    than this one: credentials travel only over TLS.
    """
    try:
        url = urlsplit(host if "://" in host else f"https://{host}")
        port = url.port
    except ValueError as error:  # a port that is no number, half an IPv6 address
        raise ConfigurationError(f"the host cannot be read: {error}") from None
    name = url.hostname or ""
    if not (_HOST.fullmatch(name) or ":" in name) or port == 0 or not host.isprintable():
        raise ConfigurationError(f"host {host!r} is neither a host name nor a URL")
    if (
        url.username
        or url.password
        or url.query
        or url.fragment
        or url.path not in {"", "/", "/api", "/api/"}
    ):
        raise ConfigurationError(f"host {name!r}: give the host name only, such as acme.prod.limio.com")
    if url.scheme == "http" and name not in _LOOPBACK and not plain_http:
        raise ConfigurationError(f"host {name!r}: plain http is for this machine only; use https")
    if url.scheme not in {"http", "https"}:
        raise ConfigurationError(f"host {name!r}: https, not {url.scheme}")
    literal = f"[{name}]" if ":" in name else name
    return f"{url.scheme}://{literal}:{port}" if port else f"{url.scheme}://{literal}"
