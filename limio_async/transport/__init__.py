"""Requests on the wire: the only aiohttp of the client side.

aiohttp.py       `AiohttpTransport`: one origin, one send, our own errors
pool.py          connections: those of one client, and those that many share
borrowed.py      a session of the caller's: what of it does no harm, and what is refused
workarounds.py   what aiohttp does by itself and must not
translation.py   aiohttp's exceptions as ours, each told apart
body.py          gathering the body of an answer, decompressed, up to a limit
way.py           the way there, checked: the proxy, and the certificates that are trusted
"""

from limio_async._origin import agreed_origin, origin_of
from limio_async.transport.aiohttp import AiohttpTransport, ClientSession
from limio_async.transport.pool import ConnectionPool

__all__ = ["AiohttpTransport", "ClientSession", "ConnectionPool", "agreed_origin", "origin_of"]
