"""`limio completion`: the script that lets a shell complete names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, such as for `source <(limio completion bash)`."""
    root = ctx.find_root()
    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(root.command, {}, "limio", "_LIMIO_COMPLETE").source())
