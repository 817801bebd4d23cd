"""What docs/testing.md shows runs as it stands there."""

from __future__ import annotations

import re
import tomllib

from limio_async.emulator import World
from limio_async.emulator.faults.kinds import KINDS

from .conftest import ROOT, Project

PAGE = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_examples_pass(project: Project) -> None:
    assert PAGE.count("```python") == len(BLOCKS) == 7
    ini = 'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\npythonpath = ["."]'
    result = project(dict(BLOCKS), ini, "-p", "no:anyio")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "11 passed" in result.stdout


def test_the_script_is_one_and_every_kind_is_told() -> None:
    [script] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for fault in tomllib.loads(script)["fault"]:
        World().faults.arm(fault)
    assert [kind for kind in KINDS if f"`{kind}(" not in PAGE] == []
