"""The rates of exchange of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.config.rates import read_rates
from costctl.domain.rates import Rates
from costctl.wiring import load_settings

if TYPE_CHECKING:
    from datetime import tzinfo


def load_rates(zone: tzinfo) -> Rates:
    """Return the configured rates, whose days begin in `zone`. Raises BadValueError."""
    return Rates.of(read_rates(load_settings({}).file), zone)
