from datetime import UTC, datetime

import pytest

from costctl.domain.offers import Market, Offer, Origin
from costctl.errors import LedgerError, RefusedError
from costctl.ledger.store import Ledger

JANUARY = datetime(2026, 1, 5, tzinfo=UTC)


def own(**facts):
    usual = {
        "gpu": "T4",
        "gpu_count": 1,
        "market": Market.ON_DEMAND,
        "currency": "CNY",
        "micros_per_hour": 1_800_000,
        "origin": Origin.OWN,
        "since": JANUARY,
    }
    return Offer(**(usual | facts))


def listed(**facts):
    return own(origin=Origin.LIST, **({"provider": "aws", "source": "gpuhunt"} | facts))


def without_ids(prices):
    return [Offer(**{name: getattr(price, name) for name in Offer.__slots__ if name != "id"}) for price in prices]


def test_prices_come_back_as_they_went_in(ledger):
    prices = [own(), own(provider="aws", instance_type="g4dn.xlarge", region="us-east-1", source="x", note="y")]
    assert ledger.set_prices(prices) == [1, 2]
    assert without_ids(ledger.prices()) == prices
    assert [price.id for price in ledger.prices()] == [1, 2]


def test_two_prices_at_once_are_refused_and_nothing_is_written(ledger):
    ledger.set_prices([own()])
    with pytest.raises(RefusedError, match=r"two own prices would hold at once for 1 x T4 .*1\.80 CNY/h \(number 1\)"):
        ledger.set_prices([own(gpu="L4"), own(micros_per_hour=2_000_000)])
    with pytest.raises(RefusedError, match=r"2\.00 CNY/h and 3\.00 CNY/h"):
        ledger.set_prices([own(gpu="L4", micros_per_hour=2_000_000), own(gpu="L4", micros_per_hour=3_000_000)])
    assert without_ids(ledger.prices()) == [own()]


def test_a_price_replaces_the_one_it_would_hold_beside(ledger):
    ledger.set_prices([own(), own(gpu="L4")])
    ledger.set_prices([own(micros_per_hour=2_000_000)], replace=True)
    assert without_ids(ledger.prices()) == [own(gpu="L4"), own(micros_per_hour=2_000_000)]


def test_a_list_replaces_the_older_one_of_its_source_and_provider(ledger):
    ledger.set_prices([own(provider="aws")])
    assert ledger.replace_price_lists([listed(region="a"), listed(region="b"), listed(provider="gcp")]) == 0
    assert ledger.replace_price_lists([listed(region="c")]) == 2
    assert ledger.replace_price_lists([listed(source="skypilot aws")]) == 0
    assert without_ids(ledger.prices()) == [
        own(provider="aws"),
        listed(provider="gcp"),
        listed(region="c"),
        listed(source="skypilot aws"),
    ]


def test_listed_prices_do_not_clash_with_own_ones(ledger):
    ledger.replace_price_lists([listed()])
    assert ledger.set_prices([own(provider="aws")])


def test_a_price_can_be_removed(ledger):
    (number,) = ledger.set_prices([own()])
    assert without_ids([ledger.remove_price(number)]) == [own()]
    assert ledger.prices() == []
    with pytest.raises(LedgerError, match=f"no price {number}"):
        ledger.remove_price(number)


def test_prices_are_written_beside_a_daemon_and_read_meanwhile(ledger, url):
    """The daemon keeps its connection; the command opens the ledger beside it, as `costctl prices set` does."""
    with Ledger.open(url) as beside, Ledger.read(url) as reader:
        beside.set_prices([own()])
        assert without_ids(reader.prices()) == [own()]
        assert without_ids(ledger.prices()) == [own()]
