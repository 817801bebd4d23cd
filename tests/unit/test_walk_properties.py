"""Whatever goes wrong on the way: every item once and in order, or an error that says so."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async import errors
from limio_async.auth import NoAuth
from limio_async.core.session import Session
from limio_async.core.wire import Paging, Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, SCROLL, answer, listing_of, page, scroll_page

sizes = st.lists(st.integers(0, 3), min_size=1, max_size=8)
faults = st.lists(st.sampled_from(["", "", "", "refused", "lost", "429", "401", "502", "gone"]), max_size=12)
stops = st.lists(st.integers(1, 4), max_size=6)


class Server:
    """Pages of items behind one species of cursor; what goes wrong is decided request by request."""

    def __init__(self, paging: Paging, sizes: list[int], faults: list[str]) -> None:
        self.scroll = paging is SCROLL
        if self.scroll:  # a scroll has no empty page but the last
            sizes = [size for size in sizes if size]
        names = iter(range(1000))
        self.pages = [[str(next(names)) for _ in range(size)] for size in sizes]
        self.items = [name for one in self.pages for name in one]
        self.faults = faults
        self.position = 0

    def __call__(self, request: Request) -> Response:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "refused":
            raise errors.NeverSent("refused")
        if fault in {"429", "401"}:
            return answer({}, int(fault))
        if fault == "gone" and self.scroll and "queryMoreFrom" in request.target:
            return answer({}, 404)
        response = self._scrolled(request) if self.scroll else self._by_key(request)
        if fault == "lost":
            raise errors.AnswerLost("lost")
        return answer({}, 502) if fault == "502" else response

    def _scrolled(self, request: Request) -> Response:
        if "queryMoreFrom" not in request.target:
            self.position = 0
        names = self.pages[self.position] if self.position < len(self.pages) else []
        self.position += 1
        return scroll_page(*names, hits=len(self.items))

    def _by_key(self, request: Request) -> Response:
        at = int(request.target.partition("queryMore=")[2] or 0)
        return page(*self.pages[at], cursor=str(at + 1) if at + 1 < len(self.pages) else None)


async def walk_stubbornly(
    server: Server, paging: Paging, stops: list[int], resume: bool, **options: Any
) -> tuple[list[str], Any]:
    """Go on after every error and every break; with *resume*, from a saved checkpoint in a new client."""
    session = Session(ScriptedTransport(server), NoAuth(), attempts=1)
    listing = session.list(listing_of(paging), {}, **options)
    seen: list[str] = []
    for n in [*stops, *[1000] * 20]:
        begun = len(seen)
        try:
            async for item in listing:
                seen.append(item.id)
                if len(seen) - begun == n:
                    break
        except errors.ListingError as error:
            return seen, error
        except errors.LimioError:
            pass
        if listing.report.ended:
            return seen, None
        if resume:
            saved = listing.checkpoint().to_json()
            listing = session.list(listing_of(paging), {}, resume=saved, **options)
    raise AssertionError("the walk did not come to an end")


@settings(max_examples=300, deadline=None)
@given(sizes, faults, stops, st.booleans())
def test_a_key_walk_yields_every_item_once_and_in_order(
    sizes: list[int], faults: list[str], stops: list[int], resume: bool
) -> None:
    server = Server(KEY, sizes, faults)
    seen, error = asyncio.run(walk_stubbornly(server, KEY, stops, resume))
    assert error is None
    assert seen == server.items


@settings(max_examples=300, deadline=None)
@given(sizes, faults, stops)
def test_a_scroll_walk_yields_every_item_once_or_says_that_it_cannot(
    sizes: list[int], faults: list[str], stops: list[int]
) -> None:
    server = Server(SCROLL, sizes, faults)
    seen, error = asyncio.run(walk_stubbornly(server, SCROLL, stops, resume=False))
    assert seen == server.items[: len(seen)]
    assert error is not None or seen == server.items


@settings(max_examples=300, deadline=None)
@given(sizes, faults, stops)
def test_a_resumed_scroll_walk_repeats_and_skips_nothing(
    sizes: list[int], faults: list[str], stops: list[int]
) -> None:
    server = Server(SCROLL, sizes, faults)
    seen, error = asyncio.run(walk_stubbornly(server, SCROLL, stops, resume=True))
    assert seen == server.items[: len(seen)]
    assert error is not None or seen == server.items


@settings(max_examples=300, deadline=None)
@given(sizes, faults, stops, st.booleans(), st.booleans())
def test_a_scroll_walk_that_may_start_again_yields_every_item_once(
    sizes: list[int], faults: list[str], stops: list[int], resume: bool, unique: bool
) -> None:
    server = Server(SCROLL, sizes, faults)
    options = {"on_ambiguous": "restart", "restarts": 50, "unique": unique}
    seen, error = asyncio.run(walk_stubbornly(server, SCROLL, stops, resume, **options))
    assert error is None
    assert seen == server.items
