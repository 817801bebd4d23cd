"""Kills a program at every line of `outbox/` and `stores/` that it runs, and each time lets another go on and judges.

`python -m tests.judges.outbox_lines` takes a quarter of an hour and prints every line; `--sample N` takes N of them. The
lines are those that `sys.settrace` sees in a process that is not killed; one that is never come to again is a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from inspect import CO_NEWLOCALS, CO_OPTIMIZED
from itertools import product
from pathlib import Path
from types import CodeType
from typing import Literal, NamedTuple

import msgspec

from limio_async.outbox.decide import answered
from tests.judges.outbox_everything import KEYS, Command, Report, restored
from tests.judges.outbox_everything import ROOT as PACKAGE
from tests.judges.outbox_scripted import Scripted
from tests.judges.outbox_server import Tenant
from tests.judges.outbox_truth import Said, judged
from tests.postgres_cluster import own_cluster

__all__ = [
    "NEVER",
    "Forker",
    "Place",
    "Urls",
    "first_line",
    "judge",
    "kill_all",
    "killed_at",
    "never_run",
    "recorded",
]

ROOT = Path(__file__).parents[2]
SETTLE = 0.7
AT_ONCE = 8
LATER = 0.25
TRIES = 3
LONGEST = 240.0
NEVER = "it was never come to"
Mode = Literal["park", "resend"]
Before = Literal["new", "killed", "restored"]
"""What befell the database: nothing, a process was killed that used it, and then it was another's history too."""
_MODES: Sequence[Mode] = ("park", "resend")
_BEFORE: Sequence[Before] = ("new", "killed", "restored")
Ways = Sequence[tuple[Mode, Before]]
WAYS: Ways = [*product(_MODES, _BEFORE)]


class Place(NamedTuple):
    """A line at which a process is killed, when it comes to it for the *nth* time."""

    line: str
    nth: int = 1


