"""The door: who comes in, what they may bring, and what is answered; as an ASGI app and in aiohttp."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from limio_async.errors import ConfigurationError, LimioError
from limio_async.webhooks import Inbox, Receiver, door, inbox
from limio_async.webhooks.event import Entry, entry_of
from limio_async.webhooks.serving import serve

BODY = json.dumps({"id": "order-1", "record_type": "order", "updated": "2026-01-01T00:00:00Z"}).encode()
PAIR = ("limio", "pä:wörds")
Send = Callable[..., Awaitable[tuple[int, dict[str, str], str]]]


def basic(user: str = PAIR[0], word: str = PAIR[1], encoding: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{word}".encode(encoding))


class Ask:
    """Asks an ASGI app; counts what it reads."""

    def __init__(self, app: Receiver) -> None:
        self.app, self.read = app, 0

    async def __call__(
        self, path: str = "/hooks/order_submitted", chunks: Iterable[bytes] = (BODY,), *, method: str = "POST",
        auth: bytes | None = None, headers: Mapping[str, str] | None = None, root: str = "", wait: float = 0.0,
    ) -> tuple[int, dict[str, str], str]:  # fmt: skip
        self.read, parts = 0, chain(chunks, [None])
        sent: list[Any] = []
        auth = basic() if auth is None else auth
        named = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(wait)
            chunk = next(parts)
            self.read += len(chunk or b"")
            return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "root_path": root, "headers": [*named, *([(b"authorization", auth)] if auth else [])]}  # fmt: skip
        await self.app(scope, receive, send)
        given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], given, sent[1]["body"].decode()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with Inbox(f"sqlite:///{tmp_path}/inbox.db") as one:
        yield one


@pytest.fixture
def ask(box: Inbox) -> Ask:
    return Ask(box.receiver(PAIR))


@pytest.mark.parametrize(
    "auth",
    [
        b"", b"Basic", b"Basic ", b"basic", b"Basic caf\xe9", b"Basic " + base64.b64encode(b"limio"), b"Bearer x",
        basic(word="wrong"), basic(user="other"), basic().rstrip(b"="), basic("limi", "o:p\xe4:w\xf6rds"), basic() + b"\x00",
        basic().replace(b"Basic ", b"Bearer "), b"Basic " + b"A" * 100_000,
    ],
)  # fmt: skip
async def test_who_has_no_right_credentials_is_refused_before_anything_is_read(ask: Ask, box: Inbox, auth: bytes) -> None:  # fmt: skip
    status, headers, _ = await ask(auth=auth)
    assert (status, ask.read, headers["www-authenticate"][:5]) == (401, 0, "Basic")
    assert await box.list() == []


@pytest.mark.parametrize("auth", [basic(), basic(encoding="latin-1"), basic().replace(b"Basic", b"bAsIc")])
async def test_who_has_is_let_in(ask: Ask, box: Inbox, auth: bytes) -> None:
    assert (await ask(auth=auth))[0] == 202
    assert len(await box.list("open")) == 1


async def test_both_pairs_count_while_they_are_changed(box: Inbox) -> None:
    ask = Ask(box.receiver([PAIR, ("limio", "中")]))
    for auth in (basic(), basic(word="中")):
        assert (await ask(auth=auth))[0] == 202
    assert (await ask(auth=basic(word="x")))[0] == 401


@pytest.mark.parametrize("credentials", [(), [], [("a", "")], [("", "b")], [("a:b", "c")], [PAIR] * 3])
def test_without_usable_credentials_it_refuses_to_start(tmp_path: Path, credentials: Any) -> None:
    with pytest.raises(ConfigurationError, match="credentials"):
        Inbox(f"sqlite:///{tmp_path}/inbox.db").receiver(credentials)


async def test_everybody_comes_in_only_if_it_says_so(box: Inbox) -> None:
    ask = Ask(box.receiver(allow_anonymous=True))
    assert (await ask(auth=b""))[0] == 202


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_probe_stores_nothing(ask: Ask, box: Inbox, method: str) -> None:
    assert (await ask(method=method))[0] == 204
    assert (await ask(method=method, auth=b""))[0] == 401
    assert (await ask(method="DELETE"))[0] == 405
    assert await box.list() == []


@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        ("/hooks/order_submitted", "", 202), ("/hooks/Order_Submitted/", "", 202), ("/hooks/order_submitted", "/hooks", 202),
        ("/order_submitted", "/hooks", 202), ("/v1/hooks/order_submitted", "/v1", 202), ("/hooks", "", 404), ("/hooks", "/hooks", 404), ("/hooks/a/b", "", 404),
        ("/", "", 404),
    ],
)  # fmt: skip
async def test_the_last_part_of_the_path_is_the_type(
    ask: Ask, box: Inbox, path: str, root: str, status: int
) -> None:
    assert (await ask(path, root=root))[0] == status
    types = {event.type for event in await box.list()}
    assert types <= {"order_submitted"}


async def test_what_is_no_json_is_refused_in_words(ask: Ask, box: Inbox) -> None:
    assert await ask(chunks=[b"{"]) == (400, {"content-type": "text/plain; charset=utf-8", "content-length": "29"}, "the body is not JSON in UTF-8")  # fmt: skip
    for text in (
        b"[" * 100_000,
        b"[" * 3_000 + b"}" * 3_000,
        b"[" + b"{}," * 200_000,
        b'{"n":' + b"1" * 5_000,
    ):
        assert (await ask(chunks=[text]))[0] == 400
    assert await box.list() == []


@pytest.mark.parametrize("text", [b"null", b"[]", b"{}", b'{"id": 3}'])
async def test_what_is_odd_and_authentic_is_taken(ask: Ask, box: Inbox, text: bytes) -> None:
    assert (await ask("/hooks/never_heard_of", chunks=[text]))[0] == 202
    assert len(await box.list("parked")) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"n":' + b"1" * 5_000 + b"}", "a number in it is too long"), (b"[" * 60_000 + b"]" * 60_000, "it is nested too deeply"),
        (b"[" + b"{}," * 2_000_000 + b"1]", "it has too many values"), (b"[" * 200_000 + b"]" * 200_000, "it has too many values"),
        (b'[1e999, "\\ud800"]', "it is no object"),
    ],
    ids=["long", "deep", "many", "both", "odd"],
)  # fmt: skip
async def test_json_that_is_more_than_can_be_read_is_parked_as_it_came(ask: Ask, box: Inbox, text: bytes, why: str) -> None:  # fmt: skip
    begun = time.process_time()
    for status in (202, 202):
        assert (await ask(chunks=[text]))[0] == status
    assert time.process_time() - begun < 2.0
    (event,) = await box.list("parked")
    assert (event.error, event.seen) == (f"unreadable: {why}", 2)
    assert event.body == (text.decode() if why != "it is no object" else [None, "\ufffd"])


async def test_large_bodies_are_read_one_at_a_time_and_not_by_the_time_of_the_commit(
    ask: Ask, box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most = 0, 0

    def read(slug: str, text: bytes) -> Entry:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.05)
        at_once -= 1
        return entry_of(slug, text)

    monkeypatch.setattr(inbox, "entry_of", read)
    monkeypatch.setattr(door, "_STORE_WITHIN", 0.1)
    large = b'{"id": "order-1", "x": "' + b"x" * 2**17 + b'"}'
    others = [Ask(ask.app)(chunks=[large]) for _ in range(4)]
    assert [status for status, *_ in await asyncio.gather(*others)] == [202] * 4
    assert most == 1


async def test_a_body_that_is_too_large_is_read_no_further(ask: Ask) -> None:
    whole = (b"x" * 2**20 for _ in range(1000))
    assert (await ask(chunks=whole))[0] == 413
    assert ask.read == 7 * 2**20
    assert (await ask(headers={"content-length": str(10**9)}))[0] == 413
    assert ask.read == 0


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda one: gzip.compress(one[:9]) + gzip.compress(one[9:])])  # fmt: skip
async def test_what_is_packed_is_unpacked(ask: Ask, box: Inbox, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(BODY)
    assert (await ask(chunks=[packed[:5], packed[5:]], headers={"content-encoding": "gzip"}))[0] == 202
    assert (await ask())[0] == 202
    assert [event.seen for event in await box.list()] == [2]


async def test_what_swells_is_unpacked_no_further(ask: Ask) -> None:
    bomb = gzip.compress(b" " * 50 * 2**20)
    assert len(bomb) < 2**16
    assert (await ask(chunks=[bomb], headers={"content-encoding": "gzip"}))[0] == 413
    parts = gzip.compress(b"") * 5000
    assert (await ask(chunks=[parts], headers={"content-encoding": "gzip"}))[0] == 400


@pytest.mark.parametrize(
    ("body", "encoding", "status"), [(BODY, "gzip", 400), (gzip.compress(BODY, mtime=0)[:-9], "gzip", 400), (BODY, "br", 415)]
)  # fmt: skip
async def test_what_is_not_packed_as_it_says(ask: Ask, body: bytes, encoding: str, status: int) -> None:
    assert (await ask(chunks=[body], headers={"content-encoding": encoding}))[0] == status


async def test_who_sends_slowly_is_asked_to_come_again(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_READ_WITHIN", 0.05)
    status, headers, _ = await ask(chunks=[BODY[:9], BODY[9:]], wait=0.04)
    assert (status, headers["retry-after"]) == (503, "5")


async def test_a_store_that_is_held_is_not_waited_for(ask: Ask, box: Inbox, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = time.monotonic()
        status, headers, words = await ask()
        assert (status, headers["retry-after"], words) == (503, "5", "it may not be stored: send it again")
        assert time.monotonic() - asked < 2.5
        other.execute("ROLLBACK")
    assert (await ask())[0] == 202


async def test_a_store_that_is_away_is_told_of_once(
    ask: Ask, box: Inbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_work: object, **_options: object) -> None:
        raise LimioError("the disk is full")

    monkeypatch.setattr(box._store, "do", full)
    for _ in range(5):
        assert (await ask())[0] == 503
    assert len(caplog.records) == 1


async def test_an_inbox_that_is_not_open_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ask = Ask(Inbox(f"sqlite:///{tmp_path}/inbox.db").receiver(PAIR))
    assert (await ask())[0] == 503
    assert "the inbox is not open" in caplog.text


async def test_the_app_alone_opens_the_inbox(tmp_path: Path) -> None:
    app = Inbox(f"sqlite:///{tmp_path}/inbox.db").receiver(PAIR)
    sent: list[str] = []
    said = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if sent:
            await said.wait()
        return {"type": "lifespan.shutdown" if sent else "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    live = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    while not sent:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (await Ask(app)())[0] == 202
    said.set()
    await live
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_who_goes_before_the_end_is_not_stored(box: Inbox) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/hooks/x", "headers": [(b"authorization", basic())]}
    await box.receiver(PAIR)(scope, receive, send)
    assert await box.list() == []


async def test_no_header_is_stored_or_logged(ask: Ask, box: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    for auth in (basic(), b"Basic c2VjcmV0", b"Basic secret-in-bad-base64\xff"):
        await ask(auth=auth, chunks=[BODY, b"x"])
        await ask(auth=auth)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240
    for secret in (PAIR[1].encode(), basic()[6:], b"c2VjcmV0", b"secret-in"):
        assert secret not in kept
        assert secret.decode() not in caplog.text


# --- aiohttp


@pytest.fixture
async def server(box: Inbox) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.add_routes(box.receiver(PAIR).routes())
    one = TestServer(app)
    async with one:
        yield one


async def test_aiohttp_answers_alike(server: TestServer, box: Inbox) -> None:
    auth = {"Authorization": basic(encoding="latin-1").decode()}
    url = server.make_url("/hooks/order_submitted")
    async with aiohttp.ClientSession() as client:

        async def post(data: Any, path: str = "", **headers: str) -> int:
            async with client.post(str(url) + path, data=data, headers=auth | headers) as answer:
                return answer.status

        async def large() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 2**20

        assert await post(BODY) == 202
        assert await post(BODY, "/") == 202
        assert await post(gzip.compress(BODY), **{"Content-Encoding": "gzip"}) == 202
        assert await post(b"{") == 400
        assert await post(BODY, **{"Content-Encoding": "compress"}) == 415
        assert await post(BODY, Authorization="Basic x") == 401
        assert await post(gzip.compress(b" " * 50 * 2**20), **{"Content-Encoding": "gzip"}) == 413
        assert await post(BODY, **{"Content-Encoding": "gzip"}) == 400
        async with client.get(url, headers=auth) as answer, client.head(url, headers=auth) as other:
            assert (answer.status, other.status) == (204, 204)
        with suppress(aiohttp.ClientError):  # the connection is closed while it is still sending
            assert await post(large()) == 413
    (event,) = await box.list()
    assert event.seen == 3


async def test_aiohttp_takes_what_a_middleware_has_read(box: Inbox) -> None:
    @web.middleware
    async def reads(request: web.Request, handler: Any) -> web.StreamResponse:
        await request.read()
        answer: web.StreamResponse = await handler(request)
        return answer

    app = web.Application(middlewares=[reads])
    app.add_routes(box.receiver(PAIR).routes())
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        auth = {"Authorization": basic().decode()}
        async with client.post(server.make_url("/hooks/order_submitted"), data=BODY, headers=auth) as answer:
            assert answer.status == 202
    (event,) = await box.list()
    assert event.id == "order-1"


@pytest.mark.parametrize("line", [b"Authorization : %b", b"Authorization: %b\x00"])
async def test_a_header_that_cannot_be_read_is_not_logged(
    box: Inbox, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    at: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(serve(box.receiver(PAIR), "127.0.0.1", 0, at.put_nowait))
    place = URL(await at.get())
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(b"POST /hooks/x HTTP/1.1\r\nHost: x\r\n" + line % basic() + b"\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert basic()[6:].decode() not in caplog.text
    assert len(caplog.records) == 1


async def test_aiohttp_refuses_in_words_what_has_many_parts_and_a_type_that_is_a_path(
    server: TestServer,
) -> None:
    auth = {"Authorization": basic().decode()}
    async with aiohttp.ClientSession() as client:
        packed, many = auth | {"Content-Encoding": "gzip"}, gzip.compress(b"") * 500
        for data in (many, BODY):
            async with client.post(server.make_url("/hooks/x"), data=data, headers=packed) as answer:
                assert (answer.status, (await answer.text())[:8]) == (400, "the body")
        url = URL(f"{server.make_url('/hooks')}/%2e%2e%2fx", encoded=True)
        async with client.post(url, data=BODY, headers=auth) as answer:
            assert answer.status == 404


@pytest.mark.parametrize(("auth", "said"), [(b"", b" 401 "), (basic(), b" 100 ")])
async def test_aiohttp_asks_for_no_body_of_who_is_not_let_in(server: TestServer, auth: bytes, said: bytes) -> None:  # fmt: skip
    reader, writer = await asyncio.open_connection(server.host, server.port)
    head = b"POST /hooks/order_submitted HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\nAuthorization: %b\r\n\r\n"
    writer.write(head % (len(BODY), auth))
    assert said in await reader.readline()
    if auth:
        await reader.readline()
        writer.write(BODY)
        assert b" 202 " in await reader.readline()
    writer.close()
