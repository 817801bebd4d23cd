"""Tables in Markdown: printed row by row, and put into a file between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

__all__ = ["BEGIN", "END", "Table", "printed", "shown", "with_figures"]

BEGIN, END = "<!-- figures: written by `python -m benchmarks.speed --write` -->", "<!-- end of figures -->"


class Table(msgspec.Struct, frozen=True):
    """What is measured while the rows are being taken."""

    title: str
    heads: Sequence[str]
    rows: Iterable[Sequence[str]]


def printed(table: Table) -> str:
    """Print *table*, each row as soon as it is there; gives what was printed."""
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"\n{table.title}\n")
    say(f"| {' | '.join(table.heads)} |")
    say(f"|---|{'---:|' * (len(table.heads) - 1)}")
    for row in table.rows:
        say(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def shown(ratio: float) -> str:
    """A ratio as people say it: 1.08, or 1/11.5."""
    return f"{ratio:.2f}" if ratio >= 0.4 else f"1/{1 / ratio:.1f}"


def with_figures(text: str, figures: str) -> str:
    """*text* with *figures* in place of what stands between the marks. Raises `ValueError` where there are none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the marks are missing: {BEGIN} … {END}")
    return f"{before}{begin}\n\n{figures.strip()}\n\n{end}{after}"
