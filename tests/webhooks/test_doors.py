"""The door of a real process, over sockets of the tests' own: what it takes, answers, keeps, and never says."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import repeat
from pathlib import Path

import pytest

from tests.webhooks.doors import Server

PAIRS = ("limio:pä:wörds-one", "limio:the-second-pass")
BODY = b'{"id":"order-1","record_type":"order"}'
MIB = 2**20


def signed(pair: str = PAIRS[0], encoding: str = "utf-8") -> bytes:
    return b"authorization: Basic " + base64.b64encode(pair.encode(encoding))


SIGNED = signed()
UNSIGNED: list[tuple[bytes, ...]] = [
    (), (b"authorization:",), (b"authorization: Basic",), (signed("limio:none-of-these"),), (signed("other:pä:wörds-one"),),
    (b"authorization: Basic caf\xe9",), ("authorization: Basic café".encode(),), (SIGNED.rstrip(b"="),),
    (SIGNED.replace(b"Basic", b"Bearer"),), (SIGNED, SIGNED), (SIGNED, b"authorization: Basic x"),
]  # fmt: skip
BODIES = [
    ((b"content-encoding: gzip",), gzip.compress(BODY), 202), ((b"content-encoding: deflate",), zlib.compress(BODY), 202),
    ((b"content-encoding: deflate",), zlib.compress(BODY, wbits=-15), 202), ((b"content-encoding: gzip",), gzip.compress(BODY)[:-4], 400),
    ((b"content-encoding: deflate",), zlib.compress(BODY, wbits=-15)[:-1], 400), ((b"content-encoding: gzip",), BODY, 400),
    ((b"content-encoding: br",), BODY, 415), ((b"content-encoding: zstd",), BODY, 415), ((b"content-encoding: gzip, gzip",), BODY, 415),
    ((), b"[" * 100_000, 400), ((), b"[" * 100_000 + b"]" * 100_000, 202), ((), b"\xef\xbb\xbf" + BODY, 202),
    ((), '{"id":"a"}'.encode("utf-16"), 400), ((), b'{"n":NaN}', 400), ((), rb'{"id":"\ud800"}', 202), ((), b'{"id":"a","id":"b"}', 202),
    ((), b'{"n":' + b"9" * 5000 + b"}", 202), ((), b"null", 202), ((), BODY + b" x", 400), ((), b"\x0c" + BODY, 400), ((), b"", 400), ((), b'{"id":"\xe9"}', 400),
    ((b"content-encoding: gzip",), gzip.compress(b" " * 50 * MIB), 413),
]  # fmt: skip
PATHS = [
    (b"/", 404), (b"/hooks", 404), (b"/hooks/", 404), (b"/hooks/a/b", 404), (b"/hooks/a%2Fb", 404), (b"/hooks/x/", 202), (b"/hooks/hooks", 202),
]  # fmt: skip


@pytest.fixture(params=["serve", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "box").mkdir()
    one = Server(request.param, tmp_path, PAIRS, tmp_path / "box" / "inbox.db")
    try:
        one.start()
        yield one
    finally:
        one.kill()


def status(server: Server, *lines: bytes, path: bytes = b"/hooks/order_submitted", body: bytes = BODY) -> int:
    """Of what is sent again as long as it is asked for: the disk may be slow."""
    until = time.monotonic() + 30
    while (answer := server.ask(*lines, path=path, body=body)).status == 503 and time.monotonic() < until:
        pass
    return answer.status


def stored(directory: Path) -> set[str]:
    with closing(sqlite3.connect(directory / "box" / "inbox.db")) as db:
        found = [
            json.loads(body, parse_int=str)
            for (body,) in db.execute("SELECT body FROM _limio_inbox")
            if body[:1] == "{"
        ]
    return {one["id"] for one in found if "id" in one}


def test_it_takes_little_of_who_is_not_let_in_and_all_that_it_acknowledged_is_there(
    server: Server, tmp_path: Path
) -> None:
    for signs in (SIGNED, signed(encoding="latin-1"), signed(PAIRS[1])):
        assert status(server, signs) == 202
    before = server.most_memory()

    for lines in UNSIGNED:
        assert (server.ask(*lines, body=BODY).status, lines) == (401, lines)
        assert server.ask(*lines, b"content-encoding: br", body=BODY).status == 401
    for path, right in PATHS:
        assert (status(server, path=path), path) == (401, path)
        assert (status(server, SIGNED, path=path), path) == (right, path)
    for lines, body, right in BODIES:
        assert (status(server, *lines, body=body), body[:20]) == (401, body[:20])
        assert (status(server, SIGNED, *lines, body=body), body[:20]) == (right, body[:20])

    large = [b"x" * MIB]
    unsigned = server.ask(body=repeat(large[0], 1000))
    assert (unsigned.status, unsigned.took < 3 * MIB) == (401, True)
    too_large = server.ask(SIGNED, body=repeat(large[0], 1000))
    assert (too_large.status, 6 * MIB < too_large.took < 10 * MIB) == (413, True)

    began = time.monotonic()
    with closing(sqlite3.connect(tmp_path / "box" / "inbox.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = server.ask(SIGNED, body=b'{"id":"locked"}')
        other.execute("ROLLBACK")
    assert (locked.status, "retry-after" in locked.headers, 1.4 < locked.seconds < 3) == (503, True, True)
    assert server.lines_with(b"could not be stored") == 1
    with server.without_room():
        for _ in range(3):
            full = server.ask(SIGNED, body=b'{"id":"full"}')
            assert (full.status, full.headers["retry-after"], full.words) == (503, "5", "it may not be stored: send it again")  # fmt: skip
    assert status(server, SIGNED, body=b'{"id":"room"}') == 202
    assert 1 <= server.lines_with(b"could not be stored") <= 1 + (time.monotonic() - began) // 60
    assert server.most_memory() - before < 30

    names, lines_ = set(), server.command_line
    for n in range(3):
        assert status(server, SIGNED, body=b'{"id":"kill-%d"}' % n) == 202
        server.kill()
        names.add(f"kill-{n}")
        assert names <= stored(tmp_path)
        if n < 2:
            server.start()
    assert {"order-1", "room"} <= stored(tmp_path)
    assert "full" not in stored(tmp_path)

    kept = b"".join(file.read_bytes() for file in (tmp_path / "box").iterdir()) + server.said + lines_
    for pair in (*PAIRS, "limio:none-of-these"):
        assert pair.rpartition(":")[2][-7:].encode() not in kept  # in whatever encoding
        for encoding in ("utf-8", "latin-1"):
            assert signed(pair, encoding)[21:] not in kept
