"""Which rows of a batch a target takes, where it takes or refuses a whole. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limio_async.sync_jobs.sink import Refused, Row

__all__ = ["sound"]


def sound(
    rows: Sequence[Row], refusal: Callable[[Sequence[Row]], str | None]
) -> tuple[list[Row], list[Refused]]:
    """Return the rows that can be written together, and the others. *refusal* says why some cannot, None if they can.

    A row that is bad by itself is found by halves. Of rows that exclude each other, the first is kept.
    """
    kept, refused = _sifted(rows, lambda kept, some: refusal(some))
    if refusal(kept) is not None:
        kept, more = _sifted(kept, lambda kept, some: refusal([*kept, *some]))
        refused += more
    return kept, refused


def _sifted(
    rows: Sequence[Row], refusal: Callable[[Sequence[Row], Sequence[Row]], str | None]
) -> tuple[list[Row], list[Refused]]:
    kept: list[Row] = []
    refused: list[Refused] = []
    parts = [rows]
    while parts:
        part = parts.pop()
        if not part:
            continue
        if (reason := refusal(kept, part)) is None:
            kept += part
        elif len(part) == 1:
            refused.append(Refused(part[0], reason))
        else:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
    return kept, refused
