"""`limio sync`: a whole tenant, or some of its lists, into a database or files."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from limio_async.cli.early import SIGNALS, interrupt_on_signals
from limio_async.cli.failures import Code, Failure, tell
from limio_async.cli.loop import in_loop
from limio_async.cli.settings import Flags, open_client
from limio_async.cli.times import Duration, Moment
from limio_async.core.limiter import ceiling_for
from limio_async.errors import JobError

if TYPE_CHECKING:  # --help does without what the extras bring
    from limio_async.cli.sync_view import Shown
    from limio_async.client import Limio
    from limio_async.sync_jobs.events import JobReport
    from limio_async.sync_jobs.job import Job

__all__ = ["command"]

_TO_END = 3.0  # seconds, after the second signal
_INTERRUPTED = "interrupted; the same command resumes"
_EXAMPLES = """\b
    Examples:
    limio sync --to sqlite:///limio.db
    limio sync offers subscriptions --to postgresql://localhost/limio --hydrate
    limio sync offers --mode incremental --to parquet:lake --every 15m
    limio sync --status --to sqlite:///limio.db"""


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
    patience: timedelta
    lock_wait: timedelta
    keep_runs: timedelta
    rewrite: bool
    clean: bool
    allow_mass_delete: bool
    allow_mass_delete_of: tuple[str, ...]
    state: Path | None
    every: timedelta | None


