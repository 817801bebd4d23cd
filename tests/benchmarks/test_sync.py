"""A goal of syncs is held with a quarter to spare, by programs that do the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import sync, sync_stage
from benchmarks.contenders import in_rounds
from benchmarks.goals import SYNC_GOALS, Figure, Goal, held_to, judged
from benchmarks.peers.memory import STATUS
from benchmarks.server import Answers, serving
from benchmarks.sync_stage import SHORT, NoPostgres, SyncStage, Used, checked, used

ROOT = Path(__file__).parents[2]
MUCH = 100  # MiB, several times what a bare Python takes


class Measured:
    """A stage that measures nothing."""

    def forget(self, _: str) -> None:
        """Nothing was measured."""


def judging(measure: Callable[[Any], Figure]) -> tuple[bool, str]:
    """Whether a goal of 2.0 is broken, and what its row says last."""
    goal, broken = Goal(what="sync", unit="s", bound=2.0, margin=1.25, measure=measure), list[Goal]()
    stage: Any = Measured()
    (row,) = judged([goal], stage, broken).rows
    return broken == [goal], row[-1]


@pytest.mark.parametrize(
    ("values", "broken", "met"),
    [([2.0], False, "yes"), ([2.4], False, "no"), ([2.6, 2.0], False, "yes"), ([2.6, 2.6], True, "no")],
)
def test_what_is_a_quarter_above_its_goal_twice_in_a_row_is_broken(
    values: list[float], broken: bool, met: str
) -> None:
    assert judging(lambda stage: Figure(1, 1, values.pop(0))) == (broken, met)
    assert not values


def test_every_goal_of_syncs_has_a_quarter_to_spare() -> None:
    for goal in SYNC_GOALS:
        assert held_to(goal) == (goal.bound * 1.25 if goal.sense == "<=" else goal.bound / 1.25)
    assert len({goal.what for goal in SYNC_GOALS}) == len(SYNC_GOALS)


def test_a_machine_without_postgres_says_so_and_fails_nothing() -> None:
    def measure(stage: Any) -> Figure:
        raise NoPostgres("no PostgreSQL")

    assert judging(measure) == (False, "-")


def test_a_broken_goal_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Goal(what="a sync", unit="s", bound=1.0, measure=lambda stage: Figure(9, 1, 9))
    monkeypatch.setattr(sync, "SYNC_GOALS", (broken,))
    monkeypatch.setattr(sys, "argv", ["sync", "--short"])
    with pytest.raises(SystemExit, match="broken: a sync"):
        sync.main()


def test_processes_are_not_warmed_up() -> None:
    costs = iter(range(4))
    assert in_rounds({"a": lambda: next(costs)}, 2, warmups=0) == [{"a": 0}, {"a": 1}]


def test_who_leaves_something_out_is_not_fast_but_wrong() -> None:
    ran = Used(cpu=1, wall=1, peak_mib=1)
    assert checked("sync", {"written": 3, "unchanged": 0}, ran, written=3) is ran
    with pytest.raises(SystemExit, match="not"):
        checked("sync", {"written": 2, "unchanged": 0}, ran, written=3)


def python(code: str) -> list[str | Path]:
    return [sys.executable, "-c", code]


def test_what_children_use_counts() -> None:
    spin = "import time\nwhile time.process_time() < .3: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}]); print('[1]')"
    ran = used(python(child))
    assert ran.cpu > 0.3
    assert ran.said == [1]


@pytest.mark.skipif(not STATUS.exists(), reason="the system tells the peak in other units")
def test_a_process_does_not_inherit_the_peak_of_the_benchmark() -> None:
    held = bytearray(b"x" * MUCH * 2**20)
    assert used(python("print(1)")).peak_mib < len(held) / 2**20


def test_a_program_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        used(python("print(1); raise SystemExit(3)"))


def test_the_server_lists_as_many_objects_as_offers() -> None:
    answers, asked, ids = Answers(3, zipped=False), "limit=2", list[str]()
    while asked:
        target = f"/api/objects/limio/subscriptions?{asked}".encode()
        page = msgspec.json.decode(answers.to(target).partition(b"\r\n\r\n")[2])
        ids += [one["id"] for one in page["items"]]
        asked = f"limit=2&queryMore={page['queryMore']}" if "queryMore" in page else ""
    assert ids == ["sub-000000", "sub-000001", "sub-000002"]


def test_a_server_that_takes_its_time_is_on_time() -> None:
    code = (
        "import http.client, sys, time\n"
        "to = http.client.HTTPConnection(sys.argv[1])\n"
        "took = []\n"
        "for _ in range(40):\n"
        "    begun = time.perf_counter()\n"
        "    to.request('GET', '/api/objects/limio/subscriptions/small')\n"
        "    to.getresponse().read()\n"
        "    took.append(time.perf_counter() - begun)\n"
        "print(sorted(took)[0])\n"
    )
    with serving(0, delay=0.02) as url:
        command = [sys.executable, "-c", code, url.removeprefix("http://")]
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    assert 0.02 <= float(told) < 0.021


def test_both_sources_of_dlt_load_the_same_offers(tmp_path: Path) -> None:
    pytest.importorskip("dlt")
    duckdb = pytest.importorskip("duckdb")
    found: dict[str, Any] = {}
    environ = {**os.environ, "DLT_DATA_DIR": str(tmp_path / "dlt")}
    with serving(120) as url, ExitStack() as held:
        running: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("dlt_generic", "dlt_ours"):
            (tmp_path / name).mkdir()
            command = [sys.executable, "-m", f"benchmarks.peers.{name}", url, str(tmp_path / name), "50"]
            loading = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE)
            running[name] = held.enter_context(loading)
        for name, process in running.items():
            said, _ = process.communicate()
            assert json.loads(said.splitlines()[-1]) == {"written": 120}
            with duckdb.connect(tmp_path / name / "offers.duckdb") as file:
                found[name] = file.execute("SELECT id, name FROM limio.offers ORDER BY id").fetchall()
    assert len(found["dlt_generic"]) == 120
    assert found["dlt_generic"] == found["dlt_ours"]


def test_the_stage_measures_once_until_it_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(command: Any, environ: Any = None) -> Used:
        ran.append(str(command[2]))
        return Used(cpu=1, wall=1, peak_mib=1, said={"written": SHORT.loaded})

    monkeypatch.setattr(sync_stage, "used", run)
    monkeypatch.setattr(SyncStage, "url", lambda self, number: "")
    monkeypatch.setattr(SyncStage, "_into_duckdb", lambda self: run(["", "", "sync"]))
    with ExitStack() as held:
        stage = SyncStage(SHORT, held)
        assert stage.loads() is stage.loads()
        assert len(stage.loads()) == SHORT.pairs
        assert sorted({*ran}) == ["benchmarks.peers.dlt_generic", "benchmarks.peers.dlt_ours", "sync"]
        stage.forget("")
        stage.loads()
    assert len(ran) == 2 * 3 * SHORT.pairs
