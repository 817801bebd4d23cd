"""What the tests on real sockets share."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

HURRY = 20


@pytest.fixture
async def hurried_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of this test take a twentieth of their time: a socket cannot be made to jump like `virtual_time`."""
    loop: Any = asyncio.get_running_loop()
    begun, time, select = loop.time(), loop.time, loop._selector.select

    def hurried_select(timeout: float | None) -> Any:
        return select(timeout if timeout is None else timeout / HURRY)

    monkeypatch.setattr(loop, "time", lambda: begun + (time() - begun) * HURRY)
    monkeypatch.setattr(loop._selector, "select", hurried_select)
