"""A handler's transaction in a SQLite file: it locks nothing while the handler awaits."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Generator
from copy import copy
from typing import Any, TypeVar

from limio_async.stores.store import Do, Plan, Rows, Store, Tx

__all__ = ["Noted", "Recorded", "refusal"]

T = TypeVar("T")
_FIRST = re.compile(r"(?:[\s;(]|--[^\n]*(?:\n|$)|/\*.*?\*/)*([a-z]+)", re.DOTALL | re.IGNORECASE)
_READS = frozenset({"select", "values", "explain", "pragma"})
_ENDS = frozenset({
    "abort", "attach", "begin", "commit", "detach", "end", "prepare", "release", "rollback", "savepoint", "start", "vacuum",
})  # fmt: skip
_WRITES = re.compile(r"\b(insert|update|delete|replace)\b", re.IGNORECASE)


class Noted(Awaitable[Rows]):
    """What a statement gives that is executed later: awaiting it is optional, and gives no rows."""

    def __await__(self) -> Generator[None, None, Rows]:
        yield from ()
        return []


class Recorded(Tx):
    """Notes statements; all of them are executed with the mark, in one short transaction, when the handler has returned."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._work: list[Callable[[Store], object]] = []

    def execute(self, statement: str, parameters: Any = None) -> Awaitable[Rows]:
        """Note a statement that writes; awaiting it is optional, and gives no rows. Raises `InboxError` for one that reads."""
        self._check()
        if words := refusal(statement):
            self._refused(words)
        word, given = _first_word(statement), copy(parameters)  # the handler may change its own
        if word in _READS or (word == "with" and not _WRITES.search(statement)):
            self._refused(
                "on SQLite, tx notes what is written when the handler returns: read through a connection of your own"
            )
        self._work.append(lambda store: store.execute(statement, given))
        return Noted()

    async def follow(self, plan: Callable[[], Plan[T]]) -> T | None:
        """Follow a plan when the handler has returned."""
        self._check()
        self._work.append(lambda store: store.follow(plan()))
        return None

    async def commit(self, mark: Callable[[], Plan[Any]], do: Do) -> None:
        """Execute all of it, then *mark*."""
        self._is_over = True
        self._check_whole()

        def work(store: Store) -> Plan[Any]:
            for one in self._work:
                one(store)
            return mark()

        await do(work)


def refusal(statement: str) -> str | None:
    """Return in words why a statement is none for a tx: it would begin or end the transaction; None if it is one."""
    word = _first_word(statement)
    return (
        f"tx is committed when the handler returns: {word.upper()} is not for it" if word in _ENDS else None
    )


def _first_word(statement: str) -> str:
    found = _FIRST.match(statement)
    return found[1].lower() if found else ""
