"""Batches as the daemon sees them: leases that queue, run, make progress, and may hang."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any

from costctl.domain.durations import format_duration
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_NAME = 255
_LARGEST_COUNT = 2**53 - 1
NO_PROGRESS_S = 1800.0
"""After so long without progress a batch counts as hung, if it does not say otherwise; an engine may start in it."""
RUN_VARIABLE = "COSTCTL_SCHEDULE_RUN"
"""The environment variable that tells a batch which run of a schedule it is, by that run's number in the ledger."""


class Then(StrEnum):
    """What is done when a batch is through."""

    NOTHING = "nothing"
    UNLOAD = "unload"
    """Stop the engine, unless it has other work."""
    SHUTDOWN = "shutdown"
    """Stop the instance, unless it has other work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What has been done since the lease began: lines answered, those of them that failed, and tokens."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0

    def __post_init__(self) -> None:
        if min(self.failed, self.prompt_tokens, self.generation_tokens) < 0 or self.failed > self.requests:
            raise ValueError(f"a batch cannot have done {self}")

    def since(self, earlier: Progress) -> Progress:
        """Return what has been done since `earlier`."""
        return Progress(
            requests=self.requests - earlier.requests,
            failed=self.failed - earlier.failed,
            prompt_tokens=self.prompt_tokens - earlier.prompt_tokens,
            generation_tokens=self.generation_tokens - earlier.generation_tokens,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a batch asks for: `lines` are still to be done, and `shares` begins beside another batch.

    `schedule_run` is the number in the ledger of the schedule's run that started it, if one did.
    """

    name: str
    lines: int
    shares: bool = False
    then: Then = Then.NOTHING
    no_progress_s: float = NO_PROGRESS_S
    timeout_s: float | None = None
    schedule_run: int | None = None


class Outcome(StrEnum):
    """How work on a batch ended."""

    DONE = "done"
    """All its lines are done, failed ones among them."""
    INTERRUPTED = "interrupted"
    """It went no further: its process ended, or the session did."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """The daemon was killed in it; it is known up to the last heartbeat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A batch's hold on the engine; instants are monotonic seconds, `began_at` is None while it is queued."""

    number: int
    wish: Wish
    asked_at: float
    began_at: float | None = None
    progressed_at: float = 0.0
    progress: Progress = field(default_factory=Progress)

    def begun(self, at: float) -> Lease:
        """Return the lease once its turn has come."""
        return replace(self, began_at=at, progressed_at=at)

    def progressed(self, progress: Progress, at: float) -> Lease:
        """Return the lease after a report of its progress, which only counts as such if there is some.

        Raises:
            BadValueError: it is less than was reported before.
        """
        if any(getattr(progress, one.name) < getattr(self.progress, one.name) for one in fields(Progress)):
            raise BadValueError("this is no progress of a batch: it is less than before")
        moved = progress != self.progress
        return replace(self, progress=progress, progressed_at=at if moved else self.progressed_at)

    def overdue(self, at: float) -> str | None:
        """Return why the lease has to end at monotonic second `at`, None if it may go on."""
        if self.began_at is None:
            return None
        timeout_s, patience_s = self.wish.timeout_s, self.wish.no_progress_s
        if timeout_s is not None and at - self.began_at >= timeout_s:
            return f"it has run for {format_duration(timeout_s)} (--timeout)"
        if at - self.progressed_at >= patience_s:
            return f"it has made no progress for {format_duration(patience_s)} (--no-progress)"
        return None


def may_begin(leases: Iterable[Lease]) -> list[Lease]:
    """Return the queued leases whose turn has come: those that share, and the first other one if no other runs."""
    leases = list(leases)
    alone = [lease for lease in leases if not lease.wish.shares]
    taken = any(lease.began_at is not None for lease in alone)
    first = None if taken or not alone else alone[0]
    return [lease for lease in leases if lease.began_at is None and (lease.wish.shares or lease is first)]


def place_in_queue(leases: Iterable[Lease], number: int) -> int:
    """Return how many batches, this one included, begin until it is this one's turn; 0 if it runs."""
    queued = [lease.number for lease in leases if lease.began_at is None]
    return queued.index(number) + 1 if number in queued else 0


def read_wish(given: Mapping[str, Any]) -> Wish:
    """Return the wish that a client sent. Raises BadValueError."""
    name, then = given.get("name"), given.get("then", Then.NOTHING)
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise BadValueError(f"this is no batch: name is a text of at most {_LONGEST_NAME} characters")
    if then not in list(Then):
        raise BadValueError(f"this is no batch: then is one of {', '.join(Then)}")
    shares = given.get("shares", False)
    if not isinstance(shares, bool):
        raise BadValueError("this is no batch: shares is true or false")
    timeout_s, schedule_run = given.get("timeout_s"), given.get("schedule_run")
    return Wish(
        name=name,
        lines=_count(given, "lines", of="batch"),
        shares=shares,
        then=Then(then),
        no_progress_s=_seconds(given.get("no_progress_s", NO_PROGRESS_S), "no_progress_s"),
        timeout_s=None if timeout_s is None else _seconds(timeout_s, "timeout_s"),
        schedule_run=None if schedule_run is None else _count(given, "schedule_run", of="batch"),
    )


def read_progress(given: Mapping[str, Any]) -> Progress:
    """Return the progress that a client sent. Raises BadValueError."""
    counts = {one.name: _count(given, one.name, of="progress of a batch") for one in fields(Progress)}
    try:
        return Progress(**counts)
    except ValueError as error:
        raise BadValueError(str(error)) from None


def _count(given: Mapping[str, Any], name: str, *, of: str) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_COUNT:
        raise BadValueError(f"this is no {of}: {name} is a whole number from 0")
    return value


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise BadValueError(f"this is no batch: {name} is a number above 0")
    return float(value)
