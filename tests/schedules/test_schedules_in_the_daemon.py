"""What a daemon does with schedules: run, skip, catch up, miss, lose, keep up, tell; on an advanced clock."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.clock import settle
from night import Night, started

from costctl.errors import LedgerUnavailableError, NotificationError


async def test_what_is_due_runs_with_its_arguments_and_is_recorded(night):
    await started(night)
    due = await night.ring()
    (command,) = night.commands.started
    assert command.arguments == ("batch", f"out-{due:%Y-%m-%d-%H%M}")
    assert night.runs() == [("nightly", "running")]
    await night.after(minutes=2)
    command.end(0)
    await settle()
    run = night.last()
    assert (run.outcome, run.exit_code, run.due_at, run.ended_at - run.started_at) == (
        "succeeded",
        0,
        due,
        timedelta(minutes=2),
    )
    assert night.told == [], "a success is no news"


async def test_without_schedules_no_alarm_clock_is_made(night):
    night.begin()
    await settle()
    assert night.alarms is None
    assert night.schedules.evidence().detail == "none is due"


async def test_a_schedule_that_is_added_later_is_taken_up_when_the_daemon_is_told(night):
    night.begin()
    await settle()
    night.add()
    await night.schedules.refresh()
    assert night.alarms.set_to == {"nightly": night.clock.now() + timedelta(hours=1)}
    night.ledger.pause_schedule(night.machine, "nightly")
    await night.schedules.refresh()
    assert night.alarms.set_to == {}


async def test_a_paused_schedule_that_rings_all_the_same_does_not_run(night):
    await started(night)
    night.ledger.pause_schedule(night.machine, "nightly")
    await night.schedules.refresh()
    night.alarms.fire(1, night.clock.now())
    await settle()
    assert night.runs() == []


async def test_a_failure_is_recorded_with_its_last_words_and_told(night, caplog):
    await started(night, notify=("team",))
    await night.ring()
    night.commands.started[0].end(4)
    await settle()
    run = night.last()
    assert (run.outcome, run.exit_code, run.detail) == ("failed", 4, "the last line")
    ((names, message),) = night.told
    assert (names, message.title) == (("team",), "costctl: schedule nightly: failed with exit code 4")
    assert "the last line" in message.body
    assert "schedule nightly: failed with exit code 4: the last line" in caplog.text


async def test_a_message_that_cannot_be_sent_is_logged_and_never_fatal(night, caplog):
    night.tell_problem = NotificationError("'team' got nothing")
    await started(night)
    await night.ring()
    night.commands.started[0].end(1)
    await settle()
    assert "nobody was told: 'team' got nothing" in caplog.text
    assert not night.watching.done()


async def test_a_command_that_cannot_be_started_is_a_failure(night):
    night.commands.problem = "cannot start it: /gone: No such file or directory"
    await started(night)
    await night.ring()
    assert (night.last().outcome, night.last().detail) == ("failed", night.commands.problem)


# --- no overlap ---


async def test_what_is_due_while_the_last_run_goes_on_is_skipped_and_recorded(night):
    await started(night)
    await night.ring()
    night.alarms.fire(1, night.clock.now() + timedelta(hours=1))
    await night.after(hours=1)
    assert night.runs() == [("nightly", "running"), ("nightly", "skipped")]
    assert (night.last().started_at, night.last().detail) == (None, "the run before it was still going on")
    assert len(night.commands.started) == 1
    assert "skipped" in night.told[0][1].title


async def test_two_daemons_with_one_ledger_run_a_due_time_once(night, ledger):
    await started(night)
    other = Night(ledger, clock=night.clock)
    other.begin()
    await settle()
    await night.ring()
    await other.ring()
    assert (len(night.commands.started), len(other.commands.started)) == (1, 0)
    assert night.runs() == [("nightly", "running")]
    await other.die()


async def test_what_another_daemon_was_rung_for_and_died_before_it_took_it_is_taken(night):
    """Daemons of one machine share their alarms, and an alarm rings for one of them."""
    await started(night)
    due = night.alarms.set_to["nightly"]
    await night.after(hours=1, seconds=9)
    assert night.alarms.sets == 1
    await night.after(seconds=22)
    assert (night.alarms.sets, night.alarms.set_to["nightly"]) == (2, due)
    await night.ring()
    assert night.runs() == [("nightly", "running")]
    await night.after(minutes=2)
    assert night.alarms.sets == 2


async def test_schedules_of_another_machine_are_none_of_ours(night, ledger):
    await started(night)
    other = Night(ledger, clock=night.clock, machine="other")
    other.begin()
    await settle()
    assert other.alarms is None
    await other.die()


# --- hung, lost, unwritable ---


@pytest.mark.parametrize(("heeds", "signals"), [(True, ["TERM"]), (False, ["TERM", "KILL"])])
async def test_a_run_that_hangs_is_ended_at_its_limit(night, heeds, signals):
    night.commands.heeds = heeds
    await started(night, limit_s=600.0)
    await night.ring()
    await night.after(minutes=11)
    assert night.commands.started[0].signals == signals
    assert night.last().outcome == "failed"
    assert night.last().detail.startswith("ended by costctl: it ran for more than 10m\n")


async def test_a_run_whose_daemon_was_killed_is_lost_once_it_has_ended(night, ledger):
    await started(night, command=("report",))
    await night.ring()
    await night.die()
    again = Night(ledger, clock=night.clock, commands=night.commands)
    again.begin()
    await again.after(minutes=5)
    assert again.runs() == [("nightly", "running")], "its process goes on"
    assert again.schedules.evidence().active is True
    night.commands.elsewhere.clear()
    await again.after(minutes=1)
    assert again.runs() == [("nightly", "lost")]
    assert again.last().ended_at is None
    ((_, message),) = again.told
    assert message.title == "costctl: schedule nightly: lost"
    assert f"its output is in {again.last().log}" in message.body
    await again.die()


@pytest.mark.parametrize(("code", "outcome", "is_told"), [(0, "succeeded", False), (4, "failed", True)])
async def test_a_run_that_ended_after_its_daemon_was_killed_ended_as_it_did(night, ledger, code, outcome, is_told):
    await started(night)
    await night.ring()
    night.commands.exit_codes[Path(night.last().log)] = code
    await night.die()
    night.commands.elsewhere.clear()
    again = Night(ledger, clock=night.clock, commands=night.commands)
    again.begin()
    await again.after(minutes=3)
    assert (again.last().outcome, again.last().exit_code, bool(again.told)) == (outcome, code, is_told)
    await again.die()


async def test_a_run_that_goes_on_in_a_copy_of_this_machine_is_not_lost(night, ledger):
    """Copies of an image share the machine's name, and with a shared ledger its schedules, but not its locks."""
    await started(night, command=("report",))
    await night.ring()
    copy = Night(ledger, clock=night.clock)
    copy.begin()
    await copy.after(hours=5)
    assert copy.runs()[0] == ("nightly", "running")
    assert "nightly runs" not in copy.schedules.evidence().detail, "it is the other one's to stay up for it"
    await night.die()
    await copy.after(minutes=3)
    assert copy.runs()[0] == ("nightly", "lost")
    await copy.die()


