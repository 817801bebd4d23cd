"""Made-up targets of a sync, small and large, with everything that a report tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from limio_async.drift.findings import Finding
from limio_async.sync_jobs.events import Status, StreamReport
from limio_async.sync_jobs.ledger import (
    DRIFT,
    LEDGER,
    QUARANTINE,
    RUNS,
    STREAMS,
    drift_row,
    quarantine_row,
    run_row,
    stream_row,
)
from limio_async.sync_jobs.rows import table_of
from limio_async.sync_jobs.sink import Change, Condition, Sink, Table
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.streams import stream

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=\"document.title='broken into'\">"
STREAMS_MADE = {"offers": 4_200, "subscriptions": 2_600, "orders": 9_100, "products": 310, "journeys_v2": 9, "customers": 2_450}  # fmt: skip
PRICES = (0, 0.5, 4, 9.99, 12, 19, 29, 49, 99, 120, 240)
STATUSES = ("active", "active", "active", "pending", "cancelled", "expired", "initial")


class Memory:
    """Rows by the name of their table; counts how many were read."""

    def __init__(self, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        self.tables = tables
        self.read = 0

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        for row in self.tables.get(table.name, ()):
            self.read += 1
            yield {column.name: row.get(column.name) for column in table.columns}


def held(table: Table, row: Sequence[Any]) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(zip([one.name for one in table.columns], row, strict=True))


def offer(number: int) -> dict[str, Any]:
    """A row of `offers`."""
    return {
        "id": f"offer-{number}",
        "name": HOSTILE if number == 1 else f"Offer {number}",
        "status": "active",
        "price_amount": None if number % 23 == 0 else float(PRICES[number % len(PRICES)]),
        "price_currency": ("GBP", "GBP", "EUR", "USD", HOSTILE)[number % 5],
        "term_length": None if number % 3 == 0 else 12,
        "term_type": HOSTILE if number % 41 == 0 else "months",
        "repeat_interval": 1,
        "repeat_interval_type": "years" if number % 4 == 0 else "months",
        "deleted_at": NOW if number % 37 == 0 else None,
        "stale_since": NOW if number in {5, 38, 74} else None,
    }


def subscription(number: int) -> dict[str, Any]:
    """A row of `subscriptions`."""
    created = NOW - timedelta(days=(number * number) % 860)
    return {
        "id": f"sub-{number}",
        "status": STATUSES[number % len(STATUSES)],
        "created": created,
        "start_date": f"{created:%Y-%m-%d}",
        "deleted_at": NOW if number % 53 == 0 else None,
    }


def journey(number: int) -> dict[str, Any]:
    """A row of `journeys_v2`."""
    segment = (
        HOSTILE if number == 2 else f"/segments/Interest/{('Finance', 'Sport', 'Food')[number % 3]} {number}"
    )
    discount = HOSTILE if number == 2 else "/tags/cancel-discount"
    values = [
        {"id": "a", "tag": discount, "split": "60"},
        {"id": "b", "tag": "/tags/cancel-pause", "split": 40},
    ]
    raw = {
        "id": f"journey-{number}",
        "conditions": [{"id": "c", "type": "segment", "value": segment}]
        + ([{"id": "d", "type": "tenure", "value": 12}] if number % 4 == 0 else []),
        "actions": [{"id": "e", "type": "destination", "values": values[: 1 + number % 2]}],
    }
    return {
        "id": f"journey-{number}",
        "starting_point": "/cancel-now/" if number < 7 else HOSTILE,
        "fallback_tag": "/tags/cancel/",
        "raw": msgspec.json.encode(raw),
        "deleted_at": None,
    }


MAKERS = {"offers": offer, "subscriptions": subscription, "journeys_v2": journey}


def report(name: str, day: int, status: Status = "complete", **more: Any) -> StreamReport:
    """What one of the last fourteen nights has done."""
    count = STREAMS_MADE.get(name, 100)
    seen = int(count * (0.8 + 0.2 * (day + 1) / 14))
    began = NOW - timedelta(days=13 - day, hours=10)
    values: dict[str, Any] = {
        "expected": None if name == "customers" else seen,
        "seen": seen,
        "inserted": seen if day == 0 else (day * 37) % 90,
        "updated": (day * 53) % 140,
        "unchanged": int(seen * 0.9),
        "deleted": (day * 11) % 25,
        "retries": day % 3,
        "ended": began + timedelta(seconds=12.3 + count / 150),
        **more,
    }
    return StreamReport(run=f"run-{day:02}", origin="https://acme.prod.limio.com", stream=name, table_name=name, mode="full", status=status, started=began, **values)  # fmt: skip


def reports() -> list[StreamReport]:
    """A fortnight of nights. One stream fails since the last three, another is short in the last; more went wrong before."""
    found = [report(name, day) for day in range(14) for name in STREAMS_MADE]
    away: dict[str, Any] = {"error": "listObjects: 502 upstream fault, after 5 attempts in 61 s"}
    none = {"seen": 0, "inserted": 0, "updated": 0, "unchanged": 0, "deleted": 0}
    special = [
        report("offers", 3, "interrupted", **none),
        report("customers", 3, "interrupted", **none),
        report("subscriptions", 6, "incomplete", error="2,500 different items came, 2,530 were promised"),
        report("orders", 6, "failed", **none, **away),
        report("orders", 11, "failed", **none, **away),
        report("orders", 12, "failed", **none, **away),
        report("products", 13, unfiltered=f"the filter hides 226 of 310 items {HOSTILE}"),
        report("orders", 13, "failed", error="listObjects: 502 upstream fault, after 5 attempts in 61 s"),
        report("customers", 13, "incomplete", error=f"12 customers could not be fetched whole {HOSTILE}", quarantined=12),
    ]  # fmt: skip
    replaced = {(one.run, one.stream): one for one in special}
    return [replaced.get((one.run, one.stream), one) for one in found]


def findings() -> list[Finding]:
    """Drift of every kind."""
    return [
        Finding(model="OfferData", path="$.data.loyaltyTier", kind="field", found="string", count=4_012, example="a string of 6 characters"),
        Finding(model="Charge", path="$.data.price[].value", kind="type", found="array", count=3, example="a list of 2"),
        Finding(model="Subscription", path="$.status", kind="value", found="paused", count=118, example="a string of 6 characters"),
    ]  # fmt: skip


def tables(counts: Mapping[str, int] = STREAMS_MADE) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of the streams' tables."""
    return {
        name: [MAKERS.get(name, _plain)(number) for number in range(count)] for name, count in counts.items()
    }


