"""Pages that are too large are asked for in halves, and doubled again after three that were no problem."""

from __future__ import annotations

import pytest

from limio_async.core.listing.page_size import SERVERS_OWN, PageSize
from limio_async.errors import ApiError, BadGateway, Forbidden, LimioError, Unreadable
from tests.unit.helpers import KEY, SCROLL, WHOLE

GATEWAY = BadGateway("too large", operation="listThings", status=502)


def sizes_of(size: PageSize, pages: int) -> list[int | None]:
    sizes: list[int | None] = []
    for _ in range(pages):
        size.grow(ended=False)
        sizes.append(size.now)
    return sizes


def test_three_good_pages_make_it_twice_as_large_up_to_what_was_wanted() -> None:
    known: dict[str, int] = {}
    size = PageSize("listThings", KEY, 90, known)
    assert [size.shrinks(GATEWAY, again=True) for _ in range(2)] == [True, True]
    assert (size.now, known) == (22, {})
    assert sizes_of(size, 1) == [22]
    assert known == {"listThings": 22}
    size = PageSize("listThings", KEY, 90, known)
    assert sizes_of(size, 8) == [22, 22, 44, 44, 44, 88, 88, 88]
    assert known == {"listThings": 88}
    assert sizes_of(size, 3) == [90, 90, 90]
    assert known == {}


@pytest.mark.parametrize("status", [413, 502, 504, 520, 521, 522, 523, 524, 529, 530])
def test_what_may_come_of_a_page_that_is_too_large_halves_it(status: int) -> None:
    error = ApiError("too large", operation="listThings", status=status)
    assert PageSize("listThings", KEY, 90, {}).shrinks(error, again=True)


def test_a_bad_page_begins_the_count_of_good_ones_anew() -> None:
    size = PageSize("listThings", KEY, 100, {})
    assert size.shrinks(GATEWAY, again=True)
    assert sizes_of(size, 2) == [50, 50]
    assert size.shrinks(GATEWAY, again=True)
    assert sizes_of(size, 3) == [25, 25, 50]


def test_an_outage_leaves_no_small_pages_to_the_walks_after_it() -> None:
    known: dict[str, int] = {}
    size = PageSize("listThings", SCROLL, 200, known)
    while size.shrinks(GATEWAY, again=True):
        pass
    assert (size.now, known) == (1, {})
    assert PageSize("listThings", SCROLL, 200, known).now == 200


def test_the_end_counts_as_enough_good_pages_for_the_walk_after_it() -> None:
    known: dict[str, int] = {}
    size = PageSize("listThings", KEY, 100, known)
    for _ in range(2):
        assert size.shrinks(GATEWAY, again=True)
    size.grow(ended=True)
    assert known == {"listThings": 50}
    assert PageSize("listThings", KEY, 100, known).now == 50
    assert PageSize("listThings", KEY, 30, known).now == 30
    assert PageSize("listOthers", KEY, 100, known).now == 100


def test_a_list_whose_cursor_moves_on_keeps_its_size_and_tells_the_next_walk() -> None:
    known: dict[str, int] = {}
    size = PageSize("listThings", SCROLL, 100, known)
    assert size.shrinks(GATEWAY, again=True)
    assert sizes_of(size, 3) == [50, 50, 50]
    assert known == {}


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (GATEWAY, False),
        (Forbidden("no", operation="listThings", status=403), True),
        (Unreadable("odd", operation="listThings"), True),
    ],
)
def test_other_errors_and_pages_that_cannot_be_asked_for_again_change_nothing(
    error: LimioError, again: bool
) -> None:
    size = PageSize("listThings", KEY, 100, {})
    assert not size.shrinks(error, again=again)
    assert size.now == 100


def test_a_page_of_one_item_cannot_be_smaller_and_one_without_a_size_begins_at_the_server_s() -> None:
    assert not PageSize("listThings", KEY, 1, {}).shrinks(GATEWAY, again=True)
    assert PageSize("listThings", KEY, 2, {}).shrinks(GATEWAY, again=True)
    too_large = Unreadable("over 32 MiB", operation="listThings", too_large=True)
    size = PageSize("listThings", KEY, None, {})
    assert sizes_of(size, 1) == [None]
    assert size.shrinks(too_large, again=True)
    assert size.now == SERVERS_OWN // 2
    assert not PageSize("listThings", WHOLE, None, {}).shrinks(too_large, again=True)


def test_a_walk_whose_size_was_no_problem_leaves_what_another_has_learned() -> None:
    known: dict[str, int] = {}
    size = PageSize("listThings", KEY, 100, known)
    other = PageSize("listThings", KEY, 100, known)
    assert other.shrinks(GATEWAY, again=True)
    assert sizes_of(other, 1) == [50]
    assert sizes_of(size, 7) == [100] * 7
    assert known == {"listThings": 50}
