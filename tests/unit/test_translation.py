"""Each of aiohttp's exceptions is one of ours: only what is certain never to have left counts as never sent."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from limio_async.errors import AnswerLost, NeverSent, TransportError
from limio_async.transport.body import BrokenOff
from limio_async.transport.translation import Unclean, translated

KEY: Any = ConnectionKey("limio.test", 443, True, True, None, None, None)
REFUSED = OSError(111, "Connection refused")

ASKED = aiohttp.RequestInfo(
    URL("https://limio.test"), "CONNECT", CIMultiDictProxy(CIMultiDict()), URL("http://me:canary@[::1]:3128")
)

TABLE: list[tuple[Any, type[TransportError], str]] = [
    (aiohttp.ClientConnectorError(KEY, REFUSED), NeverSent, "could not connect: Connection refused"),
    (aiohttp.ConnectionTimeoutError(), NeverSent, "could not connect: no connection in time"),
    (aiohttp.InvalidURL("x"), NeverSent, "could not connect: InvalidURL"),
    (aiohttp.ClientProxyConnectionError(KEY, REFUSED), NeverSent, "could not connect to the proxy limio.test:443: Connection refused"),
    (aiohttp.ClientHttpProxyError(ASKED, (), status=403), NeverSent, "the proxy [::1]:3128 refused to connect: status 403"),
    (aiohttp.ClientResponseError(ASKED, (), status=400), NeverSent, "the proxy [::1]:3128 refused to connect: it answered with something that is not HTTP"),
    (aiohttp.ServerFingerprintMismatch(b"a", b"b", "limio.test", 443), NeverSent, "could not connect: its certificate has another fingerprint"),
    (Unclean(), NeverSent, "a kept connection could not be used"),
    (aiohttp.ServerDisconnectedError(), AnswerLost, "the server hung up without an answer"),
    (aiohttp.ClientPayloadError("secret"), AnswerLost, "the answer's body broke off"),
    (BrokenOff(), AnswerLost, "the answer's body broke off"),
    (BrokenOff("announced as gzip"), AnswerLost, "announced as gzip"),
    (aiohttp.ClientResponseError(None, (), status=400), AnswerLost, "the answer is not HTTP"),  # type: ignore[arg-type]
    (aiohttp.SocketTimeoutError(), AnswerLost, "the answer did not come in time"),
    (TimeoutError(), AnswerLost, "the answer did not come in time"),
    (aiohttp.ClientOSError(104, "Connection reset"), AnswerLost, "the connection broke: Connection reset"),
    (aiohttp.ClientConnectionResetError("secret"), AnswerLost, "the connection broke: ClientConnectionResetError"),
    (aiohttp.ClientError("secret"), AnswerLost, "the connection broke: ClientError"),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "kind", "said"), TABLE, ids=lambda one: type(one).__name__)
def test_what_aiohttp_raises_is_told_apart(theirs: Any, kind: type[TransportError], said: str) -> None:
    ours = translated(theirs, "submitOrder")
    assert type(ours) is kind
    assert (ours.operation, ours.said, str(ours)) == ("submitOrder", said, f"submitOrder: {said}")
