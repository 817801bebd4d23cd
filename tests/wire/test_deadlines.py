"""A deadline is `DeadlineExceeded` whatever it met, but for an order on the wire; and no timeout around it is muddled."""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer
from tests.wire.rawserver import Behaviour, RawServer, broken, http, raw_server, silence

LIMIT = 0.15
ISSUED = http(b'{"access_token":"t-1","expires_in":3600}')
Making = Callable[[Limio], Coroutine[Any, Any, Any]]
CALLS: dict[str, Making] = {
    "read": lambda limio: limio.subscriptions.get("sub-1", timeout=LIMIT),
    "update": lambda limio: limio.subscriptions.update("sub-1", {"data": {}}, timeout=LIMIT),
    "order": lambda limio: limio.orders.submit({"order_type": "new"}, timeout=LIMIT),
}


@asynccontextmanager
async def stuck_at(place: str) -> AsyncIterator[Limio]:
    """A client whose next call waits for ever at *place*."""
    said: dict[str, tuple[Behaviour, list[Behaviour]]] = {
        "queue": (silence, []),
        "token": (silence, [silence]),
        "renewal": (http(b"{}", "401 No"), [ISSUED, silence]),
        "answer": (silence, []),
        "body": (broken(http(b"{", length=99), end=silence), []),
    }
    script, tokens = said[place]
    auth: Any = ClientCredentials("id", "secret") if tokens else BearerToken("t")
    async with raw_server(script) as server, Limio(server.url, auth=auth, max_concurrency=1) as limio:
        server.tokens = tokens
        before = await _in_front(limio, server) if place == "queue" else None
        yield limio
        if before is not None:
            before.cancel()
            with suppress(asyncio.CancelledError):
                await before


async def _in_front(limio: Limio, server: RawServer) -> asyncio.Task[Any]:
    task = asyncio.create_task(limio.subscriptions.get("in front"))
    for _ in range(1000):
        if server.requests:
            break
        await asyncio.sleep(0.001)
    return task


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", ["queue", "token", "renewal", "answer", "body"])
async def test_a_deadline_says_where_the_call_stood(place: str, call: str) -> None:
    async with stuck_at(place) as limio:
        with pytest.raises(errors.LimioError, match=f"not finished after {LIMIT:g} s") as caught:
            await CALLS[call](limio)
    on_the_wire = place in {"answer", "body"}
    if call == "order" and on_the_wire:
        assert type(caught.value) is errors.UnknownOutcome
    else:
        assert isinstance(caught.value, errors.DeadlineExceeded)
        assert caught.value.left == on_the_wire
    assert caught.value.happened == ("unknown" if on_the_wire and call != "read" else "no")
    assert caught.value.operation in {"getObject", "updateObject", "submitOrder"}


async def test_the_deadline_of_warming_up_is_one_too() -> None:
    async with raw_server(silence) as server:
        limio = Limio(server.url, auth=ClientCredentials("id", "secret"), timeout=LIMIT)
        with pytest.raises(errors.DeadlineExceeded):
            await limio.warmup()
        await limio.aclose()


async def test_a_pause_that_a_deadline_ends_is_one_too(virtual_time: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("limio_async.core.sending.Sending.has_time_until", lambda *_: True)
    transport = ScriptedTransport(answer({}, 429, headers={"retry-after": "50"}))
    async with Limio("https://limio.test", auth=BearerToken("t"), transport=transport) as limio:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await limio.subscriptions.update("sub-1", {"data": {}}, timeout=5)
    assert not caught.value.left


async def test_a_deadline_that_a_transport_takes_for_trouble_is_a_deadline(virtual_time: Any) -> None:
    for trouble in (errors.NeverSent("connecting"), errors.AnswerLost("reading")):

        async def stuck(_: Any, trouble: Exception = trouble) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise trouble from None

        async with Limio(
            "https://limio.test", auth=BearerToken("t"), transport=ScriptedTransport(stuck)
        ) as limio:
            with pytest.raises(errors.DeadlineExceeded) as caught:
                await limio.subscriptions.get("sub-1", timeout=5)
            assert caught.value.left == isinstance(trouble, errors.AnswerLost)


# ------------------------------------------------------------------ timeouts around it


async def with_timeout(call: Coroutine[Any, Any, Any], seconds: float) -> str:
    async with asyncio.timeout(seconds):
        await call
    return "done"


async def with_wait_for(call: Coroutine[Any, Any, Any], seconds: float) -> str:
    await asyncio.wait_for(call, seconds)
    return "done"


async def with_fail_after(call: Coroutine[Any, Any, Any], seconds: float) -> str:
    with anyio.fail_after(seconds):
        await call
    return "done"


async def with_move_on_after(call: Coroutine[Any, Any, Any], seconds: float) -> str:
    with anyio.move_on_after(seconds):
        await call
        return "done"
    return "TimeoutError"


async def with_two(call: Coroutine[Any, Any, Any], seconds: float) -> str:
    async with asyncio.timeout(seconds):
        with anyio.fail_after(seconds):
            await call
    return "done"


async def with_a_group(call: Coroutine[Any, Any, Any], seconds: float) -> str:
    async def late() -> None:
        await asyncio.sleep(seconds)
        raise TimeoutError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(late())
            await call
    except ExceptionGroup as found:
        return type(found.exceptions[0]).__name__
    return "done"


AROUND = [with_timeout, with_wait_for, with_fail_after, with_move_on_after, with_two, with_a_group]
around = pytest.mark.parametrize("within", AROUND, ids=lambda one: one.__name__)


async def sleeping(_: Any) -> Any:
    await asyncio.sleep(60)


async def outcome(within: Any, call: Coroutine[Any, Any, Any], seconds: float) -> str:
    """What came of it; whoever asks goes on undisturbed."""
    try:
        came = str(await within(call, seconds))
    except (TimeoutError, errors.LimioError) as error:
        came = type(error).__name__
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return came


@around
@pytest.mark.parametrize("call", ["read", "order"])
async def test_the_timeout_that_is_due_first_is_the_one_that_is_told(
    within: Any, call: str, virtual_time: Any
) -> None:
    own = "UnknownOutcome" if call == "order" else "DeadlineExceeded"
    async with Limio(
        "https://limio.test", auth=BearerToken("t"), transport=ScriptedTransport(sleeping), attempts=1
    ) as limio:
        made = CALLS[call]
        assert await outcome(within, made(limio), LIMIT * 2) == own
        assert await outcome(within, made(limio), LIMIT / 2) == "TimeoutError"
        assert await outcome(within, made(limio), LIMIT) in {own, "TimeoutError"}


@around
async def test_two_that_are_due_at_about_the_same_time_end_as_one_of_them(within: Any) -> None:
    counted: collections.Counter[str] = collections.Counter()
    async with (
        raw_server(silence) as server,
        Limio(server.url, auth=BearerToken("t"), attempts=1, max_concurrency=64) as limio,
    ):

        async def one() -> None:
            near = random.uniform(-0.0006, 0.0006)
            call = limio.subscriptions.get("sub-1", timeout=0.8 + near)  # half of it is for connecting
            counted[await outcome(within, call, 0.8 - near)] += 1

        tasks = [asyncio.create_task(one()) for _ in range(20)]
        await asyncio.gather(*tasks)
    assert {**counted, "DeadlineExceeded": 0, "TimeoutError": 0}.keys() == {
        "DeadlineExceeded",
        "TimeoutError",
    }
