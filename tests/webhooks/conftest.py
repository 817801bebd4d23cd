"""An inbox in a SQLite file, or in a schema of a PostgreSQL database of the tests' own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from limio_async import BearerToken, Limio
from limio_async.webhooks import Inbox
from tests import databases
from tests.webhooks.tenant import Tenant

cluster, url = databases.cluster, databases.url


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
