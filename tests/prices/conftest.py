from datetime import UTC, datetime

import pytest

from costctl.adapters import catalog
from costctl.domain.offers import Market, Offer, Origin

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def models():
    return catalog.gpu_models()


@pytest.fixture(scope="session")
def shipped():
    return catalog.catalog_offers()


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def offer():
    """Make an own price of a T4; keywords change it."""

    def make(**facts):
        usual = {
            "gpu": "T4",
            "gpu_count": 1,
            "market": Market.ON_DEMAND,
            "currency": "CNY",
            "micros_per_hour": 1_800_000,
            "origin": Origin.OWN,
            "since": datetime(2026, 1, 5, tzinfo=UTC),
        }
        return Offer(**(usual | facts))

    return make


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home of costctl, in a folder without settings."""
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path / "home"))
    for name in ("PROVIDER", "INSTANCE_TYPE", "REGION", "MARKET", "PRICE", "LEDGER", "CONFIG"):
        monkeypatch.delenv(f"COSTCTL_{name}", raising=False)
    monkeypatch.setenv("COSTCTL_GPU", "sim:T4")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"
