from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.standing import StandingCharge, When, standing_cost
from costctl.errors import BadValueError

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
START = datetime(2024, 1, 1, tzinfo=UTC)
instants = st.integers(0, 3 * 366 * 86_400 * 10**6).map(lambda number: START + timedelta(microseconds=number))


def disk(**given):
    return StandingCharge(name="disk", micros_per_month=31_000_000, currency="CNY", **given)


def month(year, number, zone=UTC):
    return datetime(year, number, 1, tzinfo=zone).astimezone(UTC)


def test_a_whole_month_is_the_amount_however_long_it_is():
    for number in range(1, 12):
        assert standing_cost(disk(), month(2024, number, BERLIN), month(2024, number + 1, BERLIN), BERLIN) == 31_000_000


def test_a_day_of_january_is_one_part_in_31():
    day = datetime(2026, 1, 5, tzinfo=UTC)
    assert standing_cost(disk(), day, day + timedelta(days=1), UTC) == 1_000_000


def test_the_hour_that_daylight_saving_takes_is_not_paid():
    # March in Berlin has 743 hours: the day of the change 23 of them
    day = datetime(2026, 3, 29, tzinfo=BERLIN).astimezone(UTC)
    next_day = datetime(2026, 3, 30, tzinfo=BERLIN).astimezone(UTC)
    assert next_day - day == 23 * HOUR
    assert standing_cost(disk(), day, next_day, BERLIN) == pytest.approx(31_000_000 * 23 / 743, abs=1)


def test_bounds_that_are_dates_are_midnights_in_the_reports_zone():
    shanghai = ZoneInfo("Asia/Shanghai")
    charge = disk(begins=date(2026, 1, 31), ends=date(2026, 2, 1))
    assert standing_cost(charge, month(2026, 1, shanghai), month(2026, 3, shanghai), shanghai) == 1_000_000
    exact = disk(begins=datetime(2026, 1, 31, tzinfo=UTC), ends=datetime(2026, 2, 1, tzinfo=UTC))
    assert standing_cost(exact, month(2026, 1), month(2026, 2), UTC) == 1_000_000


def test_while_a_machine_is_up_or_not():
    begin, end = month(2026, 1), month(2026, 2)
    up = [
        (begin + timedelta(days=1), begin + timedelta(days=3)),
        (begin + timedelta(days=2), begin + timedelta(days=4)),
        (begin - timedelta(days=5), begin - timedelta(days=4)),
    ]
    assert standing_cost(disk(when=When.ON), begin, end, UTC, up) == 3_000_000
    assert standing_cost(disk(when=When.OFF), begin, end, UTC, up) == 28_000_000
    assert standing_cost(disk(when=When.OFF), begin, end, UTC) == 31_000_000


def test_a_charge_cannot_end_before_it_begins():
    with pytest.raises(BadValueError, match="'disk' ends \\(2026-01-01\\) before it begins \\(2026-02-01\\)"):
        disk(begins=date(2026, 2, 1), ends=date(2026, 1, 1))


@given(st.integers(0, 10**12), st.lists(instants, min_size=2, max_size=8), zones, st.lists(instants, max_size=6))
def test_any_partition_sums_to_the_whole_with_and_without_a_machine(micros, edges, zone, ups):
    edges.sort()
    up = list(zip(ups[::2], ups[1::2], strict=False))
    costs = {}
    for when in When:
        charge = StandingCharge(name="x", micros_per_month=micros, currency="CNY", when=when)
        parts = [standing_cost(charge, a, b, zone, up) for a, b in pairwise(edges)]
        costs[when] = standing_cost(charge, edges[0], edges[-1], zone, up)
        assert sum(parts) == costs[when]
        assert all(part >= 0 for part in parts)
    assert costs[When.ON] + costs[When.OFF] == costs[When.ALWAYS]
