"""Models as bodies and answers of FastAPI, and in pydantic: read as Limio's own are, described by their names."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, cast

import aiohttp
import anyio
import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limio_async import models
from tests.unit.made_models import MODELS, built, sampled
from tests.unit.test_samples import BODIES, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import fastapi
    import pydantic
    import uvicorn
else:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")

SAMPLES = list(sampled())
SECRET = "s3cret-value"
REQUIRED: dict[str, Any] = {
    "offer": {"id": "8a51", "version": "4dd3"},
    "orderItems": [],
    "customerDetails": {},
    "country": "GB",
    "forSubscription": {},
    "subscriptionId": "sub-1",
    "invoice": {},
    "data": {},
    "order_type": "",
}
ORDER: dict[str, Any] = {
    "order_type": "new",
    "orderItems": [{"offer": {"id": "8a51", "version": "4dd3"}, "quantity": 1}],
    "customerDetails": {"email": "a@example.com"},
    "country": "GB",
}


class Shelf(pydantic.BaseModel):
    """A service's own model that holds some of ours."""

    best: models.Offer | None = None
    by_name: dict[str, models.Charge] = pydantic.Field(default_factory=dict)
    order: models.OrderRequest | None = None


@cache  # it takes seconds
def service() -> Any:
    app = fastapi.FastAPI()
    body = fastapi.Body()

    async def same(value: Any) -> Any:
        return value

    def path(name: str, kind: Any) -> None:
        async def run(value: Any) -> Any:
            return await same(value)

        run.__annotations__ = {"value": Annotated[kind, body], "return": kind}
        app.post(f"/{name}")(run)

    for kind in MODELS:
        path(kind.__name__, kind)
    path("order", models.OrderRequest)
    path("offers", list[models.Offer])
    path("maybe", models.Offer | None)
    path("shelf", Shelf)

    @app.get("/offers/{id}")
    async def offer(id: str) -> models.Offer:
        return models.Offer(id=id, data=models.OfferData(price=[models.Charge(value="9.990"), None]))

    @app.post("/read")
    async def read(value: Annotated[models.Offer, fastapi.Body()]) -> bool:
        return value.data is None

    @app.get("/plain", response_model=models.Offer)
    async def plain() -> dict[str, Any]:
        return {"id": "o1", "validFrom": "no field", "baseTemplate": "/t"}

    return app


@asynccontextmanager
async def running() -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(service(), log_level="critical", lifespan="off"))
        async with anyio.create_task_group() as group, aiohttp.ClientSession() as http:
            listener.listen()  # a request waits for the server
            group.start_soon(server.serve, [listener])
            yield http, url
            server.should_exit = True


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (one for key, one in value.items() if key == "$ref" and isinstance(one, str))
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(child)


def validator(document: dict[str, Any], name: str) -> Any:
    """What judges a value by a component of an OpenAPI document."""
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **document})


async def test_a_running_service_takes_every_model_and_answers_it_as_its_page_says() -> None:
    async with running() as (http, url):
        async with http.get(f"{url}/openapi.json") as answer:
            document = await answer.json()
        for model in SAMPLES:
            name, plain = type(model).__name__, model.to_dict()
            async with http.post(f"{url}/{name}", json=plain) as answer:
                said = await answer.json()
                assert (answer.status, said) == (200, plain)
            validator(document, name).validate(said)
        async with http.get(f"{url}/offers/o1") as answer:
            said = await answer.json()
        assert said == {"id": "o1", "data": {"price": [{"value": "9.990"}, None]}}
        async with http.get(f"{url}/plain") as answer:
            assert await answer.json() == {"id": "o1", "baseTemplate": "/t"}
        async with http.post(f"{url}/offers", json=[said, {}]) as answer:
            assert await answer.json() == [said, {}]
        async with http.post(
            f"{url}/maybe", data="null", headers={"content-type": "application/json"}
        ) as answer:
            assert (answer.status, await answer.json()) == (200, None)
        shelf = {"best": said, "by_name": {"a": {"value": 1}}, "order": ORDER}
        async with http.post(f"{url}/shelf", json=shelf) as answer:
            assert await answer.json() == shelf


async def test_an_order_of_any_type_can_be_a_body() -> None:
    async with running() as (http, url):
        for one in {
            type(model).__name__: model for model in SAMPLES if isinstance(model, models.OrderBase)
        }.values():
            async with http.post(f"{url}/order", json=one.to_dict()) as answer:
                assert (answer.status, await answer.json()) == (200, one.to_dict())


