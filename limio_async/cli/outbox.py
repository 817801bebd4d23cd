"""`limio outbox`: sends what an application intends, and lets a person look and decide."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from limio_async.cli.failures import Failure, printable, tell
from limio_async.cli.group import Group
from limio_async.cli.outbox_open import in_outbox, of_outbox, pages
from limio_async.cli.settings import Flags, open_client
from limio_async.cli.times import Duration, Moment

if TYPE_CHECKING:  # --help does without what the extras bring
    from limio_async.outbox import Outbox

__all__ = ["command"]

_STATES = ("intended", "sending", "missing", "doubt", "parked", "accepted", "refused", "failed")


@click.group("outbox", cls=Group)
def command() -> None:
    """Orders that are sent exactly as often as meant.

    An application intends them in its own database; `limio outbox run` sends them. The other commands show how they
    stand, and note what a person decides. URL is sqlite:///FILE or postgresql://HOST/DATABASE?schema=NAME.
    """


_personal = click.option("--personal", is_flag=True, help="Show personal data too, as it is.")


# --- sending


@command.command("run")
@click.option("--dry-run", is_flag=True, help="Show what would be done first; send and change nothing.")
@click.option("--until-idle", is_flag=True, help="End when nothing is left, or only what waits for a person.")
@click.option("--when-missing", type=click.Choice(["park", "resend"]), default="park", show_default=True, help="What becomes of an order in doubt that the list of orders lacks.")  # fmt: skip
@click.option("--settle", type=Duration(), default="10m", show_default=True, metavar="DURATION", help="How late an order may show up in the list.")  # fmt: skip
@click.option("--no-hold", is_flag=True, help="Let orders pass an earlier one of their subscription that is in doubt or parked.")  # fmt: skip
@click.option("--at-once", type=click.IntRange(min=1), default=4, show_default=True, help="Orders on the wire at once.")  # fmt: skip
@of_outbox
def run(flags: Flags, url: str, as_json: bool, dry_run: bool, until_idle: bool, when_missing: Literal["park", "resend"],
        settle: timedelta, no_hold: bool, at_once: int) -> int:  # fmt: skip
    """Send what is intended and look for what is in doubt, until Ctrl-C.

    The first Ctrl-C or SIGTERM waits up to 10 seconds for what is on the wire, the second ends it at once. Kill it at
    any time: nothing is sent twice. On SQLite one process runs it, on PostgreSQL any number.

    Exit codes: 0 done (--until-idle), 1 it could not start or go on, 2 usage, 3 no usable credentials, 4 something
    waits for a person or for limio outbox resume (--until-idle), 130 interrupted.
    """
    from limio_async.cli.outbox_run import explain, send

    if dry_run:
        return explain(flags, url, hold=not no_hold, as_json=as_json)
    return send(flags, url, as_json=as_json, until_idle=until_idle, when_missing=when_missing, settle=settle, hold=not no_hold, at_once=at_once)  # fmt: skip


@command.command("pause")
@of_outbox
def pause(flags: Flags, url: str, as_json: bool) -> int:
    """Send nothing from now on, in any process, until `limio outbox resume`; what is in doubt is looked for."""
    return _steered(flags, url, lambda outbox: outbox.pause(), "paused", as_json=as_json)


@command.command("resume")
@of_outbox
def resume(flags: Flags, url: str, as_json: bool) -> int:
    """Send again."""
    return _steered(flags, url, lambda outbox: outbox.resume(), "sending again", as_json=as_json)


def _steered(
    flags: Flags, url: str, steer: Callable[[Outbox], Awaitable[None]], said: str, *, as_json: bool
) -> int:
    from limio_async.cli.outbox_view import counted, show_value

    async def work(outbox: Outbox) -> int:
        await steer(outbox)
        stats = await outbox.stats()
        if as_json:
            show_value(msgspec.structs.asdict(stats), as_json=True)
        _say(flags, f"{said}; {counted(stats)}")
        return 0

    return in_outbox(flags, url, work)


# --- looking


@command.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only those.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--after", metavar="KEY", help="Only those that were intended later than KEY.")
@_personal
@of_outbox
def list_(flags: Flags, url: str, as_json: bool, state: Any, limit: int | None, after: str | None, personal: bool) -> int:  # fmt: skip
    """Show how orders stand, in the order of their intents."""
    from limio_async.cli.outbox_view import COLUMNS, show_rows, shown
    from limio_async.cli.output import TableOfItems

    table, states = None if as_json else TableOfItems(*COLUMNS), () if state is None else (state,)

    async def work(outbox: Outbox) -> int:
        async for page in pages(outbox, *states, limit=limit, after=after):
            show_rows([shown(row, personal=personal) for row in page], table)
        return 0

    return in_outbox(flags, url, work)


@command.command("show")
@click.argument("key")
@_personal
@of_outbox
def show(flags: Flags, url: str, as_json: bool, key: str, personal: bool) -> int:
    """Show one order: how it stands, what came of each attempt, and its body."""
    from limio_async.cli.outbox_view import show_value, shown, shown_answer, shown_order

    async def work(outbox: Outbox) -> int:
        order, answers = await outbox.order(key), await outbox.answers(key)
        found = shown(await outbox.outcome(key), personal=personal)
        found["answers"] = [shown_answer(one, personal=personal) for one in answers]
        found["order"] = None if order is None else shown_order(order, personal=personal)
        show_value(found, as_json=as_json)
        return 0

    return in_outbox(flags, url, work)


@command.command("stats")
@of_outbox
def stats_(flags: Flags, url: str, as_json: bool) -> int:
    """Show how many orders are in which state, and since when the oldest waits."""
    from limio_async.cli.outbox_view import show_value

    async def work(outbox: Outbox) -> int:
        show_value(msgspec.structs.asdict(await outbox.stats()), as_json=as_json)
        return 0

    return in_outbox(flags, url, work)


# --- deciding


@command.command("resolve")
@click.argument("key")
@click.option("--as", "as_", metavar="accepted:ORDER_ID|never", help="It is that order, which is fetched and compared; or it was never made.")  # fmt: skip
@click.option("--send-again", is_flag=True, help="It was not made, and shall be: send it again.")
@click.option("--by", metavar="NAME", help="Who decides  [you, on this machine]")
@of_outbox
def resolve(flags: Flags, url: str, as_json: bool, key: str, as_: str | None, send_again: bool, by: str | None) -> int:  # fmt: skip
    """Decide about an order in doubt or parked; who and when is noted."""
    if (as_ is None) is not send_again:
        raise click.UsageError("give one of --as accepted:ORDER_ID, --as never and --send-again")
    how, _, order_id = (as_ or "").partition(":")
    if as_ is not None and as_ != "never" and not (how == "accepted" and order_id):
        raise click.UsageError(f"--as is accepted:ORDER_ID or never, not {printable(as_)}")
    by = by or _who()
    from limio_async.cli.outbox_view import show_value, shown

    async def work(outbox: Outbox) -> int:
        if order_id:
            async with open_client(flags) as limio:
                outcome = await outbox.resolve(key, as_, by=by, limio=limio)
        else:
            outcome = await outbox.resolve(key, as_, send_again=send_again, by=by)
        if as_json:
            show_value(shown(outcome, personal=False), as_json=True)
        _say(flags, f"{key} is {outcome.state}; noted: {outcome.resolved}")
        return 0

    return in_outbox(flags, url, work)


@command.command("doubt")
@click.option("--since", type=Moment(), required=True, metavar="MOMENT", help="When the backup was made: 2026-01-31, 2026-01-31T04:00:00Z, 7d.")  # fmt: skip
@of_outbox
def doubt(flags: Flags, url: str, as_json: bool, since: datetime) -> int:
    """After a restore: look for what waits before it is sent, since it may have been sent in what was lost."""
    return _counting(flags, url, lambda outbox: outbox.doubt(since=since), "in_doubt", "in doubt, and looked for before anything is sent", as_json=as_json)  # fmt: skip


@command.command("purge")
@click.option("--before", type=Moment(), default="30d", show_default=True, metavar="MOMENT", help="Only what was settled before then.")  # fmt: skip
@of_outbox
def purge(flags: Flags, url: str, as_json: bool, before: datetime) -> int:
    """Empty bodies and answers of settled orders. Keys and states stay for ever: no key can be used again."""
    return _counting(flags, url, lambda outbox: outbox.purge(before=before), "purged", "purged", as_json=as_json)  # fmt: skip


@command.command("erase")
@click.argument("key", required=False)
@click.option("--owner", metavar="ID", help="All orders whose owner is that.")
@click.option("--cancel", is_flag=True, help="Erase also what was not sent yet, which then never is.")
@of_outbox
def erase(flags: Flags, url: str, as_json: bool, key: str | None, owner: str | None, cancel: bool) -> int:
    """Empty a person's order bodies, answers and error texts, for good. Keys stay."""
    if (key is None) is (owner is None):
        raise click.UsageError("give KEY, or --owner ID")
    return _counting(flags, url, lambda outbox: outbox.erase(key=key, owner=owner, cancel=cancel), "erased", "erased", as_json=as_json)  # fmt: skip


def _counting(flags: Flags, url: str, act: Callable[[Outbox], Awaitable[int]], name: str, said: str, *, as_json: bool) -> int:  # fmt: skip
    from limio_async.cli.outbox_view import counted_orders, show_value

    async def work(outbox: Outbox) -> int:
        count = await act(outbox)
        if as_json:
            show_value({name: count}, as_json=True)
        _say(flags, f"{said}: {counted_orders(count)}")
        return 0

    return in_outbox(flags, url, work)


def _say(flags: Flags, message: str) -> None:
    if not flags.quiet:
        tell(message)


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        raise Failure("--by NAME: say who decides; this user has no name here") from None
