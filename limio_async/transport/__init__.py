"""Requests on the wire: the only aiohttp of the client side.

aiohttp.py       `AiohttpTransport`: one origin, one send, our own errors
borrowed.py      a session of the caller's: what of it does no harm, and what is refused
workarounds.py   what aiohttp does by itself and must not
translation.py   aiohttp's exceptions as ours, each told apart
body.py          gathering the body of an answer, decompressed, up to a limit
origin.py        the origin meant by a host name or a base URL, checked
way.py           the way there, checked: the proxy, and the certificates that are trusted
"""

from limio_async.transport.aiohttp import AiohttpTransport, ClientSession
from limio_async.transport.origin import agreed_origin, origin_of

__all__ = ["AiohttpTransport", "ClientSession", "agreed_origin", "origin_of"]
