"""Reading the names that are written by hand beside what is generated: the client's, the commands', the mixins'."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec

from codegen.spec import CannotGenerate, Overlay

__all__ = ["BEHAVIOUR", "Beside", "Mixin", "behaviour_name", "beside"]

CLIENT = Path("limio_async/client.py")
COMMANDS = Path("limio_async/cli/app.py")
BEHAVIOUR = Path("limio_async/api/behaviour")


class Mixin(msgspec.Struct, frozen=True, kw_only=True):
    """The hand-written methods of a generated class; several may have the same."""

    noun: str
    """The module in `limio_async/api/behaviour/`."""
    of: str
    """The class that gets them."""
    defines: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the mixin is called."""
        return behaviour_name(self.noun)

    @property
    def methods(self) -> list[str]:
        """What a caller sees of it."""
        return [name for name in self.defines if not name.startswith("_")]

    def stop(self, name: str, reason: str) -> CannotGenerate:
        """The exception that names a place of the mixin."""
        return CannotGenerate((BEHAVIOUR / f"{self.noun}.py").as_posix(), name, reason)


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What is there already and keeps its name."""

    client: frozenset[str]
    """The methods of `Limio`."""
    commands: frozenset[str]
    """The commands that are no operations, as a Python name is written."""
    mixins: tuple[Mixin, ...]


def behaviour_name(noun: str) -> str:
    """The mixin of a module: `catalog` → `CatalogBehaviour`."""
    return f"{''.join(word.capitalize() for word in noun.split('_'))}Behaviour"


def beside(root: Path, overlay: Overlay) -> Beside:
    """What is written by hand in the repository at *root*."""
    return Beside(
        client=frozenset(name for name in _names(_class(root, CLIENT, "Limio")) if not name.startswith("_")),
        commands=frozenset(_commands(root)),
        mixins=tuple(_mixins(root, overlay)),
    )


def _commands(root: Path) -> Iterator[str]:
    for node in _parsed(root, COMMANDS).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="_OWN")], value=ast.Tuple(elts=names)):
                yield from (str(ast.literal_eval(name)).replace("-", "_") for name in names)
                return
            case _:
                pass
    raise CannotGenerate(
        COMMANDS.as_posix(), "_OWN", "should be a tuple of the commands that are no operations"
    )


def _mixins(root: Path, overlay: Overlay) -> Iterator[Mixin]:
    there = {path.stem for path in (root / BEHAVIOUR).glob("*.py")} - {"__init__"}
    if unnamed := sorted(there - overlay.behaviour.keys()):
        path = BEHAVIOUR / f"{unnamed[0]}.py"
        raise CannotGenerate(path.as_posix(), unnamed[0], "has no entry in the overlay's [behaviour]")
    for noun, of in overlay.behaviour.items():
        if noun not in there:
            raise overlay.stop(f"behaviour.{noun}", f"there is no {BEHAVIOUR.as_posix()}/{noun}.py")
        found = _class(root, BEHAVIOUR / f"{noun}.py", behaviour_name(noun))
        for one in (of,) if isinstance(of, str) else of:
            yield Mixin(noun=noun, of=one, defines=tuple(_names(found)))


def _class(root: Path, path: Path, name: str) -> ast.ClassDef:
    for node in _parsed(root, path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise CannotGenerate(path.as_posix(), name, "there is no such class")


def _parsed(root: Path, path: Path) -> ast.Module:
    return ast.parse((root / path).read_text(encoding="utf-8"), path)


def _names(found: ast.ClassDef) -> Iterator[str]:
    for node in found.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case _:
                pass
