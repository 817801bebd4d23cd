"""Tokens for a client id and secret, from `POST /oauth2/token` (one hour, no refresh token)."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Collection, Mapping
from typing import Self
from weakref import WeakKeyDictionary

import msgspec

from limio_async.auth.secret_file import SecretFile
from limio_async.auth.tokens import IssuedToken, read_token, token_request
from limio_async.core.lifetime import Forks
from limio_async.core.ports import Auth, Exchange
from limio_async.core.wire import Credential, Scheme
from limio_async.errors import ConfigurationError, LimioError, Unauthorized

__all__ = ["ClientCredentials"]

_log = logging.getLogger("limio_async")

_EARLY = 300.0  # before the end, or a sixth of the lifetime if that is less
_DUE = 30.0  # before the end, or a twentieth
_EARLY_PATIENCE = 1.0  # what an early renewal may cost the call that makes it
_EARLY_PAUSES = (5.0, 10.0, 20.0, 40.0, 60.0)  # after early renewals that failed, one after the other
_PAUSE = 1.0  # after a failure, before the endpoint is asked again


class _Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A credential and its times on the loop's clock, which no setting of a clock can move."""

    credential: Credential
    early_from: float
    due_from: float
    ends_at: float


def _lease(token: IssuedToken, asked_at: float, jitter: float) -> _Lease:
    """*token* counted from when it was asked for; *jitter* (0 to 1) keeps many clients from renewing at once."""
    ends_at = asked_at + token.lifetime
    return _Lease(
        credential=Credential(scheme="bearer", authorization=f"Bearer {token.access_token}"),
        early_from=ends_at - min(_EARLY, token.lifetime / 6) * (1 - jitter / 10),
        due_from=ends_at - min(_DUE, token.lifetime / 20),
        ends_at=ends_at,
    )


class _Line:
    """Those who wait for a token in one event loop, and how asking for one went."""

    def __init__(self) -> None:
        self.process = Forks.count
        self.asking: asyncio.Event | None = None
        """Set when the request that is under way has come to its end, whatever that is."""
        self.renewals = 0
        self.failure: LimioError | None = None
        """What came of the last request, if it failed."""
        self.cut_short = 0
        """How many requests in a row were given up by whoever made them."""
        self.ask_again_at = 0.0
        self.early_failures = 0
        self.early_again_at = 0.0


class ClientCredentials(Auth):
    """Gets a token when one is first needed, and another before it expires or when it is refused.

    From about five minutes before the end, *one* call renews the token on its way, while all others go on
    with the valid one; if that fails, so does no call, and it is tried again a little later. In the last half
    minute, or without a token, everybody waits for the one request that is made for all; if it fails, it
    fails for all, and for a second after that nobody asks again. A call that is cancelled while it renews
    fails nobody else.

    May be used by several clients and event loops, one after the other or at once; they share the token, so
    let them be clients of one host. The secret travels in the form body only.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        if not client_id.strip() or not client_secret.strip():
            raise ConfigurationError("a client id and a client secret are needed")
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id.strip(),
            "client_secret": client_secret.strip(),
        }
        self._file: SecretFile | None = None
        self._held: _Lease | None = None
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    @classmethod
    def from_file(cls, client_id: str, path: str | os.PathLike[str]) -> Self:
        """The secret in the file *path*, which is read now and again when it is refused; so a secret can be rotated."""
        file = SecretFile(path)
        made = cls(client_id, file.read())
        made._file = file
        return made

    @property
    def offers(self) -> tuple[Scheme, ...]:
        """Bearer tokens only."""
        return ("bearer",)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The current token, where one is accepted; gets one if there is none that lasts."""
        if "bearer" not in accepts:
            return None
        held, now = self._held, _now()
        if held is None or now >= held.due_from:
            return await self._renewed_by_all(held, exchange)
        if now >= held.early_from:
            return await self._renewed_by_one(held, exchange)
        return held.credential

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Get a new token unless somebody already did since *refused* was handed out."""
        return await self._replaced(refused, exchange) != refused

    def token_left(self, now: float) -> float | None:
        """Seconds from *now*, a time of the loop, until the token ends; None where there is none."""
        return None if self._held is None else self._held.ends_at - now

    async def _renewed_by_all(self, held: _Lease | None, exchange: Exchange) -> Credential:
        try:
            return await self._replaced(held.credential if held else None, exchange)
        except LimioError:
            if held is None or _now() >= held.ends_at:
                raise
            return held.credential

    async def _renewed_by_one(self, held: _Lease, exchange: Exchange) -> Credential:
        line = self._line()
        if line.asking is not None or _now() < line.early_again_at:
            return held.credential
        pause = _EARLY_PAUSES[min(line.early_failures, len(_EARLY_PAUSES) - 1)]
        line.early_failures += 1  # until it turns out to be none; also who is cancelled has tried
        line.early_again_at = _now() + pause
        try:
            async with asyncio.timeout(_EARLY_PATIENCE):
                return await self._replaced(held.credential, exchange)
        except (LimioError, TimeoutError) as error:
            _log.warning("early renewal of the token failed, it is good for a while: %r", error)
            return held.credential

    async def _replaced(self, old: Credential | None, exchange: Exchange) -> Credential:
        line = self._line()
        seen = line.renewals
        while line.asking is not None:  # all of them go on together: nobody has to wait for another's turn
            await line.asking.wait()
        held = self._held
        if held is not None and (held.credential != old or line.renewals != seen):
            return held.credential  # somebody renewed meanwhile, be it to the same value again
        if line.failure is not None and _now() < line.ask_again_at:
            raise _again(line.failure)
        line.asking = ended = asyncio.Event()
        try:
            if line.cut_short > 1:  # nobody waits long enough for the answer: one request a pause is plenty
                await asyncio.sleep(max(0.0, line.ask_again_at - _now()))
            self._held = held = await self._asked(line, exchange)
            return held.credential
        finally:
            line.asking = None
            ended.set()

    async def _asked(self, line: _Line, exchange: Exchange) -> _Lease:
        line.failure = None
        line.cut_short += 1  # unless it comes to an end
        line.ask_again_at = _now() + _PAUSE
        try:
            lease = await self._fetched(exchange)
        except LimioError as error:
            line.failure = _again(error)
            line.cut_short = 0
            line.ask_again_at = _now() + _PAUSE
            raise
        line.renewals += 1
        line.cut_short = line.early_failures = 0
        return lease

    async def _fetched(self, exchange: Exchange) -> _Lease:
        form = self._form
        try:
            return await self._granted(form, exchange)
        except Unauthorized:
            if not await self._rotated(form):
                raise
        return await self._granted(self._form, exchange)

    async def _granted(self, form: Mapping[str, str], exchange: Exchange) -> _Lease:
        asked_at = _now()
        response = await exchange(token_request(form))
        return _lease(read_token(response, form), asked_at, random.random())  # noqa: S311

    async def _rotated(self, refused: Mapping[str, str]) -> bool:
        """Whether there is another secret than in the *refused* form: the file's, or one read for another loop."""
        if self._file is not None and self._form == refused:
            self._form = {**refused, "client_secret": await self._file.read_again()}
        return self._form != refused

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None or line.process != Forks.count:  # nobody here ends what a parent process has begun
            line = self._lines[loop] = _Line()
        return line

    def __repr__(self) -> str:
        return f"ClientCredentials({self._form['client_id']!r}, '***')"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _again(error: LimioError) -> LimioError:
    """*error* to be raised once more, without the traceback that holds on to whoever raised it before."""
    again = type(error).__new__(type(error), *error.args)
    again.__dict__.update(error.__dict__)
    return again
