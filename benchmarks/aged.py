"""Does a call cost the emulator more the more came before? `python -m benchmarks.aged`, or with the rest of emulator.py

Two worlds, each in a process of its own: a young one, which answered a thousand requests, and an old one. They take
turns at the same calls, so that a busy machine slows both. What orders make is kept, so their memory is told by the order.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import msgspec

from limio_async.core.wire import Request
from limio_async.emulator import World

__all__ = ["CPU", "MEMORY", "Guest", "main"]

WALKS = 20_000
ORDERS = 20_000
REQUESTS = 1_000_000
ROUNDS = 40
BATCH = 50
CPU = 1.1
MEMORY = 1.2


class Guest:
    """Asks a world directly, without a client."""

    def __init__(self, world: World) -> None:
        self.world = world
        form = {
            "grant_type": "client_credentials",
            "client_id": world.client_id,
            "client_secret": world.client_secret,
        }
        self._token = ""
        self._token = (
            f"Bearer {self.ask('POST', '/oauth2/token', body=urlencode(form).encode())['access_token']}"
        )
        published = self.ask("GET", "/api/offers/v2", {"offersSource": "published", "opt.pageSize": 1})
        offer = published["items"][0]
        self._new: dict[str, Any] = {
            "order_type": "new",
            "orderItems": [{"offer": {"id": offer["id"], "version": offer["version"]}, "quantity": 1}],
            "customerDetails": {"firstName": "First", "lastName": "Last", "email": "first.last@example.com"},
            "payment": {"type": "zuora"},
            "country": "GB",
        }
        self._subscription = next(world.ids("subscriptions"))
        self.calls: dict[str, Callable[[], object]] = {
            "a small call": lambda: self.ask("GET", "/api/journeys"),
            "an object": lambda: self.ask("GET", f"/api/objects/limio/subscriptions/{self._subscription}"),
            "a page without opt.all": lambda: self.ask("GET", "/api/offers", {"opt.pageSize": 5}),
            "the first page of a walk": self.walk,
            "a page of orders": lambda: self.ask("GET", "/api/objects/limio/orders", {"limit": 10}),
            "an order that is queued": self.queue,
            "an order that is processed": self.process,
            "an order for the same subscription": self.change,
        }

    def ask(
        self, method: str, path: str, query: dict[str, object] | None = None, *, body: object = None
    ) -> Any:
        answer = self.world.answer(
            Request(
                operation="",
                method=method,
                target=f"{path}?{urlencode(query)}" if query else path,
                headers={"authorization": self._token},
                body=body if body is None or isinstance(body, bytes) else msgspec.json.encode(body),
            )
        )
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return msgspec.json.decode(answer.body)

    def walk(self) -> None:
        """Begin a walk and leave it."""
        self.ask("GET", "/api/offers", {"opt.pageSize": 5, "opt.all": "true"})

    def queue(self) -> None:
        self.ask("POST", "/api/order", body=self._new)

    def process(self) -> None:
        self.ask("POST", "/api/order", body={**self._new, "process_immediately": True})

    def change(self) -> None:
        body = {
            "order_type": "change_payment",
            "subscriptionId": self._subscription,
            "payment": {"type": "zuora"},
            "process_immediately": True,
        }
        self.ask("POST", "/api/order", body=body)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 2**20


def child() -> None:
    """Do what the parent asks for, line by line: `age`, `orders` or a call; answer with figures."""
    guest = Guest(World())
    names = list(guest.calls)
    for _ in range(1_000 // len(names)):
        for call in guest.calls.values():
            call()
    for line in sys.stdin:
        match line.strip():
            case "memory":
                pass
            case "age":
                for _ in range(WALKS):
                    guest.walk()
                for _ in range(REQUESTS - WALKS - ORDERS):
                    guest.calls["a small call"]()
            case "orders":
                for number in range(ORDERS):
                    (guest.process, guest.queue, guest.change)[number % 3]()
            case name:
                begun = time.process_time()
                for _ in range(BATCH):
                    guest.calls[name]()
                print(time.process_time() - begun, flush=True)
                continue
        print(resident_mib(), flush=True)


class Worker:
    """A child and what it answers."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.aged", "child"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what: str) -> float:
        if self._child.stdin is None or self._child.stdout is None:
            raise RuntimeError("no pipes")
        self._child.stdin.write(f"{what}\n")
        self._child.stdin.flush()
        return float(self._child.stdout.readline())

    def end(self) -> None:
        self._child.kill()
        self._child.wait()


def main() -> bool:
    """Print the tables; whether all is within the limits."""
    young, old = Worker(), Worker()
    try:
        first = old.do("memory")
        aged = old.do("age")
        full = old.do("orders")
        print(f"\nafter {WALKS:,} walks that were left, {ORDERS:,} orders and {REQUESTS:,} requests\n")
        print("| call | µs of CPU after 1,000 requests | now | ratio |")
        print("|---|---:|---:|---:|")
        names = list(Guest(World()).calls)
        well = True
        for name in names:
            pairs = [(young.do(name), old.do(name)) for _ in range(ROUNDS)]
            before, now = (median(one) / BATCH * 1e6 for one in zip(*pairs, strict=True))
            ratio = median(there / here for here, there in pairs)
            well &= ratio <= CPU
            print(f"| {name} | {before:.0f} | {now:.0f} | {ratio:.2f} |")
        well &= aged <= MEMORY * first
        print(
            f"\nmemory: {first:.0f} MiB after 1,000 requests, {aged:.0f} after all but the orders, {aged / first:.2f} x;"
        )
        print(f"what {ORDERS:,} orders made is kept: {(full - aged) * 1024 / ORDERS:.1f} KiB an order")
    finally:
        young.end()
        old.end()
    return well


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        child()
    elif not main():
        sys.exit(f"more than {CPU} x the CPU or {MEMORY} x the memory")
