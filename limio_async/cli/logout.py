"""`limio logout`: the kept token goes."""

from __future__ import annotations

import asyncio
import os

import click

from limio_async.auth import FileTokenStore
from limio_async.cli.failures import Failure, tell
from limio_async.cli.settings import Flags, settings, tenant, token_file

__all__ = ["command"]


@click.command("logout")
@click.pass_obj
def command(flags: Flags) -> None:
    """Remove what `limio login` kept for this host and profile.

    Limio is not told: the token itself stays good until its hour is over.
    """
    if flags.emulated:
        raise Failure("--emulated: nobody can sign in to it")
    origin = tenant(settings(flags, os.environ), os.environ)
    file = token_file(origin, flags, os.environ)
    tell(
        f"signed out of {origin}; {file} is gone"
        if asyncio.run(_removed(FileTokenStore(file), origin))
        else f"nobody is signed in to {origin}"
    )


async def _removed(store: FileTokenStore, origin: str) -> bool:
    token = await store.load()  # which refuses a file of another kind
    if token is None or token.origin != origin:
        return False
    await store.save(None)
    return True
