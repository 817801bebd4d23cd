"""What `limio outbox` shows: of an order only what says nothing about a person, unless somebody asks for all of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from limio_async.api.orders import SUBMIT_ORDER
from limio_async.cli.failures import tell
from limio_async.cli.masking import masked
from limio_async.cli.output import TableOfItems, show_table, to_stdout
from limio_async.outbox import Outcome, Stats

__all__ = [
    "COLUMNS",
    "News",
    "Step",
    "counted",
    "counted_orders",
    "discreet",
    "show_rows",
    "show_value",
    "shown",
    "shown_answer",
    "shown_order",
    "steps",
]

_HIDDEN = "***"
_PLAIN = frozenset({
    "__spec_version", "cancelDate", "change_type", "checkoutId", "country", "effectiveDate", "effective_date", "external_id",
    "id", "initiated_source", "mode", "orderDate", "order_type", "process_immediately", "quantity", "record_type", "source",
    "subscriptionId", "subscriptionRef", "type", "version",
})  # fmt: skip
"""Fields of orders whose plain values are no personal data."""
_WITHIN = frozenset({"forSubscription", "offer", "orderItems", "updates"})
"""Fields that hold such fields; whatever another field holds is hidden as a whole."""
_ALSO: Mapping[str, frozenset[str]] = {"forSubscription": frozenset({"name"})}
_LIMIOS_WORDS = re.compile(
    r"(?P<status>.*?\b\w+: \d{3}\b).*?(?P<why>; (it is not in the list of orders|the list of orders cannot)[^@]*)?",
    re.DOTALL,
)
"""A message that quotes an answer: its status, and what the outbox itself says behind Limio's words."""
_ALSO_SAYS = re.compile(r"(the answer also says|it says:) .*", re.DOTALL)
COLUMNS = ("key", "state", "order_ids", "status", "attempt", "changed_at", "error")
_QUIET = frozenset({"sending", "accepted", "missing"})

