"""Offers into DuckDB by dlt's own source for REST APIs: `python -m benchmarks.peers.dlt_generic URL DIRECTORY PAGE_SIZE`.

Merged by id, as ours are, and without tables for what is nested, which would cost it several times as much.
"""

from __future__ import annotations

import sys
from typing import Any

from dlt.sources.helpers.rest_client.paginators import BasePaginator
from dlt.sources.rest_api import rest_api_source

from benchmarks.peers.asked import KEY, OFFERS, following, query
from benchmarks.peers.dlt_pipeline import load


class Cursors(BasePaginator):
    """Limio's: a list has a next page until one is empty."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[str, str] = {}

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        self._has_next_page = bool(data)
        if data:
            self._next = following(response.json()["queryMore"])

    def update_request(self, request: Any) -> None:
        request.params = {**request.params, **self._next}


def offers(url: str, page_size: int) -> Any:
    resource: Any = {
        "name": "offers",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {"path": OFFERS.lstrip("/"), "params": query(page_size), "data_selector": "items"},
    }
    source = rest_api_source(
        {
            "client": {"base_url": f"{url}/api/", "headers": KEY, "paginator": Cursors()},
            "resources": [resource],
        }
    )
    source.max_table_nesting = 0
    return source


if __name__ == "__main__":
    load(offers(sys.argv[1], int(sys.argv[3])), sys.argv[2])
