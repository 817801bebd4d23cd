"""Connections that many clients share: how many there are, who waits for them, and whose they are."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from limio_async import AiohttpTransport, BearerToken, ConnectionPool, Limio, errors, models
from tests.wire.rawserver import RawServer, http, raw_server, slow

trustme = pytest.importorskip("trustme", reason="trustme makes the private CA; the dev group has it")

FOUND = http(b'{"id":"sub-1"}', "200 OK", "set-cookie: session=1")
ORDER = models.CancelSubscriptionOrder(subscription_id="sub-1")


@asynccontextmanager
async def tenants(
    pool: ConnectionPool, count: int, *script: Any, **options: Any
) -> AsyncIterator[list[tuple[Limio, RawServer]]]:
    """As many tenants, each with a server and a token of its own."""
    async with AsyncExitStack() as stack:
        made = []
        for number in range(count):
            server = await stack.enter_async_context(raw_server(*script or (FOUND,)))
            transport = AiohttpTransport(server.url, pool=pool)
            limio = Limio(auth=BearerToken(f"token-{number}"), transport=transport, **options)
            made.append((await stack.enter_async_context(limio), server))
        yield made


async def settled() -> None:
    """Let the servers see who is gone."""
    for _ in range(5):
        await asyncio.sleep(0.01)


def open_at(made: list[tuple[Limio, RawServer]]) -> int:
    return sum(server.open for _, server in made)


async def test_kept_connections_of_others_give_way_and_the_limit_holds() -> None:
    async with ConnectionPool(limit=3) as pool, tenants(pool, 8) as made:
        for _ in range(2):
            for limio, _ in made:
                await limio.subscriptions.get("sub-1")
                await settled()
                assert open_at(made) <= 3
                assert pool.connections == open_at(made)
        assert [server.connections for _, server in made] == [2] * 8
        await made[-1][0].subscriptions.get("sub-1")  # the latest are kept
        assert made[-1][1].connections == 2


async def test_a_connection_that_is_kept_carries_the_next_request_of_its_tenant() -> None:
    async with ConnectionPool(limit=2) as pool, tenants(pool, 2) as made:
        for _ in range(5):
            for limio, _ in made:
                await limio.subscriptions.get("sub-1")
        assert [server.connections for _, server in made] == [1, 1]
        assert repr(pool) == "<ConnectionPool 2 of 2 connections, 0 requests wait>"


async def test_nothing_of_one_tenant_reaches_another() -> None:
    async with ConnectionPool(limit=2) as pool, tenants(pool, 4) as made:
        for _ in range(2):
            for limio, _ in made:
                await limio.subscriptions.get("sub-1")
        for number, (_, server) in enumerate(made):
            assert len(server.requests) == 2
            for request in server.requests:
                assert f"authorization: bearer token-{number}\r\n" in request.decode().lower()
                assert b"cookie" not in request.lower()


async def test_who_finds_no_place_waits_and_all_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    counts: list[int] = []
    connect: Any = aiohttp.TCPConnector._create_connection

    async def counted(self: aiohttp.TCPConnector, *given: Any) -> Any:
        protocol = await connect(self, *given)
        opened.append(protocol.transport.get_extra_info("socket"))
        counts.append(sum(one.fileno() >= 0 for one in opened))
        return protocol

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", counted)
    async with ConnectionPool(limit=4) as pool, tenants(pool, 5) as made:
        await asyncio.gather(*(limio.subscriptions.get("sub-1") for limio, _ in made for _ in range(8)))
        assert max(counts) == 4  # not one more, not for a moment
        assert sum(len(server.requests) for _, server in made) == 40
        assert pool.connections <= 4


async def test_an_order_that_finds_no_place_in_time_was_never_sent() -> None:
    async with ConnectionPool(limit=1) as pool, tenants(pool, 2, slow(FOUND, pause=1.2), FOUND) as made:
        (first, _), (second, server) = made
        holding = asyncio.create_task(first.subscriptions.get("sub-1"))
        await asyncio.sleep(0.05)
        with pytest.raises(errors.NeverSent, match="all 1 connections of the pool are in use") as caught:
            await second.with_options(timeout=0.4, attempts=1).orders.submit(ORDER)
        assert (caught.value.happened, caught.value.operation) == ("no", "submitOrder")
        assert server.requests == []
        await holding
        await second.orders.submit(ORDER)  # the place is free again


async def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    async with ConnectionPool(limit=1) as pool, tenants(pool, 2, slow(FOUND, pause=0.3), FOUND) as made:
        (first, _), (second, server) = made
        holding = asyncio.create_task(first.subscriptions.get("sub-1"))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(second.orders.submit(ORDER)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for one in waiting:
            one.cancel()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in done] == [asyncio.CancelledError] * 3
        assert not any(
            isinstance(one, BaseException) and one.__cause__ for one in done
        )  # nothing is in doubt
        assert repr(pool).endswith(", 0 requests wait>")
        await holding
        await settled()
        assert (server.requests, pool.connections) == ([], 0)  # slow() hangs up
        await second.orders.submit(ORDER)


async def test_a_place_that_comes_just_as_its_request_is_cancelled_is_the_next_ones() -> None:
    async with ConnectionPool(limit=1) as pool, tenants(pool, 1) as made:
        places: Any = pool._places
        timeout = aiohttp.ClientTimeout(connect=5)
        await places.take(timeout)
        waiting = asyncio.create_task(places.take(timeout))
        await asyncio.sleep(0)
        places.give_back()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await made[0][0].subscriptions.get("sub-1")


@pytest.mark.parametrize("failure", ["refused", "hung up", "broken off"])
async def test_a_connection_that_fails_gives_its_place_back(failure: str) -> None:
    async def hang_up(_: asyncio.StreamWriter) -> None:
        """Close without a word."""

    script: Any = {"refused": FOUND, "hung up": hang_up, "broken off": http(b"{", length=9, close=True)}[
        failure
    ]
    async with ConnectionPool(limit=1) as pool, tenants(pool, 2, script, attempts=1) as made:
        (limio, server), (other, _) = made
        if failure == "refused":
            server.stop()
        for _ in range(3):
            with pytest.raises(errors.TransportError):
                await limio.subscriptions.get("sub-1")
        if failure == "refused":
            await other.subscriptions.get("sub-1")
        await settled()
        assert pool.connections == int(failure == "refused")


async def test_orders_leave_on_connections_of_their_own() -> None:
    async with ConnectionPool(limit=2) as pool, tenants(pool, 1) as ((limio, server),):
        for _ in range(3):
            await limio.orders.submit(ORDER)
        await settled()
        assert (server.connections, server.open, pool.connections) == (3, 0, 0)


async def test_a_client_that_is_closed_closes_no_others() -> None:
    async with ConnectionPool() as pool, tenants(pool, 2, slow(FOUND, pause=0.1), FOUND) as made:
        (first, _), (second, server) = made
        on_its_way = asyncio.create_task(second.subscriptions.get("sub-1"))
        await asyncio.sleep(0.05)
        await first.aclose()
        await on_its_way
        await second.subscriptions.get("sub-1")
        assert server.connections == 2  # slow() hangs up
        with pytest.raises(errors.ClientClosed, match="this client was closed"):
            await first.subscriptions.get("sub-1")


async def test_a_pool_that_is_closed_says_so_and_leaves_nothing_open() -> None:
    pool = ConnectionPool(limit=1)
    async with tenants(pool, 2, slow(FOUND, pause=0.5), attempts=1) as made:
        on_its_way = asyncio.create_task(made[0][0].subscriptions.get("sub-1"))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(made[1][0].orders.submit(ORDER)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await pool.aclose()
        await pool.aclose()
        for one in waiting:
            with pytest.raises(errors.ClientClosed, match="the pool of this client was closed; open a new"):
                await one
        with pytest.raises((errors.AnswerLost, errors.ClientClosed)):
            await on_its_way
        for limio, _ in made:
            with pytest.raises(errors.ClientClosed, match="the pool of this client was closed"):
                await limio.subscriptions.get("sub-1")
        await asyncio.sleep(0.6)
        assert (open_at(made), pool.connections) == (0, 0)
        with pytest.raises(errors.ClientClosed):
            await pool.__aenter__()


async def test_who_waits_hears_at_once_that_the_pool_is_closed_though_a_handshake_hangs() -> None:
    pool, met = ConnectionPool(limit=1), asyncio.Event()

    def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        stack.callback(writer.close)

    async with AsyncExitStack() as stack, await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        transport = AiohttpTransport(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", pool=pool)
        async with Limio(auth=BearerToken("t"), transport=transport) as limio:
            first = asyncio.create_task(limio.subscriptions.get("sub-1"))
            await met.wait()
            second = asyncio.create_task(limio.orders.submit(ORDER))
            await asyncio.sleep(0.05)
            await pool.aclose()
            async with asyncio.timeout(2):
                with pytest.raises(errors.ClientClosed, match="the pool of this client was closed"):
                    await second
            first.cancel()
            await asyncio.wait([first])


async def test_clients_and_pool_leave_nothing_behind(recwarn: pytest.WarningsRecorder) -> None:
    async with ConnectionPool() as pool, tenants(pool, 3) as made:
        for limio, _ in made:
            await limio.subscriptions.get("sub-1")
    del pool, made, limio
    gc.collect()
    await settled()
    assert [str(one.message) for one in recwarn] == []


def test_a_pool_belongs_to_one_loop() -> None:
    pool = ConnectionPool()

    async def get() -> None:
        async with tenants(pool, 1) as ((limio, _),):
            await limio.subscriptions.get("sub-1")

    async def end() -> None:
        await get()
        for connector in pool._connectors.values():
            await connector.close()

    asyncio.run(end())
    with pytest.raises(errors.ClientClosed, match="the pool of this client belongs to another event loop"):
        asyncio.run(get())


async def test_certificates_are_each_tenants_own() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting, wary = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    stranger.configure_trust(wary)
    async with ConnectionPool() as pool, raw_server(FOUND, tls=tls) as server:
        for context in (trusting, wary, trusting):
            transport = AiohttpTransport(server.url, pool=pool, ssl=context)
            async with Limio(auth=BearerToken("token"), transport=transport, attempts=1) as limio:
                if context is trusting:
                    await limio.subscriptions.get("sub-1")
                else:  # though there is a connection that somebody else trusts
                    with pytest.raises(errors.NeverSent, match="certificate is not trusted"):
                        await limio.subscriptions.get("sub-1")
        assert len(server.requests) == 2


async def test_a_session_goes_without_a_pool() -> None:
    async with ConnectionPool() as pool, aiohttp.ClientSession() as session:
        with pytest.raises(errors.ConfigurationError, match="pool= goes without session="):
            AiohttpTransport("acme.prod.limio.com", pool=pool, session=session)


@pytest.mark.parametrize("given", [ConnectionPool, aiohttp.TCPConnector, 5])
def test_what_is_no_pool_is_refused(given: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"pool= takes a ConnectionPool"):
        AiohttpTransport("acme.prod.limio.com", pool=given)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None, "8"])
def test_a_limit_is_a_whole_number_above_zero(limit: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="limit must be positive, a whole number above 0"):
        ConnectionPool(limit=limit)
