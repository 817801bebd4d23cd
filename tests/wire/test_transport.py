"""What the transport does on a real socket, where aiohttp by itself would do something else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import select
import socket
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from limio_async import BearerToken, Limio, errors
from limio_async.core.wire import Request, Retry
from limio_async.transport import AiohttpTransport, origin_of
from limio_async.transport.translation import translated
from tests.virtual_time import VirtualTime
from tests.wire.rawserver import RawServer, broken, hang_up, http, raw_server, reset, silence, slow

CANARY = "canary-secret-value"


def request(method: str = "GET", target: str = "/api/things", **facts: Any) -> Request:
    headers = {"accept": "application/json", "authorization": f"Bearer {CANARY}"}
    return Request(operation="getThing", method=method, target=target, headers=headers, **facts)


async def send(
    server: RawServer | str, what: Request | None = None, *, timeout: float = 5, **options: Any
) -> Any:
    url = server if isinstance(server, str) else server.url
    transport = AiohttpTransport(url, user_agent="limio_async/test", **options)
    try:
        return await transport.send(what or request(), timeout=timeout)
    finally:
        await transport.aclose()


async def test_an_answer_comes_back_whole() -> None:
    async with raw_server(http(b'{"ok":true}', "200 OK", "X-Amzn-RequestId: r-1")) as server:
        answer = await send(server, request(target="/api/a%2Fb%20c?opt.all=true&x=%25"))
    assert (answer.status, answer.body, answer.headers["x-amzn-requestid"]) == (200, b'{"ok":true}', "r-1")
    head = server.requests[0].decode()
    assert head.startswith("GET /api/a%2Fb%20c?opt.all=true&x=%25 HTTP/1.1\r\n")
    assert "user-agent: limio_async/test" in head.lower()


async def test_a_header_that_comes_twice_moves_no_other_one() -> None:
    """Of all but `Retry-After`, of which the longest counts, the last value is kept."""
    twice = (
        "set-cookie: a=1",
        "X-Amzn-RequestId: r-1",
        "Set-Cookie: b=2",
        "retry-after: 7",
        "Retry-After: 3",
    )
    async with raw_server(http(b"{}", "503 Busy", *twice, "date: now")) as server:
        answer = await send(server)
    assert answer.headers == {
        "content-type": "application/json",
        "set-cookie": "b=2",
        "x-amzn-requestid": "r-1",
        "retry-after": "7, 3",
        "date": "now",
        "content-length": "2",
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("fault", [hang_up, reset])
async def test_a_broken_connection_is_never_repaired_by_sending_again(method: str, fault: Any) -> None:
    async with raw_server(fault, http(b"{}")) as server:
        with pytest.raises(errors.AnswerLost, match=r"^getThing: "):
            await send(server, request(method))
        await asyncio.sleep(0.01)
    assert len(server.requests) == 1


async def test_a_kept_connection_that_the_server_closed_is_not_repaired_in_secret_either() -> None:
    async with raw_server(http(b"1"), hang_up, http(b"2")) as server:
        transport = AiohttpTransport(server.url, user_agent="x")
        await transport.send(request(), timeout=5)
        with pytest.raises(errors.AnswerLost):
            await transport.send(request(), timeout=5)
        await transport.aclose()
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize(
    "broken",
    [
        http(b'{"a":', length=500, close=False) + b"",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 7\r\n\r\nnotgzip",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n{}",
        b"",
    ],
)
async def test_what_is_not_a_whole_http_answer_is_a_lost_answer_not_a_status(broken: bytes) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(broken)
        await writer.drain()

    async with raw_server(say) as server:
        with pytest.raises(errors.AnswerLost):
            await send(server)
    assert len(server.requests) == 1


async def test_a_refused_connection_was_never_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(errors.NeverSent, match=r"^getThing: could not connect: "):
        await send(f"http://127.0.0.1:{port}")


async def test_a_name_that_does_not_exist_was_never_sent() -> None:
    with pytest.raises(errors.NeverSent):
        await send("https://tenant.invalid")


async def test_a_server_that_speaks_no_tls_was_never_sent_anything() -> None:
    async with raw_server(http(b"{}")) as server:
        with pytest.raises(errors.NeverSent):
            await send(server.url.replace("http://", "https://"), timeout=0.2)
    assert CANARY.encode() not in b"".join(server.requests)


@contextmanager
def full_backlog() -> Iterator[socket.socket]:
    """A listener that nobody accepts from, with as many who wait as it lets wait."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [sockets.enter_context(socket.socket()) for _ in range(9)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        assert len(select.select([], waiting, [], 0.01)[1]) < 9
        yield listener


