"""Where a walk stood, as a value that can be stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from limio_async.core.wire import UNDECODABLE, Endpoint, Paging
from limio_async.errors import ForeignCheckpoint

__all__ = ["Checkpoint", "Cursor", "digest"]


class Cursor(msgspec.Struct, frozen=True):
    """Where the next page starts: opaque, and only good for the listing that it came from."""

    query: dict[str, str]
    """The query parameters that ask for the page."""

    def __repr__(self) -> str:
        return "Cursor(…)"

    def __hash__(self) -> int:
        return hash(tuple(self.query.items()))


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a walk stood: everything before it was handed out, nothing after it. Small JSON.

    Bound to its operation, arguments and host. The checkpoint of a key cursor resumes in the middle, even
    next week; one of a scroll cursor walks again from the top and passes over what was handed out, as long
    as the catalog is the same (`commit_id`).
    """

    operation: str
    digest: str
    items: Annotated[int, msgspec.Meta(ge=0)]
    """How many items were handed out."""
    cursor: Cursor | None = None
    """The page to go on with; None where the walk goes on from the top."""
    skip: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many items to pass over from there."""
    last: str | None = None
    """The id of the last of those, to see whether the page is still the same."""
    commit_id: str | None = None
    mixed: bool = False
    """Whether the items come from more than one snapshot: such a walk cannot be resumed."""
    done: bool = False
    version: int = 1

    @property
    def resumes_in_the_middle(self) -> bool:
        """Whether resuming asks for what is left only, not for all pages again."""
        return self.done or self.cursor is not None

    def to_json(self) -> str:
        """Text that `resume=` takes, now or later."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, saved: Checkpoint | str | bytes | None, *, operation: str, digest: str) -> Checkpoint:
        """The checkpoint in *saved*; without one, the top of the list.

        Raises `ForeignCheckpoint` if it is not one of this listing.
        """
        if saved is None:
            return cls(operation=operation, digest=digest, items=0)
        if not isinstance(saved, Checkpoint):
            try:
                saved = msgspec.json.decode(saved, type=cls)
            except UNDECODABLE as error:
                raise ForeignCheckpoint(f"not a checkpoint: {error}", operation=operation) from None
        if saved.version != 1:
            raise ForeignCheckpoint(
                f"the checkpoint has version {saved.version}; this release reads 1", operation=operation
            )
        if saved.operation != operation:
            raise ForeignCheckpoint(f"the checkpoint belongs to {saved.operation}", operation=operation)
        if saved.digest != digest:
            raise ForeignCheckpoint(
                "the checkpoint belongs to other arguments or another host", operation=operation
            )
        if saved.mixed and not saved.done:
            raise ForeignCheckpoint(
                "the catalog was rebuilt during that walk: walk again from the top", operation=operation
            )
        return saved

    def check_cursor(self, paging: Paging) -> None:
        """Raise `ForeignCheckpoint` if the cursor asks with parameters that are not the cursor's."""
        if self.cursor and not set(self.cursor.query) <= set(paging.sends.values()):
            raise ForeignCheckpoint("its cursor is not one of this listing", operation=self.operation)


def digest(endpoint: Endpoint[Any], args: Mapping[str, Any], origin: str) -> str:
    """What a checkpoint is bound to, in 16 hex digits: operation, arguments, host."""
    given = sorted((name, str(value)) for name, value in args.items() if value is not None)
    bound = [endpoint.operation, origin, dict(endpoint.bound), given]
    return hashlib.sha256(repr(bound).encode(errors="backslashreplace")).hexdigest()[:16]
