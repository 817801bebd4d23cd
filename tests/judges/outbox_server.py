"""A tenant that takes orders, over raw asyncio streams: it says late what it made, or nothing, and knows what is true.

Standard library only, no code of the client and none of the emulator.
"""

from __future__ import annotations

import asyncio
import base64
import json
import operator
import random
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Json", "Made", "Manner", "Tenant"]

Json = dict[str, Any]
_STRANGERS_EVERY = 0.25
_HISTORY = 150


@dataclass(frozen=True)
class Manner:
    """How the tenant behaves. Times are in seconds, shares from 0 to 1."""

    lag: float = 0.0
    """When an order is in view, counted from its `created`."""
    each: bool = False
    """Whether that is different for each order, and `lag` the longest."""
    read_lag: float = 0.0
    """How much later it is found by its id."""
    lost: float = 0.0
    """Orders that are made, and whose answer is a closed connection."""
    dropped: float = 0.0
    """Orders that are not made, with the same answer."""
    made_502: float = 0.0
    unmade_502: float = 0.0
    bare: float = 0.0
    """Rows of lists without `data`."""
    falling: bool = False
    """Whether the newest orders come first."""
    takes: float = 0.04
    """How long an order takes, and then its answer, at most."""
    skew: float = 0.0
    """How far the tenant's clock is ahead of this machine's."""
    refuses: Callable[[str], bool] = field(default=lambda key: False)
    """Keys whose orders are refused."""


class Made(NamedTuple):
    """An order that was made: the truth."""

    key: str
    id: str
    subscription: str | None
    at: float
    """By the tenant's clock."""


class _Row(NamedTuple):
    created: float
    id: str
    visible: float
    bare: bool
    whole: Json


