"""An application in FastAPI and the same one in aiohttp, served on a socket, with a client of a world that misbehaves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse

from limio_async import Limio
from limio_async.web import PROBLEMS
from limio_async.web import aiohttp as for_aiohttp
from limio_async.web import starlette as for_starlette

Call = Callable[[Limio], Any]
"""What the handler of `/{name}` does with the client."""
Client = Annotated[Limio, Depends(for_starlette.client)]


def fastapi_app(make: Callable[[], Limio], calls: dict[str, Call], **options: Any) -> FastAPI:
    table = options.pop("table", PROBLEMS)
    app = FastAPI(lifespan=for_starlette.lifespan(make, **options))
    for_starlette.answer_problems(app, table)
    app.add_route("/ready", for_starlette.ready)

    @app.api_route("/{name}", methods=["GET", "HEAD", "POST"])
    async def answer(name: str, limio: Client) -> JSONResponse:
        await calls[name](limio)
        return JSONResponse({"done": True})

    return app


def aiohttp_app(make: Callable[[], Limio], calls: dict[str, Call], **options: Any) -> web.Application:
    table = options.pop("table", PROBLEMS)
    app = web.Application(middlewares=[for_aiohttp.problems(table)])
    app.cleanup_ctx.append(for_aiohttp.cleanup_ctx(make, **options))
    app.router.add_get("/ready", for_aiohttp.ready)

    async def answer(request: web.Request) -> web.Response:
        await calls[request.match_info["name"]](request.config_dict[for_aiohttp.LIMIO])
        return web.json_response({"done": True})

    app.router.add_route("*", "/{name}", answer)
    return app


MAKERS: dict[str, Callable[..., Any]] = {"fastapi": fastapi_app, "aiohttp": aiohttp_app}


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve *app* on a port of this machine, by uvicorn or aiohttp; its start and end included."""
    if isinstance(app, web.Application):
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")
        return
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5)
    uvicorn_server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as one:
        serving = asyncio.create_task(uvicorn_server.serve(sockets=[one]))
        listening = asyncio.create_task(uvicorn_server.listens.wait())
        try:
            await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
            yield f"http://127.0.0.1:{one.getsockname()[1]}"
        finally:
            listening.cancel()
            uvicorn_server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()
