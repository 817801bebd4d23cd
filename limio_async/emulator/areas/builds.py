"""Builds of the shop and of its components, and what of them is published. Builds take the world's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limio_async.core.wire import Response
from limio_async.emulator.areas.catalog import Catalog
from limio_async.emulator.data.records import instant
from limio_async.emulator.ids import fingerprint, uuid
from limio_async.emulator.messages import Call, Handler, Refused, reply
from limio_async.emulator.payload import Data, is_list, json_object
from limio_async.emulator.settings import Settings

__all__ = ["Builds"]

_FIRST_NUMBER = 24
_KNOWN = [
    f"/tags/{place}/{name}"
    for place in ("uk", "us", "de", "ax")
    for name in ("default", "spring", "students", "checkout")
]


class Builds:
    """The builds of a tenant, and the routes that its page builder published once."""

    name = "builds"

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._shop: dict[str, Data] = {}
        self._routes: dict[str, None] = {_route(tag): None for tag in _KNOWN}
        self._components: list[Data] = []
        begin = settings.now() - 3 * settings.build_seconds
        self._add_component(
            fingerprint(settings.seed, "component", 0, length=40), begin, ["Module not found"]
        )
        self._add_component(fingerprint(settings.seed, "component", 1, length=40), begin + 60)
        self.operations: Mapping[str, Handler] = {
            "buildShop": self._build_shop,
            "getComponentBuilds": self._get_components,
            "publishPages": self._publish,
        }

    def start_component_build(
        self, commit_id: str, *, log_errors: Sequence[str] = (), fails: bool = False
    ) -> str:
        """Build the components of a commit, as a push to their repository does; the build's id."""
        return self._add_component(commit_id, self._settings.now(), log_errors, fails=fails)

    def open_route(self, tag: str) -> None:
        """Publish the route of *tag* for the first time, as the page builder does."""
        self._routes[_route(tag)] = None

    def load_component_builds(self, builds: Sequence[Mapping[str, Any]]) -> None:
        """Have these builds of components, oldest first, and no others."""
        self._components = [{"as_is": dict(build)} for build in builds]

    def snapshot(self) -> Data:
        """The builds and routes, fit for JSON."""
        return {"shop": self._shop, "components": self._components, "routes": list(self._routes)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the builds and routes of *state*."""
        self._shop, self._components = dict(state["shop"]), list(state["components"])
        self._routes = dict.fromkeys(state["routes"])

    def _build_shop(self, call: Call) -> Response:
        items = _texts(json_object(call, status=502), "items")
        number = len(self._shop)
        digest = fingerprint(self._settings.seed, "shop build", number, length=32)
        own = f"build-{self._settings.tenant}-shop:{uuid(digest)}"
        self._shop[own] = {"items": items, "at": self._settings.now(), "commit": self._catalog.commit_id}
        return reply({"buildPaths": items, "id": own, "success": True})

    def _get_components(self, call: Call) -> Response:
        """One build for a commit, all of them without one; newest first."""
        wanted = call.query.get("commitHash")
        shown = [self._shown(build) for build in reversed(self._components)]
        if wanted is not None:
            shown = [build for build in shown if build.get("commitId") == wanted]
        if not shown:
            raise Refused(404, "No component builds")
        return reply(shown[0] if wanted is not None or len(shown) == 1 else shown)

    def _publish(self, call: Call) -> Response:
        """Success means accepted: what did not go live is left out with an empty prefix."""
        body = json_object(call, status=502)
        tags = _texts(body, "tags")
        if not isinstance(body.get("buildId"), str) or not isinstance(body.get("name"), str):
            raise Refused(502, "buildId and name are required")
        build = self._shop.get(body["buildId"])
        published: Data = {}
        left_out: Data = {}
        for route in map(_route, tags):
            live = build is not None and self._is_over(build) and route in self._routes
            pages = self._pages(build or {"items": [body["name"]]}, live=live)
            (published if live else left_out)[route] = pages
        return reply(
            {
                "success": True,
                "publishedData": {"pages": published},
                "ommitedWithError": {"pages": left_out},
            }
        )

    def _pages(self, build: Data, *, live: bool) -> list[Data]:
        prefix = f"/__v/{build['commit']}_{int(build['at'] * 1000)}" if live else ""
        return [
            {"path": path, "isDefault": place == 0, "pathPrefix": prefix}
            for place, path in enumerate(build["items"])
        ]

    def _add_component(
        self, commit_id: str, at: float, log_errors: Sequence[str] = (), *, fails: bool = False
    ) -> str:
        number = _FIRST_NUMBER + len(self._components)
        digest = fingerprint(self._settings.seed, "component build", number, length=32)
        own = f"{self._settings.tenant}-component-builder-2:{uuid(digest)}"
        errors = list(log_errors)
        self._components.append(
            {"id": own, "number": number, "commit": commit_id, "at": at, "errors": errors, "fails": fails}
        )
        return own

    def _shown(self, build: Data) -> Data:
        if "as_is" in build:
            whole: Data = build["as_is"]
            return whole
        over = self._is_over(build)
        status = ("FAILED" if build["fails"] else "SUCCEEDED") if over else "IN_PROGRESS"
        ended = {"endTime": instant(build["at"] + self._settings.build_seconds)} if over else {}
        return {
            "id": build["id"],
            "buildNumber": str(build["number"]),
            "commitId": build["commit"],
            "startTime": instant(build["at"]),
            **ended,
            "buildStatus": status,
            "buildComplete": over,
            "logErrors": build["errors"] if over else [],
        }

    def _is_over(self, build: Data) -> bool:
        return bool(build["at"] + self._settings.build_seconds <= self._settings.now())


def _route(tag: str) -> str:
    """Where the pages of a tag are shown."""
    return f"/{tag.removeprefix('/tags').strip('/')}/"


def _texts(body: Data, name: str) -> list[str]:
    """A list of texts, or of lists of them: the documents have both."""
    given = body.get(name)
    parts = given if is_list(given) else [None]
    flat = [text for part in parts for text in (part if is_list(part) else [part])]
    texts = [text for text in flat if isinstance(text, str)]
    if len(texts) < len(flat):
        raise Refused(502, f"{name} must be a list of paths")
    return texts
