"""`limio sync`: a report one can trust on stdout, everything else on stderr, an exit code for whoever sleeps."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from limio_async.cli.app import app
from limio_async.cli.sync_status import show_status
from limio_async.emulator import World
from limio_async.sync_jobs import Job
from limio_async.sync_jobs.sinks import open_sink
from limio_async.testing import served
from tests.cli.conftest import Run, command_line

TO = ("--to", "sqlite:///limio.db")


def count(table: str, file: str = "limio.db") -> int:
    with closing(sqlite3.connect(file)) as db:
        (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # a name of the test's own
        return int(number)


def status(limio: Run, stream: str) -> dict[str, Any]:
    """What monitoring is told about a stream."""
    told = json.loads(limio("sync", "--status", "--json", *TO).stdout)
    found: dict[str, Any] = next(one for one in told["streams"] if one["stream"] == stream)
    return found


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
    assert (report["kind"], report["complete"], report["error"], report["exit_code"]) == (
        "report",
        True,
        None,
        0,
    )
    assert report["streams"][0]["inserted"] == 120
    alone = limio("-q", "sync", "--emulated", "offers", *TO, "--json")
    assert [json.loads(line)["kind"] for line in alone.stdout.splitlines()] == ["report"]


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


def test_quiet_says_nothing_where_all_is_well(world: World, limio: Run) -> None:
    world.faults.on("listOffers", page=2).status(503)
    world.faults.on("listProducts", page=2).expire_scroll()
    for _ in range(2):
        result = limio("-q", "sync", "--emulated", "offers", "products", "--page-size", "20", *TO)
        assert (result.exit_code, result.output) == (0, "")


def test_quiet_names_the_streams_that_are_not_complete_and_why(world: World, limio: Run) -> None:
    world.faults.on("listOffers").wrong_hits(121)
    world.faults.on("listSegments").status(403)
    result = limio("-q", "sync", "--emulated", "offers", "products", "segments", *TO)
    assert (result.exit_code, result.stdout) == (4, "")
    first, second = result.stderr.splitlines()
    assert first == "limio: offers: incomplete: the walk ended after 120 items, 121 were promised"
    assert second.startswith("limio: segments: failed: listSegments: 403")


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
    assert "last complete " in result.stdout
    told = json.loads(limio("sync", "--status", "--json", *TO).stdout)
    (offers,) = told["streams"]
    assert (told["kind"], told["exit_code"], offers["stream"], offers["table"]) == (
        "status",
        0,
        "offers",
        "offers",
    )
    assert (offers["last_run"]["status"], offers["failing_since"], offers["quarantined"]) == (
        "complete",
        None,
        0,
    )
    assert offers["watermark"].startswith("2024-12")
    assert offers["last_complete"] == offers["last_run"]["ended"]
    assert offers["last_complete"].endswith("Z")
    assert 0 <= offers["age_seconds"] < 60


def test_status_tells_what_is_in_quarantine_by_now(world: World, limio: Run) -> None:
    world.faults.on("listOffers", page=1).bad_item(at=3, field="name", value=["odd"])
    assert limio("sync", "--emulated", "offers", *TO).exit_code == 0
    assert status(limio, "offers")["quarantined"] == 1
    assert limio("sync", "--emulated", "offers", *TO).exit_code == 0
    assert status(limio, "offers")["quarantined"] == 0


def test_status_tells_since_when_a_stream_fails(world: World, limio: Run) -> None:
    command = ("sync", "--emulated", "offers", *TO)
    assert limio(*command).exit_code == 0
    before = status(limio, "offers")
    world.faults.on("listOffers").wrong_hits(121)
    for _ in range(2):
        assert limio(*command).exit_code == 4
    offers = status(limio, "offers")
    assert offers["last_complete"] == before["last_complete"] < offers["failing_since"]
    assert offers["failing_since"] < offers["last_run"]["started"]  # the first of the two runs
    assert (offers["last_run"]["status"], "121 were promised" in offers["last_run"]["error"]) == (
        "incomplete",
        True,
    )
    shown = limio("sync", "--status", *TO).stdout
    began = offers["failing_since"][:16].replace("T", " ")
    assert re.search(f"failing since {began}, last complete [0-9]+ s ago", shown)
    world.faults.clear()
    assert limio(*command).exit_code == 0
    assert status(limio, "offers")["failing_since"] is None


def test_what_is_too_old_has_an_exit_code(world: World, limio: Run) -> None:
    world.faults.on("listProducts").status(403)
    limio("sync", "--emulated", "offers", "products", *TO)
    with closing(sqlite3.connect("limio.db")) as db, db:
        db.execute("UPDATE _limio_streams SET ended = '2024-05-06T07:08:09.000000Z' WHERE id = 'offers'")
    old = limio("sync", "--status", "--max-age", "26h", *TO)
    assert old.exit_code == 5
    first, second = old.stderr.splitlines()
    assert re.fullmatch(r"limio: offers is too old: last complete \d+ d ago", first)
    assert re.fullmatch(r"limio: products is too old: failing since .*, never complete", second)
    world.faults.clear()
    limio("sync", "--emulated", "offers", "products", *TO)
    well = limio("-q", "sync", "--status", "--max-age", "26h", *TO)
    assert (well.exit_code, well.output) == (0, "")
    named = limio("sync", "segments", "offers", "--status", "--max-age", "26h", "--json", *TO)
    assert (named.exit_code, named.stderr) == (5, "limio: segments is too old: never complete\n")
    told = json.loads(named.stdout)
    assert told["exit_code"] == 5
    assert {one["stream"]: one["too_old"] for one in told["streams"]} == {"offers": False, "segments": True}


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


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--host", "http://127.0.0.1:9", "sync", *TO], 3, "no list of the tenant can be asked for"),
        (["sync", "offers", *TO], 2, "no host: use --host"),
        (["--emulated", "sync", "ofers", *TO], 2, "there is no stream ofers"),
        (["--emulated", "sync", "offers", "--to", "limio.db"], 2, "targets are sqlite:///limio.db"),
        (["--emulated", "sync", "offers", "--to", "postgresql://127.0.0.1:9/limio"], 1, "127.0.0.1:9"),
        (["--emulated", "sync", "offers", *TO, "--since", "7d"], 2, "--since goes with"),
        (["--emulated", "sync", "offers", *TO, "--since", "yesterday"], 2, "neither a date"),
        (["--emulated", "sync", "offers", *TO, "--ever", "2h"], 2, "no such option"),
        (["--emulated", "sync", "offers"], 2, "--to"),
        (["--emulated", "sync", "offers", *TO, "--max-age", "2h"], 2, "--max-age goes with --status"),
        (["--emulated", "sync", "offers", *TO, "--allow-mass-delete-of", "ofers"], 2, "ofers"),
        (["--emulated", "sync", "offers", *TO, "--allow-mass-delete-of", "products"], 2, "products"),
        (["--emulated", "sync", "offers", "--to", "sqlite:////proc/limio.db"], 1, "/proc/limio.db"),
    ],
)  # fmt: skip
def test_programs_get_a_report_of_a_run_that_cannot_begin(
    world: World, limio: Run, args: list[str], code: int, said: str
) -> None:
    result = limio(*args, "--json")
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    assert (report["kind"], report["complete"], report["exit_code"]) == ("report", False, code)
    assert result.exit_code == code
    assert said in report["error"]
    assert result.stderr == f"limio: {report['error']}\n"


def test_programs_get_a_report_of_a_bug_without_what_it_says(
    world: World, limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(job: Job) -> None:
        raise ZeroDivisionError("somebody@example.com")

    monkeypatch.setattr(Job, "run", broken)
    with redirect_stdout(TextIOWrapper(BytesIO())) as stdout, pytest.raises(ZeroDivisionError):
        app.main(["--emulated", "sync", "offers", *TO, "--json"])
    report = json.loads(stdout.buffer.getvalue())
    assert (report["complete"], report["exit_code"]) == (False, 1)
    assert report["error"] == "a bug, please report it: ZeroDivisionError"


def test_a_job_that_ends_in_the_middle_reports_how_far_it_came(world: World, limio: Run) -> None:
    with closing(sqlite3.connect("limio.db")) as db:
        db.execute("CREATE TABLE products (id TEXT, mine TEXT)")
        db.commit()
    result = limio("sync", "--emulated", "offers", "products", *TO, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["kind"] for line in lines].count("report") == 1
    assert (lines[-1]["kind"], lines[-1]["exit_code"]) == ("report", result.exit_code)


INTERRUPTED = """
import sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "limio_async.cli.{}":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from limio_async.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("loading", ["app", "sync", "sync_view", "sync_status"])
def test_programs_get_a_report_of_a_run_that_is_interrupted_before_it_begins(loading: str) -> None:
    command = [
        sys.executable,
        "-c",
        INTERRUPTED.format(loading),
        "--emulated",
        "sync",
        "offers",
        "--json",
        *TO,
    ]
    if loading == "sync_status":
        command.append("--status")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert (report["kind"], report["complete"], report["exit_code"]) == ("report", False, done.returncode)
    assert done.returncode == 130


