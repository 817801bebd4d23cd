"""The services among the examples, as processes, while Limio misbehaves: what their callers hear."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator

from limio_async.emulator import World
from limio_async.testing import served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc says which workers there are")

ROOT = Path(__file__).parents[2]
OFFERS = "/offers?tag=/tags/uk/default"
READ = 2.0
UVICORN = ("-m", "uvicorn", "--factory", "shop:make_app", "--workers", "2", "--no-access-log")
NOISE = re.compile(r"Traceback|ResourceWarning|never awaited|Unclosed|Task was destroyed")
UVICORNS_OWN = re.compile(
    r"^(?:sys:1|<sys>:0): ResourceWarning: unclosed <socket.socket fd=\d+, family=1,.*\n.*tracemalloc.*\n",
    re.MULTILINE,
)
"""The socket that it was given, which its supervisor leaves open, as Python says it up to 3.12, and since."""


class Answer:
    """What a caller hears."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Any, took: float) -> None:
        self.status, self.headers, self.body, self.took = status, headers, body, took

    @property
    def problem(self) -> tuple[int, str]:
        return self.status, self.body["type"]


class Service:
    """A service in two processes. Every answer of one that describes itself is held against its description."""

    def __init__(self, url: str, log: Path, *processes: subprocess.Popen[bytes], described: bool) -> None:
        self.url, self.log, self.processes, self.described = url, log, processes, described
        self.spec: dict[str, Any] = {}

    async def call(self, method: str, path: str, json: Any = None) -> Answer:
        """Call it on a connection of its own, so that either process may answer."""
        begun = time.monotonic()
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
            session.request(method, self.url + path, json=json) as got,
        ):
            body = await got.json(content_type=None)
            answer = Answer(got.status, got.headers, body, time.monotonic() - begun)
        if self.described and path not in {"/ready", "/health", "/openapi.json"}:
            if not self.spec:
                self.spec = (await self.get("/openapi.json")).body
            conforms(self.spec, method, path, answer)
        return answer

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def knows(self, offers: int, processes: int = 2) -> None:
        """Wait until so many processes have logged that they have *offers*."""
        line = re.compile(rf"^(\d+) INFO \w+: {offers} offers of commit", re.MULTILINE)
        await until(lambda: len({*line.findall(self.log.read_text(encoding="utf-8"))}) >= processes)

    def stop(self) -> None:
        for one in self.processes:
            one.send_signal(signal.SIGTERM)

    def ends(self) -> None:
        """Wait until all of it has ended, which it does well and without complaints."""
        assert [one.wait(20) for one in self.processes] == [0 for _ in self.processes]
        log = UVICORNS_OWN.sub("", self.log.read_text(encoding="utf-8"))
        assert not NOISE.search(log), log


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if true():
                return
            await asyncio.sleep(0.01)


