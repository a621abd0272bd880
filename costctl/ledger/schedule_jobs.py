"""APScheduler's job store in the ledger's database.

A machine sees only its own jobs, so that daemons that share a ledger do not take each other's. What was due and what
became of it is in `schedule_runs`; jobs only say when APScheduler wakes up next, and are made anew by every daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.base import BaseJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.util import utc_timestamp_to_datetime
from sqlalchemy import delete, func, select

from costctl.ledger.schema import SCHEDULE_JOBS

if TYPE_CHECKING:
    from datetime import datetime

    from costctl.ledger.database import Database


class MachineJobs(SQLAlchemyJobStore):  # type: ignore[misc] # APScheduler 3 has no types
    """The jobs of one machine, whose ids begin with its name and a slash."""

    def __init__(self, database: Database, machine: str) -> None:
        super().__init__(engine=database.engine, tablename=SCHEDULE_JOBS.name)
        self._database = database
        self._ours = self.jobs_t.c.id.startswith(f"{machine}/", autoescape=True)

    def start(self, scheduler: Any, alias: str) -> None:
        """Begin without making the table, which the ledger has."""
        BaseJobStore.start(self, scheduler, alias)

    def add_job(self, job: Any) -> None:
        """Add a job. Raises LedgerError."""
        with self._database.translated():
            super().add_job(job)

    def get_next_run_time(self) -> datetime | None:
        """Return when the first of them is due."""
        with self.engine.begin() as connection:
            earliest = connection.execute(select(func.min(self.jobs_t.c.next_run_time)).where(self._ours)).scalar()
        found: datetime | None = utc_timestamp_to_datetime(earliest)
        return found

    def remove_all_jobs(self) -> None:
        """Remove them, and nobody else's. Raises LedgerError."""
        with self._database.translated(), self.engine.begin() as connection:
            connection.execute(delete(self.jobs_t).where(self._ours))

    def shutdown(self) -> None:
        """Leave the connections alone: they are the ledger's."""

    def _get_jobs(self, *conditions: Any) -> list[Any]:
        jobs: list[Any] = super()._get_jobs(self._ours, *conditions)
        return jobs
