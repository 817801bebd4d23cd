"""The event loop that a command runs in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from limio_async.cli.failures import Code, Failure

__all__ = ["in_loop"]

T = TypeVar("T")


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