@pytest.mark.parametrize("flag", [(), ("-v",)])
def test_no_warning_says_that_a_complete_list_is_not(world: World, limio: Run, flag: tuple[str, ...]) -> None:
    world.faults.on("listOffers", page=2).duplicate_items(1)
    result = limio(*flag, "--emulated", "sync", "offers", "--page-size", "20", *TO)
    assert (result.exit_code, " complete" in result.stdout) == (0, True)
    assert ("were promised" in result.stderr) == bool(flag)


def test_a_list_that_is_not_complete_is_told_once(world: World, limio: Run) -> None:
    world.faults.on("listOffers").wrong_hits(70)
    result = limio("--emulated", "sync", "offers", *TO)
    assert result.exit_code == 4
    said = result.stdout + result.stderr
    assert "70 were promised" in said


FULL = Path("/dev/full")


def test_a_target_may_have_brackets_in_its_name(world: World, limio: Run) -> None:
    to = ("--to", "sqlite:///q [draft] :bomb: [x].db")
    assert limio("sync", "--emulated", "products", *to).stdout.startswith(f"{to[1]}\n")
    assert limio("sync", "--status", *to).stdout.startswith(f"{to[1]}: last runs\n")


def test_files_of_another_format_are_named_until_they_are_removed(world: World, limio: Run) -> None:
    limio("sync", "--emulated", "products", "--to", "ndjson:lake")
    to = ("--to", "csv:lake")
    said = "of an earlier format, and no longer written: products.ndjson; --clean removes them"
    assert said in limio("sync", "--emulated", "products", *to).stderr
    assert Path("lake/products.ndjson").exists()
    cleaned = limio("sync", "--emulated", "products", "--clean", *to)
    assert "earlier format" not in cleaned.stderr
    assert not Path("lake/products.ndjson").exists()
    limio("sync", "--emulated", "products", "--to", "ndjson:lake")
    report = limio("sync", "--emulated", "products", "--clean", "--json", *to).stdout.splitlines()[-1]
    assert json.loads(report)["stale_files"] == []


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_words_that_an_encoding_does_not_have_are_escaped(encoding: str) -> None:
    """They are for people; data is UTF-8 everywhere."""
    world = World(offers=1, subscriptions=0)
    with served(world) as url:
        env = {**environ(world, url), "PYTHONIOENCODING": encoding}
        for args in (
            ["sync", "products", "--to", "sqlite:///日本.db"],
            ["sync", "--status", "--to", "sqlite:///日本.db"],
        ):
            done = subprocess.run(command_line(*args), env=env, check=False, capture_output=True)
            assert (done.returncode, done.stdout.split(b".db")[0]) == (0, rb"sqlite:///\u65e5\u672c"), (
                done.stderr
            )


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2>/dev/full >/dev/full", ">/dev/full", "<&- 2>&-"])
@pytest.mark.parametrize(("fault", "code"), [(False, 0), (True, 4)])
def test_a_full_disk_behind_what_it_says_ends_nothing(where: str, fault: bool, code: int) -> None:
    world = World(offers=60, subscriptions=0)
    if fault:
        world.faults.on("listOffers").wrong_hits(61)
    with served(world) as url:
        line = f"{shlex.join(command_line('-v', 'sync', 'offers', 'products', *TO))} {where}"
        done = subprocess.run(
            ["/bin/sh", "-c", line], env=environ(world, url), check=False, stdout=subprocess.DEVNULL
        )
    assert done.returncode == code
    assert (count("offers"), count("products")) == (60, 40)


def test_a_terminal_that_goes_away_ends_nothing() -> None:
    world = World(offers=60, subscriptions=0)
    world.faults.on("listOffers", page=2).delay(1)
    ours, theirs = os.openpty()
    with served(world) as url:
        command = command_line("sync", "offers", "--page-size", "20", *TO)
        with subprocess.Popen(
            command, stderr=theirs, stdout=subprocess.DEVNULL, env=environ(world, url)
        ) as process:
            os.close(theirs)
            os.read(ours, 1)
            os.close(ours)
            assert process.wait(20) == 0
    assert count("offers") == 60


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
        show_status(TO[1], (), max_age=None, as_json=False, quiet=False)
    assert "subscription_offers" in shown.getvalue()
    assert "…" not in shown.getvalue()


def test_the_state_can_be_kept_elsewhere(world: World, limio: Run) -> None:
    world.faults.on("listOffers", page=2, times=9).status(403)
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
        assert "the same command resumes" in said
        interrupted = json.loads(last)
        assert (interrupted["kind"], interrupted["exit_code"]) == ("report", 130)
        assert interrupted["streams"][0]["status"] == "interrupted"
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
                if said["kind"] == "report":
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
