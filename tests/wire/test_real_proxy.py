"""A proxy that nobody here wrote: CONNECT, a password, a private CA, and its end while an order is under way.

proxy.py comes with the dev group. mitmproxy is asked too where `mitmdump` is on the path: it pins what others need newer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from limio_async import ApiKey, ClientCredentials, Limio, errors, models
from limio_async.core.ports import Auth
from tests.judges.need import missing
from tests.wire.rawserver import RawServer, hang_up, http
from tests.wire.tunnel import tls_server

trustme = pytest.importorskip("trustme", reason="trustme makes the private CA; the dev group has it")

USER, PASSWORD = "user", "canary-pass"
ORDER = models.CancelSubscriptionOrder(subscription_id="sub-1")
TOKEN = http(b'{"access_token":"canary-token","expires_in":3600}')


class Running(NamedTuple):
    """A proxy that has started."""

    address: str
    process: subprocess.Popen[bytes]
    ca: Path | None
    """What it signs by, where it reads what goes through."""

    def url(self, user: str | None = f"{USER}:{PASSWORD}") -> str:
        return f"http://{user + '@' if user else ''}{self.address}"


@pytest.fixture(scope="module")
def ca() -> Any:
    return trustme.CA()


@pytest.fixture(scope="module", params=["proxy.py", *(["mitmproxy"] if shutil.which("mitmdump") else [])])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "proxy.py":
        pytest.importorskip("proxy", reason="proxy.py is in the dev group")
    return str(request.param)


@pytest.fixture(scope="module")
def proxy(kind: str, ca: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that passes on what it cannot read."""
    with started(kind, tmp_path_factory.mktemp("tunnel"), ca, reads=False) as running:
        yield running


