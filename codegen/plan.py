"""Deciding what is generated: models, endpoints, views. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, cast
from urllib.parse import urlsplit

import msgspec

from codegen.beside import Beside, Mixin
from codegen.hooks import Hook, bodies, hooks, others
from codegen.shapes import (
    NONE,
    Choice,
    Many,
    Model,
    ModelModule,
    Models,
    Plain,
    Record,
    Type,
    models_in,
    python_name,
    type_of,
)
from codegen.spec import WITHOUT_SAMPLE, Cursor, Entry, Node, Overlay, ReadsBack, View, check_names
from limio_async.core.wire import SPECIES, Kind

__all__ = ["Operation", "Parameter", "Plan", "class_name", "constant", "plan"]

METHODS = ("get", "post", "put", "patch", "delete")
SCHEMES = {"apiKeyAuth": "key", "bearerAuth": "bearer", "sessionAuth": "session"}
SOURCES = {"docs": "documents", "code": "observed", "obs": "observed", "sample": "observed"}
ERRORS = {
    "400": "BadRequest", "401": "Unauthorized", "403": "Forbidden", "404": "NotFound", "409": "Conflict",
    "422": "BadRequest", "423": "Locked", "429": "TooManyRequests", "502": "BadGateway",
}  # fmt: skip
UNTOLD = "4XX"  # any other refusal: no exception in particular
BODY_FORMATS = {"application/json": "json", "application/x-www-form-urlencoded": "form"}
KINDS = {"str": "string", "int": "integer", "bool": "boolean"}
REDIRECT = Plain("Redirect")
MODULES = {"behaviour", "endpoints", "models", "webhooks"}  # of limio_async/api, beside one for each resource

Source = Literal["seed", "documents", "observed", "inferred"]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `limio_async.core.wire.Param`."""

    name: str
    wire: str
    place: str
    kind: str = "string"
    required: bool = False
    choices: tuple[str, ...] = ()
    default: str | int | bool | None = None
    secret: bool = False
    help: str = ""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint and its method; *view_of* names the endpoint it binds, if it is a view."""

    id: str
    constant: str
    resource: str
    name: str
    method: str
    path: str
    returns: Type
    auth: tuple[str, ...]
    retry: str
    cursor: str | None
    cursor_kind: Kind | None
    params: tuple[Parameter, ...]
    body: Type | None
    body_format: str
    body_required: bool
    summary: str
    description: str
    source: Source
    errata: tuple[str, ...]
    reads_back: ReadsBack | None
    prefers: str | None
    identity: tuple[str, ...]
    says: str
    sample: str
    beside: str | None
    errors: tuple[str, ...]
    bound: Mapping[str, str] = {}
    view_of: Operation | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is generated."""

    cursors: Mapping[str, Cursor]
    modules: tuple[ModelModule, ...]
    module_of: Mapping[str, str]
    operations: tuple[Operation, ...]
    mixins: Mapping[str, Mixin]
    """The hand-written methods of each class that has some."""
    keys: Mapping[str, tuple[str, ...]]
    hooks: tuple[Hook, ...]
    other_hooks: tuple[Hook, ...]

    @property
    def resources(self) -> dict[str, list[Operation]]:
        """The operations of each resource, views after what the API names itself."""
        names = sorted({operation.resource for operation in self.operations})
        return {name: [one for one in self.operations if one.resource == name] for name in names}


def plan(spec: Node, overlay: Overlay, beside: Beside) -> Plan:
    """What is generated from a spec and its overlay, to stand *beside* what is written by hand."""
    _check_taken(overlay, beside)
    nodes = _operations(spec, overlay)
    schemas = spec["components"]["schemas"]
    requested = {name for _, node in nodes.values() for name in node.get("requestBody").resolved().schemas()}
    answered = _answered(nodes, overlay) | _told(spec)
    models = Models(schemas, overlay, requested, answered)
    _check_used(spec, overlay, models)
    operations = {name: _operation(path, node, overlay, models) for name, (path, node) in nodes.items()}
    views = [
        _view(resource, view, operations[name])
        for resource, view in overlay.views.items()
        for name in _bindable(resource, view, operations, overlay)
    ]
    everything = (*operations.values(), *views)
    _check_collisions(everything, overlay)
    modules = models.modules()
    for mixin in beside.mixins:
        _check_mixin(mixin, everything, modules, overlay)
    return Plan(
        cursors=dict(sorted(overlay.cursors.items())),
        modules=modules,
        module_of=models.module_of,
        operations=everything,
        mixins={mixin.of: mixin for mixin in beside.mixins},
        keys=dict(sorted(overlay.keys.items())),
        hooks=hooks(spec, overlay),
        other_hooks=others(overlay),
    )


