"""Baselines: what a comparison is held against, as people write it: `A10G always-on at 3.0 CNY/h`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.domain.money import Price, parse_price
from costctl.domain.offers import Market
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModel, GpuModels

FORM = "GPU [always-on|as-run] [on-demand|spot] [at 3.0 CNY/h]"
_USES = {"always-on": True, "as-run": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A GPU, rented for the whole period or only as it is used; without a price it has the price book's."""

    gpu: GpuModel
    is_always_on: bool = True
    market: Market = Market.ON_DEMAND
    price: Price | None = None


def parse_baseline(text: str, *, models: GpuModels, now: datetime) -> Baseline:
    """Return the baseline written as `GPU [always-on|as-run] [on-demand|spot] [at PRICE]`; always-on if left out.

    Raises:
        BadValueError: no such GPU, use, market or price; the message shows the form.
    """
    facts, _, price = text.partition(" at ")
    words = facts.split()
    name = " ".join(word for word in words if word.lower() not in {*_USES, *Market})
    try:
        return Baseline(
            gpu=models.named(name),
            is_always_on=_USES[_only(words, _USES, "always-on")],
            market=Market(_only(words, Market, Market.ON_DEMAND)),
            price=parse_price(price, source="baseline", dated=now) if price else None,
        )
    except BadValueError as error:
        raise BadValueError(f"the baseline {text!r}: {error}; write it as {FORM}") from None


def _only(words: Iterable[str], known: Iterable[str], default: str) -> str:
    """Return the one of `words` that is `known`. Raises BadValueError if there are two."""
    known = set(known)
    found = [word.lower() for word in words if word.lower() in known]
    if len(found) > 1:
        raise BadValueError(f"{found[0]} and {found[1]} cannot both be meant")
    return found[0] if found else default
