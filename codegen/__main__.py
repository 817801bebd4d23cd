"""`python -m codegen` writes `limio_async/api/` and the documents' tables; `--check` only names what is stale."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from codegen.beside import BEHAVIOUR, beside
from codegen.plan import Plan, plan
from codegen.render import render
from codegen.spec import CannotGenerate, read
from codegen.tables import PAGES, with_tables

__all__ = ["generate", "main", "planned", "stale"]

ROOT = Path(__file__).resolve().parent.parent
API = Path("limio_async/api")
RUFF = [sys.executable, "-m", "ruff"]


def generate(root: Path) -> dict[Path, str]:
    """The text of every generated file by its path in the repository at *root*."""
    made = planned(root)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for file, text in render(made).items():
            path = scratch / API / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _format(scratch)
        files = {
            path.relative_to(scratch): path.read_text(encoding="utf-8") for path in scratch.rglob("*.py")
        }
    for page in PAGES:
        if (root / page).exists():
            files[page] = with_tables(page, (root / page).read_text(encoding="utf-8"), made)
    return files


def planned(root: Path) -> Plan:
    """What is generated in the repository at *root*."""
    spec, overlay = read(root)
    return plan(spec, overlay, beside(root, overlay))


def stale(files: dict[Path, str], root: Path) -> list[Path]:
    """What differs between *files* and the repository at *root*, files that should be gone included."""
    pages = [root / page for page in PAGES if (root / page).exists()]
    paths = {path.relative_to(root) for path in (*(root / API).rglob("*.py"), *pages)}
    there = {
        path: (root / path).read_text(encoding="utf-8") for path in paths if BEHAVIOUR not in path.parents
    }
    return sorted(path for path in files.keys() | there.keys() if files.get(path) != there.get(path))


def main(arguments: list[str]) -> int:
    """Write or compare; 1 where something is stale or cannot be generated, 2 for a word it does not know."""
    if arguments not in ([], ["--check"]):
        print(f"usage: python -m codegen [--check], not {' '.join(arguments)}", file=sys.stderr)
        return 2
    try:
        files = generate(ROOT)
    except CannotGenerate as reason:
        print(reason, file=sys.stderr)
        return 1
    changed = stale(files, ROOT)
    if arguments == ["--check"]:
        for path in changed:
            print(f"{path} is stale: run `make generate`", file=sys.stderr)
        return 1 if changed else 0
    for path in changed:
        _write(ROOT / path, files.get(path))
    return 0


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _format(scratch: Path) -> None:
    options = ["--quiet", "--no-cache", "--config", str(ROOT / "pyproject.toml"), "."]
    ours = 'lint.isort.known-first-party = ["limio_async"]'
    for command in (["check", "--fix", "--select", "I,RUF022", "--config", ours], ["format"]):
        subprocess.run([*RUFF, *command, *options], cwd=scratch, check=True)  # noqa: S603  # our own command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
