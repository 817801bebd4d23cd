"""What services of any framework share: readiness, a client and its caches, the log of problems."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from limio_async.client import Limio
from limio_async.core.sending import facts
from limio_async.errors import ConfigurationError, LimioError
from limio_async.state import State
from limio_async.web.problems import Table, Told, told

__all__ = ["C", "Cache", "Caches", "Named", "answer_to", "opened", "readiness"]


class Cache(AbstractAsyncContextManager[Any], Protocol):
    """What a service keeps in memory, such as a `CatalogCache`; entering it returns it and keeps it current."""

    @property
    def usable(self) -> bool:
        """Whether it can be read just now."""
        ...

    @property
    def age(self) -> float | None:
        """Seconds since it was known to be current; None before it was loaded."""


C = TypeVar("C", bound=Cache)
Caches = Mapping[str, Cache]


class Named(msgspec.Struct, Generic[C], frozen=True):
    """A cache that is opened with the client. *name* is what readiness calls it, *make* gets the client."""

    name: str
    make: Callable[[Limio], C]


def readiness(state: State | None, caches: Caches) -> Told:
    """Return 200 if the client is open and every cache usable, else 503. *state* is `limio.state()`, None without a client.

    A pause that Limio asks for is told and changes nothing: all replicas would leave at once.
    """
    kept = {name: {"usable": one.usable, "age": one.age} for name, one in caches.items()}
    ready = state is not None and state.open and all(one["usable"] for one in kept.values())
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    body = msgspec.json.encode({"ready": ready, "limio": state, "caches": kept})
    return Told(200 if ready else 503, headers, body)


@asynccontextmanager
async def opened(make: Callable[[], Limio], caches: Collection[Named[Any]], grace: float) -> AsyncGenerator[tuple[Limio, Caches]]:  # fmt: skip
    """Open a client and its caches. Close the caches, the last one first, then the client, whatever fails."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(make())  # it belongs to this loop from now on
        stack.push_async_callback(client.aclose, grace)
        if len({one.name for one in caches}) < len(caches):
            raise ConfigurationError("two caches have one name")
        yield client, {one.name: await stack.enter_async_context(one.make(client)) for one in caches}


def answer_to(error: Exception, table: Table) -> Told:
    """Return what to answer, of a group the worst, and log what is not in it. Raises what is not all of Limio."""
    found = [error]
    for one in found:  # a group, and what is in it
        found += getattr(one, "exceptions", ())
    leaves = [one for one in found if not isinstance(one, ExceptionGroup)]
    ours = [(one, told(one, table, alone=one is error)) for one in leaves if isinstance(one, LimioError)]
    if len(ours) < len(leaves):
        raise error
    for one, answer in ours:
        known = answer.doubt and one.retry_class == "once" and one.attempts  # which the client has logged
        extra = facts(one.operation, "interactive", one.attempts, type(one).__name__)
        level = 10 if known else 20 if answer.status < 500 else 30
        said = "answered with %d %s: %s", answer.status, answer.type, one
        logging.getLogger("limio_async").log(level, *said, extra=extra, exc_info=answer.status == 500 and one)
    return min(ours, key=lambda pair: (not pair[1].doubt, pair[0].retryable))[1]
