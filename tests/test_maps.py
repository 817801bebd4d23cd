"""The docstring of every package maps what is in it: one line for each module (`name.py`) and package (`name/`)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted({module.parent for module in (ROOT / "limio_async").rglob("*.py")})
ENTRY = re.compile(r"^ *(\w+(?:\.py|/)) +\S", re.MULTILINE)
"""A line that starts with the name of a module or package and says what it is for."""


def mapped(package: Path) -> list[str]:
    """Return what the docstring of *package* has a line for."""
    text = (package / "__init__.py").read_text(encoding="utf-8")
    return sorted(ENTRY.findall(ast.get_docstring(ast.parse(text)) or ""))


def present(package: Path) -> list[str]:
    """Return the modules and packages that are directly in *package*."""
    modules = {module.name for module in package.glob("*.py")} - {"__init__.py"}
    packages = {f"{module.parent.name}/" for module in package.glob("*/*.py")}
    return sorted(modules | packages)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_every_module_has_one_line_in_the_map_of_its_package(package: Path) -> None:
    assert mapped(package) == present(package)


def test_a_line_starts_with_the_whole_name_and_says_something(tmp_path: Path) -> None:
    for name in ("kept", "kept_too", "bare", "mentioned"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").touch()
    lines = ["kept.py    is kept, unlike mentioned.py", "bare.py", "gone.py   is gone", "room/  is a package"]
    (tmp_path / "__init__.py").write_text('"""A map.\n\n' + "\n".join(lines) + '\n"""\n', encoding="utf-8")
    assert mapped(tmp_path) == ["gone.py", "kept.py", "room/"]
    assert present(tmp_path) == ["bare.py", "kept.py", "kept_too.py", "mentioned.py", "room/"]
