from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.hosted import HostedPrice, HostedPrices, ModelUse, break_even
from costctl.errors import BadValueError

HOUR = timedelta(hours=1)
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
MICROS = st.integers(1, 10**10)
TOKENS = st.integers(1, 10**12)


def price(provider="novita", model="Llama-3.1-8B-Instruct", tokens_in=0.02, tokens_out=0.05, dated=None):
    return HostedPrice(
        model=model,
        provider=provider,
        input_micros=round(tokens_in * 1_000_000),
        output_micros=round(tokens_out * 1_000_000),
        source="a test",
        dated=dated,
    )


def use(model=LLAMA, **facts):
    """An L4 for an hour, busy all the time: 558 tokens in and 513 out a second for 0.8048 USD."""
    usual = {
        "prompt_tokens": 558 * 3600,
        "generated_tokens": 513 * 3600,
        "cost_micros": 804_800,
        "currency": "USD",
        "billed": HOUR,
        "busy": HOUR,
    }
    return ModelUse(model=model, **(usual | facts))


def no_rate(micros, of, to):
    return None


def beside(model_use, *prices, convert=no_rate, **more):
    return break_even(model_use, HostedPrices(prices), convert, **more)


def test_the_l4_by_hand():
    # 2,008,800 tokens in and 1,846,800 out: 0.0603 + 0.0923 USD at 0.03/0.05, and 0.6940 at 0.18/0.18.
    cheap, dear = (
        price("deepinfra", tokens_in=0.03, tokens_out=0.05),
        price("together", tokens_in=0.18, tokens_out=0.18),
    )
    on_demand = beside(use(), cheap, dear)
    assert [cost.dollar_micros for cost in on_demand.offers] == [152_604, 694_008]
    assert [cost.saved_micros for cost in on_demand.offers] == [152_604 - 804_800, 694_008 - 804_800]
    assert [cost.is_never for cost in on_demand.offers] == [True, True]
    on_spot = beside(use(cost_micros=260_000), cheap, dear)
    assert [cost.is_never for cost in on_spot.offers] == [True, False]
    assert float(on_spot.offers[1].break_even) == pytest.approx(0.3746, abs=1e-4)


def test_a_busy_quarter_needs_the_same_utilisation_as_a_busy_hour():
    # Four billed hours with one busy one cost four times as much for the same tokens.
    whole = beside(use(), price()).offers[0]
    quarter = beside(use(billed=4 * HOUR, cost_micros=4 * 804_800), price()).offers[0]
    assert quarter.break_even == whole.break_even
    assert quarter.saved_micros < whole.saved_micros


SECONDS = st.integers(0, 86_400)


@given(st.tuples(TOKENS, TOKENS), MICROS, SECONDS.filter(bool), SECONDS, st.integers(1, 10**7))
def test_at_the_break_even_both_cost_the_same(tokens, cost, busy, rest, per_million):
    asked = HostedPrice(model=LLAMA, provider="p", source="s", input_micros=per_million, output_micros=2 * per_million)
    facts = use(
        prompt_tokens=tokens[0],
        generated_tokens=tokens[1],
        cost_micros=cost,
        busy=timedelta(seconds=busy),
        billed=timedelta(seconds=busy + rest),
    )
    (found,) = beside(facts, asked).offers
    if found.break_even is None:
        assert found.dollar_micros == 0
        return
    hosted_if_always_busy = Fraction(found.dollar_micros * (busy + rest), busy)
    assert found.break_even * hosted_if_always_busy == cost
    assert (found.saved_micros >= 0) == (facts.utilisation >= found.break_even)
    assert found.is_never == (hosted_if_always_busy < cost)


@given(TOKENS, TOKENS, st.integers(1, 10**8), st.integers(1, 10**8))
def test_tokens_are_rounded_once(tokens_in, tokens_out, micros_in, micros_out):
    asked = HostedPrice(model="m", provider="p", source="s", input_micros=micros_in, output_micros=micros_out)
    exact = Fraction(tokens_in * micros_in + tokens_out * micros_out, 10**6)
    assert abs(asked.cost(tokens_in, tokens_out) - exact) <= Fraction(1, 2)


