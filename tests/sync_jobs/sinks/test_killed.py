"""A process that is killed in the middle of writing leaves whole batches, and files that are whole; so does a power failure."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest

from tests.sync_jobs.sinks.targets import OFFERS, opened


def test_a_killed_process_leaves_whole_batches(url: str, kind: str, tmp_path: Path) -> None:
    told = -1
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.sync_jobs.sinks.killed", url], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            told = max(told, int(child.stdout.readline()))  # it is at work
            time.sleep(random.uniform(0.0, 0.15))
            child.kill()
            told = max([told, *(int(line) for line in child.stdout.read().split())])
        with opened(url, OFFERS) as sink:
            batches = Counter(int(row["hash"]) for row in sink.rows(OFFERS))
        assert set(batches.values()) == {100}
        assert sorted(batches) == list(range(len(batches)))
        assert len(batches) in {told + 1, told + 2}, "what was told to be written is there"
        if kind in READERS:
            file = next(file for file in (tmp_path / kind).iterdir() if file.name in {f"offers.{kind}"})
            count = READERS[kind](file)
            assert count % 100 == 0
            assert 100 <= count <= len(batches) * 100


@pytest.mark.parametrize("kind", ["sqlite", "ndjson"])
def test_a_commit_waits_for_the_disk(url: str) -> None:
    with opened(url, OFFERS) as sink:
        assert sink._ask("PRAGMA journal_mode") == [("wal",)]
        assert sink._ask("PRAGMA synchronous") == [(2,)]  # FULL


def _ndjson(file: Path) -> int:
    return len([msgspec.json.decode(line) for line in file.read_bytes().splitlines()])


def _csv(file: Path) -> int:
    with file.open(newline="") as opened_file:
        return sum(1 for _ in csv.DictReader(opened_file))


def _parquet(file: Path) -> int:
    return len(pyarrow.parquet.read_table(file))


READERS = {"ndjson": _ndjson, "csv": _csv, "parquet": _parquet}
