"""`[[rate]]` in costctl.toml, and what is said of mistakes in it."""

from datetime import date
from decimal import Decimal

import pytest

from costctl.config.rates import read_rates
from costctl.config.tables import read_toml
from costctl.domain.rates import Rate
from costctl.errors import BadValueError

RATE = "[[rate]]\nfrom = 'USD'\nto = 'CNY'\nrate = '7.12'\ndate = 2026-01-31\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "costctl.toml"
        path.write_text(text, encoding="utf-8")
        return read_rates(read_toml(path))

    return read_text


def test_rates(read):
    assert read_rates(None) == read("") == ()
    text = RATE + "source = ' PBOC '\n" + RATE.replace("'7.12'", "7.2").replace("2026-01-31", "2026-02-01")
    expected = Rate(base="USD", quote="CNY", amount=Decimal("7.12"), dated=date(2026, 1, 31), source="PBOC")
    first, second = read(text.replace("USD", "usd"))
    assert first == expected
    assert (second.amount, second.dated, second.source) == (Decimal("7.2"), date(2026, 2, 1), "")


def test_both_directions_may_be_given_for_a_day(read):
    inverse = RATE.replace("'USD'", "'x'").replace("'CNY'", "'USD'").replace("'x'", "'CNY'")
    assert len(read(RATE + inverse)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RATE.replace("USD", "DOLLAR"), "line 2, rate.from: 'DOLLAR' is not a currency in use"),
        (RATE.replace("CNY", "BTC"), "line 3, rate.to: 'BTC' is not a currency in use"),
        (RATE.replace("CNY", "USD"), "line 1, rate: a rate is between two currencies, not USD and USD"),
        (RATE.replace("7.12", "0"), "line 1, rate: the rate 0 is not a number from"),
        (RATE.replace("7.12", "-7"), "line 4, rate.rate: '-7' is not a rate: write it like '7.12'"),
        (RATE.replace("7.12", "7,12"), "line 4, rate.rate: '7,12' is not a rate"),
        (RATE.replace("7.12", "7_1"), "line 4, rate.rate: '7_1' is not a rate"),
        (RATE.replace("'7.12'", "nan"), "line 4, rate.rate: nan is not a rate"),
        (RATE.replace("'7.12'", "inf"), "line 4, rate.rate: inf is not a rate"),
        (RATE.replace("'7.12'", "true"), "line 4, rate.rate: True is not a rate"),
        (RATE.replace("'7.12'", "[7]"), "line 4, rate.rate: [7] is not a rate"),
        (RATE.replace("date = 2026-01-31", ""), "line 1, rate: 'date' is missing"),
        (RATE.replace("2026-01-31", "'2026-01-31'"), "line 5, rate.date: '2026-01-31' is not a date: write it like"),
        (RATE.replace("2026-01-31", "2026-01-31T00:00:00"), "line 5, rate.date: 2026-01-31 00:00:00 is not a date"),
        (RATE + "source = 3", "line 6, rate.source: 3 is not a text"),
        (RATE + "note = 'x'", "line 6, rate.note: unknown key; known are from, to"),
        (RATE + RATE, "line 6, rate: USD to CNY on 2026-01-31 is given already"),
        ("[rate]\nfrom = 'USD'", "line 1, rate: write it as [[rate]], once for each"),
    ],
)
def test_mistakes_are_said_with_their_line_and_key(read, text, words):
    with pytest.raises(BadValueError) as caught:
        read(text)
    assert words in str(caught.value)
