"""Processes that use an outbox, in one thread and in time that passes at once: they can be killed between any two steps."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from limio_async import BearerToken, Limio
from limio_async.outbox import Outbox, sending
from tests.outbox.tenant import Tenant

T = TypeVar("T")


class Killed(Exception):
    """What a process that was killed does to the rest of its code: nothing goes on, nothing is written."""


def _is_killed(error: BaseException) -> bool:
    of_group = isinstance(error, BaseExceptionGroup) and all(map(_is_killed, error.exceptions))
    return of_group or isinstance(error, Killed | asyncio.CancelledError)


class Inline(Executor):
    """Does at once what a store's thread would do."""

    dead = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self.dead:
            raise Killed
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class World:
    """A clock, a tenant, a file, and one process at a time."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.now = 0.0
        self.tenant = Tenant(now=lambda: self.now)
        self.file = directory / "orders.db"
        self.options = options
        self._loop: asyncio.SelectorEventLoop | None = None
        self.box: Outbox | None = None
        self._running: asyncio.Task[None] | None = None
        self.ended: BaseException | None = None

    # --- a process

    def start(self, *, until_idle: bool = False) -> None:
        """Start a process that runs the outbox, unless there is one."""
        if self._loop is None:
            self.open()
        if self._running is None or self._running.done():
            assert self._loop is not None
            self._running = self._loop.create_task(self._run(until_idle=until_idle))

    def open(self) -> None:
        self._loop = loop = asyncio.SelectorEventLoop()
        loop.time = lambda: self.now  # type: ignore[method-assign]
        select = loop._selector.select  # type: ignore[attr-defined]

        def passing(timeout: float | None) -> Any:
            ready = select(0)
            if not ready:
                self.now += timeout or 0.0
            return ready

        loop._selector.select = passing  # type: ignore[attr-defined]
        self.tenant.dead = False
        sending._POLL, self._poll = (
            30.0,
            sending._POLL,
        )  # nothing else writes: whatever is due wakes the sender
        self.box = Outbox(f"sqlite:///{self.file}", **self.options)
        self.box._store._thread.shutdown(wait=False)
        self.box._store._thread = Inline()  # type: ignore[assignment]
        self.do(self.box.__aenter__)

    async def _run(self, *, until_idle: bool) -> None:
        async with Limio(auth=BearerToken("token"), transport=self.tenant) as limio:
            assert self.box is not None
            await self.box.run(limio, until_idle=until_idle)

    def do(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what the process's own code gets."""
        if self._loop is None:
            self.open()
        assert self._loop is not None

        async def called() -> T:
            return await call()

        return self._loop.run_until_complete(called())

    def passes(self, seconds: float) -> None:
        """Let time pass, for the process too."""
        if self._loop is None:
            self.now += seconds
            return
        self._loop.call_at(self.now + seconds, self._loop.stop)
        self._loop.run_forever()

    def steps(self, number: int) -> None:
        """Let the process take so many turns of its loop, then stand still."""
        assert self._loop is not None
        for _ in range(number):
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()

    @property
    def idle(self) -> bool:
        """Whether the process that ran the outbox has ended by itself."""
        return self._running is not None and self._running.done()

    def drain(self) -> None:
        """Run until only a person can go on."""
        if self._running is not None and not self._running.done():
            self.kill()
        self.start(until_idle=True)
        assert self._loop is not None
        assert self._running is not None
        self._loop.run_until_complete(self._running)
        self.stop()

    def stop(self) -> None:
        """End the process as it ends by itself."""
        if self._loop is None:
            return
        if self._running is not None:
            self._running.cancel()
            self._loop.run_until_complete(asyncio.wait([self._running]))
        box = self.box
        assert box is not None
        self.do(lambda: box.__aexit__(None, None, None))
        self._gone()

    def kill(self) -> None:
        """Kill it: what it has written stays, what it has sent is sent, nothing else happens."""
        if self._loop is None:
            return
        at, store = self.now, self.box._store if self.box is not None else None
        assert store is not None
        store._thread.dead = True  # type: ignore[attr-defined]
        self.tenant.dead = True
        if (task := self._running) is not None:
            task.cancel()
            self._loop.run_until_complete(asyncio.wait([task]))
            error = None if task.cancelled() else task.exception()
            if error is not None and not _is_killed(error):
                raise error
        store._close()
        self.now = at
        self._gone()

    def _gone(self) -> None:
        assert self._loop is not None
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._loop = self.box = self._running = None
        self.tenant.on_wire = 0
        sending._POLL = self._poll

    # --- the disk

    def back_up(self) -> Path:
        """Copy the file as it is, while no process runs."""
        self.kill()
        copy = self.file.with_suffix(".backup")
        shutil.copyfile(self.file, copy) if self.file.exists() else None
        return copy

    def restore(self) -> bool:
        """Put the copy back; False if there is none."""
        copy = self.file.with_suffix(".backup")
        if not copy.exists():
            return False
        self.kill()
        for old in (
            self.file,
            self.file.with_name(f"{self.file.name}-wal"),
            self.file.with_name(f"{self.file.name}-shm"),
        ):
            old.unlink(missing_ok=True)
        shutil.copyfile(copy, self.file)
        return True


SETTLE = timedelta(seconds=60)
