"""The rows of an inbox, and what is done with them in one transaction each.

Whoever adds an event, takes one or ends one holds the row of its key first, and looks at the events in a statement of
its own afterwards: what others did to the key is seen then. A claim is a number that each holder adds 1 to. Who comes
with an old one writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from limio_async.errors import InboxError
from limio_async.stores import Plan, Store
from limio_async.webhooks.decide import CRASHES, LONGEST_WAIT, Earlier, is_repeat
from limio_async.webhooks.event import Entry, Row
from limio_async.webhooks.schema import EVENTS, KEYS
from limio_async.webhooks.types import State

__all__ = [
    "Fenced",
    "Taken",
    "end",
    "give_back",
    "hold",
    "is_waiting",
    "last_handled",
    "lost",
    "mark",
    "open_of",
    "receive",
    "release",
    "rows_where",
    "take",
]

_COLUMNS = ", ".join(f"t.{name}" for name in Row.__struct_fields__)
_TOGETHER = 500
_FRESH = "tries = 0, waits = 0, crashes = 0, since = NULL, error = NULL, due = 0"


class Fenced(InboxError):
    """Another worker has taken the event over: nothing of this one's is written."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """An event that this process handles."""

    row: Row
    claim: int
    tries: int
    waits: int
    waited: float
    """Seconds since Limio failed it first."""
    suspect: bool
    """Whether a process ended that handled it."""


# --- receiving


def receive(store: Store, entry: Entry, within: timedelta | None) -> Plan[bool]:
    """Store a delivery, whose key is held; return whether it is an event of its own, and no repeat."""
    of_thing = f"SELECT came FROM {EVENTS} WHERE thing = ?"
    latest = (
        f"SELECT seq FROM {EVENTS} WHERE digest = ? AND thing = ? AND type = ? ORDER BY came DESC LIMIT 1"
    )
    ((last, other, seq, came, dropped, age, held),) = yield (
        f"SELECT ({of_thing} ORDER BY came DESC LIMIT 1), ({of_thing} AND digest <> ? ORDER BY came DESC LIMIT 1),"
        f" t.seq, t.came, t.state = 'dropped' AND t.body IS NOT NULL, {store.epoch} - t.seen_at, k.owner IS NOT NULL AND k.event = t.seq FROM (SELECT 1) AS one"
        f" LEFT JOIN {EVENTS} t ON t.seq = ({latest}) LEFT JOIN {KEYS} k ON k.key = t.key",
        (entry.thing, entry.thing, entry.digest, entry.digest, entry.thing, entry.type),
    )
    if seq is not None:
        earlier = Earlier(
            interrupted=came <= (other or 0), held=bool(held), dropped=bool(dropped), age=float(age)
        )
        if is_repeat(earlier, dated=entry.dated, within=None if within is None else within.total_seconds()):
            place = came if came == last else last + 1
            written = f"UPDATE {EVENTS} SET seen = seen + 1, seen_at = {store.epoch}, came = ? WHERE seq = ?"
            yield written, (place, seq)
            return False
    why = None if entry.unreadable is None else f"unreadable: {entry.unreadable}"
    values = {
        "type": entry.type, "thing": entry.thing, "came": (last or 0) + 1, "object": entry.object, "key": entry.key,
        "about": entry.about, "digest": entry.digest, "updated": entry.updated, "person": entry.person, "body": entry.body,
        "state": "open" if why is None else "parked", "error": why,
    }  # fmt: skip
    yield f"INSERT INTO {EVENTS} ({', '.join(values)}) VALUES ({_marks(values)})", (*values.values(),)
    if why is None:  # it can be taken, where nothing of its key could before
        oldest = f"(SELECT min(seq) FROM {EVENTS} WHERE key = ? AND state = 'open')"
        free = f"UPDATE {KEYS} SET head = {oldest} WHERE key = ? AND head IS NULL AND held = 0"
        yield free, (entry.key, entry.key)
    return True


# --- taking


def give_back(store: Store, owner: str, in_hand: Collection[str], surely: Collection[str] = (), *, hold: bool = False) -> set[str]:  # fmt: skip
    """Free what was taken by whoever is gone; and what *owner* took and was not told of: all its keys but those *in_hand*.

    Where a session tells who lives, a process may go on without it, and have another soon: then only those are gone who
    are *surely* so. Return the others.
    """
    gone = set[str]()
    for (other,) in store.ask(f"SELECT DISTINCT owner FROM {KEYS} WHERE owner IS NOT NULL"):
        if other == owner:
            for (key,) in store.ask(f"SELECT key FROM {KEYS} WHERE owner = ?{store.skipping}", owner):
                if key not in in_hand:
                    store.run(f"UPDATE {KEYS} SET owner = NULL, claim = claim + 1 WHERE key = ?", key)
        elif store.gone(other):
            if store.locking and other not in surely:
                gone.add(other)
            else:
                _crashed(store, other, hold=hold)
    return gone


