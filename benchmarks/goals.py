"""What is promised of the client's speed, as data: what is compared, how, and how far apart the two may be.

`make test` holds every goal to what is known to be possible, with a margin for machines that are busy; what is compared with
our own code of before is held to the goal itself, since both are as busy. The goals of syncs are looked at by `benchmarks.sync`.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from benchmarks.contenders import Pair, in_turns, paired
from benchmarks.peers.environments import NotInHistory
from benchmarks.server import Answers
from benchmarks.stage import MICRO, PAGE, Stage
from benchmarks.sync_stage import HYDRATED_AT_ONCE, LATENCY, Kind, NoPostgres, SyncStage, Used, Who
from benchmarks.tables import Table, shown
from limio_async.api.offers import LIST_OFFERS
from limio_async.core.listing.reader import PageReader

__all__ = [
    "GOALS",
    "OUT_OF_REACH",
    "SYNC_GOALS",
    "Goal",
    "goals",
    "held_to",
    "is_broken",
    "is_met",
    "judged",
    "out_of_reach",
]

MARGIN = 1.5
SLOWER = 1.08  # than before; less is not told from nothing
AT_ONCE = (1, 64)  # calls that are compared with those of before
DELAY, BUSY = 0.020, 0.010  # seconds for each page
SHORT_WALK = 10_000
LARGE_PAGE = 1_000
READS = 10
BUSY_WALK = "pages of a slow server to a busy consumer / the server's time"
MIB = 2**10  # in KiB
SYNC_MARGIN = 1.25
SYNC_TARGETS: Sequence[tuple[str, Kind, float]] = (
    ("SQLite", "sqlite", 2.0),
    ("PostgreSQL", "postgres", 3.0),
    ("DuckDB", "duckdb", 3.0),
)


class Figure(msgspec.Struct, frozen=True):
    """What was measured: both sides, and what the goal is about."""

    ours: float
    other: float
    value: float
    rounds: str = ""
    """Those of the stage that it is of."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A bound on a ratio, ours over the other's, or on a difference."""

    what: str
    unit: str
    """Of both sides."""
    bound: float
    sense: Literal["<=", ">="] = "<="
    of: Literal["ratio", "difference"] = "ratio"
    margin: float = MARGIN
    """How much worse it may be on a machine that is busy."""
    measure: Callable[[Any], Figure]
    """On a `Stage`; a goal of syncs on a `SyncStage`."""


class OutOfReach(msgspec.Struct, frozen=True):
    """A goal that is known to be missed."""

    possible: float
    why: str


Sides = Mapping[str, Callable[[], float]]

# --- how it is measured


def turns(ours: Callable[[], float], other: Callable[[], float], runs: int, *, warmups: int = 1) -> Figure:
    pair: Pair = in_turns(ours, other, runs, warmups=warmups)
    return Figure(pair.ours, pair.other, pair.ratio)


def walking(stage: Stage, name: str, items: int, how: str = "typed") -> Callable[[], float]:
    return lambda: stage.walk(name, items, how).cpu / items * MICRO


def calling(stage: Stage, name: str, count: int, at_once: int) -> Callable[[], float]:
    return lambda: stage.calls(name, count, at_once).cpu / count * MICRO


def beside(other: str, what: str, sides: Callable[[Stage], Sides]) -> Callable[[Stage], Figure]:
    """Ours beside *other*, of all that are measured in the same rounds."""

    def measure(stage: Stage) -> Figure:
        if missing := stage.lacking(other):
            raise NotInHistory(missing)
        pair = paired(stage.rounds(what, sides(stage)), "ours", other)
        return Figure(pair.ours, pair.other, pair.ratio, what)

    return measure


def walk_beside(other: str, how: str) -> Callable[[Stage], Figure]:
    def sides(stage: Stage) -> Sides:
        items = stage.scale.items
        args = {"url": stage.url(items), "page_size": PAGE, "offers": items}
        read = lambda: stage.ask("by_hand", "read", **args).cpu / items * MICRO  # noqa: E731
        return {
            **{name: walking(stage, name, items, how) for name in ("ours", "before")},
            "by_hand": read if how == "raw" else walking(stage, "by_hand", items, how),
        }

    return beside(other, f"{how} walk", sides)


def calls_beside(other: str, at_once: int) -> Callable[[Stage], Figure]:
    def sides(stage: Stage) -> Sides:
        count = stage.scale.calls
        return {name: calling(stage, name, count, at_once) for name in ("ours", "before", "by_hand")}

    return beside(other, f"calls, {at_once} at once", sides)


