"""What a model tells of its fields: charges wherever they stand, amounts to the digit, times in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async import models
from limio_async.envelope import (
    PRICES,
    at,
    changed_at,
    charges_of,
    currency_of,
    decimal_of,
    last_change,
    tags_of,
)
from limio_async.sync_jobs.columns import spots_of, value_at
from limio_async.sync_jobs.streams import stream
from tests.unit.made_models import MODELS, sampled
from tests.unit.test_samples import sample

CHARGE = {"type": "recurring", "value": "9.990", "currencyCode": "GBP"}
OFFERS: list[type[Any]] = [models.Offer, models.AddOn, models.CatalogItem]
MODIFIED, VERSION = "2026-03-01T08:00:00+02:00", "2024-01-15T13:56:18.000Z"
AT_MODIFIED, AT_VERSION = datetime(2026, 3, 1, 6, tzinfo=UTC), datetime(2024, 1, 15, 13, 56, 18, tzinfo=UTC)


def item_with(place: tuple[str, ...], held: Any) -> dict[str, Any]:
    item: Any = held
    for key in reversed(place):
        item = {key: item}
    return {"id": "o1", **item}


# --- charges


@pytest.mark.parametrize("kind", OFFERS)
@pytest.mark.parametrize("place", PRICES)
def test_charges_are_found_wherever_they_stand(kind: type[Any], place: tuple[str, ...]) -> None:
    offer = msgspec.convert(item_with(place, [None, CHARGE, {"value": "1"}]), kind)
    assert [(one.amount, one.amount_currency) for one in offer.charges()] == [
        (Decimal("9.990"), "GBP"),
        (Decimal(1), None),
    ]


def test_every_sample_of_an_offer_has_its_charges() -> None:
    offers = msgspec.json.decode(sample("listOffers"))["items"]
    assert offers
    for plain in offers:
        charges = msgspec.convert(plain, models.Offer).charges()
        assert charges
        assert all(one.amount is not None and one.amount_currency for one in charges)


def test_the_offer_that_a_subscription_remembers_has_its_charges() -> None:
    subscription = msgspec.json.decode(sample("getObject"), type=models.Subscription)
    assert subscription.data is not None
    assert subscription.data.offer is not None
    assert [one.amount for one in subscription.data.offer.charges()] == [Decimal("75.00")]


def test_the_price_of_live_tenants_goes_before_older_ones() -> None:
    data = {"attributes": {"price__limio": [CHARGE], "price": [{"value": 3}]}, "price": [{"value": 2}]}
    assert [one.value for one in msgspec.convert({"data": data}, models.Offer).charges()] == ["9.990"]
    data["attributes"]["price__limio"] = [None]  # type: ignore[index]
    assert [one.value for one in msgspec.convert({"data": data}, models.Offer).charges()] == [2]


@pytest.mark.parametrize("held", [None, "", [], {}, [None], [None, None]])
def test_what_holds_nothing_is_no_price(held: Any) -> None:
    assert charges_of(item_with(PRICES[0], held), models.Charge) == []
    assert models.Offer().charges() == []
    assert models.Offer(data=models.OfferData(attributes=[None])).charges() == []


def test_one_charge_without_a_list_is_a_charge() -> None:
    assert charges_of(item_with(PRICES[0], CHARGE), models.Charge)[0].amount == Decimal("9.990")


@pytest.mark.parametrize("entry", ["9.99", 9.99, [CHARGE], {"value": {}}, {"repeat_interval": 1.5}, True])
def test_a_price_that_cannot_be_read_is_never_passed_over(entry: Any) -> None:
    offer = msgspec.convert(item_with(PRICES[0], [CHARGE, entry]), models.Offer)
    spot = re.escape("data.attributes.price__limio[1] cannot be read as a charge: Expected")
    with pytest.raises(ValueError, match=spot):
        offer.charges()


def test_the_columns_of_a_sync_read_the_same_places() -> None:
    spots = {spot.name: spot for spot in spots_of("offers", stream("offers").endpoint)}
    for place in PRICES:
        item = item_with(place, [CHARGE])
        assert value_at(item, spots["price_amount"]) == 9.99
        assert value_at(item, spots["price_currency"]) == "GBP"
    for currency in ({"currency": {"id": "GBP"}}, {"currency": "GBP"}):
        item = item_with(PRICES[0], [{**CHARGE, "currencyCode": None, **currency}])
        assert value_at(item, spots["price_currency"]) == "GBP"


@pytest.mark.parametrize(
    ("charge", "code"),
    [
        ({"currencyCode": "GBP", "currency": {"id": "USD"}}, "GBP"),
        ({"currencyCode": "", "currency": {"id": "USD", "symbol": "$"}}, "USD"),
        ({"currency": "EUR"}, "EUR"),
        ({"currency": {"symbol": "$"}}, None),
        ({}, None),
    ],
)
def test_a_charge_tells_its_currency(charge: Any, code: str | None) -> None:
    assert msgspec.convert(charge, models.Charge).amount_currency == currency_of(charge) == code


# --- amounts


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("9.990", "9.990"), ("17.50", "17.50"), ("-1", "-1"), (" 75 ", "75"), ("1e2", "1E+2"),
        (9.99, "9.99"), (0.1, "0.1"), (75, "75"), (0, "0"), (2**60, str(2**60)),
        ("0.1000000000000000000000000000000000001", "0.1000000000000000000000000000000000001"),
    ],
)  # fmt: skip
def test_an_amount_is_exactly_as_it_was_written(value: Any, amount: str) -> None:
    charge = models.Charge(value=value)
    assert str(charge.amount) == str(models.PriceTier(price=value).amount) == amount
    assert str(models.SubscriptionPrice(amount=value).amount_decimal) == amount
    assert str(models.OrderPrice(amount=value).amount_decimal) == amount


@pytest.mark.parametrize("value", ["", "free", "12,50", "1_000", "NaN", "Infinity", "£5", None])
def test_what_is_no_number_has_no_amount_and_stays_where_it_is(value: Any) -> None:
    charge = models.Charge(value=value)
    assert charge.amount is None
    assert charge.value == value


@pytest.mark.parametrize("value", [True, False, [], {}, msgspec.UNSET, float("nan"), float("inf")])
def test_what_is_no_number_at_all_has_no_amount(value: object) -> None:
    assert decimal_of(value) is None
    assert models.OrderPrice().amount_decimal is None


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_is_lost(number: Decimal | float) -> None:
    written = str(number) if isinstance(number, Decimal) else number
    assert decimal_of(written) == Decimal(str(number))


def test_amounts_of_a_payment_to_come() -> None:
    [due] = msgspec.json.decode(sample("previewOrder"), type=models.OrderPreviewResponse).schedule or [None]
    assert due is not None
    assert (due.amount_decimal, due.unit_amount_decimal) == (Decimal("470.40"), Decimal("470.40"))
    assert (str(due.amount_without_tax_decimal), due.tax_amount_decimal) == ("470.40", Decimal(0))
    assert due.schedule_at == due.date_at == datetime(2023, 11, 30, tzinfo=UTC)


# --- times


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-03-22T12:13:29.718Z", datetime(2024, 3, 22, 12, 13, 29, 718000, UTC)),
        ("2024-01-15T15:56:18+02:00", datetime(2024, 1, 15, 13, 56, 18, tzinfo=UTC)),
        ("2023-11-30T00:00:00.000", datetime(2023, 11, 30, tzinfo=UTC)),
        ("2024-03-22", datetime(2024, 3, 22, tzinfo=UTC)),
        ("20190226", datetime(2019, 2, 26, tzinfo=UTC)),
        ("", None),
        ("soon", None),
        ("20191326", None),
        ("12345678", None),
        ("2019-W09", None),
        (None, None),
    ],
)
def test_a_time_is_read_in_utc(text: str | None, at: datetime | None) -> None:
    found = models.Subscription(id="s", created=text, data=models.SubscriptionData(start_date=text))
    assert found.data is not None
    assert found.created_at == found.data.start_at == at
    assert at is None or found.created_at is not None
    assert found.created_at is None or found.created_at.tzinfo is UTC


def test_a_body_reads_its_times_too() -> None:
    assert models.CancelSubscriptionOrder().cancel_at is None
    order = models.CancelSubscriptionOrder(cancel_date="2026-03-01", order_date="2026-02-01T10:00:00Z")
    assert order.cancel_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert order.order_at == datetime(2026, 2, 1, 10, tzinfo=UTC)


def test_times_of_a_live_catalog_item_stand_in_its_data() -> None:
    for kind in (models.Offer, models.CatalogItem, models.Page):
        plain = {"id": "o1", "data": {"created": VERSION, "modified": MODIFIED, "version_date": VERSION}}
        item = msgspec.convert(plain, cast("type[models.CatalogRecord]", kind))
        assert (item.modified_at, item.created_at, item.changed_at) == (AT_MODIFIED, AT_VERSION, AT_MODIFIED)
    outside = msgspec.convert({"modified": MODIFIED, "data": {"modified": VERSION}}, models.Offer)
    assert outside.modified_at == outside.changed_at == AT_MODIFIED
    odd = msgspec.convert({"modified": "", "data": {"modified": MODIFIED}}, models.Offer)
    assert odd.modified_at == AT_MODIFIED


@pytest.mark.parametrize("item", list(sampled()), ids=lambda one: type(one).__name__)
def test_a_model_tells_what_its_json_tells(item: Any) -> None:
    plain = item.to_dict()
    assert changed_at(item) == changed_at(plain)
    assert last_change(item) == last_change(plain)
    assert tags_of(item) == tags_of(plain)
    if isinstance(item, models.CatalogRecord):
        assert item.changed_at == changed_at(plain)
    if hasattr(item, "charges"):
        assert item.charges() == charges_of(plain, models.Charge)


def test_what_a_body_does_not_send_is_nothing() -> None:
    order = models.CancelSubscriptionOrder(subscription_id="sub-1")
    assert (at(order, ("subscriptionId",)), at(order, ("cancelDate",)), at(order, ("no",))) == (
        "sub-1",
        None,
        None,
    )


def test_an_object_tells_when_it_was_changed() -> None:
    assert models.Subscription(id="s", created=MODIFIED).changed_at is None
    assert models.Subscription(id="s", updated=MODIFIED).changed_at == AT_MODIFIED


def test_every_field_that_holds_a_time_in_a_sample_has_its_property() -> None:
    """A text that reads as a time stands in a field of `[times]` in openapi/overlay.toml."""
    looks = re.compile(r"\d{4}-\d\d-\d\d")
    without = [
        f"{type(one).__name__}.{field.name}"
        for model in sampled()
        for one in _all_in(model)
        for field in msgspec.structs.fields(one)
        if isinstance(text := getattr(one, field.name), str) and looks.match(text)
        if not any(name.endswith("_at") and getattr(one, name) is not None for name in dir(type(one)))
    ]
    assert without == []


def _all_in(value: Any) -> list[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        inside = [getattr(value, name) for name in value.__struct_fields__]
        return [value, *(one for child in inside for one in _all_in(child))]
    return [one for child in value for one in _all_in(child)] if isinstance(value, list) else []


def test_every_property_can_be_read_where_nothing_is_there() -> None:
    for kind in MODELS:
        required = {one.name: "" for one in msgspec.structs.fields(kind) if one.required}
        made = kind(**required)
        for name in dir(kind):
            if isinstance(getattr(kind, name), property):
                assert getattr(made, name) is None
