"""What the ledger knows of the sessions of a period, billed as configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.reports.tally import Facts

if TYPE_CHECKING:
    from costctl.domain.periods import Period
    from costctl.ledger.store import Ledger
    from costctl.wiring.billing import Billing


def read_facts(ledger: Ledger, period: Period, billing: Billing) -> Facts:
    """Return all that a report of `period` is made of. Raises LedgerError, BadValueError."""
    since, until = period.started_at, period.ended_at
    return Facts(
        sessions=[billing.apply(session) for session in ledger.sessions(since=since, until=until)],
        runs=ledger.runs_between(since, until),
        usage=ledger.usage_between(since, until),
        cached=ledger.cached_between(since, until),
        batches=ledger.batches_between(since, until),
        gpu_use=ledger.gpu_use_between(since, until),
    )
