"""World: a whole Limio as plain state and behaviour. It answers requests; it does no I/O and never waits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hmac import compare_digest
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from urllib.parse import parse_qsl

import msgspec

from limio_async.core.wire import Endpoint, Request, Response
from limio_async.emulator.agenda import Agenda
from limio_async.emulator.areas.builds import Builds
from limio_async.emulator.areas.catalog import Catalog, Scroll
from limio_async.emulator.areas.catalog_admin import CatalogAdmin
from limio_async.emulator.areas.checkout import Checkout
from limio_async.emulator.areas.identities import Identities
from limio_async.emulator.areas.journeys import Journeys
from limio_async.emulator.areas.oauth import OAuth
from limio_async.emulator.areas.objects import Objects
from limio_async.emulator.areas.order_effects import Effects
from limio_async.emulator.areas.orders import Orders
from limio_async.emulator.areas.partners import Partners
from limio_async.emulator.areas.pricing import Offers
from limio_async.emulator.areas.promo_codes import PromoCodes
from limio_async.emulator.areas.session import Session
from limio_async.emulator.areas.subscription_checkout import SubscriptionCheckout
from limio_async.emulator.areas.subscriptions import Subscriptions
from limio_async.emulator.data.own_data import OwnData
from limio_async.emulator.data.records import PATH_TYPES, Records
from limio_async.emulator.data.store import Store
from limio_async.emulator.data.views import Lists, Reads
from limio_async.emulator.faults.delivery import Delivery
from limio_async.emulator.faults.faults import Faults
from limio_async.emulator.loading import Loading
from limio_async.emulator.messages import Call, Handler, Refused, http_date, reply
from limio_async.emulator.received import Log, Received
from limio_async.emulator.routes import Routes
from limio_async.emulator.settings import Settings
from limio_async.emulator.webhooks import Webhooks

__all__ = ["Keeper", "Received", "Scripted", "World"]

Scripted = Response | Literal["lost", "refused"] | None
"""What shall come of one call: this answer and no effect, an effect whose answer is lost, nothing at all
because it never arrives, or (None) what always comes of it."""

_END_OF_TIME = 253_370_764_800.0  # the year 9999
_SECRET_HEADERS = {"authorization", "cookie", "proxy-authorization"}
_SECRET_BODIES = {"createToken"}
_LOGGED_BODY = 65_536


@runtime_checkable
class Keeper(Protocol):
    """A part of a world with something to remember: `snapshot` gives it, fit for JSON, `restore` takes it."""

    name: str

    def snapshot(self) -> dict[str, Any]:
        """All that is not as in a new world."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as the part was that gave *state*."""
        ...


