"""The control endpoint: what Python does to a World, for others."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest

from limio_async.core.wire import Request
from limio_async.emulator import World
from limio_async.emulator.http.control import CONTROL, Control
from limio_async.emulator.server import serve

from .visitor import Visitor


def ask(world: World, payload: object, **headers: str) -> tuple[int, Any]:
    given = {"host": "127.0.0.1:8642", "content-type": "application/json", **headers}
    answer = Control(world).answer(
        Request(
            operation="",
            method="POST",
            target=CONTROL,
            headers={name.replace("_", "-"): value for name, value in given.items()},
            body=payload if isinstance(payload, bytes) else msgspec.json.encode(payload),
        )
    )
    return answer.status, msgspec.json.decode(answer.body)


def test_all_that_python_does_can_be_asked_for(world: World, visitor: Visitor) -> None:
    visitor.token()
    fault = {"on": "listSegments", "do": "status", "code": 503}
    status, state = ask(world, {"action": "arm", "fault": fault})
    assert (status, state["faults"]) == (200, [{"fault": fault, "fired": 0, "spent": False}])
    assert visitor.ask("/api/segments").status == 503
    assert ask(world, {"action": "clear_faults"})[1]["faults"] == []
    before = world.now()
    assert ask(world, {"action": "advance", "seconds": 60})[1]["now"] == before + 60
    page = visitor.catalog("offers", all=True, pageSize=100)
    assert [
        one[0] for one in (ask(world, {"action": "expire_scrolls"}), ask(world, {"action": "expire_tokens"}))
    ]
    assert visitor.ask_next("offers", page).status == 404
    assert visitor.ask_objects("orders").status == 401
    assert len(ask(world, {"action": "add_offers", "count": 25})[1]["ids"]) == 25
    assert visitor.catalog("offers")["hits"]["value"] == 255


def test_lists_and_reads_are_made_unkind_and_kind_again(world: World, visitor: Visitor) -> None:
    lists = {"late": 5.0, "uneven": True, "order": "newest-first", "data": "null"}
    assert ask(world, {"action": "set_lists", "lists": lists})[1]["lists"] == lists
    assert ask(world, {"action": "set_reads", "reads": {"late": 5}})[1]["reads"] == {"late": 5.0}
    rows = visitor.objects("orders")["items"]
    assert rows[0]["created"] > rows[1]["created"]
    assert rows[0]["data"] is None
    kind = {"late": 0.0, "uneven": False, "order": "oldest-first", "data": "summary"}
    assert ask(world, {"action": "set_lists", "lists": {"late": 5}})[1]["lists"] == {**kind, "late": 5.0}
    state = ask(world, {"action": "clear_faults"})[1]
    assert (state["lists"], state["reads"]) == (kind, {"late": 0.0})


def test_webhooks_are_made_unkind_and_are_as_they_were_again(world: World) -> None:
    usual = ask(world, {"action": "clear_faults"})[1]["webhooks"]
    given = {
        "retries": 3,
        "wait": 5.0,
        "duplicates": 1,
        "late": 5.0,
        "uneven": True,
        "mixed": True,
        "loss": 0.5,
    }
    assert usual.keys() == given.keys()
    assert ask(world, {"action": "set_webhooks", "webhooks": given})[1]["webhooks"] == given
    assert ask(world, {"action": "clear_faults"})[1]["webhooks"] == usual


def test_a_world_is_saved_and_restored_and_several_actions_go_in_order(
    world: World, visitor: Visitor
) -> None:
    saved = ask(world, {"action": "snapshot"})[1]
    answers = ask(world, [{"action": "add_offers", "count": 1}, {"action": "restore", "snapshot": saved}])[1]
    assert len(answers) == 2
    assert visitor.catalog("offers")["hits"]["value"] == 230
    assert ask(world, {"action": "restore", "snapshot": {}})[0] == 400


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{", "truncated"),
        ({"action": "explode"}, "explode"),
        ({"action": "advance", "seconds": -1}, "$.seconds"),
        ({"action": "advance"}, "missing required field"),
        ({"action": "arm", "fault": {"on": "listOfers", "do": "html"}}, "did you mean listOffers"),
        ({"action": "add_offers", "count": 10**9}, "$.count"),
        ({"action": "set_lists", "lists": {"late": -1}}, "$.lists.late"),
        ({"action": "set_lists", "lists": {"order": "newest"}}, "$.lists.order"),
        ({"action": "set_reads", "reads": {"lat": 5}}, "lat"),
        ({"action": "set_webhooks", "webhooks": {"loss": 2}}, "$.webhooks.loss"),
        ({"action": "set_webhooks", "webhooks": {"again": 2}}, "again"),
    ],
)
def test_what_is_not_understood_is_said(world: World, payload: object, said: str) -> None:
    status, answer = ask(world, payload)
    assert status == 400
    assert said in answer["message"]


def test_pages_of_a_browser_and_other_names_are_turned_away(world: World) -> None:
    action = {"action": "clear_faults"}
    assert ask(world, action, origin="http://127.0.0.1:8642")[0] == 403
    assert ask(world, action, host="evil.example:8642")[0] == 403
    assert ask(world, action, content_type="text/plain")[0] == 415


async def test_it_is_off_unless_it_is_asked_for(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        async with serve(world, port=0) as url, session.get(url + CONTROL) as answer:
            assert answer.status == 404
        async with serve(world, port=0, control=True) as url:
            async with session.get(url + CONTROL) as answer:
                assert (await answer.json())["faults"] == []
            async with session.put(url + CONTROL) as answer:
                assert answer.status == 405
    assert world.count() == 1
