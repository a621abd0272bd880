"""What each day cost, by phase."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, Any

from babel.dates import format_skeleton
from babel.lists import format_list

from costctl.reports.charts.frame import amount_axis, framed, sum_text
from costctl.reports.charts.palette import PAGE, PHASES
from costctl.reports.names import phase_names
from costctl.reports.outline import Chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from costctl.domain.sessions import Phase
    from costctl.reports.wording import Wording

_MOST_DAYS = 100  # bars that can still be told apart


@dataclass(frozen=True, kw_only=True, slots=True)
class DayCost:
    """What a day cost, in micro-units by phase; phases that cost nothing may be left out."""

    day: date
    phase_micros: Mapping[Phase, int]

    def __post_init__(self) -> None:
        if any(micros < 0 for micros in self.phase_micros.values()):
            raise ValueError(f"a phase of {self.day} costs less than nothing")

    @property
    def micros(self) -> int:
        """What the day cost in all."""
        return sum(self.phase_micros.values())


def daily_cost_chart(days: Sequence[DayCost], *, currency: str, words: Wording) -> Chart:
    """Return bars of the cost per day, stacked by phase; of the cost per month where days would be too many.

    `days` are all the days of the period, in order, also those without cost.
    """
    is_daily = len(days) <= _MOST_DAYS
    bars = days if is_daily else _months(days)
    labels = [format_skeleton("MMMd" if is_daily else "yMMM", bar.day, locale=words.locale) for bar in bars]
    return Chart(
        key=f"daily-cost-{currency.lower()}",
        title=words.say("Cost per day by phase") if is_daily else words.say("Cost per month by phase"),
        alt=_cost_alt(bars, labels, currency, words),
        spec=framed(230, _stacked_bars(bars, labels, currency, words)),
    )


def _months(days: Sequence[DayCost]) -> list[DayCost]:
    months = groupby(days, key=lambda day: day.day.replace(day=1))
    return [DayCost(day=first, phase_micros=_phase_totals(list(month))) for first, month in months]


def _phase_totals(days: Sequence[DayCost]) -> dict[Phase, int]:
    """Return what the phases cost in all, in the order of the palette, without those that cost nothing."""
    totals: Counter[Phase] = Counter()
    for day in days:
        totals.update(day.phase_micros)
    return {phase: totals[phase] for phase in PHASES if totals[phase]}


def _stacked_bars(bars: Sequence[DayCost], labels: Sequence[str], currency: str, words: Wording) -> dict[str, Any]:
    names = phase_names(words)
    shown = _phase_totals(bars)
    order = list(PHASES)
    values = [
        {"when": label, "phase": names[phase], "order": order.index(phase), "micros": micros}
        for bar, label in zip(bars, labels, strict=True)
        for phase, micros in bar.phase_micros.items()
        if micros
    ]
    colours = {"domain": [names[phase] for phase in shown], "range": [PHASES[phase].light for phase in shown]}
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "stroke": PAGE.light, "strokeWidth": 0.6},
        "encoding": {
            "x": {
                "field": "when",
                "type": "ordinal",
                "scale": {"domain": list(labels), "paddingInner": 0.2, "paddingOuter": 0.1},
                "axis": {"title": None, "labelAngle": 0, "labelOverlap": "parity", "labelSeparation": 10},
            },
            "y": {"field": "micros", "type": "quantitative", "axis": amount_axis(currency, ticks=5)},
            "color": {"field": "phase", "type": "nominal", "scale": colours},
            "order": {"field": "order", "type": "quantitative"},
        },
    }


def _cost_alt(bars: Sequence[DayCost], labels: Sequence[str], currency: str, words: Wording) -> str:
    total = sum(bar.micros for bar in bars)
    if not total:
        return words.say("No cost in this time.")
    names = phase_names(words)
    highest, when = max(zip(bars, labels, strict=True), key=lambda labelled: labelled[0].micros)
    shares = [f"{names[phase]} {words.share(Fraction(cost, total))}" for phase, cost in _phase_totals(bars).items()]
    return words.say(
        "{total} in all: {shares}. Highest: {when} with {amount}.",
        total=sum_text(total, currency, words),
        shares=format_list(shares, locale=words.locale),
        when=when,
        amount=sum_text(highest.micros, currency, words),
    )
