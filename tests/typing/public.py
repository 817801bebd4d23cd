"""Write all public names and their signatures to `public.txt`: `python -m tests.typing.public`, or `make public`.

Public is what `limio_async`, `.auth`, `.emulator` and `.testing` export, what the modules export that README, docs or
examples name, what these name in full (`limio_async.envelope.changed_at`), and what all these names have: methods,
fields, operations of resources. Everything is read from the source,
so no extra has to be installed and every version of Python writes the same.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).parents[2]
PUBLIC = Path(__file__).with_name("public.txt")
RELEASED = Path(__file__).with_name("released.txt")
PACKAGE = "limio_async"
SEEDS = (PACKAGE, *(f"{PACKAGE}.{name}" for name in ("auth", "emulator", "testing")))
HEAD = """\
# Public names of limio_async {version}, written by `make public`; do not edit.
# Public is what limio_async, .auth, .emulator and .testing export, what the modules export that README, docs or examples name,
# and what these name in full.
# A line is a name and its signature; of a long value, its beginning and a hash. What differs from released.txt has to be in CHANGELOG.md, under [Unreleased].
"""
LONGEST = 300
SPOKEN = re.compile("__(init|str|call|await|a?iter|a?next|len|contains|getitem|bool|a?enter|a?exit)__")
"""Special methods that a caller relies on."""
FACTS = frozenset({"eq", "frozen", "kw_only", "order", "total"})
"""Arguments of a class that a caller sees."""
ALIAS = "alias = "
"""What signatures call by a short name that is nobody's to import."""
Found = tuple[str, ast.stmt]
"""A module, and the statement in it that defines a name."""


Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """The modules below *root*, read as text."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.tree = cache(self._tree)
        self.scope = cache(self._scope)
        self.exported = cache(self._exported)

    def path(self, module: str) -> Path | None:
        """Return the file of *module*; None where it is none of ours."""
        base = self.root.joinpath(*module.split("."))
        return next((one for one in (base.with_suffix(".py"), base / "__init__.py") if one.is_file()), None)

    def _tree(self, module: str) -> ast.Module:
        path = self.path(module)
        return ast.parse(path.read_text(encoding="utf-8")) if path else ast.Module([], [])

    def _scope(self, module: str) -> dict[str, list[ast.stmt]]:
        """Return the statements that define the names of *module*; the imports that a type checker sees count."""
        scope: dict[str, list[ast.stmt]] = {}
        for node in _statements(self.tree(module).body):
            for name in _named(node):
                scope.setdefault(name, []).append(node)
        return scope

    def _exported(self, module: str) -> list[str]:
        (first, *_) = self.scope(module).get("__all__", [None])
        return ast.literal_eval(first.value) if isinstance(first, ast.Assign) else []

    def find(self, module: str, name: str) -> Found | str | None:
        """Return where *name* of *module* is defined, following imports; a module is its own name."""
        for node in self.scope(module).get(name, [])[-1:]:
            if not isinstance(node, ast.ImportFrom | ast.Import):
                return module, node
            origin = (getattr(node, "module", None) or "") if isinstance(node, ast.ImportFrom) else ""
            real = next(one.name for one in node.names if name in {one.asname, one.name})
            if self.path(whole := f"{origin}.{real}".strip(".")):
                return whole
            return self.find(origin, real) if self.path(origin) else None
        return None

    def named(self) -> tuple[list[str], list[str]]:
        """Return the modules that are public as a whole, and the names of others that pages name in full."""
        pages = [*self.root.glob("*.md"), *(self.root / "docs").rglob("*.md")]
        pages += [one for one in (self.root / "examples").rglob("*.*") if one.suffix in {".md", ".py"}]
        texts = [one.read_text(encoding="utf-8") for one in pages if one.name != "CHANGELOG.md"]
        modules, names = {*SEEDS}, set[str]()
        for full in re.findall(rf"\b{PACKAGE}(?:\.[a-zA-Z]\w*)*", "\n".join(texts)):
            module, rest = full, ""
            while not self.path(module):
                module, _, rest = module.rpartition(".")  # the name next to the module is left
            if not rest:
                modules.add(module)
            elif rest in self.exported(module):
                names.add(f"{module}.{rest}")
        return sorted(modules), sorted(names)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.Try) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            yield from node.body


def _named(node: ast.stmt) -> list[str]:
    match node:
        case ast.ImportFrom() | ast.Import():
            return [one.asname or one.name for one in node.names]
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case _:
            return []


def _text(node: ast.AST) -> str:
    text = ast.unparse(node).replace("\n", " ")
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… {blake2b(text.encode(), digest_size=6).hexdigest()}"


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    marks = {_text(one) for one in node.decorator_list}
    returns = f" -> {_text(node.returns)}" if node.returns else ""
    if marks & {"property", "cached_property"}:
        return f"{_old(node)}property{returns}"
    kinds = ("classmethod", "staticmethod", "abstractmethod", "overload")
    kind = "".join(f"{one} " for one in kinds if one in marks)
    wait = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{_old(node)}{kind}{wait}({ast.unparse(node.args)}){returns}"


def _old(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return what `@deprecated("new", "0.3")` says of *node*; nothing without it."""
    for one in node.decorator_list:
        if isinstance(one, ast.Call) and _text(one.func) == "deprecated":
            return f"{gone(*map(ast.literal_eval, one.args))} "
    return ""


