"""Walks a list of objects to its end, follows it, and follows it again: whatever was created has to come, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from limio_async import Limio, Listing, errors
from tests.judges.walks_clock import WALK
from tests.judges.walks_facts import Finding
from tests.judges.walks_follow import FollowTenant, Plan, draw_follow
from tests.judges.walks_follow_oracle import Step, judge_step, newest_of
from tests.judges.walks_run import ARGUMENTS, HANG, TIMEOUT, Own, auth_of, leftovers
from tests.judges.walks_wire import Wire

__all__ = ["run_follow"]

_EVERY = 0.5
_ERRORS = 4
"""After so many errors a list is given up."""


class _Following:
    def __init__(self, tenant: FollowTenant, url: str) -> None:
        self._s, self._tenant, self._url = tenant.scenario, tenant, url
        self._limio: Limio | None = None
        self.steps: list[Step] = []
        self.findings: list[Finding] = []
        self._handed: list[str] = []
        self._errors = 0

    def open(self) -> Limio:
        if self._limio is None:
            self._limio = Limio(self._url, auth=auth_of("static"), timeout=TIMEOUT, max_concurrency=2)
        return self._limio

    async def close(self) -> None:
        if self._limio is not None:
            limio, self._limio = self._limio, None
            await limio.aclose()

    def _find(self, kind: str, text: str) -> None:
        self.findings.append(Finding(kind, self._s.seed, text, case="follow"))

    def _judge(self, step: Step) -> None:
        self.findings += judge_step(self._tenant, step, self.steps, self._handed)
        self.steps.append(step)

    async def run(self) -> None:
        done: str | None = None
        for plan in self._s.plans:
            self._tenant.now += plan.pause
            step = await self._walk(plan, done)
            self._judge(step)
            if self._tenant.lied and step.saved is not None:
                again = partial(self._listing, plan, {"follow": step.saved[0]})
                await self._refuse("a walk that was not well was followed", again)
            if self.findings or step.error is not None or not step.ended or self._tenant.lied:
                break
            assert step.saved is not None
            done = step.saved[0]
        if done is None or self.findings:
            return
        sorted_list = self._s.order != "unsorted"  # the others may be refused at any time
        if sorted_list and self._s.endless and len(self.steps) > 1 and self.steps[-1].error is None:
            await self._follow_on(self.steps[-1], done)
        await self._refusals(done)

    # one walk

    async def _walk(self, plan: Plan, done: str | None) -> Step:
        """Walk, or follow what was *done*, to the end, with stops and resumes."""
        newest = newest_of(self._tenant, self._handed)
        step = Step("follow" if done else "walk", plan, newest, self._tenant.visible())
        begun = len(self._handed)
        self._tenant.replies.clear()
        for stop in [*plan.stops, *(None,) * (_ERRORS + 1)]:
            base = {"resume": step.saved[0]} if step.saved is not None else {"follow": done} if done else {}
            error: BaseException | None = None
            try:
                async with asyncio.timeout(HANG):
                    step.ended = await self._part(step, base, stop)
            except TimeoutError:
                self._find("hangs", f"{step.what} does not end")
                break
            except Exception as raised:  # whatever it is, it is judged
                error = raised
                if not self._is_ridden_out(raised):
                    step.error = raised
                    break
            if self._tenant.endless:
                self._find("hangs", "it asks for pages without end")
                break
            if step.ended and error is None:
                break
            if step.saved is not None:
                del self._handed[step.saved[1] :]
                if stop is not None and error is None:
                    await self._probe(plan, step.saved[0])
            if plan.killed:
                await self.close()
        step.handed = self._handed[begun:]
        self._tenant.followed = True
        return step

    def _is_ridden_out(self, error: BaseException) -> bool:
        """Whether the server gave cause for this *error*, and the walk can be resumed."""
        wrong = any(reply.status != 200 or not reply.whole for reply in self._tenant.replies)
        self._errors += 1
        gone = isinstance(error, (errors.ApiError, errors.TransportError, errors.DeadlineExceeded))
        return wrong and gone and self._errors <= _ERRORS

    async def _part(self, step: Step, base: dict[str, Any], stop: int | None) -> bool:
        """Walk until the *stop*; whether the end came first."""
        plan = step.plan
        listing, saves = self._listing(plan, base), list[tuple[str, int]]()
        error: errors.ListingError | None = None
        taken = 0
        try:
            async for unit in _units(listing, plan.how):
                self._take(unit if isinstance(unit, list) else [unit])
                taken += 1
                saves.append((listing.checkpoint().to_json(), len(self._handed)))
                if stop is not None and taken >= stop:
                    return False
        except errors.ListingError as raised:
            error = raised
            raise
        else:
            return True
        finally:
            step.complete = listing.report.complete
            at = error.checkpoint if error is not None and error.checkpoint else listing.checkpoint()
            step.saved = at.to_json(), len(self._handed)
            if stop is not None and taken >= stop and len(saves) > plan.forget:
                step.saved = saves[-1 - plan.forget]

    def _listing(self, plan: Plan, base: dict[str, Any]) -> Listing[Any]:
        resource, method = self._s.call.split(".")
        make: Callable[..., Listing[Any]] = getattr(getattr(self.open(), resource), method)
        listing = make(**ARGUMENTS.get(self._s.call, {}), **plan.options, **base)
        match plan.how:
            case "raw":
                return listing.raw()
            case "into":
                return listing.into(Own)
            case _:
                return listing

    def _take(self, items: list[Any]) -> None:
        for item in items:
            raw = (
                item.raw if type(item).__name__ == "BadItem" else item
            )  # one without an id is read as a bad one
            if isinstance(raw, bytes):
                name = str(json.loads(raw)["name"])
                row = self._tenant.row(name)
                self._handed.append(name if row and row.raw == raw else f"not as sent: {raw!r}")
            else:
                self._handed.append(str(item.name))

    async def _follow_on(self, before: Step, done: str) -> None:
        """Follow until it is cancelled; what appears in time has come by then."""
        tenant, plan = self._tenant, replace(before.plan, stops=[])
        newest = newest_of(self._tenant, self._handed)
        step = Step("endless follow", plan, newest, [])
        begun = len(self._handed)
        tenant.benign = True
        listing: Any = self._listing(plan, {"follow": done})
        task = asyncio.create_task(self._take_on(listing.follow(every=_EVERY)))
        await self._until(tenant.requests + 12, task)
        tenant.calm, tenant.benign = True, True
        await self._until(tenant.requests + 6 + 2 * len(tenant.rows), task)
        if task.done():
            step.error = task.exception() or RuntimeError("it came to an end")
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        tenant.calm = False
        step.handed = self._handed[begun:]
        since = newest - self._s.seconds
        step.visible = [
            row
            for row in tenant.visible()
            if row.created > since and row.appears < row.created + self._s.seconds
        ]
        step.ended = step.complete = step.error is None
        self._judge(step)

    async def _take_on(self, units: AsyncIterator[Any]) -> None:
        async for item in units:
            self._take([item])

    async def _until(self, requests: int, task: asyncio.Task[None]) -> None:
        """Wait until so many *requests* came, or long enough for a few."""
        for _ in range(40):
            if self._tenant.requests >= requests or task.done():
                return
            await asyncio.sleep(_EVERY)

    # what has to be refused

    async def _probe(self, plan: Plan, unfinished: str) -> None:
        """Follow a checkpoint of a walk that has not ended; rows may have come since one that has."""
        if json.loads(unfinished).get("done"):
            return
        if len(self._handed) < len(self._tenant.visible()) and len(self.steps) == 0:
            await self._refuse(
                "an unfinished walk was followed",
                partial(self._listing, plan, {"follow": unfinished}),
            )

    async def _refuse(self, what: str, make: Callable[[], Listing[Any]]) -> None:
        calm, self._tenant.calm = self._tenant.calm, True
        try:
            async with asyncio.timeout(HANG):
                await make().take(1)
        except (errors.LimioError, TypeError):
            return
        except Exception as raised:  # whatever it is, it is judged
            self._find("foreign", f"{what}: {type(raised).__name__}: {raised}")
            return
        finally:
            self._tenant.calm = calm
        self._find("quiet", what)

    async def _refusals(self, done: str) -> None:
        """Resume what is done, which is empty; follow it in lists that it is not of, or that cannot be followed."""
        limio, plan = self.open(), self._s.plans[0]
        self._tenant.calm = True
        try:
            again = await self._listing(plan, {"resume": done}).take(1)
            if again:
                self._find("twice", f"resuming a walk that is done brought {again}")
        except errors.LimioError as error:
            self._find("refused", f"resuming a walk that is done: {error!r}")
        if self._s.seed % 3 == 0:
            for resource in ("offers", "partner_organisations", "addresses"):
                other: Callable[..., Listing[Any]] = getattr(limio, resource).list
                await self._refuse(
                    f"{resource} follow a checkpoint of another list", partial(other, follow=done)
                )


async def _units(listing: Listing[Any], how: str) -> AsyncIterator[Any]:
    """Items, or lists of them, as they are handed out."""
    match how:
        case "collect":
            yield await listing.collect(limit=1_000)
        case "pages":
            async for page in listing.pages():
                yield page.items
        case _:
            async for item in listing:
                yield item


async def run_follow(seed: int) -> tuple[list[Finding], FollowTenant, list[Step]]:
    """What is wrong with how the list of this seed is followed; nothing, if all is well."""
    WALK.set(seed)
    tenant = FollowTenant(draw_follow(seed))
    wire = Wire(tenant)
    await wire.start()
    following = _Following(tenant, wire.url)
    findings = following.findings
    try:
        await following.run()
        tenant.benign = True
        if findings:
            await following.close()
        else:
            findings += await leftovers(seed, following.open(), wire, following.close)
    finally:
        await wire.stop()
    for finding in findings:
        finding.case = "follow"
    return findings, tenant, following.steps
