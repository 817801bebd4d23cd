"""What is armed happens, when it was said to, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from limio_async import errors
from limio_async.core.wire import Request
from limio_async.emulator import InMemoryTransport, World
from limio_async.emulator.faults.faults import Armed, On
from limio_async.emulator.faults.kinds import KINDS
from limio_async.emulator.server import serve
from limio_async.transport import AiohttpTransport

from .visitor import Visitor

Arm = Callable[[On], Armed]


def statuses(visitor: Visitor, calls: int, path: str = "/api/segments") -> list[int]:
    return [visitor.ask(path, authorization=visitor.world.api_key).status for _ in range(calls)]


def ids(pages: Iterator[dict[str, Any]]) -> list[str]:
    return [item["id"] for page in pages for item in page["items"]]


# ---- when


def test_a_fault_on_a_call_happens_once_and_on_every_nth_without_end(world: World, visitor: Visitor) -> None:
    world.faults.on("listSegments", call=2).status(503)
    assert statuses(visitor, 4) == [200, 503, 200, 200]
    world.faults.clear()
    world.faults.on("listSegments", every=2).status(503)
    assert statuses(visitor, 6) == [200, 503] * 3


def test_a_fault_without_conditions_happens_always_or_as_often_as_is_said(
    world: World, visitor: Visitor
) -> None:
    world.faults.on("listSegments", times=2).status(503)
    assert statuses(visitor, 4) == [503, 503, 200, 200]
    world.faults.on("listSegments").status(500)
    assert statuses(visitor, 3) == [500] * 3
    assert statuses(visitor, 1, "/api/assets") == [200]
    world.faults.clear()
    assert statuses(visitor, 1) == [200]


def test_chance_follows_the_seed(world: World, visitor: Visitor) -> None:
    def drawn(seed: int) -> list[int]:
        world.faults.clear()
        world.faults.on("listSegments", probability=0.3, seed=seed).status(502)
        return statuses(visitor, 200)

    assert drawn(3) == drawn(3) != drawn(4)
    assert 30 < drawn(3).count(502) < 90


def test_of_several_faults_one_happens_to_a_call_and_a_chain_goes_step_by_step(
    world: World, visitor: Visitor
) -> None:
    world.faults.on("listSegments").status(503).then(times=2).status(500).then().status(429)
    assert statuses(visitor, 5) == [503, 500, 500, 429, 200]
    world.faults.clear()
    world.faults.on("listSegments", times=1).status(503)
    world.faults.on("*").status(404)
    assert statuses(visitor, 2) == [503, 404]


def test_hits_tell_which_faults_happened_how_often_and_the_log_tells_to_whom(
    world: World, visitor: Visitor
) -> None:
    armed = world.faults.on("listSegments", every=2).status(503)
    world.faults.on("listAssets").html()
    statuses(visitor, 5)
    assert world.faults.hits == {"listSegments: status (every=2, code=503)": 2}
    assert armed.fired == 2
    assert [one.fault for one in world.requests("listSegments")][:2] == [None, str(armed.fault)]


def test_where_names_path_parameters(world: World, visitor: Visitor) -> None:
    world.faults.on("listObjects", where={"path_type": "orders"}).status(503)
    assert visitor.ask_objects("subscriptions").status == 200
    assert visitor.ask_objects("orders").status == 503


def test_pages_are_counted_for_each_walk_of_either_cursor(world: World, visitor: Visitor) -> None:
    visitor.token()
    for scroll_ids in ("same", "changing"):
        world.scroll_ids = scroll_ids
        walks = [visitor.walk("offers", pageSize=100) for _ in range(2)]
        next(walks[1])
        world.faults.on("listOffers", page=3, times=2).status(423)
        for walk in walks:
            with pytest.raises(AssertionError, match="Locked"):
                list(walk)
    before = world.count("listObjects")
    world.faults.on("listObjects", page=2).status(409)
    with pytest.raises(AssertionError, match="Conflict"):
        list(visitor.pages("subscriptions", limit=50))
    assert world.count("listObjects") == before + 2


# ---- what becomes of a page


def test_an_expired_scroll_stays_expired_and_others_do_not(world: World, visitor: Visitor) -> None:
    first = visitor.catalog("offers", all=True, pageSize=100)
    other = visitor.catalog("offers", all=True, pageSize=100)
    world.faults.on("listOffers", page=2).expire_scroll(code=410)
    assert [visitor.ask_next("offers", first).status for _ in range(2)] == [410, 410]
    assert visitor.ask_next("offers", other).status == 200


def test_a_repeated_page_holds_the_walk_and_a_dropped_one_skips(world: World, visitor: Visitor) -> None:
    truth = ids(visitor.walk("offers", pageSize=50))
    world.faults.on("listOffers", page=3).repeat_page()
    assert ids(visitor.walk("offers", pageSize=50)) == truth[:100] + truth[50:]
    world.faults.on("listOffers", page=2).drop_page()
    assert ids(visitor.walk("offers", pageSize=50)) == truth[:50] + truth[100:]
    keys = ids(visitor.pages("subscriptions", limit=25))
    world.faults.on("listObjects", page=2).drop_page()
    assert ids(visitor.pages("subscriptions", limit=25)) == keys[:25] + keys[50:]


def test_an_empty_page_of_a_key_walk_loses_nothing_on_any_page(world: World, visitor: Visitor) -> None:
    truth = ids(visitor.pages("subscriptions", limit=25))
    for page in (1, 2):
        world.faults.on("listObjects", page=page).empty_page()
    pages = list(visitor.pages("subscriptions", limit=25))
    assert [len(page["items"]) for page in pages][:4] == [0, 25, 0, 25]
    assert ids(iter(pages)) == truth
    world.faults.on("listOffers", page=2).empty_page()
    assert [len(page["items"]) for page in visitor.walk("offers", pageSize=100)] == [100, 0]


@pytest.mark.parametrize("strange", ["x" * 9000, "é\r\n\t\u2028", '{"from": null}', "%25&=?#"])
def test_a_changed_cursor_is_understood(world: World, visitor: Visitor, strange: str) -> None:
    truth = ids(visitor.pages("subscriptions", limit=50))
    world.faults.on("listObjects", page=1).change_cursor(strange)
    pages = list(visitor.pages("subscriptions", limit=50))
    assert pages[0]["queryMore"] == strange
    assert ids(iter(pages)) == truth
    world.faults.on("listOffers", page=2).change_cursor(strange)
    assert len(ids(visitor.walk("offers", pageSize=100))) == world.offers


def test_a_cursor_comes_back_or_ends_in_every_form(world: World, visitor: Visitor) -> None:
    first = visitor.objects("subscriptions", limit=50)
    world.faults.on("listObjects", page=2).repeat_cursor()
    assert (
        visitor.objects("subscriptions", limit=50, queryMore=first["queryMore"])["queryMore"]
        == (first["queryMore"])
    )
    for form, expected in {"absent": "gone", "null": None, "empty": ""}.items():
        world.faults.on("listObjects", page=1).end_early(form)  # type: ignore[arg-type]
        assert visitor.objects("subscriptions", limit=50).get("queryMore", "gone") == expected


@pytest.mark.parametrize("name", ["offers", "campaigns"])
def test_a_changed_commit_id_stays_the_same_from_there_on(world: World, visitor: Visitor, name: str) -> None:
    operation = "listOffers" if name == "offers" else "listCampaigns"
    world.faults.on(operation, from_page=2).change_commit_id()
    found = [page.get("commitId") or page["header"]["commitId"] for page in visitor.walk(name, pageSize=10)]
    assert len(found) > 3
    assert len(set(found[1:])) == 1
    assert found[0] != found[1]


def test_items_are_doubled_dropped_or_spoilt(world: World, visitor: Visitor) -> None:
    truth = ids(visitor.walk("offers", pageSize=100))
    world.faults.on("listOffers", page=2).duplicate_items(2)
    assert ids(visitor.walk("offers", pageSize=100)) == truth[:100] + truth[98:]
    world.faults.on("listOffers", page=1).drop_items(3)
    assert ids(visitor.walk("offers", pageSize=100)) == truth[3:]
    world.faults.on("listOffers", page=1).bad_item(at=1)
    assert visitor.catalog("offers")["items"][1] == 7
    world.faults.on("listOffers", page=1).bad_item(field="id", value=["no"])
    assert visitor.catalog("offers")["items"][0]["id"] == ["no"]
    world.faults.on("listOffers", page=1).wrong_hits(9)
    assert visitor.catalog("offers")["hits"] == {"value": 9, "relation": "eq"}
    world.hits_form = "number"
    world.faults.on("listOffers", page=1).wrong_hits(9)
    assert visitor.catalog("offers")["hits"] == 9


def test_a_page_limit_is_enforced_by_bytes(world: World, visitor: Visitor) -> None:
    world.faults.on("listOffers").page_limit(20_000, code=413)
    sizes = {
        size: visitor.ask("/api/offers", {"opt.pageSize": size}, authorization=world.api_key)
        for size in (1, 200)
    }
    assert [answer.status for answer in sizes.values()] == [200, 413]


# ---- what becomes of a status


@pytest.mark.parametrize("code", [401, 403, 404, 409, 422, 423, 429, 500, 502, 503, 504])
def test_every_status_comes_with_a_message_and_without_effect(
    world: World, visitor: Visitor, code: int
) -> None:
    world.faults.on("createToken", call=1).status(code)
    with pytest.raises(AssertionError):
        visitor.token()
    assert (world.tokens_issued, world.count("createToken")) == (0, 1)
    assert world.requests()[0].status == code


def test_a_status_may_hide_that_the_call_happened(world: World, visitor: Visitor) -> None:
    world.faults.on("createToken", call=1).status(502, html=True, executed=True)
    with pytest.raises(AssertionError, match="Bad Gateway</h1>"):
        visitor.token()
    assert world.tokens_issued == 1


def test_retry_after_comes_as_seconds_as_a_date_and_as_nonsense(world: World, visitor: Visitor) -> None:
    def hint(retry_after: float | str, *, as_date: bool = False) -> dict[str, str]:
        world.faults.clear()
        world.faults.on("listSegments").status(429, retry_after=retry_after, as_date=as_date)
        return dict(visitor.ask("/api/segments").headers)

    assert hint(2)["retry-after"] == "2"
    assert hint(1e9)["retry-after"] == "1000000000"
    assert hint("²")["retry-after"] == "²"
    dated = hint(90, as_date=True)
    wait = parsedate_to_datetime(dated["retry-after"]) - parsedate_to_datetime(dated["date"])
    assert wait.total_seconds() == 90


def test_any_body_of_any_type_with_any_status(world: World, visitor: Visitor) -> None:
    world.faults.on("listSegments", call=1).status(200, body='{"hits": NaN}')
    assert visitor.ask("/api/segments").body == b'{"hits": NaN}'
    world.faults.on("listSegments", call=1).status(307, location="https://evil.example")
    assert visitor.ask("/api/segments").headers["location"] == "https://evil.example"
    world.faults.on("listSegments", call=1).html()
    assert visitor.ask("/api/segments").headers["content-type"].startswith("text/html")
    world.faults.on("listSegments", call=1).content_type("application/octet-stream")
    answer = visitor.ask("/api/segments", authorization=world.api_key)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")


# ---- how it arrives: in memory and over HTTP alike

WAYS: dict[str, tuple[Arm, type[Exception], int]] = {
    "never sent": (lambda on: on.never_sent(), errors.TransportError, 0),
    "lost": (lambda on: on.lose_answer(), errors.AnswerLost, 1),
    "reset": (lambda on: on.reset(), errors.AnswerLost, 1),
    "truncated": (lambda on: on.truncate_body(), errors.AnswerLost, 1),
    "truncated chunks": (lambda on: on.truncate_body("chunked"), errors.AnswerLost, 1),
    "truncated, no length": (lambda on: on.truncate_body("none"), errors.AnswerLost, 1),
    "late": (lambda on: on.delay(20), TimeoutError, 1),
    "slow": (lambda on: on.slow_body(20), TimeoutError, 1),
    "bomb": (lambda on: on.gzip_bomb(40), errors.Unreadable, 1),
    "not HTTP": (lambda on: on.not_http(), errors.AnswerLost, 1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("over", ["memory", "http"])
async def test_a_client_meets_the_same_in_memory_and_over_http(world: World, way: str, over: str) -> None:
    arm, expected, counted = WAYS[way]
    arm(world.faults.on("listSegments", call=1))
    timeout = 0.1 if way in {"late", "slow"} else 10.0
    ask = Request(
        operation="listSegments",
        method="GET",
        target="/api/segments",
        headers={"authorization": world.api_key},
        retry="once",
    )
    async with serve(world, port=0) as url:
        transport: Any = (
            InMemoryTransport(world) if over == "memory" else AiohttpTransport(url, user_agent="test")
        )
        with pytest.raises(expected):
            async with asyncio.timeout(timeout):  # a session ends it likewise
                await transport.send(ask, timeout=timeout)
        assert world.count() == counted
        assert (await transport.send(ask, timeout=10.0)).status == 200
        await transport.aclose()


@pytest.mark.parametrize("over", ["memory", "http"])
async def test_an_answer_that_is_late_but_in_time_arrives_whole(world: World, over: str) -> None:
    world.faults.on("listSegments", call=1).delay(0.05).then().slow_body(0.05)
    ask = Request(
        operation="x", method="GET", target="/api/segments", headers={"authorization": world.api_key}
    )
    async with serve(world, port=0) as url:
        transport: Any = (
            InMemoryTransport(world) if over == "memory" else AiohttpTransport(url, user_agent="test")
        )
        begun = asyncio.get_running_loop().time()
        late, slow, usual = [await transport.send(ask, timeout=10.0) for _ in range(3)]
        assert asyncio.get_running_loop().time() - begun >= 0.1
        assert late.body == slow.body == usual.body
        await transport.aclose()


async def test_a_client_that_hangs_up_within_a_slow_body_is_no_error_of_the_server(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.faults.on("listSegments").slow_body(0.2)
    async with serve(world, port=0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(
            f"GET /api/segments HTTP/1.1\r\nhost: x\r\nauthorization: {world.api_key}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
    assert not caplog.records


# ---- as data

SCRIPT = """\
# the second page is lost for good, one order in ten fails
[[fault]]
on = "listOffers"
page = 2
do = "expire_scroll"

