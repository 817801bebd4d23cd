"""Sending a delivery over HTTP: what goes wrong with it happens on the socket."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from contextlib import suppress
from http import HTTPStatus

from aiohttp import web

from limio_async.core.wire import Response
from limio_async.emulator.faults.delivery import Delivery

__all__ = ["send"]

_PIECES = 10
_MEGABYTE = 2**20
_RESETS_AT_ONCE = struct.pack("ii", 1, 0)
_A_MOMENT = 0.01


async def send(incoming: web.Request, delivery: Delivery) -> web.StreamResponse:
    """Answer *incoming*, if the delivery lets it come to that."""
    match delivery.way:
        case "slow":
            return await _slowly(incoming, delivery)
        case "gzip bomb":
            return await _inflating(incoming, delivery)
        case _:
            await asyncio.sleep(delivery.delay)
    if delivery.way == "whole":
        answer = delivery.answer
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    if (transport := incoming.transport) is not None:
        transport.write(_beginning(delivery))
        await asyncio.sleep(_A_MOMENT if delivery.way == "reset" else 0)
        if delivery.way in {"truncated", "not http"}:
            transport.close()
        else:
            _reset(transport)
    return web.Response(status=500)  # nobody gets it: the connection is gone


def _beginning(delivery: Delivery) -> bytes:
    """What is sent before the connection ends."""
    if delivery.way == "not http":
        return b"\x15\x03\x01\x00\x02\x02\x46 this is not HTTP\r\n\r\n"
    if delivery.way not in {"reset", "truncated"}:
        return b""
    answer = delivery.answer
    half = answer.body[: len(answer.body) // 2]
    headers = dict(answer.headers)
    match delivery.framing:
        case "length":
            headers["content-length"] = str(len(answer.body))
        case "chunked":
            headers["transfer-encoding"] = "chunked"
            half = b"%x\r\n%b\r\n" % (len(half), half) if half else b""
        case "none":
            headers["connection"] = "close"
    return _head(answer, headers) + half


def _head(answer: Response, headers: dict[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _reset(transport: asyncio.Transport) -> None:
    """End the connection as a crash does: with RST, not with FIN."""
    plain: socket.socket | None = transport.get_extra_info("socket")
    with suppress(OSError):  # the client hung up first, and the socket is closed
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS_AT_ONCE)
    transport.abort()


async def _slowly(incoming: web.Request, delivery: Delivery) -> web.StreamResponse:
    answer = delivery.answer
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(incoming)
    size = len(answer.body) // _PIECES + 1
    for start in range(0, len(answer.body), size):
        await response.write(answer.body[start : start + size])
        await asyncio.sleep(delivery.delay / _PIECES)
    return response


async def _inflating(incoming: web.Request, delivery: Delivery) -> web.StreamResponse:
    headers = {**delivery.answer.headers, "content-encoding": "gzip"}
    response = web.StreamResponse(status=delivery.answer.status, headers=headers)
    await response.prepare(incoming)
    packer = zlib.compressobj(wbits=31)
    spaces = b" " * _MEGABYTE
    for _ in range(delivery.megabytes):
        await response.write(packer.compress(spaces))
    await response.write(packer.flush())
    return response
