"""What a user is told who made a mistake or had bad luck: one line, the operation, the right exit code."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from limio_async import errors
from limio_async.cli.failures import Code, code_of
from limio_async.core.wire import Response
from limio_async.emulator import World
from limio_async.emulator.server import serve
from tests.cli.conftest import Run, command_line


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    """A world over HTTP, and its URL."""
    world = World(offers=30, subscriptions=5)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = serve(world, port=0)
    url = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    yield world, url
    asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def one_line(result: Result) -> str:
    assert result.stderr.startswith("limio: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    return result.stderr.removeprefix("limio: ").rstrip()


def test_a_tenant_is_reached_with_settings_from_the_environment(
    limio: Run, served: tuple[World, str]
) -> None:
    world, url = served
    env = {"LIMIO_HOST": url, "LIMIO_API_KEY": world.api_key}
    result = limio("offers", "list", "--page-size", "10", env=env)
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 30
    env = {"LIMIO_HOST": url, "LIMIO_CLIENT_ID": world.client_id, "LIMIO_CLIENT_SECRET": world.client_secret}
    assert limio("customers", "list", "--limit", "1", env=env).exit_code == 0


@pytest.mark.parametrize(
    ("env", "args", "said"),
    [
        ({"LIMIO_API_KEY": "public_wrong"}, "offers list", "listOffers: 401 Unauthorized"),
        ({"LIMIO_TOKEN": "expired"}, "orders list", "listObjects: 401 Unauthorized"),
        ({"LIMIO_CLIENT_ID": "a", "LIMIO_CLIENT_SECRET": "hunter2"}, "orders list", "createToken: "),
        ({"LIMIO_CLIENT_ID": "a"}, "orders list", "LIMIO_CLIENT_SECRET is not set"),
        ({"LIMIO_API_KEY": "two words"}, "offers list", "characters that a header cannot carry"),
        ({"LIMIO_API_KEY": "public_x"}, "orders list", "listObjects: takes a bearer token, the client has an API key"),
        ({}, "offers list", "the client has no credentials"),
    ],
)  # fmt: skip
def test_credentials_that_do_not_do_exit_with_3_and_are_not_shown(
    limio: Run, served: tuple[World, str], env: dict[str, str], args: str, said: str
) -> None:
    result = limio(*args.split(), env={"LIMIO_HOST": served[1], **env})
    assert result.exit_code == 3
    assert said in one_line(result)
    for name, secret in env.items():
        assert name == "LIMIO_CLIENT_ID" or secret not in result.output


def test_no_log_shows_a_secret(limio: Run, world: World) -> None:
    world.script("listObjects", Response(status=401, headers={}, body=b""))
    result = limio("-vv", "--emulated", "orders", "list")
    assert result.exit_code == 0
    assert "listObjects: ok (status 401, status 200), " in result.stderr
    assert "Bearer" not in result.output
    for secret in (world.client_id, world.client_secret, world.api_key, world.session_token):
        assert secret not in result.output


@pytest.mark.parametrize(
    ("host", "code", "said"),
    [
        ("http://127.0.0.1:9", 1, "listOffers: could not connect: Connect"),
        ("http://acme.prod.limio.com", 2, "plain http is for this machine only"),
        ("acme.prod.limio.com/offers", 2, "give the host name only"),
        ("acme:port", 2, "neither a host name nor a URL"),
        ("acme\x1b", 2, "neither a host name nor a URL"),
    ],
)
def test_a_wrong_host_is_named(limio: Run, host: str, code: int, said: str) -> None:
    result = limio("--host", host, "--timeout", "2", "offers", "list", env={"LIMIO_API_KEY": "public_x"})
    assert result.exit_code == code
    assert said in one_line(result)


def test_no_host_says_where_it_may_stand(limio: Run) -> None:
    result = limio("offers", "list")
    assert result.exit_code == 2
    for place in ("--host", "LIMIO_HOST", "config.toml", "--emulated"):
        assert place in one_line(result)


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, b"<html>hello</html>", 1, "getObject: expected JSON, got a page of HTML; is the host right? - at $"),
        (200, b'{"id":', 1, "getObject: input data was truncated"),
        (502, b"<html>\x1b[2J</html>", 1, "getObject: 502 (a page of HTML)"),
        (302, b"", 1, "redirects are not followed"),
        (404, b'{"message":"no\\n\\u001b[31msuch\\u009bthing"}', 1, "getObject: 404 no"),
        (401, b"", 3, "getObject: 401"),
        (403, b"{}", 1, "getObject: 403"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_answer_is_told_in_one_line(
    limio: Run, world: World, status: int, body: bytes, code: int, said: str
) -> None:
    world.script("getObject", *[Response(status=status, headers={}, body=body)] * 3)
    result = limio("--emulated", "subscriptions", "get", "sub-1")
    assert result.exit_code == code
    assert said in one_line(result)
    assert one_line(result).isprintable()
    assert result.stdout == ""


def test_a_page_of_the_wrong_shape_names_the_spot(limio: Run, world: World) -> None:
    world.script("listOffers", Response(status=200, headers={}, body=b'{"items":[],"queryMore":7}'))
    result = limio("--emulated", "offers", "list")
    assert result.exit_code == 1
    assert "listOffers: " in one_line(result)
    assert "at $.queryMore" in one_line(result)


def test_a_listing_that_breaks_off_is_incomplete(limio: Run, world: World) -> None:
    world.script("listOffers", None, "lost")
    result = limio("--emulated", "offers", "list", "--page-size", "50")
    assert result.exit_code == 4
    assert "listOffers: page 2 was lost" in one_line(result)
    assert result.stdout.count("\n") == 50


@pytest.mark.parametrize(("verify", "code", "lines"), [("raise", 4, 1), ("warn", 4, 2), ("off", 0, 1)])
def test_missing_items_are_complained_about_as_wished(
    limio: Run, world: World, verify: str, code: int, lines: int
) -> None:
    world.script("listOffers", None, Response(status=200, headers={}, body=b'{"items":[],"hits":120}'))
    result = limio("--emulated", "offers", "list", "--page-size", "50", "--verify", verify)
    assert result.exit_code == code
    assert result.stderr.count("\n") == lines


def test_a_write_whose_fate_is_unknown_says_so(limio: Run, world: World) -> None:
    world.script("submitOrder", "lost")
    result = limio("--emulated", "orders", "submit", "--body", "{}")
    assert result.exit_code == 1
    assert "submitOrder: " in one_line(result)
    assert "it may have happened" in one_line(result)


@pytest.mark.parametrize(
    "args",
    [
        "offers list --limit 0",
        "offers list --page-size x",
        "offers list --modified-after yesterday",
        "offers list --attributes novalue",
        "offers list -o xml",
        "subscriptions get",
        "subscriptions get ..",
        "orders submit",
        "baskets list-abandoned",
        "catalog-items list",
        "emulate --host 0.0.0.0",
        "completion tcsh",
        "operations a b",
        "offers list --tags \udcff",
        "offers list --attributes \udcff=1",
        "subscriptions get \udcff",
        "orders submit --body \udcff",
    ],
)
def test_a_mistake_on_the_command_line_exits_with_2_and_sends_nothing(
    limio: Run, world: World, args: str
) -> None:
    result = limio("--emulated", *args.split())
    assert result.exit_code == 2
    one_line(result)
    assert not world.count()


def test_a_file_that_cannot_be_read_is_a_mistake_too(limio: Run) -> None:
    Path("dir").mkdir()
    result = limio("baskets", "update", "--body", "{}", "--cookie-file", "dir")
    assert result.exit_code == 2
    assert "cannot read dir: Is a directory" in one_line(result)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("", operation="x", status=404), Code.API),
        (errors.Unauthorized("", operation="x", status=401), Code.CREDENTIALS),
        (errors.BadRequest("invalid_client", operation="createToken", status=400), Code.CREDENTIALS),
        (errors.MissingCredentials("x"), Code.CREDENTIALS),
        (errors.CursorExpired("x", operation="x"), Code.INCOMPLETE),
        (errors.ForeignCheckpoint("x"), Code.USAGE),
        (errors.UnknownOutcome("x", operation="x"), Code.API),
    ],
)
def test_each_error_has_its_exit_code(error: errors.LimioError, code: Code) -> None:
    assert code_of(error) is code


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "args", ["--help", "operations", "completion bash", "--emulated offers list --limit 2 -o table"]
)
def test_a_full_disk_behind_stdout_is_told_in_one_line(args: str) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(command_line(*args.split()), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"limio: cannot write to stdout: No space left on device\n"


def test_a_job_in_the_background_of_a_script_ends_when_it_is_told_to() -> None:
    def as_a_shell_does() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    emulate = command_line("emulate", "--port", "0")
    with subprocess.Popen(emulate, stderr=subprocess.PIPE, preexec_fn=as_a_shell_does) as job:
        assert job.stderr is not None
        assert b"http://127.0.0.1:" in b"".join(job.stderr.readline() for _ in range(2))
        job.terminate()
        assert job.wait(10) == 130
