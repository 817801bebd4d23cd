"""Whoever watches a client is told what becomes of each call and each page, and is never in their way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from limio_async import ClientCredentials, Limio, errors
from limio_async.core.ports import Called, Observer, Watch
from limio_async.core.wire import Attempt, Request, Response
from tests.conftest import Answer, ScriptedTransport
from tests.unit.helpers import KEY, Item, answer, endpoint, listing_of, page, scroll_page
from tests.unit.helpers import SCROLL as SCROLLED

GET = endpoint(auth=("bearer",))
ORDER = endpoint(
    operation="submitThing", method="POST", path="/api/thing", params=(), body=dict, retry="once"
)
TOKEN = answer({"access_token": "hidden", "expires_in": 3600})
OK = answer({"id": "1"})
LOST = errors.AnswerLost("hung up", operation="getThing")
METHODS = ("queued", "token", "sends", "came_to", "waits", "page", "restarts", "ended")


class Seen(Watch):
    def __init__(self, by: Watcher, name: str) -> None:
        self.by, self.name = by, name
        self.say("begins")

    def say(self, what: str) -> None:
        self.by.said.append(f"{self.name}: {what}")
        if self.by.fails in {what.partition(" ")[0], "all"}:
            raise self.by.error

    def queued(self, seconds: float) -> None:
        self.say(f"queued {seconds:.0f}")

    def token(self, seconds: float) -> None:
        self.say(f"token {seconds:.0f}")

    def sends(self, attempt: int) -> Mapping[str, str] | None:
        self.say(f"sends {attempt}")
        return self.by.headers

    def came_to(self, attempt: Attempt, size: int) -> None:
        self.say(f"came_to {attempt.reason}")

    def waits(self, seconds: float, why: str) -> None:
        self.say(f"waits {why}")

    def page(self, items: int) -> None:
        self.say(f"page {items}")

    def restarts(self, why: Exception) -> None:
        self.say(f"restarts {type(why).__name__}")

    def ended(self, error: BaseException | None) -> None:
        self.say(f"ended {type(error).__name__ if error else 'well'}")


class Watcher(Observer):
    """Writes down what it is told, gives *headers*, and fails in one method, or in all."""

    def __init__(self, fails: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.said: list[str] = []
        self.called: list[Called] = []
        self.fails = fails
        self.headers = headers
        self.error: BaseException = ValueError("of the observer")

    def call(self, call: Called) -> Watch:
        self.called.append(call)
        return Seen(self, f"{call.operation}{call.page or ''}")

    def walk(self, walk: Called) -> Watch:
        return Seen(self, f"walk of {walk.operation}")


def client(transport: ScriptedTransport, **options: Any) -> Limio:
    return Limio(transport.origin, auth=ClientCredentials("a", "b"), transport=transport, **options)


def with_token(*script: Answer) -> ScriptedTransport:
    return ScriptedTransport(TOKEN, *script)


async def test_a_call_is_told_from_its_token_to_its_end(virtual_time: Any) -> None:
    watcher = Watcher()
    async with client(with_token(answer({}, 503), OK), observer=watcher) as limio:
        await limio.request(GET, {"id": "1"})
    assert watcher.said == [
        "getThing: begins",
        "createToken: begins",
        "createToken: sends 1",
        "createToken: came_to status 200",
        "createToken: ended well",
        "getThing: token 0",
        "getThing: sends 1",
        "getThing: came_to status 503",
        "getThing: waits status 503",
        "getThing: token 0",
        "getThing: sends 2",
        "getThing: came_to status 200",
        "getThing: ended well",
    ]
    assert watcher.called[0] == Called(
        operation="getThing",
        resource="things",
        method="GET",
        path="/api/things/{id}",
        path_type=None,
        retry="safe",
        lane="interactive",
        origin="https://limio.test",
        page=None,
    )
    assert (watcher.called[1].resource, watcher.called[1].path) == ("auth", "/oauth2/token")


@pytest.mark.parametrize(
    ("outcome", "error", "told"),
    [
        (answer({}, 404), errors.NotFound, "NotFound"),
        (answer(b"<html>"), errors.Unreadable, "Unreadable"),
        (LOST, errors.UnknownOutcome, "UnknownOutcome"),
        (RuntimeError("of the transport"), RuntimeError, "RuntimeError"),
    ],
)
async def test_the_end_of_a_call_is_what_its_caller_gets(
    outcome: Response | Exception, error: type[Exception], told: str
) -> None:
    watcher = Watcher()
    order = endpoint(**{name: getattr(ORDER, name) for name in ORDER.__struct_fields__} | {"auth": ()})
    which: Any = GET if told in {"NotFound", "RuntimeError"} else order
    async with client(
        ScriptedTransport(*([TOKEN] if which is GET else []), outcome), observer=watcher
    ) as limio:
        with pytest.raises((error, errors.UnknownOutcome)) as caught:
            await limio.request(which, {"id": "1"}, None if which is GET else {})
    assert watcher.said[-1] == f"{which.operation}: ended {type(caught.value).__name__}"


async def test_what_cannot_be_sent_has_begun_and_ended() -> None:
    watcher = Watcher()
    async with client(ScriptedTransport(OK), observer=watcher) as limio:
        with pytest.raises(errors.InvalidArgument):
            await limio.request(GET, {"id": ""})
    assert watcher.said == ["getThing: begins", "getThing: ended InvalidArgument"]


async def test_a_call_that_is_cancelled_ends_what_it_began() -> None:
    watcher = Watcher()
    async with client(with_token(lambda _: asyncio.Event().wait()), observer=watcher) as limio:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await limio.request(GET, {"id": "1"})
    assert watcher.said[-2:] == ["getThing: came_to cancelled", "getThing: ended CancelledError"]


async def test_each_page_of_a_walk_is_a_call_and_the_walk_has_an_end_of_its_own() -> None:
    watcher = Watcher()
    transport = ScriptedTransport(page("1", "2", cursor="a"), page("3", cursor="b"), page("4"))
    async with client(transport, observer=watcher) as limio:
        assert len(await limio.listing(listing_of(KEY), {}).collect(limit=9)) == 4
    assert [one for one in watcher.said if "begins" in one or "page" in one or "ended" in one] == [
        "walk of listThings: begins",
        "listThings1: begins",
        "listThings1: ended well",
        "walk of listThings: page 2",
        "listThings2: begins",
        "listThings2: ended well",
        "walk of listThings: page 1",
        "listThings3: begins",
        "listThings3: ended well",
        "walk of listThings: page 1",
        "walk of listThings: ended well",
    ]


@pytest.mark.parametrize("first", [scroll_page("1", hits=2), answer({"message": "gone"}, 404)])
async def test_a_walk_after_a_look_at_its_first_items_is_told_to_its_end(first: Response) -> None:
    watcher = Watcher()
    transport = ScriptedTransport(first, scroll_page("1", "2", hits=2), scroll_page(hits=2))
    async with client(transport, observer=watcher) as limio:
        listing = limio.listing(listing_of(SCROLLED), {})
        with contextlib.suppress(errors.NotFound):
            await listing.take(1)
        watcher.said.clear()
        assert [item.id async for item in listing][-1] == "2"
    told = [one.removeprefix("walk of listThings: ") for one in watcher.said if one.startswith("walk of")]
    assert (told[0], told[-1]) == ("begins", "ended well")


async def test_pages_that_are_fetched_ahead_have_their_numbers() -> None:
    watcher = Watcher()
    transport = ScriptedTransport(page("1", cursor="a"), page("2", cursor="b"), page("3"))
    async with client(transport, observer=watcher) as limio:
        async for _ in limio.listing(listing_of(KEY), {}):
            pass
    assert [call.page for call in watcher.called] == [1, 2, 3]


@pytest.mark.parametrize("verify", ["raise", "warn", "off"])
async def test_a_walk_that_is_not_complete_ends_with_what_is_wrong(verify: Any) -> None:
    watcher = Watcher()
    transport = ScriptedTransport(scroll_page("1", hits=9), scroll_page())
    async with client(transport, observer=watcher) as limio:
        try:
            await limio.listing(listing_of(SCROLLED), {}, verify=verify).collect(limit=9)
        except errors.IncompleteListing:
            assert verify == "raise"
    assert watcher.said[-1] == "walk of listThings: ended IncompleteListing"


async def test_a_restart_is_told_and_pages_count_from_the_top_again() -> None:
    watcher = Watcher()
    gone = answer({}, 404)
    transport = ScriptedTransport(
        scroll_page("1", hits=2), gone, scroll_page("1", hits=2), scroll_page("2", hits=2), scroll_page()
    )
    async with client(transport, observer=watcher) as limio:
        await limio.listing(listing_of(SCROLLED), {}).collect(limit=9)
    assert "walk of listThings: restarts CursorExpired" in watcher.said
    assert "listThings2: ended NotFound" in watcher.said
    assert [call.page for call in watcher.called] == [1, 2, 1, 2, 3]
    assert watcher.said[-1] == "walk of listThings: ended well"


@pytest.mark.parametrize("error", [ValueError("of the observer"), asyncio.CancelledError()])
@pytest.mark.parametrize("fails", [*METHODS, "begins"])
async def test_an_observer_that_raises_is_logged_once_and_never_the_failure_of_a_call(
    fails: str, error: BaseException, caplog: pytest.LogCaptureFixture, virtual_time: Any
) -> None:
    watcher, other = Watcher(fails), Watcher()
    watcher.error = error
    script = [
        TOKEN, answer({}, 503), OK, OK,
        scroll_page("1", hits=2), answer({}, 404), scroll_page("1", hits=2), scroll_page("2", hits=2), scroll_page(),
    ]  # fmt: skip
    options: dict[str, Any] = {"observer": [watcher, other], "requests_per_second": 1000}
    async with client(ScriptedTransport(*script), **options) as limio:
        await limio.request(GET, {"id": "1"})
        await limio.request(GET, {"id": "1"})
        assert len(await limio.listing(listing_of(SCROLLED), {}).collect(limit=9)) == 2
    records = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.exc_info is not None for one in records] == [True]
    assert "the observer Watcher raised in" in records[0].getMessage()
    assert len(watcher.said) < len(other.said)
    assert other.said[-1] == "walk of listThings: ended well"


async def test_what_an_observer_has_begun_ends_when_it_raised_too(virtual_time: Any) -> None:
    watcher, gate = Watcher(), asyncio.Event()

    async def waits(request: Request) -> Response:
        await gate.wait()
        return OK

    async with client(with_token(waits, OK), observer=watcher) as limio:
        first = asyncio.create_task(limio.request(GET, {"id": "1"}))
        await asyncio.sleep(1)
        watcher.fails = "came_to"
        await limio.request(GET, {"id": "2"})
        watcher.said.clear()
        gate.set()
        await first
    assert watcher.said == ["getThing: ended well"]


async def test_an_observer_that_fails_around_an_order_leaves_no_doubt(virtual_time: Any) -> None:
    order = endpoint(operation="submitThing", method="POST", path="/t", params=(), body=dict, retry="once")
    for fails in ("begins", "queued", "sends", "came_to", "ended"):
        async with client(ScriptedTransport(OK), observer=Watcher(fails)) as limio:
            assert await limio.request(order, {}, {}) == {"id": "1"}


async def test_an_observer_that_ends_the_process_keeps_no_slot() -> None:
    class Ends(BaseException):
        pass

    for fails in ("begins", "queued", "token", "sends", "came_to", "ended"):
        watcher = Watcher(fails)
        watcher.error = Ends()
        async with client(with_token(OK), observer=watcher, requests_per_second=1000) as limio:
            with pytest.raises(Ends):
                await limio.request(GET, {"id": "1"})
            assert limio.state().used == 0, fails


async def test_only_trace_context_is_added_to_what_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    context = {"Traceparent": "00-1-2-01", "tracestate": "a=b", "baggage": "c=d"}
    watcher = Watcher(headers={**context, "authorization": "Bearer other", "x-other": "1"})
    transport = with_token(OK)
    async with client(transport, observer=watcher) as limio:
        await limio.request(GET, {"id": "1"})
        await limio.request(GET, {"id": "1"})
    for request in transport.requests[1:]:
        assert {name: request.headers.get(name.lower()) for name in context} == context
        assert request.headers["authorization"] == "Bearer hidden"
        assert "x-other" not in request.headers
    warned = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert warned == [
        "the observer Watcher may add traceparent, tracestate and baggage; not sent: authorization, x-other"
    ]


async def test_trace_context_cannot_break_a_request_apart(caplog: pytest.LogCaptureFixture) -> None:
    transport = with_token(OK)
    watcher = Watcher(headers={"traceparent": "00\r\nx-other: 1"})
    async with client(transport, observer=watcher) as limio:
        await limio.request(GET, {"id": "1"})
    assert not any("traceparent" in one.headers for one in transport.requests)
    assert "raised in sends()" in caplog.text


class OnlyCalls:
    """An observer that knows neither walks nor most of what a watch may be told."""

    def __init__(self) -> None:
        self.ends = 0

    def call(self, call: Called) -> Any:
        return self

    def ended(self, error: BaseException | None) -> None:
        self.ends += 1


async def test_a_method_that_is_not_there_is_not_called(caplog: pytest.LogCaptureFixture) -> None:
    watcher: Any = OnlyCalls()
    transport = ScriptedTransport(page("1", cursor="a"), page("2"))
    async with client(transport, observer=watcher) as limio:
        await limio.listing(listing_of(KEY), {}).collect(limit=9)
    assert (watcher.ends, caplog.text) == (2, "")


async def test_an_observer_is_synchronous() -> None:
    class Late:
        async def call(self, call: Called) -> None: ...

    wrong: list[Any] = [Late(), Watcher, "otel", [Watcher(), 1]]
    for one in wrong:
        with pytest.raises(errors.ConfigurationError, match="observer= takes observers"):
            Limio("limio.test", observer=one)


# --- the log

FIELDS = ("operation", "attempt", "status", "request_id", "lane", "outcome")


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.DEBUG, "limio_async")
    return lambda: [one for one in caplog.records if one.name == "limio_async"]


async def test_each_call_is_one_record_with_its_facts(log: Any, virtual_time: Any) -> None:
    refused = answer({}, 404, {"x-request-id": "r-1"})
    async with client(with_token(OK, answer({}, 503), refused)) as limio:
        await limio.request(GET, {"id": "1"})
        with pytest.raises(errors.NotFound):
            await limio.with_options(lane="background").request(GET, {"id": "1"})
    token, first, waits, second = log()
    usual = {"attempt": 1, "status": 200, "request_id": None, "lane": "interactive", "outcome": "ok"}
    assert fields(token) == {**usual, "operation": "createToken"}
    assert fields(first) == {**usual, "operation": "getThing"}
    assert waits.levelno == logging.INFO
    assert fields(waits) | {"operation": "getThing", "attempt": 1, "status": 503} == fields(waits)
    assert fields(second) == {
        "operation": "getThing", "attempt": 2, "status": 404, "request_id": "r-1", "lane": "background", "outcome": "NotFound",
    }  # fmt: skip
    assert all(one.duration >= 0 for one in (token, first, second))
    assert {one.levelno for one in (token, first, second)} == {logging.DEBUG}


async def never(request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("script", "timeout", "outcome"),
    [
        ((never,), 0.2, "DeadlineExceeded"),
        ((answer({}, 429, {"retry-after": "9"}),), 1.0, "TooManyRequests"),
        ((answer(b"<html>"),), 1.0, "Unreadable"),
        ((errors.NeverSent("refused"),), 1.0, "NeverSent"),
        ((ValueError("of a transport"),), 1.0, "ValueError"),
    ],
)
async def test_nothing_that_fails_is_silent(
    log: Any, virtual_time: Any, script: tuple[Answer, ...], timeout: float, outcome: str
) -> None:
    async with client(with_token(*script), timeout=timeout) as limio:
        with pytest.raises((errors.LimioError, ValueError)) as caught:
            await limio.request(GET, {"id": "1"})
    assert type(caught.value).__name__ == outcome
    assert (log()[-1].operation, log()[-1].outcome) == ("getThing", outcome)


@pytest.mark.parametrize("outcome", [LOST, never, answer({}, 502), answer(b"<html>")])
async def test_a_write_that_may_have_happened_is_a_warning_whatever_the_level(
    caplog: pytest.LogCaptureFixture, virtual_time: Any, outcome: Answer
) -> None:
    order = endpoint(operation="submitThing", method="POST", path="/t", params=(), body=dict, retry="once")
    async with client(ScriptedTransport(outcome)) as limio:
        with pytest.raises(errors.UnknownOutcome):
            await limio.request(order, {}, {}, timeout=1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert fields(record) | {"operation": "submitThing", "outcome": "UnknownOutcome", "attempt": 1} == fields(
        record
    )
    assert "it may have happened" in record.getMessage()


async def test_a_list_that_is_not_complete_is_a_warning_when_it_raises_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = ScriptedTransport(scroll_page("1", hits=9), scroll_page())
    async with client(transport) as limio:
        with pytest.raises(errors.IncompleteListing):
            await limio.listing(listing_of(SCROLLED), {}).collect(limit=9)
    (record,) = caplog.records
    assert (record.levelno, fields(record)["outcome"]) == (logging.WARNING, "IncompleteListing")


async def test_an_item_that_cannot_be_read_is_in_the_log(log: Any) -> None:
    transport = ScriptedTransport(answer({"items": [{"id": 1}]}))
    async with client(transport) as limio:
        with pytest.raises(errors.Unreadable):
            await limio.listing(listing_of(KEY, returns=Item), {}).collect(limit=9)
    assert [fields(one)["outcome"] for one in log()] == ["ok", "Unreadable"]


async def test_a_restart_is_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "limio_async")
    transport = ScriptedTransport(
        scroll_page("1", hits=1), answer({}, 404), scroll_page("1", hits=1), scroll_page()
    )
    async with client(transport) as limio:
        await limio.listing(listing_of(SCROLLED), {}).collect(limit=9)
    (record,) = caplog.records
    assert (record.levelno, fields(record)["outcome"]) == (logging.INFO, "CursorExpired")


def test_no_field_is_one_of_the_records_own() -> None:
    own = logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys()
    assert not own & {*FIELDS, "duration", "message", "asctime", "taskName"} - {
        "taskName",
        "message",
        "asctime",
    }
