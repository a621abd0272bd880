"""What each run of a schedule cost: its batches are its own by number, whatever else the machine did meanwhile."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.domain.batches import Outcome, Progress
from costctl.domain.money import parse_price
from costctl.domain.schedules import RunOutcome, Schedule, parse_rule
from costctl.domain.sessions import EndReason, Instance, Phase
from costctl.ledger.store import Ledger

TWO = datetime(2026, 1, 31, 2, tzinfo=UTC)
DONE = Progress(requests=3, failed=0, prompt_tokens=40, generation_tokens=50)


def after(minutes):
    return TWO + timedelta(minutes=minutes)


class Past:
    """One machine at 6 EUR/h, on from 02:00 to 04:00, and what its schedule and others did there."""

    def __init__(self, home):
        self.home = home
        home.mkdir()
        (home / "machine-id").write_text("box\n")
        self.ledger = Ledger.open(f"sqlite:///{home / 'ledger.db'}")
        box = self.ledger.register_instance(Instance(machine="box"))
        price = parse_price("6 EUR/h", source="flag", dated=TWO)
        self.session = self.ledger.open_session(
            instance_id=box, key="boot", started_at=TWO, at=TWO, price=price, phase=Phase.OFF
        )
        self.ledger.close_session(self.session, at=after(120), reason=EndReason.IDLE)
        made = Schedule(
            name="nightly",
            rule=parse_rule("every 1h"),
            zone=ZoneInfo("UTC"),
            command=("batch", "x"),
            folder="/",
            since=TWO,
        )
        self.schedule = self.ledger.add_schedule("box", made)

    def run(self, begins, ends=None, outcome=RunOutcome.SUCCEEDED):
        number = self.ledger.begin_schedule_run(
            self.schedule, due_at=after(begins), at=after(begins), command=(), session_id=None, log="x"
        )
        if ends is not None:
            self.ledger.end_schedule_run(number, at=after(ends), outcome=outcome, exit_code=0, detail="")
        return number

    def batch(self, begins, ends=None, run=None, name="jobs.jsonl"):
        number = self.ledger.begin_batch(self.session, name=name, at=after(begins), schedule_run_id=run)
        if ends is not None:
            self.ledger.end_batch(number, at=after(ends), done=DONE, outcome=Outcome.DONE)
        return number

    def outcomes(self):
        return [one["outcome"] for one in self._history()]

    def history(self):
        return [(one["batches"], one["cost"]) for one in self._history()]

    def _history(self):
        environment = {"COSTCTL_HOME": str(self.home), "COSTCTL_CONFIG": None, "XDG_CONFIG_HOME": str(self.home)}
        done = CliRunner().invoke(cli, ["schedule", "history", "--json"], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        return list(reversed(json.loads(done.stdout)))


@pytest.fixture
def past(tmp_path):
    made = Past(tmp_path / "home")
    yield made
    made.ledger.close()


def test_a_run_has_its_own_batch_and_not_the_one_that_it_had_to_wait_for(past):
    run = past.run(10, 60)
    past.batch(5, 30, name="somebody's")
    own = past.batch(30, 50, run)
    assert past.history() == [([own], "2.00")], "20 minutes at 6 EUR/h, though it was under way for 50"


def test_a_history_may_be_longer_than_a_database_takes_numbers(past):
    run = past.run(10, 20)
    own = past.batch(10, 20, run)
    assert [batch.id for batch in past.ledger.batches_of_runs(range(run, run + 300_000))] == [own]


def test_a_run_without_a_batch_costs_what_the_machine_did(past):
    past.run(10, 20)
    past.batch(10, 20, name="somebody's")
    assert past.history() == [([], "1.00")]


def test_a_batch_that_went_on_after_its_daemon_died_is_counted_once(past):
    run = past.run(10, 40)
    first, second = past.batch(10, run=run), past.batch(20, 40, run)
    assert past.history() == [([first, second], "3.00")]


def test_a_lost_run_costs_what_its_batch_did_if_that_came_to_its_end(past):
    lost = past.run(10)
    past.ledger.end_schedule_run(lost, at=None, outcome=RunOutcome.LOST, exit_code=None, detail="")
    own = past.batch(10, 40, lost)
    assert past.history() == [([own], "3.00")]


def test_a_run_that_goes_on_has_no_cost_yet(past):
    own = past.batch(10, run=past.run(10))
    assert past.history() == [([own], None)]


def test_a_run_that_nobody_runs_any_more_is_not_said_to_run_for_ever(past):
    past.run(10)
    number = past.run(20)
    past.ledger.schedule_run_lives(number, at=datetime.now(UTC))
    assert past.outcomes() == ["lost", "running"]


def test_who_ran_it_has_the_last_word_over_who_thought_it_lost(past):
    number = past.run(10)
    lost = {"at": None, "outcome": RunOutcome.LOST, "exit_code": None, "detail": ""}
    past.ledger.end_schedule_run(number, **lost)
    past.ledger.end_schedule_run(number, at=after(20), outcome=RunOutcome.SUCCEEDED, exit_code=0, detail="")
    past.ledger.end_schedule_run(number, **lost)
    assert past.outcomes() == ["succeeded"]


def test_a_batch_of_a_run_that_the_ledger_does_not_have_is_nobodys(past):
    past.batch(10, 20, run=99)
    assert past.ledger.batches(past.session)[0].schedule_run_id is None


def test_numbers_of_a_removed_schedules_runs_are_not_taken_for_anothers(past):
    past.batch(10, 20, past.run(10, 20))
    past.ledger.remove_schedule("box", "nightly")
    assert past.ledger.batches(past.session)[0].schedule_run_id is None
    assert past.history() == []
