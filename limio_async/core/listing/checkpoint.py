"""Where a walk stood, and what its verdict needs, as a value that can be stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from limio_async.core.wire import UNDECODABLE, Endpoint, Paging
from limio_async.errors import ForeignCheckpoint

__all__ = ["PAGES_KEPT", "VERSION", "Checkpoint", "Cursor", "Trail", "digest"]

PAGES_KEPT = 64
"""How many fingerprints of pages a checkpoint holds."""

VERSION = 2
"""Of what this release stores."""
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Print = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Cursor(msgspec.Struct, frozen=True):
    """Where the next page starts: opaque, and only good for the listing that it came from."""

    query: dict[str, str]
    """The query parameters that ask for the page."""

    def __repr__(self) -> str:
        return "Cursor(…)"

    def __hash__(self) -> int:
        return hash(tuple(self.query.items()))


class Trail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest of what a walk handed out, so that it can be followed. Times are microseconds since 1970, UTC."""

    overlap: int
    """How far it looks back from the newest, in microseconds."""
    newest: int | None = None
    """The newest `created`."""
    last: int | None = None
    """The `created` before the place where the walk stood."""
    rising: bool = False
    """Whether an item was newer than the one before it."""
    falling: bool = False
    """Whether an item was older than the one before it."""
    begin: Cursor | None = None
    """The page where the overlap begins, of a list that does not fall; None where that is the first."""
    known: bytes = b""
    """What was handed out from there: of each item a hash of its id, and its seconds before the newest."""
    lost: int | None = None
    """The newest item that was one too many to be known."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a walk stood: everything before it was handed out, nothing after it. Small JSON.

    Bound to its operation, arguments and host. The checkpoint of a key cursor resumes in the middle, even
    next week. Any other walks again from the top and passes over what was handed out, as long as the list
    is the same. It also carries what the verdict needs: a short, repeated or mixed walk stays one.
    """

    operation: str
    digest: str
    items: _Count
    """How many items were handed out."""
    cursor: Cursor | None = None
    """The page to resume with; None where the walk resumes at the top."""
    skip: _Count = 0
    """How many items to pass over from there."""
    last: str | None = None
    """The id of the last of those, to see whether the list is still the same."""
    sent: _Count = 0
    """How many items the server sent before `cursor`; all of them where the walk has ended."""
    twice: _Count = 0
    """How many of those came twice, where ids are watched."""
    hits: _Count | None = None
    """How many items the server promised."""
    exact: bool = True
    """Whether `hits` is a count and not a lower bound."""
    commit_ids: tuple[str, ...] = ()
    """Snapshots that the items come from."""
    gone: _Count = 0
    """How many items did not come again where they had been handed out: the list has changed meanwhile."""
    scattered: bool = False
    """Whether items were handed out that do not lie before it: such a walk cannot be resumed."""
    repeated: _Count = 0
    """How many items came in pages that had come before."""
    pages: tuple[_Print, ...] = ()
    """Fingerprints of the pages before `cursor`, at most the last 64."""
    ended: bool = False
    """Whether the walk came to the list's end."""
    done: bool = False
    """Whether it came to the end and was judged well."""
    trail: Trail | None = None
    """What following it needs; None where its list cannot be followed."""
    follows: Trail | None = None
    """What a walk follows that was stopped in the middle."""
    version: int = 1
    commit_id: str | None = None
    """Of version 1: the snapshot."""
    mixed: bool = False
    """Of version 1: whether the items come from more than one snapshot."""

    @property
    def resumes_in_the_middle(self) -> bool:
        """Whether resuming asks for what is left only, not for all pages again."""
        return self.ended or self.cursor is not None

    @property
    def spoiled(self) -> str:
        """Why no walk can go on from here, though the list has more; empty where one can."""
        if self.ended:
            return ""
        if self.mixed or len(self.commit_ids) > 1:
            return "the catalog was rebuilt during that walk: walk again from the top"
        if self.scattered:
            return "that walk began again and found the list in another order: walk again from the top"
        return ""

    def to_json(self) -> str:
        """Return text that `resume=` takes, now or later; also `follow=`, where the walk came to its end."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(
        cls, saved: Checkpoint | str | bytes | None, *, operation: str, digest: str, paging: Paging
    ) -> Checkpoint:
        """Return the checkpoint in *saved*; without one, the top of the list.

        Raises `ForeignCheckpoint` if it is not one of this listing or cannot be resumed.
        """
        if saved is None:
            return cls(operation=operation, digest=digest, items=0, version=VERSION)
        if not isinstance(saved, Checkpoint):
            try:
                saved = msgspec.json.decode(saved, type=cls)
            except UNDECODABLE as error:
                raise ForeignCheckpoint(f"not a checkpoint: {error}", operation=operation) from None
        if reason := saved._refusal(operation, digest, paging):
            raise ForeignCheckpoint(reason, operation=operation)
        return saved if saved.version == VERSION else saved._taken_over()

    def _refusal(self, operation: str, digest: str, paging: Paging) -> str:
        """Return why this listing cannot be resumed here; empty if it can."""
        if self.version not in {1, VERSION}:
            return f"the checkpoint has version {self.version}; this release reads 1 and {VERSION}"
        if self.operation != operation:
            return f"the checkpoint belongs to {self.operation}"
        if self.digest != digest:
            return "the checkpoint belongs to other arguments or another host"
        trails = [one for one in (self.trail, self.follows) if one is not None]
        cursors = [one for one in (self.cursor, *(one.begin for one in trails)) if one is not None]
        if any(not set(one.query) <= set(paging.sends.values()) for one in cursors):
            return "its cursor is not one of this listing"
        if self.cursor and not paging.species.durable:
            return "its cursor cannot be stored: walk again from the top"
        if self.ended and self.version == VERSION:
            return ""
        if self.done:
            return "an earlier release saved it before the walk was judged: walk again from the top"
        return self.spoiled

    def _taken_over(self) -> Checkpoint:
        """Return a checkpoint of version 1 as one of this release."""
        return Checkpoint(
            operation=self.operation,
            digest=self.digest,
            items=self.items,
            cursor=self.cursor,
            skip=self.skip,
            last=self.last,
            sent=max(0, self.items - self.skip) if self.cursor else 0,
            commit_ids=(self.commit_id,) if self.commit_id else (),
            version=VERSION,
        )


def digest(endpoint: Endpoint[Any], args: Mapping[str, Any], origin: str) -> str:
    """Return what a checkpoint is bound to, in 16 hex digits: operation, arguments, host."""
    given = sorted((name, str(value)) for name, value in args.items() if value is not None)
    bound = [endpoint.operation, origin, dict(endpoint.bound), given]
    return hashlib.sha256(repr(bound).encode(errors="backslashreplace")).hexdigest()[:16]
