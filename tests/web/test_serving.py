"""What a service opens it closes, in order; what has begun is not answered twice; readiness, WebSockets, own lifespans."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from aiohttp import ClientSession, WSMsgType, web
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from limio_async import Limio, errors
from limio_async.emulator import InMemoryTransport, World
from limio_async.web import Problem, aiohttp, starlette
from tests.web.serving import MAKERS, Client, served

ROOT = Path(__file__).parents[2]
FRAMEWORKS = pytest.mark.parametrize("framework", sorted(MAKERS))
ORDER = {"order_type": "renew", "subscriptionId": "sub-1", "external_id": "renew-1"}


class Kept:
    """A cache that writes down what becomes of it."""

    def __init__(self, limio: Limio, name: str, diary: list[str], *, fails: bool = False) -> None:
        self.limio, self.name, self.diary, self.fails = limio, name, diary, fails
        self.usable, self.age = True, 1.5

    async def __aenter__(self) -> Kept:
        if self.fails:
            raise errors.StoreAway(f"{self.name} cannot be opened")
        self.diary.append(f"{self.name} opens")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.diary.append(
            f"{self.name} closes, the client is {'open' if self.limio.state().open else 'closed'}"
        )


OFFERS = starlette.Cached("offers", lambda limio: Kept(limio, "offers", []))
Offers = Annotated[Kept, Depends(OFFERS)]


@pytest.fixture
def world() -> World:
    return World(offers=20, subscriptions=20)


@pytest.fixture
def limio(world: World) -> Limio:
    transport = InMemoryTransport(world)
    return Limio.from_env(world.environ(transport.origin), transport=transport, attempts=1)


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


def cached(framework: str, name: str, diary: list[str], **how: Any) -> Any:
    kind: Any = starlette.Cached if framework == "fastapi" else aiohttp.Cached
    return kind(name, lambda limio: Kept(limio, name, diary, **how))


# ------------------------------------------------------------------ start and end


@FRAMEWORKS
async def test_caches_close_before_the_client_and_the_last_one_first(framework: str, limio: Limio) -> None:
    diary: list[str] = []
    caches = [cached(framework, one, diary) for one in ("offers", "pages")]
    async with served(MAKERS[framework](lambda: limio, {}, caches=caches)):
        assert diary == ["offers opens", "pages opens"]
        assert limio.state().open
    assert diary[2:] == ["pages closes, the client is open", "offers closes, the client is open"]
    assert not limio.state().open


@FRAMEWORKS
async def test_two_caches_of_one_name_are_refused_at_the_start(framework: str, limio: Limio) -> None:
    caches = [cached(framework, "offers", []) for _ in range(2)]
    app = MAKERS[framework](lambda: limio, {}, caches=caches)
    starting = app.router.lifespan_context(app) if framework == "fastapi" else served(app)
    with pytest.raises(errors.ConfigurationError, match="two caches have one name"):
        async with starting:
            pass
    assert not limio.state().open


@FRAMEWORKS
async def test_where_the_start_fails_what_was_open_is_closed(
    framework: str, limio: Limio, browser: ClientSession
) -> None:
    diary: list[str] = []
    caches = [cached(framework, "offers", diary), cached(framework, "pages", diary, fails=True)]
    app = MAKERS[framework](lambda: limio, {}, caches=caches)
    starting = app.router.lifespan_context(app) if framework == "fastapi" else served(app)
    with pytest.raises(errors.StoreAway, match="pages cannot be opened"):
        async with starting:
            pass
    assert diary == ["offers opens", "offers closes, the client is open"]
    assert not limio.state().open


@FRAMEWORKS
@pytest.mark.parametrize(("grace", "made"), [(5.0, "OrderResponse"), (0.05, "UnknownOutcome")])
async def test_a_call_that_is_under_way_at_the_end_has_its_grace(
    framework: str, grace: float, made: str, world: World, limio: Limio, browser: ClientSession
) -> None:
    outcomes: list[Any] = []
    order = {**ORDER, "subscriptionId": next(world.ids("subscriptions"))}
    world.faults.on("submitOrder").delay(0.5)

    async def leave(limio: Limio) -> None:  # as a caller does who hangs up
        made = asyncio.create_task(limio.finish(limio.orders.submit, order, on_outcome=outcomes.append))
        await asyncio.sleep(0.1)
        made.cancel()

    app = MAKERS[framework](lambda: limio, {"order": leave}, grace=grace)
    async with served(app) as url, browser.post(f"{url}/order") as answer:
        assert answer.status == 200
        assert outcomes == []
    assert [type(one).__name__ for one in outcomes] == [made]
    assert world.count("submitOrder") == 1
    assert not limio.state().open


APP = """
from limio_async import Limio
from limio_async.web import aiohttp, starlette
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from aiohttp import web

