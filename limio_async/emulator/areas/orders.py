"""Orders of every type: checked, queued or done at once, and previewed. What they do is in order_effects.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from limio_async.core.wire import Response
from limio_async.emulator.agenda import Agenda
from limio_async.emulator.areas.order_effects import Effects
from limio_async.emulator.areas.pricing import price
from limio_async.emulator.data.store import Store
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, as_object, is_list, is_object, json_object, objects_in, require
from limio_async.emulator.settings import Settings
from limio_async.emulator.webhooks import Webhooks

__all__ = ["Orders"]

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "new": ("orderItems", "customerDetails", "country"),
    "change_offer": ("offer",),
    "add_offer": ("offer",),
    "add_charge": ("offer",),
    "update_subscription": (),
    "cancel_subscription": (),
    "cancel_intent": (),
    "change_address": ("type", "address"),
    "change_payment": (),
    "change_external_payment": (),
    "delete_payment_method": (),
    "update_customer_details": ("customerDetails",),
    "pay_invoice": ("invoice",),
    "gift_refund": (),
    "renew": (),
    "data_capture": ("data",),
    "redeem_gift": (),
}
"""The types of orders, and what each needs besides a subscription."""

_WITHOUT_SUBSCRIPTION = {"new", "data_capture", "redeem_gift"}
_PREVIEWED = {
    "new",
    "change_offer",
    "add_offer",
    "add_charge",
    "update_subscription",
    "cancel_subscription",
    "gift_refund",
}
_OBJECTS = (
    "offer",
    "customerDetails",
    "billingDetails",
    "deliveryDetails",
    "address",
    "invoice",
    "data",
    "tracking",
    "payment",
    "forSubscription",
    "forPartner",
    "orderDiscount",
)
_STRINGS = ("country", "external_id", "checkoutId", "owner", "source", "subscriptionId", "customerId")
_LISTS = ("orderItems", "updates")
_PAYMENTS = ("zuora", "invoice", "stripe", "paypal", "direct_debit", "google__pay", "gift_code")
_WHEN = {"change_offer": "effectiveDate", "add_offer": "effectiveDate", "cancel_subscription": "cancelDate"}
"""Where the order says when it takes effect; `update_subscription` says it in each of its updates."""
_WEBHOOKS = {
    "change_address": "order_address_change",
    "change_payment": "order_payment_method_change",
    "change_external_payment": "order_payment_method_change",
    "change_offer": "order_subscription_offer_change",
    "add_offer": "order_subscription_offer_addition",
    "cancel_subscription": "order_subscription_cancellation",
    "update_customer_details": "order_update_customer_details",
    "update_subscription": "order_update_subscription",
}
"""The webhook of each type of order that has one besides Order Submitted."""
_FAILED = "failed"
_OWN_PLUGIN = "limio"


class Orders:
    """Takes orders and lets them have their effects."""

    def __init__(
        self, settings: Settings, store: Store, agenda: Agenda, effects: Effects, webhooks: Webhooks
    ) -> None:
        self._settings = settings
        self._store = store
        self._agenda = agenda
        self._effects = effects
        self._webhooks = webhooks
        self.listeners: list[Callable[[Data], object]] = []
        """Each is told of every order that was accepted."""
        agenda.on("orders.process", self._leave_queue)
        agenda.on("orders.take_effect", self._take_effect)
        agenda.on("orders.fail", self._fail)
        self.operations: Mapping[str, Handler] = {
            "submitOrder": self._submit,
            "submitOrderAsAdmin": self._submit,
            "submitPartnerOrder": self._submit,
            "previewOrder": self._preview,
            "previewPartnerOrder": self._preview,
        }

    def submit(self, body: Data) -> Data:
        """The order that *body* asks for: processed, or in the queue."""
        order_type = _checked(body)
        subscription = self._subscription(body, order_type)
        self._check_offers(body)
        self._check_people(body)
        order = self._accept(body, subscription)
        event = self._effects.announce(order, f"order.{order_type}", "Order Received", **_source(body))
        for listener in self.listeners:
            listener(order)
        self._tell(order, event)
        if body.get("process_immediately") is True:
            return self._process(order)
        self._agenda.later(self._settings.order_delay, "orders.process", order=order["id"])
        return order

    def _tell(self, order: Data, event: Data) -> None:
        """Let the receivers of webhooks know of an order; one that has a webhook of its own comes as both."""
        self._webhooks.ring("order_submitted", order)
        order_type = order["data"]["order_type"]
        if order_type in _WEBHOOKS:
            self._webhooks.ring(_WEBHOOKS[order_type], order)
        if order_type == "cancel_intent":
            self._webhooks.ring("cancel_attempted", event)

    def _submit(self, call: Call) -> Response:
        body = json_object(call)
        if body.get("order_type") == "new" and (signed_in := self._signed_in(call)) is not None:
            body.setdefault("owner", signed_in)
        self._check_partner(body)
        order = self.submit(body)
        answer = {
            "id": order["id"],
            "order_reference": order["reference"],
            "status": order["status"],
            "external_id": body.get("external_id"),
            "owner": order.get("owner"),
        }
        if (subscription := self._store.get(str(order.get("related")))) is not None:
            answer["subscriptionReference"] = subscription["reference"]
        return reply({name: value for name, value in answer.items() if isinstance(value, str)})

    def _signed_in(self, call: Call) -> str | None:
        """The identity of a session; an account's token is nobody's."""
        if call.headers.get("authorization") != f"Bearer {self._settings.session_token}":
            return None
        first = self._store.records.id("identity", 0)
        return first if self._store.get(first) is not None else None

    def _preview(self, call: Call) -> Response:
        """The same checks, but a preview has no 400: what is wrong comes as 502."""
        body = json_object(call, status=502)
        order_type = _checked(body, status=502)
        if order_type not in _PREVIEWED:
            raise Refused(502, f"An order of type {order_type} cannot be previewed")
        subscription = self._subscription(body, order_type, status=502)
        schedule = self._effects.preview(body, subscription)
        return reply({"preview": {"success": True}, "schedule": schedule})

    def _subscription(self, body: Data, order_type: str, *, status: int = 400) -> Data | None:
        """The subscription that an order is for; refused where it is missing or unknown."""
        pointer = as_object(body.get("forSubscription"))
        named = pointer.get("id") or body.get("subscriptionId")
        by_name = pointer.get("name") or body.get("subscriptionRef")
        if named is None and by_name is None and "customerId" in body:
            return self._subscription_of(str(body["customerId"]))
        if named is None and by_name is None:
            if order_type in _WITHOUT_SUBSCRIPTION:
                return None
            raise Refused(status, "Missing required fields: forSubscription or subscriptionId")
        found = (
            self._store.named("subscription", str(by_name)) if named is None else self._store.get(str(named))
        )
        if found is None or found["record_type"] != "subscription":
            raise Refused(404, f"No subscription {named or by_name}")
        return found

    def _subscription_of(self, customer: str) -> Data:
        for other in self._store.linked(customer):
            if other["record_type"] == "subscription":
                return other
        raise Refused(404, f"No subscription of customer {customer}")

    def _check_offers(self, body: Data) -> None:
        """Everything that is ordered must be there and published."""
        self._effects.preview({**body, "orderDiscount": None}, None)

    def _check_people(self, body: Data) -> None:
        owner = body.get("owner")
        if body["order_type"] == "new" and owner is not None and self._store.get(str(owner)) is None:
            raise Refused(404, f"No identity {owner}")
        code = body.get("redeemCode")
        if code is not None and self._store.named("gift_code", str(code)) is None:
            raise Refused(404, f"No gift code {code}")

    def _check_partner(self, body: Data) -> None:
        """A partner's token says who it is; an organisation that is named must be there."""
        partner = body.get("forPartner")
        if partner is None:
            return
        named = as_object(partner).get("id")
        found = self._store.get(str(named))
        if found is None or found["record_type"] != "partner_org":
            raise Refused(400, f"Invalid partner organisation {named}")

    def _accept(self, body: Data, subscription: Data | None) -> Data:
        """The order as it is kept: items are expanded to what they were when they were bought."""
        data = dict(body)
        if is_list(items := body.get("orderItems")):
            lines = self._effects.lines(items)
            data["orderItems"] = [
                {**item, "id": self._item_id(number), "offer": line.item, "price": price([line])}
                for number, (item, line) in enumerate(zip(items, lines, strict=True))
            ]
            data["total"] = {name: price(lines)[name] for name in ("currency", "amount")}
        data.setdefault("orderDate", self._store.stamp())
        return self._store.create(
            "order",
            status="pending",
            owner=None if subscription is None else subscription["owner"],
            related=None if subscription is None else subscription["id"],
            authority={
                "aut": {"iss": "issuer.example.com", "sub": "user@example.com"},
                "permissions": ["order:*"],
            },
            data=data,
        )

    def _item_id(self, number: int) -> str:
        return uuid(fingerprint(self._store.new_reference(), number, length=32))

    def _leave_queue(self, order: str) -> None:
        record = self._store.get(order)
        if record is None or record["status"] == _FAILED:
            return
        try:
            self._process(record)
        except Refused as refused:  # what was ordered is no longer there
            self._fail(order, _OWN_PLUGIN, refused.message)

    def _process(self, record: Data) -> Data:
        """Let an order have its effects; the order as it is then."""
        body = record["data"]
        if body["order_type"] == "new":
            subscription = self._effects.subscribe(record)
            return self._store.change(record, status="complete", related=subscription["id"])
        if body["order_type"] == "change_payment" and "payment" not in body:
            return self._store.change(
                record, status="pending-payment"
            )  # the person is at the payment provider
        record = self._store.change(record, status="complete")
        self._begin(record)
        return self._store.get(record["id"]) or record

    def _begin(self, order: Data) -> None:
        """Let an order take effect now, or at the time that it says."""
        body = order["data"]
        for number, update in enumerate(objects_in(body.get("updates"))):
            self._at(order, _moment(update.get("effective_date")), update=number)
        if body["order_type"] in self._effects.by_type:
            self._at(order, self._when(order))

    def _when(self, order: Data) -> float:
        body = order["data"]
        given = body.get(_WHEN.get(body["order_type"], ""))
        if given is None and body["order_type"] == "change_offer":
            subscription = self._store.get(str(order.get("related")))
            given = None if subscription is None else subscription["data"].get("termEndDate")
        return _moment(given)

    def _at(self, order: Data, moment: float, **arguments: int) -> None:
        waiting = moment - self._settings.now()
        if waiting <= 0:
            self._take_effect(order["id"], **arguments)
            return
        self._agenda.later(waiting, "orders.take_effect", order=order["id"], **arguments)
        if (subscription := self._store.get(str(order.get("related")))) is not None:
            due = datetime.fromtimestamp(moment, UTC).date().isoformat()
            pending = {"order": order["id"], "order_type": order["data"]["order_type"], "effectiveDate": due}
            self._store.change(subscription, data={**subscription["data"], "pendingChange": pending})

    def _take_effect(self, order: str, update: int | None = None) -> None:
        record = self._store.get(order)
        if record is None or record["status"] == _FAILED:
            return
        subscription = self._no_longer_pending(record)
        if subscription is None:
            return
        if subscription["status"] == "cancelled" and record["data"]["order_type"] != "renew":
            self._fail(order, _OWN_PLUGIN, f"Subscription {subscription['id']} is cancelled")
            return
        try:
            if update is None:
                self._effects.by_type[record["data"]["order_type"]](record, subscription)
            else:
                self._effects.update(record, subscription, record["data"]["updates"][update])
        except Refused as refused:  # what was ordered is no longer there
            self._fail(order, _OWN_PLUGIN, refused.message)

    def _fail(self, order: str, plugin: str, message: str) -> None:
        """Let an order that was accepted end badly. What it did stays; it does nothing more."""
        record = self._store.get(order)
        if record is None or record["record_type"] != "order" or record["status"] == _FAILED:
            return
        self._no_longer_pending(record)
        record = self._store.change(record, status=_FAILED)
        self._effects.report(record, plugin, message)

    def _no_longer_pending(self, order: Data) -> Data | None:
        """The subscription of an order, which does not wait for it any more."""
        subscription = self._store.get(str(order.get("related")))
        if subscription is None or subscription["record_type"] != "subscription":
            return None
        pending = subscription["data"].get("pendingChange")
        if is_object(pending) and pending.get("order") == order["id"]:
            del subscription["data"]["pendingChange"]
            self._store.change(subscription)
        return subscription


