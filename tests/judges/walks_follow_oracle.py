"""Whether what a walk or a follow of a growing list brought is what it had to bring.

Required of a follow is each row that had appeared when it began, and was created later than the newest that was known
then, less the overlap. What comes besides may come; nothing that has an id may come twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from limio_async import errors
from tests.judges.walks_facts import Finding
from tests.judges.walks_follow import FollowTenant, Plan, Row

__all__ = ["Step", "judge_step", "newest_of", "rows_of"]


@dataclass
class Step:
    """What the client said of one walk or follow, or of one that has to be refused."""

    what: str
    plan: Plan
    known: float
    """When the newest row that was handed out before was created."""
    visible: list[Row]
    """What had appeared when it began."""
    handed: list[str] = field(default_factory=list[str])
    error: BaseException | None = None
    ended: bool = False
    complete: bool = False
    saved: tuple[str, int] | None = None
    """The last checkpoint, and how many items had been handed out by then."""

    def __str__(self) -> str:
        said = repr(self.error) if self.error else "came to its end" if self.ended else "was stopped"
        return (
            f"{self.what} ({self.plan.how}, {self.plan.options}, stops {self.plan.stops}) {said}; "
            f"complete {self.complete}; handed out {' '.join(self.handed)}"
        )


def rows_of(tenant: FollowTenant, names: Iterable[str]) -> list[Row]:
    """The rows of these *names*."""
    return [row for name in names if (row := tenant.row(name)) is not None]


def newest_of(tenant: FollowTenant, names: Iterable[str]) -> float:
    """When the newest of these was created, as far as they tell."""
    return max((row.created for row in rows_of(tenant, names) if row.dated), default=float("-inf"))


def judge_step(
    tenant: FollowTenant, step: Step, earlier: Sequence[Step], handed: Sequence[str]
) -> Iterator[Finding]:
    """What is wrong with *step*, after these *earlier* ones; *handed* is all that was handed out until now."""
    seed, error = tenant.scenario.seed, step.error
    if error is not None and not isinstance(error, errors.LimioError):
        yield Finding("foreign", seed, f"{step.what}: {type(error).__name__}: {error}")
    if unknown := [name for name in handed if tenant.row(name) is None]:
        yield Finding("bytes changed", seed, f"handed out {unknown}")
    if tenant.lied:
        if step.complete:
            yield Finding("lost", seed, f"{step.what} is called complete, but a page came twice")
        return
    known = [row.name for row in rows_of(tenant, handed) if row.has_id]
    if twice := sorted({name for name in known if known.count(name) > 1}):
        yield Finding("twice", seed, f"{step.what} brought {twice}, which had come before")
    if step.what != "walk" and _in_disorder(tenant, earlier[0]):
        if error is None and step.ended:
            yield Finding("quiet", seed, "followed although the list is in no order")
    elif error is None and step.ended:
        if not step.complete:
            yield Finding("refused", seed, f"{step.what} is called incomplete, but all was sent")
        if missed := _missed(tenant, step, handed):
            yield Finding("missed", seed, f"{step.what} did not bring {missed}")
    elif error is not None and not _is_explained(tenant, step, earlier, handed):
        yield Finding("refused", seed, f"{step.what}: {error!r}: nothing that was sent is a reason")


def _missed(tenant: FollowTenant, step: Step, handed: Sequence[str]) -> list[str]:
    """What had appeared when it began, and was created later than the overlap reaches back, and never came."""
    since = float("-inf")
    if step.what != "walk":
        if tenant.scenario.order == "unsorted":
            return []  # what looked sorted by chance
        since = step.known - tenant.scenario.seconds
    return [row.name for row in step.visible if row.created > since and row.name not in handed]


def _in_disorder(tenant: FollowTenant, first: Step) -> bool:
    """Whether what the *first* walk brought both rises and falls."""
    if tenant.scenario.order != "unsorted":
        return False
    moments = [row.created for row in rows_of(tenant, first.handed) if row.dated]
    pairs = list(itertools.pairwise(moments))
    return any(a < b for a, b in pairs) and any(a > b for a, b in pairs)


def _is_explained(tenant: FollowTenant, step: Step, earlier: Sequence[Step], handed: Sequence[str]) -> bool:
    """Whether the server gave cause for the error, or the list cannot be told to be in order."""
    error = step.error
    unsorted = tenant.scenario.order == "unsorted" and step.what != "walk"
    if unsorted and isinstance(error, (errors.ListingError, errors.ForeignCheckpoint)):
        return True
    if any(reply.status != 200 or not reply.whole for reply in tenant.replies):
        return isinstance(error, (errors.ApiError, errors.TransportError, errors.DeadlineExceeded))
    moved = any(row not in step.visible for row in tenant.visible())
    if moved and step.plan.stops and isinstance(error, errors.ListingError):
        return True  # the list has changed where it is resumed
    if step.what == "walk":
        return False
    before = [row for one in earlier for row in rows_of(tenant, one.handed)]
    bare = any(not row.dated or not row.has_id for row in [*before, *rows_of(tenant, handed)])
    clear = len({row.created for row in before if row.dated}) > 1
    return bare or not clear
