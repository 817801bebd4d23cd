"""Handling events, in one process of maybe several: until SIGTERM, until cancelled, or until nothing is left."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import anyio

from limio_async.client import Limio
from limio_async.errors import StoreAway, StoreError, TargetBusy
from limio_async.stores import Store
from limio_async.webhooks import clerk, schema, table
from limio_async.webhooks.batch import Batch
from limio_async.webhooks.handlers import Handler
from limio_async.webhooks.handling import POLL, Handling, Rules
from limio_async.webhooks.table import Taken

__all__ = ["Worker"]

_log = logging.getLogger("limio_async")
_GATHER = 0.005
_ENDING = 20.0  # seconds for handlers when the worker is stopped
_CANCELLED = 2.0  # and then for what they do about it, for each of three things
_HOUR = 3600.0
_SURELY = 2.0  # seconds for a process to have a session again


class Worker:
    """One `run` of an inbox."""

    def __init__(
        self, store: Store, batch: Batch, limio: Limio, handlers: Sequence[Handler], rules: Rules, *, workers: int, woken: asyncio.Event
    ) -> None:  # fmt: skip
        self._store, self._limio, self._rules, self._workers, self._woken = (
            store,
            limio,
            rules,
            workers,
            woken,
        )
        self._handling = Handling(store, batch, limio, handlers, rules, woken=woken)
        self._owner = str(secrets.randbelow(2**62))
        self._hand: dict[str, tuple[Taken, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._purged, self._rescued = 0.0, -POLL
        self._gone: dict[str, float] = {}
        """When those were first seen to be gone who may come back."""
        self._taking_on, self._owns = anyio.CancelScope(), False

    async def run(self, *, until_idle: bool) -> None:
        """Take and handle events."""
        with self._on_sigterm():
            try:
                with self._taking_on:  # also where the store does not answer
                    await self._begin()
                    while await self._round(until_idle=until_idle):
                        pass
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end()

    @contextmanager
    def _on_sigterm(self) -> Generator[None]:
        """Stop when the process is asked to end, unless the application hears that itself."""
        loop, ours = asyncio.get_running_loop(), False
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            with suppress(NotImplementedError):
                loop.add_signal_handler(signal.SIGTERM, self._stop)
                ours = True
        try:
            yield
        finally:
            if ours:
                loop.remove_signal_handler(signal.SIGTERM)

    def _stop(self) -> None:
        self._handling.stopping = True
        self._taking_on.cancel()

    async def _begin(self) -> None:
        """Become one who handles: the only one on SQLite, once the other has ended."""
        told = False
        while True:
            try:
                await self._store.do(lambda store: schema.tenant(store, self._limio.origin))
                await self._store.do_after(lambda store: store.own(self._owner))
            except StoreAway as error:
                if not isinstance(error.__context__, TargetBusy):
                    self._handling.warn("the inbox waits: %s", error)
                elif not told:  # as it should be: one process handles, the others stand by
                    told = True
                    _log.info("the inbox stands by: %s", error)
                await self._nap(POLL)
            else:
                self._owns = True
                return

    async def _end(self) -> None:
        """Wait for handlers, cancel what takes too long, and give back what is not done."""
        self._handling.stopping = True
        for seconds in (_ENDING, _CANCELLED, _CANCELLED):
            if self._tasks:
                _, left = await asyncio.wait(self._tasks, timeout=seconds)
                for task in left:
                    task.cancel()
        for taken, _ in self._hand.values():
            _log.error(
                "event %d (%s): a function of it goes on though it was cancelled",
                taken.row.seq,
                taken.row.type,
            )
        with suppress(StoreError), anyio.move_on_after(_CANCELLED):  # its claims end with its process
            await self._store.do(self._give_back, alone=True)

    def _give_back(self, store: Store) -> None:
        if self._owns:
            table.give_back(store, self._owner, self._hand, hold=self._rules.hold)
        if not self._hand:
            store.own(None)

    # --- taking

    async def _round(self, *, until_idle: bool) -> bool:
        if self._tasks:
            await asyncio.sleep(_GATHER)  # for more of them to end: what is free is taken by one transaction
        now = asyncio.get_running_loop().time()
        self._woken.clear()
        most, wait = self._workers - len(self._tasks), POLL
        if self._handling.outage.paused:  # one at a time, to see whether Limio is back
            most = int(now >= self._handling.outage.until and not self._tasks)
            wait = min(wait, max(0.0, self._handling.outage.until - now)) or wait
        if most > 0 or now >= self._rescued + POLL:
            try:
                await self._purge(now)
                taken = await self._take(most, now)
                if until_idle and not (taken or self._tasks) and not await self._is_waiting():
                    return False
            except StoreAway as error:
                self._handling.warn("the inbox waits: %s", error)
                await self._nap(POLL)
                return True
            for one in taken:
                task = asyncio.create_task(self._handle(one))
                self._hand[one.row.key] = one, task
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            if taken and len(taken) == most and most < self._workers:
                return True
        await self._nap(wait)
        return True

    async def _take(self, most: int, now: float) -> list[Taken]:
        """Take events; and each second, see who is gone, and what others have taken over."""
        trying = self._handling.outage.paused
        hand, suspects = dict(self._hand), not any(one.suspect for one, _ in self._hand.values())
        rescues = now >= self._rescued + POLL
        surely = {one for one, since in self._gone.items() if now >= since + _SURELY}

        def work(store: Store) -> tuple[list[Taken], set[str], set[str]]:
            gone, lost = set[str](), set[str]()
            if rescues:
                gone = table.give_back(store, self._owner, hand, surely, hold=self._rules.hold)
                lost = table.lost(store, self._owner, hand)
            if not most:
                return [], gone, lost
            return table.take(store, self._owner, most, suspects=suspects, trying=trying), gone, lost

        taken, gone, lost = await self._store.do(work, alone=True)
        if rescues:
            self._rescued = now
            self._gone = {one: self._gone.get(one, now) for one in gone}
        for key in lost:
            one, task = hand[key]
            if not task.done():
                self._handling.lost.add(one)
                task.cancel()
        return taken

    async def _is_waiting(self) -> bool:
        return bool(self._gone) or await self._store.do(lambda store: table.is_waiting(store, self._owner))

    async def _nap(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("handling an event failed: %s", type(error).__name__, exc_info=error)

    async def _handle(self, taken: Taken) -> None:
        try:
            await self._handling.handle(taken)
        finally:
            found = self._hand.get(taken.row.key)
            if found is not None and found[0] is taken:  # else it has the next of the key by now
                del self._hand[taken.row.key]
            self._handling.lost.discard(taken)

    async def _purge(self, now: float) -> None:
        if self._purged and now < self._purged + _HOUR:
            return
        before = f"{self._store.epoch} - {self._rules.keep}"
        if not await self._store.do(lambda store: clerk.purge(store, before)):
            self._purged = now  # else more of them before the next events are taken
