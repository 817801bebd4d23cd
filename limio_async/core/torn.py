"""Finding the items of a page of which one has a quote too many or too few. Pure.

A page is cut only where there is no doubt. Whatever one quote, removed or added, makes JSON of it is tried. All that
is JSON then has to cut the page into the same items, with that quote inside of one of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from limio_async.core.splitter import BETWEEN, BLANKS, container, json_elements, member, pairs, quotes_in
from limio_async.core.tolerant import mended, mended_fields

__all__ = ["torn_id", "torn_page", "without_torn"]

_Fields = dict[str, msgspec.Raw]
_Cuts = list[tuple[int, int]]
_WIDEST = 128 * 1024  # bytes in which the quote is looked for
_MOST = 64  # repairs that are tried, as each costs a pass over the page
_CLOSES = re.compile(rb"(?<![ \t\r\n])(?=%b[,:\]}])" % BLANKS)
_OPENS = re.compile(rb"(?<=[:,\[{])%b" % BLANKS)
_FIRST, _LAST = re.compile(rb",%b{" % BLANKS), re.compile(rb"}%b," % BLANKS)


class _Repair(NamedTuple):
    """What makes a text an object of JSON: a quote that is removed or added at a place."""

    at: int
    lost: int  # bytes: 1 or -1
    text: bytes
    fields: _Fields


def torn_page(body: bytes, name: str) -> tuple[_Fields, list[msgspec.Raw]] | None:
    """Return the fields of a page and its items *name* one by one, as they came; None where there is any doubt."""
    repairs = _repairs(body)
    if (cuts := _agreed(repairs, body, name)) is None:
        return None
    array, *items = (msgspec.Raw(body[begin:end]) for begin, end in cuts)
    return {**repairs[0].fields, name: array}, items


def without_torn(body: bytes) -> bytes:
    """Return a page with null in place of its torn item; as it came where it has none."""
    repairs = _repairs(body)
    for name in repairs[0].fields if repairs else ():
        for begin, end in (_agreed(repairs, body, name) or ())[1:]:
            if mended_fields(body[begin:end]) is None:
                return b"%bnull%b" % (body[:begin], body[end:])
    return body


def torn_id(item: bytes) -> bytes | None:
    """Return the JSON of the id of an item with a quote too many or too few, where that quote is no part of it."""
    found: set[bytes] = set()
    for repair in _repairs(item):
        begin, end = member(repair.text, "id") or (0, len(repair.text))
        key = repair.text.rfind(b'"', 0, max(0, repair.text.rfind(b'"', 0, begin)))
        if key <= repair.at <= end:
            return None
        found.add(item[begin:end] if repair.at > end else item[begin + repair.lost : end + repair.lost])
    return found.pop() if len(found) == 1 else None


def _agreed(repairs: list[_Repair], body: bytes, name: str) -> _Cuts | None:
    cuts = [_cut(repair, body, name) for repair in repairs]
    return cuts[0] if cuts and all(one == cuts[0] for one in cuts) else None


def _cut(repair: _Repair, body: bytes, name: str) -> _Cuts | None:
    """Return where the array and each of its items came; None where that is doubtful, or the quote is in none of them."""
    text, at, lost = repair.text, repair.at, repair.lost
    array = repair.fields.get(name, b"")
    begin = text.find(b"[", text.find(b'"%b"' % name.encode()))
    end = begin + len(array)
    if text[begin : begin + 1] != b"[" or text[begin:end] != bytes(array):
        return None
    if (mended_fields(b"%bnull%b" % (text[:begin], text[end:])) or {}).get(name) != msgspec.Raw(b"null"):
        return None  # the key is mentioned elsewhere
    cuts, torn = [(begin, end + lost)], False
    for first, last in json_elements(text, begin, end):
        came = first + (lost if at <= first else 0), last + (lost if at < last else 0)
        cuts.append(came)
        if first < at < last:
            torn = not _may_be_more(body[slice(*came)], text[first:last])
        if text[first : first + 1] != b"{":
            return None
    return cuts if torn else None


def _may_be_more(came: bytes, repaired: bytes) -> bool:
    """Return whether a torn item begins or ends with what may be another, or has that in a text of what it was repaired to."""
    if (first := container(came, 0)) is not None and mended_fields(came[: first[1]]) is not None:
        return True
    for begin, end in pairs(quotes_in(repaired)):
        if (inner := _FIRST.search(repaired, begin, end)) and _LAST.search(repaired, inner.end(), end):
            return True
    starts = [found.end() - 1 for found in _FIRST.finditer(came)]
    return len(starts) > 1_000 or any(mended_fields(came[start:]) is not None for start in starts)


def _repairs(text: bytes) -> list[_Repair]:
    """Return all that one quote makes an object of *text*; none where too many have to be tried."""
    text = mended(text)
    quotes = quotes_in(text)
    low, high = _window(text, quotes) if len(quotes) % 2 else (0, _WIDEST + 1)
    if high - low > _WIDEST:
        return []
    tried = [(at, 1) for at in quotes if low <= at <= high]
    tried += [(at, -1) for at in _spots(text, quotes, low + 1, high)]
    found: list[_Repair] = []
    for at, lost in tried if len(tried) <= _MOST else ():
        repaired = text[:at] + text[at + 1 :] if lost == 1 else b'%b"%b' % (text[:at], text[at:])
        if (fields := mended_fields(repaired)) is not None:
            found.append(_Repair(at, lost, repaired, fields))
    return found


def _window(text: bytes, quotes: list[int]) -> tuple[int, int]:
    """Return between which places the quote is: what is before them reads well from the front, what is behind from the back."""

    def breaks(numbers: Iterable[int]) -> int | None:
        wrong = (n for n in numbers if not BETWEEN.fullmatch(text, quotes[n - 1] + 1, quotes[n]))
        return next(wrong, None)

    high, low = breaks(range(2, len(quotes), 2)), breaks(range(len(quotes) - 2, 0, -2))
    return quotes[low - 1] if low else 0, quotes[high] if high else len(text)


def _spots(text: bytes, quotes: list[int], low: int, high: int) -> Iterator[int]:
    """Yield where a quote may close a text, or open one."""
    ends = [-1, *quotes, len(text)]
    for found in (*_CLOSES.finditer(text, low, high + 1), *_OPENS.finditer(text, low, high + 1)):
        at = found.end()
        number = bisect_left(quotes, at)
        begin, end = (at, ends[number + 1]) if found.re is _CLOSES else (ends[number] + 1, at)
        if at <= high and (begin == 0 or end == len(text) or BETWEEN.fullmatch(text, begin, end)):
            yield at
