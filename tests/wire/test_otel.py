"""OpenTelemetry's own SDK says what it was given: span trees as text, metrics by name, and nothing of the caller's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async import BearerToken, ClientCredentials, Limio, errors, models
from limio_async.client import auth_from
from limio_async.core.ports import Called
from limio_async.core.wire import Attempt, Request, Response
from limio_async.emulator import InMemoryTransport, World, server
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, answer, endpoint, listing_of, page

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from limio_async.otel import Otel

SHOWN = ("http.response.status_code", "error.type", "http.request.resend_count", "limio.page")


class Recorded:
    """An SDK that keeps what it is given."""

    def __init__(self, sampler: sampling.Sampler = sampling.ALWAYS_ON) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.otel = Otel(tracer_provider=self.tracers, meter_provider=MeterProvider([self.reader]))

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda one: one.start_time or 0)

    def tree(self) -> list[str]:
        """One line for a span, indented below its parent; what is shown follows its name and kind."""
        lines: list[str] = []
        spans = self.spans
        known = {one.context.span_id for one in spans if one.context}

        def show(parent: int | None, depth: int) -> None:
            for span in spans:
                above = span.parent.span_id if span.parent else None
                if above != parent if parent else above in known:
                    continue
                found = span.attributes or {}
                facts = [f"{name.rpartition('.')[2]}={found[name]!s}" for name in SHOWN if name in found]
                failed = ["ERROR"] if span.status.status_code is trace.StatusCode.ERROR else []
                lines.append(" ".join(["  " * depth + span.name, span.kind.name, *facts, *failed]))
                show(span.context.span_id if span.context else 0, depth + 1)

        show(None, 0)
        return lines

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        return named(self.reader)


def named(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: [
            (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", None)))
            for point in metric.data.data_points
        ]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def world() -> World:
    return World(offers=7, subscriptions=3)


@pytest.fixture
async def limio(world: World, recorded: Recorded) -> AsyncIterator[Limio]:
    async with (
        server.serve(world, port=0) as url,
        Limio(url, auth=auth_from(world.environ(url)), observer=recorded.otel) as client,
    ):
        await client.warmup()
        recorded.exporter.clear()
        yield client


GET = "GET /api/objects/{service}/subscriptions/{id} CLIENT"


async def test_one_call(limio: Limio, world: World, recorded: Recorded) -> None:
    await limio.subscriptions.get(next(world.ids("subscriptions")))
    assert recorded.tree() == ["limio getObject INTERNAL", f"  {GET} status_code=200"]
    client = recorded.spans[1].attributes or {}
    port = int(limio.origin.rpartition(":")[2])
    size = client["limio.response.size"]
    assert isinstance(size, int)
    assert size > 0
    assert client == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.full": f"{limio.origin}/api/objects/{{service}}/subscriptions/{{id}}",
        "limio.response.size": size,
    }
    assert dict(recorded.spans[0].attributes or {}) == {
        "limio.operation": "getObject",
        "limio.resource": "subscriptions",
        "limio.path_type": "subscriptions",
        "limio.lane": "interactive",
        "limio.attempts": 1,
    }


async def test_a_token_that_is_refused_is_renewed_below_the_call(
    limio: Limio, world: World, recorded: Recorded
) -> None:
    world.revoke_tokens()
    await limio.subscriptions.get(next(world.ids("subscriptions")))
    assert recorded.tree() == [
        "limio getObject INTERNAL",
        f"  {GET} status_code=401 type=401 ERROR",
        "  limio createToken INTERNAL",
        "    POST /oauth2/token CLIENT status_code=200",
        f"  {GET} status_code=200 resend_count=1",
    ]
    assert recorded.metrics()["limio.token.renewals"] == [({"limio.operation": "createToken"}, 2)]


async def test_a_token_that_is_not_given_is_an_error_of_its_own(world: World, recorded: Recorded) -> None:
    transport = InMemoryTransport(world)
    auth = ClientCredentials("wrong", "wrong")
    async with Limio(auth=auth, transport=transport, observer=recorded.otel) as limio:
        with pytest.raises(errors.Unauthorized):
            await limio.subscriptions.get("1")
    assert recorded.tree() == [
        "limio getObject INTERNAL type=Unauthorized ERROR",
        "  limio createToken INTERNAL type=Unauthorized ERROR",
        "    POST /oauth2/token CLIENT status_code=401 type=401 ERROR",
    ]


async def test_a_server_that_is_down_twice(world: World, recorded: Recorded, virtual_time: Any) -> None:
    world.faults.on("getObject", call=1).status(503)
    world.faults.on("getObject", call=2).status(503)
    transport = InMemoryTransport(world)
    auth = auth_from(world.environ(transport.origin))
    async with Limio(auth=auth, transport=transport, observer=recorded.otel) as limio:
        await limio.warmup()
        recorded.exporter.clear()
        await limio.subscriptions.get(next(world.ids("subscriptions")))
    assert recorded.tree() == [
        "limio getObject INTERNAL",
        f"  {GET} status_code=503 type=503 ERROR",
        f"  {GET} status_code=503 type=503 resend_count=1 ERROR",
        f"  {GET} status_code=200 resend_count=2",
    ]
    retries = recorded.metrics()["limio.retries"]
    assert retries == [({"limio.operation": "getObject", "limio.reason": "status 503"}, 2)]


async def test_three_pages_with_read_ahead_hang_below_the_caller(recorded: Recorded) -> None:
    transport = ScriptedTransport(page("1", cursor="a"), page("2", cursor="b"), page("3"))
    tracer = recorded.tracers.get_tracer("test")
    async with Limio(transport.origin, transport=transport, observer=recorded.otel) as limio:
        with tracer.start_as_current_span("job"):
            async for _ in limio.listing(listing_of(KEY), {}):
                with tracer.start_as_current_span("item"):
                    await asyncio.sleep(0)
    pages = [
        [f"  limio listThings INTERNAL page={number}", "    GET /api/things CLIENT status_code=200"]
        for number in (1, 2, 3)
    ]
    tree = recorded.tree()
    assert tree[0] == "job INTERNAL"
    assert [one for one in tree[1:] if "item" not in one] == [line for pair in pages for line in pair]
    assert [one for one in tree if "item" in one] == ["  item INTERNAL"] * 3
    assert {
        name: points for name, points in recorded.metrics().items() if "walk" in name or "limio.p" in name
    } == {
        "limio.pages": [({"limio.operation": "listThings"}, 3)],
        "limio.walks": [({"limio.operation": "listThings", "limio.complete": True}, 1)],
    }
    assert recorded.metrics()["limio.items"] == [({"limio.operation": "listThings"}, 3)]


async def test_a_walk_that_is_left_leaves_no_span_open(recorded: Recorded) -> None:
    transport = ScriptedTransport(page("1", cursor="a"), page("2", cursor="b"), page("3", cursor="c"))
    async with (
        Limio(transport.origin, transport=transport, observer=recorded.otel) as limio,
        aclosing(limio.listing(listing_of(KEY), {}).pages()) as pages,
    ):
        async for one in pages:
            if one.number == 2:
                break
    known = {one.context.span_id for one in recorded.spans if one.context}
    assert all(one.parent is None or one.parent.span_id in known for one in recorded.spans)
    assert recorded.metrics()["limio.in_flight"] == [({}, 0)]


async def test_a_write_that_is_cancelled(limio: Limio, world: World, recorded: Recorded) -> None:
    world.faults.on("submitOrder", call=1).delay(5)
    order = models.CancelSubscriptionOrder(subscription_id=next(world.ids("subscriptions")))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await limio.orders.submit(order)
    assert recorded.tree() == [
        "limio submitOrder INTERNAL type=CancelledError ERROR",
        "  POST /api/order CLIENT type=CancelledError ERROR",
    ]
    metrics = recorded.metrics()
    assert metrics["limio.unknown_outcomes"] == [({"limio.operation": "submitOrder"}, 1)]
    assert metrics["limio.in_flight"] == [({}, 0)]


async def test_a_write_whose_answer_is_lost(limio: Limio, world: World, recorded: Recorded) -> None:
    world.faults.on("submitOrder", call=1).lose_answer()
    order = models.CancelSubscriptionOrder(subscription_id=next(world.ids("subscriptions")))
    with pytest.raises(errors.UnknownOutcome):
        await limio.orders.submit(order)
    assert recorded.tree() == [
        "limio submitOrder INTERNAL type=UnknownOutcome ERROR",
        "  POST /api/order CLIENT type=AnswerLost ERROR",
    ]
    assert recorded.metrics()["limio.unknown_outcomes"] == [({"limio.operation": "submitOrder"}, 1)]


async def test_a_deadline(recorded: Recorded, virtual_time: Any) -> None:
    transport = ScriptedTransport(lambda _: asyncio.Event().wait())
    async with Limio(transport.origin, transport=transport, observer=recorded.otel) as limio:
        with pytest.raises(errors.DeadlineExceeded):
            await limio.request(endpoint(), {"id": "1"}, timeout=1)
    assert recorded.tree() == [
        "limio getThing INTERNAL type=DeadlineExceeded ERROR",
        "  GET /api/things/{id} CLIENT type=DeadlineExceeded ERROR",
    ]


async def test_each_request_carries_the_span_that_sends_it(recorded: Recorded) -> None:
    transport = ScriptedTransport(answer({"id": "1"}))
    async with Limio(transport.origin, transport=transport, observer=recorded.otel) as limio:
        await limio.request(endpoint(), {"id": "1"})
    sent = trace.get_current_span(propagate.extract(transport.requests[0].headers)).get_span_context()
    assert recorded.spans[1].context is not None
    assert (sent.trace_id, sent.span_id) == (
        recorded.spans[1].context.trace_id,
        recorded.spans[1].context.span_id,
    )


async def test_what_is_not_sampled_says_so_on_the_wire() -> None:
    recorded = Recorded(sampling.ALWAYS_OFF)
    transport = ScriptedTransport(answer({"id": "1"}))
    async with Limio(transport.origin, transport=transport, observer=recorded.otel) as limio:
        await limio.request(endpoint(), {"id": "1"})
    flags = transport.requests[0].headers["traceparent"].rpartition("-")[2]
    assert int(flags, 16) & 1 == 0
    assert recorded.spans == []


async def test_without_an_sdk_nothing_is_sent_along_and_nothing_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = ScriptedTransport(answer({}, 404))
    off = Otel(tracer_provider=trace.NoOpTracerProvider())
    async with Limio(transport.origin, transport=transport, observer=off) as limio:
        with pytest.raises(errors.NotFound):
            await limio.request(endpoint(), {"id": "1"})
    assert "traceparent" not in transport.requests[0].headers
    assert caplog.text == ""


async def test_without_an_sdk_a_trace_that_came_in_is_passed_on() -> None:
    transport = ScriptedTransport(answer({"id": "1"}))
    came = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with Limio(transport.origin, transport=transport, observer=Otel()) as limio:
        await limio.request(endpoint(), {"id": "1"})
        token = context.attach(propagate.extract(came))
        await limio.request(endpoint(), {"id": "1"})
        context.detach(token)
    assert [one.headers.get("traceparent") for one in transport.requests] == [None, came["traceparent"]]


async def test_the_callers_span_is_current_again(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    transport = ScriptedTransport(answer({"id": "1"}), errors.NeverSent("refused"))
    before = context.get_current()
    async with Limio(transport.origin, transport=transport, observer=recorded.otel, attempts=1) as limio:
        await limio.request(endpoint(), {"id": "1"})
        assert context.get_current() is before
        with pytest.raises(errors.NeverSent):
            await limio.request(endpoint(), {"id": "1"})
        assert context.get_current() is before
    assert caplog.text == ""


class Failing(SpanProcessor):
    """Fails at the end of the tries."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.kind is trace.SpanKind.CLIENT:
            raise RuntimeError("of the processor")


