"""Every operation is a command, made from what is known about it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.cli.app import app
from limio_async.cli.loop import in_loop
from limio_async.cli.operation import command_for, hyphens
from limio_async.core.wire import Endpoint
from limio_async.emulator import World
from tests.cli.conftest import Run

ALL = [*ENDPOINTS.values(), *VIEWS]


def test_every_operation_is_a_command_whose_help_names_it(limio: Run) -> None:
    for endpoint in ALL:
        result = limio(hyphens(endpoint.resource), hyphens(endpoint.name), "--help")
        assert result.exit_code == 0, result.output
        assert f"{endpoint.operation}: {endpoint.method} {endpoint.path}" in result.stdout


def test_every_parameter_can_be_given_and_no_two_are_called_alike() -> None:
    for endpoint in ALL:
        params = command_for(endpoint).params
        names = {param.name for param in params}
        assert {f"api_{one.name}" for one in endpoint.params if one.name not in endpoint.bound} <= names
        flags = [flag for param in params for flag in (*param.opts, *param.secondary_opts)]
        assert len(flags) == len(set(flags)), endpoint.operation


def test_an_operation_that_is_added_needs_nothing_else(limio: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    added: Endpoint[Any] = Endpoint(
        operation="paintOffers",
        resource="paint_shop",
        name="paint_all",
        method="POST",
        path="/api/p",
        returns=Any,
    )
    monkeypatch.setattr("limio_async.cli.app.ENDPOINTS", {**ENDPOINTS, "paintOffers": added})
    assert "paintOffers" in limio("paint-shop", "paint-all", "--help").stdout
    assert "paint-shop" in limio("--help").stdout


def test_names_may_be_written_with_underscores(limio: Run) -> None:
    assert limio("add_ons", "list", "--help").stdout == limio("add-ons", "list", "--help").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["offer", "list"], "did you mean offers or offers-v2?"),
        (["offers", "lst"], "did you mean list?"),
        (["offers", "list", "--tgs", "x"], "--tags"),
        (["zzz"], "no such command: zzz"),
    ],
)
def test_an_unknown_name_is_answered_with_those_near_it(limio: Run, args: list[str], said: str) -> None:
    result = limio("--emulated", *args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_arguments_go_where_the_endpoint_says(limio: Run, world: World) -> None:
    args = "--tags /tags/uk --reduced-data --attributes a__limio=1 --attributes b=2=3 --modified-after 2024-01-31"
    assert limio("--emulated", "offers", "list", *args.split(), "--page-size", "7").exit_code == 0
    (first, *_) = world.requests("listOffers")
    assert first.query == {
        "tags": "/tags/uk",
        "reducedData": "true",
        "opt.modifiedAfter": "2024-01-31",
        "attributes.a__limio": "1",
        "attributes.b": "2=3",
        "opt.all": "true",
        "opt.pageSize": "7",
    }


def test_a_path_parameter_with_a_default_is_an_option(limio: Run, world: World) -> None:
    limio("--emulated", "objects", "get", "subscriptions", "a b/c", "--service", "zuora")
    assert world.requests("getObject")[0].target == "/api/objects/zuora/subscriptions/a%20b%2Fc"


@pytest.mark.parametrize("source", ["inline", "file", "stdin"])
def test_a_body_is_sent_byte_for_byte(limio: Run, world: World, source: str) -> None:
    body = '{"order_type": "new",\n  "total": 1.00, "x": "\u00e9"}'
    Path("order.json").write_text(body, encoding="utf-8")
    given = {"inline": body, "file": "@order.json", "stdin": "-"}[source]
    limio("--emulated", "orders", "submit", "--body", given, input=body)
    assert world.requests("submitOrder")[0].body == body.encode()


def test_the_body_of_a_form_is_given_as_an_object(limio: Run, world: World) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": world.client_id,
        "client_secret": world.client_secret,
    }
    result = limio("--emulated", "oauth", "create-token", "--body", "-", input=json.dumps(form))
    assert result.exit_code == 0, result.stderr
    assert "access_token" in json.loads(result.stdout)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("@nope.json", "cannot read nope.json: No such file or directory"),
        ("@.", "cannot read .: Is a directory"),
        ("{", "not JSON: Input data was truncated"),
        ("@bad.json", "@bad.json is not JSON: JSON is malformed"),
    ],
)
def test_a_body_that_cannot_be_sent_is_refused_before_anything_is(
    limio: Run, world: World, given: str, said: str
) -> None:
    Path("bad.json").write_text("<order/>")
    result = limio("--emulated", "orders", "submit", "--body", given)
    assert result.exit_code == 2
    assert result.stderr.startswith("limio: orders submit: ")
    assert said in result.stderr
    assert not world.count()


@pytest.mark.parametrize("command", ["orders submit", "oauth create-token"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\xff"}',
        b'{"a":',
        b"",
        b"<html>",
        b'{"a":' + b"[" * 100_000,
        b'{"a":"\\ud800"}',
        bytes(range(256)),
    ],
)
def test_a_body_that_is_no_json_is_refused_before_anything_is_sent(
    limio: Run, world: World, body: bytes, command: str
) -> None:
    Path("body").write_bytes(body)
    for given, piped in (("@body", None), ("-", body)):
        result = limio("--emulated", *command.split(), "--body", given, input=piped)
        assert result.exit_code == 2
        assert f"{given} is not {'a JSON object' if 'token' in command else 'JSON'}" in result.stderr
    assert world.count() == 0


def test_a_cookie_comes_from_a_file_or_the_environment_never_from_a_flag(limio: Run, world: World) -> None:
    command = ["--emulated", "baskets", "update", "--body", "{}"]
    refused = limio(*command)
    assert refused.exit_code == 2
    assert "--cookie-file or LIMIO_COOKIE" in refused.stderr
    assert limio(*command, "--cookie", "limio_state=1").exit_code == 2
    Path("cookie").write_text("limio_state=1\n")
    limio(*command, "--cookie-file", "cookie")
    limio(*command, env={"LIMIO_COOKIE": "limio_state=1"})
    asked = world.requests("updateBasket")
    assert [one.status for one in asked] == [
        401
    ] * 4  # no such basket: each renewed its token and asked once more


def test_operations_are_listed_for_people_and_for_programs(limio: Run) -> None:
    records = json.loads(limio("operations", "--json").stdout)
    assert [one["operation"] for one in records] == [one.operation for one in ENDPOINTS.values()]
    assert len(records) == 68
    assert records[0]["auth"] == ["bearer"]
    assert records[0]["cursor"] is None
    assert records[0].keys() == {
        "operation", "resource", "name", "method", "path", "auth", "retry", "cursor", "source",
    }  # fmt: skip
    table = limio("operations", "add-on").stdout
    assert "add-ons" in table
    assert "getObject" not in table


def test_a_shell_can_complete_names(limio: Run) -> None:
    assert "_LIMIO_COMPLETE" in limio("completion", "zsh").stdout
    env = {"_LIMIO_COMPLETE": "zsh_complete", "COMP_WORDS": "limio offers-", "COMP_CWORD": "1"}
    from click.testing import CliRunner

    assert "offers-v2" in CliRunner().invoke(app, [], prog_name="limio", env=env).stdout


def test_uvloop_that_is_not_installed_is_asked_for_in_vain(
    limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    result = limio("--emulated", "offers", "list", env={"LIMIO_UVLOOP": "1"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "limio: --uvloop needs an extra: pip install 'limio_async[fast]'\n"


@pytest.mark.parametrize("on_uvloop", [False, True])
def test_a_command_runs_in_the_loop_that_was_asked_for(on_uvloop: bool) -> None:
    async def module() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert in_loop(module(), on_uvloop=on_uvloop).startswith("uvloop" if on_uvloop else "asyncio")
