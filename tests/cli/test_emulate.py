"""`limio emulate`: a tenant on this machine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from limio_async import Limio
from limio_async.cli.recording import Recorder
from limio_async.client import auth_from
from limio_async.emulator import InMemoryTransport, World
from limio_async.emulator.server import serve_answers
from tests.cli.conftest import Run, command_line


def test_what_it_says_is_all_that_a_client_needs(limio: Run) -> None:
    command = command_line("emulate", "--port", "0", "--offers", "8", "--subscriptions", "3")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(6)]
        try:
            assert said[0].startswith("limio: emulating at http://127.0.0.1:")
            env = dict(re.findall(r"^export (LIMIO_\w+)=(.*)$", "".join(said), re.MULTILINE))
            result = limio("offers", "list", env=env)
            assert result.exit_code == 0, result.stderr
            assert result.stdout.count("\n") == 8
            assert limio("orders", "list", "--limit", "1", env=env).exit_code == 0
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.stderr.read().strip() == "limio: interrupted"


def test_the_shape_of_items_and_what_an_index_knows_can_be_chosen(limio: Run) -> None:
    with emulating("--modified-filter", "only-modified") as env:
        items = [json.loads(line) for line in limio("offers", "list", env=env).stdout.splitlines()]
        found = limio("offers", "list", "--modified-after", "1970-01-01", env=env).stdout
    assert all(
        item.keys() <= {"path", "data", "name", "id", "type", "version", "parent_path"} for item in items
    )
    assert [json.loads(line) for line in found.splitlines()] == [
        item for item in items if "modified" in item["data"]
    ]
    with emulating("--envelope", "documented") as env:
        items = [json.loads(line) for line in limio("offers", "list", env=env).stdout.splitlines()]
    assert all({"created", "modified", "status"} <= item.keys() for item in items)


def test_a_port_that_is_taken_is_named(limio: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = limio("emulate", "--port", str(port), "--offers", "1", "--subscriptions", "1")
    assert result.exit_code == 1
    assert result.stderr == f"limio: cannot serve at 127.0.0.1:{port}: address already in use\n"


def test_other_machines_are_not_served(limio: Run) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.1", "acme.prod.limio.com"):  # noqa: S104
        result = limio("emulate", "--host", host)
        assert result.exit_code == 2
        assert "this machine only" in result.stderr
        assert "--allow-remote" in result.stderr


@pytest.mark.parametrize("host", [[], ["--host", "::1"], ["--host", "localhost"]])
def test_it_says_where_nothing_is_allowed_by_allowing_others(host: list[str]) -> None:
    with emulating(*host, "--allow-remote") as env:
        named = host[-1] if host else "127.0.0.1"
        assert (
            f"--allow-remote changes nothing: {named} is this machine only; add --host 0.0.0.0" in env["said"]
        )
    with emulating(*host) as env:
        assert "--allow-remote" not in env["said"]


def asked(url: str, host: str | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of a GET under the name *host*."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=given | ({"host": host} if host else {}))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_other_machines_are_served_under_whatever_name_where_that_is_allowed(limio: Run) -> None:
    with emulating("--host", "0.0.0.0", "--allow-remote", "--control") as env:  # noqa: S104
        assert env["LIMIO_HOST"].startswith("http://127.0.0.1:")
        assert "need LIMIO_PLAIN_HTTP=1" in env["said"]
        assert limio("offers", "list", env=env).exit_code == 0
        for host in ("limio:8642", "limio.internal", "10.0.0.7:8642"):
            url = f"{env['LIMIO_HOST']}/api/offers"
            status, body = asked(url, host, authorization=env["LIMIO_API_KEY"])
            assert (status, b'"items"' in body) == (200, True)
            assert asked(f"{env['LIMIO_HOST']}/_emulator/control", host)[0] == 200
            assert asked(f"{env['LIMIO_HOST']}/_emulator/control", host, origin=f"http://{host}")[0] == 403
            assert asked(f"{env['LIMIO_HOST']}/_emulator/", host)[0] == 403
    with emulating("--control") as env:
        assert asked(f"{env['LIMIO_HOST']}/_emulator/control", "limio:8642")[0] == 403


def test_the_app_of_the_compose_file_in_the_docs_gets_an_answer_in_a_process_of_its_own() -> None:
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    services = page.partition("services:\n")[2].partition("```")[0]
    args = re.findall(r'limio emulate (.*)"$', services, re.MULTILINE)[0].split()
    app = dict(re.findall(r'^ +(LIMIO_\w+): "?([^"\n]+)"?$', services, re.MULTILINE))
    assert app["LIMIO_HOST"] == "http://limio:8642"
    with emulating(*args) as env:
        app["LIMIO_HOST"] = env["LIMIO_HOST"]
        for command in ("offers list", "subscriptions list", "orders list"):
            process = subprocess.run(
                command_line(*command.split()), env={**os.environ, **app}, capture_output=True, text=True
            )
            assert (process.returncode, process.stdout.count("\n") > 0) == (0, True), process.stderr


def test_lists_and_reads_can_be_unkind(limio: Run) -> None:
    args = (
        "--late-lists",
        "5",
        "--uneven",
        "--late-reads",
        "7",
        "--list-order",
        "mixed",
        "--list-data",
        "null",
    )
    with emulating(*args, "--control") as env:
        state = controlled(env, {"action": "advance", "seconds": 1})
        assert state["lists"] == {"late": 5.0, "uneven": True, "order": "mixed", "data": "null"}
        assert state["reads"] == {"late": 7.0}
    assert "--late-lists" in limio("emulate", "--late-lists", "-1").stderr


@contextmanager
def receiving() -> Iterator[tuple[str, list[tuple[str, str | None, dict[str, Any]]]]]:
    """A receiver of webhooks, and what came to it: path, credentials, body."""
    came: list[tuple[str, str | None, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # its name
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            came.append((self.path, self.headers["authorization"], body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", came
        finally:
            server.shutdown()


def test_webhooks_are_sent_as_the_options_say(limio: Run) -> None:
    with (
        receiving() as (receiver, came),
        emulating(
            "--webhooks",
            f"http://me:p%40ss@{receiver}/hooks/{{type}}",
            "--webhook-type",
            "order_submitted",
            "--webhook-duplicates",
            "1",
            "--late-webhooks",
            "0.2",
            "--control",
        ) as env,
    ):
        assert f"sending webhooks to http://{receiver}/hooks/{{type}}\n" in env["said"]
        assert "p%40ss" not in env["said"]
        listed = limio("subscriptions", "list", "--limit", "1", env=env)
        order = json.dumps({"order_type": "renew", "subscriptionId": json.loads(listed.stdout)["id"]})
        made = limio("orders", "submit", "--body", order, env=env)
        assert made.exit_code == 0, made.stderr
        until = time.monotonic() + 10
        while len(came) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        set_ = controlled(env, {"action": "set_webhooks", "webhooks": {"loss": 1}})["webhooks"]
        assert set_["loss"] == 1
    basic = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert [one[:2] for one in came] == [("/hooks/order_submitted", basic)] * 2
    assert came[0][2] == came[1][2]
    assert came[0][2]["id"] == json.loads(made.stdout)["id"]


@contextmanager
def emulating(*args: str) -> Iterator[dict[str, str]]:
    """What `limio emulate` says that a client needs, as long as the block runs."""
    sizes = ("--port", "0", "--offers", "30", "--subscriptions", "3")
    command = command_line("emulate", *sizes, *args)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        while "LIMIO_SESSION_TOKEN" not in "".join(said[-1:]):
            said.append(process.stderr.readline())
        try:
            yield {"said": "".join(said)} | dict(
                re.findall(r"^export (LIMIO_\w+)=(.*)$", "".join(said), re.MULTILINE)
            )
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130


def controlled(env: dict[str, str], action: dict[str, Any]) -> Any:
    """What the control endpoint answers."""
    asked = urllib.request.Request(  # noqa: S310
        f"{env['LIMIO_HOST']}/_emulator/control",
        data=json.dumps(action).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def test_faults_come_from_a_file_and_from_programs_of_this_machine(limio: Run, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text('[[fault]]\non = "listOffers"\ndo = "status"\ncode = 403\n', encoding="utf-8")
    with emulating("--faults", str(file), "--control") as env:
        assert "403" in limio("offers", "list", env=env).stderr
        controlled(env, {"action": "clear_faults"})
        assert limio("offers", "list", env=env).exit_code == 0


def test_what_was_exported_is_served(limio: Run) -> None:
    with emulating() as env:
        assert limio("offers", "list", "--to", "offers.ndjson", env=env).exit_code == 0
    exported = Path("offers.ndjson").read_bytes()
    Path("offers.ndjson").write_bytes(exported.replace(b'"version"', b'"own" : 1.50, "version"'))
    with emulating("--data", ".") as env:
        assert env.pop("said").startswith("limio: offers.ndjson: 30 items\nlimio: emulating at ")
        result = limio("offers", "list", env=env)
    assert result.stdout.encode() == Path("offers.ndjson").read_bytes()


def test_state_outlives_a_restart_and_is_held_by_one_process(limio: Run, tmp_path: Path) -> None:
    state = str(tmp_path / "world.sqlite")
    with emulating("--state", state, "--control") as env:
        controlled(env, {"action": "add_offers", "count": 2})
        taken = limio("emulate", "--state", state, "--offers", "30", "--subscriptions", "3")
    assert taken.exit_code == 2
    assert taken.stderr == f"limio: --state {state}: another process uses it\n"
    with emulating("--state", state) as env:
        assert limio("offers", "list", env=env).stdout.count("\n") == 32


def test_a_state_of_0_1_is_taken_over_and_one_of_a_newer_release_refused(limio: Run, tmp_path: Path) -> None:
    state = tmp_path / "world.sqlite"
    with emulating("--state", str(state), "--control") as env:
        controlled(env, {"action": "add_offers", "count": 2})
    _set_version(state, 0)  # as release 0.1 left it
    with emulating("--state", str(state)) as env:
        assert limio("offers", "list", env=env).stdout.count("\n") == 32
    _set_version(state, 2)
    before = state.read_bytes()
    refused = limio("emulate", "--state", str(state), "--offers", "30", "--subscriptions", "3")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"limio: --state {state}: made by a newer release of limio_async (version 2, this one knows 1):"
        " update limio_async, or name another file\n"
    )
    assert state.read_bytes() == before


def _set_version(state: Path, version: int) -> None:
    with closing(sqlite3.connect(state)) as db:
        db.execute(f"PRAGMA user_version = {version}")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--faults", "none.toml"], "none.toml: no such file or directory"),
        (["--faults", "bad.ndjson"], "bad.ndjson: not TOML: "),
        (["--data", "."], "bad.ndjson: named after no resource"),
        (["--data", "none"], "none: no such file or directory"),
        (["--state", "bad.ndjson"], "--state bad.ndjson: not a state file"),
        (["--state", "none/state"], "--state none/state: unable to open database file"),
        (["--record", "acme.prod.limio.com", "."], "--record: . is not empty"),
        (["--record", "acme.prod.limio.com", "x", "--control"], "--record goes without"),
        (
            ["--record", "acme.prod.limio.com", "x", "--webhooks", "http://a/{type}"],
            "--record goes without --webhooks:",
        ),
        (["--webhook-retries", "2"], "--webhook-retries goes with --webhooks"),
        (
            [
                "--webhook-type",
                "order_submitted",
                "--late-webhooks",
                "5",
                "--lose-webhooks",
                "0.1",
                "--mixed-webhooks",
            ],
            "--late-webhooks and --lose-webhooks and --mixed-webhooks and --webhook-type go with --webhooks",
        ),
        (
            ["--webhooks", "http://a/{type}", "--webhook-wait", "5"],
            "--webhook-wait goes with --webhook-retries",
        ),
        (
            ["--webhooks", "http://a/{type}", "--uneven-webhooks"],
            "--uneven-webhooks goes with --late-webhooks",
        ),
        (["--webhooks", "http://a/hook"], "--webhooks: a body does not tell its type"),
        (["--webhooks", "a/{type}"], "--webhooks: webhooks need a URL"),
        (["--webhooks", "http://a/{type}", "--webhook-type", "x"], "--webhooks: no webhook is called x"),
        (["--webhooks", "http://a/{type}", "--lose-webhooks", "2"], "2.0 is not in the range"),
        (["--record", "acme.prod.limio.com", "x", "--allow-remote"], "--record goes without"),
        (
            ["--record", "acme.prod.limio.com", "x", "--offers", "20000", "--late-reads", "5"],
            "--record goes without --late-reads, --offers:",
        ),
        (["--uneven"], "--uneven goes with --late-lists"),
        (["--record", "http://acme.prod.limio.com", "x"], "plain http is for this machine only"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(limio: Run, args: list[str], said: str) -> None:
    Path("bad.ndjson").write_bytes(b'{"id":\n' * 100)
    result = limio("emulate", "--port", "0", *args)
    assert result.exit_code != 0
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "acme.prod.limio.com"},
        {"host": "127.0.0.1.acme.test"},
        {"host": "[::1"},
        {"origin": "https://acme.test"},
        {"origin": "null"},
        {"origin": "http://localhost"},  # another port
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_what_records_serves_no_page_and_no_name_but_this_machine_s(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    tenant, directory = World(offers=3, subscriptions=1), tmp_path / "recorded"
    recorder = Recorder(InMemoryTransport(tenant), directory)
    key = {"authorization": tenant.api_key}
    async with serve_answers(recorder.answer, "127.0.0.1", 0) as url:
        status, _ = await asyncio.to_thread(asked, f"{url}/api/offers", **headers, **key)
        assert (status, tenant.count(), [*directory.iterdir()]) == (403, 0, [])
        for own in ({}, {"host": "localhost"}, {"origin": url}, {"sec_fetch_site": "none"}):
            status, _ = await asyncio.to_thread(asked, f"{url}/api/offers", **own, **key)
            assert status == 200


def test_what_records_goes_the_way_of_the_settings(limio: Run) -> None:
    record = ("emulate", "--port", "0", "--record", "acme.prod.limio.com", "x")
    for name, said in (("LIMIO_PROXY", "the proxy is a URL"), ("LIMIO_CA_FILE", "cannot read none")):
        result = limio(*record, env={name: "none"})
        assert result.exit_code == 2
        assert said in result.stderr


async def test_a_recording_is_masked_and_can_be_served(tmp_path: Path) -> None:
    tenant, directory = World(offers=3, subscriptions=4), tmp_path / "recorded"
    recorder = Recorder(InMemoryTransport(tenant), directory)
    async with (
        serve_answers(recorder.answer, "127.0.0.1", 0) as url,
        Limio.from_env(tenant.environ(url)) as limio,
    ):
        assert len(await limio.customers.list().collect(limit=9)) == 3
        assert len(await limio.offers.list().collect(limit=9)) == 3
        assert len(await limio.offers.list().collect(limit=9)) == 3
        first = await limio.customers.list().first()
        assert first is not None
        assert (await limio.customers.get(first.id or "")).id == first.id
    kept = b"".join(file.read_bytes() for file in directory.iterdir())
    for secret in (b"first.last", b"First Last", b"Last1", tenant.client_secret.encode(), b"eyJ"):
        assert secret not in kept
    assert sorted(one.name for one in directory.iterdir()) == [
        "answers.jsonl",
        "customers.ndjson",
        "offers.ndjson",
    ]
    world = World()
    world.read_data(directory)
    async with Limio(auth=auth_from(world.environ("x")), transport=InMemoryTransport(world)) as limio:
        assert len(await limio.offers.list().collect(limit=9)) == 3
        assert (await limio.customers.get(first.id or "")).id == first.id
