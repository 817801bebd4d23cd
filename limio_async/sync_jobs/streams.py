"""What can be synced: a stream for each list, its arguments, and the columns of its table."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec

from limio_async.api._cursors import WHOLE
from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.api.models import Journey
from limio_async.core.wire import Endpoint, ListEndpoint, Scheme
from limio_async.errors import ConfigurationError, MissingCredentials
from limio_async.sync_jobs.columns import Spot, spots_of

__all__ = ["Stream", "known_streams", "stream", "streams_for", "with_parents"]

_CHILDREN = ("events", "related", "children")
_NOT_BY_DEFAULT = {
    "journeys",
    "offers_v2",
    "partner_organisations",
}  # what others hold too, what few tenants have
_NAME = re.compile(r"(?P<base>\w+)(:(?P<value>[\w-]+))?(\.(?P<child>\w+))?(@(?P<service>\w+))?", re.ASCII)
_JOURNEYS = msgspec.structs.replace(WHOLE, items="journeys")


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One list of a tenant, and what of its items gets a column."""

    name: str
    """As it is called on the command line: `offers`, `subscriptions@zuora`, `subscriptions.events`."""
    endpoint: ListEndpoint[Any]
    """Lists it; of a child stream, the children of one object."""
    args: Mapping[str, Any] = {}
    spots: tuple[Spot, ...] = ()
    heads: tuple[str, ...] = ()
    """Fields of the answer, beside its items, that become columns of each item."""
    hydrates: Endpoint[Any] | None = None
    """Gets one of its objects whole, by `id`; the list holds summaries."""
    parent: str | None = None
    """The stream whose objects have these items as children."""
    newer_than: Literal["modified_after", "created_after"] | None = None
    """The argument by which the server leaves out what is older."""

    @property
    def by_creation(self) -> bool:
        """Whether what came is asked for, not what has changed."""
        return self.newer_than == "created_after"

    @property
    def table(self) -> str:
        """The name of its table."""
        return re.sub(r"\W+", "_", self.name.lower())

    def page_size(self, wanted: int | None) -> int | None:
        """The items per page to ask for; None where the list answers in one page."""
        return wanted if self.endpoint.paging.page_size else None


def streams_for(names: Collection[str], offers: Collection[Scheme]) -> tuple[list[Stream], dict[str, str]]:
    """The streams of these names; without names, all that belong to a whole tenant and can be asked for.

    *offers* are the credentials there are; of the whole tenant, the second part tells which streams are left
    out and why. Raises `ConfigurationError` for a name that is not known, `MissingCredentials` where all are left out.
    """
    if names:
        return [stream(name) for name in dict.fromkeys(names)], {}
    everything = [one for name, one in _lists().items() if name not in _NOT_BY_DEFAULT]
    left_out = {
        one.name: f"takes {' or '.join(one.endpoint.auth)} credentials, the client has none of them"
        for one in everything
        if not set(one.endpoint.auth) & set(offers)
    }
    found = [one for one in everything if one.name not in left_out]
    if not found:
        raise MissingCredentials(
            "no list of the tenant can be asked for: the client has no credentials for any"
        )
    return found, left_out


def with_parents(streams: Collection[Stream]) -> list[Stream]:
    """*streams*, and those whose objects they need; parents come first.

    Raises `ConfigurationError` where two of them would have the same table.
    """
    found: dict[str, Stream] = {}
    for one in streams:
        if one.parent is not None:
            found.setdefault(one.parent, stream(one.parent))
    found.update({one.name: one for one in streams if one.parent is None})
    found.update({one.name: one for one in streams})
    by_table: dict[str, str] = {}
    for name, one in found.items():
        if by_table.setdefault(one.table, name) != name:
            raise ConfigurationError(
                f"streams {by_table[one.table]} and {name} would share the table {one.table}: sync them to two targets"
            )
    return list(found.values())


def known_streams() -> list[str]:
    """The names of all streams that take no further word."""
    return sorted(_lists())


