"""Which offer a GPU would be rented by."""

from datetime import timedelta

import pytest

from costctl.domain.best_offers import Shelf, Terms
from costctl.domain.offers import Market, Origin
from costctl.errors import BadValueError


@pytest.fixture
def best(gpus, now):
    def best(offers, terms=None, gpu="T4", market=Market.ON_DEMAND):
        return Shelf(offers, now).best(gpus.named(gpu), market, terms or Terms())

    return best


def test_the_cheapest_is_taken(best, offer):
    cheap = offer(provider="gcp", micros_per_hour=400_000)
    assert (
        best([offer(), cheap, offer(gpu="L4", micros_per_hour=1), offer(market=Market.SPOT, micros_per_hour=2)])
        == cheap
    )
    assert best([offer()], gpu="L4") is None


def test_currencies_are_not_compared(best, offer):
    yuan = offer(currency="CNY", micros_per_hour=300_000, provider="reference-cn")
    assert best([offer(), yuan]).currency == "USD"
    assert best([offer(), yuan], Terms(currency="CNY")) == yuan
    assert best([yuan], Terms(currency="USD")) == yuan  # shown as it is, unconverted


def test_a_machine_with_one_gpu_comes_before_a_share_of_a_larger_one(best, offer, gpus, now):
    large = offer(gpu_count=4, micros_per_hour=1_000_001)
    assert best([large, offer()]) == offer()
    shelf = Shelf([large], now)
    price = shelf.price_of_one_gpu(shelf.best(gpus.named("T4"), Market.ON_DEMAND, Terms()), Terms())
    assert price.micros_per_hour == 250_000


def test_with_rates_the_cheapest_of_all_currencies_is_taken_in_the_one_to_compare_in(best, offer, gpus, now):
    terms = Terms(currency="CNY", convert=lambda micros, base, _: micros * 7 if base == "USD" else None)
    yuan, euros = (offer(currency=currency, provider=currency) for currency in ("CNY", "EUR"))
    dollars = offer(micros_per_hour=100_000)
    assert best([yuan, dollars, euros], terms) == yuan
    assert best([yuan, offer(micros_per_hour=70_000)], terms).currency == "USD"
    assert best([dollars, euros], terms) == dollars
    price = Shelf([dollars], now).price_of_one_gpu(dollars, terms)
    assert (price.micros_per_hour, price.currency) == (700_000, "CNY")
    assert Shelf([euros], now).price_of_one_gpu(euros, terms).currency == "EUR"  # without a rate it stays as it is


def test_of_several_other_currencies_dollars_are_taken(best, offer):
    euros = offer(currency="EUR", micros_per_hour=100, provider="gcp")
    assert best([euros, offer()], Terms(currency="CNY")) == offer()


def test_what_was_asked_for_holds_and_the_rest_only_where_it_leaves_something(best, offer):
    here, cheaper = offer(region="us-east-1"), offer(provider="gcp", region="us-central1", micros_per_hour=1000)
    usual = Terms(provider="aws", region="us-east-1")
    assert best([here, cheaper], usual) == here
    assert best([cheaper], usual) == cheaper
    assert best([cheaper], Terms(provider="aws", asked=frozenset({"provider"}))) is None
    assert best([here, cheaper], Terms(region="us-central1", asked=frozenset({"region"}))) == cheaper


def test_an_own_price_comes_first_if_it_holds(best, offer, now):
    own = offer(origin=Origin.OWN, provider=None, micros_per_hour=900_000)
    future = offer(origin=Origin.OWN, provider=None, micros_per_hour=100, since=now + timedelta(days=1))
    assert best([offer(), own, future]) == own
    asked = Terms(provider="aws", asked=frozenset({"provider"}))
    assert best([offer(), own], asked) == offer()


def test_of_an_older_and_a_newer_price_the_newer_holds(best, offer, now):
    older = offer(micros_per_hour=1000, since=now - timedelta(days=400))
    assert best([older, offer()]) == offer()


def test_serverless_workers_are_no_machines(best, offer):
    worker = offer(provider="runpod-serverless", micros_per_hour=1000)
    assert best([worker, offer()]) == offer()
    assert best([worker]) == worker


def test_unknown_providers_and_regions_are_named_with_those_there_are(offer, now):
    shelf = Shelf([offer(region="us-east-1"), offer(provider="runpod", gpu="L4")], now)
    assert shelf.gpus_at("AWS", "us-east-1") == ["T4"]
    with pytest.raises(BadValueError, match="the provider 'azur' is known; known are aws, runpod"):
        shelf.gpus_at("azur", None)
    with pytest.raises(BadValueError, match="the region 'mars' is known; known are us-east-1"):
        shelf.gpus_at(None, "mars")
    with pytest.raises(BadValueError, match="the region 'us-east-1' is known; known are none"):
        shelf.gpus_at("runpod", "us-east-1")