def constant(name: str) -> str:
    """A name as a constant: `getObject` → `GET_OBJECT`."""
    return python_name(name).upper()


def class_name(resource: str) -> str:
    """The class of a resource: `add_ons` → `AddOns`."""
    return "".join(word.capitalize() for word in resource.split("_"))


def _operations(spec: Node, overlay: Overlay) -> dict[str, tuple[Node, Node]]:
    """Path and operation by the operation's id, in the order of the ids."""
    found: dict[str, tuple[Node, Node]] = {}
    for path, node in _methods(spec):
        name = str(node["operationId"].value)
        if name in found:
            raise node["operationId"].stop(f"{name} is the id of another operation too")
        if name not in overlay.operations:
            raise node.stop(f"{name} has no entry in the overlay's [operations]")
        found[name] = (path, node)
    for name in overlay.operations:
        if name not in found:
            raise overlay.stop(f"operations.{name}", "the spec has no such operation")
    return dict(sorted(found.items()))


def _methods(spec: Node) -> Iterator[tuple[Node, Node]]:
    for _, path in spec["paths"].children():
        yield from ((path, node) for key, node in path.children() if key in METHODS)


def _answered(nodes: Mapping[str, tuple[Node, Node]], overlay: Overlay) -> set[str]:
    """The schemas that answers hold; of a list, its items."""
    names = {view.item for view in overlay.views.values()}
    for name, (_, node) in nodes.items():
        entry = overlay.operations[name]
        if entry.item:
            names |= {entry.item, *([entry.beside] if entry.beside else [])}
        elif schema := _answer_schema(node):
            names |= schema.schemas()
    return names


def _told(spec: Node) -> set[str]:
    """The schemas of what webhooks tell."""
    return {name for body in bodies(spec).values() for name in body.schemas()}


def _check_used(spec: Node, overlay: Overlay, models: Models) -> None:
    schemas = spec["components"]["schemas"]
    components = spec["components"]
    inline = [
        spec["paths"],
        spec.get("webhooks"),
        components.get("responses"),
        components.get("parameters"),
    ]
    roots = {name for node in inline for name in node.schemas()} | {
        view.item for view in overlay.views.values()
    }
    if unused := sorted(set(schemas.mapping) - models.reachable(roots)):
        raise schemas[unused[0]].stop("nothing refers to it")
    wires = {one["name"].value for path, node in _methods(spec) for one in _parameters(path, node)}
    for wire in overlay.params:
        if wire not in wires:
            raise overlay.stop(f'params."{wire}"', "the spec has no such parameter")


def _parameters(path: Node, node: Node) -> list[Node]:
    return [one.resolved() for holder in (path, node) for one in holder.get("parameters").elements()]


def _operation(path: Node, node: Node, overlay: Overlay, models: Models) -> Operation:
    name = str(node["operationId"].value)
    entry = overlay.operations[name]
    cursor = _cursor(name, entry, overlay)
    params = _params(path, node, overlay, cursor)
    body, body_format, body_required = _body(node, models)
    returns = _returns(node, entry, cursor, models)
    return Operation(
        id=name,
        constant=constant(name),
        resource=entry.resource,
        name=entry.name,
        method=node.path[-1].upper(),
        path=_path(path, node, params),
        returns=returns,
        auth=_auth(node),
        retry=_retry(name, node.path[-1].upper(), entry, cursor, overlay),
        cursor=entry.cursor,
        cursor_kind=cursor.kind if cursor else None,
        params=params,
        body=body,
        body_format=body_format,
        body_required=body_required,
        summary=node.text("summary"),
        description=node.text("description"),
        source=_source(node),
        errata=entry.errata,
        reads_back=_reads_back(name, entry, overlay),
        prefers=_prefers(name, node, entry, overlay),
        identity=_identity(name, entry, returns, models, overlay),
        says=entry.says,
        sample=_sample(name, entry, overlay),
        beside=entry.beside,
        errors=_errors(node),
    )


