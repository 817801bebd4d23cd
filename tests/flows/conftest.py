"""A client on an emulator in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from limio_async import ApiKey, ClientCredentials, Limio, SessionToken
from limio_async.emulator import InMemoryTransport, World

BOTH = pytest.mark.parametrize("world", ["live", "documented"], indirect=True)


def all_credentials(world: World) -> list[ApiKey | ClientCredentials | SessionToken]:
    return [
        ApiKey(world.api_key),
        ClientCredentials(world.client_id, world.client_secret),
        SessionToken(world.session_token),
    ]


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """As live tenants answer; tests that it matters to ask for both envelopes with `BOTH`."""
    return World(offers=250, subscriptions=120, envelope=getattr(request, "param", "live"))


@pytest.fixture
async def limio(world: World) -> AsyncIterator[Limio]:
    transport = InMemoryTransport(world)
    async with Limio("limio.emulated", auth=all_credentials(world), transport=transport) as client:
        yield client
