"""Sessions: billed power-ons of an instance, partitioned into phases, and what each stretch cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.billing import PowerOn, bill
from costctl.domain.money import Price, accrued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from costctl.domain.billing import Bill
    from costctl.domain.rules import BillingRule

    # What [start, end) costs in micro-units; None is from the beginning, or to the end.
    Costing = Callable[[datetime | None, datetime | None], int | None]


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
    """One stretch of a session; `run` is the number of the engine run in it, if one was up.

    A tuple, since there are ten of them to each session: it is made in a third of the time of a frozen dataclass.
    """

    phase: Phase
    started_at: datetime
    ended_at: datetime
    run: int | None = None

    @property
    def length(self) -> timedelta:
        """How long the stretch lasted."""
        return self.ended_at - self.started_at


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
    phases: tuple[PhaseSpan, ...] = field(default=())
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

    def cost(self, start: datetime | None = None, end: datetime | None = None) -> int | None:
        """Return what [start, end) of this session cost in micro-units (all of it by default), None if unpriced."""
        return self.costing()(start, end)

    def costing(self) -> Costing:
        """Return `cost` for many stretches: the bill is made once."""
        price = self.price
        if price is None:
            return _unpriced
        if self.rule is not None:
            return self.bill(price, self.rule).between
        return _by_time(price, self.started_at, self.known_until)

    def bill(self, price: Price, rule: BillingRule, released_at: datetime | None = None) -> Bill:
        """Return what this session costs at `price` by `rule`, as far as it is known."""
        return bill(PowerOn.at(price, self.started_at, self.known_until, released_at), rule)

    def spans(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[PhaseSpan]:
        """Yield the phases, clipped to [start, end), leaving out what lies outside."""
        for span in self.phases:
            begin = max(span.started_at, start) if start else span.started_at
            finish = min(span.ended_at, end) if end else span.ended_at
            if begin < finish:
                is_whole = begin is span.started_at and finish is span.ended_at
                yield span if is_whole else span._replace(started_at=begin, ended_at=finish)


def _by_time(price: Price, started_at: datetime, ended_at: datetime) -> Costing:
    """Return the costing by the exact time: what has accrued at a stretch's end, less what had at its start."""

    def until(instant: datetime) -> int:
        return 0 if instant <= started_at else accrued(price, min(instant, ended_at) - started_at)

    def cost(start: datetime | None, end: datetime | None) -> int:
        reached = until(end or ended_at)
        return reached if start is None else reached - until(start)

    return cost


def _unpriced(start: datetime | None, end: datetime | None) -> None:  # noqa: ARG001 - the shape of all costings
    return None
