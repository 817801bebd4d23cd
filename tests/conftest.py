"""What all tests share: time that passes at once, and a transport that answers from a script."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from limio_async.core.wire import Request, Response
from limio_async.errors import ClientClosed
from tests.disk import Disk
from tests.virtual_time import VirtualTime


@pytest.fixture(scope="module", autouse=True)
def nothing_old_is_looked_through() -> None:
    """Keep the garbage collector from what is there by now: tests that call it would take a minute and a half longer."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Undo it: hypothesis asks the garbage collector who refers to what, and is imported as late as for the summary."""
    gc.unfreeze()


@pytest.fixture
async def virtual_time(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VirtualTime]:
    """Waits of this test take no time; `virtual_time.elapsed` tells how long they would have been."""
    loop: Any = asyncio.get_running_loop()
    clock = VirtualTime(loop)
    monkeypatch.setattr(loop, "time", clock.time)
    monkeypatch.setattr(loop._selector, "select", clock.select)
    yield clock
    monkeypatch.undo()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Tells what reached the disk, and when."""
    return Disk(monkeypatch)


Answer = Response | Exception | Callable[[Request], Any]


class ScriptedTransport:
    """Answers requests from a script, in order; the last answer repeats.

    As a server does, it acts when a request comes, and answers later: a request that is cancelled has happened.
    """

    origin = "https://limio.test"

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.timeouts: list[float | None] = []
        self.suspends = 1
        self.closed = 0

    async def send(self, request: Request, *, timeout: float) -> Response:
        if self.closed:
            raise ClientClosed("this transport was closed")
        self.requests.append(request)
        self.timeouts.append(timeout)
        outcome = await self._made(self.script.pop(0) if len(self.script) > 1 else self.script[0], request)
        for _ in range(self.suspends):
            await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1

    async def _made(self, answer: Answer, request: Request) -> Response | Exception:
        if isinstance(answer, Response | Exception):
            return answer
        try:
            made = answer(request)
            response: Response = await made if asyncio.iscoroutine(made) else made
        except Exception as error:  # it is raised when the answer would have come
            return error
        return response
