"""The list that a tenant holds: how its items look, what it is after a rebuild, and how a page of it is put into JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.judges.walks_odd import spoilt
from tests.judges.walks_refuse import refused_item
from tests.judges.walks_scenario import Scenario

__all__ = ["Item", "Snapshot", "grown", "made", "page_of"]


@dataclass(frozen=True)
class Item:
    """One item; *name* tells items apart, unless they are honestly the same."""

    serial: int
    name: str
    raw: bytes
    bad: bool = False
    has_id: bool = True


@dataclass(frozen=True)
class Snapshot:
    """The list as it was at one time."""

    number: int
    version: int
    """Of the catalog; items that are added to an object list leave it as it is."""
    commit: str
    items: Sequence[Item]

    def after(self, serial: int) -> int:
        """Where the item that comes after this one stands."""
        return next((n for n, item in enumerate(self.items, 1) if item.serial == serial), 0)


def made(s: Scenario, version: int) -> Snapshot:
    """The list after so many rebuilds: other contents, other order, some items more or less."""
    r = Random(f"{s.seed}/list/{version}")
    items = [_item(s, version, n, r) for n in range(max(0, s.count + (r.randint(-2, 3) if version else 0)))]
    if version and r.random() < 0.5:
        items.reverse()
    commit = {
        "none": "",
        "epoch": str(1_700_000_000_000 + version),
    }.get(s.commit, f"{version:x}{s.seed:039x}"[:40])
    return Snapshot(version, version, commit, items)


def _item(s: Scenario, version: int, n: int, r: Random) -> Item:
    name = f"v{version}-{n // s.equal if s.equal > 1 else n}"
    bad = s.bad_item and n == s.count // 2
    content: dict[str, Any] = {"id": f"id-{n}"} if s.ids == "own" or (s.ids == "some" and n % 2) else {}
    if s.call == "baskets.list_abandoned":
        content["recoveryLink"] = name
    content["name"] = [7, {}] if bad else name
    if bad:
        content["created"] = [7, {}]
    content["description"] = "d" * s.pad
    fields = list(content.items())
    if s.spaced:
        r.shuffle(fields)
    separators = (", ", ": ") if s.spaced else (",", ":")
    if "id" not in content and s.kind == "scroll":
        fields.append(("path", f"/offers/{name}"))  # of a catalog's items the path is as good as the id
    elif "id" not in content:
        bad = True
    raw = json.dumps(dict(fields), separators=separators).encode()
    no = Random(f"{s.seed}/refusals/{version}/{n}")
    if no.random() < s.nos:
        return Item(version * 1000 + n, name, refused_item(name, no), bad=True, has_id=False)
    odd = Random(f"{s.seed}/odd/{version}/{n}")
    if s.odd and odd.random() < s.odd:
        raw, name, unread = spoilt(raw, name, odd, halves=s.halves)
        bad = bad or unread
    return Item(version * 1000 + n, name, raw, bad, "id" in content)


def grown(last: Snapshot, serial: int) -> Snapshot:
    """The list with a new item at its top."""
    name = f"new-{serial}"
    raw = json.dumps({"id": f"id-{serial}", "name": name, "recoveryLink": name}).encode()
    return Snapshot(last.number + 1, last.version, "", [Item(serial, name, raw), *last.items])


def page_of(s: Scenario, snapshot: Snapshot, items: Sequence[Item], following: Any, r: Random) -> bytes:
    """A page of these *items* as JSON; *following* is its cursor, an ellipsis where there is none."""
    separators = (", ", ": ") if s.spaced else (",", ":")
    comma = b", \n" if s.spaced else b","
    name = "subscriptions" if s.call == "subscriptions.list_by_salesforce_id" else "items"
    fields = {name: b"[" + comma.join(item.raw for item in items) + b"]"}
    if s.hits != "missing":
        fields["hits"] = json.dumps(_hits(s, len(snapshot.items))).encode()
    if following is not ...:
        fields["queryMore"] = json.dumps(following).encode()
    if snapshot.commit and s.commit == "header":
        fields["header"] = json.dumps({"commitId": snapshot.commit}).encode()
    elif snapshot.commit:
        fields["commitId"] = json.dumps(snapshot.commit).encode()
    if s.call == "subscriptions.list_by_salesforce_id":
        fields["customers"] = b'[{"id":"cus-1"}]'
    elif s.call == "objects.events":
        fields["unpackedItems"] = b'[{"id":"row-1"}]'
    names = list(fields)
    if r.random() < 0.3:
        r.shuffle(names)
    return (
        b"{" + comma.join(b'"%b"%b' % (n.encode(), separators[1].encode()) + fields[n] for n in names) + b"}"
    )


def _hits(s: Scenario, count: int) -> Any:
    if s.lie == "wrong hits":
        count += 1 if s.seed % 2 or not count else -1
    unreadable: list[Any] = ["many", [], {"value": None}, {"total": 3}]
    return {
        "number": count,
        "text": str(count),
        "total": {"value": count, "relation": "eq"},
        "total as text": {"value": str(count)},
        "at least": {"value": count // 2, "relation": "gte"},
        "unreadable": unreadable[s.seed % 4],
    }[s.hits]
