"""Figures are exact, come from one pass, and stay small however much there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from limio_async.report.figures import read
from limio_async.sync_jobs.events import Mode, Status, StreamReport
from limio_async.sync_jobs.ledger import DRIFT, RUNS, drift_row, run_row
from limio_async.sync_jobs.sink import Table

from . import made


def test_live_and_deleted_items_of_each_table_are_counted() -> None:
    figures = read(made.memory())
    kept = {one.table: (one.live, one.deleted) for one in figures.kept}
    for name, rows in made.tables().items():
        deleted = sum(row["deleted_at"] is not None for row in rows)
        assert kept[name] == (len(rows) - deleted, deleted)


def test_the_last_run_of_each_stream_is_told_and_the_tenant() -> None:
    figures = read(made.memory())
    assert figures.tenants == ["https://acme.prod.limio.com"]
    assert figures.runs == 14
    assert {one.stream: (one.run, one.status) for one in figures.last} == {
        name: ("run-13", {"orders": "failed", "customers": "incomplete"}.get(name, "complete"))
        for name in made.STREAMS_MADE
    }


def test_live_offers_are_counted_by_currency_price_and_term() -> None:
    figures = read(made.memory())
    live = [row for row in made.tables()["offers"] if row["deleted_at"] is None]
    assert figures.offers.total == len(live)
    assert figures.offers.unpriced == sum(row["price_amount"] is None for row in live)
    assert figures.offers.by_price.total() == len(live) - figures.offers.unpriced
    wanted = [
        row for row in live
        if (row["price_currency"], row["price_amount"], row["term_length"], row["repeat_interval_type"], row["term_type"])
        == ("GBP", 9.99, 12, "months", "months")
    ]  # fmt: skip
    assert figures.offers.by_price["GBP", "5 to 10", "12 months, charged every month"] == len(wanted) > 0


def test_prices_stand_on_steps_that_hold_for_any_currency() -> None:
    prices = {0: "free", -1: "below 0", 0.5: "0 to 1", 0.005: "0 to 1", 0.01: "0 to 1", 1: "1 to 2", 9.99: "5 to 10", 10: "10 to 20", 1999: "1,000 to 2,000", 9e9: "5,000,000 and more"}  # fmt: skip
    for price, step in prices.items():
        rows = [{**made.offer(1), "price_amount": float(price)}]
        assert [key[1] for key in read(made.Memory({"offers": rows})).offers.by_price] == [step]


def test_every_currency_is_told_in_whatever_order_offers_come() -> None:
    rows = [{**made.offer(1), "id": f"{n}", "price_currency": f"C{n % 40:02}"} for n in range(80)]
    found = read(made.Memory({"offers": rows})).offers.by_price
    assert {key[0] for key in found} == {f"C{n:02}" for n in range(40)}
    assert found == read(made.Memory({"offers": rows[::-1]})).offers.by_price


def test_what_is_no_month_is_no_date() -> None:
    starts = ["0000-00", "2026-13-01", "not a date", "20240101", "", None, "2024-02-30"]
    rows = [{"id": f"{n}", "status": "active", "start_date": start} for n, start in enumerate(starts)]
    found = read(made.Memory({"subscriptions": rows})).subscriptions
    assert (found.by_month, found.undated) == ({("2024-02", "active"): 1}, 6)


def test_subscriptions_are_counted_by_month_and_status() -> None:
    figures = read(made.memory())
    live = [row for row in made.tables()["subscriptions"] if row["deleted_at"] is None]
    month, status = f"{live[5]['created']:%Y-%m}", live[5]["status"]
    expected = sum(f"{row['created']:%Y-%m}" == month and row["status"] == status for row in live)
    assert figures.subscriptions.by_month[month, status] == expected
    assert figures.subscriptions.by_month.total() == figures.subscriptions.total == len(live)


def test_values_without_a_column_are_read_from_the_items() -> None:
    price = [
        {"value": "12.50", "currencyCode": "EUR", "repeat_interval": 3, "repeat_interval_type": "months"}
    ]
    raw = msgspec.json.encode({"data": {"price": price}})
    born = msgspec.json.encode({"status": "active", "created": "2025-12-31T23:00:00-02:00"})
    tables = {
        "offers": [{"id": f"{n}", "raw": raw} for n in range(700)],
        "subscriptions": [{"id": "1", "raw": born}, {"id": "2", "raw": b"{}"}],
    }
    figures = read(made.Memory(tables))
    assert figures.offers.by_price == {("EUR", "10 to 20", "no term, charged every 3 months"): 700}
    assert figures.subscriptions.by_month == {("2026-01", "active"): 1}
    assert figures.subscriptions.undated == 1


def test_journeys_are_grouped_by_where_they_start_and_not_told_twice() -> None:
    memory = made.memory()
    figures = read(made.Memory({**memory.tables, "journeys": memory.tables["journeys_v2"]}))
    assert [(one.starting_point, len(one.journeys)) for one in figures.journeys] == [
        ("/cancel-now/", 7),
        (made.HOSTILE, 2),
    ]
    assert figures.journeys_total == 9


def test_quarantine_is_grouped_by_reason_and_shows_no_bytes() -> None:
    figures = read(made.memory())
    first, second = figures.quarantine
    assert (first.reason, first.count, len(first.ids)) == ("getObject: 404 NotFound", 9, 5)
    assert second.count == 3
    assert first.size + second.size == sum(900 * number for number in range(12))


def test_drift_is_told_by_count() -> None:
    assert [(stream, one.count) for stream, one in read(made.memory()).drift] == [
        ("offers", 4_012),
        ("offers", 118),
        ("offers", 3),
    ]


def test_drift_that_a_later_complete_walk_did_not_find_is_gone() -> None:
    def drift(run: str, mode: Mode, status: Status) -> list[int]:
        walks: list[tuple[str, Mode, Status]] = [("seen", "full", "complete"), ("later", mode, status)]
        reports = [
            StreamReport(run=name, stream="offers", table_name="offers", mode=how, status=end, started=made.NOW + timedelta(hours=hour))
            for hour, (name, how, end) in enumerate(walks)
        ]  # fmt: skip
        tables = {
            RUNS.name: [dict(zip([one.name for one in RUNS.columns], run_row(one), strict=True)) for one in reports],
            DRIFT.name: [dict(zip([one.name for one in DRIFT.columns], drift_row(made.findings()[0], run, "offers"), strict=True))],
        }  # fmt: skip
        return [finding.count for _, finding in read(made.Memory(tables)).drift]

    assert drift("seen", "full", "complete") == []
    assert drift("later", "full", "complete") == [4_012]
    assert drift("seen", "full", "incomplete") == [4_012]
    assert drift("seen", "incremental", "complete") == [4_012]


def test_a_target_without_tables_is_told_as_such() -> None:
    figures = read(made.Memory({}))
    for nothing in (
        figures.kept,
        figures.last,
        figures.turns,
        figures.journeys,
        figures.quarantine,
        figures.drift,
    ):
        assert list(nothing) == []
    assert figures.offers.total == figures.subscriptions.total == figures.quarantined == 0


def test_runs_of_few_days_are_told_one_by_one_those_of_many_by_day() -> None:
    def runs(days: int) -> list[dict[str, Any]]:
        reports = [
            StreamReport(run=f"{day}-{turn}", stream="offers", table_name="offers", mode="full", started=made.NOW + timedelta(days=day, hours=turn), inserted=2, seen=5 + turn)
            for day in range(days)
            for turn in range(3)
        ]  # fmt: skip
        return [dict(zip([one.name for one in RUNS.columns], run_row(one), strict=True)) for one in reports]

    few, many = (read(made.Memory({RUNS.name: runs(days)})) for days in (2, 9))
    assert (few.daily, len(few.turns)) == (False, 6)
    assert (many.daily, len(many.turns)) == (True, 9)
    assert {(one.inserted, one.seen) for one in many.turns} == {(6, 7)}


class Endless:
    """Two hundred thousand rows of each table, none like another, made as they are read."""

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        if table.name in {"offers", "subscriptions", "_limio_quarantine"}:
            for n in range(200_000):
                row = {
                    "id": f"{n}", "price_amount": n / 7, "price_currency": f"C{n}", "term_length": n, "term_type": "days",
                    "status": f"status {n}", "created": made.NOW, "stream": "offers", "reason": f"reason {n}", "item_id": f"{n}", "raw": b"{}",
                }  # fmt: skip
                yield {column.name: row.get(column.name) for column in table.columns}


def test_figures_stay_small() -> None:
    figures = read(Endless())
    assert (
        figures.offers.by_price.total()
        == figures.subscriptions.by_month.total()
        == figures.quarantined
        == 200_000
    )
    assert len(figures.offers.by_price) < 2_000
    assert len(figures.subscriptions.by_month) == 21
    assert len(figures.quarantine) == 201
