"""Which state of the catalog is there."""

from __future__ import annotations

from typing import Unpack

import msgspec

from limio_async.core.listing.head import commit_id_of
from limio_async.core.session import CallOptions, Resource
from limio_async.core.wire import Endpoint, Param

__all__ = ["CatalogBehaviour"]


class CatalogBehaviour(Resource):
    """What `limio.catalog` does that is no operation."""

    async def commit_id(self, **options: Unpack[CallOptions]) -> str | None:
        """Return the commit of the catalog that lists are made of now; None where the answer names none.

        It changes when the catalog is rebuilt: 40 hex digits, or an epoch in milliseconds as text. It asks for
        one offer without `opt.all`, so the server opens no scroll. Raises what any call raises.
        """
        offers = self._session.list_endpoint("listOffers")
        one = Endpoint[dict[str, msgspec.Raw]](
            operation=offers.operation,
            resource=offers.resource,
            name=offers.name,
            method=offers.method,
            path=offers.path,
            returns=dict[str, msgspec.Raw],
            auth=offers.auth,
            params=(Param(name="size", wire=offers.paging.page_size or "", place="query", kind="integer"),),
        )
        answer = await self._session.call(one, {"size": 1}, **options)
        return commit_id_of(offers.operation, offers.paging, answer)
