"""What the environment of a leg is made of, read from pyproject.toml: `python -m tests.legs.requirements lowest`.

bare     the package without any extra, on the newest releases
newer    the same as bare, on a newer Python
lowest   the package with its extras and what runs the tests, on the oldest releases that are allowed
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOOLS = ("aioresponses", "hypothesis", "pytest", "pytest-asyncio")
"""What the tests of the legs need themselves, of the group `dev`."""
BOUNDED = re.compile(
    r"(?P<name>[\w.-]+)(?P<parts>\[[\w,]+\])?>=(?P<least>[\w.]+)(?:,<[\w.]+)?(?P<where>;.*)?"
)


class Unbounded(ValueError):
    """A requirement does not begin with the oldest release that it allows."""


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def runtime() -> list[str]:
    """Return what the package always needs."""
    return list(project()["project"]["dependencies"])


def extras() -> list[str]:
    """Return what the extras bring."""
    brought = project()["project"]["optional-dependencies"].values()
    return sorted({one for requirements in brought for one in requirements})


def tools() -> list[str]:
    """Return what runs the tests."""
    return [one for one in project()["dependency-groups"]["dev"] if name_of(one) in TOOLS]


def at_lowest(requirement: str) -> str:
    """Return *requirement* for the oldest release that it allows, and no other. Raises `Unbounded`."""
    found = _bounded(requirement)
    return f"{found['name']}{found['parts'] or ''}=={found['least']}{found['where'] or ''}"


def name_of(requirement: str) -> str:
    """Return the name of the package. Raises `Unbounded`."""
    return _bounded(requirement)["name"]


def least(requirement: str) -> str:
    """Return the oldest release that *requirement* allows. Raises `Unbounded`."""
    return _bounded(requirement)["least"]


def _bounded(requirement: str) -> re.Match[str]:
    if (found := BOUNDED.fullmatch(requirement)) is None:
        raise Unbounded(f"{requirement} does not begin with the oldest release that it allows: NAME>=VERSION")
    return found


def of_leg(leg: str) -> Iterable[str]:
    """Return what is installed beside the package itself."""
    if leg != "lowest":
        return tools()
    return sorted({at_lowest(one) for one in (*runtime(), *extras(), *tools())})


if __name__ == "__main__":
    (leg,) = sys.argv[1:]
    sys.stdout.writelines(f"{one}\n" for one in of_leg(leg))
