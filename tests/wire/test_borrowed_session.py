"""A session of the caller's: what it is set to does no harm, or is refused in words when the client is made."""

from __future__ import annotations

import asyncio
import gzip
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from limio_async import BearerToken, ClientCredentials, Limio, errors, models
from limio_async.core.wire import Attempt
from limio_async.transport import AiohttpTransport
from tests.wire.rawserver import Behaviour, RawServer, hang_up, http, raw_server

pytestmark = pytest.mark.usefixtures("hurried_time")

CANARY = "canary-secret-value"
ORDER = models.CancelSubscriptionOrder(subscription_id="sub-1")
FOUND = http(b'{"id":"sub-1"}')


@asynccontextmanager
async def lent(
    *script: Behaviour, auth: Any = None, **settings: Any
) -> AsyncIterator[tuple[Limio, RawServer, aiohttp.ClientSession]]:
    """A client over a session with *settings*, and the server that it talks to."""
    async with raw_server(*script) as server, aiohttp.ClientSession(**settings) as session:
        transport = AiohttpTransport(server.url, session=session)
        async with Limio(server.url, auth=auth or BearerToken(CANARY), transport=transport) as limio:
            yield limio, server, session
        assert not session.closed


async def raise_late(answer: aiohttp.ClientResponse) -> None:
    raise RuntimeError(f"{answer.status}")


def traced(seen: list[str]) -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def note(_: object, __: object, params: Any) -> None:
        seen.append(params.method)

    trace.on_request_start.append(note)
    trace.on_request_end.append(note)
    return trace


HARMLESS: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing": dict,
    "raise_for_status": lambda: {"raise_for_status": True},
    "a raise_for_status of its own": lambda: {"raise_for_status": raise_late},
    "base_url": lambda: {"base_url": "https://elsewhere.invalid/shop/"},
    "headers": lambda: {"headers": {"X-Corp": "shop", "Accept": "text/html", "Accept-Encoding": "br"}},
    "skip_auto_headers": lambda: {
        "skip_auto_headers": [
            "User-Agent",
            "Accept",
            "Content-Type",
            "Accept-Encoding",
            "Host",
            "Content-Length",
        ]
    },
    "a short timeout": lambda: {"timeout": aiohttp.ClientTimeout(total=0.001, sock_read=0.001)},
    "one connection": lambda: {"connector": aiohttp.TCPConnector(limit=1, limit_per_host=1)},
    "no kept connections": lambda: {"connector": aiohttp.TCPConnector(force_close=True)},
    "cookies": lambda: {"cookies": {"shop": "1"}},
    "auto_decompress": lambda: {"auto_decompress": False},
    "a small buffer": lambda: {"read_bufsize": 1},
    "small heads": lambda: {"max_line_size": 64, "max_field_size": 64, "max_headers": 3},
    "HTTP/1.0": lambda: {"version": aiohttp.HttpVersion10},
    "json_serialize": lambda: {"json_serialize": lambda _: "{}"},
    "trace_configs": lambda: {"trace_configs": [traced([])]},
    "trust_env without a netrc": lambda: {"trust_env": True},
    "requote": lambda: {"requote_redirect_url": False},
}


@pytest.fixture(autouse=True)
def without_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a netrc would be, if there were one."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "netrc").touch()
    return tmp_path / "netrc"


@pytest.fixture
def netrc(without_netrc: Path, lines: str) -> None:
    """A netrc of these *lines*."""
    without_netrc.write_text(lines, encoding="utf-8")


