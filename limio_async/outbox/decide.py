"""What is written of an order, given what is known of it: a sender's answer, a look at the list, a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, Literal

import msgspec

from limio_async import errors
from limio_async.api.models.orders import OrderResponse
from limio_async.core.wire import UNDECODABLE
from limio_async.outbox.outcome import Event, Outcome, State

__all__ = [
    "OPEN",
    "Answer",
    "Changes",
    "Look",
    "Row",
    "answer_of",
    "answered",
    "concluded",
    "doubtful",
    "found",
    "moved",
    "outcome_of",
]

Changes = dict[str, Any]
OPEN: Sequence[State] = ("intended", "sending", "doubt", "missing", "parked")
"""States in which a body is still needed."""
_MOST_RESENT = 3
_CUT = 2048  # what an error keeps of a body
_REFUSES = frozenset({400, 404, 409, 423})
_UNSENT = (errors.Unauthorized, errors.Forbidden, errors.NeverSent, errors.TooManyRequests)


class Row(msgspec.Struct, frozen=True):
    """An order as its table has it."""

    key: str
    state: State
    attempt: int
    owner: str | None
    body: str | None
    digest: str
    subscription: str | None
    reference: str | None
    basket: str | None
    person: str | None
    cursor: int | None
    """The shared cursor before it was first sent; None where its walk begins at the top."""
    sent: int | None
    """When it was first sent by Limio's clock, at the earliest, in microseconds; None where that is not known."""
    resent: int
    order_ids: str
    status: str | None
    error: str | None
    answers: str
    tell: str
    """What nobody was told of yet, each event between commas."""
    resolved: str | None
    intended_at: Any
    changed_at: Any

    def __repr__(self) -> str:  # crash reports show it: the order holds personal data
        return f"<Row {self.state}, attempt {self.attempt}>"

    @property
    def ids(self) -> list[str]:
        """The orders that were seen for it."""
        return msgspec.json.decode(self.order_ids, type=list[str])

    @property
    def noted(self) -> list[dict[str, Any]]:
        """Every answer that came, and what the list showed."""
        return msgspec.json.decode(self.answers, type=list[dict[str, Any]])

    @property
    def later(self) -> bool:
        """Whether Limio processes the order later: then a list that lacks it proves nothing."""
        return self.body is None or msgspec.json.decode(self.body).get("process_immediately") is not True


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one sending."""

    kind: Literal["accepted", "refused", "parked", "unsent", "doubt"]
    order_id: str | None = None
    names: tuple[str, ...] = ()
    """Whatever the order is called."""
    status: str | None = None
    error: str | None = None
    wait: float | None = None
    """Seconds that Limio asked to wait."""
    by_hand: bool = False
    """Whether waiting does not help: credentials or settings are wrong."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete walk over the list of orders showed."""

    unclear: bool
    """Whether something remained that could not be read, or did not say whose it is."""
    ascends: bool
    newest: int
    """The newest `created` that is no later than Limio's clock was, in microseconds."""


def answer_of(result: OrderResponse | BaseException, key: str = "") -> Answer:
    """Return what a sending came to, whatever it returned or raised."""
    match result:
        case OrderResponse(external_id=str(other)) if key and other != key:
            return Answer(kind="doubt", error="the answer is one to another order: its external_id differs")
        case OrderResponse():
            names = tuple(one for one in (result.id, result.order_reference) if one)
            return Answer(
                kind="accepted", order_id=names[0] if names else None, names=names, status=result.status
            )
        case errors.LimioError() if isinstance(result, _UNSENT) and result.happened == "no":
            by_hand = isinstance(result, errors.Unauthorized | errors.Forbidden)
            return Answer(kind="unsent", error=str(result), by_hand=by_hand, wait=_asked(result))
        case errors.ApiError(status=status) if status in _REFUSES and _is_json(result.body):
            return Answer(kind="refused", error=str(result))
        case errors.ApiError(status=status) if 300 <= status < 500 and status != 429:
            return Answer(kind="parked", error=str(result))
        case errors.ApiError() | errors.UnknownOutcome():
            return Answer(kind="doubt", error=str(result), wait=_asked(result))
        case errors.LimioError(happened="no"):  # nothing left: the deadline, a closed client
            return Answer(
                kind="unsent", error=str(result), by_hand=not isinstance(result, errors.TransportError)
            )
        case _:
            words = str(result) if isinstance(result, errors.LimioError) else type(result).__name__
            return Answer(kind="doubt", error=f"the answer was lost: {words}")


def answered(row: Row, attempt: int, answer: Answer) -> Changes:
    """Return what is written when the sender of *attempt* knows what came of it, maybe long after others took over."""
    own = row.state == "sending" and row.attempt == attempt
    if answer.kind == "accepted":
        return found(row, answer.order_id, answer.status, answer.names, attempt=attempt, ends=own)
    entry = {"attempt": attempt, "kind": answer.kind, "error": answer.error}
    changes = {} if answer.kind == "unsent" else _noted(row, entry)
    if not own:
        return changes
    if answer.kind == "doubt":
        return changes | doubtful(row, answer.error)
    if row.ids:  # an earlier attempt was accepted
        return changes | moved(row, "accepted")
    state: State = "intended" if answer.kind == "unsent" else answer.kind
    return changes | moved(row, state) | {"error": answer.error, "owner": None}


