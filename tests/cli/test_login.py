"""`limio login`: a browser signs in, the commands that follow use the token, and nothing shows it."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import urlopen

import pytest
from click.testing import Result

from limio_async.core.wire import Response
from limio_async.emulator import World, reply
from limio_async.emulator.server import serve
from tests.cli.conftest import Run

Browser = Callable[[str], object]


@contextmanager
def served(world: World) -> Iterator[str]:
    """*world* over HTTP, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = serve(world, port=0)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def world() -> World:
    return World(offers=3, subscriptions=5)


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with served(world) as url:
        yield url


@pytest.fixture
def browse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Browser], None]]:
    """Let *browser* open what `limio login` opens; the test waits until it is done."""
    running: list[threading.Thread] = []

    def use(browser: Browser) -> None:
        def opened(url: str) -> bool:
            running.append(threading.current_thread())
            browser(url)
            return True

        monkeypatch.setattr(webbrowser, "open", opened)

    yield use
    for thread in running:
        thread.join()


def follow(url: str) -> bytes:
    """A browser that follows where it is sent; the page it ends up with."""
    with urlopen(url) as page:  # noqa: S310
        text: bytes = page.read()
    return text


def comes_back(**query: str) -> Browser:
    """A browser that ends up at the callback with *query*; `{state}` stands for the right state."""

    def browser(url: str) -> None:
        asked = dict(parse_qsl(urlsplit(url).query))
        filled = {name: value.format(**asked) for name, value in query.items()}
        follow(f"{asked['redirect_uri']}?{urlencode(filled)}")

    return browser


def login(limio: Run, world: World, url: str, *options: str, env: dict[str, str] | None = None) -> Result:
    settings = {"LIMIO_HOST": url, "LIMIO_CLIENT_ID": world.client_id, **(env or {})}
    return limio("login", "--port", "0", "--wait", "20", *options, env=settings)


def stored() -> Path:
    [file] = Path("../home/.local/state/limio/signed-in").iterdir()
    return file


def token_in(file: Path) -> dict[str, Any]:
    token: dict[str, Any] = json.loads(file.read_bytes())["token"]
    return token


def last_line(result: Result) -> str:
    line: str = result.stderr.splitlines()[-1]
    return line.removeprefix("limio: ")


def test_who_signed_in_needs_no_other_credentials_until_signing_out(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    browse(follow)
    result = login(limio, world, url)
    assert result.exit_code == 0, result.stderr
    file = stored()
    assert result.stdout == ""
    assert re.match(rf"limio: sign in at {url}/oauth2/authorize\?response_type=code&", result.stderr)
    assert re.match(rf"signed in to {url} until 20\d\d-\d\d-\d\d \d\d:\d\d.* kept in ", last_line(result))
    assert last_line(result).endswith(file.name)
    assert file.stat().st_mode & 0o777 == 0o600
    assert token_in(file)["access_token"] not in result.output

    for settings in ({}, {"LIMIO_CLIENT_ID": world.client_id}, {"LIMIO_API_KEY": world.api_key}):
        env = {"LIMIO_HOST": url, **settings}
        assert limio("orders", "list", "--limit", "1", env=env).exit_code == 0
    assert limio("offers", "list", env={"LIMIO_HOST": url}).exit_code == 0
    assert world.tokens_issued == 1

    env = {"LIMIO_HOST": url}
    assert last_line(limio("logout", env=env)).startswith(f"signed out of {url}; ")
    assert not file.exists()
    assert last_line(limio("logout", env=env)) == f"nobody is signed in to {url}"
    result = limio("orders", "list", env=env)
    assert result.exit_code == 3
    assert "the client has no credentials" in last_line(result)


def test_the_browser_sees_a_page_that_tells_nothing(limio: Run, world: World, url: str, browse: Any) -> None:
    pages: list[bytes] = []
    browse(lambda url: pages.append(follow(url)))
    assert login(limio, world, url).exit_code == 0
    assert pages == [b"You can close this page: limio says in the terminal how it went."]


def test_without_a_browser_the_page_is_only_said(limio: Run, world: World, url: str, browse: Any) -> None:
    browse(lambda url: pytest.fail("opened a browser"))
    result = login(limio, world, url, "--no-browser", "--wait", "0.01")
    assert result.exit_code == 3
    assert "limio: sign in at http" in result.stderr
    assert last_line(result) == "nobody signed in within 0.01 s"


def test_a_browser_that_cannot_be_opened_is_no_mistake(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    def browser(url: str) -> None:
        raise webbrowser.Error("no browser")

    browse(browser)
    assert last_line(login(limio, world, url, "--wait", "0.05")) == "nobody signed in within 0.05 s"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"error": "access_denied", "state": "{state}"}, "refused: access_denied"),
        ({"error": "x", "error_description": "so\n\x1b[2Jthere", "state": "{state}"}, "refused: so"),
        ({"state": "{state}"}, "the answer holds no code"),
        ({"code": "0" * 48, "state": "{state}"}, "createToken: 400 invalid_grant"),
    ],
)
def test_a_sign_in_that_fails_is_told_in_one_line_and_keeps_nothing(
    limio: Run, world: World, url: str, browse: Any, query: dict[str, str], said: str
) -> None:
    browse(comes_back(**query))
    result = login(limio, world, url)
    assert result.exit_code == 3
    assert said in last_line(result)
    assert last_line(result).isprintable()
    assert result.stderr.count("\n") == 2
    assert not Path("../home/.local/state/limio").exists()


