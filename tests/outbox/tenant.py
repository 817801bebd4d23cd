"""A small tenant of the tests' own: it makes orders when it likes, shows them when it likes, and loses answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from limio_async.core.wire import Request, Response
from limio_async.errors import AnswerLost, NeverSent

EPOCH = 1_780_000_000.0
"""Limio's clock when the test's shows 0: the two have nothing to do with each other."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of one order that is sent."""

    makes: bool = True
    """Whether the order is made."""
    made_after: float = 0.0
    answer: int | None = 200
    """The status; None: the answer is lost, 0: the request never leaves."""
    after: float = 0.01
    """Seconds until the answer."""
    lag: float = 0.0
    """Seconds from its creation until the list of orders shows it."""
    bare: bool = False
    """Whether the list shows it without what says whose it is."""
    body: bytes | None = None
    """What is answered instead."""


GOOD = Fate()
LOST = Fate(answer=None)
"""Made, and the answer is lost."""
DROPPED = Fate(makes=False, answer=None)
"""Not made, and the answer is lost."""
REFUSED = Fate(makes=False, answer=400)


@dataclass
class Made:
    id: str
    key: str
    created: float
    visible: float
    readable: float
    bare: bool
    body: dict[str, Any]


@dataclass
class Tenant:
    """A transport; `fates` are those of the orders to come, then all are `GOOD`."""

    now: Callable[[], float] = lambda: asyncio.get_running_loop().time()
    fates: list[Fate] = field(default_factory=list)
    orders: list[Made] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """The key of each order that arrived, in order."""
    origin: str = "https://tenant.test"
    page_size: int = 3
    descending: bool = False
    dead: bool = False
    read_lag: float = 0.0
    refuses_lists: int = 0
    """How many lists are answered with `refusal` before they work."""
    refusal: tuple[int, bytes] = (503, b'{"message": "later"}')
    takes_cursors: int = 200
    """The answer to every cursor, if another."""
    refuses_reads: int = 0
    """The answer to whoever reads an order by its id, if not 0."""
    related_after: float = 0.0
    """Seconds until the orders of a subscription are answered."""
    lists: int = 0
    gets: int = 0
    dates: bool = True
    ahead: float = 0.0
    """How far `Date` is ahead of `created`."""
    loops: bool = False
    """Whether each page of the list says that the first comes next."""
    on_wire: int = 0
    most_on_wire: int = 0

    def made(self, key: str) -> list[str]:
        """Return the orders that were made for a key."""
        return [one.id for one in self.orders if one.key == key]

    def another(self, *, lag: float = 0.0, bare: bool = False, key: str = "", data: Any = None) -> Made:
        """Somebody else's order is made."""
        return self._make(
            {"order_type": "data_capture", "external_id": key, **(data or {})}, Fate(lag=lag, bare=bare)
        )

    def _make(self, body: dict[str, Any], fate: Fate) -> Made:
        created = self.now() + fate.made_after
        name = f"order-{len(self.orders):08d}"
        made = Made(
            name,
            body.get("external_id") or "",
            created,
            created + fate.lag,
            created + self.read_lag,
            fate.bare,
            body,
        )
        self.orders.append(made)
        return made

    async def send(self, request: Request, *, timeout: float) -> Response:
        if self.dead:
            raise NeverSent("the test has killed this process", operation=request.operation)
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = [unquote(one) for one in url.path.strip("/").split("/")]
        if request.method == "POST":
            return await self._order(json.loads(request.body or b"{}"))
        if parts[:2] == ["api", "objects"] and parts[-2:] == ["related", "order"]:
            await asyncio.sleep(self.related_after)
            return self._answer(
                200,
                {"items": [self._item(one) for one in self._listed() if parts[4] in json.dumps(one.body)]},
            )
        if parts == ["api", "objects", "limio", "orders"]:
            return self._page(query)
        self.gets += 1
        if self.refuses_reads:
            return self._answer(self.refuses_reads, {"message": "no"})
        found = [one for one in self.orders if one.id == parts[-1] and one.readable <= self.now()]
        return (
            self._answer(200, self._item(found[0], whole=True))
            if found
            else self._answer(404, {"message": "not found"})
        )

    async def _order(self, body: dict[str, Any]) -> Response:
        fate = self.fates.pop(0) if self.fates else GOOD
        if fate.answer == 0:
            raise NeverSent("no way to it", operation="submitOrder")
        self.sent.append(body["external_id"])
        self.on_wire += 1
        self.most_on_wire = max(self.most_on_wire, self.on_wire)
        made = self._make(body, fate) if fate.makes else None
        try:
            await asyncio.sleep(fate.after)
        finally:
            self.on_wire -= 1
        if fate.answer is None:
            raise AnswerLost("gone", operation="submitOrder")
        if fate.body is not None:
            return Response(status=fate.answer, headers=self._headers(), body=fate.body)
        if made is not None and fate.answer == 200:
            return self._answer(200, {"id": made.id, "status": "complete", "external_id": made.key})
        return self._answer(fate.answer, {"message": f"no: {body['external_id']}"})

    def _listed(self) -> list[Made]:
        shown = [one for one in self.orders if one.visible <= self.now()]
        return sorted(shown, key=lambda one: (one.created, one.id), reverse=self.descending)

    def _page(self, query: dict[str, str]) -> Response:
        self.lists += 1
        if self.refuses_lists:
            self.refuses_lists -= 1
            status, body = self.refusal
            return Response(status=status, headers=self._headers(), body=body)
        rows = self._listed()
        if "queryMore" in query and self.takes_cursors != 200:
            return self._answer(self.takes_cursors, {"message": "unknown cursor"})
        if "queryMore" in query:
            created, name = json.loads(query["queryMore"])
            at = (created, name)
            rows = [
                one
                for one in rows
                if ((one.created, one.id) < at if self.descending else (one.created, one.id) > at)
            ]
        size = min(int(query.get("limit", "3")), self.page_size)
        page: dict[str, Any] = {"items": [self._item(one) for one in rows[:size]]}
        if len(rows) > size:
            page["queryMore"] = json.dumps([rows[size - 1].created, rows[size - 1].id])
        if self.loops:
            page["queryMore"] = json.dumps([0.0, ""])
        return self._answer(200, page)

    def _item(self, one: Made, *, whole: bool = False) -> dict[str, Any]:
        created = datetime.fromtimestamp(EPOCH + one.created, UTC).isoformat(timespec="milliseconds")
        item = {
            "id": one.id,
            "record_type": "order",
            "service": "limio",
            "status": "active",
            "created": created,
        }
        return item if one.bare and not whole else {**item, "data": one.body}

    def _headers(self) -> dict[str, str]:
        date = {"date": formatdate(EPOCH + self.now() + self.ahead, usegmt=True)} if self.dates else {}
        return {"content-type": "application/json", **date}

    def _answer(self, status: int, body: object) -> Response:
        return Response(status=status, headers=self._headers(), body=json.dumps(body).encode())

    async def aclose(self) -> None:
        await asyncio.sleep(0)
