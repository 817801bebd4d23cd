"""A catalog in memory: current, whole, and there while Limio is away."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from limio_async import BearerToken, CatalogCache, Limio, errors
from limio_async.core.retry import wait_before_next
from limio_async.core.wire import Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer
from tests.virtual_time import VirtualTime

HOUR = 3600.0


class Slim(msgspec.Struct):
    name: str


class Tenant:
    """A list of offers behind a scroll, as a transport: counts what it is asked for, and is away when told to be."""

    def __init__(self, *offers: dict[str, Any], size: int = 2) -> None:
        self.offers: list[Any] = [*offers]
        self.size = size
        self.commit: Any = "c1"
        self.polls: list[float] = []
        self.walks: list[float] = []
        self.away: Response | Exception | Callable[[Request], Any] | None = None
        self.loads_fail: Response | Exception | None = None
        self.before_page: Callable[[int], object] = lambda number: None
        self.takes = 0.0

    async def __call__(self, request: Request) -> Any:
        query = {key: one[0] for key, one in parse_qs(urlsplit(request.target).query).items()}
        if "opt.all" not in query:
            self.polls.append(asyncio.get_running_loop().time())
        elif "opt.queryMoreFrom" not in query:
            self.walks.append(asyncio.get_running_loop().time())
        if self.away is not None:
            return await self.away(request) if callable(self.away) else self.away
        if "opt.all" not in query:
            return self._page(self.offers[: int(query["opt.pageSize"])], None)
        if self.loads_fail is not None:
            return self.loads_fail
        await asyncio.sleep(self.takes)
        begin = int(query.get("opt.queryMoreFrom", "0"))
        self.before_page(begin // self.size)
        end = begin + self.size
        return self._page(self.offers[begin:end], {"from": str(end), "alias": "a"})

    def _page(self, items: list[Any], more: Any) -> Response:
        body = {"hits": len(self.offers), "items": items, "commitId": self.commit, "queryMore": more}
        raw = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        return answer(raw.replace(b"HALF", b"\\ud800"))


def offer(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"o{number}", "path": f"/offers/{number}", "name": f"Offer {number}", "data": {}, **more}


@pytest.fixture
def tenant() -> Tenant:
    return Tenant(*map(offer, range(5)))


@pytest.fixture
async def limio(tenant: Tenant) -> AsyncIterator[Limio]:
    transport = ScriptedTransport(tenant)
    transport.suspends = 0
    async with Limio(auth=BearerToken("t"), transport=transport, attempts=1) as client:
        yield client


async def test_items_are_found_by_id_path_and_tag_wherever_these_stand(tenant: Tenant, limio: Limio) -> None:
    tenant.offers = [
        offer(0, tags=["/tags/a"]),
        offer(1, data={"tags": ["/tags/a", "/tags/b"]}),
        offer(2, data={"attributes": {"tags__limio": ["/tags/b"]}}),
    ]
    async with CatalogCache(limio, limio.offers.list) as cache:
        await cache.loaded(timeout=5)
        assert [one.id for one in cache] == ["o0", "o1", "o2"]
        found = cache.get("o1")
        assert found is not None
        assert found is cache.by_path("/offers/1")
        assert [one.id for one in cache.tagged("/tags/a")] == ["o0", "o1"]
        assert [one.id for one in cache.tagged("/tags/b")] == ["o1", "o2"]
        assert (cache.get("no"), cache.by_path("/no"), cache.tagged("/no")) == (None, None, [])
        assert (len(cache), cache.commit_id, cache.usable) == (3, "c1", True)
    async with CatalogCache(limio, partial(limio.offers.list, page_size=2), into=Slim) as slim:
        await slim.loaded(timeout=5)
        assert slim.get("o2") == Slim("Offer 2") == slim.by_path("/offers/2")
        assert slim.tagged("/tags/a") == [Slim("Offer 0"), Slim("Offer 1")]


def cached(limio: Limio, **options: Any) -> CatalogCache[Any]:
    return CatalogCache(limio, limio.offers.list, **options)


def names(cache: CatalogCache[Any]) -> list[str]:
    return [one.id for one in cache]


def name_of(cache: CatalogCache[Any], id: str) -> str:
    found = cache.get(id)
    assert found is not None
    name: str = found.name
    return name


async def test_nothing_is_sent_before_the_block_and_nothing_after_it(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    cache = cached(limio)
    await asyncio.sleep(HOUR)
    assert (tenant.polls, cache.age, cache.usable) == ([], None, False)
    with pytest.raises(errors.CatalogUnavailable, match="nothing is loaded yet"):
        cache.get("o1")
    for call in (cache.loaded, cache.refresh):
        with pytest.raises(errors.ClientClosed, match="async with"):
            await call()
    async with cache:
        await cache.loaded()
    asked = len(tenant.polls)
    await asyncio.sleep(HOUR)
    assert len(tenant.polls) == asked
    assert len(cache) == 5, "readers have what was there"
    assert cache.age == pytest.approx(HOUR, abs=1)
    tenant.away = answer({}, 503)
    async with cache:
        await cache.loaded()
        tenant.away = None
        await asyncio.sleep(61)
        await cache.loaded()
        assert cache.age == pytest.approx(0, abs=61)


async def test_it_asks_once_a_period_without_a_scroll_and_walks_only_what_has_changed(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    async with cached(limio, every=60.0) as cache:
        await cache.loaded()
        for _ in range(1_000):
            cache.get("o1")
        await asyncio.sleep(HOUR)
        assert len(tenant.walks) == 1
        assert 60 <= len(tenant.polls) <= 68
        between = [after - before for before, after in zip(tenant.polls, tenant.polls[1:], strict=False)]
        assert all(54 <= one <= 60 for one in between)
        assert len(set(between)) > 10, "not all workers ask at once"
        tenant.offers[0] = offer(0, name="new")
        tenant.commit = "c2"
        await asyncio.sleep(61)
        assert (len(tenant.walks), cache.commit_id) == (2, "c2")
        assert name_of(cache, "o0") == "new"


async def test_an_item_that_stays_as_it_was_stays_the_same_object(tenant: Tenant, limio: Limio) -> None:
    async with cached(limio) as cache:
        await cache.loaded(timeout=5)
        before = list(cache)
        tenant.offers[2] = offer(2, name="new")
        del tenant.offers[4]
        tenant.offers.insert(0, offer(9))
        tenant.commit = "c2"
        await cache.refresh()
        assert names(cache) == ["o9", "o0", "o1", "o2", "o3"]
        assert [one for one in cache if any(one is other for other in before)] == [
            before[0],
            before[1],
            before[3],
        ]
        assert cache.get("o4") is None
        assert cache.by_path("/offers/4") is None


async def test_an_iteration_goes_over_one_state_though_another_is_swapped_in(
    tenant: Tenant, limio: Limio
) -> None:
    async with cached(limio) as cache:
        await cache.loaded(timeout=5)
        began = iter(cache)
        assert next(began).id == "o0"
        tenant.offers, tenant.commit = [offer(9)], "c2"
        await cache.refresh()
        assert names(cache) == ["o9"]
        assert [one.id for one in began] == ["o1", "o2", "o3", "o4"]


@pytest.mark.parametrize("into", [None, Slim])
async def test_a_list_without_commit_id_is_walked_each_period(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime, into: Any
) -> None:
    tenant.commit = None
    told: list[Any] = []
    async with cached(limio, every=60.0, into=into, on_change=told.append) as cache:
        await cache.loaded()
        await asyncio.sleep(181)
        assert len(tenant.walks) == 4
        assert len(told) == 1, "nothing has changed"
        assert cache.commit_id is None


async def test_a_change_between_the_question_and_the_walk_is_not_missed(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    def rebuild(number: int) -> None:
        if number == 0:
            tenant.offers[0], tenant.commit = offer(0, name="new"), "c2"

    async with cached(limio) as cache:
        await cache.loaded()
        tenant.commit, tenant.before_page = "c1b", rebuild
        await cache.refresh()
        assert (cache.commit_id, name_of(cache, "o0")) == ("c2", "new")
        tenant.before_page = lambda number: None
        walked = len(tenant.walks)
        await cache.refresh()
        assert len(tenant.walks) == walked
        tenant.commit = "c1b"  # a catalog that is taken back is another one
        await cache.refresh()
        assert (cache.commit_id, len(tenant.walks)) == ("c1b", walked + 1)


async def test_a_catalog_that_is_rebuilt_during_the_walk_is_not_swapped_in_and_walked_again_later(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    def rebuild(number: int) -> None:
        if number == 1:
            tenant.commit += "!"

    async with cached(limio, every=60.0) as cache:
        await cache.loaded()
        tenant.commit, tenant.before_page = "c2", rebuild
        tenant.offers[0] = offer(0, name="new")
        with pytest.raises(errors.SnapshotChanged):
            await cache.refresh()
        await asyncio.sleep(HOUR)
        assert (cache.commit_id, name_of(cache, "o0")) == ("c1", "Offer 0")
        assert len(tenant.walks) < 130, "it waits in between"
        tenant.before_page = lambda number: None
        await asyncio.sleep(61)
        assert name_of(cache, "o0") == "new"


@pytest.mark.parametrize(
    "lenient", [{"verify": "off"}, {"verify": "warn"}, {"on_snapshot_change": "restart"}]
)
async def test_no_option_of_the_listing_lets_an_incomplete_walk_in(
    tenant: Tenant, limio: Limio, lenient: dict[str, Any]
) -> None:
    async with CatalogCache(limio, partial(limio.offers.list, **lenient)) as cache:
        await cache.loaded(timeout=5)

        def rebuild(number: int) -> None:
            if number == 1:
                tenant.commit += "!"

        tenant.commit, tenant.before_page = "c2", rebuild
        with pytest.raises(errors.SnapshotChanged):
            await cache.refresh()
        assert cache.commit_id == "c1"


def hangs(request: Request) -> Any:
    return asyncio.sleep(10 * HOUR)


def refused_after_a_while(request: Request) -> Any:
    async def refuse() -> Response:
        await asyncio.sleep(30)
        return answer({}, 503)

    return refuse()


AWAY: dict[str, Any] = {
    "refused": errors.NeverSent("refused"),
    "lost": errors.AnswerLost("reset"),
    "500": answer({}, 500),
    "503": answer({}, 503),
    "401": answer({"message": "no"}, 401),
    "403": answer({"message": "no"}, 403),
    "429": answer({}, 429, headers={"retry-after": "20"}),
    "no JSON": answer(b"<html>"),
    "no list": answer({"message": "down"}),
    "a bug": ZeroDivisionError("oops"),
    "hangs": hangs,
    "slow": refused_after_a_while,
}


@pytest.mark.parametrize("why", AWAY)
async def test_readers_do_not_notice_an_outage_of_an_hour(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    caplog.set_level(logging.WARNING, "limio_async")
    async with cached(limio, every=60.0) as cache:
        await cache.loaded()
        before, polls = list(cache), len(tenant.polls)
        tenant.away = AWAY[why]
        for minute in range(1, 61):
            await asyncio.sleep(60)
            assert list(cache) == before
            assert cache.get("o3") is not None
            assert cache.usable
            assert (cache.age or 0) > minute * 60 - 61
        assert 30 <= len(tenant.polls) - polls <= 140, "it keeps asking, and does not hammer"
        tenant.away = None
        tenant.offers, tenant.commit = [offer(7)], "c2"
        await asyncio.sleep(121)
        assert names(cache) == ["o7"]
        assert cache.age is not None
        assert cache.age < 61
    said = [one.message for one in caplog.records if "cache" in one.message]
    assert len(said) == 2
    assert "cannot refresh" in said[0]
    assert "current again" in said[1]


@pytest.mark.parametrize("why", ["500", "no JSON", "lost"])
async def test_polls_that_are_answered_while_loads_fail_do_not_make_it_current(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime, why: str
) -> None:
    async with cached(limio, every=60.0, stale=2 * HOUR) as cache:
        await cache.loaded()
        tenant.loads_fail, tenant.commit = AWAY[why], "c2"
        await asyncio.sleep(HOUR)
        assert names(cache) == ["o0", "o1", "o2", "o3", "o4"]
        assert cache.age == pytest.approx(HOUR, abs=61)
        await asyncio.sleep(HOUR + 61)
        assert not cache.usable
        tenant.loads_fail = None
        await asyncio.sleep(61)
        assert cache.usable


async def test_what_is_too_old_is_not_served(tenant: Tenant, limio: Limio, virtual_time: VirtualTime) -> None:
    async with cached(limio, stale=HOUR) as cache:
        await cache.loaded()
        tenant.away = answer({"message": "a secret of Limio"}, 503)
        await asyncio.sleep(HOUR + 61)
        readers: list[Callable[[], object]] = [
            lambda: cache.get("o1"), lambda: cache.by_path("/"), lambda: cache.tagged("/"), lambda: len(cache), lambda: list(cache),
        ]  # fmt: skip
        for read in readers:
            with pytest.raises(errors.CatalogUnavailable) as caught:
                read()
            said = str(caught.value)
            assert said.startswith("listOffers: the catalog is 36")
            assert "over stale=3600" in said
            assert said.endswith("the last refresh failed: ServerError")
            assert "secret" not in said
            assert caught.value.retryable
        assert not cache.usable
        with pytest.raises(errors.CatalogUnavailable):
            await cache.loaded(timeout=1)


async def test_a_first_load_that_fails_is_tried_again_soon(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    tenant.away = answer({}, 503)
    async with cached(limio, every=600.0) as cache:
        with pytest.raises(
            errors.CatalogUnavailable, match="nothing is loaded yet; the last refresh failed: ServerError"
        ):
            await cache.loaded(timeout=5)
        tenant.away = None
        begun = virtual_time.elapsed
        await cache.loaded()
        assert virtual_time.elapsed - begun < 10


async def test_outages_are_logged_six_times_an_hour_at_most(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "limio_async")
    async with cached(limio, every=5.0) as cache:
        await cache.loaded()
        for number in range(720):
            tenant.away = answer({}, 503) if number % 2 else None
            await asyncio.sleep(10)
    assert 2 <= len([one for one in caplog.records if "cannot refresh" in one.message]) <= 13


async def test_one_item_that_cannot_be_decoded_keeps_nothing_else_out_and_is_told_of(
    tenant: Tenant, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "limio_async")
    tenant.offers[1] = {"id": "o1", "path": ["odd"], "name": {"x": 1}}
    tenant.offers[2] = offer(2, name="HALF")
    async with cached(limio) as cache:
        await cache.loaded(timeout=5)
        assert names(cache) == ["o0", "o2", "o3", "o4"]
        assert name_of(cache, "o2") == "\ufffd"
        tenant.commit = "c2"
        await cache.refresh()
        (said,) = [one.message for one in caplog.records]
        assert "1 items cannot be decoded and are left out" in said
        tenant.offers, tenant.commit = [{"name": [number]} for number in range(3)], "c3"
        with pytest.raises(errors.Unreadable, match="most items cannot be decoded"):
            await cache.refresh()
        assert names(cache) == ["o0", "o2", "o3", "o4"]


async def test_items_without_id_or_with_that_of_another_are_there_all_the_same(
    tenant: Tenant, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "limio_async")
    tenant.offers = [
        offer(0),
        {"path": "/no/id", "name": "nameless"},
        offer(0, name="copy"),
        offer(0),
        {"id": 7, "name": "n"},
    ]
    async with cached(limio, into=Slim) as cache:
        await cache.loaded(timeout=5)
        assert [one.name for one in cache] == ["Offer 0", "nameless", "copy", "Offer 0", "n"]
        assert cache.get("o0") == cache.by_path("/offers/0") == Slim("Offer 0")
        assert cache.get("7") == Slim("n")
        assert cache.by_path("/no/id") == Slim("nameless")
    (said,) = [one.message for one in caplog.records]
    assert "2 have the id or path of another" in said


async def test_who_asks_for_a_refresh_joins_one_and_may_go_away(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    async with cached(limio) as cache:
        await cache.loaded()
        tenant.takes, tenant.commit = 5.0, "c2"
        polls = len(tenant.polls)
        several = [asyncio.create_task(cache.refresh()) for _ in range(100)]
        await asyncio.sleep(1)
        several += [asyncio.create_task(cache.refresh()) for _ in range(100)]
        several[0].cancel()
        done = await asyncio.gather(*several, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [None] * 199
        await asyncio.sleep(1)
        assert (len(tenant.polls) - polls, len(tenant.walks), cache.commit_id) == (1, 2, "c2")
        assert (cache.age or 0) >= 15, "counted from the question, not from the last page"


async def test_the_block_ends_a_load_and_whoever_waits_for_it(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    tenant.takes = HOUR
    before = asyncio.all_tasks()
    cache = await cached(limio).__aenter__()
    waiting = [asyncio.create_task(one) for one in (cache.loaded(), cache.refresh())]
    await asyncio.sleep(1)
    refresher = asyncio.all_tasks() - before - {*waiting}
    await asyncio.create_task(cache.__aexit__(None, None, None))  # as fixtures do
    assert [one.done() for one in refresher] == [True]
    for one in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(one, errors.ClientClosed)
    assert virtual_time.elapsed < 2
    assert asyncio.all_tasks() == before


async def test_a_change_is_told_after_the_swap_and_an_error_of_that_breaks_nothing(
    tenant: Tenant, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str | None, list[str]]] = []

    def tell(cache: CatalogCache[Any]) -> None:
        told.append((cache.commit_id, names(cache)))
        raise KeyError("x")

    async with cached(limio, on_change=tell) as cache:
        await cache.loaded(timeout=5)
        tenant.commit, tenant.offers = "c2", tenant.offers[:1]
        await cache.refresh()
        await cache.refresh()
        tenant.commit = "c3"
        await cache.refresh()
    assert told == [("c1", ["o0", "o1", "o2", "o3", "o4"]), ("c2", ["o0"])]
    assert sum("on_change of the cache failed" in one.message for one in caplog.records) == 2


async def test_what_cannot_be_meant_is_refused(limio: Limio) -> None:
    async def later(cache: CatalogCache[Any]) -> None: ...

    for wrong in ({"every": 0}, {"stale": -1}, {"on_change": later}):
        with pytest.raises(errors.ConfigurationError):
            cached(limio, **wrong)
    async with cached(limio) as cache:
        with pytest.raises(errors.ConfigurationError, match="open already"):
            await cache.__aenter__()


async def test_requests_leave_room_for_interactive_ones(tenant: Tenant, limio: Limio) -> None:
    lanes: list[str] = []

    class Watching:
        def call(self, called: Any) -> None:
            lanes.append(called.lane)

        walk = call

    transport = ScriptedTransport(tenant)
    observed = Limio(auth=BearerToken("t"), transport=transport, observer=Watching())
    async with observed, cached(observed) as cache:
        await cache.loaded(timeout=5)
    assert set(lanes) == {"background"}


@pytest.mark.parametrize("every", [0.5, 60.0, 1e6])
def test_waits_after_failures_double_up_to_the_period_and_are_never_longer(every: float) -> None:
    for failures in range(100):
        ceiling = min(every, 2.0 ** max(0, failures - 1)) if failures else every
        least = ceiling / 2 if failures else 0.9 * every
        assert wait_before_next(failures, every, jitter=lambda _: 0.0) == pytest.approx(least)
        assert wait_before_next(failures, every, jitter=lambda one: one) == pytest.approx(ceiling)


def test_who_does_not_use_it_does_not_import_it() -> None:
    program = (
        "import sys, limio_async; limio_async.Limio; sys.exit('limio_async.catalog_cache' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_another_loop_such_as_that_of_a_child_reads_what_is_there_and_refreshes_nothing(
    limio: Limio,
) -> None:
    async with cached(limio) as cache:
        await cache.loaded(timeout=5)
        assert len(await asyncio.to_thread(list, cache)) == 5
        for call in (cache.refresh, cache.loaded):
            with pytest.raises(errors.ClientClosed, match="not open in this event loop"):
                await asyncio.to_thread(asyncio.run, call())


ODD = [b"1e999", b"9" * 5_000, b'"\xff"', b'{"\xff": "\xff"}', b"[" * 900 + b"]" * 900]


@pytest.mark.parametrize("odd", ODD, ids=["inf", "long", "bytes", "key", "deep"])
@pytest.mark.parametrize("into", [None, Slim])
async def test_what_no_type_looks_at_keeps_no_item_out_and_freezes_nothing(
    tenant: Tenant, limio: Limio, odd: bytes, into: Any
) -> None:
    known = b'{"id":"o9","path":"/offers/9","name":"n","data":{"tags":["/tags/a"],"v":%b},"v":%b,"%b":0}'
    tenant.offers[1] = msgspec.Raw(known % (odd, odd, b"\xff"))
    async with cached(limio, into=into) as cache:
        await cache.loaded(timeout=5)
        assert len(cache) == 5
        assert cache.get("o9") is cache.by_path("/offers/9") is cache.tagged("/tags/a")[0] is [*cache][1]


@pytest.mark.parametrize(
    ("told", "by"),
    [
        ({"id": 10**30, "tags": {"a": 1}, "data": []}, (str(10**30), None, None)),
        ({"id": None, "data": None, "path": 7, "tags": "/tags/q"}, (None, None, "/tags/q")),
        (
            {"id": "i", "data": {"id": "j", "path": "/j", "attributes": [], "tags": [None, 5, "/q"]}},
            ("i", "/j", "/q"),
        ),
        ({"path": "/p", "data": {"id": 5, "attributes": {"tags__limio": ["/q"]}}}, ("5", "/p", "/q")),
    ],
)
async def test_an_item_is_found_by_what_can_be_read_of_it(
    tenant: Tenant, limio: Limio, told: dict[str, Any], by: tuple[str | None, ...]
) -> None:
    tenant.offers = [{"name": "n", **told}]
    async with cached(limio, into=Slim) as cache:
        await cache.loaded(timeout=5)
        name, path, tag = by
        assert name is None or cache.get(name) == Slim("n")
        assert path is None or cache.by_path(path) == Slim("n")
        assert tag is None or cache.tagged(tag) == [Slim("n")]


NOTHING: dict[str, Any] = {
    "a bare list": {"items": []},
    "null": {"items": None},
    "beside words": {"items": [], "message": "Endpoint request timed out"},
}


@pytest.mark.parametrize("said", NOTHING)
async def test_an_answer_that_says_nothing_empties_no_catalog_and_is_asked_for_again(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime, said: str
) -> None:
    async with cached(limio) as cache:
        await cache.loaded()
        tenant.commit, tenant.loads_fail = "c2", answer(NOTHING[said])
        with pytest.raises(errors.LimioError):
            await cache.refresh()
        await asyncio.sleep(HOUR)
        assert (len(cache), cache.commit_id, bool(cache.failure)) == (5, "c1", True)
        tenant.loads_fail = None
        await asyncio.sleep(61)
        assert (cache.commit_id, cache.failure) == ("c2", "")


async def test_nothing_is_no_first_load_where_the_question_named_a_catalog(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    tenant.loads_fail = answer(NOTHING["a bare list"])
    async with cached(limio) as cache:
        with pytest.raises(errors.CatalogUnavailable, match="IncompleteListing"):
            await cache.loaded(timeout=30)


async def test_a_list_that_is_empty_and_says_so_is_believed_and_logged(
    tenant: Tenant, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "limio_async")
    async with cached(limio) as cache:
        await cache.loaded(timeout=5)
        tenant.offers, tenant.commit = [], "c2"
        await cache.refresh()
        assert (len(cache), cache.commit_id) == (0, "c2")
    assert [one.message for one in caplog.records] == ["listOffers: the list is empty now, it had 5 items"]


async def test_a_walk_that_names_no_commit_id_is_not_taken_for_the_one_that_was_asked_for(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    async with cached(limio) as cache:
        await cache.loaded()
        tenant.commit = "c2"
        tenant.loads_fail = answer({"hits": 1, "items": [offer(7)]})
        await cache.refresh()
        assert (names(cache), cache.commit_id) == (["o7"], None)
        tenant.loads_fail = None
        await asyncio.sleep(61)
        assert (len(cache), cache.commit_id) == (5, "c2")


async def test_questions_and_walks_are_the_list_s_own(tenant: Tenant) -> None:
    seen: list[Request] = []

    def answered(request: Request) -> Any:
        seen.append(request)
        return tenant(request)

    async with Limio(auth=BearerToken("t"), transport=ScriptedTransport(answered)) as limio:
        view = limio.with_options(headers={"x-limio-mode": "test"}, lane="interactive")
        async with CatalogCache(limio, partial(view.offers.list, tags="/tags/uk")) as cache:
            await cache.loaded(timeout=5)
    assert len(seen) > 2
    assert {one.headers.get("x-limio-mode") for one in seen} == {"test"}
    assert all("tags=%2Ftags%2Fuk" in one.target for one in seen)


async def test_what_a_listing_decodes_to_is_what_the_cache_holds(tenant: Tenant, limio: Limio) -> None:
    async with CatalogCache(limio, lambda: limio.offers.list().into(Slim)) as cache:
        await cache.loaded(timeout=5)
        assert cache.get("o1") == Slim("Offer 1")
    async with CatalogCache(limio, lambda: limio.offers.list().raw()) as bare:
        await bare.loaded(timeout=5)
        assert msgspec.json.decode(bare.get("o1") or b"") == offer(1)


async def test_a_listing_that_stands_elsewhere_is_walked_from_the_top(tenant: Tenant, limio: Limio) -> None:
    begun = limio.offers.list(page_size=2)
    async for _ in begun:
        break
    async with CatalogCache(limio, partial(limio.offers.list, resume=begun.checkpoint())) as cache:
        await cache.loaded(timeout=5)
        assert len(cache) == 5


@pytest.mark.filterwarnings("error")
async def test_lists_of_one_answer_and_those_of_another_client_are_refused(
    tenant: Tenant, limio: Limio
) -> None:
    journeys: Any = limio.journeys.list
    with pytest.raises(errors.ConfigurationError, match="has pages"):
        CatalogCache(limio, journeys)
    async with Limio(auth=BearerToken("t"), transport=ScriptedTransport(tenant)) as other:
        with pytest.raises(errors.ConfigurationError, match="another client's"):
            CatalogCache(limio, other.offers.list)


async def test_a_change_of_order_or_of_how_often_an_item_comes_is_told(
    tenant: Tenant, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "limio_async")
    told: list[list[str]] = []
    async with cached(limio, on_change=lambda cache: told.append(names(cache))) as cache:
        await cache.loaded(timeout=5)
        for offers in (
            tenant.offers[::-1],
            [*tenant.offers, offer(4), offer(4)],
            tenant.offers[:2],
            tenant.offers[:2],
        ):
            tenant.offers, tenant.commit = offers, tenant.commit + "!"
            await cache.refresh()
    assert [len(one) for one in told] == [5, 5, 7, 2]
    (said,) = [one.message for one in caplog.records]
    assert "2 have the id or path of another" in said


async def test_a_walk_that_fails_is_not_repeated_before_the_next_period(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    async with cached(limio, every=60.0) as cache:
        await cache.loaded()
        tenant.commit, tenant.loads_fail = "c2", answer({}, 500)
        await asyncio.sleep(HOUR)
        assert 60 <= len(tenant.walks) - 1 <= 68


def states() -> int:
    return sum(type(one).__name__ == "Catalog" for one in gc.get_objects())


@pytest.mark.parametrize("why", ["short", "odd", "rebuilt"])
async def test_a_walk_that_fails_leaves_nothing_for_the_garbage_collector(
    tenant: Tenant, limio: Limio, why: str
) -> None:
    def rebuild(number: int) -> None:
        tenant.commit += "!" * (why == "rebuilt" and number == 1)

    async with cached(limio, into=Slim) as cache:
        await cache.loaded(timeout=5)
        gc.collect()
        before = states()
        tenant.commit, tenant.before_page = "c2", rebuild
        if why == "short":
            tenant.loads_fail = answer({"hits": 9, "items": [*map(offer, range(5))], "commitId": "c2"})
        elif why == "odd":
            tenant.offers = [
                *map(offer, range(10, 14)),
                *({"id": "o", "name": [number]} for number in range(5)),
            ]
        gc.disable()
        try:
            for _ in range(3):
                with pytest.raises(errors.LimioError):
                    await cache.refresh()
            await asyncio.sleep(0)
            assert states() == before
        finally:
            gc.enable()


@pytest.mark.parametrize("kind", [asyncio.CancelledError, ZeroDivisionError])
async def test_nothing_that_on_change_raises_ends_the_refresher(
    tenant: Tenant,
    limio: Limio,
    virtual_time: VirtualTime,
    caplog: pytest.LogCaptureFixture,
    kind: type[BaseException],
) -> None:
    def fail(cache: CatalogCache[Any]) -> None:
        raise kind

    async with cached(limio, on_change=fail) as cache:
        await cache.loaded(timeout=5)
        tenant.offers, tenant.commit = tenant.offers[:1], "c2"
        await asyncio.sleep(61)
        assert len(cache) == 1
    assert sum("on_change of the cache failed" in one.message for one in caplog.records) == 2


async def test_whoever_waits_is_woken_where_leaving_is_cancelled_or_the_refresher_ended(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    async def stubborn(request: Request) -> Any:
        try:
            await asyncio.sleep(HOUR)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            raise

    for ends in (False, True):
        tenant.away = stubborn
        before = asyncio.all_tasks()
        cache = await cached(limio).__aenter__()
        waiting = [asyncio.create_task(one) for one in (cache.loaded(), cache.refresh())]
        await asyncio.sleep(1)
        if ends:
            for one in asyncio.all_tasks() - before - {*waiting}:
                one.cancel()
            await asyncio.sleep(6)
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await cache.__aexit__(None, None, None)
        done, _ = await asyncio.wait(waiting, timeout=10)
        assert [type(one.exception()) for one in done] == [errors.ClientClosed] * 2
        await cache.__aexit__(None, None, None)
        tenant.away = None
        async with cache:
            await cache.loaded(timeout=5)
        assert len(cache) == 5
    async with cached(limio):
        pass  # a task that never began


async def test_a_client_that_was_closed_ends_the_waiting_and_the_asking(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    await limio.aclose()
    async with cached(limio) as cache:
        for call in (cache.loaded, cache.refresh):
            with pytest.raises(errors.ClientClosed):
                await call()
        await asyncio.sleep(HOUR)
    assert tenant.polls == []


async def test_an_error_that_many_get_does_not_grow_with_them(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime
) -> None:
    tenant.away = answer({}, 500)
    async with cached(limio) as cache:
        failed = await asyncio.gather(*(cache.refresh() for _ in range(100)), return_exceptions=True)
        assert {type(one) for one in failed} == {errors.ServerError}
        assert all(
            len([*traceback.walk_tb(one.__traceback__)]) < 10 for one in failed if isinstance(one, Exception)
        )


@pytest.mark.parametrize("seed", range(15))
async def test_readers_see_one_whole_catalog_that_limio_had_whatever_happens(
    tenant: Tenant, limio: Limio, virtual_time: VirtualTime, seed: int
) -> None:
    random = Random(seed)
    had = [[("o0", "Offer 0")]]  # whole, since the last that readers saw
    before_last = 0

    def rebuild() -> None:
        tenant.offers = [
            offer(number, name=f"{len(had)}") for number in random.sample(range(9), random.randint(0, 9))
        ]
        tenant.commit = f"c{len(had)}"
        had.append([(one["id"], one["name"]) for one in tenant.offers])

    def look(cache: CatalogCache[Any]) -> None:
        nonlocal before_last
        seen = [(one.id, one.name) for one in cache]
        assert seen in had[before_last:], "neither mixed, nor cut, nor older than what was seen before"
        before_last = had.index(seen, before_last)
        assert all(cache.get(name) is cache.by_path(f"/offers/{name[1:]}") is not None for name, _ in seen)

    tenant.offers = [offer(0)]
    async with cached(limio, every=10.0) as cache:
        await cache.loaded()
        for _ in range(60):
            match random.choice(["rebuild", "during", "away", "back", "slow", "short", "ask", "wait"]):
                case "rebuild":
                    rebuild()
                case "during":
                    tenant.before_page = lambda number: (
                        rebuild() if number and random.random() < 0.3 else None
                    )
                case "away":
                    kinds: list[Any] = [answer({}, 503), errors.AnswerLost("reset"), answer(b"<html>")]
                    tenant.away = random.choice(kinds)
                case "short":
                    tenant.loads_fail = answer(
                        {"hits": 99, "items": tenant.offers[:1], "commitId": tenant.commit}
                    )
                case "back":
                    tenant.away = tenant.loads_fail = None
                    tenant.before_page = lambda number: None
                case "slow":
                    tenant.takes = random.choice([0.0, 0.5, 3.0])
                case "ask":
                    with suppress(errors.LimioError):
                        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(cache.refresh())), 90)
                case _:
                    pass
            for _ in range(10):
                await asyncio.sleep(random.random() * 2)
                look(cache)
        tenant.away = tenant.loads_fail = None
        tenant.before_page, tenant.takes = lambda number: None, 0.0
        await asyncio.sleep(120)
        look(cache)
        assert before_last == len(had) - 1 or had[before_last] == had[-1]


FORKING = """
import asyncio, os, sys
from limio_async import ApiKey, CatalogCache, Limio, errors
from limio_async.emulator import InMemoryTransport, World

async def child(cache):
    for call in (cache.refresh, cache.loaded):
        try:
            await call()
        except errors.ClientClosed:
            continue
        return 1
    return 0 if len(cache) and cache.usable else 2

async def main():
    world = World()
    client = Limio(auth=ApiKey(world.api_key), transport=InMemoryTransport(world))
    async with client as limio, CatalogCache(limio, limio.offers.list) as cache:
        await cache.loaded(timeout=20)
        pid = os.fork()
        if not pid:
            os._exit(asyncio.run(child(cache)))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

sys.exit(asyncio.run(main()))
"""


def test_a_child_that_was_forked_within_the_block_reads_and_refreshes_nothing() -> None:
    assert subprocess.run([sys.executable, "-c", FORKING], check=False, timeout=60).returncode == 0
