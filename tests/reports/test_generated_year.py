"""The generated year is a ledger as the daemon writes it, and has in it what golden files have to show."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from costctl.config.billing import read_billing
from costctl.domain.sessions import EndReason, Phase
from costctl.ledger.store import Ledger
from costctl.reports.periods import parse_month
from costctl.reports.tally import Facts, report_of

BERLIN = ZoneInfo("Europe/Berlin")
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def ledger(year_url):
    with Ledger.read(year_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def sessions(ledger):
    return ledger.sessions()


def test_the_year_is_consistent_and_of_a_size_to_look_at(ledger, sessions):
    assert ledger.check() == []
    january = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert (len(sessions), len(ledger.sessions(since=january[0], until=january[1]))) == (402, 42)


def test_no_machine_is_up_twice_at_a_time(sessions):
    by_machine = {}
    for session in sessions:
        by_machine.setdefault(session.instance.machine, []).append(session)
    assert set(by_machine) == {"t4-box", "a10g-box", "rented", "loaner"}
    for theirs in by_machine.values():
        assert all(before.known_until < after.started_at for before, after in pairwise(theirs))


def test_the_year_has_its_oddities(ledger, sessions):
    ends = Counter(session.end_reason for session in sessions)
    assert (ends[EndReason.LOST], ends[EndReason.SUSPENDED]) == (1, 1)
    assert Counter(session.price and session.price.currency for session in sessions)[None] == 1
    assert sum(any(span.phase is Phase.UNKNOWN for span in session.phases) for session in sessions) == 2
    models = {run.model for session in sessions for run in ledger.engine_runs(session.id)}
    assert {"<b>tiny</b>", "=SUM(1,2)"} < models


@pytest.mark.parametrize(
    "edge",
    [
        datetime(2025, 8, 1, tzinfo=BERLIN),  # midnight, and a month's end
        datetime(2025, 10, 26, 1, tzinfo=UTC),  # summer time ends
        datetime(2026, 1, 1, tzinfo=BERLIN),
        datetime(2026, 3, 29, 1, tzinfo=UTC),  # summer time begins
    ],
)
def test_a_session_goes_over_each_edge_of_the_calendar(sessions, edge):
    assert any(session.started_at < edge < session.known_until for session in sessions)


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "Asia/Shanghai", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"]
)
def test_the_months_sum_to_the_year_in_every_zone(ledger, sessions, zone):
    rules = read_billing(None).rules
    billed = {session.id: replace(session, rule=rules[session.rule_name]) for session in sessions}
    whole, costs = Counter(), Counter()
    for session in billed.values():
        whole[session.price and session.price.currency] += session.length // MICROSECOND
        costs[session.price and session.price.currency] += session.cost() or 0
    lengths, micros, tokens = Counter(), Counter(), 0
    for number in range(12):
        month = parse_month(f"{2025 + (6 + number) // 12}-{(6 + number) % 12 + 1:02}", ZoneInfo(zone))
        since, until = month.started_at, month.ended_at
        facts = Facts(
            sessions=[billed[session.id] for session in ledger.sessions(since=since, until=until)],
            usage=ledger.usage_between(since, until),
            batches=ledger.batches_between(since, until),
        )
        report = report_of(facts, period=month, now=datetime(2026, 8, 1, tzinfo=UTC))
        for piece in report.slices:
            lengths[piece.currency] += piece.length // MICROSECOND
        for total in report.totals:
            micros[total.currency] += total.cost_micros
        tokens += sum(use.tokens for use in report.usage)
    assert lengths == whole
    assert micros == +costs
    assert tokens == sum(
        hour.prompt_tokens + hour.generation_tokens for known in billed for hour in ledger.usage(known)
    )
