"""The way to the tenant: one check of the origin at every door, proxies, certificates."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from click.testing import CliRunner

from limio_async import AiohttpTransport, BearerToken, Limio, errors
from limio_async.cli.app import app
from limio_async.core.wire import Request
from limio_async.emulator import InMemoryTransport, World
from tests.wire.rawserver import http, raw_server
from tests.wire.tunnel import Proxy, proxy_to, tls_server

trustme = pytest.importorskip("trustme", reason="trustme makes the private CA; the dev group has it")

CANARY = "canary-token"
PASSWORD = "canary-p@ss:word"


class Everywhere(aiohttp.abc.AbstractResolver):
    """Finds every host on this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            {"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}
        ]

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def session_to_this_machine() -> AsyncIterator[aiohttp.ClientSession]:
    """A session for which every host is this machine."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Everywhere())) as session:
        yield session


# ------------------------------------------------------------------ the origin

Door = Callable[..., object]
DOORS: dict[str, Door] = {
    "Limio": lambda host, **options: Limio(host, auth=BearerToken(CANARY), **options),
    "AiohttpTransport": AiohttpTransport,
    "from_env": lambda host, **_: Limio.from_env({"LIMIO_HOST": host, "LIMIO_TOKEN": CANARY}),
    "a transport of one's own": lambda host, **_: Limio(transport=InMemoryTransport(World(), origin=host)),
}
REFUSED = [
    "http://acme.prod.limio.com:{port}",
    "http://acme.prod.limio.com:{port}/",
    "HTTP://ACME.prod.limio.com:{port}",
    "http://127.0.0.1.acme.test:{port}",
    "http://[::1].acme.test:{port}",
    "http://[::1]acme.test:{port}",
    "http://[::1]x:{port}",
    "http://[::1]{port}",
    "http://[::1]:{port}x",
    "http://[::1]:{port}:1",
    "http://[::2]:{port}",
    "http://[::1%25lo]:{port}",
    "http://localhost.acme.test:{port}",
    "http://localhost:{port}//api",
    "http://localhost:{port}/api/v2",
    "http://localhost:{port}/shop",
    "http://localhost:{port}?",
    "http://localhost:{port}/?x=" + PASSWORD,
    "http://localhost:{port}#",
    "http://localhost:{port}\\@acme.test",
    "http://user:" + PASSWORD + "@localhost:{port}",
    "http:/user:" + PASSWORD + "@localhost:{port}",
    "user:" + PASSWORD + "@localhost:{port}",
    "http://@localhost:{port}",
    "ws://localhost:{port}",
    "file:///etc/passwd",
    "http://localhost\n:{port}",
    "http:// localhost:{port}",
    "http://loc\talhost:{port}",
    "http://localhost:",
    "http://localhost:+{port}",
    "http://",
    "//localhost:{port}",
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("host", REFUSED)
async def test_no_byte_leaves_for_an_origin_that_is_refused_and_each_door_refuses_the_same(
    door: str, host: str
) -> None:
    async with raw_server(http(b"{}")) as server, session_to_this_machine() as session:
        options = {} if door.startswith("a ") else {"session": session}
        with pytest.raises(errors.ConfigurationError) as caught:
            made: Any = DOORS[door](host.format(port=server.url.rpartition(":")[2]), **options)
            send = (
                made.subscriptions.get("sub-1") if isinstance(made, Limio) else made.send(REQUEST, timeout=5)
            )
            await send
    assert server.connections == 0
    assert PASSWORD not in str(caught.value)


REQUEST = Request(
    operation="getThing",
    method="GET",
    target="/api/things",
    headers={"authorization": f"Bearer {CANARY}"},
)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("https://acme.prod.limio.com/", "https://acme.prod.limio.com"),
        ("https://ACME.Prod.limio.com:443", "https://acme.prod.limio.com"),
        ("HTTPS://acme.prod.limio.com/api/", "https://acme.prod.limio.com"),
        ("acme.prod.limio.com", "https://acme.prod.limio.com"),
        ("acme.prod.limio.com:443/api", "https://acme.prod.limio.com"),
        ("acme.prod.limio.com:80", "https://acme.prod.limio.com:80"),
        ("http://localhost:80/", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("http://[0:0:0:0:0:0:0:1]:8642/", "http://[::1]:8642"),
        ("https://[2001:DB8::0:1]", "https://[2001:db8::1]"),
    ],
)
def test_an_origin_has_one_spelling_whichever_way_it_is_given(door: str, host: str, origin: str) -> None:
    made: Any = DOORS[door](host)
    assert made.origin == origin
    if isinstance(made, Limio):
        assert made.explain(made.subscriptions.get, "s").url.startswith(f"{origin}/api/objects/")


@pytest.mark.parametrize("host", [None, "https://acme.test:443/", "ACME.test", "https://acme.test/api"])
def test_a_host_beside_a_transport_may_be_left_out_or_be_the_same(host: str | None) -> None:
    for transport in (AiohttpTransport("acme.test"), InMemoryTransport(World(), origin="https://acme.test/")):
        assert Limio(host, auth=BearerToken("t"), transport=transport).origin == "https://acme.test"


@pytest.mark.parametrize(
    "host", ["acme.prod.test", "http://acme.test", "acme.test:8443", "https://acme.test.evil.test", "x"]
)
def test_a_host_that_disagrees_with_its_transport_is_refused_by_both_names(host: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        Limio(host, auth=BearerToken("t"), transport=AiohttpTransport("https://acme.test/"))
    assert "https://acme.test" in str(caught.value)
    assert host.removeprefix("https://") in str(caught.value)


def test_a_client_without_any_host_says_so_and_a_given_transport_takes_no_other_way() -> None:
    with pytest.raises(errors.ConfigurationError, match="which host"):
        Limio(auth=BearerToken("t"))
    for options in ({"proxy": "http://p.test:1"}, {"ssl": ssl.create_default_context()}):
        with pytest.raises(errors.ConfigurationError, match="without transport="):
            Limio(transport=AiohttpTransport("acme.test"), **options)


def test_plain_http_to_another_machine_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Limio("http://localhost:8642", plain_http=True)
    Limio("acme.test", plain_http=True)
    assert caplog.records == []
    limio = Limio("http://limio.internal:8642", plain_http=True)
    assert limio.origin == "http://limio.internal:8642"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "http://limio.internal:8642 is plain http" in record.message
    assert Limio(transport=AiohttpTransport("http://limio.internal", plain_http=True)).origin


# ------------------------------------------------------------------ certificates and proxies


@pytest.fixture(scope="module")
def ca() -> Any:
    return trustme.CA()


@pytest.fixture
def served(ca: Any) -> ssl.SSLContext:
    """What a server of the private CA presents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "acme.prod.limio.com").configure_cert(context)
    return context


