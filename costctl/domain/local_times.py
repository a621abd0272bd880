"""Times of the local clock as instants, also where clocks skip or repeat them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


def instant_at(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant in UTC at which the local clock shows `wall` first, or where it skips `wall`."""
    local = wall.replace(tzinfo=zone, fold=0)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # Skipped: the offset before the gap puts it behind the gap's end, by as much as it lies behind the gap's begin.
    later, earlier = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert later is not None and earlier is not None  # noqa: S101, PT018 - it has a zone
    return _end_of_gap(instant + (later - earlier), instant, zone)


def _end_of_gap(before: datetime, behind: datetime, zone: ZoneInfo) -> datetime:
    """Return the minute in (before, behind] at which the zone's offset changes."""
    offset = before.astimezone(zone).utcoffset()
    minutes = int((behind - before) / timedelta(minutes=1))
    moments = (before + timedelta(minutes=count) for count in range(1, minutes + 1))
    return next((moment for moment in moments if moment.astimezone(zone).utcoffset() != offset), behind)
