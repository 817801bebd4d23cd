"""A target of each kind, for tests of what all of them promise."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres_cluster import Cluster, own_cluster
from tests.sync_jobs.sinks.targets import schema_of_postgres

FILES = {
    "sqlite": "sqlite:///{}/limio.db",
    "duckdb": "duckdb:///{}/limio.duckdb",
    "ndjson": "ndjson:{}/ndjson",
    "csv": "csv:{}/csv",
    "parquet": "parquet:{}/parquet",
}


@pytest.fixture(params=[*FILES, "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of target in turn."""
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a target that is not there yet."""
    if kind != "postgresql":
        yield FILES[kind].format(tmp_path)
        return
    with schema_of_postgres(f"limio_test_{secrets.token_hex(6)}") as url:
        yield url


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a schema that is not there yet."""
    with schema_of_postgres(f"limio_test_{secrets.token_hex(6)}") as url:
        yield url


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    with own_cluster("max_prepared_transactions=2") as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """A server of the tests' own, which they may stop; it runs when a test begins."""
    if not _cluster.runs:
        _cluster.start()
    return _cluster
