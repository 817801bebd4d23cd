"""What a client is doing: in numbers, in words, and without a secret."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from limio_async import ApiKey, BearerToken, ClientCredentials, Limio, State, errors
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer, endpoint

ROOT = Path(__file__).parents[2]
GET = endpoint()
WITH_TOKEN = endpoint(auth=("bearer",))
TOKEN = answer({"access_token": "hidden", "expires_in": 3600})
OK = answer({"id": "1"})


def client(transport: ScriptedTransport, **options: Any) -> Limio:
    return Limio(transport.origin, transport=transport, **options)


def test_a_client_that_did_nothing_is_open_and_idle() -> None:
    limio = client(ScriptedTransport(OK), auth=ClientCredentials("a", "hidden"))
    assert limio.state() == State(
        open=True, used=0, allowed=16, interactive=0, background=0, pause=0.0, quota=500, most_quota=500, token=None
    )  # fmt: skip
    assert str(limio.state()) == "open, 0 of 16 slots in use, 500 of 500 left to retry with"
    assert repr(limio) == "<Limio https://limio.test, 0 of 16 slots in use>"


def test_the_words_of_the_docs_are_those_of_a_state() -> None:
    busy = State(
        open=True, used=16, allowed=16, interactive=40, background=2, pause=0.0, quota=500, most_quota=500, token=3412.0
    )  # fmt: skip
    assert f"\n{busy}\n" in (ROOT / "docs/observability.md").read_text(encoding="utf-8")


async def test_slots_and_who_waits_for_them_are_counted_by_lane() -> None:
    limio = client(ScriptedTransport(lambda _: asyncio.Event().wait()), max_concurrency=2)
    job = limio.with_options(lane="background")
    calls = [asyncio.create_task(one.request(GET, {"id": "1"})) for one in (limio, limio, limio, job, job)]
    for _ in range(5):
        await asyncio.sleep(0)
    state = job.state()
    assert (state.used, state.allowed, state.interactive, state.background) == (2, 2, 1, 2)
    assert "2 of 2 slots in use, 1 interactive and 2 background calls wait" in str(state)
    assert repr(limio) == "<Limio https://limio.test, 2 of 2 slots in use>"
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (limio.state().used, limio.state().interactive, limio.state().background) == (0, 0, 0)


async def test_a_pause_and_the_quota_are_told(virtual_time: Any) -> None:
    limio = client(ScriptedTransport(answer({}, 503), answer({}, 429, {"retry-after": "30"})))
    with pytest.raises(errors.TooManyRequests):
        await limio.request(GET, {"id": "1"}, timeout=5)
    state = limio.state()
    assert 25 < state.pause <= 30
    assert (state.quota, state.allowed) == (486, 8)
    assert f"a pause for {state.pause:.1f} s, 486 of 500 left to retry with" in str(state)


@pytest.mark.parametrize("chained", [False, True])
async def test_how_long_the_token_lasts_is_told_and_the_token_is_not(
    virtual_time: Any, chained: bool
) -> None:
    own = ClientCredentials("a", "hidden")
    limio = client(ScriptedTransport(TOKEN, OK), auth=[ApiKey("hidden"), own] if chained else own)
    assert limio.state().token is None
    await limio.request(WITH_TOKEN, {"id": "1"})
    assert limio.state().token == pytest.approx(3600, abs=1)
    await asyncio.sleep(600)
    assert limio.state().token == pytest.approx(3000, abs=1)
    assert "a token for 3000 s" in str(limio.state())
    await asyncio.sleep(4000)
    assert "a token that has ended" in str(limio.state())
    assert "hidden" not in repr(limio.state()) + str(limio.state()) + repr(limio)


async def test_a_token_without_an_end_has_none() -> None:
    limio = client(ScriptedTransport(OK), auth=BearerToken("hidden"))
    await limio.request(WITH_TOKEN, {"id": "1"})
    assert limio.state().token is None


def test_a_closed_client_says_so_also_outside_of_its_loop() -> None:
    limio = client(ScriptedTransport(OK))

    async def used() -> None:
        async with limio:
            await limio.request(GET, {"id": "1"})

    asyncio.run(used())
    assert limio.state().open is False
    assert str(limio.state()).startswith("closed")
    assert repr(limio) == "<Limio https://limio.test, closed>"
