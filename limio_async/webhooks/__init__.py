"""What Limio's webhooks tell.

types.py  what a body is, whom it concerns, whether two are equal; `Event`
"""

from __future__ import annotations

from limio_async.webhooks.types import Event

__all__ = ["Event"]
