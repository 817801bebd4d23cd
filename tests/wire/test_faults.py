"""Every fault on the wire for every retry class: what was sent, how often, and what the caller got."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors, models
from limio_async.core.wire import Response, Retry
from limio_async.transport import aiohttp
from limio_async.transport.workarounds import is_cut_short
from tests.wire.rawserver import Behaviour, RawServer, broken, hang_up, http, raw_server, reset, silence, slow

pytestmark = pytest.mark.usefixtures("hurried_time")

CANARY = "canary-secret-value"
LONG = 600.0
SHORT = 4.0
SAMPLES = Path(__file__).parent.parent / "samples"

ORDER = models.CreateSubscriptionOrder(
    order_items=[models.OrderItemInput(offer=models.OfferPayload(id="8a51", version="4dd3"), quantity=1)],
    customer_details=models.CustomerDetails(first_name="Zoë", email="zoe@example.com"),
    country="GB",
)


def page(*ids: str, cursor: str | None = "s1", commit: str = "c1", hits: int | None = 4) -> bytes:
    """A page of a catalog list."""
    body: dict[str, Any] = {"items": [{"id": one} for one in ids], "commitId": commit}
    if hits is not None:
        body["hits"] = {"value": hits, "relation": "eq"}
    if cursor is not None:
        body["queryMore"] = {"from": cursor, "alias": "catalog"}
    return http(json.dumps(body).encode())


def key_page(*ids: str, cursor: str | None = None) -> bytes:
    """A page of an object list."""
    body = {"items": [{"id": one} for one in ids], **({} if cursor is None else {"queryMore": cursor})}
    return http(json.dumps(body).encode())


# ------------------------------------------------------------------ the four classes


class Call(NamedTuple):
    """An operation of one retry class, and what a server in good health says to it."""

    run: Callable[[Limio], Awaitable[Any]]
    line: str
    """Method and target of the request that the fault hits."""
    value: Any
    before: tuple[Behaviour, ...] = ()
    answer: bytes = http(b'{"id":"thing-1"}')
    after: tuple[Behaviour, ...] = ()


async def get(limio: Limio) -> Any:
    return (await limio.objects.get("subscriptions", "sub-1")).id


async def walk(limio: Limio) -> Any:
    return [offer.id async for offer in limio.offers.list(page_size=2)]


async def update(limio: Limio) -> Any:
    change = models.UpdateObjectRequest(data={"quantity": 2})
    return (await limio.objects.update("subscriptions", "sub-1", change)).id


async def order(limio: Limio) -> Any:
    return (await limio.orders.submit(ORDER)).id


PAGE_2 = "/api/offers?opt.all=true&opt.pageSize=2&opt.queryMoreFrom=s1&opt.queryMoreAlias=catalog"

CALLS: Mapping[Retry, Call] = {
    "safe": Call(get, "GET /api/objects/limio/subscriptions/sub-1", "thing-1"),
    "scroll": Call(
        walk,
        f"GET {PAGE_2}",
        ["1", "2", "3", "4"],
        before=(page("1", "2", cursor="s1"),),
        answer=page("3", "4", cursor="s2"),
        after=(page(cursor=None),),
    ),
    "idempotent": Call(update, "PUT /api/objects/limio/subscriptions/sub-1", "thing-1"),
    "once": Call(order, "POST /api/order", "thing-1"),
}


# ------------------------------------------------------------------ the table


class Outcome(NamedTuple):
    requests: int
    """How many reached the server."""
    error: type[errors.LimioError] | None = None
    """None where the caller got the answer."""


Expected = Mapping[Retry, Outcome]


def always(requests: int, error: type[errors.LimioError] | None = None, **others: Outcome) -> Expected:
    """The same for all classes but *others*."""
    return {retry: others.get(retry, Outcome(requests, error)) for retry in CALLS}


LOST_PAGE = Outcome(1, errors.IncompleteListing)
UNKNOWN = Outcome(1, errors.UnknownOutcome)

AMBIGUOUS = always(2, scroll=LOST_PAGE, once=UNKNOWN)  # it may have been executed
NOT_EXECUTED = always(2, once=Outcome(1, errors.TooManyRequests))
UNREADABLE = always(1, errors.Unreadable, scroll=LOST_PAGE, once=UNKNOWN)
TOO_LATE = always(1, errors.DeadlineExceeded, once=UNKNOWN)


class Fault(NamedTuple):
    behaviour: Behaviour
    expected: Expected
    timeout: float = LONG
    for_ever: bool = False


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "content-type: application/json", *headers, "", ""]).encode()


def chunked(body: bytes) -> bytes:
    """A whole body in one chunk and its end."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


