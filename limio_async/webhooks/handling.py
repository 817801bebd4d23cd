"""Handling one event: what is fetched, which functions are called, what is written of it, and what if that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import msgspec

from limio_async.client import Limio
from limio_async.core.guard import forbidding
from limio_async.errors import StoreAway
from limio_async.stores import Do, Plan, Store
from limio_async.webhooks import table
from limio_async.webhooks.batch import Batch
from limio_async.webhooks.decide import Outage, Seldom, is_behind, is_limios, said_of, wait_after
from limio_async.webhooks.event import event_of, value_of
from limio_async.webhooks.fresh import Found, Fresh
from limio_async.webhooks.handlers import Handler, Target, marked, matching, target_of, told
from limio_async.webhooks.table import Fenced, Taken
from limio_async.webhooks.types import Event

__all__ = ["POLL", "Handling", "Rules"]

_log = logging.getLogger("limio_async")
POLL = 1.0
"""Seconds between two looks at a store."""
_ONE_LINE = 60.0
_LONGEST_LOOK = 15.0
_MOST_BEHIND = 10_000
_OPEN = "tx is open, and nothing may wait for Limio in it: call Limio before tx is used first"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How an inbox wants its events handled; times in seconds."""

    attempts: int
    give_up: float
    grace: float
    keep: float
    hold: bool


class _Later(Exception):
    def __init__(self, wait: float) -> None:
        self.wait = wait


