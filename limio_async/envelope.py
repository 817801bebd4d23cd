"""Where an item says when it changed, which tags it has, what it costs, and what stands outside or in its `data`. Pure.

An item is plain data or a model: names are those on the wire either way.

Live tenants answer catalog items with a bare envelope (`path`, `data`, `name`, `id`, `type`, `version`): times, tags
and `record_type` then stand in `data`. Older answers and objects have them outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar, cast

import msgspec
from msgspec import UNSET

__all__ = [
    "CHANGED",
    "CURRENCIES",
    "PRICES",
    "TAGS",
    "Item",
    "at",
    "changed_at",
    "charges_of",
    "currency_of",
    "decimal_of",
    "last_change",
    "moment",
    "moment_of",
    "places",
    "tags_of",
    "told",
    "zoned",
]

Item = Mapping[str, Any] | msgspec.Struct
T = TypeVar("T")

CHANGED = (
    ("updated",),
    ("modified",),
    ("data", "modified"),
    ("version_date",),
    ("data", "version_date"),
)
"""Where an item may say when it was changed; the first that is a time counts.

`created` is not among them: it says when an item came, never when it changed.
"""

TAGS = (("tags",), ("data", "tags"), ("data", "attributes", "tags__limio"))
"""Where an item may have its tags; all of them count."""

PRICES = (
    ("data", "attributes", "price__limio"),
    ("data", "price"),
    ("data", "attributes", "price"),
    ("data", "price__limio"),
)
"""Where an offer or add-on may have the charges of its price; the first place that holds one counts.

The first is that of live tenants, whose `data.price` and `data.price__limio` are empty or `[null]`.
"""

CURRENCIES = (("currencyCode",), ("currency", "id"), ("currency",))
"""Where a charge may have the code of its currency; the first that is a text counts."""

_BEFORE_TIME = "Tt "


def changed_at(item: Item) -> datetime | None:
    """Return when an item was changed last by its own account, in UTC; None where it tells nothing."""
    return next((found for place in CHANGED if (found := moment(at(item, place))) is not None), None)


def last_change(item: Item) -> datetime | None:
    """Return the latest time of change that an item tells, in UTC; None where it tells nothing.

    An item that was published again may keep an older `modified` beside its `version_date`: whether it has stayed
    as it was, only the latest can tell.
    """
    times = (moment(at(item, place)) for place in CHANGED)
    return max((one for one in times if one is not None), default=None)


def tags_of(item: Item) -> list[str]:
    """Return the tag paths of an item, wherever they stand; empty where it tells of none."""
    found: dict[str, None] = {}
    for place in TAGS:
        held = at(item, place)
        for tag in cast("list[object]", held) if isinstance(held, list) else [held]:
            if isinstance(tag, str) and tag:
                found[tag] = None
    return list(found)


def places(name: str) -> tuple[tuple[str, ...], ...]:
    """Return where an item may have the field *name*: outside, else in `data`."""
    return (name,), ("data", name)


def told(item: Item, name: str) -> Any:
    """Return what an item has under *name*: outside, else in `data`; None where neither has it."""
    return next((found for place in places(name) if (found := at(item, place)) is not None), None)


def at(item: Item, place: tuple[str, ...]) -> Any:
    """Return what stands at *place* in an item; None where nothing does."""
    found: Any = item
    for key in place:
        if isinstance(found, (dict, Mapping)):  # a dict is told from others much sooner
            found = cast("Mapping[str, Any]", found).get(key)
        elif isinstance(found, msgspec.Struct) and key in found.__struct_encode_fields__:
            found = getattr(found, found.__struct_fields__[found.__struct_encode_fields__.index(key)])
        else:
            return None
    return None if found is UNSET else found


def charges_of(item: Item, kind: type[T]) -> list[T]:
    """Return the charges of an offer's price, each as a *kind*; empty where it has none. Null entries are nothing.

    Raises `ValueError`, which names the place, for an entry that cannot be read: a price is never passed over.
    """
    for place in PRICES:
        held = at(item, place)
        entries: list[Any] = held if held.__class__ is list else [held or None]
        found = [_charge(one, place, n, kind) for n, one in enumerate(entries) if one is not None]
        if found:
            return found
    return []


def _charge(entry: object, place: tuple[str, ...], n: int, kind: type[T]) -> T:
    try:
        return entry if isinstance(entry, kind) else msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{'.'.join(place)}[{n}] cannot be read as a charge: {error}") from error


def currency_of(charge: Item) -> str | None:
    """Return the code of a charge's currency; None where it names none."""
    found = (at(charge, place) for place in CURRENCIES)
    return next((one for one in found if isinstance(one, str) and one), None)


def decimal_of(value: object) -> Decimal | None:
    """Return a number; None for anything else. A text keeps all its digits, as "9.990" does.

    A float has the fewest digits that tell it from others: of 9.990 in JSON, 9.99 is left. A text that is no finite decimal number, as "12,50" or "free", is such a thing.
    """
    if not isinstance(value, str | int | float):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() and "_" not in str(value) else None


def moment_of(item: Item, name: str) -> datetime | None:
    """Return the time that an item has under *name*, outside or in `data`; None where neither holds a time."""
    return next((found for place in places(name) if (found := moment(at(item, place))) is not None), None)


def moment(value: object) -> datetime | None:
    """Return a date or a date and time (ISO 8601; without a zone, UTC) in UTC; None for anything else.

    A date without a time, as 2026-03-01 or 20260301, is its first moment. A time follows a `T` or a space.
    """
    found = zoned(value) if isinstance(value, str) else None
    try:
        return found if found is None or found.tzinfo is UTC else found.astimezone(UTC)
    except OverflowError:
        return None


def zoned(text: str) -> datetime | None:
    """Return what `moment` does, in the zone that *text* names."""
    date = 8 if text[:8].isdecimal() else 10
    if len(text) < date or (len(text) > date and text[date] not in _BEFORE_TIME):
        return None  # datetime.fromisoformat takes any character, also a digit of 1711120101230
    try:
        found = datetime.fromisoformat(f"{text[:-1]}Z" if text[-1] == "z" else text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
