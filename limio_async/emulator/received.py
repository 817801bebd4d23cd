"""The log of a world: which requests arrived last. Of bounded size, and kept as bytes that nothing has to look through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from urllib.parse import parse_qsl

import msgspec

__all__ = ["MOST_BYTES", "MOST_REQUESTS", "Log", "Received"]

MOST_REQUESTS = 10_000
MOST_BYTES = 16 * 2**20
"""Of all requests in the log together; the newest one is there in any case."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A request that arrived, without its secrets."""

    operation: str | None
    """None where method and path mean no operation."""
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None
    at: float
    """On the world's clock."""
    status: int
    """What was answered, whether or not the answer arrived."""
    fault: str | None = None
    """What went wrong, if a fault or a script was in play."""

    @property
    def query(self) -> Mapping[str, str]:
        """The decoded query."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Received).decode


class Log:
    """The last requests, at most `MOST_REQUESTS` and `MOST_BYTES` of them."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque()
        self._bytes = 0

    def note(self, received: Received) -> None:
        """Remember a request; forget the oldest of too many."""
        try:
            entry = _encode(received)
        except UnicodeEncodeError:  # bytes that are no UTF-8, in the target or a header
            entry = _encode(_readable(received))
        self._kept.append(entry)
        self._bytes += len(entry)
        while len(self._kept) > MOST_REQUESTS or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft())

    def __iter__(self) -> Iterator[Received]:
        return map(_decode, self._kept)

    def latest(self, most: int) -> list[Received]:
        """Return the last *most* requests, newest first."""
        return [_decode(entry) for entry in islice(reversed(self._kept), most)]


def _readable(received: Received) -> Received:
    return msgspec.structs.replace(
        received,
        method=_text(received.method),
        target=_text(received.target),
        headers={_text(name): _text(value) for name, value in received.headers.items()},
    )


def _text(text: str) -> str:
    return text.encode(errors="surrogatepass").decode(errors="replace")
