"""Figures to charts: Vega-Lite draws them once, as SVG, so that the page needs no script. The only importer of vl_convert."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET
from zlib import crc32

import msgspec
import vl_convert

from limio_async.report.figures import Figures, Offers, Subscriptions, Tally, Turn, step_order
from limio_async.sync_jobs.events import Status

__all__ = ["Chart", "charts"]

_WIDE, _NARROW = 1000, 318
_COLOURS = [f"var(--c{number})" for number in range(1, 7)]
_RUN_STATUSES: tuple[Status, ...] = ("complete", "running", "interrupted", "incomplete", "failed")
_OF_STATUS = {
    "complete": "var(--complete)", "running": "var(--running)", "interrupted": "var(--interrupted)",
    "incomplete": "var(--incomplete)", "failed": "var(--failed)",
    "active": "var(--c1)", "pending": "var(--c2)", "cancelled": "var(--c3)", "expired": "var(--c4)", "initial": "var(--c5)",
}  # fmt: skip
"""The colour of each status, whichever others there are; one that is not known has a hue of its own."""
_OTHERS = "all others"
_MOST_TABLES = 30
_MOST_MONTHS = {_WIDE: 36, _NARROW: 12}
_MOST_EMPTY = 12
_MOST_TURNS = {_WIDE: 60, _NARROW: 20}
_MOST_PANELS = {_WIDE: 12, _NARROW: 6}
_THOUSANDS = "datum.value < 1000 ? datum.value : format(datum.value / 1000, ',') + 'k'"
_OUTCOMES = ("inserted", "updated", "deleted", "quarantined")
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
_CONFIG: dict[str, Any] = {
    "font": _FONT,
    "background": None,
    "view": {"stroke": None},
    "padding": 2,
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--line)", "domainColor": "var(--line)",
        "tickColor": "var(--line)", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8,
    },
    "legend": {
        "labelColor": "var(--ink)", "labelFontSize": 12, "orient": "top", "title": None, "symbolType": "square",
        "symbolSize": 110, "labelLimit": 280, "columnPadding": 16,
    },
    "header": {"labelColor": "var(--ink)", "labelFontSize": 12, "labelAnchor": "start", "title": None},
    "range": {"category": _COLOURS},
}  # fmt: skip


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A chart, what it says in words, and its figures."""

    title: str
    note: str
    """How to read it, and what it leaves out."""
    summary: str
    """Its text alternative."""
    wide: str
    """SVG, safe to put into a page; empty where there is nothing to draw."""
    narrow: str
    nothing: str = ""
    """What is said instead of an empty frame."""
    heads: Sequence[str]
    rows: Sequence[Sequence[str | int]]
    """The same as a table; numbers are counts."""


def charts(figures: Figures) -> dict[str, Chart]:
    """The charts that there are figures for, by name: runs, kept, changes, seen, offers, subscriptions."""
    found = {
        "runs": _ended(figures),
        "kept": _kept(figures),
        "changes": _changes(figures),
        "seen": _seen(figures),
        "offers": _offers(figures.offers),
        "subscriptions": _subscriptions(figures.subscriptions),
    }
    return {name: chart for name, chart in found.items() if chart is not None}


