"""What a walk is like: everything that is drawn at random before it begins, from one integer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

__all__ = ["How", "Kind", "Part", "Scenario", "draw"]

Kind = Literal["scroll", "key", "opaque", "whole"]
Ids = Literal["own", "none", "some"]
How = Literal["items", "pages", "raw", "raw pages", "into", "first", "take", "mixed", "collect"]
Then = Literal["same listing", "same client", "killed"]

_CATALOG = ("offers.list", "products.list", "pages.list", "assets.list", "campaigns.list", "offers_v2.list",
           "segments.list", "add_ons.list", "catalog_items.list", "published_catalog_items.list")  # fmt: skip
_KEYED = ("subscriptions.list", "orders.list", "customers.list", "objects.list", "schedules.list")
_OPAQUE = ("partner_customers.search", "partner_organisations.list", "baskets.list_abandoned",
          "subscriptions.list_by_salesforce_id")  # fmt: skip
_WHOLE = ("objects.children", "objects.related", "objects.events")
_LISTS: Mapping[Kind, tuple[str, ...]] = {
    "scroll": _CATALOG,
    "key": _KEYED,
    "opaque": _OPAQUE,
    "whole": _WHOLE,
}

_STATUSES = (400, 401, 403, 404, 408, 410, 413, 429, 429, 429, 500, 502, 503, 503, 504, 302)
_FAULTS = (
    *("reset before", "reset within", "cut", "cut without length", "bad chunk", "bad gzip", "no http"),
    *("html", "half of the json", "rubbish", "items null", "no items", "deep", "not utf-8"),
    *("status",) * 9,
)


@dataclass
class Part:
    """One client's share of the walk, from a start or a resume to a stop."""

    options: dict[str, Any]
    how: How
    stop: int | None
    """After so many items (or pages); None walks to the end."""
    forget: int
    """So many items (or pages) before the stop the checkpoint was stored: what came after is forgotten."""
    then: Then
    """Who walks the next part."""


@dataclass
class Scenario:
    """A walk, wholly determined by its seed."""

    seed: int
    kind: Kind
    call: str
    count: int
    """How many items there are."""
    page: int
    """How many the server gives where it is not asked for a number."""
    ids: Ids
    equal: int
    """So many items in a row are the same, byte for byte; 1 where none are."""
    pad: int
    hits: str
    commit: str
    cursor: str
    end: str
    empties: float
    """How often an empty page comes in the middle."""
    remembers: bool
    """Whether an opaque cursor is a position that the server keeps, rather than one in its text."""
    ends_empty: bool
    """Whether a scroll sends a cursor until an empty page."""
    spaced: bool
    lie: str
    lie_at: float
    """Where the server lies, as a share of the list."""
    rebuild: str
    rebuild_at: int
    expiry: int
    """At this request the scroll is gone; 0 for never."""
    rate: float
    most: int
    """Faults there are at most."""
    slow: bool
    faults: tuple[str, ...]
    cap: int
    """A page of more items is too large."""
    cap_status: int
    cap_from: int
    """From this request on."""
    auth: Literal["static", "renewed"]
    token_rate: float
    token_life: int
    """A token is refused after so many uses."""
    bad_item: bool
    parts: list[Part]
    again: bool
    """Whether what was stored last is resumed once more after the end."""
    after_error: Literal["error", "listing", "iterate", "give up"]
    """Resume the error's checkpoint, or the listing's; iterate the same listing again; leave it."""
    odd: float = 0.0
    """The share of items with odd bytes."""
    halves: bool = False
    """Whether these are half surrogates only, which can be read."""
    refuses: float = 0.0
    """The share of good answers to a page that say no instead, with a status of success."""
    nos: float = 0.0
    """The share of items that say no instead of being one."""
    asks_commit: bool = False
    """Whether the catalog's commit is asked for after the walk."""
    statuses: tuple[int, ...] = field(default=_STATUSES)

    def promises(self) -> bool:
        """Whether `hits` say exactly how many items there are, where documents know them."""
        exact = self.hits in {"number", "text", "total", "total as text"}
        return exact and (self.kind == "scroll" or self.call.startswith("partner_"))


