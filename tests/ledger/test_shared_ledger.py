"""Several daemons on one ledger, which is a team's if it is PostgreSQL."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from fakes.postgresql import needs_postgresql

from costctl.domain.schedules import Schedule, parse_rule
from costctl.domain.sessions import Instance
from costctl.ledger.store import Ledger

DUE = datetime(2026, 1, 5, 2, tzinfo=UTC)
AT_ONCE = 4


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def new_url(request, tmp_path):
    """Where there is no ledger yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    server = request.getfixturevalue("postgresql")
    made = server.make()
    yield made
    server.remove(made)


def start(url, number):
    with Ledger.open(url) as ledger:
        return ledger.register_instance(Instance(machine=f"box {number}"))


def test_daemons_that_start_at_once_make_one_ledger(new_url):
    with ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as processes:
        ids = list(processes.map(partial(start, new_url), range(AT_ONCE), timeout=60))
    assert len(set(ids)) == AT_ONCE


def test_a_due_time_is_taken_by_one_of_many(url, ledger):
    rule = parse_rule("cron 0 2 * * *")
    nightly = Schedule(name="nightly", rule=rule, zone=ZoneInfo("UTC"), command=("batch", "j"), folder="/", since=DUE)
    schedule_id = ledger.add_schedule("box", nightly)

    def take(_):
        with Ledger.open(url) as daemon:
            return daemon.begin_schedule_run(
                schedule_id, due_at=DUE, at=DUE, command=nightly.command, session_id=None, log="log"
            )

    with ThreadPoolExecutor(AT_ONCE) as threads:
        taken = [run for run in threads.map(take, range(AT_ONCE)) if run is not None]
    assert len(taken) == 1
    assert [run.id for run in ledger.schedule_runs("box")] == taken
