"""Where the client's settings come from: flags, then LIMIO_* variables, then the profile file, then defaults."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import platformdirs

from limio_async.auth import FileTokenStore, SignedIn
from limio_async.cli.failures import Code, Failure, did_you_mean, tell
from limio_async.client import Limio
from limio_async.core.ports import Auth
from limio_async.environment import SETTINGS, auth_from, options_from
from limio_async.errors import ConfigurationError
from limio_async.transport import origin_of

__all__ = ["Flags", "has_bearer", "open_client", "settings", "tenant", "token_file", "way_of"]

_BY_KEY = {one.key: one for one in SETTINGS}
_TYPES: dict[str, tuple[type, ...]] = {"a number": (int, float), "true or false": (bool,), "a string": (str,)}
_WAY = ("proxy", "ssl", "plain_http")
_SECRET_KINDS = ("client_secret", "client_secret_file")


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What was said before the resource's name."""

    host: str | None = None
    profile: str | None = None
    emulated: bool = False
    timeout: float | None = None
    uvloop: bool = False
    quiet: bool = False


def open_client(flags: Flags, *, concurrency: int = 16) -> Limio:
    """A client of the tenant that is meant, or of an emulator in this process; *concurrency* requests at once."""
    found = settings(flags, os.environ)
    if flags.emulated:
        return _emulated(found, concurrency)
    origin = tenant(found, os.environ)
    auth = _auth(found, origin, token_file(origin, flags, os.environ))
    options = options_from(_as_variables(found), but=("auth",))
    return Limio(**options, auth=auth, max_concurrency=concurrency)


def tenant(found: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The origin of the host in *found*, which all requests go to."""
    if not found.get("host"):
        raise Failure(
            f"no host: use --host, LIMIO_HOST or host in {_profile_file(environ)}; or try --emulated"
        )
    return origin_of(found["host"], plain_http=_some(found, "plain_http").get("plain_http", False))


def way_of(found: Mapping[str, str]) -> dict[str, Any]:
    """What a transport takes of *found* besides the host."""
    return _some(found, *_WAY)


def _some(found: Mapping[str, str], *keywords: str) -> dict[str, Any]:
    return options_from(_as_variables(found), but={one.keyword for one in SETTINGS}.difference(keywords))


def token_file(origin: str, flags: Flags, environ: Mapping[str, str]) -> Path:
    """Where `limio login` keeps the token: a file for each host and profile, or `LIMIO_TOKEN_FILE`."""
    if named := environ.get("LIMIO_TOKEN_FILE"):
        return Path(named)
    profile = flags.profile or environ.get("LIMIO_PROFILE") or "default"
    which = hashlib.sha256(f"{origin} {profile}".encode(errors="replace")).hexdigest()[:12]
    name = f"{urlsplit(origin).hostname}-{which}.json".replace(":", "-")
    return platformdirs.user_state_path("limio", appauthor=False) / "signed-in" / name


def settings(flags: Flags, environ: Mapping[str, str]) -> dict[str, str]:
    """All settings that are given anywhere, each from the first place that has it."""
    profile = _profile(flags.profile or environ.get("LIMIO_PROFILE"), environ)
    environment = {one.key: environ.get(one.name, "").strip() for one in SETTINGS}
    said = {"host": flags.host, "timeout": flags.timeout}
    found: dict[str, str] = {}
    for place in (
        profile,
        environment,
        {name: str(value) for name, value in said.items() if value is not None},
    ):
        given = {key: value for key, value in place.items() if value}
        if not given.keys().isdisjoint(_SECRET_KINDS):  # the secret itself or its file: one or the other
            found = {key: value for key, value in found.items() if key not in _SECRET_KINDS}
        found |= given
    return found


def _as_variables(found: Mapping[str, str]) -> dict[str, str]:
    return {_BY_KEY[key].name: value for key, value in found.items()}


def _auth(found: Mapping[str, str], origin: str, signed_in: Path) -> list[Auth]:
    """The strategies for what was found; somebody's sign-in counts where no other bearer token is to be had."""
    credentials = _as_variables(found)
    strategies: list[Auth] = []
    if not has_bearer(found) and _may_exist(signed_in):
        credentials.pop("LIMIO_CLIENT_ID", None)  # without a secret it is the one that was signed in with
        strategies.append(SignedIn(FileTokenStore(signed_in), origin=origin))
    try:
        return [auth_from(credentials), *strategies]
    except ConfigurationError as error:
        raise Failure(str(error), Code.CREDENTIALS) from None


def has_bearer(found: Mapping[str, str]) -> bool:
    """Whether *found* has a bearer token, or what gets one: that wins over a sign-in."""
    return not found.keys().isdisjoint(("token", *_SECRET_KINDS))


def _may_exist(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # reading it will say what is wrong
        return True


def _emulated(found: Mapping[str, str], concurrency: int) -> Limio:
    from limio_async.emulator import InMemoryTransport, World  # a client of a tenant does not need it

    world = World()
    transport = InMemoryTransport(world)
    auth = auth_from(world.environ(transport.origin))
    options = options_from(_as_variables(found), but=("host", "auth", *_WAY))
    return Limio(**options, auth=auth, max_concurrency=concurrency, transport=transport)


def _profile_file(environ: Mapping[str, str]) -> Path:
    named = environ.get("LIMIO_CONFIG")
    return Path(named) if named else platformdirs.user_config_path("limio", appauthor=False) / "config.toml"


def _profile(name: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The table *name* of the profile file, or `default` if there is one."""
    file = _profile_file(environ)
    tables = _tables(file, wanted=bool(name or environ.get("LIMIO_CONFIG")))
    if name is None:
        return _checked(file, "default", tables.get("default", {}))
    if name not in tables:
        raise Failure(f"{file} has no profile {name}{did_you_mean(name, tables)}")
    return _checked(file, name, tables[name])


def _tables(file: Path, *, wanted: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not wanted:
            return {}
        raise Failure(f"{file} does not exist") from None
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or too deep
        raise Failure(f"{file}: {error}") from None


def _checked(file: Path, name: str, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise Failure(f"{file}: {name} is not a table")
    found: dict[str, str] = {}
    for key, value in cast("dict[str, Any]", table).items():
        if key not in _BY_KEY:
            raise Failure(f"{file}: [{name}] {key} is not a setting{did_you_mean(key, _BY_KEY)}")
        kind = _BY_KEY[key].kind
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "true or false"):
            raise Failure(f"{file}: [{name}] {key} is not {kind}")
        text = str(value)
        found[key] = str(file.parent / Path(text).expanduser()) if key.endswith("_file") else text
    if any(_BY_KEY[key].secret and (key != "proxy" or "@" in text) for key, text in found.items()):
        _warn_if_others_can_read(file)
    return found


def _warn_if_others_can_read(file: Path) -> None:
    if os.name == "posix" and file.stat().st_mode & 0o077:
        tell(f"warning: {file} holds secrets and others can read it; chmod 600 {file}")
