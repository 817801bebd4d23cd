"""Does `limio sync` stay small, how fast is it into each target, and where does the time go? `python -m benchmarks.sync`

Each row is a `limio sync` of its own, over HTTP, of offers as the emulator has them, but served by `benchmarks.server`:
the emulator would be what is measured. Shares are of the whole duration; they overlap, as the list is fetched while the
target is written, and do not add up to 100 %. `--quick` does a tenth of it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec
import psycopg

from benchmarks.server import serving
from limio_async.sync_jobs.events import StreamReport

PAGE = 500
SIZES = (10_000, 100_000, 1_000_000)
INTO_EACH = 50_000
QUICK_SIZES = (10_000, 30_000, 100_000)
MOST_GROWTH = 32.0  # MiB, from the first size to the last
PACKAGES = ("aiohttp", "msgspec", "anyio", "psycopg", "duckdb", "pyarrow", "zstandard")
LIMIO = Path(sys.executable).with_name("limio")
POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"
SCHEMA = f"limio_benchmark_{os.getpid()}"


class Row(msgspec.Struct):
    """What one run came to."""

    report: StreamReport
    peak_mib: float

    @property
    def seconds(self) -> float:
        return self.report.seconds(self.report.started)

    @property
    def rate(self) -> float:
        return self.report.seen / self.seconds

    def share(self, seconds: float) -> str:
        return f"{seconds / self.seconds:.0%}"


def sync(url: str, to: str, directory: Path) -> Row:
    """Run the command line; the peak is what the system tells of the process."""
    environ = {**os.environ, "LIMIO_HOST": url, "LIMIO_API_KEY": "public_x", "XDG_STATE_HOME": str(directory)}
    command = [str(LIMIO), "sync", "offers", "--to", to, "--page-size", str(PAGE), "--json"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as running:
        last = deque(running.stdout or (), maxlen=1)  # events, then the closing report
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        sys.exit(f"limio sync --to {to}: exit code {running.returncode}")
    (report,) = msgspec.convert(msgspec.json.decode(last[0])["streams"], list[StreamReport])
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Row(report, peak)


def memory(sizes: tuple[int, ...]) -> None:
    print("| items into SQLite | seconds | items/s | peak memory, MiB | growth, MiB | complete |")
    print("|---:|---:|---:|---:|---:|---|")
    peaks: list[float] = []
    for number in sizes:
        with tempfile.TemporaryDirectory() as made, serving(number) as url:
            row = sync(url, f"sqlite:///{made}/limio.db", Path(made))
        peaks.append(row.peak_mib)
        growth = row.peak_mib - peaks[0]
        print(
            f"| {number:,} | {row.seconds:.1f} | {row.rate:,.0f} | {row.peak_mib:.0f} | {growth:+.0f} | {row.report.complete} |",
            flush=True,
        )
        if row.report.inserted != number:
            sys.exit(f"{row.report.inserted} of {number} offers are in the target")
    if peaks[-1] - peaks[0] > MOST_GROWTH:
        sys.exit("its memory grows with the number of items")


def throughput(number: int) -> None:
    print(f"{number:,} offers into each target, then once more without any change\n")
    heads = ["target", "seconds", "items/s", "network", "decode", "spool", "write", "again, items/s", "peak memory, MiB"]  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
    with tempfile.TemporaryDirectory() as made, serving(number) as url, targets(made) as known:
        for name, to in known.items():
            first, again = sync(url, to, Path(made)), sync(url, to, Path(made))
            told = first.report
            parts = (told.network_seconds, told.decode_seconds, told.spool_seconds, told.write_seconds)
            cells = [name, f"{first.seconds:.1f}", f"{first.rate:,.0f}", *map(first.share, parts)]
            cells += [f"{again.rate:,.0f}", f"{max(first.peak_mib, again.peak_mib):.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            if (told.inserted, again.report.unchanged) != (number, number):
                sys.exit(f"{name}: {told.inserted} inserted, then {again.report.unchanged} unchanged")


@contextmanager
def targets(directory: str) -> Generator[Mapping[str, str]]:
    """A URL of each kind; nothing is left of them afterwards."""
    known = {
        "SQLite": f"sqlite:///{directory}/limio.db",
        "PostgreSQL": f"{POSTGRES}?schema={SCHEMA}",
        "DuckDB": f"duckdb:///{directory}/limio.duckdb",
        "NDJSON": f"ndjson:{directory}/ndjson",
        "NDJSON, zstd": f"ndjson:{directory}/zstd?compress=zstd",
        "CSV": f"csv:{directory}/csv",
        "Parquet": f"parquet:{directory}/parquet",
    }
    try:
        db = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5)
    except psycopg.Error:
        print(f"(no PostgreSQL at {POSTGRES}: left out)")
        del known["PostgreSQL"]
        yield known
        return
    with db:
        try:
            yield known
        finally:
            db.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def main() -> None:
    quick = "--quick" in sys.argv
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"`limio sync offers` over HTTP, pages of {PAGE} offers of about 2.7 kB\n")
    throughput(INTO_EACH // 10 if quick else INTO_EACH)
    print()
    memory(QUICK_SIZES if quick else SIZES)


if __name__ == "__main__":
    main()
