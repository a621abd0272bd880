"""What becomes of the lines that a batch leaves undone: every line is in one of its two files in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costctl.batch.journal import Journal
    from costctl.batch.results import Failure
    from costctl.batch.runner import Work

_SYNC_AT_ONCE = 2000


def give_up(work: Work, journal: Journal, failure: Failure) -> None:
    """Record the `failure` for all lines that are not done, and give the results their final names; blocking.

    Lines that ask for the same as one that is done get its result.

    Raises:
        CostctlError: the files cannot be read or written; doing it again goes on from here.
    """
    for job in work.jobs(lambda line: not journal.is_done(line) and journal.is_done(work.first_line(line))):
        journal.copy(job.line, job.custom_id, of=work.first_line(job.line))
        _sync_some(journal)
    for job in work.jobs(lambda line: not journal.is_done(line)):
        journal.record(job.line, job.custom_id, failure)
        _sync_some(journal)
    journal.finish()


def _sync_some(journal: Journal) -> None:
    if journal.pending_count >= _SYNC_AT_ONCE:
        journal.sync()
