"""What docs/webhooks.md shows runs as it stands there; what it lists is what there is."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp.test_utils import TestServer

from limio_async import Limio
from limio_async.cli.inbox import command as inbox_command
from limio_async.emulator import World
from limio_async.emulator.http.apps import Courier
from limio_async.testing import served
from tests.cli.conftest import Run

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PYTHON = {text.partition("\n")[0].removeprefix("# "): text for kind, text in BLOCKS if kind == "python"}
SHOWN = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
SIGNED = {"Authorization": "Basic " + base64.b64encode(b"limio:secret").decode()}
BODY = {"id": "order-1", "record_type": "order"}


@pytest.fixture
def tenant(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """What the environment points at."""
    with served(world) as url:
        for name, value in world.environ(url).items():
            monkeypatch.setenv(name, value)
        yield world


def executed(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "docs"}
    exec(compile(PYTHON[name], "webhooks.md", "exec"), names)  # noqa: S102
    return names


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_example_is_run_here() -> None:
    assert set(PYTHON) == {"hooks", "asgi", "aiohttp", "order"}


def test_the_commands_are_those_there_are() -> None:
    told = " ".join(re.findall(r"^\| (`limio inbox .*?) \|", section("Commands"), re.MULTILINE))
    named = {words.removeprefix("limio inbox ").split()[0] for words in re.findall(r"`([^`]+)`", told)}
    assert named == {*inbox_command.commands}
    flags = {flag for one in inbox_command.commands.values() for param in one.params for flag in param.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= flags


def test_the_first_example_handles_an_event(
    tenant: World, limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def order() -> dict[str, Any]:
        async with Limio.from_env() as client:
            made = await client.orders.submit(
                {"order_type": "data_capture", "process_immediately": True, "data": {"a": 1}}
            )
            assert made.id is not None
            return {"id": made.id, "record_type": "order"}

    Path("hooks.py").write_text(PYTHON["hooks"])
    with closing(sqlite3.connect("shop.db")) as db, db:
        db.execute("CREATE TABLE seen (id text, status text)")
    inbox, body = executed("hooks")["inbox"], asyncio.run(order())

    async def deliver() -> None:
        async with inbox:
            await inbox.receive("order_submitted", json.dumps(body).encode())

    asyncio.run(deliver())
    for line in SHOWN:
        name, *arguments = shlex.split(line)
        if name == "export":
            monkeypatch.setenv(*arguments[0].split("=", 1))
        else:
            done = limio(*arguments)
            assert done.exit_code == 0, done.stderr
    with closing(sqlite3.connect("shop.db")) as db:
        assert [one for (one,) in db.execute("SELECT id FROM seen")] == [body["id"]]


async def post(url: str) -> int:
    async with aiohttp.ClientSession(headers=SIGNED) as client, client.post(url, json=BODY) as answer:
        return answer.status


async def test_it_is_mounted_in_fastapi() -> None:
    names = executed("asgi")
    server = uvicorn.Server(uvicorn.Config(names["app"], port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    assert await post(f"http://127.0.0.1:{port}/hooks/order_submitted") == 202
    (event,) = await names["inbox"].list()
    assert event.type == "order_submitted"
    server.should_exit = True
    await serving


async def test_it_is_routed_in_aiohttp() -> None:
    server = TestServer(await executed("aiohttp")["application"]())
    async with server:
        assert await post(str(server.make_url("/hooks/order_submitted/"))) == 202


async def test_an_event_leads_to_an_order_that_limio_takes(tenant: World) -> None:
    names = executed("order")
    inbox, outbox, webhooks = names["inbox"], names["outbox"], Courier(tenant)
    webhooks.to(inbox.receiver(("limio", "secret")), types=["order_submitted"], auth=("limio", "secret"))
    async with Limio.from_env() as limio, inbox:
        subscription = (await limio.subscriptions.list(page_size=1)).items[0]
        await limio.orders.submit({"order_type": "cancel_intent", "subscriptionId": subscription.id})
        while await webhooks.deliver():
            await inbox.run(limio, until_idle=True)
            await outbox.run(limio, until_idle=True)
        (outcome,) = await outbox.list()
        assert (outcome.key, outcome.state) == (f"cancel-{subscription.id}", "accepted")
