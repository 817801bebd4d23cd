"""An order of which no byte has left is not in doubt, and takes no answer that was meant for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from limio_async import BearerToken, Limio, errors, models
from tests.wire.rawserver import http

pytestmark = pytest.mark.usefixtures("hurried_time")

ORDER = models.CancelSubscriptionOrder(subscription_id="sub-1")
STRAYS = {
    "200": http(b'{"id":"ord-other","order_reference":"z"}'),
    "404": http(b"", "404 Not Found"),
    "408": http(b"", "408 Request Timeout", "connection: close"),
}


class Server:
    """Answers each request, and says *stray* some time after it has answered a GET."""

    def __init__(self, stray: bytes = b"") -> None:
        self.stray = stray
        self.seen: list[str] = []
        self.received = 0
        self.strayed = asyncio.Event()
        self.url = ""
        self.open: list[asyncio.StreamWriter] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(writer)
        try:
            while head := await reader.read(1):
                self.received += 1
                head += await reader.readuntil(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.partition(b":")[2]))
                self.seen.append(head.split()[0].decode())
                writer.write(http(b'{"id":"ours","order_reference":"r"}'))
                if self.seen[-1] == "GET" and self.stray:
                    await asyncio.sleep(0.2)  # the answer has been taken by then
                    writer.write(self.stray)
                    self.strayed.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(stray: bytes = b"") -> AsyncGenerator[Server]:
    server = Server(stray)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()  # and nobody waits for connections that aiohttp forgot
        for one in server.open:
            one.close()


class Theirs(aiohttp.ClientRequest):
    """A `request_class` of the caller's."""

    sent: int = 0

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        Theirs.sent += 1
        return await super().send(conn)


@pytest.mark.parametrize("request_class", [aiohttp.ClientRequest, Theirs])
@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
async def test_an_order_over_a_borrowed_session_takes_no_answer_that_came_before_it_was_sent(
    stray: bytes, request_class: type[aiohttp.ClientRequest]
) -> None:
    async with (
        serving(stray) as server,
        aiohttp.ClientSession(request_class=request_class) as session,
        Limio(server.url, auth=BearerToken("t"), session=session) as limio,
    ):
        before = Theirs.sent
        await limio.subscriptions.get("sub-1")
        await server.strayed.wait()
        await asyncio.sleep(0.5)  # until it has come
        placed = await limio.orders.submit(ORDER)
        assert Theirs.sent - before == (2 if request_class is Theirs else 0)
    assert (placed.id, server.seen) == ("ours", ["GET", "POST"])


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("closing", ["client", "session"])
@pytest.mark.parametrize("large", [False, True])
async def test_an_order_is_in_doubt_after_closing_only_if_a_byte_of_it_arrived(
    closing: str, attempts: int, large: bool
) -> None:
    order: Any = ORDER if not large else {"order_type": "new", "external_id": "x" * 400_000}
    outcomes: set[str] = set()
    for turns in range(14):
        async with serving() as server:
            session = aiohttp.ClientSession() if closing == "session" else None
            limio = Limio(server.url, auth=BearerToken("t"), session=session, attempts=attempts)
            running = asyncio.create_task(limio.orders.submit(order))
            for _ in range(turns):
                await asyncio.sleep(0)
            await (limio.aclose(0) if session is None else session.close())
            try:
                await running
            except errors.LimioError as error:
                happened = error.happened
            else:
                outcomes.add("done")
                continue
            finally:
                await limio.aclose()
            await asyncio.sleep(0.2)
            outcomes.add(happened)
            assert (happened == "no") == (server.received == 0), (turns, happened)
    assert "no" in outcomes
    assert len(outcomes) > 1


async def test_an_answer_that_comes_while_a_hook_holds_the_order_back_is_not_its_answer() -> None:
    async with serving(STRAYS["200"]) as server:

        async def until_it_strayed(*_: object) -> None:
            await server.strayed.wait()
            await asyncio.sleep(0.5)

        tracing = aiohttp.TraceConfig()
        tracing.on_request_chunk_sent.append(until_it_strayed)  # which a GET has not
        async with (
            aiohttp.ClientSession(trace_configs=[tracing]) as session,
            Limio(server.url, auth=BearerToken("t"), session=session, attempts=1) as limio,
        ):
            await limio.subscriptions.get("sub-1")
            with pytest.raises(errors.NeverSent):
                await limio.orders.submit(ORDER)
    assert server.seen == ["GET"]


async def raises(*_: object) -> None:
    raise ZeroDivisionError


async def raises_oserror(*_: object) -> None:
    raise OSError(5, "no")


async def takes_long(*_: object) -> None:
    await asyncio.sleep(10)


@pytest.mark.parametrize("hook", [raises, raises_oserror, takes_long])
@pytest.mark.parametrize(
    "named",
    ["on_request_start", "on_connection_create_end", "on_request_headers_sent", "on_request_chunk_sent"],
)
async def test_a_hook_that_fails_before_the_order_leaves_leaves_it_not_in_doubt(
    named: str, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = aiohttp.TraceConfig()
    getattr(tracing, named).append(hook)
    async with serving() as server:
        await _fails_in_no_doubt(server.url, tracing, caplog)
    assert server.received == 0


@pytest.mark.parametrize("hook", [raises, raises_oserror, takes_long])
async def test_a_hook_that_fails_after_a_refused_connection_leaves_no_order_in_doubt(
    hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = aiohttp.TraceConfig()
    tracing.on_request_exception.append(hook)
    async with serving() as server:
        url = server.url
    await _fails_in_no_doubt(url, tracing, caplog)


async def _fails_in_no_doubt(
    url: str, tracing: aiohttp.TraceConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        aiohttp.ClientSession(trace_configs=[tracing]) as session,
        Limio(url, auth=BearerToken("t"), session=session) as limio,
    ):
        running = asyncio.create_task(limio.orders.submit(ORDER))
        await asyncio.wait([running], timeout=0.1)
        running.cancel()
        with pytest.raises((errors.NeverSent, ZeroDivisionError, asyncio.CancelledError)) as caught:
            await running
    assert not isinstance(caught.value.__cause__, errors.UnknownOutcome)
    assert "may have happened" not in caplog.text
