"""Drift is counted exactly, and nothing that a model knows is called drift."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from limio_async import ApiKey, ClientCredentials, Limio
from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.api.models import Journey, Offer, Subscription
from limio_async.drift.findings import Drift, Finding, carried
from limio_async.emulator import InMemoryTransport, World
from limio_async.errors import JobError
from limio_async.sync_jobs import Job, SyncEvent
from limio_async.sync_jobs.ledger import DRIFT, drift_row, drifted
from limio_async.sync_jobs.rows import Item, Reader

from .conftest import RunJob, only
from .memory_sink import ComparingSink, MemorySink

SAMPLES = Path(__file__).parents[1] / "samples"
MODELS = {one.returns.__name__: one.returns for one in (*ENDPOINTS.values(), *VIEWS) if one.paging} | {
    "Journey": Journey
}
STATUSES = {
    "Subscription": ["initial", "active", "pending", "cancelled", "expired"],
    "Order": ["active", "complete", "pending-payment"],
    "Schedule": ["active", "pending", "pending-external", "cancelled"],
}
Spot = tuple[dict[str, Any], str, str, inspect.Type]
"""An object, the model that it is of, its path, and that model's type."""


class Open(msgspec.Struct):
    """A model with an open enum, a map of models, and lists in lists."""

    word: Literal["new", "old"] | str | None = None
    named: dict[str, Journey] = {}
    rows: list[list[int]] = []


def values(kind: inspect.Type, model: str = "", name: str = "", depth: int = 0) -> st.SearchStrategy[Any]:
    """JSON that a type allows."""
    match kind:
        case inspect.UnionType(types):
            members = [one for one in types if depth < 4 or not isinstance(one, inspect.StructType)]
            return st.one_of([values(one, model, name, depth) for one in members])
        case inspect.StructType():
            inner = kind.cls.__name__
            fields = {
                field.encode_name: values(field.type, inner, field.encode_name, depth + 1)
                for field in kind.fields
            }
            needed = {field.encode_name for field in kind.fields if field.required}
            return st.fixed_dictionaries(
                {name: fields[name] for name in needed},
                optional={name: made for name, made in fields.items() if name not in needed},
            )
        case inspect.ListType(item_type=held):
            return st.lists(values(held, depth=depth), max_size=2)
        case inspect.DictType(value_type=held):
            return st.dictionaries(st.text(max_size=4), values(held, depth=depth), max_size=2)
        case inspect.StrType() if name == "status" and model in STATUSES:
            return st.sampled_from(STATUSES[model])
        case inspect.StrType():
            return st.text(max_size=5)
        case inspect.IntType():
            return st.integers()
        case inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return st.sampled_from([None, 1, "x", [], {"any": "thing"}])
        case _:
            raise AssertionError(kind)


def spots(value: Any, kind: inspect.Type, path: str = "$") -> Iterator[Spot]:
    """Every object of a model in an item, with its path."""
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    for member in members:
        match member:
            case inspect.StructType() if isinstance(value, dict):
                yield value, member.cls.__name__, path, member
                for field in member.fields:
                    if field.encode_name in value:
                        yield from spots(value[field.encode_name], field.type, f"{path}.{field.encode_name}")
            case inspect.ListType(item_type=held) if isinstance(value, list):
                for one in value:
                    yield from spots(one, held, f"{path}[]")
            case _:
                pass


def found(drift: Drift) -> dict[tuple[str, str, str, str], int]:
    return {(one.model, one.path, one.kind, one.found): one.count for one in drift.findings()}


ITEMS = st.sampled_from(sorted(MODELS)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.lists(values(inspect.type_info(MODELS[name])), min_size=1, max_size=3)
    )
)


@settings(deadline=None)
@given(ITEMS)
def test_what_a_model_describes_is_no_drift(made: tuple[str, list[Any]]) -> None:
    name, items = made
    drift = Drift(MODELS[name])
    for item in items:
        msgspec.convert(item, MODELS[name])
        drift.see(item)
    assert drift.findings() == []


