"""Odd bytes in one item: half surrogates, which can be read, and what no JSON may hold, which cannot.

Each is put where it hurts a reader that looks for the end of an item by its brackets, or for its id by its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

__all__ = ["spoilt"]

_HALVES: Sequence[tuple[bytes, str]] = (
    (rb"\ud83d", "\ufffd"),
    (rb"\uDC00", "\ufffd"),
    (rb"\ude00\ud83d", "\ufffd\ufffd"),
    (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    (rb"\ud83d\ude00\ude00", "\U0001f600\ufffd"),
    (rb"\ud800\\ud800", "\ufffd\\ud800"),
    (rb"\ud83d\\", "\ufffd\\"),
    (rb"\ud83d]},{\"", '\ufffd]},{"'),
    (rb"\ud83d\u0041", "\ufffdA"),
    (b"\xf0\x9f\x98\x80\\ud83d", "\U0001f600\ufffd"),
)
"""As they stand in JSON, and how they read: U+FFFD for each half that has no other."""
_NO_TEXT = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x82", b"\xc0\xaf", b"\xf0\x9f\x98", b'\xff]},{\\"')
"""Within quotes, and no UTF-8."""
_DEPTH = 20_000
_NO_VALUE = (b"NaN", b"Infinity", b"-Infinity", b"[NaN, 1]")
_DEEP = (
    b"[" * _DEPTH + b"]" * _DEPTH,
    b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH,
    b'[{"id":"id-0"},' * (_DEPTH // 2) + b"1" + b"]" * (_DEPTH // 2),
)


def spoilt(raw: bytes, name: str, r: Random, *, halves: bool) -> tuple[bytes, str, bool]:
    """*raw* with something odd in it, the name that it reads as then, and whether it cannot be read."""
    if halves or r.random() < 0.4:
        text, read = r.choice(_HALVES)
        if r.random() < 0.4:
            return _renamed(raw, name, text), f"{name} {read}", False
        return _with(raw, _field(text, r), r), name, False
    if r.random() < 0.5:
        text = r.choice(_NO_TEXT)
        if r.random() < 0.3:
            return _renamed(raw, name, text), name, True
        return _with(raw, _field(text, r), r), name, True
    value = r.choice(_DEEP if r.random() < 0.04 else _NO_VALUE)  # deep ones are long, and cost everybody time
    return _with(raw, b'"more":' + value, r), name, True


def _renamed(raw: bytes, name: str, text: bytes) -> bytes:
    quoted = name.encode()
    return raw.replace(b'"' + quoted + b'"', b'"' + quoted + b" " + text + b'"')


def _with(raw: bytes, field: bytes, r: Random) -> bytes:
    """*raw* with another field, as its first or last."""
    return b"{" + field + b"," + raw[1:] if r.random() < 0.5 else raw[:-1] + b"," + field + b"}"


def _field(text: bytes, r: Random) -> bytes:
    """A field whose value, key, or something within holds *text*."""
    forms = (
        b'"more":"%b"',
        b'"%b":1',
        b'"%b":{"id":"id-0"}',
        b'"more":{"id":"id-0","x":["%b",{"id":"id-1"}]}',
        b'"more":[[{"%b":[null]}]]',
        b'"more":"\\"id\\":\\"id-0\\",%b"',
    )
    return r.choice(forms) % text
