"""The report of `limio sync --json` that is interrupted before it has begun. Imports nothing that takes time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["is_reported", "report_interruption"]

_REPORT = b'{"kind":"report","complete":false,"streams":[],"error":"interrupted","exit_code":130}\n'

_reported: list[bool] = []


def is_reported() -> None:
    """Take note that this process has written a report, or has one to write."""
    _reported[:] = [True]


def report_interruption(argv: Sequence[str]) -> None:
    """Write the report that *argv* asks for, if it is a sync with --json and there is none yet."""
    if {"sync", "--json"} <= {*argv} and not _reported and sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.write(sys.stdout.fileno(), _REPORT)
