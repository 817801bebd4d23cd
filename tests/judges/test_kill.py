"""`limio sync`, killed at random moments and started again, ends with exactly what the tenant holds. See `killing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.judges.killing import SHORT, TARGETS, Killed, killed, show

pytestmark = pytest.mark.judge

KILLS = {"SQLite": 9, "PostgreSQL": 8, "NDJSON": 8}


@pytest.fixture(scope="module")
def totals() -> Iterator[list[Killed]]:
    done: list[Killed] = []
    yield done
    show(done)


@pytest.mark.parametrize("name", TARGETS)
async def test_nothing_is_lost_and_nothing_doubled_by_any_kill(name: str, totals: list[Killed]) -> None:
    done = await killed(name, SHORT, kills=KILLS[name], seed=1)
    assert done.kills == KILLS[name]
    totals.append(done)
