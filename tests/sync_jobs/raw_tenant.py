"""A tenant over HTTP that shares no code with the package: offers as live tenants answer them, and a filter by time.

What live tenants filter on is not documented. `sees`: by when an item changed, whatever it tells of that. `hides`: by the
field `data.modified`; a search index leaves out documents that lack it.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

from aiohttp import web

__all__ = ["RawObjects", "RawTenant", "Shape", "raw_tenant", "stamp"]

Mode = Literal["sees", "hides"]
Shape = Literal["live", "documented"]
Item = dict[str, Any]

_PAGE = 10
_TIMES = {"modified": ("modified", "version_date"), "published": ("version_date",), "silent": ()}


def stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class _Scroll:
    """A list as it was when it was asked for. Reading a page moves it on: a page whose answer is lost does not come again."""

    def __init__(self, items: list[Item], size: int) -> None:
        self.items = items
        self._size = size
        self._at = 0

    def read(self) -> list[Item]:
        self._at += self._size
        return self.items[self._at - self._size : self._at]

    @property
    def is_read(self) -> bool:
        return self._at >= len(self.items)


class RawTenant:
    """Offers, each with the fields that one of 24 published ones was read with: 17 without `data.modified`."""

    def __init__(self, mode: Mode, *, shape: Shape = "live", seed: int = 0) -> None:
        self.mode = mode
        self.shape: Shape = shape
        self.now = datetime(2026, 1, 1, 3, tzinfo=UTC)
        self.items: dict[str, Item] = {}
        self.changed: dict[str, datetime] = {}
        """What the tenant itself knows of when an item changed."""
        self.commit = 1767236400000
        self.hits: Callable[[int], Any] = lambda count: {"value": count, "relation": "eq"}
        self.names_snapshot = True
        self.before_answer: Callable[[web.Request], Any] = lambda request: None
        """May change the tenant before it answers, or answer instead."""
        self.asked: list[dict[str, str]] = []
        """The query of each request for offers."""
        self.url = ""
        self._scrolls: dict[str, _Scroll] = {}
        self._random = random.Random(seed)
        self._made = 0
        for number in range(24):
            self.now += timedelta(hours=2)
            self.insert("modified" if number < 7 else "silent" if number == 19 else "published")

    # --- what happens to it

    def insert(self, kind: Literal["modified", "published", "silent"] | None = None) -> str:
        """A new offer: with `data.modified`, with `data.version_date` only, or without any time of a change."""
        self._made += 1
        name = f"o{self._made:03}"
        chosen: str = kind or self._random.choice(("modified", "published", "published"))
        item: Item = {
            "path": f"/offers2/{name}",
            "data": {
                "attributes": {
                    "price__limio": [{"value": 1.5, "currencyCode": "GBP"}],
                    "tags__limio": ["/tags/site"],
                },
                "baseTemplate": "/templates/offer",
                "created": stamp(self.now),
                "record_type": "offer",
            },
            "name": name,
            "id": name,
            "type": "item",
            "version": "1",
        }
        times = _TIMES[chosen]
        item["data"].update({time: stamp(self.now) for time in times})
        if self.shape == "documented":
            for field in ("created", "record_type", *times):
                item[field] = item["data"].pop(field)
        self.items[name] = item
        self._touch(name, times=False)
        return name

    def change(self, name: str, *, quietly: bool = False) -> None:
        """Another price; *quietly*: the offer tells no other time than before, only the tenant knows."""
        self.items[name]["data"]["attributes"]["price__limio"][0]["value"] += 1
        self._touch(name, times=not quietly)

    def retag(self, name: str) -> None:
        self.items[name]["data"]["attributes"]["tags__limio"] = [f"/tags/{self._random.random()}"]
        self._touch(name)

    def publish(self, name: str) -> None:
        """As it was edited before: another version, while `modified` stays."""
        self.items[name]["version"] += ".1"
        self._touch(name, but="modified")

    def delete(self, name: str) -> None:
        del self.items[name], self.changed[name]
        self.commit += 1

    def night(self, *, quietly: bool) -> None:
        """A day passes in which some of everything happens, some of it *quietly*."""
        if quietly:
            self.change(self._random.choice([*self.items]), quietly=True)
        for action in (self.change, self.retag, self.publish, self.change):
            self.now += timedelta(hours=4)
            action(self._random.choice([*self.items]))
        self.insert()
        self.now += timedelta(hours=8)
        if self._random.random() < 0.5:
            self.delete(self._random.choice([*self.items]))

    def _touch(self, name: str, *, times: bool = True, but: str = "") -> None:
        item = self.items[name]
        for holder in (item, item["data"]) if times else ():
            for field in {"modified", "version_date", "updated"} & {*holder} - {but}:
                holder[field] = stamp(self.now)
        self.changed[name] = self.now
        self.commit += 1

    # --- what it answers

    def filtered(self, after: str | None) -> list[Item]:
        """The offers that changed after this time, as its filter has it."""
        if after is None:
            return [*self.items.values()]
        since = datetime.fromisoformat(after)
        if self.mode == "sees":
            return [item for name, item in self.items.items() if self.changed[name] > since]
        told = {
            name: item["data"].get("modified") or item.get("modified") for name, item in self.items.items()
        }
        return [
            self.items[name] for name, time in told.items() if time and datetime.fromisoformat(time) > since
        ]

    async def serve(self, request: web.Request) -> web.Response:
        if request.path != "/api/offers":
            return web.json_response({"message": "not here"}, status=404)
        self.asked.append(dict(request.query))
        answer = self.before_answer(request)
        if isinstance(answer, web.Response):
            return answer
        cursor = request.query.get("opt.queryMoreFrom", "")
        if not cursor:
            found = self.filtered(request.query.get("opt.modifiedAfter"))
            scroll = _Scroll(deepcopy(found), int(request.query.get("opt.pageSize", _PAGE)))
            cursor = f"scroll-{len(self._scrolls)}"
            if request.query.get("opt.all") == "true":
                self._scrolls[cursor] = scroll
        elif cursor in self._scrolls:
            scroll = self._scrolls[cursor]
        else:
            return web.json_response({"message": "no search context found"}, status=404)
        body: dict[str, Any] = {"items": scroll.read()}
        if (hits := self.hits(len(scroll.items))) is not None:
            body["hits"] = hits
        if self.names_snapshot:
            body |= {"commitId": str(self.commit), "indexName": "offers-1", "buildId": "b1"}
        if cursor in self._scrolls and not scroll.is_read:
            body["queryMore"] = {"from": cursor, "alias": "offers"}
        return web.Response(body=json.dumps(body).encode(), content_type="application/json")

    # --- what of it was asked

    @property
    def looks(self) -> list[dict[str, str]]:
        """The requests that open no scroll and go on with none."""
        return [query for query in self.asked if "opt.all" not in query and "opt.queryMoreFrom" not in query]

    @property
    def walks(self) -> list[dict[str, str]]:
        """The first requests of its walks."""
        return [query for query in self.asked if "opt.all" in query and "opt.queryMoreFrom" not in query]


class _Tenant(Protocol):
    url: str

    async def serve(self, request: web.Request) -> web.StreamResponse: ...


T = TypeVar("T", bound=_Tenant)


class RawObjects:
    """Lists of objects as exact bytes, page by page, and how often each was asked for.

    A list is known by what follows `/api/objects/limio/` in its path, escaped as it came; its cursors are the numbers
    of its pages. Other paths are 404.
    """

    def __init__(self, lists: dict[str, list[list[bytes]]]) -> None:
        self.lists = lists
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuses: dict[str, int] = {}
        """Statuses by path, and cursor behind a `?`."""
        self.loops: set[str] = set()
        """Lists of which the last page names the first again."""
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        name = request.rel_url.raw_path.removeprefix("/api/objects/limio/").replace("%3A", ":")
        cursor = request.query.get("queryMore")
        self.asked.append(spot := name if cursor is None else f"{name}?{cursor}")
        if spot in self.refuses:
            return web.json_response({"message": "refused"}, status=self.refuses[spot])
        if name in self.objects:
            return web.Response(body=self.objects[name], content_type="application/json")
        if name not in self.lists:
            return web.json_response({"message": "not here"}, status=404)
        pages, number = self.lists[name], int(cursor or 0)
        more = b""
        if number + 1 < len(pages) or name in self.loops:
            more = b',"queryMore":"%d"' % ((number + 1) % len(pages))
        body = b'{"items":[%b]%b}' % (b",".join(pages[number]), more)
        return web.Response(body=body, content_type="application/json")


@contextmanager
def raw_tenant(tenant: T) -> Iterator[T]:
    """Serve it in a thread as long as the block runs."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", tenant.serve)
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    ready = threading.Event()

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tenant.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await ended.wait()
        await runner.cleanup()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        yield tenant
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
