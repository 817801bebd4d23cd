"""What is noted of runs that ended without a word: where the target broke off, or the process was killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
import msgspec

from limio_async.errors import JobError, LimioError, TargetBusy
from limio_async.sync_jobs.context import JobContext, main_error
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.ledger import RUNS, STREAMS, report_of, run_id, run_row, stream_row
from limio_async.sync_jobs.patience import is_outage
from limio_async.sync_jobs.sink import Change, Condition, Sink
from limio_async.sync_jobs.times import now

__all__ = ["end_all", "put_right", "waited"]


def waited(error: Exception, *, stopping: bool) -> bool:
    """Return whether *error* is only that a job was told to stop while it waited for the target."""
    return stopping and (is_outage(error) or isinstance(error, TargetBusy))


async def end_all(
    context: JobContext,
    reports: Sequence[StreamReport],
    remembered: Mapping[str, Mapping[str, Any]],
    error: Exception,
) -> None:
    """Let the runs that are under way end with *error*, and note it where the target takes that.

    *remembered* are rows of `STREAMS` by id.
    """
    cause = main_error(ExceptionGroup("", [error]))
    ended = [one for one in reports if one.status == "running"]
    if not ended or not isinstance(cause, JobError):
        return
    is_told_to = waited(cause, stopping=context.stopping.is_set())
    for one in ended:
        one.ended, one.status = now(), "interrupted" if is_told_to else "failed"
        one.error = None if is_told_to else str(cause)
    rows = [stream_row(one, remembered.get(one.table_name, {})) for one in ended]

    def note() -> None:
        ids = [run_id(one.run, one.stream) for one in ended]
        walks = {row["id"]: row["walk"] for row in context.sink.rows(RUNS, [Condition("id", "in", ids)])}
        runs = [run_row(one, walks.get(name)) for name, one in zip(ids, ended, strict=True)]
        context.sink.apply([Change(RUNS, runs), Change(STREAMS, rows)])

    if context.is_open:
        with anyio.CancelScope(shield=True), suppress(LimioError):
            await context.in_sink(note, once=True)


def put_right(
    sink: Sink, runs: Mapping[str, Mapping[str, Any]], remembered: Mapping[str, Mapping[str, Any]]
) -> None:
    """Note that runs were interrupted which the target takes for running: none is, while this one holds it.

    *runs* are the recent rows of `RUNS`, *remembered* those of `STREAMS`, whose last runs may be older.
    """
    older = [
        row["last_run"] for row in remembered.values() if row["last_run"] and row["last_run"] not in runs
    ]
    rows = [*runs.values(), *(sink.rows(RUNS, [Condition("id", "in", older)]) if older else ())]
    left = [(report_of(row), row["walk"]) for row in rows if row["status"] == "running"]
    ended = [run_row(msgspec.structs.replace(one, status="interrupted"), walk) for one, walk in left]
    if ended:
        sink.apply([Change(RUNS, ended)])
