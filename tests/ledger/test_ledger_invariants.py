"""Whatever the daemon does in whatever order, at whatever times: sessions are partitioned and costs add up."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase
from costctl.ledger.store import Ledger

START = datetime(2026, 1, 31, tzinfo=UTC)
# Clocks are stepped, so instants come in any order.
instants = st.integers(min_value=-10_000_000, max_value=3_600_000_000).map(
    lambda us: START + timedelta(microseconds=us)
)
prices = st.none() | st.integers(min_value=1, max_value=100_000_000).map(
    lambda micros: Price(micros_per_hour=micros, currency="EUR", source="test", dated=START)
)


class LedgerMachine(RuleBasedStateMachine):
    template: Path

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.db"
        shutil.copy(self.template, path)
        self.ledger = Ledger.open(f"sqlite:///{path}")
        self.boot = 1
        self.session_id = None
        self.is_open = False

    @initialize()
    def arrive(self):
        self.instance_id = self.ledger.register_instance(Instance(machine="box"))

    @rule(start=instants, at=instants, price=prices)
    def serve(self, start, at, price):
        self.ledger.close_lost_sessions(machine="box", except_key=f"boot-{self.boot}")
        latest = self.ledger.latest_session(machine="box", key=f"boot-{self.boot}")
        if latest:
            self.ledger.resume_session(latest.id, at=at, price=price)
            self.session_id = latest.id
        else:
            self.session_id = self.ledger.open_session(
                instance_id=self.instance_id,
                key=f"boot-{self.boot}",
                started_at=start,
                at=at,
                price=price,
                phase=Phase.OFF,
            )
        self.is_open = True

    @rule()
    def reboot(self):
        self.boot += 1
        self.is_open = False

    @precondition(lambda self: self.is_open)
    @rule(at=instants)
    def beat(self, at):
        before = self.ledger.sessions()
        self.ledger.heartbeat(self.session_id, at)
        for earlier, later in zip(before, self.ledger.sessions(), strict=True):
            assert later.known_until >= earlier.known_until

    @precondition(lambda self: self.is_open)
    @rule(at=instants, phase=st.sampled_from(Phase))
    def change(self, at, phase):
        self.ledger.begin_phase(self.session_id, at=at, phase=phase)

    @precondition(lambda self: self.is_open)
    @rule(at=instants, ready_at=instants, is_ready=st.booleans(), ended_at=st.none() | instants)
    def run_engine(self, at, ready_at, is_ready, ended_at):
        number = self.ledger.next_run_number(self.session_id)
        self.ledger.begin_run(self.session_id, number, engine="sim", model="m", command=["sim"], at=at)
        self.ledger.begin_phase(self.session_id, at=at, phase=Phase.STARTING, run=number)
        if is_ready:
            self.ledger.run_ready(self.session_id, number, at=ready_at, startup={})
        if ended_at:
            self.ledger.end_run(self.session_id, number, at=ended_at, outcome="stopped", detail=None)

    @precondition(lambda self: self.is_open)
    @rule(at=instants, reason=st.sampled_from(EndReason))
    def end(self, at, reason):
        self.ledger.close_session(self.session_id, at=at, reason=reason)
        self.is_open = False

    @invariant()
    def is_consistent(self):
        assert self.ledger.check() == []

    @invariant()
    def sessions_are_partitioned_and_costs_add_up(self):
        for session in self.ledger.sessions():
            edges = [span.started_at for span in session.phases] + [session.known_until]
            assert edges[0] == session.started_at
            assert edges[1:] == [span.ended_at for span in session.phases]
            assert edges == sorted(edges)
            if session.price:
                costs = [session.cost(span.started_at, span.ended_at) for span in session.phases]
                assert min(costs) >= 0
                assert sum(costs) == session.cost()

    def teardown(self):
        self.ledger.close()
        self.folder.cleanup()


def test_any_history_is_consistent(empty_ledger):
    LedgerMachine.template = empty_ledger
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