def stream(name: str) -> Stream:
    """The stream called *name*: `LIST`, `LIST:VALUE`, each with `.CHILD` and `@SERVICE` where the list has them.

    `objects:PATH_TYPE` is any object list, `catalog_items:RECORD_TYPE` and `published_catalog_items:RECORD_TYPE`
    are lists of the admin and the published catalog; `.events`, `.related` and `.children` are those of every object of the list.
    """
    match = _NAME.fullmatch(name)
    found = _found(match["base"], match["value"]) if match else None
    if match is None or found is None:
        raise ConfigurationError(_unknown(name))
    if match["service"]:
        if "service" not in {param.name for param in found.endpoint.params}:
            raise ConfigurationError(f"stream {name}: {found.name} is not kept by several services")
        found = msgspec.structs.replace(found, args={**found.args, "service": match["service"]})
    if match["child"]:
        found = _child(found, match["child"], match["service"])
    return msgspec.structs.replace(found, name=name)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, known_streams())
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known_streams())}"
    return f"there is no stream {name}; {hint}"


def _found(base: str, value: str | None) -> Stream | None:
    if value is None:
        return _lists().get(base)
    lists = [one for one in ENDPOINTS.values() if isinstance(one, ListEndpoint) and one.name == "list"]
    endpoint = {one.resource: one for one in lists}.get(base)
    takes = {"objects": "path_type", "catalog_items": "record_type", "published_catalog_items": "record_type"}
    if endpoint is None or base not in takes:
        return None
    getter = ENDPOINTS["getObject"] if base == "objects" else None
    args = {takes[base]: value}
    return _listed(endpoint, name=f"{base}:{value}", args=args, getter=getter)


def _lists() -> dict[str, Stream]:
    """Every stream that needs no further word, by name, in the order of the API."""
    return {one.name: one for one in _all_lists()}


def _all_lists() -> Iterator[Stream]:
    getters = {one.resource: one for one in VIEWS if one.operation == "getObject"}
    for endpoint in (*ENDPOINTS.values(), *VIEWS):
        match endpoint:
            case Endpoint(operation="listJourneys" | "listJourneysV2"):
                facts: dict[str, Any] = msgspec.structs.asdict(endpoint)
                facts |= {"returns": Journey, "paging": _JOURNEYS, "identity": ("id",)}
                yield Stream(
                    name=endpoint.resource,
                    endpoint=ListEndpoint(**facts),
                    heads=("starting_point", "fallback_tag"),
                )
            case ListEndpoint(operation="listAbandonedBaskets"):
                yield _listed(endpoint, name="abandoned_baskets")
            case ListEndpoint(name="list") if not _asks(endpoint):
                yield _listed(endpoint, name=endpoint.resource, getter=getters.get(endpoint.resource))
            case _:
                pass


def _listed(
    endpoint: ListEndpoint[Any],
    *,
    name: str,
    args: Mapping[str, Any] | None = None,
    getter: Endpoint[Any] | None = None,
) -> Stream:
    params = {param.name for param in endpoint.params}
    return Stream(
        name=name,
        endpoint=endpoint,
        args=args or {},
        spots=spots_of(name.partition(":")[0], endpoint),
        hydrates=getter,
        newer_than=(
            "modified_after"
            if "modified_after" in params
            else "created_after"
            if "created_after" in params
            else None
        ),
    )


def _child(parent: Stream, child: str, service: str | None) -> Stream:
    of_one = {
        one.name: one
        for one in (*VIEWS, *ENDPOINTS.values())
        if one.resource == parent.endpoint.resource
        and one.name in _CHILDREN
        and isinstance(one, ListEndpoint)
    }
    if child not in of_one:
        has = f"it has {', '.join(sorted(of_one))}" if of_one else "it has none"
        raise ConfigurationError(f"stream {parent.name}.{child}: no such children of {parent.name}; {has}")
    return Stream(
        name=parent.name,
        endpoint=of_one[child],
        args=parent.args,
        spots=spots_of("", of_one[child]),
        parent=f"{parent.name}@{service}" if service else parent.name,
    )


def _asks(endpoint: Endpoint[Any]) -> bool:
    """Whether it needs an argument that nobody has given."""
    return any(
        param.required and param.default is None and param.name not in endpoint.bound
        for param in endpoint.params
    )