def _ended(figures: Figures) -> Chart | None:
    turns: dict[str, Counter[str]] = {}
    for one in figures.turns:
        turns.setdefault(_when(one, daily=figures.daily), Counter()).update(one.ended)
    if not turns:
        return None
    span = "day" if figures.daily else "run"
    drawn = _days([*turns]) if figures.daily else [*turns]
    values = [
        {"at": at, "status": status, "rank": rank, "count": counts[status], "said": f"{at}: {counts[status]:,} {status}"}
        for at, counts in turns.items()
        for rank, status in enumerate(_RUN_STATUSES)
        if counts[status]
    ]  # fmt: skip
    there = [one for one in _RUN_STATUSES if any(counts[one] for counts in turns.values())]

    def spec(width: int) -> dict[str, Any]:
        last = drawn[-_MOST_TURNS[width] :]
        return {
            "transform": [{"filter": {"field": "at", "oneOf": last}}],
            "mark": _bars(width, len(last)),
            "height": 150,
            "encoding": {
                "x": {"field": "at", "type": "ordinal", "scale": {"domain": last}, "axis": _times(width, len(last))},
                "y": {"field": "count", "type": "quantitative", "axis": {"title": "runs of streams", "tickCount": 4, "tickMinStep": 1, "domain": False}},
                "color": _colour("status", there, [*map(_of_status, there)], columns=None if width == _WIDE else 2),
                "order": {"field": "rank"},
                "description": {"field": "said"},
            },
        }  # fmt: skip

    total = sum(turns.values(), Counter[str]())
    bad = sum(any(counts[one] for one in ("incomplete", "failed")) for counts in turns.values())
    told = ", ".join(f"{total[name]:,} {name}" for name in there)
    skipped = len(drawn) - len(turns)
    idle = f" {skipped:,} {'day' if skipped == 1 else 'days'} between had no run." if skipped else ""
    return _drawn(
        spec,
        values,
        title=f"How runs ended, {span} by {span}",
        note=f"Each stream of a run counts once, in UTC. On {bad:,} of {len(turns):,} {span}s something failed or was incomplete.{idle}{_left(drawn, _MOST_TURNS)}",
        summary=f"In {len(turns)} {span}s: {told}.",
        heads=(f"{span} (UTC)", *_RUN_STATUSES),
        rows=[(at, *(counts[name] for name in _RUN_STATUSES)) for at, counts in reversed(turns.items())],
    )


