"""No credential reaches a crash report: no frame that knew one is left in what a call raises."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest

from limio_async import errors
from tests.wire.crashes import CANARIES, CASES, ISSUED, UNREADABLE, crash, frames, shown

ROOT = Path(__file__).resolve().parents[2]
BELOW = ("aiohttp/", "core/ladder.py", "core/codec.py", "core/deadline.py", "transport/", "auth/tokens.py")


@pytest.mark.parametrize("name", CASES)
async def test_a_reporter_that_shows_variables_shows_no_credential(name: str) -> None:
    text = shown(await crash(name))
    assert [one for one in _canaries(name) if one in text] == []


def _canaries(name: str) -> list[str]:
    """What must not be shown: where the caller's own argument holds the secret, what was answered."""
    return [ISSUED] if name.endswith("asked for") else list(CANARIES)


@pytest.mark.parametrize("name", CASES)
async def test_no_frame_from_below_the_session_is_left(name: str) -> None:
    for one in _chain(await crash(name)):
        assert [file for file in frames(one) if any(part in file for part in BELOW)] == []


def _chain(error: BaseException) -> list[BaseException]:
    found = [error]
    for one in found:
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        found += [other for other in (one.__cause__, one.__context__, *inner) if other and other not in found]
    return found


@pytest.mark.parametrize("name", [name for name in CASES if any(name.startswith(one) for one in UNREADABLE)])
async def test_no_variable_holds_an_unreadable_token_answer(name: str) -> None:
    for one in _chain(await crash(name)):
        for frame in _frames(one.__traceback__):
            if "limio_async" in frame.f_code.co_filename:
                held = {key: value for key, value in frame.f_locals.items() if _holds(value)}
                assert held == {}


def _frames(trace: TracebackType | None) -> list[FrameType]:
    return [] if trace is None else [trace.tb_frame, *_frames(trace.tb_next)]


def _holds(value: Any) -> bool:
    body = getattr(value, "body", value)
    return ISSUED in (body.decode("latin-1") if isinstance(body, bytes) else str(body))


async def test_what_the_caller_was_handling_keeps_its_frames() -> None:
    error = await crash("while the caller handles another")
    assert isinstance(error, errors.NotFound)
    assert isinstance(error.__context__, KeyError)
    assert any(file.endswith("crashes.py") for file in frames(error.__context__))


async def test_a_mistake_of_the_callers_own_strategy_is_still_found() -> None:
    error = await crash("a broken strategy")
    assert isinstance(error, AttributeError)
    (note,) = error.__notes__
    assert "in credential" in note
    assert "crashes.py" in note


async def test_who_called_is_still_told() -> None:
    error = await crash("404")
    assert any(file.endswith("crashes.py") for file in frames(error))
    assert frames(error)[-1].endswith("core/session.py")


@pytest.mark.skipif(importlib.util.find_spec("sentry_sdk") is None, reason="sentry-sdk is not installed")
def test_sentry_with_its_default_settings_gets_no_credential() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.wire.crashes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert {one["case"] for one in events} == set(CASES)
    for one in events:
        assert [secret for secret in _canaries(one["case"]) if secret in _told(one["event"])] == []
    assert any(frame.get("vars") for one in events for frame in _sentry_frames(one["event"]))


def _sentry_frames(event: Any) -> list[Any]:
    values = event.get("exception", {}).get("values", [])
    return [frame for value in values for frame in (value.get("stacktrace") or {}).get("frames", [])]


def _told(event: Any) -> str:
    """What it tells, but for the source and the variables of this test's own module."""
    for frame in _sentry_frames(event):
        for source in ("context_line", "pre_context", "post_context"):
            frame.pop(source, None)
        if frame["filename"] == "crashes.py":
            frame.pop("vars", None)
    return json.dumps(event)
