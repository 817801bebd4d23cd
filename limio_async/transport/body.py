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

__all__ = ["BACKEND", "Body", "BrokenOff", "TooLarge"]

BACKEND: Any = isal_zlib or zlib
"""The module that decompresses."""
_GZIP = 31  # the window bits that mean it
_MOST_MEMBERS = 1_000  # each costs a copy of what follows it


class BrokenOff(ValueError):
    """The body is not what its encoding says, or ends too early."""


class TooLarge(ValueError):
    """There is more of it than allowed."""


class Body:
    """The pieces of one body. Of what is beyond *limit* bytes, after decompression, nothing comes into being."""

    __slots__ = ("_left", "_member", "_members", "_pieces", "_zipped")

    def __init__(self, limit: int, *, zipped: bool) -> None:
        self._left = limit
        self._zipped = zipped
        self._member: Any = None
        self._members = 0
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """The next piece as it came. Raises `BrokenOff` and `TooLarge`."""
        for part in self._inflated(piece) if self._zipped else (piece,):
            self._left -= len(part)
            if self._left < 0:
                raise TooLarge
            self._pieces.append(part)

    def whole(self) -> bytes:
        """All of it. Raises `BrokenOff` where it ended too early."""
        if self._member is not None and not self._member.eof:
            raise BrokenOff
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _inflated(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._member is None or self._member.eof:  # a body may be several members in a row
                self._member = BACKEND.decompressobj(wbits=_GZIP)
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise BrokenOff
            try:
                yield self._member.decompress(piece, self._left + 1)
            except BACKEND.error:
                raise BrokenOff from None
            piece = self._member.unused_data if self._member.eof else b""