FOREIGN = [
    "code=c&state=wrong",
    "code=c",
    "error=access_denied&state=",
    "error=access_denied",
    "code=c&state={state}&state=other",
    "code=c&State={state}",
    "code=c&state={state}x",
    "",
]


def test_an_answer_to_another_sign_in_is_refused_and_waited_past(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    statuses: list[int] = []

    def browser(url: str) -> None:
        asked = dict(parse_qsl(urlsplit(url).query))
        for query in FOREIGN:
            with pytest.raises(HTTPError) as caught:
                follow(f"{asked['redirect_uri']}?{query.format(**asked)}")
            statuses.append(caught.value.status or 0)
            caught.value.close()
        follow(url)

    browse(browser)
    result = login(limio, world, url)
    assert result.exit_code == 0, result.stderr
    assert statuses == [400] * len(FOREIGN)
    assert token_in(stored())["origin"] == url


def test_who_only_had_answers_to_other_sign_ins_hears_of_them(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    def browser(url: str) -> None:
        with pytest.raises(HTTPError) as caught:
            comes_back(code="c", state="wrong")(url)
        caught.value.close()

    browse(browser)
    result = login(limio, world, url, "--wait", "0.5")
    assert result.exit_code == 3
    assert last_line(result).endswith("within 0.5 s; answers that belong to another sign-in: 1")
    assert not Path("../home/.local/state/limio").exists()


def test_what_else_a_browser_asks_for_does_not_end_the_waiting(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    statuses: list[int] = []
    idle: list[socket.socket] = []

    def browser(url: str) -> None:
        port = urlsplit(dict(parse_qsl(urlsplit(url).query))["redirect_uri"]).port
        assert port is not None
        for method, target in (
            ("GET", "/favicon.ico"),
            ("POST", "/callback?code=c"),
            ("GET", "/callbacks?code=c"),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request(method, target)
            statuses.append(connection.getresponse().status)
            connection.close()
        for noise in (b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\xff" * 20_000, b"GET /callback HTTP/1.1\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(noise)
        idle.append(socket.create_connection(("127.0.0.1", port)))  # as browsers open them in advance
        follow(url)

    browse(browser)
    result = login(limio, world, url)
    idle[0].close()
    assert result.exit_code == 0, result.stderr
    assert statuses == [404, 404, 404]


def test_a_port_that_is_taken_is_named(limio: Run, world: World, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = login(limio, world, url, "--port", str(port))
    assert result.exit_code == 1
    assert last_line(result) == (
        f"cannot listen at 127.0.0.1:{port}: Address already in use; choose another with --port"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("login", "no host: use --host"),
        ("--host acme.dev.limio.com login", "no client id: use --client-id, LIMIO_CLIENT_ID or client_id"),
        ("--emulated login", "no browser can visit it"),
        ("--emulated logout", "nobody can sign in to it"),
        ("--host acme.dev.limio.com login --port 70000", "--port"),
        ("--host acme.dev.limio.com login --wait 0", "--wait"),
        ("--host http://acme.dev.limio.com login --client-id a", "plain http is for this machine only"),
        ("logout", "no host: use --host"),
    ],
)
def test_a_mistake_on_the_command_line_exits_with_2(limio: Run, args: str, said: str) -> None:
    result = limio(*args.split())
    assert result.exit_code == 2
    assert said in last_line(result)
    assert result.stderr.count("\n") == 1


def test_the_client_id_comes_from_flag_environment_or_profile(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    browse(follow)
    file = Path("config.toml")
    file.write_text(f'[shop]\nhost = "{url}"\nclient_id = "{world.client_id}"\n')
    env = {"LIMIO_CONFIG": str(file.resolve()), "LIMIO_PROFILE": "shop"}
    assert limio("login", "--port", "0", "--wait", "20", env=env).exit_code == 0
    assert limio("orders", "list", "--limit", "1", env=env).exit_code == 0
    result = limio("login", "--port", "0", "--wait", "0.05", "--client-id", "flag", "--no-browser", env=env)
    assert "client_id=flag&" in result.stderr


def test_a_sign_in_is_for_one_profile_and_one_host(limio: Run, world: World, url: str, browse: Any) -> None:
    browse(follow)
    file = Path("config.toml")
    file.write_text("[default]\n[other]\n")
    env = {"LIMIO_CONFIG": str(file.resolve())}
    assert login(limio, world, url, env=env).exit_code == 0
    assert limio("--host", url, "orders", "list", "--limit", "1", env=env).exit_code == 0
    for options in (("--host", url, "--profile", "other"), ("--host", "http://localhost:9")):
        result = limio(*options, "orders", "list", env=env)
        assert result.exit_code == 3
        assert "the client has no credentials" in last_line(result)
        assert limio(*options, "logout", env=env).exit_code == 0
    assert stored().exists()


def test_a_named_token_file_is_used_but_never_for_another_host(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    browse(follow)
    file = Path("deep/token.json").resolve()
    env = {"LIMIO_TOKEN_FILE": str(file)}
    assert login(limio, world, url, env=env).exit_code == 0
    assert token_in(file)["origin"] == url
    assert limio("--host", url, "orders", "list", "--limit", "1", env=env).exit_code == 0
    with served(World(offers=1, subscriptions=1)) as other:
        result = limio("--host", other, "orders", "list", env=env)
        assert result.exit_code == 3
        assert last_line(result) == f"the sign-in is for {url}, not for {other}; sign in: limio login"
        limio("--host", other, "logout", env=env)
    assert file.exists()


@pytest.mark.parametrize(
    ("mode", "content", "said"),
    [(0o644, b"{}", "open to others; chmod 600"), (0o600, b"my only copy", "is not a token file")],
)
def test_a_file_of_another_kind_is_neither_read_nor_replaced(
    limio: Run, world: World, url: str, browse: Any, mode: int, content: bytes, said: str
) -> None:
    browse(lambda url: pytest.fail("opened a browser"))
    file = Path("precious")
    file.write_bytes(content)
    file.chmod(mode)
    env = {"LIMIO_HOST": url, "LIMIO_TOKEN_FILE": "precious"}
    for result in (
        login(limio, world, url, env=env),
        limio("logout", env=env),
        limio("orders", "list", env=env),
    ):
        assert result.exit_code == 2
        assert said in last_line(result)
    assert file.read_bytes() == content


def test_a_file_that_cannot_be_looked_at_is_named(limio: Run) -> None:
    env = {"LIMIO_HOST": "acme.dev.limio.com", "LIMIO_TOKEN_FILE": "x" * 300}
    result = limio("orders", "list", env=env)
    assert result.exit_code == 2
    assert last_line(result) == f"cannot read {'x' * 300}: File name too long"


def test_other_bearer_credentials_win_and_signing_in_says_so(
    limio: Run, world: World, url: str, browse: Any
) -> None:
    browse(follow)
    env = {"LIMIO_CLIENT_SECRET": world.client_secret}
    result = login(limio, world, url, env=env)
    assert result.exit_code == 0
    assert last_line(result) == "warning: LIMIO_TOKEN or a client secret is configured too, and wins"
    env = {"LIMIO_HOST": url, "LIMIO_TOKEN": "of-somebody"}
    assert "listObjects: 401" in last_line(limio("orders", "list", env=env))


def test_a_sign_in_that_ended_says_to_sign_in_again(
    limio: Run, world: World, url: str, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    browse(follow)
    assert login(limio, world, url).exit_code == 0
    world.revoke_tokens()
    result = limio("orders", "list", env={"LIMIO_HOST": url})
    assert result.exit_code == 3
    assert last_line(result) == "401 the sign-in is not accepted; sign in again: limio login"
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    result = limio("orders", "list", env={"LIMIO_HOST": url})
    assert result.exit_code == 3
    assert re.search(r"the sign-in ended at 20.*; sign in again: limio login$", last_line(result))


@pytest.mark.parametrize(
    ("scripted", "code", "said"),
    [
        (reply({"message": "later"}, 503), 3, "createToken: 503 later"),
        (Response(status=200, headers={}, body=b'{"access_token":["s3cr3t"],"expires_in":60}'), 1, "at $.access_token"),
        ("lost", 1, "createToken: "),
    ],
)  # fmt: skip
def test_a_token_endpoint_that_fails_is_asked_once_and_keeps_nothing(
    limio: Run, world: World, url: str, browse: Any, scripted: Any, code: int, said: str
) -> None:
    browse(follow)
    world.script("createToken", scripted)
    result = login(limio, world, url)
    assert result.exit_code == code
    assert said in last_line(result)
    assert "s3cr3t" not in result.output
    assert world.count("createToken") == 1
    assert not Path("../home/.local/state/limio").exists()
