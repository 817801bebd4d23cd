"""Tokens: asking `POST /oauth2/token` for one, and the places that keep one."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

import anyio
import msgspec

from limio_async._durable import removed, replacing
from limio_async.auth.fixed import header_value
from limio_async.core.codec import decode_as
from limio_async.core.identity import fields_of, no_in
from limio_async.core.outcome import error_for, kept
from limio_async.core.retry import retry_after
from limio_async.core.wire import UNDECODABLE, Request, Response, Retry
from limio_async.core.words import words_of
from limio_async.errors import ApiError, BadRequest, ConfigurationError, LimioError, Unauthorized, Unreadable

__all__ = [
    "FileTokenStore",
    "IssuedToken",
    "MemoryTokenStore",
    "StoredToken",
    "TokenStore",
    "read_token",
    "token_request",
]

_USUAL_LIFETIME = 3600.0
_LONGEST_LIFETIME = 24 * 3600.0
_LONGEST_CREDIBLE = 366 * 24 * 3600.0  # beyond it is a time of the clock, or milliseconds
_OPERATION = "createToken"
_SECRETS = frozenset({"client_secret", "code", "code_verifier"})
_NOTHING = msgspec.Raw(b"null")
_VERSION = 1
_LARGEST_FILE = 64 * 1024


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """What the token endpoint gave."""

    access_token: str
    lifetime: float
    """Seconds, counted from when the request was sent: more than 0, at most a day."""

    def __repr__(self) -> str:
        return f"IssuedToken(access_token='***', lifetime={self.lifetime!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("lifetime", self.lifetime)]


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that outlives the call, and perhaps the process, that got it."""

    access_token: str
    expires_at: Annotated[float, msgspec.Meta(ge=0)]
    """Seconds since 1970 on this machine's wall clock: the only clock that the next process shares. If it is set
    in between, a token ends early, or is refused; then signing in again is all it takes."""
    origin: str
    """Where it was got, such as `https://acme.prod.limio.com`; it is for no other."""

    def __repr__(self) -> str:
        return f"StoredToken(access_token='***', expires_at={self.expires_at!r}, origin={self.origin!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("expires_at", self.expires_at), ("origin", self.origin)]


class TokenStore(Protocol):
    """A place for one token; yours (a keyring, a database) works as well as ours."""

    async def load(self) -> StoredToken | None:
        """The token that was saved last, or None."""
        ...

    async def save(self, token: StoredToken | None) -> None:
        """Keep *token* instead of what was there; None removes it."""
        ...


class MemoryTokenStore:
    """Keeps the token as long as the process lives."""

    def __init__(self, token: StoredToken | None = None) -> None:
        self._token = token

    async def load(self) -> StoredToken | None:
        """The token that was saved last, or None."""
        return self._token

    async def save(self, token: StoredToken | None) -> None:
        """Keep *token* instead of what was there; None removes it."""
        self._token = token

    def __repr__(self) -> str:
        return f"MemoryTokenStore({self._token!r})"


class _Saved(msgspec.Struct, kw_only=True):
    """What the file holds."""

    version: int
    token: StoredToken