WRONG: list[tuple[str, Any, list[str | int], str]] = [
    ("Offer", {"data": {"price": [{"repeat_interval": 1.5}]}}, ["data", "price", 0, "repeat_interval"], "Expected `int | str | null`, got `float`"),
    ("Subscription", {}, ["id"], "Object missing required field `id`"),
    ("Subscription", [], [], "Expected `object`, got `array`"),
    ("PublishMap", {"pages": {"/a": 3}}, ["pages", "..."], "Expected `object | array | null`, got `int`"),
    ("offers", [{}, {"id": 3}], [1, "id"], "Expected `str | null`, got `int`"),
    ("order", {**ORDER, "orderItems": [{"offer": {"id": "8a51"}}]}, ["orderItems", 0, "offer", "version"], "Object missing required field `version`"),
    ("order", {**ORDER, "order_type": None}, ["order_type"], "`order_type` must be a text: it tells the type"),
    ("order", {}, ["order_type"], "`order_type` must be a text: it tells the type"),
    ("order", [], ["order_type"], "`order_type` must be a text: it tells the type"),
    ("AddOfferOrder", {"order_type": "new"}, ["order_type"], "Invalid enum value 'new'"),
    ("order", {**ORDER, "externalId": SECRET}, ["externalId"], "CreateSubscriptionOrder has no field of this name"),
    ("order", {**ORDER, "order_type": "New"}, ["customerDetails"], "OtherOrder has no field of this name"),
    ("order", {**ORDER, "orderItems": [*ORDER["orderItems"], {**ORDER["orderItems"][0], "qty": 2}]}, ["orderItems", 1, "qty"], "OrderItemInput has no field of this name"),
    ("OAuthTokenRequest", {"client_secret": SECRET}, ["grant_type"], "Object missing required field `grant_type`"),
    ("OAuthTokenRequest", {"grant_type": "x", "client_secret": [SECRET]}, ["client_secret"], "Expected `str`, got `array`"),
]  # fmt: skip


async def test_a_wrong_body_is_refused_with_its_spot_and_without_its_values() -> None:
    async with running() as (http, url):
        for path, body, loc, said in WRONG:
            async with http.post(f"{url}/{path}", json=body) as answer:
                assert answer.status == 422, (path, body)
                text = await answer.text()
            assert SECRET not in text
            [error] = json.loads(text)["detail"]
            assert error["loc"] == ["body", *loc]
            assert (error["msg"], error["input"]) == (said, None)


@pytest.mark.parametrize(
    "body",
    [
        '{"data": {"description": "\\ud800"}}',
        '{"data": {"attributes": ' + "[" * 5000 + "]" * 5000 + "}}",
        '{"data": {"attributes": ' + '{"a":' * 500 + "1" + "}" * 500 + "}}",
        '{"id": NaN}',
        '{"id": 1e999}',
        '{"id": ',
        "",
        '"text"',
    ],
)
async def test_no_body_makes_a_service_fail(body: str) -> None:
    async with running() as (http, url):
        headers = {"content-type": "application/json"}
        async with http.post(f"{url}/read", data=body.encode(), headers=headers) as answer:
            assert answer.status in {200, 400, 422}


def test_the_openapi_document_holds_together() -> None:
    document = service().openapi()
    known = document["components"]["schemas"]
    assert {kind.__name__ for kind in MODELS} <= known.keys()
    assert not [name for name in known if re.search(r"-Input|-Output|__", name)]
    for one in references(document):
        assert one.removeprefix("#/components/schemas/") in known
    for name in known:
        jsonschema.Draft202012Validator.check_schema(known[name])
    offer = known["Offer"]
    assert offer["title"] == "Offer"
    assert offer["description"] == "An offer, by itself or as an order or subscription remembers it."
    assert "required" not in offer
    assert known["Subscription"]["required"] == ["id"]
    assert {"baseTemplate", "data"} <= offer["properties"].keys()
    of_data = [{"$ref": "#/components/schemas/OfferData"}, {"type": "null"}]
    assert offer["properties"]["data"] == {"anyOf": of_data, "title": "Data"}
    answers = document["paths"]["/offers/{id}"]["get"]["responses"]["200"]["content"]
    assert answers["application/json"]["schema"] == {"$ref": "#/components/schemas/Offer"}
    taken = document["paths"]["/order"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/CreateSubscriptionOrder"} in taken["anyOf"]
    told_by = taken["discriminator"]
    assert told_by["propertyName"] == "order_type"
    assert told_by["mapping"] == {
        type_: f"#/components/schemas/{kind.__name__}"
        for type_, kind in models.ORDER_REQUEST_BY_TYPE.items()
        if kind is not models.OtherOrder
    }
    assert known["CreateSubscriptionOrder"]["additionalProperties"] is False
    assert "additionalProperties" not in offer


def test_every_documented_body_is_taken_whole() -> None:
    for name, kind in BODIES.items():
        plain = json.loads(sample(name))
        read = adapter_of(kind or models.OrderRequest).validate_python
        assert read(plain).to_dict() == plain


@pytest.mark.parametrize("model", SAMPLES, ids=lambda one: type(one).__name__)
def test_what_no_field_of_a_body_holds_is_refused_and_of_an_answer_passed_over(model: Any) -> None:
    read = adapter_of(type(model)).validate_python
    plain = model.to_dict() | {"noSuchField": SECRET}
    if type(model).__struct_config__.omit_defaults:  # an answer
        assert read(plain) == model
        return
    with pytest.raises(pydantic.ValidationError, match="has no field of this name") as refused:
        read(plain)
    assert refused.value.errors()[0]["loc"] == ("noSuchField",)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_every_model_has_one_schema_for_reading_and_writing(kind: type[Any]) -> None:
    adapter = pydantic.TypeAdapter(kind)
    schema = adapter.json_schema()
    assert schema == adapter.json_schema(mode="serialization")
    within = schema if "properties" in schema else schema["$defs"][kind.__name__]
    fields = msgspec.structs.fields(kind)
    assert list(within["properties"]) == [one.encode_name for one in fields]
    assert within.get("required", []) == [one.encode_name for one in fields if one.required]
    assert all(one.removeprefix("#/$defs/") in schema["$defs"] for one in references(schema))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MODELS).flatmap(built))