def draw(seed: int) -> Scenario:
    """The walk of this seed."""
    r = Random(seed)
    kind: Kind = r.choices(("scroll", "key", "opaque", "whole"), (50, 25, 18, 7))[0]
    call = r.choice(_LISTS[kind])
    page = r.choice((1, 2, 3, 5, 5, 50))
    count = r.choice((0, 1, 2, page, r.randint(1, 4 * page), *(r.randint(2, 7) * page for _ in range(3))))
    count = min(count, 120 if page == 50 else 24)
    ids: Ids = r.choices(("own", "none", "some"), (75, 15, 10))[0]
    equal = r.choice((1, 1, 2, page, 2 * page)) if ids == "none" else 1
    faulty = r.random() < 0.55
    scenario = Scenario(
        seed=seed,
        kind=kind,
        call=call,
        count=count,
        page=page,
        ids=ids,
        equal=equal,
        pad=_pad(r, count) if equal == 1 else r.choice((0, 30, 300)),
        hits=_hits(r, kind),
        commit=r.choice(("hex", "epoch", "header", "none")) if kind == "scroll" else "none",
        cursor=r.choice(("changing", "changing", "same")) if kind == "scroll" else "position",
        end=r.choice(("absent", "null", "empty")),
        empties=r.choice((0, 0, 0.3)) if kind == "key" else 0.0,
        remembers=kind == "scroll" or (kind == "opaque" and r.random() < 0.5),
        ends_empty=r.random() < 0.6,
        spaced=r.random() < 0.3,
        lie="",
        lie_at=r.random(),
        rebuild="",
        rebuild_at=r.randint(2, 9),
        expiry=0,
        rate=r.choice((0.05, 0.15, 0.3)) if faulty else 0.0,
        most=r.choice((1, 1, 2, 3)),
        slow=faulty and r.random() < 0.06,
        faults=_FAULTS,
        cap=0,
        cap_status=r.choice((413, 502, 504)),
        cap_from=r.choice((0, 0, 3)),
        auth="renewed" if r.random() < 0.25 and "campaigns" not in call else "static",
        token_rate=r.choice((0, 0, 0.2, 0.5)),
        token_life=r.choice((1, 2, 3, 5, 1000)),
        bad_item=r.random() < 0.03,
        parts=[],
        again=r.random() < 0.35,
        after_error=r.choice(("error", "error", "listing", "iterate", "give up")),
    )
    _draw_trouble(r, scenario)
    scenario.parts = _parts(r, scenario)
    if scenario.slow:
        scenario.faults = ("slow head", "slow body")
    _draw_oddities(Random(f"{seed}/oddities"), scenario)
    _draw_refusals(Random(f"{seed}/refusing"), scenario)
    return scenario


def _draw_oddities(r: Random, s: Scenario) -> None:
    """Odd bytes, and what is asked besides; drawn apart, so that a seed of before walks as before."""
    s.asks_commit = s.commit != "none" and r.random() < 0.15
    if s.equal > 1 or s.bad_item or s.pad > 3000 or r.random() >= 0.18:
        return
    s.odd, s.halves = r.choice((0.1, 0.3, 0.6, 1.0)), r.random() < 0.3
    treated = r.choice((None, "skip", "skip", "yield", "yield"))
    if treated is not None:
        for part in s.parts:
            part.options = part.options | {"on_bad_item": treated}


def _draw_refusals(r: Random, s: Scenario) -> None:
    """Answers and items that say no, and how items are treated that have no identity; drawn apart as well."""
    if r.random() < 0.12:
        s.refuses = r.choice((0.1, 0.3))
    plain = s.equal == 1 and not s.bad_item and not s.odd and s.pad <= 3000
    if plain and r.random() < 0.08:
        s.nos = r.choice((0.1, 0.3, 1.0))
    if s.nos or (s.kind != "scroll" and s.ids != "own" and not s.odd):
        treated = r.choice((None, "skip", "skip", "yield", "yield"))
        if treated is not None:
            for part in s.parts:
                part.options = part.options | {"on_bad_item": treated}


def _pad(r: Random, count: int) -> int:
    """How long an item is: short, over the first kilobytes that a client may look at, and rarely a megabyte."""
    if r.random() < 0.004 and count <= 12:
        return 1 << 20
    return r.choice((0, 0, 0, 0, 30, 300, 3000 if count <= 24 else 300))


