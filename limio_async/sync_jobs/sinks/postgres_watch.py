"""Waiting for a PostgreSQL server no longer than was asked: for a connection, for locks that others hold, for an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import psycopg
from psycopg.conninfo import make_conninfo

from limio_async.errors import JobError, SinkError, TargetAway, TargetBusy
from limio_async.sync_jobs.sinks.postgres_session import Session, connected, connecting, settle, shut

__all__ = ["Watch"]

_TICK = 0.1
_MOMENT = 1.0  # seconds: what lasts longer is looked into
_SILENCE = 60.0  # seconds without an answer to anything, after which a server counts as gone
_QUEUE = 120.0  # seconds for which a pooler may let a new connection wait for its turn
_TO_OBEY = 1.0  # seconds for a server to end what it was asked to end
_MOST_IDLE = 50  # ticks after which the thread that watches ends
_HOLDERS = (
    "SELECT holder, usename, application_name, coalesce(state, backend_type)"
    " FROM unnest(pg_blocking_pids(%s)) AS blocking (holder) LEFT JOIN pg_stat_activity ON pid = holder"
)

_Busy = Callable[[float, str], JobError]


class Watch:
    """Watches the connections of one sink. A thread uses them; any other may cancel what it waits for.

    *lock_wait*: seconds that a statement may wait for a lock. *name* is that of the target.
    """

    def __init__(self, name: str, conninfo: str, *, lock_wait: float) -> None:
        self._lock_wait = lock_wait
        self._name = name
        self._conninfo = conninfo
        self._is_cancelled = self._hurries = False
        self._looks = set[_Look]()
        self._turn = threading.Lock()
        self._watcher: threading.Thread | None = None

    def cancel(self, *, only_blocked: bool = False) -> None:
        """End what is under way and refuse what comes; *only_blocked*: wait no longer than a moment from now on."""
        self._hurries = True
        self._is_cancelled = self._is_cancelled or not only_blocked

    def renew(self) -> None:
        """Forget that anything was cancelled."""
        self._is_cancelled = self._hurries = False

    def check(self) -> None:
        """Raise if the target was cancelled."""
        if self._is_cancelled:
            raise self._cancelled()

    def connect(self, search_path: str) -> Session:
        """Connect, and settle the connection. Raises `JobError` where it was cancelled."""
        self.check()
        began = monotonic()

        def waits() -> bool:
            return not (self._is_cancelled or (self._hurries and monotonic() > began + _MOMENT))

        made = connected(connecting(self._conninfo), waits)
        if made is None:
            self.check()
            raise TargetAway(f"{self._name}: no connection yet; stopped waiting for it")
        try:
            with self.over(made):
                settle(made, search_path, lock_wait=self._lock_wait)
        except BaseException:
            made.close()
            raise
        return made

    @contextmanager
    def over(
        self, connection: Session, *, busy: _Busy | None = None, lock_wait: float | None = None
    ) -> Generator[None]:
        """End what a block does with *connection* if it is cancelled, waits too long for a lock or gets no answer.

        *lock_wait* is how long it may wait, *busy* makes the error of a longer wait from its seconds and the holders.
        """
        self.check()
        look = _Look(
            connection,
            self._conninfo,
            lock_wait=self._lock_wait if lock_wait is None else lock_wait,
            busy=busy or self._busy,
        )
        self._begin(look)
        try:
            yield
        except (psycopg.Error, JobError):
            if look.verdict is not None:
                raise look.verdict from None
            raise
        finally:
            self._looks.discard(look)
            look.end()

    def _begin(self, look: _Look) -> None:
        """Let the one thread that watches see a block, which makes none of its own: most last milliseconds."""
        with self._turn:
            self._looks.add(look)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="limio-watch", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        idle = 0
        while True:
            sleep(_TICK)
            looks = self._looks.copy()
            for look in looks:
                self._see_to(look)
            idle = 0 if looks else idle + 1
            with self._turn:
                if idle > _MOST_IDLE and not self._looks:
                    self._watcher = None
                    return

    def _see_to(self, look: _Look) -> None:
        if self._is_cancelled:
            look.stop(self._cancelled())
        elif (waited := look.waited()) > (_MOMENT if self._hurries else look.lock_wait):
            look.stop(look.busy(waited, look.holders))
        elif look.silence() > _SILENCE:
            look.stop(TargetAway(f"{self._name}: the server does not answer any more"), at_once=True)
        else:
            look.ask(min(_MOMENT, look.lock_wait / 2))

    def _cancelled(self) -> JobError:
        return SinkError(f"{self._name}: cancelled")

    def _busy(self, waited: float, holders: str) -> JobError:
        return TargetBusy(
            f"{self._name}: waited {waited:.0f} s for a lock that is held by {holders}: end its transaction, or wait"
            " longer (--lock-wait)"
        )


class _Look:
    """One watched block: its connection, and what a connection beside it was told of it."""

    def __init__(self, connection: Session, conninfo: str, *, lock_wait: float, busy: _Busy) -> None:
        self.lock_wait = lock_wait
        self.busy = busy
        self.verdict: JobError | None = None
        """Why the block was ended."""
        self.holders = ""
        """Who holds what the connection waits for."""
        self.ended = threading.Event()
        self._connection = connection
        self._conninfo = conninfo
        self._turn = threading.Lock()
        self._free = self._heard = self._began = (
            monotonic()
        )  # when it waited for nobody, when the server answered
        self._waited = 0.0
        self._stopped: float | None = None
        self._asking: threading.Thread | None = None
        self._beside: Session | None = None

    def waited(self) -> float:
        """Return for how many seconds the connection has waited for a lock."""
        return self._waited if self.holders else 0.0

    def silence(self) -> float:
        """Return for how many seconds the server let nobody in."""
        return monotonic() - self._heard if self._asking else 0.0

    def ask(self, every: float) -> None:
        """Begin to ask who holds it, *every* so many seconds, once the block has lasted that long."""
        if self._asking is None and monotonic() > self._began + every:
            self._heard = monotonic()
            self._asking = threading.Thread(target=self._ask, args=(every,), name="limio-ask", daemon=True)
            self._asking.start()

    def stop(self, verdict: JobError, *, at_once: bool = False) -> None:
        """End the statement under way, if not by asking then by force."""
        with self._turn:  # the block lasts until the server has heard it: no later statement is hit
            if self.ended.is_set():
                return
            self.verdict = verdict
            first, self._stopped = self._stopped is None, self._stopped or monotonic()
            if at_once or monotonic() > self._stopped + _TO_OBEY:
                shut(self._connection)
            elif first:
                with suppress(psycopg.Error):
                    self._connection.cancel_safe(timeout=_TO_OBEY)

    def end(self) -> None:
        """The block is over; leave no thread that asks."""
        taken = self._turn.acquire(timeout=2 * _TO_OBEY)
        self.ended.set()
        if taken:
            self._turn.release()
        if self._asking is not None:
            self._asking.join(_TICK)
            if self._asking.is_alive() and self._beside is not None:
                shut(self._beside)

    def _ask(self, every: float) -> None:
        while not self.ended.is_set():
            with suppress(psycopg.errors.ConnectionTimeout):
                try:
                    self._beside = connected(
                        connecting(make_conninfo(self._conninfo, connect_timeout="5")),
                        lambda: not self.ended.is_set(),
                    )
                    self._listen(every)
                except psycopg.errors.ConnectionTimeout:
                    raise
                except psycopg.Error:  # whatever it says, it answers
                    self._heard = monotonic()
            self.holders = ""  # nobody knows
            self.ended.wait(every)

    def _listen(self, every: float) -> None:
        if self._beside is None:
            return
        self._heard = monotonic() + _QUEUE
        with self._beside as beside:
            while not self.ended.is_set():
                found = beside.execute(_HOLDERS, (self._connection.pid,)).fetchall()
                self._heard = monotonic()
                if not found:
                    self._free = self._heard
                self._waited = self._heard - self._free
                self.holders = ", ".join(_told(*one) for one in found)
                self.ended.wait(every)


def _told(pid: int, user: str | None, application: str | None, state: str | None) -> str:
    if not pid:
        return "a prepared transaction (pg_prepared_xacts)"
    facts = (
        user and f"user {user}",
        application and f"application {application}",
        state or "state not visible",
    )
    return f"process {pid} ({', '.join(filter(None, facts))})"
