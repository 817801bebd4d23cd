"""Who may come in, and what they may bring: decided alike for every web server. Stores and logs no header."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from limio_async.errors import ConfigurationError, LimioError
from limio_async.webhooks.event import Entry

__all__ = ["IN_A_THREAD", "Answer", "Credentials", "Door", "Gone", "Knock"]

Credentials = tuple[str, str]
"""User and password."""
_log = logging.getLogger("limio_async")
_LARGEST = 6 * 2**20
_READ_WITHIN = 5.0
_STORE_WITHIN = 1.5
_MOST_MEMBERS = 100
IN_A_THREAD = 2**16
"""Bodies larger than that are not parsed in the event loop."""
_ONE_LINE = 60.0
_PLAIN = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_WRAPPED = frozenset({8, 15})  # how zlib and gzip begin, in the lower half of the first byte


class Gone(Exception):
    """Nobody waits for an answer any more."""


class Knock(msgspec.Struct, frozen=True, kw_only=True):
    """A request before any of its body was read."""

    method: str
    type: str | None
    """The last part of the path; None where the path is another."""
    authorization: Sequence[bytes] = ()
    encoding: str = ""
    length: int | None = None

    def __repr__(self) -> str:  # crash reports show it
        return f"<Knock {self.method}>"


class Answer(msgspec.Struct, frozen=True):
    """What is answered."""

    status: int
    words: str = ""
    headers: Mapping[str, str] = {}


class _Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        self.answer = Answer(status, words, {"Connection": "close"} if status == 413 else {})


_LATER = {"Retry-After": "5"}


class Door:
    """Lets in whoever has one of two pairs of credentials; *read* gets the type and the bytes of each body, *store* the entry.

    Credentials come before anything of the body, its size while it is read, and the answer after it is stored.
    """

    def __init__(
        self,
        read: Callable[[str, bytes], Awaitable[Entry]],
        store: Callable[[Entry], Awaitable[object]],
        credentials: Sequence[Credentials],
        *,
        allow_anonymous: bool = False,
    ) -> None:
        if not credentials and not allow_anonymous:
            raise ConfigurationError(
                "a receiver needs credentials=(user, password); allow_anonymous=True lets everybody in"
            )
        if len(credentials) > 2 or any(not user or ":" in user or not word for user, word in credentials):
            raise ConfigurationError("credentials are one or two pairs, none empty, no user with a colon")
        if any(ord(one) < ord(" ") or one == "\x7f" for one in "".join(map("".join, credentials))):
            raise ConfigurationError(
                "credentials hold a control character, such as the end of a line: leave it out"
            )
        self._read, self._store = read, store
        self._pairs = [pair for one in credentials for pair in _spellings(*one)]
        self._told = 0.0

    async def answer(self, knock: Knock, chunks: AsyncIterator[bytes]) -> Answer:
        """Return what to answer; *chunks* are read only where the request may be stored. Raises `Gone`."""
        refused = self.before(knock)
        if refused is not None:
            return refused
        try:
            async with asyncio.timeout(_READ_WITHIN):
                text = await _read(chunks, knock.encoding.lower())
        except TimeoutError:
            return Answer(503, "the body did not come in time", {**_LATER, "Connection": "close"})
        except _Refused as error:
            return error.answer
        return await self._stored(knock.type or "", text)

    def before(self, knock: Knock) -> Answer | None:
        """Return what is answered without the body; None where that is to be read."""
        if self._pairs and not self._admits(knock.authorization):
            return Answer(401, "", {"WWW-Authenticate": 'Basic realm="hooks"', "Connection": "close"})
        if knock.type is None:
            return Answer(404, "webhooks go to /hooks/{type}")
        if knock.method in {"GET", "HEAD"}:
            return Answer(204)
        if knock.method != "POST":
            return Answer(405, "", {"Allow": "GET, HEAD, POST", "Connection": "close"})
        if knock.encoding.lower() not in _PLAIN | _PACKED:
            return Answer(415, "the body is encoded in a way not known here", {"Connection": "close"})
        if knock.length is not None and knock.length > _LARGEST:
            return _too_large().answer
        return None

    def _admits(self, authorization: Sequence[bytes]) -> bool:
        scheme, _, token = (authorization[0] if len(authorization) == 1 else b"").partition(b" ")
        try:
            given = base64.b64decode(token.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        user, _, word = given.partition(b":")
        found = False
        for known, secret in self._pairs:  # all of them, both parts: it takes as long whatever is wrong
            found |= hmac.compare_digest(user, known) & hmac.compare_digest(word, secret)
        return found and scheme.lower() == b"basic"

    async def _stored(self, type: str, text: bytes) -> Answer:
        try:
            entry = await self._read(type, text)
        except ValueError as error:
            return Answer(400, str(error))
        try:
            async with asyncio.timeout(_STORE_WITHIN):  # for the commit only
                await self._store(entry)
        except TimeoutError:
            self._tell(f"the store took longer than {_STORE_WITHIN:g} seconds")
            return Answer(503, "it may not be stored: send it again", _LATER)
        except LimioError as error:
            self._tell(error)
            return Answer(503, "it may not be stored: send it again", _LATER)
        return Answer(202)

    def _tell(self, why: object) -> None:
        if (now := asyncio.get_running_loop().time()) >= self._told:
            self._told = now + _ONE_LINE
            _log.error("a webhook could not be stored, and is answered 503: %s", why)


def _spellings(user: str, word: str) -> list[tuple[bytes, bytes]]:
    found = [(user.encode(), word.encode())]
    try:
        latin = user.encode("latin-1"), word.encode("latin-1")
    except UnicodeEncodeError:
        return found
    return found if latin in found else [*found, latin]


async def _read(chunks: AsyncIterator[bytes], encoding: str) -> bytes:
    text, box, came = bytearray(), _Box(encoding) if encoding in _PACKED else None, 0
    async for chunk in chunks:
        came += len(chunk)
        if came > _LARGEST:
            raise _too_large()
        if box is None:
            text += chunk
        else:
            box.unpack(chunk, text)
    if box is not None:
        box.end()
    return bytes(text)


class _Box:
    """What is packed by gzip or deflate, unpacked no further than it may be large."""

    def __init__(self, encoding: str) -> None:
        self._encoding, self._members = encoding, 0
        self._unpacker: Any = None

    def unpack(self, data: bytes, text: bytearray) -> None:
        while data:
            if self._unpacker is None or self._unpacker.eof:
                self._members += 1
                bare = self._encoding == "deflate" and data[0] & 15 not in _WRAPPED  # many send it so
                self._unpacker = zlib.decompressobj(-15 if bare else 47)
            try:
                text += self._unpacker.decompress(data, _LARGEST + 1 - len(text))
            except zlib.error:
                raise _Refused(400, "the body is not encoded as it says") from None
            if len(text) > _LARGEST:
                raise _too_large()
            if self._members > _MOST_MEMBERS:
                raise _Refused(400, "the body is packed in too many parts")
            data = self._unpacker.unused_data or self._unpacker.unconsumed_tail

    def end(self) -> None:
        if self._unpacker is None or not self._unpacker.eof:
            raise _Refused(400, "the body is not encoded as it says")


def _too_large() -> _Refused:
    return _Refused(413, f"a body has at most {_LARGEST >> 20} MiB")
