from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.reports.cells import formatted, printable, value_text
from costctl.reports.outline import Amount, Column, Count, Length, Moment, Share, Table
from costctl.reports.wording import Wording
from tests.reports.sample_document import EMPTY, FOREIGN_NAMES, NAMES, PHASES, ZONE

ENGLISH = Wording.of("en")
NUMBER = Column(heading="cost", numeric=True)


def column_texts(cells, footer=None, column=NUMBER):
    table = Table(
        key="one",
        columns=(column,),
        rows=tuple((cell,) for cell in cells),
        footer=(footer,) if footer is not None else (),
    )
    texts = formatted(table, ENGLISH, ZONE)
    return [text for (text,) in texts.rows], "".join(texts.footer)


def usd(micros, **more):
    return Amount(micros=micros, currency="USD", **more)


def number(text):
    return Decimal(text.split()[0].replace(",", "").removesuffix("%"))


def test_a_table_is_text_cell_by_cell():
    phases = formatted(PHASES, ENGLISH, ZONE)
    assert phases.rows[2] == ("off", "1.7", "33.3%", "1.33 CNY", "unknown")
    assert phases.footer == ("all", "5.0", "100.0%", "4.00 CNY", "0.0067")
    names = formatted(NAMES, ENGLISH, ZONE)
    assert names.rows[1] == (FOREIGN_NAMES[1], "1,234", "2026-02-01 01:30", "1h30m", "1.980001 USD/h")
    assert names.footer == ()
    assert formatted(EMPTY, ENGLISH, ZONE).rows == ()


def test_decimals_follow_the_largest_sum_of_a_column_in_each_currency():
    assert column_texts([usd(1_230_000), usd(12_345)]) == (["1.23 USD", "0.01 USD"], "")
    assert column_texts([usd(12_345), usd(-123)]) == (["0.0123 USD", "-0.0001 USD"], "")
    assert column_texts([usd(12_345)], usd(5_000_000)) == (["0.01 USD"], "5.00 USD")
    assert column_texts([usd(12_345), Amount(micros=5_000_000, currency="EUR")])[0] == ["0.0123 USD", "5.00 EUR"]
    assert column_texts([usd(0)])[0] == ["0.00 USD"]


def test_decimals_follow_the_currency():
    def yen(micros):
        return Amount(micros=micros, currency="JPY")

    assert column_texts([yen(1_980_400_000), yen(5_300_000)])[0] == ["1,980 JPY", "5 JPY"]
    assert column_texts([yen(5_300_000)])[0] == ["5.30 JPY"]


def test_a_rate_keeps_all_its_digits_unless_it_says_otherwise():
    assert column_texts([usd(1_987_654, per="h"), usd(2_000_000, per="h")])[0] == ["1.987654 USD/h", "2.00 USD/h"]
    assert column_texts([usd(1_987_654, per="1M tokens", decimals=3), usd(1_987_654, decimals=0)])[0] == [
        "1.988 USD/1M tokens",
        "2 USD",
    ]


def test_cells_do_not_repeat_what_the_heading_names():
    column = Column(heading="USD", numeric=True, names_unit=True)
    assert column_texts([usd(1_234_000_000)], usd(1_234_000_000), column) == (["1,234.00"], "1,234.00")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Length(timedelta(minutes=90), "hours"), "1.5 h"),
        (usd(4_000), "0.0040 USD"),
        (usd(1_980_000, per="h"), "1.98 USD/h"),
        (Count(12_345), "12,345"),
        (Moment(datetime(2026, 1, 31, 16, 30, 15, tzinfo=UTC), "second"), "2026-02-01 00:30:15"),
        (Moment(datetime(2026, 1, 31, 16, 30, 15, tzinfo=UTC), "day"), "2026-02-01"),
        (None, "unknown"),
        ("a|b", "a|b"),
    ],
)
def test_a_value_that_stands_alone_says_its_unit(value, text):
    assert value_text(value, ENGLISH, ZoneInfo("Asia/Shanghai")) == text


AMOUNTS = st.builds(
    Amount, micros=st.integers(-(10**7), 10**13), currency=st.sampled_from(["USD", "CNY", "JPY", "KWD"])
)


@given(st.lists(AMOUNTS | st.none(), min_size=1, max_size=20), st.data())
def test_printed_amounts_sum_to_the_printed_footer_in_every_currency(cells, data):
    totals = Counter()
    for cell in filter(None, cells):
        totals[cell.currency] += cell.micros
    code = data.draw(st.sampled_from(["USD", *totals]))
    footer = Amount(micros=totals[code], currency=code)
    texts, total = column_texts(cells, footer, Column(heading="cost", adds_up=True))
    assert sum(number(text) for text in texts if text.endswith(code)) == number(total)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20), st.sampled_from(["minutes", "hours"]))
def test_printed_lengths_and_shares_sum_to_the_printed_footer(microseconds, unit):
    whole = sum(microseconds)
    lengths = [Length(timedelta(microseconds=part), unit) for part in microseconds]
    column = Column(heading=unit, adds_up=True)
    texts, total = column_texts(lengths, Length(timedelta(microseconds=whole), unit), column)
    assert sum(map(number, texts)) == number(total)
    shares = [Share(Fraction(part, whole or 1)) for part in microseconds]
    texts, total = column_texts(shares, Share(Fraction(whole, whole or 1)), column)
    assert sum(map(number, texts)) == number(total)


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20))
def test_a_rounded_amount_is_less_than_a_cent_off(micros):
    texts, _ = column_texts(map(usd, micros), usd(10**10), Column(heading="cost", adds_up=True))
    for text, exact in zip(texts, micros, strict=True):
        assert abs(number(text) - Decimal(exact) / 10**6) <= Decimal("0.01")


def test_foreign_text_cannot_steer_a_terminal():
    assert printable("a\x1b[31m\r\nb\u202e\t显\u3000卡") == "a?[31m  b? 显 卡"
