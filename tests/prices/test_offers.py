from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.currencies import is_currency, units_per_dollar
from costctl.domain.offers import (
    Doubts,
    Market,
    Origin,
    check_amount,
    newest_of_each,
    read_amount,
    to_micros,
)
from costctl.errors import BadValueError


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"micros_per_hour": 0}, "not more than zero"),
        ({"micros_per_hour": -1}, "not more than zero"),
        ({"micros_per_hour": 500_000_000, "currency": "USD"}, "500 and more per GPU-hour"),
        ({"micros_per_hour": 4_000_000_000, "gpu_count": 8, "currency": "USD"}, "500 and more per GPU-hour"),
        ({"currency": ""}, "without a currency"),
        ({"currency": "XYZ"}, "not a currency in use"),
        ({"currency": "cny"}, "not a currency in use"),
        ({"gpu": " "}, "GPU is missing"),
        ({"gpu_count": 0}, "at least one whole GPU"),
        ({"since": None}, "the date is missing"),
    ],
)
def test_what_is_no_price_cannot_become_an_offer(offer, facts, words):
    with pytest.raises(BadValueError, match=words):
        offer(**facts)


def test_a_date_needs_a_time_zone(offer):
    with pytest.raises(ValueError, match="time zone"):
        offer(since=datetime(2026, 1, 5))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    "text", ["", "abc", "1,8", "1.8 CNY", "0x10", "1_000", "1e999", "--1", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_what_is_no_number_is_not_read(text):
    with pytest.raises(BadValueError, match="is not a number"):
        read_amount(text)


@pytest.mark.parametrize("text", ["nan", "NaN", "-inf", "Infinity"])
def test_numbers_that_are_none_are_no_price(text):
    with pytest.raises(BadValueError, match="is not a number"):
        check_amount(read_amount(text), currency="USD", gpu_count=1)


@given(st.decimals(min_value=0, max_value=Decimal("499.999999"), places=9))
def test_amounts_are_rounded_to_the_micro_unit(amount):
    assert abs(Decimal(to_micros(read_amount(f"{amount:f}"))) - amount * 1_000_000) <= Decimal("0.5")


@given(st.integers(min_value=1, max_value=16), st.decimals(min_value=1, max_value=10_000, places=6))
def test_the_placeholder_bound_is_per_gpu_and_in_units_of_about_a_dollar(count, amount):
    for currency in ("USD", "CNY", "JPY", "KRW"):
        plausible = amount < 500 * count * units_per_dollar(currency)
        try:
            check_amount(amount, currency=currency, gpu_count=count)
        except BadValueError:
            assert not plausible
        else:
            assert plausible


def test_currencies():
    assert all(map(is_currency, ("CNY", "USD", "EUR", "JPY", "GBP", "INR")))
    assert not any(map(is_currency, ("", "XXX", "XAU", "BTC", "usd", "USD ", "AED AFN")))


def test_old_undated_and_future_prices_are_marked(offer, now):
    doubts = Doubts([], now)
    assert doubts.about(offer(since=now - timedelta(days=180))) == []
    assert doubts.about(offer(since=now - timedelta(days=181))) == ["old"]
    assert doubts.about(offer(since=now + timedelta(days=1))) == ["not yet valid"]
    assert doubts.about(offer(since=None, origin=Origin.CATALOG)) == ["age unknown"]


def test_spot_that_is_no_cheaper_is_marked(offer, now):
    on_demand = offer(since=now)
    spot = offer(since=now, market=Market.SPOT)
    doubts = Doubts([on_demand, spot], now)
    assert doubts.about(spot) == ["spot as dear as on-demand"]
    assert doubts.about(on_demand) == []
    assert doubts.about(offer(since=now, market=Market.SPOT, micros_per_hour=1)) == []
    assert doubts.about(offer(since=now, market=Market.SPOT, currency="USD")) == []


def test_of_the_same_thing_the_newest_price_counts(offer):
    def listed(day, **facts):
        dated = datetime(2025, 1, day, tzinfo=UTC) if day else None
        return offer(**({"origin": Origin.CATALOG, "since": dated, "provider": "aws"} | facts))

    old, new, undated = listed(1), listed(3), listed(None)
    later = listed(None, not_before=datetime(2025, 8, 1, tzinfo=UTC))
    imported = listed(3, origin=Origin.LIST)
    other = listed(1, region="us-east-1")
    assert newest_of_each([old, undated, new, other]) == [new, other]
    assert newest_of_each([undated, old]) == [old]
    assert newest_of_each([new, later]) == [later]
    assert newest_of_each([imported, new]) == newest_of_each([new, imported]) == [imported]


def test_a_price_says_where_it_is_from(offer, now):
    assert offer().as_price(now).source == "own price of 2026-01-05"
    facts = {"provider": "aws", "instance_type": "g4dn.xlarge", "region": "us-east-1"}
    shipped = offer(origin=Origin.CATALOG, **facts)
    assert shipped.as_price(now).source == "catalog: aws g4dn.xlarge us-east-1 on-demand, 2026-01-05"
    assert shipped.as_price(now).dated == shipped.since
    assert shipped.as_price(now, assumed=["market"]).source.endswith("2026-01-05 (assumed: market)")
    undated = offer(origin=Origin.CATALOG, since=None, not_before=datetime(2025, 8, 1, tzinfo=UTC), **facts)
    assert undated.as_price(now).source.endswith("date unknown (not before 2025-08-01)")
    assert undated.as_price(now).dated == undated.not_before
    assert offer(origin=Origin.LIST, source="gpuhunt").as_price(now).source.startswith("price list gpuhunt: ")
