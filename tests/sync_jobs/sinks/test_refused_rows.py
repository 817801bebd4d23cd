"""A row that a target does not take keeps out no other; no message tells what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from limio_async.errors import SinkError
from limio_async.sync_jobs.sink import STALE, Change, Column, Refused, Row, Written
from limio_async.sync_jobs.sinks.sound import sound
from limio_async.sync_jobs.sinks.sql import SqlSink
from limio_async.sync_jobs.sinks.values import refusal_for
from tests.sync_jobs.sinks.targets import AT, LATER, NOTES, OFFERS, any_number, held, offer, opened

SECRET = "ann@example.com"
MARKED = msgspec.structs.replace(OFFERS, columns=(*OFFERS.columns, Column(STALE, "time")))
RULES = {
    "not null": ("ALTER TABLE offers ALTER COLUMN name SET NOT NULL", None),
    "check": ("ALTER TABLE offers ADD CHECK (name <> 'ann@example.com')", SECRET),
    "deferred": (
        "ALTER TABLE offers ADD CONSTRAINT c FOREIGN KEY (name) REFERENCES names DEFERRABLE INITIALLY DEFERRED",
        SECRET,
    ),
    "short": ("ALTER TABLE offers ALTER COLUMN name TYPE varchar(8)", SECRET),
    "integer": ("ALTER TABLE offers ALTER COLUMN name TYPE integer USING name::integer", SECRET),
    "index": ("CREATE INDEX ON offers (name)", "".join(map(chr, range(0x4E00, 0x9FFF)))),
    "trigger": ("CREATE TRIGGER t BEFORE INSERT ON offers FOR EACH ROW EXECUTE FUNCTION no()", SECRET),
}
GOOD = "17"


def apply(sink: SqlSink, rows: Sequence[Row]) -> tuple[Written, list[Row]]:
    """What became of rows, and what was noted of it in the same transaction."""

    def then(written: Sequence[Written]) -> list[Change]:
        return [Change(NOTES, [(one.row[0], one.reason, None) for one in written[0].refused])]

    (written,) = sink.apply([Change(OFFERS, rows)], then=then)
    return written, [(note["id"], note["note"]) for note in sink.rows(NOTES)]


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_of_the_user_refuses_is_found_by_halves(postgres: str, rule: str) -> None:
    statement, bad = RULES[rule]
    with opened(postgres, OFFERS, NOTES) as sink:
        sink._run("CREATE TABLE names (name text PRIMARY KEY)")
        sink._run("INSERT INTO names VALUES (%s)", GOOD)
        sink._run(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.name <> '17' THEN"
            " RAISE EXCEPTION USING MESSAGE = 'no ' || NEW.name, ERRCODE = 'LM001'; END IF; RETURN NEW; END $$"
        )
        sink._run(statement)
        rows = [offer(number, name=bad if number in {3, 40} else GOOD) for number in range(50)]
        written, noted = apply(sink, rows)
        assert written.inserted == 48
        assert sorted(one.row[0] for one in written.refused) == ["o-3", "o-40"]
        assert sorted(one for one, _ in noted) == ["o-3", "o-40"]
        assert all(reason.startswith("offers: ") and SECRET not in reason for _, reason in noted)
        assert held(sink).keys() == {f"o-{number}" for number in range(50)} - {"o-3", "o-40"}


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "postgresql", "parquet"], indirect=False)
def test_of_rows_that_exclude_each_other_one_is_written(url: str, kind: str) -> None:
    with opened(url, OFFERS, NOTES) as sink:
        sink._run("CREATE UNIQUE INDEX one_name ON offers (name)")
        rows = [offer(number, name=SECRET if number < 10 else str(number)) for number in range(50)]
        written, noted = apply(sink, rows)
        assert written.inserted == 41
        assert len(noted) == 9
        assert not any(SECRET in reason for _, reason in noted)
        assert apply(sink, [offer(number, name=str(number)) for number in range(60)])[0].inserted == 19


@pytest.mark.parametrize("words", ["ABORT", "FAIL", "ROLLBACK"])
def test_triggers_of_sqlite_refuse_only_their_row(tmp_path: Path, words: str) -> None:
    with opened(f"sqlite:///{tmp_path}/a.db", OFFERS, NOTES) as sink:
        sink._run(
            f"CREATE TRIGGER t BEFORE INSERT ON offers WHEN NEW.name = '{SECRET}'"
            f" BEGIN SELECT RAISE({words}, 'no {SECRET}'); END"
        )
        written, noted = apply(
            sink, [offer(number, name=SECRET if number == 3 else "x") for number in range(9)]
        )
        assert (written.inserted, [one for one, _ in noted]) == (8, ["o-3"])
        assert SECRET not in str(noted)


def test_a_column_that_the_database_computes_is_left_to_it(postgres: str, tmp_path: Path) -> None:
    for url in (postgres, f"sqlite:///{tmp_path}/a.db"):
        with opened(url, OFFERS, NOTES) as sink:
            sink._run("ALTER TABLE offers DROP COLUMN name")
            kind = "STORED" if url == postgres else "VIRTUAL"
            sink._run(f"ALTER TABLE offers ADD COLUMN name text GENERATED ALWAYS AS (lower(id)) {kind}")
            sink.prepare([OFFERS, NOTES])
            assert apply(sink, [offer(1)])[0] == Written(inserted=1)
            assert held(sink)["o-1"]["name"] == "o-1"


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "postgresql"])
def test_a_refused_ledger_ends_the_call_and_tells_no_contents(url: str) -> None:
    with opened(url, OFFERS, NOTES) as sink:
        sink._run("CREATE UNIQUE INDEX one_note ON _notes (note)")
        rows: list[Row] = [("a", SECRET, None), ("b", SECRET, None)]
        with pytest.raises(SinkError, match="a row was refused") as caught:
            sink.apply([Change(NOTES, rows)])
        assert SECRET not in str(caught.value)
        assert not [*sink.rows(NOTES)]


def test_a_stale_row_keeps_its_values_until_it_comes_again(url: str) -> None:
    with opened(url, MARKED) as sink:
        rows = [(*offer(number), None) for number in range(3)]
        sink.apply([Change(MARKED, rows)])
        sink.mark_unseen(MARKED, ["o-1", "o-2"], deleted_at=AT, allows=any_number)
        for at in (AT, LATER):  # the first time stays
            sink.apply([Change(MARKED, [], stale=["o-0", "o-1"], at=at)])
        found = held(sink, MARKED)
        assert [(found[f"o-{n}"][STALE], found[f"o-{n}"]["deleted_at"]) for n in range(3)] == [
            (AT, None),
            (AT, None),
            (None, None),
        ]
        assert sink.apply([Change(MARKED, rows, stale=["o-2"], at=AT)]) == [Written(updated=3)]
        assert {row[STALE] for row in held(sink, MARKED).values()} == {None}


def test_of_rows_that_are_good_alone_the_first_ones_stay() -> None:
    rows: list[Row] = [(n, n // 2) for n in range(9)]

    def refusal(some: Sequence[Row]) -> str | None:
        return "odd" if (4, 2) in some or len({row[1] for row in some}) < len(some) else None

    kept, refused = sound(rows, refusal)
    assert kept == [(0, 0), (2, 1), (5, 2), (6, 3), (8, 4)]
    assert sorted(refused, key=lambda one: one.row[0]) == [Refused(rows[n], "odd") for n in (1, 3, 4, 7)]


@pytest.mark.parametrize(
    ("raw", "targets"),
    [
        (rb'"\ud800"', {"duckdb", "postgres", "?"}),
        (rb'"\u0000"', {"postgres", "?"}),
        (rb'"\\u0000"', set[str]()),
        (b'"1e-99999"', set[str]()),
        (b"1e-20000", {"postgres", "?"}),
        (b"1e-16383", set[str]()),
        (b"1E999999999", {"postgres", "?"}),
        (b"9" * 131_072, set[str]()),
        (b"9" * 131_073, {"postgres", "?"}),
        (b"0." + b"1" * 10_000 + b"e-9999", {"postgres", "?"}),
        (b"0." + b"0" * 16_384, {"postgres", "?"}),
        (b'"\xff"', {"sqlite", "files", "duckdb", "postgres", "?"}),
    ],
)
def test_one_set_of_rules_says_what_each_target_holds(raw: bytes, targets: set[str]) -> None:
    row = offer(1, raw=b'{"x":' + raw + b"}")
    kinds = ("sqlite", "files", "duckdb", "postgres", "?")
    assert {kind for kind in kinds if refusal_for(kind, OFFERS, row)} == targets


@pytest.mark.parametrize(
    "value", [b"1e-16383", b"1e-16384", b"9" * 131_072, b"9" * 131_073, b"0e-20000", b"0e200000"]
)
def test_the_rules_for_numbers_are_those_of_postgresql(postgres: str, value: bytes) -> None:
    row: Any = offer(1, raw=b'{"x":' + value + b"}")
    with opened(postgres, OFFERS, NOTES) as sink:
        written, _ = apply(sink, [row])
        assert bool(written.refused) == bool(sink.refusal(OFFERS, row))