async def test_a_run_whose_end_the_ledger_has_not_got_yet_is_not_lost(night):
    await started(night)
    await night.ring()
    await night.after(minutes=2)
    night.writer_rests = True
    night.commands.started[0].end(0)
    await night.after(minutes=2)
    assert night.runs() == [("nightly", "running")]


async def test_runs_that_are_over_are_not_remembered_for_ever(night):
    await started(night)
    for number in range(3):
        await night.ring()
        night.commands.started[number].end(0)
        await settle()
        night.alarms.set_to["nightly"] += timedelta(hours=1)
    await night.after(seconds=31)
    assert night.runs() == [("nightly", "succeeded")] * 3
    assert night.runner.taken == set()


async def test_a_ledger_that_cannot_be_written_has_it_tried_again(night, caplog):
    await started(night)
    night.alarms.problem = LedgerUnavailableError("the ledger is locked")
    await night.schedules.refresh()
    assert "the ledger is locked" in caplog.text
    night.alarms.problem = None
    night.alarms.set_to = {}
    await night.after(seconds=31)
    assert night.alarms.set_to


async def test_a_due_time_that_cannot_be_taken_is_told_once_and_tried_again(night, url):
    await started(night)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("ALTER TABLE schedule_runs RENAME TO away")
        due = await night.ring()
        night.alarms.fire(1, due)
        await settle()
        connection.execute("ALTER TABLE away RENAME TO schedule_runs")
    assert [message.title for _, message in night.told] == ["costctl: schedule nightly: failed"]
    await night.after(seconds=31)
    assert night.alarms.set_to["nightly"] == due
    await night.ring()
    assert night.runs() == [("nightly", "running")]


async def test_a_zone_that_the_system_has_lost_does_not_end_the_daemon(night, url, caplog):
    night.add()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("UPDATE schedules SET zone = 'Mars/Olympus'")
    night.begin()
    await settle()
    assert "the schedule 'nightly' is in Mars/Olympus, which this system does not know" in caplog.text
    assert not night.watching.done()


async def test_at_the_daemons_end_a_run_may_end_by_itself_and_is_asked_to_then(night):
    await started(night)
    await night.ring()
    stopping = asyncio.create_task(night.schedules.stop())
    await night.after(seconds=4)
    assert night.commands.started[0].signals == []
    await night.after(seconds=2)
    assert night.commands.started[0].signals == ["TERM"]
    await stopping
    assert (night.alarms.closed, night.last().outcome) == (True, "failed")


# --- idleness ---


@pytest.mark.parametrize(("minutes", "active"), [(50, False), (57, True)])
async def test_what_is_due_within_a_cold_start_keeps_the_machine_up(night, minutes, active):
    await started(night)  # a start takes 100 s, so 210 s with the margin
    await night.after(minutes=minutes)
    evidence = night.schedules.evidence()
    assert (evidence.name, evidence.active) == ("schedules", active)
    assert evidence.detail == f"nightly is due in {60 - minutes}m"


async def test_a_run_keeps_the_machine_up_and_what_is_paused_does_not(night):
    await started(night, command=("report",))
    await night.ring()
    assert night.schedules.evidence().detail == "nightly runs"
    night.commands.started[0].end(0)
    await settle()
    await night.after(minutes=1)
    assert night.schedules.evidence().active is False
    await night.after(minutes=58)
    night.ledger.pause_schedule(night.machine, "nightly")
    await night.schedules.refresh()
    assert night.schedules.evidence().active is False


async def test_a_batch_keeps_the_machine_up_by_its_lease_alone_once_it_has_one(night):
    """Or a shutdown that it wishes for at its end would find itself still running. Before that it checks its file."""
    await started(night)
    await night.ring()
    assert night.schedules.evidence().detail == "nightly runs"
    night.leased.add(night.last().id)
    evidence = night.schedules.evidence()
    assert (evidence.active, evidence.detail) == (False, "nightly is due in 1h")


async def test_between_due_and_running_the_machine_is_not_stopped(night):
    await started(night)
    await night.after(minutes=60, seconds=3)
    assert night.schedules.evidence().detail == "nightly is due in 0s"
    assert night.schedules.evidence().active is True
