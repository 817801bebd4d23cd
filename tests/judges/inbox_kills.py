"""Programs with an inbox, and the moments at which one of them is killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, NamedTuple

import msgspec

from tests.judges.inbox_child import WORKERS, Settings, run
from tests.judges.inbox_places import Place
from tests.judges.inbox_sender import Sender, drawn
from tests.judges.inbox_tenant import Tenant
from tests.judges.inbox_truth import Meant

__all__ = ["Child", "Killer", "Stats", "free_port", "says_too_much"]

_LONGEST_START = 20.0
_LONGEST_MOMENT = 4.0
_LONGEST_END = 30.0
_LONGEST_DRAIN = 300.0
_LONGEST_AWAY = 1.5
_AT_ONCE = 8
_MOST_LINES = 12
_TAKEN = " was taken over by another worker"
_ROLES = ((True, True), (True, False), (False, True))
"""Whether each program receives, and whether it handles."""
_TAKEN_OVER = 2.2
"""Seconds until another worker has what a session held that ended."""


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])  # each start costs a fork


class Stats(NamedTuple):
    """What an inbox says in the end."""

    states: Mapping[str, int]
    repeats: int


class Child:
    """A process that uses an inbox."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counted: Counter[str] = Counter()
        self.overlaps = self.sessions_ended = 0
        self.began_at = 0.0
        self.stats: Stats | None = None
        self._process: ForkServerProcess | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self._starting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._starting = asyncio.create_task(self.start())

    async def start(self) -> None:
        (out, writes_out), (errors, writes_errors) = _FORKS.Pipe(duplex=False), _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(
            target=run, args=(self.settings, writes_out, writes_errors), daemon=True
        )
        await asyncio.to_thread(self._process.start)
        writes_out.close()
        writes_errors.close()
        self._reading = asyncio.create_task(self._read(await _lines(out), await _lines(errors)))

    @property
    def runs(self) -> bool:
        return self._reading is None or not self._reading.done()

    @property
    def in_flight(self) -> int:
        """Handlers that began and did not return."""
        return self.counted["began"] - self.counted["left"]

    def signal(self, number: int) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    async def end(self, how: int, longest: float = _LONGEST_END) -> tuple[int, str]:
        """End it; return its code, and what it wrote to stderr. Raises `TimeoutError`."""
        if self._starting is not None:
            await self._starting
        self.signal(how)
        return await self.wait(longest)

    async def wait(self, longest: float) -> tuple[int, str]:
        assert self._reading is not None
        assert self._process is not None
        errors = await asyncio.wait_for(asyncio.shield(self._reading), longest)
        return self._process.exitcode or 0, errors.decode(errors="replace")

    async def _read(self, out: asyncio.StreamReader, errors: asyncio.StreamReader) -> bytes:
        written = asyncio.create_task(errors.read())
        async for line in out:
            with suppress(json.JSONDecodeError):  # cut off by a kill
                self._heard(json.loads(line))
        assert self._process is not None
        await asyncio.to_thread(self._process.join)
        return await written

    def _heard(self, what: dict[str, Any]) -> None:
        self.counted.update(what.keys())
        if "began" in what:
            self.began_at = time.monotonic()
        if "ended" in what:
            self.stats = Stats(what["ended"], what["repeats"])


