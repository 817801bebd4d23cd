"""Finding the parts of JSON whose brackets match, where msgspec refuses it as a whole. Pure.

Nothing recurses, so nesting may be of any depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import pairwise

import msgspec

from limio_async.core.wire import UNDECODABLE

__all__ = [
    "BETWEEN",
    "BLANKS",
    "container",
    "elements",
    "is_doubtful",
    "is_json",
    "json_elements",
    "member",
    "members",
    "pairs",
    "quotes_in",
]

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ABSORBED = 10  # levels of nesting that one match passes over; deeper ones are counted
_KEY = re.compile(rb"(%b)[ \t\r\n]*:[ \t\r\n]*" % _STRING, re.DOTALL)
_BLANK = b" \t\r\n"
_TO_QUOTE = re.compile(rb'[^"\\]*+(?:\\.?[^"\\]*+)*+(?:(")|\Z)', re.DOTALL)
BLANKS = rb"[ \t\r\n]*+"
_LITERAL = rb"(?:(?:true|false|null|-?\d[\d.eE+-]*+)%b)?" % BLANKS
BETWEEN = re.compile(
    rb"%b(?:[:,]|[:,\]}]%b%b(?:[:,\[\]{}]%b%b)*[:,\[{])%b"
    % (BLANKS, BLANKS, _LITERAL, BLANKS, _LITERAL, BLANKS)
)
"""Matches all that stands between two texts in JSON, and a little more."""
_TEXT = re.compile(_STRING, re.DOTALL)
_OUTSIDE = frozenset(b'"\\')  # what stands in texts only
_ELEMENTS: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_BORDER = re.compile(rb"}[ \t\r\n]*+,[ \t\r\n]*+{")
_NO_NUMBER = re.compile(rb"NaN|-?Infinity")


@cache
def _next() -> re.Pattern[bytes]:
    """Matches up to the next comma or bracket outside of strings and of what is not nested too deep."""
    inner = run = rb'[^"\[\]{}]*+(?:%b[^"\[\]{}]*+)*+' % _STRING
    for _ in range(_ABSORBED):
        inner = rb"%b(?:[\[{]%b[\]}]%b)*+" % (run, inner, run)
    run = rb'[^"\[\]{},]*+(?:%b[^"\[\]{},]*+)*+' % _STRING
    return re.compile(rb'%b(?:[\[{]%b[\]}]%b)*+(?:([\[\]{},])|"|\Z)' % (run, inner, run), re.DOTALL)


def container(text: bytes, begin: int) -> tuple[list[tuple[int, int]], int] | None:
    """Return where the elements or members of what opens at *begin* begin and end, and where it ends itself.

    None where its brackets and quotes do not match up.
    """
    cuts, depth = [begin], 1
    for found in _next().finditer(text, begin + 1):
        mark, at = found[1], found.end() - 1
        if mark is None:
            break
        if mark != b",":
            depth += 1 if mark in b"[{" else -1
        elif depth == 1:
            cuts.append(at)
        if not depth:
            parts = _between(text, [*cuts, at]) if text[at] == text[begin] + 2 else None
            return None if parts is None else (parts, at + 1)
    return None


def json_elements(text: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    """Return where the elements of an array that is JSON begin and end. Raises what msgspec does."""
    found: list[tuple[int, int]] = []
    at = begin + 1
    for element in _ELEMENTS.decode(memoryview(text)[begin:end]):
        while text[at] in b" \t\r\n,":
            at += 1
        found.append((at, at := at + len(element)))
    return found


def elements(text: bytes, form: bytes = b"[") -> list[tuple[int, int]] | None:
    """Return where the elements of an array begin and end, or the members of an object where *form* is `{`."""
    begin = len(text) - len(text.lstrip(_BLANK))
    found = container(text, begin) if text[begin : begin + 1] == form else None
    return None if found is None or text[found[1] :].strip(_BLANK) else found[0]


def _between(text: bytes, cuts: list[int]) -> list[tuple[int, int]] | None:
    """The parts between *cuts*, without the blanks around them; None where one of several is empty."""
    found: list[tuple[int, int]] = []
    for before, end in pairwise(cuts):
        part = text[before + 1 : end]
        found.append((end - len(part.lstrip(_BLANK)), before + 1 + len(part.rstrip(_BLANK))))
    sound = all(begin < end for begin, end in found)
    return found if sound else [] if len(found) == 1 else None


def members(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the keys of an object as they came, with where the value of each begins and ends."""
    for begin, end in elements(text, b"{") or ():
        if (key := _KEY.match(text, begin, end)) is not None:
            yield key[1], key.end(), end


def member(text: bytes, name: str) -> tuple[int, int] | None:
    """Return where the value of an object's member *name* begins and ends; of several, the last counts."""
    found = [(begin, end) for key, begin, end in members(text) if _says(key, name)]
    return found[-1] if found else None


def _says(key: bytes, name: str) -> bool:
    with suppress(*UNDECODABLE):
        return key == b'"%b"' % name.encode() or (b"\\" in key and msgspec.json.decode(key) == name)
    return False


def is_doubtful(array: bytes, items: Iterable[bytes]) -> bool:
    """Return whether *items*, between which the brackets of an array match, may be others.

    They may where its quotes do not match, or where what an item that is no JSON has as a text may be the border of two.
    """
    if b"\\" not in array:
        if array.count(b'"') % 2:
            return True
    elif not _OUTSIDE.isdisjoint(_TEXT.sub(b"", array)):
        return True
    return any(_BORDER.search(one) and _has_border_in_text(one) for one in items if not is_json(one))


def is_json(item: bytes) -> bool:
    """Return whether *item* is JSON in its form, whatever its texts and numbers hold."""
    try:
        msgspec.json.decode(item, type=msgspec.Raw)
    except UNDECODABLE:
        return False
    return True


def _has_border_in_text(item: bytes) -> bool:
    quotes = quotes_in(item)
    if not any(_BORDER.search(item, begin, end) for begin, end in pairs(quotes)):
        return False
    ends = [-1, *quotes, len(item)]
    bare = b'""'.join(item[begin + 1 : end] for begin, end in pairs(ends))
    try:
        msgspec.json.decode(_NO_NUMBER.sub(b"0", bare))
    except UNDECODABLE:
        return True
    return False


def quotes_in(text: bytes) -> list[int]:
    """Return the places of the quotes that are not escaped."""
    return [found.end() - 1 for found in _TO_QUOTE.finditer(text) if found[1]]


def pairs(places: list[int]) -> Iterator[tuple[int, int]]:
    """Return *places* two by two."""
    return zip(places[::2], places[1::2], strict=False)
