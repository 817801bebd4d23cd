"""What a call costs does not depend on what came before, and what is remembered is bounded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import pytest

from limio_async.core.wire import Request
from limio_async.emulator import World, received
from limio_async.emulator.areas import catalog
from limio_async.emulator.received import MOST_BYTES

from .shopper import Shopper, new, reference
from .visitor import Visitor, message

MANY = 25


def steps(call: Callable[[], object]) -> int:
    """How many bytecodes of Python a call takes: what a loop over old things would add to."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    for traced in (lambda: None, call):  # Python 3.12 counts opcodes only from the second time on
        count = 0
        sys.settrace(trace)
        try:
            traced()
        finally:
            sys.settrace(before)
    return count


def test_calls_cost_the_same_after_many_walks_orders_and_requests() -> None:
    shopper = Shopper(World(offers=60, subscriptions=20))
    world = shopper.world
    subscription = {"subscriptionId": next(world.ids("subscriptions"))}
    key, ordered = world.api_key, new(shopper.offers[0])

    def order(**body: Any) -> None:
        headers = {"Authorization": shopper.bearer}
        answer = world.answer(
            Request(
                operation="",
                method="POST",
                target="/api/order",
                headers=headers,
                body=msgspec.json.encode(body),
            )
        )
        assert answer.status == 200

    calls: dict[str, Callable[[], object]] = {
        "walk": lambda: shopper.ask("/api/offers", {"opt.all": "true", "opt.pageSize": 1}, authorization=key),
        "page": lambda: shopper.ask("/api/offers", {"opt.pageSize": 1}, authorization=key),
        "object": lambda: shopper.ask_object("subscriptions", subscription["subscriptionId"]),
        "orders": lambda: shopper.ask_objects("orders", limit=2),
        "queued": lambda: order(**ordered),
        "processed": lambda: order(**ordered, process_immediately=True),
        "of a basket": lambda: order(**ordered, checkoutId="unknown"),
        "payment": lambda: order(
            order_type="change_payment", payment={"type": "zuora"}, process_immediately=True, **subscription
        ),
        "offer": lambda: order(
            order_type="change_offer",
            offer=reference(shopper.offers[1]),
            effectiveDate="2024-01-01",
            process_immediately=True,
            **subscription,
        ),
        "redeemed": lambda: order(**ordered, redeemCode="GIFT0001"),
    }
    for _ in range(3):
        for call in calls.values():
            call()
    before = {name: min(steps(call) for _ in range(3)) for name, call in calls.items()}
    basket = {"order": {"orderItems": ordered["orderItems"], "order_type": "new"}}
    for _ in range(MANY):
        for call in calls.values():
            call()
        shopper.send("initiateCheckout", "POST", "/checkout/initiate", basket)
        order(**ordered, isGift=True, process_immediately=True)
    after = {name: min(steps(call) for _ in range(3)) for name, call in calls.items()}
    for name, count in after.items():
        assert count < before[name] + MANY, (name, before[name], count)


def test_the_least_recently_read_of_too_many_walks_is_forgotten(
    world: World, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "MOST_SCROLLS", 3)
    first, second, third = (visitor.catalog("offers", all=True, pageSize=1) for _ in range(3))
    visitor.next("offers", first)
    visitor.catalog("offers", all=True, pageSize=1)
    assert [scroll.number for scroll in world.open_scrolls()] == [0, 2, 3]
    assert message(visitor.ask_next("offers", second)) == "No search context found for id"
    assert visitor.next("offers", first)["items"] != visitor.next("offers", third)["items"]


def test_scrolls_expire_in_the_order_they_were_read(world: World, visitor: Visitor) -> None:
    first, _ = (visitor.catalog("offers", all=True, pageSize=1) for _ in range(2))
    world.advance(200)
    visitor.next("offers", first)
    world.advance(150)
    assert [scroll.number for scroll in world.open_scrolls()] == [0]


def test_the_log_holds_the_last_requests_and_counts_all(
    world: World, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received, "MOST_REQUESTS", 100)
    for number in range(105):
        visitor.ask(f"/nothing/{number}")
    assert [one.target for one in world.requests()] == [f"/nothing/{n}" for n in range(5, 105)]
    assert [one.target for one in world.latest_requests(2)] == ["/nothing/104", "/nothing/103"]
    assert world.count() == 105


def test_the_log_of_large_bodies_is_shorter_and_keeps_any_text(world: World, visitor: Visitor) -> None:
    for _ in range(MOST_BYTES // 65_536 + 10):
        visitor.ask("/nothing", method="POST", body=b"x" * 70_000)
    assert MOST_BYTES // 65_536 - 10 < len(world.requests()) <= MOST_BYTES // 65_536
    odd = Request(operation="", method="GET", target="/\udcff", headers={"x": "\udcfe"}, body=None)
    assert world.answer(odd).status == 404
    assert world.requests()[-1].target.startswith("/\ufffd")


def test_tokens_that_expired_are_forgotten_good_ones_never(world: World, visitor: Visitor) -> None:
    kept = visitor.token()
    for _ in range(1_500):
        visitor.token()
    visitor.bearer = kept
    assert visitor.objects("orders")["items"]
    world.advance(hours=2)
    for _ in range(2):
        visitor.token()
    assert len(world.good_tokens()) == 2
    assert (
        message(visitor.ask("/api/objects/limio/orders", authorization=kept)) == "Unauthorized: invalid token"
    )
