"""What a benchmark tells of a process's memory is its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers.memory import STATUS

ROOT = Path(__file__).parents[2]
MUCH = 100 * 1024  # KiB, several times what a bare Python takes


@pytest.mark.skipif(not STATUS.exists(), reason="the system tells only a peak that begins with the parent's")
def test_a_process_does_not_inherit_the_peak_of_its_parent() -> None:
    held = bytearray(b"x" * MUCH * 1024)
    tell = "from benchmarks.peers.memory import peak_kib; print(peak_kib())"
    told = subprocess.run([sys.executable, "-c", tell], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(held) // 1024 > int(told.stdout)
