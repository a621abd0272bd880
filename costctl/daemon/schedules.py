"""The schedules of this machine: know when each is due, run it then, and keep the machine up for what is due soon.

The ledger says what is to run and which due times were taken; alarms are set from that, anew after every change, every
start of a daemon and every step of the clock.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from costctl.domain.durations import format_duration
from costctl.domain.policy import Evidence
from costctl.domain.schedules import RunOutcome, alarm_after, cold_start_s, handled_until, last_passed
from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from costctl.daemon.schedule_runner import ScheduleRunner
    from costctl.domain.schedules import Schedule
    from costctl.ledger.store import Ledger
    from costctl.ledger.values import ScheduleRun
    from costctl.ports import Alarms, Clock

    Fire = Callable[[int, datetime], object]

T = TypeVar("T")

logger = logging.getLogger(__name__)

SCHEDULES = "schedules"
_LOOK_EVERY_S = 30.0
_CLOCK_STEP_S = 5.0
_JUST_DUE = timedelta(seconds=10)
"""What was due just now is about to run, and the machine must not be stopped in between."""


class Schedules:
    """Sees to it that what is due runs; `make_alarms` is called when there is a first schedule, in a thread.

    `has_lease` says whether a run, by its number, is a batch that asked for its lease.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        machine: str,
        runner: ScheduleRunner,
        make_alarms: Callable[[Fire], Alarms],
        earlier_starts_s: Callable[[], Sequence[float]],
        has_lease: Callable[[int], bool],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._machine = machine
        self._runner = runner
        self._make_alarms = make_alarms
        self._earlier_starts_s = earlier_starts_s
        self._has_lease = has_lease
        self._clock = clock
        self._alarms: Alarms | None = None
        self._known: dict[int, Schedule] = {}
        self._taken: dict[int, datetime] = {}
        self._reported: set[tuple[int, datetime]] = set()
        self._left_running: list[ScheduleRun] = []
        self._lead_s = cold_start_s(())
        self._up_to_date = False
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Set the alarms, and again whenever the clock was set, the ledger could not be read or no alarm rang."""
        offset = self._clock_offset()
        while True:
            if abs(self._clock_offset() - offset) > _CLOCK_STEP_S:
                logger.info("schedules: the clock was set, so what is due next is looked up anew")
                self._up_to_date = False
            offset = self._clock_offset()
            if not self._up_to_date or await self._in_thread(self._overlooks_any):
                await self.refresh()
            left_running = await self._in_thread(self._others_going_on)
            if left_running is not None:
                self._left_running = left_running
            await self._clock.sleep(_LOOK_EVERY_S)

    async def refresh(self) -> None:
        """Take in what the ledger says now."""
        async with self._one_at_a_time:
            loop = asyncio.get_running_loop()
            try:
                await asyncio.to_thread(self._read, lambda *due: loop.call_soon_threadsafe(self._due, *due))
            except CostctlError as error:
                self._up_to_date = False
                logger.warning("schedules: %s", error)

    def evidence(self) -> Evidence:
        """Return whether a run goes on, or one is due before a machine that is stopped now could be up again."""
        at_work = self._at_work()
        if at_work:
            return Evidence(name=SCHEDULES, active=True, detail=f"{', '.join(sorted(at_work))} runs")
        now = self._clock.now()
        recent = now - _JUST_DUE
        alarms = (alarm_after(one, max(recent, self._taken.get(one.id, recent)), now) for one in self._known.values())
        soonest = min(filter(None, alarms), key=lambda alarm: alarm.at, default=None)
        if soonest is None:
            return Evidence(name=SCHEDULES, active=False, detail="none is due")
        wait_s = max(0.0, (soonest.at - now).total_seconds())
        detail = f"{soonest.schedule.name} is due in {format_duration(wait_s)}"
        return Evidence(name=SCHEDULES, active=wait_s <= self._lead_s, detail=detail)

    def _at_work(self) -> set[str]:
        """Return the names of those whose runs keep the machine up; a batch does it by its lease, once it has one."""
        left = {run.id: self._known[run.schedule_id] for run in self._left_running if run.schedule_id in self._known}
        running = left | self._runner.running
        return {one.name for number, one in running.items() if one.keeps_machine_up or not self._has_lease(number)}

    async def stop(self) -> None:
        """Wake up no more, and end what runs."""
        if self._alarms is not None:
            await asyncio.to_thread(self._alarms.close)
        await self._runner.stop()

    def _clock_offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _read(self, fire: Fire) -> None:
        """Read the schedules and set their alarms; in a thread."""
        found, last_due = self._ledger.schedules(self._machine), self._ledger.last_due(self._machine)
        self._lead_s = cold_start_s(self._earlier_starts_s())
        self._known = {schedule.id: schedule for schedule in found}
        if found and self._alarms is None:
            self._alarms = self._make_alarms(fire)
        if self._alarms is not None:
            now = self._clock.now()
            alarms = (alarm_after(one, handled_until(one, last_due.get(one.id), now), now) for one in found)
            self._alarms.set(list(filter(None, alarms)))
        self._up_to_date = True

    def _due(self, schedule_id: int, due_at: datetime) -> None:
        self._taken[schedule_id] = due_at
        schedule = self._known.get(schedule_id)
        if schedule is None or schedule.paused:
            return
        task = asyncio.create_task(self._run(schedule, due_at), name=f"schedule {schedule.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, schedule: Schedule, due_at: datetime) -> None:
        try:
            await self._runner.run(schedule, due_at)
        except CostctlError as error:
            self._up_to_date = False  # it is not recorded, so it is tried again, until its grace has passed
            if (schedule.id, due_at) not in self._reported:
                self._reported.add((schedule.id, due_at))
                await self._runner.report(schedule, RunOutcome.FAILED, f"it could not be begun: {error}")
        except Exception:
            logger.exception("schedule %s: a fault in costctl", schedule.name)

    async def _in_thread(self, look: Callable[[], T]) -> T | None:
        """Return what a look into the ledger shows; None if there are no schedules, or it cannot be read now."""
        try:
            return await asyncio.to_thread(look) if self._known else None
        except CostctlError as error:
            logger.warning("schedules: %s", error)
            return None

    def _overlooks_any(self) -> bool:
        """Return whether nobody took what was due: a daemon that shares the alarms may have died when it was rung."""
        last_due, before = self._ledger.last_due(self._machine), self._clock.now() - _JUST_DUE
        return any(
            last_passed(one, handled_until(one, last_due.get(one.id), before), before)
            for one in self._known.values()
            if not one.paused
        )

    def _others_going_on(self) -> list[ScheduleRun]:
        now = self._clock.now()
        return [run for run in self._runner.started_by_others(self._machine) if self._within_limit(run, now)]

    def _within_limit(self, run: ScheduleRun, now: datetime) -> bool:
        """Return whether a run may still keep the machine up."""
        schedule = self._known.get(run.schedule_id)
        limit_s = schedule.limit_s if schedule else 0.0
        return run.started_at is not None and (now - run.started_at).total_seconds() < limit_s
