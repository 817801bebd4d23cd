"""What becomes of items, orders, secrets and deadlines when things go wrong? `python -m benchmarks.faults`

Prints tables over thousands of random walks and submissions. Ends with an error where a promise is broken.
`--quick` runs a tenth of it.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from limio_async import ApiKey, Auth, BearerToken, ClientCredentials, Limio, errors, models
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World, reply
from tests.virtual_time import VirtualTime

CANARY = "canary-7f3a91c2-secret"
PACKAGES = ("aiohttp", "msgspec", "anyio", "backoff")
OFFERS, SUBSCRIPTIONS = 60, 45
Faulty = Callable[[World], Any]

FAULTS: dict[str, Faulty] = {
    "none": lambda world: None,
    "connection refused": lambda world: "refused",
    "answer lost": lambda world: "lost",
    "401": lambda world: reply({"message": "expired"}, 401),
    "429, Retry-After: 2": lambda world: reply({}, 429, headers={"retry-after": "2"}),
    "502, HTML": lambda world: Response(status=502, headers={}, body=b"<html>bad gateway</html>"),
    "503": lambda world: reply({}, 503),
    "404, scroll expired": lambda world: reply({"message": "No search context found"}, 404),
    "truncated JSON": lambda world: Response(status=200, headers={}, body=b'{"items": [{"id": "1"'),
    "200, HTML": lambda world: Response(status=200, headers={}, body=b"<!doctype html>"),
}


class Walked(msgspec.Struct):
    """What one walk came to."""

    lost: int
    doubled: int
    requests: int
    outcome: str


def in_virtual_time(work: Awaitable[Any]) -> Any:
    """Run *work* on a loop whose waits take no time."""

    async def run() -> Any:
        loop: Any = asyncio.get_running_loop()
        clock = VirtualTime(loop)
        loop.time, loop._selector.select = clock.time, clock.select
        return await work

    return asyncio.run(run())


def client(world: World, **options: Any) -> Limio:
    auth: list[Auth] = [ApiKey(world.api_key), ClientCredentials(world.client_id, world.client_secret)]
    return Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world), **options)


async def walked(resource: str, script: Sequence[Faulty], chance: random.Random, truth: list[str]) -> Walked:
    """Walk a list with *script* going wrong request by request; a caller that goes on after each error."""
    world = World(offers=OFFERS, subscriptions=SUBSCRIPTIONS)
    operation = "listOffers" if resource == "offers" else "listObjects"
    restart: Any = chance.choice(["raise", "restart"])
    seen: list[str] = []
    outcome = "gave up"
    async with client(world) as limio:
        listing = getattr(limio, resource).list(
            page_size=chance.randint(3, 20), read_ahead=chance.randint(0, 1), on_ambiguous=restart
        )
        world.script(operation, *(fault(world) for fault in script))
        for _ in range(12):
            try:
                async for item in listing:
                    seen.append(item.id)  # noqa: PERF401  # what was handed out before an error counts
            except errors.ListingError as error:
                outcome = type(error).__name__
                break
            except errors.LimioError as error:
                outcome = type(error).__name__
                continue
            if listing.report.ended:
                outcome = "complete"
                break
    missing = set(truth) - set(seen) if outcome == "complete" else set()
    return Walked(
        lost=len(missing),
        doubled=len(seen) - len(set(seen)),
        requests=world.count(operation),
        outcome=outcome,
    )


async def truth_of(resource: str) -> list[str]:
    world = World(offers=OFFERS, subscriptions=SUBSCRIPTIONS)
    async with client(world) as limio:
        return [item.id async for item in getattr(limio, resource).list()]


async def fault_by_fault() -> list[str]:
    rows = [
        "| fault on page 2 | list | expected | lost | doubled | requests | outcome |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for resource in ("offers", "subscriptions"):
        truth = await truth_of(resource)
        for name, fault in FAULTS.items():
            got = await walked(resource, [FAULTS["none"], fault], random.Random(4), truth)
            rows.append(
                f"| {name} | {resource} | {len(truth)} | {got.lost} | {got.doubled} | {got.requests} | {got.outcome} |"
            )
            refuse(got.lost or got.doubled, f"{name} on {resource}")
    return rows


async def random_walks(many: int) -> list[str]:
    lost = doubled = requests = 0
    outcomes: Counter[str] = Counter()
    truths = {resource: await truth_of(resource) for resource in ("offers", "subscriptions")}
    for seed in range(many):
        chance = random.Random(seed)
        resource = chance.choice(list(truths))
        names = [name for name in FAULTS if name != "none"]
        script = [FAULTS[chance.choice(names) if chance.random() < 0.25 else "none"] for _ in range(12)]
        got = await walked(resource, script, chance, truths[resource])
        lost, doubled, requests = lost + got.lost, doubled + got.doubled, requests + got.requests
        outcomes[got.outcome] += 1
    refuse(lost or doubled, "random walks")
    shown = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    return [
        f"{many:,} random walks, a fault on a quarter of the requests ({requests:,} requests): "
        f"**{lost} items lost in silence, {doubled} doubled**; {shown}."
    ]


class Orders:
    """A transport whose server remembers orders and then fails in many ways."""

    origin = "https://limio.test"

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.taken: Counter[str] = Counter()
        self.requests = 0

    async def send(self, request: Request, *, timeout: float) -> Response:
        self.requests += 1
        await asyncio.sleep(0)
        fault = self.chance.choice(["", "refused", "lost", "hangs", "401", "429", "500", "502", "503", "504"])
        if fault == "refused":
            raise errors.NeverSent("refused")
        if fault in {"401", "429"}:
            return reply({"message": "no"}, int(fault))
        self.taken[msgspec.json.decode(request.body or b"")["external_id"]] += 1
        if fault == "lost":
            raise errors.AnswerLost("hung up")
        if fault == "hangs":
            await asyncio.sleep(3600)
        return reply({"id": "order-1"}) if not fault else reply({"message": "upstream"}, int(fault))

    async def aclose(self) -> None:
        """Nothing to let go of."""


async def ambiguous_orders(many: int) -> list[str]:
    server = Orders(random.Random(1))
    outcomes: Counter[str] = Counter()

    async def current() -> str:
        return f"token-{server.chance.random()}"

    async with Limio("limio.test", auth=BearerToken(current), transport=server) as limio:
        for number in range(many):
            order = models.OtherOrder(order_type="renew", external_id=f"e-{number}")
            try:
                await limio.orders.submit(order)
                outcomes["accepted"] += 1
            except errors.LimioError as error:
                outcomes[type(error).__name__] += 1
    twice = sum(count - 1 for count in server.taken.values())
    refuse(twice, "orders")
    shown = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    return [
        f"{many:,} submissions to a failing server ({server.requests:,} requests): **{twice} orders twice**; {shown}."
    ]


async def ratio(share: float, calls: int) -> tuple[float, float]:
    chance = random.Random(7)
    sent = done = 0

    class Flaky(Orders):
        async def send(self, request: Request, *, timeout: float) -> Response:
            nonlocal sent
            sent += 1
            return reply({"id": "sub-1"}, 503 if chance.random() < share else 200)

    async with Limio("limio.test", auth=BearerToken("t"), transport=Flaky(chance)) as limio:
        for _ in range(calls):
            try:
                await limio.subscriptions.get("sub-1")
                done += 1
            except errors.ServerError:
                pass
    return sent / calls, done / calls


async def quota(calls: int) -> list[str]:
    rows = ["| answers that are 503 | requests per call | calls that succeed |", "|--:|--:|--:|"]
    for share in (0.0, 0.05, 0.2, 1.0):
        requests, success = await ratio(share, calls)
        rows.append(f"| {share:.0%} | {requests:.3f} | {success:.2%} |")
        refuse(share == 1 and requests > 1.05, "requests per call in an outage")
        refuse(share == 0.2 and success < 0.99, "success at 20 % faults")
    return rows


async def tokens(rounds: int) -> list[str]:
    world = World(offers=1, subscriptions=SUBSCRIPTIONS)
    ids = await truth_of("subscriptions")
    async with client(world) as limio:
        for _ in range(rounds):
            world.advance(world.token_lifetime + 1)
            await asyncio.gather(*(limio.subscriptions.get(ids[n % len(ids)]) for n in range(50)))
    per_expiry = world.tokens_issued / rounds
    refuse(per_expiry > 1, "token requests")
    return [f"{per_expiry:.2f} token requests per expiry, 50 calls at once."]


async def deadlines(calls: int) -> list[str]:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/api/{path:.*}", hang)
    late: list[float] = []

    async def one(limio: Limio) -> None:
        begun = time.perf_counter()
        try:
            await limio.subscriptions.get("sub-1", timeout=0.1)
        except errors.DeadlineExceeded:
            late.append(time.perf_counter() - begun - 0.1)

    async with TestServer(app, host="127.0.0.1") as server:
        limio = Limio(str(server.make_url("/")), auth=BearerToken("t"))
        for _ in range(calls // 10):
            await asyncio.gather(*(one(limio) for _ in range(10)))
        await limio.aclose()
    refuse(len(late) != calls // 10 * 10, "deadlines")
    late.sort()
    p50, p99 = (late[int(len(late) * share)] * 1000 for share in (0.5, 0.99))
    return [
        f"{len(late):,} deadlines of 100 ms against a server that hangs: p50 {p50:.1f} ms late, p99 {p99:.1f} ms."
    ]


async def canary() -> list[str]:
    """Let a server redirect, refuse and hang up, and look for the secret everywhere but where it belongs."""
    seen = {"foreign origin": 0, "log": 0, "errors": 0, "repr": 0, "explanations": 0}
    stolen: list[str] = []

    async def evil(request: web.Request) -> web.Response:
        stolen.append(str(request.headers) + (await request.read()).decode())
        return web.json_response({"access_token": "x"})

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=random.Random(len(stolen)).choice([301, 302, 307, 308]), headers=there)

    async def refuse_it(request: web.Request) -> web.Response:
        return web.json_response({"message": "no"}, status=401)

    async def hang_up(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    log = logging.getLogger("limio_async")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    foreign = web.Application()
    foreign.router.add_route("*", "/{path:.*}", evil)
    async with TestServer(foreign, host="127.0.0.1") as elsewhere:
        there = {"location": str(elsewhere.make_url("/steal"))}
        for behave in (redirect, refuse_it, hang_up):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", behave)
            async with TestServer(app, host="127.0.0.1") as server:
                for auth in (BearerToken(CANARY), ClientCredentials("id", CANARY), ApiKey(CANARY)):
                    async with Limio(str(server.make_url("/")), auth=auth, attempts=1) as limio:
                        calls: list[Awaitable[Any]] = [
                            limio.subscriptions.get("sub-1"),
                            limio.offers.list().first(),
                            limio.orders.submit({"order_type": "renew"}),
                            limio.checkout.get_subscription(cookie=CANARY),
                        ]
                        for call in calls:
                            try:
                                await call
                            except errors.LimioError as error:
                                seen["errors"] += everything_about(error).count(CANARY)
                        seen["repr"] += (repr(limio) + repr(vars(limio)) + repr(auth)).count(CANARY)
                        said = limio.explain(limio.checkout.get_subscription, cookie=CANARY)
                        seen["explanations"] += (str(said) + repr(said)).count(CANARY)
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)
    seen["foreign origin"] = "".join(stolen).count(CANARY)
    seen["log"] = "".join(lines).count(CANARY)
    refuse(sum(seen.values()), f"the canary was seen: {seen}")
    return ["A canary secret was seen: " + ", ".join(f"{name} {count}" for name, count in seen.items()) + "."]


def everything_about(error: BaseException | None) -> str:
    shown = ""
    while error is not None:
        shown += repr(error) + str(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return shown


def refuse(broken: object, what: str) -> None:
    if broken:
        sys.exit(f"a promise is broken: {what} ({broken})")


def main() -> None:
    many = 1_000 if "--quick" in sys.argv else 10_000
    logging.getLogger("limio_async").addHandler(logging.NullHandler())
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    for rows in (
        in_virtual_time(fault_by_fault()),
        in_virtual_time(random_walks(many)),
        in_virtual_time(ambiguous_orders(many)),
        in_virtual_time(quota(10_000)),
        in_virtual_time(tokens(many // 500)),
        asyncio.run(deadlines(max(100, many // 20))),
        asyncio.run(canary()),
    ):
        print()
        print(*rows, sep="\n")


if __name__ == "__main__":
    main()