class Killer:
    """The programs of one case."""

    def __init__(self, case: str, place: Place, tenant: Tenant, chance: random.Random, fault: str) -> None:
        self.tenant, self._place, self._chance = tenant, place, chance
        self._breaks: Callable[[], Coroutine[Any, Any, None]] | None = None
        if "sessions" in case:
            self._breaks = self._end_sessions
        elif "restarts" in case:
            self._breaks = self._restart
        self._settings = [
            Settings(
                place.url, tenant.url, str(place.directory), free_port() if receives else None, works,
                fault=fault,
            )
            for receives, works in _ROLES
        ]  # fmt: skip
        self.ports = [one.port for one in self._settings if one.port is not None]
        self.children = [Child(one) for one in self._settings]
        self.faults: list[str] = []
        self.kills = 0
        self.struck = 0
        """Handlers that had begun and not returned, at kills."""
        self.in_flight = 0
        """Events that may have been with a handler, or on the way to one, at kills."""
        self.at_202 = 0
        """Events that were answered 202 just before a kill, and never told again."""
        self._overlaps = self._events = 0
        self._later: list[asyncio.Task[None]] = []

    @property
    def overlaps(self) -> int:
        """How often a handler found another one of its key at work."""
        return self._overlaps + sum(one.counted["overlap"] for one in self.children)

    def start(self) -> None:
        """Start all."""
        for one in self.children:
            one.begin()

    async def strike(self, number: int, sender: Sender, events: int) -> None:
        """Kill one, at a moment that is drawn, and start it again."""
        self._events = events
        moments: list[Callable[[], Any]] = [self._at_a_handler, self._at_a_get, self._at_any_time]
        what = self._chance.choices(("handler", "get", "any", "202"), (40, 20, 10, 30))[0]
        if what != "any":
            await self.ready()
        if self._breaks is not None and number % 2 == 0:
            await self._breaks()
            return
        if what == "202":
            victim = self.children[self._chance.randrange(len(self.ports))]
            await self._at_a_202(number, victim, sender)
        else:
            victim = await moments[("handler", "get", "any").index(what)]()
        await self._kill(victim)

    async def ready(self) -> None:
        """Wait until all have started."""
        await self._until(lambda: all(one.counted["ready"] for one in self.children), _LONGEST_START)
        for one in self.children:
            if not one.runs:
                _, errors = await one.wait(1.0)
                if self._breaks != self._restart or "StoreAway" not in errors:  # the server was away
                    self.faults.append(f"ended by itself: {errors[-600:]}")
                self._again(one)
            elif not one.counted["ready"]:
                self.faults.append(f"did not start within {_LONGEST_START:.0f} s")

    async def _kill(self, victim: Child) -> None:
        _, errors = await victim.end(signal.SIGKILL)
        self._wrote(victim, errors)
        self.kills += 1
        self.struck += victim.in_flight
        self.in_flight += WORKERS * victim.settings.works
        self._overlaps += victim.counted["overlap"]
        self._again(victim)

    def _wrote(self, one: Child, errors: str) -> None:
        if says_too_much(errors, one.sessions_ended):
            self.faults.append(f"wrote: {errors[-900:]}")

    def _again(self, ended: Child) -> None:
        place = self.children.index(ended)
        self.children[place] = Child(ended.settings)
        self.children[place].begin()

    # --- moments

    def _busiest(self) -> Child:
        return max((one for one in self.children if one.settings.works), key=lambda one: one.began_at)

    async def _until(self, came: Callable[[], bool], longest: float = _LONGEST_MOMENT) -> None:
        ends = time.monotonic() + longest
        while time.monotonic() < ends and not came():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def _at_a_handler(self) -> Child:
        def count() -> int:
            return sum(one.counted["began"] for one in self.children)

        enough = count() + self._chance.randint(1, max(2, self._events))
        await self._until(lambda: count() >= enough)
        await self._until(lambda: self._busiest().in_flight > 0)
        await asyncio.sleep(self._chance.uniform(0.0, 0.003))
        return self._busiest()

    async def _at_a_get(self) -> Child:
        enough = len(self.tenant.gets) + self._chance.randint(1, max(2, self._events // 2))
        await self._until(lambda: len(self.tenant.gets) >= enough)
        return self._busiest()

    async def _at_any_time(self) -> Child:
        await asyncio.sleep(self._chance.uniform(0.05, 1.0))
        return self._chance.choice(self.children)

    async def _at_a_202(self, number: int, victim: Child, sender: Sender) -> None:
        port, events = victim.settings.port or 0, []
        for one in range(_AT_ONCE):
            events.append(drawn(self._chance, f"once {number}.{one}", 10**6 + number * _AT_ONCE + one, 10**9))
            sender.meant[events[-1].name] = Meant()
        answers = await asyncio.gather(
            *(sender.post(one, port, lambda: victim.signal(signal.SIGKILL)) for one in events)
        )
        self.at_202 += sum(answers)
        left = [one for one, done in zip(events, answers, strict=True) if not done]
        self._later += [asyncio.create_task(sender.deliver(one)) for one in left]

    async def _end_sessions(self) -> None:
        """Let a worker stand still, and its session end: another takes over what the first goes on with later."""
        victim = await self._at_a_handler()
        victim.signal(signal.SIGSTOP)
        try:
            await asyncio.to_thread(self._place.end_sessions)
            for one in self.children:
                one.sessions_ended += 1
            await asyncio.sleep(_TAKEN_OVER)
        finally:
            victim.signal(signal.SIGCONT)
        self.kills += 1
        self.struck += victim.in_flight
        self.in_flight += 2 * WORKERS

    async def _restart(self) -> None:
        """Let the database's server crash under all of them."""
        await self._at_a_handler()
        self.struck += sum(one.in_flight for one in self.children)
        await asyncio.to_thread(self._place.restart, self._chance.uniform(0.0, _LONGEST_AWAY))
        self.kills += 1
        self.in_flight += WORKERS * sum(one.settings.works for one in self.children)

    # --- the end

    async def drain(self) -> Stats:
        """End all as they are ended every day, and let a last one handle what is left; return what it says."""
        await asyncio.gather(*self._later)
        await self.ready()
        for one in self.children:
            code, errors = await one.end(signal.SIGTERM)
            if one.settings.works and code != 0:
                self.faults.append(f"SIGTERM: code {code}, {errors[-600:]}")
            self._wrote(one, errors)
        last = Child(msgspec.structs.replace(self._settings[2], until_idle=True))
        await last.start()
        self.children.append(last)
        try:
            _, errors = await last.wait(_LONGEST_DRAIN)
        except TimeoutError:
            errors = f"does not end: {(await last.end(signal.SIGKILL))[1]}"
        if last.stats is None or "Traceback" in errors:
            self.faults.append(f"the last one: {errors[-1500:]}")
        return last.stats or Stats({}, 0)

    async def stop(self) -> None:
        """Leave nothing behind."""
        for one in self.children:
            if one.runs:
                await one.end(signal.SIGKILL)


def says_too_much(errors: str, sessions_ended: int) -> bool:
    """Whether there is more than a few lines, and one for each event that others took over when sessions ended."""
    rightly = min(errors.count(_TAKEN), WORKERS * sessions_ended)
    return "Traceback" in errors or errors.count("\n") - rightly > _MOST_LINES


async def _lines(pipe: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    stream = os.fdopen(os.dup(pipe.fileno()), "rb")
    pipe.close()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    return reader


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
