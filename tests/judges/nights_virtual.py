"""A night in virtual time: a tenant in memory that goes away by the clock, and a target that restarts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest

from limio_async import Limio
from limio_async.client import auth_from
from limio_async.core.wire import Request, Response
from limio_async.errors import AnswerLost, NeverSent, TargetAway
from limio_async.sync_jobs import Job, JobReport
from limio_async.sync_jobs.sinks import open_sink
from tests.judges.nights_tenant import STREAMS, NightTenant
from tests.virtual_time import VirtualTime

__all__ = ["Night"]

T = TypeVar("T")
_WRITES = ("apply", "mark_unseen", "prune", "publish")


class _Wire:
    """Carries requests to the tenant as a network would."""

    origin = "https://night.limio.test"

    def __init__(self, tenant: NightTenant, clock: Callable[[], float]) -> None:
        self._tenant = tenant
        self._clock = clock

    async def send(self, request: Request, *, timeout: float) -> Response:
        spot = urlsplit(request.target)
        reply = self._tenant.answer(self._clock(), spot.path, dict(parse_qsl(spot.query)))
        late = reply.fault == "timeout" or reply.delay > timeout
        await asyncio.sleep(timeout if late else reply.delay)
        if reply.fault in {"refused", "dns"}:
            raise NeverSent(f"the night has {reply.fault}", operation=request.operation)
        if late or reply.fault:
            raise AnswerLost(f"the night has {reply.fault or 'a late answer'}", operation=request.operation)
        headers = {
            "content-type": "application/json",
            **{name.lower(): value for name, value in reply.headers.items()},
        }
        return Response(status=reply.status, headers=headers, body=reply.body)

    async def aclose(self) -> None:
        await asyncio.sleep(0)


class _Restarting:
    """A sink that is away now and then, before it has done something or just after; it counts how often."""

    def __init__(self, sink: Any, chance: Random, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._chance = chance
        self._clock = clock
        self._until = 0.0
        self._next = chance.uniform(20, 200)
        self.times = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._sink, name)
        return self._flaky(found) if name in _WRITES else found

    def _flaky(self, work: Callable[..., T]) -> Callable[..., T]:
        def call(*args: Any, **options: Any) -> T:
            now = self._clock()
            if now < self._until:
                raise TargetAway("the target is restarting")
            if now < self._next:
                return work(*args, **options)
            self.times += 1
            self._until = now + self._chance.uniform(1, 40)
            self._next = self._until + self._chance.uniform(20, 200)
            if self._chance.random() < 0.5:
                work(*args, **options)
                raise TargetAway("the connection broke after a commit")
            raise TargetAway("the target went away")

        return call


class Night:
    """Runs jobs of one tenant into one SQLite file, in the virtual time of this loop."""

    def __init__(self, seed: int, directory: Path, clock: VirtualTime, patch: pytest.MonkeyPatch, *, long: float = 0.0) -> None:  # fmt: skip
        self.tenant = NightTenant(seed, seconds=7200, pace=8, patience=600, size=60, long=long)
        self.file = directory / "night.db"
        self.told: Counter[str] = Counter()
        self.restarts = 0
        self._directory = directory
        self._clock = clock
        self._chance = Random(f"target {seed}")
        random.seed(seed)  # for the pauses of the job itself
        patch.setattr(anyio.to_thread, "run_sync", _at_once)
        credentials = {"LIMIO_HOST": "night.limio.test", "LIMIO_API_KEY": "k", "LIMIO_CLIENT_ID": "i", "LIMIO_CLIENT_SECRET": "s"}  # fmt: skip
        self._limio = Limio(
            "night.limio.test",
            auth=auth_from(credentials),
            transport=_Wire(self.tenant, lambda: clock.elapsed),
        )

    async def run(self) -> JobReport:
        """Run one job to its end."""
        sink = open_sink(f"sqlite:///{self.file}")
        restarting = _Restarting(sink, self._chance, lambda: self._clock.elapsed)
        job = Job(
            self._limio, to=restarting, state=self._directory / "state", streams=STREAMS, hydrate=True,
            page_size=15, patience=timedelta(minutes=10), on_event=lambda event: self.told.update([event.kind]),
        )  # fmt: skip
        report = await job.run()
        self.restarts += restarting.times
        return report


async def _at_once(work: Callable[[], T], *args: Any, **options: Any) -> T:
    """Do in the loop what would be done in a thread: virtual time does not wait for threads."""
    await asyncio.sleep(0)
    return work(*args)


_: Callable[..., Awaitable[Any]] = _at_once
