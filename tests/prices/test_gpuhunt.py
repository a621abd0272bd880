"""gpuhunt as its documentation has it, played by hand: the library itself needs the network."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from costctl.adapters.gpuhunt import ask_gpuhunt, query_gpuhunt, read_items
from costctl.domain.offers import Origin
from costctl.errors import CostctlError, MissingPieceError


@dataclass(kw_only=True)
class Item:
    """The attributes of gpuhunt's CatalogItem that are read."""

    provider: str = "aws"
    instance_name: str = "g6.xlarge"
    location: str = "us-east-1"
    price: float = 0.8048
    gpu_count: int = 1
    gpu_name: str | None = "L4"
    gpu_memory: float | None = 24.0
    spot: bool = False


class FakeGpuhunt(SimpleNamespace):
    """Answers `query` with given items, or raises what it was given."""

    class GPUHuntError(Exception):
        """As the library's."""

    def __init__(self, answer):
        super().__init__(answer=answer, asked=None)

    def query(self, **filters):
        self.asked = filters
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def read(models, now, *items):
    return read_items(items, models=models, now=now)


def test_the_question():
    fake = FakeGpuhunt([Item()])
    assert ask_gpuhunt(fake, ["aws"]) == [Item()]
    assert fake.asked == {"provider": ["aws"], "min_gpu_count": 1, "gpu_vendor": "nvidia"}


@pytest.mark.parametrize(
    "error", [FakeGpuhunt.GPUHuntError("no catalog"), OSError("no network"), ValueError("Unknown provider: x")]
)
def test_no_answer_is_one_line(error):
    with pytest.raises(CostctlError, match=f"gpuhunt has no prices to give: {error}"):
        ask_gpuhunt(FakeGpuhunt(error), None)


def test_without_the_library_it_is_said_what_to_install():
    try:
        import gpuhunt  # noqa: F401
    except ImportError:
        with pytest.raises(MissingPieceError, match=r"pip install 'costctl\[gpuhunt\]'"):
            query_gpuhunt([])


def test_items_become_offers_of_today(models, now):
    found = read(models, now, Item(), Item(price=0.3, spot=True))
    assert [(offer.place, offer.gpu, offer.amount) for offer in found.offers] == [
        ("aws g6.xlarge us-east-1 on-demand", "L4", "0.8048 USD/h"),
        ("aws g6.xlarge us-east-1 spot", "L4", "0.30 USD/h"),
    ]
    assert {(offer.origin, offer.source, offer.since) for offer in found.offers} == {(Origin.LIST, "gpuhunt", now)}


@pytest.mark.parametrize(
    ("name", "memory", "ours"),
    [
        ("A100", 40.0, "A100-40GB"),
        ("A100", 80.0, "A100-80GB"),
        ("H100", 80.0, "H100"),
        ("H100NVL", 94.0, "H100-NVL"),
    ],
)
def test_memory_tells_cards_of_one_name_apart(models, now, name, memory, ours):
    (offer,) = read(models, now, Item(gpu_name=name, gpu_memory=memory, price=3)).offers
    assert offer.gpu == ours


def test_zones_of_gcp_become_regions_and_providers_go_by_their_usual_names(models, now):
    zones = [
        Item(provider="gcp", location=f"us-central1-{zone}", price=price, spot=True)
        for zone, price in (("a", 0.3), ("b", 0.2), ("c", 0.4))
    ]
    found = read(models, now, *zones, Item(provider="vastai"), Item(provider="lambdalabs"))
    assert [(offer.provider, offer.region, offer.amount) for offer in found.offers] == [
        ("gcp", "us-central1", "0.30 USD/h"),
        ("vast", "us-east-1", "0.8048 USD/h"),
        ("lambda", "us-east-1", "0.8048 USD/h"),
    ]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([Item(price=0.0)], "prices that are none"),
        ([Item(price=float("nan"))], "prices that are none"),
        ([Item(price=-1.0)], "prices that are none"),
        ([Item(price=700.0)], "prices that are none"),
        ([Item(gpu_name="V100", gpu_memory=16.0)], "no facts of the GPU V100"),
        ([Item(gpu_name=None)], "no facts of the GPU None"),
    ],
)
def test_what_is_left_out_is_said(models, now, items, words):
    found = read(models, now, *items)
    assert found.offers == ()
    assert words in found.remarks[0]


def test_spot_that_equals_on_demand_is_left_out(models, now):
    found = read(models, now, Item(), Item(spot=True))
    assert [offer.market for offer in found.offers] == ["on-demand"]
    assert "spot as dear as on-demand" in found.remarks[0]
