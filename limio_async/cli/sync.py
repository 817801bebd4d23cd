"""`limio sync`: a whole tenant, or some of its lists, into a database or files."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from limio_async.cli.failures import Code, Failure, tell
from limio_async.cli.loop import in_loop
from limio_async.cli.settings import Flags, open_client
from limio_async.errors import JobError

if TYPE_CHECKING:  # --help does without what the extras bring
    from limio_async.client import Limio
    from limio_async.sync_jobs.job import Job

__all__ = ["command"]

_TO_END = 3.0  # seconds, after the second signal
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:\d+[smhd])+")
_EXAMPLES = """\b
    Examples:
    limio sync --to sqlite:///limio.db
    limio sync offers subscriptions --to postgresql://localhost/limio --hydrate
    limio sync offers --mode incremental --to parquet:lake --every 15m
    limio sync --status --to sqlite:///limio.db"""


class _Duration(click.ParamType[timedelta]):
    """A number of seconds, minutes, hours or days: 90s, 15m, 1h30m, 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        if not _DURATION.fullmatch(str(value)):
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 1h30m or 2d", param, ctx)
        parts = re.findall(r"(\d+)([smhd])", str(value))
        try:
            return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class _Moment(click.ParamType[datetime]):
    """A date, a date and time, or a duration before now."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from limio_async.envelope import moment
        from limio_async.sync_jobs.times import earlier

        if isinstance(value, datetime):
            return value
        if _DURATION.fullmatch(str(value)):
            return earlier(datetime.now(UTC), _Duration().convert(value, param, ctx))
        found = moment(str(value))
        if found is None:
            self.fail(f"{value!r} is neither a date such as 2026-01-31 nor a duration such as 7d", param, ctx)
        if found > datetime.now(UTC):
            self.fail(f"{value!r} is still to come", param, ctx)
        return found


