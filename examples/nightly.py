"""A nightly job: a whole tenant in a database, a report for machines, an exit code for whoever watches.

    LIMIO_HOST=… LIMIO_CLIENT_ID=… LIMIO_CLIENT_SECRET=… python nightly.py sqlite:///limio.db report.json

Alerting hangs on two things that every scheduler can see: the exit code (0 complete, 4 something is missing, 1 it
could not begin or go on, 130 it was stopped) and a line in the log that begins with ALERT.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path

from limio_async import Limio, errors
from limio_async.sync_jobs import Job, JobReport, SyncEvent

log = logging.getLogger("nightly")


async def sync(target: str) -> JobReport:
    """Run the job; SIGTERM lets it finish what is being written, and the next run goes on from there."""
    async with Limio.from_env(max_concurrency=8) as limio:
        job = Job(limio, to=target, on_event=tell)
        for name, reason in job.left_out.items():
            log.warning("%s is left out: %s", name, reason)
        with suppress(NotImplementedError):  # a loop without signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, job.stop)
        return await job.run()


def tell(event: SyncEvent) -> None:
    """One line for each stream that has ended, and for each that had to begin again."""
    report = event.report
    if event.kind == "restarted":
        log.warning("%s begins again at the top: %s", report.stream, event.message)
    elif event.kind == "ended":
        log.info(
            "%s: %s, %d seen, %d inserted, %d updated, %d deleted, %d quarantined",
            *(report.stream, report.status, report.seen),
            *(report.inserted, report.updated, report.deleted, report.quarantined),
        )


def judged(report: JobReport) -> int:
    """The exit code, and why a person should look."""
    for stream in report.streams:
        if not stream.complete:
            log.error("ALERT %s is %s: %s", stream.stream, stream.status, stream.error)
        elif stream.quarantined:
            log.error("ALERT %s: %d items are in quarantine", stream.stream, stream.quarantined)
    if report.interrupted:
        return 130
    return 0 if report.complete else 4


def main(target: str, report_file: Path) -> int:
    """Sync, leave the report where dashboards read it, and say how it went."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        report = asyncio.run(sync(target))
    except errors.LimioError as error:  # the database is away, another run is at work, a setting is missing
        log.error("ALERT the job could not run: %s", error)  # noqa: TRY400  # its message is the news
        return 1
    part = report_file.with_name(f"{report_file.name}.part")
    part.write_bytes(report.to_json())
    part.replace(report_file)  # whole, or as it was
    return judged(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
