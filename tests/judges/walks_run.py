"""Walks one list through the public API as its scenario says, part by part, and asks for a verdict after each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from limio_async import ApiKey, BearerToken, ClientCredentials, Limio, Listing, errors
from tests.judges.walks_besides import judge_commit, judge_single
from tests.judges.walks_clock import WALK, HurriedLoop
from tests.judges.walks_facts import Finding, Outcome
from tests.judges.walks_oracle import judge
from tests.judges.walks_scenario import Part, Scenario, draw
from tests.judges.walks_tenant import ListTenant
from tests.judges.walks_wire import Wire

__all__ = ["ARGUMENTS", "HANG", "TIMEOUT", "Own", "auth_of", "leftovers", "run_walk"]

TIMEOUT = 150.0
"""Seconds of the hurried clock that a call may take; no fault waits for it to pass but the slow ones."""
SLOW_TIMEOUT = 4.0
HANG = 500.0
ERRORS = 3
"""After so many errors a walk is given up."""
_OBJECT = {"path_type": "subscriptions", "id": "s"}
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "catalog_items.list": {"record_type": "offers"},
    "published_catalog_items.list": {"record_type": "offers"},
    "objects.list": {"path_type": "customers"},
    "baskets.list_abandoned": {"created_after": "2024-01-01T00:00:00Z"},
    "subscriptions.list_by_salesforce_id": {"id": "003"},
    "objects.children": _OBJECT,
    "objects.related": _OBJECT,
    "objects.events": _OBJECT,
}


class Own(msgspec.Struct):
    """A type of the caller's own."""

    name: str | None = None
    recovery_link: str | None = msgspec.field(default=None, name="recoveryLink")


def auth_of(kind: str) -> Any:
    """The credentials of a client."""
    if kind == "renewed":
        return ClientCredentials("id", "secret")
    return [ApiKey("key"), BearerToken("token")]


class _Walk:
    def __init__(self, scenario: Scenario, tenant: ListTenant, url: str) -> None:
        self._s, self._tenant, self._url = scenario, tenant, url
        self.limio: Limio | None = None
        self._view: Listing[Any] | None = None
        self._made: Part | None = None
        self.handed: list[str] = []
        self.outcomes: list[Outcome] = []
        self.findings: list[Finding] = []
        self._saved: tuple[str, int] | None = None

    async def run(self) -> None:
        failed, again, index = 0, False, 0
        while not self.findings and not self._tenant.endless:
            part = self._s.parts[index]
            outcome = await self._walk(part)
            self.findings += judge(self._tenant, outcome, self.outcomes)
            self.outcomes.append(outcome)
            ended = outcome.ended
            if outcome.error is not None:
                failed += 1
                if failed > ERRORS or self._s.after_error == "give up" or outcome.report is None:
                    return
                ended = False
            last = index == len(self._s.parts) - 1
            if last and (ended or failed > 1):
                if again or not self._s.again:
                    return
                again = True
            if not last:
                index += 1
            again_same = self._s.after_error == "iterate" if outcome.error else part.then == "same listing"
            if not again_same or (last and outcome.error is None):
                self._view = None
                if self._saved is not None:
                    del self.handed[self._saved[1] :]
            if part.then == "killed":
                await self.close()

    async def close(self) -> None:
        if self.limio is not None:
            limio, self.limio = self.limio, None
            self._view = None
            await limio.aclose()

    async def ask_for_commit(self) -> list[Finding]:
        """Ask which commit the catalog is of; that opens no scroll."""
        if not self._s.asks_commit:
            return []
        self._tenant.begin_part()
        said: object
        try:
            ask: Callable[[], Awaitable[Any]] = getattr(self.open().catalog, "commit_id")  # noqa: B009
            said = await ask()
        except Exception as error:  # whatever it is, it is judged
            said = error
        return list(judge_commit(self._tenant, said))

    async def ask_for_one(self) -> list[Finding]:
        """Ask for a single object with odd bytes."""
        item = next((one for one in self._tenant.snapshots[0].items if one.has_id), None)
        if not self._s.odd or item is None or self._s.slow:
            return []
        self._tenant.single = item
        said: object
        try:
            said = (await self.open().objects.get("subscriptions", "odd")).name
        except Exception as error:  # whatever it is, it is judged
            said = error
        finally:
            self._tenant.single = None
        return list(judge_single(self._tenant, item, said))

    def open(self) -> Limio:
        if self.limio is None:
            self.limio = Limio(
                self._url,
                auth=auth_of(self._s.auth),
                timeout=SLOW_TIMEOUT if self._s.slow else TIMEOUT,
                max_concurrency=2,
            )
        return self.limio

    def _listing(self, part: Part) -> Listing[Any]:
        if self._view is None:
            resource, method = self._s.call.split(".")
            make: Callable[..., Listing[Any]] = getattr(getattr(self.open(), resource), method)
            resume = self._saved[0] if self._saved is not None else None
            listing = make(**ARGUMENTS.get(self._s.call, {}), **part.options, resume=resume)
            self._made = part
            match part.how.split()[0]:
                case "raw":
                    listing = listing.raw()
                case "into":
                    listing = listing.into(Own)
                case _:
                    pass
            self._view = listing
        return self._view

    async def _walk(self, part: Part) -> Outcome:
        self._tenant.begin_part()
        resumed = self._saved[0] if self._saved is not None and self._view is None else None
        view = self._view
        begun = len(self.handed)
        saves: deque[tuple[str, int]] = deque(maxlen=part.forget + 1)
        error: BaseException | None = None
        ended = False
        try:
            view = self._listing(part)
            async with asyncio.timeout(HANG):
                ended = await self._consume(view, part, saves)
        except TimeoutError as hung:
            error = hung
            self.findings.append(Finding("hangs", self._s.seed, f"part {self._tenant.part} does not end"))
        except Exception as raised:  # whatever it is, it is judged
            error = raised
        if view is None:  # the checkpoint is refused
            return Outcome(self._tenant.part, part, None, False, error, list(self.handed), begun, resumed)
        outcome = Outcome(
            self._tenant.part, part, view.report, ended, error, list(self.handed), begun, resumed, self._made
        )
        self._save(view, part, saves, error, ended=ended)
        return outcome

    def _save(
        self,
        view: Listing[Any],
        part: Part,
        saves: deque[tuple[str, int]],
        error: BaseException | None,
        *,
        ended: bool,
    ) -> None:
        """Remember what a process stored before it was killed."""
        checkpoint = view.checkpoint()
        if isinstance(error, errors.ListingError) and self._s.after_error == "error" and error.checkpoint:
            checkpoint = error.checkpoint
        self._saved = checkpoint.to_json(), len(self.handed)
        if saves and error is None and (part.stop is not None or (ended and self._s.seed % 2)):
            self._saved = saves[0]

    async def _consume(self, view: Listing[Any], part: Part, saves: deque[tuple[str, int]]) -> bool:
        """Take what the part takes; whether that was the end."""
        match part.how:
            case "first":
                item = await view.first()
                self._take([] if item is None else [item])
                return item is None
            case "take":
                items = await view.take(part.stop or 1)
                self._take(items)
                return len(items) < (part.stop or 1)
            case "collect":
                self._take(await view.collect(limit=1_000))
                return True
            case "mixed":
                await view  # the first page, which is not used up by this
                first = await view.first()
                self._take([] if first is None else [first])
                self._take(await view.take(2))
                async for page in view.pages():
                    self._take(page.items)
                    break
                return await self._each(view, part, saves)
            case "pages" | "raw pages":
                return await self._each(view.pages(), part, saves, view)
            case _:
                return await self._each(view, part, saves)

    async def _each(
        self,
        units: AsyncIterable[Any],
        part: Part,
        saves: deque[tuple[str, int]],
        view: Listing[Any] | None = None,
    ) -> bool:
        """Take items (or pages, then of *view*) until the stop."""
        taken = 0
        async for unit in units:
            self._take([unit] if view is None else unit.items)
            taken += 1
            owner = view if view is not None else units
            assert isinstance(owner, Listing)
            if part.stop is None or taken >= part.stop - part.forget:
                saves.append((owner.checkpoint().to_json(), len(self.handed)))
            if part.stop is not None and taken >= part.stop:
                return False
        return True

    def _take(self, items: list[Any]) -> None:
        self.handed += [self._name(item) for item in items]

    def _name(self, item: Any) -> str:
        raw = item.raw if type(item).__name__ == "BadItem" else item
        sent = [one for state in self._tenant.snapshots for one in state.items]
        if isinstance(raw, bytes):
            known = {one.raw: one.name for one in sent}
            return known.get(raw, f"not as sent: {raw[:80]!r}")
        name = item.recovery_link if self._s.call == "baskets.list_abandoned" else item.name
        return str(name) if any(name == one.name for one in sent) else f"not as sent: {str(name)[:80]!r}"