class Handling:
    """What the events that one process handles at the same time have in common. *woken* is set when one may be taken again."""

    def __init__(
        self,
        store: Store,
        batch: Batch,
        limio: Limio,
        handlers: Sequence[Handler],
        rules: Rules,
        *,
        woken: asyncio.Event,
    ) -> None:
        self._store, self._batch, self._handlers, self._rules, self._woken = (
            store,
            batch,
            handlers,
            rules,
            woken,
        )
        self._fresh = Fresh(limio)
        self.outage, self._seldom = Outage(), Seldom()
        self.stopping = False
        self._behind: dict[int, tuple[float, int]] = {}
        """When an event was first seen whose object is not there yet, and how often it was looked for."""
        self._warned = 0.0
        self.lost: set[Taken] = set()
        """What others took over whose sessions say that this one is gone."""

    async def handle(self, taken: Taken) -> None:
        """Handle an event, to whatever end; raises only where the worker is stopped."""
        try:
            await self._call_all(taken)
        except Fenced as error:
            _log.warning("%s", error)
        except _Later as later:
            await self._release(taken, later.wait, tries=taken.tries, waits=taken.waits)
        except StoreAway as error:
            self.warn("the inbox waits: %s", error)
            waits = taken.waits + 1
            wait = wait_after(waits, _LONGEST_LOOK)
            await self._release(taken, wait, tries=taken.tries, waits=waits, error=said_of(error))
        except Exception as error:
            await (self._limio_failed if is_limios(error) else self._failed)(taken, error)
        except asyncio.CancelledError as error:
            if taken in self.lost:
                _log.warning(
                    "event %d was taken over by another worker, and its functions were cancelled",
                    taken.row.seq,
                )
                return
            if not self.stopping:  # the handler raised it
                await self._failed(taken, error)
                return
            await self._release(taken, 0.0, tries=taken.tries, waits=taken.waits)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # such as a group of them, or what a test fails by
            await self._failed(taken, error)
        finally:
            self._fresh.forget(taken.row.seq)

    async def _call_all(self, taken: Taken) -> None:
        row, marks = taken.row, taken.row.marks
        known = matching(self._handlers, row.type)
        left = [one for one in known if f"\n{one.name}\n" not in marks]
        if not left:
            why = None if known else "no handler is registered for its type"
            await self._write(
                taken, lambda: table.end(self._store, taken, "done" if known else "parked", why=why)
            )
            return
        body, asked = value_of((row.body or "null").encode()), False
        for handler in left:
            marks = marked(marks, handler.name)
            target = target_of(row, body, handler.fetch) if handler.refetch else None
            value, stale = told(row, body) if handler.fetch == "object" else None, False
            if target is not None:
                told_of = row.updated if handler.fetch == "object" else None
                thing = row.thing if handler.fetch == "object" else None
                found = await self._found(taken, target, thing, told_of)
                asked, stale = True, self._is_behind(taken, found, told_of)
                value = value if found.value is None else deepcopy(found.value)  # others get it too
            plan = self._mark(taken, marks, last=handler is left[-1])
            if not handler.refetch and await self._is_old(taken):
                await self._write(taken, plan)
                continue
            event, do = event_of(row, stale=stale), partial(self._batch.do, row.key)
            asked |= await self._call(handler, event, value, plan, do)
        self._behind.pop(row.seq, None)
        now = asyncio.get_running_loop().time()
        if asked and self.outage.worked(row.thing, now):
            _log.warning("Limio answers again: the inbox goes on")

    def _mark(self, taken: Taken, marks: str, *, last: bool) -> Callable[[], Plan[None]]:
        if last:
            return lambda: table.end(self._store, taken, "done", marks=marks)
        return lambda: table.mark(self._store, taken, marks)

    async def _call(
        self, handler: Handler, event: Event, value: Any, mark: Callable[[], Plan[None]], do: Do
    ) -> bool:
        """Call a function, and commit; return whether it has called Limio."""
        tx, calls = self._store.tx(), 0

        def why_not() -> str | None:
            nonlocal calls
            calls += 1
            return _OPEN if tx.is_open else None

        token = forbidding.set(why_not)
        try:
            try:
                await handler.call(event, value, tx)
            except (
                GeneratorExit,
                SystemExit,
            ) as error:  # which would end the task, or the process, at each start
                raise RuntimeError(f"the function raised {type(error).__name__}") from error
            await tx.commit(mark, do)
        finally:
            forbidding.reset(token)
            await tx.abandon()
        return calls > 0

    async def _found(self, taken: Taken, target: Target, thing: str | None, told_of: int | None) -> Found:
        found = self._fresh.kept(target, taken)
        if found is None or found.lags(told_of):
            key = taken.row.key
            seqs = await self._store.do(lambda store: table.open_of(store, key, thing), reads=True)
            found = await self._fresh.fetch(target, seqs | {taken.row.seq})
        return found

    def _is_behind(self, taken: Taken, found: Found, told_of: int | None) -> bool:
        """Return whether the event has to be handled with what is too old; raises `_Later` while newer may still come."""
        if not found.lags(told_of):
            return False
        now, seq = asyncio.get_running_loop().time(), taken.row.seq
        if len(self._behind) > _MOST_BEHIND:
            self._behind.clear()
        for one in found.seqs:
            self._behind.setdefault(one, (now, 0))
        since, looks = self._behind[seq]
        if now >= since + self._rules.grace:
            return True
        self._behind[seq] = since, looks + 1
        raise _Later(min(wait_after(looks, _LONGEST_LOOK), since + self._rules.grace - now))

    async def _is_old(self, taken: Taken) -> bool:
        last = await self._store.do(lambda store: table.last_handled(store, taken), reads=True)
        return is_behind(last, taken.row.updated)

    # --- what went wrong

    async def _failed(self, taken: Taken, error: BaseException) -> None:
        tries, said = taken.tries + 1, said_of(error)
        _log.error(
            "event %d (%s): attempt %d of %d failed", taken.row.seq, taken.row.type, tries, self._rules.attempts,
            exc_info=error,
        )  # fmt: skip
        if tries < self._rules.attempts:
            await self._release(taken, wait_after(tries), tries=tries, error=said)
        else:
            await self._park(taken, f"failed {tries} times; {said}")

    async def _limio_failed(self, taken: Taken, error: BaseException) -> None:
        said, now = said_of(error), asyncio.get_running_loop().time()
        if self.outage.failed(taken.row.thing, now, getattr(error, "retry_after", None)):
            _log.warning("Limio fails one object after another, and the inbox pauses: %s", error)
        elif not self.outage.paused and self._seldom.may(now):
            _log.warning("the inbox waits: %s", error)
        give_up = self._rules.give_up
        if taken.waited > give_up and self.outage.is_alone(taken.row.thing, now, give_up):
            await self._park(taken, f"Limio failed it for too long; {said}")
            return
        waits = taken.waits + 1
        await self._release(taken, wait_after(waits), tries=taken.tries, waits=waits, error=said)

    async def _park(self, taken: Taken, why: str) -> None:
        self._behind.pop(taken.row.seq, None)
        await self._write(
            taken, lambda: table.end(self._store, taken, "parked", why=why, hold=self._rules.hold)
        )

    async def _release(self, taken: Taken, wait: float, *, tries: int, waits: int = 0, error: str | None = None) -> None:  # fmt: skip
        await self._write(
            taken, lambda: table.release(self._store, taken, wait, tries=tries, waits=waits, error=error)
        )
        if not self.stopping:
            asyncio.get_running_loop().call_later(wait + 0.01, self._woken.set)

    async def _write(self, taken: Taken, plan: Callable[[], Plan[None]]) -> None:
        """Write it, once the store is there; whoever took the event over has written something else."""
        while True:
            try:
                await self._batch.do(taken.row.key, lambda _: plan())
            except Fenced:
                return
            except StoreAway as error:
                self.warn("the inbox waits: %s", error)
                await asyncio.sleep(POLL)
            else:
                return

    def warn(self, words: str, error: BaseException) -> None:
        """Log it, at most once a minute."""
        if (now := asyncio.get_running_loop().time()) >= self._warned:
            self._warned = now + _ONE_LINE
            _log.warning(words, error)
