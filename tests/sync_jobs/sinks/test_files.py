"""The files that a directory holds: whole, stable, and only what lives."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest
import zstandard

from limio_async.errors import ConfigurationError, SinkError
from limio_async.sync_jobs.ledger import LEDGER
from limio_async.sync_jobs.sink import Column, Table
from limio_async.sync_jobs.sinks import parquet
from limio_async.sync_jobs.sinks.sql import SqlSink
from tests.disk import Disk, kept
from tests.sync_jobs.sinks.targets import AT, LATER, NOTES, OFFERS, any_number, held, offer, opened, write

KINDS = [column.kind for column in OFFERS.columns]
ODD = [b'{"id": "o-3",\r\n\t"n" :1.0}', '{"id":"\\n ü"}'.encode()]


def filled(sink: SqlSink) -> None:
    """Live are o-1, o-3 and o-4, in this order."""
    write(sink, [offer(4, raw=ODD[1]), offer(2), offer(3, raw=ODD[0]), offer(1)])
    sink.mark_unseen(OFFERS, ["o-1", "o-3", "o-4"], deleted_at=LATER, allows=any_number)
    sink.publish(OFFERS)


@pytest.mark.parametrize(
    ("query", "suffix"), [("", ""), ("?compress=gzip", ".gz"), ("?compress=zstd", ".zst")]
)
def test_ndjson_holds_the_bytes_of_items_one_a_line(tmp_path: Path, query: str, suffix: str) -> None:
    with opened(f"ndjson:{tmp_path}{query}", OFFERS) as sink:
        filled(sink)
    packed = (tmp_path / f"offers.ndjson{suffix}").read_bytes()
    match suffix:
        case ".gz":
            assert packed[3:8] == bytes(5), "neither a name nor a time: the same rows make the same file"
            packed = gzip.decompress(packed)
        case ".zst":
            assert zstandard.get_frame_parameters(packed).has_checksum
            packed = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
        case _:
            pass
    one_line = b'{"id": "o-3",  \t"n" :1.0}'
    assert packed == offer(1)[-1] + b"\n" + one_line + b"\n" + ODD[1] + b"\n"
    assert json.loads(one_line) == json.loads(ODD[0])


def test_csv_holds_what_a_reader_wants_and_no_formula(tmp_path: Path) -> None:
    names = [
        "=1+1",
        "+44 20",
        "-x",
        "@sum",
        "\tx",
        "\rx",
        "-5",
        "+3.2e1",
        "a=1",
        'with "quotes",\nand a line',
        None,
        "",
    ]
    with opened(f"csv:{tmp_path}", OFFERS) as sink:
        sent = [offer(number, name=name) for number, name in enumerate(names, start=10)]
        unknown = tuple(
            None if kind == "boolean" else value for kind, value in zip(KINDS, sent[2], strict=True)
        )
        write(sink, [*sent[:2], unknown, *sent[3:]])
        sink.publish(OFFERS)
    with (tmp_path / "offers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "name", "price", "count", "order", "updated"]
    assert [row["name"] for row in rows] == [
        "'=1+1",
        "'+44 20",
        "'-x",
        "'@sum",
        "'\tx",
        "'\rx",
        *names[6:10],
        "",
        "",
    ]
    assert [row["order"] for row in rows[:4]] == ["true", "false", "", "false"]
    assert rows[1] == {
        "id": "o-11",
        "name": "'+44 20",
        "price": "2.75",
        "count": "11",
        "order": "false",
        "updated": "2026-01-02T03:04:05.678900Z",
    }


def test_csv_is_in_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.sync_jobs.sinks.targets import OFFERS, offer, opened, write\n"
        "with opened(sys.argv[1], OFFERS) as sink: write(sink, [offer(1, name='\\xfc')]); sink.publish(OFFERS)"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, f"csv:{tmp_path}"], env={**os.environ, **plain}, check=True)
    assert "o-1,ü,0.25" in (tmp_path / "offers.csv").read_text(encoding="utf-8")


def test_csv_holds_the_chosen_columns_in_their_order(tmp_path: Path) -> None:
    bare = Table(name="bare", columns=(Column("id"), Column("raw", "json")))
    with opened(f"csv:{tmp_path}?columns=name,order", OFFERS, bare) as sink:
        write(sink, [offer(2)])
        sink.publish(OFFERS)
        sink.publish(bare)
    assert (tmp_path / "offers.csv").read_text() == "name,order\nOffer,true\n"
    assert not (tmp_path / "bare.csv").exists()


def test_columns_that_no_table_has_are_named(tmp_path: Path) -> None:
    own = "quarantined_at,commit_id,watermark,example"  # of the job's own tables, which are no files
    said = f"has a column nmae, {own.replace(',', ', ')}; there are count, deleted_at, hash, id, name"
    with (
        pytest.raises(ConfigurationError, match=said),
        opened(f"csv:{tmp_path}?columns=id,nmae,{own}", OFFERS, *LEDGER),
    ):
        pass
    with opened(f"csv:{tmp_path}?columns=name", NOTES) as sink:  # its tables alone name no columns
        write(sink, [("n", "note", b"")], NOTES)
        assert list(held(sink, NOTES)) == ["n"]


def test_parquet_holds_typed_columns_and_the_item(tmp_path: Path) -> None:
    with opened(f"parquet:{tmp_path}", OFFERS) as sink:
        filled(sink)
    table = pyarrow.parquet.read_table(tmp_path / "offers.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string",
        "name": "string",
        "price": "double",
        "count": "int64",
        "order": "bool",
        "updated": "timestamp[us, tz=UTC]",
        "deleted_at": "timestamp[us, tz=UTC]",
        "hash": "string",
        "raw": "string",
    }
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == ["o-1", "o-3", "o-4"]
    assert rows[1] | {"raw": rows[1]["raw"].encode()} == dict(
        zip(table.schema.names, offer(3, raw=ODD[0]), strict=True)
    )


def test_parquet_is_written_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 10)
    monkeypatch.setattr(parquet, "_BYTES", 5000)
    with opened(f"parquet:{tmp_path}", OFFERS) as sink:
        write(sink, [offer(number) for number in range(100, 125)])
        write(sink, [offer(number, raw=b'"' + b"x" * 3000 + b'"') for number in range(200, 204)])
        sink.publish(OFFERS)
    file = pyarrow.parquet.ParquetFile(tmp_path / "offers.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 7, 2]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("kind", ["ndjson", "csv", "parquet"])
def test_a_file_without_rows_is_a_file(tmp_path: Path, kind: str) -> None:
    with opened(f"{kind}:{tmp_path}", OFFERS, NOTES) as sink:
        sink.publish(OFFERS)
        sink.publish(NOTES)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [f"offers.{kind}"]


@pytest.mark.parametrize("kind", ["ndjson", "csv", "parquet"])
def test_a_file_is_written_only_where_something_has_changed(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"offers.{kind}"

    def is_written() -> bool:
        before = file.stat().st_ino if file.exists() else 0
        sink.publish(OFFERS)
        return file.stat().st_ino != before

    with opened(f"{kind}:{tmp_path}", OFFERS) as sink:
        write(sink, [offer(1), offer(2)])
        assert is_written()
        write(sink, [offer(1)])
        sink.mark_unseen(OFFERS, ["o-1", "o-2"], deleted_at=LATER, allows=any_number)
        assert not is_written()
        write(sink, [offer(1, version="2")])
    with opened(f"{kind}:{tmp_path}", OFFERS) as sink:
        assert is_written(), "also when the job was killed in between"
        sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number)
        assert is_written()
        file.unlink()
        assert is_written()


def test_other_columns_make_another_file(tmp_path: Path) -> None:
    for columns in ("id", "id,count"):
        with opened(f"csv:{tmp_path}?columns={columns}", OFFERS) as sink:
            write(sink, [offer(1)])
            sink.publish(OFFERS)
        assert (tmp_path / "offers.csv").read_text().splitlines()[0] == columns


def test_kinds_of_files_may_share_a_directory(tmp_path: Path) -> None:
    for kind in ("ndjson", "csv", "parquet"):
        with opened(f"{kind}:{tmp_path}", OFFERS) as sink:
            write(sink, [offer(1)])
            sink.publish(OFFERS)
    assert {file.name for file in tmp_path.iterdir()} == {
        "_limio",
        "offers.ndjson",
        "offers.csv",
        "offers.parquet",
    }


@pytest.mark.parametrize("kind", ["ndjson", "csv", "parquet"])
def test_what_fails_on_the_way_leaves_the_file_as_it_was(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(f"{kind}:{tmp_path}", OFFERS) as sink:
        write(sink, [offer(number) for number in range(5)])
        sink.publish(OFFERS)
        before = (tmp_path / f"offers.{kind}").read_bytes()
        write(sink, [offer(7)])
        read = sink._read

        def breaks_off(statement: str) -> object:
            for number, row in enumerate(read(statement)):
                if number == 3:
                    raise OSError(28, "No space left on device")
                yield row

        monkeypatch.setattr(sink, "_read", breaks_off)
        with pytest.raises(SinkError, match="No space left on device; what was there before is untouched"):
            sink.publish(OFFERS)
        assert (tmp_path / f"offers.{kind}").read_bytes() == before
        assert sorted(file.name for file in tmp_path.iterdir()) == ["_limio", f"offers.{kind}"]
        monkeypatch.undo()
        sink.publish(OFFERS)
        assert (tmp_path / f"offers.{kind}").read_bytes() != before


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ndjson:{}", "offers.ndjson"),
        ("ndjson:{}?compress=gzip", "offers.ndjson.gz"),
        ("ndjson:{}?compress=zstd", "offers.ndjson.zst"),
        ("csv:{}", "offers.csv"),
        ("parquet:{}", "offers.parquet"),
    ],
)
def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_directory_after(
    tmp_path: Path, disk: Disk, kind: str, name: str
) -> None:
    with opened(kind.format(tmp_path), OFFERS) as sink:
        write(sink, [offer(1)])
        sink.publish(OFFERS)
        assert disk.story == kept(tmp_path / name)


def test_the_same_rows_make_the_same_file_whatever_came_before(tmp_path: Path) -> None:
    rows = [offer(number, version="2") for number in range(20)]
    files: list[bytes] = []
    for name, before in (("a", rows[::-1]), ("b", [offer(3), offer(99), *rows[:5]])):
        for kind in ("ndjson", "csv", "ndjson"):
            with opened(f"{kind}:{tmp_path}/{name}", OFFERS) as sink:
                write(sink, before)
                write(sink, rows)
                sink.mark_unseen(OFFERS, [row[0] for row in rows], deleted_at=AT, allows=any_number)
                sink.publish(OFFERS)
        files.append(
            (tmp_path / name / "offers.csv").read_bytes() + (tmp_path / name / "offers.ndjson").read_bytes()
        )
    assert files[0] == files[1]
    assert len(files[0].splitlines()) == 41


def test_an_item_of_spaces_and_lines_only_between_its_tokens(tmp_path: Path) -> None:
    raw = msgspec.json.format(
        msgspec.json.encode({"text": "line\nbreak\r", "list": [1, {"a": None}]}), indent=2
    )
    with opened(f"ndjson:{tmp_path}", OFFERS) as sink:
        write(sink, [offer(1, raw=raw)])
        sink.publish(OFFERS)
    (line,) = (tmp_path / "offers.ndjson").read_bytes().splitlines()
    assert msgspec.json.decode(line) == msgspec.json.decode(raw)
    assert len(line) == len(raw)
