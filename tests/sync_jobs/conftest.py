"""A tenant to sync, a target in memory, and one way to run a job on them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from limio_async import Limio
from limio_async.auth import ApiKey, ClientCredentials
from limio_async.emulator import InMemoryTransport, World
from limio_async.sync_jobs import Job, JobReport, StreamReport
from tests.flows.conftest import all_credentials
from tests.sync_jobs.memory_sink import MemorySink
from tests.sync_jobs.raw_lists import RawLists

RunJob = Callable[..., Awaitable[JobReport]]


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """No test waits for a tenant unless it says how long."""
    assert Job.__init__.__kwdefaults__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Job.__init__.__kwdefaults__, "patience", timedelta(0))
        yield


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """As live tenants answer; tests that it matters to ask for both envelopes with `BOTH`."""
    return World(offers=250, subscriptions=120, envelope=getattr(request, "param", "live"))


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def client(world: World) -> Limio:
    return Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))


@pytest.fixture
def make_job(client: Limio, sink: MemorySink, tmp_path: Path) -> Callable[..., Job]:
    def make(*streams: str, attempts: int = 3, **options: Any) -> Job:
        limio = client.with_options(attempts=attempts)
        return Job(limio, to=sink, state=tmp_path / "state", streams=streams, **options)

    return make


@pytest.fixture
def run_job(make_job: Callable[..., Job]) -> RunJob:
    async def run(*streams: str, **options: Any) -> JobReport:
        return await make_job(*streams, **options).run()

    return run


def only(report: JobReport) -> StreamReport:
    """The report of the only stream."""
    (one,) = report.streams
    return one


def names_in(directory: Path) -> list[str]:
    """The names of what a directory holds."""
    return sorted(one.name for one in directory.iterdir())


@asynccontextmanager
async def client_of(tenant: RawLists) -> AsyncGenerator[Limio]:
    """A client of a raw tenant that sends nothing again by itself."""
    credentials = ClientCredentials(client_id="i", client_secret="s")
    async with Limio(tenant.url, auth=[ApiKey("public_x"), credentials]) as client:
        yield client.with_options(attempts=1)
