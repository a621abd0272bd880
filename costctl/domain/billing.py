"""Bills: from a power-on and a billing rule to money, every charge explained, and back onto the time that was used.

A rule makes charges; a charge is rounded once (`money.charged`) and shown in lines. Each charge is then spread evenly
over the used time that it paid for, by cumulative rounding: `Bill.amount_until` only grows and ends at the total. The
amount of any stretch is the difference of two such values, so whatever partitions the session (phases, days, months)
sums to the bill exactly. What is billed beyond the used time falls to the increment that was begun, not to the whole
session: a month that is over hardly changes when the session goes on.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.charges import charges_of
from costctl.domain.instants import microseconds_of
from costctl.domain.money import Price, accrued_at, charged, share_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from costctl.domain.charges import Piece
    from costctl.domain.rules import BillingRule

_NOTHING = timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceSegment:
    """A price from an instant on, until the next segment."""

    started_at: datetime
    price: Price


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOn:
    """What is billed: a machine up in [started_at, ended_at), then stopped but not released until `released_at`."""

    started_at: datetime
    ended_at: datetime
    prices: tuple[PriceSegment, ...]
    released_at: datetime | None = None

    def __post_init__(self) -> None:
        begin, end, released = self.started_at, self.ended_at, self.released_at or self.ended_at
        if not begin.tzinfo is end.tzinfo is released.tzinfo is UTC:
            # Arithmetic with instants of another zone is arithmetic of its clocks: it skips and repeats hours.
            raise ValueError("the instants of a bill are in UTC")
        if not begin <= end <= released:
            raise ValueError("a machine starts, ends and is released in this order")
        starts = [segment.started_at for segment in self.prices]
        if not starts or starts[0] > begin or any(after <= before for before, after in pairwise(starts)):
            raise ValueError("prices follow each other and hold from the start on")
        if len({segment.price.currency for segment in self.prices}) > 1:
            raise ValueError("a bill has one currency")

    @classmethod
    def at(cls, price: Price, started_at: datetime, ended_at: datetime, released_at: datetime | None = None) -> PowerOn:
        """Return a power-on at one price; the instants may be in any zone."""
        return cls(
            started_at=started_at.astimezone(UTC),
            ended_at=ended_at.astimezone(UTC),
            prices=(PriceSegment(started_at=started_at, price=price),),
            released_at=released_at and released_at.astimezone(UTC),
        )

    def price_at(self, instant: datetime) -> Price:
        """Return the price that held at `instant`."""
        return [segment.price for segment in self.prices if segment.started_at <= instant][-1]

    def changes(self) -> Iterable[datetime]:
        """Return when another price began to hold."""
        return (after.started_at for before, after in pairwise(self.prices) if before.price != after.price)


@dataclass(frozen=True, kw_only=True, slots=True)
class BillLine:
    """One line: the stretch that it is for, how much time is billed in it, the amount, and why."""

    started_at: datetime
    ended_at: datetime
    amount_micros: int
    why: str

    @property
    def billed(self) -> timedelta:
        """How much time the line bills."""
        return self.ended_at - self.started_at


class Spread(NamedTuple):
    """An amount spread over used time, in microseconds: at `price` if time alone made it, else evenly."""

    started_at: int
    length: int
    amount_micros: int
    price: Price | None
    before_micros: int = 0
    """What is spread over the time before."""

    def until(self, instants: Iterable[int]) -> list[int]:
        """Return what is spread over all time before each of `instants`, none of which lies before it."""
        before, amount, length, price = self.before_micros, self.amount_micros, self.length, self.price
        parts = [instant - self.started_at for instant in instants]
        if price is None:
            return [before + share_at(amount, part, length) for part in parts]
        accrued = zip(parts, accrued_at(price, parts), strict=True)
        return [before + (min(micros, amount) if part < length else amount) for part, micros in accrued]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What a power-on costs by a rule, in micro-units of `currency`."""

    rule: BillingRule
    power_on: PowerOn
    stopped_until: datetime
    """Until when a stopped machine is billed; `ended_at` if it is not."""
    pieces: tuple[Piece, ...]
    spreads: tuple[Spread, ...]

    @property
    def currency(self) -> str:
        """What it is paid in."""
        return self.power_on.prices[0].price.currency

    @property
    def started_at(self) -> datetime:
        """When the machine came up."""
        return self.power_on.started_at

    @property
    def ended_at(self) -> datetime:
        """Until when it was up."""
        return self.power_on.ended_at

    @property
    def lines(self) -> tuple[BillLine, ...]:
        """What is to be paid, line by line; the reasons are worded here, since most bills are only added up."""
        return tuple(map(_line, self.pieces))

    @property
    def total_micros(self) -> int:
        """What is to be paid."""
        return sum(piece.amount_micros for piece in self.pieces)

    @property
    def used_micros(self) -> int:
        """What the time in [started_at, ended_at) costs at its prices alone."""
        return _used(self.power_on)

    @property
    def used(self) -> timedelta:
        """How long the machine was up."""
        return self.ended_at - self.started_at

    @property
    def billed(self) -> timedelta:
        """How much time is to be paid."""
        return sum((piece.ended_at - piece.started_at for piece in self.pieces), _NOTHING)

    @property
    def stopped_micros(self) -> int:
        """What falls to the time after the machine was stopped."""
        return self.total_micros - self.amount_until(self.ended_at) if self.stopped_until > self.ended_at else 0

    def amount_until(self, instant: datetime) -> int:
        """Return what of the total falls to the time before `instant`: nothing at the start, all at the end."""
        return self.amounts_until((microseconds_of(instant),))[0]

    def amounts_until(self, instants: Iterable[int]) -> list[int]:
        """Return the same for each of these instants, in microseconds since 1970."""
        begin = self.spreads[0].started_at
        from_start = [max(instant, begin) for instant in instants]
        if len(self.spreads) == 1:
            return self.spreads[0].until(from_start)
        starts = [spread.started_at for spread in self.spreads]
        return [self.spreads[bisect_right(starts, at) - 1].until((at,))[0] for at in from_start]


