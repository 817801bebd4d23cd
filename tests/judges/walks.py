"""Walks lists and submits orders at random, and judges what the client says of them by what a raw server sent.

`python -m tests.judges.walks` walks fixed seeds, those in `seeds.txt`, and some that nobody walked before. `--case SEED`
(or `--case order-SEED`, `--case follow-SEED`) repeats one and shows everything.

Server and verdict share no code with the client, which is used through its public names only, and none with the
emulator. The server is raw asyncio (`walks_wire`, `walks_tenant`), what happens is drawn from the seed
(`walks_scenario`), what the client says is judged by the server's log (`walks_oracle`, `walks_besides`, `walks_orders`). Lists that are
followed have a server and a verdict of their own (`walks_follow`, `walks_follow_oracle`). All time of the
loop passes ten times as fast (`walks_clock`), because the client waits up to a second before it sends something again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.judges.planted import PLANTED, plant
from tests.judges.walks_clock import HurriedLoop
from tests.judges.walks_examine import Batch, Case, examine
from tests.judges.walks_facts import KINDS, Finding
from tests.judges.walks_follow import draw_follow
from tests.judges.walks_follow_run import run_follow
from tests.judges.walks_orders import draw_orders, run_orders
from tests.judges.walks_run import run_walk
from tests.judges.walks_scenario import draw

__all__ = ["main"]

SEEDS = Path(__file__).with_name("seeds.txt")
BATCH = 250
SHOWN = 25
_FOUND = 10  # no code of a process that failed by itself
MOST_PLANTED = 5_000
_MIX = ("walk", "walk", "follow", "walk", "order")


def _examined(cases: Sequence[Case], processes: int) -> Batch:
    """Run these cases in several processes."""
    total = Batch()
    parts = [cases[n : n + BATCH] for n in range(0, len(cases), BATCH)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for batch in pool.map(examine, parts):
            total.findings += batch.findings
            total.counted += batch.counted
    return total


def _read_seeds() -> list[Case]:
    lines = (line.partition("#")[0].strip() for line in SEEDS.read_text().splitlines())
    return [_case(line) for line in lines if line]


def _case(text: str) -> Case:
    kind, _, seed = text.rpartition("-")
    return kind or "walk", int(seed)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


def _words(finding: Finding) -> str:
    """A finding, the scenario it was found in, and how to see it again."""
    case = f"{'' if finding.case == 'walk' else f'{finding.case}-'}{finding.seed}"
    scenario: Any = {"walk": draw, "order": draw_orders, "follow": draw_follow}[finding.case](finding.seed)
    return f"{finding.kind}: {finding.text}\n    {scenario}\n    python -m tests.judges.walks --case {case}"


def _show(title: str, batch: Batch, seconds: float) -> None:
    """Print what was found and the totals."""
    for finding in batch.findings[:SHOWN]:
        _say(_words(finding), "")
    if len(batch.findings) > SHOWN:
        _say(f"... and {len(batch.findings) - SHOWN} more", "")
    found: Counter[tuple[str, str]] = Counter((one.kind, one.case) for one in batch.findings)
    lines = [f"| {title} | walks | orders | follows |", "| --- | --: | --: | --: |"]
    lines += [
        f"| **{kind}** | {found[kind, 'walk']:,} | {found[kind, 'order']:,} | {found[kind, 'follow']:,} |"
        for kind in KINDS
    ]
    lines += [f"| {name} | {number:,} | | |" for name, number in sorted(batch.counted.items())]
    _say(*lines, f"| seconds | {seconds:.0f} | | |", "")


def _repeat(text: str) -> int:
    """Run one case, and show everything."""
    kind, seed = _case(text)

    async def run() -> list[Finding]:
        if kind == "order":
            findings, orders, said = await run_orders(seed)
            _say(str(orders.scenario), "", *(str(one) for one in orders.receipts), "", *said, "")
            return findings
        if kind == "follow":
            findings, rows, steps = await run_follow(seed)
            _say(str(rows.scenario), "", *(str(row) for row in rows.rows), "", *rows.log, "")
            _say(*(str(step) for step in steps), "")
            return findings
        findings, tenant, outcomes = await run_walk(seed)
        parts = [str(part) for part in tenant.scenario.parts]
        _say(str(tenant.scenario), "", *parts, "", *(str(entry) for entry in tenant.log), "")
        _say(*(str(one) for one in outcomes), "")
        return findings

    logging.basicConfig(format="log: %(message)s")
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        findings = runner.run(run())
    _say(*(f"FOUND {one.kind}: {one.text}" for one in findings) if findings else ["all is well"])
    return bool(findings)


def _mixed(walks: int) -> list[Case]:
    """Walks, and orders and follows among them."""
    return [(_MIX[n % len(_MIX)], n) for n in range(walks)]


def _planted(processes: int) -> int:
    """Plant every fault in a process of its own; how many were not found."""

    def look(name: str) -> tuple[str, bool, str, float]:
        begun = time.monotonic()
        command = [sys.executable, "-m", "tests.judges.walks", "--plant", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return name, done.returncode == _FOUND, (done.stdout or done.stderr).strip(), time.monotonic() - begun

    missed = 0
    with ThreadPoolExecutor(processes) as pool:
        for name, found, text, seconds in pool.map(look, [fault.name for fault in PLANTED]):
            missed += not found
            _say(
                f"{'found ' if found else 'MISSED'} in {seconds:4.1f} s: {name}: {text.splitlines()[0][:160]}"
            )
    return missed


def _plant(name: str) -> int:
    """Plant one fault here, and walk until the first find."""
    plant(next(fault for fault in PLANTED if fault.name == name))
    batch = examine(_mixed(MOST_PLANTED), first_only=True)
    _say(_words(batch.findings[0]) if batch.findings else f"not found in {MOST_PLANTED:,} walks")
    return _FOUND if batch.findings else 3


def main() -> int:
    """Judge, and tell whether all is well."""
    parser = argparse.ArgumentParser(description="Random walks and orders, judged by what the server sent.")
    parser.add_argument("--walks", type=int, default=5_000, help="walks of fixed seeds")
    parser.add_argument(
        "--orders", type=int, default=2_000, help="clients that submit orders, of fixed seeds"
    )
    parser.add_argument("--follows", type=int, default=1_500, help="lists that are followed, of fixed seeds")
    parser.add_argument(
        "--fresh", type=int, default=1_000, help="walks, orders and follows that nobody saw before"
    )
    parser.add_argument("--strict", action="store_true", help="fail where a fresh one fails")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--case", metavar="SEED", help="repeat one and show everything")
    parser.add_argument("--planted", action="store_true", help="plant faults, which have to be found")
    parser.add_argument("--plant", metavar="NAME", help="plant this one and walk until it is found")
    asked = parser.parse_args()
    if asked.case:
        return _repeat(asked.case)
    if asked.plant:
        return _plant(asked.plant)
    if asked.planted:
        return int(_planted(asked.processes) > 0)
    begun = time.monotonic()
    fixed: list[Case] = [*_read_seeds(), *(("walk", n) for n in range(asked.walks))]
    fixed += [("order", n) for n in range(asked.orders)]
    fixed += [("follow", n) for n in range(asked.follows)]
    known = _examined(fixed, asked.processes)
    _show("of fixed seeds", known, time.monotonic() - begun)
    begun = time.monotonic()
    drawn = random.SystemRandom()
    unknown: list[Case] = [(_MIX[n % len(_MIX)], drawn.randrange(1 << 40)) for n in range(asked.fresh)]
    fresh = _examined(unknown, asked.processes)
    if asked.fresh:
        _show("of fresh seeds", fresh, time.monotonic() - begun)
    if fresh.findings:
        _say(f"WARNING: {len(fresh.findings)} findings on fresh seeds: put them into {SEEDS.name}")
    return int(bool(known.findings) or (asked.strict and bool(fresh.findings)))


if __name__ == "__main__":
    sys.exit(main())
