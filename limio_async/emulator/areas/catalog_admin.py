"""What editors do to the catalog: change many items at once, read and delete one, queue jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from limio_async.core.wire import Response
from limio_async.emulator.agenda import Agenda
from limio_async.emulator.areas.catalog import Catalog, Spot
from limio_async.emulator.data.templates import bare
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.messages import Call, Handler, reply
from limio_async.emulator.payload import Data, as_list, as_object, json_object
from limio_async.emulator.settings import Settings

__all__ = ["CatalogAdmin"]

_TREE = "/limio/catalogs/1/tree/"
_SHELVES = {
    "offers": "offers",
    "offers2": "offers",
    "products": "products",
    "add_ons": "add_ons",
    "segments": "segments",
    "assets": "assets",
    "pages": "pages",
    "pages2": "pages",
    "discounts": "discounts",
}
"""The shelf that holds what stands below a folder of the root."""
_RECORD_TYPES = {"products": "product", "add_ons": "add_on", "pages": "page", "discounts": "discount"}


class _Failed(Exception):
    """Why a job came to nothing."""


class CatalogAdmin:
    """The catalog as its editors see it, and the queue of their jobs."""

    name = "catalog admin"

    def __init__(self, settings: Settings, catalog: Catalog, agenda: Agenda) -> None:
        self._settings = settings
        self._catalog = catalog
        self._agenda = agenda
        self._jobs: dict[str, Data] = {}
        agenda.on("catalog job", self._run)
        self.operations: Mapping[str, Handler] = {
            "bulkUpdateCatalogItems": self._bulk_update,
            "createJob": self._create_job,
            "getJob": self._get_job,
            "getCatalogItem": self._get_item,
            "deleteCatalogItem": self._delete_item,
        }

    def snapshot(self) -> Data:
        """The jobs, fit for JSON."""
        return {"jobs": {number: dict(job) for number, job in self._jobs.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the jobs of *state* and no others."""
        self._jobs = {number: dict(job) for number, job in state["jobs"].items()}

    def _bulk_update(self, call: Call) -> Response:
        """All that can be changed is changed in one build of the index; if that is nothing, nothing is found."""
        diffs = [as_object(diff) for diff in as_list(json_object(call).get("diffs"))]
        failed = [refusal for diff in diffs if (refusal := self._refusal(diff)) is not None]
        if diffs and len(failed) == len(diffs) and all(one["error"] == "Not found" for one in failed):
            return _not_found()
        if len(failed) < len(diffs):
            self._catalog.change(self._changed(diffs).items())
        return reply({"success": "true", "failed": failed})

    def _refusal(self, diff: Data) -> Data | None:
        """What is wrong with a diff, in the form that `failed` has it here; its true form is not documented."""
        path = diff.get("path")
        if not isinstance(path, str) or self._catalog.locate(path) is None:
            return {"path": path, "error": "Not found"}
        content = as_object(diff.get("diff"))
        if not isinstance(diff.get("diff"), dict) or not isinstance(content.get("attributes", {}), dict):
            return {"path": path, "error": "diff.attributes must be an object"}
        if not content:
            return {"path": path, "error": "diff changes nothing"}
        for name, value in content.items():
            if name in _FIXED:
                return {"path": path, "error": f"diff.{name} cannot be changed"}
            if name in _LISTS and not isinstance(value, list):
                return {"path": path, "error": f"diff.{name} must be a list"}
        return None

    def _changed(self, diffs: list[Data]) -> dict[Spot, Data]:
        """The items as they shall be; several diffs of one add up."""
        changed: dict[Spot, Data] = {}
        for diff in diffs:
            spot = None if self._refusal(diff) else self._catalog.locate(diff["path"])
            if spot is not None:
                item = changed.get(spot) or self._catalog.whole(spot)
                changed[spot] = self._with(item, diff["diff"])
        return changed

    def _with(self, item: Data, content: Data) -> Data:
        """*item* with what a diff holds: attributes are added, whatever else is put in place of what was there."""
        data = as_object(item.get("data"))
        merged = as_object(data.get("attributes")) | as_object(content.get("attributes"))
        return self._marked({**item, "data": {**data, **content, "attributes": merged}})

    def _marked(self, item: Data) -> Data:
        """*item* with a new version, and with new times in the places where it had some.

        What told no time gets the outer ones where the envelope is the documented one, and none where it is bare.
        """
        marks = self._marks(item["path"])
        data: Data = item["data"]
        outer = {name: marks[name] for name in _TIMES if name in item}
        inner = {name: marks[name] for name in _TIMES if name in data}
        if not outer and not inner and self._settings.envelope == "documented":
            outer = marks
        return {**item, "version": marks["version"], **outer, "data": {**data, **inner}}

    def _marks(self, path: str) -> Data:
        """What every change of an item sets."""
        now = datetime.fromtimestamp(self._settings.now(), UTC)
        version = fingerprint(self._settings.seed, "version", self._catalog.commit_id, path, length=40)
        stamp = f"{now.isoformat(timespec='milliseconds')[:-6]}Z"
        return {"modified": now.isoformat(timespec="seconds"), "version": version, "version_date": stamp}

    def _get_item(self, call: Call) -> Response:
        spot = self._named(call)
        if spot is None:
            return _not_found()
        item = self._catalog.whole(spot)
        path = item["path"]
        shown = {"type": "item", "name": path.rpartition("/")[2], "parent_path": path.rpartition("/")[0]}
        shown |= {name: item[name] for name in _SHOWN if name in item}
        header = {"commitId": self._catalog.commit_id}
        return reply({"header": header, "item": {**shown, "data": item.get("data", {}), "tree": []}})

    def _delete_item(self, call: Call) -> Response:
        spot = self._named(call)
        if spot is None:
            return _not_found()
        self._catalog.change([(spot, None)])
        return reply({})

    def _named(self, call: Call) -> Spot | None:
        return self._catalog.locate(f"/{call.path['path'].removeprefix('/')}")

    def _create_job(self, call: Call) -> Response:
        """Whatever is queued is accepted; what is wrong with it shows when it runs."""
        body = json_object(call)
        number = str(1001 + len(self._jobs))
        self._jobs[number] = {"request": body, "state": "active"}
        self._agenda.later(self._settings.job_seconds, "catalog job", number=number)
        return reply({"id": number})

    def _get_job(self, call: Call) -> Response:
        number = call.path["job_id"]
        if number not in self._jobs:
            return _not_found()
        job = self._jobs[number]
        return reply({"id": number} | {name: job[name] for name in ("state", "failedReason") if name in job})

    def _run(self, number: str) -> None:
        job = self._jobs[number]
        try:
            self._do(job["request"])
        except _Failed as failed:
            job |= {"state": "failed", "failedReason": str(failed)}
        else:
            job["state"] = "completed"

    def _do(self, request: Data) -> None:
        match request:
            case {"jobType": "creation", "updatePath": str(path), "itemData": dict()}:
                self._create_item(path, as_object(request["itemData"]))
            case {"jobType": "creation"}:
                raise _Failed("A creation needs updatePath and itemData")
            case {"jobType": "indexer", "indexerType": "published_items" | "catalog"}:
                self._catalog.rebuild_index()
            case {"jobType": "indexer"}:
                raise _Failed(f"Unknown indexerType: {request.get('indexerType')}")
            case _:
                raise _Failed(f"Unknown jobType: {request.get('jobType')}")

    def _create_item(self, update_path: str, given: Data) -> None:
        if not update_path.startswith(_TREE):
            raise _Failed(f"updatePath must start with {_TREE}")
        parent = f"/{unquote(update_path.removeprefix(_TREE)).strip('/')}"
        shelf = _shelf(parent, given)
        for fault in _faults(given):
            raise _Failed(fault)
        path = f"{parent}/{given['name']}"
        if self._catalog.locate(path) is not None:
            raise _Failed(f"There is an item at {path} already")
        item, status = self._new_item(shelf, parent, path, given), str(given.get("status", "draft"))
        if self._settings.envelope == "live":
            item = bare(item, _INSIDE)
        self._catalog.change([(Spot(shelf), item)], status=status)

    def _new_item(self, shelf: str, parent: str, path: str, given: Data) -> Data:
        marks = self._marks(path)
        data: Data = {"attributes": {}, **as_object(given.get("data"))}
        return {
            "id": fingerprint(self._settings.seed, "item", self._catalog.commit_id, path, length=40),
            "record_type": _RECORD_TYPES.get(shelf, shelf.removesuffix("s")),
            "created": marks["modified"],
            "status": "draft",
            **{name: given[name] for name in _TAKEN if isinstance(given.get(name), str)},
            **marks,
            "name": given["name"],
            "path": path,
            "parent_path": parent,
            "type": "item",
            "service": "limio",
            "mode": "production",
            "data": data,
        }


