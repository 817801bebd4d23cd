"""A night in three minutes: `limio sync --patience 60s` into SQLite and PostgreSQL, while the tenant and the server go away. `make night`

`python -m tests.judges.nights [SEED] [SECONDS]`. The tenant is a process of its own that shares no code with the package; it is
killed and started again, and so is a PostgreSQL cluster that only this night uses. Leaves `night/report.html` and a picture of it.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.judges.nights_server import PATIENCE, made
from tests.judges.nights_tenant import STREAMS, NightTenant
from tests.judges.nights_truth import Ask, Verdict, ask_postgres, ask_sqlite, judged
from tests.postgres_cluster import Cluster, own_cluster

__all__ = ["Told", "night"]

LIMIO = Path(sys.executable).with_name("limio")
LEFT = Path(".cache/night").absolute()
"""Where the report of the last night is left."""
_LONGEST = 900.0


class Told(msgspec.Struct):
    """What one command of the night came to."""

    name: str
    code: int = -1
    seconds: float = 0.0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    """Events by kind."""
    errors: list[str] = msgspec.field(default_factory=list)
    """Of streams that were not complete."""
    waited: float = 0.0
    """Seconds of waits that the report tells."""
    stderr: str = ""
    verdict: Verdict = msgspec.field(default_factory=Verdict)


class _Server:
    """The tenant's process, which is killed as its outages say."""

    def __init__(self, seed: int, lasts: float, begun: float) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self._command = [sys.executable, "-m", "tests.judges.nights_server", str(seed), str(self.port), str(begun), str(lasts)]  # fmt: skip
        self._begun = begun
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    async def run(self, tenant: NightTenant) -> None:
        """Keep it running, but for the outages in which it is killed."""
        try:
            while True:
                outage = tenant.outage(time.time() - self._begun)
                is_killed = outage is not None and outage.kind == "killed"
                if is_killed and self._process is not None:
                    self.kills += 1
                    self.end()
                elif not is_killed and self._process is None:
                    self._start()
                await asyncio.sleep(0.05)
        finally:
            self.end()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def end(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def _disturb(cluster: Cluster, chance: random.Random, done: Counter[str]) -> None:
    """Restart the cluster, kill it, or end its clients' connections, again and again."""
    while True:
        await asyncio.sleep(chance.uniform(4, 25))
        what = chance.choice(("fast", "immediate", "terminated"))
        done[what] += 1
        if what == "terminated":
            await asyncio.to_thread(cluster.terminate, "limio%")
            continue
        cluster.stop("fast" if what == "fast" else "immediate")
        await asyncio.sleep(chance.uniform(0, 4))
        cluster.start(wait=False)  # in this thread: the cluster ends with the thread that started it
        await asyncio.to_thread(cluster.wait)


async def _sync(name: str, url: str, environ: Mapping[str, str], begun: float) -> Told:
    told, came = Told(name), time.monotonic()
    command = ["sync", *STREAMS, "--hydrate", "--page-size", "15", "--patience", f"{PATIENCE:.0f}s", "--json", "--to", url]  # fmt: skip
    running = await asyncio.create_subprocess_exec(
        str(LIMIO), *command, env=dict(environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=2**24
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stderr is not None
    errors = asyncio.create_task(running.stderr.read())
    report: Mapping[str, Any] = {}
    try:
        async with asyncio.timeout(_LONGEST):
            async for line in running.stdout:
                event = msgspec.json.decode(line)
                told.kinds[event["kind"]] += 1
                if event["kind"] == "report":
                    report = event
            told.stderr = (await errors).decode()
            told.code = await running.wait()
    finally:
        with suppress(ProcessLookupError):
            running.kill()
    for stream in report.get("streams", ()):
        told.waited += stream["waited_seconds"]
        if stream["status"] != "complete":
            told.errors.append(f"{stream['stream']}: {stream['status']}: {stream['error']}")
    told.seconds = time.monotonic() - came
    return told


async def night(seed: int, lasts: float, directory: Path) -> tuple[list[Told], Counter[str], NightTenant]:
    """Sync one night into both targets; what came of each, what befell the cluster, and the tenant."""
    disturbed: Counter[str] = Counter()
    tenant, begun = made(seed, lasts), time.time() + 1.0
    with own_cluster() as cluster:
        server = _Server(seed, lasts, begun)
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LIMIO_", "PG"))},
            "LIMIO_HOST": f"http://127.0.0.1:{server.port}",
            "LIMIO_API_KEY": "key",
            "LIMIO_CLIENT_ID": "id",
            "LIMIO_CLIENT_SECRET": "secret",
            "XDG_STATE_HOME": str(directory / "state"),
        }
        serving = asyncio.create_task(server.run(tenant))
        disturbing = asyncio.create_task(_disturb(cluster, random.Random(f"cluster {seed}"), disturbed))
        try:
            while not _is_open(server.port):  # noqa: ASYNC110  # another process's port
                await asyncio.sleep(0.05)
            urls = {
                "SQLite": f"sqlite:///{directory / 'night.db'}",
                "PostgreSQL": f"{cluster.url}?schema=night",
            }
            told = await asyncio.gather(*(_sync(name, url, environ, begun) for name, url in urls.items()))
        finally:
            for task in (serving, disturbing):
                task.cancel()
            await asyncio.gather(serving, disturbing, return_exceptions=True)
            disturbed["tenant killed"] = server.kills
        if not cluster.runs:
            cluster.start()
        cluster.wait()
        asks: Sequence[Ask] = (ask_sqlite(directory / "night.db"), ask_postgres(f"{cluster.url}?options=-csearch_path%3Dnight"))  # fmt: skip
        for one, ask, exact in zip(told, asks, (True, False), strict=True):
            one.verdict = judged(ask, tenant.truth(), exact=exact)
        await _report(urls["PostgreSQL"], environ, "postgres")
        await _report(urls["SQLite"], environ, "sqlite")
    return told, disturbed, tenant


def _is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


async def _report(url: str, environ: Mapping[str, str], name: str) -> None:
    """Leave the report of a target as a page, and as a picture where Chromium is there."""
    page, picture = LEFT / f"{name}.html", LEFT / f"{name}.png"
    made = await asyncio.create_subprocess_exec(
        str(LIMIO), "report", "--from", url, "--html", str(page), "--force", env=dict(environ)
    )  # fmt: skip
    assert await made.wait() == 0
    if chromium := shutil.which("chromium") or shutil.which("google-chrome"):
        shot = await asyncio.create_subprocess_exec(
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,3000",
            f"--screenshot={picture}", page.as_uri(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await shot.wait()


def show(told: Sequence[Told], disturbed: Counter[str], tenant: NightTenant) -> None:
    """Print what the night came to."""
    lines = [["", *(one.name for one in told)], ["---", *("--:" for _ in told)]]
    for what in ("items", "well", "odd", "refused", "lost", "doubled", "wrong"):
        lines.append([what, *(f"{getattr(one.verdict, what):,}" for one in told)])
    longest = max(one.seconds for one in told)
    met = [one for one in tenant.outages if one.begins < longest]
    lines.append(["outages", *(str(sum(out.begins < one.seconds for out in met)) for one in told)])
    lines.append(["seconds away", *(f"{sum(min(out.ends, one.seconds) - out.begins for out in met if out.begins < one.seconds):.0f}" for one in told)])  # fmt: skip
    lines.append(["waits told", *(str(one.kinds["waiting"]) for one in told)])
    lines.append(["seconds of waits in the report, of all streams", *(f"{one.waited:.0f}" for one in told)])
    lines.append(["walks begun again at the top", *(str(one.kinds["restarted"]) for one in told)])
    lines.append(["seconds", *(f"{one.seconds:.0f}" for one in told)])
    lines.append(["exit code", *(str(one.code) for one in told)])
    print("", *(f"| {' | '.join(line)} |" for line in lines), "", sep="\n")  # noqa: T201
    print("outages:", *(f"{one.kind} {one.begins:.0f}-{one.ends:.0f} s" for one in met))  # noqa: T201
    print("PostgreSQL:", dict(disturbed))  # noqa: T201
    for one in told:
        print(*one.errors, *one.verdict.faults, one.stderr.strip(), sep="\n")  # noqa: T201


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    lasts = float(sys.argv[2]) if len(sys.argv) > 2 else 180.0
    LEFT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        told, disturbed, tenant = asyncio.run(night(seed, lasts, Path(directory)))
    show(told, disturbed, tenant)
    if any(one.code or one.verdict.faults for one in told):
        sys.exit(f"seed {seed}")


if __name__ == "__main__":
    main()
