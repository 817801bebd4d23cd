"""Draws pages with damaged items, and judges how they are read: `python -m tests.unit.torn_pages 100000 [SEED]`.

A page has to be `Unreadable`, or its items exactly those that were drawn, byte for byte, the damaged one too.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from limio_async.core.listing.reader import PageReader
from limio_async.core.wire import UNDECODABLE
from limio_async.errors import Unreadable
from tests.unit.helpers import KEY, listing_of

__all__ = ["DAMAGES", "SEVERAL", "Draw", "Page", "verdict"]

_TEXTS = [
    "", " ", "a", "5 screen", "Größe", "😀", "1", "null", "x, y", "{", "}", "},{", "} , {", "[", "]", "],[", "]}", ":", ",",
    '"', "\\", '\\"', '"},{"', '{"id":"n"}', '},{"id":"n"', '","b":"', '":', ',"', '"]}', "true,", "\n", "\\n", ":1,",
]  # fmt: skip
_KEYS = ["id", "name", "x", "items", "a b", "}", '"', ",", "queryMore", "{", "\\"]
_READER = PageReader[bytes](listing_of(KEY), msgspec.Raw)


class Page:
    """A page: what stands before its items, the items, what stands between two, what stands behind them."""

    def __init__(self, head: bytes, items: list[bytes], comma: bytes, tail: bytes) -> None:
        self.head = head
        self.items = items
        self.comma = comma
        self.tail = tail
        self.cut: int | None = None

    @property
    def body(self) -> bytes:
        """Return it as it is answered."""
        return (self.head + self.comma.join(self.items) + self.tail)[: self.cut]


class Draw:
    """Draws what a seed says; *wild* texts are full of what JSON is written with."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.wild = self.dice.random() < 0.7

    def text(self) -> str:
        """Draw a text."""
        if not self.wild:
            return "".join(self.dice.choices("abc xyz,.-éß😀", k=self.dice.randrange(9)))
        return "".join(self.dice.choices(_TEXTS, k=self.dice.choice([0, 1, 1, 1, 2, 3, 5])))

    def value(self, depth: int = 0) -> Any:
        """Draw a value."""
        kind = self.dice.randrange(5 if depth > 2 else 8)
        if kind < 3:
            return self.text()
        if kind < 5:
            return self.dice.choice([None, True, 0, -1.5, 1e9, 12])
        if kind == 5:
            return [self.value(depth + 1) for _ in range(self.dice.randrange(4))]
        return self.fields(depth + 1)

    def fields(self, depth: int = 0) -> dict[str, Any]:
        """Draw an object."""
        names = _KEYS if self.wild else _KEYS[:3]
        first = {"id": f"i{self.dice.randrange(99)}"} if self.dice.random() < 0.8 else {}
        return first | {self.dice.choice(names): self.value(depth) for _ in range(self.dice.randrange(4))}

    def page(self) -> Page:
        """Draw a page."""
        ascii_, indent = self.dice.random() < 0.5, self.dice.choice([None, None, None, 1])
        marks = self.dice.choice([(",", ":"), (", ", ": ")])

        def written(value: Any) -> bytes:
            return json.dumps(value, ensure_ascii=ascii_, indent=indent, separators=marks).encode()

        items = [written(self.fields()) for _ in range(self.dice.choice([1, 1, 2, 3, 3, 4, 6]))]
        blank = self.dice.choice([b"", b"", b" ", b"\n "])
        before: dict[str, Any]
        after: dict[str, Any]
        before, after = ({}, {"queryMore": "n"}) if self.dice.random() < 0.7 else ({"hits": 9}, {})
        if self.wild and self.dice.random() < 0.3:
            before, after = before | {"said": self.text()}, after | {"more": self.value()}
        head = b"{" + (written(before)[1:-1].rstrip() + b"," if before else b"") + b'"items":[' + blank
        tail = blank + b"]" + (b"," + written(after)[1:-1] if after else b"") + b"}"
        return Page(head, items, blank + b"," + blank, tail)

    # --- damages

    def quote_added(self, text: bytes) -> bytes:
        at = self.dice.randrange(1, max(2, len(text)))
        return text[:at] + b'"' + text[at:]

    def byte_dropped(self, text: bytes, of: bytes) -> bytes:
        places = [at for at, one in enumerate(text) if one in of]
        at = self.dice.choice(places) if places else len(text)
        return text[:at] + text[at + 1 :]

    def quote_damage(self, text: bytes) -> bytes:
        """Add a quote, drop one, or drop what escapes it."""
        how = self.dice.randrange(3)
        if how == 2 and b'\\"' in text:
            return text.replace(b'\\"', b'"', 1)
        return self.quote_added(text) if how else self.byte_dropped(text, b'"')

    def bracket_dropped(self, text: bytes) -> bytes:
        return self.byte_dropped(text, b"[]{}")

    def byte_changed(self, text: bytes) -> bytes:
        at = self.dice.randrange(1, max(2, len(text)))
        return text[:at] + bytes([self.dice.choice(b'"\\,:[]{}a1 \n')]) + text[at + self.dice.randrange(2) :]


