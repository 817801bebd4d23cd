"""Targets and a job's state of earlier releases, as they were left, and the tenant that they were made from.

`tests/data/release-0.1` was made by commit 12e0a19: two full runs over `STREAMS`, one offer gone between them, and one of
`customers` in `append`. `interrupted.db` was left by a process that was killed in the middle of a hydrated run.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pytest

from limio_async import ApiKey, BearerToken, Limio
from limio_async.core.wire import Request, Response
from limio_async.emulator import reply
from limio_async.sync_jobs import Job, JobReport
from limio_async.sync_jobs.ledger import QUARANTINE, STREAMS, in_quarantine
from limio_async.sync_jobs.rows import table_of
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.streams import stream
from tests.sync_jobs.sinks.targets import POSTGRES, schema_of_postgres

FOLDER = Path(__file__).parent.parent / "data" / "release-0.1"
SYNCED = ["offers", "customers", "orders", "subscriptions.events"]
LEFT_AT = datetime(2024, 6, 15, 22, tzinfo=UTC)
"""Soon after these were left."""


def known(name: str) -> Any:
    """What a target holds: rows by table and id, watermarks, quarantine."""
    return json.loads((FOLDER / f"{name}.json").read_text())


class Tenant:
    """As a transport: the lists and objects that the release found."""

    origin = "https://tenant.example"

    def __init__(self) -> None:
        held = json.loads((FOLDER / "tenant.json").read_text())
        self.lists: dict[str, list[list[str]]] = held["lists"]
        self.objects: dict[str, str] = held["objects"]
        self.asked: list[str] = []

    async def send(self, request: Request, *, timeout: float) -> Response:
        split = urlsplit(request.target)
        path = unquote(split.path).removeprefix("/api/")
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        cursor = query.get("queryMore") or query.get("opt.queryMoreFrom")
        self.asked.append(path if cursor is None else f"{path}?{cursor}")
        await asyncio.sleep(0)
        if path in self.objects:
            return Response(status=200, headers={}, body=self.objects[path].encode())
        if path not in self.lists:
            return reply({"message": "not here"}, 404)
        pages, number = self.lists[path], int(cursor or 0)
        page = pages[number] if number < len(pages) else []
        body: dict[str, Any] = {"items": [json.loads(item) for item in page]}
        if not path.startswith("objects/"):
            body |= {"hits": sum(map(len, pages)), "commitId": "1"}
            body |= (
                {"queryMore": {"from": str(number + 1), "alias": "a"}} if page and "opt.all" in query else {}
            )
        elif number + 1 < len(pages):
            body["queryMore"] = str(number + 1)
        compact = json.dumps(body, separators=(",", ":")).encode()
        return Response(status=200, headers={}, body=compact)

    async def aclose(self) -> None:
        await asyncio.sleep(0)


def unpacked(name: str, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(gzip.decompress((FOLDER / f"{name}.gz").read_bytes()))
    return to


@contextmanager
def left(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a target that the release left."""
    match kind:
        case "sqlite":
            yield f"sqlite:///{unpacked('limio.db', folder / 'limio.db')}"
        case "duckdb":
            yield f"duckdb:///{unpacked('limio.duckdb', folder / 'limio.duckdb')}"
        case "ndjson":
            unpacked("files.store.db", folder / "files" / "_limio" / "store.db")
            yield f"ndjson:{folder / 'files'}"
        case _:
            name = f"limio_upgrade_{os.getpid()}_{folder.name}".lower()[:60]
            with schema_of_postgres(name) as url:
                text = gzip.decompress((FOLDER / "postgresql.sql.gz").read_bytes()).decode()
                text = re.sub(r"^(\\|SET |SELECT pg_catalog).*", "", text, flags=re.MULTILINE)
                with psycopg.connect(POSTGRES, autocommit=True) as admin:
                    admin.execute(text.replace("limio_release_01", f'"{name}"').encode())
                yield url


def held(url: str) -> dict[str, Any]:
    """What a target holds now, as `known` has it."""
    sink = open_sink(url)
    sink.open(to_read=True)
    found: dict[str, Any] = {}
    try:
        for name in ("offers", "customers", "orders", "subscriptions", "subscriptions.events"):
            for mode in ("full", "append"):
                table = table_of(stream(name), mode)
                rows = {
                    row["id"]: {
                        "deleted": row["deleted_at"] is not None,
                        "hash": row["hash"],
                        "updated": row["updated"] and row["updated"].isoformat(),
                    }
                    for row in sink.rows(table)
                }
                found |= {table.name: rows} if rows else {}
        marks = {row["id"]: row["watermark"] for row in sink.rows(STREAMS)}
        found["watermarks"] = {one: time and time.isoformat() for one, time in marks.items()}
        found["quarantine"] = sorted(row["id"] for row in in_quarantine(sink.rows(QUARANTINE)))
    finally:
        sink.close()
    return found


async def sync(tenant: Tenant, to: str, state: Path | None = None, **options: Any) -> JobReport:
    """Run a job of the present release."""
    async with Limio(
        "tenant.example", auth=[BearerToken("token"), ApiKey("key")], transport=tenant, attempts=1
    ) as limio:
        return await Job(limio, to=to, state=state, **{"streams": SYNCED, **options}).run()


def set_clock(monkeypatch: pytest.MonkeyPatch, to: datetime) -> None:
    """Let jobs think that it is this late."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("limio_async.sync_jobs") and hasattr(module, "now"):
            monkeypatch.setattr(module, "now", lambda: to)
