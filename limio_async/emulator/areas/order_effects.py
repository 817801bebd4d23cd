"""What orders do to the objects: one method for each type of order that changes something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from limio_async.emulator.areas.pricing import (
    Line,
    Offers,
    attributes,
    decimal,
    payments,
    price,
    products,
    refund,
    shift,
    term_end,
)
from limio_async.emulator.data.records import instant
from limio_async.emulator.data.store import Store
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.payload import Data, as_list, as_object, is_list, is_object, objects_in
from limio_async.emulator.settings import Settings
from limio_async.emulator.webhooks import Webhooks
from limio_async.envelope import told

__all__ = ["Effects", "quantity"]

_KEPT_PAYMENTS = 2  # of a schedule as objects: what is due and what comes next
_OPEN = ("pending", "pending-external")
_ACTIVE = ("active",)
_PROCESSED = "processed"

Effect = Callable[[Data, Data], None]


class Effects:
    """The effects of orders on a store."""

    def __init__(self, settings: Settings, store: Store, offers: Offers, webhooks: Webhooks) -> None:
        self._settings = settings
        self._store = store
        self._offers = offers
        self._webhooks = webhooks
        self.by_type: Mapping[str, Effect] = {
            "change_offer": self._change_offer,
            "add_offer": self._add_offer,
            "add_charge": self._add_charge,
            "cancel_subscription": self._cancel_subscription,
            "change_address": self._change_address,
            "change_payment": self._change_payment,
            "change_external_payment": self._change_payment,
            "delete_payment_method": self._delete_payment_method,
            "update_customer_details": self._update_customer_details,
            "pay_invoice": self._pay_invoice,
            "gift_refund": self._gift_refund,
            "renew": self._renew,
        }

    @property
    def today(self) -> date:
        """The day on the world's clock."""
        return date.fromisoformat(instant(self._settings.now())[:10])

    def line(self, reference: Mapping[str, Any], count: object, kind: str = "offers") -> Line:
        """An item of the catalog that is bought today; refuses what is not published."""
        item = self._offers.published(str(reference.get("id")), reference.get("version"), kind=kind)
        return Line(item=item, quantity=quantity(count), starts=self.today)

    def lines(self, items: Iterable[Data]) -> list[Line]:
        """The items of an order."""
        found: list[Line] = []
        for item in items:
            kind = "add_ons" if item.get("type") == "add_on" else "offers"
            found.append(self.line(item.get("offer") or item.get("add_on") or {}, item.get("quantity"), kind))
        return found

    def announce(self, record: Data, type: str, message: str, **data: Any) -> Data:
        """Let something have happened to *record*."""
        event = self._store.create(
            "event",
            status="submitted",
            related=record["id"],
            owner=record.get("owner"),
            data={"message": message, "type": type, **data},
        )
        self._store.create(
            "process_event",
            id=f"process_event-{event['id'].removeprefix('event-')}",
            status=_PROCESSED,
            related=event["id"],
            data={"criticalPluginErrors": []},
        )
        return event

    def report(self, order: Data, plugin: str, message: str) -> None:
        """Let *plugin* have stopped the process of an order."""
        error = {"name": plugin, "message": message}
        for event in list(self._store.linked(order["id"])):
            if event["record_type"] == "event":
                for process in self._store.children(event["id"], "process_event", _PROCESSED):
                    errors = [*process["data"]["criticalPluginErrors"], error]
                    self._store.change(process, data={**process["data"], "criticalPluginErrors": errors})
                    told = {
                        "message": event["data"]["message"],
                        "type": event["data"]["type"],
                        "event": order,
                    }
                    report = {"eventId": event["id"], "processEventId": process["id"], "event": told}
                    self._webhooks.ring("error_reporting", {**report, "pluginErrorOutput": [error]})

    def subscribe(self, order: Data) -> Data:
        """Everything that comes of a `new` order; gives the subscription."""
        body = order["data"]
        lines = self.lines(body["orderItems"])  # first: what is refused has no effect
        owner, customer = self._customer(body)
        order |= {"owner": owner["id"], "customer": customer["id"]}
        subscription = self._subscription(order, lines)
        self._webhooks.ring("subscription_created", subscription)
        for line in lines:
            self._attach(subscription, line)
        self._schedule(subscription, lines, body.get("orderDiscount"))
        for kind, name in (("billing", "billingDetails"), ("delivery", "deliveryDetails")):
            if is_object(details := body.get(name)):
                self._address(subscription, kind, details)
        if is_object(payment := body.get("payment")):
            self._payment_method(subscription, payment)
        self._entitle(subscription, lines)
        self._gifts(subscription, body)
        return subscription

    def start(self, *, name: str, owner: Data, customer: Data, line: Line) -> Data:
        """A subscription that came from elsewhere, with its schedule."""
        order: Data = {"id": "", "owner": owner["id"], "customer": customer["id"], "data": {}}
        subscription = self._subscription(order, [line])
        subscription = self._store.change(subscription, name=name)
        self._webhooks.ring("subscription_created", subscription)
        self._attach(subscription, line)
        self._schedule(subscription, [line])
        self._entitle(subscription, [line])
        return subscription

    def person(self, details: Mapping[str, Any]) -> tuple[Data, Data]:
        """A new identity and its customer."""
        email = details["email"] if isinstance(details.get("email"), str) else None
        own = self._store.new_id("identity")
        identity = self._store.create(
            "identity", id=own, owner=own, name=email, data={"email": email} if email else {}
        )
        names = [details.get("firstName"), details.get("lastName")]
        full_name = details.get("fullName") or " ".join(name for name in names if isinstance(name, str))
        return identity, self._new_customer(own, {**details, "fullName": full_name})

    def _new_customer(self, owner: str, data: Mapping[str, Any]) -> Data:
        customer = self._store.create("customer", owner=owner, data=dict(data))
        self._webhooks.ring("customer_created", customer)
        return customer

    def update(self, order: Data, subscription: Data, update: Data) -> None:
        """One of the updates of `update_subscription`."""
        kind = "add_ons" if update.get("record_type") == "add_on" else "offers"
        if update["type"] == "add":
            line = self.line(update, update.get("quantity"), kind)
            self._attach(subscription, line, order)
            self._schedule(subscription, [line])
            return
        child = self._store.get(str(update["id"]))
        if child is not None and child.get("related") == subscription["id"]:
            self._detach(subscription, child)

    def cancel(self, subscription: Data, reason: object = None) -> None:
        """End a subscription now."""
        ended = self.today.isoformat()
        data = {**subscription["data"], "endDate": ended}
        self._store.change(subscription, status="cancelled", data=data)
        self._end(subscription, "schedule", _OPEN)
        self._end(subscription, "subscription_offer", _ACTIVE)
        self._end(subscription, "subscription_add_on", _ACTIVE)
        for entitlement in self._active(subscription, "user_entitlement"):
            ended_now = self._store.change(entitlement, data={**entitlement["data"], "endDate": ended})
            self._webhooks.ring("entitlements_updated", ended_now)
        more = {"reason": reason} if reason is not None else {}
        self.announce(
            subscription, "subscription_cancelled", "Subscription Cancelled", source="limio", **more
        )

    def renew(self, subscription: Data, length: int | None = None, unit: str = "months") -> None:
        """Begin the next term: as long as is told, or as the last one."""
        data: Data = subscription["data"]
        begins = day_of(data.get("termEndDate")) or self.today
        if length is None:
            begun = day_of(data.get("termStartDate")) or begins
            length, unit = (begins - begun).days or 365, "days"
        term = {"termStartDate": begins.isoformat(), "termEndDate": shift(begins, length, unit).isoformat()}
        self._store.change(subscription, status="active", data={**data, **term})
        if is_object(offer := data.get("offer")):
            line = Line(item=offer, quantity=quantity(data.get("quantity")), starts=begins)
            self._schedule(subscription, [line])

    def preview(self, body: Data, subscription: Data | None) -> list[Data]:
        """The payments that would come of an order; refuses nothing that `line` does not."""
        given = body.get("orderItems")
        lines = self.lines(given if is_list(given) else [])
        if is_object(offer := body.get("offer")):
            lines.append(self.line(offer, body.get("quantity")))
        for update in objects_in(body.get("updates")):
            if update["type"] == "add":
                kind = "add_ons" if update.get("record_type") == "add_on" else "offers"
                line = self.line(update, update.get("quantity"), kind)
                begins = max(day_of(update.get("effective_date")) or self.today, self.today)
                lines.append(Line(item=line.item, quantity=line.quantity, starts=begins))
        schedule = payments(lines, self.today, body.get("orderDiscount"))
        if subscription is not None and body["order_type"] in {"cancel_subscription", "gift_refund"}:
            share = Decimal(1) if body["order_type"] == "gift_refund" else self._unused(subscription)
            schedule.append(self._refund(subscription, share))
        return schedule

    def _customer(self, body: Data) -> tuple[Data, Data]:
        """Who orders: the owner that is named, or somebody new."""
        owner = self._store.get(str(body.get("owner")))
        if owner is None:
            return self.person(body["customerDetails"])
        for other in self._store.linked(owner["id"]):
            if other["record_type"] == "customer":
                self._webhooks.ring("customer_updated", other)
                return owner, other
        return owner, self._new_customer(owner["id"], body["customerDetails"])

    def _subscription(self, order: Data, lines: list[Line]) -> Data:
        body, today = order["data"], self.today
        line = next((line for line in lines if told(line.item, "record_type") != "add_on"), lines[0])
        item_id = uuid(fingerprint(self._settings.seed, order["id"], order["customer"], length=32))
        data: Data = {
            "name": line.item["name"],
            "id": item_id,
            "tracking": body.get("tracking"),
            "purchaseCountry": body.get("country"),
            "startDate": today.isoformat(),
            "termStartDate": today.isoformat(),
            "attributes": {"gift": bool(body.get("isGift")), "external": False, "autoRenew": True},
            "addOns": [],
            **self._sold(line, today),
        }
        return self._store.create(
            "subscription",
            start=today.isoformat(),
            owner=order["owner"],
            customer=order["customer"],
            ref=f"{order['id']}/{item_id}" if order["id"] else None,
            data={name: value for name, value in data.items() if value is not None},
        )

    def _sold(self, line: Line, start: date) -> Data:
        """What of a subscription follows from its offer."""
        ends = term_end(line.item, start)
        return {
            "offer": {**line.item, "updated": instant(self._settings.now())},
            "quantity": line.quantity,
            "price": price([line]),
            "products": products(line.item),
        } | ({} if ends is None else {"termEndDate": ends.isoformat()})

    def _attach(self, subscription: Data, line: Line, order: Data | None = None) -> Data:
        """Let *line* be part of a subscription."""
        add_on = told(line.item, "record_type") == "add_on"
        child = self._store.create(
            "subscription_add_on" if add_on else "subscription_offer",
            owner=subscription.get("owner"),
            customer=subscription.get("owner"),  # the identity's id, as live records have it
            related=subscription["id"],
            ref=subscription.get("ref") if order is None else f"{order['id']}/{order['id']}",
            data={
                "add_on" if add_on else "offer": line.item,
                "quantity": line.quantity,
                "price": price([line]),
            },
        )
        if add_on:
            entry = {"id": child["id"], "add_on": _short(line.item), "quantity": line.quantity}
            self._set(subscription, addOns=[*as_list(subscription["data"].get("addOns")), entry])
        return child

    def _detach(self, subscription: Data, child: Data) -> None:
        self._store.change(child, status="cancelled")
        kept = [one for one in as_list(subscription["data"].get("addOns")) if _id_of(one) != child["id"]]
        self._set(subscription, addOns=kept)

    def _set(self, subscription: Data, **data: Any) -> None:
        self._store.change(subscription, data={**subscription["data"], **data})

    def _schedule(self, subscription: Data, lines: list[Line], discount: object = None) -> None:
        """Plan the payments for *lines*; the first one is due at once."""
        planned = payments(lines, self.today, discount if is_object(discount) else None)
        for number, payment in enumerate(planned[:_KEPT_PAYMENTS]):
            self._charge(subscription, payment, "pending" if number else "active")

    def _charge(self, subscription: Data, payment: Data, status: str) -> None:
        own = self._store.new_id("schedule")
        self._store.create(
            "schedule",
            id=own,
            status=status,
            owner=subscription.get("owner"),
            customer=subscription.get("customer"),
            related=subscription["id"],
            process_key=f"{status}/{payment['date'][:10]}/limio/{own}",
            data=payment,
        )

    def _address(self, subscription: Data, kind: str, details: Data) -> None:
        """The address of this kind; there is one of each."""
        for address in self._active(subscription, "address"):
            if address.get("relationship_type") == kind:
                self._store.change(address, data=details)
                return
        address = self._of_subscription(subscription, "address", relationship_type=kind, data=details)
        self._webhooks.ring("address_added", address)

    def _payment_method(self, subscription: Data, payment: Data) -> None:
        """The payment method from now on; those before it are no longer active."""
        for method in self._active(subscription, "payment_method"):
            self._store.change(method, status="inactive")
        data = dict(payment)
        if is_object(zuora := payment.get("zuora")):
            result = {"CreditCardMaskNumber": "************1111"}
            data["zuora"] = {**zuora, "success": True, "result": result}
        method = self._of_subscription(subscription, "payment_method", data=data)
        self._webhooks.ring("payment_method_added", method)

    def _entitle(self, subscription: Data, lines: list[Line]) -> None:
        given = [product for line in lines for product in objects_in(products(line.item))]
        codes = {code: None for product in given for code in _entitlements(product)}
        for code in codes:
            data = {
                "code": code,
                "startDate": self.today.isoformat(),
                "endDate": None,
                "type": "subscription",
            }
            entitlement = self._of_subscription(subscription, "user_entitlement", data=data)
            self._webhooks.ring("entitlements_updated", entitlement)

    def _gifts(self, subscription: Data, body: Data) -> None:
        """A gift has a code; a code that is redeemed is spent."""
        if body.get("isGift"):
            code = self._store.new_reference()
            data = {"code": code, "redeemed": False, "offer": subscription["data"]["offer"]}
            self._of_subscription(subscription, "gift_code", data=data)
        gift = self._store.named("gift_code", str(body.get("redeemCode")))
        if gift is not None:
            self._store.change(gift, data={**gift["data"], "redeemed": True})

    def _of_subscription(self, subscription: Data, record_type: str, **fields: Any) -> Data:
        owner, customer = subscription.get("owner"), subscription.get("customer")
        return self._store.create(
            record_type, owner=owner, customer=customer, related=subscription["id"], **fields
        )

    def _active(self, subscription: Data, record_type: str) -> list[Data]:
        return self._store.children(subscription["id"], record_type, "active")

    def _end(self, subscription: Data, record_type: str, statuses: Sequence[str]) -> None:
        for status in statuses:
            for child in self._store.children(subscription["id"], record_type, status):
                self._store.change(child, status="cancelled")

    def _change_offer(self, order: Data, subscription: Data) -> None:
        line = self.line(order["data"]["offer"], order["data"].get("quantity"))
        self._end(subscription, "subscription_offer", _ACTIVE)
        self._end(subscription, "schedule", _OPEN)
        self._set(
            subscription,
            name=line.item["name"],
            termStartDate=self.today.isoformat(),
            **self._sold(line, self.today),
        )
        self._attach(subscription, line, order)
        self._schedule(subscription, [line])

    def _add_offer(self, order: Data, subscription: Data) -> None:
        line = self.line(order["data"]["offer"], order["data"].get("quantity"))
        self._attach(subscription, line, order)
        self._schedule(subscription, [line])

    def _add_charge(self, order: Data, subscription: Data) -> None:
        line = self.line(order["data"]["offer"], order["data"].get("quantity"))
        self._schedule(subscription, [line])

    def _cancel_subscription(self, order: Data, subscription: Data) -> None:
        data = order["data"].get("data")
        self.cancel(subscription, data.get("reason") if is_object(data) else None)

    def _change_address(self, order: Data, subscription: Data) -> None:
        self._address(subscription, order["data"].get("type", "billing"), order["data"]["address"])

    def _change_payment(self, order: Data, subscription: Data) -> None:
        if is_object(payment := order["data"].get("payment")):
            self._payment_method(subscription, payment)
        if is_object(details := order["data"].get("billingDetails")):
            self._address(subscription, "billing", details)

    def _delete_payment_method(self, order: Data, subscription: Data) -> None:
        del order
        for method in self._active(subscription, "payment_method"):
            self._store.change(method, status="inactive")

    def _update_customer_details(self, order: Data, subscription: Data) -> None:
        customer = self._store.get(str(subscription.get("customer")))
        if customer is not None:
            details = order["data"]["customerDetails"]
            self._store.change(customer, data={**customer["data"], **details})

    def _pay_invoice(self, order: Data, subscription: Data) -> None:
        items = order["data"]["invoice"].get("items")
        rows = objects_in(items if is_list(items) else [items])
        amount = sum((decimal(row.get("amount")) for row in rows), Decimal())
        paid = refund(-amount, _currency_of(subscription), self.today, "Invoice")
        self._charge(subscription, {**paid, "type": "payment"}, "active")

    def _gift_refund(self, order: Data, subscription: Data) -> None:
        del order
        self._charge(subscription, self._refund(subscription, Decimal(1)), "active")
        self.cancel(subscription, {"id": "gift_refund"})

    def _renew(self, order: Data, subscription: Data) -> None:
        del order
        self.renew(subscription)

    def _refund(self, subscription: Data, share: Decimal) -> Data:
        paid = as_object(subscription["data"].get("price"))
        amount = decimal(paid.get("amount")) * share
        return refund(amount, _currency_of(subscription), self.today, "Refund")

    def _unused(self, subscription: Data) -> Decimal:
        """The part of the term that is left."""
        data = subscription["data"]
        begun, ends = day_of(data.get("termStartDate")), day_of(data.get("termEndDate"))
        if begun is None or ends is None or ends <= begun:
            return Decimal()
        left = Decimal((ends - max(self.today, begun)).days) / (ends - begun).days
        return min(max(left, Decimal()), Decimal(1))


def quantity(value: object) -> int:
    """How many of an item; one if nothing sensible is told."""
    text = str(value).removesuffix(".0")
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def day_of(value: object) -> date | None:
    """The day of an ISO date or date-time."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def _short(item: Data) -> Data:
    return {name: item[name] for name in ("id", "version", "name", "path")} | {
        "data": {"attributes": attributes(item)}
    }


def _id_of(entry: object) -> object:
    return entry.get("id") if is_object(entry) else None


def _entitlements(product: Data) -> list[str]:
    references = [one.get("$ref") for one in objects_in(product.get("entitlements"))]
    return [one.rpartition("/")[2] for one in references if isinstance(one, str)]


def _currency_of(subscription: Data) -> str:
    return str(as_object(subscription["data"].get("price")).get("currency", "GBP"))
