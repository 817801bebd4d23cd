"""What a target holds, in figures. Pure: reads rows, one pass over each table, and keeps only counts."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from typing import Any, Protocol

import msgspec

from limio_async.api.models import Journey
from limio_async.core.wire import UNDECODABLE
from limio_async.drift.findings import Finding
from limio_async.sync_jobs.columns import value_at
from limio_async.sync_jobs.events import Status, StreamReport
from limio_async.sync_jobs.ledger import QUARANTINE, RUNS, STREAMS, drifted, in_quarantine, report_of
from limio_async.sync_jobs.sink import Column, Table
from limio_async.sync_jobs.status import Standing, standing_of
from limio_async.sync_jobs.streams import stream

__all__ = [
    "Figures",
    "Journeys",
    "Kept",
    "Offers",
    "Quarantined",
    "Reads",
    "Subscriptions",
    "Tally",
    "Turn",
    "read",
]

_LOOKED_AT = 500
_MOST_GROUPS = 200
_MOST_IDS = 5
_MOST_JOURNEYS = 500
_MOST_CURRENCIES = 200
"""More than there are in the world."""
_MOST_TERMS = 40
_MOST_STATUSES = 20
_MOST_RUNS = 2_000
_MOST_DAYS = 3
_STEPS = [0.0, *(step * 10**power for power in range(7) for step in (1, 2, 5))]
_OTHER = "other"
_MONTH = re.compile(r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)

Tally = Counter[tuple[str, ...]]
"""How many there are of each combination."""


class Reads(Protocol):
    """What is asked of a sink."""

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        """All rows of a table, as dicts by column; none if it is not there."""
        ...


class Kept(msgspec.Struct, frozen=True):
    """How many rows a table holds."""

    table: str
    stream: str
    live: int
    deleted: int
    stale: int = 0
    """Live rows that could not be refreshed and keep older values."""


class Turn(msgspec.Struct):
    """What the runs that began together, or on one day, have done with a stream."""

    at: datetime
    stream: str
    seen: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    quarantined: int = 0
    ended: Counter[Status] = msgspec.field(default_factory=Counter)
    """How many runs came to each status."""


class Offers(msgspec.Struct, frozen=True):
    """Live offers."""

    by_price: Tally
    """By currency, price step (`10 to 20`) and term."""
    total: int
    unpriced: int


class Subscriptions(msgspec.Struct, frozen=True):
    """Live subscriptions."""

    by_month: Tally
    """By the month in which they were created (`2026-01`) and status."""
    total: int
    undated: int


class Journeys(msgspec.Struct, frozen=True):
    """The journeys from one starting point; visitors whom none of them wants go to the fallback."""

    starting_point: str
    fallback: str
    journeys: list[Journey]


class Quarantined(msgspec.Struct):
    """Items of a stream that are in quarantine for one reason."""

    stream: str
    reason: str
    count: int = 0
    size: int = 0
    """In bytes, of all of them."""
    ids: list[str] = []
    """The first five."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page tells."""

    tenants: list[str]
    last: list[StreamReport]
    """The last run of each stream."""
    standings: list[Standing]
    """How each stream stands: age, failures."""
    runs: int
    turns: list[Turn]
    daily: bool
    """Whether turns are days rather than runs."""
    kept: list[Kept]
    offers: Offers
    subscriptions: Subscriptions
    journeys: list[Journeys]
    journeys_total: int
    quarantine: list[Quarantined]
    quarantined: int
    drift: list[tuple[str, Finding]]
    """With the stream; what was seen most comes first."""


def read(sink: Reads) -> Figures:
    """The figures of a target."""
    streams = {row["id"]: row for row in sink.rows(STREAMS)}
    told = _Runs()
    standings = standing_of(streams, map(told.add, map(report_of, sink.rows(RUNS))), {})
    last = [one.last_run for one in standings if one.last_run is not None]
    turns, daily = told.turns()
    journeys, journeys_total = _journeys(sink)
    quarantine, quarantined = _quarantine(in_quarantine(sink.rows(QUARANTINE)))
    return Figures(
        tenants=sorted({row["origin"] for row in streams.values() if row["origin"]}),
        last=sorted(last, key=lambda one: one.stream),
        standings=sorted(standings, key=lambda one: (one.stream, one.table)),
        runs=told.count,
        turns=turns,
        daily=daily,
        kept=[_kept(sink, one) for one in standings],
        offers=_offers(_live(sink, "offers", _OFFER)),
        subscriptions=_subscriptions(_live(sink, "subscriptions", _SUBSCRIPTION)),
        journeys=journeys,
        journeys_total=journeys_total,
        quarantine=quarantine,
        quarantined=quarantined,
        drift=sorted(drifted(sink), key=lambda one: (-one[1].count, one[0], one[1].path)),
    )