def fails(*_: object) -> None:
    raise RuntimeError("of the propagator")


@pytest.mark.parametrize("what", ["processor", "propagator"])
async def test_what_fails_in_an_sdk_leaves_the_callers_span_current(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "processor":
        recorded.tracers.add_span_processor(Failing())
    else:
        monkeypatch.setattr(propagate, "inject", fails)
    gate = asyncio.Event()

    async def waits(request: Request) -> Response:
        await gate.wait()
        return answer({"id": "1"})

    transport = ScriptedTransport(waits, answer({"id": "1"}))
    before = context.get_current()

    async def call(client: Limio) -> bool:
        await client.request(endpoint(), {"id": "1"})
        return context.get_current() is before

    async with Limio(transport.origin, transport=transport, observer=recorded.otel) as limio:
        first = asyncio.create_task(call(limio))
        await asyncio.sleep(0)
        assert await call(limio)
        gate.set()
        assert await first
    assert "limio getThing" in [one.name for one in recorded.spans]
    assert recorded.metrics()["limio.in_flight"] == [({}, 0)]


async def test_the_requests_in_flight_of_several_clients_are_counted() -> None:
    reader = InMemoryMetricReader()
    meters, gate = MeterProvider([reader]), asyncio.Event()

    async def waits(request: Request) -> Response:
        await gate.wait()
        return answer({"id": "1"})

    clients = [
        Limio("limio.test", transport=ScriptedTransport(waits), observer=Otel(meter_provider=meters))
        for _ in range(2)
    ]
    calls = [asyncio.create_task(one.request(endpoint(), {"id": "1"})) for one in clients]
    await asyncio.sleep(0.01)
    in_flight: list[Any] = []
    for _ in range(2):
        in_flight += named(reader)["limio.in_flight"]
        gate.set()
        await asyncio.gather(*calls)
    assert in_flight == [({}, 2), ({}, 0)]


@pytest.mark.parametrize("outcome", [errors.AnswerLost("hung up"), answer({}, 502), "cancelled"])
@pytest.mark.parametrize("retry", ["safe", "idempotent", "once"])
async def test_every_write_that_may_have_happened_is_counted(
    recorded: Recorded, outcome: Any, retry: Any
) -> None:
    cancelled = asyncio.Event().wait
    transport = ScriptedTransport((lambda _: cancelled()) if outcome == "cancelled" else outcome)
    write = endpoint(operation="putThing", method="PUT", path="/t", params=(), body=dict, retry=retry)
    async with Limio(transport.origin, transport=transport, observer=recorded.otel, attempts=1) as limio:
        with pytest.raises((errors.LimioError, TimeoutError)):
            async with asyncio.timeout(0.05):
                await limio.request(write, {}, {})
    counted = recorded.metrics().get("limio.unknown_outcomes")
    assert counted == (None if retry == "safe" else [({"limio.operation": "putThing"}, 1)])


async def test_what_others_log_during_a_call_has_its_trace(recorded: Recorded) -> None:
    seen: list[int] = []

    def served(request: Request) -> Response:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return answer({"id": "1"})

    transport = ScriptedTransport(served)
    async with Limio(transport.origin, transport=transport, observer=recorded.otel) as limio:
        await limio.request(endpoint(), {"id": "1"})
    assert seen == [one.context.span_id for one in recorded.spans[1:] if one.context]


@pytest.fixture
def aiohttp_instrumented(recorded: Recorded) -> Iterator[None]:
    reason = "opentelemetry-instrumentation-aiohttp-client is not installed"
    module = pytest.importorskip("opentelemetry.instrumentation.aiohttp_client", reason=reason)
    instrumentor = module.AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=recorded.tracers)
    yield
    instrumentor.uninstrument()


