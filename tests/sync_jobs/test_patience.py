"""How long a job waits for a tenant or a target that is away, and what it does not wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from limio_async.errors import (
    AnswerLost,
    ApiError,
    BadGateway,
    DeadlineExceeded,
    IncompleteListing,
    LimioError,
    NeverSent,
    ServerError,
    SinkError,
    TargetAway,
    TargetBusy,
    TooManyRequests,
    Unauthorized,
    Unreadable,
)
from limio_async.sync_jobs.patience import Outage, Patience, is_outage, is_stumble
from tests.virtual_time import VirtualTime

AWAY = ServerError("away", operation="listOffers", status=503)


def lost(cause: LimioError | None) -> IncompleteListing:
    error = IncompleteListing("page 3 was lost", operation="listOffers")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        *(
            (ApiError("", operation="o", status=status), True)
            for status in (429, 408, 425, 502, 503, 504, 522)
        ),
        *(
            (ApiError("", operation="o", status=status), False)
            for status in (400, 401, 403, 404, 410, 500, 501)
        ),
        (BadGateway("", operation="o", status=502), True),
        (TooManyRequests("", operation="o", status=429), True),
        (NeverSent("refused", operation="o"), True),
        (AnswerLost("reset", operation="o"), True),
        (DeadlineExceeded("slow", operation="o"), True),
        (lost(AWAY), True),
        (lost(None), False),
        (lost(Unreadable("odd", operation="o")), False),
        (IncompleteListing("short", operation="o", seen=3), False),
        (Unauthorized("no", operation="o", status=401), False),
        (TargetAway("restarting"), True),
        (TargetBusy("locked"), False),
        (TargetBusy("another run began", final=True), False),
        (SinkError("the disk is full"), False),
        (ValueError(), False),
        (None, False),
    ],
)
def test_an_outage_says_nothing_of_the_request(error: BaseException | None, waits: bool) -> None:
    assert is_outage(error) is waits


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    loop: Any = asyncio.get_running_loop()
    time = VirtualTime(loop)
    monkeypatch.setattr(loop, "time", time.time)
    monkeypatch.setattr(loop._selector, "select", time.select)
    return time


def patient(longest: float, *, answered: bool = True) -> tuple[Patience, Outage, list[str]]:
    told: list[str] = []
    patience = Patience(longest, stopping=anyio.Event())
    patience.answered = answered
    return patience, patience.outage(told.append), told


def away_until(clock: VirtualTime, moment: float, error: LimioError = AWAY) -> Any:
    async def ask() -> str:
        if clock.elapsed < moment:
            raise error
        return "well"

    return ask


@pytest.mark.parametrize("seconds", [1, 3, 40, 590])
async def test_an_outage_shorter_than_the_patience_is_ridden_out(clock: VirtualTime, seconds: float) -> None:
    _, outage, told = patient(600)
    assert await outage.ride(away_until(clock, seconds)) == "well"
    assert seconds <= clock.elapsed < seconds + 31
    assert "503" in told[0]
    assert "pausing" in told[0]


async def test_a_longer_one_is_given_up_when_the_patience_is_spent(clock: VirtualTime) -> None:
    _, outage, _ = patient(60)
    with pytest.raises(ServerError):
        await outage.ride(away_until(clock, 10_000))
    assert clock.elapsed == pytest.approx(60, abs=0.1)


async def test_nothing_is_waited_for_that_has_never_answered(clock: VirtualTime) -> None:
    _, outage, told = patient(600, answered=False)
    with pytest.raises(ServerError):
        await outage.ride(away_until(clock, 1))
    assert (clock.elapsed, told) == (0, [])


async def test_pauses_grow_up_to_half_a_minute(clock: VirtualTime) -> None:
    patience, outage, _ = patient(10_000)
    pauses: list[float] = []
    for _ in range(9):
        before = clock.elapsed
        assert await outage.wait(AWAY)
        pauses.append(clock.elapsed - before)
    assert 0.75 <= pauses[0] <= 1
    assert 1.5 <= pauses[1] <= 2
    assert 3 <= pauses[2] <= 4
    assert all(22.5 <= one <= 30 for one in pauses[5:])
    assert patience.spent == pytest.approx(sum(pauses))


async def test_what_the_server_asks_for_is_the_shortest_pause(clock: VirtualTime) -> None:
    _, outage, _ = patient(600)
    await outage.wait(TooManyRequests("", operation="o", status=429, retry_after=17))
    assert clock.elapsed == pytest.approx(17)


async def test_a_minute_without_an_outage_gives_back_the_patience(clock: VirtualTime) -> None:
    _, outage, _ = patient(100)
    for _ in range(2):
        await outage.ride(away_until(clock, clock.elapsed + 80))
        await asyncio.sleep(61)
    assert clock.elapsed > 200


async def test_an_outage_soon_after_another_counts_on(clock: VirtualTime) -> None:
    _, outage, _ = patient(100)
    await outage.ride(away_until(clock, 80))
    await asyncio.sleep(30)
    with pytest.raises(ServerError):
        await outage.ride(away_until(clock, clock.elapsed + 80))


async def test_all_outages_of_a_run_take_at_most_three_times_the_patience(clock: VirtualTime) -> None:
    patience, outage, _ = patient(100)
    for _ in range(3):
        await outage.ride(away_until(clock, clock.elapsed + 80))
        await asyncio.sleep(61)
    with pytest.raises(ServerError):
        await outage.ride(away_until(clock, clock.elapsed + 80))
    assert patience.spent == pytest.approx(300, abs=0.1)


async def test_streams_that_wait_at_the_same_time_spend_it_once(clock: VirtualTime) -> None:
    patience, _, _ = patient(100)
    outages = [patience.outage(lambda said: None) for _ in range(20)]
    await asyncio.gather(*(one.ride(away_until(clock, 70)) for one in outages))
    assert patience.spent <= 101


async def test_a_pause_ends_with_the_job(clock: VirtualTime) -> None:
    stopping = anyio.Event()
    patience = Patience(600, stopping=stopping)
    patience.answered = True
    outage = patience.outage(lambda said: None)
    asyncio.get_running_loop().call_later(0.5, stopping.set)
    with pytest.raises(TooManyRequests):
        await outage.ride(
            away_until(clock, 300, TooManyRequests("", operation="o", status=429, retry_after=200))
        )
    assert clock.elapsed == 0.5


async def test_a_request_that_fails_while_the_server_is_well_is_given_up(clock: VirtualTime) -> None:
    patience, outage, _ = patient(600)

    async def well() -> None:
        """Another request, which succeeds."""

    with pytest.raises(ServerError):
        await outage.ride(away_until(clock, 10_000), well)
    assert clock.elapsed == 1 + 2 + 4
    assert patience.spent == 0  # no outage


async def test_without_patience_nothing_is_asked_again(clock: VirtualTime) -> None:
    async def well() -> None:
        """Another request, which succeeds."""

    _, outage, _ = patient(0)
    with pytest.raises(ServerError):
        await outage.ride(away_until(clock, 1), well)
    assert clock.elapsed == 0


async def test_pauses_of_one_stream_that_overlap_count_once(clock: VirtualTime) -> None:
    _, outage, told = patient(600)
    await asyncio.gather(*(outage.ride(away_until(clock, 20)) for _ in range(8)))
    assert outage.seconds == pytest.approx(clock.elapsed)
    assert len(told) < 8


async def test_a_request_waits_as_long_as_the_probe_shows_an_outage(clock: VirtualTime) -> None:
    _, outage, _ = patient(600)
    assert await outage.ride(away_until(clock, 300), away_until(clock, 298)) == "well"


async def test_an_outage_that_used_up_the_patience_is_not_waited_for_again(clock: VirtualTime) -> None:
    patience, first, _ = patient(60)
    with pytest.raises(ServerError):
        await first.ride(away_until(clock, 10_000))
    first.over()
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        raise AWAY

    with pytest.raises(ServerError):
        await patience.outage(lambda said: None).ride(ask)
    assert asked == 1
    assert clock.elapsed == pytest.approx(60, abs=0.1)


async def test_an_answer_gives_it_back(clock: VirtualTime) -> None:
    patience, first, _ = patient(60)
    with pytest.raises(ServerError):
        await first.ride(away_until(clock, 61))
    first.over()
    await asyncio.sleep(1)
    second = patience.outage(lambda said: None)
    assert await second.ride(away_until(clock, 61)) == "well"
    await second.ride(away_until(clock, clock.elapsed + 50))
    assert clock.elapsed > 110


async def test_those_that_wait_already_wait_for_what_they_have_left(clock: VirtualTime) -> None:
    patience, first, _ = patient(60)

    async def later() -> str:
        await asyncio.sleep(30)
        return await patience.outage(lambda said: None).ride(away_until(clock, 75))

    waiting = asyncio.create_task(later())
    with pytest.raises(ServerError):
        await first.ride(away_until(clock, 10_000))
    assert await waiting == "well"


STUMBLES = ServerError("oops", operation="listOffers", status=500)


@pytest.mark.parametrize("error", [STUMBLES, lost(STUMBLES)])
async def test_a_list_that_answers_500_is_waited_for_as_well_but_not_long(
    clock: VirtualTime, error: LimioError
) -> None:
    _, outage, _ = patient(600)
    assert is_stumble(error)
    while await outage.wait(error):
        pass
    assert clock.elapsed == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("longest", [0, 20])
async def test_never_longer_than_the_patience(clock: VirtualTime, longest: float) -> None:
    _, outage, _ = patient(longest)
    while await outage.wait(STUMBLES):
        pass
    assert clock.elapsed == pytest.approx(longest, abs=0.1)


@pytest.mark.parametrize("error", [AWAY, lost(AWAY), lost(None), Unauthorized("", operation="o", status=401)])
def test_only_500_is_a_stumble(error: LimioError) -> None:
    assert not is_stumble(error)
