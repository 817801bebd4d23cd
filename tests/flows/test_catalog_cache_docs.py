"""What docs/catalog-cache.md shows runs as it stands there, against an emulator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from limio_async import Limio
from limio_async.emulator import World
from limio_async.emulator.server import serve

PAGE = (Path(__file__).parents[2] / "docs/catalog-cache.md").read_text(encoding="utf-8")
(SHOP,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


async def test_the_shop(monkeypatch: pytest.MonkeyPatch, world: World, limio: Limio) -> None:
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(SHOP, "docs/catalog-cache.md", "exec"), names)  # noqa: S102
    app: web.Application = names["make"]()
    offer = await limio.offers.list().first()
    assert offer is not None
    async with serve(world, port=0) as url, ClientSession() as browser:
        monkeypatch.setenv("LIMIO_HOST", url)
        monkeypatch.setenv("LIMIO_API_KEY", world.api_key)
        async with TestServer(app) as server:
            async with browser.get(server.make_url(f"/shop{offer.path}")) as answer:
                assert await answer.json() == {"name": offer.name}
            async with browser.get(server.make_url("/shop/no")) as answer:
                assert answer.status == 404
