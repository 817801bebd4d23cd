"""An outbox that is killed at any line of its own loses and doubles nothing. See `outbox_lines`, `make kill` for all lines."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from limio_async.outbox.decide import answered, concluded
from tests.judges import outbox_lines
from tests.judges.outbox_lines import NEVER, Place, Urls, first_line, judge, kill_all, never_run
from tests.judges.outbox_planted import found

pytestmark = pytest.mark.judge


def test_a_kill_at_any_line_loses_and_doubles_nothing() -> None:
    assert judge(["SQLite"], [("park", "killed")], sample=4, seed=19, quiet=True) == []


def test_an_outbox_that_sends_again_without_looking_is_caught() -> None:
    is_found, faults, _ = found("a found sending is sent again")
    assert is_found, faults


async def test_a_line_that_is_never_come_to_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_lines, "TRIES", 1)
    with ExitStack() as stack:
        faults = await kill_all(
            Urls(stack, "SQLite"), "name", "park", "new", [Place("outbox/decide.py:1")], seed=19, quiet=True
        )
    assert faults == [f"name, outbox/decide.py:1, time 1: {NEVER}"]


async def test_a_process_that_does_not_end_is_told_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_lines, "LONGEST", 0.1)
    monkeypatch.setattr(outbox_lines, "AT_ONCE", 1)
    places = [Place("outbox/decide.py:1", nth) for nth in (1, 2)]
    with ExitStack() as stack:
        faults = await kill_all(Urls(stack, "SQLite"), "name", "park", "new", places, seed=19, quiet=True)
    assert len([fault for fault in faults if "does not end" in fault]) == 2


def test_lines_to_which_no_process_came_are_told() -> None:
    place = first_line(answered)
    told = {one.partition(": ")[0]: one.partition(": ")[2].split() for one in never_run([place])}
    assert [*told] == ["outbox/decide.py"]
    assert place.partition(":")[2] not in told["outbox/decide.py"]
    assert first_line(concluded).partition(":")[2] in told["outbox/decide.py"]
