"""Payloads that somebody put into a world: what they hold is there from then on, or they are answered as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from limio_async.core.wire import Response
from limio_async.emulator.areas.builds import Builds
from limio_async.emulator.areas.catalog import Catalog
from limio_async.emulator.areas.journeys import Journeys
from limio_async.emulator.data.store import Store
from limio_async.emulator.messages import Call, reply
from limio_async.emulator.payload import Data, as_list, as_object, is_list, is_object

__all__ = ["Loading"]

_SHELVES = {
    "listOffers": "offers",
    "listOffersV2": "offers",
    "listProducts": "products",
    "listCampaigns": "campaigns",
    "listAddOns": "add_ons",
    "listSegments": "segments",
    "listAssets": "assets",
    "listPages": "pages",
}
_BY_RECORD_TYPE = {
    "offer": "offers",
    "product": "products",
    "campaign": "campaigns",
    "add_on": "add_ons",
    "segment": "segments",
    "asset": "assets",
    "page": "pages",
    "discount": "discounts",
}
_BY_ITEM = ("listCatalogItems", "listPublishedCatalogItems")
_PAGE_SIZES = ("opt.pageSize", "limit")
_PLAIN = {*_PAGE_SIZES, "opt.all", "offersSource", "record_type"}
"""The parameters of a list that leave nothing out."""


class Loading:
    """What was put into a world, and what of it is still answered as it came."""

    name = "loaded"

    def __init__(self, catalog: Catalog, store: Store, journeys: Journeys, builds: Builds) -> None:
        self._catalog = catalog
        self._store = store
        self._writes = 0
        self._kept: dict[str, Data] = {}
        self._exactly: Mapping[str, Callable[[Mapping[str, str], Any], None]] = {
            "getObject": lambda _, payload: store.put(payload),
            "getJourneyV2": lambda path, payload: journeys.load(path["name"], payload),
            "getComponentBuilds": lambda _, payload: builds.load_component_builds(
                payload if is_list(payload) else [payload]
            ),
        }

    def load(self, operation: str, payload: object, arguments: Mapping[str, str]) -> None:
        """Let *operation* answer *payload*.

        Single objects, journeys and builds are kept as such. So are the items of lists; the list itself is
        answered as it came until something in the world changes. Of other operations, every answer is *payload*.
        """
        if operation in self._exactly:
            self._exactly[operation](arguments, payload)
            return
        items = [as_object(item) for item in as_list(as_object(payload).get("items"))]
        has_items = operation in _SHELVES or operation in _BY_ITEM or operation == "listObjects"
        if operation in _SHELVES:
            self._catalog.load(_SHELVES[operation], items)
        elif operation in _BY_ITEM:
            for item in items:
                self._catalog.load(_BY_RECORD_TYPE.get(str(item.get("record_type")), "offers"), [item])
        elif operation == "listObjects":
            for item in items:
                self._store.put(item)
        if not has_items or not is_object(payload) or payload.keys() != {"items"}:
            until = self._revision() if has_items else None
            self._kept[_key(operation, arguments)] = {"payload": payload, "until": until}

    def answer(self, call: Call) -> Response | None:
        """What *call* is answered as it came, if anything."""
        if not self._kept:
            return None
        kept = self._kept.get(_key(call.operation, call.path)) or self._kept.get(_key(call.operation, {}))
        if kept is None or kept["until"] not in {None, self._revision()}:
            return None
        payload = kept["payload"]
        if (cursor := call.query.get("opt.queryMoreFrom", call.query.get("queryMore"))) is not None:
            return reply(_last_page(payload)) if cursor == _cursor(payload) else None
        if kept["until"] is not None and not _asks_for_all(call, payload):
            return None
        return reply(payload)

    def note_write(self) -> None:
        """Something in the world changed."""
        self._writes += 1

    def snapshot(self) -> Data:
        """What is answered as it came, fit for JSON."""
        return {"writes": self._writes, "kept": {key: dict(kept) for key, kept in self._kept.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Answer as the world did that gave *state*."""
        self._writes = state["writes"]
        self._kept = {key: dict(kept) for key, kept in state["kept"].items()}

    def _revision(self) -> str:
        return f"{self._writes}/{self._catalog.commit_id}"


def _key(operation: str, arguments: Mapping[str, str]) -> str:
    return msgspec.json.encode([operation, sorted(arguments.items())]).decode()


def _cursor(payload: object) -> object:
    more = as_object(payload).get("queryMore")
    return more.get("from") if is_object(more) else more


def _last_page(payload: object) -> Data:
    """The empty page behind the one that came; a scroll has a cursor even then."""
    page: Data = {**as_object(payload), "items": []}
    if not is_object(page.get("queryMore")):
        page.pop("queryMore", None)
    return page


def _asks_for_all(call: Call, payload: object) -> bool:
    """Whether a first page without filters is asked for, on which everything has room."""
    sizes = [int(call.query[name]) for name in _PAGE_SIZES if call.query.get(name, "").isdecimal()]
    room = min(sizes, default=50)
    return call.query.keys() <= _PLAIN and len(as_list(as_object(payload).get("items"))) <= room
