from datetime import UTC, datetime, timedelta

import pytest
from fakes.phases import columns
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.money import Price, split
from costctl.domain.reconciliation import InvoiceLine, reconcile
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session

START = datetime(2026, 1, 30, 14, tzinfo=UTC)


def minutes(number):
    return START + timedelta(minutes=number)


def session(number, begin, end, *, currency="CNY", micros=1_800_000, phase=Phase.BUSY):
    price = Price(micros_per_hour=micros, currency=currency, source="x", dated=START) if micros else None
    return Session(
        id=number,
        instance=Instance(machine="box"),
        started_at=minutes(begin),
        heartbeat_at=minutes(end),
        ended_at=minutes(end),
        end_reason=EndReason.IDLE,
        price=price,
        phase_columns=columns([PhaseSpan(phase=phase, started_at=minutes(begin), ended_at=minutes(end))]),
    )


def line(begin, end, micros, *, currency="CNY", is_machine=True):
    return InvoiceLine(
        number=2,
        started_at=minutes(begin),
        ended_at=minutes(end),
        micros=micros,
        currency=currency,
        is_machine=is_machine,
    )


def test_a_session_beside_its_line():
    found = reconcile([session(1, 0, 60)], [line(0, 61, 1_810_000)])
    (row,) = found.sessions
    assert (row.ledger_micros, row.invoice_micros, row.drift_micros) == (1_800_000, 1_810_000, 10_000)
    assert found.agrees(0)  # to a hundredth of the unit
    assert not reconcile([session(1, 0, 60)], [line(0, 61, 1_830_000)]).agrees(1)
    assert reconcile([session(1, 0, 60)], [line(0, 61, 1_830_000)]).agrees(2)


def test_a_line_for_an_hour_is_split_by_what_the_ledger_bills_in_it():
    found = reconcile([session(1, 0, 10), session(2, 30, 50)], [line(0, 60, 1_000_000)])
    assert [row.invoice_micros for row in found.sessions] == [333_333, 666_667]


def test_lines_by_the_hour_make_a_session():
    found = reconcile([session(1, 30, 150)], [line(0, 60, 900_000), line(60, 120, 1_800_000), line(120, 180, 900_000)])
    assert (found.sessions[0].line_count, found.sessions[0].drift_micros) == (3, 0)


def test_what_only_one_side_knows():
    found = reconcile(
        [session(1, 0, 60), session(2, 200, 260)], [line(0, 60, 1_800_000), line(100, 300, 5, currency="USD")]
    )
    assert [row.line_count for row in found.sessions] == [1, 0]
    assert [entry.currency for entry in found.only_invoice] == ["USD"]
    assert not found.agrees(100)


def test_currencies_are_never_added():
    found = reconcile(
        [session(1, 0, 60), session(2, 0, 60, currency="USD")],
        [line(0, 60, 1_800_000), line(0, 60, 1_900_000, currency="USD")],
    )
    assert [(total.currency, total.drift_micros) for total in found.totals] == [("CNY", 0), ("USD", 100_000)]


def test_a_session_of_unknown_price_takes_what_no_other_can():
    unpriced = session(1, 0, 60, micros=0)
    found = reconcile([unpriced, session(2, 30, 60)], [line(0, 60, 900_000)])
    assert [row.line_count for row in found.sessions] == [0, 1]
    (row,) = reconcile([unpriced], [line(0, 60, 900_000)]).sessions
    assert (row.ledger_micros, row.invoice_micros, row.currency, row.drift_micros) == (None, 900_000, "CNY", None)


def test_a_session_is_cut_to_the_invoice():
    (row,) = reconcile([session(1, -60, 60)], [line(0, 30, 900_000)]).sessions
    assert (row.is_cut, row.ledger_micros) == (True, 900_000)
    assert reconcile([session(1, -60, 0)], [line(0, 30, 1)]).sessions == ()


def test_gaps_and_what_is_no_machine():
    found = reconcile(
        [session(1, 0, 60, phase=Phase.UNKNOWN)], [line(0, 60, 1_800_000), line(0, 30, 7, is_machine=False)]
    )
    assert [(gap.session.id, gap.ledger_micros) for gap in found.gaps] == [(1, 1_800_000)]
    assert (found.totals[0].other_micros, found.totals[0].drift_micros, found.agrees(0)) == (7, 0, True)


def test_a_charge_at_one_instant():
    found = reconcile([session(1, 0, 60)], [line(30, 30, 1_800_000), line(0, 60, 0)])
    assert found.sessions[0].line_count == 2


spans = st.tuples(st.integers(0, 300), st.integers(1, 300)).map(lambda pair: (pair[0], pair[0] + pair[1]))
currencies = st.sampled_from(["CNY", "USD"])


@given(
    st.lists(st.tuples(spans, currencies, st.sampled_from([0, 1, 1_800_000])), max_size=6),
    st.lists(st.tuples(spans, currencies, st.integers(-(10**9), 10**9)), min_size=1, max_size=6),
)
def test_every_micro_unit_of_the_invoice_is_somewhere_once(given_sessions, given_lines):
    sessions = [
        session(number, *span, currency=currency, micros=micros)
        for number, (span, currency, micros) in enumerate(given_sessions)
    ]
    lines = [line(*span, micros, currency=currency) for span, currency, micros in given_lines]
    found = reconcile(sessions, lines)
    placed = sum(row.invoice_micros for row in found.sessions) + sum(entry.micros for entry in found.only_invoice)
    assert placed == sum(entry.micros for entry in lines)


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**9), min_size=1).filter(sum))
def test_a_split_adds_up(micros, weights):
    parts = split(micros, weights)
    assert sum(parts) == micros
    assert all(not weight or part * micros >= 0 for part, weight in zip(parts, weights, strict=True))


def test_a_split_by_nothing_is_refused():
    with pytest.raises(ValueError, match="not all nothing"):
        split(1, [0, 0])