class Forker:
    """A process that forks others."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.stuck = False
        """Whether one that it forked does not end."""

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncGenerator[Forker]:
        """Start one; it ends with the block."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.judges.outbox_everything", limit=2**24,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        try:
            yield cls(process)
        finally:
            os.killpg(
                process.pid, signal.SIGKILL
            )  # what it forked too, which may wait for a tenant that is gone
            await process.wait()

    async def run(self, command: Command) -> Report:
        """Return what comes of a process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        try:
            async with asyncio.timeout(LONGEST):
                return msgspec.json.decode(await self._process.stdout.readline(), type=Report)
        except TimeoutError:
            self.stuck = True
            return Report(code=1, errors=f"it does not end in {LONGEST:.0f} seconds")


async def recorded(
    forker: Forker, url: str, mode: Mode, before: Before = "new"
) -> tuple[Mapping[str, int], list[str]]:
    """Return how often a process that is not killed comes to each line, and its faults."""
    tenant = Scripted(1)
    await tenant.start()
    try:
        command = Command(url=url, host=tenant.url, when_missing=mode, settle=SETTLE, records=True)
        await _befell(forker, command, before)
        report = await forker.run(command)
        return report.lines, _faults(report, tenant)
    finally:
        await tenant.stop()


async def killed_at(
    forker: Forker, url: str, mode: Mode, place: Place, seed: int, *, before: Before = "new", plant: str = ""
) -> tuple[bool, list[str]]:
    """Kill a process there, and let another go on; return whether it came there, and what is wrong then."""
    tenant = Scripted(seed)
    await tenant.start()
    try:
        command = Command(
            url=url, host=tenant.url, when_missing=mode, settle=SETTLE, line=place.line, nth=place.nth,
            plant=plant,
        )  # fmt: skip
        await _befell(forker, command, before)
        first = await forker.run(command)
        if not first.killed:
            return False, _faults(first, tenant)
        return True, _faults(await forker.run(msgspec.structs.replace(command, line=None)), tenant)
    finally:
        await tenant.stop()


async def _befell(forker: Forker, command: Command, before: Before) -> None:
    """Let a process be killed while orders are on the wire, unless the database is to be new."""
    if before == "new":
        return
    first = await forker.run(
        msgspec.structs.replace(command, line=first_line(answered), nth=1, records=False)
    )
    if not first.killed:
        raise AssertionError(f"no process was killed: {first.errors}")
    if before == "restored":
        restored(command.url)


def first_line(function: Callable[..., object]) -> str:
    """Return the place where its body begins."""
    code = function.__code__
    line = min(line for *_, line in code.co_lines() if line is not None and line > code.co_firstlineno)
    return f"{Path(code.co_filename).relative_to(PACKAGE)}:{line}"


def _faults(report: Report, tenant: Tenant) -> list[str]:
    if report.code:
        return [f"it failed: {report.errors[-1500:]}"]
    said = {key: Said("accepted" if state == "failed" else state, ids) for key, state, ids, _ in report.said}
    verdict = judged(KEYS, tenant.made, said, parked_is_unmade=True)
    told = Counter(key for key, _ in report.told)
    faults = [
        f"told {told[key]} times: {key} is {one.state}"
        for key, one in said.items()
        if told[key] != (one.state == "accepted")
    ]
    return [*verdict.faults, *faults, *(f"no request of a client's: {what}" for what in tenant.broken)]


def _places(lines: Mapping[str, int], chance: random.Random) -> list[Place]:
    """Each line when it is first come to, and of one in four some later time."""
    again = [line for line, often in lines.items() if often > 1 and chance.random() < LATER]
    later = [Place(line, chance.randint(2, lines[line])) for line in again]
    return sorted(
        [*map(Place, lines), *later], key=lambda one: (one.line.split(":")[0], int(one.line.split(":")[1]))
    )


class Urls:
    """Databases, each used once."""

    def __init__(self, stores: ExitStack, store: str) -> None:
        self._made = 0
        self._base = (
            stores.enter_context(own_cluster("max_connections=60")).url
            if store == "PostgreSQL"
            else f"sqlite:///{stores.enter_context(tempfile.TemporaryDirectory(prefix='limio-lines-'))}"
        )

    def new(self) -> str:
        """Return the URL of another."""
        self._made += 1
        sqlite = self._base.startswith("sqlite")
        return f"{self._base}/{self._made}.db" if sqlite else f"{self._base}?schema=lines_{self._made}"


async def _judge(
    urls: Urls, store: str, ways: Ways, *, sample: int | None, seed: int, quiet: bool, only: str
) -> list[str]:
    chance, faults, known = random.Random(seed), list[str](), set[str]()
    async with Forker.started() as first:
        for mode, before in ways:
            lines, wrong = await recorded(first, urls.new(), mode, before)
            new = {line: often for line, often in lines.items() if line not in known}
            known |= new.keys()
            places = [one for one in _places(new, chance) if re.search(only, f"{mode}, {before}, {one.line}")]
            took = places if sample is None else chance.sample(places, min(sample, len(places)))
            wrong = [f"{store}, {mode}, {before}, not killed: {fault}" for fault in wrong]
            wrong += await kill_all(
                urls, f"{store}, {mode}, {before}", mode, before, took, seed=seed, quiet=quiet
            )
            say(
                f"{store}, {mode}, {before}: killed at {len(took)} of {len(places)} places, {len(wrong)} faults"
            )
            faults += wrong
    if not quiet:
        say(*(f"{store}, in no process that was recorded: {place}" for place in never_run(known)))
    return faults


async def kill_all(
    urls: Urls, name: str, mode: Mode, before: Before, places: Sequence[Place], *, seed: int, quiet: bool
) -> list[str]:
    waiting, faults = [*places][::-1], list[str]()

    async def one(forker: Forker, place: Place) -> None:
        came, wrong, what = False, list[str](), f"{name}, {place.line}, time {place.nth}"
        for number in range(TRIES):
            came, wrong = await killed_at(forker, urls.new(), mode, place, seed + number, before=before)
            if came or wrong:
                break
            place = Place(place.line)  # not as often this time
        wrong = wrong if came else [*wrong, NEVER]
        faults.extend(f"{what}: {fault}" for fault in wrong)
        if wrong or not quiet:
            say(*(f"{what}: {fault}" for fault in wrong or ["ok"]))

    async def some() -> None:
        while waiting:
            async with Forker.started() as forker:
                while waiting and not forker.stuck:
                    await one(forker, waiting.pop())

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(places))):
            group.create_task(some())
    return faults


def never_run(known: Collection[str]) -> list[str]:
    """Return the lines of functions to which no process came, of the files to which one did: `FILE: 12 13 40`."""
    found: list[str] = []
    for name in sorted({line.partition(":")[0] for line in known}):
        whole, some = compile((PACKAGE / name).read_text(), name, "exec"), set[int]()
        inner = [one for one in whole.co_consts if isinstance(one, CodeType)]
        while inner:
            code = inner.pop()
            inner += [one for one in code.co_consts if isinstance(one, CodeType)]
            if code.co_flags & CO_NEWLOCALS and code.co_flags & CO_OPTIMIZED:  # no body of a class
                some |= {line for *_, line in code.co_lines() if line and line > code.co_firstlineno}
        left = sorted(line for line in some if f"{name}:{line}" not in known)
        found += [f"{name}: {' '.join(map(str, left))}"] if left else []
    return found


def judge(
    stores: Sequence[str],
    ways: Ways = WAYS,
    *,
    sample: int | None,
    seed: int,
    quiet: bool,
    only: str = "",
) -> list[str]:
    """Return what is wrong, at places in whose names the pattern *only* is found."""
    faults: list[str] = []
    for store in stores:
        with ExitStack() as stack:
            urls = Urls(stack, store)
            faults += asyncio.run(_judge(urls, store, ways, sample=sample, seed=seed, quiet=quiet, only=only))
    return faults


def say(*lines: str) -> None:
    """Print lines at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--store", choices=("SQLite", "PostgreSQL"))
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument(
        "--only", default="", help="a pattern of places, such as 'park, killed, outbox/table'"
    )
    given, began = parser.parse_args(), time.monotonic()
    stores = [given.store] if given.store else ["SQLite", "PostgreSQL"]
    faults = judge(stores, sample=given.sample, seed=given.seed, quiet=given.quiet, only=given.only)
    say(f"{len(faults)} faults, {time.monotonic() - began:.0f} s")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
