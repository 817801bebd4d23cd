"""The judge of the inbox can fail: what is written twice, lost, made up or read in vain is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.judges.inbox_kills import says_too_much
from tests.judges.inbox_planted import PLANTED
from tests.judges.inbox_truth import Effect, Meant, Verdict, judged, miscounted

MEANT = {"a": Meant(), "b": Meant(2, 3)}
A, B, B_AGAIN = Effect("a", 0, "k", 1), Effect("b", 1, "k", 2), Effect("b", 1, "k", 3)
ALL_WELL = [A, B, B_AGAIN]


def verdict(
    effects: Sequence[Effect],
    acknowledged: Mapping[str, int] | None = None,
    *,
    gets: int = 2,
    waste: int = 0,
) -> Verdict:
    return judged(MEANT, acknowledged or {"a": 2, "b": 2}, effects, gets=gets, waste=waste)


def test_what_is_done_well_is_passed() -> None:
    assert verdict(ALL_WELL) == (3, 3, 0, 0, 0, [])


def test_a_delivery_that_was_not_answered_may_be_an_event_more() -> None:
    assert verdict([*ALL_WELL, B_AGAIN]).faults == []


@pytest.mark.parametrize(
    ("effects", "fault"),
    [
        ([*ALL_WELL, A], "twice: a has 2 effects of 1"),
        ([*ALL_WELL, B_AGAIN, B_AGAIN], "twice: b has 4 effects of 2 to 3"),
        ([*ALL_WELL[1:], Effect("c", 0, "k", 4)], "lost: a has 0 effects of 1, answered 202 2 times"),
        ([A, B_AGAIN, B], "order: of k, event 3 was handled before 2"),
        (ALL_WELL[:2], "lost: b has 1 effects of 2 to 3, answered 202 2 times"),
        ([*ALL_WELL, Effect("c", 0, "k", 4)], "stranger: c has an effect, and nobody told it"),
    ],
)
def test_what_is_wrong_is_told(effects: Sequence[Effect], fault: str) -> None:
    assert fault in verdict(effects).faults


def test_what_was_never_answered_is_not_called_lost() -> None:
    assert verdict(ALL_WELL[1:], {"b": 2}, gets=1).faults == ["never stored: a has 0 effects of 1, answered 202 0 times"]  # fmt: skip


def test_reads_that_served_nothing_are_explained_by_kills_or_told() -> None:
    assert verdict(ALL_WELL, gets=5, waste=3).faults == []
    assert verdict(ALL_WELL, gets=5, waste=2).faults == ["wasted: 3 GETs served nothing, and kills explain 2"]


@pytest.mark.parametrize(
    ("others", "taken", "sessions_ended", "is_too_much"),
    [(12, 0, 0, False), (13, 0, 1, True), (0, 13, 0, True), (12, 16, 1, False), (12, 17, 1, True), (12, 32, 2, False)],
)  # fmt: skip
def test_only_events_that_were_taken_over_may_be_told_one_by_one(
    others: int, taken: int, sessions_ended: int, is_too_much: bool
) -> None:
    said = "something\n" * others + "event 1 was taken over by another worker; …\n" * taken
    assert says_too_much(said, sessions_ended) is is_too_much
    assert says_too_much("Traceback (most recent call last):", sessions_ended)


@pytest.mark.parametrize(("counted", "is_well"), [(3, False), (4, True), (6, True), (7, False)])
def test_each_delivery_that_was_answered_202_is_counted(counted: int, is_well: bool) -> None:
    assert (not miscounted(counted, acknowledged=4, unanswered=2)) is is_well


def test_faults_that_are_planted_have_names_of_their_own() -> None:
    assert len({one.fault.name for one in PLANTED}) == len(PLANTED)
