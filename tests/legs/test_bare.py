"""Without any extra. `make bare` runs this beside tests that an extra may change."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zlib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pkgutil import walk_packages

import pytest

import limio_async
from limio_async import Limio
from limio_async.emulator import InMemoryTransport, World
from limio_async.errors import ConfigurationError
from limio_async.sync_jobs import Job
from limio_async.transport import body
from tests.flows.conftest import all_credentials
from tests.legs.requirements import TOOLS, extras, name_of

pytestmark = pytest.mark.leg

BROUGHT = {name_of(one) for one in extras()} - {*TOOLS}
OFFERS = 20


@pytest.fixture
def tenant() -> Limio:
    world = World(offers=OFFERS)
    return Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))


@pytest.mark.parametrize("package", sorted(BROUGHT))
def test_nothing_that_an_extra_brings_is_here(package: str) -> None:
    with pytest.raises(PackageNotFoundError):
        version(package)


def test_every_module_is_imported_but_those_that_are_an_extra() -> None:
    missing: dict[str, str | None] = {}
    for module in walk_packages(limio_async.__path__, "limio_async."):
        try:
            found = import_module(module.name)
        except ModuleNotFoundError as error:
            missing[module.name.removeprefix("limio_async.")] = error.name
        else:
            assert [name for name in getattr(found, "__all__", ()) if not hasattr(found, name)] == []
    command_line = {one for one in missing if one.startswith("cli.")}
    assert {missing.pop(one) for one in command_line} <= {"click", "platformdirs", "rich"}
    assert missing == {
        "core.pydantic_schema": "pydantic_core",
        "drift.proposal": "yaml",
        "otel": "opentelemetry",
        "report.charts": "vl_convert",
        "report.page": "jinja2",
        "stores.postgres": "psycopg",
        "stores.postgres_tx": "psycopg",
        "sync_jobs.dlt": "dlt",
        "sync_jobs.dlt_rows": "dlt",
        "sync_jobs.sinks.arrow": "pyarrow",
        "sync_jobs.sinks.duckdb": "duckdb",
        "sync_jobs.sinks.parquet": "pyarrow",
        "sync_jobs.sinks.postgres": "platformdirs",
        "sync_jobs.sinks.postgres_errors": "psycopg",
        "sync_jobs.sinks.postgres_session": "psycopg",
        "sync_jobs.sinks.postgres_watch": "psycopg",
        "web.starlette": "starlette",
    }


def test_the_observer_for_opentelemetry_names_its_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"needs opentelemetry: pip install 'limio_async\[otel\]'"):
        import_module("limio_async.otel")
    with pytest.raises(ConfigurationError, match=r"LIMIO_OTEL: limio_async.otel needs opentelemetry"):
        Limio.from_env({"LIMIO_HOST": "acme.example", "LIMIO_OTEL": "1"})


def test_the_source_of_dlt_names_its_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"needs dlt: pip install 'limio_async\[dlt\]'"):
        import_module("limio_async.sync_jobs.dlt")


def test_gzip_is_inflated_by_the_standard_library() -> None:
    assert body.BACKEND is zlib


@pytest.mark.parametrize("command", [["limio"], ["python", "-m", "limio_async.cli"]])
def test_the_command_line_says_what_to_install(command: list[str]) -> None:
    here = Path(sys.executable).parent
    done = subprocess.run(
        [here / command[0], *command[1:], "operations"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "limio: the command line needs its extra: pip install 'limio_async[cli]'\n",
    )


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("sqlite:///limio.db", "limio.db"),
        ("ndjson:lake", "lake/offers.ndjson"),
        ("ndjson:lake?compress=gzip", "lake/offers.ndjson.gz"),
        ("csv:lake", "lake/offers.csv"),
    ],
)
def test_a_job_keeps_a_list_without_an_extra(
    url: str, written: str, tenant: Limio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (report,) = asyncio.run(Job(tenant, to=url, streams=["offers"]).run()).streams
    assert (report.status, report.inserted) == ("complete", OFFERS)
    assert Path(written).stat().st_size > 0


@pytest.mark.parametrize(
    ("url", "missing", "extra"),
    [
        ("duckdb:///limio.duckdb", "duckdb and pyarrow", "duckdb"),
        ("postgresql://limio@localhost/warehouse", "psycopg and platformdirs", "postgres"),
        ("parquet:lake", "pyarrow", "parquet"),
        ("ndjson:lake?compress=zstd", "zstandard", "zstd"),
    ],
)
def test_a_target_that_needs_an_extra_names_it(url: str, missing: str, extra: str, tenant: Limio) -> None:
    with pytest.raises(ConfigurationError, match=rf"needs {missing}: pip install 'limio_async\[{extra}\]'"):
        Job(tenant, to=url, streams=["offers"])
