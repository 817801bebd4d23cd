"""The service against an emulator in memory: what its callers get, and what Limio got."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from account import OUTBOX, make_app
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from limio_async import Limio
from limio_async.emulator import World

Browser = TestClient[web.Request, web.Application]
TAG = "/tags/uk/default"


@pytest.fixture
async def app(limio: Limio, tmp_path: Path) -> web.Application:
    return make_app(lambda: limio, database=f"sqlite:///{tmp_path}/account.db")


@pytest.fixture
async def account(app: web.Application) -> AsyncIterator[Browser]:
    async with TestClient(TestServer(app)) as account:
        yield account


@pytest.fixture
async def offers(account: Browser) -> list[dict[str, Any]]:
    while (await account.get("/ready")).status != 200:
        pass  # each request lets the catalog load on
    return list(await (await account.get("/offers", params={"tag": TAG})).json())


@pytest.fixture
def subscription(limio_world: World) -> str:
    return next(limio_world.ids("subscriptions"))


def cancellations(world: World) -> int:
    return sum(b'"cancel_subscription"' in (one.body or b"") for one in world.requests("submitOrder"))


async def test_offers_of_a_tag_have_their_prices(offers: list[dict[str, Any]]) -> None:
    assert len(offers) == 30
    assert offers[0]["prices"] == [{"amount": "1.99", "currency": "GBP"}] * 2


async def test_offers_cost_no_call_of_limio(
    account: Browser, offers: list[dict[str, Any]], limio_world: World
) -> None:
    before = limio_world.count()
    for one in offers:
        assert await (await account.get(f"/offers/{one['id']}")).json() == one
    assert limio_world.count() == before


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [("/offers/none", 404, "There is no such offer"), ("/offers", 422, "Name a tag"), ("/none", 404, "")],
)
async def test_what_cannot_be_answered_is_a_problem(
    account: Browser, offers: list[dict[str, Any]], path: str, status: int, detail: str
) -> None:
    refused = await account.get(path)
    assert (refused.status, refused.content_type) == (status, "application/problem+json")
    assert detail in (await refused.json())["detail"]


async def test_without_a_catalog_nobody_is_sent_here(limio_world: World, app: web.Application) -> None:
    limio_world.faults.on("listOffers").never_sent()
    async with TestClient(TestServer(app)) as account:
        refused = await account.get("/offers", params={"tag": TAG})
        assert (refused.status, (await refused.json())["retryable"]) == (503, True)
        assert (await account.get("/ready")).status == 503
        assert (await account.get("/health")).status == 200


async def test_a_subscription_is_asked_for_each_time(
    account: Browser, subscription: str, limio_world: World
) -> None:
    assert (await (await account.get(f"/subscriptions/{subscription}")).json())["status"] == "active"
    limio_world.faults.on("getObject").status(403)
    refused = await account.get(f"/subscriptions/{subscription}")
    assert (refused.status, (await refused.json())["type"]) == (502, "service-credentials")


async def test_whoever_cancels_twice_is_let_go_once(
    app: web.Application, account: Browser, subscription: str, limio: Limio, limio_world: World
) -> None:
    for _ in range(2):
        taken = await account.post(f"/subscriptions/{subscription}/cancel")
        assert (taken.status, await taken.json()) == (202, {"state": "intended"})
    await app[OUTBOX].run(limio, until_idle=True)
    told = await (await account.get(f"/subscriptions/{subscription}/cancel")).json()
    assert (told["state"], len(told["orders"]), cancellations(limio_world)) == ("accepted", 1, 1)


async def test_of_others_there_is_no_cancellation(account: Browser, subscription: str) -> None:
    assert (await account.get(f"/subscriptions/{subscription}/cancel")).status == 404


async def test_what_the_service_itself_refuses_has_the_same_form(account: Browser) -> None:
    refused = await account.put("/offers")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD")
    assert refused.content_type == "application/problem+json"
    assert (await refused.json(content_type=None))["status"] == 405
