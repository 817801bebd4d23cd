"""`limio sync --status`: how old each stream of a target is, for people and for monitoring."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.text import Text

from limio_async.cli.failures import Code, Failure, code_of, printable, said_of, tell
from limio_async.cli.output import to_stdout
from limio_async.cli.reading import target
from limio_async.cli.sync_view import BAD, news, runs_table, table_of
from limio_async.errors import LimioError
from limio_async.sync_jobs.status import Standing, standings
from limio_async.sync_jobs.streams import stream

__all__ = ["show_status"]


def show_status(url: str, names: Sequence[str], *, max_age: timedelta | None, as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Show how the streams of a target stand, or those called *names*, and judge their age.

    A stream that is named and is not there is one that was never complete.
    """
    try:
        return _status(url, names, max_age=max_age, as_json=as_json, quiet=quiet)
    except (Failure, LimioError) as error:
        if as_json:
            told = {"kind": "status", "error": printable(said_of(error)), "exit_code": code_of(error)}
            to_stdout(msgspec.json.encode(told) + b"\n")
        raise


def _status(url: str, names: Sequence[str], *, max_age: timedelta | None, as_json: bool, quiet: bool) -> int:
    wanted = {stream(name).name: stream(name).table for name in names}
    now = datetime.now(UTC)
    with target(url, option="--to") as sink:
        there = [one for one in standings(sink) if not wanted or one.stream in wanted]
    never = wanted.keys() - {one.stream for one in there}
    found = [*there, *(Standing(table=wanted[name], stream=name) for name in sorted(never))]
    old = [one for one in found if max_age is not None and ((age := one.age(now)) is None or age > max_age)]
    code = Code.TOO_OLD if old else Code.OK
    if as_json:
        _show_json(sink.name, found, old, now=now, code=code)
    elif not quiet or max_age is None:
        _show_tables(sink.name, found, now=now)
    for one in old:
        tell(f"{one.table} is too old: {one.said(now)}")
    return code


def _show_json(name: str, found: Sequence[Standing], old: Collection[Standing], *, now: datetime, code: Code) -> None:  # fmt: skip
    streams: list[dict[str, Any]] = [
        {
            **msgspec.structs.asdict(one),
            "age_seconds": _seconds(one.age(now)),
            "too_old": any(one is other for other in old),
        }
        for one in found
    ]
    told = {"kind": "status", "target": name, "at": now, "streams": streams, "error": None, "exit_code": code}
    to_stdout(msgspec.json.encode(told) + b"\n")


def _show_tables(name: str, found: Sequence[Standing], *, now: datetime) -> None:
    runs = [one.last_run for one in found if one.last_run is not None]
    news(runs_table(f"{name}: last runs", sorted(runs, key=lambda one: one.stream)))
    columns: dict[str, Sequence[str | Text]] = {
        "table": [one.table for one in found],
        "age": [_age(one, now) for one in found],
        "watermark (UTC)": ["" if one.watermark is None else f"{one.watermark:%Y-%m-%d %H:%M}" for one in found],
        "items": [f"{one.items or 0:,}" for one in found],
        "in quarantine": [f"{one.quarantined:,}" if one.quarantined else "" for one in found],
    }  # fmt: skip
    news(table_of("how old it is", columns, texts={"table", "age", "watermark (UTC)"}, wraps={"age"}))


def _age(one: Standing, now: datetime) -> str | Text:
    said = one.said(now)
    return Text(said, BAD) if one.failing_since or one.last_complete is None else said


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()
