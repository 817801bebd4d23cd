"""A small API that shows every rule once, and its overlay; edited by the tests as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SPEC = """
openapi: 3.1.0
servers: [{url: "https://{tenant}/api"}]
security: [{bearerAuth: []}]
paths:
  /offers:
    get:
      operationId: listOffers
      summary: List offers
      description: All of them.
      x-limio-source: S
      security: [{apiKeyAuth: []}, {bearerAuth: []}]
      parameters:
        - {name: tags, in: query, description: Tag path., schema: {type: string}}
        - {name: opt.size, in: query, schema: {type: integer, default: 50}}
        - {name: opt.all, in: query, schema: {type: boolean}}
        - {name: opt.from, in: query, schema: {type: string}}
        - {name: changedAfter, in: query, schema: {type: string}}
        - {name: attributes.NAME, in: query, schema: {type: string}}
      responses:
        "200": {content: {application/json: {schema: {$ref: "#/components/schemas/OfferList"}}}}
        "401": {$ref: "#/components/responses/Refused"}
  /objects/{service}/{path_type}/{objectId}:
    parameters:
      - {name: service, in: path, required: true, schema: {type: string, enum: [limio, zuora], default: limio}}
      - {name: path_type, in: path, required: true, schema: {anyOf: [{type: string, enum: [orders]}, {type: string}]}}
      - {name: objectId, in: path, required: true, schema: {type: string}}
    get:
      operationId: getObject
      summary: Get an object
      x-limio-source: W
      x-limio-confidence: docs+code
      responses:
        "200": {content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}}}}
        "404": {description: There is none.}
    put:
      operationId: updateObject
      summary: Update an object
      x-limio-source: W
      x-limio-confidence: inferred-path
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Update"}}}
      responses:
        "200": {content: {application/json: {schema: {type: ["null", object]}}}}
  /order:
    post:
      operationId: submitOrder
      summary: Submit an order
      x-limio-source: S
      security: [{sessionAuth: []}]
      parameters:
        - {name: x-mode, in: header, schema: {type: string, enum: [test]}}
        - {name: Cookie, in: header, required: true, schema: {type: string}}
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/OrderRequest"}}}
      responses:
        "200": {content: {application/json: {schema: {$ref: "#/components/schemas/Answer"}}}}
        "423": {description: Locked.}
  /builds:
    get:
      operationId: listBuilds
      summary: List builds
      x-limio-source: W
      x-limio-confidence: sample
      responses:
        "200": {content: {application/json: {schema: {anyOf: [
          {$ref: "#/components/schemas/Build"}, {type: array, items: {$ref: "#/components/schemas/Build"}}]}}}}
  /login:
    servers: [{url: "https://{tenant}"}]
    get:
      operationId: logIn
      summary: Log in
      x-limio-source: W
      x-limio-confidence: docs
      security: []
      responses:
        "200": {content: {text/html: {schema: {type: string}}}}
        "302": {description: Elsewhere.}
    post:
      operationId: createToken
      summary: Get a token
      x-limio-source: W
      x-limio-confidence: docs
      security: []
      requestBody:
        required: true
        content: {application/x-www-form-urlencoded: {schema: {$ref: "#/components/schemas/TokenRequest"}}}
      responses:
        "200": {content: {application/json: {schema: {type: object, additionalProperties: true}}}}
