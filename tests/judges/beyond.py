"""What was tried on `limio sync` beyond the cases it was built on: locks, constraints, outages, odd values, refusals, signals.

`make beyond` prints one line for each: kind, sample, what should be, what came. Everything is on this machine: a tenant over HTTP,
SQLite files, a DuckDB file, and a PostgreSQL cluster of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from aiohttp import web

from tests.judges.nights_truth import Ask, ask_postgres, ask_sqlite
from tests.postgres_cluster import Cluster, own_cluster
from tests.sync_jobs.raw_lists import RawLists, offer, subscription
from tests.sync_jobs.raw_tenant import raw_tenant

__all__ = ["SAMPLES", "Bench", "Sample"]

LIMIO = Path(sys.executable).with_name("limio")
SUBSCRIPTIONS = "objects/limio/subscriptions"
_LONGEST = 90.0
_SLOW = 12.0  # seconds: longer than any command here that waits for nothing


class Ran(NamedTuple):
    """What came of a command."""

    code: int
    seconds: float
    said: str


class Sample(NamedTuple):
    kind: str
    what: str
    should: str
    run: Callable[[Bench], str]


class Bench:
    """A tenant, a directory and a PostgreSQL schema for one sample."""

    def __init__(self, cluster: Cluster, tenant: RawLists, directory: Path) -> None:
        self.cluster = cluster
        self.tenant = tenant
        self.directory = directory
        self.file = directory / "limio.db"
        self.lite = f"sqlite:///{self.file}"
        self.postgres = f"{cluster.url}?schema=beyond"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LIMIO_", "PG"))},
            "LIMIO_HOST": tenant.url,
            "LIMIO_API_KEY": "key",
            "LIMIO_CLIENT_ID": "id",
            "LIMIO_CLIENT_SECRET": "secret",
            "XDG_STATE_HOME": str(directory / "state"),
        }

    def start(
        self, *args: str, to: str, patience: str = "20s", lock_wait: str = "1s"
    ) -> subprocess.Popen[str]:
        """Start `limio sync`."""
        command = [
            str(LIMIO),
            "sync",
            *args,
            "--patience",
            patience,
            "--lock-wait",
            lock_wait,
            "--json",
            "--to",
            to,
        ]
        return subprocess.Popen(
            command, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def sync(self, *args: str, to: str, patience: str = "20s") -> Ran:
        """Run it to its end."""
        return self.end(self.start(*args, to=to, patience=patience))

    def end(self, running: subprocess.Popen[str]) -> Ran:
        """Wait for its end; -1 where it does not come."""
        begun = time.monotonic()
        try:
            said, _ = running.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            running.kill()
            return Ran(-1, _LONGEST, running.communicate()[0])
        if "Traceback" in said:
            return Ran(-2, time.monotonic() - begun, said)
        return Ran(running.returncode, time.monotonic() - begun, said)

    def admin(self, statement: str) -> None:
        """Do something to the schema of the sample, as somebody else."""
        with self.cluster.admin() as db:
            db.execute("SET search_path = beyond")
            db.execute(statement.encode())

    def ask(self, to: str) -> Ask:
        """Return what reads a target."""
        if to == self.lite:
            return ask_sqlite(self.file)
        return ask_postgres(f"{self.cluster.url}?options=-csearch_path%3Dbeyond")

    def counts(self, to: str, table: str = "offers") -> str:
        """How many rows live and how many items are in quarantine."""
        ask = self.ask(to)
        ((rows,),) = ask(f"SELECT count(*) FROM {table} WHERE deleted_at IS NULL")  # noqa: S608
        ((odd,),) = ask("SELECT count(*) FROM _limio_quarantine WHERE deleted_at IS NULL")
        return f"{rows} rows, {odd} odd"

    @contextmanager
    def away(self, answer: Callable[[], Any], seconds: float, *, after: int = 0, of: str = "") -> Any:
        """Let the tenant answer thus for so many seconds, beginning with the request of this number."""
        asked, begun = 0, 0.0

        async def hook(path: str, request: web.Request) -> web.StreamResponse | None:
            nonlocal asked, begun
            if of not in path:
                return None
            asked += 1
            if asked <= after:
                return None
            begun = begun or time.monotonic()
            if time.monotonic() - begun > seconds:
                return None
            made = answer()
            if made is None and request.transport is not None:
                request.transport.abort()
                return web.Response()
            answered: web.StreamResponse | None = await made if asyncio.iscoroutine(made) else made
            return answered

        self.tenant.hook = hook
        yield
        self.tenant.hook = None


SAMPLES: list[Sample] = []


def sample(kind: str, what: str, should: str) -> Callable[[Callable[[Bench], str]], Callable[[Bench], str]]:
    def add(run: Callable[[Bench], str]) -> Callable[[Bench], str]:
        SAMPLES.append(Sample(kind, what, should, run))
        return run

    return add


# --- locks


@contextmanager
def _held(bench: Bench, statement: str, seconds: float) -> Any:
    """Somebody else's transaction that has done *statement*, for so long."""
    db = psycopg.connect(bench.cluster.url, options="-csearch_path=beyond", application_name="somebody")
    db.execute(statement.encode())
    ends = threading.Timer(seconds, db.close)
    ends.start()
    try:
        yield
    finally:
        ends.cancel()
        db.close()


