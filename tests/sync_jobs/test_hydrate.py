"""Fetching many things: in order, bounded, each once, and no failure ends the others."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator

import pytest

from limio_async import errors
from limio_async.sync_jobs.hydrate import Hydrated, hydrated


class Shop:
    """Answers after a random number of turns, and counts."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.running = self.most = 0

    async def get(self, number: int) -> str:
        self.asked.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(random.Random(number).randrange(5)):
            await asyncio.sleep(0)
        self.running -= 1
        if number % 10 == 3:
            raise errors.NotFound("no", operation="getObject", status=404)
        return f"full {number}"


async def test_results_come_in_order_and_a_missing_one_ends_nothing() -> None:
    shop = Shop()
    async with hydrated(range(500), shop.get, workers=7) as results:
        came = [result async for result in results]
    assert [result.summary for result in came] == list(range(500))
    assert all(result.full == f"full {result.summary}" for result in came if result.ok)
    assert {result.summary % 10 for result in came if not result.ok} == {3}
    assert shop.most == 7


async def test_no_more_than_two_rounds_wait_for_the_caller() -> None:
    shop = Shop()
    async with hydrated(iter(range(10_000)), shop.get, workers=5) as results:
        await anext(results)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(shop.asked) <= 11


async def test_what_is_under_way_is_not_fetched_again() -> None:
    shop = Shop()
    async with hydrated([8] * 6 + [9, 8], shop.get, workers=8, key=lambda one: one) as results:
        came = [result.full async for result in results]
    assert came == ["full 8"] * 6 + ["full 9", "full 8"]
    assert len(shop.asked) < 8


async def test_another_exception_ends_the_block_by_itself() -> None:
    async def broken(_: int) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with hydrated(range(9), broken, workers=2) as results:
            async for _ in results:
                pass


async def test_leaving_the_block_ends_what_is_under_way() -> None:
    shop = Shop()
    async with hydrated(range(100), shop.get, workers=5) as results:
        async for _ in results:
            break
    asked = len(shop.asked)
    await asyncio.sleep(0)
    assert len(shop.asked) == asked
    assert len(asyncio.all_tasks()) == 1


async def test_nothing_to_fetch() -> None:
    async with hydrated(list[int](), Shop().get) as results:
        assert [result async for result in results] == []


async def test_who_is_cancelled_while_waiting_for_a_result_can_ask_again() -> None:
    async def slowly(number: int) -> int:
        await asyncio.sleep(0.03)
        return number

    came: list[int | None] = []
    async with hydrated(range(6), slowly, workers=2) as results:
        while len(came) < 6:
            with contextlib.suppress(TimeoutError):
                came.append((await asyncio.wait_for(anext(results), 0.01)).full)
        with pytest.raises(StopAsyncIteration):
            await anext(results)
    assert came == list(range(6))


async def test_what_a_source_or_a_key_raises_comes_by_itself() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("the file is gone")

    came: list[int | None] = []
    with pytest.raises(OSError, match="the file is gone"):
        async with hydrated(source(), at_once, workers=3) as results:
            async for result in results:
                came.append(result.full)
    assert came == [1]
    with pytest.raises(TypeError, match="unhashable"):
        async with hydrated([1], at_once, workers=3, key=lambda number: [number]) as results:  # type: ignore[arg-type,return-value]
            await anext(results)


async def test_a_fetch_whose_own_wait_was_cancelled_does_not_end_the_results_in_silence() -> None:
    async def fetch(number: int) -> int:
        if number == 2:
            raise asyncio.CancelledError
        return number

    with pytest.raises(RuntimeError, match="was cancelled"):
        async with hydrated(range(6), fetch, workers=2) as results:
            async for _ in results:
                pass


async def test_workers_are_needed_and_one_consumer_only() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        async with hydrated([1], at_once, workers=0):
            pass
    async with hydrated(range(4), at_once, workers=2) as results:
        outcomes = await asyncio.gather(anext(results), anext(results), return_exceptions=True)
    assert [type(one) for one in outcomes] == [Hydrated, RuntimeError]


async def at_once(number: int) -> int:
    await asyncio.sleep(0)
    return number
