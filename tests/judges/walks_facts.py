"""What was sent, what was said of it, and what is wrong: the facts that every verdict is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from limio_async import Report
from tests.judges.walks_scenario import Part
from tests.judges.walks_tenant import Entry, ListTenant

__all__ = ["KINDS", "Finding", "Outcome", "is_wrong", "pages_of", "states_of"]

KINDS = (
    "lost", "doubled", "mixed", "forgotten", "refused", "quiet", "missed", "twice", "neighbours lost",
    "bytes changed", "scrolls opened", "orders twice", "misjudged", "hangs", "foreign", "warnings",
    "tasks", "slots", "connections",
)  # fmt: skip


@dataclass
class Finding:
    """What is wrong, and with which seed."""

    kind: str
    seed: int
    text: str
    case: str = "walk"


@dataclass
class Outcome:
    """What the client said at the end of one part."""

    number: int
    part: Part
    report: Report | None
    """None where not even a listing could be made."""
    ended: bool = False
    """Whether the iteration came to its end by itself."""
    error: BaseException | None = None
    handed: list[str] = field(default_factory=list[str])
    """The names of all items that were handed out, those of earlier parts too."""
    handed_before: int = 0
    resumed: str | None = None
    made: Part | None = None
    """The part that made the listing, where that is an earlier one."""

    @property
    def treats_bad(self) -> str:
        """How an item is treated that cannot be read: `raw` has none."""
        made = self.made or self.part
        return "raw" if "raw" in made.how else made.options.get("on_bad_item") or "raise"

    @property
    def complete(self) -> bool:
        """Whether the client calls the walk complete."""
        return self.report is not None and self.report.complete

    def __str__(self) -> str:
        said = repr(self.error) if self.error else "came to its end" if self.ended else "was stopped"
        return (
            f"part {self.number} ({self.part.how}, {self.part.options}, resumed {self.resumed}) {said}; "
            f"complete {self.complete}; handed out {' '.join(self.handed)}"
        )


def pages_of(tenant: ListTenant, part: int | None = None) -> list[Entry]:
    """The pages that were sent whole, of one part or of all."""
    return [
        entry
        for entry in tenant.log
        if entry.snapshot is not None and entry.reply.whole and part in {None, entry.part}
    ]


def states_of(pages: Sequence[Entry]) -> set[int]:
    """The states of the list that were shown."""
    return {page.snapshot.number for page in pages if page.snapshot is not None}


def is_wrong(entry: Entry) -> bool:
    return entry.reply.status != 200 or bool(entry.reply.fault) or bool(entry.note) or not entry.reply.whole
