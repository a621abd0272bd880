from datetime import date, timedelta
from fractions import Fraction
from math import gamma, pi, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.forecast import Method, MonthToDate, _quantile, forecast

LAST = date(2026, 1, 31)
MICROS = st.integers(0, 10**10)


def month(days, *, left=0, left_of_today=Fraction(1), **facts):
    """A month whose complete days cost `days`, with `left` more days after today."""
    return MonthToDate(
        currency="CNY",
        complete_days_micros=tuple(days),
        today=LAST - timedelta(days=left),
        today_micros=facts.pop("today_micros", 0),
        left_of_today=left_of_today,
        last_day=LAST,
        **facts,
    )


MONTHS = st.builds(
    month,
    st.lists(MICROS, min_size=3, max_size=30),
    left=st.integers(0, 27),
    left_of_today=st.fractions(0, 1, max_denominator=24),
    today_micros=MICROS,
    standing_micros=MICROS,
    standing_left_micros=MICROS,
)


def test_a_month_by_hand():
    # Days of 8, 10 and 12: mean 10, spread 2. Today 1 so far, half of it left, and four days: 4.5 days to come.
    # Expected 30 + 1 + 45; t(2) = 1.886, so 1.886 x 2 x sqrt(4.5 + 20.25 / 3) = 12.6516 to either side.
    so_far = month([8_000_000, 10_000_000, 12_000_000], left=4, left_of_today=Fraction(1, 2), today_micros=1_000_000)
    found = forecast(so_far)
    assert so_far.spent_micros == 31_000_000
    assert found.expected_micros == 76_000_000
    margin = 1.886 * 2 * sqrt(4.5 + 4.5**2 / 3) * 1_000_000
    assert found.high_micros == pytest.approx(76_000_000 + margin, abs=2)
    assert found.low_micros == pytest.approx(76_000_000 - margin, abs=2)
    assert found.method is Method.MEAN


def test_two_full_weeks_show_the_weekday():
    # 14 days before Thursday 29 January 2026: working days cost 10, weekends nothing. Thursday to Saturday are left.
    today = LAST - timedelta(days=2)
    days = [0 if (today - timedelta(days=ago)).weekday() >= 5 else 10_000_000 for ago in range(14, 0, -1)]
    found = forecast(month(days, left=2))
    assert found.method is Method.WEEKDAYS
    assert found.expected_micros == sum(days) + 20_000_000
    assert found.low_micros == found.high_micros == found.expected_micros
    one_day_less = forecast(month(days[1:], left=2))
    assert one_day_less.method is Method.MEAN
    assert one_day_less.high_micros > one_day_less.expected_micros > sum(days[1:]) + 20_000_000


def test_weekdays_by_hand():
    # Two weeks of 10 each day, but 8 and 12 on the Saturdays; only a Saturday is left: s^2 = 8 / 7, t(7) = 1.415,
    # so 1.415 x sqrt(8 / 7 x (1 + 1 / 2)) = 1.8527 to either side.
    days = [10_000_000] * 14
    days[0], days[7] = 8_000_000, 12_000_000
    found = forecast(month(days))
    assert found.expected_micros == 150_000_000
    assert found.high_micros - found.expected_micros == pytest.approx(1.415 * sqrt(12 / 7) * 1_000_000, abs=2)


@given(MONTHS)
def test_the_range_holds_the_point_and_never_falls_below_what_is_known(so_far):
    found = forecast(so_far)
    assert so_far.spent_micros + so_far.standing_left_micros <= found.low_micros
    assert found.low_micros <= found.expected_micros <= found.high_micros


@given(st.lists(MICROS, min_size=3, max_size=30), MICROS, MICROS)
def test_a_month_with_nothing_left_costs_what_was_spent(days, today, standing):
    so_far = month(days, left_of_today=Fraction(0), today_micros=today, standing_micros=standing)
    found = forecast(so_far)
    assert so_far.days_left == 0
    assert found.low_micros == found.expected_micros == found.high_micros == found.spent_micros
    assert found.spent_micros == sum(days) + today + standing


@given(st.integers(3, 30), MICROS, st.integers(0, 27))
def test_days_that_are_all_alike_go_on_without_a_range(count, micros, left):
    found = forecast(month([micros] * count, left=left))
    assert found.low_micros == found.expected_micros == found.high_micros == micros * (count + left + 1)


@given(MONTHS, st.integers(1, 10**9))
def test_what_is_known_to_be_charged_moves_all_alike(so_far, more):
    facts = {name: getattr(so_far, name) for name in MonthToDate.__slots__}
    moved = forecast(MonthToDate(**facts | {"standing_left_micros": so_far.standing_left_micros + more}))
    found = forecast(so_far)
    assert moved.expected_micros == found.expected_micros + more
    assert (moved.low_micros, moved.high_micros) == (found.low_micros + more, found.high_micros + more)
    assert moved.spent_micros == found.spent_micros


@pytest.mark.parametrize("days", [[], [5], [5, 6]])
def test_two_days_are_no_forecast(days):
    assert forecast(month(days, left=9)) is None


@pytest.mark.parametrize("freedom", range(1, 31))
def test_nine_in_ten_lie_below_the_quantile(freedom):
    assert below(float(_quantile(freedom)), freedom) == pytest.approx(0.9, abs=0.0001)


def test_with_more_days_than_the_table_has_the_range_is_rather_too_wide():
    assert 0.9 < below(float(_quantile(300)), 300) < 0.905


def below(quantile, freedom, steps=200):
    """Return the part of Student's t distribution below `quantile`, by Simpson's rule over its density."""
    ratio = gamma((freedom + 1) / 2) / gamma(freedom / 2)

    def density(t):
        return ratio / sqrt(freedom * pi) * (1 + t * t / freedom) ** (-(freedom + 1) / 2)

    width = quantile / steps
    weights = (1 if number in (0, steps) else 4 if number % 2 else 2 for number in range(steps + 1))
    return 0.5 + width / 3 * sum(weight * density(number * width) for number, weight in enumerate(weights))


@pytest.mark.parametrize(
    "facts",
    [{"today_micros": -1}, {"left": -1}, {"left_of_today": Fraction(3, 2)}, {"standing_left_micros": -1}],
)
def test_impossible_months_are_refused(facts):
    with pytest.raises(ValueError, match=r"nothing or more|a day of the month"):
        month([1, 2, 3], **facts)