class Tenant:
    """A tenant on a port of its own, until `stop`."""

    def __init__(self, manner: Manner, seed: int = 0) -> None:
        self.manner = manner
        self.url = ""
        self.made: list[Made] = []
        """One line for each order that was made, in that order."""
        self.received: Counter[str] = Counter()
        """Requests, by what they ask."""
        self.fates: Counter[str] = Counter()
        self.wire = 0
        self.most_on_wire = 0
        self.overlaps = 0
        """Orders received while an earlier one of the same subscription was on the wire."""
        self.broken: list[str] = []
        """Requests that no client may send."""
        self.came = asyncio.Event()
        """Set at each request."""
        self.quiet = False
        """Whether nobody else orders."""
        self._random = random.Random(seed)
        self._rows: list[_Row] = []
        self._by_id: dict[str, _Row] = {}
        self._busy: Counter[str | None] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the tenant

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        for number in range(_HISTORY):
            self._store(self._stranger(), created=self.now() - 3 * 3600 + number * 40, lag=0.0)
        self._background(self._strangers())

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def now(self) -> float:
        """Return what time it is there, in seconds since 1970."""
        return time.time() + self.manner.skew

    def keys(self) -> Counter[str]:
        """Return how often an order of each key was made."""
        return Counter(one.key for one in self.made)

    # --- orders

    def _store(self, body: Json, *, created: float, lag: float, bare: bool | None = None) -> Json:
        subscription = _subscription(body)
        number = f"order-{self._random.getrandbits(128):032x}"
        text = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        whole: Json = {
            "id": number, "reference": f"{self._random.getrandbits(60):012X}"[-12:], "record_type": "order",
            "service": "limio", "mode": "production", "status": "active", "created": text, "updated": text,
            "data": body,
        }  # fmt: skip
        if subscription is not None:
            whole["ref"] = subscription
        bare = self._random.random() < self.manner.bare if bare is None else bare
        row = _Row(created, number, created + lag, bare, whole)
        insort(self._rows, row, key=lambda one: (one.created, one.id))
        self._by_id[number] = row
        return whole

    def _lag(self) -> float:
        return self._random.uniform(0.0, self.manner.lag) if self.manner.each else self.manner.lag

    def _stranger(self) -> Json:
        body: Json = {"order_type": "new", "orderItems": [{"offer": {"id": "0" * 40}, "quantity": 1}]}
        if self._random.random() < 0.7:
            body["external_id"] = f"stranger-{self._random.getrandbits(64):x}"
        return body

    async def _strangers(self) -> None:
        while True:
            await asyncio.sleep(_STRANGERS_EVERY)
            if not self.quiet:
                self._store(self._stranger(), created=self.now(), lag=self._lag())

    def _fate(self, key: str) -> str:
        manner, drawn = self.manner, self._random.random()
        if manner.refuses(key):
            return "refused"
        for name in ("lost", "dropped", "made_502", "unmade_502"):
            drawn -= getattr(manner, name)
            if drawn < 0:
                return name
        return "made"

    async def _before(self, key: str) -> None:
        """Take the time that an order takes."""
        await asyncio.sleep(self._random.uniform(0.0, self.manner.takes))

    async def _after(self, key: str) -> None:
        """Take the time that its answer takes then."""
        await asyncio.sleep(self._random.uniform(0.0, self.manner.takes))

    async def _order(self, body: Json) -> tuple[int, Json] | None:
        key, fate = str(body.get("external_id")), self._fate(str(body.get("external_id")))
        subscription = _subscription(body)
        self.fates[fate] += 1
        self.overlaps += subscription is not None and self._busy[subscription] > 0
        self._busy[subscription] += 1
        self.wire += 1
        self.most_on_wire = max(self.most_on_wire, self.wire)
        try:
            await self._before(key)
            answer: Json = {}
            if fate in {"made", "lost", "made_502"}:
                now = self.now()
                whole = self._store(body, created=now, lag=self._lag())
                self.made.append(Made(key, whole["id"], subscription, now))
                answer = {
                    "id": whole["id"], "order_reference": whole["reference"], "status": "complete", "external_id": key,
                }  # fmt: skip
            await self._after(key)
        finally:
            self.wire -= 1
            self._busy[subscription] -= 1
        match fate:
            case "made":
                return 200, answer
            case "refused":
                return 400, {"message": f"order {key} is not valid"}
            case "made_502" | "unmade_502":
                return 502, {"message": "Internal server error"}
            case _:
                return None

    # --- lists

    def _listed(self, row: _Row) -> Json:
        return {name: value for name, value in row.whole.items() if name != "data"} if row.bare else row.whole

    def _page(self, query: Mapping[str, str]) -> Json:
        now, limit = self.now(), int(query.get("limit", "50"))
        rows: Sequence[_Row] = [row for row in self._rows if row.visible <= now]
        if self.manner.falling:
            rows = rows[::-1]
        if "queryMore" in query:
            last = tuple(json.loads(base64.b64decode(query["queryMore"]))["last"])
            past = operator.lt if self.manner.falling else operator.gt
            rows = [row for row in rows if past((row.created, row.id), last)]
        page: Json = {"items": [self._listed(row) for row in rows[:limit]]}
        if len(rows) > limit:
            last_row = rows[limit - 1]
            cursor = json.dumps({"last": [last_row.created, last_row.id]}).encode()
            page["queryMore"] = base64.b64encode(cursor).decode()
        return page

    def _read(self, path: Sequence[str]) -> tuple[int, Json]:
        now = self.now()
        match path:
            case ["orders", id]:
                row = self._by_id.get(id)
                if row is not None and row.visible + self.manner.read_lag <= now:
                    return 200, row.whole
                return 404, {"message": "not found"}
            case ["subscriptions", id]:
                return 200, {
                    "id": id, "record_type": "subscription", "service": "limio", "status": "active", "data": {},
                }  # fmt: skip
            case ["subscriptions", id, "related", "order"]:
                rows = [row for row in self._rows if row.visible <= now and row.whole.get("ref") == id]
                return 200, {"items": [self._listed(row) for row in rows]}
            case _:
                return 404, {"message": "no such path"}

    # --- the wire

    async def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Json] | None:
        split = urlsplit(target)
        query, path = dict(parse_qsl(split.query)), split.path
        match method, [unquote(part) for part in path.strip("/").split("/")]:
            case "POST", ["oauth2", "token"]:
                self._count("token")
                return 200, {"access_token": "e30.e30.e30", "token_type": "Bearer", "expires_in": 3600}
            case "POST", ["api", "order"]:
                self._count("order")
                return await self._order(json.loads(body))
            case "GET", ["api", "objects", "limio", "orders"]:
                self._count("list")
                return 200, self._page(query)
            case "GET", ["api", "objects", "limio", *rest]:
                self._count("read")
                return self._read(rest)
            case _:
                self.broken.append(f"{method} {path}")
                return 404, {"message": "no such path"}

    def _count(self, what: str) -> None:
        self.received[what] += 1
        self.came.set()
        self.came = asyncio.Event()

    def _background(self, what: Any, *then: Callable[[object], None]) -> None:
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        for done in (self._tasks.discard, *then):
            task.add_done_callback(done)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._background(self._serve(reader, writer), lambda _: writer.close())  # though it never began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # cancelled by `stop`: a task of a stream that ends so writes a traceback
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ", 2)
                named = (line.partition(":") for line in head[1:])
                headers = {name.lower(): value.strip() for name, _, value in named}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = await self._answer(method, target, body)  # though the client may be gone
                if answer is None:
                    return
                status, content = answer
                text = json.dumps(content).encode()
                writer.write(
                    f"HTTP/1.1 {status} Said\r\nDate: {formatdate(self.now(), usegmt=True)}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode()
                    + text
                )
                await writer.drain()


def _subscription(body: Json) -> str | None:
    named: str | None = body.get("subscriptionId") or (body.get("forSubscription") or {}).get("id")
    return named
