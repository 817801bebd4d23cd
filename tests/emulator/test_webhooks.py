"""The webhooks of a world: which change sends what, and everything that can happen to it on the way."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from limio_async.api.webhooks import WEBHOOKS
from limio_async.emulator import World
from limio_async.emulator.webhooks import Sending
from limio_async.webhooks.types import instant_of, key_of, kind_of, object_of

from .judge import SPEC
from .shopper import Shopper, new

URL = "http://127.0.0.1:9000/hooks/{type}"


@pytest.fixture
def shopper(world: World) -> Shopper:
    shopper = Shopper(world)
    world.webhooks.to(URL)
    return shopper


def types(sendings: list[Sending]) -> list[str]:
    return [one.type for one in sendings]


def body(sending: Sending) -> Any:
    return json.loads(sending.body)


def judged(sending: Sending) -> Any:
    """Return the body, once it was found to be as openapi/limio.yaml has it."""
    content = SPEC["webhooks"][sending.type]["post"]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": SPEC["components"]}
    for error in Draft202012Validator(schema).iter_errors(body(sending)):
        raise AssertionError(f"{sending.type}: {error.json_path} {error.message[:300]}")
    return body(sending)


def renew(shopper: Shopper, count: int = 1) -> None:
    subscription = shopper.objects("subscriptions")["items"][0]["id"]
    for _ in range(count):
        shopper.submit(order_type="renew", subscriptionId=subscription)


def test_what_is_read_is_never_older_than_what_its_webhook_told(shopper: Shopper, world: World) -> None:
    shopper.submit(**new(shopper.offers[0]))
    told = [body(sending) for sending in world.webhooks.take()]
    known = [one for one in told if one["record_type"] in {"order", "customer", "subscription"}]
    assert len(known) >= 3
    for one in known:
        assert shopper.get(f"{one['record_type']}s", one["id"])["updated"] >= one["updated"], one[
            "record_type"
        ]


def test_a_new_order_tells_of_all_that_comes_of_it(shopper: Shopper, world: World) -> None:
    answer = shopper.submit(**new(shopper.offers[0]))
    sent = world.webhooks.take()
    assert types(sent) == [
        "order_submitted",
        "customer_created",
        "subscription_created",
        "address_added",
        "address_added",
        "payment_method_added",
        "entitlements_updated",
    ]
    assert judged(sent[0])["id"] == answer["id"]
    assert {(one.url, one.headers["content-type"]) for one in sent} == {
        (URL.format(type=one.type), "application/json") for one in sent
    }
    for one in sent:
        assert judged(one)["record_type"] == WEBHOOKS[one.type].record_type
        assert world.store.get(body(one)["id"]) is not None
    assert world.webhooks.take() == []


def test_a_customer_who_orders_again_is_updated(shopper: Shopper, world: World) -> None:
    owner = shopper.submit(**new(shopper.offers[0]))["owner"]
    world.webhooks.take()
    shopper.submit(**new(shopper.offers[0]), owner=owner)
    assert types(world.webhooks.take())[:3] == ["order_submitted", "customer_updated", "subscription_created"]


@pytest.mark.parametrize(
    ("type", "facts"),
    [
        ("order_address_change", {"order_type": "change_address", "type": "billing", "address": {"city": "Bonn"}}),
        ("order_payment_method_change", {"order_type": "change_payment", "payment": {"type": "invoice"}}),
        ("order_payment_method_change", {"order_type": "change_external_payment"}),
        ("order_subscription_offer_change", {"order_type": "change_offer", "offer": "offer"}),
        ("order_subscription_offer_addition", {"order_type": "add_offer", "offer": "offer"}),
        ("order_subscription_cancellation", {"order_type": "cancel_subscription"}),
        ("order_update_customer_details", {"order_type": "update_customer_details", "customerDetails": {"a": "b"}}),
        ("order_update_subscription", {"order_type": "update_subscription", "updates": []}),
        ("cancel_attempted", {"order_type": "cancel_intent"}),
    ],
)  # fmt: skip
def test_an_order_that_has_a_webhook_of_its_own_comes_as_both(
    shopper: Shopper, world: World, type: str, facts: dict[str, Any]
) -> None:
    subscription = shopper.submit(**new(shopper.offers[0]))["subscriptionReference"]
    world.webhooks.take()
    offer = {name: shopper.offers[1][name] for name in ("id", "version")}
    facts = {name: offer if value == "offer" else value for name, value in facts.items()}
    answer = shopper.submit(**facts, forSubscription={"name": subscription})
    sent = world.webhooks.take()
    assert types(sent)[:2] == ["order_submitted", type]
    first, second = map(judged, sent[:2])
    assert first["id"] == answer["id"]
    assert (second.get("related") if type == "cancel_attempted" else second["id"]) == answer["id"]
    assert all(judged(one) for one in sent)


def test_a_cancelled_subscription_ends_its_entitlements(shopper: Shopper, world: World) -> None:
    answer = shopper.submit(**new(shopper.offers[0]))
    world.webhooks.take()
    shopper.submit(
        order_type="cancel_subscription", forSubscription={"name": answer["subscriptionReference"]}
    )
    [told] = [judged(one) for one in world.webhooks.take() if one.type == "entitlements_updated"]
    assert told["data"]["endDate"] is not None


def test_a_checkout_that_begins_is_told_and_its_event_can_be_read(shopper: Shopper, world: World) -> None:
    order = {"orderItems": [{"offer": {"id": shopper.offers[0]["id"]}}]}
    basket = shopper.do("initiateCheckout", "POST", "/checkout/initiate", {"order": order})
    [sent] = world.webhooks.take()
    told = judged(sent)
    assert (sent.type, told["related"]) == ("checkout_initiated", basket["id"])
    assert shopper.get("events", told["id"])["data"]["type"] == "checkout.initiated"


def test_billing_that_fails_afterwards_is_reported_with_the_order_inside(
    shopper: Shopper, world: World
) -> None:
    world.faults.on("submitOrder").fail_later(30, message="Card declined")
    answer = shopper.submit(**new(shopper.offers[0]))
    assert "order_submitted" in types(world.webhooks.take())
    world.advance(29)
    assert world.webhooks.take() == []
    world.advance(1)
    [sent] = world.webhooks.take()
    report = judged(sent)
    assert sent.type == "error_reporting"
    assert report["eventId"].removeprefix("event-") == report["processEventId"].removeprefix("process_event-")
    assert report["pluginErrorOutput"] == [{"name": "zuora", "message": "Card declined"}]
    assert (report["event"]["type"], report["event"]["event"]["id"]) == ("order.new", answer["id"])
    assert report["event"]["event"]["status"] == "failed"


def test_every_documented_type_is_sent_and_is_what_the_client_takes_it_for(
    shopper: Shopper, world: World
) -> None:
    first = shopper.submit(**new(shopper.offers[0]))
    shopper.submit(**new(shopper.offers[0]), owner=first["owner"])
    shopper.do("initiateCheckout", "POST", "/checkout/initiate", {"order": {"orderItems": []}})
    offer = {name: shopper.offers[1][name] for name in ("id", "version")}
    subscription = next(world.ids("subscriptions"))
    orders: dict[str, dict[str, Any]] = {
        "change_address": {"type": "billing", "address": {"city": "Bonn"}},
        "change_payment": {"payment": {"type": "invoice"}},
        "change_offer": {"offer": offer},
        "add_offer": {"offer": offer},
        "update_customer_details": {"customerDetails": {"email": "first.last@example.com"}},
        "update_subscription": {"updates": []},
        "cancel_intent": {},
        "cancel_subscription": {},
    }
    for order_type, facts in orders.items():
        shopper.submit(order_type=order_type, forSubscription={"id": subscription}, **facts)
    world.faults.on("submitOrder").fail_later(1)
    shopper.submit(order_type="renew", forSubscription={"id": subscription})
    world.advance(1)
    sent = world.webhooks.take()
    assert {one.type for one in sent} == WEBHOOKS.keys()
    for one in sent:
        kind, told = kind_of(one.type, judged(one)), body(one)
        assert msgspec.json.decode(one.body, type=kind.model) is not None
        assert instant_of(kind, told) is not None
        assert object_of(kind, told)["record_type"] == kind.record_type
        is_for_one = "forSubscription" in object_of(kind, told)["data"]
        assert key_of(kind, told) == (subscription if is_for_one else told["id"])


def test_a_webhook_may_come_before_its_object_can_be_read(shopper: Shopper, world: World) -> None:
    world.reads.late(5)
    renew(shopper)
    [sent] = world.webhooks.take()
    assert shopper.ask_object("orders", body(sent)["id"]).status == 404
    world.advance(5)
    assert shopper.ask_object("orders", body(sent)["id"]).status == 200


def test_by_default_nothing_is_sent_twice(shopper: Shopper, world: World) -> None:
    renew(shopper)
    [sent] = world.webhooks.take()
    world.webhooks.answered(sent, 503)
    world.advance(days=30)
    assert world.webhooks.take() == []
    [noted] = world.webhooks.sent()
    assert (noted.status, noted.said, noted.taken, noted.attempt) == (503, "answered 503", False, 1)


def test_what_is_not_taken_is_sent_again_as_often_as_it_is_told(shopper: Shopper, world: World) -> None:
    world.webhooks.retry(2, wait=60)
    renew(shopper)
    bodies: list[bytes] = []
    for attempt, status in enumerate([500, None, 404], 1):
        [sent] = world.webhooks.take()
        assert sent.attempt == attempt
        bodies.append(sent.body)
        world.webhooks.answered(sent, status, "" if status else "timed out")
        world.advance(59)
        assert world.webhooks.take() == []
        world.advance(1)
    assert world.webhooks.take() == []
    assert len(set(bodies)) == 1
    assert [one.said for one in world.webhooks.sent()] == ["answered 500", "timed out", "answered 404"]


@pytest.mark.parametrize("status", [200, 202, 204])
def test_what_is_taken_is_not_sent_again(shopper: Shopper, world: World, status: int) -> None:
    world.webhooks.retry(5, wait=1)
    renew(shopper)
    [sent] = world.webhooks.take()
    world.webhooks.answered(sent, status)
    world.advance(hours=1)
    assert world.webhooks.take() == []


def test_duplicates_have_the_same_bytes(shopper: Shopper, world: World) -> None:
    world.webhooks.duplicate(2)
    renew(shopper)
    sent = world.webhooks.take()
    assert [(one.number, one.body) for one in sent] == [(sent[0].number, sent[0].body)] * 3
    assert world.webhooks.count() == 1


def test_late_ones_come_when_the_clock_gets_there_and_with_the_body_of_then(
    shopper: Shopper, world: World
) -> None:
    world.webhooks.late(5)
    shopper.submit(**new(shopper.offers[0]))
    world.advance(4.9)
    assert world.webhooks.take() == []
    world.advance(0.1)
    assert body(world.webhooks.take()[0])["status"] == "pending"


def test_uneven_ones_overtake_each_other_in_the_same_way_on_every_run() -> None:
    def orders() -> list[str]:
        world = World(offers=230, subscriptions=120)
        shopper = Shopper(world)
        world.webhooks.to(URL, types=["order_submitted"])
        world.webhooks.late(60, uneven=True)
        renew(shopper, 12)
        found: list[str] = []
        for _ in range(60):
            world.advance(1)
            found += [body(one)["created"] for one in world.webhooks.take()]
        return found

    found = orders()
    assert len(found) == 12
    assert found != sorted(found)
    assert found == orders()


def test_mixed_ones_are_all_there_in_no_order(shopper: Shopper, world: World) -> None:
    world.webhooks.mixed()
    renew(shopper, 12)
    numbers = [one.number for one in world.webhooks.take()]
    assert sorted(numbers) == list(range(1, 13)) != numbers


@pytest.mark.parametrize(("share", "least", "most"), [(0, 200, 200), (0.5, 70, 130), (1, 0, 0)])
def test_a_share_is_lost_and_noted(world: World, share: float, least: int, most: int) -> None:
    world.webhooks.to(URL)
    world.webhooks.lose(share)
    for number in range(200):
        world.webhooks.ring("order_submitted", {"id": f"order-{number}"})
    arrived = world.webhooks.take()
    lost = world.webhooks.sent()
    assert least <= len(arrived) <= most
    assert len(arrived) + len(lost) == 200
    assert {(one.status, one.said) for one in lost} <= {(None, "lost on the way")}


def test_each_receiver_gets_its_types(world: World) -> None:
    world.webhooks.to("http://orders.test/in", types="order_submitted")
    world.webhooks.to("http://all.test/{type}/x?of={type}")
    world.webhooks.ring("order_submitted", {})
    world.webhooks.ring("address_added", {})
    assert [one.url for one in world.webhooks.take()] == [
        "http://orders.test/in",
        "http://all.test/order_submitted/x?of=order_submitted",
        "http://all.test/address_added/x?of=address_added",
    ]
    assert len(world.webhooks.receivers["http://orders.test/in"]) == 1


@pytest.mark.parametrize(
    ("url", "auth", "expected"),
    [
        ("http://me:pass@host.test:1/{type}", None, "me:pass"),
        ("http://me:p%40%3Ass@host.test:1/{type}", None, "me:p@:ss"),
        ("http://host.test:1/{type}", ("pä", "中:"), "pä:中:"),
        ("http://one:two@host.test:1/{type}", ("me", "pass"), "me:pass"),
    ],
)
def test_credentials_are_sent_and_never_shown(
    world: World, url: str, auth: tuple[str, str] | None, expected: str
) -> None:
    world.webhooks.to(url, auth=auth)
    world.webhooks.ring("order_submitted", {})
    [sent] = world.webhooks.take()
    secret = b64encode(expected.encode()).decode()
    assert sent.headers["authorization"] == f"Basic {secret}"
    assert sent.url == "http://host.test:1/order_submitted"
    world.webhooks.answered(sent, 202)
    shown = f"{sent!r} {world.webhooks.sent()} {world.webhooks.receivers} {world.snapshot()}"
    assert secret not in shown
    assert "pass" not in shown


@pytest.mark.parametrize(
    ("url", "types", "said"),
    [
        ("ftp://host.test/{type}", None, "need a URL"),
        ("127.0.0.1:9000/{type}", None, "need a URL"),
        ("http://[::1/{type}", None, "need a URL"),
        ("http://host.test:99999/{type}", None, "need a URL"),
        ("http:///{type}", None, "need a URL"),
        ("http://host.test/hooks", None, "does not tell its type"),
        ("http://{type}.test/hooks", None, "does not tell its type"),
        ("http://host.test/{type}", ["order_sent"], "no webhook is called order_sent"),
        ("http://host.test/{type}", [], "no type is named"),
    ],
)
def test_what_cannot_be_sent_to_is_refused_in_words(
    world: World, url: str, types: list[str] | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        world.webhooks.to(url, types=types)
    assert world.webhooks.receivers == {}


def test_knobs_that_make_no_sense_are_refused_and_change_nothing(world: World) -> None:
    before = world.webhooks.manner
    hooks = world.webhooks
    for knob, given in (
        (hooks.retry, {"times": -1}),
        (hooks.retry, {"wait": -1}),
        (hooks.duplicate, {"times": -1}),
        (hooks.late, {"seconds": float("inf")}),
        (hooks.lose, {"share": 1.1}),
    ):
        with pytest.raises(ValueError, match="Expected"):
            knob(**given)
    assert world.webhooks.manner == before


def test_being_kind_ends_the_knobs_and_keeps_the_receivers(world: World) -> None:
    world.webhooks.to(URL)
    world.webhooks.retry()
    world.webhooks.lose(1)
    world.be_kind()
    world.webhooks.ring("order_submitted", {})
    assert len(world.webhooks.take()) == 1


def test_those_that_wait_are_in_a_snapshot_and_go_to_whom_the_restored_world_knows(world: World) -> None:
    world.webhooks.to(URL)
    world.webhooks.late(5)
    world.webhooks.ring("order_submitted", {"id": "order-1"})
    saved = json.loads(json.dumps(world.snapshot()))
    for knows in (True, False):
        other = World(offers=230, subscriptions=120)
        if knows:
            other.webhooks.to(URL)
        other.restore(saved)
        other.advance(5)
        assert [body(one) for one in other.webhooks.take()] == [{"id": "order-1"}] * knows


def test_a_world_that_nobody_listens_to_sends_and_keeps_nothing(world: World) -> None:
    renew(Shopper(world))
    world.advance(hours=1)
    assert (world.webhooks.take(), world.webhooks.sent(), world.webhooks.count()) == ([], [], 0)
