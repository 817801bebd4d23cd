"""Which currency a charge is in."""

from __future__ import annotations

from typing import cast

import msgspec

from limio_async.envelope import currency_of

__all__ = ["ChargeBehaviour"]


class ChargeBehaviour:
    """What a charge can tell beside its amount."""

    __slots__ = ()

    @property
    def amount_currency(self) -> str | None:
        """The code of the currency, such as GBP, in whichever field it stands; None where the charge names none."""
        return currency_of(cast("msgspec.Struct", self))
