"""The ledger beside a provider's invoice: what each side says about each session, and what only one side knows.

A line of the invoice belongs to the sessions whose time it overlaps. If they are several (a line for an hour or a
day), it is split by what the ledger bills each of them in that time; the parts add up to the line exactly. Currencies
are never mixed: a line belongs only to sessions of its own currency, or of unknown price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.domain.money import MICRO, split
from costctl.domain.sessions import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from costctl.domain.sessions import PhaseSpan, Session

_SMALLEST_DRIFT = MICRO // 100
_PERCENT = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceLine:
    """One charge of an invoice. `is_machine` is false for disks, traffic, taxes: what no session is billed for."""

    number: int
    started_at: datetime
    ended_at: datetime
    micros: int
    currency: str
    resource: str = ""
    what: str = ""
    is_machine: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionDrift:
    """One session on both sides, as far as the invoice reaches."""

    session: Session
    ledger_micros: int | None
    invoice_micros: int
    line_count: int
    currency: str | None
    is_cut: bool
    """Whether the session goes beyond the time of the invoice; only the part inside is compared."""

    @property
    def drift_micros(self) -> int | None:
        """How much more the invoice says; None if the ledger knows no price."""
        return None if self.ledger_micros is None else self.invoice_micros - self.ledger_micros

    def agrees(self, tolerance_percent: float) -> bool:
        """Return whether both sides say the same: to the tolerance, or a hundredth of the currency's unit."""
        if self.drift_micros is None or self.ledger_micros is None or not self.line_count:
            return False
        return abs(self.drift_micros) <= max(_SMALLEST_DRIFT, self.ledger_micros * tolerance_percent / _PERCENT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Time in which the daemon was down, so that only the invoice knows what was billed."""

    session: Session
    span: PhaseSpan
    ledger_micros: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrencyDrift:
    """All of one currency."""

    currency: str
    ledger_micros: int
    matched_micros: int
    unmatched_micros: int
    other_micros: int
    """Not machines, so not compared."""

    @property
    def drift_micros(self) -> int:
        """How much more the invoice says for machines."""
        return self.matched_micros + self.unmatched_micros - self.ledger_micros


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciliation:
    """Both sides of the time from the first line's start to the last one's end."""

    started_at: datetime
    ended_at: datetime
    sessions: tuple[SessionDrift, ...]
    only_invoice: tuple[InvoiceLine, ...]
    other: tuple[InvoiceLine, ...]
    gaps: tuple[Gap, ...]
    totals: tuple[CurrencyDrift, ...]

    def agrees(self, tolerance_percent: float) -> bool:
        """Return whether every session agrees and no side knows something that the other does not."""
        return not self.only_invoice and all(row.agrees(tolerance_percent) for row in self.sessions)


def reconcile(sessions: Iterable[Session], lines: Sequence[InvoiceLine]) -> Reconciliation:
    """Compare sessions with the lines of an invoice.

    Raises:
        ValueError: there are no lines.
    """
    begin, end = min(line.started_at for line in lines), max(line.ended_at for line in lines)
    within = [session for session in sessions if session.started_at < end and session.known_until > begin]
    machine = [line for line in lines if line.is_machine]
    parts: dict[int, list[int]] = {session.id: [] for session in within}
    only_invoice = [line for line in machine if not _assign(line, within, parts)]
    rows = tuple(_row(session, parts[session.id], machine, begin, end) for session in within)
    other = tuple(line for line in lines if not line.is_machine)
    return Reconciliation(
        started_at=begin,
        ended_at=end,
        sessions=rows,
        only_invoice=tuple(only_invoice),
        other=other,
        gaps=tuple(_gaps(within, begin, end)),
        totals=tuple(_totals(rows, only_invoice, other)),
    )


def _assign(line: InvoiceLine, sessions: Iterable[Session], parts: Mapping[int, list[int]]) -> bool:
    """Split `line` over the sessions it overlaps; return whether there are any."""
    found = [session for session in sessions if _overlaps(line, session)]
    # Of the same currency first: a session of unknown price takes only what no other can.
    found = [session for session in found if session.price] or found
    if not found:
        return False
    weights = [session.cost(line.started_at, line.ended_at) or 0 for session in found]
    if not sum(weights):
        weights = [1] * len(found)
    for session, micros in zip(found, split(line.micros, weights), strict=True):
        parts[session.id].append(micros)
    return True


def _overlaps(line: InvoiceLine, session: Session) -> bool:
    if session.price is not None and session.price.currency != line.currency:
        return False
    if line.started_at == line.ended_at:
        return session.started_at <= line.started_at <= session.known_until
    return line.started_at < session.known_until and session.started_at < line.ended_at


def _row(
    session: Session, parts: Sequence[int], lines: Sequence[InvoiceLine], begin: datetime, end: datetime
) -> SessionDrift:
    cut_before, cut_after = session.started_at < begin, session.known_until > end
    return SessionDrift(
        session=session,
        ledger_micros=session.cost(begin if cut_before else None, end if cut_after else None),
        invoice_micros=sum(parts),
        line_count=len(parts),
        currency=session.price.currency if session.price else _currency(session, lines),
        is_cut=cut_before or cut_after,
    )


def _currency(session: Session, lines: Sequence[InvoiceLine]) -> str | None:
    return next((line.currency for line in lines if _overlaps(line, session)), None)


def _gaps(sessions: Iterable[Session], begin: datetime, end: datetime) -> Iterator[Gap]:
    for session in sessions:
        for span in session.spans(begin, end):
            if span.phase is Phase.UNKNOWN:
                yield Gap(session=session, span=span, ledger_micros=session.cost(span.started_at, span.ended_at))


def _totals(
    rows: Sequence[SessionDrift], only_invoice: Sequence[InvoiceLine], other: Sequence[InvoiceLine]
) -> Iterator[CurrencyDrift]:
    seen = {row.currency for row in rows} | {line.currency for line in (*only_invoice, *other)}
    for currency in sorted(code for code in seen if code):
        mine = [row for row in rows if row.currency == currency]
        yield CurrencyDrift(
            currency=currency,
            ledger_micros=sum(row.ledger_micros or 0 for row in mine),
            matched_micros=sum(row.invoice_micros for row in mine),
            unmatched_micros=sum(line.micros for line in only_invoice if line.currency == currency),
            other_micros=sum(line.micros for line in other if line.currency == currency),
        )
