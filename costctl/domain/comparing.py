"""Make a comparison: each load on each GPU, each GPU in each market, beside the baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl.domain.comparison import Comparison, Held, Row
from costctl.domain.offers import Market
from costctl.domain.on_gpu import OnGpu, Part
from costctl.domain.speed import Setup, speed_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from costctl.domain.baseline import Baseline
    from costctl.domain.best_offers import Shelf, Terms
    from costctl.domain.gpu_models import GpuModel, GpuModels
    from costctl.domain.models import ModelFacts
    from costctl.domain.workload import Load, Measure, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Knowledge:
    """What a comparison is made from, besides the workload."""

    models: Mapping[str, ModelFacts | None]
    """The facts of each model by the name its loads have."""
    gpus: GpuModels
    shelf: Shelf
    terms: Terms
    measures: Sequence[Measure] = ()


def compare(
    workload: Workload,
    gpus: Iterable[GpuModel],
    *,
    knowledge: Knowledge,
    markets: Sequence[Market] = tuple(Market),
    baseline: Baseline | None = None,
) -> Comparison:
    """Return what `workload` would cost on each of `gpus`, one in each machine, in `markets`, beside `baseline`.

    Of several markets, those in which a GPU is not offered are left out, if it is in another.
    """
    rows: list[Row] = []
    for gpu in gpus:
        on = _on_gpu(gpu, workload, knowledge)
        found = [_row(on, market, workload, knowledge) for market in markets]
        rows += [row for row in found if row.price] or found[:1]
    held = _held(baseline, workload, knowledge) if baseline else None
    return Comparison(workload=workload, rows=tuple(rows), held=held)


def _on_gpu(gpu: GpuModel, workload: Workload, knowledge: Knowledge) -> OnGpu:
    return OnGpu(gpu=gpu, parts=tuple(_part(load, gpu, knowledge) for load in workload.loads))


def _part(load: Load, gpu: GpuModel, knowledge: Knowledge) -> Part:
    model = knowledge.models.get(load.model) if load.model else None
    own_gpu = knowledge.gpus.by_nvml_name(load.gpu) if load.gpu else None
    return Part(
        load=load,
        model=model,
        fit=Setup(model=model, gpu=gpu, context=load.context).fit if model else None,
        speed=speed_on(load, gpu, model=model, own_gpu=own_gpu, measures=knowledge.measures),
    )


def _row(on: OnGpu, market: Market, workload: Workload, knowledge: Knowledge) -> Row:
    offer = knowledge.shelf.best(on.gpu, market, knowledge.terms)
    return Row(
        on=on,
        market=market,
        offer=offer,
        price=knowledge.shelf.price_of_one_gpu(offer, knowledge.terms) if offer else None,
        period=workload.period,
        machines=workload.machines,
        tokens=workload.traffic.tokens,
        doubts=knowledge.shelf.doubts(offer) if offer else (),
    )


def _held(baseline: Baseline, workload: Workload, knowledge: Knowledge) -> Held:
    row = _row(_on_gpu(baseline.gpu, workload, knowledge), baseline.market, workload, knowledge)
    if baseline.price is not None:
        row = replace(row, offer=None, price=knowledge.terms.converted(baseline.price), doubts=())
    return Held(baseline=baseline, row=row)