class _Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What one command is asked for."""

    streams: tuple[str, ...]
    to: str
    mode: Literal["full", "incremental", "append"]
    hydrate: bool
    since: datetime | None
    overlap: timedelta
    concurrency: int
    page_size: int | None
    allow_mass_delete: bool
    state: Path | None
    every: timedelta | None
    as_json: bool
    quiet: bool


def _streams_beginning_with(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from limio_async.sync_jobs.streams import known_streams

    return [name for name in known_streams() if name.startswith(incomplete)]


@click.command("sync", epilog=_EXAMPLES)
@click.argument("streams", nargs=-1, metavar="[STREAM]...", shell_complete=_streams_beginning_with)
@click.option("--to", required=True, metavar="URL", help="sqlite:///FILE, duckdb:///FILE, postgresql://…, parquet:DIR, ndjson:DIR or csv:DIR.")  # fmt: skip
@click.option("--mode", type=click.Choice(["full", "incremental", "append"]), default="full", show_default=True, help="Everything, with deletions; what has changed; every version that is seen.")  # fmt: skip
@click.option("--hydrate", is_flag=True, help="Fetch objects whole; lists hold summaries.")
@click.option("--since", type=_Moment(), metavar="MOMENT", help="Begin there instead of at the last run: 2026-01-31, 7d.")  # fmt: skip
@click.option("--overlap", type=_Duration(), default="1h", show_default=True, metavar="DURATION", help="Ask again for what changed that long before the last run.")  # fmt: skip
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Requests at once."
)
@click.option("--page-size", type=click.IntRange(min=1), metavar="N", help="Items per page.")
@click.option(
    "--allow-mass-delete", is_flag=True, help="Mark rows as deleted even if more than a fifth are gone."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep there what is not in the target yet, instead of beside it.",
)
@click.option("--every", type=_Duration(), metavar="DURATION", help="Run again and again, until Ctrl-C.")
@click.option("--status", is_flag=True, help="Show watermarks and last runs of the target, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Events and report as JSON lines on stdout.")
@click.option("--emulated", is_flag=True, help="Ask an emulator in this process.")
@click.pass_obj
def command(
    flags: Flags,
    streams: tuple[str, ...],
    to: str,
    mode: Literal["full", "incremental", "append"],
    hydrate: bool,
    since: datetime | None,
    overlap: timedelta,
    concurrency: int,
    page_size: int | None,
    allow_mass_delete: bool,
    state: Path | None,
    every: timedelta | None,
    status: bool,
    as_json: bool,
    emulated: bool,
) -> int:
    """Keep lists of the tenant in a database or in files.

    Without STREAM, all lists of the tenant that the credentials open. A stream is a list such as offers, products,
    subscriptions or orders; subscriptions@zuora is that of another service, subscriptions.events (.related, .children)
    what belongs to each object, objects:PATH_TYPE any other list of objects. Killed at any instant, the same command
    goes on where it was.

    Exit codes: 0 complete, 3 the credentials are refused, 4 something is missing, 130 interrupted.
    """
    if status:
        from limio_async.cli.sync_view import show_status

        show_status(to, as_json=as_json)
        return Code.OK
    if since is not None and mode == "full":
        raise click.UsageError("--since goes with --mode incremental or append")
    if every is not None and not every:
        raise click.UsageError("--every is longer than nothing")
    wish = _Wish(
        streams=streams,
        to=to,
        mode=mode,
        hydrate=hydrate,
        since=since,
        overlap=overlap,
        concurrency=concurrency,
        page_size=page_size,
        allow_mass_delete=allow_mass_delete,
        state=state,
        every=every,
        as_json=as_json,
        quiet=flags.quiet,
    )
    if emulated:
        flags = msgspec.structs.replace(flags, emulated=True)
    try:
        with _at_the_latest(_TO_END) as end:
            client = open_client(flags, concurrency=concurrency)
            return in_loop(_run(client, wish, end), on_uvloop=flags.uvloop)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Failure("sync: interrupted; the same command goes on from there", Code.INTERRUPTED) from None


async def _run(client: Limio, wish: _Wish, end: Callable[[], None]) -> int:
    async with client:
        code = await _run_once(client, wish, end)
        while wish.every is not None and code != Code.INTERRUPTED:
            tell(f"next run in {wish.every}")
            await asyncio.sleep(wish.every.total_seconds())
            try:
                code = await _run_once(client, wish, end)
            except JobError as error:  # a database that is away for a while must not end it
                tell(str(error))
                code = Code.API
    return code


async def _run_once(client: Limio, wish: _Wish, end: Callable[[], None]) -> int:
    from limio_async.cli.sync_view import closing_table, view
    from limio_async.sync_jobs.job import Job

    with view(as_json=wish.as_json, quiet=wish.quiet) as show:
        job = Job(
            client,
            to=wish.to,
            streams=wish.streams,
            mode=wish.mode,
            hydrate=wish.hydrate,
            since=wish.since,
            overlap=wish.overlap,
            concurrency=wish.concurrency,
            page_size=wish.page_size,
            most_deleted=None if wish.allow_mass_delete else 0.2,
            state=wish.state,
            on_event=show,
        )
        for name, reason in job.left_out.items():
            tell(f"{name} is left out: {reason}")
        with _stopped_by_signals(job, end) as told:
            report = await job.run()
    closing_table(report, as_json=wish.as_json)
    if report.interrupted or (
        told and wish.every is not None
    ):  # told too late for this run, not for the next
        tell("interrupted; the same command goes on from there")
        return Code.INTERRUPTED
    if report.refused:
        return Code.CREDENTIALS
    return Code.OK if report.complete else Code.INCOMPLETE


@contextmanager
def _stopped_by_signals(job: Job, end: Callable[[], None]) -> Generator[list[int]]:
    """The first Ctrl-C or SIGTERM lets the job finish its batches; the second ends it at once, with *end* if it hangs.

    Gives the signals that came.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told: list[int] = []

    def stop(number: int) -> None:
        told.append(number)
        if len(told) == 1:
            tell("stopping: finishing what is being written; again to stop at once")
            job.stop()
        elif task is not None:
            end()
            task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.getsignal(one) for one in signals}
    try:
        for one in signals:
            with suppress(NotImplementedError):  # where a loop has no signals, Ctrl-C ends it at once
                loop.add_signal_handler(one, stop, one)
        yield told
    except JobError:
        if len(told) > 1:  # of what was cancelled
            raise asyncio.CancelledError from None
        raise
    finally:
        for one, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(one)
            signal.signal(one, handler)


@contextmanager
def _at_the_latest(seconds: float) -> Generator[Callable[[], None]]:
    """Give a function after whose call the process ends within *seconds*, if the block has not ended by then.

    Nothing is lost by that: a job may be killed at any instant.
    """
    timer = threading.Timer(seconds, os._exit, (Code.INTERRUPTED,))
    timer.daemon = True

    def begin() -> None:
        with suppress(RuntimeError):  # begun already
            timer.start()

    try:
        yield begin
    finally:
        timer.cancel()
