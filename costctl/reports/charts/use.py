"""When in the week the machine was busy."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from babel.dates import get_day_names

from costctl.reports.charts.frame import framed
from costctl.reports.charts.palette import PAGE, SHADES
from costctl.reports.outline import Chart

if TYPE_CHECKING:
    from costctl.reports.wording import Wording

_WEEKDAYS = 7
_HOURS = 24
_STEPS = len(SHADES) - 1
_TOPS = tuple(Fraction(percent, 100) for percent in (5, 10, 25, 50, 100))
_HOUR_AXIS = {
    "title": None,
    "domain": False,
    "values": list(range(0, _HOURS, 3)),
    "labelExpr": "datum.label + ':00'",
    "labelAngle": 0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WeekUse:
    """The busy share of every hour of the week: seven days from Monday, of 24 hours each."""

    busy: tuple[tuple[Fraction, ...], ...]

    def __post_init__(self) -> None:
        if [len(day) for day in self.busy] != [_HOURS] * _WEEKDAYS:
            raise ValueError("a week has seven days of 24 hours")
        if not all(0 <= share <= 1 for day in self.busy for share in day):
            raise ValueError("a share is from 0 to 1")


def use_chart(use: WeekUse, *, words: Wording) -> Chart:
    """Return a heat map of the busy share by weekday and hour."""
    return Chart(
        key="use",
        title=words.say("Use by hour and weekday"),
        alt=_use_alt(use, words),
        spec=framed(190, _heat_map(use, words)),
    )


def _heat_map(use: WeekUse, words: Wording) -> dict[str, Any]:
    weekdays = get_day_names("abbreviated", context="stand-alone", locale=words.locale)
    top = _top(use)
    shades = _shade_names(top, words)
    values = [
        {"day": weekdays[day], "hour": hour, "shade": shades[_shade(share / top)]}
        for day, hours in enumerate(use.busy)
        for hour, share in enumerate(hours)
    ]
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "stroke": PAGE.light, "strokeWidth": 1.5},
        "encoding": {
            "x": {"field": "hour", "type": "ordinal", "axis": _HOUR_AXIS},
            "y": {"field": "day", "type": "ordinal", "sort": None, "axis": {"title": None, "domain": False}},
            "color": {
                "field": "shade",
                "type": "ordinal",
                "scale": {"domain": shades, "range": [shade.light for shade in SHADES]},
            },
        },
    }


def _top(use: WeekUse) -> Fraction:
    """Return the share that the darkest shade stands for, so that little use shows its pattern too."""
    most = max(share for hours in use.busy for share in hours)
    return next(top for top in _TOPS if most <= top)


def _shade(part: Fraction) -> int:
    """Return the place of the shade: the first is for none, the others are for equal parts of the top."""
    return -(-part.numerator * _STEPS // part.denominator)


def _shade_names(top: Fraction, words: Wording) -> list[str]:
    bounds = [words.share(top * step / _STEPS, decimals=0) for step in range(1, _STEPS + 1)]
    return [words.say("no use"), *(words.say("up to {share}", share=bound) for bound in bounds)]


def _use_alt(use: WeekUse, words: Wording) -> str:
    hours = {(day, hour): share for day, shares in enumerate(use.busy) for hour, share in enumerate(shares)}
    day, hour = max(hours, key=lambda when: hours[when])
    if not hours[day, hour]:
        return words.say("No hour of the week had any use.")
    return words.say(
        "Busiest: {weekday} from {begin} to {end}, busy for {share} of it. {unused} of {hours} hours had no use.",
        weekday=get_day_names("wide", context="stand-alone", locale=words.locale)[day],
        begin=f"{hour}:00",
        end=f"{hour + 1}:00",
        share=words.share(hours[day, hour], decimals=0),
        unused=words.number(sum(not share for share in hours.values())),
        hours=words.number(len(hours)),
    )
