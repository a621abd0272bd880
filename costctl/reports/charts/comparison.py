"""What the same work costs on several GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from costctl.reports.charts.frame import amount_axis, framed, sum_text
from costctl.reports.charts.palette import ALWAYS_ON, AS_RUN, INK
from costctl.reports.outline import Chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costctl.reports.wording import Wording

_LABELS_BY_LINE = r"split(datum.label, '\n')"
_ESTIMATED_OPACITY = 0.3
_ROOM_FOR_LABELS = Fraction(13, 10)


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuCost:
    """What the same work costs on a GPU, in micro-units; `name` is what tells it from the others."""

    name: str
    as_run_micros: int
    always_on_micros: int
    is_estimated: bool

    def __post_init__(self) -> None:
        if self.as_run_micros < 0 or self.always_on_micros < 0:
            raise ValueError(f"{self.name} costs less than nothing")


def comparison_chart(gpus: Sequence[GpuCost], *, currency: str, words: Wording) -> Chart:
    """Return two bars for each GPU: as run, and always on. Those of estimated ones are pale and dashed.

    Raises:
        ValueError: there is none, or two have one name.
    """
    if not gpus or len({gpu.name for gpu in gpus}) < len(gpus):
        raise ValueError("a comparison is of one GPU or more, each with its own name")
    return Chart(
        key=f"comparison-{currency.lower()}",
        title=words.say("Cost of the same work per GPU"),
        alt=_comparison_alt(gpus, currency, words),
        spec=framed(46 * len(gpus), _paired_bars(gpus, currency, words)),
    )


def _paired_bars(gpus: Sequence[GpuCost], currency: str, words: Wording) -> dict[str, Any]:
    kinds = [words.say("as run"), words.say("always on")]
    widest = max(max(gpu.as_run_micros, gpu.always_on_micros) for gpu in gpus)
    values = [
        {
            "gpu": "\n".join(_gpu_label(gpu, words)),
            "kind": kind,
            "micros": micros,
            "text": words.plain_amount(micros, currency, words.decimals_of_sum(micros, currency)),
            "estimated": gpu.is_estimated,
        }
        for gpu in gpus
        for kind, micros in zip(kinds, (gpu.as_run_micros, gpu.always_on_micros), strict=True)
    ]
    colour = {"field": "kind", "scale": {"domain": kinds, "range": [AS_RUN.light, ALWAYS_ON.light]}}
    return {
        "data": {"values": values},
        "encoding": {
            "y": {
                "field": "gpu",
                "type": "nominal",
                "sort": None,
                "axis": {"title": None, "domain": False, "labelExpr": _LABELS_BY_LINE},
            },
            "yOffset": {"field": "kind", "sort": kinds},
            "x": {
                "field": "micros",
                "type": "quantitative",
                "scale": {"domain": [0, round(widest * _ROOM_FOR_LABELS)]},
                "axis": {**amount_axis(currency, ticks=4), "grid": False},
            },
        },
        "layer": [
            {
                "mark": {"type": "bar", "strokeWidth": 1},
                "encoding": {
                    "color": colour,
                    "stroke": colour,
                    "fillOpacity": {"condition": {"test": "datum.estimated", "value": _ESTIMATED_OPACITY}, "value": 1},
                    "strokeDash": {"condition": {"test": "datum.estimated", "value": [3, 2]}, "value": [1, 0]},
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 11, "color": INK.light},
                "encoding": {"text": {"field": "text"}},
            },
        ],
    }


def _gpu_label(gpu: GpuCost, words: Wording) -> list[str]:
    return [gpu.name, words.say("(estimated)")] if gpu.is_estimated else [gpu.name]


def _comparison_alt(gpus: Sequence[GpuCost], currency: str, words: Wording) -> str:
    return words.together(
        words.say(
            "{gpu}: {as_run} as run, {always_on} always on.",
            gpu=" ".join(_gpu_label(gpu, words)),
            as_run=sum_text(gpu.as_run_micros, currency, words),
            always_on=sum_text(gpu.always_on_micros, currency, words),
        )
        for gpu in gpus
    )
