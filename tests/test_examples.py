"""The examples run as they stand there, as processes against an emulator over HTTP."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.custom_sink import FolderSink
from limio_async import Limio
from limio_async.emulator import World
from limio_async.errors import SinkError
from limio_async.sync_jobs import Change, Sink, Table, Unseen, Written
from limio_async.testing import served
from tests.sync_jobs.sinks.targets import AT, LATER, NOTES, OFFERS, offer, up_to

ROOT = Path(__file__).parents[1]


@pytest.fixture
def world() -> World:
    return World(offers=120, subscriptions=60)


@pytest.fixture
def environ(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, str]]:
    monkeypatch.chdir(tmp_path)
    others = {name: value for name, value in os.environ.items() if not name.startswith("LIMIO_")}
    with served(world) as url:
        yield {**others, **world.environ(url), "PYTHONPATH": str(ROOT)}


def command(name: str, *args: str) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / name), *args]


def run(environ: dict[str, str], name: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(name, *args), capture_output=True, text=True, env=environ, check=False)


def test_every_example_is_told_of_and_the_lines_told_are_run_here() -> None:
    told = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    files = {file.name for file in (ROOT / "examples").glob("*.py")}
    files |= {f"{file.parent.name}/" for file in (ROOT / "examples").glob("*/*.py")}
    assert set(re.findall(r"^\| `(\w+(?:\.py|/))`", told, re.MULTILINE)) == files
    assert re.findall(r"^\$ python examples/(.*)$", told, re.MULTILINE) == [
        "nightly.py sqlite:///limio.db report.json",
        "custom_sink.py objects products promo_codes",
    ]


@pytest.mark.parametrize("service", ["fastapi/shop.py", "aiohttp/account.py"])
def test_less_than_30_lines_of_a_service_are_around_its_calls(service: str) -> None:
    file = ROOT / "examples" / service
    lines = around_its_calls(file.read_text(encoding="utf-8"))
    assert lines < 30
    assert f"{lines} of its lines are around its calls" in file.with_name("README.md").read_text("utf-8")


@pytest.mark.parametrize("service", ["fastapi/shop.py", "aiohttp/account.py"])
def test_the_settings_of_a_service_are_told_with_their_defaults(service: str) -> None:
    file = ROOT / "examples" / service
    read = re.findall(r'environ\.get\("(\w+)"(?:, "([^"]*)")?', file.read_text(encoding="utf-8"))
    told = file.with_name("README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`[^`]+`(?:, )?)+) \|", told, re.MULTILINE)
    pairs = [(re.findall(r"`(.+?)`", names), re.findall(r"`(.+?)`", defaults)) for names, defaults in rows]
    assert {pair for row in pairs for pair in zip(*row, strict=True)} == set(read)


def around_its_calls(text: str) -> int:
    """Return how many lines of code there are below this headline; docstrings are none."""
    said = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    headline, counted = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("# --- "):
            headline = line
        elif line.strip() and number not in said:
            counted += headline == "# --- around its calls"
    return counted


# --- nightly.py


def test_the_nightly_job_keeps_the_tenant_and_leaves_a_report(environ: dict[str, str], world: World) -> None:
    done = run(environ, "nightly.py", "sqlite:///limio.db", "report.json")
    assert done.returncode == 0, done.stderr
    assert "ALERT" not in done.stderr
    assert "INFO offers: complete, 120 seen, 120 inserted" in done.stderr
    report = json.loads(Path("report.json").read_bytes())
    assert report["complete"] is True
    assert {one["stream"]: one["inserted"] for one in report["streams"]}["subscriptions"] == 60
    with closing(sqlite3.connect("limio.db")) as db:
        assert db.execute("SELECT count(*) FROM offers").fetchone() == (120,)


def test_the_nightly_job_alerts_where_something_is_missing(environ: dict[str, str], world: World) -> None:
    world.faults.on("listOffers").wrong_hits(121)
    world.faults.on("listProducts").bad_item(at=3, field="name", value=["odd"])
    done = run(environ, "nightly.py", "sqlite:///limio.db", "report.json")
    assert done.returncode == 4
    assert "ERROR ALERT offers is incomplete: " in done.stderr
    assert "ERROR ALERT products: 1 items are in quarantine" in done.stderr
    assert json.loads(Path("report.json").read_bytes())["complete"] is False


@pytest.mark.parametrize(
    ("target", "changed", "said"),
    [
        ("postgresql://127.0.0.1:9/limio", {}, "ALERT the job could not run: postgresql://127.0.0.1:9"),
        ("sqlite:///limio.db", {"LIMIO_HOST": ""}, "ALERT the job could not run: LIMIO_HOST is not set"),
    ],
)
def test_the_nightly_job_alerts_where_it_cannot_run(
    environ: dict[str, str], target: str, changed: dict[str, str], said: str
) -> None:
    done = run({**environ, **changed}, "nightly.py", target, "report.json")
    assert (done.returncode, Path("report.json").exists()) == (1, False)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_nightly_job_can_be_stopped_and_goes_on(environ: dict[str, str], world: World) -> None:
    world.faults.on("listObjects", from_page=3).delay(60)
    args = command("nightly.py", "sqlite:///limio.db", "report.json")
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(20) == 130, said
    assert "is interrupted" in said
    world.faults.clear()
    assert run(environ, "nightly.py", "sqlite:///limio.db", "report.json").returncode == 0


# --- worker


@contextmanager
def process(environ: dict[str, str], *args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True, env=environ) as one:
        try:
            yield one
        finally:
            one.kill()


def rows(statement: str) -> list[Any]:
    with closing(sqlite3.connect("shop.db", timeout=20)) as db:
        return db.execute(statement).fetchall()


def until(statement: str, wanted: list[Any]) -> None:
    end = time.monotonic() + 40
    while (found := rows(statement)) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def listening(service: subprocess.Popen[str]) -> None:
    assert service.stderr is not None
    for line in service.stderr:
        if "receiving at" in line:
            return
    raise AssertionError("it does not receive")


async def test_the_worker_sends_one_order_for_a_webhook_that_comes_twice_whenever_it_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = {name: value for name, value in os.environ.items() if not name.startswith("LIMIO_")}
    environ = {**others, "PYTHONPATH": str(ROOT), "PORT": str(port), "LIMIO_WEBHOOK_CREDENTIALS": "limio:a:b"}
    url = f"http://limio:a:b@127.0.0.1:{port}/hooks/{{type}}"
    emulate = (
        *(sys.executable, "-m", "limio_async.cli", "emulate", "--port", "0", "--webhooks", url),
        *("--webhook-type", "order_submitted", "--webhook-duplicates", "1"),
        *("--webhook-retries", "9", "--webhook-wait", "0.5", "--late-reads", "3"),
    )
    service = (sys.executable, str(ROOT / "examples/worker/service.py"))
    with process(environ, *emulate) as emulator:
        assert emulator.stderr is not None
        while "LIMIO_CLIENT_SECRET" not in environ:
            found = re.search(r"(LIMIO_\w+)=(\S+)", emulator.stderr.readline())
            environ |= {found[1]: found[2].strip("'")} if found else {}
        async with Limio.from_env(environ) as limio:
            first, second = [one.id for one in await limio.subscriptions.list().take(2)]
            with process(environ, *service) as killed:
                listening(killed)
                await limio.orders.submit({"order_type": "cancel_intent", "subscriptionId": first})
                until("SELECT seen FROM _limio_inbox", [(2,)])
                killed.kill()  # after 202, twice; before the order can be read
            await limio.orders.submit({"order_type": "cancel_intent", "subscriptionId": second})
            with process(environ, *service) as stopped:
                listening(stopped)
                done = [(one, "accepted") for one in sorted((first, second))]
                until("SELECT subscription, state FROM leavers ORDER BY 1", done)
                stopped.send_signal(signal.SIGTERM)
                assert stopped.wait(20) == 0
            made = [one.data.external_id async for one in limio.orders.list() if one.data]
    assert sorted(key for key in made if key and key.startswith("cancel-")) == sorted(
        f"cancel-{one}" for one in (first, second)
    )


# --- custom_sink.py


def kept(folder: Path, table: str) -> dict[str, Any]:
    """The raw items of a table, by id, read as any tool would."""
    rows = [json.loads(file.read_bytes()) for file in (folder / table).glob("*.json")]
    return {row["id"]: row["raw"] for row in rows if row["deleted_at"] is None}


def test_the_folder_holds_the_tenant_after_kills_at_any_moment(environ: dict[str, str]) -> None:
    for _ in range(6):
        with subprocess.Popen(
            command("custom_sink.py", "killed", "offers", "products"), env=environ
        ) as process:
            folder = Path("killed/offers")
            before = len(list(folder.glob("*"))) if folder.exists() else 0
            while process.poll() is None and not (folder.exists() and len(list(folder.glob("*"))) > before):
                pass
            process.kill()
    done = run(environ, "custom_sink.py", "killed", "offers", "products")
    assert done.returncode == 0, done.stderr
    assert run(environ, "custom_sink.py", "whole", "offers", "products").returncode == 0
    for table, count in (("offers", 120), ("products", 40)):
        assert kept(Path("killed"), table) == kept(Path("whole"), table)
        assert len(kept(Path("whole"), table)) == count
    again = run(environ, "custom_sink.py", "whole", "offers")
    assert again.stdout == "offers: complete, 120 written\n"


@pytest.fixture
def sink(tmp_path: Path) -> FolderSink:
    folder = FolderSink(tmp_path / "folder")
    folder.open()
    folder.prepare([OFFERS, NOTES])
    return folder


def write(sink: Sink, *rows: tuple[Any, ...], table: Table = OFFERS) -> Written:
    (written,) = sink.apply([Change(table, rows)])
    return written


def test_the_folder_counts_and_gives_back_what_it_got(sink: FolderSink) -> None:
    assert write(sink, offer(1), offer(2), offer(2, version="2")) == Written(inserted=2)
    assert write(sink, offer(2, version="2"), offer(1, version="2"), offer(3)) == Written(
        inserted=1, updated=1, unchanged=1
    )
    odd = ("a/b ü\"" + "x" * 300, "", -0.1, -(2**63), False, datetime.min.replace(tzinfo=UTC), None, "1", b'{ "a": 1e400 }')  # fmt: skip
    write(sink, odd, ("c", *[None] * 8))
    found = {row["id"]: tuple(row.values()) for row in sink.rows(OFFERS)}
    assert (found[odd[0]], found["c"]) == (odd, ("c", *[None] * 8))
    write(sink, ("n", "note", b"\0\xff"), table=NOTES)
    assert list(sink.rows(NOTES)) == [{"id": "n", "note": "note", "raw": b"\0\xff"}]


def test_the_folder_marks_what_is_gone_within_the_guard_and_takes_it_back(sink: FolderSink) -> None:
    write(sink, *(offer(number) for number in range(10)))
    few = [f"o-{number}" for number in range(8)]
    assert sink.mark_unseen(OFFERS, few[:7], deleted_at=AT, allows=up_to(0.2)) == Unseen(
        live=10, unseen=3, deleted=0
    )
    assert sink.mark_unseen(OFFERS, few, deleted_at=LATER, allows=up_to(0.2)) == Unseen(
        live=10, unseen=2, deleted=2
    )
    assert sink.mark_unseen(OFFERS, few, deleted_at=AT, allows=up_to(0.2)) == Unseen(
        live=8, unseen=0, deleted=0
    )
    assert write(sink, offer(9)) == Written(updated=1)


def test_the_folder_keeps_versions_and_is_known_again(sink: FolderSink) -> None:
    versions = msgspec.structs.replace(OFFERS, name="offers_history", key=("id", "hash"), keeps=True)
    sink.prepare([versions])
    assert write(sink, offer(1), offer(1, version="2"), table=versions) == Written(inserted=2)
    assert write(sink, offer(1, name="not written"), table=versions) == Written(unchanged=1)
    known = sink.target_id
    sink.prepare([OFFERS])
    assert sink.target_id == known


def test_what_the_system_says_ends_the_job_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="mend it and run again, nothing is lost"):
        FolderSink(tmp_path / "file" / "folder").open()
