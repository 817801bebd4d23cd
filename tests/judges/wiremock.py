"""Starts WireMock, tells it what to answer, and reads from its journal what it was sent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

__all__ = ["WireMock", "missing", "wiremock"]

_INSTALLED = Path(__file__).parents[2] / ".cache" / "wiremock" / "node_modules" / "wiremock" / "build"
_PORT = re.compile(r"^port:\s+([0-9]+)", re.MULTILINE)
_LONGEST_START = 60.0


def missing() -> str:
    """What is missing to start it; empty if nothing is."""
    if shutil.which("java") is None:
        return "WireMock needs Java (such as the package default-jre-headless)"
    if not _jars():
        return "WireMock is not installed; `make wiremock` does it, with npm"
    return ""


class WireMock:
    """A running WireMock."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(
        self,
        method: str,
        path: str,
        *steps: Mapping[str, Any],
        query: Mapping[str, str | None] | None = None,
    ) -> None:
        """Answer such requests with *steps*, one after the other; the last repeats. A *query* of None is absent."""
        matched = {
            name: {"absent": True} if value is None else {"equalTo": value}
            for name, value in (query or {}).items()
        }
        request = {"method": method, "urlPath": path, "queryParameters": matched}
        for n, response in enumerate(steps):
            self._admin(
                "POST",
                "mappings",
                {
                    "request": request,
                    "response": response,
                    "scenarioName": json.dumps(request),
                    "requiredScenarioState": f"step {n}" if n else "Started",
                    **({"newScenarioState": f"step {n + 1}"} if n + 1 < len(steps) else {}),
                },
            )

    def journal(self) -> Sequence[Mapping[str, Any]]:
        """The requests that arrived, oldest first: `method`, `url`, `headers`, `body`."""
        entries = self._admin("GET", "requests")["requests"]
        return [entry["request"] for entry in reversed(entries)]

    def forget(self) -> None:
        """Forget all answers and requests."""
        self._admin("POST", "reset")

    def _admin(self, method: str, what: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  # our own server
            f"{self.url}/__admin/{what}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")


@contextmanager
def wiremock(directory: Path) -> Iterator[WireMock]:
    """WireMock on a free port of this machine; *directory* is its to write to."""
    java = shutil.which("java")
    assert java is not None
    command = [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", str(_jars()[-1])]
    command += [
        "--port",
        "0",
        "--bind-address",
        "127.0.0.1",
        "--root-dir",
        str(directory),
        "--disable-banner",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        watchdog = Timer(_LONGEST_START, running.kill)
        watchdog.start()
        try:
            yield WireMock(f"http://127.0.0.1:{_port(running, watchdog)}")
        finally:
            watchdog.cancel()
            running.terminate()


def _jars() -> list[Path]:
    return sorted(_INSTALLED.glob("wiremock-standalone-*.jar"))


def _port(running: subprocess.Popen[str], watchdog: Timer) -> int:
    """The port that it says it listens on."""
    said = ""
    assert running.stdout is not None
    for line in running.stdout:
        said += line
        if found := _PORT.search(said):
            watchdog.cancel()
            return int(found[1])
    raise RuntimeError(f"WireMock did not start: {said[-2000:]}")
