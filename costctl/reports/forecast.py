"""What the running month will have cost, with the method and the range of the forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.domain.forecast import CONFIDENCE, FEWEST_DAYS, Method, forecast
from costctl.reports.exact import money, number
from costctl.reports.outline import Amount, Column, Count, Notes, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.domain.forecast import MonthToDate
    from costctl.reports.outline import Cell
    from costctl.reports.wording import Wording


def forecast_section(months: Sequence[MonthToDate], words: Wording) -> Section | None:
    """Return the forecast of the month in each currency; None if nothing was paid in any."""
    if not months:
        return None
    table = Table(key="forecast", columns=_columns(words), rows=tuple(_row(so_far) for so_far in months))
    title = words.say("Forecast to {day}", day=f"{months[0].last_day:%Y-%m-%d}")
    return Section(key="forecast", title=title, blocks=(table, Notes(tuple(_notes(months, words)))))


def forecast_object(months: Sequence[MonthToDate]) -> list[dict[str, Any]]:
    """Return the same for JSON, by currency; what cannot be said is null."""
    return [_object(so_far) for so_far in months]


def _object(so_far: MonthToDate) -> dict[str, Any]:
    found = forecast(so_far)
    return {
        "currency": so_far.currency,
        "last_day": so_far.last_day.isoformat(),
        "spent": money(so_far.spent_micros),
        "standing_charges_to_come": money(so_far.standing_left_micros),
        "complete_days": len(so_far.complete_days_micros),
        "days_left": number(so_far.days_left),
        "expected": money(found.expected_micros) if found else None,
        "low": money(found.low_micros) if found else None,
        "high": money(found.high_micros) if found else None,
        "confidence": float(CONFIDENCE),
        "method": found.method if found else None,
    }


def _columns(words: Wording) -> tuple[Column, ...]:
    share = words.share(CONFIDENCE, 0)
    return (
        Column(heading=words.say("currency")),
        Column(heading=words.say("complete days"), numeric=True),
        Column(heading=words.say("spent so far"), numeric=True),
        Column(heading=words.say("expected"), numeric=True),
        Column(heading=words.say("{share} range from", share=share), numeric=True),
        Column(heading=words.say("to"), numeric=True),
    )


def _row(so_far: MonthToDate) -> tuple[Cell, ...]:
    found = forecast(so_far)
    amounts = (found.expected_micros, found.low_micros, found.high_micros) if found else (None, None, None)
    return (
        so_far.currency,
        Count(len(so_far.complete_days_micros)),
        Amount(micros=so_far.spent_micros, currency=so_far.currency),
        *(None if micros is None else Amount(micros=micros, currency=so_far.currency) for micros in amounts),
    )


def _notes(months: Sequence[MonthToDate], words: Wording) -> Iterator[str]:
    methods = {found.method for so_far in months if (found := forecast(so_far))}
    if Method.MEAN in methods:
        yield words.say("Expected: what is spent, and for each day left the mean of the complete days.")
    if Method.WEEKDAYS in methods:
        yield words.say("Expected: what is spent, and for each day left the mean of the complete days of its weekday.")
    if methods:
        yield words.say(
            "The range is a prediction interval: {share} of months that go on as the complete days went end in it. "
            "It knows nothing of plans.",
            share=words.share(CONFIDENCE, 0),
        )
    if any(forecast(so_far) is None for so_far in months):
        yield words.say("A forecast needs at least {number} complete days.", number=words.number(FEWEST_DAYS))
    if any(so_far.standing_left_micros for so_far in months):
        yield words.say("Standing charges to come are in it as they are set.")
