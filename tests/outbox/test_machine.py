"""Whatever crashes, is lost, late or refused: never more than one order for a key, and none where it says refused."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from limio_async.outbox import Outcome
from tests.outbox.processes import SETTLE, World
from tests.outbox.tenant import LOST, Fate

SHORTER = SETTLE.total_seconds() * 0.9
LONGER = SETTLE.total_seconds() * 4
FATES = st.builds(
    Fate,
    makes=st.booleans(),
    made_after=st.sampled_from([0.0, 0.005, 2.0]),
    answer=st.sampled_from([200, 200, 200, None, None, 0, 400, 404, 401, 429, 502, 503, 418]),
    after=st.sampled_from([0.0, 0.01, 3.0, 100.0]),
    lag=st.floats(0.0, 1.0),
    bare=st.booleans(),
)
"""Lags are parts of the machine's longest one."""


def honest(fate: Fate) -> Fate:
    """Who says no has made nothing, who says yes has made it."""
    made = {200: True, 0: False, 400: False, 404: False, 401: False, 429: False}.get(
        fate.answer or -1, fate.makes
    )
    made = False if fate.answer == 0 else made
    return Fate(**{**vars(fate), "makes": made, "made_after": 0.0 if fate.answer == 200 else fate.made_after})


class Telling(World):
    """It notes of whom it is told that Limio said no, and what is parked, if only for a while."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, observers=[self], **options)
        self.refused: set[str] = set()
        self.parked: dict[str, str | None] = {}

    def changed(self, outcome: Outcome) -> None:
        if outcome.state == "parked":
            self.parked[outcome.key] = outcome.error

    def open(self) -> None:
        super().open()
        assert self.box is not None

        @self.box.on("refused")
        async def refused(outcome: Outcome, _: object) -> None:
            self.refused.add(outcome.key)


class Machine(RuleBasedStateMachine):
    """An outbox that resends, at a tenant whose lags stay below `settle`."""

    when_missing: Literal["park", "resend"] = "resend"
    longest = SHORTER

    @initialize(falling=st.booleans(), read_lag=st.sampled_from([0.0, 0.0, 5.0, SHORTER]))
    def begin(self, falling: bool = False, read_lag: float = 0.0) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.world = Telling(self.directory, when_missing=self.when_missing, settle=SETTLE)
        self.world.tenant.descending, self.world.tenant.read_lag = falling, read_lag
        self.meant: list[str] = []
        self.count = 0

    @rule(subscription=st.sampled_from([None, None, "sub-1"]), fate=FATES, at_once=st.booleans())
    def intend(self, subscription: str | None, fate: Fate, at_once: bool) -> None:
        self.world.tenant.fates.append(self.lagging(honest(fate)))
        self.count += 1  # a key that a restore has forgotten is never meant again without maybe_sent=True
        key = f"key-{self.count}"
        order: dict[str, Any] = {"order_type": "renew", "process_immediately": at_once, "n": self.count}
        if subscription:
            order["forSubscription"] = {"id": subscription}
        else:
            order["orderItems"] = [{"offer": {"id": f"offer-{self.count}", "version": "1"}}]
        self.world.do(lambda: self._box.intend(key, order))
        self.meant.append(key)

    def lagging(self, fate: Fate) -> Fate:
        return replace(fate, lag=fate.lag * self.longest)

    @property
    def _box(self) -> Any:
        if self.world.box is None:
            self.world.open()
        return self.world.box

    @rule(lag=st.floats(0.0, 1.0), bare=st.booleans())
    def another(self, lag: float, bare: bool = False) -> None:
        self.world.tenant.another(lag=lag * self.longest, bare=bare)

    @rule(number=st.integers(1, 4))
    def lists_are_away(self, number: int) -> None:
        self.world.tenant.refuses_lists = number

    @rule()
    def start(self) -> None:
        self.world.start()

    @rule(seconds=st.sampled_from([0.001, 0.02, 1.0, 10.0, 61.0, 130.0, 700.0]))
    def passes(self, seconds: float) -> None:
        self.world.passes(seconds)

    @rule(number=st.integers(1, 40))
    def steps(self, number: int) -> None:
        if self.world.box is not None:
            self.world.steps(number)

    @rule()
    def kill(self) -> None:
        self.world.kill()

    @rule()
    def stop(self) -> None:
        self.world.stop()

    @rule()
    def back_up(self) -> None:
        self.world.back_up()
        self.backed_up, self.refused = list(self.meant), {*self.world.refused}

    @rule()
    def restore(self) -> None:
        if (
            self.world.restore()
        ):  # what was meant since then has to be meant again; a refusal is forgotten too
            self.meant, self.world.refused = list(self.backed_up), {*self.refused}
            self.world.parked.clear()

    @rule(fate=FATES, other=FATES)
    def yesterday(self, fate: Fate, other: Fate) -> None:
        """What was sent since the backup is not known any more."""
        self.intend("sub-1", fate, at_once=True)
        self.intend(None, other, at_once=True)
        self.back_up()
        self.start()
        self.passes(1.0)
        self.restore()

    @rule(lag=st.floats(0.0, 1.0), fate=FATES)
    def overtakes(self, lag: float, fate: Fate) -> None:
        """One is sent just before another is looked for, and shows later than others that are newer."""
        self.start()
        self.world.tenant.fates.clear()
        self.intend(None, LOST, at_once=True)
        self.passes(SHORTER)
        self.intend(None, Fate(answer=None, lag=lag), at_once=True)
        self.passes(1.0)
        self.another(0.0)
        self.passes(10.0)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._check()
        finally:
            self.world.kill()
            shutil.rmtree(self.directory, ignore_errors=True)

    def _check(self) -> None:
        world, tenant = self.world, self.world.tenant
        world.kill()
        tenant.fates.clear()
        tenant.refuses_lists = 0
        for _ in range(6):
            world.do(lambda: self._box.resume())
            world.start()
            world.passes(200.0)
            tenant.another()
            world.kill()
        world.drain()
        for key in self.meant:
            outcome = world.do(lambda key=key: self._box.outcome(key))  # type: ignore[misc]
            made = tenant.made(key)
            self.holds(outcome, made)
            assert not made or key not in world.refused
        world.kill()

    def holds(self, outcome: Outcome, made: list[str]) -> None:
        state = outcome.state
        assert len(made) <= 1
        assert state in {
            "accepted",
            "refused",
            "parked",
            "intended",
            "missing",
        }  # the last two behind a parked one
        if state == "accepted":
            assert made == list(outcome.order_ids)
        if self.longest < SETTLE.total_seconds() and not self.world.tenant.read_lag:
            parked = {outcome.key: outcome.error} if state == "parked" else {}
            error = (self.world.parked | parked).get(outcome.key, "never: 418")
            assert not made or "418" in str(error)
        if state == "refused":
            assert not made


class Patient(Machine):
    """An outbox that parks, at a tenant whose lags may be longer than `settle`."""

    when_missing = "park"
    longest = LONGER


BOUNDS = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
Machine.TestCase.settings = Patient.TestCase.settings = BOUNDS
TestMachine, TestPatient = Machine.TestCase, Patient.TestCase
