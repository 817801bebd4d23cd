"""What the README shows runs as it stands there, against an emulator."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from limio_async import Limio, errors
from limio_async.emulator import World, reply
from limio_async.emulator.http.apps import Courier
from limio_async.emulator.server import serve
from limio_async.outbox import Outbox

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
WEB_SERVICE, SYNC_JOB, WORKER, ORDERS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def executed(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102
    return names


def point_at(monkeypatch: pytest.MonkeyPatch, url: str, world: World) -> None:
    monkeypatch.setenv("LIMIO_HOST", url)
    monkeypatch.setenv("LIMIO_CLIENT_ID", world.client_id)
    monkeypatch.setenv("LIMIO_CLIENT_SECRET", world.client_secret)


async def test_the_web_service(monkeypatch: pytest.MonkeyPatch, world: World, limio: Limio) -> None:
    known = await limio.subscriptions.list().first()
    assert known is not None
    app: web.Application = executed(WEB_SERVICE)["app"]
    async with serve(world, port=0) as url, ClientSession() as browser:
        point_at(monkeypatch, url, world)
        async with TestServer(app) as server:
            async with browser.get(server.make_url(f"/subscriptions/{known.id}")) as answer:
                assert await answer.json() == {"id": known.id, "status": known.status}
            async with browser.get(server.make_url("/subscriptions/sub-unknown")) as answer:
                assert answer.status == 404


async def test_the_sync_job_begins_anew_and_goes_on_after_a_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stored: list[Any] = []
    monkeypatch.chdir(tmp_path)
    names = executed(SYNC_JOB)
    main, names["store"] = names["main"], stored.extend
    async with serve(world, port=0) as url:
        point_at(monkeypatch, url, world)
        await main()
        await main()
        assert len(stored) == 2 * world.subscriptions
        stored.clear()
        world.script("listObjects", None, None, reply({}, 403))
        with pytest.raises(errors.Forbidden):
            await main()
        await main()
    assert len((tmp_path / "offers.ndjson").read_bytes().splitlines()) == world.offers
    assert len({one.id for one in stored}) == len(stored) == world.subscriptions
    assert "Report(operation='listObjects'" in capsys.readouterr().out


async def test_the_worker_orders_once_though_each_webhook_comes_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limio: Limio, world: World
) -> None:
    assert len(WORKER.splitlines()) <= 25
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOKS_PASSWORD", "secret")
    with closing(sqlite3.connect("shop.db")) as database, database:
        database.execute("CREATE TABLE leavers (subscription TEXT PRIMARY KEY)")
    names, webhooks = executed(WORKER), Courier(world)
    webhooks.to(names["receiver"], types=["order_submitted"], auth=("limio", "secret"))
    world.webhooks.duplicate(1)
    known = await limio.subscriptions.list().first()
    assert known is not None
    intent = {"order_type": "cancel_intent", "subscriptionId": known.id, "process_immediately": True}
    async with names["inbox"]:
        for _ in range(2):  # each leads to webhooks of its own
            await limio.orders.submit(intent)
            while sent := await webhooks.deliver():
                assert {one.status for one in sent} == {202}
                await names["inbox"].run(limio, until_idle=True)
                await names["outbox"].run(limio, until_idle=True)
        (outcome,) = await names["outbox"].list()
        assert (outcome.key, outcome.state) == (f"cancel-{known.id}", "accepted")
        assert {event.state for event in await names["inbox"].list()} == {"done"}
    assert world.count("submitOrder") == 3
    with closing(sqlite3.connect("shop.db")) as database:
        assert database.execute("SELECT * FROM leavers").fetchall() == [(known.id,)]


async def test_the_web_handler_orders_once_and_with_its_own_transaction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limio: Limio, world: World
) -> None:
    monkeypatch.chdir(tmp_path)
    known = await limio.subscriptions.list().first()
    assert known is not None
    with closing(sqlite3.connect("shop.db")) as database, database:
        database.execute("CREATE TABLE leavers (subscription TEXT)")
    app: web.Application = executed(ORDERS)["app"]
    async with TestServer(app) as server, ClientSession() as browser:
        for _ in range(2):
            async with browser.post(server.make_url(f"/subscriptions/{known.id}/cancel")) as answer:
                assert (answer.status, await answer.json()) == (202, {"key": f"cancel-{known.id}"})
        with closing(sqlite3.connect("shop.db")) as database:
            database.execute(
                "CREATE TRIGGER odd AFTER INSERT ON _limio_outbox BEGIN SELECT RAISE(FAIL, 'no'); END"
            )
            async with browser.post(server.make_url("/subscriptions/sub-0/cancel")) as answer:
                assert answer.status == 500
            assert database.execute("SELECT * FROM leavers").fetchall() == [(known.id,)] * 2
        [command] = {*re.findall(r"^\$ limio outbox run --outbox (.*)$", README, re.MULTILINE)}
        async with Outbox(*shlex.split(command)) as outbox:
            assert [one.key for one in await outbox.list()] == [f"cancel-{known.id}"]
            await outbox.run(limio, until_idle=True)
        async with browser.get(server.make_url(f"/orders/cancel-{known.id}")) as answer:
            told = await answer.json()
        async with browser.get(server.make_url("/orders/cancel-sub-0")) as answer:
            assert answer.status == 404
    assert told["state"] == "accepted"
    assert (world.count("submitOrder"), len(told["orders"])) == (1, 1)
