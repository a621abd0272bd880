"""The ledger as the rest of costctl knows it: verbs of the domain; rows never leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from costctl.ledger import checks
from costctl.ledger.batches import Batches
from costctl.ledger.benchmarks import Benchmarks
from costctl.ledger.database import Database
from costctl.ledger.measures import Measures
from costctl.ledger.migrate import bring_up_to_date, require_current
from costctl.ledger.periods import Periods
from costctl.ledger.prices import Prices
from costctl.ledger.runs import Runs
from costctl.ledger.schedules import Schedules
from costctl.ledger.sessions import Sessions

if TYPE_CHECKING:
    from types import TracebackType

    from costctl.ledger.schedule_jobs import MachineJobs


class Ledger(Sessions, Runs, Measures, Batches, Benchmarks, Periods, Prices, Schedules):
    """Every billed second and what it was; each verb is a transaction of its own, or part of `transaction()`.

    All verbs may raise LedgerUnavailableError (not now: locked, full, read-only, gone) and LedgerError. It may be used
    from several threads, but only one of them should write.
    """

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the ledger at `url` for writing; create it if there is none, back up and migrate an older one.

        Raises:
            BadValueError: not a URL of a database.
            LedgerTooNewError: a newer costctl wrote it.
            LedgerError: it cannot be used.
        """
        database = Database(url)
        bring_up_to_date(database)
        return cls(database)

    @classmethod
    def read(cls, url: str) -> Self:
        """Open the ledger at `url` to look only: it is neither made nor changed, and may be written by others.

        Raises:
            BadValueError: not a URL of a database.
            LedgerTooNewError: a newer costctl wrote it.
            LedgerError: there is none yet, it is an older costctl's, or cannot be read.
        """
        database = Database(url, read_only=True)
        require_current(database)
        return cls(database)

    @property
    def name(self) -> str:
        """What people call it: its file, or its URL without the password."""
        return self._database.name

    def jobs_of(self, machine: str) -> MachineJobs:
        """Return where APScheduler keeps a machine's jobs; APScheduler is loaded only here."""
        from costctl.ledger.schedule_jobs import MachineJobs  # noqa: PLC0415 - most daemons have no schedules

        return MachineJobs(self._database, machine)

    def check(self) -> list[str]:
        """Return what is inconsistent in the ledger, in words; nothing if all is well."""
        with self._look() as connection:
            return list(checks.problems(connection))

    def close(self) -> None:
        """Close its connections; verbs may still open new ones."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
