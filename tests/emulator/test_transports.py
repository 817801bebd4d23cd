from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

import aiohttp
import pytest
from yarl import URL

from limio_async.core.ports import Transport
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World, reply
from limio_async.emulator.faults.faults import On
from limio_async.emulator.server import run_server, serve
from limio_async.errors import AnswerLost

from .visitor import Visitor


def request(target: str, authorization: str) -> Request:
    headers = {"authorization": authorization}
    return Request(operation="test", method="GET", target=target, headers=headers)


async def test_the_memory_transport_is_a_transport_that_gives_way_once_a_send(world: World) -> None:
    transport: Transport = InMemoryTransport(world)
    turns: list[str] = []

    async def ask(name: str) -> Response:
        turns.append(f"{name} asks")
        answer = await transport.send(request("/api/segments", world.api_key), timeout=1.0)
        turns.append(f"{name} has it")
        return answer

    one, other = await asyncio.gather(ask("one"), ask("other"))
    assert turns == ["one asks", "other asks", "one has it", "other has it"]
    assert one == other == world.answer(request("/api/segments", world.api_key))
    assert transport.origin == "https://limio.emulated"
    await transport.aclose()
    await transport.aclose()


async def test_what_is_cancelled_on_its_way_through_memory_has_happened(world: World) -> None:
    sent = InMemoryTransport(world).send(request("/api/segments", world.api_key), timeout=1.0)
    sending = asyncio.create_task(sent)
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert [one.status for one in world.requests("listSegments")] == [200]


async def test_a_lost_answer_is_raised_by_the_memory_transport(world: World) -> None:
    world.script("listSegments", "lost")
    with pytest.raises(AnswerLost):
        await InMemoryTransport(world).send(request("/api/segments", world.api_key), timeout=60)


async def test_over_http_come_the_same_bytes_as_in_memory(world: World, visitor: Visitor) -> None:
    again = World(offers=230, subscriptions=120)
    subscription = visitor.objects("subscriptions")["items"][0]["id"]
    assert visitor.bearer == Visitor(again).token()
    targets = {
        "/api/offers?opt.all=true&opt.pageSize=20": world.api_key,
        "/api/offers?path=%2Foffers2%2FDigital+Monthly%20000000": world.api_key,
        "/api/objects/limio/orders?limit=3": visitor.bearer,
        f"/api/objects/limio/subscriptions/{subscription.replace('-', '%2D')}": visitor.bearer,
        "/api/objects/limio/subscriptions/a%2Fb": visitor.bearer,
        "/api/nothing": "",
    }
    async with serve(again, port=0) as url, aiohttp.ClientSession() as session:
        for target, authorization in targets.items():
            expected = world.answer(request(target, authorization))
            async with session.get(
                URL(url + target, encoded=True), headers={"Authorization": authorization}
            ) as answer:
                assert (answer.status, await answer.read()) == (expected.status, expected.body)
                assert answer.content_type == "application/json"


async def test_a_token_is_had_over_http(world: World) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": world.client_id,
        "client_secret": world.client_secret,
    }
    async with (
        serve(world, port=0) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/oauth2/token", data=form) as answer,
    ):
        token = (await answer.json())["access_token"]
    assert world.answer(request("/api/objects/limio/orders", f"Bearer {token}")).status == 200


async def test_over_http_scripted_answers_arrive_and_lost_ones_break_the_connection(world: World) -> None:
    # lost twice, because aiohttp silently asks a second time
    world.script("listSegments", reply({}, 503, headers={"Retry-After": "2"}), "lost", "lost")
    async with serve(world, port=0) as url, aiohttp.ClientSession() as session:
        headers = {"Authorization": world.api_key}
        async with session.get(f"{url}/api/segments", headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{url}/api/segments", headers=headers)
    assert world.count("listSegments") == 3


async def test_over_http_a_body_beyond_reason_is_refused(world: World) -> None:
    async with serve(world, port=0) as url, aiohttp.ClientSession() as session:
        body = BytesIO(bytes(11 * 2**20))
        async with session.post(f"{url}/api/v2/journey", data=body) as answer:
            assert answer.status == 413
    assert world.count() == 0


async def test_the_server_says_where_it_listens_and_ends_when_cancelled(world: World) -> None:
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_server(world, port=0, ready=listening.set_result))
    url = await listening
    before = world.now()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/nothing") as answer:
        assert answer.status == 404
    assert url.startswith("http://127.0.0.1:")
    assert world.now() > before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def hang_up(url: URL, sent: bytes, *, after: float) -> None:
    """Send something and end the connection with RST, whatever is on its way."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(sent)
    await writer.drain()
    if after:
        with suppress(ConnectionError):  # a fault may be faster
            await reader.read(20)
        await asyncio.sleep(after)
    plain = writer.get_extra_info("socket")
    with suppress(OSError):  # it is closed already
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    "arm",
    [
        lambda on: None,
        On.reset,
        lambda on: on.slow_body(0.05),
        lambda on: on.delay(0.02),
        lambda on: on.gzip_bomb(8),
        On.truncate_body,
        On.lose_answer,
        On.never_sent,
        On.not_http,
    ],
    ids=["none", "reset", "slow", "delay", "bomb", "truncate", "lose", "never", "not_http"],
)
async def test_a_client_that_hangs_up_makes_no_noise(
    world: World, caplog: pytest.LogCaptureFixture, arm: Callable[[On], object]
) -> None:
    arm(world.faults.on("*"))
    whole = f"GET /api/offers HTTP/1.1\r\nHost: x\r\nAuthorization: {world.api_key}\r\n\r\n".encode()
    half = b"POST /api/order HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf of it"
    with caplog.at_level(logging.WARNING):
        async with serve(world, port=0) as url:
            to = URL(url)
            await asyncio.gather(
                *(hang_up(to, sent, after=0) for sent in (whole, half) for _ in range(5)),
                *(hang_up(to, whole, after=0.005) for _ in range(5)),
            )
            await asyncio.sleep(0.08)
    assert caplog.text == ""
