"""What the streams of a job share: the caller's choices, client, target, spool, and how they come to an end together."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TypeVar, cast

import anyio
import anyio.to_thread
import msgspec

from limio_async.client import Limio
from limio_async.errors import JobError, LimioError, TargetBusy
from limio_async.sync_jobs.events import Kind, Mode, StreamReport, SyncEvent
from limio_async.sync_jobs.patience import Patience
from limio_async.sync_jobs.sink import Sink
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.times import now

__all__ = ["Choices", "JobContext", "main_error"]

T = TypeVar("T")

_BETWEEN_TRIES = 1.0  # seconds


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller of a job may choose; `Job` tells what each means."""

    mode: Mode
    hydrate: bool
    since: datetime | None
    overlap: timedelta
    concurrency: int
    page_size: int | None
    most_deleted: float | None = None
    mass_delete: Collection[str] = ()
    """Streams of which any share of the rows may be soft-deleted."""


class JobContext:
    """What the streams of a job share: client, target and spool, of which each is used by one thread at a time.

    *patience* is how many seconds an outage of the tenant, or of the target, may last, *lock_wait* how many a call waits
    for what somebody else holds in the target.
    """

    def __init__(
        self,
        limio: Limio,
        sink: Sink,
        spool: Spool,
        tell: Callable[[SyncEvent], object] | None,
        *,
        patience: float,
        lock_wait: float,
    ) -> None:
        self.limio = limio.with_options(lane="background")
        self.sink = sink
        self.spool = spool
        self.stopping = anyio.Event()
        """Set when the job shall come to an end early."""
        self.is_open = False
        """Whether the target is open."""
        self._tell = tell
        self._lock_wait = lock_wait

        def has_token() -> bool:
            return limio.state().token is not None  # which only the tenant gives

        self.tenant = Patience(patience, stopping=self.stopping, works=has_token)
        self.target = Patience(patience, stopping=self.stopping)
        self._target_outage = self.target.outage(self._target_is_away)
        # Locks, not limiters of one: below anyio 4.15 a limiter lets in a second now and then.
        self._sink_turn = anyio.Lock()
        self._spool_turn = anyio.Lock()
        self._threads = anyio.CapacityLimiter(2)  # none of those that a service has for itself

    async def in_sink(self, work: Callable[[], T], *, once: bool = False) -> T:
        """Run *work* on the target, in a thread, one call at a time; again after a pause where the target is away.

        What somebody else holds in it is waited for too, once it is open. Nothing is waited for where it is done *once*.
        """
        async with self._sink_turn:
            if once:
                return await anyio.to_thread.run_sync(work, limiter=self._threads)
            begun = anyio.current_time()
            while True:
                try:
                    return await self._target_outage.ride(
                        lambda: anyio.to_thread.run_sync(work, limiter=self._threads)
                    )
                except TargetBusy as busy:
                    too_long = anyio.current_time() - begun >= self._lock_wait
                    if (
                        busy.final
                        or not self.is_open
                        or too_long
                        or not await self.target.pause(_BETWEEN_TRIES)
                    ):
                        raise

    async def in_spool(self, work: Callable[[], T]) -> T:
        """Run *work* on the spool, in a thread, one call at a time."""
        async with self._spool_turn:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    def _target_is_away(self, said: str) -> None:
        about = StreamReport(run="", stream="target", table_name="", mode="full", started=now())
        self.tell("waiting", about, said)

    def tell(self, kind: Kind, report: StreamReport, message: str = "") -> None:
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