@pytest.fixture
def trusting(ca: Any) -> ssl.SSLContext:
    """What a client trusts that knows the private CA."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def limio_to(host: str, **options: Any) -> Limio:
    return Limio(host, auth=BearerToken(CANARY), attempts=1, timeout=10, **options)


async def test_a_private_ca_is_trusted_where_it_is_given(
    served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with tls_server(served) as server, limio_to(server.url, ssl=trusting) as limio:
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
    assert f"bearer {CANARY}".encode() in server.requests[0].lower()


@pytest.mark.parametrize("trusted", [None, "another CA"])
async def test_a_server_that_is_not_trusted_is_told_nothing(
    served: ssl.SSLContext, trusted: str | None
) -> None:
    options: dict[str, Any] = {}
    if trusted is not None:
        options["ssl"] = ssl.create_default_context()
        trustme.CA().configure_trust(options["ssl"])
    async with tls_server(served) as server, limio_to(server.url, **options) as limio:
        with pytest.raises(errors.NeverSent, match="could not connect"):
            await limio.orders.submit({"order_type": "new"})
    assert server.requests == []


@pytest.mark.parametrize(
    ("issued", "said"),
    [
        ({"names": ["acme.test"]}, "(IP address mismatch, certificate is not valid for '127.0.0.1')$"),
        ({"not_after": datetime(2020, 1, 1, tzinfo=UTC)}, "(certificate has expired)$"),
        ({"by": "another CA"}, "); give a private CA with ssl= or LIMIO_CA_FILE$"),
    ],
)
@pytest.mark.parametrize("lent", [False, True])
async def test_a_certificate_that_is_refused_tells_why_and_nothing_is_in_doubt(
    ca: Any, trusting: ssl.SSLContext, issued: dict[str, Any], said: str, *, lent: bool
) -> None:
    facts = {"names": ["127.0.0.1"], "by": ca, **issued}
    by, names = trustme.CA() if facts.pop("by") != ca else ca, facts.pop("names")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    by.issue_cert(*names, **facts).configure_cert(context)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) if lent else None
    options = {"session": session} if lent else {"ssl": trusting}
    async with tls_server(context) as server, limio_to(server.url, **options) as limio:
        with pytest.raises(errors.NeverSent) as caught:
            await limio.orders.submit({"order_type": "new"})
    assert re.search(
        "could not connect: its certificate is not trusted .*" + re.escape(said[:-1]) + "$", str(caught.value)
    )
    assert caught.value.happened == "no"
    assert server.requests == []
    if session is not None:
        await session.close()


async def test_a_borrowed_session_trusts_and_goes_by_what_is_given_beside_it(
    served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with (
        tls_server(served) as server,
        proxy_to(server.url) as proxy,
        aiohttp.ClientSession() as session,
    ):
        async with limio_to(server.url, ssl=trusting, proxy=proxy.url, session=session) as limio:
            assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        assert not session.closed
    assert len(proxy.heads) == 1


async def test_a_proxy_is_asked_with_its_password_and_cannot_read_what_goes_through(
    served: ssl.SSLContext, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with tls_server(served) as server, proxy_to(server.url) as proxy:
        way = f"http://user:canary-p%40ss%3Aword@{proxy.address}/"
        async with limio_to("acme.prod.limio.com", ssl=trusting, proxy=way) as limio:
            for _ in range(3):
                assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
            shown = repr(limio) + str(limio.explain(limio.subscriptions.get, "s")) + caplog.text
    [head] = proxy.heads  # a connection that is kept is asked for once
    assert head.startswith(b"CONNECT acme.prod.limio.com:443 HTTP/1.1\r\n")
    basic = b64encode(f"user:{PASSWORD}".encode())
    assert b"proxy-authorization: basic " + basic.lower() in head.lower()
    assert CANARY.encode() not in proxy.read
    assert len(server.requests) == 3
    for request in server.requests:
        assert basic.lower() not in request.lower()
        assert b"proxy-" not in request.lower()
    for secret in (PASSWORD, basic.decode(), "p%40ss"):
        assert secret not in shown


async def test_a_proxy_reads_its_password_from_a_request_that_is_not_encrypted() -> None:
    async with raw_server(http(b'{"id":"sub-1"}')) as server, proxy_to(server.url) as proxy:
        limio = limio_to(server.url, proxy=f"http://user@{proxy.address}")
        assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        await limio.aclose()
    [head] = proxy.heads
    assert head.startswith(f"GET {server.url}/api/objects".encode())
    assert b"proxy-authorization: basic " + b64encode(b"user:").lower() in head.lower()


@pytest.fixture
def environ(ca: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Variables for a tenant behind a proxy that takes a password, and nothing else of the surrounding."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in [name for name in os.environ if name.startswith("LIMIO_")]:
        monkeypatch.delenv(name)

    def made(proxy: Proxy) -> dict[str, str]:
        return {
            "LIMIO_HOST": "acme.prod.limio.com",
            "LIMIO_TOKEN": CANARY,
            "LIMIO_CA_FILE": str(tmp_path / "ca.pem"),
            "LIMIO_PROXY": f"http://user:{quote(PASSWORD)}@{proxy.address}",
            "LIMIO_CONFIG": os.devnull,
        }

    return made


async def test_the_environment_says_the_way(served: ssl.SSLContext, environ: Any) -> None:
    async with tls_server(served) as server, proxy_to(server.url) as proxy:
        async with Limio.from_env(environ(proxy)) as limio:
            assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
        arguments = ["subscriptions", "get", "sub-1"]
        command = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environ(proxy))
        assert command.exit_code == 0, command.stderr
        assert '"sub-1"' in command.stdout
    assert len(proxy.heads) == len(server.requests) == 2
    assert all(b64encode(f"user:{PASSWORD}".encode()) in head for head in proxy.heads)
    assert PASSWORD not in command.output


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "proxy.test:3128",
        f"user:{PASSWORD}@proxy.test:3128",
        f"https://user:{PASSWORD}@proxy.test",
        f"socks5://user:{PASSWORD}@proxy.test",
        f"http://user:{PASSWORD}@proxy.test/path",
        f"http://user:{PASSWORD}@proxy.test?x",
        f"http://user:{PASSWORD}@proxy.test:99999",
        f"http://user:{PASSWORD}@pro xy.test",
        f"http://user:{PASSWORD}@",
        8080,
    ],
)
def test_a_proxy_that_cannot_be_meant_is_refused_without_showing_it(proxy: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="the proxy is a URL such as") as caught:
        Limio("acme.test", proxy=proxy)
    assert PASSWORD not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_proxy_elsewhere_is_not_told_what_is_for_this_machine_only() -> None:
    with pytest.raises(errors.ConfigurationError, match="the proxy would read the credentials"):
        Limio("http://localhost:8642", proxy="http://proxy.test:3128")
    assert Limio("http://localhost:8642", proxy="http://127.0.0.1:3128")
    assert Limio("http://localhost:8642", proxy="http://proxy.test:3128", plain_http=True)


@pytest.mark.parametrize("wrong", [False, True, "ca.pem", 5])
def test_certificates_are_a_context_and_cannot_be_switched_off_by_a_word(wrong: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"ssl= takes an ssl\.SSLContext"):
        Limio("acme.test", ssl=wrong)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_failure_to_connect_names_the_proxy_that_nobody_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
    said = f"could not connect: .*; {name} is set, which is not read: give proxy= or LIMIO_PROXY"
    async with limio_to(url) as limio:
        with pytest.raises(errors.NeverSent) as caught:
            await limio.subscriptions.get("sub-1")
        assert "_PROXY" not in str(caught.value)
        monkeypatch.setenv(name, f"http://user:{PASSWORD}@proxy.test:3128")
        with pytest.raises(errors.NeverSent, match=said) as caught:
            await limio.subscriptions.get("sub-1")
        assert PASSWORD not in str(caught.value)
    async with limio_to(url, proxy="http://127.0.0.1:1") as limio:
        with pytest.raises(errors.NeverSent) as caught:
            await limio.subscriptions.get("sub-1")
        assert "_PROXY" not in str(caught.value)