app = Starlette(lifespan=starlette.lifespan(Limio.from_env))

if __name__ == "__main__":
    served = web.Application()
    served.cleanup_ctx.append(aiohttp.cleanup_ctx(Limio.from_env))
    web.run_app(served, port=0)
"""


@pytest.mark.parametrize("command", [["-m", "uvicorn", "wrong:app", "--port", "0"], ["wrong.py"]])
def test_a_wrong_environment_ends_the_start_in_words(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "wrong.py").write_text(APP)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LIMIO_")}
    environ |= {"PYTHONPATH": f"{ROOT}:{tmp_path}", "LIMIO_CLIENT_SECRET": "s3cret-word"}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip
    assert done.returncode != 0
    assert "ConfigurationError: LIMIO_" in done.stderr
    assert "s3cret-word" not in done.stderr + done.stdout


# ------------------------------------------------------------------ readiness


@FRAMEWORKS
async def test_readiness_goes_by_client_and_caches_and_not_by_limio(
    framework: str, world: World, limio: Limio, browser: ClientSession
) -> None:
    diary: list[str] = []
    offers = Kept(limio, "offers", diary)
    kind: Any = starlette.Cached if framework == "fastapi" else aiohttp.Cached
    app = MAKERS[framework](lambda: limio, {"get": lambda limio: limio.subscriptions.get("sub-1")}, caches=[kind("offers", lambda _: offers)])  # fmt: skip
    world.faults.on("getObject").status(503, retry_after=30)

    async def asked(url: str) -> tuple[int, Any]:
        async with browser.get(f"{url}/ready") as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    async with served(app) as url:
        assert (await asked(url))[0] == 200
        await (await browser.get(f"{url}/get")).read()
        status, body = await asked(url)
        assert status == 200
        assert body["limio"]["pause"] > 20
        offers.usable = False
        status, body = await asked(url)
        assert (status, body["ready"], body["caches"]) == (
            503,
            False,
            {"offers": {"usable": False, "age": 1.5}},
        )
        offers.usable = True
        await limio.aclose()
        assert (await asked(url))[0] == 503
        async with browser.head(f"{url}/ready") as answer:
            assert (answer.status, await answer.read()) == (503, b"")


# ------------------------------------------------------------------ answers


@FRAMEWORKS
async def test_a_head_has_the_head_of_the_problem_and_no_body(
    framework: str, limio: Limio, browser: ClientSession
) -> None:
    app = MAKERS[framework](lambda: limio, {"get": lambda limio: limio.subscriptions.get("sub-unknown")})
    async with served(app) as url:
        async with browser.get(f"{url}/get") as answer:
            length = len(await answer.read())
        async with browser.head(f"{url}/get") as answer:
            assert (answer.status, await answer.read()) == (404, b"")
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Content-Length"]) == length


@FRAMEWORKS
async def test_a_table_of_ones_own_and_errors_of_the_framework(
    framework: str, limio: Limio, browser: ClientSession
) -> None:
    def gone(_: Limio) -> Any:
        raise HTTPException(410, "gone") if framework == "fastapi" else web.HTTPGone(text="gone")

    calls = {"get": lambda limio: limio.subscriptions.get("sub-unknown"), "gone": gone}
    table = {errors.NotFound: Problem(410, "/problems/gone", "Gone")}
    async with served(MAKERS[framework](lambda: limio, calls, table=table)) as url:
        async with browser.get(f"{url}/get") as answer:
            assert (answer.status, (await answer.json(content_type=None))["type"]) == (410, "/problems/gone")
        async with browser.get(f"{url}/gone") as answer:
            assert answer.status == 410
            assert "gone" in await answer.text()
            assert "problem" not in answer.headers["Content-Type"]
        async with browser.get(f"{url}/no/such/path") as answer:
            assert answer.status == 404
            assert "problem" not in answer.headers["Content-Type"]


@FRAMEWORKS
async def test_a_mistake_of_the_service_is_logged_with_its_place(
    framework: str, limio: Limio, browser: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(_: Limio) -> Any:
        raise errors.ConfigurationError("no such profile: secret")

    app = MAKERS[framework](lambda: limio, {"wrong": wrong})
    async with served(app) as url, browser.get(f"{url}/wrong") as answer:
        assert (answer.status, "secret" in await answer.text()) == (500, False)
    [record] = [one for one in caplog.records if one.module == "serving"]
    assert record.exc_info is not None
    assert "secret" in record.getMessage()


async def test_an_answer_that_has_begun_is_cut_off_and_has_no_second_head(
    limio: Limio, browser: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def begins() -> AsyncIterator[bytes]:
        yield b"begun"
        await limio.subscriptions.get("sub-unknown")

    app = FastAPI()
    starlette.answer_problems(app)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(begins(), media_type="text/plain")

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> dict[str, bool]:
        tasks.add_task(limio.subscriptions.get, "sub-unknown")
        return {"done": True}

    async def in_aiohttp(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for one in begins():
            await response.write(one)
        return response

    async def only_head(request: web.Request) -> web.StreamResponse:
        await web.StreamResponse().prepare(request)
        raise errors.NeverSent("refused")

    other = web.Application(middlewares=[aiohttp.problems()])
    other.cleanup_ctx.append(aiohttp.cleanup_ctx(lambda: limio))
    other.router.add_get("/stream", in_aiohttp)
    other.router.add_get("/head", only_head)
    caplog.set_level(logging.CRITICAL)
    async with served(app) as url:
        assert await _raw(url, "/stream") == (1, True)
        async with browser.get(f"{url}/later") as answer:
            assert await answer.json() == {"done": True}
    async with served(other) as url:
        assert await _raw(url, "/stream") == (1, True)
        assert (await _raw(url, "/head"))[0] == 1


async def _raw(url: str, path: str) -> tuple[int, bool]:
    """Return how many heads came, and whether what had begun did."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    text = await reader.read()
    writer.close()
    return text.count(b"HTTP/1.1 "), b"begun" in text and not text.endswith(b"0\r\n\r\n")


