"""aiohttp's exceptions as ours, each told apart."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from limio_async.errors import AnswerLost, NeverSent, TransportError
from limio_async.transport.body import BrokenOff

__all__ = ["LINE", "LINES", "NO_CONNECTION", "Unclean", "has_left", "too_large", "translated"]

NO_CONNECTION = "could not connect"
LINE = "a line of more than 64 KiB"
LINES = "more than 512 lines"
_BROKEN_OFF = "the answer's body broke off"
_LIMITS = {"Got more than": LINE, "Too many headers": LINES}
"""What a text of aiohttp's says, which has no type of its own for it."""
_NO_KNOWN_ISSUER = frozenset({18, 19, 20, 21})  # https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ServerFingerprintMismatch,
)


class Unclean(aiohttp.ClientConnectionError):
    """Not used: something had come on a kept connection that nobody asked for."""


def translated(
    error: aiohttp.ClientError | OSError | BrokenOff,
    operation: str,
    request: aiohttp.ClientRequest | None = None,
) -> TransportError:
    """Our error for one of aiohttp's; only what is certain never to have left counts as never sent.

    *request* is what it was raised for, where that is known.
    """
    if isinstance(error, Unclean):
        return NeverSent("a kept connection could not be used", operation=operation)
    if (
        isinstance(error, _NOT_CONNECTED)
        or _asked_proxy(error)
        or (request is not None and not has_left(request))
    ):
        return NeverSent(_not_connected(error, request), operation=operation)
    match error:
        case aiohttp.ServerDisconnectedError():
            said = "the server hung up without an answer"
        case aiohttp.ClientPayloadError():
            said = _BROKEN_OFF
        case BrokenOff():
            said = str(error) or _BROKEN_OFF
        case aiohttp.ClientResponseError():
            beyond = _beyond(error)
            said = too_large(beyond) if beyond else "the answer is not HTTP"
        case TimeoutError():
            said = "the answer did not come in time"
        case _:
            said = f"the connection broke: {_reason(error)}"
    return AnswerLost(said, operation=operation)


def has_left(request: aiohttp.ClientRequest) -> bool:
    """Whether any of *request* can have left; its connection is closed where it has ended in an error."""
    return _was_begun(request) and getattr(request, "was_written", True)


def _was_begun(request: aiohttp.ClientRequest) -> bool:
    return getattr(request, "response", None) is not None  # aiohttp types it as None


def too_large(what: str) -> str:
    """Say that the head of an answer has *what*."""
    return f"the answer's head has {what}, which is not read"


def _asked_proxy(error: BaseException) -> bool:
    """Whether it is about what a proxy answered that was asked for a connection."""
    asked = getattr(error, "request_info", None)
    return asked is not None and asked.method == aiohttp.hdrs.METH_CONNECT


def _not_connected(error: BaseException, request: aiohttp.ClientRequest | None) -> str:
    if request is not None and _was_begun(request):
        return f"it failed before it left: {type(error.__cause__ or error).__name__}"
    proxy = _proxy(error, request)
    match error:
        case aiohttp.ClientHttpProxyError():
            hint = ", it wants a user and a password" if error.status == 407 else ""
            return f"the proxy {proxy} refused to connect: status {error.status}{hint}"
        case aiohttp.ClientResponseError():
            answered = "a head that is too large" if _beyond(error) else "something that is not HTTP"
            return f"the proxy {proxy} refused to connect: it answered with {answered}"
        case aiohttp.ServerDisconnectedError() if proxy:
            return f"the proxy {proxy} refused to connect: it hung up without an answer"
        case aiohttp.ClientConnectorError() if proxy == _at(error.host, error.port):
            return f"{NO_CONNECTION} to the proxy {proxy}: {_reason(error)}"
        case _:
            through = f" through the proxy {proxy}" if proxy else ""
            return f"{NO_CONNECTION}{through}: {_reason(error)}"


def _proxy(error: BaseException, request: aiohttp.ClientRequest | None) -> str:
    """Return host and port of the proxy on the way, never what stands before them; nothing where there is none."""
    url = request.proxy if request is not None else None
    if url is None and _asked_proxy(error):
        url = getattr(error, "request_info").real_url  # noqa: B009
    if url is not None and url.host:
        return _at(url.host, url.port)
    return _at(error.host, error.port) if isinstance(error, aiohttp.ClientProxyConnectionError) else ""


def _at(host: str | None, port: int | None) -> str:
    return f"{f'[{host}]' if host and ':' in host else host}:{port}"


def _beyond(error: aiohttp.ClientResponseError) -> str | None:
    """Return what of an answer's head is more than is read."""
    return next((what for text, what in _LIMITS.items() if error.message.startswith(text)), None)


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = error.certificate_error
        if not isinstance(why, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({type(why).__name__})"
        hint = "; give a private CA with ssl= or LIMIO_CA_FILE" if why.verify_code in _NO_KNOWN_ISSUER else ""
        return f"its certificate is not trusted ({why.verify_message.rstrip('.')}){hint}"
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return "its certificate has another fingerprint"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
