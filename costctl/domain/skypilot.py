"""Price lists in the format of SkyPilot's catalogs: a row per instance type and zone, with both markets in it.

Prices are in US dollars. Zones are put together to regions: where a region's zones differ, their median counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

from costctl.domain.money import format_amount
from costctl.domain.offers import Market, Offer, Origin
from costctl.domain.pricelists import PriceList, Problem, Table, read_count, read_micros
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModels

    # Instance type, GPU, GPU count, region, market.
    Key = tuple[str, str, int, str, Market]

CURRENCY = "USD"
_REQUIRED = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region")
# SkyPilot calls the 40 GB card plainly A100, and leaves the form of the card to the instance type.
_NAMES = {
    "A100": "A100-40GB",
    "A100-80GB-SXM": "A100-80GB",
    "H100-SXM": "H100",
    "H200-SXM": "H200",
}


def is_skypilot(text: str) -> bool:
    """Return whether the header is SkyPilot's."""
    try:
        return "AcceleratorName" in Table(text).columns
    except BadValueError:
        return False


def read_skypilot(text: str, *, provider: str, models: GpuModels, since: datetime) -> PriceList:
    """Return the offers in `text`, a CSV in SkyPilot's format, of prices that were true at `since`.

    Raises:
        BadValueError: it is no such table at all, or of prices that cannot be used; what is wrong with single lines is
            in the result.
    """
    table = Table(text)
    table.require(_REQUIRED)
    reader = _Reader(provider=provider, models=models)
    problems: list[Problem] = []
    for line, row in table.rows(problems):
        reader.take(line, row, problems)
    remarks = [f"{count} lines left out: {why}" for why, count in reader.left_out.most_common()]
    offers = regional_offers(reader.amounts, provider, since=since, source=f"skypilot {provider}")
    return PriceList(offers=offers, problems=tuple(problems), remarks=tuple(remarks))


def regional_offers(
    amounts: Mapping[Key, Sequence[int]], provider: str, *, since: datetime, source: str
) -> tuple[Offer, ...]:
    """Return an offer for each region from what its zones ask, in micro-units of a dollar."""
    return tuple(
        Offer(
            provider=provider,
            instance_type=instance_type,
            gpu=gpu,
            gpu_count=count,
            region=region or None,
            market=market,
            currency=CURRENCY,
            micros_per_hour=round(median(of_zones)),
            origin=Origin.LIST,
            since=since,
            source=source,
            note=_spread(of_zones),
        )
        for (instance_type, gpu, count, region, market), of_zones in amounts.items()
    )


class _Reader:
    """Sorts the rows of one file."""

    def __init__(self, *, provider: str, models: GpuModels) -> None:
        self.amounts: defaultdict[Key, list[int]] = defaultdict(list)
        self.left_out: Counter[str] = Counter()
        self._provider = provider
        self._models = models

    def take(self, line: int, row: Mapping[str, str], problems: list[Problem]) -> None:
        """Take a row up, leave it out, or say what is wrong with it."""
        try:
            why_not = self._why_not(row)
            if why_not:
                self.left_out[why_not] += 1
                return
            self._add(row)
        except BadValueError as error:
            problems.append(Problem(line, str(error)))

    def _why_not(self, row: Mapping[str, str]) -> str:
        gpu = row["AcceleratorName"]
        if not gpu:
            return "no GPU"
        if not row["InstanceType"]:
            raise BadValueError(
                f"the {gpu} is priced without its host, as SkyPilot does for GCP: the instance's price is not there"
            )
        if "." in row["AcceleratorCount"].removesuffix(".0"):
            return "a share of a GPU"
        if (self._provider.casefold(), gpu) == ("vast", "A100"):
            return "Vast's A100 may have 40 or 80 GB"
        return "" if self._models.by_nvml_name(_NAMES.get(gpu, gpu)) else f"costctl has no facts of the GPU {gpu}"

    def _add(self, row: Mapping[str, str]) -> None:
        model = self._models.by_nvml_name(_NAMES.get(row["AcceleratorName"], row["AcceleratorName"]))
        assert model is not None  # noqa: S101 - looked at before
        count = read_count(row["AcceleratorCount"])
        on_demand, spot = (_micros(row.get(column, ""), count) for column in ("Price", "SpotPrice"))
        if on_demand is not None and on_demand == spot:
            self.left_out["spot as dear as on-demand, so no spot price (the line's other price is taken)"] += 1
            spot = None
        for market, micros in ((Market.ON_DEMAND, on_demand), (Market.SPOT, spot)):
            if micros is not None:
                self.amounts[row["InstanceType"], model.name, count, row["Region"], market].append(micros)


def _micros(text: str, gpu_count: int) -> int | None:
    return read_micros(text, currency=CURRENCY, gpu_count=gpu_count) if text else None


def _spread(of_zones: Iterable[int]) -> str:
    amounts = sorted(of_zones)
    if amounts[0] == amounts[-1]:
        return ""
    return f"median of {len(amounts)} zones, {format_amount(amounts[0])} to {format_amount(amounts[-1])}"
