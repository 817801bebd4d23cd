"""Checkouts of new orders: baskets that are begun, changed, validated, completed, or left and brought back."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

import msgspec

from limio_async.core.wire import UNDECODABLE, Response
from limio_async.emulator.areas.baskets import Baskets
from limio_async.emulator.areas.catalog import Catalog, Spot
from limio_async.emulator.data.records import instant
from limio_async.emulator.data.store import Store
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.payload import Data, as_list, as_object, cookie, is_list, is_object, json_object
from limio_async.emulator.settings import Settings
from limio_async.emulator.webhooks import Webhooks

__all__ = ["Checkout", "actions_in", "kept_in_cookie", "line_of"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BASKET_FIELDS = ("locale", "path", "campaignUrl", "basket")
_SOLD = ("offers", "add_ons")


class Cursor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last basket that a page of abandoned ones held, as Limio writes it."""

    v: str
    c: str
    """Its id without the prefix."""
    r: str
    """When it was created."""


class Checkout:
    """The baskets of a world and what can be done with them."""

    name = "checkout"

    def __init__(self, settings: Settings, catalog: Catalog, store: Store, webhooks: Webhooks) -> None:
        self._settings = settings
        self._catalog = catalog
        self._store = store
        self._webhooks = webhooks
        self.baskets = Baskets(settings, catalog.shelves["offers"])
        self.operations: Mapping[str, Handler] = {
            "initiateCheckout": self._initiate,
            "getBasket": self._get,
            "validateBasket": self._validate,
            "updateBasket": self._update,
            "recoverBasket": self._recover,
            "listAbandonedBaskets": self._list_abandoned,
        }

    def complete(self, checkout_id: str) -> bool:
        """Note that the basket with this id or `external_id` was ordered; False if there is none."""
        basket = self.baskets.named(checkout_id)
        if basket is None:
            return False
        self.baskets.put({**basket, "completed": True})
        return True

    def ordered(self, order: Data) -> None:
        """Complete the basket that an order names."""
        named = order["data"].get("checkoutId")
        if isinstance(named, str):
            self.complete(named)

    def begin(self, order: Data, *, id: str | None = None, **fields: object) -> Data:
        """A basket that holds *order*; one that has this id already is begun anew."""
        own = id or self.baskets.new_id()
        old = self.baskets.get(own) or {}
        basket: Data = {
            "id": own,
            "created": old.get("created") or self._store.stamp(),
            "touched": instant(self._settings.now()),
            "order": {"external_id": own.removeprefix("basket-"), **order, "checkoutId": own},
            "entry": "/checkout",
            "completed": False,
            "recovered": old.get("recovered", 0),
            **fields,
        }
        self.baskets.put(basket)
        data = {"message": "Checkout Initiated", "type": "checkout.initiated"}
        event = self._store.create("event", status="submitted", related=own, data=data)
        self._webhooks.ring("checkout_initiated", event)
        return basket

    def touch(self, basket: Data, order: Data) -> Data:
        """Let *basket* hold *order*; whoever owns it is there."""
        changed = {**basket, "order": order, "touched": instant(self._settings.now())}
        self.baskets.put(changed)
        return changed

    def snapshot(self) -> Data:
        """The baskets, fit for JSON."""
        return self.baskets.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the baskets of *state*."""
        self.baskets.restore(state)

    def _initiate(self, call: Call) -> Response:
        body = json_object(call, status=502)
        order = body.get("order")
        if not is_object(order) or not is_list(order.get("orderItems")):
            raise Refused(502, "order.orderItems is required")
        if not all(is_object(item) for item in order["orderItems"]):
            raise Refused(502, "order.orderItems must hold objects")
        lines = [line_of(item, place) for place, item in enumerate(order["orderItems"])]
        fields = {name: body[name] for name in _BASKET_FIELDS if name in body}
        tracking = as_object(body.get("tracking")) | as_object(order.get("tracking"))
        given = {"order_type": "new", **order, "orderItems": lines, "tracking": tracking}
        basket = self.begin(given, id=_wanted_id(order), **fields)
        named = {self._settings.checkout_answer: basket["id"]}
        return reply(named, headers=kept_in_cookie(basket))

    def _get(self, call: Call) -> Response:
        return reply(self._shown(self._named(call)))

    def _validate(self, call: Call) -> Response:
        """Whether everything in the basket can be bought now."""
        basket = self._named(call)
        lines = as_list(basket["order"].get("orderItems"))
        errors = [error for line in lines if (error := self._fault(as_object(line))) is not None]
        if not lines:
            errors = [{"message": "The basket is empty"}]
        return reply({"id": basket["id"], "valid": not errors, "errors": errors})

    def _update(self, call: Call) -> Response:
        basket = self.in_cookie(call)
        if basket is None:
            raise Refused(401, "Unauthorized: the cookie limio_state names no basket")
        if basket["completed"]:
            raise Refused(502, "The basket was ordered already")
        lines = as_list(basket["order"].get("orderItems"))
        for action in actions_in(call):
            lines = _changed(lines, action)
        basket = self.touch(basket, {**basket["order"], "orderItems": lines})
        return reply({"id": basket["id"], "order": basket["order"]})

    def in_cookie(self, call: Call) -> Data | None:
        """The basket that the cookie names; refused where there is no cookie."""
        named = cookie(call, "limio_state")
        if not named:
            raise Refused(401, "Unauthorized: the cookie limio_state is missing")
        return self.baskets.get(named)

    def _recover(self, call: Call) -> Response:
        """Sends a browser to the basket; the link works once, and the next page of the list has a new one."""
        basket = self.baskets.get(call.query.get("basket", ""))
        if basket is None or basket["completed"] or call.query.get("recover") != self._secret(basket):
            raise Refused(404, "The link is unknown or was used")
        self.touch({**basket, "recovered": basket["recovered"] + 1}, basket["order"])
        location = f"{basket['entry']}?basket={quote(basket['id'])}"
        return Response(status=302, headers={"location": location, **kept_in_cookie(basket)}, body=b"")

    def _list_abandoned(self, call: Call) -> Response:
        if "limit" not in call.query or "createdAfter" not in call.query:
            raise Refused(400, "limit and createdAfter are required")
        limit = whole_number(call, "limit", default=50)
        after = (_moment(call.query["createdAfter"]), "basket-~")  # greater than every id: after, not at
        if "queryMore" in call.query:
            after = max(after, _key(call.query["queryMore"]))
        found = list(islice(self.baskets.abandoned(after), limit + 1))
        page: Data = {"items": [self._abandoned(basket) for basket in found[:limit]]}
        if len(found) > limit:
            page["queryMore"] = _cursor(found[limit - 1])
        return reply(page)

    def _named(self, call: Call) -> Data:
        basket = self.baskets.get(call.path["basket_id"])
        if basket is None:
            raise Refused(404, f"No basket {call.path['basket_id']}")
        return basket

    def _shown(self, basket: Data) -> Data:
        return {name: value for name, value in basket.items() if name not in {"recovered", "touched"}}

    def _fault(self, line: Data) -> Data | None:
        """What is wrong with a line of a basket."""
        offer = as_object(line.get("offer"))
        spot = self._spot(offer)
        if spot is None:
            return {"id": line.get("id"), "message": f"No offer {offer.get('id')}"}
        version = self._catalog.whole(spot).get("version")
        if offer.get("version") not in (None, version) or self._catalog.is_draft(spot):
            return {"id": line.get("id"), "message": f"Version {offer.get('version')} is not published"}
        return None

    def _item(self, offer: Data) -> Data | None:
        """The catalog's item for what a line says."""
        spot = self._spot(offer)
        return None if spot is None else self._catalog.whole(spot)

    def _spot(self, offer: Data) -> Spot | None:
        """Where the catalog has what a line says."""
        spot = self._catalog.locate_id(str(offer.get("id", "")), *_SOLD)
        if spot is None and isinstance(offer.get("path"), str):
            spot = self._catalog.locate(offer["path"])
        return spot

    def _abandoned(self, basket: Data) -> Data:
        order = basket["order"]
        customer = as_object(order.get("customerDetails"))
        lines = [as_object(line) for line in as_list(order.get("orderItems"))]
        link = f"/api/checkout/recover?basket={quote(basket['id'])}&recover={self._secret(basket)}"
        return {
            "id": basket["id"],
            "created": basket["created"],
            "customerDetails": _texts(customer, ("email", "firstName", "lastName", "companyName")),
            "orderItems": [self._abandoned_line(as_object(line.get("offer"))) for line in lines],
            "customFields": as_object(order.get("customFields")),
            "tracking": _tracking(as_object(order.get("tracking"))),
            "identities": [],
            "entry": basket["entry"],
            "completed": False,
            "recoveryLink": link,
        }

    def _abandoned_line(self, offer: Data) -> Data:
        item = self._item(offer)
        products = as_list(as_object((item or {}).get("data")).get("products"))
        return {
            **_texts(item or offer, ("name", "path")),
            "products": [_product(product) for product in products],
        }

    def _secret(self, basket: Data) -> str:
        """What the link of a basket holds until it is used."""
        return fingerprint(self._settings.seed, "recover", basket["id"], basket["recovered"], length=24)


