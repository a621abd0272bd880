"""Sessions: billed power-ons of an instance, partitioned into phases, and what each stretch cost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.billing import PowerOn, bill
from costctl.domain.instants import instant_of, microseconds_of
from costctl.domain.money import Price, accrued_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from costctl.domain.billing import Bill
    from costctl.domain.rules import BillingRule

    # What a session has cost in micro-units until each of these instants, in microseconds since 1970: what a stretch
    # costs is the difference of two.
    Costing = Callable[[Sequence[int]], Sequence[int]]

_FOREVER = microseconds_of(datetime.max.replace(tzinfo=UTC))


class Phase(StrEnum):
    """What a billed stretch of a session was."""

    STARTING = "starting"
    BUSY = "busy"
    IDLE = "idle"
    ASLEEP = "asleep"
    OFF = "off"
    """Machine up, no engine."""
    STOPPING = "stopping"
    UNKNOWN = "unknown"
    """Machine up, daemon down."""

    # Enum's own is written in Python, and a report looks phases up by the hundred thousand.
    __hash__ = str.__hash__


class EndReason(StrEnum):
    """Why a session ended."""

    IDLE = "idle"
    STOPPED = "stopped"
    """By `costctl stop`, a signal or a shutdown of the machine."""
    LOST = "lost"
    """The daemon never came back in that power-on: closed at its last heartbeat."""
    SUSPENDED = "suspended"
    """The machine slept; a new session began when it woke."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """The billed machine. `machine` names it among others in a shared ledger; unknown facts are None."""

    machine: str
    provider: str | None = None
    instance_type: str | None = None
    region: str | None = None
    market: str | None = None
    gpu: str | None = None
    gpu_count: int = 0


class PhaseSpan(NamedTuple):
    """One stretch of a session; `run` is the number of the engine run in it, if one was up."""

    phase: Phase
    started_at: datetime
    ended_at: datetime
    run: int | None = None

    @property
    def length(self) -> timedelta:
        """How long the stretch lasted."""
        return self.ended_at - self.started_at


class PhaseColumns(NamedTuple):
    """The phases of a session by columns, as the ledger has them: a report runs through a hundred thousand.

    Each begins at its edge and ends at the next one, so there is one edge more than there are phases.
    """

    edges: tuple[int, ...] = ()
    """In microseconds since 1970."""
    phases: tuple[Phase, ...] = ()
    runs: tuple[int | None, ...] = ()

    def between(self, start: int, end: int) -> PhaseColumns:
        """Return what of it lies in [start, end), without phases of no length at either end."""
        edges = self.edges
        if not edges or (start <= edges[0] and edges[-2] < edges[-1] <= end):
            return self
        end = min(end, edges[-1])
        last = bisect_left(edges, end)
        first = max(bisect_right(edges, start, hi=last) - 1, 0)
        if first >= last or start >= end:
            return PhaseColumns()
        inside = edges[first + 1 : last]
        return PhaseColumns((max(start, edges[first]), *inside, end), self.phases[first:last], self.runs[first:last])

    def spans(self) -> Iterator[PhaseSpan]:
        """Yield its phases one by one."""
        edges = [instant_of(edge) for edge in self.edges]
        return map(PhaseSpan, self.phases, edges, edges[1:], self.runs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One billed power-on as the ledger knows it; all instants in UTC.

    While it is open (`ended_at` is None) it is known up to its last heartbeat.
    """

    id: int
    instance: Instance
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    price: Price | None
    phase_columns: PhaseColumns = field(default=PhaseColumns())
    rule_name: str | None = None
    """The billing rule that was frozen into it when it began."""
    rule: BillingRule | None = None
    """How its provider bills it; None is by the exact time."""

    def __post_init__(self) -> None:
        if None in {self.started_at.tzinfo, self.known_until.tzinfo}:
            raise ValueError("a session's instants need a time zone")

    @property
    def known_until(self) -> datetime:
        """The instant up to which this session's time is accounted for."""
        return self.ended_at or self.heartbeat_at

    @property
    def length(self) -> timedelta:
        """How long the session lasted, or has lasted so far as is known."""
        return self.known_until - self.started_at

    @property
    def phases(self) -> tuple[PhaseSpan, ...]:
        """What it was from its start to where it is known; they partition it."""
        return tuple(self.phase_columns.spans())

    def cost(self, start: datetime | None = None, end: datetime | None = None) -> int | None:
        """Return what [start, end) of this session cost in micro-units (all of it by default), None if unpriced."""
        costing = self.costing()
        if costing is None:
            return None
        until = _FOREVER if end is None else microseconds_of(end)
        before, reached = costing((microseconds_of(start or self.started_at), until))
        return reached - before

    def costing(self) -> Costing | None:
        """Return what it cost until any instants, None if it is unpriced; the bill is made once."""
        price = self.price
        if price is None:
            return None
        if self.rule is not None:
            return self.bill(price, self.rule).amounts_until
        return _by_time(price, microseconds_of(self.started_at), microseconds_of(self.known_until))

    def bill(self, price: Price, rule: BillingRule, released_at: datetime | None = None) -> Bill:
        """Return what this session costs at `price` by `rule`, as far as it is known."""
        return bill(PowerOn.at(price, self.started_at, self.known_until, released_at), rule)

    def spans(self, start: datetime, end: datetime) -> Iterator[PhaseSpan]:
        """Return the phases, clipped to [start, end), leaving out what lies outside or has no length."""
        clipped = self.phase_columns.between(microseconds_of(start), microseconds_of(end))
        return (span for span in clipped.spans() if span.started_at < span.ended_at)


def _by_time(price: Price, started_at: int, ended_at: int) -> Costing:
    """Return the costing by the exact time: what has accrued since the start."""
    length = ended_at - started_at

    def until(instants: Sequence[int]) -> Sequence[int]:
        elapsed = [instant - started_at for instant in instants]
        return accrued_at(price, [0 if time < 0 else min(time, length) for time in elapsed])

    return until
