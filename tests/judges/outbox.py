"""Kills a program with an outbox again and again, and compares what the tenant then has with what was meant.

`python -m tests.judges.outbox` is the long form: 50 kills and 1,200 orders for each line of its table; `--short` takes
seconds, `--only TEXT` lines whose names hold it, `--seed N` other moments. The tenant (`outbox_server`) and the verdict
(`outbox_truth`) share no code with the client; the program that is killed (`outbox_child`) uses its public names only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from tests.judges.outbox_child import Settings
from tests.judges.outbox_server import Manner, Tenant
from tests.judges.outbox_truth import Said, Verdict, judged, misled
from tests.postgres_cluster import Cluster, own_cluster

__all__ = ["Case", "Child", "Ran", "cases", "ran"]

Mode = Literal["park", "resend"]
_LONGEST_START = 20.0
_MANY = 20
_LONGEST = 300.0
"""Seconds that the last process may take."""
_UNKIND = Manner(
    lost=0.1, dropped=0.02, made_502=0.02, unmade_502=0.01, bare=0.1, skew=437.0,
    refuses=lambda key: key.endswith("37"),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    store: Literal["SQLite", "PostgreSQL"]
    when_missing: Mode
    lags: str
    manner: Manner
    settle: float

    @property
    def name(self) -> str:
        return f"{self.store}, {self.when_missing}, {self.lags}"

    @property
    def within(self) -> bool:
        """Whether all orders are in view within `settle`."""
        return self.manner.lag + self.manner.read_lag < self.settle

    @property
    def makes_all(self) -> bool:
        """Whether every order that is not refused has to be made."""
        return self.within and self.when_missing == "resend" and not self.manner.falling


def cases(settle: float) -> list[Case]:
    """Return the lines of the table, for a `settle` of so many seconds."""
    within = replace(_UNKIND, lag=0.6 * settle, each=True, read_lag=0.2 * settle)
    above, each = replace(_UNKIND, lag=2.5 * settle), replace(_UNKIND, lag=4.0 * settle, each=True)
    lags: Mapping[str, tuple[Manner, Sequence[Mode]]] = {
        "lags within settle": (within, ("resend", "park")),
        "lags above settle": (above, ("resend", "park")),
        "lags above settle, each its own": (each, ("park",)),
        "lags within settle, newest first": (replace(within, falling=True), ("resend", "park")),
    }
    return [
        Case(store, mode, name, manner, settle)
        for store in ("SQLite", "PostgreSQL")
        for name, (manner, modes) in lags.items()
        for mode in modes
    ]


_SHORT = {
    "SQLite, resend, lags within settle", "PostgreSQL, park, lags within settle",
    "PostgreSQL, resend, lags above settle", "SQLite, park, lags above settle, each its own",
}  # fmt: skip


class Ran(NamedTuple):
    """What came of a case."""

    case: Case
    verdict: Verdict
    kills: int
    struck: int
    """Orders that were on the wire at a kill."""
    most_on_wire: int
    fates: Counter[str]
    seconds: float
    faults: Sequence[str]


class Child:
    """A process that uses an outbox."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.intended = settings.first
        self.said: dict[str, Said] = {}
        self.errors: dict[str, str | None] = {}
        self.told: set[tuple[str, str]] = set()
        self.ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[bytes] | None = None

    async def start(self) -> None:
        text = msgspec.json.encode(self.settings).decode()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.judges.outbox_child", text,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))

    async def wait(self, longest: float | None = None) -> str:
        """Return what it wrote to stderr, once it has ended; raises `TimeoutError`."""
        assert self._reading is not None
        errors = await asyncio.wait_for(asyncio.shield(self._reading), longest)
        return errors.decode(errors="replace")

    def signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> str:
        """End it between any two instructions; return what it had written to stderr."""
        self.signal(9)
        return await self.wait(20)

    async def _read(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            with suppress(json.JSONDecodeError):  # cut off by a kill
                self._heard(json.loads(line))
        await process.wait()
        return await errors

    def _heard(self, what: dict[str, Any]) -> None:
        if "intended" in what:
            self.intended = max(self.intended, what["intended"])
        elif "told" in what:
            self.told.add((what["of"], what["told"]))
        elif "key" in what:
            self.said[what["key"]] = Said(what["state"], what["ids"], what["subscription"])
            self.errors[what["key"]] = what["error"]
        else:
            self.ended = True


async def _moment(tenant: Tenant, chance: random.Random, orders: int, child: Child) -> None:
    """Wait until it is time to kill: with orders on the wire, mostly. A machine may be slow to start a process."""
    what = chance.choices(("order", "list", "start"), (75, 15, 10))[0]
    if what == "start":
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        return
    before, number = Counter(tenant.received), chance.randint(1, 3 if what == "list" else max(2, orders))
    ends, came = time.monotonic() + _LONGEST_START, False
    while time.monotonic() < ends and child.runs and tenant.received[what] - before[what] < number:
        with suppress(TimeoutError):
            await asyncio.wait_for(tenant.came.wait(), 0.05)
        if not came and tenant.received != before:
            came, ends = True, time.monotonic() + child.settings.settle + 2.0
    await asyncio.sleep(chance.uniform(0.0, 0.02))


async def ran(case: Case, url: str, *, kills: int, count: int, seed: int, plant: str = "") -> Ran:
    """Run one case, in a database of its own at *url*; the fault *plant* may be planted."""
    began, chance = time.monotonic(), random.Random(f"{seed} {case.name}")
    tenant = Tenant(case.manner, seed)
    await tenant.start()
    settings = Settings(url, tenant.url, case.when_missing, case.settle, first=0, count=count, plant=plant)
    faults: list[str] = []
    struck, told = 0, set[tuple[str, str]]()
    try:
        for _ in range(kills):
            child = Child(settings)
            await child.start()
            await _moment(tenant, chance, 2 * count // max(1, kills), child)
            if not child.runs:
                faults.append(f"ended by itself: {(await child.wait())[-600:]}")
                continue
            struck += tenant.wire
            if "Traceback" in (errors := await child.kill()):
                faults.append(f"wrote: {errors[-600:]}")
            settings = msgspec.structs.replace(settings, first=child.intended)
            told |= child.told
        last = Child(msgspec.structs.replace(settings, until_idle=True))
        await last.start()
        try:
            errors = await last.wait(_LONGEST)
        except TimeoutError:
            errors = f"does not end: {await last.kill()}"
        if not last.ended or "Traceback" in errors:
            faults.append(f"the last one: {errors[-1500:]}")
        await asyncio.sleep(4 * case.manner.takes)  # what is on the wire of processes that were killed
        meant = [f"key-{number}" for number in range(count)]
        verdict = judged(
            meant, tenant.made, last.said, parked_is_unmade=case.within, none_parked=case.makes_all
        )
        faults += [_with_error(fault, last.errors) for fault in verdict.faults]
        faults += misled(told | last.told, tenant.made, last.said, parked_is_unmade=case.within)
        faults += [f"no request of a client's: {what}" for what in set(tenant.broken)]
        if kills >= _MANY and struck < kills / 2:
            faults.append(f"the judge kills too gently: {struck} orders were on the wire at {kills} kills")
        if tenant.overlaps:
            faults.append(f"overlaps: {tenant.overlaps} orders of one subscription at once")
    finally:
        await tenant.stop()
    return Ran(
        case, verdict, kills, struck, tenant.most_on_wire, tenant.fates, time.monotonic() - began, faults
    )


def _with_error(fault: str, errors: Mapping[str, str | None]) -> str:
    key = next((word for word in fault.split() if word in errors), "")
    return f"{fault} ({errors[key]})" if errors.get(key) else fault


_HEAD = (
    "case", "kills", "struck", "meant", "made", "parked", "held", "refused", "twice", "missing", "wire", "seconds",
    "faults",
)  # fmt: skip
_LINE = "{:<52} {:>5} {:>6} {:>6} {:>6} {:>6} {:>5} {:>7} {:>5} {:>7} {:>4} {:>7} {:>6}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _show(one: Ran) -> None:
    got = one.verdict
    _say(
        _LINE.format(
            one.case.name, one.kills, one.struck, got.meant, got.made, got.parked, got.held, got.refused, got.twice,
            got.missing, one.most_on_wire, f"{one.seconds:.0f}", len(one.faults),
        )
    )  # fmt: skip
    for fault in one.faults[:12]:
        _say(f"    {fault}")


@dataclass
class _Places:
    """Where outboxes are kept."""

    directory: Path
    cluster: Cluster
    made: int = field(default=0)

    def new(self, store: str) -> str:
        self.made += 1
        if store == "SQLite":
            return f"sqlite:///{self.directory}/{self.made}/orders.db"
        return f"{self.cluster.url}?schema=outbox_{self.made}"


async def _all(
    chosen: Sequence[Case], places: _Places, *, kills: int, count: int, seed: int, at_once: int
) -> list[Ran]:
    _say(_LINE.format(*_HEAD))
    limit = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Ran:
        async with limit:
            done = await ran(case, places.new(case.store), kills=kills, count=count, seed=seed)
            _show(done)
            return done

    return await asyncio.gather(*map(one, chosen))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--count", type=int)
    given = parser.parse_args()
    kills, count, settle = (3, 60, 0.8) if given.short else (50, 1200, 1.5)
    kills, count = given.kills or kills, given.count or count
    chosen = [
        one for one in cases(settle) if given.only in one.name and (not given.short or one.name in _SHORT)
    ]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limio-outbox-")))
        places = _Places(directory, stack.enter_context(own_cluster()))
        at_once = 4 if given.short else 2
        done = asyncio.run(_all(chosen, places, kills=kills, count=count, seed=given.seed, at_once=at_once))
    return int(any(one.faults for one in done))


if __name__ == "__main__":
    sys.exit(main())
