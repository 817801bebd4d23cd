"""What no code can be made of stops the generator, which says where and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.__main__ import main, planned
from codegen.spec import CannotGenerate
from tests.codegen import toy

NAME = "name: {type: string, description: Its name.}"
OFFER = "openapi/limio.yaml: #/components/schemas/Offer/allOf/1/properties/name: unsupported: "

UNSUPPORTED_SCHEMAS = [
    ("{type: string, patternProperties: {}}", "patternProperties"),
    ("{type: binary}", "type binary"),
    ("{type: array}", "array without items; `items: {}` if they can be anything"),
    ("{}", "no type; if it can be anything, say so in its description"),
    ("{minimum: 1}", "no type"),
    ("{$ref: '#/components/schemas/Record', enum: [a]}", "enum next to $ref"),
    ("{anyOf: [{type: string}, {type: integer}], const: a}", "const next to anyOf"),
    ("{type: integer, enum: [1]}", "enum of integer"),
    ("{type: object, additionalProperties: false}", "an object that can hold nothing"),
    ("{type: object, properties: {a: {type: string}}}", "an object without a name; move it to components/schemas"),
    ("{allOf: [{$ref: '#/components/schemas/Record'}]}", "an object without a name; move it to components/schemas"),
    (
        "{anyOf: [{$ref: '#/components/schemas/Record'}, {type: object}]}",
        "a union of several objects without discriminator",
    ),
    (
        "{anyOf: [{type: array, items: {type: string}}, {type: array, items: {type: integer}}]}",
        "a union of several arrays without discriminator",
    ),
    ("{$ref: '#/components/schemas/OrderRequest'}", "OrderRequest is a union of objects; only a request body can be one"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "reason"), UNSUPPORTED_SCHEMAS)
def test_an_unsupported_schema(tmp_path: Path, schema: str, reason: str) -> None:
    assert stop(tmp_path, spec=(NAME, f"name: {schema}")) == OFFER + reason


SCHEMAS = "#/components/schemas"
SPEC_STOPS = [
    ("enum: [item, dir]", "enum: [item, 1]", f"{SCHEMAS}/Offer/allOf/1/properties/kind/enum: unsupported: 1 among"),
    ("description: A thing., ", "description: A thing., required: [id], ", f"{SCHEMAS}/Thing: unsupported: required next to allOf"),
    ("description: What all have.", "title: All", f"{SCHEMAS}/Record: needs a description"),
    ("required: [name]", "required: [nome]", f"{SCHEMAS}/Offer: requires nome, which is not among its properties"),
    ("count: {", "fromWhere: {type: string}\n            from_where: {", f"{SCHEMAS}/Offer: fromWhere and from_where are both"),
    ("count: {", "list: {", f"{SCHEMAS}/Offer: list cannot be the name of a field"),
    ("count: {", "id: {", f"{SCHEMAS}/Offer/allOf/1/properties/id: unsupported: does not fit id of Record"),
    (
        "description: A thing., allOf: [",
        "description: A thing., allOf: [{$ref: '#/components/schemas/Build'}, ",
        f"{SCHEMAS}/Thing/allOf/1: unsupported: allOf over two schemas",
    ),
    (
        "{description: A thing., allOf: [{$ref: \"#/components/schemas/Record\"}]}",
        "{description: A thing., allOf: [{$ref: '#/components/schemas/OrderRequest'}]}",
        f"{SCHEMAS}/Thing/allOf/0: unsupported: allOf over OrderRequest, which is not a class",
    ),
    (
        "renew: \"#/components/schemas/OtherOrder\"",
        "renew: \"#/components/schemas/NewOrder\"",
        f"{SCHEMAS}/OrderRequest/discriminator: its mapping must lead to every member",
    ),
    (
        "{type: object, description: Where.,",
        "{type: object, description: Where., additionalProperties: {type: string},",
        f"{SCHEMAS}/Place/additionalProperties: unsupported: typed additional properties",
    ),
    ("Place: {", "Lonely: {type: string, description: One.}\n    Place: {", f"{SCHEMAS}/Lonely: nothing refers to it"),
    ("schemas/Build\"}, {type: array", "schemas/Bild\"}, {type: array", "#/components/schemas/Bild is not a schema"),
    ("operationId: logIn", "operationId: getObject", "#/paths/~1login/get/operationId: getObject is the id of another"),
    ("operationId: logIn", "operationId: logOut", "#/paths/~1login/get: logOut has no entry in the overlay"),
    ("name: opt.from", "name: opt.form", "#/paths/~1offers/get/parameters: needs opt.from, which its cursor sends"),
    ("name: tags", "name: modifiedAfter", "two arguments are called modified_after in Python"),
    ("name: tags, in: query", "name: tags, in: cookie", "parameters/0/in: unsupported: a parameter in cookie"),
    ("name: x-mode, in: header, schema: {type: string, enum: [test]}", "name: x-mode, in: header, schema: {type: object}",
     "#/paths/~1order/post/parameters/0/schema: unsupported: not a parameter's type"),
    ("{objectId}:", "{id}:", "path parameters ['objectId', 'path_type', 'service'] do not fit"),
    ("\"423\"", "\"418\"", "#/paths/~1order/post/responses/418: no exception stands for this status"),
    ("sessionAuth", "magicAuth", "#/paths/~1order/post/security: unsupported: magicAuth"),
    ("confidence: sample", "confidence: rumour", "#/paths/~1builds/get/x-limio-confidence: unknown: rumour"),
    ("x-www-form-urlencoded", "x-protobuf", "content: unsupported: a body of application/x-protobuf"),
    ("\"200\": {content: {application/json: {schema: {type: [\"null\", object]}}}}",
     "\"200\": {content: {text/plain: {schema: {type: string}}}}", "content: unsupported: an answer of text/plain"),
    ("{items: {type: array", "{things: {type: array", "has no items, where its cursor looks for items"),
    ("{items: {type: array, items: {$ref: \"#/components/schemas/Offer\"",
     "{items: {type: array, items: {type: array, items: {$ref: \"#/components/schemas/Offer\"}", "is not a list of Offer, which the overlay"),
    ("order_made:", "order_unmade:", "#/webhooks/order_unmade/post: order_unmade has no entry in the overlay's [webhooks]"),
    ("schemas/Order\"}}}}\n  trouble", "schemas/Place\"}}}}\n  trouble", "schema: is not Order, which the view orders has"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), SPEC_STOPS)
def test_a_spec_that_cannot_be_generated_from(tmp_path: Path, old: str, new: str, message: str) -> None:
    said = stop(tmp_path, spec=(old, new))
    assert said.startswith("openapi/limio.yaml: #/")
    assert message in said


OVERLAY_STOPS = [
    ("[params]", "[parameters]", "parameters: unknown table"),
    ('kind = "scroll"', 'kind = "spiral"', "cursors.catalog: Invalid enum value 'spiral'"),
    ('retry = "once"', 'retries = "once"', "operations.submitOrder: Object contains unknown field `retries`"),
    ('"catalog", item', '"katalog", item', "operations.listOffers: there is no cursor katalog"),
    (', item = "Offer"', "", "operations.listOffers: a cursor needs an item, and an item a cursor"),
    ('cursor = "catalog", ', "", "operations.listOffers: a cursor needs an item, and an item a cursor"),
    ("logIn = {", "logOut = {", "logIn has no entry in the overlay's [operations]"),
    ("\n[views", 'ghost = { resource = "a", name = "b", retry = "safe" }\n[views', "operations.ghost: the spec has no such"),
    ('"changedAfter"', '"changedBefore"', 'params."changedBefore": the spec has no such parameter'),
    ('retry = "once"', 'retry = "once", sample = "heard"', "operations.submitOrder.sample: neither a file of JSON nor one of: a redirect, "),
    ('retry = "once"', 'retry = "once", identity = ["uuid"]', "operations.submitOrder.identity: the answer has no uuid"),
    ('"Place", ', "", "#/components/schemas/Place: is in no module of the overlay's [models]"),
    ('"Place", ', '"Place", "Build", ', "models.orders: Build is in catalog too"),
    ('"Place", ', '"Place", "Plaice", ', "models.orders: Plaice is not a schema of the spec"),
    ('"Record", "Attributes"', '"Attributes"', "is in no module"),
    ('name = "token"', 'name = "log_in"', "operations.logIn: createToken is session.log_in too"),
    ('resource = "orders", name = "submit"', 'resource = "orders", name = "get"', "submitOrder is orders.get too"),
    ('resource = "offers"', 'resource = "offer"', "operations.listOffers: Offer is the name of its model too"),
    ('["getObject", ', '["getThing", ', "views.orders: the spec has no operation getThing"),
    ('["getObject", ', '["logIn", ', "views.orders: logIn has no path_type to bind"),
    ('resource = "orders", name = "submit"', 'resource = "class", name = "submit"', "operations.submitOrder: 'class' cannot be"),
    ('resource = "orders", name = "submit"', 'resource = "or ders", name = "submit"', "'or ders' cannot be a name"),
    ('resource = "orders", name = "submit"', 'resource = "orders", name = "__init__"', "'__init__' cannot be a name"),
    ('resource = "orders", name = "submit"', 'resource = "aclose", name = "submit"', "submitOrder: Limio.aclose is something else already"),
    ("[views.orders]", "[views.origin]", "views.origin: Limio.origin is something else already"),
    ("[views.orders]", "[views.pages_asked]", "views.pages_asked: Limio.pages_asked is something else already"),
    ('resource = "orders", name = "submit"', 'resource = "sync", name = "submit"', "submitOrder: `limio sync` is a command already"),
    ("[views.orders]", "[views.tidy_up]", "views.tidy_up: `limio tidy-up` is a command already"),
    ("[views.orders]", "[views.models]", "views.models: models is a module of limio_async/api already"),
    ('builds = "Builds"', 'builds = "Builders"', "behaviour.builds: no resource and no model is called Builders"),
    ('builds = "Builds"', 'builds = 1', "behaviour.builds: Expected `str | array`, got `int`"),
    ('builds = "Builds"', 'builds = "Builds"\nghosts = "Ghosts"', "behaviour.ghosts: there is no limio_async/api/behaviour/ghosts.py"),
    ('builds = "Builds"\n', "", "limio_async/api/behaviour/builds.py: builds: has no entry in the overlay's [behaviour]"),
    ('record = ["Record", "Build"]', 'record = ["Record", "Recording"]', "behaviour.record: no resource and no model is called Recording"),
    ('retry = "once"', 'retry = "safe"', "operations.submitOrder.retry: a POST is of class idempotent or once, not safe"),
    ('retry = "once"', 'retry = "scroll"', "operations.submitOrder.retry: a POST is of class"),
    ("[params]", "[params", "openapi/overlay.toml: TOML: "),
    ('item = "Order"', 'item = "Ordre"', "#/components/schemas: needs Ordre"),
    ('order_made = {', 'order_kept = { resource = "orders" }\norder_made = {', "webhooks.order_kept: the spec has no such webhook"),
    ('order_made = { resource = "orders"', 'order_made = { resource = "wishes"', "webhooks.order_made: there is no view wishes"),
    ('record_type = "order"', 'record_type = "order"\nkey = "lock"', "views.orders.key: there is no rule lock in [keys]"),
    ('created = { name', 'creation = { name', "times.creation: no class has such a field"),
    ('created = { name', 'count = { name', "times.count: Offer.count cannot be read so"),
    ('name = "created_at"', 'name = "id"', "#/components/schemas/Offer: id cannot be a property too: the name is taken"),
    ('name = "created_at"', 'name = "amount"', "Offer: amount cannot be a property too: the name is taken"),
    ('name = "created_at"', 'name = "created at"', "Offer: created at cannot be a property too: the name is taken"),
    ('name = "created_at"', 'names = "created_at"', "times.created: Object contains unknown field `names`"),
    ('"Offer.price"', '"Record.price"', "amounts.Record.price: no class has such a field"),
    ('"Offer.price"', '"lines"', "amounts.lines: Offer.lines cannot be read so"),
    ('Build = ["Offer"]', 'Builder = ["Offer"]', "charges.Builder: there is no class Builder"),
    ('Build = ["Offer"]', 'Build = ["Offers"]', "charges.Build: there is no class Offers"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), OVERLAY_STOPS)
def test_an_overlay_that_does_not_fit(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in stop(tmp_path, overlay=(old, new))


def test_modules_that_import_each_other(tmp_path: Path) -> None:
    said = stop(tmp_path, spec=(NAME, "name: {$ref: '#/components/schemas/Thing'}"))
    assert said.startswith("openapi/overlay.toml: models: modules import each other: ")
    assert "catalog → rest" in said


CLASHES = [
    ("builds", "start", "list", "builds.py: BuildsBehaviour.list: listBuilds is called list too"),
    ("builds", "BuildsBehaviour", "BuildBehaviour", "builds.py: BuildsBehaviour: there is no such class"),
    ("record", "title", "id", "record.py: RecordBehaviour.id: Record has a field called id too"),
    ("record", "title", "attributes", "record.py: RecordBehaviour.attributes: Offer has a field called attributes too"),
    ("record", "def title(self) -> str: ...", "id: str", "record.py: RecordBehaviour.id: Record has a field called id too"),
    ("record", "__slots__ = ()", "", "record.py: RecordBehaviour: needs `__slots__ = ()`"),
    ("record", "title", "created_at", "record.py: RecordBehaviour.created_at: Offer has a field called created_at too"),
]  # fmt: skip


@pytest.mark.parametrize(("noun", "old", "new", "message"), CLASHES)
def test_a_mixin_that_does_not_fit(tmp_path: Path, noun: str, old: str, new: str, message: str) -> None:
    mixins = {**toy.MIXINS, noun: changed(toy.MIXINS[noun], (old, new))}
    assert stopped(toy.write(tmp_path, mixins=mixins)).startswith(f"limio_async/api/behaviour/{message}")


@pytest.mark.parametrize(
    ("resource", "of", "found"),
    [
        ("builds", "Planes", "no resource and no model is"),
        ("place", "Place", "both a resource and a model are"),
    ],
)
def test_a_mixin_belongs_to_one_class(tmp_path: Path, resource: str, of: str, found: str) -> None:
    overlay = changed(toy.OVERLAY, ('builds = "Builds"', f'builds = "{of}"'))
    overlay = changed(overlay, ('resource = "builds"', f'resource = "{resource}"'))
    said = stopped(toy.write(tmp_path, overlay=overlay))
    assert said == f"openapi/overlay.toml: behaviour.builds: {found} called {of}"


def test_a_command_line_whose_commands_are_not_found(tmp_path: Path) -> None:
    said = stopped(toy.write(tmp_path, commands="OWN = ()"))
    assert said.startswith("limio_async/cli/app.py: _OWN: should be a tuple")


def changed(text: str, edit: tuple[str, str]) -> str:
    assert edit[0] in text, f"the toy has no {edit[0]}"
    return text.replace(*edit) if edit[0] else text


def stop(root: Path, *, spec: tuple[str, str] = ("", ""), overlay: tuple[str, str] = ("", "")) -> str:
    """What the generator says of the toy after an edit."""
    toy.write(root, spec=changed(toy.SPEC, spec), overlay=changed(toy.OVERLAY, overlay))
    return stopped(root)


def stopped(root: Path) -> str:
    """What the generator says of the repository at *root*."""
    with pytest.raises(CannotGenerate) as said:
        planned(root)
    return str(said.value)


def test_a_spec_that_is_no_yaml(tmp_path: Path) -> None:
    assert stop(tmp_path, spec=("openapi: ", "openapi: [")).startswith("openapi/limio.yaml: YAML: ")


def test_a_word_that_the_generator_does_not_know_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chek"]) == 2
    assert "usage: python -m codegen [--check]" in capsys.readouterr().err
