from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.durations import format_duration, parse_duration, parse_window
from costctl.errors import BadValueError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("0.5s", 0.5),
        ("1m0.5s", 60.5),
        (" 1H30M ", 5400),
        ("366d", 366 * 86_400),
    ],
)
def test_durations_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "30", "m", "-5m", "1.5h", "30m1h", "1h 30m", "5 m", "5min", "infs", "nan", "1e3s"]
)
def test_other_forms_are_refused_with_an_example(text):
    with pytest.raises(BadValueError, match="is not a duration: write it like 90s, 30m, 2h or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0m", "0h0m0s", "0.0s", "367d", "9" * 400 + "d"])
def test_nothing_and_more_than_a_year_are_out_of_range(text):
    with pytest.raises(BadValueError, match="out of range"):
        parse_duration(text)


def test_a_window_can_be_off():
    assert parse_window(" Off ") is None
    assert parse_window("5m") == 300
    with pytest.raises(BadValueError, match=r"'never' is not a duration: .* \(or 'off'\)"):
        parse_window("never")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.04, "0s"),
        (0.5, "0.5s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.7, "1m"),
        (5400, "1h30m"),
        (5401, "1h30m"),
        (86_460, "1d1m"),
        (-90, "-1m30s"),
    ],
)
def test_durations_are_written_to_two_units(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(min_value=0.06, max_value=366 * 86_400))
def test_what_is_written_can_be_read_and_is_near(seconds):
    again = parse_duration(format_duration(seconds))
    assert again == pytest.approx(seconds, rel=0.05, abs=0.51)


@given(st.text(alphabet="0123456789dhms. -off", max_size=12))
def test_any_text_is_a_duration_or_refused(text):
    with suppress(BadValueError):
        assert 0 < parse_duration(text) <= 366 * 86_400
