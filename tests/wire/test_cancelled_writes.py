"""A write that had left when its caller was cancelled is no secret: it is in `trace`, and a warning names it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import anyio
import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors
from limio_async.core.wire import Attempt, Request, Response
from limio_async.transport import AiohttpTransport
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer
from tests.wire.rawserver import Behaviour, RawServer, hang_up, http, raw_server

SOON = 0.05
ORDER = {"order_type": "new", "external_id": "mine"}
MAY_HAVE = "it may have happened"
Call = Coroutine[Any, Any, Any]


async def by_wait_for(call: Call) -> None:
    await asyncio.wait_for(call, SOON)


async def by_timeout(call: Call) -> None:
    async with asyncio.timeout(SOON):
        await call


async def by_cancel(call: Call) -> None:
    task = asyncio.create_task(call)
    await asyncio.sleep(SOON)
    task.cancel("shutdown")
    await task


async def by_a_sibling(call: Call) -> None:
    async def fails() -> None:
        await asyncio.sleep(SOON)
        raise RuntimeError("sibling")

    async with asyncio.TaskGroup() as group:
        group.create_task(call)
        group.create_task(fails())


async def by_gather(call: Call) -> None:
    both = asyncio.gather(call, asyncio.sleep(60))
    await asyncio.sleep(SOON)
    both.cancel()
    await both


async def by_fail_after(call: Call) -> None:
    with anyio.fail_after(SOON):
        await call


async def by_move_on_after(call: Call) -> None:
    with anyio.move_on_after(SOON) as scope:
        await call
    assert scope.cancelled_caught
    raise TimeoutError


async def by_a_cancel_scope(call: Call) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: call)
        await anyio.sleep(SOON)
        group.cancel_scope.cancel()
    raise TimeoutError


CUTS: list[tuple[Callable[[Call], Coroutine[Any, Any, None]], type[BaseException]]] = [
    (by_wait_for, TimeoutError),
    (by_timeout, TimeoutError),
    (by_cancel, asyncio.CancelledError),
    (by_a_sibling, ExceptionGroup),
    (by_gather, asyncio.CancelledError),
    (by_fail_after, TimeoutError),
    (by_move_on_after, TimeoutError),
    (by_a_cancel_scope, TimeoutError),
]
cut = pytest.mark.parametrize(("cut_by", "raises"), CUTS, ids=[one.__name__ for one, _ in CUTS])


@asynccontextmanager
async def serving(*script: Behaviour, **options: Any) -> AsyncIterator[tuple[RawServer, Limio]]:
    async with raw_server(*script) as server:
        auth = options.pop("auth", None) or BearerToken("token")
        async with Limio(server.url, auth=auth, **options) as limio:
            yield server, limio


async def never(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@cut
async def test_an_order_that_left_is_in_the_trace_and_in_one_warning(
    cut_by: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[Attempt] = []
    async with serving(never) as (server, limio):
        with pytest.raises(raises):
            await cut_by(limio.orders.submit(ORDER, trace=trace))
        assert len(server.sent("/api/order")) == 1
    assert [(one.status, one.reason) for one in trace] == [(None, "cancelled")]
    assert trace[0].duration == pytest.approx(SOON, abs=SOON)
    (said,) = warnings(caplog)
    assert "submitOrder" in said
    assert MAY_HAVE in said


@cut
async def test_a_read_that_left_is_in_the_trace_and_nobody_is_warned(
    cut_by: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[Attempt] = []
    async with serving(never) as (_, limio):
        with pytest.raises(raises):
            await cut_by(limio.subscriptions.get("sub-1", trace=trace))
    assert [one.reason for one in trace] == ["cancelled"]
    assert warnings(caplog) == []


async def test_what_is_raised_is_the_cancellation_with_a_note_and_what_it_means_as_its_cause() -> None:
    async with serving(never) as (_, limio):
        task = asyncio.create_task(limio.orders.submit(ORDER))
        await asyncio.sleep(SOON)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert caught.type is asyncio.CancelledError
    assert caught.value.args == ("why",)
    assert any(MAY_HAVE in note for note in caught.value.__notes__)
    assert isinstance(caught.value.__cause__, errors.UnknownOutcome)
    assert [one.reason for one in caught.value.__cause__.attempts] == ["cancelled"]


def test_what_the_end_of_the_loop_cancels_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    trace: list[Attempt] = []
    running: list[asyncio.Task[Any]] = []

    async def main() -> None:
        limio = Limio("https://limio.test", auth=BearerToken("t"), transport=ScriptedTransport(sleeping))
        running.append(asyncio.create_task(limio.orders.submit(ORDER, trace=trace)))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert running[0].cancelled()
    assert [one.reason for one in trace] == ["cancelled"]
    assert len(warnings(caplog)) == 1


async def sleeping(_: Request) -> Response:
    await asyncio.sleep(60)
    raise AssertionError


# ------------------------------------------------------------------ what had not left


@cut
async def test_an_order_that_waits_in_line_never_left(
    cut_by: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[Attempt] = []
    async with serving(never, max_concurrency=1) as (server, limio):
        before = asyncio.create_task(limio.subscriptions.get("sub-1"))
        await asyncio.sleep(SOON)
        with pytest.raises(raises):
            await cut_by(limio.orders.submit(ORDER, trace=trace))
        before.cancel()
        with suppress(asyncio.CancelledError):
            await before
        assert server.sent("/api/order") == []
    assert trace == []
    assert warnings(caplog) == []


@cut
async def test_an_order_that_waits_for_a_token_never_left(
    cut_by: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[Attempt] = []
    async with serving(never, auth=ClientCredentials("id", "secret")) as (server, limio):
        with pytest.raises(raises):
            await cut_by(limio.orders.submit(ORDER, trace=trace))
        assert server.sent("/api/order") == []
    assert trace == []
    assert warnings(caplog) == []


@cut
async def test_an_order_that_waits_for_another_token_was_refused(
    cut_by: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[Attempt] = []
    issued = http(b'{"access_token":"t-1","expires_in":3600}')
    async with serving(http(b"{}", "401 No"), auth=ClientCredentials("id", "secret")) as (server, limio):
        server.tokens = [issued, never]
        with pytest.raises(raises):
            await cut_by(limio.orders.submit(ORDER, trace=trace))
    assert [one.status for one in trace] == [401]
    assert warnings(caplog) == []


@asynccontextmanager
async def nobody_accepts() -> AsyncIterator[str]:
    """A port whose queue is full: whoever connects waits."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(address)
        await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for one in full:
                one.close()


