"""Cron expressions beside Debian's manual, and beside APScheduler's where they mean the same."""

from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.cron import parse_cron
from costctl.errors import BadValueError

FRIDAY = datetime.fromisoformat("2026-01-30T12:00")


def next_walls(text, after=FRIDAY, count=3):
    cron, found = parse_cron(text), []
    for _ in range(count):
        after = cron.next_wall(after)
        found.append(f"{after:%a %Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * *", ["Sat 2026-01-31 02:00", "Sun 2026-02-01 02:00", "Mon 2026-02-02 02:00"]),
        ("*/20 * * * *", ["Fri 2026-01-30 12:20", "Fri 2026-01-30 12:40", "Fri 2026-01-30 13:00"]),
        ("0 9-17/4 * * 1-5", ["Fri 2026-01-30 13:00", "Fri 2026-01-30 17:00", "Mon 2026-02-02 09:00"]),
        ("0 0 * * 0", ["Sun 2026-02-01 00:00", "Sun 2026-02-08 00:00", "Sun 2026-02-15 00:00"]),
        ("0 0 * * 7", ["Sun 2026-02-01 00:00", "Sun 2026-02-08 00:00", "Sun 2026-02-15 00:00"]),
        ("0 0 * * mon,TUE", ["Mon 2026-02-02 00:00", "Tue 2026-02-03 00:00", "Mon 2026-02-09 00:00"]),
        ("0 0 31 * *", ["Sat 2026-01-31 00:00", "Tue 2026-03-31 00:00", "Sun 2026-05-31 00:00"]),
        ("0 0 29 feb *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00", "Fri 2036-02-29 00:00"]),
        ("30 4 1,15 * 5", ["Sun 2026-02-01 04:30", "Fri 2026-02-06 04:30", "Fri 2026-02-13 04:30"]),
        ("0 0 */10 * 1", ["Mon 2026-05-11 00:00", "Mon 2026-06-01 00:00", "Mon 2026-08-31 00:00"]),
        ("5/25 0 * * *", ["Sat 2026-01-31 00:05", "Sat 2026-01-31 00:30", "Sat 2026-01-31 00:55"]),
        ("@weekly", ["Sun 2026-02-01 00:00", "Sun 2026-02-08 00:00", "Sun 2026-02-15 00:00"]),
        ("@hourly", ["Fri 2026-01-30 13:00", "Fri 2026-01-30 14:00", "Fri 2026-01-30 15:00"]),
    ],
)
def test_it_is_due_when_crontab_5_says(text, expected):
    assert next_walls(text) == expected


def test_a_leap_day_comes_even_where_a_leap_year_is_left_out():
    assert next_walls("0 0 29 2 *", datetime.fromisoformat("2096-03-01"), 1) == ["Fri 2104-02-29 00:00"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 31 2 *", "never comes: there is no such date"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 30 2 *", "never comes"),
        ("60 * * * *", "the minute '60' is not within 0 and 59"),
        ("* 24 * * *", "the hour '24'"),
        ("* * 0 * *", "the day of the month '0'"),
        ("* * * 13 *", "the month '13'"),
        ("* * * * 8", "the weekday '8' is not within 0 and 7"),
        ("* * * * funday", "the weekday 'funday'"),
        ("*/0 * * * *", "a step that is not a number above 0"),
        ("*/x * * * *", "a step"),
        ("20-10 * * * *", "a range that ends before it begins"),
        ("1,,2 * * * *", "the minute '1,,2'"),
        ("² * * * *", "the minute '²'"),
        ("-5 * * * *", "the minute '-5'"),
        ("0 2 * *", "write minute, hour, day, month and weekday"),
        ("0 0 2 * * *", "write minute"),
        ("", "write minute"),
        ("@reboot", "write minute"),
        ("% $(date) * * *", "the minute '%'"),
    ],
)
def test_what_is_none_is_refused_with_the_part_that_is_wrong(text, words):
    with pytest.raises(BadValueError, match=r"^'") as caught:
        parse_cron(text)
    assert words in str(caught.value)


def numbers(first, last):
    one = st.integers(first, last)
    span = st.tuples(one, one).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, last - first).map(lambda step: f"*/{step}")  # APScheduler refuses longer ones
    return st.one_of(st.just("*"), step, st.lists(one.map(str) | span, min_size=1).map(",".join))


@given(
    text=st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 28), numbers(1, 12)).map(" ".join),
    after=st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2030-01-01")),
)
def test_dates_are_those_of_apscheduler(text, after):
    ours = parse_cron(f"{text} *").next_wall(after)
    theirs = CronTrigger.from_crontab(f"{text} *", timezone=UTC)
    expected = theirs.get_next_fire_time(None, after.replace(tzinfo=UTC) + timedelta(microseconds=1))
    assert ours.replace(tzinfo=UTC) == expected
