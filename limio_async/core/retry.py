"""Deciding whether to send again, and how long to wait. The only importer of backoff."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice

import backoff

from limio_async.core.wire import Response, Retry
from limio_async.errors import AnswerLost, NeverSent, TransportError

__all__ = [
    "LATE",
    "THROTTLED",
    "RetryQuota",
    "may_resend",
    "retry_after",
    "wait_before_next",
    "wait_before_resend",
]

THROTTLED = frozenset({408, 425, 429})
"""Not executed, and may be later: it came too slowly, too early, or with too many others."""
LATE = frozenset({504, 520, 521, 522, 523, 524, 529, 530})
"""No answer from behind a gateway; from 520 on as Cloudflare and others say it."""

_BASE = 0.25
_BASE_THROTTLED = 1.0
_LONGEST = 20.0
_NUMBER = re.compile(r"[0-9]{1,13}(?:\.[0-9]*)?|\.[0-9]+")  # str.isdigit() would take "²" for one
_ONE_OF_SEVERAL = re.compile(
    r"(?:[A-Za-z]+,(?=\s*[0-9]+[\s-][A-Za-z]))?[^,]+"
)  # a date may have a comma in it
_LONGEST_CREDIBLE = 1e10


def may_resend(outcome: Response | TransportError, retry: Retry) -> bool:
    """Whether sending the same request again is safe and may help; 401 is the business of another rung."""
    match outcome:
        case NeverSent():
            return True
        case Response(status=status) if status in THROTTLED:
            return retry != "once"  # an upstream may have passed it on after it began
        case Response(status=status) if status in LATE or status in {500, 502, 503}:
            return retry in {"safe", "idempotent"}
        case AnswerLost():
            return retry in {"safe", "idempotent"}
        case _:
            return False


def wait_before_resend(
    resends: int, outcome: Response | TransportError, jitter: Callable[[float], float] = backoff.full_jitter
) -> float:
    """Seconds to wait before resend number *resends* (1 is the first): full jitter over a doubling ceiling.

    What the server asks for in `Retry-After` is a floor: jitter only adds to it.
    """
    throttled = isinstance(outcome, Response) and outcome.status in THROTTLED
    ceilings = backoff.expo(base=2, factor=_BASE_THROTTLED if throttled else _BASE, max_value=_LONGEST)
    ceiling = next(islice(ceilings, resends, None))  # backoff's generators open with an empty yield
    wait = jitter(ceiling)
    asked = retry_after(outcome) if isinstance(outcome, Response) else None
    return wait if asked is None else asked + wait * 0.1


def wait_before_next(
    failures: int, every: float, jitter: Callable[[float], float] = backoff.full_jitter
) -> float:
    """Seconds between rounds of work that is done every *every* seconds and has failed *failures* times in a row.

    Never more than *every*: after failures half to all of a ceiling that doubles from a second, else a tenth less at most.
    """
    if not failures:
        return 0.9 * every + jitter(0.1 * every)
    ceilings = backoff.expo(base=2, factor=1.0, max_value=every)
    half = min(every, next(islice(ceilings, min(failures, 64), None))) / 2
    return half + jitter(half)


class RetryQuota:
    """What a client may spend on sending again, so that an outage is not made worse (the bucket of botocore).

    A resend costs 14, after throttling 5. One that helps gives its cost back, a call that needed none adds 1.
    """

    capacity = 500

    def __init__(self) -> None:
        self.left = self.capacity

    def spend(self, outcome: Response | TransportError) -> int:
        """The cost of one more resend, now spent; 0 if there is not enough left."""
        throttled = isinstance(outcome, Response) and outcome.status in THROTTLED
        cost = 5 if throttled else 14
        if cost > self.left:
            return 0
        self.left -= cost
        return cost

    def repay(self, cost: int) -> None:
        """A call succeeded; *cost* is what its last resend cost, 0 if it needed none."""
        self.left = min(self.capacity, self.left + (cost or 1))


def retry_after(response: Response) -> float | None:
    """Seconds that `Retry-After` or `Retry-After-Ms` asks to wait; None if absent or garbage, 0 if its date is past.

    A fraction is rounded up, and the longest of several counts. A date is read against the answer's own `Date`, so that
    a wrong clock on either side does no harm (RFC 9110, section 10.2.3), without one against the clock of this machine.
    """
    return max(_asked(response), default=None)


def _asked(response: Response) -> Iterator[float]:
    for one in _ONE_OF_SEVERAL.findall(response.headers.get("retry-after", "")):
        if (seconds := _number(one)) is not None:
            yield float(math.ceil(seconds))
        elif (then := _moment(one)) is not None:
            now = _moment(response.headers.get("date", ""))
            yield max(0.0, then - (time.time() if now is None else now))
    for one in response.headers.get("retry-after-ms", "").split(","):
        if (milliseconds := _number(one)) is not None:
            yield milliseconds / 1000


def _number(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text := text.strip()) else math.inf
    return number if number < _LONGEST_CREDIBLE else None


def _moment(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
