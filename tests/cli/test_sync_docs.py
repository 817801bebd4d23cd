"""What docs/sync-jobs.md shows runs as it stands there, against an emulator over HTTP; what it lists is what there is."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import dlt
import pytest

from limio_async import Limio
from limio_async.cli.failures import Code
from limio_async.emulator import World
from limio_async.sync_jobs.streams import known_streams, stream, streams_for
from tests.cli.conftest import Run, command_line

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sync-jobs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHOWN = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
COMMANDS = [line for line in SHOWN if line.startswith("limio ")]
SCHEDULED = [
    command
    for kind, text in BLOCKS
    if kind in {"cron", "ini", "python"}
    for command in re.findall(r"\blimio -q sync [^\n\"|]*", text)
]
ASKS = {
    "modified_after": "what was modified since",
    "created_after": "what was created since",
    None: "everything; compared here",
}


def example(name: str) -> str:
    (text,) = (text for kind, text in BLOCKS if kind == "python" and text.startswith(f"# {name}\n"))
    return str(text)


def executed(name: str, **given: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "docs", **given}
    exec(compile(example(name), "sync-jobs.md", "exec"), names)  # noqa: S102
    return names


def test_every_list_is_told_and_what_of_it_an_incremental_run_asks_for() -> None:
    rows = re.findall(r"^\| (\*?)`(\w+)`\*? \| `(\w+)` \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [name for _, name, _, _ in rows] == known_streams()
    by_default = {one.name for one in streams_for((), ["key", "bearer"])[0]}
    for extra, name, operation, asks in rows:
        found = stream(name)
        assert (operation, asks) == (found.endpoint.operation, ASKS[found.newer_than]), name
        assert bool(extra) == (name not in by_default), name


def test_the_exit_codes_are_those_there_are() -> None:
    section = PAGE.partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == [*Code]


def test_every_message_that_is_explained_is_one_that_is_said() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "limio_async").rglob("*.py"))
    said = re.sub(r"\s+", " ", re.sub(r'"\s+f?"', "", source))
    section = PAGE.partition("## When something goes wrong")[2]
    messages = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    made_of_parts = {
        "takes a bearer token, the client has an API key",
        "createToken: 401",
        "404 No objects at",
        "database or disk is full",
    }
    assert made_of_parts < {*messages}
    parts = [part.strip() for one in messages if one not in made_of_parts for part in one.split("…")]
    assert [part for part in parts if part.removesuffix("20%") not in said] == []


def test_the_files_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:docs|examples|openapi)/[\w./-]+)`", PAGE))
    assert named >= {"docs/report.md", "examples/nightly.py", "examples/custom_sink.py"}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_does_what_it_should(limio: Run, tenant: World) -> None:
    kinds = {scheme for scheme in ("sqlite", "duckdb", "parquet", "ndjson", "csv") if f"--to {scheme}:" in " ".join(COMMANDS).replace("'", "")}  # fmt: skip
    assert len(kinds) == 5
    for line in COMMANDS:
        if "postgresql://" not in line and "--every" not in line:
            result = limio(*shlex.split(line)[1:])
            assert result.exit_code == 0, (line, result.stderr)
    for file in ("lake/offers.parquet", "tables/offers.csv", "dump/offers.ndjson.gz", "report.html"):
        assert Path(file).stat().st_size, file
    assert Path("events/subscriptions_events.ndjson").read_bytes().count(b"\n") == 60
    queries = [query for kind, text in BLOCKS if kind == "sql" for query in text.splitlines()]
    with closing(sqlite3.connect("limio.db")) as database:
        assert [bool(database.execute(query).fetchall()) for query in queries] == [True, True, False]


def test_the_commands_of_the_readme_do_what_they_should(limio: Run, tenant: World) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (limio (?:sync|report) .*)$", readme, re.MULTILINE)
    assert len(commands) == 4
    for line in commands:
        result = limio(*shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, (line, result.stderr)


def test_every_command_that_runs_again_and_again_ends_when_it_is_told_to(tenant: World) -> None:
    repeating = [line for line in COMMANDS if "--every" in line]
    assert repeating
    for line in repeating:
        args = command_line(*shlex.split(line)[1:])
        with subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while "next run in 0:15:00" not in (said := process.stderr.readline()):
                assert said
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 130


def test_every_scheduled_command_does_what_it_should(limio: Run, tenant: World) -> None:
    assert len(SCHEDULED) == 4
    for line in SCHEDULED:
        result = limio(*shlex.split(line)[1:])
        assert (result.exit_code, result.stderr) == (0, ""), line


# --- Python


def test_dlt_loads_and_replaces(tenant: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", "dlt")
    pipeline = executed("dlt")["pipeline"]
    both = "SELECT (SELECT count(*) FROM offers), (SELECT count(*) FROM subscriptions)"
    with pipeline.sql_client() as database:
        assert [tuple(row) for row in database.execute_sql(both)] == [(120, 60)]
    executed("replace")
    first = asyncio.run(remove_one_offer())
    executed("replace")
    with dlt.attach("limio_full").sql_client() as database:
        ids = {one for (one,) in database.execute_sql("SELECT id FROM offers") or []}
    assert len(ids) == 119
    assert first not in ids


async def remove_one_offer() -> str:
    async with Limio.from_env() as limio:
        found = await limio.offers.list().first()
        assert found is not None
        await limio.catalog_items.delete(str(found.path).removeprefix("/"))
        return str(found.id)


def test_a_service_keeps_its_catalog_and_ends_when_it_is_told_to(tenant: World) -> None:
    async def serve() -> None:
        stopping = asyncio.Event()

        def hear(*news: str) -> None:
            assert news == ("catalog", "complete")
            stopping.set()

        async with Limio.from_env() as limio:
            await executed("service", print=hear)["keep_catalog"](limio, stopping)

    asyncio.run(serve())
    with closing(sqlite3.connect("catalog.db")) as database:
        assert database.execute("SELECT count(*) FROM offers").fetchone() == (120,)


def test_the_airflow_example_is_one_task_that_runs_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    class Dag:
        def __init__(self, name: str, **_: Any) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.providers": {},
        "airflow.providers.standard": {},
        "airflow.providers.standard.operators": {},
        "airflow.providers.standard.operators.bash": {
            "BashOperator": lambda **options: given.append(options)
        },
        "airflow.sdk": {"DAG": Dag},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    executed("airflow")
    assert [one["bash_command"] for one in given] == ["limio -q sync --to sqlite:///limio.db"]
