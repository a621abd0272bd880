"""What becomes of due times when the daemon, or the machine, was off, or its clock was set."""

from datetime import timedelta

import pytest
from fakes.clock import settle
from night import Night, started


async def test_a_time_that_passed_within_the_grace_runs_once_when_the_daemon_is_back(night):
    night.add("every 10m")
    await night.after(minutes=65)
    night.begin()
    await settle()
    assert night.alarms.set_to["nightly"] <= night.clock.now(), "APScheduler rings at once, for the last of them"
    due = night.clock.now() - timedelta(minutes=5)
    night.alarms.fire(1, due)
    await settle()
    assert (night.runs(), night.last().due_at) == ([("nightly", "running")], due)


async def test_a_time_that_passed_longer_ago_is_recorded_as_missed_and_told(night):
    night.add("cron 0 13 * * *", grace_s=1800.0)
    await night.after(hours=2)
    night.begin()
    await settle()
    await night.ring()
    assert (night.runs(), night.commands.started) == ([("nightly", "missed")], [])
    assert night.last().detail == "1h late, and its grace is 30m"
    assert "missed" in night.told[0][1].title


@pytest.mark.parametrize(("grace_h", "outcome"), [(1, "missed"), (12, "running")])
async def test_a_machine_that_was_off_for_nights_runs_once_in_the_morning_if_that_is_still_of_use(
    night, grace_h, outcome
):
    night.add("cron 0 2 * * *", grace_s=grace_h * 3600.0)
    await night.after(hours=24 * 5 + 9 - night.clock.now().hour)  # five nights, and it comes up at 09:00
    night.begin()
    await settle()
    due = await night.ring()
    assert (due.hour, night.clock.now() - due) == (2, timedelta(hours=7))
    assert night.runs() == [("nightly", outcome)], "of the nights before nothing is run nor recorded"
    assert night.alarms.set_to["nightly"] == due


@pytest.mark.parametrize(("hours", "outcome"), [(1.5, "running"), (30, "missed")])
async def test_a_clock_that_is_set_over_a_due_time_has_it_caught_up_or_missed(night, hours, outcome):
    await started(night, "cron 0 13 * * *")
    night.clock.step_wall_clock(3600 * hours)
    await night.after(seconds=31)
    await night.ring()
    assert night.runs() == [("nightly", outcome)]


async def test_a_restart_runs_nothing_twice_and_forgets_nothing(night, ledger):
    await started(night)
    due = await night.ring()
    night.commands.started[0].end(0)
    await settle()
    await night.die()
    again = Night(ledger, clock=night.clock)
    again.begin()
    await settle()
    assert again.alarms.set_to == {"nightly": due + timedelta(hours=1)}
    await again.die()


async def test_what_was_due_during_a_pause_is_forgotten(night):
    await started(night)
    night.ledger.pause_schedule(night.machine, "nightly")
    await night.after(hours=3)
    night.ledger.resume_schedule(night.machine, "nightly", at=night.clock.now())
    await night.schedules.refresh()
    assert night.alarms.set_to == {"nightly": night.clock.now() + timedelta(hours=1)}


# --- the clock ---


@pytest.mark.parametrize("hours", [5, -5])
async def test_a_clock_that_was_set_has_the_alarms_set_anew(night, hours):
    await started(night, "cron 0 13 * * *")
    night.clock.step_wall_clock(3600 * hours)
    await night.after(seconds=31)
    assert night.alarms.sets == 2
    first = night.alarms.set_to["nightly"]
    assert (first <= night.clock.now()) == (hours > 0), "after a jump ahead it is due, and is missed or caught up"


async def test_a_due_time_that_comes_twice_since_the_clock_went_back_runs_once(night):
    await started(night, "cron 0 13 * * *")
    await night.ring()
    night.commands.started[0].end(0)
    night.clock.step_wall_clock(-1800)
    await night.after(seconds=31)
    await night.ring()
    assert night.runs() == [("nightly", "succeeded")]
