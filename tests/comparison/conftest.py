from datetime import UTC, datetime, timedelta

import pytest

from costctl.adapters import catalog
from costctl.domain.best_offers import Shelf, Terms
from costctl.domain.comparing import Knowledge, compare
from costctl.domain.offers import Market, Offer, Origin
from costctl.domain.roofline import Traffic
from costctl.domain.workload import Load, Measure, Workload

NOW = datetime(2026, 9, 1, tzinfo=UTC)
MODEL = "Qwen/Qwen3-1.7B"


@pytest.fixture(scope="session")
def gpus():
    return catalog.gpu_models()


@pytest.fixture(scope="session")
def book():
    return catalog.model_book()


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def offer():
    """Make a listed price of a T4; keywords change it."""

    def make(**facts):
        usual = {"gpu": "T4", "gpu_count": 1, "market": Market.ON_DEMAND, "currency": "USD"}
        usual |= {
            "micros_per_hour": 500_000,
            "origin": Origin.LIST,
            "provider": "aws",
            "since": NOW - timedelta(days=9),
        }
        return Offer(**(usual | facts))

    return make


@pytest.fixture
def load():
    """Make ten busy hours of a small model on an A10G, 6,000 requests of 512 + 256 tokens; keywords change it."""

    def make(**facts):
        usual = {"model": MODEL, "gpu": "A10G", "busy": timedelta(hours=10), "context": 4096}
        usual["traffic"] = Traffic(requests=6000, prompt_tokens=6000 * 512, generation_tokens=6000 * 256)
        return Load(**(usual | facts))

    return make


@pytest.fixture
def measure():
    """Make a measure of the small model on an L4; keywords change it."""

    def make(**facts):
        usual = {"model": MODEL, "gpu": "L4", "busy": timedelta(hours=1), "measured_at": NOW - timedelta(days=3)}
        usual["traffic"] = Traffic(requests=600, prompt_tokens=600 * 512, generation_tokens=600 * 256)
        return Measure(**(usual | facts))

    return make


@pytest.fixture
def compared(gpus, book):
    """Compare loads on GPUs with offers; keywords as of `compare` and `Knowledge`."""

    def compared(loads, names, offers=(), *, measures=(), terms=None, spent=(), machines=1, **facts):
        workload = Workload(period=timedelta(weeks=1), loads=tuple(loads), spent=tuple(spent), machines=machines)
        knowledge = Knowledge(
            models={load.model: book.find(load.model) for load in loads if load.model},
            gpus=gpus,
            shelf=Shelf(offers, NOW),
            terms=terms or Terms(),
            measures=tuple(measures),
        )
        return compare(workload, [gpus.named(name) for name in names], knowledge=knowledge, **facts)

    return compared
