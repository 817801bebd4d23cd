"""What the benchmarks of `limio sync` need: a server, targets, and programs that fill them, each a process of its own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Literal

import msgspec
import psycopg

from benchmarks.contenders import ROOT, in_rounds
from benchmarks.server import serving
from limio_async.sync_jobs.events import StreamReport

__all__ = [
    "FULL",
    "HYDRATED_AT_ONCE",
    "LATENCY",
    "PAGE",
    "POSTGRES",
    "SHORT",
    "Kind",
    "NoPostgres",
    "Row",
    "Scale",
    "SyncStage",
    "Used",
    "Who",
    "as_installed",
    "schema",
    "synced",
]

PAGE = 500
LATENCY = 0.020  # seconds that each answer takes where objects are fetched
HYDRATED_AT_ONCE = 16
LIMIO = Path(sys.executable).with_name("limio")
USED = ROOT / "benchmarks/peers/used.py"
COMPILED = ROOT / ".cache/compiled"
POSTGRES = os.environ.get("LIMIO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
CREDENTIALS = {"LIMIO_API_KEY": "public_x", "LIMIO_CLIENT_ID": "x", "LIMIO_CLIENT_SECRET": "x"}

Who = Literal["ours", "by_hand"]
Kind = Literal["sqlite", "postgres", "duckdb"]


class NoPostgres(RuntimeError):
    """There is no PostgreSQL to write to."""


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured, and how often."""

    offers: int
    loaded: int
    """Offers that dlt loads, which takes it several times as long."""
    pairs: int
    least: int
    most: int
    """Offers of the two syncs whose memory is compared."""
    objects: int
    """To hydrate."""


FULL = Scale(offers=50_000, loaded=20_000, pairs=5, least=10_000, most=1_000_000, objects=20_000)
SHORT = Scale(offers=8_000, loaded=5_000, pairs=3, least=10_000, most=50_000, objects=1_600)


class Used(msgspec.Struct, frozen=True):
    """What a process used, its children included; seconds and MiB. What it printed last is *said*."""

    cpu: float
    wall: float
    peak_mib: float
    said: Any = None


class Row(msgspec.Struct, frozen=True):
    """What one `limio sync` of one stream came to."""

    report: StreamReport
    used: Used

    @property
    def seconds(self) -> float:
        """From the start of the stream, without that of the process."""
        return self.report.seconds(self.report.started)

    @property
    def rate(self) -> float:
        return self.report.seen / self.seconds

    def share(self, seconds: float) -> str:
        return f"{seconds / self.seconds:.0%}"


