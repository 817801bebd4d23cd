"""A client of the kind that Stainless generates: the core of the package openai, with our pages and models upon it.

The core is used as its own resources use it, with its own defaults: two retries, and models that keep what they do
not name and are filled in without being validated as a whole.
"""

import ssl
from typing import Any, Generic, TypeVar

from openai import AsyncOpenAI, BaseModel, DefaultAsyncHttpxClient
from openai._base_client import BaseAsyncPage, BasePage, PageInfo
from pydantic import Field

from benchmarks.peers.asked import OFFERS, SUBSCRIPTION, following, query
from benchmarks.peers.pydantic_models import models_upon
from benchmarks.peers.worker import Calls, run, timed

TLS = ssl.create_default_context()  # once, as aiohttp has one of its own
MODELS = models_upon(BaseModel)
T = TypeVar("T")


class CatalogPage(BaseAsyncPage[T], BasePage[T], Generic[T]):
    items: list[T]
    query_more: dict[str, str] | None = Field(default=None, alias="queryMore")

    def _get_page_items(self) -> list[T]:
        return self.items

    def next_page_info(self) -> Any:
        return PageInfo(params=following(self.query_more)) if self.query_more else None


OFFER_PAGE: Any = CatalogPage[MODELS.offer]  # type: ignore[name-defined]  # made above


def client_of(url: str) -> Any:
    return AsyncOpenAI(api_key="k", base_url=f"{url}/api", http_client=DefaultAsyncHttpxClient(verify=TLS))


async def walk(url: str, page_size: int) -> int:
    came = 0
    async with client_of(url) as client:
        offers = client.get_api_list(
            OFFERS, model=MODELS.offer, page=OFFER_PAGE, options={"params": query(page_size)}
        )
        async for _ in offers:
            came += 1
    return came


async def calls(url: str, count: int, at_once: int) -> Calls:
    async with client_of(url) as client:
        return await timed(lambda: client.get(SUBSCRIPTION, cast_to=MODELS.subscription), count, at_once)


if __name__ == "__main__":
    run(walk, calls)
