"""Looking at what `limio sync` has written; what several commands do before they show anything."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from limio_async.cli.failures import Failure, printable

if TYPE_CHECKING:  # --help does without what the extras bring
    from limio_async.sync_jobs.sink import Sink

__all__ = ["target"]

_ON_DISK = {"sqlite", "duckdb", "parquet", "ndjson", "csv"}


@contextmanager
def target(url: str, *, option: str = "--from") -> Generator[Sink]:
    """The target of a sync that *option* names, open as long as the block runs; nothing is made where there is none."""
    from limio_async.sync_jobs.ledger import RUNS, STREAMS
    from limio_async.sync_jobs.sinks import open_sink

    sink = open_sink(url)
    scheme, _, place = url.partition(":")
    path = Path(place.removeprefix("///")).expanduser()
    if scheme in _ON_DISK and not path.exists():
        raise Failure(
            f"{option} {printable(sink.name)}: there is no {printable(str(path))}; limio sync --to makes it"
        )
    try:
        sink.open(to_read=True)
        if next(chain(sink.rows(STREAMS), sink.rows(RUNS)), None) is None:
            raise Failure(f"{option} {printable(sink.name)}: nothing was synced to it by limio sync")
        yield sink
    finally:
        sink.close()
