"""Fetching many things: in order, bounded, each once, and no failure ends the others."""

from __future__ import annotations

import asyncio
import random

import pytest

from limio_async import errors
from limio_async.sync_jobs.hydrate import hydrated


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
