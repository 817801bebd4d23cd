"""Walks over both species of cursor: every item once, in order, or an error that says so."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import msgspec
import pytest

from limio_async import errors
from limio_async.auth import BearerToken, NoAuth
from limio_async.core.listing import BadItem, Checkpoint, Listing
from limio_async.core.listing.options import Options, checked
from limio_async.core.listing.place import Passing
from limio_async.core.session import Session
from limio_async.core.wire import Paging, Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, OPAQUE, SCROLL, WHOLE, Item, answer, listing_of, page, scroll_page

LOST = errors.AnswerLost("the server hung up")
LATE = errors.DeadlineExceeded("late")
LATE.left = True


def walk(paging: Paging, *script: Any, **options: Any) -> tuple[Listing[Item], ScriptedTransport]:
    transport = ScriptedTransport(*script)
    session = Session(transport, NoAuth())
    return session.list(listing_of(paging), {"tags": None}, **options), transport


async def ids(listing: Listing[Item]) -> list[str]:
    return [item.id async for item in listing]


# ------------------------------------------------------------------ where a walk ends


async def test_an_empty_page_in_the_middle_of_a_key_walk_is_not_its_end() -> None:
    listing, _ = walk(KEY, page("1", "2", cursor="a"), page(cursor="b"), page("3"))
    assert await ids(listing) == ["1", "2", "3"]
    assert listing.report.complete


@pytest.mark.parametrize("nothing", [None, "", {}])
async def test_a_key_walk_ends_where_no_cursor_is_given(nothing: Any) -> None:
    body = {"items": [{"id": "1"}], "queryMore": nothing}
    listing, transport = walk(KEY, answer(body))
    assert await ids(listing) == ["1"]
    assert len(transport.requests) == 1


async def test_a_scroll_goes_on_with_the_same_cursor_until_an_empty_page() -> None:
    listing, transport = walk(
        SCROLL, scroll_page("1", hits=3), scroll_page("2"), scroll_page("3"), scroll_page()
    )
    assert await ids(listing) == ["1", "2", "3"]
    assert listing.report.complete
    assert len(transport.requests) == 4


async def test_a_list_without_cursor_is_one_page() -> None:
    listing, transport = walk(WHOLE, page("1", "2"))
    assert await ids(listing) == ["1", "2"]
    assert [request.target for request in transport.requests] == ["/api/things"]


async def test_null_for_items_is_an_empty_page() -> None:
    listing, _ = walk(KEY, answer({"items": None, "queryMore": "a"}), page("1"))
    assert await ids(listing) == ["1"]


async def test_an_answer_without_items_is_unreadable_not_empty() -> None:
    listing, _ = walk(KEY, answer({"message": "hello"}))
    with pytest.raises(errors.Unreadable, match=r"listThings: the answer has no items - at \$"):
        await ids(listing)


# ------------------------------------------------------------------ what is asked


async def test_a_scroll_is_switched_on_and_keeps_its_filters() -> None:
    transport = ScriptedTransport(scroll_page("1", scroll="a b"), scroll_page())
    listing = Session(transport, NoAuth()).list(listing_of(SCROLL), {"tags": "/tags/uk"}, page_size=20)
    await ids(listing)
    assert [request.target for request in transport.requests] == [
        "/api/things?tags=%2Ftags%2Fuk&opt.all=true&opt.pageSize=20",
        "/api/things?tags=%2Ftags%2Fuk&opt.all=true&opt.pageSize=20"
        "&opt.queryMoreFrom=a%20b&opt.queryMoreAlias=catalog_test",
    ]
    assert [request.retry for request in transport.requests] == ["safe", "scroll"]


@pytest.mark.parametrize(
    ("paging", "options"), [(WHOLE, {"page_size": 5}), (KEY, {"page_size": 0}), (KEY, {"read_ahead": 2})]
)
def test_options_that_cannot_be_kept_are_refused(paging: Paging, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument):
        walk(paging, page(), **options)


# ------------------------------------------------------------------ loops


async def test_a_key_that_comes_back_is_a_loop() -> None:
    listing, transport = walk(
        KEY, page("1", cursor="a"), page("2", cursor="b"), page("3", cursor="a"), read_ahead=0
    )
    seen: list[str] = []
    with pytest.raises(errors.CursorLoop) as caught:
        async for item in listing:
            seen.append(item.id)
    assert seen == ["1", "2"]
    assert len(transport.requests) == 3
    assert caught.value.checkpoint.items == 2


async def test_a_key_that_was_resumed_with_and_comes_back_is_a_loop_at_once() -> None:
    begun, _ = walk(KEY, page("1", cursor="a"), page("2", cursor="b"), read_ahead=0)
    await begun.take(1)
    await anext(aiter(begun.pages()))
    saved = begun.checkpoint()
    assert saved.cursor is not None
    listing, transport = walk(
        KEY, page("3", cursor=saved.cursor.query["queryMore"]), resume=saved, read_ahead=0
    )
    with pytest.raises(errors.CursorLoop):
        await ids(listing)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("period", [1, 2, 5])
async def test_a_scroll_that_sends_the_same_pages_for_ever_is_a_loop(period: int) -> None:
    asked = 0

    def again(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return scroll_page(f"{asked % period}")

    listing, _ = walk(SCROLL, again)
    with pytest.raises(errors.CursorLoop):
        await ids(listing)
    assert asked < 20 * period


async def test_an_opaque_cursor_that_brings_nothing_for_ever_is_a_loop() -> None:
    listing, transport = walk(OPAQUE, page("1", cursor="same"), page(cursor="same"))
    with pytest.raises(errors.CursorLoop):
        await ids(listing)
    assert len(transport.requests) < 10


# ------------------------------------------------------------------ honest ends


async def test_a_scroll_that_ends_short_of_hits_says_so_after_its_last_item() -> None:
    listing, _ = walk(SCROLL, scroll_page("1", hits=3), scroll_page("2", hits=3), scroll_page(hits=3))
    seen: list[str] = []
    with pytest.raises(errors.IncompleteListing, match="ended after 2 items, 3 were promised") as caught:
        async for item in listing:
            seen.append(item.id)
    assert seen == ["1", "2"]
    assert (caught.value.expected, caught.value.seen) == (3, 2)
    assert listing.report.ended
    assert not listing.report.complete
    with pytest.raises(errors.IncompleteListing):
        await ids(listing)  # it does not pretend the second time either


async def test_the_verdict_can_be_a_warning_or_off(caplog: pytest.LogCaptureFixture) -> None:
    for verify, warnings in (("warn", 1), ("off", 0)):
        caplog.clear()
        listing, _ = walk(SCROLL, scroll_page("1", hits=3), scroll_page(), verify=verify)
        with caplog.at_level(logging.WARNING):
            assert await ids(listing) == ["1"]
        assert len(caplog.records) == warnings
        assert not listing.report.complete


@pytest.mark.parametrize(("least", "complete"), [(1, True), (2, True), (3, False)])
async def test_hits_that_are_a_lower_bound_promise_that_many(least: int, complete: bool) -> None:
    first = page("1", "2", cursor={"from": "s"}, hits={"value": least, "relation": "gte"})
    listing, _ = walk(SCROLL, first, scroll_page(), verify="warn")
    assert await ids(listing) == ["1", "2"]
    assert listing.report.complete is complete


@pytest.mark.parametrize("paging", [SCROLL, msgspec.structs.replace(OPAQUE, hits="hits")])
@pytest.mark.parametrize(
    "hits", ["many", "", [], {"value": "x"}, True, {}, {"value": None}, -1, 2.5, "1e3", "²", 1e300]
)
async def test_hits_that_cannot_be_read_are_warned_of(
    paging: Paging, hits: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cursor = {"from": "s"} if paging is SCROLL else "a"
    listing, _ = walk(paging, page("1", cursor=cursor, hits=hits), page(hits=hits))
    assert await ids(listing) == ["1"]
    assert listing.report.hits is None
    assert caplog.text.count("hits cannot be read") == 1


async def test_no_hits_are_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    listing, _ = walk(SCROLL, page("1", cursor={"from": "s"}, hits=None), page())
    assert await ids(listing) == ["1"]
    assert not caplog.records


async def test_hits_of_an_undocumented_cursor_are_reported_and_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    paging = msgspec.structs.replace(OPAQUE, hits="hits")
    listing, _ = walk(paging, page("1", hits=10))
    assert await ids(listing) == ["1"]
    assert not listing.report.complete
    assert "1 items, 10 were promised" in caplog.text


@pytest.mark.parametrize(
    "hits",
    [
        3,
        3.0,
        "3",
        " 3 ",
        {"value": 3, "relation": "eq"},
        {"value": 3},
        {"value": "3"},
        {"value": "3", "relation": "eq"},
    ],
)
async def test_all_forms_of_hits_count(hits: Any) -> None:
    listing, _ = walk(SCROLL, page("1", "2", cursor={"from": "s"}, hits=hits), scroll_page())
    with pytest.raises(errors.IncompleteListing, match="ended after 2 items, 3 were promised"):
        await ids(listing)
    assert (listing.report.hits, listing.report.exact) == (3, True)


async def test_a_catalog_that_is_rebuilt_during_the_walk_stops_it() -> None:
    listing, _ = walk(SCROLL, scroll_page("1", commit="c1"), scroll_page("2", commit="c2"), scroll_page())
    with pytest.raises(errors.SnapshotChanged, match="before page 2"):
        await ids(listing)
    with pytest.raises(errors.SnapshotChanged):
        await ids(listing)


async def test_commit_ids_are_found_under_the_header_too() -> None:
    first = page("1", cursor={"from": "s"}, header={"commitId": 1711455734554})
    listing, _ = walk(SCROLL, first, page(cursor={"from": "s"}, header={"commitId": 1711455734554}))
    await ids(listing)
    assert listing.report.commit_ids == ("1711455734554",)


# ------------------------------------------------------------------ lost pages


@pytest.mark.parametrize("paging", [SCROLL, OPAQUE])
async def test_a_lost_page_of_a_cursor_that_advances_is_never_asked_for_twice(paging: Paging) -> None:
    cursor: Any = {"from": "s"} if paging is SCROLL else "o"
    listing, transport = walk(paging, page("1", cursor=cursor), LOST)
    for _ in range(2):
        with pytest.raises(errors.IncompleteListing, match="walk again from the top"):
            await ids(listing)
    assert len(transport.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_error_on_a_scroll_page_counts_as_lost(status: int, virtual_time: Any) -> None:
    listing, transport = walk(SCROLL, scroll_page("1"), answer({"message": "oops"}, status))
    with pytest.raises(errors.IncompleteListing):
        await ids(listing)
    assert len(transport.requests) == 2


async def test_a_lost_key_page_is_asked_for_again(virtual_time: Any) -> None:
    listing, transport = walk(KEY, page("1", cursor="a"), LOST, answer({}, 502), page("2"))
    assert await ids(listing) == ["1", "2"]
    assert len(transport.requests) == 4
    assert listing.report.requests == 4


async def test_the_first_page_of_a_scroll_may_be_asked_for_again(virtual_time: Any) -> None:
    listing, _ = walk(SCROLL, LOST, scroll_page("1"), scroll_page())
    assert await ids(listing) == ["1"]


async def test_a_scroll_page_that_never_left_or_was_refused_with_429_is_asked_for_again(
    virtual_time: Any,
) -> None:
    script = [scroll_page("1"), errors.NeverSent("refused"), answer({}, 429), scroll_page("2"), scroll_page()]
    listing, _ = walk(SCROLL, *script)
    assert await ids(listing) == ["1", "2"]


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_an_expired_scroll_says_so_and_stays_so(status: int) -> None:
    gone = answer({"message": "No search context"}, status)
    listing, transport = walk(SCROLL, scroll_page("1"), gone, restarts=0)
    for _ in range(2):
        with pytest.raises(errors.CursorExpired, match="No search context") as caught:
            await ids(listing)
    assert caught.value.checkpoint.items == 1
    assert len(transport.requests) == 2


async def test_a_walk_that_failed_goes_on_where_it_stood(virtual_time: Any) -> None:
    listing, _ = walk(KEY, page("1", cursor="a"), answer({"message": "forbidden"}, 403), page("2"))
    seen: list[str] = []
    with pytest.raises(errors.Forbidden):
        async for item in listing:
            seen.append(item.id)
    assert seen + await ids(listing) == ["1", "2"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, errors.Unauthorized), *((n, errors.TooManyRequests) for n in (408, 425, 429))]
)
async def test_a_scroll_page_that_was_not_executed_can_be_asked_for_again(
    status: int, kind: type[errors.LimioError], virtual_time: Any
) -> None:
    refusal = [answer({}, status)] * (1 if status == 401 else 3)
    listing, _ = walk(SCROLL, scroll_page("1"), *refusal, scroll_page("2"), scroll_page())
    with pytest.raises(kind):
        await ids(listing)
    assert await ids(listing) == ["2"]


async def test_an_undecodable_key_page_can_be_asked_for_again() -> None:
    bad = [answer({"items": [{"id": None}], "queryMore": "b"})]
    good = {"": page("1", cursor="a"), "a": page("2", cursor="b"), "b": page("3")}

    def by_cursor(request: Request) -> Response:
        cursor = request.target.partition("queryMore=")[2]
        return bad.pop() if cursor == "a" and bad else good[cursor]

    listing, _ = walk(KEY, by_cursor)
    with pytest.raises(errors.Unreadable, match=r"listThings: expected str, got null - at \$.items\[0\].id"):
        await ids(listing)
    assert await ids(listing) == ["2", "3"]


async def test_an_undecodable_scroll_page_ends_the_walk_for_good() -> None:
    listing, _ = walk(SCROLL, scroll_page("1"), answer({"items": [{"id": None}]}), scroll_page("3"))
    for _ in range(2):
        with pytest.raises(errors.Unreadable):
            await ids(listing)


# ------------------------------------------------------------------ starting again at the top

GONE = answer({"message": "No search context"}, 404)
REBUILT: dict[str, Any] = {"commit": "c2"}


async def test_an_expired_scroll_is_walked_again_without_repeating_anything() -> None:
    script = [
        scroll_page("1", "2", hits=4), GONE,
        scroll_page("1", "2", hits=4), scroll_page("3", hits=4), GONE,
        scroll_page("1", "2", hits=4), scroll_page("3", hits=4), scroll_page("4", hits=4), scroll_page(hits=4),
    ]  # fmt: skip
    listing, _ = walk(SCROLL, *script, read_ahead=0)
    assert await ids(listing) == ["1", "2", "3", "4"]
    report = listing.report
    assert (report.restarts, report.items, report.sent, report.complete) == (2, 4, 4, True)


async def test_a_scroll_that_keeps_expiring_is_given_up_after_two_restarts() -> None:
    script = [scroll_page("1"), GONE] * 5
    listing, transport = walk(SCROLL, *script, read_ahead=0)
    for _ in range(2):
        with pytest.raises(errors.CursorExpired):
            await ids(listing)
    assert len(transport.requests) == 6


async def test_a_restart_over_another_catalog_is_refused_unless_it_is_wanted() -> None:
    script = [scroll_page("1", "2"), GONE, scroll_page("2", "3", **REBUILT), scroll_page(**REBUILT)]
    listing, _ = walk(SCROLL, *script, read_ahead=0)
    with pytest.raises(errors.SnapshotChanged):
        await ids(listing)
    wanted, _ = walk(SCROLL, *script, read_ahead=0, on_snapshot_change="restart")
    assert await ids(wanted) == ["1", "2", "3"]


async def test_a_rebuilt_catalog_is_walked_again_and_what_was_handed_out_is_dropped_by_id() -> None:
    script = [
        scroll_page("1", "2", hits=4), scroll_page("3", hits=4, **REBUILT),
        scroll_page("0", "2", hits=4, **REBUILT), scroll_page("3", "1", hits=4, **REBUILT),
        scroll_page(hits=4, **REBUILT),
    ]  # fmt: skip
    listing, _ = walk(SCROLL, *script, read_ahead=0, on_snapshot_change="restart")
    assert await ids(listing) == ["1", "2", "0", "3"]
    report = listing.report
    assert (report.restarts, report.items, report.duplicates, report.complete) == (1, 4, 2, False)
    assert report.commit_ids == ("c1", "c2")


async def test_a_walk_over_two_catalogs_cannot_be_resumed_later() -> None:
    script = [
        scroll_page("1"),
        scroll_page("2", **REBUILT),
        scroll_page("2", "3", **REBUILT),
        scroll_page(**REBUILT),
    ]
    listing, _ = walk(SCROLL, *script, read_ahead=0, on_snapshot_change="restart")
    await listing  # begins the walk: a look at the first items alone opens no scroll
    await listing.take(2)
    with pytest.raises(errors.ForeignCheckpoint, match="rebuilt during that walk"):
        walk(SCROLL, *script, resume=listing.checkpoint())


@pytest.mark.parametrize(
    "lost",
    [LOST, answer({}, 502), LATE, answer(b'{"items": ['), answer(b"<html>")],
)
async def test_a_lost_scroll_page_is_walked_again_where_the_caller_wants_it(lost: Any) -> None:
    script = [
        scroll_page("1", hits=2),
        lost,
        scroll_page("1", hits=2),
        scroll_page("2", hits=2),
        scroll_page(hits=2),
    ]
    listing, _ = walk(SCROLL, *script, on_ambiguous="restart", read_ahead=0)
    assert await ids(listing) == ["1", "2"]
    assert listing.report.complete


async def test_a_restart_that_finds_other_items_than_it_handed_out_says_so() -> None:
    script = [scroll_page("1", "2"), LOST, scroll_page("2", "1"), scroll_page()]
    listing, _ = walk(SCROLL, *script, on_ambiguous="restart", read_ahead=0)
    with pytest.raises(errors.SnapshotChanged, match="not the one that was walked before"):
        await ids(listing)


@pytest.mark.parametrize("unique", [False, True])
async def test_an_opaque_walk_is_started_again_by_id_or_by_count(unique: bool) -> None:
    script = [page("1", "2", cursor="a"), LOST, page("1", "2", cursor="a"), page("3")]
    listing, _ = walk(OPAQUE, *script, on_ambiguous="restart", unique=unique)
    assert await ids(listing) == ["1", "2", "3"]
    assert listing.report.complete


async def test_an_opaque_list_that_changed_meanwhile_is_only_started_again_by_id() -> None:
    script = [page("1", "2", cursor="a"), LOST, page("0", "1", cursor="a"), page("2", "3")]
    by_count, _ = walk(OPAQUE, *script, on_ambiguous="restart")
    with pytest.raises(errors.SnapshotChanged, match="not the one that was walked before"):
        await ids(by_count)
    by_id, _ = walk(OPAQUE, *script, on_ambiguous="restart", unique=True)
    assert await ids(by_id) == ["1", "2", "0", "3"]


# ------------------------------------------------------------------ items that come twice, items that are bad


async def test_items_that_come_twice_are_dropped_and_counted_on_request() -> None:
    script = [scroll_page("1", "2", hits=3), scroll_page("2", "3", hits=3), scroll_page(hits=3)]
    listing, _ = walk(SCROLL, *script, unique=True)
    assert await ids(listing) == ["1", "2", "3"]
    assert (listing.report.duplicates, listing.report.complete) == (1, True)
    plain, _ = walk(SCROLL, *script)
    with pytest.raises(errors.IncompleteListing, match="after 4 items, 3 were promised"):
        await ids(plain)


async def test_a_page_that_stands_in_for_another_is_noticed_although_the_count_is_right() -> None:
    script = [
        scroll_page("1", hits=3),
        scroll_page("1", hits=3),
        scroll_page("3", hits=3),
        scroll_page(hits=3),
    ]
    listing, _ = walk(SCROLL, *script)
    with pytest.raises(errors.IncompleteListing, match="after 3 items, 1 of them twice, 3 were promised"):
        await ids(listing)


BAD = answer({"items": [{"id": "1"}, {"id": None}, {"id": "3"}], "queryMore": None})


async def test_a_bad_item_is_skipped_and_counted_on_request() -> None:
    listing, _ = walk(KEY, BAD, on_bad_item="skip")
    assert await ids(listing) == ["1", "3"]
    assert (listing.report.undecodable, listing.report.items) == (1, 2)


async def test_a_bad_item_is_yielded_with_its_bytes_on_request() -> None:
    listing, _ = walk(KEY, BAD, on_bad_item="yield")
    items: list[Any] = [item async for item in listing]
    assert items == [
        Item(id="1"),
        BadItem(raw=b'{"id":null}', reason="expected str, got null - at $.id"),
        Item(id="3"),
    ]


async def test_a_walk_with_skipped_items_resumes_after_the_last_one_handed_out() -> None:
    for stop_after in range(3):
        listing, _ = walk(KEY, BAD, on_bad_item="skip")
        before = [item.id for item in await listing.take(stop_after)]
        resumed, _ = walk(KEY, BAD, on_bad_item="skip", resume=listing.checkpoint())
        assert before + await ids(resumed) == ["1", "3"]


# ------------------------------------------------------------------ pages that are too large


def sizes_of(transport: ScriptedTransport) -> list[int]:
    return [int(request.target.partition("limit=")[2].partition("&")[0]) for request in transport.requests]


@pytest.mark.parametrize("status", [413, 502, 504])
async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones_that_grow_back(
    status: int, virtual_time: Any
) -> None:
    names = [str(n) for n in range(200)]

    def limited(request: Request) -> Response:
        size = int(request.target.partition("limit=")[2].partition("&")[0])
        at = int(request.target.partition("queryMore=")[2] or 0)
        if at < 10 and size > 2:
            return answer({}, status)
        following = at + size
        return page(*names[at:following], cursor=str(following) if following < 200 else None)

    transport = ScriptedTransport(limited)
    session = Session(transport, NoAuth(), attempts=1)
    listing = session.list(listing_of(KEY), {}, page_size=10, read_ahead=0)
    assert await ids(listing) == names
    sizes = sizes_of(transport)
    assert sizes[:3] == [10, 5, 2]
    assert sizes[-1] == 10


async def test_what_worked_is_remembered_and_forgotten_again_when_all_goes_well(virtual_time: Any) -> None:
    fine = scroll_page("1"), scroll_page()
    transport = ScriptedTransport(answer({}, 502), answer({}, 502), *fine, *fine * 4)
    session = Session(transport, NoAuth(), attempts=1)
    for _ in range(5):
        await ids(session.list(listing_of(SCROLL), {}, page_size=40, read_ahead=0))
    sizes = [one.target.partition("opt.pageSize=")[2].partition("&")[0] for one in transport.requests]
    assert sizes == ["40", "20", "10", "10", "20", "20", "40", "40", "40", "40", "40", "40"]


async def test_the_first_page_of_a_scroll_is_made_smaller_too() -> None:
    too_large = errors.Unreadable("too large", operation="listThings", too_large=True)
    listing, transport = walk(SCROLL, too_large, scroll_page("1"), scroll_page(), page_size=8)
    assert await ids(listing) == ["1"]
    assert ["pageSize=8" in one.target for one in transport.requests] == [True, False, False]


async def test_one_item_that_is_too_large_is_an_error_in_the_end(virtual_time: Any) -> None:
    listing, transport = walk(KEY, answer({"message": "too large"}, 413), page_size=4)
    with pytest.raises(errors.ApiError, match="413 too large"):
        await ids(listing)
    assert sizes_of(transport) == [4, 2, 1]


async def test_two_tasks_cannot_walk_one_listing() -> None:
    listing, _ = walk(KEY, page("1", cursor="a"), page("2"))
    with pytest.raises(RuntimeError, match="another iteration is walking"):
        await asyncio.gather(ids(listing), ids(listing))


async def test_two_iterators_of_one_listing_do_not_get_away_with_it() -> None:
    listing, _ = walk(KEY, page("1", "2", "3"))
    one, other = aiter(listing), aiter(listing)
    assert [(await anext(one)).id, (await anext(other)).id] == ["1", "2"]
    with pytest.raises(RuntimeError, match="another iteration is walking"):
        await anext(one)


# ------------------------------------------------------------------ read-ahead


async def test_the_first_page_is_not_followed_by_a_second_before_it_is_used_up() -> None:
    listing, transport = walk(KEY, page("1", "2", cursor="a"), page("3", "4", cursor="b"), page("5"))
    assert [item.id for item in await listing.take(2)] == ["1", "2"]
    first = await listing.first()
    assert first is not None
    assert first.id == "3"
    await asyncio.sleep(0)
    assert len(transport.requests) == 2
    assert await ids(listing) == ["4", "5"]


async def test_one_page_is_fetched_while_the_caller_works_on_another() -> None:
    pages = [page(f"{n}", cursor=f"c{n}") for n in range(9)]
    listing, transport = walk(KEY, *pages, page("9"))
    ahead: list[int] = []
    async for item in listing:
        await asyncio.sleep(0.001)
        ahead.append(len(transport.requests) - int(item.id) - 1)
    assert ahead == [0, *[1] * 8, 0]


async def test_no_read_ahead_where_none_is_wanted() -> None:
    listing, transport = walk(KEY, *(page(f"{n}", cursor=f"c{n}") for n in range(3)), page("3"), read_ahead=0)
    async for item in listing:
        await asyncio.sleep(0.001)
        assert len(transport.requests) == int(item.id) + 1


async def test_whoever_ends_a_walk_waits_for_the_request_that_was_ahead() -> None:
    ended: list[str] = []

    async def slow(request: Request) -> Response:
        try:
            await asyncio.sleep(100)
        finally:  # a connection that takes its time to close
            await asyncio.sleep(0.01)
            ended.append(request.operation)
        raise AssertionError

    listing, _ = walk(KEY, page("1", cursor="a"), page("2", cursor="b"), slow)
    async with aclosing(cast("AsyncGenerator[Item]", aiter(listing))) as items:
        async for item in items:
            await asyncio.sleep(0.001)
            if item.id == "2":
                break
    assert ended == ["listThings"]


async def test_breaking_out_leaves_no_task_behind_and_loses_nothing() -> None:
    listing, _ = walk(KEY, *(page(f"{n}", cursor=f"c{n}") for n in range(5)), page("5"))
    seen: list[str] = []
    for stop in ("1", "3", "9"):
        async for item in listing:
            seen.append(item.id)
            if item.id == stop:
                break
        gc.collect()
        await asyncio.sleep(0.001)
        assert len(asyncio.all_tasks()) == 1
    assert seen == ["0", "1", "2", "3", "4", "5"]


async def test_a_scroll_page_that_was_cut_short_is_reported_when_the_walk_goes_on() -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    listing, _ = walk(SCROLL, scroll_page("1"), scroll_page("2"), never)
    async for item in listing:
        if item.id == "2":
            break
    gc.collect()
    await asyncio.sleep(0.001)
    with pytest.raises(errors.IncompleteListing, match="cut short"):
        await ids(listing)


async def test_a_page_that_arrived_before_the_break_is_not_asked_for_again() -> None:
    listing, transport = walk(SCROLL, scroll_page("1"), scroll_page("2"), scroll_page("3"), scroll_page())
    async for item in listing:
        await asyncio.sleep(0.001)  # page 3 arrives
        if item.id == "2":
            break
    assert await ids(listing) == ["3"]
    assert len(transport.requests) == 4


@pytest.mark.parametrize("paging", [KEY, SCROLL])
@pytest.mark.parametrize("suspends", [0, 1, 2])
@pytest.mark.parametrize("ticks", range(25))
async def test_cancelling_whoever_walks_loses_nothing_in_silence(
    paging: Paging, suspends: int, ticks: int
) -> None:
    pages = [["1", "2"], ["3", "4"], ["5", "6"], ["7"]]

    def served(request: Request) -> Response:
        if paging is KEY:
            at = int(request.target.partition("queryMore=")[2] or 0)
            return page(*pages[at], cursor=str(at + 1) if at < 3 else None)
        server["at"] = server["at"] + 1 if "queryMoreFrom" in request.target else 0
        return scroll_page(*pages[server["at"]], hits=7) if server["at"] < 4 else scroll_page(hits=7)

    server = {"at": 0}
    transport = ScriptedTransport(served)
    transport.suspends = suspends
    listing = Session(transport, NoAuth()).list(listing_of(paging), {}, restarts=0)
    seen: list[str] = []

    async def consume() -> None:
        async for item in listing:
            seen.append(item.id)

    consumer = asyncio.create_task(consume())
    for _ in range(ticks):
        await asyncio.sleep(0)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
    try:
        await consume()
    except errors.IncompleteListing:
        assert paging is SCROLL
        assert seen == [one for names in pages for one in names][: len(seen)]
    else:
        assert seen == ["1", "2", "3", "4", "5", "6", "7"]


async def test_a_strategy_that_fails_during_read_ahead_does_not_cost_a_page() -> None:
    calls = 0

    async def current() -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError("vault down")
        return "token"

    transport = ScriptedTransport(scroll_page("1"), scroll_page("2"), scroll_page("3"), scroll_page())
    session = Session(transport, BearerToken(current))
    listing = session.list(listing_of(SCROLL, auth=("bearer",)), {})
    seen: list[str] = []
    with pytest.raises(OSError, match="vault down"):
        async for item in listing:
            seen.append(item.id)
    assert seen + await ids(listing) == ["1", "2", "3"]


async def test_closing_the_client_ends_a_walk_with_an_error_before_its_connections_go() -> None:
    closed: list[int] = []

    async def never(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            closed.append(transport.closed)
        raise AssertionError

    transport = ScriptedTransport(page("1", cursor="a"), page("2", cursor="b"), never)
    session = Session(transport, NoAuth())

    async def read() -> list[str]:
        return await ids(session.list(listing_of(KEY), {}))

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    await session.aclose()
    with pytest.raises(errors.ClientClosed):
        await reader
    assert (closed, transport.closed) == ([0], 1)


def test_closing_in_another_loop_than_the_walk_s_leaves_the_walk_to_its_own() -> None:
    asked, there = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def late(request: Request) -> Response:
        asked.set()
        await there.wait()
        return page("3", cursor="c")

    transport = ScriptedTransport(page("1", cursor="a"), page("2", cursor="b"), late, page("4"))
    session = Session(transport, NoAuth())

    async def read() -> None:
        async for item in session.list(listing_of(KEY), {}):
            seen.append(item.id)

    async def begin() -> asyncio.Task[None]:
        reader = asyncio.create_task(read())
        await asked.wait()
        return reader

    async def end(reader: asyncio.Task[None]) -> None:
        there.set()
        with pytest.raises(errors.ClientClosed, match="was closed"):
            await reader

    with asyncio.Runner() as walking, asyncio.Runner() as closing:
        reader = walking.run(begin())
        closing.run(session.aclose())
        assert transport.closed
        walking.run(end(reader))
    assert (seen, len(transport.requests)) == (["1", "2", "3"], 3)


# ------------------------------------------------------------------ other ways to look


async def test_awaited_a_listing_is_its_first_page_and_nothing_is_used_up() -> None:
    listing, transport = walk(SCROLL, scroll_page("1", hits=2), scroll_page("2"), scroll_page())
    first = await listing
    assert [item.id for item in first.items] == ["1"]
    assert (first.number, first.hits, first.commit_id) == (1, 2, "c1")
    assert first.cursor is not None
    assert len(transport.requests) == 1
    assert await ids(listing) == ["1", "2"]


async def test_pages_are_whole_pages_and_of_one_begun_the_rest() -> None:
    listing, _ = walk(KEY, page("1", "2", cursor="a"), page(cursor="b"), page("3"))
    await listing.first()
    assert [[item.id for item in one.items] async for one in listing.pages()] == [["2"], [], ["3"]]


async def test_raw_items_are_the_exact_bytes() -> None:
    body = b'{"items": [ {"id":"1", "price": 1.50,"new":[1 ,2]}, {"id" : "2"} ], "queryMore":null}'
    listing, _ = walk(KEY, answer(body))
    assert [item async for item in listing.raw()] == [
        b'{"id":"1", "price": 1.50,"new":[1 ,2]}',
        b'{"id" : "2"}',
    ]


class Slim(msgspec.Struct):
    price: float | None = None


async def test_items_can_be_decoded_into_the_callers_own_type() -> None:
    listing, _ = walk(KEY, answer({"items": [{"id": "1", "price": 2}], "queryMore": ""}))
    assert [item async for item in listing.into(Slim)] == [Slim(price=2)]


async def test_collect_takes_all_or_says_that_there_are_more() -> None:
    pages = (page("1", "2", cursor="a"), page("3"))
    assert len(await walk(KEY, *pages)[0].collect(limit=3)) == 3
    listing, _ = walk(KEY, *pages)
    with pytest.raises(errors.IncompleteListing, match="more than 2 items") as caught:
        await listing.collect(limit=2)
    assert caught.value.checkpoint.items == 0  # nothing was handed out
    assert await ids(walk(KEY, *pages, resume=caught.value.checkpoint)[0]) == ["1", "2", "3"]


class Envelope(msgspec.Struct):
    customers: list[dict[str, Any]]


async def test_the_rest_of_a_page_can_be_read_from_its_bytes() -> None:
    listing, _ = walk(KEY, page("1", customers=[{"id": "cus-1"}]))
    assert (await listing).read(Envelope).customers == [{"id": "cus-1"}]


# ------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize("stop_after", range(6))
async def test_a_key_walk_resumes_in_the_middle(stop_after: int) -> None:
    script = {None: page("1", "2", cursor="a"), "a": page("3", cursor="b"), "b": page("4", "5")}

    def by_cursor(request: Request) -> Response:
        return script[request.target.partition("queryMore=")[2] or None]

    listing, _ = walk(KEY, by_cursor)
    before = [item.id for item in await listing.take(stop_after)]
    saved = listing.checkpoint().to_json()
    assert listing.checkpoint().resumes_in_the_middle == (stop_after >= 2)
    resumed, transport = walk(KEY, by_cursor, resume=saved)
    assert resumed.checkpoint().to_json() == saved
    assert before + await ids(resumed) == ["1", "2", "3", "4", "5"]
    assert resumed.checkpoint().resumes_in_the_middle  # there is nothing left to ask for
    assert resumed.report.items == 5
    assert len(transport.requests) <= 3 - stop_after // 2
    assert resumed.report.complete


async def test_a_key_page_that_changed_is_resumed_by_id_or_handed_out_again() -> None:
    listing, _ = walk(KEY, page("1", "2", "3", cursor="a"))
    await listing.take(2)
    saved = listing.checkpoint()
    one_gone, _ = walk(KEY, page("2", "3"), resume=saved)
    assert await ids(one_gone) == ["3"]
    mark_gone, _ = walk(KEY, page("1", "3"), resume=saved)
    assert await ids(mark_gone) == ["1", "3"]
    now = {"": page("3", cursor="a"), "a": page("4")}
    much_gone, _ = walk(KEY, lambda request: now[request.target.partition("queryMore=")[2]], resume=saved)
    assert await ids(much_gone) == ["3", "4"]


@pytest.mark.parametrize("stop_after", range(5))
async def test_a_scroll_resumes_from_the_top_without_repeating_itself(stop_after: int) -> None:
    script = (scroll_page("1", "2", hits=4), scroll_page("3", "4"), scroll_page())
    listing, _ = walk(SCROLL, *script)
    await listing
    before = [item.id for item in await listing.take(stop_after)]
    checkpoint = listing.checkpoint()
    assert not checkpoint.resumes_in_the_middle
    resumed, _ = walk(SCROLL, *script, resume=checkpoint.to_json())
    assert before + await ids(resumed) == ["1", "2", "3", "4"]
    assert resumed.report.items == 4


@pytest.mark.parametrize(
    "now",
    [
        (scroll_page("1", "2", commit="c2"), scroll_page()),
        (scroll_page("2", "1"), scroll_page()),
        (scroll_page("1"), scroll_page()),
    ],
)
@pytest.mark.parametrize("verify", ["raise", "off"])
async def test_a_scroll_is_not_resumed_over_another_catalog(now: tuple[Response, ...], verify: str) -> None:
    listing, _ = walk(SCROLL, scroll_page("1", "2", "3"), scroll_page())
    await listing.take(2)
    resumed, _ = walk(SCROLL, *now, resume=listing.checkpoint(), verify=verify)
    for _ in range(2):
        with pytest.raises(errors.SnapshotChanged):
            await ids(resumed)


async def test_a_finished_walk_stays_finished() -> None:
    listing, _ = walk(KEY, page("1"))
    await ids(listing)
    resumed, transport = walk(KEY, page("1"), resume=listing.checkpoint())
    assert await ids(resumed) == []
    assert transport.requests == []
    assert resumed.report.items == 1


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ("not json", "not a checkpoint"),
        (b'{"operation": "listThings"}', "not a checkpoint"),
        ('{"operation":"listOthers","digest":"d","items":0}', "belongs to listOthers"),
        ('{"operation":"listThings","digest":"d","items":0}', "other arguments or another host"),
        ('{"operation":"listThings","digest":"d","items":0,"version":3}', "version 3"),
        ('{"operation":"listThings","digest":"d","items":-1}', "not a checkpoint"),
        ('{"operation":"listThings","digest":"d","items":0,"skip":-1}', "not a checkpoint"),
        (b"\xff", "not a checkpoint"),
    ],
)
def test_a_foreign_checkpoint_is_refused(saved: str | bytes, said: str) -> None:
    with pytest.raises(errors.ForeignCheckpoint, match=said):
        walk(KEY, page(), resume=saved)


def test_a_checkpoint_cannot_bring_parameters_of_its_own() -> None:
    saved = walk(KEY, page())[0].checkpoint().to_json()
    evil = saved.replace('"items":0', '"items":0,"cursor":{"query":{"queryMore":"a","limit":"9"}}')
    with pytest.raises(errors.ForeignCheckpoint, match="not one of this listing"):
        walk(KEY, page(), resume=evil)


def test_a_checkpoint_is_bound_to_arguments_and_host() -> None:
    def digest(origin: str, tags: str | None) -> str:
        transport = ScriptedTransport(page())
        transport.origin = origin
        return Session(transport, NoAuth()).list(listing_of(KEY), {"tags": tags}).checkpoint().digest

    assert (
        len({digest("https://a.test", None), digest("https://b.test", None), digest("https://a.test", "x")})
        == 3
    )
    assert isinstance(Checkpoint.read(None, operation="x", digest="y", paging=KEY), Checkpoint)


# ------------------------------------------------------------------ hostile cursors


@pytest.mark.parametrize(
    ("paging", "cursor"),
    [
        *((OPAQUE, cursor) for cursor in ("x" * 20_000, 5, ["a"])),
        *((KEY, cursor) for cursor in ("x" * 20_000, {"other": "shape"}, 5, ["a"], {"from": 5})),
    ],
)
async def test_a_cursor_of_unknown_shape_or_size_is_unreadable(paging: Paging, cursor: Any) -> None:
    listing, _ = walk(paging, page("1", cursor=cursor))
    with pytest.raises(errors.Unreadable, match=r"\$\.queryMore"):
        await ids(listing)


async def test_any_text_is_carried_back_as_it_came() -> None:
    hostile = "a\r\nX: y&limit=1#é\x00"
    listing, transport = walk(KEY, page("1", cursor=hostile), page("2"))
    assert await ids(listing) == ["1", "2"]
    assert transport.requests[1].target.endswith("?queryMore=a%0D%0AX%3A%20y%26limit%3D1%23%C3%A9%00")


async def test_collecting_too_many_asks_for_no_page_beyond_what_shows_it() -> None:
    script = {
        "": page("1", cursor="a"),
        "a": page("2", cursor="b"),
        "b": page("3", cursor="c"),
        "c": page("4"),
    }
    listing, transport = walk(KEY, lambda request: script[request.target.partition("queryMore=")[2]])
    with pytest.raises(errors.IncompleteListing, match="more than 1 items"):
        await listing.collect(limit=1)
    await asyncio.sleep(0)
    assert len(transport.requests) == 2


@pytest.mark.parametrize("stop_after", range(6))
async def test_what_was_sent_before_a_stop_in_mid_page_counts(stop_after: int) -> None:
    hits = {"value": 5, "relation": "eq"}
    script = {
        "": page("1", "2", cursor="a", hits=hits),
        "a": page("3", "4", cursor="b", hits=hits),
        "b": page("5", hits=hits),
    }

    def by_cursor(request: Request) -> Response:
        return script[request.target.partition("queryMore=")[2]]

    listing, _ = walk(KEY, by_cursor)
    await listing.take(stop_after)
    resumed, _ = walk(KEY, by_cursor, resume=listing.checkpoint().to_json())
    await ids(resumed)
    assert (resumed.report.sent, resumed.report.complete) == (5, True)


@pytest.mark.parametrize(
    ("pages", "over"),
    [
        ([["a", "b", "x"], ["y", "c", "d"]], [3, 2]),
        ([["a", "c", "x"]], [2]),
    ],
)
def test_what_was_handed_out_ends_where_its_last_item_stands_now(
    pages: list[list[str]], over: list[int]
) -> None:
    passing = Passing(3, "c")
    assert [passing.over(page, ends=False, strict=False) for page in pages] == over
    assert passing.left == passing.gone == 0


def test_of_a_list_of_others_nothing_was_handed_out() -> None:
    passing = Passing(3, "c")
    assert passing.over(["x", "y"], ends=True, strict=False) == 0
    assert (passing.left, passing.gone) == (0, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"read_ahead": 2}, "read_ahead is 0 or 1"),
        ({"restarts": -1}, "restarts is at least 0"),
        ({"page_size": 0}, "page_size is at least 1"),
        ({"overlap": -1}, "overlap is at least 0 seconds"),
        ({"overlap": math.inf}, "overlap is at least 0 seconds"),
        ({"resume": b"x", "follow": b"x"}, "takes either resume or follow"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"listThings: {said}$"):
        checked(Options(**options), listing_of(KEY))
