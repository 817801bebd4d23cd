"""What the client promises when things go wrong, row by row of docs/reliability.md, told as faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from limio_async import Limio, Listing, errors
from limio_async.emulator import World
from limio_async.emulator.faults.faults import Faults
from tests.virtual_time import VirtualTime


class Id(msgspec.Struct):
    id: str


async def ids(listing: Listing[Any]) -> list[str]:
    return [item.id async for item in listing.into(Id)]


RIDDEN_OUT: dict[str, Callable[[Faults], object]] = {
    "an expired scroll": lambda faults: faults.on("listOffers", page=2).expire_scroll(),
    "a scroll that is gone": lambda faults: faults.on("listOffers", page=2).expire_scroll(code=410),
    "a token that is refused": lambda faults: faults.on("listObjects", page=2).status(401),
    "too many requests": lambda faults: faults.on("listOffers", page=2).status(429, retry_after=2),
    "a date to wait for": lambda faults: faults.on("listOffers", page=2).status(
        429, retry_after=2, as_date=True
    ),
    "nonsense to wait for": lambda faults: faults.on("listOffers", page=2).status(429, retry_after="²"),
    "a request that never left": lambda faults: faults.on("listOffers", page=2).never_sent(),
    "a bad first page": lambda faults: faults.on("listOffers", page=1).status(502, html=True),
    "a first page that is lost": lambda faults: faults.on("listOffers", page=1).reset(),
    "a cursor of nine kilobytes": lambda faults: faults.on("listOffers", page=2).change_cursor("x" * 9000),
    "a page over the limit": lambda faults: faults.on("listOffers").page_limit(40_000),
    "a slow answer": lambda faults: faults.on("listOffers", page=2).delay(30),
}


@pytest.mark.parametrize("what", RIDDEN_OUT)
async def test_a_walk_rides_out(limio: Limio, world: World, virtual_time: VirtualTime, what: str) -> None:
    async def walked() -> list[str]:
        return await ids(limio.offers.list(page_size=50)) + await ids(limio.subscriptions.list(page_size=50))

    truth = await walked()
    RIDDEN_OUT[what](world.faults)
    assert await walked() == truth
    assert sum(world.faults.hits.values()) >= 1


TOLD: dict[str, tuple[Callable[[Faults], object], type[errors.LimioError]]] = {
    "a lost page": (lambda faults: faults.on("listOffers", page=2).lose_answer(), errors.IncompleteListing),
    "a bad gateway in the middle": (
        lambda faults: faults.on("listOffers", page=2).status(502),
        errors.LimioError,
    ),
    "a skipped page": (lambda faults: faults.on("listOffers", page=2).drop_page(), errors.IncompleteListing),
    "an empty page": (lambda faults: faults.on("listOffers", page=2).empty_page(), errors.IncompleteListing),
    "an early end": (
        lambda faults: faults.on("listOffers", page=2).end_early("null"),
        errors.IncompleteListing,
    ),
    "missing items": (lambda faults: faults.on("listOffers", page=2).drop_items(3), errors.IncompleteListing),
    "doubled items": (
        lambda faults: faults.on("listOffers", page=2).duplicate_items(),
        errors.IncompleteListing,
    ),
    "a page without end": (lambda faults: faults.on("listOffers").repeat_page(), errors.CursorLoop),
    "another commit": (
        lambda faults: faults.on("listOffers", from_page=2).change_commit_id(),
        errors.SnapshotChanged,
    ),
    "an item of a wrong type": (lambda faults: faults.on("listOffers", page=2).bad_item(), errors.Unreadable),
    "a page for people": (lambda faults: faults.on("listOffers", page=1).html(), errors.Unreadable),
    "a bomb": (lambda faults: faults.on("listOffers").gzip_bomb(), errors.Unreadable),
    "a key that comes back": (
        lambda faults: faults.on("listObjects", page=2).repeat_cursor(),
        errors.CursorLoop,
    ),
    "a ban": (lambda faults: faults.on("listObjects").status(403), errors.Forbidden),
    "no token any more": (lambda faults: faults.on("listObjects").status(401), errors.Unauthorized),
}


@pytest.mark.parametrize("what", TOLD)
async def test_a_walk_that_cannot_be_whole_says_so(
    limio: Limio, world: World, virtual_time: VirtualTime, what: str
) -> None:
    arm, expected = TOLD[what]
    arm(world.faults)
    with pytest.raises(expected):
        await ids(limio.offers.list(page_size=50))
        await ids(limio.subscriptions.list(page_size=50))
    assert world.count() < 50


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_an_order_that_may_have_happened_is_never_sent_twice(
    limio: Limio, world: World, code: int
) -> None:
    world.faults.on("submitOrder").status(code, executed=True)
    with pytest.raises(errors.UnknownOutcome):
        await limio.orders.submit({"order_type": "renew", "external_id": "e-1"})
    assert world.count("submitOrder") == 1