# ------------------------------------------------------------------ how services are put together


async def test_a_lifespan_of_ones_own_goes_around_and_inside(limio: Limio, browser: ClientSession) -> None:
    opens, diary = starlette.lifespan(lambda: limio), list[str]()

    @asynccontextmanager
    async def own(app: Starlette) -> AsyncGenerator[dict[str, Any]]:
        diary.append("before")
        async with opens(app) as state:
            yield {**state, "tenant": (await state["limio"].subscriptions.list().first()).id}
        diary.append(f"after, {limio.state().open}")

    async def tell(request: Request) -> JSONResponse:
        return JSONResponse([request.state.tenant, (await starlette.client(request)).state().open])

    app = Starlette(routes=[Mount("/api", Starlette(routes=[Route("/tell", tell)]))], lifespan=own)
    async with served(app) as url, browser.get(f"{url}/api/tell") as answer:
        [tenant, is_open] = await answer.json()
    assert tenant
    assert is_open
    assert diary == ["before", "after, False"]


async def test_caches_are_dependencies_also_in_websockets_and_mounted_applications(
    limio: Limio, browser: ClientSession
) -> None:
    api = FastAPI()
    starlette.answer_problems(api)

    @api.get("/name")
    async def name(kept: Offers, limio: Client) -> list[Any]:
        return [kept.name, kept.limio is limio]

    @api.get("/unknown")
    async def unknown(limio: Client) -> None:
        await limio.subscriptions.get("sub-unknown")

    @api.websocket("/names")
    async def names(socket: WebSocket, kept: Offers, limio: Client) -> None:
        await socket.accept()
        await socket.send_json([kept.name, kept.limio is limio])
        await socket.receive()

    app = FastAPI(lifespan=starlette.lifespan(lambda: limio, caches=[OFFERS]))
    app.mount("/api", api)
    async with served(app) as url:
        async with browser.get(f"{url}/api/name") as answer:
            assert await answer.json() == ["offers", True]
        async with browser.get(f"{url}/api/unknown") as answer:
            assert answer.headers["Content-Type"] == "application/problem+json"
        async with browser.ws_connect(f"{url}/api/names") as wire:
            assert await wire.receive_json() == ["offers", True]
            await wire.send_str("bye")


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_websocket_is_closed_and_never_refused_with_403(
    accepted: bool, world: World, limio: Limio, browser: ClientSession
) -> None:
    app = FastAPI(lifespan=starlette.lifespan(lambda: limio))
    starlette.answer_problems(app)

    @app.websocket("/{id}")
    async def tell(socket: WebSocket, id: str, limio: Client) -> None:
        if accepted:
            await socket.accept()
        await limio.subscriptions.get(id)

    async with served(app) as url:
        for name, code in (("unknown", 1011), ("sub-1", 1013)):
            async with browser.ws_connect(f"{url}/{name}") as wire:
                end = await wire.receive()
                assert (end.type, wire.close_code) == (WSMsgType.CLOSE, code)
                assert end.extra in {"not-found", "unreachable"}
            world.faults.on("getObject").never_sent()