@pytest.mark.parametrize(("timeout", "connecting"), [(0.5, 0.25), (4, 2), (18, 9), (60, 10)])
async def test_half_of_the_time_and_ten_seconds_at_most_are_for_connecting(
    timeout: float, connecting: float, virtual_time: VirtualTime
) -> None:
    with full_backlog() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(errors.NeverSent, match="^getThing: could not connect: no connection in time$"):
            await send(url, timeout=timeout)
        assert virtual_time.elapsed == connecting


async def test_an_order_that_found_no_connection_in_time_was_never_sent(virtual_time: VirtualTime) -> None:
    with full_backlog() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with Limio(url, auth=BearerToken(CANARY), timeout=4) as limio:
            with pytest.raises(errors.NeverSent) as caught:
                await limio.orders.submit({"order_type": "new"})
        assert {one.reason for one in caught.value.attempts} == {"NeverSent"}
        assert virtual_time.elapsed < 4


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("late", [silence, drip])
async def test_who_waits_no_longer_leaves_no_connection_on_which_the_answer_could_still_come(
    late: Any,
) -> None:
    async with raw_server(late, http(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.send(request(), timeout=0.1)
        assert (await transport.send(request(), timeout=5)).body == b"{}"
        await transport.aclose()
    assert server.connections == 2


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_redirects_are_answers_and_carry_nothing_to_another_origin(status: str, method: str) -> None:
    async with raw_server(http(b"{}")) as evil:
        redirect = http(b"", status, f"location: {evil.url}/steal", "set-cookie: a=b; path=/")
        async with raw_server(redirect) as server:
            answer = await send(server, request(method))
    assert answer.status in {301, 302, 307, 308}
    assert answer.headers["location"] == f"{evil.url}/steal"
    assert evil.requests == []


@pytest.mark.parametrize("retry", ["safe", "once"])
async def test_a_cookie_is_sent_with_the_request_that_carries_it_and_with_no_other(retry: Retry) -> None:
    given = http(b"{}", "200 OK", "set-cookie: lmo_session=1; path=/", "set-cookie: lmo_uid=u-1; path=/api")
    async with raw_server(given) as server:
        named = server.url.replace("127.0.0.1", "localhost")  # a jar keeps nothing of a host that has no name
        transport = AiohttpTransport(named, user_agent="x")
        mine = request(retry=retry)
        for cookie in ("", "lmo_uid=u-2", ""):
            headers = {**mine.headers, **({"cookie": cookie} if cookie else {})}
            await transport.send(msgspec.structs.replace(mine, headers=headers), timeout=5)
        await transport.aclose()
    lines = [one.lower().split(b"\r\n") for one in server.requests]
    sent = [[line for line in head if line.startswith(b"cookie:")] for head in lines]
    assert sent == [[], [b"cookie: lmo_uid=u-2"], []]


async def test_proxies_in_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with raw_server(http(b"{}")) as server:
        assert (await send(server)).status == 200


async def test_connections_are_kept_and_shared() -> None:
    async with raw_server(http(b"{}")) as server:
        transport = AiohttpTransport(server.url, user_agent="x")
        for _ in range(5):
            await transport.send(request(), timeout=5)
        await transport.aclose()
    assert server.connections == 1


@pytest.mark.parametrize("retry", ["safe", "once"])
async def test_the_transport_sends_as_many_at_once_as_it_is_given(retry: Retry) -> None:
    many = 101  # one more than aiohttp would by itself
    all_there = asyncio.Event()

    async def when_all_are_there(writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == many:
            all_there.set()
        await all_there.wait()
        writer.write(http(b"{}", close=True))
        await writer.drain()

    async with raw_server(when_all_are_there) as server:
        transport = AiohttpTransport(server.url)
        sends = (transport.send(request(retry=retry), timeout=60) for _ in range(many))
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*sends)
        await transport.aclose()
    assert [one.status for one in answers] == [200] * many


async def test_answers_in_pieces_leave_nothing_behind_on_the_connection_that_brought_them() -> None:
    kinds = (aiohttp.StreamReader, aiohttp.ClientResponse, Connection, asyncio.Transport, asyncio.Task)

    def there() -> list[int]:
        gc.collect()
        objects = gc.get_objects()
        closing = [one.closed for one in objects if isinstance(one, ResponseHandler) and one.closed]
        return [
            sum(len(one._callbacks or ()) for one in closing),
            *(sum(isinstance(one, kind) for one in objects) for kind in kinds),
        ]

    async with raw_server(http(b'"%b"' % (b"x" * 600_000))) as server:  # more than is read at once
        transport = AiohttpTransport(server.url)
        counts: list[list[int]] = []
        for calls in (2, 40):
            for _ in range(calls):
                assert len((await transport.send(request(), timeout=5)).body) == 600_002
            counts.append(there())
        await transport.aclose()
    assert server.connections == 1
    assert counts[0] == counts[1]


async def test_a_compressed_answer_arrives_decoded() -> None:
    body = gzip.compress(b'{"ok":true}')
    async with raw_server(http(body, "200 OK", "content-encoding: gzip")) as server:
        assert (await send(server)).body == b'{"ok":true}'


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
async def test_a_large_answer_arrives_whole_also_if_its_connection_ends_with_it(framing: str) -> None:
    body = b"[" + b"0," * 10_000_000 + b"0]"
    packed = gzip.compress(body, 1)
    said = {
        "length": http(packed, "200 OK", "content-encoding: gzip"),
        "chunks": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed),
        "close": http(packed, "200 OK", "content-encoding: gzip", close=True),
    }[framing]
    async with raw_server(broken(said)) as server:
        assert (await send(server)).body == body


@pytest.mark.parametrize("parts", [[b"zz\r\n{}\r\n"], [b"2\r\n{}\r\n", b"-1\r\n"], [b"2\r\n{", b"}XX"]])
async def test_a_malformed_chunk_is_noticed_also_when_it_comes_after_the_head(parts: list[bytes]) -> None:
    async with raw_server(
        slow(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *parts, pause=0.01)
    ) as server:
        begun = time.monotonic()
        with pytest.raises(errors.AnswerLost, match="body broke off"):
            await send(server, timeout=60)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("end", [hang_up, reset])
@pytest.mark.parametrize("sizes", [(1,), (70_000,), (300_000, 300_000), (300_000, 1, 300_000)])
async def test_a_body_that_ends_before_its_length_is_noticed(
    sizes: tuple[int, ...], end: Any, encoding: str
) -> None:
    """Whenever its connection ends: in the first read, between reads, or by a reset."""
    body = gzip.compress(bytes(900_000), 0) if encoding == "gzip" else b" " * 900_000
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {len(body)}\r\n\r\n"
    parts, begin = [head.encode()], 0
    for size in sizes:
        parts.append(body[begin : begin + size])
        begin += size

    async with raw_server(broken(*parts, end=end, pause=0.01)) as server:
        begun = time.monotonic()
        with pytest.raises(errors.AnswerLost):
            await send(server, timeout=60)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("says", [http(b"{}", "404 Not Found"), hang_up, http(b"[1]"), silence])
async def test_a_call_that_fails_leaves_nothing_for_the_garbage_collector(says: Any) -> None:
    async with raw_server(says) as server, Limio(server.url, auth=BearerToken("k"), attempts=1) as limio:
        with pytest.raises(errors.LimioError):
            await limio.subscriptions.get("s-0", timeout=0.5)
        gc.collect()
        gc.disable()
        try:
            with contextlib.suppress(errors.LimioError):
                await limio.subscriptions.get("s-1", timeout=0.5)
            assert not [one for one in gc.get_objects() if isinstance(one, errors.LimioError)]
        finally:
            gc.enable()


async def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
    async with raw_server(http(bomb, "200 OK", "content-encoding: gzip")) as server:
        tracemalloc.start()
        with pytest.raises(errors.Unreadable, match="larger than 8,388,608 bytes"):
            await send(server, largest_body=8 * 1024 * 1024)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * 1024 * 1024


@pytest.mark.parametrize("fault", [hang_up, reset, b"garbage\r\n\r\n"])
async def test_no_error_holds_a_credential_not_even_in_its_causes(fault: Any) -> None:
    async with raw_server(fault) as server:
        with pytest.raises(errors.TransportError) as caught:
            await send(server)
    seen: list[BaseException | None] = [caught.value]
    while (error := seen[-1]) is not None:
        assert CANARY not in repr(error) + str(vars(error))
        seen.append(error.__cause__ or error.__context__)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=False).format())
    assert CANARY not in shown


