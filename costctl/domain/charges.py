"""The charges that a billing rule makes for a power-on, cut into lines where a price, or the reason, changes."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.durations import format_duration
from costctl.domain.money import charged, format_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, tzinfo

    from costctl.domain.billing import PowerOn
    from costctl.domain.money import Price
    from costctl.domain.rules import BillingRule

_NOTHING = timedelta(0)
_HOUR = timedelta(hours=1)
_WORTH_A_LINE = timedelta(seconds=1)


class Piece(NamedTuple):
    """A stretch of billed time, what it costs, and why."""

    started_at: datetime
    ended_at: datetime
    amount_micros: int
    why: Callable[[], str]
    price: Price | None = None
    """The price at which the time alone made the amount."""


def charges_of(power_on: PowerOn, rule: BillingRule, used_until: datetime) -> Iterator[Piece]:
    """Yield the pieces of the charges that `rule` makes for `power_on`, which is in use until `used_until`."""
    billed_until = power_on.started_at + rule.billed_length(used_until - power_on.started_at)
    if rule.is_prepaid:
        yield from _prepaid(power_on, rule, used_until, billed_until)
        return
    edges = [power_on.started_at]
    if rule.settles_in is not None:
        edges += full_hours(power_on.started_at, used_until, rule.settles_in)
    # What is billed beyond the used time belongs to the last charge: nothing is settled after the end.
    for begin, end in pairwise([*edges, billed_until]):
        yield from _charge(power_on, rule, begin, end, used_until)


def full_hours(begin: datetime, end: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the full hours of the clocks in `zone` that lie between `begin` and `end`."""
    while True:
        local = begin.astimezone(zone)
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        begin += _HOUR - past
        if begin >= end:
            return
        yield begin


def _prepaid(power_on: PowerOn, rule: BillingRule, used_until: datetime, billed_until: datetime) -> Iterator[Piece]:
    begin = power_on.started_at
    while begin < billed_until:
        price = power_on.price_at(begin)
        end = begin + rule.increment
        amount = max(charged([(price, rule.increment)], rule.rounding), rule.minimum_charge_micros)
        yield Piece(begin, end, amount, partial(_why_in_advance, price, end - used_until))
        begin = end


def _charge(
    power_on: PowerOn, rule: BillingRule, begin: datetime, end: datetime, used_until: datetime
) -> Iterator[Piece]:
    """Yield one charge, rounded once; its pieces are differences of what it has reached."""
    edges = _edges(power_on, begin, end, used_until)
    stretches = [(power_on.price_at(start), stop - start) for start, stop in pairwise(edges)]
    total = max(charged(stretches, rule.rounding), rule.minimum_charge_micros)
    reached = 0
    for number, (start, stop) in enumerate(pairwise(edges), start=1):
        amount = charged(stretches[:number])
        is_last = number == len(stretches)
        until = total if is_last else min(amount, total)
        why = partial(_why, power_on, rule, (start, stop), used_until, (amount, total) if is_last else None)
        yield Piece(start, stop, until - reached, why, power_on.price_at(start) if until == amount else None)
        reached = until


def _edges(power_on: PowerOn, begin: datetime, end: datetime, used_until: datetime) -> Sequence[datetime]:
    cuts = set(power_on.changes())
    if used_until > power_on.ended_at:
        cuts.add(power_on.ended_at)
    if end - used_until >= _WORTH_A_LINE:
        cuts.add(used_until)
    return [begin, *sorted(cut for cut in cuts if begin < cut < end), end]


def _why_in_advance(price: Price, unused: timedelta) -> str:
    rest = f"; {format_duration(unused.total_seconds())} of it not used" if unused > _NOTHING else ""
    return f"paid in advance at {price}{rest}"


def _why(
    power_on: PowerOn,
    rule: BillingRule,
    stretch: tuple[datetime, datetime],
    used_until: datetime,
    settled: tuple[int, int] | None,
) -> str:
    """Word why a stretch costs what it does; `settled` is what the charge that ends with it comes to, and is."""
    start, stop = stretch
    why = _why_of_time(power_on, rule, start, used_until) if start < stop else f"at {power_on.price_at(start)}"
    if settled is None:
        return why
    return why + _settlement(rule, stop >= used_until) + _roundup(*settled, rule)


def _why_of_time(power_on: PowerOn, rule: BillingRule, start: datetime, used_until: datetime) -> str:
    at = f"at {power_on.price_at(start)}"
    used = used_until - power_on.started_at
    if start >= used_until and used < rule.minimum:
        return f"{at}; each start costs at least {_seconds(rule.minimum)}"
    if start >= used_until and rule.increment > _NOTHING:
        return f"{at}; rounded up to whole {_seconds(rule.increment)}"
    if start >= power_on.ended_at and used_until > power_on.ended_at:
        return f"{at}; stopped, but not released"
    return at


def _settlement(rule: BillingRule, at_end: bool) -> str:  # noqa: FBT001 - a phrase, not a switch
    if rule.settles_in is None:
        return ""
    return "; settled at the end" if at_end else "; settled at the full hour"


def _roundup(exact: int, total: int, rule: BillingRule) -> str:
    if total == exact:
        return ""
    if total == rule.minimum_charge_micros and exact < total:
        return f"; {format_amount(exact)}, but a charge is at least {format_amount(total)}"
    return f"; {format_amount(exact)} rounded up to {format_amount(total)}"


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():g} s"