def _hits(r: Random, kind: Kind) -> str:
    forms = ("number", "text", "total", "total as text", "at least", "missing", "unreadable")
    match kind:
        case "scroll":
            return r.choices(forms, (20, 14, 30, 14, 6, 10, 5))[0]
        case "opaque":
            return r.choices(forms, (20, 4, 10, 4, 3, 40, 3))[0]
        case _:
            return r.choices(forms, (5, 1, 2, 1, 1, 60, 1))[0]


def _draw_trouble(r: Random, s: Scenario) -> None:
    """Lies of the server, a rebuilt catalog, an expired scroll, pages that are too large."""
    if r.random() < 0.3 and s.count > s.page:
        s.lie = r.choice(_lies(s) or ("",))
        s.empties = 0.0 if s.lie else s.empties
    if s.kind == "scroll" and s.commit != "none" and r.random() < 0.22:
        s.rebuild = r.choice(("pinned", "switch", "expire", "expire"))
    elif s.kind in {"key", "opaque"} and s.ids == "own" and r.random() < 0.12:
        s.rebuild, s.hits = "newest first", "missing"
        s.lie = "" if s.lie in {"page left out", "item twice", "wrong hits"} else s.lie
    if s.kind == "scroll" and r.random() < 0.12:
        s.expiry = r.randint(2, 8)
    if _takes_size(s) and r.random() < 0.12:
        s.cap = r.choice((1, 2, 3, 10)) if s.count <= 24 else 10


def _lies(s: Scenario) -> tuple[str, ...]:
    """What can be noticed; what nobody could is not drawn.

    A page that is left out, or one item twice, shows in the number of items only: where `hits` tell it.
    A page that comes twice shows in its bytes, unless pages honestly may.
    """
    if s.kind == "whole" or s.ids != "own":
        return ("wrong hits",) if s.promises() else ()
    shown: tuple[str, ...] = ("page twice", "page instead of the next", "page instead of the next", "loop")
    if not s.remembers:
        shown += ("comes back",)
    if s.promises():
        shown += ("page left out", "page left out", "wrong hits", "item twice")
    return shown


def _sizes(s: Scenario) -> tuple[int, ...]:
    return (1, 2, 3, 5, 7, 10, 50) if s.count <= 24 else (5, 7, 10, 50)


def _takes_size(s: Scenario) -> bool:
    return s.kind != "whole" and s.call != "subscriptions.list_by_salesforce_id"


def _options(r: Random, s: Scenario) -> dict[str, Any]:
    drawn = {
        "page_size": r.choice((None, None, *_sizes(s))) if _takes_size(s) else None,
        "unique": r.choice((None, None, True, False)),
        "verify": r.choice((None, None, "raise", "warn", "off")),
        "on_ambiguous": r.choice((None, None, "raise", "restart", "restart")),
        "on_snapshot_change": r.choice((None, None, "raise", "restart")),
        "on_bad_item": r.choice((None, None, "raise", "skip", "yield")),
        "read_ahead": r.choice((None, 0, 1)),
        "restarts": r.choice((None, None, None, 0, 1, 3)),
    }
    return {name: value for name, value in drawn.items() if value is not None}


def _parts(r: Random, s: Scenario) -> list[Part]:
    parts: list[Part] = []
    options = _options(r, s)
    for _ in range(r.choice((0, 0, 1, 1, 2, 3))):
        how: How = r.choice(("items", "items", "pages", "raw", "raw pages", "into", "first", "take", "mixed"))
        limit = max(1, s.count // s.page) if "pages" in how else max(1, s.count)
        stop = r.choice((1, limit, r.randint(1, limit), s.page if "pages" not in how else 1))
        forget = r.choice((0, 0, 0, 1, 2)) if how not in {"first", "take", "mixed"} else 0
        then: Then = r.choice(("same listing", "same client", "killed", "killed"))
        parts.append(Part(options, how, stop, 0 if then == "same listing" else min(forget, stop), then))
        if then != "same listing":
            options = _changed(r, s, options)
    last: tuple[How, ...] = (
        "items",
        "items",
        "items",
        "pages",
        "pages",
        "raw",
        "raw pages",
        "into",
        "collect",
    )
    how = r.choice(last)
    parts.append(Part(options, how, None, 0, "same client"))
    return parts


def _changed(r: Random, s: Scenario, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the part that resumes: the same, with another page size, or others altogether."""
    match r.randint(0, 3):
        case 0:
            return options
        case 1 | 2 if _takes_size(s):
            return options | {"page_size": r.choice(_sizes(s))}
        case _:
            return _options(r, s)
