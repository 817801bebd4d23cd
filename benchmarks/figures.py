"""What is measured beside the goals: tables that hold nobody to anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.contenders import Cost
from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.stage import CONTENDERS, MICRO, PAGE, Stage
from benchmarks.tables import Table

__all__ = ["tables"]

PAGE_SIZES = (50, 200, 1_000)
FORMS = ("typed", "slim", "raw", "ndjson")
AT_ONCE = (1, 16, 64, 256)
DELAYS = (0.0, 0.020, 0.050)
SIZES = (10_000, 100_000, 1_000_000)
WORKERS = 64
Rows = Iterator[Sequence[str]]


def tables(stage: Stage) -> Iterator[Table]:
    """All of them, in the order of the page."""
    yield Table(
        "Walks: CPU µs an item, and items a second",
        (
            "contender, form",
            *(f"{what}, pages of {size:,}" for size in PAGE_SIZES for what in ("µs", "items/s")),
        ),
        walks(stage),
    )
    yield Table(
        "Walks of a server that takes its time: seconds, and as a ratio of pages x delay",
        ("delay, page size", "pages x delay", "ours", "ratio", "by hand", "ratio", "read by hand", "ratio"),
        waits(stage),
    )
    yield Table(
        "Small calls: CPU µs, p50 and p99 in ms",
        ("contender", *(f"{what}, {number} at once" for number in AT_ONCE for what in ("µs", "p50", "p99"))),
        calls(stage),
    )
    inflater = stage.ask("ours", "inflates_with").came
    yield Table(
        f"Typed walk of pages of {PAGE} that are gzipped, inflated by {inflater}",
        ("contender", "µs an item", "items/s"),
        zipped(stage),
    )
    yield Table(
        f"Hydrating {stage.scale.objects:,} objects with {WORKERS} workers",
        ("how", "objects/s", "CPU µs an object"),
        hydration(stage),
    )
    yield Table(
        "Peak memory of a typed walk, MiB",
        ("contender", *(f"{size:,} items" for size in SIZES)),
        memory(stage),
    )
    yield Table(
        "A fresh process, Python's own start included",
        ("what it does", "seconds", "CPU ms", "peak memory, MiB"),
        fresh(stage),
    )


def typical(stage: Stage, measure: Callable[[], Cost]) -> Cost:
    """Of several runs after one that does not count: the one with the median of CPU time."""
    measure()
    costs = sorted((measure() for _ in range(stage.scale.slow_runs)), key=lambda cost: cost.cpu)
    return costs[len(costs) // 2]


def cells(cost: Cost, number: int) -> tuple[str, str]:
    return f"{cost.cpu / number * MICRO:,.1f}", f"{number / cost.wall:,.0f}"


def walks(stage: Stage) -> Rows:
    fast, slow = stage.scale.items, stage.scale.slow_items
    known = [(name, form, fast) for form in FORMS for name in ("ours", "by_hand")]
    known += [(name, "typed", slow) for name in CONTENDERS if name not in {"ours", "by_hand"}]
    for name, form, items in known:
        shown: list[str] = []
        for size in PAGE_SIZES:
            shown += cells(typical(stage, partial(walk, stage, name, form, items, size)), items)
        yield f"{name}, {form}", *shown


def walk(stage: Stage, name: str, form: str, items: int, size: int, delay: float = 0) -> Cost:
    """By hand, `raw` is reading the bytes of the pages and not looking at them."""
    if (name, form) == ("by_hand", "raw"):
        return stage.ask(name, "read", url=stage.url(items, delay=delay), page_size=size, offers=items)
    return stage.walk(name, items, form, page_size=size, delay=delay)


def waits(stage: Stage) -> Rows:
    items = stage.scale.items // 2
    for delay in DELAYS:
        for size in PAGE_SIZES[1:]:
            waited = (items // size + 1) * delay
            shown = [f"{waited:.2f}"]
            for name, form in (("ours", "typed"), ("by_hand", "typed"), ("by_hand", "raw")):
                wall = typical(stage, partial(walk, stage, name, form, items, size, delay)).wall
                shown += f"{wall:.2f}", f"{wall / waited:.2f}" if waited else "-"
            yield f"{delay * 1e3:.0f} ms, {size:,}", *shown


def calls(stage: Stage) -> Rows:
    for name in CONTENDERS:
        count = stage.scale.slow_calls if name in REQUIREMENTS else stage.scale.calls
        shown: list[str] = []
        for at_once in AT_ONCE:
            cost = typical(stage, partial(stage.calls, name, count, at_once))
            _, p50, p99 = cost.came
            shown += f"{cost.cpu / count * MICRO:,.0f}", f"{p50 * 1e3:.2f}", f"{p99 * 1e3:.2f}"
        yield name, *shown


def zipped(stage: Stage) -> Rows:
    items = stage.scale.items
    for name in ("ours", "by_hand"):
        yield name, *cells(typical(stage, partial(stage.walk, name, items, zipped=True)), items)


def hydration(stage: Stage) -> Rows:
    args = {"url": stage.url(stage.scale.items), "objects": stage.scale.objects, "workers": WORKERS}
    known = {
        "`hydrated()`": ("ours", "hydrate"),
        "workers by hand over our client": ("ours", "hydrate_by_hand"),
        "workers by hand over aiohttp": ("by_hand", "hydrate"),
    }
    for what, (name, measure) in known.items():
        cost = typical(stage, partial(stage.ask, name, measure, came=stage.scale.objects, **args))
        cpu, rate = cells(cost, stage.scale.objects)
        yield what, rate, cpu


def memory(stage: Stage) -> Rows:
    for name in ("ours", "by_hand"):
        yield name, *(f"{stage.peak(name, size):.1f}" for size in SIZES)


def fresh(stage: Stage) -> Rows:
    url = stage.url(PAGE)
    known = {
        "imports aiohttp, anyio, backoff, msgspec": ("dependencies",),
        "`import limio_async`": ("package",),
        "`from limio_async import Limio`": ("client",),
        "walks to the first item": ("first_of_ours", url),
        "the same by hand, of dicts": ("first_by_hand", url),
    }
    for what, command in known.items():
        cost = typical(stage, partial(stage.fresh, *command))
        yield what, f"{cost.wall:.2f}", f"{cost.cpu * 1e3:.0f}", f"{cost.peak_kib / 1024:.1f}"
