"""Faults that are planted in the outbox are noticed by what the state machine holds. See `outbox_planted` for all."""

from __future__ import annotations

import inspect
import logging

import pytest

from tests.judges.outbox_faults import FAULTS, Fault, _place, planted
from tests.judges.outbox_planted import FOUND
from tests.outbox.tenant import LOST, Fate
from tests.outbox.test_machine import Machine


def played() -> None:
    """Lose answers, kill a process while an order is on the wire, put yesterday's file back; then judge."""
    machine = Machine()
    machine.begin()
    for fate in (Fate(answer=None, lag=0.5), Fate(answer=502, lag=0.5, bare=True), Fate(after=3.0)):
        machine.intend(None, fate, at_once=True)
    machine.start()
    machine.passes(1.0)
    machine.kill()
    machine.start()
    for _ in range(4):
        machine.passes(61.0)
        machine.another(0.0)
    machine.kill()
    machine.yesterday(LOST, LOST)
    machine.start()
    machine.passes(400.0)
    machine.intend(None, Fate(answer=None, lag=0.9), at_once=True)  # nobody looks for another later
    machine.passes(1.0)
    machine.teardown()


def test_without_a_fault_all_holds() -> None:
    played()


@pytest.mark.parametrize(
    "name",
    [
        "settle is ignored",
        "the last 9 rows of a page are skipped",
        "bare rows are not fetched",
        "sending is written with the answer only",
        "a found sending is sent again",
        "another generation goes unnoticed",
        "502 refuses",
        "a lost answer means not sent",
    ],
)
def test_a_fault_is_noticed(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with planted(name), pytest.raises(AssertionError):
        played()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_planted_takes_what_it_replaces_is_given(fault: Fault) -> None:
    for where, patch in fault.patches:
        known = _place(where)[2]
        if inspect.isfunction(known):
            given = inspect.signature(known).parameters.values()
            places = [one for one in given if one.kind is one.POSITIONAL_OR_KEYWORD]
            named = {one.name: one for one in given if one.kind is one.KEYWORD_ONLY}
            inspect.signature(patch(known)).bind(*places, **named)


def test_each_fault_has_a_judge() -> None:
    assert [fault.name for fault in FAULTS] == [*FOUND]
