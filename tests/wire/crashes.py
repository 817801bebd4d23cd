"""Ways for a call to fail while credentials are about, and what crash reporters show of each.

`python -m tests.wire.crashes` prints what sentry-sdk with its default settings would send, one event a line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

from limio_async import AuthorizationCode, BearerToken, ClientCredentials, Limio
from limio_async.transport import AiohttpTransport
from tests.wire.rawserver import Behaviour, RawServer, hang_up, http, raw_server

TOKEN, ISSUED, SECRET = "TOK-1234", "ISSUED-1234", "CLIENT-1234"
CANARIES = (TOKEN, ISSUED, SECRET)
SOON = 0.05
Failing = Callable[[Limio], Awaitable[object]]


async def never(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def get(limio: Limio, **options: Any) -> Any:
    return limio.subscriptions.get("sub-1", **options)


def submit(limio: Limio, **options: Any) -> Any:
    return limio.orders.submit({"order_type": "new"}, **options)


async def by_timeout(limio: Limio) -> None:
    async with asyncio.timeout(SOON):
        await get(limio)


async def by_fail_after(limio: Limio) -> None:
    with anyio.fail_after(SOON):
        await submit(limio)


async def cancelled(limio: Limio) -> None:
    task = asyncio.create_task(submit(limio))
    await asyncio.sleep(SOON)
    task.cancel()
    await task


async def by_a_sibling(limio: Limio) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(submit(limio))
        await asyncio.sleep(SOON)
        raise RuntimeError("sibling")


async def while_handling(limio: Limio) -> None:
    try:
        os.environ["LIMIO_NO_SUCH_SETTING"]
    except KeyError:
        await get(limio)


async def walk(limio: Limio) -> None:
    await asyncio.wait_for(limio.subscriptions.list().collect(limit=9), SOON)


async def created(limio: Limio) -> None:
    await limio.oauth.create_token(
        {"grant_type": "client_credentials", "client_id": "id", "client_secret": SECRET}
    )


async def signed_in(limio: Limio) -> None:
    auth = AuthorizationCode("id", "https://app.test/back")
    begun = auth.begin(limio.origin)
    transport = AiohttpTransport(limio.origin)
    try:
        await auth.finish(begun, {"state": begun.state, "code": "once"}, partial(transport.send, timeout=5))
    finally:
        await transport.aclose()


class Broken(BearerToken):
    """A strategy of the caller's, with a mistake in it."""

    async def credential(self, accepts: Any, exchange: Any) -> Any:
        header = f"Bearer {TOKEN}"
        return header.no_such_attribute  # type: ignore[attr-defined]


def bearer() -> BearerToken:
    return BearerToken(TOKEN)


def issuing() -> ClientCredentials:
    return ClientCredentials("id", SECRET)


UNREADABLE: dict[str, bytes] = {
    "a token answer cut short": b'{"access_token": "ISSUED-1234", "expires_in": 36',
    "a token that is a list": b'{"access_token": ["ISSUED-1234"]}',
    "a token answer in HTML": b"<html>ISSUED-1234",
    "a token answer that is no UTF-8": b'{"access_token": "ISSUED-1234\xff"}',
    "a token that no header can carry": b'{"access_token": "ISSUED-1234\\u0007x"}',
    "a token beside an error": b'{"access_token": "ISSUED-1234", "error": "no"}',
}
CASES: dict[str, tuple[Callable[[], Any], Behaviour, Failing]] = {
    "own deadline": (bearer, never, partial(get, timeout=SOON)),
    "own deadline of an order": (bearer, never, partial(submit, timeout=SOON)),
    "404": (bearer, http(b"{}", "404 No"), get),
    "502 of an order": (bearer, http(b"{}", "502 Bad"), submit),
    "unreadable": (bearer, http(b"{"), get),
    "lost": (bearer, hang_up, get),
    "no HTTP": (bearer, b"SSH-2.0\r\n\r\n", submit),
    "wait_for": (bearer, never, lambda limio: asyncio.wait_for(get(limio), SOON)),
    "asyncio.timeout": (bearer, never, by_timeout),
    "fail_after": (bearer, never, by_fail_after),
    "cancelled": (bearer, never, cancelled),
    "a sibling": (bearer, never, by_a_sibling),
    "a walk": (bearer, never, walk),
    "while the caller handles another": (bearer, http(b"{}", "404 No"), while_handling),
    "a broken strategy": (lambda: Broken(TOKEN), never, get),
    "token endpoint 401": (issuing, http(b'{"error":"CLIENT-1234"}', "401 No"), get),
    "cancelled while it waits for a token": (issuing, never, cancelled),
    **{name: (issuing, http(body), get) for name, body in UNREADABLE.items()},
    **{f"{name}, warming up": (issuing, http(body), Limio.warmup) for name, body in UNREADABLE.items()},
    **{f"{name}, signing in": (issuing, http(body), signed_in) for name, body in UNREADABLE.items()},
    **{
        f"{name}, asked for": (issuing, http(UNREADABLE[name]), created)
        for name in list(UNREADABLE)[:4]  # the others are answers to this call
    },
}


async def crash(name: str) -> BaseException:
    """Return what is raised; its traceback begins here."""
    auth, behaviour, failing = CASES[name]
    async with raw_server(behaviour) as server:
        return await _caught(server, auth(), failing)


async def _caught(server: RawServer, auth: Any, failing: Failing) -> BaseException:
    async with Limio(server.url, auth=auth, attempts=1) as limio:
        try:
            await failing(limio)
        except BaseException as error:
            return error
    raise AssertionError("nothing was raised")


def shown(error: BaseException) -> str:
    """What a reporter with variables shows (rich, loguru, Python's own)."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join(lines)


def frames(error: BaseException) -> list[str]:
    """The files of its traceback."""
    return [one.filename for one in traceback.extract_tb(error.__traceback__)]


def report() -> None:
    """Print what Sentry would get."""
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Printing(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            if (event := envelope.get_event()) is not None:
                print(json.dumps({"case": current, "event": event}, default=repr))  # noqa: T201

    current = ""
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Printing)
    logging.disable(logging.NOTSET)
    for current in sys.argv[1:] or CASES:
        sentry_sdk.capture_exception(asyncio.run(crash(current)))
    sentry_sdk.flush()


if __name__ == "__main__":
    report()
