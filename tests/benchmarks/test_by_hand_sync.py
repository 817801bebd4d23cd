"""The yardstick of `limio sync` does its work: what is fast by leaving something out would be none."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from benchmarks.peers import by_hand_sync
from benchmarks.peers.by_hand_sync import Duckdb, Offer, Postgres, Sqlite, Target, sync
from benchmarks.server import serving
from tests.sync_jobs.sinks.targets import POSTGRES, schema_of_postgres

ROOT = Path(__file__).parents[2]
Opened = Callable[[], Target]


@pytest.fixture(params=["sqlite", "postgres", "duckdb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens one and the same target."""
    match request.param:
        case "sqlite":
            yield lambda: Sqlite(str(tmp_path / "offers.db"))
        case "duckdb":
            pytest.importorskip("duckdb")
            yield lambda: Duckdb(str(tmp_path / "offers.duckdb"))
        case _:
            name = f"limio_by_hand_{os.getpid()}"
            with schema_of_postgres(name):
                place = f"{POSTGRES}?options=-csearch_path%3D{name}"
                with psycopg.connect(POSTGRES, autocommit=True) as db:
                    db.execute(f"CREATE SCHEMA {name}".encode())
                yield lambda: Postgres(place)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[list[Offer]]:
    """The pages that the tenant answers with."""
    given: list[list[Offer]] = []

    async def pages(url: str, size: int) -> AsyncIterator[list[Offer]]:
        for page in given:
            yield page

    monkeypatch.setattr(by_hand_sync, "pages", pages)
    return given


def offer(number: int, text: str = "as it was") -> Offer:
    raw = msgspec.Raw(msgspec.json.encode({"id": f"o-{number}", "text": text}))
    return Offer(f"o-{number}", text.encode(), raw)


def held(target: Target) -> dict[str, tuple[bytes, Any, bool]]:
    rows = target._db.execute("SELECT id, hash, raw, deleted_at FROM offers").fetchall()  # type: ignore[attr-defined]
    return {
        one: (content, raw if isinstance(raw, dict) else json.loads(raw), deleted is not None)
        for one, content, raw, deleted in rows
    }


def synced(opened: Opened) -> dict[str, int]:
    with closing(opened()) as target:
        return dict(asyncio.run(sync("", target, 2)))


def wanted(*offers: Offer, deleted: Sequence[Offer] = ()) -> dict[str, tuple[bytes, Any, bool]]:
    return {one.id: (one.hash, json.loads(one.text), one in deleted) for one in (*offers, *deleted)}


def test_it_writes_what_is_new_or_changed_and_marks_what_is_gone(
    opened: Opened, listed: list[list[Offer]]
) -> None:
    first, second, third = (offer(number) for number in range(3))
    listed += [[first, second], [third]]
    assert synced(opened) == {"written": 3, "unchanged": 0, "deleted": 0}
    assert synced(opened) == {"written": 0, "unchanged": 3, "deleted": 0}

    changed, fourth = offer(1, "another"), offer(3)
    listed[:] = [[first, changed], [fourth]]
    assert synced(opened) == {"written": 2, "unchanged": 1, "deleted": 1}
    assert synced(opened) == {"written": 0, "unchanged": 3, "deleted": 0}
    with closing(opened()) as target:
        assert held(target) == wanted(first, changed, fourth, deleted=[third])

    listed[:] = [[first, changed, third]]
    assert synced(opened) == {"written": 1, "unchanged": 2, "deleted": 1}
    with closing(opened()) as target:
        assert held(target) == wanted(first, changed, third, deleted=[fourth])


def test_it_follows_the_cursors_of_a_list_to_its_end(tmp_path: Path) -> None:
    with serving(1_200) as url:
        command = [
            sys.executable,
            "-m",
            "benchmarks.peers.by_hand_sync",
            url,
            "sqlite",
            f"{tmp_path}/o.db",
            "500",
        ]
        first, again = (
            json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
            for _ in range(2)
        )
    assert first == {"written": 1_200, "unchanged": 0, "deleted": 0}
    assert again == {"written": 0, "unchanged": 1_200, "deleted": 0}


def test_sqlite_is_as_careful_as_the_sink(tmp_path: Path) -> None:
    with closing(Sqlite(str(tmp_path / "offers.db"))) as target:
        (journal,) = target._db.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = target._db.execute("PRAGMA synchronous").fetchone()
    assert (journal, synchronous) == ("wal", 2)  # 2 is FULL


def test_nothing_of_ours_is_in_it() -> None:
    for name in ("by_hand_sync", "asked"):
        source = ROOT / f"benchmarks/peers/{name}.py"
        parsed = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        imported = [one.module or "" for one in parsed if isinstance(one, ast.ImportFrom)]
        assert not [one for one in imported if one.startswith("limio_async")]