@pytest.mark.usefixtures("aiohttp_instrumented")
async def test_beside_the_instrumentation_of_aiohttp_a_request_has_one_span(
    world: World, recorded: Recorded
) -> None:
    async with server.serve(world, port=0) as url:
        auth = auth_from(world.environ(url))
        async with Limio(url, auth=auth, observer=recorded.otel) as limio:
            world.faults.on("getObject", call=1).status(503)
            await limio.subscriptions.get(next(world.ids("subscriptions")))
        assert recorded.tree() == [
            "limio getObject INTERNAL",
            "  limio createToken INTERNAL",
            "    POST /oauth2/token CLIENT status_code=200",
            f"  {GET} status_code=503 type=503 ERROR",
            f"  {GET} status_code=200 resend_count=1",
        ]
        recorded.exporter.clear()
        async with Limio(url, auth=auth_from(world.environ(url))) as plain:
            await plain.subscriptions.get(next(world.ids("subscriptions")))
        assert len(recorded.spans) == 2  # it is there, and sees what nobody else does


@pytest.mark.usefixtures("aiohttp_instrumented")
async def test_beside_the_instrumentation_of_aiohttp_trace_context_goes_out_once(recorded: Recorded) -> None:
    heads: list[bytes] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n{"id":"1"}')
        writer.close()

    listening = await asyncio.start_server(served, "127.0.0.1", 0)
    async with listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with Limio(url, observer=recorded.otel) as limio:
            await limio.request(endpoint(), {"id": "1"})
    assert [head.lower().count(b"traceparent:") for head in heads] == [1]


