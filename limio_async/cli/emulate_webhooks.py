"""The options of `limio emulate` about webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:  # --help does without an emulator
    from limio_async.emulator import World

__all__ = ["check_webhooks", "given", "send_webhooks", "webhook_options"]

_SECONDS = click.FloatRange(0, 366 * 86_400)
_OPTIONS = [
    click.option(
        "--webhooks",
        multiple=True,
        metavar="URL",
        help="Send webhooks there, such as to http://127.0.0.1:9000/hooks/{type}. Name and password may be in the URL.",
    ),
    click.option(
        "--webhook-type", multiple=True, metavar="TYPE", help="Send these only, such as order_submitted."
    ),
    click.option(
        "--webhook-retries",
        type=click.IntRange(0, 1_000),
        default=0,
        show_default=True,
        help="How often one is sent again that was not answered with 2xx within 2 seconds.",
    ),
    click.option(
        "--webhook-wait",
        type=_SECONDS,
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Wait so long before that.",
    ),
    click.option(
        "--webhook-duplicates",
        type=click.IntRange(0, 1_000),
        default=0,
        show_default=True,
        help="How often each is sent besides, whatever was answered.",
    ),
    click.option(
        "--late-webhooks",
        type=_SECONDS,
        default=0.0,
        metavar="SECONDS",
        help="Send each so long after its change.",
    ),
    click.option(
        "--uneven-webhooks",
        is_flag=True,
        help="Let each have a time of its own, up to that of --late-webhooks: they overtake each other.",
    ),
    click.option("--mixed-webhooks", is_flag=True, help="Send what is due at one moment in no order."),
    click.option(
        "--lose-webhooks",
        type=click.FloatRange(0, 1),
        default=0.0,
        metavar="SHARE",
        help="Never send this share of them, such as 0.1.",
    ),
]


def webhook_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given() -> set[str]:
    """Return the names of the options that the command line has."""
    context = click.get_current_context()
    return {
        name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def check_webhooks(named: set[str], options: Mapping[str, Any]) -> None:
    """Refuse options that nothing would come of."""
    for needed, idle in (
        ("webhooks", options.keys() - {"webhooks"}),
        ("webhook_retries", {"webhook_wait"}),
        ("late_webhooks", {"uneven_webhooks"}),
    ):
        if not options[needed] and (found := sorted(named & idle)):
            words = " and ".join(f"--{name.replace('_', '-')}" for name in found)
            needs = f"--{needed.replace('_', '-')}"
            raise click.UsageError(f"{words} {'go' if len(found) > 1 else 'goes'} with {needs}")


def send_webhooks(world: World, options: Mapping[str, Any]) -> None:
    """Let *world* send what the options ask for."""
    from limio_async.emulator.webhooks import WebhookManner

    for url in options["webhooks"]:
        try:
            world.webhooks.to(url, types=options["webhook_type"] or None)
        except ValueError as error:
            raise click.UsageError(f"--webhooks: {error}") from None
    world.webhooks.manner = WebhookManner(
        retries=options["webhook_retries"],
        wait=options["webhook_wait"],
        duplicates=options["webhook_duplicates"],
        late=options["late_webhooks"],
        uneven=options["uneven_webhooks"],
        mixed=options["mixed_webhooks"],
        loss=options["lose_webhooks"],
    )
