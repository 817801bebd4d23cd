"""aiohttp's exceptions as ours, each told apart."""

from __future__ import annotations

import asyncio

import aiohttp

from limio_async.errors import AnswerLost, NeverSent, TransportError
from limio_async.transport.body import BrokenOff

__all__ = ["NO_CONNECTION", "Unclean", "translated"]

NO_CONNECTION = "could not connect"

_BROKEN_OFF = "the answer's body broke off"


class Unclean(aiohttp.ClientConnectionError):
    """Not used: something had come on a kept connection that nobody asked for."""


def translated(error: aiohttp.ClientError | TimeoutError | BrokenOff, operation: str) -> TransportError:
    """Our error for one of aiohttp's; only what is certain never to have left counts as never sent."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.InvalidURL():
            return NeverSent(f"{NO_CONNECTION}: {_reason(error)}", operation=operation)
        case Unclean():
            return NeverSent("a kept connection could not be used", operation=operation)
        case aiohttp.ServerDisconnectedError():
            return AnswerLost("the server hung up without an answer", operation=operation)
        case aiohttp.ClientPayloadError():
            return AnswerLost(_BROKEN_OFF, operation=operation)
        case BrokenOff():
            return AnswerLost(str(error) or _BROKEN_OFF, operation=operation)
        case aiohttp.ClientResponseError():
            return AnswerLost("the answer is not HTTP", operation=operation)
        case TimeoutError():
            return AnswerLost("the answer did not come in time", operation=operation)
        case _:
            return AnswerLost(f"the connection broke: {_reason(error)}", operation=operation)


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
