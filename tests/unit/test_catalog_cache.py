"""A catalog in memory: current, whole, and there while Limio is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from limio_async import BearerToken, CatalogCache, Limio
from limio_async.core.wire import Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer

HOUR = 3600.0


class Slim(msgspec.Struct):
    name: str


class Tenant:
    """A list of offers behind a scroll, as a transport: counts what it is asked for, and is away when told to be."""

    def __init__(self, *offers: dict[str, Any], size: int = 2) -> None:
        self.offers: list[Any] = [*offers]
        self.size = size
        self.commit: Any = "c1"
        self.polls: list[float] = []
        self.walks: list[float] = []
        self.away: Response | Exception | Callable[[Request], Any] | None = None
        self.loads_fail: Response | Exception | None = None
        self.before_page: Callable[[int], object] = lambda number: None
        self.takes = 0.0

    async def __call__(self, request: Request) -> Any:
        query = {key: one[0] for key, one in parse_qs(urlsplit(request.target).query).items()}
        if "opt.all" not in query:
            self.polls.append(asyncio.get_running_loop().time())
        elif "opt.queryMoreFrom" not in query:
            self.walks.append(asyncio.get_running_loop().time())
        if self.away is not None:
            return await self.away(request) if callable(self.away) else self.away
        if "opt.all" not in query:
            return self._page(self.offers[: int(query["opt.pageSize"])], None)
        if self.loads_fail is not None:
            return self.loads_fail
        await asyncio.sleep(self.takes)
        begin = int(query.get("opt.queryMoreFrom", "0"))
        self.before_page(begin // self.size)
        end = begin + self.size
        return self._page(self.offers[begin:end], {"from": str(end), "alias": "a"})

    def _page(self, items: list[Any], more: Any) -> Response:
        body = {"hits": len(self.offers), "items": items, "commitId": self.commit, "queryMore": more}
        raw = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        return answer(raw.replace(b"HALF", b"\\ud800"))


def offer(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"o{number}", "path": f"/offers/{number}", "name": f"Offer {number}", "data": {}, **more}


@pytest.fixture
def tenant() -> Tenant:
    return Tenant(*map(offer, range(5)))


@pytest.fixture
async def limio(tenant: Tenant) -> AsyncIterator[Limio]:
    transport = ScriptedTransport(tenant)
    transport.suspends = 0
    async with Limio(auth=BearerToken("t"), transport=transport, attempts=1) as client:
        yield client


async def test_items_are_found_by_id_path_and_tag_wherever_these_stand(tenant: Tenant, limio: Limio) -> None:
    tenant.offers = [
        offer(0, tags=["/tags/a"]),
        offer(1, data={"tags": ["/tags/a", "/tags/b"]}),
        offer(2, data={"attributes": {"tags__limio": ["/tags/b"]}}),
    ]
    async with CatalogCache(limio, limio.offers.list) as cache:
        await cache.loaded(timeout=5)
        assert [one.id for one in cache] == ["o0", "o1", "o2"]
        found = cache.get("o1")
        assert found is not None
        assert found is cache.by_path("/offers/1")
        assert [one.id for one in cache.tagged("/tags/a")] == ["o0", "o1"]
        assert [one.id for one in cache.tagged("/tags/b")] == ["o1", "o2"]
        assert (cache.get("no"), cache.by_path("/no"), cache.tagged("/no")) == (None, None, [])
        assert (len(cache), cache.commit_id, cache.usable) == (3, "c1", True)
    async with CatalogCache(limio, partial(limio.offers.list, page_size=2), into=Slim) as slim:
        await slim.loaded(timeout=5)
        assert slim.get("o2") == Slim("Offer 2") == slim.by_path("/offers/2")
        assert slim.tagged("/tags/a") == [Slim("Offer 0"), Slim("Offer 1")]
