"""Faults that tests once passed over, planted one by one in a copy: the test that is named for each has to notice.

    python -m tests.judges.noticed

Each fault is a change of one place of the package or of a double. Where the place no longer reads as it says here,
this program fails: a fault that cannot be planted proves nothing. Exit code 1 unless every test passes unchanged and
fails with its fault.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.judges.noticed_faults import FAULTS, Fault

_ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".cache", "__pycache__", ".*_cache", ".hypothesis")
_LIMIT = 240  # seconds for a test: what hangs has noticed


class Row(NamedTuple):
    """What came of one fault."""

    says: str
    noticed: bool
    by: str


def planted(root: Path, fault: Fault) -> str:
    """Change the place in the copy at *root*, and return the text that was there. Raises `LookupError`."""
    path = root / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise LookupError(f"{fault.file} does not read once: {fault.old}")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return text


def passes(root: Path, tests: list[str]) -> bool:
    """Return whether all of *tests* pass in the copy. Raises `LookupError` if there is no such test."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "--tb=no", *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in {0, 1} or (done.returncode == 0 and " passed" not in done.stdout):
        raise LookupError(f"{', '.join(tests)} did not run: {done.stdout[-300:]}{done.stderr[-300:]}")
    return done.returncode == 0


def main() -> int:
    """Plant each fault, and print a table."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home:
        root = Path(home) / "copy"
        shutil.copytree(_ROOT, root, ignore=_LEFT_OUT)
        if not passes(root, sorted({fault.test for fault in FAULTS})):
            print("the tests do not pass unchanged", file=sys.stderr)  # noqa: T201
            return 1
        for fault in FAULTS:
            text = planted(root, fault)
            try:
                noticed = not passes(root, [fault.test])
            except LookupError as error:  # such as one that is skipped without PostgreSQL
                print(error, file=sys.stderr)  # noqa: T201
                noticed = False
            rows.append(Row(fault.says, noticed, fault.test.rpartition("::")[2]))
            (root / fault.file).write_text(text, encoding="utf-8")
    missed = sum(not row.noticed for row in rows)
    lines = [f"| {row.says} | {'yes' if row.noticed else '**no**'} | `{row.by}` |" for row in rows]
    print("| planted | noticed | by |", "|---|---|---|", *lines, sep="\n")  # noqa: T201
    print(f"\n{len(rows)} planted, {missed} passed unnoticed")  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
