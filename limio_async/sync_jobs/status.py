"""How the streams of a target stand: how old each is, since when it fails, what is in quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.ledger import QUARANTINED, RUNS, STREAMS, in_quarantine, report_of, run_id
from limio_async.sync_jobs.sink import Condition, Table

__all__ = ["Standing", "length", "standing_of", "standings"]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How one table of a target stands."""

    table: str
    stream: str
    origin: str | None = None
    """The tenant: scheme, host and port."""
    last_complete: datetime | None = None
    """When its last complete run ended; None where there is none."""
    failing_since: datetime | None = None
    """When the first run began that was not complete, of those since; None where the last run is complete."""
    watermark: datetime | None = None
    items: int | None = None
    """Different items that the last complete run has seen."""
    quarantined: int = 0
    """Items of the stream that are in quarantine by now."""
    last_run: StreamReport | None = None
    """The report of its last run; None where it is no longer kept."""

    def age(self, now: datetime) -> timedelta | None:
        """Return how long ago its last complete run ended; None where there is none."""
        return None if self.last_complete is None else max(now - self.last_complete, timedelta())

    def said(self, now: datetime) -> str:
        """Return how old it is, in words."""
        since = self.age(now)
        age = "never complete" if since is None else f"last complete {length(since)} ago"
        return (
            age if self.failing_since is None else f"failing since {self.failing_since:%Y-%m-%d %H:%M}, {age}"
        )


class Reads(Protocol):
    """What is asked of a sink."""

    def rows(self, table: Table, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        """Return the rows of a table; none if it is not there."""
        ...


def standings(sink: Reads) -> list[Standing]:
    """Return how the tables of a target stand, by name. `RUNS` is not read whole, but for targets of 0.1."""
    rows = {row["id"]: row for row in sink.rows(STREAMS)}
    if any(row["last_run"] for row in rows.values()):
        wanted = [row["last_run"] or run_id(row["run"] or "", row["stream"]) for row in rows.values()]
        found = map(report_of, sink.rows(RUNS, [Condition("id", "in", wanted)]))
    else:  # 0.1 has noted of a stream only that it was complete
        found = map(report_of, sink.rows(RUNS))
    quarantined = Counter[str](row["stream"] for row in in_quarantine(sink.rows(QUARANTINED)))
    return standing_of(rows, found, quarantined)


def standing_of(
    rows: Mapping[str, Mapping[str, Any]],
    reports: Iterable[StreamReport],
    quarantined: Mapping[str, int],
) -> list[Standing]:
    """Return how tables stand, from what the ledger holds of them: rows of `STREAMS` by id, *reports* of runs."""
    last: dict[str, StreamReport] = {}
    failing: dict[str, datetime] = {}
    for one in reports:
        table, ended = one.table_name, rows.get(one.table_name, {}).get("ended")
        if table not in last or last[table].started <= one.started:
            last[table] = one
        if one.status not in {"complete", "running"} and (ended is None or one.started > ended):
            failing[table] = min(one.started, failing.get(table, one.started))

    def standing(table: str) -> Standing:
        row, run = rows.get(table, {}), last.get(table)
        ended, stream = row.get("ended"), row.get("stream") or (run.stream if run else table)
        return Standing(
            table=table,
            stream=stream,
            origin=row.get("origin") or (run.origin if run else None),
            last_complete=ended,
            failing_since=row.get("failing_since") or failing.get(table),
            watermark=row.get("watermark"),
            items=row.get("seen"),
            quarantined=quarantined.get(stream, 0),
            last_run=run,
        )

    return [standing(table) for table in sorted({*rows, *last})]


def length(time: timedelta) -> str:
    """Return how long *time* is, in its largest unit that it has two of."""
    seconds = time.total_seconds()
    for unit, worth in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * worth:
            return f"{seconds / worth:.0f} {unit}"
    return f"{seconds:.0f} s"
