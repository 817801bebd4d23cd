"""What a job tells while it runs and when it ends: reports, one for each stream, and the events that carry them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

__all__ = ["JobReport", "Kind", "Mode", "Status", "StreamReport", "SyncEvent", "Tally"]

Mode = Literal["full", "incremental", "append"]
"""What a run does with a stream; `sync_jobs.job.Job` tells what each means."""

Status = Literal["running", "complete", "incomplete", "failed", "interrupted"]
"""`incomplete`: the end was reached, but something is missing, as `error` says. `failed`: it was not reached."""


Kind = Literal["started", "listed", "written", "restarted", "waiting", "ended"]
"""`listed`: a page arrived; `written`: a batch is in the target; `restarted`: the walk began again at the top;
`waiting`: the tenant or the target is away, and the job waits for it."""


class Tally(msgspec.Struct, kw_only=True):
    """What a stream has been sent, as counted while it is listed; saved with each page, so that it outlives a kill."""

    expected: int | None = None
    """Items that the server promised (`hits`); None where it does not say."""
    commit_id: str | None = None
    """The catalog's snapshot."""
    listed: int = 0
    """Items that the server sent, those that came twice included."""
    pages: int = 0
    received: int = 0
    """Bytes of items."""
    requests: int = 0
    """Requests on the wire, retries and those of hydration included."""
    retries: int = 0
    """Requests that were sent again."""
    restarts: int = 0
    """How often the walk began again at the top."""
    passed: int = 0
    """Items that an incremental run did not look at, as they say themselves that they have not changed."""
    missing: int = 0
    """What was there and could not be had just now; the next run asks again."""
    network_seconds: float = 0.0
    """Spent waiting for answers, of listing and hydration."""
    waited_seconds: float = 0.0
    """Spent in pauses because the tenant or the target was away."""

    def tally(self) -> dict[str, Any]:
        """Return these figures by name."""
        return {name: getattr(self, name) for name in Tally.__struct_fields__}


class StreamReport(Tally, kw_only=True):
    """What a run has done with one stream, the time before an interruption included. Also a row of `_limio_runs`."""

    run: str
    """Names the run; sorts by time."""
    stream: str
    table_name: str
    origin: str = ""
    """The tenant: scheme, host and port."""
    mode: Mode
    status: Status = "running"
    seen: int = 0
    """Different items that the walk has seen."""
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    """Rows that were marked as deleted because a complete walk did not see them."""
    quarantined: int = 0
    """Items that could not be decoded, stored or fetched whole; their bytes are in `_limio_quarantine`."""
    started: datetime
    ended: datetime | None = None
    decode_seconds: float = 0.0
    spool_seconds: float = 0.0
    """Spent in the job's own state."""
    write_seconds: float = 0.0
    """Spent in the sink, marking and publishing included."""
    watermark: datetime | None = None
    """Where the next incremental run begins, less its overlap."""
    unfiltered: str | None = None
    """Why a run that would ask for changes only asked for everything; None where it did not."""
    error: str | None = None
    refused: bool = False
    """Whether it failed because the credentials are missing or not taken, or the list of its parents did."""
    delivered: int = 0
    """The last page whose items are in the target."""

    @property
    def complete(self) -> bool:
        """Whether all there is was seen and is in the target or in quarantine."""
        return self.status == "complete"

    @property
    def written(self) -> int:
        """Items that were handed to the sink."""
        return self.inserted + self.updated + self.unchanged

    def seconds(self, now: datetime) -> float:
        """How long it took; until *now*, if it has not ended."""
        return ((self.ended or now) - self.started).total_seconds()


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done, stream by stream."""

    target: str
    streams: tuple[StreamReport, ...]
    left_out: Mapping[str, str] = {}
    """Streams of the whole tenant that were not asked for, and why."""
    stale_files: tuple[str, ...] = ()
    """Files that an earlier run of another format made and that no run updates any more."""

    @property
    def complete(self) -> bool:
        """Whether every stream is complete."""
        return all(stream.complete for stream in self.streams)

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to stop before it was done."""
        return any(stream.status == "interrupted" for stream in self.streams)

    @property
    def refused(self) -> bool:
        """Whether no stream got through because the credentials are missing or not taken."""
        return bool(self.streams) and all(stream.refused for stream in self.streams)

    def to_json(self) -> bytes:
        """The report as JSON."""
        return msgspec.json.encode({"kind": "report", "complete": self.complete, **msgspec.to_builtins(self)})


class SyncEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a stream."""

    kind: Kind
    """What happened."""
    at: datetime
    report: StreamReport
    """How the stream stands; it changes as the stream goes on."""
    message: str = ""
    """Why, of a restart; what is waited for and how long, of `waiting`."""