async def test_a_borrowed_session_is_used_and_left_open() -> None:
    async with raw_server(http(b"{}"), hang_up, http(b"{}")) as server, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(server.url, session=session)
        assert (await transport.send(request(), timeout=5)).status == 200
        with pytest.raises(errors.AnswerLost):  # no hidden resend there either
            await transport.send(request(), timeout=5)
        await transport.aclose()
        assert not session.closed
        with pytest.raises(errors.ClientClosed):
            await transport.send(request(), timeout=5)
    assert len(server.requests) == 2
    assert b"user-agent: limio_async/" in server.requests[0].lower()


async def test_a_large_body_is_sent_whole_and_without_a_warning() -> None:
    body = b'{"a":"' + b"x" * (3 * 1024 * 1024) + b'"}'
    async with raw_server(http(b"{}")) as server:
        await send(server, request("PUT", body=body))
    assert server.requests[0].endswith(body)


async def test_a_closed_transport_says_so() -> None:
    transport = AiohttpTransport("http://127.0.0.1:1", user_agent="x")
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(errors.ClientClosed):
        await transport.send(request(), timeout=1)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("acme.prod.limio.com", "https://acme.prod.limio.com"),
        ("https://acme.prod.limio.com/", "https://acme.prod.limio.com"),
        ("https://acme.prod.limio.com/api", "https://acme.prod.limio.com"),
        ("acme.prod.limio.com:8443", "https://acme.prod.limio.com:8443"),
        ("http://127.0.0.1:8642", "http://127.0.0.1:8642"),
        ("http://localhost:8642/", "http://localhost:8642"),
        ("http://[::1]:8642", "http://[::1]:8642"),
    ],
)
def test_hosts_and_base_urls(host: str, origin: str) -> None:
    assert origin_of(host) == origin


