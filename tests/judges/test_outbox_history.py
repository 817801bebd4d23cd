"""An outbox whose database forgets, or whose session ends, doubles nothing. See `outbox_history`, `make kill` for all."""

from __future__ import annotations

import pytest

from tests.judges import outbox_history
from tests.judges.outbox_history import Mode, judge

pytestmark = pytest.mark.judge


@pytest.mark.parametrize(
    ("name", "store", "mode"),
    [("yesterday's file", "SQLite", "resend"), ("loses its session", "PostgreSQL", "park")],
)
async def test_whatever_befalls_it_each_key_has_one_order_at_most(
    name: str, store: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_history, "COUNT", 80)
    assert (await judge(name, store, mode, seed=19)).faults == []
