"""What killed jobs and benchmarks found, each as small as it gets."""

from __future__ import annotations

from collections.abc import Callable

from limio_async import Limio
from limio_async.emulator import World
from limio_async.sync_jobs import Job, SyncEvent
from limio_async.sync_jobs.ledger import RUNS, report_of
from tests.sync_jobs.conftest import RunJob, only
from tests.sync_jobs.memory_sink import MemorySink


async def test_a_report_of_a_release_that_did_not_measure_as_much_is_read(
    sink: MemorySink, run_job: RunJob
) -> None:
    told = only(await run_job("products"))
    (row,) = sink.rows(RUNS)
    older = report_of({**row, "spool_seconds": None})
    assert (older.spool_seconds, older.inserted) == (0.0, told.inserted)
    assert told.spool_seconds > 0


async def test_what_was_deleted_while_a_job_lay_still_in_a_scroll_is_marked_when_it_goes_on(
    world: World, client: Limio, sink: MemorySink, make_job: Callable[..., Job]
) -> None:
    def stop_soon(event: SyncEvent) -> None:
        if event.kind == "listed" and event.report.seen >= 100:
            job.stop()

    await make_job("offers").run()
    job = make_job("offers", page_size=20, on_event=stop_soon)
    assert only(await job.run()).status == "interrupted"
    first = await client.offers.list().first()
    assert first is not None
    assert first.path is not None
    await client.catalog_items.delete(first.path.removeprefix("/"))
    again = only(await make_job("offers", page_size=20).run())
    assert (again.status, again.expected, again.seen, again.deleted) == ("complete", 249, 249, 1)
    assert first.id not in sink.live("offers")