def lost(store: Store, owner: str, in_hand: Collection[str]) -> set[str]:
    """Return which of the keys that *owner* has *in_hand* others have taken over."""
    others = f"SELECT key FROM {KEYS} WHERE key IN ({_marks(in_hand)}) AND owner <> ?"
    return {key for (key,) in store.ask(others, *in_hand, owner)} if in_hand else set()


def take(store: Store, owner: str, most: int, *, suspects: bool, trying: bool = False) -> list[Taken]:
    """Return up to *most* events that *owner* has from now on, of as many keys; with *suspects*, one that crashed before.

    The oldest come first, or when *trying* whether Limio is back, those that it has failed least often.
    """
    # what is due later than anything may wait was written by a clock that was set back since
    free = f"owner IS NULL AND head IS NOT NULL AND (due <= {store.epoch} OR due > {store.epoch} + {LONGEST_WAIT})"
    asked = f"SELECT key, head, claim, event, tries, waits, {store.epoch} - since, crashes FROM {KEYS} WHERE {free}"
    if trying:
        found = store.ask(f"{asked} ORDER BY waits, head LIMIT ?{store.skipping}", most)
    else:
        one = f"{asked} AND crashes > 0 ORDER BY crashes, head LIMIT 1{store.skipping}"
        found = store.ask(one) if suspects else []  # however many others wait
        if most > len(found):
            others = f"{asked} AND crashes = 0 ORDER BY head LIMIT ?{store.skipping}"
            found += store.ask(others, most - len(found))
    if not found:
        return []
    heads = [head for _, head, *_ in found]
    rows = {
        row.key: row for row in rows_where(store, f"t.seq IN ({_marks(heads)}) AND t.state = 'open'", *heads)
    }
    for key, *_ in found:
        if key not in rows:  # its head is not open any more, whatever has closed it
            is_open = f"SELECT min(seq) FROM {EVENTS} WHERE key = ? AND state = 'open'"
            store.run(f"UPDATE {KEYS} SET head = ({is_open}) WHERE key = ?", key, key)
    if not rows:
        return []
    kept = ("tries", "waits", "crashes", "due")
    anew = ", ".join(f"{name} = CASE WHEN event = head THEN {name} ELSE 0 END" for name in kept)
    anew += ", " + ", ".join(
        f"{name} = CASE WHEN event = head THEN {name} END" for name in ("since", "error")
    )
    store.put(
        f"UPDATE {KEYS} SET claim = claim + 1, owner = ?, event = head, {anew} WHERE key IN ({_marks(rows)})",
        owner,
        *rows,
    )
    return [_taken(rows[key], *each) for key, _, *each in found if key in rows]


def _taken(
    row: Row, claim: int, event: int | None, tries: int, waits: int, waited: float | None, crashes: int
) -> Taken:
    if event != row.seq:
        return Taken(row=row, claim=claim + 1, tries=0, waits=0, waited=0.0, suspect=False)
    waited = float(waited or 0.0)
    return Taken(row=row, claim=claim + 1, tries=tries, waits=waits, waited=waited, suspect=crashes > 0)


def _crashed(store: Store, owner: str, *, hold: bool) -> None:
    """Free what a process had that is gone; whatever was there the third time is parked."""
    theirs = f"SELECT key, claim, event, crashes FROM {KEYS} WHERE owner = ?{store.skipping}"
    for key, claim, event, crashes in store.ask(theirs, owner):
        if crashes + 1 >= CRASHES:
            why = f"the process that handled it ended, {CRASHES} times"
            store.follow(_ended(store, key, claim, event, "parked", why, hold=hold))
        else:
            crashed = "owner = NULL, claim = claim + 1, crashes = crashes + 1"
            store.run(f"UPDATE {KEYS} SET {crashed} WHERE key = ?", key)


def is_waiting(store: Store, owner: str) -> bool:
    """Return whether any event is to be handled, or was taken by *owner*, who has nothing in hand."""
    waits = "(owner IS NULL AND head IS NOT NULL) OR owner = ?"
    return bool(store.ask(f"SELECT 1 FROM {KEYS} WHERE {waits} LIMIT 1", owner))


def open_of(store: Store, key: str, thing: str | None) -> frozenset[int]:
    """Return which events of a key are open, those about a *thing* only if one is given; not too many."""
    chosen, values = ("", (key,)) if thing is None else (" AND thing = ?", (key, thing))
    asked = (
        f"SELECT seq FROM {EVENTS} WHERE key = ? AND state = 'open'{chosen} ORDER BY seq LIMIT {_TOGETHER}"
    )
    return frozenset(seq for (seq,) in store.ask(asked, *values))


