"""What comes out: exact bytes, an array, a table; nothing that a terminal obeys."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from typing import Any

import pytest

from limio_async.cli.output import columns_of
from limio_async.core.wire import Response
from limio_async.emulator import World
from tests.cli.conftest import Run, command_line

ITEMS = [
    b'{"id": "1",  "name":"\\u001b[31mred", "x":1.0}',
    b'{"id":"2","name":"[bold]\xc2\x9b2J","unknown":null}',
]


def page(*items: bytes) -> Response:
    body = b'{"items":[' + b" , ".join(items) + b'],"hits":%d}' % len(items)
    return Response(status=200, headers={}, body=body)


def test_ndjson_is_the_exact_bytes_of_each_item(limio: Run, world: World) -> None:
    world.script("listOffers", page(*ITEMS))
    result = limio("--emulated", "offers", "list")
    assert result.stdout_bytes == b"\n".join(ITEMS) + b"\n"
    assert result.stderr.startswith("limio: listOffers: 2 items of 2 in 1 page, complete, ")


def test_an_item_over_several_lines_becomes_one(limio: Run, world: World) -> None:
    world.script("listOffers", page(b'{\n  "id": 1.50\n}'))
    assert limio("--emulated", "offers", "list").stdout == '{"id":1.50}\n'


def test_json_is_one_array_that_holds_the_items_as_they_came(limio: Run, world: World) -> None:
    result = limio("--emulated", "offers", "list", "-o", "json", "--page-size", "50")
    assert len(json.loads(result.stdout)) == 120
    world.script("listOffers", page(*ITEMS), page())
    assert (
        limio("--emulated", "offers", "list", "-o", "json").stdout_bytes
        == b"[\n" + b",\n".join(ITEMS) + b"\n]\n"
    )
    assert limio("--emulated", "offers", "list", "-o", "json").stdout == "[]\n"


def test_a_table_continues_from_page_to_page_and_obeys_nothing(limio: Run, world: World) -> None:
    world.script("listOffers", page(*ITEMS))
    table = limio("--emulated", "offers", "list", "-o", "table").stdout
    assert "�[31mred" in table
    assert "[bold]�2J" in table
    assert "\x1b" not in table
    table = limio("--emulated", "offers", "list", "-o", "table", "--page-size", "50").stdout
    assert len(table.splitlines()) == 2 + 120
    assert len({len(line) for line in table.splitlines()}) == 1


def test_a_single_answer_keeps_what_our_types_do_not_know(limio: Run, world: World) -> None:
    body = b'{"id": "sub-1", "nobody_knows": [1.0, {}]}'
    world.script("getObject", *[Response(status=200, headers={}, body=body)] * 3)
    get = ["--emulated", "subscriptions", "get", "sub-1"]
    assert limio(*get).stdout_bytes == body + b"\n"
    assert limio(*get, "-o", "json").stdout == json.dumps(json.loads(body), indent=2) + "\n"
    assert "nobody_knows   [1.0,{}]" in limio(*get, "-o", "table").stdout


def test_columns_are_the_fields_that_tell_items_apart() -> None:
    assert columns_of([{"data": {}, "zip": "1", "name": "a"}, {"id": 1, "zip": None}]) == (
        "id",
        "name",
        "zip",
    )
    assert columns_of([1, "a"]) == ("value",)


def test_a_limit_stops_the_walk_and_asks_for_no_page_more(limio: Run, world: World) -> None:
    result = limio("--emulated", "offers", "list", "--limit", "30", "--page-size", "50")
    assert result.stdout.count("\n") == 30
    assert "30 items of 120 in 1 page, stopped at the limit" in result.stderr
    assert result.exit_code == 0
    assert world.count("listOffers") == 1


def test_quiet_says_nothing(limio: Run, world: World) -> None:
    assert limio("-q", "--emulated", "offers", "list").stderr == ""


def on_a_terminal(*args: str, stream: str, no_color: str) -> str:
    """What is shown where *stream* of the command is a terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm", "COLUMNS": "100"}
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    shown = b""
    with subprocess.Popen(command_line(*args), env=env, **streams) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # that is how Linux says that the other side is closed
            while some := os.read(ours, 4096):
                shown += some
        os.close(ours)
        assert process.wait() == 0
    return shown.decode()


@pytest.mark.parametrize("no_color", ["1", ""])
def test_a_terminal_gets_a_table_in_colour_unless_it_is_unwanted(no_color: str) -> None:
    args = ["--emulated", "offers", "list", "--limit", "3"]
    shown = on_a_terminal(*args, stream="stdout", no_color=no_color)
    assert "Digital Monthly 000000" in shown
    assert ("\x1b" in shown) == (not no_color)


def test_a_bar_on_stderr_counts_items_and_pages() -> None:
    shown = on_a_terminal("--emulated", "offers", "list", stream="stderr", no_color="1")
    assert "20,000 items of 20,000" in shown
    assert "items/s" in shown
    assert " pages" in shown
    quiet = on_a_terminal("-q", "--emulated", "offers", "list", "--limit", "1", stream="stderr", no_color="1")
    assert quiet == ""


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    with subprocess.Popen(
        command_line("--emulated", "offers", "list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"path"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_dry_run_prints_the_request_for_curl_and_sends_nothing(limio: Run, world: World) -> None:
    result = limio("--emulated", "orders", "submit", "--body", '{"order_type":"renew"}', "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith("curl --request POST https://limio.emulated/api/order ")
    assert "authorization: Bearer ***" in result.stdout
    assert result.stderr == "limio: submitOrder: not sent; retry class once\n"
    assert not world.count()


def test_a_walk_may_start_again_where_it_is_told_to(limio: Run, world: World) -> None:
    world.script("listOffers", None, "lost")
    result = limio("--emulated", "offers", "list", "--restart", "--page-size", "20")
    assert result.exit_code == 0
    assert len(set(result.stdout.splitlines())) == len(result.stdout.splitlines()) == world.offers
    assert ", 1 restarts, " in result.stderr
