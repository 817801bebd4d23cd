"""The pytest plugin in a user's own project, whichever plugin runs its coroutines."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import ROOT, Project

SCOPE = 'asyncio_default_fixture_loop_scope = "function"'
MARKS = {
    "auto": ("asyncio", f'{SCOPE}\nasyncio_mode = "auto"', ""),
    "strict": ("asyncio", f'{SCOPE}\nasyncio_mode = "strict"', "@pytest.mark.asyncio"),
    "anyio": ("anyio", "", "@pytest.mark.anyio"),
}

TESTS = """
import asyncio
import urllib.request
import pytest
from limio_async import Limio, errors

@pytest.fixture
def anyio_backend():
    return "asyncio"

{mark}
async def test_a_client_and_its_world(limio, limio_world):
    limio_world.faults.on("listOffers", page=2).expire_scroll()
    listing = limio.offers.list(page_size=50)
    assert len([offer async for offer in listing]) == limio_world.offers == 200
    assert listing.report.restarts == 1
    assert len(limio_world.requests("listOffers")) > 5
    with pytest.raises(errors.NotFound):
        await limio.subscriptions.get("sub-unknown")

{mark}
async def test_a_walk_that_is_left_in_the_middle_leaves_nothing(limio):
    async for offer in limio.offers.list(page_size=10):
        break

{mark}
async def test_time_passes_when_it_is_told_to(limio, limio_world):
    await limio.subscriptions.list().first()
    limio_world.advance(hours=2)
    await limio.subscriptions.list().first()
    assert limio_world.tokens_issued == 2

{mark}
async def test_over_http_the_same_world_is_met(limio, limio_server, limio_world):
    async with Limio.from_env(limio_world.environ(limio_server)) as client:
        there = await client.offers.list().first()
    assert there.id == (await limio.offers.list().first()).id
    assert limio_world.count("listOffers") == 2

{mark}
async def test_webhooks_come_to_an_application_in_memory(limio, limio_world, limio_webhooks):
    came = []
    async def app(scope, receive, send):
        came.append((scope["path"], (await receive())["body"]))
        await send({{"type": "http.response.start", "status": 202, "headers": []}})
    limio_webhooks.to(app)
    subscription = next(limio_world.ids("subscriptions"))
    await limio.orders.submit({{"order_type": "renew", "subscriptionId": subscription}})
    [sent] = await limio_webhooks.deliver()
    assert came == [("/hooks/order_submitted", sent.body)]
    assert sent.status == 202

@pytest.mark.limio_world(envelope="documented")
@pytest.mark.limio_world(offers=3)
def test_a_mark_sets_what_the_world_is_like(limio_world):
    assert (limio_world.envelope, limio_world.offers, limio_world.subscriptions) == ("documented", 3, 100)

def test_plain_code_has_a_server_as_well(limio_server, limio_world):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{{limio_server}}/api/offers")
    assert limio_world.requests()[0].status == 401

class TestOverridden:
    @pytest.fixture
    def limio_world(self):
        from limio_async.emulator import World
        return World(offers=3)

    def test_a_world_of_ones_own(self, limio, limio_world):
        assert asyncio.run(limio.offers.list().collect(limit=9)).__len__() == 3
"""


@pytest.mark.parametrize("mode", MARKS)
def test_a_users_tests_run(project: Project, mode: str) -> None:
    plugin, ini, mark = MARKS[mode]
    other = {"asyncio": "anyio", "anyio": "asyncio"}[plugin]
    result = project({"test_shop.py": TESTS.format(mark=mark)}, ini, "-p", f"no:{other}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "8 passed" in result.stdout


def test_the_plugin_can_be_switched_off(project: Project) -> None:
    result = project(
        {"test_shop.py": "def test_it(limio_world): ..."}, "", "-p", "no:limio_async", "-p", "no:asyncio"
    )
    assert result.returncode == 1
    assert "fixture 'limio_world' not found" in result.stdout


def test_loading_the_plugin_loads_nothing_heavy(project: Project) -> None:
    tests = """
import sys

def test_it():
    assert "limio_async.testing" in sys.modules
    assert not {"aiohttp", "msgspec", "limio_async.client", "limio_async.emulator"} & set(sys.modules)
"""
    result = project({"test_shop.py": tests}, "", "-p", "no:asyncio", "-p", "no:anyio")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_gives_its_names_and_no_others() -> None:
    code = """
import limio_async
assert all(hasattr(limio_async, name) for name in limio_async.__all__)
assert limio_async.models is __import__("limio_async.api.models", fromlist=["x"])
assert {"Limio", "errors"} <= set(dir(limio_async))
try:
    limio_async.Limo
except AttributeError as error:
    assert str(error) == "module 'limio_async' has no attribute 'Limo'"
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
