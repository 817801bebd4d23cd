"""The peak memory of this process. Only the standard library."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

__all__ = ["peak_kib"]

STATUS = Path("/proc/self/status")


def peak_kib() -> int:
    """Since it began. Where the system tells it of the program alone: a child's `ru_maxrss` begins with its parent's."""
    if STATUS.exists():
        told = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii", errors="replace"))
        if told:
            return int(told[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak
