"""Today's prices of many clouds through the gpuhunt library, which fetches lists that its makers collect.

gpuhunt is an extra and is imported only here, when it is used. What is used of it: `gpuhunt.query(provider=...,
min_gpu_count=..., gpu_vendor=...)` and the attributes of its catalog items.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from costctl.domain.offers import Market, check_amount, to_micros
from costctl.domain.pricelists import PriceList
from costctl.domain.skypilot import CURRENCY, regional_offers
from costctl.errors import BadValueError, CostctlError, MissingPieceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModel, GpuModels
    from costctl.domain.skypilot import Key

SOURCE = "gpuhunt"
_GCP_ZONE = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-[a-z]")
# Names that differ from costctl's; the memory tells cards of one name apart.
_NAMES = {"H100NVL": "H100-NVL"}
_PROVIDERS = {"lambdalabs": "lambda", "vastai": "vast"}


class Item(Protocol):
    """What is read of gpuhunt's catalog items."""

    provider: str
    instance_name: str
    location: str
    price: float
    gpu_count: int
    gpu_name: str | None
    gpu_memory: float | None
    spot: bool


def query_gpuhunt(providers: Sequence[str]) -> list[Item]:
    """Return what gpuhunt knows of NVIDIA GPUs at `providers` (all, if none is named); needs the network.

    Raises:
        MissingPieceError: gpuhunt is not installed.
        CostctlError: it has no prices to give.
    """
    try:
        import gpuhunt  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingPieceError("the refresh needs gpuhunt: pip install 'costctl[gpuhunt]'") from None
    # It logs tracebacks of each cloud that it cannot reach; what matters of them is in the error at the end.
    log = logging.getLogger("gpuhunt")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    theirs = {ours: name for name, ours in _PROVIDERS.items()}
    named = [theirs.get(provider, provider) for provider in providers] or None
    return ask_gpuhunt(gpuhunt, named)


def ask_gpuhunt(gpuhunt: Any, providers: Sequence[str] | None) -> list[Item]:
    """Return the answer of the `gpuhunt` module. Raises CostctlError."""
    try:
        return list(gpuhunt.query(provider=providers, min_gpu_count=1, gpu_vendor="nvidia"))
    except (gpuhunt.GPUHuntError, OSError, ValueError) as error:
        raise CostctlError(f"gpuhunt has no prices to give: {error}") from error


def read_items(items: Iterable[Item], *, models: GpuModels, now: datetime) -> PriceList:
    """Return the offers in gpuhunt's `items`, zones put together to regions, and what was left out."""
    amounts: defaultdict[str, defaultdict[Key, list[int]]] = defaultdict(lambda: defaultdict(list))
    left_out: Counter[str] = Counter()
    for item in items:
        model = _model(item, models)
        try:
            check_amount(Decimal(str(item.price)), currency=CURRENCY, gpu_count=item.gpu_count or 1)
        except BadValueError:
            left_out["prices that are none (zero, negative, not a number, placeholders)"] += 1
            continue
        if model is None:
            left_out[f"costctl has no facts of the GPU {item.gpu_name}"] += 1
            continue
        market = Market.SPOT if item.spot else Market.ON_DEMAND
        key = (item.instance_name, model.name, item.gpu_count, _region(item), market)
        amounts[_PROVIDERS.get(item.provider, item.provider)][key].append(to_micros(Decimal(str(item.price))))
    offers = [
        offer
        for provider, of_provider in amounts.items()
        for offer in regional_offers(_without_false_spot(of_provider, left_out), provider, since=now, source=SOURCE)
    ]
    remarks = tuple(f"{count} offers left out: {why}" for why, count in left_out.most_common())
    return PriceList(offers=tuple(offers), remarks=remarks)


def _without_false_spot(amounts: dict[Key, list[int]], left_out: Counter[str]) -> dict[Key, list[int]]:
    """Leave out spot prices that equal what is asked on demand: lists write such where there is no spot market."""
    kept = {}
    for key, of_zones in amounts.items():
        if key[-1] is Market.SPOT and set(of_zones) == set(amounts.get((*key[:-1], Market.ON_DEMAND), [])):
            left_out["spot as dear as on-demand"] += len(of_zones)
        else:
            kept[key] = of_zones
    return kept


def _model(item: Item, models: GpuModels) -> GpuModel | None:
    name = _NAMES.get(item.gpu_name or "", item.gpu_name or "")
    found = models.by_nvml_name(name)
    if found is None and item.gpu_memory is not None:
        found = models.by_nvml_name(f"{name}-{item.gpu_memory:.0f}GB")
    return found


def _region(item: Item) -> str:
    zone = _GCP_ZONE.fullmatch(item.location) if item.provider == "gcp" else None
    return zone["region"] if zone else item.location
