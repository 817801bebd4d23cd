"""A goal is broken only where the machine cannot be the reason."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from benchmarks import goals as module
from benchmarks import speed
from benchmarks.contenders import contending
from benchmarks.goals import GOALS, OUT_OF_REACH, Figure, Goal, goals, held_to, is_broken, is_met


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
    stage: Any = types.SimpleNamespace(forget_peaks=lambda: None)
    (row,) = goals(stage, found).rows
    assert found == [asked] * broken
    assert len(values) - len(left) == measured
    assert row[-1] == ("no" if broken else "yes")


def test_a_broken_goal_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Goal(what="speed", unit="s", bound=1.0, measure=lambda stage: Figure(9, 1, 9))
    monkeypatch.setattr(module, "GOALS", (broken,))
    monkeypatch.setattr(sys, "argv", ["speed", "--short"])
    with pytest.raises(SystemExit, match="broken: speed"):
        speed.main()


def test_a_contender_that_leaves_something_out_is_not_fast_but_wrong() -> None:
    with contending("by_hand") as contender, pytest.raises(SystemExit, match="came of versions, not"):
        contender.ask("versions", came={"msgspec": "0"}, packages=["msgspec"])
