"""An inbox in a SQLite file, or in a schema of a PostgreSQL database of the tests' own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from limio_async import BearerToken, Limio
from limio_async.webhooks import Inbox
from tests.postgres_cluster import Cluster, own_cluster
from tests.webhooks.tenant import Tenant


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with own_cluster() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/inbox.db"
    cluster: Cluster = request.getfixturevalue("cluster")
    return f"{cluster.url}?schema=inbox_{uuid4().hex[:12]}"


@pytest.fixture
async def inbox(url: str) -> AsyncIterator[Inbox]:
    async with Inbox(url) as one:
        yield one


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture
async def limio(tenant: Tenant) -> AsyncIterator[Limio]:
    async with Limio(auth=BearerToken("token"), transport=tenant, attempts=1) as client:
        yield client


async def deliver(inbox: Inbox, type: str, body: Any) -> bool:
    """Return whether it was an event of its own."""
    return await inbox.receive(type, json.dumps(body).encode())
