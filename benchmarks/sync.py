"""Does `limio sync` keep its goals, does it stay small, and where does the time go? `python -m benchmarks.sync`

Each row is a `limio sync` of its own, over HTTP, of offers as the emulator has them, but served by `benchmarks.server`:
the emulator would be what is measured. Shares are of the whole duration; they overlap, as the list is fetched while the
target is written, and do not add up to 100 %. `--quick` does a tenth of it, `--short` looks at the goals only, in about
two minutes. Ends with an error where a goal is broken.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from benchmarks.goals import SYNC_GOALS, Goal, judged
from benchmarks.server import serving
from benchmarks.sync_stage import FULL, PAGE, POSTGRES, SHORT, NoPostgres, SyncStage, schema, synced
from benchmarks.tables import Table, printed

BETWEEN = 100_000  # offers, of the table of memory
PACKAGES = ("aiohttp", "msgspec", "anyio", "psycopg", "duckdb", "pyarrow", "zstandard", "dlt")


def memory(stage: SyncStage) -> Table:
    sizes = sorted({stage.scale.least, min(BETWEEN, stage.scale.most), stage.scale.most})

    def rows() -> Iterator[Sequence[str]]:
        for number in sizes:
            row, first = stage.row(number), stage.row(sizes[0])
            peak = row.used.peak_mib
            yield [
                f"{number:,}",
                f"{row.seconds:.1f}",
                f"{row.rate:,.0f}",
                f"{peak:.0f}",
                f"{peak - first.used.peak_mib:+.0f}",
                str(row.report.complete),
            ]

    heads = ("items into SQLite", "seconds", "items/s", "peak memory, MiB", "growth, MiB", "complete")
    return Table("Memory", heads, rows())


def throughput(number: int) -> Table:
    def rows() -> Iterator[Sequence[str]]:
        with tempfile.TemporaryDirectory() as made, serving(number) as url, targets(made) as known:
            for name, to in known.items():
                first, again = synced(url, to, Path(made)), synced(url, to, Path(made))
                told = first.report
                if (told.inserted, again.report.unchanged) != (number, number):
                    sys.exit(f"{name}: {told.inserted} inserted, then {again.report.unchanged} unchanged")
                parts = (told.network_seconds, told.decode_seconds, told.spool_seconds, told.write_seconds)
                peak = max(first.used.peak_mib, again.used.peak_mib)
                cells = [name, f"{first.seconds:.1f}", f"{first.rate:,.0f}", *map(first.share, parts)]
                yield [*cells, f"{again.rate:,.0f}", f"{peak:.0f}"]

    heads = ("target", "seconds", "items/s", "network", "decode", "spool", "write", "again, items/s", "peak memory, MiB")  # fmt: skip
    return Table(f"{number:,} offers into each target, then once more without any change", heads, rows())


@contextmanager
def targets(directory: str) -> Generator[Mapping[str, str]]:
    """A URL of each kind; nothing is left of them afterwards."""
    with ExitStack() as ends:
        try:
            name = ends.enter_context(schema(f"limio_benchmark_{os.getpid()}"))
            postgres = {"PostgreSQL": f"{POSTGRES}?schema={name}"}
        except NoPostgres as reason:
            print(f"({reason}: left out)")
            postgres = {}
        yield {
            "SQLite": f"sqlite:///{directory}/limio.db",
            **postgres,
            "DuckDB": f"duckdb:///{directory}/limio.duckdb",
            "NDJSON": f"ndjson:{directory}/ndjson",
            "NDJSON, zstd": f"ndjson:{directory}/zstd?compress=zstd",
            "CSV": f"csv:{directory}/csv",
            "Parquet": f"parquet:{directory}/parquet",
        }


def tables(stage: SyncStage, broken: list[Goal], *, short: bool) -> Iterator[Table]:
    if not short:
        yield throughput(stage.scale.offers)
        yield memory(stage)
    yield judged(SYNC_GOALS, stage, broken)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"`limio sync offers` over HTTP, pages of {PAGE} offers of about 2.5 kB")
    broken: list[Goal] = []
    with ExitStack() as held:
        stage = SyncStage(SHORT if args.short or args.quick else FULL, held)
        for table in tables(stage, broken, short=args.short):
            printed(table)
    if broken:
        sys.exit("broken: " + "; ".join(goal.what for goal in broken))


if __name__ == "__main__":
    main()
