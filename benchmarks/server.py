"""What all benchmarks ask: ready-made bytes over HTTP, from a process that is cheap enough not to be what is measured.

The offers are those of the emulator, 2 to 3 kB each, with ids that are numbers; the same number is the same offer each
time. A subscription is the documented one, with the id that is asked for, or, for `small`, of 95 bytes; their list holds
as many summaries as there are offers. `python -m benchmarks.server OFFERS DELAY GZIP` serves on a
free port and prints the URL.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import selectors
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from limio_async.core.wire import Request
from limio_async.emulator import World

LISTS = {b"/api/offers", b"/api/products", b"/api/campaigns", b"/api/assets"}  # all of the same offers
SUBSCRIPTIONS = b"/api/objects/limio/subscriptions"
SUBSCRIPTION = Path(__file__).parent.parent / "tests/samples/getObject.json"
TEMPLATES = 200  # offers that differ by more than their ids
SERVER_CORE, CLIENT_CORE = 1, 0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
TOKEN = b'{"access_token":"t","expires_in":3600,"token_type":"Bearer"}'
SMALL = b'{"id":"small","status":"active","data":{"quantity":1,"price":{"amount":75,"currency":"GBP"}}}'
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def pinned_to(core: int) -> None:
    """Leave the other cores to others, where the system can do that and there are others."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def templates() -> list[tuple[bytes, bytes]]:
    """The halves of offers."""
    world = World(offers=TEMPLATES)
    target = f"/api/offers?opt.all=true&opt.pageSize={TEMPLATES}"
    headers = {"authorization": world.api_key}
    answer = world.answer(Request(operation="", method="GET", target=target, headers=headers, body=None))
    return [halves(item) for item in msgspec.json.decode(answer.body)["items"]]


def halves(item: dict[str, object]) -> tuple[bytes, bytes]:
    """What stands before and after its id."""
    before, _, after = msgspec.json.encode({**item, "id": "<id>"}).partition(b"<id>")
    return before, after


class Answers:
    """The bodies."""

    def __init__(self, offers: int, *, zipped: bool) -> None:
        self._offers = offers
        self._zipped = zipped
        self._templates = templates()
        self._before, self._after = halves(msgspec.json.decode(SUBSCRIPTION.read_bytes()))
        self.page = lru_cache(maxsize=256 if zipped else 1)(self._page)

    def to(self, target: bytes) -> bytes:
        """The whole answer to a GET of *target* or a POST to it."""
        url = urlsplit(target)
        if url.path in LISTS:
            query = parse_qs(url.query)
            start = int(query.get(b"opt.queryMoreFrom", [b"0"])[0])
            return self.page(start, int(query.get(b"opt.pageSize", [b"50"])[0]))
        if url.path == SUBSCRIPTIONS:
            query = parse_qs(url.query)
            return self._summaries(
                int(query.get(b"queryMore", [b"0"])[0]), int(query.get(b"limit", [b"50"])[0])
            )
        if url.path == b"/oauth2/token":
            return HEAD % (b"", len(TOKEN)) + TOKEN
        name = url.path.rpartition(b"/")[2]
        body = SMALL if name == b"small" else self._before + name + self._after
        return HEAD % (b"", len(body)) + body

    def _summaries(self, start: int, size: int) -> bytes:
        end = min(start + size, self._offers)
        items = b",".join(b'{"id":"sub-%06d","status":"active"}' % number for number in range(start, end))
        more = b',"queryMore":"%d"' % end if end < self._offers else b""
        body = b'{"items":[%b]%b}' % (items, more)
        return HEAD % (b"", len(body)) + body

    def _page(self, start: int, size: int) -> bytes:
        end = min(start + size, self._offers)
        items: Sequence[bytes] = [
            b"%b%040d%b" % (self._templates[n % TEMPLATES][0], n, self._templates[n % TEMPLATES][1])
            for n in range(start, end)
        ]
        shape = b'{"hits":{"value":%d,"relation":"eq"},"commitId":"1720000000000","items":[%b],"queryMore":{"from":"%d","alias":"a"}}'
        body = shape % (self._offers, b",".join(items), max(start, end))
        if self._zipped:
            body = gzip.compress(body, 6)
        return HEAD % (b"Content-Encoding: gzip\r\n" if self._zipped else b"", len(body)) + body


class Connection(asyncio.Protocol):
    """Answers one request after the other, each *delay* seconds after it came."""

    def __init__(self, answers: Answers, delay: float) -> None:
        self._answers = answers
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            self._received = rest[int(length[1]) if length else 0 :]
            due = self._loop.time() + self._delay
            answer = self._answers.to(head.split(b" ", 2)[1])
            if self._delay:  # making the answer is part of it
                self._loop.call_at(due, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def serve(offers: int, delay: float, *, zipped: bool) -> None:
    """Serve until killed; prints the URL."""
    answers = Answers(offers, zipped=zipped)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers, delay), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


@contextmanager
def serving(offers: int, *, delay: float = 0, zipped: bool = False) -> Generator[str]:
    """The URL of a server in a process of its own, which ends with the block."""
    command = [sys.executable, "-m", "benchmarks.server", str(offers), str(delay), str(int(zipped))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.kill()


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop that is on time to some ten microseconds: epoll, which others use, rounds up to a millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main(offers: str, delay: str, zipped: str) -> None:
    pinned_to(SERVER_CORE)
    with asyncio.Runner(loop_factory=precise_loop if float(delay) else None) as runner:
        runner.run(serve(int(offers), float(delay), zipped=zipped == "1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
