"""An inbox that has been in use for years: a tenth of its events parked, a few still open, the rest done."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from benchmarks.sync_stage import POSTGRES
from limio_async.webhooks.schema import EVENTS, KEYS

__all__ = ["fill"]

_STATE = "CASE WHEN n % 10 = 3 THEN 'parked' WHEN n % 1000 = 1 THEN 'open' ELSE 'done' END"
_EVENTS = (
    "SELECT 'order_submitted', 'order-' || n, 1, 'order', 'sub-' || n / 4, 'digest-' || n, 1767225600000000,"
    f' \'{{"id":"order-\' || n || \'","comment":"{"x" * 200}"}}\', {_STATE}, \'\' FROM numbers'
)
_OPEN = f"SELECT min(seq) FROM {{0}}{EVENTS} t WHERE t.key = k.key AND t.state = 'open'"


def fill(store: str, count: int) -> None:
    """Add so many events, four of each key, to an inbox that is there."""
    if store.startswith("sqlite"):
        numbers = (
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
        )
        with closing(sqlite3.connect(store.removeprefix("sqlite:///"), isolation_level=None)) as db:
            for statement in _statements(numbers, ""):
                db.execute(statement)
        return
    numbers = f"WITH numbers AS (SELECT generate_series(1, {count}) AS n)"
    with psycopg.connect(POSTGRES, autocommit=True) as pg:
        prefix = f"{store.rpartition('=')[2]}."
        for statement in [
            *_statements(numbers, prefix),
            f"ANALYZE {prefix}{EVENTS}",
            f"ANALYZE {prefix}{KEYS}",
        ]:
            pg.execute(statement.encode())


def _statements(numbers: str, prefix: str) -> list[str]:
    keys = f"INSERT INTO {prefix}{KEYS} (key) {numbers} SELECT DISTINCT 'sub-' || n / 4 FROM numbers"
    columns = "type, thing, came, object, key, digest, updated, body, state, marks"
    events = f"INSERT INTO {prefix}{EVENTS} ({columns}) {numbers} {_EVENTS}"
    found = _OPEN.format(prefix)
    heads = f"UPDATE {prefix}{KEYS} AS k SET head = ({found}) WHERE EXISTS ({found.replace('min(seq)', '1')})"
    return [keys, events, heads]
