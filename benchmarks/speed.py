"""How fast is the client, and what does it add to the wire and the decoder? `python -m benchmarks.speed`

Prints all tables, in about ten minutes; `--short` only how the client stands to its goals, in two and a half,
and two more for each goal in doubt. `--write` puts what was printed into benchmarks/README.md, which tells how to read it. Ends with an error where a goal is
broken.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import figures
from benchmarks.goals import Goal, goals, out_of_reach
from benchmarks.layers import layers, page_layers
from benchmarks.peers.environments import NoEnvironment
from benchmarks.stage import FULL, SHORT, Stage
from benchmarks.tables import Table, printed, with_figures
from benchmarks.ways import ways

README = Path(__file__).with_name("README.md")


def tables(stage: Stage, broken: list[Goal], *, short: bool) -> Iterator[Table]:
    yield goals(stage, broken)
    yield out_of_reach()
    if not short:
        yield from figures.tables(stage)
        yield layers()
        yield page_layers()
        yield ways()


def made_with(stage: Stage) -> str:
    """A line for each contender that took part."""
    lines = [f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores", ""]
    for name, packages in stage.versions().items():
        lines.append(
            f"- {name}: " + ", ".join(f"{package} {version}" for package, version in packages.items())
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    broken: list[Goal] = []
    with ExitStack() as held:
        stage = Stage(SHORT if args.short else FULL, held)
        try:
            parts = [printed(table) for table in tables(stage, broken, short=args.short)]
        except NoEnvironment as missing:
            sys.exit(str(missing))
        versions = made_with(stage)
    print(f"\n{versions}")
    if args.write:
        text = with_figures(README.read_text(encoding="utf-8"), "\n".join([versions, *parts]))
        README.write_text(text, encoding="utf-8")
    if broken:
        sys.exit("broken: " + "; ".join(goal.what for goal in broken))


if __name__ == "__main__":
    main()
