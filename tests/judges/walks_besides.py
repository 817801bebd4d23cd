"""What is judged of a walk besides its completeness: scrolls that need not be opened, and the neighbours of odd items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from limio_async import errors
from tests.judges.walks_facts import Finding, Outcome, is_wrong, pages_of, states_of
from tests.judges.walks_list import Item
from tests.judges.walks_scenario import Scenario
from tests.judges.walks_tenant import ListTenant

__all__ = [
    "fewer_than_asked",
    "is_alone",
    "judge_commit",
    "judge_single",
    "lost_neighbours",
    "may_be_bad",
    "opened_for_nothing",
]


def is_alone(tenant: ListTenant, outcome: Outcome) -> bool:
    """Whether all that was asked for last is one page without a scroll, which tells nothing of the list's end."""
    asked = [entry for entry in tenant.log if entry.part == outcome.number and entry.what == "page"]
    return bool(asked) and asked[-1].alone


def fewer_than_asked(tenant: ListTenant, outcome: Outcome) -> str:
    """What `first()` or `take(n)` kept back although `hits` promised it."""
    s, pages = tenant.scenario, pages_of(tenant, outcome.number)
    sure = s.promises() and not tenant.lied and len(states_of(pages_of(tenant))) == 1
    if outcome.part.how not in {"first", "take"} or not outcome.ended or not pages or not sure:
        return ""
    last = pages[-1]
    if not (is_alone(tenant, outcome) and last.alone) or last.end:
        return ""
    return f"{outcome.part.how} of {outcome.part.stop} handed out fewer, although there are more"


def opened_for_nothing(tenant: ListTenant, outcome: Outcome) -> str:
    """What opened a scroll although one page without is enough: `first()` and `take(n)` of a list not begun."""
    s, part = tenant.scenario, outcome.part
    if s.kind != "scroll" or outcome.number != 1 or part.how not in {"first", "take"}:
        return ""
    wanted = 1 if part.how == "first" else part.stop or 1
    enough = wanted <= min(s.count, part.options.get("page_size", s.page))
    simple = (
        not s.cap and len(tenant.snapshots) == 1 and not any(item.bad for item in tenant.snapshots[0].items)
    )
    opened = [entry for entry in tenant.log if entry.opens]
    if not (enough and simple and opened):
        return ""
    return f"{part.how} of {wanted} opened {len(opened)} scrolls"


def may_be_bad(s: Scenario) -> bool:
    """Whether some items may be odd, say no or lack what every item has."""
    return s.odd > 0 or s.nos > 0 or (s.kind != "scroll" and s.ids != "own")


def lost_neighbours(tenant: ListTenant, outcome: Outcome) -> str:
    """Which items were lost beside odd ones, or why the whole was called unreadable; nothing else went wrong."""
    pages = pages_of(tenant)
    if tenant.lied or tenant.odd or len(states_of(pages)) > 1 or any(is_wrong(entry) for entry in tenant.log):
        return ""
    if isinstance(outcome.error, errors.Unreadable):
        bad = any(item.bad for page in pages for item in page.items)
        return "" if bad and outcome.treats_bad == "raise" else f"{outcome.error!r} ({outcome.treats_bad})"
    shown = next((page.snapshot for page in pages if page.snapshot is not None), None)
    if shown is None or not outcome.ended or outcome.error is not None or not any(page.end for page in pages):
        return ""
    lost = Counter(item.name for item in shown.items if not item.bad) - Counter(outcome.handed)
    return f"never handed out: {sorted(lost)} ({outcome.treats_bad})" if lost else ""


def judge_commit(tenant: ListTenant, said: object) -> Iterator[Finding]:
    """What is wrong with what is *said* of the catalog's commit, asked for in a part of its own."""
    seed = tenant.scenario.seed
    asked = [entry for entry in tenant.log if entry.part == tenant.part]
    if opened := sum(entry.opens for entry in asked):
        yield Finding("scrolls opened", seed, f"commit_id() opened {opened} scrolls")
    told = [page.snapshot.commit for page in pages_of(tenant, tenant.part) if page.snapshot is not None]
    if isinstance(said, errors.LimioError):
        spoilt = any(
            is_wrong(entry) for entry in tenant.log if entry.part == tenant.part or entry.what == "token"
        )
        if not spoilt:
            yield Finding("refused", seed, f"commit_id(): {said!r}: nothing that was sent is a reason")
    elif isinstance(said, Exception):
        yield Finding("foreign", seed, f"commit_id(): {type(said).__name__}: {said}")
    elif said not in told:
        yield Finding("mixed", seed, f"commit_id() is {said!r}, told was {told}")


def judge_single(tenant: ListTenant, item: Item, said: object) -> Iterator[Finding]:
    """What is wrong with what is *said* of one object that was asked for by itself."""
    seed = tenant.scenario.seed
    if isinstance(said, errors.LimioError):
        spoilt = any(entry.what == "token" and is_wrong(entry) for entry in tenant.log)
        if not spoilt and not (item.bad and isinstance(said, errors.Unreadable)):
            yield Finding("refused", seed, f"a single object ({item.raw[:80]!r}): {said!r}")
    elif isinstance(said, Exception):
        yield Finding("foreign", seed, f"a single object: {type(said).__name__}: {said}")
    elif said != item.name:
        yield Finding("bytes changed", seed, f"a single object: {said!r} instead of {item.name!r}")