@settings(deadline=None)
@given(ITEMS, st.data())
def test_planted_drift_is_found_with_its_count(made: tuple[str, list[Any]], data: st.DataObject) -> None:
    name, items = made
    kind = inspect.type_info(MODELS[name])
    expected: Counter[tuple[str, str, str, str]] = Counter()
    for item in items:
        for held, model, path, struct in list(spots(item, kind)):
            assert isinstance(struct, inspect.StructType)
            texts = [
                field.encode_name
                for field in struct.fields
                if field.encode_name != "status"
                and isinstance(field.type, inspect.UnionType)
                and {type(one) for one in field.type.types} == {inspect.StrType, inspect.NoneType}
            ]
            match data.draw(st.sampled_from(["nothing", "field", "type", "value"])):
                case "field":
                    held["planted__zuora"] = data.draw(st.sampled_from(["", 1, None, {"deep": {"er": 1}}]))
                    shape = {str: "string", int: "integer", dict: "object"}
                    seen = shape.get(type(held["planted__zuora"]), "null")
                    expected[model, f"{path}.planted__zuora", "field", seen] += 1
                case "type" if texts:
                    field = data.draw(st.sampled_from(texts))
                    held[field] = 1.5
                    expected[model, f"{path}.{field}", "type", "number"] += 1
                case "value" if model in STATUSES:
                    held["status"] = "paused"
                    expected[model, f"{path}.status", "value", "paused"] += 1
                case _:
                    pass
    drift = Drift(MODELS[name])
    for item in items:
        drift.see(item)
    assert found(drift) == expected


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.integers(), max_size=4), max_size=40), st.integers(0, 40)
)
def test_a_run_that_is_resumed_counts_like_one_that_is_not(items: list[dict[str, int]], at: int) -> None:
    whole, first, second = Drift(Offer), Drift(Offer), Drift(Offer)
    for item in items:
        whole.see(item)
    for item in items[:at]:
        first.see(item)
    rows = [drift_row(one, "run-1", "offers") for one in first.findings()]
    second.load(dict(zip([one.name for one in DRIFT.columns], row, strict=True)) for row in rows)
    for item in items[at:]:
        second.see(item)
    assert second.findings() == whole.findings()


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("list*.json")))
def test_documented_payloads_have_no_other_types(sample: str) -> None:
    body = json.loads((SAMPLES / f"{sample}.json").read_text())
    journeys = "journeys" in body
    drift = Drift(Journey if journeys else ENDPOINTS[sample.partition("_")[0]].returns)
    for item in body["journeys" if journeys else "items"]:
        drift.see(item)
    assert [one for one in drift.findings() if one.kind == "type"] == []


async def test_what_the_emulator_serves_has_no_other_types_and_values() -> None:
    world = World(offers=60, subscriptions=40)
    auth: list[ApiKey | ClientCredentials] = [
        ApiKey(world.api_key),
        ClientCredentials(world.client_id, world.client_secret),
    ]
    async with Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world)) as limio:
        for listing, model, most in (
            (limio.offers.list(), Offer, 60),
            (limio.subscriptions.list(), Subscription, 40),
        ):
            drift, seen = Drift(model), 0
            async for raw in listing.raw():
                drift.see(msgspec.json.decode(raw))
                seen += 1
            assert seen == most
            assert [one for one in drift.findings() if one.kind != "field"] == []


def _model(name: str = "Made", words: str = "active, paused", **fields: Any) -> type:
    model = msgspec.defstruct(name, [("id", str), *((key, kind, None) for key, kind in fields.items())])
    model.__doc__ = f"Made. Known status values: {words}."
    return model


def test_a_model_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    digest = Drift(model).digest
    monkeypatch.setattr(msgspec.inspect, "type_info", lambda _: pytest.fail("looked up again"))
    assert Drift(model).digest == digest


