"""Webhooks on their way: over HTTP by a server, and in memory to an application."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from limio_async.emulator import World
from limio_async.emulator.http import courier
from limio_async.emulator.http.apps import Courier
from limio_async.emulator.server import serve

BASIC = f"Basic {b64encode(b'me:pass').decode()}"


class Receiver:
    """Notes what came; answers with *status* after *wait* seconds."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.wait = 202, 0.0

    async def take(self, request: web.Request) -> web.Response:
        self.came.append((request.match_info["type"], json.loads(await request.read())))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        await asyncio.sleep(self.wait)
        return web.Response(status=self.status, headers={"location": "/elsewhere"})

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        assert (scope["type"], scope["method"]) == ("http", "POST")
        message = await receive()
        self.came.append((scope["path"].rpartition("/")[2], json.loads(message["body"])))
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await asyncio.sleep(self.wait)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hooks/{type}", receiver.take)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}/hooks/{{type}}"


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what a server does in its own time
            await asyncio.sleep(0.01)


def ring(world: World, *numbers: int) -> None:
    for number in numbers:
        world.webhooks.ring("order_submitted", {"id": f"order-{number}"})


def ids(receiver: Receiver) -> list[str]:
    return [body["id"] for _, body in receiver.came]


async def test_a_server_sends_in_order_what_the_world_rings(
    world: World, receiver: Receiver, url: str
) -> None:
    world.webhooks.to(url.replace("//", "//me:pass@"))
    async with serve(world, port=0, webhooks=True):
        ring(world, *range(20))
        await until(lambda: len(world.webhooks.sent()) == 20)
    assert ids(receiver) == [f"order-{number}" for number in range(20)]
    assert {one.said for one in world.webhooks.sent()} == {"answered 202"}
    headers = receiver.headers[0]
    assert (headers["authorization"], headers["content-type"]) == (BASIC, "application/json")
    assert headers.keys() <= {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
    }


async def test_a_server_that_was_not_told_so_sends_nothing(
    world: World, receiver: Receiver, url: str
) -> None:
    world.webhooks.to(url)
    async with serve(world, port=0):
        ring(world, 1)
        await asyncio.sleep(0.1)
    assert receiver.came == []


async def test_in_real_time_late_ones_and_repeats_come_without_any_request(
    world: World, receiver: Receiver, url: str
) -> None:
    receiver.status = 500
    world.webhooks.to(url)
    world.webhooks.late(0.1)
    world.webhooks.retry(1, wait=0.1)
    async with serve(world, port=0, webhooks=True, real_time=True):
        ring(world, 1)
        await until(lambda: len(world.webhooks.sent()) == 2)
    assert ids(receiver) == ["order-1", "order-1"]


async def test_no_answer_in_time_no_receiver_and_a_redirect_are_failures(
    world: World, receiver: Receiver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "TIME_LIMIT", 0.1)
    world.webhooks.to("http://127.0.0.1:9/{type}")
    world.webhooks.to(url)
    async with serve(world, port=0, webhooks=True):
        receiver.wait = 1.0
        ring(world, 1)
        await until(lambda: len(world.webhooks.sent()) == 2)
        receiver.wait, receiver.status = 0.0, 302
        ring(world, 2)
        await until(lambda: len(world.webhooks.sent()) == 4)
    assert sorted(one.said for one in world.webhooks.sent()) == [
        "answered 302",
        "no answer in 2 s",
        "not reached",
        "not reached",
    ]
    assert not any(one.taken for one in world.webhooks.sent())
    assert ids(receiver) == ["order-1", "order-2"]


async def test_a_slow_receiver_holds_up_no_other(world: World, receiver: Receiver, url: str) -> None:
    slow = Receiver()
    slow.wait = 1.5
    app = web.Application()
    app.router.add_post("/hooks/{type}", slow.take)
    async with TestServer(app) as server:
        world.webhooks.to(f"http://127.0.0.1:{server.port}/hooks/{{type}}")
        world.webhooks.to(url)
        async with serve(world, port=0, webhooks=True):
            ring(world, *range(5))
            await until(lambda: len(receiver.came) == 5)
        assert len(slow.came) == 1


@pytest.mark.parametrize("way", ["asgi", "take"])
async def test_an_application_in_memory_gets_what_is_due(world: World, receiver: Receiver, way: str) -> None:
    to = Courier(world)
    to.to(getattr(receiver, way), auth=("me", "pass"))
    ring(world, 1, 2)
    world.webhooks.ring("address_added", {"id": "address-1", "name": "é"})
    done = await to.deliver()
    assert receiver.came == [
        ("order_submitted", {"id": "order-1"}),
        ("order_submitted", {"id": "order-2"}),
        ("address_added", {"id": "address-1", "name": "é"}),
    ]
    assert [(one.type, one.status, one.taken) for one in done] == [
        ("order_submitted", 202, True),
        ("order_submitted", 202, True),
        ("address_added", 202, True),
    ]
    assert receiver.headers[0]["authorization"] == BASIC
    assert await to.deliver() == []


async def test_what_an_application_makes_happen_is_delivered_as_well(world: World) -> None:
    to, came = Courier(world), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.loads((await receive())["body"])
        came.append(body["id"])
        if len(came) < 3:
            ring(world, len(came) + 1)
        await send({"type": "http.response.start", "status": 204, "headers": []})

    to.to(app)
    ring(world, 1)
    await to.deliver()
    assert came == ["order-1", "order-2", "order-3"]


async def test_an_exception_is_raised_once_all_are_sent(world: World) -> None:
    to, came = Courier(world), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        came.append(await receive())
        raise LookupError("the application is broken")

    to.to(app)
    ring(world, 1, 2)
    with pytest.raises(LookupError, match="broken"):
        await to.deliver()
    assert len(came) == 2
    assert [one.status for one in world.webhooks.sent()] == [500, 500]


async def test_a_handler_that_refuses_with_an_exception_has_its_status(world: World) -> None:
    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPUnauthorized

    to = Courier(world)
    to.to(refuse)
    ring(world, 1)
    assert [one.status for one in await to.deliver()] == [401]


async def test_an_application_that_takes_too_long_is_not_waited_for(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limio_async.emulator.http import apps

    monkeypatch.setattr(apps, "TIME_LIMIT", 0.05)
    receiver.wait = 5
    to = Courier(world)
    to.to(receiver.asgi)
    ring(world, 1)
    [done] = await to.deliver()
    assert (done.status, done.said) == (None, "no answer in 2 s")


async def test_a_url_is_posted_to(world: World, receiver: Receiver, url: str) -> None:
    to = Courier(world)
    to.to(url, types=["order_submitted"])
    ring(world, 1)
    world.webhooks.ring("address_added", {})
    assert [one.status for one in await to.deliver()] == [202]
    assert ids(receiver) == ["order-1"]


@pytest.mark.parametrize(
    "wrong", [web.Application(), lambda one, other: None], ids=["application", "function"]
)
def test_what_takes_no_webhooks_is_refused_in_words(world: World, wrong: Any) -> None:
    with pytest.raises(TypeError, match="an aiohttp Application has to be served"):
        Courier(world).to(wrong)
    assert world.webhooks.receivers == {}
