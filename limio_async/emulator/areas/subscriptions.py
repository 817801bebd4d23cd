"""What else is asked about subscriptions: those of a Salesforce contact, timelines, and news from Zuora."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from itertools import islice

import msgspec

from limio_async.core.wire import UNDECODABLE, Response
from limio_async.emulator.areas.catalog import Catalog
from limio_async.emulator.areas.order_effects import Effects, quantity
from limio_async.emulator.data.relations import Relations
from limio_async.emulator.data.store import Store
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, as_object, is_list, is_object, json_object, require
from limio_async.emulator.settings import Settings

__all__ = ["Subscriptions"]

_PAGE = 20  # of a Salesforce contact
_FIELD_TYPES = ("string", "date", "currency", "number", "boolean", "json")
_TIMELINES = {"subscriptions": "subscription", "customers": "customer"}


class Subscriptions:
    """The subscriptions of a world, as Salesforce and Zuora see them."""

    def __init__(self, settings: Settings, store: Store, effects: Effects, catalog: Catalog) -> None:
        self._settings = settings
        self._store = store
        self._effects = effects
        self._catalog = catalog
        self._relations = Relations(store, tenant=settings.tenant)
        self._news: Mapping[str, Callable[[Data, Data], None]] = {
            "CancelSubscription": self._cancelled,
            "RenewSubscription": self._renewed,
            "SuspendSubscription": self._suspended,
            "ResumeSubscription": self._resumed,
            "OwnerTransfer": self._transferred,
            "RemoveProduct": self._removed,
        }
        self.operations: Mapping[str, Handler] = {
            "getSubscriptionsBySalesforceId": self._of_salesforce,
            "createTimelineEvent": self._tell,
            "getTimeline": self._timeline,
            "syncZuoraSubscription": self._sync,
            "handleZuoraEvent": self._hear,
        }

    def _of_salesforce(self, call: Call) -> Response:
        """By a Salesforce contact, or by the identity itself; nobody has none."""
        found = [one for one in self._store.linked(call.path["id"]) if one["record_type"] == "subscription"]
        found += [one for one in self._related_to(call.path["id"]) if one not in found]
        found.sort(key=_key)
        if "queryMore" in call.query:
            after = _after(call.query["queryMore"])
            found = [one for one in found if _key(one) > after]
        page = found[:_PAGE]
        owners = dict.fromkeys(str(one.get("customer")) for one in page)
        customers = [one for owner in owners if (one := self._store.get(owner)) is not None]
        more = {"queryMore": _cursor(page[-1])} if len(found) > _PAGE else {}
        return reply({"subscriptions": page, "customers": customers, **more})

    def _related_to(self, contact: str) -> list[Data]:
        """The subscriptions that a relation to this identity was added to."""
        relations = [one for one in self._store.linked(contact) if one["record_type"] == "rel"]
        ends = [self._store.get(one["data"]["from"]["id"]) for one in relations]
        return [end for end in ends if end is not None and end["record_type"] == "subscription"]

    def _tell(self, call: Call) -> Response:
        body = json_object(call)
        require(body, ["forSubscription", "name", "type"])
        fields = body.get("fields", [])
        if not is_list(fields) or not all(_is_field(field) for field in fields):
            kinds = ", ".join(_FIELD_TYPES)
            raise Refused(400, f"fields must be an array of objects with label and type: {kinds}")
        subscription = self._pointed_at(as_object(body["forSubscription"]))
        told = {name: body[name] for name in ("source", "fields") if name in body}
        event = self._effects.announce(subscription, str(body["type"]), str(body["name"]), **told)
        return reply({"id": event["id"], "reference": event["reference"], "status": event["status"]})

    def _pointed_at(self, pointer: Data) -> Data:
        if "id" in pointer:
            found = self._store.get(str(pointer["id"]))
        elif "name" in pointer:
            found = self._store.named("subscription", str(pointer["name"]))
        else:
            raise Refused(400, "forSubscription needs an id or a name")
        if found is None or found["record_type"] != "subscription":
            raise Refused(404, f"No subscription {pointer.get('id', pointer.get('name'))}")
        return found

    def _timeline(self, call: Call) -> Response:
        """What happened, newest first; that of a customer has what happened to the subscriptions."""
        record = self._store.get(call.path["id"])
        if record is None or record["record_type"] != _TIMELINES.get(call.path["path_type"]):
            raise Refused(404, f"No timeline of {call.path['path_type']} {call.path['id']}")
        events = self._relations.events(record)[0]
        if record["record_type"] == "customer":
            for subscription in self._relations.children(record):
                events += self._relations.events(subscription)[0]
        events.sort(key=_key, reverse=True)
        return reply({"items": events})

    def _sync(self, call: Call) -> Response:
        """Refresh the subscription with this number or name; make it if the number is Zuora's."""
        number = call.path["id"]
        subscription = self._store.named("subscription", number)
        if subscription is None:
            if not re.fullmatch(r"A-S[0-9]{1,12}", number):
                raise Refused(502, f"Zuora knows no subscription {number}")
            subscription = self._from_zuora(number)
        else:
            subscription = self._store.change(subscription)
        return reply({"success": True, "id": subscription["id"], "owner": subscription["owner"]})

    def _from_zuora(self, number: str) -> Data:
        """What Zuora holds under a number: one of the first offers, for somebody."""
        digest = int(fingerprint(self._settings.seed, "zuora", number, length=8), 16)
        details = {
            "firstName": "First",
            "lastName": f"Last {number}",
            "email": f"{number.lower()}@example.com",
        }
        for offer in islice(self._catalog.ids("offers"), digest % 10, None):
            try:
                line = self._effects.line({"id": offer}, 1)
            except Refused:  # a draft
                continue
            owner, customer = self._effects.person(details)
            return self._effects.start(name=number, owner=owner, customer=customer, line=line)
        raise Refused(502, "Zuora has products that the catalog does not have")

    def _hear(self, call: Call) -> Response:
        """Zuora is always thanked: what it tells about unknown subscriptions is of no effect."""
        body = _heard(call)
        number, news = str(body.get("subscriptionID")), str(body.get("type", ""))
        subscription = self._store.named("subscription", number) or self._store.get(number)
        if subscription is None and news == "CreateSubscription" and re.fullmatch(r"A-S[0-9]{1,12}", number):
            subscription = self._from_zuora(number)
        if subscription is None or subscription["record_type"] != "subscription":
            return reply({"success": False, "message": f"No subscription {number}"})
        data = as_object(body.get("data"))
        self._effects.announce(
            subscription, f"zuora.{news}", news or "Zuora Event", source="zuora", data=data
        )
        self._news.get(news, self._refreshed)(subscription, data)
        return reply({"success": True, "id": subscription["id"]})

    def _cancelled(self, subscription: Data, data: Data) -> None:
        self._effects.cancel(subscription, data.get("reason"))

    def _renewed(self, subscription: Data, data: Data) -> None:
        length = data.get("renewalTerm")
        unit = str(data.get("renewalTermPeriodType", "Month"))
        self._effects.renew(subscription, None if length is None else quantity(length), unit)

    def _suspended(self, subscription: Data, data: Data) -> None:
        del data
        self._store.change(subscription, status="suspended")

    def _resumed(self, subscription: Data, data: Data) -> None:
        del data
        self._store.change(subscription, status="active")

    def _transferred(self, subscription: Data, data: Data) -> None:
        owner = self._store.get(str(data.get("owner")))
        if owner is not None and owner["record_type"] == "identity":
            self._store.change(subscription, owner=owner["id"])

    def _removed(self, subscription: Data, data: Data) -> None:
        """What the news names is no longer part of the subscription."""
        child = self._store.get(str(data.get("id")))
        if child is not None and child.get("related") == subscription["id"]:
            self._store.change(child, status="cancelled")

    def _refreshed(self, subscription: Data, data: Data) -> None:
        del data
        self._store.change(subscription)


def _is_field(field: object) -> bool:
    return (
        is_object(field) and isinstance(field.get("label"), str) and field.get("type") in list(_FIELD_TYPES)
    )


def _heard(call: Call) -> Data:
    """The body, or nothing where there is none that can be read: this operation refuses nothing."""
    try:
        return json_object(call)
    except Refused:
        return {}


def _key(record: Data) -> tuple[str, str]:
    return record["created"], record["id"]


def _cursor(last: Data) -> str:
    return urlsafe_b64encode(msgspec.json.encode(_key(last))).decode()


def _after(cursor: str) -> tuple[str, str]:
    try:
        return msgspec.json.decode(urlsafe_b64decode(cursor), type=tuple[str, str])
    except (ValueError, *UNDECODABLE):
        raise Refused(502, "Invalid queryMore") from None