def _checked(body: Data, *, status: int = 400) -> str:
    """The type of an order with everything it needs; what only breaks further in comes as 502."""
    order_type = body.get("order_type")
    if not isinstance(order_type, str) or order_type not in _REQUIRED:
        raise Refused(status, f"order_type must be one of {', '.join(_REQUIRED)}")
    require(body, _REQUIRED[order_type], status=status)
    for name in _OBJECTS:
        _expect(is_object(body.get(name, {})), f"{name} must be an object")
    for name in _STRINGS:
        _expect(isinstance(body.get(name, ""), str), f"{name} must be a string")
    for name in _LISTS:
        _expect(is_list(body.get(name, [])), f"{name} must be an array")
    _check_items(body, status)
    _check_updates(body)
    payment = body.get("payment", {"type": "zuora"})
    _expect(payment.get("type") in _PAYMENTS, f"payment.type must be one of {', '.join(_PAYMENTS)}")
    for name in ("effectiveDate", "cancelDate"):
        _moment(body.get(name))
    if order_type == "change_address":
        _expect(body["type"] in ("billing", "delivery"), "type must be billing or delivery")
    return order_type


def _check_items(body: Data, status: int) -> None:
    items = body.get("orderItems", [])
    if body["order_type"] == "new" and not items:
        raise Refused(status, "orderItems must not be empty")
    for item in items:
        _expect(is_object(item) and _counts(item.get("quantity")), "orderItems must hold objects")
        if body["order_type"] == "new":
            offer = item.get("offer", item.get("add_on"))
            _expect(is_object(offer), "an order item needs an offer")
            require(as_object(offer), ["id", "version"], status=status)
    if is_object(body.get("offer")):
        require(body["offer"], ["id"], status=status)
        _expect(_counts(body.get("quantity")), "quantity must be a positive number")


def _check_updates(body: Data) -> None:
    for update in body.get("updates", []):
        _expect(is_object(update) and update.get("type") in ("add", "remove"), "an update must add or remove")
        _expect(isinstance(update.get("id"), str), "an update needs an id")
        _expect(_counts(update.get("quantity")), "quantity must be a positive number")
        _moment(update.get("effective_date"))


def _counts(value: object) -> bool:
    """Whether *value* is a quantity, as a number or a text, or is not there."""
    text = str(value).removesuffix(".0")
    return value is None or (
        not isinstance(value, bool) and text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9
    )


def _expect(is_fine: bool, otherwise: str) -> None:
    if not is_fine:
        raise Refused(502, otherwise)


def _moment(value: object) -> float:
    """An ISO date or date-time as seconds since 1970; 0 if there is none, so that it is past."""
    if value is None:
        return 0.0
    try:
        moment = datetime.fromisoformat(str(value))
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(502, f"{value} is no date") from None


def _source(body: Mapping[str, Any]) -> dict[str, str]:
    source = body.get("source", body.get("initiated_source"))
    return {"source": source} if isinstance(source, str) else {}
