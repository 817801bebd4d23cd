"""The client of this repository, on uvloop."""

from __future__ import annotations

import uvloop

from benchmarks.peers.ours import calls, walk
from benchmarks.peers.worker import run

if __name__ == "__main__":
    run(walk, calls, loop=uvloop.new_event_loop)
