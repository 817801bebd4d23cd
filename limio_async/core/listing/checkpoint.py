"""Where a walk stood, and what its verdict needs, as a value that can be stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from limio_async.core.wire import UNDECODABLE, Endpoint, Paging
from limio_async.errors import ForeignCheckpoint

__all__ = ["PAGES_KEPT", "Checkpoint", "Cursor", "digest"]

PAGES_KEPT = 64
"""How many fingerprints of pages a checkpoint holds."""

_VERSION = 2
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
    """How many items were handed out that do not lie before it: such a walk can only have ended."""
    repeated: _Count = 0
    """How many items came in pages that had come before."""
    pages: tuple[_Print, ...] = ()
    """Fingerprints of the pages before `cursor`, at most the last 64."""
    ended: bool = False
    """Whether the walk came to the list's end."""
    done: bool = False
    """Whether it came to the end and was judged well."""
    version: int = msgspec.field(default_factory=lambda: _VERSION)  # always written

    @property
    def resumes_in_the_middle(self) -> bool:
        """Whether resuming asks for what is left only, not for all pages again."""
        return self.ended or self.cursor is not None

    def to_json(self) -> str:
        """Text that `resume=` takes, now or later."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(
        cls, saved: Checkpoint | str | bytes | None, *, operation: str, digest: str, paging: Paging
    ) -> Checkpoint:
        """The checkpoint in *saved*; without one, the top of the list.

        Raises `ForeignCheckpoint` if it is not one of this listing or cannot be resumed.
        """
        if saved is None:
            return cls(operation=operation, digest=digest, items=0)
        if not isinstance(saved, Checkpoint):
            saved = _decoded(saved, operation, paging)
        if reason := saved._refusal(operation, digest, paging):
            raise ForeignCheckpoint(reason, operation=operation)
        return saved

    def _refusal(self, operation: str, digest: str, paging: Paging) -> str:
        """Why this listing cannot be resumed here; empty where it can."""
        if self.version != _VERSION:
            return f"the checkpoint has version {self.version}; this release reads 1 and {_VERSION}"
        if self.operation != operation:
            return f"the checkpoint belongs to {self.operation}"
        if self.digest != digest:
            return "the checkpoint belongs to other arguments or another host"
        if self.cursor and not set(self.cursor.query) <= set(paging.sends.values()):
            return "its cursor is not one of this listing"
        if self.cursor and not paging.species.durable:
            return "its cursor cannot be stored: walk again from the top"
        if self.ended:
            return ""
        if len(self.commit_ids) > 1:
            return "the catalog was rebuilt during that walk: walk again from the top"
        if self.gone:
            return "that walk began again and found the list in another order: walk again from the top"
        return ""


class _Version1(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of releases that did not carry the verdict."""

    operation: str
    digest: str
    items: _Count
    cursor: Cursor | None = None
    skip: _Count = 0
    last: str | None = None
    commit_id: str | None = None
    mixed: bool = False
    done: bool = False


class _Any(msgspec.Struct):
    version: int = 1


def _decoded(saved: str | bytes, operation: str, paging: Paging) -> Checkpoint:
    try:
        if msgspec.json.decode(saved, type=_Any).version != 1:
            return msgspec.json.decode(saved, type=Checkpoint)
        old = msgspec.json.decode(saved, type=_Version1)
    except UNDECODABLE as error:
        raise ForeignCheckpoint(f"not a checkpoint: {error}", operation=operation) from None
    reason = ""
    if old.done:
        reason = "was saved at the end of a walk that nobody had judged"
    elif old.mixed:
        reason = "was saved after the catalog was rebuilt"
    elif old.cursor and not paging.species.durable:
        reason = "holds a cursor that cannot be stored"
    if reason:
        said = f"the checkpoint is of an earlier release and {reason}: walk again from the top"
        raise ForeignCheckpoint(said, operation=operation)
    return Checkpoint(
        operation=old.operation,
        digest=old.digest,
        items=old.items,
        cursor=old.cursor,
        skip=old.skip,
        last=old.last,
        sent=max(0, old.items - old.skip) if old.cursor else 0,
        commit_ids=(old.commit_id,) if old.commit_id else (),
    )


def digest(endpoint: Endpoint[Any], args: Mapping[str, Any], origin: str) -> str:
    """What a checkpoint is bound to, in 16 hex digits: operation, arguments, host."""
    given = sorted((name, str(value)) for name, value in args.items() if value is not None)
    bound = [endpoint.operation, origin, dict(endpoint.bound), given]
    return hashlib.sha256(repr(bound).encode(errors="backslashreplace")).hexdigest()[:16]
