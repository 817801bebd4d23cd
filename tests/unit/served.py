"""A list behind any kind of cursor, as a transport: it keeps state where the kind does, and lies where it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from limio_async.auth import NoAuth
from limio_async.core.listing import Checkpoint, Listing
from limio_async.core.session import Session
from limio_async.core.wire import Paging, Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, OPAQUE, SCROLL, WHOLE, Item, answer, listing_of

__all__ = ["KINDS", "LENGTHS", "Served", "names", "taken"]

KINDS = {
    "scroll": SCROLL,
    "key": KEY,
    "opaque": msgspec.structs.replace(OPAQUE, hits="hits"),
    "whole": WHOLE,
}
LENGTHS = (1, 2, 50)


def names(count: int) -> list[str]:
    return [f"i{n}" for n in range(count)]


class Served:
    """A list of items with these ids, and pages of *length* where no size is asked for.

    `edit` may change a page before it is sent: it gets its number within the pass, its items and its body.
    """

    def __init__(
        self, kind: str, ids: Sequence[str], length: int, *, hits: Any = ..., commit: str = "c1"
    ) -> None:
        self.paging: Paging = KINDS[kind]
        self.kind = kind
        self.ids = list(ids)
        self.length = length
        self.hits = len(ids) if hits is ... else hits
        self.commit = commit
        self.text = "same"
        """What a scroll's cursor says: always the `same`, or `other` on each page."""
        self.edit: Callable[[int, dict[str, Any]], Any] = lambda number, body: body
        self.asked: list[tuple[int, int]] = []
        """Where each page began, and its size."""
        self._scrolls: dict[str, tuple[int, int]] = {}
        self._number = 0

    def listing(self, **options: Any) -> Listing[Item]:
        """The list, in a new client."""
        session = Session(ScriptedTransport(self), NoAuth(), attempts=1)
        return session.list(listing_of(self.paging), {}, **options)

    def __call__(self, request: Request) -> Response:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        cursor = query.get("opt.queryMoreFrom") or query.get("queryMore") or ""
        self._number = self._number + 1 if cursor else 1
        size = int(query.get("limit") or query.get("opt.pageSize") or self.length)
        if self.kind == "whole":
            size = max(1, len(self.ids))
        begin = self._position(cursor)
        self.asked.append((begin, size))
        end = begin + size
        scroll = cursor.partition("-")[0] if cursor else f"s{len(self.asked)}"
        self._scrolls[scroll] = end, size
        body: dict[str, Any] = {"items": [{"id": one} for one in self.ids[begin:end]]}
        if self.kind == "scroll":
            text = scroll if self.text == "same" else f"{scroll}-{len(self.asked)}"
            body |= {"hits": self.hits, "commitId": self.commit, "queryMore": {"from": text, "alias": "a"}}
        elif self.kind == "opaque":
            body |= {
                "hits": self.hits,
                "queryMore": f"{scroll}-{len(self.asked)}" if end < len(self.ids) else None,
            }
        elif self.kind == "key":
            body |= {"queryMore": str(end) if end < len(self.ids) else None}
        edited = self.edit(self._number, body)
        return edited if isinstance(edited, Response) else answer(edited)

    def _position(self, cursor: str) -> int:
        if not cursor:
            return 0
        if self.kind == "key":
            return int(cursor)
        return self._scrolls[cursor.partition("-")[0]][0]


async def taken(listing: Listing[Item], stop: int | None = None) -> tuple[list[str], Checkpoint]:
    """The ids up to a stop, and where the walk then stands, as it is stored."""
    seen: list[str] = []
    async for item in listing:
        seen.append(item.id)
        if len(seen) == stop:
            break
    return seen, listing.checkpoint()
