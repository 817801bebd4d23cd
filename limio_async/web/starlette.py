"""For Starlette and FastAPI: a lifespan, dependencies, problems, readiness. The only importer of Starlette."""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from limio_async.client import Limio
from limio_async.errors import ConfigurationError, LimioError
from limio_async.web.problems import PROBLEMS, Table
from limio_async.web.serving import C, Named, answer_to, opened, readiness

__all__ = ["Cached", "answer_problems", "client", "lifespan", "ready"]


async def client(connection: HTTPConnection) -> Limio:
    """Return the client, in HTTP and WebSocket routes: `Annotated[Limio, Depends(client)]`, `await client(request)`."""
    return cast("Limio", _opened(connection, "limio"))


class Cached(Named[C], frozen=True):
    """A cache that `lifespan(…, caches=[OFFERS])` opens, and a dependency: `Depends(OFFERS)`, `await OFFERS(request)`."""

    async def __call__(self, connection: HTTPConnection) -> C:
        """Return the cache."""
        return cast("C", _opened(connection, "limio_caches")[self.name])


def lifespan(
    make: Callable[[], Limio], *, caches: Collection[Cached[Any]] = (), grace: float = 10.0
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan with one client for the process: `FastAPI(lifespan=lifespan(Limio.from_env))`.

    *make* is called in the running loop. Caches close before the client; calls of `limio.finish()` have *grace* seconds.
    """

    @asynccontextmanager
    async def live(app: Any) -> AsyncGenerator[dict[str, Any]]:
        async with opened(make, caches, grace) as (limio, kept):
            yield {"limio": limio, "limio_caches": kept}

    return live


def answer_problems(app: Starlette, table: Table = PROBLEMS) -> None:
    """Answer each `LimioError` of a route, or a group of them, with its problem; close a WebSocket with 1013 (retryable) or 1011.

    Mounted applications have handlers of their own: call this for each. An answer that has begun is cut off.
    """

    async def answer(connection: HTTPConnection, error: Exception) -> Response | None:
        said = answer_to(error, table)
        if not isinstance(connection, WebSocket):
            return Response(said.body, said.status, said.headers)
        with suppress(Exception):  # accepted already; one that is refused reads of a 403
            await connection.send({"type": "websocket.accept"})
        with suppress(Exception):  # its caller has left
            await connection.close(1013 if said.retryable else 1011, said.type[:123])
        return None

    handlers: dict[Any, Any] = {ExceptionGroup: answer, **app.exception_handlers, LimioError: answer}
    app.exception_handlers = handlers


async def ready(request: Request) -> Response:
    """Answer a readiness probe: `app.add_route("/ready", ready)`. `limio_async.web.readiness` says with what."""
    limio: Limio | None = getattr(request.state, "limio", None)
    said = readiness(limio.state() if limio else None, getattr(request.state, "limio_caches", {}))
    return Response(said.body, said.status, said.headers)


def _opened(connection: HTTPConnection, name: str) -> Any:
    if (found := getattr(connection.state, name, None)) is None:
        raise ConfigurationError("there is no client; FastAPI(lifespan=lifespan(Limio.from_env)) opens one")
    return found
