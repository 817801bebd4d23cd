"""What a target holds after a night, read by other means than the job's own, against what it must hold."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.judges.nights_tenant import Truth

__all__ = ["Verdict", "ask_postgres", "ask_sqlite", "judged"]

Ask = Callable[[str], list[tuple[Any, ...]]]


def ask_sqlite(file: Path) -> Ask:
    """Return what reads a SQLite file."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(statement.replace("$RAW", "CAST(raw AS BLOB)")).fetchall()

    return ask


def ask_postgres(url: str) -> Ask:
    """Return what reads a PostgreSQL database."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as db:
            return db.execute(statement.replace("$RAW", "convert_to(raw::text, 'UTF8')").encode()).fetchall()

    return ask


@dataclass
class Verdict:
    """What came of a night, in numbers; `faults` says which."""

    well: int = 0
    odd: int = 0
    refused: int = 0
    stale: int = 0
    gone: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def items(self) -> int:
        """Items that were there, refused ones included."""
        return self.well + self.odd + self.refused

    def blame(self, what: str, said: str) -> None:
        """Count a fault."""
        setattr(self, what, getattr(self, what) + 1)
        if len(self.faults) < 60:
            self.faults.append(f"{what}: {said}")


def judged(ask: Ask, truth: Mapping[str, Truth], *, exact: bool) -> Verdict:
    """Compare all tables and the quarantine with *truth*; *exact*: the target keeps JSON byte for byte."""
    verdict = Verdict()
    quarantined: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for stream, key, raw in ask(
        "SELECT stream, item_id, raw FROM _limio_quarantine WHERE deleted_at IS NULL"
    ):
        quarantined[stream].append((key, bytes(raw or b"")))
    for stream, one in truth.items():
        table = stream.replace(".", "_")
        rows = ask(f'SELECT id, $RAW, deleted_at IS NOT NULL, stale_since IS NOT NULL FROM "{table}"')  # noqa: S608
        _compare(verdict, stream, one, rows, quarantined[stream], exact=exact)
    return verdict


def _compare(
    verdict: Verdict,
    stream: str,
    truth: Truth,
    rows: Iterable[tuple[str, Any, Any, Any]],
    quarantined: Iterable[tuple[str, bytes]],
    *,
    exact: bool,
) -> None:
    held = [(key, bytes(raw), bool(deleted), bool(stale)) for key, raw, deleted, stale in rows]
    for key, count in Counter(key for key, *_ in held).items():
        if count > 1:
            verdict.blame("doubled", f"{stream}: {key} is there {count} times")
    live = {key: (raw, stale) for key, raw, deleted, stale in held if not deleted}
    deleted = {key for key, _, is_deleted, _ in held if is_deleted}
    for key, raw in truth.well.items():
        verdict.well += 1
        _row(verdict, f"{stream}: {key}", live.pop(key, None), raw, stale=False, exact=exact)
    for key, raw in truth.stale.items():
        verdict.stale += 1
        _row(verdict, f"{stream}: {key} (stale)", live.pop(key, None), raw, stale=True, exact=exact)
    bytes_held = {raw for _, raw in quarantined}
    for odd in truth.odd:
        verdict.odd += 1
        as_row = (
            [key for key, (raw, _) in live.items() if _same(raw, odd.raws[0], exact)] if odd.storable else []
        )
        if as_row:
            del live[as_row[0]]
        if bool(as_row) == any(raw in bytes_held for raw in odd.raws):
            verdict.blame("doubled" if as_row else "lost", f"{stream}: {odd.kind} {odd.raws[0][:60]!r}")
    keys_held = dict(quarantined)
    for key, raw in truth.refused.items():
        verdict.refused += 1
        if key not in keys_held:
            verdict.blame("lost", f"{stream}: {key}, refused, is not in quarantine")
        elif keys_held[key] != raw:
            verdict.blame("wrong", f"{stream}: {key}, refused, has {keys_held[key][:60]!r}")
    for key in truth.well:
        if key in keys_held:
            verdict.blame("wrong", f"{stream}: {key} is well and in quarantine")
    for key in truth.gone:
        verdict.gone += 1
        if key not in deleted:
            verdict.blame("wrong", f"{stream}: {key} is gone and not marked")
    for key in live:
        verdict.blame("wrong", f"{stream}: {key} should not be there")
    for key in deleted - truth.gone:
        verdict.blame("wrong", f"{stream}: {key} is marked as deleted")


def _row(
    verdict: Verdict, name: str, found: tuple[bytes, bool] | None, raw: bytes, *, stale: bool, exact: bool
) -> None:
    if found is None:
        verdict.blame("lost", name)
    elif not _same(found[0], raw, exact):
        verdict.blame("wrong", f"{name} has other bytes")
    elif found[1] != stale:
        verdict.blame("wrong", f"{name} is {'' if found[1] else 'not '}stale")


def _same(held: bytes, sent: bytes, exact: bool) -> bool:
    if exact:
        return held == sent
    try:
        return bool(json.loads(held) == json.loads(sent))
    except ValueError:
        return False
