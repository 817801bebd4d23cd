"""Never run: what type checkers must see of a web service. `make types` fails where one of these is not so."""

from __future__ import annotations

from typing import Annotated, Self, assert_type

from aiohttp import web
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request

from limio_async import Limio, errors
from limio_async.web import PROBLEMS, Problem, aiohttp, starlette


class Prices:
    def __init__(self, limio: Limio) -> None:
        self.limio, self.usable = limio, True
        self.age: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


IN_FASTAPI = starlette.Cached("prices", Prices)
IN_AIOHTTP = aiohttp.Cached("prices", Prices)
TABLE = {**PROBLEMS, errors.Conflict: Problem(409, "taken", "Taken", retry=1.0)}

api = FastAPI(lifespan=starlette.lifespan(Limio.from_env, caches=[IN_FASTAPI], grace=5))
starlette.answer_problems(api, TABLE)
api.add_route("/ready", starlette.ready)
Starlette(lifespan=starlette.lifespan(Limio.from_env))
starlette.lifespan(Limio.from_env, caches=[IN_AIOHTTP])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]

app = web.Application(middlewares=[aiohttp.problems(TABLE)])
app.cleanup_ctx.append(aiohttp.cleanup_ctx(Limio.from_env, caches=[IN_AIOHTTP]))
app.router.add_get("/ready", aiohttp.ready)


async def in_fastapi(
    limio: Annotated[Limio, Depends(starlette.client)], prices: Annotated[Prices, Depends(IN_FASTAPI)]
) -> None:
    assert_type(limio, Limio)
    assert_type(prices, Prices)


async def in_starlette(request: Request) -> None:
    assert_type(await starlette.client(request), Limio)
    assert_type(await IN_FASTAPI(request), Prices)


async def in_aiohttp(request: web.Request) -> None:
    assert_type(request.config_dict[aiohttp.LIMIO], Limio)
    assert_type(IN_AIOHTTP(request), Prices)