# --- runs


class _Runs:
    """Counts what runs have done, run by run as long as these are few, and day by day."""

    def __init__(self) -> None:
        self._by_run: dict[tuple[str, str], Turn] | None = {}
        self._by_day: dict[tuple[str, str], Turn] = {}
        self._began: dict[str, datetime] = {}

    def add(self, one: StreamReport) -> StreamReport:
        """Count a report, and return it."""
        self._began[one.run] = min(one.started, self._began.get(one.run, one.started))
        day = one.started.replace(hour=0, minute=0, second=0, microsecond=0)
        _add(self._by_day.setdefault((day.isoformat(), one.stream), Turn(day, one.stream)), one)
        if self._by_run is not None:
            _add(self._by_run.setdefault((one.run, one.stream), Turn(one.started, one.stream)), one)
            self._by_run = self._by_run if len(self._by_run) <= _MOST_RUNS else None
        return one

    @property
    def count(self) -> int:
        """How many runs there were."""
        return len(self._began)

    def turns(self) -> tuple[list[Turn], bool]:
        """Return what was done by time and stream, and whether times are days rather than runs."""
        turns, daily = self._by_run, False
        if turns is None or len({day for day, _ in self._by_day}) > _MOST_DAYS:
            turns, daily = self._by_day, True
        else:  # the streams of a run begin one after the other
            for (run, _), turn in turns.items():
                turn.at = self._began[run]
        return sorted(turns.values(), key=lambda one: (one.at, one.stream)), daily


def _add(turn: Turn, report: StreamReport) -> None:
    turn.seen = max(turn.seen, report.seen)
    turn.inserted += report.inserted
    turn.updated += report.updated
    turn.deleted += report.deleted
    turn.quarantined += report.quarantined
    turn.ended[report.status] += 1


def _kept(sink: Reads, one: Standing) -> Kept:
    times = (Column("deleted_at", "time"), Column("stale_since", "time"))
    counts = Counter(
        "deleted" if row["deleted_at"] else "stale" if row["stale_since"] else "live"
        for row in sink.rows(Table(name=one.table, columns=(Column("id"), *times)))
    )
    return Kept(one.table, one.stream, counts["live"] + counts["stale"], counts["deleted"], counts["stale"])


# --- items

_OFFER = (
    "price_amount",
    "price_currency",
    "term_length",
    "term_type",
    "repeat_interval",
    "repeat_interval_type",
)
_SUBSCRIPTION = ("status", "created", "start_date")


