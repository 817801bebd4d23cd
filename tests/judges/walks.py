"""Walks lists and submits orders at random, and judges what the client says of them by what a raw server sent.

`python -m tests.judges.walks` walks fixed seeds, those in `seeds.txt`, and some that nobody walked before. `--case SEED`
(or `--case order-SEED`) repeats one and shows everything.

Server and verdict share no code with the client, which is used through its public names only, and none with the
emulator. The server is raw asyncio (`walks_wire`, `walks_tenant`), what happens is drawn from the seed
(`walks_scenario`), what the client says is judged by the server's log (`walks_oracle`, `walks_orders`). All time of the
loop passes ten times as fast (`walks_clock`), because the client waits up to a second before it sends something again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import random
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.judges.planted import PLANTED, plant
from tests.judges.walks_clock import HurriedLoop
from tests.judges.walks_oracle import KINDS, Finding
from tests.judges.walks_orders import draw_orders, run_orders
from tests.judges.walks_run import run_walk
from tests.judges.walks_scenario import draw

__all__ = ["Batch", "examine", "main"]

SEEDS = Path(__file__).with_name("seeds.txt")
AT_ONCE = 16
BATCH = 250
SHOWN = 25
MOST_PLANTED = 5_000

Case = tuple[str, int]
"""`walk` or `order`, and its seed."""


@dataclass
class Batch:
    """What came of some cases."""

    findings: list[Finding] = field(default_factory=list[Finding])
    counted: Counter[str] = field(default_factory=Counter[str])


class _Examiner:
    """Runs cases at once, and remembers what is wrong with them."""

    def __init__(self, *, first_only: bool) -> None:
        self.batch = Batch()
        self._first_only = first_only

    async def run(self, cases: Sequence[Case]) -> None:
        pending = iter(cases)
        await asyncio.gather(*(self._work(pending) for _ in range(AT_ONCE)))
        gc.collect()
        await asyncio.sleep(0)

    async def _work(self, pending: Iterator[Case]) -> None:
        for kind, seed in pending:
            if self._first_only and self.batch.findings:
                return
            try:
                await asyncio.create_task(self._order(seed) if kind == "order" else self._walk(seed))
            except Exception:
                text = f"the judge itself failed: {traceback.format_exc()}"
                self.batch.findings.append(Finding("foreign", seed, text, order=kind == "order"))

    async def _walk(self, seed: int) -> None:
        findings, tenant, outcomes = await run_walk(seed)
        counted = self.batch.counted
        counted["walks"] += 1
        counted["parts of walks"] += len(outcomes)
        counted["walks called complete"] += outcomes[-1].complete
        counted["walks that ended with an error"] += outcomes[-1].error is not None
        counted["requests"] += len(tenant.log)
        counted["requests that went wrong"] += sum(
            entry.reply.status != 200 or not entry.reply.whole for entry in tenant.log
        )
        counted["walks in which the server lied"] += bool(tenant.lied)
        self.batch.findings += findings

    async def _order(self, seed: int) -> None:
        findings, tenant, said = await run_orders(seed)
        self.batch.counted["order clients"] += 1
        self.batch.counted["orders"] += len(said)
        self.batch.counted["orders called done"] += sum(text.endswith(": done") for text in said)
        self.batch.counted["orders called unknown"] += sum("UnknownOutcome" in text for text in said)
        self.batch.counted["orders received whole"] += sum(one.whole for one in tenant.receipts)
        self.batch.findings += findings


def examine(cases: Sequence[Case], *, first_only: bool = False) -> Batch:
    """Run these cases; what they warned of belongs to all of them."""
    logging.getLogger().addHandler(logging.NullHandler())  # what the client logs is not asked for
    unraisable: list[str] = []

    def remember(raised: sys.UnraisableHookArgs) -> None:
        unraisable.append(f"unraisable {raised.exc_value!r}")

    hook, sys.unraisablehook = sys.unraisablehook, remember
    examiner = _Examiner(first_only=first_only)
    try:
        with (
            warnings.catch_warnings(record=True) as warned,
            asyncio.Runner(loop_factory=HurriedLoop) as runner,
        ):
            warnings.simplefilter("always")
            runner.run(examiner.run(cases))
            loop = runner.get_loop()
            assert isinstance(loop, HurriedLoop)
            complaints = list(loop.complaints)
    finally:
        sys.unraisablehook = hook
    examiner.batch.findings += _warnings(cases, [f"{one.category.__name__}: {one.message}" for one in warned])
    examiner.batch.findings += _warnings(cases, unraisable)
    for seed, text in complaints:
        examiner.batch.findings += _warnings(cases, [text], seed)
    return examiner.batch


def _warnings(cases: Sequence[Case], texts: Sequence[str], seed: int | None = None) -> list[Finding]:
    """What was warned of; where nobody knows by which of the *cases*, it says so."""
    if seed is not None:
        return [Finding("warnings", seed, text) for text in texts]
    among = f"(one of {len(cases)} cases, {cases[:1]} to {cases[-1:]})"
    return [Finding("warnings", cases[0][1], f"{text} {among}") for text in texts]


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
    case = f"{'order-' if finding.order else ''}{finding.seed}"
    scenario: Any = draw_orders(finding.seed) if finding.order else draw(finding.seed)
    return f"{finding.kind}: {finding.text}\n    {scenario}\n    python -m tests.judges.walks --case {case}"


def _show(title: str, batch: Batch, seconds: float) -> None:
    """Print what was found and the totals."""
    for finding in batch.findings[:SHOWN]:
        _say(_words(finding), "")
    if len(batch.findings) > SHOWN:
        _say(f"... and {len(batch.findings) - SHOWN} more", "")
    found: Counter[tuple[str, bool]] = Counter((one.kind, one.order) for one in batch.findings)
    lines = [f"| {title} | walks | orders |", "| --- | --: | --: |"]
    lines += [f"| **{kind}** | {found[kind, False]:,} | {found[kind, True]:,} |" for kind in KINDS]
    lines += [f"| {name} | {number:,} | |" for name, number in sorted(batch.counted.items())]
    _say(*lines, f"| seconds | {seconds:.0f} | |", "")


def _repeat(text: str) -> int:
    """Run one case, and show everything."""
    kind, seed = _case(text)

    async def run() -> list[Finding]:
        if kind == "order":
            findings, orders, said = await run_orders(seed)
            _say(str(orders.scenario), "", *(str(one) for one in orders.receipts), "", *said, "")
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
    """Walks, and orders among them."""
    return [(("order" if n % 4 == 3 else "walk"), n) for n in range(walks)]


def _planted(processes: int) -> int:
    """Plant every fault in a process of its own; how many were not found."""

    def look(name: str) -> tuple[str, bool, str, float]:
        begun = time.monotonic()
        command = [sys.executable, "-m", "tests.judges.walks", "--plant", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return name, done.returncode == 1, (done.stdout or done.stderr).strip(), time.monotonic() - begun

    missed = 0
    with ThreadPoolExecutor(processes) as pool:
        for name, found, text, seconds in pool.map(look, [fault.name for fault in PLANTED]):
            missed += not found
            _say(
                f"{'found ' if found else 'MISSED'} in {seconds:4.1f} s: {name}: {text.splitlines()[0][:160]}"
            )
    return missed


def _plant(name: str) -> int:
    """Plant one fault here, and walk until the first find; 1 if there is one."""
    plant(next(fault for fault in PLANTED if fault.name == name))
    batch = examine(_mixed(MOST_PLANTED), first_only=True)
    _say(_words(batch.findings[0]) if batch.findings else f"not found in {MOST_PLANTED:,} walks")
    return 1 if batch.findings else 3


def main() -> int:
    """Judge, and tell whether all is well."""
    parser = argparse.ArgumentParser(description="Random walks and orders, judged by what the server sent.")
    parser.add_argument("--walks", type=int, default=5_000, help="walks of fixed seeds")
    parser.add_argument(
        "--orders", type=int, default=2_000, help="clients that submit orders, of fixed seeds"
    )
    parser.add_argument("--fresh", type=int, default=1_000, help="walks and orders that nobody saw before")
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
    known = _examined(fixed, asked.processes)
    _show("of fixed seeds", known, time.monotonic() - begun)
    begun = time.monotonic()
    drawn = random.SystemRandom()
    unknown: list[Case] = [
        ("order" if n % 4 == 3 else "walk", drawn.randrange(1 << 40)) for n in range(asked.fresh)
    ]
    fresh = _examined(unknown, asked.processes)
    if asked.fresh:
        _show("of fresh seeds", fresh, time.monotonic() - begun)
    if fresh.findings:
        _say(f"WARNING: {len(fresh.findings)} findings on fresh seeds: put them into {SEEDS.name}")
    return int(bool(known.findings) or (asked.strict and bool(fresh.findings)))


if __name__ == "__main__":
    sys.exit(main())
