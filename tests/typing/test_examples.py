"""What our pages show is read by type checkers, all of it, and what is wrong there is told with its page and line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .examples import ROOT, TARGET, modules, pages, write

ANY_FENCE = re.compile(r"[\s>*-]*(`{3,}|~{3,})\s*(.*?)\s*$")
SHOWN = TARGET.relative_to(ROOT).as_posix()
PAGE = """# A page

```python
# shop.py
PRICE: int = {price}
```

1. Buy:

   ```python
   from shop import PRICE

   print(PRICE + 1)
   ```
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a page of its own and our settings."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tests/typing/stubs", tmp_path / "tests/typing/stubs")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "docs").mkdir()
    return tmp_path


def checked(project: Path, price: str) -> list[tuple[int, str]]:
    """Return what both type checkers make of the page in *project*."""
    (project / "docs/page.md").write_text(PAGE.format(price=price), encoding="utf-8")
    assert write(pages(project), project / SHOWN, project) == 2
    mypy = [sys.executable, "-m", "mypy", "--cache-dir", str(project / "cache"), SHOWN]
    pyright = [sys.executable, "-m", "basedpyright", SHOWN]
    return [
        (done.returncode, done.stdout)
        for command in (mypy, pyright)
        for done in [subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)]
    ]


def test_both_checkers_take_what_is_right_and_tell_where_it_is_wrong(project: Path) -> None:
    assert [code for code, _ in checked(project, "7")] == [0, 0]
    for code, told in checked(project, '"7"'):
        assert code == 1
        assert f"{SHOWN}/docs_page_md/shop.py:5:" in told
        assert "1 error" in told


def test_make_has_both_read_what_is_written() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\nmypy basedpyright: $(STAMP) shown\n\t$(BIN)/$@\n\t$(BIN)/$@ {SHOWN}\n" in make


def odd(text: str) -> list[str]:
    """Return the lines that begin Python, or a block of who knows what, where `modules` does not look for it."""
    found: list[str] = []
    inside = ""
    for line in text.splitlines():
        fence = ANY_FENCE.match(line)
        if re.match(r"[\s>*-]*>>> ", line):
            found.append(line)
        if fence is None:
            continue
        marks, said = fence.groups()
        if inside:
            inside = "" if marks.startswith(inside) and not said else inside
            continue
        inside = marks
        if not re.match(r"\w", said) or (
            said.lower().startswith("py") and not re.fullmatch(r" *```(python|py|python3)", line)
        ):
            found.append(line)
    return found


def test_every_block_of_every_page_is_written(tmp_path: Path) -> None:
    texts = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
    assert {name: found for name, text in texts.items() if (found := odd(text))} == {}
    shown = sum(text.count("```py") for text in texts.values())
    assert write(pages(), tmp_path / "shown") == shown > 30
    assert {"README.md", "CHANGELOG.md", "examples/worker/README.md", "benchmarks/README.md"} <= texts.keys()
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= texts.keys()


@pytest.mark.parametrize(
    "begin",
    [
        "~~~python",
        "``` python",
        "```{.python}",
        "```",
        "````python",
        "> ```python",
        "- ```python",
        "\t```python",
        "```pycon",
        "```python,linenos",
        ">>> order()",
        "    >>> order()",
    ],
)
def test_a_block_that_no_checker_would_read_is_refused(begin: str) -> None:
    assert odd(f"# Page\n\n{begin}\norder()\n{begin[:4]}\n")[:1] == [begin]


@pytest.mark.parametrize("begin", ["```python", "   ```python", "```json", "~~~text", "```sh"])
def test_a_block_of_another_language_is_left_to_others(begin: str) -> None:
    end = begin.rstrip("abcdefghijklmnopqrstuvwxyz")
    assert odd(f"# Page\n\n{begin}\norder()\n{end}\n") == []


def test_no_block_silences_a_checker() -> None:
    shown = {
        f"{page.name}:{name}": code
        for page in pages()
        for name, code in modules(page.name, page.read_text(encoding="utf-8")).items()
    }
    silent = ("# type:", "# pyright:", "# mypy:", "# noqa", "no_type_check", "TYPE_CHECKING")
    assert [name for name, code in shown.items() if any(one in code for one in silent)] == []


def test_a_block_of_a_docstring_counts() -> None:
    shown = modules("limio_async/one.py", '"""Do.\n\n    ```python\n    do()\n    ```\n"""\n')
    assert shown == {"line_4": "# limio_async/one.py\n\n\ndo()\n"}


def test_two_blocks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"docs/page.md:6 shows another shop.py"):
        modules("docs/page.md", "```python\n# shop.py\n```\n\n```python\n# shop.py\n```\n")
