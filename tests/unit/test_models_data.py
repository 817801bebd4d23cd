"""A model becomes plain data and comes back, shows what it has and no credential, and stays a value."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from limio_async import models
from limio_async.core.model import Hiding, Model
from tests.unit.made_models import MODELS, built, sampled

SAMPLES = list(sampled())
ANY_MODEL = st.sampled_from(MODELS).flatmap(built)
TOKEN = models.OAuthTokenResponse(access_token="s3cret", id_token="als0", expires_in=3600)
SECRETS: list[tuple[Model, str]] = [
    (TOKEN, "OAuthTokenResponse(access_token=***, expires_in=3600, id_token=***)"),
    (
        models.OAuthTokenRequest(grant_type="client_credentials", client_id="me", client_secret="s3cret"),
        "OAuthTokenRequest(grant_type='client_credentials', client_id='me', client_secret=***)",
    ),
    (models.OAuthTokenRequest(grant_type="x", code="s3cret"), "OAuthTokenRequest(grant_type='x', code=***)"),
    (models.AbandonedBasket(id="b", recovery_link="/s3cret"), "AbandonedBasket(id='b', recovery_link=***)"),
    (
        models.Payment(
            type="direct_debit", direct_debit=models.DirectDebitPayment(sort_code="s3cret", acc_number="als0")
        ),
        "Payment(type='direct_debit', direct_debit=DirectDebitPayment(sort_code=***, acc_number=***))",
    ),
]


def test_every_class_of_the_models_is_a_model() -> None:
    structs = [
        kind
        for name in models.__all__
        if isinstance(kind := getattr(models, name), type) and issubclass(kind, msgspec.Struct)
    ]
    assert len(structs) == len(MODELS) > 100


@pytest.mark.parametrize("model", SAMPLES, ids=lambda one: type(one).__name__)
def test_every_sample_comes_back_from_its_dict_and_its_json(model: Model) -> None:
    plain = model.to_dict()
    assert msgspec.convert(plain, type(model)) == model
    assert json.loads(model.to_json()) == plain
    assert msgspec.json.decode(model.to_json(), type=type(model)) == model


@settings(max_examples=300, deadline=None)
@given(ANY_MODEL)
def test_any_model_comes_back_from_its_dict_and_its_json(model: Model) -> None:
    plain = model.to_dict()
    assert msgspec.convert(plain, type(model)) == model
    assert json.loads(model.to_json()) == plain
    pickled = pickle.loads(pickle.dumps(model))  # noqa: S301  # our own
    assert pickled == copy.deepcopy(model) == copy.copy(model) == model
    assert repr(model).startswith(f"{type(model).__name__}(")


def test_names_are_those_of_the_wire_and_what_is_absent_is_absent() -> None:
    charge = models.Charge(currency_code="GBP", value="9.990")
    offer = models.Offer(id="o1", data=models.OfferData(price=[charge, None]))
    assert offer.to_dict() == {
        "id": "o1",
        "data": {"price": [{"currencyCode": "GBP", "value": "9.990"}, None]},
    }
    order = models.AddOfferOrder(for_subscription=models.SubscriptionRef(id="sub-1"))
    assert order.to_dict() == {"order_type": "add_offer", "forSubscription": {"id": "sub-1"}}
    assert models.PromoCodeUsage(available_quantity=None).to_dict() == {"availableQuantity": None}
    assert models.PromoCodeUsage().to_json() == "{}"


def test_a_dict_is_new_at_every_depth() -> None:
    offer = models.CatalogItem(data={"attributes": {"a": [1]}})
    plain = offer.to_dict()
    plain["data"]["attributes"]["a"].append(2)
    assert offer.data == {"attributes": {"a": [1]}}


def test_what_json_cannot_hold_is_no_json() -> None:
    with pytest.raises((TypeError, ValueError)):
        models.CatalogItem(data={"half": "\ud800"}).to_json()
    with pytest.raises((TypeError, ValueError)):
        models.CatalogItem(data={"it": object()}).to_json()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_of_json_is_neither_in_a_dict_nor_in_a_text(number: float) -> None:
    for model in (models.Charge(value=number), models.CatalogItem(data={"deep": [{"er": number}]})):
        with pytest.raises(ValueError, match="which JSON cannot hold"):
            model.to_dict()
        with pytest.raises(ValueError, match="which JSON cannot hold"):
            model.to_json()
    assert models.Offer(name="NaN", id="null").to_json() == '{"id":"null","name":"NaN"}'


def test_a_repr_leaves_out_what_is_not_there() -> None:
    offer = models.Offer(id="o1", data=models.OfferData(price=[models.Charge(value="75")]))
    assert repr(offer) == "Offer(id='o1', data=OfferData(price=[Charge(value='75')]))"
    assert repr(models.AddOfferOrder()) == "AddOfferOrder()"
    assert (
        repr(models.AddOfferOrder(quantity=0, change_type="")) == "AddOfferOrder(change_type='', quantity=0)"
    )
    assert repr(models.PromoCodeUsage(available_quantity=None)) == "PromoCodeUsage(available_quantity=None)"
    assert repr([models.Offer(), None]) == "[Offer(), None]"


def test_a_repr_of_a_large_answer_takes_no_time() -> None:
    offers = [
        models.Offer(id=str(n), data=models.OfferData(price=[models.Charge()] * 10)) for n in range(2000)
    ]
    begun = time.perf_counter()
    repr(offers)
    assert time.perf_counter() - begun < 2


@pytest.mark.parametrize(("model", "shown"), SECRETS, ids=lambda one: type(one).__name__)
def test_no_credential_is_shown(model: Model, shown: str) -> None:
    assert repr(model) == str(model) == f"{model}" == shown
    assert "s3cret" not in repr([{"nested": model}])
    assert "s3cret" in model.to_json()


def test_no_credential_is_shown_by_rich() -> None:
    assert "s3cret" not in repr(list(TOKEN.__rich_repr__()))
    assert repr(models.DirectDebitPayment()) == "DirectDebitPayment()"
    assert repr(models.DirectDebitPayment(sort_code="")) == "DirectDebitPayment(sort_code='')"


def test_every_field_that_is_named_like_a_credential_is_hidden() -> None:
    for kind in MODELS:
        for one in msgspec.structs.fields(kind):
            if any(word in one.name for word in ("secret", "password", "access_token")):
                assert issubclass(kind, Hiding)
                assert one.name in kind.__hidden__


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_a_model_is_as_slim_as_before(kind: type[Model]) -> None:
    assert kind.__dictoffset__ == 0
    answered = kind.__struct_config__.omit_defaults
    assert kind.__struct_config__.gc is not answered
    assert any(one.default is UNSET for one in msgspec.structs.fields(kind)) <= (not answered)


def test_a_model_stays_a_value() -> None:
    one, other = models.Charge(value="1"), models.Charge(value="1")
    assert one == other
    assert hash(one) == hash(other)
    assert one != models.Charge(value=1)
    assert msgspec.structs.replace(one, value="2") == models.Charge(value="2")
    assert msgspec.structs.replace(TOKEN, scope="x").access_token == "s3cret"


class Slim(msgspec.Struct, frozen=True):
    id: str


class Own(models.Offer, frozen=True, kw_only=True):
    shelf: str | None = None


def test_classes_of_the_caller_s_own_are_as_they_were() -> None:
    assert repr(msgspec.convert({"id": "o1", "name": "x"}, Slim)) == "Slim(id='o1')"
    own = msgspec.convert({"id": "o1", "shelf": "top"}, Own)
    assert own.to_dict() == {"id": "o1", "shelf": "top"}
    assert repr(own) == "Own(id='o1', shelf='top')"


def test_pydantic_is_imported_by_nobody_who_does_not_use_it() -> None:
    used: Any = "from limio_async import models; m = models.Offer(id='x'); repr(m), m.to_dict(), m.to_json(), m.charges()"
    script = f"import sys; {used}; sys.exit(any(name.startswith('pydantic') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
