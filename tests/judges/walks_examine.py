"""Runs cases (walks, orders, follows) many at once, and remembers what is wrong with them."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.judges.walks_clock import HurriedLoop
from tests.judges.walks_facts import Finding
from tests.judges.walks_follow_run import run_follow
from tests.judges.walks_orders import run_orders
from tests.judges.walks_run import run_walk

__all__ = ["Batch", "Case", "examine"]

AT_ONCE = 16

Case = tuple[str, int]
"""`walk`, `order` or `follow`, and its seed."""


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
        run = {"walk": self._walk, "order": self._order, "follow": self._follow}
        for kind, seed in pending:
            if self._first_only and self.batch.findings:
                return
            try:
                await asyncio.create_task(run[kind](seed))
            except Exception:
                text = f"the judge itself failed: {traceback.format_exc()}"
                self.batch.findings.append(Finding("foreign", seed, text, case=kind))

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
        counted["walks with odd bytes"] += tenant.scenario.odd > 0
        counted["walks with items that say no"] += tenant.scenario.nos > 0
        counted["pages that said no"] += sum(entry.note == "says no" for entry in tenant.log)
        counted["pages asked for without a scroll"] += sum(entry.alone for entry in tenant.log)
        self.batch.findings += findings

    async def _order(self, seed: int) -> None:
        findings, tenant, said = await run_orders(seed)
        self.batch.counted["order clients"] += 1
        self.batch.counted["orders"] += len(said)
        self.batch.counted["orders called done"] += sum(text.endswith(": done") for text in said)
        self.batch.counted["orders called unknown"] += sum("UnknownOutcome" in text for text in said)
        self.batch.counted["orders answered with a no under 200"] += sum(
            one.note == "says no" for one in tenant.receipts
        )
        self.batch.counted["orders received whole"] += sum(one.whole for one in tenant.receipts)
        self.batch.findings += findings

    async def _follow(self, seed: int) -> None:
        findings, tenant, steps = await run_follow(seed)
        counted = self.batch.counted
        counted["lists followed"] += 1
        counted["follows"] += sum(step.what == "follow" for step in steps)
        counted["follows that were refused"] += sum(
            step.what == "follow" and step.error is not None for step in steps
        )
        counted["rows that appeared late"] += sum(row.late for row in tenant.rows)
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
