"""Running contenders in turns: each is a process that waits for its turn (`peers/worker.py`), pinned beside the server."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

__all__ = ["ROOT", "Contender", "Cost", "Pair", "Rounds", "contending", "in_rounds", "in_turns", "paired"]

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
HEAP = {"MALLOC_TRIM_THRESHOLD_": str(64 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(64 * 2**20)}
"""Lets glibc keep what asyncio frees after each read (256 KiB). Else one process gives it back each time and another of the same
code does not, by the addresses it happens to have, which shows as twice the page faults."""


class Cost(msgspec.Struct, frozen=True):
    """What doing it once took: seconds of CPU and of time, the peak memory of the process until then."""

    came: Any
    cpu: float
    wall: float
    peak_kib: int


class Contender:
    """One of `benchmarks/peers`, running."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self._name = name
        self._process = process

    def ask(self, measure: str, *, came: object = ..., **args: object) -> Cost:
        """Let it do *measure*; what *came* must be as told, so that nobody is fast by leaving something out."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101
        assert stdout is not None  # noqa: S101
        print(json.dumps({"measure": measure, "args": args}), file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            sys.exit(f"{self._name} did not come to the end of {measure}; its error stands above")
        cost = msgspec.json.decode(line, type=Cost)
        if came is not ... and cost.came != came:
            sys.exit(f"{self._name}: {cost.came} came of {measure}, not {came}")
        return cost


@contextmanager
def contending(
    name: str, python: Path | str = sys.executable, *, module: str | None = None, root: Path = ROOT
) -> Generator[Contender]:
    """A contender, which ends with the block; its *module* is called as it is, and lies in *root*."""
    command = [str(python), "-m", f"benchmarks.peers.{module or name}"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, **HEAP},
    ) as process:
        try:
            yield Contender(name, process)
        finally:
            process.kill()


class Pair(msgspec.Struct, frozen=True):
    """Two measured in turns: the medians, and the median of the ratios of neighbours."""

    ours: float
    other: float
    ratio: float


Rounds = Sequence[Mapping[str, float]]
"""What each of several cost, measured one after the other, time and again."""


def in_rounds(
    sides: Mapping[str, Callable[[], T]], runs: int, *, warmups: int = 1
) -> Sequence[Mapping[str, T]]:
    """Measure all *runs* times, after *warmups* that do not count; each begins a round as often as the others."""
    names = list(sides)
    turns = [[*names[first:], *names[:first]] for first in range(len(names))]
    rounds = [
        {name: sides[name]() for name in turns[number % len(names)]} for number in range(warmups + runs)
    ]
    return rounds[warmups:]


def paired(rounds: Rounds, ours: str, other: str) -> Pair:
    """Two of those that were measured."""
    pairs = [(costs[ours], costs[other]) for costs in rounds]
    mine, theirs = (statistics.median(costs) for costs in zip(*pairs, strict=True))
    return Pair(mine, theirs, statistics.median(one / two for one, two in pairs))


def in_turns(ours: Callable[[], float], other: Callable[[], float], runs: int, *, warmups: int = 1) -> Pair:
    """Measure both *runs* times, after *warmups* that do not count."""
    return paired(in_rounds({"ours": ours, "other": other}, runs, warmups=warmups), "ours", "other")
