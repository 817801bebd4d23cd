"""A proxy to a tenant that keeps what it answers, masked, as files that `limio emulate --data` serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.cli.failures import Failure, tell
from limio_async.cli.masking import masked
from limio_async.core.ports import Transport
from limio_async.core.tolerant import mended
from limio_async.core.wire import UNDECODABLE, Endpoint, Request, Response
from limio_async.emulator.http.admission import only_from_here
from limio_async.emulator.messages import Refused, reply
from limio_async.emulator.payload import as_object
from limio_async.emulator.routes import Routes
from limio_async.emulator.server import serve_answers
from limio_async.errors import LimioError
from limio_async.transport import AiohttpTransport
from limio_async.version import __version__

__all__ = ["Recorder", "record"]

_LONGEST = 60.0
_OWN = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding", "te"}
_OF_THE_BODY = {"content-encoding", "transfer-encoding", "content-length", "connection", "keep-alive"}
_NEVER_KEPT = {"createToken", "authorize"}


class Recorder:
    """Passes requests on through *transport* and appends what comes back to files in *directory*.

    Items of lists go to a file named after their resource, each once; other answers to `answers.jsonl`,
    each with its operation and status. Requests are not kept. Only programs of this machine are served.
    """

    def __init__(self, transport: Transport, directory: Path) -> None:
        self._transport = transport
        self._directory = directory
        self._routes = Routes(ENDPOINTS.values())
        self._seen: set[tuple[str, str]] = set()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise Failure(f"--record: {directory} is not empty")
        except OSError as error:
            raise Failure(f"--record {directory}: {error.strerror}") from None

    async def answer(self, request: Request) -> Response:
        """What the tenant answers; 502 if it does not."""
        try:
            only_from_here(request.headers)
            endpoint, path = self._routes.find(request.method, request.target.partition("?")[0])
        except Refused as refused:  # nor is what the SDK does not know passed on
            return reply({"message": refused.message}, refused.status)
        headers = {name: value for name, value in request.headers.items() if name not in _OWN}
        passed = msgspec.structs.replace(
            request, operation=endpoint.operation, headers=headers, retry=endpoint.retry
        )
        try:
            answer = await self._transport.send(passed, timeout=_LONGEST)
        except LimioError as error:
            return reply({"message": str(error)}, 502)
        try:
            self._keep(endpoint, path, answer)
        except OSError as error:
            tell(f"warning: cannot write to {self._directory}: {error.strerror}")
        left = {name: value for name, value in answer.headers.items() if name not in _OF_THE_BODY}
        return msgspec.structs.replace(answer, headers=left)

    def _keep(self, endpoint: Endpoint[Any], path: Mapping[str, str], answer: Response) -> None:
        if endpoint.operation in _NEVER_KEPT:
            return
        try:
            name, values = self._masked(endpoint, path, answer)
        except UNDECODABLE as error:
            tell(f"warning: an answer of {endpoint.operation} was passed on and not kept: {error}")
        else:
            self._append(name, values)

    def _masked(
        self, endpoint: Endpoint[Any], path: Mapping[str, str], answer: Response
    ) -> tuple[str, list[Any]]:
        """Return the file that keeps *answer*, and what is new to it."""
        content = msgspec.json.decode(mended(answer.body)) if answer.body else None
        items = as_object(content).get(endpoint.paging.items) if endpoint.paging else None
        if isinstance(items, list) and answer.status == 200:
            name = _file_of(endpoint, path)
            new = [item for item in cast("list[object]", items) if self._is_new(name, item)]
            return f"{name}.ndjson", [masked(item) for item in new]
        kept = {"operation": endpoint.operation, "status": answer.status, "answer": masked(content)}
        return "answers.jsonl", [kept]

    def _is_new(self, name: str, item: object) -> bool:
        key = (name, str(as_object(item).get("id", item)))
        new = key not in self._seen
        self._seen.add(key)
        return new

    def _append(self, name: str, values: list[Any]) -> None:
        with (self._directory / name).open("ab") as file:
            file.write(b"".join(msgspec.json.encode(value) + b"\n" for value in values))


async def record(
    tenant: str,
    directory: Path,
    *,
    host: str,
    port: int,
    ready: Callable[[str], object],
    way: Mapping[str, Any],
) -> None:
    """Pass on to *tenant*, by the *way* of the settings, until cancelled; calls *ready* with the base URL once it listens."""
    transport = AiohttpTransport(tenant, user_agent=f"limio_async/{__version__} recording", **way)
    recorder = Recorder(transport, directory)
    try:
        async with serve_answers(recorder.answer, host, port) as url:
            ready(url)
            await asyncio.Event().wait()
    finally:
        await transport.aclose()


def _file_of(endpoint: Endpoint[Any], path: Mapping[str, str]) -> str:
    """The resource whose list it is, or the operation."""
    if endpoint.operation != "listObjects":
        return (
            endpoint.resource if endpoint.paging and endpoint.paging.species.promises else endpoint.operation
        )
    wanted = unquote(path.get("path_type", ""))
    found = [
        one.resource
        for one in VIEWS
        if one.operation == "listObjects" and one.bound.get("path_type") == wanted
    ]
    return found[0] if found else "listObjects"
