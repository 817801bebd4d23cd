"""`limio emulate`: a Limio over HTTP on this machine."""

from __future__ import annotations

import asyncio
import ipaddress

import click

from limio_async.cli.failures import Code, Failure, tell

__all__ = ["command"]

_PORT = 8642


@click.command("emulate")
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="0: any free.")
@click.option("--offers", type=click.IntRange(min=0), default=20_000, show_default=True)
@click.option("--subscriptions", type=click.IntRange(min=0), default=2_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Equal seeds and sizes: equal answers.")
def command(host: str, port: int, offers: int, subscriptions: int, seed: int) -> None:
    """Emulate a Limio tenant over HTTP until Ctrl-C.

    Says on stderr how to reach it; the lines can be pasted into a shell.
    """
    if not _is_loopback(host):
        raise Failure(
            f"--host {host}: the emulator serves this machine only; use 127.0.0.1, ::1 or localhost"
        )
    from limio_async.emulator import World
    from limio_async.emulator.server import run_server

    world = World(offers=offers, subscriptions=subscriptions, seed=seed)

    def ready(url: str) -> None:
        tell(f"emulating at {url}, Ctrl-C ends it")
        for name, value in {
            "HOST": url,
            "API_KEY": world.api_key,
            "CLIENT_ID": world.client_id,
            "CLIENT_SECRET": world.client_secret,
        }.items():
            click.echo(f"export LIMIO_{name}={value}", err=True)

    try:
        asyncio.run(run_server(world, host=host, port=port, ready=ready))
    except OSError as error:
        raise Failure(f"cannot serve at {host}:{port}: {_reason(error)}", Code.API) from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).rpartition(": ")[2]  # asyncio puts the address before it
