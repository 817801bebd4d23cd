"""Durations and moments, as they are typed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

__all__ = ["Duration", "Moment"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:\d+[smhd])+")


class Duration(click.ParamType[timedelta]):
    """A number of seconds, minutes, hours or days: 90s, 15m, 1h30m, 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return what was typed as a `timedelta`."""
        if isinstance(value, timedelta):
            return value
        if not _DURATION.fullmatch(str(value)):
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 1h30m or 2d", param, ctx)
        parts = re.findall(r"(\d+)([smhd])", str(value))
        try:
            return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class Moment(click.ParamType[datetime]):
    """A date, a date and time, or a duration before now."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return what was typed as a time with a zone."""
        from limio_async.envelope import moment
        from limio_async.sync_jobs.times import earlier

        if isinstance(value, datetime):
            return value
        if _DURATION.fullmatch(str(value)):
            return earlier(datetime.now(UTC), Duration().convert(value, param, ctx))
        found = moment(str(value))
        if found is None:
            self.fail(f"{value!r} is neither a date such as 2026-01-31 nor a duration such as 7d", param, ctx)
        if found > datetime.now(UTC):
            self.fail(f"{value!r} is still to come", param, ctx)
        return found
