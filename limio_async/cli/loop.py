"""The event loop that a command runs in."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from limio_async.cli.early import SIGNALS
from limio_async.cli.failures import Code, Failure, tell

__all__ = ["in_loop", "until_stopped"]

T = TypeVar("T")
_LATE = 5.0  # seconds


def in_loop(work: Coroutine[Any, Any, T], *, on_uvloop: bool) -> T:
    """What *work* returns, in a loop of its own."""
    if not on_uvloop:
        return asyncio.run(work)
    try:
        import uvloop
    except ImportError:
        work.close()
        raise Failure("--uvloop needs an extra: pip install 'limio_async[fast]'", Code.USAGE) from None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def until_stopped(running: Coroutine[Any, Any, None], left: str, said: str) -> None:
    """Wait until *running* has ended. Where it is stopped, say that it waits for what is *left*.

    A second signal ends the process at once, and so it ends where something goes on afterwards that was cancelled: *said*
    is its last line.
    """

    def leave(*_: object) -> None:
        with suppress(
            OSError
        ):  # sys.stderr refuses while it is being written to, which a signal may interrupt
            os.write(2, f"limio: {said}\n".encode())
        os._exit(Code.INTERRUPTED)

    task = asyncio.create_task(running)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        for one in SIGNALS:
            signal.signal(one, leave)
        tell(f"stopping: waiting for {left}; again to stop at once")
        task.cancel()
        await asyncio.wait([task])
        late = threading.Timer(_LATE, leave)
        late.daemon = True
        late.start()
        raise
    task.result()
