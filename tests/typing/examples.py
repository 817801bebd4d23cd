"""Write what our pages show in Python to `build/examples`, where type checkers read it: `make types`.

Each block is a module of its own. One that begins with a comment such as `# shop.py` can be imported by the other blocks
of its page. A line of the module has the number that it has on the page.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "build/examples"
FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# (\w+)\.py\n")


def pages(root: Path = ROOT) -> Iterator[Path]:
    """Return what may show Python: every page, and every module of the package for its docstrings."""
    yield from sorted(root.glob("*.md"))
    for folder in ("docs", "examples", "benchmarks"):
        yield from sorted((root / folder).rglob("*.md"))
    yield from sorted((root / "limio_async").rglob("*.py"))


def modules(page: str, text: str) -> dict[str, str]:
    """Return the modules that *page* shows, by their names."""
    shown: dict[str, str] = {}
    for block in FENCE.finditer(text):
        indent, kind, code = block.groups()
        if kind.lower() not in {"python", "py", "python3"}:
            continue
        line = text.count("\n", 0, block.start(3)) + 1
        name = named[1] if (named := NAMED.match(code)) else f"line_{line}"
        if name in shown:
            raise ValueError(f"{page}:{line} shows another {name}.py")
        code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        shown[name] = f"# {page}" + "\n" * (line - 1) + code
    beside = re.compile(rf"^from ({'|'.join(shown)}) import", re.MULTILINE)
    return {name: beside.sub(r"from .\1 import", code) for name, code in shown.items()} if shown else {}


def write(found: Iterable[Path], target: Path = TARGET, root: Path = ROOT) -> int:
    """Write the modules of the pages *found* to *target*, and return how many these are."""
    shutil.rmtree(target, ignore_errors=True)
    written = 0
    for page in found:
        name = page.relative_to(root).as_posix()
        shown: Mapping[str, str] = modules(name, page.read_text(encoding="utf-8"))
        folder = target / re.sub(r"\W", "_", name)
        for module, code in shown.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{module}.py").write_text(code, encoding="utf-8")
            written += 1
    return written


if __name__ == "__main__":
    sys.exit(0 if write(pages()) else "no page shows any Python")
