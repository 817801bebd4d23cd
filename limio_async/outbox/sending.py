"""Sending what is intended, in one process of maybe several: until cancelled, or until only a person can go on."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import anyio
import msgspec

from limio_async import errors
from limio_async.client import Limio
from limio_async.core.clock import Clock
from limio_async.outbox import schema, table
from limio_async.outbox.decide import Answer, Row, answer_of, answered
from limio_async.outbox.looking import Looker, Seen, ask_the_time
from limio_async.outbox.outcome import Event
from limio_async.outbox.telling import Handler, Observer, Teller
from limio_async.stores import Store

__all__ = ["Sender"]

_log = logging.getLogger("limio_async")
_POLL = 1.0
_GRACE = 10.0  # seconds for what is on the wire when the sender is stopped
_LONGEST = 60.0
_RAREST = 86400.0  # seconds between two looks for what is parked
_ALIKE = 3
_MOST = 20
"""Orders in a row that are turned down before a run pauses: in the same words, and in any."""
_FAILS = 3
"""Looks in a row that fail before one does without what may be the reason: a cursor, an order that cannot be fetched."""
_FRESH = (
    0.3  # seconds, or half of `settle`, after which another process may have taken over what was not sent yet
)
_OURS = (errors.ClientClosed, errors.ConfigurationError, errors.MissingCredentials, errors.InvalidArgument)


class _Round(msgspec.Struct):
    taken: list[Row]
    changed: list[Row]
    doubts: list[Row]
    parked: list[Row]
    """Those to be looked for once more, if it is time for that."""
    told: list[Row]
    waiting: bool
    """Whether something can go on without a person."""


class Sender:
    """One `run` of an outbox."""

    def __init__(
        self, store: Store, limio: Limio, *, handlers: Mapping[Event, Sequence[Handler]], observers: Sequence[Observer],
        resend: bool, settle: timedelta, hold: bool, at_once: int, woken: Callable[[], anyio.Event],
    ) -> None:  # fmt: skip
        self._store, self._limio = store, limio
        self._resend, self._settle, self._hold, self._at_once = resend, settle, hold, at_once
        self._woken = woken
        self._owner = str(secrets.randbelow(2**62))
        self._clock = Clock()
        self._wire: set[str] = set()
        self._scopes: set[anyio.CancelScope] = set()
        self._until = math.inf
        """When what is shielded has to end, once the sender is stopped."""
        self._seen: dict[tuple[str, int], Seen] = {}
        self._teller = Teller(store, handlers, observers)
        self._quiet = self._look_after = self._warned = 0.0
        self._parked_after = self._rarely = 0.0
        """When parked orders are looked for again, and how long after the last time."""
        self._pauses = self._looks_failed = self._turned_down = 0
        self._alike: tuple[str | None, int] = None, 0
        self._looking = self._telling = self._by_hand = False
        self._fatal: BaseException | None = None

    async def run(self, *, until_idle: bool) -> None:
        """Send and look until cancelled."""
        await self._store.do(self._begin)
        self._often()
        try:
            await ask_the_time(self._limio, self._clock)
            async with anyio.create_task_group() as group:
                try:
                    while await self._round(group, until_idle=until_idle):
                        pass
                except Exception as error:
                    self._fatal = error
                    group.cancel_scope.cancel()
                finally:
                    self._until = anyio.current_time() + _GRACE
                    for scope in self._scopes:
                        scope.deadline = self._until
            if self._fatal is not None:
                raise self._fatal
        finally:
            with (
                anyio.move_on_after(_GRACE, shield=True),
                suppress(errors.StoreError),
            ):  # it ends with its process
                await self._store.do(self._end)

    def _begin(self, store: Store) -> None:
        schema.tenant(store, self._limio.origin)
        store.own(self._owner)
        schema.is_other(store)

    def _end(self, store: Store) -> None:
        table.give_back(store, self._owner, self._wire)
        store.own(None)

    # --- one round

    async def _round(self, group: anyio.abc.TaskGroup, *, until_idle: bool) -> bool:
        now, woken, wait = anyio.current_time(), self._woken(), _POLL
        try:
            found = await self._store.do(
                self._work(self._at_once - len(self._wire) if now >= self._quiet else 0)
            )
        except errors.StoreAway as error:
            self._warn(error)
            await anyio.sleep(_POLL)
            return True
        self._teller.changed(found.changed)
        for row in found.taken:
            self._wire.add(row.key)
            group.start_soon(self._send, row, now)
        self._seen = {
            (row.key, row.attempt): self._seen.get((row.key, row.attempt)) or Seen(now, self._clock.latest())
            for row in found.doubts
        }
        for one in self._seen.values():
            one.since = self._clock.latest() if one.since is None else one.since
        ripe = {
            (row.key, row.attempt): self._seen[row.key, row.attempt].at + self._settle.total_seconds()
            for row in found.doubts
        }
        due = found.parked or [row for row in found.doubts if ripe[row.key, row.attempt] <= now]
        if due and not self._looking and now >= self._look_after:
            self._looking = True
            seen = {row.key: self._seen.get((row.key, row.attempt)) or Seen(now, None) for row in due}
            group.start_soon(self._look, due, seen)
            if found.parked:
                self._rarely = min(_RAREST, 2 * self._rarely)
                self._parked_after = now + self._rarely
        if (told := self._teller.due(found.told)) and not self._telling:
            self._telling = True
            group.start_soon(self._tell, told)
        if self._fatal is not None and not self._wire:
            raise self._fatal
        stuck = not found.waiting or self._by_hand
        if (
            until_idle
            and stuck
            and not self._teller.waits(found.told)
            and not (self._wire or self._looking or self._telling)
        ):
            return False
        moments = [one for one in (*ripe.values(), self._quiet, self._look_after) if one > now]
        with anyio.move_on_after(max(0.0, min([wait, *(one - now for one in moments)]))):
            await woken.wait()
        return True

    def _work(self, most: int) -> Callable[[Store], _Round]:
        wire, sent = frozenset(self._wire), self._clock.earliest()
        again = anyio.current_time() >= max(self._parked_after, self._look_after) and not self._looking

        def work(store: Store) -> _Round:
            changed = table.take_over(store)
            taken = []
            if most > 0 and self._fatal is None:
                taken = table.take(store, self._owner, most, hold=self._hold, on_wire=wire, sent=sent)
            told = self._teller.untold(store)
            goes_on = bool(taken) or table.can_go_on(store, hold=self._hold)
            parked = table.unsure(store, "parked") if again else []
            return _Round(taken, [*changed, *taken], table.unsure(store, "doubt"), parked, told, goes_on)

        return work

    # --- sending

    async def _send(self, row: Row, taken: float) -> None:
        answer = await self._answer(row, taken)
        with self._held(_GRACE):
            await self._mark(row, answer, pause=self._heed(answer))
            self._wire.discard(row.key)  # only now: what is not on the wire may be sent by the next round
        self._woken().set()

    async def _answer(self, row: Row, taken: float) -> Answer:
        answer, asked = answer_of(asyncio.CancelledError()), anyio.current_time()
        late = asked - taken > max(_FRESH, self._settle.total_seconds() / 2)  # this process stood still
        if late or self._until < math.inf:
            return Answer(kind="unsent")
        with self._held():
            try:
                came = await self._limio.answer(
                    self._limio.orders.submit, msgspec.Raw((row.body or "").encode())
                )
                self._clock.see(came.headers, asked)
                answer = answer_of(came.value, row.key)
            except Exception as error:
                if isinstance(error, errors.LimioError):
                    self._clock.see(error.headers, asked)
                else:
                    _log.exception("sending failed")
                self._fatal = error if isinstance(error, _OURS) else self._fatal
                answer = answer_of(error)
            except asyncio.CancelledError as error:  # the sender was stopped, and waited long enough
                answer = answer_of(error.__cause__ or error)
                raise
        return answer

    async def _mark(self, row: Row, answer: Answer, *, pause: bool) -> None:
        """Write what came of it; where the store is away, try until the sender is stopped."""

        def work(store: Store) -> Row:
            if pause:
                why = f"{_ALIKE} orders in a row were turned down with the same words, or {_MOST} with any"
                schema.set_meta(store, "paused", why)
            now = table.one(store, row.key)
            return table.change(store, now, answered(now, row.attempt, answer))

        wait = 0.1
        while True:
            try:
                self._teller.changed([await self._store.do(work)])
            except errors.StoreError as error:
                self._warn(error)
                await anyio.sleep(wait := min(2 * wait, _POLL))
            except errors.UnknownKey:  # a backup, or a standby that never got it
                named = ", ".join(answer.names)
                _log.error("%r is in the outbox no more; what came of it: %s %s", row.key, answer.kind, named)
                return
            else:
                return

    def _heed(self, answer: Answer) -> bool:
        """Pause where sending more would do no good; return whether a person has to end that."""
        if answer.kind in {"accepted", "refused", "parked"}:
            self._pauses, self._by_hand = 0, False
            same = self._alike[1] + 1 if answer.error == self._alike[0] else 1
            self._alike = (None, 0) if answer.kind == "accepted" else (answer.error, same % _ALIKE)
            self._turned_down = 0 if answer.kind == "accepted" else (self._turned_down + 1) % _MOST
            return answer.kind != "accepted" and (same == _ALIKE or not self._turned_down)
        now = anyio.current_time()
        self._by_hand = self._by_hand or answer.by_hand
        if now >= self._quiet:
            self._pauses += 1
        self._quiet = max(
            self._quiet, now + (answer.wait or min(_LONGEST, 0.05 * 2 ** min(self._pauses, 20)))
        )
        return False

    @contextmanager
    def _held(self, more: float = 0.0) -> Generator[None]:
        """Let what is within end also where the sender is stopped, for a while."""
        with anyio.CancelScope(shield=True, deadline=self._until + more) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    # --- looking and telling

    def _often(self) -> None:
        """Look for parked orders `settle` from now, and then ever more rarely."""
        self._rarely = max(_POLL, self._settle.total_seconds())
        self._parked_after = anyio.current_time() + self._rarely

    async def _look(self, due: Sequence[Row], seen: Mapping[str, Seen]) -> None:
        looker = Looker(self._limio, self._store, self._clock, settle=self._settle, resend=self._resend)
        try:
            await looker.look(due, seen, impatient=self._looks_failed >= _FAILS)
            if any(row.state == "parked" for row in looker.changed):
                self._often()
            self._looks_failed = 0
            for one in seen.values():
                one.looks, one.at = one.looks + 1, anyio.current_time()
        except errors.LimioError as error:  # also where the store is away
            self._warn(error)
            self._by_hand = self._by_hand or isinstance(error, errors.Unauthorized | errors.Forbidden)
            self._looks_failed += 1
            self._look_after = anyio.current_time() + min(_LONGEST, 0.5 * 2 ** min(self._looks_failed, 10))
        finally:
            self._teller.changed(looker.changed)
            self._looking = False
            self._woken().set()

    async def _tell(self, rows: Sequence[Row]) -> None:
        try:
            await self._teller.tell(rows)
        finally:
            self._telling = False
            self._woken().set()

    def _warn(self, error: errors.LimioError) -> None:
        if (now := anyio.current_time()) >= self._warned:
            self._warned = now + _LONGEST
            _log.warning("the outbox waits: %s", error)
