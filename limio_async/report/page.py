"""The page: one HTML file that asks nobody for anything. The only importer of jinja2."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from limio_async._durable import replacing
from limio_async.report.charts import charts
from limio_async.report.figures import Figures
from limio_async.report.flow import branches, drawing
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.status import length

__all__ = ["render", "write"]

NEVER = timedelta.max
_MOST_DRIFT = 200
_NOTHING = "\N{EN DASH}"
_HEADS = ("expected", "seen", "inserted", "updated", "unchanged", "deleted", "quarantined", "retries")


def render(figures: Figures, *, target: str, now: datetime) -> str:
    """The page about *target*; every word of it is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: Any = environment.filters
    filters.update(
        number=_number, counted=_counted, moment=_moment, size=_size, seconds=partial(_seconds, now=now), length_of=length, minute=_minute
    )  # fmt: skip
    template = environment.from_string(
        (files("limio_async.report") / "page.html").read_text(encoding="utf-8")
    )
    drawn = charts(figures)
    page = template.render(
        figures=figures,
        tenants=", ".join(one.removeprefix("https://") for one in figures.tenants),
        target=target,
        now=now,
        heads=_HEADS,
        charts={name: _safe(msgspec.structs.asdict(chart)) for name, chart in drawn.items()},
        flows=[_flow(one) for one in figures.journeys],
        live=sum(one.live for one in figures.kept),
        deleted=sum(one.deleted for one in figures.kept),
        complete=sum(one.complete for one in figures.last),
        ages=sorted(one.age(now) or NEVER for one in figures.standings),
        never=NEVER,
        nothing=_NOTHING,
        stale=[one for one in figures.kept if one.stale],
        drift=figures.drift[:_MOST_DRIFT],
    )
    return page.lstrip()


def write(page: str, file: Path) -> None:
    """Write a page and move it into place, so that whoever looks sees a whole one, also after a power failure."""
    file = file.resolve()  # what a link points to, not the link
    with replacing(file, part=file.with_name(f".{file.name}.partial")) as part:
        part.write(page.encode())


def _safe(chart: dict[str, Any]) -> dict[str, Any]:
    return {**chart, "wide": Markup(chart["wide"]), "narrow": Markup(chart["narrow"])}  # noqa: S704  # from an XML writer


def _flow(journeys: Any) -> dict[str, Any]:
    svg, left = drawing(journeys)
    return {
        "start": journeys.starting_point,
        "fallback": journeys.fallback,
        "svg": Markup(svg),  # noqa: S704  # flow.py escapes
        "left": left,
        "branches": branches(journeys.journeys),
    }


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _moment(value: datetime | None) -> str:
    return _NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _minute(value: datetime | None) -> str:
    return _NOTHING if value is None else f"{value:%Y-%m-%d %H:%M}"


def _size(value: int) -> str:
    return f"{value:,} bytes" if value < 10_000 else f"{value / 1_000:,.1f} kB"


def _seconds(report: StreamReport, now: datetime) -> str:
    seconds = report.seconds(now)
    minutes, rest = divmod(round(seconds), 60)
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"
