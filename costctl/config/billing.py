"""The billing rules that ship, changed by `[billing.NAME]`, and the standing charges of `[[standing]]`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from costctl.config.tables import placed, read_toml
from costctl.config.zones import named_zone
from costctl.domain.currencies import read_currency
from costctl.domain.money import Rounding, parse_micros
from costctl.domain.rules import EXACT, BillingRule, Evidence
from costctl.domain.standing import StandingCharge, When
from costctl.errors import BadValueError
from costctl.resources import folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.config.tables import Table, TomlFile

_MICROS_PER_SECOND = 10**6
_YEARS = range(1971, 9999)
_LONGEST_S = 366 * 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class BillingSettings:
    """All rules by name, and the standing charges."""

    rules: Mapping[str, BillingRule]
    standing: tuple[StandingCharge, ...] = ()


def read_billing(file: TomlFile | None) -> BillingSettings:
    """Return the rules that ship, as `file` changes or adds to them, and its standing charges.

    Raises:
        BadValueError: a key or value that is not understood, with the line where it stands.
    """
    rules = _shipped()
    if file is None:
        return BillingSettings(rules=rules)
    for name, table in file.tables("billing"):
        base = rules.get(table.take("like", _text, name))
        if base is None and "like" in table.content:
            raise BadValueError(f"{file.place('billing', name, 'like')}: there is no rule {table.content['like']!r}")
        rules[name] = _rule(name, table, base or BillingRule(name=name), changed_at=table.place)
    return BillingSettings(rules=rules, standing=tuple(map(_standing, file.array("standing"))))


def _shipped() -> dict[str, BillingRule]:
    file = read_toml(folder("catalog") / "billing_rules.toml")
    # Rules for one market come first, so that they are found before those for any.
    rules = [_rule(name, table, BillingRule(name=name)) for name, table in file.tables()]
    return {rule.name: rule for rule in (*sorted(rules, key=lambda rule: not rule.markets), EXACT)}


def _rule(name: str, table: Table, base: BillingRule, changed_at: str = "") -> BillingRule:
    with placed(table):
        rule = replace(
            base,
            name=name,
            increment=table.take("increment-s", _seconds, base.increment),
            minimum=table.take("minimum-s", _seconds, base.minimum),
            settles_in=table.take("settles-in", lambda value: named_zone(_text(value)), base.settles_in),
            is_prepaid=table.take("prepaid", _switch, base.is_prepaid),
            rounding=Rounding(
                quantum_micros=table.take("quantum", _micros, base.rounding.quantum_micros),
                up=table.take("round-up", _switch, base.rounding.up),
            ),
            minimum_charge_micros=table.take("minimum-charge", _micros, base.minimum_charge_micros),
            bills_stopped=table.take("bills-stopped", _switch, base.bills_stopped),
            providers=table.take("providers", _texts, base.providers if name == base.name else ()),
            markets=table.take("markets", _texts, base.markets if name == base.name else ()),
            evidence=_evidence(table, base.evidence, changed_at),
        )
    table.finish()
    return rule


def _evidence(table: Table, base: Evidence, changed_at: str) -> Evidence:
    return Evidence(
        title=table.take("title", _text, base.title),
        sources=table.take("sources", _texts, base.sources),
        doubt=table.take("doubt", _text, base.doubt),
        note=table.take("note", _text, base.note),
        storage_when_stopped=table.take("storage-when-stopped", _text, base.storage_when_stopped),
        self_shutdown=table.take("self-shutdown", _text, base.self_shutdown),
        changed_at=changed_at,
    )


def _standing(table: Table) -> StandingCharge:
    with placed(table):
        charge = StandingCharge(
            name=table.require("name", _text),
            micros_per_month=table.require("amount-per-month", _micros),
            currency=table.require("currency", lambda value: read_currency(_text(value))),
            begins=table.take("from", _day, None),
            ends=table.take("until", _day, None),
            when=table.take("while", _when, When.ALWAYS),
        )
    table.finish()
    return charge


def _seconds(value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_S:
        raise BadValueError(f"{value!r} is not a number of seconds up to a year")
    return timedelta(microseconds=round(Decimal(str(value)) * _MICROS_PER_SECOND))


def _micros(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadValueError(f"{value!r} is not an amount: write it like '0.01'")
    micros = parse_micros(str(value))
    if micros < 0:
        raise BadValueError(f"{value!r} is less than nothing")
    return micros


def _day(value: Any) -> date | datetime | None:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadValueError(f"{value} has no time zone: write a date like 2026-01-31, or add one like +08:00")
    if not isinstance(value, date) or value.year not in _YEARS:
        raise BadValueError(f"{value!r} is not a date: write it like 2026-01-31, without quotes")
    return value


def _when(value: Any) -> When:
    if value not in set(When):
        raise BadValueError(f"{value!r} is none of {', '.join(When)}")
    return When(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadValueError(f"{value!r} is neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadValueError(f"{value!r} is not a text")
    return value.strip()


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadValueError(f"{value!r} is not a list of texts")
    return tuple(_text(item) for item in value)