def _locked(what: str, statement: str, should: str, *, seconds: float = 8, patience: str = "30s") -> None:
    def run(bench: Bench) -> str:
        bench.tenant.lists["offers"] = [offer(one) for one in range(5)]
        bench.sync("offers", to=bench.postgres)
        bench.tenant.lists["offers"] = [offer(one, name="again") for one in range(5)]
        with _held(bench, statement, seconds):
            ran = bench.sync("offers", to=bench.postgres, patience=patience)
        ((again,),) = bench.ask(bench.postgres)("SELECT count(*) FROM offers WHERE name = 'again'")
        return f"code {ran.code}, {again} changed{', names the holder' if 'somebody' in ran.said else ''}"

    SAMPLES.append(Sample("lock", what, should, run))


_HELD = "code 0, 5 changed, names the holder"
_locked("LOCK TABLE … ACCESS EXCLUSIVE for 8 s", "LOCK TABLE offers IN ACCESS EXCLUSIVE MODE", _HELD)
_locked("LOCK TABLE … SHARE for 8 s", "LOCK TABLE offers IN SHARE MODE", _HELD)
_locked("one row FOR UPDATE for 8 s", "SELECT * FROM offers WHERE id = 'o3' FOR UPDATE", _HELD)
_locked("one row deleted, uncommitted for 8 s", "DELETE FROM offers WHERE id = 'o3'", _HELD)
_locked("_limio_runs ACCESS EXCLUSIVE for 8 s", "LOCK TABLE _limio_runs IN ACCESS EXCLUSIVE MODE", _HELD)
_locked("_limio_meta ACCESS EXCLUSIVE for 8 s, what prepare needs", "LOCK TABLE _limio_meta IN ACCESS EXCLUSIVE MODE", _HELD)  # fmt: skip
_locked(
    "the quarantine ACCESS EXCLUSIVE for 8 s", "LOCK TABLE _limio_quarantine IN ACCESS EXCLUSIVE MODE", _HELD
)
_locked("one row FOR UPDATE, longer than the patience", "SELECT * FROM offers FOR UPDATE", "code 4, 0 changed, names the holder", seconds=60, patience="3s")  # fmt: skip


@sample("lock", "another run is writing (PostgreSQL)", "code 1, another run")
def _another_run(bench: Bench) -> str:
    bench.tenant.lists["offers"] = [offer(one) for one in range(60)]
    with bench.away(_busy(), 1e9, after=2, of="offers"):
        first = bench.start("offers", to=bench.postgres, patience="5m")
        time.sleep(6)
        ran = bench.sync("offers", to=bench.postgres)
        first.kill()
        first.communicate()
    return f"code {ran.code}, {'another run' if 'another run' in ran.said else ran.said[-200:]}"


@sample("lock", "SQLite held by another writer for 13 s", "code 0, 5 rows, 0 odd")
def _sqlite_held(bench: Bench) -> str:
    return _sqlite_writer(bench, 13, "30s")


@sample("lock", "SQLite held for longer than the patience", "code 1, 0 rows, 0 odd")
def _sqlite_held_long(bench: Bench) -> str:
    return _sqlite_writer(bench, 60, "2s")


