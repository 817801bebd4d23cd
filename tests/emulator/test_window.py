"""The window's doors: who is let in, and what its buttons may ask for. How it looks, a browser judges."""

from __future__ import annotations

import json
from typing import Any

import pytest

from limio_async.core.wire import Request, Response
from limio_async.emulator import World
from limio_async.emulator.http.window import PREFIX, Window
from limio_async.emulator.server import serve

HOST = "127.0.0.1:8642"


def ask(
    world: World, path: str = "state", act: object = None, *, peer: str = "127.0.0.1", **headers: str
) -> Response:
    given = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    body = None if act is None else json.dumps(act).encode()
    method = "GET" if act is None else "POST"
    request = Request(operation="", method=method, target=PREFIX + path, headers=given, body=body)
    return Window(world).answer(request, peer=peer)


def act(world: World, **asked: Any) -> Response:
    return ask(world, "act", asked, x_limio_emulator="window")


def test_the_page_may_run_its_own_script_only_and_ask_nobody_else(world: World) -> None:
    answer = ask(world, "")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert b"innerHTML" not in answer.body
    assert b"https://" not in answer.body
    assert (answer.headers["x-frame-options"], answer.headers["cache-control"]) == ("DENY", "no-store")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:8642", "[::1]:8642", "127.0.0.1"])
def test_every_name_of_this_machine_is_let_in(world: World, host: str) -> None:
    assert ask(world, host=host).status == 200


@pytest.mark.parametrize(
    "strange",
    [
        {"peer": "192.0.2.7"},
        {"peer": ""},
        {"host": "attacker.example"},
        {"host": "127.0.0.1.attacker.example"},
        {"host": "attacker.example@127.0.0.1.nip.example"},
        {"host": ""},
        {"host": "[::1"},
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8642"},
        {"origin": f"https://{HOST}"},
    ],
)
def test_other_machines_and_other_sites_are_refused(world: World, strange: dict[str, str]) -> None:
    assert ask(world, **strange).status == 403
    assert ask(world, "", **strange).status == 403


def test_a_post_that_any_page_could_send_is_refused_and_does_nothing(world: World) -> None:
    before = world.now()
    assert ask(world, "act", {"action": "advance", "seconds": 60}).status == 403
    assert world.now() == before
    assert act(world, action="advance", seconds=60).status == 200
    assert world.now() == before + 60


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"action": "dance"},
        {"action": "advance"},
        {"action": "advance", "seconds": -1},
        {"action": "advance", "seconds": 1e12},
        {"action": "arm"},
        {"action": "arm", "fault": {"on": "listOffers", "do": "dance"}},
        {"action": "arm", "fault": {"on": "dance", "do": "reset"}},
        {"action": "advance", "seconds": 1, "more": 1},
    ],
)
def test_what_no_button_asks_for_is_a_bad_request_that_says_why(world: World, asked: dict[str, Any]) -> None:
    answer = act(world, **asked)
    assert answer.status == 400
    assert len(json.loads(answer.body)["message"]) > 10


def test_it_shows_what_was_sent_and_answered_newest_first(world: World) -> None:
    assert json.loads(ask(world).body)["webhooks"] == {"to": [], "total": 0, "latest": []}
    world.webhooks.to("http://me:pass@host.test/{type}")
    for said in ("", "no answer in 2 s"):
        world.webhooks.ring("order_submitted", {})
        [sending] = world.webhooks.take()
        world.webhooks.answered(sending, None if said else 202, said)
    shown = json.loads(ask(world).body)["webhooks"]
    assert (shown["to"], shown["total"]) == (["http://host.test/{type}"], 2)
    assert [(one["number"], one["type"], one["taken"], one["said"]) for one in shown["latest"]] == [
        (2, "order_submitted", False, "no answer in 2 s"),
        (1, "order_submitted", True, "answered 202"),
    ]


def test_unknown_paths_and_methods_are_refused(world: World) -> None:
    assert ask(world, "nothing").status == 404
    assert ask(world, "act").status == 405


def test_every_fault_that_the_form_offers_can_be_armed_and_cleared(world: World) -> None:
    choices = json.loads(ask(world).body)["faults"]["choices"]
    for choice in choices:
        answer = act(world, action="arm", fault={"on": "listOffers", **choice["fault"], "times": 1})
        assert answer.status == 200, answer.body
    assert len(json.loads(ask(world).body)["faults"]["armed"]) == len(choices) > 20
    act(world, action="clear_faults")
    assert world.faults.armed == []


async def test_only_a_server_that_was_told_so_has_a_window(world: World) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for window, status in ((True, 200), (False, 404)):
            async with serve(world, port=0, window=window) as url, session.get(f"{url}{PREFIX}") as answer:
                assert answer.status == status
    assert world.count() == 1
