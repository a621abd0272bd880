from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from fakes.phases import columns
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session
from costctl.domain.standing import StandingCharge
from costctl.reports.periods import parse_month
from costctl.reports.tally import Facts, report_of

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_OF_A_YEAR = 365 * 86_400
LATER = YEAR + timedelta(days=999)


def price(micros, currency="EUR"):
    return Price(micros_per_hour=micros, currency=currency, source="test", dated=YEAR)


def session(start, *lengths, price=None, is_open=False, number=1):
    """A session with phases of these lengths, in the order of `Phase`."""
    edges = [start]
    for length in lengths:
        edges.append(edges[-1] + length)
    kinds = list(Phase)
    return Session(
        id=number,
        instance=Instance(machine="box", gpu="A10G", gpu_count=1),
        started_at=start,
        heartbeat_at=edges[-1],
        ended_at=None if is_open else edges[-1],
        end_reason=None if is_open else EndReason.IDLE,
        price=price,
        phase_columns=columns(
            [
                PhaseSpan(phase=kinds[position % len(kinds)], started_at=begin, ended_at=end)
                for position, (begin, end) in enumerate(pairwise(edges))
            ]
        ),
    )


def month_report(sessions, month="2026-01", zone=UTC_ZONE, standing=(), until=LATER, **facts):
    found = Facts(sessions=list(sessions), **facts)
    return report_of(found, period=parse_month(month, zone), now=until, standing=standing)


def test_a_session_in_figures():
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    priced = session(start, timedelta(minutes=6), timedelta(minutes=24), timedelta(minutes=30), price=price(1_800_000))
    report = month_report([priced], month="2026-01", zone=UTC_ZONE)
    (row,) = report.rows
    assert (row.started_at, row.ended_at, row.length) == (start, start + timedelta(hours=1), timedelta(hours=1))
    assert (row.cost_micros, row.is_open, row.began_before, row.went_on_after) == (1_800_000, False, False, False)
    assert {phase: figure.cost_micros for phase, figure in row.phases.items()} == {
        Phase.STARTING: 180_000,
        Phase.BUSY: 720_000,
        Phase.IDLE: 900_000,
    }
    (total,) = report.totals
    assert (total.currency, total.session_count, total.cost_micros) == ("EUR", 1, 1_800_000)
    assert report.phase_lengths[Phase.IDLE] == timedelta(minutes=30)


def test_a_session_over_the_edge_of_the_month_is_split_without_loss():
    over = session(datetime(2026, 1, 31, 22, tzinfo=UTC), timedelta(hours=3), price=price(1_000_000))
    january = month_report([over], month="2026-01", zone=BERLIN)
    february = month_report([over], month="2026-02", zone=BERLIN)
    assert (january.length, february.length) == (timedelta(hours=1), timedelta(hours=2))
    assert (january.totals[0].cost_micros, february.totals[0].cost_micros) == (1_000_000, 2_000_000)
    assert (january.rows[0].went_on_after, february.rows[0].began_before) == (True, True)


def test_sessions_outside_of_the_month_are_left_out():
    before = session(datetime(2025, 12, 31, 23, tzinfo=UTC), timedelta(hours=1))
    after = session(datetime(2026, 2, 1, tzinfo=UTC), timedelta(hours=1))
    report = month_report([before, after], month="2026-01", zone=UTC_ZONE)
    assert (report.rows, report.totals, report.length) == ((), (), timedelta(0))


def test_a_session_that_has_just_begun_is_in_the_month():
    fresh = session(datetime(2026, 1, 1, tzinfo=UTC), timedelta(0), price=price(1), is_open=True)
    (row,) = month_report([fresh], month="2026-01", zone=UTC_ZONE).rows
    assert (row.is_open, row.length, row.cost_micros, row.phases) == (True, timedelta(0), 0, {})


def test_currencies_are_never_added_and_unknown_prices_never_count_as_zero():
    start = datetime(2026, 1, 5, tzinfo=UTC)
    hour = timedelta(hours=1)
    report = month_report(
        [
            session(start, hour, price=price(2_000_000, "USD")),
            session(start + hour, hour, price=price(3_000_000, "CNY")),
            session(start + 2 * hour, hour, price=price(4_000_000, "USD")),
            session(start + 3 * hour, hour),
        ],
        month="2026-01",
        zone=UTC_ZONE,
    )
    assert [(total.currency, total.session_count, total.cost_micros) for total in report.totals] == [
        ("CNY", 1, 3_000_000),
        ("USD", 2, 6_000_000),
    ]
    assert (len(report.unpriced), report.unpriced_length, report.length) == (1, hour, 4 * hour)
    assert report.rows[-1].cost_micros is None
    assert {figure.cost_micros for figure in report.rows[-1].phases.values()} == {None}


def test_nothing_is_charged_ahead():
    disk = StandingCharge(name="disk", micros_per_month=31_000_000, currency="CNY")
    for until, micros in ((YEAR, [0]), (YEAR + timedelta(days=1), [1_000_000]), (LATER, [31_000_000])):
        report = month_report([], month="2026-01", zone=UTC_ZONE, standing=[disk], until=until)
        assert [figure.cost_micros for figure in report.standing] == micros


lengths = st.lists(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9)), min_size=1, max_size=9)
sessions_of_a_year = st.lists(
    st.builds(
        lambda after, lengths, micros, currency, is_open: session(
            YEAR + timedelta(seconds=after), *lengths, price=micros and price(micros, currency), is_open=is_open
        ),
        st.integers(min_value=0, max_value=SECONDS_OF_A_YEAR - 82 * 86_400),
        lengths,
        st.none() | st.integers(min_value=1, max_value=10**9),
        st.sampled_from(["EUR", "USD"]),
        st.booleans(),
    ),
    max_size=6,
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"]).map(
    ZoneInfo
)


@given(sessions_of_a_year, zones)
def test_every_sum_is_exact(sessions, zone):
    months = ["2025-12", *(f"2026-{number:02}" for number in range(1, 13)), "2027-01"]
    reports = [month_report(sessions, month=month, zone=zone) for month in months]
    for report in reports:
        assert sum(report.phase_lengths.values(), timedelta(0)) == report.length
        for row in report.rows:
            assert sum((figure.length for figure in row.phases.values()), timedelta(0)) == row.length
            if row.cost_micros is not None:
                assert sum(figure.cost_micros for figure in row.phases.values()) == row.cost_micros
        for total in report.totals:
            costs = [row.cost_micros for row in report.rows if row.price and row.price.currency == total.currency]
            assert (len(costs), sum(costs)) == (total.session_count, total.cost_micros)
            assert sum(total.phase_micros.values()) == total.cost_micros
    assert sum((report.length for report in reports), timedelta(0)) == sum(
        (session.length for session in sessions), timedelta(0)
    )
    assert sum(total.cost_micros for report in reports for total in report.totals) == sum(
        session.cost() or 0 for session in sessions
    )
