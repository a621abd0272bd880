"""Which price a machine gets, and what is said of every other."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.adapters import catalog
from costctl.domain.matching import clashes
from costctl.domain.money import parse_price
from costctl.domain.offers import Market, Offer, Origin
from costctl.domain.prices import Basis, choose, chosen_by_setting
from costctl.domain.sessions import Instance

AT_AWS = {"provider": "aws", "instance_type": "g4dn.xlarge", "region": "us-east-1", "market": "on-demand"}
NOW = datetime(2026, 2, 1, tzinfo=UTC)
MODELS = catalog.gpu_models()


def machine(gpu="Tesla T4", gpu_count=1, **facts):
    return Instance(machine="box", gpu=gpu, gpu_count=gpu_count, **facts)


@pytest.fixture
def pick(models, shipped):
    def pick(box, *own, listed=None):
        return choose(box, own=own, listed=shipped if listed is None else listed, models=models, now=NOW)

    return pick


def test_an_own_price_comes_before_the_catalog(pick, offer):
    choice = pick(machine(**AT_AWS), offer())
    assert (choice.basis, str(choice.price)) == (Basis.OWN, "1.80 CNY/h")
    assert choice.price.source == "own price of 2026-01-05"
    assert [one.taken for one in choice.candidates] == [True]


def test_without_an_own_price_the_catalog_is_asked(pick):
    choice = pick(machine(**AT_AWS))
    assert (choice.basis, str(choice.price)) == (Basis.CATALOG, "0.526 USD/h")
    assert choice.price.source == "catalog: aws g4dn.xlarge us-east-1 on-demand, 2026-07-20"
    assert [one.offer.place for one in choice.candidates if one.taken] == ["aws g4dn.xlarge us-east-1 on-demand"]
    whys = {one.why for one in choice.candidates if not one.taken}
    assert {"it is for 4 GPUs, not 1", "it is for the market spot, not on-demand"} <= whys
    assert all(one.why for one in choice.candidates)


def test_a_newer_imported_list_comes_before_the_catalog(pick, shipped, offer):
    newer = offer(
        origin=Origin.LIST,
        source="gpuhunt",
        since=datetime(2026, 11, 1, tzinfo=UTC),
        currency="USD",
        **(AT_AWS | {"market": Market.ON_DEMAND}),
    )
    choice = pick(machine(**AT_AWS), listed=[*shipped, newer])
    assert (choice.basis, choice.offer) == (Basis.LIST, newer)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (machine(gpu=None, gpu_count=0), "no GPU of this machine is known"),
        (machine(), "this machine's provider is not set"),
        (machine(gpu="Tesla V100-SXM2-16GB", provider="aws"), "is in no price list"),
        (machine(provider="nobody"), "no offer of nobody matches 1 x Tesla T4"),
        (machine(gpu_count=3, provider="aws"), "no offer of aws matches 3 x Tesla T4"),
        (machine(**AT_AWS | {"region": "mars-1"}), "no offer of aws matches"),
    ],
)
def test_unknown_stays_unknown(pick, box, words):
    choice = pick(box)
    assert (choice.basis, choice.price, choice.offer) == (Basis.UNKNOWN, None, None)
    assert words in choice.reason
    assert not any(one.taken for one in choice.candidates)


def test_several_matches_give_a_range_and_no_price(pick):
    choice = pick(machine(provider="aws", instance_type="g4dn.xlarge", region="us-east-1"))
    assert choice.price is None
    assert [str(one) for one in choice.ranges] == ["0.2039 to 0.526 USD/h"]
    assert choice.reason.endswith("set market")
    everywhere = pick(machine(provider="aws"))
    assert [one.currency for one in everywhere.ranges] == ["CNY", "USD"]
    assert everywhere.reason.endswith("set instance-type and region and market")


def test_the_only_match_is_taken_and_what_was_assumed_is_said(pick):
    choice = pick(machine(provider="REFERENCE-CN"))
    assert str(choice.price) == "1.80 CNY/h"
    assert choice.price.source.endswith("(assumed: instance-type, region, market)")
    assert "instance-type, region, market" in choice.remarks[0]


def test_matches_that_cost_the_same_are_one_price(pick, offer):
    twins = [
        offer(origin=Origin.CATALOG, provider="aws", region=region, since=datetime(2026, 1, day, tzinfo=UTC))
        for region, day in (("a", 9), ("b", 8))
    ]
    choice = pick(machine(provider="aws"), listed=twins)
    assert choice.offer == twins[1]  # of the same price the older word: nothing looks fresher than it is
    assert [one.why for one in choice.candidates] == ["it costs the same as the one taken", "it matches"]


def test_old_and_undated_prices_are_remarked(pick, offer):
    old = pick(machine(), offer(since=NOW - timedelta(days=400)))
    assert any("400 days old" in remark for remark in old.remarks)
    undated = pick(machine(provider="x"), listed=[offer(origin=Origin.CATALOG, provider="x", since=None)])
    assert any("age of this price is unknown" in remark for remark in undated.remarks)


def test_the_newest_own_price_that_holds_is_taken(pick, offer):
    old, new, future = (offer(since=NOW + timedelta(days=days)) for days in (-30, -1, 1))
    choice = pick(machine(), old, future, new)
    assert choice.offer == new
    whys = {one.offer: one.why for one in choice.candidates}
    assert whys[future] == "it is valid only from 2026-02-02"
    assert whys[old] == "a narrower or newer own price holds"


def test_a_narrower_own_price_comes_before_a_newer_general_one(pick, offer):
    narrow = offer(provider="aws", since=NOW - timedelta(days=30))
    general = offer(since=NOW - timedelta(days=1))
    assert pick(machine(provider="aws"), general, narrow).offer == narrow
    assert pick(machine(provider="gcp"), general, narrow).offer == general


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"gpu": "L4"}, "it is for the GPU L4"),
        ({"gpu_count": 2}, "it is for 2 GPUs, not 1"),
        ({"provider": "gcp"}, "it is for the provider gcp, not aws"),
        ({"region": "us-west-2"}, "it is for the region us-west-2, not us-east-1"),
        ({"market": Market.SPOT}, "it is for the market spot, not on-demand"),
    ],
)
def test_an_own_price_for_another_machine_does_not_hold(pick, offer, facts, why):
    choice = pick(machine(**AT_AWS), offer(**facts))
    assert choice.basis is Basis.CATALOG
    assert choice.candidates[0].why == why


def test_an_own_price_holds_only_where_what_it_states_is_known(pick, offer):
    choice = pick(machine(), offer(provider="autodl"))
    assert choice.price is None
    assert choice.candidates[0].why == "it is for one provider, and this machine's provider is not set"


def test_own_prices_of_both_markets_are_not_guessed_between(pick, offer):
    both = offer(), offer(market=Market.SPOT, micros_per_hour=900_000)
    choice = pick(machine(), *both)
    assert choice.price is None
    assert [str(one) for one in choice.ranges] == ["0.90 to 1.80 CNY/h"]
    assert str(pick(machine(market="spot"), *both).price) == "0.90 CNY/h"


def test_an_own_price_of_a_gpu_nobody_knows_goes_by_its_name(pick, offer):
    choice = pick(machine(gpu="Tesla V100-SXM2-16GB"), offer(gpu="tesla v100-sxm2-16gb"))
    assert choice.basis is Basis.OWN


def test_a_setting_comes_first(now):
    price = parse_price("2 CNY/h", source="--price", dated=now)
    choice = chosen_by_setting(price)
    assert (choice.basis, choice.price) == (Basis.SETTING, price)
    assert "--price says 2.00 CNY/h" in choice.reason


def test_two_own_prices_at_once_clash(offer):
    assert list(clashes([offer()], [offer(micros_per_hour=1)])) == [(offer(micros_per_hour=1), offer())]
    assert len(list(clashes([offer(), offer(currency="USD")], []))) == 1
    assert len(list(clashes([offer(provider="aws"), offer(region="x")], []))) == 1  # both would hold at aws in x
    for other in (
        offer(since=NOW),
        offer(gpu="L4"),
        offer(gpu_count=2),
        offer(market=Market.SPOT),
        offer(provider="aws"),  # narrower
    ):
        assert list(clashes([other], [offer()])) == []
    assert list(clashes([offer(provider="aws")], [offer(provider="gcp")])) == []


facts = st.sampled_from((None, "a", "b"))
own_prices = st.builds(
    Offer,
    gpu=st.sampled_from(("T4", "L4")),
    gpu_count=st.integers(min_value=1, max_value=2),
    market=st.sampled_from(Market),
    currency=st.sampled_from(("CNY", "USD")),
    micros_per_hour=st.integers(min_value=1, max_value=9_000_000),
    origin=st.just(Origin.OWN),
    provider=facts,
    instance_type=facts,
    region=facts,
    since=st.integers(min_value=-3, max_value=1).map(lambda days: NOW + timedelta(days=days)),
)
boxes = st.builds(
    machine,
    gpu=st.sampled_from(("Tesla T4", "NVIDIA L4")),
    gpu_count=st.integers(min_value=1, max_value=2),
    provider=facts,
    instance_type=facts,
    region=facts,
    market=st.sampled_from((None, *Market)),
)


@given(boxes, st.lists(own_prices, max_size=12))
def test_any_book_without_clashes_gives_one_explained_answer(box, book):
    book = [price for number, price in enumerate(book) if not list(clashes([price], book[:number]))]
    choice = choose(box, own=book, listed=(), models=MODELS, now=NOW)
    again = choose(box, own=book[::-1], listed=(), models=MODELS, now=NOW)
    assert choice.price == again.price
    assert len(choice.candidates) == len(book)
    assert all(one.why for one in choice.candidates)
    assert sum(one.taken for one in choice.candidates) == (choice.price is not None)
    if choice.offer is not None:
        taken = choice.offer
        assert taken.since <= NOW
        for fact in ("provider", "instance_type", "region"):
            assert getattr(taken, fact) in {None, getattr(box, fact)}
