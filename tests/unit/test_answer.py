"""The whole answer to one call: its value, and the exact bytes and facts that it was read from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from limio_async import Answer, ApiKey, ClientCredentials, Limio, errors
from limio_async.client import auth_from
from limio_async.emulator import InMemoryTransport, World
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, answer, endpoint, listing_of

GET = endpoint()


@pytest.fixture
def world() -> World:
    return World(offers=3, subscriptions=3)


@pytest.fixture
async def limio(world: World) -> AsyncIterator[Limio]:
    transport = InMemoryTransport(world)
    async with Limio(auth=auth_from(world.environ(transport.origin)), transport=transport) as client:
        yield client


async def test_it_has_the_value_of_the_call_and_the_bytes_it_was_read_from(
    limio: Limio, world: World
) -> None:
    one = next(world.ids("subscriptions"))
    whole = await limio.answer(limio.subscriptions.get, one)
    assert isinstance(whole, Answer)
    assert whole.value == await limio.subscriptions.get(one)
    assert whole.status == 200
    assert whole.value.id == one
    assert b'"id":"' + one.encode() in whole.body.replace(b" ", b"")
    assert [one.reason for one in whole.attempts] == ["status 200"]


async def test_headers_request_id_and_attempts_are_those_of_the_last_answer(virtual_time: Any) -> None:
    body = b' {"id": "1"} '
    headers = {"x-request-id": "r-2", "x-other": "kept"}
    transport = ScriptedTransport(answer({}, 503, {"x-request-id": "r-1"}), answer(body, 200, headers))
    async with Limio(transport.origin, transport=transport) as limio:
        whole = await limio.answer(limio.request, GET, {"id": "1"})
    assert (whole.body, whole.headers, whole.request_id) == (body, headers, "r-2")
    assert [(one.status, one.request_id) for one in whole.attempts] == [(503, "r-1"), (200, "r-2")]


async def test_the_request_for_a_token_is_not_taken_for_the_call() -> None:
    token = answer({"access_token": "hidden", "expires_in": 3600})
    transport = ScriptedTransport(token, answer({"id": "1"}))
    async with Limio(transport.origin, auth=ClientCredentials("a", "b"), transport=transport) as limio:
        whole = await limio.answer(limio.request, endpoint(auth=("bearer",)), {"id": "1"})
    assert whole.body == b'{"id":"1"}'


async def test_it_raises_what_the_call_raises(limio: Limio) -> None:
    with pytest.raises(errors.NotFound):
        await limio.answer(limio.subscriptions.get, "no-such")
    with pytest.raises(errors.InvalidArgument):
        await limio.answer(limio.subscriptions.get, "")


async def test_two_at_once_get_each_its_own(limio: Limio, world: World) -> None:
    ids = list(world.ids("subscriptions"))
    found = await asyncio.gather(*(limio.answer(limio.subscriptions.get, one) for one in ids))
    assert [one.value.id for one in found] == ids


async def test_a_view_keeps_its_options() -> None:
    transport = ScriptedTransport(answer({"id": "1"}))
    async with Limio(transport.origin, auth=ApiKey("k"), transport=transport) as limio:
        view = limio.with_options(headers={"x-own": "1"})
        await limio.answer(view.request, GET, {"id": "1"})
        await view.answer(view.request, GET, {"id": "1"})
    assert [one.headers["x-own"] for one in transport.requests] == ["1", "1"]


async def test_a_listing_is_many_answers(limio: Limio) -> None:
    lists: list[Any] = [limio.offers.list, limio.listing]
    with pytest.raises(TypeError, match=r"list\(\) is a listing: its pages\(\) hold the answers"):
        await limio.answer(lists[0])
    with pytest.raises(TypeError, match=r"listing\(\) is a listing: its pages\(\)"):
        await limio.answer(lists[1], listing_of(KEY), {})


async def test_what_is_no_call_is_refused(limio: Limio) -> None:
    wrong: list[Any] = [print, limio.warmup, limio.catalog.commit_id, lambda: limio.subscriptions.get("1")]
    for one in wrong:
        with pytest.raises(TypeError):
            await limio.answer(one)


async def test_it_shows_nothing_of_what_came(limio: Limio, world: World) -> None:
    whole = await limio.answer(limio.subscriptions.get, next(world.ids("subscriptions")))
    assert repr(whole) == f"<Answer 200, {len(whole.body)} bytes>"
