"""The billing rules and standing charges of this process, and the invoices it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl.config.billing import read_billing
from costctl.domain.billing import PowerOn, bill
from costctl.domain.rules import EXACT, named_rule, rule_for
from costctl.errors import BadValueError
from costctl.wiring import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo
    from pathlib import Path

    from costctl.adapters.invoices.formats import Invoice
    from costctl.daemon.session import Opening
    from costctl.domain.rules import BillingRule
    from costctl.domain.sessions import Instance, Session
    from costctl.domain.standing import StandingCharge


@dataclass(frozen=True, kw_only=True, slots=True)
class Billing:
    """All rules, the one that was chosen for every session, and what is paid besides."""

    rules: Mapping[str, BillingRule]
    standing: tuple[StandingCharge, ...]
    chosen: str | None
    asked: bool = False
    """Whether `chosen` was asked for just now: only then are sessions billed anew that have a rule of their own."""

    def rule_for(self, instance: Instance) -> BillingRule:
        """Return the rule for a session that begins on `instance`. Raises BadValueError."""
        return rule_for(instance, self.rules, self.chosen)

    def rule_of(self, session: Session) -> BillingRule:
        """Return the rule that a session is billed by. Raises BadValueError."""
        if session.rule_name is None or self.asked:
            return self.rule_for(session.instance)
        return named_rule(session.rule_name, self.rules)

    def cost_so_far(self, opening: Opening, now: datetime) -> int | None:
        """Return what an open session has cost until `now` by its rule, None if it has no price."""
        if opening.price is None:
            return None
        rule = self.rules.get(opening.rule or EXACT.name, EXACT)
        return bill(PowerOn.at(opening.price, opening.started_at, now), rule).total_micros

    def apply(self, session: Session) -> Session:
        """Return `session` so that it costs what its provider bills. Raises BadValueError."""
        rule = self.rule_of(session)
        return session if rule is EXACT or rule == EXACT else replace(session, rule=rule)


def load_billing(chosen: str | None = None) -> Billing:
    """Return rules and charges as configured, or with the rule called `chosen` for all. Raises BadValueError."""
    resolved = load_settings({"billing-rule": chosen})
    found = read_billing(resolved.file)
    return Billing(
        rules=found.rules, standing=found.standing, chosen=resolved.settings.billing_rule, asked=chosen is not None
    )


def load_invoice(path: Path, *, zone: tzinfo, bucket: str | None = None, resource: str | None = None) -> Invoice:
    """Return the invoice at `path`, or its lines for one machine. Raises BadValueError."""
    from costctl.adapters.invoices.formats import Asked, read_invoice

    invoice = read_invoice(path, Asked(zone=zone, bucket=bucket))
    if resource is None:
        return invoice
    lines = tuple(line for line in invoice.lines if line.resource == resource)
    if not lines:
        known = sorted({line.resource for line in invoice.lines if line.resource})
        raise BadValueError(f"{path} has no line for {resource!r}; it names {', '.join(known[:5]) or 'no machine'}")
    return replace(invoice, lines=lines)