def as_installed(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program whose modules are compiled once, as those of a package that is installed."""
    given = {**os.environ, "PYTHONPYCACHEPREFIX": str(COMPILED), **environ}
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    return given


def used(command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> Used:
    """Run *command*, whose last line is JSON."""
    told: list[bytes] = []
    with Popen(
        [sys.executable, "-S", str(USED), *map(str, command)],
        cwd=ROOT,
        env=as_installed(environ or {}),
        stdout=PIPE,
    ) as running:
        for line in running.stdout or ():
            told = [*told[-1:], line]  # the others are events
    if running.returncode or len(told) < 2:
        sys.exit(f"exit code {running.returncode}: {' '.join(map(str, command))}")
    last, costs = map(msgspec.json.decode, told)
    return Used(**costs, said=last)


def synced(url: str, to: str, directory: Path, *options: str, stream: str = "offers") -> Row:
    """Run the command line; what it keeps beside the target is in *directory*."""
    command: list[str | Path] = [
        LIMIO,
        "sync",
        stream,
        "--to",
        to,
        "--page-size",
        str(PAGE),
        "--json",
        *options,
    ]
    ran = used(command, {"LIMIO_HOST": url, "XDG_STATE_HOME": str(directory), **CREDENTIALS})
    (report,) = msgspec.convert(ran.said["streams"], list[StreamReport])
    return Row(report, ran)


def done_by(row: Row) -> Mapping[str, int]:
    return {"written": row.report.inserted, "unchanged": row.report.unchanged}


def checked(name: str, done: Mapping[str, int], ran: Used, **expected: int) -> Used:
    """*ran*, where it did as told: nobody is fast by leaving something out."""
    if missing := {what: number for what, number in expected.items() if done[what] != number}:
        sys.exit(f"{name}: {dict(done)}, not {missing}")
    return ran


class Place(msgspec.Struct, frozen=True):
    """Where offers go."""

    directory: Path
    """For what lies beside them."""
    to: str
    """For `limio sync`."""
    by_hand: str


@contextmanager
def schema(name: str) -> Generator[str]:
    """A schema in PostgreSQL, dropped with the block. Raises `NoPostgres`."""
    try:
        db = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5)
    except psycopg.Error:
        raise NoPostgres(f"no PostgreSQL at {POSTGRES}") from None
    with db:
        db.execute(f"CREATE SCHEMA {name}".encode())
        try:
            yield name
        finally:
            db.execute(f"DROP SCHEMA {name} CASCADE".encode())


class SyncStage:
    """Everything lives until *held* is closed."""

    def __init__(self, scale: Scale, held: ExitStack) -> None:
        self.scale = scale
        self._held = held
        self._numbers = count()
        self._urls: dict[tuple[int, float], str] = {}
        self._filled: dict[tuple[Who, Kind], Place] = {}
        self._rows: dict[int, Row] = {}
        self._loads: Sequence[Mapping[str, Used]] = ()

    def url(self, number: int, *, delay: float = 0) -> str:
        """Where a server of so many offers and objects is."""
        if (number, delay) not in self._urls:
            self._urls[number, delay] = self._held.enter_context(serving(number, delay=delay))
        return self._urls[number, delay]

    # --- offers into a database

    def new(self, who: Who, kind: Kind) -> Used:
        """What it takes to put all offers into a target that is new."""
        with ExitStack() as ends:
            return self._synced(who, kind, self._place(kind, ends), written=self.scale.offers)

    def unchanged(self, who: Who, kind: Kind) -> Used:
        """What it takes where the target has all offers as they are."""
        if (who, kind) not in self._filled:
            place = self._place(kind, self._held)
            self._synced(who, kind, place, written=self.scale.offers)
            self._filled[who, kind] = place
        return self._synced(who, kind, self._filled[who, kind], unchanged=self.scale.offers)

    def row(self, number: int) -> Row:
        """A sync of so many offers into SQLite; measured once."""
        if number not in self._rows:
            with tempfile.TemporaryDirectory() as made:
                row = synced(self.url(number), f"sqlite:///{made}/limio.db", Path(made))
            checked("sync", done_by(row), row.used, written=number)
            self._rows[number] = row
        return self._rows[number]

    def _synced(self, who: Who, kind: Kind, place: Place, **expected: int) -> Used:
        url = self.url(self.scale.offers)
        if who == "ours":
            row = synced(url, place.to, place.directory)
            return checked(f"sync into {kind}", done_by(row), row.used, **expected)
        module = "benchmarks.peers.by_hand_sync"
        ran = used([sys.executable, "-m", module, url, kind, place.by_hand, str(PAGE)])
        return checked(f"by hand into {kind}", ran.said, ran, **expected)

    def _place(self, kind: Kind, ends: ExitStack) -> Place:
        """A place of this kind; nothing is left of it when *ends* is closed."""
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        if kind != "postgres":
            file = directory / "limio.db"
            return Place(directory, f"{kind}:///{file}", str(file))
        name = ends.enter_context(schema(f"limio_benchmark_{os.getpid()}_{next(self._numbers)}"))
        return Place(directory, f"{POSTGRES}?schema={name}", f"{POSTGRES}?options=-csearch_path%3D{name}")

    # --- dlt

    def loads(self) -> Sequence[Mapping[str, Used]]:
        """What offers into DuckDB take `limio sync`, dlt with its own source (`generic`) and with ours (`door`); measured once."""
        if not self._loads:
            sides: dict[str, Callable[[], Used]] = {
                "sync": self._into_duckdb,
                "generic": partial(self._loaded, "dlt_generic"),
                "door": partial(self._loaded, "dlt_ours"),
            }
            self._loads = in_rounds(sides, self.scale.pairs, warmups=0)
        return self._loads

    def _loaded(self, module: str) -> Used:
        url, number = self.url(self.scale.loaded), self.scale.loaded
        with tempfile.TemporaryDirectory() as made:
            ran = used([sys.executable, "-m", f"benchmarks.peers.{module}", url, made, str(PAGE)])
        return checked(module, ran.said, ran, written=number)

    def _into_duckdb(self) -> Used:
        url, number = self.url(self.scale.loaded), self.scale.loaded
        with tempfile.TemporaryDirectory() as made:
            row = synced(url, f"duckdb:///{made}/limio.duckdb", Path(made))
        return checked("sync", done_by(row), row.used, written=number)

    # --- objects

    def hydrated(self) -> float:
        """Seconds that it takes to list and fetch all objects."""
        number = self.scale.objects
        with tempfile.TemporaryDirectory() as made:
            options = ("--hydrate", "--concurrency", str(HYDRATED_AT_ONCE))
            row = synced(
                self.url(number, delay=LATENCY),
                f"sqlite:///{made}/limio.db",
                Path(made),
                *options,
                stream="subscriptions",
            )
        if row.report.inserted != number:
            sys.exit(f"{row.report.inserted} of {number} objects are in the target")
        return row.seconds

    def forget(self, _: str) -> None:
        """Let what was measured once be measured again."""
        self._rows.clear()
        self._loads = ()
