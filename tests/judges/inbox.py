"""Kills programs with an inbox again and again, and compares what their handlers wrote with what was told.

`python -m tests.judges.inbox` is the long form: 50 kills, 8,000 events on 2,000 objects for each line of its table;
`--short` takes half a minute, `--planted` plants faults, which have to be found, `--only TEXT` lines whose names hold it,
`--seed N` other moments. The tenant (`inbox_tenant`), who sends (`inbox_sender`) and the verdict (`inbox_truth`) share no
code with the client; the programs that are killed (`inbox_child`) use its public names only.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.judges.inbox_beside import BESIDE, BESIDE_SHORT, Beside, beside
from tests.judges.inbox_child import PAIR
from tests.judges.inbox_kills import Killer
from tests.judges.inbox_places import Places
from tests.judges.inbox_planted import PLANTED, planted
from tests.judges.inbox_sender import Sender, drawn
from tests.judges.inbox_tenant import Tenant
from tests.judges.inbox_truth import Meant, Verdict, judged, miscounted

__all__ = ["CASES", "Ran", "Scale", "ran"]

CASES = ("SQLite", "PostgreSQL", "PostgreSQL, sessions end", "PostgreSQL, the server restarts")
_SHORT_CASES = CASES[:3]
_MANY = 20
_SERVERS_KILLED = 20


class Scale(NamedTuple):
    """How much is done."""

    kills: int
    events: int
    objects: int
    there_and_back: int
    """Objects that change to B and back to A, and do not say when."""


_LONG = Scale(50, 8000, 2000, 100)
_SHORT = Scale(4, 240, 60, 12)
_PLANTED = Scale(12, 800, 40, 12)


class Ran(NamedTuple):
    """What came of a case."""

    name: str
    verdict: Verdict
    killer: Killer
    repeats: int
    seconds: float
    faults: Sequence[str]


async def ran(name: str, places: Places, scale: Scale, *, seed: int, fault: str = "") -> Ran:
    """Run one case, in a database of its own."""
    began, chance = time.monotonic(), random.Random(f"{seed} {name}")
    place = places.new(name)
    tenant = Tenant(seed)
    await tenant.start()
    killer = Killer(name, place, tenant, chance, fault)
    sender = Sender(killer.ports, PAIR, chance)
    faults, stack = killer.faults, ExitStack()
    try:
        for number in range(scale.events):
            one = drawn(chance, f"event {number}", number, scale.objects)
            sender.meant[one.name] = Meant()
            sender.waiting += [one, one]
        chance.shuffle(sender.waiting)
        killer.start()
        posting = asyncio.create_task(sender.run())
        others: list[asyncio.Task[None]] = []
        for kill in range(scale.kills + 1):
            if kill == 1:
                await killer.ready()
                stack.enter_context(place.old_transaction())
            elif kill == max(2, scale.kills // 2):
                stack.close()
            sender.released = len(sender.waiting) * (kill + 1) // (scale.kills + 1)
            for number in range(kill, scale.there_and_back, scale.kills + 1):
                which = scale.objects + 2 * number
                pair = [
                    drawn(chance, f"A→B→A {number}, {letter}", which, 10**9, dated=False) for letter in "AB"
                ]
                pair[1] = pair[1]._replace(type=pair[0].type)
                others.append(asyncio.create_task(sender.there_and_back(*pair)))
            if kill < scale.kills:
                await killer.strike(kill, sender, scale.events // (scale.kills + 1))
        await asyncio.gather(posting, *others)
        stats = await killer.drain()
        sent = {key for key in sender.meant if not sender.acknowledged[key]}
        faults += [f"never answered 202: {key}" for key in sent]
        verdict = judged(
            sender.meant, sender.acknowledged, place.effects(), gets=len(tenant.gets), waste=killer.in_flight
        )
        faults += miscounted(
            sum(stats.states.values()) + stats.repeats,
            acknowledged=sum(sender.acknowledged.values()), unanswered=sum(sender.unanswered.values()),
        )  # fmt: skip
        faults += verdict.faults
        faults += [f"no request of a client's: {what}" for what in set(tenant.broken)]
        if stats.states.keys() - {"done"}:
            faults.append(f"not done: {stats.states}")
        if killer.overlaps and name in {"SQLite", "PostgreSQL"}:
            faults.append(f"overlap: {killer.overlaps} times two handlers of one key at once")
        if killer.kills >= _MANY and not fault and killer.struck < killer.kills / 3:
            faults.append(f"the judge kills too gently: {killer.struck} handlers, {killer.kills} kills")
    finally:
        stack.close()
        await killer.stop()
        await tenant.stop()
    return Ran(name, verdict, killer, stats.repeats, time.monotonic() - began, faults)


_HEAD = (
    "case", "kills", "struck", "at 202", "meant", "effects", "twice", "lost", "overlaps", "repeats", "gets", "wasted",
    "may be", "seconds", "faults",
)  # fmt: skip
_LINE = "{:<32} {:>5} {:>6} {:>6} {:>6} {:>7} {:>5} {:>5} {:>8} {:>7} {:>6} {:>6} {:>6} {:>7} {:>6}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _show(one: Ran) -> None:
    got, killer = one.verdict, one.killer
    _say(
        _LINE.format(
            one.name, killer.kills, killer.struck, killer.at_202, got.meant, got.effects, got.twice, got.lost,
            killer.overlaps, one.repeats, len(killer.tenant.gets), got.wasted, killer.in_flight,
            f"{one.seconds:.0f}", len(one.faults),
        )
    )  # fmt: skip
    for fault in one.faults[:12]:
        _say(f"    {fault}")


async def _all(names: Sequence[str], places: Places, scale: Scale, *, seed: int, at_once: int) -> list[Ran]:
    _say(_LINE.format(*_HEAD))
    limit = asyncio.Semaphore(at_once)

    async def one(name: str) -> Ran:
        async with limit:
            done = await ran(name, places, scale, seed=seed)
            _show(done)
            return done

    return await asyncio.gather(*map(one, names))


_BESIDE = "{:<44} {:>5} {:>11} {:>10} {:>14} {:>6}"


def _show_beside(one: Beside) -> None:
    waits = (f"{1000 * each:.0f} ms" if each else "" for each in (one.p99, one.worst))
    longest = f"{max(one.takeovers):.2f} s" if one.takeovers else ""
    _say(_BESIDE.format(one.name, one.sent, *waits, longest, len(one.faults)))
    for fault in one.faults[:12]:
        _say(f"    {fault}")


async def _all_beside(names: Sequence[str], places: Places, *, kills: int, at_once: int) -> list[Beside]:
    _say(_BESIDE.format("case", "sent", "p99 of 202", "most of it", "taken over in", "faults"))
    limit = asyncio.Semaphore(at_once)

    async def one(name: str) -> Beside:
        async with limit:
            done = await beside(name, places, kills=kills)
            _show_beside(done)
            return done

    return await asyncio.gather(*map(one, names))


async def _planted(names: Sequence[str], places: Places, *, seed: int) -> int:
    """Plant each fault; return how many were not found."""
    missed = 0
    for name in names:
        one = planted(name)
        began = time.monotonic()
        if one.case in BESIDE:
            faults = (await beside(one.case, places, kills=3, fault=name)).faults
        else:
            faults = (await ran(one.case, places, _PLANTED, seed=seed, fault=name)).faults
        found = [fault for fault in faults if fault.startswith(one.found_as)]
        missed += not found
        said = found[0] if found else f"only {faults[:3]}"
        _say(f"{'found ' if found else 'MISSED'} in {time.monotonic() - began:4.1f} s: {name}: {said[:140]}")
    return missed


async def _judge(places: Places, scale: Scale, given: argparse.Namespace) -> int:
    is_short: bool = given.short
    names = [name for name in (_SHORT_CASES if is_short else CASES) if given.only in name]
    done = await _all(names, places, scale, seed=given.seed, at_once=3 if is_short else 1)
    names = [name for name in (BESIDE_SHORT if is_short else BESIDE) if given.only in name]
    kills, at_once = (1, 2) if is_short else (_SERVERS_KILLED, 1)
    others = await _all_beside(names, places, kills=kills, at_once=at_once)
    return int(any(one.faults for one in done) or any(one.faults for one in others))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--planted", action="store_true", help="plant faults, which have to be found")
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--events", type=int)
    given = parser.parse_args()
    scale = _SHORT if given.short else _LONG
    scale = scale._replace(kills=given.kills or scale.kills, events=given.events or scale.events)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limio-inbox-")))
        places = stack.enter_context(Places(directory))
        if given.planted:
            names = [one.fault.name for one in PLANTED if given.only in one.fault.name]
            return int(asyncio.run(_planted(names, places, seed=given.seed)) > 0)
        return asyncio.run(_judge(places, scale, given))


if __name__ == "__main__":
    sys.exit(main())
