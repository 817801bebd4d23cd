"""The values that travel: requests, responses, and the facts of each endpoint. No I/O, no Limio nouns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec

__all__ = [
    "BOM",
    "SCHEMES",
    "SPECIES",
    "UNDECODABLE",
    "Attempt",
    "Credential",
    "Endpoint",
    "JsonBody",
    "Kind",
    "ListEndpoint",
    "Paging",
    "Param",
    "ReadsBack",
    "Redirect",
    "Request",
    "Response",
    "Retry",
    "Scheme",
    "Species",
    "Webhook",
]

T_co = TypeVar("T_co", covariant=True)

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises for bytes that are no UTF-8, no JSON, too deep, or not of the type they should be."""

BOM = b"\xef\xbb\xbf"
"""The mark that some servers put before their JSON (RFC 8259, section 8.1)."""

Scheme = Literal["key", "bearer", "session"]
"""What `Authorization` carries: the bare publishable key, a client's token, a signed-in user's token."""

SCHEMES: Mapping[Scheme, str] = {
    "key": "an API key",
    "bearer": "a bearer token",
    "session": "a session token",
}
"""The schemes as a sentence names them."""

Retry = Literal["safe", "scroll", "idempotent", "once"]
"""When a request may be sent again; `core.retry` holds the rules.

`safe`: whenever it may help. `scroll`: a page whose cursor advances when read, only if it was not executed.
`idempotent`: a write that may be repeated. `once`: only if it certainly never left.
"""

JsonBody = Mapping[str, object] | msgspec.Raw
"""What any request body may be instead of its model: plain data, or bytes that are already JSON."""


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request, ready to send to the client's own origin."""

    operation: str
    method: str
    target: str
    """Path and query, percent-encoded, starting with a slash."""
    headers: Mapping[str, str]
    body: bytes | None = None
    retry: Retry = "safe"
    accepts: tuple[Scheme, ...] = ()
    """The credentials that the operation takes; none means it is sent without."""
    prefers: Scheme | None = None
    """The one of them that is sent where the client has it, wherever it stands among the client's."""

    def __repr__(self) -> str:  # a header, a query or a body may hold secrets or personal data
        return f"<Request {self.operation} {self.method} {self.target.partition('?')[0]}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:  # msgspec's own would show everything
        return [("operation", self.operation), ("method", self.method)]


class Response(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One complete answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("status", self.status)]


