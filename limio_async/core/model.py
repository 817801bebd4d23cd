"""What every body and answer can do: become plain data, show itself without what is not there, be taken by pydantic."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec

from limio_async.core.bodies import json_of

__all__ = ["ByType", "Hiding", "Model"]

_HIDDEN = "***"


class Model(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What every class of `limio_async.models` is derived from. `repr` leaves out what is not there."""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds, as new dicts and lists: names are those on the wire, absent fields are absent.

        A field that was given as None is null in a body, and absent in an answer. `msgspec.convert` makes an equal
        model of it again. Credentials are in it. Raises what `to_json` raises.
        """
        json_of(self)
        return cast("dict[str, Any]", msgspec.to_builtins(self, str_keys=True))

    def to_json(self) -> str:
        """Return `to_dict()` as JSON text. Raises `TypeError` or `ValueError` for what JSON cannot hold, as NaN."""
        return json_of(self).decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return how pydantic reads, writes and describes the class; pydantic calls it, nothing else."""
        from limio_async.core.pydantic_schema import schema_of

        return schema_of(cls)


class Hiding(Model, frozen=True, kw_only=True):
    """A model that holds credentials: `repr` shows that they are there, not what they are."""

    __hidden__: ClassVar[tuple[str, ...]] = ()
    """The fields that are not shown."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = ((one, getattr(self, one.name)) for one in msgspec.structs.fields(self))
        given = [(one.name, value) for one, value in fields if one.required or value is not one.default]
        return [(name, _HIDDEN if name in self.__hidden__ and value else value) for name, value in given]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value if value is _HIDDEN else repr(value)}" for name, value in self.__rich_repr__()
        )
        return f"{type(self).__name__}({shown})"


class ByType(msgspec.Struct, frozen=True):
    """Written beside a union of models: *field* tells which of them a value is. pydantic reads it."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return how pydantic reads, writes and describes the union *source*."""
        from limio_async.core.pydantic_schema import union_of

        return union_of(source, self.field, handler.generate_schema)
