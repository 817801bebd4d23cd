"""Run a command and tell what it used, its children included: `python used.py COMMAND…`. Only the standard library.

What the command prints comes through; one line of JSON follows. A process of its own, as small as Python is: the peak memory
of a child begins with that of its parent.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    begun = time.perf_counter()
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "wall": wall, "peak_mib": peak}), flush=True)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
