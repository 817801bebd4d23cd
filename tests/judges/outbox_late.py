"""Answers that come late: when others have taken over and decided, or hours later by the tenant's clock."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tests.judges.outbox_server import Json, Tenant

if TYPE_CHECKING:
    from tests.judges.outbox_history import History

__all__ = ["Gate", "Gated", "answers_late", "hours_pass"]

HOURS, OTHERS, LOST = 3 * 3600.0, 400, 34
FIRST, SECOND = "key-1", "key-3"  # they name no subscription


class Gate(NamedTuple):
    """What becomes of an order when the judge says so: *made* before that, or after."""

    fate: str
    made: bool
    opens: asyncio.Event


class Gated(Tenant):
    """A tenant that keeps some orders waiting."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self._gates: dict[str, list[Gate]] = {}
        self._waits: dict[str, Gate] = {}
        self.kept: Counter[str] = Counter()
        """Orders that came to a gate."""
        self.bare: set[str] = set()
        """Keys whose orders lists show without `data`."""

    def gate(self, key: str, fate: str, *, made: bool = False) -> asyncio.Event:
        """Keep the next order of *key* until the event is set."""
        gate = Gate(fate, made, asyncio.Event())
        self._gates.setdefault(key, []).append(gate)
        return gate.opens

    async def keeps(self, *keys: str) -> None:
        """Wait until one more order of each was kept."""
        goals = {key: self.kept[key] + 1 for key in keys}
        async with asyncio.timeout(60.0):
            while any(self.kept[key] < goal for key, goal in goals.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def passes(self, seconds: float, *, orders: int) -> None:
        """Let time pass there, in which others order."""
        self.manner = replace(self.manner, skew=self.manner.skew + seconds)
        for number in range(orders):
            self._store(self._stranger(), created=self.now() - seconds * number / orders, lag=0.0)

    def _store(self, body: Json, *, created: float, lag: float, bare: bool | None = None) -> Json:
        bare = True if body.get("external_id") in self.bare else bare
        return super()._store(body, created=created, lag=lag, bare=bare)

    def _fate(self, key: str) -> str:
        if gates := self._gates.get(key):
            self._waits[key] = gates.pop(0)
            return self._waits[key].fate
        return super()._fate(key)

    async def _before(self, key: str) -> None:
        await self._wait(key, made=False)
        await super()._before(key)

    async def _after(self, key: str) -> None:
        await self._wait(key, made=True)
        await super()._after(key)

    async def _wait(self, key: str, *, made: bool) -> None:
        gate = self._waits.get(key)
        if gate is not None and gate.made is made:
            self.kept[key] += 1
            del self._waits[key]
            await gate.opens.wait()


async def answers_late(history: History) -> None:
    """It stands still, another takes over and decides; then answers come to what it had sent.

    With resend both orders were sent again: it is told no to one that is on the wire again, and to one that was accepted.
    With park the answer to a parked one is yes.
    """
    tenant, resends = history.tenant, history.mode == "resend"
    fate = "refused" if resends else "made"
    gates = [tenant.gate(key, fate) for key in (FIRST, SECOND)]
    again = tenant.gate(FIRST, "lost", made=True)
    tenant.gate(SECOND, "made").set()
    one, kept = await history.start(), asyncio.create_task(tenant.keeps(FIRST, SECOND))
    await kept
    history.befell()
    one.signal(signal.SIGSTOP)
    await history.start()
    history.cluster.terminate()
    if resends:
        await tenant.keeps(FIRST, SECOND)
    else:
        await history.settled(4)
    one.signal(signal.SIGCONT)
    await asyncio.sleep(0.5)
    for gate in gates:
        gate.set()
    await asyncio.sleep(1.0)
    again.set()


async def hours_pass(history: History) -> None:
    """Hours pass there while an order is on the wire; others are looked for; then its answer is lost.

    Who looks for orders of today fetches none of hours ago that lists show without `data`.
    """
    tenant = history.tenant
    tenant.bare.add(FIRST)
    for number in (0, *range(2, LOST)):
        tenant.gate(f"key-{number}", "made").set()
    tenant.gate(f"key-{LOST}", "lost", made=True).set()
    gate = tenant.gate(FIRST, "lost", made=True)
    kept = asyncio.create_task(tenant.keeps(FIRST))
    await history.start()
    await kept
    history.befell()
    tenant.passes(HOURS, orders=OTHERS)
    await history.settled(3)
    gate.set()
    await history.settled(2)