def _in_items(*damages: Callable[[Draw, bytes], bytes], apart: bool = False) -> Callable[[Draw, Page], None]:
    """Damage one item in several ways, or *apart*, one item each."""

    def damage(draw: Draw, page: Page) -> None:
        places = draw.dice.choices(range(len(page.items)), k=1)
        if apart:
            places = draw.dice.sample(range(len(page.items)), k=min(len(damages), len(page.items)))
        for number, one in enumerate(damages):
            at = places[number % len(places)]
            page.items[at] = one(draw, page.items[at])

    return damage


def _frame(draw: Draw, page: Page) -> None:
    if draw.dice.random() < 0.5:
        page.head = draw.quote_damage(page.head)
    else:
        page.tail = draw.quote_damage(page.tail)


def _cut(draw: Draw, page: Page) -> None:
    page.cut = draw.dice.randrange(1, len(page.body))


def _cut_and_torn(draw: Draw, page: Page) -> None:
    DAMAGES["a quote"](draw, page)
    _cut(draw, page)


def _frame_and_torn(draw: Draw, page: Page) -> None:
    DAMAGES["a quote"](draw, page)
    _frame(draw, page)


_QUOTE, _BRACKET = Draw.quote_damage, Draw.bracket_dropped

DAMAGES: dict[str, Callable[[Draw, Page], None]] = {
    "a quote": _in_items(_QUOTE),
    "a bracket": _in_items(_BRACKET),
    "a byte": _in_items(Draw.byte_changed),
    "two quotes of one item": _in_items(_QUOTE, _QUOTE),
    "two items": _in_items(_QUOTE, _QUOTE, apart=True),
    "three items": _in_items(_QUOTE, _QUOTE, _QUOTE, apart=True),
    "a bracket and a quote": _in_items(_BRACKET, _QUOTE),
    "a bracket and a quote apart": _in_items(_BRACKET, _QUOTE, apart=True),
    "the frame": _frame,
    "the frame and an item": _frame_and_torn,
    "cut": _cut,
    "cut and torn": _cut_and_torn,
}

SEVERAL = frozenset({one for one in DAMAGES if "two" in one or "three" in one or "and a" in one})
"""Those that may leave what one damage leaves of another page."""


def verdict(seed: int, damage: str) -> tuple[str, Page, list[bytes]]:
    """Return what came of a page, the page, and what was read.

    `json`: the damage left it JSON. `unreadable`. `exact`. `lookalike`: every item that was not damaged came as it was,
    but not each of several that were, as the page is what another one with less damage is. `wrong`: anything else.
    """
    draw = Draw(seed)
    page = draw.page()
    drawn = [*page.items]
    DAMAGES[damage](draw, page)
    try:
        msgspec.json.decode(page.body)
    except UNDECODABLE:
        pass
    else:
        return "json", page, []
    try:
        read = [*map(bytes, _READER.split(page.body))]
    except Unreadable:
        return "unreadable", page, []
    if read == page.items and page.cut is None:
        return "exact", page, read
    whole = [one for one, was in zip(page.items, drawn, strict=True) if one == was]
    left = iter(read)
    lookalike = damage in SEVERAL and page.cut is None and all(one in left for one in whole)
    return "lookalike" if lookalike else "wrong", page, read


def main(draws: int, first: int) -> int:
    """Judge so many pages, and print what came of each kind of damage."""
    found: dict[str, Counter[str]] = {one: Counter() for one in DAMAGES}
    for seed in range(first, first + draws):
        damage = [*DAMAGES][seed // 2 % len(DAMAGES)] if seed % 2 else "a quote"
        said, page, read = verdict(seed, damage)
        found[damage][said] += 1
        if said == "wrong" and found[damage][said] <= 3:
            print(f"{damage}, seed {seed}:\n  {page.body!r}\n  drawn {page.items}\n  read  {read}")  # noqa: T201
    for one, counted in found.items():
        print(f"{one:30}", dict(counted))  # noqa: T201
    return sum(one["wrong"] for one in found.values())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0) > 0)
