"""APScheduler: wakes up when a schedule is due (port Alarms).

It runs in a thread of its own, since its job store is a database: the event loop must not wait for a disk. What is due
is handed to the event loop and nothing is run here, so APScheduler's own rules about late and overlapping runs, which
know nothing of other daemons or of what the ledger has recorded, are not used.
"""

from __future__ import annotations

import logging
from datetime import UTC
from typing import TYPE_CHECKING, Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from apscheduler.jobstores.base import BaseJobStore

    from costctl.domain.schedules import Alarm, Schedule

logger = logging.getLogger(__name__)

_TRY_AGAIN_S = 10.0


class ApschedulerAlarms:
    """Alarms of one machine, kept in `store`; `fire` is called in APScheduler's thread."""

    def __init__(self, store: BaseJobStore, machine: str, fire: Callable[[int, datetime], object]) -> None:
        self._machine = machine
        self._scheduler = _Scheduler(
            jobstores={"default": store}, executors={"default": _Handover(fire)}, timezone=UTC, daemon=True
        )
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it announces every job that it takes or starts
        self._scheduler.start(paused=True)

    def set(self, alarms: Sequence[Alarm]) -> None:
        """Wake up for `alarms` and for no others; blocking. Raises LedgerError."""
        self._scheduler.pause()
        try:
            self._scheduler.remove_all_jobs()  # unread: another version's jobs may be there
            for alarm in alarms:
                self._scheduler.add_job(
                    _handed_over,
                    _Due(alarm.schedule),
                    id=f"{self._machine}/{alarm.schedule.id}",
                    args=(alarm.schedule.id,),
                    name=alarm.schedule.name,
                    next_run_time=alarm.at,
                    misfire_grace_time=None,
                    coalesce=True,
                    replace_existing=True,
                )
        finally:
            self._scheduler.resume()

    def close(self) -> None:
        """Wake up no more; blocking."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc] # APScheduler 3 has no types
    def _process_jobs(self) -> float | None:
        try:
            wait_s: float | None = super()._process_jobs()
        except Exception as error:  # noqa: BLE001 - its thread would end, and with it all schedules, without a word
            logger.warning("schedules: the ledger did not take what is due next, trying again: %s", error)
            return _TRY_AGAIN_S
        return wait_s


class _Handover(BaseExecutor):  # type: ignore[misc]
    """An executor that runs nothing: it says what is due, and since when."""

    def __init__(self, fire: Callable[[int, datetime], object]) -> None:
        super().__init__()
        self._fire = fire

    def submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        (schedule_id,) = job.args
        self._fire(schedule_id, run_times[-1])

    def _do_submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        raise NotImplementedError


class _Due(BaseTrigger):  # type: ignore[misc]
    """A schedule's own due times."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self._schedule.next_due(previous_fire_time or now)

    def __getstate__(self) -> Schedule:
        return self._schedule

    def __setstate__(self, schedule: Schedule) -> None:
        self._schedule = schedule


def _handed_over(schedule_id: int) -> None:
    """Stand where APScheduler wants a function that it can find by its name; never called."""
