"""What the streams of a job share: the caller's choices, client, target, spool, and how they come to an end together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, TypeVar, cast

import anyio
import anyio.to_thread
import msgspec

from limio_async.client import Limio
from limio_async.errors import JobError, LimioError
from limio_async.sync_jobs.events import Mode, StreamReport, SyncEvent
from limio_async.sync_jobs.sink import Sink
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.times import now

__all__ = ["Choices", "JobContext", "main_error"]

T = TypeVar("T")


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller of a job may choose; `Job` tells what each means."""

    mode: Mode
    hydrate: bool
    since: datetime | None
    overlap: timedelta
    concurrency: int
    page_size: int | None
    most_deleted: float | None


class JobContext:
    """What the streams of a job share: client, target and spool, of which each is used by one thread at a time."""

    def __init__(
        self, limio: Limio, sink: Sink, spool: Spool, tell: Callable[[SyncEvent], object] | None
    ) -> None:
        self.limio = limio
        self.sink = sink
        self.spool = spool
        self.stopping = anyio.Event()
        """Set when the job shall come to an end early."""
        self._tell = tell
        # Locks, not limiters of one: below anyio 4.15 a limiter lets in a second now and then.
        self._sink_turn = anyio.Lock()
        self._spool_turn = anyio.Lock()
        self._threads = anyio.CapacityLimiter(2)  # none of those that a service has for itself

    async def in_sink(self, work: Callable[[], T]) -> T:
        """Run *work* on the target, in a thread, one call at a time."""
        async with self._sink_turn:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def in_spool(self, work: Callable[[], T]) -> T:
        """Run *work* on the spool, in a thread, one call at a time."""
        async with self._spool_turn:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    def tell(
        self,
        kind: Literal["started", "listed", "written", "restarted", "ended"],
        report: StreamReport,
        message: str = "",
    ) -> None:
        """Let the caller know."""
        if self._tell is not None:
            self._tell(SyncEvent(kind=kind, at=now(), report=report, message=message))


def main_error(group: ExceptionGroup[Exception]) -> Exception:
    """The error of a group that says most: a bug or somebody's own, then what ends the job, then what ends a stream."""
    leaves: list[Exception] = []
    groups = [group]
    while groups:
        for one in groups.pop().exceptions:
            if isinstance(one, ExceptionGroup):
                groups.append(cast("ExceptionGroup[Exception]", one))
            else:
                leaves.append(one)
    return min(leaves, key=lambda one: 2 * isinstance(one, LimioError) - isinstance(one, JobError))
