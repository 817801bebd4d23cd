"""The way to the tenant, checked: through which proxy, trusting which certificates."""

from __future__ import annotations

import os
from base64 import b64encode
from ssl import SSLContext
from typing import TypedDict

from yarl import URL

from limio_async._origin import is_this_machine, origin_of
from limio_async.errors import ConfigurationError

__all__ = ["Way", "proxy_header", "unread_proxy", "way_out"]

_UNREAD = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_SUCH_AS = "the proxy is a URL such as http://proxy.internal:3128 or http://user:password@proxy.internal:3128"


class Way(TypedDict, total=False):
    """What each request is told of it; holds a secret where the proxy takes a password."""

    proxy: URL
    """Without user and password."""
    proxy_headers: dict[str, str]
    ssl: SSLContext


def way_out(origin: str, proxy: str | None, ssl: SSLContext | None, *, plain_http: bool = False) -> Way:
    """Return the way to *origin*. Raises `ConfigurationError` where a part of it cannot be used."""
    way = Way()
    if ssl is not None:
        if not isinstance(ssl, SSLContext):  # pyright: ignore[reportUnnecessaryIsInstance]  # such as False
            raise ConfigurationError(
                "ssl= takes an ssl.SSLContext, such as ssl.create_default_context(cafile=…)"
            )
        way["ssl"] = ssl
    if proxy is not None:
        url, user = _proxy(proxy)
        if origin.startswith("http://") and not plain_http and not is_this_machine(str(url.origin())):
            raise ConfigurationError(
                f"{origin} is plain http: the proxy would read the credentials; leave it out"
            )
        way["proxy"] = url
        if user is not None:
            way["proxy_headers"] = {"proxy-authorization": user}
    return way


def proxy_header(way: Way, origin: str) -> dict[str, str]:
    """Return what a request itself has to carry: over TLS it is CONNECT alone that the proxy reads."""
    return way.get("proxy_headers", {}) if origin.startswith("http://") else {}


def unread_proxy() -> str:
    """Return what an error adds where the environment names a proxy, which nobody reads; empty if it names none."""
    named = next((name for name in _UNREAD if os.environ.get(name)), None)
    return f"; {named} is set, which is not read: give proxy= or LIMIO_PROXY" if named else ""


def _proxy(given: str) -> tuple[URL, str | None]:
    """Return the proxy's URL and its `Proxy-Authorization`; no error shows what was given, which may be a password."""
    try:
        url = URL(given.strip())
        bare = url.with_user(None)
        origin_of(str(bare), plain_http=True)
        if url.scheme == "http" and bare.path == "/":
            if url.user is None and url.password is None:
                return bare, None
            user = f"{url.user or ''}:{url.password or ''}"
            return bare, f"Basic {b64encode(user.encode()).decode()}"
    except (AttributeError, TypeError, ValueError):  # ConfigurationError is one
        pass
    raise ConfigurationError(_SUCH_AS)  # outside the handler: the causes show what was given
