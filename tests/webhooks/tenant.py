"""A small tenant of the tests' own: objects that show what they are now when they like, and calls that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from limio_async.core.wire import Request, Response
from limio_async.errors import NeverSent


@dataclass
class Tenant:
    """A transport."""

    now: Callable[[], float] = lambda: asyncio.get_running_loop().time()
    versions: dict[str, list[tuple[float, dict[str, Any]]]] = field(default_factory=dict)
    gets: list[str] = field(default_factory=list)
    origin: str = "https://tenant.test"
    down: bool | str = False
    failing: set[str] = field(default_factory=set)
    status: int = 503
    takes: float = 0.0
    on_wire: int = 0

    def put(self, id: str, *, lag: float = 0.0, **fields: Any) -> dict[str, Any]:
        """Change an object; who reads it sees that *lag* seconds later. Returns what its webhook says."""
        kind = id.partition("-")[0]
        names = {"sub": "subscription", "cus": "customer", "pm": "payment_method"}
        body = {
            "id": id,
            "record_type": names.get(kind, kind),
            "service": "limio",
            "status": "active",
            **fields,
        }
        self.versions.setdefault(id, []).append((self.now() + lag, body))
        return body

    async def send(self, request: Request, *, timeout: float) -> Response:
        if self.down == "cut":
            raise NeverSent("no way to it", operation=request.operation)
        name = unquote(urlsplit(request.target).path).rpartition("/")[2]
        self.gets.append(name)
        self.on_wire += 1
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.on_wire -= 1
        if self.down or name in self.failing:
            return _answer(self.status, {"message": "later"})
        seen = [body for visible, body in self.versions.get(name, []) if visible <= self.now()]
        return _answer(200, seen[-1]) if seen else _answer(404, {"message": "not found"})

    async def aclose(self) -> None:
        await asyncio.sleep(0)


def _answer(status: int, body: object) -> Response:
    return Response(
        status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode()
    )
