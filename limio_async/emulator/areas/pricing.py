"""What an offer costs and for how long: charges become payments on days. Plain functions but for the look-up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from limio_async.emulator.areas.catalog import Catalog
from limio_async.emulator.messages import Refused
from limio_async.emulator.payload import Data, is_list, is_object

__all__ = [
    "Line",
    "Offers",
    "attributes",
    "decimal",
    "payments",
    "price",
    "products",
    "refund",
    "shift",
    "term_end",
]

_MOST_PAYMENTS = 12  # of a charge without an end, as far as a schedule looks ahead
_DAYS = {"days": 1, "weeks": 7}
_MONTHS = {"months": 1, "years": 12}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An offer or add-on that is bought."""

    item: Data
    quantity: int
    starts: date


class Offers:
    """The offers and add-ons that can be bought."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def published(self, id: str, version: str | None, *, kind: str = "offers") -> Data:
        """The item in this version, or in any if none is named; refuses what is not published."""
        spot = self._catalog.locate_id(id, kind)
        if spot is not None and not self._catalog.is_draft(spot):
            item = self._catalog.whole(spot)
            if version in (None, item.get("version")):
                return item
        raise Refused(404, f"No published version {version} of {kind} {id}")


def attributes(item: Mapping[str, Any]) -> Data:
    """The attributes of a catalog item; none if it has an odd form."""
    data = item.get("data")
    given = data.get("attributes") if is_object(data) else None
    return given if is_object(given) else {}


def products(item: Mapping[str, Any]) -> list[Any]:
    """The products of an offer, in whichever form they are there."""
    data = item.get("data")
    given = data.get("products") if is_object(data) else None
    return given if is_list(given) else []


def price(lines: Iterable[Line]) -> Data:
    """What the first payment for *lines* is."""
    lines = list(lines)
    first = [(line, charge) for line in lines for charge in _charges(line.item)[:1]]
    amount = sum((_amount(charge, line.quantity) for line, charge in first), Decimal())
    currency = next((_currency(charge) for _, charge in first), "GBP")
    headline = attributes(lines[0].item).get("display_price__limio") if lines else None
    return {"currency": currency, "amount": float(amount), "summary": {"headline": headline}}


def payments(lines: Iterable[Line], today: date, discount: Mapping[str, Any] | None) -> list[Data]:
    """The payments for *lines*, the first of them due *today* even if it comes to nothing."""
    due: dict[tuple[date, str], list[Data]] = {}
    for line in lines:
        for charge in _charges(line.item):
            for day in _days(charge, line.starts):
                amount = _discounted(_amount(charge, line.quantity), discount or {}, day, today)
                due.setdefault((day, _currency(charge)), []).append(_line_item(line, charge, amount))
    if due and today not in {day for day, _ in due}:
        due[today, next(iter(due))[1]] = []
    return [_payment(day, currency, due[day, currency]) for day, currency in sorted(due)]


def refund(amount: Decimal, currency: str, today: date, description: str) -> Data:
    """The one entry of a schedule that pays something back."""
    back = {**_payment(today, currency, []), "type": "refund", "description": description}
    return back | dict.fromkeys(("amount", "amountWithoutTax", "unit_amount"), money(-amount))


def term_end(item: Mapping[str, Any], start: date) -> date | None:
    """When the first term of an offer is over; None if it has no end."""
    given = attributes(item)
    for name in ("initial_term__limio", "term__limio"):
        term = given.get(name)
        if is_object(term) and (length := _whole(term.get("length"))):
            return shift(start, length, str(term.get("type", "months")))
    return None


def shift(day: date, count: int, unit: str) -> date:
    """*day* moved by so many days, weeks, months or years; the 31st becomes the last of a shorter month."""
    unit = f"{unit.lower().rstrip('s')}s"
    try:
        if unit in _DAYS:
            return day + timedelta(days=count * _DAYS[unit])
        months = day.year * 12 + day.month - 1 + count * _MONTHS.get(unit, 1)
        first = date(months // 12, months % 12 + 1, 1)
        following = date((months + 1) // 12, (months + 1) % 12 + 1, 1)
    except (ValueError, OverflowError):
        return date.max
    return min(first + timedelta(days=day.day - 1), following - timedelta(days=1))


def money(amount: Decimal) -> str:
    """*amount* as schedules write it."""
    return f"{amount:.2f}"


def _charges(item: Mapping[str, Any]) -> list[Data]:
    """Those of `price__limio`, or where older offers have them."""
    data = item.get("data")
    inner: Data = data if is_object(data) else {}
    given = attributes(item)
    for charges in (
        given.get("price__limio"),
        inner.get("price__limio"),
        inner.get("price"),
        given.get("price"),
    ):
        if is_list(charges) and (found := [charge for charge in charges if is_object(charge)]):
            return found
    return []


def _days(charge: Data, starts: date) -> Iterator[date]:
    delay_type = charge.get("delay_interval_type") or "months"
    first = shift(starts, _whole(charge.get("delay_interval")), str(delay_type))
    count = 1 if charge.get("type") == "onetime" else _whole(charge.get("repeat_count")) or _MOST_PAYMENTS
    every = _whole(charge.get("repeat_interval")) or 1
    for number in range(min(count, _MOST_PAYMENTS)):
        yield shift(first, number * every, str(charge.get("repeat_interval_type", "months")))


def _amount(charge: Data, quantity: int) -> Decimal:
    tiers = charge.get("tiers")
    if is_list(tiers):
        for tier in tiers:
            if is_object(tier) and quantity <= (_whole(tier.get("ending_unit")) or quantity):
                return decimal(tier.get("price"))  # a flat fee
    return decimal(charge.get("value")) * quantity


def _currency(charge: Data) -> str:
    currency = charge.get("currency")
    if is_object(currency):
        currency = currency.get("id")
    return str(charge.get("currencyCode") or currency or "GBP")


def _discounted(amount: Decimal, discount: Mapping[str, Any], day: date, today: date) -> Decimal:
    overrides = discount.get("discountOverrides")
    if not is_object(overrides):
        return amount
    length = _whole(overrides.get("durationLength"))
    if length and day >= shift(today, length, str(overrides.get("durationType", "Months"))):
        return amount
    if overrides.get("discountType", "DiscountPercentage") == "DiscountPercentage":
        return amount - amount * decimal(overrides.get("percentageDiscount")) / 100
    return max(amount - decimal(overrides.get("amountDiscount")), Decimal())


def _line_item(line: Line, charge: Data, amount: Decimal) -> Data:
    label = str(charge.get("label") or charge.get("name") or "Charge")
    return {
        "amount": money(amount),
        "amountWithoutTax": money(amount),
        "taxAmount": "0.00",
        "processingType": "Charge",
        "quantity": line.quantity,
        "chargeName": label,
        "chargeDescription": label,
        "productName": str(line.item.get("name")),
    }


def _payment(day: date, currency: str, items: list[Data]) -> Data:
    at = f"{day.isoformat()}T00:00:00.000"
    amount = sum((Decimal(item["amount"]) for item in items), Decimal())
    quantity = items[0]["quantity"] if items else 1
    described = [f"{item['productName']} - {item['chargeName']}" for item in items]
    return {
        "date": at,
        "schedule_date": at,
        "amount": money(amount),
        "amountWithoutTax": money(amount),
        "unit_amount": money(amount / quantity),
        "taxAmount": 0,
        "currency": currency,
        "quantity": quantity,
        "description": ", ".join(described) or "Nothing due",
        "type": "payment",
        "lineItems": items,
    }


def _whole(value: object) -> int:
    """*value*, a number or the text of one; 0 if it is neither."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def decimal(value: object) -> Decimal:
    """*value*, a number or the text of one; 0 if it is neither."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:  # priced outside Limio
        return Decimal()
    return number if number.is_finite() else Decimal()
