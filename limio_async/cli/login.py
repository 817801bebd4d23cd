"""`limio login`: a person signs in with a browser, and the token is kept for the commands that follow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import webbrowser
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import click
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from limio_async.auth import AuthorizationCode, FileTokenStore, StoredToken
from limio_async.auth.authorization_code import belongs_to
from limio_async.cli.failures import Code, Failure, tell
from limio_async.cli.settings import Flags, has_bearer, settings, tenant, token_file, way_of
from limio_async.transport import AiohttpTransport
from limio_async.version import __version__

__all__ = ["command"]

_HOST = "127.0.0.1"  # not localhost, which may be another address to the browser
_PATH = "/callback"
_LARGEST_HEAD = 16 * 1024
_LONGEST_HEAD = 10.0
_LONGEST_EXCHANGE = 30.0


@click.command("login")
@click.option("--client-id", metavar="ID", help="Of an application with a browser sign-in  [LIMIO_CLIENT_ID]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help=f"The browser comes back to http://{_HOST}:PORT{_PATH}, which Limio must know.",
)
@click.option("--no-browser", is_flag=True, help="Only say which page to open.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the browser may take.",
)
@click.pass_obj
def command(flags: Flags, client_id: str | None, port: int, no_browser: bool, wait: float) -> None:
    """Sign in with a browser.

    The token is kept for this host and profile, in a file that only you may read (LIMIO_TOKEN_FILE names
    another). It is used where no other bearer token is configured, lasts an hour, and cannot be renewed:
    then sign in again.
    """
    if flags.emulated:
        raise Failure("--emulated: no browser can visit it; run limio emulate and give its --host")
    found = settings(flags, os.environ)
    origin = tenant(found, os.environ)
    client_id = client_id or found.get("client_id")
    if not client_id:
        raise Failure("no client id: use --client-id, LIMIO_CLIENT_ID or client_id in the profile")
    file = token_file(origin, flags, os.environ)
    transport = AiohttpTransport(origin, user_agent=f"limio_async/{__version__}", **way_of(found))
    token = asyncio.run(_signed_in(transport, client_id, file, port=port, browser=not no_browser, wait=wait))
    until = datetime.fromtimestamp(token.expires_at).astimezone().isoformat(" ", "minutes")
    tell(f"signed in to {origin} until {until}; kept in {file}")
    if has_bearer(found):
        tell("warning: LIMIO_TOKEN or a client secret is configured too, and wins")


async def _signed_in(
    transport: AiohttpTransport, client_id: str, file: Path, *, port: int, browser: bool, wait: float
) -> StoredToken:
    store = FileTokenStore(file)
    try:
        await store.load()  # before anybody signs in for nothing: another kind of file is not replaced
        async with await _listening(port) as listener:
            bound = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  # this is no Django
            auth = AuthorizationCode(client_id, f"http://{_HOST}:{bound}{_PATH}", store=store)
            sign_in = auth.begin(transport.origin, plain_http=True)  # the transport has checked it
            tell(f"sign in at {sign_in.url}")
            if browser:
                threading.Thread(target=_open, args=(sign_in.url,), daemon=True).start()
            callback = await _callback(listener, wait, sign_in.state)
        return await auth.finish(sign_in, callback, partial(transport.send, timeout=_LONGEST_EXCHANGE))
    finally:
        await transport.aclose()


async def _listening(port: int) -> anyio.abc.Listener[SocketStream]:
    try:
        return await anyio.create_tcp_listener(local_host=_HOST, local_port=port)
    except OSError as error:
        raise Failure(
            f"cannot listen at {_HOST}:{port}: {error.strerror}; choose another with --port", Code.API
        ) from None


async def _callback(listener: anyio.abc.Listener[SocketStream], wait: float, state: str) -> str:
    """What the browser asks for when it comes back; the connections it leaves open end with this.

    What does not carry *state* belongs to no sign-in of ours, whoever sent it: it is waited on.
    """
    came: list[str] = []
    others = 0

    async def answer(stream: SocketStream) -> None:
        nonlocal others
        with contextlib.suppress(anyio.BrokenResourceError, TimeoutError):
            async with stream:
                with anyio.fail_after(_LONGEST_HEAD):
                    target = await _target(stream)
                    back = target.partition("?")[0] == _PATH
                    ours = back and belongs_to(target, state)
                    others += back and not ours
                    status = "200 OK" if ours else "400 Bad Request" if back else "404 Not Found"
                    await stream.send(_page(status))
                if ours:
                    came.append(target)
        if came:
            tasks.cancel_scope.cancel()

    try:
        with anyio.fail_after(wait):
            async with anyio.create_task_group() as tasks:
                await listener.serve(answer, tasks)
    except TimeoutError:
        ignored = f"; answers that belong to another sign-in: {others}" if others else ""
        raise Failure(f"nobody signed in within {wait:g} s{ignored}", Code.CREDENTIALS) from None
    return came[0]


async def _target(stream: SocketStream) -> str:
    """The target of a GET request; empty for anything else."""
    try:
        head = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", _LARGEST_HEAD)
    except (anyio.DelimiterNotFound, anyio.IncompleteRead):
        return ""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return words[1] if len(words) == 3 and words[0] == "GET" else ""


def _page(status: str) -> bytes:
    text = "You can close this page: limio says in the terminal how it went." if status[0] == "2" else status
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", text]).encode()


def _open(url: str) -> None:
    """Open a browser, which may keep its caller waiting; where there is none, the URL was said."""
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(url)
