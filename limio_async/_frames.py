"""Keeping credentials out of crash reports, which show the variables of every frame that an exception went through."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import cast

from limio_async.errors import LimioError

__all__ = ["cut_below"]

_OURS = (LimioError, asyncio.CancelledError)


def cut_below(error: BaseException) -> None:
    """Cut from *error*, which the caller has caught and raises again, the frames below the caller.

    What it came from loses its frames too, but for what somebody above the caller is handling. An exception that is
    neither ours nor a cancellation keeps as a note where it was raised.
    """
    above: set[FrameType | None] = set()
    here = inspect.currentframe()
    frame = here and here.f_back
    del here  # a frame that holds itself waits for the garbage collector, and holds the error
    while frame is not None:
        above.add(frame)
        frame = frame.f_back
    trace = error.__traceback__
    if trace is not None and trace.tb_next is not None:
        if not isinstance(error, _OURS):
            error.add_note("Raised below limio_async:\n" + "".join(traceback.format_tb(trace.tb_next)))
        trace.tb_next = None
    found = [error]
    for one in found:
        inner: Sequence[BaseException] = ()
        if isinstance(one, BaseExceptionGroup):
            inner = cast("BaseExceptionGroup[BaseException]", one).exceptions
        for other in (one.__cause__, one.__context__, *inner):
            if other is None or other in found:
                continue
            where = other.__traceback__
            if where is not None and where.tb_frame in above:
                continue
            other.__traceback__ = None
            found.append(other)
            if other is one.__context__ and isinstance(one, _OURS) and not isinstance(other, _OURS):
                one.__context__ = None  # aiohttp's errors show the Authorization header in their repr