_FIXED = frozenset({
    "id", "path", "name", "parent_path", "type", "version", "data", "record_type", "created", "modified", "version_date",
})  # fmt: skip
_TIMES = ("modified", "version_date")
_INSIDE = ("created", "modified", "version_date", "record_type", "baseTemplate", "duplicatedFrom", "user")
_SHOWN = ("type", "name", "path", "parent_path", "id", "version", "record_type")
_TAKEN = ("record_type", "status", "baseTemplate", "duplicatedFrom", "user")
_LISTS = ("tags", "products", "price", "price__limio", "productBundles", "segments", "entitlements", "assets")


def _shelf(parent: str, given: Data) -> str:
    root = parent.split("/")[1]
    if root not in _SHELVES:
        raise _Failed(f"There is no folder {parent}")
    return "campaigns" if given.get("record_type") == "campaign" else _SHELVES[root]


def _faults(given: Data) -> Iterator[str]:
    """What is wrong with the data of a new item."""
    name, data = given.get("name"), as_object(given.get("data", {}))
    if not isinstance(name, str) or not name or "/" in name:
        yield "itemData.name must be a name without a slash"
    if not isinstance(given.get("data", {}), dict) or not isinstance(data.get("attributes", {}), dict):
        yield "itemData.data and its attributes must be objects"
    if wrong := [key for key in _LISTS if not isinstance(data.get(key, []), list)]:
        yield f"itemData.data.{wrong[0]} must be a list"


def _not_found() -> Response:
    return reply({"error": {"message": "Not found", "code": "NOTFOUND"}}, 404)
