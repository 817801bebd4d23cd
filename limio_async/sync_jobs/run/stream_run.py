"""One run of one stream: begins or resumes, lists and delivers side by side, and comes to an honest end."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from limio_async.errors import (
    JobError,
    LimioError,
    ListingError,
    MissingCredentials,
    SinkError,
    TargetBusy,
    Unauthorized,
)
from limio_async.sync_jobs.context import Choices, JobContext, main_error
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.patience import is_outage
from limio_async.sync_jobs.run.drain import Drain
from limio_async.sync_jobs.run.fill import Fill
from limio_async.sync_jobs.run.progress import Begun, Progress
from limio_async.sync_jobs.run.quarantine import quarantined
from limio_async.sync_jobs.run.resume import begin
from limio_async.sync_jobs.run.settle import Settle, judged

__all__ = ["StreamRun"]


class StreamRun:
    """One stream of a job, from where an earlier run of it left off, if it did.

    *left* finds the report of a run that the target knows, by the run's name.
    """

    def __init__(
        self,
        context: JobContext,
        choices: Choices,
        begun: Begun,
        *,
        left: Callable[[str], StreamReport | None],
    ) -> None:
        self._progress = Progress(context, choices, begun)
        self._left = left
        self._leads_nowhere = False  # resuming the walk would fail again
        self._is_kept_out = False  # the target has refused something, or somebody held it
        self._resumed_at: object = None  # where an earlier run left off
        self.report = self._progress.report

    async def run(self) -> None:
        """Do all of it. What goes wrong with the stream is told by `report`; a `JobError` ends the job."""
        try:
            await self._run()
        except JobError:
            self._progress.context.sink.cancel(only_blocked=True)  # nothing is waited for any more
            raise

    async def _run(self) -> None:
        progress = self._progress
        try:
            await begin(self._progress, left=self._left)
            if self.report.run != progress.begun.run:
                self._resumed_at = self._spot()
            self._progress.context.tell("started", self.report)
            await self._play()
        except LimioError as error:
            self._failed(error)
        except ExceptionGroup as group:
            self._failed(main_error(group))
        finally:
            progress.outage.over()
        await self._conclude()

    async def _play(self) -> None:
        """List and deliver side by side; what was listed is delivered although the list fails."""
        failed: LimioError | None = None

        async def fill() -> None:
            nonlocal failed
            try:
                await Fill(self._progress).run()
            except JobError:
                raise
            except LimioError as error:
                failed = error

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill)
            tasks.start_soon(Drain(self._progress).run)
        if failed is not None:
            raise failed

    def _spot(self) -> object:
        walk = self._progress.walk
        return walk.pages, walk.after, walk.ended, self.report.delivered

    # --- the end

    def _failed(self, error: Exception) -> None:
        is_held = isinstance(error, TargetBusy) and not error.final  # a row or a table: others are free
        is_one_s = is_held or (isinstance(error, SinkError) and error.one_table)
        if (isinstance(error, JobError) and not is_one_s) or not isinstance(error, LimioError):
            raise error
        self._is_kept_out = self._is_kept_out or is_one_s
        if self._progress.context.stopping.is_set() and (is_held or is_outage(error)):
            self.report.status = "interrupted"  # while it waited
            return
        self.report.status, self.report.error = "failed", str(error)
        refusals = (Unauthorized, MissingCredentials)
        self.report.refused = isinstance(error, refusals) or isinstance(error.__cause__, refusals)
        comes_no_further = self._resumed_at == self._spot() and not (is_one_s or is_outage(error))
        self._leads_nowhere = isinstance(error, ListingError) or comes_no_further

    async def _conclude(self) -> None:
        progress, context, report = self._progress, self._progress.context, self.report
        name = report.stream
        report.seen = await context.in_spool(lambda: context.spool.seen(name))
        report.unchanged = max(0, report.unchanged - progress.written_before)
        settle = Settle(progress)
        if not self._is_kept_out:
            await self._unless_kept_out(self._judge)
        if not self._is_kept_out:
            await self._unless_kept_out(settle.end)
        if self._is_kept_out:
            await context.in_sink(settle.end)  # which notes that it failed
        ended = report.status in {"complete", "incomplete"} and not progress.begun.is_parent
        if ended or self._leads_nowhere:
            await context.in_spool(lambda: context.spool.drop(name))
        context.tell("ended", report)

    async def _unless_kept_out(self, work: Callable[[], None]) -> None:
        try:
            await self._progress.context.in_sink(work)
        except JobError as error:
            self._failed(error)

    def _judge(self) -> None:
        progress, report, parent = self._progress, self.report, self._progress.begun.parent
        odd = quarantined(progress)
        report.quarantined = len(odd)
        if report.status == "running":
            report.status, report.error = judged(progress, odd)
            report.refused = bool(parent and not parent.complete and parent.refused)