def _kept(figures: Figures) -> Chart | None:
    kept = sorted((one for one in figures.kept if one.live or one.deleted), key=lambda one: -one.live)
    if not kept:
        return None
    shown = kept[:_MOST_TABLES]
    values = [
        {"table": one.table, "state": state, "count": count, "all": one.live + one.deleted, "said": f"{one.table}: {count:,} {state}",
         "short": f"{one.live:,}", "long": f"{one.live:,}" + (f" + {one.deleted:,} deleted" if one.deleted else "")}
        for one in shown
        for state, count in (("live", one.live), ("deleted", one.deleted))
    ]  # fmt: skip
    order = [one.table for one in shown]

    def spec(width: int) -> dict[str, Any]:
        y = {"field": "table", "type": "nominal", "sort": order, "axis": _names(width)}
        x: dict[str, Any] = {
            "field": "count", "type": "quantitative", "axis": _numbers(width),
            "scale": {"domainMax": max(one.live + one.deleted for one in shown) * (1.18 if width == _WIDE else 1.25)},
        }  # fmt: skip
        bars: dict[str, Any] = {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": {"x": x, "color": _colour("state", ["live", "deleted"], ["var(--c1)", "var(--c4)"]), "order": {"field": "state", "sort": "descending"}, "description": {"field": "said"}}}  # fmt: skip
        labels = {
            "transform": [{"filter": "datum.state == 'live'"}],
            "mark": {"type": "text", "align": "left", "dx": 6, "fill": "var(--ink)", "fontSize": 12},
            "encoding": {
                "x": {"field": "all", "type": "quantitative"},
                "text": {"field": "long" if width == _WIDE else "short"},
            },
        }
        return {"layer": [bars, labels], "encoding": {"y": y}, "height": {"step": 25}}

    live, deleted = sum(one.live for one in kept), sum(one.deleted for one in kept)
    most = f" The largest is {shown[0].table} with {shown[0].live:,}."
    left = f" The {len(kept) - len(shown)} smallest are only in the table." if len(kept) > len(shown) else ""
    stale = sum(one.stale for one in kept)
    left += f" {stale:,} live ones are stale: they could not be refreshed." if stale else ""
    return _drawn(
        spec,
        values,
        title="What is kept",
        note=f"Rows of each table; deleted ones are those that a complete walk did not see again.{left}",
        summary=f"{live:,} live and {deleted:,} deleted items in {len(kept)} tables.{most}",
        heads=("table", "stream", "live", "of these stale", "deleted"),
        rows=[(one.table, one.stream, one.live, one.stale, one.deleted) for one in kept],
    )


def _changes(figures: Figures) -> Chart | None:
    turns: dict[str, Counter[str]] = {}
    for one in figures.turns:
        counts = turns.setdefault(_when(one, daily=figures.daily), Counter())
        counts.update({name: getattr(one, name) for name in _OUTCOMES})
    if not any(counts.total() for counts in turns.values()):
        return None
    values = [
        {
            "at": at,
            "what": name,
            "rank": rank,
            "count": counts[name],
            "said": f"{at}: {counts[name]:,} {name}",
        }
        for at, counts in turns.items()
        for rank, name in enumerate(_OUTCOMES)
    ]
    colours = ["var(--c1)", "var(--c2)", "var(--c4)", "var(--c3)"]

    first, *others = turns
    is_load = len(others) > 1 and turns[first].total() > 5 * max(turns[at].total() for at in others)
    drawn = others if is_load else [first, *others]

    def spec(width: int) -> dict[str, Any] | None:
        last = drawn[-_MOST_TURNS[width] :]
        if not any(turns[at].total() for at in last):
            return None
        return {
            "transform": [{"filter": {"field": "at", "oneOf": last}}],
            "mark": _bars(width, len(last)),
            "height": 220,
            "encoding": {
                "x": {"field": "at", "type": "ordinal", "sort": last, "axis": _times(width, len(last))},
                "y": {"field": "count", "type": "quantitative", "axis": {"title": "items", "tickCount": 5, "domain": False}},
                "color": _colour("what", list(_OUTCOMES), colours, columns=None if width == _WIDE else 2),
                "order": {"field": "rank"},
                "description": {"field": "said"},
            },
        }  # fmt: skip

    total = sum(turns.values(), Counter[str]())
    span = "day" if figures.daily else "run"
    load = f" The first load, {turns[first].total():,} items, is only in the table." if is_load else ""
    told = ", ".join(f"{total[name]:,} {name}" for name in _OUTCOMES)
    return _drawn(
        spec,
        values,
        title=f"What changed, {span} by {span}",
        note=f"All streams together, in UTC; what was there already and unchanged is left out.{load}{_left(drawn, _MOST_TURNS)}",
        summary=f"In {len(turns)} {span}s: {told}.",
        nothing=f"Nothing has changed in the last {span}s.",
        heads=(f"{span} (UTC)", *_OUTCOMES),
        rows=[(at, *(counts[name] for name in _OUTCOMES)) for at, counts in reversed(turns.items())],
    )


def _seen(figures: Figures) -> Chart | None:
    times = sorted({one.at for one in figures.turns})
    if len(times) < 2:
        return None
    busiest = Counter[str]()
    for one in figures.turns:
        busiest[one.stream] = max(busiest[one.stream], one.seen)
    streams = [name for name, count in busiest.most_common() if count]
    if not streams:
        return None
    values = [
        {"at": one.at.isoformat(), "stream": one.stream, "seen": one.seen, "status": _worst(one), "said": f"{one.stream}, {_when(one, daily=figures.daily)}: {one.seen:,} seen, {_worst(one)}"}
        for one in figures.turns
    ]  # fmt: skip

    def spec(width: int) -> dict[str, Any]:
        shown = streams[: _MOST_PANELS[width]]
        columns = 4 if width == _WIDE else 2
        line = {"mark": {"type": "line", "color": "var(--c1)", "strokeWidth": 1.75}}
        colour = _colour("status", _RUN_STATUSES, [*map(_of_status, _RUN_STATUSES)])
        points = {
            "mark": {"type": "point", "filled": True, "size": 26, "opacity": 1},
            "encoding": {"description": {"field": "said"}, "color": {**colour, "legend": None}},
        }
        time_format = "%d %b" if (times[-1] - times[0]).days else "%H:%M"
        panel = {
            "width": 204 if width == _WIDE else 104,
            "height": 74,
            "layer": [line, points],
            "encoding": {
                "x": {"field": "at", "type": "temporal", "scale": {"type": "utc"}, "axis": {"title": None, "format": time_format, "tickCount": 2, "grid": False}},
                "y": {"field": "seen", "type": "quantitative", "axis": {"title": None, "labelExpr": _THOUSANDS, "tickCount": 2, "domain": False, "ticks": False}},
            },
        }  # fmt: skip
        return {
            "transform": [{"filter": {"field": "stream", "oneOf": shown}}],
            "facet": {"field": "stream", "type": "nominal", "sort": shown},
            "columns": columns,
            "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent"}},
            "spec": panel,
            "bounds": "flush",
            "spacing": {"column": 46, "row": 64},
        }

    left = f" On a wide screen the {_MOST_PANELS[_WIDE]} largest streams are drawn." if len(streams) > _MOST_PANELS[_WIDE] else ""  # fmt: skip
    rows = [
        (name, *_first_and_last([one for one in figures.turns if one.stream == name])) for name in streams
    ]
    return _drawn(
        spec,
        values,
        title="Items seen over time",
        note=f"Each stream on a scale of its own, in UTC; an incremental run sees only what has changed. A point has the colour of how the run ended, as above.{left}",
        summary=f"{len(streams)} streams over {len(times)} {'days' if figures.daily else 'runs'}; the largest is {streams[0]}.",
        heads=("stream", "first", "last", "most"),
        rows=rows,
    )


