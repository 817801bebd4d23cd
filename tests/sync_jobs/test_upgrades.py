"""What an earlier release left is gone on with, and what a newer one left is refused before anything is written."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from limio_async import errors
from tests.sync_jobs.released import LEFT_AT, Tenant, held, known, left, set_clock, sync, unpacked
from tests.sync_jobs.sinks.targets import POSTGRES

KINDS = ["sqlite", "duckdb", "ndjson", "postgresql"]
EXPECTED = {  # updated, unchanged
    "offers": (12, 0),  # `created` and the like are read from `data` now
    "customers": (12, 0),
    "orders": (12, 0),  # two columns are new
    "subscriptions": (12, 0),  # `created` is no time of change any more
    "subscriptions.events": (12, 0),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_of_release_0_1_is_gone_on_with(kind: str, tmp_path: Path) -> None:
    before = known("known")
    with left(kind, tmp_path) as to:
        assert held(to) == before
        report = await sync(Tenant(), to, tmp_path / "state")
        after = held(to)
        again = await sync(Tenant(), to, tmp_path / "state")
    assert report.complete
    for one in report.streams:
        assert (one.inserted, one.updated, one.unchanged, one.deleted) == (0, *EXPECTED[one.stream], 0)
        earlier = before["watermarks"][one.table_name]
        assert str(one.watermark and one.watermark.isoformat()) >= str(earlier or "")
    for name in before.keys() - {"watermarks", "quarantine"}:
        assert {key: row["deleted"] for key, row in after[name].items()} == {
            key: row["deleted"] for key, row in before[name].items()
        }
    assert after["quarantine"] == before["quarantine"]
    assert [(one.inserted, one.updated, one.deleted) for one in again.streams] == [(0, 0, 0)] * 5


@pytest.mark.parametrize("kind", KINDS)
async def test_versions_that_release_0_1_appended_are_not_appended_again(kind: str, tmp_path: Path) -> None:
    with left(kind, tmp_path) as to:
        report = await sync(Tenant(), to, tmp_path / "state", streams=["customers"], mode="append")
        assert held(to)["customers_history"] == known("known")["customers_history"]
    (one,) = report.streams
    assert (one.status, one.inserted) == ("complete", 0)
    since = datetime.fromisoformat(known("known")["watermarks"]["customers_history"])
    assert one.watermark == since  # which was kept


@pytest.mark.parametrize("later", [timedelta(minutes=5), timedelta(days=40)], ids=["soon", "later"])
async def test_a_run_that_was_killed_under_release_0_1_comes_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: timedelta
) -> None:
    to, state = unpacked("interrupted.db", tmp_path / "limio.db"), tmp_path / "limio.db.state"
    unpacked("interrupted.db.state", state)
    before = known("interrupted")
    set_clock(monkeypatch, LEFT_AT + later)
    tenant = Tenant()
    names = ["offers", "orders", "subscriptions"]
    url = f"sqlite:///{to}"
    report = await sync(tenant, url, state, streams=names, hydrate=True)
    assert report.complete
    found = held(url)
    for name in names:
        ids = {json.loads(item)["id"] for page in _lists(tenant, name) for item in page}
        assert {key for key, row in found[name].items() if not row["deleted"]} == ids
        assert found[name].keys() == before[name].keys() | ids
    assert found["offers"]["gone"]["deleted"]
    with closing(sqlite3.connect(to)) as db:
        raw = {one: json.loads(text) for one, text in db.execute("SELECT id, raw FROM subscriptions")}
    assert all(raw[one]["data"]["name"].startswith("Subscription") for one in raw)  # whole
    assert not state.exists()
    again = await sync(Tenant(), url, state, streams=names, hydrate=True)
    assert [(one.inserted, one.deleted) for one in again.streams] == [(0, 0)] * 3
    last = await sync(
        Tenant(), url, state, streams=names, hydrate=True
    )  # offers that 0.1 had written are read anew once
    assert [(one.inserted, one.updated, one.deleted) for one in last.streams] == [(0, 0, 0)] * 3


def _lists(tenant: Tenant, name: str) -> list[list[str]]:
    return tenant.lists[name] if name == "offers" else tenant.lists[f"objects/limio/{name}"]


# --- newer ones


def _make_newer(kind: str, to: str, folder: Path) -> None:
    statement = "UPDATE _limio_meta SET value = '99' WHERE key = 'version'"
    match kind:
        case "duckdb":
            with closing(duckdb.connect(str(folder / "limio.duckdb"))) as db:
                db.execute(statement)
        case "postgresql":
            with psycopg.connect(POSTGRES, autocommit=True) as admin:
                schema = to.rpartition("schema=")[2]
                admin.execute(statement.replace("_limio_meta", f'"{schema}"._limio_meta').encode())
        case _:
            file = folder / ("limio.db" if kind == "sqlite" else "files/_limio/store.db")
            with closing(sqlite3.connect(file)) as db:
                db.execute(statement)
                db.commit()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_of_a_newer_release_is_refused(kind: str, tmp_path: Path) -> None:
    with left(kind, tmp_path) as to:
        _make_newer(kind, to, tmp_path)
        before, files = held(to), _bytes(tmp_path)
        tenant = Tenant()
        with pytest.raises(errors.JobError, match=r"newer release of limio_async.*update limio_async"):
            await sync(tenant, to, tmp_path / "state")
        assert held(to) == before
        assert _bytes(tmp_path) == files
        assert tenant.asked == []


def _bytes(folder: Path) -> dict[str, Any]:
    """What files hold; what SQLite and locks put beside them does not count."""
    wanted = [
        one for one in folder.rglob("*") if one.is_file() and one.suffix in {".db", ".duckdb", ".ndjson"}
    ]
    return {str(one): one.read_bytes() for one in wanted}


async def test_a_state_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    to, state = unpacked("interrupted.db", tmp_path / "limio.db"), tmp_path / "limio.db.state"
    with closing(sqlite3.connect(unpacked("interrupted.db.state", state))) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
        db.commit()
    before, kept = to.read_bytes(), held(f"sqlite:///{to}")
    with pytest.raises(errors.JobError, match="newer release of limio_async"):
        await sync(Tenant(), f"sqlite:///{to}", state)
    with closing(sqlite3.connect(state)) as db:
        assert db.execute("SELECT count(*) FROM walks").fetchone() == (3,)
    assert held(f"sqlite:///{to}") == kept
    assert to.read_bytes() == before
