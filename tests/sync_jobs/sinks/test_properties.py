"""After any calls the rows of each target, and what it counts, are those of a dict."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from limio_async.sync_jobs.sink import Change, Row, Table
from tests.sync_jobs.sinks.model import Model
from tests.sync_jobs.sinks.targets import AT, LATER, OFFERS, held, offer, opened, up_to

TABLES = st.sampled_from(
    [
        OFFERS,
        msgspec.structs.replace(OFFERS, compared=None),
        msgspec.structs.replace(OFFERS, key=("id", "hash"), keeps=True),
        msgspec.structs.replace(OFFERS, compared="name"),
    ]
)
IDS = st.sampled_from(["a", "A", "b", "ä", "a ", "'\"", "a\0", "\udc00", "😀", "x" * 600, "y" * 601])
TEXTS = (
    st.none()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from(["", "\0", "\ud800", "\\x00", "%s", "\\N"])
)
ITEMS = st.sampled_from(
    [
        b'{"a": 1.50}',
        b"{}",
        b'{"a":"\\u0000"}',
        b'{"a":"\\\\u0000"}',
        b'{"a":"\\\\\\u0000"}',
        b'["\\ud83d\\ude00", "\\ud800"]',
        b'["\\ud83d\\ude00"]',
        b"[1e-400, 1e308]",
        b"[1e-99999]",
        b'["1e-99999"]',
        b'"\xff"',
        '{\n"a":\t"ü😀\\n"}'.encode(),
        b"[" * 500 + b"]" * 500,
    ]
)
ROWS = st.tuples(
    IDS,
    TEXTS,
    st.none() | st.floats() | st.integers(-(2**53), 2**53) | st.just(10**400),
    st.none() | st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**63)]),
    st.none() | st.booleans(),
    st.none() | st.datetimes(timezones=st.just(UTC)) | st.just(datetime.max.replace(tzinfo=UTC)),
    st.none(),
    st.sampled_from(["1", "2"]),
    ITEMS,
)
CALLS = st.lists(
    st.lists(ROWS, max_size=6)
    | st.tuples(st.sets(IDS), st.none() | st.floats(0, 1), st.sampled_from([AT, LATER])),
    max_size=6,
)
NUMBERS = itertools.count()


@pytest.fixture
def sink(url: str) -> Iterator[Any]:
    with opened(url) as sink:
        yield sink


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES, CALLS)
@example(OFFERS, [[offer(1), offer(2)], ({"o-1"}, None, AT), [offer(2)]])
def test_any_calls_leave_what_a_dict_would_hold(sink: Any, table: Table, calls: list[Any]) -> None:
    table = msgspec.structs.replace(
        table, name=f"table_{next(NUMBERS)}"
    )  # a fresh one, in the target of all examples
    sink.prepare([table])
    model = Model(table)
    for call in calls:
        if isinstance(call, list):
            rows: list[Row] = [row for row in call if sink.refusal(table, row) is None]
            assert sink.apply([Change(table, rows)]) == [model.apply(rows)]
        elif table.key == ("id",):
            seen, most, at = call
            assert sink.mark_unseen(
                table, iter(seen), deleted_at=at, allows=up_to(most)
            ) == model.mark_unseen(seen, at, most)
    found = {tuple(row[name] for name in table.key): row for row in sink.rows(table)}
    assert len(found) == sum(1 for _ in sink.rows(table))
    if "postgresql" in sink.name:  # jsonb keeps the value of JSON, not its bytes
        for row in [*found.values(), *model.rows.values()]:
            row["raw"] = value_of(row["raw"])
    assert found == model.rows


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.text() | st.floats() | st.integers(-(2**63), 2**63),
        lambda of: st.lists(of) | st.dictionaries(st.text(), of),
    )
)
def test_postgresql_refuses_exactly_what_jsonb_cannot_hold(postgres_sink: Any, value: Any) -> None:
    raw = msgspec.json.encode(value) if _encodes(value) else b"[]"
    row = offer(1, raw=raw, version=str(next(NUMBERS)))
    refused = postgres_sink.refusal(OFFERS, row)
    assert (refused is not None) == (b"\\u0000" in raw.replace(b"\\\\", b""))
    if refused is None:
        postgres_sink.apply([Change(OFFERS, [row])])
        assert value_of(held(postgres_sink)["o-1"]["raw"]) == value_of(raw)


@pytest.fixture
def postgres_sink(postgres: str) -> Iterator[Any]:
    with opened(postgres, OFFERS) as sink:
        yield sink


def value_of(raw: bytes) -> Any:
    """Its value; jsonb writes 1e308 with all its digits."""
    return json.loads(raw, parse_int=float)


def _encodes(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False
    return True