def found(
    row: Row,
    order_id: str | None,
    status: object,
    names: Sequence[str],
    *,
    attempt: int | None = None,
    ends: bool = False,
) -> Changes:
    """Return what is written when an order of the row is known, by the list or by the answer to an *attempt*.

    *names* are all its names: an answer may give its reference only, a list its id only. *ends*: it is the attempt that is under way.
    """
    entry = {"attempt": attempt, "kind": "found" if attempt is None else "accepted", "names": [*names]}
    ids, groups = row.ids, [one["names"] for one in row.noted if "names" in one]
    if order_id is not None and not _shared({*ids, *chain.from_iterable(groups)}, names):
        half = next(
            (one for one in ids if _completes(names, {one}.union(*(g for g in groups if one in g)))), None
        )
        ids = (
            [*ids, order_id]
            if half is None
            else [max(one, order_id, key=_is_id) if one == half else one for one in ids]
        )
        entry["names"] = [*names, *([half] if half else ())]
    changes = _noted(row, entry) | ({"order_ids": _json(ids)} if ids != row.ids else {})
    if row.state not in {"accepted", "failed"} and (ends or row.state != "sending"):
        said = status if isinstance(status, str) else row.status
        changes |= moved(row, "accepted") | {"status": said, "error": None, "owner": None}
    if len(ids) > max(1, len(row.ids)):
        changes["tell"] = _telling(changes.get("tell", row.tell), "doubled")
    return changes


def doubtful(row: Row, error: str | None) -> Changes:
    """Return what is written when nobody knows any more what comes of the attempt."""
    return moved(row, "doubt") | {"error": error, "owner": None}


def concluded(row: Row, look: Look, *, resend: bool, since: int | None, patient: bool) -> Changes:
    """Return what is written of a row in doubt that a walk did not find, begun `settle` after the doubt was seen.

    *since* is when it was seen, by Limio's clock, at the latest. Nothing is, where the next look may know more and
    the looker is *patient*.
    """
    if row.ids:
        return moved(row, "accepted")
    why = "it is not in the list of orders"
    shows_later = since is not None and look.newest > since
    if patient and (look.unclear or (resend and not row.later and not (look.ascends and shows_later))):
        return {}
    if look.unclear:
        why = "the list of orders cannot be read whole"
    elif not look.ascends:
        why += ", but that is not in the order of created"
    elif not shows_later:
        why += ", but nothing later is there either"
    elif row.later:
        why += ", but it may be processed later (process_immediately is not true)"
    elif resend and row.resent < _MOST_RESENT:
        return moved(row, "missing") | {"resent": row.resent + 1, "error": why}
    elif resend:
        why += f" after {_MOST_RESENT} more attempts; a 502 may mean a bad order"
    return moved(row, "parked") | {"error": f"{row.error}; {why}" if row.error else why}


def moved(row: Row, state: State) -> Changes:
    """Return what is written when a row comes to *state*, of which whoever asked is told."""
    events: Sequence[Event] = ("accepted", "refused", "failed", "doubt")
    tell = next((_telling(row.tell, event) for event in events if event == state != row.state), row.tell)
    return {"state": state, "tell": tell}


def outcome_of(row: Row) -> Outcome:
    """Return what a caller is told of a row."""
    names = set(Outcome.__struct_fields__) & set(Row.__struct_fields__)
    known = {name: getattr(row, name) for name in names} | {"order_ids": row.ids}
    return msgspec.convert(known, Outcome)


def _shared(known: Collection[str], names: Collection[str]) -> bool:
    """Return whether an order of that name is known: two ids are two orders, whatever reference they share."""
    ids = {*filter(_is_id, names)}
    return not (ids if ids and any(map(_is_id, known)) else {*names}).isdisjoint(known)


def _completes(names: Sequence[str], known: Collection[str]) -> bool:
    """Return whether one is only an id and the other only a reference, as answers and lists may give either alone."""
    return len(names) == len(known) == 1 and len({*map(_is_id, (*names, *known))}) == 2


def _is_id(name: str) -> bool:
    return name.startswith("order-")


def _telling(tell: str, event: Event) -> str:
    return tell if f",{event}," in tell else f"{tell or ','}{event},"


def _noted(row: Row, entry: dict[str, Any]) -> Changes:
    return {} if entry in row.noted else {"answers": _json([*row.noted, entry])}


def _asked(error: BaseException) -> float | None:
    wait: float | None = getattr(error, "retry_after", None)
    return wait


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict | list)
    except UNDECODABLE:
        return len(body) >= _CUT and body.lstrip()[:1] in {b"{", b"["}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
