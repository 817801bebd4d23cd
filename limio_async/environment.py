"""The settings of the environment: one table for `Limio.from_env`, the command line, its profile file and the docs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any

import msgspec

from limio_async._frames import cut_below
from limio_async.auth import ApiKey, BearerToken, ChainedAuth, ClientCredentials, NoAuth, SessionToken
from limio_async.core.ports import Auth, Observer
from limio_async.errors import ConfigurationError

__all__ = ["SETTINGS", "Setting", "auth_from", "options_from"]

_WORDS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _text(_: str, text: str) -> str:
    return text


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (isfinite(number) and number > 0):
        raise ConfigurationError(f"{name}: {text!r} is not a number above 0")
    return number


def _flag(name: str, text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ConfigurationError(f"{name}: {text!r} is none of {', '.join(_WORDS)}") from None


def _certificates(name: str, file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:  # an OSError too
        raise ConfigurationError(f"{name}: {file} holds no certificates (PEM)") from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigurationError(f"{name}: cannot read {file}: {why}") from None


def _otel(name: str, text: str) -> Observer | None:
    if not _flag(name, text):
        return None
    try:
        from limio_async.otel import Otel
    except ModuleNotFoundError as error:  # it is an extra
        raise ConfigurationError(f"{name}: {error}") from None
    return Otel()


_KINDS: dict[Callable[[str, str], Any], str] = {
    _number: "a number",
    _flag: "true or false",
    _otel: "true or false",
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the environment. In a profile file it is called the same, in lower case and without `LIMIO_`."""

    name: str
    keyword: str
    """The argument of `Limio` that it gives; `auth` for each credential."""
    read: Callable[[str, str], Any] = _text
    """Makes the argument of name and text. Raises `ConfigurationError`."""
    secret: bool = False
    help: str

    @property
    def kind(self) -> str:
        """What it is in a profile file."""
        return _KINDS.get(self.read, "a string")

    @property
    def key(self) -> str:
        """Its name in a profile file."""
        return self.name.removeprefix("LIMIO_").lower()


SETTINGS = (
    Setting(name="LIMIO_HOST", keyword="host", help="the tenant, such as acme.prod.limio.com"),
    Setting(name="LIMIO_API_KEY", keyword="auth", secret=True, help="the publishable key"),
    Setting(name="LIMIO_CLIENT_ID", keyword="auth", help="goes with one of the next two"),
    Setting(name="LIMIO_CLIENT_SECRET", keyword="auth", secret=True, help="the client's secret"),
    Setting(
        name="LIMIO_CLIENT_SECRET_FILE",
        keyword="auth",
        help="a file that holds it, read again when it is refused",
    ),
    Setting(name="LIMIO_TOKEN", keyword="auth", secret=True, help="a bearer token"),
    Setting(
        name="LIMIO_SESSION_TOKEN", keyword="auth", secret=True, help="the session token of a signed-in user"
    ),
    Setting(
        name="LIMIO_TIMEOUT", keyword="timeout", read=_number, help="the deadline of each call in seconds"
    ),
    Setting(
        name="LIMIO_REQUESTS_PER_SECOND",
        keyword="requests_per_second",
        read=_number,
        help="how many requests leave in a second, at most",
    ),
    Setting(
        name="LIMIO_PROXY",
        keyword="proxy",
        secret=True,
        help="a proxy, such as http://user:password@proxy.internal:3128",
    ),
    Setting(
        name="LIMIO_CA_FILE",
        keyword="ssl",
        read=_certificates,
        help="a file of certificates (PEM) that are trusted instead of the system's",
    ),
    Setting(
        name="LIMIO_PLAIN_HTTP",
        keyword="plain_http",
        read=_flag,
        help="1 allows http:// to another machine: credentials travel readable",
    ),
    Setting(
        name="LIMIO_OTEL",
        keyword="observer",
        read=_otel,
        help="1 makes spans and metrics of every call by OpenTelemetry",
    ),
)


def options_from(settings: Mapping[str, str], *, but: Collection[str] = ()) -> dict[str, Any]:
    """Return the arguments of `Limio` that *settings* gives by the names of the table, *but* for some."""
    given = {one: settings.get(one.name, "").strip() for one in SETTINGS if one.keyword not in but}
    options = {one.keyword: one.read(one.name, text) for one, text in given.items() if text}
    if "auth" not in but:
        options["auth"] = auth_from(settings)
    return options


def auth_from(settings: Mapping[str, str]) -> Auth:
    """Return the strategies for the credentials in *settings*, which has the names of environment variables."""
    try:
        return _auth_from(settings)
    except ConfigurationError as error:
        cut_below(error)
        settings = {}  # no variable of a traceback holds a secret
        raise


def _auth_from(settings: Mapping[str, str]) -> Auth:
    found: list[Auth] = []
    given = {name: value.strip() for name, value in settings.items() if value.strip()}
    if key := given.get("LIMIO_API_KEY"):
        found.append(ApiKey(key))
    client_id, secret = given.get("LIMIO_CLIENT_ID"), given.get("LIMIO_CLIENT_SECRET")
    file = given.get("LIMIO_CLIENT_SECRET_FILE")
    if secret and file:
        raise ConfigurationError(
            "LIMIO_CLIENT_SECRET and LIMIO_CLIENT_SECRET_FILE are both set, and one may be stale: unset one"
        )
    if client_id and secret:
        found.append(ClientCredentials(client_id, secret))
    elif client_id and file:
        found.append(ClientCredentials.from_file(client_id, file))
    elif client_id or secret or file:
        missing = "LIMIO_CLIENT_SECRET" if client_id else "LIMIO_CLIENT_ID"
        raise ConfigurationError(f"{missing} is not set; a client id and its secret go together")
    if token := given.get("LIMIO_TOKEN"):
        found.append(BearerToken(token))
    if session := given.get("LIMIO_SESSION_TOKEN"):
        found.append(SessionToken(session))
    if len(found) == 1:
        return found[0]
    return ChainedAuth(*found) if found else NoAuth()
