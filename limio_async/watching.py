"""Those who watch a client, and the log: told what becomes of its calls and walks, never in a call's way."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from limio_async.core.codec import checked_headers
from limio_async.core.limiter import Lane
from limio_async.core.ports import Called, Observer, Watch
from limio_async.core.sending import facts
from limio_async.core.wire import Attempt, Endpoint, Request

__all__ = ["Watchers"]

_log = logging.getLogger("limio_async")
_TRACE_CONTEXT = frozenset({"traceparent", "tracestate", "baggage"})
_PLAIN = re.compile("[!-~]+")
_TOKENS = "/oauth2/token"


class Watchers:
    """The observers of a client: one that raises is logged once, and told only the end of what it has begun."""

    def __init__(self, observers: Sequence[Observer], origin: str) -> None:
        self._observers = observers
        self._origin = origin
        self._off: set[int] = set()
        self._warned = False

    def __call__(
        self, what: Endpoint[Any] | Request, args: Mapping[str, Any], lane: Lane, page: int | None
    ) -> Watch | None:
        """Begin to watch a call, a page of a walk (by its number), or a walk (0); None where nobody does."""
        if not self._observers and (page == 0 or not _log.isEnabledFor(logging.DEBUG)):
            return None
        called = _called(what, args, lane, self._origin, page or None)
        question = "walk" if page == 0 else "call"
        asked = [(one, self.ask(one, one, question, called)) for one in self._observers]
        watches = [(one, watch) for one, watch in asked if watch is not None]
        if not watches and (page == 0 or not _log.isEnabledFor(logging.DEBUG)):
            return None
        return _Watches(self, called, watches, question)

    def ask(self, observer: Observer, who: Any, what: str, *said: object) -> Any:
        """Return what an observer, or a watch of its, answers to *what*; None from the moment that it raised."""
        off = id(observer) in self._off
        if off and what != "ended":
            return None
        try:
            if (method := getattr(who, what, None)) is None:
                return None
            answer = method(*said)
            if inspect.iscoroutine(answer):
                answer.close()
                raise TypeError("an observer is synchronous")  # noqa: TRY301  # as if it had raised
            return self._trace_context(observer, answer) if what == "sends" else answer
        except (Exception, asyncio.CancelledError):  # nobody can have cancelled what does not wait
            if off:
                return None
            self._off.add(id(observer))
            name = type(observer).__name__
            _log.exception("the observer %s raised in %s() and is told nothing more", name, what)

    def _trace_context(self, observer: Observer, given: Mapping[str, str] | None) -> dict[str, str]:
        if not given or (given.keys() <= _TRACE_CONTEXT and all(map(_PLAIN.fullmatch, given.values()))):
            return dict(given or {})
        named = {str(name).lower(): value for name, value in given.items()}
        others = sorted(named.keys() - _TRACE_CONTEXT)
        if others and not self._warned:
            self._warned = True
            name, shown = type(observer).__name__, ", ".join(others)
            _log.warning(
                "the observer %s may add traceparent, tracestate and baggage; not sent: %s", name, shown
            )
        return checked_headers({name: value for name, value in named.items() if name in _TRACE_CONTEXT})


class _Watches:
    """All who watch one call, or one walk."""

    def __init__(
        self, by: Watchers, called: Called, watches: Sequence[tuple[Observer, Any]], what: str
    ) -> None:
        self._by = by
        self._called = called
        self._watches = watches
        self._logged = what == "call"
        self._begun = time.monotonic()
        self._attempts: list[Attempt] = []

    def queued(self, seconds: float) -> None:
        self._tell("queued", seconds)

    def token(self, seconds: float) -> None:
        self._tell("token", seconds)

    def sends(self, attempt: int) -> Mapping[str, str]:
        given = self._asked("sends", attempt)
        return {name: value for one in given if one for name, value in one.items()}

    def came_to(self, attempt: Attempt, size: int) -> None:
        self._attempts.append(attempt)
        self._tell("came_to", attempt, size)

    def waits(self, seconds: float, why: str) -> None:
        self._tell("waits", seconds, why)

    def page(self, items: int) -> None:
        self._tell("page", items)

    def restarts(self, why: Exception) -> None:
        self._tell("restarts", why)

    def ended(self, error: BaseException | None) -> None:
        self._tell("ended", error)
        if self._logged and _log.isEnabledFor(logging.DEBUG):
            outcome, took = type(error).__name__ if error else "ok", time.monotonic() - self._begun
            extra = facts(self._called.operation, self._called.lane, self._attempts, outcome, took)
            tried = ", ".join(one.reason for one in self._attempts) or "nothing sent"
            _log.debug("%s: %s (%s), %.3f s", self._called.operation, outcome, tried, took, extra=extra)

    def _tell(self, what: str, *said: object) -> None:
        for _ in self._asked(what, *said):
            pass

    def _asked(self, what: str, *said: object) -> Iterator[Any]:
        for observer, watch in self._watches:
            yield self._by.ask(observer, watch, what, *said)


def _called(
    what: Endpoint[Any] | Request, args: Mapping[str, Any], lane: Lane, origin: str, page: int | None
) -> Called:
    path, resource, kind = "", "auth", None
    if isinstance(what, Endpoint):
        path, resource, kind = what.path, what.resource, what.bound.get("path_type")
        for name, value in what.bound.items():
            path = path.replace(f"{{{name}}}", value)
        given = args.get("path_type")
        if any(one.name == "path_type" and given in one.choices for one in what.params):
            kind = given
    elif what.target == _TOKENS:  # those of other strategies may hold what nobody is to see
        path = _TOKENS
    return Called(
        operation=what.operation,
        resource=resource,
        method=what.method,
        path=path,
        path_type=kind,
        retry=what.retry,
        lane=lane,
        origin=origin,
        page=page,
    )
