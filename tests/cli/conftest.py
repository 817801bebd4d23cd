"""What the tests of the command line share: a world behind `--emulated`, and a clean surrounding."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from limio_async import emulator
from limio_async.cli import loop, outbox_open, outbox_run
from limio_async.cli.app import app
from limio_async.emulator import World
from limio_async.testing import served

Run = Callable[..., Result]

_ROOT = Path(__file__).parents[2]


def command_line(*args: str) -> list[str]:
    """How to start *args* as a process of its own."""
    return [sys.executable, "-m", "limio_async.cli", *args]


@pytest.fixture(autouse=True)
def _clean_surrounding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings of whoever runs the tests; files go to a directory of the test's own."""
    for name in os.environ:
        if name.startswith("LIMIO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home/.local/state"))
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    logger = logging.getLogger("limio_async")
    before = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `limio outbox` fail that does not end by itself: a sender goes on for ever."""

    def in_loop(work: Coroutine[Any, Any, Any], *, on_uvloop: bool) -> Any:
        assert not on_uvloop
        return asyncio.run(asyncio.wait_for(work, 20))

    for module in (outbox_open, outbox_run):
        monkeypatch.setattr(module, "in_loop", in_loop)
    monkeypatch.setattr(loop, "SIGNALS", ())  # those of the test's process stay as they are


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """What `--emulated` asks."""
    world = World(offers=120, subscriptions=60)
    monkeypatch.setattr(emulator, "World", lambda: world)
    return world


@pytest.fixture
def tenant(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """What the environment points at, over HTTP."""
    with served(world) as url:
        for name, value in world.environ(url).items():
            monkeypatch.setenv(name, value)
        yield world


@pytest.fixture
def limio() -> Run:
    """Run a command line; a bug's exception is raised."""

    def run(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(app, args, catch_exceptions=False, **options)

    return run