def gone(successor: str, until: str) -> str:
    """Return how a name is marked that goes with release *until*."""
    return f"deprecated until {until} for {successor}"


class Plain(ast.NodeTransformer):
    """Puts the values of a module's constants in place of their names, but for those that are *exported*."""

    def __init__(self, source: Source, module: str, exported: set[int]) -> None:
        self.source, self.module, self.exported = source, module, exported

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return what *node* stands for; itself where that is no constant of ours."""
        found = self.source.find(self.module, node.id)
        if not isinstance(found, tuple) or id(found[1]) in self.exported or node.id.startswith("__"):
            return node
        value = _value_of(found[1])
        return node if value is None else Plain(self.source, found[0], self.exported).visit(deepcopy(value))


def _value_of(node: ast.stmt) -> ast.expr | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def _is_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _text(value.func) in {"TypeVar", "ParamSpec", "NewType"}


class Listing:
    """The lines of `public.txt`: what each name is."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.public, single = source.named()
        self.homes: dict[int, str] = {}
        """The full public name of each definition, by the identity of its statement."""
        self.lines: dict[str, str] = {}
        exports = [
            (f"{one}.{name}", source.find(one, name)) for one in self.public for name in source.exported(one)
        ]
        known = {name for name, _ in exports}
        exports += [(one, source.find(*one.rsplit(".", 1))) for one in single if one not in known]
        exports += [*exports_of_modules(source, self.public, exports)]
        self.exported = {id(found[1]) for _, found in exports if isinstance(found, tuple)}
        for name, found in sorted(exports, key=lambda one: self._rank(*one)):
            self._add(name, found)

    def _rank(self, name: str, found: Found | str | None) -> tuple[int, str]:
        """Sort names so that each is first met where it is at home: in the module that defines it, or next to it."""
        origin = found[0] if isinstance(found, tuple) else ""
        module = name.rpartition(".")[0]
        beside = len(module) if origin == module or origin.startswith(f"{module}.") else 0
        return -beside, name

    def _add(self, name: str, found: Found | str | None) -> None:
        match found:
            case str():
                self.lines[name] = f"module {found}"
            case (module, node) if id(node) in self.homes:
                self.lines[name] = f"= {self.homes[id(node)]}"
            case (module, ast.ClassDef() as node):
                self.homes[id(node)] = name
                self._class(name, module, node)
            case (module, ast.FunctionDef() | ast.AsyncFunctionDef() as node):
                self.homes[id(node)] = name
                whole = self.source.scope(module)[node.name]
                kinds = [one for one in whole if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
                self.lines[name] = "; ".join(self._signed(module, one) for one in kinds)
            case (module, ast.AnnAssign() as node):
                self.lines[name] = self._typed(module, node)
            case (_, ast.Assign() as node):
                known = not name.endswith("__version__")
                self.lines[name] = f"= {_text(node.value)}" if known else ": str"
            case _:
                self.lines[name] = "?"

    def _class(self, name: str, module: str, node: ast.ClassDef) -> None:
        bases = [_text(one) for one, found in self._bases(module, node) if self._is_shown(found)]
        facts = [f"{one.arg}={_text(one.value)}" for one in node.keywords if one.arg in FACTS]
        self.lines[name] = f"{_old(node)}class({', '.join([*bases, *sorted(facts)])})"
        self._members(name, module, node)

    def _bases(self, module: str, node: ast.ClassDef) -> Iterator[tuple[ast.expr, Found | str | None]]:
        for base in node.bases:
            plain = base.value if isinstance(base, ast.Subscript) else base
            yield base, self.source.find(module, plain.id) if isinstance(plain, ast.Name) else None

    def _is_shown(self, found: Found | str | None) -> bool:
        """Whether a base is public, or none of ours; else what it has counts as the class's own."""
        return not isinstance(found, tuple) or id(found[1]) in self.exported

    def _members(self, name: str, module: str, node: ast.ClassDef) -> None:
        several: dict[str, list[str]] = {}
        places = self._places(module, node)
        for one in node.body:
            for member, said in self._member(module, one, places):
                several.setdefault(member, []).append(said)
            if (
                node.name == "Resources"
                and isinstance(one, ast.AnnAssign)
                and isinstance(one.annotation, ast.Attribute)
            ):
                where = self.source.find(module, _text(one.annotation.value))
                found = self.source.find(where, one.annotation.attr) if isinstance(where, str) else None
                if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef):  # of operations
                    self._members(f"{name}.{_text(one.target)}", found[0], found[1])
                    self.lines.pop(f"{name}.{_text(one.target)}.__init__")  # is for the client
        for member, all_said in several.items():
            self.lines.setdefault(f"{name}.{member}", "; ".join(all_said))
        for _, found in self._bases(module, node):
            if isinstance(found, tuple) and isinstance(found[1], ast.ClassDef) and not self._is_shown(found):
                self._members(name, found[0], found[1])

    def _places(self, module: str, node: ast.ClassDef) -> dict[str, int]:
        """Return the places of the arguments of a struct that takes them without their names."""
        given = [
            *node.keywords,
            *(one for call in node.decorator_list if isinstance(call, ast.Call) for one in call.keywords),
        ]
        if not self._is_struct(module, node) or any(one.arg == "kw_only" for one in given):
            return {}
        fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
        told = [_text(one.target) for one in fields if not _text(one.annotation).startswith("ClassVar")]
        return {name: n for n, name in enumerate(told, 1)}

    def _is_struct(self, module: str, node: ast.ClassDef) -> bool:
        if any(_text(one).startswith("dataclass") for one in node.decorator_list):
            return True
        for base, found in self._bases(module, node):
            if _text(base).endswith(("Struct", "NamedTuple")):
                return True
            match found:
                case (home, ast.ClassDef() as owner) if self._is_struct(home, owner):
                    return True
                case _:
                    pass
        return False

    def _signed(self, module: str, node: Function) -> str:
        """Return the signature of *node*, with the values of constants for their names in its defaults."""
        args = node.args
        every = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
        for annotation in (node.returns, *(one.annotation for one in every if one is not None)):
            self._note(module, annotation)
        shown = deepcopy(node)
        shown.args.defaults = [self._plain(module, one) for one in args.defaults]
        shown.args.kw_defaults = [self._plain(module, one) if one else None for one in args.kw_defaults]
        return _signature(shown)

    def _typed(self, module: str, node: ast.AnnAssign, argument: int | None = None) -> str:
        self._note(module, node.annotation)
        value = f" = {_text(self._plain(module, node.value))}" if node.value else ""
        return f": {_text(node.annotation)}{value}" + (f", argument {argument}" if argument else "")

    def _plain(self, module: str, value: ast.expr) -> ast.expr:
        shown: ast.expr = Plain(self.source, module, self.exported).visit(deepcopy(value))
        return shown

    def _note(self, module: str, annotation: ast.expr | None) -> None:
        """List what *annotation* calls by a name that nothing exports, such as `Literal["no", "unknown"]`."""
        for one in ast.walk(annotation) if annotation else ():
            match one:
                case ast.Name(id=name):
                    found = self.source.find(module, name)
                case ast.Attribute(value=ast.Name(id=owner), attr=name):
                    where = self.source.find(module, owner)
                    found = self.source.find(where, name) if isinstance(where, str) else None
                case _:
                    continue
            if not isinstance(found, tuple) or id(found[1]) in self.exported:
                continue
            value = _value_of(found[1])
            alias = f"{found[0]}.{name}"
            if value is not None and alias not in self.lines and not _is_variable(value):
                self.lines[alias] = f"{ALIAS}{_text(value)}"
                self._note(found[0], value)

    def _member(self, module: str, node: ast.stmt, places: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                setter = any(
                    isinstance(one, ast.Attribute) and one.attr == "setter" for one in node.decorator_list
                )
                if _is_public(name) or SPOKEN.fullmatch(name):
                    yield name, "may be set" if setter else self._signed(module, node)
                if name == "__init__":
                    yield from _set_in(node)
            case ast.AnnAssign(target=ast.Name(id=name)) if _is_public(name):
                yield name, self._typed(module, node, places.get(name))
            case ast.Assign(targets=[ast.Name(id=name)]) if _is_public(name):
                yield name, f"= {_text(node.value)}"
            case _:
                pass


def _set_in(init: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    """Return the public attributes that *init* sets, with the types that it says."""
    given = {one.arg: one.annotation for one in (*init.args.args, *init.args.kwonlyargs)}
    for node in ast.walk(init):
        match node:
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)) if _is_public(
                name
            ):
                yield name, f": {_text(node.annotation)}"
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]) if _is_public(
                name
            ):
                kind = given.get(node.value.id) if isinstance(node.value, ast.Name) else None
                yield name, f": {_text(kind)}" if kind else "attribute"
            case _:
                pass


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def exports_of_modules(
    source: Source, public: list[str], exports: list[tuple[str, Found | str | None]]
) -> Iterator[tuple[str, Found | str | None]]:
    """Return the names of modules that are exported under a name of their own, such as `limio_async.models`."""
    for name, found in exports:
        if isinstance(found, str) and name != found and found not in public:
            for one in source.exported(found):
                yield f"{name}.{one}", source.find(found, one)


