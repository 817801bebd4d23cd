"""How an answer travels: whole, late, cut short, or not at all."""

from __future__ import annotations

from typing import Literal

import msgspec

from limio_async.core.wire import Response
from limio_async.errors import AnswerLost, NeverSent, Unreadable

__all__ = ["Delivery", "Framing"]

Framing = Literal["length", "chunked", "none"]
"""What tells where a body ends: `content-length`, chunks, or only the end of the connection."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An answer and its way. Over HTTP it happens on the socket; in memory it comes to what a client makes of it."""

    answer: Response
    way: Literal["whole", "never sent", "lost", "reset", "truncated", "slow", "gzip bomb", "not http"] = (
        "whole"
    )
    """`lost`: the connection is reset before the head; `reset`: within the body."""
    delay: float = 0.0
    """Seconds before the head, or, of a slow body, until its end."""
    framing: Framing = "length"
    megabytes: int = 0
    """How much a bomb inflates to."""
    fault: str | None = None
    """The fault that did this, in words."""

    def received(self, operation: str) -> Response:
        """What a client makes of it. Raises `NeverSent`, `AnswerLost` or `Unreadable` where no answer arrives."""
        match self.way:
            case "whole" | "slow":
                return self.answer
            case "never sent":
                raise NeverSent(self._said("it never arrived"), operation=operation)
            case "reset" | "truncated":
                raise AnswerLost(self._said("the answer's body broke off"), operation=operation)
            case "gzip bomb":
                said, status = self._said("the answer is too large"), self.answer.status
                raise Unreadable(said, operation=operation, status=status, too_large=True)
            case "lost" | "not http":
                raise AnswerLost(self._said("the answer was lost"), operation=operation)

    def _said(self, what: str) -> str:
        return f"{what} (emulated{f': {self.fault}' if self.fault else ''})"
