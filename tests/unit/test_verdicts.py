"""A list never says complete when it is not, whatever is stopped, resumed, started again or switched off."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from limio_async import errors
from limio_async.core.listing import Checkpoint
from limio_async.core.wire import SPECIES, Response
from tests.unit.helpers import KEY, OPAQUE, SCROLL, WHOLE, answer, page, scroll_page
from tests.unit.served import KINDS, LENGTHS, Served, names, taken
from tests.unit.test_listing import GONE, ids, walk

CURSORS = ("scroll", "key", "opaque")
GONE_AFTER = answer({"message": "No search context"}, 404)


def stops(count: int) -> tuple[int, int, int]:
    """The first, a middle and the last item."""
    return 1, count // 2 + 1, count


# ------------------------------------------------------------------ the verdict is part of the place


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("walked", ["items", "pages", "raw"])
@pytest.mark.parametrize("saved", ["after each page", "by the error", "after the error"])
async def test_a_short_list_stays_short_when_it_is_resumed(length: int, walked: str, saved: str) -> None:
    server = Served("scroll", names(2 * length), length, hits=999)
    listing: Any = server.listing()
    view = listing.raw() if walked == "raw" else listing
    kept = None
    with pytest.raises(errors.IncompleteListing) as caught:
        async for _ in view.pages() if walked == "pages" else view:
            kept = view.checkpoint().to_json()
    if saved == "by the error":
        kept = caught.value.checkpoint.to_json()
    elif saved == "after the error":
        kept = view.checkpoint().to_json()
    for _ in range(3):
        resumed = server.listing(resume=kept)
        with pytest.raises(errors.IncompleteListing, match=f"after {2 * length} items, 999 were promised"):
            await resumed.collect(limit=999)
        assert not resumed.report.complete
        kept = resumed.checkpoint().to_json()
        assert not Checkpoint.read(
            kept, operation="listThings", digest=resumed.checkpoint().digest, paging=SCROLL
        ).done


@pytest.mark.parametrize("kind", CURSORS)
@pytest.mark.parametrize("length", LENGTHS)
async def test_a_list_that_was_judged_well_is_done_from_its_last_item_on(kind: str, length: int) -> None:
    server = Served(kind, names(length), length)
    listing = server.listing()
    async for _ in listing.pages():
        pass
    assert listing.checkpoint().done
    asked = len(server.asked)
    resumed = server.listing(resume=listing.checkpoint().to_json())
    assert await ids(resumed) == []
    assert resumed.report.complete
    assert (await resumed).items == []
    assert await resumed.first() is None
    assert len(server.asked) == asked
    assert resumed.checkpoint() == listing.checkpoint()


async def test_the_last_page_is_judged_before_it_is_called_done() -> None:
    script = [answer({"hits": 100, "items": [{"id": "a"}], "queryMore": None})]
    listing, _ = walk(SCROLL, *script)
    async for _ in listing.pages():
        saved = listing.checkpoint()
        break
    assert (saved.ended, saved.done) == (True, False)
    resumed, _ = walk(SCROLL, *script, resume=saved.to_json())
    with pytest.raises(errors.IncompleteListing, match="after 1 items, 100 were promised"):
        await ids(resumed)


@pytest.mark.parametrize(("verify", "warnings"), [("warn", 1), ("off", 0)])
async def test_whoever_wants_no_error_is_told_by_the_report(
    verify: Any, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = Served("scroll", names(4), 2, hits=5)
    _, saved = await taken(server.listing(verify=verify))
    caplog.clear()
    resumed = server.listing(resume=saved, verify=verify)
    with caplog.at_level(logging.WARNING):
        assert await ids(resumed) == []
    assert len(caplog.records) == warnings
    assert not resumed.report.complete
    assert resumed.report.hits == 5


@pytest.mark.parametrize(("verify", "warnings"), [("raise", 1), ("warn", 1), ("off", 0)])
async def test_where_nothing_is_promised_for_certain_a_fault_is_a_warning_at_most(
    verify: Any, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    listing, _ = walk(msgspec.structs.replace(OPAQUE, hits="hits"), page("1", hits=3), verify=verify)
    with caplog.at_level(logging.WARNING):
        assert await ids(listing) == ["1"]
    assert (len(caplog.records), listing.report.complete) == (warnings, False)


async def test_at_the_end_of_a_list_its_pages_are_remembered_no_longer() -> None:
    listing, _ = walk(KEY, page("1", cursor="a"), page("2", cursor="b"), page("3"))
    kept = []
    async for _ in listing.pages():
        kept.append(len(listing.checkpoint().pages))
    assert kept == [1, 2, 0]
    assert listing.checkpoint().pages == ()


async def test_what_was_promised_once_is_not_taken_back_by_a_later_page() -> None:
    listing, _ = walk(SCROLL, scroll_page("1", hits=3), scroll_page("2", hits=2), scroll_page(hits=2))
    with pytest.raises(errors.IncompleteListing) as caught:
        await listing.collect(limit=10)
    assert (caught.value.expected, caught.value.seen) == (3, 2)


async def test_hits_survive_a_resume_though_no_later_page_tells_them() -> None:
    for kind in ("scroll", "opaque"):
        server = Served(kind, names(6), 2, hits=9)
        seen, saved = await taken(server.listing(), 3)

        def silent(number: int, body: dict[str, Any]) -> dict[str, Any]:
            return {**body, "hits": None}

        server.edit = silent
        resumed = server.listing(resume=saved, verify="warn")
        assert seen + await ids(resumed) == names(6)
        assert (resumed.report.hits, resumed.report.complete) == (9, False)


# ------------------------------------------------------------------ no recovery switches a check off

CHOICES = [
    {"unique": unique, "on_ambiguous": ambiguous, "verify": verify, "read_ahead": ahead}
    for unique, ambiguous, verify, ahead in itertools.product(
        (False, True), ("raise", "restart"), ("raise", "warn", "off"), (0, 1)
    )
]


@pytest.mark.parametrize("options", CHOICES, ids=str)
@pytest.mark.parametrize("lost", [GONE_AFTER, errors.AnswerLost("gone")], ids=["expired", "lost"])
async def test_a_catalog_that_was_rebuilt_when_its_scroll_was_lost_is_not_mixed(
    options: Any, lost: Any
) -> None:
    script = [
        scroll_page("a", "b", hits=4), lost,
        scroll_page("b", "c", hits=4, commit="c2"), scroll_page("e", "f", hits=4, commit="c2"),
        scroll_page(hits=4, commit="c2"),
    ]  # fmt: skip
    listing, _ = walk(SCROLL, *script, **options)
    seen: list[str] = []
    with pytest.raises((errors.SnapshotChanged, errors.IncompleteListing)) as caught:
        async for item in listing:
            seen.append(item.id)
    assert seen == ["a", "b"]
    assert not listing.report.complete
    if isinstance(caught.value, errors.SnapshotChanged):
        assert listing.report.commit_ids == ("c1", "c2")
    else:
        assert options["on_ambiguous"] == "raise"


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
async def test_a_restart_over_a_rebuilt_catalog_names_both_and_is_never_complete(
    unique: bool, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = names(3 * length), names(4 * length)[length:]
    server = Served("scroll", old, length, commit="c1")

    def rebuilt(number: int, body: dict[str, Any]) -> Any:
        if number == 2 and server.commit == "c1":
            server.ids, server.commit, server.hits = new, "c2", len(new)
            return GONE_AFTER
        return body

    server.edit = rebuilt
    listing = server.listing(unique=unique, on_snapshot_change="restart")
    seen, saved = await taken(listing)
    assert seen == names(4 * length)
    assert listing.report.commit_ids == ("c1", "c2")
    assert not listing.report.complete
    assert "come from 2 catalogs" in caplog.text
    assert (saved.ended, saved.done) == (True, False)
    with pytest.raises(errors.SnapshotChanged, match="come from 2 catalogs"):
        await ids(server.listing(resume=saved))


@pytest.mark.parametrize("verify", ["raise", "warn", "off"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("which", range(3))
async def test_a_walk_that_saw_two_catalogs_is_not_resumed(verify: Any, length: int, which: int) -> None:
    """Whatever was allowed: a checkpoint says that the items before it come from two catalogs, or are of the first."""
    server = Served("scroll", names(4 * length), length)

    def rebuilt(number: int, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "commitId": "c1" if number < 3 else "c2"}

    server.edit = rebuilt
    listing = server.listing(verify=verify)
    stop = 2 * length + stops(length)[which]
    if verify == "raise":
        with pytest.raises(errors.SnapshotChanged) as caught:
            await taken(listing, stop)
        saved = listing.checkpoint()
        assert caught.value.checkpoint.commit_ids == saved.commit_ids == ("c1",)
        server.edit = lambda number, body: body  # the catalog of then is there again
        resumed = server.listing(resume=saved.to_json())
        assert await ids(resumed) == names(4 * length)[2 * length :]
        assert resumed.report.complete
    else:
        seen, saved = await taken(listing, stop)
        assert (len(seen), saved.commit_ids) == (stop, ("c1", "c2"))
        with pytest.raises(errors.ForeignCheckpoint, match="rebuilt during that walk"):
            server.listing(resume=saved.to_json(), verify=verify)


@pytest.mark.parametrize("verify", ["raise", "warn", "off"])
@pytest.mark.parametrize("unique", [False, True])
async def test_a_checkpoint_is_not_resumed_over_another_catalog(verify: Any, unique: bool) -> None:
    server = Served("scroll", names(6), 2)
    _, saved = await taken(server.listing(), 3)
    server.commit = "c2"
    resumed = server.listing(resume=saved, verify=verify, unique=unique)
    with pytest.raises(errors.SnapshotChanged, match="rebuilt before page 1"):
        await ids(resumed)
    assert resumed.report.commit_ids == ("c1", "c2")
    assert resumed.checkpoint() == saved


@pytest.mark.parametrize("stop", range(1, 5))
async def test_a_walk_that_came_back_in_another_order_is_resumed_without_doubling(stop: int) -> None:
    script = [
        page("1", "2", cursor="a"),
        errors.AnswerLost("gone"),
        page("3", "1", cursor="b"),
        page("2", "4"),
    ]
    listing, _ = walk(OPAQUE, *script, unique=True, on_ambiguous="restart", read_ahead=0)
    seen, saved = await taken(listing, stop)
    again = (
        [page("3", "1", cursor="b"), page("2", "4")]
        if stop > 2
        else [page("1", "2", cursor="a"), page("3", "4")]
    )
    if saved.scattered:
        with pytest.raises(errors.ForeignCheckpoint, match="in another order"):
            walk(OPAQUE, *again, resume=saved.to_json(), unique=True)
    else:
        resumed, _ = walk(OPAQUE, *again, resume=saved.to_json(), unique=True)
        seen += await ids(resumed)
    assert len(seen) == len(set(seen))
    assert saved.scattered is (stop == 3)


async def test_a_walk_in_another_order_is_not_started_again_by_count() -> None:
    nameless = answer({"items": [{"id": "3"}, {"n": 1}, {"id": "1"}], "queryMore": "b"})
    script = [
        page("1", "2", cursor="a"),
        errors.AnswerLost("gone"),
        nameless,
        errors.AnswerLost("gone"),
        page("1", "2", "3"),
    ]
    listing, _ = walk(OPAQUE, *script, unique=True, on_ambiguous="restart", read_ahead=0)
    seen: list[bytes] = []
    with pytest.raises(errors.IncompleteListing, match="page 2 was lost"):
        async for item in listing.raw():
            seen.append(item)
    assert seen == [b'{"id":"1"}', b'{"id":"2"}', b'{"id":"3"}', b'{"n":1}']


# ------------------------------------------------------------------ a page that comes twice


@pytest.mark.parametrize("kind", CURSORS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("text", ["same", "other"])
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("resumed", [False, True])
async def test_a_page_that_comes_twice_is_never_complete(
    kind: str, length: int, text: str, unique: bool, resumed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = Served(kind, names(5 * length), length)
    server.text = text

    def doubled(number: int, body: dict[str, Any]) -> dict[str, Any]:
        before = [{"id": one} for one in names(5 * length)[2 * length : 3 * length]]
        return {**body, "items": before} if server.asked[-1][0] == 3 * length else body

    server.edit = doubled
    listing = server.listing(unique=unique)
    if resumed and kind == "key":
        _, saved = await taken(listing, 3 * length)
        listing = server.listing(unique=unique, resume=saved.to_json())
    if kind == "opaque":
        await ids(listing)
        assert "of them twice" in caplog.text
    else:
        with pytest.raises(errors.IncompleteListing, match=f"{length} of them twice"):
            await ids(listing)
    assert listing.report.repeated == length
    assert not listing.report.complete
    again = server.listing(resume=listing.checkpoint().to_json(), verify="off")
    assert await ids(again) == []
    assert (again.report.repeated, again.report.complete) == (length, False)


@pytest.mark.parametrize("kind", CURSORS)
@pytest.mark.parametrize("distance", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [2, 50])
async def test_a_page_that_comes_again_later_is_noticed_too(kind: str, distance: int, length: int) -> None:
    server = Served(kind, names(10 * length), length)

    def again(number: int, body: dict[str, Any]) -> dict[str, Any]:
        first = (number - distance - 1) * length
        return (
            {**body, "items": [{"id": one} for one in names(10 * length)[first : first + length]]}
            if number == 9
            else body
        )

    server.edit = again
    listing = server.listing(verify="warn")
    await ids(listing)
    assert (listing.report.repeated, listing.report.complete) == (length, False)


async def test_pages_of_one_item_count_as_twice_only_next_to_each_other() -> None:
    apart, _ = walk(KEY, page("1", cursor="a"), page("2", cursor="b"), page("1"))
    assert await ids(apart) == ["1", "2", "1"]
    assert apart.report.complete
    side_by_side, _ = walk(KEY, page("1", cursor="a"), page(cursor="b"), page("1"), verify="warn")
    assert await ids(side_by_side) == ["1", "1"]
    assert not side_by_side.report.complete


@pytest.mark.parametrize("rounds", [2, 3])
@pytest.mark.parametrize("length", [1, 2])
async def test_an_opaque_list_that_goes_round_for_a_while_is_never_complete(rounds: int, length: int) -> None:
    def numbered(n: int, cursor: str | None) -> Response:
        return page(*(f"{n}.{m}" for m in range(length)), cursor=cursor)

    circle = [numbered(1, "b"), numbered(2, "a")] * rounds
    listing, _ = walk(
        OPAQUE, numbered(0, "a"), *circle, numbered(1, "b"), numbered(2, "c"), numbered(3, None)
    )
    try:
        await ids(listing)
    except errors.CursorLoop:
        assert not listing.report.ended
    assert not listing.report.complete


async def test_pages_that_begin_alike_are_not_the_same_page() -> None:
    def long(end: str) -> Response:
        items = [{"id": "1", "text": "x" * 9_000, "end": end}]
        return answer({"items": [*items, *items], "queryMore": None if end == "c" else end})

    listing, _ = walk(KEY, long("a"), long("b"), long("c"))
    assert len(await ids(listing)) == 6
    assert listing.report.complete


@pytest.mark.parametrize("size", [1, 9_000])
async def test_what_follows_the_items_does_not_make_a_page_another(size: int) -> None:
    def sent(n: int) -> Response:
        items = [{"id": "1", "text": "x" * size}, {"id": "2"}]
        return answer(
            {"items": items, "customers": [{"id": f"cus-{n}"}], "queryMore": str(n) if n < 2 else None}
        )

    listing, _ = walk(KEY, sent(0), sent(1), sent(2), verify="off")
    await ids(listing)
    assert listing.report.repeated == 4


@pytest.mark.parametrize("size", [1, 9_000])
@pytest.mark.parametrize("first", [{}, {"customers": [{"id": "c"}]}, {"header": {"items": [1]}}])
@pytest.mark.parametrize("around", ["before", "after", "nested", "escaped", "text"])
async def test_a_page_is_the_same_whatever_stands_around_its_items(
    size: int, first: Any, around: str
) -> None:
    items = [{"id": "1", "text": "x" * size}, {"id": "2", "list": [1]}]

    def sent(n: int) -> Response:
        fields: dict[str, dict[str, Any]] = {
            "before": {"customers": [n], "items": items},
            "after": {"items": items, "customers": [{"id": f"cus-{n}"}], "more": {"list": [n]}},
            "nested": {"header": {"items": [n]}, "items": items},
            "escaped": {"items": items, "tail": ["]", n]},
            "text": {"note": '"items": [' + str(n), "items": items, "end": f"]{n}"},
        }
        return answer({**fields[around], "queryMore": str(n) if n < 3 else None})

    listing, _ = walk(
        KEY,
        answer({"items": [{"id": "0"}], **first, "queryMore": "0"}),
        sent(1),
        sent(2),
        sent(3),
        verify="off",
    )
    await ids(listing)
    assert (listing.report.repeated, listing.report.complete) == (4, False)


async def test_a_key_that_only_one_page_has_costs_no_item() -> None:
    pages = [
        answer({"items": [{"id": str(n)}], f"key{n}": n, "queryMore": str(n) if n < 99 else None})
        for n in range(100)
    ]
    listing, _ = walk(KEY, *pages)
    assert await ids(listing) == [str(n) for n in range(100)]
    assert listing.report.complete


@pytest.mark.parametrize("options", [{}, {"unique": True}, {"on_snapshot_change": "restart"}], ids=str)
@pytest.mark.parametrize("paging", [SCROLL, OPAQUE], ids=["scroll", "opaque"])
async def test_an_item_that_was_handed_out_twice_is_never_complete(options: Any, paging: Any) -> None:
    """Though the pass after a restart is all right."""
    cursor: Any = {"from": "s", "alias": "a"} if paging is SCROLL else "a"
    last = page(hits=3, **({"cursor": cursor} if paging is SCROLL else {}))
    script = [
        page("1", "1", "2", "3", cursor=cursor, hits=3), errors.AnswerLost("gone"),
        page("1", "2", "3", cursor=cursor, hits=3), last,
    ]  # fmt: skip
    listing, _ = walk(paging, *script, on_ambiguous="restart", verify="off", read_ahead=0, **options)
    try:
        seen = await ids(listing)
    except errors.SnapshotChanged:  # what was passed over by count is not what was handed out
        seen = []
    assert listing.report.complete is (seen == ["1", "2", "3"])


async def test_honest_equal_pages_of_items_without_ids_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nameless = answer({"items": [{"name": "x"}, {"name": "x"}], "queryMore": "a"})
    last = answer({"items": [{"name": "x"}, {"name": "x"}], "queryMore": None})
    listing, _ = walk(OPAQUE, nameless, last)
    assert len([one async for one in listing.raw()]) == 4
    assert "came twice" in caplog.text
    doubled, _ = walk(OPAQUE, page("1", "2", cursor="a"), page("1", "2"))
    assert await ids(doubled) == ["1", "2", "1", "2"]
    assert not doubled.report.complete


async def test_a_restart_begins_its_own_book_and_forgets_no_page_that_came_twice() -> None:
    pages = [scroll_page("a", "b", hits=6), GONE, *(scroll_page(*one, hits=6) for one in (("a", "b"), ("a", "b"), ("e", "f"))), scroll_page(hits=6)]  # fmt: skip
    for options in ({}, {"unique": True}, {"unique": True, "on_snapshot_change": "restart"}):
        listing, _ = walk(SCROLL, *pages, read_ahead=0, verify="off", **options)
        await ids(listing)
        assert (listing.report.repeated, listing.report.complete) == (2, False)
    honest = [scroll_page("a", "b", hits=4), GONE, scroll_page("a", "b", hits=4), scroll_page("c", "d", hits=4), scroll_page(hits=4)]  # fmt: skip
    for unique in (False, True):
        listing, _ = walk(SCROLL, *honest, read_ahead=0, unique=unique)
        assert await ids(listing) == ["a", "b", "c", "d"]
        assert listing.report.complete


async def test_a_checkpoint_holds_no_more_than_64_pages() -> None:
    server = Served("key", names(100), 1)
    _, saved = await taken(server.listing(), 99)
    assert len(saved.pages) == 64
    assert len(msgspec.structs.replace(saved, trail=None).to_json()) < 2_000
    assert len(saved.to_json()) < 2_000 + 16 * 99  # for each id within the overlap


# ------------------------------------------------------------------ resuming, also with other page sizes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("then", [1, 2, 3, 7, 50, 200])
@pytest.mark.parametrize("unique", [False, True])
async def test_every_item_comes_once_whatever_the_pages_are_when_resumed(
    kind: str, length: int, which: int, then: int, unique: bool
) -> None:
    count = 2 * length + 1
    server = Served(kind, names(count), length)
    options: dict[str, Any] = {} if kind == "whole" else {"page_size": length}
    seen, saved = await taken(server.listing(unique=unique, **options), stops(count)[which])
    resumed = server.listing(unique=unique, resume=saved.to_json(), **(options and {"page_size": then}))
    assert seen + await ids(resumed) == names(count)
    assert resumed.report.complete
    assert resumed.report.items == count


@pytest.mark.parametrize("kind", CURSORS)
@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    "too_large", [answer({}, 413), errors.Unreadable("large", operation="x", too_large=True)]
)
async def test_every_item_comes_once_where_the_first_page_has_become_too_large(
    kind: str, which: int, too_large: Any
) -> None:
    server = Served(kind, names(25), 10)
    seen, saved = await taken(server.listing(page_size=10), stops(10)[which] + 10)

    def limited(number: int, body: dict[str, Any]) -> Any:
        if server.asked[-1][1] <= 3:
            return body
        server._scrolls.clear()
        if isinstance(too_large, Exception):
            raise too_large
        return too_large

    server.edit = limited
    resumed = server.listing(page_size=10, resume=saved.to_json())
    assert seen + await ids(resumed) == names(25)
    assert resumed.report.complete


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("then", [1, 2, 5])
async def test_a_key_list_whose_mark_is_gone_comes_again_rather_than_never(
    length: int, then: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = Served("key", names(9), 5)
    seen, saved = await taken(server.listing(page_size=5), 5 + length)
    server.ids[4 + length] = "changed"
    resumed = server.listing(page_size=then, resume=saved.to_json())
    later = await ids(resumed)
    assert set(seen) | set(later) >= set(names(9)) - {seen[-1]}
    assert later == server.ids[5:]
    assert not resumed.report.complete
    assert "has changed" in caplog.text


@pytest.mark.parametrize("new", [1, 2, 3])
@pytest.mark.parametrize("then", [1, 2, 5, 50])
@pytest.mark.parametrize("stop", [3, 4])
async def test_a_key_list_that_is_newest_first_is_resumed_behind_its_mark(
    new: int, then: int, stop: int
) -> None:
    server = Served("key", names(9), 5)
    seen, saved = await taken(server.listing(page_size=5), stop)
    server.ids = [*(f"new{n}" for n in range(new)), *server.ids]
    resumed = server.listing(page_size=then, resume=saved.to_json())
    assert seen + await ids(resumed) == names(9)
    assert resumed.report.complete


@pytest.mark.parametrize("then", [1, 2, 5, 50])
async def test_a_key_list_that_lost_items_before_its_mark_is_resumed_behind_it(then: int) -> None:
    server = Served("key", names(9), 5)
    seen, saved = await taken(server.listing(page_size=5), 4)
    del server.ids[1:3]
    resumed = server.listing(page_size=then, resume=saved.to_json())
    assert seen + await ids(resumed) == names(9)
    assert resumed.report.complete


async def test_a_page_that_came_twice_is_an_error_though_the_list_has_changed_too() -> None:
    pages = {"": page("1", "2", cursor="a"), "a": page("1", "2")}
    listing, _ = walk(KEY, lambda request: pages[request.target.partition("queryMore=")[2]])
    _, saved = await taken(listing, 3)
    pages["a"] = page("3")
    resumed, _ = walk(KEY, lambda request: pages[request.target.partition("queryMore=")[2]], resume=saved)
    with pytest.raises(errors.IncompleteListing, match="2 of them twice"):
        await ids(resumed)


async def test_equal_items_without_ids_are_counted_when_a_walk_is_resumed() -> None:
    def nameless(request: Any) -> Response:
        at = int(request.target.partition("queryMore=")[2].partition("&")[0] or 0)
        size = int(request.target.partition("limit=")[2].partition("&")[0])
        end = min(6, at + size)
        return answer({"items": [{"n": "same"}] * (end - at), "queryMore": str(end) if end < 6 else None})

    for then in (1, 2, 3, 6):
        listing, _ = walk(KEY, nameless, page_size=4, verify="off")
        raw = listing.raw()
        assert len(await raw.take(3)) == 3
        resumed, _ = walk(KEY, nameless, page_size=then, resume=raw.checkpoint(), verify="off")
        assert len([one async for one in resumed.raw()]) == 3


@pytest.mark.parametrize("now", [["new", *names(6)], names(6)[1:], names(2), ["i1", "i0", *names(6)[2:]]])
@pytest.mark.parametrize("stop", [2, 3])
async def test_an_opaque_list_that_changed_is_not_resumed_in_the_dark(now: list[str], stop: int) -> None:
    server = Served("opaque", names(6), 2)
    seen, saved = await taken(server.listing(), stop)
    assert saved.cursor is None
    server.ids = now
    resumed = server.listing(resume=saved.to_json())
    if now[:stop][-1:] == seen[-1:] and len(now) >= stop:
        seen += await ids(resumed)
        assert len(seen) == len(set(seen))
    else:
        with pytest.raises(errors.SnapshotChanged, match="not the one|shorter"):
            await ids(resumed)


# ------------------------------------------------------------------ nothing is taken by what fails


@pytest.mark.parametrize("kind", CURSORS)
@pytest.mark.parametrize("how", ["take", "collect"])
@pytest.mark.parametrize("length", LENGTHS)
async def test_what_fails_half_way_has_taken_nothing(kind: str, how: str, length: int) -> None:
    server = Served(kind, names(3 * length), length)
    faults = [answer({"message": "no"}, 403)]
    server.edit = lambda number, body: faults.pop() if number == 3 and faults else body
    listing = server.listing()
    assert await listing.first() is not None
    with pytest.raises(errors.Forbidden):
        await (listing.take(3 * length) if how == "take" else listing.collect(limit=999))
    assert listing.report.items == 1
    assert (
        await listing.collect(limit=999)
        == [type(one)(id=one.id) for one in await server.listing().collect(limit=999)][1:]
    )
    assert listing.report.complete


@pytest.mark.parametrize("hits", [3, "3", {"value": "3"}, {"value": 3, "relation": "eq"}, 3.0])
async def test_what_failed_still_tells_what_was_promised(hits: Any) -> None:
    listing, _ = walk(SCROLL, page("1", "2", hits=hits))
    with pytest.raises(errors.IncompleteListing, match="3 were promised"):
        await listing.collect(limit=99)
    assert (listing.report.hits, listing.report.exact, listing.report.items) == (3, True, 0)


async def test_whoever_cancels_take_has_taken_nothing() -> None:
    waiting = asyncio.Event()

    async def never() -> Response:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    listing, transport = walk(KEY, page("i0", "i1", cursor="2"), lambda request: never())
    task = asyncio.create_task(listing.take(4))
    await waiting.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    transport.script[:] = [Served("key", names(6), 2)]
    assert listing.checkpoint().items == 0
    assert await ids(listing) == names(6)


@pytest.mark.parametrize("how", ["take", "collect"])
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(
    "options", [{"verify": "warn"}, {"verify": "off"}, {"on_snapshot_change": "restart"}], ids=str
)
async def test_what_fails_in_a_walk_over_two_catalogs_tells_its_own_error(
    how: str, cancelled: bool, options: Any
) -> None:
    two = [scroll_page("3", commit="c2"), scroll_page("4", commit="c2")]
    if "verify" not in options:  # what the restart finds
        two = [
            scroll_page("3", commit="c2"),
            scroll_page("1", "3", commit="c2"),
            scroll_page("4", commit="c2"),
        ]
    waiting = asyncio.Event()

    async def never() -> Response:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    fails: Any = (lambda request: never()) if cancelled else answer({"message": "no"}, 403)
    listing, _ = walk(SCROLL, scroll_page("1", "2"), *two, fails, read_ahead=0, **options)
    await listing
    seen = [item.id for item in await listing.take(3)]
    assert seen == ["1", "2", "3"]
    work = asyncio.create_task(listing.take(9) if how == "take" else listing.collect(limit=99))
    if cancelled:
        await waiting.wait()
        work.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else errors.Forbidden):
        await work
    assert listing.report.items == 3
    with pytest.raises(errors.SnapshotChanged, match="rebuilt during that walk"):
        await ids(listing)


@pytest.mark.parametrize("how", ["take", "collect"])
async def test_a_page_that_was_cut_short_in_take_is_walked_again_where_that_is_wanted(how: str) -> None:
    waiting = asyncio.Event()

    async def never() -> Response:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    again = [scroll_page("1", "2", hits=3), scroll_page("3", hits=3), scroll_page(hits=3)]
    script = [scroll_page("1", "2", hits=3), lambda request: never(), *again]
    listing, _ = walk(SCROLL, *script, on_ambiguous="restart", read_ahead=0)
    work = asyncio.create_task(listing.take(3) if how == "take" else listing.collect(limit=9))
    await waiting.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert await ids(listing) == ["1", "2", "3"]
    assert listing.report.complete


# ------------------------------------------------------------------ ends that are none

NO_END = [
    {"items": None, "error": {"message": "timed out"}},
    {"items": [], "errorMessage": "Task timed out"},
    {"items": None, "errorMessage": "Task timed out"},
    {"items": [], "errors": [{"message": "shard failed"}]},
    {"items": None, "message": "Internal server error"},
    {"items": None, "errors": "x", "queryMore": None},
    {"errorMessage": "Task timed out"},
    {"items": [], "Error": {"Code": "AccessDenied"}},
    {"items": [], "ErrorMessage": "Task timed out"},
    {"items": [], "fault": {"faultstring": "no quota"}},
    {"items": [], "success": False},
    {"items": [], "success": "False"},
    {"items": [], "ok": False},
    {"items": [], "statusCode": 502},
    {"items": [], "status": "503"},
    {"items": None, "Message": "Internal server error"},
    {"items": None, "detail": "upstream"},
]


@pytest.mark.parametrize("body", NO_END, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 2])
async def test_an_error_in_the_place_of_items_is_no_end(body: dict[str, Any], kind: str, number: int) -> None:
    number = 1 if kind == "whole" else number
    sent = Served(kind, names(4), 2, hits=None)
    sent.edit = lambda at, page: body if at == number else page
    listing = sent.listing()
    with pytest.raises((errors.Unreadable, errors.IncompleteListing)) as caught:
        await ids(listing)
    assert not listing.report.complete
    assert not listing.report.ended
    lost = number > 1 and sent.paging.species.advances
    assert isinstance(caught.value, errors.IncompleteListing if lost else errors.Unreadable)


@pytest.mark.parametrize(
    "body",
    [
        b'{"items": [' + b" " * 20 + b'], "error": "down"}',
        b'{"items": null, "errors": [ {} ]}',
        b'{"items": [\n\n], "errorMessage": "x"}',
        b'{"errors": {"a": 1}, "items": [ ]}',
        b'{"items": [], "error": 0}',
    ],
)
async def test_blanks_do_not_hide_an_error(body: bytes) -> None:
    listing, _ = walk(KEY, answer(body))
    with pytest.raises(errors.Unreadable, match="tells of an error") as caught:
        await ids(listing)
    assert (caught.value.operation, caught.value.body) == ("listThings", body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"items": [ ], "errors": [ ]}',
        b'{"items": [], "error": { }}',
        b'{"items": [\n], "errorMessage": " "}',
    ],
)
async def test_an_error_that_is_blank_is_none(body: bytes) -> None:
    listing, _ = walk(KEY, answer(body))
    assert await ids(listing) == []
    assert listing.report.complete


@pytest.mark.parametrize(
    "cursor",
    [
        {"from": 0, "alias": "x"},
        {"from": False},
        {"from": []},
        {"from": {}},
        {"next": 0},
        {"from": 5, "alias": "x"},
    ],
    ids=str,
)
async def test_a_cursor_of_unknown_shape_is_no_end(cursor: Any) -> None:
    listing, _ = walk(SCROLL, page("1", cursor=cursor, hits=None))
    with pytest.raises(errors.Unreadable, match="unknown shape"):
        await ids(listing)


@pytest.mark.parametrize(
    "cursor", [None, "", {}, {"from": None, "alias": "x"}, {"from": "", "alias": ""}], ids=str
)
async def test_a_cursor_that_says_nothing_is_the_end(cursor: Any) -> None:
    listing, _ = walk(SCROLL, answer({"items": [{"id": "1"}], "queryMore": cursor}))
    assert await ids(listing) == ["1"]
    assert listing.report.complete


@pytest.mark.parametrize("header", [{"commitId": ""}, {"commitId": None}, {}, None])
async def test_a_commit_id_that_says_nothing_is_none(header: Any) -> None:
    first = page("1", cursor={"from": "s"}, commitId="", header={"commitId": "c1"})
    listing, _ = walk(SCROLL, first, page("2", cursor={"from": "s"}, header=header), page())
    assert await ids(listing) == ["1", "2"]
    assert listing.report.commit_ids == ("c1",)


BOUND = {"value": 1, "relation": "gte"}


@pytest.mark.parametrize(("first", "then"), [(1, BOUND), (BOUND, 1)])
async def test_a_count_outweighs_a_lower_bound(first: Any, then: Any) -> None:
    pages = [page("1", cursor={"from": "s"}, hits=first), page("2", cursor={"from": "s"}, hits=then), page()]
    listing, _ = walk(SCROLL, *pages, verify="off")
    assert await ids(listing) == ["1", "2"]
    assert (listing.report.exact, listing.report.complete) == (True, False)


@pytest.mark.parametrize(
    "beside",
    [
        {"error": None},
        {"errors": []},
        {"errorMessage": ""},
        {"message": "no results"},
        {"Message": "no results"},
        {"detail": "of nothing"},
        {"errorCode": 0},
        {"success": True},
        {"status": 200},
        {"statusCode": "200"},
        {"status": "active"},
    ],
)
async def test_an_honest_empty_list_is_one(beside: dict[str, Any]) -> None:
    listing, _ = walk(KEY, answer({"items": [], **beside}))
    assert await ids(listing) == []
    assert listing.report.complete


async def test_items_beside_an_error_are_items() -> None:
    listing, _ = walk(KEY, answer({"items": [{"id": "1"}], "error": "one shard failed"}))
    assert await ids(listing) == ["1"]


# ------------------------------------------------------------------ checkpoints of the release before

SAVED = Path(__file__).parent.parent / "data/checkpoints"


@pytest.mark.parametrize(
    ("name", "kind", "left"),
    [
        ("key_at_the_top", "key", ["1", "2", "3", "4", "5"]),
        ("key_in_the_middle", "key", ["4", "5"]),
        ("key_between_pages", "key", ["3", "4", "5"]),
        ("scroll_in_the_middle", "scroll", ["4", "5"]),
        ("whole_in_the_middle", "whole", ["3", "4", "5"]),
    ],
)
async def test_a_checkpoint_of_version_1_is_taken_over(name: str, kind: str, left: list[str]) -> None:
    saved = (SAVED / f"{name}.json").read_text()
    by_key = {"": page("1", "2", cursor="a"), "a": page("3", "4", cursor="b"), "b": page("5")}
    scripts: dict[str, list[Any]] = {
        "key": [lambda request: by_key[request.target.partition("queryMore=")[2]]],
        "scroll": [scroll_page("1", "2", hits=5), scroll_page("3", "4", "5", hits=5), scroll_page(hits=5)],
        "whole": [page("1", "2", "3", "4", "5")],
    }
    stored = msgspec.json.decode(saved, type=Checkpoint)  # as a file of another format holds it
    for kept in (saved, stored):
        listing, _ = walk(KINDS[kind] if kind != "whole" else WHOLE, *scripts[kind], resume=kept)
        assert await ids(listing) == left
        assert listing.report.complete
        assert listing.checkpoint().version == 2


async def test_a_checkpoint_of_version_1_counts_what_was_sent_since_its_cursor() -> None:
    saved = msgspec.json.decode((SAVED / "key_in_the_middle.json").read_text(), type=Checkpoint)
    saved = msgspec.structs.replace(saved, items=1, skip=1)
    listing, _ = walk(KEY, page("3", "4", "5", hits={"value": 3, "relation": "eq"}), resume=saved)
    assert await ids(listing) == ["4", "5"]
    assert (listing.report.sent, listing.report.complete) == (3, True)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("key_done", "key", "before the walk was judged: walk again from the top"),
        ("scroll_done", "scroll", "before the walk was judged: walk again from the top"),
        ("scroll_mixed", "scroll", "rebuilt during that walk: walk again from the top"),
        ("opaque_in_the_middle", "opaque", "its cursor cannot be stored: walk again from the top"),
    ],
)
def test_a_checkpoint_of_version_1_that_proves_nothing_is_refused(name: str, kind: str, said: str) -> None:
    with pytest.raises(errors.ForeignCheckpoint, match=said):
        walk(KINDS[kind], page("1"), resume=(SAVED / f"{name}.json").read_bytes())


async def test_a_scroll_of_version_1_is_not_resumed_over_another_catalog() -> None:
    saved = (SAVED / "scroll_in_the_middle.json").read_text()
    listing, _ = walk(SCROLL, scroll_page("1", "2", "3", commit="c2"), scroll_page(commit="c2"), resume=saved)
    with pytest.raises(errors.SnapshotChanged):
        await ids(listing)


# ------------------------------------------------------------------ one table


def test_what_a_kind_of_cursor_implies_stands_in_one_table() -> None:
    assert set(SPECIES) == {"scroll", "key", "opaque", "whole"}
    opaque = SPECIES["opaque"]
    assert (opaque.advances, opaque.durable, opaque.promises) == (True, False, False)


async def test_a_walk_that_was_resumed_goes_on_into_another_catalog_where_that_is_allowed() -> None:
    script = (scroll_page("1", "2"), scroll_page("3", commit="c2"), scroll_page(commit="c2"))
    listing, _ = walk(SCROLL, *script)
    await listing
    assert len(await listing.take(1)) == 1
    resumed, _ = walk(SCROLL, *script, resume=listing.checkpoint(), verify="warn")
    assert await ids(resumed) == ["2", "3"]
    assert (resumed.report.commit_ids, resumed.report.complete) == (("c1", "c2"), False)
