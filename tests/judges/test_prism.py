"""Prism stands between client and emulator and compares all that passes with the API description."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from limio_async import ApiKey, ClientCredentials, Limio, SessionToken, errors
from limio_async.core.ports import Auth
from limio_async.emulator import World, reply
from limio_async.emulator.server import serve
from tests.judges.every_operation import Kept, call_every_operation
from tests.judges.need import missing, needed
from tests.judges.spec import OPERATIONS, for_server
from tests.judges.test_schema import SIZES, small_world

pytestmark = pytest.mark.judge

PRISM = (
    Path(__file__).parents[2]
    / ".cache"
    / "prism"
    / "node_modules"
    / "@stoplight"
    / "prism-cli"
    / "dist"
    / "index.js"
)
LONGEST_START = 60.0


@asynccontextmanager
async def prism(upstream: str, directory: Path) -> AsyncIterator[str]:
    """The URL of a Prism that passes on to *upstream* and answers 422 or 500 itself where something is wrong."""
    node = needed("node", install="nodejs npm")
    if not PRISM.exists():
        missing("Prism is not installed; `make prism` does it, with npm")
    spec = directory / "limio.json"
    spec.write_text(json.dumps(for_server(upstream), default=str), encoding="utf-8")
    running = await asyncio.create_subprocess_exec(
        node, str(PRISM), "proxy", str(spec), upstream, "--errors", "--host", "127.0.0.1", "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "0"},
    )  # fmt: skip
    assert running.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(LONGEST_START):
            while b"listening on" not in said:
                line = await running.stdout.readline()
                assert line, f"Prism ended: {said.decode()}"
                said += line
        rest = asyncio.create_task(running.stdout.read())  # or it would stand still when the pipe is full
        yield said.decode().rpartition("listening on ")[2].split()[0]
        running.terminate()
        await rest
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


@asynccontextmanager
async def judged(world: World, directory: Path) -> AsyncIterator[tuple[Limio, str]]:
    auth: list[Auth] = [ApiKey(world.api_key), ClientCredentials(world.client_id, world.client_secret),
            SessionToken(world.session_token)]  # fmt: skip
    async with (
        serve(world, port=0) as url,
        prism(url, directory) as proxy,
        Limio(proxy, auth=auth, attempts=1) as limio,
    ):
        yield limio, url


async def test_prism_finds_nothing_wrong_with_any_operation_between_client_and_emulator(
    tmp_path: Path,
) -> None:
    world = Kept(**SIZES)
    async with judged(world, tmp_path) as (limio, url):
        await call_every_operation(limio, world, shop=url)  # Prism follows redirects
    well = {one.operation for one in world.requests() if 200 <= one.status < 400}
    assert OPERATIONS.keys() - well == set()


async def test_prism_would_find_something_wrong(tmp_path: Path) -> None:
    world = small_world()
    world.script("listSegments", reply({"items": "text", "hits": 1}))
    async with judged(world, tmp_path) as (limio, _):
        with pytest.raises(errors.LimioError) as caught:
            await limio.segments.list().collect(limit=5)
        assert "500" in str(caught.value)
        with pytest.raises(errors.LimioError) as caught:
            await limio.partner_organisations.create({"name": 5})
        assert "422" in str(caught.value)