def test_without_a_rate_nothing_is_said_of_the_gpu_and_with_one_all_is():
    yuan = use(currency="CNY", cost_micros=1_800_000)
    (unknown,) = beside(yuan, price(tokens_in=0.18, tokens_out=0.18)).offers
    assert (unknown.dollar_micros, unknown.converted_micros, unknown.saved_micros) == (694_008, None, None)
    assert unknown.break_even is None
    assert not unknown.is_never

    def seven(micros, of, to):
        assert (of, to) == ("USD", "CNY")
        return micros * 7

    (known,) = beside(yuan, price(tokens_in=0.18, tokens_out=0.18), convert=seven).offers
    assert known.converted_micros == 694_008 * 7
    assert known.break_even == Fraction(1_800_000, 694_008 * 7)


def test_what_was_never_busy_or_never_billed_breaks_even_nowhere():
    for nothing in (use(busy=0 * HOUR), use(busy=0 * HOUR, billed=0 * HOUR, cost_micros=0)):
        (found,) = beside(nothing, price()).offers
        assert found.break_even is None
        assert nothing.tokens_per_busy_second is None


def test_the_cheapest_few_are_named_one_of_each_provider():
    offers = [price(name, tokens_in=cost, tokens_out=cost) for name, cost in (("a", 4), ("b", 3), ("c", 2), ("d", 1))]
    dearer_tier = price("D", model="Llama-3.1-8B-Instruct-Turbo", tokens_in=1.5, tokens_out=1.5)
    found = beside(use(), *offers, dearer_tier, most=3)
    assert [(cost.price.provider, cost.price.input_micros) for cost in found.offers] == [
        ("d", 1_000_000),
        ("c", 2_000_000),
        ("b", 3_000_000),
    ]


def test_of_a_provider_the_price_with_a_date_is_taken():
    old, new = price(tokens_in=0.01), price(tokens_in=0.03, dated=date(2026, 10, 18))
    assert [cost.price for cost in beside(use(), old, new).offers] == [new]


def test_the_model_itself_comes_before_any_other():
    found = beside(use(), price(tokens_in=9, tokens_out=9), price("b", "Qwen3-8B"))
    assert [cost.price.provider for cost in found.offers] == ["novita"]
    assert not found.is_stand_in


def test_the_nearest_general_model_stands_in():
    others = [price("a", "Qwen2.5-7B-Instruct"), price("b", "Llama-Guard-3-8B"), price("c", "gemma-2-9b-it")]
    found = beside(use("my-own-mistral-7b"), *others, price("d", "Llama-3.1-8B"))
    assert [cost.price.provider for cost in found.offers] == ["a"]
    assert found.is_stand_in


@pytest.mark.parametrize(
    ("model", "generated"),
    [
        ("Qwen/Qwen3-14B", 1),  # 8 billion are not about 14
        ("Qwen/Qwen3-1.7B", 1),
        ("Qwen/Qwen3-30B-A3B", 1),  # what a mixture costs is not said by its size
        ("my-model", 1),
        ("chat", 1),
        ("Qwen/Qwen3-Embedding-8B", 0),  # no chat model does its work
    ],
)
def test_where_nothing_is_alike_nothing_stands_in(model, generated):
    found = beside(use(model, generated_tokens=generated), price(), price("someone", "turbo"))
    assert found.offers == ()
    assert not found.is_stand_in


def test_what_is_free_is_no_price():
    with pytest.raises(BadValueError, match=r"novita has no price of Llama-3\.1-8B-Instruct"):
        price(tokens_in=0)


@pytest.mark.parametrize("facts", [{"prompt_tokens": -1}, {"cost_micros": -1}, {"busy": 2 * HOUR}])
def test_impossible_use_is_refused(facts):
    with pytest.raises(ValueError, match=r"counted from zero|part of the billed"):
        use(**facts)
