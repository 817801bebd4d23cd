"""Taking the webhooks of a world to an application in this process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, cast
from unittest.mock import Mock
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from limio_async.emulator.http.courier import LATE, opened, posted
from limio_async.emulator.webhooks import TIME_LIMIT, Sending, Sent
from limio_async.emulator.world import World

__all__ = ["Courier", "Target"]

_PATH = "/hooks/{type}"

Target = Callable[..., Awaitable[Any]]
"""An ASGI application, or a handler as aiohttp takes them."""


class Courier:
    """Takes the webhooks of *world* to applications in this process and to URLs, one after another."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._apps: dict[str, Target] = {}

    def to(
        self,
        target: str | Target,
        *,
        path: str = _PATH,
        types: Iterable[str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> None:
        """Send the webhooks of *types*, by default all, to a URL, an ASGI application or an aiohttp handler.

        An application gets them at *path*, in memory: no lifespan begins. A handler finds the type in
        `request.match_info`. *auth* is a name and a password. Raises `ValueError` or `TypeError` in words.
        """
        if isinstance(target, str):
            self._world.webhooks.to(target, types=types, auth=auth)
            return
        if _arguments(target) not in _CALLS:
            raise TypeError(
                "this is neither an ASGI application nor a handler of aiohttp;"
                " an aiohttp Application has to be served: give the URL of a TestServer"
            )
        url = f"http://receiver-{len(self._apps) + 1}.test{path}"
        self._world.webhooks.to(url, types=types, auth=auth)
        self._apps[url] = target

    async def deliver(self) -> list[Sent]:
        """Send what is due, and what comes due meanwhile without the clock; return what came of each.

        An application that raises counts as 500. Its exception is raised once all are sent.
        """
        done: list[Sent] = []
        failed: list[Exception] = []
        async with opened() as session:
            while due := self._world.webhooks.take():
                done += [await self._deliver(one, session, failed) for one in due]
        if failed:
            raise failed[0]
        return done

    async def _deliver(self, one: Sending, session: aiohttp.ClientSession, failed: list[Exception]) -> Sent:
        app = self._apps.get(one.receiver)
        if app is None:
            return await posted(self._world, one, session)
        try:
            async with asyncio.timeout(TIME_LIMIT):
                status = await _CALLS[_arguments(app)](app, one)
        except TimeoutError:
            return self._world.webhooks.answered(one, None, LATE)
        except Exception as error:  # whatever it is, the others are sent
            failed.append(error)
            status = 500
        return self._world.webhooks.answered(one, status)


def _arguments(app: Target) -> int:
    return len(inspect.signature(app).parameters)


async def _to_asgi(app: Target, one: Sending) -> int:
    url = urlsplit(one.url)
    headers = {"host": url.netloc, "content-length": str(len(one.body)), **one.headers}
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": url.scheme,
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": (url.hostname, 80),
    }
    came = iter([{"type": "http.request", "body": one.body, "more_body": False}])
    answered: list[int] = []

    async def receive() -> Mapping[str, Any]:
        return next(came, {"type": "http.disconnect"})

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    await app(scope, receive, send)
    return answered[0] if answered else 500


async def _to_handler(handler: Target, one: Sending) -> int:
    url = urlsplit(one.url)
    content = StreamReader(Mock(_reading_paused=False), 2**16)
    content.feed_data(one.body)
    content.feed_eof()
    request = make_mocked_request(
        "POST",
        url._replace(scheme="", netloc="").geturl(),
        headers={"host": url.netloc, "content-length": str(len(one.body)), **one.headers},
        match_info={"type": one.type},
        payload=content,
    )
    try:
        answer = cast("web.StreamResponse", await handler(request))
    except web.HTTPException as refused:
        return refused.status
    return answer.status


_CALLS: Mapping[int, Callable[[Target, Sending], Awaitable[int]]] = {3: _to_asgi, 1: _to_handler}
"""How something is called that takes so many arguments."""
