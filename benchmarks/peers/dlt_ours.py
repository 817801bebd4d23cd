"""Offers into DuckDB by dlt through our source: `python -m benchmarks.peers.dlt_ours URL DIRECTORY PAGE_SIZE`."""

from __future__ import annotations

import sys

from benchmarks.peers.dlt_pipeline import load
from limio_async import ApiKey, Limio
from limio_async.sync_jobs.dlt import limio

if __name__ == "__main__":
    url, directory, size = sys.argv[1:]
    load(limio(["offers"], client=lambda: Limio(url, auth=ApiKey("k")), page_size=int(size)), directory)