def deprecated_in(source: Source, module: str) -> Iterator[tuple[str, str]]:
    """Return what the call of `lazily` in *module* says of names that go: `deprecated={"Old": ("New", "0.3")}`."""
    for node in ast.walk(source.tree(module)):
        if isinstance(node, ast.Call) and _text(node.func) == "lazily":
            for one in node.keywords:
                if one.arg == "deprecated":
                    said: dict[str, tuple[str, str]] = ast.literal_eval(one.value)
                    for name, (successor, until) in said.items():
                        yield f"{module}.{name}", gone(successor, until)


def listed(root: Path = ROOT) -> dict[str, str]:
    """Return every public name below *root*, and what it is."""
    listing = Listing(Source(root))
    for module in listing.public:
        listing.lines |= deprecated_in(listing.source, module)
    return dict(sorted(listing.lines.items()))


def written(root: Path = ROOT) -> str:
    """Return what `public.txt` has to hold."""
    version = re.search(r'"(.+)"', (root / PACKAGE / "version.py").read_text("utf-8").rpartition("=")[2])
    lines = (f"{name} {said}\n" for name, said in listed(root).items())
    return HEAD.format(version=version[1] if version else "?") + "".join(lines)


if __name__ == "__main__":
    PUBLIC.write_text(written(Path(sys.argv[1]) if sys.argv[1:] else ROOT), encoding="utf-8")
