"""Faults that are planted in the client on purpose, one function each: a judge that misses one is no judge.

`python -m tests.judges.walks --planted` plants each in a process of its own, and walks until its first find.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PLANTED", "Planted", "plant"]


@dataclass(frozen=True)
class Planted:
    """A fault: *patch* takes what stands at *where* (`module:Class.function`) and gives what replaces it."""

    name: str
    where: str
    patch: Callable[[Any], Any]


def plant(fault: Planted) -> None:
    """Replace the function, for as long as this process lives."""
    module, _, path = fault.where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, fault.patch(inspect.getattr_static(owner, name)))


def _ended_is_complete(_: Any) -> Any:
    return property(lambda report: report.ended)


PLANTED: Sequence[Planted] = (
    Planted("a walk that ended is complete", "limio_async:Report.complete", _ended_is_complete),
    # Those of the issue go here: (1) done saved before the verdict, (2) a restart forgets commit ids, (3) the page
    # check reads the cursor's text, (4) unique switches the page check off, (5) passing over stops at the first page,
    # (6) opaque cursors resumed without caution, (7) unreadable hits taken for none, (8) an error of the token taken
    # for the order's, (9) the end at items: null beside an error.
)
"""Each is found within 5,000 walks, or the judge fails."""
