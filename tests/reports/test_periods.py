"""Periods: what people type, where it begins and ends in any zone, and that days, weeks and months fit together."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.periods import Period, PeriodKind, calendar_period, period_between, previous
from costctl.errors import BadValueError
from costctl.reports.periods import parse_month, parse_since, read_period

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
KINDS = (PeriodKind.MONTH, PeriodKind.WEEK, PeriodKind.YEAR)


def read(zone=UTC_ZONE, now=NOW, **given):
    return read_period(**given, now=now, zone=zone)


def edges(period):
    return f"{period.started_at:%Y-%m-%dT%H:%M}", f"{period.ended_at:%Y-%m-%dT%H:%M}"


def problem(**given):
    with pytest.raises(BadValueError) as caught:
        read(**given)
    return str(caught.value)


# --- months ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("month", "zone", "begin", "end"),
    [
        ("2026-01", "UTC", "2026-01-01T00:00Z", "2026-02-01T00:00Z"),
        ("2026-12", "UTC", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        ("2024-02", "Asia/Shanghai", "2024-01-31T16:00Z", "2024-02-29T16:00Z"),
        ("2026-03", "Europe/Berlin", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
        # Summer time began at midnight of the first: the month began an hour later by the clock on the wall.
        ("2023-10", "America/Asuncion", "2023-10-01T04:00Z", "2023-11-01T03:00Z"),
    ],
)
def test_a_month_lasts_from_midnight_to_midnight_in_its_zone(month, zone, begin, end):
    period = parse_month(month, ZoneInfo(zone))
    assert (period.started_at, period.ended_at) == (datetime.fromisoformat(begin), datetime.fromisoformat(end))
    assert (period.label, period.kind) == (month, PeriodKind.MONTH)


@pytest.mark.parametrize(
    "month",
    ["", "abc", "2026", "2026-13", "2026-00", "2026-1", "0001-01", "9999-12", "2026-01-01", "-2026-01"],
)
def test_what_is_not_a_month_is_refused(month):
    assert problem(month=month) == f"{month!r} is not a month: write it like 2026-01"


# --- what people type ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "label", "begin", "end"),
    [
        ({}, "2026-01", "2025-12-31T23:00", "2026-01-31T23:00"),
        ({"month": " 2025-10 "}, "2025-10", "2025-09-30T22:00", "2025-10-31T23:00"),
        ({"week": "2026-W01"}, "2026-W01", "2025-12-28T23:00", "2026-01-04T23:00"),
        ({"week": "2020-w53"}, "2020-W53", "2020-12-27T23:00", "2021-01-03T23:00"),
        ({"year": "2024"}, "2024", "2023-12-31T23:00", "2024-12-31T23:00"),
        (
            {"since": "2026-01-05", "until": "2026-01-20"},
            "2026-01-05 to 2026-01-20",
            "2026-01-04T23:00",
            "2026-01-20T23:00",
        ),
        ({"since": "2026-01-05", "until": "2026-01-05"}, "2026-01-05", "2026-01-04T23:00", "2026-01-05T23:00"),
        ({"since": "2026-01-30"}, "2026-01-30 00:00 to 2026-01-31 13:00", "2026-01-29T23:00", "2026-01-31T12:00"),
        (
            {"since": "2026-01-05T08:00", "until": "2026-01-06T09:00+08:00"},
            "2026-01-05 08:00 to 2026-01-06 02:00",
            "2026-01-05T07:00",
            "2026-01-06T01:00",
        ),
        ({"last": "30d"}, "last 30d", "2026-01-01T12:00", "2026-01-31T12:00"),
        ({"last": "1h30m"}, "last 1h30m", "2026-01-31T10:30", "2026-01-31T12:00"),
    ],
)
def test_periods_as_people_type_them(given, label, begin, end):
    period = read(zone=BERLIN, **given)
    assert (period.label, *edges(period)) == (label, begin, end)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"week": "2026-3"}, "'2026-3' is not a week: write it like 2026-W03"),
        ({"week": "2026-W00"}, "'2026-W00' is not a week: write it like 2026-W03"),
        ({"week": "2025-W53"}, "'2025-W53' is not a week: the last one of 2025 is 2025-W52"),
        ({"year": "26"}, "'26' is not a year: write it like 2026"),
        ({"year": "9999"}, "'9999' is not a year: write it like 2026"),
        ({"since": "2026-02-30"}, "'2026-02-30' is no date: write it like 2026-01-31, or a time like"),
        ({"since": "0001-01-01"}, "'0001-01-01' is no date"),
        ({"since": "2026-01-01", "until": "9999-12-31"}, "'9999-12-31' is no date"),
        ({"since": "7d"}, "'7d' is no date"),
        ({"until": "2026-01-20"}, "--to 2026-01-20 needs a beginning: give --from as well"),
        ({"month": "2026-01", "until": "2026-01-20"}, "--to 2026-01-20 needs a beginning"),
        ({"month": "2026-01", "week": "2026-W01"}, "--month and --week name different periods: give one of them"),
        ({"since": "2026-01-01", "last": "7d"}, "--from and --last name different periods"),
        (
            {"since": "2026-01-20", "until": "2026-01-05"},
            "nothing lies between --from 2026-01-20 and --to 2026-01-05: --to has to be later",
        ),
        ({"since": "2026-01-05T08:00", "until": "2026-01-05T08:00"}, "nothing lies between"),
        ({"last": "a month"}, "'a month' is not a duration"),
        ({"last": "0s"}, "'0s' is out of range"),
    ],
)
def test_periods_that_cannot_be_are_explained(given, words):
    assert words in problem(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"month": "2027-01"}, "2027-01 has not begun: the newest month is 2026-01"),
        ({"week": "2026-W06"}, "2026-W06 has not begun: the newest week is 2026-W05"),
        ({"year": "2027"}, "2027 has not begun: the newest year is 2026"),
        ({"since": "2026-02-01"}, "--from 2026-02-01 has not begun: it is now 2026-01-31 12:00"),
    ],
)
def test_the_future_has_no_report(given, words):
    assert problem(**given) == words


def test_a_month_begins_where_its_zone_says_so():
    eve = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    assert read(zone=BERLIN, now=eve).label == read(zone=BERLIN, now=eve, month="2026-02").label == "2026-02"
    assert "2026-02 has not begun" in problem(now=eve, month="2026-02")


def test_a_period_that_now_lies_in_is_running():
    january = read(month="2026-01")
    assert january.is_running(NOW)
    assert january.is_running(january.started_at)
    assert not january.is_running(january.ended_at)
    assert read(since="2026-01-30", until="2026-12-31").is_running(NOW)
    assert not read(last="7d").is_running(NOW)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-15", "2026-01-14T23:00Z"),
        ("2026-07-15 08:30", "2026-07-15T06:30Z"),
        ("2026-01-15T08:30+00:00", "2026-01-15T08:30Z"),
        ("7d", "2026-01-24T12:00Z"),
        ("90m", "2026-01-31T10:30Z"),
    ],
)
def test_points_in_time_as_people_name_them(text, instant):
    assert parse_since(text, now=NOW, zone=BERLIN) == datetime.fromisoformat(instant)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "7", "-7d", "0s"])
def test_other_points_in_time_are_refused(text):
    with pytest.raises(BadValueError, match="is not a point in time"):
        parse_since(text, now=NOW, zone=BERLIN)


# --- the period before -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "before"),
    [
        ({"month": "2026-01"}, "2025-12"),
        ({"week": "2026-W01"}, "2025-W52"),
        ({"year": "2025"}, "2024"),
        # Summer time began on 30 March: eight days before are eight days, not 191 hours.
        ({"since": "2025-03-30", "until": "2025-04-06"}, "2025-03-22 to 2025-03-29"),
        ({"since": "2025-03-22", "until": "2025-04-06"}, "2025-03-06 to 2025-03-21"),
        ({"last": "24h"}, "2026-01-29 13:00 to 2026-01-30 13:00"),
    ],
)
def test_the_period_before(given, before):
    period = read(zone=BERLIN, **given)
    assert previous(period).label == before
    assert previous(period).ended_at == period.started_at


# --- days ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-28T23:00", 23),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-24T22:00", 25),
        ("Australia/Lord_Howe", date(2026, 10, 4), "2026-10-03T13:30", 23.5),
        # The clocks went from midnight to one.
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00", 23),
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-28T22:00", 23),
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00", 23),
        # They went from midnight back to eleven.
        ("Africa/Cairo", date(2026, 10, 29), "2026-10-28T21:00", 25),
        # Midnight came twice.
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00", 25),
    ],
)
def test_days_are_as_long_as_their_clocks_say(zone, day, begin, hours):
    (found,) = (one for one in calendar_period(PeriodKind.MONTH, day, ZoneInfo(zone)).days if one.date == day)
    assert f"{found.started_at:%Y-%m-%dT%H:%M}" == begin
    assert found.ended_at - found.started_at == timedelta(hours=hours)


def test_a_day_that_was_skipped_at_the_date_line_is_none():
    december = parse_month("2011-12", ZoneInfo("Pacific/Apia"))
    assert [day.date.day for day in december.days] == [*range(1, 30), 31]
    with pytest.raises(BadValueError, match="nothing lies between"):
        read(zone=ZoneInfo("Pacific/Apia"), since="2011-12-30", until="2011-12-30")


def test_a_period_that_begins_within_a_day_has_a_part_of_it():
    first, *_, last = read(zone=BERLIN, last="36h").days
    assert (first.date, first.ended_at - first.started_at) == (date(2026, 1, 30), timedelta(hours=23))
    assert (last.date, last.ended_at) == (date(2026, 1, 31), NOW)


@pytest.mark.parametrize("edge", [NOW.replace(tzinfo=None), NOW.astimezone(BERLIN)])
def test_edges_that_are_not_in_utc_are_refused(edge):
    with pytest.raises(ValueError, match="in UTC"):
        Period(label="x", kind=PeriodKind.RANGE, started_at=edge, ended_at=NOW, zone=BERLIN)


# --- in any zone -----------------------------------------------------------------------------------------------------

zones = st.sampled_from(sorted(available_timezones() - {"localtime"})).map(ZoneInfo)
seconds_until_2099 = st.integers(0, 127 * 365 * 86_400)
instants = seconds_until_2099.map(lambda seconds: datetime(1972, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
dates = st.dates(date(1971, 2, 1), date(2098, 12, 31))


@given(instants, st.timedeltas(timedelta(microseconds=1), timedelta(days=800)), zones)
def test_days_partition_any_period(begin, length, zone):
    period = period_between(begin, begin + length, zone)
    days = period.days
    assert (days[0].started_at, days[-1].ended_at) == (period.started_at, period.ended_at)
    assert all(before.ended_at == after.started_at for before, after in pairwise(days))
    assert all(day.started_at < day.ended_at for day in days)
    assert all(before.date < after.date for before, after in pairwise(days))


@given(dates, zones)
def test_every_whole_day_begins_on_its_date_and_the_one_before_ends_there(day, zone):
    for whole in calendar_period(PeriodKind.WEEK, day, zone).days:
        assert whole.started_at.astimezone(zone).date() == whole.date
        # Antarctica/Vostok set its clocks by seven hours, twice.
        assert timedelta(hours=17) <= whole.ended_at - whole.started_at <= timedelta(hours=31)


@given(st.sampled_from(KINDS), dates, zones)
def test_neighbours_of_a_kind_partition_time(kind, day, zone):
    period = calendar_period(kind, day, zone)
    following = calendar_period(kind, period.days[-1].date + timedelta(days=1), zone)
    assert period.ended_at == following.started_at
    assert previous(following) == period
    assert read_period(**{kind.value: period.label}, now=period.ended_at, zone=zone) == period


@given(dates, zones)
def test_months_partition_their_year(day, zone):
    year = calendar_period(PeriodKind.YEAR, day, zone)
    months = [parse_month(f"{day.year}-{number:02}", zone) for number in range(1, 13)]
    assert (months[0].started_at, months[-1].ended_at) == (year.started_at, year.ended_at)
    assert all(before.ended_at == after.started_at for before, after in pairwise(months))
    assert [day for month in months for day in month.days] == list(year.days)


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,5}-?W?[0-9]{0,3}(-[0-9]{2})?", fullmatch=True), zones)
def test_any_text_is_a_period_or_refused(text, zone):
    for given_as in ("month", "week", "year", "since", "last"):
        try:
            period = read(zone=zone, **{given_as: text})
        except BadValueError:
            continue
        assert period.started_at < period.ended_at
