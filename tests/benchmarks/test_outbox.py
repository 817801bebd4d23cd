"""The benchmark of the outbox sends what it says, and its slow disk is slow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from benchmarks.outbox import measured, shim
from benchmarks.server import serving


@pytest.mark.parametrize("store", ["", "sqlite:///{}/orders.db"])
async def test_all_orders_are_sent(tmp_path: Path, store: str) -> None:
    with serving(0) as url:
        took = await measured(url, store.format(tmp_path), 20)
    assert took.send > 0
    assert bool(took.intend) is bool(store)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_an_fsync_takes_longer(tmp_path: Path) -> None:
    code = "import os; f = os.open('x', os.O_CREAT | os.O_RDWR); [os.fsync(f) for _ in range(20)]"
    begun = perf_counter()
    subprocess.run([sys.executable, "-c", code], env={**shim(str(tmp_path))}, cwd=tmp_path, check=True)
    assert perf_counter() - begun > 20 * 0.005
