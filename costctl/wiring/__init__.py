"""Put the parts together: the only package that knows concrete adapters. This module is quick to import."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from costctl.config.home import find_home

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from costctl.config.resolve import Resolved
    from costctl.ledger.store import Ledger


def load_settings(flags: Mapping[str, object]) -> Resolved:
    """Return the settings of this process. Raises BadValueError."""
    from costctl.config.resolve import resolve

    return resolve(flags=flags, environ=os.environ, now=datetime.now(UTC))


def load_zone(name: str | None = None) -> ZoneInfo:
    """Return the time zone called `name`, else the configured one, else the system's. Raises BadValueError."""
    from costctl.config.zones import named_zone, system_zone

    return named_zone(name) if name is not None else load_settings({}).settings.time_zone or system_zone()


def read_ledger() -> Ledger:
    """Open the configured ledger to read it. Raises LedgerError, BadValueError."""
    from costctl.ledger.store import Ledger

    return Ledger.read(load_settings({}).settings.ledger or find_home(os.environ).ledger_url)