def _first_and_last(turns: Sequence[Turn]) -> tuple[int, int, int]:
    return turns[0].seen, turns[-1].seen, max(one.seen for one in turns)


def _offers(offers: Offers) -> Chart | None:
    if not offers.by_price:
        return None
    currencies = [name for name, _ in _sums(offers.by_price, 0).most_common(3)]
    tally = Tally({key: count for key, count in offers.by_price.items() if key[0] in currencies})
    few, terms = _few(tally, 2)
    steps = sorted({step for _, step, _ in few}, key=step_order)
    values = [
        {"currency": currency, "step": step, "term": term, "rank": terms.index(term), "count": count, "said": f"{step} {currency}, {term}: {count:,}"}
        for (currency, step, term), count in sorted(few.items())
    ]  # fmt: skip

    def spec(width: int) -> dict[str, Any]:
        panels = len(currencies) if width == _WIDE else 1
        panel = {
            "mark": _bars((width - 90) // panels + 70, len(steps)),
            "width": (width - 90) // panels - 20,
            "height": 200,
            "encoding": {
                "x": {"field": "step", "type": "ordinal", "sort": steps, "axis": {"title": "price", "labelAngle": -45, "grid": False, "ticks": False}},
                "y": {"field": "count", "type": "quantitative", "axis": {"title": "offers", "tickCount": 5, "domain": False}},
                "color": _colour("term", terms, _COLOURS, columns=3 if width == _WIDE else 1),
                "order": {"field": "rank"},
                "description": {"field": "said"},
            },
        }  # fmt: skip
        return {
            "facet": {"field": "currency", "type": "nominal", "sort": currencies},
            "columns": panels,
            "spec": panel,
        }

    others = offers.total - offers.unpriced - tally.total()
    left = f" {others:,} more are in other currencies: see the table." if others else ""
    unpriced = f" {offers.unpriced:,} have no price of their own." if offers.unpriced else ""
    return _drawn(
        spec,
        values,
        title="Offers by price and term",
        note=f"Live offers by the amount of their first charge and by term, currency by currency.{left}{unpriced}",
        summary=f"{offers.total:,} offers, {offers.unpriced:,} without a price; most are in {currencies[0]}.",
        heads=("currency", "price", "term", "offers"),
        rows=[
            (*key, count)
            for key, count in sorted(
                offers.by_price.items(), key=lambda one: (one[0][0], step_order(one[0][1]), one[0][2])
            )
        ],
    )


def _subscriptions(subscriptions: Subscriptions) -> Chart | None:
    if not subscriptions.by_month:
        return None
    few, statuses = _few(subscriptions.by_month, 1)
    months = _sums(few, 0)
    values = [
        {
            "month": month,
            "status": status,
            "rank": statuses.index(status),
            "count": count,
            "said": f"{month}: {count:,} {status}",
        }
        for (month, status), count in sorted(few.items())
    ]

    def spec(width: int) -> dict[str, Any]:
        last = drawn[-_MOST_MONTHS[width] :]
        return {
            "transform": [{"filter": {"field": "month", "oneOf": last}}],
            "mark": _bars(width, len(last)),
            "height": 220,
            "encoding": {
                "x": {"field": "month", "type": "ordinal", "scale": {"domain": last}, "axis": _times(width, len(last))},
                "y": {"field": "count", "type": "quantitative", "axis": {"title": "subscriptions", "tickCount": 5, "domain": False}},
                "color": _colour("status", statuses, [*map(_of_status, statuses)], columns=None if width == _WIDE else 3),
                "order": {"field": "rank"},
                "description": {"field": "said"},
            },
        }  # fmt: skip

    drawn = _calendar(sorted(months))
    is_whole = all(after - before == 1 for before, after in pairwise(map(_number, drawn)))
    skipped = "" if is_whole else " A year or more without any is left out."
    by_status = ", ".join(f"{count:,} {name}" for name, count in _sums(few, 1).most_common())
    undated = f" {subscriptions.undated:,} have no date." if subscriptions.undated else ""
    return _drawn(
        spec,
        values,
        title="Subscriptions by status and month",
        note=f"Live subscriptions by the month in which they were created (UTC) and by what they are now.{undated}{skipped}{_left(drawn, _MOST_MONTHS)}",
        summary=f"{subscriptions.total:,} subscriptions: {by_status}.",
        heads=("month", "status", "subscriptions"),
        rows=[(*key, count) for key, count in sorted(subscriptions.by_month.items(), reverse=True)],
    )


# --- what charts have in common


def _of_status(status: str) -> str:
    """Return the colour that belongs to a status, in every report."""
    if status in {_OTHERS, "other"}:
        return _COLOURS[-1]
    return _OF_STATUS.get(status) or f"hsl({crc32(status.encode(errors='replace')) % 360}, 38%, 52%)"


def _worst(turn: Turn) -> str:
    return next(status for status in reversed(_RUN_STATUSES) if turn.ended[status])


def _days(days: Sequence[str]) -> list[str]:
    """Return the days, with those between them on which nothing ran; where these are many, without."""
    found = [date.fromisoformat(one) for one in days]
    every = found[:1]
    for before, day in pairwise(found):
        gap = (day - before).days
        every += [before + timedelta(days=n) for n in range(1, gap)] if gap <= _MOST_EMPTY else []
        every.append(day)
    return [f"{one:%Y-%m-%d}" for one in every]


def _sums(tally: Tally, at: int) -> Counter[str]:
    sums = Counter[str]()
    for key, count in tally.items():
        sums[key[at]] += count
    return sums


def _few(tally: Tally, at: int) -> tuple[Tally, list[str]]:
    """The tally with no more names in one place than there are colours, and these names; most come first."""
    names = [name for name, _ in _sums(tally, at).most_common()]
    if len(names) > len(_COLOURS):
        names = [*names[: len(_COLOURS) - 1], _OTHERS]
    few = Tally()
    for key, count in tally.items():
        name = key[at] if key[at] in names else _OTHERS
        few[(*key[:at], name, *key[at + 1 :])] += count
    return few, names


def _calendar(months: Sequence[str]) -> list[str]:
    """The months, with those between them that have nothing; where these are a year or more, without."""
    numbers = [_number(one) for one in months]
    every = numbers[:1]
    for before, month in pairwise(numbers):
        every += range(before + 1, month + 1) if month - before <= _MOST_EMPTY else [month]
    return [f"{month // 12:04}-{month % 12 + 1:02}" for month in every]


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


def _when(turn: Turn, *, daily: bool) -> str:
    return f"{turn.at:%Y-%m-%d}" if daily else f"{turn.at:%Y-%m-%d %H:%M}"


def _left(shown: Sequence[str], most: Mapping[int, int]) -> str:
    """What of the times is not drawn, as a sentence."""
    if len(shown) > most[_WIDE]:
        return f" Only the last {most[_WIDE]} are drawn; on a narrow screen, {most[_NARROW]}."
    return (
        f" On a narrow screen, only the last {most[_NARROW]} are drawn." if len(shown) > most[_NARROW] else ""
    )


def _bars(width: int, count: int) -> dict[str, Any]:
    return {"type": "bar", "width": min(56, 0.76 * (width - 90) / max(count, 1))}


def _names(width: int) -> dict[str, Any]:
    return {"title": None, "domain": False, "ticks": False, "labelLimit": 220 if width == _WIDE else 110, "labelPadding": 8}  # fmt: skip


def _numbers(width: int) -> dict[str, Any]:
    return {"title": None, "tickCount": 6 if width == _WIDE else 2, "domain": False, "ticks": False}


def _times(width: int, count: int) -> dict[str, Any]:
    slanted = count > (12 if width == _WIDE else 4)
    return {"title": None, "labelAngle": -45 if slanted else 0, "grid": False, "ticks": False, "labelOverlap": True, "labelPadding": 6, "labelLimit": 130}  # fmt: skip


def _colour(field: str, names: Sequence[str], colours: Sequence[str], *, columns: int | None = None) -> dict[str, Any]:  # fmt: skip
    legend = {"columns": columns} if columns else {}
    return {"field": field, "type": "nominal", "scale": {"domain": names, "range": colours[: len(names)]}, "sort": names, "legend": legend}  # fmt: skip


def _drawn(spec: Any, values: Sequence[dict[str, Any]], **told: Any) -> Chart:
    wide, narrow = (_svg(spec(width), values, width, told["title"], told["summary"]) for width in (_WIDE, _NARROW))  # fmt: skip
    return Chart(wide=wide, narrow=narrow, **told)


def _svg(
    spec: dict[str, Any] | None, values: Sequence[dict[str, Any]], width: int, title: str, summary: str
) -> str:
    if spec is None:
        return ""
    whole = {
        "width": width,
        "autosize": {"type": "fit-x", "contains": "padding"},
        **spec,
        "data": {"values": values},
    }
    if "facet" in whole:
        del whole["width"], whole["autosize"]
    drawn = vl_convert.vegalite_to_svg(whole, config=_CONFIG, allowed_base_urls=[], show_warnings=False)
    return _tidied(drawn, f"{title}. {summary}")


def _tidied(drawn: str, alternative: str) -> str:
    """The SVG with its text alternative, a tooltip for each mark, and nothing that only a script would use."""
    root = ET.fromstring(drawn)  # noqa: S314  # vl_convert has written it
    for element in list(root.iter()):
        for child in list(element):
            if child.get("display") == "none" or child.get("d") == "":
                element.remove(child)
        said, mark = element.get("aria-label"), element.get("role") == "graphics-symbol"
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            name: _DECIMALS.sub(r"\1", value) if name in {"d", "transform"} else value
            for name, value in element.attrib.items()
            if not _is_dropped(name)
        }
        if said and mark and element.tag == "path":
            ET.SubElement(element, "title").text = said
    root.set("role", "img")
    root.set("aria-label", alternative)
    return ET.tostring(root, encoding="unicode")


def _is_dropped(name: str) -> bool:
    return name.startswith("aria-") or name in {"role", "class", "pointer-events", "version"}