def test_a_digest_tells_of_all_that_drift_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, other = msgspec.defstruct("Inner", [("a", int, 0)]), msgspec.defstruct("Inner", [("b", int, 0)])
    models = [
        _model(),
        _model(name="Other"),
        _model(words="active"),
        _model(new=str | None),
        _model(new=int | None),
        _model(new=list[str]),
        _model(new=list[int]),
        _model(new=dict[str, int]),
        _model(new=Literal["a", "b"]),
        _model(new=Literal["a", "c"]),
        _model(new=list[inner]),  # type: ignore[valid-type]
        _model(new=list[other]),  # type: ignore[valid-type]
    ]
    digests = [Drift(one).digest for one in models]
    assert len(set(digests)) == len(models)
    assert Drift(_model()).digest == digests[0]
    monkeypatch.setattr("limio_async.drift.findings._MOST_VALUES", 51)
    assert Drift(_model()).digest != digests[0]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_digest_is_short_and_stays(name: str) -> None:
    drift = Drift(MODELS[name])
    before = drift.digest
    drift.see({"planted": 1})
    assert drift.digest == before == Drift(MODELS[name]).digest
    assert len(before) == 16


def test_a_digest_is_the_same_in_another_process() -> None:
    code = "from limio_async import models; from limio_async.drift.findings import Drift; print(Drift(models.Offer).digest)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == Drift(Offer).digest


@pytest.mark.parametrize(
    ("noted", "same", "kept"),
    [
        (["run-1", "run-2"], True, "run-2"),  # what run 2 did not find again is gone
        (["run-1", "run-2"], False, None),
        (["run-2", "run-3", "run-3"], True, "run-3"),  # resumed
        (["run-2", "run-3"], False, "run-3"),
        ([], True, None),
    ],
)
def test_a_run_counts_on_from_its_own_findings_or_those_of_the_last_run(
    noted: list[str], same: bool, kept: str | None
) -> None:
    rows = [{"run": name, "number": number} for number, name in enumerate(noted)]
    assert carried(rows, run="run-3", same=same) == [row for row in rows if row["run"] == kept]


def test_what_is_carried_over_counts_on() -> None:
    first, second = Drift(Offer), Drift(Offer)
    first.see({"id": "a", "planted": 1})
    first.see({"id": "b", "planted": 1})
    rows = [drift_row(one, "run-1", "offers") for one in first.findings()]
    second.load(dict(zip([one.name for one in DRIFT.columns], row, strict=True)) for row in rows)
    second.see({"id": "b", "planted": 2, "more": "x"})  # has changed
    assert found(second) == {
        ("Offer", "$.planted", "field", "integer"): 3,
        ("Offer", "$.more", "field", "string"): 1,
    }


def test_open_enums_maps_of_models_and_lists_in_lists() -> None:
    drift = Drift(Open)
    for word in ("new", "old", "older", "older", None, 3):
        drift.see({"word": word, "named": {"a": {"id": "j", "more": 1}, "b": 2}, "rows": [[1], [2, "3"], 4]})
    assert found(drift) == {
        ("Open", "$.word", "value", "older"): 2,
        ("Open", "$.word", "type", "integer"): 1,
        ("Journey", "$.named{}.more", "field", "integer"): 6,
        ("Open", "$.named{}", "type", "integer"): 6,
        ("Open", "$.rows[][]", "type", "string"): 6,
        ("Open", "$.rows[]", "type", "integer"): 6,
    }


def test_each_kind_of_drift_names_the_model_that_would_change() -> None:
    drift = Drift(Subscription)
    item = {
        "id": "sub-1",
        "status": "paused",
        "data": {
            "offer": {"data": {"price": [{"value": 1, "vat": "20"}, {"value": [], "vat": None}, 7]}},
            "quantity": {},
        },
    }
    drift.see(item)
    drift.see(copy.deepcopy(item))
    assert found(drift) == {
        ("Subscription", "$.status", "value", "paused"): 2,
        ("Charge", "$.data.offer.data.price[].vat", "field", "string"): 2,
        ("Charge", "$.data.offer.data.price[].vat", "field", "null"): 2,
        ("Charge", "$.data.offer.data.price[].value", "type", "array"): 2,
        ("OfferData", "$.data.offer.data.price[]", "type", "integer"): 2,
        ("SubscriptionData", "$.data.quantity", "type", "object"): 2,
    }


def test_attributes_are_open_and_not_looked_into() -> None:
    drift = Drift(Offer)
    for attributes in ({"anything__limio": {"at": "all"}}, [], [None], None):
        drift.see({"attributes": attributes, "data": {"attributes": attributes}})
    assert drift.findings() == []


