"""A large page is decoded in slices: others run meanwhile, and the walk stands where it stood until the page is in hand."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from limio_async import errors
from limio_async.auth import NoAuth
from limio_async.core.listing import BadItem
from limio_async.core.session import Session
from limio_async.core.wire import Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, SCROLL, answer, listing_of

COUNT, LONG = 200, "x" * 8_000


class Item(msgspec.Struct):
    id: str
    text: str = ""


class Large:
    """Three pages of 1.6 MB, and for a scroll the empty one that ends it; *odd* stands for the last item of the second."""

    def __init__(self, kind: str, odd: Any = None) -> None:
        self.paging = SCROLL if kind == "scroll" else KEY
        self.odd = odd
        self.sent = 0

    def listing(self, **options: Any) -> Any:
        session = Session(ScriptedTransport(self), NoAuth(), attempts=1)
        return session.list(listing_of(self.paging, returns=Item), {}, **options)

    def __call__(self, request: Request) -> Response:
        self.sent += 1
        at = int(request.target.rpartition("=p")[2].partition("&")[0] or 0) if "=p" in request.target else 0
        items: list[Any] = [{"id": f"{at}-{n}", "text": LONG} for n in range(COUNT if at < 3 else 0)]
        if at == 1 and self.odd is not None:
            items[-1] = self.odd
        if self.paging is SCROLL:
            return answer(
                {"items": items, "hits": 3 * COUNT, "queryMore": {"from": f"p{at + 1}", "alias": "a"}}
            )
        return answer({"items": items, "queryMore": f"p{at + 1}" if at < 2 else None})


EXPECTED = [f"{at}-{n}" for at in range(3) for n in range(COUNT)]
kinds = pytest.mark.parametrize("kind", ["scroll", "key"])


async def count_turns(turns: list[int]) -> None:
    while True:
        turns[0] += 1
        await asyncio.sleep(0)


@kinds
@pytest.mark.parametrize("odd", [None, {"id": 7}], ids=["sound", "with a bad item"])
async def test_others_run_while_a_page_is_decoded(kind: str, odd: Any) -> None:
    large = Large(kind, odd)
    turns = [0]
    counting = asyncio.create_task(count_turns(turns))
    async for page in large.listing(on_bad_item="yield").pages():
        if page.number == 2:
            assert turns[0] >= 20
            assert [isinstance(one, BadItem) for one in page.items].count(True) == (odd is not None)
        assert len(page.items) in {COUNT, 0}
        turns[0] = 0
    counting.cancel()


@kinds
@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_walk_that_is_cancelled_between_slices_loses_nothing(kind: str, ahead: int) -> None:
    """Cancelled again and again, each time a turn of the loop later."""
    large = Large(kind)
    listing = large.listing(read_ahead=ahead)
    seen: list[str] = []

    async def walk(count: int) -> None:
        pages = listing.pages()
        try:
            for _ in range(count):
                seen.extend(one.id for one in (await anext(pages)).items)
        finally:
            await pages.aclose()

    await walk(1)
    cancelled = 0
    for turn in range(12, 40, 3):
        task = asyncio.create_task(walk(1))
        for _ in range(turn):
            await asyncio.sleep(0)
        before = listing.checkpoint()
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled += 1
        assert listing.checkpoint() == before
        assert len(seen) == COUNT
    assert cancelled >= 3
    try:
        async for one in listing:
            seen.append(one.id)
    except errors.IncompleteListing:
        assert kind == "scroll"  # what was asked for ahead was cancelled, too: it may have been read
        assert ahead
    assert seen == EXPECTED[: len(seen)]
    assert len(seen) == len(EXPECTED) or ahead


@kinds
async def test_the_next_page_is_asked_for_before_one_is_decoded(kind: str) -> None:
    large = Large(kind)
    listing = large.listing()
    pages = listing.pages()
    await anext(pages)
    await anext(pages)
    assert large.sent == 3
    await pages.aclose()


@kinds
async def test_a_bad_item_in_a_late_slice_changes_nothing(kind: str) -> None:
    large = Large(kind, {"id": 7})
    listing = large.listing()
    seen: list[str] = []
    with pytest.raises(errors.Unreadable, match=r"\$\.items\[199\]\.id"):
        async for one in listing:
            seen.append(one.id)
    assert seen == EXPECTED[:COUNT]
    assert listing.report.pages == 1


@kinds
async def test_raw_items_of_large_pages_are_their_bytes(kind: str) -> None:
    listing = Large(kind).listing().raw()
    expected = [msgspec.json.encode({"id": one, "text": LONG}) for one in EXPECTED]
    assert [one async for one in listing] == expected
    assert listing.report.complete


async def test_two_walkers_of_a_large_page_are_told_apart() -> None:
    listing = Large("key").listing()
    first, second = listing.pages(), listing.pages()
    results = await asyncio.gather(anext(first), anext(second), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["Page", "RuntimeError"]
    await first.aclose()
    await second.aclose()


@kinds
async def test_who_turns_the_page_of_another_iteration_is_told_and_nothing_comes_twice(kind: str) -> None:
    """The items of a page of hundreds are let go a few at a time, and others may run meanwhile."""

    def answered(request: Request) -> Response:
        at = int(request.target.rpartition("=p")[2].partition("&")[0] or 0) if "=p" in request.target else 0
        items = [{"id": f"{at}-{n}"} for n in range(600 if at < 3 else 0)]
        more = {"from": f"p{at + 1}", "alias": "a"} if kind == "scroll" else f"p{at + 1}" if at < 2 else None
        return answer({"items": items, "hits": 1_800, "queryMore": more})

    session = Session(ScriptedTransport(answered), NoAuth(), attempts=1)
    listing = session.list(listing_of(SCROLL if kind == "scroll" else KEY, returns=Item), {}, read_ahead=0)
    came: list[str] = []
    told: list[str] = []

    async def walked() -> None:
        try:
            async for item in listing:
                came.append(item.id)
        except RuntimeError as error:
            told.append(str(error))

    async def hastily() -> None:
        while listing.report.pages < 2:  # noqa: ASYNC110  # a page has no event
            await asyncio.sleep(0)
        async for item in listing:
            came.append(item.id)

    await asyncio.gather(walked(), hastily())
    assert len(told) == 1
    assert sorted(came) == sorted(f"{at}-{n}" for at in range(3) for n in range(600))
