"""What the signed-in user sees: entitlements, and subscriptions with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping

from limio_async.core.wire import Response
from limio_async.emulator.data.store import Store
from limio_async.emulator.messages import Call, Handler, reply
from limio_async.emulator.payload import Data, as_list, as_object

__all__ = ["Session"]

_HIDDEN = {"cancelled", "expired"}


class Session:
    """The session token belongs to the first identity of a world."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.operations: Mapping[str, Handler] = {
            "getUserEntitlements": self._entitlements,
            "listMmaSubscriptions": self._subscriptions,
        }

    @property
    def owner(self) -> str:
        """The id of the identity that is signed in."""
        return self._store.records.id("identity", 0)

    def _entitlements(self, call: Call) -> Response:
        del call
        found = [_entitlement(one) for one in self._owned("user_entitlement") if one["status"] not in _HIDDEN]
        return reply({"owner": self.owner, "entitlements": found})

    def _subscriptions(self, call: Call) -> Response:
        del call
        return reply({"items": [self._expanded(one) for one in self._owned("subscription")]})

    def _owned(self, record_type: str) -> list[Data]:
        linked = self._store.linked(self.owner)
        return [one for one in linked if one["record_type"] == record_type and one.get("owner") == self.owner]

    def _expanded(self, subscription: Data) -> Data:
        linked = list(self._store.linked(subscription["id"]))

        def children(record_type: str) -> list[Data]:
            return [other for other in linked if other["record_type"] == record_type]

        add_ons = children("subscription_add_on") or as_list(
            as_object(subscription.get("data")).get("addOns")
        )
        return {
            **subscription,
            "offers": children("subscription_offer"),
            "addOns": add_ons,
            "schedule": children("schedule"),
        }


def _entitlement(record: Data) -> Data:
    data = as_object(record.get("data"))
    dates = {name: data[name] for name in ("startDate", "endDate") if isinstance(data.get(name), str)}
    begin = data.get("effectiveDate", data.get("startDate", record["created"][:10]))
    return {"code": data.get("code", "Digital"), **dates, "effectiveDate": begin, "type": "subscription"}
