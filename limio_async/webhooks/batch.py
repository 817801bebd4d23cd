"""What is done to keys at the same time shares one commit, the keys locked in one order: nobody waits in a circle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from limio_async.errors import StoreAway
from limio_async.stores import Plan, Store
from limio_async.webhooks import table

__all__ = ["Batch"]

T = TypeVar("T")
_MOST = 256
_AGAIN = 0.02
_GATHER = 0.005
_LONGEST = 2.0  # seconds for others to let go of a key
_Waiting = tuple[str, bool, Callable[[Store], Plan[Any]], "asyncio.Future[Any]", float]
_LOCKED = object()


class Batch:
    """Does the first at once, and together what comes while that is committed.

    Where a commit takes longer than 5 ms, the next waits up to 5 ms for as many as came by then: they come again when
    they are answered.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._wanted, self._came = 0, asyncio.Event()

    async def do(self, key: str, work: Callable[[Store], Plan[T]], *, makes: bool = False) -> T:
        """Return what the plan of *work* does with the row of *key* locked, once that is committed.

        *makes*: the row is made if it is missing. *work* may be done again where the transaction has to be repeated.
        Raises what it or its plan raises, and `StoreError`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._add((key, makes, work, future, loop.time() + _LONGEST))
        return await future

    def _add(self, one: _Waiting) -> None:
        self._waiting.append(one)
        if len(self._waiting) >= self._wanted:
            self._came.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(0)  # for whatever comes in the same turn of the loop
        now = asyncio.get_running_loop().time
        while self._waiting:
            begun = now()
            batch = [one for one in self._waiting[:_MOST] if not one[3].done()]  # else it was given up
            del self._waiting[:_MOST]
            if batch:
                await self._commit(batch)
            if len(batch) > 1 and now() > begun + _GATHER:
                await self._gather(len(batch) + len(self._waiting))

    async def _gather(self, wanted: int) -> None:
        self._wanted = min(wanted, _MOST)
        self._came.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GATHER):
                await self._came.wait()
        self._wanted = 0

    async def _commit(self, batch: list[_Waiting]) -> None:
        keys = sorted({key for key, *_ in batch})
        made = sorted({key for key, makes, *_ in batch if makes})

        def work(store: Store) -> list[Any]:
            held = table.hold(store, keys, made)
            plans: dict[str, dict[int, Plan[Any]]] = {}
            for number, (key, _, one, *_) in enumerate(batch):
                if key in held:
                    plans.setdefault(key, {})[number] = one(store)
            done: dict[int, Any] = {}
            for of_key in store.follow_all([*map(_in_turn, plans.values())]):
                done |= of_key
            return [done.get(number, _LOCKED) for number in range(len(batch))]

        try:
            found = await self._store.do(work, alone=True)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, StoreAway):  # one of them is to blame
                for one in batch:
                    await self._commit([one])
                return
            for *_, future, _ in batch:
                if not future.done():
                    future.set_exception(error)
            return
        loop = asyncio.get_running_loop()
        for one, result in zip(batch, found, strict=True):
            *_, future, until = one
            if future.done():
                continue
            if result is not _LOCKED:
                future.set_result(result)
            elif loop.time() < until:
                loop.call_later(_AGAIN, self._add, one)  # all other keys go on meanwhile
            else:
                future.set_exception(StoreAway("another transaction has held the key for too long"))


def _in_turn(plans: Mapping[int, Plan[Any]]) -> Plan[dict[int, Any]]:
    """Follow what concerns one key, each when the one before is done."""
    done: dict[int, Any] = {}
    for number, plan in plans.items():
        done[number] = yield from plan
    return done
