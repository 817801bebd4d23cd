"""What may be sent again, and how long the wait is."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async.core.retry import RetryQuota, may_resend, retry_after, wait_before_resend
from limio_async.core.wire import Response, Retry
from limio_async.errors import AnswerLost, DeadlineExceeded, NeverSent, TransportError
from tests.unit.helpers import answer

NEVER, LOST = NeverSent("no"), AnswerLost("gone")
EVERY: tuple[Retry, ...] = ("safe", "scroll", "idempotent", "once")


@pytest.mark.parametrize(
    ("outcome", "classes"),
    [
        (NEVER, {"safe", "scroll", "idempotent", "once"}),
        (LOST, {"safe", "idempotent"}),
        (DeadlineExceeded("late"), set()),
        *((answer(status=one), {"safe", "scroll", "idempotent"}) for one in (408, 425, 429)),
        *((answer(status=one), {"safe", "idempotent"}) for one in (500, 502, 503, 504)),
        *((answer(status=one), {"safe", "idempotent"}) for one in (520, 521, 522, 523, 524, 529, 530)),
        *((answer(status=one), set()) for one in (501, 505, 507, 519, 525, 527, 599)),
        (answer(status=200), set()),
        (answer(status=400), set()),
        (answer(status=401), set()),
        (answer(status=404), set()),
        (answer(status=409), set()),
    ],
)
def test_which_classes_are_sent_again(outcome: Response | TransportError, classes: set[Retry]) -> None:
    assert {retry for retry in EVERY if may_resend(outcome, retry)} == classes


def longest(value: float) -> float:
    return value


def test_waits_double_up_to_a_ceiling_and_start_higher_after_429() -> None:
    lost = [wait_before_resend(n, LOST, longest) for n in range(1, 10)]
    throttled = [wait_before_resend(n, answer(status=429), longest) for n in range(1, 7)]
    assert lost == [0.25, 0.5, 1, 2, 4, 8, 16, 20, 20]
    assert throttled == [1, 2, 4, 8, 16, 20]


def test_jitter_is_full() -> None:
    waits = [wait_before_resend(3, LOST) for _ in range(300)]
    assert min(waits) < 0.2 < 0.8 < max(waits) <= 1


@pytest.mark.parametrize(
    ("resends", "status", "jitter", "wait"),
    [(1, 429, longest, 7.1), (3, 429, longest, 7.4), (3, 503, longest, 7.1), (3, 429, lambda _: 0.0, 7.0)],
)
def test_jitter_of_a_tenth_is_added_to_what_the_server_asks_for(
    resends: int, status: int, jitter: Any, wait: float
) -> None:
    asked = answer(status=status, headers={"retry-after": "7"})
    assert wait_before_resend(resends, asked, jitter) == pytest.approx(wait)


def test_calls_that_are_asked_to_wait_do_not_come_back_together() -> None:
    asked = answer(status=429, headers={"retry-after": "7"})
    waits = [wait_before_resend(1, asked) for _ in range(100)]
    assert 7 <= min(waits) < 7.05 < max(waits) <= 7.1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 2 "}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "1.5"}, 2.0),
        ({"retry-after": "2.0"}, 2.0),
        ({"retry-after": "2."}, 2.0),
        ({"retry-after": ".001"}, 1.0),
        ({"retry-after": "1.5.2"}, None),
        ({"retry-after": "-0.5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "81,120"}, 120.0),
        ({"retry-after": "120, 81"}, 120.0),
        ({"retry-after": "soon, 4.2,, -9"}, 5.0),
        ({"retry-after": "9" * 400 + ", 3"}, 3.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "2500.5", "retry-after": "1"}, 2.5005),
        ({"retry-after-ms": "20", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "9" * 400}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2015 09:28:10 +0200", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 10.0),
        ({"retry-after": "Thu, 31 Feb 2026 10:00:00 GMT", "date": "Thu, 26 Feb 2026 10:00:00 GMT"}, None),
        (
            {
                "retry-after": "2, Wed, 21 Oct 2015 07:28:10 GMT, Wed, 21 Oct 2015 07:28:30 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Wed Oct 21 07:28:10 2015", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 10.0),
        ({"retry-after": "Wednesday, 21-Oct-15 07:28:10 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 10.0),
        (
            {"retry-after": "Thu, 26 Feb 99999999999 10:00:00 GMT", "date": "Thu, 26 Feb 2026 10:00:00 GMT"},
            None,
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(answer(status=429, headers=headers)) == seconds


@pytest.mark.parametrize("date", [None, "Thu, 31 Feb 2026 10:00:00 GMT", "now"])
def test_a_date_is_read_against_our_own_clock_where_the_answer_has_none(date: str | None) -> None:
    then = formatdate(time.time() + 40, usegmt=True)
    headers = {"retry-after": then} if date is None else {"retry-after": then, "date": date}
    seconds: Any = retry_after(answer(status=429, headers=headers))
    assert 38 < seconds <= 40


@given(st.text(), st.text())
def test_no_header_breaks_the_parser(value: str, date: str) -> None:
    seconds: Any = retry_after(answer(status=429, headers={"retry-after": value, "date": date}))
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(("outcome", "resends"), [(answer(status=429), 100), (LOST, 35), (NEVER, 35)])
def test_the_quota_is_spent_to_the_last(outcome: Response | TransportError, resends: int) -> None:
    quota = RetryQuota()
    assert all(quota.spend(outcome) for _ in range(resends))
    assert quota.spend(outcome) == 0
    quota.repay(14)
    assert quota.spend(outcome) > 0
