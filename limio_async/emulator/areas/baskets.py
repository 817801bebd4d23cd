"""Baskets: those that stand abandoned in a new world are made on demand, all others are kept."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from heapq import merge
from typing import Any

import msgspec

from limio_async.emulator.data.records import instant
from limio_async.emulator.data.seed import Shelf
from limio_async.emulator.ids import fingerprint, hex_id, number_in, uuid
from limio_async.emulator.payload import Data
from limio_async.emulator.settings import Settings

__all__ = ["Baskets"]

_APART = 1800.0  # seconds between two seeded baskets


class Baskets:
    """Every basket by id. A basket is a JSON object with `id`, `created`, `touched`, `order`, `completed`, ..."""

    def __init__(self, settings: Settings, offers: Shelf) -> None:
        self._settings = settings
        self._offers = offers
        self._begin = settings.now() - 2 * settings.basket_abandoned_after
        self._size = settings.abandoned_baskets
        self._made = 0
        self._kept: dict[str, bytes] = {}
        self._keys: list[tuple[str, str]] = []
        self._by_external_id: dict[str, str] = {}  # the newest basket

    def get(self, id: str) -> Data | None:
        """The basket with this id."""
        if id in self._kept:
            basket: Data = msgspec.json.decode(self._kept[id])
            return basket
        number = self._seeded_number(id)
        return None if number is None else self._seeded(number)

    def put(self, basket: Mapping[str, Any]) -> None:
        """Keep *basket* as it is from now on."""
        key = (basket["created"], basket["id"])
        at = bisect_left(self._keys, key)
        if self._seeded_number(basket["id"]) is None and self._keys[at : at + 1] != [key]:
            insort(self._keys, key)
        if isinstance(external := basket["order"].get("external_id"), str):
            known = self.get(self._by_external_id.get(external, ""))
            if known is None or (known["created"], known["id"]) <= key:
                self._by_external_id[external] = basket["id"]
        self._kept[basket["id"]] = msgspec.json.encode(basket)

    def new_id(self) -> str:
        """An id that nothing else has."""
        self._made += 1
        return f"basket-{uuid(fingerprint(self._settings.seed, 'new basket', self._made, length=32))}"

    def named(self, name: str) -> Data | None:
        """The basket with this id, with or without its prefix, or whose order has this `external_id`."""
        found = self.get(name) or self.get(f"basket-{name}")
        if found is not None:
            return found
        named = self.get(self._by_external_id.get(name, ""))
        return named if named and named["order"].get("external_id") == name else None

    def abandoned(self, after: tuple[str, str]) -> Iterator[Data]:
        """Those with a greater key of `created` and id that nobody completed or touched for long, oldest first."""
        seeded = ((self._created(number), self._id(number)) for number in self._seeded_behind(after))
        kept = (key for key in self._keys[bisect_right(self._keys, after) :])
        until = instant(self._settings.now() - self._settings.basket_abandoned_after)
        for _, own in merge(seeded, kept):
            basket = self.get(own)
            if basket and not basket["completed"] and basket["touched"] <= until:
                yield basket

    def snapshot(self) -> Data:
        """What was made or changed, fit for JSON."""
        return {"made": self._made, "kept": [msgspec.json.decode(one) for one in self._kept.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have what *state* has."""
        self._made, self._kept, self._keys, self._by_external_id = state["made"], {}, [], {}
        for basket in state["kept"]:
            self.put(basket)

    def _seeded_behind(self, after: tuple[str, str]) -> range:
        first = bisect_left(range(self._size), after[0], key=self._created)
        if first < self._size and (self._created(first), self._id(first)) <= after:
            first += 1
        return range(first, self._size)

    def _seeded_number(self, id: str) -> int | None:
        number = number_in(id.removeprefix("basket-").replace("-", ""))
        if number is None or not 0 <= number < self._size:
            return None
        return number if self._id(number) == id else None

    def _id(self, number: int) -> str:
        digest = fingerprint(self._settings.seed, "basket", number, length=32)
        return f"basket-{uuid(hex_id(digest, number, length=32))}"

    def _created(self, number: int) -> str:
        return instant(self._begin - _APART * (self._size - 1 - number))

    def _seeded(self, number: int) -> Data:
        made, own = self._created(number), self._id(number)
        order: Data = {
            "checkoutId": own,
            "external_id": own.removeprefix("basket-"),
            "order_type": "new",
            "source": "shop",
            "country": "GB",
            "customerDetails": {"email": f"guest.{number}@example.com"},
            "orderItems": self._lines(number),
            "tracking": {"purchaseCountryCode": "GB"},
        }
        return {
            "id": own,
            "created": made,
            "touched": made,
            "order": order,
            "entry": "/checkout",
            "completed": False,
            "recovered": 0,
        }

    def _lines(self, number: int) -> list[Data]:
        if not len(self._offers):
            return []
        facts = self._offers.facts(number % len(self._offers))
        seen = {name: facts[name] for name in ("id", "version", "name", "path")}
        item = uuid(fingerprint(self._settings.seed, "basket item", number, length=32))
        return [{"id": item, "offer": seen, "quantity": 1}]
