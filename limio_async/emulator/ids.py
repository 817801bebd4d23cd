"""Ids that look random, follow from the seed alone, and can be read back: nothing has to be stored."""

from __future__ import annotations

import binascii
from base64 import b32decode, b32encode
from hashlib import blake2b

__all__ = ["fingerprint", "hex_id", "name_hiding", "number_hidden_in", "number_in", "reference", "uuid"]


def fingerprint(*parts: object, length: int = 128) -> str:
    """*length* hex digits (at most 128) that depend on *parts* and nothing else."""
    return blake2b("/".join(map(str, parts)).encode(), digest_size=64).hexdigest()[:length]


def hex_id(digest: str, number: int, *, length: int) -> str:
    """*digest* cut to *length* hex digits, with *number* hidden in the first eight."""
    return f"{number ^ _mask(digest):08x}{digest[8:length]}"


def number_in(hexadecimal: str) -> int | None:
    """The number that `hex_id` hid; whoever asks must still check that it gives the same id."""
    try:
        return int(hexadecimal[:8], 16) ^ _mask(hexadecimal)
    except ValueError:
        return None


def _mask(hexadecimal: str) -> int:
    return int(hexadecimal[8:16], 16) * 0x9E3779B1 & 0xFFFFFFFF


def reference(*parts: object) -> str:
    """Twelve capitals and digits, as Limio names orders and subscriptions."""
    return b32encode(bytes.fromhex(fingerprint(*parts, length=16))).decode()[:12]


def name_hiding(number: int, *parts: object) -> str:
    """Like `reference`, with *number* hidden in it."""
    digest = f"{fingerprint(*parts, number, length=15)}0"  # twelve characters hold 60 bits
    return b32encode(bytes.fromhex(hex_id(digest, number, length=16))).decode()[:12]


def number_hidden_in(name: str) -> int | None:
    """The number that `name_hiding` hid; whoever asks must still check that it gives the same name."""
    try:
        return number_in(b32decode(f"{name}A===").hex()) if len(name) == 12 else None
    except (binascii.Error, ValueError):
        return None


def uuid(digest: str) -> str:
    """*digest* in the form of a UUID."""
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
