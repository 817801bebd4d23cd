"""An outbox in a SQLite file, or in a schema of a PostgreSQL database of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from limio_async import BearerToken, Limio
from limio_async.outbox import Outbox
from tests import databases
from tests.outbox.tenant import Tenant
from tests.postgres_cluster import Cluster

cluster, url = databases.cluster, databases.url


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
