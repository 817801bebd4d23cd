"""Kills `limio sync` again and again, and compares what its target then holds with what the tenant holds. `make kill`

Meanwhile the tenant is away, and a PostgreSQL cluster of its own is restarted or ends connections: those are ridden through.
`python -m tests.judges.killing [SEED]` is the long form: 200 kills, a sync of 51,000 items, three targets.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from limio_async.testing import served
from tests.judges.kill_gate import Gate
from tests.judges.kill_targets import TROUBLES, FilesTarget, PostgresTarget, SqliteTarget, Target
from tests.judges.kill_tenant import HYDRATED, LISTED, Tenant

__all__ = ["SHORT", "TARGETS", "Killed", "killed", "show"]

LIMIO = Path(sys.executable).with_name("limio")
STEPS = (LISTED, HYDRATED)
"""The streams of a command, one after the other."""
PHASES = ("starting", "listing", "delivering", "hydrating", "ending a stream", "between streams", "exiting")
KILLED, COMPLETE, INCOMPLETE = -9, 0, 4
LONGEST_RUN = 120.0
MOST_INCOMPLETE = 20
TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "SQLite": SqliteTarget,
    "PostgreSQL": lambda directory: PostgresTarget(),
    "NDJSON": FilesTarget,
}


class Size(NamedTuple):
    """How much there is, how long a process may live until it is killed, and how much trouble it meets."""

    offers: int
    subscriptions: int
    longest_life: float
    troubled: float
    """The share of processes that meet trouble."""
    longest_away: float
    """Seconds that the tenant may be away."""


FULL = Size(offers=6_500, subscriptions=5_000, longest_life=2.8, troubled=0.15, longest_away=60)
SHORT = Size(offers=1_000, subscriptions=400, longest_life=1.2, troubled=0.3, longest_away=2)
PATIENCE = "3m"
OF_TENANT = ("refused", "503")
"""How a tenant is away."""


class Moment(NamedTuple):
    """When to kill: *wait* seconds after something has happened for the n-th time; "process" is the start."""

    what: str
    number: int
    wait: float
    latest: float
    """Seconds that it may take to happen; then it is time all the same."""


class Trouble(NamedTuple):
    """What befalls the tenant or the target, and when."""

    what: str
    moment: Moment
    lasts: float


class Killed(msgspec.Struct):
    """What came of one target."""

    name: str
    items: int = 0
    phases: Counter[str] = msgspec.field(default_factory=Counter)
    half_files: int = 0
    """Kills in the middle of writing a file."""
    complete: int = 0
    incomplete: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    """Why streams were not complete."""
    refused: int = 0
    """Starts that found the target still locked by a connection of the killed process."""
    restarts: int = 0
    faults: int = 0
    troubles: Counter[str] = msgspec.field(default_factory=Counter)
    away: float = 0.0
    """Seconds that the tenant was away."""
    waits: int = 0
    """Pauses that were told."""
    streams: int = 0
    """Streams that were said to be complete, each compared at once."""
    compared: int = 0
    deleted: int = 0
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    """Rows with other bytes, of nothing that there is, or wrongly marked as deleted or live."""
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return self.phases.total()


class Process:
    """A run of `limio sync` and what it has told until now."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.happened: Counter[str] = Counter()
        self.errors = b""
        self.completed: list[str] = []
        """Streams that were said to be complete."""
        self.reasons: list[str] = []
        """Why streams were not complete."""
        self.code: int | None = None
        self._counts = counts
        self._last: dict[str, tuple[str, bool]] = {}
        self._latest = ""
        self._moved = asyncio.Event()

    async def run(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        moment: Moment | None,
        trouble: tuple[Moment, Callable[[], Awaitable[None]]] | None = None,
    ) -> None:
        """Let it run until *moment*, or until its end; *trouble* is what happens meanwhile, and when."""
        running = await asyncio.create_subprocess_exec(
            str(LIMIO), *command, env={**os.environ, **environ},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=2**24,
        )  # fmt: skip
        self._note("process")
        killer = asyncio.create_task(self._kill(running, moment)) if moment else None
        troubling = asyncio.create_task(self._trouble(*trouble)) if trouble else None
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            async with asyncio.timeout(LONGEST_RUN):
                errors = asyncio.create_task(running.stderr.read())
                async for line in running.stdout:
                    if line.endswith(b"\n"):  # the last one may be cut off
                        self._read(msgspec.json.decode(line))
                self.errors = await errors
                self.code = await running.wait()
        finally:
            if killer is not None:
                killer.cancel()
            if troubling is not None and self.happened["trouble"]:  # a cluster comes back first
                await troubling
            elif troubling is not None:
                troubling.cancel()
            with suppress(ProcessLookupError):
                running.kill()

    async def _kill(self, running: asyncio.subprocess.Process, moment: Moment) -> None:
        await self._come(moment)
        with suppress(ProcessLookupError):
            running.kill()

    async def _trouble(self, moment: Moment, act: Callable[[], Awaitable[None]]) -> None:
        if await self._come(moment):  # else nothing has answered yet, and nothing would be waited for
            self._note("trouble")
            await act()

    async def _come(self, moment: Moment) -> bool:
        """Return at the moment; whether it is there because that has happened."""
        with suppress(TimeoutError):
            async with asyncio.timeout(moment.latest):
                while self.happened[moment.what] < moment.number:
                    await self._moved.wait()
        await asyncio.sleep(moment.wait)
        return self.happened[moment.what] >= moment.number

    def _read(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind in {"report", "waiting"}:  # the closing report, or a pause
            self._note(kind)
            return
        report, name = event["report"], event["report"]["stream"]
        if kind == "ended" and report["status"] == "complete":
            self.completed.append(name)
        elif kind == "ended":
            self.reasons.append(f"{name}: {report['status']}, {report['error']}")
        written = sum(report[one] for one in ("inserted", "updated", "unchanged", "quarantined"))
        whole = kind == "written" and report["seen"] == self._counts[name] <= written
        self._last[name], self._latest = (kind, whole), name
        self._note(kind)
        if whole:
            self._note("whole")

    def _note(self, what: str) -> None:
        self.happened[what] += 1
        self._moved.set()
        self._moved = asyncio.Event()  # the next who waits, waits for what happens next

    def phase(self, streams: Sequence[str]) -> str:
        """Where it was, by what it told last."""
        if not self._last:
            return "starting"
        if sum(kind == "ended" for kind, _ in self._last.values()) == len(streams):
            return "exiting"
        if any(whole for _, whole in self._last.values()):
            return "ending a stream"
        if streams == HYDRATED:
            return "hydrating"
        kind, _ = self._last[self._latest]
        return {"written": "delivering", "ended": "between streams"}.get(kind, "listing")


def random_moment(chance: random.Random, longest: float, streams: int) -> Moment:
    """Any time in a life, or just after something has happened."""
    latest = chance.uniform(0.5, 1) * longest
    (what,) = chance.choices(
        ["process", "started", "listed", "written", "whole", "ended"], [10, 8, 2, 3, 4, 2]
    )
    match what:
        case "process":
            often_early = chance.random() ** 2 * longest
            return Moment(what, 1, often_early, latest)
        case "started":
            return Moment(what, 1, chance.uniform(0, longest), latest)
        case "whole" | "ended":
            return Moment(what, chance.randint(1, streams), chance.uniform(0, 0.12), latest)
        case _:
            return Moment(what, chance.randint(1, 20), chance.uniform(0, 0.06), latest)


def random_trouble(chance: random.Random, what: str, longest: float) -> Trouble:
    """Trouble at any time after something has answered."""
    lasts = longest ** chance.random()
    happened = chance.choice(("listed", "listed", "written"))
    return Trouble(what, Moment(happened, chance.randint(1, 6), chance.uniform(0, 0.1), 10.0), lasts)


class Killer:
    """Keeps a tenant in *target*, and kills *kills* of the runs that do it."""

    def __init__(self, target: Target, size: Size, *, kills: int, seed: int, state: Path) -> None:
        self.done = Killed(target.name)
        self._target, self._size, self._kills, self._state = target, size, kills, state
        self._chance = random.Random(f"{seed} {target.name}")
        self._tenant = Tenant(offers=size.offers, subscriptions=size.subscriptions, seed=seed)
        self._tenant.go_wrong(seed)
        self._troubles = iter((*target.troubles, *OF_TENANT) * (kills + 100))
        self._gate: Gate | None = None
        self._truth: Mapping[str, Mapping[str, bytes]] = {}
        self._hashes: Mapping[str, Mapping[str, str]] = {}

    async def run(self) -> Killed:
        """Sync to the end, compare, change the tenant, and so on; in the end once undisturbed."""
        begun, undisturbed = time.monotonic(), False
        with served(self._tenant.world) as url:
            async with Gate(url) as self._gate:
                while not undisturbed:
                    undisturbed = self.done.kills == self._kills
                    await self._look()
                    for streams in STEPS:
                        await self._sync(streams, self._gate)
                    runs = self._target.runs()
                    assert runs == dict.fromkeys(self._truth, "complete"), (self._target.name, runs)
                    await self._tenant.change()
        self.done.items = sum(map(len, self._truth.values()))
        self.done.deleted = sum(one.deleted for name in self._truth for one in self._target.stored(name))
        self.done.faults = sum(self._tenant.world.faults.hits.values())
        self.done.seconds = time.monotonic() - begun
        return self.done

    async def _look(self) -> None:
        """See what there is now."""
        self._truth = await self._tenant.content()
        self._hashes = {name: self._tenant.hashes(name, items) for name, items in self._truth.items()}

    async def _sync(self, streams: Sequence[str], gate: Gate) -> None:
        """Start it again and again until it says that it is complete."""
        hydrate = ["--hydrate"] if streams == HYDRATED else []
        command = ["sync", *streams, *hydrate, "--page-size", "500", "--patience", PATIENCE]
        command += ["--to", self._target.url, "--json"]
        environ = {**self._tenant.world.environ(gate.url), "XDG_STATE_HOME": str(self._state)}
        done, counts = self.done, {name: len(items) for name, items in self._truth.items()}
        while done.incomplete < MOST_INCOMPLETE:
            life = self._size.longest_life
            moment = random_moment(self._chance, life, len(streams)) if done.kills < self._kills else None
            process, trouble = Process(counts), None
            if moment is not None and self._chance.random() < self._size.troubled:
                met = random_trouble(self._chance, next(self._troubles), self._size.longest_away)
                trouble = met.moment, lambda met=met: self._befall(gate, met)
                if self._chance.random() < 0.5:
                    moment = Moment("trouble", 1, self._chance.uniform(0, met.lasts + 1), 2 * life)
                else:
                    moment = None
            await process.run(command, environ, moment, trouble)
            done.waits += process.happened["waiting"]
            done.restarts += process.happened["restarted"]
            for name in process.completed:  # at once: the next run would mend it
                self._compare(name)
            if process.code == COMPLETE:
                done.complete += 1
                return
            if process.code == KILLED:
                done.phases[process.phase(streams)] += 1
                done.half_files += self._target.is_publishing()
            elif process.code == INCOMPLETE:
                done.incomplete += 1
                done.reasons.update(process.reasons)
            elif b"another run is writing" in process.errors:
                done.refused += 1
            else:
                raise AssertionError(f"exit code {process.code}: {process.errors.decode()}")
        raise AssertionError(f"it does not come to an end: {done.reasons}")

    async def _befall(self, gate: Gate, met: Trouble) -> None:
        self.done.troubles[met.what] += 1
        if met.what in OF_TENANT:
            self.done.away += met.lasts
            gate.away("503" if met.what == "503" else "refused", met.lasts)
        else:
            await self._target.troubles[met.what]()

    def _compare(self, name: str) -> None:
        """Of a stream: every id once, its exact bytes, marked as deleted exactly where it is."""
        done, items, hashes = self.done, self._truth[name], self._hashes[name]
        stored = self._target.stored(name)
        live = {one.id: one for one in stored if not one.deleted}
        done.compared += len(stored)
        done.streams += 1
        done.lost += len(items.keys() - live.keys())
        done.twice += len(stored) - len({one.id for one in stored})
        done.wrong += len(live.keys() - items.keys())
        done.wrong += len({one.id for one in stored if one.deleted} ^ self._tenant.deleted[name])
        for own, one in live.items():
            sent = items.get(own, b"null")
            same = one.raw == sent if self._target.exact else _means(one.raw) == _means(sent)
            done.wrong += not (same and one.hash == hashes.get(own))
        assert (done.lost, done.twice, done.wrong) == (0, 0, 0), (name, done)


def _means(raw: bytes) -> Any:
    return msgspec.json.decode(raw)


def show(rows: Sequence[Killed]) -> None:
    """Print the totals, target by target and together."""
    columns = [_numbers(one) for one in rows]
    lines = [["", *(one.name for one in rows), "together"], ["---", *("--:" for _ in rows), "--:"]]
    for name in columns[0] if columns else ():
        numbers = [column[name] for column in columns]
        lines.append([name, *(f"{number:,}" for number in (*numbers, sum(numbers)))])
    reasons = [f"{one.name}: {reason}" for one in rows for reason in one.reasons]
    print("", *(f"| {' | '.join(line)} |" for line in lines), "", *reasons, sep="\n", flush=True)  # noqa: T201


def _numbers(one: Killed) -> Mapping[str, int]:
    return {
        "items": one.items,
        "**kills**": one.kills,
        **{f"killed while {phase}": one.phases[phase] for phase in PHASES},
        "killed with half a file written": one.half_files,
        "runs that came to their end": one.complete,
        "runs that were incomplete": one.incomplete,
        "starts that found the target still locked": one.refused,
        "walks begun again at the top": one.restarts,
        "faults": one.faults,
        "tenant away, connections refused": one.troubles["refused"],
        "tenant away, 503": one.troubles["503"],
        "seconds that the tenant was away": round(one.away),
        **{f"PostgreSQL, {what}": one.troubles[what] for what in TROUBLES},
        "pauses that were told": one.waits,
        "streams said to be complete, compared at once": one.streams,
        "rows compared": one.compared,
        "rows marked as deleted in the end": one.deleted,
        "**lost**": one.lost,
        "**twice**": one.twice,
        "**wrong**": one.wrong,
        "seconds": round(one.seconds),
    }


async def killed(name: str, size: Size, *, kills: int, seed: int) -> Killed:
    """What comes of a new target of this kind, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        target = TARGETS[name](directory)
        try:
            return await Killer(target, size, kills=kills, seed=seed, state=directory / "state").run()
        finally:
            target.drop()


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    kills = dict(zip(TARGETS, (67, 67, 66), strict=True))
    show([asyncio.run(killed(name, FULL, kills=number, seed=seed)) for name, number in kills.items()])


if __name__ == "__main__":
    main()
