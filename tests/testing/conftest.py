"""A user's project, beside which this package is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Project = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Runs pytest on files, with settings and arguments."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [(name, module)] = declared["project"]["entry-points"]["pytest11"].items()
    installed = tmp_path / "installed/limio_async-0.0.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: limio_async\nVersion: 0.0.0\n")
    (installed / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n")

    def run(files: Mapping[str, str], ini: str = "", *args: str) -> subprocess.CompletedProcess[str]:
        settings = f'[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n{ini}\n'
        for file, text in {"pyproject.toml": settings, **files}.items():
            (tmp_path / file).write_text(text, encoding="utf-8")
        path = os.pathsep.join([str(installed.parent), str(ROOT)])
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
        environ = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return run
