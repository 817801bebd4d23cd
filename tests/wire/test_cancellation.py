"""A call or a walk may be cancelled wherever it waits: nothing of it stays behind, and the client works on."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors
from limio_async.core.wire import Request, Response
from limio_async.transport import AiohttpTransport
from tests.conftest import ScriptedTransport
from tests.wire.rawserver import Behaviour, RawServer, hang_up, http, raw_server

When = Literal["while it waits", "just as the wait is over"]
WHENS: tuple[When, ...] = ("while it waits", "just as the wait is over")
CANARY = "canary-secret-value"


class CancelledAt:
    """Awaits a coroutine and cancels the task at its *step*-th suspension; `steps` counts them."""

    def __init__(self, running: Coroutine[Any, Any, Any], step: int | None, when: When) -> None:
        self._running = running
        self._step = step
        self._when = when
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._running.__await__()
        error: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(None) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            self.steps += 1
            if self.steps == self._step:
                if self._when == "while it waits" or waits_for is None:
                    task.cancel()
                else:  # the result is there, and so is the cancellation, before the task runs again
                    waits_for.add_done_callback(lambda _: task.cancel())
            error = None
            try:
                yield waits_for
            except BaseException as thrown:  # it is handed on
                error = thrown


async def each_step(run: Callable[[int | None, When], Awaitable[int]], *, at_least: int) -> None:
    """Run once to the end, then once for each suspension of it and each kind of cancellation."""
    steps = await run(None, "while it waits")
    assert steps >= at_least
    for when in WHENS:
        for step in range(1, steps + 1):
            await run(step, when)


async def cut(running: Coroutine[Any, Any, Any], step: int | None, when: When) -> int:
    """Run in a task of its own, cancelled at *step*; how often it was suspended."""
    doomed = CancelledAt(running, step, when)

    async def run() -> Any:
        return await doomed

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if step is None:
        task.result()
    elif doomed.steps >= step:  # with real sockets there may be fewer
        assert task.cancelled(), f"cancelled {when} at step {step}, came to {task!r}"
    return doomed.steps


async def settle() -> None:
    """Let those end that were told to."""
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)


def nothing_is_held(limio: Limio) -> None:
    limiter = limio._session.ladder.limiter
    assert (limiter._running, limiter._background) == (0, 0)
    assert not any(limiter._waiting.values())


def no_task_is_left() -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ------------------------------------------------------------------ in memory


class Tenant:
    """Gives tokens of which the second is good, is overloaded at first, and then answers."""

    def __init__(self) -> None:
        self.tokens = self.overloads = 0
        self.page = 0

    def __call__(self, request: Request) -> Response:
        if request.target == "/oauth2/token":
            self.tokens += 1
            return _answer({"access_token": f"t-{self.tokens}", "expires_in": 3600})
        if not self.overloads:
            self.overloads += 1
            return Response(status=503, headers={}, body=b"{}")
        if request.headers["authorization"] == "Bearer t-1":
            return Response(status=401, headers={}, body=b"{}")
        if request.target.startswith("/api/offers"):
            return self._offers(request)
        return _answer({"id": "thing-1"})

    def _offers(self, request: Request) -> Response:
        if "queryMoreFrom" not in request.target:
            self.page = 0
        self.page += 1
        names = {1: "ab", 2: "cd", 3: "ef"}.get(self.page, "")
        return _answer(
            {"items": [{"id": one} for one in names], "hits": 6, "queryMore": {"from": "s", "alias": "c"}}
        )


def _answer(body: Any) -> Response:
    return Response(status=200, headers={}, body=json.dumps(body).encode())


def client() -> Limio:
    return Limio(
        "https://limio.test",
        auth=ClientCredentials("id", CANARY),
        max_concurrency=1,
        transport=ScriptedTransport(Tenant()),
    )


async def test_a_call_can_be_cancelled_wherever_it_waits(virtual_time: Any) -> None:
    async def run(step: int | None, when: When) -> int:
        limio = client()
        steps = await cut(limio.objects.get("subscriptions", "sub-1"), step, when)
        nothing_is_held(limio)
        assert (await limio.objects.get("subscriptions", "sub-1")).id == "thing-1"
        await limio.aclose()
        no_task_is_left()
        return steps

    await each_step(run, at_least=6)


async def test_a_call_can_be_cancelled_wherever_it_waits_in_line(virtual_time: Any) -> None:
    async def run(step: int | None, when: When) -> int:
        limio = client()
        others = [asyncio.create_task(limio.objects.get("subscriptions", str(n))) for n in range(3)]
        await asyncio.sleep(0)
        more = asyncio.create_task(limio.objects.get("subscriptions", "behind"))
        steps = await cut(limio.objects.get("subscriptions", "sub-1"), step, when)
        for other in [*others, more]:
            assert (await other).id == "thing-1"
        nothing_is_held(limio)
        await limio.aclose()
        no_task_is_left()
        return steps

    await each_step(run, at_least=3)


async def test_an_order_that_is_cancelled_on_the_wire_is_not_sent_again(virtual_time: Any) -> None:
    async def run(step: int | None, when: When) -> int:
        limio = client()
        transport = limio._transport
        assert isinstance(transport, ScriptedTransport)
        transport.script[0].overloads = 1  # type: ignore[union-attr]
        steps = await cut(limio.orders.submit({"order_type": "new"}), step, when)
        sent = [request for request in transport.requests if request.target == "/api/order"]
        assert len(sent) <= 2  # once more after the 401, which executes nothing
        nothing_is_held(limio)
        await limio.aclose()
        return steps

    await each_step(run, at_least=4)


async def walk_on(listing: Any, seen: list[str]) -> None:
    async for offer in listing:
        seen.append(offer.id)
        await asyncio.sleep(0)  # the caller's work


@pytest.mark.parametrize("options", [{}, {"read_ahead": 0}, {"on_ambiguous": "restart"}])
async def test_a_walk_can_be_cancelled_wherever_it_waits_and_goes_on_or_says_that_it_cannot(
    options: Any, virtual_time: Any
) -> None:
    outcomes: set[str] = set()

    async def run(step: int | None, when: When) -> int:
        limio = client()
        listing = limio.offers.list(**options)
        seen: list[str] = []
        steps = await cut(walk_on(listing, seen), step, when)
        await settle()
        no_task_is_left()
        nothing_is_held(limio)
        try:
            await walk_on(listing, seen)
        except errors.IncompleteListing:  # cancelled with a page on the wire: it is lost
            outcomes.add("lost")
            assert "abcdef".startswith("".join(seen))
        else:
            outcomes.add("whole")
            assert "".join(seen) == "abcdef"
        await limio.aclose()
        no_task_is_left()
        nothing_is_held(limio)
        return steps

    await each_step(run, at_least=10)
    assert "whole" in outcomes
    assert ("lost" in outcomes) == ("on_ambiguous" not in options)


async def test_closing_the_client_ends_a_walk_also_if_the_closing_is_cancelled(virtual_time: Any) -> None:
    async def run(step: int | None, when: When) -> int:
        tenant = Tenant()

        async def page_3_never_comes(request: Request) -> Response:
            response = tenant(request)
            if tenant.page == 3:
                await asyncio.sleep(50)
            return response

        transport = ScriptedTransport(page_3_never_comes)
        limio = Limio("https://limio.test", auth=ClientCredentials("id", CANARY), transport=transport)
        seen: list[str] = []
        walking = asyncio.create_task(walk_on(limio.offers.list(), seen))
        await asyncio.sleep(40)
        assert "".join(seen) == "abcd"
        begun = virtual_time.elapsed
        steps = await cut(limio.aclose(), step, when)
        await limio.aclose()
        with pytest.raises(errors.ClientClosed):
            await walking
        assert virtual_time.elapsed == begun
        del walking
        await settle()
        no_task_is_left()
        assert transport.closed
        return steps

    await each_step(run, at_least=1)


# ------------------------------------------------------------------ on sockets


def nothing_is_connected(limio: Limio) -> None:
    transport = limio._transport
    assert isinstance(transport, AiohttpTransport)
    for session in transport._sessions.values():
        assert session.connector is not None
        assert not session.connector._acquired


@asynccontextmanager
async def serving(*script: Behaviour) -> AsyncIterator[tuple[RawServer, Limio]]:
    async with raw_server(*script) as server:
        limio = Limio(server.url, auth=ClientCredentials("id", CANARY), max_concurrency=1)
        yield server, limio
        await settle()
        nothing_is_held(limio)
        nothing_is_connected(limio)
        await limio.aclose()
        await all_is_closed(server)


async def all_is_closed(server: RawServer) -> None:
    for _ in range(100):
        if not server.open:
            break
        await asyncio.sleep(0.001)
    assert server.open == 0


TOKENS = (
    http(b'{"access_token":"t-1","expires_in":3600}'),
    http(b"{}", "401 Unauthorized"),
    http(b'{"access_token":"t-2","expires_in":3600}'),
)
BUSY = http(b"{}", "429 Busy")
THING = http(b'{"id":"thing-1","preview":{},"items":[],"access_token":"t-3"}')


@pytest.mark.parametrize("operation", ["get", "submit"])
@pytest.mark.usefixtures("hurried_time")
async def test_a_cancelled_call_leaves_no_connection_behind(operation: str) -> None:
    async def run(step: int | None, when: When) -> int:
        async with serving(*TOKENS, BUSY, BUSY, THING) as (_, limio):
            call = (
                limio.objects.get("subscriptions", "sub-1")
                if operation == "get"
                else limio.orders.preview({"order_type": "new"})
            )
            return await cut(call, step, when)

    await each_step(run, at_least=10)


def offers(names: str) -> bytes:
    items = [{"id": one} for one in names]
    return http(json.dumps({"items": items, "hits": 4, "queryMore": {"from": "s", "alias": "c"}}).encode())


@pytest.mark.usefixtures("hurried_time")
async def test_a_cancelled_walk_leaves_no_connection_behind() -> None:
    async def run(step: int | None, when: When) -> int:
        script = (*TOKENS, offers("ab"), offers("cd"), offers(""))
        async with serving(*script) as (_, limio):
            seen: list[str] = []
            steps = await cut(walk_on(limio.offers.list(), seen), step, when)
            assert "abcd".startswith("".join(seen))
        return steps

    await each_step(run, at_least=10)


async def test_closing_closes_every_connection_and_can_be_done_again_where_it_is_cancelled() -> None:
    async def run(step: int | None, when: When) -> int:
        async with serving(TOKENS[0], offers("a"), offers("")) as (server, limio):
            assert len(await limio.offers.list(verify="off").collect(limit=9)) == 1
            assert server.open == 2  # that of the first page may have been idle for longer
            steps = await cut(limio.aclose(), step, when)
            if step is None:
                await all_is_closed(server)
            return steps

    await each_step(run, at_least=1)


async def test_an_answer_that_nobody_waits_for_any_more_closes_its_connection() -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        await writer.drain()
        await asyncio.Event().wait()

    async with raw_server(half, hang_up) as server:
        limio = Limio(server.url, auth=BearerToken(CANARY))
        call = asyncio.create_task(limio.objects.get("subscriptions", "sub-1"))
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        nothing_is_connected(limio)
        await limio.aclose()