class Credential(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The value of an `Authorization` header, and which scheme it is."""

    scheme: Scheme
    authorization: str
    origin: str | None = None
    """The only origin that it is sent to; None if it goes wherever its client sends."""

    def __repr__(self) -> str:
        return f"Credential(scheme={self.scheme!r}, authorization='***')"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("scheme", self.scheme)]


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One try of a call: what came of it and how long the call then waited."""

    status: int | None
    """None where no answer came."""
    reason: str
    """`status 200`, the name of an error, `cut by the deadline`, or `cancelled`."""
    waited: float = 0.0
    """Seconds waited after this attempt."""
    start: float = 0.0
    """When it left, in seconds since 1970 on this machine's clock."""
    duration: float = 0.0
    """Seconds until its answer was whole, or until it ended without one."""
    request_id: str | None = None
    """What its answer is called in the logs of the other side."""


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an operation that sends a browser elsewhere; redirects are never followed."""

    location: str | None
    """None where the server answered with a page of its own."""


class Param(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of an operation and where it goes on the wire."""

    name: str
    """The Python keyword."""
    wire: str
    """The name on the wire; of a mapping, the prefix of its keys."""
    place: Literal["path", "query", "header"]
    kind: Literal["string", "integer", "boolean", "datetime", "mapping", "item_path"] = "string"
    required: bool = False
    choices: tuple[str, ...] = ()
    """Documented values; others are sent as they are."""
    default: str | int | bool | None = None
    secret: bool = False
    """Left out where a request is shown (`format: password` in openapi/)."""
    help: str = ""


Kind = Literal["scroll", "key", "opaque", "whole"]
"""The kinds of cursor; `SPECIES` says what each implies."""


class Species(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of cursor implies. Every rule of walking asks this table, none asks for the kind."""

    summary: str
    advances: bool
    """Reading a page moves the cursor on: it is never asked with twice."""
    held_by_server: bool
    """The server holds the position and drops it after a while: a walk must not wait for its consumer."""
    durable: bool
    """The cursor may be stored, and asked with next week."""
    ends_empty: bool
    """A page without items is the last."""
    never_repeats: bool
    """Two pages with the same items are a fault, never an honest list."""
    promises: bool
    """`hits` is a promise about one snapshot: another number of items is a fault."""


SPECIES: Mapping[Kind, Species] = {
    "scroll": Species(
        summary="walked by a scroll cursor",
        advances=True, held_by_server=True, durable=False, ends_empty=True, never_repeats=True, promises=True,
    ),
    "key": Species(
        summary="walked by a key cursor",
        advances=False, held_by_server=False, durable=True, ends_empty=False, never_repeats=True, promises=False,
    ),
    "opaque": Species(  # undocumented: whatever is not known is taken as it is of a scroll
        summary="walked by an opaque cursor",
        advances=True, held_by_server=True, durable=False, ends_empty=False, never_repeats=False, promises=False,
    ),
    "whole": Species(
        summary="one answer holds everything, unless it names a cursor",
        advances=False, held_by_server=False, durable=False, ends_empty=False, never_repeats=True, promises=False,
    ),
}  # fmt: skip
"""The kinds of cursor that there are; a new one is a row.

A scroll is Elasticsearch's (https://github.com/elastic/elasticsearch/issues/26433), a key DynamoDB's.
"""


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """How a list operation is walked: where its items and cursor sit, and what kind of cursor it is."""

    kind: Kind
    items: str = "items"
    """The answer's key that holds the items."""
    hits: str | None = None
    """The answer's key that holds how many items there are; a number or an object with `value`."""
    cursor: str | None = None
    """The answer's key that holds the cursor."""
    sends: Mapping[str, str] = {}
    """Query parameter of each part of the cursor; a cursor that is one string has the part `""`."""
    always: Mapping[str, str] = {}
    """Query parameters that every page is asked with."""
    page_size: str | None = None
    """Query parameter of the size of a page."""
    default_page_size: int | None = None
    """Sent when the caller names none; None leaves it to the server."""
    commit_id: tuple[str, ...] = ()
    """Dotted places that may hold the snapshot's id, first found wins."""

    @property
    def species(self) -> Species:
        """What its kind of cursor implies."""
        return SPECIES[self.kind]


class ReadsBack(msgspec.Struct, frozen=True, kw_only=True):
    """How to see whether a write happened whose answer was lost: the operation that reads what it makes.

    An argument's value is `args:NAME` (an argument of the write), `body:NAME` (a field of its body),
    `answer:NAME` (a field of whatever was answered), or stands for itself. A name may be dotted, and `|` parts
    alternatives.
    """

    operation: str
    args: Mapping[str, str]
    listed_by: str | None = None
    """The list that it is looked for in where no answer says what it is."""
    listed_with: Mapping[str, str] = {}
    """The arguments of that list."""
    same: tuple[str, ...] = ()
    """Fields that the body and what is stored of it have in common; the last one names it, where it is given."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """What the webhooks of one type tell, and what those of one object have in common."""

    slug: str = ""
    """The last part of its URL."""
    name: str = ""
    """What the documents call it; empty where they do not know it."""
    model: Any
    """The type a body can be decoded to."""
    resource: str | None = None
    """The resource that has the object; None where nothing tells which object it is."""
    record_type: str | None = None
    """What the object says it is."""
    keyed_by: tuple[str, ...]
    """Dotted places in the object; the first that names something is the key."""
    inside: str = ""
    """Where the object stands in the body, dotted; empty where it is the body."""


class Endpoint(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """Every fact about one operation. `T_co` is what it returns."""

    operation: str
    """The id in the API description."""
    resource: str
    name: str
    """The method on the resource."""
    method: str
    path: str
    """Path template from the root of the host, such as `/api/v2/journey/{name}`."""
    returns: Any
    """The type an answer is decoded to."""
    auth: tuple[Scheme, ...] = ("bearer",)
    prefers: Scheme | None = None
    """The credential that is sent where the client has it, wherever it stands among the client's."""
    retry: Retry = "safe"
    params: tuple[Param, ...] = ()
    body: Any = None
    """The type of the request body; None where there is none."""
    body_format: Literal["json", "form"] = "json"
    bound: Mapping[str, str] = {}
    """Path parameters that a view has already filled in."""
    summary: str = ""
    source: Literal["seed", "documents", "observed", "inferred"] = "documents"
    """How the operation is known."""
    identity: tuple[str, ...] = ()
    """Fields of which a success, of a list each item, has at least one that is not null; empty where none is sure."""
    several: bool = False
    """Whether the answer may be a list of what has that identity."""
    says: str = ""
    """A word of its first identity in every success, in lower case, where an error could have that field too."""
    reads_back: ReadsBack | None = None
    """How to see whether this write happened."""
    errata: tuple[str, ...] = ()
    """Where the API is known to differ from its description."""

    @property
    def paging(self) -> Paging | None:
        """How its list is walked; None unless it is a `ListEndpoint`."""
        return None


class ListEndpoint(Endpoint[T_co], Generic[T_co], frozen=True, kw_only=True):
    """Every fact about one list operation. `T_co` is one item."""

    paging: Paging  # pyright: ignore[reportIncompatibleMethodOverride]  # a field is read like a property