def _retry(name: str, method: str, entry: Entry, cursor: Cursor | None, overlay: Overlay) -> str:
    """The retry class, where it agrees with the method and the cursor."""
    if cursor:
        allowed = {"scroll"} if SPECIES[cursor.kind].advances else {"safe"}
    elif method == "GET" or entry.reads:
        allowed = {"safe", "once"}
    else:
        allowed = {"idempotent", "once"}
    if entry.retry not in allowed:
        what = f"a list walked by a {cursor.kind} cursor" if cursor else f"a {method}"
        reason = f"{what} is of class {' or '.join(sorted(allowed))}, not {entry.retry}"
        raise overlay.stop(f"operations.{name}.retry", reason)
    return entry.retry


def _reads_back(name: str, entry: Entry, overlay: Overlay) -> ReadsBack | None:
    found = entry.reads_back
    for operation in (found.operation, found.listed_by) if found else ():
        if operation is not None and operation not in overlay.operations:
            raise overlay.stop(f"operations.{name}.reads_back", f"there is no operation {operation}")
    return found


def _prefers(name: str, node: Node, entry: Entry, overlay: Overlay) -> str | None:
    if entry.prefers and entry.prefers not in _auth(node):
        raise overlay.stop(f"operations.{name}.prefers", f"the operation takes no {entry.prefers}")
    return entry.prefers


def _identity(name: str, entry: Entry, returns: Type, models: Models, overlay: Overlay) -> tuple[str, ...]:
    """The fields that tell a success, where what is answered has them."""
    known = {wire for model in models_in(returns) for wire in models.properties(model)}
    for wire in entry.identity:
        if known and wire not in known:
            raise overlay.stop(f"operations.{name}.identity", f"the answer has no {wire}")
    return entry.identity


def _sample(name: str, entry: Entry, overlay: Overlay) -> str:
    """What tells so: a file of JSON, or one of the words for why there is none."""
    if not entry.sample.endswith(".json") and entry.sample not in WITHOUT_SAMPLE:
        known = ", ".join(sorted(WITHOUT_SAMPLE))
        raise overlay.stop(f"operations.{name}.sample", f"neither a file of JSON nor one of: {known}")
    return entry.sample


def _cursor(name: str, entry: Entry, overlay: Overlay) -> Cursor | None:
    if entry.cursor and entry.cursor not in overlay.cursors:
        raise overlay.stop(f"operations.{name}", f"there is no cursor {entry.cursor}")
    return overlay.cursors[entry.cursor] if entry.cursor else None


def _params(path: Node, node: Node, overlay: Overlay, cursor: Cursor | None) -> tuple[Parameter, ...]:
    found = {one["name"].value: one for one in _parameters(path, node)}
    owned = cursor.owned if cursor else []
    for wire in owned:
        if wire not in found:
            raise node.get("parameters").stop(f"needs {wire}, which its cursor sends")
    params = tuple(_param(one, overlay) for wire, one in found.items() if wire not in owned)
    names = ["self", "body", "options"]
    for param in params:
        if param.name in names:
            raise node.get("parameters").stop(f"two arguments are called {param.name} in Python")
        names.append(param.name)
    return params


def _param(node: Node, overlay: Overlay) -> Parameter:
    wire = str(node["name"].value)
    override = overlay.params.get(wire)
    place, schema = str(node["in"].value), node["schema"]
    if place not in {"path", "query", "header"}:
        raise node["in"].stop(f"unsupported: a parameter in {place}")
    kind, choices, default = _param_type(schema)
    required = bool(node.mapping.get("required"))
    return Parameter(
        name=(override and override.name) or python_name(wire),
        wire=(override and override.wire) or wire,
        place=place,
        kind=(override and override.kind) or kind,
        required=required,
        choices=choices,
        default=default if required else None,
        secret=schema.mapping.get("format") == "password",
        help=node.text("description"),
    )


def _param_type(schema: Node) -> tuple[str, tuple[str, ...], str | int | bool | None]:
    """Kind, documented values and default of a parameter; an optional one's default is the server's own."""
    default = schema.mapping.get("default")
    match type_of(schema):
        case Choice(values):
            return "string", values, default
        case Plain("str" | "int" | "bool" as name):
            return KINDS[name], (), default
        case _ if "anyOf" in schema:
            members = [type_of(member) for member in schema["anyOf"].elements()]
            match members:
                case [Choice(values), Plain("str")]:
                    return "string", values, default
                case _:
                    raise schema.stop("unsupported: a parameter of several types")
        case _:
            raise schema.stop("unsupported: not a parameter's type")


