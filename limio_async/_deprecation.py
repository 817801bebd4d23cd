"""Names that go with a later release: each warns whoever uses it, and names its successor."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["deprecated", "warn"]

P = ParamSpec("P")
T = TypeVar("T")


def warn(old: str, new: str, until: str, *, stacklevel: int) -> None:
    """Warn the caller *stacklevel* frames up that *old* goes with release *until*, and that *new* is its successor."""
    frame = inspect.currentframe()
    for _ in range(stacklevel - 1):
        frame = frame and frame.f_back
    if frame and frame.f_globals.get("__name__") == "importlib._bootstrap":
        return  # `from package import name` looks whether there is such a name before it asks for it
    warnings.warn(
        f"{old} is deprecated and goes with {until}: use {new}", DeprecationWarning, stacklevel=stacklevel
    )


def deprecated(new: str, until: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function or method: it works until release *until* removes it, and warns its caller to use *new*.

    One that is awaited warns when it is awaited. A field of an answer that goes becomes a property with a
    marked getter. Classes and
    other names of a module are marked in its `lazily`; `TypeError` for a class.
    """

    def mark(function: Callable[P, T]) -> Callable[P, T]:
        if isinstance(function, type):
            raise TypeError(
                f"{function.__qualname__} is a class: name it in `deprecated` of its module's `lazily`"
            )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                warn(f"{function.__qualname__}()", new, until, stacklevel=3)
                return await function(*args, **kwargs)

            return cast("Callable[P, T]", awaited)

        @wraps(function)
        def warned(*args: P.args, **kwargs: P.kwargs) -> T:
            warn(f"{function.__qualname__}()", new, until, stacklevel=3)
            return function(*args, **kwargs)

        return warned

    return mark
