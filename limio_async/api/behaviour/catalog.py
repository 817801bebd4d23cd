"""Which state of the catalog is there."""

from __future__ import annotations

from typing import Unpack

import msgspec

from limio_async.core.session import CallOptions, Resource
from limio_async.errors import LimioError

__all__ = ["CatalogBehaviour"]


class CatalogBehaviour(Resource):
    """What `limio.catalog` does that is no operation."""

    async def commit_id(self, **options: Unpack[CallOptions]) -> str | None:
        """Return the commit of the catalog that lists are made of now; None where the answer names none.

        It changes when the catalog is rebuilt: 40 hex digits, or an epoch in milliseconds as text. It asks for
        one offer without `opt.all`, so the server opens no scroll. Raises what any call raises.
        """
        offers = self._session.list_endpoint("listOffers")
        page = msgspec.structs.replace(offers, paging=msgspec.structs.replace(offers.paging, always={}))
        trace = options.get("trace")
        try:
            answer = await self._session.list(page, {}, page_size=1, timeout=options.get("timeout")).raw()
        except LimioError as error:
            if trace is not None:
                trace.extend(error.attempts)
            raise
        if trace is not None:
            trace.extend(answer.attempts)
        return answer.commit_id
