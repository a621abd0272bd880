"""When schedules are due, above all on days when the clocks change; pure."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.local_times import instant_at
from costctl.domain.schedules import (
    Schedule,
    alarm_after,
    cold_start_s,
    handled_until,
    last_passed,
    parse_rule,
    too_late,
)
from costctl.errors import BadValueError

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def make(rule, zone=BERLIN, **changes):
    given = {"name": "nightly", "command": ("sessions",), "folder": "/", "since": LONG_AGO}
    return Schedule(rule=parse_rule(rule), zone=ZoneInfo(zone), **(given | changes))


def due_between(schedule, start, end):
    """All due times in local time, with the offset."""
    found, at = [], datetime.fromisoformat(start).astimezone(UTC)
    while (at := schedule.next_due(at)) and at < datetime.fromisoformat(end).astimezone(UTC):
        found.append(f"{at.astimezone(schedule.zone):%d %H:%M %z}")
    return found


# --- Europe/Berlin: on 29 March 2026 02:00 becomes 03:00, on 25 October 03:00 becomes 02:00 ---


def test_a_time_that_the_clocks_skip_is_due_where_they_skip_it():
    days = due_between(make("cron 30 2 * * *"), "2026-03-28T00:00+01:00", "2026-03-31T00:00+02:00")
    assert days == ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]


def test_many_that_are_skipped_are_due_once():
    hours = due_between(make("cron */15 2,3 * * *"), "2026-03-29T00:00+01:00", "2026-03-29T12:00+02:00")
    assert hours == ["29 03:00 +0200", "29 03:15 +0200", "29 03:30 +0200", "29 03:45 +0200"]


def test_a_time_that_the_clocks_repeat_is_due_once_the_first_time():
    days = due_between(make("cron 30 2 * * *"), "2026-10-24T00:00+02:00", "2026-10-27T00:00+01:00")
    assert days == ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]


def test_between_the_two_of_a_repeated_time_the_next_day_is_next():
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert make("cron 30 2 * * *").next_due(first + timedelta(minutes=30)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_every_counts_real_time_across_a_change():
    schedule = make("every 12h", since=datetime(2026, 3, 28, 11, tzinfo=UTC))
    hours = due_between(schedule, "2026-03-28T12:00+01:00", "2026-03-30T00:00+02:00")
    assert hours == ["29 00:00 +0100", "29 13:00 +0200"]


# --- America/New_York: on 8 March 2026 02:00 becomes 03:00, on 1 November 02:00 becomes 01:00 ---


def test_in_new_york_too_a_skipped_time_is_due_at_the_gap_and_a_repeated_one_once():
    nightly = make("cron 30 2 * * *", "America/New_York")
    assert due_between(nightly, "2026-03-07T12:00-05:00", "2026-03-09T12:00-04:00") == [
        "08 03:00 -0400",
        "09 02:30 -0400",
    ]
    early = make("cron 30 1 * * *", "America/New_York")
    assert due_between(early, "2026-10-31T12:00-04:00", "2026-11-02T12:00-05:00") == [
        "01 01:30 -0400",
        "02 01:30 -0500",
    ]


@pytest.mark.parametrize(
    ("zone", "wall", "expected"),
    [
        (BERLIN, "2026-03-29T02:30", ["29 03:00 +0200"]),
        (BERLIN, "2026-10-25T02:30", ["25 02:30 +0200"]),
        ("America/New_York", "2026-03-08T02:30", ["08 03:00 -0400"]),
        ("America/New_York", "2026-11-01T01:30", ["01 01:30 -0400"]),
    ],
)
def test_once_in_a_gap_or_an_overlap_is_once(zone, wall, expected):
    assert due_between(make(f"at {wall}", zone), "2026-01-01T00:00Z", "2027-01-01T00:00Z") == expected


def test_every_hour_is_every_hour_where_one_is_repeated():
    schedule = make("every 1h", "America/New_York", since=datetime(2026, 11, 1, 4, 30, tzinfo=UTC))
    hours = due_between(schedule, "2026-11-01T00:30-04:00", "2026-11-01T03:00-05:00")
    assert hours == ["01 01:30 -0400", "01 01:30 -0500", "01 02:30 -0500"]


@pytest.mark.parametrize(
    ("zone", "wall", "expected"),
    [
        (BERLIN, "2026-03-29T02:00", "2026-03-29T01:00Z"),
        (BERLIN, "2026-03-29T02:59", "2026-03-29T01:00Z"),
        (BERLIN, "2026-10-25T02:30", "2026-10-25T00:30Z"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30Z"),  # half an hour is skipped
        ("Africa/Cairo", "2026-04-24T00:00", "2026-04-23T22:00Z"),  # midnight is
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00Z"),  # a whole day was
        ("Asia/Shanghai", "2026-06-01T02:00", "2026-05-31T18:00Z"),
    ],
)
def test_a_local_time_is_an_instant_in_every_zone(zone, wall, expected):
    assert instant_at(datetime.fromisoformat(wall), ZoneInfo(zone)) == datetime.fromisoformat(expected)


@given(
    after=st.integers(0, 17 * 365 * 24 * 60).map(lambda minutes: LONG_AGO + timedelta(minutes=minutes)),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"]),
    rule=st.sampled_from(["cron 30 2 * * *", "cron */7 1-3 * * *", "cron 0 0 * * *", "every 7h", "cron 15 1 * * 0"]),
)
def test_the_next_is_always_later_and_none_lies_between(after, zone, rule):
    schedule = make(rule, zone)
    due = schedule.next_due(after)
    assert due > after
    assert schedule.next_due(after + (due - after) / 2) == due


# --- once, and what passed ---


def test_once_is_due_once():
    schedule = make("at 2026-12-01T02:00")
    due = datetime(2026, 12, 1, 1, tzinfo=UTC)
    assert schedule.next_due(LONG_AGO) == due
    assert schedule.next_due(due) is None


def test_nothing_is_due_before_the_schedule_was_added():
    since = datetime(2026, 6, 1, 0, 30, tzinfo=UTC)
    assert make("cron 0 2 * * *", since=since).next_due(LONG_AGO) == datetime(2026, 6, 2, tzinfo=UTC)


def test_too_late_is_later_than_the_grace():
    schedule, due = make("cron 0 2 * * *", grace_s=3600), LONG_AGO
    assert not too_late(schedule, due, due + timedelta(hours=1))
    assert too_late(schedule, due, due + timedelta(hours=1, seconds=1))


def test_a_due_time_that_a_wrong_clock_took_in_the_future_does_not_silence_a_schedule():
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert handled_until(make("every 1h"), now + timedelta(days=365), now) == now
    assert handled_until(make("every 1h"), now - timedelta(hours=1), now) == now - timedelta(hours=1)
    assert handled_until(make("every 1h", since=now), None, now) == now


def test_what_rests_and_what_is_over_has_no_alarm():
    assert alarm_after(make("every 1h"), LONG_AGO, LONG_AGO).at == LONG_AGO + timedelta(hours=1)
    assert alarm_after(make("every 1h", paused=True), LONG_AGO, LONG_AGO) is None
    assert alarm_after(make("at 2019-01-01T00:00"), LONG_AGO, LONG_AGO) is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("every 7m", "2026-06-01T08:55Z"),
        ("cron * * * * *", "2026-06-01T09:00Z"),
        ("cron 0 2 * * *", "2026-06-01T00:00Z"),
        ("cron 0 0 29 2 *", "2024-02-28T23:00Z"),
        ("cron 0 2 1 1 *", "2026-01-01T01:00Z"),
        ("at 2020-02-02T00:00", "2020-02-01T23:00Z"),
    ],
)
def test_after_six_years_off_the_last_of_what_passed_is_due(rule, expected):
    since = LONG_AGO
    now = datetime(2026, 6, 1, 9, tzinfo=UTC)
    assert alarm_after(make(rule, since=since), since, now).at == datetime.fromisoformat(expected)


@given(
    rule=st.sampled_from(
        ["cron */7 1-3 * * *", "cron 0 2 * * *", "every 7h", "cron 15 1 * * 0", "at 2020-01-05T02:00"]
    ),
    passed=st.integers(0, 20 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
)
def test_the_last_that_passed_is_the_last_of_all(rule, passed):
    schedule, found, at = make(rule), None, LONG_AGO
    while (at := schedule.next_due(at)) and at <= LONG_AGO + passed:
        found = at
    assert last_passed(schedule, LONG_AGO, LONG_AGO + passed) == found


def test_a_cold_start_is_a_usual_one_and_a_margin():
    assert cold_start_s([100, 60, 500]) == 1.5 * 100 + 60
    assert cold_start_s([]) == 300


# --- what people write ---


def test_placeholders_are_of_the_due_time_in_its_zone_and_other_braces_stay():
    body = '{"chat_template_kwargs": {"date": 1}}'
    schedule = make("cron 0 2 * * *", "Asia/Shanghai", command=("batch", "out-{date}-{time}.{name}", body, "{datex}"))
    due = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)
    assert schedule.arguments_at(due) == ("batch", "out-2026-02-01-0200.nightly", body, "{datex}")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "ä", "-o", "a\n"])
def test_a_name_that_could_not_be_a_files_is_refused(name):
    with pytest.raises(BadValueError, match="is not a name for a schedule"):
        make("every 1h", name=name)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("every 30s", "at least 1m"),
        ("every 90s", "whole minutes"),
        ("every 0.5s", "whole minutes"),
        ("every 1000d", "out of range"),
        ("every day", "is not a duration"),
        ("at tomorrow", "is not a time"),
        ("at 2026-02-30T00:00", "is not a time"),
        ("at 2026-12-01T02:00+01:00", "has an offset"),
        ("when 3", "does not say when"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule, words):
    with pytest.raises(BadValueError, match=words):
        parse_rule(rule)


@pytest.mark.parametrize(
    "rule", ["cron 0 2 * * 1-5", "every 1d1h1m", "every 36h", "at 2026-12-01T02:00", "at 2026-12-01T02:00:05"]
)
def test_a_rule_is_written_so_that_it_can_be_read(rule):
    assert parse_rule(str(parse_rule(rule))) == parse_rule(rule)
