"""What killed jobs and benchmarks found, each as small as it gets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from limio_async import Limio
from limio_async.emulator import World
from limio_async.errors import JobError, LimioError, NeverSent
from limio_async.sync_jobs import Job, StreamReport, SyncEvent
from limio_async.sync_jobs.context import main_error
from limio_async.sync_jobs.ledger import QUARANTINE, QUARANTINED, RUNS, report_of
from limio_async.sync_jobs.times import now
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


def test_a_stream_that_never_began_has_done_nothing() -> None:
    report = StreamReport(run="r", stream="offers", table_name="offers", mode="full", started=now())
    told = msgspec.structs.asdict(report)
    numbers = {name: value for name, value in told.items() if isinstance(value, int | float)}
    assert len(numbers) > 15
    assert not any(numbers.values())
    assert [report.complete, report.ended, report.error, report.expected] == [False, None, None, None]


def test_a_stream_that_has_ended_takes_no_longer() -> None:
    begun = now()
    report = StreamReport(run="r", stream="offers", table_name="offers", mode="full", started=begun)
    assert report.seconds(begun + timedelta(seconds=9)) == 9
    report.ended = begun + timedelta(seconds=4)
    assert report.seconds(begun + timedelta(seconds=9)) == 4


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("hydrate", [False, True])
async def test_no_part_of_a_run_takes_longer_than_all_of_it(
    run_job: Callable[..., Any], mode: str, hydrate: bool
) -> None:
    for _ in range(2):
        report = only(await run_job("subscriptions", mode=mode, hydrate=hydrate))
        took = report.seconds(now())
        for part in (
            report.network_seconds,
            report.decode_seconds,
            report.spool_seconds,
            report.write_seconds,
        ):
            assert 0 < part <= took


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_bug_says_more_than_what_ended_the_job_and_that_more_than_what_ended_a_stream(
    order: tuple[int, ...],
) -> None:
    errors_of = [ValueError("a bug"), JobError("the job"), NeverSent("a stream")]
    given = [errors_of[place] for place in order]
    assert str(main_error(ExceptionGroup("", [ExceptionGroup("", given[:1]), *given[1:]]))) == "a bug"
    known = [one for one in given if isinstance(one, LimioError)]
    assert isinstance(main_error(ExceptionGroup("", known)), JobError)


def test_what_is_in_quarantine_is_read_without_its_bytes() -> None:
    assert {one.name for one in QUARANTINE.columns} - {one.name for one in QUARANTINED.columns} == {"raw"}
    assert (QUARANTINE.published, QUARANTINED.published) == (False, False)  # no file of a target of files