def _streams_beginning_with(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from limio_async.sync_jobs.streams import known_streams

    return [name for name in known_streams() if name.startswith(incomplete)]


class _Sync(click.Command):
    """Groups its options, and ends in a report with --json, also where its words cannot be read."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        as_json = "--json" in args
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            if as_json:
                from limio_async.cli.sync_view import Shown

                Shown(as_json=True, quiet=True).give_up(error)
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        told = {
            "help" if "--help" in one.opts else one.name: one.get_help_record(ctx)
            for one in self.get_params(ctx)
        }
        for title, names in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([record for name in names if (record := told[name]) is not None])


_GROUPS = {
    "What to sync": ("to", "mode", "since", "overlap", "hydrate", "state", "every", "emulated"),
    "How hard to try": ("patience", "lock_wait", "concurrency", "page_size"),
    "What may be removed or written anew": ("allow_mass_delete", "allow_mass_delete_of", "rewrite", "clean", "keep_runs"),
    "What to show": ("as_json", "status", "max_age", "help"),
}  # fmt: skip


def _duration(flag: str, usual: str, said: str) -> Callable[[Any], Any]:
    return click.option(
        flag, type=Duration(), default=usual, show_default=True, metavar="DURATION", help=said
    )


@click.command("sync", cls=_Sync, epilog=_EXAMPLES)
@click.argument("streams", nargs=-1, metavar="[STREAM]...", shell_complete=_streams_beginning_with)
@click.option("--to", required=True, metavar="URL", help="sqlite:///FILE, duckdb:///FILE, postgresql://…, parquet:DIR, ndjson:DIR or csv:DIR.")  # fmt: skip
@click.option("--mode", type=click.Choice(["full", "incremental", "append"]), default="full", show_default=True, help="Everything, with deletions; what has changed; every version that is seen.")  # fmt: skip
@click.option("--hydrate", is_flag=True, help="Fetch objects whole; lists hold summaries.")
@click.option("--since", type=Moment(), metavar="MOMENT", help="Begin there instead of at the last run: 2026-01-31, 7d.")  # fmt: skip
@_duration("--overlap", "1h", "Ask again for what changed that long before the last run.")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Requests at once."
)
@click.option("--page-size", type=click.IntRange(min=1), metavar="N", help="Items per page.")
@_duration("--patience", "10m", "Wait that long for a tenant or target that stops answering.")
@_duration("--lock-wait", "30s", "Wait that long for a lock that others hold.")
@_duration("--keep-runs", "90d", "Forget reports of older runs.")
@click.option("--rewrite", is_flag=True, help="Write all rows again, changed or not.")
@click.option("--clean", is_flag=True, help="Remove files that a target of another format has left.")
@click.option(
    "--allow-mass-delete", is_flag=True, help="Mark rows as deleted even if more than a fifth are gone."
)
@click.option("--allow-mass-delete-of", multiple=True, metavar="STREAM", shell_complete=_streams_beginning_with, help="The same for one stream; may be repeated.")  # fmt: skip
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep there what is not in the target yet, instead of beside it.",
)
@click.option("--every", type=Duration(), metavar="DURATION", help="Run again and again, until Ctrl-C.")
@click.option("--status", is_flag=True, help="Show how old each stream is and how its last run ended; sync nothing.")  # fmt: skip
@click.option("--max-age", type=Duration(), metavar="DURATION", help="With --status: exit with 5 if a stream's last complete run is older.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Events and a report as JSON lines on stdout; with -q the report only.")  # fmt: skip
@click.option("--emulated", is_flag=True, help="Ask an emulator in this process.")
@click.pass_obj
def command(flags: Flags, /, *, status: bool, max_age: timedelta | None, as_json: bool, emulated: bool, **wish: Any) -> int:  # fmt: skip
    """Keep lists of the tenant in a database or in files.

    Without STREAM, all lists of the tenant that the credentials open. A stream is a list such as offers, products,
    subscriptions or orders; subscriptions@zuora is that of another service, subscriptions.events (.related, .children)
    what belongs to each object, objects:PATH_TYPE any other list of objects. Kill it at any time: the same command
    resumes.

    Exit codes: 0 complete, 1 it could not start or go on, 2 usage, 3 the credentials are refused, 4 something is
    missing, 5 a stream is older than --max-age, 130 interrupted.
    """
    from limio_async.cli.sync_view import Shown

    shown = Shown(as_json=as_json, quiet=flags.quiet, patience=wish["patience"])
    if status:
        interrupt_on_signals()
        from limio_async.cli.sync_status import show_status

        return show_status(wish["to"], wish["streams"], max_age=max_age, as_json=as_json, quiet=flags.quiet)
    with shown.to_its_end():
        if max_age is not None:
            raise click.UsageError("--max-age goes with --status")
        if emulated:
            flags = msgspec.structs.replace(flags, emulated=True)
        return _sync(flags, _Wish(**wish), shown)


def _sync(flags: Flags, wish: _Wish, shown: Shown) -> int:
    if wish.since is not None and wish.mode == "full":
        raise click.UsageError("--since goes with --mode incremental or append")
    if wish.every is not None and not wish.every:
        raise click.UsageError("--every is longer than nothing")
    try:
        with _at_the_latest(_TO_END, shown) as end:
            client = open_client(flags, concurrency=ceiling_for(wish.concurrency))
            interrupt_on_signals()
            return in_loop(_run(client, wish, shown, end), on_uvloop=flags.uvloop)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Failure(f"sync: {_INTERRUPTED}", Code.INTERRUPTED) from None


async def _run(client: Limio, wish: _Wish, shown: Shown, end: Callable[[], None]) -> int:
    async with client:
        code = await _run_once(client, wish, shown, end)
        while wish.every is not None and code != Code.INTERRUPTED:
            shown.tell(f"next run in {wish.every}")
            await asyncio.sleep(wish.every.total_seconds())
            try:
                code = await _run_once(client, wish, shown, end)
            except JobError as error:  # a database that is away for a while must not end it
                tell(str(error))
                code = Code.API
    return code


async def _run_once(client: Limio, wish: _Wish, shown: Shown, end: Callable[[], None]) -> int:
    from limio_async.sync_jobs.job import Job
    from limio_async.sync_jobs.streams import stream

    with ExitStack() as signals:
        with shown.run() as show:
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
                patience=wish.patience,
                lock_wait=wish.lock_wait,
                keep_runs=wish.keep_runs,
                rewrite=wish.rewrite,
                clean=wish.clean,
                most_deleted=None if wish.allow_mass_delete else 0.2,
                allow_mass_delete_of=[stream(name).name for name in wish.allow_mass_delete_of],
                state=wish.state,
                on_event=show,
            )
            for name, reason in job.left_out.items():
                shown.tell(f"{name} is left out: {reason}")
            told = signals.enter_context(_stopped_by_signals(job, end))
            report = await job.run()
        # a signal that came too late for this run ends those that would follow
        interrupted = report.interrupted or (bool(told.signals) and wish.every is not None)
        code = Code.INTERRUPTED if interrupted else _code(report)
        shown.close(report, code)
        told.code = None if wish.every is not None and not interrupted else code
    if told.signals and wish.every is not None:  # also while the report was written
        interrupted, code = True, Code.INTERRUPTED
    if interrupted:
        tell(_INTERRUPTED)
    return code


def _code(report: JobReport) -> Code:
    if report.refused:
        return Code.CREDENTIALS
    return Code.OK if report.complete else Code.INCOMPLETE


class _Told:
    """The signals that came during a run, and what the process ends with, once that is decided."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.code: Code | None = None


@contextmanager
def _stopped_by_signals(job: Job, end: Callable[[], None]) -> Generator[_Told]:
    """The first Ctrl-C or SIGTERM lets the job finish its batches; the second ends it at once, with *end* if it hangs.

    One that comes after the block ends the process with the code that was decided, if one was.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told = _Told()

    def stop(count: int) -> None:
        if told.code is not None:
            return
        if count == 1:
            tell("stopping: finishing what is being written; again to stop at once")
            job.stop()
        elif task is not None:
            end()
            task.cancel()

    def hear(number: int, _frame: object) -> None:
        if told.code is not None:
            os._exit(told.code)
        told.signals.append(number)
        loop.call_soon_threadsafe(stop, len(told.signals))

    # not with the loop's own: at the end of that, a signal would kill for a moment
    before = {one: signal.signal(one, hear) for one in SIGNALS}
    try:
        yield told
    except JobError:
        if len(told.signals) > 1:  # of what was cancelled
            raise asyncio.CancelledError from None
        raise
    finally:
        if told.code is None:
            for one, handler in before.items():
                signal.signal(one, handler)


@contextmanager
def _at_the_latest(seconds: float, shown: Shown) -> Generator[Callable[[], None]]:
    """Give a function after whose call the process ends within *seconds*, if the block has not ended by then.

    Nothing is lost by that: a job may be killed at any instant.
    """

    def leave() -> None:
        try:
            shown.give_up(KeyboardInterrupt())
        finally:
            os._exit(Code.INTERRUPTED)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True

    def begin() -> None:
        with suppress(RuntimeError):  # begun already
            timer.start()

    try:
        yield begin
    finally:
        timer.cancel()