@lru_cache(maxsize=64)  # an invoice has many lines for each session
def bill(power_on: PowerOn, rule: BillingRule) -> Bill:
    """Return what `power_on` costs by `rule`."""
    released_at = power_on.released_at if rule.bills_stopped else None
    used_until = released_at or power_on.ended_at
    pieces = list(charges_of(power_on, rule, used_until))
    return Bill(
        rule=rule,
        power_on=power_on,
        stopped_until=used_until,
        pieces=tuple(pieces),
        spreads=_summed(_spreads(pieces, power_on.started_at, used_until, rule)),
    )


def apportion(bill: Bill, edges: Sequence[datetime]) -> tuple[int, ...]:
    """Return what falls to each stretch between neighbouring `edges`; from start to end, it sums to the bill."""
    reached = [bill.amount_until(edge) for edge in edges]
    if edges and bill.started_at == bill.stopped_until == edges[-1]:
        reached[-1] = bill.total_micros
    return tuple(after - before for before, after in pairwise(reached))


def _used(power_on: PowerOn) -> int:
    edges = [power_on.started_at, *_inside(power_on.changes(), power_on), power_on.ended_at]
    return charged((power_on.price_at(begin), end - begin) for begin, end in pairwise(edges))


def _inside(instants: Iterable[datetime], power_on: PowerOn) -> Iterable[datetime]:
    return (instant for instant in instants if power_on.started_at < instant < power_on.ended_at)


def _line(piece: Piece) -> BillLine:
    return BillLine(
        started_at=piece.started_at, ended_at=piece.ended_at, amount_micros=piece.amount_micros, why=piece.why()
    )


def _spreads(pieces: Sequence[Piece], started_at: datetime, used_until: datetime, rule: BillingRule) -> list[Spread]:
    """Spread the pieces over used time; those beyond it fall to the part of it that began their increment."""
    begin, end = microseconds_of(started_at), microseconds_of(used_until)
    spreads = [
        _spread(piece, microseconds_of(piece.started_at), end) for piece in pieces if piece.started_at < used_until
    ]
    beyond = sum(piece.amount_micros for piece in pieces if piece.started_at >= used_until)
    if not spreads:
        return [Spread(begin, end - begin, beyond, None)]
    if beyond:
        last = spreads.pop()
        tail_at = max(microseconds_of(_tail_at(started_at, used_until, rule)), last.started_at)
        head = last._replace(length=tail_at - last.started_at, amount_micros=last.until((tail_at,))[0])
        tail = Spread(tail_at, end - tail_at, last.amount_micros - head.amount_micros + beyond, None)
        spreads += [head, tail] if head.length else [tail]
    return spreads


def _spread(piece: Piece, begin: int, used_until: int) -> Spread:
    length = min(microseconds_of(piece.ended_at), used_until) - begin
    return Spread(begin, length, piece.amount_micros, piece.price)


def _tail_at(started_at: datetime, used_until: datetime, rule: BillingRule) -> datetime:
    used = used_until - started_at
    return started_at if used < rule.minimum else started_at + (used // rule.increment) * rule.increment


def _summed(spreads: Sequence[Spread]) -> tuple[Spread, ...]:
    before = accumulate((spread.amount_micros for spread in spreads), initial=0)
    return tuple(spread._replace(before_micros=so_far) for spread, so_far in zip(spreads, before, strict=False))