@pytest.mark.parametrize("settings", HARMLESS.values(), ids=HARMLESS)
async def test_a_session_s_settings_change_neither_what_leaves_nor_what_comes_back(settings: Any) -> None:
    said = b'{"message":"quantity must be positive"}'
    script: list[Behaviour] = [
        http(
            gzip.compress(FOUND.partition(b"\r\n\r\n")[2]),
            "200 OK",
            "content-encoding: gzip",
            "x-1: " + "a" * 99,
        ),
        http(said, "400 Bad Request"),
        http(said, "404 Not Found", "content-encoding: gzip"),
        http(b"{}", "429 Too Many Requests"),
        http(b"", "302 Found", "location: /elsewhere"),
        http(said, "503 Busy"),
        FOUND,
        hang_up,
        FOUND,
        hang_up,
    ]
    async with lent(*script, **settings()) as (limio, server, _):
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        with pytest.raises(errors.BadRequest, match="quantity must be positive"):
            await limio.orders.submit(ORDER)
        with pytest.raises(errors.NotFound):
            await limio.subscriptions.get("none")
        with pytest.raises(errors.TooManyRequests):
            await limio.orders.submit(ORDER)
        with pytest.raises(errors.ApiError, match="redirects are not followed"):
            await limio.orders.submit(ORDER)
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        with pytest.raises(errors.UnknownOutcome):
            await limio.orders.submit(ORDER)
    assert len(server.requests) == 10
    for request in server.requests:
        head = request.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        assert head[0].split()[1].startswith(b"/api/")
        names = [line.partition(b":")[0] for line in head[1:]]
        assert len(names) == len(set(names))
        assert f"authorization: bearer {CANARY}".encode() in head
        assert b"accept: application/json" in head
        assert b"accept-encoding: gzip" in head
        assert f"host: {server.url.partition('//')[2]}".encode() in head
        if head[0].startswith(b"post"):
            assert b"content-type: application/json" in head


async def test_a_401_renews_the_token_whatever_the_session_raises_by_itself() -> None:
    tokens = [http(json.dumps({"access_token": one, "expires_in": 3600}).encode()) for one in ("a", "b")]
    script = [tokens[0], http(b"{}", "401 Unauthorized"), tokens[1], FOUND]
    async with lent(*script, auth=ClientCredentials("a", "b"), raise_for_status=True) as (limio, server, _):
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
    assert len(server.sent("/oauth2/token")) == 2


async def test_a_broken_gzip_hides_no_error_though_the_session_would_decompress() -> None:
    lie = "content-encoding: gzip"
    async with lent(http(b"no", "404 Not Found", lie), auto_decompress=True) as (limio, _, __):
        with pytest.raises(errors.NotFound):
            await limio.subscriptions.get("sub-1")


async def passed_on(request: Any, handler: Any) -> Any:
    return await handler(request)


HARMFUL: dict[str, dict[str, Any]] = {
    "middlewares=": {"middlewares": (passed_on,)},
    **{
        f"'{name.lower()}'": {"headers": {name: "x"}}
        for name in (
            "Authorization",
            "AUTHORIZATION",
            "Proxy-Authorization",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Expect",
            "Content-Encoding",
            "Connection",
            "Range",
            "If-None-Match",
            "X-HTTP-Method-Override",
        )
    },
}


@pytest.mark.parametrize("named", HARMFUL)
async def test_a_session_that_would_change_each_request_is_refused_when_the_client_is_made(
    named: str,
) -> None:
    async with aiohttp.ClientSession(**HARMFUL[named]) as session:
        with pytest.raises(errors.ConfigurationError, match=named):
            AiohttpTransport("http://127.0.0.1:1", session=session)


async def test_a_session_with_credentials_of_its_own_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="auth"):
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", CANARY))
    async with session:
        with pytest.raises(errors.ConfigurationError, match="auth=") as caught:
            AiohttpTransport("http://127.0.0.1:1", session=session)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    [
        f"socks5://u:{CANARY}@p.test:1",
        f"u:{CANARY}@p.test:1",
        f"ftp://u:{CANARY}@p.test",
        "p.test:1",
        "",
        "/p",
    ],
)
async def test_a_session_s_proxy_that_is_none_is_refused_without_showing_it(proxy: str) -> None:
    async with aiohttp.ClientSession(proxy=proxy) as session:
        with pytest.raises(errors.ConfigurationError, match="the session's proxy= is no URL") as caught:
            AiohttpTransport("http://127.0.0.1:1", session=session)
    assert CANARY not in f"{caught.value} {caught.value.__context__}"


async def test_a_closed_session_is_refused_when_the_client_is_made() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(errors.ConfigurationError, match="the session is closed"):
        AiohttpTransport("http://127.0.0.1:1", session=session)


# ------------------------------------------------------------------ credentials from elsewhere

