"""Billing rules: how a provider turns the seconds of a power-on into money."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.money import TO_MICRO_UNITS, Rounding, format_amount
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from costctl.domain.sessions import Instance

_NOTHING = timedelta(0)
_SHORTEST_PREPAID = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Where a rule comes from, what it leaves open, and what the provider bills besides the machine; in words."""

    title: str = ""
    sources: tuple[str, ...] = ()
    doubt: str = ""
    note: str = ""
    storage_when_stopped: str = ""
    self_shutdown: str = ""
    changed_at: str = ""
    """Where a person changed or made the rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BillingRule:
    """How seconds become money.

    Time is billed in whole increments (of nothing: exactly), at least `minimum` from each start. The charge is made
    once; or, with `settles_in`, at every full hour of that zone and at the end; or, if `is_prepaid`, for each
    increment in advance.
    """

    name: str
    increment: timedelta = _NOTHING
    minimum: timedelta = _NOTHING
    settles_in: tzinfo | None = None
    is_prepaid: bool = False
    rounding: Rounding = TO_MICRO_UNITS
    minimum_charge_micros: int = 0
    """The least that a charge is, however short the time."""
    bills_stopped: bool = False
    """Whether a machine that was shut down from inside is billed until the provider releases it."""
    providers: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    def __post_init__(self) -> None:
        if min(self.increment, self.minimum) < _NOTHING or self.minimum_charge_micros < 0:
            raise BadValueError("no increment and no minimum is less than nothing")
        if self.minimum_charge_micros % self.rounding.quantum_micros:
            raise BadValueError("the least charge is a multiple of the smallest amount that is charged")
        if self.is_prepaid and self.increment < _SHORTEST_PREPAID:
            raise BadValueError("what is paid in advance is paid by the minute or more")
        if self.is_prepaid and self.settles_in is not None:
            raise BadValueError("what is paid in advance is not settled at full hours as well")

    def billed_length(self, used: timedelta) -> timedelta:
        """Return how much time is billed for `used` time from a start."""
        # What is paid in advance begins with the start itself, so even no time costs one increment.
        least = max(self.minimum, self.increment if self.is_prepaid else _NOTHING)
        length = max(used, least)
        return -(-length // self.increment) * self.increment if self.increment else length

    def suits(self, instance: Instance) -> bool:
        """Return whether the rule is for `instance`, as far as its provider and market say."""
        return instance.provider in self.providers and (not self.markets or instance.market in self.markets)

    def words(self) -> str:
        """Return the arithmetic in a few words."""
        return "; ".join(self._words())

    def _words(self) -> Iterator[str]:
        if self.is_prepaid:
            yield f"paid in advance {_by(self.increment)}"
        else:
            yield _by(self.increment) if self.increment else "by the exact time"
        if self.minimum > self.increment:
            yield f"at least {format_duration(self.minimum.total_seconds())} from each start"
        if self.settles_in is not None:
            yield f"settled at each full hour in {self.settles_in} and at the end"
        if self.rounding.up:
            yield f"rounded up to {format_amount(self.rounding.quantum_micros)}"
        if self.minimum_charge_micros:
            yield f"at least {format_amount(self.minimum_charge_micros)} a charge"
        if self.bills_stopped:
            yield "goes on after a shutdown from inside, until released"


EXACT = BillingRule(
    name="exact",
    evidence=Evidence(
        title="the exact time",
        note="no provider's rule: what was used, to the microsecond; it holds where no other rule is chosen",
    ),
)


def rule_for(instance: Instance, rules: Mapping[str, BillingRule], chosen: str | None = None) -> BillingRule:
    """Return the rule called `chosen`, else the one for the provider and market of `instance`, else `EXACT`.

    Raises:
        BadValueError: there is no rule called `chosen`.
    """
    if chosen is not None:
        return named_rule(chosen, rules)
    suitable = (rule for rule in rules.values() if rule.suits(instance))
    return next(suitable, EXACT)


def named_rule(name: str, rules: Mapping[str, BillingRule]) -> BillingRule:
    """Return the rule called `name`.

    Raises:
        BadValueError: there is none.
    """
    if name not in rules:
        close = difflib.get_close_matches(name, rules, n=1)
        near = f"; did you mean {close[0]!r}?" if close else ""
        raise BadValueError(f"there is no billing rule {name!r}: `costctl billing rules` lists them{near}")
    return rules[name]


def _by(length: timedelta) -> str:
    units = {timedelta(seconds=1): "second", timedelta(minutes=1): "minute", timedelta(hours=1): "hour"}
    return f"by the {units[length]}" if length in units else f"in steps of {format_duration(length.total_seconds())}"
