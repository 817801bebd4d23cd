"""Requests on the wire: the only aiohttp of the client side.

aiohttp.py       `AiohttpTransport`: one origin, one send, our own errors
workarounds.py   what aiohttp does by itself and must not
translation.py   aiohttp's exceptions as ours, each told apart
body.py          gathering the body of an answer, decompressed, up to a limit
origin.py        the origin meant by a host name or a base URL, checked
"""

from limio_async.transport.aiohttp import AiohttpTransport
from limio_async.transport.origin import origin_of

__all__ = ["AiohttpTransport", "origin_of"]
