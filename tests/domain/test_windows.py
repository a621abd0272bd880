from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.instants import microseconds_of
from costctl.domain.money import Price, accrued, charged
from costctl.domain.windows import CANDIDATES, GapEnd, IdleGap, IdleTimes, window_studies

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LENGTHS = st.integers(1, 7200).map(lambda seconds: timedelta(seconds=seconds))


def at(per_hour, currency="CNY"):
    return Price(micros_per_hour=round(per_hour * 1_000_000), currency=currency, source="a test", dated=BEGIN)


def gap(minutes, end=GapEnd.WORK, *, per_hour=1.8, currency="CNY", session_id=1):
    length = minutes if isinstance(minutes, timedelta) else minutes * MINUTE
    price = at(per_hour, currency)
    return IdleGap(session_id, microseconds_of(BEGIN), length // timedelta.resolution, price, end)


GAPS = st.lists(st.builds(gap, LENGTHS, st.sampled_from(GapEnd), per_hour=st.sampled_from([1.8, 3.0, 0.1])), max_size=8)


def test_a_month_by_hand():
    # At 1.80 an hour a minute costs 0.03. Seen: 5 + 20 minutes that ended with work, 30 that ended with a stop: 1.65.
    seen = [gap(5), gap(20), gap(30, GapEnd.WINDOW)]
    (study,) = window_studies(seen, start=2 * MINUTE, used=30 * MINUTE)
    assert (study.currency, study.gap_count, study.idle_micros) == ("CNY", 3, 1_650_000)
    by_window = {found.window // MINUTE: found for found in study.replays}
    # Ten minutes: 5 + 10 + 10 idle, and one more start of two minutes.
    ten = by_window[10]
    assert (ten.idle_micros, ten.extra_starts, ten.extra_starts_micros) == (750_000, 1, 60_000)
    assert (ten.waiting, study.saved_micros(ten)) == (2 * MINUTE, 840_000)
    # Three: 3 + 3 + 3 idle, and two starts. One: 1 + 1 + 1 idle, two starts.
    assert (by_window[3].cost_micros, by_window[1].cost_micros) == (270_000 + 120_000, 90_000 + 120_000)
    assert study.best == by_window[1]
    assert study.saved_micros(by_window[30]) == 0


def test_longer_windows_are_not_known_where_the_window_ended_an_idle_time():
    (study,) = window_studies([gap(5), gap(10, GapEnd.WINDOW)], start=MINUTE)
    assert [found.window // MINUTE for found in study.known] == [1, 2, 3, 5, 7, 10]
    (free,) = window_studies([gap(5), gap(10, GapEnd.STOPPED), gap(3, GapEnd.OPEN)], start=MINUTE)
    assert free.known == free.replays


def test_a_window_that_ended_a_hair_early_is_still_known():
    nearly = gap(30 * MINUTE - timedelta(microseconds=1), GapEnd.WINDOW)
    assert IdleTimes([nearly]).replay(30 * MINUTE, MINUTE).is_known


@given(GAPS, LENGTHS, LENGTHS)
def test_a_replay_is_what_a_walk_through_the_gaps_gives_to_the_last_digit(gaps, window, start):
    found = IdleTimes(gaps).replay(window, start)
    restarted = [seen for seen in gaps if seen.end is GapEnd.WORK and seen.length > window]
    assert found.idle_micros == charged((seen.price, min(seen.length, window)) for seen in gaps)
    assert found.extra_starts == len(restarted)
    assert found.extra_starts_micros == charged((seen.price, start) for seen in restarted)
    assert found.waiting == len(restarted) * start
    by_window = [seen.length for seen in gaps if seen.end is GapEnd.WINDOW]
    assert found.is_known == all(length + timedelta(seconds=1) >= window for length in by_window)


@given(GAPS, LENGTHS)
def test_a_window_as_long_as_all_gaps_changes_nothing(gaps, start):
    longest = max([seen.length for seen in gaps], default=MINUTE)
    for study in window_studies(gaps, start=start, used=longest):
        (unchanged,) = [found for found in study.replays if found.window == longest]
        assert unchanged.idle_micros == study.idle_micros
        assert unchanged.extra_starts == 0
        assert study.saved_micros(unchanged) == 0


@given(GAPS, LENGTHS, LENGTHS, LENGTHS)
def test_a_longer_window_costs_more_idle_time_and_fewer_starts(gaps, one, other, start):
    shorter, longer = (IdleTimes(gaps).replay(window, start) for window in sorted([one, other]))
    assert shorter.idle_micros <= longer.idle_micros
    assert shorter.extra_starts >= longer.extra_starts


@given(GAPS, LENGTHS)
def test_a_window_of_a_cold_start_costs_at_most_twice_what_hindsight_does(gaps, start):
    work = [seen for seen in gaps if seen.end is GapEnd.WORK]
    rule = IdleTimes(work).replay(start, start)
    hindsight = sum(accrued(seen.price, min(seen.length, start)) for seen in work)
    assert rule.cost_micros <= 2 * hindsight + 2 * len(work)


@given(GAPS, LENGTHS)
def test_the_best_is_no_dearer_than_any_other_and_than_what_was(gaps, start):
    for study in window_studies(gaps, start=start):
        if study.best is None:
            assert all(study.saved_micros(found) <= 0 for found in study.known)
        else:
            assert study.best.cost_micros == min(found.cost_micros for found in study.known) < study.idle_micros


def test_of_equally_cheap_windows_the_longest_is_best():
    # In minutes: one is 4 idle and 3 starts of 2, two is 8 idle and one start.
    seen = [gap(4), gap(2), gap(2), gap(10, GapEnd.STOPPED)]
    (study,) = window_studies(seen, start=2 * MINUTE)
    assert [found.cost_micros for found in study.known[:3]] == [300_000, 300_000, 360_000]
    assert study.best.window == 2 * MINUTE


def test_currencies_are_apart():
    studies = window_studies([gap(5), gap(7, currency="USD"), gap(9)], start=MINUTE)
    assert [(study.currency, study.gap_count) for study in studies] == [("CNY", 2), ("USD", 1)]


def test_the_costliest_tails_come_first_and_work_is_no_tail():
    seen = [
        gap(50),
        gap(30, GapEnd.WINDOW, session_id=2),
        gap(20, GapEnd.STOPPED, per_hour=3.6, session_id=3),
        gap(60, GapEnd.OPEN),
        gap(1, GapEnd.WINDOW, session_id=4),
    ]
    (study,) = window_studies(seen, start=MINUTE, most_tails=2)
    assert [(tail.session_id, tail.cost_micros) for tail in study.tails] == [(3, 1_200_000), (2, 900_000)]


def test_without_a_measured_start_nothing_is_replayed():
    (study,) = window_studies([gap(30, GapEnd.WINDOW)], start=None)
    assert study.replays == ()
    assert study.best is None
    assert len(study.tails) == 1


def test_the_candidates_are_what_people_choose():
    assert [window // MINUTE for window in CANDIDATES] == [1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60]
    assert window_studies([], start=MINUTE) == []