NETRC = {
    "the default": f"default login anonymous password {CANARY}x\n",
    "the host": f"machine 127.0.0.1 login me password {CANARY}x\n",
    "without a login": f"machine 127.0.0.1 password {CANARY}x\n",
    "an account": f"machine 127.0.0.1 login me account shop password {CANARY}x\n",
    "among others": f"machine other.test login a password b\nmachine 127.0.0.1\nlogin me\npassword {CANARY}x\n",
}


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("auth", [BearerToken("t"), ClientCredentials("id", "secret")])
@pytest.mark.parametrize("lines", NETRC.values(), ids=NETRC)
async def test_the_passwords_of_a_netrc_reach_nobody(auth: Any) -> None:
    calls: dict[str, Callable[[Limio], Awaitable[Any]]] = {
        "a read": lambda limio: limio.subscriptions.get("sub-1"),
        "an order": lambda limio: limio.orders.submit(ORDER),
        "without credentials": lambda limio: limio.baskets.recover(basket="b", recover="t"),
        "a listing": lambda limio: limio.offers.list().first(),
    }
    async with lent(FOUND, trust_env=True, auth=auth) as (limio, server, _):
        for call in calls.values():
            with pytest.raises(errors.ConfigurationError, match=r"not sent: .* ~/\.netrc") as caught:
                await call(limio)
            shown = "".join(traceback.format_exception(caught.value))
            assert f"{CANARY}x" not in f"{shown} {vars(caught.value)}"
            assert caught.value.__context__ is None
            assert caught.value.happened == "no"
    assert server.requests == []


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("lines", ["machine other.test login a password b\n"])
async def test_a_netrc_for_other_hosts_is_nobody_s_business() -> None:
    async with lent(FOUND, trust_env=True) as (limio, server, _):
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
    assert f"bearer {CANARY}".encode() in server.requests[0].lower()


async def test_an_authorization_that_the_session_learns_later_is_not_sent() -> None:
    async with lent(FOUND) as (limio, server, session):
        session.headers["Authorization"] = f"Basic {CANARY}"
        with pytest.raises(errors.ConfigurationError, match="an Authorization of its own"):
            await limio.subscriptions.get("sub-1")
        assert server.requests == []
        del session.headers["Authorization"]
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"


# ------------------------------------------------------------------ how it ends


@pytest.mark.parametrize("close", ["session", "connector"])
async def test_a_session_that_is_closed_later_is_no_write_in_doubt(close: str) -> None:
    async with raw_server(FOUND) as server:
        session = aiohttp.ClientSession()
        limio = Limio(
            server.url, auth=BearerToken("t"), transport=AiohttpTransport(server.url, session=session)
        )
        await limio.subscriptions.get("sub-1")
        if close == "session":
            await session.close()
        else:
            assert session.connector is not None
            await session.connector.close()
        for call in (limio.subscriptions.get("sub-1"), limio.orders.submit(ORDER)):
            with pytest.raises(errors.ClientClosed, match="the session of this client was closed") as caught:
                await call
            assert (caught.value.happened, caught.value.retryable) == ("no", False)
        listing = limio.offers.list()
        with pytest.raises(errors.ClientClosed):
            await listing
        await limio.aclose()
        await session.close()
    assert len(server.requests) == 1


async def test_a_call_that_waits_for_a_connection_as_the_session_is_closed_never_left() -> None:
    arrived, held = asyncio.Event(), asyncio.Event()

    async def hold(_: asyncio.StreamWriter) -> None:
        arrived.set()
        await held.wait()

    async with raw_server(hold) as server:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        limio = Limio(
            server.url, auth=BearerToken("t"), transport=AiohttpTransport(server.url, session=session)
        )
        first = asyncio.create_task(limio.orders.submit(ORDER))
        await arrived.wait()
        second = asyncio.create_task(limio.orders.submit(ORDER))
        await asyncio.sleep(0.05)
        await session.close()
        with pytest.raises(errors.UnknownOutcome):
            await first
        with pytest.raises(errors.ClientClosed) as caught:
            await second
        assert caught.value.happened == "no"
        await limio.aclose()
    assert len(server.requests) == 1


