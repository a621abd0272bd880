"""Every line of the catalog that ships holds what the price book promises."""

import csv
import time
from collections import Counter

import pytest

from costctl import resources
from costctl.domain.offers import Doubts, Market, Origin, check_amount, newest_of_each, read_amount
from costctl.domain.pricelists import COLUMNS, read_own_format

COUNTS = {
    "aws": 147,
    "azure": 416,
    "gcp": 623,
    "lambda": 8,
    "reference-cn": 4,
    "runpod": 6,
    "runpod-serverless": 4,
    "vast": 5,
}


@pytest.fixture(scope="module")
def rows():
    with (resources.folder("catalog") / "prices.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_no_provider_is_lost(shipped):
    assert Counter(offer.provider for offer in shipped) == COUNTS


def test_every_line_is_whole_and_plausible(rows):
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        may_be_empty = {"region", "note", "date", "not_before"}
        assert [name for name in COLUMNS if not row[name] and name not in may_be_empty] == [], row
        assert row["date"] or row["not_before"], row
        assert all(value == value.strip() for value in row.values()), row
        check_amount(read_amount(row["per_hour"]), currency=row["currency"], gpu_count=int(row["gpu_count"]))


def test_nothing_is_there_twice(shipped):
    assert len(newest_of_each(shipped)) == len(shipped)


def test_every_gpu_has_facts_and_every_price_a_date_before_it_shipped(shipped, models, now):
    assert {offer.gpu for offer in shipped} <= {model.name for model in models}
    assert all((offer.since or offer.not_before).year in {2024, 2025, 2026} for offer in shipped)


def test_spot_is_always_cheaper_than_on_demand(shipped, now):
    doubts = Doubts(shipped, now)
    assert [offer for offer in shipped if "spot as dear as on-demand" in doubts.about(offer)] == []
    assert sum(offer.market is Market.SPOT for offer in shipped) > 100


def test_a_gpu_hour_of_a_kind_costs_about_the_same_everywhere(shipped):
    """A row with a shifted column or a forgotten GPU count would stand out by a factor of ten and more."""
    for gpu in {offer.gpu for offer in shipped}:
        prices = [float(o.micros_per_gpu_hour) for o in shipped if o.gpu == gpu and o.currency == "USD"]
        assert max(prices) / min(prices) < 60, gpu


def test_the_chinese_reference_prices_are_there(shipped):
    found = {offer.gpu: offer.amount for offer in shipped if offer.provider == "reference-cn"}
    assert found == {"T4": "1.80 CNY/h", "L4": "2.50 CNY/h", "A10G": "3.00 CNY/h", "A100-40GB": "12.00 CNY/h"}


def test_the_catalog_is_in_the_format_that_import_takes(models, shipped):
    text = (resources.folder("catalog") / "prices.csv").read_text(encoding="utf-8")
    found = read_own_format(text, models=models, since=None)
    assert found.problems == ()
    assert len(found.offers) == sum(COUNTS.values())
    assert [offer.key for offer in found.offers] == [offer.key for offer in shipped]
    assert {offer.origin for offer in found.offers} == {Origin.OWN}


def test_the_catalog_is_read_in_a_moment(shipped):
    from costctl.adapters.catalog import catalog_offers

    def seconds():
        began = time.process_time()
        catalog_offers()
        return time.process_time() - began

    assert min(seconds() for _ in range(5)) < 0.05


def test_gpus_go_by_the_drivers_names(models):
    names = {"Tesla T4": "T4", "NVIDIA A10G": "A10G", "A10G": "A10G", "NVIDIA L4": "L4", "nvidia l4": "L4"}
    names |= {"NVIDIA A10G (simulated)": "A10G", "NVIDIA H100 PCIe": "H100", "NVIDIA H100 NVL": "H100-NVL"}
    names |= {"NVIDIA A100 80GB PCIe": "A100-80GB", "A100-SXM4-40GB": "A100-40GB"}
    assert {name: models.by_nvml_name(name).name for name in names} == names
    assert models.by_nvml_name("NVIDIA A100") is None
    assert models.by_nvml_name("NVIDIA T400") is None


def test_no_two_gpus_share_a_name(models):
    names = [name.casefold() for model in models for name in (model.name, *model.nvml_names)]
    assert len(names) == len({*names})
    assert all(model.vram_gib > 0 and model.memory_bandwidth_gb_s > 0 and model.source for model in models)
