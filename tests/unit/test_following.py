"""What was created since: nothing is missed that appears within the overlap, nothing comes twice."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async import errors
from limio_async.auth import NoAuth
from limio_async.core.listing import Listing
from limio_async.core.listing import trail as trails
from limio_async.core.listing.checkpoint import Checkpoint, Trail
from limio_async.core.listing.following import followed
from limio_async.core.listing.rows import Row, Rows, instant, name_of, rows_of
from limio_async.core.session import Session
from limio_async.core.wire import Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, OPAQUE, SCROLL, WHOLE, Item, answer, listing_of

OVERLAP = 100.0
DIRECTIONS = ("rising", "falling")
LENGTHS = (1, 2, 50)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def text_of(at: int, form: int = 0) -> str:
    """A time in one of the forms that the API uses."""
    when = BEGIN + timedelta(seconds=at)
    return (
        when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        when.isoformat(),
        when.replace(tzinfo=None).isoformat(),
    )[form]


class Store:
    """Objects ordered by `created`, behind a cursor that is a place in the order: it stays good for ever."""

    def __init__(self, direction: str, length: int, *, form: Callable[[int], int] = lambda at: 0) -> None:
        self.sign = 1 if direction == "rising" else -1
        self.length = length
        self.form = form
        self.rows: dict[str, int] = {}
        self.numbers = itertools.count()
        self.asked: list[str] = []
        self.most = 10_000

    def add(self, *created: int) -> list[str]:
        names = [f"{at}-{next(self.numbers)}" for at in created]
        self.rows |= dict(zip(names, created, strict=True))
        return names

    def ordered(self) -> list[tuple[tuple[int, str], str]]:
        return sorted(((self.sign * at, name), name) for name, at in self.rows.items())

    def row(self, name: str) -> Any:
        at = self.rows[name]
        return {"id": name, "created": text_of(at, self.form(at))}

    def __call__(self, request: Request) -> Response:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        cursor = query.get("queryMore", "")
        self.asked.append(cursor)
        size = int(query.get("limit") or self.length)
        if size > self.most:
            return answer({}, 413)
        after = None
        if cursor:
            begin, _, name = cursor.partition("/")
            after = (self.sign * int(begin), name)
        left = [(key, name) for key, name in self.ordered() if after is None or key > after]
        page, more = left[:size], len(left) > size
        body: dict[str, Any] = {"items": [self.row(name) for _, name in page]}
        if more:
            (at, name), _ = page[-1]
            body["queryMore"] = f"{self.sign * at}/{name}"
        return answer(body)

    def listing(self, **options: Any) -> Listing[Item]:
        """The list, in a new client."""
        session = Session(ScriptedTransport(self), NoAuth(), attempts=1)
        options.setdefault("overlap", OVERLAP)
        return session.list(listing_of(KEY), {}, **options)


async def ids(listing: Listing[Item]) -> list[str]:
    return [item.id async for item in listing]


async def walked(listing: Listing[Item]) -> str:
    await ids(listing)
    return listing.checkpoint().to_json()


async def torn(store: Store, saved: str, stop: int, **options: Any) -> tuple[list[str], str]:
    """Follow, killed after each *stop* items and resumed in a new client."""
    listing, seen = store.listing(follow=saved, **options), list[str]()
    while True:
        got = 0
        async for item in listing:
            seen.append(item.id)
            got += 1
            if got == stop:
                break
        kept = listing.checkpoint()
        if kept.ended:
            return seen, kept.to_json()
        listing = store.listing(resume=kept.to_json(), **options)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("stop", [1, 2, 3, 999])
async def test_what_was_created_since_comes_once(direction: str, length: int, stop: int) -> None:
    store = Store(direction, length)
    store.add(*range(0, 2_000, 40))
    saved = await walked(store.listing())
    assert await ids(store.listing(resume=saved)) == []
    for begin in (2_000, 3_000, 3_250, 9_000):
        late = store.add(begin - 90, begin - 45)
        new = store.add(*range(begin, begin + 300, 50))
        seen, saved = await torn(store, saved, stop)
        assert sorted(seen) == sorted(late + new)
        nothing, saved = await torn(store, saved, stop)
        assert nothing == []


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
async def test_only_the_pages_that_may_hold_something_new_are_asked_for(direction: str, length: int) -> None:
    store = Store(direction, length)
    store.add(*range(0, 100_000, 200))
    saved = await walked(store.listing())
    store.add(100_000)
    store.asked.clear()
    listing = store.listing(follow=saved)
    assert len(await ids(listing)) == 1
    assert len(store.asked) <= 3
    assert listing.report.complete


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("then", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("length", LENGTHS)
async def test_pages_of_another_size_are_followed(direction: str, then: int, length: int) -> None:
    store = Store(direction, length)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing(page_size=length))
    new = store.add(850, 900, 930)
    for stop in (1, 999):
        seen, _ = await torn(store, saved, stop, page_size=then)
        assert sorted(seen) == sorted(new)


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_page_that_is_too_large_is_followed_in_smaller_ones(direction: str) -> None:
    store = Store(direction, 20)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing(page_size=20))
    new = store.add(850, 900, 930)
    store.most = 3
    assert sorted(await ids(store.listing(follow=saved, page_size=20))) == sorted(new)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("stop", [1, 2, 999])
@pytest.mark.parametrize(
    "gone", [slice(-1, None), slice(-3, None), slice(0, -1), slice(0, None), slice(-4, -1)]
)
async def test_items_that_are_deleted_bring_no_other_twice(
    direction: str, length: int, stop: int, gone: slice
) -> None:
    store = Store(direction, length)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing())
    for name in list(store.rows)[gone]:
        del store.rows[name]
    new = store.add(850, 900)
    seen, saved = await torn(store, saved, stop)
    assert sorted(seen) == sorted(new)
    assert (await torn(store, saved, stop))[0] == []


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
async def test_items_that_vanish_for_one_round_are_not_new_when_they_come_back(
    direction: str, length: int
) -> None:
    store = Store(direction, length)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing())
    hidden = {name: store.rows.pop(name) for name in list(store.rows)[-3:-1]}
    _, saved = await torn(store, saved, 999)
    store.rows |= hidden
    assert (await torn(store, saved, 999))[0] == []


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("which", [1, 2, 4, 5])
async def test_what_appears_while_a_follower_is_dead_is_found(
    direction: str, length: int, which: int
) -> None:
    store = Store(direction, length)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing())
    new = store.add(900, 910, 920, 930, 940)
    listing, seen = store.listing(follow=saved), list[str]()
    async for item in listing:
        seen.append(item.id)
        if len(seen) == which:
            break
    kept = listing.checkpoint().to_json()
    new += store.add(905, 915, 935, 880, 5_000, 5_010)  # a day later, some of them late
    resumed = store.listing(resume=kept)
    seen += await ids(resumed)
    more, _ = await torn(store, resumed.checkpoint().to_json(), 999)
    assert sorted(seen + more) == sorted(new)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("before", [0, 1, 10])
@pytest.mark.parametrize(("length", "stop"), [(1, 1), (3, 2), (5, 4), (10, 3), (20, 19)])
async def test_what_was_handed_out_before_two_kills_does_not_come_again(
    direction: str, before: int, length: int, stop: int
) -> None:
    store = Store(direction, length)
    old = store.add(*range(0, 10 * before, 10))
    saved = await walked(store.listing())
    new = store.add(*range(1_000, 3_000, 100))
    listing = store.listing(follow=saved)
    seen = [one.id for one in await listing.take(stop)]
    for at in (3_000, 30_000):  # long after what was handed out
        new += store.add(*range(at, at + 100 * length, 100))
        listing = store.listing(resume=listing.checkpoint().to_json())
        seen += [one.id for one in await listing.take(length)]
    listing = store.listing(resume=listing.checkpoint().to_json())
    seen += await ids(listing)
    assert len(seen) == len(set(seen))
    new += store.add(store.rows[new[-1]] + 1)
    seen += await ids(store.listing(follow=listing.checkpoint().to_json()))
    assert not set(seen) & set(old)
    assert sorted(seen) == sorted(new)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("stop", [1, 3, 5, 9, 10])
@pytest.mark.parametrize("length", LENGTHS)
async def test_what_appears_while_a_first_walk_is_dead_is_found(
    direction: str, stop: int, length: int
) -> None:
    store = Store(direction, length)
    first = store.add(*range(0, 100, 10))
    listing = store.listing()
    seen = [one.id for one in await listing.take(stop)]
    kept = listing.checkpoint().to_json()
    more = store.add(95, 85, 55, 1_000)
    resumed = store.listing(resume=kept)
    seen += await ids(resumed)
    seen += (await torn(store, resumed.checkpoint().to_json(), 999))[0]
    assert sorted(seen) == sorted(first + more)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("created", [[], [7], [7, 7, 7]])
async def test_a_list_too_short_to_have_a_direction_is_followed_from_the_top(
    length: int, direction: str, created: list[int]
) -> None:
    store = Store(direction, length)
    store.add(*created)
    saved = await walked(store.listing())
    for add in ([7], [8, 9], [400], []):
        new = store.add(*add)
        seen, saved = await torn(store, saved, 1)
        assert sorted(seen) == sorted(new)


@pytest.mark.parametrize("forms", [lambda at: at % 3, lambda at: 2, lambda at: 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_times_are_compared_as_instants(forms: Any, direction: str) -> None:
    store = Store(direction, 7, form=forms)
    store.add(*range(0, 900, 31))
    saved = await walked(store.listing())
    new = store.add(850, 899, 1_000)
    assert sorted((await torn(store, saved, 1))[0]) == sorted(new)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-01T01:00:00.500+01:00", "2026-01-01T00:00:00.500Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01 01:00:00z", "2026-01-01T01:00:00Z"),
        ("soon", None),
        ("", None),
        ("1711120101230", None),
        ("2026-01-01+01:00", None),
        ("9999-12-31T23:59:59.999999-23:59", "9999-12-31T23:59:59.999999-23:59"),
    ],
)
def test_a_time_is_an_instant_or_none(text: str, same: str | None) -> None:
    assert instant(text) == instant(same)
    assert (instant(text) is None) is (same is None)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be changed here")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "JST-9", "UTC+11"])
def test_a_time_without_zone_is_the_same_instant_wherever_it_is_read(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert instant("1970-01-01T00:00:01") == instant("1970-01-01T00:00:01Z") == 1_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


class Odd(Store):
    """Rows without id, without `created`, or with values of other types."""

    def row(self, name: str) -> Any:
        whole = super().row(name)
        match int(name.partition("-")[2]) % 7:
            case 1:
                return {"name": name, "created": whole["created"]}
            case 3:
                return {"id": name, "created": None}
            case 4:
                return {"id": {"odd": name}, "created": 17}
            case 5:
                return {"name": name}
            case _:
                return whole


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("all_bare", [False, True])
async def test_bare_rows_are_known_by_their_bytes(direction: str, length: int, all_bare: bool) -> None:
    store = Odd(direction, length)
    if all_bare:
        store.row = lambda name: {"name": name}  # type: ignore[method-assign]
    store.add(*range(0, 900, 30))
    listing = store.listing().raw()
    before = {one async for one in listing}
    saved = listing.checkpoint().to_json()
    for begin in (900, 1_000, 1_400):
        new = len(store.add(*range(begin, begin + 60, 5)))
        raw = store.listing(follow=saved).raw()
        got = [one async for one in raw]
        assert len(got) == len(set(got)) == new
        assert not before & set(got)
        before |= set(got)
        saved = raw.checkpoint().to_json()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("undated", [1, 3])
@pytest.mark.parametrize("stops", [(1,), (1, 1), (2,), (1, 3)])
async def test_rows_without_a_time_that_were_first_are_known_after_a_kill(
    direction: str, length: int, undated: int, stops: tuple[int, ...]
) -> None:
    store = Store(direction, length)
    store.add(*range(300, 501, 50))
    saved = await walked(store.listing())
    bare = store.add(*range(1_000, 1_000 + undated))
    row = store.row
    store.row = lambda name: {"id": name} if name in bare else row(name)  # type: ignore[method-assign]
    new = [*bare, *store.add(985, 990)]
    listing, seen = store.listing(follow=saved), list[str]()
    for stop in stops:
        seen += [one.id for one in await listing.take(stop)]
        if not listing.checkpoint().ended:
            listing = store.listing(resume=listing.checkpoint().to_json())
    seen += await ids(listing)
    for at in (1_050, 1_100):  # now there is a time above them
        new += store.add(at)
        listing = store.listing(follow=listing.checkpoint().to_json())
        seen += await ids(listing)
    assert sorted(seen) == sorted(new)


async def test_an_unsorted_list_is_refused_in_words() -> None:
    store = Store("rising", 2)
    store.add(5, 3, 9, 1)
    store.ordered = lambda: [((n, ""), name) for n, name in enumerate(store.rows)]  # type: ignore[method-assign]
    listing = store.listing()
    assert len(await ids(listing)) == 4
    assert listing.report.complete
    with pytest.raises(errors.ForeignCheckpoint, match="not ordered by created"):
        store.listing(follow=listing.checkpoint())


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_list_that_turns_round_is_told(direction: str) -> None:
    store = Store(direction, 2)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing())
    store.sign = -store.sign
    store.add(1_000, 1_010)
    with pytest.raises(errors.ListingError, match="no longer in the order of created"):
        await ids(store.listing(follow=saved))


@pytest.mark.parametrize("paging", [SCROLL, OPAQUE, WHOLE])
async def test_only_lists_of_objects_can_be_followed(paging: Any) -> None:
    session = Session(ScriptedTransport(answer({"items": []})), NoAuth())
    with pytest.raises(errors.InvalidArgument, match="cannot be followed: only lists of objects"):
        session.list(listing_of(paging), {}, follow="{}")
    with pytest.raises(errors.InvalidArgument, match="cannot be followed: only lists of objects"):
        await anext(session.list(listing_of(paging), {}).follow(every=1))


@pytest.mark.parametrize("overlap", [-1.0, float("nan"), float("inf"), timedelta(seconds=-1)])
def test_an_overlap_is_a_length_of_time(overlap: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match="overlap is at least 0"):
        Store("rising", 2).listing(overlap=overlap)


async def test_what_did_not_end_well_is_not_followed() -> None:
    store = Store("rising", 2)
    store.add(*range(0, 90, 10))
    listing = store.listing()
    await listing.take(3)
    with pytest.raises(errors.ForeignCheckpoint, match="has not ended: resume= it"):
        store.listing(follow=listing.checkpoint())
    await ids(listing)
    good = listing.checkpoint()
    with pytest.raises(errors.ForeignCheckpoint, match="not judged well"):
        store.listing(follow=msgspec.structs.replace(good, done=False))
    with pytest.raises(errors.ForeignCheckpoint, match="does not say what is newest"):
        store.listing(follow=msgspec.structs.replace(good, trail=None))
    with pytest.raises(errors.ForeignCheckpoint, match="with an overlap of 100 seconds"):
        store.listing(follow=good, overlap=101)
    with pytest.raises(errors.InvalidArgument, match="either resume or follow"):
        store.listing(follow=good, resume=good)
    assert await ids(store.listing(follow=good, overlap=timedelta(seconds=50))) == []


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_more_than_can_be_known_is_refused_until_it_is_old(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "MOST_KNOWN", 20)
    store = Store(direction, 5)
    store.add(*range(40), 1)
    with pytest.raises(errors.ForeignCheckpoint, match="more items than a checkpoint can hold"):
        store.listing(follow=await walked(store.listing()))
    store.add(1_000)
    saved = await walked(store.listing())
    new = store.add(1_001)
    assert await ids(store.listing(follow=saved)) == new


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("options", [{"unique": True}, {"on_bad_item": "skip"}, {"read_ahead": 0}])
async def test_other_options_hold_while_following(direction: str, options: Any) -> None:
    store = Store(direction, 3)
    store.add(*range(0, 900, 30))
    saved = await walked(store.listing(**options))
    new = store.add(850, 900, 930)
    assert sorted((await torn(store, saved, 2, **options))[0]) == sorted(new)
    pages = [page async for page in store.listing(follow=saved, **options).pages()]
    assert sorted(item.id for page in pages for item in page.items) == sorted(new)
    into = store.listing(follow=saved, **options).into(Item)
    assert sorted(item.id for item in await into.collect(limit=9)) == sorted(new)
    too_many = store.listing(follow=saved, **options)
    with pytest.raises(errors.IncompleteListing):
        await too_many.collect(limit=2)
    assert sorted(await ids(too_many)) == sorted(new)


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_items_come_as_they_are_created(direction: str, virtual_time: Any) -> None:
    store = Store(direction, 2)
    store.add(*range(0, 900, 30))
    listing = store.listing(follow=await walked(store.listing()))
    expected = store.add(900)
    seen: list[str] = []

    async def create() -> None:
        for at in range(1_000, 1_500, 100):
            await asyncio.sleep(60)
            expected.extend(store.add(at, at - 95))

    task = asyncio.create_task(create())
    async for item in listing.follow(every=45):
        seen.append(item.id)
        if len(seen) == 11:
            break
    await task
    assert sorted(seen) == sorted(expected)
    assert virtual_time.elapsed >= 300


async def test_whoever_follows_for_ever_is_killed_between_two_rounds(virtual_time: Any) -> None:
    store = Store("rising", 2)
    store.add(*range(0, 900, 30))
    saved: Any = await walked(store.listing())
    seen: list[str] = []
    for at in (900, 1_000, 1_100):
        new = store.add(at)
        listing = store.listing(follow=saved)

        async def go(listing: Listing[Item] = listing) -> None:
            async for item in listing.follow(every=30):
                seen.append(item.id)

        task = asyncio.create_task(go())
        await asyncio.sleep(100)
        saved = listing.checkpoint().to_json()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert seen[-1:] == new
    assert len(seen) == 3
    with pytest.raises(errors.InvalidArgument, match="every is more than 0"):
        await anext(store.listing().follow(every=0))


steps = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 250), st.integers(0, 100)), max_size=6),  # time goes on; how late
        st.lists(st.integers(1, 5), min_size=1, max_size=3),  # items to each kill
        st.integers(1, 4),  # page size
        st.booleans(),  # something old is deleted
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 100)), max_size=3),  # while it is dead
        st.integers(1, 4),  # page size of whoever resumes
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DIRECTIONS), st.integers(0, 12), steps)
def test_nothing_is_missed_and_nothing_comes_twice(direction: str, first: int, history: Any) -> None:
    asyncio.run(_followed(direction, first, history))


async def _followed(direction: str, first: int, history: Any) -> None:
    store = Store(direction, 3)
    now = 1_000
    store.add(*range(now - 20 * first, now, 20))
    everything = set(store.rows)
    listing = store.listing()
    seen = await ids(listing)
    saved = listing.checkpoint().to_json()

    def time_passes(events: list[tuple[int, int]]) -> None:
        nonlocal now
        for wait, late in events:
            now += wait
            everything.update(store.add(now - late))

    for events, stops, size, delete, meanwhile, then in history:
        time_passes(events)
        if delete and store.rows:
            for name in set(store.rows) & set(seen[-2:]):
                del store.rows[name]
        listing = store.listing(follow=saved, page_size=size)
        for stop in stops:
            seen += [one.id for one in await listing.take(stop)]
            if (kept := listing.checkpoint()).ended:
                break
            time_passes(meanwhile)
            listing = store.listing(resume=kept.to_json(), page_size=then)
        seen += await ids(listing)
        assert len(seen) == len(set(seen))
        saved = listing.checkpoint().to_json()
    listing = store.listing(follow=saved)
    seen += await ids(listing)
    assert len(seen) == len(set(seen))
    assert set(seen) == everything


def test_any_text_is_a_name_also_one_that_is_no_unicode() -> None:
    names: list[str | int] = ["", "a", "\ud800", "\udfff", "é", 7]
    assert len({name_of(Row(name, None)) for name in names}) == len(names)
    assert name_of(Row(7, None)) == 7


class Made(msgspec.Struct):
    id: str
    created: str | None = None


class Remade(Made):
    def __post_init__(self) -> None:
        self.id, self.created = "another", "2001-01-01T00:00:00Z"


@pytest.mark.parametrize("kind", [dict, Remade, msgspec.Raw])
def test_items_of_a_kind_that_does_not_tell_are_asked_as_they_came(kind: Any) -> None:
    body = b'[{"id":"a","created":"2026-01-01T00:00:00Z"},{"id":"b","created":"2026-01-02T00:00:00Z"}]'
    items = msgspec.json.decode(body, type=list[kind])

    def items_as(other: Any) -> Any:
        return [
            msgspec.json.decode(one, type=other) for one in msgspec.json.decode(body, type=list[msgspec.Raw])
        ]

    rows = rows_of(items, items_as, None)
    assert [row.name for row in rows.listed] == ["a", "b"]
    assert rows.newest == instant("2026-01-02T00:00:00Z")


@pytest.mark.parametrize("odd", ["2026-13-01T00:00:00Z", "2026-01-41T00:00:00Z"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_time_that_is_none_says_nothing_of_the_order_wherever_it_stands(odd: str, place: int) -> None:
    times = [f"2026-0{month}-01T00:00:00Z" for month in (1, 2, 3)]
    times[place] = odd
    rows = rows_of([Made(str(n), time) for n, time in enumerate(times)], list, None)
    assert len(rows) == 3
    assert rows.steps(None) == (True, False)
    assert rows.newest == max(instant(time) or 0 for time in times)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("apart", [0, 1, 59])
async def test_what_is_known_is_no_older_than_it_was(direction: str, apart: int) -> None:
    store = Store(direction, 5)
    store.add(100, 100 + apart)
    trail = msgspec.json.decode(await walked(store.listing()), type=Checkpoint).trail
    assert trail is not None
    assert trail.newest is not None
    ages = sorted((trail.newest - (row.created or 0)) / 1_000_000 for row in trails.known_ids(trail))
    assert ages == [0, apart]


def test_an_item_older_than_can_be_told_in_seconds_keeps_a_time() -> None:
    newest, oldest = instant("2026-01-01T00:00:00Z"), instant("1850-01-01T00:00:00Z")
    window = trails.Window(Trail(overlap=2**62), followed=[], again=False)
    window.add(None, Rows(["old", "new"], ["1850-01-01T00:00:00Z", "2026-01-01T00:00:00Z"], None))
    told = sorted(row.created or 0 for row in trails.known_ids(window.trail()))
    assert newest is not None
    assert oldest is not None
    assert told == [newest - (2**32 - 2) * 1_000_000, newest]
    assert told[0] > oldest


def test_of_what_was_followed_only_what_lies_in_the_overlap_is_known_on() -> None:
    begun = instant("2026-01-01T00:00:00Z") or 0
    followed = [Row(name, begun + ago * 1_000_000) for name, ago in ((1, 0), (2, 95), (3, 100))]
    window = trails.Window(Trail(overlap=10_000_000, falling=True), followed=followed, again=False)
    window.add(None, Rows(["newer", "new"], ["2026-01-01T00:01:44Z", "2026-01-01T00:01:43Z"], None))
    assert len(trails.known_ids(window.trail())) == 4


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_checkpoint_that_is_followed_for_ever_stays_small(direction: str) -> None:
    store = Store(direction, 5)
    store.add(*range(0, 100, 10))
    saved = await walked(store.listing())
    for night in range(1, 31):
        store.add(night * 10_000, night * 10_000 + 1)
        saved = await walked(store.listing(follow=saved))
    assert len(saved) < 1_500


@pytest.mark.parametrize(("beyond", "kept"), [(0, False), (1, True)])
async def test_what_was_forgotten_where_the_overlap_begins_may_come_again(beyond: int, kept: bool) -> None:
    store = Store("falling", 5)
    store.add(100, 101)
    at = msgspec.json.decode(await walked(store.listing()), type=Checkpoint)
    assert at.trail is not None
    assert at.trail.newest is not None
    overlap = at.trail.overlap
    trail = msgspec.structs.replace(at.trail, lost=at.trail.newest - overlap - beyond)
    at = msgspec.structs.replace(at, trail=trail)
    if kept:
        assert followed(at, overlap / 1e6).follows is not None
    else:
        with pytest.raises(errors.ForeignCheckpoint, match="give a shorter overlap="):
            followed(at, overlap / 1e6)


def test_what_was_known_before_counts_like_what_came() -> None:
    rows = Rows.of([Row("a", 10), Row("b", 30), Row("c", 20)])
    assert (rows.newest, rows.final, rows.steps(5), rows.steps(15)) == (30, 20, (True, True), (True, True))
    assert Rows.of([Row("a", 10), Row("b", 30)]).steps(5) == (True, False)
