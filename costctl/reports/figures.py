"""The figures of a period: what every document about it is made of.

All sums are exact: slices sum to their sessions and days, phases to their session, sessions to the totals, and any
periods that partition a session to that session.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from costctl.domain.instants import length_of
from costctl.domain.money import MICRO
from costctl.domain.sessions import EndReason, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from costctl.domain.money import Price
    from costctl.domain.periods import Period
    from costctl.domain.sessions import Instance
    from costctl.domain.standing import StandingCharge
    from costctl.ledger.values import GpuUse, RunFact
    from costctl.reports.hours import WeekHour
    from costctl.reports.served import Served

    K = TypeVar("K")

NOTHING = timedelta(0)
WASTE = (Phase.STARTING, Phase.IDLE, Phase.UNKNOWN)
"""Phases in which money bought no answer: what costctl is there to make small."""


class PhaseFigure(NamedTuple):
    """How long a phase took in all, in microseconds, and what that cost (None if unpriced)."""

    length_us: int
    cost_micros: int | None

    @property
    def length(self) -> timedelta:
        """How long it took."""
        return length_of(self.length_us)

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        return self.length_us / MICRO


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFigure:
    """The part of one session that lies in the period."""

    session_id: int
    instance: Instance
    started_at: datetime
    ended_at: datetime
    """Where the part ends; of an open session, how far it is known."""
    is_open: bool
    began_before: bool
    went_on_after: bool
    end_reason: EndReason | None
    price: Price | None
    currency: str | None
    """Of `cost_micros`: the price's own, or the one that it was converted to."""
    cost_micros: int | None
    phases: Mapping[Phase, PhaseFigure]
    rule: str | None = None
    """The billing rule behind the cost; None is the exact time."""

    @property
    def length(self) -> timedelta:
        """How long the part is."""
        return self.ended_at - self.started_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """All time of the period that is alike in these respects, and what it cost (0 if `currency` is None)."""

    day: date
    phase: Phase
    engine: Served | None
    """Which was up; None if there was none."""
    instance: Instance
    in_batch: bool
    currency: str | None
    """None if the price is unknown."""
    length: timedelta
    cost_micros: int

    @property
    def model(self) -> str | None:
        """The name that its model was asked by; None if no engine was up."""
        return self.engine.name if self.engine else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What was asked of a model on a day, by what it was paid in."""

    day: date
    model: str
    instance: Instance
    currency: str | None
    requests: int
    prompt_tokens: int
    generation_tokens: int

    @property
    def tokens(self) -> int:
        """All tokens, read and written."""
        return self.prompt_tokens + self.generation_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Cached:
    """What the cache answered instead of a model, and the tokens that this saved, by what the model is paid in."""

    model: str
    currency: str | None
    hits: int
    misses: int
    prompt_tokens: int
    generation_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the period: its time, and its cost by currency."""

    length: timedelta
    micros: Mapping[str, int]
    unpriced: timedelta = NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFigure:
    """The work on a batch in one session, as far as it lies in the period; its counts are of all of it.

    `outcome` is None while it goes on.
    """

    name: str
    session_id: int
    started_at: datetime
    length: timedelta
    currency: str | None
    cost_micros: int | None
    requests: int
    failed_requests: int
    prompt_tokens: int
    generation_tokens: int
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrencyTotal:
    """What the period cost in one currency."""

    currency: str
    session_count: int
    length: timedelta
    cost_micros: int
    phase_micros: Mapping[Phase, int]
    requests: int
    tokens: int

    @property
    def waste_micros(self) -> int:
        """What was paid for phases that answered nothing."""
        return sum(self.phase_micros.get(phase, 0) for phase in WASTE)


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingFigure:
    """What a standing charge came to in the period, as far as it has gone, and will still come to."""

    charge: StandingCharge
    cost_micros: int
    left_micros: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """A period in figures; all instants in UTC, to be shown in the period's zone."""

    period: Period
    known_until: datetime
    """The end of the period, or now if it is running."""
    rows: tuple[SessionFigure, ...]
    slices: tuple[Slice, ...]
    usage: tuple[Usage, ...] = ()
    cached: tuple[Cached, ...] = ()
    batches: tuple[BatchFigure, ...] = ()
    runs: tuple[RunFact, ...] = ()
    gpu_use: tuple[GpuUse, ...] = ()
    busy_hours: Mapping[WeekHour, timedelta] = field(default_factory=dict)
    """Busy time of all machines by weekday and hour of the local day."""
    clock_hours: Mapping[WeekHour, timedelta] = field(default_factory=dict)
    """All time of the period by the same, as far as it has gone."""
    standing: tuple[StandingFigure, ...] = ()
    """In no total of the sessions."""

    @cached_property
    def length(self) -> timedelta:
        """How long all machines were up, together."""
        return sum((row.length for row in self.rows), NOTHING)

    @cached_property
    def phase_lengths(self) -> Mapping[Phase, timedelta]:
        """How long each phase took, in the order of `Phase`; those that did not occur are left out."""
        parts = self.parts(lambda piece: piece.phase)
        return {phase: parts[phase].length for phase in Phase if phase in parts and parts[phase].length}

    @cached_property
    def totals(self) -> tuple[CurrencyTotal, ...]:
        """By currency; never added across currencies."""
        return tuple(map(self._total, sorted({row.currency for row in self.rows if row.currency})))

    @property
    def unpriced(self) -> tuple[SessionFigure, ...]:
        """Sessions of unknown price: in no total of money."""
        return tuple(row for row in self.rows if row.currency is None)

    @property
    def unpriced_length(self) -> timedelta:
        """How long they were up."""
        return sum((row.length for row in self.unpriced), NOTHING)

    @property
    def costs_with_standing(self) -> Mapping[str, int]:
        """What sessions and standing charges come to, by currency."""
        costs: Counter[str] = Counter({total.currency: total.cost_micros for total in self.totals})
        for figure in self.standing:
            costs[figure.charge.currency] += figure.cost_micros
        return dict(sorted(costs.items()))

    @cached_property
    def rows_by_end(self) -> Mapping[EndReason | None, Sequence[SessionFigure]]:
        """The sessions by why they ended in the period; None if they did not."""
        found: dict[EndReason | None, list[SessionFigure]] = {}
        for row in self.rows:
            found.setdefault(None if row.went_on_after else row.end_reason, []).append(row)
        return {reason: found[reason] for reason in (*EndReason, None) if reason in found}

    def parts(self, key: Callable[[Slice], K]) -> dict[K, Part]:
        """Return the period cut by `key`: the parts sum to the whole."""
        cut: dict[K, list[Slice]] = {}
        for piece in self.slices:
            cut.setdefault(key(piece), []).append(piece)
        return {name: _part(pieces) for name, pieces in cut.items()}

    def _total(self, currency: str) -> CurrencyTotal:
        rows = [row for row in self.rows if row.currency == currency]
        phases: Counter[Phase] = Counter()
        for piece in self.slices:
            if piece.currency == currency:
                phases[piece.phase] += piece.cost_micros
        usage = [use for use in self.usage if use.currency == currency]
        return CurrencyTotal(
            currency=currency,
            session_count=len(rows),
            length=sum((row.length for row in rows), NOTHING),
            cost_micros=sum(row.cost_micros or 0 for row in rows),
            phase_micros={phase: phases[phase] for phase in Phase if phase in phases},
            requests=sum(use.requests for use in usage),
            tokens=sum(use.tokens for use in usage),
        )


def _part(pieces: Iterable[Slice]) -> Part:
    length, unpriced = NOTHING, NOTHING
    micros: Counter[str] = Counter()
    for piece in pieces:
        length += piece.length
        if piece.currency is None:
            unpriced += piece.length
        else:
            micros[piece.currency] += piece.cost_micros
    return Part(length=length, micros=dict(sorted(micros.items())), unpriced=unpriced)