def test_an_item_that_is_no_object_is_of_another_type() -> None:
    drift = Drift(Offer)
    drift.see("offer")
    drift.see(None)
    assert found(drift) == {("Offer", "$", "type", "string"): 1, ("Offer", "$", "type", "null"): 1}


def test_findings_hold_nothing_of_anybody() -> None:
    drift = Drift(Subscription)
    private = "jane.doe@mail.test"
    drift.see(
        {
            "status": private,
            "nickname": private,
            private: 1,
            "cus_20481234": 2,
            "data": {"quantity": [private]},
        }
    )
    drift.see({"status": "Jane Doe of 12 Some Street", "phone": "0044123456", "born": "1980-02-03"})
    said = msgspec.json.encode(drift.findings()).decode()
    for secret in ("jane", "doe", "Jane", "20481234", "0044123456", "1980"):
        assert secret not in said
    assert found(drift)["Subscription", "$.status", "value", "(other values)"] == 2
    assert found(drift)["Subscription", "$.{}", "field", "integer"] == 2


def test_memory_is_bounded_and_nothing_goes_uncounted() -> None:
    drift = Drift(Subscription)
    letters = "abcdefghij"
    names = [a + b + c + d for a in letters for b in letters for c in letters for d in letters]
    for name in names:
        drift.see({name: 1, "status": f"is-{name}", "data": {name: "x", "offer": {name: True}}})
    counts = found(drift)
    assert len(counts) < 400
    assert sum(counts.values()) == 4 * len(names)
    assert counts["Subscription", "$.{}", "field", "integer"] == len(names) - 100
    assert counts["Subscription", "$.status", "value", "(other values)"] == len(names) - 50


def test_a_thousand_findings_are_told_apart_and_what_comes_then_is_counted_together() -> None:
    drift = Drift(Subscription)
    row = {"model": "M", "kind": "field", "found": "string", "example": "", "count": 2}
    drift.load({**row, "path": f"$.f{number}"} for number in range(1_000))
    drift.see({"newOne": 1, "newTwo": 2})
    counts = found(drift)
    assert len(counts) == 1_001
    assert counts["Subscription", "$", "field", "(other findings)"] == 2


@pytest.mark.parametrize(
    ("value", "looks"),
    [(None, "null"), (True, "true or false"), (1, "a number"), (0.5, "a number"), ("", "an empty string"), ([1], "a list of 1"), ([], "a list of 0"),
     ("123", "a string of 3 characters, all digits"), ("2026-01-02T03:04:05Z", "a date and time"), ("2026-01-02", "a date"), ("2026-01-0x", "a string of 10 characters"), ("a", "a string of 1 character"), ("ab", "a string of 2 characters"), ({"a": 1}, "an object of 1 member"), ({}, "an object of 0 members")],
)  # fmt: skip
def test_one_is_told_as_one(value: Any, looks: str) -> None:
    drift = Drift(Offer)
    drift.see({"planted": value})
    assert [one.example for one in drift.findings()] == [looks]


def test_a_row_holds_the_whole_finding() -> None:
    finding = Finding(model="Offer", path="$.new", kind="field", found="string", count=3, example="a date")
    row = dict(zip([one.name for one in DRIFT.columns], drift_row(finding, "run-1", "offers"), strict=True))
    assert row.pop("id") == "offers/field/Offer/$.new/string"
    assert row == {"run": "run-1", "stream": "offers", **msgspec.to_builtins(finding)}


@pytest.mark.parametrize("fails_at", [None, 2, 3, 4])
async def test_a_job_counts_drift_exactly_wherever_it_was_interrupted(
    world: World, sink: MemorySink, run_job: RunJob, tmp_path: Path, fails_at: int | None
) -> None:
    planted = {"loyaltyTier": "gold"}
    items = [{"id": f"offer-{number}", **(planted if number % 3 == 0 else {})} for number in range(1_500)]
    (tmp_path / "offers.ndjson").write_bytes(b"\n".join(map(msgspec.json.encode, items)))
    world.read_data(tmp_path)
    sink.fails_at = fails_at
    for _ in range(2):
        with suppress(JobError):
            await run_job("offers", page_size=100)
    rows = list(sink.rows(DRIFT))
    assert [(row["path"], row["count"]) for row in rows] == [("$.loyaltyTier", 500)]


