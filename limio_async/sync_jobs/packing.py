"""Packing the items of a page into one value, each as its exact bytes, also where they are no JSON. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from limio_async.core.codec import raw_items

__all__ = ["pack", "unpack"]

_MARK = b"\x01"  # no JSON begins with it: pages of 0.1 are arrays


def pack(items: Sequence[bytes | msgspec.Raw]) -> bytes:
    """Return *items* as one value, which `unpack` takes apart: a mark, their number, their sizes, their bytes."""
    sizes = struct.pack(f"<I{len(items)}Q", len(items), *map(len, items))
    return b"".join([_MARK, sizes, *map(bytes, items)])


def unpack(packed: bytes) -> list[msgspec.Raw]:
    """Return the items of a page that `pack` or 0.1 packed. Raises `msgspec.DecodeError` where it is damaged."""
    if not packed.startswith(_MARK):
        return raw_items(packed)
    try:
        (count,) = struct.unpack_from("<I", packed, 1)
        sizes = struct.unpack_from(f"<{count}Q", packed, 5)
    except struct.error:
        raise msgspec.DecodeError("a damaged page") from None
    at = 5 + 8 * count
    if at + sum(sizes) != len(packed):
        raise msgspec.DecodeError("a damaged page")
    items: list[msgspec.Raw] = []
    for size in sizes:
        items.append(msgspec.Raw(packed[at : at + size]))
        at += size
    return items
