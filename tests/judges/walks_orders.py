"""Submits orders through the same faults, and judges what the client says became of each.

Whether an order happened follows from what the server received whole and what it answered to it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from urllib.parse import parse_qs

from limio_async import Limio, errors
from tests.judges.walks_clock import WALK
from tests.judges.walks_facts import Finding
from tests.judges.walks_refuse import beside, refusal
from tests.judges.walks_run import HANG, TIMEOUT, auth_of, leftovers
from tests.judges.walks_tenant import spoil_token
from tests.judges.walks_wire import LOST, ROTTEN, Reply, Request, Wire

__all__ = ["ORDERS", "run_orders"]

ORDERS = 3
"""So many orders one client submits at most."""
_STATUSES = (400, 401, 403, 404, 408, 410, 413, 429, 500, 502, 503, 504, 302)
_UNCLEAR = (302, 408)
"""Neither yes nor no: an order that was answered so may be called either."""
_WIRE = tuple(fault for fault in LOST if not fault.startswith("slow"))


@dataclass
class Receipt:
    """What arrived of one order."""

    order: str
    whole: bool
    reply: Reply | None = None
    note: str = ""

    def __str__(self) -> str:
        said = (
            "nothing" if self.reply is None else f"{self.reply.status} {self.reply.fault} {self.reply.whole}"
        )
        return f"order {self.order or '?'} {'whole' if self.whole else 'in part'} -> {said} {self.note}"


@dataclass
class OrderScenario:
    """Some orders, wholly determined by the seed."""

    seed: int
    count: int
    auth: str
    rate: float
    token_rate: float
    token_life: int
    drops: float
    """How often a new connection is reset at once."""
    slow: bool
    away: bool
    """Whether nobody listens."""
    refuses: float = 0.0
    """How often an order that would go well is answered with a 200 that says no."""


def draw_orders(seed: int) -> OrderScenario:
    """The orders of this seed."""
    r = Random(f"orders/{seed}")
    apart = Random(f"orders/{seed}/refusals")  # so that a seed of before stays what it was
    return OrderScenario(
        seed=seed,
        count=r.randint(1, ORDERS),
        auth=r.choice(("static", "renewed", "renewed")),
        rate=r.choice((0, 0.3, 0.6, 0.9)),
        token_rate=r.choice((0, 0.3, 0.8)),
        token_life=r.choice((1, 2, 1000)),
        drops=r.choice((0, 0, 0.2)),
        slow=r.random() < 0.05,
        away=r.random() < 0.03,
        refuses=apart.choice((0, 0, 0.2, 0.5)),
    )


class OrderTenant:
    """Takes orders, and logs what arrives of each."""

    def __init__(self, scenario: OrderScenario) -> None:
        self.scenario = scenario
        self.receipts: list[Receipt] = []
        self.tokens: list[Reply] = []
        self.now = ""
        """The order that is submitted just now."""
        self.opened: list[tuple[str, int]] = []
        """The order that was submitted when a connection was accepted, and its number."""
        self.used: set[int] = set()
        """The connections on which something arrived."""
        self.benign = False
        self._life: dict[str, int] = {}
        self._random = Random(f"orders/{scenario.seed}/server")

    def accepts(self, connection: int) -> bool:
        """Serve a new connection, or reset it."""
        self.opened.append((self.now, connection))
        return self.benign or self._random.random() >= self.scenario.drops

    def reads_body(self, request: Request) -> bool:
        """Read a body, or reset the connection after the head."""
        self.used.add(request.connection)
        if request.path != "/api/order" or self.benign or self._random.random() >= self.scenario.rate / 8:
            return True
        self.receipts.append(Receipt(self.now, whole=False))
        return False

    def answer(self, request: Request) -> Reply:
        """Answer an order, a token, or a simple call."""
        r = self._random
        if request.path == "/oauth2/token":
            return self._token(request, r)
        if request.path != "/api/order":
            return Reply(body=b'{"id":"x","name":"x"}')
        order = str(json.loads(request.body).get("external_id"))
        reply = Reply(body=json.dumps({"id": f"order-{order}", "status": "active"}).encode())
        receipt = Receipt(order, whole=True, reply=reply)
        self.receipts.append(receipt)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.scenario.auth == "renewed":
            self._life[token] = self._life.get(token, 0) - 1
        if self._life.get(token, 0) < 0:
            reply.status, reply.body, receipt.note = 401, b'{"message":"expired"}', "token expired"
        elif r.random() < self.scenario.rate:
            self._spoil(receipt, reply, r)
        else:
            self._refuse(receipt, reply)
        return reply

    def _refuse(self, receipt: Receipt, reply: Reply) -> None:
        r = Random(f"orders/{self.scenario.seed}/refusals/{len(self.receipts)}")
        if r.random() >= self.scenario.refuses:
            return
        if r.random() < 0.3:
            reply.body = beside(reply.body, r)  # it has its id: it was taken
            return
        reply.status, reply.body = refusal(r)
        receipt.note = "says no"

    def _spoil(self, receipt: Receipt, reply: Reply, r: Random) -> None:
        match r.choice(("status", "wire", "body", "null")):
            case "status":
                reply.status = r.choice(_STATUSES)
                reply.body = r.choice((b'{"message":"no"}', b"<html>down</html>", b""))
                reply.headers = {"Retry-After": "0"} if r.random() < 0.3 else {}
                if reply.status == 302:
                    reply.headers = {"Location": "/elsewhere"}
            case "wire":
                reply.fault = r.choice(("slow head", "slow body")) if self.scenario.slow else r.choice(_WIRE)
            case "body":
                reply.fault = r.choice(ROTTEN)
            case _:
                reply.body, receipt.note = r.choice((b"null", b"[]", b'"yes"', b"", b"7")), "no order"

    def _token(self, request: Request, r: Random) -> Reply:
        token = f"token-{len(self._life)}"
        self._life[token] = self.scenario.token_life
        body = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        reply = Reply(body=json.dumps(body).encode())
        if parse_qs(request.body.decode("latin-1")).get("client_secret") != ["secret"]:
            reply.status = 401
        elif not self.benign and r.random() < self.scenario.token_rate:
            spoil_token(reply, r)
        self.tokens.append(reply)
        return reply


def judge_order(tenant: OrderTenant, order: str, error: BaseException | None) -> Iterator[Finding]:
    """What is wrong with what the client says of this order."""
    seed = tenant.scenario.seed
    receipts = [one for one in tenant.receipts if one.order == order]
    taken = [one for one in receipts if one.whole and not _is_refused(one)]
    if len(taken) > 1:
        yield Finding("orders twice", seed, f"received whole {len(taken)} times", case="order")
    said_yes = any(_is_yes(one) for one in taken)
    unclear = any(not _is_yes(one) and not _is_no(one) for one in taken)
    either = any(one.reply is not None and one.reply.status in _UNCLEAR for one in taken)
    idle = any(name == order and number not in tenant.used for name, number in tenant.opened)
    wrong = ""
    match error:
        case None:
            wrong = "" if said_yes else "it is called done, but nobody said so"
        case errors.UnknownOutcome():
            if not receipts and not idle:
                wrong = "it never left, and its outcome is called unknown"
            elif said_yes and not tenant.scenario.slow:
                wrong = "the server said yes, and its outcome is called unknown"
            elif not unclear and not idle and not any(not one.whole for one in receipts) and not either:
                wrong = "the server said no, and its outcome is called unknown"
        case errors.LimioError():
            if said_yes:
                wrong = "it happened, and is called failed"
            elif unclear and not either:
                wrong = "it may have happened, and is called failed"
        case _:
            yield Finding("foreign", seed, f"{type(error).__name__}: {error}", case="order")
    if wrong:
        yield Finding("misjudged", seed, f"order {order}: {wrong}: {error!r}", case="order")


def _is_refused(receipt: Receipt) -> bool:
    """Whether it was answered in a way after which it may be sent again: with a 401."""
    return receipt.reply is not None and receipt.reply.status == 401 and bool(receipt.reply.whole)


def _is_yes(receipt: Receipt) -> bool:
    reply = receipt.reply
    return reply is not None and reply.status == 200 and bool(reply.whole) and not receipt.note


def _is_no(receipt: Receipt) -> bool:
    reply = receipt.reply
    return reply is not None and 400 <= reply.status < 500 and bool(reply.whole)


async def run_orders(seed: int) -> tuple[list[Finding], OrderTenant, list[str]]:
    """What is wrong with the orders of this seed."""
    WALK.set(seed)
    scenario = draw_orders(seed)
    tenant = OrderTenant(scenario)
    wire = Wire(tenant)
    await wire.start(away=scenario.away)
    limio = Limio(
        wire.url, auth=auth_of(scenario.auth), timeout=4.0 if scenario.slow else TIMEOUT, max_concurrency=2
    )
    findings: list[Finding] = []
    said: list[str] = []
    try:
        for n in range(scenario.count):
            tenant.now = order = f"{seed}-{n}"
            error: BaseException | None = None
            try:
                async with asyncio.timeout(HANG):
                    await limio.orders.submit({"order_type": "new", "external_id": order})
            except TimeoutError:
                findings.append(Finding("hangs", seed, f"order {order} does not end", case="order"))
                break
            except Exception as raised:  # whatever it is, it is judged
                error = raised
            said.append(f"order {order}: {error!r}" if error else f"order {order}: done")
            findings += judge_order(tenant, order, error)
        tenant.benign, tenant.now = True, ""
        if findings or scenario.away:
            await limio.aclose()
        else:
            findings += await leftovers(seed, limio, wire, limio.aclose)
    finally:
        await wire.stop()
    return findings, tenant, said