BODY = b'{"id":"thing-1","items":[{"id":"3"},{"id":"4"}],"data":{"name":"a whole answer"}}'
CUT = BODY[:-20]
HTML = b"<!doctype html><html><body>Please sign in</body></html>"
BOMB = gzip.compress(bytes(40 * 1024 * 1024), 9)
MALFORMED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
DATE = "Tue, 24 Nov 2026 10:00:00 GMT"
LATER = "Tue, 24 Nov 2026 10:00:02 GMT"

FAULTS: Mapping[str, Fault] = {
    # --- the connection
    "hangs up before the head": Fault(hang_up, AMBIGUOUS),
    "reset before the head": Fault(broken(end=reset), AMBIGUOUS),
    "reset in the head": Fault(broken(b"HTTP/1.1 200 OK\r\ncontent-le", end=reset), AMBIGUOUS),
    "hangs up in the head": Fault(broken(head("content-length: 80")[:-2]), AMBIGUOUS),
    "reset in the body": Fault(broken(head("content-length: 900"), CUT, end=reset), AMBIGUOUS),
    "reset in a body without length": Fault(broken(head(), CUT, end=reset), AMBIGUOUS),
    # --- the body
    "truncated, with its length": Fault(broken(head(f"content-length: {len(BODY)}") + CUT), AMBIGUOUS),
    "truncated, without a length": Fault(broken(head() + CUT), AMBIGUOUS),
    "truncated, connection: close": Fault(http(CUT, close=True), AMBIGUOUS),
    "truncated, in chunks": Fault(
        broken(head("transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(CUT), CUT)), AMBIGUOUS
    ),
    "truncated, compressed, without a length": Fault(
        broken(head("content-encoding: gzip") + gzip.compress(BODY)[:-30]), AMBIGUOUS
    ),
    "nothing at all, without a length": Fault(broken(head()), AMBIGUOUS),
    "content-length too large": Fault(broken(http(BODY, length=len(BODY) + 1)), AMBIGUOUS),
    "content-length too small": Fault(http(BODY, length=len(BODY) - 9), AMBIGUOUS),
    "a bad chunk": Fault(broken(MALFORMED), AMBIGUOUS),
    "a bad chunk, later": Fault(
        slow(head("transfer-encoding: chunked"), b"2\r\n{}\r\n", b"zz\r\n{}\r\n0\r\n\r\n", pause=0.1),
        AMBIGUOUS,
    ),
    "said to be gzip": Fault(http(BODY, "200 OK", "content-encoding: gzip"), AMBIGUOUS),
    "a gzip bomb": Fault(
        http(BOMB, "200 OK", "content-encoding: gzip"),
        UNREADABLE,
    ),
    "cut JSON, whole by its length": Fault(http(CUT), UNREADABLE),
    "cut JSON, whole by its chunks": Fault(head("transfer-encoding: Chunked") + chunked(CUT), UNREADABLE),
    "cut JSON, whole by its chunks, compressed": Fault(
        head("content-encoding: gzip", "transfer-encoding: chunked") + chunked(gzip.compress(CUT)), UNREADABLE
    ),
    "no JSON, whole, without a length": Fault(http(b'{"id":oops,"items":[]}', close=True), UNREADABLE),
    "200 with HTML": Fault(http(HTML), UNREADABLE),
    "200 with HTML, without a length": Fault(http(HTML, close=True), UNREADABLE),
    "200 with nothing": Fault(http(b""), UNREADABLE),
    "200 with another shape": Fault(http(b'[{"id":1}]'), UNREADABLE),
    "200 too deep": Fault(http(b"[" * 100_000, close=True), UNREADABLE),
    # --- the head
    "a garbage status line": Fault(broken(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), AMBIGUOUS),
    "a status that is none": Fault(broken(b"HTTP/1.1 abc OK\r\n\r\n"), AMBIGUOUS),
    "too many headers": Fault(
        broken(head(*(f"x-{n}: 1" for n in range(600)), "content-length: 2") + b"{}"), AMBIGUOUS
    ),
    "a header without end": Fault(broken(head("x: " + "a" * 100_000)), AMBIGUOUS),
    "two lengths": Fault(broken(head(f"content-length: {len(BODY)}", "content-length: 2") + BODY), AMBIGUOUS),
    # --- time
    "silence": Fault(silence, TOO_LATE, SHORT, for_ever=True),
    "a slow head": Fault(slow(head(), BODY, pause=2 * SHORT), TOO_LATE, SHORT, for_ever=True),
    "a dripping body": Fault(
        slow(head("content-length: 99"), *[b" "] * 99, pause=SHORT / 9), TOO_LATE, SHORT, for_ever=True
    ),
    # --- the status
    "429": Fault(http(b"{}", "429 Too Many"), NOT_EXECUTED),
    "429 for 2 s": Fault(http(b"{}", "429 Too Many", "retry-after: 2"), NOT_EXECUTED),
    "429 until a date": Fault(
        http(b"{}", "429 Too Many", f"retry-after: {LATER}", f"date: {DATE}"), NOT_EXECUTED
    ),
    "429 until a day that does not exist": Fault(
        http(b"{}", "429 Too Many", "retry-after: Thu, 31 Feb 2026 10:00:00 GMT", f"date: {DATE}"),
        NOT_EXECUTED,
    ),
    "429 for too long": Fault(
        http(b"{}", "429 Too Many", f"retry-after: {10 * LONG:.0f}"), always(1, errors.TooManyRequests)
    ),
    "429 for a fraction": Fault(http(b"{}", "429 Too Many", "retry-after: 1.5"), NOT_EXECUTED),
    "429 with two waits, one too long": Fault(
        http(b"{}", "429 Too Many", f"Retry-After: {10 * LONG:.0f}", "retry-after: 1"),
        always(1, errors.TooManyRequests),
    ),
    "429 with merged waits, one too long": Fault(
        http(b"{}", "429 Too Many", f"retry-after: 1, {10 * LONG:.0f}"), always(1, errors.TooManyRequests)
    ),
    "429 for too many milliseconds": Fault(
        http(b"{}", "429 Too Many", f"Retry-After-Ms: {10_000 * LONG:.0f}", "retry-after: 1"),
        always(1, errors.TooManyRequests),
    ),
    "429 until the end of time": Fault(
        http(b"{}", "429 Too Many", "retry-after: Fri, 31 Dec 2999 10:00:00 GMT"),
        always(1, errors.TooManyRequests),
    ),
    "408": Fault(http(b"", "408 Request Timeout", close=True), NOT_EXECUTED),
    "408 for 2 s": Fault(http(b"{}", "408 Request Timeout", "retry-after: 2"), NOT_EXECUTED),
    "425": Fault(http(b"{}", "425 Too Early"), NOT_EXECUTED),
    "425 for too long": Fault(
        http(b"{}", "425 Too Early", f"retry-after: {10 * LONG:.0f}"), always(1, errors.TooManyRequests)
    ),
    "500": Fault(http(b'{"message":"no"}', "500 Internal"), AMBIGUOUS),
    **{
        f"{status}": Fault(http(HTML, f"{status} Origin"), AMBIGUOUS)
        for status in (520, 521, 522, 523, 524, 529, 530)
    },
    "599": Fault(http(b"{}", "599 Own"), always(1, errors.ServerError, scroll=LOST_PAGE, once=UNKNOWN)),
    "502 with HTML": Fault(http(HTML, "502 Bad Gateway"), AMBIGUOUS),
    "503 for 2 s": Fault(http(b"{}", "503 Busy", "retry-after: 2"), AMBIGUOUS),
    "a storm of 503": Fault(
        http(b"{}", "503 Busy"),
        always(3, errors.ServerError, scroll=LOST_PAGE, once=UNKNOWN),
        for_ever=True,
    ),
    "504": Fault(http(b"{}", "504 Gateway Timeout"), AMBIGUOUS),
    "401": Fault(http(b"{}", "401 Unauthorized"), always(1, errors.Unauthorized)),
    "403": Fault(http(b"{}", "403 Forbidden"), always(1, errors.Forbidden)),
    "422": Fault(http(b"{}", "422 Unprocessable"), always(1, errors.BadRequest)),
    "302 to another origin": Fault(
        http(b"", "302 Found", "location: https://evil.invalid/steal"), always(1, errors.ApiError)
    ),
}

TABLE = [
    pytest.param(fault, retry, id=f"{name}, {retry}")
    for name, fault in FAULTS.items()
    for retry in fault.expected
]


@pytest.mark.parametrize(("fault", "retry"), TABLE)
async def test_a_fault_has_the_outcome_that_its_retry_class_promises(fault: Fault, retry: Retry) -> None:
    call, expected = CALLS[retry], fault.expected[retry]
    ending = () if fault.for_ever else (call.answer, *call.after)
    async with (
        raw_server(*call.before, fault.behaviour, *ending) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=fault.timeout) as limio,
    ):
        error = await outcome_of(call, limio)
    sent = server.sent(call.line.split()[1])
    assert Outcome(len(sent), None if error is None else type(error)) == expected
    assert len(set(sent)) == 1
    assert sent[0].startswith(f"{call.line} HTTP/1.1\r\n".encode())
    assert sent[0].lower().count(b"authorization: bearer") == 1
    if error is not None and not isinstance(error, errors.ListingError):
        assert len(error.attempts) == expected.requests


async def outcome_of(call: Call, limio: Limio) -> errors.LimioError | None:
    """What went wrong; None if the caller got what a healthy server has."""
    try:
        value = await call.run(limio)
    except errors.LimioError as failed:
        error = failed
    else:
        assert value == call.value
        return None
    assert CANARY not in f"{error} {error!r} {vars(error)!r}"
    assert "<html" not in str(error)
    return error


@pytest.mark.parametrize("retry", CALLS)
async def test_a_refused_connection_is_tried_again_by_every_class(retry: Retry) -> None:
    call = CALLS[retry]

    async with raw_server(http(b"{}")) as server:

        async def last_answer(writer: asyncio.StreamWriter) -> None:
            server.stop()
            behaviour = call.before[0]
            assert isinstance(behaviour, bytes)
            writer.write(behaviour)
            await writer.drain()

        if call.before:
            server.script = [last_answer]
        else:
            server.stop()
        async with Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio:
            error = await outcome_of(call, limio)
    assert isinstance(error, errors.NeverSent)
    assert [one.reason for one in error.attempts] == ["NeverSent"] * 3
    assert len(server.requests) == len(call.before)


async def test_a_page_that_was_never_sent_can_still_be_walked() -> None:
    async with raw_server(http(b"{}")) as first, raw_server(page("3", "4"), page(cursor=None)) as second:

        async def last_answer(writer: asyncio.StreamWriter) -> None:
            first.stop()
            writer.write(page("1", "2"))
            await writer.drain()

        first.script = [last_answer]
        limio = Limio(first.url, auth=BearerToken(CANARY), timeout=LONG)
        listing = limio.offers.list()
        ids: list[str | None] = []
        with pytest.raises(errors.NeverSent):
            async for offer in listing:
                ids.append(offer.id)
        port = int(first.url.rpartition(":")[2])
        again = await asyncio.start_server(second.handle, "127.0.0.1", port)
        ids += [offer.id async for offer in listing]
        await limio.aclose()
        again.close()
    assert ids == ["1", "2", "3", "4"]


async def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    loop = asyncio.get_running_loop()
    came: list[float] = []

    def noting(answer: bytes) -> Behaviour:
        async def say(writer: asyncio.StreamWriter) -> None:
            came.append(loop.time())
            writer.write(answer)
            await writer.drain()

        return say

    for asked in (["retry-after: 2"], [f"retry-after: {LATER}", f"date: {DATE}"]):
        came.clear()
        busy = noting(http(b"{}", "429 Too Many", *asked))
        async with (
            raw_server(busy, noting(CALLS["safe"].answer)) as server,
            Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
        ):
            await get(limio)
        assert came[1] - came[0] >= 2


async def test_a_call_may_be_given_longer_than_its_client_gives_others() -> None:
    late = slow(http(b'{"id":"thing-1"}'), pause=1.5 * SHORT)
    async with (
        raw_server(late) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=SHORT) as limio,
    ):
        with pytest.raises(errors.DeadlineExceeded):
            await limio.objects.get("subscriptions", "sub-1")
        assert (await limio.objects.get("subscriptions", "sub-1", timeout=LONG)).id == "thing-1"


