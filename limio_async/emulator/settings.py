"""What may be set about a world, and its clock: all that an area is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from limio_async.core.wire import Endpoint
from limio_async.emulator.ids import fingerprint

__all__ = ["Settings"]

_SIZES = [
    "seed",
    "offers",
    "products",
    "campaigns",
    "add_ons",
    "segments",
    "assets",
    "pages",
    "subscriptions",
    "gift_codes",
    "promo_codes",
    "abandoned_baskets",
]
_STARTS_AT = datetime(2025, 1, 15, 9, tzinfo=UTC).timestamp()


@dataclass(kw_only=True, eq=False)
class Settings:
    """The settings of a world; sizes and the seed are read once, everything else may change at any time."""

    seed: int = 1
    """Worlds of the same seed and sizes answer the same bytes."""
    tenant: str = "acme"
    endpoints: Mapping[str, Endpoint[Any]] | None = field(default=None, repr=False)
    """The operations that exist; the generated ones if none are given."""

    offers: int = 20_000
    products: int = 40
    campaigns: int = 25
    add_ons: int = 60
    segments: int = 12
    assets: int = 80
    pages: int = 30
    subscriptions: int = 2_000
    """Orders, customers, schedules and the like follow from it."""
    gift_codes: int = 20
    promo_codes: int = 12

    abandoned_baskets: int = 8

    envelope: Literal["live", "documented"] = "live"
    """The shape of catalog items and of what stands beside them: as live tenants answer, or as documented.

    Read once, like the sizes.
    """
    modified_filter: Literal["every", "only-modified"] = "every"
    """What `opt.modifiedAfter` looks at: when an item says that it changed, or only its `modified`.

    With "only-modified" an item without `modified` is found by no `opt.modifiedAfter`, as in an index that leaves out
    documents without the field. With "every", an item that tells no time at all is found by any.
    """
    hits_form: Literal["total", "number"] = "total"
    """`{"value": 3, "relation": "eq"}` as live answers have it, or `3` as documented."""
    scroll_ids: Literal["same", "changing"] = "same"
    """Whether the pages of one scroll carry one cursor value or a new one each."""
    scroll_keep_alive: float = 300.0
    """Seconds after its last read that a scroll is forgotten."""
    empty_page_every: int = 7
    """Before every n-th page of an object list comes an empty one; 0 for never."""
    order_delay: float = 60.0
    """Seconds that an order waits in the queue if it is not to be processed immediately."""
    page_bytes_limit: int = 6_291_556
    """Larger answers become a 502, as AWS Lambda does it."""

    checkout_answer: Literal["id", "basket_id"] = "id"
    """What a new basket's id is called in the answer: as documented, or as the shop reads it."""
    basket_abandoned_after: float = 3600.0
    """Seconds until a basket that is not completed counts as abandoned."""
    job_seconds: float = 5.0
    """How long a catalog job runs."""
    build_seconds: float = 120.0
    """How long a build runs."""

    api_key: str = field(default="public_" + fingerprint("api_key", length=48), repr=False)
    client_id: str = fingerprint("client_id", length=26)
    client_secret: str = field(default=fingerprint("client_secret", length=52), repr=False)
    redirect_uris: tuple[str, ...] = ()
    """Where a sign-in may send a browser back to, besides http on this machine."""
    session_token: str = field(default=fingerprint("session_token", length=64), repr=False)
    token_lifetime: float = 3600.0
    """Seconds that a token issued from now on is good for."""

    _now: float = field(default=_STARTS_AT, init=False, repr=False)

    def sizes(self) -> dict[str, int | str]:
        """What decides which data are generated."""
        return {"tenant": self.tenant} | {name: getattr(self, name) for name in _SIZES}

    def now(self) -> float:
        """Seconds since 1970 on the world's own clock, which stands still unless it is advanced."""
        return self._now

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass."""
        self._now += seconds + 60 * (minutes + 60 * (hours + 24 * days))
