from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.timeline import Timeline

ANCHOR = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
TIMELINE = Timeline(anchor=ANCHOR, anchored_at_s=500.0)


def test_an_instant_is_the_anchor_plus_what_the_monotonic_clock_counted():
    assert TIMELINE.instant(590.5) == ANCHOR + timedelta(seconds=90.5)


def test_nothing_is_before_the_anchor():
    assert TIMELINE.instant(10.0) == ANCHOR


def test_the_lag_is_how_far_the_wall_clock_ran_ahead():
    assert TIMELINE.lag_s(now=ANCHOR + timedelta(seconds=100), monotonic_s=560.0) == 40.0
    assert TIMELINE.lag_s(now=ANCHOR - timedelta(hours=1), monotonic_s=500.0) == -3600.0


@given(st.floats(0, 1e8), st.floats(0, 1e8))
def test_instants_never_step_back(one, another):
    assert (TIMELINE.instant(one) <= TIMELINE.instant(another)) or one >= another
