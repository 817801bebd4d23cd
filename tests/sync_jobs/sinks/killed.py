"""Writes batches of a hundred rows to the target that it is told, until it is killed."""

from __future__ import annotations

import os
import sys

from limio_async.sync_jobs.sink import Change
from tests.sync_jobs.sinks.targets import OFFERS, offer, opened

if __name__ == "__main__":
    with opened(sys.argv[1], OFFERS) as sink:
        filling = b'"%b"' % os.urandom(1000).hex().encode()
        number = sum(1 for _ in sink.rows(OFFERS)) // 100
        while True:
            rows = [offer(number * 100 + place, version=str(number), raw=filling) for place in range(100)]
            sink.apply([Change(OFFERS, rows)])
            if number % 3 == 0:
                sink.publish(OFFERS)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            number += 1
