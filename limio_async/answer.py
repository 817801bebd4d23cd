"""The whole answer to one call, not only its value."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

from limio_async.core import sending
from limio_async.core.ladder import Ladder
from limio_async.core.session import Session
from limio_async.core.wire import Attempt, Request, Response
from limio_async.errors import request_id_of

__all__ = ["Answer", "Answering"]

T = TypeVar("T")


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What came back for one call: its value, and the answer that it was read from."""

    value: T
    status: int
    headers: Mapping[str, str]
    """All of them, names in lower case; `set-cookie` and the like too."""
    request_id: str | None
    """What support asks for; None where the answer names none."""
    body: bytes
    """The exact bytes, decompressed."""
    attempts: tuple[Attempt, ...]
    """What it took, oldest first."""

    def __repr__(self) -> str:  # what came may hold personal data
        return f"<Answer {self.status}, {len(self.body)} bytes>"

    def __rich_repr__(self) -> list[tuple[str, object]]:  # msgspec's own would show everything
        return [("status", self.status), ("request_id", self.request_id)]


class _Keeper:
    """A ladder that keeps the answer."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self.kept: sending.Answer | None = None

    async def send(self, request: Request, **options: Any) -> tuple[Response, sending.Sending]:
        response, sent = await self._ladder.send(request, **options)
        self.kept = response, tuple(sent.attempts)
        return response, sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ladder, name)


class Answering(Session):
    """A session that keeps the answer to the one call that is made through it."""

    def __init__(self, session: Session) -> None:
        vars(self).update(vars(session))
        self._keeper = _Keeper(session.ladder)
        self.ladder = cast("Ladder", self._keeper)

    async def answer(self, call: Coroutine[Any, Any, T]) -> Answer[T]:
        """Make the call and return its whole answer."""
        value = await call
        if self._keeper.kept is None:
            raise TypeError("nothing was sent, so there is no answer")
        response, attempts = self._keeper.kept
        return Answer(
            value=value,
            status=response.status,
            headers=response.headers,
            request_id=request_id_of(response.headers),
            body=response.body,
            attempts=attempts,
        )
