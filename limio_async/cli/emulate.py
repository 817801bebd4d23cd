"""`limio emulate`: a Limio over HTTP on this machine."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from limio_async.cli.emulate_webhooks import check_webhooks, given, send_webhooks, webhook_options
from limio_async.cli.failures import Code, Failure, tell
from limio_async.cli.settings import Flags, settings, way_of

if TYPE_CHECKING:  # --help does without an emulator
    from limio_async.cli.kept import Kept
    from limio_async.emulator import World

__all__ = ["command"]

_PORT = 8642
_PATH = click.Path(path_type=Path)
_BETWEEN_SAVES = 3.0
_SECONDS = click.FloatRange(0, 366 * 86_400)


@click.command("emulate")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--allow-remote", is_flag=True, help="Let --host be one that other machines can reach.")
@click.option("--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="0: any free.")
@click.option("--offers", type=click.IntRange(min=0), default=20_000, show_default=True)
@click.option("--subscriptions", type=click.IntRange(min=0), default=2_000, show_default=True)
@click.option(
    "--envelope",
    type=click.Choice(["live", "documented"]),
    default="live",
    show_default=True,
    help="Catalog items as live tenants answer them, or with times, status and more outside as documented.",
)
@click.option(
    "--modified-filter",
    type=click.Choice(["every", "only-modified"]),
    default="every",
    show_default=True,
    help="Whether opt.modifiedAfter knows of every item when it changed, or leaves out those without modified.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Equal seeds and sizes: equal answers.")
@click.option("--faults", type=_PATH, metavar="FILE", help="Let go wrong what this TOML file says.")
@click.option(
    "--late-lists",
    type=_SECONDS,
    default=0.0,
    metavar="SECONDS",
    help="Let a new object appear in lists of objects only so long after it was made.",
)
@click.option(
    "--uneven", is_flag=True, help="Let each object have a time of its own, up to that of --late-lists."
)
@click.option(
    "--late-reads",
    type=_SECONDS,
    default=0.0,
    metavar="SECONDS",
    help="Let an object be read as it was before it was written for so long: 404, or the older state.",
)
@click.option(
    "--list-order",
    type=click.Choice(["oldest-first", "newest-first", "mixed"]),
    default="oldest-first",
    show_default=True,
    help="How the rows of lists of objects stand; mixed: within each page in no order.",
)
@click.option(
    "--list-data",
    type=click.Choice(["summary", "absent", "null", "empty"]),
    default="summary",
    show_default=True,
    help="What data is in the rows of lists of objects.",
)
@webhook_options
@click.option("--control", is_flag=True, help="Let programs of this machine arm faults, advance the clock, …")
@click.option(
    "--data",
    type=_PATH,
    metavar="DIR",
    help="Serve what limio … --to DIR/offers.ndjson exported, or recorded answers (offers.json).",
)
@click.option("--state", type=_PATH, metavar="FILE", help="Keep what changes in a SQLite file.")
@click.option(
    "--record",
    type=(str, _PATH),
    metavar="HOST DIR",
    help="Pass on to a real tenant instead and keep its answers in DIR, names and the like masked.",
)
@click.pass_obj
def command(
    flags: Flags,
    /,
    host: str,
    allow_remote: bool,
    port: int,
    offers: int,
    subscriptions: int,
    envelope: Literal["live", "documented"],
    modified_filter: Literal["every", "only-modified"],
    seed: int,
    faults: Path | None,
    late_lists: float,
    uneven: bool,
    late_reads: float,
    list_order: Literal["oldest-first", "newest-first", "mixed"],
    list_data: Literal["summary", "absent", "null", "empty"],
    control: bool,
    data: Path | None,
    state: Path | None,
    record: tuple[str, Path] | None,
    **webhooks: Any,
) -> None:
    """Emulate a Limio tenant over HTTP until Ctrl-C.

    Says on stderr how to reach it; the lines can be pasted into a shell.
    """
    from limio_async.emulator.http.admission import is_loopback

    if not allow_remote and not is_loopback(host):
        raise Failure(
            f"--host {host}: the emulator serves this machine only; use 127.0.0.1, ::1 or localhost, "
            "or --allow-remote where others may reach it"
        )
    if record is not None:
        if others := given() - {"host", "port", "record"}:
            names = ", ".join(sorted(f"--{name.replace('_', '-')}" for name in others))
            raise click.UsageError(f"--record goes without {names}: the tenant answers as it is")
        _run(_recording(*record, host, port, way_of(settings(flags, os.environ))), host, port)
        return
    if uneven and not late_lists:
        raise click.UsageError("--uneven goes with --late-lists")
    check_webhooks(given(), webhooks)
    from limio_async.emulator import World
    from limio_async.emulator.data.views import ListManner, ReadManner

    world = World(
        offers=offers,
        subscriptions=subscriptions,
        seed=seed,
        envelope=envelope,
        modified_filter=modified_filter,
    )
    if allow_remote and is_loopback(host):
        tell(f"warning: --allow-remote changes nothing: {host} is this machine only; add --host 0.0.0.0")
    if data is not None:
        for line in world.read_data(data):
            tell(line)
    if faults is not None:
        world.faults.read(faults)
    world.lists.manner = ListManner(late=late_lists, uneven=uneven, order=list_order, data=list_data)
    world.reads.manner = ReadManner(late=late_reads)
    send_webhooks(world, webhooks)
    with _kept(world, state) as kept:
        _run(_emulating(world, host, port, control=control, kept=kept), host, port)


async def _emulating(world: World, host: str, port: int, *, control: bool, kept: Kept | None) -> None:
    from limio_async.emulator.http.admission import is_loopback
    from limio_async.emulator.server import run_server

    def ready(url: str) -> None:
        url = _from_here(url)
        if not is_loopback(host):
            tell("other machines reach it under a name of this one, and need LIMIO_PLAIN_HTTP=1")
        tell(f"emulating at {url}, Ctrl-C ends it; look in at {url}/_emulator/")
        for receiver in world.webhooks.receivers:
            tell(f"sending webhooks to {receiver}")
        for name, value in world.environ(url).items():
            click.echo(f"export {name}={value}", err=True)

    saving = asyncio.create_task(_save_now_and_then(kept)) if kept else None
    try:
        await run_server(world, host=host, port=port, control=control, ready=ready)
    finally:
        if saving is not None:
            saving.cancel()


async def _recording(tenant: str, directory: Path, host: str, port: int, way: Mapping[str, Any]) -> None:
    from limio_async.cli.recording import record

    def ready(url: str) -> None:
        tell(f"recording {tenant} to {directory} at {url}, Ctrl-C ends it")
        click.echo(f"export LIMIO_HOST={url}", err=True)

    await record(tenant, directory, host=host, port=port, ready=ready, way=way)


async def _save_now_and_then(kept: Kept) -> None:
    while True:
        await asyncio.sleep(_BETWEEN_SAVES)
        kept.save_if_changed()


@contextmanager
def _kept(world: World, file: Path | None) -> Generator[Kept | None]:
    if file is None:
        yield None
        return
    from limio_async.cli.kept import Kept

    kept = Kept(world, file)
    try:
        yield kept
    finally:
        kept.close()


def _run(serving: Coroutine[Any, Any, None], host: str, port: int) -> None:
    try:
        asyncio.run(serving)
    except OSError as error:
        raise Failure(f"cannot serve at {host}:{port}: {_reason(error)}", Code.API) from None


def _from_here(url: str) -> str:
    """*url* as this machine can ask for it: an address that means every one is none to ask at."""
    for every, own in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(every, own)
    return url


def _reason(error: OSError) -> str:
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return (error.strerror or type(error).__name__).rpartition(": ")[2]  # asyncio puts the address before it
