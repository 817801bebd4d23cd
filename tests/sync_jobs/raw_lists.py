"""A tenant over HTTP that answers what a test sets, byte for byte; it shares no code with the package."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

__all__ = ["RawLists", "offer", "raw_lists", "subscription"]

Hook = Callable[[str, web.Request], Awaitable[web.StreamResponse | None]]
_SIZE = 20


def offer(number: int | str, **more: Any) -> dict[str, Any]:
    """Return an offer as a live tenant lists it."""
    data = {"attributes": {"price__limio": [{"value": 1.5, "currencyCode": "GBP"}]}, "record_type": "offer"}
    item = {"id": f"o{number}", "name": f"Offer {number}", "path": f"/offers/{number}", "data": data}
    return {**item, "modified": "2024-01-01T10:00:00Z", **more}


def subscription(number: int | str, **more: Any) -> dict[str, Any]:
    """Return a subscription as a list of objects holds it."""
    return {"id": f"s{number}", "record_type": "subscription", "updated": "2024-01-01T10:00:00Z", **more}


class RawLists:
    """`lists` by path below `/api/` (`offers`, `objects/limio/subscriptions`); `objects` by path: status and body."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any] | bytes]] = {}
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.hook: Hook | None = None
        """Answers a request, named by its path, instead of what is set."""
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/api/")
        self.asked.append(path)
        if self.hook is not None and (answer := await self.hook(path, request)) is not None:
            return answer
        if path == "/oauth2/token":
            return web.json_response({"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
        if path in self.objects:
            status, body = self.objects[path]
            return web.Response(status=status, body=body, content_type="application/json")
        if path not in self.lists:
            return web.json_response({"message": "not here"}, status=404)
        return self._page(path, request)

    def _page(self, path: str, request: web.Request) -> web.Response:
        is_catalog = not path.startswith("objects/")
        cursor = request.query.get("opt.queryMoreFrom" if is_catalog else "queryMore", "0")
        at, items = int(cursor), self.lists[path]
        page = items[at : at + _SIZE]
        head: dict[str, Any] = {}
        if is_catalog:
            head["hits"] = {"value": len(items), "relation": "eq"}
        if at + _SIZE < len(items):
            more = str(at + _SIZE)
            head["queryMore"] = {"from": more, "alias": "a"} if is_catalog else more
        listed = b",".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in page)
        told = json.dumps(head).encode()[1:-1]
        return web.Response(
            body=b'{"items":[%b]%b}' % (listed, b"," + told if told else b""), content_type="application/json"
        )

    def times_asked(self, path: str) -> int:
        """How often a path was asked for."""
        return self.asked.count(path)

    def subscriptions(self, count: int, **more: Any) -> None:
        """Hold so many subscriptions, each with its object and one event."""
        self.lists["objects/limio/subscriptions"] = [subscription(one, **more) for one in range(count)]
        for one in range(count):
            whole = json.dumps({**subscription(one, **more), "data": {"quantity": one}}).encode()
            self.objects[f"objects/limio/subscriptions/s{one}"] = (200, whole)
            event = json.dumps({"items": [{"id": f"e{one}"}]}).encode()
            self.objects[f"objects/limio/subscriptions/s{one}/events"] = (200, event)


@asynccontextmanager
async def raw_lists() -> AsyncIterator[RawLists]:
    """Serve one as long as the block runs."""
    lists = RawLists()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", lists.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        lists.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield lists
    finally:
        await runner.cleanup()
