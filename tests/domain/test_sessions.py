from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fakes.phases import columns
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session

START = datetime(2026, 1, 31, 20, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def session(*cuts, price_micros=None, open_until=None):
    """A session cut into phases at these seconds after its start, the last being its end."""
    edges = [at(seconds) for seconds in (0, *cuts)]
    kinds = list(Phase)
    return Session(
        id=1,
        instance=Instance(machine="box"),
        started_at=START,
        heartbeat_at=edges[-1],
        ended_at=None if open_until else edges[-1],
        end_reason=None if open_until else EndReason.IDLE,
        price=price_micros and Price(micros_per_hour=price_micros, currency="EUR", source="test", dated=START),
        phase_columns=columns(
            [
                PhaseSpan(phase=kinds[number % len(kinds)], started_at=begin, ended_at=end)
                for number, (begin, end) in enumerate(pairwise(edges))
            ]
        ),
    )


cuts = st.lists(st.integers(min_value=1, max_value=10**6), min_size=1, max_size=12, unique=True).map(sorted)
prices = st.integers(min_value=1, max_value=10**10)


def test_an_open_session_is_known_up_to_its_heartbeat():
    assert session(60, open_until=True).known_until == at(60)
    assert session(60).length == timedelta(minutes=1)


def test_an_unpriced_session_has_no_cost():
    assert session(60).cost() is None


def test_cost_of_a_stretch_stays_inside_the_session():
    priced = session(3600, price_micros=1_000_000)
    assert priced.cost() == 1_000_000
    assert priced.cost(at(-100), at(1800)) == 500_000
    assert priced.cost(at(1800), at(9999)) == 500_000
    assert priced.cost(at(5000), at(9999)) == 0
    assert priced.cost(at(-9999), at(-5000)) == 0


def test_spans_are_clipped_and_empty_ones_left_out():
    whole = session(10, 10, 30)
    assert [(span.started_at, span.ended_at) for span in whole.spans(at(5), at(20))] == [
        (at(5), at(10)),
        (at(10), at(20)),
    ]
    assert list(whole.spans(at(30), at(40))) == []
    assert sum((span.length for span in whole.phases), timedelta(0)) == whole.length


@given(cuts, prices, st.lists(st.integers(min_value=-100, max_value=10**6 + 100), max_size=8))
def test_costs_of_any_cuts_sum_to_the_whole(cuts, price_micros, more_cuts):
    priced = session(*cuts, price_micros=price_micros)
    assert sum(priced.cost(span.started_at, span.ended_at) for span in priced.phases) == priced.cost()
    windows = pairwise([at(-1000), *(at(cut) for cut in sorted(more_cuts)), at(10**7)])
    total = 0
    for begin, end in windows:
        parts = [priced.cost(span.started_at, span.ended_at) for span in priced.spans(begin, end)]
        assert sum(parts) == priced.cost(begin, end)
        total += priced.cost(begin, end)
    assert total == priced.cost()


@given(cuts, prices)
def test_no_stretch_costs_less_than_nothing(cuts, price_micros):
    priced = session(*cuts, price_micros=price_micros)
    assert all(priced.cost(span.started_at, span.ended_at) >= 0 for span in priced.phases)


def test_sessions_refuse_instants_without_a_time_zone():
    with pytest.raises(ValueError, match="time zone"):
        Session(
            id=1,
            instance=Instance(machine="box"),
            started_at=START.replace(tzinfo=None),
            heartbeat_at=START,
            ended_at=None,
            end_reason=None,
            price=None,
        )
