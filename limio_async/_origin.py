"""The origin that a host name or a base URL means, checked: the one door for every host."""

from __future__ import annotations

import ipaddress
import re

from limio_async.errors import ConfigurationError

__all__ = ["agreed_origin", "is_this_machine", "origin_of"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<name>\[[^]]*\]|[^]\[:/?#@\\\s]*)(?::(?P<port>[0-9]{1,5}))?(?P<beyond>[/?#].*)?"
)
_DEFAULT_PORTS = {"https": 443, "http": 80}


def origin_of(host: str, *, plain_http: bool = False) -> str:
    """Return the origin meant by a tenant's host name or a base URL, in one spelling.

    That is lower case, without the scheme's own port, a trailing slash or a trailing `/api`.
    Raises `ConfigurationError` for anything else, and without *plain_http* for `http://` to another machine
    than this one: credentials travel only over TLS.
    """
    if not isinstance(plain_http, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # "no" would be a yes
        raise ConfigurationError(f"plain_http is True or False, not {plain_http!r}")
    if not isinstance(host, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise ConfigurationError(f"the host is a name such as acme.prod.limio.com, not {type(host).__name__}")
    if "@" in host:  # what stands before it may be a password
        raise ConfigurationError("the host holds an @: give the host name only, such as acme.prod.limio.com")
    found = _URL.fullmatch(host)
    name = _name(found["name"]) if found else None
    if found is None or name is None or not host.isprintable():
        shown = re.split("[?#]", host, maxsplit=1)[0]
        raise ConfigurationError(f"host {shown!r} is neither a host name nor a URL")
    if found["beyond"] not in {None, "/", "/api", "/api/"}:
        raise ConfigurationError(f"host {name!r}: give the host name only, such as acme.prod.limio.com")
    scheme, port = (found["scheme"] or "https").lower(), int(found["port"] or 0)
    if scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(f"host {name!r}: https, not {scheme}")
    if found["port"] is not None and not 0 < port < 65536:
        raise ConfigurationError(f"host {name!r}: {port} is no port")
    if scheme == "http" and name not in _LOOPBACK and not plain_http:
        raise ConfigurationError(
            f"host {name!r}: plain http is for this machine only; use https, or "
            "plain_http=True (LIMIO_PLAIN_HTTP=1) where others may read the credentials"
        )
    return f"{scheme}://{name}" if port in {0, _DEFAULT_PORTS[scheme]} else f"{scheme}://{name}:{port}"


def agreed_origin(host: str | None, ours: str, *, plain_http: bool = False) -> str:
    """Return *ours*, the origin of a given transport, in one spelling. Raises `ConfigurationError` if *host* is another."""
    origin = origin_of(ours, plain_http=plain_http)
    if host is not None and (named := origin_of(host, plain_http=True)) != origin:
        raise ConfigurationError(
            f"the host is {named}, the transport's {origin}: leave the host out, or make the two the same"
        )
    return origin


def is_this_machine(origin: str) -> bool:
    """Return whether *origin*, in the spelling of `origin_of`, is on this machine."""
    found = _URL.fullmatch(origin)
    return found is not None and found["name"] in _LOOPBACK


def _name(given: str) -> str | None:
    """Return the name of a host in one spelling; None if it is none."""
    if not given.startswith("["):
        return given.lower() if _HOST.fullmatch(given) else None
    try:
        return f"[{ipaddress.IPv6Address(given[1:-1])}]" if "%" not in given else None
    except ValueError:
        return None
