"""What docs/outbox.md shows runs as it stands there; what it lists is what there is."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from limio_async.cli.failures import Code
from limio_async.cli.outbox import command as outbox_command
from limio_async.emulator import World, reply
from limio_async.outbox import Outbox
from limio_async.outbox.outcome import State
from tests.cli.conftest import Run
from tests.judges.need import missing
from tests.postgres_cluster import Cluster, own_cluster

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/outbox.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PYTHON = {text.partition("\n")[0].removeprefix("# "): text for kind, text in BLOCKS if kind == "python"}
SHOWN = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
ORDER = {"order_type": "data_capture", "process_immediately": True, "owner": "id-1", "data": {"a": 1}}
pytestmark = pytest.mark.usefixtures("bounded")
BOX = "sqlite:///shop.db"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_cluster() as cluster:
        with cluster.admin() as admin:
            admin.execute("CREATE TABLE sales (basket text PRIMARY KEY)")
        yield cluster


def executed(name: str, **given: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "docs", **given}
    exec(compile(PYTHON[name], "outbox.md", "exec"), names)  # noqa: S102
    return names


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(title: str) -> list[str]:
    return re.findall(r"^\| ([^|]+?) \|", section(title), re.MULTILINE)


async def keys(url: str) -> dict[str, str]:
    async with Outbox(url) as outbox:
        return {one.key: one.state for one in await outbox.list()}


# --- what it lists


def test_every_example_is_run_here() -> None:
    assert set(PYTHON) == {"intend", "psycopg", "asyncpg", "sqlalchemy", "sender"}
    assert {kind for kind, _ in BLOCKS} == {"python", "console", "ini"}


def test_the_states_are_those_there_are() -> None:
    assert [one.strip("`") for one in first_column("States")[1:] if "-" not in one] == [*get_args(State)]


def test_the_commands_are_those_there_are() -> None:
    told = " ".join(re.findall(r"^\| (`limio outbox .*?) \|", section("Commands"), re.MULTILINE))
    named = {words.removeprefix("limio outbox ").split()[0] for words in re.findall(r"`([^`]+)`", told)}
    assert named == {*outbox_command.commands}
    flags = {flag for one in outbox_command.commands.values() for param in one.params for flag in param.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= flags


def test_the_exit_codes_are_those_there_are() -> None:
    codes = {int(one) for one in first_column("Commands") if one.isdecimal()}
    assert codes == {*Code} - {Code.TOO_OLD}


def test_help_tells_the_same_exit_codes_and_defaults() -> None:
    run = outbox_command.commands["run"]
    told = (run.help or "").partition("Exit codes:")[2]
    assert re.findall(r"(?:^|,)\s(\d+) ", told) == [
        one for one in first_column("Commands") if one.isdecimal()
    ]
    defaults = {param.name: param.default for one in outbox_command.commands.values() for param in one.params}
    assert (defaults["settle"], defaults["before"], defaults["when_missing"]) == ("10m", "30d", "park")
    for words in ("begins `settle` (10 minutes)", "settled 30 days ago or earlier", '`when_missing="park"`, the default'):  # fmt: skip
        assert words in PAGE


def test_lines_of_json_have_the_fields_that_are_told(
    limio: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMIO_OUTBOX", BOX)
    lines = section("Commands").partition("With `--json`")[2].partition("`run` prints")[0]
    rows = re.findall(r"^\| (`[a-z][^|]*`) \| ([^|]+) \|$", lines, re.MULTILINE)
    told = {
        command: re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", fields))
        for commands, fields in rows
        for command in re.findall(r"`([^`]+)`", commands)
    }
    told["show"] = told["list"] + told["show"]
    words = {
        "run --dry-run": "run --dry-run",
        "run": "run --until-idle --settle 0s",
        "list": "list",
        "show": "show a",
        "resolve": "resolve a --as never",
        "stats": "stats",
        "pause": "pause",
        "resume": "resume",
        "doubt": "doubt --since 1h",
        "purge": "purge",
        "erase": "erase a",
    }
    assert told.keys() == words.keys()

    async def intend() -> None:
        async with Outbox(BOX) as outbox:
            await outbox.intend("a", ORDER)

    asyncio.run(intend())
    world.script("submitOrder", reply({}, 502))
    for command, line in words.items():
        result = limio("--emulated", "outbox", *line.split(), "--json")
        assert list(json.loads(result.stdout.splitlines()[-1])) == told[command], command


# --- what it shows


def test_every_command_does_what_it_should(
    limio: Run, tenant: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (url,) = (line.partition("LIMIO_OUTBOX=")[2] for line in SHOWN if line.startswith("export "))
    monkeypatch.setenv("LIMIO_OUTBOX", url)

    async def intend(key: str) -> None:
        async with Outbox(url) as outbox:
            await outbox.intend(key, ORDER)

    asyncio.run(intend("cancel-sub-1"))
    commands = [line for line in SHOWN if line.startswith("limio ")]
    assert len(commands) == len(SHOWN) - 1 == 9
    for line in commands:
        result = limio(*shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.stderr)
    assert tenant.count("submitOrder") == 1
    assert asyncio.run(keys(url)) == {"cancel-sub-1": "accepted"}


def test_the_command_of_the_readme_does_what_it_should(limio: Run, tenant: World) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # the worker sends by the same command
    [(command, url)] = {*re.findall(r"^\$ limio (outbox run --outbox (.*))$", readme, re.MULTILINE)}

    async def intend() -> None:
        async with Outbox(url) as outbox:
            await outbox.intend("a", ORDER)

    asyncio.run(intend())
    assert limio(*shlex.split(command), "--until-idle").exit_code == 0
    assert (tenant.count("submitOrder"), asyncio.run(keys(url))) == (1, {"a": "accepted"})


def test_a_parked_order_is_decided_about_in_the_ways_that_are_told(
    limio: Run, tenant: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMIO_OUTBOX", BOX)
    told = re.findall(r"`limio outbox resolve KEY ([^`]+)`", section("What to do with parked orders"))
    assert told == ["--as accepted:ORDER_ID", "--send-again", "--as never"]

    async def work() -> None:
        async with Outbox(BOX) as outbox:
            for key in ("a", "b"):
                await outbox.intend(key, ORDER)

    asyncio.run(work())
    tenant.script("submitOrder", *[reply({}, 502)] * 2)
    assert limio("outbox", "run", "--until-idle", "--settle", "0s").exit_code == 4
    for key, how in (("a", told[1]), ("b", told[2])):
        assert limio("outbox", "resolve", key, *how.split()).exit_code == 0
    assert asyncio.run(keys(BOX)) == {"a": "intended", "b": "refused"}


def test_the_service_runs_what_it_should(limio: Run, tenant: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (unit,) = (text for kind, text in BLOCKS if kind == "ini")
    [line] = re.findall(r"^ExecStart=\S+/limio (.*)$", unit, re.MULTILINE)
    [url] = re.findall(r"^Environment=LIMIO_OUTBOX=(.*)$", unit, re.MULTILINE)
    monkeypatch.setenv("LIMIO_OUTBOX", url)
    result = limio(*line.split(), "--until-idle")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_known_key_changes_nothing() -> None:
    order = executed("intend")["order"]
    for _ in range(2):
        assert asyncio.run(order("a", ORDER)) == "intended"
    assert asyncio.run(keys(BOX)) == {"a": "intended"}


def test_the_sender_writes_what_its_callbacks_want(tenant: World, capsys: pytest.CaptureFixture[str]) -> None:
    main = executed("sender")["main"]

    async def work() -> None:
        async with Outbox(BOX) as outbox:
            await outbox.intend("a", ORDER)
            with closing(sqlite3.connect("shop.db", isolation_level=None)) as db:
                db.execute("CREATE TABLE sales (basket, ordered)")
                db.execute("INSERT INTO sales (basket) VALUES ('a')")
                sending = asyncio.create_task(main(BOX))
                async with asyncio.timeout(20):
                    while db.execute("SELECT ordered FROM sales").fetchone() == (None,):  # noqa: ASYNC110  # as whoever polls does
                        await asyncio.sleep(0.01)
            sending.cancel()
            await asyncio.wait([sending])
            [known] = await outbox.list()
        with closing(sqlite3.connect("shop.db")) as db:
            assert db.execute("SELECT ordered FROM sales").fetchall() == [known.order_ids]

    asyncio.run(work())
    assert capsys.readouterr().out == ""


# --- the recipes for drivers


@pytest.fixture
def url(cluster: Cluster) -> str:
    return f"{cluster.url}?schema=public"


def library(name: str) -> Any:
    if find_spec(name) is None:
        missing(f"{name} is not installed; the dev group has it")
    return importlib.import_module(name)


def sold(cluster: Cluster, driver: str) -> list[str]:
    with cluster.admin() as admin:
        rows = admin.execute("SELECT basket FROM sales WHERE basket LIKE %s ORDER BY 1", (f"{driver}%",))
        return [basket for (basket,) in rows]


async def test_psycopg(cluster: Cluster, url: str) -> None:
    check_out = executed("psycopg")["check_out"]
    async with Outbox(url) as outbox, await psycopg.AsyncConnection.connect(cluster.url) as connection:
        await check_out(connection, outbox, "psycopg", ORDER)
        await outbox.intend("basket-psycopg-2", ORDER)
        with pytest.raises(Exception, match="another order is stored under 'basket-psycopg-2'"):
            await check_out(connection, outbox, "psycopg-2", {**ORDER, "country": "GB"})
    assert (await keys(url))["basket-psycopg"] == "intended"
    assert sold(cluster, "psycopg") == ["psycopg"]


async def test_asyncpg(cluster: Cluster, url: str) -> None:
    asyncpg = library("asyncpg")
    check_out = executed("asyncpg")["check_out"]
    connection = await asyncpg.connect(cluster.url)
    try:
        async with Outbox(url) as outbox:
            await check_out(connection, outbox, "asyncpg", ORDER)
            await outbox.intend("basket-asyncpg-2", ORDER)
            with pytest.raises(Exception, match="another order is stored under the key basket-asyncpg-2"):
                await check_out(connection, outbox, "asyncpg-2", {**ORDER, "country": "GB"})
            await outbox.intend("basket-asyncpg", ORDER)  # the same, whoever stored it
    finally:
        await connection.close()
    assert (await keys(url))["basket-asyncpg"] == "intended"
    assert sold(cluster, "asyncpg") == ["asyncpg"]


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
async def test_sqlalchemy(kind: str, cluster: Cluster, url: str) -> None:
    library("sqlalchemy")
    check_out = executed("sqlalchemy")["check_out"]
    orm, create_engine = importlib.import_module("sqlalchemy.orm"), library("sqlalchemy").create_engine
    if kind == "sqlite":
        url = BOX
        with closing(sqlite3.connect("shop.db")) as db:
            db.execute("CREATE TABLE sales (basket)")
    engine = create_engine(BOX if kind == "sqlite" else cluster.url.replace(":", "+psycopg:", 1))
    try:
        async with Outbox(url) as outbox:
            with orm.Session(engine) as session:
                check_out(session, outbox, "sqlalchemy", ORDER)
            await outbox.intend("basket-sqlalchemy-2", ORDER)
            with orm.Session(engine) as session, pytest.raises(library("sqlalchemy").exc.DBAPIError):
                check_out(session, outbox, "sqlalchemy-2", {**ORDER, "country": "GB"})
            await outbox.intend("basket-sqlalchemy", ORDER)
    finally:
        engine.dispose()
    assert (await keys(url))["basket-sqlalchemy"] == "intended"
    if kind == "postgresql":
        assert sold(cluster, "sqlalchemy") == ["sqlalchemy"]
