"""What a run of the benchmarks needs: servers and contenders, started when they are first asked for and kept till its end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec

from benchmarks.contenders import ROOT, Contender, Cost, Rounds, contending, in_rounds
from benchmarks.peers.environments import REQUIREMENTS, NotInHistory, python_of, root_of_before
from benchmarks.server import serving

__all__ = ["CONTENDERS", "FULL", "MICRO", "PAGE", "SHORT", "Scale", "Stage"]

PAGE = 200
MICRO = 1e6
CLOSER = 6  # times as many processes where the first few spoke against a goal
CONTENDERS = ("ours", "ours_on_uvloop", "by_hand", "aiohttp_json", *REQUIREMENTS)
PACKAGES = {
    "ours": ("aiohttp", "msgspec", "anyio", "backoff"),
    "before": ("aiohttp", "msgspec", "anyio", "backoff"),
    "ours_on_uvloop": ("uvloop",),
    "by_hand": ("aiohttp", "msgspec"),
    "aiohttp_json": ("aiohttp",),
    "httpx_pydantic": ("httpx", "pydantic"),
    "openai_core": ("openai", "httpx2", "pydantic"),
    "openapi_client": ("openapi-python-client", "httpx", "attrs"),
}


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured, and how often; `slow` is for what takes several times as long."""

    items: int
    slow_items: int
    calls: int
    slow_calls: int
    objects: int
    """To hydrate."""
    longest: int
    """Items of the walk whose memory is compared with that of a short one."""
    runs: int
    slow_runs: int
    starts: int
    """How often ours, before and by hand are started anew: two processes of the same code differ by a tenth."""
    rounds: int
    """In which they are measured after each start: few hundredths are to be told apart."""


SHORT = Scale(
    items=10_000,
    slow_items=2_000,
    calls=768,
    slow_calls=256,
    objects=1_280,
    longest=100_000,
    runs=4,
    slow_runs=2,
    starts=6,
    rounds=2,
)
FULL = Scale(
    items=20_000,
    slow_items=5_000,
    calls=2_560,
    slow_calls=512,
    objects=10_000,
    longest=1_000_000,
    runs=5,
    slow_runs=3,
    starts=5,
    rounds=3,
)


def started(name: str) -> AbstractContextManager[Contender]:
    """A contender in its environment."""
    if name == "before":
        return contending(name, module="ours", root=root_of_before())
    return contending(name, python_of(name))


class Stage:
    """Everything lives until *held* is closed."""

    def __init__(self, scale: Scale, held: ExitStack) -> None:
        self.scale = scale
        self._held = held
        self._processes = held.enter_context(ExitStack())
        self._urls: dict[tuple[int, float, bool], str] = {}
        self._contenders: dict[str, Contender] = {}
        self._asked: dict[str, None] = {}
        self._peaks: dict[tuple[str, int], float] = {}
        self._rounds: dict[str, Rounds] = {}
        self._doubted: set[str] = set()

    def url(self, offers: int, *, delay: float = 0, zipped: bool = False) -> str:
        """Where a server of so many offers is."""
        wanted = offers, delay, zipped
        if wanted not in self._urls:
            self._urls[wanted] = self._held.enter_context(serving(offers, delay=delay, zipped=zipped))
        return self._urls[wanted]

    def ask(self, name: str, measure: str, **args: Any) -> Cost:
        """What it costs contender *name* to do *measure*."""
        self._asked[name] = None
        if name not in self._contenders:
            self._contenders[name] = self._processes.enter_context(started(name))
        return self._contenders[name].ask(measure, **args)

    def walk(
        self,
        name: str,
        offers: int,
        how: str = "typed",
        *,
        page_size: int = PAGE,
        delay: float = 0,
        zipped: bool = False,
    ) -> Cost:
        """The cost of walking *offers*, all of which have to come."""
        url = self.url(offers, delay=delay, zipped=zipped)
        form = {} if how == "typed" else {"how": how}  # those of others know no other
        return self.ask(name, "walk", came=offers, url=url, page_size=page_size, **form)

    def calls(self, name: str, count: int, at_once: int) -> Cost:
        """The cost of *count* small calls; what comes is their number, p50 and p99 in seconds."""
        return self.ask(name, "calls", url=self.url(self.scale.items), count=count, at_once=at_once)

    def peak(self, name: str, offers: int) -> float:
        """MiB of a fresh process that walked *offers*; measured once."""
        if (name, offers) not in self._peaks:
            self._peaks[name, offers] = self._measured_peak(name, offers)
        return self._peaks[name, offers]

    def rounds(self, what: str, sides: Mapping[str, Callable[[], float]]) -> Rounds:
        """What each of *sides* costs, in turns, in several processes each; measured once. Who is `lacking` takes no part."""
        if what not in self._rounds:
            there = {name: cost for name, cost in sides.items() if not self.lacking(name)}
            rounds: list[Mapping[str, float]] = []
            for _ in range(self.scale.starts * (CLOSER if what in self._doubted else 1)):
                self._end()
                rounds += in_rounds(there, self.scale.rounds)
            self._rounds[what] = rounds
        return self._rounds[what]

    def _end(self) -> None:
        """End the contenders; who is asked next is started anew."""
        self._contenders.clear()
        self._processes.close()

    def lacking(self, name: str) -> str:
        """Why contender *name* cannot take part on this machine; empty where it can."""
        if name == "before":
            try:
                root_of_before()
            except NotInHistory as reason:
                return str(reason)
        return ""

    def forget(self, rounds: str) -> None:
        """Let these rounds be measured again, in more processes than before, and all peaks."""
        self._peaks.clear()
        self._doubted.add(rounds)
        self._rounds.pop(rounds, None)

    def _measured_peak(self, name: str, offers: int) -> float:
        url = self.url(offers)
        with started(name) as contender:
            return contender.ask("walk", came=offers, url=url, page_size=PAGE).peak_kib / 1024

    def fresh(self, what: str, *args: str) -> Cost:
        """The cost of a process that does one of `benchmarks.fresh`, from its start."""
        begun = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.fresh", what, *args]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        wall = time.perf_counter() - begun
        cpu, peak_kib = done.stdout.split()
        return Cost(came=None, cpu=float(cpu), wall=wall, peak_kib=int(peak_kib))

    def versions(self) -> dict[str, dict[str, str]]:
        """By contender: its packages."""
        return {name: self.ask(name, "versions", packages=PACKAGES[name]).came for name in self._asked}
