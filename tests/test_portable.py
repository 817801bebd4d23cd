"""The package needs nothing of POSIX, and its classifiers name what CI runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.elsewhere import MODULES, POSIX
from tests.legs.requirements import project

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "limio_async").rglob("*.py"))
PYTHON = "Programming Language :: Python :: "


def of_posix(source: str) -> list[str]:
    """Return what *source* names that Windows does not have; what it asks for by `getattr` is no name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in POSIX.get(module, ()):
                found.append(f"{module}.{name}")
            case ast.ImportFrom(module=str(module), names=names):
                found += [f"{module}.{one.name}" for one in names if one.name in POSIX.get(module, ())]
                found += [module] if module in MODULES and module != "uvloop" else []
            case ast.Import(names=names):
                found += [one.name for one in names if one.name in MODULES and one.name != "uvloop"]
            case _:
                pass
    return found


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: str(module.relative_to(ROOT)))
def test_no_module_names_what_only_posix_has(module: Path) -> None:
    assert of_posix(module.read_text(encoding="utf-8")) == []


def test_what_only_posix_has_is_found() -> None:
    source = (
        "import fcntl, os\nfrom os import fork\nfrom pwd import x\nos.getuid()\nos.getpid()\nsignal.SIGHUP"
    )
    assert sorted(of_posix(source)) == ["fcntl", "os.fork", "os.getuid", "pwd", "signal.SIGHUP"]


def test_all_of_it_is_imported_and_runs_without_what_only_posix_has(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.elsewhere", tmp_path],
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[0]) > 300
    assert done.stdout.splitlines()[-1] == "done"


def test_classifiers_name_the_interpreters_that_ci_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (newer,) = re.findall(r"^NEWER := (.*)$", makefile, re.MULTILINE)
    (legs,) = re.findall(r"^legs: .*\n\t@\$\(MAKE\) --jobs 2 (.*)$", makefile, re.MULTILINE)
    (checks,) = re.findall(r"^test: ([a-z ]*) ##", makefile, re.MULTILINE)
    assert {"lowest", "$(NEWER:%=newer-%)"} <= set(legs.split())  # `lowest` needs 3.11
    assert "legs" in checks.split()
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    named = [
        one.removeprefix(PYTHON) for one in project()["project"]["classifiers"] if one.startswith(PYTHON)
    ]
    assert named == ["3 :: Only", project()["project"]["requires-python"].removeprefix(">="), *newer.split()]


def test_classifiers_name_the_system_that_ci_runs() -> None:
    systems = [one for one in project()["project"]["classifiers"] if one.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]
    page = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    assert "Tested on Linux" in page
    assert "Meant for macOS and Windows, where CI does not run" in page
