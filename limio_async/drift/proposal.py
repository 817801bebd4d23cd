"""What of the drift would go into the spec: `openapi/limio.yaml`, changed in as few lines as possible. Pure.

The only importer of yaml, which tells where in the text something stands; the text itself is kept.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import yaml

from limio_async.drift.findings import Finding, Kind

__all__ = ["SPEC", "Proposal", "fragment", "patch", "propose"]

SPEC = "openapi/limio.yaml"

_WORDS = re.compile(r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z_$][\w$-]*", re.ASCII | re.IGNORECASE)
_STATUSES = re.compile(r"Known\s+status\s+values:\s+[\w-]+(?:,\s+[\w-]+)*")
_NO_FIELD = {"bool", "dict", "field", "float", "int", "list", "str"}  # the code generator refuses them


class Proposal(msgspec.Struct, frozen=True):
    """A spec with the drift worked in, and sentences about what a person has to decide."""

    text: str
    left_out: list[str]


class _Drifted(msgspec.Struct, frozen=True):
    """All that was found of one kind at one property of one schema, whatever the item it was in."""

    schema: str
    name: str
    inside: str
    """`[]` for elements of the property's list, and so on."""
    kind: Kind
    found: Counter[str]
    example: str

    @property
    def comment(self) -> str:
        """How often it was seen, as a YAML comment."""
        parts = [f"{found} {count:,}" for found, count in sorted(self.found.items())]
        example = f"; the first was {self.example}" if self.kind == "field" else ""
        return f"  # seen {_times(self.found.total())}: {', '.join(parts)}{example}"


def propose(findings: Iterable[Finding], spec: str) -> Proposal:
    """*spec* as it would be if it knew what was found. Raises `ValueError` if it is no such spec."""
    editor = _Editor(spec)
    for one in _merged(findings):
        editor.work_in(one)
    return Proposal(editor.text(), editor.left_out)


