"""Checkouts that change a subscription, for its owner and for partners: begun, changed, read back."""

from __future__ import annotations

from collections.abc import Mapping

from limio_async.core.wire import Response
from limio_async.emulator.areas.catalog import Catalog, Spot
from limio_async.emulator.areas.checkout import Checkout, actions_in, kept_in_cookie
from limio_async.emulator.data.store import Store
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, as_list, as_object, is_list, is_object, json_object

__all__ = ["SubscriptionCheckout"]

_ACTIONS = ("add", "remove", "update")


class SubscriptionCheckout:
    """The checkouts whose basket holds changes of a subscription instead of things to buy."""

    def __init__(self, catalog: Catalog, store: Store, checkout: Checkout) -> None:
        self._catalog = catalog
        self._store = store
        self._checkout = checkout
        self.operations: Mapping[str, Handler] = {
            "initiateSubscriptionCheckout": self._initiate,
            "getSubscriptionCheckout": self._get,
            "updateSubscriptionCheckout": self._update,
            "initiatePartnerSubscriptionCheckout": self._initiate,
            "getPartnerSubscriptionCheckout": self._get,
        }

    def _initiate(self, call: Call) -> Response:
        body = json_object(call, status=502)
        order = as_object(body.get("order"))
        if order.get("order_type") != "update_subscription":
            raise Refused(502, "order.order_type must be update_subscription")
        subscription = self._subscription(order.get("forSubscription"))
        if self._is_pending(subscription):
            raise Refused(423, "The subscription has a pending change")
        actions = self._checked(order.get("orderItems", []))
        given = {
            **order,
            "forSubscription": {"id": subscription["id"]},
            "orderItems": _merged([], actions),
        }
        basket = self._checkout.begin(
            given, kind="subscription", tracking=as_object(body.get("tracking")), entry="/mma"
        )
        return self._shown(basket)

    def _get(self, call: Call) -> Response:
        return self._shown(self._in_cookie(call))

    def _update(self, call: Call) -> Response:
        basket = self._in_cookie(call)
        if basket["completed"]:
            raise Refused(502, "The checkout was ordered already")
        actions = self._checked(actions_in(call))
        items = _merged(as_list(basket["order"]["orderItems"]), actions)
        return self._shown(self._checkout.touch(basket, {**basket["order"], "orderItems": items}))

    def _in_cookie(self, call: Call) -> Data:
        basket = self._checkout.in_cookie(call)
        if basket is None or basket.get("kind") != "subscription":
            raise Refused(404, "The cookie limio_state names no subscription checkout")
        return basket

    def _subscription(self, given: object) -> Data:
        """The subscription that is meant by id or by name."""
        match as_object(given):
            case {"id": str(named)}:
                found = self._store.get(named)
            case {"name": str(named)}:
                found = self._store.named("subscription", named)
            case _:
                raise Refused(502, "order.forSubscription needs an id or a name")
        if found is None or found["record_type"] != "subscription":
            raise Refused(404, f"No subscription {named}")
        return found

    def _is_pending(self, subscription: Data) -> bool:
        """Whether a change of *subscription* was accepted and has not happened yet."""
        if subscription["status"] == "pending" or as_object(subscription.get("data")).get("pendingChange"):
            return True
        linked = self._store.linked(subscription["id"])
        return any(other["record_type"] == "order" and other["status"] == "pending" for other in linked)

    def _checked(self, actions: object) -> list[Data]:
        """*actions*, if each is one and names something that exists."""
        if not is_list(actions) or not all(is_object(action) for action in actions):
            raise Refused(502, "order.orderItems must be a list of actions")
        for action in actions:
            if action.get("orderItemActionType") not in list(_ACTIONS):
                raise Refused(502, "orderItemActionType must be add, remove or update")
            wanted = as_object(action.get("offer")).get("id")
            if not isinstance(wanted, str):
                raise Refused(502, "offer.id is required")
            if not self._exists(wanted):
                raise Refused(404, f"No offer {wanted}")
        return actions

    def _exists(self, wanted: str) -> bool:
        in_catalog = self._catalog.locate_id(wanted, "offers", "add_ons")
        return in_catalog is not None or self._store.get(wanted) is not None

    def _shown(self, basket: Data) -> Response:
        order = basket["order"]
        subscription = self._store.get(order["forSubscription"]["id"]) or order["forSubscription"]
        offers = self._children(subscription["id"], "subscription_offer")
        state = {**order, "forSubscription": subscription, "forSubscriptionOffer": (offers or [{}])[0]}
        answer = {
            "order": state,
            "nextActions": self._next_actions(subscription),
            "completed": basket["completed"],
            "schedule": self._children(subscription["id"], "schedule"),
        }
        return reply(answer, headers=kept_in_cookie(basket))

    def _children(self, id: str, record_type: str) -> list[Data]:
        return [other for other in self._store.linked(id) if other["record_type"] == record_type]

    def _next_actions(self, subscription: Data) -> Data:
        """What the subscription can be changed to: the offers next to its own, dearer ones and cheaper ones."""
        data = as_object(subscription.get("data"))
        own = self._catalog.locate_id(str(as_object(data.get("offer")).get("id", "")), "offers")
        number = 0 if own is None or own.number is None else own.number
        return {
            "upgrades": self._items("offers", number + 1, number + 2),
            "downgrades": self._items("offers", number - 1),
            "crossSells": self._items("add_ons", number % 7, number % 7 + 1),
            "subscriptionAddOns": [one for one in as_list(data.get("addOns")) if is_object(one)],
        }

    def _items(self, shelf: str, *numbers: int) -> list[Data]:
        spots = [Spot(shelf, number) for number in numbers]
        return [self._catalog.whole(spot) for spot in spots if self._catalog.holds(spot)]


def _merged(items: list[Data], actions: list[Data]) -> list[Data]:
    """*items* with *actions*: what is added is added once more, what is changed again counts last."""
    for action in actions:
        items = [one for one in items if not _is_replaced(one, action)] + [action]
    return items


def _is_replaced(old: Data, new: Data) -> bool:
    types = (old["orderItemActionType"], new["orderItemActionType"])
    return "add" not in types and old["offer"]["id"] == new["offer"]["id"]
