"""The catalog lists: filters, pages, and scroll cursors that are held here, advance when read, and expire."""

from __future__ import annotations

from array import array
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import msgspec

from limio_async.core.wire import Response
from limio_async.emulator.data.editions import EditedShelf
from limio_async.emulator.data.indexed import time_of
from limio_async.emulator.data.seed import Shelf, shelves
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, Refused, reply, whole_number
from limio_async.emulator.payload import Data, as_object
from limio_async.emulator.settings import Settings
from limio_async.envelope import moment

__all__ = ["MOST_SCROLLS", "Catalog", "Scroll"]

MOST_SCROLLS = 5_000
"""How many walks are in progress at most; one more, and the least recently read one is forgotten."""
_LEGACY, _V2 = "/offers/", "/offers2/"

_RECORD_TYPES: Mapping[str, tuple[str, str]] = {
    "add_on": ("add_ons", ""),
    "offers": ("offers", _LEGACY),
    "offers2": ("offers", _V2),
    "discount": ("discounts", ""),
    "product": ("products", ""),
    "page": ("pages", ""),
    "campaign": ("campaigns", ""),
    "segment": ("segments", ""),
}
"""The shelf that holds them and the path that theirs start with."""

_REDUCED = {"display_name__limio", "display_price__limio", "price__limio", "price", "label__limio"}
"""The attributes that are left where `reducedData` is asked for; which ones Limio leaves is not documented."""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """Which items of a shelf are asked for."""

    shelf: str
    under: str = ""
    """A path that theirs start with."""
    published: bool = False
    """Leaves out drafts."""
    id: str | None = None
    path: str | None = None
    tag: str | None = None
    modified_after: str | None = None
    """As `time_of` gives it."""
    told_only: bool = False
    """Whether `modified_after` leaves out what has no `modified`."""
    attributes: tuple[tuple[str, str], ...] = ()


class Scroll(msgspec.Struct, kw_only=True):
    """One walk in progress. Its page size is that of the request that opened it, as in Elasticsearch."""

    number: int
    search: Search
    edition: int
    """The build of the index that was there when it was opened."""
    matches: Sequence[int]
    page_size: int
    reduced: bool
    published: bool
    """Whether the index of published items answers, rather than that of working copies."""
    position: int = 0
    pages: int = 0
    opened: float
    last_read: float

    def read(self, now: float) -> Sequence[int]:
        """The next page. Whoever loses it cannot ask for it again."""
        page = self.matches[self.position : self.position + self.page_size]
        self.position += len(page)
        self.pages += 1
        self.last_read = now
        return page


class _Identified(msgspec.Struct):
    id: str = ""


class Spot(msgspec.Struct, frozen=True):
    """Where an item stands; a number of None is the next free one."""

    shelf: str
    number: int | None = None


