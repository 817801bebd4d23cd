"""Promo codes, the only objects that are created and deleted by name; orders use them up."""

from __future__ import annotations

from collections.abc import Mapping

from limio_async.core.wire import Response
from limio_async.emulator.data.records import PATH_TYPES
from limio_async.emulator.data.store import Store
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, as_object, is_object, json_object, require
from limio_async.emulator.settings import Settings

__all__ = ["PromoCodes"]

_TYPE = "promo_code_v2"
_REQUIRED = ("applicationLevel", "promoCode", "status", "productDetails", "discount")
_LEVELS = ("wholeBasket", "selectedItems")


class PromoCodes:
    """The promo codes of a store."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.operations: Mapping[str, Handler] = {"createObject": self._create, "deleteObject": self._delete}

    def ordered(self, order: Data) -> None:
        """Let there be one less of the code that an order uses, where its number is limited."""
        body = order["data"]
        discount = as_object(body.get("orderDiscount"))
        given = (body.get("promoCode"), discount.get("promoCode"), discount.get("name"))
        for name in dict.fromkeys(name for name in given if isinstance(name, str)):
            code = self._store.get(f"{_TYPE}-{name}")
            if code is not None:
                self._use(code)

    def _use(self, code: Data) -> None:
        usage = as_object(code["data"].get("usage"))
        left = usage.get("availableQuantity")
        if isinstance(left, int) and left > 0:
            self._store.change(code, data={**code["data"], "usage": {**usage, "availableQuantity": left - 1}})

    def _create(self, call: Call) -> Response:
        _refuse_others(call)
        body = json_object(call)
        require(body, ("name", "id", "data"))
        name, data = body["name"], body["data"]
        if body["id"] != f"{_TYPE}-{name}":
            raise Refused(400, f"id must be {_TYPE}- and the name")
        if not is_object(data):
            raise Refused(400, "data must be an object")
        _check(data)
        if self._store.get(body["id"]) is not None:
            raise Refused(400, f"There is a promo code {name} already")
        made = self._store.create(_TYPE, id=body["id"], name=name, status=_status(body), data=data)
        shown = ("id", "name", "status", "record_type", "service", "data")
        return reply({field: made[field] for field in shown})

    def _delete(self, call: Call) -> Response:
        _refuse_others(call)
        found = self._store.get(call.path["id"])
        if found is None or found["record_type"] != _TYPE or not self._store.remove(found["id"]):
            raise Refused(404, f"No {_TYPE} {call.path['id']}")
        request = uuid(fingerprint(self._settings.seed, "delete", self._store.stamp(), length=32))
        return reply({"httpStatusCode": 200, "requestId": request, "attempts": 1, "totalRetryDelay": 0})


def _refuse_others(call: Call) -> None:
    path_type, service = call.path["path_type"], call.path["service"]
    if path_type not in {*PATH_TYPES, *PATH_TYPES.values()} or service not in {
        "limio",
        "zuora",
        "salesforce",
    }:
        raise Refused(404, f"No objects at {service}/{path_type}")
    if PATH_TYPES.get(path_type, path_type) != _TYPE or service != "limio":
        raise Refused(400, "Only limio/promo_codes_v2 are created and deleted")


def _check(data: Data) -> None:
    """Refuses what is no promo code."""
    require(data, _REQUIRED)
    if data["applicationLevel"] not in _LEVELS:
        raise Refused(400, "data.applicationLevel must be wholeBasket or selectedItems")
    if data["applicationLevel"] == "selectedItems":
        require(data, ("referencedOfferLabel",))
    if not isinstance(data["promoCode"], str) or not isinstance(data["status"], bool):
        raise Refused(400, "data.promoCode must be text and data.status true or false")
    if not is_object(data["productDetails"]) or not is_object(data["discount"]):
        raise Refused(400, "data.productDetails and data.discount must be objects")


def _status(body: Data) -> str:
    """True or false when it is sent, a word when it is stored."""
    given = body.get("status", True)
    if isinstance(given, str):
        return given
    return "inactive" if given is False else "active"