webhooks:
  order_made:
    post:
      summary: Order Made
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}}
  trouble:
    post:
      summary: Trouble
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Trouble"}}}}
components:
  responses:
    Refused: {content: {application/json: {schema: {$ref: "#/components/schemas/Error"}}}}
  schemas:
    Error: {type: object, properties: {message: {type: string}}}
    OfferList: {type: object, properties: {items: {type: array, items: {$ref: "#/components/schemas/Offer"}}}}
    Record: {type: object, description: What all have., required: [id], properties: {id: {type: string}}}
    Offer:
      description: An offer.
      allOf:
        - {$ref: "#/components/schemas/Record"}
        - type: object
          required: [name]
          properties:
            name: {type: string, description: Its name.}
            from: {type: string}
            $ref: {type: [string, "null"]}
            price: {type: [string, number]}
            count: {type: integer}
            kind: {type: string, enum: [item, dir]}
            record_type: {type: string, const: offer}
            created: {type: string, format: date-time}
            lines: {type: array, items: {anyOf: [{type: string}, {type: "null"}]}}
            bare: {type: array, items: {}}
            pages: {type: object, additionalProperties: {type: boolean}}
            anything: {description: Whatever it was given.}
            attributes: {$ref: "#/components/schemas/Attributes"}
    Attributes: {type: object, additionalProperties: true, description: Keys of templates.}
    Thing: {description: A thing., allOf: [{$ref: "#/components/schemas/Record"}]}
    Order: {description: A stored order., allOf: [{$ref: "#/components/schemas/Record"}]}
    Update: {type: object, description: A change., required: [data], properties: {
      data: {type: object}, note: {type: string}}}
    OrderBase: {type: object, description: What every order carries., required: [order_type], properties: {
      order_type: {type: string}, __spec_version: {type: string}, place: {$ref: "#/components/schemas/Place"}}}
    NewOrder: {description: Buys., allOf: [{$ref: "#/components/schemas/OrderBase"}, {type: object,
      required: [place], properties: {order_type: {type: string, enum: [new]}}}]}
    OtherOrder: {description: Does more., allOf: [{$ref: "#/components/schemas/OrderBase"}]}
    OrderRequest:
      description: Any order.
      oneOf: [{$ref: "#/components/schemas/NewOrder"}, {$ref: "#/components/schemas/OtherOrder"}]
      discriminator: {propertyName: order_type, mapping: {
        new: "#/components/schemas/NewOrder", renew: "#/components/schemas/OtherOrder"}}
    Place: {type: object, description: Where., properties: {city: {type: string}}}
    Answer: {type: object, description: What came of it., properties: {place: {$ref: "#/components/schemas/Place"}}}
    Trouble: {type: object, description: What went wrong., properties: {
      order: {$ref: "#/components/schemas/Order"}}}
    Build: {type: object, description: A build., properties: {id: {type: string}}}
    TokenRequest: {type: object, description: A form., properties: {
      scope: {type: string}, secret: {type: string, format: password}}}
"""

OVERLAY = """
[cursors.catalog]
kind = "scroll"
hits = "hits"
cursor = "more"
sends = { from = "opt.from" }
always = { "opt.all" = "true" }
page_size = "opt.size"

[models]
catalog = ["Offer", "Record", "Attributes", "Build"]
orders = ["NewOrder", "OtherOrder", "OrderBase", "OrderRequest", "Place", "Answer"]
rest = ["Thing", "Order", "Update", "TokenRequest", "Error", "Trouble"]

[params]
"changedAfter" = { name = "modified_after", kind = "datetime" }
"attributes.NAME" = { name = "attributes", wire = "attributes.", kind = "mapping" }

[operations]
listOffers = { resource = "offers", name = "list", retry = "scroll", cursor = "catalog", item = "Offer", errata = ["Slow."] }
getObject = { resource = "objects", name = "get", retry = "safe" }
updateObject = { resource = "objects", name = "update", retry = "idempotent" }
submitOrder = { resource = "orders", name = "submit", retry = "once" }
listBuilds = { resource = "builds", name = "list", retry = "safe" }
logIn = { resource = "session", name = "log_in", retry = "safe" }
createToken = { resource = "session", name = "token", retry = "safe", reads = true }

[views.orders]
path_type = "orders"
record_type = "order"
item = "Order"
operations = ["getObject", "updateObject"]

[keys]
object = ["subscriptionId", "id"]

[webhooks]
order_made = { resource = "orders" }
trouble = { resource = "orders", inside = "order" }

[times]
created = { name = "created_at", or_in_data = ["Offer"] }

[amounts]
"Offer.price" = "amount"

[charges]
Build = ["Offer"]

[behaviour]
builds = "Builds"
record = ["Record", "Build"]
"""

CLIENT = """
class Limio(Resources):
    pages_asked: int = 0

    def __init__(self) -> None: ...

    @property
    def origin(self) -> str: ...

    async def aclose(self) -> None: ...
"""

COMMANDS = """
_OWN = ("sync", "tidy-up")
"""

MIXINS = {
    "builds": """
class BuildsBehaviour(Resource):
    async def start(self) -> str: ...
    def _url(self) -> str: ...
""",
    "record": """
class RecordBehaviour:
    __slots__ = ()

    def title(self) -> str: ...
""",
}


def write(
    root: Path,
    *,
    spec: str = SPEC,
    overlay: str = OVERLAY,
    client: str = CLIENT,
    commands: str = COMMANDS,
    mixins: Mapping[str, str] = MIXINS,
) -> Path:
    """A repository that holds nothing but what the generator reads."""
    files = {
        "openapi/limio.yaml": spec,
        "openapi/overlay.toml": overlay,
        "limio_async/client.py": client,
        "limio_async/cli/app.py": commands,
        "limio_async/api/behaviour/__init__.py": "",
        **{f"limio_async/api/behaviour/{noun}.py": text for noun, text in mixins.items()},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root