# --- nothing of the caller's

CANARY = "canary"
TEXT = st.text("abcXYZ019-_.@ /ä", min_size=1, max_size=8).map(lambda text: f"{CANARY}{text}{CANARY}")


@settings(max_examples=30, deadline=None)
@given(text=TEXT, header=st.booleans(), status=st.sampled_from([200, 400, 401, 404, 409, 500]))
def test_nothing_of_the_callers_or_the_servers_is_recorded(text: str, header: bool, status: int) -> None:
    recorded = Recorded()
    says = answer({"message": text, "error": text, "id": text}, status, {"x-request-id": "r"})

    async def calls() -> None:
        transport = ScriptedTransport(says)
        auth: Any = [BearerToken("canary-token"), ClientCredentials("canary-id", "canary-secret")]
        async with Limio(
            transport.origin, auth=auth, transport=transport, observer=recorded.otel, attempts=1
        ) as limio:
            view = limio.with_options(headers={"x-own": CANARY}) if header else limio
            every: list[Any] = [
                lambda: view.subscriptions.get(text),
                lambda: view.objects.get(text, text),
                lambda: view.offers.list(tags=text).first(),
                lambda: view.catalog_items.get(f"/{text}/{text}"),
                lambda: view.orders.submit({"order_type": text}),
                lambda: view.subscriptions.update(text, {"data": {text: text}}),
                lambda: view.oauth.create_token({"grant_type": text, "client_secret": text}),
            ]
            for number, one in enumerate(every, 1):
                with suppress(errors.LimioError):
                    await one()
                assert len(transport.requests) >= number

    asyncio.run(calls())
    assert CANARY not in repr([one.to_json() for one in recorded.spans])
    assert CANARY not in repr(recorded.metrics())


