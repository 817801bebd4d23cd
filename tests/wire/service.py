"""A web service as its author would write it: orders are placed while a browser waits for them.

`python -m tests.wire.service URL` serves it under uvicorn, with a client of the tenant at URL. Prints its port, then what
became of each order, one JSON value a line.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI, Request

from limio_async import BearerToken, Limio

ORDER: Any = {"order_type": "new"}


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201


def service(url: str) -> FastAPI:
    limio = Limio(url, auth=BearerToken("token"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with limio:
            yield
        tell(closed=True)

    app = FastAPI(lifespan=lifespan)

    def outcome(came_to: Any) -> None:
        tell(outcome=getattr(came_to, "id", type(came_to).__name__))

    @app.post("/plain")
    async def plain(request: Request) -> Any:
        trace: list[Any] = []
        try:
            return (await while_connected(request, limio.orders.submit(ORDER, trace=trace))).id
        finally:
            tell(trace=[one.reason for one in trace])

    @app.post("/finish")
    async def finish(request: Request) -> Any:
        made = limio.finish(limio.orders.submit, ORDER, on_outcome=outcome)
        return (await while_connected(request, made)).id

    return app


async def while_connected(request: Request, call: Coroutine[Any, Any, Any]) -> Any:
    """Cancel *call* where the browser hangs up."""
    made: Any = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        made = await call
        group.cancel_scope.cancel()
    return made


def main(url: str) -> None:
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
    config = uvicorn.Config(service(url), timeout_graceful_shutdown=1, log_level="error")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        tell(port=listening.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
