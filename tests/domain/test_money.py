from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.money import MICRO, Price, accrued, format_amount, parse_price
from costctl.errors import BadValueError

DATED = datetime(2026, 1, 1, tzinfo=UTC)
micros_per_hour = st.integers(min_value=1, max_value=100_000 * MICRO)
lengths = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_500))


def price(micros):
    return Price(micros_per_hour=micros, currency="CNY", source="flag", dated=DATED)


def parse(text):
    return parse_price(text, source="flag", dated=DATED)


@pytest.mark.parametrize(
    ("text", "micros", "currency"),
    [
        ("1.8 CNY/h", 1_800_000, "CNY"),
        (" 0.526usd / hour ", 526_000, "USD"),
        ("2EUR/hr", 2_000_000, "EUR"),
        ("0.000001 USD/h", 1, "USD"),
        ("100000 JPY/h", 100_000 * MICRO, "JPY"),
    ],
)
def test_prices_as_people_write_them(text, micros, currency):
    assert parse(text) == Price(micros_per_hour=micros, currency=currency, source="flag", dated=DATED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a price"),
        ("1.8", "is not a price"),
        ("1.8 CNY", "is not a price"),
        ("$1.8/h", "is not a price"),
        ("1.8 CNY/day", "is not a price"),
        ("1e3 CNY/h", "is not a price"),
        ("NaN CNY/h", "is not a price"),
        ("1.8 U\N{LATIN SMALL LETTER LONG S}D/h", "is not a price"),
        ("1,8 CNY/h", "'1,8' in the price '1,8 CNY/h' is not a number"),
        ("1.8.1 CNY/h", "is not a number"),
        ("0 CNY/h", "must be more than 0"),
        ("-1 CNY/h", "must be more than 0"),
        ("100000.01 CNY/h", "at most 100000 an hour"),
        ("1.8000001 CNY/h", "more than six decimals"),
    ],
)
def test_other_prices_are_refused(text, words):
    with pytest.raises(BadValueError, match="price") as caught:
        parse(text)
    assert words in str(caught.value)


def test_a_price_refuses_nonsense():
    with pytest.raises(BadValueError, match="more than zero"):
        price(0)
    with pytest.raises(TypeError, match="micro-units"):
        price(1.8)
    with pytest.raises(ValueError, match="three capital letters"):
        Price(micros_per_hour=1, currency="cny", source="flag", dated=DATED)
    with pytest.raises(ValueError, match="time zone"):
        Price(micros_per_hour=1, currency="CNY", source="flag", dated=DATED.replace(tzinfo=None))


@given(micros_per_hour)
def test_a_price_can_be_written_and_read_again(micros):
    assert parse(str(price(micros))) == price(micros)
    assert price(micros).per_hour * MICRO == micros


@given(micros_per_hour, lengths)
def test_cost_is_the_exact_amount_rounded_once_half_to_even(micros, elapsed):
    exact = Decimal(micros) * (elapsed // timedelta(microseconds=1)) / Decimal(3_600_000_000)
    assert accrued(price(micros), elapsed) == exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN)


def test_halves_go_to_the_even_side():
    half_hour = timedelta(minutes=30)
    assert [accrued(price(micros), half_hour) for micros in (1, 3, 5)] == [0, 2, 2]


@given(micros_per_hour, st.lists(lengths, min_size=2, max_size=20))
def test_cost_never_falls_with_time_and_any_partition_sums_to_the_whole(micros, cuts):
    edges = sorted({timedelta(0), *cuts})
    amounts = [accrued(price(micros), edge) for edge in edges]
    assert amounts == sorted(amounts)
    assert sum(after - before for before, after in pairwise(amounts)) == amounts[-1]


def test_cost_does_not_accrue_backwards():
    with pytest.raises(ValueError, match="forwards only"):
        accrued(price(1), timedelta(microseconds=-1))


@pytest.mark.parametrize(
    ("micros", "decimals", "text"),
    [
        (1_800_000, None, "1.80"),
        (526_000, None, "0.526"),
        (1, None, "0.000001"),
        (0, None, "0.00"),
        (-1_500_000, None, "-1.50"),
        (12_345_678, 2, "12.35"),
        (12_345_678, 4, "12.3457"),
        (500_000, 0, "0"),
    ],
)
def test_amounts_are_plain_decimals(micros, decimals, text):
    assert format_amount(micros, decimals=decimals) == text


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_an_amount_keeps_every_micro_unit(micros):
    assert Decimal(format_amount(micros)) * MICRO == micros