class Catalog:
    """The catalog: shelves of items that are made on demand, what was changed in them, and the scrolls over them."""

    name = "catalog"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scrolls: OrderedDict[int, Scroll] = OrderedDict()  # the least recently read first
        self._opened = 0
        self._edition = 0
        self.shelves: Mapping[str, Shelf] = shelves(settings)
        self._edited = {name: EditedShelf(shelf) for name, shelf in self.shelves.items()}
        self._matches: Callable[[Search, int], Sequence[int]] = lru_cache(maxsize=32)(self._find)
        self.operations: Mapping[str, Handler] = {
            "listOffers": partial(self._list, shelf="offers"),
            "listOffersV2": self._list_offers_v2,
            "listProducts": partial(self._list, shelf="products"),
            "listCampaigns": partial(self._list, shelf="campaigns"),
            "listAddOns": partial(self._list, shelf="add_ons"),
            "listSegments": partial(self._list, shelf="segments"),
            "listAssets": partial(self._list, shelf="assets"),
            "listPages": partial(self._list, shelf="pages"),
            "listCatalogItems": self._list_by_record_type,
            "listPublishedCatalogItems": partial(self._list_by_record_type, published=True),
        }

    def holdings(self) -> Mapping[str, int]:
        """How many items of each kind there are."""
        return {name: len(shelf.numbers(self._edition)) for name, shelf in self._edited.items()}

    def open_scrolls(self) -> Sequence[Scroll]:
        """The walks in progress that have not expired, oldest first."""
        self._forget_expired()
        return [self._scrolls[number] for number in sorted(self._scrolls)]

    def expire_scrolls(self) -> None:
        """Forget every walk in progress."""
        self._scrolls.clear()

    def rebuild_index(self) -> None:
        """Change the `commitId` that every answer carries from now on."""
        self._edition += 1

    @property
    def commit_id(self) -> str:
        """The commit that the index was last built from."""
        return fingerprint(self._settings.seed, "commit", self._edition, length=40)

    def ids(self, shelf: str) -> Iterator[str]:
        """The ids of all items of a kind, in the order of lists."""
        edited = self._edited[shelf]
        for number in edited.numbers(self._edition):
            yield msgspec.json.decode(edited.item(number, self._edition), type=_Identified).id

    def add(self, shelf: str, count: int) -> list[str]:
        """Make *count* more items at the end of a kind; their ids. The index is built anew."""
        self.rebuild_index()
        edited = self._edited[shelf]
        first = edited.size(self._edition)
        edited.grow(count, self._edition)
        made = [edited.item(number, self._edition) for number in range(first, first + count)]
        return [msgspec.json.decode(item, type=_Identified).id for item in made]

    def locate(self, path: str, shelf: str | None = None) -> Spot | None:
        """Where the item with this path stands, whatever its kind or of the kind that is named."""
        for name in self._edited if shelf is None else (shelf,):
            for number in self._edited[name].with_path(path, self._edition):
                return Spot(name, number)
        return None

    def locate_id(self, id: str, *kinds: str) -> Spot | None:
        """Where the item with this id stands, if it is of one of these kinds."""
        for name in kinds:
            for number in self._edited[name].with_id(id, self._edition):
                return Spot(name, number)
        return None

    def holds(self, spot: Spot) -> bool:
        """Whether an item stands there now."""
        number = spot.number
        return number is not None and self._edited[spot.shelf].facts(number, self._edition) is not None

    def whole(self, spot: Spot) -> Data:
        """The item that stands there now."""
        if spot.number is None or not self.holds(spot):
            raise LookupError(f"nothing stands at {spot}")
        item: Data = msgspec.json.decode(self._edited[spot.shelf].item(spot.number, self._edition))
        return item

    def is_draft(self, spot: Spot) -> bool:
        """Whether what stands there was never published."""
        facts = None if spot.number is None else self._edited[spot.shelf].facts(spot.number, self._edition)
        return facts is not None and facts["status"] == "draft"

    def change(self, changes: Iterable[tuple[Spot, Mapping[str, Any] | None]], *, status: str = "") -> None:
        """Let these items stand there, or none, from one new build of the index on; open scrolls do not see it.

        *status* is that of items which do not tell theirs.
        """
        self.rebuild_index()
        for spot, item in changes:
            edited = self._edited[spot.shelf]
            if item is not None:
                edited.put(spot.number, item, self._edition, status)
            elif spot.number is not None:
                edited.remove(spot.number, self._edition)

    def load(self, shelf: str, items: Iterable[Mapping[str, Any]]) -> None:
        """Let there be these items: each in place of the one that has its path, or at the end."""
        self.change((self.locate(str(item.get("path")), shelf) or Spot(shelf), item) for item in items)

    def snapshot(self) -> Data:
        """The edition and what was changed until then, fit for JSON."""
        changed = {name: edited.snapshot(self._edition) for name, edited in self._edited.items()}
        return {"edition": self._edition, "shelves": changed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as the catalog was that gave *state*; open scrolls are forgotten."""
        self.expire_scrolls()
        self._edition = state["edition"]
        for name, shelf in state["shelves"].items():
            self._edited[name].restore(shelf)
        self._matches = lru_cache(maxsize=32)(self._find)

    def _list_offers_v2(self, call: Call) -> Response:
        source = call.query.get("offersSource", "catalog")
        if source not in {"catalog", "published"}:
            raise Refused(400, "offersSource must be catalog or published")
        return self._list(call, shelf="offers", under=_V2, published=source == "published")

    def _list_by_record_type(self, call: Call, *, published: bool = False) -> Response:
        try:
            shelf, under = _RECORD_TYPES[call.query["record_type"]]
        except KeyError:
            raise Refused(400, f"record_type must be one of {', '.join(_RECORD_TYPES)}") from None
        return self._list(call, shelf=shelf, under=under, published=published)

    def _list(self, call: Call, *, shelf: str, under: str = "", published: bool = False) -> Response:
        if "opt.queryMoreFrom" in call.query:
            return self._page(call, self._resume(call), cursor=True)
        search = _search(
            call,
            shelf=shelf,
            under=under,
            published=published,
            told_only=self._settings.modified_filter == "only-modified",
        )
        scroll = Scroll(
            number=self._opened,
            search=search,
            edition=self._edition,
            matches=self._matches(search, self._edition),
            page_size=whole_number(call, "opt.pageSize", default=50),
            reduced=call.query.get("reducedData") == "true",
            published=published or self._is_from_published_index(call),
            opened=self._settings.now(),
            last_read=self._settings.now(),
        )
        cursor = call.query.get("opt.all") == "true"
        if cursor:
            self._forget_expired()
            self._scrolls[scroll.number] = scroll
            self._opened += 1
            if len(self._scrolls) > MOST_SCROLLS:
                self._scrolls.popitem(last=False)
        return self._page(call, scroll, cursor=cursor)

    def _find(self, search: Search, edition: int) -> Sequence[int]:
        """The positions of all matches; computed once for a search, as an index would."""
        shelf = self._edited[search.shelf]
        if search == Search(shelf=search.shelf):
            return shelf.numbers(edition)
        if search.id is not None:
            candidates = shelf.with_id(search.id, edition)
        elif search.path is not None:
            candidates = shelf.with_path(search.path, edition)
        else:
            candidates = shelf.numbers(edition)
        return array("L", (number for number in candidates if _accepts(search, shelf, number, edition)))

    def _page(self, call: Call, scroll: Scroll, *, cursor: bool) -> Response:
        shelf, edition = self._edited[scroll.search.shelf], scroll.edition
        items = [shelf.item(number, edition) for number in scroll.read(self._settings.now())]
        if scroll.reduced:
            items = [_reduced(item) for item in items]
        hits = len(scroll.matches)
        payload: dict[str, object] = {
            "hits": hits if self._settings.hits_form == "number" else {"value": hits, "relation": "eq"},
            "items": msgspec.Raw(b"[%b]" % b",".join(items)),
            **self._snapshot(call, published=scroll.published),
        }
        if cursor:
            alias = self._alias(published=scroll.published)
            payload["queryMore"] = {"from": self._scroll_id(scroll), "alias": alias}
        return reply(payload)

    def _snapshot(self, call: Call, *, published: bool) -> dict[str, object]:
        """Which build of the index answered."""
        commit = self.commit_id
        built = str(1_736_900_000_000 + 60_000 * self._edition)
        index = f"{self._alias(published=published)}_{commit}_{built}"
        if published:
            return {"commitId": built, "indexName": f"{self._alias(published=True)}_{built}"}
        if call.operation == "listCampaigns":
            return {"header": {"commitId": commit}}
        return {"commitId": commit, "buildId": built, "indexName": index}

    def _is_from_published_index(self, call: Call) -> bool:
        """Offers and add-ons of the tenant that was recorded came from its published index, pages did not."""
        return (
            self._settings.envelope == "live"
            and call.operation in {"listOffers", "listOffersV2", "listAddOns"}
            and call.query.get("offersSource") != "catalog"
        )

    def _alias(self, *, published: bool) -> str:
        tenant = self._settings.tenant
        return f"{'published_items' if published else 'catalog'}_{tenant}.{tenant}.emulated.limio.com"

    def _scroll_id(self, scroll: Scroll) -> str:
        page = scroll.pages if self._settings.scroll_ids == "changing" else 0
        return _scroll_id(scroll.number, page)

    def _resume(self, call: Call) -> Scroll:
        number = _scroll_number(call.query["opt.queryMoreFrom"])
        self._forget_expired()
        scroll = self._scrolls.get(number)
        if scroll is None:
            raise Refused(404, "No search context found for id")
        if call.query.get("opt.queryMoreAlias") != self._alias(published=scroll.published):
            raise Refused(400, "opt.queryMoreAlias must be the one that came with opt.queryMoreFrom")
        self._scrolls.move_to_end(number)
        return scroll

    def _forget_expired(self) -> None:
        oldest = self._settings.now() - self._settings.scroll_keep_alive
        while self._scrolls and next(iter(self._scrolls.values())).last_read <= oldest:
            self._scrolls.popitem(last=False)


def _search(call: Call, *, shelf: str, under: str, published: bool, told_only: bool) -> Search:
    query = call.query
    after = _moment(query["opt.modifiedAfter"]) if "opt.modifiedAfter" in query else None
    return Search(
        shelf=shelf,
        under=under,
        published=published,
        id=query.get("id"),
        path=query.get("path"),
        tag=query.get("tags"),
        modified_after=after,
        told_only=told_only and after is not None,
        attributes=tuple(
            sorted(
                (name.removeprefix("attributes."), value)
                for name, value in query.items()
                if name.startswith("attributes.")
            )
        ),
    )


def _moment(text: str) -> str:
    if (found := moment(text)) is None:
        raise Refused(400, "opt.modifiedAfter must be an ISO date or date-time")
    return time_of(found)


def _accepts(search: Search, shelf: EditedShelf, number: int, edition: int) -> bool:
    facts = shelf.facts(number, edition)
    return (
        facts is not None
        and facts["path"].startswith(search.under)
        and search.path in {None, facts["path"]}
        and not (search.published and facts["status"] == "draft")
        and (search.tag is None or f'"{search.tag}"' in facts["tags"])
        and (search.modified_after is None or _changed_after(search.modified_after, search, facts))
        and (not search.attributes or _has_attributes(search, shelf.item(number, edition)))
    )


def _changed_after(after: str, search: Search, facts: Mapping[str, str]) -> bool:
    if search.told_only:
        return facts["modified_at"] > after
    return not facts["changed_at"] or facts["changed_at"] > after


def _has_attributes(search: Search, item: bytes) -> bool:
    attributes = _attributes(msgspec.json.decode(item))
    return all(_shows(attributes.get(name), wanted) for name, wanted in search.attributes)


def _shows(value: object, wanted: str) -> bool:
    """Whether an attribute is, or a list of it holds, what was written in a query."""
    match value:
        case str():
            return value == wanted
        case bool() | int() | float():
            return msgspec.json.encode(value).decode() == wanted
        case list():
            return wanted in value
        case _:
            return False


def _attributes(item: Data) -> Data:
    """The attributes of an item, wherever that has room for some."""
    return as_object(as_object(item.get("data")).get("attributes"))


def _reduced(item: bytes) -> bytes:
    whole: Data = msgspec.json.decode(item)
    if attributes := _attributes(whole):
        whole["data"]["attributes"] = {name: attributes[name] for name in attributes if name in _REDUCED}
    return msgspec.json.encode(whole)


# A scroll id is that of an Elasticsearch before 7: a header, then a search context and a node for each of 5 shards.
_HEADER = b"\x0equeryThenFetch\x05"
_SHARDS = 5
_NODE = b"\x16" + fingerprint("node", length=22).encode()
_FIRST_CONTEXT = 1_605_587


def _scroll_id(number: int, page: int) -> str:
    contexts = (_FIRST_CONTEXT + number * _SHARDS + shard + (page << 40) for shard in range(_SHARDS))
    raw = _HEADER + b"".join(context.to_bytes(8) + _NODE for context in contexts)
    return urlsafe_b64encode(raw).decode()


def _scroll_number(cursor: str) -> int:
    """The number of the scroll that *cursor* belongs to, whichever of its pages it came with."""
    try:
        context = int.from_bytes(urlsafe_b64decode(cursor)[len(_HEADER) : len(_HEADER) + 8])
        page, context = divmod(context, 1 << 40)
        number = (context - _FIRST_CONTEXT) // _SHARDS
        genuine = _scroll_id(number, page) == cursor
    except (ValueError, OverflowError):  # not base64, or no number that could have been given out
        genuine, number = False, 0
    if not genuine:
        raise Refused(400, "Failed to parse scrollId")
    return number