def test_any_model_goes_through_pydantic_and_back(model: Any) -> None:
    adapter = adapter_of(type(model))
    plain = model.to_dict()
    assert adapter.validate_python(plain) == adapter.validate_python(model) == model
    assert adapter.dump_python(model) == adapter.dump_python(model, mode="json") == plain
    assert adapter.validate_json(adapter.dump_json(model)) == model
    jsonschema.Draft202012Validator(adapter.json_schema()).validate(plain)


_ADAPTERS: dict[Any, Any] = {}


def adapter_of(kind: Any) -> Any:
    return _ADAPTERS.get(kind) or _ADAPTERS.setdefault(kind, pydantic.TypeAdapter(kind))


@pytest.mark.parametrize("name", [name for name in models.__all__ if not name.endswith("_BY_TYPE")])
def test_every_name_is_a_type_for_pydantic(name: str) -> None:
    assert pydantic.TypeAdapter(getattr(models, name)).json_schema()


def test_an_order_of_a_type_that_comes_later_keeps_to_the_model_of_any() -> None:
    read = adapter_of(models.OrderRequest).validate_python
    assert read({"order_type": "renew_early"}) == models.OtherOrder(order_type="renew_early")
    for type_, kind in models.ORDER_REQUEST_BY_TYPE.items():
        fields = {one.encode_name: one for one in msgspec.structs.fields(kind) if one.required}
        order = {name: REQUIRED[name] for name in fields} | {"order_type": type_}
        assert type(read(order)) is kind


def test_a_service_s_own_model_holds_ours() -> None:
    shelf = Shelf(
        best=models.Offer(id="o1"), by_name={"a": models.Charge(value="1")}, order=cast("Any", ORDER)
    )
    assert isinstance(shelf.order, models.CreateSubscriptionOrder)
    plain = {"best": {"id": "o1"}, "by_name": {"a": {"value": "1"}}, "order": ORDER}
    assert shelf.model_dump() == json.loads(shelf.model_dump_json()) == plain
    assert Shelf.model_validate(plain) == shelf
    with pytest.raises(pydantic.ValidationError) as refused:
        Shelf.model_validate({"by_name": {"a": {"value": []}}})
    assert refused.value.errors()[0]["loc"] == ("by_name", "a", "value")
    assert SECRET not in str(refused.value)


class Own(models.Offer, frozen=True, kw_only=True):
    """Of a service."""

    shelf: str | None = None


def test_a_class_of_the_caller_s_own_is_taken_too() -> None:
    adapter = pydantic.TypeAdapter(Own)
    own = Own(id="o1", shelf="top")
    assert adapter.validate_python({"id": "o1", "shelf": "top"}) == own
    assert adapter_of(models.Offer).validate_python(own) is own
    assert "shelf" in adapter.json_schema()["properties"]


def test_the_description_says_what_fields_hold_also_inherited_ones() -> None:
    held = pydantic.TypeAdapter(models.CreateSubscriptionOrder).json_schema()["properties"]
    assert held["country"]["description"] == "Code of the country of purchase."
    assert held["process_immediately"]["description"].startswith("true: the answer carries the final result.")
    assert "description" not in held["variant"]
