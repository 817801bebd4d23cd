"""The tables beside those of the streams: runs, watermarks, quarantine, drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from limio_async.drift.findings import Finding
from limio_async.errors import JobError
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.rows import child_key
from limio_async.sync_jobs.sink import Column, Condition, Row, Sink, Table

__all__ = [
    "DRIFT",
    "LEDGER",
    "QUARANTINE",
    "QUARANTINED",
    "RUNS",
    "STREAMS",
    "check",
    "drift_row",
    "drifted",
    "forget_runs",
    "has_answered",
    "in_quarantine",
    "other_tenant",
    "quarantine_id",
    "quarantine_row",
    "report_of",
    "run_id",
    "run_row",
    "stream_row",
]

CLOCKS_DIFFER = timedelta(minutes=5)
_AT_ONCE = 5_000
_INTEGERS = ["expected", "seen", "listed", "inserted", "updated", "unchanged", "deleted", "quarantined", "missing", "requests", "retries", "restarts", "pages", "received", "delivered"]  # fmt: skip

RUNS = Table(
    name="_limio_runs",
    columns=(
        Column("id"),
        *(Column(name) for name in ("run", "stream", "table_name", "origin", "mode", "status")),
        Column("started", "time"),
        Column("ended", "time"),
        *(Column(name, "integer") for name in _INTEGERS),
        *(Column(f"{name}_seconds", "number") for name in ("network", "decode", "spool", "write", "waited")),
        Column("commit_id"),
        Column("watermark", "time"),
        Column("error"),
        Column("unfiltered"),
        Column("walk"),
    ),
    indexed=("started",),
    published=False,
)
"""One row for each run of each stream: its report, and of one that has not ended how far its walk is, as JSON."""

STREAMS = Table(
    name="_limio_streams",
    columns=(
        Column("id"),
        Column("stream"),
        Column("origin"),
        Column("run"),
        Column("mode"),
        Column("watermark", "time"),
        Column("ended", "time"),
        Column("seen", "integer"),
        Column("commit_id"),
        Column("failing_since", "time"),
        Column("last_run"),
        Column("salt"),
        Column("drift"),
    ),
    published=False,
)
"""One row for each table: its stream and tenant, its last run (an id in `RUNS`), the last one that was complete, its
watermark, since when runs have not been complete (null when the last one was), and what it was looked through for drift with."""

QUARANTINE = Table(
    name="_limio_quarantine",
    columns=(
        Column("id"),
        *(Column(name) for name in ("run", "stream", "item_id", "reason")),
        Column("quarantined_at", "time"),
        Column("raw", "bytes"),
        Column("deleted_at", "time"),
    ),
    published=False,
)
"""Items that are not in their stream's table, with the reason and their exact bytes; `deleted_at` is when a complete
run has found one well, or gone."""

QUARANTINED = msgspec.structs.replace(
    QUARANTINE, columns=tuple(column for column in QUARANTINE.columns if column.name != "raw")
)
"""`QUARANTINE` to be read without the bytes."""

DRIFT = Table(
    name="_limio_drift",
    columns=(
        Column("id"),
        *(Column(name) for name in ("run", "stream", "model", "path", "kind", "found")),
        Column("count", "integer"),
        Column("example"),
    ),
    published=False,
)
"""What items hold that the models do not know, counted by stream; of the stream's last run that saw it."""

LEDGER = (RUNS, STREAMS, QUARANTINE, DRIFT)


def run_row(report: StreamReport, walk: str | None = None) -> Row:
    """The report as a row of `RUNS`; *walk* is the walk behind the last page that the target has, as JSON."""
    told = (getattr(report, one.name) for one in RUNS.columns[1:-1])
    return run_id(report.run, report.stream), *told, walk


def report_of(row: Mapping[str, Any]) -> StreamReport:
    """The report that a row of `RUNS` holds; what an older release did not write is as in a new report."""
    told = {name: value for name, value in row.items() if name != "id" and value is not None}
    return msgspec.convert(told, StreamReport)


def stream_row(
    report: StreamReport, before: Mapping[str, Any], *, salt: str = "", drift: str | None = None
) -> Row:
    """Return what is remembered of a stream once a run has begun or ended; *before* it, that was remembered.

    *salt* is that of its rows, *drift* the digest of the models that all of them were looked through with.
    """
    has_written = report.complete or report.delivered > 0  # else tenant and stream do not matter
    last: dict[str, Any] = {
        "id": report.table_name,
        "last_run": run_id(report.run, report.stream),
        "stream": report.stream,
        "drift": drift,
    }
    last["origin"] = report.origin if has_written else before.get("origin")
    if report.complete:
        known: Mapping[str, Any] = {**msgspec.structs.asdict(report), "failing_since": None, "salt": salt}
    else:
        begun = None if report.status == "running" else report.started
        known = {**before, "failing_since": before.get("failing_since") or begun}
    values = {**known, **last}
    return tuple(values.get(one.name) for one in STREAMS.columns)