def typed_walk(other: str) -> Callable[[Stage], Figure]:
    def measure(stage: Stage) -> Figure:
        items = stage.scale.slow_items
        return turns(walking(stage, "ours", items), walking(stage, other, items), stage.scale.slow_runs)

    return measure


def slim_walk(stage: Stage) -> Figure:
    items = stage.scale.items
    return turns(walking(stage, "ours", items, "slim"), walking(stage, "ours", items), stage.scale.runs)


def busy_walk(stage: Stage) -> Figure:
    """The consumer's work is to hide in the time that the server takes."""
    items = stage.scale.items
    args = {"url": stage.url(items, delay=DELAY), "page_size": PAGE, "seconds": BUSY}
    took = [stage.ask("ours", "busy", came=items, **args).wall for _ in range(stage.scale.slow_runs)]
    waited = (items // PAGE + 1) * DELAY
    return Figure(statistics.median(took), waited, statistics.median(took) / waited)


def longest_hold(stage: Stage) -> Figure:
    """Of the event loop, beside decoding one such page whole."""
    url = stage.url(stage.scale.items)
    found = [
        stage.ask("ours", "held", url=url, page_size=LARGE_PAGE).came
        for _ in range(stage.scale.slow_runs + 1)
    ]
    held, whole = (statistics.median(costs) * 1e3 for costs in zip(*found[1:], strict=True))
    return Figure(held, whole, held / whole)


async def read_often(reader: PageReader[Any], body: bytes) -> float:
    """CPU seconds of reading a page once, as a walk does."""
    begun = time.process_time()
    for _ in range(READS):
        if reader.read(body) is None:
            head = await reader.split_page(body) or reader.read_head(body)
            await reader.decoded(reader.raw_items(head), "raise")
    return (time.process_time() - begun) / READS


def bad_page(how: str) -> Callable[[Stage], Figure]:
    """Reading a page in which one item holds half a surrogate pair, beside the same page without."""

    def measure(stage: Stage) -> Figure:
        page = Answers(PAGE, zipped=False).page(0, PAGE).partition(b"\r\n\r\n")[2]
        at = page.index(b'"', len(page) // 2) + 1
        at = page.index(b'"id":"', at) + len(b'"id":"')
        reader: PageReader[Any] = PageReader(
            LIST_OFFERS, LIST_OFFERS.returns if how == "typed" else msgspec.Raw
        )

        def cost(body: bytes) -> Callable[[], float]:
            return lambda: asyncio.run(read_often(reader, body)) / PAGE * MICRO

        bad = b"%b\\ud800%b" % (page[:at], page[at:])
        return turns(cost(bad), cost(page), stage.scale.runs)

    return measure


def small_call(other: str, at_once: int) -> Callable[[Stage], Figure]:
    def measure(stage: Stage) -> Figure:
        scale = stage.scale
        count, runs = (scale.calls, scale.runs) if other == "by_hand" else (scale.slow_calls, scale.slow_runs)
        return turns(calling(stage, "ours", count, at_once), calling(stage, other, count, at_once), runs)

    return measure


def growth(stage: Stage) -> Figure:
    long, short = stage.peak("ours", stage.scale.longest), stage.peak("ours", SHORT_WALK)
    return Figure(long, short, long - short)


def hydration(stage: Stage) -> Figure:
    """In objects a second, of which more is better."""
    objects = stage.scale.objects
    args = {"url": stage.url(stage.scale.items), "objects": objects, "workers": 64}

    def rate(measure: str) -> float:
        return objects / stage.ask("ours", measure, came=objects, **args).wall

    return turns(lambda: rate("hydrate"), lambda: rate("hydrate_by_hand"), stage.scale.slow_runs)


def import_cpu(stage: Stage) -> Figure:
    def cost(what: str) -> float:
        return stage.fresh(what).cpu * 1e3

    return turns(lambda: cost("client"), lambda: cost("dependencies"), stage.scale.slow_runs)


def import_memory(stage: Stage) -> Figure:
    def cost(what: str) -> float:
        return stage.fresh(what).peak_kib / MIB

    return turns(lambda: cost("client"), lambda: cost("dependencies"), 1)


def syncing(how: Literal["new", "unchanged"], kind: Kind) -> Callable[[SyncStage], Figure]:
    """`limio sync` of offers, beside the same by hand: each run is a process, which nothing warms up."""

    def measure(stage: SyncStage) -> Figure:
        def cost(who: Who) -> Callable[[], float]:
            run = stage.new if how == "new" else stage.unchanged
            return lambda: run(who, kind).cpu / stage.scale.offers * MICRO

        return turns(cost("ours"), cost("by_hand"), stage.scale.pairs, warmups=0)

    return measure


def loading(
    ours: Literal["sync", "door"], cost: Callable[[Used, int], float]
) -> Callable[[SyncStage], Figure]:
    """Ours beside dlt's own source: offers into DuckDB."""

    def measure(stage: SyncStage) -> Figure:
        rounds = [
            {name: cost(one, stage.scale.loaded) for name, one in costs.items()} for costs in stage.loads()
        ]
        pair = paired(rounds, ours, "generic")
        return Figure(pair.ours, pair.other, pair.ratio)

    return measure


def sync_growth(stage: SyncStage) -> Figure:
    most, least = (stage.row(number).used.peak_mib for number in (stage.scale.most, stage.scale.least))
    return Figure(most, least, most - least)


def sync_hydration(stage: SyncStage) -> Figure:
    ideal = stage.scale.objects * LATENCY / HYDRATED_AT_ONCE
    took = stage.hydrated()
    return Figure(took, ideal, took / ideal)


# --- what is promised

GOALS: Sequence[Goal] = (
    *(
        Goal(what=f"{how} walk / before", unit="µs an item", bound=SLOWER, margin=1, measure=walk_beside("before", how))
        for how in ("typed", "slim", "raw")
    ),
    *(
        Goal(what=f"call / before, {at_once} at once", unit="µs a call", bound=SLOWER, margin=1, measure=calls_beside("before", at_once))
        for at_once in AT_ONCE
    ),
    Goal(what="typed walk / by hand", unit="µs an item", bound=1.10, measure=walk_beside("by_hand", "typed")),
    Goal(what="typed walk / httpx with pydantic", unit="µs an item", bound=1 / 6, measure=typed_walk("httpx_pydantic")),
    Goal(what="typed walk / openapi-python-client", unit="µs an item", bound=1 / 11, measure=typed_walk("openapi_client")),
    Goal(what="typed walk / core of openai", unit="µs an item", bound=1 / 13, measure=typed_walk("openai_core")),
    Goal(what="raw() / reading the pages by hand", unit="µs an item", bound=1.50, measure=walk_beside("by_hand", "raw")),
    Goal(what="into(slim) / our typed walk", unit="µs an item", bound=0.60, measure=slim_walk),
    Goal(what="into(slim) / by hand", unit="µs an item", bound=1.30, measure=walk_beside("by_hand", "slim")),
    *(
        Goal(what=f"page with one bad item / without, {how}", unit="µs an item", bound=bound, measure=bad_page(how))
        for how, bound in (("typed", 10), ("raw", 20))
    ),
    Goal(what=f"longest hold in a walk of pages of {LARGE_PAGE:,} / decoding one", unit="ms", bound=1 / 5, measure=longest_hold),
    Goal(what=BUSY_WALK, unit="s", bound=1.06, measure=busy_walk),
    *(
        Goal(what=f"call / by hand, {at_once} at once", unit="µs a call", bound=1.25, measure=calls_beside("by_hand", at_once))
        for at_once in AT_ONCE
    ),
    *(
        Goal(what=f"call / by hand, {at_once} at once", unit="µs a call", bound=1.25, measure=small_call("by_hand", at_once))
        for at_once in (16, 256)
    ),
    Goal(what="call / httpx with pydantic, 64 at once", unit="µs a call", bound=1 / 10, measure=small_call("httpx_pydantic", 64)),
    Goal(what="peak memory of a long walk - of 10,000 items", unit="MiB", bound=2.0, of="difference", measure=growth),
    Goal(what="hydrated() / workers by hand over our client", unit="objects/s", bound=0.95, sense=">=", measure=hydration),
    Goal(what="import, CPU / of its four dependencies", unit="ms", bound=1.13, measure=import_cpu),
    Goal(what="import, memory / of its four dependencies", unit="MiB", bound=1.17, measure=import_memory),
)  # fmt: skip

SYNC_GOALS: Sequence[Goal] = (
    Goal(what="new offers into SQLite / by hand", unit="CPU µs an item", bound=3.0, margin=SYNC_MARGIN, measure=syncing("new", "sqlite")),
    *(
        Goal(what=f"unchanged offers, {name} / by hand", unit="CPU µs an item", bound=bound, margin=SYNC_MARGIN, measure=syncing("unchanged", kind))
        for name, kind, bound in SYNC_TARGETS
    ),
    Goal(what="new offers into DuckDB / dlt's generic source", unit="items/s", bound=3.0, sense=">=", margin=SYNC_MARGIN, measure=loading("sync", lambda used, items: items / used.wall)),
    Goal(what="time through sync_jobs.dlt / dlt's generic source", unit="s", bound=1.0, margin=SYNC_MARGIN, measure=loading("door", lambda used, _: used.wall)),
    Goal(what="memory through sync_jobs.dlt / dlt's generic source", unit="MiB", bound=1.0, margin=SYNC_MARGIN, measure=loading("door", lambda used, _: used.peak_mib)),
    Goal(what="peak memory of a long sync - of 10,000 offers", unit="MiB", bound=16.0, of="difference", margin=SYNC_MARGIN, measure=sync_growth),
    Goal(what=f"hydration, {HYDRATED_AT_ONCE} at once / the server's time", unit="s", bound=1.10, margin=SYNC_MARGIN, measure=sync_hydration),
)  # fmt: skip

OUT_OF_REACH: Mapping[str, OutOfReach] = {
    "typed walk / httpx with pydantic": OutOfReach(
        1 / 2.8, "a loop by hand, which adds nothing to aiohttp and msgspec, comes to 1/3.1"
    ),
    "typed walk / openapi-python-client": OutOfReach(1 / 5, "a loop by hand comes to 1/5.5"),
    "typed walk / core of openai": OutOfReach(1 / 10.5, "a loop by hand comes to 1/11.6"),
    "raw() / reading the pages by hand": OutOfReach(
        2.4, "to find where each item ends, every byte has to be looked at; reading alone looks at none"
    ),
    BUSY_WALK: OutOfReach(
        1.13, "half a megabyte has to travel after each delay: reading it and nothing else comes to 1.09"
    ),
    "call / by hand, 16 at once": OutOfReach(1.27, "eight coroutines lie between a call and the wire"),
    "call / by hand, 64 at once": OutOfReach(1.27, "likewise"),
    "call / by hand, 256 at once": OutOfReach(1.28, "likewise"),
    "import, CPU / of its four dependencies": OutOfReach(
        1.22, "some 35 modules at about two milliseconds each; `import limio_async` alone loads none of them"
    ),
}


# --- whether it is kept


def is_met(goal: Goal, value: float) -> bool:
    return value <= goal.bound if goal.sense == "<=" else value >= goal.bound


def held_to(goal: Goal) -> float:
    """The value beyond which something has gone wrong: the margin away from the goal, or from what is possible."""
    known = OUT_OF_REACH.get(goal.what)
    bound = known.possible if known else goal.bound
    return bound * goal.margin if goal.sense == "<=" else bound / goal.margin


def is_broken(goal: Goal, value: float) -> bool:
    return value > held_to(goal) if goal.sense == "<=" else value < held_to(goal)


# --- the tables


def goals(stage: Stage, broken: list[Goal]) -> Table:
    """Measures each goal of the client, as `judged` does."""
    return judged(GOALS, stage, broken)


def judged(promised: Sequence[Goal], stage: Stage | SyncStage, broken: list[Goal]) -> Table:
    """Measures each goal, those that seem broken once more and more often; those that are so twice are added to *broken*.

    What cannot be measured in this clone or on this machine breaks nothing, and its row says so.
    """

    def rows() -> Iterator[Sequence[str]]:
        for goal in promised:
            try:
                figure = goal.measure(stage)
            except (NotInHistory, NoPostgres) as reason:
                yield [goal.what, goal.unit, "-", "-", f"not measured: {reason}", told(goal), "-"]
                continue
            if is_broken(goal, figure.value):
                stage.forget(figure.rounds)
                figure = goal.measure(stage)
                if is_broken(goal, figure.value):
                    broken.append(goal)
            yield row(goal, figure)

    heads = ("ours / other", "unit", "ours", "other", "ratio or difference", "goal", "met")
    return Table("Goals", heads, rows())


def row(goal: Goal, figure: Figure) -> Sequence[str]:
    say = shown if goal.of == "ratio" else "{:z.1f}".format
    met = "yes" if is_met(goal, figure.value) else "no"
    sides = (f"{side:,.2f}" if side < 10 else f"{side:,.0f}" for side in (figure.ours, figure.other))
    return [goal.what, goal.unit, *sides, say(figure.value), told(goal), met]


def told(goal: Goal) -> str:
    return f"{goal.sense} {shown(goal.bound) if goal.of == 'ratio' else f'{goal.bound:z.1f}'}"


def out_of_reach() -> Table:
    """The goals that are known to be missed, and why."""
    rows = [(what, shown(known.possible), known.why) for what, known in OUT_OF_REACH.items()]
    return Table("Goals that are out of reach", ("ours / other", "possible", "why"), rows)
