"""Promises of the committed `limio_async/api/`."""

from __future__ import annotations

import inspect
import re
from typing import Annotated, Any, cast, get_args, get_origin

import msgspec
import pytest

from codegen.__main__ import ROOT, generate, stale
from codegen.plan import Parameter
from codegen.spec import Cursor
from limio_async import api
from limio_async.api import endpoints, models
from limio_async.core.session import Session
from limio_async.core.wire import Endpoint, ListEndpoint, Paging, Param, Redirect

EVERYTHING: list[Endpoint[Any]] = [*endpoints.ENDPOINTS.values(), *endpoints.VIEWS]
HUNG = api.Resources(cast("Session", None))  # nothing is sent here


def method(endpoint: Endpoint[Any]) -> Any:
    return getattr(getattr(HUNG, endpoint.resource), endpoint.name)


def test_what_is_committed_is_what_is_generated() -> None:
    assert stale(generate(ROOT), ROOT) == [], "run `make generate`"


def test_all_68_operations_are_there_and_sorted() -> None:
    assert len(endpoints.ENDPOINTS) == 68
    assert list(endpoints.ENDPOINTS) == sorted(endpoints.ENDPOINTS)
    assert [endpoint.operation for endpoint in endpoints.ENDPOINTS.values()] == list(endpoints.ENDPOINTS)


def test_every_method_names_its_http_method_and_path() -> None:
    for endpoint in EVERYTHING:
        path = endpoint.path
        for name, value in endpoint.bound.items():
            path = path.replace(f"{{{name}}}", value)
        assert f"`{endpoint.method} {path}`" in (inspect.getdoc(method(endpoint)) or "")


def test_every_method_takes_the_arguments_of_its_endpoint() -> None:
    for endpoint in EVERYTHING:
        body = set() if endpoint.body is None else {"body"}
        names = {param.name for param in endpoint.params} | body | {"options"}
        assert set(inspect.signature(method(endpoint)).parameters) == names


def test_only_lists_are_not_awaited() -> None:
    for endpoint in EVERYTHING:
        assert inspect.iscoroutinefunction(method(endpoint)) != isinstance(endpoint, ListEndpoint)


def test_a_path_has_a_value_for_each_of_its_places() -> None:
    for endpoint in EVERYTHING:
        names = {param.name for param in endpoint.params if param.place == "path"} | endpoint.bound.keys()
        assert set(re.findall(r"{(\w+)}", endpoint.path)) == names


def test_views_are_bound_and_do_not_ask_for_what_is_bound() -> None:
    for endpoint in endpoints.VIEWS:
        assert endpoint.bound
        assert not endpoint.bound.keys() & {param.name for param in endpoint.params}
        assert endpoint.resource != endpoints.ENDPOINTS[endpoint.operation].resource


def told_apart_by_type(name: str) -> bool:
    """Whether a union, or the mapping that tells its members apart."""
    kind = getattr(models, name)
    members = get_args(get_args(kind)[0] if get_origin(kind) is Annotated else kind)
    return name.endswith("_BY_TYPE") or all(
        isinstance(one, type) and issubclass(one, msgspec.Struct) for one in members or [int]
    )


@pytest.mark.parametrize("name", [name for name in models.__all__ if not told_apart_by_type(name)])
def test_every_model_can_be_decoded(name: str) -> None:
    msgspec.json.Decoder(getattr(models, name))


def test_an_order_is_decoded_by_its_type() -> None:
    model = models.ORDER_REQUEST_BY_TYPE["cancel_intent"]
    order = msgspec.json.decode(b'{"order_type": "cancel_intent"}', type=model)
    assert order == models.CancelIntentOrder()
    assert msgspec.json.encode(order) == b'{"order_type":"cancel_intent"}'


def test_every_answer_can_be_decoded() -> None:
    for endpoint in EVERYTHING:
        if endpoint.returns is not Redirect:
            msgspec.json.Decoder(endpoint.returns)


@pytest.mark.parametrize(("ours", "theirs"), [(Cursor, Paging), (Parameter, Param)])
def test_the_generator_knows_the_fields_of_the_core(ours: Any, theirs: Any) -> None:
    assert ours.__struct_fields__ == theirs.__struct_fields__
