"""Gathering the body of an answer up to a limit, decompressed (gzip, RFC 1952): isal, where it is installed, does that in
less than half of zlib's time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

try:
    from isal import isal_zlib
except ImportError:  # it comes with the extra `fast`
    isal_zlib = None  # type: ignore[assignment]

__all__ = ["BACKEND", "Body", "BrokenOff", "NotGzip", "TooLarge"]

BACKEND: Any = isal_zlib or zlib
"""The module that decompresses."""
_GZIP = 31  # the window bits that mean it
_MAGIC = b"\x1f\x8b\x08"
_MOST_MEMBERS = 1_000  # each costs a copy of what follows it
_MOST_JUNK = 64 * 1024


class BrokenOff(ValueError):
    """The body is not what its encoding says, or ends too early."""


class NotGzip(BrokenOff):
    """The body does not begin as gzip does."""


class TooLarge(ValueError):
    """There is more of it than allowed."""


class Body:
    """The pieces of one body. Of what is beyond *limit* bytes, after decompression, nothing comes into being.

    After the end of gzip, another member or up to 64 KiB of anything else may follow, which is dropped.
    """

    __slots__ = ("_between", "_junk", "_left", "_member", "_members", "_pieces", "_start", "_zipped")

    def __init__(self, limit: int, *, zipped: bool) -> None:
        self._left = limit
        self._zipped = zipped
        self._member: Any = None
        self._pieces: list[bytes] = []
        if zipped:
            self._members = 0
            self._start = b""
            self._between: bytes | None = b""  # the beginning of what may be a member; None after junk
            self._junk = 0

    def add(self, piece: bytes) -> None:
        """The next piece as it came. Raises `BrokenOff` and `TooLarge`."""
        for part in self._inflated(piece) if self._zipped else (piece,):
            self._left -= len(part)
            if self._left < 0:
                raise TooLarge
            self._pieces.append(part)

    def whole(self) -> bytes:
        """All of it. Raises `BrokenOff` where it ended too early."""
        if self._member is not None:
            if not self._member.eof:
                raise self._broken()
            if self._between and len(self._between) > 1:  # a member that has hardly begun
                raise BrokenOff
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _inflated(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._member is None or self._member.eof:
                if self._members and not (piece := self._next_member(piece)):
                    return
                self._member = BACKEND.decompressobj(wbits=_GZIP)
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise BrokenOff
            if len(self._start) < len(_MAGIC):
                self._start = (self._start + piece[: len(_MAGIC)])[: len(_MAGIC)]
            try:
                yield self._member.decompress(piece, self._left + 1)
            except BACKEND.error:
                raise self._broken() from None
            piece = self._member.unused_data if self._member.eof else b""

    def _next_member(self, piece: bytes) -> bytes:
        """Return what begins another member; nothing as long as none begins."""
        begun = b""
        if self._between is None:
            self._junk += len(piece)
        else:
            tail = self._between + piece
            begun = tail.lstrip(b"\0")
            self._junk += len(tail) - len(begun)
            if begun.startswith(_MAGIC):
                self._between = b""
            elif _MAGIC.startswith(begun):
                self._between, begun = begun, b""
            else:
                self._junk += len(begun)
                self._between, begun = None, b""
        if self._junk > _MOST_JUNK:
            raise BrokenOff("more than 64 KiB follow the end of the answer's gzip")
        return begun

    def _broken(self) -> BrokenOff:
        return (
            BrokenOff()
            if _MAGIC.startswith(self._start)
            else NotGzip("the answer is announced as gzip and is none")
        )