class FileTokenStore:
    """Keeps the token, in plain text, in a file that only its owner may read.

    The file is replaced as a whole: who reads it sees the old token or the new one, whatever happens in
    between. A file that others can read or write is refused. (On Windows the directory's rights apply.)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    async def load(self) -> StoredToken | None:
        """The token that was saved last, or None. Raises `ConfigurationError` for a file that will not do."""
        return await anyio.to_thread.run_sync(self._load)

    async def save(self, token: StoredToken | None) -> None:
        """Replace the file; None removes it. Raises `ConfigurationError` where it cannot be written."""
        await anyio.to_thread.run_sync(self._save, token)

    def _load(self) -> StoredToken | None:
        try:
            with self.path.open("rb") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                    raise ConfigurationError(
                        f"{self.path} holds a token and is open to others; chmod 600 {self.path}"
                    )
                data = file.read(_LARGEST_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"cannot read {self.path}: {error.strerror}") from None
        try:
            saved = msgspec.json.decode(data, type=_Saved)
            header_value(saved.token.access_token, "its token")
        except (*UNDECODABLE, ConfigurationError) as error:
            raise ConfigurationError(f"{self.path} is not a token file: {error}") from None
        if saved.version != _VERSION:
            raise ConfigurationError(
                f"{self.path} has version {saved.version}; this release reads {_VERSION}"
            )
        return saved.token

    def _save(self, token: StoredToken | None) -> None:
        try:
            if token is None:
                removed(self.path)
            else:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._replace_with(msgspec.json.encode(_Saved(version=_VERSION, token=token)))
        except OSError as error:
            raise ConfigurationError(f"cannot write {self.path}: {error.strerror}") from None

    def _replace_with(self, data: bytes) -> None:
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        with replacing(self.path, part=part, private=True) as file:
            file.write(data)

    def __repr__(self) -> str:
        return f"FileTokenStore({str(self.path)!r})"


def token_request(form: Mapping[str, str], *, retry: Retry = "safe") -> Request:
    """The request for a token; secrets travel in its body only."""
    return Request(
        operation=_OPERATION,
        method="POST",
        target="/oauth2/token",
        headers={"accept": "application/json", "content-type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
        retry=retry,
    )


_NO_NUMBER = re.compile(rb'("expires_in"\s*:\s*)-?(?:NaN|Infinity)')  # what some write into JSON


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: msgspec.Raw = _NOTHING


def read_token(response: Response, form: Mapping[str, str] | None = None) -> IssuedToken:
    """Return the token in an answer to *form*, or raise the error that tells what the caller can do now.

    An answer that tells of an error is `Unauthorized`, also with status 200. A lifetime that is missing, odd or
    longer than a year counts as the usual hour: if it is less, a 401 will tell. One beyond a day counts as a day.
    """
    try:
        return _token_in(response, form)
    except LimioError as error:
        error.headers = kept(response.headers)
        if isinstance(error, ApiError):
            error.retry_after = retry_after(response)
        raise


def _token_in(response: Response, form: Mapping[str, str] | None) -> IssuedToken:
    secrets_of = [value for name, value in (form or {}).items() if name in _SECRETS and value]
    if not 200 <= response.status < 300:
        error = error_for(_OPERATION, response, hide=secrets_of)
        if isinstance(error, BadRequest):  # it is the client or the code that is refused (RFC 6749, 5.2)
            raise Unauthorized(error.words, operation=_OPERATION, status=error.status)
        raise error
    body = _NO_NUMBER.sub(rb"\1null", response.body)
    if (refused := _refusal(body)) is not None:
        words = words_of(body, hide=[*secrets_of, *refused], of_text=False)
        raise Unauthorized(words or "no token", operation=_OPERATION, status=response.status)
    try:
        answer = decode_as(_OPERATION, body, _Answer)
        token = header_value(answer.access_token, "the token")
    except Unreadable as error:
        error.status = response.status
        raise
    except ConfigurationError as error:
        raise Unreadable(
            f"{error} - at $.access_token",
            operation=_OPERATION,
            spot="$.access_token",
            status=response.status,
        ) from None
    return IssuedToken(access_token=token, lifetime=_lifetime(answer.expires_in))


def _refusal(body: bytes) -> list[str] | None:
    """Return the secrets beside an error that *body* tells of; None if it tells of none."""
    fields = {name: value for name, value in fields_of(body).items() if bytes(value) != b"0"}
    found = fields.get("access_token", _NOTHING)
    if not no_in(fields, some=bytes(found) != bytes(_NOTHING)):
        return None
    token = decode_as(_OPERATION, found, object)
    return [token] if isinstance(token, str) and token else []


def _lifetime(given: msgspec.Raw) -> float:
    try:
        value: Any = msgspec.json.decode(given)
        seconds = _USUAL_LIFETIME if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError, *UNDECODABLE):
        return _USUAL_LIFETIME
    return min(seconds, _LONGEST_LIFETIME) if 0 < seconds <= _LONGEST_CREDIBLE else _USUAL_LIFETIME
