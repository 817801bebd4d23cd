"""What docs/web.md shows runs as it stands there, and its table is the one of the package."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import ClientSession

from limio_async import Limio
from limio_async.emulator import World
from limio_async.emulator.server import serve
from limio_async.web import PROBLEMS
from tests.web.serving import served

PAGE = (Path(__file__).parents[2] / "docs/web.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture
def world() -> World:
    return World(offers=20, subscriptions=20)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(name: str) -> Any:
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(BLOCKS[name], f"docs/web.md: {name}", "exec"), module.__dict__)  # noqa: S102
        return module

    return run


def test_every_example_is_run_here() -> None:
    assert PAGE.count("```python") == len(BLOCKS)
    assert BLOCKS.keys() == {
        "shop_fastapi",
        "own_lifespan",
        "test_shop_fastapi",
        "shop_aiohttp",
        "shop_catalog",
        "own_table",
    }


@pytest.mark.parametrize("name", ["shop_fastapi", "shop_aiohttp", "own_lifespan"])
async def test_the_services_serve(
    name: str, executed: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = next(world.ids("subscriptions"))
    app = executed(name).app
    async with serve(world, port=0) as limio, ClientSession() as browser:
        for setting, value in world.environ(limio).items():
            monkeypatch.setenv(setting, value)
        async with served(app) as url:
            if name == "own_lifespan":
                assert world.tokens_issued == 1
                return
            async with browser.get(f"{url}/subscriptions/{known}") as answer:
                assert (await answer.json())["id"] == known
            async with browser.get(f"{url}/subscriptions/unknown") as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json")
            async with browser.post(f"{url}/subscriptions/{known}/cancel") as answer:
                assert (await answer.json())["order"]
            async with browser.get(f"{url}/ready") as answer:
                assert answer.status == 200


async def test_the_catalog_is_served_from_memory(
    executed: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = executed("shop_catalog")
    async with serve(world, port=0) as limio, ClientSession() as browser:
        for setting, value in world.environ(limio).items():
            monkeypatch.setenv(setting, value)
        async with served(shop.app) as url, asyncio.timeout(20):
            while (await browser.get(f"{url}/ready")).status != 200:  # noqa: ASYNC110  # as a probe does
                await asyncio.sleep(0.05)
            async with browser.get(f"{url}/offers", params={"tag": "/tags/uk/default"}) as answer:
                assert answer.status == 200


async def test_the_tests_test(executed: Any, limio: Limio) -> None:
    executed("shop_fastapi")
    tests = executed("test_shop_fastapi")
    await tests.test_a_subscription_has_a_status(limio)


def test_the_table_of_ones_own_has_all(executed: Any) -> None:
    table = executed("own_table").TABLE
    assert table.keys() == PROBLEMS.keys()
    assert all(one.type.startswith("https://shop.example/") for one in table.values())


def test_the_table_is_that_of_the_package() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\S+)` \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    told = {
        name: (int(status), kind) for status, kind, names, _ in rows for name in re.findall(r"`(\w+)`", names)
    }
    assert told == {kind.__name__: (one.status, one.type) for kind, one in PROBLEMS.items()}
    waits = {kind: re.findall(r"(\d+) s$", what) for _, kind, _, what in rows}
    assert waits == {one.type: [f"{one.retry:.0f}"] if one.retry else [] for one in PROBLEMS.values()}
