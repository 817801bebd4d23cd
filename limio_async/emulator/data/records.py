"""What the objects of a world hold. None is stored, and all agree: the ids in one are those of the others.

Subscription n came with order n and belongs to customer n modulo the number of customers; customer n is
identity n and has address n, payment method n and entitlement n; and so on, as the methods say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from limio_async.emulator.data.seed import Shelf
from limio_async.emulator.ids import (
    fingerprint,
    hex_id,
    name_hiding,
    number_hidden_in,
    number_in,
    reference,
    uuid,
)
from limio_async.emulator.payload import is_list, is_object
from limio_async.emulator.settings import Settings
from limio_async.envelope import told

__all__ = ["PATH_TYPES", "Records", "instant", "summarized"]

Data = dict[str, Any]

PATH_TYPES: Mapping[str, str] = {
    "subscriptions": "subscription",
    "customers": "customer",
    "orders": "order",
    "identities": "identity",
    "address": "address",
    "schedules": "schedule",
    "payment_methods": "payment_method",
    "subscription_offers": "subscription_offer",
    "user_entitlements": "user_entitlement",
    "gift_code": "gift_code",
    "promo_codes_v2": "promo_code_v2",
    "events": "event",
    "process": "process_event",
}
"""The record type behind each documented path type; the singular names work as well."""

_PREFIXES = {"subscription": "sub", "customer": "cus", "identity": "id", "payment_method": "pm"}
_PREFIXED = {prefix: record_type for record_type, prefix in _PREFIXES.items()}
_STATUSES = ("active", "active", "active", "initial", "cancelled", "expired", "pending")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
_INNER_NULLS: Mapping[str, object] = {  # what a summary keeps of an expanded offer
    "price__limio": [],
    "created": None,
    "duplicatedFrom": None,
    "type": None,
    "version": None,
    "record_type": None,
    "productBundles": [],
    "products": [],
    "path": None,
    "price": [],
    "name": None,
    "attributes": {},
    "id": None,
}


class Records:
    """Every object by record type and number, 0 being the oldest."""

    def __init__(self, settings: Settings, offers: Shelf) -> None:
        self._seed = settings.seed
        self._offers = offers
        subscriptions = settings.subscriptions
        self._customers = (3 * subscriptions + 3) // 4
        self._sizes = dict.fromkeys(PATH_TYPES.values(), self._customers) | {
            "subscription": subscriptions,
            "order": subscriptions,
            "subscription_offer": subscriptions,
            "schedule": 2 * subscriptions,
            "event": subscriptions,
            "process_event": subscriptions,
            "gift_code": settings.gift_codes,
            "promo_code_v2": settings.promo_codes,
        }
        self._contents: Mapping[str, Callable[[int, bool], Data]] = {
            "subscription": self._subscription,
            "customer": self._customer,
            "order": self._order,
            "identity": self._identity,
            "address": self._address,
            "schedule": self._schedule,
            "payment_method": self._payment_method,
            "subscription_offer": self._subscription_offer,
            "user_entitlement": self._user_entitlement,
            "gift_code": self._gift_code,
            "promo_code_v2": self._promo_code,
            "event": self._event,
            "process_event": self._process_event,
        }

    def size(self, record_type: str) -> int:
        """How many objects of this type there are; none of a type that is never generated."""
        return self._sizes.get(record_type, 0)

    def id(self, record_type: str, number: int) -> str:
        """The id of an object."""
        if record_type == "promo_code_v2":
            return f"promo_code_v2-{_code(number)}"
        # a process event shares the hash of the event it handled
        hashed = "event" if record_type == "process_event" else record_type
        digest = fingerprint(self._seed, hashed, number, length=32)
        return self.id_of(record_type, hex_id(digest, number, length=32))

    @staticmethod
    def id_of(record_type: str, digest: str) -> str:
        """*digest* as an id of this type."""
        return f"{_PREFIXES.get(record_type, record_type)}-{digest}"

    def locate(self, id: str) -> tuple[str, int] | None:
        """Record type and number of the object with this id, if there is one."""
        prefix = id.partition("-")[0]
        record_type = _PREFIXED.get(prefix, prefix)
        number = self.find(record_type, id) if record_type in self._sizes else None
        return None if number is None else (record_type, number)

    def find_named(self, record_type: str, name: str) -> int | None:
        """The number of the object with this reference, or of the gift with this code, if there is one."""
        if record_type == "gift_code" and re.fullmatch(r"GIFT[0-9]{4,9}", name):
            gift = int(name[4:])
            return gift if name == f"GIFT{gift:04d}" and gift < self._sizes[record_type] else None
        number = number_hidden_in(name)
        if number is None or not 0 <= number < self._sizes.get(record_type, 0):
            return None
        return number if name_hiding(number, self._seed, record_type) == name else None

    def find(self, record_type: str, id: str) -> int | None:
        """The number of the object with this id, if there is one."""
        last = id.rpartition("-")[2]
        if record_type == "promo_code_v2":
            number = int(last[4:]) if re.fullmatch(r"SAVE[0-9]{4,9}", last) else None
        else:
            number = number_in(last)
        if number is None or not 0 <= number < self.size(record_type):
            return None
        return number if self.id(record_type, number) == id else None

    def linked_to(self, id: str) -> list[str]:
        """The ids of the objects that point to the one with this id, or to a contact of Salesforce."""
        if (customer := self._salesforce_customer(id)) is not None:
            return [self.id("subscription", number) for number in self._subscriptions_of(customer)]
        found = self.locate(id)
        if found is None:
            return []
        record_type, number = found
        linked = {
            "subscription": [
                ("subscription_offer", number),
                ("schedule", 2 * number),
                ("schedule", 2 * number + 1),
            ],
            "order": [("subscription", number), ("subscription_offer", number), ("event", number)],
            "event": [("process_event", number)],
        }.get(record_type, [])
        if record_type in {"customer", "identity"}:
            linked = [(name, number) for name in ("address", "payment_method", "user_entitlement")]
            linked += [("subscription", one) for one in self._subscriptions_of(number)]
        if record_type == "identity":
            linked += [("customer", number), *(("order", one) for one in self._subscriptions_of(number))]
        return [self.id(*one) for one in linked]

    def created(self, number: int) -> str:
        """When the object of this number was made: each a little later than the one before."""
        return instant(_BEGIN.timestamp() + 61 * number + number * 37 % 1000 / 1000)

    def whole(self, record_type: str, number: int) -> Data:
        """All that there is about an object."""
        return self._record(record_type, number, whole=True)

    def summary(self, record_type: str, number: int) -> Data:
        """What a list tells about an object."""
        return self._record(record_type, number, whole=False)

    def _record(self, record_type: str, number: int, *, whole: bool) -> Data:
        named = name_hiding(number, self._seed, record_type)
        made = self.created(number)
        return {
            "id": self.id(record_type, number),
            "name": named,
            "reference": named,
            "record_type": record_type,
            "service": "limio",
            "status": "active",
            "mode": "production",
            "created": made,
            "updated": made,
            **self._contents[record_type](number, whole),
        }

    def _subscription(self, number: int, whole: bool) -> Data:
        start = self.created(number)[:10]
        name = self._offers.place(number)[1]
        data: Data = {
            "name": name,
            "id": self._item_id(number),
            "offer": self._offer(number, whole=whole),
            "quantity": 1 + number % 3,
            "price": {"currency": "GBP", "amount": 75 + number % 20, "summary": {"headline": None}},
            "startDate": start,
        }
        if whole:
            data |= {
                "tracking": self._tracking(number),
                "termStartDate": start if number % 2 else f"{start}T00:00:00.000Z",
                "termEndDate": f"{int(start[:4]) + 1}{start[4:]}" if start[5:] != "02-29" else "2029-02-28",
                "attributes": {"gift": False, "external": False, "autoRenew": True},
                "purchaseCountry": "GB",
                "addOns": [],
                "products": data["offer"]["data"]["products"],
            }
        return {
            "start": start,
            "status": _STATUSES[number % len(_STATUSES)],
            "owner": self._owner(number),
            "customer": self.id("customer", self._customer_of(number)),
            "ref": self._ref(number),
            "data": data,
        }

    def _order(self, number: int, whole: bool) -> Data:
        item = {
            "id": self._item_id(number),
            "offer": self._offer(number, whole=whole),
            "quantity": 1 + number % 3,
            "price": {"currency": "GBP", "amount": 75 + number % 20},
        }
        data: Data = {
            "order_type": "new",
            "external_id": reference(self._seed, "external", number),
            "source": "shop",
            "initiated_source": "shop",
            "country": "GB",
            "orderItems": [item],
            "total": {"currency": "GBP", "amount": 75 + number % 20},
            "orderDate": self.created(number),
        }
        if whole:
            customer = self._customer_of(number)
            data |= {
                "__spec_version": "2",
                "process_immediately": True,
                "mode": "production",
                "tracking": self._tracking(number),
                "customerDetails": _person(customer),
                "billingDetails": _postal(customer),
                "payment": {"type": "invoice", "invoicePref": "Email"},
            }
        authority = {
            "aut": {"iss": "issuer.example.com", "sub": "user@example.com"},
            "permissions": ["order:*"],
        }
        return {
            "status": ("complete", "active", "pending-payment")[number % 3],
            "owner": self._owner(number),
            "authority": authority,
            "data": data,
        }

    def _customer(self, number: int, whole: bool) -> Data:
        data: Data = {
            **_person(number),
            "fullName": f"First Last{number}",
            "companyName": None,
            "marketingPrefs": {},
        }
        return {
            "owner": self.id("identity", number),
            "data": data if whole else {"email": data["email"], "companyName": None},
        }

    def _identity(self, number: int, whole: bool) -> Data:
        email = _person(number)["email"]
        return {
            "owner": self.id("identity", number),
            "name": email,
            "data": {"email": email} if whole else {},
        }

    def _address(self, number: int, whole: bool) -> Data:
        return self._of_customer(number, _postal(number) if whole else {"country": "GB"})

    def _payment_method(self, number: int, whole: bool) -> Data:
        result = {
            "CreditCardMaskNumber": f"************{number % 10_000:04d}",
            "CreditCardExpirationYear": "2030",
        }
        zuora = {
            "result": result,
            "success": True,
            "refId": fingerprint(self._seed, "ref", number, length=32),
        }
        return self._of_customer(number, {"type": "zuora", "zuora": zuora} if whole else {"type": "zuora"})

    def _user_entitlement(self, number: int, whole: bool) -> Data:
        begun = self.created(number)[:10]
        data = {"code": "Digital", "startDate": begun, "endDate": None, "type": "subscription"}
        return self._of_customer(number, data if whole else {"code": "Digital"})

    def _subscription_offer(self, number: int, whole: bool) -> Data:
        return {
            "owner": self._owner(number),
            "customer": self._owner(number),  # the identity's id, as live records have it
            "related": self.id("subscription", number),
            "ref": self._ref(number),
            "data": {"offer": self._offer(number, whole=whole), "quantity": 1 + number % 3, "price": {}},
        }

    def _schedule(self, number: int, whole: bool) -> Data:
        subscription = number // 2
        day = f"{self.created(number)[:10]}T00:00:00.000"
        status = ("pending", "pending-external", "active", "cancelled")[number % 4]
        data: Data = {
            "date": day,
            "schedule_date": day,
            "amount": "75.00",
            "currency": "GBP",
            "type": "payment",
        }
        if whole:
            data |= {"amountWithoutTax": "75.00", "taxAmount": 0, "unit_amount": "75.00", "lineItems": []}
        return {
            "status": status,
            "owner": self._owner(subscription),
            "customer": self.id("customer", self._customer_of(subscription)),
            "related": self.id("subscription", subscription),
            "process_key": f"{status}/{day[:10]}/limio/{self.id('schedule', number)}",
            "data": data,
        }

    def _gift_code(self, number: int, whole: bool) -> Data:
        offer = self._offer(number, whole=whole)
        return {"data": {"code": f"GIFT{number:04d}", "redeemed": number % 2 == 0, "offer": offer}}

    def _promo_code(self, number: int, whole: bool) -> Data:
        code = _code(number)
        data: Data = {"promoCode": code, "status": True, "applicationLevel": "wholeBasket"}
        if whole:
            data |= {
                "description": None,
                "promoStartDate": "2024-01-01",
                "promoExpiryDate": "2030-12-31",
                "productDetails": {"product": {"path": "/products/Discount"}, "ratePlan": {"path": None}},
                "usage": {"availableQuantity": None},
                "discount": {
                    "discountType": "DiscountPercentage",
                    "percentageDiscount": 10,
                    "durationLength": 3,
                    "durationType": "Months",
                },
            }
        return {"name": code, "data": data}

    def _event(self, number: int, whole: bool) -> Data:
        data = {"message": "Order Received", "type": "order.new"} | ({"source": "shop"} if whole else {})
        return {"status": "submitted", "related": self.id("order", number), "data": data}

    def _process_event(self, number: int, whole: bool) -> Data:
        data: Data = {"criticalPluginErrors": []} if whole else {}
        return {"status": "processed", "related": self.id("event", number), "data": data}

    def _of_customer(self, number: int, data: Data) -> Data:
        owner, customer = self.id("identity", number), self.id("customer", number)
        return {"owner": owner, "customer": customer, "data": data}

    def _offer(self, number: int, *, whole: bool) -> Data:
        """The offer as it was when it was bought."""
        item = self._offers.facts(number)
        inner: Data = dict(_INNER_NULLS)
        if whole:
            inner = msgspec.json.decode(self._offers.item(number))["data"]
        at = self.created(number)
        return {
            "id": item["id"],
            "name": item["name"],
            "path": item["path"],
            "version": item["version"],
            "type": "item",
            "record_type": "offer",
            "status": "active",
            "service": "limio",
            "mode": "production",
            "created": at,
            "updated": at,
            "data": inner,
        }

    def _tracking(self, number: int) -> Data:
        return {
            "offers": ["/".join(self._offers.place(number))],
            "purchaseCountryCode": "GB",
            "contactId": self._salesforce_id(self._customer_of(number)),
        }

    def _salesforce_id(self, customer: int) -> str:
        return f"0037x{name_hiding(customer, self._seed, 'contact')}A"

    def _salesforce_customer(self, id: str) -> int | None:
        number = number_hidden_in(id[5:17])
        if number is None or not 0 <= number < self._customers:
            return None
        return number if self._salesforce_id(number) == id else None

    def _subscriptions_of(self, customer: int) -> range:
        return range(customer, self._sizes["subscription"], self._customers)

    def _customer_of(self, subscription: int) -> int:
        return subscription % self._customers

    def _owner(self, subscription: int) -> str:
        return self.id("identity", self._customer_of(subscription))

    def _item_id(self, number: int) -> str:
        return uuid(fingerprint(self._seed, "order item", number, length=32))

    def _ref(self, number: int) -> str:
        return f"{self.id('order', number)}/{self._item_id(number)}"


def _code(number: int) -> str:
    return f"SAVE{number:04d}"


def instant(at: float) -> str:
    """The moment *at*, in seconds since 1970, as objects have it."""
    moment = _EPOCH + timedelta(milliseconds=round(at * 1000))
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def summarized(record: Data) -> Data:
    """What a list tells about *record*: the content of expanded offers is left out."""
    return {**record, "data": {name: _cut(value) for name, value in record.get("data", {}).items()}}


def _cut(value: Any) -> Any:
    if is_list(value):
        return [_cut(one) for one in value]
    if not is_object(value):
        return value
    if told(value, "record_type") in ("offer", "add_on") and "data" in value:
        return {**value, "data": dict(_INNER_NULLS)}
    return {**value, "offer": _cut(value["offer"])} if "offer" in value else value


def _person(number: int) -> Data:
    return {
        "firstName": "First",
        "lastName": f"Last{number}",
        "email": f"first.last{number}@example.com",
        "phone": "+44 20 7946 0000",  # reserved for fiction
    }


def _postal(number: int) -> Data:
    return {
        **_person(number),
        "company": None,
        "address1": f"{number} Example Street",
        "address2": "",
        "buildingNumber": number if number % 2 else str(number),
        "city": "Exampleton",
        "state": "",
        "postalCode": "EX1 1EX",
        "country": "GB",
    }
