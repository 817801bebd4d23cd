"""`limio report`: a page to look at what `limio sync` keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from limio_async.cli.failures import Code, Failure, tell
from limio_async.cli.reading import target

__all__ = ["command"]


@click.command("report")
@click.option("--from", "url", required=True, metavar="URL", help="What limio sync writes --to.")
@click.option("--html", "file", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE", help="The page to write.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def command(url: str, file: Path, force: bool) -> None:
    """Write a page about a target: runs, items, offers, subscriptions, journeys, quarantine, drift.

    One file that loads nothing and runs no script; it can be mailed, printed and kept.
    """
    try:
        from limio_async.report.figures import read
        from limio_async.report.page import render, write
    except ModuleNotFoundError as error:
        raise Failure(f"limio report needs {error.name}: pip install 'limio_async[report]'") from None
    if file.exists() and not force:
        raise Failure(f"--html {file}: it is there already; --force replaces it")
    if not file.parent.is_dir():
        raise Failure(f"--html {file}: no such file or directory", Code.API)
    with target(url) as sink:
        page = render(read(sink), target=sink.name, now=datetime.now(UTC))
    try:
        write(page, file)
    except OSError as error:
        raise Failure(f"--html {file}: {(error.strerror or str(error)).lower()}", Code.API) from None
    tell(f"{file}: {len(page.encode()) / 1000:,.0f} kB")