async def test_what_earlier_runs_and_other_streams_found_is_not_counted_again_where_a_job_goes_on(
    world: World,
    sink: MemorySink,
    make_job: Callable[..., Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hold(field: str) -> None:
        for name in ("offers", "products"):
            items = [{"id": f"{name}-{number}", field: "gold"} for number in range(900)]
            (tmp_path / f"{name}.ndjson").write_bytes(b"\n".join(map(msgspec.json.encode, items)))
        world.read_data(tmp_path)

    def stop(event: SyncEvent) -> None:
        if event.kind == "written" and event.report.stream == "products":
            left.stop()

    monkeypatch.setattr("limio_async.sync_jobs.run.drain.BATCH_ITEMS", 100)
    hold("loyaltyTier")
    earlier, _ = (await make_job("products", "offers").run()).streams
    hold("gracePeriod")
    left = make_job("offers", "products", page_size=100, streams_at_once=1, on_event=stop)
    assert [one.status for one in (await left.run()).streams] == ["complete", "interrupted"]
    (last,) = (await make_job("products", page_size=100).run()).streams
    assert {
        (row["run"], row["stream"], row["model"], row["path"], row["count"]) for row in sink.rows(DRIFT)
    } == {
        (earlier.run, "offers", "Offer", "$.loyaltyTier", 900),
        (earlier.run, "products", "Product", "$.loyaltyTier", 900),
        (last.run, "offers", "Offer", "$.gracePeriod", 900),
        (last.run, "products", "Product", "$.gracePeriod", 900),
    }


async def test_drift_of_what_has_not_changed_is_carried_over_until_the_models_are_others(
    world: World, client: Limio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, looked = ComparingSink(), 0
    look = Reader.look

    def hold(**changed: str) -> None:
        items = [{"id": f"o-{number}", "loyaltyTier": "gold"} for number in range(90)]
        items[0].update(changed)
        (tmp_path / "offers.ndjson").write_bytes(b"\n".join(map(msgspec.json.encode, items)))
        world.read_data(tmp_path)

    def count(reader: Reader, item: Item) -> None:
        nonlocal looked
        looked += 1
        look(reader, item)

    async def found() -> dict[str, int]:
        nonlocal looked
        looked = 0
        report = only(await Job(client, to=sink, state=tmp_path / "state", streams=["offers"]).run())
        assert report.complete
        assert {row["run"] for row in sink.rows(DRIFT)} == {report.run}
        return {row["path"]: row["count"] for row in sink.rows(DRIFT)}

    monkeypatch.setattr(Reader, "look", count)
    hold()
    assert await found() == {"$.loyaltyTier": 90}
    assert (await found(), looked) == ({"$.loyaltyTier": 90}, 0)
    hold(gracePeriod="a week")
    assert await found() == {"$.loyaltyTier": 91, "$.gracePeriod": 1}
    with monkeypatch.context() as patch:
        patch.setattr("limio_async.drift.findings._VERSION", -1)
        assert (await found(), looked) == ({"$.loyaltyTier": 90, "$.gracePeriod": 1}, 90)
        assert (await found(), looked) == ({"$.loyaltyTier": 90, "$.gracePeriod": 1}, 0)


async def test_versions_that_are_appended_take_no_drift_from_the_other_table(
    world: World, client: Limio, tmp_path: Path
) -> None:
    sink = ComparingSink()

    def hold(count: int, field: str) -> None:
        items = [{"id": f"o-{number}", field: "gold"} for number in range(count)]
        (tmp_path / "offers.ndjson").write_bytes(b"\n".join(map(msgspec.json.encode, items)))
        world.read_data(tmp_path)

    async def run(mode: Any) -> dict[str, int]:
        job = Job(client, to=sink, state=tmp_path / "state", streams=["offers"], mode=mode)
        assert only(await job.run()).complete
        return {found.path: found.count for _, found in drifted(sink)}

    hold(5, "loyaltyTier")
    assert await run("full") == {"$.loyaltyTier": 5}
    assert await run("append") == {"$.loyaltyTier": 5}
    assert await run("full") == {"$.loyaltyTier": 5}