async def test_an_outage_is_not_made_worse() -> None:
    calls = 150
    async with (
        raw_server(http(b"{}", "503 Busy")) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        for _ in range(calls):
            with pytest.raises(errors.ServerError):
                await get(limio)
    assert len(server.requests) <= calls + 500 // 14


async def test_nothing_is_sent_to_the_origin_of_a_redirect() -> None:
    async with raw_server(http(b"{}")) as evil:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            redirect = http(b"", status, f"location: {evil.url}/steal?token=")
            async with (
                raw_server(redirect) as server,
                Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
            ):
                for call in (get, update, order, walk):
                    with pytest.raises(errors.ApiError, match="redirects are not followed"):
                        await call(limio)
    assert evil.connections == 0


@pytest.mark.parametrize("sample", ["listOffers", "getObject", "submitOrder"])
async def test_an_answer_cut_anywhere_is_lost_and_not_misread(sample: str) -> None:
    # A body without length, cut at each of its bytes, is never taken for what the API would answer.
    body = (SAMPLES / f"{sample}.json").read_bytes().strip()
    for n in range(len(body)):
        response = Response(status=200, headers={"connection": "close"}, body=body[:n])
        assert is_cut_short(response), body[:n][-30:]
    assert not is_cut_short(Response(status=200, headers={}, body=body))


@pytest.mark.parametrize("odd", [b"NaN", b'"\xff"', b"nil", b"[" * 20_000 + b"]" * 20_000])
def test_an_answer_that_is_odd_is_cut_only_where_its_end_is_missing(odd: bytes) -> None:
    whole = b'{"a":%b,"b":[{}]}' % odd
    assert not is_cut_short(Response(status=200, headers={}, body=whole))
    if not odd.startswith(b"["):  # which nobody can tell
        assert is_cut_short(Response(status=200, headers={}, body=whole[:-1]))


# ------------------------------------------------------------------ kept connections


class Forgetful(RawServer):
    """Closes a connection that was idle for a moment, and the client does not look."""

    idle = 0.02

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock: socket.socket = writer.get_extra_info("socket")
        self.connections += 1
        while head := await self._request(reader):
            self.requests.append(head)
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            assert isinstance(answer, bytes)
            writer.write(answer)
            await writer.drain()
            threading.Timer(self.idle, _shut, [sock]).start()
        writer.close()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        sock.shutdown(socket.SHUT_RDWR)


def block() -> None:
    """What a caller does that computes between two calls: no event loop runs, no hang-up is noticed."""
    time.sleep(2 * Forgetful.idle)


@asynccontextmanager
async def forgetful(monkeypatch: pytest.MonkeyPatch, *script: Behaviour) -> AsyncIterator[Forgetful]:
    idle = {**aiohttp._LONGEST_IDLE, "scroll": Forgetful.idle / 2}
    monkeypatch.setattr(aiohttp, "_LONGEST_IDLE", idle)
    served = Forgetful(*script)
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


async def test_a_server_that_closes_idle_connections_costs_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [page(str(n), hits=None) for n in range(10)]
    async with (
        forgetful(monkeypatch, *pages, page(cursor=None, hits=None)) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        seen: list[str | None] = []
        async for one in limio.offers.list(read_ahead=0).pages():
            seen += [offer.id for offer in one.items]
            block()
    assert seen == [str(n) for n in range(10)]
    assert len(server.requests) == 11


async def test_a_server_that_closes_idle_connections_costs_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        forgetful(monkeypatch, CALLS["once"].answer) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        for _ in range(5):
            assert await order(limio) == "thing-1"
            block()
    assert len(server.requests) == server.connections == 5


@pytest.mark.parametrize("call", [get, update])
async def test_what_may_be_sent_again_survives_a_stale_connection(
    call: Callable[[Limio], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        forgetful(monkeypatch, CALLS["safe"].answer) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        for _ in range(5):
            assert await call(limio) == "thing-1"
            block()
    assert len(server.requests) == 5


@pytest.mark.parametrize("retry", ["safe", "idempotent", "once"])
async def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(retry: Retry) -> None:
    call = CALLS[retry]

    async def and_another(writer: asyncio.StreamWriter) -> None:
        writer.write(call.answer)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.write(http(b'{"id":"somebody else\'s","items":[{"id":"5"}]}'))
        await writer.drain()
        await asyncio.sleep(LONG)

    script = (*call.before, and_another, *call.after, *call.before, call.answer, *call.after)
    async with (
        raw_server(*script) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        for _ in range(2):
            assert await call.run(limio) == call.value
            await asyncio.sleep(1)
    assert len(server.sent(call.line.split()[1])) == 2


# ------------------------------------------------------------------ lists


TOKEN = http(b'{"access_token":"t-1","token_type":"Bearer","expires_in":3600}')
TOKEN_2 = http(b'{"access_token":"t-2","token_type":"Bearer","expires_in":3600}')
GONE = http(b'{"message":"search_context_missing_exception"}', "404 Not Found")


class ListFault(NamedTuple):
    script: Sequence[Behaviour]
    ids: str
    """What the caller was handed, one letter an item."""
    error: type[errors.LimioError] | None = None
    requests: int | None = None
    """How many reached the server; None: one for each answer of the script."""
    options: Mapping[str, Any] = {}
    report: Mapping[str, Any] = {}


SCROLLS: Mapping[str, ListFault] = {
    "nothing wrong": ListFault([page(*"ab"), page(*"cd"), page(cursor=None)], "abcd"),
    "no empty page at the end": ListFault([page(*"ab"), page(*"cd", cursor=None)], "abcd"),
    "the same cursor on every page": ListFault([page(*"ab"), page(*"c"), page(*"d"), page()], "abcd"),
    "a duplicated page": ListFault(
        [page(*"ab"), page(*"ab"), page(*"cd"), page()],
        "abcd",
        errors.IncompleteListing,  # dropped, but it may have come in the place of another
        options={"unique": True},
        report={"duplicates": 2, "repeated": 2, "complete": False},
    ),
    "a duplicated page, duplicates handed out": ListFault(
        [page(*"ab"), page(*"ab"), page(*"cd"), page()],
        "ababcd",
        errors.IncompleteListing,
        report={"repeated": 2, "duplicates": 0, "complete": False},
    ),
    "a duplicated page instead of another": ListFault(
        [page(*"ab"), page(*"ab"), page()], "abab", errors.IncompleteListing
    ),
    "the same page for ever": ListFault([page(*"ab")], "ababab", errors.CursorLoop, 5),
    "fewer items than hits": ListFault([page(*"ab"), page(*"c"), page()], "abc", errors.IncompleteListing),
    "more items than hits": ListFault([page(*"abc"), page(*"de"), page()], "abcde", errors.IncompleteListing),
    "fewer items than hits, unverified": ListFault(
        [page(*"ab"), page(*"c"), page()],
        "abc",
        options={"verify": "off"},
        report={"complete": False, "ended": True},
    ),
    "an empty page before the last": ListFault(
        [page(*"ab"), page(), page(*"cd"), page()], "ab", errors.IncompleteListing, 2
    ),
    "expired once": ListFault(
        [page(*"ab"), GONE, page(*"ab"), page(*"cd"), page()], "abcd", report={"restarts": 1}
    ),
    "expired at the top": ListFault([GONE], "", errors.NotFound),
    "expired, not to start again": ListFault(
        [page(*"ab"), GONE], "ab", errors.CursorExpired, options={"restarts": 0}
    ),
    "always expired": ListFault(
        [page(*"ab"), GONE, page(*"ab"), GONE, page(*"ab"), GONE], "ab", errors.CursorExpired
    ),
    "expired, and rebuilt meanwhile": ListFault(
        [page(*"ab"), GONE, page(*"ab", commit="c2")], "ab", errors.SnapshotChanged
    ),
    "commitId changes": ListFault(
        [page(*"ab"), page(*"cd", commit="c2"), page()], "ab", errors.SnapshotChanged
    ),
    "commitId changes, to start again": ListFault(
        [
            page(*"ab"),
            page(*"cd", commit="c2"),
            page(commit="c2"),  # was under way when the change was noticed
            page(*"ba", commit="c2", cursor="s2"),
            page(*"cd", commit="c2", cursor="s3"),
            page(commit="c2"),
        ],
        "abcd",
        options={"on_snapshot_change": "restart"},
        report={"restarts": 1},
    ),
    "page 2 truncated": ListFault([page(*"ab"), broken(head() + CUT)], "ab", errors.IncompleteListing),
    "page 2 lost, to start again": ListFault(
        [page(*"ab"), hang_up, page(*"ab"), page(*"cd"), page()],
        "abcd",
        options={"on_ambiguous": "restart"},
        report={"restarts": 1},
    ),
    "page 1 lost": ListFault([hang_up, page(*"ab"), page(*"cd"), page()], "abcd", report={"retries": 1}),
    "page 2 after a pause": ListFault(
        [page(*"ab"), http(b"{}", "429 Busy"), page(*"cd"), page()], "abcd", report={"retries": 1}
    ),
    "the last page lost": ListFault([page(*"ab"), page(*"cd"), hang_up], "abcd", errors.IncompleteListing),
    "page 2 is HTML": ListFault([page(*"ab"), http(HTML)], "ab", errors.IncompleteListing),
    "page 2 refused": ListFault([page(*"ab"), http(b"{}", "401 No")], "ab", errors.Unauthorized),
}

KEYS: Mapping[str, ListFault] = {
    "nothing wrong": ListFault([key_page(*"ab", cursor="k1"), key_page(*"cd")], "abcd"),
    "an empty page in between": ListFault(
        [key_page(*"ab", cursor="k1"), key_page(cursor="k2"), key_page(*"cd")], "abcd"
    ),
    "a repeated cursor": ListFault(
        [key_page(*"ab", cursor="k1"), key_page(*"cd", cursor="k1")], "ab", errors.CursorLoop, 3
    ),
    "page 2 truncated": ListFault(
        [key_page(*"ab", cursor="k1"), broken(head() + CUT), key_page(*"cd")], "abcd", report={"retries": 1}
    ),
    "page 2 lost": ListFault([key_page(*"ab", cursor="k1"), hang_up, key_page(*"cd")], "abcd"),
    "page 2 is HTML": ListFault([key_page(*"ab", cursor="k1"), http(HTML)], "ab", errors.Unreadable),
    "an empty cursor": ListFault([key_page(*"ab", cursor="k1"), key_page(*"cd", cursor="")], "abcd"),
}


def offers(limio: Limio, options: Any) -> Any:
    return limio.offers.list(**options)


def subscriptions(limio: Limio, options: Any) -> Any:
    return limio.subscriptions.list(**options)


LISTS = [
    *(pytest.param(offers, fault, id=f"scroll, {name}") for name, fault in SCROLLS.items()),
    *(pytest.param(subscriptions, fault, id=f"key, {name}") for name, fault in KEYS.items()),
]


@pytest.mark.parametrize(("listing_of", "fault"), LISTS)
async def test_a_walk_hands_out_every_item_once_or_says_what_is_wrong(
    listing_of: Any, fault: ListFault
) -> None:
    ids = ""
    error: errors.LimioError | None = None
    async with (
        raw_server(*fault.script) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        listing = listing_of(limio, fault.options)
        try:
            async for item in listing:
                ids += item.id
        except errors.LimioError as caught:
            error = caught
    requests = len(fault.script) if fault.requests is None else fault.requests
    assert (ids, None if error is None else type(error), len(server.requests)) == (
        fault.ids,
        fault.error,
        requests,
    )
    assert {name: getattr(listing.report, name) for name in fault.report} == fault.report
    if isinstance(error, errors.ListingError):
        assert error.checkpoint.items == len(fault.ids)


@pytest.mark.parametrize("listing_of", [offers, subscriptions])
async def test_a_token_that_ends_in_the_middle_of_a_walk_costs_no_page(listing_of: Any) -> None:
    refused = http(b"{}", "401 Unauthorized")
    pages: list[Behaviour] = [page(*"ab"), refused, TOKEN_2, page(*"cd"), page()]
    if listing_of is subscriptions:
        pages = [key_page(*"ab", cursor="k1"), refused, TOKEN_2, key_page(*"cd")]
    async with raw_server(TOKEN, *pages) as server:
        auth = ClientCredentials("id", CANARY)
        async with Limio(server.url, auth=auth, timeout=LONG) as limio:
            ids = [item.id async for item in listing_of(limio, {})]
    assert "".join(ids) == "abcd"
    assert len(server.sent("/oauth2/token")) == 2
    old, new = server.requests[2], server.requests[4]
    assert old.replace(b"t-1", b"t-2") == new
    assert b"t-1" in old


async def test_a_page_that_was_refused_can_be_asked_for_again() -> None:
    refused = http(b"{}", "403 Forbidden")
    async with (
        raw_server(page(*"ab"), refused, page(*"cd"), page()) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=LONG) as limio,
    ):
        listing = limio.offers.list()
        ids: list[str | None] = []
        with pytest.raises(errors.Forbidden):
            async for offer in listing:
                ids.append(offer.id)
        ids += [offer.id async for offer in listing]
    assert ids == ["a", "b", "c", "d"]


async def test_a_page_that_came_too_late_is_not_asked_for_again() -> None:
    async with (
        raw_server(page(*"ab"), silence) as server,
        Limio(server.url, auth=BearerToken(CANARY), timeout=SHORT) as limio,
    ):
        listing = limio.offers.list()
        await listing
        with pytest.raises(errors.DeadlineExceeded):
            await listing.take(10)
        with pytest.raises(errors.IncompleteListing):
            await listing.take(10)
    assert len(server.requests) == 2