def kept_in_cookie(basket: Data) -> Mapping[str, str]:
    """The header that lets a browser remember *basket*."""
    return {"set-cookie": f"limio_state={basket['id']}; Path=/; Secure; HttpOnly"}


def actions_in(call: Call) -> Sequence[Data]:
    """The changes to a basket's lines that *call* asks for."""
    actions = json_object(call, status=502).get("orderItemActions")
    if not is_list(actions) or not all(is_object(action) for action in actions):
        raise Refused(502, "orderItemActions must be a list of objects")
    for action in actions:
        if action.get("orderItemActionType") not in ("add", "remove", "update"):
            raise Refused(502, "orderItemActionType must be add, remove or update")
        if not isinstance(as_object(action.get("offer")).get("id"), str):
            raise Refused(502, "offer.id is required")
    return actions


def line_of(given: Data, place: int) -> Data:
    """The line at *place* of a basket, with an id of its own if it came without."""
    made = uuid(fingerprint("line", place, msgspec.json.encode(given).hex(), length=32))
    return {"id": made, "quantity": 1, **given}


def _changed(lines: list[Data], action: Data) -> list[Data]:
    """*lines* after *action*. Adding what is there adds it once more."""
    wanted = action["offer"]["id"]
    content = {name: value for name, value in action.items() if name != "orderItemActionType"}
    if action["orderItemActionType"] == "add":
        return [*lines, line_of(content, len(lines))]
    if not any(wanted in _names(line) for line in lines):
        raise Refused(502, f"The basket does not hold {wanted}")
    if action["orderItemActionType"] == "remove":
        return [line for line in lines if wanted not in _names(line)]
    quantity = {"quantity": action["quantity"]} if "quantity" in action else {}
    return [line | quantity if wanted in _names(line) else line for line in lines]


