"""A daemon's schedules on a clock that stands still; everything around them is a fake but the ledger."""

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

from fakes.clock import FakeClock, settle
from fakes.schedules import FakeAlarms, FakeCommands

from costctl.daemon.schedule_runner import ScheduleRunner
from costctl.daemon.schedules import Schedules
from costctl.domain.schedules import Schedule, parse_rule

MACHINE = "box"


class Night:
    """Between the alarms and the ledger."""

    def __init__(self, ledger, *, clock=None, commands=None, machine=MACHINE, starts_s=(100.0,)):
        self.ledger = ledger
        self.machine = machine
        self.clock = clock or FakeClock()
        self.commands = commands or FakeCommands()
        self.told = []
        self.leased = set()
        self.writer_rests = False
        self.tell_problem = None
        self.alarms = None
        self.runner = ScheduleRunner(
            ledger=ledger,
            commands=self.commands,
            clock=self.clock,
            submit=self._submit,
            tell=self._tell,
            session_id=lambda: None,
        )
        self.schedules = Schedules(
            ledger=ledger,
            machine=machine,
            runner=self.runner,
            make_alarms=self._make_alarms,
            earlier_starts_s=lambda: starts_s,
            has_lease=self.leased.__contains__,
            clock=self.clock,
        )

    def _submit(self, verb):
        if self.writer_rests:
            return
        verb(self.ledger)

    def _make_alarms(self, fire):
        self.alarms = FakeAlarms(fire)
        return self.alarms

    def _tell(self, names, message):
        self.told.append((names, message))
        if self.tell_problem:
            raise self.tell_problem

    def add(self, rule="every 1h", name="nightly", zone="UTC", **changes):
        """Write a schedule into the ledger, as the command line does."""
        given = {"command": ("batch", "out-{date}-{time}"), "folder": "/", "since": self.clock.now()} | changes
        schedule = Schedule(name=name, rule=parse_rule(rule), zone=ZoneInfo(zone), **given)
        self.ledger.add_schedule(self.machine, schedule)
        return schedule

    def begin(self):
        """Start watching, as a daemon does."""
        self.watching = asyncio.create_task(self.schedules.watch())

    async def ring(self, name="nightly", *, late_s=0.0):
        """Let time pass to the alarm, and ring it; return the due time."""
        at = self.alarms.set_to[name]
        await self.clock.advance(max(0.0, (at - self.clock.now()).total_seconds()) + late_s)
        (schedule,) = (one for one in self.ledger.schedules(self.machine) if one.name == name)
        self.alarms.fire(schedule.id, at)
        await settle()
        return at

    def runs(self):
        """What became of due times, oldest first: when after the start, and how."""
        return [(run.schedule, str(run.outcome)) for run in reversed(self.ledger.schedule_runs(self.machine))]

    def last(self):
        return self.ledger.schedule_runs(self.machine, last=1)[0]

    async def after(self, **length):
        await self.clock.advance(timedelta(**length).total_seconds())

    async def die(self):
        """End the watch without a farewell, as SIGKILL does."""
        self.writer_rests = True
        self.watching.cancel()
        await asyncio.gather(self.watching, return_exceptions=True)


async def started(night, *rules, **changes):
    for number, rule in enumerate(rules or ("every 1h",)):
        night.add(rule, **({"name": f"job{number}"} if number else {}), **changes)
    night.begin()
    await settle()
    return night