[[fault]]
on = "submitOrder"
probability = 0.1
seed = 3
do = "status"
code = 429
retry_after = 2
"""


def test_a_file_arms_what_python_arms(world: World, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(SCRIPT, encoding="utf-8")
    read = [one.fault for one in world.faults.read(file)]
    assert read == [
        world.faults.on("listOffers", page=2).expire_scroll().fault,
        world.faults.on("submitOrder", probability=0.1, seed=3).status(429, retry_after=2).fault,
    ]


@pytest.mark.parametrize("do", KINDS)
def test_every_kind_is_data_and_python_alike(world: World, do: str) -> None:
    needs: dict[str, Any] = {
        "change_cursor": {"to": "x"},
        "wrong_hits": {"hits": 3},
        "status": {"code": 500},
        "delay": {"seconds": 1.5},
        "slow_body": {"seconds": 1.5},
    }
    data = {"on": "listOffers", "do": do, **needs.get(do, {})}
    armed = world.faults.arm(data)
    assert getattr(world.faults.on("listOffers"), do)(**needs.get(do, {})).fault == armed.fault
    assert msgspec.to_builtins(armed.fault) == data


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('on = "listOfers"\ndo = "html"', ":2: fault 1: on: unknown 'listOfers'; did you mean listOffers"),
        (
            'on = "listOffers"\ndo = "expire_scrol"',
            ":3: fault 1: do: unknown 'expire_scrol'; did you mean expire",
        ),
        (
            'on = "listOffers"\n\ndo = "html"\npgae = 2',
            ":5: fault 1: html has unknown 'pgae'; did you mean page",
        ),
        ('on = "listOffers"\ndo = "html"\npage = 0', ":4: fault 1: page: Expected `int` >= 1"),
        ('on = "listOffers"\ndo = "status"', ":1: fault 1: Object missing required field `code`"),
        ('on = "listOffers"', ":1: fault 1: do is missing; one of bad_item,"),
        ('on = "listOffers"\ndo = html', ": not TOML: Invalid value (at line 3, column 6)"),
    ],
)
def test_a_file_that_cannot_be_read_names_itself_and_the_line(
    world: World, tmp_path: Path, written: str, expected: str
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(f"[[fault]]\n{written}\n", encoding="utf-8")
    with pytest.raises(errors.ConfigurationError) as caught:
        world.faults.read(file)
    assert str(caught.value).startswith(f"{file}{expected}")
    assert "\n" not in str(caught.value)
    assert not world.faults.armed


def test_other_tables_and_files_are_refused_in_one_line(world: World, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    for written, expected in {
        b'title = "x"\n\n[[faults]]\non = "x"': f"{file}:1: unknown name 'title'",
        b'[fault]\non = "x"': f"{file}: write [[fault]], not [fault]",
        b"\xff": f"{file}: not UTF-8 text",
    }.items():
        file.write_bytes(written)
        with pytest.raises(errors.ConfigurationError) as caught:
            world.faults.read(file)
        assert str(caught.value).startswith(expected)
    with pytest.raises(errors.ConfigurationError, match="no such file or directory"):
        world.faults.read(tmp_path / "none.toml")


def test_what_python_says_wrong_is_refused_as_well(world: World) -> None:
    with pytest.raises(errors.ConfigurationError, match="did you mean listOffers"):
        world.faults.on("listOfers").html()
    with pytest.raises(errors.ConfigurationError, match="page: Expected"):
        world.faults.on("listOffers", page=-1).html()
    with pytest.raises(errors.ConfigurationError, match="a fault is a table"):
        world.faults.arm(["no"])  # type: ignore[arg-type]
