"""Where does the time of `limio sync` go, and what do several streams at once gain? `python -m benchmarks.sync_parts`

CPU of the thread that does a part, waits for Python's lock not included; a part in another is counted in both.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.server import serving
from benchmarks.sync_stage import CREDENTIALS, PAGE, POSTGRES, NoPostgres, Used, schema, used
from benchmarks.tables import Table, printed

OFFERS = 50_000
OF_EACH = 20_000
LISTS = ("offers", "products", "campaigns", "assets")
PARTS = {
    "all": "the whole process",
    "start": "start: Python, imports",
    "loop": "event loop: HTTP, splitting pages, cursors (the start included)",
    "Spool.note": "ids, hashes and times of change; what was seen is noted",
    "SqlSink.held": "asking the target for the hashes",
    "Reader.row": "rows: decoding, drift, columns",
    "SqliteSink._upsert": "writing rows",
    "SqlSink.mark_unseen": "marking what was not seen",
}


def of_parts(url: str, to: str, directory: str) -> Used:
    environ = {**CREDENTIALS, "LIMIO_HOST": url, "XDG_STATE_HOME": directory}
    command = [
        sys.executable,
        "-m",
        "benchmarks.sync_parts",
        "-q",
        "sync",
        "offers",
        "--to",
        to,
        "--page-size",
        str(PAGE),
    ]
    return used(command, environ)


def parts() -> Table:
    with tempfile.TemporaryDirectory() as made, serving(OFFERS) as url:
        to = f"sqlite:///{made}/limio.db"
        of_parts(url, f"sqlite:///{made}/first.db", made)  # which compiles
        new, same = (of_parts(url, to, made).said for _ in range(2))
    rows = [
        (says, *(f"{one.get(name, 0) * 1e6 / OFFERS:.1f}" for one in (new, same)))
        for name, says in PARTS.items()
    ]
    return Table(f"CPU, µs an offer, of {OFFERS:,} into SQLite", ("part", "new", "unchanged"), rows)


def side_by_side() -> Table:
    def rows() -> Iterator[Sequence[str]]:
        with tempfile.TemporaryDirectory() as made, serving(OF_EACH) as url, suppress(NoPostgres):
            environ = {**CREDENTIALS, "LIMIO_HOST": url, "XDG_STATE_HOME": made}
            for how, runs in (("one after another", [[one] for one in LISTS]), ("at once", [[*LISTS]])):
                for what in ("new", "unchanged"):
                    yield row("SQLite", f"sqlite:///{made}/{how}.db", environ, runs, (how, what))
            for how, runs in (("one after another", [[one] for one in LISTS]), ("at once", [[*LISTS]])):
                with schema(f"limio_parts_{how[:2]}") as name:
                    for what in ("new", "unchanged"):
                        yield row("PostgreSQL", f"{POSTGRES}?schema={name}", environ, runs, (how, what))

    def row(
        kind: str, to: str, environ: dict[str, str], runs: list[list[str]], says: tuple[str, str]
    ) -> Sequence[str]:
        limio = str(Path(sys.executable).with_name("limio"))
        done = [used([limio, "sync", *names, "--to", to, "--json"], environ) for names in runs]
        wall, cpu = sum(one.wall for one in done), sum(one.cpu for one in done)
        return [kind, *says, f"{wall:.1f}", f"{cpu:.1f}", f"{cpu / wall:.2f}"]

    heads = ("target", "lists", "offers", "seconds", "CPU seconds", "cores")
    return Table(f"Four lists of {OF_EACH:,}, one after another and at once", heads, rows())


def timed() -> None:
    """Be `limio`, and print what its parts cost."""
    spent: defaultdict[str, float] = defaultdict(float)

    def count(holder: Any, name: str) -> None:
        call: Callable[..., Any] = getattr(holder, name)

        @wraps(call)
        def counted(*args: Any, **named: Any) -> Any:
            begun = time.thread_time()
            try:
                return call(*args, **named)
            finally:
                spent[f"{holder.__name__}.{name}"] += time.thread_time() - begun

        setattr(holder, name, counted)

    from limio_async.cli.__main__ import main
    from limio_async.sync_jobs.rows import Reader
    from limio_async.sync_jobs.sinks.sql import SqlSink
    from limio_async.sync_jobs.sinks.sqlite import SqliteSink
    from limio_async.sync_jobs.spool import Spool

    for holder, name in (
        (Spool, "note"),
        (SqlSink, "held"),
        (SqlSink, "mark_unseen"),
        (Reader, "row"),
        (SqliteSink, "_upsert"),
    ):
        count(holder, name)
    spent["start"] = time.process_time()
    try:
        main()
    finally:
        spent["all"], spent["loop"] = time.process_time(), time.thread_time()
        print(msgspec.json.encode(dict(spent)).decode())


if __name__ == "__main__":
    if sys.argv[1:]:
        timed()
    else:
        printed(parts())
        printed(side_by_side())
