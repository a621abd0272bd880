"""What the ledger knows of earlier work on a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costctl.domain.money import format_amount
from costctl.wiring import load_zone, read_ledger
from costctl.wiring.billing import load_billing

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from costctl.domain.sessions import Session
    from costctl.ledger.values import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """The work on a batch in one session; its cost is that of the machine in this time, None if it has no price."""

    batch: Batch
    cost_micros: int | None
    currency: str | None
    zone: ZoneInfo

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        batch = self.batch
        return {
            "name": batch.name,
            "session": batch.session_id,
            "started_at": batch.started_at.astimezone(self.zone).isoformat(),
            "ended_at": batch.ended_at and batch.ended_at.astimezone(self.zone).isoformat(),
            "requests": batch.requests,
            "failed_requests": batch.failed_requests,
            "prompt_tokens": batch.prompt_tokens,
            "generation_tokens": batch.generation_tokens,
            "cost": None if self.cost_micros is None else format_amount(self.cost_micros),
            "currency": self.currency,
            "outcome": batch.outcome,
        }

    def cells(self, *, is_under_way: bool = False) -> list[str]:
        """Return it for a person; of one that was neither ended nor is under way nobody knows."""
        batch = self.batch
        cost = (
            "unknown" if self.cost_micros is None else f"{format_amount(self.cost_micros, decimals=4)} {self.currency}"
        )
        return [
            batch.name,
            f"{batch.started_at.astimezone(self.zone):%Y-%m-%d %H:%M}",
            "" if batch.ended_at is None else f"{batch.ended_at.astimezone(self.zone):%H:%M}",
            batch.outcome or ("runs" if is_under_way else "unknown"),
            f"{batch.requests:,}",
            f"{batch.failed_requests:,}",
            f"{batch.prompt_tokens:,}",
            f"{batch.generation_tokens:,}",
            cost,
        ]


def read_history(name: str | None = None, *, last: int | None = None) -> list[Stretch]:
    """Return the `last` work on the batch `name`, or on any, the oldest first. Raises LedgerError."""
    zone, billing = load_zone(), load_billing()
    with read_ledger() as ledger:
        found = ledger.newest_batches(name, last=last)
        sessions = ledger.sessions_numbered(batch.session_id for batch in found)
    return [_stretch(batch, billing.apply(sessions[batch.session_id]), zone) for batch in found]


def _stretch(batch: Batch, session: Session, zone: ZoneInfo) -> Stretch:
    cost = session.cost(batch.started_at, max(batch.started_at, batch.ended_at or session.known_until))
    return Stretch(batch=batch, cost_micros=cost, currency=session.price.currency if session.price else None, zone=zone)
