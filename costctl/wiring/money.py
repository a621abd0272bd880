"""Money in the currency that was asked for, where there is a rate, and the rates that this took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from costctl.domain.rates import costing_in, rate_uses

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from costctl.domain.comparison import Comparison
    from costctl.domain.money import Price
    from costctl.domain.periods import Period
    from costctl.domain.rates import AppliedRate, Rates, RateUse
    from costctl.domain.sessions import Session
    from costctl.domain.standing import StandingCharge
    from costctl.reports.tally import Priced


class Money:
    """Turns money into the currency that was asked for, and keeps the rates that it used."""

    def __init__(self, *, currency: str | None, rates: Rates) -> None:
        self._currency = currency
        self._rates = rates
        self._used: list[AppliedRate | None] = []

    @property
    def uses(self) -> tuple[RateUse, ...]:
        """The rates that were used, and how often."""
        return rate_uses(self._used)

    def price(self, session: Session) -> Priced:
        """Return what a session is counted in, and its costing."""
        found = costing_in(session, self._currency, self._rates)
        self._used.append(found.rate)
        return found.currency, found.costing

    def hourly(self, session: Session) -> Price | None:
        """Return the session's price."""
        price = session.price
        rate = self._rate(price.currency, session.started_at) if price else None
        if price is None or rate is None:
            return price
        return replace(price, micros_per_hour=rate.convert(price.micros_per_hour), currency=rate.pair[1])

    def standing(self, charge: StandingCharge, period: Period) -> StandingCharge:
        """Return a standing charge, at the rate of the day on which the period begins."""
        rate = self._rate(charge.currency, period.started_at)
        self._used.append(rate)
        if rate is None:
            return charge
        return replace(charge, micros_per_month=rate.convert(charge.micros_per_month), currency=rate.pair[1])

    def converter(self, at: datetime) -> Callable[[int, str, str], int | None] | None:
        """Return what converts offers at the rates that hold at `at`; None if no currency was asked for."""
        if self._currency is None:
            return None

        def convert(micros: int, base: str, quote: str) -> int | None:
            found = self._rates.convert(micros, base, quote, at)
            return found.micros if found else None

        return convert

    def count(self, found: Comparison, at: datetime) -> None:
        """Count the rates at which a comparison's prices were converted."""
        for currency in found.converted_from:
            self._used.append(self._rate(currency, at))

    def _rate(self, own: str, at: datetime) -> AppliedRate | None:
        wanted = self._currency
        return self._rates.find(own, wanted, at) if wanted and wanted != own else None
