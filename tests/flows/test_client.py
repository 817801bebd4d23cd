"""Opening, closing and configuring a client."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from limio_async import ApiKey, Limio, errors
from limio_async.emulator import World
from limio_async.emulator.server import serve


def test_a_client_from_the_environment_has_all_credentials_given_there() -> None:
    environ = {
        "LIMIO_HOST": "acme.prod.limio.com",
        "LIMIO_API_KEY": "public_1",
        "LIMIO_CLIENT_ID": "id",
        "LIMIO_CLIENT_SECRET": "hidden",
        "LIMIO_TOKEN": " ",
    }
    limio = Limio.from_env(environ)
    assert limio.origin == "https://acme.prod.limio.com"
    assert "hidden" not in repr(limio) + repr(vars(limio))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "LIMIO_HOST is not set"),
        ({"LIMIO_HOST": "x", "LIMIO_CLIENT_ID": "id"}, "LIMIO_CLIENT_SECRET is not set"),
        ({"LIMIO_HOST": "x", "LIMIO_CLIENT_SECRET": "s"}, "LIMIO_CLIENT_ID is not set"),
        ({"LIMIO_HOST": "http://example.com"}, "plain http is for this machine only"),
    ],
)
def test_a_wrong_environment_says_what_is_missing(environ: dict[str, str], said: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=said):
        Limio.from_env(environ)


def test_making_a_client_does_no_io_and_leaves_nothing_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Limio("acme.prod.limio.com", auth=ApiKey("k"))
        gc.collect()


def test_a_second_event_loop_gets_a_client_of_its_own() -> None:
    world = World(offers=3)

    async def once() -> int:
        async with serve(world, port=0) as url, Limio(url, auth=ApiKey(world.api_key)) as limio:
            return len(await limio.offers.list().collect(limit=10))

    assert [asyncio.run(once()) for _ in range(2)] == [3, 3]


async def test_after_aclose_a_call_says_that_the_client_is_closed() -> None:
    limio = Limio("acme.prod.limio.com", auth=ApiKey("k"))
    await limio.aclose()
    await limio.aclose()
    with pytest.raises(errors.ClientClosed):
        await limio.offers.list()