class Confused(aiohttp.abc.AbstractResolver):
    """Fails by an error of its own."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[aiohttp.abc.ResolveResult]:
        raise ZeroDivisionError from KeyError()

    async def close(self) -> None:
        """Nothing is held."""


async def test_what_fails_in_the_caller_s_resolver_comes_by_itself_and_leaves_no_write_in_doubt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Confused())) as session:
        limio = Limio("acme.invalid", auth=BearerToken("t"), session=session)
        with pytest.raises(ZeroDivisionError) as caught:
            await limio.orders.submit(ORDER)
        await limio.aclose()
    assert "may have happened" not in f"{caplog.text} {getattr(caught.value, '__notes__', '')}"


# ------------------------------------------------------------------ hooks that fail, or take their time


async def sleeps(*_: object) -> None:
    await asyncio.sleep(60)


async def sleeps_and_fails(*_: object) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise ZeroDivisionError


async def gives_up(*_: object) -> None:
    async with asyncio.timeout(0.001):
        await asyncio.sleep(60)


async def fails(*_: object) -> None:
    raise ZeroDivisionError from KeyError()


async def is_refused(*_: object) -> None:
    raise aiohttp.ClientConnectionError


async def is_cancelled(*_: object) -> None:
    raise asyncio.CancelledError


def hooked(moment: str, hook: Any) -> list[aiohttp.TraceConfig]:
    trace = aiohttp.TraceConfig()
    getattr(trace, moment).append(hook)
    return [trace]


def is_no_write_in_doubt(raised: BaseException, caplog: pytest.LogCaptureFixture) -> bool:
    never_sent = any(isinstance(one, errors.NeverSent) for one in (raised, raised.__cause__))
    past_deadline = isinstance(raised, errors.DeadlineExceeded) and not raised.left
    assert "may have happened" not in f"{caplog.text} {getattr(raised, '__notes__', '')}"
    return never_sent or past_deadline


@pytest.mark.parametrize(
    ("hook", "raises"),
    [
        (sleeps, errors.DeadlineExceeded),
        (sleeps_and_fails, ZeroDivisionError),
        (fails, ZeroDivisionError),
        (is_cancelled, asyncio.CancelledError),
    ],
)
async def test_a_hook_before_an_order_leaves_puts_it_in_no_doubt(
    hook: Any, raises: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async with lent(FOUND, trace_configs=hooked("on_request_start", hook)) as (limio, server, _):
        with pytest.raises(raises) as caught:
            await limio.orders.submit(ORDER, timeout=0.2)
        assert (server.connections, server.requests) == (0, [])
    assert is_no_write_in_doubt(caught.value, caplog)
    if isinstance(caught.value, errors.LimioError):
        assert (caught.value.happened, caught.value.operation) == ("no", "submitOrder")
    if hook is fails:
        assert caught.value.__cause__ is not None
        assert isinstance(caught.value.__cause__.__cause__, KeyError)


async def test_so_it_is_where_the_caller_is_cancelled_in_a_hook(caplog: pytest.LogCaptureFixture) -> None:
    trace: list[Attempt] = []
    async with lent(FOUND, trace_configs=hooked("on_request_start", sleeps)) as (limio, server, _):
        order = asyncio.create_task(limio.orders.submit(ORDER, trace=trace))
        await asyncio.sleep(0.05)
        order.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await order
        assert server.connections == 0
    assert is_no_write_in_doubt(caught.value, caplog)
    assert [one.reason for one in trace] == ["NeverSent"]


@pytest.mark.parametrize("moment", ["on_request_end", "on_request_exception"])
@pytest.mark.parametrize("hook", [fails, gives_up, is_refused, sleeps])
async def test_one_that_fails_after_an_order_has_left_leaves_it_in_doubt(
    moment: str, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    behaviour = FOUND if moment == "on_request_end" else hang_up
    async with lent(behaviour, trace_configs=hooked(moment, hook)) as (limio, server, _):
        with pytest.raises((ZeroDivisionError, errors.UnknownOutcome)) as caught:
            await limio.orders.submit(ORDER, timeout=2)
        assert len(server.requests) == 1
    doubt = caught.value if isinstance(caught.value, errors.LimioError) else caught.value.__cause__
    assert isinstance(doubt, errors.UnknownOutcome)
    assert "may have happened" in caplog.text


async def test_a_session_of_another_event_loop_is_named() -> None:
    def elsewhere() -> aiohttp.ClientSession:
        async def made() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        return asyncio.run(made())

    session = await asyncio.to_thread(elsewhere)
    async with raw_server(FOUND) as server:
        limio = Limio(
            server.url, auth=BearerToken("t"), transport=AiohttpTransport(server.url, session=session)
        )
        for call in (limio.subscriptions.get("sub-1"), limio.orders.submit(ORDER)):
            with pytest.raises(errors.ClientClosed, match="belongs to another event loop") as caught:
                await call
            assert caught.value.happened == "no"
        await limio.aclose()
    assert server.connections == 0
    session.detach()