def quarantine_row(report: StreamReport, item_id: str, reason: str, raw: bytes, now: datetime) -> Row:
    """An item that is not in its stream's table."""
    own = quarantine_id(report, item_id)
    return (own, report.run, report.stream, item_id, reason, now, raw, None)


def quarantine_id(report: StreamReport, item_id: str) -> str:
    """The id of a row of `QUARANTINE`: the table of appended versions has a quarantine of its own."""
    return f"{report.table_name if report.mode == 'append' else report.stream}/{item_id}"


def in_quarantine(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Those of the rows of `QUARANTINE` or `QUARANTINED` that still hold."""
    return (row for row in rows if row["deleted_at"] is None)


def other_tenant(there: str, here: str) -> str:
    """What is wrong where a target belongs to another tenant."""
    return f"the target holds {there}, this client asks {here}: use another target for it"


def check(
    remembered: Iterable[Mapping[str, Any]],
    runs: Iterable[Mapping[str, Any]],
    *,
    origin: str,
    tables: Mapping[str, str],
    now: datetime,
) -> None:
    """Raise `JobError` unless a target belongs to this tenant and these streams, and the clock is right.

    *remembered* are rows of `STREAMS`, *runs* of `RUNS`; *tables* are the streams' names by table.
    """
    written = [(row["origin"], row["id"], row["stream"]) for row in remembered if row["origin"]]
    # of a run that has written nothing, tenant and stream do not matter; older releases do not tell the tenant
    written += [(row["origin"], row["table_name"], row["stream"]) for row in runs if row["delivered"]]
    for there, table, stream in written:
        if there and there != origin:
            raise JobError(other_tenant(there, origin))
        if (name := tables.get(table, stream)) != stream:
            raise JobError(f"the table {table} holds {stream}: sync {name} to another target")
    for row in runs:
        if max(row["started"], row["ended"] or row["started"]) > now + CLOCKS_DIFFER:
            raise JobError(
                f"the clock stands at {now:%Y-%m-%d %H:%M} UTC, but a run of {row['stream']} is noted at"
                f" {row['started']:%Y-%m-%d %H:%M} UTC: set the clock right; nothing was done"
            )


def has_answered(
    remembered: Iterable[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]], *, origin: str
) -> bool:
    """Return whether the tenant at *origin* has answered an earlier run of a target."""
    complete = any(row["ended"] and row["origin"] in {origin, None} for row in remembered)
    return complete or any(row["seen"] and row["origin"] == origin for row in runs)


def forget_runs(sink: Sink, *, before: datetime) -> None:
    """Remove the reports of runs that began *before*, but each table's last one."""
    last = {row["last_run"] for row in sink.rows(STREAMS)}
    ids = Table(name=RUNS.name, columns=(Column("id"), Column("started", "time")))
    old = [row["id"] for row in sink.rows(ids, [Condition("started", "<", before)]) if row["id"] not in last]
    for at in range(0, len(old), _AT_ONCE):
        sink.prune(RUNS, [Condition("id", "in", old[at : at + _AT_ONCE])])


def run_id(run: str, stream: str) -> str:
    """The id of a row of `RUNS`."""
    return f"{run}/{stream}"


class _Reads(Protocol):
    def rows(self, table: Table) -> Iterator[dict[str, Any]]: ...


def drift_row(finding: Finding, run: str, stream: str, *, table: str = "") -> Row:
    """Return a finding as a row of `DRIFT`; each *table* of a stream has its own, as their rows are not the same."""
    spot = (finding.kind, finding.model, finding.path, finding.found)
    held = {
        "id": "/".join((table or stream, *spot[:2], child_key(*spot[:1:-1]))),
        "run": run,
        "stream": stream,
        **msgspec.to_builtins(finding),
    }
    return tuple(held[column.name] for column in DRIFT.columns)


def drifted(sink: _Reads) -> list[tuple[str, Finding]]:
    """Return the findings of a target with their streams, without those that a later complete walk did not find again."""
    rows = list(sink.rows(DRIFT))
    noted = {(row["run"], row["stream"]) for row in rows}
    began: dict[tuple[str, str], datetime] = {}
    walked: dict[str, datetime] = {}
    for run in sink.rows(RUNS) if rows else ():
        stream, started = run["stream"], run["started"]
        if (run["run"], stream) in noted:
            began[run["run"], stream] = started
        if run["mode"] == "full" and run["status"] == "complete":
            walked[stream] = max(started, walked.get(stream, started))
    found: dict[tuple[str, ...], tuple[str, Finding]] = {}
    for row in rows:
        stream, at = row["stream"], began.get((row["run"], row["stream"]))
        spot = (stream, row["model"], row["path"], row["kind"], row["found"])
        is_known = spot in found and found[spot][1].count >= row["count"]  # in another table of the stream
        if not is_known and (at is None or at >= walked.get(stream, at)):
            found[spot] = stream, _finding(row)
    return [*found.values()]


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(**{name: row[name] for name in Finding.__struct_fields__ if row[name] is not None})