def test_plain_http_to_another_machine_has_to_be_asked_for() -> None:
    assert origin_of("http://limio.internal:8080", plain_http=True) == "http://limio.internal:8080"


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "acme prod",
        "acme\n.limio.com",
        "http://acme.prod.limio.com",
        "http://127.0.0.1.evil.example",
        "ftp://acme.prod.limio.com",
        "https://user:secret@acme.prod.limio.com",
        "https://acme.prod.limio.com/shop",
        "https://acme.prod.limio.com?x=1",
        "https://acme.prod.limio.com:port",
        "https://acme.prod.limio.com:99999",
        "https://",
        "[",
        ".",
        "-",
        "a..b",
        "x" * 300,
        "acme.prod.limio.com:0",
        "https://[::1",
    ],
)
def test_hosts_that_cannot_be_meant(host: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        origin_of(host)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (aiohttp.ClientOSError("gone"), "the connection broke: ClientOSError"),
        (aiohttp.ClientOSError(32, "Broken pipe"), "the connection broke: Broken pipe"),
        (TimeoutError(), "the answer did not come in time"),
    ],
)
def test_a_connection_that_breaks_is_told_by_the_system_s_words_or_by_the_kind_of_error(
    error: aiohttp.ClientError | TimeoutError, said: str
) -> None:
    assert translated(error, "getThing").said == said


async def test_an_answer_that_is_refused_unread_tells_its_status() -> None:
    large = http(b"{}" * 9, "206 Partial Content")
    other = http(b"\x1b", "201 Created", "content-encoding: br")
    async with raw_server(large, other) as server:
        for status in (206, 201):
            with pytest.raises(errors.Unreadable) as caught:
                await send(server, largest_body=9)
            assert caught.value.status == status


async def test_the_attempt_that_came_to_it_tells_the_same_status() -> None:
    async with raw_server(http(b"\x1b", "201 Created", "content-encoding: br")) as server:
        limio = Limio(server.url, auth=BearerToken("t"))
        with pytest.raises(errors.Unreadable) as caught:
            await limio.subscriptions.get("sub-1")
        await limio.aclose()
    assert (caught.value.status, [one.status for one in caught.value.attempts]) == (201, [201])


