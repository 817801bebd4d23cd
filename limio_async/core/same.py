"""Whether two JSON values are the same, and where they differ. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, cast

import msgspec

__all__ = ["canonical", "differing", "digest", "uniform"]

_EXACT = 2**53


def canonical(value: Any) -> bytes:
    """Return a JSON value as the text that all its spellings share: keys sorted, 1.0 as 1.

    Raises `RecursionError` where it is too deep.
    """
    return msgspec.json.encode(uniform(value), order="sorted")


def digest(text: bytes) -> str:
    """Return what stands for a text; equal for two JSON values where their `canonical` texts are."""
    return hashlib.sha256(text).hexdigest()


def uniform(value: Any) -> Any:
    """Return a JSON value with each number written in one way: 1.0 is 1."""
    if isinstance(value, dict):
        return {name: uniform(one) for name, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [uniform(one) for one in cast("list[Any]", value)]  # type: ignore[redundant-cast]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def differing(mine: Any, theirs: Any, at: str = "$") -> Iterator[str]:
    """Yield where two values differ, as JSON paths."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        ours, others = cast("dict[str, Any]", mine), cast("dict[str, Any]", theirs)
        for name in sorted({**ours, **others}):
            if name in ours and name in others:
                yield from differing(ours[name], others[name], f"{at}.{name}")
            else:
                yield f"{at}.{name}"
    elif isinstance(mine, list) and isinstance(theirs, list) and len(cast("list[Any]", mine)) == len(theirs):  # type: ignore[redundant-cast]
        for number, (one, other) in enumerate(zip(cast("list[Any]", mine), theirs, strict=True)):  # type: ignore[redundant-cast]
            yield from differing(one, other, f"{at}[{number}]")
    elif mine != theirs or isinstance(mine, bool) is not isinstance(theirs, bool):
        yield at