async def test_a_websocket_of_an_endpoint_class_is_closed_too(limio: Limio, browser: ClientSession) -> None:
    class Told(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: WebSocket, data: str) -> None:
            await (await starlette.client(websocket)).subscriptions.get(data)

    app = Starlette(routes=[WebSocketRoute("/told", Told)], lifespan=starlette.lifespan(lambda: limio))
    starlette.answer_problems(app)
    async with served(app) as url, browser.ws_connect(f"{url}/told") as wire:
        await wire.send_str("unknown")
        end = await wire.receive(timeout=10)
        assert (end.type, wire.close_code, end.extra) == (WSMsgType.CLOSE, 1011, "not-found")


@FRAMEWORKS
async def test_errors_of_parallel_calls_are_the_problem_of_the_worst(
    framework: str, limio: Limio, browser: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the one that must not be repeated; a group that holds others is the framework's."""
    missing = errors.NotFound("", operation="getObject", status=404)
    away = errors.NeverSent("", operation="getObject")
    doubt = errors.UnknownOutcome("", operation="submitOrder")
    scroll = errors.AnswerLost("", operation="listOffers")
    errors.judge(scroll, "scroll", left=True)

    def fails(*found: Exception) -> Any:
        async def call(_: Limio) -> None:
            raise ExceptionGroup("", [found[0], ExceptionGroup("", found[1:])] if found[1:] else found)

        return call

    async def in_a_group(limio: Limio) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(limio.subscriptions.get("sub-unknown"))

    calls = {
        "doubt": (fails(missing, away, doubt), 502, False),
        "missing": (fails(away, missing), 404, False),
        "scroll": (fails(scroll, doubt), 502, False),
        "away": (fails(away, away), 503, False),
        "group": (in_a_group, 404, False),
    }
    app = MAKERS[framework](
        lambda: limio,
        {name: one[0] for name, one in calls.items()} | {"other": fails(away, KeyError("secret"))},
    )
    async with served(app) as url:
        for name, (_, status, retryable) in calls.items():
            async with browser.get(f"{url}/{name}") as answer:
                said = await answer.json(content_type=None)
                assert (name, answer.status, said["retryable"]) == (name, status, retryable)
                assert (said["type"] == "unknown-outcome") == (status == 502)
                assert retryable == ("Retry-After" in answer.headers)
        warnings = [one for one in caplog.records if one.module == "serving"]
        assert len(warnings) == 2 + 2 + 1 + 2  # a 404 is none
        async with browser.get(f"{url}/other") as answer:
            assert (answer.status, "secret" in await answer.text()) == (500, False)


async def test_an_application_of_aiohttp_lends_its_client_to_those_inside(
    limio: Limio, browser: ClientSession
) -> None:
    diary: list[str] = []
    offers = aiohttp.Cached("offers", lambda limio: Kept(limio, "offers", diary))

    async def name(request: web.Request) -> web.Response:
        return web.json_response([offers(request).name, request.config_dict[aiohttp.LIMIO] is limio])

    async def unknown(request: web.Request) -> web.Response:
        await request.config_dict[aiohttp.LIMIO].subscriptions.get("sub-unknown")
        return web.Response()

    inner = web.Application()
    inner.router.add_get("/name", name)
    inner.router.add_get("/unknown", unknown)
    inner.router.add_get("/ready", aiohttp.ready)
    app = web.Application(middlewares=[aiohttp.problems()])
    app.cleanup_ctx.append(aiohttp.cleanup_ctx(lambda: limio, caches=[offers]))
    app.add_subapp("/api", inner)
    async with served(app) as url:
        async with browser.get(f"{url}/api/name") as answer:
            assert await answer.json() == ["offers", True]
        async with browser.get(f"{url}/api/unknown") as answer:
            assert answer.headers["Content-Type"] == "application/problem+json"
        async with browser.get(f"{url}/api/ready") as answer:
            assert answer.status == 200


async def test_tests_put_another_client_in_its_place(limio: Limio, browser: ClientSession) -> None:
    """Without a lifespan; and where nobody opened one, it is said."""
    app = FastAPI()
    starlette.answer_problems(app)
    app.add_route("/ready", starlette.ready)

    @app.get("/")
    async def first(limio: Client) -> bool:
        return await limio.subscriptions.list().first() is not None

    async with served(app) as url:
        async with browser.get(url) as answer:
            assert answer.status == 500
        async with browser.get(f"{url}/ready") as answer:
            assert answer.status == 503
        app.dependency_overrides[starlette.client] = lambda: limio
        async with browser.get(url) as answer:
            assert await answer.json() is True
