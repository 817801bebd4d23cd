"""A list of objects that grows while it is followed: what is drawn of it from one integer, and who serves it.

The server has a clock of its own, which moves on with each request. A row is in the list from the moment it appears,
which may be long after it was created, at the place that the time of its creation gives it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, Literal

from tests.judges.walks_wire import Reply, Request

__all__ = ["DEFAULT_OVERLAP", "FollowScenario", "FollowTenant", "Plan", "Row", "draw_follow"]

DEFAULT_OVERLAP = 300.0
_BEGIN = 1_700_000_000.0
_CALLS = ("orders.list", "customers.list", "subscriptions.list", "schedules.list", "objects.list")
_FAULTS = ("reset before", "reset within", "cut", "429", "502", "503")
_STAMPS = ("milliseconds", "milliseconds", "seconds", "offset", "microseconds", "no zone", "mixed")
How = Literal["items", "pages", "raw", "into", "collect"]


@dataclass(frozen=True)
class Row:
    """An object of the list; *name* tells it from all others."""

    serial: int
    name: str
    created: float
    appears: float
    rank: float
    raw: bytes
    dated: bool
    """Whether it tells when it was created."""
    has_id: bool

    @property
    def late(self) -> bool:
        """Whether it appears later than it was created."""
        return self.appears > self.created + 1.0


@dataclass
class Plan:
    """One walk, or one follow of the checkpoint before."""

    pause: float
    how: How
    options: dict[str, Any]
    stops: list[int]
    """Where it is stopped (after so many items or pages), before it is walked to its end."""
    forget: int
    """So many items before the stop the checkpoint was stored."""
    killed: bool


@dataclass
class FollowScenario:
    """A followed list, wholly determined by its seed."""

    seed: int
    call: str
    order: Literal["rising", "falling", "unsorted"]
    overlap: float | None
    page: int
    count: int
    """How many rows there are when it begins."""
    later: int
    """How many come afterwards."""
    span: float
    """Over how many seconds the first rows were created."""
    grain: float
    tick: float
    """So many seconds pass at a request, at most."""
    late: float
    undated: float
    nameless: float
    """The share of rows without id."""
    stamp: str
    empties: float
    ends_with_cursor: bool
    rate: float
    lies: bool
    endless: bool
    """Whether the list is at last followed by `listing.follow(every=…)`, until somebody breaks off."""
    plans: list[Plan] = field(default_factory=list[Plan])

    @property
    def seconds(self) -> float:
        """How far following has to reach back."""
        return DEFAULT_OVERLAP if self.overlap is None else self.overlap


def draw_follow(seed: int) -> FollowScenario:
    """The followed list of this seed."""
    r = Random(f"follow/{seed}")
    page = r.choice((1, 2, 3, 5, 5, 10))
    overlap = r.choice((None, None, 60.0, 60.0, 10.0, 600.0, 0.0))
    unit = (DEFAULT_OVERLAP if overlap is None else overlap) or 60.0
    bare = r.random() < 0.15
    stamp = r.choice(_STAMPS)
    scenario = FollowScenario(
        seed=seed,
        call=r.choice(_CALLS),
        order=r.choices(("rising", "falling", "unsorted"), (46, 44, 10))[0],
        overlap=overlap,
        page=page,
        count=r.choice((0, 1, 2, page, r.randint(2, 4 * page), r.randint(2, 6 * page), 3 * page)),
        later=r.randint(0, 6 * page),
        span=unit * r.choice((0.5, 2.0, 5.0, 20.0)),
        grain=r.choice((0.001, 1.0, unit / 5)),
        tick=r.choice((0.2, unit / 20, unit / 3)),
        late=r.choice((0.0, 0.3, 0.7)),
        undated=r.choice((0.1, 0.4, 1.0, 0.0)) if bare else 0.0,
        nameless=r.choice((0.1, 0.4, 0.0)) if bare else 0.0,
        stamp=stamp,
        empties=r.choice((0.0, 0.0, 0.3)),
        ends_with_cursor=r.random() < 0.4,
        rate=r.choice((0.0, 0.0, 0.1, 0.3)),
        lies=r.random() < 0.05,
        endless=r.random() < 0.06,
    )
    if stamp not in {"milliseconds", "microseconds"}:
        scenario.grain = max(1.0, math.floor(scenario.grain))
    if scenario.lies:  # nothing may keep the lie from being heard
        scenario.rate = 0.0
    scenario.plans = [_plan(r, scenario, unit, first=n == 0) for n in range(r.randint(2, 6))]
    if scenario.lies:
        scenario.plans[0].stops = []
    return scenario


def _plan(r: Random, s: FollowScenario, unit: float, *, first: bool) -> Plan:
    how: How = r.choice(("items", "items", "pages", "raw", "into", "collect"))
    drawn = {
        "page_size": r.choice((None, None, 1, 2, 3, 5, 10)),
        "read_ahead": r.choice((None, 0, 1)),
        "unique": r.choice((None, None, None, True)),
        "overlap": s.overlap,
        "on_bad_item": "yield" if s.nameless else None,
    }
    most = max(1, s.count if first else s.page)
    stops = [r.randint(1, most) for _ in range(r.choice((0, 0, 0, 1, 2)))] if how != "collect" else []
    return Plan(
        pause=0.0 if first else unit * r.choice((0.0, 0.1, 0.5, 1.0, 3.0)),
        how=how,
        options={name: value for name, value in drawn.items() if value is not None},
        stops=stops,
        forget=r.choice((0, 0, 1)),
        killed=r.random() < 0.5,
    )


class FollowTenant:
    """Serves the rows that have appeared."""

    def __init__(self, scenario: FollowScenario) -> None:
        self.scenario = scenario
        self.now = _BEGIN
        self.benign = False
        """Whether nothing goes wrong from now on."""
        self.calm = False
        """Whether nothing goes wrong and no time passes."""
        self.lied = False
        self.followed = False
        """Whether the first walk is over."""
        self.log: list[str] = []
        self.replies: list[Reply] = []
        """What was answered to the one who walks now."""
        self.requests = 0
        self.rows = _rows(scenario)
        self._names = {row.name: row for row in self.rows}
        self._before: Sequence[Row] = ()

    def row(self, name: str) -> Row | None:
        """The row of that name."""
        return self._names.get(name)

    def visible(self) -> list[Row]:
        """The list as it is now."""
        return sorted((row for row in self.rows if row.appears <= self.now), key=self._place)

    def accepts(self, connection: int) -> bool:
        """Serve every connection."""
        return True

    def reads_body(self, request: Request) -> bool:
        """Read every body."""
        return True

    @property
    def endless(self) -> bool:
        """Whether more was asked than anybody needs."""
        return self.requests > 1_500

    def answer(self, request: Request) -> Reply:
        """Answer a page, or a simple call."""
        if request.path.endswith("/x"):
            return Reply(body=b'{"id":"x","name":"x"}')
        if self.endless:
            return Reply(status=403, body=b"{}")
        self.requests += 1
        r = Random(f"follow/{self.scenario.seed}/{self.requests}")
        reply = Reply(style=r.choices(("length", "chunked", "gzip"), (90, 5, 5))[0])
        if not self.calm:
            self.now += r.uniform(0.0, self.scenario.tick)
        self._answer(reply, request, r)
        if not (self.benign or self.calm) and r.random() < self.scenario.rate:
            fault = r.choice(_FAULTS)
            if fault.isdigit():
                reply.status, reply.body = int(fault), b'{"message":"no"}'
            else:
                reply.fault = fault
            self.log[-1] += f" {fault}"
        self.replies.append(reply)
        return reply

    def _answer(self, reply: Reply, request: Request, r: Random) -> None:
        s, cursor = self.scenario, request.query.get("queryMore", "")
        size = int(request.query.get("limit") or s.page)
        rows = self.visible()
        serial, _, passed = cursor.removeprefix("k").partition("-")
        if cursor:
            last = self._place(self.rows[int(serial)])
            rows = [row for row in rows if self._place(row) > last]
        page, following = rows[:size], ""
        if cursor and not passed and page and r.random() < s.empties:
            page, following = [], f"{cursor}-passed"
        elif len(rows) > size or (page and s.ends_with_cursor and len(page) == size):
            following = f"k{page[-1].serial}"
        if s.lies and cursor and page and not self.lied and not self.followed:
            self.lied, page = True, list(self._before)
        self._before = page or self._before
        answer = b'{"items":[' + b",".join(row.raw for row in page) + b"]"
        reply.body = answer + (b',"queryMore":' + json.dumps(following).encode() if following else b"") + b"}"
        shown = " ".join(row.name for row in page)
        self.log.append(
            f"{self.now - _BEGIN:8.1f} limit={size} {cursor or 'top'} -> [{shown}] {following or 'END'}"
        )

    def _place(self, row: Row) -> tuple[float, float]:
        match self.scenario.order:
            case "rising":
                return row.created, row.serial
            case "falling":
                return -row.created, -row.serial
            case _:
                return row.rank, row.serial


def _rows(s: FollowScenario) -> list[Row]:
    """All rows that there ever are."""
    r = Random(f"follow/{s.seed}/rows")
    lasts = sum(plan.pause for plan in s.plans) + s.tick * 3 * len(s.plans)
    moments = [_BEGIN - r.uniform(0.0, s.span) for _ in range(s.count)]
    moments += [_BEGIN + r.uniform(0.0, lasts) for _ in range(s.later)]
    unit, rows = s.seconds or 60.0, list[Row]()
    for serial, moment in enumerate(moments):
        created = math.floor(moment / s.grain) * s.grain
        delay = 0.0
        if r.random() < s.late:
            delay = r.choice((r.uniform(0.0, unit), r.uniform(0.0, unit), r.uniform(unit, 4.0 * unit)))
        dated, has_id = r.random() >= s.undated, r.random() >= s.nameless
        name = f"row-{serial}"
        content: dict[str, Any] = {"id": f"id-{serial}"} if has_id else r.choice(({}, {"id": None}))
        content["name"] = name
        if dated:
            content["created"] = _stamp(created, s.stamp, r)
        elif r.random() < 0.5:
            content["created"] = None
        raw = json.dumps(content).encode()
        rows.append(Row(serial, name, created, moment + delay, r.random(), raw, dated, has_id))
    return rows


def _stamp(seconds: float, form: str, r: Random) -> str:
    if form == "mixed":
        form = r.choice(("milliseconds", "seconds", "offset", "elsewhere"))
    moment = datetime.fromtimestamp(round(seconds * 1000) // 1000, UTC)
    moment += timedelta(milliseconds=round(seconds * 1000) % 1000)
    plain = moment.replace(tzinfo=None)
    match form:
        case "seconds":
            return f"{plain.isoformat(timespec='seconds')}Z"
        case "offset":
            return f"{plain.isoformat(timespec='seconds')}+00:00"
        case "microseconds":
            return f"{plain.isoformat(timespec='microseconds')}Z"
        case "no zone":
            return plain.isoformat(timespec="seconds")
        case "elsewhere":
            return moment.astimezone(timezone(timedelta(hours=1))).isoformat(timespec="seconds")
        case _:
            return f"{plain.isoformat(timespec='milliseconds')}Z"