async def test_gzip_is_asked_for_and_nothing_else_understood() -> None:
    zipped = http(gzip.compress(b'{"ok":true}'), "200 OK", "content-encoding: GZIP")
    other = http(b"\x1b\x0a", "200 OK", "content-encoding: br")
    async with raw_server(zipped, other) as server:
        assert (await send(server)).body == b'{"ok":true}'
        with pytest.raises(errors.Unreadable, match="in br; gzip was asked for"):
            await send(server)
    assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()


PLAIN = ("UTF-8", "utf8", "None", "BINARY", "identity", "identity, utf-8", "8bit", "US-ASCII", "")


@pytest.mark.parametrize(
    "named", [*PLAIN, "gzip, identity", "Identity,GZIP", "x-gzip", "utf-8, gzip", "gzip,"]
)
async def test_what_is_no_encoding_changes_no_body(named: str) -> None:
    body = b'{"ok":true}'
    sent = body if named in PLAIN else gzip.compress(body) + b"\r\n"
    async with raw_server(http(sent, "200 OK", f"content-encoding: {named}")) as server:
        assert (await send(server)).body == body


async def test_encodings_in_two_headers_are_one_list() -> None:
    zipped = http(gzip.compress(b"1"), "200 OK", "content-encoding: identity", "content-encoding: gzip")
    async with raw_server(zipped) as server:
        assert (await send(server)).body == b"1"


@pytest.mark.parametrize("named", ["deflate", "zstd", "gzip, br", "gzip, gzip", "utf-16", "identity, br"])
async def test_another_encoding_is_named(named: str) -> None:
    said = f"the answer is in {named.removeprefix('identity, ')}; gzip was asked for"
    async with raw_server(http(b"{}", "200 OK", f"content-encoding: {named}")) as server:
        with pytest.raises(errors.Unreadable, match=said):
            await send(server)


@pytest.mark.parametrize("body", [b'{"ok":true}', b"OK", b"<html>", b"\x78\x9c"])
async def test_announced_gzip_that_is_none_says_so_but_for_an_error_whose_status_says_enough(
    body: bytes,
) -> None:
    lie = "content-encoding: gzip"
    async with raw_server(http(body, "200 OK", lie), http(body, "404 Not Found", lie)) as server:
        with pytest.raises(
            errors.AnswerLost, match="^getThing: the answer is announced as gzip and is none$"
        ):
            await send(server)
        answer = await send(server)
    assert (answer.status, answer.body) == (404, b"")


async def test_a_borrowed_session_may_have_decompressed_already() -> None:
    zipped = http(gzip.compress(b'{"ok":true}'), "200 OK", "content-encoding: gzip")
    for by_itself in (True, False):
        async with raw_server(zipped) as server, aiohttp.ClientSession(auto_decompress=by_itself) as session:
            assert (await send(server, session=session)).body == b'{"ok":true}'


@pytest.mark.parametrize("encoding", ["br", "gzip, identity"])
async def test_an_answer_in_another_encoding_still_has_its_status(encoding: str) -> None:
    refusal = http(b"\x1b\x0a", "503 Service Unavailable", f"content-encoding: {encoding}")
    empty = http(b"", "200 OK", f"content-encoding: {encoding}")
    async with raw_server(refusal, empty) as server:
        answers = [await send(server), await send(server)]
    assert [(one.status, one.body) for one in answers] == [(503, b""), (200, b"")]


@pytest.mark.parametrize("head", ["HTTP/1.1 204 No Content", "HTTP/1.1 204 No Content\r\nconnection: close"])
async def test_an_answer_without_content_is_whole(head: str) -> None:
    async with raw_server(f"{head}\r\n\r\n".encode()) as server:
        answer = await send(server)
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("status", [400, 401, 404, 503])
async def test_gzip_that_is_none_hides_no_error(status: int) -> None:
    async with raw_server(http(b"no", f"{status} No", "content-encoding: gzip")) as server:
        answer = await send(server)
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("beside", ["user@", ":pw@", "user:pw@"])
def test_credentials_in_a_host_are_refused(beside: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="give the host name only"):
        origin_of(f"https://{beside}acme.prod.limio.com")
