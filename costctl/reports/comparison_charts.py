"""A comparison of GPUs as charts: one for each currency, since amounts of two cannot stand side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.domain.speed import Basis
from costctl.reports.charts.comparison import GpuCost, comparison_chart
from costctl.reports.comparison_details import market_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.domain.comparison import Comparison, Row
    from costctl.reports.outline import Chart
    from costctl.reports.wording import Wording


def comparison_charts(found: Comparison, words: Wording) -> Iterator[Chart]:
    """Yield the costs as run and always on, of the GPUs that can do the work at a known price."""
    for currency in found.currencies:
        costs = [cost for row in found.rows if row.currency == currency for cost in _cost(row, words)]
        if costs:
            yield comparison_chart(costs, currency=currency, words=words)


def _cost(row: Row, words: Wording) -> Iterator[GpuCost]:
    if row.is_possible and row.as_run_micros is not None and row.always_on_micros is not None:
        weakest = row.on.weakest
        yield GpuCost(
            name=words.say("{gpu}, {market}", gpu=row.on.gpu.name, market=market_text(row.market, words)),
            as_run_micros=row.as_run_micros,
            always_on_micros=row.always_on_micros,
            is_estimated=weakest is not None and weakest.ground.basis is not Basis.MEASURED,
        )
