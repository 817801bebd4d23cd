"""Whether what the client said of a walk follows from what the server sent.

A walk may be called complete if every item of one state of the list was sent in answers that were sent whole, nothing
of another state was, and the end was sent. What was handed out then has to be that state, every item once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from limio_async import errors
from tests.judges.walks_besides import (
    fewer_than_asked,
    is_alone,
    lost_neighbours,
    may_be_bad,
    opened_for_nothing,
)
from tests.judges.walks_facts import Finding, Outcome, is_wrong, pages_of, states_of
from tests.judges.walks_list import Snapshot
from tests.judges.walks_scenario import Scenario
from tests.judges.walks_tenant import EXPIRED, Entry, ListTenant

__all__ = ["judge"]

RESENT = ("reset before", "reset within", "cut", "cut without length")
"""Answers that are lost for certain, and nothing else."""


def judge(tenant: ListTenant, outcome: Outcome, earlier: Sequence[Outcome]) -> Iterator[Finding]:
    """What is wrong with *outcome*, after these *earlier* ones."""
    seed = tenant.scenario.seed
    error, complete = outcome.error, outcome.complete
    if error is not None and not isinstance(error, errors.LimioError):
        yield Finding("foreign", seed, f"{type(error).__name__}: {error}")
    if tenant.endless:
        yield Finding("hangs", seed, "it asks for pages without end")
        return
    if fewer := fewer_than_asked(tenant, outcome):
        yield Finding("lost", seed, fewer)
        return
    if opened := opened_for_nothing(tenant, outcome):
        yield Finding("scrolls opened", seed, opened)
    if changed := [name for name in outcome.handed if name.startswith("not as sent")]:
        yield Finding("bytes changed", seed, f"handed out {changed}")
        return
    if may_be_bad(tenant.scenario) and (lost := lost_neighbours(tenant, outcome)):
        yield Finding("neighbours lost", seed, lost)
        return
    if complete and (wrong := _wrong_claim(tenant, outcome)):
        kind, text = wrong
        if any(
            isinstance(one.error, errors.ListingError) or (one.ended and not one.complete) for one in earlier
        ):
            kind = "forgotten"
        yield Finding(kind, seed, f"complete, but {text}")
        return
    steady = len(states_of(pages_of(tenant))) <= 1 and not tenant.lied
    if steady and (twice := _twice(tenant, outcome)):
        yield Finding("doubled", seed, f"handed out more often than sent: {twice}")
    if error is not None or (outcome.ended and not complete):
        said = f"{error!r}" if error is not None else "incomplete"
        if _must(tenant, outcome, earlier):
            yield Finding("refused", seed, f"{said}, but all was sent")
        elif error is not None and _had_to_ride_out(tenant, outcome):
            yield Finding("refused", seed, f"{said}, of which one is survived")
        elif error is not None and (reason := _unexplained(tenant, outcome, earlier)):
            yield Finding("refused", seed, f"{error!r}: {reason}")
        elif error is None and not is_alone(tenant, outcome) and _has_to_raise(tenant, outcome):
            yield Finding("quiet", seed, "it ended incomplete without a word")


def _names(snapshot: Snapshot) -> Counter[str]:
    return Counter(item.name for item in snapshot.items)


def _is_all(tenant: ListTenant, snapshot: Snapshot, handed: Counter[str]) -> bool:
    """Whether *handed* is every item of *snapshot* once.

    A bad item may be passed over where that is asked for, and `unique` may drop items without an id that are honestly
    the same.
    """
    truth = _names(snapshot)
    bad = Counter(item.name for item in snapshot.items if item.bad)
    if _drops_equals(tenant.scenario):
        return handed.keys() | bad.keys() == truth.keys() and handed <= truth
    if any(part.options.get("on_bad_item") == "skip" for part in tenant.scenario.parts):
        return truth - bad <= handed <= truth
    return handed == truth


def _drops_equals(s: Scenario) -> bool:
    return s.equal > 1 and any(part.options.get("unique") for part in s.parts)


def _wrong_claim(tenant: ListTenant, outcome: Outcome) -> tuple[str, str] | None:
    """Why it may not be called complete."""
    handed = Counter(name for name in outcome.handed if not name.startswith("bad"))
    pages = pages_of(tenant)
    states = {page.snapshot.number: page.snapshot for page in pages if page.snapshot is not None}
    if not any(page.end for page in pages):
        return "lost", "the end was never sent"
    if any(_is_all(tenant, state, handed) for state in states.values()):
        return None
    versions = {name.partition("-")[0] for name in handed}
    if len(versions) > 1 and "new" not in versions:
        return "mixed", f"items of {len(versions)} catalogs were handed out: {dict(handed)}"
    best = max(states.values(), key=lambda state: (_names(state) & handed).total())
    truth = _names(best)
    if lost := truth - handed:
        return "lost", f"lost {sorted(lost)}, doubled {sorted(handed - truth)}"
    return "doubled", f"doubled {sorted(handed - truth)}"


def _twice(tenant: ListTenant, outcome: Outcome) -> list[str]:
    """What was handed out more often than it is in the list, which stayed as it was: the client doubled it."""
    allowed: Counter[str] = Counter()
    for state in tenant.snapshots:
        allowed |= Counter(item.name for item in state.items)
    handed = Counter(name for name in outcome.handed if not name.startswith("bad"))
    return sorted(handed - allowed)


def _must(tenant: ListTenant, outcome: Outcome, earlier: Sequence[Outcome]) -> bool:
    """Whether it has to be called complete: the three facts hold, and nothing excuses caution."""
    asked = [entry for entry in tenant.log if entry.part == outcome.number and entry.what == "page"]
    if not asked:  # what a checkpoint says is all there is
        spoilt = any(entry.what == "token" and is_wrong(entry) for entry in tenant.log)
        before = earlier[-1] if earlier else None
        return before is not None and before.ended and before.complete and not before.error and not spoilt
    last = asked[-1]
    if is_alone(tenant, outcome):
        return False
    if not (last.reply.whole and last.end and last.snapshot is not None) or _is_excused(tenant, outcome):
        return False
    sent = Counter(
        item.name
        for page in pages_of(tenant, outcome.number)
        if page.walk is last.walk
        for item in page.items
    )
    covered = sent + Counter(outcome.handed[: outcome.handed_before])
    return not _names(last.snapshot) - covered


def _is_excused(tenant: ListTenant, outcome: Outcome) -> bool:
    """Whether caution is right although all was sent: the server lied, or showed more than one state of the list."""
    s, pages = tenant.scenario, pages_of(tenant)
    late = s.slow and outcome.error is not None
    bad = _may_be_bad(tenant, pages)
    several = len(states_of(pages)) > 1
    return (
        bool(tenant.lied)
        or tenant.odd
        or several
        or late
        or bad
        or _drops_equals(s)
        or _has_equal_pages(pages)
    )


def _may_be_bad(tenant: ListTenant, pages: Sequence[Entry]) -> bool:
    """Whether an item was sent that cannot be read, to somebody who reads it."""
    read = any("raw" not in part.how for part in tenant.scenario.parts)
    return read and any(item.bad for page in pages for item in page.items)


def _had_to_ride_out(tenant: ListTenant, outcome: Outcome) -> bool:
    """Whether the only thing that went wrong is one that the options, or its class, say is survived."""
    s, options = tenant.scenario, outcome.part.options
    wrong = [entry for entry in tenant.log if entry.part == outcome.number and is_wrong(entry)]
    wrong = [entry for entry in wrong if entry.note != "token expired"]
    spoilt = any(entry.what == "token" and is_wrong(entry) for entry in tenant.log)
    if len(wrong) != 1 or spoilt or s.cap or s.slow or _is_excused(tenant, outcome):
        return False
    [entry] = wrong
    status, lost = entry.reply.status, entry.reply.fault in RESENT
    may_restart = options.get("restarts", 2) > 0
    if s.kind in {"key", "whole"} or "queryMore" not in entry.target:
        return status in {408, 425, 429, 500, 502, 503, 504} or lost
    if status in {408, 425, 429} or (s.kind == "scroll" and status in EXPIRED and may_restart):
        return True
    return lost and options.get("on_ambiguous") == "restart" and may_restart


def _has_equal_pages(pages: Sequence[Entry]) -> bool:
    """Whether two pages are honestly the same: they hold other items, which look alike."""
    places: dict[tuple[bytes, ...], int] = {}
    return any(
        places.setdefault(tuple(item.raw for item in page.items), page.items[0].serial)
        != page.items[0].serial
        for page in pages
        if page.items
    )


def _unexplained(tenant: ListTenant, outcome: Outcome, earlier: Sequence[Outcome]) -> str:
    """Why this error is nothing that the server gave cause for; empty if it did."""
    s, error = tenant.scenario, outcome.error
    since = outcome.number if outcome.resumed is not None or not earlier else outcome.number - 1
    wrong = [entry for entry in tenant.log if entry.part >= since and is_wrong(entry)]
    wrong += [entry for entry in tenant.log if entry.what == "token" and is_wrong(entry)]
    pages = pages_of(tenant)
    states = states_of(pages)
    carried = any(type(one.error) is type(error) for one in earlier)
    bad = _may_be_bad(tenant, pages) and outcome.treats_bad == "raise"
    lied = bool(tenant.lied) or tenant.odd
    if (
        carried
        or (s.slow and (wrong or isinstance(error, (errors.DeadlineExceeded, errors.NeverSent))))
        or (isinstance(error, errors.IncompleteListing) and _broke_off(s, outcome, earlier))
    ):
        return ""
    match error:
        case errors.CursorLoop():
            explained = lied or _has_equal_pages(pages)
        case errors.SnapshotChanged() | errors.ForeignCheckpoint():
            explained = lied or len(states) > 1
        case errors.CursorExpired():
            explained = any(entry.reply.status in EXPIRED for entry in wrong)
        case errors.ApiError(status=status):
            explained = any(entry.reply.status == status for entry in wrong)
        case errors.Unreadable():
            explained = bad or bool(wrong) or lied
        case errors.IncompleteListing():
            explained = bool(wrong) or lied or len(states) > 1
            explained = explained or _drops_equals(s) or _has_equal_pages(pages)
        case _:
            explained = bool(wrong)
    return "" if explained else "nothing that was sent is a reason"


def _broke_off(s: Scenario, outcome: Outcome, earlier: Sequence[Outcome]) -> bool:
    """Whether the caller broke off while the next page may have been on its way, and goes on with the same listing."""
    ahead = s.kind in {"scroll", "opaque"} and outcome.part.options.get("read_ahead", 1) != 0
    before = bool(earlier) and outcome.resumed is None and not earlier[-1].ended
    return ahead and (before or outcome.part.how == "mixed")


def _has_to_raise(tenant: ListTenant, outcome: Outcome) -> bool:
    """Whether a walk that ends incomplete has to say so by an error."""
    options: dict[str, Any] = outcome.part.options
    s: Scenario = tenant.scenario
    states = {page.snapshot.version for page in pages_of(tenant) if page.snapshot is not None}
    if len(states) > 1 and options.get("on_snapshot_change") == "restart":
        return False
    bad = any(item.bad for page in pages_of(tenant) for item in page.items)
    repeated = outcome.report is not None and outcome.report.repeated > 0
    never_repeats = s.kind == "scroll" or (s.kind == "key" and repeated)
    return never_repeats and options.get("verify", "raise") == "raise" and not bad
