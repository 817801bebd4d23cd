"""`aioresponses` for aiohttp 3.14, whose answers want to know the writer of their request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import aiohttp
from aioresponses import aioresponses
from aioresponses.core import RequestCall
from yarl import URL

__all__ = ["AnswerWithWriter", "Sent", "mocked_http"]


class AnswerWithWriter(aiohttp.ClientResponse):
    """What aioresponses 0.7.9 must answer with: https://github.com/pnuckowski/aioresponses/issues/289."""

    def __init__(self, *args: Any, **facts: Any) -> None:
        super().__init__(*args, **{"stream_writer": Mock(), **facts})


class Sent:
    """What was handed to aiohttp, in order; answers come from the script."""

    def __init__(self, http: aioresponses) -> None:
        self._http = http

    def answers(self, method: str, url: str, *, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer one request like this."""
        self._http.add(
            URL(url, encoded=True),
            method,
            status=status,
            body=body,
            headers=headers,
            response_class=AnswerWithWriter,
        )

    @property
    def calls(self) -> list[tuple[str, str, RequestCall]]:
        """Method, normalised URL and arguments of each request."""
        return [
            (method, str(url), call) for (method, url), calls in self._http.requests.items() for call in calls
        ]


@contextmanager
def mocked_http() -> Iterator[Sent]:
    """No request of aiohttp reaches a socket in here."""
    with aioresponses() as http:
        yield Sent(http)
