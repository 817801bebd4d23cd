"""What openapi-python-client generates from our spec, called as it is: attrs classes, filled by code of its own.

It tells objects by `getObject`, whose data the spec leaves open: here a subscription is typed less deeply than in
other contenders. Nulls need no help: the spec allows them in lists, and elsewhere the generated code does not check.
"""

from __future__ import annotations

import ssl

from limio_generated import AuthenticatedClient
from limio_generated.api.catalog import list_offers
from limio_generated.api.objects import get_object
from limio_generated.models import GetObjectPathTypeType0, GetObjectService
from limio_generated.types import UNSET

from benchmarks.peers.worker import Calls, run, timed

TLS = ssl.create_default_context()  # once, as aiohttp has one of its own


async def walk(url: str, page_size: int) -> int:
    start = alias = UNSET
    came = 0
    async with AuthenticatedClient(base_url=f"{url}/api", token="k", prefix="", verify_ssl=TLS) as client:
        while True:
            page = await list_offers.asyncio(
                client=client,
                opt_all=True,
                opt_page_size=page_size,
                opt_query_more_from=start,
                opt_query_more_alias=alias,
            )
            for _ in page.items:
                came += 1
            if not page.items:
                return came
            start, alias = page.query_more.from_, page.query_more.alias


async def calls(url: str, count: int, at_once: int) -> Calls:
    kind = GetObjectService.LIMIO, GetObjectPathTypeType0.SUBSCRIPTIONS
    async with AuthenticatedClient(base_url=f"{url}/api", token="t", verify_ssl=TLS) as client:
        return await timed(lambda: get_object.asyncio(*kind, "small", client=client), count, at_once)


if __name__ == "__main__":
    run(walk, calls)
