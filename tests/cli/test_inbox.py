"""`limio inbox`: what it receives, handles, shows, hides and decides."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from limio_async.outbox import Outbox
from limio_async.webhooks import Inbox
from tests.cli.conftest import Run, command_line

BOX = "sqlite:///hooks.db"
BODY = {
    "id": "order-1", "record_type": "order", "owner": "id-of-jo", "status": "active",
    "data": {"order_type": "new", "customerDetails": {"email": "jo.doe@example.com"}, "country": "GB"},
}  # fmt: skip


def in_box(*deliveries: tuple[str, Any]) -> None:
    async def work() -> None:
        async with Inbox(BOX) as inbox:
            for kind, body in deliveries:
                await inbox.receive(kind, json.dumps(body).encode())

    asyncio.run(work())


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch, limio: Run) -> str:
    monkeypatch.setenv("LIMIO_INBOX", BOX)
    in_box(
        ("order_submitted", BODY),
        ("order_submitted", BODY),
        ("never_heard_of", {"email": "jo.doe@example.com"}),
    )
    return BOX


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_events_are_listed_without_what_is_personal(box: str, limio: Run) -> None:
    found = rows(limio("inbox", "list", "--json").stdout)
    assert [(one["type"], one["state"], one["seen"]) for one in found] == [("order_submitted", "open", 2), ("never_heard_of", "parked", 1)]  # fmt: skip
    shown = limio("inbox", "show", "1", "--json").stdout
    assert "jo.doe" not in shown
    assert json.loads(shown)["body"]["data"] == {
        "order_type": "new",
        "customerDetails": "***",
        "country": "GB",
    }
    assert json.loads(limio("inbox", "show", "1", "--json", "--personal").stdout)["body"] == BODY
    table = limio("inbox", "list", "--state", "parked").stdout
    assert "never_heard_of" in table
    assert "jo.doe" not in limio("inbox", "show", "2").stdout
    assert rows(limio("inbox", "list", "--json", "--limit", "1", "--after", "1").stdout)[0]["seq"] == 2


def test_an_address_is_hidden_wherever_the_sender_put_it(limio: Run) -> None:
    in_box(("jo.doe@example.com", {"id": "jo.doe@example.com", "record_type": "jo.doe@example.com"}))
    for command in (("list",), ("list", "--json"), ("show", "1"), ("show", "1", "--json")):
        shown = limio("inbox", *command, "--inbox", BOX)
        assert (shown.exit_code, "jo.doe" in shown.stdout) == (0, False), shown.stdout
    assert "jo.doe" in limio("inbox", "list", "--inbox", BOX, "--personal", "--json").stdout


@pytest.mark.parametrize("pair", ["limio", "limio:", ":secret"])
def test_half_a_pair_of_credentials_is_named_and_not_shown(
    pair: str, limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMIO_WEBHOOK_CREDENTIALS", pair)
    refused = limio("inbox", "serve", "--inbox", BOX, "--allow-anonymous")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "limio: LIMIO_WEBHOOK_CREDENTIALS is not user:password, with neither of them empty\n",
    )


def test_stats_warn_where_an_event_waits_for_too_long(box: str, limio: Run) -> None:
    found = limio("inbox", "stats", "--json", "--warn-after", "1h")
    assert (found.exit_code, json.loads(found.stdout)["states"]) == (0, {"open": 1, "parked": 1})
    assert json.loads(found.stdout)["repeats"] == 1
    time.sleep(1.1)
    assert limio("inbox", "stats", "--warn-after", "1s").exit_code == 5


def test_a_person_decides(box: str, limio: Run) -> None:
    assert limio("inbox", "retry", "--all-since", "1h", "--json").stdout == '{"open_again":1}\n'
    assert limio("inbox", "drop", "2").stderr == "limio: 1 event is dropped\n"
    refused = limio("inbox", "retry", "1")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "limio: event 1 is open: only what is parked is tried again\n",
    )
    assert limio("inbox", "retry").exit_code == 2
    assert limio("inbox", "erase", "--owner", "id-of-jo").exit_code == 1
    assert limio("inbox", "erase", "--owner", "id-of-jo", "--cancel", "--json").stdout == '{"erased":1}\n'
    assert json.loads(limio("inbox", "show", "1", "--json", "--personal").stdout)["body"] is None
    assert limio("inbox", "show", "99").exit_code == 1


def test_one_command_each_erases_a_person_from_inbox_and_outbox(box: str, limio: Run) -> None:
    async def ordered() -> None:
        async with Outbox(BOX) as outbox:
            await outbox.intend("renew-1", {"order_type": "renew", **BODY})

    asyncio.run(ordered())
    assert b"jo.doe" in b"".join(file.read_bytes() for file in Path().glob("hooks.db*"))
    for command in ("inbox", "outbox"):
        done = limio(command, "erase", "--owner", "id-of-jo", f"--{command}", BOX, "--cancel", "--json")
        assert (done.exit_code, done.stdout) == (0, '{"erased":1}\n')
    assert limio("inbox", "drop", "2").exit_code == 0  # nobody's, as far as its body says
    with closing(sqlite3.connect("hooks.db")) as db:
        assert db.execute("SELECT body FROM _limio_inbox WHERE seq = 1").fetchone() == (None,)
    left = b"".join(file.read_bytes() for file in Path().glob("hooks.db*"))
    assert left.count(b"jo.doe") == 1


def test_no_inbox_is_made_by_looking(limio: Run) -> None:
    missing = limio("inbox", "list", "--inbox", "sqlite:///other.db")
    assert (missing.exit_code, Path("other.db").exists()) == (2, False)
    with closing(sqlite3.connect("other.db")) as db:
        db.execute("CREATE TABLE x (y)")
    assert "there is no inbox in it" in limio("inbox", "list", "--inbox", "sqlite:///other.db").stderr


def test_an_applications_functions_handle_events(box: str, limio: Run, world: Any) -> None:
    Path("hooks_of_mine.py").write_text(
        "from limio_async.webhooks import Inbox\n"  # noqa: S608
        f"inbox = Inbox({BOX!r})\n"
        "@inbox.on('*', refetch=False)\n"
        "async def done(event, item, tx):\n"
        "    tx.execute('INSERT INTO effects VALUES (?)', (event.id,))\n"
    )
    with closing(sqlite3.connect("hooks.db")) as db, db:
        db.execute("CREATE TABLE effects (id text)")
    done = limio("--emulated", "inbox", "work", "hooks_of_mine:inbox", "--until-idle")
    assert (done.exit_code, done.stderr) == (0, "")
    with closing(sqlite3.connect("hooks.db")) as db:
        assert db.execute("SELECT id FROM effects").fetchall() == [("order-1",)]
    for wrong in ("hooks_of_mine:other", "nothing:inbox", "hooks_of_mine", "os:sep"):
        assert limio("--emulated", "inbox", "work", wrong).exit_code == 2


@pytest.fixture
def served() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    environment = {
        **os.environ,
        "LIMIO_WEBHOOK_CREDENTIALS": "limio:geheim:1",
        "LIMIO_WEBHOOK_CREDENTIALS_OLD": "limio:alt",
    }
    command = command_line("inbox", "serve", "--inbox", BOX, "--port", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        found = re.search(r"(http://\S+)/\{type\}", process.stderr.readline())
        assert found is not None
        yield found[1], process
        process.kill()


def test_a_server_of_its_own_receives_until_it_is_stopped(served: Any) -> None:
    url, process = served

    def post(pair: str) -> int:
        signed = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        request = urllib.request.Request(url + "/order_submitted", json.dumps(BODY).encode(), signed)  # noqa: S310
        try:
            return int(urllib.request.urlopen(request, timeout=10).status)  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert [post(pair) for pair in ("limio:geheim:1", "limio:alt", "limio:geheim")] == [202, 202, 401]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130
    said = process.stderr.read()
    assert "what was answered 202 is stored" in said
    with closing(sqlite3.connect("hooks.db")) as db:
        assert db.execute("SELECT seen FROM _limio_inbox").fetchall() == [(2,)]


def test_without_credentials_no_server_starts(limio: Run) -> None:
    refused = limio("inbox", "serve", "--inbox", BOX)
    assert (refused.exit_code, Path("hooks.db").exists()) == (2, False)
    assert "LIMIO_WEBHOOK_CREDENTIALS" in refused.stderr


ENDLESS = """
import asyncio
from limio_async.webhooks import Inbox
inbox = Inbox("sqlite:///hooks.db")
@inbox.on("order_*", refetch=False)
async def ordered(event, item, tx):
    print("begun", flush=True)
    await asyncio.sleep(30)
"""


def test_a_worker_waits_for_functions_at_the_first_signal_and_ends_at_the_second(box: str) -> None:
    Path("endless.py").write_text(ENDLESS)
    args = command_line("--emulated", "inbox", "work", "endless:inbox")
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGTERM)
            said = process.stderr.readline()
            assert said == "limio: stopping: waiting for functions that run; again to stop at once\n"
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 130
            assert time.monotonic() - begun < 5
            assert process.stderr.read() == "limio: inbox work: interrupted; the same command goes on\n"
        finally:
            process.kill()
