"""Signals before a command has begun and after it has ended; the report of a `limio sync --json` that they end.

Imports nothing that takes time.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

__all__ = [
    "SIGNALS",
    "ignore_signals",
    "interrupt_on_signals",
    "is_reported",
    "leave_on_signals",
    "report_interruption",
]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130
_REPORT = b'{"kind":"report","complete":false,"streams":[],"error":"interrupted","exit_code":130}\n'

_reported: list[bool] = []
_leaving: list[bool] = []


def is_reported() -> None:
    """Take note that this process has written a report, or has one to write."""
    _reported[:] = [True]


def report_interruption(argv: Sequence[str]) -> None:
    """Write the report that *argv* asks for, if it is a sync with --json and there is none yet."""
    if {"sync", "--json"} <= {*argv} and not _reported and sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.write(sys.stdout.fileno(), _REPORT)


def leave_on_signals(argv: Sequence[str]) -> None:
    """Let a signal end the process at once, until `interrupt_on_signals`: an exception is lost in some places."""

    def leave(_signal: int, _frame: object) -> None:
        report_interruption(argv)
        os._exit(_INTERRUPTED)

    _leaving[:] = [True]
    for one in SIGNALS:
        if one != signal.SIGINT or signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, leave)


def interrupt_on_signals() -> None:
    """Let a signal raise `KeyboardInterrupt` from now on, if `leave_on_signals` has been called."""
    if _leaving:
        _leaving.clear()
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _interrupt)


def ignore_signals() -> None:
    """Let no signal change how the process ends, which is decided."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)


def _interrupt(_signal: int, _frame: object) -> None:
    """Let a polite end be the same as Ctrl-C, also for a job in the background, which ignores Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)
