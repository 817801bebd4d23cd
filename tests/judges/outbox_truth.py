"""What an outbox says of its orders, compared with what the tenant made. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from tests.judges.outbox_server import Made

__all__ = ["Said", "Verdict", "judged", "misled"]


class Said(NamedTuple):
    """What an outbox says of a key in the end."""

    state: str
    ids: Sequence[str] = ()
    subscription: str | None = None


class Verdict(NamedTuple):
    """How many keys ended in which way."""

    meant: int
    made: int
    """Keys with one order or more."""
    parked: int
    held: int
    """Keys that wait for an earlier order of their subscription, which a person decides about."""
    refused: int
    twice: int
    missing: int
    """Keys without an order, that the outbox does not say it has not made."""
    faults: Sequence[str]
    """What is wrong, in words, one a line."""


def judged(
    meant: Sequence[str],
    made: Sequence[Made],
    said: Mapping[str, Said],
    *,
    parked_is_unmade: bool,
    none_parked: bool = False,
) -> Verdict:
    """Compare; *meant* are the keys in the order of their intents.

    *parked_is_unmade*: no parked key may have an order. *none_parked*: no key may be parked.
    """
    often = Counter(one.key for one in made)
    ids: dict[str, set[str]] = {}
    for one in made:
        ids.setdefault(one.key, set()).add(one.id)
    faults: list[str] = []
    counted: Counter[str] = Counter()
    stuck: set[str] = set()
    for key in meant:
        mine, number = said.get(key, Said("unknown")), often[key]
        counted["made"] += number > 0
        counted[mine.state] += 1
        if number > 1:
            counted["twice"] += 1
            faults.append(f"twice: {key} has {number} orders; the outbox says {mine.state}")
        held = mine.state in {"intended", "missing"} and mine.subscription in stuck
        counted["held"] += held
        if mine.state in {"parked", "doubt"} and mine.subscription:
            stuck.add(mine.subscription)
        faults += _of_one(
            key, mine, number, ids.get(key, set()), held=held, parked_is_unmade=parked_is_unmade
        )
        if none_parked and mine.state == "parked":
            faults.append(f"not made: {key} is parked, though the list shows in time what was made")
        counted["missing"] += number == 0 and not held and mine.state not in {"parked", "refused"}
    faults += [f"stranger: an order of {key!r}, which nobody meant" for key in often.keys() - {*meant}]
    faults += [f"stranger: the outbox tells of {key!r}, which nobody meant" for key in said.keys() - {*meant}]
    return Verdict(
        len(meant), counted["made"], counted["parked"], counted["held"], counted["refused"], counted["twice"],
        counted["missing"], faults,
    )  # fmt: skip


def _of_one(
    key: str, said: Said, number: int, ids: set[str], *, held: bool, parked_is_unmade: bool
) -> list[str]:
    faults: list[str] = []
    if strange := {*said.ids} - ids:
        faults.append(f"strange id: {key} is said to be {', '.join(sorted(strange))}")
    match said.state:
        case "accepted":
            if number == 0:
                faults.append(f"missing: {key} is said to be accepted")
            elif not said.ids:
                faults.append(f"no id: {key} is accepted without saying which order it is")
        case "parked":
            if number and parked_is_unmade:
                faults.append(f"parked: {key} was made")
        case "refused":
            if number:
                faults.append(f"refused: {key} was made")
        case "unknown":
            faults.append(f"missing: {key} was intended, and is not known any more")
        case _ if held:
            if number:
                faults.append(f"held: {key} was made")
        case state:
            faults.append(
                f"missing: {key} stays {state}" if not number else f"unsettled: {key} stays {state}"
            )
    return faults


def misled(
    told: Collection[tuple[str, str]],
    made: Sequence[Made],
    said: Mapping[str, Said],
    *,
    parked_is_unmade: bool = False,
) -> list[str]:
    """Return what callbacks were told that is not so, or were not told; *told* are keys and events.

    *parked_is_unmade*: nor may any key have an order that was parked for a while.
    """
    often = Counter(one.key for one in made)
    possible: Mapping[str, Callable[[int], bool]] = {
        "accepted": lambda number: number > 0,
        "refused": lambda number: number == 0,
        "doubled": lambda number: number > 1,
        "failed": lambda number: False,
        "parked": lambda number: number == 0 or not parked_is_unmade,
    }
    faults = [
        f"{event}: {key} was told, and has {often[key]} orders"
        for key, event in sorted(told)
        if event in possible and not possible[event](often[key])
    ]
    ends = {"accepted", "refused"}
    return faults + [
        f"untold: {key} is {one.state}"
        for key, one in said.items()
        if one.state in ends and (key, one.state) not in told
    ]
