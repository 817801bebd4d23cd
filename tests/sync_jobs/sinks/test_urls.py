"""Which target a URL names, and what is said where it names none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from limio_async.errors import ConfigurationError
from limio_async.sync_jobs.sinks import open_sink, state_file
from limio_async.sync_jobs.sinks.files import CsvSink, NdjsonSink
from limio_async.sync_jobs.sinks.sqlite import SqliteSink


@pytest.mark.parametrize(
    ("url", "kind", "state"),
    [
        ("sqlite:///limio.db", "SqliteSink", "limio.db.state"),
        ("sqlite:////var/lib/limio.db", "SqliteSink", "/var/lib/limio.db.state"),
        ("duckdb:///x.duckdb", "DuckdbSink", "x.duckdb.state"),
        ("parquet:some/dir", "ParquetSink", "some/dir/_limio/state.db"),
        ("ndjson:dir?compress=gzip", "NdjsonSink", "dir/_limio/state.db"),
        ("ndjson:dir?compress=zstd", "NdjsonSink", "dir/_limio/state.db"),
        ("csv:/dir?columns=id,name", "CsvSink", "/dir/_limio/state.db"),
    ],
)
def test_a_url_names_a_target_and_its_state(url: str, kind: str, state: str) -> None:
    sink = open_sink(url)
    assert (type(sink).__name__, sink.name, state_file(url)) == (kind, url, Path(state))


def test_nothing_is_made_before_it_is_opened(tmp_path: Path) -> None:
    open_sink(f"ndjson:{tmp_path}/a/b")
    open_sink(f"sqlite:///{tmp_path}/a/b.db")
    assert list(tmp_path.iterdir()) == []


def test_a_home_directory_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_file("sqlite:///~/limio.db") == tmp_path / "limio.db.state"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "sqllite:///x.db",
            "'sqllite' is no kind of target, did you mean sqlite?; targets are sqlite:///limio.db, ",
        ),
        ("postgress://me:secret@host/db", "'postgress' is no kind of target, did you mean postgres"),
        ("limio.db", "'limio.db' is no kind of target; targets are"),
        ("sqlite", "'sqlite' is no kind of target, did you mean sqlite?"),
        ("", "'' is no kind of target"),
        (
            "sqlite:limio.db",
            "sqlite:limio.db names no file: sqlite:///limio.db is one in the working directory",
        ),
        ("sqlite://limio.db", "sqlite://limio.db names no file"),
        ("duckdb:///", "duckdb:/// names no file: duckdb:///limio.duckdb is one"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///dir/", "names no file"),
        (
            "sqlite:///x.db?mode=ro",
            "mode is who may read and write the files, in octal, such as 640; not 'ro'",
        ),
        ("duckdb:///x.db?mode=444", "not '444': the owner must be able to do both"),
        ("csv:x?mode=1777", "not '1777'"),
        ("sqlite:///x.db?cache=1", "sqlite: has no option 'cache'; its option is mode"),
        ("sqlite:///what?.db", "sqlite: has no option '.db'; its option is mode"),
        ("sqlite:///what?", "sqlite: no ? in the name of the file"),
        ("parquet:", "parquet: names no directory: write parquet:DIR"),
        ("parquet:///x", "names no directory"),
        ("ndjson:", "ndjson: names no directory: write ndjson:DIR, or ndjson:/var/lib/limio"),
        ("csv:", "csv: names no directory: write csv:DIR"),
        (
            "ndjson:x?compres=gzip",
            "ndjson: has no option 'compres', did you mean compress?; its options are compress, mode",
        ),
        ("parquet:x?a=b", "parquet: has no option 'a'; its option is mode"),
        ("parquet:x?a=", "parquet: has no option 'a'; its option is mode"),
        ("ndjson:x?compress=", "compress is gzip or zstd, not ''"),
        ("postgresql://me:at@secret@host/db", "special in a part of it is %-encoded"),
        ("ndjson:x?compress=zip", "compress is gzip or zstd, not 'zip'"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_a_password(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_sink(url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("duckdb:///x", "duckdb", "duckdb"),
        ("duckdb:///x", "pyarrow", "duckdb"),
        ("parquet:x", "pyarrow", "parquet"),
        ("postgresql://h/d", "psycopg", "postgres"),
        ("postgres://h/d", "platformdirs", "postgres"),
        ("ndjson:x?compress=zstd", "zstandard", "zstd"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"needs {module}: pip install 'limio_async\[{extra}\]'"):
        open_sink(url)


def test_what_comes_with_extras_is_imported_only_where_it_is_needed() -> None:
    code = (
        "import sys; from limio_async.sync_jobs.sinks import open_sink;"
        "open_sink('sqlite:///x.db'); open_sink('ndjson:x?compress=zstd'); open_sink('csv:x');"
        "print({'duckdb', 'psycopg', 'pyarrow', 'zstandard', 'platformdirs'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_state_of_a_server_depends_on_all_but_the_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    own = state_file("postgresql://me:secret@host/shop")
    same = [
        "postgres://me@host/shop?schema=public",
        "postgresql://me:other@host:5432/shop?application_name=x",
    ]
    others = [
        "//me@host/shop?schema=b",
        "//me@host2/shop",
        "//me@host:5433/shop",
        "//me@host/b",
        "//you@host/shop",
    ]
    assert {state_file(url) for url in same} == {own}
    assert len({own, *(state_file(f"postgresql:{url}") for url in others)}) == 6
    assert own.is_relative_to(tmp_path)
    monkeypatch.setenv("PGUSER", "me")
    monkeypatch.setenv("PGDATABASE", "shop")
    assert state_file("postgresql://host") == own


def test_options_of_a_server_are_its_library_s_own() -> None:
    url = "postgresql://me:p%20w@h1:1,h2:2/db?options=-c%20geqo%3Doff&schema=s%C3%BC"
    assert open_sink(url).name == "postgresql://h1,h2:1,2/db?schema=sü"


def test_a_url_that_cannot_be_read_does_not_show_its_password() -> None:
    with pytest.raises(ConfigurationError, match="%-encoded") as caught:
        open_sink("postgresql://me:se%cret@host/db")
    assert "cret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_the_defaults_are_plain() -> None:
    assert type(open_sink("csv:x")) is CsvSink
    assert type(open_sink("ndjson:x")) is NdjsonSink
    assert type(open_sink("sqlite:///x")) is SqliteSink
