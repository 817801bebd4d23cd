"""What belongs together: the relations, children and events of an object, read off the ids in each."""

from __future__ import annotations

from collections.abc import Iterator

from limio_async.emulator.data.store import Data, Store, links
from limio_async.emulator.ids import fingerprint, reference, uuid

__all__ = ["Relations"]

_CHILDREN = {
    "subscription": {"subscription_offer", "schedule", "subscription_add_on"},
    "order": {"subscription"},
    "customer": {"subscription"},
    "identity": {"customer"},
    "event": {"process_event"},
}
_OF_CUSTOMER = {"address", "payment_method"}
_RELATIONSHIPS = {"address": "billing", "identity": "owner"}


class Relations:
    """The relations of a store. None is kept but those that somebody added."""

    def __init__(self, store: Store, *, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def related(self, record: Data) -> list[Data]:
        """Everything that *record* points to or that points to it, and is not its child."""
        children = _CHILDREN.get(record["record_type"], set())
        return [
            self._as_related(record, other)
            for other in self._neighbours(record)
            if other["record_type"] not in children
        ]

    def children(self, record: Data) -> list[Data]:
        """What *record* consists of, or what came of it."""
        children = _CHILDREN.get(record["record_type"], set())
        return [other for other in self._store.linked(record["id"]) if other["record_type"] in children]

    def events(self, record: Data) -> tuple[list[Data], list[Data]]:
        """What happened to *record*, oldest first, and the rows that say so."""
        happened: list[tuple[Data, Data]] = []
        for target in (record, *self._orders_of(record)):
            events = [other for other in self._store.linked(target["id"]) if other["record_type"] == "event"]
            happened += [(event, target) for event in events]
        happened.sort(key=lambda one: one[0]["created"])
        return [self._as_event(event) for event, _ in happened], [self._row(*one) for one in happened]

    def relate(self, record: Data, identity: str, service: str) -> None:
        """Let *record* and an identity be related."""
        ends: Data = {
            "from": _end(record),
            "to": {"id": identity, "record_type": "identity", "service": service, "data": {}},
        }
        self._store.create("rel", related=record["id"], data={**ends, "metadata": {}})

    def _neighbours(self, record: Data) -> Iterator[Data]:
        seen: set[str] = {record["id"]}
        pointing = list(self._store.linked(record["id"]))
        pointed = [found for end in sorted(links(record)) if (found := self._store.get(end)) is not None]
        for other in (*pointed, *pointing, *self._of_customer(record), *self._events_of_orders(record)):
            end = self._other_end(other) if other["record_type"] == "rel" else other
            if end["id"] not in seen:
                seen.add(end["id"])
                yield end

    def _other_end(self, relation: Data) -> Data:
        to: Data = relation["data"]["to"]
        found = self._store.get(to["id"])
        return {**(found or to), "relationship_id": relation["id"], "created": relation["created"]}

    def _of_customer(self, record: Data) -> Iterator[Data]:
        """A subscription has the addresses and payment methods that its customer has for all."""
        if record["record_type"] == "subscription" and "customer" in record:
            for other in self._store.linked(record["customer"]):
                if other["record_type"] in _OF_CUSTOMER and "related" not in other:
                    yield other

    def _events_of_orders(self, record: Data) -> Iterator[Data]:
        for order in self._orders_of(record):
            yield order
            yield from (one for one in self._store.linked(order["id"]) if one["record_type"] == "event")

    def _orders_of(self, record: Data) -> list[Data]:
        """The orders that made or changed a subscription."""
        if record["record_type"] != "subscription":
            return []
        first = self._store.get(str(record.get("ref", "")).partition("/")[0])
        orders = {first["id"]: first} if first else {}
        for other in self._store.linked(record["id"]):
            if other["record_type"] == "order":
                orders[other["id"]] = other
        return list(orders.values())

    def _as_related(self, record: Data, other: Data) -> Data:
        relation = self._relation(record, other)
        kind = other.get("relationship_type", _RELATIONSHIPS.get(other["record_type"], other["record_type"]))
        return {
            **{name: value for name, value in other.items() if name != "data"},
            "relationship_id": relation["id"],
            "relationship_type": kind,
            "type": other["service"],
            "data": relation,
        }

    def _relation(self, record: Data, other: Data) -> Data:
        """The record of the relation between two objects, the same from both sides."""
        first, second = sorted((record, other), key=lambda end: str(end["id"]))
        digest = fingerprint("rel", first["id"], second["id"], length=32)
        return {
            "id": other.get("relationship_id", f"rel-{digest}"),
            "reference": reference("rel", first["id"], second["id"]),
            "related": record["id"],
            "record_type": "rel",
            "service": "limio",
            "mode": "production",
            "created": max(record["created"], other["created"]),
            "data": {"from": _end(other), "to": _end(record), "metadata": {}},
        }

    def _as_event(self, event: Data) -> Data:
        digest = fingerprint("rel", *sorted((event["id"], event["related"])), length=32)
        return {**event, "relationship_id": f"rel-{digest}"}

    def _row(self, event: Data, target: Data) -> Data:
        """The raw row that relates an event to what it happened to."""
        place = f"{self._tenant}/{event['mode']}/limio"
        relation = self._relation(target, event)
        event_key, target_key = f"limio/{event['id']}", f"limio/{target['id']}"
        return {
            "mode": event["mode"],
            "status": f"{place}/active",
            "created": event["created"],
            "sort_key": f"rel/object/{target['record_type']}/{target_key}/event/{event_key}",
            "related": f"{place}/{target['id']}",
            "reference": relation["reference"],
            "service": "limio",
            "hash": f"{place}/{event['id']}",
            "updated": event["updated"],
            "header": {
                "from": {**_end(event), "id": event_key, "data": event["data"], "status": event["status"]},
                "metadata": {},
                "to": {**_end(target), "id": target_key, "status": target["status"]},
            },
            "tenant_id": self._tenant,
            "processName": f"unknown/1/8/{uuid(fingerprint('process', event['id'], length=32))}",
            "id": f"limio/{relation['id']}",
            "record_type": f"{place}/rel",
            "body": {},
        }


def _end(record: Data) -> Data:
    """What a relation tells about one of its ends."""
    named = {"name": record["name"]} if "name" in record else {}
    return named | {
        "id": record["id"],
        "record_type": record["record_type"],
        "service": record["service"],
        "data": {},
    }
