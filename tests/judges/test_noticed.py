"""The faults that `make nightly` plants can still be planted, and the tests that have to notice are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.judges.noticed_faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.says)
def test_a_fault_can_be_planted_and_has_a_test(fault: Fault) -> None:
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.old) == 1
    file, _, name = fault.test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