def conforms(spec: Mapping[str, Any], method: str, path: str, answer: Answer) -> None:
    """Fail unless the description says that *answer* may come."""
    templates = [
        template
        for template, operations in spec["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0])
        and method.lower() in operations
    ]
    responses = spec["paths"][templates[0]][method.lower()]["responses"]
    said = responses.get(str(answer.status)) or responses["default"]
    schema = said["content"][answer.headers["Content-Type"]]["schema"]
    Draft202012Validator({**schema, "components": spec["components"]}).validate(answer.body)


@pytest.fixture(scope="module")
def tenant() -> Iterator[tuple[World, str]]:
    world = World(offers=60, subscriptions=20)
    with served(world) as url:
        yield world, url


@pytest.fixture
def world(tenant: tuple[World, str]) -> World:
    tenant[0].be_kind()
    return tenant[0]


def environ(tenant: tuple[World, str], **own: str) -> dict[str, str]:
    world, url = tenant
    others = {name: value for name, value in os.environ.items() if not name.startswith("LIMIO_")}
    times = {"REFRESH_SECONDS": "0.3", "READ_SECONDS": str(READ), "ORDER_SECONDS": "5"}
    warned = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always::ResourceWarning"}
    return {**others, **world.environ(url), **times, **warned, **own}


@contextmanager
def process(
    log: Path, *args: str, env: Mapping[str, str], pass_fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("ab") as file,
        subprocess.Popen(
            [sys.executable, *args], stdout=file, stderr=file, env=env, pass_fds=pass_fds
        ) as one,
    ):
        try:
            yield one
        finally:
            if one.poll() is None:
                for pid in (one.pid, *workers(one)):
                    os.kill(pid, signal.SIGKILL)


def workers(supervisor: subprocess.Popen[bytes]) -> list[int]:
    """Of the processes that uvicorn has started, those that serve."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text(encoding="ascii")
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()}
    return [pid for pid, command in commands.items() if b"spawn_main" in command]


@contextmanager
def shop(tenant: tuple[World, str], log: Path, **own: str) -> Iterator[Service]:
    """The FastAPI service under uvicorn. Its socket listens before it starts: no call comes too early."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd, port = listening.fileno(), listening.getsockname()[1]
        args = (*UVICORN, "--app-dir", str(ROOT / "examples/fastapi"), "--fd", str(fd))
        with process(log, *args, env=environ(tenant, **own), pass_fds=(fd,)) as uvicorn:
            listening.close()
            yield Service(f"http://127.0.0.1:{port}", log, uvicorn, described=True)


@pytest.fixture(scope="module")
def running(tenant: tuple[World, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with shop(tenant, tmp_path_factory.mktemp("shop") / "log") as service:
        yield service
        service.stop()
        service.ends()


@pytest.fixture
async def service(running: Service, world: World) -> Service:
    """The shop, with all its offers, and a Limio that behaves."""
    await running.knows(offers=60)
    return running


@pytest.fixture
def subscription(world: World) -> str:
    return f"/subscriptions/{next(world.ids('subscriptions'))}"


@pytest.fixture
async def order(service: Service) -> dict[str, Any]:
    offer = (await service.get(OFFERS)).body[0]
    return {
        "orderItems": [{"offer": {"id": offer["id"], "version": offer["version"]}}],
        "customerDetails": {"firstName": "Ada", "email": "ada@example.com"},
        "country": "GB",
    }


@pytest.mark.parametrize("fault", ["status", "reset", "lose_answer", "truncate_body"])
async def test_what_fails_once_is_not_noticed(
    service: Service, world: World, subscription: str, fault: str
) -> None:
    getattr(world.faults.on("getObject", times=1), fault)(*([503] if fault == "status" else ()))
    assert (await service.get(subscription)).status == 200
    assert len(world.faults.hits) == 1


async def test_a_limio_that_fails_is_not_the_callers_fault(
    service: Service, world: World, subscription: str
) -> None:
    world.faults.on("getObject").status(500)
    failed = await service.get(subscription)
    assert (failed.problem, failed.body["retryable"]) == ((502, "upstream-failed"), True)


async def test_a_limio_that_hangs_costs_a_deadline(service: Service, world: World, subscription: str) -> None:
    world.faults.on("getObject").delay(60)
    late = await service.get(subscription)
    assert late.problem == (504, "deadline")
    assert READ <= late.took < 2 * READ
    assert (await service.get(OFFERS)).took < READ


async def test_offers_are_served_through_an_outage(service: Service, world: World, subscription: str) -> None:
    before = (await service.get(OFFERS)).body
    world.faults.on("*").reset()
    asked = world.count()
    await until(lambda: world.count() >= asked + 4)  # both workers have asked for the catalog, and again
    for _ in range(4):
        assert (await service.get(OFFERS)).body == before
        assert (await service.get("/ready")).status == 200
    assert (await service.get(subscription)).status in {502, 503, 504}


async def test_a_new_catalog_is_seen_without_a_restart(service: Service, world: World) -> None:
    added = world.add_offers(1)
    world.rebuild_index()
    await service.knows(offers=61)
    for _ in range(4):
        assert (await service.get(f"/offers/{added[0]}")).status == 200


async def test_what_the_shop_may_not_do_is_not_the_callers_fault(
    service: Service, world: World, subscription: str
) -> None:
    world.faults.on("getObject").status(401)
    assert (await service.get(subscription)).problem == (502, "service-credentials")


@pytest.mark.parametrize("fault", ["lose_answer", "status"])
async def test_an_order_that_may_have_been_made_is_not_made_again(
    service: Service, world: World, order: dict[str, Any], fault: str
) -> None:
    sent = world.count("submitOrder")
    getattr(world.faults.on("submitOrder"), fault)(*([429] if fault == "status" else ()))
    doubtful = await service.call("POST", "/orders", order)
    assert (doubtful.problem, doubtful.body["retryable"]) == ((502, "unknown-outcome"), False)
    assert "Retry-After" not in doubtful.headers
    assert world.count("submitOrder") == sent + 1


async def test_what_callers_get_wrong_is_said_without_a_call(
    service: Service, world: World, order: dict[str, Any]
) -> None:
    sent = world.count("submitOrder")
    assert (await service.call("POST", "/orders", {**order, "country": 44})).status == 422
    assert (await service.get("/offers")).status == 422
    assert (await service.get("/offers/none")).status == 404
    assert (await service.get("/subscriptions/none")).problem == (404, "not-found")
    assert world.count("submitOrder") == sent


async def test_a_pause_that_limio_asks_for_is_handed_on(
    service: Service, world: World, subscription: str
) -> None:
    # the last one for this service: one of its processes keeps quiet for three seconds
    world.faults.on("getObject").status(429, retry_after=3)
    paused = await service.get(subscription)
    assert (paused.problem, paused.headers["Retry-After"]) == ((503, "pause"), "3")
    assert paused.took < 2 * READ


async def test_a_shop_begins_without_limio_outlives_a_worker_and_ends_with_what_it_was_asked(
    tenant: tuple[World, str], world: World, subscription: str, tmp_path: Path
) -> None:
    world.faults.on("*").status(503)
    with shop(tenant, tmp_path / "log", READ_SECONDS="20") as service:
        assert (await service.get("/health")).status == 200
        assert (await service.get("/ready")).status == 503
        assert (await service.get(OFFERS)).status == 503
        world.faults.clear()
        world.faults.on("*").status(401)  # its credentials were revoked
        assert (await service.get(subscription)).problem == (502, "service-credentials")
        world.be_kind()
        count = sum(1 for _ in world.ids("offers"))
        await service.knows(count)
        assert (await service.get("/ready")).status == 200
        os.kill(workers(service.processes[0])[0], signal.SIGKILL)
        await service.knows(count, processes=3)
        world.faults.on("getObject").delay(0.5)
        asked = world.count("getObject")
        async with asyncio.TaskGroup() as callers:
            calls = [callers.create_task(service.get(subscription)) for _ in range(8)]
            await until(lambda: world.count("getObject") >= asked + 8)
            service.stop()
        assert {call.result().status for call in calls} == {200}
        service.ends()


# --- aiohttp


@contextmanager
def account(tenant: tuple[World, str], folder: Path) -> Iterator[Service]:
    """The aiohttp service, twice at one port, and what sends its orders."""
    log, database = folder / "log", f"sqlite:///{folder}/account.db"
    with socket.socket() as reserved, ExitStack() as stack:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))  # and does not listen: no call comes here
        port = reserved.getsockname()[1]
        env = environ(
            tenant, PORT=str(port), READ_SECONDS="20", REUSE_PORT="1", PYTHONUNBUFFERED="1", DATABASE=database
        )
        service = str(ROOT / "examples/aiohttp/account.py")
        one, other = (stack.enter_context(process(log, service, env=env)) for _ in range(2))
        yield Service(f"http://127.0.0.1:{port}", log, one, other, described=False)


async def test_accounts_are_served_by_two_processes_and_cancelled_once_though_limio_is_away(
    tenant: tuple[World, str], world: World, subscription: str, tmp_path: Path
) -> None:
    count = sum(1 for _ in world.ids("offers"))
    with account(tenant, tmp_path) as service:
        await service.knows(count)
        await until(lambda: service.log.read_text(encoding="utf-8").count("Running on") == 2)
        offers = (await service.get(OFFERS)).body
        world.faults.on("*").reset()
        assert (await service.get(OFFERS)).body == offers
        for _ in range(4):
            assert (await service.call("POST", f"{subscription}/cancel")).status == 202
        world.be_kind()
        sent = world.count("submitOrder")
        sender = ("-m", "limio_async.cli", "outbox", "run", "--until-idle")
        env = environ(tenant, LIMIO_OUTBOX=f"sqlite:///{tmp_path}/account.db")
        with process(tmp_path / "sender", *sender, env=env) as sending:
            assert await asyncio.to_thread(sending.wait, 20) == 0
        assert (await service.get(f"{subscription}/cancel")).body["state"] == "accepted"
        assert world.count("submitOrder") == sent + 1
        world.faults.on("getObject").delay(0.5)
        asked = world.count("getObject")
        async with asyncio.TaskGroup() as callers:
            calls = [callers.create_task(service.get(subscription)) for _ in range(8)]
            await until(lambda: world.count("getObject") >= asked + 8)
            service.stop()
        assert {call.result().status for call in calls} == {200}
        service.ends()
