"""Names of a package that are loaded when they are first used. Imports nothing of the package itself but `_deprecation`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazily"]


def lazily(
    scope: dict[str, Any],
    homes: Mapping[str, str],
    *,
    deprecated: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of the package whose globals are *scope*.

    *homes* is the module of each name, seen from the package. A module stands for itself where its name is the last
    part of its home. Each name is looked up once.

    *deprecated* is the successor of each old name, and the release that removes it: `{"Old": ("New", "0.3")}`. An old
    name is its successor, and warns whoever uses it.
    """
    package = scope["__name__"]
    old = deprecated or {}

    def __getattr__(name: str) -> object:  # noqa: N807  # that is what it is for
        if name in old:
            new, until = old[name]
            from limio_async._deprecation import warn

            warn(f"{package}.{name}", new, until, stacklevel=3)
            return scope[new] if new in scope else __getattr__(new)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(f"{package}.{homes[name]}")
        scope[name] = found = home if homes[name].split(".")[-1] == name else getattr(home, name)
        return found

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*scope, *scope["__all__"]})

    return __getattr__, __dir__
