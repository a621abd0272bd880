"""The report of a period: read from the ledger and studied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.domain.hosted import break_even
from costctl.domain.windows import window_studies
from costctl.errors import BadValueError
from costctl.reports.studies import Studies, cache_uses, idle_gaps, model_uses, months_to_date, usual_start
from costctl.reports.tally import report_of
from costctl.wiring import read_ledger
from costctl.wiring.billing import load_billing
from costctl.wiring.comparison import compare_report
from costctl.wiring.facts import read_facts
from costctl.wiring.money import Money
from costctl.wiring.rates import load_rates

if TYPE_CHECKING:
    from datetime import datetime

    from costctl.domain.comparison import Comparison
    from costctl.domain.hosted import BreakEven
    from costctl.domain.periods import Period
    from costctl.domain.rates import Rates
    from costctl.domain.sessions import Session
    from costctl.ledger.store import Ledger
    from costctl.reports.figures import Report
    from costctl.wiring.comparison import Wish


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A report with all that is said about it."""

    report: Report
    studies: Studies
    newest: datetime | None
    """When the newest session began; looked up only for an empty period."""


def load_report(period: Period, *, now: datetime, wish: Wish) -> Loaded:
    """Return the report of `period`, in the currency that is wished for where there are rates to it.

    Raises:
        LedgerError: the ledger cannot be read.
        BadValueError: the configuration is not understood, or something that was wished for does not exist.
    """
    billing, rates = load_billing(), load_rates(period.zone)
    money = Money(currency=wish.currency, rates=rates)
    standing = [money.standing(charge, period) for charge in billing.standing]
    with read_ledger() as ledger:
        facts = read_facts(ledger, period, billing)
        report = report_of(facts, period=period, now=now, standing=standing, price=money.price)
        if not report.rows:
            return Loaded(report=report, studies=Studies(rates=money.uses), newest=_newest(ledger))
        first = ledger.first_start()
        comparison = _comparison(report, wish, ledger=ledger, money=money, now=now)
    studies = Studies(
        windows=window_studies(idle_gaps(facts.sessions, period, money.hourly), start=usual_start(report)),
        cached=cache_uses(report),
        hosted=_beside_hosted(report, rates, now),
        months=months_to_date(report, now=now, first_known=first.astimezone(period.zone).date() if first else None),
        comparison=comparison,
        rates=money.uses,
    )
    return Loaded(report=report, studies=studies, newest=None)


def _comparison(report: Report, wish: Wish, *, ledger: Ledger, money: Money, now: datetime) -> Comparison | str:
    """Return the comparison; if it cannot be made and nothing was asked of it, why."""
    try:
        return compare_report(report, wish, ledger=ledger, money=money, now=now)
    except BadValueError as error:
        if wish.gpus or wish.baseline:
            raise
        return str(error)


def _newest(ledger: Ledger) -> datetime | None:
    found: list[Session] = ledger.sessions(last=1)
    return found[0].started_at if found else None


def _beside_hosted(report: Report, rates: Rates, now: datetime) -> list[BreakEven]:
    uses = model_uses(report)
    if not uses:
        return []
    from costctl.adapters.hosted import hosted_prices

    def convert(micros: int, base: str, quote: str) -> int | None:
        found = rates.convert(micros, base, quote, report.known_until)
        return found.micros if found else None

    prices = hosted_prices(now)
    return [break_even(use, prices, convert) for use in uses]
