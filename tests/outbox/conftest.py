"""An outbox in a SQLite file, or in a schema of a PostgreSQL database of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from limio_async import BearerToken, Limio
from limio_async.outbox import Outbox
from tests.outbox.tenant import Tenant
from tests.postgres_cluster import Cluster, own_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with own_cluster() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/orders.db"
    cluster: Cluster = request.getfixturevalue("cluster")
    return f"{cluster.url}?schema=outbox_{uuid4().hex[:12]}"


@pytest.fixture
def server(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """Of a schema of its own."""
    return f"{cluster.url}?schema=s_{abs(hash(request.node.name))}"


@pytest.fixture
async def box(url: str) -> AsyncIterator[Outbox]:
    async with Outbox(url, settle=timedelta(seconds=0.05)) as outbox:
        yield outbox


@pytest.fixture
def tenant() -> Tenant:
    return Tenant(page_size=50)


@pytest.fixture
async def limio(tenant: Tenant) -> AsyncIterator[Limio]:
    async with Limio(auth=BearerToken("token"), transport=tenant) as client:
        yield client
