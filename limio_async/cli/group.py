"""A group of commands that knows its names in any spelling."""

from __future__ import annotations

import click

from limio_async.cli.failures import did_you_mean
from limio_async.cli.operation import hyphens

__all__ = ["Group"]


class Group(click.Group):
    """A group whose names may be written with underscores, and that suggests near names."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant."""
        name = hyphens(args[0])
        known = self.list_commands(ctx)
        if name in known or ctx.resilient_parsing or name.startswith("-"):
            return super().resolve_command(ctx, [name, *args[1:]])
        raise click.UsageError(f"no such command: {args[0]}{did_you_mean(name, known)}", ctx)
