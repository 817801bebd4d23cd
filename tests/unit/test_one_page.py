"""A look at the first items opens no scroll, and what is walked after it hands out every item once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from limio_async import Limio, errors
from limio_async.auth import ApiKey
from limio_async.core.wire import Attempt, Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, SCROLL, answer, page, scroll_page
from tests.unit.served import LENGTHS, Served, names
from tests.unit.test_listing import ids, walk


def scrolls(transport: ScriptedTransport) -> list[bool]:
    """Of each request, whether it has the server open or read a scroll."""
    return ["opt.all" in one.target for one in transport.requests]


async def test_the_first_item_is_asked_for_without_a_scroll() -> None:
    listing, transport = walk(SCROLL, page("1", hits=9, commitId="c1"))
    first = await listing.first()
    assert first is not None
    assert [one.target for one in transport.requests] == ["/api/things?opt.pageSize=1"]
    assert (listing.report.items, listing.report.requests, listing.report.complete) == (1, 1, False)
    assert listing.report.commit_ids == ("c1",)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("how", ["items", "pages", "raw", "take", "collect", "resumed"])
@pytest.mark.parametrize("n", [1, 2, 49, 50])
async def test_what_is_walked_after_a_look_passes_over_it(length: int, how: str, n: int) -> None:
    server = Served("scroll", names(60), length)
    listing = server.listing()
    begun = [item.id for item in await listing.take(n)]
    assert begun == names(n)
    assert server.asked == [(0, n)]
    match how:
        case "items":
            rest = await ids(listing)
        case "pages":
            rest = [item.id async for one in listing.pages() for item in one.items]
        case "take":
            rest = [item.id for _ in range(3) for item in await listing.take(30)]
        case "collect":
            rest = [item.id for item in await listing.collect(limit=99)]
        case "raw":
            raw = server.listing(resume=listing.checkpoint()).raw()
            rest = [one.decode().split('"')[3] async for one in raw]
        case _:
            listing = server.listing(resume=listing.checkpoint().to_json(), page_size=7)
            rest = await ids(listing)
    assert begun + rest == names(60)
    if how != "raw":
        assert listing.report.complete


async def test_a_catalog_that_was_rebuilt_after_a_look_is_not_mixed_with_it() -> None:
    server = Served("scroll", names(6), 2)
    listing = server.listing()
    await listing.take(2)
    server.commit = "c2"
    with pytest.raises(errors.SnapshotChanged):
        await ids(listing)
    assert listing.report.commit_ids == ("c1", "c2")


@pytest.mark.parametrize("hits", [3, None, "many", {"value": 3, "relation": "gte"}])
async def test_fewer_than_asked_for_are_asked_for_again_where_there_may_be_more(hits: Any) -> None:
    few = page("1", "2", hits=hits)
    listing, transport = walk(SCROLL, few, scroll_page("1", "2"), scroll_page("3"), scroll_page())
    assert [item.id for item in await listing.take(5)] == ["1", "2", "3"]
    assert scrolls(transport) == [False, True, True, True]


async def test_a_list_that_is_short_is_not_asked_for_again() -> None:
    listing, transport = walk(
        SCROLL, page("1", "2", hits=2), scroll_page("1", "2", hits=2), scroll_page(hits=2)
    )
    assert [item.id for item in await listing.take(5)] == ["1", "2"]
    assert scrolls(transport) == [False]
    assert not listing.report.complete  # nobody has seen its end
    assert await ids(listing) == []
    assert listing.report.complete


async def test_an_empty_list_is_empty() -> None:
    listing, transport = walk(SCROLL, page(hits=0), scroll_page(hits=0))
    assert await listing.first() is None
    assert scrolls(transport) == [False]
    assert await ids(listing) == []
    assert listing.report.complete


@pytest.mark.parametrize(("n", "options"), [(51, {}), (9, {"page_size": 5})])
async def test_more_than_a_page_is_walked(n: int, options: Any) -> None:
    server = Served("scroll", names(60), 50)
    assert len(await server.listing(**options).take(n)) == n
    assert len(server.asked) == 2


@pytest.mark.parametrize("unique", [False, True])
async def test_bad_items_and_items_that_come_twice_do_not_count(unique: bool) -> None:
    bad = answer({"items": [{"id": "1"}, {"id": None}, {"id": "1"}, {"id": "2"}], "hits": 9})
    listing, _ = walk(SCROLL, bad, scroll_page("1", "2"), unique=unique, on_bad_item="skip")
    assert [item.id for item in await listing.take(2)] == (["1", "2"] if unique else ["1", "1"])
    assert listing.checkpoint().skip == (4 if unique else 3)


async def test_a_look_that_fails_or_is_cancelled_has_taken_nothing() -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    listing, transport = walk(SCROLL, answer({"message": "no"}, 403), never, page("1", hits=9))
    with pytest.raises(errors.Forbidden):
        await listing.first()
    assert listing.report.items == 0
    look = asyncio.create_task(listing.take(2))
    await asyncio.sleep(0.01)
    look.cancel()
    await asyncio.gather(look, return_exceptions=True)
    assert listing.checkpoint().items == 0
    transport.script[:] = [scroll_page("1", "2", hits=2), scroll_page(hits=2)]
    assert await ids(listing) == ["1", "2"]


@pytest.mark.parametrize("second", ["first", "take", "items", "pages", "collect", "await"])
@pytest.mark.parametrize("begun", ["by a look", "by a walk"])
async def test_a_look_is_not_shared_with_another_task(second: str, begun: str) -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    server = Served("scroll", names(6), 2)

    async def slow(request: Request) -> Response:
        asked.set()
        await go.wait()
        return server(request)

    async def waited() -> Any:
        return await listing

    listing, _ = walk(SCROLL, slow)
    uses: dict[str, Any] = {
        "first": listing.first,
        "take": lambda: listing.take(2),
        "items": lambda: anext(aiter(listing)),
        "pages": lambda: anext(listing.pages()),
        "collect": lambda: listing.collect(limit=9),
        "await": waited,
    }
    looks = begun == "by a look"
    task = asyncio.create_task(listing.first() if looks else uses[second]())
    await asked.wait()
    with pytest.raises(RuntimeError, match="another iteration is walking"):
        await (uses[second]() if looks else listing.first())
    go.set()
    await task
    if looks:
        assert listing.report.items == 1
        assert await ids(listing) == names(6)[1:]


@pytest.mark.parametrize("on_bad_item", ["skip", "yield"])
@pytest.mark.parametrize("n", [1, 2, 3])
async def test_a_bad_item_is_counted_once_by_the_look_and_the_walk_after_it(n: int, on_bad_item: Any) -> None:
    server = Served("scroll", names(5), 5)
    bad = {"i0", "i3"}
    server.edit = lambda number, body: {
        **body, "items": [{"id": 1} if one["id"] in bad else one for one in body["items"]]
    }  # fmt: skip
    listing = server.listing(on_bad_item=on_bad_item)
    seen = await listing.take(n)
    seen += [item async for item in listing]
    assert len(seen) == (5 if on_bad_item == "yield" else 3)
    assert listing.report.undecodable == 2
    assert listing.report.complete


@pytest.mark.parametrize("there", [0, 1, 3, 10])
async def test_collect_walks_at_once(there: int) -> None:
    server = Served("scroll", names(there), 50)
    listing = server.listing()
    assert len(await listing.collect(limit=10)) == there
    assert listing.report.complete
    assert server.asked == ([(0, 50), (50, 50)] if there else [(0, 50)])


async def test_a_list_that_was_begun_is_walked_on() -> None:
    listing, transport = walk(SCROLL, scroll_page("1", "2"), scroll_page("3"), scroll_page())
    assert [item.id for item in (await listing).items] == ["1", "2"]
    assert [item.id for item in (await listing).items] == ["1", "2"]  # the page in hand, not the next
    assert [item.id for item in await listing.take(2)] == ["1", "2"]
    assert scrolls(transport) == [True]
    resumed, transport = walk(SCROLL, scroll_page("1", "2"), scroll_page("3"), resume=listing.checkpoint())
    assert [item.id for item in await resumed.take(1)] == ["3"]
    assert scrolls(transport) == [True, True]


async def test_a_list_without_a_switch_is_walked_as_ever() -> None:
    listing, transport = walk(KEY, page("1", "2", cursor="a"), page("3"))
    assert [item.id for item in await listing.take(1)] == ["1"]
    assert [one.target for one in transport.requests] == ["/api/things"]
    assert await ids(listing) == ["2", "3"]
    assert len(transport.requests) == 2


# ------------------------------------------------------------------ limio.catalog.commit_id()


@pytest.mark.parametrize(
    ("body", "commit"),
    [
        ({"items": [], "commitId": "a" * 40}, "a" * 40),
        ({"items": [{"id": "1"}], "header": {"commitId": 1711455734554}}, "1711455734554"),
        ({"items": None, "commitId": "", "header": {"commitId": "c"}}, "c"),
        ({"items": []}, None),
    ],
)
async def test_the_commit_of_the_catalog_is_asked_for_by_one_item(body: Any, commit: str | None) -> None:
    transport = ScriptedTransport(answer(body))
    async with Limio("limio.test", auth=ApiKey("k"), transport=transport) as limio:
        assert await limio.catalog.commit_id() == commit
    assert [one.target for one in transport.requests] == ["/api/offers?opt.pageSize=1"]


async def test_the_commit_of_the_catalog_fails_as_calls_do() -> None:
    transport = ScriptedTransport(
        answer({"message": "no"}, 403), answer(b"<html>"), answer({"commitId": "c"})
    )
    async with Limio("limio.test", auth=ApiKey("k"), transport=transport) as limio:
        trace: list[Attempt] = []
        with pytest.raises(errors.Forbidden):
            await limio.catalog.commit_id(trace=trace)
        assert [one.status for one in trace] == [403]
        for _ in range(2):
            with pytest.raises(errors.Unreadable):
                await limio.catalog.commit_id()
        with pytest.raises(TypeError, match="is no operation"):
            limio.explain(limio.catalog.commit_id)


async def test_few_items_are_all_there_are_only_where_their_number_is_exact() -> None:
    at_least = {"value": 2, "relation": "gte"}
    listing, transport = walk(
        SCROLL, page("1", "2", hits=at_least), scroll_page("1", "2"), scroll_page("3"), scroll_page()
    )
    assert [item.id for item in await listing.take(3)] == ["1", "2", "3"]
    assert scrolls(transport)[:2] == [False, True]