async def run_walk(seed: int) -> tuple[list[Finding], ListTenant, list[Outcome]]:
    """What is wrong with the walk of this seed; nothing, if all is well."""
    WALK.set(seed)
    scenario = draw(seed)
    tenant = ListTenant(scenario)
    wire = Wire(tenant)
    await wire.start()
    walk = _Walk(scenario, tenant, wire.url)
    try:
        await walk.run()
        findings = walk.findings
        if not findings:
            findings += await walk.ask_for_commit()
            findings += await walk.ask_for_one()
        tenant.benign = True
        if not findings:
            limio = walk.open()
            findings += await leftovers(seed, limio, wire, walk.close)
        else:
            await walk.close()
    finally:
        await wire.stop()
    return findings, tenant, walk.outcomes


async def leftovers(seed: int, limio: Limio, wire: Wire, close: Callable[[], Any]) -> list[Finding]:
    """What a walk left behind: slots, connections, tasks. Closes the client."""
    found: list[Finding] = []
    for attempt in range(4):
        try:
            await limio.objects.get("subscriptions", "x", timeout=100.0)
        except errors.DeadlineExceeded as error:
            found.append(Finding("slots", seed, f"a call after the walk: {error!r}"))
            break
        except errors.LimioError as error:  # such as a token that failed a moment ago
            if attempt == 3:
                found.append(Finding("slots", seed, f"a call after the walk: {error!r}"))
            await asyncio.sleep(4.0)
        else:
            break
    await close()
    if left := await wire.connections_left(5.0):
        found.append(Finding("connections", seed, f"{left} connections are open after the client was closed"))
    await wire.stop()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HurriedLoop)
    for _ in range(20):
        await asyncio.sleep(0)
    if tasks := loop.left_over(seed):
        found.append(Finding("tasks", seed, f"{len(tasks)} tasks still run: {tasks[0]!r}"))
    return found
