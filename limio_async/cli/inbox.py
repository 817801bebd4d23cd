"""`limio inbox`: receives webhooks, handles them with an application's functions, and lets a person look and decide."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from limio_async.cli.failures import Code, Failure, printable, tell
from limio_async.cli.group import Group
from limio_async.cli.loop import in_loop, until_stopped
from limio_async.cli.settings import Flags, open_client
from limio_async.cli.times import Duration, Moment

if TYPE_CHECKING:  # --help does without what the extras bring
    from limio_async.webhooks import Inbox

__all__ = ["command"]

T = TypeVar("T")
_STATES = ("open", "done", "parked", "dropped")
_PAGE = 1000
_CREDENTIALS = ("LIMIO_WEBHOOK_CREDENTIALS", "LIMIO_WEBHOOK_CREDENTIALS_OLD")
_MAKES = "limio inbox serve makes one, and so does the application that receives"


@click.group("inbox", cls=Group)
def command() -> None:
    """Webhooks that are stored before they are answered, and handled once.

    `limio inbox serve` or an application receives them; an application's functions handle them. The other commands show
    how they stand, and note what a person decides. URL is sqlite:///FILE or postgresql://HOST/DATABASE?schema=NAME.
    """


def _of_inbox(decorated: Callable[..., int]) -> Callable[..., Any]:
    url = click.option("--inbox", "url", required=True, envvar="LIMIO_INBOX", metavar="URL", help="Where the events are  [LIMIO_INBOX]")  # fmt: skip
    as_json = click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
    return url(as_json(click.pass_obj(decorated)))


_personal = click.option("--personal", is_flag=True, help="Show personal data too, as it is.")


# --- receiving and handling


@command.command("serve")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True)
@click.option("--allow-anonymous", is_flag=True, help="Let in everybody who finds the address.")
@_of_inbox
def serve(flags: Flags, url: str, as_json: bool, listen: str, port: int, allow_anonymous: bool) -> int:
    """Receive webhooks at /hooks/{type}, until Ctrl-C; put a proxy that speaks TLS before it.

    LIMIO_WEBHOOK_CREDENTIALS is user:password, LIMIO_WEBHOOK_CREDENTIALS_OLD another such pair while they are changed.
    """
    from limio_async.webhooks import Inbox
    from limio_async.webhooks.serving import serve

    pairs = [_pair(name, found) for name in _CREDENTIALS if (found := os.environ.get(name))]
    if not pairs and not allow_anonymous:
        raise Failure(f"set {_CREDENTIALS[0]} to user:password, or let everybody in: --allow-anonymous")
    inbox = Inbox(url)
    receiver = inbox.receiver(pairs, allow_anonymous=allow_anonymous)

    def listens(where: str) -> None:
        if as_json:
            _show({"listens": where}, as_json=True)
        if not flags.quiet:
            tell(f"receiving at {where}")

    async def work() -> None:
        async with inbox:
            await serve(receiver, listen, port, listens)

    _until_interrupted(flags, work(), "inbox serve: interrupted; what was answered 202 is stored")
    return Code.OK


def _pair(name: str, found: str) -> tuple[str, str]:
    user, _, password = found.partition(":")
    if not user or not password:
        raise Failure(f"{name} is not user:password, with neither of them empty")
    return user, password


@command.command("work")
@click.argument("where", metavar="MODULE:NAME")
@click.option("--workers", type=click.IntRange(min=1), default=16, show_default=True, help="Keys at once.")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to handle.")
@click.pass_obj
def work(flags: Flags, where: str, workers: int, until_idle: bool) -> int:
    """Handle events with the functions of an application, until Ctrl-C.

    MODULE:NAME is its `Inbox`, such as shop.hooks:inbox, with all its functions registered. The first Ctrl-C or SIGTERM
    waits up to 20 seconds for those that run, the second ends it at once.
    """
    inbox = _named(where)

    async def run() -> None:
        async with open_client(flags, concurrency=max(16, 2 * workers)) as limio, inbox:
            working = inbox.run(limio, workers=workers, until_idle=until_idle)
            await until_stopped(working, "functions that run", interrupted)

    interrupted = "inbox work: interrupted; the same command goes on"
    _until_interrupted(flags, run(), interrupted)
    return Code.OK


def _named(where: str) -> Inbox:
    from limio_async.webhooks import Inbox

    module, _, name = where.partition(":")
    sys.path.insert(0, "")
    try:
        found: object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Failure(f"{printable(where)}: {printable(str(error))}; it is MODULE:NAME") from None
    if not isinstance(found, Inbox):
        raise Failure(f"{printable(where)} is no limio_async.webhooks.Inbox")
    return found


def _until_interrupted(flags: Flags, running: Any, said: str) -> None:
    try:
        in_loop(running, on_uvloop=flags.uvloop)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Failure(said, Code.INTERRUPTED) from None


# --- looking


@command.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only those.")
@click.option("--type", "type_", metavar="TYPE", help="Only those, such as order_submitted.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--after", type=int, default=0, metavar="SEQ", help="Only those that came later than SEQ.")
@_personal
@_of_inbox
def list_(flags: Flags, url: str, as_json: bool, state: Any, type_: str | None, limit: int | None, after: int, personal: bool) -> int:  # fmt: skip
    """Show how events stand, in the order in which they came."""
    from limio_async.cli.inbox_view import COLUMNS, shown
    from limio_async.cli.output import TableOfItems, to_stdout

    table = None if as_json else TableOfItems(*COLUMNS)

    async def work(inbox: Inbox) -> int:
        left, last = limit, after
        while left is None or left > 0:  # each page is read to its end before it is shown
            size = _PAGE if left is None else min(left, _PAGE)
            page = await inbox.list(state, type=type_, limit=size, after=last)
            lines = [msgspec.json.encode(shown(event, personal=personal)) for event in page]
            if table is None:
                to_stdout(b"".join(line + b"\n" for line in lines))
            else:
                table.add(lines)
            if len(page) < size:
                break
            left, last = None if left is None else left - len(page), page[-1].seq
        return Code.OK

    return _in_inbox(flags, url, work)


@command.command("show")
@click.argument("seq", type=int)
@_personal
@_of_inbox
def show(flags: Flags, url: str, as_json: bool, seq: int, personal: bool) -> int:
    """Show one event: how it stands, and its body."""
    from limio_async.cli.inbox_view import shown

    async def work(inbox: Inbox) -> int:
        _show(shown(await inbox.show(seq), personal=personal, body=True), as_json=as_json)
        return Code.OK

    return _in_inbox(flags, url, work)


@command.command("stats")
@click.option("--warn-after", type=Duration(), metavar="DURATION", help="End with 5 where an event waits for longer than that.")  # fmt: skip
@_of_inbox
def stats_(flags: Flags, url: str, as_json: bool, warn_after: timedelta | None) -> int:
    """Show how many events are in which state, and since when the oldest waits."""

    async def work(inbox: Inbox) -> int:
        found = await inbox.stats()
        _show(msgspec.structs.asdict(found), as_json=as_json)
        waits = None if found.oldest_open is None else datetime.now(UTC) - found.oldest_open
        return (
            Code.TOO_OLD if waits is not None and warn_after is not None and waits > warn_after else Code.OK
        )

    return _in_inbox(flags, url, work)


# --- deciding


@command.command("retry")
@click.argument("seq", type=int, required=False)
@click.option("--all-since", type=Moment(), metavar="MOMENT", help="All that were parked since then: 2026-01-31, 2026-01-31T04:00:00Z, 7d.")  # fmt: skip
@_of_inbox
def retry(flags: Flags, url: str, as_json: bool, seq: int | None, all_since: datetime | None) -> int:
    """Handle a parked event again, or all that were parked since a moment."""
    if (seq is None) is (all_since is None):
        raise click.UsageError("give SEQ, or --all-since MOMENT")
    return _counting(flags, url, lambda inbox: inbox.retry(seq, all_since=all_since), "open again", as_json=as_json)  # fmt: skip


@command.command("drop")
@click.argument("seq", type=int)
@_of_inbox
def drop(flags: Flags, url: str, as_json: bool, seq: int) -> int:
    """Never handle an open or parked event; what waits behind it goes on."""

    async def dropped(inbox: Inbox) -> int:
        await inbox.drop(seq)
        return 1

    return _counting(flags, url, dropped, "dropped", as_json=as_json)


@command.command("erase")
@click.option("--id", "id_", metavar="ID", help="All events about that object.")
@click.option("--owner", metavar="ID", help="All events about objects whose owner is that.")
@click.option("--cancel", is_flag=True, help="Erase also what was not handled yet, which then never is.")
@_of_inbox
def erase(flags: Flags, url: str, as_json: bool, id_: str | None, owner: str | None, cancel: bool) -> int:
    """Empty a person's bodies and error texts, for good. Digests stay: what comes again unchanged is still a repeat."""
    if (id_ is None) is (owner is None):
        raise click.UsageError("give --id ID, or --owner ID")
    return _counting(flags, url, lambda inbox: inbox.erase(id=id_, owner=owner, cancel=cancel), "erased", as_json=as_json)  # fmt: skip


