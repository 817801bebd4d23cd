"""Facts that are decided in one place, and rooms that do not grow past what one can hold in the head."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KINDS = {"scroll", "key", "opaque", "whole"}
MOST = 15


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text())


def asks_for_a_kind(node: ast.AST) -> bool:
    """Whether a comparison or a match has a kind of cursor on one side and something called so on the other."""
    sides: list[ast.AST]
    match node:
        case ast.Compare(left=left, comparators=others):
            sides = [left, *others]
        case ast.Match(subject=subject, cases=cases):
            sides = [subject, *(case.pattern for case in cases)]
        case ast.Subscript(value=ast.Dict() as table, slice=index):
            sides = [index, *(key for key in table.keys if key is not None)]
        case _:
            return False
    texts = {one.value for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)}
    named = {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for side in sides
        for one in ast.walk(side)
        if isinstance(one, ast.Attribute | ast.Name)
    }
    return bool(KINDS & texts) and any(one.strip("_").endswith("kind") for one in named)


@pytest.mark.parametrize(
    "text",
    [
        'p.kind == "scroll"',
        'x = self._kind in {"key", "whole"}',
        'cursor_kind != "opaque"',
        'match p.kind:\n case "key": pass',
    ],
)
def test_a_comparison_of_a_kind_is_seen(text: str) -> None:
    assert any(asks_for_a_kind(node) for node in ast.walk(ast.parse(text)))


def test_every_rule_asks_the_table_of_species_and_none_the_kind() -> None:
    found = [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, module in modules("limio_async", "codegen")
        for node in ast.walk(module)
        if asks_for_a_kind(node)
    ]
    assert found == []


def test_one_module_makes_unknown_outcomes() -> None:
    makers = {
        name
        for name, module in modules("limio_async")
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", "") or getattr(node.func, "attr", "")) == "UnknownOutcome"
    }
    assert makers == {"limio_async/core/outcome.py"}


def width(of: ast.ClassDef) -> tuple[int, int]:
    """How many attributes and methods a class has."""
    methods = [one for one in of.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    own = {
        one.attr
        for method in methods
        for one in ast.walk(method)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and isinstance(one.value, ast.Name)
        and one.value.id == "self"
    }
    return len(own), len(methods)


def test_no_class_of_the_engine_is_too_wide() -> None:
    wide = [
        f"{name} {node.name}: {width(node)}"
        for name, module in modules("limio_async/core")
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and max(width(node)) > MOST
    ]
    assert wide == []


def test_no_file_of_the_listings_is_too_long() -> None:
    files = (ROOT / "limio_async/core/listing").glob("*.py")
    assert [one.name for one in files if len(one.read_text().splitlines()) > 300] == []
