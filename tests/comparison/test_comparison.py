"""What a workload would cost elsewhere."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costctl.domain.baseline import parse_baseline
from costctl.domain.best_offers import Terms
from costctl.domain.comparison import Lack, per_year, share_less
from costctl.domain.fit import Verdict
from costctl.domain.offers import Market
from costctl.domain.roofline import Traffic
from costctl.domain.workload import Spent

HOUR = timedelta(hours=1)
BOTH = ("T4", "A10G")


def spent(micros, currency="USD", length=20 * HOUR):
    return Spent(gpu="A10G", market=Market.ON_DEMAND, currency=currency, micros=micros, length=length)


def only(found, gpu, market=Market.ON_DEMAND):
    (row,) = [row for row in found.rows if row.on.gpu.name == gpu and row.market is market]
    return row


def test_a_measured_and_an_estimated_gpu_side_by_side(compared, load, offer):
    """The A10G is where it ran: 10 h busy and 10 h besides, at 1 USD/h."""
    mine = load(starting=HOUR, idle=7 * HOUR, other=2 * HOUR)
    found = compared([mine], BOTH, [offer(), offer(gpu="A10G", micros_per_hour=1_000_000)])
    a10g, t4 = only(found, "A10G"), only(found, "T4")
    assert (a10g.on.weakest.ground.basis, a10g.on.as_run, a10g.as_run_micros) == ("measured", 20 * HOUR, 20_000_000)
    assert (a10g.always_on_micros, per_year(a10g.always_on_micros, a10g.period)) == (168_000_000, 8_736_000_000)
    assert t4.on.weakest.ground.basis == "estimated"
    assert t4.on.as_run - t4.on.busy == 10 * HOUR  # loading and idle tails do not change
    assert t4.as_run_micros == pytest.approx(t4.on.as_run / HOUR * 500_000, abs=1)
    assert a10g.micros_per_million_tokens == pytest.approx(20_000_000 / (6000 * 768 / 1e6), abs=1)


def test_a_model_that_is_too_large_is_not_the_cheapest_however_cheap(compared, load, offer):
    mine = load(model="Qwen/Qwen3-8B")
    found = compared([mine], BOTH, [offer(micros_per_hour=1000), offer(gpu="A10G", micros_per_hour=9_000_000)])
    assert only(found, "T4").on.verdict is Verdict.TOO_LARGE
    assert found.cheapest("USD").on.gpu.name == "A10G"


def test_every_model_has_to_fit_and_hours_add_up(compared, load, offer):
    found = compared([load(), load(model="Qwen/Qwen3-8B", busy=5 * HOUR)], BOTH, [offer(), offer(gpu="A10G")])
    assert only(found, "T4").on.verdict is Verdict.TOO_LARGE
    assert only(found, "A10G").on.as_run == 15 * HOUR


def test_with_a_model_that_is_unknown_it_is_unknown_whether_it_fits(compared, load, offer):
    found = compared([load(model="who/knows")], ["T4"], [offer()])
    assert (found.rows[0].on.verdict, found.rows[0].as_run_micros) == (None, 5_000_000)
    both = compared([load(model="who/knows"), load(model="Qwen/Qwen3-8B")], ["T4"], [offer()])
    assert both.rows[0].on.verdict is Verdict.TOO_LARGE


def test_time_without_an_engine_says_nothing_of_fit_and_speed(compared, load, offer):
    machine = load(model=None, busy=timedelta(0), traffic=Traffic(), other=HOUR)
    found = compared([load(), machine], ["A10G"], [offer(gpu="A10G")])
    assert (found.rows[0].on.verdict, found.rows[0].on.weakest.ground.basis) == (Verdict.FITS, "measured")


def test_none_is_cheaper_than_what_there_is(compared, load, offer):
    offers = [offer(), offer(gpu="A10G", micros_per_hour=1_000_000)]
    cheap = compared([load()], BOTH, offers, spent=[spent(5_000_000)])
    dear = compared([load()], BOTH, offers, spent=[spent(11_000_000)])
    assert (cheap.is_none_cheaper("USD"), dear.is_none_cheaper("USD")) == (True, False)


def test_what_is_only_partly_known_compares_with_nothing(compared, load, offer):
    found = compared([load()], ["T4"], [offer()], spent=[spent(1)])
    partly = replace(found, workload=replace(found.workload, is_partly_unpriced=True))
    assert (found.is_none_cheaper("USD"), partly.is_none_cheaper("USD")) == (True, False)


def test_a_context_that_fits_has_to_hold_the_requests_that_there_were(compared, load, offer):
    """On an A10G, Llama 3.1 8B has room for some 19,000 tokens."""
    llama = {"model": "meta-llama/Llama-3.1-8B-Instruct", "context": None}
    short, long = (Traffic(requests=10, prompt_tokens=10 * size, generation_tokens=100) for size in (500, 60_000))
    verdicts = [compared([load(traffic=one, **llama)], ["A10G"]).rows[0].on.verdict for one in (short, long)]
    assert verdicts == [Verdict.SHORTER, Verdict.TOO_LARGE]


def test_currencies_are_compared_each_for_itself(compared, load, offer):
    offers = [offer(currency="CNY", micros_per_hour=1), offer(gpu="A10G", micros_per_hour=9_000_000)]
    found = compared([load()], BOTH, offers, spent=[spent(5_000_000), spent(1, "CNY")])
    assert found.currencies == ("CNY", "USD")
    assert [found.cheapest(currency).on.gpu.name for currency in found.currencies] == ["T4", "A10G"]
    # What was spent in one currency is only a part, so nothing is cheaper or dearer than it.
    assert [found.spent_micros(currency) for currency in found.currencies] == [None, None]
    assert not any(map(found.is_none_cheaper, found.currencies))


def test_a_baseline_in_another_currency_is_shown_but_not_compared(compared, load, offer, gpus, now):
    baseline = parse_baseline("A10G always-on at 3.0 CNY/h", models=gpus, now=now)
    found = compared([load()], ["T4"], [offer()], baseline=baseline)
    assert (found.held.micros, found.less_than_baseline(found.rows[0])) == (504_000_000, None)


def test_a_baseline_as_run_needs_its_own_hours(compared, load, offer, gpus, now):
    baseline = parse_baseline("T4 as-run", models=gpus, now=now)
    found = compared([load()], ["A10G"], [offer(), offer(gpu="A10G")], baseline=baseline)
    assert found.held.micros == pytest.approx(found.held.row.on.as_run / HOUR * 500_000, abs=1)
    assert found.less_than_baseline(found.rows[0]) > 0


def test_a_spot_price_dearer_than_on_demand_is_shown_and_doubted(compared, load, offer):
    found = compared([load()], ["T4"], [offer(), offer(market=Market.SPOT, micros_per_hour=600_000)])
    assert only(found, "T4", Market.SPOT).doubts == ("spot as dear as on-demand",)
    assert found.cheapest("USD").market is Market.ON_DEMAND
    spot = compared([load()], ["T4"], [offer(), offer(market=Market.SPOT, micros_per_hour=100_000)])
    assert spot.cheapest("USD").market is Market.SPOT
    assert spot.cheapest("USD", Market.ON_DEMAND).market is Market.ON_DEMAND


def test_without_a_price_there_are_hours_but_no_costs(compared, load):
    found = compared([load()], ["T4"])
    (row,) = found.rows  # one, not one for each market
    assert (row.price, row.as_run_micros, row.always_on_micros) == (None, None, None)
    assert row.on.as_run > 10 * HOUR
    assert (found.currencies, found.cheapest("USD")) == ((), None)


def test_work_that_does_not_get_done_in_the_time_is_not_the_cheapest(compared, load, offer):
    found = compared([load(busy=160 * HOUR)], BOTH, [offer(), offer(gpu="A10G", micros_per_hour=9_000_000)])
    assert only(found, "T4").is_overfull
    assert found.cheapest("USD").on.gpu.name == "A10G"


def test_several_machines_have_several_times_the_hours_of_the_period(compared, load, offer):
    mine, offers = load(busy=400 * HOUR), [offer(gpu="A10G", micros_per_hour=1_000_000)]
    one, three = (compared([mine], ["A10G"], offers, machines=number) for number in (1, 3))
    assert (one.rows[0].is_overfull, one.rows[0].less_than_always_on, one.lack("USD")) == (True, None, Lack.TIME)
    assert (three.rows[0].is_overfull, three.rows[0].always_on_micros) == (False, 3 * 168_000_000)
    assert three.rows[0].less_than_always_on == Fraction(504 - 400, 504)
    assert (three.lack("USD"), three.cheapest("USD")) == (None, three.rows[0])


def test_it_is_known_why_nothing_can_be_recommended(compared, load, offer):
    large = load(model="Qwen/Qwen3-8B", busy=500 * HOUR)
    assert compared([large], ["T4"], [offer()]).lack("USD") is Lack.FIT
    found = compared([large], BOTH, [offer(), offer(gpu="A10G", currency="CNY")])
    assert (found.lack("USD"), found.lack("CNY")) == (Lack.PRICE, Lack.TIME)
    assert compared([load(model="who/knows", busy=None)], ["T4"], [offer()]).lack("USD") is Lack.HOURS


def test_a_converted_price_is_known_as_such_also_that_of_a_baseline(compared, load, offer, gpus, now):
    terms = Terms(currency="CNY", convert=lambda micros, base, _: micros * 7 if base == "USD" else None)
    offers = [offer(), offer(gpu="A10G", currency="CNY", micros_per_hour=3_000_000)]
    baseline = parse_baseline("A10G at 1 USD/h", models=gpus, now=now)
    found = compared([load()], BOTH, offers, terms=terms, baseline=baseline)
    assert [(row.currency, row.price.micros_per_hour, row.converted_from) for row in found.rows] == [
        ("CNY", 3_500_000, "USD"),
        ("CNY", 3_000_000, None),
    ]
    assert (found.held.micros, found.held.row.currency) == (168 * 7_000_000, "CNY")
    assert found.converted_from == ("USD", "USD")
    assert found.currencies == ("CNY",)


def test_what_was_spent_is_held_against_always_on(compared, load):
    found = compared([load()], ["T4"], spent=[spent(20_000_000)])
    assert found.always_on_micros("USD") == 168_000_000
    assert share_less(found.spent_micros("USD"), found.always_on_micros("USD")) == Fraction(148, 168)


def test_a_year_follows_only_from_a_week():
    assert per_year(14_400_000, timedelta(weeks=1)) == 748_800_000
    assert per_year(1, timedelta(days=31)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.tuples(*[st.integers(0, 168 * 3600)] * 2), micros=st.integers(1, 10**9))
def test_cost_grows_with_the_hours_and_as_run_is_never_more_than_always_on(compared, load, offer, lengths, micros):
    costs = []
    for seconds in sorted(lengths):
        mine = load(gpu=None, model=None, busy=timedelta(seconds=seconds))
        (row,) = compared([mine], ["T4"], [offer(micros_per_hour=max(1, micros // 3))]).rows
        assert row.as_run_micros <= row.always_on_micros
        costs.append(row.as_run_micros)
    assert costs[0] <= costs[1]
