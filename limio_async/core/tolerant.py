"""Reading what msgspec refuses: half surrogates mended, an element that cannot be read as null. Pure."""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec

from limio_async.core.splitter import elements, members
from limio_async.core.wire import UNDECODABLE

__all__ = ["mended", "mended_fields", "readable"]

_FIELDS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPED = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def mended(text: bytes) -> bytes:
    r"""Return JSON with U+FFFD in place of each half of a surrogate pair, as long as it was; whole pairs stay."""
    if not _HALF.search(text):
        return text
    return _ESCAPED.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def mended_fields(text: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the fields of an object, each as its bytes, once it is mended; None where *text* is none."""
    with suppress(*UNDECODABLE):
        return _FIELDS.decode(mended(text))
    return None


def readable(text: bytes) -> bytes:
    """Return an object with null in place of each element of its lists that cannot be read."""
    parts: list[bytes] = []
    done = 0
    for _, begin, end in members(text):
        for first, last in elements(text[begin:end]) or ():
            try:
                msgspec.json.decode(text[begin + first : begin + last])
            except UNDECODABLE:
                parts += [text[done : begin + first], b"null"]
                done = begin + last
    return b"".join([*parts, text[done:]])
