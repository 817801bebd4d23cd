"""What a page "my account" asks for: offers from memory, subscriptions from Limio, cancellations through an outbox.

    LIMIO_HOST=… LIMIO_CLIENT_ID=… LIMIO_CLIENT_SECRET=… python account.py
    limio outbox run --outbox sqlite:///account.db

The second one sends what the first one stores. Callers are programs of the shop, not browsers: whoever asks may see and
cancel any subscription. README.md has the settings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from limio_async import CatalogCache, Limio, models
from limio_async.outbox import Outbox
from limio_async.web.aiohttp import LIMIO, Cached, cleanup_ctx, problems, ready

# --- its settings

log = logging.getLogger("account")
DATABASE = os.environ.get("DATABASE", "sqlite:///account.db")
REFRESH = float(os.environ.get("REFRESH_SECONDS", "60"))
READ = float(os.environ.get("READ_SECONDS", "2"))

# --- its business


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an offer's attributes."""

    price__limio: list[models.Charge | None] | None = None


class Data(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an offer's data."""

    tags: list[str | None] | None = None
    attributes: Attributes | list[Any] | None = None


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an offer."""

    id: str
    path: str
    name: str | None = None
    data: Data | None = None


class Price(msgspec.Struct, frozen=True):
    """What is charged; the amount is a text, which loses no digit."""

    amount: Decimal | None
    currency: str | None


class Shown(msgspec.Struct, frozen=True):
    """An offer, as callers get it."""

    id: str
    path: str
    name: str | None
    prices: list[Price]


# --- around its calls

OFFERS = Cached[CatalogCache[Offer]](
    "offers",
    lambda limio: CatalogCache(limio, limio.offers.list, into=Offer, every=REFRESH, on_change=note),
)
OUTBOX = web.AppKey("outbox", Outbox)

# --- its business

routes = web.RouteTableDef()


@routes.get("/offers")
async def list_offers(request: web.Request) -> web.Response:
    """List the offers that carry a tag, with their prices."""
    if (tag := request.query.get("tag")) is None:
        raise web.HTTPUnprocessableEntity(text="Name a tag, such as ?tag=/tags/uk/default")
    return answer([shown(offer) for offer in OFFERS(request).tagged(tag)])


@routes.get("/offers/{id}")
async def get_offer(request: web.Request) -> web.Response:
    """Return an offer with its prices."""
    if (offer := OFFERS(request).get(request.match_info["id"])) is None:
        raise web.HTTPNotFound(text="There is no such offer")
    return answer(shown(offer))


@routes.get("/subscriptions/{id}")
async def get_subscription(request: web.Request) -> web.Response:
    """Say how a subscription stands just now."""
    found = await request.app[LIMIO].subscriptions.get(request.match_info["id"], timeout=READ)
    ends = found.data.term_end_at if found.data else None
    return answer({"id": found.id, "reference": found.reference, "status": found.status, "ends": ends})


@routes.post("/subscriptions/{id}/cancel")
async def cancel(request: web.Request) -> web.Response:
    """Take a cancellation, also while Limio is away. It is ordered once, however often it is asked for."""
    subscription = request.match_info["id"]
    order = {"order_type": "cancel_subscription", "subscriptionId": subscription, "process_immediately": True}
    outcome = await request.app[OUTBOX].intend(f"cancel-{subscription}", order)
    return answer({"state": outcome.state}, status=202)


@routes.get("/subscriptions/{id}/cancel")
async def get_cancellation(request: web.Request) -> web.Response:
    """Say what came of a cancellation."""
    outcome = await request.app[OUTBOX].outcome(f"cancel-{request.match_info['id']}")
    return answer({"state": outcome.state, "orders": outcome.order_ids})


def note(offers: CatalogCache[Offer]) -> None:
    """Log that there is another catalog."""
    log.info("%d offers of commit %s", len(offers), offers.commit_id)


def shown(offer: Offer) -> Shown:
    """Return what callers get of *offer*."""
    attributes = offer.data.attributes if offer.data else None
    charges = attributes.price__limio if isinstance(attributes, Attributes) else None
    prices = [
        Price(amount=one.amount, currency=one.amount_currency) for one in charges or () if one is not None
    ]
    return Shown(id=offer.id, path=offer.path, name=offer.name, prices=prices)


# --- around its calls


def make_app(make: Callable[[], Limio] = Limio.from_env, database: str = DATABASE) -> web.Application:
    """Return the service. Its client is made when it starts."""
    app = web.Application(middlewares=[refusals, problems()])
    app.add_routes([*routes, web.get("/ready", ready), web.get("/health", health)])

    async def outbox(app: web.Application) -> AsyncIterator[None]:
        async with Outbox(database) as app[OUTBOX]:
            yield

    app.cleanup_ctx.extend([cleanup_ctx(make, caches=[OFFERS]), outbox])
    return app


async def health(_: web.Request) -> web.Response:
    """Answer: whoever hears nothing restarts the process."""
    return web.Response()


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what aiohttp or a route refuses in the form that Limio's errors have."""
    try:
        return await handler(request)
    except web.HTTPClientError as error:
        said = {"type": "about:blank", "title": error.reason, "status": error.status, "detail": error.text}
        error.body, error.headers["Content-Type"] = msgspec.json.encode(said), "application/problem+json"
        raise  # with its headers, such as Allow


def answer(value: object, status: int = 200) -> web.Response:
    """Return *value* as JSON."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(name)s: %(message)s")
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))
    web.run_app(make_app(), host=host, port=port, reuse_port=os.environ.get("REUSE_PORT", "0") == "1")
