"""`limio outbox`: what it sends, shows, hides and decides, against an emulator in the same process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from click.testing import Result

from limio_async.api import models
from limio_async.cli import outbox_view
from limio_async.cli.outbox_view import News, shown, shown_order, steps
from limio_async.emulator import World, reply
from limio_async.outbox import Outbox, Outcome, StoreError, schema
from limio_async.stores import Store
from limio_async.testing import served
from tests.cli.conftest import Run
from tests.postgres_cluster import own_cluster

pytestmark = pytest.mark.usefixtures("bounded")
BOX = "sqlite:///orders.db"
PERSONAL = {
    "email": "jo.doe@example.com",
    "firstName": "Josefine",
    "phone": "+44 1632 960001",
}
ORDER = {
    "order_type": "data_capture",
    "process_immediately": True,
    "country": "GB",
    "owner": "id-of-jo",
    "customerDetails": PERSONAL,
    "data": {"note": "call Josefine"},
}
UNMADE = reply({"message": "upstream"}, 502)
SECRETS = (*PERSONAL.values(), "id-of-jo", "call Josefine")


@pytest.fixture(autouse=True)
def _box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIO_OUTBOX", BOX)


def intend(*keys: str, url: str = BOX, **more: Any) -> None:
    async def work() -> None:
        async with Outbox(url) as outbox:
            for key in keys:
                await outbox.intend(key, {**ORDER, **more})

    asyncio.run(work())


def send(limio: Run, *options: str) -> Result:
    return limio("--emulated", "outbox", "run", "--until-idle", "--settle", "0s", *options)


def rows(limio: Run, *options: str) -> list[dict[str, Any]]:
    result = limio("outbox", "list", "--json", *options)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def states(limio: Run) -> dict[str, str]:
    return {one["key"]: one["state"] for one in rows(limio)}


# --- sending


def test_what_is_intended_is_sent_once_and_told(limio: Run, world: World) -> None:
    intend("a", "b", "c")
    result = send(limio)
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("limio: b: accepted as order-")]
    assert result.stderr.endswith("limio: 3 accepted\n")
    assert send(limio).stderr == "limio: 3 accepted\n"
    assert world.count("submitOrder") == 3
    assert send(limio, "--json").exit_code == 0


def test_lines_of_json_tell_what_happens(limio: Run, world: World) -> None:
    intend("a")
    [line] = send(limio, "--json").stdout.splitlines()
    told = json.loads(line)
    assert (told["key"], told["state"], told["attempt"], told["doubled"]) == ("a", "accepted", 1, False)
    assert told["order_ids"][0].startswith("order-")


def test_quiet_says_only_what_is_not_well(limio: Run, world: World) -> None:
    intend("a", "b")
    world.script("submitOrder", reply({"message": "no"}, 400))
    result = limio("-q", "--emulated", "outbox", "run", "--until-idle", "--at-once", "1")
    assert result.stderr == "limio: a: refused: submitOrder: 400\n"


def test_what_waits_for_a_person_is_said_and_the_exit_code_says_so(limio: Run, world: World) -> None:
    intend("a", "b")
    world.script("submitOrder", UNMADE)
    result = send(limio, "--at-once", "1")
    assert result.exit_code == 4
    assert states(limio) == {"a": "parked", "b": "accepted"}
    assert "limio: a: doubt: " in result.stderr
    assert "limio: a: parked: " in result.stderr
    assert (
        "limio: not settled: 1 order: limio outbox list --state parked shows what waits for you\n"
        in result.stderr
    )
    assert [one["key"] for one in rows(limio, "--state", "parked")] == ["a"]


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(limio: Run, world: World) -> None:
    intend("a", "b", checkoutId="basket-1")
    intend("c")
    before = rows(limio)
    result = limio("--emulated", "outbox", "run", "--dry-run", "--json")
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"key": "a", "state": "intended", "next": "send", "behind": None},
        {"key": "b", "state": "intended", "next": "wait", "behind": "a"},
        {"key": "c", "state": "intended", "next": "send", "behind": None},
    ]
    assert "nothing was sent; 2 of 3 orders would be, to https://" in result.stderr
    assert (world.count("submitOrder"), rows(limio)) == (0, before)
    limio("outbox", "pause")
    paused = limio("--emulated", "outbox", "run", "--dry-run")
    assert "none would be, until limio outbox resume" in paused.stderr
    assert " behind " in paused.stdout


def test_a_dry_run_goes_by_the_order_in_which_a_run_sends(limio: Run, world: World) -> None:
    intend("d", "b", "c", checkoutId="basket-1")
    intend("a")
    with closing(sqlite3.connect("orders.db")) as db, db:
        db.execute("UPDATE _limio_outbox SET intended_at = '2026-01-01T00:00:00.000+00:00'")
        db.execute("UPDATE _limio_outbox SET state = 'missing' WHERE key = 'c'")
    found = limio("--emulated", "outbox", "run", "--dry-run", "--json").stdout.splitlines()
    assert [(one["key"], one["next"]) for one in map(json.loads, found)] == [
        ("d", "send"),
        ("b", "wait"),
        ("c", "wait"),
        ("a", "send"),
    ]


def test_a_pause_that_cannot_be_noted_at_once_is_noted_later(
    limio: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [StoreError("database or disk is full")]
    set_meta = schema.set_meta

    def full_at_first(store: Store, name: str, value: str | None) -> None:
        if name == "paused" and failures:
            raise failures.pop()
        set_meta(store, name, value)

    monkeypatch.setattr(schema, "set_meta", full_at_first)
    intend(*"abcd")
    world.script("submitOrder", *[reply({"message": "no"}, 400)] * 3)
    result = send(limio, "--at-once", "1")
    assert (result.exit_code, failures) == (4, [])
    assert states(limio) == {"a": "refused", "b": "refused", "c": "refused", "d": "intended"}
    assert "paused: 3 orders in a row were turned down with the same words" in result.stderr


def test_the_steps_of_a_run_follow_the_order_of_intents() -> None:
    def one(key: str, state: Any, subscription: str | None = None, basket: str | None = None) -> Outcome:
        return Outcome(key=key, state=state, subscription=subscription, basket=basket)

    waiting = [
        one("a", "doubt", "s1"),
        one("b", "intended", "s1", "b1"),
        one("c", "intended", "s2", "b1"),
        one("d", "sending", "s3"),
        one("e", "missing", "s3"),
        one("f", "parked"),
        one("g", "intended"),
    ]
    held = [(step.key, step.next, step.behind) for step in steps(waiting, hold=True)]
    assert held == [
        ("a", "look", None),
        ("b", "wait", "a"),
        ("c", "wait", "b"),
        ("d", "on the wire", None),
        ("e", "wait", "d"),
        ("f", "decide", None),
        ("g", "send", None),
    ]
    resolved = [one("a", "intended", "s1"), one("b", "sending", "s1"), one("c", "sending", "s2")]
    assert [(step.next, step.behind) for step in steps(resolved, hold=True)] == [
        ("wait", "b"),
        ("on the wire", None),
        ("on the wire", None),
    ]
    passing = {step.key: step.next for step in steps(waiting, hold=False)}
    assert passing == {key: "send" if key == "b" else step for key, step, _ in held}


def test_nothing_is_sent_between_pause_and_resume(limio: Run, world: World) -> None:
    intend("a")
    assert limio("outbox", "pause").stderr == "limio: paused; 1 intended\n"
    result = send(limio)
    assert result.exit_code == 4
    assert "paused: by hand; nothing is sent until limio outbox resume" in result.stderr
    assert json.loads(limio("outbox", "stats", "--json").stdout)["paused"] == "by hand"
    assert json.loads(limio("outbox", "resume", "--json").stdout)["paused"] is None
    assert send(limio).exit_code == 0
    assert world.count("submitOrder") == 1


def test_refused_credentials_have_their_exit_code(
    limio: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend("a")
    with served(world) as url:
        for name, value in world.environ(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LIMIO_CLIENT_SECRET", "wrong")
        result = limio("outbox", "run", "--until-idle")
        assert result.exit_code == 3
        assert result.stderr == "limio: a: not sent: createToken: 401\nlimio: 1 intended\nlimio: not settled: 1 order\n"  # fmt: skip
        for name in ("LIMIO_CLIENT_ID", "LIMIO_CLIENT_SECRET", "LIMIO_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        keyless = limio("outbox", "run", "--until-idle")
        assert keyless.exit_code == 3
        assert states(limio) == {"a": "intended"}


# --- deciding


@pytest.fixture
def parked(limio: Run, world: World) -> str:
    """The key of an order that the list of orders lacks."""
    intend("a")
    world.script("submitOrder", UNMADE)
    assert send(limio).exit_code == 4
    assert states(limio) == {"a": "parked"}
    return "a"


def test_what_was_never_made_is_settled_and_who_said_so_is_noted(limio: Run, parked: str) -> None:
    result = limio("outbox", "resolve", parked, "--as", "never", "--by", "Ann")
    assert result.exit_code == 0
    assert result.stderr.startswith("limio: a is refused; noted: never by Ann, 20")
    [row] = rows(limio)
    assert (row["state"], row["resolved"].partition(",")[0]) == ("refused", "never by Ann")


def test_who_decides_is_the_user_unless_somebody_is_named(
    limio: Run, parked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "desk")
    told = json.loads(limio("outbox", "resolve", parked, "--as", "never", "--json").stdout)
    assert told["resolved"].startswith("never by ann@desk, ")


def test_a_user_without_a_name_has_to_give_one(
    limio: Run, parked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    result = limio("outbox", "resolve", parked, "--as", "never")
    assert (result.exit_code, result.stderr) == (2, "limio: --by NAME: say who decides; this user has no name here\n")  # fmt: skip


def test_what_is_sent_again_is_sent_by_the_next_run(limio: Run, world: World, parked: str) -> None:
    assert limio("outbox", "resolve", parked, "--send-again").exit_code == 0
    assert states(limio) == {"a": "intended"}
    assert send(limio).exit_code == 0
    assert (world.count("submitOrder"), states(limio)) == (2, {"a": "accepted"})


def test_an_order_that_was_made_is_fetched_and_compared(limio: Run, world: World, parked: str) -> None:
    def submit(**more: Any) -> str:
        made = limio("--emulated", "orders", "submit", "--body", "-", input=json.dumps({**ORDER, **more}))
        return str(json.loads(made.stdout)["id"])

    other, right = submit(external_id="b"), submit(external_id=parked)
    result = limio("--emulated", "outbox", "resolve", parked, "--as", f"accepted:{other}")
    assert (result.exit_code, result.stderr) == (
        1,
        f"limio: {other} is not the order of 'a': it differs in external_id or contents\n",
    )
    missing = limio("--emulated", "outbox", "resolve", parked, "--as", "accepted:order-none")
    assert (missing.exit_code, missing.stderr.partition(" 404")[0]) == (1, "limio: getObject:")
    assert states(limio) == {"a": "parked"}
    assert limio("--emulated", "outbox", "resolve", parked, "--as", f"accepted:{right}").exit_code == 0
    assert [(one["state"], one["order_ids"]) for one in rows(limio)] == [("accepted", [right])]
    again = limio("outbox", "resolve", parked, "--as", "never")
    assert again.exit_code == 1
    assert "only what is in doubt or parked is resolved" in again.stderr


def test_after_a_restore_what_waits_is_looked_for_first(limio: Run, world: World) -> None:
    intend("a", "b")
    made = limio(
        "--emulated", "orders", "submit", "--body", "-", input=json.dumps({**ORDER, "external_id": "a"})
    )
    assert limio("outbox", "doubt", "--since", "1h").stderr == (
        "limio: in doubt, and looked for before anything is sent: 2 orders\n"
    )
    assert json.loads(limio("outbox", "doubt", "--since", "1h", "--json").stdout) == {"in_doubt": 0}
    send(limio)
    assert world.count("submitOrder") == 1
    assert states(limio) == {"a": "accepted", "b": "parked"}
    assert rows(limio)[0]["order_ids"] == [json.loads(made.stdout)["id"]]


# --- looking, and what is hidden


def test_a_list_can_be_cut_and_continued(limio: Run, world: World) -> None:
    intend(*"abcde")
    assert [one["key"] for one in rows(limio, "--limit", "2", "--after", "b")] == ["c", "d"]
    table = limio("outbox", "list").stdout
    assert [line.split()[0] for line in table.splitlines()] == ["key", "─" * len(table.splitlines()[1].strip()), *"abcde"]  # fmt: skip


def test_more_rows_than_a_page_are_all_listed(limio: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    intend(*"abcde")
    monkeypatch.setattr("limio_async.cli.outbox_open._PAGE", 2)
    assert [one["key"] for one in rows(limio)] == [*"abcde"]
    assert [one["key"] for one in rows(limio, "--limit", "3")] == [*"abc"]


@pytest.mark.parametrize(
    "answer",
    [
        reply({"message": "Josefine (jo.doe@example.com) is not known"}, 502),
        reply({"id": "order-1", "status": "complete", "errors": ["Josefine is not known"]}),
    ],
)
def test_what_is_logged_says_nothing_about_a_person(limio: Run, world: World, answer: Any) -> None:
    intend("a")
    world.script("submitOrder", answer)
    said = send(limio)
    assert [one for one in ("Josefine", "jo.doe") if one in said.stderr] == []
    assert said.stderr.count("502") == 2 * (said.exit_code == 4)  # in doubt, parked


def test_what_a_success_says_that_is_none_is_hidden_too(limio: Run, world: World) -> None:
    intend("a")
    world.script("submitOrder", reply({"message": "an error of Josefine"}))
    said = send(limio)
    shown = [
        said,
        limio("outbox", "list"),
        limio("outbox", "show", "a"),
        limio("outbox", "show", "a", "--json"),
    ]
    assert [one for one in shown if "Josefine" in one.stdout + one.stderr] == []
    assert "it says: ***" in shown[1].stdout
    assert "Josefine" in limio("outbox", "show", "a", "--personal").stdout


def test_every_request_is_logged_where_that_is_asked_for(limio: Run, world: World) -> None:
    intend("a")
    said = limio("-vv", "--emulated", "outbox", "run", "--until-idle")
    assert "limio: submitOrder: ok (status 200), " in said.stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_nothing_about_a_person_is_shown_unless_asked(
    limio: Run, world: World, form: tuple[str, ...]
) -> None:
    intend("a")
    world.script("submitOrder", reply({"message": "Josefine (jo.doe@example.com) is not known"}, 400))
    said = send(limio, *form)
    assert said.exit_code == 0
    lists, shows = limio("outbox", "list", *form), limio("outbox", "show", "a", *form)
    for text in (said.stdout, said.stderr, lists.stdout, shows.stdout, limio("outbox", "stats", *form).stdout):  # fmt: skip
        assert [one for one in SECRETS if one in text] == []
    assert "submitOrder: 400" in lists.stdout
    assert "data_capture" in shows.stdout
    whole = limio("outbox", "show", "a", "--personal", *form).stdout
    assert [one for one in SECRETS if one not in whole] == []
    assert "is not known" in limio("outbox", "list", "--personal", *form).stdout


def test_what_came_of_each_attempt_is_shown(limio: Run, world: World) -> None:
    intend("a")
    words = {"message": "Josefine (jo.doe@example.com) is not known"}
    world.script("submitOrder", reply(words, 502), reply({"id": "order-1", "status": "complete"}))
    send(limio)
    limio("outbox", "resolve", "a", "--send-again", "--by", "Ann")
    send(limio)

    async def fails() -> None:
        async with Outbox(BOX) as outbox:
            await outbox.failed("a", {"reason": "the card of Josefine"})

    asyncio.run(fails())
    shown = json.loads(limio("outbox", "show", "a", "--json").stdout)
    assert shown["answers"] == [
        {"attempt": 1, "kind": "doubt", "error": "submitOrder: 502"},
        {"attempt": 3, "kind": "accepted", "names": ["order-1"]},
        {"kind": "failed", "event": "***"},
    ]
    assert (shown["state"], shown["attempt"], shown["resolved"][:17]) == ("failed", 3, "send-again by Ann")
    whole = json.loads(limio("outbox", "show", "a", "--json", "--personal").stdout)["answers"]
    assert (whole[2]["event"], "Josefine" in whole[0]["error"]) == ({"reason": "the card of Josefine"}, True)
    for form in ((), ("--json",)):
        assert [one for one in SECRETS if one in limio("outbox", "show", "a", *form).stdout] == []
    assert limio("outbox", "erase", "a").exit_code == 0
    erased = json.loads(limio("outbox", "show", "a", "--json").stdout)
    assert (erased["answers"], erased["order"]) == ([], None)


def test_every_field_of_every_order_is_hidden_unless_it_is_known_to_be_about_nobody() -> None:
    orders = {name: getattr(models, name) for name in models.__all__ if name.endswith("Order")}
    assert len(orders) > 5
    visible: set[str] = set()

    def look(value: Any, at: str) -> None:
        match value:
            case dict():
                for name, one in value.items():
                    look(one, f"{at}.{name}")
            case list():
                for one in value:
                    look(one, at)
            case "Josefine":
                visible.add(at.rpartition(".")[2])
            case _:
                pass

    for model in orders.values():
        body = {one.encode_name: "Josefine" for one in msgspec.structs.fields(model)}
        look(shown_order(body, personal=False), "")
        nested = {name: {"name": "Josefine", "id": "Josefine", "odd": ["Josefine"]} for name in body}
        for name, one in shown_order(nested, personal=False).items():
            assert name in outbox_view._WITHIN or "Josefine" not in str(one), name
    assert visible <= outbox_view._PLAIN
    assert visible.isdisjoint(
        {"customerDetails", "billingDetails", "deliveryDetails", "userDetails", "recipientDetails", "owner", "payment", "address"}
    )  # fmt: skip


def test_what_tells_orders_apart_is_shown() -> None:
    body = {
        "external_id": "a@b.example",
        "order_type": "new",
        "forSubscription": {"id": "sub-1", "name": "REF1", "owner": "jo"},
        "orderItems": [{"offer": {"id": "offer-1", "version": "2", "name": "Josefine's"}, "quantity": 2}],
        "updates": [{"type": "add", "note": "Josefine"}, "odd"],
        "payment": {"type": "zuora", "zuora": {"refId": "r"}},
        "process_immediately": True,
        "quantity": ["Josefine"],
        "customFields": None,
    }
    assert shown_order(body, personal=False) == {
        "external_id": "masked@example.com",
        "order_type": "new",
        "forSubscription": {"id": "sub-1", "name": "REF1", "owner": "***"},
        "orderItems": [{"offer": {"id": "offer-1", "version": "2", "name": "***"}, "quantity": 2}],
        "updates": [{"type": "add", "note": "***"}, "***"],
        "payment": "***",
        "process_immediately": True,
        "quantity": "***",
        "customFields": None,
    }
    assert shown_order(body, personal=True) == body


@pytest.mark.parametrize(
    ("error", "left"),
    [
        ("submitOrder: 400 Jo Doe is unknown", "submitOrder: 400"),
        ("submitOrder: 502 Jo: it may have happened; look before sending it again", "submitOrder: 502"),
        ("the answer was lost: submitOrder: 409 Jo", "the answer was lost: submitOrder: 409"),
        (
            "submitOrder: 502 Jo; it is not in the list of orders after 3 more attempts; a 502 may mean a bad order",
            "submitOrder: 502; it is not in the list of orders after 3 more attempts; a 502 may mean a bad order",
        ),
        (
            "submitOrder: 502 Jo; the list of orders cannot be read whole",
            "submitOrder: 502; the list of orders cannot be read whole",
        ),
        ("the process that was sending it ended", "the process that was sending it ended"),
        ("it concerns jo@doe.example", "it concerns masked@example.com"),
    ],
)
def test_of_what_limio_said_only_the_status_is_shown(error: str, left: str) -> None:
    outcome = Outcome(key="a", state="parked", error=error)
    assert shown(outcome, personal=False)["error"] == left
    assert shown(outcome, personal=True)["error"] == error


def test_purged_and_erased_orders_keep_their_keys(limio: Run, world: World) -> None:
    intend("a", "b")
    send(limio)
    intend("c")
    assert limio("outbox", "purge").stderr == "limio: purged: 0 orders\n"
    refused = limio("outbox", "erase", "--owner", "id-of-jo")
    assert refused.exit_code == 1
    assert "'c' is intended: with cancel it is never sent, and erased" in refused.stderr
    assert any(b"jo.doe@example.com" in file.read_bytes() for file in Path().iterdir())
    done = limio("outbox", "erase", "--owner", "id-of-jo", "--cancel", "--json")
    assert json.loads(done.stdout) == {"erased": 3}
    assert states(limio) == {"a": "accepted", "b": "accepted", "c": "refused"}
    for file in Path().iterdir():
        assert b"jo.doe@example.com" not in file.read_bytes(), file
    assert json.loads(limio("outbox", "show", "a", "--json").stdout)["order"] is None
    assert limio("outbox", "erase", "a").exit_code == 0


def test_what_was_settled_before_a_moment_is_purged(limio: Run, world: World) -> None:
    intend("a")
    send(limio)
    before = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="milliseconds")
    with closing(sqlite3.connect("orders.db")) as db, db:
        db.execute("UPDATE _limio_outbox SET changed_at = ?", (before,))
    intend("b")
    assert json.loads(limio("outbox", "purge", "--json").stdout) == {"purged": 1}
    assert states(limio) == {"a": "accepted", "b": "intended"}


# --- what goes wrong is said in words


ALL_BUT_RUN = ("list", "stats", "pause", "resume", "run --dry-run", "show a", "resolve a --as never", "purge", "erase a", "doubt --since 1h")  # fmt: skip


def test_an_outbox_that_is_not_there_is_not_made_by_looking(limio: Run) -> None:
    for command in ALL_BUT_RUN:
        result = limio("--emulated", "outbox", *command.split())
        assert (result.exit_code, result.stderr) == (
            2,
            "limio: --outbox sqlite:///orders.db: there is no orders.db;"
            " limio outbox run makes one, and so does the application that intends\n",
        )
    assert [*Path().iterdir()] == []
    for statement in ("", "CREATE TABLE other (id)"):
        with closing(sqlite3.connect("orders.db")) as db:
            db.executescript(statement)
        before = Path("orders.db").read_bytes()
        for command in ALL_BUT_RUN:
            result = limio("--emulated", "outbox", *command.split())
            assert (result.exit_code, "there is no outbox in it" in result.stderr) == (2, True)
        assert [(one.name, one.read_bytes()) for one in Path().iterdir()] == [("orders.db", before)]


def test_an_outbox_of_a_newer_release_is_refused(limio: Run) -> None:
    intend("a")
    with closing(sqlite3.connect("orders.db")) as db, db:
        db.execute("UPDATE _limio_outbox_meta SET value = '99' WHERE name = 'version'")
    for command in ("list", "run"):
        result = limio("--emulated", "outbox", command)
        assert result.exit_code == 1
        assert "its outbox is of version 99, this release reads 1: upgrade" in result.stderr


def test_an_outbox_of_another_tenant_is_not_sent(
    limio: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend("a")
    assert send(limio).exit_code == 0
    intend("b")
    sends_to, acme = "https://limio.emulated", "https://acme.prod.limio.com"
    assert json.loads(limio("outbox", "stats", "--json").stdout)["tenant"] == sends_to
    for name, value in {"HOST": "acme.prod.limio.com", "CLIENT_ID": "a", "CLIENT_SECRET": "b"}.items():
        monkeypatch.setenv(f"LIMIO_{name}", value)
    for how in ("--until-idle", "--dry-run"):
        result = limio("outbox", "run", how)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"this outbox sends to {sends_to}, the client to {acme}: one outbox a tenant" in result.stderr
    assert states(limio)["b"] == "intended"


def test_a_file_that_others_write_to_is_waited_for_and_then_said(
    limio: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend("a")
    monkeypatch.setattr("limio_async.stores.sqlite._WAIT", 0.05)
    with closing(sqlite3.connect("orders.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        result = limio("outbox", "pause")
    assert result.exit_code == 1
    assert "another program is writing to it; wait for it, or stop it" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ("list --outbox redis://cache", 2, "an outbox is sqlite:///FILE or postgresql://HOST/DATABASE, not 'redis'"),
        ("list --outbox orders.db", 2, "an outbox is sqlite:///FILE"),
        ("list --outbox sqlite:orders.db", 2, "names no file"),
        ("list --outbox postgresql://nobody:hush@127.0.0.1:9/x", 1, "127.0.0.1"),
        ("show nothing", 1, "nothing was ever intended under 'nothing'"),
        ("list --after nothing", 1, "nothing was ever intended under 'nothing'"),
        ("resolve nothing --as never", 1, "nothing was ever intended under 'nothing'"),
        ("erase nothing", 1, "nothing was ever intended under 'nothing'"),
        ("resolve a", 2, "outbox resolve: give one of --as accepted:ORDER_ID, --as never and --send-again"),
        ("resolve a --as never --send-again", 2, "give one of"),
        ("resolve a --as accepted:", 2, "--as is accepted:ORDER_ID or never, not accepted:"),
        ("resolve a --as order-1", 2, "--as is accepted:ORDER_ID or never, not order-1"),
        ("resolve a --as never", 1, "'a' is intended: only what is in doubt or parked is resolved"),
        ("erase", 2, "give KEY, or --owner ID"),
        ("erase a --owner id", 2, "give KEY, or --owner ID"),
        ("doubt", 2, "missing option '--since'"),
        ("doubt --since yesterday", 2, "'yesterday' is neither a date"),
        ("purge --before 2999-01-01", 2, "is still to come"),
        ("run --settle soon", 2, "'soon' is not a duration"),
        ("run", 2, "no host: use --host"),
        ("lst", 2, "no such command: lst; did you mean list?"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_one_line(limio: Run, args: str, code: int, said: str) -> None:
    intend("a")
    result = limio("outbox", *args.split())
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert result.stderr.count("\n") == 1
    assert "hush" not in result.stderr
    assert states(limio) == {"a": "intended"}


@pytest.mark.parametrize(
    "args",
    ["show a\udcff", "list --after \udcff", "erase --owner \udcff", "resolve a --as never --by \udcff", "run --outbox sqlite:///\udcff"],
)  # fmt: skip
def test_what_is_no_text_is_refused(limio: Run, args: str) -> None:
    intend("a")
    result = limio("--emulated", "outbox", *args.split())
    command = args.partition(" ")[0]
    assert (result.exit_code, result.stderr) == (2, f"limio: outbox {command}: {args.split()[-1][:-1]}� is not text in UTF-8\n")  # fmt: skip


def test_without_a_url_it_is_asked_for(limio: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMIO_OUTBOX")
    result = limio("outbox", "list")
    assert (result.exit_code, result.stderr) == (2, "limio: outbox list: missing option '--outbox'\n")


def test_news_that_nobody_reads_stop_no_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: bytes) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(outbox_view, "to_stdout", broken)
    news = News(as_json=True, quiet=False)
    for _ in range(2):
        news.changed(Outcome(key="a", state="accepted"))
    assert capsys.readouterr().err.count("no more lines are written") == 1


# --- PostgreSQL


def test_a_schema_of_postgresql_is_an_outbox_too(
    limio: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_cluster() as cluster:
        name = f"outbox_{uuid4().hex[:12]}"
        url = f"{cluster.url}?schema={name}"
        monkeypatch.setenv("LIMIO_OUTBOX", url)
        for command in ALL_BUT_RUN:
            absent = limio("--emulated", "outbox", *command.split())
            assert (absent.exit_code, "there is no outbox in it" in absent.stderr) == (2, True)
        with cluster.admin() as admin:
            assert not admin.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchall()
        intend("a", "b", url=url)
        world.script("submitOrder", UNMADE)
        assert send(limio, "--at-once", "1").exit_code == 4
        assert states(limio) == {"a": "parked", "b": "accepted"}
        assert limio("outbox", "resolve", "a", "--as", "never").exit_code == 0
        assert limio("outbox", "erase", "b").exit_code == 0
        stats: Mapping[str, Any] = json.loads(limio("outbox", "stats", "--json").stdout)
        assert stats["states"] == {"accepted": 1, "refused": 1}
