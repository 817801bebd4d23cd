"""Journeys to a drawing: from a starting point over conditions and actions to destinations. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from limio_async.api.models import Journey, JourneyAction, JourneyCondition
from limio_async.report.figures import Journeys

__all__ = ["Branch", "branches", "drawing"]

_MOST_DRAWN = 24
_ROW, _BOX, _GAP = 54, 38, 26
_START, _CONDITIONS, _ACTION, _DESTINATION = (0, 150), (206, 320), (582, 130), (800, 200)
"""Where each column begins, and how wide it is."""
_LETTER = 6.9


class Branch(msgspec.Struct, frozen=True):
    """A journey in words."""

    conditions: str
    actions: list[tuple[str, list[tuple[str, str]]]]
    """What is done, and to which destinations, each with its share of the visitors."""


def branches(journeys: Iterable[Journey]) -> list[Branch]:
    """Journeys in words, in their order."""
    return [_branch(one) for one in journeys]


def _branch(journey: Journey) -> Branch:
    conditions = [_condition(one) for one in journey.conditions or () if one is not None]
    actions = [_action(one) for one in journey.actions or () if one is not None]
    return Branch(" and ".join(conditions) or "everybody", actions or [("no action", [])])


def _condition(condition: JourneyCondition) -> str:
    value = condition.value
    said = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return f"{condition.type or 'condition'}: {said}" if said else condition.type or "a condition"


def _action(action: JourneyAction) -> tuple[str, list[tuple[str, str]]]:
    values = [(one.tag or "no destination", _share(one.split)) for one in action.values or () if one]
    return action.type or "action", values


def _share(split: str | float | None) -> str:
    return "" if split is None or split == "" else f"{str(split).removesuffix('%').strip()} %"


class _Node(msgspec.Struct, frozen=True):
    """A box of the drawing; *y* is its middle."""

    column: tuple[int, int]
    y: float
    text: str
    look: str

    @property
    def left(self) -> int:
        return self.column[0]

    @property
    def right(self) -> int:
        return sum(self.column)


class _Edge(msgspec.Struct, frozen=True):
    """A line between two boxes."""

    start: _Node
    end: _Node
    label: str = ""
    look: str = "edge"


def drawing(journeys: Journeys) -> tuple[str, int]:
    """The journeys of a starting point as SVG, safe to put into a page; and how many are not drawn."""
    drawn = branches(journeys.journeys[:_MOST_DRAWN])
    nodes, edges, height = _laid_out(drawn, journeys)
    shapes = [*map(_line, edges), *map(_box, nodes), *map(_label, _spread(edges))]
    names = sorted({node.text for node in nodes if node.column is _DESTINATION})
    told = f"{len(journeys.journeys)} journeys from {journeys.starting_point or 'an unnamed start'} to {', '.join(names)}"
    width = sum(_DESTINATION)
    svg = (
        f'<svg viewBox="-2 -2 {width + 4} {height + 4:.0f}" width="{width}" height="{height + 4:.0f}"'
        f' role="img" aria-label="{escape(told)}">{"".join(shapes)}</svg>'
    )
    return svg, len(journeys.journeys) - len(drawn)


def _laid_out(drawn: Sequence[Branch], journeys: Journeys) -> tuple[list[_Node], list[_Edge], float]:
    rows: list[tuple[Branch, str, list[tuple[str, str]]]] = [
        (branch, action, values) for branch in drawn for action, values in branch.actions
    ]
    targets: dict[str, list[int]] = {}
    for row, (_, _, values) in enumerate(rows):
        for tag, _ in values:
            targets.setdefault(tag, []).append(row)
    by_place = sorted(targets, key=lambda tag: sum(targets[tag]) / len(targets[tag]))
    lines = max(len(rows), len(targets), 1)
    height = float(lines * _ROW + (_GAP + _BOX if journeys.fallback else 0))
    start = _Node(_START, lines * _ROW / 2, journeys.starting_point or "unnamed start", "start")
    ends = {
        tag: _Node(_DESTINATION, (place + 0.5) * lines * _ROW / max(len(targets), 1), tag, "end")
        for place, tag in enumerate(by_place)
    }
    nodes, edges = [start, *ends.values()], list[_Edge]()
    conditions: dict[int, _Node] = {}
    for row, (branch, action, values) in enumerate(rows):
        y = (row + 0.5) * lines * _ROW / len(rows)
        if id(branch) not in conditions:
            conditions[id(branch)] = _Node(_CONDITIONS, y, branch.conditions, "condition")
            nodes.append(conditions[id(branch)])
            edges.append(_Edge(start, conditions[id(branch)]))
        node = _Node(_ACTION, y, action, "action")
        nodes.append(node)
        edges.append(_Edge(conditions[id(branch)], node))
        edges += [_Edge(node, ends[tag], share) for tag, share in values]
    if journeys.fallback:
        fallback = _Node(_DESTINATION, height - _BOX / 2, journeys.fallback, "end fallback")
        nodes.append(fallback)
        edges.append(_Edge(start, fallback, "everybody else", "edge fallback"))
    return nodes, edges, height


def _box(node: _Node) -> str:
    width = node.column[1]
    room = int((width - 20) / _LETTER)
    text = (
        node.text
        if len(node.text) <= room
        else f"{node.text[: room // 2]}…{node.text[-(room - room // 2 - 1) :]}"
    )
    y = node.y - _BOX / 2
    return (
        f'<g class="{node.look}"><title>{escape(node.text)}</title>'
        f'<rect x="{node.left}" y="{y:.1f}" width="{width}" height="{_BOX}" rx="8"/>'
        f'<text x="{node.left + width / 2:.0f}" y="{node.y + 4.5:.1f}" text-anchor="middle">{escape(text)}</text></g>'
    )


def _line(edge: _Edge) -> str:
    x1, x2, y1, y2 = edge.start.right, edge.end.left, edge.start.y, edge.end.y
    if "fallback" in edge.look:  # below all boxes
        x1, y1 = edge.start.left + edge.start.column[1] // 2, y1 + _BOX / 2
        return f'<path class="{edge.look}" d="M{x1} {y1:.1f}V{y2 - 10:.1f}q0 10 10 10H{x2}"/>'
    bend = (x2 - x1) / 2
    return f'<path class="{edge.look}" d="M{x1} {y1:.1f}C{x1 + bend:.0f} {y1:.1f} {x2 - bend:.0f} {y2:.1f} {x2} {y2:.1f}"/>'


def _spread(edges: Iterable[_Edge]) -> Iterable[tuple[str, float, float]]:
    """Labels with their places: where a line leaves its box, those of one box below each other as their lines end."""
    used: dict[float, int] = {}
    counts: dict[float, int] = {}
    labelled = sorted((one for one in edges if one.label), key=lambda one: one.end.y)
    for one in labelled:
        counts[one.start.y] = counts.get(one.start.y, 0) + 1
    for one in labelled:
        if "fallback" in one.look:
            yield one.label, one.start.right + 60, one.end.y - 7
            continue
        place = used[one.start.y] = used.get(one.start.y, -1) + 1
        yield one.label, one.start.right + 42, one.start.y + (place - (counts[one.start.y] - 1) / 2) * 15 + 4


def _label(label: tuple[str, float, float]) -> str:
    text, x, y = label
    return f'<text class="share" x="{x:.0f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'
