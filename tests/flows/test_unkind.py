"""What a client meets when lists and reads are late, rows are bare or in another order, and orders end badly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest

from limio_async import Limio, Listing, errors
from limio_async.emulator import World
from limio_async.emulator.data.views import ListManner, ReadManner
from limio_async.emulator.server import serve

from .conftest import all_credentials

DIRECTIONS = ("oldest-first", "newest-first")


async def ids(listing: Listing[Any]) -> list[str]:
    return [item.id async for item in listing]


async def walked(limio: Limio, **options: Any) -> tuple[list[str], str]:
    """The ids of all orders, and what can be followed from there."""
    listing = limio.orders.list(**options)
    found = await ids(listing)
    assert listing.report.complete
    return found, listing.checkpoint().to_json()


async def order(limio: Limio, external_id: str, **more: Any) -> str:
    subscription = await limio.subscriptions.list().first()
    assert subscription is not None
    body = {
        "order_type": "change_address", "external_id": external_id, "type": "billing", "address": {"country": "GB"},
        "forSubscription": {"id": subscription.id},
    }  # fmt: skip
    answer = await limio.orders.submit(body | more)
    assert answer.id is not None
    return answer.id


async def subscribe(limio: Limio, world: World, **more: Any) -> str:
    [offer] = await limio.published_catalog_items.list(record_type="offers").take(1)
    answer = await limio.orders.submit(
        {
            "order_type": "new", "external_id": "new-1", "country": "GB",
            "orderItems": [{"offer": {"id": offer.id, "version": offer.version}, "quantity": 1}],
            "customerDetails": {"firstName": "First", "lastName": "Last", "email": "first.last@example.com"},
            **more,
        }
    )  # fmt: skip
    assert answer.id is not None
    return answer.id


def turned(world: World, direction: str) -> None:
    if direction == "newest-first":
        world.lists.newest_first()


# ---- by default, and again afterwards


async def test_by_default_what_was_written_is_listed_and_read_at_once(limio: Limio) -> None:
    for number in range(3):
        made = await order(limio, f"e-{number}")
        rows = [item async for item in limio.orders.list()]
        assert rows[-1].id == made
        assert rows[-1].data is not None
        assert rows[-1].data.external_id == f"e-{number}"
        assert [row.created for row in rows] == sorted(row.created or "" for row in rows)
        assert (await limio.orders.get(made)).status == "pending"


UNKIND: dict[str, Callable[[World], AbstractContextManager[object]]] = {
    "late lists": lambda world: world.lists.late(60),
    "uneven lists": lambda world: world.lists.late(1e7, uneven=True),
    "newest first": lambda world: world.lists.newest_first(),
    "mixed": lambda world: world.lists.mixed(),
    "bare": lambda world: world.lists.bare(),
    "late reads": lambda world: world.reads.late(60),
}


@pytest.mark.parametrize("what", UNKIND)
async def test_the_end_of_its_block_takes_it_back_and_so_does_a_world_that_is_to_be_kind(
    limio: Limio, world: World, what: str
) -> None:
    async def seen() -> Any:
        found = [await limio.orders.list(page_size=30).take(500)]
        for own in made:
            try:
                found.append([await limio.orders.get(own)])
            except errors.NotFound:
                found.append([])
        return found

    made = [await order(limio, f"e-{number}") for number in range(3)]
    kind = await seen()
    with UNKIND[what](world):
        assert await seen() != kind
    assert await seen() == kind
    UNKIND[what](world)
    assert await seen() != kind
    world.be_kind()
    assert await seen() == kind
    assert (world.lists.manner, world.reads.manner) == (ListManner(), ReadManner())


def test_blocks_within_each_other_take_back_what_is_theirs(world: World) -> None:
    with world.lists.late(5), world.lists.bare("null"):
        with world.lists.late(60, uneven=True):
            assert world.lists.manner == ListManner(late=60, uneven=True, data="null")
        assert world.lists.manner == ListManner(late=5, data="null")
    assert world.lists.manner == ListManner()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_only_times_can_pass(world: World, seconds: float) -> None:
    for late in (world.lists.late, world.reads.late):
        with pytest.raises(ValueError, match="seconds"):
            late(seconds)


# ---- late lists


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_late_list_shows_an_order_when_its_time_has_passed_and_reads_have_it_at_once(
    limio: Limio, world: World, direction: str
) -> None:
    turned(world, direction)
    before, _ = await walked(limio)
    world.lists.late(5)
    made = await order(limio, "e-1")
    world.advance(4.999)
    assert await ids(limio.orders.list()) == before
    assert (await limio.orders.get(made)).id == made
    world.advance(0.001)
    found = await ids(limio.orders.list())
    assert found == ([*before, made] if direction == "oldest-first" else [made, *before])


async def test_lists_of_what_belongs_to_an_object_are_late_likewise(limio: Limio, world: World) -> None:
    subscription = await limio.subscriptions.list().first()
    assert subscription is not None
    world.lists.late(5)
    made = await order(limio, "e-1")

    async def belongs() -> list[bool]:
        related = await ids(limio.subscriptions.related_by_type(subscription.id, "order"))
        events = [event.data async for event in limio.subscriptions.events(subscription.id)]
        return [made in related, "change_address" in str(events)]

    assert await belongs() == [False, False]
    world.advance(5)
    assert await belongs() == [True, True]


@pytest.mark.parametrize("size", [1, 7, 50, 200])
async def test_a_walk_of_a_late_list_is_whole_at_every_page_size(
    limio: Limio, world: World, size: int
) -> None:
    before, _ = await walked(limio)
    made = [await order(limio, f"e-{number}") for number in range(9)]
    world.advance(10)
    world.lists.late(5)
    hidden = [await order(limio, f"late-{number}") for number in range(9)]
    for direction in DIRECTIONS:
        turned(world, direction)
        found, _ = await walked(limio, page_size=size)
        assert found == ([*before, *made] if direction == "oldest-first" else [*before, *made][::-1])
    world.advance(5)
    assert (await walked(limio, page_size=size))[0] == [*before, *made, *hidden][::-1]


async def test_rows_that_appear_within_a_walk_are_behind_a_cursor_that_was_given_out_before(
    limio: Limio, world: World
) -> None:
    before, _ = await walked(limio)
    made = [await order(limio, f"e-{number}") for number in range(3)]
    world.advance(10)
    world.lists.late(5)
    hidden = [await order(limio, f"late-{number}") for number in range(3)]
    listing = limio.orders.list(page_size=len(before) + 2, read_ahead=0)
    seen = [item.id for item in await listing.take(len(before) + 2)]
    assert seen == [*before, *made[:2]]  # and the cursor is that of an added row
    world.advance(5)
    resumed = limio.orders.list(page_size=len(before) + 2, resume=listing.checkpoint())
    assert await ids(resumed) == [made[2], *hidden]


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_whoever_follows_a_late_list_gets_each_order_once(
    limio: Limio, world: World, direction: str
) -> None:
    turned(world, direction)
    world.lists.late(60)
    _, at = await walked(limio, page_size=7)
    made, seen = set[str](), list[str]()
    for number in range(12):
        made.add(await order(limio, f"e-{number}"))
        world.advance(25)
        following = limio.orders.list(page_size=7, follow=at)
        seen += await ids(following)
        assert len(seen) == max(0, number - 1)
        at = following.checkpoint().to_json()
    world.advance(60)
    seen += await ids(limio.orders.list(page_size=7, follow=at))
    assert sorted(seen) == sorted(made)


async def test_rows_of_an_uneven_list_appear_out_of_order_and_each_is_followed_once(
    limio: Limio, world: World
) -> None:
    world.lists.late(120, uneven=True)
    _, at = await walked(limio, page_size=7)
    made = [await order(limio, f"e-{number}") for number in range(20)]
    seen = list[str]()
    overtaken = False
    for _ in range(12):
        world.advance(10)
        following = limio.orders.list(page_size=7, follow=at)
        seen += await ids(following)
        at = following.checkpoint().to_json()
        shown = [one in seen for one in made]
        overtaken |= any(later and not earlier for earlier, later in pairwise(shown))
    assert overtaken
    assert sorted(seen) == sorted(made)


async def test_lists_of_partners_are_not_late(limio: Limio, world: World) -> None:
    world.lists.late(60)
    world.lists.newest_first()
    body = {"name": "Example", "zuoraAccountId": "A1", "isZuoraInvoiceOwner": True}
    made = [(await limio.partner_organisations.create(body | {"name": f"Example {n}"})).id for n in range(3)]
    assert await ids(limio.partner_organisations.list(page_size=2)) == made


# ---- other orders, bare rows


@pytest.mark.parametrize("size", [1, 7, 50])
async def test_newest_first_is_the_same_list_turned_round(limio: Limio, world: World, size: int) -> None:
    [*old] = await ids(limio.promo_codes.list())
    made = [await order(limio, f"e-{number}") for number in range(5)]
    everything, _ = await walked(limio)
    assert everything[-5:] == made
    world.store.remove(everything[40])
    world.store.remove(made[2])
    left = [one for one in everything if one not in {everything[40], made[2]}]
    with world.lists.newest_first():
        assert (await walked(limio, page_size=size))[0] == left[::-1]
        assert await ids(limio.promo_codes.list(page_size=size)) == old[::-1]
        assert await ids(limio.orders.list(service="zuora", page_size=size)) == []


async def test_a_cursor_of_a_row_that_is_gone_goes_on_with_older_ones(limio: Limio, world: World) -> None:
    made = [await order(limio, f"e-{number}") for number in range(6)]
    world.lists.newest_first()
    listing = limio.orders.list(page_size=2, read_ahead=0)
    assert [item.id for item in await listing.take(2)] == made[:3:-1]
    world.store.remove(made[4])
    world.store.remove(made[3])
    await order(limio, "newer")
    resumed = limio.orders.list(page_size=2, resume=listing.checkpoint())
    assert (await ids(resumed))[:3] == made[2::-1]


async def test_objects_of_another_service_are_walked_newest_first(limio: Limio, world: World) -> None:
    made = [world.store.create("order", service="zuora", data={})["id"] for _ in range(5)]
    world.lists.newest_first()
    assert await ids(limio.orders.list(service="zuora", page_size=2)) == made[::-1]


async def test_a_mixed_list_holds_everything_once_and_cannot_be_followed(limio: Limio, world: World) -> None:
    before, _ = await walked(limio)
    world.lists.mixed()
    found, at = await walked(limio, page_size=20)
    assert found != before
    assert sorted(found) == sorted(before)
    with pytest.raises(errors.ForeignCheckpoint, match="not ordered by created"):
        limio.orders.list(page_size=20, follow=at)


@pytest.mark.parametrize("data", ["absent", "null", "empty"])
async def test_bare_rows_have_their_envelope_and_reads_have_everything(
    limio: Limio, world: World, data: Any
) -> None:
    made = await order(limio, "e-1")
    with world.lists.bare(data):
        rows = [item async for item in limio.orders.list(page_size=50)]
        assert rows[-1].id == made
        assert all(row.id and row.created and row.status for row in rows)
        assert not any(row.data and row.data.external_id for row in rows)
        whole = await limio.orders.get(made)
    assert whole.data is not None
    assert whole.data.external_id == "e-1"


# ---- late reads


async def test_a_late_read_does_not_find_what_is_new_until_its_time_has_passed(
    limio: Limio, world: World
) -> None:
    world.reads.late(5)
    made = await order(limio, "e-1")
    assert (await ids(limio.orders.list()))[-1] == made
    world.advance(4.999)
    with pytest.raises(errors.NotFound):
        await limio.orders.get(made)
    world.advance(0.001)
    assert (await limio.orders.get(made)).id == made


async def test_a_late_read_tells_older_states_one_after_the_other(limio: Limio, world: World) -> None:
    subscription = await limio.subscriptions.list().first()
    assert subscription is not None

    async def quantity() -> object:
        data = (await limio.subscriptions.get(subscription.id)).data
        return data and data.quantity

    first = await quantity()
    world.reads.late(5)
    for number in (10, 20):
        await limio.subscriptions.update(subscription.id, {"data": {"quantity": number}})
        world.advance(2)
    told = []
    for _ in range(5):
        told.append(await quantity())
        world.advance(1)
    assert told == [first, 10, 10, 20, 20]


async def test_writes_go_by_what_is_there_however_late_reads_are(limio: Limio, world: World) -> None:
    subscription = await limio.subscriptions.list().first()
    assert subscription is not None
    before = (await limio.subscriptions.get(subscription.id)).data
    world.reads.late(60)
    await limio.subscriptions.update(subscription.id, {"data": {"quantity": 10}})
    await limio.subscriptions.update(subscription.id, {"data": {"purchaseCountry": "US"}})
    made = await order(limio, "e-1", process_immediately=True)
    assert (await limio.subscriptions.get(subscription.id)).data == before
    world.advance(60)
    now = (await limio.subscriptions.get(subscription.id)).data
    assert now is not None
    assert (now.quantity, now.purchase_country) == (10, "US")
    assert (await limio.orders.get(made)).status == "complete"


async def test_what_was_removed_is_read_a_while_longer(limio: Limio, world: World) -> None:
    code = next(world.ids("promo_codes_v2"))
    world.reads.late(5)
    await limio.promo_codes.delete(code)
    assert (await limio.promo_codes.get(code)).id == code
    world.advance(5)
    with pytest.raises(errors.NotFound):
        await limio.promo_codes.get(code)


async def test_a_restored_world_has_settled(limio: Limio, world: World) -> None:
    made = await order(limio, "e-1")
    world.lists.late(60)
    world.reads.late(60)
    with pytest.raises(errors.NotFound):
        await limio.orders.get(made)
    world.restore(world.snapshot())
    assert (await ids(limio.orders.list()))[-1] == made
    assert (await limio.orders.get(made)).id == made


# ---- orders that end otherwise than their answer says


async def test_a_502_may_hide_an_order_that_was_made(limio: Limio, world: World) -> None:
    before = await ids(limio.orders.list())
    world.faults.on("submitOrder", call=2).status(502, executed=True)
    await order(limio, "e-1")
    with pytest.raises(errors.UnknownOutcome):
        await order(limio, "e-2")
    rows = [item async for item in limio.orders.list()][len(before) :]
    assert [row.data and row.data.external_id for row in rows] == ["e-1", "e-2"]
    assert world.count("submitOrder") == 2


async def errors_of(limio: Limio, order: str) -> list[Any]:
    """What the processes of an order say."""
    events = [event.id async for event in limio.orders.events(order)]
    processes = [await limio.processes.get(f"process_{one}") for one in events]
    return [error for process in processes for error in (process.data or {})["criticalPluginErrors"]]


async def test_an_accepted_order_fails_later_in_the_queue_and_has_no_effect(
    limio: Limio, world: World
) -> None:
    world.faults.on("submitOrder", call=2).fail_later(30, plugin="zuora", message="Card declined")
    subscriptions = world.store.count("subscription")
    good = await subscribe(limio, world)
    doomed = await subscribe(limio, world)
    world.advance(29)
    assert (await limio.orders.get(doomed)).status == "pending"
    world.advance(1)
    assert (await limio.orders.get(doomed)).status == "failed"
    world.advance(3600)
    assert (await limio.orders.get(good)).status == "complete"
    assert (await limio.orders.get(doomed)).status == "failed"
    assert world.store.count("subscription") == subscriptions + 1
    assert await errors_of(limio, good) == []
    assert await errors_of(limio, doomed) == [{"name": "zuora", "message": "Card declined"}]


async def test_an_order_that_was_complete_fails_later_and_what_it_made_stays(
    limio: Limio, world: World
) -> None:
    world.faults.on("submitOrder").fail_later()
    subscriptions = world.store.count("subscription")
    made = await subscribe(limio, world, process_immediately=True)
    assert (await limio.orders.get(made)).status == "complete"
    world.advance(30)
    assert (await limio.orders.get(made)).status == "failed"
    assert world.store.count("subscription") == subscriptions + 1
    assert len(await errors_of(limio, made)) == 1


async def test_a_change_whose_order_failed_before_its_date_does_not_happen(
    limio: Limio, world: World
) -> None:
    subscription = await limio.subscriptions.list().first()
    assert subscription is not None
    world.faults.on("submitOrder").fail_later(60)
    cancel = {"order_type": "cancel_subscription", "subscriptionId": subscription.id}
    await limio.orders.submit(cancel | {"cancelDate": "2025-02-01", "process_immediately": True})
    assert "pendingChange" in world.store.get(subscription.id)["data"]  # type: ignore[index]
    world.advance(60)
    assert "pendingChange" not in world.store.get(subscription.id)["data"]  # type: ignore[index]
    world.advance(days=60)
    assert (await limio.subscriptions.get(subscription.id)).status == subscription.status


async def test_an_order_that_is_refused_does_not_fail_later_and_no_other_call_makes_one(
    limio: Limio, world: World
) -> None:
    world.faults.on("*").fail_later(1)
    with pytest.raises(errors.BadRequest):
        await limio.orders.submit({"order_type": "new"})
    [subscription, *_] = await limio.subscriptions.list().take(1)
    await limio.subscriptions.get(subscription.id)
    world.advance(1)
    assert (await limio.subscriptions.get(subscription.id)).status == subscription.status


# ---- the clock


async def test_every_answer_tells_the_time_of_the_worlds_clock_also_over_http(
    limio: Limio, world: World
) -> None:
    async with (
        serve(world, port=0) as url,
        Limio(url, auth=all_credentials(world)) as over_http,
    ):
        for client in (limio, over_http):
            world.advance(hours=3)
            found = await client.answer(client.orders.get, next(world.ids("orders")))
            assert parsedate_to_datetime(found.headers["date"]).timestamp() == int(world.now())
            with pytest.raises(errors.NotFound) as refused:
                await client.orders.get("order-1")
            assert refused.value.headers["date"] == found.headers["date"]
