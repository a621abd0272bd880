"""The pass over the phases: whatever a period is cut by, the pieces sum to it exactly."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from fakes.phases import columns
from hypothesis import given, settings
from hypothesis import strategies as st

from costctl.domain.money import Price
from costctl.domain.periods import PeriodKind, calendar_period, period_between
from costctl.domain.rules import BillingRule, Rounding
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session
from costctl.ledger.values import Batch, RunFact, UsageHour
from costctl.reports.batches import batches_section
from costctl.reports.tally import Facts, report_of
from costctl.reports.wording import Wording

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)  # a leap year
LATER = BEGIN + timedelta(days=4000)
HOUR = timedelta(hours=1)
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
HOURLY = BillingRule(name="hourly", increment=HOUR, rounding=Rounding(quantum_micros=10_000, up=True))


def session(start, *phases, number=1, price=1_800_000, currency="CNY", rule=None, machine="box"):
    """A session with (phase, length, run) stretches."""
    edges = [start]
    for _, length, *_ in phases:
        edges.append(edges[-1] + length)
    spans = tuple(
        PhaseSpan(phase=phase, started_at=begin, ended_at=end, run=run[0] if run else None)
        for (phase, _, *run), (begin, end) in zip(phases, pairwise(edges), strict=True)
    )
    return Session(
        id=number,
        instance=Instance(machine=machine, gpu="T4", gpu_count=1),
        started_at=start,
        heartbeat_at=edges[-1],
        ended_at=edges[-1],
        end_reason=EndReason.IDLE,
        price=price and Price(micros_per_hour=price, currency=currency, source="test", dated=BEGIN),
        phase_columns=columns(spans),
        rule=rule,
    )


def month(facts, day=date(2024, 1, 15), zone=UTC_ZONE, **options):
    found = facts if isinstance(facts, Facts) else Facts(sessions=facts)
    return report_of(found, period=calendar_period(PeriodKind.MONTH, day, zone), now=LATER, **options)


phases = st.lists(
    st.tuples(st.sampled_from(Phase), st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=5))),
    min_size=1,
    max_size=8,
)
sessions = st.lists(
    st.builds(
        lambda after, phases, price, currency, rule: session(
            BEGIN + after, *phases, price=price, currency=currency, rule=rule
        ),
        st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=364)),
        phases,
        st.none() | st.integers(min_value=1, max_value=10**9),
        st.sampled_from(["CNY", "USD"]),
        st.sampled_from([None, HOURLY]),
    ),
    max_size=4,
)
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)


@settings(max_examples=60)
@given(sessions, zones)
def test_slices_sum_to_the_sessions_and_days_to_months_and_months_to_all(sessions, zone):
    facts = Facts(sessions=sessions)
    whole = period_between(BEGIN - timedelta(days=40), BEGIN + timedelta(days=420), zone)
    wide = report_of(facts, period=whole, now=LATER)
    assert sum((piece.length for piece in wide.slices), timedelta(0)) == wide.length
    for total in wide.totals:
        of_currency = [piece for piece in wide.slices if piece.currency == total.currency]
        assert sum(piece.cost_micros for piece in of_currency) == total.cost_micros
    for first, part in wide.parts(lambda piece: piece.day.replace(day=1)).items():
        alone = month(facts, day=first, zone=zone)
        assert alone.length == part.length
        assert {total.currency: total.cost_micros for total in alone.totals if total.cost_micros} == {
            currency: micros for currency, micros in part.micros.items() if micros
        }


def test_a_batch_that_is_still_at_work_has_worked_as_long_as_its_session_is_known():
    facts = Facts(
        sessions=[session(BEGIN, (Phase.BUSY, 2 * HOUR, 1))],
        batches=[
            Batch(
                id=1,
                session_id=1,
                name="jobs",
                started_at=BEGIN + HOUR,
                ended_at=None,
                requests=0,
                failed_requests=0,
                prompt_tokens=0,
                generation_tokens=0,
                schedule_run_id=None,
            )
        ],
    )
    report = month(facts, day=BEGIN.date())
    assert batches_section(report, Wording.of("en")).blocks[-1].key == "batch-list"
    assert [batch.length for batch in report.batches] == [HOUR]
    assert sum((piece.length for piece in report.slices if piece.in_batch), timedelta(0)) == HOUR


def test_batches_that_were_lost_with_their_daemon_are_remarked_upon():
    lost = Batch(
        id=1,
        session_id=1,
        name="jobs",
        started_at=BEGIN,
        ended_at=BEGIN + HOUR,
        requests=5,
        failed_requests=0,
        prompt_tokens=0,
        generation_tokens=0,
        schedule_run_id=None,
        outcome="lost",
    )
    report = month(Facts(sessions=[session(BEGIN, (Phase.BUSY, 2 * HOUR, 1))], batches=[lost]), day=BEGIN.date())
    (remark,) = batches_section(report, Wording.of("en")).blocks[-1].items
    assert remark.startswith("1 run ended with a daemon that was killed")


def test_each_piece_is_called_by_its_day_phase_model_and_batch():
    night = datetime(2024, 1, 15, 22, tzinfo=UTC)  # 23:00 in Berlin
    facts = Facts(
        sessions=[session(night, (Phase.STARTING, HOUR / 2, 1), (Phase.BUSY, 2 * HOUR, 1), (Phase.OFF, HOUR / 2))],
        runs=[RunFact(session_id=1, number=1, engine="vllm", model="Qwen", command=(), start=HOUR / 2)],
        batches=[
            Batch(
                id=1,
                session_id=1,
                name="jobs",
                started_at=night + HOUR,
                ended_at=night + 2 * HOUR,
                requests=9,
                failed_requests=1,
                prompt_tokens=10,
                generation_tokens=20,
                schedule_run_id=None,
            )
        ],
    )
    report = month(facts, zone=BERLIN)
    found = [
        (piece.day.day, piece.phase, piece.model, piece.in_batch, piece.length / HOUR, piece.cost_micros)
        for piece in report.slices
    ]
    assert found == [
        (15, Phase.STARTING, "Qwen", False, 0.5, 900_000),
        (15, Phase.BUSY, "Qwen", False, 0.5, 900_000),
        (16, Phase.BUSY, "Qwen", True, 1.0, 1_800_000),
        (16, Phase.BUSY, "Qwen", False, 0.5, 900_000),
        (16, Phase.OFF, None, False, 0.5, 900_000),
    ]
    (batch,) = report.batches
    assert (batch.name, batch.length, batch.cost_micros, batch.failed_requests) == ("jobs", HOUR, 1_800_000, 1)
    assert report.busy_hours == {(0, 23): HOUR / 2, (1, 0): HOUR, (1, 1): HOUR / 2}  # a Monday night


def test_what_the_least_charge_adds_to_a_session_of_no_length_is_in_the_days_too():
    report = month([session(datetime(2024, 1, 3, tzinfo=UTC), (Phase.OFF, timedelta(0)), rule=HOURLY)])
    assert report.parts(lambda piece: piece.day) == {}
    short = session(datetime(2024, 1, 3, tzinfo=UTC), (Phase.OFF, timedelta(seconds=1)), rule=HOURLY)
    assert month([short]).parts(lambda piece: piece.day.day)[3].micros == {"CNY": 1_800_000}


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2024, 3, 31), {0: 1, 1: 1, 3: 1}), (date(2024, 10, 27), {0: 1, 1: 1, 2: 2, 3: 1})],
)
def test_an_hour_that_a_clock_skips_has_no_use_and_one_that_it_repeats_has_twice_as_much(day, hours):
    midnight = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
    length = sum(hours.values()) * HOUR
    report = month([session(midnight, (Phase.BUSY, length))], day=day, zone=BERLIN)
    assert report.busy_hours == {(6, hour): count * HOUR for hour, count in hours.items()}


def test_usage_belongs_to_the_day_on_which_its_hour_begins_and_to_what_its_session_is_paid_in():
    facts = Facts(
        sessions=[session(datetime(2024, 1, 15, 22, tzinfo=UTC), (Phase.BUSY, 3 * HOUR))],
        usage=[
            UsageHour(
                session_id=1,
                hour_at=datetime(2024, 1, 15, hour, tzinfo=UTC),
                model="Qwen",
                requests=1,
                prompt_tokens=10,
                generation_tokens=5,
            )
            for hour in (22, 23)
        ],
    )
    found = month(facts, zone=BERLIN).usage
    assert [(use.day.day, use.currency, use.requests, use.tokens) for use in found] == [
        (15, "CNY", 1, 15),
        (16, "CNY", 1, 15),
    ]


def test_the_headline_takes_idle_starting_and_unknown_time_for_waste():
    kinds = [(phase, HOUR) for phase in Phase]
    (total,) = month([session(datetime(2024, 1, 3, tzinfo=UTC), *kinds, price=1_000_000)]).totals
    assert (total.cost_micros, total.waste_micros) == (7_000_000, 3_000_000)


def test_a_period_that_runs_is_known_until_now():
    period = calendar_period(PeriodKind.MONTH, date(2024, 1, 1), BERLIN)
    report = report_of(Facts(sessions=[]), period=period, now=datetime(2024, 1, 1, 12, tzinfo=UTC))
    assert report.known_until == datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert sum(report.clock_hours.values(), timedelta(0)) == 13 * HOUR