# --- what they share


def _counting(flags: Flags, url: str, act: Callable[[Inbox], Awaitable[int]], said: str, *, as_json: bool) -> int:  # fmt: skip
    async def work(inbox: Inbox) -> int:
        count = await act(inbox)
        if as_json:
            _show({said.replace(" ", "_"): count}, as_json=True)
        if not flags.quiet:
            tell(f"{count:,} {'event is' if count == 1 else 'events are'} {said}")
        return Code.OK

    return _in_inbox(flags, url, work)


def _in_inbox(flags: Flags, url: str, work: Callable[[Inbox], Awaitable[T]]) -> T:
    """Return what *work* does with an inbox that is there; none is made."""

    async def within() -> T:
        async with _there(url) as inbox:
            return await work(inbox)

    return in_loop(within(), on_uvloop=flags.uvloop)


@asynccontextmanager
async def _there(url: str) -> AsyncGenerator[Inbox]:
    from limio_async.stores import store_of
    from limio_async.sync_jobs.sinks.urls import file_of
    from limio_async.webhooks import Inbox
    from limio_async.webhooks.schema import META

    store = store_of(url, "inbox")
    if url.startswith("sqlite:") and not (file := file_of(url, "sqlite")[0]).exists():
        raise Failure(f"--inbox {printable(url)}: there is no {printable(str(file))}; {_MAKES}")
    try:
        await store.open()
        known = await store.do(lambda store: store.has(META), reads=True)
    finally:
        await store.close()
    if not known:
        raise Failure(f"--inbox {printable(store.name)}: there is no inbox in it; {_MAKES}")
    async with Inbox(url) as inbox:
        yield inbox


def _show(value: dict[str, Any], *, as_json: bool) -> None:
    from limio_async.cli.output import show_table, to_stdout

    line = msgspec.json.encode(value)
    if as_json:
        to_stdout(line + b"\n")
    else:
        show_table(line)
