from __future__ import annotations

import pytest

from limio_async.emulator import World

from .visitor import Visitor


@pytest.fixture
def world() -> World:
    return World(offers=230, subscriptions=120)


@pytest.fixture
def visitor(world: World) -> Visitor:
    return Visitor(world)
