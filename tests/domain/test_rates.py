"""Rates of exchange: which one holds, and that converted stretches still add up."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.instants import microseconds_of
from costctl.domain.money import Price
from costctl.domain.rates import AppliedRate, Rate, Rates, converted, costing_in, rate_uses
from costctl.domain.rules import BillingRule
from costctl.domain.sessions import EndReason, Instance, Session
from costctl.errors import BadValueError

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def rate(amount="7.12", day="2026-01-01", base="USD", quote="CNY"):
    return Rate(base=base, quote=quote, amount=Decimal(amount), dated=date.fromisoformat(day))


def rates(*given, zone=UTC):
    return Rates.of(given, zone)


def session(length, micros=1_800_000, currency="USD", rule=None):
    return Session(
        id=1,
        instance=Instance(machine="box"),
        started_at=NOON,
        heartbeat_at=NOON + length,
        ended_at=NOON + length,
        end_reason=EndReason.IDLE,
        price=micros and Price(micros_per_hour=micros, currency=currency, source="test", dated=NOON),
        rule=rule,
    )


def test_the_newest_rate_on_or_before_the_day_holds():
    known = rates(rate("7.3", "2026-02-01"), rate("7.1", "2026-01-01"), rate("7.2", "2026-01-31"))
    amounts = {
        day: (found := known.find("USD", "CNY", datetime.fromisoformat(f"{day}T12:00Z"))) and str(found.rate.amount)
        for day in ("2025-12-31", "2026-01-01", "2026-01-30", "2026-01-31", "2027-01-01")
    }
    assert list(amounts.values()) == [None, "7.1", "7.1", "7.2", "7.3"]


def test_a_rate_s_day_begins_in_the_zone_of_the_report():
    eve = datetime(2026, 1, 30, 17, tzinfo=UTC)
    assert rates(rate(day="2026-01-31")).find("USD", "CNY", eve) is None
    assert rates(rate(day="2026-01-31"), zone=SHANGHAI).find("USD", "CNY", eve) is not None


def test_an_amount_is_converted_and_rounded_once_half_to_even():
    known = rates(rate("0.5"))
    assert [known.convert(micros, "USD", "CNY", NOON).micros for micros in (0, 1, 2, 3, -1)] == [0, 0, 1, 2, 0]
    assert known.convert(5, "CNY", "CNY", NOON).micros == 5
    assert known.convert(5, "CNY", "CNY", NOON).rate is None


def test_the_inverse_of_a_rate_is_used_and_said_to_be_one():
    found = rates(rate("8")).convert(1_000_000, "CNY", "USD", NOON)
    assert (found.micros, found.rate.is_inverse, found.rate.pair) == (125_000, True, ("CNY", "USD"))


def test_a_newer_inverse_goes_before_an_older_rate_but_not_before_one_of_its_day():
    newer = rate("0.125", "2026-01-02", base="CNY", quote="USD")
    assert rates(rate("7"), newer).convert(1, "USD", "CNY", NOON).micros == 8
    assert rates(rate("7", "2026-01-02"), newer).convert(1, "USD", "CNY", NOON).micros == 7


def test_there_are_no_chains_through_a_third_currency():
    known = rates(rate(), rate("0.9", quote="EUR"))
    assert known.convert(1, "EUR", "CNY", NOON) is None
    assert known.convert(1, "USD", "JPY", NOON) is None


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e-10", "1e10"])
def test_what_can_be_no_rate_is_refused(amount):
    with pytest.raises(BadValueError, match="is not a number from"):
        rate(amount)


def test_a_rate_is_between_two_currencies():
    with pytest.raises(BadValueError, match="between two currencies, not CNY and CNY"):
        rate(base="CNY")


def test_a_session_costs_in_the_currency_that_is_asked_for():
    known = rates(rate("7.12", "2026-01-31"), rate("9", "2026-02-01"))  # of the day it began, not when it ended
    of = session(timedelta(hours=20))
    found = costing_in(of, "CNY", known)
    assert (found.currency, found.costing([microseconds_of(of.known_until)])) == ("CNY", [256_320_000])
    assert found.rate.rate.amount == Decimal("7.12")


@pytest.mark.parametrize(
    ("of", "asked", "currency", "micros"),
    [
        (session(timedelta(hours=1)), None, "USD", 1_800_000),
        (session(timedelta(hours=1)), "USD", "USD", 1_800_000),
        (session(timedelta(hours=1), currency="EUR"), "CNY", "EUR", 1_800_000),
        (session(timedelta(hours=1), micros=None), "CNY", None, None),
    ],
)
def test_without_a_rate_a_session_stays_in_its_own_currency(of, asked, currency, micros):
    found = costing_in(of, asked, rates(rate()))
    cost = found.costing and found.costing([microseconds_of(of.known_until)])[0]
    assert (found.currency, cost, found.rate) == (currency, micros, None)


def test_the_rates_that_were_used_are_counted():
    dear, cheap, inverse = (
        AppliedRate(rate=rate()),
        AppliedRate(rate=rate("7", "2025-01-01")),
        AppliedRate(rate=rate(), is_inverse=True),
    )
    uses = rate_uses([dear, None, cheap, dear, inverse])
    assert [(use.applied, use.count) for use in uses] == [(inverse, 1), (cheap, 1), (dear, 2)]


rules = st.none() | st.builds(
    lambda seconds, least: BillingRule(
        name="any", increment=timedelta(seconds=seconds), minimum=timedelta(seconds=least)
    ),
    st.sampled_from([1, 60, 3600]),
    st.sampled_from([0, 60, 300]),
)
amounts = st.decimals("0.000001", "99999", places=6).filter(bool)
instants = st.timedeltas(timedelta(0), timedelta(days=40)).map(lambda after: NOON + after)
applied = st.builds(
    lambda amount, is_inverse: AppliedRate(rate=rate(amount), is_inverse=is_inverse), amounts, st.booleans()
)


@given(st.timedeltas(timedelta(0), timedelta(days=30)), st.integers(1, 10**9), rules, applied, st.lists(instants))
def test_any_partition_of_a_converted_session_sums_to_it(length, micros, rule, at, edges):
    whole = session(length, micros, rule=rule)
    costing = converted(whole.costing(), at)
    cuts = [NOON, *sorted(edges), NOON + timedelta(days=40)]
    reached = costing(list(map(microseconds_of, cuts)))
    parts = [after - before for before, after in pairwise(reached)]
    assert sum(parts) == reached[-1] == at.convert(whole.cost())
    assert min(parts) >= 0


@given(st.integers(0, 10**15), st.integers(0, 10**15), applied)
def test_more_money_never_converts_to_less(one, other, at):
    small, large = sorted((one, other))
    assert at.convert(small) <= at.convert(large)


@given(st.integers(0, 10**15), amounts)
def test_there_and_back_is_the_same_amount_but_for_the_rounding(micros, amount):
    there = AppliedRate(rate=rate(amount))
    back = AppliedRate(rate=rate(amount), is_inverse=True)
    assert there.factor * back.factor == 1
    assert abs(back.convert(there.convert(micros)) - micros) <= 1 + back.factor / 2
