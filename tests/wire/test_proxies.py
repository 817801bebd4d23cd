"""A proxy that lets nobody through: nothing was sent, and the error names it and what it said, never its password."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from limio_async import ApiKey, BearerToken, ClientCredentials, Limio, errors, models
from limio_async.transport import AiohttpTransport
from tests.wire.rawserver import Behaviour, RawServer, broken, hang_up, http, raw_server, reset, silence

pytestmark = pytest.mark.usefixtures("hurried_time")

PASSWORD = "canary-p@ss"
ORDER = models.CancelSubscriptionOrder(subscription_id="sub-1")
ORIGIN = "https://acme.invalid"
POLICY = b"<html>denied by policy</html>"


@asynccontextmanager
async def behind(
    proxy: str, *, auth: Any = None, timeout: float = 600, **settings: Any
) -> AsyncIterator[Limio]:
    """A client behind a *proxy* that a session names, with a user and a password."""
    way = proxy.replace("//", "//user:canary-p%40ss@")
    async with aiohttp.ClientSession(proxy=way, **settings) as session:
        transport = AiohttpTransport(ORIGIN, session=session)
        auth = auth or [ApiKey("k"), BearerToken("t")]
        async with Limio(ORIGIN, auth=auth, transport=transport, timeout=timeout) as limio:
            yield limio


async def never_sent(limio: Limio, *, attempts: int = 3) -> str:
    """Return what every class of call says."""
    said: set[str] = set()
    for call in (
        limio.subscriptions.get("sub-1"),
        limio.subscriptions.update("sub-1", {"data": {}}),
        limio.offers.list().first(),
        limio.orders.submit(ORDER),
    ):
        with pytest.raises(errors.NeverSent) as caught:
            await call
        assert [one.status for one in caught.value.attempts] == [None] * attempts
        shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {caught.value.__context__!r}"
        for secret in (PASSWORD, "canary-p%40ss", "user:", "denied by policy"):
            assert secret not in shown
        said.add(caught.value.said)
    [one] = said
    return one


REFUSALS: dict[str, tuple[Behaviour, str]] = {
    "407": (
        http(POLICY, "407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=corp"),
        "status 407, it wants a user and a password",
    ),
    "403": (http(POLICY, "403 Forbidden"), "status 403"),
    "400": (http(POLICY, "400 Bad Request", close=True), "status 400"),
    "401": (http(b"{}", "401 Unauthorized"), "status 401"),
    "404, by a web server": (http(b"{}", "404 Not Found"), "status 404"),
    "405": (http(b"", "405 Method Not Allowed"), "status 405"),
    "408": (http(b"", "408 Request Timeout"), "status 408"),
    "429": (http(b"", "429 Too Many Requests", "retry-after: 1"), "status 429"),
    "500 without a reason": (http(b"", "500 "), "status 500"),
    "502": (http(POLICY, "502 Bad Gateway"), "status 502"),
    "503": (http(POLICY, "503 Service Unavailable"), "status 503"),
    "504": (http(POLICY, "504 Gateway Timeout"), "status 504"),
    "522": (http(POLICY, "522 Odd"), "status 522"),
    "302": (http(b"", "302 Found", "location: http://portal.invalid/"), "status 302"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
    "403 with a long policy": (
        http(POLICY, "403 Forbidden", "content-security-policy: " + "x" * 9000),
        "it answered with a head that is too large",
    ),
    "403 with many lines": (
        http(POLICY, "403 Forbidden", *(f"x-{n}: 1" for n in range(200))),
        "it answered with a head that is too large",
    ),
    "another protocol": (
        broken(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "it answered with something that is not HTTP",
    ),
    "a status that is none": (
        broken(b"HTTP/1.1 abc OK\r\n\r\n"),
        "it answered with something that is not HTTP",
    ),
    "hangs up": (hang_up, "it hung up without an answer"),
    "half a head": (broken(b"HTTP/1.1 200 Conn"), "it hung up without an answer"),
}


@pytest.mark.parametrize(("answer", "said"), REFUSALS.values(), ids=REFUSALS)
async def test_a_proxy_that_refuses_to_connect_is_named_with_what_it_answered(
    answer: Behaviour, said: str
) -> None:
    async with raw_server(answer) as proxy, behind(proxy.url) as limio:
        told = await never_sent(limio)
    assert told == f"the proxy {proxy.url.removeprefix('http://')} refused to connect: {said}"
    assert {head.partition(b" HTTP")[0] for head in proxy.requests} == {b"CONNECT acme.invalid:443"}


async def test_a_proxy_that_resets_the_connection_is_named() -> None:
    async with raw_server(broken(end=reset)) as proxy, behind(proxy.url) as limio:
        told = await never_sent(limio)
    assert told.startswith(f"could not connect through the proxy {proxy.url.removeprefix('http://')}: ")


async def test_a_proxy_that_says_nothing_costs_half_of_the_time_at_most() -> None:
    async with raw_server(silence) as proxy, behind(proxy.url, timeout=8) as limio:
        with pytest.raises(errors.NeverSent) as caught:
            await limio.orders.submit(ORDER)
    named = proxy.url.removeprefix("http://")
    assert caught.value.said == f"could not connect through the proxy {named}: no connection in time"


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with behind(url) as limio:
        told = await never_sent(limio)
    assert told == f"could not connect to the proxy {url.removeprefix('http://')}: Connection refused" or (
        told.startswith(f"could not connect to the proxy {url.removeprefix('http://')}: ")
    )


async def test_a_proxy_whose_name_nobody_knows_is_named() -> None:
    async with behind("http://proxy.invalid:3128") as limio:
        told = await never_sent(limio)
    assert told.startswith("could not connect to the proxy proxy.invalid:3128: ")


async def test_a_proxy_that_speaks_no_tls_though_it_should_is_named() -> None:
    async with (
        raw_server(http(b"", "400 Bad Request")) as proxy,
        behind(proxy.url.replace("http:", "https:"), timeout=8) as limio,
    ):
        with pytest.raises(errors.NeverSent) as caught:
            await limio.orders.submit(ORDER)
    assert f"the proxy {proxy.url.removeprefix('http://')}: " in caught.value.said


async def test_an_ipv6_proxy_is_named_as_a_url_would() -> None:
    async with behind("http://[::1]:1") as limio:
        assert "could not connect to the proxy [::1]:1: " in await never_sent(limio)


async def test_a_refusal_while_the_token_is_fetched_is_no_refusal_of_the_token() -> None:
    auth = ClientCredentials("id", "secret")
    async with raw_server(http(POLICY, "403 Forbidden")) as proxy, behind(proxy.url, auth=auth) as limio:
        with pytest.raises(errors.NeverSent) as caught:
            await limio.orders.submit(ORDER)
    assert "not sent, no credentials: createToken: the proxy 127.0.0.1:" in str(caught.value)
    assert "status 403" in str(caught.value)


async def test_a_proxy_that_refused_once_lets_the_next_try_through() -> None:
    """What an order needs: a refused CONNECT is tried again, as nothing was sent."""
    busy = http(b"", "503 Busy")
    async with raw_server(busy, busy, http(b"", "403 Forbidden")) as proxy, behind(proxy.url) as limio:
        assert (await never_sent(limio)).endswith("status 403")
    assert len(proxy.requests) == 12


async def test_a_tunnel_that_breaks_after_it_was_granted_is_no_refusal() -> None:
    granted = b"HTTP/1.1 200 Connection established\r\n\r\n"
    async with raw_server(broken(granted)) as proxy, behind(proxy.url) as limio:
        told = await never_sent(limio)
    assert told.startswith(f"could not connect through the proxy {proxy.url.removeprefix('http://')}: ")
    assert "refused" not in told


async def test_a_proxy_of_the_environment_that_a_session_trusts_is_named_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with raw_server(http(POLICY, "407 No")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:canary-p%40ss@"))
        async with aiohttp.ClientSession(trust_env=True) as session:
            transport = AiohttpTransport(ORIGIN, session=session)
            limio = Limio(ORIGIN, auth=[ApiKey("k"), BearerToken("t")], transport=transport)
            assert f"the proxy {proxy.url.removeprefix('http://')} refused" in await never_sent(limio)
            await limio.aclose()


async def test_one_refusal_makes_no_scroll_page_lost() -> None:
    """The walk can be continued: the page was never asked for."""
    async with raw_server(http(POLICY, "403 Forbidden")) as proxy, behind(proxy.url) as limio:
        listing = limio.offers.list()
        for _ in range(2):
            with pytest.raises(errors.NeverSent):
                await listing
    assert isinstance(proxy, RawServer)
    await asyncio.sleep(0)
