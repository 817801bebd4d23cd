"""`limio sync`: a report one can trust on stdout, everything else on stderr, an exit code for whoever sleeps."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from limio_async.cli.sync_view import show_status
from limio_async.emulator import World
from limio_async.sync_jobs.sinks import open_sink
from limio_async.testing import served
from tests.cli.conftest import Run, command_line

TO = ("--to", "sqlite:///limio.db")


def count(table: str, file: str = "limio.db") -> int:
    with closing(sqlite3.connect(file)) as db:
        (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # a name of the test's own
        return int(number)


def environ(world: World, url: str) -> dict[str, str]:
    return {**os.environ, **world.environ(url)}


def test_the_table_is_on_stdout_and_the_news_on_stderr(world: World, limio: Run) -> None:
    result = limio("sync", "--emulated", "offers", "subscriptions", *TO)
    assert result.exit_code == 0, result.stderr
    assert [line.split("│")[1].strip() for line in result.stdout.splitlines() if "│" in line] == [
        "offers",
        "subscriptions",
    ]
    assert "limio: offers: 120 items, 120 inserted, complete" in result.stderr
    assert (count("offers"), count("subscriptions"), count("_limio_runs")) == (120, 60, 2)


def test_programs_get_events_and_the_report_as_json(world: World, limio: Run) -> None:
    result = limio("sync", "--emulated", "offers", *TO, "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.stderr == ""
    report = events.pop()
    assert [events[0]["kind"], events[-1]["kind"]] == ["started", "ended"]
    assert {event["kind"] for event in events} == {"started", "listed", "written", "ended"}
    assert report["complete"] is True
    assert report["streams"][0]["inserted"] == 120


@pytest.mark.parametrize(("gone", "code"), [(20, 0), (21, 4), (22, 4)])
def test_more_than_a_fifth_is_marked_as_deleted_only_where_that_is_allowed(
    gone: int, code: int, world: World, limio: Run
) -> None:
    command = ("-q", "sync", "--emulated", "offers", *TO)
    world.add_offers(-20)  # of 120
    assert limio(*command).exit_code == 0
    world.add_offers(-gone)
    assert limio(*command).exit_code == code
    assert count("offers WHERE deleted_at IS NULL") == (100 if code else 100 - gone)
    assert limio(*command, "--allow-mass-delete").exit_code == 0
    assert count("offers WHERE deleted_at IS NULL") == 100 - gone


def test_quiet_leaves_the_table_only(world: World, limio: Run) -> None:
    result = limio("-q", "sync", "--emulated", "offers", *TO)
    assert result.stderr == ""
    assert "offers" in result.stdout


def test_what_is_missing_has_an_exit_code_and_a_reason(world: World, limio: Run) -> None:
    world.faults.on("listOffers").wrong_hits(121)
    result = limio("sync", "--emulated", "offers", "products", *TO)
    assert result.exit_code == 4
    assert "incomplete" in result.stdout
    assert "121 were promised" in result.stdout.replace("\n", " ")


def test_status_tells_watermarks_and_last_runs(world: World, limio: Run) -> None:
    assert limio("sync", "--emulated", "offers", *TO).exit_code == 0
    result = limio("sync", "--status", *TO)
    assert result.exit_code == 0
    assert "watermark (UTC)" in result.stdout
    told = json.loads(limio("sync", "--status", "--json", *TO).stdout)
    assert told["last_runs"][0]["status"] == "complete"
    assert told["streams"][0]["watermark"].startswith("2024-12")


def test_status_tells_what_is_in_quarantine_by_now(world: World, limio: Run) -> None:
    world.faults.on("listOffers", page=1).bad_item(at=3, field="name", value=["odd"])
    assert limio("sync", "--emulated", "offers", *TO).exit_code == 0
    assert "in quarantine: 1 of offers\n" in limio("sync", "--status", *TO).stdout
    assert json.loads(limio("sync", "--status", "--json", *TO).stdout)["quarantine"] == {"offers": 1}
    assert limio("sync", "--emulated", "offers", *TO).exit_code == 0
    assert "in quarantine" not in limio("sync", "--status", *TO).stdout


def test_status_of_nothing_makes_nothing(limio: Run) -> None:
    result = limio("sync", "--status", *TO)
    assert result.exit_code == 2
    assert "there is no limio.db" in result.stderr
    assert not Path("limio.db").exists()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["ofers", *TO], 2, "there is no stream ofers; did you mean offers"),
        (["nonsense", *TO], 2, "known are abandoned_baskets, add_ons"),
        (["offers", "--to", "mysql://localhost/limio"], 2, "targets are sqlite:///limio.db, duckdb:///"),
        (["offers", "--to", "limio.db"], 2, "targets are sqlite:///limio.db"),
        (["offers"], 2, "--to"),
        (
            ["offers", *TO, "--since", "yesterday"],
            2,
            "neither a date such as 2026-01-31 nor a duration such as 7d",
        ),
        (["offers", *TO, "--mode", "append", "--since", "2999-01-01"], 2, "'2999-01-01' is still to come"),
        (["offers", *TO, "--since", "7d"], 2, "--since goes with --mode incremental or append"),
        (["offers", *TO, "--every", "soon"], 2, "not a duration such as 90s, 15m"),
        (["offers", *TO, "--every", "99999999999999d"], 2, "is too long"),
        (["offers", "--to", "postgresql://127.0.0.1:9/limio"], 1, "127.0.0.1:9"),
        (["offers", "--to", "sqlite:////proc/limio.db"], 1, "/proc/limio.db"),
    ],
)
def test_mistakes_are_one_line(world: World, limio: Run, args: list[str], code: int, said: str) -> None:
    result = limio("sync", "--emulated", *args)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_refused_credentials_have_an_exit_code_where_no_stream_got_through(world: World, limio: Run) -> None:
    world.faults.on("listOffers").status(401)
    both = limio("sync", "--emulated", "offers", "products", *TO)
    assert (both.exit_code, "listOffers: 401" in both.stdout) == (4, True)
    world.faults.on("listProducts").status(401)
    assert limio("sync", "--emulated", "offers", "products", *TO).exit_code == 3
    world.faults.on("listObjects").status(401)
    assert (
        limio("sync", "--emulated", "subscriptions.events", *TO).exit_code == 3
    )  # no object to ask for them
    world.faults.clear()
    assert limio("sync", "--emulated", "offers", "products", *TO).exit_code == 0


@pytest.mark.parametrize("option", ["--overlap", "--since"])
def test_longer_ago_than_there_is_time_means_everything(world: World, limio: Run, option: str) -> None:
    limio("sync", "--emulated", "products", *TO)
    result = limio("sync", "--emulated", "products", *TO, "--mode", "incremental", option, "99999999d")
    assert result.exit_code == 0, result.stderr
    assert "40 items" in result.stderr


def test_a_narrow_terminal_shows_whole_figures(
    world: World, limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    limio("sync", "--emulated", *TO)
    with redirect_stdout(shown):
        show_status(TO[1], as_json=False)
    assert "subscription_offers" in shown.getvalue()
    assert "…" not in shown.getvalue()


def test_the_state_can_be_kept_elsewhere(world: World, limio: Run) -> None:
    world.faults.on("listOffers", page=2).status(403)
    assert limio("sync", "--emulated", "offers", *TO, "--state", "elsewhere/state").exit_code == 4
    assert Path("elsewhere/state").exists()
    assert not Path("limio.db.state").exists()


def test_the_shell_completes_streams(limio: Run) -> None:
    env = {"_LIMIO_COMPLETE": "bash_complete", "COMP_WORDS": "limio sync offe", "COMP_CWORD": "2"}
    completed = limio(env=env, prog_name="limio")
    assert completed.stdout.splitlines() == ["plain,offers", "plain,offers_v2"]


def test_a_client_without_host_is_told_how_to_have_one(limio: Run) -> None:
    result = limio("sync", "offers", *TO)
    assert result.exit_code == 2
    assert "LIMIO_HOST" in result.stderr


def test_credentials_that_are_missing_are_not_a_complete_run(
    limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMIO_HOST", "acme.example")
    result = limio("sync", *TO)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no list of the tenant can be asked for" in result.stderr


@pytest.mark.parametrize("loop", [[], ["--uvloop"]])
def test_a_polite_end_saves_and_the_next_run_goes_on(loop: list[str]) -> None:
    world = World(offers=2_000, subscriptions=300)
    world.faults.on("listObjects", from_page=4).delay(0.2)
    with served(world) as url:
        command = command_line(*loop, "sync", "subscriptions", "--page-size", "10", "--json", *TO)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(world, url)
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line)["kind"] == "written":
                    process.send_signal(signal.SIGTERM)
                    break
            *_, last = process.stdout
            assert process.wait(20) == 130
            assert process.stderr is not None
            said = process.stderr.read()
        assert "stopping: finishing what is being written" in said
        assert "the same command goes on from there" in said
        assert json.loads(last)["streams"][0]["status"] == "interrupted"
        world.faults.clear()
        asked = world.count("listObjects")
        done = subprocess.run(command, capture_output=True, text=True, env=environ(world, url), check=True)
    report = json.loads(done.stdout.splitlines()[-1])["streams"][0]
    assert (report["status"], report["inserted"]) == ("complete", 300)
    assert "queryMore" in world.requests("listObjects")[asked].query
    assert count("subscriptions") == 300


def test_lists_that_the_credentials_do_not_open_are_told_to_people_and_programs() -> None:
    with served(World(offers=20, subscriptions=5)) as url:
        done = subprocess.run(
            command_line("sync", "--json", *TO),
            capture_output=True,
            text=True,
            env={**os.environ, "LIMIO_HOST": url, "LIMIO_API_KEY": World().api_key},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    reason = "takes bearer credentials, the client has none of them"
    assert report["left_out"]["subscriptions"] == reason
    assert f"subscriptions is left out: {reason}" in done.stderr
    assert not report["left_out"].keys() & {one["stream"] for one in report["streams"]}


def test_two_runs_refuse_each_other() -> None:
    world = World(offers=200, subscriptions=0)
    world.faults.on("listOffers", page=2).delay(3)
    with served(world) as url:
        command = command_line("sync", "offers", "--json", *TO)
        first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ(world, url))
        with first:
            assert first.stdout is not None
            first.stdout.readline()
            first.send_signal(signal.SIGSTOP)  # it has not ended, however long the second takes to start
            second = subprocess.run(
                command, capture_output=True, text=True, env=environ(world, url), check=False
            )
            first.send_signal(signal.SIGCONT)
            assert second.returncode == 1
            assert "another run is writing to the target" in second.stderr
            first.stdout.read()
            assert first.wait(20) == 0
    assert count("offers") == 200


def test_it_runs_again_and_again_until_it_is_stopped() -> None:
    world = World(offers=60, subscriptions=0)
    with served(world) as url:
        command = command_line("sync", "offers", "--every", "1s", "--json", *TO)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(world, url)
        ) as process:
            assert process.stdout is not None
            ended: list[Any] = []
            for line in process.stdout:
                said = json.loads(line)
                if "complete" in said:
                    ended.append(said)
                if len(ended) == 2:
                    process.send_signal(signal.SIGINT)
                    break
            assert process.wait(20) == 130
    assert [one["streams"][0]["inserted"] for one in ended] == [60, 0]


def test_somebody_elses_database_is_only_looked_at(limio: Run) -> None:
    with closing(sqlite3.connect("theirs.db")) as db:
        db.execute("CREATE TABLE theirs (id TEXT)")
        db.commit()
    before = Path("theirs.db").read_bytes()
    for command in (["sync", "--status", "--to"], ["drift", "--from"]):
        result = limio(*command, "sqlite:///theirs.db")
        assert result.exit_code == 2
        assert "nothing was synced to it" in result.stderr
    assert Path("theirs.db").read_bytes() == before
    assert [one.name for one in Path().iterdir()] == ["theirs.db"]


def test_a_run_that_cannot_begin_does_not_end_those_that_follow() -> None:
    world = World(offers=60, subscriptions=0)
    with served(world) as url:
        command = command_line("sync", "products", "--every", "1s", *TO)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ(world, url)) as process:
            assert process.stderr is not None
            said: list[str] = []

            def wait_for(news: str) -> None:
                while news not in (line := process.stderr.readline() if process.stderr else ""):
                    assert line, said
                    said.append(line)

            wait_for("next run in")
            other = open_sink(TO[1])
            other.open()
            wait_for("another run is writing to the target")
            other.close()
            wait_for("products: 40 items, nothing new, complete")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
