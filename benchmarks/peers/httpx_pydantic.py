"""httpx and pydantic: one client for all calls, models that are validated from the bytes.

What the models do not name is dropped, pydantic's default and the faster way; ours do the same. The limits are httpx's
own: its pool looks through all connections for each request, and more of them that idle cost more than new ones.
"""

import ssl
from typing import Any

import httpx
from pydantic import BaseModel, Field

from benchmarks.peers.asked import BEARER, KEY, OFFERS, SUBSCRIPTION, query
from benchmarks.peers.pydantic_models import models_upon
from benchmarks.peers.worker import Calls, run, timed

TLS = ssl.create_default_context()  # once, as aiohttp has one of its own
MODELS = models_upon(BaseModel)


class OfferPage(BaseModel):
    items: list[MODELS.offer]  # type: ignore[name-defined]  # made above
    query_more: dict[str, str] | None = Field(default=None, alias="queryMore")


async def walk(url: str, page_size: int) -> int:
    cursor: dict[str, str] | None = None
    came = 0
    async with httpx.AsyncClient(base_url=f"{url}/api", headers=KEY, verify=TLS) as client:
        while True:
            answer = await client.get(OFFERS, params=query(page_size, cursor))
            page = OfferPage.model_validate_json(answer.content)
            for _ in page.items:
                came += 1
            if not page.items:
                return came
            cursor = page.query_more


async def calls(url: str, count: int, at_once: int) -> Calls:
    async with httpx.AsyncClient(base_url=f"{url}/api", headers=BEARER, verify=TLS) as client:

        async def get() -> Any:
            answer = await client.get(SUBSCRIPTION)
            return MODELS.subscription.model_validate_json(answer.content)

        return await timed(get, count, at_once)


if __name__ == "__main__":
    run(walk, calls)
