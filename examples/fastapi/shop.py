"""A shop's API: offers from memory, subscriptions and orders from Limio.

    LIMIO_HOST=… LIMIO_CLIENT_ID=… LIMIO_CLIENT_SECRET=… uvicorn --factory shop:make_app --workers 2

Its callers are programs of the shop, not browsers: whoever asks may see any subscription. README.md has the settings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as Refused
from starlette.requests import Request

from limio_async import CatalogCache, Limio, models
from limio_async.web.starlette import Cached, answer_problems, client, lifespan, ready

# --- its settings

log = logging.getLogger("shop")
REFRESH = float(os.environ.get("REFRESH_SECONDS", "60"))
READ = float(os.environ.get("READ_SECONDS", "2"))
ORDER = float(os.environ.get("ORDER_SECONDS", "10"))

# --- around its calls

OFFERS = Cached("offers", lambda limio: CatalogCache(limio, limio.offers.list, every=REFRESH, on_change=note))
Client = Annotated[Limio, Depends(client)]
Offers = Annotated[CatalogCache[models.Offer], Depends(OFFERS)]

# --- its business

shop = APIRouter(tags=["Shop"])
EXAMPLE = {
    "orderItems": [{"offer": {"id": "ID", "version": "VERSION"}}],
    "customerDetails": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    "country": "GB",
}
Order = Annotated[models.CreateSubscriptionOrder, Body(examples=[EXAMPLE])]


class Price(BaseModel):
    """One charge of an offer."""

    label: str | None
    amount: Decimal | None = Field(description="null where the catalog does not say it.", examples=["9.99"])
    currency: str | None = Field(examples=["GBP"])


class Listed(BaseModel):
    """An offer, as a list shows it."""

    id: str | None
    path: str | None
    name: str | None
    version: str | None = Field(description="Orders name it along with the id.")
    prices: list[Price]


class Standing(BaseModel):
    """How a subscription stands."""

    id: str
    reference: str | None
    status: str | None = Field(description="initial, active, pending, cancelled or expired.")
    offer: str | None
    ends: datetime | None = Field(description="When the current term ends.")


class Placed(BaseModel):
    """An order that Limio has."""

    id: str | None
    reference: str | None
    status: str | None


@shop.get("/offers")
async def list_offers(
    offers: Offers, tag: Annotated[str, Query(description="Such as /tags/uk/default")]
) -> list[Listed]:
    """List the offers that carry a tag, with their prices."""
    return [one for offer in offers.tagged(tag) if (one := listed(offer))]


@shop.get("/offers/{id}")
async def get_offer(offers: Offers, id: str) -> models.Offer:
    """Return an offer, with all that Limio says of it."""
    if (offer := offers.get(id)) is None:
        raise HTTPException(404, "There is no such offer")
    return offer


@shop.get("/subscriptions/{id}")
async def get_subscription(limio: Client, id: str) -> Standing:
    """Tell how a subscription stands just now."""
    found = await limio.subscriptions.get(id, timeout=READ)
    data = found.data or models.SubscriptionData()
    return Standing(
        id=found.id,
        reference=found.reference,
        status=found.status,
        offer=data.offer.name if data.offer else None,
        ends=data.term_end_at,
    )


@shop.post("/orders/preview")
async def preview_order(limio: Client, order: Order) -> models.OrderPreviewResponse:
    """Tell what an order would cost. Nothing is ordered."""
    return await limio.orders.preview(order, timeout=READ)


@shop.post("/orders", status_code=201)
async def place_order(limio: Client, order: Order) -> Placed:
    """Place an order: once, or not at all.

    After `unknown-outcome` it may have been placed. Look for it before you send it again.
    """
    made = await limio.finish(limio.orders.submit, order, timeout=ORDER, on_outcome=unseen)
    return Placed(id=made.id, reference=made.order_reference, status=made.status)


def listed(offer: models.Offer) -> Listed | None:
    """Return what a list shows of *offer*; None where its price cannot be read."""
    try:
        charges = offer.charges()
    except ValueError as error:
        log.warning("%s is not shown: %s", offer.path, error)
        return None
    prices = [Price(label=one.label, amount=one.amount, currency=one.amount_currency) for one in charges]
    return Listed(id=offer.id, path=offer.path, name=offer.name, version=offer.version, prices=prices)


def note(offers: CatalogCache[models.Offer]) -> None:
    """Log that there is another catalog."""
    log.info("%d offers of commit %s", len(offers), offers.commit_id)


def unseen(outcome: models.OrderResponse | Exception) -> None:
    """Log what came of an order whose caller was gone by then."""
    made = outcome.id if isinstance(outcome, models.OrderResponse) else outcome
    log.warning("nobody waited for this order: %s", made)


# --- around its calls


class Problem(BaseModel):
    """Why there is no other answer: https://www.rfc-editor.org/rfc/rfc9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    operation: str | None = Field(None, description="The call of Limio that failed.")
    retryable: bool = Field(False, description="Whether the same request may be sent again.")


def make_app(make_client: Callable[[], Limio] = Limio.from_env) -> FastAPI:
    """Return the service; its client is made when it starts."""
    logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(name)s: %(message)s")
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    app = FastAPI(title="Shop", lifespan=lifespan(make_client, caches=[OFFERS]))
    app.include_router(shop, responses={"default": {"description": "A problem", "content": content}})
    app.add_route("/ready", ready)
    app.add_route("/health", lambda _: Response())
    answer_problems(app)
    app.add_exception_handler(Refused, refuse)
    app.add_exception_handler(RequestValidationError, refuse)
    return app


async def refuse(_: Request, error: Exception) -> JSONResponse:
    """Answer what this service itself refuses in the form that Limio's errors have. No value is in it."""
    status = error.status_code if isinstance(error, Refused) else 422
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    detail = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in faults) or getattr(
        error, "detail", None
    )
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(said, status, getattr(error, "headers", None), "application/problem+json")
