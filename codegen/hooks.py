"""Deciding what is generated of webhooks: the object that each tells of, and what its events have in common. Pure."""

from __future__ import annotations

import re

import msgspec

from codegen.shapes import Model, Type, type_of
from codegen.spec import Node, Overlay, View

__all__ = ["Hook", "bodies", "hooks", "others"]


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `limio_async.core.wire.Webhook`; *key* is the name of a rule."""

    slug: str
    name: str
    model: Type
    resource: str
    record_type: str
    key: str
    inside: str = ""


def bodies(spec: Node) -> dict[str, Node]:
    """The schema of each webhook's body, by slug."""
    found = {slug: node["post"] for slug, node in spec.get("webhooks").children()}
    return {
        slug: node["requestBody"]["content"]["application/json"]["schema"] for slug, node in found.items()
    }


def hooks(spec: Node, overlay: Overlay) -> tuple[Hook, ...]:
    """The documented webhooks, by slug. Stops where the spec and the overlay do not agree on one."""
    found = bodies(spec)
    made = [_hook(slug, spec["webhooks"][slug]["post"], found[slug], overlay) for slug in sorted(found)]
    for slug in overlay.webhooks:
        if slug not in found:
            raise overlay.stop(f"webhooks.{slug}", "the spec has no such webhook")
    return tuple(made)


def others(overlay: Overlay) -> tuple[Hook, ...]:
    """What a body of each record type is where its webhook is not documented."""
    return tuple(
        _of_view("", "", Model(view.item), resource, view, overlay)
        for resource, view in sorted(overlay.views.items(), key=lambda one: one[1].record_type)
    )


def _hook(slug: str, node: Node, body: Node, overlay: Overlay) -> Hook:
    if slug not in overlay.webhooks:
        raise node.stop(f"{slug} has no entry in the overlay's [webhooks]")
    if not re.fullmatch(r"[a-z]+(_[a-z]+)*", slug):
        raise node.stop(f"{slug} should be words in lower case with _ between them")
    entry, model = overlay.webhooks[slug], type_of(body)
    if entry.resource not in overlay.views:
        raise overlay.stop(f"webhooks.{slug}", f"there is no view {entry.resource}")
    view = overlay.views[entry.resource]
    if not isinstance(model, Model) or (not entry.inside and model != Model(view.item)):
        raise body.stop(f"is not {view.item}, which the view {entry.resource} has")
    hook = _of_view(slug, str(node["summary"].value), model, entry.resource, view, overlay)
    return msgspec.structs.replace(hook, inside=entry.inside)


def _of_view(slug: str, name: str, model: Type, resource: str, view: View, overlay: Overlay) -> Hook:
    if view.key not in overlay.keys:
        raise overlay.stop(f"views.{resource}.key", f"there is no rule {view.key} in [keys]")
    return Hook(
        slug=slug,
        name=name,
        model=model,
        resource=resource,
        record_type=view.record_type,
        key=view.key,
    )
