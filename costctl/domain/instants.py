"""Instants as whole microseconds since 1970 in UTC: what is done a hundred thousand times is done with integers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds_of(instant: datetime) -> int:
    """Return the microseconds from 1970 to `instant`, which has a time zone."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(microseconds: int) -> datetime:
    """Return the instant so many microseconds after 1970, in UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def length_of(microseconds: int) -> timedelta:
    """Return a length of so many microseconds."""
    return microseconds * _MICROSECOND
