"""What time it is at Limio, as its answers tell."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import anyio
import pytest

from limio_async.core.clock import Clock

EPOCH = 1_780_000_000


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Any:
    at = [50.0]
    monkeypatch.setattr(anyio, "current_time", lambda: at[0])
    return at


def told(seconds: float) -> dict[str, str]:
    return {"date": formatdate(EPOCH + seconds, usegmt=True)}


def times(clock: Clock) -> tuple[float, float]:
    least, most = clock.earliest(), clock.latest()
    assert least is not None
    assert most is not None
    return least / 1e6 - EPOCH, most / 1e6 - EPOCH


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}, {"date": ""}])
def test_nothing_is_known_before_an_answer_says_it(now: Any, headers: dict[str, str]) -> None:
    clock = Clock()
    clock.see(headers, 50.0)
    assert (clock.earliest(), clock.latest()) == (None, None)


def test_an_answer_was_written_after_it_was_asked_for_and_has_whole_seconds(now: Any) -> None:
    clock = Clock()
    clock.see(told(7), asked=48.0)
    assert times(clock) == (7.0, 10.0)
    now[0] += 100
    assert times(clock) == (107.0, 110.0)


@pytest.mark.parametrize("wrong", [-7200, 7200])
def test_machines_that_differ_are_taken_together(now: Any, wrong: int) -> None:
    clock = Clock()
    clock.see(told(7), asked=50.0)
    clock.see(told(7 + wrong), asked=50.0)
    clock.see(told(7), asked=50.0)
    assert times(clock) == (min(7.0, 7.0 + wrong), max(8.0, 8.0 + wrong))
    for _ in range(16):
        clock.see(told(7), asked=50.0)
    assert times(clock) == (7.0, 8.0)