def last_handled(store: Store, taken: Taken) -> int | None:
    """Return when the object changed of which an event was handled last, in microseconds."""
    asked = f"SELECT max(updated) FROM {EVENTS} WHERE thing = ? AND type = ? AND state = 'done'"
    ((found,),) = store.ask(asked, taken.row.thing, taken.row.type)
    return None if found is None else int(found)


# --- what a handler's end writes: in its own transaction


def mark(store: Store, taken: Taken, marks: str) -> Plan[None]:
    """Note which handlers are done with it. Raises `Fenced` where another worker has it."""
    yield from _fenced(store, taken)
    yield f"UPDATE {store.prefix}{EVENTS} SET marks = ? WHERE seq = ?", (marks, taken.row.seq)


def end(store: Store, taken: Taken, state: State, *, marks: str | None = None, why: str | None = None, hold: bool = False) -> Plan[None]:  # fmt: skip
    """Note that it is handled or parked; with *hold*, its key waits for a person. Raises `Fenced`."""
    yield from _fenced(store, taken)
    yield from _ended(store, taken.row.key, taken.claim, taken.row.seq, state, why, marks=marks, hold=hold)


def release(store: Store, taken: Taken, wait: float, *, tries: int = 0, waits: int = 0, error: str | None = None) -> Plan[None]:  # fmt: skip
    """Give it back, to be handled after *wait* seconds. Raises `Fenced`."""
    yield from _fenced(store, taken)
    since = f"coalesce(since, {store.epoch})" if waits else "NULL"
    yield (
        f"UPDATE {store.prefix}{KEYS} SET owner = NULL, claim = claim + 1, due = {store.epoch} + ?, tries = ?, waits = ?,"
        f" since = {since}, error = ? WHERE key = ? AND claim = ?",
        (wait, tries, waits, error, taken.row.key, taken.claim),
    )


def _fenced(store: Store, taken: Taken) -> Plan[None]:
    mine = f"SELECT claim FROM {store.prefix}{KEYS} WHERE key = ?{store.locking}"
    if (yield mine, (taken.row.key,)) != [(taken.claim,)]:
        raise Fenced(
            f"event {taken.row.seq} was taken over by another worker; nothing of this one's was written"
        )


def _ended(
    store: Store,
    key: str,
    claim: int,
    seq: int,
    state: State,
    why: str | None,
    *,
    marks: str | None = None,
    hold: bool = False,
) -> Plan[None]:
    events, keys = f"{store.prefix}{EVENTS}", f"{store.prefix}{KEYS}"
    ended = f"state = ?, error = ?, marks = coalesce(?, marks), changed_at = {store.epoch}"
    yield f"UPDATE {events} SET {ended} WHERE seq = ?", (state, why, marks, seq)
    head = "NULL" if hold else f"(SELECT min(seq) FROM {events} WHERE key = ? AND state = 'open')"
    values = (seq, key, claim) if hold else (0, key, key, claim)
    order = f"held = ?, head = {head}"
    yield (
        f"UPDATE {keys} SET owner = NULL, event = NULL, claim = claim + 1, {_FRESH}, {order} WHERE key = ? AND claim = ?",
        values,
    )


# --- what they share


def rows_where(store: Store, where: str, *values: Any, ending: str = "") -> list[Row]:
    """Return the events of which *where* is true, in the order in which they came."""
    asked = f"SELECT {_COLUMNS} FROM {EVENTS} t WHERE {where} ORDER BY t.seq{ending}"
    return [Row(*values) for values in store.ask(asked, *values)]


def hold(store: Store, keys: Sequence[str], made: Sequence[str] = ()) -> set[str]:
    """Lock the rows of keys until the transaction ends, those that are *made* for them too; both are sorted.

    Return which are locked: those that others have locked, or make at the moment, are not waited for.
    """
    if made:
        store.put(
            f"INSERT INTO {KEYS} (key) SELECT v.column1 FROM (VALUES {_marks(made, '(?)')}) AS v WHERE NOT EXISTS"
            f" (SELECT 1 FROM {KEYS} k WHERE k.key = v.column1){store.unless_made('v.column1')}"
            " ON CONFLICT (key) DO NOTHING",
            *made,
        )
    asked = f"SELECT key FROM {KEYS} WHERE key IN ({_marks(keys)}) ORDER BY key{store.skipping}"
    return {key for (key,) in store.ask(asked, *keys)}


def _marks(values: Collection[Any], mark: str = "?") -> str:
    return ", ".join([mark] * len(values))
