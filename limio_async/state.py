"""What a client is doing just now."""

from __future__ import annotations

import msgspec

from limio_async.core.session import Session

__all__ = ["State", "state_of"]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is doing just now, in numbers; `str()` says it in words. No secret is in it."""

    open: bool
    """Whether it can be used."""
    used: int
    """Slots in use: requests on the wire, and those that wait for the pace."""
    allowed: int
    """Slots there are just now: fewer than `max_concurrency` after overload."""
    interactive: int
    """Interactive calls that wait for a slot."""
    background: int
    """Background calls that wait for a slot."""
    pause: float
    """Seconds for which the server wants to be left in peace."""
    quota: int
    """What is left of the retry quota."""
    most_quota: int
    token: float | None
    """Seconds until the token ends, less than 0 when it has ended; None where no token with an end is held."""

    def __str__(self) -> str:
        words = ["open" if self.open else "closed", f"{self.used} of {self.allowed} slots in use"]
        if self.interactive or self.background:
            words.append(f"{self.interactive} interactive and {self.background} background calls wait")
        if self.pause:
            words.append(f"a pause for {self.pause:.1f} s")
        words.append(f"{self.quota} of {self.most_quota} left to retry with")
        if self.token is not None:
            words.append(f"a token for {self.token:.0f} s" if self.token > 0 else "a token that has ended")
        return ", ".join(words)


def state_of(session: Session) -> State:
    """Return what a session is doing; in any thread, and outside of its loop."""
    ladder = session.ladder
    limiter, lifetime = ladder.limiter, ladder.lifetime
    tell = getattr(ladder.auth, "token_left", None)
    now = lifetime.loop.time() if lifetime.loop is not None else None
    return State(
        open=not lifetime.closed,
        used=limiter.running,
        allowed=limiter.allowed,
        interactive=limiter.waiting["interactive"],
        background=limiter.waiting["background"],
        pause=0.0 if now is None else max(0.0, limiter.opens_at - now),
        quota=ladder.quota.left,
        most_quota=ladder.quota.capacity,
        token=None if tell is None or now is None else tell(now),
    )
