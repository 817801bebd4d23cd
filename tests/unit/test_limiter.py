"""Nobody starves, nobody waits with a slot in hand, and a server that is overloaded is left in peace."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async import Rate
from limio_async.core.limiter import Lane, Limiter
from limio_async.errors import AnswerLost, NeverSent
from tests.unit.helpers import answer

OK, BUSY = answer({}), answer({}, 503)


async def test_no_more_than_the_ceiling_runs() -> None:
    limiter = Limiter(2)
    await limiter.acquire("interactive")
    await limiter.acquire("interactive")
    third = asyncio.create_task(limiter.acquire("interactive"))
    await asyncio.sleep(0)
    assert not third.done()
    limiter.release("interactive")
    await third


@pytest.mark.parametrize(("ceiling", "background"), [(1, 1), (2, 1), (4, 3), (16, 12)])
async def test_background_calls_leave_slots_to_interactive_ones(ceiling: int, background: int) -> None:
    limiter = Limiter(ceiling)
    calls = [asyncio.create_task(limiter.acquire("background")) for _ in range(ceiling + 3)]
    await asyncio.sleep(0)
    assert sum(call.done() for call in calls) == background
    if ceiling > 1:
        await asyncio.wait_for(limiter.acquire("interactive"), 1)
    for call in calls:
        call.cancel()


async def test_interactive_calls_go_first_when_both_wait() -> None:
    limiter = Limiter(1)
    await limiter.acquire("interactive")
    order: list[str] = []

    async def run(lane: Lane) -> None:
        await limiter.acquire(lane)
        order.append(lane)
        limiter.release(lane)

    calls = [
        asyncio.create_task(run(lane)) for lane in ("background", "background", "interactive", "interactive")
    ]
    await asyncio.sleep(0)
    limiter.release("interactive")
    await asyncio.gather(*calls)
    assert order == ["interactive", "interactive", "background", "background"]


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_each_sign_of_overload_halves_what_is_allowed(status: int, virtual_time: Any) -> None:
    limiter = Limiter(16)

    async def learn() -> None:
        limiter.learn(answer({}, status), None)

    asyncio.run(learn())
    assert limiter.allowed == 8


async def test_overload_halves_what_is_allowed_and_success_adds_back(virtual_time: Any) -> None:
    limiter = Limiter(16)
    for outcome in (BUSY, answer({}, 429), AnswerLost("gone")):
        limiter.learn(outcome, None)  # one sign, however many calls bring it
    assert limiter.allowed == 8
    await asyncio.sleep(1)
    limiter.learn(BUSY, None)
    assert limiter.allowed == 4
    for _ in range(4):
        limiter.learn(OK, None)
    assert limiter.allowed == 4
    limiter.learn(OK, None)
    assert limiter.allowed == 5
    for _ in range(1000):
        limiter.learn(OK, None)
    assert limiter.allowed == 16


async def test_one_request_is_always_allowed(virtual_time: Any) -> None:
    limiter = Limiter(4)
    for _ in range(10):
        limiter.learn(BUSY, None)
        await asyncio.sleep(2)
    assert limiter.allowed == 1
    await limiter.acquire("background")


async def test_what_never_left_says_nothing_about_the_server() -> None:
    limiter = Limiter(4)
    limiter.learn(NeverSent("refused"), None)
    assert limiter.allowed == 4


async def test_nothing_leaves_before_the_time_the_server_asked_for(virtual_time: Any) -> None:
    limiter = Limiter(8)
    limiter.learn(answer({}, 429), 7)
    left: list[float] = []

    async def run() -> None:
        await limiter.acquire("interactive")
        left.append(virtual_time.elapsed)
        limiter.release("interactive")

    await asyncio.gather(*(run() for _ in range(20)))
    assert min(left) >= 7
    assert max(left) < 7.1


async def test_a_pace_is_kept_and_an_interactive_call_does_not_wait_behind_a_job(virtual_time: Any) -> None:
    rate = Rate(10)
    left: list[tuple[float, str]] = []

    async def run(lane: Lane) -> None:
        await rate.take(lane)
        left.append((virtual_time.elapsed, lane))

    jobs = [asyncio.create_task(run("background")) for _ in range(50)]
    await asyncio.sleep(1.05)
    begun = virtual_time.elapsed
    await run("interactive")
    assert virtual_time.elapsed - begun <= 0.11
    await asyncio.gather(*jobs)
    times = [when for when, _ in left]
    assert all(later - earlier >= 0.0999 for earlier, later in pairwise(times))


async def test_all_who_wait_for_the_time_share_one_timer(
    virtual_time: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, loop = Rate(1), asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *rest: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(when - begun)
        return call_at(when, *rest, **named)

    begun = loop.time()
    monkeypatch.setattr(loop, "call_at", counted)
    await asyncio.gather(*(rate.take("interactive") for _ in range(5)))
    assert timers == [1, 2, 3, 4]


async def test_who_waits_for_the_time_holds_no_slot(virtual_time: Any) -> None:
    limiter = Limiter(1)
    limiter.learn(answer({}, 429), 5)
    waiting = [asyncio.create_task(limiter.acquire("background")) for _ in range(3)]
    await asyncio.sleep(1)
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(5)
    await asyncio.wait_for(limiter.acquire("interactive"), 1)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["interactive", "background"]), st.integers(0, 6), st.booleans()),
        max_size=25,
    )
)
def test_whatever_is_cancelled_when_no_slot_is_lost(calls: list[tuple[Lane, int, bool]]) -> None:
    async def play() -> None:
        limiter = Limiter(3)

        async def run(lane: Lane, steps: int) -> None:
            await limiter.acquire(lane)
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
            finally:
                limiter.release(lane)

        tasks: list[asyncio.Task[None]] = []
        for lane, steps, cancel in calls:
            tasks.append(task := asyncio.create_task(run(lane, steps)))
            await asyncio.sleep(0)
            if cancel:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.wait_for(limiter.acquire("interactive"), 1)

    asyncio.run(play())


def test_a_pace_is_kept_on_uvloop() -> None:
    async def paced() -> float:
        rate, loop = Rate(2_000), asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(*(rate.take("interactive") for _ in range(200)))
        return loop.time() - begun

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(paced()) >= 0.09