@cut
async def test_an_order_that_waits_for_its_connection_never_left(
    cut_by: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[Attempt] = []
    async with nobody_accepts() as url, Limio(url, auth=BearerToken("token")) as limio:
        with pytest.raises(raises):
            await cut_by(limio.orders.submit(ORDER, trace=trace))
    assert [one.reason for one in trace] == ["NeverSent"]
    assert warnings(caplog) == []


class OnlyOnce(aiohttp.abc.AbstractResolver):
    """Finds the host of each request but number *stuck*, whose caller it keeps waiting."""

    def __init__(self, stuck: int) -> None:
        self.stuck = stuck
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: Any = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        self.asked += 1
        if self.asked == self.stuck:
            await asyncio.sleep(60)
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def connecting_slowly(*script: Behaviour, stuck: int) -> AsyncIterator[tuple[RawServer, Limio]]:
    """A client whose connection number *stuck* is not made."""
    resolver = OnlyOnce(stuck)
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    async with raw_server(*script) as server, aiohttp.ClientSession(connector=connector) as session:
        url = server.url.replace("127.0.0.1", "localhost")
        async with Limio(url, auth=BearerToken("token"), session=session) as limio:
            yield server, limio


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("first", [http(b"{}", "502 Bad"), hang_up], ids=["502", "lost"])
async def test_a_write_in_doubt_stays_so_while_it_waits_for_another_connection(
    first: Behaviour, finished: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limio_async.core.retry.wait_before_resend", lambda *_: 0.0)
    trace: list[Attempt] = []
    told: list[Any] = []
    async with connecting_slowly(first, stuck=2) as (server, limio):
        update, given = limio.subscriptions.update, ("sub-1", {"data": {"a": 1}})
        if finished:
            call = limio.finish(update, *given, trace=trace, on_outcome=told.append)
            with pytest.raises(TimeoutError):
                await by_timeout(call)
            await limio.aclose(grace=SOON)
        else:
            with pytest.raises(asyncio.CancelledError) as caught:
                await by_cancel(update(*given, trace=trace))
            told.append(caught.value.__cause__)
        assert len(server.requests) == 1
    (doubt,) = told
    assert isinstance(doubt, errors.AnswerLost)
    assert (doubt.happened, doubt.retryable, doubt.operation) == ("unknown", True, "updateObject")
    assert trace[1].reason == "NeverSent"
    assert len(trace) == 2
    (said,) = warnings(caplog)
    assert MAY_HAVE in said


@pytest.mark.parametrize("call", ["order", "update", "read"])
async def test_a_finished_call_that_the_end_of_the_client_keeps_from_leaving_is_told_of_that(
    call: str,
) -> None:
    trace: list[Attempt] = []
    told: list[Any] = []
    options: Any = {"trace": trace, "on_outcome": told.append}
    async with connecting_slowly(never, stuck=1) as (server, limio):
        made = {
            "order": limio.finish(limio.orders.submit, ORDER, **options),
            "update": limio.finish(limio.subscriptions.update, "sub-1", {"data": {}}, **options),
            "read": limio.finish(limio.subscriptions.get, "sub-1", **options),
        }
        with pytest.raises(TimeoutError):
            await by_timeout(made.pop(call))
        for other in made.values():
            other.close()
        await limio.aclose(grace=0)
        assert server.requests == []
    assert [type(one) for one in told] == [errors.ClientClosed]
    assert (told[0].happened, told[0].retryable) == ("no", False)
    assert "cancelled" not in {one.reason for one in trace}


async def test_so_it_is_with_a_session_of_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    async with nobody_accepts() as url, aiohttp.ClientSession() as session:
        limio = Limio(url, auth=BearerToken("token"), transport=AiohttpTransport(url, session=session))
        with pytest.raises(TimeoutError):
            await by_timeout(limio.orders.submit(ORDER))
        await limio.aclose()
    assert warnings(caplog) == []


# ------------------------------------------------------------------ pauses


@pytest.mark.parametrize(
    ("first", "warned"),
    [
        (answer({}, 503), True),
        (answer({}, 520), True),
        (errors.AnswerLost("hung up"), True),
        (answer({}, 429), False),
        (errors.NeverSent("refused"), False),
    ],
    ids=["503", "520", "lost", "429", "never sent"],
)
async def test_a_write_in_a_pause_is_in_doubt_if_an_attempt_before_was(
    first: Any, warned: bool, caplog: pytest.LogCaptureFixture, virtual_time: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("limio_async.core.retry.wait_before_resend", lambda *_: 5.0)
    monkeypatch.setattr("limio_async.core.retry.may_resend", lambda *_: True)
    trace: list[Attempt] = []
    transport = ScriptedTransport(first)
    async with Limio("https://limio.test", auth=BearerToken("t"), transport=transport) as limio:
        task = asyncio.create_task(limio.subscriptions.update("sub-1", {"data": {}}, trace=trace))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert len(trace) == len(transport.requests) == 1
    assert trace[0].waited == 5.0
    assert len(warnings(caplog)) == warned
    assert all("updateObject" in said and MAY_HAVE in said for said in warnings(caplog))


# ------------------------------------------------------------------ siblings: what else is no error of ours


class Boom(Exception):
    pass


async def test_a_transport_that_fails_in_its_own_way_leaves_no_order_unseen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trace: list[Attempt] = []
    transport = ScriptedTransport(Boom("mine"))
    async with Limio("https://limio.test", auth=BearerToken("t"), transport=transport) as limio:
        with pytest.raises(Boom):
            await limio.orders.submit(ORDER, trace=trace)
    assert [(one.status, one.reason) for one in trace] == [(None, "Boom")]
    (said,) = warnings(caplog)
    assert "submitOrder" in said
    assert MAY_HAVE in said


async def test_a_strategy_that_fails_in_its_own_way_put_no_order_in_doubt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(BearerToken):
        async def credential(self, accepts: Any, exchange: Any) -> Any:
            raise Boom

    trace: list[Attempt] = []
    async with serving(never, auth=Broken("t")) as (_, limio):
        with pytest.raises(Boom):
            await limio.orders.submit(ORDER, trace=trace)
    assert trace == []
    assert warnings(caplog) == []


async def test_the_report_of_a_walk_counts_a_page_that_was_cancelled() -> None:
    async with serving(never) as (_, limio):
        listing = limio.subscriptions.list()
        with pytest.raises(TimeoutError):
            await by_timeout(listing.take(1))
        assert (listing.report.requests, listing.report.retries) == (1, 0)


async def test_a_transport_that_fails_in_its_own_way_loses_the_page_of_a_scroll() -> None:
    first = answer({"items": [{"id": "a"}], "hits": 2, "queryMore": {"from": "s", "alias": "c"}})
    transport = ScriptedTransport(first, Boom("mine"), answer({"items": [{"id": "c"}]}))
    async with Limio("https://limio.test", auth=BearerToken("t"), transport=transport) as limio:
        listing = limio.offers.list(read_ahead=0)
        with pytest.raises(Boom):
            await listing.collect(limit=9)
        with pytest.raises(errors.IncompleteListing):
            await listing.collect(limit=9)


@cut
async def test_a_page_that_was_cancelled_before_it_left_is_not_lost(
    cut_by: Any, raises: type[BaseException]
) -> None:
    def scroll(name: str) -> Response:
        return answer({"items": [{"id": name}], "hits": 2, "queryMore": {"from": "s", "alias": "c"}})

    async def slowly(_: Request) -> Response:
        await asyncio.sleep(SOON * 4)
        return answer({"id": "sub-1"})

    last = answer({"items": [], "hits": 2})
    transport = ScriptedTransport(scroll("a"), slowly, scroll("b"), last)
    async with Limio(
        "https://limio.test", auth=BearerToken("t"), transport=transport, max_concurrency=1
    ) as limio:
        listing = limio.offers.list(read_ahead=0)
        async for one in listing:
            assert one.id == "a"
            break
        before = asyncio.create_task(limio.subscriptions.get("sub-1"))
        await asyncio.sleep(0)
        with pytest.raises(raises):
            await cut_by(listing.collect(limit=9))
        await before
        assert [one.id for one in await listing.collect(limit=9)] == ["b"]
        assert listing.report.complete


@pytest.mark.parametrize("read_ahead", [0, 1])
@cut
async def test_nor_is_one_that_was_cancelled_while_it_waited_for_its_connection(
    cut_by: Any, raises: type[BaseException], read_ahead: int
) -> None:
    pages = [
        b'{"items":[{"id":"a"}],"hits":2,"queryMore":{"from":"s","alias":"c"}}',
        b'{"items":[{"id":"b"}],"hits":2,"queryMore":{"from":"s","alias":"c"}}',
        b'{"items":[],"hits":2}',
    ]
    async with connecting_slowly(*map(http, pages), stuck=2) as (_, limio):
        listing = limio.offers.list(read_ahead=read_ahead)
        seen: list[str] = []
        with pytest.raises(raises):
            await cut_by(gathered(listing, seen))
        await gathered(listing, seen)
        assert seen == ["a", "b"]
        assert listing.report.complete


async def gathered(listing: Any, seen: list[str]) -> None:
    async for one in listing:
        seen.append(one.id)


async def test_nor_is_one_that_was_cancelled_in_a_pause_after_no_connection_was_made(
    virtual_time: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limio_async.core.retry.wait_before_resend", lambda *_: 5.0)
    first = answer({"items": [{"id": "a"}], "hits": 2, "queryMore": {"from": "s", "alias": "c"}})
    last = answer({"items": [{"id": "b"}], "hits": 2})
    transport = ScriptedTransport(first, errors.NeverSent("refused"), last)
    async with Limio("https://limio.test", auth=BearerToken("t"), transport=transport) as limio:
        listing = limio.offers.list(read_ahead=0)
        seen: list[str] = []
        with pytest.raises(TimeoutError):
            await by_timeout(gathered(listing, seen))
        await gathered(listing, seen)
        assert seen == ["a", "b"]
