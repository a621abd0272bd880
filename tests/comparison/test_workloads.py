"""The ledger's sessions as a workload."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes.phases import columns

from costctl.domain.money import parse_price
from costctl.domain.offers import Market, Origin
from costctl.domain.periods import PeriodKind, calendar_period, period_between
from costctl.domain.roofline import Traffic
from costctl.domain.sessions import Instance, Phase, PhaseSpan, Session
from costctl.domain.workload import ENOUGH_TO_MEASURE, measures_of
from costctl.ledger.values import RunFact, UsageHour
from costctl.reports.tally import Facts, report_of
from costctl.reports.workloads import loads_of, paid_offers, workload_of

START = datetime(2026, 1, 31, 22, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
UTC_ZONE = ZoneInfo("UTC")
SERVE = ("vllm", "serve", "Qwen/Qwen3-8B", "--uds", "/run/x", "--max-model-len=8192")
PHASES = (Phase.OFF, Phase.STARTING, Phase.BUSY, Phase.IDLE)


def session(number=1, *, start=START, gpu="NVIDIA A10G", runs=(None, 1, 1, 1), price="1.0 USD/h", **facts):
    """Return four hours of a session: off, starting, busy, idle."""
    spans = [
        PhaseSpan(phase=phase, started_at=start + hour * HOUR, ended_at=start + (hour + 1) * HOUR, run=run)
        for hour, (phase, run) in enumerate(zip(PHASES, runs, strict=True))
    ]
    return Session(
        id=number,
        instance=Instance(machine="box", gpu=gpu, gpu_count=1, **facts),
        started_at=start,
        heartbeat_at=start + 4 * HOUR,
        ended_at=start + 4 * HOUR,
        end_reason=None,
        price=price and parse_price(price, source="flag", dated=start),
        phase_columns=columns(spans),
    )


def run(session_id=1, number=1, model="qwen", command=SERVE):
    return RunFact(session_id=session_id, number=number, engine="vllm", model=model, command=command, start=None)


def usage(session_id=1, hour=2, model="qwen", requests=10):
    return UsageHour(
        session_id=session_id,
        hour_at=START + hour * HOUR,
        model=model,
        requests=requests,
        prompt_tokens=requests * 100,
        generation_tokens=requests * 50,
    )


def calendar_report(facts, day, kind=PeriodKind.MONTH, now=LATER):
    return report_of(facts, period=calendar_period(kind, day, UTC_ZONE), now=now)


@pytest.fixture
def loads(gpus):
    def loads(facts):
        period = period_between(START, START + 24 * HOUR, UTC_ZONE)
        return list(loads_of(report_of(facts, period=period, now=LATER), gpus))

    return loads


def test_a_load_is_a_model_on_a_gpu_with_the_context_it_was_started_with(loads):
    (found,) = loads(Facts(sessions=[session()], runs=[run()], usage=[usage()]))
    assert (found.model, found.gpu, found.gpu_count, found.context) == ("Qwen/Qwen3-8B", "A10G", 1, 8192)
    assert (found.busy, found.starting, found.idle, found.other) == (HOUR, HOUR, HOUR, HOUR)
    assert found.traffic == Traffic(requests=10, prompt_tokens=1000, generation_tokens=500)


def test_sessions_of_the_same_kind_add_up_and_others_stay_apart(loads):
    sessions = [session(1), session(2), session(3, gpu="Tesla T4"), session(4, gpu="Strange GPU")]
    runs = [run(1), run(2), run(3), run(4, command=(), model="served")]
    found = loads(Facts(sessions=sessions, runs=runs, usage=[usage(1), usage(2), usage(4, model="served")]))
    assert [(load.gpu, load.model, load.busy, load.traffic.requests) for load in found] == [
        ("A10G", "Qwen/Qwen3-8B", 2 * HOUR, 20),
        ("T4", "Qwen/Qwen3-8B", HOUR, 0),
        ("Strange GPU", "served", HOUR, 10),
    ]


def test_two_models_in_one_session_each_get_their_own(loads):
    sessions = [session(runs=(None, 1, 1, 2))]
    runs = [run(number=2, model="b", command=("server", "--model", "other/b")), run()]
    found = {load.model: load for load in loads(Facts(sessions=sessions, runs=runs, usage=[usage(model="b", hour=3)]))}
    assert (found["Qwen/Qwen3-8B"].busy, found["Qwen/Qwen3-8B"].other) == (HOUR, HOUR)
    assert (found["other/b"].idle, found["other/b"].traffic.requests) == (HOUR, 10)


def test_a_session_without_an_engine_is_a_load_without_a_model(loads):
    (found,) = loads(Facts(sessions=[session(runs=(None,) * 4)]))
    assert (found.model, found.other) == (None, HOUR)


def test_only_what_lies_in_the_period_counts(gpus):
    """The session begins two hours before February."""
    facts = Facts(sessions=[session()], runs=[run()], usage=[usage(hour=1)])
    found = workload_of(calendar_report(facts, date(2026, 1, 5)), gpus)
    (load,), (spent,) = found.loads, found.spent
    assert (load.other, load.starting, load.busy, load.traffic.requests) == (HOUR, HOUR, timedelta(0), 10)
    assert (spent.gpu, spent.currency, spent.micros, spent.length) == ("A10G", "USD", 2_000_000, 2 * HOUR)
    assert found.period == timedelta(days=31)
    assert spent.always_on_micros(found.period) == 31 * 24 * 1_000_000


def test_a_month_that_still_runs_is_held_against_what_has_gone_of_it(gpus):
    report = calendar_report(Facts(sessions=[session()]), date(2026, 2, 5), now=datetime(2026, 2, 3, tzinfo=UTC))
    found = workload_of(report, gpus)
    assert found.period == timedelta(days=2)


def test_what_was_spent_stays_apart_by_currency_and_unpriced_sessions_are_left_out(gpus):
    sessions = [session(1), session(2, price="7 CNY/h"), session(3, price=None)]
    found = workload_of(calendar_report(Facts(sessions=sessions), date(2026, 1, 5), PeriodKind.YEAR), gpus)
    assert [(part.currency, part.micros) for part in found.spent] == [("USD", 4_000_000), ("CNY", 28_000_000)]
    assert found.is_partly_unpriced


def test_what_is_paid_becomes_an_own_price(gpus):
    facts = Facts(sessions=[session(provider="aws", market="spot"), session(2, price=None)])
    (found,) = paid_offers(calendar_report(facts, START.date()).rows, gpus)
    assert (found.origin, found.gpu, found.market, found.amount) == (Origin.OWN, "A10G", Market.SPOT, "1.00 USD/h")
    made_up = calendar_report(Facts(sessions=[session(price="9999 USD/h")]), START.date())
    assert list(paid_offers(made_up.rows, gpus)) == []  # no price at all, but a session may have it


def test_a_load_knows_the_last_day_on_which_it_was_at_work(loads):
    """The second session works after midnight, the third never does."""
    idle = session(3, start=START + 9 * HOUR, gpu="Tesla T4", runs=(None, 1, None, 1))
    idle = replace(idle, phase_columns=columns(idle.phases[:2]))
    sessions = [session(1, start=START - HOUR), session(2, start=START + 4 * HOUR), idle]
    found = loads(Facts(sessions=sessions, runs=[run(number) for number in (1, 2, 3)]))
    assert [(load.gpu, load.last_day) for load in found] == [("A10G", date(2026, 2, 1)), ("T4", None)]


def test_machines_at_the_same_time_are_counted_and_those_one_after_the_other_are_not(gpus):
    """Three A10Gs, of which the third begins as the first ends; beside them a T4."""
    begins = (START, START + HOUR, START + 4 * HOUR)
    sessions = [session(number, start=begin, provider=f"p{number}") for number, begin in enumerate(begins, 1)]
    sessions.append(session(4, start=START + 2 * HOUR, gpu="Tesla T4"))
    found = workload_of(calendar_report(Facts(sessions=sessions), date(2026, 2, 1), PeriodKind.YEAR), gpus)
    assert found.machines == 3
    assert [(part.gpu, part.machines, part.micros) for part in found.spent] == [
        ("A10G", 2, 12_000_000),
        ("T4", 1, 4_000_000),
    ]
    assert found.spent[0].always_on_micros(12 * HOUR) == 24_000_000


def test_a_measure_needs_enough_work(load):
    day = START.date()
    (found,) = measures_of([load(last_day=day)])
    assert (found.gpu, found.measured_at) == ("A10G", datetime(2026, 1, 31, tzinfo=UTC))
    for facts in ({"busy": ENOUGH_TO_MEASURE - HOUR / 60}, {"model": None}, {"gpu": None}, {"traffic": Traffic()}):
        assert measures_of([load(last_day=day, **facts)]) == []
