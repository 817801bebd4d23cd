"""Whatever is asked in whatever order, each answer is one that the API description describes."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from limio_async import ApiKey, ClientCredentials, Limio, SessionToken
from limio_async.api.endpoints import ENDPOINTS
from limio_async.core.ports import Auth
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World
from limio_async.emulator.faults.delivery import Delivery
from tests.judges.every_operation import Kept, call_every_operation
from tests.judges.spec import OPERATIONS, complaints
from tests.judges.walker import Walker

SIZES: dict[str, Any] = {
    "offers": 23, "products": 5, "campaigns": 4, "add_ons": 5, "segments": 3, "assets": 6, "pages": 5,
    "subscriptions": 11, "gift_codes": 4, "promo_codes": 3,
}  # fmt: skip


def small_world(**changes: Any) -> World:
    return World(**{**SIZES, **changes})


def judge(operation: str, response: Response) -> None:
    assert complaints(operation, response) == []


class Anything(RuleBasedStateMachine):
    """Asks for anything, at any time of the world's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.world = small_world()
        self.walker = Walker(self.world)

    @rule(
        operation=st.sampled_from(sorted(OPERATIONS)),
        again=st.integers(1, 3),
        random=st.randoms(use_true_random=False),
    )
    def ask(self, operation: str, again: int, random: Random) -> None:
        for _ in range(again):
            judge(operation, self.walker.ask(operation, random))

    @rule(seconds=st.sampled_from([1, 30, 299, 301, 3_601, 90_000]))
    def let_time_pass(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule(which=st.sampled_from(["hits_form", "scroll_ids", "empty_page_every"]))
    def change_a_setting(self, which: str) -> None:
        match which:
            case "hits_form":
                self.world.hits_form = "number" if self.world.hits_form == "total" else "total"
            case "scroll_ids":
                self.world.scroll_ids = "same" if self.world.scroll_ids == "changing" else "changing"
            case _:
                self.world.empty_page_every = 2

    @rule()
    def index_anew(self) -> None:
        self.world.rebuild_index()


def test_a_random_walk_meets_no_answer_that_is_not_described() -> None:
    run_state_machine_as_test(
        Anything,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # to shrink a failure takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("seed", range(4))
def test_asking_for_every_operation_many_times_meets_no_answer_that_is_not_described(seed: int) -> None:
    random = Random(seed)
    walker = Walker(small_world(seed=seed))
    for _ in range(25):
        for operation in random.sample(sorted(OPERATIONS), len(OPERATIONS)):
            judge(operation, walker.ask(operation, random, odd=0.15))
        walker.world.advance(random.choice([1, 60, 400, 4_000]))


class Judged(Kept):
    def deliver(self, request: Request) -> Delivery:
        delivery = super().deliver(request)
        judge(request.operation, delivery.answer)
        return delivery


async def test_every_operation_succeeds_once_asked_well_and_answers_as_described() -> None:
    world = Judged(**SIZES)
    auth: list[Auth] = [
        ApiKey(world.api_key),
        ClientCredentials(world.client_id, world.client_secret),
        SessionToken(world.session_token),
    ]
    transport = InMemoryTransport(world)
    async with Limio("limio.emulated", auth=auth, attempts=1, transport=transport) as limio:
        await call_every_operation(limio, world, shop="http://127.0.0.1:8765")
    well = {one.operation for one in world.requests() if 200 <= one.status < 400}
    assert OPERATIONS.keys() - well == set()


def test_the_description_and_the_client_know_the_same_operations() -> None:
    assert OPERATIONS.keys() == ENDPOINTS.keys()
    assert len(OPERATIONS) == 68


def test_the_judge_sees_a_wrong_status_type_body_and_field() -> None:
    world = small_world()
    answer = Walker(world).ask("listOffers", Random(1), odd=0)
    assert complaints("listOffers", answer) == []
    wrong = json.loads(answer.body)
    wrong["items"][0]["data"]["attributes"] = "text"
    for change in (
        {"status": 500},
        {"status": 201},
        {"headers": {"content-type": "text/html"}},
        {"body": b"{"},
        {"body": b'{"items": {}}'},
        {"body": json.dumps(wrong).encode()},
    ):
        facts: dict[str, Any] = {"status": answer.status, "headers": answer.headers, "body": answer.body}
        assert complaints("listOffers", Response(**{**facts, **change})) != [], change
