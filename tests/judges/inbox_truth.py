"""What was told and answered 202, compared with what handlers wrote. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Effect", "Meant", "Verdict", "judged", "miscounted"]


class Meant(NamedTuple):
    """How often the body of one name is an event."""

    least: int = 1
    most: int = 1
    """More than *least* where a delivery without `updated` was not answered, and sent again."""


class Effect(NamedTuple):
    """A row that a handler wrote through `tx`."""

    name: str
    get: int
    """The number of the GET that it was handled with."""
    key: str
    seq: int
    """The place of the event among all that were stored."""


class Verdict(NamedTuple):
    """How the effects compare with what was meant."""

    meant: int
    effects: int
    twice: int
    lost: int
    wasted: int
    """GETs with which nothing was handled."""
    faults: Sequence[str]
    """What is wrong, in words, one a line."""


def judged(
    meant: Mapping[str, Meant],
    acknowledged: Mapping[str, int],
    effects: Sequence[Effect],
    *,
    gets: int,
    waste: int,
) -> Verdict:
    """Compare; *acknowledged* is how often each name was answered 202, *waste* how many GETs kills may cost."""
    often = Counter(one.name for one in effects)
    faults: list[str] = []
    twice = lost = 0
    for name, (least, most) in meant.items():
        number = often[name]
        of = f"{name} has {number} effects of {least}" + f" to {most}" * (least < most)
        if number > most:
            twice += number - most
            faults.append(f"twice: {of}")
        elif number < least:
            lost += least - number
            what = "lost" if acknowledged.get(name) else "never stored"
            faults.append(f"{what}: {of}, answered 202 {acknowledged.get(name, 0)} times")
    faults += [f"stranger: {name} has an effect, and nobody told it" for name in often.keys() - meant.keys()]
    faults += _disordered(effects)
    wasted = gets - len({one.get for one in effects})
    if wasted > waste:
        faults.append(f"wasted: {wasted} GETs served nothing, and kills explain {waste}")
    least_of_all = sum(one.least for one in meant.values())
    return Verdict(least_of_all, len(effects), twice, lost, wasted, faults)


def _disordered(effects: Sequence[Effect]) -> list[str]:
    """Return which events were handled after one of their key that came later; *effects* are in the order of handling."""
    latest: dict[str, int] = {}
    faults: list[str] = []
    for one in effects:
        if one.seq < latest.get(one.key, 0):
            faults.append(f"order: of {one.key}, event {latest[one.key]} was handled before {one.seq}")
        latest[one.key] = max(one.seq, latest.get(one.key, 0))
    return faults


def miscounted(counted: int, *, acknowledged: int, unanswered: int) -> Sequence[str]:
    """Compare how many deliveries an inbox says that it had with how many were answered 202, and how many left and were not."""
    if acknowledged <= counted <= acknowledged + unanswered:
        return []
    return [f"counted: {counted} deliveries, {acknowledged} were answered 202, and {unanswered} were not"]
