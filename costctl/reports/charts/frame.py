"""What all charts share: size, type and axes, in a wide form for pages and a narrow one for phones.

Amounts stand in specifications as whole micro-units; only the axis divides them. All other text that a reader sees is
made before, so that a chart needs no locale of its own.

Text stays legible in both, since a chart is drawn anew for its width instead of being shrunk. Letters are measured in
Liberation Sans, which vl-convert brings along and Arial equals, so that a chart is the same wherever it is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.reports.charts.palette import GRID, INK, MUTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.reports.wording import Wording

WIDE = 760
NARROW = 340
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_NARROW_LABEL = 96
_WIDE_LABEL = 220
_NARROW_LEGEND_COLUMNS = 3


def framed(height: int, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole specification of a wide chart, from its data, marks and encoding; sizes in pixels."""
    frame = {
        "$schema": _SCHEMA,
        "width": WIDE,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 2,
        "background": None,
        "config": _config(),
    }
    return {**frame, **content}


def narrow(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the specification of a framed chart for the width of a phone."""
    config = spec["config"]
    axis = {**config["axis"], "labelLimit": _NARROW_LABEL}
    legend = {**config["legend"], "columns": _NARROW_LEGEND_COLUMNS}
    return {**spec, "width": NARROW, "config": {**config, "axis": axis, "legend": legend}}


def amount_axis(currency: str, ticks: int) -> dict[str, Any]:
    """Return the axis of amounts in micro-units, with about as many ticks."""
    labels = "format(datum.value / 1000000, ',~f')"
    return {"title": currency, "labelExpr": labels, "domain": False, "tickCount": ticks}


def sum_text(micros: int, currency: str, words: Wording) -> str:
    """Return a sum as a text alternative says it."""
    return words.amount(micros, currency, words.decimals_of_sum(micros, currency))


def _config() -> dict[str, Any]:
    return {
        "aria": False,  # the page says what the chart says
        "font": "Liberation Sans, Arial, Helvetica, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": MUTED.light,
            "labelFontSize": 11,
            "labelLimit": _WIDE_LABEL,
            "titleColor": MUTED.light,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "gridColor": GRID.light,
            "domainColor": GRID.light,
            "ticks": False,
            "labelPadding": 6,
        },
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "title": None,
            "columns": 0,  # as many as there are
            "columnPadding": 14,
            "rowPadding": 4,
            "labelColor": INK.light,
            "labelFontSize": 11,
            "labelLimit": 0,
            "symbolType": "square",
            "symbolSize": 110,
            "symbolStrokeWidth": 0,
            "offset": 12,
        },
    }
