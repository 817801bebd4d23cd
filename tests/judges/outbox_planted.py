"""Plants faults in the outbox, one by one; the judge that is named for each has to find it, and say what it did.

`python -m tests.judges.outbox_planted` prints a table in two minutes; `--only TEXT` plants those whose names hold it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from limio_async.outbox.decide import answered
from tests.judges import outbox, outbox_history
from tests.judges.outbox_faults import FAULTS
from tests.judges.outbox_lines import Forker, Place, Urls, first_line, killed_at

__all__ = ["FOUND", "found"]

Judge = Callable[[str], Awaitable[Sequence[str]]]
_KILLS, _COUNT, _SETTLE = 4, 64, 0.8


def kills(name: str) -> Judge:
    """Find it by a line of the table of `outbox`, at a tenant that loses more than there."""

    async def judge(plant: str) -> Sequence[str]:
        case = next(one for one in outbox.cases(_SETTLE) if one.name == name)
        case = replace(case, manner=replace(case.manner, lost=0.3, made_502=0.1, bare=0.4))
        with tempfile.TemporaryDirectory(prefix="limio-planted-") as directory:
            url = f"sqlite:///{directory}/orders.db"
            return (await outbox.ran(case, url, kills=_KILLS, count=_COUNT, seed=19, plant=plant)).faults

    return judge


def history(name: str, store: str, mode: outbox_history.Mode) -> Judge:
    """Find it by a line of `outbox_history`."""

    async def judge(plant: str) -> Sequence[str]:
        return (await outbox_history.judge(name, store, mode, seed=19, plant=plant)).faults

    return judge


async def line(plant: str) -> Sequence[str]:
    """Find it by a kill when an answer has come and nobody has written that, as `outbox_lines` does."""
    with ExitStack() as stack:
        url = Urls(stack, "SQLite").new()
        async with Forker.started() as forker:
            place = Place(first_line(answered))
            came, faults = await killed_at(forker, url, "park", place, 19, plant=plant)
    return faults if came else [*faults, "no process was killed"]


_WITHIN = "SQLite, {}, lags within settle"
FOUND: Mapping[str, tuple[str, Judge, str]] = {
    "settle is ignored": ("kills, park", kills(_WITHIN.format("park")), "parked"),
    "the last 9 rows of a page are skipped": ("kills, park", kills(_WITHIN.format("park")), "parked"),
    "bare rows are not fetched": ("kills, park", kills(_WITHIN.format("park")), "parked"),
    "a walk begins at the newest cursor": (
        "history: hours pass", history("hours pass", "SQLite", "park"), "parked"
    ),
    "sending is written with the answer only": ("a line", line, "twice"),
    "a found sending is sent again": ("a line", line, "twice"),
    "an answer counts for any attempt": (
        "history: answers come late", history("answers come late", "PostgreSQL", "resend"), "refused"
    ),
    "a late answer overwrites a later state": (
        "history: answers come late", history("answers come late", "PostgreSQL", "resend"), "refused"
    ),
    "another generation goes unnoticed": (
        "history: yesterday's file", history("yesterday's file", "SQLite", "park"), "twice"
    ),
    "502 refuses": ("kills, park", kills(_WITHIN.format("park")), "refused"),
    "a lost answer means not sent": ("kills, park", kills(_WITHIN.format("park")), "twice"),
    "orders of a subscription go at once": ("kills, park", kills(_WITHIN.format("park")), "overlaps"),
}  # fmt: skip
"""The judge that finds each, and the word that its fault begins with."""


def found(name: str) -> tuple[bool, Sequence[str], float]:
    """Return whether it is found, all that is said, and in how many seconds."""
    _, judge, word = FOUND[name]
    began = time.monotonic()
    faults = asyncio.run(_of(judge, name))
    return any(fault.startswith(f"{word}:") for fault in faults), faults, time.monotonic() - began


async def _of(judge: Judge, name: str) -> Sequence[str]:
    return await judge(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    names = [fault.name for fault in FAULTS if given.only in fault.name]
    missed = 0
    say("| planted | found | by | seconds | faults | the first |", "|---|---|---|---:|---:|---|")
    with ThreadPoolExecutor(given.at_once) as pool:
        for name, (is_found, faults, seconds) in zip(names, pool.map(found, names), strict=True):
            missed += not is_found
            by, _, word = FOUND[name]
            first = next((one for one in faults if one.startswith(f"{word}:")), " ".join(faults[:1]))
            what = "yes" if is_found else "**no**"
            say(f"| {name} | {what} | {by} | {seconds:.0f} | {len(faults)} | {first[:100]} |")
    say(f"{len(names)} planted, {missed} passed unnoticed")
    return int(missed > 0)


def say(*lines: str) -> None:
    """Print lines at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
