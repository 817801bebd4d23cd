"""Deadlines: as `asyncio.timeout` would, and one timer for all."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
import uvloop

from limio_async.core.deadline import Deadline, Deadlines
from tests.virtual_time import VirtualTime


async def outlast(deadlines: Deadlines, seconds: float, work: float) -> str:
    try:
        with deadlines.within(seconds) as deadline:
            await asyncio.sleep(work)
    except TimeoutError:
        assert deadline.expired
        return "late"
    return "in time"


async def test_each_block_ends_when_it_is_due(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    works = [(5, 1), (1, 5), (2, 2.5), (0.5, 9), (9, 0.5), (3, 2.9)]
    ended = await asyncio.gather(*(outlast(deadlines, seconds, work) for seconds, work in works))
    assert ended == ["late" if work > seconds else "in time" for seconds, work in works]
    assert virtual_time.elapsed == pytest.approx(2.9)


async def test_many_blocks_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *rest: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *rest, **named)

    monkeypatch.setattr(loop, "call_at", counted)
    for _ in range(100):
        with deadlines.within(60):
            await asyncio.sleep(0)
    assert len(timers) == 1
    deadlines.close()


async def test_a_block_that_has_ended_is_held_by_nobody() -> None:
    deadlines = Deadlines()
    for _ in range(3):
        with deadlines.within(60):
            await asyncio.sleep(0)
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Deadline)]
    deadlines.close()


async def test_an_earlier_deadline_rings_earlier(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    slow = asyncio.create_task(outlast(deadlines, 60, 100))
    await asyncio.sleep(0)
    assert await outlast(deadlines, 1, 100) == "late"
    assert virtual_time.elapsed == pytest.approx(1)
    assert await slow == "late"
    assert virtual_time.elapsed == pytest.approx(60)


async def test_a_cancellation_from_outside_stays_one(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(outlast(deadlines, 5, 100))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_moment_wins(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(outlast(deadlines, 5, 100))
    asyncio.get_running_loop().call_later(5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_blocks_in_blocks_end_from_the_outside_in(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.within(1) as outer, deadlines.within(2) as inner:
        await asyncio.sleep(9)
    assert (outer.expired, inner.expired) == (True, False)


async def test_an_error_of_the_block_comes_out(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    with pytest.raises(ZeroDivisionError), deadlines.within(1):
        raise ZeroDivisionError
    assert await outlast(deadlines, 1, 2) == "late"


async def test_what_still_runs_when_it_is_closed_ends_when_it_is_due(virtual_time: VirtualTime) -> None:
    deadlines = Deadlines()
    running = asyncio.create_task(outlast(deadlines, 5, 100))
    await asyncio.sleep(1)
    deadlines.close()
    assert await running == "late"
    assert virtual_time.elapsed == pytest.approx(5)


def test_many_short_deadlines_on_uvloop() -> None:
    async def many() -> list[str]:
        deadlines = Deadlines()
        spans = [(0.0001 * (number % 20), 0.0007 * (number % 7)) for number in range(400)]
        ended = await asyncio.gather(*(outlast(deadlines, *span) for span in spans))
        await asyncio.sleep(0.01)  # nobody is cancelled later
        return ended

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert set(runner.run(many())) == {"late", "in time"}


async def test_a_deadline_in_what_a_cancelled_task_does_last_is_told_as_one(
    virtual_time: VirtualTime,
) -> None:
    deadlines = Deadlines()

    async def tidying() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return await outlast(deadlines, 1, 5)
        return "not cancelled"

    task = asyncio.create_task(tidying())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "late"
    assert virtual_time.elapsed == 1


async def test_a_deadline_outside_of_a_task_is_refused() -> None:
    failed: list[str] = []

    def called_back() -> None:
        with pytest.raises(RuntimeError, match="a deadline is for a task"), Deadlines().within(1):
            pass
        failed.append("refused")

    asyncio.get_running_loop().call_soon(called_back)
    await asyncio.sleep(0.001)
    assert failed == ["refused"]