def _path(path: Node, node: Node, params: Iterable[Parameter]) -> str:
    names = {param.wire: param.name for param in params if param.place == "path"}
    template = path.path[-1]
    wires = re.findall(r"{(\w+)}", template)
    if sorted(wires) != sorted(names):
        raise node.get("parameters").stop(f"path parameters {sorted(names)} do not fit {template}")
    return _prefix(node if "servers" in node else path) + re.sub(
        r"{(\w+)}", lambda m: f"{{{names[m[1]]}}}", template
    )


def _prefix(node: Node) -> str:
    servers = node["servers"] if "servers" in node else Node(node.root, (), node.root)["servers"]
    first = next(servers.elements())
    return urlsplit(str(first["url"].value)).path.rstrip("/")


def _answer_schema(node: Node) -> Node | None:
    """The schema that every 2xx answer has; None where a browser is sent elsewhere or nothing comes."""
    answers = {code: answer.resolved() for code, answer in node["responses"].children()}
    if any(code.startswith("3") for code in answers):
        return None
    found = [
        _json(answer["content"]) for code, answer in answers.items() if code[0] == "2" and "content" in answer
    ]
    for other in found[1:]:
        if other.value != found[0].value:
            raise other.stop("unsupported: answers of several types")
    return found[0] if found else None


def _json(content: Node) -> Node:
    if list(content.mapping) != ["application/json"]:
        raise content.stop(f"unsupported: an answer of {', '.join(content.mapping)}")
    return content["application/json"]["schema"]


def _returns(node: Node, entry: Entry, cursor: Cursor | None, models: Models) -> Type:
    schema = _answer_schema(node)
    if schema is None:
        return REDIRECT if any(code.startswith("3") for code in node["responses"].mapping) else NONE
    if cursor is None or entry.item is None:
        return models.answer(schema)
    envelope = models.properties(schema.schema)
    if cursor.items not in envelope:
        raise schema.stop(f"has no {cursor.items}, where its cursor looks for items")
    if type_of(envelope[cursor.items]) != Many(Model(entry.item)):
        raise envelope[cursor.items].stop(f"is not a list of {entry.item}, which the overlay calls its item")
    return Model(entry.item)


def _body(node: Node, models: Models) -> tuple[Type | None, str, bool]:
    if "requestBody" not in node:
        return None, "json", False
    body = node["requestBody"].resolved()
    content = list(body["content"].mapping)
    if len(content) != 1 or content[0] not in BODY_FORMATS:
        raise body["content"].stop(f"unsupported: a body of {', '.join(content)}")
    kind = models.body(body["content"][content[0]]["schema"])
    return kind, BODY_FORMATS[content[0]], bool(body.mapping.get("required"))


def _auth(node: Node) -> tuple[str, ...]:
    holder = node if "security" in node else Node(node.root, (), node.root)
    schemes = [str(scheme) for one in holder["security"].elements() for scheme in one.mapping]
    for scheme in schemes:
        if scheme not in SCHEMES:
            raise holder["security"].stop(f"unsupported: {scheme}")
    return tuple(SCHEMES[scheme] for scheme in schemes)


def _source(node: Node) -> Source:
    if node["x-limio-source"].value == "S":
        return "seed"
    confidence = re.split(r"\W", node.text("x-limio-confidence"))[0]
    if confidence not in {*SOURCES, "inf", "inferred"}:
        raise node["x-limio-confidence"].stop(f"unknown: {confidence}")
    return cast("Source", SOURCES.get(confidence, "inferred"))


def _errors(node: Node) -> tuple[str, ...]:
    codes = [code for code, _ in node["responses"].children() if code[0] not in "23" and code != UNTOLD]
    for code in codes:
        if code not in ERRORS:
            raise node["responses"][code].stop("no exception stands for this status")
    return tuple(dict.fromkeys(ERRORS[code] for code in sorted(codes)))


def _bindable(
    resource: str, view: View, operations: Mapping[str, Operation], overlay: Overlay
) -> tuple[str, ...]:
    try:
        check_names(resource, "list")
    except ValueError as error:
        raise overlay.stop(f"views.{resource}", str(error)) from None
    for name in view.operations:
        if name not in operations:
            raise overlay.stop(f"views.{resource}", f"the spec has no operation {name}")
        if "path_type" not in {param.name for param in operations[name].params}:
            raise overlay.stop(f"views.{resource}", f"{name} has no path_type to bind")
    return view.operations