@dataclass(kw_only=True, eq=False, repr=False)
class World(Settings):
    """A Limio of its own. Settings are keywords: `World(offers=200, hits_form="number")`."""

    def __post_init__(self) -> None:
        endpoints = _generated_endpoints() if self.endpoints is None else self.endpoints
        self._routes = Routes([*endpoints.values(), *_at_the_root(endpoints)])
        self._operations = sorted(endpoint.operation for endpoint in endpoints.values())
        self._oauth = OAuth(self)
        self._catalog = Catalog(self)
        self.agenda = Agenda(self)
        self.webhooks = Webhooks(self, self.agenda)
        self.store = Store(self, Records(self, self._catalog.shelves["offers"]))
        self.lists, self.reads = Lists(self, self.store), Reads(self.store)
        self._objects = Objects(self, self.store, self.lists, self.reads)
        checkout = Checkout(self, self._catalog, self.store, self.webhooks)
        offers = Offers(self._catalog)
        effects = Effects(self, self.store, offers, self.webhooks)
        self.orders = Orders(self, self.store, self.agenda, effects, self.webhooks)
        promo_codes = PromoCodes(self, self.store)
        self.orders.listeners += [checkout.ordered, promo_codes.ordered]
        journeys, self.builds = Journeys(self, self._catalog), Builds(self, self._catalog)
        self._loading = Loading(self._catalog, self.store, journeys, self.builds)
        areas = (
            self._oauth,
            self._catalog,
            CatalogAdmin(self, self._catalog, self.agenda),
            self._objects,
            checkout,
            SubscriptionCheckout(self._catalog, self.store, checkout),
            Session(self.store),
            self.orders,
            Subscriptions(self, self.store, effects, self._catalog),
            Identities(self, self.store, effects),
            Partners(self, self.store),
            promo_codes,
            journeys,
            self.builds,
        )
        parts = (self.agenda, self.store, *areas, self._loading)
        self._keepers = [part for part in parts if isinstance(part, Keeper)]
        self._handlers: Mapping[str, Handler] = {
            operation: handler for area in areas for operation, handler in area.operations.items()
        }
        self.faults = Faults(self._operations)
        self._scripts: dict[str, deque[Scripted]] = {}
        self._received = Log()
        self._counts: Counter[str | None] = Counter()

    def answer(self, request: Request) -> Response:
        """What comes of *request*; raises `NeverSent`, `AnswerLost` or `Unreadable` where faults say so."""
        return self.deliver(request).received(request.operation)

    def deliver(self, request: Request) -> Delivery:
        """What comes of *request*, and how the answer travels. Its `Date` is that of the world's clock."""
        delivery = self._delivered(request)
        if any(name.lower() == "date" for name in delivery.answer.headers):
            return delivery
        answer = msgspec.structs.replace(
            delivery.answer, headers={**delivery.answer.headers, "date": http_date(self.now())}
        )
        return msgspec.structs.replace(delivery, answer=answer)

    def _delivered(self, request: Request) -> Delivery:
        try:
            endpoint, arguments = self._routes.find(request.method, request.target.partition("?")[0])
        except Refused as refused:
            return self._log(None, request, Delivery(answer=_refusal(refused)))
        respond = partial(self._respond, endpoint, arguments)
        if (scripted := self._next_scripted(endpoint.operation)) is not None:
            return self._log(endpoint.operation, request, _played(scripted, request, respond))
        delivery = self.faults.deliver(
            endpoint, arguments, request, now=self.now(), respond=respond, later=self.later
        )
        return self._log(endpoint.operation, request, delivery)

    def script(self, operation: str, *answers: Scripted) -> None:
        """Let the next calls of *operation* come to *answers*, one each, before it behaves as always.

        A call that is "refused" never arrives: it is neither counted nor remembered.
        """
        self._scripts.setdefault(operation, deque()).extend(answers)

    def clear_script(self) -> None:
        """Forget what is scripted and has not come yet."""
        self._scripts.clear()

    def be_kind(self) -> None:
        """Let nothing go wrong any more: no fault, no script, lists, reads and webhooks as in a new world."""
        self.faults.clear()
        self.clear_script()
        self.lists.clear()
        self.reads.clear()
        self.webhooks.clear()

    @property
    def operations(self) -> Sequence[str]:
        """The names of all operations, sorted."""
        return self._operations

    def requests(self, operation: str | None = None) -> list[Received]:
        """The last 10,000 requests that arrived, oldest first; of one *operation* if it is named.

        Fewer where these hold more than 16 MiB. `count` counts all.
        """
        return [one for one in self._received if operation is None or one.operation == operation]

    def latest_requests(self, most: int) -> list[Received]:
        """The last requests that arrived, newest first."""
        return self._received.latest(most)

    def count(self, operation: str | None = None) -> int:
        """How many requests ever arrived, exactly; of one *operation* if it is named."""
        return self._counts.total() if operation is None else self._counts[operation]

    @property
    def tokens_issued(self) -> int:
        """How many tokens were ever issued."""
        return self._oauth.issued

    def revoke_tokens(self) -> None:
        """Refuse every token issued so far."""
        self._oauth.revoke()

    def expire_tokens(self) -> None:
        """Let the time of every token issued so far be over."""
        self._oauth.expire()

    def good_tokens(self) -> Mapping[str, float]:
        """The tokens that are good now, and until when on the world's clock."""
        return self._oauth.good_until()

    def expire_scrolls(self) -> None:
        """Let the time of every open scroll be over."""
        self._catalog.expire_scrolls()

    def open_scrolls(self) -> Sequence[Scroll]:
        """The walks of catalog lists in progress, oldest first."""
        return self._catalog.open_scrolls()

    def holdings(self) -> Mapping[str, Mapping[str, int]]:
        """How many of everything there is: by area, then by Limio's own name."""
        return {"Catalog": self._catalog.holdings(), "Objects": self._objects.holdings()}

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass, and all that is due meanwhile happen, each at its own time."""
        until = self._now + seconds + 60 * (minutes + 60 * (hours + 24 * days))
        while (due := self.agenda.next_before(until)) is not None:
            self._now = max(self._now, due)
            self.agenda.do_next()
        self._now = until

    def later(self, seconds: float, action: str, **arguments: Any) -> None:
        """Do *action*, which an area named on the agenda, once *seconds* have passed on the world's clock."""
        self.agenda.later(seconds, action, **arguments)

    def snapshot(self) -> dict[str, Any]:
        """All that is not as in a new world of these settings, fit for JSON. Tokens and scrolls are left out."""
        return {"clock": self.now(), "sizes": self.sizes()} | {
            keeper.name: keeper.snapshot() for keeper in self._keepers
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as the world was that gave *state*; ValueError if its seed or sizes were others."""
        if state["sizes"] != self.sizes():
            raise ValueError(f"the snapshot is of a world with {state['sizes']}, this one has {self.sizes()}")
        clock = state["clock"]
        if not isinstance(clock, int | float) or not 0 <= clock < _END_OF_TIME:
            raise ValueError("its clock is no time")
        before = self.snapshot()
        try:
            self._put_back(state)
        except Exception as error:  # whatever a part makes of it, half of it shall not stay
            self._put_back(before)
            raise ValueError(f"it cannot be read: {error}") from None

    def _put_back(self, state: Mapping[str, Any]) -> None:
        self._now = float(state["clock"])
        for keeper in self._keepers:
            if keeper.name in state:
                keeper.restore(state[keeper.name])

    def load(self, operation: str, payload: object, **path: str) -> None:
        """Let *operation*, with these path parameters or any, answer *payload*.

        What a list, an object, a journey or a build holds is in the world from then on, and everything acts on
        it; a list is answered exactly as it came until the world changes. Of other operations every answer is
        *payload*.
        """
        if operation not in self._operations:
            raise ValueError(f"no operation is called {operation}")
        self._loading.load(operation, payload, path)

    def add_offers(self, count: int) -> list[str]:
        """Put *count* new offers at the end of the catalog, which is indexed anew; their ids."""
        return self._catalog.add("offers", count)

    def ids(self, name: str) -> Iterator[str]:
        """The ids of all `offers`, `products`, ... or of all objects of a record type, in the order of lists."""
        if name in self._catalog.shelves:
            return self._catalog.ids(name)
        return (record["id"] for record in self.store.every(PATH_TYPES.get(name, name)))

    def read_data(self, directory: str | Path) -> list[str]:
        """Serve the lists that files hold byte for byte instead of generated ones, and say what each file has.

        `offers.ndjson` has an item in each line, `offers.json` is a recorded answer, `{"items": [...], ...}`.
        Raises `ConfigurationError` naming the file and the line.
        """
        from limio_async.api.endpoints import ENDPOINTS, VIEWS  # only such a world needs their names

        own = OwnData(Path(directory), [*ENDPOINTS.values(), *VIEWS], self._handlers)
        self._handlers = {**self._handlers, **own.operations}
        return own.told

    def environ(self, host: str) -> dict[str, str]:
        """What a client of this world finds in its environment; *host* is where it is served."""
        return {
            "LIMIO_HOST": host,
            "LIMIO_API_KEY": self.api_key,
            "LIMIO_CLIENT_ID": self.client_id,
            "LIMIO_CLIENT_SECRET": self.client_secret,
            "LIMIO_SESSION_TOKEN": self.session_token,
        }

    def rebuild_index(self) -> None:
        """Index the catalog anew: `commitId` changes."""
        self._catalog.rebuild_index()

    def _respond(self, endpoint: Endpoint[Any], arguments: Mapping[str, str], request: Request) -> Response:
        try:
            response = self._behave(endpoint, arguments, request)
        except Refused as refused:
            return _refusal(refused)
        if len(response.body) > (limit := self.page_bytes_limit):
            message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
            return reply({"message": message}, 502)
        return response

    def _behave(self, endpoint: Endpoint[Any], arguments: Mapping[str, str], request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._authorize(endpoint, headers.get("authorization"))
        call = Call(
            operation=endpoint.operation,
            path=arguments,
            query=_query(request.target),
            headers=headers,
            body=request.body or b"",
        )
        if (loaded := self._loading.answer(call)) is not None:
            return loaded
        response = self._handlers.get(endpoint.operation, _not_yet)(call)
        if endpoint.method != "GET" and endpoint.operation != "createToken":
            self._loading.note_write()
        return response

    def _authorize(self, endpoint: Endpoint[Any], authorization: str | None) -> None:
        """Refuses whoever does not show one of the credentials that *endpoint* takes."""
        if not endpoint.auth:
            return
        if not authorization:
            raise Refused(401, "Unauthorized")
        scheme, _, token = authorization.rpartition(" ")
        if scheme == "" and "key" in endpoint.auth and _same(token, self.api_key):
            return
        if scheme != "Bearer":
            raise Refused(401, "Unauthorized: invalid credential")
        if "session" in endpoint.auth and _same(token, self.session_token):
            return
        if "bearer" not in endpoint.auth:
            raise Refused(401, "Unauthorized: invalid token")
        self._oauth.check(token)

    def _next_scripted(self, operation: str) -> Scripted:
        script = self._scripts.get(operation)
        return script.popleft() if script else None

    def _log(self, operation: str | None, request: Request, delivery: Delivery) -> Delivery:
        if delivery.way == "never sent":
            return delivery
        self._counts[operation] += 1
        body = None if operation in _SECRET_BODIES or request.body is None else request.body[:_LOGGED_BODY]
        self._received.note(
            Received(
                operation=operation,
                method=request.method,
                target=request.target,
                headers={
                    name: value
                    for name, value in request.headers.items()
                    if name.lower() not in _SECRET_HEADERS
                },
                body=body,
                at=self.now(),
                status=delivery.answer.status,
                fault=delivery.fault,
            )
        )
        return delivery


def _generated_endpoints() -> Mapping[str, Endpoint[Any]]:
    from limio_async.api.endpoints import ENDPOINTS  # a world with endpoints of its own does not need them

    return ENDPOINTS


def _at_the_root(endpoints: Mapping[str, Endpoint[Any]]) -> list[Endpoint[Any]]:
    """Operations that live tenants answer without /api as well."""
    found = [endpoints[name] for name in ("bulkUpdateCatalogItems",) if name in endpoints]
    return [msgspec.structs.replace(one, path=one.path.removeprefix("/api")) for one in found]


def _not_yet(call: Call) -> Response:
    raise Refused(501, f"{call.operation} is not emulated yet")


def _played(
    scripted: Response | Literal["lost", "refused"], request: Request, respond: Callable[[Request], Response]
) -> Delivery:
    match scripted:
        case "refused":
            return Delivery(
                answer=Response(status=0, headers={}, body=b""), way="never sent", fault="script: refused"
            )
        case "lost":
            return Delivery(answer=respond(request), way="lost", fault="script: lost")
        case answer:
            return Delivery(answer=answer, fault=f"script: {answer.status}")


def _refusal(refused: Refused) -> Response:
    return reply({"message": refused.message}, refused.status)


def _query(target: str) -> Mapping[str, str]:
    return dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))


def _same(given: str, expected: str) -> bool:
    return compare_digest(given.encode(errors="surrogateescape"), expected.encode())