def _names(line: Data) -> Sequence[object]:
    """What a line may be called: its own id or that of its offer."""
    return line.get("id"), as_object(line.get("offer")).get("id")


def _wanted_id(order: Data) -> str | None:
    """The id that the shop chose: as `checkoutId`, or without the prefix as `external_id`."""
    for name in ("checkoutId", "external_id"):
        bare = str(order.get(name, "")).removeprefix("basket-")
        if _UUID.fullmatch(bare):
            return f"basket-{bare}"
    return None


def _moment(text: str) -> str:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, "createdAfter must be an ISO date or date-time") from None
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    try:
        return instant(given.timestamp())
    except OverflowError:
        raise Refused(400, "createdAfter is out of range") from None


def _cursor(last: Data) -> str:
    cursor = Cursor(v="1", c=last["id"].removeprefix("basket-"), r=last["created"])
    return b64encode(msgspec.json.encode(cursor)).decode()


def _key(text: str) -> tuple[str, str]:
    try:
        cursor = msgspec.json.decode(b64decode(text, validate=True), type=Cursor)
    except (ValueError, *UNDECODABLE):
        raise Refused(400, "Invalid queryMore") from None
    return cursor.r, f"basket-{cursor.c}"


def _texts(record: Data, names: Sequence[str]) -> Data:
    return {name: record[name] for name in names if isinstance(record.get(name), str)}


def _tracking(given: Data) -> Data:
    """What is text in *given*, and the offers."""
    offers = [offer for offer in as_list(given.get("offers")) if isinstance(offer, str)]
    return _texts(given, list(given)) | ({"offers": offers} if offers else {})


def _product(product: object) -> Data:
    if isinstance(product, str):
        return {"path": product}
    whole = as_object(product)
    code = as_object(whole.get("attributes")).get("product_code__limio")
    return _texts(whole, ("path",)) | ({"productCode": code} if isinstance(code, str) else {})