def _plain(number: int) -> dict[str, Any]:
    return {"id": f"item-{number}", "deleted_at": NOW if number % 29 == 0 else None}


def streams() -> list[tuple[Any, ...]]:
    """Rows of `STREAMS`, as the nights have left them."""
    found: dict[str, tuple[Any, ...]] = {}
    for one in reports():
        before = found.get(one.table_name)
        found[one.table_name] = stream_row(one, {} if before is None else held(STREAMS, before))
    return [*found.values()]


def ledger() -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the tables beside the streams'."""
    last = [one for one in reports() if one.run == "run-13"]
    bad = [
        quarantine_row(last[0], f"cus-{number}", "getObject: 404 NotFound" if number % 4 else HOSTILE, b"x" * 900 * number, NOW)
        for number in range(12)
    ]  # fmt: skip
    bad.append((*quarantine_row(last[0], "cus-well", "was odd", b"{}", NOW)[:-1], NOW))
    return {
        RUNS.name: [run_row(one) for one in reports()],
        STREAMS.name: streams(),
        QUARANTINE.name: bad,
        DRIFT.name: [drift_row(one, "run-13", "offers") for one in findings()],
    }


def memory() -> Memory:
    """A whole target in memory."""
    beside = {
        table.name: [held(table, row) for row in ledger()[table.name]]
        for table in LEDGER
    }  # fmt: skip
    return Memory({**tables(), **beside})


def crowded() -> Memory:
    """A target with long names and large counts."""
    names = ["published_catalog_items:rate_plan", "subscriptions.events@zuora", "partner_organisations"]
    counts = dict.fromkeys(
        ("expected", "seen", "inserted", "updated", "unchanged", "deleted", "retries"), 1_234_567
    )
    runs = [report(name, 13, "incomplete", **counts, quarantined=12_345, ended=NOW) for name in names]
    rows = {RUNS.name: [run_row(one) for one in runs], STREAMS.name: [stream_row(one, {}) for one in runs]}
    beside = {table.name: [held(table, row) for row in rows.get(table.name, [])] for table in LEDGER}
    return Memory(beside)


def sqlite(file: Path, counts: Mapping[str, int] = STREAMS_MADE) -> str:
    """A whole target in a SQLite file; its URL."""
    url = f"sqlite:///{file}"
    sink = open_sink(url)
    sink.open()
    try:
        made = {name: table_of(stream(name), "full") for name in counts}
        sink.prepare([*LEDGER, *made.values()])
        for name, rows in tables(counts).items():
            _write(sink, made[name], rows)
        sink.apply([Change(table, ledger()[table.name]) for table in LEDGER])
    finally:
        sink.close()
    return url


def _write(sink: Sink, table: Table, rows: list[Mapping[str, Any]]) -> None:
    values = [tuple({"raw": b"{}", "hash": "-", **row}.get(column.name) for column in table.columns) for row in rows]  # fmt: skip
    sink.apply([Change(table, values)])
