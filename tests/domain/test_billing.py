"""Properties that hold for every rule, price, zone and time."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from fakes.phases import columns
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.billing import PowerOn, PriceSegment, apportion, bill
from costctl.domain.charges import full_hours
from costctl.domain.money import Price, Rounding, accrued, charged
from costctl.domain.rules import EXACT, BillingRule
from costctl.domain.sessions import Instance, Phase, PhaseSpan, Session
from costctl.errors import BadValueError

NOTHING = timedelta(0)
FIRST = datetime(2011, 1, 1, tzinfo=UTC)
DATED = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = sorted(available_timezones())
# Zones whose hours or days are odd: half hours, half-hour daylight saving, a day that was left out, years of 366 days.
ODD_ZONES = ["Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "America/New_York", "Europe/London", "Africa/Cairo"]

prices = st.integers(1, 10**8).map(
    lambda micros: Price(micros_per_hour=micros, currency="CNY", source="x", dated=DATED)
)
starts = st.integers(0, 24 * 366 * 86_400 * 10**6).map(lambda number: FIRST + timedelta(microseconds=number))
lengths = st.one_of(
    st.timedeltas(NOTHING, timedelta(minutes=10)),
    st.timedeltas(NOTHING, timedelta(days=70)),
    st.integers(0, 200_000).map(lambda seconds: timedelta(seconds=seconds)),
)
zones = st.sampled_from([*ODD_ZONES, *ZONES]).map(ZoneInfo)
increments = st.sampled_from([0, 1, 6, 60, 3600]).map(lambda seconds: timedelta(seconds=seconds))
minimums = st.sampled_from([0, 1, 60, 300, 3600]).map(lambda seconds: timedelta(seconds=seconds))
roundings = st.builds(Rounding, quantum_micros=st.sampled_from([1, 10_000, 1_000_000]), up=st.booleans())
charges_at_least = st.sampled_from([0, 1_000_000])
postpaid = st.builds(
    BillingRule,
    name=st.just("any"),
    increment=increments,
    minimum=minimums,
    settles_in=st.none() | zones,
    rounding=roundings,
    minimum_charge_micros=charges_at_least,
    bills_stopped=st.booleans(),
)
prepaid = st.builds(
    BillingRule,
    name=st.just("any"),
    increment=st.just(timedelta(hours=1)),
    minimum=minimums,
    is_prepaid=st.just(True),
    rounding=roundings,
    minimum_charge_micros=charges_at_least,
    bills_stopped=st.booleans(),
)
rules = postpaid | prepaid


@st.composite
def power_ons(draw, lengths=lengths):
    start = draw(starts)
    end = start + draw(lengths)
    later = draw(st.lists(st.tuples(st.timedeltas(timedelta(seconds=1), timedelta(days=3)), prices), max_size=3))
    changes = sorted({start + after: price for after, price in later}.items())
    segments = [PriceSegment(started_at=start, price=draw(prices))]
    segments += [PriceSegment(started_at=at, price=price) for at, price in changes]
    released = draw(st.none() | st.timedeltas(NOTHING, timedelta(hours=3)))
    return PowerOn(
        started_at=start,
        ended_at=end,
        prices=tuple(segments),
        released_at=None if released is None else end + released,
    )


def ended_at(power_on, end):
    return PowerOn(started_at=power_on.started_at, ended_at=end, prices=power_on.prices)


def between(found, start, end):
    """What of a bill falls to [start, end); None is before everything, or after everything."""
    reached = found.total_micros if end is None else found.amount_until(end)
    return reached - (0 if start is None else found.amount_until(start))


@given(power_ons(), rules, st.lists(st.floats(0, 1), max_size=12))
def test_whatever_partitions_a_session_sums_to_its_bill(power_on, rule, cuts):
    found = bill(power_on, rule)
    whole = found.stopped_until - found.started_at
    edges = [found.started_at, *sorted(found.started_at + whole * cut for cut in cuts), found.stopped_until]
    parts = apportion(found, edges)
    assert sum(parts) == found.total_micros
    assert min(parts) >= 0
    assert sum(between(found, a, b) for a, b in pairwise([None, *edges[1:-1], None])) == found.total_micros


@given(power_ons(), rules)
def test_the_lines_follow_each_other_and_make_the_total(power_on, rule):
    found = bill(power_on, rule)
    assert found.lines[0].started_at == power_on.started_at
    assert all(before.ended_at == after.started_at for before, after in pairwise(found.lines))
    assert found.lines[-1].ended_at >= found.stopped_until
    assert found.billed >= found.used
    assert all(line.why for line in found.lines)
    assert all(line.amount_micros >= 0 for line in found.lines)


@given(power_ons(), rules, zones)
def test_days_sum_to_months_and_months_to_the_session_in_any_zone(power_on, rule, zone):
    found = bill(power_on, rule)
    days = midnights(found.started_at, found.stopped_until, zone)
    months = [edge for edge in days if edge.astimezone(zone).day == 1]
    by_day = [between(found, a, b) for a, b in pairwise([None, *days, None])]
    by_month = [between(found, a, b) for a, b in pairwise([None, *months, None])]
    assert sum(by_day) == sum(by_month) == found.total_micros
    for a, b in pairwise(months):
        inside = [day for day in days if a <= day <= b]
        assert sum(between(found, x, y) for x, y in pairwise(inside)) == between(found, a, b)


def midnights(begin, end, zone):
    """The starts of days between two instants, as a report finds them; a day may be missing, or have 23 to 25 hours."""
    day: date = begin.astimezone(zone).date() + timedelta(days=1)
    edges = []
    while (edge := datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)) < end:
        if edge > begin and (not edges or edge > edges[-1]):
            edges.append(edge)
        day += timedelta(days=1)
    return edges


@given(power_ons(), rules, st.floats(0, 1))
def test_more_time_never_costs_less(power_on, rule, fraction):
    earlier = power_on.started_at + (power_on.ended_at - power_on.started_at) * fraction
    assert (
        bill(ended_at(power_on, earlier), rule).total_micros
        <= bill(ended_at(power_on, power_on.ended_at), rule).total_micros
    )


@given(power_ons(), rules, st.floats(0, 1), st.floats(0, 1))
def test_what_falls_to_the_time_before_an_instant_only_grows(power_on, rule, one, other):
    found = bill(power_on, rule)
    whole = found.stopped_until - found.started_at
    first, second = sorted((one, other))
    assert (
        0
        <= found.amount_until(found.started_at + whole * first)
        <= found.amount_until(found.started_at + whole * second)
    )
    assert found.amount_until(found.started_at) == 0
    assert found.amount_until(found.stopped_until + timedelta(microseconds=1)) == found.total_micros


@given(power_ons(), rules)
def test_no_rule_yields_less_than_its_minimum(power_on, rule):
    found = bill(power_on, rule)
    cheapest = min((segment.price for segment in power_on.prices), key=lambda price: price.micros_per_hour)
    assert found.total_micros >= rule.minimum_charge_micros
    assert found.billed >= max(rule.minimum, found.stopped_until - found.started_at)
    if rule.rounding.quantum_micros == 1 or rule.rounding.up:
        assert found.total_micros >= charged([(cheapest, rule.minimum)])


@given(power_ons(), rules, st.floats(0.01, 0.99))
def test_naming_the_same_price_again_changes_nothing(power_on, rule, fraction):
    at = power_on.started_at + (power_on.ended_at - power_on.started_at) * fraction
    if any(segment.started_at == at for segment in power_on.prices):
        return
    again = PriceSegment(started_at=at, price=power_on.price_at(at))
    segments = tuple(sorted((*power_on.prices, again), key=lambda segment: segment.started_at))
    split = PowerOn(
        started_at=power_on.started_at, ended_at=power_on.ended_at, prices=segments, released_at=power_on.released_at
    )
    assert bill(split, rule).total_micros == bill(power_on, rule).total_micros


@given(prices, starts, st.integers(0, 10**6), st.integers(0, 10**6))
def test_splitting_a_session_changes_no_second_that_is_billed(price, start, first, second):
    """By the second, two sessions bill the time of one. Each bill is rounded once, hence one micro-unit at most."""
    rule = BillingRule(name="second", increment=timedelta(seconds=1))
    middle, end = start + timedelta(seconds=first), start + timedelta(seconds=first + second)
    whole, one, two = (bill(PowerOn.at(price, a, b), rule) for a, b in [(start, end), (start, middle), (middle, end)])
    assert one.billed + two.billed == whole.billed
    assert abs(one.total_micros + two.total_micros - whole.total_micros) <= 1
    assert between(whole, None, middle) + between(whole, middle, None) == whole.total_micros


@given(prices, starts, lengths, st.floats(0, 1))
def test_the_exact_rule_is_what_accrues(price, start, length, fraction):
    found = bill(PowerOn.at(price, start, start + length), EXACT)
    assert found.total_micros == found.used_micros == accrued(price, length)
    assert found.amount_until(start + length * fraction) == accrued(price, length * fraction)


@given(power_ons(), rules.filter(lambda rule: rule.rounding.quantum_micros > 1 and rule.rounding.up))
def test_every_charge_is_rounded_once_to_what_can_be_paid(power_on, rule):
    found = bill(power_on, rule)
    assert found.total_micros % rule.rounding.quantum_micros == 0
    charges = len(found.lines) if rule.is_prepaid else 1 + sum("full hour" in line.why for line in found.lines)
    changes = [at for at in power_on.changes() if at < found.lines[-1].ended_at]
    if not changes and not rule.is_prepaid:
        price = power_on.prices[0].price
        exact = charged([(price, found.billed)])
        most = max(rule.rounding.quantum_micros, rule.minimum_charge_micros)
        assert 0 <= found.total_micros - exact + charges <= charges * (most + 1)


@given(prices, starts, lengths, lengths, st.floats(0, 1))
def test_a_month_that_is_over_stays_as_it_was(price, start, length, more, fraction):
    """By the second: while the session goes on, only the second that was begun may change."""
    rule = BillingRule(name="second", increment=timedelta(seconds=1), minimum=timedelta(seconds=60))
    past = timedelta(seconds=60) + length * fraction
    until = start + timedelta(seconds=60) + length + timedelta(seconds=1)
    now, later = (bill(PowerOn.at(price, start, end), rule) for end in (until, until + more))
    assert now.amount_until(start + past) == later.amount_until(start + past)


@given(starts, lengths, zones)
def test_settlements_are_at_full_hours_of_the_zone(start, length, zone):
    found = list(full_hours(start, start + min(length, timedelta(days=3)), zone))
    for hour in found:
        local = hour.astimezone(zone)
        assert (local.minute, local.second, local.microsecond) == (0, 0, 0)
    assert all(after - before <= timedelta(hours=1) for before, after in pairwise([start, *found]))


def test_settlements_where_hours_are_odd():
    # Lord Howe sets its clocks back by half an hour at 2:00 (15:00 UTC): the hour 1:30 to 2:00 comes twice.
    start = datetime(2026, 4, 4, 14, 10, tzinfo=UTC)
    found = full_hours(start, start + timedelta(hours=2), ZoneInfo("Australia/Lord_Howe"))
    assert [f"{hour:%H:%M}" for hour in found] == ["15:00", "15:30"]
    # In Kolkata hours begin at half past in UTC.
    found = full_hours(start, start + timedelta(hours=2), ZoneInfo("Asia/Kolkata"))
    assert [f"{hour:%H:%M}" for hour in found] == ["14:30", "15:30"]


@given(prices, starts, st.lists(st.integers(1, 10**10), min_size=1, max_size=8), rules)
def test_a_sessions_phases_sum_to_its_bill(price, start, microseconds, rule):
    edges = [start]
    for length in microseconds:
        edges.append(edges[-1] + timedelta(microseconds=length))
    kinds = list(Phase)
    spans = tuple(
        PhaseSpan(phase=kinds[number % len(kinds)], started_at=a, ended_at=b)
        for number, (a, b) in enumerate(pairwise(edges))
    )
    session = Session(
        id=1,
        instance=Instance(machine="box"),
        started_at=start,
        heartbeat_at=edges[-1],
        ended_at=edges[-1],
        end_reason=None,
        price=price,
        phase_columns=columns(spans),
        rule=rule,
    )
    assert sum(session.cost(span.started_at, span.ended_at) for span in spans) == session.cost()
    assert session.cost() == session.bill(price, rule).total_micros


def test_what_is_billed_beyond_the_use_falls_to_the_increment_it_began():
    # 61 s by the minute at 3.60: 0.06 for the first minute, 0.06 for the one second of the second
    price = Price(micros_per_hour=3_600_000, currency="CNY", source="x", dated=DATED)
    rule = BillingRule(name="minute", increment=timedelta(minutes=1))
    found = bill(PowerOn.at(price, DATED, DATED + timedelta(seconds=61)), rule)
    assert apportion(found, [DATED, DATED + timedelta(seconds=60), DATED + timedelta(seconds=61)]) == (60_000, 60_000)


def test_a_start_that_was_not_used_still_has_its_minimum():
    price = Price(micros_per_hour=3_600_000, currency="CNY", source="x", dated=DATED)
    found = bill(PowerOn.at(price, DATED, DATED), BillingRule(name="minute", minimum=timedelta(minutes=1)))
    assert found.total_micros == between(found, DATED, DATED + timedelta(seconds=1)) == 60_000
    assert apportion(found, [DATED, DATED]) == (60_000,)


def test_nonsense_is_refused():
    price = Price(micros_per_hour=1, currency="CNY", source="x", dated=DATED)
    with pytest.raises(ValueError, match="in this order"):
        PowerOn.at(price, DATED, DATED - timedelta(seconds=1))
    with pytest.raises(ValueError, match="in UTC"):
        PowerOn(started_at=DATED.replace(tzinfo=None), ended_at=DATED, prices=())
    with pytest.raises(ValueError, match="hold from the start"):
        PowerOn(started_at=DATED, ended_at=DATED, prices=())
    other = Price(micros_per_hour=1, currency="USD", source="x", dated=DATED)
    both = (PriceSegment(started_at=DATED, price=price), PriceSegment(started_at=DATED + timedelta(1), price=other))
    with pytest.raises(ValueError, match="one currency"):
        PowerOn(started_at=DATED, ended_at=DATED, prices=both)
    with pytest.raises(BadValueError, match="by the minute or more"):
        BillingRule(name="x", is_prepaid=True)
    with pytest.raises(BadValueError, match="not settled"):
        BillingRule(name="x", is_prepaid=True, increment=timedelta(hours=1), settles_in=UTC)
    with pytest.raises(BadValueError, match="a multiple of"):
        BillingRule(name="x", rounding=Rounding(quantum_micros=7), minimum_charge_micros=10)
    with pytest.raises(BadValueError, match="less than nothing"):
        BillingRule(name="x", minimum=timedelta(seconds=-1))