def patch(before: str, after: str) -> str:
    """The change as a unified diff, to be applied at the root of a checkout."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{SPEC}", f"b/{SPEC}"
    )
    return "".join(lines)


def fragment(findings: Iterable[Finding]) -> str:
    """What was found as YAML, schema by schema, for whoever has no spec at hand."""
    lines: list[str] = []
    schema = name = None
    for one in _merged(findings):
        if not one.name or "{}" in one.name:
            lines.append(f"# {_sentence(one)}")
            continue
        if one.schema != schema:
            schema, name = one.schema, None
            lines += [f"{schema}:", "  properties:"]
        if one.name != name:
            name = one.name
            lines.append(f"    {_quoted(one.name)}:{one.comment if one.kind == 'field' else ''}")
        lines += [f"      {line}" for line in _shown(one)]
    return "".join(f"{line}\n" for line in lines)


def _merged(findings: Iterable[Finding]) -> list[_Drifted]:
    merged: dict[tuple[str, str, str, Kind], _Drifted] = {}
    for one in findings:
        path = re.fullmatch(r"(.*[^\[\]{}])((?:\[\]|{})*)", one.path)
        above, inside = (path[1], path[2]) if path and one.kind != "field" else (one.path, "")
        name = above.rpartition(".")[2] if "." in above else ""
        key = (one.model, name, inside, one.kind)
        drifted = merged.setdefault(key, _Drifted(one.model, name, inside, one.kind, Counter(), one.example))
        drifted.found[one.found] += one.count
    return [one for _, one in sorted(merged.items())]


def _shown(one: _Drifted) -> Iterator[str]:
    match one.kind:
        case "field":
            yield from _new_type(one.found)
        case "type":
            yield f"# {one.inside or 'the value'} is also:"
            yield from (
                f"# - type: {kind}  # seen {_times(count)}" for kind, count in sorted(one.found.items())
            )
        case "value":
            yield "# also has the values:"
            yield from (
                f"# - {_quoted(word)}  # seen {_times(count)}" for word, count in sorted(one.found.items())
            )


def _new_type(found: Iterable[str]) -> list[str]:
    """The lines of a schema that allows what was found; null may stand for any value anyway."""
    kinds = sorted(set(found) - {"null"})
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    if not kinds:
        return ["description: Only null was seen."]
    lines = [f"type: {kinds[0]}"] if len(kinds) == 1 else ["type:", *(f"- {kind}" for kind in kinds)]
    return [
        *lines,
        *(["items: {}"] if "array" in kinds else []),
        *(["additionalProperties: true"] if "object" in kinds else []),
    ]


class _Widening(msgspec.Struct):
    """More types for one place of the spec, which several models may share."""

    node: Any
    drifted: list[_Drifted]


class _Editor:
    """Works drift into a spec's text."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        try:
            root: Any = yaml.compose(spec, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError as error:
            raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None
        schemas = _member(_member(root, "components"), "schemas")
        if schemas is None:
            raise ValueError("it has no components/schemas")
        self._schemas: dict[str, Any] = {key.value: node for key, node in schemas.value}
        self._starts = [0]
        for line in spec.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._edits: list[tuple[int, int, str]] = []
        self._widened: dict[int, _Widening] = {}
        self._added: set[tuple[str, str]] = set()
        self.left_out: list[str] = []

    def text(self) -> str:
        """The spec with everything worked in."""
        for one in self._widened.values():
            self._widen(one)
        parts: list[str] = []
        kept = 0
        for start, end, new in sorted(self._edits, key=lambda edit: edit[0]):
            parts += [self._spec[kept:start], new]
            kept = end
        return "".join([*parts, self._spec[kept:]])

    def work_in(self, one: _Drifted) -> None:
        """Note the edits that one thing needs."""
        if one.schema not in self._schemas or not one.name or "{}" in one.name:
            self._leave(one, "" if one.schema in self._schemas else f"; the spec has no schema {one.schema}")
            return
        found = (_member(part, one.name) for part in self._properties(one.schema))
        defined = [node for node in found if node is not None]
        match one.kind:
            case "field":
                if not defined:
                    self._add(one)
            case "type":
                nodes = [node for node in (_inside(node, one.inside) for node in defined) if node is not None]
                for node in nodes:
                    widening = self._widened.setdefault(self._offset(node.start_mark), _Widening(node, []))
                    widening.drifted.append(one)
                if not nodes:
                    self._leave(one, "")
            case "value":
                self._add_values(one, defined)

    def _leave(self, one: _Drifted, why: str) -> None:
        self.left_out.append(_sentence(one) + why)

    def _add(self, one: _Drifted) -> None:
        """Add a property to a schema's own."""
        own = next(iter(self._properties(one.schema)), None)
        names = {_squashed(key.value) for part in self._properties(one.schema) for key, _ in part.value}
        if own is None or not own.value or own.flow_style:
            return self._leave(one, f"; {one.schema} has no properties of its own")
        if _squashed(one.name) in names or (one.schema, _squashed(one.name)) in self._added:
            return self._leave(one, "; it has nearly the name of another property")
        if one.name in _NO_FIELD:
            return self._leave(one, "; a field cannot be called that")
        self._added.add((one.schema, _squashed(one.name)))
        indent = " " * own.start_mark.column
        lines = [f"{_quoted(one.name)}:{one.comment}", *(f"  {line}" for line in _new_type(one.found))]
        self._insert_below(own.value[-1][1], lines, indent)
        return None

    def _widen(self, widening: _Widening) -> None:
        node, found = widening.node, Counter[str]()
        for one in widening.drifted:
            found.update(one.found)
        for known in _types(node):
            del found[known]
        if not found:
            return
        indent = " " * node.start_mark.column
        new = [f"- type: {kind}  # seen {_times(count)}" for kind, count in sorted(found.items())]
        if "array" in found:
            new.insert(1 + next(at for at, line in enumerate(new) if " array " in line), "  items: {}")
        union = _member(node, "anyOf") or _member(node, "oneOf")
        kind, ref = _member(node, "type"), _member(node, "$ref")
        if union is not None and union.value and not union.flow_style:
            self._insert_below(union.value[-1], new, " " * union.start_mark.column)
        elif ref is not None:
            start, end = self._offset(ref.start_mark), self._offset(ref.end_mark)
            lines = [f"- $ref: {self._spec[start:end]}", *new]
            key = next(key for key, value in node.value if value is ref)
            self._edits.append((self._offset(key.start_mark), end, "anyOf:" + "".join(f"\n{indent}{line}" for line in lines)))  # fmt: skip
        elif kind is not None and _member(node, "enum") is None and not getattr(kind, "flow_style", False):
            more = [f"- {name}  # seen {_times(count)}" for name, count in sorted(found.items())]
            if isinstance(kind, yaml.ScalarNode):
                start, end = self._offset(kind.start_mark), self._offset(kind.end_mark)
                lines = [f"- {self._spec[start:end]}", *more]
                self._edits.append((start - 1, end, "".join(f"\n{indent}{line}" for line in lines)))
                last = kind
            else:
                self._insert_below(kind.value[-1], more, " " * kind.start_mark.column)
                last = kind.value[-1]
            if "array" in found and _member(node, "items") is None:
                self._insert_below(last, ["items: {}"], indent)
        else:
            for one in widening.drifted:
                self._leave(one, "; it is written in a way that only a person can widen")

    def _add_values(self, one: _Drifted, defined: list[Any]) -> None:
        words = Counter({word: count for word, count in one.found.items() if " " not in word})
        if others := one.found.total() - words.total():
            self.left_out.append(f"{one.schema}.{one.name} has other values, which are not shown: seen {_times(others)}")  # fmt: skip
        if not words:
            return
        for node in defined:
            for enum in _enums(node):
                for known in enum.value:
                    del words[known.value]
                if not words:
                    return
                lines = [
                    f"- {_quoted(word)}  # seen {_times(count)}" for word, count in sorted(words.items())
                ]
                self._insert_below(enum.value[-1], lines, " " * enum.start_mark.column)
                return
        if one.name == "status" and self._add_statuses(one, words):
            return
        self._leave(one, "")

    def _add_statuses(self, one: _Drifted, words: Counter[str]) -> bool:
        """Add to the sentence in a schema's description that tells its status values."""
        for key, node in self._schemas[one.schema].value:
            start, end = self._offset(node.start_mark), self._offset(node.end_mark)
            match = _STATUSES.search(self._spec, start, end) if key.value == "description" else None
            if match:
                for known in re.findall(r"[\w-]+", match[0].partition(":")[2]):
                    del words[known]
                if not words:
                    return True
                line = self._offset(key.start_mark) - int(key.start_mark.column)
                self._edits.append((match.end(), match.end(), "".join(f", {word}" for word in sorted(words))))
                told = ", ".join(f"{word} {_times(count)}" for word, count in sorted(words.items()))
                self._edits.append((line, line, f"{' ' * key.start_mark.column}# status seen: {told}\n"))
                return True
        return False

    def _insert_below(self, node: Any, lines: list[str], indent: str) -> None:
        at = self._starts[_last_line(node) + 1]
        self._edits.append((at, at, "".join(f"{indent}{line}\n" for line in lines)))

    def _offset(self, mark: Any) -> int:
        return self._starts[int(mark.line)] + int(mark.column)

    def _properties(self, schema: str) -> Iterator[Any]:
        """The properties of a schema, its own before those of what it is based on."""
        node = self._schemas[schema]
        parts = _member(node, "allOf")
        refs: list[str] = []
        for part in [node] if parts is None else parts.value:
            ref = _member(part, "$ref")
            if ref is not None:
                refs.append(ref.value.rpartition("/")[2])
            elif (own := _member(part, "properties")) is not None:
                yield own
        for name in refs:
            if name in self._schemas:
                yield from self._properties(name)


def _member(node: Any, name: str) -> Any:
    """The value of a mapping under *name*; None where there is none."""
    if not isinstance(node, yaml.MappingNode):
        return None
    pairs: list[tuple[Any, Any]] = node.value
    return next((value for key, value in pairs if key.value == name), None)


def _inside(node: Any, inside: str) -> Any:
    """The schema of what is in a list or an open object; None where it is not told."""
    for mark in re.findall(r"\[\]|{}", inside):
        held = "items" if mark == "[]" else "additionalProperties"
        union = _member(node, "anyOf") or _member(node, "oneOf")
        members = [node] if union is None else union.value
        node = next((found for one in members if (found := _member(one, held)) is not None), None)
    mapping: Any = node if isinstance(node, yaml.MappingNode) else None
    return mapping


def _types(node: Any) -> Iterator[str]:
    """The types that a schema names by itself or in its union."""
    union = _member(node, "anyOf") or _member(node, "oneOf")
    for one in [node] if union is None else union.value:
        kind = _member(one, "type")
        yield from [] if kind is None else [kind.value] if isinstance(kind, yaml.ScalarNode) else [each.value for each in kind.value]  # fmt: skip


def _enums(node: Any) -> Iterator[Any]:
    union = _member(node, "anyOf") or _member(node, "oneOf")
    members: list[Any] = [node] if union is None else union.value
    for one in members:
        enum = _member(one, "enum")
        if enum is not None and enum.value and not enum.flow_style:
            yield enum


def _last_line(node: Any) -> int:
    """The last line of a value; the end of a block is told as the beginning of what comes after it."""
    # Only what is written in braces or brackets may be empty.
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _last_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _last_line(node.value[-1])
    return int(node.end_mark.line) - int(node.end_mark.column == 0)


def _sentence(one: _Drifted) -> str:
    seen = ", ".join(f"{found} {_times(count)}" for found, count in sorted(one.found.items()))
    match one.kind:
        case "field":
            what = f"{one.schema} has fields with names that are not shown" if "{}" in one.name else f"{one.schema} has {one.name}"  # fmt: skip
        case _:
            what = f"{one.schema}.{one.name}{one.inside}" if one.name else f"an item of {one.schema}"
    return f"{what}: {seen}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _quoted(word: str) -> str:
    return word if _WORDS.fullmatch(word) else f"'{word}'"


def _squashed(name: str) -> str:
    """Equal for names that would be one name in Python."""
    return re.sub(r"[\W_]", "", name).lower()
