"""Deciding whether to send again, and how long to wait. The only importer of backoff."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice

import backoff

from limio_async.core.wire import Response, Retry
from limio_async.errors import AnswerLost, NeverSent, TransportError

__all__ = ["RetryQuota", "may_resend", "retry_after", "wait_before_resend"]

_BASE = 0.25
_BASE_THROTTLED = 1.0
_LONGEST = 20.0
_SECONDS = re.compile(r"[0-9]{1,10}")  # str.isdigit() would take "²" for a number


def may_resend(outcome: Response | TransportError, retry: Retry) -> bool:
    """Whether sending the same request again is safe and may help; 401 is the business of another rung."""
    match outcome:
        case NeverSent():
            return True
        case Response(status=429):
            return retry != "once"  # an upstream may have passed it on after it began
        case Response(status=500 | 502 | 503 | 504) | AnswerLost():
            return retry in {"safe", "idempotent"}
        case _:
            return False


def wait_before_resend(
    resends: int, outcome: Response | TransportError, jitter: Callable[[float], float] = backoff.full_jitter
) -> float:
    """Seconds to wait before resend number *resends* (1 is the first): full jitter over a doubling ceiling.

    What the server asks for in `Retry-After` is a floor: jitter only adds to it.
    """
    throttled = isinstance(outcome, Response) and outcome.status == 429
    ceilings = backoff.expo(base=2, factor=_BASE_THROTTLED if throttled else _BASE, max_value=_LONGEST)
    ceiling = next(islice(ceilings, resends, None))  # backoff's generators open with an empty yield
    wait = jitter(ceiling)
    asked = retry_after(outcome) if isinstance(outcome, Response) else None
    return wait if asked is None else asked + wait * 0.1


class RetryQuota:
    """What a client may spend on sending again, so that an outage is not made worse (the bucket of botocore).

    A resend costs 14, after throttling 5. One that helps gives its cost back, a call that needed none adds 1.
    """

    capacity = 500

    def __init__(self) -> None:
        self._left = self.capacity

    def spend(self, outcome: Response | TransportError) -> int:
        """The cost of one more resend, now spent; 0 if there is not enough left."""
        throttled = isinstance(outcome, Response) and outcome.status == 429
        cost = 5 if throttled else 14
        if cost > self._left:
            return 0
        self._left -= cost
        return cost

    def repay(self, cost: int) -> None:
        """A call succeeded; *cost* is what its last resend cost, 0 if it needed none."""
        self._left = min(self.capacity, self._left + (cost or 1))


def retry_after(response: Response) -> float | None:
    """Seconds that `Retry-After` asks to wait; None if it is absent or garbage, 0 if its date is past.

    A date is read against the answer's own `Date`, so that a wrong clock on either side does no harm
    (RFC 9110, section 10.2.3).
    """
    value = response.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    then, now = _moment(value), _moment(response.headers.get("date", ""))
    return None if then is None or now is None else max(0.0, then - now)


def _moment(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
