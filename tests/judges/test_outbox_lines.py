"""An outbox that is killed at any line of its own loses and doubles nothing. See `outbox_lines`, `make kill` for all lines."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from limio_async.outbox.decide import answered
from tests.judges.outbox_lines import Forker, Place, Urls, judge, killed_at

pytestmark = pytest.mark.judge


def test_a_kill_at_any_line_loses_and_doubles_nothing() -> None:
    assert judge(["SQLite"], sample=4, seed=19, quiet=True) == []


async def test_an_outbox_that_sends_again_without_looking_is_caught() -> None:
    code = answered.__code__  # runs when an order is made, and nobody has written that yet
    line = min(line for *_, line in code.co_lines() if line is not None and line > code.co_firstlineno)
    with ExitStack() as stack:
        url = Urls(stack, "SQLite").new()
        async with Forker.started() as forker:
            place = Place(f"outbox/decide.py:{line}")
            came, faults = await killed_at(forker, url, "park", place, 19, forgets=True)
    assert came
    assert any(fault.startswith("twice") for fault in faults)