@pytest.fixture(scope="module")
def reader(kind: str, ca: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that reads what goes through, by a CA of its own."""
    if kind == "proxy.py" and shutil.which("openssl") is None:
        missing("openssl is not on the path: proxy.py signs with it")
    with started(kind, tmp_path_factory.mktemp("reads"), ca, reads=True) as running:
        yield running


@contextmanager
def started(kind: str, folder: Path, ca: Any, *, reads: bool) -> Iterator[Running]:
    trusted, own = folder / "trusted.pem", None
    ca.cert_pem.write_to_path(trusted)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    if kind == "mitmproxy":
        command = ["mitmdump", "-q", "--listen-host", "127.0.0.1", "--listen-port", port]
        command += ["--proxyauth", f"{USER}:{PASSWORD}", "--set", f"confdir={folder}"]
        command += ["--set", f"ssl_verify_upstream_trusted_ca={trusted}"]
        command += [] if reads else ["--ignore-hosts", ".*"]
        own = folder / "mitmproxy-ca-cert.pem" if reads else None
    else:
        command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", port]
        command += ["--num-workers", "1", "--num-acceptors", "1", "--log-level", "CRITICAL"]
        command += ["--data-dir", str(folder), "--basic-auth", f"{USER}:{PASSWORD}"]
        if reads:
            signer, own = trustme.CA(), folder / "own.pem"
            signer.cert_pem.write_to_path(own)
            for name in ("ca.key", "signing.key"):
                signer.private_key_pem.write_to_path(folder / name)
            command += ["--ca-cert-file", str(own), "--ca-key-file", str(folder / "ca.key")]
            command += ["--ca-signing-key-file", str(folder / "signing.key")]
            command += ["--ca-cert-dir", str(folder), "--ca-file", str(trusted)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        wait_for(int(port), process)
        yield Running(f"127.0.0.1:{port}", process, own)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, and the workers that it has."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1500):
        assert process.poll() is None, "it did not start"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("it does not listen")


@pytest.fixture
def served(ca: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def trusting(*roots: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # asked for since Python 3.13: proxy.py's certificates lack what that wants
    for root in roots:
        if isinstance(root, Path):
            context.load_verify_locations(root)
        else:
            root.configure_trust(context)
    return context


@asynccontextmanager
async def client(
    server: RawServer, proxy: str, context: ssl.SSLContext, **options: Any
) -> AsyncIterator[Limio]:
    auth: list[Auth] = [ApiKey("k"), ClientCredentials("id", "secret")]
    host = server.url.replace("127.0.0.1", "localhost")
    async with Limio(host, auth=auth, proxy=proxy, ssl=context, timeout=20, **options) as limio:
        yield limio
    await asyncio.sleep(0.05)  # TLS within a tunnel takes leave of both


async def never_sent(limio: Limio, server: RawServer) -> str:
    """Return what a read and an order say, of which nothing arrived."""
    said = set()
    for call in (limio.orders.submit(ORDER), limio.subscriptions.get("sub-1")):
        with pytest.raises(errors.NeverSent) as caught:
            await call
        assert PASSWORD not in f"{caught.value} {vars(caught.value)}"
        said.add(str(caught.value).partition(": ")[2])
    assert server.requests == []
    return " ".join(said)


async def test_calls_go_through_a_proxy_that_wants_a_password(
    proxy: Running, served: ssl.SSLContext, ca: Any
) -> None:
    async with tls_server(served) as server, client(server, proxy.url(), trusting(ca)) as limio:
        server.tokens = [TOKEN]
        assert (await limio.orders.submit(ORDER)).id == "sub-1"
        for _ in range(3):
            assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
    assert len(server.requests) == 5
    assert b"proxy-authorization" not in b"".join(server.requests).lower()


@pytest.mark.parametrize("user", [None, "user:wrong", "nobody:canary-pass", "user:"])
async def test_a_proxy_that_wants_another_password_says_407_and_nothing_is_in_doubt(
    proxy: Running, served: ssl.SSLContext, ca: Any, user: str | None
) -> None:
    async with (
        tls_server(served) as server,
        client(server, proxy.url(user), trusting(ca), attempts=1) as limio,
    ):
        said = await never_sent(limio, server)
    assert f"the proxy {proxy.address} refused to connect: status 407" in said


async def test_a_tenant_that_the_proxy_cannot_reach_was_sent_nothing(
    proxy: Running, served: ssl.SSLContext, ca: Any
) -> None:
    async with tls_server(served) as server:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        server.url = f"https://127.0.0.1:{port}"
        async with client(server, proxy.url(), trusting(ca), attempts=1) as limio:
            said = await never_sent(limio, server)
    assert f"the proxy {proxy.address}" in said


async def test_a_tenant_whose_certificate_is_of_another_ca_is_sent_nothing(
    proxy: Running, served: ssl.SSLContext
) -> None:
    other = trusting(trustme.CA())
    async with tls_server(served) as server, client(server, proxy.url(), other, attempts=1) as limio:
        said = await never_sent(limio, server)
    assert f"through the proxy {proxy.address}: its certificate is not trusted (" in said


async def test_a_proxy_that_reads_along_by_a_ca_of_its_own_is_let_in_where_that_is_trusted(
    reader: Running, served: ssl.SSLContext, ca: Any
) -> None:
    async with tls_server(served) as server:
        async with client(server, reader.url(), trusting(ca), attempts=1) as limio:
            assert "its certificate is not trusted (" in await never_sent(limio, server)
        server.tokens = [TOKEN]
        async with client(server, reader.url(), trusting(reader.ca)) as limio:
            assert (await limio.orders.submit(ORDER)).id == "sub-1"
            assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
    assert b"proxy-authorization" not in b"".join(server.requests).lower()


@pytest.mark.parametrize("through", ["proxy", "reader"])
async def test_an_order_that_the_tenant_had_when_it_hung_up_is_unknown(
    through: str, proxy: Running, reader: Running, served: ssl.SSLContext, ca: Any
) -> None:
    running = reader if through == "reader" else proxy
    async with tls_server(served) as server:
        server.tokens, server.script = [TOKEN], [hang_up]
        async with client(server, running.url(), trusting(running.ca or ca)) as limio:
            with pytest.raises(errors.UnknownOutcome):
                await limio.orders.submit(ORDER)
    assert len(server.sent("/api/order")) == 1


async def test_a_proxy_that_dies_leaves_in_doubt_what_had_left_and_nothing_else(
    kind: str, served: ssl.SSLContext, ca: Any, tmp_path: Path
) -> None:
    arrived = asyncio.Event()

    async def arrives(_: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.Event().wait()

    with started(kind, tmp_path, ca, reads=False) as running:
        async with (
            tls_server(served) as server,
            client(server, running.url(), trusting(ca), attempts=1) as limio,
        ):
            server.tokens, server.script = [TOKEN], [arrives]
            order = asyncio.create_task(limio.orders.submit(ORDER))
            await arrived.wait()
            end(running.process)
            with pytest.raises(errors.UnknownOutcome):
                await order
            del server.requests[:]
            await asyncio.sleep(0.1)  # the ends of the connections that were kept are read
            said = await never_sent(limio, server)
    assert f"could not connect to the proxy {running.address}: " in said
