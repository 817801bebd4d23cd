"""Whose verdict an error is: of one object, or of the whole stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import pytest

from limio_async.errors import (
    ApiError,
    ClientClosed,
    Forbidden,
    IncompleteListing,
    InvalidArgument,
    LimioError,
    MissingCredentials,
    NeverSent,
    NotFound,
    ServerError,
    Unauthorized,
    Unreadable,
)
from limio_async.sync_jobs.refusals import MOST_IN_A_ROW, Fetching, concerns

T = TypeVar("T")

NO = Forbidden("no", operation="getObject", status=403)
DOUBT = Unauthorized("who?", operation="getObject", status=401)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        *(
            (ApiError("", operation="o", status=status), "object")
            for status in (400, 402, 403, 404, 410, 422, 451)
        ),
        *((ApiError("", operation="o", status=status), "later") for status in (408, 429, 500, 502, 503, 504)),
        (NotFound("", operation="o", status=404), "object"),
        (Unreadable("", operation="o"), "object"),
        (InvalidArgument("cannot be a path segment", operation="o"), "object"),
        (DOUBT, "doubt"),
        (NeverSent("", operation="o"), "later"),
        (IncompleteListing("", operation="o"), "later"),
        (MissingCredentials("", operation="o"), "all"),
        (ClientClosed("", operation="o"), "all"),
    ],
)
def test_an_error_concerns_its_object_or_all(error: LimioError, says: str) -> None:
    assert concerns(error) == says


class Tenant:
    """Objects by number, of which some fail; one after the other is fetched."""

    def __init__(self, *, fails_again: Mapping[int, LimioError] | None = None) -> None:
        self.probed: list[int] = []
        self._errors: Sequence[LimioError | None] = ()
        self._fails_again = fails_again or {}
        self._fetched: set[int] = set()
        self._fetching = Fetching(self._fetch, _ride)

    async def _fetch(self, number: int) -> str:
        if number in self._fetched:
            self.probed.append(number)
            error = self._fails_again.get(number)
        else:
            self._fetched.add(number)
            error = self._errors[number]
        if error:
            raise error
        return "full"

    async def fetch(self, *errors: LimioError | None, again: bool = False) -> list[tuple[int, bool]]:
        """What comes of as many further objects."""
        first, self._errors = len(self._errors), [*self._errors, *errors]
        wanted = range(first, len(self._errors))
        async with self._fetching.results(wanted, 1, again=again) as results:
            return [(one.summary, one.ok) async for one in results]


async def _ride(ask: Callable[[], Awaitable[T]], probe: object = None) -> T:
    return await ask()


@pytest.mark.parametrize(
    "error", [NO, NotFound("", operation="o", status=404), ServerError("", operation="o", status=500)]
)
async def test_one_refusal_is_a_result_among_others(error: LimioError) -> None:
    assert await Tenant().fetch(None, error, None) == [(0, True), (1, False), (2, True)]


async def test_twenty_in_a_row_stop_the_stream_and_nineteen_do_not() -> None:
    most = MOST_IN_A_ROW - 1
    assert len(await Tenant().fetch(*([NO] * most), None, *([NO] * most))) == 2 * most + 1
    with pytest.raises(
        LimioError, match="20 objects in a row could not be had, the last with getObject: 403 no"
    ):
        await Tenant().fetch(None, *([NO] * 20))


async def test_they_are_counted_over_batches() -> None:
    tenant = Tenant()
    await tenant.fetch(*([NO] * 12))
    with pytest.raises(LimioError, match="20 objects in a row"):
        await tenant.fetch(*([NO] * 12))


async def test_a_401_is_the_objects_own_where_another_one_can_be_fetched_again() -> None:
    tenant = Tenant()
    assert await tenant.fetch(None, DOUBT, None) == [(0, True), (1, False), (2, True)]
    assert len(tenant.probed) == 1


async def test_a_401_is_the_streams_where_that_fails_too() -> None:
    again = dict.fromkeys(range(9), DOUBT)
    with pytest.raises(Unauthorized):
        await Tenant(fails_again=again).fetch(None, DOUBT, None)


async def test_a_401_that_comes_first_waits_for_a_success_and_keeps_the_order() -> None:
    tenant = Tenant()
    seen = await tenant.fetch(DOUBT, NO, DOUBT, None, None)
    assert seen == [(0, False), (1, False), (2, False), (3, True), (4, True)]
    assert len(tenant.probed) == 2


async def test_without_any_success_a_401_is_the_streams() -> None:
    with pytest.raises(Unauthorized):
        await Tenant().fetch(DOUBT, NO)


async def test_what_was_fetched_in_an_earlier_batch_shows_that_the_credentials_work() -> None:
    tenant = Tenant()
    await tenant.fetch(None)
    assert await tenant.fetch(DOUBT) == [(1, False)]
    assert tenant.probed == [0]


async def test_an_error_that_concerns_all_is_raised_at_once() -> None:
    with pytest.raises(MissingCredentials):
        await Tenant().fetch(None, MissingCredentials("none", operation="o"))


async def test_what_cannot_be_asked_for_is_no_refusal() -> None:
    nameless = InvalidArgument("the item has no id", operation="getObject")
    assert len(await Tenant().fetch(*([nameless] * 50), None)) == 51


async def test_what_is_asked_for_again_may_be_refused_any_number_of_times() -> None:
    tenant = Tenant()
    assert len(await tenant.fetch(*([NO] * 50), again=True)) == 50
    await tenant.fetch(*([NO] * 19), None)  # which begin at zero
    await tenant.fetch(*([NO] * 19))
    assert len(await tenant.fetch(*([DOUBT] * 50), again=True)) == 50
    assert len(tenant.probed) == 50


async def test_what_is_asked_for_again_says_nothing_of_the_credentials_where_nothing_can_be_fetched() -> None:
    assert await Tenant().fetch(DOUBT, NO, again=True) == [(0, False), (1, False)]
    with pytest.raises(Unauthorized):
        await Tenant(fails_again={0: DOUBT}).fetch(None, DOUBT, again=True)
    with pytest.raises(MissingCredentials):
        await Tenant().fetch(MissingCredentials("none", operation="o"), again=True)