def _sqlite_writer(bench: Bench, seconds: float, patience: str) -> str:
    bench.sync("offers", to=bench.lite)
    bench.tenant.lists["offers"] = []
    bench.sync("offers", to=bench.lite)
    bench.tenant.lists["offers"] = [offer(one) for one in range(5)]
    db = sqlite3.connect(bench.file, check_same_thread=False, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(seconds, db.close)
    ends.start()
    ran = bench.sync("offers", to=bench.lite, patience=patience)
    ends.cancel()
    db.close()
    return f"code {ran.code}, {bench.counts(bench.lite)}"


@sample("lock", "DuckDB open in another program", "code 1, says so")
def _duckdb(bench: Bench) -> str:
    bench.tenant.lists["offers"] = [offer(1)]
    file = bench.directory / "a.duckdb"
    code = "import duckdb, sys, time; db = duckdb.connect(sys.argv[1]); print(1, flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    ran = bench.sync("offers", to=f"duckdb:///{file}", patience="2s")
    other.kill()
    other.wait()
    return f"code {ran.code}, {'says so' if 'another program has it open' in ran.said else ran.said[-200:]}"


# --- constraints of the user's own


def _constrained(what: str, statement: str, should: str = "code 0, 6 rows, 1 odd") -> None:
    def run(bench: Bench) -> str:
        bench.tenant.lists["offers"] = [offer(one, name=f"n{one}") for one in range(3)]
        bench.sync("offers", to=bench.postgres)
        bench.admin(statement)
        bench.tenant.lists["offers"] += [offer("bad", name="n0", path="/a/path/that/is/rather/long")]
        bench.tenant.lists["offers"] += [offer(one, name=f"n{one}") for one in range(3, 6)]
        ran = bench.sync("offers", to=bench.postgres)
        shown = ", shows contents" if "rather/long" in ran.said else ""
        return f"code {ran.code}, {bench.counts(bench.postgres)}{shown}"

    SAMPLES.append(Sample("constraint", what, should, run))


_constrained("CHECK", "ALTER TABLE offers ADD CHECK (id <> 'obad')")
_constrained("UNIQUE", "ALTER TABLE offers ADD UNIQUE (name)")
_constrained(
    "UNIQUE, deferred to the commit", "ALTER TABLE offers ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"
)
_constrained("FOREIGN KEY", "CREATE TABLE names AS SELECT 'o' || n AS id FROM generate_series(0, 9) n; ALTER TABLE names ADD PRIMARY KEY (id); ALTER TABLE offers ADD FOREIGN KEY (id) REFERENCES names")  # fmt: skip
_constrained("FOREIGN KEY, deferred", "CREATE TABLE names AS SELECT 'o' || n AS id FROM generate_series(0, 9) n; ALTER TABLE names ADD PRIMARY KEY (id); ALTER TABLE offers ADD FOREIGN KEY (id) REFERENCES names DEFERRABLE INITIALLY DEFERRED")  # fmt: skip
_constrained("varchar(20)", "ALTER TABLE offers ALTER path TYPE varchar(20)")
_constrained("EXCLUDE", "ALTER TABLE offers ADD EXCLUDE (name WITH =)")
_TRIGGER = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.id = 'obad' THEN {} END IF; RETURN new; END $$; CREATE TRIGGER no BEFORE INSERT ON offers FOR EACH ROW EXECUTE FUNCTION no()"  # fmt: skip
_constrained("a trigger that raises check_violation", _TRIGGER.format("RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation';"))  # fmt: skip
_constrained("a trigger that raises P0001", _TRIGGER.format("RAISE EXCEPTION 'no';"))
_constrained("a trigger that divides by zero", _TRIGGER.format("RAISE NOTICE '%', 1/0;"))


@sample("constraint", "NOT NULL", "code 0, 3 rows, 1 odd")
def _not_null(bench: Bench) -> str:
    bench.tenant.lists["offers"] = [offer(one) for one in range(3)]
    bench.sync("offers", to=bench.postgres)
    bench.admin("ALTER TABLE offers ALTER name SET NOT NULL")
    bench.tenant.lists["offers"] = [offer(0), offer(1), offer(2), {"id": "bad", "path": "/x"}]
    ran = bench.sync("offers", to=bench.postgres)
    return f"code {ran.code}, {bench.counts(bench.postgres)}"


@sample("constraint", "SQLite: a trigger that raises", "code 0, 4 rows, 1 odd")
def _sqlite_trigger(bench: Bench) -> str:
    bench.tenant.lists["offers"] = [offer(one) for one in range(3)]
    bench.sync("offers", to=bench.lite)
    with closing(sqlite3.connect(bench.file)) as db, db:
        db.execute(
            "CREATE TRIGGER no BEFORE INSERT ON offers WHEN new.id = 'obad' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    bench.tenant.lists["offers"] += [offer("bad"), offer(4)]
    ran = bench.sync("offers", to=bench.lite)
    return f"code {ran.code}, {bench.counts(bench.lite)}"


# --- outages


def _busy(status: int = 503, headers: Mapping[str, str] | None = None) -> Callable[[], Any]:
    return lambda: web.json_response({"message": "no"}, status=status, headers=headers)


def _html() -> Any:
    return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")


async def _late() -> None:
    await asyncio.sleep(3)


def _outage(what: str, answer: Callable[[], Any], *, of: str = "offers", seconds: float = 4, before: bool = False) -> None:  # fmt: skip
    def run(bench: Bench) -> str:
        bench.tenant.lists["offers"] = [offer(one) for one in range(60)]
        if before:
            bench.sync("offers", to=bench.lite)
        with bench.away(answer, seconds, after=0 if before else 2, of=of):
            ran = bench.sync("offers", to=bench.lite)
        return f"code {ran.code}, {bench.counts(bench.lite)}"

    SAMPLES.append(Sample("outage", what, "code 0, 60 rows, 0 odd", run))


_outage("503 for 4 s", _busy())
_outage("503 with Retry-After: 2 for 4 s", _busy(headers={"Retry-After": "2"}))
_outage("429 without Retry-After for 4 s", _busy(429))
_outage("502, a page of HTML, for 4 s", _html)
_outage("504 for 4 s", _busy(504))
_outage("521 for 4 s", _busy(521))
_outage("connections reset for 4 s", lambda: None)
_outage("answers 3 s late, for 4 s", _late)
_outage("503 for 4 s before the first answer of this run, there was an earlier run", _busy(), before=True)
_outage("the token endpoint down for 4 s, there was an earlier run", _busy(), of="oauth2/token", before=True)


def _failing(what: str, should: str, answer: Callable[[], Any], *, of: str = "", after: int = 0, patience: str = "60s", again: bool = False, slow: float = _SLOW) -> None:  # fmt: skip
    def run(bench: Bench) -> str:
        bench.tenant.lists[SUBSCRIPTIONS] = [subscription(one) for one in range(60)]
        with bench.away(answer, 1e9, after=after, of=of):
            ran = bench.sync("subscriptions", to=bench.lite, patience=patience)
        said = f"code {ran.code}, {'at once' if ran.seconds < slow else f'{ran.seconds:.0f} s'}"
        if again:
            ran = bench.sync("subscriptions", to=bench.lite)
            said += f"; then code {ran.code}, {bench.counts(bench.lite, 'subscriptions')}"
        return said

    SAMPLES.append(Sample("outage", what, should, run))


_failing("503 before the first answer ever", "code 4, at once", _busy())
_failing("wrong credentials", "code 3, at once", _busy(401), of="token")
_failing("away for ever after two answers, patience 3 s", "code 4, at once; then code 0, 60 rows, 0 odd", _busy(), of="objects", after=2, patience="3s", again=True, slow=25)  # fmt: skip
_failing("connections reset for ever after two answers, patience 3 s", "code 4, at once; then code 0, 60 rows, 0 odd", lambda: None, of="objects", after=2, patience="3s", again=True, slow=25)  # fmt: skip


@sample("outage", "a host that does not exist", "code 4, at once")
def _wrong_host(bench: Bench) -> str:
    bench.environ["LIMIO_HOST"] = "nobody.invalid"
    ran = bench.sync("offers", to=bench.lite, patience="60s")
    return f"code {ran.code}, {'at once' if ran.seconds < _SLOW else f'{ran.seconds:.0f} s'}"


@sample("outage", "a port that nobody listens at", "code 4, at once")
def _wrong_port(bench: Bench) -> str:
    bench.environ["LIMIO_HOST"] = "http://127.0.0.1:9"
    ran = bench.sync("offers", to=bench.lite, patience="60s")
    return f"code {ran.code}, {'at once' if ran.seconds < _SLOW else f'{ran.seconds:.0f} s'}"


# --- odd values


def _odd(what: str, raw: bytes, should: str = "2 rows, 1 odd") -> None:
    def run(bench: Bench) -> str:
        bench.tenant.lists["offers"] = [offer("a"), raw, offer("b")]
        found = {}
        for name, to in (("SQLite", bench.lite), ("PostgreSQL", bench.postgres)):
            ran = bench.sync("offers", to=to)
            kept = bench.ask(to)("SELECT raw FROM _limio_quarantine WHERE deleted_at IS NULL")
            other = "" if all(bytes(one) == raw for (one,) in kept) else ", other bytes"
            found[name] = f"code {ran.code}, {bench.counts(to)}{other}"
        return found["SQLite"] if len({*found.values()}) == 1 else str(found)

    SAMPLES.append(Sample("odd value", what, f"code 0, {should}", run))


_odd("NUL in the id", b'{"id":"a\\u0000b","path":"/x"}')
_odd("1e400", b'{"id":"x","path":"/x","data":{"amount":1e400}}')
_odd("a number of 5,000 digits", b'{"id":"x","path":"/x","data":{"amount":%b}}' % (b"9" * 5000))
_odd("nested 10,000 deep", b'{"id":"x","path":"/x","data":%b%b}' % (b"[" * 10_000, b"]" * 10_000))
_odd("the same key twice", b'{"id":"x","path":"/x","name":"a","name":"b"}', "3 rows, 0 odd")
_odd("not UTF-8", b'{"id":"x","path":"/x","name":"\xff\xfe"}')
_odd("half a surrogate pair", b'{"id":"x","path":"/x","name":"\\udfff"}')
_odd("half a surrogate pair in the id", b'{"id":"\\ud83d","path":"/x"}')
_odd("a text", b'"offer"')
_odd("null", b"null")
_odd("a number", b"17")
_odd("a list", b'["a",{"id":"b"}]')
_odd("an id that is a list", b'{"id":["x"],"path":"/x"}')
_odd("an id of 3,000 characters", b'{"id":"%b","path":"/x"}' % (b"x" * 3000))
_odd(
    "a date in the year 99999", b'{"id":"x","path":"/x","modified":"99999-01-01T00:00:00Z"}', "3 rows, 0 odd"
)
_odd("a number with a leading zero, which is no JSON", b'{"id":"x","path":"/x","data":{"amount":01}}')
_odd("NaN, which is no JSON", b'{"id":"x","path":"/x","data":{"amount":NaN}}')
_odd("a tab within a text, which is no JSON", b'{"id":"x","path":"/x","name":"a\tb"}')


@sample("odd value", "the same id on two pages, other bytes", "code 0, 59 rows, 0 odd")
def _twice(bench: Bench) -> str:
    bench.tenant.lists[SUBSCRIPTIONS] = [subscription(one) for one in range(59)]
    bench.tenant.lists[SUBSCRIPTIONS].append(subscription(3, status="other"))
    ran = bench.sync("subscriptions", to=bench.lite)
    return f"code {ran.code}, {bench.counts(bench.lite, 'subscriptions')}"


# --- refusals


def _refused(
    what: str, should: str, statuses: Mapping[int, int], *, part: str = "", patience: str = "20s"
) -> None:
    def run(bench: Bench) -> str:
        bench.tenant.subscriptions(60)
        for number, status in statuses.items():
            bench.tenant.objects[f"{SUBSCRIPTIONS}/s{number}{part}"] = (status, b'{"message":"no"}')
        stream = "subscriptions.events" if part else "subscriptions"
        ran = bench.sync(stream, "--hydrate", to=bench.lite, patience=patience)
        slow = "" if ran.seconds < 30 else f", {ran.seconds:.0f} s"
        return f"code {ran.code}, {bench.counts(bench.lite, stream.replace('.', '_'))}{slow}"

    SAMPLES.append(Sample("refusal", what, should, run))


for _status in (400, 401, 403, 404, 410, 451):
    _refused(f"one object is {_status}", "code 0, 59 rows, 1 odd", {30: _status})
    _refused(f"the children of one are {_status}", "code 0, 59 rows, 1 odd", {30: _status}, part="/events")
_refused("the first object is 401", "code 0, 59 rows, 1 odd", {0: 401})
_refused("one object is 500", "code 4, 59 rows, 1 odd", {30: 500})
_refused("the children of one are 500", "code 4, 59 rows, 1 odd", {30: 500}, part="/events")
_refused("one object is 503 for ever, patience 60 s", "code 4, 59 rows, 1 odd", {30: 503}, patience="60s")
_refused("the children of one are 503 for ever", "code 4, 59 rows, 1 odd", {30: 503}, part="/events", patience="60s")  # fmt: skip
_refused("every second object is 403", "code 4, 30 rows, 30 odd", dict.fromkeys(range(0, 60, 2), 403))
_refused("nine objects of 60 are 403", "code 0, 51 rows, 9 odd", dict.fromkeys(range(9), 403))


@sample("refusal", "20 objects in a row are 403", "code 4, says so")
def _in_a_row(bench: Bench) -> str:
    bench.tenant.subscriptions(60)
    for number in range(20, 40):
        bench.tenant.objects[f"{SUBSCRIPTIONS}/s{number}"] = (403, b"{}")
    ran = bench.sync("subscriptions", "--hydrate", to=bench.lite)
    return f"code {ran.code}, {'says so' if '20 objects in a row' in ran.said else ran.said[-200:]}"


# --- ends


def _signalled(what: str, should: str, signals: Sequence[int], *, blocked: bool) -> None:
    def run(bench: Bench) -> str:
        bench.tenant.lists["offers"] = [offer(one) for one in range(60)]
        to = bench.postgres if blocked else bench.lite
        bench.sync("offers", to=to)
        bench.tenant.lists["offers"] = [offer(one, name="again") for one in range(60)]
        if blocked:
            with _held(bench, "LOCK TABLE offers IN ACCESS EXCLUSIVE MODE", 60):
                return _end(bench, to, signals)
        with bench.away(_busy(), 1e9, after=2, of="offers"):
            return _end(bench, to, signals)

    SAMPLES.append(Sample("end", what, should, run))


def _end(bench: Bench, to: str, signals: Sequence[int]) -> str:
    running = bench.start("offers", to=to, patience="5m", lock_wait="5m")
    time.sleep(5)
    for one in signals:
        begun = time.monotonic()
        with suppress(ProcessLookupError):
            running.send_signal(one)
        time.sleep(0.3)
    ran = bench.end(running)
    took = time.monotonic() - begun
    return f"code {ran.code}, {'soon' if took < 1.5 + 2 * (len(signals) > 1) else f'{took:.1f} s'}"


_signalled("Ctrl-C while it waits for the tenant", "code 130, soon", [signal.SIGINT], blocked=False)
_signalled("SIGTERM while it waits for the tenant", "code 130, soon", [signal.SIGTERM], blocked=False)
_signalled("Ctrl-C while it waits for a lock", "code 130, soon", [signal.SIGINT], blocked=True)
_signalled("SIGTERM twice while it waits for a lock", "code 130, soon", [signal.SIGTERM, signal.SIGTERM], blocked=True)  # fmt: skip


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    tried = wrong = 0
    with own_cluster() as cluster, raw_tenant(RawLists()) as tenant:
        for one in SAMPLES:
            if wanted not in f"{one.kind} {one.what}":
                continue
            with cluster.admin() as admin:
                admin.execute("DROP SCHEMA IF EXISTS beyond CASCADE")
            tenant.lists, tenant.objects, tenant.hook = {}, {}, None
            directory = Path(tempfile.mkdtemp())
            try:
                came = one.run(Bench(cluster, tenant, directory))
            except Exception as error:  # one line for each, whatever happens
                came = f"{type(error).__name__}: {error}"
            shutil.rmtree(directory, ignore_errors=True)
            came = " ".join(came.split())
            is_right = came == one.should
            tried, wrong = tried + 1, wrong + (not is_right)
            line = [one.kind, one.what, one.should, came if is_right else f"**{came}**"]
            print(f"| {' | '.join(line)} |", flush=True)  # noqa: T201
    if wrong:
        sys.exit(f"{wrong} of {tried} came otherwise")


if __name__ == "__main__":
    main()
