"""The daemon's account of time: wall-clock instants that never step, built on the monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Instants as `anchor` plus what the monotonic clock has counted since `anchored_at_s`.

    A wall clock that is set back or forth while the daemon runs changes nothing in the ledger.
    """

    anchor: datetime
    anchored_at_s: float

    def instant(self, monotonic_s: float) -> datetime:
        """Return the instant of a monotonic second; never before the anchor."""
        return self.anchor + timedelta(seconds=max(0.0, monotonic_s - self.anchored_at_s))

    def lag_s(self, *, now: datetime, monotonic_s: float) -> float:
        """Return by how many seconds the wall clock has run ahead of this timeline."""
        return (now - self.instant(monotonic_s)).total_seconds()