def _live(sink: Reads, name: str, wanted: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The wanted values of the live rows of a stream; from the items themselves where the table has no column."""
    spots = {spot.name: spot for spot in stream(name).spots if spot.name in set(wanted)}
    columns = (Column("id"), *(Column(spot.name, spot.kind) for spot in spots.values()), Column("deleted_at", "time"))  # fmt: skip
    table = Table(name=name, columns=columns)
    rows = sink.rows(table)
    first = list(islice(rows, _LOOKED_AT))
    missing = [spot for spot in spots.values() if all(row[spot.name] is None for row in first)]
    if missing and first:
        rows = _filled(sink.rows(Table(name=name, columns=(*columns, Column("raw", "json")))), missing)
        first = []
    yield from (row for row in chain(first, rows) if row["deleted_at"] is None)


def _filled(rows: Iterable[dict[str, Any]], missing: Iterable[Any]) -> Iterator[dict[str, Any]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    for row in rows:
        try:
            item: dict[str, Any] = decoder.decode(row["raw"]) if row["raw"] else {}
        except UNDECODABLE:  # what it holds is not known; that there is one is
            item = {}
        yield {**row, **{spot.name: value_at(item, spot) for spot in missing if row[spot.name] is None}}


def _offers(rows: Iterable[Mapping[str, Any]]) -> Offers:
    by_price, total, unpriced = Tally(), 0, 0
    currencies, terms = _Few(_MOST_CURRENCIES), _Few(_MOST_TERMS)
    for row in rows:
        total += 1
        price = row["price_amount"]
        if price is None:
            unpriced += 1
            continue
        currency = currencies.name(row["price_currency"] or "no currency")
        by_price[currency, _step(price), terms.name(_term(row))] += 1
    return Offers(by_price, total, unpriced)


def _step(price: float) -> str:
    """The step of a scale of 1, 2, 5, 10, 20, … that a price is on; equal in bounds for any currency."""
    if price <= 0:
        return "free" if price == 0 else "below 0"
    at = bisect_right(_STEPS, price) - 1
    if at == len(_STEPS) - 1:
        return f"{_STEPS[-1]:,.0f} and more"
    low = f"{_STEPS[at]:,.0f}" if at else "0"
    return f"{low} to {_STEPS[at + 1]:,.0f}"


def step_order(step: str) -> float:
    """Sorts price steps."""
    if step in {"free", "below 0"}:
        return -1.0 if step == "free" else -2.0
    return float(step.split(" ")[0].replace(",", ""))


def _term(row: Mapping[str, Any]) -> str:
    length, kind = row["term_length"], row["term_type"]
    every, unit = row["repeat_interval"], row["repeat_interval_type"]
    term = f"{length:,} {_counted(length, kind)}" if length and kind else "no term"
    charged = f"every {_counted(1, unit)}" if every == 1 and unit else f"every {every:,} {unit}" if every and unit else "once"  # fmt: skip
    return f"{term}, charged {charged}"


def _counted(count: int, unit: str) -> str:
    return unit.lower().rstrip("s") + ("" if count == 1 else "s")


def _subscriptions(rows: Iterable[Mapping[str, Any]]) -> Subscriptions:
    by_month, total, undated = Tally(), 0, 0
    statuses = _Few(_MOST_STATUSES)
    for row in rows:
        total += 1
        month = f"{row['created']:%Y-%m}" if row["created"] else str(row["start_date"] or "")[:7]
        if not _MONTH.fullmatch(month):
            undated += 1
            continue
        by_month[month, statuses.name(row["status"] or "no status")] += 1
    return Subscriptions(by_month, total, undated)


class _Few:
    """Lets only so many names through; further ones are `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def name(self, name: str) -> str:
        if name not in self._known and len(self._known) >= self._most:
            return _OTHER
        self._known.add(name)
        return name


# --- journeys


def _journeys(sink: Reads) -> tuple[list[Journeys], int]:
    columns = (*map(Column, ("id", "starting_point", "fallback_tag")), Column("deleted_at", "time"), Column("raw", "json"))  # fmt: skip
    decoder = msgspec.json.Decoder(Journey)
    for name in ("journeys_v2", "journeys"):  # the same journeys, if there are both
        found: dict[tuple[str, str], Journeys] = {}
        total = 0
        for row in sink.rows(Table(name=name, columns=columns)):
            if row["deleted_at"] is None:
                total += 1
                start = (row["starting_point"] or "", row["fallback_tag"] or "")
                journeys = found.setdefault(start, Journeys(*start, [])).journeys
                if total <= _MOST_JOURNEYS:
                    with suppress(*UNDECODABLE):  # counted, and not drawn
                        journeys.append(decoder.decode(row["raw"]))
        if total:
            return [one for _, one in sorted(found.items())], total
    return [], 0


# --- quarantine


def _quarantine(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Quarantined], int]:
    found: dict[tuple[str, str], Quarantined] = {}
    count = 0
    for row in rows:
        count += 1
        reason = row["reason"] or ""
        if (row["stream"], reason) not in found and len(found) >= _MOST_GROUPS:
            reason = "(other reasons)"
        group = found.setdefault((row["stream"], reason), Quarantined(row["stream"], reason, ids=[]))
        group.count += 1
        group.size += len(row["raw"] or b"")
        if len(group.ids) < _MOST_IDS:
            group.ids.append(row["item_id"] or "")
    return sorted(found.values(), key=lambda one: (-one.count, one.stream, one.reason)), count
