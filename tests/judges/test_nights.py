"""Nights of half an hour in virtual time, in which much goes wrong: nothing well is lost, nothing odd is lost, nothing is doubled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.judges.nights_truth import ask_sqlite, judged
from tests.judges.nights_virtual import Night
from tests.virtual_time import VirtualTime

FIRST = int(os.environ.get("LIMIO_NIGHTS_FIRST", "20"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("LIMIO_NIGHTS", "2")))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_night_without_an_operator(
    seed: int, tmp_path: Path, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night(seed, tmp_path, virtual_time, monkeypatch)
    for number in range(2):
        report = await night.run()
        assert {one.stream: (one.status, one.error) for one in report.streams if not one.complete} == {}, seed
        verdict = judged(ask_sqlite(night.file), night.tenant.truth(), exact=True)
        assert not verdict.faults, (seed, number, verdict)
        assert number == 0 or (verdict.stale and verdict.gone)
        night.tenant.next_night()
    assert night.told["waiting"] > 5
    assert virtual_time.elapsed > 900


@pytest.mark.parametrize("seed", SEEDS[:1] if len(SEEDS) < 50 else SEEDS[::5])
async def test_an_outage_beyond_the_patience_costs_that_night_and_no_other(
    seed: int, tmp_path: Path, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night(seed, tmp_path, virtual_time, monkeypatch, long=3600)
    report = await night.run()
    assert not report.complete
    while night.tenant.outage(virtual_time.elapsed):
        virtual_time.elapsed += 60
    report = await night.run()
    assert {one.stream: (one.status, one.error) for one in report.streams if not one.complete} == {}, seed
    verdict = judged(ask_sqlite(night.file), night.tenant.truth(), exact=True)
    assert not verdict.faults, (seed, verdict)
