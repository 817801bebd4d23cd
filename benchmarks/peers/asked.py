"""What all contenders ask the server for. Only the standard library."""

from __future__ import annotations

from collections.abc import Mapping

OFFERS = "/offers"
SUBSCRIPTION = "/objects/limio/subscriptions/small"
KEY = {"Authorization": "k"}
BEARER = {"Authorization": "Bearer t"}


def query(page_size: int, after: Mapping[str, str] | None = None) -> dict[str, str]:
    """For the page *after* which another page's `queryMore` points, or for the first one."""
    asked = {"opt.all": "true", "opt.pageSize": str(page_size)}
    return asked | following(after) if after else asked


def following(cursor: Mapping[str, str]) -> dict[str, str]:
    """The part that changes from page to page."""
    return {"opt.queryMoreFrom": cursor["from"], "opt.queryMoreAlias": cursor["alias"]}
