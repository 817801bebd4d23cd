"""What is known of an order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

__all__ = ["Event", "Outcome", "State", "Stats"]

State = Literal["intended", "sending", "accepted", "refused", "failed", "doubt", "missing", "parked"]
"""Where an order stands.

`intended`: not sent yet. `sending`: on the wire. `accepted`: Limio has it. `refused`: Limio said no. `failed`: Limio had it,
and it ended badly. `doubt`: it may have been made; the list of orders will tell. `missing`: looked for, not there, about
to be sent again. `parked`: a person decides.
"""

Event = Literal["accepted", "refused", "failed", "doubt", "doubled"]
"""What `Outbox.on` can be told of."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an order at one moment; holds nothing of the order itself."""

    key: str
    """The order's `external_id`."""
    state: State
    order_ids: tuple[str, ...] = ()
    """Every order that was seen at Limio for this key: one, unless it was doubled."""
    status: str | None = None
    """The order's status as Limio gave it, such as `complete`."""
    error: str | None = None
    """Limio's words, or why it is parked. May hold personal data; emptied by `erase`."""
    attempt: int = 0
    """How often it was sent or taken over."""
    subscription: str | None = None
    """The subscription that the order names, by its id: orders of one go one at a time."""
    reference: str | None = None
    """The subscription as the order calls it besides, or instead: orders that share one of the two go one at a time."""
    basket: str | None = None
    """The basket (`checkoutId`) that the order names, likewise."""
    intended_at: datetime | None = None
    changed_at: datetime | None = None
    resolved: str | None = None
    """Who decided what by hand, and when, as `resolve` noted it."""

    @property
    def doubled(self) -> bool:
        """Whether Limio has more than one order for the key."""
        return len(self.order_ids) > 1


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How an outbox stands."""

    states: Mapping[str, int]
    """How many orders are in each state that any is in."""
    doubled: int
    """How many keys have more than one order."""
    oldest_waiting: datetime | None
    """When the oldest order was intended that is not settled."""
    paused: str | None
    """Why nothing is sent until `resume()`; None where it is."""
    tenant: str | None
    """The origin that it sends to; None before it was run."""
