"""The rates of exchange that a report used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.reports.outline import Column, Count, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costctl.domain.rates import RateUse
    from costctl.reports.wording import Wording


def rates_section(uses: Sequence[RateUse], words: Wording) -> Section | None:
    """Return the rates with their days and sources; None if nothing was converted."""
    if not uses:
        return None
    columns = (
        Column(heading=words.say("rate")),
        Column(heading=words.say("of")),
        Column(heading=words.say("source")),
        Column(heading=words.say("used"), numeric=True),
    )
    rows = tuple((_words(use), f"{use.applied.rate.dated}", use.applied.rate.source, Count(use.count)) for use in uses)
    table = Table(key="rates", columns=columns, rows=rows)
    return Section(key="rates", title=words.say("Rates of exchange"), blocks=(table,))


def rates_object(uses: Sequence[RateUse]) -> list[dict[str, Any]]:
    """Return the same for JSON; rates are decimal text, as they were given."""
    return [
        {
            "from": use.applied.pair[0],
            "to": use.applied.pair[1],
            "rate": f"{use.applied.rate.amount:f}",
            "inverse": use.applied.is_inverse,
            "dated": use.applied.rate.dated.isoformat(),
            "source": use.applied.rate.source or None,
            "used": use.count,
        }
        for use in uses
    ]


def _words(use: RateUse) -> str:
    rate = use.applied.rate
    return f"1 {rate.base} = {rate.amount:f} {rate.quote}"
