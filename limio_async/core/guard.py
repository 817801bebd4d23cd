"""Where no call may be made: within whatever must not wait for the network."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from limio_async.errors import InboxError

__all__ = ["check", "forbidding"]

forbidding: ContextVar[Callable[[], str | None] | None] = ContextVar("forbidding", default=None)
"""Says why no call may be made just now; None where one may."""


def check(operation: str) -> None:
    """Raise `InboxError` where no call may be made."""
    why = forbidding.get()
    if why is not None and (said := why()) is not None:
        raise InboxError(said, operation=operation)
