"""A client made before a fork works in the child as long as it was not used; else it says so, and the parent's goes on."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path

import pytest

from tests.wire.rawserver import Behaviour, RawServer, http, raw_server, slow

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
trustme = pytest.importorskip("trustme", reason="trustme makes the private CA; the dev group has it")

ROOT = Path(__file__).parents[2]
FOUND = http(b'{"id":"sub-1","access_token":"token","expires_in":3600}')
SAID = "ClientClosed this client was made before a fork; make one in the child"
CALLS = ("get", "view", "finish", "warmup", "enter", "walk")
REFUSED = [
    "child state True",
    *(f"child {call} {SAID}" for call in CALLS),
    "child close ok",
    "child closed ClientClosed this client was closed; open a new one",
]


async def forked(
    way: str, directory: Path, *script: Behaviour, ca: object = None, tokens: tuple[Behaviour, ...] = ()
) -> tuple[list[str], RawServer]:
    """Return what parent and child say, and the server that they talked to."""
    tls, more = None, []
    if isinstance(ca, trustme.CA):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("127.0.0.1").configure_cert(tls)
        more = [str(directory / "ca.pem")]
        ca.cert_pem.write_to_path(more[0])
    async with raw_server(*script or (FOUND,), tls=tls) as server:
        server.tokens.extend(tokens)
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.wire.forking"),
            *(way, server.url, *more),
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complaints = await asyncio.wait_for(program.communicate(), 60)
        assert (program.returncode, complaints.decode()) == (0, "")
        return told.decode().splitlines(), server


async def test_one_that_was_not_used_works_in_every_child(tmp_path: Path) -> None:
    told, server = await forked("unused", tmp_path)
    assert told == ["worker get ok", "child ended 0"] * 2
    assert len(server.sent("/oauth2/token")) == 2


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("way", ["same_loop", "new_loop"])
async def test_one_that_was_used_says_so_and_the_parent_goes_on(way: str, tls: bool, tmp_path: Path) -> None:
    told, server = await forked(way, tmp_path, ca=trustme.CA() if tls else None)
    assert told == ["parent get ok", *REFUSED, "child ended 0", "parent get ok"]
    assert (server.connections, len(server.requests)) == (1, 2)  # the connection is as good as before


@pytest.mark.parametrize("tls", [False, True])
async def test_a_child_that_drops_it_disturbs_nothing(tls: bool, tmp_path: Path) -> None:
    told, server = await forked("untouched", tmp_path, ca=trustme.CA() if tls else None)
    assert told == ["parent get ok", "child ended 0", "parent get ok"]
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_what_the_parent_is_to_finish_is_left_to_it(tmp_path: Path) -> None:
    told, server = await forked("finishing", tmp_path, slow(FOUND, pause=2))
    assert told == [
        "child left 3",
        "child ended 0",
        "parent slow ok",
    ]  # the caller, its call, and what reads ahead
    assert server.connections == 1


async def test_a_token_that_the_parent_waits_for_holds_nobody_up_in_the_child(tmp_path: Path) -> None:
    told, server = await forked("token", tmp_path, tokens=(slow(FOUND, pause=2), FOUND))
    assert told == ["child get ok", "child ended 0", "parent get ok"]
    assert len(server.sent("/oauth2/token")) == 2


async def test_an_answer_that_is_on_its_way_is_the_parents(tmp_path: Path) -> None:
    told, server = await forked("inside", tmp_path, FOUND, FOUND, FOUND)
    assert told == ["parent get ok", *REFUSED, "parent slow ok", "parent get ok"]
    assert server.connections == 1


async def test_a_child_of_multiprocessing_is_told(tmp_path: Path) -> None:
    told, server = await forked("by_multiprocessing", tmp_path)
    assert told == ["parent get ok", *REFUSED, "child ended 0", "parent get ok"]
    assert server.connections == 1


async def test_transports_sessions_and_pools_are_told(tmp_path: Path) -> None:
    told, server = await forked("transport", tmp_path)
    parent = [f"parent {name} ok" for name in ("alone", "pool", "session")]
    child = [f"child {name} {SAID}" for name in ("alone", "pool", "session", "unused session")]
    assert told == [*parent, *child, "child ended 0", *parent]
    assert server.connections == 3


async def test_an_open_store_says_so_and_a_closed_one_works_in_a_child(tmp_path: Path) -> None:
    told, _ = await forked("stores", tmp_path)
    works = ["worker outbox ok", "worker inbox ok"]
    said = "StoreError sqlite:///{}.db: it was opened before a fork; open one in the child"
    assert told == [
        *(*works, "child ended 0", *works, *works, "child ended 0"),
        *("parent outbox ok", "parent inbox ok"),
        *(f"child outbox {said.format('box')}", f"child inbox {said.format('in')}"),
        *("child closes outbox ok", "child closes inbox ok"),
        *(f"child opens {said.format('box')}", "child ended 0"),
        *("parent outbox ok", "parent inbox ok"),
        *("box.db ok", "in.db ok"),
    ]
