"""From a URL to the sink that it names, and to where a job keeps its own state."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, quote, urlencode

from limio_async._durable import PRIVATE
from limio_async.errors import ConfigurationError
from limio_async.sync_jobs.sink import Sink

if TYPE_CHECKING:
    from limio_async.sync_jobs.sinks.files import Compression
    from limio_async.sync_jobs.sinks.postgres import PostgresSink

__all__ = ["file_of", "is_server", "open_sink", "server_of", "shown", "state_file"]

_LOCK_WAIT = timedelta(seconds=30)


def open_sink(url: str, *, lock_wait: timedelta = _LOCK_WAIT) -> Sink:
    """The sink that *url* names; constructed only, nothing is read or written before its `open`.

    *lock_wait* is how long a server's lock is waited for.

    Raises `ConfigurationError` where the URL names none, or where the library that it needs is not installed.
    """
    scheme = _scheme_of(url)
    return _postgres(url, lock_wait) if scheme in _SERVERS else _SCHEMES[scheme](url)


def is_server(url: str) -> bool:
    """Return whether *url* names a server, which may be away for a while."""
    return _scheme_of(url) in {"postgresql", "postgres"}


def state_file(url: str) -> Path:
    """Where a job into this target keeps its own state: beside the file, in the directory, or, of a server, among
    the user's files of that kind.
    """
    match scheme := _scheme_of(url):
        case "sqlite" | "duckdb":
            file, _ = file_of(url, scheme)
            return file.with_name(f"{file.name}.state")
        case "postgresql" | "postgres":
            return _postgres(url).state_file
        case _:
            directory, _ = _directory_of(url, scheme)
            return directory / "_limio" / "state.db"


# --- one function a scheme


def _sqlite(url: str) -> Sink:
    from limio_async.sync_jobs.sinks.sqlite import SqliteSink

    file, mode = file_of(url, "sqlite")
    return SqliteSink(file, name=url, mode=mode)


def _duckdb(url: str) -> Sink:
    file, mode = file_of(url, "duckdb")
    _need("duckdb", "duckdb", "pyarrow")
    from limio_async.sync_jobs.sinks.duckdb import DuckdbSink

    return DuckdbSink(file, name=url, mode=mode)


def _postgres(url: str, lock_wait: timedelta = _LOCK_WAIT) -> PostgresSink:
    base, schema = server_of(url)
    from limio_async.sync_jobs.sinks.postgres import PostgresSink

    return PostgresSink(base, schema=schema, lock_wait=lock_wait.total_seconds())


def _ndjson(url: str) -> Sink:
    directory, options = _directory_of(url, "ndjson")
    compression = options.get("compress")
    if compression not in {None, "gzip", "zstd"}:
        raise ConfigurationError(f"compress is gzip or zstd, not {compression!r}")
    if compression == "zstd":
        _need("zstd", "zstandard")
    from limio_async.sync_jobs.sinks.files import NdjsonSink

    return NdjsonSink(
        directory, name=url, mode=_mode(options), compression=cast("Compression | None", compression)
    )


def _csv(url: str) -> Sink:
    directory, options = _directory_of(url, "csv")
    from limio_async.sync_jobs.sinks.files import CsvSink

    columns = options["columns"].split(",") if "columns" in options else None
    return CsvSink(directory, name=url, mode=_mode(options), columns=columns)


def _parquet(url: str) -> Sink:
    directory, options = _directory_of(url, "parquet")
    _need("parquet", "pyarrow")
    from limio_async.sync_jobs.sinks.parquet import ParquetSink

    return ParquetSink(directory, name=url, mode=_mode(options))


_SCHEMES: Mapping[str, Callable[[str], Sink]] = {
    "sqlite": _sqlite,
    "duckdb": _duckdb,
    "postgresql": _postgres,
    "postgres": _postgres,
    "parquet": _parquet,
    "ndjson": _ndjson,
    "csv": _csv,
}
_SERVERS = ("postgresql", "postgres")
_OPTIONS: Mapping[str, Collection[str]] = {
    "sqlite": ("mode",),
    "duckdb": ("mode",),
    "parquet": ("mode",),
    "ndjson": ("compress", "mode"),
    "csv": ("columns", "mode"),
}
_EXAMPLES = {
    "sqlite": "sqlite:///limio.db",
    "duckdb": "duckdb:///limio.duckdb",
    "postgresql": "postgresql://USER@HOST/DATABASE",
    "parquet": "parquet:DIR",
    "ndjson": "ndjson:DIR",
    "csv": "csv:DIR",
}


# --- parts of URLs


def shown(url: str) -> str:
    """Return *url*, or so much of it as holds no password where it may hold one."""
    if "@" not in url and "=" not in url.partition("?")[0]:
        return url
    return f"{url.partition(':')[0]}:..." if re.match(r"\w+:", url) else "..."


def _scheme_of(url: str) -> str:
    scheme = url.partition(":")[0]  # never the rest: it may hold a password
    if ":" not in url or scheme not in _SCHEMES:
        raise ConfigurationError(
            f"{shown(scheme)!r} is no kind of target{_near(scheme, _SCHEMES)}; targets are {', '.join(_EXAMPLES.values())}"
        )
    return scheme


def server_of(url: str) -> tuple[str, str]:
    """Return a PostgreSQL URL as libpq takes it, and the schema that it names."""
    _need("postgres", "psycopg", "platformdirs")
    base, _, query = url.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    others = urlencode([(key, value) for key, value in options if key != "schema"], quote_via=quote)
    return f"{base}?{others}" if others else base, dict(options).get("schema") or "public"


def file_of(url: str, scheme: str) -> tuple[Path, int]:
    """Return the file that a URL names, and the mode that a new one gets."""
    _, slashes, rest = url.partition(":///")
    path, asks, query = rest.partition("?")
    if not slashes or not path or path.endswith("/") or path == ":memory:":
        raise ConfigurationError(
            f"{shown(url)} names no file: {_EXAMPLES[scheme]} is one in the working directory, {scheme}:////var/lib/limio.db"
            " one anywhere"
        )
    options = _options(query, scheme)
    if asks and not options:
        raise ConfigurationError(
            f"{scheme}: no ? in the name of the file; what follows it is an option: ?mode=640"
        )
    return Path(path).expanduser(), _mode(options)


def _directory_of(url: str, scheme: str) -> tuple[Path, dict[str, str]]:
    path, _, query = url.partition(":")[2].partition("?")
    if not path or path.startswith("//"):
        raise ConfigurationError(
            f"{shown(url)} names no directory: write {_EXAMPLES[scheme]}, or {scheme}:/var/lib/limio"
        )
    return Path(path).expanduser(), _options(query, scheme)


def _mode(options: Mapping[str, str]) -> int:
    """The mode of new files: for their owner only, unless the URL says otherwise."""
    given = options.get("mode", f"{PRIVATE:o}")
    if not re.fullmatch("0?[67][0-7]{2}", given):
        raise ConfigurationError(
            f"mode is who may read and write the files, in octal, such as 640; not {given!r}: the owner must be able to do both"
        )
    return int(given, 8)


def _options(query: str, scheme: str) -> dict[str, str]:
    known, options = _OPTIONS[scheme], dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in known:
            there = f"its {'options are' if len(known) > 1 else 'option is'} {', '.join(known)}"
            raise ConfigurationError(f"{scheme}: has no option {option!r}{_near(option, known)}; {there}")
    return options


def _near(given: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(given, known, n=2)
    return f", did you mean {' or '.join(near)}?" if near else ""


def _need(extra: str, *modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"this target needs {' and '.join(missing)}: pip install 'limio_async[{extra}]'"
        )
