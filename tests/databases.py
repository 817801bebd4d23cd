"""Fixtures of outbox and inbox: an empty database of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.postgres_cluster import Cluster, own_cluster

__all__ = ["cluster", "url"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with own_cluster() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    cluster: Cluster = request.getfixturevalue("cluster")
    return f"{cluster.url}?schema=shop_{uuid4().hex[:12]}"
