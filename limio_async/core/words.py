"""What the body of an answer says, in one short line. Error bodies are undocumented: JSON of some shape, or text. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import msgspec

from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE

__all__ = ["one_line", "words_of"]

_NAMES = (
    "message", "msg", "error_description", "error", "errors", "detail", "errormessage", "title", "description", "reason",
)  # fmt: skip
"""Where words are looked for, best first; the case of a name does not count."""
_LONGEST = 200
_LONGEST_READ = 256 * 1024  # a longer body is not read as JSON: its beginning is shown
_DEEPEST = 8
_MOST = 20  # elements of a list that are looked at


def words_of(body: bytes, *, hide: Collection[str] = (), of_text: bool = True) -> str:
    """Return what *body* says, without what to *hide*; empty if it says nothing.

    Where no known name holds words, that is the beginning of the text, but for bodies of which only what they
    say by name may be shown (*of_text* is false).
    """
    body = body.removeprefix(BOM)
    text = body[: 4 * _LONGEST].decode(errors="replace").strip()
    if text.startswith("<"):
        return "(a page of HTML)"
    said = ""
    try:
        value = msgspec.json.decode(mended(body)) if len(body) <= _LONGEST_READ else text
    except UNDECODABLE:
        value = text
    else:
        said = _named(value, loose=False) or _named(value, loose=True)
        if not value and not isinstance(value, int | float):
            text = ""  # nothing in it
    if not said and of_text:
        said = text
    for secret in hide:
        said = said.replace(secret, "***")
    return one_line(said)


def one_line(text: str) -> str:
    """Return *text* as one short line of characters that can be printed."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: 8 * _LONGEST]).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _named(value: Any, *, loose: bool, deep: int = 0) -> str:
    """Return the words in a value of JSON; *loose*, also those under names that are nobody's."""
    if isinstance(value, str):
        return value.strip() if one_line(value.strip()) else ""
    if deep == _DEEPEST:
        return ""
    if isinstance(value, list):
        some: list[Any] = value[:_MOST]  # pyright: ignore[reportUnknownVariableType]
        return next(filter(None, (_named(one, loose=loose, deep=deep + 1) for one in some)), "")
    if not isinstance(value, dict):
        return ""
    fields = cast("dict[str, Any]", value)
    known = {key: one for name, one in reversed(fields.items()) if (key := name.lower()) in _NAMES}
    for name in _NAMES:
        if name in known and (said := _named(known[name], loose=loose, deep=deep + 1)):
            return said
    if loose and deep:
        for name, one in list(fields.items())[:_MOST]:
            if one is not known.get(name.lower()) and (said := _named(one, loose=loose, deep=deep + 1)):
                return f"{name}: {said}"
    return ""
