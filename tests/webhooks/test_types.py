"""What a webhook's body is, what it is keyed by, and whether two bodies are equal: by the documented samples."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limio_async import models
from limio_async.api.webhooks import OTHERS, WEBHOOKS
from limio_async.webhooks.types import Event, digest_of, id_of, instant_of, key_of, kind_of, object_of

SAMPLES = Path(__file__).parents[1] / "samples"
SUB = "sub-0bfbe7dd0862dad3270ad225ea126f4c"

DOCUMENTED = {
    "Customer Created": "customer_created",
    "Customer Updated": "customer_updated",
    "Subscription Created": "subscription_created",
    "Order Submitted": "order_submitted",
    "Order: Address Change": "order_address_change",
    "Order: Payment Method Change": "order_payment_method_change",
    "Order: Subscription Offer Change": "order_subscription_offer_change",
    "Order: Subscription Offer Addition": "order_subscription_offer_addition",
    "Order: Subscription Cancellation": "order_subscription_cancellation",
    "Order: Update Customer Details": "order_update_customer_details",
    "Order: Update Subscription": "order_update_subscription",
    "Entitlements Updated": "entitlements_updated",
    "Checkout Initiated": "checkout_initiated",
    "Cancel Attempted": "cancel_attempted",
    "Payment Method Added": "payment_method_added",
    "Address Added": "address_added",
    "Error Reporting": "error_reporting",
}

ORDERS = {
    "add_offer": SUB,
    "cancel_subscription": SUB,
    "change_address": SUB,
    "change_payment": SUB,
    "change_payment_redirect": SUB,
    "gift_refund": SUB,
    "pay_invoice": SUB,
    "cancel_intent": "order-1",  # these four name the subscription, which is no id
    "change_offer": "order-1",
    "update_customer_details": "order-1",
    "update_subscription": "order-1",
    "data_capture": "order-1",  # and these are for none
    "new": "order-1",
}
"""The key of an order of each documented request."""


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def order(request: str) -> dict[str, Any]:
    """Return an order as it is stored, made of the sample of its request."""
    data = sample(f"submitOrder_request_{request}")
    return {"id": "order-1", "record_type": "order", "updated": "2024-03-22T12:13:29.972Z", "data": data}


def report(inside: object) -> dict[str, Any]:
    """Return a body of Error Reporting as the help centre shows it."""
    return {
        "eventId": "event-64ad4e5eab8a9288e379a1e059c0d3ee",
        "processEventId": "process_event-64ad4e5eab8a9288e379a1e059c0d3ee",
        "event": {"message": "Order Received", "type": "order.refund", "event": inside},
        "pluginErrorOutput": [{"name": "zuora", "message": "Payment declined"}],
    }


def decoded(slug: str, body: object) -> Any:
    return msgspec.json.decode(json.dumps(body).encode(), type=kind_of(slug, body).model)


def test_the_17_documented_types_and_no_other() -> None:
    assert {one.name: slug for slug, one in WEBHOOKS.items()} == DOCUMENTED
    assert all(one.slug == slug for slug, one in WEBHOOKS.items())


@pytest.mark.parametrize(
    "slug", ["order_submitted", "Order_Submitted", "ORDER_SUBMITTED/", "/order_submitted"]
)
def test_case_and_a_slash_do_not_matter(slug: str) -> None:
    assert kind_of(slug, None) is WEBHOOKS["order_submitted"]


@pytest.mark.parametrize("request_", ORDERS)
def test_an_order_is_keyed_by_the_id_of_its_subscription_else_by_its_own(request_: str) -> None:
    body = order(request_)
    kind = kind_of("order_submitted", body)
    assert key_of(kind, body) == ORDERS[request_]
    assert key_of(kind, {**body, **body["data"], "data": {}, "id": "order-1"}) == ORDERS[request_]
    assert (kind.resource, id_of(kind, body)) == ("orders", "order-1")
    assert decoded("order_submitted", body).data.order_type == body["data"]["order_type"]


def test_every_request_of_an_order_is_among_them() -> None:
    there = {path.stem.removeprefix("submitOrder_request_") for path in SAMPLES.glob("submitOrder_request_*")}
    assert there == ORDERS.keys()


def test_the_stored_order_of_the_documents() -> None:
    [body] = sample("listObjects")["items"]
    kind = kind_of("order_submitted", body)
    assert key_of(kind, body) == body["id"] == id_of(kind, body)
    assert instant_of(kind, body) == datetime(2024, 3, 22, 12, 13, 29, 972_000, tzinfo=UTC)
    assert decoded("order_submitted", body).id == body["id"]


def test_a_subscription_is_keyed_by_its_own_id() -> None:
    body = sample("getObject")
    kind = kind_of("subscription_created", body)
    assert key_of(kind, body) == "sub-7f0146cba78f9455e57875402643f103"
    assert isinstance(decoded("subscription_created", body), models.Subscription)


def test_an_event_is_keyed_by_its_own_id_and_not_by_what_it_is_related_to() -> None:
    [body] = sample("getObjectEvents")["items"]
    kind = kind_of("cancel_attempted", body)
    assert key_of(kind, body) == "event-64ad4e5eab8a9288e379a1e059c0d3ee"
    assert instant_of(kind, body) is None


def test_a_customer_is_keyed_by_its_own_id() -> None:
    [body] = sample("getSubscriptionsBySalesforceId")["customers"]
    kind = kind_of("customer_updated", body)
    assert (key_of(kind, body), kind.resource) == (body["id"], "customers")


def test_an_entitlement_is_keyed_by_its_id_else_by_its_owner_else_by_its_code() -> None:
    body = sample("getUserEntitlements")
    [bare] = body["entitlements"]
    kind = kind_of("entitlements_updated", body)
    assert key_of(kind, {"id": "user_entitlement-1", "data": bare}) == "user_entitlement-1"
    assert key_of(kind, body) == body["owner"] == "id-39e4c3727b273ec4110b5769c10cdb52"
    assert key_of(kind, {"data": bare}) == key_of(kind, bare) == "Digital"
    assert decoded("entitlements_updated", body).owner == body["owner"]


@pytest.mark.parametrize("request_", ORDERS)
def test_an_error_report_has_the_key_and_the_object_of_the_order_inside(request_: str) -> None:
    body = report(order(request_))
    kind = kind_of("error_reporting", body)
    assert key_of(kind, body) == ORDERS[request_]
    assert (kind.resource, id_of(kind, body)) == ("orders", "order-1")
    assert object_of(kind, body)["data"] == order(request_)["data"]
    assert instant_of(kind, body) == datetime(2024, 3, 22, 12, 13, 29, 972_000, tzinfo=UTC)
    read = decoded("error_reporting", body)
    assert (read.event.event.id, read.plugin_error_output[0].name) == ("order-1", "zuora")


@pytest.mark.parametrize("slug", ["My-Orders", "order_submitted2", "", "événement", "a/b"])
def test_another_type_stays_as_it_is_and_its_record_type_tells_the_object(slug: str) -> None:
    [event] = sample("getObjectEvents")["items"]
    for body, resource, key in (
        (order("add_offer"), "orders", SUB),
        (sample("getObject"), "subscriptions", "sub-7f0146cba78f9455e57875402643f103"),
        (sample("addExternalIdentity"), "identities", "12345678901234564923810"),
        (event, "events", event["id"]),
        ({"record_type": "novelty", "id": "novelty-1"}, None, "novelty-1"),
        ({"id": "x"}, None, "x"),
    ):
        kind = kind_of(slug, body)
        assert (kind.slug, kind.name, kind.resource) == (slug, "", resource)
        assert kind.record_type == body.get("record_type")
        assert key_of(kind, body) == key


def test_every_record_type_that_can_be_fetched_is_known() -> None:
    assert len(OTHERS) == 13
    assert {one.resource for one in WEBHOOKS.values()} < {one.resource for one in OTHERS.values()}


@pytest.mark.parametrize("id", ["", 7, None, [], {}, True, "a\0b", "a\nb", "x" * 256])
def test_what_is_no_id_keys_nothing(id: object) -> None:
    for body in (
        {"id": id},
        {"subscriptionId": id},
        {"forSubscription": {"id": id}},
        {"forSubscription": id},
    ):
        assert key_of(kind_of("order_submitted", body), body) is None


@pytest.mark.parametrize(
    "updated",
    ["2024-03-22T12:13:29.718Z", "2024-03-22T13:13:29.718+01:00", "2024-03-22T12:13:29.718"],
)
def test_times_of_any_form_are_one_instant(updated: str) -> None:
    kind = WEBHOOKS["order_submitted"]
    assert instant_of(kind, {"updated": updated}) == datetime(2024, 3, 22, 12, 13, 29, 718_000, tzinfo=UTC)


def test_a_bare_date_is_its_beginning_and_what_is_no_time_is_none() -> None:
    kind = WEBHOOKS["order_submitted"]
    assert instant_of(kind, {"updated": "2024-03-22"}) == datetime(2024, 3, 22, tzinfo=UTC)
    for odd in ("", "yesterday", 1711109609, None, ["2024-03-22"], "9999-99-99T00:00:00Z"):
        assert instant_of(kind, {"updated": odd}) is None


# ── The digest ───────────────────────────────────────────────────────────────────────────────────────────────────────

numbers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def turned(value: Any) -> Any:
    """Return an equal JSON value: keys in another order, whole numbers with a fraction of nothing."""
    if isinstance(value, dict):
        return {name: turned(one) for name, one in reversed(value.items())}
    if isinstance(value, list):
        return [turned(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def text(value: Any, **options: Any) -> bytes:
    return json.dumps(value, **options).encode(errors="surrogatepass")


@given(values)
def test_the_order_of_keys_and_the_spelling_do_not_change_the_digest(value: Any) -> None:
    for spelled in (
        text(turned(value), indent=1),
        text(value, ensure_ascii=False, separators=(" , ", " : ")),
    ):
        assert digest_of(spelled) == digest_of(text(value))


@pytest.mark.parametrize("spelled", [b"100", b"100.0", b"1e2", b"1E+2", b"10.0e1", b" 100 "])
def test_a_number_is_the_same_however_it_is_spelled(spelled: bytes) -> None:
    assert digest_of(b'{"a":%b}' % spelled) == digest_of(b'{"a":100}')


def test_numbers_of_any_length_stand_in_any_order() -> None:
    number = b"1" * 4_000
    assert digest_of(b'{"a":%b,"b":1}' % number) == digest_of(b'{"b":1,"a":%b}' % number)
    assert digest_of(b'{"a":%b}' % number) != digest_of(b'{"a":%b2}' % number)


@given(values, values)
@example(1, True)
@example(0, False)
@example([], {})
@example("1", 1)
@example({"a": None}, {})
@example([1, 2], [2, 1])
def test_other_values_have_other_digests(one: Any, other: Any) -> None:
    def told(value: Any) -> str:
        return json.dumps(turned(value), sort_keys=True)

    assert (digest_of(text(one)) == digest_of(text(other))) == (told(one) == told(other))


def test_every_sample_is_told_from_every_other_and_equals_itself_rewritten() -> None:
    bodies = {path.name: json.loads(path.read_bytes()) for path in SAMPLES.glob("*.json")}
    digests = {name: digest_of((SAMPLES / name).read_bytes()) for name in bodies}
    for name, body in bodies.items():
        assert digest_of(text(turned(body))) == digests[name]
        same = [other for other in digests if digests[other] == digests[name]]
        assert all(bodies[other] == body for other in same)


ODD = [
    b"null", b"[]", b"{}", b"0", b"-1", b'""', b"true", b"[null]", b"1e400", b"-1e-400", b"9" * 5000, b'"\\ud800"',
    b"", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"not json", b'{"a":1,"a":2}', b"NaN", b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"id":123456789012345678901234567890}',
]  # fmt: skip


@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:12]))
def test_odd_bodies_have_a_digest(body: bytes) -> None:
    assert len(digest_of(body)) == 64
    assert digest_of(body) == digest_of(bytes(body))


@given(st.binary())
def test_any_bytes_have_a_digest(body: bytes) -> None:
    assert len(digest_of(body)) == 64


def nested(depth: int) -> Any:
    found: Any = "sub-1"
    for _ in range(depth):
        found = {"event": found}
    return found


@pytest.mark.parametrize("slug", [*WEBHOOKS, "other"])
@pytest.mark.parametrize(
    "body", [None, [], {}, 0, -1.5, "", "text", True, [[]], nested(10), nested(500)], ids=str
)
def test_odd_bodies_have_a_kind_and_no_key(slug: str, body: object) -> None:
    kind = kind_of(slug, body)
    assert (kind.slug, key_of(kind, body), id_of(kind, body), instant_of(kind, body)) == (
        slug,
        None,
        None,
        None,
    )
    assert object_of(kind, body) in ({}, body) or slug == "error_reporting"


places = st.sampled_from(
    ["id", "data", "event", "forSubscription", "subscriptionId", "owner", "code", "updated", "record_type"]
)
bodies = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["order", "2024-03-22"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(places, inner, max_size=5),
)


@given(st.sampled_from([*WEBHOOKS, "other", "ORDER_submitted/"]) | st.text(), bodies)
def test_nothing_raises_whatever_came(slug: str, body: object) -> None:
    kind = kind_of(slug, body)
    key = key_of(kind, body)
    assert key is None or (0 < len(key) <= 255 and key.isprintable())
    assert (instant_of(kind, body) or datetime.now(UTC)).tzinfo is UTC
    assert id_of(kind, body) is None or key is not None


def test_what_crash_reports_show_of_an_event_has_nothing_personal() -> None:
    body = sample("getObject")
    now = datetime.now(UTC)
    event = Event(
        seq=7,
        type="subscription_created",
        object="subscription",
        id="sub-1",
        updated=now,
        received=now,
        digest=digest_of(b"{}"),
        body=body,
    )
    assert repr(event) == "<Event 7 subscription_created sub-1>"
    assert event.seen == 1
