"""When an item or object was changed."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import msgspec

from limio_async.envelope import changed_at

__all__ = ["RecordBehaviour"]


class RecordBehaviour:
    """What every catalog item and stored object can tell."""

    __slots__ = ()

    @property
    def changed_at(self) -> datetime | None:
        """When it was changed last by its own account, in UTC; None where it tells nothing.

        `updated`, `modified` and `version_date` are looked for, here and in `data`: live tenants answer catalog items
        with their times in `data`. `created` says when it came, and does not count.
        """
        return changed_at(cast("msgspec.Struct", self))
