"""For aiohttp's server: a `cleanup_ctx`, a middleware for problems, readiness."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from limio_async.client import Limio
from limio_async.errors import LimioError
from limio_async.web.problems import PROBLEMS, Table
from limio_async.web.serving import C, Caches, Named, answer_to, opened, readiness

__all__ = ["LIMIO", "Cached", "cleanup_ctx", "problems", "ready"]

LIMIO = web.AppKey("limio", Limio)
"""The client: `request.config_dict[LIMIO]`, also in sub-applications."""
_CACHES = web.AppKey[Caches]("limio_caches")


class Cached(Named[C], frozen=True):
    """A cache that `cleanup_ctx(…, caches=[OFFERS])` opens; `OFFERS(request)` returns it, also in sub-applications."""

    def __call__(self, request: web.Request) -> C:
        """Return the cache."""
        return cast("C", request.config_dict[_CACHES][self.name])


def cleanup_ctx(
    make: Callable[[], Limio], *, caches: Collection[Cached[Any]] = (), grace: float = 10.0
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what opens one client for the process: `app.cleanup_ctx.append(cleanup_ctx(Limio.from_env))`.

    *make* is called in the running loop. Caches close before the client; calls of `limio.finish()` have *grace* seconds.
    """

    async def live(app: web.Application) -> AsyncIterator[None]:
        async with opened(make, caches, grace) as (app[LIMIO], app[_CACHES]):
            yield

    return live


def problems(table: Table = PROBLEMS) -> Middleware:
    """Return a middleware that answers each `LimioError`, or a group of them, with its problem. An answer that has begun is cut off."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (LimioError, ExceptionGroup) as error:
            said = answer_to(error, table)
            if request.writer.output_size > 0:
                raise
            return web.Response(body=said.body, status=said.status, headers=said.headers)

    return answer


async def ready(request: web.Request) -> web.Response:
    """Answer a readiness probe: `app.router.add_get("/ready", ready)`. `limio_async.web.readiness` says with what."""
    limio = request.config_dict.get(LIMIO)
    said = readiness(limio.state() if limio else None, request.config_dict.get(_CACHES) or {})
    return web.Response(body=said.body, status=said.status, headers=said.headers)