def _view(resource: str, view: View, of: Operation) -> Operation:
    one = re.sub(r"(ss)es$|s$", r"\1", re.sub(r"ies$", "y", resource))
    whole = of.name in {"list", "get"}
    return msgspec.structs.replace(
        of,
        constant=_view_constant(of.name, resource, one),
        resource=resource,
        returns=Model(view.item) if whole else of.returns,
        params=tuple(param for param in of.params if param.name != "path_type"),
        summary=_view_summary(of.summary, resource, one),
        bound={"path_type": view.path_type},
        view_of=of,
    )


def _view_constant(name: str, many: str, one: str) -> str:
    """`LIST_SUBSCRIPTIONS` and `GET_SUBSCRIPTION`, but `SUBSCRIPTION_EVENTS`."""
    if name == "list":
        return constant(f"list_{many}")
    return constant(f"{name}_{one}" if name in {"get", "create", "update", "delete"} else f"{one}_{name}")


def _view_summary(summary: str, many: str, one: str) -> str:
    """`List events of an object` → `List events of a subscription`; other objects stay what they are."""
    article = "an" if one[0] in "aeio" else "a"
    summary = summary.replace("an object", f"{article} {one}").replace("_", " ")
    return f"List {many}".replace("_", " ") if summary == "List objects" else summary


def _check_collisions(operations: Iterable[Operation], overlay: Overlay) -> None:
    taken: dict[tuple[str, str], str] = {}
    for one in operations:
        if class_name(one.resource) in models_in(one.returns) | models_in(one.body or NONE):
            raise overlay.stop(
                f"operations.{one.id}", f"{class_name(one.resource)} is the name of its model too"
            )
        for name in (one.name, one.constant):
            if other := taken.get((one.resource, name)):
                raise overlay.stop(f"operations.{one.id}", f"{other} is {one.resource}.{name} too")
            taken[one.resource, name] = one.id


def _check_taken(overlay: Overlay, beside: Beside) -> None:
    """Stop where a resource has the name of what is there already."""
    places = {f"operations.{name}": entry.resource for name, entry in overlay.operations.items()}
    places |= {f"views.{resource}": resource for resource in overlay.views}
    for place, resource in places.items():
        if resource in beside.client:
            raise overlay.stop(place, f"Limio.{resource} is something else already")
        if resource in beside.commands:
            raise overlay.stop(place, f"`limio {resource.replace('_', '-')}` is a command already")
        if resource in MODULES:
            raise overlay.stop(place, f"{resource} is a module of limio_async/api already")


def _check_mixin(
    mixin: Mixin, operations: Iterable[Operation], modules: Iterable[ModelModule], overlay: Overlay
) -> None:
    """Stop where a mixin belongs to no class, or has a method of the name of what is generated."""
    methods = {one.name: one.id for one in operations if class_name(one.resource) == mixin.of}
    records = {one.name: one for module in modules for one in module.definitions if isinstance(one, Record)}
    if (mixin.of in records) == bool(methods):
        found = "both a resource and a model are" if methods else "no resource and no model is"
        raise overlay.stop(f"behaviour.{mixin.noun}", f"{found} called {mixin.of}")
    for name in mixin.defines:
        if name in methods:
            raise mixin.stop(f"{mixin.name}.{name}", f"{methods[name]} is called {name} too")
    if not methods:
        _check_mixin_of_record(mixin, records)


def _check_mixin_of_record(mixin: Mixin, records: Mapping[str, Record]) -> None:
    for record in records.values():
        line = list(_line_of(record, records))
        fields = {name for one in line for name in one.names}
        if mixin.of in {one.name for one in line} and (taken := sorted(fields.intersection(mixin.defines))):
            raise mixin.stop(f"{mixin.name}.{taken[0]}", f"{record.name} has a field called {taken[0]} too")
    if "__slots__" not in mixin.defines:
        raise mixin.stop(mixin.name, "needs `__slots__ = ()`: a model holds its fields and nothing else")


def _line_of(record: Record, records: Mapping[str, Record]) -> Iterator[Record]:
    """A class and those it is derived from."""
    yield record
    if record.base:
        yield from _line_of(records[record.base], records)
