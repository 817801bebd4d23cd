"""A goal is broken only where the machine cannot be the reason."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import goals as module
from benchmarks import speed
from benchmarks import stage as stage_module
from benchmarks.contenders import Cost, contending, in_rounds, paired
from benchmarks.goals import GOALS, OUT_OF_REACH, Figure, Goal, goals, held_to, is_broken, is_met
from benchmarks.peers.environments import NotInHistory
from benchmarks.stage import SHORT, Stage


def goal(what: str = "", **told: Any) -> Goal:
    return Goal(what=what, unit="s", measure=lambda stage: pytest.fail("nothing is measured here"), **told)


@pytest.mark.parametrize(("value", "met", "broken"), [(1.0, True, False), (1.4, False, False), (1.6, False, True)])  # fmt: skip
def test_a_ratio_breaks_half_again_above_its_bound(value: float, met: bool, broken: bool) -> None:
    bound = goal(bound=1.0)
    assert (is_met(bound, value), is_broken(bound, value)) == (met, broken)


@pytest.mark.parametrize(("value", "met", "broken"), [(0.9, True, False), (0.7, False, False), (0.5, False, True)])  # fmt: skip
def test_a_rate_breaks_at_two_thirds_of_its_bound(value: float, met: bool, broken: bool) -> None:
    bound = goal(bound=0.9, sense=">=")
    assert (is_met(bound, value), is_broken(bound, value)) == (met, broken)


@pytest.mark.parametrize(("value", "broken"), [(-1.0, False), (2.9, False), (3.1, True)])
def test_a_difference_breaks_half_again_above_its_bound(value: float, broken: bool) -> None:
    assert is_broken(goal(bound=2.0, of="difference"), value) is broken


def test_a_goal_out_of_reach_is_held_to_what_is_possible() -> None:
    what, known = next(iter(OUT_OF_REACH.items()))
    bound = goal(what, bound=known.possible / 2)
    assert held_to(bound) == known.possible * 1.5
    assert not is_met(bound, known.possible)


def test_what_is_out_of_reach_names_goals_that_there_are() -> None:
    possible = {one.what: one.bound for one in GOALS}
    assert all(known.possible > possible[what] for what, known in OUT_OF_REACH.items())


@pytest.mark.parametrize(
    ("values", "broken", "measured"), [([1.0], False, 1), ([9.0, 1.0], False, 2), ([9.0, 9.0], True, 2)]
)
def test_what_seems_broken_is_measured_once_more(
    monkeypatch: pytest.MonkeyPatch, values: list[float], broken: bool, measured: int
) -> None:
    left = list(values)
    asked = Goal(what="speed", unit="s", bound=1.0, measure=lambda stage: Figure(1, 1, left.pop(0)))
    monkeypatch.setattr(module, "GOALS", (asked,))
    found: list[Goal] = []
    stage: Any = types.SimpleNamespace(forget=lambda rounds: None)
    (row,) = goals(stage, found).rows
    assert found == [asked] * broken
    assert len(values) - len(left) == measured
    assert row[-1] == ("no" if broken else "yes")


BEFORE = [one for one in GOALS if "before" in one.what]


def test_walks_of_each_form_and_calls_are_held_to_those_of_before() -> None:
    forms = {one.what.partition(" / ")[0] for one in BEFORE}
    assert forms == {"typed walk", "slim walk", "raw walk", "call"}


class Measured:
    """A stage on which ours costs these multiples of before, one after the other, and by hand nothing is faster."""

    def __init__(self, *ratios: float, lacking: str = "") -> None:
        self.scale = types.SimpleNamespace(items=1, calls=1)
        self.left = [*ratios]
        self._lacking = lacking
        self._kept: dict[str, Any] = {}

    def url(self, offers: int) -> str:
        return ""

    def lacking(self, name: str) -> str:
        return self._lacking if name == "before" else ""

    def rounds(self, what: str, sides: Any) -> Any:
        assert {"ours", "before", "by_hand"} == sides.keys()
        if what not in self._kept:
            self._kept[what] = [{"ours": self.left.pop(0), "before": 1.0, "by_hand": 1.0}] * 3
        return self._kept[what]

    def forget(self, rounds: str) -> None:
        del self._kept[rounds]


@pytest.mark.parametrize("goal", BEFORE, ids=lambda goal: goal.what)
@pytest.mark.parametrize(
    ("ratios", "broken"),
    [((1.0,), False), ((1.08,), False), ((1.2, 1.0), False), ((1.2, 1.2), True), ((1.09, 1.09), True)],
)
def test_what_is_slower_than_before_twice_in_a_row_is_broken(
    monkeypatch: pytest.MonkeyPatch, goal: Goal, ratios: tuple[float, ...], broken: bool
) -> None:
    monkeypatch.setattr(module, "GOALS", (goal,))
    found: list[Goal] = []
    stage: Any = Measured(*ratios)
    (row,) = goals(stage, found).rows
    assert found == [goal] * broken
    assert stage.left == []
    assert row[-1] == ("no" if broken else "yes")


def test_a_clone_without_the_commit_of_before_says_so_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = [one for one in GOALS if one.what == "typed walk / by hand"]
    monkeypatch.setattr(module, "GOALS", (*BEFORE, *beside))
    found: list[Goal] = []
    stage: Any = Measured(1.0, lacking="commit 12e0a19 is not in the history of this clone")
    *before, by_hand = goals(stage, found).rows
    assert found == []
    assert {row[4] for row in before} == {"not measured: commit 12e0a19 is not in the history of this clone"}
    assert by_hand[-1] == "yes"


def test_what_is_lacking_takes_no_part_in_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Path:
        raise NotInHistory("commit 12e0a19 is not in the history of this clone")

    monkeypatch.setattr(stage_module, "root_of_before", gone)
    with ExitStack() as held:
        stage = Stage(SHORT, held)
        assert stage.lacking("before") == "commit 12e0a19 is not in the history of this clone"
        rounds = stage.rounds("walk", {"ours": lambda: 1.0, "before": lambda: pytest.fail("asked")})
        assert rounds == [{"ours": 1.0}] * (SHORT.starts * SHORT.rounds)
        assert stage.rounds("walk", {}) is rounds
        other = stage.rounds("calls", {"ours": lambda: 1.0})
        stage.forget("walk")
        closer = 6 * SHORT.starts * SHORT.rounds
        assert stage.rounds("walk", {"ours": lambda: 2.0}) == [{"ours": 2.0}] * closer
        assert stage.rounds("calls", {}) is other


def test_those_that_are_measured_in_rounds_are_started_anew_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []

    class Process:
        def ask(self, measure: str, **args: object) -> Cost:
            return Cost(came=None, cpu=len(started), wall=0, peak_kib=0)

    @contextmanager
    def starting(name: str) -> Iterator[Process]:
        started.append(name)
        yield Process()
        started.append(f"{name} ended")

    monkeypatch.setattr(stage_module, "started", starting)
    with ExitStack() as held:
        stage = Stage(SHORT, held)
        stage.rounds("walk", {"ours": lambda: stage.ask("ours", "walk").cpu})
    assert started == ["ours", "ours ended"] * SHORT.starts


def test_those_that_are_measured_in_rounds_take_turns_in_beginning() -> None:
    asked: list[str] = []

    def cost(name: str) -> float:
        asked.append(name)
        return 1.0

    rounds = in_rounds({name: partial(cost, name) for name in "abc"}, 3)
    assert "".join(asked) == "abcbcacababc"
    assert len(rounds) == 3
    assert paired([{"a": 3, "b": 2}, {"a": 4, "b": 2}, {"a": 9, "b": 2}], "a", "b").ratio == 2.0


def test_a_broken_goal_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Goal(what="speed", unit="s", bound=1.0, measure=lambda stage: Figure(9, 1, 9))
    monkeypatch.setattr(module, "GOALS", (broken,))
    monkeypatch.setattr(sys, "argv", ["speed", "--short"])
    with pytest.raises(SystemExit, match="broken: speed"):
        speed.main()


def test_a_contender_that_leaves_something_out_is_not_fast_but_wrong() -> None:
    with contending("by_hand") as contender, pytest.raises(SystemExit, match="came of versions, not"):
        contender.ask("versions", came={"msgspec": "0"}, packages=["msgspec"])