Next = Literal["send", "wait", "look", "decide", "on the wire"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do with an order first."""

    key: str
    state: str
    next: Next
    behind: str | None = None
    """The order of the same subscription or basket that comes first."""


def shown(outcome: Outcome, *, personal: bool) -> dict[str, Any]:
    """Return what is shown of an outcome: all of it, but of Limio's words only the status unless *personal*."""
    found = msgspec.structs.asdict(outcome) | {"doubled": outcome.doubled}
    if not personal and outcome.error is not None:
        found["error"] = _without_words(outcome.error)
    return found


def shown_order(order: Mapping[str, Any], *, personal: bool) -> dict[str, Any]:
    """Return what is shown of an order's body: all of it if *personal*, else what is known to be about nobody."""
    return dict(order) if personal else _fields(order, _PLAIN)


def shown_answer(answer: Mapping[str, Any], *, personal: bool) -> dict[str, Any]:
    """Return what is shown of what came of an attempt; of Limio's words only the status unless *personal*."""
    if personal:
        return dict(answer)
    hides = {
        "event": _HIDDEN,
        "error": None if (error := answer.get("error")) is None else _without_words(error),
    }
    return {name: hides.get(name, one) for name, one in answer.items()}


def steps(waiting: Sequence[Outcome], *, hold: bool) -> list[Step]:
    """Return what a run would do first with orders that are not settled, given in the order of their intents."""
    found: list[Step] = []
    first = {name: one.key for one in waiting if one.state == "sending" for name in _names(one)}
    holding = {"intended", "missing"}.union(("doubt", "parked") if hold else ())
    said: dict[str, Next] = {"doubt": "look", "parked": "decide", "sending": "on the wire"}
    for one in waiting:
        behind = next((first[name] for name in _names(one) if name in first), None)
        step = said.get(one.state) or ("send" if behind is None else "wait")
        found.append(Step(key=one.key, state=one.state, next=step, behind=behind if step == "wait" else None))
        if one.state in holding:
            for name in _names(one):
                first.setdefault(name, one.key)
    return found


def _names(one: Outcome) -> Sequence[tuple[str, str]]:
    """Return what no two orders are sent for at once."""
    named = (("subscription", one.subscription), ("subscription", one.reference), ("basket", one.basket))
    return [(kind, name) for kind, name in named if name is not None]


def discreet(record: logging.LogRecord) -> bool:
    """Leave in a log record of Limio's words only the status; drop what `News` says with the key."""
    of_order = getattr(record, "operation", None) == SUBMIT_ORDER.operation
    if of_order and record.levelno >= logging.WARNING and hasattr(record, "outcome"):
        return False
    record.msg, record.args = _without_words(record.getMessage()), ()
    return True


def counted(stats: Stats) -> str:
    """Return how many orders are in which state, in words."""
    found = [f"{count:,} {state}" for state, count in stats.states.items()]
    found += [f"{stats.doubled:,} doubled"] * bool(stats.doubled)
    return ", ".join(found) or "nothing was ever intended"


def counted_orders(count: int) -> str:
    """Return how many orders, in words."""
    return f"{count:,} order{'s' * (count != 1)}"


def show_rows(rows: Sequence[Mapping[str, Any]], table: TableOfItems | None) -> None:
    """Print rows, as lines of JSON where there is no *table*."""
    lines = [msgspec.json.encode(row) for row in rows]
    if table is None:
        to_stdout(b"".join(line + b"\n" for line in lines))
    else:
        table.add(lines)


def show_value(value: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one object: a line of JSON, or names and values."""
    line = msgspec.json.encode(value)
    if as_json:
        to_stdout(line + b"\n")
    else:
        show_table(line)


class News:
    """Tells what a run does as it happens: on stderr, or as lines of JSON on stdout."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._broken = False

    def changed(self, outcome: Outcome) -> None:
        """Print a line, unless it says nothing new."""
        if outcome.state == "sending" or (outcome.state == "intended" and outcome.error is None):
            return
        if not self._as_json:
            if not (self._quiet and outcome.state in _QUIET and not outcome.doubled):
                tell(_in_words(outcome))
        elif not self._broken:
            try:
                to_stdout(msgspec.json.encode(shown(outcome, personal=False)) + b"\n")
            except (
                Exception
            ) as error:  # nobody reads any more, or the disk is full: orders are sent nevertheless
                self._broken = True
                tell(f"warning: {error}; no more lines are written")


def _in_words(outcome: Outcome) -> str:
    state = "not sent" if outcome.state == "intended" else outcome.state
    ids = f" as {', '.join(outcome.order_ids)}" if outcome.order_ids else ""
    status = f" ({outcome.status})" if outcome.status else ""
    error = f": {_without_words(outcome.error)}" if outcome.error else ""
    return f"{outcome.key}: {'doubled' if outcome.doubled else state}{ids}{status}{error}"


def _without_words(error: str) -> str:
    found = _LIMIOS_WORDS.fullmatch(error)
    said = masked(
        found["status"] + (found["why"] or "") if found else _ALSO_SAYS.sub(rf"\1 {_HIDDEN}", error)
    )
    return str(said)


def _fields(value: Mapping[str, Any], plain: frozenset[str]) -> dict[str, Any]:
    return {str(masked(name)): _field(name, one, plain) for name, one in value.items()}


def _field(name: str, value: Any, plain: frozenset[str]) -> Any:
    match value:
        case None | bool():
            return value
        case str() | int() | float() if name in plain:
            return masked(value)
        case dict() if name in _WITHIN:
            return _fields(cast("dict[str, Any]", value), _PLAIN | _ALSO.get(name, frozenset()))
        case list() if name in _WITHIN:
            return [_field(name, one, plain) for one in cast("list[object]", value)]
        case _:
            return _HIDDEN