def test_what_a_strategy_of_ones_own_sends_shows_no_path(recorded: Recorded) -> None:
    class Own:
        offers = ("bearer",)

        async def credential(self, accepts: Any, exchange: Any) -> Any:
            await exchange(Request(operation="own", method="GET", target=f"/t/{CANARY}?{CANARY}", headers={}))

        async def renew(self, refused: Any, exchange: Any) -> bool:
            return False

    async def call() -> None:
        transport = ScriptedTransport(answer({"id": "1"}))
        own: Any = Own()
        async with Limio(transport.origin, auth=own, transport=transport, observer=recorded.otel) as limio:
            with pytest.raises(errors.MissingCredentials):
                await limio.request(endpoint(auth=("bearer",)), {"id": "1"})

    asyncio.run(call())
    assert len(recorded.spans) == 3
    assert CANARY not in repr([one.to_json() for one in recorded.spans])


def test_a_call_that_nobody_finishes_says_nothing(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    """As a coroutine does that is collected as garbage, in whatever context that happens."""

    async def begun() -> Any:
        called = Called(
            operation="getThing", resource="things", method="GET", path="/", path_type=None, retry="safe",
            lane="interactive", origin="https://limio.test", page=None,
        )  # fmt: skip
        watch = recorded.otel.call(called)
        assert watch is not None
        watch.sends(1)
        return watch

    watch = asyncio.run(begun())

    async def closed() -> None:
        with caplog.at_level(logging.DEBUG):
            watch.came_to(Attempt(status=None, reason="GeneratorExit"), 0)
            watch.ended(GeneratorExit())

    asyncio.run(closed())
    assert len(recorded.spans) == 2
    assert "Failed to detach" not in caplog.text


# --- switched on from outside


def test_the_environment_switches_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from limio_async.environment import options_from

    assert isinstance(options_from({"LIMIO_OTEL": "1"})["observer"], Otel)
    assert options_from({"LIMIO_OTEL": "0"})["observer"] is None
    with pytest.raises(errors.ConfigurationError, match="LIMIO_OTEL"):
        options_from({"LIMIO_OTEL": "perhaps"})
